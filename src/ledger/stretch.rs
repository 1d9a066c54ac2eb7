//! The last stretch of an organization's ledger that is known without reading: nobody but this process recorded anything in
//! it.
//!
//! Positions are dense, so an append that begins where this process's last one ended has no stranger's event before it. What
//! was counted at some position of such a stretch is the same at its end, if no event since changes a count. A command
//! that shows counts from memory is judged by this (`append/judge`), so that they are as exact as if they had been read
//! with it, whoever else writes.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use docket_aggregates::ids::OrganizationId;
use lru::LruCache;

/// Organizations whose stretch is kept; one beyond is unknown, and its counts are read.
const KEPT: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// A stretch of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The last position of which nothing is known.
    after: i64,
    /// The last one that is known.
    to: i64,
    /// The last one whose event may have changed a count.
    counted: i64,
}

impl Stretch {
    const fn nothing_after(position: i64) -> Self {
        Self { after: position, to: position, counted: position }
    }

    /// Whether what was counted at `position` is so at the end of the stretch.
    pub const fn holds(self, position: i64) -> bool {
        self.after <= position && self.counted <= position
    }

    /// This stretch if it reaches to the head, else one that knows nothing yet.
    pub const fn reaching(self, head: i64) -> Self {
        if self.to == head { self } else { Self::nothing_after(head) }
    }
}

/// What this process recorded without anybody in between, by organization.
#[derive(Debug)]
pub struct Stretches(Mutex<LruCache<OrganizationId, Stretch>>);

impl Default for Stretches {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(KEPT)))
    }
}

impl Stretches {
    /// The last stretch; none where nothing was recorded by this process.
    pub fn of(&self, organization: OrganizationId) -> Option<Stretch> {
        self.lock().get(&organization).copied()
    }

    /// Notes what was recorded: from the position after `before` to `to`, and the last position in it that may have changed
    /// a count.
    pub fn recorded(&self, organization: OrganizationId, before: i64, to: i64, counted: Option<i64>) {
        let mut stretches = self.lock();
        let known = stretches.get(&organization).copied().unwrap_or(Stretch::nothing_after(before));
        // The other lane was later and is known already: what came before it is of no more use.
        if known.to > before {
            return;
        }
        let Stretch { after, counted: earlier, .. } = known.reaching(before);
        stretches.put(organization, Stretch { after, to, counted: counted.unwrap_or(earlier) });
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<OrganizationId, Stretch>> {
        // A stretch is put in whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ID: OrganizationId = OrganizationId(Uuid::nil());

    fn after(records: &[(i64, i64, Option<i64>)]) -> Stretch {
        let stretches = Stretches::default();
        for (before, to, counted) in records {
            stretches.recorded(ID, *before, *to, *counted);
        }
        stretches.of(ID).unwrap()
    }

    #[test]
    fn a_count_holds_until_an_event_changes_it_or_somebody_comes_between() {
        for (records, counted_at, holds) in [
            (&[(5, 7, None)][..], 5, true),
            (&[(5, 7, None)], 6, true),
            (&[(5, 7, None)], 4, false),
            (&[(5, 7, None), (7, 9, None)], 5, true),
            // An event changes it: before, at and after its position.
            (&[(5, 9, Some(7))], 6, false),
            (&[(5, 9, Some(7))], 7, true),
            (&[(5, 9, Some(7)), (9, 10, None)], 6, false),
            (&[(5, 9, Some(7)), (9, 10, Some(10))], 8, false),
            // Somebody recorded 8.
            (&[(5, 7, None), (8, 9, None)], 7, false),
            (&[(5, 7, None), (8, 9, None)], 8, true),
            // The lanes tell in another order than they wrote in.
            (&[(5, 7, None), (9, 10, None), (7, 9, Some(8))], 7, false),
            (&[(5, 7, None), (9, 10, None), (7, 9, Some(8))], 9, true),
        ] {
            assert_eq!(after(records).holds(counted_at), holds, "{counted_at} after {records:?}");
        }
    }

    #[test]
    fn at_a_head_that_it_does_not_reach_only_what_was_counted_there_holds() {
        let stretch = after(&[(5, 7, None)]);
        assert_eq!(stretch.reaching(7), stretch);
        assert!(!stretch.reaching(8).holds(7) && stretch.reaching(8).holds(8));
    }
}
