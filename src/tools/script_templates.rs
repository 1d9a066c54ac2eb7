//! What an agent may do with call scripts: see them, write them, hand them over.
//!
//! A version is never changed: a change makes the next one, and whoever goes through an earlier one goes on with it.
//! What may not be in a script is decided by the aggregate's linter; here its findings become fields of the input.

mod deleting;
mod exchange;
mod nodes;
mod writing;

use std::collections::BTreeMap;

use docket_aggregates::Timestamp;
use docket_aggregates::ids::{CampaignId, OrganizationId, ScriptTemplateId};
use docket_aggregates::script_template::{Finding, Lint, ScriptContent, ScriptTemplate, lint};
use docket_projections::campaigns::CampaignUsing;
use docket_projections::script_templates::{self, ScriptTemplateFilter, ScriptTemplateRow};
use docket_projections::{Total, campaigns, script_template_versions};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::campaigns::found;
use super::example::SCRIPT_TEMPLATE_ID;
use super::input::{GivenCampaign, GivenScript, Moment};
use super::{Draft, Kind, Refusal, ToolContext, ToolResult, tool};
use crate::ledger::Versioned;
use crate::readside::View;
use nodes::{ScriptNode, shown_nodes};

pub(super) fn tools() -> Vec<Draft> {
    let mut tools = vec![
        tool!(list list_script_templates).example("The newest scripts", json!({})).example(
            "By a part of the name, deleted ones too",
            json!({ "search": "contact", "includeDeleted": true }),
        ),
        tool!(read get_script_template)
            .whole()
            .example("The current version", json!({ "templateId": SCRIPT_TEMPLATE_ID }))
            .example("As it was first written", json!({ "templateId": SCRIPT_TEMPLATE_ID, "version": 1 })),
    ];
    tools.extend(writing::tools());
    tools.extend(deleting::tools());
    tools.extend(exchange::tools());
    tools
}

/// Levels of arrays and objects that the body of a call with steps may have: four for each of the 20 levels of a
/// script, and some for what is around it. One script too deep is to be told so by the linter.
const BODY_LEVELS: usize = 96;

/// A script template, as lists show it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ScriptTemplateSummary {
    template_id: Uuid,
    /// Empty once erased.
    name: String,
    description: Option<String>,
    /// The language of its texts, a BCP 47 tag.
    language: Option<String>,
    /// Nodes, those of all branches among them.
    node_count: u32,
    /// The current version, from 1.
    version: u32,
    status: TemplateStatus,
    /// Campaigns that it is attached to; archived ones do not count.
    used_by_campaigns: usize,
    created_at: Moment,
    updated_at: Moment,
}

/// A script template.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ScriptTemplateDetail {
    template_id: Uuid,
    /// Empty once erased.
    name: String,
    description: Option<String>,
    /// The language of its texts, a BCP 47 tag.
    language: Option<String>,
    /// What the caller goes through, from top to bottom.
    steps: Vec<ScriptNode>,
    /// Which version this is, from 1. Send it as expectedVersion to change only what you saw.
    version: u32,
    status: TemplateStatus,
    created_at: Moment,
    /// When the template last changed.
    updated_at: Moment,
}

/// Whether anything new can be begun with a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum TemplateStatus {
    Active,
    Deleted,
}

impl TemplateStatus {
    const fn of(deleted: bool) -> Self {
        if deleted { Self::Deleted } else { Self::Active }
    }
}

impl ScriptTemplateSummary {
    fn of(row: ScriptTemplateRow, used_by_campaigns: usize) -> Self {
        Self {
            template_id: row.template_id.uuid(),
            name: row.name().to_owned(),
            node_count: row.nodes,
            version: row.version,
            status: TemplateStatus::of(row.deleted),
            used_by_campaigns,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            language: row.head.as_ref().map(|head| head.language.clone()),
            description: row.head.and_then(|head| head.description),
        }
    }
}

