//! Making contacts of a folder's rows.
//!
//! One staged chunk is one command: the contacts' own events and, on the folder's stream, what became of each row.
//! The versions of all these streams are expected as they were when it was decided, so that a chunk is either done
//! whole or not at all, and never twice: whoever resumes finds the number of the next chunk in the folder.
//!
//! An opt-out is never lost: a row that carries one opts out the contact that it matches, also where duplicates are
//! skipped, and a contact that is made with a suppressed address, or gets one, is one that is not contacted: for ever if
//! the address's owner said so, for as long as the list stands against it otherwise.

mod chunks;
mod plan;
mod source;

use std::sync::Arc;
use std::time::{Duration, Instant};

use docket_aggregates::claims::Scope;
use docket_aggregates::ids::{ImportId, OrganizationId};
use docket_aggregates::import::{Import, ImportCommand, ImportError, ImportStage, OnDuplicate};
use serde::Serialize;
use sqlx::Row;
use tokio::sync::watch;

use super::{Error, ImportRefusal, Progress, apart};
use crate::app::App;
use crate::ledger::AppendError;
use crate::ledger::keys::KeyError;
use crate::ledger::read::ReadError;
use crate::readside::{Consistency, ReadSideError, View};
use crate::service::Call;
use chunks::Commit;

/// How long the read models may take to show everything that was there before the commit began.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(120);
/// How long a commit rests when the database does not answer or there is no place for it; twice as long each time, up to
/// [`LOOK_AGAIN`].
const REST: Duration = Duration::from_millis(500);
/// How often unfinished commits are looked for again when the database did not answer.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// What became of a folder's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Committed {
    /// New contacts.
    pub created: u64,
    /// Changed contacts.
    pub updated: u64,
    /// Rows that changed nothing.
    pub skipped: u64,
}

/// How a commit that this process worked on ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Every row was dealt with.
    Done(Committed),
    /// The process is shutting down: it goes on later.
    Paused,
    /// It cannot go on; what is wrong was logged.
    Failed,
}

/// A commit that was ordered.
#[derive(Debug)]
pub struct Ordered {
    /// Rows in the folder, valid or not.
    pub rows: u64,
    /// What was recorded by this order; none if it had been ordered before.
    pub appended: Option<crate::ledger::Appended>,
    /// How it ends, once it has.
    pub outcome: watch::Receiver<Option<Outcome>>,
}

impl Ordered {
    /// Waits for the end, within the given time.
    pub async fn ended(&mut self, within: Duration) -> Option<Outcome> {
        let ended = tokio::time::timeout(within, self.outcome.wait_for(Option::is_some)).await;
        match ended {
            Ok(Ok(outcome)) => outcome.clone(),
            // Whoever worked on it went away without a word: it goes on at the next start.
            Ok(Err(_)) => Some(Outcome::Paused),
            Err(_) => None,
        }
    }
}

/// Orders a commit, or joins the one that was ordered before, and sees to it that somebody works on it.
pub async fn commit(
    app: &App,
    call: &Call,
    import_id: ImportId,
    on_duplicate: OnDuplicate,
    watch: impl Fn(Progress) + Send + Sync + 'static,
) -> Result<Ordered, Error> {
    let organization = call.organization;
    let start = ImportCommand::StartCommit { commit_id: call.command_id, on_duplicate };
    let ordered = app
        .ledger
        .order::<Import>(organization, import_id, call.command_id, call.at, &call.origin, None, start)
        .await;
    let (state, appended) = match ordered.map_err(Error::from) {
        Ok(decided) => (decided.state, decided.appended),
        Err(
            Error::Refused(ImportRefusal::Folder(ImportError::AlreadyCommitted))
            | Error::Append(AppendError::Taken(Scope::ImportCommit)),
        ) => {
            let folder = app.ledger.load::<Import>(organization, import_id).await?;
            if folder.state.on_duplicate() != on_duplicate {
                return Err(ImportRefusal::OtherCommit(import_id).into());
            }
            (folder.state, None)
        }
        Err(error) => return Err(error),
    };
    let rows = state.rows().0;
    if state.stage() == ImportStage::Committed {
        let (created, updated, skipped) = state.outcomes();
        let outcome = Outcome::Done(Committed { created, updated, skipped });
        return Ok(Ordered { rows, appended, outcome: watch::channel(Some(outcome)).1 });
    }
    let outcome = work(app, organization, import_id, watch);
    Ok(Ordered { rows, appended, outcome })
}

