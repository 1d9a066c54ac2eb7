//! A request that is sent again has one effect and one answer.

use std::collections::BTreeSet;

use docket::tools::catalog;
use docket_aggregates::token::Role;
use futures::future::join_all;
use hyper::Method;
use serde_json::{Value, json};

use super::catalog::office_for_examples;
use super::{JSON, Office, Told, script_templates, with};
use crate::support::eventually;

const CREATE: &str = "create_outbound_campaign";

#[tokio::test]
async fn a_repeated_request_gets_its_first_answer() {
    let office = Office::empty().await;
    let first = office.ask_as("r-1", CREATE, json!({ "name": " Été " })).await;
    let before = office.events().await;
    let again = office.ask_as("r-1", CREATE, json!({ "name": "Été" })).await;
    assert_eq!(again.data(), first.data());
    assert_eq!(first.meta()["idempotentReplay"], json!(false));
    assert_eq!(again.meta()["idempotentReplay"], json!(true));
    for field in ["auditId", "position", "requestId"] {
        assert_eq!(again.meta()[field], first.meta()[field], "{field}");
    }
    office.ask_as("r-1", CREATE, json!({ "name": "Other" })).await.refused(409, "IDEMPOTENCY_CONFLICT");
    assert_eq!(office.events().await, before);
}

#[tokio::test]
async fn a_request_that_shows_a_token_that_was_applied_is_answered_and_remembered() {
    let office = Office::empty().await;
    let spring = || json!({ "name": "Spring" });
    let preview = office.ask(CREATE, with(spring(), "dryRun", true)).await;
    let applying = with(spring(), "previewToken", preview.token());
    let first = office.ask_as("r-1", CREATE, applying.clone()).await;
    let before = office.events().await;
    // The same token under another id, and then that id without the token, which is no part of the input.
    for (request_id, input) in
        [("r-2", &applying), ("r-2", &spring()), ("r-2", &applying), ("r-1", &spring())]
    {
        let again = office.ask_as(request_id, CREATE, input.clone()).await;
        assert_eq!((again.data(), &again.meta()["idempotentReplay"]), (first.data(), &json!(true)));
        for field in ["auditId", "position"] {
            assert_eq!(again.meta()[field], first.meta()[field], "{request_id} {field}");
        }
    }
    office.ask_as("r-2", CREATE, json!({ "name": "Other" })).await.refused(409, "IDEMPOTENCY_CONFLICT");
    assert_eq!(office.events().await, before);
}

#[tokio::test]
async fn a_tool_that_may_be_repeated_changes_nothing_the_second_time() {
    let office = office_for_examples().await;
    let (campaign, contacts) = office.lyon("Autumn").await;
    let template = office.done("list_qualification_templates", json!({ "limit": 1 })).await;
    let template = &template["templates"][0]["templateId"];
    let qualification = office.done("list_qualifications", json!({ "limit": 1 })).await;
    let qualification = &qualification["qualifications"][0]["qualificationId"];
    let scripts = office.done("list_script_templates", json!({ "limit": 1 })).await;
    let script = &scripts["templates"][0]["templateId"];
    let mut promised: BTreeSet<&str> =
        catalog().iter().filter(|tool| tool.mutating() && tool.repeatable).map(|tool| tool.name).collect();
    for (tool, input) in [
        (
            "update_outbound_campaign",
            json!({ "campaignId": campaign, "patch": { "goal": "Ten", "status": "paused" } }),
        ),
        ("attach_campaign_templates", json!({ "campaignId": campaign, "scriptTemplateId": script })),
        (
            "update_script_template",
            json!({ "templateId": script, "patch": { "description": "For a first call" } }),
        ),
        (
            "update_qualification_template",
            json!({ "templateId": template, "patch": { "description": "Asked" } }),
        ),
        (
            "update_qualification",
            json!({ "qualificationId": qualification, "patch": { "notes": "In spring" } }),
        ),
        (
            "bulk_remove_contacts_from_campaign",
            json!({ "campaignId": campaign, "contactIds": contacts, "confirm": true }),
        ),
        ("delete_script_template", json!({ "templateId": script, "force": true, "confirm": true })),
    ] {
        let before = office.events().await;
        office.done(tool, input.clone()).await;
        let after = office.events().await;
        assert!(after > before, "{tool} changed nothing the first time");
        office.ask(tool, input).await;
        assert_eq!(office.events().await, after, "{tool}");
        assert!(promised.remove(tool), "{tool} does not promise it");
    }
    assert!(promised.is_empty(), "nobody saw that of {promised:?}");
    // These do more each time, and do not promise otherwise.
    let campaign = office.campaign("Winter").await;
    let add =
        json!({ "campaignId": campaign, "filter": { "source": "crm", "city": "Lyon" }, "maxContacts": 8 });
    for (tool, input) in [
        ("bulk_add_contacts_to_campaign_by_filter", add),
        (
            "bulk_assign_campaign_contacts",
            json!({
                "campaignId": campaign, "agentIds": office.agents, "reassign": true, "confirm": true,
                "filter": { "assignedAgentIds": [office.agents[0]], "unassigned": true },
            }),
        ),
    ] {
        for _ in 0..2 {
            assert_ne!(office.done(tool, input.clone()).await["applied"], json!(0), "{tool}");
        }
    }
}

