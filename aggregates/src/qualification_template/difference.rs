//! What a new version of a form takes away from whoever answered the old one.

use super::event::{FormField, QualificationForm};

/// A change after which an answer that was accepted may not be any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakingChange {
    /// The field.
    pub key: String,
    /// What became of it.
    pub what: Broken,
}

/// How a field breaks with its past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It is gone.
    KeyRemoved,
    /// These options are gone.
    OptionsNarrowed(Vec<String>),
    /// It takes another kind of answer.
    TypeChanged,
    /// It was optional or not there, and must be answered now.
    NewRequired,
    /// It takes fewer numbers or texts than before.
    LimitsNarrowed,
}

impl Broken {
    /// The name for machines.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::KeyRemoved => "removed_key",
            Self::OptionsNarrowed(_) => "narrowed_options",
            Self::TypeChanged => "type_change",
            Self::NewRequired => "new_required",
            Self::LimitsNarrowed => "narrowed_limits",
        }
    }
}

/// Every breaking change from one version to the next: first those of old fields in their order, then new fields.
pub fn breaking_changes(before: &QualificationForm, after: &QualificationForm) -> Vec<BreakingChange> {
    let mut changes = Vec::new();
    let mut add = |key: &str, what| changes.push(BreakingChange { key: key.to_owned(), what });
    for old in &before.fields {
        let Some(new) = after.field(&old.key) else {
            add(&old.key, Broken::KeyRemoved);
            continue;
        };
        if old.kind != new.kind {
            add(&old.key, Broken::TypeChanged);
        } else {
            let gone: Vec<String> =
                old.options.iter().filter(|option| !new.options.contains(option)).cloned().collect();
            if !gone.is_empty() {
                add(&old.key, Broken::OptionsNarrowed(gone));
            }
            if narrowed(old, new) {
                add(&old.key, Broken::LimitsNarrowed);
            }
        }
        if new.required && !old.required {
            add(&old.key, Broken::NewRequired);
        }
    }
    for new in after.fields.iter().filter(|new| new.required && before.field(&new.key).is_none()) {
        add(&new.key, Broken::NewRequired);
    }
    changes
}

fn narrowed(old: &FormField, new: &FormField) -> bool {
    // A bound that was not there is narrower than none.
    new.min.is_some_and(|min| old.min.is_none_or(|was| min > was))
        || new.max.is_some_and(|max| old.max.is_none_or(|was| max < was))
        || new.max_length.is_some_and(|max| old.max_length.is_none_or(|was| max < was))
        || new.pattern.is_some() && new.pattern != old.pattern
}
