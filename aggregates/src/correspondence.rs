//! What one recipient gets, and when it was last heard of: the messages that count to its frequency cap, and the word that
//! opens a channel's window for answers.
//!
//! A recipient is a contact, and it is an address: a message is counted to both, so that neither another channel nor a
//! second contact with the same address earns one more. Every message is counted, whether or not a cap is in force, so that
//! a cap holds from its first day on; and it is decided on from these streams alone: a message is counted in the append
//! that hands it over, on the version that the decision saw, so that two at once cannot both be the last one.

mod event;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

pub use event::CorrespondenceEvent;

use crate::channel::Channel;
use crate::ids::{ContactId, MessageId};
use crate::sending_control::{FREQUENCY_DAYS_MAX, FREQUENCY_MESSAGES_MAX, FrequencyCap};
use crate::stored::aggregate;
use crate::time::Timestamp;

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1_000;
/// Messages that are remembered: no cap asks for more.
const REMEMBERED: usize = FREQUENCY_MESSAGES_MAX as usize;
/// Words of one recipient whose ids are remembered: providers repeat within days, and nobody writes more meanwhile.
const NOTICES_MAX: usize = 64;

/// Orders about one recipient.
#[derive(Clone, Debug)]
pub enum CorrespondenceCommand {
    /// Count a message, unless the cap is reached by others. One that is counted already counts once, from when it was last
    /// handed over: what is tried again goes when it goes.
    Count {
        /// The message.
        message_id: MessageId,
        /// The cap in force.
        cap: Option<FrequencyCap>,
        /// When.
        at: Timestamp,
    },
    /// It was not sent after all.
    Uncount {
        /// The message.
        message_id: MessageId,
    },
    /// They wrote to us. What is older than what is known, or was told before, says nothing new.
    Hear(Heard),
}

/// What somebody wrote to us, without its words.
#[derive(Clone, Debug)]
pub struct Heard {
    /// By which channel.
    pub channel: Channel,
    /// When.
    pub at: Timestamp,
    /// Keyed hash of the provider's id of it, where there is one.
    pub notice_hash: Option<String>,
    /// Keyed hash of the address.
    pub address_hash: String,
    /// The contact that the message was for which they most probably answered, or that has its address.
    pub contact_id: Option<ContactId>,
}

/// Why a recipient gets no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorrespondenceError {
    /// The cap is reached.
    #[error("as many messages as the frequency cap allows are sent, or on their way, to the recipient")]
    Enough,
}

/// The state that decisions need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Correspondence {
    counted: BTreeMap<MessageId, Timestamp>,
    #[serde(default)]
    heard: BTreeMap<Channel, Timestamp>,
    /// Keyed hashes of what they wrote, the latest last.
    #[serde(default)]
    notices: VecDeque<String>,
}

aggregate!(Correspondence, "Correspondence", CorrespondenceCommand, CorrespondenceEvent, CorrespondenceError);

impl Correspondence {
    /// The whole business of counting.
    fn decide(
        &self,
        command: CorrespondenceCommand,
    ) -> Result<Vec<CorrespondenceEvent>, CorrespondenceError> {
        match command {
            CorrespondenceCommand::Count { message_id, at, .. }
                if self.counted.get(&message_id).is_some_and(|counted| *counted >= at) =>
            {
                Ok(vec![])
            }
            CorrespondenceCommand::Count { message_id, cap, at } => {
                if cap.is_some_and(|cap| self.others_within(cap, at, message_id) >= u64::from(cap.messages)) {
                    return Err(CorrespondenceError::Enough);
                }
                Ok(vec![CorrespondenceEvent::CorrespondenceCounted { message_id, at }])
            }
            CorrespondenceCommand::Uncount { message_id } if self.counted.contains_key(&message_id) => {
                Ok(vec![CorrespondenceEvent::CorrespondenceUncounted { message_id }])
            }
            CorrespondenceCommand::Uncount { .. } => Ok(vec![]),
            CorrespondenceCommand::Hear(heard) => {
                let told = heard.notice_hash.as_deref().is_some_and(|notice| self.was_told(notice));
                if told || self.heard(heard.channel).is_some_and(|known| known >= heard.at) {
                    return Ok(vec![]);
                }
                let Heard { channel, at, notice_hash, address_hash, contact_id } = heard;
                let address_hash = Some(address_hash);
                Ok(vec![CorrespondenceEvent::CorrespondentHeard {
                    channel,
                    at,
                    notice_hash,
                    address_hash,
                    contact_id,
                }])
            }
        }
    }

