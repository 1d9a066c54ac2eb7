//! Refusals as problem details (RFC 9457): the same refusal in the form that the client asks for, at every door.

use docket::http::{Settings, openapi};
use docket::limits::Rate;
use docket_aggregates::token::Role;
use hyper::{HeaderMap, Method};
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::support::{Client, TestApp};

const PROBLEM: &str = "application/problem+json";
const JSON: (&str, &str) = ("content-type", "application/json");
const NOBODY: &str = "0190a0f0-0000-7000-8000-00000000000f";

/// A request that is refused, with the status that it is refused with.
struct Refused<'a> {
    client: &'a Client,
    method: Method,
    path: String,
    headers: Vec<(&'a str, &'a str)>,
    body: String,
    status: u16,
}

impl Refused<'_> {
    async fn answer(&self, accept: &str) -> (u16, HeaderMap, Value) {
        let mut headers = vec![("accept", accept), ("x-request-id", "r-1")];
        headers.extend(&self.headers);
        let body = self.body.clone().into_bytes();
        let (status, headers, body) =
            self.client.exchange(self.method.clone(), &self.path, &headers, body).await;
        (status, headers, serde_json::from_slice(&body).unwrap())
    }

    /// Asks for it in both forms, which say the same.
    async fn holds(&self) {
        let shown = format!("{} {} {}", self.method, self.path, &self.body[..self.body.len().min(200)]);
        let (status, headers, plain) = self.answer("application/json").await;
        assert_eq!(status, self.status, "{shown}: {plain}");
        assert_eq!([&headers["content-type"], &headers["vary"]], ["application/json", "Accept"], "{shown}");

        let (status, headers, problem) = self.answer(PROBLEM).await;
        assert_eq!(status, self.status, "{shown}: {problem}");
        assert_eq!([&headers["content-type"], &headers["vary"]], [PROBLEM, "Accept"], "{shown}");
        assert_eq!(headers.get("www-authenticate").is_some(), status == 401, "{shown}");
        assert_eq!(headers.get("retry-after").is_some(), status == 429 || status == 503, "{shown}");
        let described = &openapi::document()["components"]["schemas"]["Problem"];
        assert!(jsonschema::validator_for(described).unwrap().is_valid(&problem), "{shown}: {problem}");
        let code = if plain["code"].is_null() { &plain["meta"]["errorCode"] } else { &plain["code"] };
        assert_eq!((&problem["code"], &problem["detail"]), (code, &plain["error"]), "{shown}: {problem}");
        assert_eq!(problem["type"], format!("/docs#{}", code.as_str().unwrap()), "{shown}");
        assert_eq!(
            (&problem["status"], &problem["instance"]),
            (&json!(status), &json!("/requests/r-1")),
            "{shown}"
        );
        let faults =
            [&plain["meta"]["fieldErrors"], &plain["details"]].into_iter().find(|told| told.is_array());
        assert_eq!(&problem["errors"], faults.unwrap_or(&Value::Null), "{shown}: {problem}");
        assert_eq!(problem["hint"], plain["meta"]["hint"], "{shown}: {problem}");
        assert_eq!(problem["meta"].is_object(), plain["meta"].is_object(), "{shown}: {problem}");
    }
}

#[tokio::test]
async fn a_refusal_is_the_same_in_both_forms_at_every_door() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let viewer = app.client(Role::Viewer, client.organization).await;
    let campaign = client.done("create_outbound_campaign", json!({ "name": "Spring" })).await;
    let campaign = &campaign["campaign"]["campaignId"];
    let (bearer, seen) = (client.bearer(), viewer.bearer());
    let (entered, looking) = (("authorization", bearer.as_str()), ("authorization", seen.as_str()));
    let agents = client.crm("agents");
    let input = |input: Value| json!({ "organizationId": client.organization, "input": input }).to_string();
    let huge = format!("{{\"name\":\"{}\"}}", "x".repeat(1 << 20));
    let (get, post) = (Method::GET, Method::POST);
    let remove = "bulk_remove_contacts_from_campaign";
    let keyed = |name: &'static str| ("idempotency-key", name);
    let tool = |name: &str| format!("/crm/agent/tools/{name}");

    let named = json!({ "name": "Ada", "email": "ada@example.com" });
    let create = tool("create_outbound_campaign");
    for (path, name, body, status) in [
        (&agents, "once", named.to_string(), 201),
        (&create, "twice", input(json!({ "name": "Summer" })), 200),
    ] {
        let headers = [entered, JSON, keyed(name)];
        assert_eq!(client.exchange(Method::POST, path, &headers, body.into_bytes()).await.0, status);
    }

    for (method, path, headers, body, status) in [
        (&get, format!("{agents}?limit=0&after=7"), vec![entered], String::new(), 400),
        (&post, agents.clone(), vec![entered, JSON], "{\"name\":1,\"name\":2}".into(), 400),
        (&post, tool("list_campaigns"), vec![entered, JSON], input(json!({ "limit": "10", "a": 1 })), 400),
        (&get, "/crm/agent/capabilities?family=none".into(), vec![entered], String::new(), 400),
        (&get, agents.clone(), vec![], String::new(), 401),
        (&post, tool("list_campaigns"), vec![JSON], input(json!({})), 401),
        (&post, agents.clone(), vec![looking, JSON], named.to_string(), 403),
        (&post, tool("list_campaigns"), vec![looking, JSON], input(json!({})), 403),
        (&get, "/nowhere".into(), vec![], String::new(), 404),
        (&get, client.crm(&format!("approvals/{NOBODY}")), vec![entered], String::new(), 404),
        (&post, tool("get_campaign"), vec![entered, JSON], input(json!({ "campaignId": NOBODY })), 404),
        (&post, "/webhooks/nobody".into(), vec![], String::new(), 404),
        (&Method::DELETE, agents.clone(), vec![entered], String::new(), 405),
        (&get, tool("list_campaigns"), vec![entered], String::new(), 405),
        (
            &post,
            agents.clone(),
            vec![entered, JSON, keyed("once")],
            json!({ "name": "Bea", "email": "b@example.com" }).to_string(),
            409,
        ),
        (&post, create.clone(), vec![entered, JSON, keyed("twice")], input(json!({ "name": "Autumn" })), 409),
        (&post, agents.clone(), vec![entered, JSON], huge.clone(), 413),
        (&post, tool("list_campaigns"), vec![entered, JSON], huge.clone(), 413),
        (&post, agents.clone(), vec![entered], named.to_string(), 415),
        (
            &post,
            tool(remove),
            vec![entered, JSON],
            input(json!({ "campaignId": campaign, "filter": {}, "dryRun": false })),
            422,
        ),
    ] {
        Refused { client: &client, method: method.clone(), path, headers, body, status }.holds().await;
    }
}

