//! Where recipients say that they want no more: the address in `List-Unsubscribe` (RFC 8058).
//!
//! `GET` shows a page with a button and changes nothing, because mail scanners follow every link; `POST` unsubscribes, without a
//! session, by the token alone, as often as it is pressed. A token that we did not make is answered like one that was never
//! made. No page names an address.

use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use docket_aggregates::ids::{MessageId, TokenId};
use serde_json::json;
use std::time::Duration;

use super::HttpState;
use super::body::receive;
use super::routes::Open;
use super::spec::Spec;
use crate::channels::Reference;
use crate::hearing::{self, HearError};
use crate::ledger::{AppendError, KeyError};
use crate::service::ServiceError;
use crate::unsubscribe::{Claimed, is_one_click};

/// Nothing is loaded, and the form goes nowhere but here.
const POLICY: &str =
    "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; style-src 'none'";
/// No search engine keeps the page.
const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");

/// The routes for recipients.
pub fn all() -> Vec<Open> {
    let route = |method, id, spec, handler| Open {
        method,
        path: "/u/{token}",
        id,
        tag: "Outside",
        token: false,
        spec,
        handler,
    };
    vec![
        route(Method::GET, "unsubscribing_ask", asking, || get(ask)),
        route(Method::POST, "unsubscribing_press", pressing, || post(press)),
    ]
}

fn described(summary: &'static str) -> Spec {
    let token =
        json!({ "type": "string", "minLength": 64, "maxLength": 64, "pattern": "^[A-Za-z0-9_-]{64}$" });
    Spec::new(summary).path("token", token, "As it stands in the mail.")
}

/// What the reference says of [`ask`].
fn asking() -> Spec {
    described("Show the button that unsubscribes; unsubscribes nobody")
        .answers_with(200, "A page", "text/html", json!({ "type": "string" }))
        .refuses(&[404, 431, 503])
}

/// What the reference says of [`press`].
fn pressing() -> Spec {
    let body = json!({
        "type": "object",
        "properties": { "List-Unsubscribe": { "const": "One-Click" } },
        "required": ["List-Unsubscribe"],
    });
    Spec {
        body: Some(("application/x-www-form-urlencoded", body)),
        ..described("Unsubscribe the recipient of a message (RFC 8058)")
    }
    .answers_with(200, "Nothing more is sent to the address", "text/html", json!({ "type": "string" }))
    .refuses(&[400, 404, 408, 413, 429, 431, 503])
}

/// A page, and how it is answered.
struct Page {
    status: StatusCode,
    title: &'static str,
    sentence: &'static str,
    button: bool,
    retry_after: Option<Duration>,
}

impl Page {
    const fn new(status: StatusCode, title: &'static str, sentence: &'static str) -> Self {
        Self { status, title, sentence, button: false, retry_after: None }
    }

    const ASKED: Self = Self {
        button: true,
        ..Self::new(StatusCode::OK, "Unsubscribe", "Do you want to get no more messages from this sender?")
    };
    const DONE: Self =
        Self::new(StatusCode::OK, "Unsubscribed", "You will get no more messages from this sender.");
    const UNKNOWN: Self = Self::new(
        StatusCode::NOT_FOUND,
        "Not found",
        "This link is not one of ours, or it is not whole. Please use the one in the message that you got.",
    );
    const NOT_PRESSED: Self =
        Self::new(StatusCode::BAD_REQUEST, "Not unsubscribed", "Please press the button on the page.");
    const AGAIN: Self = Self {
        retry_after: Some(Duration::from_secs(30)),
        ..Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Not unsubscribed yet",
            "It could not be recorded for now. Please try again in a moment.",
        )
    };

    fn too_often(wait: Duration) -> Self {
        let sentence = "Please try again in a moment.";
        let page = Self::new(StatusCode::TOO_MANY_REQUESTS, "Too many requests", sentence);
        Self { retry_after: Some(wait), ..page }
    }

    fn answer(self) -> Response {
        let Self { status, title, sentence, button, retry_after } = self;
        let form = if button {
            "<form method=\"post\"><input type=\"hidden\" name=\"List-Unsubscribe\" value=\"One-Click\">\
             <button type=\"submit\">Unsubscribe</button></form>"
        } else {
            ""
        };
        let page = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
             <meta name=\"viewport\" content=\"width=device-width\"></head>\
             <body><main><h1>{title}</h1><p>{sentence}</p>{form}</main></body></html>"
        );
        let mut response = Response::new(Body::from(page));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        for (name, value) in [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (CACHE_CONTROL, "no-store"),
            (REFERRER_POLICY, "no-referrer"),
            (ROBOTS, "noindex, nofollow"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Some(after) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        response
    }
}

/// The message that a token names, if we made the token.
async fn believed(state: &HttpState, token: &str) -> Result<Reference, Page> {
    let claimed = Claimed::read(token).ok_or(Page::UNKNOWN)?;
    let keys = match state.app.ledger.keys().organization(claimed.reference.organization).await {
        Ok(keys) => keys,
        Err(KeyError::UnknownOrganization) => return Err(Page::UNKNOWN),
        Err(_) => return Err(Page::AGAIN),
    };
    if claimed.is_ours(&keys) { Ok(claimed.reference) } else { Err(Page::UNKNOWN) }
}

type Token = Result<Path<String>, PathRejection>;

/// What is no text is no token of ours.
fn text_of(token: Token) -> String {
    token.map_or_else(|_| String::new(), |Path(token)| token)
}

/// `GET /u/{token}`.
async fn ask(State(state): State<HttpState>, token: Token) -> Response {
    match believed(&state, &text_of(token)).await {
        Ok(_) => Page::ASKED.answer(),
        Err(page) => page.answer(),
    }
}

/// `POST /u/{token}`.
async fn press(State(state): State<HttpState>, token: Token, request: Request) -> Response {
    match pressed(&state, &text_of(token), request).await {
        Ok(()) => Page::DONE.answer(),
        Err(page) => page.answer(),
    }
}

async fn pressed(state: &HttpState, token: &str, request: Request) -> Result<(), Page> {
    let reference = believed(state, token).await?;
    // Counted by message and only where we made the token: nobody uses up another one's allowance, nor our memory.
    let allowance = state.limiter.take(TokenId(reference.message));
    if let Some(wait) = allowance.and_then(|allowance| allowance.wait) {
        return Err(Page::too_often(wait));
    }
    let media_type =
        request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.to_owned();
    let body: Bytes = receive(request.into_body()).await.map_err(|_| Page::NOT_PRESSED)?;
    if !is_one_click(&media_type, &body) {
        return Err(Page::NOT_PRESSED);
    }
    match hearing::unsubscribe(&state.app, reference.organization, MessageId(reference.message)).await {
        Ok(_) => Ok(()),
        Err(ServiceError::Refused(HearError::UnknownMessage))
        | Err(ServiceError::Append(AppendError::UnknownOrganization)) => Err(Page::UNKNOWN),
        Err(error) => {
            tracing::warn!(%error, "an unsubscribe could not be recorded");
            Err(Page::AGAIN)
        }
    }
}
