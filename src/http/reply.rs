//! How an answer is written, and what it tells the access log.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LINK, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use docket_aggregates::ids::CommandId;
use serde::Serialize;

/// What the access log is told of a refusal; travels with the response.
#[derive(Clone, Copy, Debug)]
pub struct Outcome(pub &'static str);

/// What the access log is told of a recorded command; travels with the response.
#[derive(Clone, Copy, Debug)]
pub struct Recorded {
    /// The command.
    pub command_id: CommandId,
    /// Position of its last event.
    pub position: i64,
}

/// Says that the answer is the one that the same request got before.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A value as JSON.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let (status, body) = match serde_json::to_vec(value) {
        Ok(body) => (status, body),
        Err(error) => {
            tracing::error!(error = %error, "an answer could not be written");
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                br#"{"error":"the request failed","code":"INTERNAL"}"#.to_vec(),
            )
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Answers hold personal data and are about one caller: no cache keeps them, no browser guesses at them.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A page of a list: a bare array, with a link to the next page if there is one. `query` is what leads there.
pub fn page(rows: &impl Serialize, path: &str, next: Option<String>) -> Response {
    let mut response = json(StatusCode::OK, rows);
    if let Some(query) = next
        && let Ok(link) = HeaderValue::from_str(&format!("<{path}?{query}>; rel=\"next\""))
    {
        response.headers_mut().insert(LINK, link);
    }
    response
}

/// The query that leads to the page after the row `after`: this one's, but for its bounds.
pub fn next_page(uri: &Uri, limit: u32, after: uuid::Uuid) -> String {
    let kept = uri.query().unwrap_or_default().split('&').filter(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        !pair.is_empty() && name != "after" && name != "limit"
    });
    let bounds = [format!("limit={limit}"), format!("after={after}")];
    kept.map(str::to_owned).chain(bounds).collect::<Vec<_>>().join("&")
}
