//! The runner: folds what was appended, organization by organization.
//!
//! It takes no input but what the ledger's own chain proves (`ledger/fresh`). A nudge or the passing of time makes it
//! look; what it then reads is the truth: an organization is *dirty* when its head is past its cursor. The cursor's row is
//! locked while a batch is folded and is moved in the same transaction, so each event counts exactly once however many
//! processes share the work, and a crash costs nothing.
//!
//! An event of a type that this binary does not know is left to a newer process. A known event that fails three
//! times alone parks its organization and no other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use docket_aggregates::DecodeError;
use docket_aggregates::ids::OrganizationId;
use docket_projections::{FoldError, Recorded};
use sqlx::{PgConnection, Row};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::statistics::Statistics;
use super::{LIVE, ReadSide};
use crate::ledger::read::{self, Portion, ReadError};

/// How often the runner looks by itself, for what other processes appended.
const LOOK: Duration = Duration::from_millis(500);
/// How long an organization's fold rests after the database refused it.
const PAUSE: Duration = Duration::from_millis(250);
/// Organizations that are folded at once by one process.
const AT_ONCE: usize = 2;
/// How much is folded in one transaction: about 50 000 ids of contacts.
const PORTION: Portion = Portion { events: 2_000, bytes: 2 << 20 };
/// A single event, to tell which one fails.
pub(super) const ALONE: Portion = Portion { events: 1, bytes: 1 };
/// Failures of one event, alone, after which its organization is parked.
pub(super) const FAILURES_MAX: i32 = 3;

/// What folding a portion came to.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Everything is folded.
    Done,
    /// There may be more.
    More,
    /// Another process is at it, or the next event is for a newer one.
    LeftToOthers,
}

/// Why a portion could not be folded.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Fold(#[from] FoldError),
    #[error("the database does not answer")]
    Database(#[from] sqlx::Error),
}

impl StepError {
    /// Whether the event itself is at fault, and not the way to the database.
    pub(super) fn is_the_events_fault(&self) -> bool {
        let by_data = |error: &sqlx::Error| {
            let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
            // Data exceptions and integrity violations (SQLSTATE classes 22 and 23).
            code.is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
        };
        match self {
            Self::Read(ReadError::Decode { .. } | ReadError::Damaged(_) | ReadError::Key(_)) => {
                !matches!(self, Self::Read(ReadError::Key(crate::ledger::KeyError::Database(_))))
            }
            Self::Read(ReadError::Database(error))
            | Self::Database(error)
            | Self::Fold(FoldError::Database(error)) => by_data(error),
            Self::Read(ReadError::Gap { .. }) => false,
            Self::Fold(_) => true,
        }
    }

    /// A short reason without personal values.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Read(error) => error.to_string(),
            Self::Fold(FoldError::Database(error)) | Self::Database(error) => {
                match error.as_database_error().and_then(sqlx::error::DatabaseError::code) {
                    Some(code) => format!("the database refuses it ({code})"),
                    None if matches!(error, sqlx::Error::PoolTimedOut) => {
                        "no connection was free in time".into()
                    }
                    None => "the database is out of reach".into(),
                }
            }
            Self::Fold(error) => error.to_string(),
        }
    }
}

/// Folds for ever.
pub(super) async fn run(readside: &ReadSide) {
    let heads = readside.ledger.heads().clone();
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut folding = JoinSet::new();
    let mut under_way: BTreeSet<OrganizationId> = BTreeSet::new();
    let mut again: BTreeSet<OrganizationId> = BTreeSet::new();
    let mut statistics = Statistics::default();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = heads.nudged() => (),
            _ = look.tick() => {
                match dirty(readside).await {
                    Ok(organizations) => again.extend(organizations),
                    Err(error) => tracing::warn!(error = %StepError::from(error).reason(), "the cursors cannot be read"),
                }
                statistics.refresh(&readside.pool);
            }
            Some(finished) = folding.join_next(), if !folding.is_empty() => {
                if let Ok(organization) = finished {
                    under_way.remove(&organization);
                }
            }
        }
        again.extend(heads.take());
        let ready: Vec<_> =
            again.iter().copied().filter(|organization| !under_way.contains(organization)).collect();
        for organization in ready {
            again.remove(&organization);
            under_way.insert(organization);
            let (readside, slots) = (readside.clone(), slots.clone());
            folding.spawn(async move {
                // In a task of its own, so that a panic in a fold is that fold's end and not the organization's.
                let _ = tokio::spawn(async move { catch_up(&readside, organization, &slots).await }).await;
                organization
            });
        }
    }
}

