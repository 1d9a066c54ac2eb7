//! Finding a workspace, and what is in it at a glance.

use std::collections::BTreeMap;

use docket_aggregates::campaign::CampaignStatus;
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::membership::MembershipStatus;
use docket_projections::organizations::{self, MatchBy};
use docket_projections::overview;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::input::{Listed, Moment};
use super::{Draft, Refusal, ToolContext, ToolResult, tool};

pub(super) fn resolution() -> Vec<Draft> {
    vec![
        tool!(read crm_resolve_workspace)
            .unscoped()
            .example("By a part of the name", json!({ "query": "restaurant" }))
            .example(
                "By the owner's address only",
                json!({ "query": "owner@example.com", "matchBy": "owner_email", "limit": 1 }),
            ),
    ]
}

pub(super) fn tools() -> Vec<Draft> {
    vec![
        tool!(read get_crm_workspace_overview)
            .example("Everything at a glance", json!({}))
            .example("With every null spelled out", json!({ "responseFormat": "detailed" })),
    ]
}

/// Organizations that are looked at to tell whether a query is ambiguous, at most.
const LOOKED_AT: usize = 21;
/// Commands shown in an overview.
const ACTIVITY: i64 = 10;

/// Find the organization that a person means, by id, name, slug or owner's e-mail address. Call this first: every other
/// tool needs the organizationId that it answers. Organizations whose CRM module is off are listed with crmEnabled false.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ResolveWorkspace {
    /// What the person said: a name, slug, address or id. Case and accents do not matter.
    #[schemars(length(min = 1, max = 200))]
    query: String,
    /// What to compare it with; any if not said.
    match_by: Option<ResolveBy>,
    /// Matches to answer at most, 5 if not said.
    #[schemars(range(min = 1, max = 20))]
    limit: Option<usize>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ResolveBy {
    Any,
    Id,
    Name,
    Slug,
    OwnerEmail,
}

