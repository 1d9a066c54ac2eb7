//! The reference of everything that is served, in version 3.1 of the `OpenAPI` specification: made from the tables that
//! the router is made from, and from the catalog of tools. Nothing is listed here that is not listed there.
//!
//! A tool has a path of its own in the document, so that its schemas show, although the router has one route for all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::call::KEY_PATTERN;
use super::routes::{self, Effect, Open, Route};
use super::spec::{self, Answer, JSON, Parameter, Spec, object};
use super::{agent, company_mcp, deliveries, docs, health, mcp, problem, unsubscribing};
use crate::shapes;
use crate::tools::{Tool, VERSION, catalog, strict};

/// Refusals of every route that asks for a token.
const ALWAYS: &[u16] = &[400, 401, 403, 404, 429, 503];
/// Those of routes that take a body, beside them.
const WITH_BODY: &[u16] = &[408, 409, 413, 415, 422];
/// Those of a tool, beside them.
const OF_TOOL: &[u16] = &[408, 409, 410, 413, 422];

/// The groups of the reference.
const TAGS: [(&str, &str); 7] = [
    (
        "Agent tools",
        "What an agent may do: each tool with its own path, its input and its answer. The same tools are served in the Model Context Protocol at /mcp. \
        Every body is read strictly: no unknown or repeated keys, no control characters but line ends and tabs, no number beyond 2^53, 32 levels, 1 MiB.",
    ),
    ("Organizations", "Founding organizations, naming them, and switching their CRM module."),
    ("Company", "What a company's people and systems hand in: callers, imports, calls, follow-ups."),
    ("Audit", "The ledger itself, in order and sealed."),
    ("Protocol", "The Model Context Protocol, and how a client of it is let in."),
    (
        "Outside",
        "For providers that tell what became of messages, and for recipients who want no more. No token is asked for: \
         a webhook is signed, and so is the address in a mail.",
    ),
    (
        "Operation",
        "For whoever runs the process, and for whoever reads this reference. No token is asked for.",
    ),
];

/// Every route that is not in the company's table.
pub fn open_routes() -> Vec<Open> {
    [
        agent::all(),
        mcp::all(),
        company_mcp::all(),
        deliveries::all(),
        unsubscribing::all(),
        docs::all(),
        health::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The document.
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| Writer::default().write());
    &DOCUMENT
}

#[derive(Default)]
struct Writer {
    paths: BTreeMap<String, Map<String, Value>>,
    schemas: Map<String, Value>,
}