#[tokio::test]
async fn fifty_calls_with_one_request_id_have_one_effect() {
    let office = Office::empty().await;
    let before = office.events().await;
    let answers = join_all((0..50).map(|_| office.ask_as("r-1", CREATE, json!({ "name": "Spring" })))).await;
    for answer in &answers {
        assert_eq!(answer.data(), answers[0].data());
        assert_eq!(answer.meta()["auditId"], answers[0].meta()["auditId"]);
    }
    let fresh = answers.iter().filter(|answer| answer.meta()["idempotentReplay"] == json!(false)).count();
    assert_eq!((fresh, office.events().await - before), (1, 1));
}

/// By what two calls are the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Same {
    RequestId,
    Token,
    Both,
}

#[tokio::test]
async fn calls_that_come_while_the_first_is_under_way_get_its_answer() {
    let office = Office::open().await;
    let (campaign, contacts) = office.lyon("Spring").await;
    let script = script_templates::script(&office, "Attached").await;
    script_templates::attach(&office, &campaign, &script).await;
    // Another process sees nothing of the calls that are under way here.
    let elsewhere = office.app.another().await;
    let token = office.app.token(Role::SuperAdmin, None).await;
    let caller = elsewhere.credentials.check(&token).await.unwrap();
    let agents = &office.agents;
    let step = json!([{ "id": "a", "type": "question", "text": "And?" }]);
    for (n, same) in [Same::RequestId, Same::Token, Same::Both].into_iter().enumerate() {
        let doomed = script_templates::script(&office, &format!("Doomed {n}")).await;
        let on = |fields: Value| with(fields, "campaignId", campaign.clone());
        let contact = &contacts[n];
        for (tool, input) in [
            (CREATE, json!({ "name": format!("Summer {n}") })),
            (
                "import_script_templates",
                json!({ "templates": [{ "name": format!("New {n}"), "steps": step }] }),
            ),
            (
                "upsert_script_execution",
                on(json!({ "contactId": contact, "responses": [{ "nodeId": "notes", "value": "x" }] })),
            ),
            ("delete_script_template", json!({ "templateId": doomed, "confirm": true })),
            (
                "bulk_assign_campaign_contacts",
                on(json!({ "contactIds": [contact], "agentIds": agents, "confirm": true })),
            ),
            ("bulk_remove_contacts_from_campaign", on(json!({ "contactIds": [contact], "confirm": true }))),
            (
                "bulk_add_contacts_to_campaign_by_filter",
                on(json!({ "filter": { "source": "crm", "city": "Lyon" }, "maxContacts": 100 })),
            ),
        ] {
            let request_id = (same != Same::Token).then(|| format!("at-once-{n}"));
            let mut applying = input.clone();
            if same != Same::RequestId {
                let preview = office.ask(tool, with(input, "dryRun", true)).await;
                applying = with(applying, "previewToken", preview.token());
            }
            let before = office.events().await;
            let here = (0..8).map(async |_| {
                let answer = office.client.try_tool(tool, &applying, request_id.as_deref()).await;
                Told::checked(tool, answer.unwrap())
            });
            // A request id belongs to who sent it; a token is the same for everybody.
            let there = (0..if same == Same::RequestId { 0 } else { 4 }).map(async |_| {
                let body = json!({ "organizationId": office.client.organization, "input": applying });
                // Its read models follow those of the other process; whoever is told to come again does.
                eventually("the other process answers", async || {
                    let answer = docket::tools::answer(&elsewhere, &caller, tool, Ok(body.clone())).await;
                    (answer.status != 503).then(|| Told::checked(tool, (answer.status, answer.body)))
                })
                .await
            });
            let (here, there) = tokio::join!(join_all(here), join_all(there));
            let answers: Vec<Told> = here.into_iter().chain(there).collect();
            for told in &answers {
                assert_eq!(told.data(), answers[0].data(), "{tool} {same:?}");
                for field in ["auditId", "position", "warnings", "truncated"] {
                    assert_eq!(told.meta()[field], answers[0].meta()[field], "{tool} {same:?} {field}");
                }
            }
            let first = answers.iter().filter(|told| told.meta()["idempotentReplay"] == json!(false));
            assert_eq!(first.count(), 1, "{tool} {same:?}");
            assert!(office.events().await > before, "{tool} {same:?}");
            // Nor is it another answer later.
            let later = office.client.try_tool(tool, &applying, request_id.as_deref()).await.unwrap();
            assert_eq!(Told::checked(tool, later).data(), answers[0].data(), "{tool} {same:?}");
        }
    }
}

