//! Promises to call again.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use docket_aggregates::ids::FollowUpId;
use serde_json::json;

use super::HttpState;
use super::call::{Admitted, replay, settle};
use super::calls::{NOTE_MAX, speaks_for};
use super::error::ApiError;
use super::input::{Body, Fields, among, id, lines, path_id, recent};
use super::spec::{Spec, object, schema};
use crate::follow_ups::{self, Ending, FollowUpView, NewFollowUp};
use crate::shapes;

const ENDINGS: &[(&str, Option<Ending>)] =
    &[("done", Some(Ending::Done)), ("cancelled", Some(Ending::Cancelled))];

/// What the reference says of [`schedule`].
pub fn scheduling() -> Spec {
    Spec::new("Promise to call again")
        .body(object([
            ("campaignId!", shapes::id()),
            ("contactId!", shapes::id()),
            ("agentId!", shapes::id()),
            ("dueAt!", shapes::instant()),
            ("note", shapes::or_null(shapes::lines(NOTE_MAX))),
        ]))
        .answers(201, "The follow-up", schema::<FollowUpView>())
}

/// What the reference says of [`close`].
pub fn closing() -> Spec {
    let status =
        json!({ "type": "string", "enum": ENDINGS.iter().map(|(name, _)| name).collect::<Vec<_>>() });
    Spec::new("Close a follow-up").body(object([("status!", status)])).answers(
        200,
        "The follow-up",
        schema::<FollowUpView>(),
    )
}

/// `POST .../crm/follow-ups`: `{campaignId, contactId, agentId, dueAt, note?}`.
pub async fn schedule(
    State(state): State<HttpState>,
    admitted: Admitted,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    let new = NewFollowUp {
        campaign_id: fields.required("campaignId", id),
        contact_id: fields.required("contactId", id),
        agent_id: fields.required("agentId", id),
        due_at: fields.required("dueAt", recent),
        note: fields.optional("note", lines(NOTE_MAX)),
    };
    fields.finish()?;
    speaks_for(&admitted, new.agent_id)?;
    if let Some(answer) = replay(&state, &call, StatusCode::CREATED).await? {
        return Ok(answer);
    }
    settle(follow_ups::schedule(&state.app, &call, new).await, StatusCode::CREATED)
}

/// `PATCH .../crm/follow-ups/{followUpId}`: `{status: done|cancelled}`.
pub async fn close(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, follow_up)): Path<(String, String)>,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let follow_up: FollowUpId = path_id("followUpId", &follow_up)?;
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    let ending = fields.required("status", among(ENDINGS));
    fields.finish()?;
    let Some(ending) = ending else {
        return Err(ApiError::field("status", "REQUIRED", "is required"));
    };
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(follow_ups::close(&state.app, &call, follow_up, ending).await, StatusCode::OK)
}
