//! The tools in the Model Context Protocol: what is told, who is let in, and that an answer is the answer that HTTP gives.

use docket::mcp::INSTRUCTIONS;
use docket::tools::catalog;
use docket_aggregates::token::Role;
use hyper::{HeaderMap, Method};
use serde_json::{Value, json};

use crate::support::process::Spoken;
use crate::support::{Client, TestApp};
use crate::tools::catalog::office_for_examples;
use crate::tools::{LYON, Office, texts};

/// Tokens that the whole list may cost a model, at the contract's 37 tools.
const LIST_TOKENS_MAX: usize = 20_000;
const REMOVE: &str = "bulk_remove_contacts_from_campaign";
const ASSIGN: &str = "bulk_assign_campaign_contacts";

/// What a request of revision 2026-07-28 says of itself.
pub fn meta(capabilities: Value) -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    })
}

/// Sends a message, with headers beside those of the protocol.
async fn send(client: &Client, message: &Value, more: &[(&str, &str)]) -> (u16, HeaderMap, Vec<Value>) {
    send_at(client, "/mcp", message, more).await
}

/// The same at another door.
pub async fn send_at(
    client: &Client,
    path: &str,
    message: &Value,
    more: &[(&str, &str)],
) -> (u16, HeaderMap, Vec<Value>) {
    let bearer = client.bearer();
    let method = message["method"].as_str().unwrap();
    let mut headers = vec![
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    if message["params"]["_meta"].is_object() {
        headers.extend([("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)]);
        if let Some(name) = message["params"]["name"].as_str() {
            headers.push(("mcp-name", name));
        }
    }
    headers.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    headers.extend(more.iter().filter(|(_, value)| !value.is_empty()));
    let body = message.to_string().into_bytes();
    let (status, headers, body) = client.exchange(Method::POST, path, &headers, body).await;
    let text = String::from_utf8(body.to_vec()).unwrap();
    let messages = match serde_json::from_str(&text) {
        Ok(message) => vec![message],
        // A stream of events: each is one message.
        Err(_) => text
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .filter_map(|data| serde_json::from_str(data).ok())
            .collect(),
    };
    (status, headers, messages)
}

/// The result of a request, or its error.
async fn ask(client: &Client, method: &str, mut params: Value, capabilities: Value) -> Value {
    params["_meta"] = meta(capabilities);
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let (_, _, mut messages) = send(client, &message, &[]).await;
    messages.pop().expect("an answer")
}

async fn call(client: &Client, tool: &str, body: Value) -> Value {
    ask(client, "tools/call", json!({ "name": tool, "arguments": body }), json!({})).await
}

/// The envelope of a result, once it is known to be one in both of its forms.
fn envelope(answer: &Value) -> &Value {
    let result = &answer["result"];
    let envelope = &result["structuredContent"];
    let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(text, *envelope, "the text is the same");
    assert_eq!(result["isError"] == json!(true), envelope["success"] == json!(false), "{answer}");
    envelope
}

/// An answer without what differs from call to call.
fn comparable(mut answer: Value) -> Value {
    let meta = answer["meta"].as_object_mut().unwrap();
    for field in ["auditId", "durationMs", "previewToken", "idempotentReplay"] {
        meta.remove(field);
    }
    answer
}

#[tokio::test]
async fn every_example_is_answered_alike_on_both_surfaces() {
    let office = office_for_examples().await;
    let client = &office.client;
    let listed = ask(client, "tools/list", json!({}), json!({})).await;
    let path = format!("/crm/agent/capabilities?organizationId={}", client.organization);
    let (_, capabilities) = client.get(&path).await;
    for tool in capabilities["data"]["tools"].as_array().unwrap() {
        let name = tool["name"].as_str().unwrap();
        let described =
            listed["result"]["tools"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
        let accepts = jsonschema::validator_for(&described["inputSchema"]).unwrap();
        let answers = jsonschema::validator_for(&described["outputSchema"]).unwrap();
        for (n, example) in tool["examples"].as_array().unwrap().iter().enumerate() {
            let mut body = json!({ "input": example["input"] });
            if tool["scoped"] == json!(true) {
                body["organizationId"] = json!(client.organization);
            }
            if tool["mutating"] == json!(true) {
                // What changed something is answered a second time as it was the first time.
                body["requestId"] = format!("{name} {n}").into();
            }
            assert!(accepts.is_valid(&body), "{name}: {body}");
            let over_mcp = call(client, name, body.clone()).await;
            let over_mcp = envelope(&over_mcp);
            assert!(answers.is_valid(over_mcp), "{name}: {over_mcp}");
            assert_eq!(over_mcp["success"], json!(true), "{name} {}: {over_mcp}", example["title"]);
            let (_, over_http) = client.post(&format!("/crm/agent/tools/{name}"), body).await;
            let (mut one, mut other) = (comparable(over_mcp.clone()), comparable(over_http));
            if one["meta"]["dryRun"] == json!(true) {
                // Each preview has ids of its own.
                for answer in [&mut one, &mut other] {
                    *answer = serde_json::from_str(&without_ids(&answer.to_string())).unwrap();
                }
            }
            assert_eq!(one, other, "{name} {}", example["title"]);
        }
    }
}

/// The text with every id of version 7 made the same.
fn without_ids(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('"') {
        let (before, after) = rest.split_at(at + 1);
        out.push_str(before);
        let end = after.find('"').unwrap_or(after.len());
        out.push_str(if uuid::Uuid::try_parse(&after[..end]).is_ok() { "id" } else { &after[..end] });
        rest = &after[end..];
        if !rest.is_empty() {
            out.push('"');
            rest = &rest[1..];
        }
    }
    out + rest
}

#[tokio::test]
async fn a_refusal_is_the_same_on_both_surfaces() {
    let office = Office::empty().await;
    let client = &office.client;
    let own = client.organization;
    let nobody = "0190a0f0-0000-7000-8000-00000000000f";
    for (tool, body) in [
        ("list_campaigns", json!({})),
        ("list_campaigns", json!({ "organizationId": own })),
        ("list_campaigns", json!({ "organizationId": own, "input": [] })),
        ("list_campaigns", json!({ "organizationId": own, "input": { "limit": "10" } })),
        ("list_campaigns", json!({ "organizationId": own, "input": { "limt": 1 } })),
        ("list_campaigns", json!({ "organizationId": own, "input": {}, "surplus": 1 })),
        ("list_campaigns", json!({ "organizationId": "no id!", "input": {} })),
        ("list_campaigns", json!({ "organizationId": nobody, "input": {} })),
        ("list_campaigns", json!({ "organizationId": own, "input": { "search": "a\u{0}b" } })),
        (
            "list_campaigns",
            json!({ "organizationId": own, "input": { "minPosition": 9_007_199_254_740_993_i64 } }),
        ),
        ("get_campaign", json!({ "organizationId": own, "input": { "campaignId": nobody } })),
        (
            REMOVE,
            json!({ "organizationId": own, "input": { "campaignId": nobody, "filter": {}, "dryRun": false } }),
        ),
    ] {
        let over_mcp = call(client, tool, body.clone()).await;
        let over_mcp = envelope(&over_mcp).clone();
        let (status, over_http) = client.post(&format!("/crm/agent/tools/{tool}"), body.clone()).await;
        assert!(status >= 400 && over_mcp["success"] == json!(false), "{tool} {body}: {over_mcp}");
        assert_eq!(comparable(over_mcp), comparable(over_http), "{tool} {body}");
    }
}

#[tokio::test]
async fn a_script_may_be_as_deep_on_both_surfaces() {
    let office = Office::empty().await;
    let own = office.client.organization;
    for (depth, accepted) in [(9, true), (20, true), (21, false)] {
        let mut step = json!({ "id": format!("n{depth}"), "type": "question", "text": "And then?" });
        for level in (1..depth).rev() {
            let branch = json!({ "label": "Oui", "steps": [step] });
            step = json!({ "id": format!("n{level}"), "type": "yesno", "text": "And then?", "branches": [branch] });
        }
        let script = json!({ "name": format!("Deep {depth}"), "steps": [step] });
        for (tool, input) in [
            ("create_script_template", script.clone()),
            ("import_script_templates", json!({ "templates": [script] })),
        ] {
            let body = json!({ "organizationId": own, "input": input });
            let over_mcp = call(&office.client, tool, body.clone()).await;
            let over_mcp = envelope(&over_mcp);
            let (status, over_http) = office.client.post(&format!("/crm/agent/tools/{tool}"), body).await;
            assert_eq!(over_mcp["success"], json!(accepted), "{tool} {depth}: {over_mcp}");
            assert_eq!(status == 200, accepted, "{tool} {depth}: {over_http}");
            assert_eq!(over_mcp["meta"]["errorCode"], over_http["meta"]["errorCode"], "{tool} {depth}");
        }
    }
}

#[tokio::test]
async fn bytes_that_are_no_message_and_calls_that_are_none_are_told_apart() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let bearer = client.bearer();
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "list_campaigns"),
    ];
    let call = |params: Value| {
        json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params }).to_string()
    };
    let meta = meta(json!({}));
    let twice = call(json!({ "name": "list_campaigns", "arguments": { "input": {}, "organizationId": "a" }, "_meta": meta }))
        .replace("\"organizationId\":\"a\"", "\"organizationId\":\"a\",\"organizationId\":\"b\"");
    for (message, code, id) in [
        ("{".to_owned(), -32700, Value::Null),
        (twice, -32700, json!(7)),
        (call(json!({ "name": "list_campaigns", "arguments": [], "_meta": meta })), -32602, json!(7)),
        (call(json!({ "arguments": {}, "_meta": meta })), -32602, json!(7)),
    ] {
        let (status, _, body) =
            client.exchange(Method::POST, "/mcp", &headers, message.clone().into_bytes()).await;
        let told: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (status, &told["error"]["code"], &told["id"]),
            (400, &json!(code), &id),
            "{message}: {told}"
        );
    }
}

