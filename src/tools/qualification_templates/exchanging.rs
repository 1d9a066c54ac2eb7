//! Forms from file to organization and back: what was exported here can be imported there.
//!
//! A file carries words and rules and no ids: who imports it gets templates of its own. Everything that is wrong with
//! it is found before anything is recorded.

use std::collections::HashSet;
use std::sync::LazyLock;

use docket_aggregates::ids::QualificationTemplateId;
use docket_aggregates::qualification_template::{
    Faultless, PatternRoom, QualificationTemplate, QualificationTemplateCommand,
};
use docket_projections::qualification_templates as rows;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::document::{FormDocument, told};
use super::{Breaking, GivenQualificationTemplate, created, doubts, revised, version_found};
use crate::json;
use crate::ledger::{Write, canonical};
use crate::tools::example::QUALIFICATION_TEMPLATE_ID;
use crate::tools::input::Moment;
use crate::tools::plan::outcome;
use crate::tools::refusal::unknown_field;
use crate::tools::schema::InputSchema;
use crate::tools::upserting::{self, UNCHANGED};
use crate::tools::{Draft, Effects, FieldError, Mint, Plan, Refusal, ToolContext, ToolResult, tool};

pub(super) fn tools() -> Vec<Draft> {
    vec![
        tool!(BulkWrite import_qualification_templates)
            .heavy()
            .example(
                "One template",
                json!({
                    "templates": [{
                        "name": "Roof",
                        "fields": [{ "key": "flat", "label": "Is the roof flat?", "type": "boolean" }],
                    }],
                }),
            )
            .example(
                "A file, tried out first",
                json!({
                    "document": "{\"schemaVersion\":1,\"template\":{\"name\":\"Loft\",\"fields\":[{\"key\":\"area\",\"label\":\"Area\",\"type\":\"number\"}]}}",
                    "mode": "upsert_by_name",
                    "dryRun": true,
                }),
            ),
        tool!(read export_qualification_template)
            .whole()
            .example("Its newest version", json!({ "templateId": QUALIFICATION_TEMPLATE_ID }))
            .example("Its first version", json!({ "templateId": QUALIFICATION_TEMPLATE_ID, "version": 1, "format": "json" })),
    ]
}

/// The version of the format of exported templates.
const SCHEMA_VERSION: u64 = 1;
/// Templates of one import, at most.
const TEMPLATES_MAX: usize = 50;

/// Import qualification templates from a file or as they are: those that an export gave, or written by hand. With
/// onError abort everything is imported or nothing; with skip, what can be. Ids in the file mean nothing here.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ImportTemplates {
    /// The templates, each bare or as `export_qualification_template` gave it. Give these or a document.
    #[schemars(length(min = 1, max = 50), extend("x-opaque" = true))]
    templates: Option<Vec<Map<String, Value>>>,
    /// A file's text: JSON of one template or of several. Give this or templates.
    #[schemars(length(min = 1, max = 1_048_576), extend("x-lines" = true))]
    document: Option<String>,
    /// create (if not said) makes new templates; `upsert_by_name` makes a new version of the one that has exactly the
    /// same name.
    mode: Option<Mode>,
    /// abort (if not said) imports all or nothing; skip leaves out what cannot be imported.
    on_error: Option<OnError>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Create,
    UpsertByName,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OnError {
    Abort,
    Skip,
}