/// Goes on with every commit that was ordered and not finished. To be called once, when the process starts.
pub async fn resume(app: App) {
    loop {
        let unfinished = unfinished(&app).await;
        match unfinished {
            Ok(unfinished) => {
                for (organization, import_id) in unfinished {
                    tracing::info!(import.id = %import_id, "an unfinished commit goes on");
                    work(&app, organization, import_id, |_| ());
                }
                return;
            }
            Err(error) => {
                tracing::warn!(error = %error, "unfinished commits cannot be looked for");
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }
}

/// The claims say which commits were ordered; only the events say which of them are finished.
async fn unfinished(app: &App) -> Result<Vec<(OrganizationId, ImportId)>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT s.organization_id, s.aggregate_id::uuid FROM ledger.claims c \
         JOIN ledger.events s ON s.organization_id = c.organization_id AND s.command_id = c.owner \
             AND s.event_type = 'CommitStarted' \
         WHERE c.scope = $1 AND NOT EXISTS (SELECT 1 FROM ledger.events e \
             WHERE e.organization_id = s.organization_id AND e.aggregate_type = s.aggregate_type \
                 AND e.aggregate_id = s.aggregate_id AND e.event_type = 'ImportCommitted')",
    )
    .bind(Scope::ImportCommit.name())
    .fetch_all(app.ledger.pool())
    .await?;
    rows.iter().map(|row| Ok((OrganizationId(row.try_get(0)?), ImportId(row.try_get(1)?)))).collect()
}

/// Works on a commit in the background, unless this process does so already.
fn work(
    app: &App,
    organization: OrganizationId,
    import_id: ImportId,
    watch: impl Fn(Progress) + Send + Sync + 'static,
) -> watch::Receiver<Option<Outcome>> {
    let task = app.clone();
    let watch = Arc::new(watch);
    app.imports.commit((organization, import_id), move |ended| {
        tokio::spawn(async move {
            let mut rest = REST;
            let outcome = loop {
                let watch = watch.clone();
                let error = match committed(&task, organization, import_id, move |at| watch(at)).await {
                    Ok(committed) => break Outcome::Done(committed),
                    Err(error) => error,
                };
                let passes = passes(&error);
                tracing::warn!(import.id = %import_id, error = %error, passes, "a commit did not end");
                if task.imports.stopping() {
                    break Outcome::Paused;
                }
                if !passes {
                    break Outcome::Failed;
                }
                task.imports.rest(rest).await;
                rest = (rest * 2).min(LOOK_AGAIN);
            };
            ended.send_replace(Some(outcome));
        });
    })
}

/// Whether a commit that ended so may go on after a while: nothing is wrong with it or with what it was given.
const fn passes(error: &Error) -> bool {
    match error {
        Error::Refused(refusal) => matches!(refusal, ImportRefusal::Stopping | ImportRefusal::TooMany),
        Error::Append(error) => matches!(
            error,
            AppendError::Unavailable
                | AppendError::OutcomeUnknown(_)
                | AppendError::Conflict
                | AppendError::OrganizationBusy { .. }
                | AppendError::Overloaded { .. }
        ),
        Error::Read(error) => {
            matches!(error, ReadError::Database(_) | ReadError::Key(KeyError::Database(_)))
        }
        Error::ReadSide(error) => matches!(
            error,
            ReadSideError::Behind { .. } | ReadSideError::Unavailable | ReadSideError::Parked { .. }
        ),
        Error::Database(_) => true,
    }
}

async fn committed(
    app: &App,
    organization: OrganizationId,
    import_id: ImportId,
    watch: impl Fn(Progress) + Send + Sync + 'static,
) -> Result<Committed, Error> {
    // A turn is one of few, and is not held while there is nothing to do but wait.
    drop(caught_up(app, organization).await?);
    let turn = app.imports.turn(organization).await.map_err(ImportRefusal::from)?;
    let app = app.clone();
    apart(async move { Commit::begin(&app, organization, import_id, turn).await?.run(&watch).await }).await
}

/// A view that shows everything that was there when it was asked for. The read models may have much to catch up with, a large
/// staging for instance.
async fn caught_up(app: &App, organization: OrganizationId) -> Result<View, Error> {
    let begun = Instant::now();
    loop {
        match app.readside.view(organization, Consistency::STRONG).await {
            Err(ReadSideError::Behind { .. }) if begun.elapsed() < CAUGHT_UP_WITHIN => (),
            view => return Ok(view?),
        }
    }
}

/// Counts what a commit would do, and changes nothing.
pub async fn dry_run(
    app: &App,
    organization: OrganizationId,
    import_id: ImportId,
    on_duplicate: OnDuplicate,
) -> Result<Committed, Error> {
    let turn = app.imports.turn(organization).await.map_err(ImportRefusal::from)?;
    let app = app.clone();
    apart(async move {
        let mut commit = Commit::begin(&app, organization, import_id, turn).await?;
        match commit.folder.state.stage() {
            ImportStage::Unknown => return Err(ImportRefusal::Folder(ImportError::Unknown).into()),
            ImportStage::Staging => return Err(ImportRefusal::Folder(ImportError::NotStaged).into()),
            ImportStage::Staged => (),
            ImportStage::Committing | ImportStage::Committed => {
                return Err(ImportRefusal::Folder(ImportError::AlreadyCommitted).into());
            }
        }
        commit.on_duplicate = on_duplicate;
        commit.rehearse().await
    })
    .await
}
