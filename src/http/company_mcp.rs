//! The door of `/mcp/company/{companyId}`: the company's routes in the Model Context Protocol.
//!
//! The same order as at the routes: token (401), rate (429), company in the path (400), role and company of the token
//! (403), and only then whether the company exists (404). A call is then let through the table's own gate, which knows
//! the caller already and asks for the role of that very route. One token may have this door and the one of the agent
//! tools, as its role says.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Extension, Router};
use docket_aggregates::ids::OrganizationId;
use lru::LruCache;
use serde_json::json;

use super::auth::{self, STAFF};
use super::company_tools::CompanyTools;
use super::error::ApiError;
use super::mcp::{
    Gate, base, ending, known_methods, listening, message, no_such_session, sending, session, speak, telling,
    told,
};
use super::reply::Outcome;
use super::routes::{self, Noted, Open};
use super::spec::Spec;
use super::{HttpState, call, limits, reply};
use crate::access_log::Entry;
use crate::mcp::{Entered, Served};
use crate::shapes;

/// Where the protocol is spoken.
pub const PATH: &str = "/mcp/company/{companyId}";
/// Where a client learns how to be let in, as section 3.1 of RFC 9728 places it.
const METADATA: &str = "/.well-known/oauth-protected-resource/mcp/company/{companyId}";
/// The name under which a call that is turned away here is noted.
const NOTED: &str = "mcp company";
/// Sessions at once; the one that was silent for longest makes room for the next.
const SESSIONS_MAX: NonZeroUsize = NonZeroUsize::new(1_024).expect("1024 is not zero");

/// The routes of the protocol for companies.
pub fn routes(state: &HttpState) -> Router<HttpState> {
    let toolset = Arc::new(CompanyTools::new(state));
    let served = Served::lending(toolset, &state.settings, state.ending.clone());
    let sessions = Arc::new(Mutex::new(LruCache::new(SESSIONS_MAX)));
    let gate = Gate { state: state.clone(), served: served.clone(), sessions };
    let (spoken, told): (Vec<Open>, Vec<Open>) = all().into_iter().partition(|route| route.token);
    routes::open(spoken)
        .layer(Extension(served))
        .layer(from_fn_with_state(gate, pass))
        .layer(from_fn(known_methods))
        .merge(routes::open(told))
}

/// The same, as the reference lists them.
pub fn all() -> Vec<Open> {
    let route = |method, path, id, spec: fn() -> Spec, handler: fn() -> MethodRouter<HttpState>, token| {
        Open { method, path, id, tag: "Protocol", token, spec, handler }
    };
    vec![
        route(
            Method::POST,
            PATH,
            "mcp_company_send",
            || of_company(sending()),
            || post(speak).fallback(super::unknown_method),
            true,
        ),
        route(Method::GET, PATH, "mcp_company_listen", || of_company(listening()), || get(speak), true),
        route(Method::DELETE, PATH, "mcp_company_end", || of_company(ending()), || delete(speak), true),
        route(Method::GET, METADATA, "mcp_metadata_of_company", metadata_told, || get(metadata), false),
    ]
}

fn of_company(spec: Spec) -> Spec {
    spec.path("companyId", shapes::id(), "The company.")
}

fn metadata_told() -> Spec {
    of_company(telling()).refuses(&[400, 431])
}

async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let state = &gate.state;
    let mut noted = Noted::default();
    let (mut parts, body) = request.into_parts();
    let entered = match enter(state, &mut parts, &mut noted).await {
        Ok(entered) => entered,
        Err(refusal) => return turned_away(state, &parts, refusal, noted, started).await,
    };
    let (session, method) = (session(&parts.headers), parts.method.clone());
    let principal = entered.caller.principal_id;
    let mut response = if gate.knows(session.as_deref(), principal) {
        parts.extensions.insert(entered);
        match message::read(Request::from_parts(parts, body)).await {
            Ok(request) => next.run(request).await,
            Err(refusal) => refusal,
        }
    } else {
        no_such_session()
    };
    gate.note(session, principal, &method, told(&response)).await;
    if let Some(allowance) = &noted.allowance {
        limits::tell(response.headers_mut(), allowance);
    }
    response
}

async fn enter(state: &HttpState, parts: &mut Parts, noted: &mut Noted) -> Result<Entered, ApiError> {
    let caller = routes::recognise(state, &parts.headers, noted).await?;
    let unknown = || ApiError::not_found("ORG_NOT_FOUND", "organization");
    let company = routes::organization_in(parts).await?.ok_or_else(unknown)?;
    auth::admit(&caller, STAFF, Some(company))?;
    let known = match company {
        // The nil UUID names the instance ledger, which is no company.
        OrganizationId::INSTANCE => None,
        company => state.app.workspaces.get(&state.app.ledger, company).await?,
    };
    known.ok_or_else(unknown)?;
    noted.organization = Some(company);
    let run_id = call::run_id(&parts.headers)?;
    Ok(Entered { caller, company, run_id })
}

/// Notes a call that goes no further, and tells a client without a right of entry how to get one.
async fn turned_away(
    state: &HttpState,
    parts: &Parts,
    refusal: ApiError,
    noted: Noted,
    started: Instant,
) -> Response {
    let challenge = challenge(state, parts, &refusal);
    let mut response = refusal.into_response();
    if let Some(challenge) = challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(allowance) = &noted.allowance {
        limits::tell(response.headers_mut(), allowance);
    }
    let outcome = response.extensions_mut().remove::<Outcome>();
    let entry = Entry {
        organization: noted.organization.unwrap_or(OrganizationId::INSTANCE),
        audit_id: state.app.clock.mint(),
        at: state.app.clock.now(),
        principal: noted.caller.as_ref().map(|caller| caller.principal_id),
        token: noted.caller.as_ref().map(|caller| caller.token_id),
        tool: NOTED.into(),
        outcome: outcome
            .map_or_else(|| response.status().as_u16().to_string().into(), |outcome| outcome.0.into()),
        position: None,
        duration: started.elapsed(),
    };
    state.access_log.record(entry).await;
    response
}

/// What a client that is turned away is told of how to come in (RFC 6750, RFC 9728).
fn challenge(state: &HttpState, parts: &Parts, refusal: &ApiError) -> Option<HeaderValue> {
    let error = match refusal.status {
        StatusCode::UNAUTHORIZED if parts.headers.contains_key("authorization") => {
            "error=\"invalid_token\", "
        }
        StatusCode::UNAUTHORIZED => "",
        StatusCode::FORBIDDEN => "error=\"insufficient_scope\", ",
        _ => return None,
    };
    let base = base(state, &parts.headers);
    let address = format!("{base}/.well-known/oauth-protected-resource{}", parts.uri.path());
    HeaderValue::from_str(&format!("Bearer {error}resource_metadata=\"{address}\"")).ok()
}

/// Protected resource metadata of one company's door.
async fn metadata(
    State(state): State<HttpState>,
    axum::extract::Path(company): axum::extract::Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let company: OrganizationId = super::input::path_id("companyId", &company)?;
    let base = base(&state, &headers);
    let scopes: Vec<&str> = STAFF.iter().map(|role| role.name()).collect();
    Ok(reply::json(
        StatusCode::OK,
        &json!({
            "resource": format!("{base}/mcp/company/{company}"),
            "resource_name": "Docket",
            "resource_documentation": format!("{base}/docs"),
            "bearer_methods_supported": ["header"],
            "scopes_supported": scopes,
        }),
    ))
}
