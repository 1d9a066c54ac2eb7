//! The back-test of approval rules: what other rules would have done is what they do when the decisions are replayed.

use std::collections::BTreeMap;

use docket::ledger::read::{self, Portion};
use docket_aggregates::approval_rules::{
    Action, Facts, NicheIs, Predicate, Rule, Verdict, evaluate, in_order,
};
use docket_aggregates::calendar::HoursOfDay;
use docket_aggregates::channel::Channel;
use docket_aggregates::ids::{MessageId, OrganizationId, OutboxId, RuleId};
use docket_aggregates::labels::Labels;
use docket_aggregates::message::MessageEvent;
use docket_aggregates::token::Role;
use docket_aggregates::{AnyEvent, Personal, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::drafts::{Sketch, draft, revise};
use crate::support::{Client, TestApp};

/// What was decided, as the ledger tells it: the message, what the rules looked at, when, and whether it went out.
struct Decided {
    message: MessageId,
    facts: Facts,
    at: Timestamp,
    auto_approved: bool,
}

/// Reads the ledger itself; no read model comes into it.
async fn decided(app: &TestApp, organization: OrganizationId) -> Vec<Decided> {
    let ledger = &app.app.ledger;
    let mut connection = ledger.pool().acquire().await.unwrap();
    let head = read::head(&mut connection, organization).await.unwrap().unwrap();
    let portion = Portion { events: i64::MAX / 2, bytes: i64::MAX / 2 };
    let mut events = read::stretch(&mut connection, organization, 1, head, portion).await.unwrap();
    read::open(ledger.keys(), organization, &mut events).await.unwrap();
    let mut messages: BTreeMap<Uuid, (Channel, Labels)> = BTreeMap::new();
    let mut all = vec![];
    for stored in events {
        let recorded = read::recorded(organization, stored).unwrap();
        let id = recorded.aggregate_id;
        match recorded.event {
            AnyEvent::Message(MessageEvent::MessageDrafted { channel, labels, .. }) => {
                messages.insert(id, (channel, labels.into_value().unwrap()));
            }
            AnyEvent::Message(MessageEvent::MessageRevised { labels, .. }) => {
                messages.get_mut(&id).unwrap().1 = labels.into_value().unwrap();
            }
            AnyEvent::Message(MessageEvent::MessageDecided { decision, labels: judged, .. })
                if decision.rules_version.is_some() =>
            {
                let (channel, labels) = messages[&id].clone();
                let labels = judged.map_or(labels, |judged| judged.into_value().unwrap());
                all.push(Decided {
                    message: MessageId(id),
                    facts: Facts { channel, labels },
                    at: recorded.occurred_at,
                    auto_approved: decision.approval_id.is_none(),
                });
            }
            _ => (),
        }
    }
    all
}

fn rule(number: u64, predicate: Predicate, action: Action, priority: u32) -> Rule {
    let rule_id = RuleId(Uuid::from_u128(number.into()));
    let predicate = Personal::known(rule_id.uuid(), predicate);
    Rule { rule_id, version: 1, predicate, action, priority, born: number }
}

/// The same candidates as the routes take them and as they are evaluated.
fn candidates() -> (Value, Vec<Rule>) {
    let night = HoursOfDay { start: "22:00".into(), end: "06:00".into(), tz: "Europe/Paris".into() };
    let given = json!([
        {
            "predicate": { "timeOfDay": { "start": "22:00", "end": "06:00", "tz": "Europe/Paris" } },
            "action": "queue_for_manual", "priority": 1,
        },
        { "predicate": { "niche": null, "tags": ["nurture"] }, "action": "auto_approve", "priority": 7 },
        { "predicate": { "channel": "email", "niche": "renovation" }, "action": "queue_for_manual", "priority": 7 },
        { "predicate": { "channel": "email" }, "action": "auto_approve", "priority": 9 },
    ]);
    let any = Predicate::default;
    let rules = vec![
        rule(0, Predicate { time_of_day: Some(night), ..any() }, Action::QueueForManual, 1),
        rule(
            1,
            Predicate { niche: Some(NicheIs::Absent), tags: vec!["nurture".into()], ..any() },
            Action::AutoApprove,
            7,
        ),
        rule(
            2,
            Predicate {
                channel: Some(Channel::Email),
                niche: Some(NicheIs::Slug("renovation".into())),
                ..any()
            },
            Action::QueueForManual,
            7,
        ),
        rule(3, Predicate { channel: Some(Channel::Email), ..any() }, Action::AutoApprove, 9),
    ];
    (given, in_order(rules))
}

async fn simulate(client: &Client, from: Timestamp, to: Timestamp, candidates: &Value) -> Value {
    let body = json!({ "from": from, "to": to, "candidateRules": candidates });
    let (status, answer) = client.post(&client.crm("approval-rules/simulate"), body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Two days of drafts under rules that change meanwhile.
async fn history(app: &TestApp, board: &Client) {
    let organization = board.organization;
    let outbox: OutboxId = app.clock.mint();
    let add = async |predicate: Value, action: &str, priority: u32| {
        let body = json!({ "predicate": predicate, "action": action, "priority": priority });
        let (status, answer) = board.post(&board.crm("approval-rules"), body).await;
        assert_eq!(status, 201, "{answer}");
    };
    let channels = [Channel::Email, Channel::Email, Channel::Linkedin, Channel::Whatsapp];
    let niches = [None, Some("renovation"), Some("kitchens")];
    let tags: [&[&str]; 3] = [&[], &["nurture"], &["Nurture", "q3"]];
    let mut waiting = None;
    for n in 0_usize..60 {
        match n {
            20 => add(json!({ "channel": "email" }), "auto_approve", 50).await,
            40 => add(json!({ "tags": ["q3"] }), "queue_for_manual", 10).await,
            _ => (),
        }
        let sketch = Sketch {
            channel: channels[n % 4],
            niche: niches[n % 3].map(str::to_owned),
            tags: tags[n % 5 % 3].iter().map(|tag| (*tag).to_owned()).collect(),
            text: format!("Draft {n}"),
            ..Sketch::mail(outbox)
        };
        let drafted = draft(&app.app, organization, &sketch).await;
        if drafted.approval.is_some() && waiting.is_none() {
            waiting = Some((drafted, sketch));
        }
        app.clock.advance(48 * 60_000);
    }
    // One is revised: what the rules look at is another then, and only from then on.
    let (drafted, sketch) = waiting.unwrap();
    let other = Sketch { niche: Some("renovation".into()), tags: vec![], text: "Anew".into(), ..sketch };
    revise(&app.app, organization, &drafted, &other).await;
}

#[tokio::test]
async fn a_back_test_equals_a_replay_of_the_decisions() {
    let app = TestApp::start().await;
    let organization = app.organization().await;
    let board = app.client(Role::Board, organization).await;
    let begun = app.clock.now();
    history(&app, &board).await;
    let ended = app.clock.now().plus_millis(1);
    let all = decided(&app, organization).await;
    assert_eq!(all.len(), 61);

    let (given, rules) = candidates();
    let head = async || {
        let mut connection = app.app.ledger.pool().acquire().await.unwrap();
        read::head(&mut connection, organization).await.unwrap()
    };
    let before = head().await;
    let middle = begun.plus_millis((ended.millis() - begun.millis()) / 2);
    for (from, to) in [(begun, ended), (begun, middle), (middle, ended), (ended, ended.plus_millis(1))] {
        let answer = simulate(&board, from, to, &given).await;
        let within: Vec<&Decided> = all.iter().filter(|one| from <= one.at && one.at < to).collect();
        let replayed: Vec<Verdict> = within.iter().map(|one| evaluate(&rules, &one.facts, one.at)).collect();
        let differ = |was: bool, would: Action| {
            within
                .iter()
                .zip(&replayed)
                .filter(|(one, verdict)| one.auto_approved == was && verdict.action == would)
                .count()
        };
        let approved = differ(false, Action::AutoApprove);
        let queued = differ(true, Action::QueueForManual);
        assert_eq!(
            (
                &answer["decisions"],
                &answer["newlyAutoApproved"],
                &answer["newlyQueued"],
                &answer["unchanged"]
            ),
            (
                &json!(within.len()),
                &json!(approved),
                &json!(queued),
                &json!(within.len() - approved - queued)
            ),
            "{answer}"
        );
        // And one by one: each example is that decision, and says which candidate decides it.
        let differing: Vec<Value> = within
            .iter()
            .zip(&replayed)
            .filter(|(one, verdict)| one.auto_approved != (verdict.action == Action::AutoApprove))
            .take(50)
            .map(|(one, verdict)| {
                let candidate = verdict.rule.map(|rule| rule.rule_id.uuid().as_u128() as u64);
                json!([one.message, one.at, verdict.action, candidate])
            })
            .collect();
        let told: Vec<Value> = answer["examples"]
            .as_array()
            .unwrap()
            .iter()
            .map(|example| {
                let would_be = &example["wouldBe"];
                json!([example["activityId"], example["at"], would_be["action"], would_be["candidate"]])
            })
            .collect();
        assert_eq!(told, differing);
    }
    let whole = simulate(&board, begun, ended, &given).await;
    assert!(
        whole["newlyAutoApproved"].as_u64() > Some(0) && whole["newlyQueued"].as_u64() > Some(0),
        "{whole}"
    );
    assert_eq!(head().await, before, "a back-test appends nothing");
}

#[tokio::test]
async fn the_rules_as_they_were_would_have_done_the_same() {
    let app = TestApp::start().await;
    let organization = app.organization().await;
    let board = app.client(Role::Board, organization).await;
    let rules = [
        json!({ "predicate": { "channel": "email", "tags": ["nurture"] }, "action": "auto_approve", "priority": 3 }),
        json!({ "predicate": { "niche": "kitchens" }, "action": "queue_for_manual", "priority": 1 }),
    ];
    for rule in &rules {
        assert_eq!(board.post(&board.crm("approval-rules"), rule.clone()).await.0, 201);
    }
    let begun = app.clock.now();
    let outbox: OutboxId = app.clock.mint();
    for n in 0..12 {
        let sketch = Sketch {
            niche: (n % 3 == 0).then(|| "kitchens".to_owned()),
            tags: if n % 2 == 0 { vec!["nurture".into()] } else { vec![] },
            ..Sketch::mail(outbox)
        };
        draft(&app.app, organization, &sketch).await;
    }
    let ended = app.clock.now().plus_millis(1);
    let same = simulate(&board, begun, ended, &json!(rules)).await;
    assert_eq!(
        (&same["decisions"], &same["unchanged"], &same["examples"]),
        (&json!(12), &json!(12), &json!([])),
        "{same}"
    );
    // Without any rule a person decides.
    let none = simulate(&board, begun, ended, &json!([])).await;
    assert_eq!((&none["newlyAutoApproved"], &none["newlyQueued"]), (&json!(0), &json!(4)), "{none}");
    for example in none["examples"].as_array().unwrap() {
        assert_eq!(example["wouldBe"], json!({ "action": "queue_for_manual", "candidate": null }));
    }
}

#[tokio::test]
async fn a_back_test_refuses_what_is_no_question() {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let hour = |hour: &str| format!("2026-11-21T{hour}:00:00Z");
    let rule =
        |predicate: Value| json!([{ "predicate": predicate, "action": "auto_approve", "priority": 1 }]);
    for (from, to, candidates, status) in [
        (hour("10"), hour("10"), json!([]), 400),
        (hour("11"), hour("10"), json!([]), 400),
        (hour("10"), "later".to_owned(), json!([]), 400),
        (hour("10"), hour("11"), rule(json!({ "chanel": "email" })), 400),
        (
            hour("10"),
            hour("11"),
            rule(json!({ "timeOfDay": { "start": "24:00", "end": "06:00", "tz": "UTC" } })),
            400,
        ),
        (hour("10"), hour("11"), json!([{ "predicate": {}, "action": "shrug", "priority": 1 }]), 400),
        (hour("10"), hour("11"), json!({}), 400),
        // What would be a mistake in earnest is the very question here.
        (hour("10"), hour("11"), rule(json!({})), 200),
    ] {
        let body = json!({ "from": from, "to": to, "candidateRules": candidates });
        let (answered, answer) = client.post(&client.crm("approval-rules/simulate"), body.clone()).await;
        assert_eq!(answered, status, "{body} {answer}");
    }
}
