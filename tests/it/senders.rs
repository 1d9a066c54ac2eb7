//! What is set up before anything is sent: senders, rules, lists, pieces, pauses.

use std::time::Instant;

use docket::dispatcher::CALLS_BEGIN_WITHIN;
use docket_aggregates::claims::ClaimKey;
use docket_aggregates::token::Role;
use futures::future::join_all;
use hyper::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Client, TestApp};

const JSON: (&str, &str) = ("content-type", "application/json");
const NOTHING: &str = "0190a0f0-0000-7000-8000-00000000000f";

async fn ask(client: &Client, method: Method, path: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { vec![] } else { body.to_string().into_bytes() };
    client.send(method, &client.crm(path), &[JSON], body).await.unwrap()
}

async fn post(client: &Client, path: &str, body: Value) -> (u16, Value) {
    ask(client, Method::POST, path, body).await
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn refused(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or_default())
}

fn mail(secret: &str) -> Value {
    json!({
        "channel": "email", "niche": "renovation", "secretRef": format!("secret://{secret}:latest"),
        "config": { "fromAddress": "ops@example.com" },
    })
}

async fn positions(client: &Client) -> usize {
    client.get(&client.crm("events?limit=1000")).await.1.as_array().unwrap().len()
}

#[tokio::test]
async fn an_outbox_is_opened_changed_and_deleted() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let (status, opened) = post(&client, "outboxes", mail("smtp")).await;
    assert_eq!(status, 201, "{opened}");
    assert_eq!(
        (&opened["secretRef"], &opened["dailyCap"], &opened["timeZone"], &opened["usedToday"]),
        (&json!("secret://smtp:latest"), &Value::Null, &json!("UTC"), &json!(0))
    );
    let path = format!("outboxes/{}", text(&opened["id"]));

    let patch = json!({ "niche": null, "config": { "fromAddress": "news@example.com" } });
    let (status, changed) = ask(&client, Method::PATCH, &path, patch).await;
    assert_eq!(status, 200, "{changed}");
    assert_eq!(
        (&changed["niche"], &changed["config"]["fromAddress"]),
        (&Value::Null, &json!("news@example.com"))
    );
    assert_eq!(ask(&client, Method::GET, "outboxes", Value::Null).await.1, json!([changed]));

    let (status, deleted) = ask(&client, Method::DELETE, &path, Value::Null).await;
    assert_eq!((status, deleted["deletedAt"].is_string()), (200, true));
    assert_eq!(ask(&client, Method::GET, "outboxes", Value::Null).await.1, json!([]));
    for (method, body) in [(Method::DELETE, Value::Null), (Method::PATCH, json!({ "niche": null }))] {
        let answer = ask(&client, method, &path, body).await;
        assert_eq!(refused(&answer), (404, "OUTBOX_NOT_FOUND"));
    }
}

#[tokio::test]
async fn a_cap_belongs_to_the_secret() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let mut first = mail("smtp");
    first["dailyCap"] = json!(100);
    first["timeZone"] = json!("Europe/Paris");
    assert_eq!(post(&client, "outboxes", first).await.0, 201);
    let (_, second) = post(&client, "outboxes", mail("smtp")).await;
    assert_eq!((&second["dailyCap"], &second["timeZone"]), (&json!(100), &json!("Europe/Paris")));
    let (_, other) = post(&client, "outboxes", mail("another")).await;
    assert_eq!(other["dailyCap"], Value::Null);

    let path = format!("outboxes/{}", text(&second["id"]));
    ask(&client, Method::PATCH, &path, json!({ "dailyCap": 50 })).await;
    let (_, all) = ask(&client, Method::GET, "outboxes", Value::Null).await;
    // Opened in the same millisecond, they are listed in any order.
    let caps = |all: &Value| -> Vec<(String, Value)> {
        let of = |outbox: &Value| (text(&outbox["secretRef"]), outbox["dailyCap"].clone());
        let mut caps: Vec<_> = all.as_array().unwrap().iter().map(of).collect();
        caps.sort_by(|one, other| one.0.cmp(&other.0));
        caps
    };
    let of = |secret: &str, cap: Value| (format!("secret://{secret}:latest"), cap);
    assert_eq!(caps(&all), [of("another", Value::Null), of("smtp", json!(50)), of("smtp", json!(50))]);
    ask(&client, Method::PATCH, &path, json!({ "dailyCap": null })).await;
    let (_, all) = ask(&client, Method::GET, "outboxes", Value::Null).await;
    assert!(caps(&all).iter().all(|(_, cap)| cap.is_null()), "{all}");
}

