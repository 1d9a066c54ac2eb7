//! What holds sending back as a whole: pauses, and the most that one recipient may get.
//!
//! One stream per organization that every hand-over to a channel guards: once a pause is acknowledged, no append that
//! hands a message over succeeds on what was known before it.

mod event;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use event::{FrequencyCap, PauseScope, SendingControlEvent};

use crate::ids::{AgentId, CampaignId, OutboxId};
use crate::personal::Personal;
use crate::stored::aggregate;

/// The longest span over which messages to one recipient are counted.
pub const FREQUENCY_DAYS_MAX: u32 = 365;
/// A frequency cap beyond this is no cap.
pub const FREQUENCY_MESSAGES_MAX: u32 = 1_000;

/// Orders to the control of sending.
#[derive(Clone, Debug)]
pub enum SendingControlCommand {
    /// Hold back.
    Pause {
        /// The stream.
        control_id: Uuid,
        /// What.
        scope: PauseScope,
        /// Why, in the words of whoever ordered it.
        reason: String,
    },
    /// Go on.
    Resume {
        /// What.
        scope: PauseScope,
    },
    /// Set the most that one recipient may get; none means any number.
    CapFrequency {
        /// The cap.
        cap: Option<FrequencyCap>,
    },
}

/// Why the control of sending refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendingControlError {
    /// The cap is none.
    #[error("a frequency cap is 1 to {FREQUENCY_MESSAGES_MAX} messages in 1 to {FREQUENCY_DAYS_MAX} days")]
    Frequency,
}

/// The state that decisions need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SendingControl {
    /// Each scope once, in the order in which they were paused.
    paused: Vec<(PauseScope, Personal<String>)>,
    frequency: Option<FrequencyCap>,
}

aggregate!(SendingControl, "SendingControl", SendingControlCommand, SendingControlEvent, SendingControlError);

impl SendingControl {
    /// The whole business of holding back.
    fn decide(
        &self,
        command: SendingControlCommand,
    ) -> Result<Vec<SendingControlEvent>, SendingControlError> {
        use SendingControlCommand as C;
        use SendingControlEvent as E;
        Ok(match command {
            // Pausing what is paused, and resuming what is not, are retries.
            C::Pause { scope, .. } if self.is_paused(scope) => vec![],
            C::Pause { control_id, scope, reason } => {
                vec![E::SendingPaused { scope, reason: Personal::known(control_id, reason) }]
            }
            C::Resume { scope } if self.is_paused(scope) => vec![E::SendingResumed { scope }],
            C::Resume { .. } => vec![],
            C::CapFrequency { cap } if cap == self.frequency => vec![],
            C::CapFrequency { cap } => {
                let fits = |cap: FrequencyCap| {
                    (1..=FREQUENCY_MESSAGES_MAX).contains(&cap.messages)
                        && (1..=FREQUENCY_DAYS_MAX).contains(&cap.days)
                };
                if !cap.is_none_or(fits) {
                    return Err(SendingControlError::Frequency);
                }
                vec![E::FrequencyCapped { cap }]
            }
        })
    }

    fn evolve(&mut self, event: SendingControlEvent) {
        match event {
            SendingControlEvent::SendingPaused { scope, reason } => {
                self.paused.push((scope, reason));
            }
            SendingControlEvent::SendingResumed { scope } => {
                self.paused.retain(|(paused, _)| *paused != scope);
            }
            SendingControlEvent::FrequencyCapped { cap } => self.frequency = cap,
        }
    }

    /// The widest pause that holds a message back.
    pub fn holds_back(
        &self,
        outbox_id: OutboxId,
        campaign_id: Option<CampaignId>,
        agent_id: Option<AgentId>,
    ) -> Option<PauseScope> {
        [
            Some(PauseScope::All),
            Some(PauseScope::Outbox(outbox_id)),
            campaign_id.map(PauseScope::Campaign),
            agent_id.map(PauseScope::Agent),
        ]
        .into_iter()
        .flatten()
        .find(|scope| self.is_paused(*scope))
    }

    /// Whether this very scope is paused.
    pub fn is_paused(&self, scope: PauseScope) -> bool {
        self.paused.iter().any(|(paused, _)| *paused == scope)
    }

