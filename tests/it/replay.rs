//! `docket replay`, as an operator runs it.

use std::process::Output;

use docket_aggregates::ids::OrganizationId;
use docket_aggregates::token::Role;
use serde_json::{Value, json};

use crate::support::app::{held_clock, open, organization};
use crate::support::commands::{campaign, command};
use crate::support::process::{run, run_at};
use crate::support::proxy::Proxy;
use crate::support::{Database, TestApp};

fn lines(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn positions(output: &Output) -> Vec<i64> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    lines(output).iter().map(|line| line["position"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn a_replay_gives_the_events_in_order_and_only_those_asked_for() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let mut campaigns = Vec::new();
    for n in 0..4 {
        let made = client.done("create_outbound_campaign", json!({ "name": format!("Campaign {n}") })).await;
        campaigns.push(made["campaign"]["campaignId"].as_str().unwrap().to_owned());
    }
    let activate = json!({ "campaignId": campaigns[1], "patch": { "status": "active" } });
    client.done("update_outbound_campaign", activate).await;

    let organization = client.organization.to_string();
    let replay = async |more: &[&str]| {
        let arguments = [&["replay", "--organization", &organization], more].concat();
        run(&app.database, &arguments).await
    };
    assert_eq!(positions(&replay(&[]).await), [1, 2, 3, 4, 5]);
    for (filter, expected) in [
        (&["--from", "4"][..], &[4, 5][..]),
        (&["--to", "2"], &[1, 2]),
        (&["--from", "2", "--to", "3"], &[2, 3]),
        (&["--from", "5", "--to", "99"], &[5]),
        (&["--from", "6"], &[]),
        (&["--type", "CampaignActivated"], &[5]),
        (&["--aggregate", &campaigns[1]], &[2, 5]),
        (&["--aggregate", &campaigns[1], "--type", "CampaignCreated"], &[2]),
    ] {
        assert_eq!(positions(&replay(filter).await), expected, "{filter:?}");
    }

    // The API gives the same events to an auditor.
    let auditor = app.client(Role::Auditor, client.organization).await;
    let (status, listed) = auditor.get(&auditor.crm("events?limit=1000")).await;
    assert_eq!(status, 200);
    assert_eq!(listed, Value::Array(lines(&replay(&[]).await)));
}

#[tokio::test]
async fn what_a_replay_reveals_is_noted() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let asked = json!({
        "organizationId": client.organization, "input": { "name": "Walnut" }, "reason": "somebody asked",
    });
    assert_eq!(client.post("/crm/agent/tools/create_outbound_campaign", asked).await.0, 200);
    let organization = client.organization.to_string();
    let noted = || async {
        sqlx::query_scalar::<_, i64>(
            "SELECT count(*) FROM ledger.access_log WHERE organization_id = $1 AND outcome = 'revealed' AND position = 1",
        )
        .bind(client.organization.uuid())
        .fetch_one(app.app.ledger.pool())
        .await
        .unwrap()
    };
    let sealed = run(&app.database, &["replay", "--organization", &organization]).await;
    let text = String::from_utf8(sealed.stdout).unwrap();
    assert!(!text.contains("Walnut") && !text.contains("somebody asked"), "{text}");
    assert_eq!(noted().await, 0);

    let revealed = run(&app.database, &["replay", "--organization", &organization, "--reveal"]).await;
    let event = &lines(&revealed)[0];
    assert_eq!(event["payload"]["text"]["$personal"]["value"]["name"], "Walnut");
    assert_eq!(event["metadata"]["reason"], "somebody asked");
    assert_eq!(noted().await, 1);
}

#[tokio::test]
async fn a_replay_of_nothing_is_refused() {
    let database = Database::create().await;
    let nobody = "01920000-0000-7000-8000-000000000000";
    let output = run(&database, &["replay", "--organization", nobody]).await;
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let wrong = run(&database, &["replay", "--organization", "acme"]).await;
    assert_eq!(wrong.status.code(), Some(2));
}

#[tokio::test]
async fn a_replay_that_breaks_off_says_where() {
    let database = Database::create().await;
    let app = open(database.options.clone(), held_clock()).await;
    let organization: OrganizationId = organization(&app).await;
    let events = 3_000;
    for _ in 0..events / 250 {
        let writes = (0..250).map(|_| campaign(app.clock.mint(), "Spring")).collect();
        app.ledger.append(command(&app, organization, writes)).await.unwrap();
    }
    // Folded beforehand, so that the replay is the only one to read.
    let readside = app.readside.clone();
    let folding = tokio::spawn(async move { readside.run().await });
    crate::support::eventually("the fold", || async { app.readside.settle(organization).await.ok() }).await;
    folding.abort();

    let id = organization.to_string();
    let arguments = ["replay", "--organization", &id];
    assert_eq!(positions(&run(&database, &arguments).await).len(), events);

    let proxy = Proxy::to(&database).await;
    proxy.cut_after_bytes(1_900_000);
    let broken = run_at(&database, &proxy.url, &arguments).await;
    let said = String::from_utf8_lossy(&broken.stderr).into_owned();
    let printed = lines(&broken);
    assert!(
        proxy.cuts() > 0 && !printed.is_empty() && printed.len() < events,
        "{} lines: {said}",
        printed.len()
    );
    assert_eq!(broken.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("position {} was the last one", printed.len())), "{said}");
}
