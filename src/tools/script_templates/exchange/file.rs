//! The form in which a script leaves one organization and enters another.
//!
//! A file is read as strictly as a body: text that is not JSON as we take it, members that nobody knows (`__proto__`
//! among them), versions that are not ours and checksums that do not match are refused, never guessed at.

use std::sync::LazyLock;

use docket_aggregates::script_template::ScriptContent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::super::nodes::{ScriptNode, read_nodes, shown_nodes};
use super::super::writing::LANGUAGE;
use super::super::{BODY_LEVELS, FindingShown};
use super::finding;
use crate::json;
use crate::ledger::canonical;
use crate::tools::refusal::{FieldError, Refusal, ToolResult, unknown_field};
use crate::tools::schema::InputSchema;

/// The version of the form.
pub(super) const SCHEMA_VERSION: u32 = 1;
/// Scripts of one import, at most.
const TEMPLATES_MAX: usize = 50;
/// The members of an exported script.
const ENVELOPE: [&str; 4] = ["schemaVersion", "exportedAt", "sha256", "template"];

/// A script as it is handed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Exported {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// The language of its texts, a BCP 47 tag.
    language: String,
    steps: Vec<ScriptNode>,
}

impl Exported {
    pub(super) fn of(content: &ScriptContent) -> Self {
        Self {
            name: content.name.clone(),
            description: content.description.clone(),
            language: content.language.clone(),
            steps: shown_nodes(&content.steps),
        }
    }
}

/// SHA-256 of a value in canonical JSON, in hexadecimal.
pub(super) fn checksum(template: &Value) -> Result<String, canonical::NotCanonical> {
    Ok(hex::encode(Sha256::digest(canonical::to_string(template)?)))
}

/// One script of an import, as it was given.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where it stands in the input.
    pub path: String,
    value: Value,
}

/// A script as it may be given: what `create_script_template` takes, or what any of our answers shows.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "what belongs to another organization is known and left behind")]
struct Given {
    #[schemars(length(min = 1, max = 200))]
    name: String,
    #[schemars(length(max = 2000), extend("x-lines" = true))]
    description: Option<String>,
    #[schemars(length(min = 2, max = 35))]
    language: Option<String>,
    #[schemars(extend("x-verbatim" = true))]
    steps: Vec<ScriptNode>,
    template_id: Option<String>,
    version: Option<u32>,
    status: Option<String>,
    created_at: Option<String>,
    updated_at: Option<String>,
}

static GIVEN: LazyLock<InputSchema> = LazyLock::new(|| {
    InputSchema::new::<Given>(Map::new())
        .expect("the schema depends on nothing but this code, and a test makes it")
});

/// The scripts of an import, one by one. What is wrong with the whole is refused here, whatever onError says.
pub(super) fn entries(
    templates: Option<Vec<Map<String, Value>>>,
    document: Option<&str>,
) -> ToolResult<Vec<Entry>> {
    let numbered = |path: &str, values: Vec<Value>| -> Vec<Entry> {
        let values = values.into_iter().enumerate();
        values.map(|(index, value)| Entry { path: format!("{path}[{index}]"), value }).collect()
    };
    let entries = match (templates, document) {
        (Some(templates), None) => numbered("templates", templates.into_iter().map(Value::Object).collect()),
        (None, Some(document)) => match parsed(document)? {
            Value::Array(values) => numbered("document", values),
            Value::Object(mut members) if members.contains_key("templates") => {
                let version = members.remove("schemaVersion");
                members.remove("exportedAt");
                let templates = members.remove("templates");
                known_version(version.as_ref()).map_err(|error| whole(&error))?;
                if let Some(name) = members.keys().next() {
                    return Err(whole(&finding("UNKNOWN_FIELD", "", &unknown_field(name))));
                }
                match templates {
                    Some(Value::Array(values)) => numbered("document.templates", values),
                    _ => return Err(whole(&finding("WRONG_TYPE", "templates", "must be of type array"))),
                }
            }
            value => vec![Entry { path: "document".to_owned(), value }],
        },
        _ => return Err(Refusal::field("", "EXACTLY_ONE_OF", "give templates or document, and not both")),
    };
    match entries.len() {
        0 => Err(whole(&finding("TOO_FEW_ITEMS", "", "holds no script"))),
        1..=TEMPLATES_MAX => Ok(entries),
        n => {
            let message = format!("holds {n} scripts; at most {TEMPLATES_MAX} are taken in at once");
            Err(whole(&finding("TOO_MANY_ITEMS", "", &message)))
        }
    }
}