    fn evolve(&mut self, event: CorrespondenceEvent) {
        match event {
            CorrespondenceEvent::CorrespondenceCounted { message_id, at } => {
                // What no cap can reach back to is forgotten.
                let oldest = at.plus_millis(-i64::from(FREQUENCY_DAYS_MAX) * DAY_MILLIS);
                self.counted.retain(|_, counted| *counted > oldest);
                self.counted.insert(message_id, at);
                while self.counted.len() > REMEMBERED {
                    let Some((first, _)) = self.counted.iter().min_by_key(|(_, at)| **at) else { break };
                    let first = *first;
                    self.counted.remove(&first);
                }
            }
            CorrespondenceEvent::CorrespondenceUncounted { message_id } => {
                self.counted.remove(&message_id);
            }
            CorrespondenceEvent::CorrespondentHeard { channel, at, notice_hash, .. } => {
                self.heard.insert(channel, at);
                self.notices.extend(notice_hash);
                while self.notices.len() > NOTICES_MAX {
                    self.notices.pop_front();
                }
            }
        }
    }

    /// When they last wrote to us by this channel; none if they never did, or nobody listened.
    pub fn heard(&self, channel: Channel) -> Option<Timestamp> {
        self.heard.get(&channel).copied()
    }

    /// Whether they wrote to us at that instant or later, by whatever channel. The clocks of providers may be so far from ours;
    /// when a mail came in our own has said.
    pub fn heard_since(&self, at: Timestamp, clocks_apart_millis: i64) -> bool {
        self.heard.iter().any(|(channel, heard)| {
            let apart = if *channel == Channel::Email { 0 } else { clocks_apart_millis };
            *heard >= at.plus_millis(-apart)
        })
    }

    /// Whether what the provider calls so was told before; of what is long ago, it is not known any more.
    pub fn was_told(&self, notice_hash: &str) -> bool {
        self.notices.iter().any(|known| known == notice_hash)
    }

