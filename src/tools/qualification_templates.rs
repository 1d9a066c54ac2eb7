//! What an agent may do with qualification templates: see them, make them, and make new versions of them.
//!
//! A template is never deleted: records point to its versions. One that is not wanted any more is detached from its
//! campaigns.

mod document;
mod exchanging;

use std::collections::BTreeSet;

use cqrs_es::Aggregate;
use docket_aggregates::Decides;
use docket_aggregates::ids::{OrganizationId, QualificationTemplateId};
use docket_aggregates::qualification_template::{
    BreakingChange, Broken, Faultless, FormFault, FormPatch, QualificationForm, QualificationTemplate,
    QualificationTemplateCommand, QualificationTemplateError, breaking_changes,
};
use docket_projections::Total;
use docket_projections::qualification_templates::{
    self as rows, FormVersion, QualificationTemplateFilter, QualificationTemplateListed,
    QualificationTemplateRow,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use self::document::{FieldDocument, FormDocument, ScoringDocument, told};
use super::campaigns::{expect, found as campaign_found};
use super::example::QUALIFICATION_TEMPLATE_ID;
use super::input::{Given, GivenCampaign, Moment, Patch};
use super::script_templates::UsingCampaign;
use super::{Draft, Effects, Kind, Mint, Plan, Refusal, ToolContext, ToolResult, tool};
use crate::envelope::Warning;
use crate::ledger::{Stream, Versioned, Write};
use crate::readside::View;

pub(super) fn tools() -> Vec<Draft> {
    let mut tools = vec![
        tool!(list list_qualification_templates)
            .example("All of them, by name", json!({}))
            .example("Those about heating", json!({ "search": "heating", "limit": 10 })),
        tool!(read get_qualification_template)
            .whole()
            .example("Its newest version", json!({ "templateId": QUALIFICATION_TEMPLATE_ID }))
            .example("Its first version", json!({ "templateId": QUALIFICATION_TEMPLATE_ID, "version": 1 })),
        tool!(Write create_qualification_template)
            .heavy()
            .adding()
            .example(
                "Two questions",
                json!({
                    "name": "Interest",
                    "fields": [
                        { "key": "interested", "label": "Wants an offer?", "type": "boolean", "required": true },
                        { "key": "remark", "label": "Remark", "type": "text", "maxLength": 500 },
                    ],
                }),
            )
            .example(
                "With points, tried out first",
                json!({
                    "name": "Heating",
                    "description": "What decides whether a heat pump is worth it",
                    "fields": [
                        { "key": "fuel", "label": "Fuel", "type": "select", "required": true, "options": ["gas", "oil", "wood"] },
                        { "key": "area", "label": "Heated area in square metres", "type": "number", "min": 10, "max": 2000 },
                        { "key": "works", "label": "Works wanted", "type": "multiselect", "options": ["heating", "insulation"] },
                    ],
                    "scoring": {
                        "rules": [
                            { "key": "fuel", "operator": "equals", "value": "oil", "points": 30 },
                            { "key": "area", "operator": "at_least", "value": 90, "points": 20 },
                            { "key": "works", "operator": "includes", "value": "heating", "points": 20 },
                        ],
                        "qualifyThreshold": 50,
                    },
                    "dryRun": true,
                }),
            ),
        tool!(Write update_qualification_template)
            .heavy()
            .repeatable()
            .example(
                "Say what it is for",
                json!({
                    "templateId": QUALIFICATION_TEMPLATE_ID,
                    "patch": { "description": "Asked in the first call" },
                }),
            )
            .example(
                "What other questions would break",
                json!({
                    "templateId": QUALIFICATION_TEMPLATE_ID,
                    "patch": { "fields": [{ "key": "budget", "label": "Budget", "type": "number", "required": true }], "scoring": null },
                    "dryRun": true,
                }),
            ),
    ];
    tools.extend(exchanging::tools());
    tools
}

/// The form of a document, for the sample's own test.
#[cfg(test)]
pub fn form_of_document(document: serde_json::Value) -> Result<QualificationForm, Vec<FormFault>> {
    let document: FormDocument = serde_json::from_value(document).expect("the sample's forms are documents");
    document.form().map(Faultless::into_form)
}

/// A qualification template id as given.
pub type GivenQualificationTemplate = Given<QualificationTemplateId>;

/// Campaigns that are named in an answer, at most.
const CAMPAIGNS_SHOWN: i64 = 20;

/// The template, if it exists. One of another organization does not exist here.
pub async fn known_template(
    ctx: &ToolContext,
    given: &GivenQualificationTemplate,
) -> ToolResult<QualificationTemplateId> {
    let template = ctx.app().ledger.load::<QualificationTemplate>(ctx.organization(), given.id).await?;
    if template.exists() {
        Ok(given.id)
    } else {
        Err(Refusal::not_found(Kind::QualificationTemplate, &given.text))
    }
}

/// Some template, for the examples.
pub async fn some_template(view: &mut View, organization: OrganizationId) -> ToolResult<Option<Uuid>> {
    let (page, _) = rows::list(view, organization, &QualificationTemplateFilter::default(), None, 1).await?;
    Ok(page.rows.first().map(|listed| listed.template.template_id.uuid()))
}

/// A version of a template.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Template {
    template_id: Uuid,
    #[serde(flatten)]
    form: FormDocument,
    /// The number of this version.
    version: u64,
    /// When the template was created.
    created_at: Moment,
    /// When this version was made.
    updated_at: Moment,
}

