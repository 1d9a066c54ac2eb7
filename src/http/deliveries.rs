//! Where providers tell what became of messages: their webhooks, and their question whether the address is ours.
//!
//! No token is asked for; the body is signed with a secret of the outbox that the address names. A provider that is answered
//! with 5xx or 429 comes again, one that is answered with another 4xx does not have to. What is turned away is counted by
//! outbox, so that a flood of what nobody signed costs little ([`crate::strangers`]).

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{OriginalUri, Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use docket_aggregates::channel::Channel;
use serde_json::json;
use std::time::Duration;

use super::HttpState;
use super::error::ApiError;
use super::input::{path_id, received};
use super::reply;
use super::routes::{self, Open};
use super::spec::Spec;
use crate::channels::WebhookError;
use crate::channels::listening;
use crate::hearing::webhooks::{self, Door, WebhookRefusal};
use crate::shapes;

/// Where providers tell.
const PATH: &str = "/webhooks/{channel}/{companyId}/{outboxId}";
/// When a provider is asked to come again while a message is being handed over.
const AGAIN_AFTER: Duration = Duration::from_secs(15);

/// The routes for providers.
pub fn all() -> Vec<Open> {
    let route = |method, id, spec, handler| Open {
        method,
        path: PATH,
        id,
        tag: "Outside",
        token: false,
        spec,
        handler,
    };
    vec![
        route(Method::GET, "deliveries_confirm", confirming, || get(confirm)),
        route(Method::POST, "deliveries_take", taking, || post(take)),
    ]
}

fn described(summary: &'static str) -> Spec {
    let channels: Vec<&str> =
        Channel::ALL.into_iter().filter(|channel| listening::speaks(*channel)).map(Channel::name).collect();
    Spec::new(summary)
        .path("channel", json!({ "type": "string", "enum": channels }), "The channel of the outbox.")
        .path("companyId", shapes::id(), "The company.")
        .path("outboxId", shapes::id(), "The outbox.")
}

/// What the reference says of [`confirm`].
fn confirming() -> Spec {
    let text = || json!({ "type": "string", "maxLength": 1_024 });
    described("Answer Meta's question whether the address is ours, by the outbox's webhookVerifyTokenRef")
        .query("hub.mode", text(), "subscribe")
        .query("hub.verify_token", text(), "What was entered at the provider.")
        .query("hub.challenge", text(), "What is answered.")
        .answers_with(200, "The challenge", "text/plain", json!({ "type": "string" }))
        .refuses(&[400, 401, 404, 409, 429, 431, 503])
}

/// What the reference says of [`take`].
fn taking() -> Spec {
    described("Take in what a provider tells, signed with the outbox's webhookSecretRef")
        .body(json!({ "type": "object" }))
        .answers(
            200,
            "It was taken in; the same again adds nothing",
            json!({
                "type": "object",
                "properties": { "recorded": { "type": "integer" }, "passedOver": { "type": "integer" } },
                "required": ["recorded", "passedOver"],
            }),
        )
        .refuses(&[400, 401, 404, 408, 409, 413, 429, 431, 503])
}

impl From<WebhookRefusal> for ApiError {
    fn from(refusal: WebhookRefusal) -> Self {
        let message = refusal.to_string();
        let again = |code, message| {
            let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
            Self { retry_after: Some(AGAIN_AFTER), ..error }
        };
        match refusal {
            WebhookRefusal::UnknownOutbox => Self::not_found("OUTBOX_NOT_FOUND", "outbox"),
            WebhookRefusal::NotListening(_) => Self::conflict("WEBHOOK_NOT_SET_UP", message),
            WebhookRefusal::Webhook(WebhookError::Signature(_)) => {
                Self::new(StatusCode::UNAUTHORIZED, "WEBHOOK_SIGNATURE", message)
            }
            WebhookRefusal::Webhook(WebhookError::Malformed) => {
                Self::new(StatusCode::BAD_REQUEST, "WEBHOOK_MALFORMED", message)
            }
            WebhookRefusal::Webhook(WebhookError::TooLarge) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", message)
            }
            WebhookRefusal::TooEarly => again("HANDING_OVER", message),
            WebhookRefusal::Unavailable => again("LEDGER_UNAVAILABLE", message),
        }
    }
}