impl Writer {
    fn write(mut self) -> Value {
        for route in routes::all() {
            self.company(route);
        }
        for open in open_routes() {
            if open.path == agent::TOOLS {
                catalog().iter().for_each(|tool| self.tool(tool));
            } else {
                self.open(&open);
            }
        }
        self.schemas.insert("Refusal".into(), refusal());
        self.schemas.insert("ToolRefusal".into(), tool_refusal());
        self.schemas.insert("Problem".into(), problem::schema());
        let tags: Vec<Value> =
            TAGS.iter().map(|(name, about)| json!({ "name": name, "description": about })).collect();
        let mut used = BTreeSet::new();
        self.paths.values().flat_map(Map::values).for_each(|operation| references(operation, &mut used));
        let mut responses = responses();
        retain(&mut responses, "responses", &used);
        responses.values().for_each(|response| references(response, &mut used));
        let mut headers = headers();
        retain(&mut headers, "headers", &used);
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Docket",
                "version": VERSION,
                "summary": "An event-sourced CRM and outreach backend in which nothing happens off the record.",
                "description": "The agent tools answer in an envelope `{success, data, error, meta}`, the company API \
                    with bare entities and `{error, code, details}`. A client that names `application/problem+json` in \
                    `Accept` is refused in that form (RFC 9457) by both. Every answer to a token tells what is left of its \
                    allowance in `RateLimit` and `RateLimit-Policy`.",
                "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
            },
            "servers": [{ "url": "/", "description": "The server that serves this document" }],
            "security": [{ "token": [] }],
            "tags": tags,
            "paths": self.paths,
            "components": {
                "securitySchemes": { "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token as `docket token create` issues it.",
                } },
                "schemas": self.schemas,
                "headers": headers,
                "responses": responses,
            },
        })
    }

    fn put(&mut self, method: &Method, path: &str, operation: Value) {
        self.paths
            .entry(path.to_owned())
            .or_default()
            .insert(method.as_str().to_ascii_lowercase(), operation);
    }

    fn company(&mut self, route: &Route) {
        let spec = (route.spec)();
        let takes_body = route.method != Method::GET;
        let mut parameters = path_parameters(route.path);
        parameters.extend(spec.parameters.iter().map(parameter));
        if route.effect != Effect::Asks {
            parameters.push(idempotency_key());
        }
        parameters.push(json!({
            "name": "X-Run-Id",
            "in": "header",
            "description": "The run that the call belongs to.",
            "schema": shapes::id(),
        }));
        let mut refusals: Vec<u16> = [ALWAYS, spec.refusals].concat();
        if takes_body {
            refusals.extend(WITH_BODY);
        }
        let roles: Vec<&str> = route.roles.iter().map(|role| role.name()).collect();
        let tag = match route.path {
            path if path.starts_with("/api/admin") => "Organizations",
            path if path.contains("/crm/events") => "Audit",
            _ => "Company",
        };
        let operation = json!({
            "operationId": route.id.replace("::", "_"),
            "tags": [tag],
            "summary": spec.summary,
            "description": format!("For the roles {}.", roles.join(", ")),
            "parameters": parameters,
            "responses": answers(&spec, &refusals, "Company"),
        });
        self.put(&route.method, route.path, with_body(operation, &spec));
    }

    fn open(&mut self, open: &Open) {
        let spec = (open.spec)();
        let refusals = [if open.token { ALWAYS } else { &[] }, spec.refusals].concat();
        let kind = match (open.tag, open.token) {
            ("Protocol", true) => "Plain",
            (_, true) => "Tool",
            (_, false) => "Plain",
        };
        let mut operation = json!({
            "operationId": open.id,
            "tags": [open.tag],
            "summary": spec.summary,
            "responses": answers(&spec, &refusals, kind),
        });
        if !spec.parameters.is_empty() {
            operation["parameters"] = spec.parameters.iter().map(parameter).collect();
        }
        if !open.token {
            operation["security"] = json!([]);
        }
        self.put(&open.method, open.path, with_body(operation, &spec));
    }

    fn tool(&mut self, tool: &Tool) {
        let accepted = strict::with_nulls(&tool.input.schema);
        let input = self.component(&format!("{}.input", tool.name), &accepted);
        let data = self.component(&format!("{}.data", tool.name), &tool.output);
        let mut body = object([
            ("input!", input),
            (
                "reason",
                json!({ "type": ["string", "null"], "maxLength": 500, "description": "Why, for the record." }),
            ),
            (
                "requestId",
                json!({
                    "type": ["string", "null"],
                    "minLength": 1,
                    "maxLength": 120,
                    "pattern": shapes::line(120)["pattern"],
                    "description": "Repeating a change with the same requestId has its effect once.",
                }),
            ),
        ]);
        let organization = json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" });
        if tool.scoped {
            body["properties"]["organizationId"] = organization;
            body["required"] = json!(["organizationId", "input"]);
        }
        let (mut examples, ids) =
            (Map::new(), json!({ "organizationId": "00000000-0000-0000-0000-000000000000" }));
        for (n, example) in tool.examples.iter().enumerate() {
            let mut value = if tool.scoped { ids.clone() } else { json!({}) };
            value["input"] = example.input.clone();
            examples.insert(format!("example{}", n + 1), json!({ "summary": example.title, "value": value }));
        }
        let capability = tool.capability(&crate::tools::Known::default());
        let spec = Spec::new("").answers(
            200,
            "The tool's answer",
            json!({
                "type": "object",
                "properties": {
                    "success": { "const": true },
                    "data": data,
                    "error": { "type": "null" },
                    "meta": { "type": "object" },
                },
                "required": ["success", "data", "error", "meta"],
            }),
        );
        let operation = json!({
            "operationId": tool.name,
            "tags": ["Agent tools"],
            "summary": tool.name,
            "description": tool.input.description,
            "parameters": [idempotency_key()],
            "requestBody": {
                "required": true,
                "content": { JSON: { "schema": body, "examples": examples } },
            },
            "responses": answers(&spec, &[ALWAYS, OF_TOOL].concat(), "Tool"),
            "x-risk": capability["risk"],
            "x-hints": capability["hints"],
        });
        self.put(&Method::POST, &agent::TOOLS.replace("{tool_name}", tool.name), operation);
    }

    /// Puts a schema among the components; what it defines itself goes there under names of its own.
    fn component(&mut self, name: &str, schema: &Value) -> Value {
        let mut schema = schema.clone();
        let definitions = schema.as_object_mut().and_then(|schema| schema.remove("$defs"));
        rename_references(&mut schema, name);
        self.schemas.insert(name.to_owned(), schema);
        if let Some(Value::Object(definitions)) = definitions {
            for (inner, mut definition) in definitions {
                rename_references(&mut definition, name);
                self.schemas.insert(format!("{name}.{inner}"), definition);
            }
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }
}

