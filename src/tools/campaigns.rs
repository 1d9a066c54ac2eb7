//! What an agent may do with campaigns: see them, set them up, change them, attach their templates.

use cqrs_es::Aggregate;
use docket_aggregates::Personal;
use docket_aggregates::campaign::{
    CallWindow, Campaign, CampaignCommand, CampaignError, CampaignPatch, CampaignSettings, CampaignStatus,
    CampaignText,
};
use docket_aggregates::ids::{AgentId, CampaignId, QualificationTemplateId, ScriptTemplateId};
use docket_aggregates::script_template::{ScriptTemplate, ScriptTemplateCommand};
use docket_aggregates::{Decides, Timestamp};
use docket_projections::campaigns::{CampaignFilter, CampaignListed, CampaignRow, CampaignSort};
use docket_projections::unfinished::{self, Unfinished};
use docket_projections::{Total, agents, campaign_counters, campaigns, follow_ups};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use std::collections::BTreeMap;

use super::example::{CAMPAIGN_ID, SCRIPT_TEMPLATE_ID};
use super::input::{
    Given, GivenAgent, GivenCampaign, GivenScript, Moment, Name, Order, Patch, distinct, ids, named,
};
use super::qualification_templates::{GivenQualificationTemplate, known_template};
use super::script_templates::usable;
use super::workspace::{FollowUps, by_name};
use super::{Draft, Effects, Kind, Mint, Plan, Refusal, ToolContext, ToolResult, tool};
use crate::envelope::Warning;
use crate::ledger::{Stream, Versioned, Write};
use crate::readside::View;
use crate::spelling::nearest;

pub(super) fn tools() -> Vec<Draft> {
    vec![
        tool!(list list_campaigns)
            .example("The newest campaigns", json!({}))
            .example("Those being worked on, by name", json!({ "status": ["active", "paused"], "sort": "name" })),
        tool!(read get_campaign)
            .whole()
            .example("One campaign", json!({ "campaignId": CAMPAIGN_ID }))
            .example(
                "With how its contacts stand and who works on it",
                json!({ "campaignId": CAMPAIGN_ID, "include": ["counts", "agents"] }),
            ),
        tool!(Write create_outbound_campaign)
            .adding()
            .example("A draft", json!({ "name": "Spring tasting" }))
            .example(
                "Try it out first",
                json!({
                    "name": "Summer terrace",
                    "description": "Restaurants with a terrace",
                    "startDate": "2030-06-01",
                    "endDate": "2030-08-31",
                    "settings": { "maxAttempts": 5, "callWindow": { "start": "09:00", "end": "18:00", "tz": "Europe/Paris" } },
                    "dryRun": true,
                }),
            ),
        tool!(Write update_outbound_campaign)
            .repeatable()
            .example(
                "Other words",
                json!({ "campaignId": CAMPAIGN_ID, "patch": { "goal": "Ten tastings a week" } }),
            )
            .example(
                "What archiving would mean",
                json!({ "campaignId": CAMPAIGN_ID, "patch": { "status": "archived" }, "dryRun": true }),
            ),
        tool!(Write attach_campaign_templates)
            .repeatable()
            .example(
                "Attach a script",
                json!({ "campaignId": CAMPAIGN_ID, "scriptTemplateId": SCRIPT_TEMPLATE_ID }),
            )
            .example("Detach the script", json!({ "campaignId": CAMPAIGN_ID, "scriptTemplateId": null }))
            .example(
                "Detach both",
                json!({ "campaignId": CAMPAIGN_ID, "scriptTemplateId": null, "qualificationTemplateId": null }),
            ),
    ]
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

/// How a campaign is worked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Settings {
    /// Calls without an answer after which a contact counts as unreachable.
    #[schemars(range(min = 1, max = 20))]
    max_attempts: Option<u8>,
    /// The hours in which calls are made.
    call_window: Option<Window>,
}

/// The hours in which calls are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct Window {
    /// Local time HH:MM, inclusive.
    #[schemars(regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    start: String,
    /// Local time HH:MM, exclusive; before start means over midnight.
    #[schemars(regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    end: String,
    /// IANA time zone, as Europe/Paris.
    #[schemars(length(min = 1, max = 64))]
    tz: String,
}

