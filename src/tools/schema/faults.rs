//! What is wrong with an input, in words: its exact path, a code, and what the rule is.
//!
//! Of a value that may have several forms, the form is told that is of the kind that was sent.

use jsonschema::error::ValidationErrorKind as Fault;
use serde_json::Value;

use super::InputSchema;
use crate::spelling::{nearest, shortened};
use crate::tools::refusal::{FieldError, NAME_SHOWN};

impl InputSchema {
    pub(super) fn explain(&self, error: &jsonschema::ValidationError<'_>) -> Vec<FieldError> {
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
    pub(super) fn one_line(&self, value: &Value, path: &str, key: &str, faults: &mut Vec<FieldError>) {
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
