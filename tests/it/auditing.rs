//! The chain, recomputed.

use std::sync::Arc;

use docket::app::App;
use docket::ledger::read::{self, Portion, Stored};
use docket::ledger::{Stream, Write, canonical, chain};
use docket_aggregates::Personal;
use docket_aggregates::campaign::{CampaignEvent, CampaignText};
use docket_aggregates::contact::{Contact, ContactEvent};
use docket_aggregates::ids::OrganizationId;
use serde_json::Value;
use sqlx::Executor;
use uuid::Uuid;

use crate::support::commands::{campaign, command};
use crate::support::process::{python, run};
use crate::support::{Database, TestApp};

/// Recomputes leaf and link of every event from what PostgreSQL gives back; answers how many there are.
pub async fn assert_chain_holds(app: &App, organization: OrganizationId) -> i64 {
    let mut connection = app.ledger.pool().acquire().await.unwrap();
    let head = read::head(&mut connection, organization).await.unwrap().unwrap();
    let portion = Portion { events: i64::from(i32::MAX), bytes: i64::MAX };
    let events = read::stretch(&mut connection, organization, 1, head, portion).await.unwrap();
    let mut link = chain::genesis(organization);
    for (position, event) in (1..).zip(&events) {
        assert_eq!(event.position, position);
        let leaf = leaf(organization, event);
        assert_eq!(leaf[..], event.leaf[..], "leaf at {position}");
        link = chain::link(&link, position, event.recorded_at, &leaf);
        assert_eq!(link[..], event.chain[..], "link at {position}");
    }
    let stored: Vec<u8> = sqlx::query_scalar("SELECT chain FROM ledger.heads WHERE organization_id = $1")
        .bind(organization.uuid())
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    assert_eq!((events.len() as i64, &stored[..]), (head, &link[..]));
    head
}

fn leaf(organization: OrganizationId, event: &Stored) -> chain::Hash {
    chain::leaf(&chain::LeafParts {
        organization,
        event_id: event.event_id,
        command_id: event.command_id,
        aggregate_type: &event.aggregate_type,
        aggregate_id: &event.aggregate_id,
        sequence: event.sequence.unsigned_abs(),
        event_type: &event.event_type,
        event_version: &event.event_version,
        payload: &canonical::to_string(&event.payload).unwrap(),
        metadata: &canonical::to_string(&event.metadata).unwrap(),
        occurred_at: event.occurred_at,
    })
    .unwrap()
}

/// What an auditor has in hand: the lines of a replay of everything that a story with awkward texts recorded.
async fn replayed() -> (Arc<Database>, String, Vec<Value>) {
    let app = TestApp::start().await;
    let client = app.agent().await;
    let awkward = "Été \u{1f33c} \u{fb33} \"quoted\" back\\slash / del\u{7f}\u{1}tab\t";
    let text = CampaignText { name: awkward.into(), description: Some("two\nlines".into()), goal: None };
    let mut write = campaign(app.clock.mint(), "");
    write.events =
        vec![CampaignEvent::CampaignReworded { text: Personal::known(write.stream.id, text) }.into()];
    let mut opted_out =
        ContactEvent::ContactOptedOut { via: awkward.into(), addresses: vec![awkward.into()] };
    for _ in 0..3 {
        let contact = Write {
            stream: Stream::of::<Contact>(app.clock.mint::<Uuid>()),
            expected: 0,
            events: vec![opted_out.clone().into()],
        };
        write.stream.id = app.clock.mint();
        let mut command = command(&app.app, client.organization, vec![write.clone(), contact]);
        command.origin.reason = Some(awkward.into());
        command.origin.tool = awkward.into();
        app.app.ledger.append(command).await.unwrap();
        app.clock.advance(1_234);
        opted_out = ContactEvent::ContactOptedOut { via: "api".into(), addresses: vec![] };
    }
    let organization = client.organization.to_string();
    let output = run(&app.database, &["replay", "--organization", &organization]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 6);
    (app.end(), organization, lines)
}

async fn verified(lines: &[Value]) -> (bool, String) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let (status, said) = python("verify_chain.py", &[], text.as_bytes()).await;
    (status.success(), said)
}

