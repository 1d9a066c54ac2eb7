//! Scripts into being, and their next versions.

use std::collections::BTreeSet;

use cqrs_es::Aggregate as _;
use docket_aggregates::Decides as _;
use docket_aggregates::ids::ScriptTemplateId;
use docket_aggregates::script_template::{
    Finding, ScriptContent, ScriptPatch, ScriptTemplate, ScriptTemplateCommand, ScriptTemplateError,
    ScriptTemplateEvent, diff,
};
use docket_projections::script_templates;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::nodes::{ScriptNode, authoring_faults, read_nodes};
use super::{BODY_LEVELS, Imprint, LintShown, ScriptTemplateDetail, UsingCampaign, changeable, using};
use crate::ledger::{Stream, Write};
use crate::readside::View;
use crate::tools::campaigns::expect;
use crate::tools::example::SCRIPT_TEMPLATE_ID;
use crate::tools::input::{GivenScript, Patch};
use crate::tools::{Draft, Effects, Kind, Mint, Plan, Refusal, ToolContext, ToolResult, tool};

pub(super) fn tools() -> Vec<Draft> {
    vec![
        tool!(Write create_script_template)
            .heavy()
            .adding()
            .authored(|input| authoring_faults(input, ""))
            .levels(BODY_LEVELS)
            .example(
                "A greeting and a question",
                json!({
                    "name": "Premier contact",
                    "steps": [
                        { "id": "bonjour", "type": "instruction", "text": "Bonjour {{firstName}}, ici {{agentName}}." },
                        { "id": "besoin", "type": "question", "text": "Quel est votre projet ?", "required": true },
                    ],
                }),
            )
            .example(
                "With branches, tried out first",
                json!({
                    "name": "Owner or tenant",
                    "language": "en",
                    "steps": [
                        {
                            "id": "owner",
                            "type": "yesno",
                            "text": "Do you own the building?",
                            "branches": [
                                {
                                    "label": "Oui",
                                    "steps": [{
                                        "id": "size",
                                        "type": "select",
                                        "text": "How large is it?",
                                        "options": ["small", { "value": "large", "label": "More than ten flats" }],
                                        "branches": [{
                                            "label": "large",
                                            "steps": [{ "id": "flats", "type": "question", "text": "How many flats?" }],
                                        }],
                                    }],
                                },
                                { "label": "Non", "steps": [{ "id": "who", "type": "question", "text": "Who decides?" }] },
                            ],
                        },
                    ],
                    "dryRun": true,
                }),
            ),
        tool!(Write update_script_template)
            .heavy()
            .repeatable()
            .authored(|input| authoring_faults(&input["patch"], "patch."))
            .levels(BODY_LEVELS)
            .example(
                "Another description",
                json!({ "templateId": SCRIPT_TEMPLATE_ID, "patch": { "description": "For a first call" } }),
            )
            .example(
                "What other steps would change",
                json!({
                    "templateId": SCRIPT_TEMPLATE_ID,
                    "patch": {
                        "steps": [{ "id": "besoin", "type": "question", "text": "Quel est votre projet cette année ?" }],
                    },
                    "dryRun": true,
                }),
            ),
    ]
}

/// The language of a script when nobody says.
pub(super) const LANGUAGE: &str = "fr";

/// Write a call script. instruction is read out, question takes a free answer, yesno has branches labelled Oui and Non,
/// select has options and branches labelled with their values. A script that breaks a rule is refused with everything
/// that is wrong with it at once, each with its path and what was probably meant.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CreateScriptTemplate {
    /// What it is called.
    #[schemars(length(min = 1, max = 200))]
    name: String,
    /// What it is for.
    #[schemars(length(max = 2000), extend("x-lines" = true))]
    description: Option<String>,
    /// The language of its texts, a BCP 47 tag such as en-GB; fr if not said.
    #[schemars(length(min = 2, max = 35))]
    language: Option<String>,
    /// What the caller goes through, from top to bottom: at most 500 nodes, 20 levels deep, 256 KiB.
    #[schemars(extend("x-verbatim" = true))]
    steps: Vec<ScriptNode>,
}

#[derive(Serialize, JsonSchema)]
struct ScriptTemplateCreated {
    template: ScriptTemplateDetail,
    lint: LintShown,
}

async fn create_script_template(
    ctx: ToolContext,
    input: CreateScriptTemplate,
    mut mint: Mint,
) -> ToolResult<Plan<ScriptTemplateCreated>> {
    let content = ScriptContent {
        name: input.name,
        description: input.description.filter(|text| !text.is_empty()),
        language: input.language.unwrap_or_else(|| LANGUAGE.to_owned()),
        steps: read_nodes(input.steps),
    };
    let template_id: ScriptTemplateId = mint.id();
    let write = created(template_id, content.clone()).map_err(|error| refused(error, ""))?;
    same_name(&mut ctx.view().await?, &ctx, None, &content.name, "name").await?;
    let lint = LintShown::of(Some(&content));
    lint.warn(&ctx, "");
    let imprint =
        Imprint { template_id, version: 1, deleted: false, created_at: mint.at(), updated_at: mint.at() };
    let template = ScriptTemplateDetail::of(imprint, Some(&content));
    Ok(Plan {
        writes: vec![write],
        guards: vec![],
        absent: vec![],
        effects: Effects::one(template_id, "CREATED", &template),
        answer: ScriptTemplateCreated { template, lint },
    })
}

