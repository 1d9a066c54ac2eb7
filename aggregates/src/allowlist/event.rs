//! Stored events of the allowlist. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use crate::personal::Personal;
use crate::stored::stored_events;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// One e-mail address or phone number.
    Address,
    /// One account of a network.
    Handle,
    /// Every address of one domain.
    Domain,
    /// Everybody.
    Everybody,
}

impl EntryKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Address, Self::Handle, Self::Domain, Self::Everybody];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Handle => "handle",
            Self::Domain => "domain",
            Self::Everybody => "everybody",
        }
    }
}

impl std::str::FromStr for EntryKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| format!("kind must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowedEntry {
    /// What it is.
    pub kind: EntryKind,
    /// Keyed hash of its one spelling.
    pub hash: String,
    /// The entry as it is shown. The subject is whoever the address belongs to, by its keyed hash.
    pub text: Personal<String>,
}

/// The facts of an organization's allowlist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum AllowlistEvent {
    /// They may be written to from here on.
    EntriesAllowed {
        /// At most 1 000, sorted by hash, none of them on the list before.
        entries: Vec<AllowedEntry>,
    },
    /// They may not any more.
    EntriesDisallowed {
        /// At most 1 000, sorted, all of them on the list before.
        hashes: Vec<String>,
    },
}

stored_events!(AllowlistEvent {
    EntriesAllowed "1",
    EntriesDisallowed "1",
});
