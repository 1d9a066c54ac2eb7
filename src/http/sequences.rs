//! Sequences of a company, and the contacts that are led through them.

use axum::extract::{OriginalUri, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use docket_aggregates::calendar::{HoursOfDay, WeeklyHours};
use docket_aggregates::channel::Channel;
use docket_aggregates::enrollment::{EnrollmentError, EnrollmentStatus};
use docket_aggregates::ids::{CampaignId, OutboxId, SequenceId};
use docket_aggregates::membership::MembershipStatus;
use docket_aggregates::sequence::{STEPS_MAX, SequenceError, SequenceStatus, WAIT_MINUTES_MAX};
use docket_projections::Keyset;
use docket_projections::enrollments as enrollment_rows;
use docket_projections::sequences as rows;
use serde_json::{Value, json};
use uuid::Uuid;

use super::HttpState;
use super::call::{Admitted, replay, settle};
use super::error::{ApiError, FieldProblem};
use super::input::{
    Body, Fields, Problem, boolean, id, integer, line, object, one_of, path_id, some_of, whole_number,
};
use super::reply;
use super::spec::{self, Spec, schema};
use crate::readside::Consistency;
use crate::sequences::enrolling::{Enrolled, Selection, enroll as enroll_contacts};
use crate::sequences::enrollments::{self, EnrollmentView};
use crate::sequences::{self, NewStep, SequenceChange, SequenceRefusal, SequenceView};
use crate::shapes;

/// Characters of a name.
const NAME_MAX: usize = 120;
/// Sequences or enrollments of one page, at most.
const PAGE_MAX: i64 = 100;

impl From<SequenceRefusal> for ApiError {
    fn from(refusal: SequenceRefusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            SequenceRefusal::Sequence(error) => error.into(),
            SequenceRefusal::Enrollment(EnrollmentError::Unknown) => {
                Self::not_found("ENROLLMENT_NOT_FOUND", "enrollment")
            }
            SequenceRefusal::Enrollment(_) => Self::conflict("ILLEGAL_TRANSITION", message),
            SequenceRefusal::UnknownOutbox(_) => {
                Self::new(StatusCode::NOT_FOUND, "OUTBOX_NOT_FOUND", message)
            }
            SequenceRefusal::OtherChannel { .. } => Self::unprocessable("CHANNEL_MISMATCH", message),
            SequenceRefusal::Payload { step, problems } => Self::fields(
                problems
                    .into_iter()
                    .map(|problem| {
                        let path = problem.path.trim_start_matches("payload").trim_start_matches('.');
                        let within = if path.is_empty() { String::new() } else { format!(".{path}") };
                        let path = format!("steps.{}.payload{within}", step - 1);
                        FieldProblem::new(path, problem.code, problem.message)
                    })
                    .collect(),
            ),
            SequenceRefusal::Words { step, error } => {
                let path = format!("steps.{}.payload", step - 1);
                Self::field(path, "UNKNOWN_PLACEHOLDER", error.to_string())
            }
            SequenceRefusal::UnknownCampaign => Self::not_found("CAMPAIGN_NOT_FOUND", "campaign"),
            SequenceRefusal::CampaignOver(_) => Self::unprocessable("CAMPAIGN_OVER", message),
        }
    }
}

/// Steps that stand against how far contacts are: which one, and by which rule.
fn would_move(step: usize, code: &'static str, message: String) -> ApiError {
    let problem = FieldProblem::new(format!("steps.{}", step - 1), code, message.clone());
    ApiError::unprocessable(code, message).with(json!([problem]))
}

