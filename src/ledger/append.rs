//! The append: the one place where history is made.
//!
//! One task per lane writes a batch with two statements. The first reads heads, versions, claims and requests, all
//! in one snapshot; each command is judged by it, and of those refused it is asked whether they were recorded before; the second inserts what was accepted and moves the heads, but only
//! of organizations whose head still stands where it was read. Every append moves its head, so a head that did not
//! move proves that the rest of the snapshot still holds. Nothing is locked between the two, and no transaction is
//! open while commands are judged. One command's conflict never fails its neighbours.
//!
//! While one batch is written, the next is read ahead where a crowd waits: see [`ahead`].
//!
//! An organization whose head was moved or held by another process is passed over and tried again, from then on
//! under a lock: heads are locked in order, then the same two statements run in that transaction. (The snapshot must
//! be taken by a new statement: one that waited for a lock still sees what was true before the wait.)
//!
//! A connection that breaks before COMMIT leaves nothing behind; one that breaks around it leaves a question. Both
//! are answered alike: the same commands are tried again, and those that had been recorded are refused, because their
//! streams have moved, and found by their command id. Until the database answers, a caller hears `OUTCOME_UNKNOWN` and never a new decision.

mod ahead;
mod judge;
mod known;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant as Stopwatch};

use docket_aggregates::Timestamp;
use docket_aggregates::ids::OrganizationId;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Executor, PgConnection};
use uuid::Uuid;

use super::chain::Hash;
use super::command::{AppendError, Appended};
use super::fresh::{Fresh, Piece};
use super::heads::Heads;
use super::queue::{BUSY_PASSES, Queue, RETRY_AFTER, Refusal, Waiting};
use super::stretch::Stretches;
use crate::clock::Clock;
use ahead::{CROWD, Lookout};
use judge::{Judge, Verdict};
use known::{Judged, Known, recorded};
use rows::Rows;

/// How long a batch may be tried again before its callers hear that the outcome is not known.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Pause between attempts to reach a database that does not answer.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// How long one statement or one commit may take before the connection is given up.
const STATEMENT_WITHIN: Duration = Duration::from_secs(60);

/// Writes the batches of one lane.
pub struct Appender {
    pub lane: &'static str,
    pub options: PgConnectOptions,
    pub queue: Arc<Queue>,
    pub heads: Arc<Heads>,
    pub stretches: Arc<Stretches>,
    pub fresh: Arc<Fresh>,
    pub clock: Clock,
}

/// What one lane works with.
#[derive(Default)]
struct Desk {
    connection: Option<PgConnection>,
    lookout: Lookout,
}

/// How a transaction ended.
enum Failed {
    /// The database said no: rolled back for certain.
    RolledBack(sqlx::Error),
    /// The connection is gone; the commit may have come through.
    Lost(sqlx::Error),
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(ref database) if !is_shutdown(database.code().as_deref()) => {
                Self::RolledBack(error)
            }
            sqlx::Error::Encode(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Self::RolledBack(error)
            }
            _ => Self::Lost(error),
        }
    }
}

/// The server is going away or still coming up (SQLSTATE class 57P).
fn is_shutdown(code: Option<&str>) -> bool {
    code.is_some_and(|code| code.starts_with("57P"))
}

/// A head as it was read, and what becomes of it.
#[derive(Clone, Copy)]
struct Head {
    /// Where it was read.
    before: i64,
    position: i64,
    chain: Hash,
    recorded_at: Timestamp,
}

/// How heads are kept from moving between the two statements of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// Not at all: the second statement passes over heads that moved.
    Not,
    /// Locked; heads that another process holds are passed over.
    Free,
    /// Locked; heads that another process holds are waited for.
    All,
}

impl Hold {
    /// Commands that came too late once are not left to luck again. What is written beside the ledger needs a
    /// transaction of its own.
    fn for_batch(batch: &[Waiting]) -> Self {
        match batch.iter().map(|waiting| waiting.passes).max().unwrap_or(0) {
            BUSY_PASSES.. => Self::All,
            0 if batch.iter().all(|waiting| waiting.prepared.stays_in_ledger()) => Self::Not,
            _ => Self::Free,
        }
    }
}

