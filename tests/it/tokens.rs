//! What a token may do less than its role: one organization, some tools, so many contacts a call.

use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::process::run;
use crate::tools::{LYON, Office, ask, texts};

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
async fn whoever_has_several_tokens_is_one_person() {
    let app = TestApp::start().await;
    let organization = app.organization().await.to_string();
    let mut persons = Vec::new();
    for (holder, role) in [
        ("Ann Lee <ann@example.com>", vec!["board"]),
        ("Ann <ANN@example.com>", vec!["agent", "--agent", "01890000-0000-7000-8000-000000000001"]),
        ("Ann <ann@example.com>", vec!["instance-admin"]),
        ("Bob <bob@example.com>", vec!["agent", "--agent", "01890000-0000-7000-8000-000000000001"]),
    ] {
        let told = ["token", "create", "--json", "--for", holder, "--organization", &organization, "--role"];
        let issued = run(&app.database, &[told.to_vec(), role].concat()).await;
        let issued: Value = serde_json::from_slice(&issued.stdout).expect("it is told in JSON");
        let token = issued["token"].as_str().unwrap();
        persons.push(app.app.credentials.check(token).await.unwrap().principal_id);
    }
    assert!(persons[..3].iter().all(|person| *person == persons[0]), "{persons:?}");
    assert_ne!(persons[3], persons[0]);
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

    // Ending a campaign affects everybody in it who is still to be called, and a record of a contact that contact.
    let (active, contacts) = office.lyon("Autumn").await;
    let update = |status: &str| json!({ "campaignId": active, "patch": { "status": status } });
    office.client.done("update_outbound_campaign", update("active")).await;
    let form =
        json!({ "name": "Form", "fields": [{ "key": "owner", "label": "Owner?", "type": "boolean" }] });
    let form =
        office.client.done("create_qualification_template", form).await["template"]["templateId"].clone();
    let steps = json!([{ "id": "hello", "type": "question", "text": "Hello?" }]);
    let script = json!({ "name": "Script", "steps": steps });
    let script = office.client.done("create_script_template", script).await["template"]["templateId"].clone();
    let about = |extra: Value| {
        let mut input = json!({ "campaignId": active, "contactId": contacts[0] });
        input.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap());
        input
    };
    let nobody = office.app.narrowed(office.client.organization, None, &[], Some(0)).await;
    let before = office.events().await;
    for (client, tool, mut input, affected) in [
        (&narrow, "update_outbound_campaign", update("archived"), LYON),
        (&narrow, "update_outbound_campaign", update("completed"), LYON),
        (&nobody, "create_qualification", about(json!({ "templateId": form, "answers": {} })), 1),
        (
            &nobody,
            "upsert_script_execution",
            about(json!({ "scriptTemplateId": script, "responses": [] })),
            1,
        ),
    ] {
        let refused = ask(client, tool, input.clone()).await;
        refused.refused(403, "TOO_MANY_AFFECTED");
        assert_eq!(refused.meta()["details"]["affected"], json!(affected), "{tool}");
        input["dryRun"] = true.into();
        let shown = ask(client, tool, input).await;
        assert!(texts(&shown.meta()["warnings"], "code").contains(&"TOO_MANY_AFFECTED".to_owned()), "{tool}");
    }
    assert_eq!(office.events().await, before, "a refusal changes nothing");
    ask(&nobody, "update_outbound_campaign", update("paused")).await.data();

    assert_eq!(ask(&narrow, ADD, input(5)).await.data()["applied"], json!(5));
    assert_eq!(narrow.get(&narrow.crm("agents")).await.0, 403, "no way round over the company API");
}