/// A template, as lists show it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct TemplateSummary {
    template_id: Uuid,
    /// Empty once erased.
    name: String,
    /// How many fields it has.
    field_count: u64,
    /// Whether it weighs answers.
    scored: bool,
    /// The number of the newest version.
    version: u64,
    /// Campaigns that use it, archived ones not counted.
    used_by_campaigns: u64,
    created_at: Moment,
    updated_at: Moment,
}

impl TemplateSummary {
    fn of(listed: QualificationTemplateListed) -> Self {
        let template = listed.template;
        Self {
            template_id: template.template_id.uuid(),
            name: template.name.unwrap_or_default(),
            field_count: template.fields,
            scored: template.scored,
            version: template.version,
            used_by_campaigns: listed.used_by_campaigns,
            created_at: template.created_at.into(),
            updated_at: template.updated_at.into(),
        }
    }
}

/// List qualification templates: the forms that are filled in about contacts. Filter by words or by the campaign that
/// uses them.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ListTemplates {
    /// Part of the name, the description or a label; case and accents do not matter.
    #[schemars(length(max = 200))]
    search: Option<String>,
    /// Only the template of this campaign.
    campaign_id: Option<GivenCampaign>,
}

#[derive(Serialize, JsonSchema)]
struct TemplatesListed {
    templates: Vec<TemplateSummary>,
}

async fn list_qualification_templates(ctx: ToolContext, input: ListTemplates) -> ToolResult<TemplatesListed> {
    let after = ctx.after()?;
    let mut view = ctx.view().await?;
    if let Some(given) = &input.campaign_id {
        campaign_found(&mut view, &ctx, given).await?;
    }
    let filter = QualificationTemplateFilter {
        search: input.search,
        campaign_id: input.campaign_id.map(|given| given.id),
    };
    let (page, total) =
        rows::list(&mut view, ctx.organization(), &filter, after.as_ref(), ctx.limit()).await?;
    ctx.paginate(page.next, Total::Exactly(total))?;
    Ok(TemplatesListed { templates: page.rows.into_iter().map(TemplateSummary::of).collect() })
}

