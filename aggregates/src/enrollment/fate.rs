//! What became of a step's message, as far as the next step is concerned.
//!
//! Folded from the message's own stream, with the instants at which it was recorded: when the next step is due follows
//! from when the one before was sent. Nothing personal is looked at, so that the stream need not be opened.

use super::{StepBefore, StopReason};
use crate::message::{Delivery, DispatchState, MessageEvent, MessageStatus, Reason, standing_after};
use crate::time::Timestamp;

/// Where a message stands, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    status: MessageStatus,
    dispatch: DispatchState,
    delivery: Delivery,
    since: Timestamp,
    handed_over: Option<Timestamp>,
    /// It was given up because an earlier try of its step had been sent.
    needless: bool,
}

impl Default for Fate {
    fn default() -> Self {
        Self {
            status: MessageStatus::DraftPendingApproval,
            dispatch: DispatchState::None,
            delivery: Delivery::Unknown,
            since: Timestamp::default(),
            handed_over: None,
            needless: false,
        }
    }
}

impl Fate {
    /// Takes in the next event of the message's stream.
    pub fn take_in(&mut self, event: &MessageEvent, at: Timestamp) {
        if let Some((status, dispatch)) = standing_after(event) {
            (self.status, self.dispatch, self.since) = (status, dispatch, at);
        }
        match event {
            MessageEvent::DeliveryReported { delivery, .. } => self.delivery = *delivery,
            MessageEvent::MessageSending { at, .. } => self.handed_over = Some(*at),
            MessageEvent::MessageDecided { decision, .. } => {
                self.needless = decision.reason.as_deref() == Some(Reason::StepSent.name());
            }
            _ => (),
        }
    }

    /// When it was handed to its channel for the last time, if the recipient has it or may have it: from then on they may
    /// answer.
    pub fn answerable_since(&self) -> Option<Timestamp> {
        let away = matches!(self.dispatch, DispatchState::InFlight | DispatchState::Unknown);
        self.handed_over.filter(|_| away || self.status == MessageStatus::Sent)
    }

