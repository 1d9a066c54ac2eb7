//! What callers have to do: counters and pending follow-ups, put together.

use std::collections::{BTreeMap, HashMap};

use docket_aggregates::Timestamp;
use docket_aggregates::ids::{AgentId, CampaignId, OrganizationId};
use docket_aggregates::membership::MembershipStatus;
use sqlx::PgConnection;

use crate::agents::{self, AgentRow};
use crate::campaign_counters::cube;
use crate::follow_ups::{self, FollowUpCounts};

/// A caller's work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// The caller.
    pub agent: AgentRow,
    /// Contacts that belong to it.
    pub total_assigned: u64,
    /// Those of them with work still to do.
    pub open: u64,
    /// The same by status; statuses without any are left out.
    pub by_status: BTreeMap<MembershipStatus, u64>,
    /// The same by campaign; campaigns without any are left out.
    pub by_campaign: Vec<CampaignLoad>,
    /// Follow-ups that it has to see to.
    pub follow_ups: FollowUpCounts,
}

/// A caller's work in one campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CampaignLoad {
    /// The campaign.
    pub campaign_id: CampaignId,
    /// Contacts that belong to the caller.
    pub assigned: u64,
    /// Those of them with work still to do.
    pub open: u64,
}

/// The work of those of `agents` that exist, in the order given, in all campaigns or some, at `now`.
pub async fn of_agents(
    conn: &mut PgConnection,
    organization: OrganizationId,
    agents: &[AgentId],
    campaigns: Option<&[CampaignId]>,
    now: Timestamp,
) -> sqlx::Result<Vec<Workload>> {
    let mut rows: HashMap<AgentId, AgentRow> = agents::by_ids(conn, organization, agents)
        .await?
        .into_iter()
        .map(|agent| (agent.agent_id, agent))
        .collect();
    let mut follow_ups = follow_ups::count_by_agent(conn, organization, agents, campaigns, now).await?;
    let mut by_status: HashMap<AgentId, BTreeMap<MembershipStatus, u64>> = HashMap::new();
    let mut by_campaign: HashMap<AgentId, BTreeMap<CampaignId, CampaignLoad>> = HashMap::new();
    for (kind, n) in cube(conn, organization, campaigns, Some(agents)).await? {
        let Some(agent) = kind.agent_id else { continue };
        *by_status.entry(agent).or_default().entry(kind.status).or_default() += n;
        let load = by_campaign.entry(agent).or_default().entry(kind.campaign_id).or_insert(CampaignLoad {
            campaign_id: kind.campaign_id,
            assigned: 0,
            open: 0,
        });
        load.assigned += n;
        if kind.status.open() {
            load.open += n;
        }
    }
    Ok(agents
        .iter()
        .filter_map(|id| {
            let agent = rows.remove(id)?;
            let campaigns: Vec<CampaignLoad> =
                by_campaign.remove(id).unwrap_or_default().into_values().collect();
            Some(Workload {
                agent,
                total_assigned: campaigns.iter().map(|load| load.assigned).sum(),
                open: campaigns.iter().map(|load| load.open).sum(),
                by_status: by_status.remove(id).unwrap_or_default(),
                by_campaign: campaigns,
                follow_ups: follow_ups.remove(id).unwrap_or_default(),
            })
        })
        .collect())
}
