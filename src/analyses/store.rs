//! Finished analyses as they are kept.
//!
//! A part is some hundred groups in JSON; the server compresses it. An organization keeps a few analyses; the oldest gives way.

use docket_aggregates::Timestamp;
use docket_aggregates::ids::OrganizationId;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool, Row};
use uuid::Uuid;

use crate::deduplication::{Action, Group, MatchOn, RecordKey, Summary};
use crate::ledger::instant::Instant;

/// How long an analysis is kept.
const KEPT_MILLIS: i64 = 24 * 60 * 60 * 1_000;
/// Analyses that an organization keeps.
const KEPT: i64 = 16;
/// Groups in a part.
pub(super) const GROUPS_IN_PART: u32 = 1_000;
/// Rows and contacts of a group that are kept; the others are counted.
const MEMBERS_KEPT: usize = 100;

/// What was analysed and what came of it, without the groups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Counts of rows.
    pub summary: Summary,
    /// How many groups there are.
    pub groups: u32,
    /// The position of the log up to which contacts are included.
    pub position: i64,
    /// Of a folder: where its staged chunks begin, as sequence in its stream and number of the first row.
    pub chunks: Vec<(u64, u32)>,
    /// Some rows without a usable value.
    pub invalid: Vec<Fault>,
    /// Some rows with an unreadable value beside a usable one.
    pub warnings: Vec<Fault>,
}

/// A row, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Its number, from 0; none for a row that was no contact from the beginning.
    pub row: Option<u32>,
    /// Of a row of a folder: its line in the file.
    pub line: Option<u64>,
    /// One sentence for each thing.
    pub errors: Vec<String>,
}

/// A group as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredGroup {
    /// Its id, in hexadecimal.
    #[serde(rename = "i")]
    pub id: String,
    /// How likely its members are one.
    #[serde(rename = "c")]
    pub confidence: f64,
    /// By what they agree.
    #[serde(rename = "m")]
    pub matched_on: Vec<MatchOn>,
    /// What to do.
    #[serde(rename = "a")]
    pub action: Action,
    /// Its first members, rows before contacts.
    #[serde(rename = "r")]
    pub members: Vec<RecordKey>,
    /// How many members it has.
    #[serde(rename = "n")]
    pub count: u32,
    /// Records that are near.
    #[serde(rename = "x", default, skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<RecordKey>,
}

impl From<Group> for StoredGroup {
    fn from(group: Group) -> Self {
        let count = u32::try_from(group.members.len()).unwrap_or(u32::MAX);
        // The contact is what a reader looks for: a thousand rows do not push it out.
        let contacts = group.members.partition_point(|member| matches!(member, RecordKey::Row(_)));
        let mut members = group.members;
        if members.len() > MEMBERS_KEPT {
            let found: Vec<RecordKey> = members[contacts..].iter().copied().take(MEMBERS_KEPT / 2).collect();
            members.truncate(contacts.min(MEMBERS_KEPT - found.len()));
            members.extend(found);
        }
        Self {
            id: group.group_id.to_string(),
            confidence: group.confidence,
            matched_on: group.matched_on,
            action: group.suggested_action,
            members,
            count,
            near: group.near,
        }
    }
}

/// Writes one part of groups.
pub(super) async fn write_part(
    pool: &PgPool,
    organization: OrganizationId,
    id: Uuid,
    part: i32,
    body: &[u8],
    now: Timestamp,
) -> sqlx::Result<()> {
    insert(pool, organization, (id, part), None, body, now).await
}

/// Writes the header, by which the analysis comes into being, and lets go of what is too old.
pub(super) async fn finish(
    pool: &PgPool,
    organization: OrganizationId,
    id: Uuid,
    fingerprint: &[u8; 32],
    position: i64,
    header: &[u8],
    now: Timestamp,
) -> sqlx::Result<()> {
    insert(pool, organization, (id, 0), Some((fingerprint, position)), header, now).await?;
    // This one is kept, whatever was finished in the same millisecond.
    sqlx::query(
        "DELETE FROM ledger.analyses WHERE organization_id = $1 AND analysis_id = ANY(ARRAY( \
             SELECT analysis_id FROM ledger.analyses WHERE organization_id = $1 AND part = 0 \
             ORDER BY analysis_id = $3 DESC, finished_at DESC, position DESC, analysis_id OFFSET $2))",
    )
    .bind(organization.uuid())
    .bind(KEPT)
    .bind(id)
    .execute(pool)
    .await?;
    Ok(())
}

