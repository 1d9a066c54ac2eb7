//! Who may work on an import now.
//!
//! An import takes a processor for minutes. At most two are worked on in a process and one of any organization, so
//! that everybody else's requests keep their share; a few more may wait, and beyond that a caller is told to come
//! again. At shutdown an import stops after the chunk that it is at, and goes on at the next start.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use docket_aggregates::ids::{ImportId, OrganizationId};
use tokio::sync::{Notify, watch};

use super::committing::Outcome;

/// Imports that are worked on at once.
const RUNNING_MAX: usize = 2;
/// Imports that wait for their turn.
const WAITING_MAX: usize = 16;
/// Uploads that are received at once, and those of one organization. Each takes half a megabyte of memory and a file on
/// disk; the last quarter is for organizations that have none under way, so that a few busy ones leave room for the others.
const UPLOADS_MAX: usize = 16;
const UPLOADS_SHARE: usize = 3;
const UPLOADS_OF_NEWCOMERS: usize = UPLOADS_MAX / 4;

/// The imports that this process works on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Imports {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    changed: Notify,
    stopping: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    running: HashSet<OrganizationId>,
    waiting: usize,
    uploads: Vec<OrganizationId>,
    commits: HashMap<(OrganizationId, ImportId), watch::Receiver<Option<Outcome>>>,
}

/// As many imports wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// Why an upload is not received now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// The organization has as many under way as one may have.
    ShareTaken,
    /// There are as many under way as may be.
    AllTaken,
}

impl Default for Imports {
    fn default() -> Self {
        Self {
            inner: Arc::new(Inner {
                state: Mutex::default(),
                changed: Notify::new(),
                stopping: watch::Sender::new(false),
            }),
        }
    }
}

impl Imports {
    /// Imports that are worked on, and imports that wait.
    pub fn load(&self) -> (usize, usize) {
        let state = self.lock();
        (state.running.len(), state.waiting)
    }

    /// Lets no import begin another chunk.
    pub fn stop(&self) {
        self.inner.stopping.send_replace(true);
        self.inner.changed.notify_waiters();
    }

