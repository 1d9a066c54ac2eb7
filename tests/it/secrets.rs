//! A secret's value is stored once and shown to nobody: not in an answer, a log, an event, or any row of any table.

use docket::channels::Secret;
use docket::secrets::{SecretError, Secrets};
use docket_aggregates::credential::SecretRef;
use docket_aggregates::token::Role;
use hyper::Method;
use serde_json::{Value, json};

use crate::support::leaks::{Needle, found, tables};
use crate::support::{Client, TestApp, eventually, server};

/// Found nowhere else in the tests.
const CANARIES: [&str; 4] =
    ["re_c4n4ryOne_8Jq", "smtp://u:c4n4ryTwo_8Jq@mail.example.com", "c4n4ryThree_8Jq", "c4n4ryFour_8Jq"];

async fn put(client: &Client, secret_id: &str, body: Value, key: Option<&str>) -> (u16, Value) {
    let path = format!("/api/companies/{}/secrets/{secret_id}", client.organization);
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(key.map(|key| ("idempotency-key", key)));
    client.send(Method::PUT, &path, &headers, body.to_string().into_bytes()).await.unwrap()
}

async fn value(secrets: &Secrets, client: &Client, reference: &str) -> Result<String, SecretError> {
    let wanted: SecretRef = reference.parse().unwrap();
    secrets.resolve(client.organization, &wanted).await.map(|secret: Secret| secret.expose().to_owned())
}

#[tokio::test]
async fn each_value_is_the_next_version_and_the_old_ones_stay() {
    let app = TestApp::start().await;
    let board = app.client(Role::Board, app.organization().await).await;
    for (version, text) in [(1, "one"), (2, "two"), (3, "two")] {
        let answer = put(&board, "resend", json!({ "value": text }), None).await;
        assert_eq!(answer, (200, json!({ "secretId": "resend", "version": version })));
    }
    let secrets = Secrets::new(app.app.ledger.clone());
    for (reference, expected) in [
        ("secret://resend:1", Some("one")),
        ("secret://resend:2", Some("two")),
        ("secret://resend:latest", Some("two")),
        ("secret://resend:4", None),
        ("secret://other:latest", None),
    ] {
        let found = value(&secrets, &board, reference).await;
        match expected {
            Some(text) => assert_eq!(found.unwrap(), text, "{reference}"),
            None => assert!(matches!(found, Err(SecretError::Unknown)), "{reference}"),
        }
    }
    let stranger = app.client(Role::Board, app.organization().await).await;
    assert!(matches!(value(&secrets, &stranger, "secret://resend:1").await, Err(SecretError::Unknown)));
}

#[tokio::test]
async fn a_repeated_request_stores_nothing_twice() {
    let app = TestApp::start().await;
    let board = app.client(Role::Board, app.organization().await).await;
    let first = put(&board, "s", json!({ "value": "one" }), Some("k-1")).await;
    assert_eq!(put(&board, "s", json!({ "value": "one" }), Some("k-1")).await, first);
    assert_eq!(put(&board, "s", json!({ "value": "two" }), Some("k-1")).await.0, 409);
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger.secrets")
        .fetch_one(app.app.ledger.pool())
        .await
        .unwrap();
    assert_eq!(rows, 1, "what was refused leaves no row");
}

#[tokio::test]
async fn of_racing_values_each_has_a_version_of_its_own() {
    let app = TestApp::start().await;
    let board = app.client(Role::Board, app.organization().await).await;
    let mut storing = tokio::task::JoinSet::new();
    for number in 0..4 {
        let board = board.clone();
        storing.spawn(async move {
            let text = format!("value {number}");
            let (status, answer) = put(&board, "raced", json!({ "value": text }), None).await;
            (status == 200).then(|| (answer["version"].as_u64().unwrap(), text))
        });
    }
    let mut stored: Vec<(u64, String)> = storing.join_all().await.into_iter().flatten().collect();
    stored.sort();
    assert!(!stored.is_empty());
    let secrets = Secrets::new(app.app.ledger.clone());
    for (expected, (version, text)) in (1..).zip(stored) {
        assert_eq!(version, expected);
        assert_eq!(value(&secrets, &board, &format!("secret://raced:{version}")).await.unwrap(), text);
    }
}

