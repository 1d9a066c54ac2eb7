//! What the database holds of everything that a batch looks at, read by one statement in one snapshot.

use std::collections::{BTreeSet, HashMap};

use docket_aggregates::Timestamp;
use docket_aggregates::claims::{ClaimChange, ClaimKey};
use docket_aggregates::ids::OrganizationId;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::{Failed, Head, organizations_of};
use crate::ledger::chain::Hash;
use crate::ledger::command::Stream;
use crate::ledger::instant::Instant;
use crate::ledger::queue::Waiting;

fn hash(row: &PgRow, column: usize) -> Result<Hash, sqlx::Error> {
    row.try_get::<&[u8], _>(column)?
        .try_into()
        .map_err(|_| sqlx::Error::Decode("a hash of another length than 32 bytes".into()))
}

type VersionKey = (OrganizationId, Stream);

/// What the database holds of everything that a batch looks at, read in one snapshot.
#[derive(Default)]
pub(super) struct Known {
    pub(super) heads: HashMap<OrganizationId, Head>,
    pub(super) versions: HashMap<VersionKey, u64>,
    /// The commands of the batch that were accepted so far. What was recorded before is asked for apart: see [`recorded`].
    pub(super) commands: HashMap<(OrganizationId, Uuid), i64>,
    pub(super) claims: HashMap<(OrganizationId, ClaimKey), Uuid>,
    pub(super) requests: HashMap<(OrganizationId, [u8; 32]), StoredRequest>,
    pub(super) subjects: BTreeSet<(OrganizationId, Uuid)>,
}

/// What was known when a batch had been written: what was read for it, and what it did.
pub(super) struct Judged {
    pub(super) known: Known,
    pub(super) heads: HashMap<OrganizationId, Head>,
    /// The organizations whose commands were written.
    pub(super) moved: BTreeSet<OrganizationId>,
    /// Claims that were given up, and may have been taken again.
    pub(super) released: Vec<(OrganizationId, ClaimKey)>,
}

pub(super) struct StoredRequest {
    pub(super) fingerprint: Vec<u8>,
    pub(super) command_id: Uuid,
    pub(super) position: i64,
    pub(super) answer: Vec<u8>,
    pub(super) expires_at: Timestamp,
}

// Each of them asks by index, once per key: joined in the usual way, a table without statistics is read whole. The plan is
// made when a connection asks for the first time, perhaps of an empty table, and kept. Any index that begins with the
// organization looks as good as the key then: so what has more than one is asked in the order of the key that is meant,
// where sorting is not allowed. 300 ms instead of 1 ms for a batch were seen otherwise.
const KNOWN: &str = "\
SELECT 4, 0::bigint, position, organization_id, chain, NULL::bytea, recorded_at \
FROM ledger.heads WHERE organization_id = ANY($11) \
UNION ALL \
SELECT 0, t.i, v.sequence, NULL, NULL, NULL, NULL \
FROM unnest($1::uuid[], $2::text[], $3::text[]) WITH ORDINALITY AS t(organization_id, aggregate_type, aggregate_id, i) \
CROSS JOIN LATERAL (SELECT e.sequence FROM ledger.events e WHERE e.organization_id = t.organization_id \
    AND e.aggregate_type = t.aggregate_type AND e.aggregate_id = t.aggregate_id \
    ORDER BY e.sequence DESC LIMIT 1) v \
UNION ALL \
SELECT 1, t.i, NULL, c.owner, NULL, NULL, NULL \
FROM unnest($4::uuid[], $5::text[], $6::bytea[]) WITH ORDINALITY AS t(organization_id, scope, key_hash, i) \
CROSS JOIN LATERAL (SELECT owner FROM ledger.claims c WHERE c.organization_id = t.organization_id \
    AND c.scope = t.scope AND c.key_hash = t.key_hash LIMIT 1) c \
UNION ALL \
SELECT 2, t.i, r.position, r.command_id, r.fingerprint, r.answer, r.expires_at \
FROM unnest($7::uuid[], $8::bytea[]) WITH ORDINALITY AS t(organization_id, key_hash, i) \
CROSS JOIN LATERAL (SELECT * FROM ledger.requests r WHERE r.organization_id = t.organization_id \
    AND r.key_hash BETWEEN t.key_hash AND t.key_hash ORDER BY r.key_hash LIMIT 1) r \
UNION ALL \
SELECT 3, t.i, NULL, NULL, NULL, NULL, NULL \
FROM unnest($9::uuid[], $10::uuid[]) WITH ORDINALITY AS t(organization_id, subject_id, i) \
CROSS JOIN LATERAL (SELECT FROM ledger.subject_keys s WHERE s.organization_id = t.organization_id \
    AND s.subject_id = t.subject_id LIMIT 1) s";

