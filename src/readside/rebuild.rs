//! Making the read models anew, beside the live ones.
//!
//! Everything is folded into a second schema while the live one goes on answering. What came of it is compared with
//! the live rows at one position of the ledger, and only then are the two schemas' names exchanged, under a lock on
//! both cursor tables.
//!
//! An event that cannot be folded parks its organization in the new schema, as it does in the live one, and nobody
//! else; one of a type that only a newer binary knows leaves its organization to that one. Neither is compared.

use std::time::{Duration, Instant as Stopwatch};

use docket_aggregates::ids::OrganizationId;
use docket_projections::Recorded;
use serde::Serialize;
use sqlx::{Connection, Executor, PgConnection, Row};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::runner::{self, StepError};
use super::{LIVE, ReadSide, make_schema};
use crate::ledger::read::{self, Portion};

const NEXT: &str = "read_next";
const OLD: &str = "read_old";
/// How much is folded in one transaction: larger than live, for nobody waits for one organization here.
const PORTION: Portion = Portion { events: 10_000, bytes: 8 << 20 };
/// Portions read ahead of the fold.
const AHEAD: usize = 2;
/// How often the switch is tried while others hold cursors.
const SWITCH_TRIES: usize = 20;

/// Why a rebuild did not come to its end. The live read models are as they were.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The database does not answer, or refuses.
    #[error("the rebuild was interrupted")]
    Database(#[from] sqlx::Error),
    /// An organization's events were not reached, or the live rows to compare with.
    #[error("{organization} cannot be folded: {reason}")]
    Fold {
        /// Whose.
        organization: OrganizationId,
        /// What is wrong, without personal values.
        reason: String,
    },
    /// Another rebuild is under way, or one was cut off.
    #[error("another rebuild is under way or was cut off; `docket rebuild --restart` begins anew")]
    UnderWay,
    /// The rows are not the same; nothing was switched.
    #[error("{} tables differ from the live ones; nothing was switched", .0.len())]
    Differs(Vec<TableDifference>),
    /// Others held the cursors all the time.
    #[error("the switch did not get its lock")]
    SwitchTimedOut,
}

/// A table whose rows are not those of the live one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableDifference {
    /// Whose rows.
    pub organization_id: OrganizationId,
    /// Which table.
    pub table: &'static str,
    /// Rows in the live table.
    pub live: i64,
    /// Rows in the rebuilt one.
    pub rebuilt: i64,
}

/// An organization that was not folded to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Halted {
    /// Which.
    pub organization_id: OrganizationId,
    /// The event that it stopped before.
    pub position: i64,
    /// Why, without personal values.
    pub reason: String,
    /// Whether it is parked; else it waits for a newer binary.
    pub parked: bool,
}

/// What a rebuild did.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RebuildReport {
    /// Organizations folded, the instance among them.
    pub organizations: usize,
    /// Events folded.
    pub events: u64,
    /// Seconds of folding.
    pub fold_seconds: f64,
    /// Seconds of making the secondary indexes.
    pub index_seconds: f64,
    /// Tables compared with the live ones, over all organizations.
    pub compared: usize,
    /// Organizations that were not folded to their ends.
    pub halted: Vec<Halted>,
    /// Whether the rebuilt tables are the live ones now.
    pub switched: bool,
}

/// How far folding came.
enum Reached {
    /// As far as was asked.
    End,
    /// An event that this binary does not know.
    Unknown,
}

/// How far a rebuild is.
#[derive(Clone, Copy, Debug)]
pub struct RebuildProgress {
    /// Events folded.
    pub done: u64,
    /// Events to fold.
    pub total: u64,
}