impl Appender {
    /// Serves the lane until its queue is closed and empty.
    pub async fn run(self: Arc<Self>) {
        let mut desk = Desk::default();
        let mut judged: Option<Judged> = None;
        loop {
            let (batch, known) = match desk.lookout.seen().await {
                Some((batch, known)) => (batch, known),
                None => match self.queue.next().await {
                    Some(batch) => (batch, None),
                    None => break,
                },
            };
            let known = match (known, judged.take()) {
                (Some(known), Some(judged)) => Some(known.after(judged)),
                (known, _) => known,
            };
            judged = self.serve(&mut desk, batch, known).await;
        }
    }

    /// Writes a batch, whatever it takes, and answers each of its commands. `known` is what was read for it ahead. Gives
    /// back what was known at the end.
    async fn serve(&self, desk: &mut Desk, batch: Vec<Waiting>, mut known: Option<Known>) -> Option<Judged> {
        let mut last = None;
        let mut parts = vec![batch];
        while let Some(batch) = parts.pop() {
            let (mut batch, started) = (batch, Stopwatch::now());
            let mut lost_before = false;
            loop {
                let attempt = self.attempt(desk, &batch, known.take());
                let failed = match tokio::time::timeout(STATEMENT_WITHIN, attempt).await {
                    Ok(Ok((verdicts, judged))) => {
                        metrics::histogram!("docket_append_seconds", "lane" => self.lane)
                            .record(started.elapsed().as_secs_f64());
                        if let Some(judged) = &judged {
                            self.tell(&mut batch, &verdicts, judged);
                        }
                        self.answer(batch, verdicts);
                        last = judged;
                        break;
                    }
                    Ok(Err(failed)) => failed,
                    Err(_) => Failed::Lost(sqlx::Error::PoolTimedOut),
                };
                match failed {
                    // It has no room for anybody: not a defect, and over when it is given room.
                    Failed::RolledBack(error) if is_full(&error) => {
                        tracing::error!(error = %describe(&error), commands = batch.len(), "the database has no room left");
                        for waiting in batch {
                            waiting.answer(Err(Refusal::Error(AppendError::Unavailable)));
                        }
                        break;
                    }
                    Failed::RolledBack(error) if batch.len() > 1 => {
                        tracing::warn!(error = %describe(&error), commands = batch.len(), "a batch was rolled back; its halves are tried");
                        let mut first = batch;
                        let second = first.split_off(first.len() / 2);
                        parts.push(second);
                        parts.push(first);
                        break;
                    }
                    // It did not get its lock. Others have their turn before it tries again.
                    Failed::RolledBack(error) if is_contention(&error) => {
                        let (late, again): (Vec<_>, Vec<_>) =
                            batch.into_iter().partition(|waiting| waiting.since.elapsed() >= ANSWER_WITHIN);
                        for waiting in late {
                            let error = AppendError::OrganizationBusy { retry_after: RETRY_AFTER };
                            waiting.answer(Err(Refusal::Error(error)));
                        }
                        if !again.is_empty() {
                            self.queue.put_back(again);
                        }
                        break;
                    }
                    Failed::RolledBack(error) => {
                        tracing::error!(error = %describe(&error), "a command was rolled back");
                        for waiting in batch {
                            let error = AppendError::Unstorable(describe(&error));
                            waiting.answer(Err(Refusal::Error(error)));
                        }
                        break;
                    }
                    Failed::Lost(error) => {
                        desk.connection = None;
                        if !lost_before {
                            tracing::warn!(error = %describe(&error), "the ledger's connection was lost");
                        }
                        lost_before = true;
                        if started.elapsed() >= ANSWER_WITHIN {
                            for waiting in batch {
                                let error = AppendError::OutcomeUnknown(waiting.prepared.id);
                                waiting.answer(Err(Refusal::Error(error)));
                            }
                            break;
                        }
                        tokio::time::sleep(RECONNECT_PAUSE).await;
                    }
                }
            }
        }
        last
    }