#[tokio::test]
async fn claims_that_the_events_do_not_justify_are_noticed_and_put_right() {
    let (database, organization, _) = replayed().await;
    let claims = async || {
        let rows: Vec<(String, Vec<u8>, Uuid)> = sqlx::query_as(
            "SELECT scope, key_hash, owner FROM ledger.claims WHERE organization_id = $1::uuid ORDER BY 1, 2",
        )
        .bind(&organization)
        .fetch_all(&database.pool())
        .await
        .unwrap();
        rows
    };
    let ask = async |arguments: &[&str]| {
        let arguments = [arguments, &["--organization", &organization, "--json"]].concat();
        let output = run(&database, &arguments).await;
        let said = if output.status.success() { &output.stdout } else { &output.stderr };
        (output.status.code(), String::from_utf8_lossy(said).into_owned())
    };
    let before = claims().await;
    assert!(!before.is_empty());
    let (status, said) = ask(&["verify"]).await;
    let verified: Value = serde_json::from_str(&said).unwrap_or_default();
    assert_eq!((status, &verified["claims"]), (Some(0), &Value::from(before.len())), "{said}");

    let other = format!(
        "UPDATE ledger.claims SET owner = gen_random_uuid() WHERE organization_id = '{organization}'"
    );
    let more =
        format!("INSERT INTO ledger.claims VALUES ('{organization}', 'slug', '\\x00', gen_random_uuid())");
    let fewer = format!("DELETE FROM ledger.claims WHERE organization_id = '{organization}'");
    let count = before.len() as i64;
    for (damage, missing, misowned, unjustified) in
        [(other, 0, count, 0), (more, 0, 0, 1), (fewer, count, 0, 0)]
    {
        database.pool().execute(damage.as_str()).await.unwrap();
        let (status, said) = ask(&["verify"]).await;
        assert_eq!(status, Some(1), "{damage} is noticed: {said}");
        assert!(said.contains("rebuild --claims"), "{said}");
        let (status, said) = ask(&["rebuild", "--claims"]).await;
        let rebuilt: Value = serde_json::from_str(&said).unwrap_or_default();
        let found = ["missing", "misowned", "unjustified"].map(|what| rebuilt[what].as_i64());
        assert_eq!(
            (status, found),
            (Some(0), [missing, misowned, unjustified].map(Some)),
            "{damage}: {said}"
        );
        assert_eq!(claims().await, before, "{damage}");
        assert_eq!(ask(&["verify"]).await.0, Some(0));
    }
    assert_eq!(run(&database, &["rebuild", "--claims"]).await.status.code(), Some(2), "whose claims?");
}

#[tokio::test]
async fn a_stranger_recomputes_the_chain_from_a_replay_and_sees_every_change() {
    let (_database, _, lines) = replayed().await;
    let (good, said) = verified(&lines).await;
    assert!(good, "{said}");
    let last = lines.last().unwrap()["chain"].as_str().unwrap();
    assert_eq!(said.trim(), format!("6 events, chain {last}"));

    type Tamper = fn(&mut Vec<Value>);
    let changes: [(&str, Tamper); 9] = [
        ("a payload", |lines| lines[1]["payload"]["via"] = "call".into()),
        ("a member more", |lines| lines[1]["payload"]["more"] = Value::Null),
        ("metadata", |lines| lines[2]["metadata"]["tool"] = "other".into()),
        ("the time of the decision", |lines| lines[3]["occurred_at"] = "2026-11-21T18:00:00.001Z".into()),
        ("the time of record", |lines| lines[3]["recorded_at"] = "2026-11-21T18:00:00.001Z".into()),
        ("a leaf", |lines| lines[0]["leaf"] = lines[1]["leaf"].clone()),
        ("an event less", |lines| drop(lines.remove(2))),
        ("the order", |lines| lines.swap(1, 2)),
        ("a box", |lines| {
            let sealed =
                lines[0]["payload"]["text"]["$sealed"]["box"].as_str().unwrap().replacen('A', "B", 1);
            lines[0]["payload"]["text"]["$sealed"]["box"] = sealed.into();
        }),
    ];
    for (what, change) in changes {
        let mut changed = lines.clone();
        change(&mut changed);
        let (good, said) = verified(&changed).await;
        assert!(!good && said.contains("not verified"), "{what}: {said}");
    }
}

#[tokio::test]
async fn verify_finds_what_a_superuser_changed() {
    let (database, organization, _) = replayed().await;
    let verify = ["verify", "--organization", &organization];
    let output = run(&database, &verify).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let mut connection = database.connect().await;
    connection
        .execute(
            "ALTER TABLE ledger.events DISABLE TRIGGER ALL; \
             CREATE TABLE kept_events AS TABLE ledger.events; CREATE TABLE kept_heads AS TABLE ledger.heads",
        )
        .await
        .unwrap();
    let changes = [
        (
            "UPDATE ledger.events SET payload = payload || '{\"via\": \"call\"}' WHERE position = 4",
            "position 4",
        ),
        (
            "UPDATE ledger.events SET recorded_at = recorded_at + interval '1 ms' WHERE position = 5",
            "position 5",
        ),
        ("DELETE FROM ledger.events WHERE position = 3", "position 3"),
        ("DELETE FROM ledger.events WHERE position = 6; UPDATE ledger.heads SET position = 5", "the end"),
    ];
    for (statement, found) in changes {
        connection.execute(format!("BEGIN; {statement}; COMMIT").as_str()).await.unwrap();
        let output = run(&database, &verify).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{statement}");
        assert!(said.lines().last().unwrap().contains(found), "{statement}: {said}");
        connection.execute("DELETE FROM ledger.events; DELETE FROM ledger.heads").await.unwrap();
        connection.execute("INSERT INTO ledger.events TABLE kept_events").await.unwrap();
        connection.execute("INSERT INTO ledger.heads TABLE kept_heads").await.unwrap();
    }
}