impl Settings {
    fn of(settings: &CampaignSettings) -> Self {
        Self {
            max_attempts: settings.max_attempts,
            call_window: settings.call_window.clone().map(|window| Window {
                start: window.start,
                end: window.end,
                tz: window.tz,
            }),
        }
    }

    fn checked(self, path: &str) -> ToolResult<CampaignSettings> {
        let window =
            self.call_window.map(|window| window.checked(&format!("{path}.callWindow"))).transpose()?;
        Ok(CampaignSettings { max_attempts: self.max_attempts, call_window: window })
    }
}

impl Window {
    /// Hours that are not empty, in a time zone that exists.
    fn checked(self, path: &str) -> ToolResult<CallWindow> {
        if self.start == self.end {
            return Err(Refusal::field(path, "EMPTY_WINDOW", "start and end must differ"));
        }
        let Ok(zone) = jiff::tz::TimeZone::get(&self.tz) else {
            let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
            let message = match nearest(&self.tz, names.iter().map(String::as_str)) {
                Some(meant) => format!("is no IANA time zone; did you mean {meant}?"),
                None => "is no IANA time zone, as Europe/Paris".to_owned(),
            };
            return Err(Refusal::field(&format!("{path}.tz"), "UNKNOWN_TIME_ZONE", message));
        };
        let tz = zone.iana_name().map_or(self.tz, str::to_owned);
        Ok(CallWindow { start: self.start, end: self.end, tz })
    }
}

/// List campaigns, with how many contacts are in each. Filter by status, words or time; sort by creation, name or last
/// change. For counts by status or agent use `bulk_get_campaign_contact_counts`.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ListCampaigns {
    /// Only campaigns in one of these statuses.
    #[serde(default)]
    #[schemars(length(min = 1, max = 5))]
    status: Vec<Name<CampaignStatus>>,
    /// Part of the name, description or goal; case and accents do not matter.
    #[schemars(length(max = 200))]
    search: Option<String>,
    /// Created then or later.
    created_after: Option<Moment>,
    /// Created before then.
    created_before: Option<Moment>,
    /// What to sort by; createdAt if not said.
    sort: Option<Sort>,
    /// asc or desc; if not said the newest first, names from A to Z.
    order: Option<Order>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Sort {
    CreatedAt,
    Name,
    UpdatedAt,
}

#[derive(Serialize, JsonSchema)]
struct CampaignsListed {
    campaigns: Vec<CampaignSummary>,
}

async fn list_campaigns(ctx: ToolContext, input: ListCampaigns) -> ToolResult<CampaignsListed> {
    in_order(input.created_after, input.created_before, "")?;
    let sort = input.sort.unwrap_or(Sort::CreatedAt);
    let order = input.order.unwrap_or(if sort == Sort::Name { Order::Asc } else { Order::Desc });
    let filter = CampaignFilter {
        statuses: named(&input.status),
        search: input.search,
        created_after: input.created_after.map(|moment| moment.0),
        created_before: input.created_before.map(|moment| moment.0),
    };
    let sort = match sort {
        Sort::CreatedAt => CampaignSort::CreatedAt,
        Sort::Name => CampaignSort::Name,
        Sort::UpdatedAt => CampaignSort::UpdatedAt,
    };
    let after = ctx.after()?;
    let mut view = ctx.view().await?;
    let (page, total) = campaigns::list(
        &mut view,
        ctx.organization(),
        &filter,
        sort,
        order.into(),
        after.as_ref(),
        ctx.limit(),
    )
    .await?;
    ctx.paginate(page.next, Total::Exactly(total))?;
    Ok(CampaignsListed { campaigns: page.rows.iter().map(CampaignSummary::of).collect() })
}

