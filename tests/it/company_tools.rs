//! A company's routes in the Model Context Protocol: the table's routes and no others, by role, answered as over HTTP.

use docket::http::routes::{self, Effect};
use docket_aggregates::ids::{OrganizationId, OutboxId};
use docket_aggregates::token::Role;
use hyper::Method;
use serde_json::{Value, json};

use crate::mcp::{meta, send_at};
use crate::support::drafts::{Sketch, draft};
use crate::support::{Client, TestApp};
use crate::tools::texts;

/// Tokens that one tool may cost a model, on average.
const TOOL_TOKENS_MAX: usize = 230;
const NOTHING: &str = "0190a0f0-0000-7000-8000-00000000000f";

fn door(organization: OrganizationId) -> String {
    format!("/mcp/company/{organization}")
}

async fn ask(client: &Client, method: &str, mut params: Value) -> Value {
    params["_meta"] = meta(json!({}));
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let (_, _, mut messages) = send_at(client, &door(client.organization), &message, &[]).await;
    messages.pop().expect("an answer")
}

async fn call(client: &Client, tool: &str, arguments: Value) -> Value {
    let answer = ask(client, "tools/call", json!({ "name": tool, "arguments": arguments })).await;
    let result = &answer["result"];
    let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(text, result["structuredContent"], "the text is the same: {answer}");
    result.clone()
}

/// What a tool answered, which must not be a refusal.
async fn done(client: &Client, tool: &str, arguments: Value) -> Value {
    let result = call(client, tool, arguments).await;
    assert_ne!(result["isError"], json!(true), "{tool}: {result}");
    result["structuredContent"].clone()
}

/// The code of a refusal.
async fn code(client: &Client, tool: &str, arguments: Value) -> String {
    let result = call(client, tool, arguments).await;
    assert_eq!(result["isError"], json!(true), "{tool}: {result}");
    result["structuredContent"]["code"].as_str().unwrap().to_owned()
}

fn mail() -> Value {
    json!({
        "channel": "email", "niche": "renovation", "secretRef": "secret://smtp:latest",
        "config": { "fromAddress": "ops@example.com" },
    })
}

#[tokio::test]
async fn a_role_sees_the_routes_that_it_may_call() {
    let app = TestApp::start().await;
    let organization = app.organization().await;
    for role in [Role::SuperAdmin, Role::InstanceAdmin, Role::Board, Role::Agent, Role::Auditor] {
        let client = app.client(role, organization).await;
        let listed = ask(&client, "tools/list", json!({})).await;
        let tools = listed["result"]["tools"].as_array().unwrap();
        let mut seen = texts(&listed["result"]["tools"], "name");
        let mut expected: Vec<String> = routes::all()
            .iter()
            .filter(|route| route.path.starts_with("/api/companies/") && route.roles.contains(&role))
            .filter(|route| {
                let speaks = |kind: &str| kind == "application/json";
                let spec = (route.spec)();
                spec.answers.iter().all(|answer| answer.content.as_ref().is_none_or(|(kind, _)| speaks(kind)))
            })
            .map(|route| route.id.replace("::", "_"))
            .collect();
        seen.sort();
        expected.sort();
        assert_eq!(seen, expected, "{}", role.name());
        for tool in tools {
            let route = routes::all()
                .iter()
                .find(|route| route.id.replace("::", "_") == tool["name"].as_str().unwrap())
                .unwrap();
            let hints = &tool["annotations"];
            assert_eq!(hints["readOnlyHint"], json!(route.effect == Effect::Asks), "{}", route.name);
            let overwrites = matches!(route.method, Method::PATCH | Method::PUT);
            let destructive = route.effect == Effect::TakesAway || overwrites;
            assert_eq!(hints["destructiveHint"], json!(destructive), "{}", route.name);
            assert!(hints["idempotentHint"].is_boolean() && hints["openWorldHint"].is_boolean());
            assert!(jsonschema::validator_for(&tool["inputSchema"]).is_ok(), "{}", route.name);
        }
        let vocabulary = tiktoken_rs::o200k_base().unwrap();
        let tokens = vocabulary.encode_ordinary(&listed["result"].to_string()).len();
        println!("{} tools for {}: {tokens} tokens of o200k_base", tools.len(), role.name());
        assert!(tokens <= TOOL_TOKENS_MAX * tools.len(), "{tokens} for {}", tools.len());
    }
}

