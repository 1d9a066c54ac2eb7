//! The contacts of what is on the list are marked, whatever comes in between.

use docket::ledger::{Stream, Write};
use docket::sending::{Recipient, domain_of};
use docket_aggregates::Personal;
use docket_aggregates::channel::Channel;
use docket_aggregates::suppression::{Suppression, SuppressionEvent, SuppressionReason};
use hyper::Method;
use serde_json::json;
use sqlx::PgPool;

use super::{JSON, Story};
use crate::support::commands::command;
use crate::support::eventually;

/// Longer than the list waits before it looks at the contacts of an entry once more.
const LATER_MILLIS: i64 = 6_000;
/// Longer than it waits after that while an import makes contacts.
const ONCE_MORE_MILLIS: i64 = 31_000;

/// Brings in contacts with these addresses.
async fn import(story: &Story, addresses: &[String]) {
    let rows: String = addresses.iter().map(|address| format!("N,{address}\n")).collect();
    import_file(story, &format!("Name,Email\n{rows}"), addresses.len()).await;
}

/// Brings in a file that makes so many contacts.
async fn import_file(story: &Story, csv: &str, contacts: usize) {
    let path = story.client.crm("imports?name=Fair");
    let csv = csv.as_bytes().to_vec();
    let (_, folder) =
        story.client.send(Method::POST, &path, &[("content-type", "text/csv")], csv).await.unwrap();
    let commit = story.client.crm(&format!("imports/{}/commit", folder["importFolderId"].as_str().unwrap()));
    let (status, committed) = story.client.post(&commit, json!({})).await;
    assert_eq!((status, &committed["created"]), (200, &json!(contacts)), "{committed}");
}

/// How many events of a type there are, and of how many aggregates.
async fn recorded(pool: &PgPool, event_type: &str) -> (i64, i64) {
    let query = "SELECT count(*), count(DISTINCT aggregate_id) FROM ledger.events WHERE event_type = $1";
    sqlx::query_as(query).bind(event_type).fetch_one(pool).await.unwrap()
}

/// Waits until every entry was looked at once more.
async fn all_looked_at(story: &Story) {
    let pool = story.app().ledger.pool();
    // What was appended has become work; this is the place where it waits, and where it is gone from.
    eventually("the followers to come to the end", || async {
        let behind: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM ledger.heads h LEFT JOIN ledger.followers f \
                 ON f.organization_id = h.organization_id AND f.handler = 'suppressions' \
                 WHERE h.organization_id = $1 AND coalesce(f.position, 0) < h.position)",
        )
        .bind(story.organization().uuid())
        .fetch_one(pool)
        .await
        .unwrap();
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger.suppression_entries")
            .fetch_one(pool)
            .await
            .unwrap();
        (!behind && left == 0).then_some(())
    })
    .await;
}

/// Whether the contact with this address is left alone.
async fn left_alone(story: &Story, address: &str) -> bool {
    let found = story.client.done("list_outbound_contacts", json!({ "search": address })).await;
    assert_eq!(found["contacts"].as_array().unwrap().len(), 1, "{found}");
    found["contacts"][0]["doNotContact"].as_bool().unwrap()
}

/// Puts an entry on the list and does nothing else, as does a process that is killed right after the append, or one that
/// looked for contacts before they were there.
async fn list_only(story: &Story, text: &str, reason: SuppressionReason) {
    let app = story.app();
    let keys = app.ledger.keys().organization(story.organization()).await.unwrap();
    let address_hash = match text.strip_prefix('@') {
        Some(_) => domain_of(&keys, &format!("a{text}")).unwrap(),
        None => Recipient::read(Channel::Email, text).unwrap().keys(&keys).address,
    };
    let subject = story.organization().correspondent(&address_hash);
    let stream = Stream::of::<Suppression>(story.organization().suppression(&address_hash));
    let address = Some(Personal::known(subject, text.to_owned()));
    let added = SuppressionEvent::SuppressionAdded { address_hash, address, reason, contact_ids: vec![] };
    let write = Write { stream, expected: 0, events: vec![added.into()] };
    app.ledger.append(command(app, story.organization(), vec![write])).await.unwrap();
}

