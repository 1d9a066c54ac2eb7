//! When a message that a channel did not take is tried again.
//!
//! Eight times within 24 hours of the first try, at growing pauses. Randomness comes from outside and only ever shortens
//! a pause, by a fifth at most, so that many messages deferred at once do not come back at once and the whole never
//! takes longer than it may.
//!
//! A channel that says when it may be asked again is asked no sooner. What it says within those 24 hours holds up to a day
//! from then: a daily limit is met in the first hour or in the last, and there is one more try after it.

use crate::time::Timestamp;

/// Tries after the first.
pub const RETRIES: u32 = 8;
/// No try is planned for later than this after the first, but for one that the channel itself put off.
pub const RETRY_WITHIN_MILLIS: i64 = 24 * 60 * 60 * 1_000;

/// A channel that takes an idempotency key remembers it for 24 hours; the last hour is not relied on.
pub const KEY_REMEMBERED_MILLIS: i64 = 23 * 60 * 60 * 1_000;

const MINUTE: i64 = 60 * 1_000;
/// Together 23 hours and 5 minutes.
const PAUSES: [i64; RETRIES as usize] = [
    MINUTE,
    4 * MINUTE,
    15 * MINUTE,
    45 * MINUTE,
    2 * 60 * MINUTE,
    4 * 60 * MINUTE,
    7 * 60 * MINUTE,
    9 * 60 * MINUTE,
];
/// Randomness that shortens nothing.
pub(super) const JITTER_MAX: u16 = 1_000;

/// When the next try is; none if there is none.
///
/// `attempt` is the number of the try that was not taken, from 1; `jitter` is 0 to 1 000, where 0 shortens most;
/// `not_before` is what the channel asked for.
pub fn retry_at(
    first: Timestamp,
    attempt: u32,
    now: Timestamp,
    not_before: Option<Timestamp>,
    jitter: u16,
) -> Option<Timestamp> {
    let index = usize::try_from(attempt.checked_sub(1)?).ok()?;
    let pause = PAUSES.get(index)?;
    let shortened = pause * (4_000 + i64::from(jitter.min(JITTER_MAX))) / 5_000;
    let next = now.plus_millis(shortened).max(not_before.unwrap_or(Timestamp::MIN));
    let last = first.plus_millis(RETRY_WITHIN_MILLIS);
    let put_off = not_before == Some(next) && now <= last && next <= now.plus_millis(RETRY_WITHIN_MILLIS);
    (next <= last || put_off).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Timestamp = Timestamp::MIN;

    #[test]
    fn eight_tries_fit_into_a_day_whatever_the_jitter() {
        for jitter in [0, 1, 500, 1_000, u16::MAX] {
            let mut now = FIRST;
            for attempt in 1..=RETRIES {
                let next = retry_at(FIRST, attempt, now, None, jitter).expect("a try is left");
                let pause = PAUSES[attempt as usize - 1];
                let waited = next.millis() - now.millis();
                assert!(pause * 4 / 5 <= waited && waited <= pause, "{attempt} {jitter}");
                now = next;
            }
            assert_eq!(retry_at(FIRST, RETRIES + 1, now, None, jitter), None);
        }
    }

    #[test]
    fn a_channel_that_asks_for_more_time_gets_it_within_the_day() {
        let hour = FIRST.plus_millis(60 * MINUTE);
        assert_eq!(retry_at(FIRST, 1, FIRST, Some(hour), 1_000), Some(hour));
        let sooner = FIRST.plus_millis(1);
        assert_eq!(retry_at(FIRST, 1, FIRST, Some(sooner), 1_000), Some(FIRST.plus_millis(MINUTE)));
        let day = FIRST.plus_millis(RETRY_WITHIN_MILLIS);
        assert_eq!(retry_at(FIRST, 1, FIRST, Some(day), 0), Some(day));
        assert_eq!(retry_at(FIRST, 1, FIRST, Some(day.plus_millis(1)), 0), None);
    }

    #[test]
    fn a_daily_limit_is_asked_again_after_it_and_once() {
        let day = RETRY_WITHIN_MILLIS;
        // The answer comes after the hand-over, so that a day from it is more than a day from the first try.
        for (attempt, answered) in [(1, 1), (1, 300), (5, 3_600_000), (8, day)] {
            let now = FIRST.plus_millis(answered);
            let tomorrow = now.plus_millis(day);
            assert_eq!(retry_at(FIRST, attempt, now, Some(tomorrow), 0), Some(tomorrow), "{answered}");
            assert_eq!(retry_at(FIRST, attempt, now, Some(tomorrow.plus_millis(1)), 0), None, "{answered}");
            let again = tomorrow.plus_millis(1);
            assert_eq!(retry_at(FIRST, attempt, again, Some(again.plus_millis(day)), 0), None, "{answered}");
            assert_eq!(retry_at(FIRST, RETRIES + 1, now, Some(tomorrow), 0), None, "{answered}");
        }
    }

    #[test]
    fn what_was_never_tried_is_not_tried_again() {
        assert_eq!(retry_at(FIRST, 0, FIRST, None, 0), None);
    }

    #[test]
    fn a_slow_dispatcher_does_not_go_on_for_ever() {
        let late = FIRST.plus_millis(RETRY_WITHIN_MILLIS);
        assert_eq!(retry_at(FIRST, 2, late, None, 0), None);
    }
}
