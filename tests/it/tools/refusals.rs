//! What each tool refuses, as rows: input, status, code.

use serde_json::{Value, json};

use super::{NOBODY, Office, with};

#[tokio::test]
async fn what_a_read_cannot_answer_is_refused() {
    let office = Office::open().await;
    let (one, _) = office.lyon("Spring").await;
    let two = office.campaign("Summer").await;
    let agent = &office.agents[0];
    let row = json!({ "email": "a@example.com" });
    for (tool, input, status, code) in [
        ("list_campaigns", json!({ "limit": 0 }), 400, "INVALID_INPUT"),
        ("list_campaigns", json!({ "limit": 101 }), 400, "INVALID_INPUT"),
        ("list_campaigns", json!({ "limit": "10" }), 400, "INVALID_INPUT"),
        ("list_campaigns", json!({ "limit": 1.5 }), 400, "INVALID_INPUT"),
        ("list_campaigns", json!({ "limit": -1 }), 400, "INVALID_INPUT"),
        ("list_campaigns", json!({ "limit": true }), 400, "INVALID_INPUT"),
        ("list_campaigns", json!({ "limt": 1 }), 400, "UNKNOWN_FIELD"),
        ("list_campaigns", json!({ "asOf": 1 }), 400, "AS_OF_NOT_YET"),
        ("list_campaigns", json!({ "minPosition": 1_000_000_000 }), 400, "POSITION_BEYOND_HEAD"),
        ("list_campaigns", json!({ "minPosition": -1 }), 400, "INVALID_INPUT"),
        (
            "list_campaigns",
            json!({ "createdAfter": "2026-01-02T00:00:00Z", "createdBefore": "2026-01-01T00:00:00Z" }),
            400,
            "INVALID_INPUT",
        ),
        ("list_campaigns", json!({ "status": ["open"] }), 400, "INVALID_INPUT"),
        ("get_campaign", json!({}), 400, "INVALID_INPUT"),
        ("get_campaign", json!({ "campaignId": "x" }), 404, "CAMPAIGN_NOT_FOUND"),
        ("list_outbound_agents", json!({ "campaignId": NOBODY }), 404, "CAMPAIGN_NOT_FOUND"),
        ("list_outbound_contacts", json!({ "campaignId": NOBODY }), 404, "CAMPAIGN_NOT_FOUND"),
        (
            "list_outbound_contacts",
            json!({ "assignedAgentId": agent, "unassigned": true }),
            400,
            "INVALID_INPUT",
        ),
        ("bulk_get_agent_workloads", json!({ "agentIds": ["x"] }), 404, "AGENT_NOT_FOUND"),
        ("bulk_get_agent_workloads", json!({ "agentIds": [] }), 400, "INVALID_INPUT"),
        ("bulk_get_campaign_contact_counts", json!({ "campaignIds": [NOBODY] }), 404, "CAMPAIGN_NOT_FOUND"),
        ("get_campaign_contact_overlap", json!({ "campaignIds": [one] }), 400, "INVALID_INPUT"),
        ("get_campaign_contact_overlap", json!({ "campaignIds": [one, one] }), 400, "INVALID_INPUT"),
        (
            "find_contacts_in_multiple_campaigns",
            json!({ "campaignIds": [one, two], "minCampaigns": 3 }),
            400,
            "INVALID_INPUT",
        ),
        ("analyze_import_contact_deduplication", json!({}), 400, "INVALID_INPUT"),
        (
            "analyze_import_contact_deduplication",
            json!({ "rows": [row], "importFolderId": NOBODY }),
            400,
            "INVALID_INPUT",
        ),
        (
            "analyze_import_contact_deduplication",
            json!({ "rows": [row], "defaultCountry": "ZZ" }),
            400,
            "INVALID_INPUT",
        ),
        ("analyze_import_contact_deduplication", json!({ "rows": vec![row; 1001] }), 400, "INVALID_INPUT"),
        (
            "analyze_import_contact_deduplication",
            json!({ "importFolderId": NOBODY }),
            404,
            "IMPORT_FOLDER_NOT_FOUND",
        ),
    ] {
        let told = office.ask(tool, input.clone()).await;
        assert_eq!((told.status, told.code()), (status, code), "{tool} {input}: {}", told.body);
    }
}

