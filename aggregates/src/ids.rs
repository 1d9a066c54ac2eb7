//! The names of things.
//!
//! Every id is a UUID that is unique in the whole database: version 7 where the thing is minted, version 5
//! of the organization and the natural key where the key already names it. A type per id, so that a contact
//! is never mistaken for a campaign.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The bare UUID.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )+};
}

ids! {
    /// One organization: one ledger. The nil UUID names the instance ledger.
    OrganizationId,
    /// One accepted command: the audit id of an answer.
    CommandId,
    /// One event.
    EventId,
    /// Whoever a sealed value is about; erasing a subject forgets its key.
    SubjectId,
    /// The person or agent that acts, as the token names it; it outlives any one token.
    PrincipalId,
    /// One bearer token.
    TokenId,
    /// A person or company that may be contacted.
    ContactId,
    /// A human or AI caller that contacts are assigned to.
    AgentId,
    /// A campaign.
    CampaignId,
    /// An import folder: one uploaded file.
    ImportId,
    /// One call.
    CallId,
    /// One follow-up.
    FollowUpId,
    /// A call script template.
    ScriptTemplateId,
    /// One run through a call script with one contact of a campaign.
    ScriptExecutionId,
    /// A qualification template.
    QualificationTemplateId,
    /// What was found out about one contact of a campaign.
    QualificationId,
}

impl OrganizationId {
    /// The ledger of what belongs to no organization: organizations themselves and tokens.
    pub const INSTANCE: Self = Self(Uuid::nil());

    /// The id that this organization gives to a natural key, for ever the same.
    fn natural(self, key: &str) -> Uuid {
        Uuid::new_v5(&self.0, key.as_bytes())
    }

    /// The stream of a campaign's roster.
    pub fn roster(self, campaign: CampaignId) -> Uuid {
        self.natural(&format!("roster/{campaign}"))
    }

    /// The stream of one contact's work within one campaign.
    pub fn membership(self, campaign: CampaignId, contact: ContactId) -> Uuid {
        self.natural(&format!("membership/{campaign}/{contact}"))
    }

    /// A principal known by the keyed hash of its address, so that a rotated token stays the same principal.
    pub fn principal(self, address_hash: &str) -> PrincipalId {
        PrincipalId(self.natural(&format!("principal/{address_hash}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn natural_ids_never_change() {
        let organization = OrganizationId(Uuid::from_u128(1));
        let campaign = CampaignId(Uuid::from_u128(2));
        let contact = ContactId(Uuid::from_u128(3));
        // These literals are stored in every ledger: a change here is a change of a stored format.
        assert_eq!(organization.roster(campaign).to_string(), "369777b4-f127-5a23-8889-a490f63dd7e5");
        assert_eq!(
            organization.membership(campaign, contact).to_string(),
            "55dbccf6-b44e-5c37-ae55-4d0d9e0a9124"
        );
    }
}
