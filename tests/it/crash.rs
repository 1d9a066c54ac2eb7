//! A server that is killed without warning loses nothing that it acknowledged, and does nothing twice.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use docket_aggregates::token::Role;
use serde_json::{Value, json};

use crate::support::app::{open, organization, token};
use crate::support::process::{Served, run};
use crate::support::{Client, Database, eventually};

const WORKERS: usize = 8;
/// Acknowledged commands after which a round's server is killed.
const ACKNOWLEDGED: usize = 40;

/// What the workers know: the campaign of each request that was answered, and those that were not.
#[derive(Default)]
struct Told {
    next: AtomicUsize,
    answered: Mutex<BTreeMap<usize, Value>>,
    unanswered: Mutex<Vec<usize>>,
}

async fn create(client: &Client, n: usize) -> Result<(u16, Value), String> {
    let input = json!({ "name": format!("Campaign {n}") });
    client.try_tool("create_outbound_campaign", &input, Some(&format!("r-{n}"))).await
}

/// Creates one campaign after the other until the server is gone.
async fn work(client: &Client, told: &Told) {
    loop {
        let n = told.next.fetch_add(1, Ordering::SeqCst);
        match create(client, n).await {
            Ok((200, answer)) => {
                let campaign = answer["data"]["campaign"]["campaignId"].clone();
                assert!(campaign.is_string(), "{answer}");
                told.answered.lock().unwrap().insert(n, campaign);
            }
            Ok((503, _)) => told.unanswered.lock().unwrap().push(n),
            Ok((status, answer)) => panic!("{status}: {answer}"),
            Err(_) => {
                told.unanswered.lock().unwrap().push(n);
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_nothing_and_repeats_nothing() {
    let rounds = std::env::var("DOCKET_TEST_ROUNDS").map_or(3, |rounds| rounds.parse().unwrap());
    let database = Database::create().await;
    let app = open(database.options.clone(), docket::clock::Clock::system()).await;
    let organization = organization(&app).await;
    let token = token(&app, Role::SuperAdmin, None).await;
    app.close().await;

    let told = Told::default();
    for round in 1..=rounds {
        let served = Served::start(&database).await;
        let client = Client::new(served.address, token.clone(), organization);
        // Whoever got no answer asks again, and so does somebody who did.
        let unanswered = std::mem::take(&mut *told.unanswered.lock().unwrap());
        for n in unanswered {
            let answer = eventually("the answer", || async {
                create(&client, n).await.ok().filter(|(status, _)| *status == 200).map(|(_, answer)| answer)
            })
            .await;
            told.answered.lock().unwrap().insert(n, answer["data"]["campaign"]["campaignId"].clone());
        }
        let known: Vec<(usize, Value)> =
            told.answered.lock().unwrap().iter().rev().take(10).map(|(n, id)| (*n, id.clone())).collect();
        for (n, campaign) in known {
            let (status, answer) = create(&client, n).await.unwrap();
            assert_eq!((status, &answer["data"]["campaign"]["campaignId"]), (200, &campaign), "{answer}");
            assert_eq!(answer["meta"]["idempotentReplay"], true);
        }

        let killing = async {
            let enough = round * ACKNOWLEDGED;
            eventually("the acknowledgements", || async {
                (told.answered.lock().unwrap().len() >= enough).then_some(())
            })
            .await;
            served.kill().await;
        };
        let workers = futures::future::join_all((0..WORKERS).map(|_| work(&client, &told)));
        futures::future::join(killing, workers).await;
    }

    let id = organization.to_string();
    let replay = run(&database, &["replay", "--organization", &id, "--type", "CampaignCreated"]).await;
    assert!(replay.status.success());
    let mut recorded: BTreeMap<String, usize> = BTreeMap::new();
    for line in String::from_utf8(replay.stdout).unwrap().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        *recorded.entry(event["aggregate_id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    let answered = told.answered.lock().unwrap().clone();
    for (n, campaign) in &answered {
        assert_eq!(recorded.get(campaign.as_str().unwrap()), Some(&1), "request {n}");
    }
    // The last round's unanswered ones may or may not have been recorded, once each.
    let unanswered = told.unanswered.lock().unwrap().len();
    let more = recorded.len() - answered.len();
    assert!(more <= unanswered, "{more} campaigns nobody asked for");

    for verb in [&["verify", "--organization", &id][..], &["rebuild"]] {
        let output = run(&database, verb).await;
        assert!(output.status.success(), "{verb:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