impl From<SequenceError> for ApiError {
    fn from(error: SequenceError) -> Self {
        let message = error.to_string();
        match error {
            SequenceError::Unknown => Self::not_found("SEQUENCE_NOT_FOUND", "sequence"),
            SequenceError::AlreadyCreated => Self::conflict("ALREADY_CREATED", message),
            SequenceError::Erased => Self::unprocessable("ERASED", message),
            SequenceError::Archived => Self::unprocessable("SEQUENCE_ARCHIVED", message),
            SequenceError::Name => Self::field("name", "INVALID_NAME", message),
            SequenceError::Steps | SequenceError::UnevenPayloads { .. } => {
                Self::field("steps", "OUT_OF_RANGE", message)
            }
            SequenceError::WordsTooLong => Self::field("steps", "TOO_LONG", message),
            SequenceError::Payload(step) => {
                Self::field(format!("steps.{}.payload", step - 1), "INVALID_PAYLOAD", message)
            }
            SequenceError::Wait(step) => {
                Self::field(format!("steps.{}.waitMinutes", step - 1), "OUT_OF_RANGE", message)
            }
            SequenceError::WouldRepeat { step, .. } => would_move(step, "WOULD_REPEAT_STEP", message),
            SequenceError::WouldSkip { step, .. } => would_move(step, "WOULD_SKIP_STEP", message),
            SequenceError::Window { step, .. } => {
                Self::field(format!("steps.{}.window", step - 1), "INVALID_HOURS", message)
            }
        }
    }
}

fn window(fields: &mut Fields) -> WeeklyHours {
    let weekday = |value| whole_number(1, 7)(value).map(|day| u8::try_from(day).unwrap_or_default());
    WeeklyHours {
        hours: HoursOfDay {
            start: fields.required("start", line(5)),
            end: fields.required("end", line(5)),
            tz: fields.required("tz", line(64)),
        },
        // Every day is what is not said; a list of no days is a slip that must not open them all.
        weekdays: fields.optional("weekdays", some_of(7, weekday)).unwrap_or_default(),
    }
}

/// One step of a body.
fn step(fields: &mut Fields) -> NewStep {
    let wait = whole_number(0, i64::from(WAIT_MINUTES_MAX));
    NewStep {
        outbox_id: fields.required("outboxId", id::<OutboxId>),
        channel: fields.optional("channel", one_of::<Channel>),
        wait_minutes: fields
            .optional("waitMinutes", wait)
            .map_or(0, |minutes| u32::try_from(minutes).unwrap_or(u32::MAX)),
        window: fields.nested("window", window),
        payload: fields.required("payload", payload),
    }
}

fn payload(value: Value) -> Result<Value, Problem> {
    object(value.clone()).map(|_| value)
}

fn steps_shape() -> Value {
    let time = || json!({ "type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$" });
    let window = spec::object([
        ("start!", time()),
        ("end!", time()),
        ("tz!", shapes::line(64)),
        ("weekdays", shapes::or_null(shapes::some_of(7, shapes::integer(1, 7)))),
    ]);
    let step = spec::object([
        ("outboxId!", shapes::id()),
        ("channel", shapes::or_null(shapes::one_of::<Channel>())),
        ("waitMinutes", shapes::or_null(shapes::integer(0, i64::from(WAIT_MINUTES_MAX)))),
        ("window", shapes::or_null(window)),
        (
            "payload!",
            json!({
                "type": "object", "additionalProperties": true,
                "description": "What the channel is given. {{firstName}} in a text stands for what is known of the contact, \
                                {{firstName|there}} for that or else for `there`.",
            }),
        ),
    ]);
    let mut steps = shapes::list(STEPS_MAX, step);
    steps["minItems"] = json!(1);
    steps
}

/// What the reference says of [`list`].
pub fn listing() -> Spec {
    Spec::new("List the sequences, the oldest first")
        .query("status", shapes::one_of::<SequenceStatus>(), "Only those of this status.")
        .page(schema::<SequenceView>(), PAGE_MAX, shapes::id(), "The id of the last one seen.")
}

/// What the reference says of [`create`].
pub fn creating() -> Spec {
    Spec::new("Set up a sequence: steps that contacts are led through, each a message after a wait")
        .body(spec::object([("name!", shapes::line(NAME_MAX)), ("steps!", steps_shape())]))
        .answers(201, "The sequence", schema::<SequenceView>())
}

