//! Deciding on an aggregate's state.
//!
//! States are remembered between commands, so that the usual command costs one append and no reading. A memory may
//! be old: an event that was decided on it is refused by the append and decided anew, and a refusal or a "nothing
//! to do" is answered only after the stream's tail was read.

use std::any::Any;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use docket_aggregates::ids::OrganizationId;
use docket_aggregates::{AnyEvent, Decides};
use lru::LruCache;
use uuid::Uuid;

use super::command::{AppendError, Appended, Command, Lane, Origin, Request, Stream, Write};
use super::read::{self, ReadError};
use super::{Guard, Ledger};
use docket_aggregates::Timestamp;
use docket_aggregates::ids::CommandId;

const STATES_REMEMBERED: usize = 16_384;
/// Events of a stream that are read at once.
const PAGE_EVENTS: i64 = 64;
/// How often a decision that lost a race is made anew.
pub const TRIES: usize = 5;
/// How long a decision that lost a race waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(5);

type StateKey = (OrganizationId, Stream);
/// A version and the state that it is of.
type Remembered = (u64, Arc<dyn Any + Send + Sync>);

/// The states of aggregates, the most recently used ones.
pub struct States(Mutex<LruCache<StateKey, Remembered>>);

impl Default for States {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(NonZeroUsize::new(STATES_REMEMBERED).unwrap_or(NonZeroUsize::MIN))))
    }
}

/// An aggregate's state and the number of events that made it.
#[derive(Clone, Debug)]
pub struct Versioned<A> {
    /// The state.
    pub state: Arc<A>,
    /// Number of events.
    pub version: u64,
    stream: Stream,
}

impl<A> Versioned<A> {
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

    fn remembered<A: Decides + 'static>(&self, key: &StateKey) -> Option<Versioned<A>> {
        let mut states = self.inner.states.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (version, state) = states.get(key)?;
        let state = state.clone().downcast::<A>().ok()?;
        Some(Versioned { state, version: *version, stream: key.1 })
    }

    fn remember<A: Decides + 'static>(&self, key: StateKey, versioned: &Versioned<A>) {
        let mut states = self.inner.states.0.lock().unwrap_or_else(PoisonError::into_inner);
        if states.peek(&key).is_none_or(|(version, _)| *version < versioned.version) {
            states.put(key, (versioned.version, versioned.state.clone()));
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
        let known = self.remembered::<A>(&key);
        let (mut version, mut state) = match &known {
            Some(known) => (known.version, known.state.clone()),
            None => (0, Arc::new(A::default())),
        };
        // Page by page, so that a long stream (an import's) is never held whole.
        loop {
            let mut page =
                read::stream_page(&self.inner.pool, organization, stream, version, PAGE_EVENTS).await?;
            let last = i64::try_from(page.len()).is_ok_and(|read| read < PAGE_EVENTS);
            if !page.is_empty() {
                read::open(&self.inner.keys, organization, &mut page).await?;
                version += page.len() as u64;
                let changed = Arc::make_mut(&mut state);
                for stored in page {
                    let position = stored.position;
                    let event =
                        serde_json::from_value(stored.payload).map_err(|source| ReadError::Decode {
                            position,
                            source: docket_aggregates::DecodeError::Undecodable {
                                event_type: stored.event_type,
                                event_version: stored.event_version,
                                source,
                            },
                        })?;
                    changed.apply(event);
                }
            }
            if last {
                break;
            }
        }
        let versioned = Versioned { state, version, stream };
        if known.is_none_or(|known| known.version < version) && version > 0 {
            self.remember(key, &versioned);
        }
        Ok(versioned)
    }

    /// The state as it was last seen, which may be old; read if it was never seen. Only for decisions whose events
    /// or guards the append will judge.
    pub async fn glance<A: Decides + Clone + 'static>(
        &self,
        organization: OrganizationId,
        id: impl Into<Uuid>,
    ) -> Result<Versioned<A>, ReadError> {
        let id = id.into();
        match self.remembered(&(organization, Stream::of::<A>(id))) {
            Some(known) => Ok(known),
            None => self.load(organization, id).await,
        }
    }

    /// Remembers what a successful append made of a state.
    pub fn learn<A: Decides + Clone + 'static>(
        &self,
        organization: OrganizationId,
        before: &Versioned<A>,
        events: Vec<A::Event>,
    ) -> Versioned<A> {
        let mut state = before.state.clone();
        let version = before.version + events.len() as u64;
        let changed = Arc::make_mut(&mut state);
        for event in events {
            changed.apply(event);
        }
        let after = Versioned { state, version, stream: before.stream };
        self.remember((organization, before.stream), &after);
        after
    }

    /// Orders one aggregate to do something, deciding anew when it lost a race. `fresh` says that the aggregate is
    /// being begun under a newly minted id, so that there is nothing to read first.
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
        A::Event: Into<AnyEvent>,
    {
        let id = id.into();
        let mut seen = self.glance::<A>(organization, id).await?;
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
                request: request.clone(),
                lane: Lane::Normal,
            };
            match self.append(order).await {
                Ok(appended) => {
                    let after = self.learn(organization, &seen, events);
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
