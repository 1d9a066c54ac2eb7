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
    /// How many must wait before whoever takes them is woken.
    crowd: usize,
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
        let enough = state.commands >= state.crowd;
        drop(state);
        if enough {
            self.filled.notify_one();
        }
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
                state.crowd = 1;
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

    /// The next batch, once at least so many commands wait.
    pub async fn crowd(&self, size: usize) -> Vec<Waiting> {
        loop {
            let filled = self.filled.notified();
            {
                let mut state = self.lock();
                state.crowd = size;
                if state.commands >= size {
                    return state.take();
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

#[cfg(test)]
mod tests {
    use docket_aggregates::ids::CommandId;
    use docket_aggregates::time::Timestamp;
    use uuid::Uuid;

    use super::*;

    const BOUNDS: QueueBounds = QueueBounds { commands: 5, share: 3, bytes: 100 };

    fn waiting(organization: u128, bytes: usize) -> Waiting {
        Waiting {
            prepared: Prepared {
                id: CommandId(Uuid::nil()),
                organization: OrganizationId(Uuid::from_u128(organization)),
                at: Timestamp::MIN,
                expected: Vec::new(),
                versions: Vec::new(),
                guards: Vec::new(),
                absent: Vec::new(),
                counted_at: None,
                events: Vec::new(),
                claims: Vec::new(),
                request: None,
                alias: None,
                new_subjects: Vec::new(),
                new_organizations: Vec::new(),
                tokens: Vec::new(),
                bytes,
                opened: Vec::new(),
            },
            answer: oneshot::channel().0,
            passes: 0,
            since: Instant::now(),
        }
    }

    fn pushed(queue: &Queue, organization: u128, bytes: usize) -> &'static str {
        match queue.push(waiting(organization, bytes)) {
            Ok(()) => "waits",
            Err(AppendError::OrganizationBusy { .. }) => "busy",
            Err(AppendError::Overloaded { .. }) => "overloaded",
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn who_fills_a_share_is_refused_alone_and_a_full_queue_refuses_everybody() {
        let queue = Queue::new(BOUNDS);
        let told = [1, 1, 1, 1, 2, 2, 2, 3].map(|who| pushed(&queue, who, 1));
        assert_eq!(told, ["waits", "waits", "waits", "busy", "waits", "waits", "overloaded", "overloaded"]);
        assert_eq!(queue.depth(), 5);
    }

    #[test]
    fn bytes_are_bounded_but_a_large_command_is_not_refused_for_ever() {
        let queue = Queue::new(BOUNDS);
        assert_eq!(pushed(&queue, 1, 101), "waits", "it is alone");
        assert_eq!(pushed(&queue, 2, 1), "overloaded");
    }

    #[tokio::test]
    async fn organizations_take_turns_and_what_is_put_back_comes_first() {
        let queue = Queue::new(BOUNDS);
        for who in [1, 1, 1, 2, 2] {
            pushed(&queue, who, 1);
        }
        let batch = queue.next().await.unwrap();
        let served: Vec<_> =
            batch.iter().map(|waiting| waiting.prepared.organization.uuid().as_u128()).collect();
        assert_eq!(served, [1, 2, 1, 2, 1]);
        assert_eq!(pushed(&queue, 3, 1), "waits", "what is being appended does not wait any more");
        queue.put_back(batch);
        assert_eq!(queue.depth(), 6);
        queue.close();
        assert_eq!(queue.next().await.unwrap().len(), 6, "a closed queue is still served");
        assert!(queue.next().await.is_none());
    }

    #[tokio::test]
    async fn a_crowd_is_waited_for_and_who_asks_for_less_has_it_at_once() {
        let queue = Queue::new(BOUNDS);
        pushed(&queue, 1, 1);
        pushed(&queue, 2, 1);
        let crowd = queue.crowd(3);
        tokio::pin!(crowd);
        assert!(futures::poll!(&mut crowd).is_pending());
        pushed(&queue, 2, 1);
        assert_eq!(crowd.await.len(), 3);

        // Nobody is forgotten of whom a crowd was waited for in vain.
        {
            let crowd = queue.crowd(3);
            tokio::pin!(crowd);
            assert!(futures::poll!(&mut crowd).is_pending());
        }
        pushed(&queue, 3, 1);
        assert_eq!(queue.next().await.unwrap().len(), 1);
    }
}