#[tokio::test]
async fn a_domain_that_was_marked_in_part_is_marked_whole_later_and_each_contact_once() {
    const CONTACTS: i64 = 600;
    let story = Story::begin().await;
    let pool = story.app().ledger.pool();
    let of_domain = (0..CONTACTS).map(|n| format!("person{n}@example.org"));
    let addresses: Vec<String> = of_domain.chain(["eve@sub.example.org".into()]).collect();
    import(&story, &addresses).await;
    let body = json!({ "address": "@example.org" }).to_string().into_bytes();
    let path = story.client.crm("suppressions");
    for (method, key, event_type, status) in [
        (Method::POST, "k-1", "ContactSuppressed", 201),
        (Method::DELETE, "k-2", "ContactSuppressionLifted", 200),
    ] {
        // The database takes the first portion of contacts and refuses the others.
        for statement in [
            format!(
                "CREATE FUNCTION break_off() RETURNS trigger LANGUAGE plpgsql STABLE AS $$ BEGIN \
                     IF (SELECT count(*) FROM ledger.events WHERE event_type = '{event_type}') > 0 THEN \
                         RAISE EXCEPTION 'broken off'; END IF; \
                     RETURN NEW; END $$"
            ),
            format!(
                "CREATE TRIGGER break_off BEFORE INSERT ON ledger.events FOR EACH ROW \
                 WHEN (NEW.event_type = '{event_type}') EXECUTE FUNCTION break_off()"
            ),
        ] {
            sqlx::query(&statement).execute(pool).await.unwrap();
        }
        let headers = [JSON, ("idempotency-key", key)];
        let first = story.client.send(method.clone(), &path, &headers, body.clone()).await.unwrap();
        assert_eq!(first.0, status, "the entry itself is recorded: {}", first.1);
        let (marked, _) = recorded(pool, event_type).await;
        assert!((1..CONTACTS).contains(&marked), "{marked}");
        // Whoever asks again under the same key gets the same answer, and need not do anything else.
        let again = story.client.send(method, &path, &headers, body.clone()).await.unwrap();
        assert_eq!(again, first);
        // Whoever looks after it fails as well, and waits.
        story.app.clock.advance(LATER_MILLIS);
        eventually("a try that fails", || async {
            let tried = "SELECT true FROM ledger.suppression_entries WHERE attempts = 1 AND holder IS NULL";
            sqlx::query_scalar::<_, bool>(tried).fetch_optional(pool).await.unwrap()
        })
        .await;
        assert_eq!(recorded(pool, event_type).await.0, marked);
        for statement in ["DROP TRIGGER break_off ON ledger.events", "DROP FUNCTION break_off()"] {
            sqlx::query(statement).execute(pool).await.unwrap();
        }
        story.app.clock.advance(LATER_MILLIS);
        all_looked_at(&story).await;
        assert_eq!(recorded(pool, event_type).await, (CONTACTS, CONTACTS));
        assert_eq!(left_alone(&story, "person599@example.org").await, status == 201);
        assert!(!left_alone(&story, "eve@sub.example.org").await);
    }
}

#[tokio::test]
async fn of_a_crowd_at_one_number_nobody_is_left_over() {
    // More than are marked with the entry itself.
    const CROWD: i64 = 5_040;
    let story = Story::begin().await;
    let pool = story.app().ledger.pool();
    let rows: String = (0..CROWD).map(|n| format!("Colleague{n},+33123456789\n")).collect();
    import_file(&story, &format!("Name,Phone\n{rows}Zoe,+33123456780\n"), CROWD as usize + 1).await;
    let body = json!({ "address": "+33123456789" }).to_string().into_bytes();
    let path = story.client.crm("suppressions");
    for (method, event_type) in
        [(Method::POST, "ContactSuppressed"), (Method::DELETE, "ContactSuppressionLifted")]
    {
        let (status, answer) = story.client.send(method, &path, &[JSON], body.clone()).await.unwrap();
        assert!(status < 300, "{answer}");
        let (with_the_entry, _) = recorded(pool, event_type).await;
        assert!((1..CROWD).contains(&with_the_entry), "{with_the_entry} of them are not a crowd");
        story.app.clock.advance(LATER_MILLIS);
        all_looked_at(&story).await;
        assert_eq!(recorded(pool, event_type).await, (CROWD, CROWD));
    }
}

