//! What belongs to another organization does not exist here.

use docket_aggregates::token::Role;
use serde_json::json;

use super::catalog::office_for_examples;
use super::{Office, ask, campaign, furnish, script_templates, text, texts};

#[tokio::test]
async fn what_belongs_to_another_organization_is_not_found() {
    let office = Office::open().await;
    let (own, own_contacts) = office.lyon("Spring").await;
    let other = office.app.client(Role::SuperAdmin, office.app.organization().await).await;
    let agents = furnish(&other).await;
    let theirs = campaign(&other, "Spring").await;
    let also_theirs = campaign(&other, "Summer").await;
    let contacts = ask(&other, "list_outbound_contacts", json!({ "limit": 2 })).await;
    let contacts = texts(&contacts.data()["contacts"], "contactId");
    let (_, folders) = other.get(&other.crm("imports")).await;
    let folder = text(&folders[0]["importFolderId"]);
    let preview = ask(&other, "create_outbound_campaign", json!({ "name": "Autumn", "dryRun": true })).await;
    let page = ask(&other, "list_campaigns", json!({ "limit": 1 })).await;
    let cursor = &page.meta()["pagination"]["nextCursor"];
    let script = json!({ "name": "Theirs", "steps": script_templates::steps() });
    let script = ask(&other, "create_script_template", script).await.data()["template"]["templateId"].clone();
    let add = json!({ "campaignId": theirs, "filter": { "source": "crm", "contactIds": contacts } });
    ask(&other, "bulk_add_contacts_to_campaign_by_filter", add).await.data();
    let begin = json!({ "campaignId": theirs, "contactId": contacts[0], "scriptTemplateId": script });
    let begun = ask(&other, "upsert_script_execution", begin).await;
    let execution = &begun.data()["execution"]["executionId"];
    let everybody = json!({ "source": "crm", "city": "Lyon" });

    for (tool, input, status, code) in [
        ("get_campaign", json!({ "campaignId": theirs }), 404, "CAMPAIGN_NOT_FOUND"),
        (
            "update_outbound_campaign",
            json!({ "campaignId": theirs, "patch": { "goal": "x" } }),
            404,
            "CAMPAIGN_NOT_FOUND",
        ),
        (
            "attach_campaign_templates",
            json!({ "campaignId": theirs, "scriptTemplateId": null }),
            404,
            "CAMPAIGN_NOT_FOUND",
        ),
        (
            "bulk_add_contacts_to_campaign_by_filter",
            json!({ "campaignId": theirs, "filter": everybody }),
            404,
            "CAMPAIGN_NOT_FOUND",
        ),
        (
            "bulk_add_contacts_to_campaign_by_filter",
            json!({ "campaignId": own, "filter": { "source": "crm", "contactIds": contacts } }),
            404,
            "CONTACT_NOT_FOUND",
        ),
        (
            "bulk_add_contacts_to_campaign_by_filter",
            json!({ "campaignId": own, "filter": { "source": "import_folder", "importFolderId": folder } }),
            404,
            "IMPORT_FOLDER_NOT_FOUND",
        ),
        (
            "bulk_add_contacts_to_campaign_by_filter",
            json!({ "campaignId": own, "filter": everybody, "skipIfInCampaignIds": [theirs] }),
            404,
            "CAMPAIGN_NOT_FOUND",
        ),
        (
            "bulk_assign_campaign_contacts",
            json!({ "campaignId": theirs, "agentIds": office.agents }),
            404,
            "CAMPAIGN_NOT_FOUND",
        ),
        (
            "bulk_assign_campaign_contacts",
            json!({ "campaignId": own, "agentIds": agents }),
            422,
            "AGENT_UNASSIGNABLE",
        ),
        (
            "bulk_remove_contacts_from_campaign",
            json!({ "campaignId": theirs, "filter": {} }),
            404,
            "CAMPAIGN_NOT_FOUND",
        ),
        (
            "bulk_remove_contacts_from_campaign",
            json!({ "campaignId": own, "contactIds": contacts }),
            404,
            "CONTACT_NOT_FOUND",
        ),
        (
            "bulk_remove_contacts_from_campaign",
            json!({ "campaignId": own, "filter": { "alsoInCampaignIds": [theirs] } }),
            404,
            "CAMPAIGN_NOT_FOUND",
        ),
        (
            "bulk_remove_contacts_from_campaign",
            json!({ "campaignId": own, "filter": { "assignedAgentIds": [agents[0]], "unassigned": true } }),
            404,
            "AGENT_NOT_FOUND",
        ),
        (
            "bulk_assign_campaign_contacts",
            json!({ "campaignId": own, "agentIds": office.agents, "filter": { "alsoInCampaignIds": [own, "nonsense"] } }),
            404,
            "CAMPAIGN_NOT_FOUND",
        ),
        (
            "bulk_assign_campaign_contacts",
            json!({ "campaignId": own, "agentIds": office.agents, "filter": { "assignedAgentIds": [agents[0]] } }),
            404,
            "AGENT_NOT_FOUND",
        ),
        ("list_qualifications", json!({ "campaignId": theirs }), 404, "CAMPAIGN_NOT_FOUND"),
        ("list_qualifications", json!({ "contactId": contacts[0] }), 404, "CONTACT_NOT_FOUND"),
        ("list_qualifications", json!({ "agentId": agents[0] }), 404, "AGENT_NOT_FOUND"),
        ("list_qualifications", json!({ "templateId": script }), 404, "TEMPLATE_NOT_FOUND"),
        ("bulk_get_agent_workloads", json!({ "agentIds": agents }), 404, "AGENT_NOT_FOUND"),
        ("bulk_get_campaign_contact_counts", json!({ "campaignIds": [theirs] }), 404, "CAMPAIGN_NOT_FOUND"),
        ("list_outbound_contacts", json!({ "campaignId": theirs }), 404, "CAMPAIGN_NOT_FOUND"),
        ("list_outbound_agents", json!({ "campaignId": theirs }), 404, "CAMPAIGN_NOT_FOUND"),
        (
            "get_campaign_contact_overlap",
            json!({ "campaignIds": [theirs, also_theirs] }),
            404,
            "CAMPAIGN_NOT_FOUND",
        ),
        (
            "analyze_import_contact_deduplication",
            json!({ "importFolderId": folder }),
            404,
            "IMPORT_FOLDER_NOT_FOUND",
        ),
        ("get_script_template", json!({ "templateId": script }), 404, "TEMPLATE_NOT_FOUND"),
        ("export_script_template", json!({ "templateId": script }), 404, "TEMPLATE_NOT_FOUND"),
        (
            "update_script_template",
            json!({ "templateId": script, "patch": { "name": "x" } }),
            404,
            "TEMPLATE_NOT_FOUND",
        ),
        (
            "delete_script_template",
            json!({ "templateId": script, "confirm": true }),
            404,
            "TEMPLATE_NOT_FOUND",
        ),
        ("list_script_templates", json!({ "campaignId": theirs }), 404, "CAMPAIGN_NOT_FOUND"),
        (
            "attach_campaign_templates",
            json!({ "campaignId": own, "scriptTemplateId": script }),
            404,
            "TEMPLATE_NOT_FOUND",
        ),
        (
            "create_outbound_campaign",
            json!({ "name": "Autumn", "scriptTemplateId": script }),
            404,
            "TEMPLATE_NOT_FOUND",
        ),
        ("get_script_execution", json!({ "executionId": execution }), 404, "EXECUTION_NOT_FOUND"),
        (
            "get_script_execution",
            json!({ "campaignId": theirs, "contactId": contacts[0] }),
            404,
            "CAMPAIGN_NOT_FOUND",
        ),
        (
            "upsert_script_execution",
            json!({ "campaignId": own, "contactId": own_contacts[0], "scriptTemplateId": script }),
            404,
            "TEMPLATE_NOT_FOUND",
        ),
        (
            "upsert_script_execution",
            json!({ "campaignId": own, "contactId": own_contacts[0], "executionId": execution }),
            404,
            "EXECUTION_NOT_FOUND",
        ),
        (
            "upsert_script_execution",
            json!({ "campaignId": own, "contactId": contacts[0] }),
            404,
            "CONTACT_NOT_FOUND",
        ),
        ("list_campaigns", json!({ "limit": 1, "cursor": cursor }), 400, "INVALID_CURSOR"),
        (
            "create_outbound_campaign",
            json!({ "name": "Autumn", "previewToken": preview.token() }),
            410,
            "PREVIEW_EXPIRED",
        ),
    ] {
        let told = office.ask(tool, input.clone()).await;
        assert_eq!((told.status, told.code()), (status, code), "{tool} {input}: {}", told.body);
    }
}

