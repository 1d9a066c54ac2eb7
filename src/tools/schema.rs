//! From a Rust type to the JSON Schema that an agent reads, and from an input to what is wrong with it.
//!
//! One schema per tool: what `capabilities` shows is what inputs are checked against. It is kept plain, so that models
//! read it well and every fault has an exact path: no references (but to what contains itself), no unions with null,
//! enumerations as lists, and no property that is not named. `null` means "absent", except in a field that says that it clears.

use std::collections::BTreeSet;

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind as Fault;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::refusal::{FieldError, NAME_SHOWN};
use super::strict;
use crate::json;
use crate::spelling::{nearest, shortened};

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

/// The schema of a type in one direction, without what only schemars needs.
fn root<T: JsonSchema>(settings: SchemaSettings) -> Value {
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

    fn explain(&self, error: &jsonschema::ValidationError<'_>) -> Vec<FieldError> {
        let path = dotted(error.instance_path().as_str());
        let one = |code, message: String| vec![FieldError::new(&path, code, message)];
        let keyword = error.schema_path().as_str();
        match error.kind() {
            Fault::AdditionalProperties { unexpected } => {
                let known = self.names_at(keyword);
                unexpected
                    .iter()
                    .map(|name| {
                        let name = &*shortened(name, NAME_SHOWN);
                        let message = match nearest(name, known.iter().map(String::as_str)) {
                            Some(meant) => format!("unknown field {name}; did you mean {meant}?"),
                            None => format!("unknown field {name}"),
                        };
                        FieldError::new(&join(&path, name), "UNKNOWN_FIELD", message)
                    })
                    .collect()
            }
            Fault::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                vec![FieldError::new(&join(&path, name), "REQUIRED", "is required")]
            }
            Fault::Type { .. } => {
                let wanted = self.schema.pointer(keyword).map(words).unwrap_or_default();
                one("WRONG_TYPE", format!("must be of type {wanted}"))
            }
            Fault::Enum { options } => one("NOT_ONE_OF", format!("must be one of {}", words(options))),
            Fault::Minimum { limit } => one("TOO_SMALL", format!("must be at least {limit}")),
            Fault::Maximum { limit } => one("TOO_LARGE", format!("must be at most {limit}")),
            Fault::MinLength { limit: 1 } => one("TOO_SHORT", "must not be empty".to_owned()),
            Fault::MinLength { limit } => one("TOO_SHORT", format!("must have at least {limit} characters")),
            Fault::MaxLength { limit } => one("TOO_LONG", format!("must have at most {limit} characters")),
            Fault::MinItems { limit } => one("TOO_FEW_ITEMS", format!("must have at least {limit} items")),
            Fault::MaxItems { limit } => one("TOO_MANY_ITEMS", format!("must have at most {limit} items")),
            Fault::MinProperties { limit } => {
                one("TOO_FEW_ITEMS", format!("must name at least {limit} of its fields"))
            }
            Fault::MaxProperties { limit } => {
                one("TOO_MANY_ITEMS", format!("must have at most {limit} fields"))
            }
            Fault::Pattern { pattern } => one("WRONG_FORMAT", format!("must match {pattern}")),
            Fault::Format { format } => one("WRONG_FORMAT", format!("must be a valid {format}")),
            // Of several forms the one is told that is of the kind that was sent; else all kinds that there are.
            Fault::AnyOf { context } => {
                let wrong_kind = |fault: &&jsonschema::ValidationError<'_>| {
                    matches!(fault.kind(), Fault::Type { .. })
                        && fault.instance_path() == error.instance_path()
                };
                let of_kind = context.iter().find(|faults| !faults.iter().any(|fault| wrong_kind(&fault)));
                match of_kind {
                    Some(faults) => faults.iter().flat_map(|fault| self.explain(fault)).collect(),
                    None => {
                        let kinds = context.iter().filter_map(|faults| faults.iter().find(wrong_kind));
                        let kinds =
                            kinds.filter_map(|fault| self.schema.pointer(fault.schema_path().as_str()));
                        let kinds: Vec<String> = kinds.map(words).collect();
                        one("WRONG_TYPE", format!("must be of type {}", kinds.join(" or ")))
                    }
                }
            }
            other => one("INVALID", format!("does not fit the rule {}", other.keyword())),
        }
    }

    /// The properties of the object whose `additionalProperties` stands at `keyword`.
    fn names_at(&self, keyword: &str) -> Vec<String> {
        let object = keyword.rsplit_once('/').map_or("", |(object, _)| object);
        match self.schema.pointer(object).and_then(|schema| schema["properties"].as_object()) {
            Some(properties) => properties.keys().cloned().collect(),
            None => Vec::new(),
        }
    }

    /// Line breaks and tabs stand only in texts that may have several lines.
    fn one_line(&self, value: &Value, path: &str, key: &str, faults: &mut Vec<FieldError>) {
        match value {
            Value::String(text) => {
                if text.contains(['\n', '\r', '\t']) && !self.marks.multiline.contains(key) {
                    faults.push(FieldError::new(
                        path,
                        "CONTROL_CHARACTER",
                        "must be a single line without tabs",
                    ));
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.one_line(item, &format!("{path}[{index}]"), key, faults);
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    if !self.marks.opaque.contains(name) && !self.marks.open.contains(name) {
                        self.one_line(member, &join(path, name), name, faults);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => (),
        }
    }
}

/// Makes a schema plain. In an input null is taken out where it does not clear, and objects are closed; in an output
/// what may be null may also be absent.
fn tidy(schema: &mut Value, input: bool, marks: &mut Marks) {
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

fn takes_null(schema: &Value) -> bool {
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

/// A JSON pointer as `filter.tagsAny[0]`.
fn dotted(pointer: &str) -> String {
    let mut path = String::new();
    for segment in pointer.split('/').skip(1) {
        if !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit()) {
            path.push_str(&format!("[{segment}]"));
        } else {
            path = join(&path, &segment.replace("~1", "/").replace("~0", "~"));
        }
    }
    path
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn words(value: &Value) -> String {
    let word = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match value {
        Value::Array(several) => several.iter().map(word).collect::<Vec<_>>().join(", "),
        one => word(one),
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
