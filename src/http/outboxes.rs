//! Senders of a company.

use axum::extract::{OriginalUri, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use docket_aggregates::channel::Channel;
use docket_aggregates::credential::{CredentialError, DAILY_CAP_MAX, SecretRef};
use docket_aggregates::ids::OutboxId;
use docket_aggregates::labels::check_niche;
use docket_aggregates::outbox::{OutboxError, OutboxPatch, OutboxSettings, is_secret};
use docket_projections::Keyset;
use docket_projections::outboxes as rows;
use serde_json::{Value, json};

use super::HttpState;
use super::call::{Admitted, replay, settle};
use super::error::{ApiError, FieldProblem};
use super::input::{Body, Fields, Problem, id, integer, line, object, one_of, path_id, whole_number};
use super::reply;
use super::secrets::ITSELF;
use super::spec::{self, Spec, schema};
use crate::channels::{self, Listening};
use crate::outboxes::{self, Limits, OutboxRefusal, OutboxView};
use crate::readside::Consistency;
use crate::shapes;

impl From<OutboxRefusal> for ApiError {
    fn from(refusal: OutboxRefusal) -> Self {
        match refusal {
            OutboxRefusal::Outbox(error) => error.into(),
            OutboxRefusal::Config(problems) => {
                let told = |problem: channels::Problem| {
                    FieldProblem::new(problem.path, problem.code, problem.message)
                };
                Self::fields(problems.into_iter().map(told).collect())
            }
            OutboxRefusal::Credential(error) => match error {
                CredentialError::NotAnId => Self::field("secretRef", "NOT_A_SECRET_REF", error.to_string()),
                CredentialError::CapTooLarge => Self::field("dailyCap", "OUT_OF_RANGE", error.to_string()),
                CredentialError::Zone(_) => Self::field("timeZone", "UNKNOWN_TIME_ZONE", error.to_string()),
            },
        }
    }
}

impl From<OutboxError> for ApiError {
    fn from(error: OutboxError) -> Self {
        let message = error.to_string();
        match error {
            OutboxError::Unknown => Self::not_found("OUTBOX_NOT_FOUND", "outbox"),
            OutboxError::AlreadyOpened => Self::conflict("ALREADY_OPENED", message),
            OutboxError::Erased => Self::unprocessable("ERASED", message),
            OutboxError::DryRun => Self::field("channel", "UNKNOWN_VALUE", message),
            OutboxError::Label(_) => Self::field("niche", "INVALID_NICHE", message),
            OutboxError::ConfigTooLong => Self::field("config", "TOO_LONG", message),
            OutboxError::ConfigNotAnObject => Self::field("config", "WRONG_TYPE", message),
            OutboxError::NoFromAddress => Self::field("config.fromAddress", "REQUIRED", message),
            OutboxError::PastedSecret(place) => Self::field(place, "LOOKS_LIKE_A_SECRET", message),
        }
    }
}

/// A niche: a slug.
pub fn niche(value: Value) -> Result<String, Problem> {
    let niche = line(64)(value)?;
    check_niche(&niche).map_err(|error| ("INVALID_NICHE", error.to_string()))?;
    Ok(niche)
}

/// Never tells the value back: it may be the secret itself.
fn secret_ref(value: Value) -> Result<Option<SecretRef>, Problem> {
    let text = value.as_str().unwrap_or_default();
    let read: Result<SecretRef, _> = text.parse();
    if read.as_ref().is_ok_and(|read| is_secret(&read.secret_id)) {
        return Err(("LOOKS_LIKE_A_SECRET", ITSELF.to_owned()));
    }
    read.map(Some).map_err(|error| ("NOT_A_SECRET_REF", error.to_string()))
}

fn limits(fields: &mut Fields) -> Limits {
    let cap = |value| whole_number(0, DAILY_CAP_MAX.cast_signed())(value).map(i64::unsigned_abs);
    Limits { daily_cap: fields.clearable("dailyCap", cap), time_zone: fields.patched("timeZone", line(64)) }
}

fn secret_ref_shape() -> Value {
    json!({ "type": "string", "pattern": "^secret://[A-Za-z0-9_-]{1,128}:(latest|[1-9][0-9]{0,8})$" })
}

fn cap_shape() -> Value {
    shapes::or_null(shapes::integer(0, DAILY_CAP_MAX.cast_signed()))
}

/// An object; what its webhooks are signed with stands in it by reference alone.
fn config(value: Value) -> Result<String, Problem> {
    if let Err(field) = Listening::check(&value) {
        return Err((
            "NOT_A_SECRET_REF",
            format!("must have {field} as secret://<id>:latest or secret://<id>:<version>"),
        ));
    }
    object(value)
}

fn config_shape() -> Value {
    let address = json!({ "type": "string", "minLength": 1 });
    json!({
        "type": "object", "description": "The channel's own settings; no secret stands in them.",
        "properties": { "fromAddress": address }, "additionalProperties": true,
    })
}

/// What the reference says of [`list`].
pub fn listing() -> Spec {
    Spec::new("List the outboxes in use, the oldest first").page(
        schema::<OutboxView>(),
        100,
        shapes::id(),
        "The id of the last one seen.",
    )
}

/// What the reference says of [`open`].
pub fn opening() -> Spec {
    let channels: Vec<&str> =
        Channel::ALL.into_iter().filter(|channel| *channel != Channel::DryRun).map(Channel::name).collect();
    Spec::new("Open an outbox; config is what its channel sends with, an e-mail's with fromAddress")
        .body(spec::object([
            ("channel!", json!({ "type": "string", "enum": channels })),
            ("niche", shapes::or_null(shapes::slug())),
            ("secretRef!", secret_ref_shape()),
            ("config!", config_shape()),
            ("dailyCap", cap_shape()),
            ("timeZone", shapes::line(64)),
        ]))
        .answers(201, "The outbox", schema::<OutboxView>())
}

/// What the reference says of [`change`].
pub fn changing() -> Spec {
    Spec::new("Change an outbox; config is replaced whole, null clears niche and dailyCap")
        .patch([
            ("niche", shapes::or_null(shapes::slug())),
            ("secretRef", secret_ref_shape()),
            ("config", config_shape()),
            ("dailyCap", cap_shape()),
            ("timeZone", shapes::line(64)),
        ])
        .answers(200, "The outbox", schema::<OutboxView>())
}

/// What the reference says of [`delete`].
pub fn deleting() -> Spec {
    Spec::new("Take an outbox out of use").answers(200, "The outbox as it was", schema::<OutboxView>())
}

/// `GET .../crm/outboxes?limit=&after=`: those in use, the oldest first.
pub async fn list(
    State(state): State<HttpState>,
    admitted: Admitted,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of_query(&uri, &[])?;
    let limit = fields.optional("limit", integer(1, 100)).unwrap_or(100);
    let after = fields.optional("after", id::<OutboxId>).map(Keyset::id);
    fields.finish()?;

    let mut view = state.app.readside.view(admitted.organization, Consistency::STRONG).await?;
    let limit = u32::try_from(limit).unwrap_or(100);
    let page = rows::list(&mut view, admitted.organization, after.as_ref(), limit).await?;
    drop(view);
    let next = page.next.map(|next| format!("limit={limit}&after={}", next.id));
    let mut outboxes = Vec::with_capacity(page.rows.len());
    for row in page.rows {
        outboxes.push(outboxes::of_row(&state.app, admitted.organization, row, admitted.at).await?);
    }
    Ok(reply::page(&outboxes, uri.path(), next))
}

/// `POST .../crm/outboxes`: `{channel, niche, secretRef, config, dailyCap?, timeZone?}`.
pub async fn open(
    State(state): State<HttpState>,
    admitted: Admitted,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    let channel = fields.required("channel", |value| one_of::<Channel>(value).map(Some));
    let niche = fields.optional("niche", niche);
    let secret = fields.required("secretRef", secret_ref);
    let config = fields.required("config", config);
    let limits = limits(&mut fields);
    fields.finish()?;
    let (Some(channel), Some(secret)) = (channel, secret) else {
        return Err(ApiError::field("channel", "REQUIRED", "is required"));
    };
    if let Some(answer) = replay(&state, &call, StatusCode::CREATED).await? {
        return Ok(answer);
    }
    let settings = OutboxSettings { niche, secret, config };
    settle(outboxes::open(&state.app, &call, channel, settings, limits).await, StatusCode::CREATED)
}

/// `PATCH .../crm/outboxes/{outboxId}`: `{niche?, secretRef?, config?, dailyCap?, timeZone?}`. The configuration is
/// replaced whole; `niche: null` and `dailyCap: null` clear.
pub async fn change(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, outbox)): Path<(String, String)>,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let outbox: OutboxId = path_id("outboxId", &outbox)?;
    let call = admitted.call(&body)?;
    if body.get("channel").is_some() {
        return Err(ApiError::unprocessable("CHANNEL_IMMUTABLE", "the channel of an outbox is for good"));
    }
    let mut fields = Fields::of_body(body)?;
    fields.not_empty();
    let patch = OutboxPatch {
        niche: fields.clearable("niche", niche),
        secret: fields.patched("secretRef", secret_ref).flatten(),
        config: fields.patched("config", config),
    };
    let limits = limits(&mut fields);
    fields.finish()?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(outboxes::change(&state.app, &call, outbox, patch, limits).await, StatusCode::OK)
}

/// `DELETE .../crm/outboxes/{outboxId}`: soft; what was sent keeps its sender.
pub async fn delete(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, outbox)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let outbox: OutboxId = path_id("outboxId", &outbox)?;
    let call = admitted.call(&Value::Null)?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(outboxes::delete(&state.app, &call, outbox).await, StatusCode::OK)
}
