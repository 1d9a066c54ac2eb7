//! One contact's way through one sequence.
//!
//! A step is taken in the append that drafts its message, decided on this stream's version; of two processes that find the
//! same step due, one appends. The message's id follows from the step, so that a step that was taken twice by whatever
//! mishap would be the same message. When a step is due follows from what was recorded and from nothing else: a restart,
//! a clock that was put on or a cron that slept change nothing but the moment of the look.

mod event;
mod fate;

use serde::{Deserialize, Serialize};

pub use event::EnrollmentEvent;
pub use fate::Fate;

use crate::calendar::CalendarError;
use crate::ids::{CampaignId, ContactId, MessageId, SequenceId};
use crate::sequence::Step;
use crate::stored::aggregate;
use crate::time::Timestamp;

/// How long a step that found its quota used up waits before it is tried again.
const QUOTA_PAUSE_MILLIS: i64 = 6 * 60 * 60 * 1_000;
/// How often a step is tried that finds its quota used up: for a week.
const QUOTA_TRIES: u32 = 28;

/// Where an enrollment stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnrollmentStatus {
    /// The contact was never led through.
    #[default]
    None,
    /// Steps are to come.
    Active,
    /// No step is taken any more.
    Stopped,
    /// Every step was taken.
    Finished,
}

impl EnrollmentStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::None, Self::Active, Self::Stopped, Self::Finished];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Active => "active",
            Self::Stopped => "stopped",
            Self::Finished => "finished",
        }
    }
}

impl std::str::FromStr for EnrollmentStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|status| status.name() == text)
            .ok_or_else(|| format!("status must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Why an enrollment is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The contact answered.
    Replied,
    /// The contact asked not to be contacted.
    Unsubscribed,
    /// A message came back.
    Bounced,
    /// The contact called a message spam.
    Complained,
    /// A message was not sent, for good.
    NotSent,
    /// The address was put on the suppression list by the board.
    Suppressed,
    /// The contact was taken out of the campaign, or erased.
    Removed,
    /// The campaign is completed or archived.
    CampaignOver,
    /// The sequence was archived.
    Archived,
    /// Somebody ordered it.
    Requested,
}

impl StopReason {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::Replied,
        Self::Unsubscribed,
        Self::Bounced,
        Self::Complained,
        Self::NotSent,
        Self::Suppressed,
        Self::Removed,
        Self::CampaignOver,
        Self::Archived,
        Self::Requested,
    ];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replied => "replied",
            Self::Unsubscribed => "unsubscribed",
            Self::Bounced => "bounced",
            Self::Complained => "complained",
            Self::NotSent => "not_sent",
            Self::Suppressed => "suppressed",
            Self::Removed => "removed",
            Self::CampaignOver => "campaign_over",
            Self::Archived => "archived",
            Self::Requested => "requested",
        }
    }
}

/// What became of the message of the step before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepBefore {
    /// There is none: the next step is the first.
    None,
    /// It waits for a person, for its channel, or for an outcome. The next step waits with it.
    Open,
    /// It was sent, at this instant.
    Sent(Timestamp),
    /// Its quota was used up, at this instant.
    OutOfQuota(Timestamp),
    /// It was not sent and will not be.
    NotSent,
}

/// A step that is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which, from 1.
    pub step: u32,
    /// Which try of it, from 1.
    pub attempt: u32,
    /// From when on.
    pub at: Timestamp,
}

/// What is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it is stopped, finished, or was never begun.
    Nothing,
    /// What the step before waits for.
    Wait,
    /// A step, from an instant on.
    Step(Due),
    /// Its window never opens.
    NeverOpen,
    /// There is no step left.
    Finish,
    /// The step before was not sent.
    Stop(StopReason),
}

/// Orders to an enrollment.
#[derive(Clone, Debug)]
pub enum EnrollmentCommand {
    /// Begin.
    Enroll {
        /// The sequence.
        sequence_id: SequenceId,
        /// The contact.
        contact_id: ContactId,
        /// For which campaign.
        campaign_id: Option<CampaignId>,
        /// When.
        at: Timestamp,
    },
    /// Take the step that is next. Its message is drafted in the same append.
    TakeStep {
        /// The sequence's steps as they are now.
        steps: Vec<Step>,
        /// Which version of the sequence that is.
        sequence_version: u32,
        /// What became of the message of the step before.
        before: StepBefore,
        /// The message's id, made of the step.
        message_id: MessageId,
        /// When.
        at: Timestamp,
    },
    /// Every step was taken, and the last one sent.
    Finish,
    /// Take no more steps.
    Stop {
        /// Why.
        because: StopReason,
    },
}

/// Why an enrollment refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrollmentError {
    /// The stream is empty.
    #[error("contact is not enrolled in the sequence")]
    Unknown,
    /// Steps are still to come.
    #[error("contact is enrolled in the sequence already")]
    AlreadyEnrolled,
    /// No step is to be taken now.
    #[error("no step is due")]
    NothingDue,
    /// The window of the step cannot be read.
    #[error(transparent)]
    Window(#[from] CalendarError),
}

/// The state that decisions need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Enrollment {
    status: EnrollmentStatus,
    round: u64,
    sequence_id: Option<SequenceId>,
    contact_id: Option<ContactId>,
    campaign_id: Option<CampaignId>,
    enrolled_at: Timestamp,
    step: u32,
    attempt: u32,
    messages: Vec<MessageId>,
}

aggregate!(Enrollment, "Enrollment", EnrollmentCommand, EnrollmentEvent, EnrollmentError);

