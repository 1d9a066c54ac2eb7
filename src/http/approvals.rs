//! Questions to a person, and the answers.

use axum::extract::{OriginalUri, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use docket_aggregates::approval::{ApprovalError, ApprovalStatus};
use docket_aggregates::ids::ApprovalId;
use docket_aggregates::message::MessageError;
use docket_projections::Keyset;
use serde_json::{Value, json};

use super::HttpState;
use super::call::{Admitted, replay, settle};
use super::error::ApiError;
use super::input::{Body, Fields, id, integer, line, lines, list as list_of, one_of, path_id};
use super::reply;
use super::spec::{Spec, object, schema};
use crate::approvals::{self, ApprovalRefusal, ApprovalView, BatchRefusal, BatchView};
use crate::shapes;

/// Characters of a note.
const NOTE_MAX: usize = 2_000;
/// Approvals of one batch.
const BATCH_MAX: usize = 500;

impl From<ApprovalRefusal> for ApiError {
    fn from(refusal: ApprovalRefusal) -> Self {
        match refusal {
            ApprovalRefusal::Approval(error) => error.into(),
            ApprovalRefusal::Message(error) => of_message(&error),
        }
    }
}

impl From<ApprovalError> for ApiError {
    fn from(error: ApprovalError) -> Self {
        let message = error.to_string();
        match error {
            ApprovalError::Unknown => Self::not_found("APPROVAL_NOT_FOUND", "approval"),
            ApprovalError::AlreadyRequested => Self::conflict("ALREADY_REQUESTED", message),
            ApprovalError::NotPending(ApprovalStatus::Superseded) => {
                Self::conflict("APPROVAL_SUPERSEDED", message)
            }
            ApprovalError::NotPending(status) => {
                let code = match status {
                    ApprovalStatus::Approved => "ALREADY_APPROVED",
                    ApprovalStatus::Rejected => "ALREADY_REJECTED",
                    ApprovalStatus::RevisionRequested => "REVISION_REQUESTED",
                    ApprovalStatus::Expired => "APPROVAL_EXPIRED",
                    ApprovalStatus::Pending | ApprovalStatus::Superseded => "NOT_PENDING",
                };
                Self::unprocessable(code, message)
            }
            ApprovalError::SelfApproval => Self::new(StatusCode::FORBIDDEN, "SELF_APPROVAL", message),
            ApprovalError::OtherContent => Self::conflict("CONTENT_CHANGED", message),
            ApprovalError::NotYetExpired => Self::unprocessable("NOT_YET_EXPIRED", message),
        }
    }
}

/// What a message says against an answer to its approval.
fn of_message(error: &MessageError) -> ApiError {
    let message = error.to_string();
    match error {
        MessageError::OtherApproval => ApiError::conflict("APPROVAL_SUPERSEDED", message),
        MessageError::OtherContent => ApiError::conflict("CONTENT_CHANGED", message),
        MessageError::SelfApproval => ApiError::new(StatusCode::FORBIDDEN, "SELF_APPROVAL", message),
        MessageError::Final(_) => ApiError::unprocessable("ACTIVITY_FINAL", message),
        MessageError::UnderWay(_) => ApiError::unprocessable("ACTIVITY_UNDER_WAY", message),
        MessageError::Unknown => ApiError::not_found("ACTIVITY_NOT_FOUND", "activity"),
        _ => ApiError::unprocessable("ACTIVITY_REFUSES", message),
    }
}

impl From<BatchRefusal> for ApiError {
    /// The status is that of the gravest refusal: what does not exist, then who may not, then what changed, then what
    /// was answered otherwise. The details name every approval that stands against the batch.
    fn from(refusal: BatchRefusal) -> Self {
        const GRAVEST_FIRST: [StatusCode; 4] = [
            StatusCode::NOT_FOUND,
            StatusCode::FORBIDDEN,
            StatusCode::CONFLICT,
            StatusCode::UNPROCESSABLE_ENTITY,
        ];
        let message = refusal.to_string();
        let offences: Vec<_> =
            refusal.0.into_iter().map(|(approval, refusal)| (approval, Self::from(refusal))).collect();
        let gravest = offences.iter().map(|(_, refusal)| refusal).min_by_key(|refusal| {
            GRAVEST_FIRST.iter().position(|status| *status == refusal.status).unwrap_or(usize::MAX)
        });
        let (status, code) = gravest.map_or((StatusCode::UNPROCESSABLE_ENTITY, "NOT_PENDING"), |gravest| {
            (gravest.status, gravest.code)
        });
        let details: Vec<Value> = offences
            .iter()
            .map(|(approval, refusal)| {
                json!({ "approvalId": approval, "code": refusal.code, "message": refusal.message })
            })
            .collect();
        Self::new(status, code, message).with(json!(details))
    }
}

fn note_shape() -> Value {
    shapes::lines(NOTE_MAX)
}

/// What the reference says of [`list`].
pub fn listing() -> Spec {
    Spec::new("List approvals, the oldest first, with exactly what would be sent to whom")
        .query("status", shapes::one_of::<ApprovalStatus>(), "Only those of this status.")
        .page(schema::<ApprovalView>(), 100, shapes::id(), "The id of the last one seen.")
}

/// What the reference says of [`show`].
pub fn showing() -> Spec {
    Spec::new("Show an approval, with exactly what would be sent to whom").answers(
        200,
        "The approval",
        schema::<ApprovalView>(),
    )
}

/// What the reference says of [`approve`].
pub fn approving() -> Spec {
    Spec::new(
        "Approve exactly what was shown; contentHash repeats its hash, and nobody approves their own words",
    )
    .body(object([("contentHash!", shapes::line(128)), ("note", shapes::or_null(note_shape()))]))
    .answers(200, "The approval", schema::<ApprovalView>())
}

/// What the reference says of [`reject`].
pub fn rejecting() -> Spec {
    Spec::new("Reject: the activity has failed, and is not sent")
        .body(object([("note!", note_shape())]))
        .answers(200, "The approval", schema::<ApprovalView>())
}

/// What the reference says of [`request_revision`].
pub fn requesting_revision() -> Spec {
    Spec::new("Ask the drafter for another draft").body(object([("note!", note_shape())])).answers(
        200,
        "The approval",
        schema::<ApprovalView>(),
    )
}

/// What the reference says of [`bulk_approve`].
pub fn bulk_approving() -> Spec {
    let mut ids = shapes::list(BATCH_MAX, shapes::id());
    ids["minItems"] = 1.into();
    Spec::new("Approve up to 500 at once: all of them or none; a refusal names every approval that stands against it")
        .body(object([("approvalIds!", ids)]))
        .answers(200, "What was approved", schema::<BatchView>())
}

/// `GET .../crm/approvals?status=&limit=&after=`: the oldest first.
pub async fn list(
    State(state): State<HttpState>,
    admitted: Admitted,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of_query(&uri, &[])?;
    let status = fields.optional("status", one_of::<ApprovalStatus>);
    let limit = fields.optional("limit", integer(1, 100)).unwrap_or(100);
    let after = fields.optional("after", id::<ApprovalId>).map(Keyset::id);
    fields.finish()?;
    let limit = u32::try_from(limit).unwrap_or(100);
    let page = approvals::list(&state.app, admitted.organization, status, after.as_ref(), limit, admitted.at)
        .await?;
    let of_status = status.map(|status| format!("status={}&", status.name())).unwrap_or_default();
    let next = page.next.map(|next| format!("{of_status}limit={limit}&after={}", next.id));
    Ok(reply::page(&page.rows, uri.path(), next))
}

/// `GET .../crm/approvals/{approvalId}`.
pub async fn show(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, approval)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let approval: ApprovalId = path_id("approvalId", &approval)?;
    let shown = approvals::show(&state.app, admitted.organization, approval, admitted.at).await?;
    Ok(reply::json(StatusCode::OK, &shown))
}

