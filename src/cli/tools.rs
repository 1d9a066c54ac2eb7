//! `docket tools`: the catalog of the agent tools, for reading. It needs no database.

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;

use crate::config::Config;
use crate::tools::{Known, VERSION, announced, catalog};

/// Lists the agent tools.
#[derive(Debug, Args)]
pub struct Tools {
    /// Print the reference, as `docs/tools.md` holds it.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

impl Tools {
    pub fn run(self, config: &Config) -> anyhow::Result<()> {
        if self.markdown {
            return super::say(&markdown());
        }
        let tools = catalog().capabilities(None, None, &Known::default());
        super::print(config, &tools, |_| text())
    }
}

fn text() -> String {
    let mut lines: Vec<String> = catalog()
        .iter()
        .map(|tool| {
            let risk = serde_json::to_value(tool.risk).unwrap_or_default();
            format!("{:42} {:12} {}", tool.name, name(&risk), first_sentence(&tool.input.description))
        })
        .collect();
    if !announced().is_empty() {
        lines.push(format!("\n{} more of the contract come with later versions.", announced().len()));
    }
    lines.join("\n")
}

fn first_sentence(text: &str) -> &str {
    text.split_once(". ").map_or(text, |(first, _)| first)
}

/// The whole reference. A test compares `docs/tools.md` with it.
fn markdown() -> String {
    let mut page = format!(
        "# Agent tools\n\n\
         Printed by `docket tools --markdown` from the catalog that also answers `GET /crm/agent/capabilities`, \
         contract version {VERSION}.\n\n\
         Each tool is called with `POST /crm/agent/tools/NAME` and \
         `{{\"organizationId\": \"...\", \"input\": {{...}}, \"reason\"?: \"...\", \"requestId\"?: \"...\"}}`; \
         every answer is `{{success, data, error, meta}}`.\n"
    );
    let mut family = "";
    for tool in catalog().iter() {
        if tool.family != family {
            family = tool.family;
            let _ = write!(page, "\n## {family}\n");
        }
        let capability = tool.capability(&Known::default());
        let _ =
            write!(page, "\n### {}\n\n{}\n\n{}\n", tool.name, tool.input.description, nature(&capability));
        let _ = write!(page, "\n| Input | Type | |\n|---|---|---|\n");
        let schema = &capability["inputSchema"];
        rows(&mut page, schema, schema, "", &mut Vec::new());
        for example in &tool.examples {
            let input = serde_json::to_string(&example.input).unwrap_or_default();
            let _ = write!(page, "\n{}:\n\n```json\n{input}\n```\n", example.title);
        }
    }
    page.push_str(&to_come(&announced()));
    page
}

/// The part on tools that are not built yet; nothing where all are.
fn to_come(names: &[&str]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let list: String = names.iter().map(|name| format!("- {name}\n")).collect();
    format!(
        "\n## Announced\n\nTools of the contract that later versions bring; a call to one says so.\n\n{list}"
    )
}

/// A row for each field, and below it those within it: `filter.city`, `steps[].text`. What contains itself (steps within
/// the branches of steps) is told once.
fn rows(page: &mut String, schema: &Value, root: &Value, within: &str, told: &mut Vec<*const Value>) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (field, property) in schema["properties"].as_object().into_iter().flatten() {
        let mark = if required.contains(&field.as_str()) { ", required" } else { "" };
        let described = property["description"].as_str();
        let described = described.or_else(|| referred(property, root)["description"].as_str());
        let (kind, bounds) = (kind(property, root), bounds(property, root));
        let described = cell(described.unwrap_or_default());
        let _ = writeln!(page, "| `{within}{field}` | {kind}{bounds}{mark} | {described} |");
        let (inner, lists) = inside(property, root);
        let itself = std::ptr::from_ref(inner);
        if inner["properties"].is_object() && !told.contains(&itself) {
            told.push(itself);
            rows(page, inner, root, &format!("{within}{field}{}.", "[]".repeat(lists)), told);
            told.pop();
        }
    }
}

/// The schema that is referred to, if it is a reference.
fn referred<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let pointer = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| root.pointer(pointer)).unwrap_or(schema)
}

/// The object that a property is made of, and within how many lists it stands.
fn inside<'a>(property: &'a Value, root: &'a Value) -> (&'a Value, usize) {
    let mut schema = referred(property, root);
    let mut lists = 0;
    loop {
        let several = schema["anyOf"].as_array().or(schema["oneOf"].as_array());
        let mut objects = several.into_iter().flatten().map(|one| referred(one, root));
        if let Some(object) = objects.find(|one| one["properties"].is_object()) {
            return (object, lists);
        }
        if !schema["items"].is_object() {
            return (schema, lists);
        }
        schema = referred(&schema["items"], root);
        lists += 1;
    }
}