/// Too much came in that was turned away.
fn again_in(wait: Duration) -> ApiError {
    let message = "too much came in at this address that was turned away; come again";
    let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", message);
    ApiError { retry_after: Some(wait), ..error }
}

/// Why a delivery is not taken, and whether that counts against whoever brought it.
struct Turned {
    away: bool,
    error: ApiError,
}

impl Turned {
    /// What is signed comes from no stranger, whatever becomes of it.
    fn of(refusal: WebhookRefusal) -> Self {
        let away = match &refusal {
            WebhookRefusal::UnknownOutbox
            | WebhookRefusal::NotListening(_)
            | WebhookRefusal::Webhook(WebhookError::Signature(_) | WebhookError::TooLarge) => true,
            // A body is read once its signature was found right: what cannot be understood is the provider's.
            WebhookRefusal::Webhook(WebhookError::Malformed)
            | WebhookRefusal::TooEarly
            | WebhookRefusal::Unavailable => false,
        };
        Self { away, error: refusal.into() }
    }

    /// Its error, once it is counted against the outbox that it was brought to.
    fn counted(self, state: &HttpState, door: Door) -> ApiError {
        if self.away {
            state.strangers.turned_away(door.outbox.uuid(), state.app.clock.now());
        }
        self.error
    }
}

/// That not too much was turned away at this outbox just now.
fn not_flooded(state: &HttpState, door: Door) -> Result<(), ApiError> {
    match state.strangers.wait(door.outbox.uuid(), state.app.clock.now()) {
        Some(wait) => Err(again_in(wait)),
        None => Ok(()),
    }
}

fn door(place: Place) -> Result<Door, ApiError> {
    let Path((channel, company, outbox)) = place.map_err(|_| routes::malformed_path())?;
    let channel: Channel = channel.parse().map_err(|_| ApiError::not_found("OUTBOX_NOT_FOUND", "outbox"))?;
    if !listening::speaks(channel) {
        return Err(ApiError::not_found("OUTBOX_NOT_FOUND", "outbox"));
    }
    Ok(Door { channel, organization: path_id("companyId", &company)?, outbox: path_id("outboxId", &outbox)? })
}

type Place = Result<Path<(String, String, String)>, PathRejection>;

/// `GET /webhooks/{channel}/{companyId}/{outboxId}?hub.mode=&hub.verify_token=&hub.challenge=`.
async fn confirm(
    State(state): State<HttpState>,
    place: Place,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, ApiError> {
    let door = door(place)?;
    not_flooded(&state, door)?;
    let challenge = webhooks::confirm(&state.app, door, uri.query().unwrap_or_default()).await;
    let challenge = challenge.map_err(|refusal| Turned::of(refusal).counted(&state, door))?;
    let mut response = Response::new(Body::from(challenge));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// `POST /webhooks/{channel}/{companyId}/{outboxId}`.
async fn take(State(state): State<HttpState>, place: Place, request: Request) -> Result<Response, ApiError> {
    let door = door(place)?;
    not_flooded(&state, door)?;
    let headers = request.headers().clone();
    let taken = match received(request).await {
        Ok(body) => webhooks::take(&state.app, door, &headers, &body).await.map_err(Turned::of),
        Err(error) => Err(Turned { away: true, error }),
    };
    let taken = taken.map_err(|turned| turned.counted(&state, door))?;
    let told = json!({ "recorded": taken.recorded, "passedOver": taken.passed_over });
    Ok(reply::json(StatusCode::OK, &told))
}
