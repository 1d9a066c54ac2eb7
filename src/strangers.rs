//! How often a door may be knocked at in vain by somebody without a token.
//!
//! Whoever knows the address of an outbox's webhooks may send anything there. Each attempt that is turned away, because it
//! is not signed or not what the provider documents, counts against that outbox: beyond so many, whatever comes is told to come
//! again, before its body or anything of the ledger is read. What is signed counts nothing, however much of it there is. A
//! provider that is told to come again during such a flood does so; its news are late, and not lost. The access log is such a
//! door, too: what nobody answers for is noted only so often.
//!
//! Counted in each process, by the generic cell rate algorithm: one instant for each door, and doors that nobody knocks at
//! are forgotten.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use docket_aggregates::Timestamp;
use uuid::Uuid;

/// One more attempt in vain every so many milliseconds, in the long run: 600 a minute.
const EVERY_MILLIS: i64 = 100;
/// Attempts in vain at once.
const AT_ONCE: i64 = 100;
/// Doors that are remembered before the quiet ones are looked for.
const REMEMBERED: usize = 4_096;

/// Counts what was turned away.
#[derive(Debug, Default)]
pub struct Strangers {
    /// When the door has been quiet for long enough to be forgotten.
    quiet_at: Mutex<HashMap<Uuid, Timestamp>>,
}

impl Strangers {
    /// How long nobody is let in at this door, if it was knocked at too often.
    pub fn wait(&self, door: Uuid, now: Timestamp) -> Option<Duration> {
        let quiet_at = self.doors().get(&door).copied()?;
        let over = quiet_at.millis() - now.millis() - (AT_ONCE - 1) * EVERY_MILLIS;
        u64::try_from(over).ok().filter(|over| *over > 0).map(Duration::from_millis)
    }

    /// Notes that somebody was turned away.
    pub fn turned_away(&self, door: Uuid, now: Timestamp) {
        let mut doors = self.doors();
        if doors.len() >= REMEMBERED {
            doors.retain(|_, quiet_at| *quiet_at > now);
        }
        let quiet_at = doors.entry(door).or_insert(now);
        *quiet_at = (*quiet_at).max(now).plus_millis(EVERY_MILLIS);
    }

    /// A poisoned count is still a count.
    fn doors(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Timestamp>> {
        self.quiet_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOOR: Uuid = Uuid::from_u128(1);

    #[test]
    fn a_hundred_are_turned_away_at_once_and_ten_a_second_after_that() {
        let strangers = Strangers::default();
        let now = Timestamp::from_millis(1_795_284_000_000);
        for n in 0..AT_ONCE {
            assert_eq!(strangers.wait(DOOR, now), None, "{n}");
            strangers.turned_away(DOOR, now);
        }
        assert_eq!(strangers.wait(DOOR, now), Some(Duration::from_millis(100)));
        assert_eq!(strangers.wait(Uuid::from_u128(2), now), None, "another door has its own count");
        let later = now.plus_millis(100);
        assert_eq!(strangers.wait(DOOR, later), None);
        strangers.turned_away(DOOR, later);
        assert!(strangers.wait(DOOR, later).is_some());
        assert_eq!(strangers.wait(DOOR, now.plus_millis(60_000)), None);
    }

    #[test]
    fn quiet_doors_are_forgotten() {
        let strangers = Strangers::default();
        let now = Timestamp::from_millis(1_795_284_000_000);
        for n in 0..20_000_u32 {
            strangers.turned_away(Uuid::from_u128(n.into()), now.plus_millis(i64::from(n) * EVERY_MILLIS));
        }
        assert!(strangers.doors().len() <= REMEMBERED);
    }
}
