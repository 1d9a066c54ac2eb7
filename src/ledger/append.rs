//! The append: the one place where history is made.
//!
//! One task per lane writes a batch with two statements. The first reads heads, versions, claims and requests, all
//! in one snapshot; each command is judged by it; the second inserts what was accepted and moves the heads, but only
//! of organizations whose head still stands where it was read. Every append moves its head, so a head that did not
//! move proves that the rest of the snapshot still holds. Nothing is locked between the two, and no transaction is
//! open while commands are judged. One command's conflict never fails its neighbours.
//!
//! An organization whose head was moved or held by another process is passed over and tried again, from then on
//! under a lock: heads are locked in order, then the same two statements run in that transaction. (The snapshot must
//! be taken by a new statement: one that waited for a lock still sees what was true before the wait.)
//!
//! A connection that breaks before COMMIT leaves nothing behind; one that breaks around it leaves a question. Both
//! are answered alike: the same commands are tried again, and those that had been recorded are found by their
//! command id. Until the database answers, a caller hears `OUTCOME_UNKNOWN` and never a new decision.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant as Stopwatch};

use docket_aggregates::Timestamp;
use docket_aggregates::claims::{ClaimChange, ClaimKey};
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::token::TokenEvent;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{Connection, Executor, PgConnection, Row};
use uuid::Uuid;

use super::chain::{self, Hash};
use super::command::{AppendError, Appended, Stream};
use super::heads::Heads;
use super::instant::Instant;
use super::prepare::Prepared;
use super::queue::{BUSY_PASSES, Queue, RETRY_AFTER, Refusal, Waiting};
use crate::clock::Clock;

/// How long a batch may be tried again before its callers hear that the outcome is not known.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Pause between attempts to reach a database that does not answer.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// How long one statement or one commit may take before the connection is given up.
const STATEMENT_WITHIN: Duration = Duration::from_secs(60);
/// How long the answers to idempotent requests are kept.
const REQUEST_KEPT_MILLIS: i64 = 7 * 24 * 60 * 60 * 1_000;

/// Writes the batches of one lane.
pub struct Appender {
    pub lane: &'static str,
    pub options: PgConnectOptions,
    pub queue: Arc<Queue>,
    pub heads: Arc<Heads>,
    pub clock: Clock,
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

/// What the judgement of one command was.
enum Verdict {
    Accepted(Appended),
    Refused(Refusal),
    Busy,
}

impl Appender {
    /// Serves the lane until its queue is closed and empty.
    pub async fn run(self: Arc<Self>) {
        let mut connection = None;
        while let Some(batch) = self.queue.next().await {
            self.serve(&mut connection, batch).await;
        }
    }