impl ReadSide {
    /// Folds everything anew, compares and switches. With `restart`, what a cut-off rebuild left is removed first.
    pub async fn rebuild(
        &self,
        restart: bool,
        mut progress: impl FnMut(RebuildProgress) + Send,
    ) -> Result<RebuildReport, RebuildError> {
        let mut connection = self.pool.acquire().await?.detach();
        // The rebuilt tables are worth nothing until the switch, so their writes need not wait for the disk. A fold asks
        // by key; a plan that was made while the tables were empty would read them whole for ever.
        connection.execute("SET synchronous_commit = off; SET enable_seqscan = off").await?;
        if restart {
            connection.execute(format!("DROP SCHEMA IF EXISTS {NEXT} CASCADE").as_str()).await?;
        }
        make_schema(&mut connection, NEXT, false).await.map_err(|error| match error.as_database_error() {
            Some(database) if database.code().as_deref() == Some("42P06") => RebuildError::UnderWay,
            _ => RebuildError::Database(error),
        })?;

        let heads = heads(&mut connection).await?;
        let total = heads.iter().map(|(_, head)| head.cast_unsigned()).sum();
        let started = Stopwatch::now();
        let mut events = 0;
        let mut halted = Vec::new();
        for (organization, head) in &heads {
            let stopped = self
                .fold_into_next(&mut connection, *organization, *head, |count| {
                    events += count;
                    progress(RebuildProgress { done: events, total });
                })
                .await?;
            if let Some(stopped) = stopped {
                tracing::error!(
                    organization.id = %organization, position = stopped.position, reason = %stopped.reason,
                    "organization {organization} is not folded to its end"
                );
                halted.push(stopped);
            }
        }
        let fold_seconds = started.elapsed().as_secs_f64();

        let started = Stopwatch::now();
        connection.execute(format!("SET search_path TO {NEXT}").as_str()).await?;
        connection.execute(docket_projections::INDEXES).await?;
        let tables: Vec<&str> =
            docket_projections::all().iter().flat_map(|model| model.tables).copied().collect();
        connection.execute(format!("ANALYZE {}", tables.join(", ")).as_str()).await?;
        connection.execute("RESET search_path").await?;
        let index_seconds = started.elapsed().as_secs_f64();

        let (compared, differences) = self.compare(&mut connection).await?;
        if !differences.is_empty() {
            return Err(RebuildError::Differs(differences));
        }
        self.switch(&mut connection).await?;
        Ok(RebuildReport {
            organizations: heads.len(),
            events,
            fold_seconds,
            index_seconds,
            compared,
            halted,
            switched: true,
        })
    }

    /// Folds one organization up to `to`, or up to where it is halted.
    async fn fold_into_next(
        &self,
        connection: &mut PgConnection,
        organization: OrganizationId,
        to: i64,
        mut folded: impl FnMut(u64) + Send,
    ) -> Result<Option<Halted>, RebuildError> {
        if let (_, Some(halted)) = reached(connection, organization).await? {
            return Ok(Some(halted));
        }
        let mut stopped = self.fold_portions(connection, organization, to, PORTION, &mut folded).await;
        if matches!(&stopped, Err(error) if error.is_the_events_fault()) {
            // Somewhere in the portion stands an event that cannot be folded: fold one by one up to it.
            stopped = self.fold_portions(connection, organization, to, runner::ALONE, &mut folded).await;
        }
        let (at, _) = reached(connection, organization).await?;
        let halted =
            |parked, reason| Halted { organization_id: organization, position: at + 1, reason, parked };
        match stopped {
            Ok(Reached::End) => Ok(None),
            Ok(Reached::Unknown) => Ok(Some(halted(false, "the event is of a newer version".to_owned()))),
            Err(error) if error.is_the_events_fault() => {
                let halted = halted(true, error.reason());
                park(connection, &halted).await?;
                Ok(Some(halted))
            }
            Err(error) => Err(RebuildError::Fold { organization, reason: error.to_string() }),
        }
    }

    /// Folds portion by portion, reading ahead while it writes.
    async fn fold_portions(
        &self,
        connection: &mut PgConnection,
        organization: OrganizationId,
        to: i64,
        portion: Portion,
        folded: &mut (impl FnMut(u64) + Send),
    ) -> Result<Reached, StepError> {
        let from = reached(connection, organization).await?.0 + 1;
        let (portions, mut ready) = mpsc::channel::<Result<(Vec<Recorded>, bool), StepError>>(AHEAD);
        let reader = self.clone();
        let reading = tokio::spawn(async move {
            let mut next = from;
            while next <= to {
                let read = reader.portion(organization, next, to, portion).await;
                let last = match &read {
                    Ok((batch, false)) => batch.last().map(|event| event.position),
                    _ => None,
                };
                if portions.send(read).await.is_err() {
                    return;
                }
                let Some(last) = last else { return };
                next = last + 1;
            }
        });
        let reached = self.fold_ready(connection, organization, &mut ready, folded).await;
        reading.abort();
        reached
    }

