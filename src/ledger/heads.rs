//! News of what this process appended, for whoever folds or waits here.
//!
//! A nudge, never the truth: another process's appends do not appear here, and nobody relies on it. It saves the
//! wait until the next look at the database.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use docket_aggregates::ids::OrganizationId;
use tokio::sync::Notify;

/// Organizations whose heads moved since somebody last looked.
#[derive(Debug, Default)]
pub struct Heads {
    last: Mutex<HashMap<OrganizationId, i64>>,
    folded: News,
    followers: Mutex<Vec<Weak<News>>>,
}

/// What one reader has not looked at yet.
#[derive(Debug, Default)]
pub struct News {
    moved: Mutex<BTreeSet<OrganizationId>>,
    nudge: Notify,
}

impl News {
    fn tell(&self, heads: impl IntoIterator<Item = OrganizationId>) {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner).extend(heads);
        self.nudge.notify_one();
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

impl Heads {
    /// Says that heads moved.
    pub fn moved(&self, heads: impl IntoIterator<Item = (OrganizationId, i64)>) {
        let heads: Vec<(OrganizationId, i64)> = heads.into_iter().collect();
        self.last.lock().unwrap_or_else(PoisonError::into_inner).extend(heads.iter().copied());
        let heads: Vec<OrganizationId> = heads.into_iter().map(|(organization, _)| organization).collect();
        let followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        followers.iter().filter_map(Weak::upgrade).for_each(|follower| follower.tell(heads.iter().copied()));
        drop(followers);
        self.folded.tell(heads);
    }

    /// Where this process's last append to an organization ended; 0 if it made none.
    pub fn last(&self, organization: OrganizationId) -> i64 {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.get(&organization).copied().unwrap_or(0)
    }

    /// Says that somebody waits for an organization to be folded.
    pub fn wanted(&self, organization: OrganizationId) {
        self.folded.tell([organization]);
    }

    /// The same news for one more reader, until it is dropped.
    pub fn follow(&self) -> Arc<News> {
        let news = Arc::new(News::default());
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        followers.retain(|follower| follower.strong_count() > 0);
        followers.push(Arc::downgrade(&news));
        news
    }

    /// The organizations that moved since the last call, for whoever folds.
    pub fn take(&self) -> BTreeSet<OrganizationId> {
        self.folded.take()
    }

    /// Waits until there may be something to take.
    pub async fn nudged(&self) {
        self.folded.nudged().await;
    }
}
