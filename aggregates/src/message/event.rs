//! Stored events of a message. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use super::{Delivery, MessageStatus};
use crate::approval_rules::RuleRef;
use crate::channel::Channel;
use crate::ids::{
    AgentId, ApprovalId, BucketId, CampaignId, ContactId, ContentPieceId, CredentialId, MessageId, OutboxId,
    PrincipalId, SequenceId,
};
use crate::labels::Labels;
use crate::personal::Personal;
use crate::stored::stored_events;
use crate::time::Timestamp;

/// What is sent to whom. All of it is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageContent {
    /// The normalised address.
    pub to: String,
    /// What the channel is given: the text of a JSON object.
    pub payload: String,
}

/// What makes the repetition of a request known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DedupKey {
    /// Keyed hash of the caller's key, and of whether it is a dry run: a rehearsal never stands for a send.
    pub key: String,
    /// Keyed hash of everything that was asked for, to tell a repetition from another request under the same key.
    pub fingerprint: String,
}

/// What makes it harmless to hand a message over again: its channel took the message's key, under this secret. Who has
/// another secret may be another account or another provider, which knows nothing of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyed {
    /// The credential.
    pub credential_id: CredentialId,
    /// The version of its secret.
    pub secret_version: u32,
}

/// What was decided of a message, and on what ground.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Its status from here on; never `sent`.
    pub status: MessageStatus,
    /// Why: a name of a closed set.
    pub reason: Option<String>,
    /// The rule that matched; none if none did, or none was asked.
    pub rule: Option<RuleRef>,
    /// Version of the rules that were asked.
    pub rules_version: Option<u64>,
    /// Version of the allowlist that was looked at.
    pub allowlist_version: u64,
    /// The approval that is asked for.
    pub approval_id: Option<ApprovalId>,
}

/// What a channel answered, as far as it is worth keeping. All of it is sealed: providers put addresses into their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelAnswer {
    /// The provider's id of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_message_id: Option<String>,
    /// The answer's own words, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// By what it is known what became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettledBy {
    /// Somebody looked, and says so.
    Person,
    /// The provider was asked.
    LookUp,
    /// The provider reported it.
    Webhook,
}

impl SettledBy {
    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::LookUp => "look_up",
            Self::Webhook => "webhook",
        }
    }
}