    async fn fold_ready(
        &self,
        connection: &mut PgConnection,
        organization: OrganizationId,
        ready: &mut mpsc::Receiver<Result<(Vec<Recorded>, bool), StepError>>,
        folded: &mut (impl FnMut(u64) + Send),
    ) -> Result<Reached, StepError> {
        while let Some(portion) = ready.recv().await {
            let (batch, unknown) = portion?;
            if let Some(last) = batch.last() {
                let position = last.position;
                let mut transaction =
                    connection.begin_with(format!("BEGIN; SET LOCAL search_path TO {NEXT}")).await?;
                docket_projections::fold(&mut transaction, organization, &batch).await?;
                runner::move_cursor(&mut transaction, organization, position).await?;
                transaction.commit().await?;
                folded(batch.len() as u64);
            }
            if unknown {
                return Ok(Reached::Unknown);
            }
        }
        Ok(Reached::End)
    }

    /// Some events, and whether one that this binary does not know comes next.
    async fn portion(
        &self,
        organization: OrganizationId,
        from: i64,
        to: i64,
        portion: Portion,
    ) -> Result<(Vec<Recorded>, bool), StepError> {
        let mut connection = self.pool.acquire().await?;
        let stored = read::stretch(&mut connection, organization, from, to, portion).await?;
        drop(connection);
        runner::open(self, organization, stored).await
    }

    /// Compares each organization at the live cursor's position: a snapshot of the live tables is held while the
    /// rebuilt ones are folded up to exactly that position.
    async fn compare(&self, next: &mut PgConnection) -> Result<(usize, Vec<TableDifference>), RebuildError> {
        let stored: Option<Option<String>> = sqlx::query_scalar(
            "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = $1",
        )
        .bind(LIVE)
        .fetch_optional(&mut *next)
        .await?;
        if stored.flatten() != Some(docket_projections::schema_version()) {
            // Made by another version of Docket: its rows are not meant to be the same.
            return Ok((0, vec![]));
        }
        let (mut compared, mut differences) = (0, Vec::new());
        for (organization, _) in heads(next).await? {
            let mut live = self
                .pool
                .begin_with(format!(
                    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path TO {LIVE}"
                ))
                .await?;
            let row = sqlx::query("SELECT position, parked_position FROM cursors WHERE organization_id = $1")
                .bind(organization.uuid())
                .fetch_optional(&mut *live)
                .await?;
            let Some(row) = row else { continue };
            if row.try_get::<Option<i64>, _>(1)?.is_some() {
                continue;
            }
            let position: i64 = row.try_get(0)?;
            let (reached, _) = reached(next, organization).await?;
            if reached > position {
                // The live cursor is behind what the rebuild began with: let it catch up and look again.
                drop(live);
                self.ledger.heads().wanted(organization);
                self.wait_for_live(organization, reached).await?;
                let one = Box::pin(self.compare_one(next, organization)).await?;
                compared += one.0;
                differences.extend(one.1);
                continue;
            }
            if self.fold_into_next(next, organization, position, |_| ()).await?.is_some() {
                continue;
            }
            let one = compare_rows(&mut live, next, organization).await?;
            compared += one.0;
            differences.extend(one.1);
        }
        Ok((compared, differences))
    }

