//! Which organization somebody means.

use docket_aggregates::ids::OrganizationId;
use docket_aggregates::token::Role;
use hyper::Method;
use serde_json::{Value, json};

use super::{JSON, ask, texts};
use crate::support::TestApp;
use crate::support::app::named_organization;

const RESOLVE: &str = "crm_resolve_workspace";

#[tokio::test]
async fn whoever_is_meant_is_found_and_doubt_is_told() {
    let app = TestApp::start().await;
    let bank = named_organization(&app.app, "Société Générale", "ada+crm@example.com").await;
    let one = named_organization(&app.app, "Twin", "one@twin.example").await;
    let other = named_organization(&app.app, "Twin", "other@twin.example").await;
    let client = app.client(Role::SuperAdmin, bank).await;
    let off = json!({ "crmEnabled": false }).to_string().into_bytes();
    let path = format!("/api/admin/organizations/{other}");
    assert_eq!(client.send(Method::PATCH, &path, &[JSON], off).await.unwrap().0, 200);

    for (query, by, found, exact, ambiguous) in [
        ("société générale", "any", vec![bank], true, false),
        ("SOCIETE GENERALE", "name", vec![bank], true, false),
        ("ada+crm@example.com", "owner_email", vec![bank], true, false),
        ("twin", "any", vec![one, other], true, true),
        ("one@twin.example", "any", vec![one], true, false),
        // Cyrillic letters that look the same: both twins resemble it alike.
        ("Тwin", "name", vec![], false, true),
        ("_win", "any", vec![], false, true),
    ] {
        let told = ask(&client, RESOLVE, json!({ "query": query, "matchBy": by })).await;
        let data = told.data();
        // What fits less well may follow.
        let mut ids = texts(&data["matches"], "organizationId");
        ids.truncate(found.len());
        ids.sort();
        let mut expected: Vec<String> = found.iter().map(OrganizationId::to_string).collect();
        expected.sort();
        assert_eq!(ids, expected, "{query}: {data}");
        assert_eq!(
            (&data["exact"], &data["ambiguous"]),
            (&json!(exact), &json!(ambiguous)),
            "{query}: {data}"
        );
    }
    let by_id = ask(&client, RESOLVE, json!({ "query": other.to_string(), "matchBy": "id" })).await;
    let found: Vec<(&Value, &Value)> = by_id.data()["matches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (&one["crmEnabled"], &one["score"]))
        .collect();
    assert_eq!(found, [(&json!(false), &json!(1.0))], "one whose module is off is found, and said to be");
}
