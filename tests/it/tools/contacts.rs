//! Who comes into a campaign and who leaves it.

use futures::future::join_all;
use hyper::Method;
use serde_json::{Value, json};

use super::{JSON, LYON, NOBODY, Office, VILLEURBANNE, number, sum, text, texts, with};

const ADD: &str = "bulk_add_contacts_to_campaign_by_filter";
const REMOVE: &str = "bulk_remove_contacts_from_campaign";

fn add(campaign: &str, filter: Value) -> Value {
    json!({ "campaignId": campaign, "filter": filter })
}

#[tokio::test]
async fn what_matched_was_applied_or_skipped() {
    let office = Office::open().await;
    let (campaign, contacts) = office.lyon("Spring").await;
    let agents = &office.agents;
    let everybody = with(add(&campaign, json!({ "source": "crm" })), "maxContacts", 25);
    let mut repeated = contacts.clone();
    repeated.extend([contacts[0].clone(), contacts[1].clone(), "nope".to_owned()]);
    let given = json!({ "source": "crm", "contactIds": repeated });
    let contradictory = json!({
        "source": "crm", "createdAfter": "2026-12-01T00:00:00Z", "createdBefore": "2026-01-01T00:00:00Z",
    });
    const ASSIGN: &str = "bulk_assign_campaign_contacts";
    for (tool, input, applied, skipped, not_found) in [
        (ADD, everybody, 10, json!({ "ALREADY_IN_CAMPAIGN": LYON }), json!([])),
        (
            ADD,
            add(&campaign, given),
            0,
            json!({ "ALREADY_IN_CAMPAIGN": LYON, "DUPLICATE_IN_SELECTION": 2 }),
            json!(["nope"]),
        ),
        (ADD, add(&campaign, json!({ "source": "crm", "search": "zzzzqq" })), 0, json!({}), json!([])),
        (ADD, add(&campaign, contradictory), 0, json!({}), json!([])),
        (
            ASSIGN,
            json!({ "campaignId": campaign, "agentIds": agents, "maxPerAgent": 2, "confirm": true }),
            6,
            json!({ "AGENT_CAP": 24 }),
            json!([]),
        ),
        (
            ASSIGN,
            json!({ "campaignId": campaign, "agentIds": agents, "filter": {}, "confirm": true }),
            24,
            json!({ "ALREADY_ASSIGNED": 6 }),
            json!([]),
        ),
        (
            REMOVE,
            json!({ "campaignId": campaign, "contactIds": [contacts[0], contacts[0], "nope"], "confirm": true }),
            1,
            json!({}),
            json!(["nope"]),
        ),
        (
            REMOVE,
            json!({ "campaignId": campaign, "contactIds": [contacts[0]], "confirm": true }),
            0,
            json!({ "NOT_IN_CAMPAIGN": 1 }),
            json!([]),
        ),
        (REMOVE, json!({ "campaignId": campaign, "filter": {}, "confirm": true }), 29, json!({}), json!([])),
    ] {
        let told = office.done(tool, input.clone()).await;
        assert_eq!(
            (&told["applied"], &told["skippedByReason"], &told["notFound"]),
            (&json!(applied), &skipped, &not_found),
            "{tool} {input}: {told}"
        );
        assert_eq!(number(&told["matched"]), number(&told["applied"]) + number(&told["skipped"]), "{told}");
        assert_eq!(number(&told["skipped"]), sum(&told["skippedByReason"]), "{told}");
    }
}

#[tokio::test]
async fn more_than_may_be_added_is_said() {
    let office = Office::open().await;
    let campaign = office.campaign("Spring").await;
    let some = with(add(&campaign, json!({ "source": "crm", "city": "Lyon" })), "maxContacts", 5);
    let told = office.done(ADD, some).await;
    assert_eq!((&told["applied"], &told["truncated"]), (&json!(5), &json!(true)));
    assert_eq!(told["skippedByReason"], json!({ "LIMIT_REACHED": LYON - 5 }));
    let counts = office.counts(&campaign).await;
    assert_eq!(counts["total"], json!(5));
    for by in ["byStatus", "byAgent", "bySource"] {
        assert_eq!(sum(&counts[by]), 5, "{by}: {counts}");
    }
}

