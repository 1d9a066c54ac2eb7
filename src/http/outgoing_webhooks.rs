//! Where a company has its events posted to.

use axum::extract::{OriginalUri, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use docket_aggregates::AnyEvent;
use docket_aggregates::ids::WebhookEndpointId;
use docket_aggregates::webhook_endpoint::{
    EVENT_TYPES_MAX, URL_BYTES_MAX, WebhookEndpointError, WebhookPatch, WebhookSettings,
};
use serde_json::{Value, json};

use super::HttpState;
use super::call::{Admitted, replay, settle};
use super::error::ApiError;
use super::input::{Body, Fields, boolean, line, list as list_of, path_id};
use super::reply;
use super::short_lists::Asked;
use super::spec::{Spec, object, schema};
use crate::outgoing_webhooks::{self as webhooks, DeliveryView, TestView, WebhookRefusal, WebhookView};
use crate::shapes;

/// Characters of a description.
const DESCRIPTION_MAX: usize = 500;
/// Characters of the name of an event type.
const EVENT_TYPE_MAX: usize = 100;
/// Endpoints of a page.
const PAGE_MAX: i64 = 100;

impl From<WebhookRefusal> for ApiError {
    fn from(refusal: WebhookRefusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            WebhookRefusal::TooMany => Self::unprocessable("TOO_MANY_WEBHOOKS", message),
            WebhookRefusal::Private => Self::field("url", "PRIVATE_TARGET", message),
            WebhookRefusal::Elsewhere => Self::field("url", "TARGET_ELSEWHERE", message),
            WebhookRefusal::NoPoster => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "WEBHOOKS_UNAVAILABLE", message)
            }
            WebhookRefusal::Endpoint(error) => match error {
                WebhookEndpointError::Unknown => Self::not_found("WEBHOOK_NOT_FOUND", "webhook endpoint"),
                WebhookEndpointError::AlreadyOpened => Self::conflict("ALREADY_OPENED", message),
                WebhookEndpointError::Erased => Self::unprocessable("ERASED", message),
                WebhookEndpointError::NotAUrl => Self::field("url", "INVALID_URL", message),
                WebhookEndpointError::UnknownEventType(_) => {
                    Self::field("eventTypes", "UNKNOWN_EVENT_TYPE", message)
                }
                WebhookEndpointError::TooManyEventTypes => Self::field("eventTypes", "TOO_MANY", message),
            },
        }
    }
}

fn url_shape() -> Value {
    json!({ "type": "string", "format": "uri", "pattern": "^https?://[^@\\s]+$", "maxLength": URL_BYTES_MAX })
}

fn types_shape() -> Value {
    let mut known: Vec<&str> = AnyEvent::stored().into_iter().map(|(_, event_type, _)| event_type).collect();
    known.sort_unstable();
    known.dedup();
    shapes::list(EVENT_TYPES_MAX, json!({ "type": "string", "enum": known }))
}

/// What the reference says of [`list`].
pub fn listing() -> Spec {
    Spec::new("List the webhook endpoints, the oldest first").page(
        schema::<WebhookView>(),
        PAGE_MAX,
        shapes::id(),
        "The id of the last one seen.",
    )
}

/// What the reference says of [`open`].
pub fn opening() -> Spec {
    Spec::new("Have events posted to an address; no event types means all of them")
        .body(object([
            ("url!", url_shape()),
            ("description", shapes::or_null(shapes::line(DESCRIPTION_MAX))),
            ("eventTypes", shapes::or_null(types_shape())),
        ]))
        .answers(201, "The endpoint, with its secret", schema::<WebhookView>())
}

/// What the reference says of [`change`].
pub fn changing() -> Spec {
    Spec::new("Change a webhook endpoint, or switch it on or off")
        .patch([
            ("url", url_shape()),
            ("description", shapes::or_null(shapes::line(DESCRIPTION_MAX))),
            ("eventTypes", types_shape()),
            ("enabled", shapes::boolean()),
        ])
        .answers(200, "The endpoint", schema::<WebhookView>())
}

/// What the reference says of [`delete`].
pub fn deleting() -> Spec {
    Spec::new("Take a webhook endpoint out of use").answers(
        200,
        "The endpoint as it was",
        schema::<WebhookView>(),
    )
}

