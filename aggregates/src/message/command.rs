//! What can be asked of a message, and how it refuses.

use super::event::{ChannelAnswer, DedupKey, Keyed, MessageContent, SettledBy};
use super::status::{Delivery, DispatchState, MessageStatus, Reason};
use crate::approval_rules::RuleRef;
use crate::channel::Channel;
use crate::ids::{
    AgentId, ApprovalId, BucketId, CampaignId, ContactId, ContentPieceId, MessageId, OutboxId, PrincipalId,
    SequenceId, SubjectId,
};
use crate::labels::Labels;
use crate::time::Timestamp;

/// A draft as it is handed in: checked, normalised, hashed.
#[derive(Clone, Debug)]
pub struct Draft {
    /// A fresh id; of a sequence's step, the step's own.
    pub message_id: MessageId,
    /// The channel.
    pub channel: Channel,
    /// The sender.
    pub outbox_id: OutboxId,
    /// Whom it is about: the contact, or the address's own subject.
    pub subject: SubjectId,
    /// Keyed hash of the normalised address.
    pub recipient_hash: String,
    /// Address and payload.
    pub content: MessageContent,
    /// Keyed hash of channel, outbox, address and payload: what an approval is bound to.
    pub content_hash: String,
    /// The labels that rules look at.
    pub labels: Labels,
    /// The piece that the text is from.
    pub content_piece_id: Option<ContentPieceId>,
    /// What makes a repetition known.
    pub dedup: Option<DedupKey>,
    /// Who drafted it.
    pub drafter: PrincipalId,
    /// The caller who drafted it, where it was one.
    pub agent_id: Option<AgentId>,
    /// The contact that it is for.
    pub contact_id: Option<ContactId>,
    /// The campaign that it is for.
    pub campaign_id: Option<CampaignId>,
    /// The sequence that it is a step of.
    pub sequence_id: Option<SequenceId>,
    /// Which step, from 1.
    pub step: Option<u32>,
    /// Who had a hand in its words beside the drafter.
    pub co_authors: Vec<PrincipalId>,
}

/// On what a decision rests, for whoever asks later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grounds {
    /// Version of the allowlist.
    pub allowlist_version: u64,
    /// Version of the approval rules; none if they were not asked.
    pub rules_version: Option<u64>,
    /// The rule that matched.
    pub rule: Option<RuleRef>,
}

/// What is decided of a message that is not at a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// A rule lets it go out.
    AutoApprove,
    /// A person is asked.
    AskAPerson(ApprovalId),
    /// A person is asked because nobody vouches for its words any more, whatever the rules say.
    AskWithoutRules(ApprovalId),
    /// The rehearsal went well.
    DryRun,
    /// It may not go there.
    BlockedByAllowlist(Reason),
    /// There have been enough.
    BlockedByQuota(Reason),
    /// It cannot be sent.
    Fail(Reason),
}

/// What a channel said of one hand-over. There is nothing else that it can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has it.
    Accepted {
        /// Keyed hash of the provider's id of it, by which webhooks are matched.
        provider_hash: Option<String>,
        /// What the channel answered.
        answer: Option<ChannelAnswer>,
    },
    /// It does not want it, for good.
    Rejected {
        /// Why, as a name of a closed set of the channel.
        code: String,
        /// What the channel answered.
        answer: Option<ChannelAnswer>,
    },
    /// It does not have it, and may be asked again.
    Retry {
        /// Why, as a name of a closed set of the channel.
        code: String,
        /// What the channel answered.
        answer: Option<ChannelAnswer>,
        /// Not before this instant, if the channel said so.
        not_before: Option<Timestamp>,
    },
    /// Nobody can say whether it has it.
    Unknown {
        /// Why: `no_answer`, or `interrupted` where the process that held it is gone.
        code: String,
        /// What is known of it.
        answer: Option<ChannelAnswer>,
    },
}

