//! What is still to do on a campaign, for whoever ends it: one statement over contacts, follow-ups and sequences.

use docket_aggregates::Timestamp;
use docket_aggregates::ids::{CampaignId, OrganizationId};
use docket_aggregates::membership::MembershipStatus;
use sqlx::PgConnection;

use crate::columns::{At, Columns};
use crate::follow_ups::FollowUpCounts;
use crate::memberships::status_codes;

/// Work on a campaign that is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Contacts with work still to do.
    pub open_contacts: u64,
    /// Follow-ups that nobody has seen to.
    pub follow_ups: FollowUpCounts,
    /// Sequences in which contacts are under way for it.
    pub sequences: u64,
}

/// What is still to do on a campaign at `now`; nothing on one that does not exist.
pub async fn of_campaign(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaign: CampaignId,
    now: Timestamp,
) -> sqlx::Result<Unfinished> {
    let row = sqlx::query(
        "SELECT (SELECT coalesce(sum(n), 0)::bigint FROM campaign_counters
                 WHERE organization_id = $1 AND campaign_id = $2 AND status = ANY($3)) AS open_contacts,
            (SELECT count(DISTINCT sequence_id) FROM enrollments
             WHERE organization_id = $1 AND campaign_id = $2 AND state = 'active') AS sequences,
            count(*) FILTER (WHERE due_at >= $4) AS pending, count(*) FILTER (WHERE due_at < $4) AS overdue
         FROM follow_ups WHERE organization_id = $1 AND campaign_id = $2 AND status = 'pending'",
    )
    .bind(organization.uuid())
    .bind(campaign.uuid())
    .bind(status_codes(&MembershipStatus::ALL.into_iter().filter(|status| status.open()).collect::<Vec<_>>()))
    .bind(At(now))
    .fetch_one(conn)
    .await?;
    Ok(Unfinished {
        open_contacts: row.count("open_contacts")?,
        follow_ups: FollowUpCounts { pending: row.count("pending")?, overdue: row.count("overdue")? },
        sequences: row.count("sequences")?,
    })
}
