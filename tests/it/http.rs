//! What holds for every request, and what is told to whoever runs the process.

use docket_aggregates::token::Role;
use hyper::Method;
use serde_json::{Value, json};

use crate::support::TestApp;

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn what_is_no_request_of_ours_is_refused_in_json() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let agents = client.crm("agents");
    let huge = format!("{{\"name\":\"{}\"}}", "x".repeat(1 << 20));
    for (method, path, headers, body, status, code) in [
        (Method::GET, "/nowhere", &[][..], "", 404, "ROUTE_NOT_FOUND"),
        (Method::DELETE, agents.as_str(), &[][..], "", 405, "METHOD_NOT_ALLOWED"),
        (Method::POST, agents.as_str(), &[][..], "{}", 415, "NOT_JSON"),
        (Method::POST, agents.as_str(), &[JSON][..], "", 400, "MALFORMED_JSON"),
        (Method::POST, agents.as_str(), &[JSON][..], "[]", 400, "NOT_AN_OBJECT"),
        (Method::POST, agents.as_str(), &[JSON][..], "null", 400, "NOT_AN_OBJECT"),
        (Method::POST, "/crm/agent/tools/list_campaigns", &[JSON][..], "[]", 400, "INVALID_INPUT"),
        (Method::POST, "/crm/agent/tools/list_campaigns", &[JSON][..], "null", 400, "INVALID_INPUT"),
        (Method::POST, agents.as_str(), &[JSON][..], "{\"name\":\"a\",\"name\":\"b\"}", 400, "DUPLICATE_KEY"),
        (Method::POST, agents.as_str(), &[JSON][..], huge.as_str(), 413, "BODY_TOO_LARGE"),
        (Method::GET, "/api/companies/no-uuid/crm/agents", &[][..], "", 400, "VALIDATION_FAILED"),
        (Method::GET, "/api/companies/%ff/crm/agents", &[][..], "", 400, "MALFORMED_PATH"),
        (Method::POST, "/webhooks/email/%ff/x", &[][..], "{}", 400, "MALFORMED_PATH"),
        (Method::GET, agents.as_str(), &[("idempotency-key", "")][..], "", 400, "VALIDATION_FAILED"),
        (Method::GET, agents.as_str(), &[("x-run-id", "7")][..], "", 400, "VALIDATION_FAILED"),
    ] {
        let (got, answer) =
            client.send(method.clone(), path, headers, body.as_bytes().to_vec()).await.unwrap();
        let told = if answer["code"].is_null() { &answer["meta"]["errorCode"] } else { &answer["code"] };
        assert_eq!((got, told), (status, &json!(code)), "{method} {path}: {answer}");
        let sentence = answer["error"].as_str().unwrap();
        assert!(sentence.starts_with(char::is_alphanumeric), "{sentence:?}");
    }
}

#[tokio::test]
async fn a_query_that_is_not_understood_is_refused() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    for query in ["limit=0", "limit=101", "limit=ten", "limit=1&limit=2", "after=7", "surplus=1"] {
        let (status, answer) = client.get(&client.crm(&format!("agents?{query}"))).await;
        assert_eq!((status, &answer["code"]), (400, &json!("VALIDATION_FAILED")), "{query}");
    }
    let long = "x".repeat(10_000);
    for query in [format!("{long}=1"), format!("limit=1&{long}=1&{long}=2"), format!("limit={long}")] {
        let (status, answer) = client.get(&client.crm(&format!("agents?{query}"))).await;
        assert_eq!((status, answer.to_string().len() < 2_000), (400, true), "{answer}");
    }
    let unknown: String = (0..20_000).map(|n| format!("\"{n}\":1,")).collect();
    for body in [format!("{{{unknown}\"name\":1}}"), format!("{{\"{long}\":1,\"{long}\":2}}")] {
        let (status, answer) =
            client.send(Method::POST, &client.crm("agents"), &[JSON], body.into()).await.unwrap();
        assert_eq!((status, answer.to_string().len() < 20_000), (400, true), "{answer}");
    }
}

#[tokio::test]
async fn callers_are_listed_by_name_page_by_page() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    for name in ["Zoé", "ada", "Émile", "Bob"] {
        let body = json!({ "name": name, "email": "caller@example.com" });
        assert_eq!(client.post(&client.crm("agents"), body).await.0, 201);
    }
    let mut seen = vec![];
    let mut query = "limit=2".to_owned();
    loop {
        let (status, page) = client.get(&client.crm(&format!("agents?{query}"))).await;
        assert_eq!(status, 200);
        let page = page.as_array().unwrap().clone();
        let Some(last) = page.last() else { break };
        query = format!("limit=2&after={}", last["agentId"].as_str().unwrap());
        seen.extend(page.iter().map(|agent| agent["name"].clone()));
    }
    assert_eq!(seen, ["ada", "Bob", "Émile", "Zoé"].map(|name| json!(name)));
}

#[tokio::test]
async fn the_ledger_is_listed_in_order_and_sealed() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    for name in ["Ada", "Bea", "Cid"] {
        client.post(&client.crm("agents"), json!({ "name": name, "email": "caller@example.com" })).await;
    }
    let auditor = app.client(Role::Auditor, client.organization).await;
    let (status, first) = auditor.get(&auditor.crm("events?limit=2")).await;
    let (_, rest) = auditor.get(&auditor.crm("events?limit=2&after=2")).await;
    let positions: Vec<&Value> = [&first, &rest]
        .into_iter()
        .flat_map(|page| page.as_array().unwrap())
        .map(|event| &event["position"])
        .collect();
    assert_eq!((status, positions), (200, vec![&json!(1), &json!(2), &json!(3)]));
    assert!(!first.to_string().contains("Ada"), "what is personal is sealed");
    assert_eq!(first[0]["metadata"]["tool"], json!("POST /api/companies/{companyId}/crm/agents"));
    let (status, answer) = auditor.get(&auditor.crm("events?after=99")).await;
    assert_eq!((status, &answer["details"][0]["code"]), (400, &json!("BEYOND_HEAD")));
}

#[tokio::test]
async fn the_process_tells_how_it_is() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    assert_eq!(client.get("/healthz").await, (200, json!({ "status": "alive" })));
    assert_eq!(client.get("/readyz").await, (200, json!({ "status": "ready" })));
    assert_eq!(client.get(&client.crm("agents")).await.0, 200);
    let measured = client.text("/metrics").await;
    for metric in ["docket_append_queue_depth", "docket_read_lag_events", "docket_http_request_seconds"] {
        assert!(measured.contains(metric), "{metric} is missing");
    }
    let organization = client.organization.to_string();
    assert!(!measured.contains(&organization), "no metric names an organization");
}

#[tokio::test]
async fn without_its_read_models_the_process_is_not_ready() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    sqlx::query("ALTER SCHEMA read RENAME TO elsewhere").execute(&app.database.pool()).await.unwrap();
    let (status, answer) = client.get("/readyz").await;
    assert_eq!((status, &answer["status"]), (503, &json!("not_ready")));
    assert!(answer["reason"].is_string());
    assert_eq!(client.get("/healthz").await.0, 200, "the process itself is well");
}