#[tokio::test]
async fn what_is_no_outbox_is_refused_and_a_secret_never_told_back() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let with = |field: &str, value: Value| {
        let mut body = mail("smtp");
        body[field] = value;
        body
    };
    let key = "re_CanaryCanaryCanary123";
    for body in [
        with("channel", json!("dry-run")),
        with("channel", json!("sms")),
        with("niche", json!("Not a slug")),
        with("secretRef", json!(key)),
        with("secretRef", json!("secret://smtp:0")),
        with("secretRef", json!(format!("secret://{key}:latest"))),
        with(
            "config",
            json!({ "fromAddress": "ops@example.com", "webhookSecretRef": format!("secret://{key}:1") }),
        ),
        with("config", json!({})),
        with("config", json!({ "fromAddress": "ops@example.com", "apiKey": key })),
        with("config", json!({ "fromAddress": "ops@example.com", "note": key })),
        with("dailyCap", json!(-1)),
        with("dailyCap", json!("5")),
        with("timeZone", json!("Europe/Lutetia")),
        with("surplus", json!(1)),
    ] {
        let answer = post(&client, "outboxes", body.clone()).await;
        assert_eq!(refused(&answer), (400, "VALIDATION_FAILED"), "{body} {}", answer.1);
        assert!(!answer.1.to_string().contains(key), "{}", answer.1);
    }
    let path = format!("/api/companies/{}/secrets/{key}", client.organization);
    let headers = [("content-type", "application/json")];
    let stored = client.send(Method::PUT, &path, &headers, br#"{"value":"x"}"#.to_vec()).await.unwrap();
    assert_eq!(refused(&stored), (400, "VALIDATION_FAILED"));
    assert!(!stored.1.to_string().contains(key), "{}", stored.1);
    let rule = json!({ "predicate": {}, "action": "queue_for_manual", "priority": "1" });
    assert_eq!(refused(&post(&client, "approval-rules", rule).await), (400, "VALIDATION_FAILED"));
    let (_, opened) = post(&client, "outboxes", mail("smtp")).await;
    let path = format!("outboxes/{}", text(&opened["id"]));
    let answer = ask(&client, Method::PATCH, &path, json!({ "channel": "whatsapp" })).await;
    assert_eq!(refused(&answer), (422, "CHANNEL_IMMUTABLE"));
    assert_eq!(ask(&client, Method::PATCH, &path, json!({})).await.0, 400);
    assert_eq!(positions(&client).await, 1);
}

#[tokio::test]
async fn a_configuration_that_can_never_send_is_refused_by_its_fields() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let (_, opened) = post(&client, "outboxes", mail("smtp")).await;
    let path = format!("outboxes/{}", text(&opened["id"]));
    let with = |field: &str, value: Value| {
        let mut config = json!({ "fromAddress": "ops@example.com" });
        config[field] = value;
        config
    };
    let before = positions(&client).await;
    for (channel, config, code, told) in [
        ("email", with("fromAddress", json!("x")), "INVALID_EMAIL", "config.fromAddress"),
        ("email", with("fromName", json!("A\r\nBcc: x")), "CONTROL_CHARACTER", "config.fromName"),
        ("email", with("replyTo", json!("a@b.c, d@e.f")), "INVALID_EMAIL", "config.replyTo"),
        ("email", with("returnPathDomain", json!("x y")), "INVALID_DOMAIN", "config.returnPathDomain"),
        ("email", with("replyto", json!("a@example.com")), "UNKNOWN_FIELD", "did you mean replyTo?"),
        ("whatsapp", json!({ "bogus": 1 }), "REQUIRED", "config.phoneNumberId"),
        ("linkedin", json!({ "accountID": "1" }), "REQUIRED", "config.accountId"),
        ("instagram", json!({ "accountId": "a b" }), "INVALID_ID", "config.accountId"),
        ("cal-com", json!({ "fromAddress": "a@example.com" }), "UNKNOWN_FIELD", "config.fromAddress"),
    ] {
        let mut body = mail("smtp");
        body["channel"] = json!(channel);
        body["config"] = config.clone();
        let mut answers = vec![post(&client, "outboxes", body).await];
        if channel == "email" {
            answers.push(ask(&client, Method::PATCH, &path, json!({ "config": config })).await);
        }
        for answer in answers {
            assert_eq!(refused(&answer), (400, "VALIDATION_FAILED"), "{config}: {}", answer.1);
            assert_eq!(answer.1["details"][0]["code"], code, "{config}: {}", answer.1);
            assert!(answer.1["details"].to_string().contains(told), "{config}: {}", answer.1);
        }
    }
    assert_eq!(positions(&client).await, before, "nothing is recorded");
}

