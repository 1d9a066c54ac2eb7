//! Who may do what: the whole table of routes against every role, made from the table itself.

use docket::http::openapi;
use docket::http::routes::{self, Route};
use docket::ledger::read;
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::token::Role;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::support::{Client, TestApp};

const JSON: (&str, &str) = ("content-type", "application/json");
const NOTHING: &str = "0190a0f0-0000-7000-8000-00000000000f";

/// A path of the route in this organization; everything else in it names nothing.
pub fn path_in(route: &Route, organization: Uuid) -> String {
    route
        .path
        .split('/')
        .map(|part| match part {
            "{companyId}" | "{organizationId}" => organization.to_string(),
            other if other.starts_with('{') => NOTHING.to_owned(),
            other => other.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("/")
        // A stream that is let in has no end; this one is refused by its query.
        .replace("/events/stream", "/events/stream?after=nothing")
}

async fn ask(client: &Client, route: &Route, organization: OrganizationId, body: &[u8]) -> (u16, Value) {
    let path = path_in(route, organization.uuid());
    client.send(route.method.clone(), &path, &[JSON], body.to_vec()).await.unwrap()
}

#[tokio::test]
async fn every_role_enters_where_the_table_says_and_nowhere_else() {
    let app = TestApp::start().await;
    let (own, other) = (app.organization().await, app.organization().await);
    let head = async || {
        let mut connection = app.app.ledger.pool().acquire().await.unwrap();
        let mut heads = vec![];
        for organization in [OrganizationId::INSTANCE, own, other] {
            heads.push(read::head(&mut connection, organization).await.unwrap());
        }
        heads
    };
    let mut clients = vec![];
    for role in Role::ALL {
        clients.push((role, Client::new(app.address(), app.token(role, Some(own)).await, own)));
    }
    let before = head().await;
    for (role, client) in &clients {
        for route in routes::all() {
            let concerns_instance = !route.path.contains('{');
            // What is let in is refused by its content, which changes nothing.
            let name = format!("{} as {}", route.name, role.name());
            let (status, answer) = ask(client, route, own, b"[]").await;
            if !route.roles.contains(role) {
                assert_eq!((status, &answer["code"]), (403, &json!("ROLE_FORBIDDEN")), "{name}");
            } else if concerns_instance {
                assert_eq!((status, &answer["code"]), (403, &json!("OTHER_ORGANIZATION")), "{name}");
            } else {
                assert!(status != 401 && status != 403 && status < 500, "{name}: {status} {answer}");
            }
            let (status, answer) = ask(client, route, other, b"[]").await;
            assert_eq!(status, 403, "{name} in another organization: {answer}");
        }
    }
    assert_eq!(head().await, before, "whoever is turned away leaves nothing behind");
}

#[test]
fn an_auditor_reads_everything_of_a_company() {
    let closed: Vec<&str> = routes::all()
        .iter()
        .filter(|route| route.method == hyper::Method::GET && route.path.contains("{companyId}"))
        .filter(|route| !route.roles.contains(&Role::Auditor))
        .map(|route| route.path)
        .collect();
    assert_eq!(closed, Vec::<&str>::new());
}

#[tokio::test]
async fn without_a_token_every_route_is_closed() {
    let app = TestApp::start().await;
    let organization = app.organization().await;
    for token in ["", "dkt_0190a0f00000700080000000000000ff_AAAA"] {
        let client = Client::new(app.address(), token.to_owned(), organization);
        for route in routes::all() {
            let (status, _) = ask(&client, route, organization, b"").await;
            assert_eq!(status, 401, "{}", route.name);
        }
    }
}

#[tokio::test]
async fn who_may_enter_everywhere_finds_nothing_where_nothing_is() {
    let app = TestApp::start().await;
    let organization = app.organization().await;
    let nowhere: OrganizationId = NOTHING.parse().unwrap();
    for role in [Role::SuperAdmin, Role::InstanceAdmin] {
        let client = Client::new(app.address(), app.token(role, None).await, organization);
        for route in routes::all().iter().filter(|route| route.path.contains('{')) {
            let (status, answer) = ask(&client, route, nowhere, b"[]").await;
            assert_eq!((status, &answer["code"]), (404, &json!("ORG_NOT_FOUND")), "{}", route.name);
        }
    }
}

/// The smallest value that a schema of ours lets through.
fn sample(schema: &Value) -> Value {
    if let Some(first) = schema["enum"].as_array().and_then(|names| names.first()) {
        return first.clone();
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds[0].as_str(),
        kind => kind.as_str(),
    };
    match kind {
        Some("object") => {
            let empty = Map::new();
            let fields = schema["properties"].as_object().unwrap_or(&empty);
            let required: Vec<&str> =
                schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let mut whole: Map<String, Value> = fields
                .iter()
                .filter(|(name, _)| required.contains(&name.as_str()))
                .map(|(name, schema)| (name.clone(), sample(schema)))
                .collect();
            // A patch names at least one field.
            if whole.is_empty()
                && schema["minProperties"].is_number()
                && let Some((name, schema)) = fields.iter().next()
            {
                whole.insert(name.clone(), sample(schema));
            }
            Value::Object(whole)
        }
        Some("array") => match schema["minItems"].as_u64() {
            Some(1..) => json!([sample(&schema["items"])]),
            _ => json!([]),
        },
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("boolean") => json!(true),
        Some("null") => Value::Null,
        _ => match schema["format"].as_str() {
            Some("uuid") => json!(NOTHING),
            Some("date-time") => json!("2026-11-21T10:00:00Z"),
            Some("email") => json!("ann@example.com"),
            _ if schema["pattern"].as_str().is_some_and(|pattern| pattern.starts_with("^secret://")) => {
                json!("secret://smtp:latest")
            }
            _ => json!("a".repeat(schema["minLength"].as_u64().unwrap_or(1).max(1).try_into().unwrap())),
        },
    }
}

#[tokio::test]
async fn what_is_not_in_the_company_is_not_found_there() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let mut asked = 0;
    for route in routes::all() {
        let names: Vec<&str> = route.path.split('/').filter(|part| part.starts_with('{')).collect();
        // The names of secrets are the board's own: each is there once it is stored.
        if names.len() < 2 || names.contains(&"{secretId}") {
            continue;
        }
        let path = path_in(route, client.organization.uuid());
        let operation = &openapi::document()["paths"][route.path][route.method.as_str().to_ascii_lowercase()];
        let content = &operation["requestBody"]["content"]["application/json"]["schema"];
        let body = if content.is_null() { vec![] } else { sample(content).to_string().into_bytes() };
        let (status, answer) = client.send(route.method.clone(), &path, &[JSON], body).await.unwrap();
        assert_eq!(status, 404, "{}: {answer}, asked with {}", route.name, sample(content));
        asked += 1;
    }
    assert!(asked > 10, "{asked}");
}
