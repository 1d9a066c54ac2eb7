//! An approval: one question to a person about one content.
//!
//! Its id names what was shown: the content's hash stands in the question, and an answer must repeat it. A draft that
//! was changed since has another approval, and this one is superseded. Nobody answers for their own words, and no
//! answer is given after 72 hours.

mod event;

use serde::{Deserialize, Serialize};

pub use event::ApprovalEvent;

use crate::approval_rules::RuleRef;
use crate::ids::{ApprovalId, MessageId, PrincipalId};
use crate::personal::Personal;
use crate::stored::aggregate;
use crate::time::Timestamp;

/// How long a question stays open.
pub const OPEN_FOR_MILLIS: i64 = 72 * 60 * 60 * 1_000;

/// Where an approval stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalStatus {
    /// To be answered.
    #[default]
    Pending,
    /// Yes.
    Approved,
    /// No.
    Rejected,
    /// Not like this.
    RevisionRequested,
    /// The draft changed; another approval asks for it.
    Superseded,
    /// Nobody answered in time.
    Expired,
}

impl ApprovalStatus {
    /// Every status.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Approved,
        Self::Rejected,
        Self::RevisionRequested,
        Self::Superseded,
        Self::Expired,
    ];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::RevisionRequested => "revision_requested",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
        }
    }

    /// Whether a draft that stands here may still be revised.
    const fn is_revisable(self) -> bool {
        matches!(self, Self::Pending | Self::RevisionRequested)
    }
}

