//! The read models: as new as they say, parked alone, and made anew without a difference.

use std::time::Duration;

use docket::readside::{Consistency, ReadSide, ReadSideError, RebuildError};
use docket_aggregates::ids::{CampaignId, OrganizationId};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection, Postgres, Transaction};
use uuid::Uuid;

use crate::support::commands::{campaign, command};
use crate::support::process::run;
use crate::support::{Client, TestApp, eventually};

async fn campaigns(client: &Client) -> Vec<String> {
    named(client, json!({ "limit": 100 })).await
}

/// The names on all pages; how many rows a page holds depends on how long they are.
async fn named(client: &Client, mut input: Value) -> Vec<String> {
    let mut names = Vec::new();
    loop {
        let (status, answer) = client.tool("list_campaigns", input.clone()).await;
        assert_eq!(status, 200, "{answer}");
        let page = answer["data"]["campaigns"].as_array().unwrap().iter();
        names.extend(page.map(|campaign| campaign["name"].as_str().unwrap().to_owned()));
        let next = answer["meta"]["pagination"]["nextCursor"].clone();
        if next.is_null() {
            return names;
        }
        input["cursor"] = next;
    }
}

/// The names that are there at the moment, however old.
async fn eventual(client: &Client) -> Vec<String> {
    named(client, json!({ "consistency": "eventual" })).await
}

/// Puts an event at the end of a ledger as no version of the product writes it.
async fn smuggle(connection: &mut PgConnection, organization: OrganizationId, event_type: &str) -> i64 {
    let mut transaction = connection.begin().await.unwrap();
    let position: i64 = sqlx::query_scalar(
        "UPDATE ledger.heads SET position = position + 1 WHERE organization_id = $1 RETURNING position",
    )
    .bind(organization.uuid())
    .fetch_one(&mut *transaction)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO ledger.events SELECT $1, $2, $3, $3, 'Campaign', $3::text, 1, $4, '1', \
             jsonb_build_object('type', $4), '{}', now(), now(), '\\x00', '\\x00'",
    )
    .bind(organization.uuid())
    .bind(position)
    .bind(Uuid::from_u128(position.unsigned_abs().into()))
    .bind(event_type)
    .execute(&mut *transaction)
    .await
    .unwrap();
    transaction.commit().await.unwrap();
    position
}

#[tokio::test]
async fn an_agent_reads_its_own_writes() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    for n in 0..20 {
        client.done("create_outbound_campaign", json!({ "name": format!("Campaign {n}") })).await;
        assert_eq!(campaigns(&client).await.len(), n + 1);
    }
    let view = app.app.readside.view(client.organization, Consistency::STRONG).await.unwrap();
    assert_eq!(view.position, 20);
    let beyond = Consistency::Strong { min_position: Some(21) };
    let refused = app.app.readside.view(client.organization, beyond).await.err().unwrap();
    assert_eq!(refused, ReadSideError::BeyondHead { wanted: 21, head: 20 });
}

#[tokio::test]
async fn a_question_that_fails_takes_no_other_with_it() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let (readside, organization) = (&app.app.readside, client.organization);
    let named = |name: &str| readside.campaigns_named(organization, name.to_owned());
    let left = |id| readside.unfinished(organization, id, app.clock.now());
    let mut connection = app.database.connect().await;
    connection.execute("ALTER TABLE read.follow_ups RENAME TO gone").await.unwrap();
    let mut summers = Vec::new();
    for n in 1..=5 {
        let (spring, summer) = (app.clock.mint(), app.clock.mint());
        let both = vec![campaign(spring, "Spring"), campaign(summer, "Summer")];
        app.app.ledger.append(command(&app.app, organization, both)).await.unwrap();
        summers.push(summer);
        // Ids of one moment have no order.
        summers.sort();
        let (springs, broken, named, nobody) =
            tokio::join!(named("spring"), left(spring), named("SUMMER"), named("Autumn"));
        assert_eq!(broken.unwrap_err(), ReadSideError::Unavailable);
        assert_eq!(named.unwrap(), (summers.clone(), 2 * n));
        assert_eq!((springs.unwrap().0.len() as i64, nobody.unwrap().0.len()), (n, 0));
    }
    connection.execute("ALTER TABLE read.gone RENAME TO follow_ups").await.unwrap();
    assert_eq!(left(summers[0]).await.unwrap().0.open_contacts, 0);
    let nobodys = OrganizationId(Uuid::from_u128(1));
    let asked = readside.campaigns_named(nobodys, "Spring".to_owned()).await;
    assert_eq!(asked.unwrap_err(), ReadSideError::UnknownOrganization);
}