    /// Messages but this one within the cap's days before an instant.
    fn others_within(&self, cap: FrequencyCap, at: Timestamp, message_id: MessageId) -> u64 {
        let since = at.plus_millis(-i64::from(cap.days) * DAY_MILLIS);
        self.counted.iter().filter(|(id, counted)| **id != message_id && **counted > since).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cqrs_es::test::TestFramework;
    use uuid::Uuid;

    type Given = TestFramework<Correspondence>;
    const CAP: FrequencyCap = FrequencyCap { messages: 2, days: 7 };

    fn day(number: i64) -> Timestamp {
        Timestamp::from_millis(number * DAY_MILLIS)
    }

    fn count(message: u128, at: Timestamp) -> CorrespondenceCommand {
        CorrespondenceCommand::Count { message_id: MessageId(Uuid::from_u128(message)), cap: Some(CAP), at }
    }

    fn counted(message: u128, at: Timestamp) -> CorrespondenceEvent {
        CorrespondenceEvent::CorrespondenceCounted { message_id: MessageId(Uuid::from_u128(message)), at }
    }

    #[test]
    fn the_cap_is_never_passed() {
        let history = || vec![counted(1, day(10)), counted(2, day(11))];
        Given::with(())
            .given(history())
            .when(count(3, day(12)))
            .then_expect_error(CorrespondenceError::Enough);
        // Seven days after the first there is room again, and not a moment before.
        Given::with(())
            .given(history())
            .when(count(3, day(17).plus_millis(-1)))
            .then_expect_error(CorrespondenceError::Enough);
        Given::with(())
            .given(history())
            .when(count(3, day(17)))
            .then_expect_events(vec![counted(3, day(17))]);
    }

    #[test]
    fn without_a_cap_everything_is_counted_and_nothing_refused() {
        let count = |message: u128| CorrespondenceCommand::Count {
            message_id: MessageId(Uuid::from_u128(message)),
            cap: None,
            at: day(1),
        };
        let history: Vec<_> = (1..=1_200).map(|message| counted(message, day(1))).collect();
        let next = vec![counted(1_201, day(1))];
        Given::with(()).given(history.clone()).when(count(1_201)).then_expect_events(next);
        let mut state = Correspondence::default();
        history.into_iter().for_each(|event| cqrs_es::Aggregate::apply(&mut state, event));
        assert_eq!(state.counted.len(), REMEMBERED, "the largest cap is still known to be reached");
    }

    #[test]
    fn a_message_counts_once_from_when_it_was_last_handed_over() {
        let history = || vec![counted(1, day(1)), counted(2, day(2))];
        for told_again in [day(1), day(2)] {
            Given::with(()).given(history()).when(count(2, told_again)).then_expect_events(vec![]);
        }
        let again = || counted(2, day(5));
        Given::with(()).given(history()).when(count(2, day(5))).then_expect_events(vec![again()]);
        // Its first try is past the cap's days, but it goes today.
        let mut late = history();
        late.push(again());
        late.push(counted(3, day(9)));
        Given::with(()).given(late).when(count(4, day(10))).then_expect_error(CorrespondenceError::Enough);
    }

    #[test]
    fn what_is_tried_again_is_one_more_than_the_others() {
        let others = vec![counted(1, day(1)), counted(2, day(8)), counted(3, day(8))];
        Given::with(()).given(others).when(count(1, day(9))).then_expect_error(CorrespondenceError::Enough);
    }

    #[test]
    fn the_last_word_is_the_latest_one_by_each_channel() {
        let hear = |channel, at| hear(channel, at, None);
        let heard = |channel, at| heard(channel, at, None);
        let history = || vec![heard(Channel::Whatsapp, day(2))];
        for (channel, at, new) in [
            (Channel::Whatsapp, day(3), true),
            (Channel::Whatsapp, day(2), false),
            (Channel::Whatsapp, day(1), false),
            (Channel::Instagram, day(1), true),
        ] {
            let expected = if new { vec![heard(channel, at)] } else { vec![] };
            Given::with(()).given(history()).when(hear(channel, at)).then_expect_events(expected);
        }
    }

    fn hear(channel: Channel, at: Timestamp, notice: Option<&str>) -> CorrespondenceCommand {
        CorrespondenceCommand::Hear(Heard {
            channel,
            at,
            notice_hash: notice.map(str::to_owned),
            address_hash: "a1".into(),
            contact_id: None,
        })
    }

    fn heard(channel: Channel, at: Timestamp, notice: Option<&str>) -> CorrespondenceEvent {
        CorrespondenceEvent::CorrespondentHeard {
            channel,
            at,
            notice_hash: notice.map(str::to_owned),
            address_hash: Some("a1".into()),
            contact_id: None,
        }
    }

    #[test]
    fn what_was_told_once_is_not_told_again_at_another_time() {
        let history = vec![heard(Channel::Linkedin, day(1), Some("n1"))];
        for (at, notice, new) in
            [(day(2), Some("n1"), false), (day(2), Some("n2"), true), (day(2), None, true)]
        {
            let expected = if new { vec![heard(Channel::Linkedin, at, notice)] } else { vec![] };
            Given::with(())
                .given(history.clone())
                .when(hear(Channel::Linkedin, at, notice))
                .then_expect_events(expected);
        }
        let mut correspondence = Correspondence::default();
        for number in 0..2 * NOTICES_MAX {
            let notice = number.to_string();
            correspondence.evolve(heard(Channel::Linkedin, day(1), Some(&notice)));
        }
        assert_eq!(correspondence.notices.len(), NOTICES_MAX);
        assert!(correspondence.was_told("127") && !correspondence.was_told("1"));
        for (channel, apart, later, since) in [
            (Channel::Linkedin, 0, 0, true),
            (Channel::Linkedin, 0, 1, false),
            (Channel::Linkedin, 5, 5, true),
            (Channel::Linkedin, 5, 6, false),
            (Channel::Email, 5, 0, true),
            (Channel::Email, 5, 1, false),
        ] {
            let mut correspondence = Correspondence::default();
            correspondence.evolve(heard(channel, day(1), None));
            let at = day(1).plus_millis(later);
            assert_eq!(correspondence.heard_since(at, apart), since, "{channel:?} {apart} {later}");
        }
    }

    #[test]
    fn what_was_not_sent_does_not_count() {
        let message_id = MessageId(Uuid::from_u128(1));
        let uncount = || CorrespondenceCommand::Uncount { message_id };
        let uncounted = || CorrespondenceEvent::CorrespondenceUncounted { message_id };
        Given::with(()).given(vec![counted(1, day(1))]).when(uncount()).then_expect_events(vec![uncounted()]);
        Given::with(())
            .given(vec![counted(1, day(1)), uncounted()])
            .when(uncount())
            .then_expect_events(vec![]);
        Given::with(())
            .given(vec![counted(1, day(1)), counted(2, day(1)), uncounted()])
            .when(count(3, day(1)))
            .then_expect_events(vec![counted(3, day(1))]);
    }
}