    /// Waits until every import has stopped, within the given time.
    pub async fn stopped(&self, within: Duration) {
        let all = async {
            loop {
                let changed = self.inner.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.lock().running.is_empty() {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(within, all).await.is_err() {
            tracing::warn!(
                "an import did not reach the end of its chunk in time; it goes on at the next start"
            );
        }
    }

    /// Whether imports are to stop.
    pub fn stopping(&self) -> bool {
        *self.inner.stopping.borrow()
    }

    /// Rests for so long, or until imports are to stop.
    pub(crate) async fn rest(&self, time: Duration) {
        let mut stopping = self.inner.stopping.subscribe();
        let _ = tokio::time::timeout(time, stopping.wait_for(|stopping| *stopping)).await;
    }

    /// The permission to receive one upload; dropping it gives it back.
    pub(crate) fn upload(&self, organization: OrganizationId) -> Result<Receiving, NoPlace> {
        let mut state = self.lock();
        let own = state.uploads.iter().filter(|other| **other == organization).count();
        let places = if own == 0 { UPLOADS_MAX } else { UPLOADS_MAX - UPLOADS_OF_NEWCOMERS };
        if own >= UPLOADS_SHARE {
            return Err(NoPlace::ShareTaken);
        }
        if state.uploads.len() >= places {
            return Err(NoPlace::AllTaken);
        }
        state.uploads.push(organization);
        Ok(Receiving { imports: self.clone(), organization })
    }

    /// Waits for a turn; dropping it ends the turn.
    pub(crate) async fn turn(&self, organization: OrganizationId) -> Result<Turn, TooMany> {
        let _place = {
            let mut state = self.lock();
            if state.waiting >= WAITING_MAX {
                return Err(TooMany);
            }
            state.waiting += 1;
            Place(self.clone())
        };
        loop {
            let changed = self.inner.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.lock();
                if state.running.len() < RUNNING_MAX && state.running.insert(organization) {
                    return Ok(Turn { imports: self.clone(), organization });
                }
            }
            changed.await;
        }
    }

    /// The commit of this import that is under way in this process, or a new one made by `start`.
    pub(crate) fn commit(
        &self,
        key: (OrganizationId, ImportId),
        start: impl FnOnce(watch::Sender<Option<Outcome>>),
    ) -> watch::Receiver<Option<Outcome>> {
        let mut state = self.lock();
        if let Some(running) = state.commits.get(&key)
            && running.has_changed().is_ok()
        {
            return running.clone();
        }
        let (sender, receiver) = watch::channel(None);
        state.commits.retain(|_, commit| commit.has_changed().is_ok());
        state.commits.insert(key, receiver.clone());
        drop(state);
        start(sender);
        receiver
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before the lock is let go.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those that wait.
struct Place(Imports);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

/// The permission to receive one upload.
#[derive(Debug)]
pub(crate) struct Receiving {
    imports: Imports,
    organization: OrganizationId,
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let uploads = &mut self.imports.lock().uploads;
        if let Some(place) = uploads.iter().position(|other| *other == self.organization) {
            uploads.swap_remove(place);
        }
    }
}

/// The permission to work on one import of an organization.
#[derive(Debug)]
pub(crate) struct Turn {
    imports: Imports,
    organization: OrganizationId,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.imports.lock().running.remove(&self.organization);
        self.imports.inner.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use uuid::Uuid;

    fn organization(n: u128) -> OrganizationId {
        OrganizationId(Uuid::from_u128(n))
    }

    #[tokio::test]
    async fn an_organization_has_one_turn_and_a_process_two() {
        let imports = Imports::default();
        let first = imports.turn(organization(1)).await.unwrap();
        assert!(imports.turn(organization(1)).now_or_never().is_none(), "one of an organization");
        let second = imports.turn(organization(2)).await.unwrap();
        assert!(imports.turn(organization(3)).now_or_never().is_none(), "two of a process");
        drop(first);
        let third = imports.turn(organization(3)).await.unwrap();
        assert_eq!(imports.load(), (2, 0));
        drop((second, third));
        assert_eq!(imports.load(), (0, 0));
    }

    #[tokio::test]
    async fn only_so_many_may_wait() {
        let imports = Imports::default();
        let _turn = imports.turn(organization(1)).await.unwrap();
        let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(imports.turn(organization(1)))).collect();
        for turn in &mut waiting {
            assert!(futures::poll!(turn).is_pending());
        }
        assert_eq!(imports.turn(organization(1)).await.err(), Some(TooMany));
        drop(waiting);
        assert_eq!(imports.load(), (1, 0), "whoever goes away makes room");
    }

    #[test]
    fn an_organization_does_not_take_all_uploads() {
        let imports = Imports::default();
        let upload = |n: u128| imports.upload(organization(n));
        let mine: Vec<_> = (0..UPLOADS_SHARE).map(|_| upload(1).unwrap()).collect();
        assert_eq!(upload(1).err(), Some(NoPlace::ShareTaken));
        // Others that upload as much as they may leave places for whoever has nothing under way.
        let busy: Vec<_> = (0..9).map(|n| upload(10 + n / 3).unwrap()).collect();
        let second = upload(20).unwrap();
        assert_eq!(upload(20).err(), Some(NoPlace::AllTaken), "a second one must wait");
        let newcomers: Vec<_> = (1..UPLOADS_OF_NEWCOMERS).map(|n| upload(100 + n as u128).unwrap()).collect();
        assert_eq!(upload(200).err(), Some(NoPlace::AllTaken));
        drop(mine);
        assert!(upload(1).is_ok() && upload(200).is_ok());
        drop((busy, second, newcomers));
    }

    #[tokio::test]
    async fn a_commit_under_way_is_joined_and_an_ended_one_is_not() {
        let imports = Imports::default();
        let key = (organization(1), ImportId(Uuid::from_u128(2)));
        let mut senders = vec![];
        imports.commit(key, |sender| senders.push(sender));
        imports.commit(key, |sender| senders.push(sender));
        assert_eq!(senders.len(), 1);
        senders.clear();
        imports.commit(key, |sender| senders.push(sender));
        assert_eq!(senders.len(), 1);
    }
}
