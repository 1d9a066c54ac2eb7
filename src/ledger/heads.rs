//! News of what this process appended, for whoever folds or waits here.
//!
//! A nudge, never the truth: another process's appends do not appear here, and nobody relies on it. It saves the
//! wait until the next look at the database.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use docket_aggregates::ids::OrganizationId;
use tokio::sync::Notify;

/// Organizations whose heads moved since somebody last looked.
#[derive(Debug, Default)]
pub struct Heads {
    moved: Mutex<BTreeSet<OrganizationId>>,
    nudge: Notify,
    news: Notify,
}

impl Heads {
    /// Says that heads moved.
    pub fn moved(&self, heads: impl IntoIterator<Item = (OrganizationId, i64)>) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.extend(heads.into_iter().map(|(organization, _)| organization));
        drop(moved);
        self.nudge.notify_one();
        self.news.notify_waiters();
    }

    /// Waits until some head moves after the call. Any number may wait; nothing is taken from anybody.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// Says that somebody waits for an organization to be folded.
    pub fn wanted(&self, organization: OrganizationId) {
        self.moved([(organization, 0)]);
    }

    /// The organizations that moved since the last call.
    pub fn take(&self) -> BTreeSet<OrganizationId> {
        std::mem::take(&mut *self.moved.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until there may be something to take.
    pub async fn nudged(&self) {
        self.nudge.notified().await;
    }
}
