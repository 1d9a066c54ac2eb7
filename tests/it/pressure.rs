//! A server under pressure, as a process of its own: it refuses what it cannot hold, loses nothing of what it took, and
//! lets nobody hold its places by being slow.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use docket_aggregates::ids::OrganizationId;
use docket_aggregates::token::Role;
use hyper::Method;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use sqlx::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::app::{open, organization, token};
use crate::support::process::{Served, run};
use crate::support::{Client, Database, eventually};

const JSON: (&str, &str) = ("content-type", "application/json");
/// Requests that the server holds at once.
const HELD: usize = 1_024;

/// A database with an organization, and a token for it.
async fn furnished() -> (Database, OrganizationId, String) {
    let database = Database::create().await;
    let app = open(database.options.clone(), docket::clock::Clock::system()).await;
    let organization = organization(&app).await;
    let token = token(&app, Role::SuperAdmin, None).await;
    app.close().await;
    (database, organization, token)
}

/// Registers a caller whose name is a number; the answer's status, and whether it says when to come again.
async fn register(client: &Client, n: usize) -> Result<(u16, bool), String> {
    let body = json!({ "name": format!("Caller {n}"), "email": "caller@example.com" }).to_string();
    let key = format!("r-{n}");
    let headers = [JSON, ("idempotency-key", key.as_str())];
    let path = client.crm("agents");
    let (status, headers, _) =
        client.send_for_headers(Method::POST, &path, &headers, body.into_bytes()).await?;
    Ok((status, headers.contains_key("retry-after")))
}

/// The numbers of the callers that are recorded; each is recorded once.
async fn recorded(database: &Database, organization: OrganizationId) -> BTreeSet<usize> {
    let id = organization.to_string();
    let replay = ["replay", "--organization", &id, "--type", "AgentRegistered", "--reveal"];
    let output = run(database, &replay).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut numbers = BTreeSet::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let name = event["payload"]["profile"]["$personal"]["value"]["name"].as_str().unwrap().to_owned();
        let number = name.trim_start_matches("Caller ").parse().unwrap();
        assert!(numbers.insert(number), "{name} is there twice");
    }
    numbers
}

