//! Work that keeps a processor busy for long, on a thread of its own.
//!
//! The runtime's threads answer requests, and a request that comes while each of them computes for somebody else waits for
//! all of that. Beside a thread of its own the kernel lets it through; and work that nobody waits for steps back where
//! others want the processor.

use std::future::Future;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// How much of a processor a thread asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// As much as any other.
    Equal,
    /// What others leave, and a little.
    Rest,
}

/// The thread could not be started, or panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the thread of this work ended")]
pub struct Ended;

/// Runs work on a thread of this name. It goes on if nobody waits for its answer any more.
pub async fn run<T: Send + 'static>(
    name: &'static str,
    share: Share,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Ended> {
    let runtime = Handle::current();
    let (answer, answered) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
        if share == Share::Rest {
            step_back();
        }
        // Whoever asked may have gone away.
        let _ = answer.send(runtime.block_on(work));
    });
    if let Err(error) = thread {
        tracing::warn!(%error, work = name, "a thread cannot be started");
    }
    answered.await.map_err(|_| Ended)
}

/// Lowers the priority of this thread. Elsewhere than on Linux that would be the whole process's.
fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, 10) {
        tracing::debug!(%error, "a thread works at the usual priority");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_runs_apart_and_its_panic_is_told() {
        let here = std::thread::current().id();
        let there = run("test", Share::Rest, async { std::thread::current().id() }).await;
        assert!(there.is_ok_and(|there| there != here));
        let panics = async { panic!("on purpose") };
        assert_eq!(run::<()>("test", Share::Equal, panics).await, Err(Ended));
    }
}