#[tokio::test]
async fn what_is_no_message_is_answered_alike_at_both_doors_and_the_conversation_goes_on() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let bearer = client.bearer();
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    let token = app.token(Role::SuperAdmin, Some(client.organization)).await;
    let mut spoken = Spoken::begin(&app.database, &token, json!({}), &[]).await;
    let call = |arguments: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"list_campaigns","arguments":{arguments}}}}}"#
        )
    };
    let deep = format!(r#"{{"input":{}{}}}"#, "[".repeat(500), "]".repeat(500));
    let long = format!(r#"{{"input":"{}"}}"#, "x".repeat(1 << 20));
    for (line, status, code, rule, says) in [
        (b"no JSON".to_vec(), 400, -32700, "MALFORMED_JSON", "line 1, column 2"),
        (b"\"\xff\"".to_vec(), 400, -32700, "NOT_UTF8", "UTF-8"),
        (call("{\"a\":\"\u{0}\"}").into_bytes(), 400, -32700, "MALFORMED_JSON", "line 1"),
        (call(r#"{"a":1,"a":2}"#).into_bytes(), 400, -32700, "DUPLICATE_KEY", "params.arguments.a"),
        (call(r#"{"a":"\u0000","a":2}"#).into_bytes(), 400, -32700, "DUPLICATE_KEY", "arguments.a"),
        (call(&deep).into_bytes(), 400, -32700, "TOO_DEEP", "levels"),
        (call(&long).into_bytes(), 413, -32700, "BODY_TOO_LARGE", "1048576 bytes"),
        (format!("[{}]", call("{}")).into_bytes(), 400, -32600, "", "must be an object"),
        (br#"{"id":7,"method":"ping"}"#.to_vec(), 400, -32600, "", "jsonrpc"),
        (br#"{"jsonrpc":"2.0","id":7}"#.to_vec(), 400, -32600, "", "must have a method"),
        (call("[]").into_bytes(), 400, -32602, "", "params.arguments must be an object"),
    ] {
        let shown = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
        spoken.say_line(&line).await;
        let told = spoken.hear().await;
        let error = &told["error"];
        assert_eq!(error["code"], json!(code), "{shown}: {told}");
        assert_eq!(error["data"]["errorCode"].as_str().unwrap_or(""), rule, "{shown}: {told}");
        assert!(error["message"].as_str().unwrap().contains(says), "{shown}: {told}");
        let (answered, _, over_http) = client.exchange(Method::POST, "/mcp", &headers, line).await;
        let over_http: Value = serde_json::from_slice(&over_http).unwrap();
        assert_eq!((answered, over_http), (status, told), "{shown}");
    }
    // What a model can mend is a result, and a notification that nobody knows is nobody's.
    spoken.say_line(call(r#"{"organizationId":"a","input":{"search":"\u0000"}}"#).as_bytes()).await;
    let told = spoken.hear().await;
    assert_eq!(envelope(&told)["meta"]["errorCode"], json!("CONTROL_CHARACTER"), "{told}");
    spoken.say(json!({ "method": "notifications/of_somebody_else" })).await;
    spoken.say(json!({ "id": 9, "method": "tools/list" })).await;
    let listed = spoken.hear().await;
    assert_eq!((&listed["id"], listed["result"]["tools"].is_array()), (&json!(9), true), "{listed}");
}

#[tokio::test]
async fn a_tool_that_does_not_exist_is_the_clients_mistake() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    for tool in ["no_such_tool", "list_campaign", ""] {
        let answer = call(&client, tool, json!({})).await;
        assert_eq!(answer["error"]["code"], json!(-32602), "{tool}: {answer}");
        // Nor does it become one by the state of a question that was never put.
        let params = json!({ "name": tool, "arguments": {}, "requestState": "prv_of_nothing" });
        let answer = ask(&client, "tools/call", params, json!({ "elicitation": {} })).await;
        assert_eq!(answer["error"]["code"], json!(-32602), "{tool}: {answer}");
    }
    let answer = ask(&client, "tools/steal", json!({}), json!({})).await;
    assert_eq!(answer["error"]["code"], json!(-32601), "{answer}");
    // What nobody knows is told back, and not all of it, at either door.
    let long = "x".repeat(100_000);
    let company = format!("/mcp/company/{}", client.organization);
    let board = app.client(Role::Board, client.organization).await;
    for (client, door) in [(&client, "/mcp"), (&board, company.as_str())] {
        for (method, params, code) in [
            (long.as_str(), json!({}), -32601),
            ("tools/call", json!({ "name": long, "arguments": {} }), -32602),
            ("initialize", json!({ "protocolVersion": long }), -32602),
        ] {
            let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
            let (status, _, messages) = send_at(client, door, &message, &[]).await;
            let told = &messages[0];
            assert_eq!((status, &told["error"]["code"]), (400, &json!(code)), "{door}");
            assert!(told.to_string().len() < 500, "{door}: {told}");
        }
    }
}

#[tokio::test]
async fn what_is_listed_is_the_catalog_and_fits_a_context() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let first = ask(&client, "tools/list", json!({}), json!({})).await;
    let again = ask(&client, "tools/list", json!({}), json!({})).await;
    assert_eq!(first["result"]["tools"], again["result"]["tools"]);
    let tools = first["result"]["tools"].as_array().unwrap();
    let names: Vec<&str> = catalog().iter().map(|tool| tool.name).collect();
    assert_eq!(texts(&first["result"]["tools"], "name"), names);
    for tool in tools {
        for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(tool["annotations"][hint].is_boolean(), "{}: {hint}", tool["name"]);
        }
    }
    let vocabulary = tiktoken_rs::o200k_base().unwrap();
    let count = |text: &str| vocabulary.encode_ordinary(text).len();
    let (list, told) = (count(&first["result"].to_string()), count(INSTRUCTIONS));
    println!("tools/list of {} tools: {list} tokens of o200k_base, instructions {told}", tools.len());
    assert!(list + told <= LIST_TOKENS_MAX * tools.len() / 37, "{list} + {told}");
}

#[tokio::test]
async fn only_who_may_call_the_tools_is_let_in() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let list = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "_meta": meta(json!({})) },
    });
    for role in [Role::InstanceAdmin, Role::Board, Role::Agent, Role::Auditor, Role::Viewer] {
        let outsider = app.client(role, client.organization).await;
        let (status, headers, answers) = send(&outsider, &list, &[]).await;
        assert_eq!((status, &answers[0]["meta"]["errorCode"]), (403, &json!("NOT_SUPER_ADMIN")));
        assert!(headers["www-authenticate"].to_str().unwrap().contains("insufficient_scope"));
    }
    let foreign = [("origin", "https://elsewhere.example")];
    let rebound = [("host", "elsewhere.example")];
    let nobody = [("authorization", "")];
    let stranger = [("authorization", "Bearer dkt_x_y")];
    let own = [("origin", "http://localhost:3000")];
    for (headers, expected) in
        [(&foreign, 403), (&rebound, 403), (&nobody, 401), (&stranger, 401), (&own, 200)]
    {
        let (status, answered, _) = send(&client, &list, headers).await;
        assert_eq!(status, expected, "{headers:?}");
        if status == 401 {
            let challenge = answered["www-authenticate"].to_str().unwrap();
            assert!(challenge.contains("resource_metadata=\"http://127.0.0.1:"), "{challenge}");
        }
    }
    let mut huge = list.clone();
    huge["params"]["padding"] = "x".repeat(1 << 20).into();
    assert_eq!(send(&client, &huge, &[]).await.0, 413);
    for path in ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"] {
        let (status, _, body) = client.exchange(Method::GET, path, &[], vec![]).await;
        let metadata: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(status, 200);
        assert!(metadata["resource"].as_str().unwrap().ends_with("/mcp"), "{metadata}");
    }
}

#[tokio::test]
async fn a_narrowed_token_sees_and_calls_its_tools_alone() {
    let app = TestApp::start().await;
    let organization = app.organization().await;
    let narrow = app.narrowed(organization, None, &["list_campaigns"], None).await;
    let listed = ask(&narrow, "tools/list", json!({}), json!({})).await;
    assert_eq!(texts(&listed["result"]["tools"], "name"), ["list_campaigns"]);
    assert_eq!(listed["result"]["cacheScope"], json!("private"));
    let body = json!({ "organizationId": organization, "input": {} });
    let refused = call(&narrow, "list_outbound_agents", body).await;
    assert_eq!(envelope(&refused)["meta"]["errorCode"], json!("TOOL_NOT_IN_SCOPE"));
}

#[tokio::test]
async fn a_person_is_asked_before_anything_is_taken_away() {
    let office = Office::open().await;
    let (campaign, _) = office.lyon("Spring").await;
    let client = &office.client;
    let body = json!({
        "organizationId": client.organization, "input": { "campaignId": campaign, "filter": {} },
    });
    let able = json!({ "elicitation": {} });
    let before = office.events().await;
    let params = json!({ "name": REMOVE, "arguments": body });
    let asked = ask(client, "tools/call", params.clone(), able.clone()).await;
    let question = &asked["result"];
    assert_eq!(question["resultType"], json!("input_required"), "{asked}");
    let message = question["inputRequests"]["confirm"]["params"]["message"].as_str().unwrap();
    let expected = format!("Take {LYON} contacts out of the campaign “Spring”?");
    assert!(message.starts_with(&expected), "{message}");
    assert_eq!(office.events().await, before);

    let answering = |said: Value| {
        let mut params = params.clone();
        params["requestState"] = question["requestState"].clone();
        params["inputResponses"] = json!({ "confirm": said });
        params
    };
    for said in
        [json!({ "action": "decline" }), json!({ "action": "accept", "content": { "confirm": false } })]
    {
        let told = ask(client, "tools/call", answering(said), able.clone()).await;
        let told = envelope(&told);
        assert_eq!(told["data"]["dryRun"], json!(true), "{told}");
        assert!(texts(&told["meta"]["warnings"], "code").contains(&"NOT_CONFIRMED".to_owned()));
        assert_eq!(office.events().await, before);
    }
    let yes = answering(json!({ "action": "accept", "content": { "confirm": true } }));
    let told = ask(client, "tools/call", yes.clone(), able.clone()).await;
    assert_eq!(envelope(&told)["data"]["applied"], json!(LYON), "{told}");
    let again = ask(client, "tools/call", yes, able.clone()).await;
    assert_eq!(envelope(&again)["meta"]["idempotentReplay"], json!(true), "a yes counts once");

    let mut forged = answering(json!({ "action": "accept", "content": { "confirm": true } }));
    forged["requestState"] = "prv_of_somebody_else".into();
    let refused = ask(client, "tools/call", forged, able).await;
    assert_eq!(envelope(&refused)["meta"]["errorCode"], json!("PREVIEW_EXPIRED"));
}

#[tokio::test]
async fn a_person_is_not_asked_again_about_what_is_done() {
    let office = Office::open().await;
    let (campaign, contacts) = office.lyon("Spring").await;
    let client = &office.client;
    let able = json!({ "elicitation": {} });
    let params = |contact: &str| {
        let input = json!({ "campaignId": campaign, "contactIds": [contact] });
        let body = json!({ "organizationId": client.organization, "input": input, "requestId": "once" });
        json!({ "name": REMOVE, "arguments": body })
    };
    let asked = ask(client, "tools/call", params(&contacts[0]), able.clone()).await;
    let mut yes = params(&contacts[0]);
    yes["requestState"] = asked["result"]["requestState"].clone();
    yes["inputResponses"] = json!({ "confirm": { "action": "accept", "content": { "confirm": true } } });
    let done = ask(client, "tools/call", yes, able.clone()).await;
    let done = envelope(&done);
    assert_eq!(done["data"]["applied"], json!(1), "{done}");
    let before = office.events().await;
    let again = ask(client, "tools/call", params(&contacts[0]), able.clone()).await;
    let again = envelope(&again);
    assert_eq!((&again["data"], &again["meta"]["auditId"]), (&done["data"], &done["meta"]["auditId"]));
    assert_eq!((&again["meta"]["idempotentReplay"], &again["meta"]["dryRun"]), (&json!(true), &json!(false)));
    let other = ask(client, "tools/call", params(&contacts[1]), able).await;
    assert_eq!(envelope(&other)["meta"]["errorCode"], json!("IDEMPOTENCY_CONFLICT"), "nobody is asked");
    assert_eq!(office.events().await, before);
}

#[tokio::test]
async fn who_does_not_confirm_is_shown_what_would_happen_now() {
    let office = Office::open().await;
    let (campaign, contacts) = office.lyon("Spring").await;
    let client = &office.client;
    let able = json!({ "elicitation": {} });
    let input = json!({ "campaignId": campaign, "contactIds": contacts[..2] });
    let body = json!({ "organizationId": client.organization, "input": input });
    let params = json!({ "name": REMOVE, "arguments": body });
    let asked = ask(client, "tools/call", params.clone(), able.clone()).await;
    let remove = json!({ "campaignId": campaign, "contactIds": contacts[..1], "confirm": true });
    client.done(REMOVE, remove).await;
    let before = office.events().await;
    let mut no = params;
    no["requestState"] = asked["result"]["requestState"].clone();
    no["inputResponses"] = json!({ "confirm": { "action": "decline" } });
    let told = ask(client, "tools/call", no, able).await;
    let told = envelope(&told);
    assert_eq!((&told["data"]["dryRun"], &told["data"]["applied"]), (&json!(true), &json!(1)), "{told}");
    assert_eq!(texts(&told["meta"]["warnings"], "code"), ["NOT_CONFIRMED"]);
    assert_eq!(office.events().await, before);
}

#[tokio::test]
async fn a_state_that_belongs_to_no_question_is_the_clients_mistake() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let body = json!({ "organizationId": client.organization, "input": {} });
    for (tool, state) in [("list_campaigns", "x"), (REMOVE, ""), ("create_outbound_campaign", "x")] {
        let params = json!({ "name": tool, "arguments": body, "requestState": state });
        let answer = ask(&client, "tools/call", params, json!({})).await;
        assert_eq!(answer["error"]["code"], json!(-32602), "{tool}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("requestState"), "{answer}");
    }
}

#[tokio::test]
async fn a_cursor_to_tools_that_nobody_gave_is_refused() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let answer = ask(&client, "tools/list", json!({ "cursor": "zzz" }), json!({})).await;
    assert_eq!(answer["error"]["code"], json!(-32602), "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("cursor"), "{answer}");
}

#[tokio::test]
async fn the_metadata_names_no_host_that_a_stranger_made_up() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let path = "/.well-known/oauth-protected-resource";
    for (host, resource) in [
        ("localhost:8700", "http://localhost:8700/mcp"),
        ("[::1]:8700", "http://[::1]:8700/mcp"),
        ("evil.example", "http://localhost/mcp"),
        ("localhost@evil.example", "http://localhost/mcp"),
    ] {
        let (status, told) = client.send(hyper::Method::GET, path, &[("host", host)], vec![]).await.unwrap();
        assert_eq!((status, &told["resource"]), (200, &json!(resource)), "{host}");
    }
}

