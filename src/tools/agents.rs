//! Who calls, and how much each of them has to do.

use std::collections::BTreeMap;

use docket_aggregates::ids::{AgentId, CampaignId};
use docket_projections::agents::{self, AgentFilter};
use docket_projections::{Total, workloads};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::campaigns::{found, known_campaigns};
use super::input::{GivenAgent, GivenCampaign, distinct, ids};
use super::workspace::by_name;
use super::{Draft, Kind, Refusal, ToolContext, ToolResult, tool};

pub(super) fn tools() -> Vec<Draft> {
    vec![
        tool!(list list_outbound_agents)
            .example("Who can be assigned to", json!({ "active": true }))
            .example("By a part of the name", json!({ "search": "martin", "limit": 10 })),
        tool!(read bulk_get_agent_workloads)
            .example("Everybody who is active", json!({}))
            .example("With the statuses of their contacts", json!({ "includeByStatus": true })),
    ]
}

/// Agents whose work is shown when none is named, at most.
const EVERYBODY: i64 = 100;

/// List the human and AI agents that contacts can be assigned to, with how many open contacts each has. Inactive agents
/// keep what they have and get nothing new.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ListAgents {
    /// Part of the name, address or role; case and accents do not matter.
    #[schemars(length(max = 200))]
    search: Option<String>,
    /// true: only active ones; false: only the others.
    active: Option<bool>,
    /// Only those who work on this campaign or hold contacts in it.
    campaign_id: Option<GivenCampaign>,
}

#[derive(Serialize, JsonSchema)]
struct AgentsListed {
    agents: Vec<AgentSummary>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AgentSummary {
    agent_id: Uuid,
    /// Null once erased.
    name: Option<String>,
    email: Option<String>,
    role: Option<String>,
    active: bool,
    /// Its contacts with work still to do, over all campaigns.
    assigned_open: u64,
    /// Campaigns that are not archived and that it works on: 20 at most.
    campaign_ids: Vec<Uuid>,
}

async fn list_outbound_agents(ctx: ToolContext, input: ListAgents) -> ToolResult<AgentsListed> {
    let after = ctx.after()?;
    let mut view = ctx.view().await?;
    if let Some(campaign) = &input.campaign_id {
        found(&mut view, &ctx, campaign).await?;
    }
    let filter = AgentFilter {
        search: input.search,
        active: input.active,
        campaign_id: input.campaign_id.map(|given| given.id),
    };
    let (page, total) =
        agents::list(&mut view, ctx.organization(), &filter, after.as_ref(), ctx.limit()).await?;
    ctx.paginate(page.next, Total::Exactly(total))?;
    let agents = page
        .rows
        .into_iter()
        .map(|listed| {
            let profile = listed.agent.profile;
            AgentSummary {
                agent_id: listed.agent.agent_id.uuid(),
                name: profile.as_ref().map(|profile| profile.name.clone()),
                email: profile.as_ref().map(|profile| profile.email.clone()),
                role: profile.and_then(|profile| profile.role),
                active: listed.agent.active,
                assigned_open: listed.assigned_open,
                campaign_ids: listed.campaign_ids.into_iter().map(CampaignId::uuid).collect(),
            }
        })
        .collect();
    Ok(AgentsListed { agents })
}

/// See how much work up to 100 agents have: contacts assigned and open, follow-ups due, by campaign. Use it before
/// assigning contacts instead of calling `list_outbound_contacts` for each agent.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct GetWorkloads {
    /// The agents; every active one if not said.
    #[schemars(length(min = 1, max = 100))]
    agent_ids: Option<Vec<GivenAgent>>,
    /// Only their work in these campaigns; in all if not said.
    #[schemars(length(min = 1, max = 50))]
    campaign_ids: Option<Vec<GivenCampaign>>,
    /// Add how their contacts stand.
    #[serde(default)]
    include_by_status: bool,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Workloads {
    /// In the order in which the agents were given.
    workloads: Vec<Workload>,
    /// Ids that are no agents of this organization.
    not_found: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Workload {
    agent_id: Uuid,
    name: Option<String>,
    active: bool,
    total_assigned: u64,
    /// Those with work still to do.
    open: u64,
    /// If asked for.
    by_status: Option<BTreeMap<&'static str, u64>>,
    pending_follow_ups: u64,
    overdue_follow_ups: u64,
    /// Campaigns without any are left out.
    by_campaign: Vec<CampaignLoad>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CampaignLoad {
    campaign_id: Uuid,
    assigned: u64,
    open: u64,
}

async fn bulk_get_agent_workloads(ctx: ToolContext, input: GetWorkloads) -> ToolResult<Workloads> {
    let organization = ctx.organization();
    let mut view = ctx.view().await?;
    let campaigns = match &input.campaign_ids {
        None => None,
        Some(given) => {
            let (known, missing) = known_campaigns(&mut view, &ctx, given).await?;
            if !missing.is_empty() {
                let message = format!("not found and left out: {}", missing.join(", "));
                ctx.warn("CAMPAIGN_NOT_FOUND", message, Some("campaignIds"));
            }
            Some(known)
        }
    };
    let (given, agent_ids): (Vec<GivenAgent>, Vec<AgentId>) = match &input.agent_ids {
        Some(given) => {
            let (given, repeats) = distinct(given);
            if repeats > 0 {
                ctx.warn("DUPLICATE_IDS", format!("{repeats} repeated ids were left out"), Some("agentIds"));
            }
            let agent_ids = ids(&given);
            (given, agent_ids)
        }
        None => {
            let mut everybody = agents::active_ids(&mut view, organization, EVERYBODY + 1).await?;
            if everybody.len() as i64 > EVERYBODY {
                ctx.truncated();
                everybody.truncate(EVERYBODY as usize);
            }
            (Vec::new(), everybody)
        }
    };
    let loads =
        workloads::of_agents(&mut view, organization, &agent_ids, campaigns.as_deref(), ctx.now()).await?;
    let not_found: Vec<String> = given
        .iter()
        .filter(|given| !loads.iter().any(|load| load.agent.agent_id == given.id))
        .map(|given| given.text.clone())
        .collect();
    if loads.is_empty() && !given.is_empty() {
        return Err(Refusal::NoneFound { kind: Kind::Agent, count: given.len() });
    }
    let workloads = loads
        .into_iter()
        .map(|load| Workload {
            agent_id: load.agent.agent_id.uuid(),
            name: load.agent.profile.map(|profile| profile.name),
            active: load.agent.active,
            total_assigned: load.total_assigned,
            open: load.open,
            by_status: input.include_by_status.then(|| by_name(&load.by_status)),
            pending_follow_ups: load.follow_ups.pending,
            overdue_follow_ups: load.follow_ups.overdue,
            by_campaign: load
                .by_campaign
                .into_iter()
                .map(|load| CampaignLoad {
                    campaign_id: load.campaign_id.uuid(),
                    assigned: load.assigned,
                    open: load.open,
                })
                .collect(),
        })
        .collect();
    Ok(Workloads { workloads, not_found })
}