/// What a version is besides its content.
#[derive(Clone, Copy)]
struct Imprint {
    template_id: ScriptTemplateId,
    version: u32,
    deleted: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl ScriptTemplateDetail {
    fn of(imprint: Imprint, content: Option<&ScriptContent>) -> Self {
        Self {
            template_id: imprint.template_id.uuid(),
            name: content.map(|content| content.name.clone()).unwrap_or_default(),
            description: content.and_then(|content| content.description.clone()),
            language: content.map(|content| content.language.clone()),
            steps: content.map(|content| shown_nodes(&content.steps)).unwrap_or_default(),
            version: imprint.version,
            status: TemplateStatus::of(imprint.deleted),
            created_at: imprint.created_at.into(),
            updated_at: imprint.updated_at.into(),
        }
    }
}

/// What the authoring rules have to say about a script.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct LintShown {
    /// What stands against it; a script with any of these is not recorded.
    errors: Vec<FindingShown>,
    /// What its author should know.
    warnings: Vec<FindingShown>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
struct FindingShown {
    /// A name for machines.
    code: &'static str,
    /// Where in the script, as steps[2].branches[1].label; meta has the place in the input, as input.steps[2].
    path: String,
    /// One sentence.
    message: String,
}

impl LintShown {
    fn of(content: Option<&ScriptContent>) -> Self {
        Self::within(content, &mut lint::Room::default())
    }

    /// The same of one of several scripts of a call, which share the room.
    fn within(content: Option<&ScriptContent>, room: &mut lint::Room) -> Self {
        let Lint { errors, warnings } =
            content.map(|content| lint::lint_within(content, room)).unwrap_or_default();
        let shown = |findings: Vec<Finding>| {
            let shown = findings.into_iter();
            shown.map(|Finding { code, path, message }| FindingShown { code, path, message }).collect()
        };
        Self { errors: shown(errors), warnings: shown(warnings) }
    }

    /// Puts the warnings into `meta` too, with the path of the field that they are about.
    fn warn(&self, ctx: &ToolContext, prefix: &str) {
        for warning in &self.warnings {
            let path = format!("{prefix}{}", warning.path);
            ctx.warn(warning.code, warning.message.clone(), Some(&path));
        }
    }
}

/// A campaign that a template is attached to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsingCampaign {
    campaign_id: Uuid,
    name: String,
}

impl From<(CampaignId, String)> for UsingCampaign {
    fn from((campaign_id, name): (CampaignId, String)) -> Self {
        Self { campaign_id: campaign_id.uuid(), name }
    }
}

impl From<CampaignUsing> for UsingCampaign {
    fn from(using: CampaignUsing) -> Self {
        Self { campaign_id: using.campaign_id.uuid(), name: using.name }
    }
}

/// The campaigns that the template is attached to.
async fn using(
    view: &mut View,
    organization: OrganizationId,
    template: ScriptTemplateId,
) -> ToolResult<Vec<CampaignUsing>> {
    Ok(campaigns::using_scripts(view, organization, &[template]).await?)
}

/// List call scripts, the newest first, with how many nodes each has and how many campaigns use it. Deleted ones are
/// left out unless asked for. For the steps of one use `get_script_template`.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ListScriptTemplates {
    /// Part of the name or description; case and accents do not matter.
    #[schemars(length(max = 200))]
    search: Option<String>,
    /// Deleted ones as well.
    #[serde(default)]
    include_deleted: bool,
    /// Only the one that is attached to this campaign.
    campaign_id: Option<GivenCampaign>,
}

#[derive(Serialize, JsonSchema)]
struct ScriptTemplatesListed {
    templates: Vec<ScriptTemplateSummary>,
}

