//! Creating and changing campaigns.

use docket_aggregates::token::Role;
use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::{Connection, Executor};

use super::{Office, script_templates, texts};

const CREATE: &str = "create_outbound_campaign";
const UPDATE: &str = "update_outbound_campaign";

#[tokio::test]
async fn a_name_may_be_there_twice_with_a_warning() {
    let office = Office::empty().await;
    office.campaign("Été").await;
    let told = office.ask("create_outbound_campaign", json!({ "name": "été" })).await;
    assert_eq!(texts(&told.data()["warnings"], "code"), ["DUPLICATE_NAME"]);
    assert_eq!(texts(&told.meta()["warnings"], "code"), ["DUPLICATE_NAME"]);
}

#[tokio::test]
async fn whoever_writes_its_name_in_another_way_is_not_warned_of_itself() {
    let office = Office::empty().await;
    let campaign = office.campaign("Spring").await;
    let renamed = |name: &str| json!({ "campaignId": campaign, "patch": { "name": name } });
    let told = office.ask(UPDATE, renamed("SPRING")).await;
    assert_eq!(told.data()["campaign"]["name"], "SPRING", "{}", told.body);
    assert_eq!(told.meta()["warnings"], json!([]));
    office.campaign("Autumn").await;
    let told = office.ask(UPDATE, renamed("AUTUMN")).await;
    assert_eq!(texts(&told.meta()["warnings"], "code"), ["DUPLICATE_NAME"]);
}

#[tokio::test]
async fn a_patch_that_changes_nothing_records_nothing() {
    let office = Office::empty().await;
    let campaign = office.campaign("Spring").await;
    let before = office.events().await;
    let told = office.ask(UPDATE, json!({ "campaignId": campaign, "patch": { "name": "Spring" } })).await;
    assert_eq!(told.data()["changes"], json!([]));
    let detach = json!({ "campaignId": campaign, "scriptTemplateId": null });
    assert_eq!(office.done("attach_campaign_templates", detach).await["changed"], json!(false));
    assert_eq!(office.events().await, before);
}

#[tokio::test]
async fn null_clears_and_absent_keeps() {
    let office = Office::empty().await;
    let campaign = office.campaign("Spring").await;
    let patch =
        json!({ "goal": "x", "description": "l1\nl2", "settings": { "maxAttempts": 3 }, "agentIds": [] });
    let input = json!({ "campaignId": campaign, "patch": patch, "expectedVersion": 1 });
    let told = office.done(UPDATE, input).await;
    assert_eq!(texts(&told["changes"], "field"), ["description", "goal", "settings"]);
    let told = office.done(UPDATE, json!({ "campaignId": campaign, "patch": { "description": null } })).await;
    assert_eq!(told["changes"], json!([{ "field": "description", "from": "l1\nl2", "to": null }]));
    let kept = office.done("get_campaign", json!({ "campaignId": campaign })).await;
    assert_eq!(kept["campaign"]["goal"], json!("x"));
}

#[tokio::test]
async fn a_change_shows_counts_as_new_as_the_call() {
    let office = Office::open().await;
    let campaign = office.campaign("Spring").await;
    office.done(UPDATE, json!({ "campaignId": campaign, "patch": { "status": "active" } })).await;
    let mut contacts = 0;
    for (n, most) in [5, 10, 30].into_iter().enumerate() {
        let add = json!({ "campaignId": campaign, "filter": { "source": "crm" }, "maxContacts": most });
        contacts +=
            office.done("bulk_add_contacts_to_campaign_by_filter", add).await["applied"].as_u64().unwrap();
        let archive = json!({ "campaignId": campaign, "patch": { "status": "archived" }, "dryRun": true });
        let detach = json!({ "campaignId": campaign, "scriptTemplateId": null, "dryRun": true });
        let rename = json!({ "campaignId": campaign, "patch": { "name": format!("Spring {n}") } });
        for (tool, input) in [(UPDATE, archive), ("attach_campaign_templates", detach), (UPDATE, rename)] {
            let told = office.done(tool, input.clone()).await;
            assert_eq!(told["campaign"]["contactCount"], json!(contacts), "{tool} {input}");
            assert!(told["position"].is_i64(), "{tool} {input}");
            if told["consequences"].is_object() {
                assert_eq!(told["consequences"]["openContacts"], json!(contacts));
            }
        }
    }
    assert_eq!(contacts, 30);
}

#[tokio::test]
async fn of_two_changes_of_one_version_one_is_refused() {
    let office = Office::empty().await;
    let campaign = office.campaign("Spring").await;
    let change = |goal: &'static str| {
        let input = json!({ "campaignId": campaign, "patch": { "goal": goal }, "expectedVersion": 1 });
        office.ask(UPDATE, input)
    };
    let mut answers: Vec<(u16, String)> = join_all([change("a"), change("b")])
        .await
        .iter()
        .map(|told| (told.status, told.code().to_owned()))
        .collect();
    answers.sort();
    assert_eq!(answers, [(200, String::new()), (409, "VERSION_CONFLICT".to_owned())]);
}