/// What the reference says of [`show`].
pub fn showing() -> Spec {
    Spec::new("Show a sequence, and how many contacts stand where in it").answers(
        200,
        "The sequence",
        schema::<SequenceView>(),
    )
}

/// What the reference says of [`change`].
pub fn changing() -> Spec {
    Spec::new(
        "Change, pause, resume or archive a sequence; new steps hold for every step that is not taken yet",
    )
    .patch([
        ("name", shapes::line(NAME_MAX)),
        ("steps", steps_shape()),
        ("status", shapes::one_of::<SequenceStatus>()),
    ])
    .answers(200, "The sequence", schema::<SequenceView>())
}

/// What the reference says of [`enroll`].
pub fn enrolling() -> Spec {
    Spec::new("Lead the contacts of a campaign through a sequence; whoever is or was in it is passed over")
        .body(spec::object([
            ("campaignId!", shapes::id()),
            ("statusIn", shapes::or_null(shapes::some_of(9, shapes::one_of::<MembershipStatus>()))),
            ("dryRun", shapes::or_null(shapes::boolean())),
        ]))
        .answers(200, "Who is enrolled, and who is not, and why", schema::<Enrolled>())
}

/// What the reference says of [`enrolled`].
pub fn enrolled_listing() -> Spec {
    Spec::new("List the contacts of a sequence, and where they are in it")
        .query("state", shapes::one_of::<EnrollmentStatus>(), "Only those that stand here.")
        .page(schema::<EnrollmentView>(), PAGE_MAX, shapes::id(), "The contactId of the last one seen.")
}

/// What the reference says of [`stop`].
pub fn stopping() -> Spec {
    Spec::new("Take one contact out of a sequence").answers(200, "The enrollment", schema::<EnrollmentView>())
}

/// Where an enrollment may stand; one that never was is nowhere.
fn standing(value: Value) -> Result<EnrollmentStatus, Problem> {
    match one_of(value)? {
        EnrollmentStatus::None => Err(("UNKNOWN_VALUE", "must be active, stopped or finished".into())),
        standing => Ok(standing),
    }
}

fn unknown() -> ApiError {
    SequenceError::Unknown.into()
}

fn page_limit(fields: &mut Fields) -> u32 {
    let limit = fields.optional("limit", integer(1, PAGE_MAX)).unwrap_or(PAGE_MAX);
    u32::try_from(limit).unwrap_or(100)
}

fn next_of(limit: u32, after: impl std::fmt::Display, filter: &str, wanted: Option<&str>) -> String {
    match wanted {
        None => format!("limit={limit}&after={after}"),
        Some(wanted) => format!("limit={limit}&after={after}&{filter}={wanted}"),
    }
}

/// `GET .../crm/sequences?status=&limit=&after=`: the oldest first.
pub async fn list(
    State(state): State<HttpState>,
    admitted: Admitted,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of_query(&uri, &[])?;
    let status = fields.optional("status", one_of::<SequenceStatus>);
    let limit = page_limit(&mut fields);
    let after = fields.optional("after", id::<SequenceId>).map(Keyset::id);
    fields.finish()?;

    let organization = admitted.organization;
    let mut view = state.app.readside.view(organization, Consistency::STRONG).await?;
    let page = rows::list(&mut view, organization, status, after.as_ref(), limit).await?;
    let ids: Vec<SequenceId> = page.rows.iter().map(|row| row.sequence_id).collect();
    let counts = enrollment_rows::counts(&mut view, organization, &ids).await?;
    drop(view);
    let next = page.next.map(|next| next_of(limit, next.id, "status", status.map(SequenceStatus::name)));
    let sequences: Vec<SequenceView> = page
        .rows
        .into_iter()
        .map(|row| {
            let counts = counts.get(&row.sequence_id).copied().unwrap_or_default();
            SequenceView::of(organization, row, counts)
        })
        .collect();
    Ok(reply::page(&sequences, uri.path(), next))
}

