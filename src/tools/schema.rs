//! From a Rust type to the JSON Schema that an agent reads, and from an input to what is wrong with it.
//!
//! One schema per tool: what `capabilities` shows is what inputs are checked against. It is kept plain, so that models
//! read it well and every fault has an exact path: no references (but to what contains itself), no unions with null,
//! enumerations as lists, and no property that is not named. `null` means "absent", except in a field that says that it clears.

mod faults;
mod plain;

use std::collections::BTreeSet;

use jsonschema::Validator;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::refusal::FieldError;
use super::strict;
use crate::json;
use plain::{root, takes_null, tidy};

/// Marks a property that takes null, to clear what is there.
pub const CLEARS: &str = "x-clears";
/// Marks a text that may have several lines.
pub const LINES: &str = "x-lines";
/// Marks a property whose texts are taken letter by letter: white space around them is not taken off.
pub const VERBATIM: &str = "x-verbatim";
/// Marks a property that the tool reads itself: nothing within it is looked at or changed here.
pub const OPAQUE: &str = "x-opaque";
/// Marks a property whose members have names of their own: their texts are trimmed and may have several lines, and what
/// they are is for the tool to judge.
pub const OPEN: &str = "x-open";

/// What may be sent to a tool.
#[derive(Debug)]
pub struct InputSchema {
    /// JSON Schema, draft 2020-12.
    pub schema: Value,
    /// Its variant for models that are held to it letter by letter.
    pub strict: Value,
    /// What the tool does: the comment on its input type.
    pub description: String,
    validator: Validator,
    marks: Marks,
}

/// Properties by name that are treated in another way than the rest.
#[derive(Debug, Default)]
struct Marks {
    /// Their text may have several lines.
    multiline: BTreeSet<String>,
    /// White space around their texts means something.
    verbatim: BTreeSet<String>,
    /// Nothing within them is looked at.
    opaque: BTreeSet<String>,
    /// Their members have names of their own.
    open: BTreeSet<String>,
}

impl Marks {
    /// Takes the marks off a property.
    fn take(&mut self, name: &str, property: &mut Map<String, Value>) {
        for (mark, marked) in [
            (LINES, &mut self.multiline),
            (VERBATIM, &mut self.verbatim),
            (OPAQUE, &mut self.opaque),
            (OPEN, &mut self.open),
        ] {
            if property.remove(mark).is_some() {
                marked.insert(name.to_owned());
            }
        }
    }
}

/// The properties of a type, to be added to another's.
pub fn properties<T: JsonSchema>() -> Map<String, Value> {
    let mut schema = root::<T>(SchemaSettings::draft2020_12());
    match schema["properties"].take() {
        Value::Object(properties) => properties,
        _ => Map::new(),
    }
}

/// What a tool answers with: properties that may be null may also be absent.
pub fn output<T: JsonSchema>() -> Value {
    let mut schema = root::<T>(SchemaSettings::draft2020_12().for_serialize());
    tidy(&mut schema, false, &mut Marks::default());
    schema
}

impl InputSchema {
    /// The schema of `I` with the `options` that the framework reads itself. Fails if it does not compile.
    pub fn new<I: JsonSchema>(options: Map<String, Value>) -> Result<Self, String> {
        let mut schema = root::<I>(SchemaSettings::draft2020_12());
        let description = match schema.as_object_mut().and_then(|schema| schema.remove("description")) {
            Some(Value::String(description)) => description.replace('\n', " "),
            _ => String::new(),
        };
        if !schema["properties"].is_object() {
            schema["properties"] = json!({});
        }
        for (name, option) in options {
            if schema["properties"].get(&name).is_none() {
                schema["properties"][name] = option;
            }
        }
        let mut marks = Marks::default();
        tidy(&mut schema, true, &mut marks);
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .build(&schema)
            .map_err(|error| error.to_string())?;
        let strict = strict::variant(&schema);
        Ok(Self { schema, strict, description, validator, marks })
    }

