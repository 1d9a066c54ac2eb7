//! Analyses of imports: made once, kept for a day, read page by page.
//!
//! A million rows take a minute to compare and their groups take a page's time to show, so the two are apart. Who asks
//! first sets off the work and is told to come again if it takes longer than a request may; whoever asks meanwhile
//! joins it. What comes of it is stored beside the ledger in parts of a thousand groups, of which a page reads one or
//! two. Only numbers of rows and ids of contacts are stored: who they are is read anew for each page.
//!
//! Memory is bounded: one large analysis is made at a time, and of each record it keeps about a quarter of a kilobyte.
//! The comparing runs on a thread of its own, so that a shutdown need not wait for it; what was not finished is begun anew
//! by whoever asks again. The rows of a call are known to its caller alone: when that one stays away, the work is given up.

mod store;
mod work;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use docket_aggregates::ids::OrganizationId;
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

pub use store::{Fault, Header, StoredGroup, find, groups, header};
pub use work::{Feed, Work};

/// From so many rows on an analysis is large.
const LARGE: u64 = 20_000;
/// Large analyses made at once by a process, and others.
const LARGE_AT_ONCE: usize = 1;
const SMALL_AT_ONCE: usize = 4;
/// Analyses that are made or wait for their turn.
const WAITING_MAX: usize = 64;
/// Those of one organization: fewer than are made at once, so that there is a place for the others' small ones.
const OF_ONE_MAX: usize = 3;
/// How long an analysis that is wanted while somebody asks goes on without. Who is told to come again does so within seconds.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(60);

/// How an analysis ended; none that it was cut off.
type Outcome = Option<Result<Uuid, Stopped>>;

/// An analysis came to nothing. Why was logged, but for what the caller can do something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// The database did not answer, or the read models.
    #[error("the analysis was interrupted")]
    Interrupted,
    /// A defect of ours.
    #[error("the analysis failed")]
    Failed,
}

/// As many analyses wait as may, of this organization or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// For how long an analysis is worth making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Whoever asks next will have it.
    Always,
    /// It ends a minute after nobody waits for it any more.
    WhileAsked,
}

/// How far an analysis is, and how often it was asked for.
#[derive(Debug, Default)]
pub struct Progress {
    rows: AtomicU64,
    asked: AtomicU64,
}

impl Progress {
    /// Counts rows that were read.
    pub fn add(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }
}

/// An analysis under way.
#[derive(Clone, Debug)]
pub struct Running {
    outcome: watch::Receiver<Option<Outcome>>,
    progress: Arc<Progress>,
}

impl Running {
    /// Its id once it is stored, if that is within the given time.
    pub async fn ended(&mut self, within: Duration) -> Option<Result<Uuid, Stopped>> {
        match tokio::time::timeout(within, self.outcome.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) => Some(outcome.flatten().unwrap_or(Err(Stopped::Interrupted))),
            Ok(Err(_)) => Some(Err(Stopped::Interrupted)),
            Err(_) => None,
        }
    }

    /// Rows that were read so far.
    pub fn rows(&self) -> u64 {
        self.progress.rows.load(Ordering::Relaxed)
    }
}

/// An analysis under way as it is kept here: nobody waits for it by that alone, and it is over with its task.
#[derive(Debug)]
struct Made {
    ended: Weak<watch::Sender<Option<Outcome>>>,
    progress: Arc<Progress>,
}

impl Made {
    fn is_over(&self) -> bool {
        self.ended.upgrade().is_none_or(|ended| ended.borrow().is_some())
    }

    fn join(&self) -> Option<Running> {
        let outcome = self.ended.upgrade()?.subscribe();
        self.progress.asked.fetch_add(1, Ordering::Relaxed);
        Some(Running { outcome, progress: self.progress.clone() })
    }
}

/// By organization and a hash of what is asked.
type RunningAnalyses = HashMap<(OrganizationId, [u8; 32]), Made>;

/// The analyses that this process makes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Analyses {
    running: Arc<Mutex<RunningAnalyses>>,
    large: Arc<Semaphore>,
    small: Arc<Semaphore>,
}