    /// What is paused, and why.
    pub fn pauses(&self) -> impl Iterator<Item = (PauseScope, Option<&str>)> {
        self.paused.iter().map(|(scope, reason)| (*scope, reason.value().map(String::as_str)))
    }

    /// The most that one recipient may get.
    pub fn frequency(&self) -> Option<FrequencyCap> {
        self.frequency
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cqrs_es::Aggregate;
    use cqrs_es::test::TestFramework;

    type Given = TestFramework<SendingControl>;
    const CONTROL: Uuid = Uuid::from_u128(1);
    const OUTBOX: OutboxId = OutboxId(Uuid::from_u128(2));
    const CAMPAIGN: CampaignId = CampaignId(Uuid::from_u128(3));
    const AGENT: AgentId = AgentId(Uuid::from_u128(4));

    fn pause(scope: PauseScope) -> SendingControlCommand {
        SendingControlCommand::Pause { control_id: CONTROL, scope, reason: "too loud".into() }
    }

    fn paused(scope: PauseScope) -> SendingControlEvent {
        SendingControlEvent::SendingPaused { scope, reason: Personal::known(CONTROL, "too loud".into()) }
    }

    fn resume(scope: PauseScope) -> SendingControlCommand {
        SendingControlCommand::Resume { scope }
    }

    #[test]
    fn saying_it_twice_is_harmless() {
        let all = PauseScope::All;
        Given::with(()).given_no_previous_events().when(pause(all)).then_expect_events(vec![paused(all)]);
        Given::with(()).given(vec![paused(all)]).when(pause(all)).then_expect_events(vec![]);
        Given::with(())
            .given(vec![paused(all)])
            .when(resume(all))
            .then_expect_events(vec![SendingControlEvent::SendingResumed { scope: all }]);
        Given::with(()).given_no_previous_events().when(resume(all)).then_expect_events(vec![]);
    }

    #[test]
    fn a_pause_holds_back_its_scope_and_no_more() {
        for (scope, of_all_three, of_another_outbox) in [
            (PauseScope::All, true, true),
            (PauseScope::Outbox(OUTBOX), true, false),
            (PauseScope::Campaign(CAMPAIGN), true, false),
            (PauseScope::Agent(AGENT), true, false),
        ] {
            let mut control = SendingControl::default();
            control.apply(paused(scope));
            assert_eq!(control.holds_back(OUTBOX, Some(CAMPAIGN), Some(AGENT)).is_some(), of_all_three);
            assert_eq!(control.holds_back(OutboxId::default(), None, None).is_some(), of_another_outbox);
            control.apply(SendingControlEvent::SendingResumed { scope });
            assert_eq!(control.holds_back(OUTBOX, Some(CAMPAIGN), Some(AGENT)), None);
        }
    }

    #[test]
    fn resuming_one_scope_leaves_the_others_paused() {
        let mut control = SendingControl::default();
        control.apply(paused(PauseScope::All));
        control.apply(paused(PauseScope::Outbox(OUTBOX)));
        control.apply(SendingControlEvent::SendingResumed { scope: PauseScope::All });
        assert_eq!(control.holds_back(OUTBOX, None, None), Some(PauseScope::Outbox(OUTBOX)));
    }

    #[test]
    fn a_frequency_cap_counts_something() {
        let cap = |messages, days| Some(FrequencyCap { messages, days });
        for wrong in [cap(0, 7), cap(1, 0), cap(1_001, 7), cap(1, 366)] {
            Given::with(())
                .given_no_previous_events()
                .when(SendingControlCommand::CapFrequency { cap: wrong })
                .then_expect_error(SendingControlError::Frequency);
        }
        Given::with(())
            .given_no_previous_events()
            .when(SendingControlCommand::CapFrequency { cap: cap(3, 7) })
            .then_expect_events(vec![SendingControlEvent::FrequencyCapped { cap: cap(3, 7) }]);
        Given::with(())
            .given(vec![SendingControlEvent::FrequencyCapped { cap: cap(3, 7) }])
            .when(SendingControlCommand::CapFrequency { cap: None })
            .then_expect_events(vec![SendingControlEvent::FrequencyCapped { cap: None }]);
    }
}