/// Refuses a stretch of time that ends before or when it begins.
pub fn in_order(after: Option<Moment>, before: Option<Moment>, path: &str) -> ToolResult<()> {
    match (after, before) {
        (Some(after), Some(before)) if after >= before => {
            let path =
                if path.is_empty() { "createdBefore".to_owned() } else { format!("{path}.createdBefore") };
            Err(Refusal::field(&path, "EMPTY_INTERVAL", "must be later than createdAfter"))
        }
        _ => Ok(()),
    }
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

/// The templates of a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Templates {
    script_template_id: Option<Uuid>,
    qualification_template_id: Option<Uuid>,
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

/// The campaign with how many are in it. One of another organization does not exist here.
pub async fn found(view: &mut View, ctx: &ToolContext, given: &GivenCampaign) -> ToolResult<CampaignListed> {
    let listed = campaigns::get(view, ctx.organization(), given.id).await?;
    listed.ok_or_else(|| Refusal::not_found(Kind::Campaign, &given.text))
}

/// The campaign with its counts as they are now, for the answer to a change of it. The change itself is decided on the
/// campaign's own stream: only the counts and the dates are the read models'.
async fn shown(
    ctx: &ToolContext,
    given: &GivenCampaign,
    state: &Versioned<Campaign>,
) -> ToolResult<CampaignListed> {
    if !state.exists() {
        return Err(Refusal::not_found(Kind::Campaign, &given.text));
    }
    let listed = ctx.listed(given.id).await?;
    listed.ok_or_else(|| Refusal::not_found(Kind::Campaign, &given.text))
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

/// Set up a campaign, as a draft unless it is to be active at once. It has no contacts yet: add them with
/// `bulk_add_contacts_to_campaign_by_filter`. A second campaign of the same name is allowed and warned about.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CreateCampaign {
    /// What it is called.
    #[schemars(length(min = 1, max = 200))]
    name: String,
    /// What it is about.
    #[schemars(length(max = 4000), extend("x-lines" = true))]
    description: Option<String>,
    /// What it is to reach.
    #[schemars(length(max = 1000), extend("x-lines" = true))]
    goal: Option<String>,
    /// draft (if not said) or active.
    status: Option<StartStatus>,
    /// The call script.
    script_template_id: Option<Given<ScriptTemplateId>>,
    /// The qualification form.
    qualification_template_id: Option<Given<QualificationTemplateId>>,
    /// The agents who work on it.
    #[serde(default)]
    #[schemars(length(max = 100))]
    agent_ids: Vec<GivenAgent>,
    /// First day, YYYY-MM-DD.
    #[schemars(extend("format" = "date"))]
    start_date: Option<String>,
    /// Last day, YYYY-MM-DD.
    #[schemars(extend("format" = "date"))]
    end_date: Option<String>,
    /// Attempts and hours for calls.
    settings: Option<Settings>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum StartStatus {
    Draft,
    Active,
}

#[derive(Serialize, JsonSchema)]
struct CampaignCreated {
    campaign: CampaignDetail,
    /// What you should know although the campaign is created.
    warnings: Vec<Warning>,
}

async fn create_outbound_campaign(
    ctx: ToolContext,
    input: CreateCampaign,
    mut mint: Mint,
) -> ToolResult<Plan<CampaignCreated>> {
    let script = match &input.script_template_id {
        Some(given) => Some(usable(&ctx, given).await?),
        None => None,
    };
    let qualification = match &input.qualification_template_id {
        Some(given) => Some(known_template(&ctx, given).await?),
        None => None,
    };
    let settings =
        input.settings.map_or_else(|| Ok(CampaignSettings::default()), |s| s.checked("settings"))?;
    match same_name(&ctx, None, &input.name).await {
        // That the name is there twice is only a warning: read models that cannot answer do not stop the call.
        Err(Refusal::ReadSide(error)) => {
            tracing::warn!(%error, "campaigns of the same name were not looked for");
        }
        looked => looked?,
    }
    let agent_ids = staff(&ctx, &input.agent_ids, "agentIds").await?;

    let campaign_id: CampaignId = mint.id();
    let create = CampaignCommand::Create {
        campaign_id,
        text: CampaignText {
            name: input.name,
            description: some_text(input.description),
            goal: some_text(input.goal),
        },
        status: match input.status {
            None | Some(StartStatus::Draft) => CampaignStatus::Draft,
            Some(StartStatus::Active) => CampaignStatus::Active,
        },
        script_template_id: input.script_template_id.map(|given| given.id),
        qualification_template_id: qualification,
        agent_ids,
        start_date: input.start_date,
        end_date: input.end_date,
        settings,
    };
    let mut state = Campaign::default();
    let events = state.decide(create).map_err(|error| refused(error, ""))?;
    events.iter().cloned().for_each(|event| state.apply(event));
    let campaign = CampaignDetail::of(&CampaignListed {
        campaign: row(campaign_id, &state, 1, mint.at(), mint.at()),
        contact_count: 0,
        assigned_count: 0,
    });
    let warnings = ctx.warnings();
    let mut plan = Plan {
        writes: vec![Write {
            stream: Stream::of::<Campaign>(campaign_id),
            expected: 0,
            events: events.into_iter().map(Into::into).collect(),
        }],
        guards: vec![],
        absent: vec![],
        // What is warned of lies beside the campaign, and changes with it when others work on: that is no drift.
        effects: Effects::one(campaign_id, "CREATED", &campaign),
        answer: CampaignCreated { campaign, warnings },
    };
    if let Some(script) = script {
        attach(&mut plan, &script, campaign_id)?;
    }
    Ok(plan)
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
    let (organization, name) = (ctx.organization(), name.to_owned());
    let looked =
        ctx.ask(move |view| Box::pin(async move { campaigns::with_name(view, organization, &name).await }));
    let same = looked.await?;
    if let Some(first) = same.iter().find(|found| Some(**found) != own) {
        ctx.warn("DUPLICATE_NAME", format!("campaign {first} has the same name"), Some("name"));
    }
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

/// Change a campaign: only what the patch names changes, null clears. Status goes draft to active or archived, active
/// and paused to each other, to completed or archived; archived is final. A patch that changes nothing records nothing.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct UpdateCampaign {
    /// The campaign.
    campaign_id: GivenCampaign,
    /// What is to change.
    patch: CampaignPatchInput,
    /// Refuse if the campaign has another version than this one.
    #[schemars(range(min = 0))]
    expected_version: Option<u64>,
}

/// What is to change.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
struct CampaignPatchInput {
    /// What it is called.
    #[schemars(length(min = 1, max = 200))]
    name: Option<String>,
    /// What it is about; null clears.
    #[serde(default)]
    #[schemars(length(max = 4000), extend("x-lines" = true))]
    description: Patch<String>,
    /// What it is to reach; null clears.
    #[serde(default)]
    #[schemars(length(max = 1000), extend("x-lines" = true))]
    goal: Patch<String>,
    /// Where it is to stand.
    status: Option<Name<CampaignStatus>>,
    /// The call script; null detaches.
    #[serde(default)]
    script_template_id: Patch<Given<ScriptTemplateId>>,
    /// The qualification form; null detaches.
    #[serde(default)]
    qualification_template_id: Patch<Given<QualificationTemplateId>>,
    /// The agents who work on it: all of them.
    #[schemars(length(max = 100))]
    agent_ids: Option<Vec<GivenAgent>>,
    /// First day, YYYY-MM-DD; null clears.
    #[serde(default)]
    #[schemars(extend("format" = "date"))]
    start_date: Patch<String>,
    /// Last day, YYYY-MM-DD; null clears.
    #[serde(default)]
    #[schemars(extend("format" = "date"))]
    end_date: Patch<String>,
    /// Attempts and hours for calls: what is named changes; null clears all of it.
    #[serde(default)]
    settings: Patch<SettingsPatch>,
}

/// What of the settings is to change.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct SettingsPatch {
    /// Calls without an answer after which a contact counts as unreachable; null clears.
    #[schemars(range(min = 1, max = 20))]
    max_attempts: Patch<u8>,
    /// The hours in which calls are made; null clears.
    call_window: Patch<Window>,
}

#[derive(Serialize, JsonSchema)]
struct CampaignUpdated {
    campaign: CampaignDetail,
    /// What differs.
    changes: Vec<FieldChange>,
    /// What completing or archiving means for the work that is still to do.
    consequences: Option<Consequences>,
}

#[derive(Serialize, JsonSchema)]
struct FieldChange {
    /// As the patch names it.
    field: &'static str,
    /// Before.
    from: Value,
    /// After.
    to: Value,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Consequences {
    /// Contacts with work still to do, which nobody will call any more.
    open_contacts: u64,
    /// Follow-ups that stay as they are and that nobody will see to.
    follow_ups: FollowUps,
    /// Sequences that stop.
    sequences: u64,
}

async fn update_outbound_campaign(
    ctx: ToolContext,
    input: UpdateCampaign,
    mint: Mint,
) -> ToolResult<Plan<CampaignUpdated>> {
    let before = ctx.state::<Campaign>(input.campaign_id.id).await?;
    let listed = shown(&ctx, &input.campaign_id, &before).await?;
    expect(input.expected_version, before.version)?;

    let wanted = input.patch;
    let (script, script_template_id) = script_wanted(&ctx, wanted.script_template_id).await?;
    let patch = CampaignPatch {
        name: wanted.name,
        description: wanted.description.nested().map(|text| text.and_then(|text| some_text(Some(text)))),
        goal: wanted.goal.nested().map(|text| text.and_then(|text| some_text(Some(text)))),
        status: wanted.status.map(|status| status.0),
        script_template_id,
        qualification_template_id: form_attached(&ctx, wanted.qualification_template_id).await?,
        agent_ids: match &wanted.agent_ids {
            Some(given) => Some(staff(&ctx, given, "patch.agentIds").await?),
            None => None,
        },
        start_date: wanted.start_date.nested(),
        end_date: wanted.end_date.nested(),
        settings: merged(&before.state.settings, wanted.settings)?,
    };
    let known_as = before.state.text.as_ref().and_then(Personal::value).map(|text| &text.name);
    if let Some(name) = patch.name.as_ref().filter(|name| Some(*name) != known_as) {
        same_name(&ctx, Some(input.campaign_id.id), name).await?;
    }
    let (mut plan, campaign) = changed(&listed, &before, patch, script, mint)?;
    let status = campaign.campaign.status;
    // Neither takes calls or contacts any more.
    let ended = !status.takes_contacts() && before.state.status != status;
    let consequences = if ended {
        let consequences = consequences(&ctx, campaign.campaign.campaign_id).await?;
        ctx.affects(consequences.open_contacts);
        Some(consequences)
    } else {
        None
    };
    // What becomes of the work that is still to do is part of what is said yes to.
    if let Some(consequences) = &consequences {
        plan.effects = effects(campaign.campaign.campaign_id, &plan.answer, Some(consequences));
    }
    Ok(plan.answering(|changes| CampaignUpdated {
        campaign: CampaignDetail::of(&campaign),
        changes,
        consequences,
    }))
}

/// What becomes of the work on a campaign when it ends.
async fn consequences(ctx: &ToolContext, campaign: CampaignId) -> ToolResult<Consequences> {
    let (organization, now) = (ctx.organization(), ctx.now());
    let looked = ctx.ask(move |view| Box::pin(unfinished::of_campaign(view, organization, campaign, now)));
    let Unfinished { open_contacts, follow_ups, sequences } = looked.await?;
    Ok(Consequences { open_contacts, follow_ups: follow_ups.into(), sequences })
}

/// Refuses if the thing is not at the version that the caller saw.
pub fn expect(expected: Option<u64>, actual: u64) -> ToolResult<()> {
    match expected {
        Some(expected) if expected != actual => Err(Refusal::VersionConflict { expected, actual }),
        _ => Ok(()),
    }
}

/// What a patch says of the script: one with which something new may be begun, or none.
async fn script_wanted(
    ctx: &ToolContext,
    wanted: Patch<GivenScript>,
) -> ToolResult<(Option<Versioned<ScriptTemplate>>, Option<Option<ScriptTemplateId>>)> {
    match wanted {
        Patch::Keep => Ok((None, None)),
        Patch::Clear => Ok((None, Some(None))),
        Patch::Set(given) => Ok((Some(usable(ctx, &given).await?), Some(Some(given.id)))),
    }
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

/// The qualification form that a campaign is to have: one that exists, or none.
async fn form_attached(
    ctx: &ToolContext,
    wanted: Patch<GivenQualificationTemplate>,
) -> ToolResult<Option<Option<QualificationTemplateId>>> {
    Ok(match wanted {
        Patch::Keep => None,
        Patch::Clear => Some(None),
        Patch::Set(given) => Some(Some(known_template(ctx, &given).await?)),
    })
}

fn merged(before: &CampaignSettings, wanted: Patch<SettingsPatch>) -> ToolResult<Option<CampaignSettings>> {
    let wanted = match wanted {
        Patch::Keep => return Ok(None),
        Patch::Clear => return Ok(Some(CampaignSettings::default())),
        Patch::Set(wanted) => wanted,
    };
    let call_window = match wanted.call_window {
        Patch::Keep => before.call_window.clone(),
        Patch::Clear => None,
        Patch::Set(window) => Some(window.checked("patch.settings.callWindow")?),
    };
    Ok(Some(CampaignSettings {
        max_attempts: wanted.max_attempts.nested().unwrap_or(before.max_attempts),
        call_window,
    }))
}

/// Decides a patch: the plan with the differences, and the campaign as it is after it.
fn changed(
    listed: &CampaignListed,
    before: &Versioned<Campaign>,
    patch: CampaignPatch,
    script: Option<Versioned<ScriptTemplate>>,
    mint: Mint,
) -> ToolResult<(Plan<Vec<FieldChange>>, CampaignListed)> {
    let campaign_id = listed.campaign.campaign_id;
    let change = CampaignCommand::Change(Box::new(patch));
    let events = before.state.decide(change).map_err(|error| refused(error, "patch."))?;
    let mut state = (*before.state).clone();
    events.iter().cloned().for_each(|event| state.apply(event));
    let version = before.version + events.len() as u64;
    let updated_at = if events.is_empty() { listed.campaign.updated_at } else { mint.at() };
    let after = CampaignListed {
        campaign: row(campaign_id, &state, version, listed.campaign.created_at, updated_at),
        contact_count: listed.contact_count,
        assigned_count: listed.assigned_count,
    };
    let known = CampaignListed {
        campaign: row(campaign_id, &before.state, before.version, listed.campaign.created_at, updated_at),
        ..after.clone()
    };
    let changes = differences(&CampaignDetail::of(&known), &CampaignDetail::of(&after));
    let effects = if events.is_empty() { Effects::none() } else { effects(campaign_id, &changes, None) };
    let writes = if events.is_empty() { vec![] } else { vec![before.write(events)] };
    let mut plan = Plan { writes, guards: vec![], absent: vec![], effects, answer: changes };
    match script {
        Some(script) if before.state.script_template_id != state.script_template_id => {
            attach(&mut plan, &script, campaign_id)?;
        }
        // It has that one already, which must not be deleted meanwhile.
        Some(script) => plan.guards.push(script.guard()),
        None => (),
    }
    Ok((plan, after))
}

/// What a change does, and what follows from it.
fn effects(id: CampaignId, changes: &[FieldChange], consequences: Option<&Consequences>) -> Effects {
    let fields: Vec<&str> = changes.iter().map(|change| change.field).collect();
    Effects::one(id, &format!("CHANGED {}", fields.join(",")), &(changes, consequences))
}

fn differences(before: &CampaignDetail, after: &CampaignDetail) -> Vec<FieldChange> {
    let fields = |campaign: &CampaignDetail| -> [(&'static str, Value); 10] {
        let summary = &campaign.summary;
        [
            ("name", json!(summary.name)),
            ("description", json!(campaign.description)),
            ("goal", json!(campaign.goal)),
            ("status", json!(summary.status)),
            ("scriptTemplateId", json!(summary.script_template_id)),
            ("qualificationTemplateId", json!(summary.qualification_template_id)),
            ("agentIds", json!(campaign.agent_ids)),
            ("startDate", json!(campaign.start_date)),
            ("endDate", json!(campaign.end_date)),
            ("settings", json!(campaign.settings)),
        ]
    };
    fields(before)
        .into_iter()
        .zip(fields(after))
        .filter(|((_, from), (_, to))| from != to)
        .map(|((field, from), (_, to))| FieldChange { field, from, to })
        .collect()
}

/// Attach a call script or a qualification form to a campaign, or detach it with null. Executions that are under way
/// keep the version that they began with. Attaching what is attached already records nothing.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AttachTemplates {
    /// The campaign.
    campaign_id: GivenCampaign,
    /// The call script; null detaches, absent keeps.
    #[serde(default)]
    script_template_id: Patch<Given<ScriptTemplateId>>,
    /// The qualification form; null detaches, absent keeps.
    #[serde(default)]
    qualification_template_id: Patch<Given<QualificationTemplateId>>,
}

#[derive(Serialize, JsonSchema)]
struct TemplatesAttached {
    campaign: CampaignDetail,
    /// What was attached before.
    previous: Templates,
    /// Whether anything differs.
    changed: bool,
}

async fn attach_campaign_templates(
    ctx: ToolContext,
    input: AttachTemplates,
    mint: Mint,
) -> ToolResult<Plan<TemplatesAttached>> {
    if input.script_template_id.is_keep() && input.qualification_template_id.is_keep() {
        let message = "give scriptTemplateId, qualificationTemplateId or both; null detaches";
        return Err(Refusal::field("", "AT_LEAST_ONE_OF", message));
    }
    let before = ctx.state::<Campaign>(input.campaign_id.id).await?;
    let listed = shown(&ctx, &input.campaign_id, &before).await?;
    let (script, script_template_id) = script_wanted(&ctx, input.script_template_id).await?;
    let patch = CampaignPatch {
        script_template_id,
        qualification_template_id: form_attached(&ctx, input.qualification_template_id).await?,
        ..CampaignPatch::default()
    };
    let previous = Templates {
        script_template_id: before.state.script_template_id.map(ScriptTemplateId::uuid),
        qualification_template_id: before.state.qualification_template_id.map(QualificationTemplateId::uuid),
    };
    let (plan, campaign) = changed(&listed, &before, patch, script, mint)?;
    Ok(plan.answering(|changes| TemplatesAttached {
        campaign: CampaignDetail::of(&campaign),
        previous,
        changed: !changes.is_empty(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start: &str, end: &str, tz: &str) -> Window {
        Window { start: start.into(), end: end.into(), tz: tz.into() }
    }

    #[test]
    fn a_call_window_is_some_hours_in_a_time_zone_that_exists() {
        for (window, expected) in [
            (window("09:00", "18:00", "Europe/Paris"), Ok("Europe/Paris")),
            (window("22:00", "06:00", "europe/paris"), Ok("Europe/Paris")),
            (window("09:00", "09:00", "Europe/Paris"), Err("EMPTY_WINDOW")),
            (window("09:00", "18:00", "Europe/Pari"), Err("UNKNOWN_TIME_ZONE")),
            (window("09:00", "18:00", "../../etc/passwd"), Err("UNKNOWN_TIME_ZONE")),
        ] {
            let shown = format!("{window:?}");
            match (window.checked("settings.callWindow"), expected) {
                (Ok(window), Ok(tz)) => assert_eq!(window.tz, tz),
                (Err(refusal), Err(code)) => assert_eq!(refusal.field_errors()[0].code, code, "{shown}"),
                (got, _) => panic!("{shown}: {got:?}"),
            }
        }
    }

    #[test]
    fn settings_change_only_where_the_patch_says() {
        let before = CampaignSettings {
            max_attempts: Some(3),
            call_window: Some(CallWindow { start: "09:00".into(), end: "10:00".into(), tz: "UTC".into() }),
        };
        let patch = |value: Value| serde_json::from_value::<Patch<SettingsPatch>>(value).unwrap();
        let after = merged(&before, patch(json!({ "maxAttempts": 5 }))).unwrap().unwrap();
        assert_eq!((after.max_attempts, after.call_window), (Some(5), before.call_window.clone()));
        let after = merged(&before, patch(json!({ "callWindow": null }))).unwrap().unwrap();
        assert_eq!((after.max_attempts, after.call_window), (Some(3), None));
        assert_eq!(merged(&before, patch(json!(null))).unwrap(), Some(CampaignSettings::default()));
        assert_eq!(merged(&before, Patch::Keep).unwrap(), None);
    }
}
