//! A bucket: the sends of one credential and channel on one of the credential's days.
//!
//! It never takes more than the cap, whoever asks and however many at once: a charge is decided on its version and
//! guards the stream that holds the cap, so that a lower cap, once acknowledged, binds the next charge. A message is
//! in at most one bucket, because a charge claims it and only the refund of that charge gives it free. What was given back
//! and turns out to have been sent is counted again, whether or not there is room: it makes none.

mod event;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use event::BucketEvent;

use crate::channel::Channel;
use crate::credential::SendingDay;
use crate::ids::{BucketId, CredentialId, MessageId};
use crate::stored::aggregate;
use crate::time::Timestamp;

/// Messages in one event, at most.
pub const BATCH: usize = 1_000;

/// Orders to a bucket.
#[derive(Clone, Debug)]
pub enum BucketCommand {
    /// Count these messages, all of them or none. Those that are counted already stay counted once.
    Charge {
        /// The stream, which credential, channel and day name.
        bucket_id: BucketId,
        /// The credential.
        credential_id: CredentialId,
        /// The channel.
        channel: Channel,
        /// The credential's day, already opened.
        day: SendingDay,
        /// The credential's cap; none means as many as there are.
        cap: Option<u64>,
        /// The messages.
        message_ids: Vec<MessageId>,
        /// When.
        at: Timestamp,
    },
    /// Give back what was charged here. Whoever orders it writes to the message's stream in the same append.
    Refund {
        /// The messages; those that are not charged here are left alone.
        message_ids: Vec<MessageId>,
        /// Why: `not_sent`, `day_over`.
        because: &'static str,
    },
    /// Count again what was given back and was sent after all, whether or not there is room, and also when the day is over.
    /// Whoever orders it writes to the message's stream in the same append.
    Recount {
        /// The message.
        message_id: MessageId,
    },
}

/// Why a bucket refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BucketError {
    /// The cap would be passed.
    #[error("the daily cap leaves room for {room}")]
    Full {
        /// How many more may be charged.
        room: u64,
    },
    /// The day is over.
    #[error("the day of this bucket is over")]
    DayIsOver,
}

/// The state that decisions need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Bucket {
    ends_at: Option<Timestamp>,
    charged: BTreeSet<MessageId>,
}

aggregate!(Bucket, "Bucket", BucketCommand, BucketEvent, BucketError);

impl Bucket {
    /// The whole business of a bucket.
    fn decide(&self, command: BucketCommand) -> Result<Vec<BucketEvent>, BucketError> {
        match command {
            BucketCommand::Charge { bucket_id, credential_id, channel, day, cap, message_ids, at } => {
                if at >= self.ends_at.unwrap_or(day.ends_at) {
                    return Err(BucketError::DayIsOver);
                }
                let asked: BTreeSet<MessageId> = message_ids.into_iter().collect();
                let new: Vec<MessageId> = asked.difference(&self.charged).copied().collect();
                let room = self.room(cap);
                if new.len() as u64 > room {
                    return Err(BucketError::Full { room });
                }
                let mut events = Vec::new();
                if self.ends_at.is_none() && !new.is_empty() {
                    events.push(BucketEvent::BucketOpened {
                        bucket_id,
                        credential_id,
                        channel,
                        day: day.number,
                        starts_at: day.starts_at,
                        ends_at: day.ends_at,
                    });
                }
                events.extend(
                    new.chunks(BATCH).map(|batch| BucketEvent::BucketCharged { message_ids: batch.to_vec() }),
                );
                Ok(events)
            }
            BucketCommand::Refund { message_ids, because } => {
                let asked: BTreeSet<MessageId> = message_ids.into_iter().collect();
                let charged: Vec<MessageId> = asked.intersection(&self.charged).copied().collect();
                Ok(charged
                    .chunks(BATCH)
                    .map(|batch| BucketEvent::BucketRefunded {
                        message_ids: batch.to_vec(),
                        because: because.to_owned(),
                    })
                    .collect())
            }
            // Of a bucket that was never opened nothing was given back.
            BucketCommand::Recount { message_id } if self.ends_at.is_none() || self.holds(message_id) => {
                Ok(vec![])
            }
            BucketCommand::Recount { message_id } => {
                Ok(vec![BucketEvent::BucketCharged { message_ids: vec![message_id] }])
            }
        }
    }

    fn evolve(&mut self, event: BucketEvent) {
        match event {
            BucketEvent::BucketOpened { ends_at, .. } => self.ends_at = Some(ends_at),
            BucketEvent::BucketCharged { message_ids } => self.charged.extend(message_ids),
            BucketEvent::BucketRefunded { message_ids, .. } => {
                for message_id in message_ids {
                    self.charged.remove(&message_id);
                }
            }
        }
    }

    /// How many messages are charged and not refunded.
    pub fn used(&self) -> u64 {
        self.charged.len() as u64
    }

    /// How many more may be charged under this cap; none if the cap was lowered below what is used.
    pub fn room(&self, cap: Option<u64>) -> u64 {
        cap.map_or(u64::MAX, |cap| cap.saturating_sub(self.used()))
    }

    /// Whether this message may be handed over today under this cap: it is charged and the cap was not lowered below what
    /// is, or there is room for it.
    pub fn lets_go(&self, message_id: MessageId, cap: Option<u64>) -> bool {
        let others = self.used() - u64::from(self.holds(message_id));
        cap.is_none_or(|cap| others < cap)
    }

