//! Whose turn it is: organizations and their outboxes one after the other, each with as much at once as its channel takes.
//!
//! A call must begin soon after its hand-over, so a batch may only be as large as what its channel takes in that time.
//! That is found out: a lane begins with a few messages and doubles while the last one of a batch begins early; it
//! halves when one had to be taken back, and then goes on with a few until a batch goes through.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant as Stopwatch};

use docket_aggregates::sending_control::{PauseScope, SendingControl};
use tokio::task::JoinSet;

use super::batch::Batch;
use super::work::Lane;
use super::{CALLS_BEGIN_WITHIN, Shared};

/// Messages in a batch of a lane of which nothing is known yet, and at least: they can all be called at once.
const WINDOW_MIN: usize = super::CALLS_MAX;
/// Messages in a batch, at most.
const WINDOW_MAX: usize = 256;
/// Batches of one lane at once: one is handed over while another is called and a third is recorded.
const BATCHES_MAX: usize = 3;
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
    struggling: AtomicBool,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            batches: AtomicUsize::new(0),
            window: AtomicUsize::new(WINDOW_MIN),
            struggling: AtomicBool::new(false),
        }
    }
}

impl Pace {
    /// A message had to be taken back: until a batch goes through, the lane has one at a time, and a small one. A channel
    /// that hangs would otherwise be handed the same messages again and again.
    pub fn struggle(&self) {
        self.struggling.store(true, Ordering::Relaxed);
    }

    /// A batch of that size ended whose last call began so late, or with messages that had to be taken back.
    pub fn learn(&self, size: usize, last_began: Duration, taken_back: usize) {
        let window = self.window.load(Ordering::Relaxed);
        let next = if taken_back > 0 {
            window / 2
        } else {
            self.struggling.store(false, Ordering::Relaxed);
            let early = last_began < CALLS_BEGIN_WITHIN / 4;
            if size >= window && early { window * 2 } else { window }
        };
        self.window.store(next.clamp(WINDOW_MIN, WINDOW_MAX), Ordering::Relaxed);
    }

    /// Messages that the next batch may have.
    fn room(&self) -> usize {
        let (batches, window) = (self.batches.load(Ordering::Relaxed), self.window.load(Ordering::Relaxed));
        match self.struggling.load(Ordering::Relaxed) {
            true if batches > 0 => 0,
            true => WINDOW_MIN,
            false if batches >= BATCHES_MAX => 0,
            false => window,
        }
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
    /// Where the next look begins.
    last: Option<Lane>,
    /// Whose batch was begun last: the next one in order is the first of the next round.
    served: Option<Lane>,
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
        let first = ready.partition_point(|lane| Some(*lane) <= self.served);
        ready.rotate_left(first);
        // One batch of each lane, then another one of those that have more.
        while !ready.is_empty() && !shared.stopping.is_cancelled() {
            let mut more = Vec::new();
            for lane in ready {
                let pace = self.known.entry(lane).or_default().clone();
                let wanted = pace.room().min(shared.in_flight.available_permits());
                if wanted == 0 {
                    continue;
                }
                let count = u32::try_from(wanted).unwrap_or(u32::MAX);
                let Ok(mut places) = shared.in_flight.clone().try_acquire_many_owned(count) else { continue };
                let holder = shared.app.clock.mint();
                let messages = shared.work.claim(lane, holder, now, wanted).await?;
                drop(places.split(wanted.saturating_sub(messages.len())));
                if messages.is_empty() {
                    continue;
                }
                if messages.len() == wanted {
                    more.push(lane);
                }
                self.served = Some(lane);
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
        if shared.app.workspaces.is_on(ledger, lane.organization).await.is_ok_and(|on| !on) {
            self.paused.insert(lane, Stopwatch::now());
            return true;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY: Duration = Duration::from_millis(50);

    #[test]
    fn a_lane_grows_while_its_channel_keeps_up_and_shrinks_when_it_does_not() {
        let pace = Pace::default();
        for expected in [8, 16, 32, 64, 128, 256, 256] {
            assert_eq!(pace.room(), expected);
            pace.learn(expected, EARLY, 0);
        }
        // A batch that was not full, or whose last call began late, says nothing about more.
        pace.learn(3, EARLY, 0);
        pace.learn(256, CALLS_BEGIN_WITHIN / 2, 0);
        assert_eq!(pace.room(), 256);
        pace.learn(256, CALLS_BEGIN_WITHIN, 1);
        assert_eq!(pace.room(), 128);
    }

    #[test]
    fn a_lane_that_struggles_has_one_small_batch_at_a_time() {
        let pace = Arc::new(Pace::default());
        pace.learn(8, EARLY, 0);
        let first = pace.clone().under_way();
        assert_eq!(pace.room(), 16);
        pace.struggle();
        assert_eq!(pace.room(), 0);
        drop(first);
        assert_eq!(pace.room(), WINDOW_MIN);
        pace.learn(8, EARLY, 0);
        assert_eq!(pace.room(), 16);
    }
}
