//! A preview changes nothing, and applying it does exactly what it showed.

use docket::ledger::Command;
use docket_aggregates::ids::CampaignId;
use docket_aggregates::token::Role;
use serde_json::{Value, json};

use super::catalog::office_for_examples;
use super::{LYON, Office, Told, qualification_templates, script_templates, with};
use crate::support::{commands, eventually};

const CREATE: &str = "create_outbound_campaign";
const UPDATE: &str = "update_outbound_campaign";
const ATTACH: &str = "attach_campaign_templates";
const ADD: &str = "bulk_add_contacts_to_campaign_by_filter";
const ASSIGN: &str = "bulk_assign_campaign_contacts";
const REMOVE: &str = "bulk_remove_contacts_from_campaign";
const SCRIPT: &str = "create_script_template";
const IMPORT: &str = "import_script_templates";
const REVISE: &str = "update_script_template";
const DELETE: &str = "delete_script_template";
const EXECUTE: &str = "upsert_script_execution";
const FORM: &str = "create_qualification_template";
const REFORM: &str = "update_qualification_template";
const RECORD: &str = "create_qualification";

#[tokio::test]
async fn what_is_applied_is_what_was_shown() {
    let office = Office::open().await;
    let (campaign, contacts) = office.lyon("Spring").await;
    let agents = &office.agents;
    let script = script_templates::script(&office, "First").await;
    script_templates::attach(&office, &campaign, &script).await;
    let step = json!([{ "id": "a", "type": "question", "text": "And?" }]);
    let last = contacts.last();
    let on = |fields: Value| with(fields, "campaignId", campaign.clone());
    let nearby = json!({ "source": "crm", "city": "Villeurbanne" });
    for (tool, input) in [
        (CREATE, json!({ "name": "Summer", "agentIds": agents })),
        (UPDATE, on(json!({ "patch": { "name": "Early spring", "goal": "more" } }))),
        (ATTACH, on(json!({ "scriptTemplateId": script }))),
        (ADD, on(json!({ "filter": nearby, "maxContacts": 4 }))),
        (ADD, on(json!({ "filter": nearby, "maxContacts": 4, "assignToAgentIds": agents, "confirm": true }))),
        (ASSIGN, on(json!({ "agentIds": agents, "contactIds": contacts, "confirm": true }))),
        (ASSIGN, on(json!({ "agentIds": agents, "strategy": "least_loaded", "confirm": true }))),
        (REMOVE, on(json!({ "contactIds": contacts[..5], "confirm": true }))),
        (SCRIPT, json!({ "name": "Another", "steps": script_templates::steps() })),
        (
            IMPORT,
            json!({ "templates": [{ "name": "A", "steps": step }, { "name": "First", "steps": step }], "mode": "upsert_by_name" }),
        ),
        (REVISE, json!({ "templateId": script, "patch": { "name": "Second", "steps": step } })),
        (
            EXECUTE,
            on(
                json!({ "contactId": last, "responses": [{ "nodeId": "a", "value": "x" }], "status": "completed" }),
            ),
        ),
        (EXECUTE, on(json!({ "contactId": last, "responses": [{ "nodeId": "a", "value": "x" }] }))),
        (EXECUTE, on(json!({ "contactId": last, "responses": [{ "nodeId": "a", "value": "y" }] }))),
        (DELETE, json!({ "templateId": script, "force": true, "confirm": true })),
        (REMOVE, on(json!({ "filter": {}, "confirm": true }))),
        (UPDATE, on(json!({ "patch": { "status": "archived" } }))),
    ] {
        let before = office.events().await;
        let preview = office.ask(tool, with(input.clone(), "dryRun", true)).await;
        assert_eq!(office.events().await, before, "{tool}: a preview writes nothing");
        assert_eq!(preview.meta().get("previewUrl"), None, "no page is promised that is not served");

        let applying = with(input.clone(), "previewToken", preview.token());
        let applied = office.ask(tool, applying.clone()).await;
        assert_eq!(applied.data()["dryRun"], json!(false));
        assert_eq!(applied.outcome(), preview.outcome(), "{tool} {input}");
        let after = office.events().await;
        assert_eq!(after > before, tool != ATTACH, "{tool}");

        if tool != ATTACH {
            let again = office.ask(tool, applying).await;
            assert_eq!((again.data(), office.events().await), (applied.data(), after), "{tool} {input}");
            assert_eq!(again.meta()["idempotentReplay"], json!(true), "{tool}");
        }
    }
}