#[tokio::test]
async fn what_the_door_refuses_is_refused_in_json() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    for (changed, status, code) in [
        (("origin", "https://evil.example"), 403, "ORIGIN_FORBIDDEN"),
        (("host", "evil.example"), 403, "ORIGIN_FORBIDDEN"),
        (("accept", "text/html"), 406, "NOT_ACCEPTABLE"),
        (("content-type", "text/plain"), 415, "NOT_JSON"),
        (("mcp-session-id", "no-such-session"), 404, "SESSION_NOT_FOUND"),
    ] {
        let (told, headers, messages) = send(&client, &ping, &[changed]).await;
        assert_eq!(told, status, "{changed:?}");
        assert_eq!(headers["content-type"], "application/json", "{changed:?}");
        let refused = &messages[0];
        assert_eq!(refused["code"], json!(code), "{refused}");
        assert!(refused["error"].as_str().is_some_and(|words| !words.is_empty()), "{refused}");
    }
}

#[tokio::test]
async fn a_method_that_the_protocol_does_not_have_is_told_those_that_it_has() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let bearer = client.bearer();
    let company = format!("/mcp/company/{}", client.organization);
    let others = [Method::PUT, Method::PATCH, Method::HEAD, Method::OPTIONS];
    // A revision without sessions has messages alone: there is nothing to listen to or to end.
    for (revision, methods, allowed) in [
        ("2025-11-25", &others[..], "GET, POST, DELETE"),
        ("2026-07-28", &others[..], "POST"),
        ("2026-07-28", &[Method::GET, Method::DELETE][..], "POST"),
    ] {
        for (path, method) in
            ["/mcp", &company].into_iter().flat_map(|path| methods.iter().map(move |m| (path, m)))
        {
            let headers = [
                ("authorization", bearer.as_str()),
                ("accept", "text/event-stream"),
                ("mcp-protocol-version", revision),
            ];
            let (status, headers, body) = client.exchange(method.clone(), path, &headers, vec![]).await;
            assert_eq!(
                (status, &headers["allow"]),
                (405, &allowed.parse().unwrap()),
                "{method} {path} {revision}"
            );
            if method != Method::HEAD {
                let told: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(told["code"], json!("METHOD_NOT_ALLOWED"), "{method} {path}: {told}");
            }
        }
    }
    // As at the other routes, that comes before the token.
    for method in others {
        let (status, headers, _) = client.exchange(method.clone(), "/mcp", &[], vec![]).await;
        assert_eq!((status, &headers["allow"]), (405, &"GET, POST, DELETE".parse().unwrap()), "{method}");
    }
}

