//! The door of `/mcp`, and the metadata that tells a client how to pass it.
//!
//! The same token, the same order as at the agent tools: token (401), rate (429), role (403), and only then what was
//! sent. Every request shows its token: a session of the protocol (revision 2025-11-25 and before) remembers a
//! conversation, and gives no right. It belongs to the principal that began it, and there are only so many.

pub(super) mod message;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Router};
use docket_aggregates::ids::PrincipalId;
use docket_aggregates::token::Role;
use lru::LruCache;
use serde_json::json;

use super::agent::Visitor;
use super::error::ApiError;
use super::routes::{self, Open};
use super::spec::Spec;
use super::{HttpState, Settings, limits, reply};
use crate::limits::Limiter;
use crate::mcp::{Desk, Served};
use crate::tools::{self, Refusal};

/// Where the protocol is spoken.
pub const PATH: &str = "/mcp";
/// Where a client learns how to be let in (RFC 9728).
pub const METADATA: &str = "/.well-known/oauth-protected-resource";
/// The same for the resource `/mcp`, as section 3.1 of RFC 9728 places it.
pub const METADATA_OF_MCP: &str = "/.well-known/oauth-protected-resource/mcp";
/// The name under which what is no tool call is noted.
const NOTED: &str = "mcp";

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const REVISION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The first revision without sessions.
const STATELESS: &[u8] = b"2026-07-28";
/// Sessions at once; the one that was silent for longest makes room for the next.
const SESSIONS_MAX: NonZeroUsize = NonZeroUsize::new(1_024).expect("1024 is not zero");
/// Sessions of one principal at once: it makes room for its own, and not at the cost of others.
const SESSIONS_EACH: usize = 64;

/// Bytes of the words of a refusal, at most.
const WORDS_MAX: usize = 4_096;

/// Whether a request says that it is of a revision without sessions. Revisions are dates, which sort as they are written.
fn is_stateless(headers: &HeaderMap) -> bool {
    headers.get(REVISION).is_some_and(|named| named.as_bytes() >= STATELESS)
}

/// Who began which session.
pub(super) type Sessions = Arc<Mutex<LruCache<String, PrincipalId>>>;

#[derive(Clone)]
pub(super) struct Gate {
    pub state: HttpState,
    pub served: Served,
    pub sessions: Sessions,
}

/// The routes of the protocol.
pub fn routes(state: &HttpState) -> Router<HttpState> {
    // The gate counts every request: the desk need not.
    let limiter = Limiter::new(None, &state.app.clock);
    let desk = Desk { app: state.app.clone(), access_log: state.access_log.clone(), limiter };
    let served = Served::new(desk, &state.settings, state.ending.clone());
    let sessions = Arc::new(Mutex::new(LruCache::new(SESSIONS_MAX)));
    let gate = Gate { state: state.clone(), served: served.clone(), sessions };
    let (spoken, told): (Vec<Open>, Vec<Open>) = all().into_iter().partition(|route| route.token);
    routes::open(spoken)
        .layer(Extension(served))
        .layer(from_fn_with_state(gate, pass))
        .layer(from_fn(known_methods))
        .merge(routes::open(told))
}

/// Refuses a method that the protocol does not have, before anything else is looked at. HEAD is one of them, although
/// the router takes it for GET: what GET answers here is a stream that somebody listens to.
pub(super) async fn known_methods(request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::POST | Method::GET | Method::DELETE) {
        return next.run(request).await;
    }
    // Revisions without sessions have messages alone.
    let stateless = is_stateless(request.headers());
    let methods = if stateless { "POST" } else { "GET, POST, DELETE" };
    let mut response = super::unknown_method().await.into_response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

/// The routes of the protocol, as the reference lists them.
pub fn all() -> Vec<Open> {
    let route = |method, path, id, spec, handler, token| Open {
        method,
        path,
        id,
        tag: "Protocol",
        token,
        spec,
        handler,
    };
    vec![
        // Without a fallback of its own the router would refuse other methods by itself, past `known_methods`.
        route(Method::POST, PATH, "mcp_send", sending, || post(speak).fallback(super::unknown_method), true),
        route(Method::GET, PATH, "mcp_listen", listening, || get(speak), true),
        route(Method::DELETE, PATH, "mcp_end", ending, || delete(speak), true),
        route(Method::GET, METADATA, "mcp_metadata", telling, || get(metadata), false),
        route(Method::GET, METADATA_OF_MCP, "mcp_metadata_of_resource", telling, || get(metadata), false),
    ]
}

fn of_session(spec: Spec) -> Spec {
    let id = json!({ "type": "string", "pattern": "^[!-~]{1,64}$" });
    spec.required_header("Mcp-Session-Id", id, "The session, as the answer to initialize named it.")
}