#[tokio::test]
async fn a_tool_answers_what_its_route_answers() {
    let app = TestApp::start().await;
    let organization = app.organization().await;
    let board = app.client(Role::Board, organization).await;
    let opened = done(&board, "outboxes_open", mail()).await;
    let outbox: OutboxId = opened["id"].as_str().unwrap().parse().unwrap();
    let (_, over_http) = board.get(&board.crm("outboxes")).await;
    let listed = done(&board, "outboxes_list", json!({})).await;
    assert_eq!(listed, json!({ "items": over_http, "next": null }));
    assert_eq!(over_http, json!([opened]));

    let patch = json!({ "outboxId": outbox, "niche": null, "dailyCap": 7 });
    let changed = done(&board, "outboxes_change", patch).await;
    assert_eq!((&changed["niche"], &changed["dailyCap"]), (&Value::Null, &json!(7)));

    let mut approvals = vec![];
    for _ in 0..3 {
        approvals.push(draft(&app.app, organization, &Sketch::mail(outbox)).await);
    }
    let page = done(&board, "approvals_list", json!({ "status": "pending", "limit": 2 })).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let rest = done(&board, "approvals_list", json!({ "limit": "2", "after": page["next"] })).await;
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
    let asked = approvals[0].approval.unwrap();
    let shown = done(&board, "approvals_show", json!({ "approvalId": asked })).await;
    let answer = json!({ "approvalId": asked, "contentHash": shown["contentHash"] });
    assert_eq!(done(&board, "approvals_approve", answer).await["status"], json!("approved"));

    // A refusal is a result that a model can read, and says what the route says.
    let refused = call(&board, "approvals_show", json!({ "approvalId": NOTHING })).await;
    let (_, over_http) = board.get(&board.crm(&format!("approvals/{NOTHING}"))).await;
    assert_eq!((&refused["isError"], &refused["structuredContent"]), (&json!(true), &over_http));
    for (tool, arguments, expected) in [
        ("approvals_show", json!({}), "VALIDATION_FAILED"),
        ("approvals_show", json!({ "approvalId": "../../events" }), "VALIDATION_FAILED"),
        ("approvals_show", json!({ "approvalId": asked, "surplus": 1 }), "VALIDATION_FAILED"),
        ("approvals_list", json!({ "limit": [1] }), "VALIDATION_FAILED"),
        ("approvals_list", json!({ "status": "late" }), "VALIDATION_FAILED"),
        ("outboxes_open", json!({ "channel": "email" }), "VALIDATION_FAILED"),
        ("approvals_bulk_approve", json!({ "approvalIds": [asked] }), "ROLE_FORBIDDEN"),
        ("approvals_bulk_approve", json!({ "surplus": 1 }), "ROLE_FORBIDDEN"),
    ] {
        assert_eq!(code(&board, tool, arguments.clone()).await, expected, "{tool} {arguments}");
    }
    let unknown = ask(&board, "tools/call", json!({ "name": "organizations_create", "arguments": {} })).await;
    assert_eq!(unknown["error"]["code"], json!(-32602), "{unknown}");
}

#[tokio::test]
async fn a_change_with_a_key_has_its_effect_once_through_either_door() {
    let app = TestApp::start().await;
    let organization = app.organization().await;
    let board = app.client(Role::Board, organization).await;
    let mut arguments = mail();
    arguments["idempotencyKey"] = json!("k-1");
    let first = done(&board, "outboxes_open", arguments.clone()).await;
    assert_eq!(done(&board, "outboxes_open", arguments).await, first);
    let headers = [("content-type", "application/json"), ("idempotency-key", "k-1")];
    let body = mail().to_string().into_bytes();
    let path = board.crm("outboxes");
    assert_eq!(board.send(Method::POST, &path, &headers, body).await.unwrap(), (201, first));
}

#[tokio::test]
async fn a_call_is_noted_under_the_name_of_its_route() {
    let app = TestApp::start().await;
    let board = app.client(Role::Board, app.organization().await).await;
    done(&board, "outboxes_open", mail()).await;
    let pool = app.database.pool();
    crate::support::eventually("the call is noted", async || {
        let noted: Option<(String, bool)> = sqlx::query_as(
            "SELECT outcome, position IS NOT NULL FROM ledger.access_log WHERE organization_id = $1 AND tool = $2",
        )
        .bind(board.organization.uuid())
        .bind("POST /api/companies/{companyId}/crm/outboxes")
        .fetch_optional(&pool)
        .await
        .unwrap();
        noted.filter(|noted| *noted == ("ok".to_owned(), true))
    })
    .await;
}

