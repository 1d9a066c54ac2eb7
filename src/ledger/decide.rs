//! Deciding on an aggregate's state.
//!
//! States are remembered between commands, so that the usual command costs one append and no reading. A memory may
//! be old: an event that was decided on it is refused by the append and decided anew, and a refusal or a "nothing
//! to do" is answered only after the stream's tail was read.

use std::any::Any;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use docket_aggregates::any::ForAggregate;
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::{AnyEvent, Decides};
use uuid::Uuid;

use super::command::{AppendError, Appended, Command, Lane, Origin, Request, Stream, Write};
use super::read::{self, ReadError, Stored};
use super::weighed::{Weighed, weight_of};
use super::{Guard, Ledger};
use docket_aggregates::Timestamp;
use docket_aggregates::ids::CommandId;

const STATES_REMEMBERED: usize = 16_384;
/// A contact may have hundreds of fields of its own, so that their number alone bounds nothing.
const STATES_BYTES: usize = 64 << 20;
/// Streams begun by one command whose states are remembered.
const BEGUN_REMEMBERED: usize = 8;
/// Events of a stream that are read at once.
const PAGE_EVENTS: i64 = 64;
/// How often a decision that lost a race is made anew.
pub const TRIES: usize = 5;
/// How long a decision that lost a race waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(5);

pub(super) type StateKey = (OrganizationId, Stream);

/// A state of some aggregate.
pub(super) trait State: Any + Send + Sync {
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;

    /// The state after these events; none if one of them is not of this aggregate.
    fn after(self: Arc<Self>, events: Vec<AnyEvent>) -> Option<Arc<dyn State>>;

    /// About how much memory it takes.
    fn weight(&self) -> usize;
}

impl<A: Decides + Clone + 'static> State for A {
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn after(mut self: Arc<Self>, events: Vec<AnyEvent>) -> Option<Arc<dyn State>> {
        let changed = Arc::make_mut(&mut self);
        for event in events {
            changed.apply(event.try_into().ok()?);
        }
        Some(self)
    }

    fn weight(&self) -> usize {
        weight_of(self)
    }
}

/// The state of an aggregate that nothing has happened to.
struct Unseen;

impl ForAggregate for Unseen {
    type Out = Arc<dyn State>;

    fn of<A: Decides + Clone + 'static>(self) -> Arc<dyn State> {
        Arc::new(A::default())
    }
}

/// A state, its version, when that began and changed, and whether it has been proved old.
struct Remembered {
    version: u64,
    life: Option<Life>,
    state: Arc<dyn State>,
    old: bool,
}

/// When the first and the last event of a stream were decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The first one.
    pub began: Timestamp,
    /// The last one.
    pub changed: Timestamp,
}

impl Life {
    /// The life of a stream to which something happens at `at`.
    pub(super) fn going_on(life: Option<Self>, at: Timestamp) -> Self {
        Self { began: life.map_or(at, |life| life.began), changed: at }
    }
}

/// The states of aggregates, the most recently used ones.
pub struct States(Mutex<Weighed<StateKey, Remembered>>);

impl Default for States {
    fn default() -> Self {
        let count = NonZeroUsize::new(STATES_REMEMBERED).unwrap_or(NonZeroUsize::MIN);
        Self(Mutex::new(Weighed::new(count, STATES_BYTES)))
    }
}

/// An aggregate's state and the number of events that made it.
#[derive(Clone, Debug)]
pub struct Versioned<A> {
    /// The state.
    pub state: Arc<A>,
    /// Number of events.
    pub version: u64,
    /// When they were decided; none where there are none.
    pub life: Option<Life>,
    pub(super) stream: Stream,
}

impl<A: Default> Versioned<A> {
    /// What nothing has happened to.
    pub(super) fn unseen(stream: Stream) -> Self {
        Self { state: Arc::default(), version: 0, life: None, stream }
    }
}

impl<A> Versioned<A> {
    /// A state that was made up.
    #[cfg(test)]
    pub(crate) fn at(state: Arc<A>, version: u64, stream: Stream) -> Self {
        Self { state, version, life: None, stream }
    }

    /// One more event of its stream, which has been opened.
    pub(super) fn happened(&mut self, stored: Stored) -> Result<(), ReadError>
    where
        A: Decides + Clone,
    {
        self.version += 1;
        self.life = Some(Life::going_on(self.life, stored.occurred_at));
        Arc::make_mut(&mut self.state).apply(stored.event()?);
        Ok(())
    }