/// Organizations whose head is past their cursor and that are not parked.
async fn dirty(readside: &ReadSide) -> Result<Vec<OrganizationId>, sqlx::Error> {
    let rows = sqlx::query(&format!(
        "SELECT h.organization_id, h.position - coalesce(c.position, 0), c.parked_position IS NOT NULL \
         FROM ledger.heads h LEFT JOIN {LIVE}.cursors c USING (organization_id) \
         WHERE h.position > coalesce(c.position, 0)"
    ))
    .fetch_all(&readside.pool)
    .await?;
    let (mut dirty, mut lag, mut parked) = (Vec::new(), 0_i64, 0_u32);
    for row in rows {
        if row.try_get(2)? {
            parked += 1;
        } else {
            dirty.push(OrganizationId(row.try_get::<Uuid, _>(0)?));
            lag = lag.max(row.try_get(1)?);
        }
    }
    metrics::gauge!("docket_read_lag_events").set(lag as f64);
    metrics::gauge!("docket_parked_organizations").set(f64::from(parked));
    Ok(dirty)
}

/// Folds portion by portion, each in a slot of its own: a long backlog lets the others through in between.
pub(super) async fn catch_up(readside: &ReadSide, organization: OrganizationId, slots: &Semaphore) {
    let mut portion = PORTION;
    loop {
        let Ok(slot) = slots.acquire().await else { return };
        let stepped = step(readside, organization, portion).await;
        drop(slot);
        match stepped {
            Ok(Step::Done | Step::LeftToOthers) => return,
            Ok(Step::More) => portion = PORTION,
            // The process ends.
            Err(_) if readside.pool.is_closed() => return,
            Err(error) if !error.is_the_events_fault() => {
                tracing::warn!(organization.id = %organization, error = %error.reason(), "folding was interrupted");
                // Whoever nudges would have it tried again at once, and told again, for as long as it lasts.
                tokio::time::sleep(PAUSE).await;
                return;
            }
            // Somewhere in the portion stands an event that cannot be folded: fold one by one up to it.
            Err(_) if portion.events > 1 => portion = ALONE,
            Err(error) => {
                if note_failure(readside, organization, &error).await.unwrap_or(true) {
                    return;
                }
            }
        }
    }
}

/// Folds one portion and moves the cursor.
async fn step(
    readside: &ReadSide,
    organization: OrganizationId,
    portion: Portion,
) -> Result<Step, StepError> {
    // A crash that loses what was committed last loses the rows and the cursor alike, and they are folded again: nobody
    // need wait for the disk. A fold asks by key; see the ledger's own pool.
    let mut transaction = readside
        .pool
        .begin_with(format!(
            "BEGIN; SET LOCAL search_path TO {LIVE}; SET LOCAL synchronous_commit TO off; \
             SET LOCAL enable_seqscan TO off"
        ))
        .await?;
    let fresh = readside.ledger.fresh();
    let last = fresh.last(organization).unwrap_or(0);
    let Some(cursor) = lock_cursor(&mut transaction, organization, last).await? else {
        return Ok(Step::LeftToOthers);
    };
    if cursor.parked || cursor.position >= cursor.head {
        return Ok(Step::Done);
    }
    let started = std::time::Instant::now();
    let proof = cursor.link.as_deref().map(|link| (last, link));
    let fresh = proof.and_then(|proof| fresh.take(organization, cursor.position, proof, portion));
    let (batch, stopped_at_unknown) = match fresh {
        Some(fresh) => (fresh, false),
        None => {
            let from = cursor.position + 1;
            let stored = read::stretch(&mut transaction, organization, from, cursor.head, portion).await?;
            open(readside, organization, stored).await?
        }
    };
    let Some(last) = batch.last() else { return Ok(Step::LeftToOthers) };
    let (position, count) = (last.position, batch.len());
    docket_projections::fold(&mut transaction, organization, &batch).await?;
    let head = move_cursor(&mut transaction, organization, position).await?;
    transaction.commit().await?;
    readside.progress.reached(organization, position);
    metrics::histogram!("docket_fold_seconds").record(started.elapsed().as_secs_f64());
    metrics::counter!("docket_fold_events_total").increment(count as u64);
    Ok(match position {
        _ if stopped_at_unknown => Step::LeftToOthers,
        // What is appended from now on is told of, or found by the next look.
        position if position >= head => Step::Done,
        _ => Step::More,
    })
}