#[tokio::test]
async fn whoever_must_not_wait_is_answered_with_what_there_is() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    client.done("create_outbound_campaign", json!({ "name": "Spring" })).await;
    campaigns(&client).await;

    let mut holder = app.database.connect().await;
    let held = held_up(&mut holder, client.organization).await;
    let id: CampaignId = app.clock.mint();
    let summer = command(&app.app, client.organization, vec![campaign(id, "Summer")]);
    app.app.ledger.append(summer).await.unwrap();

    // Somebody else rather waits, in a view and at a desk.
    let counted = |readside: ReadSide, organization| async move {
        readside.settle(organization).await?;
        readside.campaigns_named(organization, "Summer".to_owned()).await
    };
    let with_patience = |wait| counted(app.app.readside.patient(wait), client.organization);
    let waiting = tokio::spawn(with_patience(Duration::from_secs(120)));
    let (status, answer) = client.tool("list_campaigns", json!({})).await;
    assert_eq!((status, &answer["meta"]["errorCode"]), (503, &json!("READ_MODEL_BEHIND")));
    assert!(matches!(with_patience(Duration::ZERO).await, Err(ReadSideError::Behind { .. })));
    assert!(!waiting.is_finished(), "it waits for as long as it said");
    assert_eq!(eventual(&client).await, ["Spring"]);
    let other = app.agent().await;
    assert!(campaigns(&other).await.is_empty(), "everyone else goes on");

    held.rollback().await.unwrap();
    eventually("the fold", || async { app.app.readside.settle(client.organization).await.ok() }).await;
    assert_eq!(campaigns(&client).await.len(), 2);
    assert_eq!(waiting.await.unwrap().unwrap().0, [id]);
}

/// Another process folds this organization, and takes its time.
async fn held_up(connection: &mut PgConnection, organization: OrganizationId) -> Transaction<'_, Postgres> {
    let mut held = connection.begin().await.unwrap();
    sqlx::query("SELECT FROM read.cursors WHERE organization_id = $1 FOR UPDATE")
        .bind(organization.uuid())
        .execute(&mut *held)
        .await
        .unwrap();
    held
}

#[tokio::test]
async fn a_change_is_answered_before_what_it_changes_is_folded() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    client.done("create_outbound_campaign", json!({ "name": "Spring" })).await;
    campaigns(&client).await;
    let mut holder = app.database.connect().await;
    let held = held_up(&mut holder, client.organization).await;
    let id: CampaignId = app.clock.mint();
    let summer = command(&app.app, client.organization, vec![campaign(id, "Summer")]);
    app.app.ledger.append(summer).await.unwrap();

    app.clock.advance(60_000);
    let patch = |patch: Value| json!({ "campaignId": id, "patch": patch });
    let told = client.done("update_outbound_campaign", patch(json!({ "goal": "Ten visits" }))).await;
    assert_eq!((&told["campaign"]["version"], &told["campaign"]["contactCount"]), (&json!(2), &json!(0)));
    assert_ne!(told["campaign"]["createdAt"], told["campaign"]["updatedAt"]);
    assert_eq!(eventual(&client).await, ["Spring"]);

    held.rollback().await.unwrap();
    let shown = client.done("get_campaign", json!({ "campaignId": id })).await;
    for field in ["version", "createdAt", "updatedAt", "contactCount", "assignedCount", "name", "goal"] {
        assert_eq!(shown["campaign"][field], told["campaign"][field], "{field}");
    }
    app.clock.advance(60_000);
    let again = client.done("update_outbound_campaign", patch(json!({ "goal": "Ten visits" }))).await;
    assert_eq!(again["campaign"], told["campaign"], "nothing was changed");
}

#[tokio::test]
async fn an_event_that_cannot_be_read_parks_its_organization_and_no_other() {
    let app = TestApp::start().await;
    let (client, other) = (app.agent().await, app.agent().await);
    client.done("create_outbound_campaign", json!({ "name": "Spring" })).await;
    campaigns(&client).await;
    let mut connection = app.database.connect().await;
    let position = smuggle(&mut connection, client.organization, "CampaignReworded").await;

    let details = eventually("the parking", || async {
        let (status, answer) = client.tool("list_campaigns", json!({})).await;
        assert_eq!(status, 503, "{answer}");
        (answer["meta"]["errorCode"] == "READ_MODEL_PARKED").then(|| answer["meta"]["details"].clone())
    })
    .await;
    assert_eq!(details["parkedPosition"], position);
    assert_eq!(eventual(&client).await, ["Spring"]);
    other.done("create_outbound_campaign", json!({ "name": "Theirs" })).await;
    assert_eq!(campaigns(&other).await, ["Theirs"]);
    // What is written is still recorded.
    let late = command(&app.app, client.organization, vec![campaign(app.clock.mint(), "Late")]);
    assert_eq!(app.app.ledger.append(late).await.unwrap().position, position + 1);
}

