//! A private PostgreSQL that several processes share, and whose owner dies.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use docket_aggregates::ids::OrganizationId;
use futures::future::join_all;
#[cfg(unix)]
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::readme::data_dir;
use crate::support::process::{Served, told_at_home};
use crate::support::{Client, PATIENCE, eventually};

/// Whoever calls the agent tools of a new organization in that folder, at that server.
pub async fn agent_of(served: &Served, home: &Path, slug: &str) -> Client {
    let found = [
        "organization",
        "create",
        "--slug",
        slug,
        "--name",
        "Lyon Habitat",
        "--owner-email",
        "ops@example.com",
    ];
    let organization = told_at_home(home, &found).await["id"].clone();
    let organization: OrganizationId = serde_json::from_value(organization).unwrap();
    let issue = ["token", "create", "--role", "super-admin", "--for", "Ann <ann@example.com>"];
    let issued = told_at_home(home, &issue).await;
    Client::new(served.address, issued["token"].as_str().unwrap().to_owned(), organization)
}

/// Calls a server while its database goes away and comes back: nobody is turned away, and nothing is lost.
async fn goes_on(served: &Served, home: &Path, kill: impl AsyncFnOnce()) {
    let client = agent_of(served, home, "lyon").await;
    let (done, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let caller = async |caller: usize| {
        let mut campaigns = 0;
        while !over.load(Ordering::SeqCst) {
            let name = format!("{caller}-{campaigns}");
            let input = json!({ "name": name });
            // What was at the database when that died may be asked again; nobody is turned away at the door.
            let told = client.try_tool("create_outbound_campaign", &input, Some(&name)).await;
            match told {
                Ok((200, _)) => {
                    campaigns += 1;
                    done.fetch_add(1, Ordering::SeqCst);
                }
                Ok((503, _)) => (),
                Ok((status, answer)) => panic!("{status}: {answer}"),
                // A connection that was idle may end just as it is used again; a new one is taken.
                Err(error) => assert!(!error.contains("(Connect)"), "{error}"),
            }
        }
        campaigns
    };
    let so_many_more = async |what: &str| {
        let enough = done.load(Ordering::SeqCst) + 40;
        eventually(what, async || (done.load(Ordering::SeqCst) >= enough).then_some(())).await;
    };
    let dying = async {
        so_many_more("campaigns before").await;
        kill().await;
        eventually("it serves again", async || {
            (served.log().matches("serving on").count() == 2).then_some(())
        })
        .await;
        so_many_more("campaigns after").await;
        over.store(true, Ordering::SeqCst);
    };
    let (made, ()) = tokio::join!(join_all((0..4).map(caller)), dying);
    let overview = client.done("get_crm_workspace_overview", json!({})).await;
    assert_eq!(overview["counts"]["campaigns"]["total"], json!(made.iter().sum::<usize>()), "{overview}");
    let verified = told_at_home(home, &["verify", "--organization", &client.organization.to_string()]).await;
    assert!(verified.is_object(), "{verified}");
    assert!(!served.log().contains("were not finished in time"), "{}", served.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_takes_over_from_an_owner_that_is_killed_and_turns_nobody_away() {
    let folder = data_dir();
    let home = folder.path().join("docket");
    let owner = Served::at_home(&home).await;
    let guest = Served::at_home(&home).await;
    goes_on(&guest, &home, async || owner.kill().await).await;
}

/// As the system does when it is short of memory.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_whose_server_is_killed_starts_it_again_and_turns_nobody_away() {
    let folder = data_dir();
    let home = folder.path().join("docket");
    let owner = Served::at_home(&home).await;
    let kill = async || {
        let told = std::fs::read_to_string(home.join("postgres/postmaster.pid")).unwrap();
        let id = told.lines().next().and_then(|id| id.trim().parse().ok()).and_then(Pid::from_raw).unwrap();
        kill_process(id, Signal::KILL).unwrap();
    };
    goes_on(&owner, &home, kill).await;
}

/// A machine that goes down tells everybody at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_is_told_to_end_as_its_owner_dies_soon_ends_and_loses_nothing() {
    let folder = data_dir();
    let home = folder.path().join("docket");
    let owner = Served::at_home(&home).await;
    let guest = Served::at_home(&home).await;
    let client = agent_of(&guest, &home, "lyon").await;
    let done = AtomicUsize::new(0);
    let caller = async |caller: usize| {
        for campaign in 0.. {
            let name = format!("{caller}-{campaign}");
            let told =
                client.try_tool("create_outbound_campaign", &json!({ "name": name }), Some(&name)).await;
            match told {
                Ok((200, _)) => done.fetch_add(1, Ordering::SeqCst),
                // What was at the database when that died is not known to be done, and the server may be gone by now.
                Ok((503, _)) | Err(_) => return,
                Ok((status, answer)) => panic!("{status}: {answer}"),
            };
        }
    };
    let dying = async {
        eventually("campaigns", async || (done.load(Ordering::SeqCst) >= 40).then_some(())).await;
        owner.kill().await;
        // Long before the twenty seconds that requests may take when they cannot be answered.
        assert!(guest.terminate(Duration::from_secs(8)).await.success());
    };
    tokio::join!(join_all((0..4).map(caller)), dying);
    let next = Served::at_home(&home).await;
    let client = client.at(next.address);
    let overview = client.done("get_crm_workspace_overview", json!({})).await;
    let there = overview["counts"]["campaigns"]["total"].as_u64().unwrap();
    let acknowledged = done.load(Ordering::SeqCst) as u64;
    assert!((acknowledged..=acknowledged + 4).contains(&there), "{acknowledged} acknowledged, {there} there");
}

/// Signals are not lost on a process that is busy with taking over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_takes_over_ends_when_it_is_told_to() {
    let folder = data_dir();
    let home = folder.path().join("docket");
    let owner = Served::at_home(&home).await;
    let guest = Served::at_home(&home).await;
    owner.kill().await;
    eventually("the guest sees that the database ended", async || {
        guest.log().contains("the private PostgreSQL ended").then_some(())
    })
    .await;
    assert!(guest.terminate(PATIENCE).await.success());
    // Whoever comes next finds the folder as a process that was told to end leaves it.
    assert!(Served::at_home(&home).await.terminate(PATIENCE).await.success());
}
