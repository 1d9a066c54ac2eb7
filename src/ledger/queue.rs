//! Commands that wait for the append: one bounded queue per organization, served in turn.
//!
//! An organization that fills its share is refused (429) while the others go on; when everything together is
//! full, everybody is (503). Nothing waits without a bound, and no organization waits behind another's backlog.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use docket_aggregates::ids::OrganizationId;
use tokio::sync::{Notify, oneshot};

use super::command::{AppendError, Appended};
use super::prepare::Prepared;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub struct QueueBounds {
    /// Commands in all.
    pub commands: usize,
    /// Commands of one organization.
    pub share: usize,
    /// Bytes in all.
    pub bytes: usize,
}

impl Default for QueueBounds {
    fn default() -> Self {
        Self { commands: 4_096, share: 2_048, bytes: 256 << 20 }
    }
}

/// Commands in one transaction, at most.
pub const BATCH_COMMANDS: usize = 256;
/// Bytes in one transaction, at most; a larger command goes alone.
pub const BATCH_BYTES: usize = 1 << 20;
/// When a refused caller may come again: a full queue drains within this at the slowest rate measured.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A prepared command and whoever waits for it.
#[derive(Debug)]
pub struct Waiting {
    pub prepared: Prepared,
    pub answer: oneshot::Sender<Result<Appended, Refusal>>,
    /// How often its organization was busy.
    pub passes: u8,
    /// When it was put into the queue.
    pub since: Instant,
}

impl Waiting {
    /// Whoever waits may have gone away; then nobody needs the answer.
    pub fn answer(self, result: Result<Appended, Refusal>) {
        let _ = self.answer.send(result);
    }
}

/// What the append refuses, before it is explained to the caller.
#[derive(Debug)]
pub enum Refusal {
    /// To the caller as it is.
    Error(AppendError),
    /// A subject that was taken to be new has a key: prepare again.
    Reseal,
    /// The request was answered before, with the same input: the stored row.
    Answered {
        /// The sealed answer.
        answer: Vec<u8>,
        /// The command of then.
        command_id: uuid::Uuid,
        /// Its position.
        position: i64,
    },
}

/// The queue of one lane.
#[derive(Debug)]
pub struct Queue {
    bounds: QueueBounds,
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<OrganizationId, VecDeque<Waiting>>,
    turns: VecDeque<OrganizationId>,
    commands: usize,
    bytes: usize,
    closed: bool,
}

impl Queue {
    /// An empty queue.
    pub fn new(bounds: QueueBounds) -> Self {
        Self { bounds, state: Mutex::default(), filled: Notify::new() }
    }

    /// Puts a command at the end of its organization's queue, or refuses it.
    pub fn push(&self, waiting: Waiting) -> Result<(), AppendError> {
        let organization = waiting.prepared.organization;
        let mut state = self.lock();
        if state.closed {
            return Err(AppendError::Unavailable);
        }
        let own = state.waiting.get(&organization).map_or(0, VecDeque::len);
        if own >= self.bounds.share {
            return Err(AppendError::OrganizationBusy { retry_after: RETRY_AFTER });
        }
        let bytes = waiting.prepared.bytes;
        let full = state.commands >= self.bounds.commands
            || (state.bytes + bytes > self.bounds.bytes && state.commands > 0);
        if full {
            return Err(AppendError::Overloaded { retry_after: RETRY_AFTER });
        }
        state.put(waiting, false);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Puts commands back at the front, in their order. They are within the bounds already.
    pub fn put_back(&self, batch: Vec<Waiting>) {
        let mut state = self.lock();
        for waiting in batch.into_iter().rev() {
            state.put(waiting, true);
        }
        drop(state);
        self.filled.notify_one();
    }

    /// The next batch, in turn over the organizations; none once the queue is closed and empty.
    pub async fn next(&self) -> Option<Vec<Waiting>> {
        loop {
            let filled = self.filled.notified();
            {
                let mut state = self.lock();
                let batch = state.take();
                if !batch.is_empty() {
                    return Some(batch);
                }
                if state.closed {
                    return None;
                }
            }
            filled.await;
        }
    }

    /// Takes no more commands; what waits is still served.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// Commands that wait.
    pub fn depth(&self) -> usize {
        self.lock().commands
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before the lock is let go, even if a holder panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, waiting: Waiting, front: bool) {
        let organization = waiting.prepared.organization;
        self.commands += 1;
        self.bytes += waiting.prepared.bytes;
        let queue = self.waiting.entry(organization).or_default();
        if queue.is_empty() {
            self.turns.push_back(organization);
        }
        if front { queue.push_front(waiting) } else { queue.push_back(waiting) }
    }

    fn take(&mut self) -> Vec<Waiting> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH_COMMANDS {
            let Some(organization) = self.turns.pop_front() else { break };
            let Some(queue) = self.waiting.get_mut(&organization) else { continue };
            let Some(next) = queue.front() else { continue };
            let alone = next.passes >= BUSY_PASSES || next.prepared.bytes > BATCH_BYTES;
            if !batch.is_empty() && (alone || bytes + next.prepared.bytes > BATCH_BYTES) {
                self.turns.push_front(organization);
                break;
            }
            let Some(taken) = queue.pop_front() else { continue };
            if queue.is_empty() {
                self.waiting.remove(&organization);
            } else {
                self.turns.push_back(organization);
            }
            self.commands -= 1;
            self.bytes -= taken.prepared.bytes;
            bytes += taken.prepared.bytes;
            batch.push(taken);
            if alone {
                break;
            }
        }
        batch
    }
}

/// After so many passes at which its organization was busy, a command is appended alone and waits for the lock.
pub const BUSY_PASSES: u8 = 3;
