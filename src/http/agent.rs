//! The door of the agent tools: `GET /crm/agent/capabilities` and `POST /crm/agent/tools/{toolName}`.
//!
//! Both answer every refusal in their envelope. What is checked in which order is part of the contract (see
//! `tools::call`): a token before a role, a role before anything that exists.

use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::token::Role;
use serde_json::{Value, json};

use super::HttpState;
use super::auth::{self, AuthError};
use super::body::{Broken, receive};
use super::reply;
use crate::access_log::Entry;
use crate::app::App;
use crate::credentials::Caller;
use crate::envelope::{Answer, Meta};
use crate::json;
use crate::tools::workspace::workspace_of;
use crate::tools::{self, FieldError, Known, Refusal, ToolResult, VERSION, catalog};

/// The name under which looking at the catalog is noted.
const CAPABILITIES: &str = "capabilities";

/// The routes of the agent tools.
pub fn routes() -> Router<HttpState> {
    Router::new()
        .route("/crm/agent/capabilities", get(capabilities).fallback(wrong_method))
        .route("/crm/agent/tools/{tool_name}", post(execute).fallback(wrong_method))
}

async fn wrong_method(State(state): State<HttpState>) -> Response {
    sent(tools::refuse(&state.app, "", &Refusal::MethodNotAllowed))
}

async fn execute(
    State(state): State<HttpState>,
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let started = Instant::now();
    let app = &state.app;
    // A name that is no text is no tool.
    let name = name.map_or_else(|_| String::new(), |Path(name)| name);
    let (caller, answer) = match auth::bearer(&headers, app).await {
        Err(error) => (None, tools::refuse(app, &name, &turned_away(error))),
        Ok(caller) => {
            let answer = match tools::admit(&caller, &name) {
                Err(refusal) => tools::refuse(app, &name, &refusal),
                Ok(tool) => tools::answer(app, &caller, &name, read(body, tool.levels).await).await,
            };
            (Some(caller), answer)
        }
    };
    let known = catalog().get(&name).map_or("unknown tool", |tool| tool.name);
    note(&state, caller.as_ref(), known, &answer, started).await;
    sent(answer)
}

async fn read(body: Body, levels: usize) -> ToolResult<Value> {
    let bytes = receive(body).await.map_err(|broken| match broken {
        Broken::TooLarge => Refusal::BodyTooLarge,
        Broken::Stalled => Refusal::BodyStalled,
        Broken::Interrupted => Refusal::BodyInterrupted,
    })?;
    Ok(json::read_within(&bytes, levels)?)
}

const fn turned_away(error: AuthError) -> Refusal {
    match error {
        AuthError::Missing | AuthError::Invalid => Refusal::Unauthenticated,
        AuthError::Unavailable => Refusal::CredentialsUnavailable,
        AuthError::Role(_) | AuthError::OtherOrganization | AuthError::ToolScope => Refusal::NotSuperAdmin,
    }
}

async fn capabilities(
    State(state): State<HttpState>,
    headers: HeaderMap,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Response {
    let started = Instant::now();
    let app = &state.app;
    let mut meta = Meta { audit_id: Some(app.clock.mint()), ..Meta::default() };
    let (caller, outcome) = match auth::bearer(&headers, app).await {
        Err(error) => (None, Err(turned_away(error))),
        Ok(caller) => {
            let outcome = looked_up(app, &caller, query, &mut meta).await;
            (Some(caller), outcome)
        }
    };
    meta.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let answer = match outcome {
        Ok((organization, data)) => Answer::success(organization, data, meta),
        Err(refusal) => Answer::refusal(None, &refusal, meta),
    };
    note(&state, caller.as_ref(), CAPABILITIES, &answer, started).await;
    sent(answer)
}

async fn looked_up(
    app: &App,
    caller: &Caller,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
    meta: &mut Meta,
) -> ToolResult<(Option<OrganizationId>, Value)> {
    if caller.role != Role::SuperAdmin {
        return Err(Refusal::NotSuperAdmin);
    }
    let (mut organization_id, mut family, mut words) = (None, None, None);
    let fault = |path: &str, code, message: &str| {
        Refusal::Fields(vec![FieldError { path: path.to_owned(), code, message: message.to_owned() }])
    };
    let Query(parameters) = query.map_err(|_| fault("", "MALFORMED_QUERY", "the query cannot be read"))?;
    for (name, value) in parameters {
        let place = match name.as_str() {
            "organizationId" => &mut organization_id,
            "family" => &mut family,
            "query" => &mut words,
            _ => {
                let message = "unknown parameter; there are organizationId, family and query";
                return Err(fault(&name, "UNKNOWN_FIELD", message));
            }
        };
        if place.replace(value).is_some() {
            return Err(fault(&name, "REPEATED", "must be given once"));
        }
    }
    let mut data = json!({ "version": VERSION });
    let mut entered = None;
    let mut known = Known::default();
    if let Some(text) = organization_id {
        meta.organization_id = Some(text.clone());
        let organization = tools::enter(app, caller, &text).await?;
        let workspace = workspace_of(app, organization).await?;
        data["organization"] =
            json!({ "id": organization, "name": workspace.name, "crmEnabled": workspace.crm_enabled });
        // Examples with ids of its own are a courtesy: read models that cannot answer do not stop the call.
        known = Known::of(app, organization).await.unwrap_or_default();
        entered = Some(organization);
    }
    data["tools"] = catalog().capabilities(family.as_deref(), words.as_deref(), &known).into();
    Ok((entered, data))
}

/// Puts the call into the access log.
async fn note(
    state: &HttpState,
    caller: Option<&Caller>,
    tool: &'static str,
    answer: &Answer,
    started: Instant,
) {
    let entry = Entry {
        organization: answer.organization.unwrap_or(OrganizationId::INSTANCE),
        audit_id: answer.audit_id.unwrap_or_else(|| state.app.clock.mint()).uuid(),
        at: state.app.clock.now(),
        principal: caller.map(|caller| caller.principal_id),
        token: caller.map(|caller| caller.token_id),
        tool: tool.into(),
        outcome: answer.outcome.into(),
        position: answer.position,
        duration: started.elapsed(),
    };
    state.access_log.record(entry).await;
}

fn sent(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = reply::json(status, &answer.body);
    if let Some(after) = answer.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if answer.outcome != "ok" {
        response.extensions_mut().insert(reply::Outcome(answer.outcome));
    }
    response
}
