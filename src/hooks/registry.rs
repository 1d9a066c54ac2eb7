//! The hooks of a file: what the operator wrote, read whole or refused.
//!
//! The file is YAML without aliases, anchors and tabs: nothing in it means more than it says, and a tag says nothing. Every
//! refusal names the place.

use std::sync::Arc;
use std::time::Duration;

use docket_aggregates::channel::Channel;
use docket_aggregates::hook_registry::HookEntry;
use docket_aggregates::ids::OrganizationId;
use serde::Deserialize;
use serde_saphyr::budget::BudgetBreach;
use uuid::Uuid;

use super::HookRefusal;

/// Hooks in one file, at most.
pub const HOOKS_MAX: usize = 100;
/// Organizations that one hook names, at most.
const ORGANIZATIONS_MAX: usize = 1_000;
/// How long a hook may take, if the file does not say.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long it may take at most.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(120);

/// After what a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum After {
    /// A message was sent: its channel has it.
    Sent,
    /// A dry run was sent.
    SentDryrun,
}

/// What a hook does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Run {
    /// Finds out whether the text had been checked before it was issued, and how it fares.
    BrandVoiceCoverage,
}

/// One hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Its id.
    pub id: String,
    /// What it does.
    pub run: Run,
    /// Whether it does.
    pub enabled: bool,
    /// After what.
    pub after: Vec<After>,
    /// Only on these channels; empty means all.
    pub channels: Vec<Channel>,
    /// Only for these organizations; empty means all.
    pub organizations: Vec<OrganizationId>,
    /// How long it may take.
    pub timeout: Duration,
}

impl Hook {
    /// Whether it runs after this, in this organization.
    pub fn runs(&self, organization: OrganizationId, after: After) -> bool {
        let named = self.organizations.is_empty() || self.organizations.contains(&organization);
        self.enabled && named && self.after.contains(&after)
    }
}

/// The hooks, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    /// Each of them.
    pub hooks: Vec<Arc<Hook>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileShape {
    #[serde(default)]
    hooks: Option<Vec<HookShape>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct HookShape {
    id: String,
    run: Run,
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default)]
    after: Option<Vec<After>>,
    #[serde(default)]
    channels: Vec<Channel>,
    #[serde(default)]
    organizations: Vec<String>,
    #[serde(default)]
    timeout_seconds: Option<u64>,
}

const fn yes() -> bool {
    true
}

impl Registry {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, HookRefusal> {
        if let Some(line) = text.lines().position(|line| line.contains('\t')) {
            return Err(HookRefusal::Tab { line: line + 1 });
        }
        // A file of comments alone is a document that holds nothing, and so no hooks.
        // A line of YAML may end with a CR alone.
        let blank = |line: &str| matches!(line.trim_start_matches('\u{FEFF}').trim(), "" | "---");
        if text.split(['\n', '\r']).all(|line| blank(line) || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_aliases: 0,
                max_anchors: 0,
                max_depth: 8,
                max_documents: 1,
                max_merge_keys: 0,
                max_nodes: 200_000,
            },
            duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::Error,
            strict_booleans: true,
            with_snippet: false,
        };
        let shape: FileShape = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let (line, column) = match error.location() {
                Some(at) => (at.line(), at.column()),
                None => (0, 0),
            };
            HookRefusal::Yaml { line, column, message: message(error.without_snippet()) }
        })?;
        let shapes = shape.hooks.unwrap_or_default();
        if shapes.len() > HOOKS_MAX {
            return Err(HookRefusal::TooMany);
        }
        let mut hooks: Vec<Arc<Hook>> = Vec::with_capacity(shapes.len());
        for shape in shapes {
            if hooks.iter().any(|hook| hook.id == shape.id) {
                return Err(HookRefusal::Duplicate(shape.id));
            }
            hooks.push(Arc::new(hook(shape)?));
        }
        Ok(Self { hooks })
    }

    /// The hook of this id.
    pub fn get(&self, id: &str) -> Option<&Arc<Hook>> {
        self.hooks.iter().find(|hook| hook.id == id)
    }

    /// The hooks as answers and events name them.
    pub fn entries(&self) -> Vec<HookEntry> {
        self.hooks.iter().map(|hook| HookEntry { id: hook.id.clone(), enabled: hook.enabled }).collect()
    }
}

/// What is wrong with a file that cannot be read.
fn message(error: &serde_saphyr::Error) -> String {
    let serde_saphyr::Error::Budget { breach, .. } = error else {
        let message = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
        return message.lines().next().unwrap_or_default().chars().take(300).collect();
    };
    // Those are names of the library's own.
    match breach {
        BudgetBreach::Aliases { .. } | BudgetBreach::Anchors { .. } | BudgetBreach::MergeKeys { .. } => {
            "anchors, aliases and merge keys are not read here"
        }
        BudgetBreach::Documents { .. } => "a file is one document",
        _ => "the file is longer or deeper than one of hooks can be",
    }
    .to_owned()
}

