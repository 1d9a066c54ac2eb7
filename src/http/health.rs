//! Whether the process lives, whether it can serve, and what it measures. No token is asked for, and nothing of
//! any organization is told.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use axum::routing::get;
use docket_aggregates::ids::OrganizationId;
use serde_json::json;
use sqlx::Row;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::routes::Open;
use super::spec::Spec;
use super::{HttpState, reply};
use crate::readside::{Consistency, ReadSideError};

/// How long the database may take to say that it is there.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The routes for whoever runs the process.
pub fn all() -> Vec<Open> {
    let route = |path, id, spec, handler| Open {
        method: Method::GET,
        path,
        id,
        tag: "Operation",
        token: false,
        spec,
        handler,
    };
    vec![
        route("/healthz", "health_alive", alive_spec, || get(alive)),
        route("/readyz", "health_ready", ready_spec, || get(ready)),
        route("/metrics", "health_metrics", metrics_spec, || get(metrics)),
    ]
}

fn alive_spec() -> Spec {
    let status =
        json!({ "type": "object", "properties": { "status": { "const": "alive" } }, "required": ["status"] });
    Spec::new("Whether the process lives").answers(200, "It does", status).refuses(&[431])
}

fn ready_spec() -> Spec {
    let told = |status: &str| {
        json!({
            "type": "object",
            "properties": { "status": { "const": status }, "reason": { "type": "string" } },
            "required": ["status"],
        })
    };
    Spec::new("Whether it can serve")
        .answers(200, "It can", told("ready"))
        .answers(503, "It cannot, and why", told("not_ready"))
        .refuses(&[431])
}

fn metrics_spec() -> Spec {
    Spec::new("What is measured, in the text form of Prometheus")
        .answers_with(200, "The metrics", "text/plain", json!({ "type": "string" }))
        .refuses(&[431])
}

async fn alive() -> Response {
    reply::json(StatusCode::OK, &json!({ "status": "alive" }))
}

async fn ready(State(state): State<HttpState>) -> Response {
    let reason = if state.draining.load(Ordering::Relaxed) {
        Some("the process is shutting down".to_owned())
    } else {
        unready(&state).await
    };
    match reason {
        None => reply::json(StatusCode::OK, &json!({ "status": "ready" })),
        Some(reason) => {
            let body = json!({ "status": "not_ready", "reason": reason });
            reply::json(StatusCode::SERVICE_UNAVAILABLE, &body)
        }
    }
}

/// Why it cannot serve: the database does not answer, or the read models are not there yet. Read models that are
/// parked or behind, of one organization or of all, are not the process's fault and do not count.
async fn unready(state: &HttpState) -> Option<String> {
    let database =
        tokio::time::timeout(ANSWER_WITHIN, sqlx::query("SELECT 1").execute(state.app.ledger.pool()));
    match database.await {
        Ok(Ok(_)) => (),
        Ok(Err(_)) | Err(_) => return Some("the database does not answer".into()),
    }
    let view = state.app.readside.view(OrganizationId::INSTANCE, Consistency::Eventual);
    match tokio::time::timeout(ANSWER_WITHIN, view).await {
        Ok(Ok(_) | Err(ReadSideError::Parked { .. } | ReadSideError::Behind { .. })) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("the read models do not answer".into()),
    }
}

async fn metrics(State(state): State<HttpState>) -> Response {
    let (normal, bulk) = state.app.ledger.queue_depths();
    gauge("docket_append_queue_depth", &[("lane", "normal")], normal);
    gauge("docket_append_queue_depth", &[("lane", "bulk")], bulk);
    gauge("docket_access_log_depth", &[], state.access_log.depth());
    let (running, waiting) = state.app.imports.load();
    gauge("docket_imports_running", &[], running);
    gauge("docket_imports_waiting", &[], waiting);
    // Without a database the rest is still worth telling.
    if let Ok(Ok([behind, lag, parked])) = tokio::time::timeout(ANSWER_WITHIN, read_lag(&state)).await {
        gauge("docket_read_lag_organizations", &[], behind);
        gauge("docket_read_lag_events", &[], lag);
        gauge("docket_parked_organizations", &[], parked);
    }
    let mut response = Response::new(Body::from(state.recorder.render()));
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}

#[allow(clippy::cast_precision_loss, reason = "a gauge is a float; no queue comes near 2^53")]
fn gauge(name: &'static str, labels: &'static [(&'static str, &'static str)], value: usize) {
    metrics::gauge!(name, labels).set(value as f64);
}

/// Organizations behind, events behind, organizations parked.
async fn read_lag(state: &HttpState) -> Result<[usize; 3], ReadSideError> {
    let mut view = state.app.readside.view(OrganizationId::INSTANCE, Consistency::Eventual).await?;
    // The view's search path leads to the read models.
    let row = sqlx::query(
        "SELECT count(*) FILTER (WHERE h.position > coalesce(c.position, 0)), \
             coalesce(sum(h.position - coalesce(c.position, 0)), 0)::bigint, \
             count(*) FILTER (WHERE c.parked_position IS NOT NULL) \
         FROM ledger.heads h LEFT JOIN cursors c USING (organization_id)",
    )
    .fetch_one(&mut *view)
    .await
    .map_err(|_| ReadSideError::Unavailable)?;
    let number = |column: usize| {
        let number: Result<i64, _> = row.try_get(column);
        number.map(|number| usize::try_from(number).unwrap_or(0)).map_err(|_| ReadSideError::Unavailable)
    };
    Ok([number(0)?, number(1)?, number(2)?])
}
