//! Events are for ever: what was once stored is read by every later version.
//!
//! `tests/fixtures/events` holds a file for each stored type and version: `open` is the payload as the aggregates
//! write it, `stored` the whole event as the ledger keeps it, sealed and chained. Together the files are one ledger,
//! with its keys in `keys.json`. A file that is there is never written again; for a new type, write `open` by hand
//! and run this test once with `DOCKET_BLESS=1`, which appends the event to that ledger and adds `stored`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use docket::app::App;
use docket::ledger::instant::Instant;
use docket::ledger::read::{self, Portion};
use docket::ledger::{Stream, Write};
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::organization::OrganizationProfile;
use docket_aggregates::{AnyEvent, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::Row;
use uuid::Uuid;

use crate::auditing::assert_chain_holds;
use crate::support::Database;
use crate::support::app::{held_clock, open};
use crate::support::commands::command;

#[derive(Clone, Serialize, Deserialize)]
struct Golden {
    aggregate_type: String,
    event_type: String,
    event_version: String,
    open: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<StoredEvent>,
}

/// The event as `docket replay` prints it.
#[derive(Clone, Serialize, Deserialize)]
struct StoredEvent {
    organization_id: Uuid,
    position: i64,
    event_id: Uuid,
    command_id: Uuid,
    aggregate_type: String,
    aggregate_id: String,
    sequence: i64,
    event_type: String,
    event_version: String,
    payload: Value,
    metadata: Value,
    occurred_at: Timestamp,
    recorded_at: Timestamp,
    #[serde(with = "hex::serde")]
    leaf: Vec<u8>,
    #[serde(with = "hex::serde")]
    chain: Vec<u8>,
}

/// The wrapped keys of the ledger that the files are.
#[derive(Serialize, Deserialize)]
struct GoldenKeys {
    organization_id: OrganizationId,
    organization: String,
    subjects: BTreeMap<Uuid, String>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/events")
}

fn path_of(event_type: &str, event_version: &str) -> PathBuf {
    folder().join(format!("{event_type}.{event_version}.json"))
}

/// Every golden file, the stored ones in the order of their positions.
fn all() -> Vec<Golden> {
    let mut all: Vec<Golden> = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() == "keys.json" {
            continue;
        }
        let golden: Golden = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(path, path_of(&golden.event_type, &golden.event_version));
        all.push(golden);
    }
    all.sort_by_key(|golden| {
        let position = golden.stored.as_ref().map_or(i64::MAX, |stored| stored.position);
        (position, golden.aggregate_type.clone(), golden.event_type.clone())
    });
    all
}

#[test]
fn every_stored_type_and_version_has_a_golden_file() {
    for (aggregate_type, event_type, event_version) in AnyEvent::stored() {
        let path = path_of(event_type, event_version);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{} is missing", path.display()));
        let golden: Golden = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (golden.aggregate_type.as_str(), golden.event_type.as_str(), golden.event_version.as_str()),
            (aggregate_type, event_type, event_version)
        );
    }
}

#[test]
fn a_golden_payload_is_read_and_written_alike() {
    for golden in all() {
        let Golden { aggregate_type, event_type, event_version, open, .. } = golden;
        let event = AnyEvent::decode(&aggregate_type, &event_type, &event_version, open.clone()).unwrap();
        assert_eq!(
            (event.aggregate_type(), event.event_type()),
            (aggregate_type.as_str(), event_type.as_str())
        );
        // A version that is written no more is read as the one that is.
        if event.event_version() == event_version {
            assert_eq!(event.payload().unwrap(), open, "{event_type}");
        }
    }
}

#[tokio::test]
async fn what_was_once_stored_is_still_opened_read_and_proved() {
    let database = Database::create().await;
    let app = open(database.options.clone(), held_clock()).await;
    let organization = restore(&app).await;
    if std::env::var_os("DOCKET_BLESS").is_some() {
        bless(&app, organization).await;
    }
    let all = all();
    assert!(
        all.iter().all(|golden| golden.stored.is_some()),
        "a golden file has no `stored`: see the head of this file"
    );
    assert_eq!(assert_chain_holds(&app, organization).await, all.len() as i64);

    let mut connection = app.ledger.pool().acquire().await.unwrap();
    let portion = Portion { events: 1_000, bytes: i64::MAX };
    let sealed = read::stretch(&mut connection, organization, 1, all.len() as i64, portion).await.unwrap();
    let mut opened = sealed.clone();
    read::open(app.ledger.keys(), organization, &mut opened).await.unwrap();
    for ((golden, sealed), opened) in all.iter().zip(sealed).zip(opened) {
        assert_eq!(golden.open, opened.payload, "{}", golden.event_type);
        // Without keys it is read all the same, and nothing of it is known.
        let event = AnyEvent::decode(
            &sealed.aggregate_type,
            &sealed.event_type,
            &sealed.event_version,
            sealed.payload.clone(),
        );
        assert_eq!(event.unwrap().event_type(), golden.event_type);
        let text = sealed.payload.to_string();
        for personal in personal_texts(&golden.open) {
            assert!(!text.contains(&personal), "{}: {personal}", golden.event_type);
        }
    }
}

/// Every text within a personal value that is long enough not to be found by chance.
fn personal_texts(value: &Value) -> Vec<String> {
    fn texts(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) if text.len() > 3 => found.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
            Value::Object(fields) => fields.values().for_each(|field| texts(field, found)),
            _ => (),
        }
    }
    let mut found = Vec::new();
    match value {
        Value::Object(fields) => match fields.get("$personal") {
            Some(personal) => texts(&personal["value"], &mut found),
            None => found.extend(fields.values().flat_map(personal_texts)),
        },
        Value::Array(items) => found.extend(items.iter().flat_map(personal_texts)),
        _ => (),
    }
    found
}