#[tokio::test]
async fn a_token_belongs_to_what_was_shown() {
    let office = Office::empty().await;
    let preview = office.ask(CREATE, json!({ "name": "Spring", "dryRun": true })).await;
    let shown = &preview.data()["campaign"]["campaignId"];
    office.ask("get_campaign", json!({ "campaignId": shown })).await.refused(404, "CAMPAIGN_NOT_FOUND");
    let other = json!({ "name": "Other", "previewToken": preview.token() });
    office.ask(CREATE, other).await.refused(409, "PREVIEW_MISMATCH");
    office.done(CREATE, json!({ "name": "Spring", "previewToken": preview.token() })).await;
    assert_eq!(
        office.done("get_campaign", json!({ "campaignId": shown })).await["campaign"]["name"],
        json!("Spring")
    );
}

#[tokio::test]
async fn a_preview_is_kept_for_a_day() {
    let office = Office::empty().await;
    let spring = || json!({ "name": "Spring" });
    let preview = office.ask(CREATE, with(spring(), "dryRun", true)).await;
    office.app.clock.advance(24 * 3_600_000 + 1_000);
    let late = with(spring(), "previewToken", preview.token());
    office.ask(CREATE, late).await.refused(410, "PREVIEW_EXPIRED");
    let preview = office.ask(CREATE, with(spring(), "dryRun", true)).await;
    office.app.clock.advance(23 * 3_600_000);
    office.done(CREATE, with(spring(), "previewToken", preview.token())).await;
}

/// Previews that are as good as made by the one token that made some here: so many, of so many bytes, and newer.
async fn more_previews(office: &Office, count: i64, bytes: i32) {
    sqlx::query(
        "INSERT INTO ledger.previews (organization_id, token_hash, body, expires_at, token_id)
         SELECT organization_id, sha256(n::text::bytea || token_hash), repeat('x', $2)::bytea,
             expires_at + interval '1 second', token_id
         FROM (SELECT * FROM ledger.previews WHERE token_id IS NOT NULL ORDER BY expires_at LIMIT 1) AS first,
             generate_series(1, $1) AS n",
    )
    .bind(count)
    .bind(bytes)
    .execute(office.app.app.ledger.pool())
    .await
    .unwrap();
}