#[tokio::test]
async fn contacts_that_nobody_marked_are_found_by_the_entries_themselves() {
    let story = Story::begin().await;
    let names =
        ["ann@example.org", "bob@example.net", "cleo@example.net", "dan@example.net", "eve@example.net"];
    import(&story, &names.map(str::to_owned)).await;
    for (entry, reason) in [
        ("@example.org", SuppressionReason::Manual),
        ("bob@example.net", SuppressionReason::Complaint),
        ("cleo@example.net", SuppressionReason::Unsubscribe),
        ("dan@example.net", SuppressionReason::Bounce),
    ] {
        list_only(&story, entry, reason).await;
    }
    let mut before = Vec::new();
    for name in names {
        before.push(left_alone(&story, name).await);
    }
    assert_eq!(before, [false; 5]);

    story.app.clock.advance(LATER_MILLIS);
    all_looked_at(&story).await;
    let flags = async || {
        let mut flags = Vec::new();
        for name in names {
            flags.push(left_alone(&story, name).await);
        }
        flags
    };
    assert_eq!(flags().await, [true, true, true, false, false]);
    let pool = story.app().ledger.pool();
    let (suppressed, opted_out) =
        (recorded(pool, "ContactSuppressed").await.0, recorded(pool, "ContactOptedOut").await.0);
    assert_eq!((suppressed, opted_out), (2, 1));

    // And each is found again when its entry is gone, but for what somebody said of themselves.
    let path = story.client.crm("suppressions");
    for entry in ["@example.org", "bob@example.net", "dan@example.net"] {
        let body = json!({ "address": entry }).to_string().into_bytes();
        assert_eq!(story.client.send(Method::DELETE, &path, &[JSON], body).await.unwrap().0, 200, "{entry}");
    }
    assert_eq!(flags().await, [false, false, true, false, false]);
    let events = story.events().await;
    story.app.clock.advance(LATER_MILLIS);
    all_looked_at(&story).await;
    assert_eq!(story.events().await, events, "what stands is not recorded again");
}

#[tokio::test]
async fn who_is_listed_while_an_import_makes_the_contact_is_left_alone() {
    let story = Story::begin().await;
    let pool = story.app().ledger.pool();
    // The import has looked at the list when it comes to the contacts that are known, which nobody may read for a while.
    let mut reading = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE read.contacts IN ACCESS EXCLUSIVE MODE").execute(&mut *reading).await.unwrap();
    let names = ["ann@example.org", "bob@example.net", "cleo@example.net", "dan@example.net"];
    let importing = async {
        import(&story, &names.map(str::to_owned)).await;
    };
    let listing = async {
        eventually("the import to look at the contacts", || async {
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'read.contacts'::regclass",
            )
            .fetch_one(pool)
            .await
            .unwrap();
            (waiting > 0).then_some(())
        })
        .await;
        list_only(&story, "@example.org", SuppressionReason::Manual).await;
        list_only(&story, "bob@example.net", SuppressionReason::Complaint).await;
        list_only(&story, "cleo@example.net", SuppressionReason::Unsubscribe).await;
        // The entries are looked at while the contacts are not yet there, because nothing can be appended.
        let mut appending = pool.begin().await.unwrap();
        sqlx::query("SELECT FROM ledger.heads FOR UPDATE").execute(&mut *appending).await.unwrap();
        reading.rollback().await.unwrap();
        story.app.clock.advance(LATER_MILLIS);
        let now = story.app().clock.now().millis();
        eventually("the entries to be looked at", || async {
            let due = "SELECT count(*), count(*) FILTER (WHERE due_at <= to_timestamp($1 / 1000.0)) \
                       FROM ledger.suppression_entries";
            let (all, due): (i64, i64) = sqlx::query_as(due).bind(now as f64).fetch_one(pool).await.unwrap();
            (all == 3 && due == 0).then_some(())
        })
        .await;
        appending.rollback().await.unwrap();
    };
    tokio::join!(importing, listing);
    story.app.clock.advance(ONCE_MORE_MILLIS);
    all_looked_at(&story).await;
    let mut flags = Vec::new();
    for name in names {
        flags.push(left_alone(&story, name).await);
    }
    assert_eq!(flags, [true, true, true, false]);
}
