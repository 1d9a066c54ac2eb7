//! The append: the one place where history is made.
//!
//! One task per lane writes a batch in one transaction: it locks the heads in order, then reads versions, claims
//! and requests **in a new statement** (a statement that waited for a lock still sees what was true before the
//! wait), judges each command, inserts what is accepted and moves the heads. One command's conflict never fails
//! its neighbours. An organization whose head is held by another process is passed over and tried again.
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

/// A held head.
struct Head {
    position: i64,
    chain: Hash,
    recorded_at: Timestamp,
}

/// What the judgement of one command was.
enum Verdict {
    Accepted(Appended),
    Refused(Refusal),
    Busy,
}

impl Appender {
    /// Serves the lane until its queue is closed and empty.
    pub async fn run(self) {
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
                let wait = batch.iter().any(|waiting| waiting.passes >= BUSY_PASSES);
                let attempt = self.attempt(connection, &batch, wait);
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
        wait: bool,
    ) -> Result<Vec<Verdict>, Failed> {
        let open = match connection.take() {
            Some(open) => open,
            None => PgConnection::connect_with(&self.options).await.map_err(Failed::Lost)?,
        };
        // Taken out while it works: if this future is dropped half-way, so is the connection, and with it the
        // transaction.
        let mut open = open;
        let result = self.transaction(&mut open, batch, wait).await;
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
        wait: bool,
    ) -> Result<Vec<Verdict>, Failed> {
        connection.execute("BEGIN").await?;
        let heads = lock_heads(connection, batch, wait).await?;
        let known = Known::read(connection, batch).await?;
        let mut judge = Judge { heads, known, rows: Rows::default(), now: self.clock.now() };
        let mut verdicts = Vec::with_capacity(batch.len());
        for waiting in batch {
            verdicts.push(judge.judge(&waiting.prepared));
        }
        let Judge { heads, rows, .. } = judge;
        let touched = rows.touched.clone();
        if touched.is_empty() {
            connection.execute("ROLLBACK").await?;
            return Ok(verdicts);
        }
        rows.write(connection, &heads).await?;
        connection.execute("COMMIT").await?;
        self.heads.moved(touched.into_iter().filter_map(|id| Some((id, heads.get(&id)?.position))));
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

async fn lock_heads(
    connection: &mut PgConnection,
    batch: &[Waiting],
    wait: bool,
) -> Result<HashMap<OrganizationId, Head>, Failed> {
    let organizations: BTreeSet<Uuid> =
        batch.iter().map(|waiting| waiting.prepared.organization.uuid()).collect();
    let organizations: Vec<Uuid> = organizations.into_iter().collect();
    let statement = if wait {
        "SELECT organization_id, position, chain, recorded_at FROM ledger.heads \
         WHERE organization_id = ANY($1) ORDER BY organization_id FOR UPDATE"
    } else {
        "SELECT organization_id, position, chain, recorded_at FROM ledger.heads \
         WHERE organization_id = ANY($1) ORDER BY organization_id FOR UPDATE SKIP LOCKED"
    };
    let rows = sqlx::query(statement).bind(&organizations).fetch_all(connection).await?;
    let mut heads = HashMap::with_capacity(rows.len());
    for row in rows {
        heads.insert(
            OrganizationId(row.try_get(0)?),
            Head {
                position: row.try_get(1)?,
                chain: hash(&row, 2)?,
                recorded_at: row.try_get::<Instant, _>(3)?.0,
            },
        );
    }
    Ok(heads)
}

fn hash(row: &PgRow, column: usize) -> Result<Hash, sqlx::Error> {
    row.try_get::<&[u8], _>(column)?
        .try_into()
        .map_err(|_| sqlx::Error::Decode("a hash of another length than 32 bytes".into()))
}

type VersionKey = (OrganizationId, Stream);

/// What the database holds of everything that a batch looks at, read after the heads were locked.
#[derive(Default)]
struct Known {
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

// `position + 0` keeps the planner from reading the whole ledger backwards in search of the largest position,
// which it takes for cheap while the table has no statistics: 900 instead of 15 000 commands a second were seen.
const VERSIONS_AND_COMMANDS: &str = "\
SELECT 0, t.i, v.sequence, NULL::uuid, NULL::bytea, NULL::bytea, NULL::timestamptz \
FROM unnest($1::uuid[], $2::text[], $3::text[]) WITH ORDINALITY AS t(organization_id, aggregate_type, aggregate_id, i) \
CROSS JOIN LATERAL (SELECT e.sequence FROM ledger.events e WHERE e.organization_id = t.organization_id \
    AND e.aggregate_type = t.aggregate_type AND e.aggregate_id = t.aggregate_id \
    ORDER BY e.sequence DESC LIMIT 1) v \
UNION ALL \
SELECT 1, t.i, e.position, NULL, NULL, NULL, NULL \
FROM unnest($4::uuid[], $5::uuid[]) WITH ORDINALITY AS t(organization_id, command_id, i) \
CROSS JOIN LATERAL (SELECT max(e.position + 0) AS position FROM ledger.events e \
    WHERE e.organization_id = t.organization_id AND e.command_id = t.command_id) e WHERE e.position IS NOT NULL";

const CLAIMS: &str = "\
UNION ALL \
SELECT 2, t.i, NULL, c.owner, NULL, NULL, NULL \
FROM unnest($6::uuid[], $7::text[], $8::bytea[]) WITH ORDINALITY AS t(organization_id, scope, key_hash, i) \
JOIN ledger.claims c USING (organization_id, scope, key_hash) \
UNION ALL \
SELECT 3, t.i, r.position, r.command_id, r.fingerprint, r.answer, r.expires_at \
FROM unnest($9::uuid[], $10::bytea[]) WITH ORDINALITY AS t(organization_id, key_hash, i) \
JOIN ledger.requests r USING (organization_id, key_hash) \
UNION ALL \
SELECT 4, t.i, NULL, NULL, NULL, NULL, NULL \
FROM unnest($11::uuid[], $12::uuid[]) WITH ORDINALITY AS t(organization_id, subject_id, i) \
JOIN ledger.subject_keys s USING (organization_id, subject_id)";

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

        let more = !(claims.is_empty() && requests.is_empty() && subjects.is_empty());
        let statement = if more { WITH_CLAIMS.as_str() } else { VERSIONS_AND_COMMANDS };
        let mut query = sqlx::query(statement)
            .bind(streams.iter().map(|(organization, _)| organization.uuid()).collect::<Vec<_>>())
            .bind(streams.iter().map(|(_, stream)| stream.aggregate_type).collect::<Vec<_>>())
            .bind(ids)
            .bind(commands.iter().map(|(organization, _)| organization.uuid()).collect::<Vec<_>>())
            .bind(commands.iter().map(|(_, id)| *id).collect::<Vec<_>>());
        if more {
            query = query
                .bind(claims.iter().map(|(organization, _)| organization.uuid()).collect::<Vec<_>>())
                .bind(claims.iter().map(|(_, key)| key.scope.name()).collect::<Vec<_>>())
                .bind(claims.iter().map(|(_, key)| key.hash.as_slice()).collect::<Vec<_>>())
                .bind(requests.iter().map(|(organization, _)| organization.uuid()).collect::<Vec<_>>())
                .bind(requests.iter().map(|(_, key)| key.as_slice()).collect::<Vec<_>>())
                .bind(subjects.iter().map(|(organization, _)| organization.uuid()).collect::<Vec<_>>())
                .bind(subjects.iter().map(|(_, id)| *id).collect::<Vec<_>>());
        }
        let mut known = Self::default();
        for row in query.fetch_all(connection).await? {
            let kind: i32 = row.try_get(0)?;
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
                _ => {
                    known.subjects.insert(*subjects.get(index).ok_or_else(out_of_range)?);
                }
            }
        }
        Ok(known)
    }
}

