//! Scripts out as files, and files in as scripts.
//!
//! What is exported holds no id of the organization and nothing about anybody; what is imported gets ids of its own.
//! Exporting, importing and exporting again gives the same template, byte by byte in canonical JSON.

mod file;

use std::borrow::Cow;
use std::collections::HashSet;

use docket_aggregates::Decides as _;
use docket_aggregates::ids::ScriptTemplateId;
use docket_aggregates::script_template::{
    ScriptContent, ScriptPatch, ScriptTemplate, ScriptTemplateCommand, ScriptTemplateError, lint,
};
use docket_projections::script_templates::{self, ScriptTemplateRow};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::writing::created;
use super::{BODY_LEVELS, FindingShown, LintShown, version};
use crate::ledger::Write;
use crate::spelling::shortened;
use crate::tools::example::SCRIPT_TEMPLATE_ID;
use crate::tools::input::{GivenScript, Moment};
use crate::tools::plan::outcome;
use crate::tools::refusal::{FieldError, MESSAGE_MAX, NAME_SHOWN};
use crate::tools::upserting::{self, UNCHANGED};
use crate::tools::{Draft, Effects, Mint, Plan, Refusal, ToolContext, ToolResult, tool};
use file::{Entry, Exported, checksum, entries, read_entry};

pub(super) fn tools() -> Vec<Draft> {
    let step = json!({ "id": "projet", "type": "question", "text": "Quel est votre projet ?" });
    vec![
        tool!(BulkWrite import_script_templates)
            .heavy()
            .levels(BODY_LEVELS)
            .example(
                "Two at once",
                json!({
                    "templates": [
                        { "name": "Relance devis", "steps": [step] },
                        { "name": "Enquête de satisfaction", "steps": [step] },
                    ],
                }),
            )
            .example(
                "What a file would bring up to date, by name",
                json!({
                    "document": r#"[{"name": "Relance devis", "steps": [{"id": "ok", "type": "yesno", "text": "Toujours d'actualité ?"}]}]"#,
                    "mode": "upsert_by_name",
                    "onError": "skip",
                    "dryRun": true,
                }),
            ),
        tool!(read export_script_template)
            .whole()
            .example("The current version", json!({ "templateId": SCRIPT_TEMPLATE_ID }))
            .example("As it was first written", json!({ "templateId": SCRIPT_TEMPLATE_ID, "version": 1, "format": "json" })),
    ]
}

/// Hand over one call script, in the form that `import_script_templates` takes: with a checksum, and without any id of
/// this organization.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ExportScriptTemplate {
    /// The script.
    template_id: GivenScript,
    /// Which version; the current one if not said.
    #[schemars(range(min = 1))]
    version: Option<u64>,
    /// json is the only one.
    #[serde(default)]
    #[allow(dead_code, reason = "there is nothing to choose yet")]
    format: Format,
}

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ScriptTemplateExported {
    /// The version of this form: 1.
    schema_version: u32,
    exported_at: Moment,
    /// SHA-256 of the template in canonical JSON (RFC 8785), in hexadecimal.
    sha256: String,
    template: Exported,
}

async fn export_script_template(
    ctx: ToolContext,
    input: ExportScriptTemplate,
) -> ToolResult<ScriptTemplateExported> {
    let mut view = ctx.view().await?;
    let (_, content) = version(&mut view, &ctx, &input.template_id, input.version).await?;
    let template = Exported::of(&content.ok_or(ScriptTemplateError::Erased)?);
    let written = serde_json::to_value(&template).map_err(|error| Refusal::Defect(error.to_string()))?;
    let sha256 = checksum(&written).map_err(|error| Refusal::Defect(error.to_string()))?;
    Ok(ScriptTemplateExported {
        schema_version: file::SCHEMA_VERSION,
        exported_at: ctx.now().into(),
        sha256,
        template,
    })
}