#[tokio::test]
async fn a_refusal_that_says_when_to_come_again_says_so_in_both_forms() {
    let rate = Rate { per_minute: 1.try_into().unwrap(), burst: 1.try_into().unwrap() };
    let hurried = TestApp::with(Settings { rate: Some(rate), ..Settings::default() }).await;
    let client = hurried.agent().await;
    let bearer = client.bearer();
    let headers = vec![("authorization", bearer.as_str()), JSON];
    assert_eq!(client.get(&client.crm("agents")).await.0, 200);
    for (method, path) in [
        (Method::GET, client.crm("agents")),
        (Method::POST, "/crm/agent/tools/list_campaigns".to_owned()),
        (Method::POST, "/mcp".to_owned()),
    ] {
        let headers = headers.clone();
        Refused { client: &client, method, path, headers, body: "{}".into(), status: 429 }.holds().await;
    }

    let app = TestApp::start().await;
    let client = app.agent().await;
    let bearer = client.bearer();
    let named = json!({ "name": "Ada", "email": "ada@example.com" });
    assert_eq!(client.post(&client.crm("agents"), named.clone()).await.0, 201);
    assert_eq!(client.get(&client.crm("agents")).await.0, 200);
    // Another process folds this organization, and takes its time.
    let mut holder = app.database.connect().await;
    let mut held = holder.begin().await.unwrap();
    sqlx::query("SELECT FROM read.cursors WHERE organization_id = $1 FOR UPDATE")
        .bind(client.organization.uuid())
        .execute(&mut *held)
        .await
        .unwrap();
    assert_eq!(client.post(&client.crm("agents"), named).await.0, 201);
    let body = json!({ "organizationId": client.organization, "input": {} }).to_string();
    for (method, path) in [
        (Method::GET, client.crm("agents")),
        (Method::POST, "/crm/agent/tools/list_outbound_agents".to_owned()),
    ] {
        let headers = vec![("authorization", bearer.as_str()), JSON];
        Refused { client: &client, method, path, headers, body: body.clone(), status: 503 }.holds().await;
    }
}

#[tokio::test]
async fn what_is_no_refusal_is_told_as_ever() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let bearer = client.bearer();
    for (path, authorization) in [
        (client.crm("agents"), bearer.as_str()),
        ("/crm/agent/capabilities".to_owned(), bearer.as_str()),
        ("/healthz".to_owned(), ""),
        ("/openapi.json".to_owned(), ""),
    ] {
        let headers = [("accept", PROBLEM), ("authorization", authorization)];
        let (status, headers, _) = client.exchange(Method::GET, &path, &headers, vec![]).await;
        assert_eq!((status, headers["content-type"].to_str().unwrap()), (200, "application/json"), "{path}");
        assert!(headers.get("vary").is_none(), "{path}");
    }
}

#[test]
fn the_reference_has_both_forms_of_every_refusal_that_it_describes() {
    let responses = openapi::document()["components"]["responses"].as_object().unwrap();
    let described: Vec<_> =
        responses.values().filter_map(|response| response["content"].as_object()).collect();
    assert!(described.len() > 10);
    for content in described {
        let media_types: Vec<&str> = content.keys().map(String::as_str).collect();
        assert_eq!(media_types, ["application/json", PROBLEM]);
        assert_eq!(content[PROBLEM]["schema"]["$ref"], "#/components/schemas/Problem");
    }
}
