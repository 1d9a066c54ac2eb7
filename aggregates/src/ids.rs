//! The names of things.
//!
//! Every id is a UUID that is unique in the whole database: version 7 where the thing is minted, version 5
//! of the organization and the natural key where the key already names it. A type per id, so that a contact
//! is never mistaken for a campaign.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::channel::Channel;

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
    /// A sender on one channel.
    OutboxId,
    /// What a channel is entered with: one secret, all its versions.
    CredentialId,
    /// The sends of one credential and channel on one day.
    BucketId,
    /// One send: the activity.
    MessageId,
    /// One question to a person: may this be sent?
    ApprovalId,
    /// An approval rule.
    RuleId,
    /// A piece of content.
    ContentPieceId,
    /// A sequence of steps.
    SequenceId,
    /// Where Docket posts its own events to.
    WebhookEndpointId,
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

    /// The stream of a credential, by the id of its secret without the version.
    pub fn credential(self, secret_id: &str) -> CredentialId {
        CredentialId(self.natural(&format!("credential/{secret_id}")))
    }

    /// The stream of the sends of one credential and channel on one of the credential's days.
    pub fn bucket(self, credential: CredentialId, channel: Channel, day: u64) -> BucketId {
        BucketId(self.natural(&format!("bucket/{credential}/{}/{day}", channel.name())))
    }

    /// The one stream of all approval rules.
    pub fn approval_rules(self) -> Uuid {
        self.natural("approval-rules")
    }

    /// The one stream of the allowlist.
    pub fn allowlist(self) -> Uuid {
        self.natural("allowlist")
    }

    /// The one stream of pauses and of the frequency cap.
    pub fn sending_control(self) -> Uuid {
        self.natural("sending-control")
    }

    /// The one stream of the post-issue hooks in force; it stands in the instance ledger.
    pub fn hook_registry(self) -> Uuid {
        self.natural("hook-registry")
    }

    /// The stream of one address on the suppression list, by the keyed hash of the address.
    pub fn suppression(self, address_hash: &str) -> Uuid {
        self.natural(&format!("suppression/{address_hash}"))
    }

    /// The stream that counts what one address gets, by its keyed hash.
    pub fn correspondence(self, address_hash: &str) -> Uuid {
        self.natural(&format!("correspondence/{address_hash}"))
    }

    /// The stream that counts what one contact gets, at whatever address.
    pub fn correspondence_with(self, contact: ContactId) -> Uuid {
        self.natural(&format!("correspondence/contact/{contact}"))
    }

    /// Whom a value is about that names an address and no contact: the keyed hash of the address says who, and
    /// nobody can tell the address from it.
    pub fn correspondent(self, address_hash: &str) -> SubjectId {
        SubjectId(self.natural(&format!("correspondent/{address_hash}")))
    }

    /// The stream of one contact's way through a sequence.
    pub fn enrollment(self, sequence: SequenceId, contact: ContactId) -> Uuid {
        self.natural(&format!("enrollment/{sequence}/{contact}"))
    }

    /// The message of one try of one step of an enrollment: a step that is taken twice is the same message.
    pub fn step_message(self, enrollment: Uuid, round: u64, step: u32, attempt: u32) -> MessageId {
        MessageId(self.natural(&format!("step/{enrollment}/{round}/{step}/{attempt}")))
    }

    /// The webhook endpoint that is set up when there have been so many: of two at once one is.
    pub fn webhook_endpoint(self, before: usize) -> WebhookEndpointId {
        WebhookEndpointId(self.natural(&format!("webhook_endpoint/{before}")))
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
        for (id, literal) in [
            (organization.credential("smtp").to_string(), "347c23af-e2b3-5889-9681-d29d41fb0459"),
            (
                organization.bucket(CredentialId(Uuid::from_u128(4)), Channel::CalCom, 7).to_string(),
                "602817d0-d6cd-5fae-8fbb-dfb8c9efd424",
            ),
            (organization.approval_rules().to_string(), "6f44f574-596c-5e9e-b690-6e1cbb288eb2"),
            (organization.allowlist().to_string(), "c6e7381f-9793-55fb-afc3-20e2e6299a8b"),
            (organization.sending_control().to_string(), "80a8084a-7945-5b4b-800c-ba40577e2bfd"),
            (organization.hook_registry().to_string(), "474c4f3e-2fa5-54f8-8aec-51572546031a"),
            (organization.suppression("ab").to_string(), "d06037bd-3f74-5879-be0a-756d9ea5a3da"),
            (organization.correspondence("ab").to_string(), "23d1fec9-4695-5dc3-b187-071c8645ce8d"),
            (organization.correspondence_with(contact).to_string(), "a7a672cc-ed3f-58b6-b12f-a1e6946e6c53"),
            (organization.correspondent("ab").to_string(), "852920d6-ec59-5de5-bd00-5a7a809724a1"),
            (
                organization.enrollment(SequenceId(Uuid::from_u128(5)), contact).to_string(),
                "07f750eb-a022-52cb-8988-a0ea6580084d",
            ),
            (
                organization.step_message(Uuid::from_u128(6), 1, 2, 3).to_string(),
                "f05515fc-58a6-5c44-bc4c-b2e47d591894",
            ),
            (organization.webhook_endpoint(2).to_string(), "488ce39f-1507-514b-9cfd-9d4a2b4cf620"),
        ] {
            assert_eq!(id, literal);
        }
    }
}