#[tokio::test]
async fn the_newest_preview_of_a_token_takes_the_place_of_its_oldest() {
    // Others of the same token, as many as it may have or as much, and how many of them stay.
    for (others, bytes, staying) in [(998, 100, 998), (8, 8 << 20, 7)] {
        let office = Office::empty().await;
        let named = |name: &str| json!({ "name": name });
        let applying = |name: &str, shown: &Told| with(named(name), "previewToken", shown.token());
        let first = office.ask(CREATE, with(named("First"), "dryRun", true)).await;
        office.app.clock.advance(1);
        let second = office.ask(CREATE, with(named("Second"), "dryRun", true)).await;
        office.done(CREATE, applying("Second", &second)).await;
        more_previews(&office, others, bytes).await;
        office.app.clock.advance(10_000);
        let colleague = super::caller(&office.app, Role::SuperAdmin, &office.client).await;
        let theirs = super::ask(&colleague, CREATE, with(named("Theirs"), "dryRun", true)).await;
        let third = office.ask(CREATE, with(named("Third"), "dryRun", true)).await;
        office.app.clock.advance(1);
        let fourth = office.ask(CREATE, with(named("Fourth"), "dryRun", true)).await;
        let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger.previews")
            .fetch_one(office.app.app.ledger.pool())
            .await
            .unwrap();
        assert_eq!(kept, staying + 3, "with the two that are new, and a colleague's");

        let told = office.ask(CREATE, applying("First", &first)).await;
        told.refused(410, "PREVIEW_EXPIRED");
        assert!(told.body["error"].as_str().unwrap().contains("made room for newer ones"), "{}", told.body);
        // What was applied is answered as the first time, although its preview is gone.
        let before = office.events().await;
        let again = office.ask(CREATE, applying("Second", &second)).await;
        assert_eq!((again.status, &again.meta()["idempotentReplay"]), (200, &json!(true)), "{}", again.body);
        assert_eq!(office.events().await, before);
        // With another input it is a preview that is gone, and not a request that was made before.
        let other = with(named("Other"), "previewToken", second.token());
        office.ask(CREATE, other).await.refused(410, "PREVIEW_EXPIRED");
        office.done(CREATE, applying("Third", &third)).await;
        office.done(CREATE, applying("Fourth", &fourth)).await;
        super::ask(&colleague, CREATE, applying("Theirs", &theirs)).await.data();
    }
}

/// Applied under a name or without one, a token is answered as the first time for as long as answers are kept.
#[tokio::test]
async fn what_was_applied_under_a_name_is_answered_by_its_token_once_the_preview_is_gone() {
    let office = Office::empty().await;
    let spring = || json!({ "name": "Spring" });
    let shown = office.ask(CREATE, with(spring(), "dryRun", true)).await;
    let applying = || with(spring(), "previewToken", shown.token());
    let first = office.ask_as("spring-1", CREATE, applying()).await;
    first.data();
    more_previews(&office, 1_000, 100).await;
    office.app.clock.advance(10_000);
    office.ask(CREATE, with(json!({ "name": "Other" }), "dryRun", true)).await;
    let before = office.events().await;
    let bare = office.ask(CREATE, applying()).await;
    let renamed = office.ask_as("spring-2", CREATE, applying()).await;
    for again in [bare, renamed] {
        assert_eq!((again.status, &again.meta()["idempotentReplay"]), (200, &json!(true)), "{}", again.body);
        assert_eq!(again.data(), first.data());
    }
    assert_eq!(office.events().await, before);
    let other = with(json!({ "name": "Autumn" }), "previewToken", shown.token());
    office.ask(CREATE, other).await.refused(410, "PREVIEW_EXPIRED");
}

/// The examples of every tool that changes something, with ids of this office, to be tried out or made.
async fn changes(office: &Office) -> Vec<(String, Value)> {
    let path = format!("/crm/agent/capabilities?organizationId={}", office.client.organization);
    let (_, listed) = office.client.get(&path).await;
    let tools = listed["data"]["tools"].as_array().unwrap().iter();
    tools
        .filter(|tool| tool["mutating"] == json!(true))
        .flat_map(|tool| tool["examples"].as_array().unwrap().iter().map(move |example| (tool, example)))
        .map(|(tool, example)| {
            let mut input = example["input"].clone();
            input.as_object_mut().unwrap().remove("dryRun");
            if tool["inputSchema"]["properties"]["confirm"].is_object() {
                input["confirm"] = true.into();
            }
            (tool["name"].as_str().unwrap().to_owned(), input)
        })
        .collect()
}

