//! One row per contact in a campaign: where it stands, whose it is, what was tried.
//!
//! What a batch of events makes of these rows is planned in `stays.rs`, which is pure. When the contact is next to
//! be called is not stored here: it is the earliest pending follow-up, and is read from there.

use std::collections::HashMap;

use docket_aggregates::Timestamp;
use docket_aggregates::ids::{AgentId, CampaignId, ContactId, ImportId, OrganizationId};
use docket_aggregates::membership::MembershipStatus;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Postgres, QueryBuilder, Row};
use uuid::Uuid;

use crate::ReadModel;
use crate::columns::{At, Columns, signed, unreadable, uuids};
use crate::copy::Copy;

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "memberships", tables: &["memberships"] };

/// Where a contact came from when it was first known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactSource {
    /// It was entered one by one.
    #[default]
    Crm,
    /// It came in a file.
    ImportFolder,
}

impl ContactSource {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Crm, Self::ImportFolder];

    /// The name that the API uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crm => "crm",
            Self::ImportFolder => "import_folder",
        }
    }

    pub(crate) const fn imported(self) -> bool {
        matches!(self, Self::ImportFolder)
    }

    pub(crate) const fn of(imported: bool) -> Self {
        if imported { Self::ImportFolder } else { Self::Crm }
    }

    pub(crate) fn column(row: &PgRow, column: &str) -> sqlx::Result<Self> {
        row.try_get(column).map(Self::of)
    }
}

/// The number that a status is stored as. A change here needs a higher `FOLD_VERSION`.
pub(crate) const fn status_code(status: MembershipStatus) -> i16 {
    match status {
        MembershipStatus::New => 0,
        MembershipStatus::Assigned => 1,
        MembershipStatus::InProgress => 2,
        MembershipStatus::FollowUp => 3,
        MembershipStatus::Qualified => 4,
        MembershipStatus::NotInterested => 5,
        MembershipStatus::Unreachable => 6,
        MembershipStatus::DoNotContact => 7,
        MembershipStatus::Done => 8,
    }
}

pub(crate) fn status_column(row: &PgRow, column: &str) -> sqlx::Result<MembershipStatus> {
    let code: i16 = row.try_get(column)?;
    MembershipStatus::ALL
        .into_iter()
        .find(|status| status_code(*status) == code)
        .ok_or_else(|| unreadable(column))
}

pub(crate) fn status_codes(statuses: &[MembershipStatus]) -> Vec<i16> {
    statuses.iter().map(|status| status_code(*status)).collect()
}

/// A contact in a campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipRow {
    /// The campaign.
    pub campaign_id: CampaignId,
    /// The contact.
    pub contact_id: ContactId,
    /// Where it stands.
    pub status: MembershipStatus,
    /// Whose it is.
    pub agent_id: Option<AgentId>,
    /// Calls of this stay.
    pub attempts: u32,
    /// When the latest call of this stay began.
    pub last_call_at: Option<Timestamp>,
    /// When the earliest pending follow-up of this contact in this campaign is due.
    pub next_follow_up_at: Option<Timestamp>,
    /// Sequence of the roster event that put the contact in.
    pub epoch: u64,
    /// When that was decided.
    pub added_at: Timestamp,
    /// Where the contact came from.
    pub source: ContactSource,
}

/// The columns of a [`MembershipRow`] of the table `m`.
pub(crate) const COLUMNS: &str =
    "m.campaign_id, m.contact_id, m.status, m.agent_id, m.attempts, m.last_call_at, m.epoch, m.added_at, m.imported,
     (SELECT min(f.due_at) FROM follow_ups f
      WHERE f.organization_id = m.organization_id AND f.contact_id = m.contact_id
        AND f.campaign_id = m.campaign_id AND f.status = 'pending') AS next_follow_up_at";