impl Enrollment {
    /// The whole business of an enrollment.
    fn decide(&self, command: EnrollmentCommand) -> Result<Vec<EnrollmentEvent>, EnrollmentError> {
        use EnrollmentStatus as S;
        match (command, self.status) {
            (EnrollmentCommand::Enroll { .. }, S::Active) => Err(EnrollmentError::AlreadyEnrolled),
            (EnrollmentCommand::Enroll { sequence_id, contact_id, campaign_id, at }, _) => {
                let round = self.round + 1;
                Ok(vec![EnrollmentEvent::ContactEnrolled { sequence_id, contact_id, campaign_id, round, at }])
            }
            (_, S::None) => Err(EnrollmentError::Unknown),
            (EnrollmentCommand::TakeStep { steps, sequence_version, before, message_id, at }, S::Active) => {
                match self.next(&steps, before)? {
                    Next::Step(due) if due.at <= at => Ok(vec![EnrollmentEvent::StepTaken {
                        round: self.round,
                        step: due.step,
                        attempt: due.attempt,
                        sequence_version,
                        message_id,
                        at,
                    }]),
                    _ => Err(EnrollmentError::NothingDue),
                }
            }
            (EnrollmentCommand::TakeStep { .. }, _) => Err(EnrollmentError::NothingDue),
            (EnrollmentCommand::Finish, S::Active) => Ok(vec![EnrollmentEvent::EnrollmentFinished {}]),
            (EnrollmentCommand::Stop { because }, S::Active) => {
                Ok(vec![EnrollmentEvent::EnrollmentStopped { because: because.name().to_owned() }])
            }
            (EnrollmentCommand::Finish | EnrollmentCommand::Stop { .. }, _) => Ok(vec![]),
        }
    }

    fn evolve(&mut self, event: EnrollmentEvent) {
        match event {
            EnrollmentEvent::ContactEnrolled { sequence_id, contact_id, campaign_id, round, at } => {
                *self = Self {
                    status: EnrollmentStatus::Active,
                    round,
                    sequence_id: Some(sequence_id),
                    contact_id: Some(contact_id),
                    campaign_id,
                    enrolled_at: at,
                    ..Self::default()
                };
            }
            EnrollmentEvent::StepTaken { step, attempt, message_id, .. } => {
                self.step = step;
                self.attempt = attempt;
                self.messages.push(message_id);
            }
            EnrollmentEvent::EnrollmentStopped { .. } => self.status = EnrollmentStatus::Stopped,
            EnrollmentEvent::EnrollmentFinished {} => self.status = EnrollmentStatus::Finished,
        }
    }

    /// What is next, under these steps and after what became of the message of the step before.
    pub fn next(&self, steps: &[Step], before: StepBefore) -> Result<Next, CalendarError> {
        if self.status != EnrollmentStatus::Active {
            return Ok(Next::Nothing);
        }
        let taken = usize::try_from(self.step).unwrap_or(usize::MAX);
        let (index, attempt, since) = match before {
            StepBefore::None if taken == 0 => (0, 1, self.enrolled_at),
            // A step was taken, and nobody looked what became of it.
            StepBefore::None | StepBefore::Open => return Ok(Next::Wait),
            StepBefore::NotSent => return Ok(Next::Stop(StopReason::NotSent)),
            StepBefore::OutOfQuota(_) if self.attempt >= QUOTA_TRIES => {
                return Ok(Next::Stop(StopReason::NotSent));
            }
            StepBefore::OutOfQuota(at) => (taken.saturating_sub(1), self.attempt + 1, at),
            StepBefore::Sent(at) => (taken, 1, at),
        };
        let Some(step) = steps.get(index) else { return Ok(Next::Finish) };
        let wait = match before {
            StepBefore::OutOfQuota(_) => QUOTA_PAUSE_MILLIS,
            _ => i64::from(step.wait_minutes) * 60 * 1_000,
        };
        let from = since.plus_millis(wait);
        let at = match &step.window {
            None => Some(from),
            Some(window) => window.next_opening(from)?,
        };
        let step = u32::try_from(index + 1).unwrap_or(u32::MAX);
        Ok(at.map_or(Next::NeverOpen, |at| Next::Step(Due { step, attempt, at })))
    }

    /// Where it stands.
    pub fn status(&self) -> EnrollmentStatus {
        self.status
    }

    /// Which time the contact is led through, from 1.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// The sequence.
    pub fn sequence_id(&self) -> Option<SequenceId> {
        self.sequence_id
    }

    /// The contact.
    pub fn contact_id(&self) -> Option<ContactId> {
        self.contact_id
    }

    /// For which campaign.
    pub fn campaign_id(&self) -> Option<CampaignId> {
        self.campaign_id
    }

    /// When it began.
    pub fn enrolled_at(&self) -> Timestamp {
        self.enrolled_at
    }

    /// The message of the last step that was taken.
    pub fn message_id(&self) -> Option<MessageId> {
        self.messages.last().copied()
    }

    /// The messages of the last step that was taken: one for each try of it, in order.
    pub fn tries(&self) -> &[MessageId] {
        let tries = usize::try_from(self.attempt).unwrap_or(usize::MAX);
        &self.messages[self.messages.len().saturating_sub(tries)..]
    }

    /// The messages of every step that was taken this time, in order. An answer to any of them ends it.
    pub fn messages(&self) -> &[MessageId] {
        &self.messages
    }
}

#[cfg(test)]
mod tests;