#[tokio::test]
async fn an_event_of_a_newer_version_is_left_to_it() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    client.done("create_outbound_campaign", json!({ "name": "Spring" })).await;
    campaigns(&client).await;
    let mut connection = app.database.connect().await;
    smuggle(&mut connection, client.organization, "CampaignFromTheFuture").await;

    // The runner looks four times while this waits.
    let (status, answer) = client.tool("list_campaigns", json!({})).await;
    assert_eq!((status, &answer["meta"]["errorCode"]), (503, &json!("READ_MODEL_BEHIND")));
    let (failures, parked): (i32, Option<i64>) =
        sqlx::query_as("SELECT failures, parked_position FROM read.cursors WHERE organization_id = $1")
            .bind(client.organization.uuid())
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!((failures, parked), (0, None));
    assert_eq!(eventual(&client).await, ["Spring"]);
}

/// A company with something in most tables.
async fn busy(app: &TestApp) -> Client {
    let client = app.agent().await;
    let file = "Name,Email,Phone,City\n\
        Ada,ada@example.com,0612345678,Lyon\nBea,bea@example.com,,Lyon\nCid,cid@@example,,Nice\n";
    let path = client.crm("imports?name=Fair");
    let headers = [("content-type", "text/csv")];
    let (status, folder) =
        client.send(hyper::Method::POST, &path, &headers, file.as_bytes().to_vec()).await.unwrap();
    assert_eq!(status, 201, "{folder}");
    let commit = client.crm(&format!("imports/{}/commit", folder["importFolderId"].as_str().unwrap()));
    assert_eq!(client.post(&commit, json!({})).await.0, 200);
    client.post(&client.crm("agents"), json!({ "name": "Zoé", "email": "zoe@example.com" })).await;
    for name in ["Spring", "Summer"] {
        let made = client.done("create_outbound_campaign", json!({ "name": name, "status": "active" })).await;
        let add = json!({ "campaignId": made["campaign"]["campaignId"], "filter": { "source": "crm" }, "maxContacts": 10 });
        client.done("bulk_add_contacts_to_campaign_by_filter", add).await;
        let steps = json!([{ "id": "a", "type": "question", "text": "And?" }]);
        let script = client.done("create_script_template", json!({ "name": name, "steps": steps })).await;
        let script = &script["template"]["templateId"];
        let patch = json!({ "templateId": script, "patch": { "description": name } });
        client.done("update_script_template", patch).await;
        let listed = client.done("list_outbound_contacts", json!({})).await;
        let begin = json!({
            "campaignId": made["campaign"]["campaignId"], "contactId": listed["contacts"][0]["contactId"],
            "scriptTemplateId": script, "responses": [{ "nodeId": "a", "value": name }],
        });
        client.done("upsert_script_execution", begin).await;
        client.done("delete_script_template", json!({ "templateId": script, "confirm": true })).await;
    }
    client
}

#[tokio::test]
async fn a_rebuild_gives_the_live_rows_and_takes_their_place() {
    let app = TestApp::start().await;
    let client = busy(&app).await;
    let before = client.done("get_crm_workspace_overview", json!({})).await;
    let mut connection = app.database.connect().await;
    let schema = "SELECT 'read'::regnamespace::oid::bigint";
    let live: i64 = sqlx::query_scalar(schema).fetch_one(&mut connection).await.unwrap();

    // The product goes on reading and writing while it is rebuilt.
    let writing = async {
        for n in 0..5 {
            client.done("create_outbound_campaign", json!({ "name": format!("Meanwhile {n}") })).await;
        }
    };
    let (report, ()) = futures::future::join(app.app.readside.rebuild(false, |_| ()), writing).await;
    let report = report.unwrap();
    assert!(report.switched && report.compared > 0, "{report:?}");
    let now: i64 = sqlx::query_scalar(schema).fetch_one(&mut connection).await.unwrap();
    assert_ne!(live, now, "the rebuilt schema has the name");

    let names = campaigns(&client).await;
    assert_eq!(names.len(), 7);
    let after = client.done("get_crm_workspace_overview", json!({})).await;
    assert_eq!(before["contacts"], after["contacts"]);
    // And once more, over what is live now.
    assert!(app.app.readside.rebuild(false, |_| ()).await.unwrap().switched);
}

