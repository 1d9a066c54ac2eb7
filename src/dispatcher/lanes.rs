//! Whose turn it is: organizations and their outboxes one after the other, each with as much at once as its channel takes.
//!
//! A call must begin soon after its hand-over, so a batch may only be as large as what its channel takes in that time.
//! That is found out: a lane begins with a few messages and doubles while the last one of a batch begins early; it
//! halves when one had to be taken back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant as Stopwatch};

use docket_aggregates::sending_control::{PauseScope, SendingControl};
use tokio::task::JoinSet;

use super::batch::Batch;
use super::work::Lane;
use super::{CALLS_BEGIN_WITHIN, Shared};

/// Messages in a batch of a lane of which nothing is known yet, and at least.
const WINDOW_MIN: usize = 16;
/// Messages in a batch, at most.
const WINDOW_MAX: usize = 256;
/// Batches of one lane at once: one is handed over while another is called and a third is recorded.
const BATCHES_MAX: usize = 4;
/// Lanes that are looked at before the next ones have their turn.
const LANES_AT_ONCE: i64 = 256;
/// Lanes that are remembered.
const LANES_MAX: usize = 16_384;
/// How long a lane that is paused is left alone before it is looked at again.
const PAUSED_FOR: Duration = Duration::from_secs(1);

/// What is known of a lane.
pub struct Pace {
    batches: AtomicUsize,
    window: AtomicUsize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { batches: AtomicUsize::new(0), window: AtomicUsize::new(WINDOW_MIN) }
    }
}

impl Pace {
    /// A full batch whose last call began so late, or with messages that had to be taken back.
    pub fn learn(&self, size: usize, last_began: Duration, taken_back: usize) {
        let window = self.window.load(Ordering::Relaxed);
        let next = if taken_back > 0 {
            window / 2
        } else if size >= window && last_began < CALLS_BEGIN_WITHIN / 4 {
            window * 2
        } else {
            return;
        };
        self.window.store(next.clamp(WINDOW_MIN, WINDOW_MAX), Ordering::Relaxed);
    }

    /// A batch of this lane is under way, until what is given back is dropped.
    fn under_way(self: Arc<Self>) -> UnderWay {
        self.batches.fetch_add(1, Ordering::Relaxed);
        UnderWay(self)
    }
}

/// One batch of a lane.
pub struct UnderWay(Arc<Pace>);

impl std::ops::Deref for UnderWay {
    type Target = Pace;

    fn deref(&self) -> &Pace {
        &self.0
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.batches.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The lanes that this process knows.
#[derive(Default)]
pub struct Lanes {
    known: HashMap<Lane, Arc<Pace>>,
    paused: HashMap<Lane, Stopwatch>,
    last: Option<Lane>,
}

impl Lanes {
    /// Begins as many batches as there is room for.
    pub async fn begin(
        &mut self,
        shared: &Arc<Shared>,
        batches: &mut JoinSet<()>,
    ) -> Result<(), sqlx::Error> {
        if shared.in_flight.available_permits() == 0 {
            return Ok(());
        }
        let now = shared.app.clock.now();
        let lanes = shared.work.lanes(self.last, now, LANES_AT_ONCE).await?;
        // The look is bounded; the next one begins behind its last lane, and from the beginning after the end.
        let whole = i64::try_from(lanes.len()).is_ok_and(|seen| seen < LANES_AT_ONCE);
        self.last = lanes.last().filter(|_| !whole).map(|(lane, _)| *lane);
        if self.last.is_some() {
            shared.fed.notify_one();
        }
        if self.known.len() > LANES_MAX {
            self.known.retain(|_, pace| pace.batches.load(Ordering::Relaxed) > 0);
        }
        self.paused.retain(|_, since| since.elapsed() < PAUSED_FOR);
        let mut ready = Vec::new();
        for (lane, _) in lanes.into_iter().filter(|(_, ready)| *ready) {
            if !self.is_paused(shared, lane).await {
                ready.push(lane);
            }
        }
        while !ready.is_empty() && !shared.stopping.is_cancelled() {
            let mut more = Vec::new();
            for lane in ready {
                let pace = self.known.entry(lane).or_default().clone();
                if pace.batches.load(Ordering::Relaxed) >= BATCHES_MAX {
                    continue;
                }
                let window = pace.window.load(Ordering::Relaxed).min(shared.in_flight.available_permits());
                let count = u32::try_from(window).unwrap_or(u32::MAX);
                let Ok(places) = shared.in_flight.clone().try_acquire_many_owned(count) else {
                    return Ok(());
                };
                if window == 0 {
                    return Ok(());
                }
                let holder = shared.app.clock.mint();
                let messages = shared.work.claim(lane, holder, now, window).await?;
                if messages.is_empty() {
                    continue;
                }
                if messages.len() == window {
                    more.push(lane);
                }
                let batch = Batch { shared: shared.clone(), lane, pace: pace.under_way(), holder, messages };
                batches.spawn(async move {
                    let _places = places;
                    batch.run().await;
                });
            }
            ready = more;
        }
        Ok(())
    }

    /// Whether everything in the lane is held back. A spared look, and no more: whether a message is held back is
    /// decided when it is handed over.
    async fn is_paused(&mut self, shared: &Shared, lane: Lane) -> bool {
        if self.paused.contains_key(&lane) {
            return true;
        }
        let ledger = &shared.app.ledger;
        let whole = |control: &SendingControl| {
            control.is_paused(PauseScope::All) || control.is_paused(PauseScope::Outbox(lane.outbox))
        };
        let id = lane.organization.sending_control();
        let seen = ledger.glance::<SendingControl>(lane.organization, id).await;
        if !seen.is_ok_and(|control| whole(&control.state)) {
            return false;
        }
        let paused = ledger.load::<SendingControl>(lane.organization, id).await;
        let paused = paused.is_ok_and(|control| whole(&control.state));
        if paused {
            self.paused.insert(lane, Stopwatch::now());
        }
        paused
    }
}
