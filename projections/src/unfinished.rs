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

/// What is still to do on each campaign at an instant, in the order given; nothing on one that does not exist.
pub async fn of_campaigns(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaigns: &[(CampaignId, Timestamp)],
) -> sqlx::Result<Vec<Unfinished>> {
    let open: Vec<MembershipStatus> =
        MembershipStatus::ALL.into_iter().filter(|status| status.open()).collect();
    let rows = sqlx::query(
        "SELECT (SELECT coalesce(sum(n), 0)::bigint FROM campaign_counters
                 WHERE organization_id = $1 AND campaign_id = asked.id AND status = ANY($4)) AS open_contacts,
            (SELECT count(DISTINCT sequence_id) FROM enrollments
             WHERE organization_id = $1 AND campaign_id = asked.id AND state = 'active') AS sequences,
            pending, overdue
         FROM unnest($2::uuid[], $3::timestamptz[]) WITH ORDINALITY AS asked (id, now, place)
         CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE due_at >= asked.now) AS pending,
                count(*) FILTER (WHERE due_at < asked.now) AS overdue
             FROM follow_ups
             WHERE organization_id = $1 AND campaign_id = asked.id AND status = 'pending') AS left_undone
         ORDER BY place",
    )
    .bind(organization.uuid())
    .bind(campaigns.iter().map(|(campaign, _)| campaign.uuid()).collect::<Vec<_>>())
    .bind(campaigns.iter().map(|(_, now)| At(*now)).collect::<Vec<_>>())
    .bind(status_codes(&open))
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Unfinished {
                open_contacts: row.count("open_contacts")?,
                follow_ups: FollowUpCounts { pending: row.count("pending")?, overdue: row.count("overdue")? },
                sequences: row.count("sequences")?,
            })
        })
        .collect()
}