/// See one qualification template with all its fields and rules, at its newest version or at the one that a record is
/// under. For the JSON Schema of its answers call `get_qualification_schema`.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct GetTemplate {
    /// The template.
    template_id: GivenQualificationTemplate,
    /// Which version; the newest if not said.
    #[schemars(range(min = 1))]
    version: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct TemplateShown {
    template: Template,
    /// The number of the newest version.
    newest_version: u64,
    /// Up to 20 campaigns that use it, archived ones left out.
    used_by_campaigns: Vec<UsingCampaign>,
}

async fn get_qualification_template(ctx: ToolContext, input: GetTemplate) -> ToolResult<TemplateShown> {
    let mut view = ctx.view().await?;
    let (row, version, form) = version_found(&mut view, &ctx, &input.template_id, input.version).await?;
    let campaigns = rows::campaigns(&mut view, ctx.organization(), row.template_id, CAMPAIGNS_SHOWN).await?;
    Ok(TemplateShown {
        template: Template {
            template_id: row.template_id.uuid(),
            form: FormDocument::of(&form),
            version: version.version,
            created_at: row.created_at.into(),
            updated_at: version.made_at.into(),
        },
        newest_version: row.version,
        used_by_campaigns: campaigns.into_iter().map(Into::into).collect(),
    })
}

/// A version of a template in the read models. One that was erased is not there any more.
pub async fn version_found(
    view: &mut View,
    ctx: &ToolContext,
    given: &GivenQualificationTemplate,
    version: Option<u64>,
) -> ToolResult<(QualificationTemplateRow, FormVersion, QualificationForm)> {
    let unknown = || Refusal::not_found(Kind::QualificationTemplate, &given.text);
    let organization = ctx.organization();
    let row = rows::get(view, organization, given.id).await?.ok_or_else(unknown)?;
    let number = version.unwrap_or(row.version);
    let version = rows::version(view, organization, given.id, number).await?.ok_or_else(|| {
        Refusal::not_found(Kind::QualificationTemplate, format!("{} version {number}", given.text))
    })?;
    let form = version.form.clone().ok_or_else(unknown)?;
    Ok((row, version, form))
}

/// Make a qualification template: the questions whose answers decide whether a contact is one to win, and what each
/// answer is worth. A second one of the same name is allowed and warned about. Attach it to a campaign with
/// `attach_campaign_templates`.
#[derive(Deserialize, JsonSchema)]
struct CreateTemplate {
    #[serde(flatten)]
    form: FormDocument,
}

#[derive(Serialize, JsonSchema)]
struct TemplateCreated {
    template: Template,
    /// What you should know although the template is created.
    warnings: Vec<Warning>,
}

async fn create_qualification_template(
    ctx: ToolContext,
    input: CreateTemplate,
    mut mint: Mint,
) -> ToolResult<Plan<TemplateCreated>> {
    let form = input.form.form().map_err(|faults| Refusal::invalid_template(told(&faults, "")))?;
    same_name(&ctx, None, &form.name).await?;
    doubts(&ctx, &form, "");
    let template_id: QualificationTemplateId = mint.id();
    let write = created(template_id, form.clone())?;
    let template = Template {
        template_id: template_id.uuid(),
        form: FormDocument::of(&form),
        version: 1,
        created_at: mint.at().into(),
        updated_at: mint.at().into(),
    };
    Ok(Plan {
        writes: vec![write],
        guards: vec![],
        absent: vec![],
        effects: Effects::one(template_id, "CREATED", &template),
        answer: TemplateCreated { template, warnings: ctx.warnings() },
    })
}

/// The events of a new template.
fn created(template_id: QualificationTemplateId, form: Faultless) -> ToolResult<Write> {
    let create = QualificationTemplateCommand::Create { template_id, form };
    let events = QualificationTemplate::default().decide(create).map_err(|error| refused(error, ""))?;
    Ok(Write {
        stream: Stream::of::<QualificationTemplate>(template_id),
        expected: 0,
        events: events.into_iter().map(Into::into).collect(),
    })
}