pub(super) fn sending() -> Spec {
    let id = json!({ "type": ["string", "integer"], "minimum": -(1_i64 << 53), "maximum": 1_i64 << 53 });
    let message = json!({
        "type": "object",
        "properties": {
            "jsonrpc": { "const": "2.0" },
            "id": id,
            "method": { "type": "string" },
            "params": { "type": "object" },
        },
        "required": ["jsonrpc", "method"],
    });
    let both = json!({ "const": "application/json, text/event-stream" });
    Spec::new("Send a message of the Model Context Protocol")
        .required_header("Accept", both, "What the client takes: an answer, and events before it.")
        .body(message)
        .answers(200, "The answer, or a stream of events that ends with it", json!({ "type": "object" }))
        .answers_plainly(202, "A notification was taken")
        .refuses(&[406, 408, 413, 415, 422])
}

pub(super) fn listening() -> Spec {
    of_session(Spec::new("Listen to a session, in revisions that have them"))
        .header("Accept", json!({ "const": "text/event-stream" }), "What the client takes: events.")
        .answers_with(200, "A stream of events", "text/event-stream", json!({ "type": "string" }))
        .refuses(&[405, 406, 409, 422])
}

pub(super) fn ending() -> Spec {
    of_session(Spec::new("End a session, in revisions that have them"))
        .answers_plainly(202, "It is ended")
        .answers_plainly(204, "It is ended")
        .refuses(&[405, 422])
}

pub(super) fn telling() -> Spec {
    Spec::new("How a client of the protocol is let in (RFC 9728)")
        .answers(
            200,
            "The metadata",
            json!({
                "type": "object",
                "properties": { "resource": { "type": "string" } },
                "required": ["resource"],
            }),
        )
        .refuses(&[431])
}

pub(super) async fn speak(Extension(served): Extension<Served>, request: Request) -> Response {
    in_json(served.answer(request).await).await
}

/// What the protocol's library refuses in words alone, in the form of every other refusal.
async fn in_json(response: Response) -> Response {
    let status = response.status();
    let refused = status.is_client_error() || status.is_server_error();
    if !refused || response.headers().contains_key(CONTENT_TYPE) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let words = to_bytes(body, WORDS_MAX).await.unwrap_or_default();
    let words = String::from_utf8_lossy(&words).trim().to_owned();
    let code = match status {
        StatusCode::FORBIDDEN => "ORIGIN_FORBIDDEN",
        StatusCode::NOT_FOUND => "SESSION_NOT_FOUND",
        StatusCode::METHOD_NOT_ALLOWED => "METHOD_NOT_ALLOWED",
        StatusCode::NOT_ACCEPTABLE => "NOT_ACCEPTABLE",
        StatusCode::CONFLICT => "CONFLICT",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "NOT_JSON",
        status if status.is_server_error() => "UNAVAILABLE",
        _ => "INVALID_REQUEST",
    };
    let message =
        if words.is_empty() { status.canonical_reason().unwrap_or("refused").to_owned() } else { words };
    let mut told = ApiError::new(status, code, message).into_response();
    for (name, value) in &parts.headers {
        if *name != CONTENT_LENGTH {
            told.headers_mut().insert(name.clone(), value.clone());
        }
    }
    told
}

async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let state = &gate.state;
    let mut visitor = Visitor::default();
    let entered = match visitor.enter(state, request.headers()).await {
        Ok(caller) if caller.role != Role::SuperAdmin => Err(Refusal::NotSuperAdmin),
        entered => entered,
    };
    let caller = match entered {
        Ok(caller) => caller,
        Err(refusal) => {
            let challenge = challenge(state, request.headers(), &refusal);
            let answer = tools::refuse(&state.app, "", &refusal);
            let mut response = visitor.leave(state, NOTED, answer, started).await;
            if let Some(challenge) = challenge {
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
            return response;
        }
    };
    let session = session(request.headers());
    let method = request.method().clone();
    let principal = caller.principal_id;
    let mut response = if gate.knows(session.as_deref(), principal) {
        match message::read(request).await {
            Ok(mut request) => {
                request.extensions_mut().insert(caller);
                next.run(request).await
            }
            Err(refusal) => refusal,
        }
    } else {
        no_such_session()
    };
    gate.note(session, principal, &method, told(&response)).await;
    if let Some(allowance) = &visitor.allowance {
        limits::tell(response.headers_mut(), allowance);
    }
    response
}

/// What an answer says of sessions.
pub(super) fn told(response: &Response) -> (StatusCode, Option<String>) {
    (response.status(), session(response.headers()))
}

pub(super) fn no_such_session() -> Response {
    let message = "there is no such session: begin a new one";
    ApiError::new(StatusCode::NOT_FOUND, "SESSION_NOT_FOUND", message).into_response()
}

pub(super) fn session(headers: &HeaderMap) -> Option<String> {
    headers.get(SESSION_ID)?.to_str().ok().map(str::to_owned)
}