pub(crate) fn row(row: &PgRow) -> sqlx::Result<MembershipRow> {
    Ok(MembershipRow {
        campaign_id: row.id("campaign_id")?,
        contact_id: row.id("contact_id")?,
        status: status_column(row, "status")?,
        agent_id: row.id_opt("agent_id")?,
        attempts: row.try_get::<i32, _>("attempts")?.max(0).cast_unsigned(),
        last_call_at: row.at_opt("last_call_at")?,
        next_follow_up_at: row.at_opt("next_follow_up_at")?,
        epoch: row.count("epoch")?,
        added_at: row.at("added_at")?,
        source: ContactSource::column(row, "imported")?,
    })
}

/// One contact in one campaign; none if it is not in it.
pub async fn get(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaign: CampaignId,
    contact: ContactId,
) -> sqlx::Result<Option<MembershipRow>> {
    let found = sqlx::query(&format!(
        "SELECT {COLUMNS} FROM memberships m
         WHERE m.organization_id = $1 AND m.campaign_id = $2 AND m.contact_id = $3"
    ))
    .bind(organization.uuid())
    .bind(campaign.uuid())
    .bind(contact.uuid())
    .fetch_optional(conn)
    .await?;
    found.as_ref().map(row).transpose()
}

/// The memberships of some contacts, in all campaigns or some, sorted by contact and campaign.
pub async fn of_contacts(
    conn: &mut PgConnection,
    organization: OrganizationId,
    contacts: &[ContactId],
    campaigns: Option<&[CampaignId]>,
) -> sqlx::Result<Vec<MembershipRow>> {
    let rows = sqlx::query(&format!(
        "SELECT {COLUMNS}
         FROM contact_sets
         JOIN campaign_sets USING (organization_id, set_id)
         CROSS JOIN UNNEST(campaign_sets.members) AS member (campaign_id)
         JOIN memberships m ON m.organization_id = contact_sets.organization_id
              AND m.campaign_id = member.campaign_id AND m.contact_id = contact_sets.contact_id
         WHERE contact_sets.organization_id = $1 AND contact_sets.contact_id = ANY($2)
           AND ($3::uuid[] IS NULL OR member.campaign_id = ANY($3))
         ORDER BY m.contact_id, m.campaign_id"
    ))
    .bind(organization.uuid())
    .bind(uuids(contacts))
    .bind(campaigns.map(uuids))
    .fetch_all(conn)
    .await?;
    rows.iter().map(row).collect()
}

/// Which contacts of a campaign are meant. Empty lists and `None` mean "any".
#[derive(Clone, Debug, Default)]
pub struct MembershipFilter {
    /// Only these contacts.
    pub contact_ids: Option<Vec<ContactId>>,
    /// Only those that stand here.
    pub status_in: Vec<MembershipStatus>,
    /// Only those of these callers; with `unassigned`, those of nobody as well.
    pub assigned_agent_ids: Vec<AgentId>,
    /// Only those of nobody.
    pub unassigned: bool,
    /// Only those that are in at least one of these campaigns as well.
    pub also_in_campaign_ids: Vec<CampaignId>,
    /// Only those that came from here.
    pub source: Option<ContactSource>,
    /// Only those that came in this folder or were matched by it.
    pub import_id: Option<ImportId>,
}

/// A contact of a campaign that a bulk command is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// The contact.
    pub contact_id: ContactId,
    /// Where it stands.
    pub status: MembershipStatus,
    /// Whose it is.
    pub agent_id: Option<AgentId>,
    /// Sequence of the roster event that put it in.
    pub epoch: u64,
    /// How many other campaigns it is in.
    pub other_campaigns: u32,
}

/// The contacts of a campaign that fulfil the filter, by contact id, `limit` at most.
pub async fn select(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaign: CampaignId,
    filter: &MembershipFilter,
    limit: i64,
) -> sqlx::Result<Vec<Selected>> {
    let mut query = QueryBuilder::<Postgres>::new(
        "SELECT m.contact_id, m.status, m.agent_id, m.epoch, coalesce(s.size, 1)::int - 1 AS others
         FROM memberships m
         LEFT JOIN contact_sets s ON s.organization_id = m.organization_id AND s.contact_id = m.contact_id
         WHERE m.organization_id = ",
    );
    query.push_bind(organization.uuid()).push(" AND m.campaign_id = ").push_bind(campaign.uuid());
    push_filter(&mut query, organization, filter);
    query.push(" ORDER BY m.contact_id LIMIT ").push_bind(limit);
    let rows = query.build().persistent(false).fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            Ok(Selected {
                contact_id: row.id("contact_id")?,
                status: status_column(row, "status")?,
                agent_id: row.id_opt("agent_id")?,
                epoch: row.count("epoch")?,
                other_campaigns: row.try_get::<i32, _>("others")?.max(0).cast_unsigned(),
            })
        })
        .collect()
}

