//! The switch that holds sending back.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use docket_aggregates::ids::{AgentId, CampaignId, OutboxId};
use docket_aggregates::sending_control::{PauseScope, SendingControlError};
use serde_json::{Value, json};
use uuid::Uuid;

use super::HttpState;
use super::call::{Admitted, replay, settle};
use super::error::ApiError;
use super::input::{Body, Fields, among, id, line};
use super::spec::{Spec, object, schema};
use crate::pauses::{self, PauseView};
use crate::shapes;

/// Characters of a reason.
const REASON_MAX: usize = 500;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Scope {
    #[default]
    All,
    Outbox,
    Campaign,
    Agent,
}

const SCOPES: &[(&str, Scope)] =
    &[("all", Scope::All), ("outbox", Scope::Outbox), ("campaign", Scope::Campaign), ("agent", Scope::Agent)];

impl From<SendingControlError> for ApiError {
    fn from(error: SendingControlError) -> Self {
        match error {
            SendingControlError::Frequency => Self::field("frequencyCap", "OUT_OF_RANGE", error.to_string()),
        }
    }
}

fn scope(fields: &mut Fields) -> PauseScope {
    let scope = fields.optional("scope", among(SCOPES)).unwrap_or_default();
    match scope {
        Scope::All => PauseScope::All,
        Scope::Outbox => PauseScope::Outbox(OutboxId(fields.required("id", id::<Uuid>))),
        Scope::Campaign => PauseScope::Campaign(CampaignId(fields.required("id", id::<Uuid>))),
        Scope::Agent => PauseScope::Agent(AgentId(fields.required("id", id::<Uuid>))),
    }
}

fn scope_shape() -> Value {
    let names: Vec<&str> = SCOPES.iter().map(|(name, _)| *name).collect();
    shapes::or_null(json!({ "type": "string", "enum": names }))
}

/// What the reference says of [`pause`].
pub fn pausing() -> Spec {
    Spec::new("Hold sending back; id names the outbox, campaign or agent of the scope")
        .body(object([("reason!", shapes::line(REASON_MAX)), ("scope", scope_shape()), ("id", shapes::id())]))
        .answers(200, "What is held back", schema::<PauseView>())
}

/// What the reference says of [`resume`].
pub fn resuming() -> Spec {
    Spec::new("Let sending go on")
        .body(object([
            ("reason", shapes::or_null(shapes::line(REASON_MAX))),
            ("scope", scope_shape()),
            ("id", shapes::id()),
        ]))
        .answers(200, "What goes on", schema::<PauseView>())
}

/// `POST .../crm/pause`: `{reason, scope?: all|outbox|campaign|agent, id?}`.
pub async fn pause(
    State(state): State<HttpState>,
    admitted: Admitted,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    let reason = fields.required("reason", line(REASON_MAX));
    let scope = scope(&mut fields);
    fields.finish()?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(pauses::pause(&state.app, &call, scope, reason).await, StatusCode::OK)
}

/// `POST .../crm/resume`: `{scope?, id?, reason?}`; the reason is recorded with the command.
pub async fn resume(
    State(state): State<HttpState>,
    admitted: Admitted,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let mut call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    call.origin.reason = fields.optional("reason", line(REASON_MAX));
    let scope = scope(&mut fields);
    fields.finish()?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(pauses::resume(&state.app, &call, scope).await, StatusCode::OK)
}