/// A socket for every request that is held, here and in the server that inherits it.
fn allow_sockets() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(8_192, |most| most.min(8_192));
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_times_what_it_holds_is_refused_in_part_and_lost_in_none() {
    allow_sockets();
    let (database, organization, token) = furnished().await;
    let served = Served::start(&database).await;
    let client = Client::new(served.address, token, organization);
    let (accepted, mut refused) = (Mutex::new(BTreeSet::new()), 0);
    let mut resident = Vec::new();
    for wave in 0..3 {
        let mut holder = database.connect().await;
        let mut held = holder.begin().await.unwrap();
        sqlx::query("SELECT FROM ledger.heads WHERE organization_id = $1 FOR UPDATE")
            .bind(organization.uuid())
            .execute(&mut *held)
            .await
            .unwrap();
        let answered = AtomicUsize::new(0);
        let first = wave * 4 * HELD;
        let all = futures::future::join_all((first..first + 4 * HELD).map(|n| {
            let (client, accepted, answered) = (&client, &accepted, &answered);
            async move {
                let (status, says_when) = register(client, n).await.unwrap();
                answered.fetch_add(1, Ordering::SeqCst);
                match status {
                    201 => drop(accepted.lock().unwrap().insert(n)),
                    429 | 503 => assert!(says_when, "{status} without Retry-After"),
                    other => panic!("{other}"),
                }
                status
            }
        }));
        let release = async {
            // Nothing can be recorded yet: whoever is answered is refused.
            eventually("the refusals", async || {
                (answered.load(Ordering::SeqCst) >= 4 * HELD - HELD).then_some(())
            })
            .await;
            held.rollback().await.unwrap();
        };
        let (statuses, ()) = futures::future::join(all, release).await;
        refused += statuses.iter().filter(|status| **status != 201).count();
        resident.push(served.resident());
    }
    let accepted = accepted.into_inner().unwrap();
    assert!(refused > 0 && !accepted.is_empty(), "{refused} refused, {} accepted", accepted.len());
    assert_eq!(recorded(&database, organization).await, accepted, "what was accepted, and nothing else");
    let [first, .., last] = resident[..] else { panic!("three waves") };
    assert!(last < first + first / 4 + 32 * 1_024, "memory grows from wave to wave: {resident:?} kB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_told_to_end_drains_and_loses_nothing() {
    let (database, organization, token) = furnished().await;
    let served = Served::start(&database).await;
    let client = Client::new(served.address, token, organization);
    let (next, acknowledged) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    let work = async || {
        loop {
            let n = next.fetch_add(1, Ordering::SeqCst);
            match register(&client, n).await {
                Ok((201, _)) => drop(acknowledged.lock().unwrap().insert(n)),
                Ok((503, _)) => (),
                Ok((status, _)) => panic!("{status}"),
                // It takes no new connections any more.
                Err(_) => return,
            }
        }
    };
    let ending = async {
        eventually("the load", async || (acknowledged.lock().unwrap().len() >= 200).then_some(())).await;
        let begun = Instant::now();
        let status = served.terminate(Duration::from_secs(30)).await;
        (status, begun.elapsed())
    };
    let workers = futures::future::join_all((0..32).map(|_| work()));
    let ((status, took), _) = futures::future::join(ending, workers).await;
    assert!(status.success(), "{status} after {took:?}");
    let acknowledged = acknowledged.into_inner().unwrap();
    let recorded = recorded(&database, organization).await;
    let lost: Vec<_> = acknowledged.difference(&recorded).collect();
    assert!(lost.is_empty(), "acknowledged and not recorded: {lost:?}");
    // What was begun is answered: nothing is recorded of which its author heard nothing.
    let unheard: Vec<_> = recorded.difference(&acknowledged).collect();
    assert!(unheard.is_empty(), "recorded and not acknowledged: {unheard:?}");
}

/// Sends a start at once and then a byte every half second, until the server ends it; what it said, and after how long.
async fn trickle(address: SocketAddr, start: String) -> (String, Duration) {
    let begun = Instant::now();
    let (mut from, mut to) = TcpStream::connect(address).await.unwrap().into_split();
    to.write_all(start.as_bytes()).await.unwrap();
    let trickling = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            tick.tick().await;
            if to.write_all(b"a").await.is_err() {
                return;
            }
        }
    });
    let mut said = Vec::new();
    let mut piece = [0; 4_096];
    let listening = async {
        while let Ok(count) = from.read(&mut piece).await {
            said.extend_from_slice(&piece[..count]);
            if count == 0 || said.windows(4).any(|four| four == b"\r\n\r\n") {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(50), listening).await.expect("the server ends it");
    trickling.abort();
    (String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned(), begun.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_trickles_is_cut_off_and_holds_nobody_up() {
    let (database, organization, token) = furnished().await;
    let served = Served::start(&database).await;
    let client = Client::new(served.address, token.clone(), organization);
    let head = |method: &str, path: &str, media_type: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nhost: docket\r\nauthorization: Bearer {token}\r\ncontent-type: {media_type}\r\n"
        )
    };
    let whole = |head: String| format!("{head}content-length: 100000\r\n\r\n");
    let unfinished_head = head("GET", "/healthz", "text/plain") + "x-slow: ";
    let company = whole(head("POST", &client.crm("agents"), "application/json")) + "{\"name\":\"";
    let agents = whole(head("POST", "/crm/agent/tools/list_campaigns", "application/json")) + "{\"input\":\"";
    let upload = whole(head("POST", &client.crm("imports?name=Slow"), "text/csv")) + "Email\n";
    let address = served.address;
    let slow = futures::future::join_all(
        [unfinished_head, company, agents, upload].map(|start| trickle(address, start)),
    );
    let served_meanwhile = async {
        let (status, _) = register(&client, 1).await.unwrap();
        assert_eq!(status, 201, "others are served");
        let (status, answer) = client
            .send(
                Method::POST,
                &client.crm("imports?name=Quick"),
                &[("content-type", "text/csv")],
                b"Email\na@example.com\n".to_vec(),
            )
            .await
            .unwrap();
        assert_eq!(status, 201, "{answer}");
    };
    let (ends, ()) = futures::future::join(slow, served_meanwhile).await;
    let expected = [("", 25), ("HTTP/1.1 408", 15), ("HTTP/1.1 408", 15), ("HTTP/1.1 408", 40)];
    for ((said, took), (status, within)) in ends.into_iter().zip(expected) {
        assert!(said.starts_with(status) && !said.starts_with("HTTP/1.1 2"), "{said:?}, not {status:?}");
        assert!(took < Duration::from_secs(within), "{said:?} after {took:?}");
    }
}