#[tokio::test]
async fn one_token_may_have_both_doors() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let list =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "_meta": meta(json!({})) } });
    let mut names = vec![];
    for path in ["/mcp".to_owned(), door(client.organization)] {
        let (status, _, messages) = send_at(&client, &path, &list, &[]).await;
        assert_eq!(status, 200, "{path}");
        names.push(texts(&messages[0]["result"]["tools"], "name"));
    }
    assert!(
        names[0].contains(&"list_campaigns".to_owned()) && names[1].contains(&"outboxes_list".to_owned())
    );
    assert!(names[0].iter().all(|name| !names[1].contains(name)), "no tool is behind both");
}

#[tokio::test]
async fn only_who_belongs_to_the_company_is_let_in() {
    let app = TestApp::start().await;
    let (own, other) = (app.organization().await, app.organization().await);
    let list =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "_meta": meta(json!({})) } });
    let agent = app.client(Role::Agent, own).await;
    let viewer = app.client(Role::Viewer, own).await;
    let admin = app.client(Role::InstanceAdmin, own).await;
    let narrow = app.narrowed(own, None, &["list_campaigns"], None).await;
    for (client, path, expected) in [
        (&agent, door(own), (200, Value::Null)),
        (&agent, door(other), (403, json!("OTHER_ORGANIZATION"))),
        (&viewer, door(own), (403, json!("ROLE_FORBIDDEN"))),
        (&narrow, door(own), (403, json!("TOOL_NOT_IN_SCOPE"))),
        (&admin, door(other), (200, Value::Null)),
        (&admin, format!("/mcp/company/{NOTHING}"), (404, json!("ORG_NOT_FOUND"))),
        (&admin, door(OrganizationId::INSTANCE), (404, json!("ORG_NOT_FOUND"))),
        (&admin, "/mcp/company/7".to_owned(), (400, json!("VALIDATION_FAILED"))),
    ] {
        let (status, _, messages) = send_at(client, &path, &list, &[]).await;
        assert_eq!((status, messages[0]["code"].clone()), expected, "{path}");
    }
    let nobody = Client::new(app.address(), String::new(), own);
    let (status, headers, _) = send_at(&nobody, &door(own), &list, &[]).await;
    let challenge = headers["www-authenticate"].to_str().unwrap().to_owned();
    assert_eq!(status, 401);
    let metadata = challenge.split('"').rev().nth(1).unwrap();
    let path = &metadata[metadata.find("/.well-known").unwrap()..];
    let (status, _, body) = nobody.exchange(Method::GET, path, &[], vec![]).await;
    let told: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, 200, "{challenge}");
    assert!(told["resource"].as_str().unwrap().ends_with(&door(own)), "{told}");
}

#[tokio::test]
async fn a_session_of_an_older_revision_gives_no_right() {
    let app = TestApp::start().await;
    let (own, other) = (app.organization().await, app.organization().await);
    let client = app.client(Role::Board, own).await;
    let initialize = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
        },
    });
    let (status, headers, _) = send_at(&client, &door(own), &initialize, &[]).await;
    assert_eq!(status, 200);
    let session = headers["mcp-session-id"].to_str().unwrap();
    let beside = [("mcp-session-id", session), ("mcp-protocol-version", "2025-11-25")];
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(send_at(&client, &door(own), &initialized, &beside).await.0, 202);
    let message = json!({
        "jsonrpc": "2.0", "id": 2, "method": "tools/call",
        "params": { "name": "outboxes_list", "arguments": {} },
    });
    let (status, _, messages) = send_at(&client, &door(own), &message, &beside).await;
    let result = &messages.last().unwrap()["result"]["structuredContent"];
    assert_eq!((status, result), (200, &json!({ "items": [], "next": null })));
    assert_eq!(send_at(&client, &door(other), &message, &beside).await.0, 403);
    let colleague = app.client(Role::Board, own).await;
    assert_eq!(send_at(&colleague, &door(own), &message, &beside).await.0, 404);
}
