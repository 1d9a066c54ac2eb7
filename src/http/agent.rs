//! The door of the agent tools: `GET /crm/agent/capabilities` and `POST /crm/agent/tools/{toolName}`.
//!
//! Both answer every refusal in their envelope. What is checked in which order is part of the contract (see
//! `tools::call`): a token before a role, a role before anything that exists.

use std::time::Instant;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::token::Role;
use serde_json::{Value, json};

use super::auth::{self, AuthError};
use super::body::{Broken, receive};
use super::call::idempotency_key;
use super::problem::refusal;
use super::routes::{Deadline, Open};
use super::spec::Spec;
use super::{HttpState, limits, reply};
use crate::access_log::Entry;
use crate::app::App;
use crate::credentials::Caller;
use crate::envelope::{Answer, Meta, Warning};
use crate::json;
use crate::limits::Allowance;
use crate::tools::workspace::workspace_of;
use crate::tools::{self, FieldError, Known, Refusal, ToolResult, VERSION, catalog};

/// Characters of a parameter.
const PARAMETER_MAX: usize = 500;
/// The name under which looking at the catalog is noted.
const CAPABILITIES: &str = "capabilities";

/// Where every tool is called. The reference shows a path for each.
pub const TOOLS: &str = "/crm/agent/tools/{tool_name}";

/// The routes of the agent tools.
pub fn all() -> Vec<Open> {
    vec![
        Open {
            method: Method::GET,
            path: "/crm/agent/capabilities",
            id: CAPABILITIES,
            tag: "Agent tools",
            token: true,
            spec: looking_up,
            handler: || get(capabilities).fallback(wrong_method),
        },
        Open {
            method: Method::POST,
            path: TOOLS,
            id: "tools",
            tag: "Agent tools",
            token: true,
            spec: || Spec::new("Call a tool"),
            handler: || post(execute).fallback(wrong_method),
        },
    ]
}

/// What the reference says of [`capabilities`].
fn looking_up() -> Spec {
    let id = json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" });
    let tool = json!({ "type": "object", "properties": {
        "name": { "type": "string" },
        "family": { "type": "string" },
        "description": { "type": "string" },
        "risk": { "type": "string" },
        "inputSchema": { "type": "object" },
        "strictInputSchema": { "type": "object" },
        "outputSchema": { "type": "object" },
        "examples": { "type": "array" },
    }, "required": ["name", "family", "description", "risk", "inputSchema", "outputSchema", "examples"] });
    Spec::new("Look up what an agent may do")
        .query("organizationId", id, "Whose ids to put into the examples.")
        .query(
            "family",
            json!({ "type": "string", "enum": catalog().families() }),
            "Only tools of this family; case does not matter, and a hyphen or an underscore may stand for the space.",
        )
        .query(
            "query",
            json!({ "type": "string", "maxLength": PARAMETER_MAX, "pattern": "\\S" }),
            "What is to be done, in words: the best first.",
        )
        .answers(
            200,
            "The tools",
            json!({
                "type": "object",
                "properties": {
                    "success": { "const": true },
                    "data": {
                        "type": "object",
                        "properties": {
                            "version": { "type": "string" },
                            "tools": { "type": "array", "items": tool },
                            "organization": { "type": "object" },
                        },
                        "required": ["version", "tools"],
                    },
                    "error": { "type": "null" },
                    "meta": { "type": "object" },
                },
                "required": ["success", "data", "error", "meta"],
            }),
        )
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
    let mut visitor = Visitor::default();
    let answer = async {
        match visitor.enter(&state, &headers).await {
            Err(refusal) => tools::refuse(app, &name, &refusal),
            Ok(caller) => match tools::admit(&caller, &name) {
                Err(refusal) => tools::refuse(app, &name, &refusal),
                Ok(tool) => {
                    let body = read(body, &headers, tool.levels).await;
                    tools::answer(app, &caller, &name, body).await
                }
            },
        }
    };
    let answer = in_time(answer).await.unwrap_or_else(|late| tools::refuse(app, &name, &late));
    let known = catalog().get(&name).map_or("unknown tool", |tool| tool.name);
    visitor.leave(&state, known, answer, started).await
}

/// A call that takes longer than it may is refused, and noted like any other.
async fn in_time<T>(call: impl Future<Output = T>) -> ToolResult<T> {
    tokio::time::timeout(Deadline::Usual.within(), call).await.map_err(|_| {
        metrics::counter!("docket_http_refused_total", "reason" => "deadline").increment(1);
        Refusal::DeadlineExceeded
    })
}

