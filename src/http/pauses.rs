//! The switch that holds sending back, and the most that one recipient may get.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use docket_aggregates::ids::{AgentId, CampaignId, OutboxId};
use docket_aggregates::sending_control::{
    FREQUENCY_DAYS_MAX, FREQUENCY_MESSAGES_MAX, FrequencyCap, PauseScope, SendingControlError,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::HttpState;
use super::call::{Admitted, replay, settle};
use super::error::ApiError;
use super::input::{Body, Fields, among, id, line, whole_number};
use super::reply;
use super::spec::{Spec, object, schema};
use crate::pauses::{self, FrequencyCapView, PauseRefusal, PauseView};
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

impl From<PauseRefusal> for ApiError {
    fn from(refusal: PauseRefusal) -> Self {
        match refusal {
            PauseRefusal::UnknownOutbox => Self::not_found("OUTBOX_NOT_FOUND", "outbox"),
            PauseRefusal::UnknownCampaign => Self::not_found("CAMPAIGN_NOT_FOUND", "campaign"),
            PauseRefusal::UnknownAgent => Self::not_found("AGENT_NOT_FOUND", "agent"),
            PauseRefusal::Control(error) => error.into(),
        }
    }
}

fn scope(fields: &mut Fields) -> PauseScope {
    let scope = fields.optional("scope", among(SCOPES)).unwrap_or_default();
    match scope {
        Scope::All => {
            if fields.optional("id", id::<Uuid>).is_some() {
                fields.problem("id", "CONTRADICTION", "names nothing where the scope is all");
            }
            PauseScope::All
        }
        Scope::Outbox => PauseScope::Outbox(OutboxId(named(fields, "outbox"))),
        Scope::Campaign => PauseScope::Campaign(CampaignId(named(fields, "campaign"))),
        Scope::Agent => PauseScope::Agent(AgentId(named(fields, "agent"))),
    }
}

/// The id of what the scope is about.
fn named(fields: &mut Fields, scope: &str) -> Uuid {
    let named = fields.optional("id", id::<Uuid>);
    if named.is_none() {
        fields.problem("id", "REQUIRED", format!("is required when scope is {scope}"));
    }
    named.unwrap_or_default()
}

fn scope_shape() -> Value {
    let names: Vec<&str> = SCOPES.iter().map(|(name, _)| *name).collect();
    shapes::or_null(json!({ "type": "string", "enum": names }))
}

/// What the reference says of [`pause`].
pub fn pausing() -> Spec {
    Spec::new("Hold sending back; id names the outbox, campaign or agent of the scope")
        .body(object([
            ("reason!", shapes::line(REASON_MAX)),
            ("scope", scope_shape()),
            ("id", shapes::or_null(shapes::id())),
        ]))
        .answers(200, "What is held back", schema::<PauseView>())
}

/// What the reference says of [`resume`].
pub fn resuming() -> Spec {
    Spec::new("Let sending go on")
        .body(object([
            ("reason", shapes::or_null(shapes::line(REASON_MAX))),
            ("scope", scope_shape()),
            ("id", shapes::or_null(shapes::id())),
        ]))
        .answers(200, "What goes on", schema::<PauseView>())
}

/// What the reference says of [`list`].
pub fn listing() -> Spec {
    let pauses = json!({ "type": "array", "items": schema::<PauseView>() });
    Spec::new("List what is held back").answers(200, "What is held back", pauses)
}

/// What the reference says of [`frequency`].
pub fn showing_frequency() -> Spec {
    Spec::new("Show how many messages one recipient may get").answers(
        200,
        "The cap; nulls where there is none",
        schema::<FrequencyCapView>(),
    )
}

/// What the reference says of [`cap_frequency`].
pub fn capping_frequency() -> Spec {
    let number = |max: u32| shapes::or_null(shapes::integer(1, max.into()));
    Spec::new("Set how many messages one recipient may get within so many days; nulls lift the cap")
        .body(object([("messages!", number(FREQUENCY_MESSAGES_MAX)), ("days!", number(FREQUENCY_DAYS_MAX))]))
        .answers(200, "The cap", schema::<FrequencyCapView>())
}

/// `GET .../crm/pauses`.
pub async fn list(State(state): State<HttpState>, admitted: Admitted) -> Result<Response, ApiError> {
    let pauses = pauses::list(&state.app, admitted.organization).await?;
    Ok(reply::json(StatusCode::OK, &pauses))
}

/// `GET .../crm/frequency-cap`.
pub async fn frequency(State(state): State<HttpState>, admitted: Admitted) -> Result<Response, ApiError> {
    let cap = pauses::frequency(&state.app, admitted.organization).await?;
    Ok(reply::json(StatusCode::OK, &cap))
}

/// `PUT .../crm/frequency-cap`: `{messages, days}`; both null for no cap.
pub async fn cap_frequency(
    State(state): State<HttpState>,
    admitted: Admitted,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    let number = |max: u32| move |value| whole_number(1, max.into())(value);
    // To lift the cap must be said, not forgotten.
    let messages = fields.clearable("messages", number(FREQUENCY_MESSAGES_MAX));
    let days = fields.clearable("days", number(FREQUENCY_DAYS_MAX));
    for (name, given) in [("messages", messages.is_some()), ("days", days.is_some())] {
        if !given {
            fields.problem(name, "REQUIRED", "is required; null lifts the cap");
        }
    }
    let of = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
    let cap = match (messages, days) {
        (Some(Some(messages)), Some(Some(days))) => {
            Some(FrequencyCap { messages: of(messages), days: of(days) })
        }
        (Some(None), Some(None)) | (None, _) | (_, None) => None,
        _ => {
            fields.problem("days", "CONTRADICTION", "messages and days are both numbers, or both null");
            None
        }
    };
    fields.finish()?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(pauses::cap_frequency(&state.app, &call, cap).await, StatusCode::OK)
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
        pauses::holds().await;
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