/// One line on what a tool may do to the world.
fn nature(capability: &Value) -> String {
    let mut words = vec![format!("Risk: {}", name(&capability["risk"]))];
    if capability["supportsDryRun"] == true {
        words.push("can be tried out with `dryRun`".to_owned());
    }
    if capability["requiresConfirm"] == true {
        words.push("applies only with `confirm: true`".to_owned());
    }
    if let Some(when) = capability["confirmWhen"].as_str() {
        words.push(format!("applies only with `confirm: true` when {when}"));
    }
    if capability["hints"]["idempotent"] == true && capability["mutating"] == true {
        words.push("applying twice changes no more than applying once".to_owned());
    }
    if capability["scoped"] == false {
        words.push("takes no organizationId".to_owned());
    }
    words.join("; ") + "."
}

/// The type of a property in a word, an enumeration by its values.
fn kind(property: &Value, root: &Value) -> String {
    if let Some(reference) = property["$ref"].as_str() {
        let pointer = reference.trim_start_matches('#');
        return root.pointer(pointer).map_or_else(|| "object".to_owned(), |found| kind(found, root));
    }
    let listed =
        |values: &Vec<Value>| values.iter().filter(|value| !value.is_null()).map(name).collect::<Vec<_>>();
    if let Some(values) = property["enum"].as_array() {
        return listed(values).join(" \\| ");
    }
    for of in ["anyOf", "oneOf"] {
        if let Some(kinds) = property[of].as_array() {
            let mut kinds: Vec<String> = kinds
                .iter()
                .map(|one| match &one["const"] {
                    Value::Null => kind(one, root),
                    constant => name(constant),
                })
                .filter(|kind| kind != "null")
                .collect();
            kinds.dedup();
            return kinds.join(" \\| ");
        }
    }
    let kinds = match &property["type"] {
        Value::Array(kinds) => listed(kinds).join(" or "),
        kind => name(kind),
    };
    if kinds == "array" { format!("array of {}", kind(&property["items"], root)) } else { kinds }
}

/// How large, long or many a property may be, in words that go on after its type.
fn bounds(property: &Value, root: &Value) -> String {
    let mut schema = referred(property, root);
    // What may also be null is bounded as what it is else.
    if let Some(several) = schema["anyOf"].as_array() {
        let mut others = several.iter().map(|one| referred(one, root)).filter(|one| one["type"] != "null");
        if let (Some(only), None) = (others.next(), others.next()) {
            schema = only;
        }
    }
    let mut words = String::new();
    for (least, most, unit) in [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
    ] {
        // Numbers as they are written; a list or text that may be empty has no least length.
        let bound = |keyword: &str| schema[keyword].as_number().map(ToString::to_string);
        let least = bound(least).filter(|least| unit.is_empty() || least != "0");
        let _ = match (least, bound(most)) {
            (Some(least), Some(most)) if least == most => write!(words, ", {least}{unit}"),
            (Some(least), Some(most)) => write!(words, ", {least} to {most}{unit}"),
            (Some(least), None) => write!(words, ", at least {least}{unit}"),
            (None, Some(most)) => write!(words, ", at most {most}{unit}"),
            (None, None) => Ok(()),
        };
    }
    words
}

fn name(value: &Value) -> String {
    value.as_str().map_or_else(|| "object".to_owned(), str::to_owned)
}

fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/tools.md");

    #[test]
    fn the_reference_is_the_catalog() {
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(REFERENCE, markdown()).unwrap();
        }
        let kept = std::fs::read_to_string(REFERENCE).unwrap();
        assert!(kept == markdown(), "run this test with UPDATE_DOCS=1");
    }

    #[test]
    fn what_is_to_come_is_told_where_there_is_any() {
        assert_eq!(to_come(&[]), "");
        assert!(to_come(&["undo"]).ends_with("says so.\n\n- undo\n"));
        for text in [markdown(), text()] {
            let told = text.contains("later versions");
            assert_eq!(told, !announced().is_empty());
        }
    }

    #[test]
    fn every_tool_and_every_field_is_in_the_reference() {
        let page = markdown();
        for tool in catalog().iter() {
            assert!(page.contains(&format!("\n### {}\n", tool.name)), "{}", tool.name);
        }
        for nested in [
            "filter.customFields",
            "filter.tagsAny",
            "responses[].nodeId",
            "steps[].branches[].label",
            "patch.steps[].options",
            "fields[].key",
            "scoring.rules[].points",
            "settings.callWindow.start",
        ] {
            assert!(page.contains(&format!("\n| `{nested}` | ")), "{nested}");
        }
        for bounded in [
            "| `limit` | integer, 1 to 100 | ",
            "| `name` | string, 1 to 200 characters, required | ",
            "| `agentIds` | array of string, 1 to 50 items, required | ",
        ] {
            assert!(page.contains(bounded), "{bounded}");
        }
        assert!(!page.contains("| object, required |  |"));
        assert!(!page.contains("|  |\n"), "a field without a description");
    }
}
