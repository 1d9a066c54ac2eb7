//! How often a token may call, at the product's own default.

use docket::http::Settings;
use docket_aggregates::token::Role;
use hyper::Method;
use serde_json::{Value, json};

use crate::support::TestApp;

#[tokio::test]
async fn a_token_is_refused_after_a_hundred_calls_at_once() {
    let app = TestApp::with(Settings::default()).await;
    let client = app.agent().await;
    let bearer = client.bearer();
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let doors = [
        (Method::GET, "/crm/agent/capabilities?query=campaign".to_owned()),
        (Method::POST, "/crm/agent/tools/list_campaigns".to_owned()),
        (Method::GET, client.crm("agents")),
    ];
    let body = json!({ "organizationId": client.organization, "input": {} }).to_string();
    let ask = async |door: &(Method, String)| {
        let body = if door.0 == Method::POST { body.clone() } else { String::new() };
        client.exchange(door.0.clone(), &door.1, &headers, body.into_bytes()).await
    };
    for n in 0..100 {
        let (status, headers, _) = ask(&doors[n % doors.len()]).await;
        assert_eq!(status, 200);
        assert_eq!(headers["ratelimit-policy"], "\"burst\";q=100;w=10");
        assert!(headers["ratelimit"].to_str().unwrap().starts_with(&format!("\"burst\";r={};", 99 - n)));
    }
    for door in &doors {
        let (status, headers, body) = ask(door).await;
        assert_eq!((status, headers["retry-after"].to_str().unwrap()), (429, "1"), "{}", door.1);
        assert_eq!(headers["ratelimit"], "\"burst\";r=0;t=10");
        let body: Value = serde_json::from_slice(&body).unwrap();
        let code = [&body["code"], &body["meta"]["errorCode"]];
        assert!(code.contains(&&json!("RATE_LIMITED")), "{body}");
    }
    let mcp = client.exchange(Method::POST, "/mcp", &headers, vec![]).await;
    assert_eq!(mcp.0, 429, "the protocol is one more door");
    assert_eq!(mcp.1["ratelimit"], "\"burst\";r=0;t=10");

    let other = app.client(Role::SuperAdmin, client.organization).await;
    assert_eq!(other.get("/crm/agent/capabilities").await.0, 200, "another token has its own allowance");
    app.clock.advance(1_000);
    for n in 0..11 {
        let (status, ..) = ask(&doors[1]).await;
        assert_eq!(status, if n < 10 { 200 } else { 429 }, "ten a second come back");
    }
}

#[tokio::test]
async fn whoever_names_a_session_that_is_none_is_told_what_is_left() {
    let app = TestApp::with(Settings::default()).await;
    let client = app.agent().await;
    let bearer = client.bearer();
    let headers = [("authorization", bearer.as_str()), ("mcp-session-id", "no-such-session")];
    let company = format!("/mcp/company/{}", client.organization);
    for (path, left) in [("/mcp", 99), (company.as_str(), 98)] {
        let (status, headers, _) = client.exchange(Method::GET, path, &headers, vec![]).await;
        assert_eq!(status, 404, "{path}");
        let told = headers["ratelimit"].to_str().unwrap();
        assert!(told.starts_with(&format!("\"burst\";r={left};")), "{path}: {told}");
    }
}
