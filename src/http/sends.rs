//! Sends, and the activities that they become.

use axum::extract::{OriginalUri, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use docket_aggregates::approval::{ApprovalError, ApprovalStatus};
use docket_aggregates::channel::Channel;
use docket_aggregates::ids::{CampaignId, ContactId, MessageId, OrganizationId, OutboxId, SequenceId};
use docket_aggregates::message::{DispatchState, MessageError, MessageStatus};
use docket_aggregates::token::Role;
use docket_projections::Keyset;
use docket_projections::messages::{self as rows, MessageFilter, MessageRow};
use serde_json::{Value, json};

use super::HttpState;
use super::call::{Admitted, replay, settle, wait_preferred};
use super::error::{ApiError, FieldProblem};
use super::input::{Body, Fields, Problem, among, id, integer, lines, one_of, path_id};
use super::reply;
use super::spec::{Spec, object, schema};
use crate::channels;
use crate::readside::Consistency;
use crate::sending::explaining::{self, Explanation};
use crate::sending::outcome::{WAIT, WAIT_MAX, wait};
use crate::sending::{Activity, SendRefusal, SendRequest, activity, draft, revising, settling};
use crate::service::{Done, ServiceError};
use crate::shapes;

/// Activities of one page, at most.
const PAGE_MAX: i64 = 100;
/// Characters of what somebody found out.
const EVIDENCE_MAX: usize = 2_000;

impl From<channels::Problem> for FieldProblem {
    fn from(problem: channels::Problem) -> Self {
        Self { path: problem.path, code: problem.code, message: problem.message }
    }
}

impl From<SendRefusal> for ApiError {
    fn from(refusal: SendRefusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            SendRefusal::To(error) => Self::field("to", "INVALID_RECIPIENT", error.to_string()),
            SendRefusal::Payload(problems) => Self::fields(problems.into_iter().map(Into::into).collect()),
            SendRefusal::PayloadTooLong => Self::field("payload", "TOO_LONG", message),
            SendRefusal::UnknownOutbox => Self::not_found("OUTBOX_NOT_FOUND", "outbox"),
            SendRefusal::OtherChannel { .. } => Self::unprocessable("CHANNEL_MISMATCH", message),
            SendRefusal::UnknownContentPiece => Self::not_found("CONTENT_PIECE_NOT_FOUND", "content piece"),
            SendRefusal::ContentPieceDeleted => Self::unprocessable("CONTENT_PIECE_DELETED", message),
            SendRefusal::UnknownContact => Self::not_found("CONTACT_NOT_FOUND", "contact"),
            SendRefusal::UnknownCampaign => Self::not_found("CAMPAIGN_NOT_FOUND", "campaign"),
            SendRefusal::OtherRequest(holder) => {
                let conflict = Self::conflict("DEDUP_CONFLICT", message);
                match holder {
                    Some(holder) => conflict.with(json!({ "activityId": holder })),
                    None => conflict,
                }
            }
            SendRefusal::Message(error) => error.into(),
            SendRefusal::Approval(ApprovalError::NotPending(ApprovalStatus::Expired)) => {
                Self::unprocessable("APPROVAL_EXPIRED", message)
            }
            SendRefusal::Approval(error) => Self::conflict("APPROVAL_NOT_PENDING", error),
            SendRefusal::Bucket(_) | SendRefusal::Correspondence(_) => {
                Self::unprocessable("ILLEGAL_TRANSITION", message)
            }
        }
    }
}

impl From<MessageError> for ApiError {
    fn from(error: MessageError) -> Self {
        let message = error.to_string();
        match error {
            MessageError::Unknown => Self::not_found("ACTIVITY_NOT_FOUND", "activity"),
            MessageError::AlreadyDrafted => Self::conflict("ALREADY_DRAFTED", message),
            MessageError::OtherApproval => Self::conflict("APPROVAL_SUPERSEDED", message),
            MessageError::OtherContent => Self::conflict("CONTENT_CHANGED", message),
            MessageError::SelfApproval => Self::new(StatusCode::FORBIDDEN, "SELF_APPROVAL", message),
            MessageError::NotTheDrafter => Self::new(StatusCode::FORBIDDEN, "NOT_THE_DRAFTER", message),
            MessageError::NotUnknown => Self::unprocessable("NOT_UNKNOWN", message),
            MessageError::Erased => Self::unprocessable("ERASED", message),
            MessageError::Final(_)
            | MessageError::UnderWay(_)
            | MessageError::NotApproved
            | MessageError::OtherRecipient
            | MessageError::DryRunMix
            | MessageError::NotDue(_)
            | MessageError::NotTheHolder { .. }
            | MessageError::NeverSent => Self::unprocessable("ILLEGAL_TRANSITION", message),
        }
    }
}