    /// Hands what was recorded to whoever folds here, and says that it is there.
    fn tell(&self, batch: &mut [Waiting], verdicts: &[Verdict], judged: &Judged) {
        let mut pieces: BTreeMap<OrganizationId, Piece> = BTreeMap::new();
        for id in &judged.moved {
            let Some(head) = judged.heads.get(id) else { continue };
            let events = Vec::new();
            pieces.insert(*id, Piece { after: head.before, chain: head.chain, bytes: 0, events });
        }
        for (waiting, verdict) in batch.iter_mut().zip(verdicts) {
            let Verdict::Accepted(Appended { duplicate: false, .. }) = verdict else { continue };
            let Some(piece) = pieces.get_mut(&waiting.prepared.organization) else { continue };
            piece.bytes += waiting.prepared.bytes;
            for mut event in std::mem::take(&mut waiting.prepared.opened) {
                event.position = piece.to() + 1;
                piece.events.push(event);
            }
        }
        let heads = pieces.into_iter().filter_map(|(id, piece)| {
            let position = judged.heads.get(&id)?.position;
            // Otherwise something of it was too large to be kept.
            if piece.to() == position {
                self.fresh.recorded(id, piece);
            }
            Some((id, position))
        });
        self.heads.moved(heads);
    }

    fn answer(&self, batch: Vec<Waiting>, verdicts: Vec<Verdict>) {
        let mut busy = Vec::new();
        let mut outcomes = [0_u64; 3];
        for (mut waiting, verdict) in batch.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Accepted(appended) => {
                    outcomes[0] += 1;
                    waiting.answer(Ok(appended));
                }
                Verdict::Refused(refusal) => {
                    outcomes[1] += 1;
                    waiting.answer(Err(refusal));
                }
                Verdict::Busy => {
                    outcomes[2] += 1;
                    waiting.passes = waiting.passes.saturating_add(1);
                    busy.push(waiting);
                }
            }
        }
        for (outcome, count) in ["accepted", "refused", "busy"].into_iter().zip(outcomes) {
            metrics::counter!("docket_append_commands_total", "outcome" => outcome).increment(count);
        }
        if !busy.is_empty() {
            self.queue.put_back(busy);
        }
    }

    /// One transaction.
    async fn attempt(
        &self,
        desk: &mut Desk,
        batch: &[Waiting],
        known: Option<Known>,
    ) -> Result<(Vec<Verdict>, Option<Judged>), Failed> {
        let open = match desk.connection.take() {
            Some(open) => open,
            None => PgConnection::connect_with(&self.options).await.map_err(Failed::Lost)?,
        };
        // Taken out while it works: if this future is dropped half-way, so is the connection, and with it the
        // transaction.
        let mut open = open;
        let hold = Hold::for_batch(batch);
        match self.transaction(&mut open, &mut desk.lookout, batch, hold, known).await {
            Ok(done) => {
                desk.connection = Some(open);
                Ok(done)
            }
            Err(Failed::RolledBack(error)) => {
                // After a failed COMMIT this is a warning at most.
                open.execute("ROLLBACK").await.map_err(Failed::Lost)?;
                desk.connection = Some(open);
                Err(Failed::RolledBack(error))
            }
            Err(lost) => Err(lost),
        }
    }

    async fn transaction(
        &self,
        connection: &mut PgConnection,
        lookout: &mut Lookout,
        batch: &[Waiting],
        hold: Hold,
        known: Option<Known>,
    ) -> Result<(Vec<Verdict>, Option<Judged>), Failed> {
        let mut held = None;
        if hold != Hold::Not {
            connection.execute("BEGIN").await?;
            held = Some(lock_heads(connection, batch, hold).await?);
        }
        // What was read before the locks were had proves nothing under them.
        let mut known = match known.filter(|_| hold == Hold::Not) {
            Some(known) => known,
            None => Known::read(connection, batch).await?,
        };
        let mut heads = std::mem::take(&mut known.heads);
        if let Some(held) = held {
            heads.retain(|organization, _| held.contains(organization));
        }
        let stretches = &self.stretches;
        let mut judge = Judge { heads, known, rows: Rows::default(), stretches, now: self.clock.now() };
        let mut verdicts = Vec::with_capacity(batch.len());
        for waiting in batch {
            verdicts.push(judge.judge(&waiting.prepared));
        }
        let Judge { heads, known, mut rows, .. } = judge;
        tell_recorded(connection, batch, &mut verdicts).await?;
        let touched = rows.touched.clone();
        if touched.is_empty() {
            if hold != Hold::Not {
                connection.execute("ROLLBACK").await?;
            }
            return Ok((verdicts, None));
        }
        let (released, counted) = (rows.released(), std::mem::take(&mut rows.counted));
        let mut latest = std::mem::take(&mut rows.latest);
        let write = rows.write(connection, &heads);
        let moved = if hold == Hold::Not && lookout.is_free() {
            let mut write = pin!(write);
            tokio::select! {
                biased;
                moved = &mut write => moved?,
                crowd = self.queue.crowd(CROWD) => {
                    lookout.look(&self.options, crowd);
                    write.await?
                }
            }
        } else {
            write.await?
        };
        if hold != Hold::Not {
            connection.execute("COMMIT").await?;
        }
        // What was judged after a command that was not written is judged again with it.
        for (waiting, verdict) in batch.iter().zip(&mut verdicts) {
            let organization = &waiting.prepared.organization;
            if touched.contains(organization) && !moved.contains(organization) {
                *verdict = Verdict::Busy;
            }
        }
        for organization in &moved {
            let Some(head) = heads.get(organization) else { continue };
            let (latest, counted) = (latest.remove(organization), counted.get(organization).copied());
            let between = (head.before, head.position);
            self.stretches.recorded(*organization, between, latest.unwrap_or_default(), counted);
        }
        Ok((verdicts, Some(Judged { known, heads, moved, released })))
    }
}

