//! Where callers line up whose small reads are done together.
//!
//! Whoever lines up while a read of the same organization is under way waits for it to end and is answered by the next
//! one, together with everybody else who came meanwhile. So nobody is answered by a read that began before they asked,
//! and the more callers there are, the less each of them costs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use docket_aggregates::ids::OrganizationId;

/// Callers of one turn, at most.
const TOGETHER: usize = 256;

/// Who waits, by organization. An organization is in here while somebody reads for it.
#[derive(Debug)]
pub(super) struct Desk<Q> {
    waiting: Arc<Mutex<HashMap<OrganizationId, Vec<Q>>>>,
}

impl<Q> Default for Desk<Q> {
    fn default() -> Self {
        Self { waiting: Arc::default() }
    }
}

impl<Q> Clone for Desk<Q> {
    fn clone(&self) -> Self {
        Self { waiting: self.waiting.clone() }
    }
}

impl<Q> Desk<Q> {
    /// Lines up. Whoever finds nobody reading is given the reading, and must see to it in a task of its own: the others
    /// must not lose their reader when the first one goes away.
    #[must_use]
    pub fn line_up(&self, organization: OrganizationId, asked: Vec<Q>) -> Option<Reading<Q>> {
        let mut waiting = self.lock();
        let nobody_reads = !waiting.contains_key(&organization);
        waiting.entry(organization).or_default().extend(asked);
        nobody_reads.then(|| Reading { desk: self.clone(), organization, over: false })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OrganizationId, Vec<Q>>> {
        // Every change is complete before the lock is let go, even if a holder panicked.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one who reads for an organization at a desk.
#[derive(Debug)]
pub(super) struct Reading<Q> {
    desk: Desk<Q>,
    organization: OrganizationId,
    over: bool,
}

impl<Q> Reading<Q> {
    /// Whom to answer next; none ends the reading.
    pub fn next(&mut self) -> Option<Vec<Q>> {
        let mut waiting = self.desk.lock();
        match waiting.get_mut(&self.organization) {
            Some(asked) if !asked.is_empty() => Some(asked.drain(..asked.len().min(TOGETHER)).collect()),
            _ => {
                // From here on whoever asks begins a reading of their own.
                waiting.remove(&self.organization);
                self.over = true;
                None
            }
        }
    }
}

impl<Q> Drop for Reading<Q> {
    /// A reading that broke off leaves nobody waiting for it.
    fn drop(&mut self) {
        if !self.over {
            self.desk.lock().remove(&self.organization);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ORGANIZATION: OrganizationId = OrganizationId(Uuid::from_u128(1));

    #[test]
    fn who_comes_while_one_reads_is_answered_by_the_next_turn() {
        let desk = Desk::default();
        let mut reading = desk.line_up(ORGANIZATION, vec![1]).unwrap();
        assert!(desk.line_up(ORGANIZATION, vec![2]).is_none(), "somebody is seeing to it");
        assert_eq!(reading.next(), Some(vec![1, 2]));
        assert!(desk.line_up(ORGANIZATION, vec![3, 4]).is_none());
        assert_eq!(reading.next(), Some(vec![3, 4]));
        assert_eq!(reading.next(), None);
        assert!(desk.line_up(ORGANIZATION, vec![5]).is_some(), "the reading is over");
    }

    #[test]
    fn a_turn_is_bounded_and_organizations_do_not_wait_for_each_other() {
        let desk = Desk::default();
        let mut reading = desk.line_up(ORGANIZATION, vec![0; TOGETHER + 1]).unwrap();
        assert!(desk.line_up(OrganizationId(Uuid::from_u128(2)), vec![0]).is_some());
        assert_eq!(reading.next().map(|turn| turn.len()), Some(TOGETHER));
        assert_eq!(reading.next().map(|turn| turn.len()), Some(1));
    }

    #[test]
    fn a_reading_that_breaks_off_leaves_nobody_waiting() {
        let desk = Desk::default();
        let reading = desk.line_up(ORGANIZATION, vec![1]).unwrap();
        drop(reading);
        let mut again = desk.line_up(ORGANIZATION, vec![2]).unwrap();
        assert_eq!(again.next(), Some(vec![2]));
    }
}
