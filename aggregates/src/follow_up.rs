//! A follow-up: a promise to call a contact again at a given time.
//!
//! `overdue` is no status: it is `pending` seen after the time it was due.

mod event;

use serde::{Deserialize, Serialize};

pub use event::FollowUpEvent;

use crate::ids::{AgentId, CampaignId, ContactId, FollowUpId};
use crate::personal::Personal;
use crate::stored::aggregate;
use crate::time::Timestamp;

/// Where a follow-up stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FollowUpStatus {
    /// To be seen to.
    #[default]
    Pending,
    /// Seen to.
    Done,
    /// Not wanted any more.
    Cancelled,
}

impl FollowUpStatus {
    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Orders to a follow-up.
#[derive(Clone, Debug)]
pub enum FollowUpCommand {
    /// Promise it.
    Schedule {
        /// A fresh id.
        follow_up_id: FollowUpId,
        /// The campaign.
        campaign_id: CampaignId,
        /// The contact.
        contact_id: ContactId,
        /// Who is to call.
        agent_id: AgentId,
        /// When.
        due_at: Timestamp,
        /// What for.
        note: Option<String>,
    },
    /// It was seen to.
    Finish,
    /// It is not wanted any more.
    Cancel {
        /// Why.
        because: &'static str,
    },
}

/// Why a follow-up refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowUpError {
    /// The stream is empty.
    #[error("follow-up does not exist")]
    Unknown,
    /// The id is taken.
    #[error("follow-up already exists")]
    AlreadyScheduled,
    /// Done and cancelled are final.
    #[error("a follow-up that is {} cannot become {}", .from.name(), .to.name())]
    IllegalTransition {
        /// Where it stands.
        from: FollowUpStatus,
        /// Where it was to go.
        to: FollowUpStatus,
    },
}

/// The state that decisions need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FollowUp {
    of: Option<(CampaignId, ContactId)>,
    status: FollowUpStatus,
}

aggregate!(FollowUp, "FollowUp", FollowUpCommand, FollowUpEvent, FollowUpError);

impl FollowUp {
    /// The whole business of a follow-up.
    fn decide(&self, command: FollowUpCommand) -> Result<Vec<FollowUpEvent>, FollowUpError> {
        use FollowUpStatus as S;
        match (command, self.of, self.status) {
            (
                FollowUpCommand::Schedule { follow_up_id, campaign_id, contact_id, agent_id, due_at, note },
                None,
                _,
            ) => Ok(vec![FollowUpEvent::FollowUpScheduled {
                follow_up_id,
                campaign_id,
                contact_id,
                agent_id,
                due_at,
                note: note.map(|note| Personal::known(contact_id.uuid(), note)),
            }]),
            (FollowUpCommand::Schedule { .. }, Some(_), _) => Err(FollowUpError::AlreadyScheduled),
            (_, None, _) => Err(FollowUpError::Unknown),

            (FollowUpCommand::Finish, _, S::Pending) => Ok(vec![FollowUpEvent::FollowUpDone {}]),
            (FollowUpCommand::Finish, _, S::Done) => Ok(vec![]),
            (FollowUpCommand::Finish, _, from) => Err(FollowUpError::IllegalTransition { from, to: S::Done }),

            (FollowUpCommand::Cancel { because }, _, S::Pending) => {
                Ok(vec![FollowUpEvent::FollowUpCancelled { because: because.to_owned() }])
            }
            (FollowUpCommand::Cancel { .. }, _, S::Cancelled) => Ok(vec![]),
            (FollowUpCommand::Cancel { .. }, _, from) => {
                Err(FollowUpError::IllegalTransition { from, to: S::Cancelled })
            }
        }
    }

    fn evolve(&mut self, event: FollowUpEvent) {
        match event {
            FollowUpEvent::FollowUpScheduled { campaign_id, contact_id, .. } => {
                self.of = Some((campaign_id, contact_id));
            }
            FollowUpEvent::FollowUpDone {} => self.status = FollowUpStatus::Done,
            FollowUpEvent::FollowUpCancelled { .. } => self.status = FollowUpStatus::Cancelled,
        }
    }

    /// The campaign and contact that it is about; none while it does not exist.
    pub fn of(&self) -> Option<(CampaignId, ContactId)> {
        self.of
    }

    /// Where it stands.
    pub fn status(&self) -> FollowUpStatus {
        self.status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cqrs_es::test::TestFramework;
    use uuid::Uuid;

    type Given = TestFramework<FollowUp>;

    fn schedule() -> FollowUpCommand {
        FollowUpCommand::Schedule {
            follow_up_id: FollowUpId(Uuid::from_u128(1)),
            campaign_id: CampaignId(Uuid::from_u128(2)),
            contact_id: ContactId(Uuid::from_u128(3)),
            agent_id: AgentId(Uuid::from_u128(4)),
            due_at: Timestamp::default(),
            note: Some("ask again".into()),
        }
    }

    fn scheduled() -> FollowUpEvent {
        FollowUpEvent::FollowUpScheduled {
            follow_up_id: FollowUpId(Uuid::from_u128(1)),
            campaign_id: CampaignId(Uuid::from_u128(2)),
            contact_id: ContactId(Uuid::from_u128(3)),
            agent_id: AgentId(Uuid::from_u128(4)),
            due_at: Timestamp::default(),
            note: Some(Personal::known(Uuid::from_u128(3), "ask again".into())),
        }
    }

    fn cancelled() -> FollowUpEvent {
        FollowUpEvent::FollowUpCancelled { because: "requested".into() }
    }

    #[test]
    fn a_follow_up_is_scheduled_once() {
        Given::with(()).given_no_previous_events().when(schedule()).then_expect_events(vec![scheduled()]);
        Given::with(())
            .given(vec![scheduled()])
            .when(schedule())
            .then_expect_error(FollowUpError::AlreadyScheduled);
    }

    #[test]
    fn done_and_cancelled_are_final() {
        Given::with(())
            .given(vec![scheduled(), FollowUpEvent::FollowUpDone {}])
            .when(FollowUpCommand::Cancel { because: "requested" })
            .then_expect_error(FollowUpError::IllegalTransition {
                from: FollowUpStatus::Done,
                to: FollowUpStatus::Cancelled,
            });
        Given::with(())
            .given(vec![scheduled(), cancelled()])
            .when(FollowUpCommand::Finish)
            .then_expect_error(FollowUpError::IllegalTransition {
                from: FollowUpStatus::Cancelled,
                to: FollowUpStatus::Done,
            });
    }

    #[test]
    fn saying_it_twice_is_harmless() {
        Given::with(())
            .given(vec![scheduled(), FollowUpEvent::FollowUpDone {}])
            .when(FollowUpCommand::Finish)
            .then_expect_events(vec![]);
        Given::with(())
            .given(vec![scheduled(), cancelled()])
            .when(FollowUpCommand::Cancel { because: "requested" })
            .then_expect_events(vec![]);
    }

    #[test]
    fn what_was_never_scheduled_cannot_be_finished() {
        Given::with(())
            .given_no_previous_events()
            .when(FollowUpCommand::Finish)
            .then_expect_error(FollowUpError::Unknown);
    }
}
