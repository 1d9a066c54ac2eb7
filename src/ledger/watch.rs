//! News of single streams, for whoever waits to see what becomes of one.
//!
//! A nudge, like that of the heads, and just as little the truth: appends of other processes are not told here. Whoever
//! waits looks again now and then, and by a deadline stops.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use docket_aggregates::ids::OrganizationId;
use tokio::sync::watch;
use uuid::Uuid;

use super::Ledger;
use super::command::Write;

type Key = (OrganizationId, Uuid);

/// The streams that somebody watches: as many as there are watchers, at most.
#[derive(Debug, Default)]
pub(super) struct Watches(Mutex<HashMap<Key, watch::Sender<()>>>);

impl Watches {
    fn streams(&self) -> MutexGuard<'_, HashMap<Key, watch::Sender<()>>> {
        // Every change of it is one call; a holder that panicked left nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that these streams were written to.
    pub fn written(&self, organization: OrganizationId, writes: &[Write]) {
        let streams = self.streams();
        if streams.is_empty() {
            return;
        }
        for write in writes {
            if let Some(watchers) = streams.get(&(organization, write.stream.id)) {
                watchers.send_replace(());
            }
        }
    }
}

/// A stream that is watched, from the moment that this is made until it is dropped.
#[derive(Debug)]
pub struct Watch {
    watches: Arc<Watches>,
    key: Key,
    news: watch::Receiver<()>,
}

impl Watch {
    /// Waits until this process appends to the stream; at once if it did since the last call. For ever, if only others
    /// do: give it a time limit.
    pub async fn written(&mut self) {
        if self.news.changed().await.is_err() {
            // Cannot be: the sender stays while there is a watcher. Nobody is to spin on it.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut streams = self.watches.streams();
        let last = streams.get(&self.key).is_some_and(|watchers| watchers.receiver_count() <= 1);
        if last {
            streams.remove(&self.key);
        }
    }
}

impl Ledger {
    /// Watches a stream.
    pub fn watch(&self, organization: OrganizationId, stream: impl Into<Uuid>) -> Watch {
        let key = (organization, stream.into());
        let watches = self.inner.watches.clone();
        let news = watches.streams().entry(key).or_default().subscribe();
        Watch { watches, key, news }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::command::Stream;

    fn watched(watches: &Arc<Watches>, key: Key) -> Watch {
        let news = watches.streams().entry(key).or_default().subscribe();
        Watch { watches: watches.clone(), key, news }
    }

    #[tokio::test]
    async fn each_watcher_is_told_and_none_is_left_behind() {
        let watches = Arc::new(Watches::default());
        let key = (OrganizationId(Uuid::from_u128(1)), Uuid::from_u128(2));
        let (mut one, mut other) = (watched(&watches, key), watched(&watches, key));
        let stream = Stream { aggregate_type: "Message", id: key.1 };
        watches.written(key.0, &[Write { stream, expected: 0, events: vec![] }]);
        one.written().await;
        drop(one);
        other.written().await;
        assert_eq!(watches.streams().len(), 1);
        drop(other);
        assert!(watches.streams().is_empty());
    }
}