/// Whoever is refused may ask again for what was recorded before, since the first answer was lost: then that is the answer.
async fn tell_recorded(
    connection: &mut PgConnection,
    batch: &[Waiting],
    verdicts: &mut [Verdict],
) -> Result<(), Failed> {
    let id = |waiting: &Waiting| (waiting.prepared.organization, waiting.prepared.id.uuid());
    let refused = batch.iter().zip(&*verdicts).filter(|(_, verdict)| matches!(verdict, Verdict::Refused(_)));
    let refused: Vec<_> = refused.map(|(waiting, _)| id(waiting)).collect();
    if refused.is_empty() {
        return Ok(());
    }
    let recorded = recorded(connection, &refused).await?;
    for (waiting, verdict) in batch.iter().zip(verdicts) {
        if let (Verdict::Refused(_), Some(position)) = (&*verdict, recorded.get(&id(waiting))) {
            *verdict = Verdict::Accepted(waiting.prepared.recorded_at(*position));
        }
    }
    Ok(())
}

/// Errors that another try may not meet: the lock was not had in time, a deadlock, a serialization failure. An answer that
/// belongs to no event moves no head, so that another process may have kept one under the same name since it was looked for.
fn is_contention(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    match error.code().as_deref() {
        Some("55P03" | "40P01" | "40001") => true,
        Some("23505") => error.constraint() == Some("requests_pkey"),
        _ => false,
    }
}

/// The server lacks disk, memory or connections (SQLSTATE class 53).
fn is_full(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code.starts_with("53"))
}

/// An error without the values that Postgres quotes in its detail.
fn describe(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(database) => {
            let code = database.code().unwrap_or_default().into_owned();
            let on = database.constraint().unwrap_or("no constraint").to_owned();
            format!("SQLSTATE {code} on {on}")
        }
        None => match error {
            sqlx::Error::Io(error) => format!("connection: {}", error.kind()),
            sqlx::Error::Protocol(_) => "protocol broken off".to_owned(),
            sqlx::Error::PoolTimedOut => "no answer in time".to_owned(),
            _ => "driver refused a value".to_owned(),
        },
    }
}

fn organizations_of(batch: &[Waiting]) -> Vec<Uuid> {
    let organizations: BTreeSet<Uuid> =
        batch.iter().map(|waiting| waiting.prepared.organization.uuid()).collect();
    organizations.into_iter().collect()
}

/// Locks the heads of a batch in order, and says which of them are held now.
async fn lock_heads(
    connection: &mut PgConnection,
    batch: &[Waiting],
    hold: Hold,
) -> Result<BTreeSet<OrganizationId>, Failed> {
    let statement = if hold == Hold::All {
        "SELECT organization_id FROM ledger.heads WHERE organization_id = ANY($1) ORDER BY organization_id \
         FOR UPDATE"
    } else {
        "SELECT organization_id FROM ledger.heads WHERE organization_id = ANY($1) ORDER BY organization_id \
         FOR UPDATE SKIP LOCKED"
    };
    let held: Vec<Uuid> =
        sqlx::query_scalar(statement).bind(organizations_of(batch)).fetch_all(connection).await?;
    Ok(held.into_iter().map(OrganizationId).collect())
}