impl Default for Analyses {
    fn default() -> Self {
        Self {
            running: Arc::default(),
            large: Arc::new(Semaphore::new(LARGE_AT_ONCE)),
            small: Arc::new(Semaphore::new(SMALL_AT_ONCE)),
        }
    }
}

impl Analyses {
    /// The analysis of this input that is under way, or a new one made by `work` in its turn.
    pub fn run<F>(
        &self,
        organization: OrganizationId,
        fingerprint: [u8; 32],
        rows: u64,
        wanted: Wanted,
        work: impl FnOnce(Arc<Progress>) -> F,
    ) -> Result<Running, TooMany>
    where
        F: Future<Output = Result<Uuid, Stopped>> + Send + 'static,
    {
        let mut all = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, made| !made.is_over());
        if let Some(running) = all.get(&(organization, fingerprint)).and_then(Made::join) {
            return Ok(running);
        }
        let own = all.keys().filter(|(theirs, _)| *theirs == organization).count();
        if own >= OF_ONE_MAX || all.len() >= WAITING_MAX {
            return Err(TooMany);
        }
        let (ended, outcome) = watch::channel(None);
        let (ended, progress) = (Arc::new(ended), Arc::<Progress>::default());
        let made = Made { ended: Arc::downgrade(&ended), progress: progress.clone() };
        all.insert((organization, fingerprint), made);
        drop(all);
        let turns = if rows >= LARGE { self.large.clone() } else { self.small.clone() };
        let working = work(progress.clone());
        let running = Running { outcome, progress: progress.clone() };
        tokio::spawn(async move {
            let making = async {
                match turns.acquire_owned().await {
                    Ok(_turn) => Some(working.await),
                    Err(_) => None,
                }
            };
            let outcome = match wanted {
                Wanted::Always => making.await,
                Wanted::WhileAsked => tokio::select! {
                    outcome = making => outcome,
                    () = given_up(&ended, &progress) => None,
                },
            };
            ended.send_replace(Some(outcome));
        });
        Ok(running)
    }
}

