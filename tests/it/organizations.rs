//! Founding and changing organizations, and who may do what.

use docket::http::routes;
use docket::pauses;
use docket::service::Call;
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::sending_control::PauseScope;
use docket_aggregates::token::Role;
use hyper::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::roles::path_in;
use crate::support::process::run;
use crate::support::{Client, TestApp};

const JSON: (&str, &str) = ("content-type", "application/json");

async fn administrator(app: &TestApp) -> Client {
    app.client(Role::InstanceAdmin, OrganizationId::INSTANCE).await
}

fn organization(slug: &str) -> Value {
    json!({ "name": "Société Générale", "slug": slug, "ownerEmail": "owner@example.com" })
}

#[tokio::test]
async fn a_slug_names_one_organization() {
    let app = TestApp::start().await;
    let admin = administrator(&app).await;
    let (status, first) = admin.post("/api/admin/organizations", organization("acme")).await;
    assert_eq!(
        (status, &first["name"], &first["crmEnabled"]),
        (201, &json!("Société Générale"), &json!(true))
    );
    let (status, second) = admin.post("/api/admin/organizations", organization("acme")).await;
    assert_eq!((status, &second["code"]), (409, &json!("SLUG_TAKEN")));
}

#[tokio::test]
async fn every_field_that_cannot_be_accepted_is_named() {
    let app = TestApp::start().await;
    let admin = administrator(&app).await;
    let body = json!({ "name": " ", "slug": "A b", "ownerEmail": "nobody", "surplus": 1 });
    let (status, refusal) = admin.post("/api/admin/organizations", body).await;
    let named: Vec<&str> = refusal["details"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["path"].as_str().unwrap())
        .collect();
    assert_eq!((status, named), (400, vec!["name", "slug", "ownerEmail", "surplus"]));
}

#[tokio::test]
async fn a_request_that_is_asked_again_has_one_effect_and_one_answer() {
    let app = TestApp::start().await;
    let admin = administrator(&app).await;
    let found = async |slug: &str| {
        let headers = [JSON, ("idempotency-key", "k-1")];
        let body = organization(slug).to_string().into_bytes();
        admin.send(Method::POST, "/api/admin/organizations", &headers, body).await.unwrap()
    };
    let first = found("acme").await;
    assert_eq!(first.0, 201);
    assert_eq!(found("acme").await, first);
    let (status, refusal) = found("other").await;
    assert_eq!((status, &refusal["code"]), (409, &json!("IDEMPOTENCY_CONFLICT")));
}

#[tokio::test]
async fn an_organization_is_renamed_and_switched() {
    let app = TestApp::start().await;
    let admin = administrator(&app).await;
    let (_, created) = admin.post("/api/admin/organizations", organization("acme")).await;
    let path = format!("/api/admin/organizations/{}", created["id"].as_str().unwrap());
    let patch = async |path: &str, body: Value| {
        admin.send(Method::PATCH, path, &[JSON], body.to_string().into_bytes()).await.unwrap()
    };
    let (status, changed) = patch(&path, json!({ "name": "Acme", "crmEnabled": false })).await;
    assert_eq!((status, &changed["name"], &changed["crmEnabled"]), (200, &json!("Acme"), &json!(false)));
    for (path, body, expected) in [
        (path.as_str(), json!({}), 400),
        (path.as_str(), json!({ "name": null }), 400),
        (path.as_str(), json!({ "slug": "other" }), 400),
        ("/api/admin/organizations/no-uuid", json!({ "name": "A" }), 400),
        ("/api/admin/organizations/0190a0f0-0000-7000-8000-000000000001", json!({ "name": "A" }), 404),
    ] {
        assert_eq!(patch(path, body).await.0, expected, "{path}");
    }
}