/// Take in call scripts, up to 50 at once: as `export_script_template` answers them, or as `create_script_template`
/// takes them. Ids in them are replaced by new ones. One that cannot be taken in stops all (onError abort), or is
/// skipped and told with everything that is wrong with it (skip).
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ImportScriptTemplates {
    /// The scripts. Give this or document.
    #[schemars(length(min = 1, max = 50), extend("x-opaque" = true))]
    templates: Option<Vec<Map<String, Value>>>,
    /// The text of a JSON file with one script, a list of them, or {"schemaVersion": 1, "templates": [...]}.
    #[schemars(length(min = 1, max = 1_048_576), extend("x-lines" = true))]
    document: Option<String>,
    /// What to do with a script whose name is there already; create if not said.
    mode: Option<ImportMode>,
    /// What to do when one cannot be taken in; abort if not said.
    on_error: Option<OnError>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ImportMode {
    /// Make another one of the same name, with a warning.
    #[default]
    Create,
    /// Make it the next version of the one that has exactly this name.
    UpsertByName,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum OnError {
    /// Take in nothing.
    #[default]
    Abort,
    /// Take in the others.
    Skip,
}

#[derive(Serialize, JsonSchema)]
struct ScriptTemplatesImported {
    /// New scripts.
    created: Vec<Imported>,
    /// Scripts that were there; those that say the same already keep their version, with a warning `UNCHANGED`.
    updated: Vec<Imported>,
    /// Scripts that cannot be taken in.
    skipped: Vec<Skipped>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Imported {
    /// Which of the scripts given, from 0.
    index: usize,
    template_id: Uuid,
    name: String,
    /// The current version.
    version: u32,
}

/// Faults of one skipped script that are shown, at most.
const ERRORS_SHOWN: usize = 20;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Skipped {
    /// Which of the scripts given, from 0.
    index: usize,
    /// What is wrong with it, up to 20 faults; paths begin within the script.
    errors: Vec<FindingShown>,
    /// How many more faults it has.
    errors_omitted: Option<usize>,
}

async fn import_script_templates(
    ctx: ToolContext,
    input: ImportScriptTemplates,
    mint: Mint,
) -> ToolResult<Plan<ScriptTemplatesImported>> {
    let entries = entries(input.templates, input.document.as_deref())?;
    let mode = input.mode.unwrap_or_default();
    let read: Vec<(Entry, Result<ScriptContent, Vec<FindingShown>>)> = entries
        .into_iter()
        .map(|mut entry| {
            let content = read_entry(&mut entry);
            (entry, content)
        })
        .collect();
    let names: Vec<&str> =
        read.iter().filter_map(|(_, content)| Some(content.as_ref().ok()?.name.as_str())).collect();
    let mut view = ctx.view().await?;
    let existing = script_templates::with_names(&mut view, ctx.organization(), &names).await?;
    drop(view);

    let mut import = Import {
        ctx: &ctx,
        mint,
        mode,
        existing,
        seen: HashSet::new(),
        room: lint::Room::default(),
        done: Done::default(),
    };
    for (index, (entry, content)) in read.into_iter().enumerate() {
        let taken = match content {
            Ok(content) => import.take(index, &entry, content).await?,
            Err(errors) => Err(errors),
        };
        if let Err(errors) = taken {
            import.done.refused.extend(errors.iter().map(|error| {
                let path = if error.path.is_empty() {
                    entry.path.clone()
                } else {
                    format!("{}.{}", entry.path, error.path)
                };
                FieldError::new(&path, error.code, error.message.clone())
            }));
            let omitted = errors.len().saturating_sub(ERRORS_SHOWN);
            let errors = errors.into_iter().take(ERRORS_SHOWN).collect();
            let errors_omitted = (omitted > 0).then_some(omitted);
            import.done.skipped.push(Skipped { index, errors, errors_omitted });
        }
    }
    let Done { writes, created, updated, skipped, refused, effects } = import.done;
    if !refused.is_empty() && input.on_error.unwrap_or_default() == OnError::Abort {
        return Err(Refusal::ImportRefused(refused.into_iter().take(FAULTS_MAX).collect()));
    }
    let effects = Effects::new(effects.into_iter().map(|(id, outcome)| (id, Cow::Owned(outcome))));
    let answer = ScriptTemplatesImported { created, updated, skipped };
    Ok(Plan { writes, guards: vec![], absent: vec![], effects, answer })
}

/// Faults of one import that are told, at most.
const FAULTS_MAX: usize = 500;

/// An import under way.
struct Import<'a> {
    ctx: &'a ToolContext,
    mint: Mint,
    mode: ImportMode,
    /// Templates that have one of the names, letter case aside.
    existing: Vec<ScriptTemplateRow>,
    /// Names that this import took in.
    seen: HashSet<String>,
    /// How much is still told of what breaks a rule.
    room: lint::Room,
    done: Done,
}

#[derive(Default)]
struct Done {
    writes: Vec<Write>,
    created: Vec<Imported>,
    updated: Vec<Imported>,
    skipped: Vec<Skipped>,
    refused: Vec<FieldError>,
    effects: Vec<(Uuid, String)>,
}

impl Import<'_> {
    /// Takes in one script, or tells everything that stands against it.
    async fn take(
        &mut self,
        index: usize,
        entry: &Entry,
        content: ScriptContent,
    ) -> ToolResult<Result<(), Vec<FindingShown>>> {
        let name = content.name.clone();
        let lint = LintShown::within(Some(&content), &mut self.room);
        if !lint.errors.is_empty() {
            return Ok(Err(lint.errors));
        }
        let same: Vec<ScriptTemplateId> =
            self.existing.iter().filter(|row| row.name() == name).map(|row| row.template_id).collect();
        let twice = !self.seen.insert(name.clone());
        match (self.mode, &same[..]) {
            (ImportMode::UpsertByName, _) if twice => {
                let message = "an earlier script of the same import has the same name";
                return Ok(Err(vec![finding("DUPLICATE_NAME", "name", message)]));
            }
            (ImportMode::UpsertByName, [_, _, ..]) => {
                let message = format!("{} scripts have this name; rename all but one", same.len());
                return Ok(Err(vec![finding("AMBIGUOUS_NAME", "name", &message)]));
            }
            (ImportMode::UpsertByName, [only])
                if self.revise(index, &entry.path, *only, &content).await? =>
            {
                lint.warn(self.ctx, &format!("{}.", entry.path));
                return Ok(Ok(()));
            }
            (ImportMode::Create, _) if twice || !same.is_empty() => {
                let message = format!("another script has the name {name:?}");
                self.ctx.warn("DUPLICATE_NAME", message, Some(&format!("{}.name", entry.path)));
            }
            (ImportMode::Create | ImportMode::UpsertByName, _) => (),
        }
        lint.warn(self.ctx, &format!("{}.", entry.path));
        let template_id: ScriptTemplateId = match self.mode {
            ImportMode::Create => self.mint.id(),
            ImportMode::UpsertByName => {
                let place = upserting::place::<ScriptTemplate>(self.ctx, &name).await?;
                if let Some((last, _)) = place.last
                    && self.revise(index, &entry.path, last.into(), &content).await?
                {
                    // Another import made it after this one looked for the name.
                    return Ok(Ok(()));
                }
                place.next.into()
            }
        };
        self.done.writes.push(created(template_id, content)?);
        self.done.effects.push((template_id.uuid(), "CREATED".to_owned()));
        self.done.created.push(Imported { index, template_id: template_id.uuid(), name, version: 1 });
        Ok(Ok(()))
    }

    /// Makes the content the next version of the template; false if that was deleted meanwhile, or has another name.
    async fn revise(
        &mut self,
        index: usize,
        path: &str,
        template_id: ScriptTemplateId,
        content: &ScriptContent,
    ) -> ToolResult<bool> {
        let organization = self.ctx.organization();
        let before = self.ctx.app().ledger.load::<ScriptTemplate>(organization, template_id).await?;
        let known = match before.state.content() {
            Some(known) if !before.state.deleted && known.name == content.name => known,
            _ => return Ok(false),
        };
        let patch = ScriptPatch {
            name: None,
            description: Some(content.description.clone()),
            language: Some(content.language.clone()),
            steps: Some(content.steps.clone()),
        };
        let events = before.state.decide(ScriptTemplateCommand::Revise(Box::new(patch)))?;
        let mut version = before.state.version;
        if events.is_empty() {
            self.ctx.warn(UNCHANGED, "the script says this already; its version stays", Some(path));
        } else {
            version += 1;
            self.done.effects.push((template_id.uuid(), outcome("REVISED", &(known, content))));
            self.done.writes.push(before.write(events));
        }
        let name = content.name.clone();
        self.done.updated.push(Imported { index, template_id: template_id.uuid(), name, version });
        Ok(true)
    }
}

fn finding(code: &'static str, path: &str, message: &str) -> FindingShown {
    let shown = |text: &str, max| shortened(text, max).into_owned();
    FindingShown { code, path: shown(path, NAME_SHOWN), message: shown(message, MESSAGE_MAX) }
}