async fn read(body: Body, headers: &HeaderMap, levels: usize) -> ToolResult<Value> {
    let bytes = receive(body).await.map_err(|broken| match broken {
        Broken::TooLarge => Refusal::BodyTooLarge,
        Broken::Stalled => Refusal::BodyStalled,
        Broken::Interrupted => Refusal::BodyInterrupted,
    })?;
    let mut body = json::read_within(&bytes, levels)?;
    name_request(&mut body, headers)?;
    Ok(body)
}

/// The header `Idempotency-Key` is the `requestId` of the body in another place: given in both, they must agree.
fn name_request(body: &mut Value, headers: &HeaderMap) -> ToolResult<()> {
    let fault = |code, message: String| {
        Refusal::Fields(vec![FieldError { path: "idempotency-key".to_owned(), code, message }])
    };
    let key = idempotency_key(headers).map_err(|problem| fault(problem.code, problem.message))?;
    let (Some(key), Some(members)) = (key, body.as_object_mut()) else { return Ok(()) };
    match members.get("requestId") {
        None | Some(Value::Null) => {
            members.insert("requestId".to_owned(), key.into());
            Ok(())
        }
        Some(Value::String(given)) if given.trim() == key => Ok(()),
        Some(_) => Err(fault("CONTRADICTION", "differs from requestId: leave one of them out".to_owned())),
    }
}

/// Who comes in, and what is left to it.
#[derive(Default)]
pub(super) struct Visitor {
    /// The caller, once its token is accepted.
    pub caller: Option<Caller>,
    /// What its token may still do.
    pub allowance: Option<Allowance>,
}

impl Visitor {
    /// The caller, if its token is accepted and has calls left.
    pub async fn enter(&mut self, state: &HttpState, headers: &HeaderMap) -> ToolResult<Caller> {
        let caller = auth::bearer(headers, &state.app).await.map_err(turned_away)?;
        self.caller = Some(caller.clone());
        self.allowance = state.limiter.take(caller.token_id);
        match self.allowance.and_then(|allowance| allowance.wait) {
            Some(retry_after) => Err(Refusal::RateLimited { retry_after }),
            None => Ok(caller),
        }
    }

    /// Notes the call and answers it.
    pub async fn leave(
        self,
        state: &HttpState,
        tool: &'static str,
        answer: Answer,
        started: Instant,
    ) -> Response {
        let entry = Entry::of_call(&state.app.clock, self.caller.as_ref(), tool, &answer, started.elapsed());
        state.access_log.record(entry).await;
        let mut response = sent(answer);
        if let Some(allowance) = &self.allowance {
            limits::tell(response.headers_mut(), allowance);
        }
        response
    }
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
    let mut visitor = Visitor::default();
    let outcome = async {
        let caller = visitor.enter(&state, &headers).await?;
        looked_up(app, &caller, query, &mut meta).await
    };
    let outcome = in_time(outcome).await.flatten();
    meta.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let answer = match outcome {
        Ok((organization, data)) => Answer::success(organization, data, meta),
        Err(refusal) => Answer::refusal(None, &refusal, meta),
    };
    visitor.leave(&state, CAPABILITIES, answer, started).await
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
        if value.trim().is_empty() && name != "organizationId" {
            return Err(fault(&name, "TOO_SHORT", "must not be blank; leave it out to see every tool"));
        }
        if value.chars().nth(PARAMETER_MAX).is_some() {
            return Err(fault(&name, "TOO_LONG", "must have at most 500 characters"));
        }
        if place.replace(value).is_some() {
            return Err(fault(&name, "REPEATED", "must be given once"));
        }
    }
    let family = match family {
        None => None,
        Some(name) => Some(catalog().family(&name).ok_or_else(|| {
            let message = format!("must be one of {}", catalog().families().join(", "));
            fault("family", "NOT_ONE_OF", &message)
        })?),
    };
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
    let mut found = catalog().capabilities(family, words.as_deref(), &known);
    // What the token may not call is not offered, as over the Model Context Protocol.
    found.retain(|tool| tool["name"].as_str().is_some_and(|name| caller.may_call(name)));
    if found.is_empty() {
        meta.warnings.push(Warning {
            code: "NOTHING_FOUND".to_owned(),
            message: "no tool fits these words; ask in other words, or leave query out".to_owned(),
            path: Some("query".to_owned()),
        });
    }
    data["tools"] = found.into();
    Ok((entered, data))
}

pub(super) fn sent(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response =
        if answer.outcome == "ok" { reply::json(status, &answer.body) } else { refusal(status, answer.body) };
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
