//! What a token may do less than its role: one organization, some tools, so many contacts a call.

use serde_json::json;

use crate::support::TestApp;
use crate::tools::{Office, ask, texts};

const ADD: &str = "bulk_add_contacts_to_campaign_by_filter";

#[tokio::test]
async fn a_token_for_some_tools_calls_no_other() {
    let app = TestApp::start().await;
    let organization = app.organization().await;
    let narrow = app.narrowed(organization, None, &["list_campaigns"], None).await;
    assert_eq!(ask(&narrow, "list_campaigns", json!({})).await.status, 200);
    ask(&narrow, "list_outbound_agents", json!({})).await.refused(403, "TOOL_NOT_IN_SCOPE");
    ask(&narrow, "no_such_tool", json!({})).await.refused(404, "TOOL_NOT_FOUND");
    assert_eq!(narrow.get(&narrow.crm("agents")).await.0, 403);

    // It is offered what it may call, and a search finds nothing else.
    for (query, names) in [
        ("", vec!["list_campaigns"]),
        ("?query=list+campaigns", vec!["list_campaigns"]),
        ("?family=Script+templates", vec![]),
    ] {
        let (status, offered) = narrow.get(&format!("/crm/agent/capabilities{query}")).await;
        assert_eq!(
            (status, texts(&offered["data"]["tools"], "name")),
            (200, names.into_iter().map(str::to_owned).collect())
        );
    }
    let whole = app.narrowed(organization, None, &[], Some(5)).await;
    let (_, offered) = whole.get("/crm/agent/capabilities").await;
    assert_eq!(
        offered["data"]["tools"].as_array().unwrap().len(),
        37,
        "one for few contacts calls every tool"
    );
}

#[tokio::test]
async fn a_token_for_one_organization_finds_no_other() {
    let app = TestApp::start().await;
    let (own, other) = (app.organization().await, app.organization().await);
    let at_home = app.narrowed(own, Some(own), &[], None).await;
    let abroad = app.narrowed(other, Some(own), &[], None).await;
    assert_eq!(ask(&at_home, "list_campaigns", json!({})).await.status, 200);
    ask(&abroad, "list_campaigns", json!({})).await.refused(404, "ORG_NOT_FOUND");
}

#[tokio::test]
async fn a_token_for_few_contacts_changes_no_more() {
    let office = Office::open().await;
    let campaign = office.campaign("Spring").await;
    let narrow = office.app.narrowed(office.client.organization, None, &[], Some(5)).await;
    let input =
        |most: u64| json!({ "campaignId": campaign, "filter": { "source": "crm" }, "maxContacts": most });

    let before = office.events().await;
    let refused = ask(&narrow, ADD, input(6)).await;
    refused.refused(403, "TOO_MANY_AFFECTED");
    assert_eq!(refused.meta()["details"], json!({ "affected": 6, "maxAffected": 5 }));
    let mut shown = input(6);
    shown["dryRun"] = true.into();
    let shown = ask(&narrow, ADD, shown).await;
    assert_eq!(shown.data()["applied"], json!(6), "what is only shown is shown");
    assert!(texts(&shown.meta()["warnings"], "code").contains(&"TOO_MANY_AFFECTED".to_owned()));
    let mut applied = input(6);
    applied["previewToken"] = shown.token();
    ask(&narrow, ADD, applied).await.refused(403, "TOO_MANY_AFFECTED");
    assert_eq!(office.events().await, before, "a refusal changes nothing");

    assert_eq!(ask(&narrow, ADD, input(5)).await.data()["applied"], json!(5));
    assert_eq!(narrow.get(&narrow.crm("agents")).await.0, 403, "no way round over the company API");
}
