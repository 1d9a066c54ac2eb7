//! What must be unique, or must be known without the read side.
//!
//! A claim is a small row that only the append changes, in the transaction of the events that cause it. Which
//! claims an event takes and releases is said here and nowhere else, so that the table can be rebuilt from the
//! events alone.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::any::AnyEvent;
use crate::contact::ContactEvent;
use crate::ids::{CampaignId, ContactId};
use crate::import::ImportEvent;
use crate::organization::OrganizationEvent;
use crate::qualification::QualificationEvent;
use crate::script_execution::ScriptExecutionEvent;

/// What kind of thing is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// An organization's slug, in the instance ledger.
    Slug,
    /// The one commit of an import.
    ImportCommit,
    /// An address that nothing may be sent to.
    SuppressedAddress,
    /// The one open script execution of a contact within a campaign.
    OpenExecution,
    /// The one open qualification of a contact's stay in a campaign.
    OpenQualification,
}

impl Scope {
    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slug => "slug",
            Self::ImportCommit => "import_commit",
            Self::SuppressedAddress => "suppressed_address",
            Self::OpenExecution => "open_execution",
            Self::OpenQualification => "open_qualification",
        }
    }
}

/// One claim: at most one owner for each key of an organization.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimKey {
    /// What kind of thing.
    pub scope: Scope,
    /// SHA-256 of the key; where the key is personal, of its keyed hash. Holds no personal data.
    pub hash: [u8; 32],
}

impl ClaimKey {
    /// The claim on `key`. A personal key must be hashed with the organization's key before.
    pub fn new(scope: Scope, key: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(scope.name());
        hasher.update([0]);
        hasher.update(key);
        Self { scope, hash: hasher.finalize().into() }
    }

    /// The claim of the open script execution of a contact within a campaign.
    pub fn open_execution(campaign: CampaignId, contact: ContactId) -> Self {
        Self::new(Scope::OpenExecution, &format!("{campaign}/{contact}"))
    }

    /// The claim of the open qualification of a contact's stay.
    pub fn open_qualification(campaign: CampaignId, contact: ContactId, epoch: u64) -> Self {
        Self::new(Scope::OpenQualification, &format!("{campaign}/{contact}/{epoch}"))
    }
}

/// What one event does to the claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimChange {
    /// Refuse the whole command if somebody else owns it.
    Take(ClaimKey, Uuid),
    /// Make sure that it is owned, by whomever.
    Ensure(ClaimKey, Uuid),
    /// Nobody owns it any more.
    Release(ClaimKey),
}

/// The claims that an event takes and releases: the one definition, used by the append and by a rebuild.
pub fn changes_of(event: &AnyEvent, aggregate_id: Uuid) -> Vec<ClaimChange> {
    match event {
        AnyEvent::Organization(OrganizationEvent::OrganizationCreated {
            organization_id, slug_key, ..
        }) => {
            vec![ClaimChange::Take(ClaimKey::new(Scope::Slug, slug_key), organization_id.uuid())]
        }
        AnyEvent::Import(ImportEvent::CommitStarted { commit_id, .. }) => {
            let key = ClaimKey::new(Scope::ImportCommit, &aggregate_id.to_string());
            vec![ClaimChange::Take(key, commit_id.uuid())]
        }
        AnyEvent::Contact(ContactEvent::ContactOptedOut { addresses, .. }) => addresses
            .iter()
            .map(|hash| ClaimChange::Ensure(ClaimKey::new(Scope::SuppressedAddress, hash), aggregate_id))
            .collect(),
        AnyEvent::ScriptExecution(event) => match event {
            ScriptExecutionEvent::ScriptExecutionStarted {
                execution_id, campaign_id, contact_id, ..
            } => {
                let key = ClaimKey::open_execution(*campaign_id, *contact_id);
                vec![ClaimChange::Take(key, execution_id.uuid())]
            }
            ScriptExecutionEvent::ScriptExecutionCompleted { campaign_id, contact_id, .. }
            | ScriptExecutionEvent::ScriptExecutionAbandoned { campaign_id, contact_id, .. } => {
                vec![ClaimChange::Release(ClaimKey::open_execution(*campaign_id, *contact_id))]
            }
            ScriptExecutionEvent::ScriptAnswersRecorded { .. } => vec![],
        },
        AnyEvent::Qualification(
            QualificationEvent::QualificationOpened { campaign_id, contact_id, epoch, .. }
            | QualificationEvent::QualificationReopened { campaign_id, contact_id, epoch },
        ) => {
            let key = ClaimKey::open_qualification(*campaign_id, *contact_id, *epoch);
            vec![ClaimChange::Take(key, aggregate_id)]
        }
        AnyEvent::Qualification(QualificationEvent::QualificationConcluded {
            campaign_id,
            contact_id,
            epoch,
            verdict: _,
        }) => {
            vec![ClaimChange::Release(ClaimKey::open_qualification(*campaign_id, *contact_id, *epoch))]
        }
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_do_not_share_keys() {
        assert_ne!(ClaimKey::new(Scope::Slug, "a").hash, ClaimKey::new(Scope::ImportCommit, "a").hash);
    }

    #[test]
    fn an_opt_out_suppresses_each_of_its_addresses() {
        let contact = Uuid::from_u128(1);
        let event =
            ContactEvent::ContactOptedOut { via: "api".into(), addresses: vec!["a".into(), "b".into()] };
        let expected: Vec<_> = ["a", "b"]
            .map(|hash| ClaimChange::Ensure(ClaimKey::new(Scope::SuppressedAddress, hash), contact))
            .into();
        assert_eq!(changes_of(&AnyEvent::Contact(event), contact), expected);
    }
}