#[tokio::test]
async fn whoever_is_called_elsewhere_can_be_left_out() {
    let office = Office::open().await;
    let (spring, _) = office.lyon("Spring").await;
    let summer = office.campaign("Summer").await;
    let everybody = with(add(&summer, json!({ "source": "crm" })), "maxContacts", 100);
    for (option, value) in
        [("skipIfInCampaignIds", json!([spring])), ("skipIfInAnyActiveCampaign", json!(true))]
    {
        let input = with(with(everybody.clone(), option, value), "dryRun", true);
        let told = office.done(ADD, input).await;
        assert_eq!(told["applied"], json!(VILLEURBANNE), "{option}");
        assert_eq!(told["skippedByReason"], json!({ "IN_OTHER_CAMPAIGN": LYON }), "{option}");
    }
}

#[tokio::test]
async fn a_contact_that_two_calls_add_is_added_once() {
    let office = Office::open().await;
    let campaign = office.campaign("Spring").await;
    let input = add(&campaign, json!({ "source": "crm", "city": "Lyon" }));
    let answers = join_all((0..4).map(|_| office.ask(ADD, input.clone()))).await;
    let mut applied: Vec<u64> = answers.iter().map(|told| number(&told.data()["applied"])).collect();
    applied.sort_unstable();
    assert_eq!(applied, [0, 0, 0, LYON as u64]);
    assert_eq!(office.counts(&campaign).await["total"], json!(LYON));
}

/// A follow-up for a contact that is due then.
async fn promise(office: &Office, campaign: &str, contact: &str, due: &str) -> String {
    let body = json!({
        "campaignId": campaign, "contactId": contact, "agentId": office.agents[0], "dueAt": due,
    });
    let (status, answer) = office.client.post(&office.client.crm("follow-ups"), body).await;
    assert_eq!(status, 201, "{answer}");
    text(&answer["followUpId"])
}

/// A call that nobody answered.
async fn no_answer(office: &Office, campaign: &str, contact: &str) {
    let call = json!({
        "campaignId": campaign, "contactId": contact, "agentId": office.agents[0],
        "outcome": "no_answer", "startedAt": "2026-11-21T17:00:00Z",
    });
    let (status, answer) = office.client.post(&office.client.crm("calls"), call).await;
    assert_eq!(status, 201, "{answer}");
}

#[tokio::test]
async fn whoever_leaves_takes_the_open_follow_ups_along() {
    let office = Office::open().await;
    let (spring, contacts) = office.lyon("Spring").await;
    let (summer, _) = office.lyon("Summer").await;
    let (soon, later) = ("2026-11-22T10:00:00Z", "2026-12-24T10:00:00Z");
    promise(&office, &spring, &contacts[0], soon).await;
    promise(&office, &spring, &contacts[1], later).await;
    promise(&office, &summer, &contacts[0], later).await;
    let kept = promise(&office, &spring, &contacts[2], later).await;
    let done = office.client.crm(&format!("follow-ups/{kept}"));
    let body = json!({ "status": "done" }).to_string().into_bytes();
    assert_eq!(office.client.send(Method::PATCH, &done, &[JSON], body).await.unwrap().0, 200);
    no_answer(&office, &spring, &contacts[3]).await;
    office.app.clock.advance(7 * 24 * 3_600_000);

    let counted =
        async || office.done("get_crm_workspace_overview", json!({})).await["counts"]["followUps"].clone();
    assert_eq!(counted().await, json!({ "pending": 2, "overdue": 1 }));
    let remove = json!({ "campaignId": spring, "contactIds": contacts[..4], "confirm": true });
    let told = office.done(REMOVE, remove).await;
    assert_eq!(told["followUpsCancelled"], json!({ "pending": 1, "overdue": 1 }));
    assert_eq!((&told["callLogsPreserved"], &told["callLogsDetached"]), (&json!(1), &json!(0)));
    assert_eq!((&told["outboundStatesDeleted"], &told["alsoInOtherCampaigns"]), (&json!(4), &json!(4)));
    assert_eq!(counted().await, json!({ "pending": 1, "overdue": 0 }), "the other campaign keeps its own");
    assert_eq!(office.counts(&summer).await["total"], json!(LYON));
}

#[tokio::test]
async fn follow_ups_and_calls_are_kept_or_detached_as_asked() {
    let office = Office::open().await;
    let (campaign, contacts) = office.lyon("Spring").await;
    promise(&office, &campaign, &contacts[0], "2026-12-24T10:00:00Z").await;
    no_answer(&office, &campaign, &contacts[0]).await;
    let remove = json!({
        "campaignId": campaign, "contactIds": [contacts[0]], "cancelFollowUps": false, "detachCallLogs": true,
        "confirm": true,
    });
    let told = office.done(REMOVE, remove).await;
    assert_eq!(told["followUpsCancelled"], json!({ "pending": 0, "overdue": 0 }));
    assert_eq!((&told["callLogsPreserved"], &told["callLogsDetached"]), (&json!(0), &json!(1)));
    let overview = office.done("get_crm_workspace_overview", json!({})).await;
    assert_eq!(overview["counts"]["followUps"]["pending"], json!(1));
}