/// `POST .../crm/approvals/{approvalId}/approve`: `{contentHash, note?}`.
pub async fn approve(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, approval)): Path<(String, String)>,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let approval: ApprovalId = path_id("approvalId", &approval)?;
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    // Hexadecimal digits, which mean the same in capitals.
    let content_hash = fields.required("contentHash", line(128)).to_ascii_lowercase();
    let note = fields.optional("note", lines(NOTE_MAX));
    fields.finish()?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(approvals::approve(&state.app, &call, approval, content_hash, note).await, StatusCode::OK)
}

/// `POST .../crm/approvals/{approvalId}/reject`: `{note}`.
pub async fn reject(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, approval)): Path<(String, String)>,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let approval: ApprovalId = path_id("approvalId", &approval)?;
    let call = admitted.call(&body)?;
    let note = only_note(body)?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(approvals::reject(&state.app, &call, approval, note).await, StatusCode::OK)
}

/// `POST .../crm/approvals/{approvalId}/request-revision`: `{note}`.
pub async fn request_revision(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, approval)): Path<(String, String)>,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let approval: ApprovalId = path_id("approvalId", &approval)?;
    let call = admitted.call(&body)?;
    let note = only_note(body)?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(approvals::request_revision(&state.app, &call, approval, note).await, StatusCode::OK)
}

fn only_note(body: Value) -> Result<String, ApiError> {
    let mut fields = Fields::of_body(body)?;
    let note = fields.required("note", lines(NOTE_MAX));
    fields.finish()?;
    Ok(note)
}

/// `POST .../crm/approvals/bulk-approve`: `{approvalIds}`. All or nothing.
pub async fn bulk_approve(
    State(state): State<HttpState>,
    admitted: Admitted,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    let approvals = fields.required("approvalIds", |value| {
        let ids = list_of(BATCH_MAX, id::<ApprovalId>)(value)?;
        if ids.is_empty() { Err(("EMPTY", "must name at least one approval".to_owned())) } else { Ok(ids) }
    });
    fields.finish()?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(approvals::approve_all(&state.app, &call, approvals).await, StatusCode::OK)
}