#[tokio::test]
async fn a_question_names_what_it_is_about_and_is_put_where_a_yes_would_count() {
    let office = Office::open().await;
    let (campaign, contacts) = office.lyon("Spring").await;
    let client = &office.client;
    let steps = json!([{ "id": "hello", "type": "question", "text": "Hello?" }]);
    let script = client.done("create_script_template", json!({ "name": "Heating", "steps": steps })).await;
    let script = script["template"]["templateId"].clone();
    let attach = json!({ "campaignId": campaign, "scriptTemplateId": script });
    client.done("attach_campaign_templates", attach).await;
    let agents = client.done("list_outbound_agents", json!({})).await;
    let ada = agents["agents"].as_array().unwrap().iter().find(|agent| agent["name"] == "ada").unwrap();
    let able = json!({ "elicitation": {} });
    let put = async |client: &Client, tool: &str, input: &Value| {
        let body = json!({ "organizationId": client.organization, "input": input });
        ask(client, "tools/call", json!({ "name": tool, "arguments": body }), able.clone()).await
    };
    let assign = json!({ "campaignId": campaign, "agentIds": [ada["agentId"]], "contactIds": contacts[..2] });
    let delete = json!({ "templateId": script, "force": true });
    for (tool, input, words) in [
        (ASSIGN, &assign, vec!["Assign 2 contacts of the campaign “Spring” to “ada” (2)?"]),
        (
            "delete_script_template",
            &delete,
            vec!["Delete the call script “Heating”?", "“Spring”", "restored"],
        ),
    ] {
        let asked = put(client, tool, input).await;
        let message = asked["result"]["inputRequests"]["confirm"]["params"]["message"].as_str().unwrap();
        for word in words {
            assert!(message.contains(word), "{tool}: {message}");
        }
    }

    // Nothing would change, or the token may not change it: there is nothing to say yes to.
    let other = office.campaign("Autumn").await;
    let nothing = put(client, REMOVE, &json!({ "campaignId": other, "filter": {} })).await;
    assert_eq!(envelope(&nothing)["data"]["applied"], json!(0), "{nothing}");
    let narrow = office.app.narrowed(client.organization, None, &[], Some(1)).await;
    let refused = put(&narrow, ASSIGN, &assign).await;
    assert_eq!(envelope(&refused)["meta"]["errorCode"], json!("TOO_MANY_AFFECTED"), "{refused}");
}

