//! Reading what a company wrote for a channel: an outbox's configuration and a message's payload.
//!
//! Every field is named, nothing unknown is ignored, every problem is told at once, and no value is ever repeated in
//! a problem: a key that was pasted into the wrong field must not travel further.

use serde_json::{Map, Value};

use crate::spelling::nearest;

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which one.
    pub path: String,
    /// A name for machines.
    pub code: &'static str,
    /// What is wrong, in words that follow the field's name.
    pub message: String,
}

impl Problem {
    /// A problem of the field `path`.
    pub fn new(path: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { path: path.into(), code, message: message.into() }
    }
}

/// What is wrong with a value, without the field's name.
pub(super) type Fault = (&'static str, String);

/// The fields of an object. A refused field gives nothing, and [`Fields::finish`] then refuses the whole.
pub(super) struct Fields {
    prefix: &'static str,
    fields: Map<String, Value>,
    /// The names that were asked for.
    known: Vec<String>,
    problems: Vec<Problem>,
}

impl Fields {
    /// The fields of `value`, whose own name is `prefix`.
    pub fn of(prefix: &'static str, value: &Value) -> Self {
        let (fields, problems) = match value {
            Value::Object(fields) => (fields.clone(), vec![]),
            Value::Null => (Map::new(), vec![]),
            _ => (Map::new(), vec![Problem::new(prefix, "NOT_AN_OBJECT", "must be an object")]),
        };
        Self { prefix, fields, known: vec![], problems }
    }

    /// A field that must be there.
    pub fn required<T>(&mut self, name: &str, rule: impl FnOnce(&Value) -> Result<T, Fault>) -> Option<T> {
        let found = self.optional(name, rule);
        let refused = self.problems.last().is_some_and(|problem| problem.path == self.path(name));
        if found.is_none() && !refused {
            self.problem(name, "REQUIRED", "is required");
        }
        found
    }

    /// A field that may be missing; null is missing.
    pub fn optional<T>(&mut self, name: &str, rule: impl FnOnce(&Value) -> Result<T, Fault>) -> Option<T> {
        self.known.push(name.to_owned());
        let value = self.fields.remove(name).filter(|value| !value.is_null())?;
        match rule(&value) {
            Ok(value) => Some(value),
            Err((code, message)) => {
                self.problem(name, code, message);
                None
            }
        }
    }

    /// A field that the provider would take and that may not be given; null is missing.
    pub fn refuse(&mut self, name: &str, code: &'static str, why: &str) {
        if self.fields.remove(name).is_some_and(|value| !value.is_null()) {
            self.problem(name, code, why);
        }
    }

    /// Notes a problem.
    pub fn problem(&mut self, name: &str, code: &'static str, message: impl Into<String>) {
        let path = self.path(name);
        self.problems.push(Problem::new(path, code, message));
    }

    /// The value, unless anything was wrong or was there that nobody asked for.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<T, Vec<Problem>> {
        for name in self.fields.keys() {
            // The name itself comes from the client: it is told back, but not without a bound.
            let name: String = name.chars().take(100).collect();
            let message = match nearest(&name, self.known.iter().map(String::as_str)) {
                Some(meant) => format!("is not known here; did you mean {meant}?"),
                None => "is not known here".to_owned(),
            };
            self.problems.push(Problem::new(self.path(&name), "UNKNOWN_FIELD", message));
        }
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(self.problems),
        }
    }

    fn path(&self, name: &str) -> String {
        if name.is_empty() { self.prefix.to_owned() } else { format!("{}.{name}", self.prefix) }
    }
}

pub(super) fn string(value: &Value) -> Result<&str, Fault> {
    value.as_str().ok_or(("WRONG_TYPE", "must be a string".into()))
}

/// One line of 1 to `max` characters without control characters, as it stands.
pub(super) fn line(max: usize) -> impl Fn(&Value) -> Result<String, Fault> {
    move |value| {
        let text = string(value)?;
        if text.trim().is_empty() {
            return Err(("EMPTY", "must not be empty".into()));
        }
        if text.chars().any(char::is_control) {
            return Err((
                "CONTROL_CHARACTER",
                "must not hold line breaks or other control characters".into(),
            ));
        }
        bounded(text, max)
    }
}