/// What the reference says of [`rotate`].
pub fn rotating() -> Spec {
    Spec::new("Give a webhook endpoint a new secret; the old one signs for a day more").answers(
        200,
        "The endpoint, with its new secret",
        schema::<WebhookView>(),
    )
}

/// What the reference says of [`test`].
pub fn testing() -> Spec {
    Spec::new("Post a test to a webhook endpoint, once").answers(200, "What came of it", schema::<TestView>())
}

/// What the reference says of [`deliveries`].
pub fn delivering() -> Spec {
    let deliveries = json!({ "type": "array", "maxItems": 100, "items": schema::<DeliveryView>() });
    Spec::new("List the last hundred deliveries to a webhook endpoint, the newest event first").answers(
        200,
        "The deliveries",
        deliveries,
    )
}

/// `GET .../crm/webhooks?limit=&after=`: the oldest first.
pub async fn list(
    State(state): State<HttpState>,
    admitted: Admitted,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, ApiError> {
    let asked = Asked::of_query(&uri, PAGE_MAX)?;
    let endpoints = webhooks::list(&state.app, admitted.organization).await?;
    asked.answer(&endpoints, |endpoint| endpoint.id.uuid(), &uri)
}

/// `POST .../crm/webhooks`: `{url, description?, eventTypes?}`.
pub async fn open(
    State(state): State<HttpState>,
    admitted: Admitted,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    let settings = WebhookSettings {
        url: fields.required("url", line(URL_BYTES_MAX)),
        description: fields.optional("description", line(DESCRIPTION_MAX)),
    };
    let event_types = fields.optional("eventTypes", list_of(EVENT_TYPES_MAX, line(EVENT_TYPE_MAX)));
    fields.finish()?;
    if let Some(answer) = replay(&state, &call, StatusCode::CREATED).await? {
        return Ok(answer);
    }
    let opened = webhooks::open(&state.app, &call, settings, event_types.unwrap_or_default()).await;
    settle(opened, StatusCode::CREATED)
}

/// `PATCH .../crm/webhooks/{webhookId}`: `{url?, description?, eventTypes?, enabled?}`.
pub async fn change(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, webhook)): Path<(String, String)>,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let id: WebhookEndpointId = path_id("webhookId", &webhook)?;
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    fields.not_empty();
    let patch = WebhookPatch {
        url: fields.patched("url", line(URL_BYTES_MAX)),
        description: fields.clearable("description", line(DESCRIPTION_MAX)),
        event_types: fields.patched("eventTypes", list_of(EVENT_TYPES_MAX, line(EVENT_TYPE_MAX))),
    };
    let enabled = fields.patched("enabled", boolean);
    fields.finish()?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(webhooks::change(&state.app, &call, id, patch, enabled).await, StatusCode::OK)
}

/// `DELETE .../crm/webhooks/{webhookId}`.
pub async fn delete(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, webhook)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let id: WebhookEndpointId = path_id("webhookId", &webhook)?;
    let call = admitted.call(&Value::Null)?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(webhooks::delete(&state.app, &call, id).await, StatusCode::OK)
}

/// `POST .../crm/webhooks/{webhookId}/rotate-secret`: no body.
pub async fn rotate(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, webhook)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let id: WebhookEndpointId = path_id("webhookId", &webhook)?;
    let call = admitted.call(&Value::Null)?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(webhooks::rotate(&state.app, &call, id).await, StatusCode::OK)
}

/// `POST .../crm/webhooks/{webhookId}/test`: no body.
pub async fn test(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, webhook)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let id: WebhookEndpointId = path_id("webhookId", &webhook)?;
    let call = admitted.call(&Value::Null)?;
    let tested = webhooks::test(&state.app, &call, id).await?;
    Ok(reply::json(StatusCode::OK, &tested))
}

/// `GET .../crm/webhooks/{webhookId}/deliveries`.
pub async fn deliveries(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, webhook)): Path<(String, String)>,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, ApiError> {
    let id: WebhookEndpointId = path_id("webhookId", &webhook)?;
    Fields::of_query(&uri, &[])?.finish()?;
    let deliveries = webhooks::deliveries(&state.app, admitted.organization, id).await?;
    Ok(reply::json(StatusCode::OK, &deliveries))
}
