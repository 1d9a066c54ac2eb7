//! Calls that callers made.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use docket_aggregates::ids::AgentId;
use docket_aggregates::membership::CallOutcome;

use super::HttpState;
use super::call::{Admitted, replay, settle};
use super::error::ApiError;
use super::input::{Body, Fields, id, lines, one_of, recent, whole_number};
use super::spec::{Spec, object, schema};
use crate::calls::{self, CallView, NewCall, WorkRefusal};
use crate::shapes;

/// How far a caller's clock may run ahead of ours.
const AHEAD_MILLIS: i64 = 5 * 60 * 1_000;
/// The longest call, in seconds.
const DURATION_MAX: i64 = 24 * 60 * 60;
/// Characters of a note.
pub const NOTE_MAX: usize = 4_000;

impl From<WorkRefusal> for ApiError {
    fn from(refusal: WorkRefusal) -> Self {
        match refusal {
            WorkRefusal::UnknownCampaign => Self::not_found("CAMPAIGN_NOT_FOUND", "campaign"),
            WorkRefusal::UnknownContact => Self::not_found("CONTACT_NOT_FOUND", "contact"),
            WorkRefusal::UnknownAgent => Self::not_found("AGENT_NOT_FOUND", "agent"),
            WorkRefusal::UnknownFollowUp => Self::not_found("FOLLOW_UP_NOT_FOUND", "follow-up"),
            WorkRefusal::CampaignOver(_) => Self::unprocessable("CAMPAIGN_OVER", refusal),
            WorkRefusal::InactiveAgent => Self::unprocessable("AGENT_INACTIVE", refusal),
            WorkRefusal::NotInCampaign => Self::unprocessable("NOT_IN_CAMPAIGN", refusal),
            WorkRefusal::DoNotContact => Self::unprocessable("DO_NOT_CONTACT", refusal),
            WorkRefusal::FollowUpAgainstWill => Self::unprocessable("FOLLOW_UP_AGAINST_WILL", refusal),
            WorkRefusal::Erased => Self::unprocessable("ERASED", refusal),
            WorkRefusal::FollowUp(_) => Self::unprocessable("ILLEGAL_TRANSITION", refusal),
        }
    }
}

/// A token that acts as a caller speaks for that one alone.
pub fn speaks_for(admitted: &Admitted, agent: AgentId) -> Result<(), ApiError> {
    match admitted.caller.agent_id {
        Some(own) if own != agent => {
            Err(ApiError::new(StatusCode::FORBIDDEN, "OTHER_AGENT", "the token acts as another agent"))
        }
        _ => Ok(()),
    }
}

/// What the reference says of [`log`].
pub fn logging() -> Spec {
    Spec::new("Log a call, and what was agreed on")
        .body(object([
            ("campaignId!", shapes::id()),
            ("contactId!", shapes::id()),
            ("agentId!", shapes::id()),
            ("outcome!", shapes::one_of::<CallOutcome>()),
            ("startedAt!", shapes::instant()),
            ("durationSeconds", shapes::or_null(shapes::integer(0, DURATION_MAX))),
            ("note", shapes::or_null(shapes::lines(NOTE_MAX))),
            ("followUpAt", shapes::or_null(shapes::instant())),
        ]))
        .answers(201, "The call", schema::<CallView>())
}

/// `POST .../crm/calls`: `{campaignId, contactId, agentId, outcome, startedAt, durationSeconds?, note?, followUpAt?}`.
pub async fn log(
    State(state): State<HttpState>,
    admitted: Admitted,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    let (campaign_id, contact_id) = (fields.required("campaignId", id), fields.required("contactId", id));
    let agent_id = fields.required("agentId", id);
    let outcome = fields.required("outcome", |value| one_of::<CallOutcome>(value).map(Some));
    let started_at = fields.required("startedAt", recent);
    let duration_seconds = fields.optional("durationSeconds", whole_number(0, DURATION_MAX));
    let note = fields.optional("note", lines(NOTE_MAX));
    let follow_up_at = fields.optional("followUpAt", recent);
    if started_at > admitted.at.plus_millis(AHEAD_MILLIS) {
        fields.problem("startedAt", "IN_THE_FUTURE", "must not lie in the future");
    }
    fields.finish()?;
    let Some(outcome) = outcome else {
        return Err(ApiError::field("outcome", "REQUIRED", "is required"));
    };
    speaks_for(&admitted, agent_id)?;
    if let Some(answer) = replay(&state, &call, StatusCode::CREATED).await? {
        return Ok(answer);
    }
    let new = NewCall {
        campaign_id,
        contact_id,
        agent_id,
        outcome,
        started_at,
        duration_seconds: duration_seconds.and_then(|seconds| u32::try_from(seconds).ok()),
        note,
        follow_up_at,
    };
    settle(calls::log(&state.app, &call, new).await, StatusCode::CREATED)
}
