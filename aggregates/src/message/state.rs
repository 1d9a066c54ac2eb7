//! What a message's facts make of it, and what is asked of it.

use serde::{Deserialize, Serialize};

use super::event::{DedupKey, Keyed, MessageContent, MessageEvent};
use super::retry::{JITTER_MAX, KEY_REMEMBERED_MILLIS, retry_at};
use super::status::{Delivery, DispatchState, MessageStatus, Reason, standing_after};
use crate::channel::Channel;
use crate::ids::{
    AgentId, ApprovalId, BucketId, CampaignId, ContactId, ContentPieceId, MessageId, OutboxId, PrincipalId,
    SequenceId, SubjectId,
};
use crate::labels::Labels;
use crate::personal::Personal;
use crate::time::Timestamp;

/// The state that decisions need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Message {
    pub(super) draft: Option<Drafted>,
    pub(super) status: MessageStatus,
    pub(super) dispatch: DispatchState,
    pub(super) delivery: Delivery,
    pub(super) reason: Option<String>,
    pub(super) approval_id: Option<ApprovalId>,
    pub(super) approved: bool,
    pub(super) auto_approved: bool,
    pub(super) not_before: Option<Timestamp>,
    pub(super) attempts: u32,
    /// Hand-overs after which the channel was not called.
    pub(super) taken_back: u32,
    pub(super) first_sent_at: Option<Timestamp>,
    pub(super) last_sent_at: Option<Timestamp>,
    pub(super) bucket_id: Option<BucketId>,
    pub(super) provider_key: Option<String>,
    /// With what it was last handed over, where the channel does nothing twice under the key.
    pub(super) keyed: Option<Keyed>,
    /// When it was last handed over, nobody knew what had become of it before.
    pub(super) repeated: bool,
}

/// What stays of the draft. The content itself is dropped once it cannot be needed any more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Drafted {
    pub(super) message_id: MessageId,
    pub(super) channel: Channel,
    pub(super) outbox_id: OutboxId,
    pub(super) subject: SubjectId,
    pub(super) recipient_hash: String,
    pub(super) content: Option<MessageContent>,
    pub(super) content_hash: String,
    pub(super) labels: Option<Labels>,
    pub(super) content_piece_id: Option<ContentPieceId>,
    pub(super) dedup: Option<DedupKey>,
    pub(super) drafter: PrincipalId,
    pub(super) agent_id: Option<AgentId>,
    pub(super) contact_id: Option<ContactId>,
    pub(super) campaign_id: Option<CampaignId>,
    pub(super) sequence_id: Option<SequenceId>,
    pub(super) co_authors: Vec<PrincipalId>,
}