/// As it was written: what it means is for the channel to say.
fn as_written(value: Value) -> Result<String, Problem> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(("WRONG_TYPE", "must be a string".into())),
    }
}

fn payload(value: Value) -> Result<Value, Problem> {
    if value.is_object() { Ok(value) } else { Err(("WRONG_TYPE", "must be an object".into())) }
}

/// 64 hexadecimal digits of either case; kept in lower case.
fn dedup_key(value: Value) -> Result<String, Problem> {
    let text = as_written(value)?.to_ascii_lowercase();
    let hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex { Ok(text) } else { Err(("INVALID_KEY", "must be 64 hexadecimal digits".into())) }
}

fn payload_shape() -> Value {
    json!({
        "type": "object", "additionalProperties": true,
        "description": "What the channel takes, at most 64 KiB of JSON; for email subject and text or html. Nobody \
                        beside `to` is written to: a cal-com payload with guests is refused.",
    })
}

/// What the reference says of [`send`].
pub fn sending() -> Spec {
    Spec::new("Send a message; it is decided at once, and the answer waits a little for its outcome")
        .header(
            "prefer",
            json!({ "type": "string", "examples": ["wait=5"] }),
            "wait=n: how many seconds to wait for the outcome, 5 unless it is said and 30 at most. A preference that is \
             not known is passed over (RFC 7240).",
        )
        .body(object([
            ("channel!", shapes::one_of::<Channel>()),
            ("outboxId!", shapes::id()),
            ("to!", json!({ "type": "string", "minLength": 1, "maxLength": 320 })),
            ("payload!", payload_shape()),
            ("contentPieceId", shapes::or_null(shapes::id())),
            ("campaignId", shapes::or_null(shapes::id())),
            ("clientDedupKey", shapes::or_null(json!({ "type": "string", "pattern": "^[0-9A-Fa-f]{64}$" }))),
        ]))
        .answers(200, "What was decided, and what is known of the outcome", schema::<Activity>())
}

/// What the reference says of [`list`].
pub fn listing() -> Spec {
    Spec::new("List activities, the newest first; an agent sees its own")
        .query("status", shapes::one_of::<MessageStatus>(), "Those of this status.")
        .query(
            "dispatchState",
            shapes::one_of::<DispatchState>(),
            "Those that are there; unknown waits for a person.",
        )
        .query("channel", shapes::one_of::<Channel>(), "Those on this channel.")
        .query("outboxId", shapes::id(), "Those from this sender.")
        .query("contactId", shapes::id(), "Those for this contact.")
        .query("campaignId", shapes::id(), "Those for this campaign.")
        .query("sequenceId", shapes::id(), "The steps of this sequence.")
        .page(schema::<Activity>(), PAGE_MAX, shapes::id(), "The id of the last one seen.")
}

/// What the reference says of [`show`].
pub fn showing() -> Spec {
    Spec::new("Show an activity with its payload").answers(200, "The activity", schema::<Activity>())
}

/// What the reference says of [`explain`].
pub fn explaining() -> Spec {
    Spec::new("Explain why an activity is where it is, and what would become of it now").answers(
        200,
        "The explanation",
        schema::<Explanation>(),
    )
}

/// What the reference says of [`revise`].
pub fn revising() -> Spec {
    Spec::new("Give an activity that waits for a person another payload; only its drafter may")
        .body(object([("payload!", payload_shape())]))
        .answers(200, "The activity as it was decided anew", schema::<Activity>())
}

/// What the reference says of [`settle_outcome`].
pub fn settling() -> Spec {
    let outcomes = json!({ "type": "string", "enum": ["sent", "failed"] });
    Spec::new("Say what became of an activity whose outcome nobody knew")
        .body(object([("outcome!", outcomes), ("evidence!", shapes::lines(EVIDENCE_MAX))]))
        .answers(200, "The activity", schema::<Activity>())
}

/// `POST .../crm/send`: `{channel, outboxId, to, payload, contentPieceId?, campaignId?, clientDedupKey?}`.
pub async fn send(
    State(state): State<HttpState>,
    admitted: Admitted,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    let channel = fields.required("channel", |value| one_of::<Channel>(value).map(Some));
    let outbox_id = fields.required("outboxId", id::<OutboxId>);
    let to = fields.required("to", as_written);
    let payload = fields.required("payload", payload);
    let content_piece_id = fields.optional("contentPieceId", id);
    let campaign_id = fields.optional("campaignId", id);
    let dedup_key = fields.optional("clientDedupKey", dedup_key);
    fields.finish()?;
    let Some(channel) = channel else { return Err(ApiError::field("channel", "REQUIRED", "is required")) };
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    let request = SendRequest {
        content_piece_id,
        campaign_id,
        dedup_key,
        agent_id: admitted.caller.agent_id,
        sees_own_only: admitted.caller.role == Role::Agent,
        ..SendRequest::new(channel, outbox_id, to, payload)
    };
    let drafted = draft(&state.app, &call, request).await;
    let Ok(Done { entity, appended }) = drafted else { return settle(drafted, StatusCode::OK) };
    let within = wait_preferred(&headers).map_or(WAIT, |asked| asked.min(WAIT_MAX));
    let entity = match known(&state, admitted.organization, &entity, within).await {
        Ok(known) => known,
        // It is recorded: what cannot be read now is no reason to say otherwise.
        Err(error) => {
            tracing::warn!(error = %error, "an outcome could not be read");
            entity
        }
    };
    settle(Ok::<_, ServiceError<SendRefusal>>(Done { entity, appended }), StatusCode::OK)
}