fn push_filter(
    query: &mut QueryBuilder<'_, Postgres>,
    organization: OrganizationId,
    filter: &MembershipFilter,
) {
    if let Some(contacts) = &filter.contact_ids {
        query.push(" AND m.contact_id = ANY(").push_bind(uuids(contacts)).push(")");
    }
    if !filter.status_in.is_empty() {
        query.push(" AND m.status = ANY(").push_bind(status_codes(&filter.status_in)).push(")");
    }
    match (filter.assigned_agent_ids.is_empty(), filter.unassigned) {
        (true, false) => (),
        (true, true) => {
            query.push(" AND m.agent_id IS NULL");
        }
        (false, false) => {
            query.push(" AND m.agent_id = ANY(").push_bind(uuids(&filter.assigned_agent_ids)).push(")");
        }
        (false, true) => {
            query
                .push(" AND (m.agent_id IS NULL OR m.agent_id = ANY(")
                .push_bind(uuids(&filter.assigned_agent_ids))
                .push("))");
        }
    }
    if !filter.also_in_campaign_ids.is_empty() {
        // Not correlated with `m`, so that the sets are looked through once and not for every membership.
        query
            .push(" AND s.set_id IN (SELECT o.set_id FROM campaign_sets o WHERE o.organization_id = ")
            .push_bind(organization.uuid())
            .push(" AND o.members && ")
            .push_bind(uuids(&filter.also_in_campaign_ids))
            .push(")");
    }
    if let Some(source) = filter.source {
        query.push(" AND m.imported = ").push_bind(source.imported());
    }
    if let Some(import) = filter.import_id {
        query
            .push(
                " AND EXISTS (SELECT 1 FROM import_members i WHERE i.organization_id = m.organization_id
                   AND i.contact_id = m.contact_id AND i.import_id = ",
            )
            .push_bind(import.uuid())
            .push(")");
    }
}

/// Where a contact stands in a campaign, as the fold sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub epoch: u64,
    pub added_at: Timestamp,
    pub last_call_at: Option<Timestamp>,
    pub agent_id: Option<AgentId>,
    pub attempts: u32,
    pub status: MembershipStatus,
    pub source: ContactSource,
}

/// Campaign and contact: the key of a membership.
pub(crate) type Pair = (CampaignId, ContactId);

/// Where these pairs stand; pairs that are not in the table are left out.
pub(crate) async fn load(
    conn: &mut PgConnection,
    organization: OrganizationId,
    pairs: &[Pair],
) -> sqlx::Result<HashMap<Pair, Standing>> {
    if pairs.is_empty() {
        return Ok(HashMap::new());
    }
    let (campaigns, contacts): (Vec<Uuid>, Vec<Uuid>) =
        pairs.iter().map(|(campaign, contact)| (campaign.uuid(), contact.uuid())).unzip();
    let rows = sqlx::query(
        "SELECT m.campaign_id, m.contact_id, m.epoch, m.added_at, m.last_call_at, m.agent_id, m.attempts,
                m.status, m.imported
         FROM UNNEST($2::uuid[], $3::uuid[]) AS wanted (campaign_id, contact_id)
         JOIN memberships m ON m.organization_id = $1 AND m.campaign_id = wanted.campaign_id
              AND m.contact_id = wanted.contact_id",
    )
    .bind(organization.uuid())
    .bind(campaigns)
    .bind(contacts)
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let pair = (row.id("campaign_id")?, row.id("contact_id")?);
            let standing = Standing {
                epoch: row.count("epoch")?,
                added_at: row.at("added_at")?,
                last_call_at: row.at_opt("last_call_at")?,
                agent_id: row.id_opt("agent_id")?,
                attempts: row.try_get::<i32, _>("attempts")?.max(0).cast_unsigned(),
                status: status_column(row, "status")?,
                source: ContactSource::column(row, "imported")?,
            };
            Ok((pair, standing))
        })
        .collect()
}