impl Message {
    pub(super) fn evolve(&mut self, event: MessageEvent) {
        let away = matches!(self.dispatch, DispatchState::InFlight | DispatchState::Unknown);
        if let Some((status, dispatch)) = standing_after(&event) {
            self.stand(status, dispatch);
        }
        match event {
            MessageEvent::MessageDrafted {
                message_id,
                channel,
                outbox_id,
                recipient_hash,
                content,
                labels,
                content_hash,
                content_piece_id,
                dedup,
                drafter,
                agent_id,
                contact_id,
                campaign_id,
                sequence_id,
                co_authors,
                step: _,
            } => {
                self.draft = Some(Drafted {
                    message_id,
                    channel,
                    outbox_id,
                    subject: content.subject(),
                    recipient_hash,
                    content: content.into_value(),
                    content_hash,
                    labels: labels.into_value(),
                    content_piece_id,
                    dedup,
                    drafter,
                    agent_id,
                    contact_id,
                    campaign_id,
                    sequence_id,
                    co_authors,
                });
            }
            MessageEvent::MessageRevised { content, content_hash, labels } => {
                self.approval_id = None;
                if let Some(draft) = &mut self.draft {
                    draft.content = content.into_value();
                    draft.content_hash = content_hash;
                    draft.labels = labels.into_value();
                }
            }
            MessageEvent::MessageDecided { decision, .. } => {
                self.reason = decision.reason;
                self.approval_id = decision.approval_id;
                self.approved = false;
                self.auto_approved = false;
            }
            MessageEvent::MessageApproved { approval_id, .. } => {
                self.approved = true;
                self.auto_approved = approval_id.is_none();
            }
            MessageEvent::MessageQueued { not_before } => self.not_before = not_before,
            MessageEvent::MessageSending { attempt, bucket_id, provider_key, keyed, at } => {
                self.keyed = keyed;
                self.repeated = away;
                self.attempts = attempt;
                self.bucket_id = Some(bucket_id);
                self.provider_key = Some(provider_key);
                self.first_sent_at.get_or_insert(at);
                self.last_sent_at = Some(at);
            }
            MessageEvent::MessageTakenBack { .. } => {
                self.taken_back += 1;
                if self.tries() == 0 {
                    self.first_sent_at = None;
                }
            }
            MessageEvent::MessageAccepted { .. } => (),
            MessageEvent::MessageDeferred { next_attempt_at, code, .. } => {
                self.not_before = Some(next_attempt_at);
                self.reason = Some(code);
            }
            MessageEvent::MessageRejected { code, .. } | MessageEvent::OutcomeUnknown { code, .. } => {
                self.reason = Some(code);
            }
            MessageEvent::MessageGivenUp { .. } => {
                self.reason = Some(Reason::RetriesExhausted.name().to_owned());
            }
            MessageEvent::MessageSettled { status, .. } => {
                if status == MessageStatus::Failed {
                    self.reason = Some(Reason::SettledAsFailed.name().to_owned());
                }
            }
            MessageEvent::DeliveryReported { delivery, .. } => self.delivery = delivery,
        }
    }

    fn stand(&mut self, status: MessageStatus, dispatch: DispatchState) {
        self.status = status;
        self.dispatch = dispatch;
        self.not_before = None;
        if status == MessageStatus::Sent {
            self.reason = None;
        }
        if let Some(draft) = self.draft.as_mut().filter(|_| dispatch == DispatchState::Done) {
            draft.content = None;
            draft.labels = None;
        }
    }
}

/// What is asked of a message.
impl Message {
    /// One of the six.
    pub fn status(&self) -> MessageStatus {
        self.status
    }

    /// Where the send is.
    pub fn dispatch_state(&self) -> DispatchState {
        self.dispatch
    }

    /// What became of it after it was accepted.
    pub fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// Why its status or its place is what it is.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// The approval that is asked for, or was given.
    pub fn approval_id(&self) -> Option<ApprovalId> {
        self.approval_id
    }

    /// Whether it may go out.
    pub fn approved(&self) -> bool {
        self.approved
    }

    /// Whether a rule and no person let it go out: the rules are then asked again before it does.
    pub fn auto_approved(&self) -> bool {
        self.auto_approved
    }

    /// How often it was handed to its channel; also the number of the last hand-over.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// When it was first handed over.
    pub fn first_sent_at(&self) -> Option<Timestamp> {
        self.first_sent_at
    }

    /// When it was last handed over.
    pub fn last_sent_at(&self) -> Option<Timestamp> {
        self.last_sent_at
    }

    /// How often its channel may have been called.
    pub fn tries(&self) -> u32 {
        self.attempts.saturating_sub(self.taken_back)
    }

    /// When a message of which nobody knows whether its channel has it may be handed over again, if its channel does
    /// nothing twice under one key; none if it was tried as often as it may be.
    pub fn asked_again_at(&self) -> Option<Timestamp> {
        let (first, last) = (self.first_sent_at?, self.last_sent_at?);
        retry_at(first, self.tries(), last, None, JITTER_MAX)
    }