impl Known {
    pub(super) async fn read(connection: &mut PgConnection, batch: &[Waiting]) -> Result<Self, Failed> {
        let mut streams = BTreeSet::new();
        let mut claims = BTreeSet::new();
        let mut requests = Vec::new();
        let mut subjects = Vec::new();
        for Waiting { prepared, .. } in batch {
            let organization = prepared.organization;
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
                    let key = claims.get(index).ok_or_else(out_of_range)?.clone();
                    known.claims.insert(key, row.try_get(3)?);
                }
                2 => {
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
                3 => {
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

    /// The same after a batch that was being written while this was read. An organization that this shows where the batch
    /// found it stands now where the batch left it: nobody but the batch has moved its head from there.
    pub(super) fn after(mut self, batch: Judged) -> Self {
        let Judged { known, heads, moved, released } = batch;
        let mut missed = BTreeSet::new();
        for organization in moved {
            if let Some(seen) = self.heads.get_mut(&organization)
                && let Some(head) = heads.get(&organization)
                && seen.position == head.before
            {
                *seen = Head { before: head.position, ..*head };
                missed.insert(organization);
            }
        }
        let missed = |organization: &OrganizationId| missed.contains(organization);
        self.versions.extend(known.versions.into_iter().filter(|((id, _), _)| missed(id)));
        self.commands.extend(known.commands.into_iter().filter(|((id, _), _)| missed(id)));
        self.requests.extend(known.requests.into_iter().filter(|((id, _), _)| missed(id)));
        self.subjects.extend(known.subjects.into_iter().filter(|(id, _)| missed(id)));
        for claim in released.iter().filter(|(id, _)| missed(id)) {
            self.claims.remove(claim);
        }
        self.claims.extend(known.claims.into_iter().filter(|((id, _), _)| missed(id)));
        self
    }
}

/// Which of these commands were recorded before, and up to which position. It need not be asked of a command that can be
/// accepted: one that was recorded has moved a stream that it expects where it was.
pub(super) async fn recorded(
    connection: &mut PgConnection,
    commands: &[(OrganizationId, Uuid)],
) -> Result<HashMap<(OrganizationId, Uuid), i64>, Failed> {
    // The inner order keeps the planner from any index but that of the commands, as above.
    let rows = sqlx::query(
        "SELECT t.i, e.position FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS t(organization_id, command_id, i) \
         CROSS JOIN LATERAL (SELECT max(c.position) AS position FROM ( \
             SELECT e.position FROM ledger.events e WHERE e.organization_id = t.organization_id \
                 AND e.command_id BETWEEN t.command_id AND t.command_id ORDER BY e.command_id) c) e \
         WHERE e.position IS NOT NULL",
    )
    .bind(commands.iter().map(|(organization, _)| organization.uuid()).collect::<Vec<_>>())
    .bind(commands.iter().map(|(_, id)| *id).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    let mut found = HashMap::new();
    for row in rows {
        let index = usize::try_from(row.try_get::<i64, _>(0)? - 1).unwrap_or(usize::MAX);
        let out_of_range = || sqlx::Error::Decode("an index that was not asked for".into());
        found.insert(*commands.get(index).ok_or_else(out_of_range)?, row.try_get(1)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use docket_aggregates::claims::Scope;

    use super::*;

    fn stored(position: i64) -> StoredRequest {
        StoredRequest {
            fingerprint: vec![],
            command_id: Uuid::nil(),
            position,
            answer: vec![],
            expires_at: Timestamp::MIN,
        }
    }

    /// A state of two organizations that were read at the same position, with a number in each of its values.
    fn state(n: u8) -> Known {
        let mut known = Known::default();
        for id in [1, 2].map(|id| OrganizationId(Uuid::from_u128(id))) {
            let stream = Stream { aggregate_type: "test", id: Uuid::nil() };
            let claim = ClaimKey::new(Scope::Slug, "changes hands");
            let head = Head { before: 7, position: 7, chain: [0; 32], recorded_at: Timestamp::MIN };
            known.heads.insert(id, head);
            known.versions.insert((id, stream), n.into());
            known.commands.insert((id, Uuid::from_u128(n.into())), 8);
            known.claims.insert((id, claim), Uuid::from_u128(n.into()));
            known.requests.insert((id, [n; 32]), stored(n.into()));
            known.subjects.insert((id, Uuid::from_u128(n.into())));
        }
        known
    }

    #[test]
    fn what_was_being_written_is_added_where_it_was_missed_and_nowhere_else() {
        let [missed, unmoved] = [1, 2].map(|id| OrganizationId(Uuid::from_u128(id)));
        let given_up = ClaimKey::new(Scope::Slug, "given up");
        let mut read = state(1);
        for id in [missed, unmoved] {
            read.claims.insert((id, given_up.clone()), Uuid::nil());
        }
        let written = state(2);
        let mut heads = written.heads.clone();
        for head in heads.values_mut() {
            head.position = 9;
            head.chain = [9; 32];
        }
        let released = [missed, unmoved].map(|id| (id, given_up.clone())).to_vec();
        let judged = || Judged {
            known: state(2),
            heads: heads.clone(),
            moved: BTreeSet::from([missed]),
            released: released.clone(),
        };

        let after = read.after(judged());
        for (id, n, position, chain) in [(missed, 2_u8, 9, [9; 32]), (unmoved, 1, 7, [0; 32])] {
            let head = after.heads[&id];
            assert_eq!((head.before, head.position, head.chain), (position, position, chain));
            assert_eq!(after.versions.iter().find(|((of, _), _)| *of == id).unwrap().1, &u64::from(n));
            let owner = after.claims[&(id, ClaimKey::new(Scope::Slug, "changes hands"))];
            assert_eq!(owner, Uuid::from_u128(n.into()));
            assert_eq!(after.claims.contains_key(&(id, given_up.clone())), n == 1);
            assert_eq!(after.requests.contains_key(&(id, [2; 32])), n == 2);
            assert_eq!(after.subjects.contains(&(id, Uuid::from_u128(2))), n == 2);
            assert_eq!(after.commands.contains_key(&(id, Uuid::from_u128(2))), n == 2);
        }

        // What was read later than that, or of another time, stands as it was read.
        for position in [6, 8, 9, 12] {
            let mut read = state(1);
            read.heads.get_mut(&missed).unwrap().position = position;
            let after = read.after(judged());
            assert_eq!(after.heads[&missed].position, position);
            assert_eq!(after.versions.values().copied().collect::<Vec<_>>(), [1, 1]);
        }
    }
}
