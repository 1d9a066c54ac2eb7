//! The post-issue hooks in force, as the operator's file says them. One stream, in the instance ledger.
//!
//! The file itself stays with the operator; recorded is which text of it was in force from when on, by its hash, and
//! which hooks it named. Every process reads its own copy, and by the hash they can tell whether it is the same.

mod event;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use event::{HookEntry, HookRegistryEvent};

use crate::stored::aggregate;

/// Orders to the registry.
#[derive(Clone, Debug)]
pub enum HookRegistryCommand {
    /// A process was started with these hooks. A file that was never in force is a new one, and is from now on. One that was,
    /// or none at all, is what a machine was left with, and changes nothing.
    Begin {
        /// SHA-256 of the file in hexadecimal; of nothing, where there is no file.
        sha256: String,
        /// The hooks in the order of the file.
        hooks: Vec<HookEntry>,
    },
    /// These are the hooks from now on.
    Reload {
        /// SHA-256 of the file in hexadecimal; of nothing, where there is no file.
        sha256: String,
        /// The hooks in the order of the file.
        hooks: Vec<HookEntry>,
    },
}

/// Why the registry refuses: it never does, because a file that cannot be accepted does not get so far.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookRegistryError {}

/// The state that decisions need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HookRegistry {
    version: u64,
    sha256: Option<String>,
    /// Every file that was in force before.
    earlier: BTreeSet<String>,
}

aggregate!(HookRegistry, "HookRegistry", HookRegistryCommand, HookRegistryEvent, HookRegistryError);

impl HookRegistry {
    /// The whole business of the registry.
    fn decide(&self, command: HookRegistryCommand) -> Result<Vec<HookRegistryEvent>, HookRegistryError> {
        let (sha256, hooks) = match command {
            HookRegistryCommand::Begin { sha256, hooks }
                if hooks.is_empty() || self.earlier.contains(&sha256) =>
            {
                return Ok(vec![]);
            }
            HookRegistryCommand::Begin { sha256, hooks } | HookRegistryCommand::Reload { sha256, hooks } => {
                (sha256, hooks)
            }
        };
        // Before the first file there were no hooks; a file without any, or none at all, changes nothing then.
        let nothing_yet = self.sha256.is_none() && hooks.is_empty();
        if nothing_yet || self.sha256.as_ref() == Some(&sha256) {
            return Ok(vec![]);
        }
        Ok(vec![HookRegistryEvent::HooksReloaded { version: self.version + 1, sha256, hooks }])
    }

    fn evolve(&mut self, event: HookRegistryEvent) {
        let HookRegistryEvent::HooksReloaded { version, sha256, .. } = event;
        self.version = version;
        self.earlier.extend(self.sha256.replace(sha256));
    }

    /// How often the hooks in force changed.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The hash of the file in force; none before the first one.
    pub fn sha256(&self) -> Option<&str> {
        self.sha256.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cqrs_es::test::TestFramework;

    type Given = TestFramework<HookRegistry>;

    fn hooks(ids: &[&str]) -> Vec<HookEntry> {
        ids.iter().map(|id| HookEntry { id: (*id).to_owned(), enabled: true }).collect()
    }

    fn reload(sha256: &str, ids: &[&str]) -> HookRegistryCommand {
        HookRegistryCommand::Reload { sha256: sha256.into(), hooks: hooks(ids) }
    }

    fn reloaded(version: u64, sha256: &str, ids: &[&str]) -> HookRegistryEvent {
        HookRegistryEvent::HooksReloaded { version, sha256: sha256.into(), hooks: hooks(ids) }
    }

    #[test]
    fn only_another_file_is_recorded() {
        Given::with(())
            .given_no_previous_events()
            .when(reload("aa", &["h"]))
            .then_expect_events(vec![reloaded(1, "aa", &["h"])]);
        Given::with(())
            .given(vec![reloaded(1, "aa", &["h"])])
            .when(reload("aa", &["h"]))
            .then_expect_events(vec![]);
        Given::with(())
            .given(vec![reloaded(1, "aa", &["h"])])
            .when(reload("bb", &["h"]))
            .then_expect_events(vec![reloaded(2, "bb", &["h"])]);
        Given::with(())
            .given(vec![reloaded(1, "aa", &["h"])])
            .when(reload("ee", &[]))
            .then_expect_events(vec![reloaded(2, "ee", &[])]);
        Given::with(()).given_no_previous_events().when(reload("ee", &[])).then_expect_events(vec![]);
    }

    #[test]
    fn a_start_puts_in_force_a_new_file_and_no_earlier_one() {
        let begin =
            |sha256: &str, ids| HookRegistryCommand::Begin { sha256: sha256.into(), hooks: hooks(ids) };
        let first = || vec![reloaded(1, "aa", &["h"])];
        Given::with(()).given_no_previous_events().when(begin("aa", &["h"])).then_expect_events(first());
        Given::with(()).given_no_previous_events().when(begin("ee", &[])).then_expect_events(vec![]);
        let both = || vec![reloaded(1, "aa", &["h"]), reloaded(2, "bb", &["h"])];
        Given::with(()).given(first()).when(begin("bb", &["h"])).then_expect_events(vec![both()[1].clone()]);
        for (sha256, ids) in [("aa", &["h"][..]), ("bb", &["h"]), ("ee", &[])] {
            Given::with(()).given(both()).when(begin(sha256, ids)).then_expect_events(vec![]);
        }
    }
}
