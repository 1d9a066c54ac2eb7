//! The routes of a company as tools of the Model Context Protocol.
//!
//! A tool is a route of the table: its name is the route's in the reference, its input is what the reference says of the
//! path, the query and the body, its hints follow from what a call does, and whoever may call the route sees the tool.
//! A call is a request of this process to itself: it passes the gate of the table and is served by the route's handler, so
//! that nothing is decided, checked, noted or answered otherwise than over HTTP.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, LINK, RETRY_AFTER};
use axum::http::{HeaderValue, Method, Request};
use axum::response::{IntoResponse, Response};
use docket_aggregates::token::Role;
use futures::future::BoxFuture;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::HttpState;
use super::auth;
use super::error::{ApiError, FieldProblem};
use super::routes::{self, Deadline, Effect, LetIn, Route};
use super::spec::{self, JSON, Spec};
use crate::mcp::{Entered, Told, Toolset};
use crate::spelling::shortened;
use crate::tools::refusal::NAME_SHOWN;

/// Where a company's routes begin.
const OF_A_COMPANY: &str = "/api/companies/{companyId}/";
/// The argument that makes a change safe to repeat; the header of the same meaning over HTTP.
const KEY: &str = "idempotencyKey";
/// The argument that a file is given in.
const FILE: &str = "file";
/// Bytes of an answer, at most.
const ANSWER_MAX: usize = 8 << 20;
/// What needs no escape in an address.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a client is told before it calls anything.
const INSTRUCTIONS: &str = "The company API of Docket as tools, for the one company in the address. You see what your \
token's role may do. Lists are {items, next}: pass next as after for the next page. A refusal is {error, code, details}: \
details name the fields to correct. idempotencyKey makes a change safe to repeat: the same key with the same input has its \
effect once. Nothing that is sent goes out without the allowlist, the approval rules and the quota.";

/// A route as a tool.
struct Tool {
    name: String,
    route: &'static Route,
    path: Vec<String>,
    /// Whether a parameter of the query may be given more than once.
    query: BTreeMap<&'static str, bool>,
    /// The media type of the body, if there is one, and its fields if it is JSON.
    body: Option<(&'static str, Vec<String>)>,
    listed: Value,
}

/// Every route of a company that takes and gives what a tool can.
fn all() -> &'static [Tool] {
    static ALL: LazyLock<Vec<Tool>> = LazyLock::new(|| routes::all().iter().filter_map(Tool::of).collect());
    &ALL
}

