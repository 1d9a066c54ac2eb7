//! The dispatcher: takes what waits for a channel, hands it over, and records what became of it.
//!
//! What holds, however many processes dispatch and wherever one of them is killed:
//!
//! - **A send is recorded once and charged once.** `MessageSending` and the charge of its bucket are one append, decided
//!   on the message's version; of two that try, one appends.
//! - **A channel is called at most once for a message**, unless it takes an idempotency key: then under the same key, with
//!   the same secret.
//! - **What cannot be known is unknown.** A hand-over whose holder is gone is not repeated; it keeps its charge.
//! - **No transaction is open while a channel is called.**
//! - **After a pause was acknowledged, no call begins**, in any process: see [`CALLS_BEGIN_WITHIN`].
//!
//! A message goes through four hands. `feed` reads the events of messages and keeps the work table: what is due, and
//! when. The loop below claims what is due, in turn over organizations and their outboxes. `hand_over` looks at
//! everything that may have changed since the draft, decides, and appends; only what it appended is given to a channel
//! by `call`. `record` appends the outcome. A claim is a lease that saves others the work, and nothing rests on it: the
//! work table can be emptied at any time, and is then filled from the ledger again.

mod batch;
mod call;
mod candidate;
mod feed;
mod ground;
mod hand_over;
mod lanes;
mod plan;
mod probe;
mod record;
mod work;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::channels::Channels;
use crate::standing;

pub use crate::following::cursors::FeedError;
pub use feed::{Portion, refill, refill_by};
pub use probe::{Point, Probe};

use call::Turns;
use lanes::Lanes;
use work::Work;

/// How long after a hand-over was handed to the ledger its call may begin. A message whose turn comes later is taken back, so
/// that whoever pauses only has to wait this long after the pause was recorded: every hand-over that was recorded before
/// has begun its call by then, or never will.
pub const CALLS_BEGIN_WITHIN: Duration = Duration::from_secs(2);
/// How long one call may take.
const CALL_WITHIN: Duration = Duration::from_secs(20);
/// After so long without an outcome a hand-over has nobody any more who could know it: longer than the append, the call
/// and the recording may take together.
const ABANDONED_AFTER: Duration = Duration::from_secs(90);
/// How often the loop looks by itself, for what becomes due and what others left.
const LOOK: Duration = Duration::from_millis(200);
/// Messages that one process has claimed at once.
const IN_FLIGHT_MAX: usize = 1_024;
/// Calls at once with one credential: as many as there are connections to a mail server.
const CALLS_MAX: usize = 8;

/// What an operator, or a test, may set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Messages that this process has claimed at once.
    pub in_flight_max: usize,
    /// Calls at once with one credential.
    pub calls_max: usize,
    /// How long one call may take.
    pub call_within: Duration,
    /// Where a test looks in.
    pub probe: Probe,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            in_flight_max: IN_FLIGHT_MAX,
            calls_max: CALLS_MAX,
            call_within: CALL_WITHIN,
            probe: Probe::default(),
        }
    }
}

/// What every hand is given.
struct Shared {
    app: App,
    channels: Channels,
    settings: Settings,
    work: Work,
    turns: Turns,
    in_flight: Arc<Semaphore>,
    /// The feed changed the work table.
    fed: Notify,
    stopping: CancellationToken,
}

/// A dispatcher at work. It is stopped in good order by [`Running::stop`]; dropping it ends it in the middle of whatever it
/// does, like a kill.
pub struct Running {
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
}

/// Begins to dispatch. Any number of processes may do so on one database.
pub fn start(app: App, channels: Channels, settings: Settings) -> Running {
    let shared = Arc::new(Shared {
        work: Work::new(app.ledger.pool().clone()),
        turns: Turns::new(settings.calls_max),
        in_flight: Arc::new(Semaphore::new(settings.in_flight_max)),
        fed: Notify::new(),
        stopping: CancellationToken::new(),
        app,
        channels,
        settings,
    });
    let running = shared.clone();
    let task = tokio::spawn(standing::keep("dispatcher", move || run(running.clone())));
    Running { shared, task: Some(task) }
}

impl Running {
    /// Claims nothing more, hands nothing more over, and waits until what is at its channel has its outcome recorded.
    /// What takes longer than `within` is left to whoever finds it abandoned.
    pub async fn stop(mut self, within: Duration) {
        self.shared.stopping.cancel();
        if let Some(task) = &mut self.task
            && tokio::time::timeout(within, task).await.is_err()
        {
            tracing::warn!("some messages did not get their outcome in time; they are looked at later");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn run(shared: Arc<Shared>) {
    let mut feeding = JoinSet::new();
    let feed = shared.clone();
    feeding.spawn(standing::keep("feed", move || feed::run(feed.clone())));
    // Dropped with this task, and everything in it with it.
    let mut batches = JoinSet::new();
    let mut lanes = Lanes::default();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.stopping.cancelled() => break,
            () = shared.fed.notified() => (),
            _ = look.tick() => (),
            Some(ended) = batches.join_next(), if !batches.is_empty() => ended_well(ended),
        }
        while let Some(ended) = batches.try_join_next() {
            ended_well(ended);
        }
        if let Err(error) = lanes.begin(&shared, &mut batches).await {
            tracing::warn!(error = %Database(&error), "the work table cannot be read");
        }
        let claimed = shared.settings.in_flight_max - shared.in_flight.available_permits();
        metrics::gauge!("docket_dispatch_in_flight").set(claimed as f64);
    }
    while let Some(ended) = batches.join_next().await {
        ended_well(ended);
    }
}

fn ended_well(ended: Result<(), tokio::task::JoinError>) {
    if ended.is_err() {
        // The panic hook has logged where. What it had claimed is claimed again when its lease is over.
        tracing::error!("a batch of messages broke off");
    }
}

/// A database error without the values that Postgres quotes in its detail.
struct Database<'a>(&'a sqlx::Error);

impl std::fmt::Display for Database<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_database_error() {
            Some(error) => write!(f, "SQLSTATE {}", error.code().unwrap_or_default()),
            None => f.write_str("the database does not answer"),
        }
    }
}