#[tokio::test]
async fn rules_are_kept_in_the_order_of_evaluation() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let predicate = json!({
        "channel": "email", "niche": null, "tags": ["nurture"],
        "timeOfDay": { "start": "09:00", "end": "17:00", "tz": "Europe/Paris" },
    });
    let body = json!({ "predicate": predicate, "action": "auto_approve", "priority": 100 });
    let (status, late) = post(&client, "approval-rules", body).await;
    assert_eq!((status, &late["predicate"], &late["version"]), (201, &predicate, &json!(1)), "{late}");
    let body = json!({ "predicate": {}, "action": "queue_for_manual", "priority": 10 });
    let (_, early) = post(&client, "approval-rules", body).await;
    let order = async || {
        let (_, rules) = ask(&client, Method::GET, "approval-rules", Value::Null).await;
        rules.as_array().unwrap().iter().map(|rule| text(&rule["id"])).collect::<Vec<_>>()
    };
    let (early, late) = (text(&early["id"]), text(&late["id"]));
    assert_eq!(order().await, [early.clone(), late.clone()]);
    assert_paged(&client, "approval-rules", &[early.clone(), late.clone()]).await;

    let (_, moved) =
        ask(&client, Method::PATCH, &format!("approval-rules/{late}"), json!({ "priority": 1 })).await;
    assert_eq!((&moved["version"], &moved["predicate"]), (&json!(2), &predicate));
    assert_eq!(order().await, [late.clone(), early.clone()]);
    assert_eq!(ask(&client, Method::DELETE, &format!("approval-rules/{late}"), Value::Null).await.0, 200);
    assert_eq!(order().await, [early]);
    let answer = ask(&client, Method::DELETE, &format!("approval-rules/{late}"), Value::Null).await;
    assert_eq!(refused(&answer), (404, "RULE_NOT_FOUND"));
}

/// A short list goes page by page like any other, and refuses what it does not know.
pub async fn assert_paged(client: &Client, list: &str, ids: &[String]) {
    let path = client.crm(list);
    let mut seen = Vec::new();
    let mut query = "limit=1".to_owned();
    for left in (0..ids.len()).rev() {
        let address = format!("{path}?{query}");
        let (status, headers, page) =
            client.send_for_headers(Method::GET, &address, &[], vec![]).await.unwrap();
        assert_eq!((status, page.as_array().map(Vec::len)), (200, Some(1)), "{address}: {page}");
        seen.push(text(&page[0]["id"]));
        let link = headers.get("link").map(|link| link.to_str().unwrap().to_owned());
        assert_eq!(link.is_some(), left > 0, "{address}: {link:?}");
        query = format!("limit=1&after={}", seen.last().unwrap());
        assert!(link.is_none_or(|link| link == format!("<{path}?{query}>; rel=\"next\"")));
    }
    assert_eq!(seen, ids);
    let nowhere = format!("after={}", Uuid::nil());
    for query in ["limit=0", "limit=1001", "limit=1&limit=1", "after=1", "surplus=1", &nowhere] {
        let answer = client.get(&format!("{path}?{query}")).await;
        assert_eq!(refused(&answer), (400, "VALIDATION_FAILED"), "{query}");
    }
}

#[tokio::test]
async fn what_is_no_rule_is_refused() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let hours = |start: &str, end: &str| json!({ "timeOfDay": { "start": start, "end": end, "tz": "UTC" } });
    for (predicate, status, code) in [
        (json!({}), 422, "CATCH_ALL"),
        (json!({ "chanel": "email" }), 400, "VALIDATION_FAILED"),
        (json!({ "channel": null }), 400, "VALIDATION_FAILED"),
        (json!({ "channel": "dry-run" }), 400, "VALIDATION_FAILED"),
        (json!({ "niche": "renovation", "timeOfDay": null }), 400, "VALIDATION_FAILED"),
        (hours("09:00", "09:00"), 400, "VALIDATION_FAILED"),
        (hours("24:00", "06:00"), 400, "VALIDATION_FAILED"),
        (hours("9:00", "17:00"), 400, "VALIDATION_FAILED"),
        (hours("09:00", "24:00"), 400, "VALIDATION_FAILED"),
        (
            json!({ "timeOfDay": { "start": "09:00", "end": "17:00", "tz": "Europe/Lutetia" } }),
            400,
            "VALIDATION_FAILED",
        ),
        (json!({ "timeOfDay": { "start": "09:00", "end": "17:00" } }), 400, "VALIDATION_FAILED"),
        (
            json!({ "timeOfDay": { "start": "09:00", "end": "17:00", "tz": "UTC", "weekdays": [1] } }),
            400,
            "VALIDATION_FAILED",
        ),
        (json!({ "niche": "Not a slug" }), 400, "VALIDATION_FAILED"),
        (json!({ "tags": [""] }), 400, "VALIDATION_FAILED"),
        (json!({ "tags": vec!["a"; 51] }), 400, "VALIDATION_FAILED"),
        (json!("email"), 400, "VALIDATION_FAILED"),
    ] {
        let body = json!({ "predicate": predicate, "action": "auto_approve", "priority": 1 });
        let answer = post(&client, "approval-rules", body).await;
        assert_eq!(refused(&answer), (status, code), "{predicate} {}", answer.1);
    }
    let body =
        json!({ "predicate": {}, "action": "auto_approve", "priority": 1, "acknowledgeCatchAll": true });
    assert_eq!(post(&client, "approval-rules", body).await.0, 201);
    // Nor does a harmless rule become one by a change.
    let body = json!({ "predicate": {}, "action": "queue_for_manual", "priority": 1 });
    let (_, rule) = post(&client, "approval-rules", body).await;
    let path = format!("approval-rules/{}", text(&rule["id"]));
    for (patch, status, code) in [
        (json!({ "action": "auto_approve" }), 422, "CATCH_ALL"),
        (json!({ "predicate": { "chanel": "email" } }), 400, "VALIDATION_FAILED"),
        (json!({ "predicate": null, "priority": 1_000_001 }), 400, "VALIDATION_FAILED"),
        (json!({ "predicate": null }), 400, "VALIDATION_FAILED"),
        (json!({ "predicate": { "channel": "dry-run" } }), 400, "VALIDATION_FAILED"),
        (json!({ "action": null }), 400, "VALIDATION_FAILED"),
        (json!({}), 400, "VALIDATION_FAILED"),
        (json!({ "action": "auto_approve", "acknowledgeCatchAll": true }), 200, ""),
    ] {
        let answer = ask(&client, Method::PATCH, &path, patch.clone()).await;
        assert_eq!(refused(&answer), (status, code), "{patch} {}", answer.1);
    }
}

