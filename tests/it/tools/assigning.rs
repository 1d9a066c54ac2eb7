//! Who gets whom.

use futures::future::join_all;
use hyper::Method;
use serde_json::json;

use super::{JSON, LYON, Office, number, with};

const ASSIGN: &str = "bulk_assign_campaign_contacts";

#[tokio::test]
async fn shares_add_up_and_differ_by_one_at_most() {
    let office = Office::open().await;
    for strategy in ["round_robin", "least_loaded"] {
        let (campaign, _) = office.lyon(strategy).await;
        let input = json!({
            "campaignId": campaign, "agentIds": office.agents, "strategy": strategy, "confirm": true,
        });
        let told = office.done(ASSIGN, input).await;
        let shares: Vec<u64> =
            told["perAgent"].as_array().unwrap().iter().map(|share| number(&share["added"])).collect();
        assert_eq!(shares.iter().sum::<u64>(), LYON as u64, "{strategy}");
        assert_eq!(told["applied"], json!(LYON), "{strategy}");
        let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
        assert!(most - least <= 1, "{strategy}: {shares:?}");
    }
}

#[tokio::test]
async fn nobody_is_assigned_twice() {
    let office = Office::open().await;
    let (campaign, _) = office.lyon("Spring").await;
    let assign = |agent: &str| {
        office.ask(ASSIGN, json!({ "campaignId": campaign, "agentIds": [agent], "confirm": true }))
    };
    let answers = join_all(office.agents.iter().map(|agent| assign(agent))).await;
    let applied: u64 = answers.iter().map(|told| number(&told.data()["applied"])).sum();
    assert_eq!(applied, LYON as u64);
    assert_eq!(office.counts(&campaign).await["unassigned"], json!(0));
}

#[tokio::test]
async fn whoever_has_somebody_keeps_them_unless_told_otherwise() {
    let office = Office::open().await;
    let (campaign, contacts) = office.lyon("Spring").await;
    let (ada, bea) = (&office.agents[0], &office.agents[1]);
    let assign = |agent: &str, reassign: bool| {
        office.done(
            ASSIGN,
            json!({
                "campaignId": campaign, "agentIds": [agent], "contactIds": contacts, "strategy": "single",
                "reassign": reassign, "confirm": true,
            }),
        )
    };
    assert_eq!(assign(ada, false).await["applied"], json!(LYON));
    let again = assign(bea, false).await;
    assert_eq!(again["skippedByReason"], json!({ "ALREADY_ASSIGNED": LYON }));
    assert_eq!(assign(bea, true).await["applied"], json!(LYON));
    assert_eq!(office.counts(&campaign).await["byAgent"][bea.as_str()], json!(LYON));
}

#[tokio::test]
async fn giving_somebody_to_whom_they_belong_changes_nothing() {
    let office = Office::open().await;
    let (campaign, contacts) = office.lyon("Spring").await;
    for (strategy, agents) in [
        ("single", &office.agents[..1]),
        ("round_robin", &office.agents[..]),
        ("least_loaded", &office.agents[..]),
    ] {
        let input = json!({
            "campaignId": campaign, "agentIds": agents, "contactIds": contacts, "strategy": strategy,
            "reassign": true, "confirm": true,
        });
        office.done(ASSIGN, input.clone()).await;
        let before = office.events().await;
        let shown = office.ask(ASSIGN, with(input.clone(), "dryRun", true)).await;
        let again = office.done(ASSIGN, input.clone()).await;
        assert_eq!(again["skippedByReason"], json!({ "ALREADY_ASSIGNED": LYON }), "{strategy}");
        assert_eq!((&again["matched"], &again["applied"]), (&json!(LYON), &json!(0)), "{strategy}");
        for share in again["perAgent"].as_array().unwrap() {
            assert_eq!((&share["added"], &share["before"]), (&json!(0), &share["after"]), "{strategy}");
        }
        let applied = office.done(ASSIGN, with(input, "previewToken", shown.token())).await;
        assert_eq!(applied["applied"], json!(0), "{strategy}");
        assert_eq!(office.events().await, before, "{strategy}");
    }
}

#[tokio::test]
async fn a_preview_gives_nobody_more_than_they_may_have_by_now() {
    let office = Office::open().await;
    let (campaign, contacts) = office.lyon("Spring").await;
    let ada = &office.agents[0];
    let assign = |contacts: &[String]| json!({ "campaignId": campaign, "agentIds": [ada], "contactIds": contacts, "maxPerAgent": 10, "confirm": true });
    let input = assign(&contacts[..10]);
    let preview = office.ask(ASSIGN, with(input.clone(), "dryRun", true)).await;
    assert_eq!(preview.data()["perAgent"][0]["after"], json!(10));
    assert_eq!(office.done(ASSIGN, assign(&contacts[10..14])).await["applied"], json!(4));

    let input = with(input, "previewToken", preview.token());
    let refused = office.ask(ASSIGN, input.clone()).await;
    refused.refused(409, "PREVIEW_DRIFT");
    let drift = &refused.meta()["details"]["drift"];
    assert_eq!((&drift["added"], &drift["removed"]), (&json!(0), &json!(4)), "{drift}");

    let applied = office.done(ASSIGN, with(input, "onDrift", "intersect")).await;
    assert_eq!((&applied["applied"], &applied["skippedByReason"]), (&json!(6), &json!({ "AGENT_CAP": 4 })));
    assert_eq!(applied["perAgent"][0]["after"], json!(10));
}