    async fn compare_one(
        &self,
        next: &mut PgConnection,
        organization: OrganizationId,
    ) -> Result<(usize, Vec<TableDifference>), RebuildError> {
        let mut live = self
            .pool
            .begin_with(format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path TO {LIVE}"
            ))
            .await?;
        let position: i64 = sqlx::query_scalar("SELECT position FROM cursors WHERE organization_id = $1")
            .bind(organization.uuid())
            .fetch_one(&mut *live)
            .await?;
        match self.fold_into_next(next, organization, position, |_| ()).await? {
            Some(_) => Ok((0, vec![])),
            None => compare_rows(&mut live, next, organization).await,
        }
    }

    async fn wait_for_live(&self, organization: OrganizationId, position: i64) -> Result<(), RebuildError> {
        let started = Stopwatch::now();
        loop {
            let reached: Option<i64> = sqlx::query_scalar(&format!(
                "SELECT position FROM {LIVE}.cursors WHERE organization_id = $1"
            ))
            .bind(organization.uuid())
            .fetch_optional(&self.pool)
            .await?;
            if reached.unwrap_or(0) >= position {
                return Ok(());
            }
            if started.elapsed() > Duration::from_secs(60) {
                let reason = "the live read models do not catch up; is `docket serve` running?".to_owned();
                return Err(RebuildError::Fold { organization, reason });
            }
            self.catch_up_live(organization).await;
            // Another process may hold the cursor.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A rebuild may run where no server does: then it folds the live tables itself.
    async fn catch_up_live(&self, organization: OrganizationId) {
        runner::catch_up(self, organization, &tokio::sync::Semaphore::new(1)).await;
    }

    async fn switch(&self, next: &mut PgConnection) -> Result<(), RebuildError> {
        for (organization, head) in heads(next).await? {
            self.fold_into_next(next, organization, head, |_| ()).await?;
        }
        // A switch that was cut off right after its renaming left this behind.
        next.execute(format!("DROP SCHEMA IF EXISTS {OLD} CASCADE").as_str()).await?;
        next.execute("SET lock_timeout = '500ms'").await?;
        for _ in 0..SWITCH_TRIES {
            let renamed = next
                .execute(
                    format!(
                        "BEGIN; LOCK TABLE {LIVE}.cursors, {NEXT}.cursors IN ACCESS EXCLUSIVE MODE; \
                         ALTER SCHEMA {LIVE} RENAME TO {OLD}; ALTER SCHEMA {NEXT} RENAME TO {LIVE}; COMMIT"
                    )
                    .as_str(),
                )
                .await;
            match renamed {
                Ok(_) => {
                    self.progress.forget();
                    next.execute("SET lock_timeout = 0").await?;
                    next.execute(format!("DROP SCHEMA {OLD} CASCADE").as_str()).await?;
                    return Ok(());
                }
                Err(error)
                    if error.as_database_error().is_some_and(|e| e.code().as_deref() == Some("55P03")) =>
                {
                    next.execute("ROLLBACK").await?;
                }
                Err(error) => {
                    next.execute("ROLLBACK").await?;
                    return Err(error.into());
                }
            }
        }
        Err(RebuildError::SwitchTimedOut)
    }
}

/// How far an organization is folded into the new schema, and whether it is parked there.
async fn reached(
    connection: &mut PgConnection,
    organization: OrganizationId,
) -> Result<(i64, Option<Halted>), sqlx::Error> {
    let row = sqlx::query(&format!(
        "SELECT position, parked_position, parked_reason FROM {NEXT}.cursors WHERE organization_id = $1"
    ))
    .bind(organization.uuid())
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok((0, None)) };
    let parked: Option<i64> = row.try_get(1)?;
    let reason: Option<String> = row.try_get(2)?;
    let halted = parked.map(|position| Halted {
        organization_id: organization,
        position,
        reason: reason.unwrap_or_default(),
        parked: true,
    });
    Ok((row.try_get(0)?, halted))
}

async fn park(connection: &mut PgConnection, halted: &Halted) -> Result<(), sqlx::Error> {
    sqlx::query(&format!(
        "INSERT INTO {NEXT}.cursors (organization_id, position, failures, parked_position, parked_reason) \
         VALUES ($1, $2 - 1, $3, $2, $4) ON CONFLICT (organization_id) DO UPDATE SET failures = excluded.failures, \
             parked_position = excluded.parked_position, parked_reason = excluded.parked_reason"
    ))
    .bind(halted.organization_id.uuid())
    .bind(halted.position)
    .bind(runner::FAILURES_MAX)
    .bind(&halted.reason)
    .execute(connection)
    .await
    .map(drop)
}

async fn heads(connection: &mut PgConnection) -> Result<Vec<(OrganizationId, i64)>, sqlx::Error> {
    let rows = sqlx::query("SELECT organization_id, position FROM ledger.heads ORDER BY organization_id")
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok((OrganizationId(row.try_get::<Uuid, _>(0)?), row.try_get(1)?))).collect()
}

/// Counts and order-free checksums of every table, from two snapshots.
async fn compare_rows(
    live: &mut PgConnection,
    next: &mut PgConnection,
    organization: OrganizationId,
) -> Result<(usize, Vec<TableDifference>), RebuildError> {
    let (mut compared, mut differences) = (0, Vec::new());
    let tables =
        docket_projections::all().iter().flat_map(|model| model.tables).filter(|table| **table != "cursors");
    for table in tables {
        let a = checksum(live, LIVE, table, organization).await?;
        let b = checksum(next, NEXT, table, organization).await?;
        compared += 1;
        if a != b {
            differences.push(TableDifference {
                organization_id: organization,
                table,
                live: a.0,
                rebuilt: b.0,
            });
        }
    }
    Ok((compared, differences))
}

async fn checksum(
    connection: &mut PgConnection,
    schema: &str,
    table: &str,
    organization: OrganizationId,
) -> Result<(i64, String), sqlx::Error> {
    let row = sqlx::query(&format!(
        "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text FROM {schema}.{table} t \
         WHERE organization_id = $1"
    ))
    .bind(organization.uuid())
    .fetch_one(connection)
    .await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}