    /// Takes the white space off both ends of every text, where it means nothing.
    pub fn trim(&self, input: &mut Value) {
        match input {
            Value::Object(members) => {
                for (name, member) in members {
                    if self.marks.open.contains(name) {
                        json::trim(member);
                    } else if !self.marks.verbatim.contains(name) && !self.marks.opaque.contains(name) {
                        self.trim(member);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.trim(item)),
            text => json::trim(text),
        }
    }

    /// Everything that is wrong with the input; it is normalised first.
    pub fn check(&self, input: &mut Value) -> Vec<FieldError> {
        if let Some(members) = input.as_object_mut()
            && members.get(strict::MARK) == Some(&Value::Bool(true))
        {
            members.remove(strict::MARK);
            let repeats = strict::read(input, &self.schema);
            if !repeats.is_empty() {
                let fault = |path: &String| FieldError::new(path, "DUPLICATE_KEY", "key appears twice");
                return repeats.iter().map(fault).collect();
            }
        }
        drop_nulls(input, &self.schema, &self.schema);
        let mut faults: Vec<FieldError> =
            self.validator.iter_errors(input).flat_map(|error| self.explain(&error)).collect();
        self.one_line(input, "", "", &mut faults);
        faults
    }
}

/// Takes out members that are null where null does not clear: agents send it for "nothing".
fn drop_nulls(value: &mut Value, schema: &Value, root: &Value) {
    if let Some(referred) =
        schema["$ref"].as_str().and_then(|pointer| root.pointer(pointer.strip_prefix('#')?))
    {
        return drop_nulls(value, referred, root);
    }
    let schema = if value.is_object() { strict::object_of(schema) } else { schema };
    match value {
        Value::Object(members) => {
            members.retain(|name, member| {
                let Some(property) = schema["properties"].get(name) else { return true };
                !member.is_null() || takes_null(property)
            });
            for (name, member) in members {
                if let Some(property) = schema["properties"].get(name.as_str()) {
                    drop_nulls(member, property, root);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| drop_nulls(item, &schema["items"], root)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemars::JsonSchema;

    /// Look for something.
    #[derive(JsonSchema)]
    #[schemars(rename_all = "camelCase")]
    #[allow(dead_code, reason = "only its schema is looked at")]
    struct Look {
        /// How many.
        #[schemars(range(min = 1, max = 100))]
        limit: Option<u32>,
        /// What.
        #[schemars(length(min = 1, max = 5))]
        search_text: String,
        kind: Option<Kind>,
        within: Option<Within>,
        /// More words.
        #[schemars(extend("x-lines" = true))]
        note: Option<String>,
        #[schemars(extend("x-clears" = true))]
        until: Option<String>,
    }

    #[derive(JsonSchema)]
    #[schemars(rename_all = "snake_case")]
    #[allow(dead_code, reason = "only its schema is looked at")]
    enum Kind {
        /// The first.
        One,
        /// The second.
        Two,
    }

    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "only its schema is looked at")]
    struct Within {
        tags: Vec<String>,
    }

    fn schema() -> InputSchema {
        InputSchema::new::<Look>(Map::new()).unwrap()
    }

    #[test]
    fn a_schema_is_plain() {
        let schema = schema();
        assert_eq!(schema.description, "Look for something.");
        let properties = &schema.schema["properties"];
        assert_eq!(properties["limit"]["type"], "integer");
        assert_eq!(properties["kind"]["enum"], json!(["one", "two"]));
        assert_eq!(properties["within"]["type"], "object");
        assert_eq!(properties["within"]["additionalProperties"], false);
        assert_eq!(properties["until"]["type"], json!(["string", "null"]));
        assert_eq!(schema.schema["required"], json!(["searchText"]));
        assert!(!schema.schema.to_string().contains("x-"));
    }

    #[test]
    fn every_fault_has_its_path_and_code() {
        let schema = schema();
        for (input, path, code) in [
            (json!({}), "input.searchText", "REQUIRED"),
            (json!({"searchText": ""}), "input.searchText", "TOO_SHORT"),
            (json!({"searchText": "ééééé\u{1f600}"}), "input.searchText", "TOO_LONG"),
            (json!({"searchText": "a\nb"}), "input.searchText", "CONTROL_CHARACTER"),
            (json!({"searchText": 1}), "input.searchText", "WRONG_TYPE"),
            (json!({"searchText": "a", "limit": 0}), "input.limit", "TOO_SMALL"),
            (json!({"searchText": "a", "limit": 101}), "input.limit", "TOO_LARGE"),
            (json!({"searchText": "a", "limit": "10"}), "input.limit", "WRONG_TYPE"),
            (json!({"searchText": "a", "limit": 1.5}), "input.limit", "WRONG_TYPE"),
            (json!({"searchText": "a", "kind": "three"}), "input.kind", "NOT_ONE_OF"),
            (json!({"searchText": "a", "__proto__": {}}), "input.__proto__", "UNKNOWN_FIELD"),
            (json!({"searchText": "a", "within": {"tags": [], "x": 1}}), "input.within.x", "UNKNOWN_FIELD"),
            (json!({"searchText": "a", "within": {"tags": ["a", 1]}}), "input.within.tags[1]", "WRONG_TYPE"),
            (json!([]), "input", "WRONG_TYPE"),
        ] {
            let faults = schema.check(&mut input.clone());
            assert_eq!(faults.len(), 1, "{input}: {faults:?}");
            assert_eq!((faults[0].path.as_str(), faults[0].code), (path, code), "{input}");
        }
    }

    #[test]
    fn null_is_absent_unless_it_clears() {
        let mut input = json!({"searchText": "a", "limit": null, "until": null, "note": "a\nb"});
        assert_eq!(schema().check(&mut input), []);
        assert_eq!(input, json!({"searchText": "a", "until": null, "note": "a\nb"}));
    }

    /// What contains what contains itself.
    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "only its schema is looked at")]
    struct Forest {
        trees: Vec<Tree>,
    }

    /// What contains itself.
    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "only its schema is looked at")]
    struct Tree {
        /// What it says.
        label: String,
        #[schemars(extend("x-verbatim" = true))]
        exactly: Option<String>,
        #[schemars(extend("x-opaque" = true))]
        anything: Option<Map<String, Value>>,
        #[schemars(extend("x-open" = true))]
        answers: Option<Map<String, Value>>,
        #[serde(default)]
        inner: Vec<Tree>,
    }

