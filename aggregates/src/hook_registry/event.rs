//! Stored events of the hook registry. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use crate::stored::stored_events;

/// A hook as the file names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookEntry {
    /// Its id.
    pub id: String,
    /// Whether it runs.
    pub enabled: bool,
}

/// The facts of the hook registry, in the instance ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum HookRegistryEvent {
    /// These are the hooks from here on.
    HooksReloaded {
        /// How often they changed, from 1.
        version: u64,
        /// SHA-256 of the file in hexadecimal; of nothing, where there is no file.
        sha256: String,
        /// The hooks in the order of the file.
        hooks: Vec<HookEntry>,
    },
}

stored_events!(HookRegistryEvent { HooksReloaded "1" });
