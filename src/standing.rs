//! Work that goes on for as long as the process does.
//!
//! Whoever asks is told when their request failed. Nobody waits for what works in the background: a loop that ended by a panic
//! would be missed by nobody, while everything else looked well. It is begun anew instead, and counted.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;

/// How long a loop rests that panicked: what it stumbled over may still lie there.
const REST: Duration = Duration::from_secs(1);

/// Keeps at work what `begin` begins, until it ends by itself. Dropped, it ends with this.
pub async fn keep<F>(name: &'static str, mut begin: impl FnMut() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let mut work = JoinSet::new();
        work.spawn(begin());
        match work.join_next().await {
            // The panic hook has logged where.
            Some(Err(ended)) if ended.is_panic() => {
                tracing::error!(work = name, "work in the background panicked; it begins anew");
                metrics::counter!("docket_background_panics_total", "work" => name).increment(1);
                tokio::time::sleep(REST).await;
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_panics_begins_anew_and_what_ends_is_over() {
        let begun = Arc::new(AtomicUsize::new(0));
        let count = begun.clone();
        keep("test", move || {
            let count = count.clone();
            async move { assert!(count.fetch_add(1, Ordering::SeqCst) == 2, "stumbles twice") }
        })
        .await;
        assert_eq!(begun.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn what_is_let_go_ends() {
        let (sender, ended) = tokio::sync::oneshot::channel::<()>();
        let mut sender = Some(sender);
        let mut kept = Box::pin(keep("test", move || {
            let held = sender.take();
            async move {
                let _held = held;
                std::future::pending().await
            }
        }));
        assert!(pending(kept.as_mut()).await);
        drop(kept);
        assert!(ended.await.is_err());
    }

    /// Whether it is not over after it was polled once.
    async fn pending(mut future: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
        std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending()))
            .await
    }
}
