//! The catalog as `tools/list` shows it: always in the contract's order, and short enough for a model's context.
//!
//! A tool takes what the body of the HTTP call takes, and answers with the same envelope, so that either surface can be
//! learnt from the other. To stay short, options that every tool takes are explained once, in the instructions of the
//! server; rules that a caller follows anyway, or is told of when it does not, are left out; and an answer is described
//! by its outermost fields. `capabilities` has all of it, and every call is checked against all of it.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::credentials::Caller;
use crate::tools::input::ID_PATTERN;
use crate::tools::{Tool, catalog};

/// Options that the instructions explain.
const EXPLAINED: [&str; 11] = [
    "dryRun",
    "confirm",
    "previewToken",
    "onDrift",
    "limit",
    "cursor",
    "responseFormat",
    "consistency",
    "minPosition",
    "asOf",
    "expectedVersion",
];

/// The tools that the caller may use, as the protocol describes them.
pub fn tools(caller: &Caller) -> Vec<Value> {
    static ALL: LazyLock<Vec<(&'static str, Value)>> =
        LazyLock::new(|| catalog().iter().map(|tool| (tool.name, described(tool))).collect());
    ALL.iter().filter(|(name, _)| caller.may_call(name)).map(|(_, tool)| tool.clone()).collect()
}

fn described(tool: &Tool) -> Value {
    json!({
        "name": tool.name,
        "description": tool.input.description,
        "inputSchema": input(tool),
        "outputSchema": output(tool),
        "annotations": {
            "readOnlyHint": !tool.mutating(),
            "destructiveHint": tool.overwrites(),
            "idempotentHint": tool.repeatable,
            "openWorldHint": tool.open_world,
        },
    })
}

/// The body of a call: `{organizationId, input, reason?, requestId?}`.
fn input(tool: &Tool) -> Value {
    let mut input = tool.input.schema.clone();
    if let Some(properties) = input["properties"].as_object_mut() {
        // There is no answer from the past yet: an option that is always refused is not worth its place.
        properties.remove("asOf");
        for (name, property) in properties {
            shorten(property);
            if EXPLAINED.contains(&name.as_str())
                && let Some(property) = property.as_object_mut()
            {
                property
                    .retain(|keyword, _| matches!(keyword.as_str(), "type" | "enum" | "minimum" | "maximum"));
            }
        }
    }
    if let Some(input) = input.as_object_mut() {
        input.remove("additionalProperties");
    }
    let mut definitions = input.as_object_mut().and_then(|input| input.remove("$defs"));
    let mut properties = Map::new();
    let mut required = vec!["input"];
    if tool.scoped {
        properties.insert("organizationId".into(), json!({ "type": "string" }));
        required.insert(0, "organizationId");
    }
    properties.insert("input".into(), input);
    if tool.mutating() {
        properties.insert("reason".into(), json!({ "type": "string", "maxLength": 500 }));
        properties.insert("requestId".into(), json!({ "type": "string", "minLength": 1, "maxLength": 120 }));
    }
    let mut schema = json!({ "type": "object", "properties": properties, "required": required });
    // References point to the root, which is now one level further out.
    if let Some(mut definitions) = definitions.take() {
        definitions.as_object_mut().into_iter().flatten().for_each(|(_, definition)| shorten(definition));
        schema["$defs"] = definitions;
    }
    schema
}

/// Leaves out what an id looks like, that a text is not empty, and that objects have no other fields.
fn shorten(schema: &mut Value) {
    match schema {
        Value::Object(keywords) => {
            keywords.retain(|keyword, value| {
                !(keyword == "pattern" && value == ID_PATTERN
                    || keyword == "minLength" && *value == 1
                    || keyword == "additionalProperties" && *value == false)
            });
            keywords.values_mut().for_each(shorten);
        }
        Value::Array(several) => several.iter_mut().for_each(shorten),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
    }
}

/// The envelope, with the outermost fields of the data. A refusal has none.
fn output(tool: &Tool) -> Value {
    let fields: Map<String, Value> = tool.output["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, property)| (name.clone(), outline(property)))
        .collect();
    json!({
        "type": "object",
        "properties": {
            "success": { "type": "boolean" },
            "data": { "type": ["object", "null"], "properties": fields },
            "error": { "type": ["string", "null"] },
            "meta": { "type": "object" },
        },
        "required": ["success", "data", "error", "meta"],
    })
}

/// The type of a property and nothing else.
fn outline(property: &Value) -> Value {
    match &property["type"] {
        Value::Null => json!({}),
        kind => json!({ "type": kind }),
    }
}
