//! The body of a call: whom it is for, the tool's own input, why, and the name by which it can be repeated.
//!
//! Everything that is wrong with its members is found at once. What the tool's schema has to say comes later, once it is
//! known that the caller may ask.

use serde_json::Value;

use crate::envelope::Meta;
use crate::spelling::nearest;
use crate::tools::refusal::{FieldError, Refusal, ToolResult};

/// The body of a call.
pub(super) struct Ask {
    pub(super) organization_id: Option<Value>,
    pub(super) input: Value,
    pub(super) reason: Option<String>,
    pub(super) request_id: Option<String>,
}

impl Ask {
    /// Reads the members of the body, and finds everything that is wrong with them at once.
    pub(super) fn read(body: Value, meta: &mut Meta) -> ToolResult<Self> {
        let fault = |path: &str, code, message: &str| FieldError {
            path: path.to_owned(),
            code,
            message: message.to_owned(),
        };
        let Value::Object(mut members) = body else {
            return Err(Refusal::Fields(vec![fault("", "WRONG_TYPE", "the body must be a JSON object")]));
        };
        let organization_id = members.remove("organizationId").filter(|id| !id.is_null());
        meta.organization_id = organization_id.as_ref().and_then(Value::as_str).map(str::to_owned);
        let mut faults = Vec::new();
        let mut text = |name: &str, max: usize, lines: bool, faults: &mut Vec<FieldError>| {
            let text = match members.remove(name) {
                None | Some(Value::Null) => return None,
                Some(Value::String(text)) => text.trim().to_owned(),
                Some(_) => {
                    faults.push(fault(name, "WRONG_TYPE", "must be of type string"));
                    return None;
                }
            };
            if text.chars().count() > max {
                faults.push(fault(name, "TOO_LONG", &format!("must have at most {max} characters")));
            } else if !lines && text.contains(char::is_control) {
                faults.push(fault(name, "CONTROL_CHARACTER", "must be a single line without tabs"));
            } else {
                return Some(text);
            }
            None
        };
        let reason = text("reason", 500, true, &mut faults).filter(|reason| !reason.is_empty());
        let request_id = text("requestId", 120, false, &mut faults);
        if request_id.as_deref() == Some("") {
            faults.push(fault("requestId", "TOO_SHORT", "must not be empty"));
        }
        meta.request_id.clone_from(&request_id);
        let input = match members.remove("input") {
            Some(input @ Value::Object(_)) => input,
            Some(_) => {
                faults.push(fault("input", "WRONG_TYPE", "must be of type object"));
                Value::Null
            }
            None => {
                faults.push(fault("input", "REQUIRED", "is required, even when it is empty: {}"));
                Value::Null
            }
        };
        let known = ["organizationId", "input", "reason", "requestId"];
        for name in members.keys() {
            let message = match nearest(name, known) {
                Some(meant) => format!("unknown field {name}; did you mean {meant}?"),
                None => format!("unknown field {name}; the tool's own fields belong into input"),
            };
            faults.push(fault(name, "UNKNOWN_FIELD", &message));
        }
        if faults.is_empty() {
            Ok(Self { organization_id, input, reason, request_id })
        } else {
            Err(Refusal::Fields(faults))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_body_is_refused_with_everything_that_is_wrong() {
        let read = |body: Value| Ask::read(body, &mut Meta::default());
        for (body, faults) in [
            (json!([]), vec![("", "WRONG_TYPE")]),
            (json!({}), vec![("input", "REQUIRED")]),
            (json!({"input": null}), vec![("input", "WRONG_TYPE")]),
            (json!({"input": []}), vec![("input", "WRONG_TYPE")]),
            (json!({"input": "x"}), vec![("input", "WRONG_TYPE")]),
            (json!({"input": {}, "requestId": " "}), vec![("requestId", "TOO_SHORT")]),
            (json!({"input": {}, "requestId": "a\nb"}), vec![("requestId", "CONTROL_CHARACTER")]),
            (json!({"input": {}, "requestId": "é".repeat(121)}), vec![("requestId", "TOO_LONG")]),
            (json!({"input": {}, "reason": "é".repeat(501)}), vec![("reason", "TOO_LONG")]),
            (json!({"input": {}, "reason": 1}), vec![("reason", "WRONG_TYPE")]),
            (json!({"request_id": "x"}), vec![("input", "REQUIRED"), ("request_id", "UNKNOWN_FIELD")]),
        ] {
            let Err(refusal) = read(body.clone()) else { panic!("{body} was accepted") };
            let found: Vec<_> = refusal.field_errors();
            let found: Vec<_> = found.iter().map(|fault| (fault.path.as_str(), fault.code)).collect();
            assert_eq!(found, faults, "{body}");
        }
        let body = json!({"input": {}, "requestId": "é".repeat(120), "reason": "é".repeat(500)});
        assert!(read(body).is_ok());
    }
}