/// Puts the ledger of the golden files into the database, as it is.
async fn restore(app: &App) -> OrganizationId {
    let Ok(keys) = std::fs::read_to_string(folder().join("keys.json")) else {
        // The very first blessing: the ledger begins.
        let id = OrganizationId(Uuid::from_u128(0x0192_a000_0000_7000_8000_0000_0000_0099));
        let profile = OrganizationProfile {
            name: "Golden".into(),
            slug: "golden".into(),
            owner_email: "golden@example.com".into(),
        };
        let origin = docket::ledger::Origin::system("golden");
        docket::organizations::create(app, &origin, None, id, profile, true).await.unwrap();
        return id;
    };
    let keys: GoldenKeys = serde_json::from_str(&keys).unwrap();
    let pool = app.ledger.pool();
    let stored: Vec<StoredEvent> = all().into_iter().filter_map(|golden| golden.stored).collect();
    let last = stored.last().unwrap();
    sqlx::query("INSERT INTO ledger.heads VALUES ($1, $2, $3, $4)")
        .bind(keys.organization_id.uuid())
        .bind(last.position)
        .bind(&last.chain)
        .bind(Instant(last.recorded_at))
        .execute(pool)
        .await
        .unwrap();
    sqlx::query("INSERT INTO ledger.organization_keys VALUES ($1, decode($2, 'hex'))")
        .bind(keys.organization_id.uuid())
        .bind(&keys.organization)
        .execute(pool)
        .await
        .unwrap();
    for (subject, wrapped) in &keys.subjects {
        sqlx::query("INSERT INTO ledger.subject_keys VALUES ($1, $2, decode($3, 'hex'))")
            .bind(keys.organization_id.uuid())
            .bind(subject)
            .bind(wrapped)
            .execute(pool)
            .await
            .unwrap();
    }
    for event in stored {
        sqlx::query(
            "INSERT INTO ledger.events VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        )
        .bind(event.organization_id)
        .bind(event.position)
        .bind(event.event_id)
        .bind(event.command_id)
        .bind(event.aggregate_type)
        .bind(event.aggregate_id)
        .bind(event.sequence)
        .bind(event.event_type)
        .bind(event.event_version)
        .bind(event.payload)
        .bind(event.metadata)
        .bind(Instant(event.occurred_at))
        .bind(Instant(event.recorded_at))
        .bind(event.leaf)
        .bind(event.chain)
        .execute(pool)
        .await
        .unwrap();
    }
    keys.organization_id
}

/// Appends what has no stored form yet, and adds that to its file.
async fn bless(app: &App, organization: OrganizationId) {
    let mut versions: BTreeMap<String, u64> = BTreeMap::new();
    for golden in all() {
        let version = versions.entry(golden.aggregate_type.clone()).or_default();
        *version += 1;
        if golden.stored.is_some() {
            continue;
        }
        let event = AnyEvent::decode(
            &golden.aggregate_type,
            &golden.event_type,
            &golden.event_version,
            golden.open.clone(),
        )
        .unwrap();
        let id = Uuid::new_v5(&organization.uuid(), golden.aggregate_type.as_bytes());
        let stream = Stream { aggregate_type: event.aggregate_type(), id };
        let write = Write { stream, expected: *version - 1, events: vec![event] };
        let mut command = command(app, organization, vec![write]);
        command.origin.reason = Some("a golden event".into());
        let position = app.ledger.append(command).await.unwrap().position;

        let mut connection = app.ledger.pool().acquire().await.unwrap();
        let portion = Portion { events: 1, bytes: 1 };
        let event = read::stretch(&mut connection, organization, position, position, portion)
            .await
            .unwrap()
            .remove(0);
        let stored = StoredEvent {
            organization_id: organization.uuid(),
            position,
            event_id: event.event_id.uuid(),
            command_id: event.command_id.uuid(),
            aggregate_type: event.aggregate_type,
            aggregate_id: event.aggregate_id,
            sequence: event.sequence,
            event_type: event.event_type,
            event_version: event.event_version,
            payload: event.payload,
            metadata: event.metadata,
            occurred_at: event.occurred_at,
            recorded_at: event.recorded_at,
            leaf: event.leaf,
            chain: event.chain,
        };
        let path = path_of(&golden.event_type, &golden.event_version);
        write_json(&path, &Golden { stored: Some(stored), ..golden });
    }
    let pool = app.ledger.pool();
    let hex = "SELECT encode(wrapped, 'hex') FROM ledger.organization_keys WHERE organization_id = $1";
    let wrapped = sqlx::query_scalar(hex).bind(organization.uuid()).fetch_one(pool).await.unwrap();
    let subjects = sqlx::query(
        "SELECT subject_id, encode(wrapped, 'hex') FROM ledger.subject_keys WHERE organization_id = $1",
    )
    .bind(organization.uuid())
    .fetch_all(pool)
    .await
    .unwrap();
    let subjects = subjects.iter().map(|row| (row.get(0), row.get(1))).collect();
    let keys = GoldenKeys { organization_id: organization, organization: wrapped, subjects };
    write_json(&folder().join("keys.json"), &keys);
}

fn write_json(path: &std::path::Path, value: &impl Serialize) {
    let text = serde_json::to_string_pretty(value).unwrap();
    std::fs::write(path, text + "\n").unwrap();
}