/// `POST .../crm/sequences`: `{name, steps: [{outboxId, channel?, waitMinutes?, window?, payload}]}`.
pub async fn create(
    State(state): State<HttpState>,
    admitted: Admitted,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    let name = fields.required("name", line(NAME_MAX));
    let steps = fields.nested_list("steps", STEPS_MAX, step);
    fields.finish()?;
    let Some(steps) = steps else {
        return Err(ApiError::field("steps", "REQUIRED", "is required"));
    };
    if let Some(answer) = replay(&state, &call, StatusCode::CREATED).await? {
        return Ok(answer);
    }
    settle(sequences::create(&state.app, &call, name, steps).await, StatusCode::CREATED)
}

/// `GET .../crm/sequences/{sequenceId}`.
pub async fn show(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, sequence)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let sequence: SequenceId = path_id("sequenceId", &sequence)?;
    let mut view = state.app.readside.view(admitted.organization, Consistency::STRONG).await?;
    let shown = sequences::show(&mut view, admitted.organization, sequence).await?;
    Ok(reply::json(StatusCode::OK, &shown.ok_or_else(unknown)?))
}

/// `PATCH .../crm/sequences/{sequenceId}`: `{name?, steps?, status?}`. Steps are replaced whole.
pub async fn change(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, sequence)): Path<(String, String)>,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let sequence: SequenceId = path_id("sequenceId", &sequence)?;
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    fields.not_empty();
    let change = SequenceChange {
        name: fields.patched("name", line(NAME_MAX)),
        steps: fields.nested_list("steps", STEPS_MAX, step),
        status: fields.patched("status", one_of::<SequenceStatus>),
    };
    fields.finish()?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(sequences::change(&state.app, &call, sequence, change).await, StatusCode::OK)
}

/// `POST .../crm/sequences/{sequenceId}/enroll`: `{campaignId, statusIn?, dryRun?}`. A dry run records nothing.
pub async fn enroll(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, sequence)): Path<(String, String)>,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let sequence: SequenceId = path_id("sequenceId", &sequence)?;
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    let selection = Selection {
        campaign_id: fields.required("campaignId", id::<CampaignId>),
        status_in: fields.optional("statusIn", some_of(9, one_of::<MembershipStatus>)).unwrap_or_default(),
    };
    let dry_run = fields.optional("dryRun", boolean).unwrap_or(false);
    fields.finish()?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(enroll_contacts(&state.app, &call, sequence, &selection, dry_run).await, StatusCode::OK)
}

/// `GET .../crm/sequences/{sequenceId}/enrollments?state=&limit=&after=`: by contact.
pub async fn enrolled(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, sequence)): Path<(String, String)>,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, ApiError> {
    let sequence: SequenceId = path_id("sequenceId", &sequence)?;
    let mut fields = Fields::of_query(&uri, &[])?;
    let wanted = fields.optional("state", standing);
    let limit = page_limit(&mut fields);
    let after = fields.optional("after", id::<Uuid>).map(Keyset::id);
    fields.finish()?;
    let organization = admitted.organization;
    let page = enrollments::list(&state.app, organization, sequence, wanted, after.as_ref(), limit).await?;
    let page = page.ok_or_else(unknown)?;
    let next = page.next.map(|next| next_of(limit, next.id, "state", wanted.map(EnrollmentStatus::name)));
    Ok(reply::page(&page.rows, uri.path(), next))
}

/// `POST .../crm/sequences/{sequenceId}/enrollments/{enrollmentId}/stop`.
pub async fn stop(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, sequence, enrollment)): Path<(String, String, String)>,
) -> Result<Response, ApiError> {
    let sequence: SequenceId = path_id("sequenceId", &sequence)?;
    let enrollment: Uuid = path_id("enrollmentId", &enrollment)?;
    let call = admitted.call(&Value::Null)?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(enrollments::stop(&state.app, &call, sequence, enrollment).await, StatusCode::OK)
}
