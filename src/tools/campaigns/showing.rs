//! `get_campaign`: one campaign, and whatever is asked for beside it. All of it is read in one view, so that the campaign
//! and its counts are of one moment.

use std::collections::BTreeMap;

use docket_aggregates::ids::{QualificationTemplateId, ScriptTemplateId};
use docket_projections::{agents, campaign_counters, follow_ups};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{CampaignDetail, Templates, found};
use crate::tools::example::CAMPAIGN_ID;
use crate::tools::input::GivenCampaign;
use crate::tools::workspace::{FollowUps, by_name};
use crate::tools::{Draft, ToolContext, ToolResult, tool};

pub(super) fn tools() -> Vec<Draft> {
    vec![
        tool!(read get_campaign)
            .whole()
            .example("One campaign", json!({ "campaignId": CAMPAIGN_ID }))
            .example(
                "With how its contacts stand and who works on it",
                json!({ "campaignId": CAMPAIGN_ID, "include": ["counts", "agents"] }),
            ),
    ]
}

/// See one campaign: its words, settings, days, agents and templates. Ask for counts to see how its contacts stand.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct GetCampaign {
    /// The campaign.
    campaign_id: GivenCampaign,
    /// What to add: counts of its contacts, the agents who work on it, its templates.
    #[serde(default)]
    #[schemars(length(max = 3))]
    include: Vec<Include>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Include {
    Counts,
    Agents,
    Templates,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CampaignShown {
    campaign: CampaignDetail,
    /// If asked for.
    counts: Option<CampaignCounts>,
    /// If asked for: the agents who work on it.
    agents: Option<Vec<CampaignAgent>>,
    /// If asked for: its templates.
    templates: Option<Templates>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CampaignCounts {
    total: u64,
    assigned: u64,
    unassigned: u64,
    by_status: BTreeMap<&'static str, u64>,
    /// By agentId; agents without any are left out.
    by_agent: BTreeMap<String, u64>,
    follow_ups: FollowUps,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CampaignAgent {
    agent_id: Uuid,
    name: Option<String>,
    active: bool,
}

async fn get_campaign(ctx: ToolContext, input: GetCampaign) -> ToolResult<CampaignShown> {
    let organization = ctx.organization();
    let mut view = ctx.view().await?;
    let listed = found(&mut view, &ctx, &input.campaign_id).await?;
    let campaign = &listed.campaign;
    let mut shown =
        CampaignShown { campaign: CampaignDetail::of(&listed), counts: None, agents: None, templates: None };
    for include in input.include {
        match include {
            Include::Counts => {
                let id = campaign.campaign_id;
                let counts = campaign_counters::of_campaigns(&mut view, organization, &[id]).await?;
                let counts = counts.into_iter().next().unwrap_or_default();
                let follow_ups =
                    follow_ups::count_of_campaign(&mut view, organization, id, ctx.now()).await?;
                shown.counts = Some(CampaignCounts {
                    total: counts.total,
                    assigned: counts.assigned,
                    unassigned: counts.unassigned(),
                    by_status: by_name(&counts.by_status),
                    by_agent: counts.by_agent.iter().map(|(agent, n)| (agent.to_string(), *n)).collect(),
                    follow_ups: follow_ups.into(),
                });
            }
            Include::Agents => {
                let rows = agents::by_ids(&mut view, organization, &campaign.agent_ids).await?;
                let agents = rows.into_iter().map(|agent| CampaignAgent {
                    agent_id: agent.agent_id.uuid(),
                    name: agent.profile.map(|profile| profile.name),
                    active: agent.active,
                });
                shown.agents = Some(agents.collect());
            }
            Include::Templates => {
                shown.templates = Some(Templates {
                    script_template_id: campaign.script_template_id.map(ScriptTemplateId::uuid),
                    qualification_template_id: campaign
                        .qualification_template_id
                        .map(QualificationTemplateId::uuid),
                });
            }
        }
    }
    Ok(shown)
}