#[derive(Serialize, JsonSchema)]
struct TemplatesImported {
    created: Vec<ImportedTemplate>,
    /// Templates that were there; those that have this form already keep their version, with a warning `UNCHANGED`.
    updated: Vec<RevisedTemplate>,
    /// Templates that cannot be imported.
    skipped: Vec<SkippedTemplate>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ImportedTemplate {
    /// Its place in the file, from 0.
    index: usize,
    template_id: Uuid,
    name: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct RevisedTemplate {
    /// Its place in the file, from 0.
    index: usize,
    template_id: Uuid,
    name: String,
    /// The current version.
    version: u64,
    /// Answers that were accepted before and may not be any more.
    breaking_changes: Vec<Breaking>,
}

/// Faults of one skipped template that are shown, at most.
const ERRORS_SHOWN: usize = 20;

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SkippedTemplate {
    /// Its place in the file, from 0.
    index: usize,
    name: Option<String>,
    /// What is wrong with it, up to 20 faults.
    errors: Vec<FieldError>,
    /// How many more faults it has.
    errors_omitted: Option<usize>,
}

impl SkippedTemplate {
    fn new(index: usize, name: Option<String>, mut errors: Vec<FieldError>) -> Self {
        let omitted = errors.len().saturating_sub(ERRORS_SHOWN);
        errors.truncate(ERRORS_SHOWN);
        Self { index, name, errors, errors_omitted: (omitted > 0).then_some(omitted) }
    }
}

async fn import_qualification_templates(
    ctx: ToolContext,
    input: ImportTemplates,
    mut mint: Mint,
) -> ToolResult<Plan<TemplatesImported>> {
    let entries = entries(input.templates, input.document)?;
    let mode = input.mode.unwrap_or(Mode::Create);
    let mut import = Import::default();
    let mut names = HashSet::new();
    let mut forms = Vec::new();
    let mut room = PatternRoom::default();
    for (index, (path, entry)) in entries.into_iter().enumerate() {
        let name = named(&entry);
        match read(entry, &path, &mut room) {
            Ok((form, path)) => {
                let twice = !names.insert(form.name.clone());
                if twice && mode == Mode::UpsertByName {
                    let message = "an earlier template of the same import has the same name";
                    let fault = FieldError::new(&format!("{path}.name"), "DUPLICATE_NAME", message);
                    import.fail(index, name, vec![fault]);
                } else {
                    forms.push((index, path, form, twice));
                }
            }
            Err(faults) => import.fail(index, name, faults),
        }
    }
    // What was compiled is not kept while others are waited for.
    drop(room);
    let mut view = ctx.view().await?;
    let wanted: Vec<&str> = forms.iter().map(|(_, _, form, _)| form.name.as_str()).collect();
    let known = rows::with_names(&mut view, ctx.organization(), &wanted).await?;
    drop(view);
    for (index, path, form, twice) in forms {
        let same: Vec<_> = known.iter().filter(|(_, name)| *name == form.name).map(|(id, _)| *id).collect();
        match (mode, same.as_slice()) {
            (Mode::UpsertByName, [id]) if import.revise(&ctx, index, &path, *id, &form).await? => (),
            (Mode::UpsertByName, [_, _, ..]) => {
                let message = format!("{} templates have this name; rename all but one", same.len());
                let fault = FieldError::new(&format!("{path}.name"), "AMBIGUOUS_NAME", message);
                import.fail(index, Some(form.into_form().name), vec![fault]);
            }
            (Mode::UpsertByName, [] | [_]) => {
                let place = upserting::place::<QualificationTemplate>(&ctx, &form.name).await?;
                match place.last {
                    // Another import made it after this one looked for the name.
                    Some((last, _)) if import.revise(&ctx, index, &path, last.into(), &form).await? => (),
                    _ => import.create(&ctx, index, &path, place.next.into(), form)?,
                }
            }
            (Mode::Create, same) => {
                if twice || !same.is_empty() {
                    let message = format!("another template has the name {:?}", form.name);
                    ctx.warn("DUPLICATE_NAME", message, Some(&format!("{path}.name")));
                }
                import.create(&ctx, index, &path, mint.id(), form)?;
            }
        }
    }
    import.planned(input.on_error.unwrap_or(OnError::Abort))
}

/// Faults of one import that are told, at most.
const FAULTS_MAX: usize = 500;

/// What an import comes to, template by template.
#[derive(Default)]
struct Import {
    writes: Vec<Write>,
    effects: Vec<(Uuid, String)>,
    created: Vec<ImportedTemplate>,
    updated: Vec<RevisedTemplate>,
    skipped: Vec<SkippedTemplate>,
    failed: Vec<FieldError>,
}

impl Import {
    fn fail(&mut self, index: usize, name: Option<String>, errors: Vec<FieldError>) {
        self.failed.extend(errors.iter().cloned());
        self.skipped.push(SkippedTemplate::new(index, name, errors));
    }

    fn create(
        &mut self,
        ctx: &ToolContext,
        index: usize,
        path: &str,
        template_id: QualificationTemplateId,
        form: Faultless,
    ) -> ToolResult<()> {
        doubts(ctx, &form, &format!("{path}."));
        let name = form.name.clone();
        self.writes.push(created(template_id, form)?);
        self.effects.push((template_id.uuid(), "CREATED".to_owned()));
        self.created.push(ImportedTemplate { index, template_id: template_id.uuid(), name });
        Ok(())
    }

    /// Makes the form the next version of the template; false if that has another name by now.
    async fn revise(
        &mut self,
        ctx: &ToolContext,
        index: usize,
        path: &str,
        template_id: QualificationTemplateId,
        form: &Faultless,
    ) -> ToolResult<bool> {
        let ledger = &ctx.app().ledger;
        let before = ledger.load::<QualificationTemplate>(ctx.organization(), template_id).await?;
        let Some(old) = before.state.form().filter(|old| old.name == form.name).cloned() else {
            return Ok(false);
        };
        doubts(ctx, form, &format!("{path}."));
        let (writes, new) = revised(&before, QualificationTemplateCommand::Replace(form.clone()), path)?;
        if writes.is_empty() {
            ctx.warn(UNCHANGED, "the template has this form already; its version stays", Some(path));
        } else {
            self.effects.push((template_id.uuid(), outcome("REVISED", &(&old, &new))));
        }
        self.updated.push(RevisedTemplate {
            index,
            template_id: template_id.uuid(),
            name: form.name.clone(),
            version: before.version + writes.len() as u64,
            breaking_changes: Breaking::between(&old, &new),
        });
        self.writes.extend(writes);
        Ok(true)
    }

    fn planned(mut self, on_error: OnError) -> ToolResult<Plan<TemplatesImported>> {
        if on_error == OnError::Abort && !self.failed.is_empty() {
            return Err(Refusal::ImportRefused(self.failed.into_iter().take(FAULTS_MAX).collect()));
        }
        self.skipped.sort_by_key(|skipped| skipped.index);
        Ok(Plan {
            writes: self.writes,
            guards: vec![],
            absent: vec![],
            effects: Effects::new(self.effects.into_iter().map(|(id, outcome)| (id, outcome.into()))),
            answer: TemplatesImported { created: self.created, updated: self.updated, skipped: self.skipped },
        })
    }
}

/// The templates of the input as they were written, each with its place. What is wrong with the whole is refused here,
/// whatever onError says.
fn entries(
    templates: Option<Vec<Map<String, Value>>>,
    document: Option<String>,
) -> ToolResult<Vec<(String, Value)>> {
    let numbered = |path: &str, values: Vec<Value>| -> Vec<(String, Value)> {
        let values = values.into_iter().enumerate();
        values.map(|(index, value)| (format!("{path}[{index}]"), value)).collect()
    };
    let text = match (templates, document) {
        (Some(templates), None) => {
            return Ok(numbered("templates", templates.into_iter().map(Value::Object).collect()));
        }
        (None, Some(text)) => text,
        _ => {
            return Err(Refusal::field("", "EXACTLY_ONE_OF", "give either templates or document"));
        }
    };
    // Editors put a byte order mark before the text; it is no part of it.
    let text = text.trim_start_matches('\u{feff}');
    let value = json::read(text.as_bytes())
        .map_err(|fault| Refusal::field("document", fault.code(), format!("cannot be read: {fault}")))?;
    let whole = |member: &str, code, message: String| {
        let path = if member.is_empty() { "document".to_owned() } else { format!("document.{member}") };
        Refusal::ImportRefused(vec![FieldError::new(&path, code, message)])
    };
    let entries = match value {
        Value::Array(entries) => numbered("document", entries),
        Value::Object(mut members) if members.contains_key("templates") => {
            known_version(&members).map_err(|(code, message)| whole("schemaVersion", code, message))?;
            let entries = members.remove("templates");
            let known = ["schemaVersion", "exportedAt"];
            if let Some(unknown) = members.keys().find(|member| !known.contains(&member.as_str())) {
                return Err(whole("", "UNKNOWN_FIELD", unknown_field(unknown)));
            }
            match entries {
                Some(Value::Array(entries)) => numbered("document.templates", entries),
                _ => return Err(whole("templates", "WRONG_TYPE", "must be a list".to_owned())),
            }
        }
        value => vec![("document".to_owned(), value)],
    };
    match entries.len() {
        0 => Err(whole("", "TOO_FEW_ITEMS", "must hold at least 1 template".to_owned())),
        1..=TEMPLATES_MAX => Ok(entries),
        _ => Err(whole("", "TOO_MANY_ITEMS", format!("must hold at most {TEMPLATES_MAX} templates"))),
    }
}

fn known_version(members: &Map<String, Value>) -> Result<(), (&'static str, String)> {
    match members.get("schemaVersion") {
        Some(version) if version.as_u64() == Some(SCHEMA_VERSION) => Ok(()),
        Some(_) => {
            let message = format!("must be {SCHEMA_VERSION}: files of other versions are not understood");
            Err(("UNSUPPORTED_SCHEMA_VERSION", message))
        }
        None => Err(("REQUIRED", "is required".to_owned())),
    }
}

/// The name of an entry, if it has one at all.
fn named(entry: &Value) -> Option<String> {
    let name = entry["template"]["name"].as_str().or_else(|| entry["name"].as_str())?;
    Some(name.chars().take(200).collect())
}

/// The form of one entry, bare or as an export gave it, and where it stands; or everything that is wrong with it.
fn read(entry: Value, path: &str, room: &mut PatternRoom) -> Result<(Faultless, String), Vec<FieldError>> {
    let one = |place: &str, code, message: String| vec![FieldError::new(place, code, message)];
    let Value::Object(mut members) = entry else {
        return Err(one(path, "WRONG_TYPE", "must be an object".to_owned()));
    };
    let (mut form, path) = match members.remove("template") {
        None => {
            // What `get_qualification_template` shows beside the form, and what is another organization's business.
            for foreign in ["templateId", "version", "createdAt", "updatedAt"] {
                members.remove(foreign);
            }
            (Value::Object(members), path.to_owned())
        }
        Some(form) => {
            let place = |member: &str| format!("{path}.{member}");
            known_version(&members).map_err(|(code, message)| one(&place("schemaVersion"), code, message))?;
            let known = ["schemaVersion", "exportedAt", "sha256"];
            if let Some(unknown) = members.keys().find(|member| !known.contains(&member.as_str())) {
                return Err(one(&place(unknown), "UNKNOWN_FIELD", unknown_field(unknown)));
            }
            if let Some(hash) = members.get("sha256").filter(|hash| !hash.is_null())
                // What has no canonical form is told better by the form's own check.
                && let Some(own) = sha256(&form)
                && !hash.as_str().is_some_and(|hash| hash.eq_ignore_ascii_case(&own))
            {
                let message =
                    "does not match the template; leave it out if the template was changed on purpose";
                return Err(one(&place("sha256"), "CHECKSUM_MISMATCH", message.to_owned()));
            }
            (form, place("template"))
        }
    };
    static FORM: LazyLock<Result<InputSchema, String>> =
        LazyLock::new(|| InputSchema::new::<FormDocument>(Map::new()));
    let schema = FORM.as_ref().map_err(|error| one(&path, "INVALID", error.clone()))?;
    schema.trim(&mut form);
    let faults = schema.check(&mut form);
    if !faults.is_empty() {
        let below = |fault: FieldError| FieldError {
            path: fault.path.replacen("input", &format!("input.{path}"), 1),
            ..fault
        };
        return Err(faults.into_iter().map(below).collect());
    }
    let document: FormDocument =
        serde_json::from_value(form).map_err(|error| one(&path, "INVALID", error.to_string()))?;
    let form = document.form_within(room).map_err(|faults| told(&faults, &path))?;
    Ok((form, path))
}

/// The hash of a template's canonical bytes, in hex.
fn sha256(template: &Value) -> Option<String> {
    let text = canonical::with_fractions(template).ok()?;
    Some(hex::encode(Sha256::digest(text)))
}

/// Export a qualification template as a document that `import_qualification_templates` takes, here or in another
/// organization. It holds no ids of this organization and nothing that was answered.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ExportTemplate {
    /// The template.
    template_id: GivenQualificationTemplate,
    /// Which version; the newest if not said.
    #[schemars(range(min = 1))]
    version: Option<u64>,
    /// json, the only format there is.
    #[allow(dead_code, reason = "there is one format; the schema refuses any other")]
    format: Option<Format>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    Json,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct TemplateExported {
    /// The version of this format.
    schema_version: u64,
    exported_at: Moment,
    /// SHA-256 of the template's canonical JSON (RFC 8785), in hex.
    sha256: String,
    template: FormDocument,
}

async fn export_qualification_template(
    ctx: ToolContext,
    input: ExportTemplate,
) -> ToolResult<TemplateExported> {
    let mut view = ctx.view().await?;
    let (_, _, form) = version_found(&mut view, &ctx, &input.template_id, input.version).await?;
    let template = FormDocument::of(&form);
    let written = serde_json::to_value(&template).map_err(|error| Refusal::Defect(error.to_string()))?;
    let sha256 = sha256(&written).ok_or_else(|| Refusal::Defect("a template holds U+0000".to_owned()))?;
    Ok(TemplateExported { schema_version: SCHEMA_VERSION, exported_at: ctx.now().into(), sha256, template })
}