impl Gate {
    /// Whether the session that is named, if one is, is the principal's.
    pub fn knows(&self, session: Option<&str>, principal: PrincipalId) -> bool {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        session.is_none_or(|session| sessions.get(session) == Some(&principal))
    }

    /// Keeps the session that an answer began, and forgets the one that is over by it.
    pub async fn note(
        &self,
        named: Option<String>,
        principal: PrincipalId,
        method: &Method,
        (status, begun): (StatusCode, Option<String>),
    ) {
        match (named, begun) {
            (None, Some(begun)) => self.begun(begun, principal).await,
            (Some(named), _)
                if status == StatusCode::NOT_FOUND || *method == Method::DELETE && status.is_success() =>
            {
                let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
                if sessions.peek(&named) == Some(&principal) {
                    sessions.pop(&named);
                }
            }
            _ => (),
        }
    }

    async fn begun(&self, session: String, principal: PrincipalId) {
        let pushed_out = {
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            make_room(&mut sessions, session, principal)
        };
        if let Some(silent) = pushed_out {
            self.served.close(&silent).await;
        }
    }
}

/// Keeps a session, and names the one that makes room for it: of the same principal where that has its share, else of
/// whoever was silent for longest.
fn make_room(
    sessions: &mut LruCache<String, PrincipalId>,
    session: String,
    principal: PrincipalId,
) -> Option<String> {
    let mut own = sessions.iter().rev().filter(|(_, whose)| **whose == principal);
    let silent = own.next().map(|(session, _)| session.clone());
    let share_is_taken = 1 + own.count() >= SESSIONS_EACH;
    if let Some(silent) = silent.filter(|_| share_is_taken) {
        sessions.pop(&silent);
        sessions.push(session, principal);
        return Some(silent);
    }
    sessions.push(session, principal).map(|(silent, _)| silent)
}

/// What a client that is turned away is told of how to come in (RFC 6750, RFC 9728).
fn challenge(state: &HttpState, headers: &HeaderMap, refusal: &Refusal) -> Option<HeaderValue> {
    let error = match refusal {
        Refusal::Unauthenticated if headers.contains_key("authorization") => "error=\"invalid_token\", ",
        Refusal::Unauthenticated => "",
        Refusal::NotSuperAdmin => "error=\"insufficient_scope\", scope=\"super-admin\", ",
        _ => return None,
    };
    let address = format!("{}{METADATA_OF_MCP}", base(state, headers));
    HeaderValue::from_str(&format!("Bearer {error}resource_metadata=\"{address}\"")).ok()
}

/// The address under which the client reached us: the one that is set, else the host that it named, if that is one of those
/// under which the protocol is spoken.
pub(super) fn base(state: &HttpState, headers: &HeaderMap) -> String {
    let Settings { public_url, allowed_hosts, .. } = &*state.settings;
    let ours = |named: &Authority| {
        let host = named.host().trim_matches(['[', ']']);
        allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
    };
    match public_url {
        Some(public_url) => public_url.clone(),
        None => {
            let named = headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
            named.filter(ours).map_or_else(|| "http://localhost".to_owned(), |host| format!("http://{host}"))
        }
    }
}

/// Protected resource metadata. No authorization server is named: tokens are issued by the operator, with
/// `docket token create`.
async fn metadata(State(state): State<HttpState>, headers: HeaderMap) -> Response {
    let base = base(&state, &headers);
    reply::json(
        StatusCode::OK,
        &json!({
            "resource": format!("{base}{PATH}"),
            "resource_name": "Docket",
            "resource_documentation": format!("{base}/docs"),
            "bearer_methods_supported": ["header"],
            "scopes_supported": ["super-admin"],
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn nobody_ends_the_sessions_of_others() {
        let mut sessions = LruCache::new(SESSIONS_MAX);
        let (one, other) = (PrincipalId(Uuid::from_u128(1)), PrincipalId(Uuid::from_u128(2)));
        assert_eq!(make_room(&mut sessions, "first".into(), other), None);
        for n in 0..2_000 {
            let ended = make_room(&mut sessions, n.to_string(), one);
            assert_eq!(ended, (n >= SESSIONS_EACH).then(|| (n - SESSIONS_EACH).to_string()));
        }
        assert_eq!((sessions.len(), sessions.get("first")), (SESSIONS_EACH + 1, Some(&other)));
        // Where all of them together have no room, the one that was silent for longest ends.
        for n in 0..SESSIONS_MAX.get() - sessions.len() {
            let many = PrincipalId(Uuid::from_u128(100 + n as u128));
            assert_eq!(make_room(&mut sessions, format!("of {n}"), many), None);
        }
        let ended = make_room(&mut sessions, "last".into(), other);
        assert_eq!(ended, Some((2_000 - SESSIONS_EACH).to_string()));
    }
}