/// The facts of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum MessageEvent {
    /// Somebody wants it sent.
    MessageDrafted {
        /// Its id, which is also its stream.
        message_id: MessageId,
        /// The channel.
        channel: Channel,
        /// The sender.
        outbox_id: OutboxId,
        /// Keyed hash of the normalised address.
        recipient_hash: String,
        /// Address and payload. The subject is the contact, or whoever the address belongs to.
        content: Personal<MessageContent>,
        /// Niche and tags that rules look at. The subject is the outbox, so that a back-test outlives the recipient.
        labels: Personal<Labels>,
        /// Keyed hash of channel, outbox, address and payload.
        content_hash: String,
        /// The piece that the text is from.
        content_piece_id: Option<ContentPieceId>,
        /// What makes a repetition known; held from here on.
        dedup: Option<DedupKey>,
        /// Who drafted it.
        drafter: PrincipalId,
        /// The caller who drafted it, where it was one.
        agent_id: Option<AgentId>,
        /// The contact that it is for.
        contact_id: Option<ContactId>,
        /// The campaign that it is for.
        campaign_id: Option<CampaignId>,
        /// The sequence that it is a step of.
        sequence_id: Option<SequenceId>,
        /// Which step, from 1.
        step: Option<u32>,
        /// Who had a hand in its words beside the drafter: none of them approves it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        co_authors: Vec<PrincipalId>,
    },
    /// Its payload is another. The approval that was asked for is superseded in the same append.
    MessageRevised {
        /// Address, as it was, and payload.
        content: Personal<MessageContent>,
        /// Keyed hash of the new content.
        content_hash: String,
        /// The new labels.
        labels: Personal<Labels>,
    },
    /// It was decided what becomes of it.
    MessageDecided {
        /// What, and on what ground.
        decision: Decision,
        /// The deduplication key that is free again.
        dedup_key: Option<String>,
        /// What the rules looked at, where that was something else than the labels of the draft. Sealed as those are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        labels: Option<Personal<Labels>>,
    },
    /// It may go out.
    MessageApproved {
        /// The approval; none if a rule let it go.
        approval_id: Option<ApprovalId>,
        /// Who gave it.
        by: Option<PrincipalId>,
        /// The rule that let it go.
        rule: Option<RuleRef>,
        /// Keyed hash of the content that may go out, and of no other.
        content_hash: String,
    },
    /// It waits for its channel.
    MessageQueued {
        /// Not to be handed over before this instant.
        not_before: Option<Timestamp>,
    },
    /// It is handed to its channel. Until an outcome follows, nobody knows whether the channel has it.
    MessageSending {
        /// Number of this hand-over, from 1: whoever records its outcome names it.
        attempt: u32,
        /// Where it is charged.
        bucket_id: BucketId,
        /// The key that the channel gets.
        provider_key: String,
        /// With what, if the channel does nothing twice under that key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keyed: Option<Keyed>,
        /// When.
        at: Timestamp,
    },
    /// It was not given to its channel after all, and waits for it again.
    MessageTakenBack {
        /// Number of the hand-over.
        attempt: u32,
        /// Why: `too_late`, because a call that does not begin soon after its hand-over might begin after a pause.
        code: String,
    },
    /// The channel has it.
    MessageAccepted {
        /// Number of the hand-over.
        attempt: u32,
        /// Keyed hash of the provider's id of it.
        provider_hash: Option<String>,
        /// What the channel answered. The subject is the recipient.
        answer: Option<Personal<ChannelAnswer>>,
    },
    /// The channel does not have it and will be asked again.
    MessageDeferred {
        /// Number of the hand-over.
        attempt: u32,
        /// Why: a name of a closed set of the channel.
        code: String,
        /// When it is asked again.
        next_attempt_at: Timestamp,
        /// What the channel answered. The subject is the recipient.
        answer: Option<Personal<ChannelAnswer>>,
    },
    /// The channel does not want it.
    MessageRejected {
        /// Number of the hand-over.
        attempt: u32,
        /// `failed`, or `blocked_by_allowlist` where the channel lets nobody write to this recipient now.
        status: MessageStatus,
        /// Why: a name of a closed set of the channel.
        code: String,
        /// What the channel answered. The subject is the recipient.
        answer: Option<Personal<ChannelAnswer>>,
        /// The deduplication key that is free again.
        dedup_key: Option<String>,
    },
    /// The channel was asked as often as it may be.
    MessageGivenUp {
        /// Number of the last hand-over.
        attempt: u32,
        /// Why it was not taken: a name of a closed set of the channel.
        code: String,
        /// What the channel answered. The subject is the recipient.
        answer: Option<Personal<ChannelAnswer>>,
        /// The deduplication key that is free again.
        dedup_key: Option<String>,
    },
    /// Nobody can say whether the channel has it.
    OutcomeUnknown {
        /// Number of the hand-over.
        attempt: u32,
        /// Why: `no_answer`; `interrupted` where the process that held it is gone; or why it was not taken when it was
        /// handed over again, which says nothing of the first time.
        code: String,
        /// What is known, in words. The subject is the recipient.
        answer: Option<Personal<ChannelAnswer>>,
    },
    /// It is known after all.
    MessageSettled {
        /// Number of the last hand-over.
        attempt: u32,
        /// `sent` or `failed`.
        status: MessageStatus,
        /// By what.
        by: SettledBy,
        /// What was found, in words. The subject is the recipient.
        evidence: Option<Personal<String>>,
        /// The deduplication key that is free again.
        dedup_key: Option<String>,
        /// The deduplication key that it stands for again, because it was sent after all; unless another message does by now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dedup_key_again: Option<String>,
    },
    /// Something happened to it after it was handed over.
    DeliveryReported {
        /// What.
        delivery: Delivery,
        /// When, by the reporter's clock.
        at: Timestamp,
        /// What the report says. The subject is the recipient.
        detail: Option<Personal<String>>,
    },
}

stored_events!(MessageEvent {
    MessageDrafted "1",
    MessageRevised "1",
    MessageDecided "1",
    MessageApproved "1",
    MessageQueued "1",
    MessageSending "1",
    MessageTakenBack "1",
    MessageAccepted "1",
    MessageDeferred "1",
    MessageRejected "1",
    MessageGivenUp "1",
    OutcomeUnknown "1",
    MessageSettled "1",
    DeliveryReported "1",
});
