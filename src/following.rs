//! Following the ledger: handlers of events with a cursor of their own.
//!
//! A handler turns events into rows of work. The rows and its cursor are written in one transaction, so that each event
//! becomes work exactly once, however many processes follow and wherever one is killed; what is then done with the
//! work happens elsewhere and may happen twice. Like the runner of the read models it takes no input: a nudge, or
//! the passing of time, makes it look, and what it reads is the truth.
//!
//! A handler begins at the beginning of each ledger. Only events of the types that it names are read; all others
//! are passed over unread, an import of a million rows included.

pub mod cursors;

use std::time::Duration;

use docket_aggregates::ids::OrganizationId;
use sqlx::{Executor, PgConnection};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::ledger::Ledger;
use crate::ledger::read::{self, ReadError, Stored};

/// How often it is looked for what other processes appended.
const LOOK: Duration = Duration::from_millis(500);
/// Pause between two looks: while a ledger grows all the time, a handful of commands is followed with one look.
const REST: Duration = Duration::from_millis(50);
/// Ledgers that are looked up at once.
const ORGANIZATIONS: i64 = 1_000;
/// Events that are handled in one transaction.
const EVENTS: i64 = 200;
/// Positions that one transaction passes over, at most.
const POSITIONS: i64 = 20_000;

/// What turns events into work.
pub trait Handler: Send + Sync {
    /// The name of its cursor, for ever.
    const NAME: &'static str;
    /// Whether it is told of events as they come, or looks for them from time to time.
    const NUDGED: bool = true;

    /// Whether this process may follow at the moment. It shares the cursor with the others, and leaves it to them if not.
    fn follows(
        &self,
        _connection: &mut PgConnection,
    ) -> impl Future<Output = Result<bool, sqlx::Error>> + Send {
        std::future::ready(Ok(true))
    }

    /// The stored types of the events that it wants to see; none if it wants to see none.
    fn wants(
        &self,
        transaction: &mut PgConnection,
        organization: OrganizationId,
    ) -> impl Future<Output = Result<Vec<String>, sqlx::Error>> + Send;

    /// Makes work of events, which come in order and sealed. A position means that only the events up to it were taken,
    /// because it changed what is wanted.
    fn take(
        &self,
        transaction: &mut PgConnection,
        organization: OrganizationId,
        events: &[Stored],
    ) -> impl Future<Output = Result<Option<i64>, sqlx::Error>> + Send;
}

/// Follows until it is told to end.
pub async fn follow(ledger: &Ledger, handler: &impl Handler, ending: &CancellationToken) {
    let news = ledger.heads().follow();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = ending.cancelled() => return,
            () = news.nudged(), if nudged(handler) => (),
            _ = look.tick() => (),
        }
        // Which of them moved is read from the database, for those of other processes as well.
        drop(news.take());
        if let Err(error) = catch_up(ledger, handler, ending).await {
            tracing::warn!(handler = name_of(handler), error = %error, "events could not be followed");
        }
        tokio::time::sleep(REST).await;
    }
}

const fn nudged<H: Handler>(_: &H) -> bool {
    H::NUDGED
}

const fn name_of<H: Handler>(_: &H) -> &'static str {
    H::NAME
}