#[tokio::test]
async fn a_change_that_is_asked_again_has_one_effect_and_one_answer() {
    let app = TestApp::start().await;
    let admin = administrator(&app).await;
    let mut paths = Vec::new();
    for slug in ["one", "two"] {
        let (_, created) = admin.post("/api/admin/organizations", organization(slug)).await;
        paths.push(format!("/api/admin/organizations/{}", created["id"].as_str().unwrap()));
    }
    let patch = async |path: &str, key: &str, body: Value| {
        let headers = [JSON, ("idempotency-key", key)];
        admin.send(Method::PATCH, path, &headers, body.to_string().into_bytes()).await.unwrap()
    };
    let changes = [
        ("k-name", json!({ "name": "Acme", "crmEnabled": false })),
        ("k-pause", json!({ "sendingPaused": true })),
        ("k-both", json!({ "name": "Acme again", "sendingPaused": false })),
    ];
    let mut answers = Vec::new();
    for (key, body) in &changes {
        let (status, answer) = patch(&paths[0], key, body.clone()).await;
        assert_eq!(status, 200, "{answer}");
        answers.push(answer);
    }
    assert_eq!(
        (&answers[2]["name"], &answers[2]["crmEnabled"], &answers[2]["sendingPaused"]),
        (&json!("Acme again"), &json!(false), &json!(false))
    );
    // Asked again, each is answered as it was then, and changes nothing back.
    for ((key, body), answer) in changes.iter().zip(&answers) {
        assert_eq!(patch(&paths[0], key, body.clone()).await, (200, answer.clone()), "{key}");
        let (status, refusal) = patch(&paths[0], key, json!({ "name": "Other" })).await;
        assert_eq!((status, &refusal["code"]), (409, &json!("IDEMPOTENCY_CONFLICT")), "{key}");
    }
    let (_, now) = patch(&paths[0], "k-now", json!({ "name": "Acme again" })).await;
    assert_eq!((&now["name"], &now["sendingPaused"]), (&json!("Acme again"), &json!(false)));
    // Another organization is another request.
    assert_eq!(patch(&paths[1], "k-name", json!({ "name": "Beta" })).await.0, 200);
}

#[tokio::test]
async fn the_list_of_organizations_says_whose_sending_is_held_back() {
    let app = TestApp::start().await;
    let admin = administrator(&app).await;
    let mut ids = Vec::new();
    for slug in ["held", "outbox-held", "free"] {
        let (_, created) = admin.post("/api/admin/organizations", organization(slug)).await;
        ids.push(created["id"].as_str().unwrap().parse::<OrganizationId>().unwrap());
    }
    let outbox = json!({ "channel": "cal-com", "secretRef": "secret://cal:latest", "config": {} });
    let (status, outbox) = admin.post(&format!("/api/companies/{}/crm/outboxes", ids[1]), outbox).await;
    assert_eq!(status, 201, "{outbox}");
    let outbox = outbox["id"].as_str().unwrap().parse().unwrap();
    let pause = async |id: OrganizationId, scope: PauseScope| {
        let call = Call::of_system(&app.app, id, "test");
        pauses::pause(&app.app, &call, scope, "too loud".into()).await.unwrap();
    };
    pause(ids[0], PauseScope::All).await;
    pause(ids[1], PauseScope::Outbox(outbox)).await;
    let listed = run(&app.database, &["organization", "list", "--json"]).await;
    assert!(listed.status.success(), "{listed:?}");
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let of =
        |id: &OrganizationId| listed.as_array().unwrap().iter().find(|row| row["id"] == json!(id)).unwrap();
    let paused: Vec<&Value> = ids.iter().map(|id| &of(id)["paused"]).collect();
    assert_eq!(
        paused,
        [&json!(true), &json!(false), &json!(false)],
        "a pause of one outbox is not all of it"
    );
    let told = String::from_utf8(run(&app.database, &["organization", "list"]).await.stdout).unwrap();
    assert_eq!(told.lines().filter(|line| line.ends_with("  PAUSED")).count(), 1, "{told}");
}

