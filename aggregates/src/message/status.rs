//! What is said of a message: its status, where it is, what became of it, and why.

use serde::{Deserialize, Serialize};

use super::event::MessageEvent;

/// The six statuses. There is no seventh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    /// Waits for a person, or approved and on its way.
    #[default]
    DraftPendingApproval,
    /// The channel has it.
    Sent,
    /// The rehearsal went well.
    SentDryrun,
    /// The recipient may not be written to.
    BlockedByAllowlist,
    /// There have been enough.
    BlockedByQuota,
    /// It was not sent and will not be.
    Failed,
}

impl MessageStatus {
    /// Every status.
    pub const ALL: [Self; 6] = [
        Self::DraftPendingApproval,
        Self::Sent,
        Self::SentDryrun,
        Self::BlockedByAllowlist,
        Self::BlockedByQuota,
        Self::Failed,
    ];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DraftPendingApproval => "draft_pending_approval",
            Self::Sent => "sent",
            Self::SentDryrun => "sent_dryrun",
            Self::BlockedByAllowlist => "blocked_by_allowlist",
            Self::BlockedByQuota => "blocked_by_quota",
            Self::Failed => "failed",
        }
    }

    /// Whether the same request may be tried again under the same key.
    pub(super) const fn frees_the_key(self) -> bool {
        matches!(self, Self::BlockedByAllowlist | Self::BlockedByQuota | Self::Failed)
    }
}

impl std::str::FromStr for MessageStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|status| status.name() == text)
            .ok_or_else(|| format!("status must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Where a send is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DispatchState {
    /// Not with the dispatcher: nobody approved it yet.
    #[default]
    None,
    /// Waits for its channel.
    Queued,
    /// At its channel.
    InFlight,
    /// Waits to be tried again.
    Retrying,
    /// Its status is final, unless it is reported to have arrived although it was said not to have been sent.
    Done,
    /// Nobody can say whether the channel has it.
    Unknown,
}

impl DispatchState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::None, Self::Queued, Self::InFlight, Self::Retrying, Self::Done, Self::Unknown];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Queued => "queued",
            Self::InFlight => "in_flight",
            Self::Retrying => "retrying",
            Self::Done => "done",
            Self::Unknown => "unknown",
        }
    }
}

/// What became of a message after its channel had it. Ordered: a later report never takes back a worse one, because
/// reports come in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Nothing was reported.
    #[default]
    Unknown,
    /// It arrived.
    Delivered,
    /// It was answered.
    Replied,
    /// It came back.
    Bounced,
    /// The recipient called it spam.
    Complained,
}

impl Delivery {
    /// Every one, the worst last.
    pub const ALL: [Self; 5] =
        [Self::Unknown, Self::Delivered, Self::Replied, Self::Bounced, Self::Complained];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Delivered => "delivered",
            Self::Replied => "replied",
            Self::Bounced => "bounced",
            Self::Complained => "complained",
        }
    }

    /// Whether it cannot be said of a message that its channel did not take.
    pub(super) const fn somebody_has_it(self) -> bool {
        matches!(self, Self::Delivered | Self::Replied | Self::Complained)
    }
}