#[tokio::test]
async fn only_the_board_stores_and_every_bad_input_is_refused() {
    let app = TestApp::start().await;
    let organization = app.organization().await;
    for role in [Role::Agent, Role::Auditor, Role::Viewer] {
        let client = app.client(role, organization).await;
        assert_eq!(put(&client, "s", json!({ "value": "x" }), None).await.0, 403, "{}", role.name());
    }
    let board = app.client(Role::Board, organization).await;
    let long = "x".repeat(16 * 1024 + 1);
    for (secret_id, body) in [
        ("s", json!({})),
        ("s", json!({ "value": "" })),
        ("s", json!({ "value": null })),
        ("s", json!({ "value": 1 })),
        ("s", json!({ "value": long })),
        ("s", json!({ "value": "x", "version": 7 })),
        ("s", json!("x")),
        ("a.b", json!({ "value": "x" })),
        ("a%2Fb", json!({ "value": "x" })),
        (&"a".repeat(129), json!({ "value": "x" })),
    ] {
        let (status, answer) = put(&board, secret_id, body, None).await;
        assert_eq!(status, 400, "{answer}");
    }
    let path = format!("/api/companies/{organization}/secrets/s");
    for method in [Method::GET, Method::DELETE, Method::POST] {
        assert_eq!(
            board.send(method, &path, &[], vec![]).await.unwrap().0,
            405,
            "nothing reads a value back"
        );
    }
}

#[tokio::test]
async fn a_row_that_was_moved_or_changed_opens_for_nobody() {
    let app = TestApp::start().await;
    let board = app.client(Role::Board, app.organization().await).await;
    for text in ["one", "two"] {
        put(&board, "s", json!({ "value": text }), None).await;
    }
    let pool = app.app.ledger.pool();
    sqlx::query("UPDATE ledger.secrets SET version = 3 - version").execute(pool).await.unwrap();
    let secrets = Secrets::new(app.app.ledger.clone());
    assert!(matches!(value(&secrets, &board, "secret://s:1").await, Err(SecretError::Damaged)));
    // A row without its command in the ledger is what a crash or a lost race leaves behind.
    sqlx::query("UPDATE ledger.secrets SET version = 3 - version, command_id = gen_random_uuid()")
        .execute(pool)
        .await
        .unwrap();
    assert!(matches!(value(&secrets, &board, "secret://s:1").await, Err(SecretError::Unknown)));
}

#[tokio::test]
async fn a_value_is_shown_to_nobody() {
    let app = TestApp::start().await;
    let board = app.client(Role::Board, app.organization().await).await;
    let mut answers = String::new();
    let mut note = |answer: (u16, Value)| answers.push_str(&format!("{answer:?}\n"));
    let [resend, smtp, misplaced, refused] = CANARIES;
    note(put(&board, "resend", json!({ "value": resend }), Some("canary-1")).await);
    note(put(&board, "resend", json!({ "value": resend }), Some("canary-1")).await);
    note(put(&board, "smtp", json!({ "value": smtp }), None).await);
    note(put(&board, "smtp", json!({ "value": smtp, "surplus": misplaced }), None).await);
    note(put(&board, &format!("{misplaced}."), json!({ "value": "x" }), None).await);
    note(put(&board, "smtp", json!({ "value": [refused] }), None).await);
    note(put(&board, "smtp", json!(refused), None).await);
    note(board.get(&board.crm("events?limit=100")).await);
    let secrets = Secrets::new(app.app.ledger.clone());
    let open = secrets.resolve(board.organization, &"secret://smtp:latest".parse().unwrap()).await.unwrap();
    answers.push_str(&format!("{open:?}"));
    eventually("the access log", || async {
        let noted: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger.access_log WHERE tool LIKE 'PUT %'")
            .fetch_one(app.app.ledger.pool())
            .await
            .unwrap();
        (noted >= 7).then_some(())
    })
    .await;

    let mut places = tables(&app.app, "%").await;
    assert!(places.iter().any(|(table, rows)| table == "ledger.secrets" && !rows.is_empty()));
    places.push(("an answer".into(), answers));
    places.push(("the log".into(), server::log::text()));
    places.push(("PostgreSQL's log".into(), server::server_log()));
    assert_eq!(found(&CANARIES.map(Needle::new), &places), [""; 0]);
}