#[tokio::test]
async fn a_preview_appends_nothing() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let rule = |niche: &str, priority: u32| json!({ "predicate": { "niche": niche }, "action": "auto_approve", "priority": priority });
    let (_, first) = post(&client, "approval-rules", rule("renovation", 1)).await;
    let (_, second) = post(&client, "approval-rules", rule("renovation", 2)).await;
    let before = positions(&client).await;
    let preview = async |rule: &Value, facts: Value| {
        post(&client, &format!("approval-rules/{}/preview", text(&rule["id"])), facts).await
    };
    let facts = json!({ "channel": "email", "niche": "renovation", "tags": ["nurture"] });
    assert_eq!(
        preview(&second, facts.clone()).await,
        (
            200,
            json!({
                "matches": true, "action": "auto_approve", "failedPredicates": [], "shadowedBy": first["id"],
            })
        )
    );
    assert_eq!(
        preview(&first, json!({ "channel": "email", "at": "2026-11-21T10:00:00Z" })).await,
        (200, json!({ "matches": false, "action": null, "failedPredicates": ["niche"], "shadowedBy": null }))
    );
    assert_eq!(preview(&json!({ "id": NOTHING }), facts).await.0, 404);
    assert_eq!(positions(&client).await, before);
}

#[tokio::test]
async fn many_who_add_to_the_allowlist_at_once_are_all_heard() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let entries =
        (0..60).map(|n| post(&client, "allowlist", json!({ "entry": format!("c{n}@example.com") })));
    for (status, answer) in join_all(entries).await {
        assert_eq!((status, &answer["changed"]), (201, &json!(1)), "{answer}");
    }
}

#[tokio::test]
async fn the_allowlist_takes_entries_and_files() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let body = json!({ "entries": ["Ann@Example.com", "@bücher.example", "ann@example.COM"] });
    assert_eq!(
        post(&client, "allowlist", body.clone()).await,
        (201, json!({ "changed": 2, "unchanged": 0 }))
    );
    assert_eq!(post(&client, "allowlist", body).await, (201, json!({ "changed": 0, "unchanged": 2 })));
    let file = b"\xef\xbb\xbfentry,since\nbob@example.com,2024\n\n@example.org,\n".to_vec();
    let path = client.crm("allowlist");
    let (status, answer) =
        client.send(Method::POST, &path, &[("content-type", "text/csv")], file).await.unwrap();
    assert_eq!((status, &answer["changed"]), (201, &json!(2)), "{answer}");
    let entries = async || {
        let (_, listed) = ask(&client, Method::GET, "allowlist", Value::Null).await;
        let mut entries: Vec<String> =
            listed.as_array().unwrap().iter().map(|entry| text(&entry["entry"])).collect();
        entries.sort();
        entries
    };
    let all = ["@example.org", "@xn--bcher-kva.example", "Ann@example.com", "bob@example.com"];
    assert_eq!(entries().await, all);
    let taken = ask(&client, Method::DELETE, "allowlist", json!({ "entry": "ANN@example.com" })).await;
    assert_eq!(taken, (200, json!({ "changed": 1, "unchanged": 0 })));
    assert_eq!(entries().await.len(), 3);

    for (body, status, code) in [
        (json!({ "entry": "*" }), 422, "ALLOWS_EVERYBODY"),
        (json!({ "entries": ["ann@example.com", "no address"] }), 400, "VALIDATION_FAILED"),
        (json!({ "entry": "017841400000000001" }), 400, "VALIDATION_FAILED"),
        (json!({ "entry": "a@b.example", "entries": [] }), 400, "VALIDATION_FAILED"),
        (json!({}), 400, "VALIDATION_FAILED"),
        (json!({ "entries": [] }), 400, "VALIDATION_FAILED"),
        (json!({ "entries": vec!["a@b.example"; 1_001] }), 400, "VALIDATION_FAILED"),
    ] {
        let answer = post(&client, "allowlist", body).await;
        assert_eq!(refused(&answer), (status, code), "{}", answer.1);
    }
    let headers = [("content-type", "text/csv")];
    let answer = client.send(Method::POST, &path, &headers, b"entry\n".to_vec()).await.unwrap();
    assert_eq!(refused(&answer), (400, "VALIDATION_FAILED"), "{}", answer.1);
    let everybody = json!({ "entry": "*", "acknowledgeAll": true });
    assert_eq!(post(&client, "allowlist", everybody).await.0, 201);
}

