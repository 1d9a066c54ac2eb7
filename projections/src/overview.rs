//! An organization at a glance: every number from a counter or a small table.

use std::collections::BTreeMap;

use docket_aggregates::Timestamp;
use docket_aggregates::campaign::CampaignStatus;
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::membership::MembershipStatus;
use sqlx::PgConnection;

use crate::activity::{self, ActivityRow};
use crate::follow_ups::{self, FollowUpCounts};
use crate::{agents, campaign_counters, campaigns, organization_counters};

/// An organization at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// Contacts.
    pub contacts: u64,
    /// Calls.
    pub calls: u64,
    /// Script templates that are not deleted.
    pub script_templates: u64,
    /// Script executions, ended ones among them.
    pub executions: u64,
    /// Qualification templates.
    pub qualification_templates: u64,
    /// Qualifications.
    pub qualifications: u64,
    /// Campaigns by status; statuses without any are left out.
    pub campaigns_by_status: BTreeMap<CampaignStatus, u64>,
    /// Contacts in campaigns by status; a contact counts once for each campaign.
    pub memberships_by_status: BTreeMap<MembershipStatus, u64>,
    /// Those of them that belong to a caller.
    pub assigned: u64,
    /// Those of them that belong to nobody.
    pub unassigned: u64,
    /// Follow-ups still to be seen to.
    pub follow_ups: FollowUpCounts,
    /// Callers.
    pub agents: u64,
    /// Those of them that take assignments.
    pub active_agents: u64,
    /// The latest commands, the newest first.
    pub recent_activity: Vec<ActivityRow>,
}

/// The organization at a glance, at `now`, with its latest `activity` commands.
pub async fn get(
    conn: &mut PgConnection,
    organization: OrganizationId,
    now: Timestamp,
    activity: i64,
) -> sqlx::Result<Overview> {
    let counts = organization_counters::get(conn, organization).await?;
    let memberships = campaign_counters::of_organization(conn, organization).await?;
    let (agents, active_agents) = agents::count(conn, organization).await?;
    Ok(Overview {
        contacts: counts.contacts,
        calls: counts.calls,
        script_templates: counts.script_templates,
        executions: counts.executions,
        qualification_templates: counts.qualification_templates,
        qualifications: counts.qualifications,
        campaigns_by_status: campaigns::count_by_status(conn, organization).await?,
        assigned: memberships.assigned,
        unassigned: memberships.unassigned(),
        memberships_by_status: memberships.by_status,
        follow_ups: follow_ups::count(conn, organization, now).await?,
        agents,
        active_agents,
        recent_activity: activity::recent(conn, organization, activity).await?,
    })
}
