//! Work that needs a processor for longer than others should wait for one.
//!
//! What runs on the runtime's own threads keeps them from everybody else until it waits for something. Work that goes
//! aside leaves its thread's place to the others first, and of what is `run` there no more goes on at once than leaves them a
//! processor. Of one organization one piece at a time stands in line for that: however many it has, the others wait for one.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use docket_aggregates::ids::OrganizationId;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Who waits so long for a place keeps it for a moment.
const CROWDED: Duration = Duration::from_millis(100);
/// How long a place is kept by work that waits.
const KEPT: Duration = Duration::from_millis(20);
/// So many pieces of work run aside at once: one processor is for the others, where there are several.
static PLACES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(places()));
/// Each organization's place in the line for them, while it has work there.
static LINE: LazyLock<Mutex<HashMap<OrganizationId, Weak<Semaphore>>>> = LazyLock::new(Mutex::default);

fn places() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    processors.saturating_sub(1).max(1)
}

fn in_line(organization: OrganizationId) -> Arc<Semaphore> {
    let mut line = LINE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(own) = line.get(&organization).and_then(Weak::upgrade) {
        return own;
    }
    line.retain(|_, own| own.strong_count() > 0);
    let own = Arc::new(Semaphore::new(1));
    line.insert(organization, Arc::downgrade(&own));
    own
}

/// All places, for a test of who needs one.
#[cfg(test)]
pub async fn every_place() -> tokio::sync::SemaphorePermit<'static> {
    let places = u32::try_from(places()).expect("processors are few");
    PLACES.acquire_many(places).await.expect("the places are never closed")
}

/// Does the work at once, while others go on. A runtime of one thread has no others to make way for.
pub fn at_once<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Does an organization's work aside wherever it does not wait for something itself. A place is held only while it needs a
/// processor; where places are hard to come by also while it waits a moment, or a small call that asks the database five times
/// would stand in line behind five pieces of somebody else's. Such work does not run within other such work, which would hold
/// the place that it waits for.
pub async fn run<F: Future>(organization: OrganizationId, work: F) -> F::Output {
    let in_line = in_line(organization);
    let mut work = pin!(work);
    loop {
        let asked = Instant::now();
        // Neither is ever closed.
        let next = in_line.acquire().await.ok();
        let place = PLACES.acquire().await.ok();
        let mut kept = asked.elapsed() >= CROWDED;
        loop {
            let polled = poll_fn(|context| Poll::Ready(at_once(|| work.as_mut().poll(context)))).await;
            if let Poll::Ready(done) = polled {
                return done;
            }
            if !kept {
                break;
            }
            // Whether the work was woken or the time is over, it is polled again: both may have come at once.
            let idle = Instant::now();
            let _ = tokio::time::timeout(KEPT, woken()).await;
            kept = idle.elapsed() < KEPT;
        }
        drop((place, next));
        woken().await;
    }
}

/// Whatever work waits for wakes its task.
async fn woken() {
    let mut slept = false;
    poll_fn(|_| if std::mem::replace(&mut slept, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use uuid::Uuid;

    use super::*;

    /// Longer than a busy machine takes to start a thread.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn others_are_served_while_something_heavy_runs() {
        let (sender, receiver) = mpsc::channel();
        // It ends only once another task of the runtime, which has one thread, was run meanwhile.
        let heavy = tokio::spawn(run(OrganizationId::INSTANCE, async move {
            tokio::task::yield_now().await;
            receiver.recv_timeout(PATIENCE)
        }));
        let other = tokio::spawn(async move { sender.send("served") });
        assert_eq!(heavy.await.unwrap(), Ok("served"));
        other.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_waits_is_woken_and_what_is_done_is_answered() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let work = async move { receiver.await.map(|n: u32| n + 1) };
        let waiting = tokio::spawn(run(OrganizationId::INSTANCE, work));
        tokio::task::yield_now().await;
        sender.send(1).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(2));
        assert_eq!(at_once(|| 3), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waited_long_for_a_place_keeps_it_over_a_moment_of_rest_and_not_for_longer() {
        let [busy, other] = [3, 4].map(|n| OrganizationId(Uuid::from_u128(n)));
        for (rest, expected) in [(KEPT / 10, [other, busy]), (KEPT * 2, [busy, other])] {
            let order = Arc::new(Mutex::new(Vec::new()));
            let mut places = every_place().await;
            let one = places.split(1);
            let mut at_work = tokio::task::JoinSet::new();
            for (organization, rests) in [(other, 5), (busy, 0)] {
                let order = order.clone();
                let work = async move {
                    for _ in 0..rests {
                        tokio::time::sleep(rest).await;
                    }
                    order.lock().unwrap().push(organization);
                };
                at_work.spawn(run(organization, work));
                tokio::task::yield_now().await;
            }
            tokio::time::advance(2 * CROWDED).await;
            drop(one);
            at_work.join_all().await;
            assert_eq!(*order.lock().unwrap(), expected, "{rest:?}");
        }
    }

    #[tokio::test]
    async fn who_has_much_to_do_lets_others_in_between() {
        let [busy, other] = [1, 2].map(|n| OrganizationId(Uuid::from_u128(n)));
        let order = Arc::new(Mutex::new(Vec::new()));
        let places = every_place().await;
        let mut at_work = tokio::task::JoinSet::new();
        for organization in [busy, busy, busy, other] {
            let order = order.clone();
            at_work.spawn(run(organization, async move { order.lock().unwrap().push(organization) }));
            tokio::task::yield_now().await;
        }
        drop(places);
        at_work.join_all().await;
        let order = order.lock().unwrap().clone();
        let place = order.iter().position(|organization| *organization == other);
        assert!(place.is_some_and(|place| place < 2), "{order:?}");
        let line = LINE.lock().unwrap();
        assert!(line.get(&busy).is_none_or(|own| own.strong_count() == 0), "nobody stands in line any more");
    }
}
