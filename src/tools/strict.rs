//! The strict variant of an input schema, for models that are held to a schema letter by letter.
//!
//! Such schemas know no optional property: every one is required, what may be left out takes null instead, and no object
//! takes anything that is not named. Three things must therefore be written in another way, and an input in which they
//! are says so with `strict: true`:
//!
//! - a field that may be left out and that null clears is null (keep it) or `{value}` (null within clears);
//! - an object whose members have names of their own, such as answers, is a list of `{key, value}`;
//! - an object in a list whose shape is not given, such as a template to import, is the text of its JSON.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::json;

/// Keywords that such schemas do not know.
const UNKNOWN: [&str; 7] =
    ["minLength", "maxLength", "minProperties", "maxProperties", "uniqueItems", "default", "examples"];
/// Says that an input is written as the strict variant asks.
pub const MARK: &str = "strict";

/// Levels of a JSON text within an input. What is deeper is refused with the rest of the input.
const LEVELS: usize = 96;

/// The strict variant of a schema.
pub fn variant(schema: &Value) -> Value {
    let mut strict = schema.clone();
    tighten(&mut strict);
    if differs(schema)
        && let Some(properties) = strict["properties"].as_object_mut()
    {
        properties.insert(MARK.to_owned(), json!({ "type": "boolean", "enum": [true] }));
        strict["required"] = properties_of(&strict);
    }
    strict
}

/// The same schema with null beside every property that may be left out: what is really accepted.
pub fn with_nulls(schema: &Value) -> Value {
    let mut schema = schema.clone();
    allow_nulls(&mut schema);
    schema
}

/// Whether something of the input is written in another way when it is strict.
fn differs(schema: &Value) -> bool {
    let required = required_of(schema);
    let property = |(name, property): (&String, &Value)| {
        takes_null(property) && !required.contains(name) || is_open(property) || differs(property)
    };
    let item = |item: &Value| is_open(item) || differs(item);
    schema["properties"].as_object().is_some_and(|all| all.iter().any(property))
        || schema.get("items").is_some_and(item)
}

/// Reads a strict input as the usual one: null says nothing, `{value}` says what is within, lists of `{key, value}` are
/// objects again. What is not written so stays as it is, for the schema to refuse. Answers the places of keys that are
/// there twice.
pub fn read(input: &mut Value, schema: &Value) -> Vec<String> {
    let mut repeats = Vec::new();
    read_within(input, schema, schema, "", &mut repeats);
    repeats
}

/// The one of several alternatives that an object can be meant by.
pub fn object_of(schema: &Value) -> &Value {
    let several = schema["anyOf"].as_array();
    several.into_iter().flatten().find(|one| one["properties"].is_object()).unwrap_or(schema)
}

fn read_within(input: &mut Value, schema: &Value, root: &Value, path: &str, repeats: &mut Vec<String>) {
    let schema = match schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        Some(pointer) => root.pointer(pointer).unwrap_or(schema),
        None => schema,
    };
    let schema = if input.is_object() { object_of(schema) } else { schema };
    if is_open(schema) {
        read_open(input, path, repeats);
        return;
    }
    match input {
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                read_within(item, &schema["items"], root, &format!("{path}[{index}]"), repeats);
            }
        }
        Value::Object(members) => {
            let required = required_of(schema);
            members.retain(|name, member| {
                !member.is_null() || required.contains(name) || schema["properties"].get(name).is_none()
            });
            for (name, member) in members {
                let Some(property) = schema["properties"].get(name.as_str()) else { continue };
                if takes_null(property)
                    && !required.contains(name)
                    && let Some(wrapped) = member.as_object_mut()
                    && wrapped.len() == 1
                    && let Some(value) = wrapped.remove("value")
                {
                    *member = value;
                }
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                read_within(member, property, root, &path, repeats);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
    }
}

/// Reads an object whose members have names of their own: a list of `{key, value}`, or the text of its JSON.
fn read_open(input: &mut Value, path: &str, repeats: &mut Vec<String>) {
    let read = match input {
        Value::Array(entries) => {
            let mut seen = HashSet::new();
            for (index, entry) in entries.iter().enumerate() {
                if let Some(key) = entry["key"].as_str()
                    && !seen.insert(key)
                {
                    repeats.push(format!("{path}[{index}].key"));
                }
            }
            let member = |entry: &Value| match (entry.as_object()?.len(), &entry["key"], entry.get("value")?)
            {
                (2, Value::String(key), value) => Some((key.clone(), value.clone())),
                _ => None,
            };
            entries.iter().map(member).collect::<Option<Map<String, Value>>>().map(Value::Object)
        }
        Value::String(text) => json::read_within(text.as_bytes(), LEVELS).ok().filter(Value::is_object),
        _ => None,
    };
    if let Some(read) = read {
        *input = read;
    }
}