#[tokio::test]
async fn two_who_swap_their_contacts_keep_within_what_they_may_have() {
    let office = Office::open().await;
    let (campaign, contacts) = office.lyon("Spring").await;
    let (ada, bea) = (&office.agents[0], &office.agents[1]);
    let assign = |agents: &[&String], contacts: &[String]| {
        json!({
            "campaignId": campaign, "agentIds": agents, "contactIds": contacts, "maxPerAgent": 10,
            "reassign": true, "confirm": true,
        })
    };
    office.done(ASSIGN, assign(&[ada], &contacts[..10])).await;
    office.done(ASSIGN, assign(&[bea], &contacts[10..])).await;
    // In turn over all twenty: each of the two gives away five and gets five.
    let input = assign(&[ada, bea], &contacts);
    let preview = office.ask(ASSIGN, with(input.clone(), "dryRun", true)).await;
    let applied = office.ask(ASSIGN, with(input, "previewToken", preview.token())).await;
    assert_eq!(applied.outcome(), preview.outcome());
    for share in applied.data()["perAgent"].as_array().unwrap() {
        assert_eq!((&share["added"], &share["after"]), (&json!(5), &json!(10)), "{share}");
    }
}

#[tokio::test]
async fn a_preview_with_a_bound_comes_true_and_keeps_it() {
    let office = Office::open().await;
    let (campaign, contacts) = office.lyon("Spring").await;
    let (ada, bea) = (&office.agents[0], &office.agents[1]);
    let share = |agents: &[&String], contacts: &[String]| {
        office.done(
            ASSIGN,
            json!({
                "campaignId": campaign, "agentIds": agents, "contactIds": contacts, "strategy": "single",
                "reassign": true, "confirm": true,
            }),
        )
    };
    // Who has so many of the twenty before, who is given, with which bound.
    for (adas, agents, strategy, max) in [
        (10, vec![ada], "single", 10),
        (10, vec![ada], "round_robin", 12),
        (10, vec![ada, bea], "round_robin", 7),
        (15, vec![bea], "least_loaded", 4),
        (15, vec![ada, bea], "least_loaded", 12),
        (20, vec![bea, ada], "round_robin", 3),
        (2, vec![ada, bea], "round_robin", 10),
    ] {
        share(&[ada], &contacts[..adas]).await;
        if adas < contacts.len() {
            share(&[bea], &contacts[adas..]).await;
        }
        let input = json!({
            "campaignId": campaign, "agentIds": agents, "filter": {}, "strategy": strategy, "reassign": true,
            "maxPerAgent": max, "confirm": true,
        });
        let said = format!("{adas} {strategy} {max}");
        let preview = office.ask(ASSIGN, with(input.clone(), "dryRun", true)).await;
        let applied = office.ask(ASSIGN, with(input, "previewToken", preview.token())).await;
        assert_eq!(applied.outcome(), preview.outcome(), "{said}");
        let counts = office.counts(&campaign).await;
        for share in applied.data()["perAgent"].as_array().unwrap() {
            let after = number(&share["after"]);
            assert!(after <= max.max(number(&share["before"])), "{said}: {share}");
            let counted = &counts["byAgent"][share["agentId"].as_str().unwrap()];
            assert_eq!(counted.as_u64().unwrap_or(0), after, "{said}");
        }
    }
}

#[tokio::test]
async fn a_campaign_without_contacts_has_nobody_to_assign() {
    let office = Office::open().await;
    let campaign = office.campaign("Spring").await;
    let input = json!({ "campaignId": campaign, "agentIds": office.agents, "confirm": true });
    let told = office.done(ASSIGN, input).await;
    assert_eq!((&told["matched"], &told["applied"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn whoever_does_not_work_gets_nobody() {
    let office = Office::open().await;
    let (campaign, _) = office.lyon("Spring").await;
    let agent = office.client.crm(&format!("agents/{}", office.agents[0]));
    let inactive = json!({ "active": false }).to_string().into_bytes();
    assert_eq!(office.client.send(Method::PATCH, &agent, &[JSON], inactive).await.unwrap().0, 200);
    let input = json!({ "campaignId": campaign, "agentIds": office.agents, "confirm": true });
    office.ask(ASSIGN, input).await.refused(422, "AGENT_UNASSIGNABLE");
    assert_eq!(office.counts(&campaign).await["assigned"], json!(0), "nor does anybody else of the call");
    let workloads = office.done("bulk_get_agent_workloads", json!({ "agentIds": office.agents })).await;
    for workload in workloads["workloads"].as_array().unwrap() {
        assert_eq!((&workload["totalAssigned"], &workload["open"]), (&json!(0), &json!(0)), "{workload}");
    }
    assert_eq!(workloads["workloads"].as_array().unwrap().len(), office.agents.len());
}

#[tokio::test]
async fn whoever_is_done_with_is_not_assigned() {
    let office = Office::open().await;
    let (campaign, contacts) = office.lyon("Spring").await;
    let call = json!({
        "campaignId": campaign, "contactId": contacts[0], "agentId": office.agents[0],
        "outcome": "not_interested", "startedAt": "2026-11-21T17:00:00Z",
    });
    assert_eq!(office.client.post(&office.client.crm("calls"), call).await.0, 201);
    let input = json!({
        "campaignId": campaign, "agentIds": office.agents, "contactIds": contacts, "reassign": true, "confirm": true,
    });
    let told = office.done(ASSIGN, input).await;
    assert_eq!(
        (&told["applied"], &told["skippedByReason"]),
        (&json!(LYON - 1), &json!({ "TERMINAL_STATUS": 1 }))
    );
}