#[tokio::test]
async fn without_its_module_a_company_is_administered_and_read_and_nothing_else() {
    let app = TestApp::start().await;
    let admin = administrator(&app).await;
    let own = app.organization().await;
    let client = app.client(Role::SuperAdmin, own).await;
    let switch = async |on: bool| {
        let path = format!("/api/admin/organizations/{own}");
        let body = json!({ "crmEnabled": on }).to_string().into_bytes();
        admin.send(Method::PATCH, &path, &[JSON], body).await.unwrap().0
    };
    assert_eq!(switch(false).await, 200);
    for route in routes::all().iter().filter(|route| route.path.contains('{')) {
        let path = path_in(route, own.uuid());
        let (status, answer) =
            client.send(route.method.clone(), &path, &[JSON], b"[]".to_vec()).await.unwrap();
        let closed = (status, &answer["code"]) == (403, &json!("CRM_MODULE_DISABLED"));
        assert_eq!(closed, route.module == routes::Module::Needed, "{}: {status} {answer}", route.name);
    }
    assert_eq!(client.get(&client.crm("events")).await.0, 200, "the ledger is still read");
    assert_eq!(switch(true).await, 200);
    assert_eq!(client.get(&client.crm("agents")).await.0, 200);
}

#[tokio::test]
async fn every_call_is_noted_also_one_that_is_turned_away() {
    let app = TestApp::start().await;
    let own = app.organization().await;
    let viewer = app.client(Role::Viewer, own).await;
    let board = app.client(Role::Board, own).await;
    let agents = board.crm("agents");
    assert_eq!(viewer.get(&agents).await.0, 403);
    assert_eq!(board.get(&agents).await.0, 200);
    let (status, _) = board.post(&agents, json!({ "name": "Ada", "email": "ada@example.com" })).await;
    assert_eq!(status, 201);

    let pool = app.database.pool();
    let noted = crate::support::eventually("the access log is written", async || {
        let rows: Vec<(Uuid, String, bool)> = sqlx::query_as(
            "SELECT organization_id, tool || ' ' || outcome, position IS NOT NULL FROM ledger.access_log ORDER BY audit_id",
        )
        .fetch_all(&pool)
        .await
        .unwrap();
        (rows.len() == 3).then_some(rows)
    })
    .await;
    let list = "GET /api/companies/{companyId}/crm/agents";
    let register = "POST /api/companies/{companyId}/crm/agents";
    let mut expected = vec![
        // Whoever may not enter leaves no trace in the organization's own log.
        (Uuid::nil(), format!("{list} ROLE_FORBIDDEN"), false),
        (own.uuid(), format!("{list} ok"), false),
        (own.uuid(), format!("{register} ok"), true),
    ];
    let mut noted = noted;
    expected.sort();
    noted.sort();
    assert_eq!(noted, expected);
}

#[tokio::test]
async fn of_calls_without_a_valid_token_only_so_many_are_noted() {
    let app = TestApp::start().await;
    let organization = app.organization().await;
    let stranger = Client::new(app.address(), "nobody".into(), organization);
    // The clock stands still, so that no more than are noted at once are noted.
    for _ in 0..150 {
        let (status, _) = stranger.tool("get_crm_workspace_overview", json!({})).await;
        assert_eq!(status, 401);
    }
    let client = app.agent().await;
    client.done("get_crm_workspace_overview", json!({})).await;
    let pool = app.database.pool();
    let noted = crate::support::eventually("the last call is noted", async || {
        let noted: Vec<String> =
            sqlx::query_scalar("SELECT outcome FROM ledger.access_log").fetch_all(&pool).await.unwrap();
        noted.contains(&"ok".to_owned()).then_some(noted)
    })
    .await;
    assert_eq!(noted.iter().filter(|outcome| *outcome == "UNAUTHENTICATED").count(), 100, "{noted:?}");
}

#[tokio::test]
async fn a_tool_that_took_too_long_is_noted() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let pool = app.database.pool();
    let mut held = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE ledger.previews").execute(&mut *held).await.unwrap();
    let (status, answer) =
        client.tool("create_outbound_campaign", json!({ "name": "Spring", "dryRun": true })).await;
    assert_eq!((status, &answer["meta"]["errorCode"]), (503, &json!("DEADLINE_EXCEEDED")), "{answer}");
    held.rollback().await.unwrap();
    let noted = crate::support::eventually("the call is noted", async || {
        sqlx::query_scalar::<_, String>(
            "SELECT outcome FROM ledger.access_log WHERE tool = 'create_outbound_campaign'",
        )
        .fetch_optional(&pool)
        .await
        .unwrap()
    })
    .await;
    assert_eq!(noted, "DEADLINE_EXCEEDED");
}
