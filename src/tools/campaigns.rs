//! What an agent may do with campaigns: see them, set them up, change them, attach their templates.
//!
//! Each tool has a file of its own. Here is what several of them show and ask: a campaign as lists and answers have it, the
//! campaign that an id means, the agents who are to work on it.

mod attaching;
mod creating;
mod listing;
mod patching;
mod settings;
mod showing;
mod updating;

use docket_aggregates::campaign::{Campaign, CampaignError, CampaignStatus};
use docket_aggregates::ids::{AgentId, CampaignId, QualificationTemplateId, ScriptTemplateId};
use docket_aggregates::script_template::{ScriptTemplate, ScriptTemplateCommand};
use docket_aggregates::{Decides, Timestamp};
use docket_projections::campaign_counters::Totals;
use docket_projections::campaigns::{CampaignListed, CampaignRow};
use docket_projections::{agents, campaigns};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::input::{GivenAgent, GivenCampaign, Moment, Name, distinct, ids};
use super::{Draft, Kind, Plan, Refusal, ToolContext, ToolResult};
use crate::ledger::{Life, Versioned};
use crate::readside::View;
use settings::Settings;

pub(super) fn tools() -> Vec<Draft> {
    [listing::tools(), showing::tools(), creating::tools(), updating::tools(), attaching::tools()]
        .into_iter()
        .flatten()
        .collect()
}

/// A campaign, as lists show it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CampaignSummary {
    campaign_id: Uuid,
    /// Empty once erased.
    name: String,
    status: Name<CampaignStatus>,
    script_template_id: Option<Uuid>,
    qualification_template_id: Option<Uuid>,
    /// Contacts in it.
    contact_count: u64,
    /// Those of them that belong to an agent.
    assigned_count: u64,
    created_at: Moment,
    /// When its settings last changed; contacts that come, go and are called do not change it.
    updated_at: Moment,
    /// Send it as expectedVersion to change only what you saw.
    version: u64,
}

/// A campaign.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CampaignDetail {
    #[serde(flatten)]
    summary: CampaignSummary,
    description: Option<String>,
    goal: Option<String>,
    /// The agents who work on it.
    agent_ids: Vec<Uuid>,
    settings: Settings,
    /// First day, YYYY-MM-DD.
    start_date: Option<String>,
    /// Last day, YYYY-MM-DD.
    end_date: Option<String>,
}

impl CampaignSummary {
    fn of(listed: &CampaignListed) -> Self {
        let row = &listed.campaign;
        Self {
            campaign_id: row.campaign_id.uuid(),
            name: row.name().to_owned(),
            status: Name(row.status),
            script_template_id: row.script_template_id.map(ScriptTemplateId::uuid),
            qualification_template_id: row.qualification_template_id.map(QualificationTemplateId::uuid),
            contact_count: listed.contact_count,
            assigned_count: listed.assigned_count,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            version: row.version,
        }
    }
}

impl CampaignDetail {
    fn of(listed: &CampaignListed) -> Self {
        let row = &listed.campaign;
        let text = row.text.as_ref();
        Self {
            summary: CampaignSummary::of(listed),
            description: text.and_then(|text| text.description.clone()),
            goal: text.and_then(|text| text.goal.clone()),
            agent_ids: row.agent_ids.iter().map(|agent| agent.uuid()).collect(),
            settings: Settings::of(&row.settings),
            start_date: row.start_date.clone(),
            end_date: row.end_date.clone(),
        }
    }
}

/// The templates of a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Templates {
    script_template_id: Option<Uuid>,
    qualification_template_id: Option<Uuid>,
}

/// The campaign with how many are in it. One of another organization does not exist here.
pub async fn found(view: &mut View, ctx: &ToolContext, given: &GivenCampaign) -> ToolResult<CampaignListed> {
    let listed = campaigns::get(view, ctx.organization(), given.id).await?;
    listed.ok_or_else(|| Refusal::not_found(Kind::Campaign, &given.text))
}

/// A campaign that is to be changed, and what the answer shows beside that. The change is decided on the campaign's own
/// stream: only the counts are the read models'.
struct Subject {
    campaign_id: CampaignId,
    before: Versioned<Campaign>,
    life: Life,
    totals: Totals,
}

impl Subject {
    async fn find(ctx: &ToolContext, given: &GivenCampaign) -> ToolResult<Self> {
        let before = ctx.state::<Campaign>(given.id).await?;
        let life = before.life.ok_or_else(|| Refusal::not_found(Kind::Campaign, &given.text))?;
        let totals = ctx.totals(given.id).await?;
        Ok(Self { campaign_id: given.id, before, life, totals })
    }

    /// It in a state and at a version.
    fn listed(&self, state: &Campaign, version: u64, updated_at: Timestamp) -> CampaignListed {
        CampaignListed {
            campaign: row(self.campaign_id, state, version, self.life.began, updated_at),
            contact_count: self.totals.contacts,
            assigned_count: self.totals.assigned,
        }
    }
}