#[tokio::test]
async fn an_address_is_suppressed_until_it_is_taken_off_the_list() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let claims = async || -> i64 {
        let keys = app.app.ledger.keys().organization(client.organization).await.unwrap();
        let hash = docket::contacts::address_hash(&keys, "ann@example.com");
        let [_, listed] = ClaimKey::against(&hash);
        sqlx::query_scalar("SELECT count(*) FROM ledger.claims WHERE organization_id = $1 AND key_hash = $2")
            .bind(client.organization.uuid())
            .bind(listed.hash.as_slice())
            .fetch_one(app.app.ledger.pool())
            .await
            .unwrap()
    };
    let body = json!({ "address": "Ann@Example.com", "reason": "complaint" });
    let (status, answer) = post(&client, "suppressions", body).await;
    assert_eq!((status, &answer["reason"]), (201, &json!("complaint")), "{answer}");
    assert_eq!(claims().await, 1);
    let (_, listed) = ask(&client, Method::GET, "suppressions", Value::Null).await;
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["address"]), (1, &json!("Ann@example.com")));

    let lift = || json!({ "address": "ann@example.com" });
    assert_eq!(ask(&client, Method::DELETE, "suppressions", lift()).await.0, 200);
    assert_eq!(claims().await, 0);
    assert_eq!(ask(&client, Method::GET, "suppressions", Value::Null).await.1, json!([]));
    let answer = ask(&client, Method::DELETE, "suppressions", lift()).await;
    assert_eq!(refused(&answer), (404, "NOT_SUPPRESSED"));
    for address in ["@example", "*", "no address", "017841400000000001"] {
        for body in [json!({ "address": address }), json!({ "entries": ["ann@example.com", address] })] {
            let mut body = body;
            body["reason"] = json!("manual");
            let answer = post(&client, "suppressions", body).await;
            assert_eq!(refused(&answer), (400, "VALIDATION_FAILED"), "{address}");
        }
    }
    assert_eq!(ask(&client, Method::GET, "suppressions", Value::Null).await.1, json!([]));
    // To ask for it to be taken off is no mistake.
    let answer =
        ask(&client, Method::DELETE, "suppressions", json!({ "address": "017841400000000001" })).await;
    assert_eq!(refused(&answer), (404, "NOT_SUPPRESSED"));
}

fn piece(path: &str) -> Value {
    json!({
        "title": "First touch", "sourcePath": path, "sourceSha256": "AB".repeat(32), "tags": ["nurture"],
        "channelIntent": "email", "niche": "renovation",
    })
}

#[tokio::test]
async fn one_path_is_one_living_piece() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let (status, first) = post(&client, "content-pieces", piece("caf\u{e9}/menu.md")).await;
    assert_eq!((status, &first["sourceSha256"]), (201, &json!("ab".repeat(32))), "{first}");
    let again = post(&client, "content-pieces", piece("cafe\u{301}/menu.md")).await;
    assert_eq!(refused(&again), (409, "PATH_TAKEN"));
    assert_eq!(again.1["details"]["existingId"], first["id"]);

    let (_, other) = post(&client, "content-pieces", piece("notes..v2.md")).await;
    let path = format!("content-pieces/{}", text(&other["id"]));
    let moved = ask(&client, Method::PATCH, &path, json!({ "sourcePath": "caf\u{e9}/menu.md" })).await;
    assert_eq!(refused(&moved), (409, "PATH_TAKEN"));

    let first_path = format!("content-pieces/{}", text(&first["id"]));
    let (status, deleted) = ask(&client, Method::DELETE, &first_path, Value::Null).await;
    assert_eq!((status, deleted["deletedAt"].is_string()), (200, true));
    assert_eq!(ask(&client, Method::DELETE, &first_path, Value::Null).await.0, 404);
    let (status, moved) =
        ask(&client, Method::PATCH, &path, json!({ "sourcePath": "caf\u{e9}/menu.md" })).await;
    assert_eq!((status, &moved["sourcePath"]), (200, &json!("caf\u{e9}/menu.md")), "{moved}");
    // And the path that it left is free.
    assert_eq!(post(&client, "content-pieces", piece("notes..v2.md")).await.0, 201);
    // Another company has paths of its own.
    let neighbour = app.agent().await;
    assert_eq!(post(&neighbour, "content-pieces", piece("caf\u{e9}/menu.md")).await.0, 201);
}

