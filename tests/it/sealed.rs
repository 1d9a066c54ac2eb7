//! Personal data stands open in the read schema and nowhere else: not in the ledger, not beside it, not in a log.

use docket_aggregates::token::Role;
use serde_json::json;

use crate::support::leaks::{Needle, found, tables};
use crate::support::{Client, TestApp, eventually, server};

/// What is looked for; found nowhere else in the tests.
const NEEDLES: [&str; 16] = [
    "Quintessa",
    "Vandermolen",
    "quintessa.v@needle.example",
    "612349876",
    "Needlework GmbH",
    "Haystackville",
    "not-an-address-needle",
    "Needle Fair",
    "Walnut Grove",
    "allergic to needles",
    "Nadja Nadel",
    "nadja@needle.example",
    "Nadelbaum",
    "pricked my finger",
    "Thimble or thread",
    "darned it myself",
];

async fn everything(app: &TestApp) -> Client {
    let organization =
        crate::support::app::named_organization(&app.app, "Nadelbaum", "owner@needle.example").await;
    let client = app.client(Role::SuperAdmin, organization).await;
    let file = "First name,Last name,Email,Phone,Company,City\n\
        Quintessa,Vandermolen,quintessa.v@needle.example,0612349876,Needlework GmbH,Haystackville\n\
        Bea,,not-an-address-needle,,,\n";
    let headers = [("content-type", "text/csv")];
    let path = client.crm("imports?name=Needle%20Fair&source=Needle%20Fair");
    let (status, folder) =
        client.send(hyper::Method::POST, &path, &headers, file.as_bytes().to_vec()).await.unwrap();
    assert_eq!(status, 201, "{folder}");
    let commit = client.crm(&format!("imports/{}/commit", folder["importFolderId"].as_str().unwrap()));
    assert_eq!(client.post(&commit, json!({})).await.0, 200);
    let (_, agent) = client
        .post(&client.crm("agents"), json!({ "name": "Nadja Nadel", "email": "nadja@needle.example" }))
        .await;

    // A request that is kept with its answer, a reason, and a preview that is kept with what it shows.
    let walnut = json!({ "name": "Walnut Grove", "status": "active" });
    let asked = json!({
        "organizationId": organization, "input": walnut, "requestId": "needle-1", "reason": "pricked my finger",
    });
    let (status, made) = client.post("/crm/agent/tools/create_outbound_campaign", asked).await;
    assert_eq!(status, 200, "{made}");
    let campaign = &made["data"]["campaign"]["campaignId"];
    let preview = json!({ "name": "Walnut Grove", "dryRun": true });
    assert_eq!(client.tool("create_outbound_campaign", preview).await.0, 200);
    let add = json!({ "campaignId": campaign, "filter": { "source": "crm" }, "maxContacts": 10 });
    client.done("bulk_add_contacts_to_campaign_by_filter", add).await;
    let contacts = client.done("list_outbound_contacts", json!({ "campaignId": campaign })).await;
    let call = json!({
        "campaignId": campaign, "contactId": contacts["contacts"][0]["contactId"], "agentId": agent["agentId"],
        "outcome": "reached", "startedAt": "2026-11-21T17:00:00Z", "note": "allergic to needles",
    });
    let (status, logged) = client.post(&client.crm("calls"), call).await;
    assert_eq!(status, 201, "{logged}");
    let steps = json!([{ "id": "a", "type": "question", "text": "Thimble or thread" }]);
    let script =
        client.done("create_script_template", json!({ "name": "Thimble or thread", "steps": steps })).await;
    let begin = json!({
        "campaignId": campaign, "contactId": contacts["contacts"][0]["contactId"],
        "scriptTemplateId": script["template"]["templateId"],
        "responses": [{ "nodeId": "a", "value": "darned it myself" }],
    });
    client.done("upsert_script_execution", begin).await;
    // Refusals must not quote either.
    for (path, body) in [
        ("calls", json!({ "note": "allergic to needles", "contactId": "Quintessa" })),
        ("agents", json!({ "name": "Nadja Nadel", "email": "not-an-address-needle", "Walnut Grove": 1 })),
    ] {
        assert!(client.post(&client.crm(path), body).await.0 >= 400);
    }
    client.get(&client.crm("agents?Quintessa=Vandermolen")).await;
    client.tool("list_campaigns", json!({ "query": "Walnut Grove", "Quintessa": 1 })).await;
    client
}

#[tokio::test]
async fn personal_data_stands_in_the_read_schema_only() {
    let app = TestApp::start().await;
    let client = everything(&app).await;
    client.done("get_crm_workspace_overview", json!({})).await;
    // The access log is written a moment after the answer.
    eventually("the access log", || async {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger.access_log")
            .fetch_one(app.app.ledger.pool())
            .await
            .unwrap();
        (count >= 10).then_some(())
    })
    .await;

    let ledger = tables(&app.app, "ledger").await;
    for table in ["access_log", "claims", "events", "previews", "requests", "subject_keys"] {
        let (_, rows) = ledger.iter().find(|(name, _)| *name == format!("ledger.{table}")).unwrap();
        assert!(table == "claims" || !rows.is_empty(), "{table} is empty, so nothing is shown");
    }
    let log = server::log::text();
    assert!(log.len() > 1_000, "the log is captured");
    let needles = NEEDLES.map(Needle::new);
    let mut places = ledger;
    places.push(("the log".into(), log));
    places.push(("PostgreSQL's log".into(), server::server_log()));
    assert_eq!(found(&needles, &places), [""; 0]);

    // They were written: each one that a person entered is read back from the read models.
    let read: String = tables(&app.app, "read").await.into_iter().map(|(_, rows)| rows).collect();
    let read = [("the read models".to_owned(), read)];
    for needle in NEEDLES.iter().filter(|needle| **needle != "pricked my finger") {
        assert!(!found(&[Needle::new(needle)], &read).is_empty(), "{needle} is not in the read models");
    }
}