async fn insert(
    pool: &PgPool,
    organization: OrganizationId,
    (id, part): (Uuid, i32),
    of: Option<(&[u8; 32], i64)>,
    body: &[u8],
    now: Timestamp,
) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO ledger.analyses VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
        .bind(organization.uuid())
        .bind(id)
        .bind(part)
        .bind(of.map(|(fingerprint, _)| fingerprint.as_slice()))
        .bind(of.map(|(_, position)| position))
        .bind(body)
        .bind(Instant(now))
        .bind(Instant(now.plus_millis(KEPT_MILLIS)))
        .execute(pool)
        .await?;
    Ok(())
}

/// The newest analysis of this input, and when it was finished.
pub async fn find(
    pool: &PgPool,
    organization: OrganizationId,
    fingerprint: &[u8; 32],
    now: Timestamp,
) -> sqlx::Result<Option<(Uuid, Header, Timestamp)>> {
    let row = sqlx::query(
        "SELECT analysis_id, body, finished_at FROM ledger.analyses \
         WHERE organization_id = $1 AND fingerprint = $2 AND part = 0 AND expires_at > $3 \
         ORDER BY position DESC, finished_at DESC, analysis_id LIMIT 1",
    )
    .bind(organization.uuid())
    .bind(fingerprint.as_slice())
    .bind(Instant(now))
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some((row.try_get(0)?, decoded(row.try_get(1)?)?, row.try_get::<Instant, _>(2)?.0)))
}

/// What an analysis came to; none if it is not kept any more.
pub async fn header(
    pool: &PgPool,
    organization: OrganizationId,
    id: Uuid,
    now: Timestamp,
) -> sqlx::Result<Option<Header>> {
    let body: Option<Vec<u8>> = sqlx::query_scalar(
        "SELECT body FROM ledger.analyses \
         WHERE organization_id = $1 AND analysis_id = $2 AND part = 0 AND expires_at > $3",
    )
    .bind(organization.uuid())
    .bind(id)
    .bind(Instant(now))
    .fetch_optional(pool)
    .await?;
    body.map(|body| decoded(&body)).transpose()
}

/// `limit` groups from the group number `from` on.
pub async fn groups(
    connection: &mut PgConnection,
    organization: OrganizationId,
    id: Uuid,
    from: u32,
    limit: u32,
) -> sqlx::Result<Vec<StoredGroup>> {
    let part = |group: u32| i32::try_from(group / GROUPS_IN_PART).unwrap_or(i32::MAX - 1) + 1;
    let bodies: Vec<Vec<u8>> = sqlx::query_scalar(
        "SELECT body FROM ledger.analyses WHERE organization_id = $1 AND analysis_id = $2 \
         AND part BETWEEN $3 AND $4 ORDER BY part",
    )
    .bind(organization.uuid())
    .bind(id)
    .bind(part(from))
    .bind(part(from.saturating_add(limit.max(1) - 1)))
    .fetch_all(connection)
    .await?;
    let mut groups = Vec::new();
    for body in bodies {
        groups.extend(decoded::<Vec<StoredGroup>>(&body)?);
    }
    let start = groups.len().min((from % GROUPS_IN_PART) as usize);
    Ok(groups.drain(start..).take(limit as usize).collect())
}

fn decoded<T: serde::de::DeserializeOwned>(body: &[u8]) -> sqlx::Result<T> {
    serde_json::from_slice(body).map_err(|error| sqlx::Error::Decode(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deduplication::{Options, Record, analyse};

    fn kept(rows: u32, contacts: u128) -> StoredGroup {
        let same = |key| Record { email: Some("ann@x.com".into()), ..Record::empty(key) };
        let rows: Vec<Record> = (0..rows).map(|row| same(RecordKey::Row(row))).collect();
        let contacts: Vec<Record> =
            (0..contacts).map(|id| same(RecordKey::Contact(Uuid::from_u128(id)))).collect();
        let analysis = analyse(&rows, &contacts, &Options::new("FR".parse().unwrap()));
        analysis.groups.into_iter().next().unwrap().into()
    }

    #[test]
    fn a_large_group_is_kept_short_and_its_contacts_with_it() {
        let of = |group: &StoredGroup| {
            let rows = group.members.iter().filter(|member| matches!(member, RecordKey::Row(_))).count();
            (rows, group.members.len() - rows, group.count)
        };
        for (rows, contacts, expected) in [
            (1, 0, (1, 0, 1)),
            (99, 1, (99, 1, 100)),
            (1_000, 2, (98, 2, 1_002)),
            (1_000, 80, (50, 50, 1_080)),
            (3, 200, (3, 50, 203)),
        ] {
            assert_eq!(of(&kept(rows, contacts)), expected);
        }
    }

    #[test]
    fn a_group_survives_its_stored_form() {
        let group = kept(2, 1);
        let body = serde_json::to_vec(&[&group]).unwrap();
        assert_eq!(decoded::<Vec<StoredGroup>>(&body).unwrap(), [group]);
        assert!(decoded::<Header>(b"{}").is_err());
    }
}