#[tokio::test]
async fn a_bulk_call_tells_how_far_it_has_come() {
    let office = Office::open().await;
    let campaign = office.campaign("Spring").await;
    let client = &office.client;
    let mut meta = meta(json!({}));
    meta["progressToken"] = "p".into();
    let input = json!({ "campaignId": campaign, "filter": { "source": "crm", "city": "Lyon" } });
    let message = json!({
        "jsonrpc": "2.0", "id": 7, "method": "tools/call",
        "params": {
            "name": "bulk_add_contacts_to_campaign_by_filter",
            "arguments": { "organizationId": client.organization, "input": input },
            "_meta": meta,
        },
    });
    let (_, _, messages) = send(client, &message, &[]).await;
    let progress: Vec<f64> = messages
        .iter()
        .filter(|message| message["method"] == "notifications/progress")
        .map(|message| message["params"]["progress"].as_f64().unwrap())
        .collect();
    assert_eq!(progress, [1.0, 2.0, 3.0], "{messages:?}");
    assert_eq!(envelope(messages.last().unwrap())["data"]["applied"], json!(LYON));
}

#[tokio::test]
async fn progress_only_ever_increases_within_one_request() {
    let office = Office::open().await;
    let (campaign, _) = office.lyon("Spring").await;
    let organization = office.client.organization;
    let token = office.app.token(Role::SuperAdmin, Some(organization)).await;
    let able = json!({ "elicitation": {} });
    let mut spoken = Spoken::begin(&office.app.database, &token, able, &[]).await;
    let body = json!({ "organizationId": organization, "input": { "campaignId": campaign, "filter": {} } });
    let params = json!({ "name": REMOVE, "arguments": body, "_meta": { "progressToken": "p" } });
    spoken.say(json!({ "id": 1, "method": "tools/call", "params": params })).await;
    let (mut progress, mut asked) = (Vec::new(), 0);
    let answer = loop {
        let message = spoken.hear().await;
        if message["method"] == "notifications/progress" {
            progress.push(message["params"]["progress"].as_f64().unwrap());
        } else if message["method"] == "elicitation/create" {
            asked += 1;
            let yes = json!({ "action": "accept", "content": { "confirm": true } });
            spoken.say(json!({ "id": message["id"], "result": yes })).await;
        } else if message["id"] == 1 {
            break message;
        }
    };
    assert_eq!(envelope(&answer)["data"]["applied"], json!(LYON), "{answer}");
    assert_eq!(asked, 1);
    assert_eq!(progress, [1.0, 3.0, 4.0, 5.0, 6.0]);
}

