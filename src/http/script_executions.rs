//! Conversations that a model is to qualify.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use docket_aggregates::ids::ScriptExecutionId;
use serde_json::json;

use super::HttpState;
use super::call::{Admitted, replay, settle};
use super::error::ApiError;
use super::input::{Body, Fields, boolean, id, path_id};
use crate::language_model::LanguageModelError;
use crate::qualifications::QualificationRefusal;
use crate::qualifying::payload::NoPayload;
use crate::qualifying::{self, QualifyingRefusal, Wanted};

impl From<QualificationRefusal> for ApiError {
    fn from(refusal: QualificationRefusal) -> Self {
        match refusal {
            QualificationRefusal::Unknown => Self::not_found("QUALIFICATION_NOT_FOUND", "qualification"),
            QualificationRefusal::UnknownTemplate => {
                Self::not_found("TEMPLATE_NOT_FOUND", "qualification template")
            }
            QualificationRefusal::NoTemplate => {
                Self::new(StatusCode::NOT_FOUND, "NO_QUALIFICATION_TEMPLATE", refusal.to_string())
            }
            QualificationRefusal::StaleTemplate { .. } => Self::conflict("STALE_TEMPLATE_VERSION", refusal),
            QualificationRefusal::UnknownExecution => {
                Self::not_found("EXECUTION_NOT_FOUND", "script execution")
            }
            QualificationRefusal::OtherConversation => Self::unprocessable("EXECUTION_MISMATCH", refusal),
            QualificationRefusal::Open(other) => {
                Self::conflict("QUALIFICATION_OPEN", &refusal).with(json!({ "qualificationId": other }))
            }
            QualificationRefusal::Work(refusal) => refusal.into(),
            QualificationRefusal::Decision(_) => Self::unprocessable("QUALIFICATION_REFUSED", refusal),
        }
    }
}

impl From<QualifyingRefusal> for ApiError {
    fn from(refusal: QualifyingRefusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            QualifyingRefusal::UnknownExecution => Self::not_found("EXECUTION_NOT_FOUND", "script execution"),
            QualifyingRefusal::OtherAgent => Self::new(StatusCode::FORBIDDEN, "OTHER_AGENT", message),
            QualifyingRefusal::Erased => Self::unprocessable("ERASED", message),
            QualifyingRefusal::NoPayload(NoPayload::NothingAnswered) => {
                Self::unprocessable("NOTHING_ANSWERED", message)
            }
            QualifyingRefusal::NoPayload(NoPayload::TooLarge { .. } | NoPayload::Unwritable) => {
                Self::unprocessable("PAYLOAD_TOO_LARGE", message)
            }
            QualifyingRefusal::OtherTemplate => Self::conflict("QUALIFICATION_OPEN", message),
            QualifyingRefusal::Model(LanguageModelError::TooSlow) => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "MODEL_TOO_SLOW", message)
            }
            QualifyingRefusal::Model(_) => Self::new(StatusCode::BAD_GATEWAY, "MODEL_FAILED", message),
            QualifyingRefusal::Unfit(unfit) => {
                let places: Vec<_> =
                    unfit.0.iter().map(|fault| json!({ "path": fault.path, "code": fault.code })).collect();
                Self::new(StatusCode::BAD_GATEWAY, "MODEL_ANSWER_UNFIT", message).with(json!(places))
            }
            QualifyingRefusal::Changed => Self::conflict("CONFLICT", message),
            QualifyingRefusal::Qualification(refusal) => refusal.into(),
        }
    }
}

/// `POST .../crm/script-executions/{executionId}/auto-qualify`: `{templateId?, dryRun?}`.
pub async fn auto_qualify(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, execution)): Path<(String, String)>,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let execution_id: ScriptExecutionId = path_id("executionId", &execution)?;
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    let template_id = fields.optional("templateId", id);
    let dry_run = fields.optional("dryRun", boolean).unwrap_or(false);
    fields.finish()?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    let wanted = Wanted { execution_id, template_id, dry_run, agent_id: admitted.caller.agent_id };
    settle(qualifying::qualify(&state.app, &call, wanted).await, StatusCode::OK)
}
