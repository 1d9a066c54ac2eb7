//! Where time and fresh ids come from.
//!
//! Everything that needs the time or a new id takes it from one `Clock`, so that a test can hold the time and a
//! preview can be applied with the ids and times that it showed. Nothing else reads the system's clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use docket_aggregates::Timestamp;
use rand::RngCore;
use uuid::Uuid;

/// A source of time: the system's, or one that only moves when it is told to.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    held: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still at `at` until it is moved.
    pub fn held_at(at: Timestamp) -> Self {
        Self { held: Some(Arc::new(AtomicI64::new(at.millis()))) }
    }

    /// The present instant, to the millisecond.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the system's clock")]
    pub fn now(&self) -> Timestamp {
        match &self.held {
            Some(millis) => Timestamp::from_millis(millis.load(Ordering::SeqCst)),
            None => jiff::Timestamp::now().into(),
        }
    }

    /// Moves a held clock by `millis`; the system's clock cannot be moved.
    pub fn advance(&self, millis: i64) {
        if let Some(held) = &self.held {
            held.fetch_add(millis, Ordering::SeqCst);
        }
    }

    /// A fresh id of version 7: it sorts by the time at which it was minted.
    pub fn mint<T: From<Uuid>>(&self) -> T {
        mint_at(self.now()).into()
    }
}

/// A fresh id of version 7 for the given instant.
pub fn mint_at(at: Timestamp) -> Uuid {
    let mut random = [0; 10];
    rand::thread_rng().fill_bytes(&mut random);
    let millis = u64::try_from(at.millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

/// The id of version 7 that follows from a digest: always the same one, with the time of `parent`, which is one of version 7.
pub fn following(parent: Uuid, digest: &[u8; 32]) -> Uuid {
    let mut random = [0; 10];
    random.copy_from_slice(&digest[..10]);
    // The time is the first 48 bits.
    let millis = u64::try_from(parent.as_u128() >> 80).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_clock_moves_only_when_told() {
        let clock = Clock::held_at(Timestamp::from_millis(1_000));
        assert_eq!(clock.now(), clock.now());
        clock.clone().advance(5);
        assert_eq!(clock.now(), Timestamp::from_millis(1_005));
    }

    #[test]
    fn minted_ids_sort_by_time_and_differ() {
        let clock = Clock::held_at(Timestamp::from_millis(1_000));
        let (first, second): (Uuid, Uuid) = (clock.mint(), clock.mint());
        clock.advance(1);
        let later: Uuid = clock.mint();
        assert_ne!(first, second);
        assert!(first < later && second < later);
    }

    #[test]
    fn an_id_that_follows_is_always_the_same_and_looks_like_every_other() {
        let parent = mint_at(Timestamp::from_millis(1_795_284_000_000));
        let (one, other) = (following(parent, &[1; 32]), following(parent, &[2; 32]));
        assert_eq!(one, following(parent, &[1; 32]));
        assert_ne!(one, other);
        let time = |id: Uuid| id.get_timestamp().map(|time| time.to_unix());
        assert_eq!((one.get_version_num(), time(one)), (7, time(parent)));
    }
}