static WITH_CLAIMS: std::sync::LazyLock<String> =
    std::sync::LazyLock::new(|| format!("{VERSIONS_AND_COMMANDS} {CLAIMS}"));

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
        for change in &prepared.claims {
            if let ClaimChange::Take(key, by) = change
                && owner(key).is_some_and(|owner| owner != *by)
            {
                return Verdict::Refused(Refusal::Error(AppendError::Taken(key.scope)));
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
        if let Some(request) = &prepared.request {
            let expires_at = self.now.plus_millis(REQUEST_KEPT_MILLIS);
            self.rows.requests.push((prepared, head.position, expires_at));
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
    requests: Vec<(&'a Prepared, i64, Timestamp)>,
    claims: BTreeMap<(OrganizationId, &'a ClaimKey), Option<Uuid>>,
}

const WRITE: &str = "\
WITH events AS (INSERT INTO ledger.events (organization_id, position, event_id, command_id, aggregate_type, \
        aggregate_id, sequence, event_type, event_version, payload, metadata, occurred_at, recorded_at, leaf, chain) \
    SELECT o, p, e, c, t, i, s, et, ev, pl::jsonb, md::jsonb, oc, rc, l, ch \
    FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::bigint[], $8::text[], \
        $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::timestamptz[], $14::bytea[], $15::bytea[]) \
        AS u(o, p, e, c, t, i, s, et, ev, pl, md, oc, rc, l, ch)), \
requests AS (INSERT INTO ledger.requests \
    SELECT * FROM unnest($16::uuid[], $17::bytea[], $18::bytea[], $19::uuid[], $20::bigint[], $21::bytea[], \
        $22::timestamptz[]) \
    ON CONFLICT (organization_id, key_hash) DO UPDATE SET fingerprint = excluded.fingerprint, \
        command_id = excluded.command_id, position = excluded.position, answer = excluded.answer, \
        expires_at = excluded.expires_at), \
subjects AS (INSERT INTO ledger.subject_keys SELECT * FROM unnest($23::uuid[], $24::uuid[], $25::bytea[])) \
UPDATE ledger.heads SET position = u.p, chain = u.c, recorded_at = u.r \
FROM unnest($26::uuid[], $27::bigint[], $28::bytea[], $29::timestamptz[]) AS u(o, p, c, r) \
WHERE organization_id = u.o";

impl Rows<'_> {
    async fn write(
        self,
        connection: &mut PgConnection,
        heads: &HashMap<OrganizationId, Head>,
    ) -> Result<(), Failed> {
        let events = &self.events;
        let subjects: Vec<_> = self
            .accepted
            .iter()
            .flat_map(|prepared| prepared.new_subjects.iter().map(|key| (prepared.organization, key)))
            .collect();
        let moved: Vec<_> = self.touched.iter().filter_map(|id| Some((id, heads.get(id)?))).collect();
        let requests: Vec<_> = self
            .requests
            .iter()
            .filter_map(|(prepared, position, expires)| {
                Some((*prepared, prepared.request.as_ref()?, *position, *expires))
            })
            .collect();
        sqlx::query(WRITE)
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
            .bind(moved.iter().map(|row| row.1.position).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| row.1.chain.as_slice()).collect::<Vec<_>>())
            .bind(moved.iter().map(|row| Instant(row.1.recorded_at)).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
        self.write_claims(connection).await?;
        self.write_instance(connection).await
    }

    async fn write_claims(&self, connection: &mut PgConnection) -> Result<(), Failed> {
        if self.claims.is_empty() {
            return Ok(());
        }
        let (taken, released): (Vec<_>, Vec<_>) = self.claims.iter().partition(|(_, owner)| owner.is_some());
        if !released.is_empty() {
            sqlx::query(
                "DELETE FROM ledger.claims USING unnest($1::uuid[], $2::text[], $3::bytea[]) AS u(o, s, k) \
                 WHERE organization_id = u.o AND scope = u.s AND key_hash = u.k",
            )
            .bind(released.iter().map(|((organization, _), _)| organization.uuid()).collect::<Vec<_>>())
            .bind(released.iter().map(|((_, key), _)| key.scope.name()).collect::<Vec<_>>())
            .bind(released.iter().map(|((_, key), _)| key.hash.as_slice()).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
        }
        if !taken.is_empty() {
            sqlx::query(
                "INSERT INTO ledger.claims SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::uuid[]) \
                 ON CONFLICT (organization_id, scope, key_hash) DO UPDATE SET owner = excluded.owner",
            )
            .bind(taken.iter().map(|((organization, _), _)| organization.uuid()).collect::<Vec<_>>())
            .bind(taken.iter().map(|((_, key), _)| key.scope.name()).collect::<Vec<_>>())
            .bind(taken.iter().map(|((_, key), _)| key.hash.as_slice()).collect::<Vec<_>>())
            .bind(taken.iter().map(|(_, owner)| owner.unwrap_or_default()).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
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