#[tokio::test]
async fn pieces_are_found_by_all_that_is_asked_for() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    for (path, niche) in [("a.md", "renovation"), ("b.md", "renovation"), ("c.md", "kitchens")] {
        let mut body = piece(path);
        body["niche"] = json!(niche);
        assert_eq!(post(&client, "content-pieces", body).await.0, 201);
    }
    let count = async |query: &str| {
        let (status, found) = client.get(&client.crm(&format!("content-pieces?{query}"))).await;
        (status, found.as_array().map(Vec::len))
    };
    for (query, found) in [
        ("", 3),
        ("niche=renovation", 2),
        ("niche=renovation&sourcePath=a.md", 1),
        ("niche=kitchens&sourcePath=a.md", 0),
        ("channelIntent=whatsapp", 0),
        ("limit=2", 2),
    ] {
        assert_eq!(count(query).await, (200, Some(found)), "{query}");
    }
    for query in ["surplus=1", "channelIntent=sms", "niche=A%20b"] {
        assert_eq!(count(query).await.0, 400, "{query}");
    }
}

#[tokio::test]
async fn what_is_no_piece_is_refused() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let with = |field: &str, value: Value| {
        let mut body = piece("a.md");
        body[field] = value;
        body
    };
    assert_eq!(post(&client, "content-pieces", with("title", json!("🏠".repeat(128)))).await.0, 201);
    // The indentation of YAML says what belongs together.
    let yaml = "  a: 1\n  b: 2\n";
    let mut indented = piece("b.md");
    indented["frontmatter"] = json!(yaml);
    let kept = post(&client, "content-pieces", indented).await;
    assert_eq!((kept.0, &kept.1["frontmatter"]), (201, &json!(yaml)));
    for body in [
        with("frontmatter", json!(" \n ")),
        with("title", json!("🏠".repeat(129))),
        with("sourcePath", json!("a/../b.md")),
        with("sourcePath", json!("%252e%252e/b.md")),
        with("sourcePath", json!("C:\\b.md")),
        with("sourceSha256", json!("a".repeat(63))),
        with("sourceSha256", json!("g".repeat(64))),
        with("textSha256", json!("a".repeat(65))),
        with("tags", json!(["🏠".repeat(17)])),
        with("summary", json!("a".repeat(4_097))),
        with("frontmatter", json!("a".repeat(65_537))),
    ] {
        let answer = post(&client, "content-pieces", body).await;
        assert_eq!(refused(&answer), (400, "VALIDATION_FAILED"), "{}", answer.1);
    }
}

#[tokio::test]
async fn sending_is_paused_and_resumed_by_scope() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let (status, paused) = post(&client, "pause", json!({ "reason": "too loud" })).await;
    assert_eq!((status, &paused["scope"], &paused["paused"]), (200, &json!("all"), &json!(true)), "{paused}");
    let (_, outbox) = post(&client, "outboxes", mail("smtp")).await;
    let of_outbox = json!({ "reason": "too loud", "scope": "outbox", "id": outbox["id"] });
    assert_eq!(post(&client, "pause", of_outbox).await.1["id"], outbox["id"]);
    let before = positions(&client).await;
    assert_eq!(post(&client, "pause", json!({ "reason": "again" })).await.0, 200);
    assert_eq!(positions(&client).await, before);
    assert_eq!(post(&client, "resume", json!({})).await.1["paused"], json!(false));
    for (path, body) in [
        ("pause", json!({})),
        ("pause", json!({ "reason": "a", "scope": "outbox" })),
        ("pause", json!({ "reason": "a", "id": NOTHING })),
        ("resume", json!({ "scope": "planet" })),
    ] {
        assert_eq!(refused(&post(&client, path, body).await), (400, "VALIDATION_FAILED"), "{path}");
    }
}