/// Of every tool that there is: none can be forgotten here.
#[tokio::test]
async fn every_example_of_a_change_is_applied_as_it_was_shown() {
    let mut office = office_for_examples().await;
    let mut examples = changes(&office).await;
    let mut changed = 0;
    for n in 0..examples.len() {
        let (tool, input) = examples[n].clone();
        let mut preview = office.ask(&tool, with(input.clone(), "dryRun", true)).await;
        if preview.status != 200 {
            // An example before has taken away what this one is about.
            office = office_for_examples().await;
            examples = changes(&office).await;
            preview = office.ask(&tool, with(examples[n].1.clone(), "dryRun", true)).await;
        }
        let input = examples[n].1.clone();
        let before = office.events().await;
        let again = office.ask(&tool, with(input.clone(), "dryRun", true)).await;
        assert_eq!((again.status, office.events().await), (200, before), "{tool}: a preview writes nothing");
        let applied = office.ask(&tool, with(input.clone(), "previewToken", preview.token())).await;
        assert_eq!(applied.data()["dryRun"], json!(false), "{tool} {input}");
        assert_eq!(applied.outcome(), preview.outcome(), "{tool} {input}");
        changed += usize::from(office.events().await > before);
    }
    assert!(2 * changed > examples.len(), "{changed} of {} examples change anything", examples.len());
}

/// What a call with those options comes to.
#[derive(Debug, PartialEq)]
enum Comes {
    Shown,
    Applied,
    Refused,
}

#[tokio::test]
async fn what_must_be_confirmed_is_tried_out_first() {
    let office = Office::open().await;
    let (campaign, _) = office.lyon("Spring").await;
    let agents = &office.agents;
    let tools = [
        (ASSIGN, json!({ "campaignId": campaign, "agentIds": agents, "filter": { "statusIn": ["done"] } })),
        (REMOVE, json!({ "campaignId": campaign, "filter": { "statusIn": ["done"] } })),
        (
            ADD,
            json!({
                "campaignId": campaign, "filter": { "source": "crm", "city": "Lyon" }, "assignToAgentIds": agents,
            }),
        ),
    ];
    let rows = [
        (json!({}), Comes::Shown),
        (json!({ "confirm": false }), Comes::Shown),
        (json!({ "confirm": true }), Comes::Applied),
        (json!({ "dryRun": true }), Comes::Shown),
        (json!({ "dryRun": true, "confirm": false }), Comes::Shown),
        (json!({ "dryRun": true, "confirm": true }), Comes::Shown),
        (json!({ "dryRun": false, "confirm": true }), Comes::Applied),
        (json!({ "dryRun": false }), Comes::Refused),
        (json!({ "dryRun": false, "confirm": false }), Comes::Refused),
    ];
    for (tool, input) in &tools {
        for (options, expected) in &rows {
            let mut input = input.clone();
            input.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
            let told = office.ask(tool, input).await;
            let comes = match (told.status, told.code()) {
                (422, "CONFIRM_REQUIRED") => Comes::Refused,
                _ if told.data()["dryRun"] == json!(true) => Comes::Shown,
                _ => Comes::Applied,
            };
            assert_eq!(comes, *expected, "{tool} {options}");
        }
    }
    for (options, shown) in
        [(json!({}), false), (json!({ "dryRun": false }), false), (json!({ "dryRun": true }), true)]
    {
        let told = office.done(CREATE, with(options, "name", "Summer")).await;
        assert_eq!(told["dryRun"], json!(shown), "nothing need be confirmed");
    }
}

#[tokio::test]
async fn a_thousand_unrelated_writes_are_no_drift() {
    let office = Office::open().await;
    let (campaign, _) = office.lyon("Spring").await;
    let input = json!({ "campaignId": campaign, "agentIds": office.agents, "confirm": true });
    let preview = office.ask(ASSIGN, with(input.clone(), "dryRun", true)).await;

    let app = &office.app.app;
    for batch in 0..10 {
        let campaigns =
            (0..100).map(|n| commands::campaign(app.clock.mint::<CampaignId>(), &format!("{batch} {n}")));
        let command: Command = commands::command(app, office.client.organization, campaigns.collect());
        app.ledger.append(command).await.unwrap();
    }
    eventually("the read models have followed", async || {
        (office.ask("get_crm_workspace_overview", json!({})).await.status == 200).then_some(())
    })
    .await;

    let applied = office.ask(ASSIGN, with(input, "previewToken", preview.token())).await;
    assert_eq!(applied.outcome(), preview.outcome());
}