#[tokio::test]
async fn a_campaign_that_makes_no_sense_is_refused() {
    let office = Office::empty().await;
    let window = |start: &str, end: &str, tz: &str| json!({ "name": "a", "settings": { "callWindow": { "start": start, "end": end, "tz": tz } } });
    for (input, status, code) in [
        (json!({ "name": "" }), 400, "INVALID_INPUT"),
        (json!({ "name": "   " }), 400, "INVALID_INPUT"),
        (json!({ "name": "\u{200b}" }), 400, "INVALID_INPUT"),
        (json!({ "name": "\u{2060}\u{3164} \u{ad}" }), 400, "INVALID_INPUT"),
        (json!({ "name": "a".repeat(201) }), 400, "INVALID_INPUT"),
        (json!({ "name": "a\nb" }), 400, "INVALID_INPUT"),
        (json!({ "name": "a", "status": "paused" }), 400, "INVALID_INPUT"),
        (json!({ "name": "a", "startDate": "2026-02-30" }), 400, "INVALID_INPUT"),
        (json!({ "name": "a", "startDate": "2026-03-02", "endDate": "2026-03-01" }), 400, "INVALID_INPUT"),
        (window("09:00", "09:00", "UTC"), 400, "INVALID_INPUT"),
        (window("9:00", "10:00", "UTC"), 400, "INVALID_INPUT"),
        (window("09:00", "10:00", "Europe/Pariss"), 400, "INVALID_INPUT"),
        (json!({ "name": "a", "settings": { "maxAttempts": 0 } }), 400, "INVALID_INPUT"),
        (json!({ "name": "a", "settings": { "maxAttempts": 21 } }), 400, "INVALID_INPUT"),
        (json!({ "name": "a", "scriptTemplateId": NOBODY }), 404, "TEMPLATE_NOT_FOUND"),
        (json!({ "name": "a", "agentIds": [NOBODY] }), 422, "AGENT_UNASSIGNABLE"),
        (json!({ "name": "a", "previewToken": "prv_x" }), 410, "PREVIEW_EXPIRED"),
    ] {
        let told = office.ask("create_outbound_campaign", input.clone()).await;
        assert_eq!((told.status, told.code()), (status, code), "{input}: {}", told.body);
    }
    let (_, listed) = office.client.tool("list_campaigns", json!({})).await;
    assert_eq!(listed["data"]["campaigns"], json!([]), "what is refused leaves nothing behind");
}