/// A refusal of the aggregate, with the fields that it is about where there are any.
fn refused(error: QualificationTemplateError, path: &str) -> Refusal {
    match error {
        QualificationTemplateError::Faulty(faults) => Refusal::invalid_template(told(&faults, path)),
        other => other.into(),
    }
}

/// Warns of another template of the same name.
async fn same_name(ctx: &ToolContext, own: Option<QualificationTemplateId>, name: &str) -> ToolResult<()> {
    let mut view = ctx.view().await?;
    let same = rows::with_names(&mut view, ctx.organization(), &[name]).await?;
    if let Some((first, _)) = same.iter().find(|(found, _)| Some(*found) != own) {
        ctx.warn("DUPLICATE_NAME", format!("template {first} has the same name"), Some("name"));
    }
    Ok(())
}

/// Warns of what is allowed and probably not meant.
fn doubts(ctx: &ToolContext, form: &QualificationForm, path: &str) {
    for FormFault { path: place, code, message } in form.doubts() {
        ctx.warn(code, message, Some(&format!("{path}{place}")));
    }
}

/// Make a new version of a qualification template: only what the patch names changes, null clears. What is recorded
/// already stays valid under its own version. breakingChanges says which answers that were accepted may not be any
/// more. A patch that changes nothing records nothing.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct UpdateTemplate {
    /// The template.
    template_id: GivenQualificationTemplate,
    /// What is to change.
    patch: TemplatePatch,
    /// Refuse if the template has another version than this one.
    #[schemars(range(min = 0))]
    expected_version: Option<u64>,
}

/// What is to change.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("minProperties" = 1))]
struct TemplatePatch {
    /// What the template is called.
    #[schemars(length(min = 1, max = 200))]
    name: Option<String>,
    /// What it is for; null clears.
    #[serde(default)]
    #[schemars(length(max = 2000), extend("x-lines" = true))]
    description: Patch<String>,
    /// What is asked: all fields, in their order.
    #[schemars(length(min = 1, max = 100))]
    fields: Option<Vec<FieldDocument>>,
    /// How answers are weighed: all of it; null weighs nothing.
    #[serde(default)]
    scoring: Patch<ScoringDocument>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct TemplateUpdated {
    template: Template,
    /// What differs from the version before.
    diff: Diff,
    /// Answers that were accepted before and may not be any more.
    breaking_changes: Vec<Breaking>,
    /// Up to 20 campaigns that use the template, archived ones left out.
    affected_campaigns: Vec<UsingCampaign>,
}

/// Fields by their keys.
#[derive(Default, Serialize, JsonSchema)]
struct Diff {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
    /// Whether name, description, scoring or the order of the fields differ.
    other: bool,
}

/// A change that breaks with the past.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct Breaking {
    /// The field.
    key: String,
    /// `removed_key`, `narrowed_options`, `type_change`, `new_required` or `narrowed_limits`.
    change: &'static str,
    /// The options that are gone.
    options: Option<Vec<String>>,
}

impl Breaking {
    fn of(change: BreakingChange) -> Self {
        let name = change.what.name();
        let options = match change.what {
            Broken::OptionsNarrowed(gone) => Some(gone),
            Broken::KeyRemoved | Broken::TypeChanged | Broken::NewRequired | Broken::LimitsNarrowed => None,
        };
        Self { key: change.key, change: name, options }
    }

    fn between(before: &QualificationForm, after: &QualificationForm) -> Vec<Self> {
        breaking_changes(before, after).into_iter().map(Self::of).collect()
    }
}

