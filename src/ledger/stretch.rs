//! The last stretch of an organization's ledger that is known without reading: nobody but this process recorded anything in
//! it.
//!
//! Positions are dense, so an append that begins where this process's last one ended has no stranger's event before it. What
//! was counted at some position of such a stretch is the same at its end, if no event since changes a count. A command
//! that shows counts from memory is judged by this (`append/judge`), so that they are as exact as if they had been read
//! with it, whoever else writes. In the same way a follower need not look for events in it of types that do not occur.

use std::collections::BTreeMap;
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

/// Stored types of events, each with the last position at which it was recorded.
pub type Latest = BTreeMap<&'static str, i64>;

/// A stretch, and where in it an event of each type stands last.
#[derive(Debug)]
struct Kept {
    stretch: Stretch,
    latest: Latest,
}

/// What this process recorded without anybody in between, by organization.
#[derive(Debug)]
pub struct Stretches(Mutex<LruCache<OrganizationId, Kept>>);

impl Default for Stretches {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(KEPT)))
    }
}

impl Stretches {
    /// The last stretch; none where nothing was recorded by this process.
    pub fn of(&self, organization: OrganizationId) -> Option<Stretch> {
        self.lock().get(&organization).map(|kept| kept.stretch)
    }

    /// Whether it is known that no event of these types stands after `after` and up to `to`.
    pub fn without(&self, organization: OrganizationId, types: &[String], (after, to): (i64, i64)) -> bool {
        self.lock().get(&organization).is_some_and(|Kept { stretch, latest }| {
            let here = |name: &String| latest.get(name.as_str()).is_some_and(|last| *last > after);
            stretch.after <= after && to <= stretch.to && !types.iter().any(here)
        })
    }

    /// Notes what was recorded, from the position after `before` to `to`: the types of the events, and the last position in
    /// it that may have changed a count.
    pub fn recorded(
        &self,
        organization: OrganizationId,
        (before, to): (i64, i64),
        recorded: Latest,
        counted: Option<i64>,
    ) {
        let mut stretches = self.lock();
        let mut kept = stretches
            .pop(&organization)
            .unwrap_or_else(|| Kept { stretch: Stretch::nothing_after(before), latest: Latest::new() });
        // If the other lane was later and is known already, what came before it is of no more use.
        if kept.stretch.to <= before {
            if kept.stretch.to < before {
                kept.latest.clear();
            }
            let Stretch { after, counted: earlier, .. } = kept.stretch.reaching(before);
            kept.stretch = Stretch { after, to, counted: counted.unwrap_or(earlier) };
            kept.latest.extend(recorded);
        }
        stretches.put(organization, kept);
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<OrganizationId, Kept>> {
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
            stretches.recorded(ID, (*before, *to), Latest::new(), *counted);
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
    fn a_type_is_missing_where_it_was_recorded_nowhere_in_between() {
        let stretches = Stretches::default();
        let wanted = ["wanted".to_owned(), "another".to_owned()];
        let without = |after, to| stretches.without(ID, &wanted, (after, to));
        assert!(!without(0, 0), "nothing is known");
        stretches.recorded(ID, (5, 7), Latest::from([("unwanted", 7)]), None);
        stretches.recorded(ID, (7, 9), Latest::from([("wanted", 8), ("unwanted", 9)]), None);
        stretches.recorded(ID, (9, 11), Latest::from([("unwanted", 11)]), None);
        for (after, to, expected) in [
            (8, 11, true),
            (9, 10, true),
            (7, 11, false),
            (5, 11, false),
            // It comes later than what is asked for: not told apart.
            (5, 7, false),
            // Beyond what is known.
            (8, 12, false),
            (4, 5, false),
        ] {
            assert_eq!(without(after, to), expected, "after {after} to {to}");
        }
        // Somebody else recorded 12: what was known before says nothing of it.
        stretches.recorded(ID, (12, 13), Latest::from([("unwanted", 13)]), None);
        assert!(without(12, 13) && !without(11, 13) && !without(8, 11));
    }

    #[test]
    fn at_a_head_that_it_does_not_reach_only_what_was_counted_there_holds() {
        let stretch = after(&[(5, 7, None)]);
        assert_eq!(stretch.reaching(7), stretch);
        assert!(!stretch.reaching(8).holds(7) && stretch.reaching(8).holds(8));
    }
}