/// Opens and decodes; stops before an event that this binary does not know.
pub(super) async fn open(
    readside: &ReadSide,
    organization: OrganizationId,
    mut stored: Vec<read::Stored>,
) -> Result<(Vec<Recorded>, bool), StepError> {
    const INLINE: usize = 100;
    read::open_held(readside.ledger.keys(), organization, &mut stored).await?;
    let small = stored.len() <= INLINE;
    let decode = move || {
        let mut batch = Vec::with_capacity(stored.len());
        for event in stored {
            match read::recorded(organization, event) {
                Ok(recorded) => batch.push(recorded),
                Err(ReadError::Decode { source: DecodeError::Unknown { .. }, .. }) => {
                    return Ok((batch, true));
                }
                Err(error) => return Err(error),
            }
        }
        Ok((batch, false))
    };
    if small {
        return Ok(decode()?);
    }
    // Decoding is plain work; thousands of events must not hold up the tasks of this thread.
    match tokio::task::spawn_blocking(decode).await {
        Ok(decoded) => Ok(decoded?),
        Err(_) => Err(StepError::Database(sqlx::Error::WorkerCrashed)),
    }
}

struct Cursor {
    position: i64,
    parked: bool,
    /// Where the ledger ends.
    head: i64,
    /// The link at the position that was asked for; none where there is no event.
    link: Option<Vec<u8>>,
}

async fn lock_cursor(
    connection: &mut PgConnection,
    organization: OrganizationId,
    asked: i64,
) -> Result<Option<Cursor>, sqlx::Error> {
    // Nobody waits for this lock, so that the head is not older than it. The range and its order leave no other index.
    const LOCK: &str = "SELECT position, parked_position IS NOT NULL, \
                            coalesce((SELECT position FROM ledger.heads WHERE organization_id = $1), 0), \
                            (SELECT chain FROM ledger.events WHERE organization_id = $1 \
                                 AND position BETWEEN $2 AND $2 ORDER BY position LIMIT 1) \
                        FROM cursors WHERE organization_id = $1 FOR UPDATE SKIP LOCKED";
    let mut row =
        sqlx::query(LOCK).bind(organization.uuid()).bind(asked).fetch_optional(&mut *connection).await?;
    if row.is_none() {
        let made = sqlx::query(
            "INSERT INTO cursors (organization_id, position) VALUES ($1, 0) ON CONFLICT DO NOTHING",
        )
        .bind(organization.uuid())
        .execute(&mut *connection)
        .await?;
        if made.rows_affected() == 0 {
            return Ok(None);
        }
        row =
            sqlx::query(LOCK).bind(organization.uuid()).bind(asked).fetch_optional(&mut *connection).await?;
    }
    let cursor = |row: sqlx::postgres::PgRow| {
        Ok(Cursor {
            position: row.try_get(0)?,
            parked: row.try_get(1)?,
            head: row.try_get(2)?,
            link: row.try_get(3)?,
        })
    };
    row.map(cursor).transpose()
}

/// Moves the cursor and says where the ledger ends by now.
pub(super) async fn move_cursor(
    connection: &mut PgConnection,
    organization: OrganizationId,
    position: i64,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "INSERT INTO cursors (organization_id, position) VALUES ($1, $2) \
         ON CONFLICT (organization_id) DO UPDATE SET position = excluded.position, failures = 0, \
             parked_position = NULL, parked_reason = NULL \
         RETURNING coalesce((SELECT position FROM ledger.heads WHERE organization_id = $1), 0)",
    )
    .bind(organization.uuid())
    .bind(position)
    .fetch_one(connection)
    .await
}

/// Counts a failure of the next event; true once the organization is parked.
async fn note_failure(
    readside: &ReadSide,
    organization: OrganizationId,
    error: &StepError,
) -> Result<bool, sqlx::Error> {
    let row = sqlx::query(&format!(
        "UPDATE {LIVE}.cursors SET failures = failures + 1, \
             parked_position = CASE WHEN failures + 1 >= $2 THEN position + 1 END, \
             parked_reason = CASE WHEN failures + 1 >= $2 THEN $3 END \
         WHERE organization_id = $1 RETURNING position + 1, parked_position IS NOT NULL"
    ))
    .bind(organization.uuid())
    .bind(FAILURES_MAX)
    .bind(error.reason())
    .fetch_one(&readside.pool)
    .await?;
    let (position, parked): (i64, bool) = (row.try_get(0)?, row.try_get(1)?);
    if parked {
        tracing::error!(organization.id = %organization, position, reason = %error.reason(), "organization {organization} is parked");
    }
    Ok(parked)
}