async fn list_script_templates(
    ctx: ToolContext,
    input: ListScriptTemplates,
) -> ToolResult<ScriptTemplatesListed> {
    let organization = ctx.organization();
    let after = ctx.after()?;
    let mut view = ctx.view().await?;
    if let Some(campaign) = &input.campaign_id {
        found(&mut view, &ctx, campaign).await?;
    }
    let filter = ScriptTemplateFilter {
        search: input.search,
        include_deleted: input.include_deleted,
        campaign_id: input.campaign_id.map(|campaign| campaign.id),
    };
    let (page, total) =
        script_templates::list(&mut view, organization, &filter, after.as_ref(), ctx.limit()).await?;
    ctx.paginate(page.next, Total::Exactly(total))?;
    let ids: Vec<ScriptTemplateId> = page.rows.iter().map(|row| row.template_id).collect();
    let mut used: BTreeMap<ScriptTemplateId, usize> = BTreeMap::new();
    for using in campaigns::using_scripts(&mut view, organization, &ids).await? {
        *used.entry(using.script_template_id).or_default() += 1;
    }
    let shown = page.rows.into_iter().map(|row| {
        let count = used.get(&row.template_id).copied().unwrap_or(0);
        ScriptTemplateSummary::of(row, count)
    });
    Ok(ScriptTemplatesListed { templates: shown.collect() })
}

/// See one call script with all its steps and what the authoring rules say about it: the current version, or an earlier
/// one. Deleted scripts can still be read. Texts are never shortened, so that steps can be changed and sent back.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct GetScriptTemplate {
    /// The script.
    template_id: GivenScript,
    /// Which version; the current one if not said.
    #[schemars(range(min = 1))]
    version: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
struct ScriptTemplateShown {
    template: ScriptTemplateDetail,
    lint: LintShown,
}

async fn get_script_template(ctx: ToolContext, input: GetScriptTemplate) -> ToolResult<ScriptTemplateShown> {
    let mut view = ctx.view().await?;
    let (imprint, content) = version(&mut view, &ctx, &input.template_id, input.version).await?;
    let content = content.as_ref();
    Ok(ScriptTemplateShown {
        template: ScriptTemplateDetail::of(imprint, content),
        lint: LintShown::of(content),
    })
}

/// One version of a template, whether or not that was deleted. One that does not exist is not found, like its template.
async fn version(
    view: &mut View,
    ctx: &ToolContext,
    given: &GivenScript,
    version: Option<u64>,
) -> ToolResult<(Imprint, Option<ScriptContent>)> {
    let organization = ctx.organization();
    let not_found = |id: String| Refusal::not_found(Kind::ScriptTemplate, id);
    let row = script_templates::get(view, organization, given.id).await?;
    let row = row.ok_or_else(|| not_found(given.text.clone()))?;
    let wanted = version.unwrap_or(row.version.into());
    let unknown = || not_found(format!("{} version {wanted}", given.text));
    let version = u32::try_from(wanted).map_err(|_| unknown())?;
    let found = script_template_versions::get(view, organization, given.id, version).await?;
    let found = found.ok_or_else(unknown)?;
    let imprint = Imprint {
        template_id: given.id,
        version,
        deleted: row.deleted,
        created_at: row.created_at,
        updated_at: row.updated_at,
    };
    Ok((imprint, found.content))
}

/// The template as its own stream has it. One of another organization does not exist here.
async fn loaded(ctx: &ToolContext, given: &GivenScript) -> ToolResult<Versioned<ScriptTemplate>> {
    let template = ctx.state::<ScriptTemplate>(given.id).await?;
    if template.state.exists() {
        Ok(template)
    } else {
        Err(Refusal::not_found(Kind::ScriptTemplate, &given.text))
    }
}

/// The template, if something new may be begun with it: it exists and was not deleted.
pub(super) async fn usable(ctx: &ToolContext, given: &GivenScript) -> ToolResult<Versioned<ScriptTemplate>> {
    let template = loaded(ctx, given).await?;
    if template.state.deleted { Err(Refusal::TemplateDeleted(given.text.clone())) } else { Ok(template) }
}

/// The template, if it can be changed. A deleted one is as if it did not exist.
async fn changeable(ctx: &ToolContext, given: &GivenScript) -> ToolResult<Versioned<ScriptTemplate>> {
    match usable(ctx, given).await {
        Err(Refusal::TemplateDeleted(text)) => Err(Refusal::not_found(Kind::ScriptTemplate, text)),
        template => template,
    }
}
