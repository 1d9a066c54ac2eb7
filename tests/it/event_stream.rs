//! The ledger as a stream of server-sent events, read as a browser reads it: line by line, from a socket.

use std::net::SocketAddr;

use docket::http::Settings;
use docket::ledger::Origin;
use docket_aggregates::agent::{Agent, AgentCommand};
use docket_aggregates::ids::{AgentId, OrganizationId, TokenId};
use docket_aggregates::token::{Role, Token, TokenCommand};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::support::{Client, PATIENCE, TestApp, eventually};

const CANARY: &str = "canary-8Jq";

/// An open stream.
struct Stream {
    socket: TcpStream,
    received: String,
    read: usize,
}

impl Stream {
    async fn open(address: SocketAddr, bearer: &str, path: &str, headers: &str) -> Self {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {bearer}\r\naccept: text/event-stream\r\n{headers}\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut stream = Self { socket, received: String::new(), read: 0 };
        while !stream.received.contains("\r\n\r\n") {
            assert!(stream.more().await, "{}", stream.received);
        }
        stream
    }

    fn status(&self) -> u16 {
        self.received.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Reads on; false at the end.
    async fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let read = tokio::time::timeout(PATIENCE, self.socket.read(&mut buffer)).await;
        let read = read.expect("something within the test's patience").unwrap_or(0);
        self.received.push_str(&String::from_utf8_lossy(&buffer[..read]));
        read > 0
    }

    /// The next event: its id and its data.
    async fn event(&mut self) -> (i64, Value) {
        loop {
            let rest = &self.received[self.read..];
            if let Some(start) = rest.find("\ndata: ")
                && let Some(end) = rest[start + 1..].find("\n\n")
            {
                let id = rest[..start].rsplit("id: ").next().unwrap().trim().parse().unwrap();
                let data = serde_json::from_str(&rest[start + "\ndata: ".len()..start + 1 + end]).unwrap();
                self.read += start + 1 + end;
                return (id, data);
            }
            assert!(self.more().await, "the stream ended: {}", self.received);
        }
    }

    /// Reads to the end; whether it ended as a whole answer does.
    async fn ended(&mut self) -> bool {
        // The connection may be kept for another request.
        while !self.received.ends_with("\r\n0\r\n\r\n") {
            if !self.more().await {
                return false;
            }
        }
        true
    }
}

async fn open(app: &TestApp, client: &Client, query: &str, headers: &str) -> Stream {
    Stream::open(app.address(), &client.bearer(), &client.crm(&format!("events/stream{query}")), headers)
        .await
}

async fn happen(board: &Client, name: &str) {
    let agent = json!({ "name": format!("{name} {CANARY}"), "email": format!("{name}@{CANARY}.example") });
    assert_eq!(board.post(&board.crm("agents"), agent).await.0, 201);
}

#[tokio::test]
async fn the_ledger_comes_in_order_and_goes_on_as_it_grows() {
    let app = TestApp::start().await;
    let organization = app.organization().await;
    let board = app.client(Role::Board, organization).await;
    let auditor = app.client(Role::Auditor, organization).await;
    for name in ["one", "two", "three"] {
        happen(&board, name).await;
    }
    let (_, listed) = auditor.get(&auditor.crm("events?limit=1000")).await;
    let listed = listed.as_array().unwrap().clone();
    let mut stream = open(&app, &auditor, "?after=0", "").await;
    assert_eq!(stream.status(), 200);
    assert!(stream.received.to_ascii_lowercase().contains("content-type: text/event-stream"));
    for expected in &listed {
        let (id, event) = stream.event().await;
        assert_eq!((json!(id), &event), (expected["position"].clone(), expected));
    }
    let mut live = open(&app, &board, "", "").await;
    let head = listed.len() as i64;
    for name in ["four", "five"] {
        happen(&board, name).await;
    }
    for position in [head + 1, head + 2] {
        let (id, event) = stream.event().await;
        assert_eq!((id, event["event_type"].as_str()), (position, Some("AgentRegistered")));
        assert_eq!(live.event().await, (id, event), "without a position it begins at the head");
    }
    assert!(stream.received.contains("$sealed") && !stream.received.contains(CANARY));

    // Where it broke off, it goes on; the header wins over the query.
    let resumed = format!("last-event-id: {}\r\n", head + 1);
    let mut resumed = open(&app, &auditor, "?after=0", &resumed).await;
    assert_eq!(resumed.event().await.0, head + 2);
    // What another process appends comes, too.
    let other = app.another().await;
    let registered = listed.iter().find(|event| event["event_type"] == "AgentRegistered").unwrap();
    let agent: AgentId = registered["aggregate_id"].as_str().unwrap().parse().unwrap();
    let command = AgentCommand::Change { name: None, email: None, role: None, active: Some(false) };
    let origin = Origin::system("test");
    other
        .ledger
        .order::<Agent>(organization, agent, other.clock.mint(), other.clock.now(), &origin, None, command)
        .await
        .unwrap();
    assert_eq!(resumed.event().await.1["event_type"], "AgentDeactivated");
}