fn takes_null(schema: &Value) -> bool {
    let null = |kind: &Value| kind == "null";
    schema["type"].as_array().is_some_and(|kinds| kinds.iter().any(null))
        || schema["anyOf"].as_array().is_some_and(|several| several.iter().any(|one| one["type"] == "null"))
}

fn required_of(schema: &Value) -> Vec<String> {
    let names = schema["required"].as_array().into_iter().flatten();
    names.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn properties_of(schema: &Value) -> Value {
    schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

/// An object whose members have names of their own.
fn is_open(schema: &Value) -> bool {
    schema["type"] == "object" && !schema["properties"].is_object()
}

/// An object with names of its own as a list of its members.
fn listed(open: &Value) -> Value {
    let value = match &open["additionalProperties"] {
        value @ Value::Object(_) => {
            let mut value = value.clone();
            tighten(&mut value);
            value
        }
        _ => json!({ "anyOf": [
            { "type": "string" },
            { "type": "number" },
            { "type": "boolean" },
            { "type": "array", "items": { "type": "string" } },
            { "type": "null" },
        ] }),
    };
    let mut list = json!({
        "type": "array",
        "items": {
            "type": "object",
            "properties": { "key": { "type": "string" }, "value": value },
            "required": ["key", "value"],
            "additionalProperties": false,
        },
    });
    if let Some(most) = open.get("maxProperties") {
        list["maxItems"] = most.clone();
    }
    if let Some(description) = open.get("description") {
        list["description"] = description.clone();
    }
    list
}

/// An object of a shape that is not given as its text.
fn as_text() -> Value {
    json!({ "type": "string", "description": "The JSON of one object, as text." })
}

fn tighten(schema: &mut Value) {
    let required = required_of(schema);
    let Some(keywords) = schema.as_object_mut() else { return };
    keywords.retain(|keyword, _| !UNKNOWN.contains(&keyword.as_str()));
    if let Some(several) = keywords.remove("oneOf") {
        keywords.insert("anyOf".into(), several);
    }
    if let Some(items) = keywords.get_mut("items") {
        if is_open(items) {
            *items = as_text();
        } else {
            tighten(items);
        }
    }
    for keyword in ["anyOf", "allOf"] {
        if let Some(Value::Array(several)) = keywords.get_mut(keyword) {
            several.iter_mut().for_each(tighten);
        }
    }
    if let Some(Value::Object(definitions)) = keywords.get_mut("$defs") {
        definitions.values_mut().for_each(tighten);
    }
    if let Some(Value::Object(properties)) = keywords.get_mut("properties") {
        for (name, property) in properties {
            // What must be said is null where null is meant: there is nothing to tell it from.
            let cleared = takes_null(property) && !required.contains(name);
            if is_open(property) {
                *property = listed(property);
            } else {
                tighten(property);
            }
            if cleared {
                *property = json!({
                    "type": ["object", "null"],
                    "description": property["description"],
                    "properties": { "value": property },
                    "required": ["value"],
                    "additionalProperties": false,
                });
            } else if !required.contains(name) {
                add_null(property);
            }
        }
        keywords.insert("additionalProperties".into(), false.into());
        let all = properties_of(schema);
        schema["required"] = all;
    }
}

fn allow_nulls(schema: &mut Value) {
    let required = required_of(schema);
    let Some(keywords) = schema.as_object_mut() else { return };
    if let Some(Value::Object(properties)) = keywords.get_mut("properties") {
        for (name, property) in properties {
            allow_nulls(property);
            if !required.contains(name) {
                add_null(property);
            }
        }
    }
    if let Some(items) = keywords.get_mut("items") {
        allow_nulls(items);
    }
    if let Some(Value::Array(several)) = keywords.get_mut("anyOf") {
        several.iter_mut().for_each(allow_nulls);
    }
    if let Some(Value::Object(definitions)) = keywords.get_mut("$defs") {
        definitions.values_mut().for_each(allow_nulls);
    }
}

/// Lets the property be null too.
fn add_null(property: &mut Value) {
    if takes_null(property) {
        return;
    }
    let Some(keywords) = property.as_object_mut() else { return };
    match keywords.get_mut("type") {
        Some(Value::Array(kinds)) => kinds.push("null".into()),
        Some(kind) => *kind = json!([kind.clone(), "null"]),
        None => {
            let mut outer = Map::new();
            if let Some(description) = keywords.remove("description") {
                outer.insert("description".into(), description);
            }
            let inner = std::mem::take(keywords);
            outer.insert("anyOf".into(), json!([inner, { "type": "null" }]));
            *keywords = outer;
            return;
        }
    }
    if let Some(Value::Array(names)) = keywords.get_mut("enum") {
        names.push(Value::Null);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::catalog;

    /// Every object of the schema.
    fn objects<'a>(schema: &'a Value, found: &mut Vec<&'a Value>) {
        match schema {
            Value::Object(keywords) => {
                let kind = keywords.get("type");
                let object = |kind: &Value| kind == "object";
                if kind.is_some_and(|kind| {
                    object(kind) || kind.as_array().is_some_and(|all| all.iter().any(object))
                }) {
                    found.push(schema);
                }
                keywords.values().for_each(|value| objects(value, found));
            }
            Value::Array(several) => several.iter().for_each(|value| objects(value, found)),
            _ => (),
        }
    }

    #[test]
    fn a_strict_schema_requires_everything_and_takes_nothing_else() {
        for tool in catalog().iter() {
            let strict = &tool.input.strict;
            let mut found = vec![];
            objects(strict, &mut found);
            for object in found {
                assert_eq!(object["additionalProperties"], false, "{}: {object}", tool.name);
                assert!(object["properties"].is_object(), "{}: {object}", tool.name);
                assert_eq!(object["required"], properties_of(object), "{}", tool.name);
            }
            for (name, _) in tool.input.schema["properties"].as_object().unwrap() {
                assert!(strict["properties"][name].is_object(), "{}.{name} is left out", tool.name);
            }
            let mut used = std::collections::BTreeSet::new();
            keywords(strict, &mut used);
            for keyword in UNKNOWN {
                assert!(!used.contains(keyword), "{}: {keyword}", tool.name);
            }
            assert!(jsonschema::validator_for(strict).is_ok(), "{}", tool.name);
        }
    }

    /// Every keyword of the schema; a property may be named like one.
    fn keywords<'a>(schema: &'a Value, found: &mut std::collections::BTreeSet<&'a str>) {
        match schema {
            Value::Object(members) => {
                for (keyword, value) in members {
                    found.insert(keyword);
                    match (keyword.as_str(), value) {
                        ("properties" | "$defs", Value::Object(named)) => {
                            named.values().for_each(|inner| keywords(inner, found));
                        }
                        ("enum" | "const" | "required", _) => (),
                        _ => keywords(value, found),
                    }
                }
            }
            Value::Array(several) => several.iter().for_each(|value| keywords(value, found)),
            _ => (),
        }
    }

    /// The schema that is referred to, if it is a reference.
    fn meant<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
        let pointer = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
        pointer.and_then(|pointer| root.pointer(pointer)).unwrap_or(schema)
    }

    /// The schema that is meant for such an input, where there are several.
    fn chosen<'a>(input: &Value, schema: &'a Value, root: &'a Value) -> &'a Value {
        let schema = meant(schema, root);
        let several = schema["anyOf"].as_array().or(schema["oneOf"].as_array());
        let fits = |schema: &&Value| match input {
            Value::Object(_) => schema["properties"].is_object(),
            Value::Array(_) => schema["items"].is_object(),
            _ => false,
        };
        several.into_iter().flatten().map(|one| meant(one, root)).find(fits).unwrap_or(schema)
    }

    /// The example as a model writes it that is held to the strict schema.
    fn strictly(input: &Value, (plain, strict): (&Value, &Value), roots: (&Value, &Value)) -> Value {
        if is_open(plain) {
            let members = input.as_object().into_iter().flatten();
            return match strict["type"].as_str() {
                Some("string") => input.to_string().into(),
                _ => members.map(|(key, value)| json!({ "key": key, "value": value })).collect(),
            };
        }
        let (plain, strict) = (chosen(input, plain, roots.0), chosen(input, strict, roots.1));
        if let Some(items) = input.as_array() {
            let item = |item| strictly(item, (&plain["items"], &strict["items"]), roots);
            return items.iter().map(item).collect();
        }
        let Some(properties) = strict["properties"].as_object() else { return input.clone() };
        let Some(members) = input.as_object() else { return input.clone() };
        let mut written = Map::new();
        for (name, property) in properties {
            let value = match members.get(name) {
                _ if name == MARK => true.into(),
                None => Value::Null,
                Some(value)
                    if takes_null(&plain["properties"][name]) && !required_of(plain).contains(name) =>
                {
                    json!({ "value": value })
                }
                Some(value) => strictly(value, (&plain["properties"][name], property), roots),
            };
            written.insert(name.clone(), value);
        }
        written.into()
    }

    #[test]
    fn an_input_written_strictly_is_the_same_input() {
        let with_names_of_their_own = [
            (
                "update_qualification",
                json!({
                    "qualificationId": "x",
                    "patch": { "answers": { "fuel": "gas", "area": 90, "works": ["roof"], "owner": true, "mail": null } },
                }),
            ),
            ("list_qualifications", json!({ "answers": { "fuel": "gas", "owner": false } })),
            (
                "bulk_add_contacts_to_campaign_by_filter",
                json!({ "campaignId": "x", "filter": { "source": "crm", "customFields": { "floor": "2" } } }),
            ),
            (
                "upsert_script_execution",
                json!({
                    "campaignId": "x",
                    "contactId": "y",
                    "responses": [{ "nodeId": "own", "value": null }, { "nodeId": "size", "value": "large" }],
                }),
            ),
        ];
        let examples =
            catalog().iter().flat_map(|tool| tool.examples.iter().map(|one| (tool.name, one.input.clone())));
        for (name, input) in examples.chain(with_names_of_their_own) {
            let tool = catalog().get(name).unwrap();
            let validator = jsonschema::validator_for(&tool.input.strict).unwrap();
            let roots = (&tool.input.schema, &tool.input.strict);
            let mut strict = strictly(&input, roots, roots);
            let faults: Vec<_> = validator.iter_errors(&strict).map(|fault| fault.to_string()).collect();
            assert!(faults.is_empty(), "{name}: {strict}: {faults:?}");
            assert_eq!(tool.input.check(&mut strict), [], "{name}: {strict}");
            assert_eq!(strict, input, "{name}");
        }
    }

    #[test]
    fn a_list_of_members_that_is_none_is_refused() {
        let tool = catalog().get("update_qualification").unwrap();
        for (answers, code) in [
            (json!([{ "key": "a", "value": 1 }, { "key": "a", "value": 2 }]), "DUPLICATE_KEY"),
            (json!([{ "key": "a" }]), "WRONG_TYPE"),
            (json!([{ "key": "a", "value": 1, "more": 2 }]), "WRONG_TYPE"),
            (json!([1]), "WRONG_TYPE"),
            (json!("[]"), "WRONG_TYPE"),
        ] {
            let mut input =
                json!({ "qualificationId": "x", "patch": { "answers": answers }, "strict": true });
            let faults = tool.input.check(&mut input);
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert_eq!(faults[0].code, code, "{faults:?}");
        }
        // Only who says that an input is strict may write it so.
        let list = json!([{ "key": "a", "value": 1 }]);
        let mut plain = json!({ "qualificationId": "x", "patch": { "answers": list } });
        assert_eq!(tool.input.check(&mut plain)[0].code, "WRONG_TYPE");
    }

    #[test]
    fn null_keeps_what_it_would_clear_when_an_input_is_strict() {
        let tool = catalog().get("update_outbound_campaign").unwrap();
        let patch = json!({ "name": null, "goal": null, "description": { "value": null } });
        let mut input = json!({ "campaignId": "x", "patch": patch, "strict": true });
        assert_eq!(tool.input.check(&mut input), []);
        assert_eq!(input, json!({ "campaignId": "x", "patch": { "description": null } }));
    }

    #[test]
    fn null_is_itself_where_something_must_be_said() {
        let tool = catalog().get("upsert_script_execution").unwrap();
        let plain =
            json!({ "campaignId": "x", "contactId": "y", "responses": [{ "nodeId": "own", "value": null }] });
        let mut input = plain.clone();
        input["strict"] = true.into();
        assert_eq!(tool.input.check(&mut input), []);
        assert_eq!(input, plain);
        let value = &tool.input.strict["properties"]["responses"]["items"]["properties"]["value"];
        assert!(takes_null(value) && value["properties"].is_null(), "{value}");
    }
}