    #[test]
    fn what_contains_itself_is_checked_at_every_depth() {
        let schema = InputSchema::new::<Forest>(Map::new()).unwrap();
        assert_eq!(schema.schema.to_string().matches("What it says.").count(), 1, "it is written once");
        let schema = InputSchema::new::<Tree>(Map::new()).unwrap();
        let deep = |leaf: Value| json!({"label": "a", "inner": [{"label": "b", "inner": [leaf]}]});
        for (leaf, path, code) in [
            (json!({}), "input.inner[0].inner[0].label", "REQUIRED"),
            (json!({"label": 1}), "input.inner[0].inner[0].label", "WRONG_TYPE"),
            (json!({"label": "a\nb"}), "input.inner[0].inner[0].label", "CONTROL_CHARACTER"),
            (json!({"label": "c", "labl": "d"}), "input.inner[0].inner[0].labl", "UNKNOWN_FIELD"),
        ] {
            let faults = schema.check(&mut deep(leaf.clone()));
            assert_eq!(faults.len(), 1, "{leaf}: {faults:?}");
            assert_eq!((faults[0].path.as_str(), faults[0].code), (path, code), "{leaf}");
        }
        let mut input = deep(json!({"label": "c", "exactly": null, "inner": null}));
        assert_eq!(schema.check(&mut input), []);
        assert_eq!(input, deep(json!({"label": "c"})));
        let unknown = schema.check(&mut deep(json!({"label": "c", "labl": "d"})));
        assert!(unknown[0].message.ends_with("did you mean label?"), "{unknown:?}");
    }

    #[test]
    fn white_space_is_kept_where_it_means_something() {
        let schema = InputSchema::new::<Tree>(Map::new()).unwrap();
        let mut input = json!({
            "label": " a ", "exactly": " b ", "anything": {"c": " d\n"}, "answers": {"e": " f\ng ", "h": [" i "]},
        });
        schema.trim(&mut input);
        assert_eq!(
            input,
            json!({
                "label": "a", "exactly": " b ", "anything": {"c": " d\n"}, "answers": {"e": "f\ng", "h": ["i"]},
            })
        );
        assert_eq!(schema.check(&mut input), []);
        assert!(!schema.schema.to_string().contains("x-"));
    }

    #[test]
    fn a_mistyped_field_is_named() {
        let faults = schema().check(&mut json!({"search_text": "a"}));
        assert!(faults.iter().any(|fault| fault.message.ends_with("did you mean searchText?")), "{faults:?}");
    }
}