/// What is known of a message after waiting for it.
async fn known(
    state: &HttpState,
    organization: OrganizationId,
    drafted: &Activity,
    within: std::time::Duration,
) -> Result<Activity, crate::ledger::read::ReadError> {
    wait(&state.app, organization, drafted.id, within).await?;
    let row = activity::read(&state.app, organization, drafted.id).await?;
    Ok(row.map_or_else(
        || drafted.clone(),
        |row| Activity { deduplicated: drafted.deduplicated, ..Activity::of(organization, row) },
    ))
}

/// `GET .../crm/activities?status=&dispatchState=&channel=&outboxId=&contactId=&campaignId=&sequenceId=&limit=&after=`: the
/// newest first.
pub async fn list(
    State(state): State<HttpState>,
    admitted: Admitted,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of_query(&uri, &[])?;
    let filter = MessageFilter {
        status: fields.optional("status", one_of::<MessageStatus>),
        dispatch_state: fields.optional("dispatchState", one_of::<DispatchState>),
        channel: fields.optional("channel", one_of::<Channel>),
        outbox_id: fields.optional("outboxId", id::<OutboxId>),
        contact_id: fields.optional("contactId", id::<ContactId>),
        campaign_id: fields.optional("campaignId", id::<CampaignId>),
        sequence_id: fields.optional("sequenceId", id::<SequenceId>),
        drafter: (admitted.caller.role == Role::Agent).then_some(admitted.caller.principal_id),
    };
    let limit = fields.optional("limit", integer(1, PAGE_MAX)).unwrap_or(PAGE_MAX);
    let after = fields.optional("after", id::<MessageId>).map(Keyset::id);
    fields.finish()?;
    let limit = u32::try_from(limit).unwrap_or(100);
    let mut view = state.app.readside.view(admitted.organization, Consistency::STRONG).await?;
    let page = rows::list(&mut view, admitted.organization, &filter, after.as_ref(), limit).await?;
    drop(view);
    let next = page.next.map(|next| reply::next_page(&uri, limit, next.id));
    let of = |row| Activity::of(admitted.organization, row);
    let activities: Vec<Activity> = page.rows.into_iter().map(of).collect();
    Ok(reply::page(&activities, uri.path(), next))
}

/// `GET .../crm/activities/{activityId}`.
pub async fn show(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, activity)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let row = visible(&state, &admitted, &activity).await?;
    Ok(reply::json(StatusCode::OK, &Activity::whole(admitted.organization, row)))
}

/// `GET .../crm/activities/{activityId}/explain`.
pub async fn explain(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, activity)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let row = visible(&state, &admitted, &activity).await?;
    let told = explaining::explain(&state.app, admitted.organization, row.message_id, admitted.at).await?;
    Ok(reply::json(StatusCode::OK, &told))
}

/// `POST .../crm/activities/{activityId}/revise`: `{payload}`.
pub async fn revise(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, activity)): Path<(String, String)>,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let row = visible(&state, &admitted, &activity).await?;
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    let payload = fields.required("payload", payload);
    fields.finish()?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(revising::revise(&state.app, &call, row.message_id, &payload).await, StatusCode::OK)
}

/// `POST .../crm/activities/{activityId}/settle`: `{outcome: sent|failed, evidence}`.
pub async fn settle_outcome(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, activity)): Path<(String, String)>,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let message: MessageId = path_id("activityId", &activity)?;
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    let sent = fields.required("outcome", among(&[("sent", true), ("failed", false)]));
    let evidence = fields.required("evidence", lines(EVIDENCE_MAX));
    fields.finish()?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(settling::settle(&state.app, &call, message, sent, &evidence).await, StatusCode::OK)
}

/// The message, if the caller may see it: to an agent there are no others than its own.
async fn visible(state: &HttpState, admitted: &Admitted, text: &str) -> Result<MessageRow, ApiError> {
    let message: MessageId = path_id("activityId", text)?;
    let row = activity::read(&state.app, admitted.organization, message).await?;
    let own =
        |row: &MessageRow| admitted.caller.role != Role::Agent || row.drafter == admitted.caller.principal_id;
    row.filter(own).ok_or_else(|| MessageError::Unknown.into())
}