impl Tool {
    /// None for what belongs to no company, and for what answers with something else than JSON.
    fn of(route: &'static Route) -> Option<Self> {
        let rest = route.path.strip_prefix(OF_A_COMPANY)?;
        let spec = (route.spec)();
        let plain = |media_type: &str| media_type == JSON;
        if !spec.answers.iter().all(|answer| answer.content.as_ref().is_none_or(|(kind, _)| plain(kind))) {
            return None;
        }
        let mut properties = Map::new();
        let mut required = Vec::new();
        let mut path = Vec::new();
        for (name, schema) in spec::in_path(rest) {
            properties.insert(name.to_owned(), schema);
            required.push(name.to_owned());
            path.push(name.to_owned());
        }
        let mut query = BTreeMap::new();
        for parameter in spec.parameters.iter().filter(|parameter| parameter.place == "query") {
            let mut schema = parameter.schema.clone();
            schema["description"] = parameter.about.into();
            properties.insert(parameter.name.to_owned(), schema);
            required.extend(parameter.required.then(|| parameter.name.to_owned()));
            query.insert(parameter.name, parameter.schema["type"] == "array");
        }
        let body = spec.body.as_ref().map(|(media_type, schema)| {
            let mut fields = Vec::new();
            if plain(media_type) {
                for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
                    properties.insert(name.clone(), schema.clone());
                    fields.push(name.clone());
                }
                let needed = schema["required"].as_array().into_iter().flatten();
                required.extend(needed.filter_map(Value::as_str).map(str::to_owned));
            } else {
                let about = format!("The file, {media_type}.");
                properties.insert(FILE.to_owned(), json!({ "type": "string", "description": about }));
                required.push(FILE.to_owned());
            }
            (*media_type, fields)
        });
        if route.effect != Effect::Asks {
            properties.insert(KEY.to_owned(), json!({ "type": "string", "maxLength": 120 }));
        }
        let mut input = json!({ "type": "object", "properties": properties });
        if !required.is_empty() {
            input["required"] = json!(required);
        }
        shorten(&mut input);
        let name = route.id.replace("::", "_").replace(' ', "");
        let listed = listed(&name, route, &spec, input);
        Some(Self { name, route, path, query, body, listed })
    }

    fn is_for(&self, role: Role) -> bool {
        self.route.roles.contains(&role)
    }

    /// The request that the call is. Every argument has its place, and what has none is refused.
    fn request(
        &self,
        entered: &Entered,
        mut arguments: Map<String, Value>,
    ) -> Result<Request<Body>, ApiError> {
        let mut problems = Vec::new();
        let mut path = self.route.path.replace("{companyId}", &entered.company.to_string());
        for name in &self.path {
            match arguments.remove(name) {
                Some(Value::String(text)) if !text.is_empty() => {
                    let escaped = utf8_percent_encode(&text, PLAIN).to_string();
                    path = path.replace(&format!("{{{name}}}"), &escaped);
                }
                None | Some(Value::Null) => {
                    problems.push(FieldProblem::new(name, "REQUIRED", "is required"));
                }
                Some(_) => problems.push(FieldProblem::new(name, "WRONG_TYPE", "must be a string")),
            }
        }
        let mut pairs = Vec::new();
        for (name, repeats) in &self.query {
            let values = match arguments.remove(*name) {
                None | Some(Value::Null) => continue,
                Some(Value::Array(values)) if *repeats => values,
                Some(value) => vec![value],
            };
            for value in values {
                match written(&value) {
                    Some(text) => pairs.push(format!("{name}={}", utf8_percent_encode(&text, PLAIN))),
                    None => problems.push(FieldProblem::new(*name, "WRONG_TYPE", "must be a plain value")),
                }
            }
        }
        if !pairs.is_empty() {
            path = format!("{path}?{}", pairs.join("&"));
        }
        let mut request = Request::builder().method(self.route.method.clone()).uri(path);
        if let Some(run_id) = entered.run_id {
            request = request.header("x-run-id", run_id.to_string());
        }
        match arguments.remove(KEY).filter(|_| self.route.effect != Effect::Asks) {
            None | Some(Value::Null) => (),
            Some(Value::String(key)) if HeaderValue::from_str(&key).is_ok() => {
                request = request.header("idempotency-key", key);
            }
            Some(_) => problems.push(FieldProblem::new(KEY, "INVALID_KEY", "must be a plain text")),
        }
        let body = match &self.body {
            None => Body::empty(),
            Some((JSON, fields)) => {
                let given: Map<String, Value> =
                    fields.iter().filter_map(|name| arguments.remove_entry(name)).collect();
                request = request.header(CONTENT_TYPE, JSON);
                Body::from(Value::Object(given).to_string())
            }
            Some((media_type, _)) => match arguments.remove(FILE) {
                Some(Value::String(file)) => {
                    request = request.header(CONTENT_TYPE, *media_type);
                    Body::from(file)
                }
                _ => {
                    problems.push(FieldProblem::new(FILE, "REQUIRED", "is required, as a text"));
                    Body::empty()
                }
            },
        };
        for name in arguments.keys() {
            let name = shortened(name, NAME_SHOWN);
            problems.push(FieldProblem::new(name, "UNKNOWN_FIELD", "is not known here"));
        }
        if !problems.is_empty() {
            return Err(ApiError::fields(problems));
        }
        let mut request = request.body(body).map_err(|error| ApiError::internal(&error))?;
        request.extensions_mut().insert(LetIn(entered.caller.clone()));
        Ok(request)
    }
}

/// A plain value as an address has it.
fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn listed(name: &str, route: &Route, spec: &Spec, input: Value) -> Value {
    let asks = route.effect == Effect::Asks;
    json!({
        "name": name,
        "description": format!("{}.", spec.summary),
        "inputSchema": input,
        "annotations": {
            "readOnlyHint": asks,
            // In the protocol's sense: false says that a call only adds.
            "destructiveHint": route.effect == Effect::TakesAway || matches!(route.method, Method::PATCH | Method::PUT),
            // A second POST may find something else, or make another one.
            "idempotentHint": asks || route.method != Method::POST,
            "openWorldHint": route.deadline == Deadline::Asking,
        },
    })
}

/// Leaves out what a caller follows anyway, or is told of when it does not: every call is checked against all of it.
fn shorten(schema: &mut Value) {
    match schema {
        Value::Object(keywords) => {
            keywords.retain(|keyword, value| {
                let is_name_of_a_field = value.is_object();
                is_name_of_a_field
                    || !(matches!(
                        keyword.as_str(),
                        "pattern" | "minLength" | "additionalProperties" | "minProperties"
                    ) || keyword == "format" && value == "uuid")
            });
            keywords.values_mut().for_each(shorten);
        }
        Value::Array(several) => several.iter_mut().for_each(shorten),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
    }
}

/// The tools of a company, served by the table of routes.
pub struct CompanyTools {
    table: TowerToHyperService<Router>,
}

impl CompanyTools {
    /// The tools over the routes of this server.
    pub fn new(state: &HttpState) -> Self {
        let table = routes::router(state).with_state(state.clone());
        Self { table: TowerToHyperService::new(table) }
    }