fn rename_references(schema: &mut Value, name: &str) {
    match schema {
        Value::Object(keywords) => {
            if let Some(Value::String(reference)) = keywords.get_mut("$ref") {
                match reference.strip_prefix("#/$defs/") {
                    Some(inner) => *reference = format!("#/components/schemas/{name}.{inner}"),
                    None if reference == "#" => *reference = format!("#/components/schemas/{name}"),
                    None => (),
                }
            }
            keywords.values_mut().for_each(|value| rename_references(value, name));
        }
        Value::Array(several) => several.iter_mut().for_each(|value| rename_references(value, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
    }
}

/// The parameters in a path: ids, but for the names that the board gives to its secrets.
fn path_parameters(path: &str) -> Vec<Value> {
    spec::in_path(path)
        .map(|(name, schema)| json!({ "name": name, "in": "path", "required": true, "schema": schema }))
        .collect()
}

fn parameter(parameter: &Parameter) -> Value {
    let Parameter { name, place, required, about, schema } = parameter;
    let mut written = json!({ "name": name, "in": place, "description": about, "schema": schema });
    if *required {
        written["required"] = true.into();
    }
    if schema["type"] == "array" {
        written["explode"] = true.into();
    }
    written
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The client's own name of the request: repeated with the same input, it has its effect once and \
            is answered as the first time; with another input it is refused with 409.",
        "schema": { "type": "string", "pattern": KEY_PATTERN },
    })
}

fn with_body(mut operation: Value, spec: &Spec) -> Value {
    if let Some((media_type, schema)) = &spec.body {
        operation["requestBody"] =
            json!({ "required": true, "content": { *media_type: { "schema": schema } } });
    }
    operation
}

/// The answers of a route: its own, and references to refusals of its kind.
fn answers(spec: &Spec, refusals: &[u16], kind: &str) -> Value {
    let mut answers = Map::new();
    for Answer { status, about, content, headers } in &spec.answers {
        let mut answer = json!({ "description": about });
        if let Some((media_type, schema)) = content {
            answer["content"] = json!({ *media_type: { "schema": schema } });
        }
        for (name, about) in headers {
            answer["headers"][*name] = json!({ "description": about, "schema": { "type": "string" } });
        }
        if kind != "Plain" {
            for name in ["RateLimit", "RateLimit-Policy"] {
                answer["headers"][name] = json!({ "$ref": format!("#/components/headers/{name}") });
            }
        }
        answers.insert(status.to_string(), answer);
    }
    for status in refusals {
        let reference = json!({ "$ref": format!("#/components/responses/{kind}{status}") });
        answers.insert(status.to_string(), reference);
    }
    Value::Object(answers)
}

/// Everything that is referred to within.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                found.insert(reference.clone());
            }
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(several) => several.iter().for_each(|value| references(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
    }
}

/// Leaves out components that nothing refers to.
fn retain(components: &mut Map<String, Value>, kind: &str, used: &BTreeSet<String>) {
    components.retain(|name, _| used.contains(&format!("#/components/{kind}/{name}")));
}

fn headers() -> Map<String, Value> {
    let text = |about: &str| json!({ "description": about, "schema": { "type": "string" } });
    let Value::Object(headers) = json!({
        "RateLimit": text("Calls that the token may make at once now, and seconds until all are there again."),
        "RateLimit-Policy": text("The token's allowance: calls at once (q), and the seconds in which as many come back (w)."),
        "Retry-After": {
            "description": "Seconds to wait before the same call is made again; absent where waiting does not help.",
            "schema": { "type": "integer", "minimum": 1 },
        },
        "WWW-Authenticate": text("How to be let in."),
    }) else {
        return Map::new();
    };
    headers
}