/// Handles everything that there is at the moment.
async fn catch_up<H: Handler>(
    ledger: &Ledger,
    handler: &H,
    ending: &CancellationToken,
) -> Result<(), ReadError> {
    let behind: Vec<(Uuid, i64, i64)> = sqlx::query_as(
        "SELECT h.organization_id, coalesce(f.position, 0), h.position FROM ledger.heads h \
         LEFT JOIN ledger.followers f ON f.organization_id = h.organization_id AND f.handler = $1 \
         WHERE h.position > coalesce(f.position, 0) AND h.organization_id <> $2 LIMIT $3",
    )
    .bind(H::NAME)
    .bind(OrganizationId::INSTANCE.uuid())
    .bind(ORGANIZATIONS)
    .fetch_all(ledger.pool())
    .await?;
    for (organization, cursor, head) in behind {
        let organization = OrganizationId(organization);
        if pass_over(ledger, handler, organization, cursor, head).await? {
            continue;
        }
        while step(ledger, handler, organization).await? {
            if ending.is_cancelled() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Moves the cursor up to the head at once if nothing in between is wanted, as most of what is appended is not; whether
/// nothing is left to be done. What is wanted is asked after the head was read, and holds for as long as the cursor stays
/// where it was.
async fn pass_over<H: Handler>(
    ledger: &Ledger,
    handler: &H,
    organization: OrganizationId,
    cursor: i64,
    head: i64,
) -> Result<bool, ReadError> {
    let mut connection = ledger.pool().acquire().await?;
    if !handler.follows(&mut connection).await? {
        return Ok(true);
    }
    let wanted = handler.wants(&mut connection, organization).await?;
    let known = ledger.is_without(organization, &wanted, (cursor, head));
    if !known && !wanted.is_empty() && head - cursor > POSITIONS {
        return Ok(false);
    }
    // Nothing but the cursor is written: what a crash loses of it is passed over once more.
    let moved = sqlx::query(
        "UPDATE ledger.followers f SET position = $4 FROM ( \
             SELECT set_config('synchronous_commit', 'off', true) FROM ledger.followers \
             WHERE organization_id = $1 AND handler = $2 AND position = $3 AND ($6 OR NOT EXISTS ( \
                 SELECT FROM ledger.events WHERE organization_id = $1 AND position > $3 AND position <= $4 \
                     AND event_type = ANY($5))) \
             FOR UPDATE SKIP LOCKED) AS own \
         WHERE f.organization_id = $1 AND f.handler = $2",
    )
    .bind(organization.uuid())
    .bind(H::NAME)
    .bind(cursor)
    .bind(head)
    .bind(wanted)
    .bind(known)
    .execute(&mut *connection)
    .await?;
    Ok(moved.rows_affected() > 0)
}

/// Handles one portion and moves the cursor; whether there may be more.
async fn step<H: Handler>(
    ledger: &Ledger,
    handler: &H,
    organization: OrganizationId,
) -> Result<bool, ReadError> {
    let mut transaction = ledger.pool().begin().await?;
    sqlx::query("INSERT INTO ledger.followers VALUES ($1, $2, 0) ON CONFLICT DO NOTHING")
        .bind(organization.uuid())
        .bind(H::NAME)
        .execute(&mut *transaction)
        .await?;
    let cursor: Option<i64> = sqlx::query_scalar(
        "SELECT position FROM ledger.followers WHERE organization_id = $1 AND handler = $2 \
         FOR UPDATE SKIP LOCKED",
    )
    .bind(organization.uuid())
    .bind(H::NAME)
    .fetch_optional(&mut *transaction)
    .await?;
    // Another process is at it.
    let Some(cursor) = cursor else { return Ok(false) };
    let head = read::head(&mut transaction, organization).await?.unwrap_or(0);
    if head <= cursor {
        return Ok(false);
    }
    // Asked after the head was read: what it follows up to is no younger than the answer.
    if !handler.follows(&mut transaction).await? {
        return Ok(false);
    }
    let wanted = handler.wants(&mut transaction, organization).await?;
    let to = if wanted.is_empty() { head } else { head.min(cursor + POSITIONS) };
    let events = read::of_types(&mut transaction, organization, (cursor, to), &wanted, EVENTS).await?;
    let whole = i64::try_from(events.len()).is_ok_and(|read| read < EVENTS);
    let reached = if whole { to } else { events.last().map_or(to, |event| event.position) };
    if events.is_empty() {
        // Nothing but the cursor is written: what a crash loses of it is passed over once more.
        transaction.execute("SET LOCAL synchronous_commit TO off").await?;
    }
    let reached = handler.take(&mut transaction, organization, &events).await?.unwrap_or(reached);
    sqlx::query("UPDATE ledger.followers SET position = $3 WHERE organization_id = $1 AND handler = $2")
        .bind(organization.uuid())
        .bind(H::NAME)
        .bind(reached)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(reached < head)
}