/// Why a message was decided as it was. A channel's own codes stand beside these; the one that both know,
/// `window_closed`, means the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The recipient is not on the allowlist.
    NotOnAllowlist,
    /// The allowlist is empty, so nobody is on it.
    AllowlistEmpty,
    /// The address is on the suppression list, or its owner asked not to be contacted.
    Suppressed,
    /// The contact that it is for is not to be contacted, whichever of its addresses that was said of.
    DoNotContact,
    /// The channel lets nobody write to this recipient now.
    WindowClosed,
    /// The credential's daily cap is reached.
    DailyCap,
    /// The recipient has got enough.
    FrequencyCap,
    /// The sender was taken out of use.
    OutboxDeleted,
    /// The secret has no such version.
    SecretMissing,
    /// The recipient's data was erased.
    RecipientErased,
    /// A person said no.
    ApprovalRejected,
    /// Nobody answered in time.
    ApprovalExpired,
    /// The channel was asked as often as it may be.
    RetriesExhausted,
    /// Somebody found that it was not sent.
    SettledAsFailed,
    /// An e-mail needs an unsubscribe link, and the server does not know its own address.
    NoPublicUrl,
    /// It is a step of a sequence that its contact is not led through any more.
    SequenceStopped,
    /// It is another try of a step that was sent after all.
    StepSent,
    /// The piece that its words are from was taken out of use after a rule had let it go.
    PieceGone,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 18] = [
        Self::NotOnAllowlist,
        Self::AllowlistEmpty,
        Self::Suppressed,
        Self::DoNotContact,
        Self::WindowClosed,
        Self::DailyCap,
        Self::FrequencyCap,
        Self::OutboxDeleted,
        Self::SecretMissing,
        Self::RecipientErased,
        Self::ApprovalRejected,
        Self::ApprovalExpired,
        Self::RetriesExhausted,
        Self::SettledAsFailed,
        Self::NoPublicUrl,
        Self::SequenceStopped,
        Self::StepSent,
        Self::PieceGone,
    ];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotOnAllowlist => "not_on_allowlist",
            Self::AllowlistEmpty => "allowlist_empty",
            Self::Suppressed => "suppressed",
            Self::DoNotContact => "do_not_contact",
            Self::WindowClosed => "window_closed",
            Self::DailyCap => "daily_cap",
            Self::FrequencyCap => "frequency_cap",
            Self::OutboxDeleted => "outbox_deleted",
            Self::SecretMissing => "secret_missing",
            Self::RecipientErased => "recipient_erased",
            Self::ApprovalRejected => "approval_rejected",
            Self::ApprovalExpired => "approval_expired",
            Self::RetriesExhausted => "retries_exhausted",
            Self::SettledAsFailed => "settled_as_failed",
            Self::NoPublicUrl => "no_public_url",
            Self::SequenceStopped => "sequence_stopped",
            Self::StepSent => "step_sent",
            Self::PieceGone => "content_piece_gone",
        }
    }

    /// The reason in a sentence, for whoever asks why.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::NotOnAllowlist => "the recipient is not on the allowlist",
            Self::AllowlistEmpty => "the allowlist is empty, which allows nobody",
            Self::Suppressed => "the recipient is suppressed or asked not to be contacted",
            Self::DoNotContact => {
                "the contact that it is for, or another one at this address, its mailbox or its number, is not to be contacted, \
                 whichever of its addresses that was said of"
            }
            Self::WindowClosed => "the channel's window for writing to this recipient is closed",
            Self::DailyCap => "the credential's daily cap was reached",
            Self::FrequencyCap => {
                "as many messages as the frequency cap allows are sent, or on their way, to the recipient"
            }
            Self::OutboxDeleted => "the outbox was deleted",
            Self::SecretMissing => "the outbox's secret has no such version",
            Self::RecipientErased => "the recipient's data was erased",
            Self::ApprovalRejected => "the approval was refused",
            Self::ApprovalExpired => "nobody answered the approval within 72 hours",
            Self::RetriesExhausted => "the channel did not take it in all tries",
            Self::SettledAsFailed => "it was found not to have been sent",
            Self::NoPublicUrl => "an e-mail needs an unsubscribe link, and DOCKET_PUBLIC_URL is not set",
            Self::SequenceStopped => "its contact is not led through its sequence any more",
            Self::StepSent => "an earlier try of the same step was sent after all",
            Self::PieceGone => "the content piece that its words are from was taken out of use",
        }
    }
}

/// What an event makes of the two fields; none if it leaves them as they are. The one definition, for decisions and for
/// read models.
pub fn standing_after(event: &MessageEvent) -> Option<(MessageStatus, DispatchState)> {
    use DispatchState as D;
    use MessageStatus as S;
    match event {
        MessageEvent::MessageDrafted { .. } => Some((S::DraftPendingApproval, D::None)),
        MessageEvent::MessageDecided { decision, .. } => Some(match decision.status {
            S::DraftPendingApproval => (S::DraftPendingApproval, D::None),
            last => (last, D::Done),
        }),
        MessageEvent::MessageQueued { .. } | MessageEvent::MessageTakenBack { .. } => {
            Some((S::DraftPendingApproval, D::Queued))
        }
        MessageEvent::MessageSending { .. } => Some((S::DraftPendingApproval, D::InFlight)),
        MessageEvent::MessageAccepted { .. } => Some((S::Sent, D::Done)),
        MessageEvent::MessageDeferred { .. } => Some((S::DraftPendingApproval, D::Retrying)),
        MessageEvent::MessageRejected { status, .. } | MessageEvent::MessageSettled { status, .. } => {
            Some((*status, D::Done))
        }
        MessageEvent::MessageGivenUp { .. } => Some((S::Failed, D::Done)),
        MessageEvent::OutcomeUnknown { .. } => Some((S::DraftPendingApproval, D::Unknown)),
        MessageEvent::MessageRevised { .. }
        | MessageEvent::MessageApproved { .. }
        | MessageEvent::DeliveryReported { .. } => None,
    }
}

impl std::str::FromStr for DispatchState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|one| one.name() == text)
            .ok_or_else(|| format!("dispatchState must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

impl std::str::FromStr for Delivery {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|one| one.name() == text)
            .ok_or_else(|| format!("delivery must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}
