//! How far each roster has come: the sequence of its last event that was folded.
//!
//! Whoever resolves a selection reads this in the same snapshot and appends only if the roster still stands there.

use std::collections::BTreeMap;

use docket_aggregates::AnyEvent;
use docket_aggregates::ids::{CampaignId, OrganizationId};
use docket_aggregates::roster::RosterEvent;
use sqlx::PgConnection;

use crate::columns::uuids;
use crate::{FoldError, ReadModel, Recorded};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "rosters", tables: &["rosters"] };

/// The version of a campaign's roster: 0 while nobody was ever added.
pub async fn version(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaign: CampaignId,
) -> sqlx::Result<u64> {
    let version: Option<i64> =
        sqlx::query_scalar("SELECT version FROM rosters WHERE organization_id = $1 AND campaign_id = $2")
            .bind(organization.uuid())
            .bind(campaign.uuid())
            .fetch_optional(conn)
            .await?;
    Ok(version.unwrap_or(0).max(0).cast_unsigned())
}

pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    let mut versions: BTreeMap<CampaignId, i64> = BTreeMap::new();
    for recorded in batch {
        if let AnyEvent::Roster(event) = &recorded.event {
            let campaign = match event {
                RosterEvent::ContactsAdded { campaign_id, .. }
                | RosterEvent::ContactsAssigned { campaign_id, .. }
                | RosterEvent::ContactsRemoved { campaign_id, .. } => *campaign_id,
            };
            versions.insert(campaign, recorded.sequence);
        }
    }
    if versions.is_empty() {
        return Ok(());
    }
    let (campaigns, versions): (Vec<_>, Vec<_>) = versions.into_iter().unzip();
    sqlx::query(
        "INSERT INTO rosters (organization_id, campaign_id, version)
         SELECT $1, * FROM UNNEST($2::uuid[], $3::bigint[])
         ON CONFLICT (organization_id, campaign_id) DO UPDATE SET version = excluded.version",
    )
    .bind(organization.uuid())
    .bind(uuids(&campaigns))
    .bind(versions)
    .execute(conn)
    .await?;
    Ok(())
}