#[tokio::test]
async fn a_change_that_makes_no_sense_is_refused() {
    let office = Office::open().await;
    let (campaign, contacts) = office.lyon("Spring").await;
    let (ada, bea) = (&office.agents[0], &office.agents[1]);
    let add = |filter: Value| json!({ "campaignId": campaign, "filter": filter });
    let on = |fields: Value| {
        let mut input = fields;
        input["campaignId"] = json!(campaign);
        input
    };
    const ADD: &str = "bulk_add_contacts_to_campaign_by_filter";
    const ASSIGN: &str = "bulk_assign_campaign_contacts";
    const REMOVE: &str = "bulk_remove_contacts_from_campaign";
    const UPDATE: &str = "update_outbound_campaign";
    let before = office.events().await;
    for (tool, input, status, code) in [
        (UPDATE, on(json!({ "patch": {} })), 400, "INVALID_INPUT"),
        (UPDATE, on(json!({ "patch": { "goal": "x" }, "expectedVersion": 7 })), 409, "VERSION_CONFLICT"),
        (UPDATE, on(json!({ "patch": { "status": "draft" } })), 422, "ILLEGAL_TRANSITION"),
        (UPDATE, json!({ "campaignId": NOBODY, "patch": { "goal": "x" } }), 404, "CAMPAIGN_NOT_FOUND"),
        ("attach_campaign_templates", on(json!({})), 400, "INVALID_INPUT"),
        ("attach_campaign_templates", on(json!({ "scriptTemplateId": NOBODY })), 404, "TEMPLATE_NOT_FOUND"),
        (ADD, add(json!({ "source": "crm" })), 400, "INVALID_INPUT"),
        (ADD, add(json!({ "source": "crm", "contactIds": [NOBODY] })), 404, "CONTACT_NOT_FOUND"),
        (ADD, add(json!({ "source": "import_folder" })), 400, "INVALID_INPUT"),
        (
            ADD,
            add(json!({ "source": "import_folder", "importFolderId": NOBODY })),
            404,
            "IMPORT_FOLDER_NOT_FOUND",
        ),
        (
            ADD,
            with(add(json!({ "source": "crm", "city": "Lyon" })), "skipIfInCampaignIds", json!([NOBODY])),
            404,
            "CAMPAIGN_NOT_FOUND",
        ),
        (
            ADD,
            with(add(json!({ "source": "crm", "city": "Lyon" })), "distribution", "round_robin"),
            400,
            "INVALID_INPUT",
        ),
        (ASSIGN, on(json!({ "agentIds": [ada], "confirm": "true" })), 400, "INVALID_INPUT"),
        (ASSIGN, on(json!({ "agentIds": [ada, bea], "strategy": "single" })), 400, "INVALID_INPUT"),
        (ASSIGN, on(json!({ "agentIds": [ada, "nobody"] })), 422, "AGENT_UNASSIGNABLE"),
        (
            ASSIGN,
            on(json!({ "agentIds": [ada], "contactIds": contacts, "filter": {} })),
            400,
            "INVALID_INPUT",
        ),
        (REMOVE, on(json!({})), 400, "INVALID_INPUT"),
        (REMOVE, on(json!({ "contactIds": contacts, "filter": {} })), 400, "INVALID_INPUT"),
        (REMOVE, on(json!({ "contactIds": [NOBODY], "confirm": true })), 404, "CONTACT_NOT_FOUND"),
        (REMOVE, on(json!({ "filter": {}, "confirm": "true" })), 400, "INVALID_INPUT"),
    ] {
        let told = office.ask(tool, input.clone()).await;
        assert_eq!((told.status, told.code()), (status, code), "{tool} {input}: {}", told.body);
    }
    assert_eq!(office.events().await, before, "what is refused leaves nothing behind");
}

#[tokio::test]
async fn an_archived_campaign_stays_as_it_is() {
    let office = Office::open().await;
    let (campaign, _) = office.lyon("Spring").await;
    office
        .done(
            "update_outbound_campaign",
            json!({ "campaignId": campaign, "patch": { "status": "archived" } }),
        )
        .await;
    let agents = &office.agents;
    for (tool, input, code) in [
        ("update_outbound_campaign", json!({ "patch": { "goal": "x" } }), "CAMPAIGN_ARCHIVED"),
        ("update_outbound_campaign", json!({ "patch": { "status": "active" } }), "ILLEGAL_TRANSITION"),
        (
            "bulk_add_contacts_to_campaign_by_filter",
            json!({ "filter": { "source": "crm", "city": "Lyon" } }),
            "CAMPAIGN_CLOSED",
        ),
        ("bulk_assign_campaign_contacts", json!({ "agentIds": agents }), "CAMPAIGN_CLOSED"),
    ] {
        let told = office.ask(tool, with(input, "campaignId", campaign.clone())).await;
        assert_eq!((told.status, told.code()), (422, code), "{tool}: {}", told.body);
    }
}
