//! The envelope of every answer to an agent: `{success, data, error, meta}`, the same over HTTP and MCP.

use std::time::Duration;

use docket_aggregates::ids::{CommandId, OrganizationId};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::spelling::shortened;
use crate::tools::refusal::{FieldError, MESSAGE_MAX, NAME_SHOWN, Refusal};

/// Something that an agent should know although the call succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Warning {
    /// A name for machines.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// The field that it is about; none where it is about the whole call.
    pub path: Option<String>,
}

/// Where a page stands in its list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pagination {
    /// Rows asked for.
    pub limit: u32,
    /// What continues the list; null on the last page.
    pub next_cursor: Option<String>,
    /// Whether there is more.
    pub has_more: bool,
    /// Rows of the whole list; null where counting would cost too much.
    pub total: Option<u64>,
    /// Rows that there are at least, where `total` is null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_at_least: Option<u64>,
    /// Whether anything in the organization changed since the first page.
    pub changed_since: bool,
}

/// What is told about a call beside its data.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// The tool.
    pub tool_name: Option<String>,
    /// The organization, as it was given.
    pub organization_id: Option<String>,
    /// The caller's id of the request.
    pub request_id: Option<String>,
    /// Whether nothing was changed because only a preview was asked for.
    pub dry_run: bool,
    /// Whether this is the answer of an earlier call with the same request id.
    pub idempotent_replay: bool,
    /// The command that was recorded, else the call: the key of the access log and of the ledger.
    pub audit_id: Option<Uuid>,
    /// The log position that the answer reflects.
    pub position: Option<i64>,
    /// The moment of the past that the answer is from.
    pub as_of: Option<Value>,
    /// Applies exactly what a preview showed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview_token: Option<String>,
    /// Where the page stands in its list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pagination: Option<Pagination>,
    /// Whether the answer leaves something out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// What the caller should know although the call succeeded.
    pub warnings: Vec<Warning>,
    /// The next call to make, after a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The refusal, for machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<&'static str>,
    /// The fields that are wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field_errors: Option<Vec<FieldError>>,
    /// How many more are wrong than are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field_errors_omitted: Option<usize>,
    /// More about the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// How long the call took.
    pub duration_ms: u64,
}

/// Fields at fault that a refusal tells of, at most: it is read by a model, which corrects these and is told the rest.
const FIELD_ERRORS_MAX: usize = 50;

/// What a surface sends, and what it tells the access log.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The envelope.
    pub body: Value,
    /// When to come again.
    pub retry_after: Option<Duration>,
    /// The organization that was entered.
    pub organization: Option<OrganizationId>,
    /// Under which id the call is noted; none for the repetition of an earlier answer, which bears that one's id.
    pub audit_id: Option<CommandId>,
    /// `ok`, or the code of the refusal.
    pub outcome: &'static str,
    /// The log position that the answer reflects.
    pub position: Option<i64>,
}

impl Answer {
    /// A call that succeeded.
    pub fn success(organization: Option<OrganizationId>, data: Value, meta: Meta) -> Self {
        Self {
            status: 200,
            retry_after: None,
            organization,
            audit_id: meta.audit_id.filter(|_| !meta.idempotent_replay).map(CommandId),
            outcome: "ok",
            position: meta.position,
            body: envelope(true, data, None, &meta),
        }
    }

