//! Requests that are under way: of any number of calls at once that are the same request, one works and the others wait
//! for what it is answered.
//!
//! This spares work, a large plan or a question to a model that costs money, and promises nothing: the append alone
//! decides which of two calls of one request is recorded. Calls at other processes are not seen (see `across`), and whoever
//! has waited long enough goes on by itself.

pub mod across;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use docket_aggregates::ids::{OrganizationId, PrincipalId};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// What makes two calls the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlightKey([u8; 32]);

impl FlightKey {
    /// The request that `principal` names `name` where it calls `tool`.
    pub fn of(organization: OrganizationId, principal: PrincipalId, tool: &str, name: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(organization.uuid())
            .chain_update(principal.uuid())
            .chain_update(tool)
            .chain_update([0])
            .chain_update(name)
            .finalize();
        Self(digest.into())
    }
}

type Turns = HashMap<FlightKey, Arc<Turn<()>>>;

/// The requests that are under way. Cheap to clone; holds as many entries as there are calls.
#[derive(Clone, Debug, Default)]
pub struct Flights(Arc<Mutex<Turns>>);

/// A call on its way. The next one of the same request goes on when this is dropped.
#[derive(Debug)]
pub struct Flight {
    waited: bool,
    // Dropped before the seat, which looks whether anybody else is there.
    _turn: Option<OwnedMutexGuard<()>>,
    _seat: Seat,
}

impl Flight {
    /// Whether the same request was under way already: it may be answered by now.
    pub fn waited(&self) -> bool {
        self.waited
    }
}

/// Keeps the entry of a request for as long as a call needs it.
#[derive(Debug)]
struct Seat {
    flights: Flights,
    key: FlightKey,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut turns = self.flights.turns();
        // Whoever holds the turn or waits for it has a share of it; the last one is the table's own.
        if turns.get(&self.key).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            turns.remove(&self.key);
        }
    }
}

impl Flights {
    fn turns(&self) -> std::sync::MutexGuard<'_, Turns> {
        // Every change of it is one call; a holder that panicked left nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call: at once if no other of the same request is under way, else after that one, or after `within`.
    pub async fn enter(&self, key: FlightKey, within: Duration) -> Flight {
        let seat = Seat { flights: self.clone(), key };
        let turn = self.turns().entry(key).or_default().clone();
        match turn.clone().try_lock_owned() {
            Ok(turn) => Flight { waited: false, _turn: Some(turn), _seat: seat },
            Err(_) => {
                let turn = tokio::time::timeout(within, turn.lock_owned()).await.ok();
                Flight { waited: true, _turn: turn, _seat: seat }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const LONG: Duration = Duration::from_secs(60);

    fn key(name: &str) -> FlightKey {
        FlightKey::of(OrganizationId(Uuid::from_u128(1)), PrincipalId(Uuid::from_u128(2)), "tool", name)
    }

    #[tokio::test]
    async fn one_works_and_the_others_wait() {
        let flights = Flights::default();
        let first = flights.enter(key("a"), LONG).await;
        let other = flights.enter(key("b"), LONG).await;
        assert!(!first.waited() && !other.waited());
        let mut second = Box::pin(flights.enter(key("a"), LONG));
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        assert!(second.await.waited());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let flights = Flights::default();
        let first = flights.enter(key("a"), LONG).await;
        let second = flights.enter(key("a"), LONG).await;
        assert!(second.waited());
        drop((first, second));
        assert!(!flights.enter(key("a"), LONG).await.waited());
    }

    #[tokio::test]
    async fn what_is_over_leaves_nothing_behind() {
        let flights = Flights::default();
        let first = flights.enter(key("a"), LONG).await;
        let mut second = Box::pin(flights.enter(key("a"), LONG));
        assert!(futures::poll!(&mut second).is_pending());
        // One that gives up while it waits, in either order.
        drop(second);
        assert_eq!(flights.turns().len(), 1);
        let mut third = Box::pin(flights.enter(key("a"), LONG));
        assert!(futures::poll!(&mut third).is_pending());
        drop(first);
        drop(third);
        assert!(flights.turns().is_empty());
    }
}