/// Orders to a message.
#[derive(Clone, Debug)]
pub enum MessageCommand {
    /// Take it in.
    Draft(Box<Draft>),
    /// Another payload for the same recipient. What is decided next is decided on it.
    Revise {
        /// Who; only the drafter may.
        by: PrincipalId,
        /// Address and payload, the address as it was.
        content: MessageContent,
        /// Keyed hash of the new content.
        content_hash: String,
        /// The labels of the new content.
        labels: Labels,
    },
    /// Decide: on a draft, on what waits for a person, or at the moment of dispatch on what waits for a channel.
    Decide {
        /// What.
        ruling: Ruling,
        /// On what it rests.
        grounds: Grounds,
        /// Not to be handed over before this instant; for what is approved.
        not_before: Option<Timestamp>,
    },
    /// Decide anew, at the moment of dispatch, on what waits for a channel.
    DecideAnew {
        /// What.
        ruling: Ruling,
        /// On what it rests.
        grounds: Grounds,
        /// What the rules looked at: what is said now of its words. None where they were not asked.
        labels: Option<Labels>,
    },
    /// A person says yes. The approval's own stream is written in the same append.
    Approve {
        /// The approval that was answered.
        approval_id: ApprovalId,
        /// Who answered it.
        by: PrincipalId,
        /// The hash of what they saw.
        content_hash: String,
    },
    /// Hand it to its channel: the fence. Allowlist, suppression, rules, pauses, quota are guarded in the same append.
    Send {
        /// Where it is charged.
        bucket_id: BucketId,
        /// The key that the channel gets; the same for every hand-over.
        provider_key: String,
        /// With what, if the channel takes that key and does nothing twice under it.
        keyed: Option<Keyed>,
        /// When.
        at: Timestamp,
    },
    /// Record what the channel said of a hand-over.
    Record {
        /// The number of the hand-over.
        attempt: u32,
        /// What it said.
        outcome: Outcome,
        /// When.
        at: Timestamp,
        /// Randomness for the pause before a retry, 0 to 1 000.
        jitter: u16,
    },
    /// Say that the channel was not called after a hand-over. The charge is refunded in the same append.
    TakeBack {
        /// The number of the hand-over.
        attempt: u32,
        /// Why, as a name of a closed set.
        code: &'static str,
    },
    /// Say what became of a message of which it was not known.
    Settle {
        /// Whether it was sent.
        sent: bool,
        /// By what this is known.
        by: SettledBy,
        /// What was found, in words.
        evidence: Option<String>,
    },
    /// A report of what happened to it after it was accepted.
    Report {
        /// What.
        delivery: Delivery,
        /// When it happened, by the reporter's clock.
        at: Timestamp,
        /// What the report says, in words.
        detail: Option<String>,
    },
}

/// Why a message refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The stream is empty.
    #[error("activity does not exist")]
    Unknown,
    /// The id is taken.
    #[error("activity already exists")]
    AlreadyDrafted,
    /// Its status is final.
    #[error("an activity that is {} is not changed any more", .0.name())]
    Final(MessageStatus),
    /// It is with the dispatcher or the channel.
    #[error("an activity that is {} cannot be changed", .0.name())]
    UnderWay(DispatchState),
    /// It was not approved.
    #[error("activity is not approved")]
    NotApproved,
    /// The approval is not the one that is asked for now.
    #[error("the approval was superseded")]
    OtherApproval,
    /// What was seen is not what would be sent.
    #[error("the content is another than the one that was shown")]
    OtherContent,
    /// Whoever drafted it may not judge it.
    #[error("nobody approves their own words")]
    SelfApproval,
    /// Only the drafter revises a draft.
    #[error("only the drafter may revise a draft")]
    NotTheDrafter,
    /// A revision does not readdress.
    #[error("a revision keeps its recipient")]
    OtherRecipient,
    /// The rehearsal ends otherwise than a send.
    #[error("a dry run is never sent, and a send is never a dry run")]
    DryRunMix,
    /// It is too early.
    #[error("activity is not due before {0}")]
    NotDue(Timestamp),
    /// The recipient's data was erased.
    #[error("recipient was erased")]
    Erased,
    /// Another hand-over is the current one.
    #[error("hand-over {got} is not the current one, which is {current}")]
    NotTheHolder {
        /// The number given.
        got: u32,
        /// The number of the last hand-over; 0 if there was none.
        current: u32,
    },
    /// It is known what became of it.
    #[error("only an activity whose outcome is unknown is settled")]
    NotUnknown,
    /// It was never handed to a channel.
    #[error("activity was never sent")]
    NeverSent,
}