    /// A call that was refused. Failures inside are logged here, once.
    pub fn refusal(organization: Option<OrganizationId>, refusal: &Refusal, meta: Meta) -> Self {
        let told = refusal.told();
        let tool = meta.tool_name.as_deref().unwrap_or_default();
        if told.status >= 500 {
            let audit_id = meta.audit_id.unwrap_or_default();
            let error = refusal.for_the_log();
            if told.status == 500 {
                tracing::error!(tool, code = told.code, %audit_id, error, "tool {tool} failed");
            } else {
                tracing::warn!(tool, code = told.code, %audit_id, error, "tool {tool} is not available");
            }
        }
        let mut field_errors = refusal.field_errors();
        let omitted = field_errors.len().saturating_sub(FIELD_ERRORS_MAX);
        field_errors.truncate(FIELD_ERRORS_MAX);
        let field_errors: Vec<FieldError> = field_errors.into_iter().map(FieldError::shortened).collect();
        let meta = Meta {
            organization_id: meta.organization_id.map(|id| shortened(&id, NAME_SHOWN).into_owned()),
            hint: Some(told.hint),
            error_code: Some(told.code),
            field_errors: (!field_errors.is_empty()).then_some(field_errors),
            field_errors_omitted: (omitted > 0).then_some(omitted),
            details: refusal.details(),
            ..meta
        };
        Self {
            status: told.status,
            retry_after: told.retry_after,
            organization,
            audit_id: meta.audit_id.map(CommandId),
            outcome: told.code,
            position: meta.position,
            body: envelope(
                false,
                Value::Null,
                Some(shortened(&refusal.sentence(), MESSAGE_MAX).into_owned()),
                &meta,
            ),
        }
    }
}

/// The body. The data are moved into it: a page of them is long.
fn envelope(success: bool, data: Value, error: Option<String>, meta: &Meta) -> Value {
    let mut body = json!({ "success": success, "data": null, "error": error, "meta": meta });
    body["data"] = data;
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_fifty_faults_and_how_many_more_there_are() {
        for (faults, told, omitted) in [(1, 1, Value::Null), (50, 50, Value::Null), (494, 50, json!(444))] {
            let fault = |n: usize| FieldError::new(&format!("steps[{n}].id"), "INVALID_NODE_ID", "is none");
            let refusal = Refusal::Fields((0..faults).map(fault).collect());
            let meta = Answer::refusal(None, &refusal, Meta::default()).body["meta"].take();
            assert_eq!(meta["fieldErrors"].as_array().map(Vec::len), Some(told), "{faults}");
            assert_eq!(meta["fieldErrorsOmitted"], omitted, "{faults}");
        }
    }

    #[test]
    fn what_was_sent_is_repeated_only_so_far() {
        let long = "x".repeat(200_000);
        let literal = FieldError { path: long.clone(), code: "UNKNOWN_FIELD", message: long.clone() };
        for refusal in [
            Refusal::Fields(vec![literal.clone()]),
            Refusal::Fields(vec![literal; 60]),
            Refusal::Fields(vec![FieldError::new(&long, "UNKNOWN_FIELD", long.as_str())]),
            Refusal::not_found(crate::tools::Kind::Campaign, long.as_str()),
        ] {
            let meta = Meta { organization_id: Some(long.clone()), ..Meta::default() };
            let bytes = Answer::refusal(None, &refusal, meta).body.to_string().len();
            assert!(bytes < 50 * 3_000, "{bytes}");
        }
    }

    #[test]
    fn a_success_has_no_error_and_a_refusal_no_data() {
        let answer = Answer::success(None, json!({"a": 1}), Meta::default());
        assert_eq!(
            (answer.status, &answer.body["error"], &answer.body["data"]["a"]),
            (200, &Value::Null, &json!(1))
        );
        let answer = Answer::refusal(None, &Refusal::ConfirmRequired, Meta::default());
        assert_eq!((answer.status, &answer.body["data"]), (422, &Value::Null));
        assert!(answer.body["error"].is_string() && answer.body["meta"]["hint"].is_string());
        assert_eq!(answer.body["meta"]["errorCode"], "CONFIRM_REQUIRED");
    }

    #[test]
    fn the_fixed_fields_of_meta_are_always_there() {
        let meta = serde_json::to_value(Meta::default()).unwrap();
        for field in [
            "toolName",
            "organizationId",
            "requestId",
            "dryRun",
            "idempotentReplay",
            "auditId",
            "position",
            "asOf",
            "warnings",
            "durationMs",
        ] {
            assert!(meta.get(field).is_some(), "{field}");
        }
    }
}