    /// Whether a message of which nobody knows whether its channel has it may be handed over with this at that instant:
    /// with what it was handed over the last time, and while the channel remembers its key.
    pub fn may_be_repeated(&self, keyed: Option<Keyed>, at: Timestamp) -> bool {
        let remembered = |first: Timestamp| at < first.plus_millis(KEY_REMEMBERED_MILLIS);
        keyed.is_some() && keyed == self.keyed && self.first_sent_at.is_some_and(remembered)
    }

    /// Not to be handed over before this instant.
    pub fn not_before(&self) -> Option<Timestamp> {
        self.not_before
    }

    /// Where the last hand-over was charged: to be refunded if it fails.
    pub fn bucket_id(&self) -> Option<BucketId> {
        self.bucket_id
    }

    /// The channel.
    pub fn channel(&self) -> Option<Channel> {
        self.draft.as_ref().map(|draft| draft.channel)
    }

    /// The sender.
    pub fn outbox_id(&self) -> Option<OutboxId> {
        self.draft.as_ref().map(|draft| draft.outbox_id)
    }

    /// Keyed hash of the normalised address.
    pub fn recipient_hash(&self) -> Option<&str> {
        self.draft.as_ref().map(|draft| draft.recipient_hash.as_str())
    }

    /// Address and payload, while they are known and can be needed.
    pub fn content(&self) -> Option<&MessageContent> {
        self.draft.as_ref().and_then(|draft| draft.content.as_ref())
    }

    /// Keyed hash of the content as it is now.
    pub fn content_hash(&self) -> Option<&str> {
        self.draft.as_ref().map(|draft| draft.content_hash.as_str())
    }

    /// What rules look at, while it can be needed.
    pub fn labels(&self) -> Option<&Labels> {
        self.draft.as_ref().and_then(|draft| draft.labels.as_ref())
    }

    /// The piece that the text is from.
    pub fn content_piece_id(&self) -> Option<ContentPieceId> {
        self.draft.as_ref().and_then(|draft| draft.content_piece_id)
    }

    /// What makes a repetition known.
    pub fn dedup(&self) -> Option<&DedupKey> {
        self.draft.as_ref().and_then(|draft| draft.dedup.as_ref())
    }

    /// Who drafted it.
    pub fn drafter(&self) -> Option<PrincipalId> {
        self.draft.as_ref().map(|draft| draft.drafter)
    }

    /// Who had a hand in its words beside the drafter.
    pub fn co_authors(&self) -> &[PrincipalId] {
        self.draft.as_ref().map_or(&[], |draft| &draft.co_authors)
    }

    /// The caller who drafted it, where it was one.
    pub fn agent_id(&self) -> Option<AgentId> {
        self.draft.as_ref().and_then(|draft| draft.agent_id)
    }

    /// The contact that it is for.
    pub fn contact_id(&self) -> Option<ContactId> {
        self.draft.as_ref().and_then(|draft| draft.contact_id)
    }

    /// The campaign that it is for.
    pub fn campaign_id(&self) -> Option<CampaignId> {
        self.draft.as_ref().and_then(|draft| draft.campaign_id)
    }

    /// The sequence that it is a step of, and the contact that is led through it.
    pub fn step_of(&self) -> Option<(SequenceId, ContactId)> {
        self.draft.as_ref().and_then(|draft| draft.sequence_id.zip(draft.contact_id))
    }
}

impl Drafted {
    /// The deduplication key that this status gives free again.
    pub(super) fn freed_by(&self, status: MessageStatus) -> Option<String> {
        self.dedup_key().filter(|_| status.frees_the_key())
    }

    /// The deduplication key that it was drafted with.
    pub(super) fn dedup_key(&self) -> Option<String> {
        self.dedup.as_ref().map(|dedup| dedup.key.clone())
    }

    /// Something about the recipient. Whoever appends it leaves it out once the recipient was erased.
    pub(super) fn about<T>(&self, value: Option<T>) -> Option<Personal<T>> {
        value.map(|value| Personal::known(self.subject, value))
    }
}