impl Diff {
    fn between(before: &QualificationForm, after: &QualificationForm) -> Self {
        let keys = |form: &QualificationForm, pick: &dyn Fn(&str) -> bool| -> Vec<String> {
            let keys = form.fields.iter().map(|field| field.key.clone());
            keys.filter(|key| pick(key)).collect()
        };
        let added = keys(after, &|key| before.field(key).is_none());
        let removed = keys(before, &|key| after.field(key).is_none());
        let changed =
            keys(after, &|key| before.field(key).is_some() && before.field(key) != after.field(key));
        let kept = |form: &QualificationForm, other: &QualificationForm| {
            keys(form, &|key| other.field(key).is_some())
        };
        let other = (&before.name, &before.description, &before.scoring)
            != (&after.name, &after.description, &after.scoring)
            || kept(before, after) != kept(after, before);
        Self { added, removed, changed, other }
    }
}

async fn update_qualification_template(
    ctx: ToolContext,
    input: UpdateTemplate,
    mint: Mint,
) -> ToolResult<Plan<TemplateUpdated>> {
    let organization = ctx.organization();
    let id = input.template_id.id;
    let before = ctx.app().ledger.load::<QualificationTemplate>(organization, id).await?;
    let Some(form) = before.state.form().cloned() else {
        return Err(Refusal::not_found(Kind::QualificationTemplate, &input.template_id.text));
    };
    expect(input.expected_version, before.version)?;
    let mut faults = Vec::new();
    let wanted = input.patch;
    let fields = wanted.fields.map(|documents| document::fields(documents, &mut faults));
    let judged = fields.as_deref().unwrap_or(&form.fields);
    let scoring = wanted.scoring.map(|scoring| scoring.scoring(judged, &mut faults)).nested();
    if !faults.is_empty() {
        return Err(Refusal::invalid_template(told(&faults, "patch")));
    }
    let description = wanted.description.nested().map(|text| text.filter(|text| !text.is_empty()));
    if let Some(name) = wanted.name.as_ref().filter(|name| **name != form.name) {
        same_name(&ctx, Some(id), name).await?;
    }
    let patch = FormPatch { name: wanted.name, description, fields, scoring };
    let revise = QualificationTemplateCommand::Revise(Box::new(patch));
    let (writes, after) = revised(&before, revise, "patch")?;
    doubts(&ctx, &after, "patch.");

    let mut view = ctx.view().await?;
    let row = rows::get(&mut view, organization, id).await?;
    let (created_at, updated_at) = row.map_or((mint.at(), mint.at()), |row| (row.created_at, row.updated_at));
    let campaigns = rows::campaigns(&mut view, organization, id, CAMPAIGNS_SHOWN).await?;
    drop(view);
    let unchanged = writes.is_empty();
    let affected: BTreeSet<Uuid> = campaigns.iter().map(|(campaign, _)| campaign.uuid()).collect();
    Ok(Plan {
        effects: match unchanged {
            true => Effects::none(),
            false => Effects::one(id, "REVISED", &(&form, &after, affected)),
        },
        guards: vec![],
        absent: vec![],
        answer: TemplateUpdated {
            template: Template {
                template_id: id.uuid(),
                form: FormDocument::of(&after),
                version: before.version + writes.len() as u64,
                created_at: created_at.into(),
                updated_at: if unchanged { updated_at } else { mint.at() }.into(),
            },
            diff: Diff::between(&form, &after),
            breaking_changes: Breaking::between(&form, &after),
            affected_campaigns: campaigns.into_iter().map(Into::into).collect(),
        },
        writes,
    })
}

/// Decides a change: what is to be recorded, and the form after it.
fn revised(
    before: &Versioned<QualificationTemplate>,
    change: QualificationTemplateCommand,
    path: &str,
) -> ToolResult<(Vec<Write>, QualificationForm)> {
    let events = before.state.decide(change).map_err(|error| refused(error, path))?;
    let mut state = (*before.state).clone();
    events.iter().cloned().for_each(|event| state.apply(event));
    let form = state.form().map(|form| (**form).clone()).ok_or(QualificationTemplateError::Erased)?;
    let writes = if events.is_empty() { vec![] } else { vec![before.write(events)] };
    Ok((writes, form))
}