/// Every refusal: of the company API, of the tools, and those of which only the status is told.
fn responses() -> Map<String, Value> {
    let mut responses = Map::new();
    let statuses = [
        (400, "Something in the request cannot be accepted; every fault is named"),
        (401, "There is no token, or one that is not accepted"),
        (403, "The token may not do this"),
        (404, "There is no such thing here"),
        (405, "The method is not known here"),
        (406, "The client does not accept what would be answered"),
        (408, "The body did not arrive in time"),
        (409, "It stands against what is, or against an earlier request of the same name"),
        (410, "The preview has expired"),
        (413, "The body is too large"),
        (415, "The body is not of the media type that is taken"),
        (422, "It is understood and not possible as things stand"),
        (429, "The token, or the organization, has made as many calls as it may for now"),
        (431, "The head of the request is larger than 64 KiB"),
        (502, "The service that was asked gave no answer that can be used"),
        (503, "It is not possible at the moment"),
        (504, "The service that was asked did not answer in time"),
        (507, "There is no room for the file"),
    ];
    for (kind, schema) in [("Company", Some("Refusal")), ("Tool", Some("ToolRefusal")), ("Plain", None)] {
        for (status, about) in statuses {
            let mut response = json!({ "description": about });
            if let Some(schema) = schema {
                let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
                let details = json!({ "$ref": "#/components/schemas/Problem" });
                response["content"] =
                    json!({ JSON: { "schema": schema }, problem::MEDIA_TYPE: { "schema": details } });
            }
            let header = match status {
                401 => Some("WWW-Authenticate"),
                429 | 503 => Some("Retry-After"),
                _ => None,
            };
            if let Some(name) = header {
                response["headers"] = json!({ name: { "$ref": format!("#/components/headers/{name}") } });
            }
            responses.insert(format!("{kind}{status}"), response);
        }
    }
    responses
}

fn refusal() -> Value {
    json!({
        "type": "object",
        "description": "A refusal of the company API.",
        "properties": {
            "error": { "type": "string", "description": "One sentence for people." },
            "code": { "type": "string", "description": "A name for machines." },
            "details": { "description": "More, where there is more to say: each field at fault with path, code and message." },
        },
        "required": ["error", "code"],
        "additionalProperties": false,
    })
}

fn tool_refusal() -> Value {
    json!({
        "type": "object",
        "description": "A refusal of a tool. A request that took too long, or that the process had no room for, is \
            refused before the tool is reached, in the words of the company API.",
        "properties": {
            "success": { "const": false },
            "data": { "type": "null" },
            "error": { "type": "string", "description": "One sentence for people." },
            "meta": {
                "type": "object",
                "properties": {
                    "errorCode": { "type": "string", "description": "A name for machines." },
                    "hint": { "type": "string", "description": "The next call to make." },
                    "fieldErrors": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {
                                "path": { "type": "string" },
                                "code": { "type": "string" },
                                "message": { "type": "string" },
                            },
                            "required": ["path", "code", "message"],
                        },
                    },
                },
            },
        },
        "required": ["error"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere_and_every_component_is_used() {
        let document = document();
        let mut found = BTreeSet::new();
        references(document, &mut found);
        for reference in &found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for kind in ["schemas", "headers", "responses"] {
            for name in document["components"][kind].as_object().unwrap().keys() {
                let reference = format!("#/components/{kind}/{name}");
                assert!(found.contains(&reference), "{reference} is not used");
            }
        }
    }

    #[test]
    fn every_tool_shows_its_schemas() {
        let document = document();
        for tool in catalog().iter() {
            let operation = &document["paths"][format!("/crm/agent/tools/{}", tool.name)]["post"];
            assert_eq!(operation["operationId"], tool.name);
            let input = &document["components"]["schemas"][format!("{}.input", tool.name)];
            let names = |schema: &Value| {
                schema["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
            };
            assert_eq!(names(input), names(&tool.input.schema), "{}", tool.name);
        }
    }

    #[test]
    fn a_schema_that_defines_something_is_taken_apart() {
        let schema = json!({
            "type": "object",
            "properties": { "steps": { "type": "array", "items": { "$ref": "#/$defs/Node" } } },
            "$defs": { "Node": { "type": "object", "properties": { "next": { "$ref": "#/$defs/Node" } } } },
        });
        let mut writer = Writer::default();
        writer.component("tool.input", &schema);
        let node = "#/components/schemas/tool.input.Node";
        assert_eq!(writer.schemas["tool.input"]["properties"]["steps"]["items"]["$ref"], node);
        assert_eq!(writer.schemas["tool.input.Node"]["properties"]["next"]["$ref"], node);
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let mut names = std::collections::HashSet::new();
        for (path, methods) in document()["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let name = operation["operationId"].as_str().unwrap();
                assert!(names.insert(name), "{method} {path}: {name}");
                assert!(!operation["summary"].as_str().unwrap().is_empty());
            }
        }
    }
}