#[tokio::test]
async fn a_token_has_its_allowance_over_standard_input_too() {
    let app = TestApp::start().await;
    let organization = app.organization().await;
    let token = app.token(Role::SuperAdmin, Some(organization)).await;
    let settings = [("DOCKET_RATE_LIMIT", "1/3")];
    let mut spoken = Spoken::begin(&app.database, &token, json!({}), &settings).await;
    let body = json!({ "organizationId": organization, "input": {} });
    let mut codes = Vec::new();
    for id in 1..=4 {
        let params = json!({ "name": "list_outbound_agents", "arguments": body });
        spoken.say(json!({ "id": id, "method": "tools/call", "params": params })).await;
        let answer = spoken.hear().await;
        codes.push(envelope(&answer)["meta"]["errorCode"].as_str().unwrap_or_default().to_owned());
    }
    assert_eq!(codes, ["", "", "", "RATE_LIMITED"]);
    spoken.say(json!({ "id": 5, "method": "tools/list" })).await;
    assert_eq!(spoken.hear().await["error"]["code"], json!(-32600), "a list is a request, too");
}

#[tokio::test]
async fn a_session_belongs_to_who_began_it() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let initialize = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
        },
    });
    let mut half = initialize.clone();
    half["params"].as_object_mut().unwrap().remove("clientInfo");
    let (status, _, messages) = send(&client, &half, &[]).await;
    let told = &messages[0];
    assert_eq!((status, &told["error"]["code"], &told["id"]), (400, &json!(-32602), &json!(1)), "{told}");
    let (status, headers, messages) = send(&client, &initialize, &[]).await;
    let begun = messages.last().unwrap();
    assert_eq!((status, &begun["result"]["protocolVersion"]), (200, &json!("2025-11-25")), "{begun}");
    let session = headers["mcp-session-id"].to_str().unwrap();
    let beside = [("mcp-session-id", session), ("mcp-protocol-version", "2025-11-25")];
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(send(&client, &initialized, &beside).await.0, 202);
    let list = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" });
    let (status, _, messages) = send(&client, &list, &beside).await;
    assert_eq!(status, 200);
    assert!(messages.last().unwrap()["result"]["tools"].is_array());
    let other = app.client(Role::SuperAdmin, client.organization).await;
    assert_eq!(send(&other, &list, &beside).await.0, 404, "a session is no pass");
    // It is begun once; whoever begins anew begins another one, and this one goes on.
    let (status, _, messages) = send(&client, &initialize, &beside).await;
    let told = &messages[0];
    assert_eq!((status, &told["error"]["code"], &told["id"]), (400, &json!(-32600), &json!(1)), "{told}");
    assert_eq!(send(&client, &list, &beside).await.0, 200);
    let (status, headers, _) = send(&client, &initialize, &[]).await;
    assert!(status == 200 && headers["mcp-session-id"] != session, "another one");
}

#[tokio::test]
async fn a_call_is_noted_like_one_over_http() {
    let office = Office::empty().await;
    let body = json!({ "organizationId": office.client.organization, "input": { "name": "Spring" } });
    let answer = call(&office.client, "create_outbound_campaign", body).await;
    let audit_id: uuid::Uuid = envelope(&answer)["meta"]["auditId"].as_str().unwrap().parse().unwrap();
    let pool = office.app.database.pool();
    crate::support::eventually("the call is noted", async || {
        let outcome: Option<String> =
            sqlx::query_scalar("SELECT outcome FROM ledger.access_log WHERE audit_id = $1 AND tool = $2")
                .bind(audit_id)
                .bind("create_outbound_campaign")
                .fetch_optional(&pool)
                .await
                .unwrap();
        outcome.filter(|outcome| outcome == "ok")
    })
    .await;
}
