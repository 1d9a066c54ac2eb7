//! From the schema that schemars derives to one that models read well: inlined, without null where it only means absent,
//! enumerations as lists, and objects closed.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{CLEARS, Marks};

/// The schema of a type in one direction, without what only schemars needs.
pub(super) fn root<T: JsonSchema>(settings: SchemaSettings) -> Value {
    let settings = settings.with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = Value::from(settings.into_generator().into_root_schema_for::<T>());
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("title");
        // What contains itself is written once, and referred to also where it begins.
        if let Some(Value::Object(definitions)) = schema.get("$defs").cloned() {
            schema.values_mut().for_each(|part| refer(part, &definitions));
        }
    }
    schema
}

/// Puts a reference in the place of every copy of a definition, the innermost first. Definitions themselves stay.
fn refer(schema: &mut Value, definitions: &Map<String, Value>) {
    match schema {
        Value::Object(members) => {
            for (name, member) in members {
                refer(member, definitions);
                let defined = definitions.get(name) == Some(member);
                let copy = definitions.iter().find(|(_, definition)| *definition == member);
                if let (Some((copied, _)), false) = (copy, defined) {
                    *member = json!({ "$ref": format!("#/$defs/{copied}") });
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| refer(item, definitions)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
    }
}

/// Makes a schema plain. In an input null is taken out where it does not clear, and objects are closed; in an output
/// what may be null may also be absent.
pub(super) fn tidy(schema: &mut Value, input: bool, marks: &mut Marks) {
    let Some(object) = schema.as_object_mut() else { return };
    let clears = object.remove(CLEARS).is_some();
    if input && !clears {
        forbid_null(object);
    }
    enumerate(object);
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
    if let Some(Value::String(format)) = object.get("format")
        && (format.starts_with("uint") || format.starts_with("int") || format == "double")
    {
        object.remove("format");
    }
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    if input && object.contains_key("properties") && !object.contains_key("additionalProperties") {
        object.insert("additionalProperties".into(), false.into());
    }
    let mut optional = BTreeSet::new();
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        for (name, property) in properties {
            if let Some(property) = property.as_object_mut() {
                marks.take(name, property);
            }
            if !input && takes_null(property) {
                optional.insert(name.clone());
            }
            tidy(property, input, marks);
        }
    }
    // What contains itself, such as the steps of a script, is the one thing that is referred to.
    if let Some(Value::Object(definitions)) = object.get_mut("$defs") {
        definitions.values_mut().for_each(|definition| tidy(definition, input, marks));
    }
    if let Some(Value::Array(required)) = object.get_mut("required") {
        required.retain(|name| name.as_str().is_none_or(|name| !optional.contains(name)));
        if required.is_empty() {
            object.remove("required");
        }
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(keyword) {
            tidy(inner, input, marks);
        }
    }
    for keyword in ["anyOf", "oneOf", "allOf"] {
        if let Some(Value::Array(several)) = object.get_mut(keyword) {
            several.iter_mut().for_each(|inner| tidy(inner, input, marks));
        }
    }
}

/// An enumeration whose values have comments is written by schemars as alternatives: here it is one list again.
fn enumerate(object: &mut Map<String, Value>) {
    let Some(Value::Array(several)) = object.get("oneOf") else { return };
    let mut names = Vec::new();
    let mut comments = Vec::new();
    for one in several {
        match (&one["const"], &one["enum"]) {
            (Value::String(name), _) => {
                if let Some(comment) = one["description"].as_str() {
                    comments.push(format!("{name}: {comment}"));
                }
                names.push(json!(name));
            }
            (_, Value::Array(more)) => names.extend(more.iter().cloned()),
            _ => return,
        }
    }
    object.remove("oneOf");
    object.insert("type".into(), "string".into());
    object.insert("enum".into(), names.into());
    if !comments.is_empty() {
        let said = object.get("description").and_then(Value::as_str).map(|said| format!("{said} "));
        let description = format!("{}{}", said.unwrap_or_default(), comments.join(" "));
        object.insert("description".into(), description.into());
    }
}

pub(super) fn takes_null(schema: &Value) -> bool {
    let null = |kind: &Value| kind == "null";
    null(&schema["type"])
        || schema["type"].as_array().is_some_and(|kinds| kinds.iter().any(null))
        || schema["anyOf"].as_array().is_some_and(|several| several.iter().any(takes_null))
}

fn forbid_null(object: &mut Map<String, Value>) {
    if let Some(Value::Array(kinds)) = object.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [kind] = kinds.as_slice() {
            let kind = kind.clone();
            object.insert("type".into(), kind);
        }
    }
    if let Some(Value::Array(values)) = object.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::Array(several)) = object.get_mut("anyOf") {
        several.retain(|one| one["type"] != "null");
        if several.len() == 1
            && let Some(Value::Object(only)) = several.pop()
        {
            object.remove("anyOf");
            for (keyword, value) in only {
                object.entry(keyword).or_insert(value);
            }
        }
    }
}