#[tokio::test]
async fn who_may_not_read_the_ledger_gets_no_stream() {
    let app = TestApp::start().await;
    let organization = app.organization().await;
    for (role, status) in [(Role::Auditor, 200), (Role::Board, 200), (Role::Agent, 403), (Role::Viewer, 403)]
    {
        let client = app.client(role, organization).await;
        assert_eq!(open(&app, &client, "", "").await.status(), status, "{}", role.name());
    }
    let auditor = app.client(Role::Auditor, organization).await;
    for (query, headers) in [
        ("?after=-1", ""),
        ("?after=x", ""),
        ("?after=99999", ""),
        ("?limit=1", ""),
        ("", "last-event-id: x\r\n"),
        ("", "last-event-id: 99999\r\n"),
        ("?after=0", "last-event-id: -1\r\n"),
    ] {
        assert_eq!(open(&app, &auditor, query, headers).await.status(), 400, "{query} {headers}");
    }
}

#[tokio::test]
async fn an_organization_has_only_so_many_streams_and_a_closed_one_makes_room() {
    let app = TestApp::start().await;
    let organization = app.organization().await;
    let auditor = app.client(Role::Auditor, organization).await;
    let mut streams = Vec::new();
    for _ in 0..16 {
        let stream = open(&app, &auditor, "", "").await;
        assert_eq!(stream.status(), 200);
        streams.push(stream);
    }
    let refused = open(&app, &auditor, "", "").await;
    assert_eq!(refused.status(), 429);
    assert!(refused.received.to_ascii_lowercase().contains("retry-after: "));
    let neighbour = app.client(Role::Auditor, app.organization().await).await;
    assert_eq!(open(&app, &neighbour, "", "").await.status(), 200);
    streams.pop();
    let board = app.client(Role::Board, organization).await;
    happen(&board, "one").await;
    eventually("there is room again", || async {
        (open(&app, &auditor, "", "").await.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let app = TestApp::start().await;
    let organization = app.organization().await;
    let token = app.token(Role::Auditor, Some(organization)).await;
    let client = Client::new(app.address(), token.clone(), organization);
    let mut stream = open(&app, &client, "", "").await;
    let token_id: Uuid = token.split('_').nth(1).unwrap().parse().unwrap();
    let (id, now) = (app.clock.mint(), app.clock.now());
    let origin = Origin::system("test");
    app.app
        .ledger
        .order::<Token>(
            OrganizationId::INSTANCE,
            TokenId(token_id),
            id,
            now,
            &origin,
            None,
            TokenCommand::Revoke,
        )
        .await
        .unwrap();
    app.clock.advance(2_000);
    assert!(stream.ended().await, "{}", stream.received);
}

#[tokio::test]
async fn a_stream_ends_whole_when_the_server_ends() {
    let app = TestApp::start().await;
    let organization = app.organization().await;
    let auditor = app.client(Role::Auditor, organization).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let second = app.another().await;
    let serving = tokio::spawn(docket::http::serve(second, Settings::default(), listener, async {
        let _ = stopped.await;
    }));
    let path = auditor.crm("events/stream?after=0");
    let mut stream = Stream::open(address, &auditor.bearer(), &path, "").await;
    assert_eq!(stream.status(), 200);
    stop.send(()).unwrap();
    assert!(stream.ended().await, "{}", stream.received);
    tokio::time::timeout(PATIENCE, serving).await.unwrap().unwrap().unwrap();
}