#[tokio::test]
async fn what_is_applied_in_part_is_answered_alike_to_everybody() {
    const ASSIGN: &str = "bulk_assign_campaign_contacts";
    let office = Office::open().await;
    let (campaign, contacts) = office.lyon("Spring").await;
    let assign = json!({
        "campaignId": campaign, "agentIds": office.agents, "contactIds": contacts, "confirm": true,
    });
    let preview = office.ask(ASSIGN, with(assign.clone(), "dryRun", true)).await;
    let remove = json!({ "campaignId": campaign, "contactIds": contacts[..2], "confirm": true });
    office.done("bulk_remove_contacts_from_campaign", remove).await;
    let applying = with(with(assign, "previewToken", preview.token()), "onDrift", "intersect");
    let answers = join_all((0..6).map(|_| office.ask(ASSIGN, applying.clone()))).await;
    for told in &answers {
        assert_eq!(told.data(), answers[0].data());
    }
    assert_eq!(answers[0].data()["skippedByReason"], json!({ "NOT_IN_CAMPAIGN": 2 }));
}

#[tokio::test]
async fn fifty_bulk_calls_with_one_request_id_are_one_plan() {
    const ADD: &str = "bulk_add_contacts_to_campaign_by_filter";
    let office = Office::open().await;
    let campaign = office.campaign("Spring").await;
    let input = json!({ "campaignId": campaign, "filter": { "source": "crm" }, "maxContacts": 100 });
    let before = office.events().await;
    let answers = join_all((0..50).map(|_| office.ask_as("r-1", ADD, input.clone()))).await;
    for answer in &answers {
        assert_eq!(answer.data(), answers[0].data());
    }
    let fresh = answers.iter().filter(|answer| answer.meta()["idempotentReplay"] == json!(false)).count();
    assert_eq!((fresh, office.events().await - before), (1, 1));
}

#[tokio::test]
async fn how_a_change_is_applied_is_no_part_of_what_is_asked_for() {
    const REMOVE: &str = "bulk_remove_contacts_from_campaign";
    let office = Office::open().await;
    let (campaign, contacts) = office.lyon("Spring").await;
    let input = |more: Value| {
        let mut input = json!({ "campaignId": campaign, "contactIds": [contacts[0]] });
        input.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        input
    };
    let (one, other) =
        (office.ask(REMOVE, input(json!({}))).await, office.ask(REMOVE, input(json!({}))).await);
    let applied = json!({ "confirm": true, "previewToken": one.token() });
    let applied = office.ask_as("r-1", REMOVE, input(applied)).await;
    assert_eq!(applied.meta()["idempotentReplay"], json!(false));
    let before = office.events().await;
    for again in [
        json!({ "confirm": true }),
        json!({ "confirm": true, "previewToken": other.token(), "onDrift": "intersect" }),
        json!({ "confirm": true, "dryRun": false }),
    ] {
        let told = office.ask_as("r-1", REMOVE, input(again.clone())).await;
        assert_eq!(told.data(), applied.data(), "{again}");
        assert_eq!(told.meta()["idempotentReplay"], json!(true), "{again}");
    }
    assert_eq!(office.events().await, before);
    let shown = office.ask_as("r-1", REMOVE, input(json!({}))).await;
    assert_eq!(shown.data()["dryRun"], json!(true), "what is only shown uses no key");
    let another = json!({ "campaignId": campaign, "contactIds": [contacts[1]], "confirm": true });
    office.ask_as("r-1", REMOVE, another).await.refused(409, "IDEMPOTENCY_CONFLICT");
}

