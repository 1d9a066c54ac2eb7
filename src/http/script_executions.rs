//! Conversations that a model is to qualify.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use docket_aggregates::ids::{PrincipalId, ScriptExecutionId};
use docket_aggregates::qualification::QualificationStatus;
use serde_json::json;
use uuid::Uuid;

use super::HttpState;
use super::call::{Admitted, replay, settle};
use super::error::ApiError;
use super::input::{Body, Fields, boolean, id, path_id};
use super::routes::Deadline;
use super::spec::{Spec, object};
use crate::app::App;
use crate::flights::across::Turn;
use crate::flights::{Flight, FlightKey};
use crate::language_model::LanguageModelError;
use crate::qualifications::QualificationRefusal;
use crate::qualifying::payload::NoPayload;
use crate::qualifying::{self, QualifyingRefusal, Wanted};
use crate::service::Call;
use crate::shapes;

/// How long a call waits for another one about the same conversation: with the half minute that a model has for its answer
/// it stays within the deadline of the call.
const TURN_WITHIN: Duration = Duration::from_secs(25);
/// After how long a turn is over whose process ended before it: no call takes longer.
const TURN_LASTS: Duration = Deadline::Asking.within();

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

/// What the reference says of [`auto_qualify`].
pub fn auto_qualifying() -> Spec {
    let text = || json!({ "type": "string" });
    let count = || json!({ "type": "integer", "minimum": 0 });
    let free = || json!({ "type": "object" });
    let recorded = object([
        ("qualificationId!", shapes::id()),
        ("status!", json!({ "enum": QualificationStatus::ALL.map(QualificationStatus::name) })),
        ("answers!", free()),
        ("score!", json!({ "type": ["integer", "null"] })),
        ("missing!", json!({ "type": "array", "items": { "type": "string" } })),
        ("notes!", shapes::or_null(text())),
        ("version!", count()),
    ]);
    let warning = object([("code!", text()), ("message!", text()), ("path!", shapes::or_null(text()))]);
    let answer = object([
        ("executionId!", shapes::id()),
        ("templateId!", shapes::id()),
        ("templateVersion!", count()),
        ("payload!", free()),
        ("payloadBytes!", count()),
        ("payloadSha256!", text()),
        ("sent!", shapes::boolean()),
        ("model!", shapes::or_null(object([("model!", text()), ("endpoint!", text())]))),
        ("qualification!", shapes::or_null(recorded)),
        ("warnings!", json!({ "type": "array", "items": warning })),
    ]);
    Spec::new("Have a model qualify a conversation, or show what it would be sent")
        .body(object([
            ("templateId", shapes::or_null(shapes::id())),
            ("dryRun", shapes::or_null(shapes::boolean())),
        ]))
        .answers(200, "What was sent and what came of it", answer)
        .refuses(&[502, 504])
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
    let wanted = Wanted { execution_id, template_id, dry_run, agent_id: admitted.caller.agent_id };
    // What is answered already, and what is decided or refused without the model, waits for nobody.
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    if let Some(done) = qualifying::unasked(&state.app, &call, wanted).await.transpose() {
        return settle(done, StatusCode::OK);
    }
    let _turn = turn(&state.app, &call, execution_id).await;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(qualifying::qualify(&state.app, &call, wanted).await, StatusCode::OK)
}

/// Of calls about one conversation one asks the model, which may cost money; the others wait, in this process and then
/// among all of them, and find what came of it.
async fn turn(app: &App, call: &Call, execution_id: ScriptExecutionId) -> (Option<Turn>, Flight) {
    let nobodys = PrincipalId(Uuid::nil());
    let key = FlightKey::of(call.organization, nobodys, &call.origin.tool, &execution_id.to_string());
    let began = tokio::time::Instant::now();
    let flight = app.flights.enter(key, TURN_WITHIN).await;
    let within = TURN_WITHIN.saturating_sub(began.elapsed());
    let turn = Turn::take(&app.ledger, call.organization, key, within, TURN_LASTS).await;
    (turn, flight)
}