/// Returns when nobody has asked for long enough.
async fn given_up(ended: &watch::Sender<Option<Outcome>>, progress: &Progress) {
    loop {
        ended.closed().await;
        let asked = progress.asked.load(Ordering::Relaxed);
        tokio::time::sleep(GIVEN_UP_AFTER).await;
        if ended.is_closed() && progress.asked.load(Ordering::Relaxed) == asked {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;
    use tokio::time::Instant;

    const OWN: OrganizationId = OrganizationId(Uuid::from_u128(1));
    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn whoever_asks_meanwhile_joins_and_whoever_asks_after_begins_anew() {
        let analyses = Analyses::default();
        let (finish, finished) = oneshot::channel::<()>();
        let first = analyses.run(OWN, [1; 32], 10, Wanted::Always, |progress| async move {
            progress.add(10);
            let _ = finished.await;
            Ok(Uuid::from_u128(7))
        });
        let mut first = first.unwrap();
        let mut joined =
            analyses.run(OWN, [1; 32], 10, Wanted::Always, |_| async { panic!("it is under way") }).unwrap();
        assert!(first.ended(Duration::ZERO).await.is_none());
        finish.send(()).unwrap();
        assert_eq!(first.ended(SOON).await, Some(Ok(Uuid::from_u128(7))));
        assert_eq!((joined.ended(SOON).await, joined.rows()), (Some(Ok(Uuid::from_u128(7))), 10));
        let mut next =
            analyses.run(OWN, [1; 32], 10, Wanted::Always, |_| async { Ok(Uuid::from_u128(8)) }).unwrap();
        assert_eq!(next.ended(SOON).await, Some(Ok(Uuid::from_u128(8))));
    }

    #[tokio::test]
    async fn large_ones_take_turns_and_only_so_many_wait() {
        let analyses = Analyses::default();
        let (finish, finished) = oneshot::channel::<()>();
        let run = |n: usize, work: std::pin::Pin<Box<dyn Future<Output = Result<Uuid, Stopped>> + Send>>| {
            let organization = OrganizationId(Uuid::from_u128(n as u128));
            analyses.run(organization, [u8::try_from(n).unwrap(); 32], LARGE, Wanted::Always, |_| work)
        };
        let first = run(
            0,
            Box::pin(async move { finished.await.map(|()| Uuid::nil()).map_err(|_| Stopped::Failed) }),
        );
        let mut waiting: Vec<Running> =
            (1..WAITING_MAX).map(|n| run(n, Box::pin(async { Ok(Uuid::nil()) })).unwrap()).collect();
        assert_eq!(run(99, Box::pin(async { Ok(Uuid::nil()) })).err(), Some(TooMany));
        let mut small = analyses.run(OWN, [200; 32], 1, Wanted::Always, |_| async { Ok(Uuid::nil()) });
        assert!(small.as_mut().is_err(), "the bound is for all of them");
        for other in &mut waiting {
            assert!(other.ended(Duration::from_millis(1)).await.is_none());
        }
        finish.send(()).unwrap();
        assert!(first.unwrap().ended(SOON).await.is_some());
        for other in &mut waiting {
            assert!(other.ended(SOON).await.is_some());
        }
    }

    #[tokio::test]
    async fn one_organization_leaves_room_for_another() {
        let analyses = Analyses::default();
        let (_keep, kept) = watch::channel(());
        for n in 1..=u8::MAX {
            let mut kept = kept.clone();
            let work = async move { kept.changed().await.map(|()| Uuid::nil()).map_err(|_| Stopped::Failed) };
            let taken = analyses.run(OWN, [n; 32], 1, Wanted::Always, |_| work);
            assert_eq!(taken.is_ok(), usize::from(n) <= OF_ONE_MAX, "{n}");
        }
        let other = OrganizationId(Uuid::from_u128(2));
        let mut other =
            analyses.run(other, [1; 32], 1, Wanted::Always, |_| async { Ok(Uuid::nil()) }).unwrap();
        assert_eq!(other.ended(SOON).await, Some(Ok(Uuid::nil())));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_asks_for_any_more_ends_and_makes_room() {
        let analyses = Analyses::default();
        let begin = |wanted| {
            let (working, ended) = oneshot::channel::<()>();
            let work = async move {
                let _working = working;
                std::future::pending().await
            };
            let running = analyses.run(OWN, [wanted as u8; 32], 1, wanted, |_| work).unwrap();
            (running, ended)
        };
        let (kept, kept_on) = begin(Wanted::Always);
        let (mut asked, given_up) = begin(Wanted::WhileAsked);
        let started = Instant::now();
        assert!(asked.ended(GIVEN_UP_AFTER * 2).await.is_none(), "somebody waits");
        drop((asked, kept));
        // Who comes again within the minute finds it, and has a minute more.
        tokio::time::sleep(GIVEN_UP_AFTER / 2).await;
        let unwanted = |_| async { panic!("it is under way") };
        let mut again =
            analyses.run(OWN, [Wanted::WhileAsked as u8; 32], 1, Wanted::WhileAsked, unwanted).unwrap();
        assert!(again.ended(GIVEN_UP_AFTER / 4).await.is_none());
        drop(again);
        assert!(given_up.await.is_err());
        assert!(started.elapsed() >= GIVEN_UP_AFTER * 15 / 4, "{:?}", started.elapsed());
        assert!(tokio::time::timeout(GIVEN_UP_AFTER * 10, kept_on).await.is_err(), "a folder's goes on");
        let begun = analyses.run(OWN, [Wanted::WhileAsked as u8; 32], 1, Wanted::WhileAsked, |_| async {
            Ok(Uuid::from_u128(9))
        });
        assert_eq!(begun.unwrap().ended(SOON).await, Some(Ok(Uuid::from_u128(9))));
    }

    #[tokio::test]
    async fn one_that_panics_is_over() {
        let analyses = Analyses::default();
        let mut running =
            analyses.run(OWN, [1; 32], 1, Wanted::Always, |_| async { panic!("a defect") }).unwrap();
        assert_eq!(running.ended(SOON).await, Some(Err(Stopped::Interrupted)));
        assert!(analyses.run(OWN, [1; 32], 1, Wanted::Always, |_| async { Ok(Uuid::nil()) }).is_ok());
    }
}
