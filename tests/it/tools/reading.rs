//! What the reads tell.

use serde_json::{Value, json};

use super::{LYON, Office, VILLEURBANNE, number, sum};
use crate::support::TestApp;

#[tokio::test]
async fn an_empty_organization_has_zeros() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    for (tool, input, pointer) in [
        ("get_crm_workspace_overview", json!({}), "/counts/contacts"),
        ("get_crm_workspace_overview", json!({}), "/counts/followUps/overdue"),
        ("get_crm_workspace_overview", json!({}), "/agents/total"),
        ("get_campaign_contact_overlap", json!({}), "/union"),
        ("find_contacts_in_multiple_campaigns", json!({}), "/totalContacts"),
    ] {
        let told = super::ask(&client, tool, input).await;
        assert_eq!(told.data().pointer(pointer), Some(&json!(0)), "{tool} {pointer}: {}", told.body);
    }
    let told = super::ask(&client, "bulk_get_agent_workloads", json!({})).await;
    assert_eq!(told.data()["workloads"], json!([]));
}

#[tokio::test]
async fn options_of_a_read_are_taken_as_json_means_them() {
    let office = Office::empty().await;
    office.campaign("Spring").await;
    for input in [
        json!({ "limit": 2.0 }),
        json!({ "cursor": null }),
        json!({ "consistency": "eventual" }),
        json!({ "minPosition": 1 }),
        json!({ "responseFormat": "detailed" }),
    ] {
        assert_eq!(office.ask("list_campaigns", input.clone()).await.status, 200, "{input}");
    }
}

#[tokio::test]
async fn what_a_change_answered_is_there_for_the_next_read() {
    let office = Office::empty().await;
    for n in 0..10 {
        let id = office.campaign(&format!("c{n}")).await;
        let told = office.done("get_campaign", json!({ "campaignId": id })).await;
        assert_eq!(told["campaign"]["name"], json!(format!("c{n}")));
    }
}

#[tokio::test]
async fn an_overlap_is_counted_from_both_sides() {
    let office = Office::open().await;
    let (spring, _) = office.lyon("Spring").await;
    let (summer, contacts) = office.lyon("Summer").await;
    office.campaign("Empty").await;
    let nearby = json!({ "campaignId": summer, "filter": { "source": "crm", "city": "Villeurbanne" } });
    office.done("bulk_add_contacts_to_campaign_by_filter", nearby).await;
    let leave = json!({ "campaignId": summer, "contactIds": contacts[..5], "confirm": true });
    office.done("bulk_remove_contacts_from_campaign", leave).await;

    let told = office.done("get_campaign_contact_overlap", json!({ "sampleSize": 3 })).await;
    let total: std::collections::HashMap<&str, u64> = told["campaigns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|campaign| (campaign["campaignId"].as_str().unwrap(), number(&campaign["total"])))
        .collect();
    assert_eq!((total[spring.as_str()], total[summer.as_str()]), (20, 25));
    let pairs = told["pairs"].as_array().unwrap();
    assert_eq!(pairs.len() as u64, number(&told["pairCount"]));
    for pair in pairs {
        let (a, b) = (total[pair["a"].as_str().unwrap()], total[pair["b"].as_str().unwrap()]);
        let overlap = number(&pair["overlap"]);
        assert!(overlap <= a.min(b), "{pair}");
        let percent = |of: u64| if of == 0 { 0.0 } else { 100.0 * overlap as f64 / of as f64 };
        assert!((pair["pctOfA"].as_f64().unwrap() - percent(a)).abs() < 0.1, "{pair}");
        assert!((pair["pctOfB"].as_f64().unwrap() - percent(b)).abs() < 0.1, "{pair}");
    }

    let both =
        office.done("get_campaign_contact_overlap", json!({ "campaignIds": [spring, summer, spring] })).await;
    let shared = number(&both["pairs"][0]["overlap"]);
    assert_eq!(shared, 15);
    assert_eq!(number(&both["union"]), 20 + 25 - shared);
    assert_eq!(number(&both["inAll"]), shared);
}

#[tokio::test]
async fn the_counts_of_the_overview_are_those_of_the_lists() {
    let office = Office::open().await;
    let (campaign, _) = office.lyon("Spring").await;
    let overview = office.done("get_crm_workspace_overview", json!({})).await;
    let counts = &overview["counts"];
    let total =
        async |tool: &str, input: Value| office.ask(tool, input).await.meta()["pagination"]["total"].clone();
    assert_eq!(counts["contacts"], total("list_outbound_contacts", json!({})).await);
    assert_eq!(counts["contacts"], json!(LYON + VILLEURBANNE));
    assert_eq!(overview["agents"]["total"], total("list_outbound_agents", json!({})).await);
    assert_eq!(json!(LYON), total("list_outbound_contacts", json!({ "campaignId": campaign })).await);
    let counted = office.counts(&campaign).await;
    assert_eq!(number(&counted["total"]), number(&counted["assigned"]) + number(&counted["unassigned"]));
    assert_eq!(sum(&counted["byStatus"]), LYON as u64);
}

#[tokio::test]
async fn doubles_are_found_however_they_are_written() {
    let office = Office::open().await;
    let before = office.events().await;
    for (rows, field, expected) in [
        (json!([{ "email": "A@X.com" }, { "email": "a@x.com " }]), "unique", 1),
        (json!([{ "email": "a@x.com" }, { "email": "a+tag@x.com" }]), "unique", 1),
        (json!([{ "email": "a.b@gmail.com" }, { "email": "ab@gmail.com" }]), "unique", 2),
        (
            json!([{ "phone": "07 12 34 56 78" }, { "phone": "+33712345678" }, { "phone": "0033712345678" }]),
            "unique",
            1,
        ),
        (
            json!([{ "email": "a@x.com" }, { "email": "a@x.com", "phone": "0712345678" }, { "phone": "0712345678" }]),
            "unique",
            1,
        ),
        (json!([{ "email": "" }, { "email": "bad" }]), "invalid", 2),
        (json!([{ "email": "P00@EXAMPLE.com" }]), "existingInCrm", 1),
        (Value::from(vec![json!({ "email": "same@example.com" }); 1000]), "unique", 1),
    ] {
        let told =
            office.done("analyze_import_contact_deduplication", json!({ "rows": rows, "limit": 1 })).await;
        assert_eq!(told["summary"][field], json!(expected), "{}", told["summary"]);
    }
    assert_eq!(office.events().await, before, "looking writes nothing");
}