    async fn told(&self, tool: &Tool, entered: &Entered, arguments: Map<String, Value>) -> Told {
        let response = match tool.request(entered, arguments) {
            Ok(request) => match self.table.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
            // As at the routes: first whether the caller may, then what it asks.
            Err(refusal) => match auth::admit(&entered.caller, tool.route.roles, Some(entered.company)) {
                Err(forbidden) => ApiError::from(forbidden).into_response(),
                Ok(()) => refusal.into_response(),
            },
        };
        tell(response).await
    }
}

impl Toolset for CompanyTools {
    fn instructions(&self) -> &'static str {
        INSTRUCTIONS
    }

    fn tools(&self, entered: &Entered) -> Vec<Value> {
        all().iter().filter(|tool| tool.is_for(entered.caller.role)).map(|tool| tool.listed.clone()).collect()
    }

    fn call<'a>(
        &'a self,
        entered: &'a Entered,
        name: &'a str,
        arguments: Map<String, Value>,
    ) -> BoxFuture<'a, Told> {
        Box::pin(async move {
            match all().iter().find(|tool| tool.name == name) {
                // What the role may not do is refused by the gate, with its reason.
                Some(tool) => self.told(tool, entered, arguments).await,
                None => Told::UnknownTool,
            }
        })
    }
}

/// An answer of a route as the result of a tool: always an object, a list with what leads to its next page.
async fn tell(response: Response) -> Told {
    let (head, body) = response.into_parts();
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let Ok(bytes) = axum::body::to_bytes(body, ANSWER_MAX).await else {
        let message = "the answer is too long for a tool; ask for less with limit";
        return Told::Refusal(json!({ "error": message, "code": "ANSWER_TOO_LARGE" }));
    };
    let mut answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if !head.status.is_success() {
        if !answer.is_object() {
            answer = json!({ "error": "the call was refused", "code": head.status.as_str() });
        }
        if let Some(seconds) = header(RETRY_AFTER).and_then(|text| text.parse::<u64>().ok()) {
            answer["retryAfterSeconds"] = seconds.into();
        }
        return Told::Refusal(answer);
    }
    match answer {
        Value::Object(_) => Told::Answer(answer),
        Value::Array(items) => Told::Answer(json!({ "items": items, "next": header(LINK).and_then(next) })),
        other => Told::Answer(json!({ "value": other })),
    }
}

/// The parameter `after` of the link to the next page.
fn next(link: &str) -> Option<String> {
    let (address, _) = link.strip_prefix('<')?.split_once('>')?;
    let (_, query) = address.split_once('?')?;
    let after = query.split('&').find_map(|pair| pair.strip_prefix("after="))?;
    percent_encoding::percent_decode_str(after).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_named_once_and_each_argument_has_one_place() {
        let mut names = std::collections::BTreeSet::new();
        for tool in all() {
            assert!(names.insert(&tool.name), "{} is there twice", tool.name);
            assert!(tool.name.len() <= 64, "{}", tool.name);
            let fields = tool.body.as_ref().map_or(
                0,
                |(media_type, fields)| {
                    if *media_type == JSON { fields.len() } else { 1 }
                },
            );
            let key = usize::from(tool.route.effect != Effect::Asks);
            let places = tool.path.len() + tool.query.len() + fields + key;
            let listed = tool.listed["inputSchema"]["properties"].as_object().unwrap().len();
            assert_eq!(listed, places, "{} has two arguments of one name", tool.name);
        }
    }

    #[test]
    fn every_route_of_a_company_that_speaks_json_is_a_tool() {
        let of_companies = routes::all().iter().filter(|route| route.path.starts_with(OF_A_COMPANY)).count();
        let others = routes::all()
            .iter()
            .filter(|route| route.path.starts_with(OF_A_COMPANY))
            .filter(|route| {
                (route.spec)()
                    .answers
                    .iter()
                    .any(|answer| answer.content.as_ref().is_some_and(|(media_type, _)| *media_type != JSON))
            })
            .count();
        assert_eq!(all().len(), of_companies - others);
        assert!(all().len() > 30);
    }

    #[test]
    fn a_link_leads_to_the_next_page() {
        for (link, after) in [
            ("</x?limit=2&after=abc>; rel=\"next\"", Some("abc")),
            ("</x?after=a%20b&limit=2>; rel=\"next\"", Some("a b")),
            ("</x?limit=2>; rel=\"next\"", None),
            ("nonsense", None),
        ] {
            assert_eq!(next(link).as_deref(), after, "{link}");
        }
    }

    #[test]
    fn a_field_named_like_a_keyword_stays() {
        let mut schema = json!({
            "type": "object", "additionalProperties": false,
            "properties": { "format": { "type": "string", "minLength": 1, "pattern": "^a$" } },
        });
        shorten(&mut schema);
        assert_eq!(schema, json!({ "type": "object", "properties": { "format": { "type": "string" } } }));
    }
}