    /// Writes a batch, whatever it takes, and answers each of its commands.
    async fn serve(&self, connection: &mut Option<PgConnection>, batch: Vec<Waiting>) {
        let mut parts = vec![batch];
        while let Some(batch) = parts.pop() {
            let started = Stopwatch::now();
            let mut lost_before = false;
            loop {
                let attempt = self.attempt(connection, &batch);
                let failed = match tokio::time::timeout(STATEMENT_WITHIN, attempt).await {
                    Ok(Ok(verdicts)) => {
                        metrics::histogram!("docket_append_seconds", "lane" => self.lane)
                            .record(started.elapsed().as_secs_f64());
                        self.answer(batch, verdicts);
                        break;
                    }
                    Ok(Err(failed)) => failed,
                    Err(_) => Failed::Lost(sqlx::Error::PoolTimedOut),
                };
                match failed {
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
                        *connection = None;
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
        connection: &mut Option<PgConnection>,
        batch: &[Waiting],
    ) -> Result<Vec<Verdict>, Failed> {
        let open = match connection.take() {
            Some(open) => open,
            None => PgConnection::connect_with(&self.options).await.map_err(Failed::Lost)?,
        };
        // Taken out while it works: if this future is dropped half-way, so is the connection, and with it the
        // transaction.
        let mut open = open;
        let result = self.transaction(&mut open, batch, Hold::for_batch(batch)).await;
        match result {
            Ok(verdicts) => {
                *connection = Some(open);
                Ok(verdicts)
            }
            Err(Failed::RolledBack(error)) => {
                // After a failed COMMIT this is a warning at most.
                open.execute("ROLLBACK").await.map_err(Failed::Lost)?;
                *connection = Some(open);
                Err(Failed::RolledBack(error))
            }
            Err(lost) => Err(lost),
        }
    }

    async fn transaction(
        &self,
        connection: &mut PgConnection,
        batch: &[Waiting],
        hold: Hold,
    ) -> Result<Vec<Verdict>, Failed> {
        let mut held = None;
        if hold != Hold::Not {
            connection.execute("BEGIN").await?;
            held = Some(lock_heads(connection, batch, hold).await?);
        }
        let mut known = Known::read(connection, batch).await?;
        let mut heads = std::mem::take(&mut known.heads);
        if let Some(held) = held {
            heads.retain(|organization, _| held.contains(organization));
        }
        let mut judge = Judge { heads, known, rows: Rows::default(), now: self.clock.now() };
        let mut verdicts = Vec::with_capacity(batch.len());
        for waiting in batch {
            verdicts.push(judge.judge(&waiting.prepared));
        }
        let Judge { heads, rows, .. } = judge;
        let touched = rows.touched.clone();
        if touched.is_empty() {
            if hold != Hold::Not {
                connection.execute("ROLLBACK").await?;
            }
            return Ok(verdicts);
        }
        let moved = rows.write(connection, &heads).await?;
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
        self.heads.moved(moved.into_iter().filter_map(|id| Some((id, heads.get(&id)?.position))));
        Ok(verdicts)
    }
}

/// Errors that another try may not meet: the lock was not had in time, a deadlock, a serialization failure.
fn is_contention(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    matches!(code.as_deref(), Some("55P03" | "40P01" | "40001"))
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

fn hash(row: &PgRow, column: usize) -> Result<Hash, sqlx::Error> {
    row.try_get::<&[u8], _>(column)?
        .try_into()
        .map_err(|_| sqlx::Error::Decode("a hash of another length than 32 bytes".into()))
}

type VersionKey = (OrganizationId, Stream);

/// What the database holds of everything that a batch looks at, read in one snapshot.
#[derive(Default)]
struct Known {
    heads: HashMap<OrganizationId, Head>,
    versions: HashMap<VersionKey, u64>,
    commands: HashMap<(OrganizationId, Uuid), i64>,
    claims: HashMap<(OrganizationId, ClaimKey), Uuid>,
    requests: HashMap<(OrganizationId, [u8; 32]), StoredRequest>,
    subjects: BTreeSet<(OrganizationId, Uuid)>,
}

struct StoredRequest {
    fingerprint: Vec<u8>,
    command_id: Uuid,
    position: i64,
    answer: Vec<u8>,
    expires_at: Timestamp,
}

// Each of them asks by index, once per key: joined in the usual way, a table without statistics is read whole.
// `position + 0` keeps the planner from reading the whole ledger backwards in search of the largest position,
// which it takes for cheap while the table has no statistics: 900 instead of 15 000 commands a second were seen.
const KNOWN: &str = "\
SELECT 5, 0::bigint, position, organization_id, chain, NULL::bytea, recorded_at \
FROM ledger.heads WHERE organization_id = ANY($13) \
UNION ALL \
SELECT 0, t.i, v.sequence, NULL, NULL, NULL, NULL \
FROM unnest($1::uuid[], $2::text[], $3::text[]) WITH ORDINALITY AS t(organization_id, aggregate_type, aggregate_id, i) \
CROSS JOIN LATERAL (SELECT e.sequence FROM ledger.events e WHERE e.organization_id = t.organization_id \
    AND e.aggregate_type = t.aggregate_type AND e.aggregate_id = t.aggregate_id \
    ORDER BY e.sequence DESC LIMIT 1) v \
UNION ALL \
SELECT 1, t.i, e.position, NULL, NULL, NULL, NULL \
FROM unnest($4::uuid[], $5::uuid[]) WITH ORDINALITY AS t(organization_id, command_id, i) \
CROSS JOIN LATERAL (SELECT max(e.position + 0) AS position FROM ledger.events e \
    WHERE e.organization_id = t.organization_id AND e.command_id = t.command_id) e WHERE e.position IS NOT NULL \
UNION ALL \
SELECT 2, t.i, NULL, c.owner, NULL, NULL, NULL \
FROM unnest($6::uuid[], $7::text[], $8::bytea[]) WITH ORDINALITY AS t(organization_id, scope, key_hash, i) \
CROSS JOIN LATERAL (SELECT owner FROM ledger.claims c WHERE c.organization_id = t.organization_id \
    AND c.scope = t.scope AND c.key_hash = t.key_hash LIMIT 1) c \
UNION ALL \
SELECT 3, t.i, r.position, r.command_id, r.fingerprint, r.answer, r.expires_at \
FROM unnest($9::uuid[], $10::bytea[]) WITH ORDINALITY AS t(organization_id, key_hash, i) \
CROSS JOIN LATERAL (SELECT * FROM ledger.requests r WHERE r.organization_id = t.organization_id \
    AND r.key_hash = t.key_hash LIMIT 1) r \
UNION ALL \
SELECT 4, t.i, NULL, NULL, NULL, NULL, NULL \
FROM unnest($11::uuid[], $12::uuid[]) WITH ORDINALITY AS t(organization_id, subject_id, i) \
CROSS JOIN LATERAL (SELECT FROM ledger.subject_keys s WHERE s.organization_id = t.organization_id \
    AND s.subject_id = t.subject_id LIMIT 1) s";

impl Known {
    async fn read(connection: &mut PgConnection, batch: &[Waiting]) -> Result<Self, Failed> {
        let mut streams = BTreeSet::new();
        let mut commands = Vec::with_capacity(batch.len());
        let mut claims = BTreeSet::new();
        let mut requests = Vec::new();
        let mut subjects = Vec::new();
        for Waiting { prepared, .. } in batch {
            let organization = prepared.organization;
            commands.push((organization, prepared.id.uuid()));
            streams.extend(prepared.expected.iter().map(|(stream, _)| (organization, *stream)));
            streams.extend(prepared.guards.iter().map(|guard| (organization, guard.stream)));
            claims.extend(prepared.absent.iter().map(|key| (organization, key.clone())));
            claims.extend(prepared.claims.iter().map(|change| match change {
                ClaimChange::Take(key, _) | ClaimChange::Ensure(key, _) | ClaimChange::Release(key) => {
                    (organization, key.clone())
                }
            }));
            requests.extend(prepared.request.as_ref().map(|request| (organization, request.key_hash)));
            subjects.extend(prepared.new_subjects.iter().map(|(subject, ..)| (organization, subject.uuid())));
        }
        let streams: Vec<_> = streams.into_iter().collect();
        let claims: Vec<_> = claims.into_iter().collect();
        let ids: Vec<String> = streams.iter().map(|(_, stream)| stream.id.to_string()).collect();

        let query = sqlx::query(KNOWN)
            .bind(streams.iter().map(|(organization, _)| organization.uuid()).collect::<Vec<_>>())
            .bind(streams.iter().map(|(_, stream)| stream.aggregate_type).collect::<Vec<_>>())
            .bind(ids)
            .bind(commands.iter().map(|(organization, _)| organization.uuid()).collect::<Vec<_>>())
            .bind(commands.iter().map(|(_, id)| *id).collect::<Vec<_>>())
            .bind(claims.iter().map(|(organization, _)| organization.uuid()).collect::<Vec<_>>())
            .bind(claims.iter().map(|(_, key)| key.scope.name()).collect::<Vec<_>>())
            .bind(claims.iter().map(|(_, key)| key.hash.as_slice()).collect::<Vec<_>>())
            .bind(requests.iter().map(|(organization, _)| organization.uuid()).collect::<Vec<_>>())
            .bind(requests.iter().map(|(_, key)| key.as_slice()).collect::<Vec<_>>())
            .bind(subjects.iter().map(|(organization, _)| organization.uuid()).collect::<Vec<_>>())
            .bind(subjects.iter().map(|(_, id)| *id).collect::<Vec<_>>())
            .bind(organizations_of(batch));
        let mut known = Self::default();
        for row in query.fetch_all(connection).await? {
            let kind: i32 = row.try_get(0)?;
            // Counted from 1 by Postgres.
            let index = usize::try_from(row.try_get::<i64, _>(1)? - 1).unwrap_or(usize::MAX);
            let out_of_range = || sqlx::Error::Decode("an index that was not asked for".into());
            match kind {
                0 => {
                    let sequence: i64 = row.try_get(2)?;
                    let key = *streams.get(index).ok_or_else(out_of_range)?;
                    known.versions.insert(key, sequence.unsigned_abs());
                }
                1 => {
                    let key = *commands.get(index).ok_or_else(out_of_range)?;
                    known.commands.insert(key, row.try_get(2)?);
                }
                2 => {
                    let key = claims.get(index).ok_or_else(out_of_range)?.clone();
                    known.claims.insert(key, row.try_get(3)?);
                }
                3 => {
                    let key = *requests.get(index).ok_or_else(out_of_range)?;
                    let stored = StoredRequest {
                        position: row.try_get(2)?,
                        command_id: row.try_get(3)?,
                        fingerprint: row.try_get(4)?,
                        answer: row.try_get(5)?,
                        expires_at: row.try_get::<Instant, _>(6)?.0,
                    };
                    known.requests.insert(key, stored);
                }
                4 => {
                    known.subjects.insert(*subjects.get(index).ok_or_else(out_of_range)?);
                }
                _ => {
                    let position = row.try_get(2)?;
                    let head = Head {
                        before: position,
                        position,
                        chain: hash(&row, 4)?,
                        recorded_at: row.try_get::<Instant, _>(6)?.0,
                    };
                    known.heads.insert(OrganizationId(row.try_get(3)?), head);
                }
            }
        }
        Ok(known)
    }
}

/// Judges the commands of a batch one after the other, each seeing what the ones before it did.
struct Judge<'a> {
    heads: HashMap<OrganizationId, Head>,
    known: Known,
    rows: Rows<'a>,
    now: Timestamp,
}

impl<'a> Judge<'a> {
    fn judge(&mut self, prepared: &'a Prepared) -> Verdict {
        let organization = prepared.organization;
        let Some(head) = self.heads.get_mut(&organization) else { return Verdict::Busy };
        let known = &mut self.known;

        if let Some(position) = known.commands.get(&(organization, prepared.id.uuid())) {
            return Verdict::Accepted(Appended {
                command_id: prepared.id,
                position: *position,
                versions: prepared.versions.clone(),
                duplicate: true,
            });
        }
        if let Some(request) = &prepared.request
            && let Some(stored) = known.requests.get(&(organization, request.key_hash))
            && stored.expires_at > self.now
        {
            return Verdict::Refused(if stored.fingerprint == request.fingerprint {
                Refusal::Answered {
                    answer: stored.answer.clone(),
                    command_id: stored.command_id,
                    position: stored.position,
                }
            } else {
                Refusal::Error(AppendError::RequestConflict)
            });
        }
        let version = |stream: Stream| known.versions.get(&(organization, stream)).copied().unwrap_or(0);
        let current = prepared.expected.iter().all(|(stream, expected)| version(*stream) == *expected)
            && prepared.guards.iter().all(|guard| version(guard.stream) == guard.version);
        if !current {
            return Verdict::Refused(Refusal::Error(AppendError::Conflict));
        }
        let owner = |key: &ClaimKey| known.claims.get(&(organization, key.clone())).copied();
        if let Some(key) = prepared.absent.iter().find(|key| owner(key).is_some()) {
            return Verdict::Refused(Refusal::Error(AppendError::Present(key.scope)));
        }
        // What one event of the command gives up, a later one of it may take.
        let mut given_up = BTreeSet::new();
        for change in &prepared.claims {
            match change {
                ClaimChange::Release(key) => {
                    given_up.insert(key);
                }
                ClaimChange::Take(key, by)
                    if !given_up.contains(key) && owner(key).is_some_and(|owner| owner != *by) =>
                {
                    return Verdict::Refused(Refusal::Error(AppendError::Taken(key.scope)));
                }
                ClaimChange::Take(..) | ClaimChange::Ensure(..) => (),
            }
        }
        let new_subject = |id: Uuid| !known.subjects.contains(&(organization, id));
        if !prepared.new_subjects.iter().all(|(subject, ..)| new_subject(subject.uuid())) {
            return Verdict::Refused(Refusal::Reseal);
        }

        // Accepted: from here on everything is written, and the next command sees it.
        for ((stream, _), after) in prepared.expected.iter().zip(&prepared.versions) {
            known.versions.insert((organization, *stream), *after);
        }
        for change in &prepared.claims {
            match change {
                ClaimChange::Take(key, by) | ClaimChange::Ensure(key, by) => {
                    if let std::collections::hash_map::Entry::Vacant(free) =
                        known.claims.entry((organization, key.clone()))
                    {
                        free.insert(*by);
                        self.rows.claims.insert((organization, key), Some(*by));
                    }
                }
                ClaimChange::Release(key) => {
                    known.claims.remove(&(organization, key.clone()));
                    self.rows.claims.insert((organization, key), None);
                }
            }
        }
        for (subject, ..) in &prepared.new_subjects {
            known.subjects.insert((organization, subject.uuid()));
        }
        head.recorded_at = head.recorded_at.max(self.now);
        for event in &prepared.events {
            head.position += 1;
            head.chain = chain::link(&head.chain, head.position, head.recorded_at, &event.leaf);
            self.rows.events.push((prepared, event, head.position, head.recorded_at, head.chain));
        }
        known.commands.insert((organization, prepared.id.uuid()), head.position);
        for request in prepared.request.iter().chain(&prepared.alias) {
            let expires_at = self.now.plus_millis(REQUEST_KEPT_MILLIS);
            self.rows.requests.push((prepared, request, head.position, expires_at));
            known.requests.insert(
                (organization, request.key_hash),
                StoredRequest {
                    fingerprint: request.fingerprint.to_vec(),
                    command_id: prepared.id.uuid(),
                    position: head.position,
                    answer: request.answer.clone(),
                    expires_at,
                },
            );
        }
        self.rows.accepted.push(prepared);
        self.rows.touched.insert(organization);
        Verdict::Accepted(Appended {
            command_id: prepared.id,
            position: head.position,
            versions: prepared.versions.clone(),
            duplicate: false,
        })
    }
}

/// Everything that one transaction writes.
#[derive(Default)]
struct Rows<'a> {
    touched: BTreeSet<OrganizationId>,
    accepted: Vec<&'a Prepared>,
    events: Vec<(&'a Prepared, &'a super::prepare::PreparedEvent, i64, Timestamp, Hash)>,
    requests: Vec<(&'a Prepared, &'a super::prepare::PreparedRequest, i64, Timestamp)>,
    claims: BTreeMap<(OrganizationId, &'a ClaimKey), Option<Uuid>>,
}

const WRITE: &str = "\
WITH held AS MATERIALIZED (SELECT u.o AS id, u.p, u.c, u.r \
    FROM unnest($26::uuid[], $27::bigint[], $28::bigint[], $29::bytea[], $30::timestamptz[]) AS u(o, before, p, c, r) \
    CROSS JOIN LATERAL (SELECT FROM ledger.heads h WHERE h.organization_id = u.o AND h.position = u.before \
        FOR UPDATE SKIP LOCKED) h), \
events AS (INSERT INTO ledger.events (organization_id, position, event_id, command_id, aggregate_type, \
        aggregate_id, sequence, event_type, event_version, payload, metadata, occurred_at, recorded_at, leaf, chain) \
    SELECT o, p, e, c, t, i, s, et, ev, pl::jsonb, md::jsonb, oc, rc, l, ch \
    FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::bigint[], $8::text[], \
        $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::timestamptz[], $14::bytea[], $15::bytea[]) \
        AS u(o, p, e, c, t, i, s, et, ev, pl, md, oc, rc, l, ch) WHERE o IN (SELECT id FROM held)), \
requests AS (INSERT INTO ledger.requests \
    SELECT * FROM unnest($16::uuid[], $17::bytea[], $18::bytea[], $19::uuid[], $20::bigint[], $21::bytea[], \
        $22::timestamptz[]) AS u(o, k, f, c, p, a, x) WHERE o IN (SELECT id FROM held) \
    ON CONFLICT (organization_id, key_hash) DO UPDATE SET fingerprint = excluded.fingerprint, \
        command_id = excluded.command_id, position = excluded.position, answer = excluded.answer, \
        expires_at = excluded.expires_at), \
subjects AS (INSERT INTO ledger.subject_keys \
    SELECT * FROM unnest($23::uuid[], $24::uuid[], $25::bytea[]) AS u(o, s, w) WHERE o IN (SELECT id FROM held)), \
released AS (DELETE FROM ledger.claims USING unnest($31::uuid[], $32::text[], $33::bytea[]) AS u(o, s, k) \
    WHERE organization_id = u.o AND scope = u.s AND key_hash = u.k AND u.o IN (SELECT id FROM held)), \
taken AS (INSERT INTO ledger.claims \
    SELECT * FROM unnest($34::uuid[], $35::text[], $36::bytea[], $37::uuid[]) AS u(o, s, k, w) \
    WHERE o IN (SELECT id FROM held) \
    ON CONFLICT (organization_id, scope, key_hash) DO UPDATE SET owner = excluded.owner) \
UPDATE ledger.heads SET position = held.p, chain = held.c, recorded_at = held.r \
FROM held WHERE organization_id = held.id RETURNING organization_id";

impl Rows<'_> {
    /// Writes what was accepted, and says whose head was moved: an organization that is not among them had its head
    /// moved or held by somebody else, and nothing of it was written.
    async fn write(
        self,
        connection: &mut PgConnection,
        heads: &HashMap<OrganizationId, Head>,
    ) -> Result<BTreeSet<OrganizationId>, Failed> {
        let events = &self.events;
        let subjects: Vec<_> = self
            .accepted
            .iter()
            .flat_map(|prepared| prepared.new_subjects.iter().map(|key| (prepared.organization, key)))
            .collect();
        let moved: Vec<_> = self.touched.iter().filter_map(|id| Some((id, heads.get(id)?))).collect();
        let requests = &self.requests;
        let (taken, released): (Vec<_>, Vec<_>) = self.claims.iter().partition(|(_, owner)| owner.is_some());
        let moved: Vec<Uuid> = sqlx::query_scalar(WRITE)
            .bind(events.iter().map(|row| row.0.organization.uuid()).collect::<Vec<_>>())
            .bind(events.iter().map(|row| row.2).collect::<Vec<_>>())
            .bind(events.iter().map(|row| row.1.event_id.uuid()).collect::<Vec<_>>())
            .bind(events.iter().map(|row| row.0.id.uuid()).collect::<Vec<_>>())
            .bind(events.iter().map(|row| row.1.stream.aggregate_type).collect::<Vec<_>>())
            .bind(events.iter().map(|row| row.1.stream.id.to_string()).collect::<Vec<_>>())
            .bind(events.iter().map(|row| row.1.sequence.cast_signed()).collect::<Vec<_>>())
            .bind(events.iter().map(|row| row.1.event_type).collect::<Vec<_>>())
            .bind(events.iter().map(|row| row.1.event_version).collect::<Vec<_>>())
            .bind(events.iter().map(|row| row.1.payload.as_str()).collect::<Vec<_>>())
            .bind(events.iter().map(|row| &*row.1.metadata).collect::<Vec<_>>())
            .bind(events.iter().map(|row| Instant(row.0.at)).collect::<Vec<_>>())
            .bind(events.iter().map(|row| Instant(row.3)).collect::<Vec<_>>())
            .bind(events.iter().map(|row| row.1.leaf.as_slice()).collect::<Vec<_>>())
            .bind(events.iter().map(|row| row.4.as_slice()).collect::<Vec<_>>())
            .bind(requests.iter().map(|row| row.0.organization.uuid()).collect::<Vec<_>>())
            .bind(requests.iter().map(|row| row.1.key_hash.as_slice()).collect::<Vec<_>>())
            .bind(requests.iter().map(|row| row.1.fingerprint.as_slice()).collect::<Vec<_>>())
            .bind(requests.iter().map(|row| row.0.id.uuid()).collect::<Vec<_>>())
            .bind(requests.iter().map(|row| row.2).collect::<Vec<_>>())
            .bind(requests.iter().map(|row| row.1.answer.as_slice()).collect::<Vec<_>>())
            .bind(requests.iter().map(|row| Instant(row.3)).collect::<Vec<_>>())
            .bind(subjects.iter().map(|row| row.0.uuid()).collect::<Vec<_>>())
            .bind(subjects.iter().map(|row| row.1.0.uuid()).collect::<Vec<_>>())
            .bind(subjects.iter().map(|row| row.1.2.as_slice()).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| row.0.uuid()).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| row.1.before).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| row.1.position).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| row.1.chain.as_slice()).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| Instant(row.1.recorded_at)).collect::<Vec<_>>())
            .bind(released.iter().map(|((organization, _), _)| organization.uuid()).collect::<Vec<_>>())
            .bind(released.iter().map(|((_, key), _)| key.scope.name()).collect::<Vec<_>>())
            .bind(released.iter().map(|((_, key), _)| key.hash.as_slice()).collect::<Vec<_>>())
            .bind(taken.iter().map(|((organization, _), _)| organization.uuid()).collect::<Vec<_>>())
            .bind(taken.iter().map(|((_, key), _)| key.scope.name()).collect::<Vec<_>>())
            .bind(taken.iter().map(|((_, key), _)| key.hash.as_slice()).collect::<Vec<_>>())
            .bind(taken.iter().map(|(_, owner)| owner.unwrap_or_default()).collect::<Vec<_>>())
            .fetch_all(&mut *connection)
            .await?;
        self.write_instance(connection).await?;
        Ok(moved.into_iter().map(OrganizationId).collect())
    }

    /// New organizations get a head and a key; tokens their credential.
    async fn write_instance(&self, connection: &mut PgConnection) -> Result<(), Failed> {
        for prepared in &self.accepted {
            for (organization, wrapped) in &prepared.new_organizations {
                sqlx::query(
                    "WITH head AS (INSERT INTO ledger.heads VALUES ($1, 0, $2, $3)) \
                     INSERT INTO ledger.organization_keys VALUES ($1, $4)",
                )
                .bind(organization.uuid())
                .bind(chain::genesis(*organization).as_slice())
                .bind(Instant(prepared.at))
                .bind(wrapped)
                .execute(&mut *connection)
                .await?;
            }
            for (stream, token) in &prepared.tokens {
                match token {
                    TokenEvent::TokenIssued {
                        token_id,
                        secret_sha256,
                        principal_id,
                        role,
                        organization_id,
                        agent_id,
                        tools,
                        max_affected,
                        expires_at,
                        holder: _,
                    } => {
                        sqlx::query(
                            "INSERT INTO ledger.credentials (token_id, secret_sha256, principal_id, role, \
                                 organization_id, agent_id, tools, expires_at, max_affected) \
                             VALUES ($1, decode($2, 'hex'), $3, $4, $5, $6, $7, $8, $9)",
                        )
                        .bind(token_id.uuid())
                        .bind(secret_sha256)
                        .bind(principal_id.uuid())
                        .bind(role.name())
                        .bind(organization_id.map(Uuid::from))
                        .bind(agent_id.map(Uuid::from))
                        .bind(tools)
                        .bind(expires_at.map(Instant))
                        .bind(max_affected.map(|max| i64::try_from(max).unwrap_or(i64::MAX)))
                        .execute(&mut *connection)
                        .await?;
                    }
                    TokenEvent::TokenRevoked {} => {
                        sqlx::query("UPDATE ledger.credentials SET revoked = true WHERE token_id = $1")
                            .bind(stream)
                            .execute(&mut *connection)
                            .await?;
                    }
                }
            }
        }
        Ok(())
    }
}