/// Of every tool that there is: none can be forgotten here.
#[tokio::test]
async fn an_example_with_the_ids_of_another_organization_finds_nothing() {
    let office = office_for_examples().await;
    let other = office.app.client(Role::SuperAdmin, office.app.organization().await).await;
    let with_ids = format!("/crm/agent/capabilities?organizationId={}", office.client.organization);
    let (_, theirs) = office.client.get(&with_ids).await;
    let (_, nobodys) = office.client.get("/crm/agent/capabilities").await;
    let before = office.events().await;
    let mut refused = 0;
    let both =
        theirs["data"]["tools"].as_array().unwrap().iter().zip(nobodys["data"]["tools"].as_array().unwrap());
    for (tool, without) in both {
        let name = tool["name"].as_str().unwrap();
        let examples =
            tool["examples"].as_array().unwrap().iter().zip(without["examples"].as_array().unwrap());
        // An example is filled in with ids where it names something.
        for (example, _) in examples.filter(|(filled, bare)| filled["input"] != bare["input"]) {
            let told = ask(&other, name, example["input"].clone()).await;
            let not_found = told.status == 404 || (told.status, told.code()) == (422, "AGENT_UNASSIGNABLE");
            assert!(not_found, "{name} {}: {}", example["input"], told.body);
            refused += 1;
        }
    }
    assert!(refused > 30, "only {refused} examples name anything");
    assert_eq!(office.events().await, before);
}