#[tokio::test]
async fn counts_that_are_remembered_are_those_of_the_moment_whoever_changed_them() {
    let office = Office::open().await;
    let campaign = office.campaign("Spring").await;
    let elsewhere = office.app.another().await;
    let token = office.app.token(Role::SuperAdmin, None).await;
    let caller = elsewhere.credentials.check(&token).await.unwrap();
    let there = async |tool: &str, input: Value| {
        let body = json!({ "organizationId": office.client.organization, "input": input });
        let answer = docket::tools::answer(&elsewhere, &caller, tool, Ok(body)).await;
        assert_eq!(answer.status, 200, "{tool}: {}", answer.body);
        answer.body["data"].clone()
    };
    let reword = |n: usize| json!({ "campaignId": campaign, "patch": { "goal": format!("Goal {n}") } });
    let counted = |told: &Value| told["campaign"]["contactCount"].as_u64().unwrap();
    let mut contacts = 0;
    for round in 0..6 {
        // Both know the count by now, and this one's is the last that was recorded.
        assert_eq!(counted(&there(UPDATE, reword(4 * round)).await), contacts);
        assert_eq!(counted(&office.done(UPDATE, reword(4 * round + 1)).await), contacts);
        let add = json!({
            "campaignId": campaign, "filter": { "source": "crm" }, "maxContacts": 3 * (round + 1),
        });
        let added = match round % 2 {
            0 => there("bulk_add_contacts_to_campaign_by_filter", add).await,
            _ => office.done("bulk_add_contacts_to_campaign_by_filter", add).await,
        };
        contacts += added["applied"].as_u64().unwrap();
        assert_eq!(counted(&office.done(UPDATE, reword(4 * round + 2)).await), contacts, "round {round}");
        assert_eq!(counted(&there(UPDATE, reword(4 * round + 3)).await), contacts, "round {round}");
    }
    assert!(contacts > 10, "{contacts}");
}

#[tokio::test]
async fn a_creation_that_is_planned_again_makes_nobody_forget_who_is_in_the_campaign() {
    let office = Office::open().await;
    let shown = office.ask(CREATE, json!({ "name": "Spring", "status": "active", "dryRun": true })).await;
    let by_token = |dry_run: bool| json!({ "name": "Spring", "status": "active", "previewToken": shown.token(), "dryRun": dry_run });
    let campaign = office.done(CREATE, by_token(false)).await["campaign"]["campaignId"].clone();
    let add = json!({ "campaignId": campaign, "filter": { "source": "crm" }, "maxContacts": 10 });
    let added = office.done("bulk_add_contacts_to_campaign_by_filter", add).await["applied"].clone();
    for n in 0..3 {
        let reword = json!({ "campaignId": campaign, "patch": { "goal": format!("Goal {n}") } });
        assert_eq!(office.done(UPDATE, reword).await["campaign"]["contactCount"], added, "{n}");
        let again = office.done(CREATE, by_token(n % 2 == 0)).await;
        assert_eq!(again["campaign"]["campaignId"], campaign);
    }
}

#[tokio::test]
async fn whoever_changes_a_campaign_that_began_here_does_not_ask_how_many_it_has() {
    let office = Office::empty().await;
    office.campaign("First").await;
    let campaign = office.campaign("Spring").await;
    let mut connection = office.app.database.connect().await;
    let mut held = connection.begin().await.unwrap();
    held.execute("LOCK read.campaign_counters IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for n in 0..3 {
        let reword = json!({ "campaignId": campaign, "patch": { "goal": format!("Goal {n}") } });
        assert_eq!(office.done(UPDATE, reword).await["campaign"]["contactCount"], json!(0));
    }
    held.rollback().await.unwrap();
}

#[tokio::test]
async fn a_crowd_at_two_processes_takes_one_script_for_campaigns_of_their_own() {
    let office = Office::empty().await;
    let script = script_templates::script(&office, "One for all").await;
    let elsewhere = office.app.another().await;
    let token = office.app.token(Role::SuperAdmin, None).await;
    let caller = elsewhere.credentials.check(&token).await.unwrap();
    let input = |n: usize| json!({ "name": format!("Campaign {n}"), "scriptTemplateId": script });
    let here = join_all((0..12).map(|n| office.ask(CREATE, input(n))));
    let there = join_all((12..24).map(|n| {
        let body = json!({ "organizationId": office.client.organization, "input": input(n) });
        docket::tools::answer(&elsewhere, &caller, CREATE, Ok(body))
    }));
    let (here, there) = tokio::join!(here, there);
    for told in here {
        told.data();
    }
    for answer in there {
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}