#[tokio::test]
async fn the_chain_is_verified_past_what_only_a_newer_version_can_read() {
    let (database, organization, _) = replayed().await;
    let id: OrganizationId = organization.parse().unwrap();
    let mut connection = database.connect().await;
    let everything = Portion { events: 100, bytes: i64::MAX };
    let mut events = read::stretch(&mut connection, id, 1, 6, everything).await.unwrap();
    let mut last = events.pop().unwrap();
    last.event_type = "FromTheFuture".into();
    let leaf = leaf(id, &last);
    let before: chain::Hash = events.last().unwrap().chain.clone().try_into().unwrap();
    let link = chain::link(&before, 6, last.recorded_at, &leaf);
    connection.execute("ALTER TABLE ledger.events DISABLE TRIGGER ALL").await.unwrap();
    sqlx::query("UPDATE ledger.events SET event_type = $1, leaf = $2, chain = $3 WHERE position = 6")
        .bind(&last.event_type)
        .bind(&leaf[..])
        .bind(&link[..])
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::query("UPDATE ledger.heads SET chain = $1 WHERE position = 6")
        .bind(&link[..])
        .execute(&mut connection)
        .await
        .unwrap();
    let output = run(&database, &["verify", "--organization", &organization]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [&format!("6 events verified, chain {}", hex::encode(link)), "FromTheFuture", "position 6"] {
        assert!(said.contains(part), "{part} in: {said}");
    }
}

/// HKDF with SHA-256, as `docs/auditing.md` writes it.
fn hkdf<const LENGTH: usize>(key: &[u8], salt: &[u8], info: &[u8]) -> [u8; LENGTH] {
    let mut derived = [0; LENGTH];
    hkdf::Hkdf::<sha2::Sha256>::new(Some(salt), key).expand(info, &mut derived).unwrap();
    derived
}

/// Opens a box from the page's words alone.
fn open_box(key: &[u8], sealed: &[u8], associated: &[&[u8]]) -> Vec<u8> {
    use chacha20poly1305::aead::{Aead, KeyInit, Payload};
    assert_eq!(sealed[0], 1);
    let (nonce, rest) = sealed[1..].split_at(24);
    let (commitment, ciphertext) = rest.split_at(32);
    let derived: [u8; 64] = hkdf(key, nonce, b"docket/1 box");
    assert_eq!(&derived[32..], commitment);
    let cipher = chacha20poly1305::XChaCha20Poly1305::new(derived[..32].into());
    let aad = associated.concat();
    cipher.decrypt(nonce.into(), Payload { msg: ciphertext, aad: &aad }).unwrap()
}

#[test]
fn a_stranger_with_the_keys_opens_a_box_by_the_page_alone() {
    use base64::Engine as _;
    let read = |name: &str| -> Value {
        let path = format!("{}/tests/fixtures/events/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let bytes = |id: &Value| *id.as_str().unwrap().parse::<Uuid>().unwrap().as_bytes();
    let (keys, golden) = (read("keys"), read("CallLogged.1"));
    let event = &golden["stored"];
    let organization = bytes(&event["organization_id"]);

    let wrapped = hex::decode(keys["organization"].as_str().unwrap()).unwrap();
    let root = open_box(&[7; 32], &wrapped, &[b"docket/1 organization", &organization]);
    let wrapping: [u8; 32] = hkdf(&root, &[0; 32], b"docket/1 subjects");
    let subject_key = |subject: &Value| {
        let wrapped = hex::decode(keys["subjects"][subject.as_str().unwrap()].as_str().unwrap()).unwrap();
        open_box(&wrapping, &wrapped, &[b"docket/1 subject", &organization, &bytes(subject)])
    };
    let open = |boxed: &Value, subject: &Value, label: &[u8]| {
        let sealed = base64::engine::general_purpose::STANDARD.decode(boxed.as_str().unwrap()).unwrap();
        let place = [&b"docket/1 box"[..], &organization, &bytes(&event["event_id"]), &bytes(subject), label];
        String::from_utf8(open_box(&subject_key(subject), &sealed, &place)).unwrap()
    };
    let note = &event["payload"]["note"]["$sealed"];
    let opened = open(&note["box"], &note["subject"], b"CallLogged");
    assert_eq!(opened, canonical::to_string(&golden["open"]["note"]["$personal"]["value"]).unwrap());
    let metadata = &event["metadata"];
    assert_eq!(open(&metadata["reason"], &metadata["actor_id"], b"reason"), "a golden event");
}