#[tokio::test]
async fn a_preview_that_no_longer_holds_is_refused() {
    let office = Office::empty().await;
    let campaign = office.campaign("Spring").await;
    let rename = json!({ "campaignId": campaign, "patch": { "name": "Summer" } });
    let change =
        async |patch: Value| office.done(UPDATE, json!({ "campaignId": campaign, "patch": patch })).await;

    let preview = office.ask(UPDATE, with(rename.clone(), "dryRun", true)).await;
    change(json!({ "goal": "unrelated" })).await;
    office.ask(UPDATE, with(rename, "previewToken", preview.token())).await.data();

    let rename = json!({ "campaignId": campaign, "patch": { "name": "Autumn" } });
    let preview = office.ask(UPDATE, with(rename.clone(), "dryRun", true)).await;
    change(json!({ "name": "Winter" })).await;
    let refused = office.ask(UPDATE, with(rename, "previewToken", preview.token())).await;
    refused.refused(409, "PREVIEW_DRIFT");
    assert_eq!(refused.meta()["details"]["drift"]["added"], json!(1));
}

/// A preview, what happens between it and its apply, and whether that makes it another change.
struct Between {
    tool: &'static str,
    input: Value,
    /// Calls that are made in between.
    meanwhile: Vec<(&'static str, Value)>,
    drifts: bool,
}

#[tokio::test]
async fn a_preview_holds_for_all_that_it_showed_of_the_change() {
    let office = Office::open().await;
    let (campaign, contacts) = office.lyon("Spring").await;
    let on = |fields: Value| with(fields, "campaignId", campaign.clone());
    let form = office.done(FORM, qualification_templates::heating()).await;
    let form = form["template"]["templateId"].clone();
    let other = with(qualification_templates::heating(), "name", "Other");
    let other = office.done(FORM, other).await["template"]["templateId"].clone();
    let (first, second) =
        (script_templates::script(&office, "First").await, script_templates::script(&office, "Second").await);
    script_templates::attach(&office, &campaign, &first).await;
    office.done(ATTACH, on(json!({ "qualificationTemplateId": form }))).await;
    let archived = office.campaign("Autumn").await;
    let members = |n: usize| {
        let filter = json!({ "source": "crm", "contactIds": contacts[..n] });
        json!({ "campaignId": archived, "filter": filter })
    };
    office.done(ADD, members(2)).await;
    let record = |contact: usize, more: Value| {
        let mut input = on(json!({ "contactId": contacts[contact], "answers": { "fuel": "oil" } }));
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    let scoring = |points: i64| {
        let rule = json!({ "key": "fuel", "operator": "equals", "value": "oil", "points": points });
        json!({ "templateId": form, "patch": { "scoring": { "rules": [rule], "qualifyThreshold": 10 } } })
    };
    let answer = |contact: usize| {
        on(json!({ "contactId": contacts[contact], "responses": [{ "nodeId": "notes", "value": "x" }] }))
    };
    for Between { tool, input, meanwhile, drifts } in [
        // The form's score, its version, and which form it is.
        Between {
            tool: RECORD,
            input: record(0, json!({ "status": "qualified" })),
            meanwhile: vec![(REFORM, scoring(-50))],
            drifts: true,
        },
        Between {
            tool: RECORD,
            input: record(0, json!({})),
            meanwhile: vec![(ATTACH, on(json!({ "qualificationTemplateId": other })))],
            drifts: true,
        },
        Between {
            tool: RECORD,
            input: record(0, json!({})),
            meanwhile: vec![
                (UPDATE, on(json!({ "patch": { "goal": "more" } }))),
                (RECORD, record(1, json!({}))),
            ],
            drifts: false,
        },
        // Which script is begun, and how its next version looks.
        Between {
            tool: EXECUTE,
            input: answer(2),
            meanwhile: vec![(ATTACH, on(json!({ "scriptTemplateId": second })))],
            drifts: true,
        },
        Between { tool: EXECUTE, input: answer(2), meanwhile: vec![(EXECUTE, answer(3))], drifts: false },
        // Whom a new version reaches; their names are their own.
        Between {
            tool: REVISE,
            input: json!({ "templateId": first, "patch": { "description": "new" } }),
            meanwhile: vec![(ATTACH, on(json!({ "scriptTemplateId": first })))],
            drifts: true,
        },
        Between {
            tool: REVISE,
            input: json!({ "templateId": first, "patch": { "description": "new" } }),
            meanwhile: vec![(UPDATE, on(json!({ "patch": { "name": "Early spring" } })))],
            drifts: false,
        },
        // Which script is deleted, as it read when that was shown.
        Between {
            tool: DELETE,
            input: json!({ "templateId": first, "force": true, "confirm": true }),
            meanwhile: vec![(REVISE, json!({ "templateId": first, "patch": { "description": "else" } }))],
            drifts: true,
        },
        // What its answer warns of beside the campaign.
        Between {
            tool: CREATE,
            input: json!({ "name": "Summer" }),
            meanwhile: vec![(CREATE, json!({ "name": "Summer" }))],
            drifts: false,
        },
        Between {
            tool: REFORM,
            input: scoring(20),
            meanwhile: vec![(ATTACH, on(json!({ "qualificationTemplateId": form })))],
            drifts: true,
        },
        // What becomes of the work that is still to do.
        Between {
            tool: UPDATE,
            input: json!({ "campaignId": archived, "patch": { "status": "archived" } }),
            meanwhile: vec![(ADD, members(7))],
            drifts: true,
        },
        Between {
            tool: UPDATE,
            input: json!({ "campaignId": archived, "patch": { "status": "archived" } }),
            meanwhile: vec![(UPDATE, json!({ "campaignId": archived, "patch": { "goal": "none" } }))],
            drifts: false,
        },
    ] {
        let preview = office.ask(tool, with(input.clone(), "dryRun", true)).await;
        preview.data();
        for (other, change) in &meanwhile {
            office.ask(other, change.clone()).await.data();
        }
        let before = office.events().await;
        let applied = office.ask(tool, with(input.clone(), "previewToken", preview.token())).await;
        if drifts {
            applied.refused(409, "PREVIEW_DRIFT");
            let drift = &applied.meta()["details"]["drift"];
            assert_eq!((&drift["added"], &drift["removed"]), (&json!(1), &json!(1)), "{tool} {input}");
            assert_eq!(office.events().await, before, "{tool} {input}");
            // That something is still possible makes it no part of what was shown.
            let anyway = with(with(input.clone(), "previewToken", preview.token()), "onDrift", "intersect");
            office.ask(tool, anyway).await.refused(409, "PREVIEW_DRIFT");
        } else {
            assert_eq!(applied.data()["dryRun"], json!(false), "{tool} {input}");
        }
    }
}

#[tokio::test]
async fn what_another_process_showed_is_applied_whatever_this_one_remembers() {
    let office = Office::open().await;
    let (campaign, contacts) = office.lyon("Spring").await;
    let scripts = [
        script_templates::script(&office, "First").await,
        script_templates::script(&office, "Second").await,
        script_templates::script(&office, "Third").await,
    ];
    let elsewhere = office.app.another().await;
    let token = office.app.token(Role::SuperAdmin, None).await;
    let caller = elsewhere.credentials.check(&token).await.unwrap();
    let there = async |tool: &str, input: &Value| {
        let body = json!({ "organizationId": office.client.organization, "input": input });
        // Its read models follow those of the other process; whoever is told to come again does.
        eventually("the other process answers", async || {
            let answer = docket::tools::answer(&elsewhere, &caller, tool, Ok(body.clone())).await;
            (answer.status != 503).then(|| Told::checked(tool, (answer.status, answer.body)))
        })
        .await
    };
    let on = |fields: Value| with(fields, "campaignId", campaign.clone());
    let patch = |fields: Value| on(json!({ "patch": fields }));
    let attach = |script: &str| on(json!({ "scriptTemplateId": script }));
    let revise = |fields: Value| json!({ "templateId": scripts[0], "patch": fields });
    let answer = |words: &str| {
        on(json!({ "contactId": contacts[0], "responses": [{ "nodeId": "notes", "value": words }] }))
    };
    // What this process does and remembers, what the other one does after that, and what it shows.
    for (tool, remembered, meanwhile, shown) in [
        (UPDATE, patch(json!({ "name": "A" })), patch(json!({ "name": "B" })), patch(json!({ "name": "C" }))),
        (ATTACH, attach(&scripts[0]), attach(&scripts[1]), attach(&scripts[2])),
        (
            REVISE,
            revise(json!({ "description": "a" })),
            revise(json!({ "description": "b" })),
            revise(json!({ "description": "c" })),
        ),
        (EXECUTE, answer("a"), answer("b"), answer("c")),
    ] {
        office.ask(tool, remembered).await.data();
        there(tool, &meanwhile).await.data();
        let preview = there(tool, &with(shown.clone(), "dryRun", true)).await;
        let applied = office.ask(tool, with(shown, "previewToken", preview.token())).await;
        assert_eq!(applied.outcome(), preview.outcome(), "{tool}");
    }
}

#[tokio::test]
async fn a_call_that_was_not_shown_is_not_detached() {
    let office = Office::open().await;
    let (campaign, contacts) = office.lyon("Spring").await;
    let remove = json!({
        "campaignId": campaign, "contactIds": contacts[..2], "detachCallLogs": true, "confirm": true,
    });
    let preview = office.ask(REMOVE, with(remove.clone(), "dryRun", true)).await;
    let call = json!({
        "campaignId": campaign, "contactId": contacts[0], "agentId": office.agents[0], "outcome": "no_answer",
        "startedAt": "2026-11-21T10:00:00Z",
    });
    let (status, logged) = office.client.post(&office.client.crm("calls"), call).await;
    assert_eq!(status, 201, "{logged}");
    let applying = with(remove, "previewToken", preview.token());
    office.ask(REMOVE, applying).await.refused(409, "PREVIEW_DRIFT");
}

#[tokio::test]
async fn what_is_left_of_a_preview_can_be_applied() {
    let office = Office::open().await;
    let (campaign, contacts) = office.lyon("Spring").await;
    let assign = json!({
        "campaignId": campaign, "agentIds": office.agents, "contactIds": contacts, "confirm": true,
    });
    let preview = office.ask(ASSIGN, with(assign.clone(), "dryRun", true)).await;
    let remove = json!({ "campaignId": campaign, "contactIds": contacts[..2], "confirm": true });
    assert_eq!(office.done(REMOVE, remove).await["applied"], json!(2));

    let assign = with(assign, "previewToken", preview.token());
    let refused = office.ask(ASSIGN, assign.clone()).await;
    refused.refused(409, "PREVIEW_DRIFT");
    let drift = &refused.meta()["details"]["drift"];
    assert_eq!((&drift["added"], &drift["removed"]), (&json!(0), &json!(2)), "{drift}");

    let applied = office.done(ASSIGN, with(assign, "onDrift", "intersect")).await;
    assert_eq!(applied["applied"], json!(LYON - 2));
    assert_eq!(applied["skippedByReason"], json!({ "NOT_IN_CAMPAIGN": 2 }));
}
