//! The access log: every call, also refused, read and dry, with its audit id and without personal values.
//!
//! Calls are put into a bounded queue and written in batches by one task, so that a read costs no transaction of
//! its own. A full queue slows its callers down for a moment; what still finds no room is counted and let go,
//! because a log must not bring down what it is about. What changed the world stands in the ledger anyway. A call without a
//! valid token is anybody's, and nothing else bounds how many there are: of these, ten a second are noted, and a hundred at once.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use docket_aggregates::Timestamp;
use docket_aggregates::ids::{OrganizationId, PrincipalId, TokenId};
use sqlx::PgPool;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::clock::Clock;
use crate::credentials::Caller;
use crate::envelope::Answer;
use crate::ledger::instant::Instant;
use crate::strangers::Strangers;

/// Calls that wait to be written, at most.
const QUEUE: usize = 8_192;
/// Calls in one statement, at most.
const BATCH: usize = 512;
/// How long a batch is added to before it is written.
const LINGER: Duration = Duration::from_millis(50);
/// How long a call waits for room in the queue.
const ROOM_WITHIN: Duration = Duration::from_millis(250);
/// How often a batch is tried, and the pause after each failure.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
/// How long entries are kept.
const KEPT_MILLIS: i64 = 400 * 24 * 60 * 60 * 1_000;
/// How often what is older is removed, and how much of it in one statement.
const SWEEP_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
const SWEPT_AT_ONCE: i64 = 10_000;

/// The one door at which all calls without a valid token are counted.
const NOBODY: Uuid = Uuid::nil();

/// One call.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The organization that it was about; [`OrganizationId::INSTANCE`] where it was about none, or where the
    /// caller may not enter the one it named.
    pub organization: OrganizationId,
    /// The command id where something was recorded, else a fresh id.
    pub audit_id: Uuid,
    /// When it came in.
    pub at: Timestamp,
    /// Who called, if that is known.
    pub principal: Option<PrincipalId>,
    /// With which token.
    pub token: Option<TokenId>,
    /// The tool, or method and route.
    pub tool: Cow<'static, str>,
    /// `ok`, or the code of the refusal.
    pub outcome: Cow<'static, str>,
    /// The position that was written, or up to which was read.
    pub position: Option<i64>,
    /// How long it took.
    pub duration: Duration,
}

impl Entry {
    /// One call of an agent tool, on whichever surface, with what it was answered.
    pub fn of_call(
        clock: &Clock,
        caller: Option<&Caller>,
        tool: &'static str,
        answer: &Answer,
        duration: Duration,
    ) -> Self {
        Self {
            organization: answer.organization.unwrap_or(OrganizationId::INSTANCE),
            audit_id: answer.audit_id.unwrap_or_else(|| clock.mint()).uuid(),
            at: clock.now(),
            principal: caller.map(|caller| caller.principal_id),
            token: caller.map(|caller| caller.token_id),
            tool: tool.into(),
            outcome: answer.outcome.into(),
            position: answer.position,
            duration,
        }
    }
}

/// Where calls are noted. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AccessLog {
    queue: mpsc::Sender<Entry>,
    closing: Arc<Notify>,
    strangers: Arc<Strangers>,
}

/// The task that writes.
#[derive(Debug)]
pub struct Writing(JoinHandle<()>);