#[tokio::test]
async fn a_rebuild_that_finds_a_difference_does_not_switch() {
    let app = TestApp::start().await;
    let client = busy(&app).await;
    campaigns(&client).await;
    let mut connection = app.database.connect().await;
    connection.execute("UPDATE read.campaigns SET name = 'Winter' WHERE name = 'Summer'").await.unwrap();
    let refused = app.app.readside.rebuild(false, |_| ()).await.unwrap_err();
    let RebuildError::Differs(tables) = refused else { panic!("{refused}") };
    let tables: Vec<_> = tables.iter().map(|table| (table.organization_id, table.table)).collect();
    assert_eq!(tables, [(client.organization, "campaigns")]);
    assert!(campaigns(&client).await.contains(&"Winter".to_owned()), "nothing was switched");

    // What it left behind is in the way of the next one until that is told to begin anew.
    assert!(matches!(app.app.readside.rebuild(false, |_| ()).await, Err(RebuildError::UnderWay)));
    connection.execute("UPDATE read.campaigns SET name = 'Summer' WHERE name = 'Winter'").await.unwrap();
    assert!(app.app.readside.rebuild(true, |_| ()).await.unwrap().switched);
}

#[tokio::test]
async fn an_organization_that_cannot_be_rebuilt_does_not_stop_the_others() {
    let app = TestApp::start().await;
    let (damaged, newer, well) = (app.agent().await, app.agent().await, app.agent().await);
    for client in [&damaged, &newer, &well] {
        client.done("create_outbound_campaign", json!({ "name": "Spring" })).await;
        campaigns(client).await;
    }
    let mut connection = app.database.connect().await;
    let position = smuggle(&mut connection, damaged.organization, "CampaignReworded").await;
    let unknown = smuggle(&mut connection, newer.organization, "CampaignFromTheFuture").await;
    // More follows, so that the portion has something to be cut off from.
    let late = command(&app.app, damaged.organization, vec![campaign(app.clock.mint(), "Late")]);
    app.app.ledger.append(late).await.unwrap();
    eventually("the parking", || async {
        let (_, answer) = damaged.tool("list_campaigns", json!({})).await;
        (answer["meta"]["errorCode"] == "READ_MODEL_PARKED").then_some(())
    })
    .await;

    let report = app.app.readside.rebuild(false, |_| ()).await.unwrap();
    let mut halted: Vec<_> =
        report.halted.iter().map(|halted| (halted.organization_id, halted.position, halted.parked)).collect();
    halted.sort_by_key(|(_, _, parked)| !parked);
    assert_eq!(halted, [(damaged.organization, position, true), (newer.organization, unknown, false)]);
    assert!(report.switched && report.compared > 0, "{report:?}");
    assert_eq!(campaigns(&well).await, ["Spring"]);
    assert_eq!(
        (eventual(&damaged).await, eventual(&newer).await),
        (vec!["Spring".into()], vec!["Spring".into()])
    );
    let (_, answer) = damaged.tool("list_campaigns", json!({})).await;
    assert_eq!(answer["meta"]["errorCode"], json!("READ_MODEL_PARKED"), "it stays parked");

    let output = run(&app.database, &["rebuild"]).await;
    let (told, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{told}{error}");
    assert!(told.contains("switched") && told.contains("is parked at"), "{told}");
    assert!(error.contains("2 of the organizations could not be folded to the end"), "{error}");
}

#[tokio::test]
async fn tables_that_were_just_filled_are_analysed() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let mut connection = app.database.connect().await;
    // So that nobody else does it.
    connection.execute("ALTER TABLE read.contacts SET (autovacuum_enabled = false)").await.unwrap();
    let mut file = String::from("Email\n");
    for row in 0..6_000 {
        file.push_str(&format!("p{row}@example.com\n"));
    }
    let path = client.crm("imports?name=Fair");
    let headers = [("content-type", "text/csv")];
    let (_, folder) = client.send(hyper::Method::POST, &path, &headers, file.into_bytes()).await.unwrap();
    let commit = client.crm(&format!("imports/{}/commit", folder["importFolderId"].as_str().unwrap()));
    assert_eq!(client.post(&commit, json!({})).await.0, 200);
    let known = eventually("the analysis of the table", async || {
        let rows = "SELECT reltuples FROM pg_class WHERE oid = 'read.contacts'::regclass";
        let rows: f32 = sqlx::query_scalar(rows).fetch_one(app.app.ledger.pool()).await.unwrap();
        (rows > 0.0).then_some(rows)
    })
    .await;
    assert!(known >= 500.0, "{known}");
}

#[tokio::test]
async fn every_table_of_the_read_schema_has_one_owner() {
    let app = TestApp::start().await;
    let mut tables: Vec<String> =
        sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'read' ORDER BY 1")
            .fetch_all(app.app.ledger.pool())
            .await
            .unwrap();
    let mut owned: Vec<String> = docket_projections::all()
        .iter()
        .flat_map(|model| model.tables)
        .map(|table| table.to_string())
        .collect();
    tables.sort();
    owned.sort();
    assert_eq!(tables, owned);
}
