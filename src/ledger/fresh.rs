//! What this process recorded a moment ago, as it was before it was sealed, for its own fold.
//!
//! Nearly every event is folded within milliseconds by the process that recorded it: to read it back, open it and decode
//! it was a tenth of the work of an import. What is handed over here is the same as what would be read, by the chain: it is
//! given out only if it follows what was folded without a gap and ends in the very link that the ledger has there now.
//! Whoever cannot be sure of that reads the ledger.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use docket_aggregates::ids::OrganizationId;
use docket_projections::Recorded;

use super::chain::Hash;
use super::read::Portion;
use super::weighed::Weighed;

/// Organizations of which something is kept, at most.
const KEPT: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();
/// Bytes that are kept, as they are stored. One beyond them gives up all of the organization that was asked for longest ago.
const BYTES_MAX: usize = 8 << 20;

/// Everything that one append recorded in one ledger.
#[derive(Debug)]
pub struct Piece {
    /// The position before its first event.
    pub after: i64,
    /// The ledger's link at its last one.
    pub chain: Hash,
    /// What it weighs as it is stored.
    pub bytes: usize,
    /// Its events, in order and without a gap.
    pub events: Vec<Recorded>,
}

impl Piece {
    /// The position of its last event.
    pub fn to(&self) -> i64 {
        self.after + i64::try_from(self.events.len()).unwrap_or(i64::MAX)
    }
}

/// Pieces by the position that they follow.
type Pieces = BTreeMap<i64, Piece>;

/// What this process recorded a moment ago, by organization.
pub struct Fresh(Mutex<Weighed<OrganizationId, Pieces>>);

impl Default for Fresh {
    fn default() -> Self {
        Self(Mutex::new(Weighed::new(KEPT, BYTES_MAX)))
    }
}

impl Fresh {
    /// Keeps what was recorded.
    pub fn recorded(&self, organization: OrganizationId, piece: Piece) {
        if piece.events.is_empty() {
            return;
        }
        let mut fresh = self.lock();
        let mut pieces = fresh.pop(&organization).unwrap_or_default();
        pieces.insert(piece.after, piece);
        put(&mut fresh, organization, pieces);
    }

    /// The last position that is kept, whose link in the ledger proves what stands before it.
    pub fn last(&self, organization: OrganizationId) -> Option<i64> {
        self.lock().get(&organization)?.values().next_back().map(Piece::to)
    }

    /// Takes out the events after `after`: as many whole appends as the portion has room for. None unless everything up to
    /// that last position is known, and the ledger has there the link that it had when it was recorded.
    pub fn take(
        &self,
        organization: OrganizationId,
        after: i64,
        (last, link): (i64, &[u8]),
        portion: Portion,
    ) -> Option<Vec<Recorded>> {
        let mut fresh = self.lock();
        // What stands before it was folded from elsewhere.
        let mut pieces = fresh.pop(&organization)?.split_off(&after);
        let (mut position, mut proof) = (after, None);
        while position < last
            && let Some(piece) = pieces.get(&position)
        {
            (position, proof) = (piece.to(), Some(piece.chain));
        }
        if position == last && proof.is_some_and(|proof| proof != link) {
            // Another history than the one that was recorded here.
            return None;
        }
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while position == last
            && let Some(first) = pieces.first_entry()
            && first.get().to() <= last
            && fits(taken.len() + first.get().events.len(), portion.events)
            && fits(bytes + first.get().bytes, portion.bytes)
        {
            let piece = first.remove();
            bytes += piece.bytes;
            taken.extend(piece.events);
        }
        put(&mut fresh, organization, pieces);
        Some(taken).filter(|taken| !taken.is_empty())
    }

    fn lock(&self) -> MutexGuard<'_, Weighed<OrganizationId, Pieces>> {
        // Pieces are taken out and put back whole; what is missing is read from the ledger.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put(fresh: &mut Weighed<OrganizationId, Pieces>, organization: OrganizationId, pieces: Pieces) {
    if !pieces.is_empty() {
        fresh.put(organization, pieces.values().map(|piece| piece.bytes).sum(), pieces);
    }
}

fn fits(much: usize, bound: i64) -> bool {
    i64::try_from(much).is_ok_and(|much| much <= bound)
}

#[cfg(test)]
mod tests {
    use docket_aggregates::Timestamp;
    use docket_aggregates::ids::{CommandId, EventId};
    use docket_aggregates::outbox::OutboxEvent;
    use uuid::Uuid;

    use super::*;