#[tokio::test]
async fn a_pause_that_is_asked_again_is_answered_once_it_holds() {
    let app = TestApp::start().await;
    let client = app.client(Role::InstanceAdmin, app.organization().await).await;
    let own = format!("/api/admin/organizations/{}", client.organization);
    let pause = json!({ "reason": "too loud" });
    for (method, path, body) in
        [(Method::POST, client.crm("pause"), pause), (Method::PATCH, own, json!({ "sendingPaused": true }))]
    {
        assert_eq!(post(&client, "resume", json!({})).await.0, 200);
        // Two at once, of which one comes second, and one that comes when both were answered.
        let ask = async || {
            let since = Instant::now();
            let headers = [JSON, ("idempotency-key", "k")];
            let answer = client.send(method.clone(), &path, &headers, body.to_string().into_bytes()).await;
            (answer.unwrap(), since.elapsed())
        };
        let (one, other) = tokio::join!(ask(), ask());
        for (answer, after) in [&one, &other, &ask().await] {
            assert_eq!((answer, answer.0), (&one.0, 200), "{path}");
            assert!(*after >= CALLS_BEGIN_WITHIN, "{path} was answered after {after:?}");
        }
    }
}

#[tokio::test]
async fn only_what_the_company_has_is_held_back_by_its_own_kind() {
    let app = TestApp::start().await;
    let [ours, theirs] = [app.agent().await, app.agent().await];
    let outbox = post(&ours, "outboxes", mail("smtp")).await.1["id"].clone();
    let agent = post(&ours, "agents", json!({ "name": "Ann", "email": "ann@example.com" })).await.1;
    let agent = agent["agentId"].clone();
    let made = ours.done("create_outbound_campaign", json!({ "name": "Spring" })).await;
    let campaign = made["campaign"]["campaignId"].clone();
    let unregistered = "0190a0f0-0000-7000-8000-0000000000aa";
    app.agent_token(ours.organization, unregistered).await;
    let pause = async |client: &Client, path: &str, scope: &str, id: &Value| {
        post(client, path, json!({ "reason": "too loud", "scope": scope, "id": id })).await
    };
    let before = [positions(&ours).await, positions(&theirs).await];
    for (client, scope, id, code) in [
        (&theirs, "outbox", &outbox, "OUTBOX_NOT_FOUND"),
        (&theirs, "campaign", &campaign, "CAMPAIGN_NOT_FOUND"),
        (&theirs, "agent", &agent, "AGENT_NOT_FOUND"),
        (&theirs, "agent", &json!(unregistered), "AGENT_NOT_FOUND"),
        (&ours, "agent", &outbox, "AGENT_NOT_FOUND"),
        (&ours, "outbox", &campaign, "OUTBOX_NOT_FOUND"),
        (&ours, "campaign", &json!(NOTHING), "CAMPAIGN_NOT_FOUND"),
    ] {
        let answer = pause(client, "pause", scope, id).await;
        assert_eq!(refused(&answer), (404, code), "{scope} {id}");
    }
    assert_eq!([positions(&ours).await, positions(&theirs).await], before, "nothing is recorded");
    for (scope, id) in
        [("outbox", &outbox), ("campaign", &campaign), ("agent", &agent), ("agent", &json!(unregistered))]
    {
        assert_eq!(pause(&ours, "pause", scope, id).await.0, 200, "{scope} {id}");
    }
    // What is gone may always be let go on.
    let path = format!("outboxes/{}", text(&outbox));
    assert_eq!(ask(&ours, Method::DELETE, &path, Value::Null).await.0, 200);
    assert_eq!(refused(&pause(&ours, "pause", "outbox", &outbox).await), (404, "OUTBOX_NOT_FOUND"));
    assert_eq!(pause(&ours, "resume", "outbox", &outbox).await.0, 200);
}

#[tokio::test]
async fn what_is_held_back_is_listed_and_switched_by_the_instance_too() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let (_, outbox) = post(&client, "outboxes", mail("smtp")).await;
    let of_outbox = json!({ "reason": "too loud", "scope": "outbox", "id": outbox["id"] });
    assert_eq!(post(&client, "pause", of_outbox).await.0, 200);
    let path = format!("/api/admin/organizations/{}", client.organization);
    let switch = async |body: Value| {
        client.send(Method::PATCH, &path, &[JSON], body.to_string().into_bytes()).await.unwrap()
    };
    let (status, switched) = switch(json!({ "sendingPaused": true })).await;
    assert_eq!((status, &switched["sendingPaused"]), (200, &json!(true)), "{switched}");
    let scopes = async || {
        let (_, paused) = ask(&client, Method::GET, "pauses", Value::Null).await;
        paused.as_array().unwrap().iter().map(|pause| text(&pause["scope"])).collect::<Vec<_>>()
    };
    assert_eq!(scopes().await, ["outbox", "all"]);
    // What the instance held back, the board lets go on, and the other way round: it is one switch.
    let (_, switched) = switch(json!({ "sendingPaused": false, "name": "Acme" })).await;
    assert_eq!((&switched["sendingPaused"], &switched["name"]), (&json!(false), &json!("Acme")));
    assert_eq!(scopes().await, ["outbox"]);
}