impl From<ResolveBy> for MatchBy {
    fn from(by: ResolveBy) -> Self {
        match by {
            ResolveBy::Any => Self::Any,
            ResolveBy::Id => Self::Id,
            ResolveBy::Name => Self::Name,
            ResolveBy::Slug => Self::Slug,
            ResolveBy::OwnerEmail => Self::OwnerEmail,
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct WorkspacesFound {
    /// The best match first.
    matches: Vec<WorkspaceMatch>,
    /// Whether more than one fits equally: ask the person which one is meant.
    ambiguous: bool,
    /// Whether the best match fits exactly, apart from case and accents.
    exact: bool,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct WorkspaceMatch {
    organization_id: Uuid,
    name: Option<String>,
    slug: Option<String>,
    owner_email: Option<String>,
    /// Whether its tools can be called; if not they answer 403 `CRM_MODULE_DISABLED`.
    crm_enabled: bool,
    /// How well it fits, from 0 to 1.
    score: f64,
    /// What it fits by, the best first.
    matched_on: Vec<&'static str>,
}

async fn crm_resolve_workspace(ctx: ToolContext, input: ResolveWorkspace) -> ToolResult<WorkspacesFound> {
    let mut view = ctx.view().await?;
    let by = input.match_by.map_or(MatchBy::Any, MatchBy::from);
    let mut found = organizations::resolve(&mut view, &input.query, by, LOOKED_AT).await?;
    // A token that is limited to one organization does not learn of any other.
    if let Some(own) = ctx.caller().organization_id {
        found.retain(|one| one.organization.organization_id == own);
    }
    let exact = found.iter().filter(|one| one.exact()).count();
    let ambiguous = found.len() > 1 && exact != 1;
    let limit = input.limit.unwrap_or(5);
    if found.len() > limit {
        ctx.truncated();
    }
    let matches = found
        .into_iter()
        .take(limit)
        .map(|one| {
            let profile = one.organization.profile;
            WorkspaceMatch {
                organization_id: one.organization.organization_id.uuid(),
                name: profile.as_ref().map(|profile| profile.name.clone()),
                slug: profile.as_ref().map(|profile| profile.slug.clone()),
                owner_email: profile.map(|profile| profile.owner_email),
                crm_enabled: one.organization.crm_enabled,
                score: one.score,
                matched_on: one.matched_on.into_iter().map(MatchBy::name).collect(),
            }
        })
        .collect();
    Ok(WorkspacesFound { matches, ambiguous, exact: exact > 0 })
}

/// See what is in the organization: counts of contacts, campaigns and follow-ups, its agents, and the latest changes.
/// Every number comes from a counter, so that this is cheap; call it before listing anything.
#[derive(Deserialize, JsonSchema)]
struct Overview {}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct WorkspaceOverview {
    organization: Workspace,
    counts: Counts,
    agents: AgentCounts,
    /// The latest changes, the newest first.
    recent_activity: Vec<Activity>,
    /// The log position that the counts reflect.
    position: i64,
}

/// An organization.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workspace {
    /// Its id.
    pub organization_id: Uuid,
    /// Its name; null once erased.
    pub name: Option<String>,
    /// Its slug.
    pub slug: Option<String>,
    /// Whether its tools can be called.
    pub crm_enabled: bool,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Counts {
    contacts: u64,
    campaigns: ByStatus,
    /// Contacts in campaigns: one contact in two campaigns counts twice.
    campaign_contacts: ByStatus,
    assigned: u64,
    unassigned: u64,
    calls: u64,
    script_templates: u64,
    qualification_templates: u64,
    executions: u64,
    qualifications: u64,
    follow_ups: FollowUps,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ByStatus {
    total: u64,
    by_status: BTreeMap<&'static str, u64>,
}

/// Follow-ups still to be seen to.
#[derive(Clone, Copy, Debug, Default, Serialize, JsonSchema)]
pub struct FollowUps {
    /// Not due yet.
    pub pending: u64,
    /// Due before now.
    pub overdue: u64,
}

impl From<docket_projections::follow_ups::FollowUpCounts> for FollowUps {
    fn from(counts: docket_projections::follow_ups::FollowUpCounts) -> Self {
        Self { pending: counts.pending, overdue: counts.overdue }
    }
}

#[derive(Serialize, JsonSchema)]
struct AgentCounts {
    total: u64,
    /// Those that take assignments.
    active: u64,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Activity {
    position: i64,
    audit_id: Uuid,
    tool: String,
    actor_type: String,
    actor_id: String,
    /// Events by type.
    events: BTreeMap<String, u64>,
    at: Moment,
}

/// Counts by name, those without any as zero.
pub fn by_name<T: Listed + Ord>(counts: &BTreeMap<T, u64>) -> BTreeMap<&'static str, u64> {
    T::all().into_iter().map(|one| (one.listed_name(), counts.get(&one).copied().unwrap_or(0))).collect()
}

/// The organization as answers show it.
pub async fn workspace(ctx: &ToolContext) -> ToolResult<Workspace> {
    workspace_of(ctx.app(), ctx.organization()).await
}

/// The organization as answers show it.
pub async fn workspace_of(app: &crate::app::App, id: OrganizationId) -> ToolResult<Workspace> {
    let organization = app.workspaces.get(&app.ledger, id).await?.ok_or(Refusal::UnknownOrganization)?;
    let profile = organization.profile();
    Ok(Workspace {
        organization_id: id.uuid(),
        name: profile.map(|profile| profile.name.clone()),
        slug: profile.map(|profile| profile.slug.clone()),
        crm_enabled: organization.crm_enabled(),
    })
}

async fn get_crm_workspace_overview(ctx: ToolContext, _: Overview) -> ToolResult<WorkspaceOverview> {
    let organization = workspace(&ctx).await?;
    let mut view = ctx.view().await?;
    let overview = overview::get(&mut view, ctx.organization(), ctx.now(), ACTIVITY).await?;
    let recent_activity = overview
        .recent_activity
        .into_iter()
        .map(|run| Activity {
            position: run.last_position,
            audit_id: run.command_id.uuid(),
            tool: run.tool,
            actor_type: run.actor_type,
            actor_id: run.actor_id,
            events: run.events,
            at: run.at.into(),
        })
        .collect();
    Ok(WorkspaceOverview {
        organization,
        counts: Counts {
            contacts: overview.contacts,
            campaigns: ByStatus {
                total: overview.campaigns_by_status.values().sum(),
                by_status: by_name::<CampaignStatus>(&overview.campaigns_by_status),
            },
            campaign_contacts: ByStatus {
                total: overview.memberships_by_status.values().sum(),
                by_status: by_name::<MembershipStatus>(&overview.memberships_by_status),
            },
            assigned: overview.assigned,
            unassigned: overview.unassigned,
            calls: overview.calls,
            script_templates: overview.script_templates,
            qualification_templates: overview.qualification_templates,
            executions: overview.executions,
            qualifications: overview.qualifications,
            follow_ups: overview.follow_ups.into(),
        },
        agents: AgentCounts { total: overview.agents, active: overview.active_agents },
        recent_activity,
        position: view.position,
    })
}