/// A text of 1 to `max` characters.
pub(super) fn text(max: usize) -> impl Fn(&Value) -> Result<String, Fault> {
    move |value| {
        let text = string(value)?;
        if text.trim().is_empty() {
            return Err(("EMPTY", "must not be empty".into()));
        }
        if text.contains('\0') {
            return Err(("CONTROL_CHARACTER", "must not hold the character NUL".into()));
        }
        bounded(text, max)
    }
}

fn bounded(text: &str, max: usize) -> Result<String, Fault> {
    if text.chars().nth(max).is_some() {
        return Err(("TOO_LONG", format!("must have at most {max} characters")));
    }
    Ok(text.to_owned())
}

/// An e-mail address that can be written to.
pub(super) fn address(value: &Value) -> Result<String, Fault> {
    let text = line(320)(value)?;
    let email = crate::normalise::normalise_email(&text, false)
        .map_err(|error| ("INVALID_EMAIL", error.to_string()))?;
    Ok(email.address().to_owned())
}

/// A host name: what a certificate can be made for.
pub(super) fn domain(value: &Value) -> Result<String, Fault> {
    let text = line(253)(value)?.to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.split('.').all(label) && text.contains('.') {
        Ok(text)
    } else {
        Err(("INVALID_DOMAIN", "must be a domain name".into()))
    }
}

/// An id that a provider gave: letters, digits and a few marks, so that it can stand in a path.
pub(super) fn provider_id(value: &Value) -> Result<String, Fault> {
    let text = match value {
        Value::Number(number) if number.is_u64() => number.to_string(),
        value => line(200)(value)?,
    };
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
        Ok(text)
    } else {
        Err(("INVALID_ID", "must consist of letters, digits, - and _".into()))
    }
}

/// A whole number from 1.
pub(super) fn positive(value: &Value) -> Result<u64, Fault> {
    let number = value.as_u64().filter(|number| (1..=1 << 53).contains(number));
    number.ok_or(("OUT_OF_RANGE", "must be a whole number from 1".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_problem_is_told_at_once_and_no_value_with_it() {
        let value = json!({ "a": "re_canary\n", "b": "re_canary", "re_name": 1 });
        let mut fields = Fields::of("config", &value);
        let a = fields.required("a", line(10));
        let b = fields.optional("b", positive);
        let c = fields.required("c", line(10));
        let problems = fields.finish(a.zip(b).zip(c)).unwrap_err();
        let told: Vec<_> = problems.iter().map(|p| (p.path.as_str(), p.code)).collect();
        assert_eq!(
            told,
            [
                ("config.a", "CONTROL_CHARACTER"),
                ("config.b", "OUT_OF_RANGE"),
                ("config.c", "REQUIRED"),
                ("config.re_name", "UNKNOWN_FIELD"),
            ]
        );
        assert!(!format!("{problems:?}").contains("canary"));
    }

    #[test]
    fn a_mistyped_field_is_told_with_the_one_that_was_meant() {
        let mut fields = Fields::of("config", &json!({ "replyto": "ops@example.com", "colour": "red" }));
        let reply_to = fields.optional("replyTo", address);
        let problems = fields.finish(Some(reply_to)).unwrap_err();
        let mut told: Vec<_> = problems.iter().map(|p| (p.path.as_str(), p.message.as_str())).collect();
        told.sort_unstable();
        assert_eq!(
            told,
            [
                ("config.colour", "is not known here"),
                ("config.replyto", "is not known here; did you mean replyTo?"),
            ]
        );
    }

    #[test]
    fn a_domain_is_one() {
        for good in ["example.com", "a-b.example.co", "xn--e1afmkfd.xn--p1ai", "Example.COM"] {
            assert!(domain(&json!(good)).is_ok(), "{good}");
        }
        for bad in ["", "localhost", "example..com", "-a.com", "a.com/x", "a b.com", "a.com\r\nX: y"] {
            assert!(domain(&json!(bad)).is_err(), "{bad}");
        }
    }
}