    /// What the next step waits for, after these tries of the one before it, in order. A try that its channel had not taken, and
    /// that then found its quota used up, may be reported to have arrived all the same: its step was sent, and the try that
    /// followed is needless.
    pub fn of_step<'a>(tries: impl DoubleEndedIterator<Item = &'a Self>) -> StepBefore {
        let mut latest_first = tries.rev();
        let Some(last) = latest_first.next() else { return StepBefore::None };
        match (last.before(), latest_first.find_map(Self::sent)) {
            (StepBefore::OutOfQuota(_), Some(at)) => StepBefore::Sent(at),
            (StepBefore::NotSent, Some(at)) if last.needless => StepBefore::Sent(at),
            (before, _) => before,
        }
    }

    /// Since when it is known to have been sent.
    pub fn sent(&self) -> Option<Timestamp> {
        match self.before() {
            StepBefore::Sent(at) => Some(at),
            _ => None,
        }
    }

    /// What the next step waits for.
    fn before(&self) -> StepBefore {
        if self.dispatch != DispatchState::Done {
            return StepBefore::Open;
        }
        match self.status {
            MessageStatus::Sent | MessageStatus::SentDryrun => StepBefore::Sent(self.since),
            MessageStatus::BlockedByQuota => StepBefore::OutOfQuota(self.since),
            MessageStatus::BlockedByAllowlist | MessageStatus::Failed => StepBefore::NotSent,
            MessageStatus::DraftPendingApproval => StepBefore::Open,
        }
    }

    /// Why no further step is taken, if what was reported of it says so.
    pub fn ends(&self) -> Option<StopReason> {
        match self.delivery {
            Delivery::Unknown | Delivery::Delivered => None,
            Delivery::Replied => Some(StopReason::Replied),
            Delivery::Bounced => Some(StopReason::Bounced),
            Delivery::Complained => Some(StopReason::Complained),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Decision, SettledBy};

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn decided(status: MessageStatus) -> MessageEvent {
        MessageEvent::MessageDecided {
            decision: Decision {
                status,
                reason: None,
                rule: None,
                rules_version: None,
                allowlist_version: 1,
                approval_id: None,
            },
            dedup_key: None,
            labels: None,
        }
    }

    fn reported(delivery: Delivery) -> MessageEvent {
        MessageEvent::DeliveryReported { delivery, at: at(0), detail: None }
    }

    fn fate(events: &[MessageEvent]) -> Fate {
        let mut fate = Fate::default();
        for (millis, event) in (1..).zip(events) {
            fate.take_in(event, at(millis));
        }
        fate
    }

    #[test]
    fn the_next_step_waits_for_what_became_of_the_one_before() {
        let queued = MessageEvent::MessageQueued { not_before: None };
        let accepted = MessageEvent::MessageAccepted { attempt: 1, provider_hash: None, answer: None };
        let settled = |status| MessageEvent::MessageSettled {
            attempt: 1,
            status,
            by: SettledBy::Person,
            evidence: None,
            dedup_key: None,
            dedup_key_again: None,
        };
        let unknown = MessageEvent::OutcomeUnknown { attempt: 1, code: "no_answer".into(), answer: None };
        for (events, before) in [
            (vec![], StepBefore::Open),
            (vec![decided(MessageStatus::DraftPendingApproval)], StepBefore::Open),
            (vec![decided(MessageStatus::DraftPendingApproval), queued.clone()], StepBefore::Open),
            (vec![queued.clone(), accepted.clone()], StepBefore::Sent(at(2))),
            (vec![accepted.clone(), reported(Delivery::Delivered)], StepBefore::Sent(at(1))),
            (vec![queued.clone(), unknown.clone()], StepBefore::Open),
            (vec![unknown.clone(), settled(MessageStatus::Sent)], StepBefore::Sent(at(2))),
            (vec![unknown, settled(MessageStatus::Failed)], StepBefore::NotSent),
            (vec![decided(MessageStatus::SentDryrun)], StepBefore::Sent(at(1))),
            (vec![decided(MessageStatus::BlockedByAllowlist)], StepBefore::NotSent),
            (vec![queued, decided(MessageStatus::BlockedByQuota)], StepBefore::OutOfQuota(at(2))),
        ] {
            assert_eq!(fate(&events).before(), before, "{events:?}");
        }
    }

    #[test]
    fn a_step_was_sent_if_one_of_its_tries_was() {
        let mut needless = decided(MessageStatus::Failed);
        if let MessageEvent::MessageDecided { decision, .. } = &mut needless {
            decision.reason = Some(Reason::StepSent.name().into());
        }
        let found_sent = MessageEvent::MessageSettled {
            attempt: 1,
            status: MessageStatus::Sent,
            by: SettledBy::Webhook,
            evidence: None,
            dedup_key: None,
            dedup_key_again: None,
        };
        let accepted = MessageEvent::MessageAccepted { attempt: 1, provider_hash: None, answer: None };
        let blocked = decided(MessageStatus::BlockedByQuota);
        let queued = MessageEvent::MessageQueued { not_before: None };
        let (unsent, sent) = (vec![blocked.clone()], vec![blocked.clone(), found_sent]);
        for (tries, before) in [
            (vec![], StepBefore::None),
            (vec![unsent.clone(), vec![queued.clone()]], StepBefore::Open),
            (vec![unsent.clone(), vec![blocked.clone()]], StepBefore::OutOfQuota(at(1))),
            (vec![unsent, vec![accepted.clone()]], StepBefore::Sent(at(1))),
            (vec![sent.clone()], StepBefore::Sent(at(2))),
            // The other try is not over, so that it may be sent, too.
            (vec![sent.clone(), vec![queued]], StepBefore::Open),
            (vec![sent.clone(), vec![accepted]], StepBefore::Sent(at(1))),
            (vec![sent.clone(), vec![blocked]], StepBefore::Sent(at(2))),
            (vec![sent.clone(), vec![needless]], StepBefore::Sent(at(2))),
            // Somebody said no to it.
            (vec![sent, vec![decided(MessageStatus::Failed)]], StepBefore::NotSent),
        ] {
            let tries: Vec<Fate> = tries.iter().map(|events| fate(events)).collect();
            assert_eq!(Fate::of_step(tries.iter()), before, "{tries:?}");
        }
    }

    #[test]
    fn what_nobody_got_is_not_answered() {
        let sending = MessageEvent::MessageSending {
            attempt: 1,
            bucket_id: crate::ids::BucketId::default(),
            provider_key: "k".into(),
            keyed: None,
            at: at(7),
        };
        let accepted = MessageEvent::MessageAccepted { attempt: 1, provider_hash: None, answer: None };
        let given_up = MessageEvent::MessageGivenUp {
            attempt: 1,
            code: "unavailable".into(),
            answer: None,
            dedup_key: None,
        };
        for (events, since) in [
            (vec![], None),
            (vec![decided(MessageStatus::SentDryrun)], None),
            (vec![sending.clone()], Some(at(7))),
            (vec![sending.clone(), accepted], Some(at(7))),
            (vec![sending, given_up], None),
        ] {
            assert_eq!(fate(&events).answerable_since(), since, "{events:?}");
        }
    }

    #[test]
    fn a_reply_a_bounce_or_a_complaint_ends_it_and_an_arrival_does_not() {
        for (delivery, end) in [
            (Delivery::Delivered, None),
            (Delivery::Replied, Some(StopReason::Replied)),
            (Delivery::Bounced, Some(StopReason::Bounced)),
            (Delivery::Complained, Some(StopReason::Complained)),
        ] {
            assert_eq!(fate(&[reported(delivery)]).ends(), end);
        }
    }
}