impl std::str::FromStr for ApprovalStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|status| status.name() == text)
            .ok_or_else(|| format!("status must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Orders to an approval.
#[derive(Clone, Debug)]
pub enum ApprovalCommand {
    /// Ask.
    Request {
        /// A fresh id.
        approval_id: ApprovalId,
        /// What is to be sent.
        message_id: MessageId,
        /// Keyed hash of what is shown.
        content_hash: String,
        /// Who drafted it.
        drafter: PrincipalId,
        /// The rule that queued it; none if no rule matched.
        rule: Option<RuleRef>,
        /// The approval that this one takes the place of.
        supersedes: Option<ApprovalId>,
        /// When.
        at: Timestamp,
    },
    /// Say yes.
    Approve {
        /// Who.
        by: PrincipalId,
        /// The hash of what they saw.
        content_hash: String,
        /// Why, in their words.
        note: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// Say no.
    Reject {
        /// Who.
        by: PrincipalId,
        /// Why, in their words.
        note: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// Ask for another draft.
    RequestRevision {
        /// Who.
        by: PrincipalId,
        /// What is to be changed, in their words.
        note: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// Its drafter gives the message other words, while there is time.
    Reword {
        /// The approval that takes its place; none if the new words need none.
        by: Option<ApprovalId>,
        /// When.
        at: Timestamp,
    },
    /// The draft is taken back, or nobody needs to be asked about it any more.
    Supersede {
        /// The approval that takes its place; none if the draft needs none any more.
        by: Option<ApprovalId>,
    },
    /// Close it if its time is over.
    Expire {
        /// When.
        at: Timestamp,
    },
}

/// Why an approval refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    /// The stream is empty.
    #[error("approval does not exist")]
    Unknown,
    /// The id is taken.
    #[error("approval already exists")]
    AlreadyRequested,
    /// It was answered, superseded or expired.
    #[error("an approval that is {} takes no answer", .0.name())]
    NotPending(ApprovalStatus),
    /// Whoever drafted it may not judge it.
    #[error("nobody approves their own words")]
    SelfApproval,
    /// What was seen is not what would be sent.
    #[error("the content is another than the one that was shown")]
    OtherContent,
    /// Its time is not over yet.
    #[error("approval has not expired yet")]
    NotYetExpired,
}

/// The state that decisions need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Approval {
    question: Option<Question>,
    status: ApprovalStatus,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Question {
    approval_id: ApprovalId,
    message_id: MessageId,
    content_hash: String,
    drafter: PrincipalId,
    expires_at: Timestamp,
}

aggregate!(Approval, "Approval", ApprovalCommand, ApprovalEvent, ApprovalError);

impl Approval {
    /// The whole business of an approval.
    fn decide(&self, command: ApprovalCommand) -> Result<Vec<ApprovalEvent>, ApprovalError> {
        use ApprovalCommand as C;
        use ApprovalEvent as E;
        use ApprovalStatus as S;
        match (command, &self.question, self.status) {
            (
                C::Request { approval_id, message_id, content_hash, drafter, rule, supersedes, at },
                None,
                _,
            ) => Ok(vec![E::ApprovalRequested {
                approval_id,
                message_id,
                content_hash,
                drafter,
                rule,
                supersedes,
                expires_at: at.plus_millis(OPEN_FOR_MILLIS),
            }]),
            (C::Request { .. }, Some(_), _) => Err(ApprovalError::AlreadyRequested),
            (_, None, _) => Err(ApprovalError::Unknown),

            // Saying yes again to the same content is a retry, not a mistake.
            (C::Approve { content_hash, .. }, Some(asked), S::Approved)
                if content_hash == asked.content_hash =>
            {
                Ok(vec![])
            }
            (C::Approve { by, content_hash, note, at }, Some(asked), _) => {
                self.answerable(asked, by, at)?;
                if content_hash != asked.content_hash {
                    return Err(ApprovalError::OtherContent);
                }
                Ok(vec![E::ApprovalGranted { by, content_hash, note: asked.note(note) }])
            }
            (C::Reject { .. }, _, S::Rejected) => Ok(vec![]),
            (C::Reject { by, note, at }, Some(asked), _) => {
                self.open(asked, at)?;
                Ok(vec![E::ApprovalRejected { by, note: asked.note(note) }])
            }
            (C::RequestRevision { .. }, _, S::RevisionRequested) => Ok(vec![]),
            (C::RequestRevision { by, note, at }, Some(asked), _) => {
                self.answerable(asked, by, at)?;
                Ok(vec![E::RevisionRequested { by, note: asked.note(note) }])
            }
            (C::Reword { at, .. }, Some(asked), status)
                if status.is_revisable() && at >= asked.expires_at =>
            {
                Err(ApprovalError::NotPending(S::Expired))
            }
            (C::Supersede { .. } | C::Reword { .. }, _, S::Superseded) => Ok(vec![]),
            (C::Supersede { by } | C::Reword { by, .. }, _, status) if status.is_revisable() => {
                Ok(vec![E::ApprovalSuperseded { by }])
            }
            (C::Supersede { .. } | C::Reword { .. }, _, status) => Err(ApprovalError::NotPending(status)),

            (C::Expire { .. }, _, S::Expired) => Ok(vec![]),
            (C::Expire { at }, Some(asked), status) if status.is_revisable() => {
                if at < asked.expires_at {
                    return Err(ApprovalError::NotYetExpired);
                }
                Ok(vec![E::ApprovalExpired {}])
            }
            (C::Expire { .. }, _, status) => Err(ApprovalError::NotPending(status)),
        }
    }

    /// Pending, and its time is not over, whether or not somebody closed it already.
    fn open(&self, asked: &Question, at: Timestamp) -> Result<(), ApprovalError> {
        match self.status {
            ApprovalStatus::Pending if at >= asked.expires_at => {
                Err(ApprovalError::NotPending(ApprovalStatus::Expired))
            }
            ApprovalStatus::Pending => Ok(()),
            status => Err(ApprovalError::NotPending(status)),
        }
    }

    fn answerable(&self, asked: &Question, by: PrincipalId, at: Timestamp) -> Result<(), ApprovalError> {
        self.open(asked, at)?;
        if by == asked.drafter { Err(ApprovalError::SelfApproval) } else { Ok(()) }
    }

    fn evolve(&mut self, event: ApprovalEvent) {
        self.status = match event {
            ApprovalEvent::ApprovalRequested {
                approval_id,
                message_id,
                content_hash,
                drafter,
                expires_at,
                ..
            } => {
                self.question = Some(Question { approval_id, message_id, content_hash, drafter, expires_at });
                ApprovalStatus::Pending
            }
            ApprovalEvent::ApprovalGranted { .. } => ApprovalStatus::Approved,
            ApprovalEvent::ApprovalRejected { .. } => ApprovalStatus::Rejected,
            ApprovalEvent::RevisionRequested { .. } => ApprovalStatus::RevisionRequested,
            ApprovalEvent::ApprovalSuperseded { .. } => ApprovalStatus::Superseded,
            ApprovalEvent::ApprovalExpired {} => ApprovalStatus::Expired,
        };
    }

    /// Where it stands. One whose time is over is pending until somebody closes it.
    pub fn status(&self) -> ApprovalStatus {
        self.status
    }

    /// What is to be sent; none while the approval does not exist.
    pub fn message_id(&self) -> Option<MessageId> {
        self.question.as_ref().map(|asked| asked.message_id)
    }

    /// Keyed hash of what was shown.
    pub fn content_hash(&self) -> Option<&str> {
        self.question.as_ref().map(|asked| asked.content_hash.as_str())
    }

    /// When its time is over.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.question.as_ref().map(|asked| asked.expires_at)
    }
}

impl Question {
    fn note(&self, note: Option<String>) -> Option<Personal<String>> {
        note.map(|note| Personal::known(self.approval_id.uuid(), note))
    }
}

#[cfg(test)]
mod tests;