/// What happens to one row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Insert(Standing),
    Update(Standing),
    Delete,
}

/// Writes the changes, which are sorted by key.
pub(crate) async fn write(
    conn: &mut PgConnection,
    organization: OrganizationId,
    changes: &[(Pair, Change)],
) -> sqlx::Result<()> {
    let mut new = Copy::into(
        MODEL.name,
        &[
            "organization_id",
            "campaign_id",
            "contact_id",
            "epoch",
            "added_at",
            "last_call_at",
            "agent_id",
            "attempts",
            "status",
            "imported",
        ],
    );
    let mut changed: Vec<(Pair, &Standing)> = Vec::new();
    let mut gone: Vec<Pair> = Vec::new();
    for (pair, change) in changes {
        match change {
            Change::Insert(standing) => {
                new.row()
                    .uuid(organization)
                    .uuid(pair.0)
                    .uuid(pair.1)
                    .i64(signed(standing.epoch))
                    .at(standing.added_at)
                    .at_opt(standing.last_call_at)
                    .uuid_opt(standing.agent_id)
                    .i32(attempts(standing))
                    .i16(status_code(standing.status))
                    .bool(standing.source.imported());
            }
            Change::Update(standing) => changed.push((*pair, standing)),
            Change::Delete => gone.push(*pair),
        }
    }
    if !gone.is_empty() {
        sqlx::query(
            "DELETE FROM memberships USING UNNEST($2::uuid[], $3::uuid[]) AS gone (campaign_id, contact_id)
             WHERE memberships.organization_id = $1 AND memberships.campaign_id = gone.campaign_id
               AND memberships.contact_id = gone.contact_id",
        )
        .bind(organization.uuid())
        .bind(gone.iter().map(|pair| pair.0.uuid()).collect::<Vec<_>>())
        .bind(gone.iter().map(|pair| pair.1.uuid()).collect::<Vec<_>>())
        .execute(&mut *conn)
        .await?;
    }
    if !changed.is_empty() {
        sqlx::query(
            "UPDATE memberships SET epoch = now.epoch, added_at = now.added_at, last_call_at = now.last_call_at,
                    agent_id = now.agent_id, attempts = now.attempts, status = now.status, imported = now.imported
             FROM UNNEST($2::uuid[], $3::uuid[], $4::bigint[], $5::timestamptz[], $6::timestamptz[], $7::uuid[],
                         $8::integer[], $9::smallint[], $10::boolean[])
                  AS now (campaign_id, contact_id, epoch, added_at, last_call_at, agent_id, attempts, status, imported)
             WHERE memberships.organization_id = $1 AND memberships.campaign_id = now.campaign_id
               AND memberships.contact_id = now.contact_id",
        )
        .bind(organization.uuid())
        .bind(changed.iter().map(|(pair, _)| pair.0.uuid()).collect::<Vec<_>>())
        .bind(changed.iter().map(|(pair, _)| pair.1.uuid()).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, now)| signed(now.epoch)).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, now)| At(now.added_at)).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, now)| now.last_call_at.map(At)).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, now)| now.agent_id.map(AgentId::uuid)).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, now)| attempts(now)).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, now)| status_code(now.status)).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, now)| now.source.imported()).collect::<Vec<_>>())
        .execute(&mut *conn)
        .await?;
    }
    new.send(conn).await
}

fn attempts(standing: &Standing) -> i32 {
    i32::try_from(standing.attempts).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_own_number() {
        let codes = status_codes(&MembershipStatus::ALL);
        assert_eq!(codes, (0..9).collect::<Vec<i16>>());
    }
}
