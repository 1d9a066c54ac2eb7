//! The HTTP surface.
//!
//! `routes` is the company API as a table with its roles; `agent` is the door of the agent tools, `mcp` the same in the
//! Model Context Protocol, `company_mcp` the table's routes in it; `health` is for whoever runs the process. What holds for every request is here: connections, heads, requests in flight and
//! time are bounded, a panic is one request's failure and nobody else's, every request has an id, and what is
//! unknown is refused in JSON; `problem` has the other form of every refusal.

pub mod agent;
pub mod auth;
pub mod routes;

mod agents;
mod allowlist;
mod approval_rules;
mod approvals;
mod body;
mod brand_voice;
mod call;
mod calls;
mod company_mcp;
mod company_tools;
mod content_pieces;
mod deliveries;
mod docs;
mod error;
mod event_stream;
mod events;
mod follow_ups;
mod health;
mod hooks;
mod imports;
mod input;
mod limits;
mod mcp;
pub mod openapi;
mod organizations;
mod outboxes;
mod outgoing_webhooks;
mod pauses;
mod problem;
mod reply;
mod script_executions;
mod secrets;
mod sends;
mod sequences;
mod serve;
mod settings;
mod short_lists;
mod spec;
mod suppressions;
mod unsubscribing;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

use crate::access_log::AccessLog;
use crate::app::App;
use crate::clock::Clock;
use crate::limits::Limiter;
use crate::strangers::Strangers;

pub use error::{ApiError, FieldProblem};
pub use serve::serve;
pub use settings::Settings;

/// Requests that are served at once, at most; health and metrics not counted.
const IN_FLIGHT_MAX: usize = 1_024;

/// The id of a request, for the logs of both sides.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What every handler is given. Cheap to clone.
#[derive(Clone)]
pub struct HttpState {
    /// The product.
    pub app: App,
    /// Where calls are noted.
    pub access_log: AccessLog,
    /// What was measured.
    pub recorder: &'static PrometheusHandle,
    /// Who reaches it, and how often.
    pub settings: Arc<Settings>,
    /// Counts the calls of every token.
    limiter: Limiter,
    /// Counts what was turned away at doors without a token.
    strangers: Arc<Strangers>,
    /// Set once the process is shutting down.
    draining: Arc<AtomicBool>,
    /// The streams of events that are open.
    streams: event_stream::Streams,
    /// Ends streams that would stay open for ever.
    ending: CancellationToken,
}

impl HttpState {
    /// The state of a server over this app.
    pub fn new(app: App, access_log: AccessLog, settings: Settings) -> Self {
        Self {
            limiter: Limiter::new(settings.rate, &app.clock),
            app,
            access_log,
            recorder: crate::metrics::recorder(),
            settings: Arc::new(settings),
            draining: Arc::default(),
            streams: event_stream::Streams::default(),
            strangers: Arc::default(),
            ending: CancellationToken::new(),
        }
    }
}

/// All that is served, as one service.
pub fn router(state: HttpState) -> Router {
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let clock = state.app.clock.clone();
    routes::router(&state)
        .merge(routes::open(agent::all()))
        .merge(routes::open(deliveries::all()).layer(from_fn(hurry)))
        .merge(routes::open(unsubscribing::all()).layer(from_fn(hurry)))
        .merge(mcp::routes(&state))
        .merge(company_mcp::routes(&state))
        .layer(from_fn_with_state(in_flight, take_turns))
        .merge(routes::open(docs::all()))
        .merge(routes::open(health::all()))
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .layer(from_fn_with_state(clock, observe))
        .layer(from_fn(problem::negotiate))
        .with_state(state)
}

async fn unknown_route() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "ROUTE_NOT_FOUND", "there is no such route")
}

async fn unknown_method() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "the route does not know this method")
}

/// Ends a request that has no deadline in the table of routes when it takes longer than it may.
async fn hurry(request: Request, next: Next) -> Response {
    match tokio::time::timeout(routes::Deadline::Usual.within(), next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            metrics::counter!("docket_http_refused_total", "reason" => "deadline").increment(1);
            ApiError::too_slow().into_response()
        }
    }
}

/// Refuses a request when as many are being served as may be. Queueing it here would only make it late.
async fn take_turns(State(in_flight): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let Ok(_turn) = in_flight.try_acquire() else {
        metrics::counter!("docket_http_refused_total", "reason" => "overload").increment(1);
        return ApiError::busy().into_response();
    };
    let gauge = metrics::gauge!("docket_http_requests_in_flight");
    gauge.increment(1.0);
    let response = next.run(request).await;
    gauge.decrement(1.0);
    response
}

/// Names, times and logs a request, and catches its panic.
///
/// It runs in a task of its own: whatever a client began is brought to its end and noted, also when the client does
/// not wait for the answer.
async fn observe(State(clock): State<Clock>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = routes::matched(&request);
    let method = request.method().clone();
    let request_id = request_id(&request).unwrap_or_else(|| clock.mint::<Uuid>().to_string());
    // The path itself may hold what its author should not have put there: only the route is logged.
    let span = tracing::info_span!("request", id = %request_id, %method, route);
    let served = tokio::spawn(next.run(request).instrument(span.clone())).await;
    let _entered = span.enter();
    let mut response = served.unwrap_or_else(|ended| {
        // The panic hook has logged where.
        let reason = if ended.is_panic() { "panic" } else { "cancelled" };
        metrics::counter!("docket_http_refused_total", "reason" => reason).increment(1);
        let message = "the request failed; the defect was logged";
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", message).into_response()
    });
    let status = response.status();
    let class = match status.as_u16() {
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    };
    let seconds = started.elapsed().as_secs_f64();
    metrics::histogram!("docket_http_request_seconds", "route" => route, "status" => class).record(seconds);
    tracing::debug!(status = status.as_u16(), seconds, "answered");
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The client's own id, if it is a plain one.
fn request_id(request: &Request) -> Option<String> {
    let plain = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let given = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    Some(given).filter(plain).map(str::to_owned)
}