/// A fault of the whole document.
fn whole(fault: &FindingShown) -> Refusal {
    let path = if fault.path.is_empty() { "document".to_owned() } else { format!("document.{}", fault.path) };
    Refusal::ImportRefused(vec![FieldError::new(&path, fault.code, fault.message.clone())])
}

/// The JSON of a file; editors on some systems put a byte order mark in front of it.
fn parsed(document: &str) -> ToolResult<Value> {
    let text = document.strip_prefix('\u{feff}').unwrap_or(document);
    json::read_within(text.as_bytes(), BODY_LEVELS)
        .map_err(|fault| Refusal::field("document", fault.code(), fault.to_string()))
}

fn known_version(version: Option<&Value>) -> Result<(), FindingShown> {
    match version {
        Some(version) if version.as_u64() == Some(SCHEMA_VERSION.into()) => Ok(()),
        None => Err(finding("REQUIRED", "schemaVersion", "is required")),
        Some(_) => {
            let message = format!("must be {SCHEMA_VERSION}: files of other versions are not understood");
            Err(finding("UNSUPPORTED_SCHEMA_VERSION", "schemaVersion", &message))
        }
    }
}

/// The content of a script, or everything that is wrong with its form. What it says is judged by the linter.
pub(super) fn read_entry(entry: &mut Entry) -> Result<ScriptContent, Vec<FindingShown>> {
    if let Value::Object(members) = &mut entry.value
        && (members.contains_key("template") || members.contains_key("schemaVersion"))
    {
        let template = unpacked(members).map_err(|error| vec![error])?;
        entry.path.push_str(".template");
        entry.value = template;
    }
    let mut value = std::mem::take(&mut entry.value);
    GIVEN.trim(&mut value);
    let faults = GIVEN.check(&mut value);
    if !faults.is_empty() {
        return Err(faults.into_iter().map(within).collect());
    }
    let given: Given =
        serde_json::from_value(value).map_err(|error| vec![finding("INVALID", "", &error.to_string())])?;
    Ok(ScriptContent {
        name: given.name,
        description: given.description.filter(|text| !text.is_empty()),
        language: given.language.unwrap_or_else(|| LANGUAGE.to_owned()),
        steps: read_nodes(given.steps),
    })
}

/// The script of an export, if it is one of ours and nobody changed it.
fn unpacked(members: &mut Map<String, Value>) -> Result<Value, FindingShown> {
    known_version(members.get("schemaVersion"))?;
    if let Some(name) = members.keys().find(|name| !ENVELOPE.contains(&name.as_str())) {
        return Err(finding("UNKNOWN_FIELD", name, &unknown_field(name)));
    }
    let template =
        members.remove("template").ok_or_else(|| finding("REQUIRED", "template", "is required"))?;
    match members.get("sha256") {
        None | Some(Value::Null) => Ok(template),
        Some(sum) => {
            // No script holds a number that has no canonical form: what it is instead, its own check tells better.
            let Ok(own) = checksum(&template) else { return Ok(template) };
            if sum.as_str().is_some_and(|sum| sum.eq_ignore_ascii_case(&own)) {
                Ok(template)
            } else {
                let message =
                    "does not match the template; leave it out if the template was changed on purpose";
                Err(finding("CHECKSUM_MISMATCH", "sha256", message))
            }
        }
    }
}

/// A fault of the schema with its path within the script.
fn within(fault: FieldError) -> FindingShown {
    let path = fault.path.strip_prefix("input").unwrap_or(&fault.path);
    FindingShown { code: fault.code, path: path.trim_start_matches('.').to_owned(), message: fault.message }
}

#[cfg(test)]
mod tests;