/// The first version of a template.
pub(super) fn created(
    template_id: ScriptTemplateId,
    content: ScriptContent,
) -> Result<Write, ScriptTemplateError> {
    let create = ScriptTemplateCommand::Create { template_id, content };
    let events = ScriptTemplate::default().decide(create)?;
    Ok(Write {
        stream: Stream::of::<ScriptTemplate>(template_id),
        expected: 0,
        events: events.into_iter().map(Into::into).collect(),
    })
}

/// A refusal of the aggregate, its findings with the path of the field that they are about.
pub(super) fn refused(error: ScriptTemplateError, prefix: &str) -> Refusal {
    match error {
        ScriptTemplateError::Invalid(findings) => {
            let findings = findings
                .into_iter()
                .map(|finding| Finding { path: format!("{prefix}{}", finding.path), ..finding });
            ScriptTemplateError::Invalid(findings.collect()).into()
        }
        other => other.into(),
    }
}

/// Warns of another template of the same name.
async fn same_name(
    view: &mut View,
    ctx: &ToolContext,
    own: Option<ScriptTemplateId>,
    name: &str,
    path: &str,
) -> ToolResult<()> {
    let same = script_templates::with_names(view, ctx.organization(), &[name]).await?;
    if let Some(other) = same.iter().find(|row| Some(row.template_id) != own) {
        let message = format!("script template {} has the same name", other.template_id);
        ctx.warn("DUPLICATE_NAME", message, Some(path));
    }
    Ok(())
}

/// Change a call script: what the patch names changes, and steps are replaced as a whole. A change makes the next
/// version; executions that are under way keep theirs, new ones begin with the new one. A patch that changes nothing
/// records nothing.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct UpdateScriptTemplate {
    /// The script.
    template_id: GivenScript,
    /// What is to change.
    patch: ScriptPatchInput,
    /// Refuse if the current version is another than this one.
    #[schemars(range(min = 0))]
    expected_version: Option<u64>,
}

/// What is to change.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1))]
struct ScriptPatchInput {
    /// What it is called.
    #[schemars(length(min = 1, max = 200))]
    name: Option<String>,
    /// What it is for; null clears.
    #[serde(default)]
    #[schemars(length(max = 2000), extend("x-lines" = true))]
    description: Patch<String>,
    /// The language of its texts.
    #[schemars(length(min = 2, max = 35))]
    language: Option<String>,
    /// All of the new steps.
    #[schemars(extend("x-verbatim" = true))]
    steps: Option<Vec<ScriptNode>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ScriptTemplateUpdated {
    template: ScriptTemplateDetail,
    /// Which nodes differ from the version before.
    diff: DiffShown,
    /// Campaigns whose next executions begin with the new version.
    affected_campaigns: Vec<UsingCampaign>,
    lint: LintShown,
}

/// Node ids that differ between two versions.
#[derive(Serialize, JsonSchema)]
struct DiffShown {
    added: Vec<String>,
    removed: Vec<String>,
    /// With another text, kind, option, set of branches or place.
    changed: Vec<String>,
}

async fn update_script_template(
    ctx: ToolContext,
    input: UpdateScriptTemplate,
    mint: Mint,
) -> ToolResult<Plan<ScriptTemplateUpdated>> {
    let organization = ctx.organization();
    let before = changeable(&ctx, &input.template_id).await?;
    expect(input.expected_version, u64::from(before.state.version))?;
    let wanted = input.patch;
    let patch = ScriptPatch {
        name: wanted.name,
        description: wanted.description.nested().map(|text| text.filter(|text| !text.is_empty())),
        language: wanted.language,
        steps: wanted.steps.map(read_nodes),
    };
    let template_id = input.template_id.id;
    let known = before.state.content().ok_or(ScriptTemplateError::Erased)?;
    let revise = ScriptTemplateCommand::Revise(Box::new(patch));
    let events = before.state.decide(revise).map_err(|error| refused(error, "patch."))?;
    let mut after = (*before.state).clone();
    events.iter().cloned().for_each(|event| after.apply(event));
    let content = after.content().ok_or(ScriptTemplateError::Erased)?;

    let mut view = ctx.view().await?;
    if content.name != known.name {
        same_name(&mut view, &ctx, Some(template_id), &content.name, "patch.name").await?;
    }
    let row = script_templates::get(&mut view, organization, template_id).await?;
    let row = row.ok_or_else(|| Refusal::not_found(Kind::ScriptTemplate, &input.template_id.text))?;
    let affected = using(&mut view, organization, template_id).await?;
    let reached: BTreeSet<Uuid> = affected.iter().map(|using| using.campaign_id.uuid()).collect();
    let lint = LintShown::of(Some(content));
    if !events.is_empty() {
        lint.warn(&ctx, "patch.");
    }
    let differences = diff(&known.steps, &content.steps);
    let imprint = Imprint {
        template_id,
        version: after.version,
        deleted: false,
        created_at: row.created_at,
        updated_at: if events.is_empty() { row.updated_at } else { mint.at() },
    };
    let answer = ScriptTemplateUpdated {
        template: ScriptTemplateDetail::of(imprint, Some(content)),
        diff: DiffShown {
            added: differences.added,
            removed: differences.removed,
            changed: differences.changed,
        },
        affected_campaigns: affected.into_iter().map(Into::into).collect(),
        lint,
    };
    let effects = match &events[..] {
        [] => Effects::none(),
        _ => Effects::one(template_id, "REVISED", &(known, content, reached)),
    };
    let writes = if events.is_empty() { vec![] } else { vec![before.write::<ScriptTemplateEvent>(events)] };
    Ok(Plan { writes, guards: vec![], absent: vec![], effects, answer })
}