#[tokio::test]
async fn one_recipient_gets_so_many_and_no_more() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let none = json!({ "messages": null, "days": null });
    assert_eq!(ask(&client, Method::GET, "frequency-cap", Value::Null).await, (200, none.clone()));
    let cap = json!({ "messages": 3, "days": 7 });
    assert_eq!(ask(&client, Method::PUT, "frequency-cap", cap.clone()).await, (200, cap.clone()));
    let before = positions(&client).await;
    assert_eq!(ask(&client, Method::PUT, "frequency-cap", cap.clone()).await.0, 200);
    assert_eq!(positions(&client).await, before);
    for wrong in [
        json!({}),
        json!({ "messages": 3 }),
        json!({ "messages": 3, "days": null }),
        json!({ "messages": 0, "days": 7 }),
        json!({ "messages": 1_001, "days": 7 }),
        json!({ "messages": 3, "days": 366 }),
        json!({ "messages": 3.5, "days": 7 }),
        json!({ "messages": 3, "days": 7, "surplus": 1 }),
    ] {
        let answer = ask(&client, Method::PUT, "frequency-cap", wrong.clone()).await;
        assert_eq!(refused(&answer), (400, "VALIDATION_FAILED"), "{wrong}");
    }
    assert_eq!(ask(&client, Method::GET, "frequency-cap", Value::Null).await, (200, cap));
    assert_eq!(ask(&client, Method::PUT, "frequency-cap", none.clone()).await, (200, none));
}

#[tokio::test]
async fn one_fault_is_told_once() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let (post, put) = (Method::POST, Method::PUT);
    for (method, path, body, told) in [
        (&put, "frequency-cap", json!({ "messages": 1 }), vec!["days REQUIRED"]),
        (&put, "frequency-cap", json!({ "messages": 0, "days": 1 }), vec!["messages OUT_OF_RANGE"]),
        (&put, "frequency-cap", json!({ "messages": 1, "days": null }), vec!["days CONTRADICTION"]),
        (
            &post,
            "approval-rules/simulate",
            json!({}),
            vec!["candidateRules REQUIRED", "from REQUIRED", "to REQUIRED"],
        ),
        (
            &post,
            "approval-rules/simulate",
            json!({
                "from": "2026-11-21T00:00:00Z", "to": "2026-11-22T00:00:00Z",
                "candidateRules": [{ "action": "auto_approve", "priority": 1 }],
            }),
            vec!["candidateRules.0.predicate REQUIRED"],
        ),
        (&post, "allowlist", json!({ "entries": [] }), vec!["entries EMPTY"]),
        (&post, "suppressions", json!({ "entries": [] }), vec!["entries EMPTY"]),
    ] {
        let (status, answer) = ask(&client, method.clone(), path, body.clone()).await;
        let problem = |problem: &Value| format!("{} {}", text(&problem["path"]), text(&problem["code"]));
        let mut problems: Vec<String> = answer["details"].as_array().unwrap().iter().map(problem).collect();
        problems.sort();
        assert_eq!((status, problems), (400, told.into_iter().map(str::to_owned).collect()), "{path} {body}");
    }
}

#[tokio::test]
async fn a_size_in_bytes_is_refused_in_bytes() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    for (field, value, most) in [
        ("title", json!("a".repeat(513)), 512),
        ("summary", json!("a".repeat(4_097)), 4_096),
        ("summary", json!("é".repeat(2_049)), 4_096),
        ("tags", json!(["a".repeat(65)]), 64),
    ] {
        let mut body = piece("a.md");
        body[field] = value;
        let answer = post(&client, "content-pieces", body).await;
        assert_eq!(refused(&answer), (400, "VALIDATION_FAILED"), "{}", answer.1);
        let told = format!("{field}: must have at most {most} bytes in UTF-8");
        assert_eq!(answer.1["error"], told, "{}", answer.1);
    }
}

#[tokio::test]
async fn an_agent_reads_what_it_needs_and_changes_nothing() {
    let app = TestApp::start().await;
    let board = app.agent().await;
    let agent = app.client(Role::Agent, board.organization).await;
    for path in ["outboxes", "content-pieces"] {
        assert_eq!(ask(&agent, Method::GET, path, Value::Null).await.0, 200, "{path}");
    }
    for path in
        ["outboxes", "approval-rules", "allowlist", "suppressions", "content-pieces", "pause", "resume"]
    {
        assert_eq!(post(&agent, path, json!({})).await.0, 403, "{path}");
    }
    for path in ["approval-rules", "allowlist", "suppressions"] {
        assert_eq!(ask(&agent, Method::GET, path, Value::Null).await.0, 403, "{path}");
    }
}
