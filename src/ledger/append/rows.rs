//! Everything that one transaction writes, and the one statement that writes it.
//!
//! Rows go in only for organizations whose head still stands where it was read, and their heads are moved by the same
//! statement. What is written beside the ledger, the heads and keys of new organizations and the credentials of tokens,
//! follows in the same transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use docket_aggregates::Timestamp;
use docket_aggregates::claims::ClaimKey;
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::token::TokenEvent;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Failed, Head};
use crate::ledger::chain::{self, Hash};
use crate::ledger::instant::Instant;
use crate::ledger::prepare::{Prepared, PreparedEvent, PreparedRequest};
use crate::ledger::stretch::Latest;

/// An answer to be kept, the position that it is about, and until when.
type RequestRow<'a> = (&'a Prepared, &'a PreparedRequest, i64, Timestamp);

/// Everything that one transaction writes.
#[derive(Default)]
pub(super) struct Rows<'a> {
    pub(super) touched: BTreeSet<OrganizationId>,
    pub(super) accepted: Vec<&'a Prepared>,
    pub(super) events: Vec<(&'a Prepared, &'a PreparedEvent, i64, Timestamp, Hash)>,
    /// Answers that are kept under names which nothing was kept under.
    pub(super) requests: Vec<RequestRow<'a>>,
    /// Those that may take the place of one that has expired.
    pub(super) renewed: Vec<RequestRow<'a>>,
    /// By organization, the position of the last event that may change a count.
    pub(super) counted: HashMap<OrganizationId, i64>,
    /// By organization, the last position of each type of event.
    pub(super) latest: HashMap<OrganizationId, Latest>,
    pub(super) claims: BTreeMap<(OrganizationId, &'a ClaimKey), Option<Uuid>>,
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
    SELECT * FROM unnest($38::uuid[], $39::bytea[], $40::bytea[], $41::uuid[], $42::bigint[], $43::bytea[], \
        $44::timestamptz[]) AS u(o, k, f, c, p, a, x) WHERE o IN (SELECT id FROM held)), \
renewed AS (INSERT INTO ledger.requests \
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
    /// The claims that are given up.
    pub(super) fn released(&self) -> Vec<(OrganizationId, ClaimKey)> {
        let released = self.claims.iter().filter(|(_, owner)| owner.is_none());
        released.map(|((organization, key), _)| (*organization, (*key).clone())).collect()
    }

    /// Writes what was accepted, and says whose head was moved: an organization that is not among them had its head
    /// moved or held by somebody else, and nothing of it was written.
    pub(super) async fn write(
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
        let (requests, renewed) = (RequestColumns::of(&self.requests), RequestColumns::of(&self.renewed));
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
            .bind(renewed.organizations)
            .bind(renewed.keys)
            .bind(renewed.fingerprints)
            .bind(renewed.commands)
            .bind(renewed.positions)
            .bind(renewed.answers)
            .bind(renewed.expiries)
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
            .bind(requests.organizations)
            .bind(requests.keys)
            .bind(requests.fingerprints)
            .bind(requests.commands)
            .bind(requests.positions)
            .bind(requests.answers)
            .bind(requests.expiries)
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

/// Answers to be kept, column by column.
struct RequestColumns<'a> {
    organizations: Vec<Uuid>,
    keys: Vec<&'a [u8]>,
    fingerprints: Vec<&'a [u8]>,
    commands: Vec<Uuid>,
    positions: Vec<i64>,
    answers: Vec<&'a [u8]>,
    expiries: Vec<Instant>,
}

impl<'a> RequestColumns<'a> {
    fn of(rows: &'a [RequestRow<'a>]) -> Self {
        Self {
            organizations: rows.iter().map(|row| row.0.organization.uuid()).collect(),
            keys: rows.iter().map(|row| row.1.key_hash.as_slice()).collect(),
            fingerprints: rows.iter().map(|row| row.1.fingerprint.as_slice()).collect(),
            commands: rows.iter().map(|row| row.0.id.uuid()).collect(),
            positions: rows.iter().map(|row| row.2).collect(),
            answers: rows.iter().map(|row| row.1.answer.as_slice()).collect(),
            expiries: rows.iter().map(|row| Instant(row.3)).collect(),
        }
    }
}