#[tokio::test]
async fn neither_a_refusal_nor_a_preview_uses_up_a_request_id() {
    let office = Office::empty().await;
    office.ask_as("r-1", CREATE, json!({ "name": "" })).await.refused(400, "INVALID_INPUT");
    office.ask_as("r-1", "list_campaigns", json!({})).await.data();
    let preview = office.ask_as("r-1", CREATE, json!({ "name": "Spring", "dryRun": true })).await;
    let applied = office.ask_as("r-1", CREATE, json!({ "name": "Spring" })).await;
    assert_eq!(applied.meta()["idempotentReplay"], json!(false));
    assert_ne!(applied.data()["campaign"]["campaignId"], preview.data()["campaign"]["campaignId"]);
}

#[tokio::test]
async fn the_header_and_the_request_id_are_one_name() {
    let office = Office::empty().await;
    let call = async |tool: &str, key: &str, input: Value, request_id: Value| {
        let headers = [JSON, ("idempotency-key", key)];
        let body =
            json!({ "organizationId": office.client.organization, "input": input, "requestId": request_id });
        let path = format!("/crm/agent/tools/{tool}");
        let answer = office.client.send(Method::POST, &path, &headers, body.to_string().into_bytes()).await;
        Told::checked(tool, answer.unwrap())
    };
    let spring = || json!({ "name": "Spring" });
    let first = call(CREATE, "k-1", spring(), Value::Null).await;
    assert_eq!(first.meta()["requestId"], json!("k-1"));
    for again in [
        call(CREATE, "\"k-1\"", spring(), Value::Null).await,
        call(CREATE, "k-1", spring(), json!("k-1")).await,
        office.ask_as("k-1", CREATE, spring()).await,
    ] {
        assert_eq!(again.data(), first.data());
        assert_eq!(again.meta()["idempotentReplay"], json!(true));
    }
    call(CREATE, "k-1", json!({ "name": "Other" }), Value::Null).await.refused(409, "IDEMPOTENCY_CONFLICT");
    let too_long = "k".repeat(121);
    for (key, request_id) in
        [("k-1", json!("k-2")), ("", Value::Null), ("a b", Value::Null), (too_long.as_str(), Value::Null)]
    {
        let refused = call(CREATE, key, spring(), request_id).await;
        refused.refused(400, "INVALID_INPUT");
        assert_eq!(refused.meta()["fieldErrors"][0]["path"], json!("idempotency-key"), "{key}");
    }
    // A name is one of a tool.
    let steps = json!([{ "id": "a", "type": "instruction", "text": "Bonjour." }]);
    let script =
        call("create_script_template", "k-1", json!({ "name": "First", "steps": steps }), Value::Null).await;
    assert_eq!(script.meta()["idempotentReplay"], json!(false));
}

#[tokio::test]
async fn a_request_id_belongs_to_who_sent_it() {
    let office = Office::empty().await;
    let first = office.ask_as("r-1", CREATE, json!({ "name": "Spring" })).await;
    let somebody_else = office.app.client(Role::SuperAdmin, office.client.organization).await;
    let answer = somebody_else.try_tool(CREATE, &json!({ "name": "Summer" }), Some("r-1")).await.unwrap();
    let theirs = Told::checked(CREATE, answer);
    assert_eq!(theirs.meta()["idempotentReplay"], json!(false));
    assert_ne!(theirs.data()["campaign"]["campaignId"], first.data()["campaign"]["campaignId"]);
}

#[tokio::test]
async fn reasons_and_request_ids_are_counted_in_characters() {
    let office = Office::empty().await;
    let call = async |more: Value| {
        let mut body = json!({ "organizationId": office.client.organization, "input": {} });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = office.client.post("/crm/agent/tools/list_campaigns", body).await;
        Told::checked("list_campaigns", answer)
    };
    for (more, status) in [
        (json!({ "reason": "é".repeat(500) }), 200),
        (json!({ "reason": "é".repeat(501) }), 400),
        (json!({ "reason": "a\u{0}b" }), 400),
        (json!({ "reason": 5 }), 400),
        (json!({ "reason": null, "requestId": null }), 200),
        (json!({ "requestId": "é".repeat(120) }), 200),
        (json!({ "requestId": "é".repeat(121) }), 400),
        (json!({ "requestId": "a\u{7}b" }), 400),
        (json!({ "requestId": "a\nb" }), 400),
        (json!({ "requestId": " " }), 400),
        (json!({ "requestId": 5 }), 400),
    ] {
        assert_eq!(call(more.clone()).await.status, status, "{more}");
    }
}