#[tokio::test]
async fn unknown_ids_are_named_and_repeated_ones_count_once() {
    let office = Office::open().await;
    let (campaign, contacts) = office.lyon("Spring").await;
    let ids = json!([office.agents[1], office.agents[0], office.agents[1], "x"]);
    let told = office.done("bulk_get_agent_workloads", json!({ "agentIds": ids })).await;
    let order = texts(&told["workloads"], "agentId");
    assert_eq!(order, [office.agents[1].clone(), office.agents[0].clone()]);
    assert_eq!(told["notFound"], json!(["x"]));
    let repeated = json!({ "campaignId": campaign, "contactIds": [contacts[0], contacts[0]] });
    let told = office.ask(REMOVE, repeated).await;
    assert_eq!(
        (&told.data()["matched"], told.meta()["warnings"][0]["code"].as_str()),
        (&json!(1), Some("DUPLICATE_IDS"))
    );
    let told =
        office.done("bulk_get_campaign_contact_counts", json!({ "campaignIds": [NOBODY, campaign] })).await;
    assert_eq!((&told["notFound"], &told["counts"][0]["total"]), (&json!([NOBODY]), &json!(contacts.len())));
}

#[tokio::test]
async fn whoever_wants_no_contact_is_left_out() {
    let office = Office::open().await;
    let (spring, contacts) = office.lyon("Spring").await;
    let call = json!({
        "campaignId": spring, "contactId": contacts[0], "agentId": office.agents[0],
        "outcome": "do_not_contact", "startedAt": "2026-11-21T17:00:00Z",
    });
    assert_eq!(office.client.post(&office.client.crm("calls"), call).await.0, 201);
    let summer = office.campaign("Summer").await;
    let told = office.done(ADD, add(&summer, json!({ "source": "crm", "city": "Lyon" }))).await;
    assert_eq!(told["applied"], json!(LYON - 1));
    assert_eq!(told["skippedByReason"], json!({ "DO_NOT_CONTACT": 1 }));
    let left_out = &told["samplesByReason"]["DO_NOT_CONTACT"];
    assert_eq!(texts(left_out, "contactId"), contacts[..1]);
}

#[tokio::test]
async fn whoever_is_in_another_campaign_too_can_be_taken_out() {
    let office = Office::open().await;
    let (spring, contacts) = office.lyon("Spring").await;
    let summer = office.campaign("Summer").await;
    let some = json!({ "source": "crm", "contactIds": contacts[..3] });
    office.done(ADD, add(&summer, some)).await;
    let also = json!({ "campaignId": spring, "filter": { "alsoInCampaignIds": [summer] }, "confirm": true });
    let told = office.done(REMOVE, also).await;
    assert_eq!((&told["applied"], &told["alsoInOtherCampaigns"]), (&json!(3), &json!(3)));
    assert_eq!(office.counts(&summer).await["total"], json!(3), "the other campaign keeps them");
    assert_eq!(office.counts(&spring).await["total"], json!(LYON - 3));
    let also =
        json!({ "campaignId": spring, "filter": { "alsoInCampaignIds": [summer, spring] }, "confirm": true });
    office.ask(REMOVE, also).await.refused(400, "INVALID_INPUT");
    assert_eq!(office.counts(&spring).await["total"], json!(LYON - 3));
}

#[tokio::test]
async fn a_campaign_that_is_named_twice_counts_once() {
    let office = Office::open().await;
    let (spring, _) = office.lyon("Spring").await;
    let (summer, contacts) = office.lyon("Summer").await;
    let leave = json!({ "campaignId": summer, "contactIds": contacts[2..], "confirm": true });
    office.done(REMOVE, leave).await;
    let both = json!({ "campaignIds": [spring, spring, summer], "minCampaigns": 2 });
    let told = office.done("find_contacts_in_multiple_campaigns", both).await;
    assert_eq!(told["totalContacts"], json!(2), "{told}");
    let three = json!({ "campaignIds": [spring, spring, summer], "minCampaigns": 3 });
    office.ask("find_contacts_in_multiple_campaigns", three).await.refused(400, "INVALID_INPUT");
}