impl AccessLog {
    /// An access log that writes through `pool` until it is drained.
    pub fn open(pool: PgPool, clock: Clock) -> (Self, Writing) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let closing = Arc::new(Notify::new());
        let task = tokio::spawn(write(pool, clock, waiting, closing.clone()));
        (Self { queue, closing, strangers: Arc::default() }, Writing(task))
    }

    /// Notes a call.
    pub async fn record(&self, entry: Entry) {
        if entry.token.is_none() {
            if self.strangers.wait(NOBODY, entry.at).is_some() {
                metrics::counter!("docket_access_log_strangers_total").increment(1);
                return;
            }
            self.strangers.turned_away(NOBODY, entry.at);
        }
        if self.queue.send_timeout(entry, ROOM_WITHIN).await.is_err() {
            metrics::counter!("docket_access_log_lost_total").increment(1);
        }
    }

    /// Calls that wait to be written.
    pub fn depth(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Takes no more calls and writes those that wait, within the given time.
    pub async fn drain(&self, writing: Writing, within: Duration) {
        self.closing.notify_one();
        if tokio::time::timeout(within, writing.0).await.is_err() {
            tracing::error!(waiting = self.depth(), "the access log was not written to its end in time");
        }
    }
}

async fn write(pool: PgPool, clock: Clock, mut waiting: mpsc::Receiver<Entry>, closing: Arc<Notify>) {
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            count = waiting.recv_many(&mut batch, BATCH) => {
                if count == 0 {
                    return;
                }
                if !waiting.is_closed() {
                    // One statement for many calls: nobody waits for it.
                    tokio::time::sleep(LINGER).await;
                }
                while batch.len() < BATCH
                    && let Ok(entry) = waiting.try_recv()
                {
                    batch.push(entry);
                }
                insert(&pool, &batch).await;
                batch.clear();
            }
            () = closing.notified() => waiting.close(),
            _ = sweep.tick() => sweep_old(&pool, clock.now().plus_millis(-KEPT_MILLIS)).await,
        }
    }
}

async fn insert(pool: &PgPool, batch: &[Entry]) {
    fn each<T>(batch: &[Entry], column: impl Fn(&Entry) -> T) -> Vec<T> {
        batch.iter().map(column).collect()
    }
    for attempt in 1..=TRIES {
        let inserted = sqlx::query(
            "INSERT INTO ledger.access_log (organization_id, audit_id, at, principal_id, token_id, tool, outcome, \
                 position, duration_ms) \
             SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::uuid[], $5::uuid[], $6::text[], \
                 $7::text[], $8::bigint[], $9::integer[]) \
             ON CONFLICT (organization_id, audit_id) DO NOTHING",
        )
        .bind(each(batch, |entry| entry.organization.uuid()))
        .bind(each(batch, |entry| entry.audit_id))
        .bind(each(batch, |entry| Instant(entry.at)))
        .bind(each(batch, |entry| entry.principal.map(PrincipalId::uuid)))
        .bind(each(batch, |entry| entry.token.map(TokenId::uuid)))
        .bind(each(batch, |entry| entry.tool.clone().into_owned()))
        .bind(each(batch, |entry| entry.outcome.clone().into_owned()))
        .bind(each(batch, |entry| entry.position))
        .bind(each(batch, |entry| i32::try_from(entry.duration.as_millis()).unwrap_or(i32::MAX)))
        .execute(pool)
        .await;
        match inserted {
            Ok(_) => return,
            Err(error) if attempt == TRIES => {
                metrics::counter!("docket_access_log_lost_total").increment(batch.len() as u64);
                tracing::error!(error = %error, entries = batch.len(), "entries of the access log were lost");
            }
            Err(_) => tokio::time::sleep(PAUSE * attempt).await,
        }
    }
}

async fn sweep_old(pool: &PgPool, before: Timestamp) {
    loop {
        let swept = sqlx::query(
            "DELETE FROM ledger.access_log WHERE ctid = ANY(ARRAY( \
                 SELECT ctid FROM ledger.access_log WHERE at < $1 LIMIT $2))",
        )
        .bind(Instant(before))
        .bind(SWEPT_AT_ONCE)
        .execute(pool)
        .await;
        match swept {
            Ok(done) if done.rows_affected() < SWEPT_AT_ONCE.unsigned_abs() => return,
            Ok(_) => (),
            Err(error) => {
                tracing::warn!(error = %error, "old entries of the access log could not be removed");
                return;
            }
        }
    }
}