fn hook(shape: HookShape) -> Result<Hook, HookRefusal> {
    let first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let slug = shape.id.len() <= 64
        && shape.id.starts_with(first)
        && shape.id.chars().all(|c| first(c) || c == '-' || c == '_');
    if !slug {
        return Err(HookRefusal::Id(shape.id.chars().take(64).collect()));
    }
    let refuse = |what| HookRefusal::Hook { id: shape.id.clone(), what };
    let timeout = match shape.timeout_seconds.map(Duration::from_secs) {
        None => TIMEOUT,
        Some(timeout) if (Duration::from_secs(1)..=TIMEOUT_MAX).contains(&timeout) => timeout,
        Some(_) => return Err(refuse("timeoutSeconds must be 1 to 120")),
    };
    let after = shape.after.unwrap_or_else(|| vec![After::Sent]);
    if after.is_empty() {
        return Err(refuse("after must name at least one occasion"));
    }
    if shape.organizations.len() > ORGANIZATIONS_MAX {
        return Err(refuse("organizations must be 1 000 at most"));
    }
    let organizations = shape.organizations.iter().map(|text| Uuid::try_parse(text).map(OrganizationId));
    let organizations: Vec<OrganizationId> = organizations
        .collect::<Result<_, _>>()
        .map_err(|_| refuse("organizations must be ids, which are UUIDs"))?;
    let Run::BrandVoiceCoverage = shape.run;
    Ok(Hook {
        run: shape.run,
        enabled: shape.enabled,
        after,
        channels: shape.channels,
        organizations,
        timeout,
        id: shape.id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_runs_when() {
        let text = "# What we look at after a message went out.\nhooks:\n  - id: brand-voice-coverage\n    run: brand-voice-coverage\n\
                    \n  - id: whatsapp\n    run: brand-voice-coverage\n    enabled: false\n    after: [sent, sent_dryrun]\n    channels: [whatsapp]\n\
                    \n    organizations: [\"0190a0f0-0000-7000-8000-00000000000f\"]\n    timeoutSeconds: 5\n";
        let registry = Registry::parse(text).unwrap();
        let own = OrganizationId(Uuid::parse_str("0190a0f0-0000-7000-8000-00000000000f").unwrap());
        assert_eq!(registry.hooks.len(), 2);
        assert!(registry.get("brand-voice-coverage").unwrap().runs(own, After::Sent));
        assert!(!registry.get("brand-voice-coverage").unwrap().runs(own, After::SentDryrun));
        let second = registry.get("whatsapp").unwrap();
        assert!(!second.runs(own, After::Sent), "it is switched off");
        assert_eq!(
            (second.timeout, second.channels.as_slice()),
            (Duration::from_secs(5), &[Channel::Whatsapp][..])
        );
        let ended_otherwise = text.replace('\n', "\r");
        assert_eq!(Registry::parse(&ended_otherwise).unwrap(), registry);
        for empty in [
            "",
            "\n\n",
            "# nothing\n",
            "---\n",
            "---\n# nothing\r\n",
            "hooks:\n",
            "hooks: []\n",
            "hooks: null\n",
            "{}\n",
        ] {
            assert_eq!(Registry::parse(empty).unwrap(), Registry::default(), "{empty:?}");
        }
    }

    #[test]
    fn what_is_not_a_registry_is_refused() {
        let hook = |id: &str| format!("  - id: {id}\n    run: brand-voice-coverage\n");
        let bomb = "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nhooks: *c\n";
        let many: String = (0..=HOOKS_MAX).map(|number| hook(&format!("h{number}"))).collect();
        let deep = format!("hooks: {}{}\n", "[".repeat(50), "]".repeat(50));
        for text in [
            format!("hooks:\n{}{}", hook("a"), hook("a")),
            format!("hooks:\n{many}"),
            format!("hooks:\n{}", hook("Upper")),
            format!("hooks:\n{}", hook("''")),
            format!("hooks:\n{}", hook("-a")),
            format!("hooks:\n{}", hook(&"a".repeat(65))),
            format!("hooks:\n{}    enabled: maybe\n", hook("a")),
            format!("hooks:\n{}    enabled: yes\n", hook("a")),
            format!("hooks:\n{}    after: []\n", hook("a")),
            format!("hooks:\n{}    after: [never]\n", hook("a")),
            format!("hooks:\n{}    channels: [fax]\n", hook("a")),
            format!("hooks:\n{}    organizations: [acme]\n", hook("a")),
            format!("hooks:\n{}    timeoutSeconds: 0\n", hook("a")),
            format!("hooks:\n{}    timeoutSeconds: 121\n", hook("a")),
            format!("hooks:\n{}    surplus: 1\n", hook("a")),
            format!("hooks:\n{}    id: b\n", hook("a")),
            format!("hooks:\n{}---\nhooks: []\n", hook("a")),
            "hooks:\n  - id: a\n    run: rm -rf\n".into(),
            "hooks:\n  - run: brand-voice-coverage\n".into(),
            "hooks:\n\t- id: a\n".into(),
            "hooks: {a: 1}\n".into(),
            "hooks: text\n".into(),
            "other: 1\n".into(),
            "[]\n".into(),
            "hooks: [\n".into(),
            "hooks: &x []\n".into(),
            bomb.into(),
            deep,
        ] {
            assert!(Registry::parse(&text).is_err(), "{text}");
        }
        let Err(HookRefusal::Yaml { line, message, .. }) = Registry::parse("hooks:\n  - id: a\n    run: x\n")
        else {
            panic!("another refusal")
        };
        assert!(line == 3 && !message.is_empty(), "{line} {message}");
        for (text, expected) in [
            ("hooks:\n  - <<: {id: a}\n", "anchors, aliases and merge keys are not read here"),
            ("hooks: &x []\n", "anchors, aliases and merge keys are not read here"),
            ("hooks: []\n---\nhooks: []\n", "a file is one document"),
        ] {
            let Err(HookRefusal::Yaml { message, .. }) = Registry::parse(text) else { panic!("{text}") };
            assert_eq!(message, expected, "{text}");
        }
        assert!(matches!(Registry::parse("hooks: []\n \tx: 1\n"), Err(HookRefusal::Tab { line: 2 })));
    }
}