    /// Whether anything ever happened to it.
    pub fn exists(&self) -> bool {
        self.version > 0
    }

    /// That it must not have changed since.
    pub fn guard(&self) -> Guard {
        Guard { stream: self.stream, version: self.version }
    }

    /// Events that were decided on this state.
    pub fn write<E: Into<AnyEvent>>(&self, events: Vec<E>) -> Write {
        Write {
            stream: self.stream,
            expected: self.version,
            events: events.into_iter().map(Into::into).collect(),
        }
    }
}

/// What came of a command to one aggregate.
#[derive(Clone, Debug)]
pub struct Decided<A> {
    /// The state after it.
    pub state: Arc<A>,
    /// Its version.
    pub version: u64,
    /// What was appended; none if there was nothing to do.
    pub appended: Option<Appended>,
}

/// Why a command to one aggregate came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum DecideError<E> {
    /// The aggregate refused.
    #[error("{0}")]
    Refused(E),
    /// The ledger refused.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The stream cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Streams that were fought over, by a hash of their id: who lost a race once takes turns with the others of this
/// process, so that each round has a winner instead of one winner and many losers.
pub struct Turns(Vec<Arc<tokio::sync::Mutex<()>>>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..256).map(|_| Arc::default()).collect())
    }
}

impl Ledger {
    /// Waits for this caller's turn at a stream that it lost a race for, a few seconds at most. Keep it while deciding
    /// anew; it only makes a race less likely, and nothing rests on it.
    pub async fn turn(&self, stream: Uuid) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        let turns = &self.inner.turns.0;
        let spread = |hash: usize, byte: &u8| hash.wrapping_mul(31).wrapping_add(usize::from(*byte));
        let index = stream.as_bytes().iter().fold(0, spread);
        let turn = turns[index % turns.len()].clone().lock_owned();
        tokio::time::timeout(TURN_WITHIN, turn).await.ok()
    }

    fn states(&self) -> MutexGuard<'_, Weighed<StateKey, Remembered>> {
        // Every change of it is one call; a holder that panicked left nothing half done.
        self.inner.states.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The remembered state, and whether it has been proved old.
    pub(super) fn remembered<A: Decides + 'static>(&self, key: &StateKey) -> Option<(Versioned<A>, bool)> {
        let mut states = self.states();
        let Remembered { version, life, state, old } = states.get(key)?;
        let state = state.clone().as_any().downcast::<A>().ok()?;
        Some((Versioned { state, version: *version, life: *life, stream: key.1 }, *old))
    }

    pub(super) fn remember<A: Decides + Clone + 'static>(
        &self,
        organization: OrganizationId,
        seen: &Versioned<A>,
    ) {
        self.keep((organization, seen.stream), seen.version, seen.life, seen.state.clone());
    }

    fn keep(&self, key: StateKey, version: u64, life: Option<Life>, state: Arc<dyn State>) {
        let weight = state.weight();
        let mut states = self.states();
        if states.peek(&key).is_none_or(|known| known.version <= version) {
            states.put(key, weight, Remembered { version, life, state, old: false });
        }
    }

    /// Remembers what an append that succeeded made of the states that it rests on, and what it began. `at` is when its
    /// events were decided.
    pub(super) fn advance(&self, organization: OrganizationId, at: Timestamp, writes: Vec<Write>) {
        // A crowd that is begun at once would push out what is asked for.
        let few = writes.len() <= BEGUN_REMEMBERED;
        for write in writes {
            let key = (organization, write.stream);
            let begun = write.events.first().filter(|_| write.expected == 0 && few);
            let before = match begun {
                Some(first) => Some((first.with_aggregate(Unseen), None)),
                None => {
                    let mut states = self.states();
                    match states.peek(&key) {
                        Some(known) if known.version == write.expected => {
                            states.pop(&key).map(|known| (known.state, known.life))
                        }
                        _ => None,
                    }
                }
            };
            let version = write.expected + write.events.len() as u64;
            let Some((before, life)) = before else { continue };
            if let Some(state) = before.after(write.events) {
                self.keep(key, version, Some(Life::going_on(life, at)), state);
            }
        }
    }

    /// Notes that these streams may have moved on: a decision on them was refused.
    pub(super) fn doubt(&self, organization: OrganizationId, streams: impl Iterator<Item = Stream>) {
        let mut states = self.states();
        for stream in streams {
            if let Some(known) = states.peek_mut(&(organization, stream)) {
                known.old = true;
            }
        }
    }

    /// The state as it is now: remembered, completed by the stream's tail.
    pub async fn load<A: Decides + Clone + 'static>(
        &self,
        organization: OrganizationId,
        id: impl Into<Uuid>,
    ) -> Result<Versioned<A>, ReadError> {
        let stream = Stream::of::<A>(id);
        let key = (organization, stream);
        let known = self.remembered::<A>(&key).map(|(known, _)| known);
        let mut seen = known.unwrap_or_else(|| Versioned::unseen(stream));
        // Page by page, so that a long stream (an import's) is never held whole.
        loop {
            let mut page =
                read::stream_page(&self.inner.pool, organization, stream, seen.version, PAGE_EVENTS).await?;
            let last = i64::try_from(page.len()).is_ok_and(|read| read < PAGE_EVENTS);
            read::open_held(&self.inner.keys, organization, &mut page).await?;
            for stored in page {
                seen.happened(stored)?;
            }
            if last {
                break;
            }
        }
        if seen.exists() {
            self.remember(organization, &seen);
        }
        Ok(seen)
    }

    /// The state as it was last seen, which may be old; read if it was never seen or is known to be old. Only for
    /// decisions whose events or guards the append will judge.
    pub async fn glance<A: Decides + Clone + 'static>(
        &self,
        organization: OrganizationId,
        id: impl Into<Uuid>,
    ) -> Result<Versioned<A>, ReadError> {
        let id = id.into();
        match self.remembered(&(organization, Stream::of::<A>(id))) {
            Some((known, false)) => Ok(known),
            _ => self.load(organization, id).await,
        }
    }

    /// What an append that succeeded made of a state; `at` is when its events were decided.
    pub fn after<A: Decides + Clone + 'static>(
        &self,
        organization: OrganizationId,
        before: &Versioned<A>,
        at: Timestamp,
        events: Vec<A::Event>,
    ) -> Versioned<A> {
        let key = (organization, before.stream);
        let version = before.version + events.len() as u64;
        if let Some((known, _)) = self.remembered::<A>(&key).filter(|(known, _)| known.version == version) {
            return known;
        }
        let mut state = before.state.clone();
        let changed = Arc::make_mut(&mut state);
        for event in events {
            changed.apply(event);
        }
        let life = Some(Life::going_on(before.life, at));
        let after = Versioned { state, version, life, stream: before.stream };
        self.remember(organization, &after);
        after
    }

    /// Orders one aggregate to do something, deciding anew when it lost a race. One that was never seen is taken to be
    /// new, so that beginning it reads nothing: if it is not, the append says so.
    #[allow(
        clippy::too_many_arguments,
        reason = "each one is a fact of the command that only the caller knows"
    )]
    pub async fn order<A>(
        &self,
        organization: OrganizationId,
        id: impl Into<Uuid>,
        command_id: CommandId,
        at: Timestamp,
        origin: &Origin,
        request: Option<Request>,
        command: A::Command,
    ) -> Result<Decided<A>, DecideError<A::Error>>
    where
        A: Decides + Clone + 'static,
        A::Command: Clone,
    {
        let id = id.into();
        let stream = Stream::of::<A>(id);
        let mut seen = match self.remembered::<A>(&(organization, stream)) {
            Some((known, false)) => known,
            Some((_, true)) => self.load(organization, id).await?,
            None => Versioned::unseen(stream),
        };
        let mut current = false;
        let mut turn = None;
        for _ in 0..TRIES {
            let decided = seen.state.decide(command.clone());
            let events = match decided {
                Ok(events) if !events.is_empty() => events,
                nothing_or_refused => {
                    if !current {
                        seen = self.load(organization, id).await?;
                        current = true;
                        continue;
                    }
                    nothing_or_refused.map_err(DecideError::Refused)?;
                    return Ok(Decided { state: seen.state, version: seen.version, appended: None });
                }
            };
            let order = Command {
                id: command_id,
                organization,
                at,
                origin: origin.clone(),
                writes: vec![seen.write(events.clone())],
                guards: vec![],
                absent: vec![],
                counted_at: None,
                request: request.clone(),
                lane: Lane::Normal,
            };
            match self.append(order).await {
                Ok(appended) => {
                    let after = self.after(organization, &seen, at, events);
                    return Ok(Decided {
                        state: after.state,
                        version: after.version,
                        appended: Some(appended),
                    });
                }
                Err(AppendError::Conflict) => {
                    if turn.is_none() {
                        turn = self.turn(id).await;
                    }
                    seen = self.load(organization, id).await?;
                    current = true;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(AppendError::Conflict.into())
    }
}