    /// Whether this message is charged here.
    pub fn holds(&self, message_id: MessageId) -> bool {
        self.charged.contains(&message_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cqrs_es::test::TestFramework;
    use uuid::Uuid;

    type Given = TestFramework<Bucket>;

    const DAY: SendingDay = SendingDay { number: 7, starts_at: Timestamp::MIN, ends_at: Timestamp::MAX };

    fn messages(range: std::ops::Range<u128>) -> Vec<MessageId> {
        range.map(|id| MessageId(Uuid::from_u128(id))).collect()
    }

    fn charge(range: std::ops::Range<u128>, cap: Option<u64>) -> BucketCommand {
        BucketCommand::Charge {
            bucket_id: BucketId(Uuid::from_u128(1)),
            credential_id: CredentialId(Uuid::from_u128(2)),
            channel: Channel::Email,
            day: DAY,
            cap,
            message_ids: messages(range),
            at: Timestamp::default(),
        }
    }

    fn opened() -> BucketEvent {
        BucketEvent::BucketOpened {
            bucket_id: BucketId(Uuid::from_u128(1)),
            credential_id: CredentialId(Uuid::from_u128(2)),
            channel: Channel::Email,
            day: 7,
            starts_at: DAY.starts_at,
            ends_at: DAY.ends_at,
        }
    }

    fn charged(range: std::ops::Range<u128>) -> BucketEvent {
        BucketEvent::BucketCharged { message_ids: messages(range) }
    }

    fn refunded(range: std::ops::Range<u128>) -> BucketEvent {
        BucketEvent::BucketRefunded { message_ids: messages(range), because: "not_sent".into() }
    }

    fn refund(range: std::ops::Range<u128>) -> BucketCommand {
        BucketCommand::Refund { message_ids: messages(range), because: "not_sent" }
    }

    #[test]
    fn the_first_charge_opens_the_bucket() {
        Given::with(())
            .given_no_previous_events()
            .when(charge(0..3, Some(3)))
            .then_expect_events(vec![opened(), charged(0..3)]);
    }

    #[test]
    fn the_cap_is_never_passed() {
        Given::with(())
            .given_no_previous_events()
            .when(charge(0..4, Some(3)))
            .then_expect_error(BucketError::Full { room: 3 });
        Given::with(())
            .given(vec![opened(), charged(0..3)])
            .when(charge(3..4, Some(3)))
            .then_expect_error(BucketError::Full { room: 0 });
        // The cap was lowered below what is used.
        Given::with(())
            .given(vec![opened(), charged(0..3)])
            .when(charge(3..4, Some(1)))
            .then_expect_error(BucketError::Full { room: 0 });
        Given::with(())
            .given_no_previous_events()
            .when(charge(0..1, Some(0)))
            .then_expect_error(BucketError::Full { room: 0 });
    }

    #[test]
    fn a_message_is_charged_once() {
        Given::with(())
            .given(vec![opened(), charged(0..3)])
            .when(charge(0..3, Some(3)))
            .then_expect_events(vec![]);
        Given::with(())
            .given(vec![opened(), charged(0..2)])
            .when(charge(1..3, Some(3)))
            .then_expect_events(vec![charged(2..3)]);
    }

    #[test]
    fn a_charge_is_refunded_once_and_never_below_nothing() {
        Given::with(())
            .given(vec![opened(), charged(0..3)])
            .when(refund(2..9))
            .then_expect_events(vec![refunded(2..3)]);
        Given::with(())
            .given(vec![opened(), charged(0..3), refunded(2..3)])
            .when(refund(2..3))
            .then_expect_events(vec![]);
        Given::with(()).given_no_previous_events().when(refund(0..1)).then_expect_events(vec![]);
    }

    #[test]
    fn what_was_refunded_makes_room() {
        Given::with(())
            .given(vec![opened(), charged(0..3), refunded(0..1)])
            .when(charge(5..6, Some(3)))
            .then_expect_events(vec![charged(5..6)]);
    }

    #[test]
    fn what_was_sent_after_all_is_counted_again_whether_or_not_there_is_room() {
        let recount = |id| BucketCommand::Recount { message_id: MessageId(Uuid::from_u128(id)) };
        let history = || vec![opened(), charged(0..2), refunded(0..1), charged(2..3)];
        Given::with(()).given(history()).when(recount(0)).then_expect_events(vec![charged(0..1)]);
        Given::with(()).given(history()).when(recount(1)).then_expect_events(vec![]);
        Given::with(()).given_no_previous_events().when(recount(0)).then_expect_events(vec![]);
        let mut full = history();
        full.push(charged(0..1));
        Given::with(())
            .given(full)
            .when(charge(3..4, Some(2)))
            .then_expect_error(BucketError::Full { room: 0 });
    }

    #[test]
    fn what_is_charged_may_go_again_unless_the_cap_was_lowered_below_what_is_used() {
        let mut bucket = Bucket::default();
        [opened(), charged(0..3)].into_iter().for_each(|event| bucket.evolve(event));
        let [own, other] = [0, 7].map(|id| MessageId(Uuid::from_u128(id)));
        for (cap, may) in [
            (None, [true, true]),
            (Some(4), [true, true]),
            (Some(3), [true, false]),
            (Some(2), [false, false]),
        ] {
            assert_eq!([own, other].map(|id| bucket.lets_go(id, cap)), may, "{cap:?}");
        }
    }

    #[test]
    fn a_day_that_is_over_takes_no_charge() {
        let mut late = charge(0..1, None);
        if let BucketCommand::Charge { at, .. } = &mut late {
            *at = DAY.ends_at;
        }
        Given::with(()).given_no_previous_events().when(late).then_expect_error(BucketError::DayIsOver);
    }

    #[test]
    fn many_are_charged_in_batches() {
        Given::with(()).given_no_previous_events().when(charge(0..1_500, None)).then_expect_events(vec![
            opened(),
            charged(0..1_000),
            charged(1_000..1_500),
        ]);
    }
}