    const ID: OrganizationId = OrganizationId(Uuid::nil());
    const ALL: Portion = Portion { events: 100, bytes: 1_000 };

    /// Events `after + 1` to `to`; its link is of the number of the last one.
    fn piece(after: i64, to: i64) -> Piece {
        let event = |position| Recorded {
            organization_id: ID,
            position,
            event_id: EventId(Uuid::nil()),
            command_id: CommandId(Uuid::nil()),
            aggregate_id: Uuid::nil(),
            sequence: 1,
            actor_type: String::new(),
            actor_id: String::new(),
            tool: String::new(),
            occurred_at: Timestamp::MIN,
            event: OutboxEvent::OutboxDeleted {}.into(),
        };
        let events = (after + 1..=to).map(event).collect();
        Piece { after, chain: chain(to), bytes: 100, events }
    }

    fn chain(position: i64) -> Hash {
        [u8::try_from(position).unwrap(); 32]
    }

    fn kept(pieces: &[(i64, i64)]) -> Fresh {
        let fresh = Fresh::default();
        for (after, to) in pieces {
            fresh.recorded(ID, piece(*after, *to));
        }
        fresh
    }

    fn take(fresh: &Fresh, after: i64, last: i64, portion: Portion) -> Option<Vec<i64>> {
        let taken = fresh.take(ID, after, (last, &chain(last)), portion)?;
        Some(taken.iter().map(|event| event.position).collect())
    }

    #[test]
    fn what_reaches_from_the_cursor_to_what_is_proved_is_given_out_once() {
        for (pieces, after, last, expected) in [
            (&[(5, 7)][..], 5, 7, Some(vec![6, 7])),
            (&[(5, 7), (7, 8)], 5, 8, Some(vec![6, 7, 8])),
            // The lanes tell in another order than they wrote in.
            (&[(7, 8), (5, 7)], 5, 8, Some(vec![6, 7, 8])),
            // More was recorded since the link was read.
            (&[(5, 7), (7, 8)], 5, 7, Some(vec![6, 7])),
            // Folded already, wholly or in part.
            (&[(3, 5), (5, 7)], 5, 7, Some(vec![6, 7])),
            (&[(5, 7)], 6, 7, None),
            (&[(5, 7)], 7, 7, None),
            // Somebody else recorded before, between or after.
            (&[(5, 7)], 4, 7, None),
            (&[(5, 7), (8, 9)], 5, 9, None),
            (&[(5, 7)], 5, 8, None),
            // What is proved is within an append.
            (&[(5, 7)], 5, 6, None),
            (&[], 5, 6, None),
        ] {
            let fresh = kept(pieces);
            assert_eq!(fresh.last(ID), pieces.iter().map(|(_, to)| *to).max());
            assert_eq!(take(&fresh, after, last, ALL), expected, "{pieces:?} from {after} to {last}");
            if expected.is_some() {
                assert_eq!(take(&fresh, after, last, ALL), None, "once");
            }
        }
    }

    #[test]
    fn what_does_not_end_in_the_ledgers_link_is_another_history() {
        let fresh = kept(&[(5, 7), (7, 8)]);
        assert!(fresh.take(ID, 5, (8, &chain(9)), ALL).is_none());
        assert_eq!(take(&fresh, 5, 8, ALL), None, "and is forgotten");
        let fresh = kept(&[(5, 7)]);
        assert!(fresh.take(ID, 5, (7, &chain(7)[..31]), ALL).is_none());
    }

    #[test]
    fn a_portion_takes_whole_appends_and_leaves_the_others() {
        let fresh = kept(&[(5, 7), (7, 8), (8, 9)]);
        assert_eq!(take(&fresh, 5, 9, Portion { events: 1, ..ALL }), None);
        assert_eq!(take(&fresh, 5, 9, Portion { events: 3, ..ALL }), Some(vec![6, 7, 8]));
        assert_eq!(take(&fresh, 8, 9, Portion { bytes: 99, ..ALL }), None);
        assert_eq!(take(&fresh, 8, 9, Portion { bytes: 100, ..ALL }), Some(vec![9]));
    }

    #[test]
    fn what_nobody_takes_is_bounded() {
        let fresh = Fresh::default();
        for after in 0..100 {
            fresh.recorded(ID, Piece { bytes: BYTES_MAX / 10, ..piece(after, after + 1) });
        }
        assert_eq!(take(&fresh, 0, 100, ALL), None);
        let held = fresh.lock().pop(&ID).unwrap_or_default();
        assert!(held.values().map(|piece| piece.bytes).sum::<usize>() <= BYTES_MAX);
    }
}