/// The campaigns that exist of those given, each once and in the order given, and the others. Refused if there is none.
pub async fn known_campaigns(
    view: &mut View,
    ctx: &ToolContext,
    given: &[GivenCampaign],
) -> ToolResult<(Vec<CampaignId>, Vec<String>)> {
    let (given, repeats) = distinct(given);
    if repeats > 0 {
        ctx.warn("DUPLICATE_IDS", format!("{repeats} repeated ids were left out"), Some("campaignIds"));
    }
    let rows = campaigns::by_ids(view, ctx.organization(), &ids(&given)).await?;
    let (known, missing): (Vec<_>, Vec<_>) =
        given.into_iter().partition(|given| rows.iter().any(|row| row.campaign_id == given.id));
    if known.is_empty() {
        return Err(Refusal::NoneFound { kind: Kind::Campaign, count: missing.len() });
    }
    Ok((ids(&known), missing.into_iter().map(|given| given.text).collect()))
}

/// Refuses a stretch of time that ends before or when it begins.
pub fn in_order(after: Option<Moment>, before: Option<Moment>) -> ToolResult<()> {
    match (after, before) {
        (Some(after), Some(before)) if after >= before => {
            Err(Refusal::field("createdBefore", "EMPTY_INTERVAL", "must be later than createdAfter"))
        }
        _ => Ok(()),
    }
}

/// Refuses if the thing is not at the version that the caller saw.
pub fn expect(expected: Option<u64>, actual: u64) -> ToolResult<()> {
    match expected {
        Some(expected) if expected != actual => Err(Refusal::VersionConflict { expected, actual }),
        _ => Ok(()),
    }
}

/// Text that is there; white space alone is none.
fn some_text(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// A refusal of the aggregate, with the field that it is about where there is one.
fn refused(error: CampaignError, path: &str) -> Refusal {
    match error {
        CampaignError::EndsBeforeStart => {
            Refusal::field(&format!("{path}endDate"), "END_BEFORE_START", "must not be before startDate")
        }
        other => other.into(),
    }
}

/// The agents who are to work on a campaign: each once, all of them known.
async fn staff(ctx: &ToolContext, given: &[GivenAgent], path: &str) -> ToolResult<Vec<AgentId>> {
    if given.is_empty() {
        return Ok(Vec::new());
    }
    let (given, repeats) = distinct(given);
    if repeats > 0 {
        ctx.warn("DUPLICATE_IDS", format!("{repeats} repeated ids were left out"), Some(path));
    }
    let known = agents::by_ids(&mut *ctx.view().await?, ctx.organization(), &ids(&given)).await?;
    let exists = |id: AgentId| known.iter().any(|agent| agent.agent_id == id);
    let unknown: Vec<String> =
        given.iter().filter(|given| !exists(given.id)).map(|given| given.text.clone()).collect();
    if !unknown.is_empty() {
        return Err(Refusal::AgentsUnassignable(unknown));
    }
    for agent in known.iter().filter(|agent| !agent.active) {
        let message = format!("agent {} is inactive and gets no new contacts", agent.agent_id);
        ctx.warn("AGENT_INACTIVE", message, Some(path));
    }
    Ok(ids(&given))
}

/// Warns of another campaign of the same name.
async fn same_name(ctx: &ToolContext, own: Option<CampaignId>, name: &str) -> ToolResult<()> {
    let same = ctx.campaigns_named(name).await?;
    if let Some(first) = same.iter().find(|found| Some(**found) != own) {
        ctx.warn("DUPLICATE_NAME", format!("campaign {first} has the same name"), Some("name"));
    }
    Ok(())
}

/// Records with the script that a campaign has it from now on, so that nobody deletes it in the same moment. Campaigns that
/// get the same script at once wait for each other's turn there, and so it comes first.
fn attach<O>(
    plan: &mut Plan<O>,
    script: &Versioned<ScriptTemplate>,
    campaign_id: CampaignId,
) -> ToolResult<()> {
    let events = script.state.decide(ScriptTemplateCommand::Attach { campaign_id })?;
    plan.writes.insert(0, script.write(events));
    Ok(())
}

/// The row that the read model will have once the events are folded.
fn row(
    campaign_id: CampaignId,
    state: &Campaign,
    version: u64,
    created_at: Timestamp,
    updated_at: Timestamp,
) -> CampaignRow {
    CampaignRow {
        campaign_id,
        text: state.text.as_ref().and_then(|text| text.value().cloned()),
        status: state.status,
        script_template_id: state.script_template_id,
        qualification_template_id: state.qualification_template_id,
        agent_ids: state.agent_ids.clone(),
        start_date: state.start_date.clone(),
        end_date: state.end_date.clone(),
        settings: state.settings.clone(),
        version,
        created_at,
        updated_at,
    }
}
