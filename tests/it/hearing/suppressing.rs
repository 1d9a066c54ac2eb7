//! The suppression list, its contacts and their campaigns: one fact.

use docket::contacts::address_hash;
use docket::ledger::Origin;
use docket_aggregates::channel::Channel;
use docket_aggregates::ids::OutboxId;
use docket_aggregates::suppression::{Suppression, SuppressionCommand, SuppressionReason};
use docket_aggregates::token::Role;
use hyper::Method;
use serde_json::{Value, json};

use super::{FORM, Got, JSON, Story};
use crate::support::app::PUBLIC_URL;

async fn ask(story: &Story, method: Method, body: Value) -> (u16, Value) {
    let path = story.client.crm("suppressions");
    story.client.send(method, &path, &[JSON], body.to_string().into_bytes()).await.unwrap()
}

async fn file(story: &Story, method: Method, query: &str, text: &str) -> (u16, Value) {
    let path = story.client.crm(&format!("suppressions{query}"));
    story.client.send(method, &path, &[("content-type", "text/csv")], text.as_bytes().to_vec()).await.unwrap()
}

#[tokio::test]
async fn an_entry_leaves_the_contact_alone_and_lifting_it_does_not_put_it_back() {
    let story = Story::begin().await;
    let (campaign, contacts) = story.campaign(&["ann@example.org", "bob@example.org"]).await;
    for reason in ["manual", "complaint"] {
        let body = json!({ "address": "Ann@Example.org", "reason": reason });
        assert_eq!(ask(&story, Method::POST, body).await.0, 201);
        assert_eq!(story.stands(&campaign, contacts[0]).await, ("do_not_contact".into(), true), "{reason}");
        let (_, answer) = ask(&story, Method::DELETE, json!({ "address": "ann@example.org" })).await;
        assert_eq!(answer["reason"], json!(reason));
        // It may be contacted again, and stands where it stood until somebody puts it in again.
        assert_eq!(story.stands(&campaign, contacts[0]).await, ("do_not_contact".into(), false), "{reason}");
    }
    assert_eq!(story.stands(&campaign, contacts[1]).await, ("new".into(), false));
    let out = json!({ "campaignId": campaign, "contactIds": [contacts[0]], "confirm": true });
    story.client.done("bulk_remove_contacts_from_campaign", out).await;
    let add = json!({ "campaignId": campaign, "filter": { "source": "crm" }, "maxContacts": 100 });
    story.client.done("bulk_add_contacts_to_campaign_by_filter", add).await;
    assert_eq!(story.stands(&campaign, contacts[0]).await, ("new".into(), false));

    // What somebody said of themselves stays.
    assert_eq!(
        ask(&story, Method::POST, json!({ "address": "ann@example.org", "reason": "unsubscribe" })).await.0,
        201
    );
    let (status, answer) = ask(&story, Method::DELETE, json!({ "address": "ann@example.org" })).await;
    assert_eq!((status, &answer["code"]), (422, &json!("OPTED_OUT")));
    assert_eq!(story.stands(&campaign, contacts[0]).await, ("do_not_contact".into(), true));
}

/// As where a number was taken for an account, before such were refused: the hash is the number's, and nobody was found by it.
#[tokio::test]
async fn an_entry_that_found_none_of_its_contacts_finds_them_when_it_is_put_there_again() {
    let story = Story::begin().await;
    let (campaign, contacts) = story.campaign(&["ann@example.org", "bob@example.org"]).await;
    let app = &story.app.app;
    let organization = story.client.organization;
    let keys = app.ledger.keys().organization(organization).await.unwrap();
    for address in ["ann@example.org", "bob@example.org"] {
        let address_hash = address_hash(&keys, address);
        let id = organization.suppression(&address_hash);
        let command = SuppressionCommand::Suppress {
            address_hash,
            address: None,
            reason: SuppressionReason::Unsubscribe,
            contact_ids: vec![],
        };
        let (origin, minted) = (Origin::system("test"), app.clock.mint());
        let now = app.clock.now();
        app.ledger.order::<Suppression>(organization, id, minted, now, &origin, None, command).await.unwrap();
    }
    let body = json!({ "address": "ann@example.org", "reason": "unsubscribe" });
    assert_eq!(ask(&story, Method::POST, body).await.0, 201);
    assert_eq!(story.stands(&campaign, contacts[0]).await, ("do_not_contact".into(), true));
    let (status, answer) = file(&story, Method::POST, "?reason=manual", "bob@example.org\n").await;
    assert_eq!((status, answer), (201, json!({ "changed": 0, "unchanged": 1 })));
    assert_eq!(story.stands(&campaign, contacts[1]).await, ("do_not_contact".into(), true));
}

#[tokio::test]
async fn who_comes_in_with_a_listed_address_is_left_alone_for_as_long_as_it_is_listed() {
    let story = Story::begin().await;
    for (address, reason) in [
        ("ann@example.org", "manual"),
        ("bob@example.org", "complaint"),
        ("cleo@example.org", "bounce"),
        ("dan@example.org", "unsubscribe"),
    ] {
        let body = json!({ "address": address, "reason": reason });
        assert_eq!(ask(&story, Method::POST, body).await.0, 201, "{reason}");
    }
    let addresses =
        ["ann@example.org", "bob@example.org", "cleo@example.org", "dan@example.org", "eve@example.org"];
    let rows: String = addresses.iter().map(|address| format!("N,{address}\n")).collect();
    let path = story.client.crm("imports?name=Fair");
    let headers = [("content-type", "text/csv")];
    let csv = format!("Name,Email\n{rows}").into_bytes();
    let (_, folder) = story.client.send(Method::POST, &path, &headers, csv).await.unwrap();
    let commit = story.client.crm(&format!("imports/{}/commit", folder["importFolderId"].as_str().unwrap()));
    let (_, committed) = story.client.post(&commit, json!({})).await;
    assert_eq!(committed["created"], json!(5), "{committed}");
    let left_alone = async || {
        let listed = story.client.done("list_outbound_contacts", json!({})).await;
        let mut left_alone: Vec<String> = listed["contacts"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| row["doNotContact"] == json!(true))
            .map(|row| row["email"].as_str().unwrap().to_owned())
            .collect();
        left_alone.sort();
        left_alone
    };
    assert_eq!(left_alone().await, ["ann@example.org", "bob@example.org", "dan@example.org"]);

    // Nothing is sent to any of them, and it is said why.
    let outbox = story.outbox(Channel::Email, json!({ "fromAddress": "ops@example.com" })).await;
    let (status, _) =
        story.client.post(&story.client.crm("allowlist"), json!({ "entry": "@example.org" })).await;
    assert_eq!(status, 201);
    for (address, reason) in addresses.iter().zip([
        Some("suppressed"),
        Some("suppressed"),
        Some("suppressed"),
        Some("suppressed"),
        None,
    ]) {
        let mail = json!({ "channel": "email", "outboxId": outbox, "to": address,
            "payload": { "subject": "Hello", "text": "A word about your roof." } });
        let headers = [JSON, ("prefer", "wait=0")];
        let path = story.client.crm("send");
        let (status, sent) =
            story.client.send(Method::POST, &path, &headers, mail.to_string().into_bytes()).await.unwrap();
        assert_eq!((status, &sent["reason"]), (200, &json!(reason)), "{sent}");
        let explain = story.client.crm(&format!("activities/{}/explain", sent["id"].as_str().unwrap()));
        let (_, told) = story.client.get(&explain).await;
        let told = told["explanation"].as_str().unwrap().to_owned();
        let why = "because the recipient is suppressed or asked not to be contacted";
        assert_eq!(told.contains(why), reason.is_some(), "{told}");
    }

    for address in ["ann@example.org", "bob@example.org", "cleo@example.org"] {
        assert_eq!(ask(&story, Method::DELETE, json!({ "address": address })).await.0, 200);
    }
    assert_eq!(left_alone().await, ["dan@example.org"]);
}

/// Sends a mail, and says what stood against it.
async fn refused(story: &Story, outbox: OutboxId, to: &str) -> Value {
    let mail = json!({ "channel": "email", "outboxId": outbox, "to": to,
        "payload": { "subject": "Hello", "text": "A word about your roof." } });
    let (headers, path) = ([JSON, ("prefer", "wait=0")], story.client.crm("send"));
    let (status, sent) =
        story.client.send(Method::POST, &path, &headers, mail.to_string().into_bytes()).await.unwrap();
    assert_eq!(status, 200, "{sent}");
    sent["reason"].clone()
}

#[tokio::test]
async fn a_domain_is_left_alone_whole_until_it_is_taken_off_the_list() {
    let story = Story::begin().await;
    let (campaign, contacts) =
        story.campaign(&["ann@example.org", "bob@example.org", "eve@sub.example.org"]).await;
    let outbox = story.outbox(Channel::Email, json!({ "fromAddress": "ops@example.com" })).await;
    let everybody = json!({ "entry": "*", "acknowledgeAll": true });
    assert_eq!(story.client.post(&story.client.crm("allowlist"), everybody).await.0, 201);
    let (status, listed) = ask(&story, Method::POST, json!({ "address": "@Example.org" })).await;
    assert_eq!(
        (status, &listed["address"], &listed["reason"]),
        (201, &json!("@example.org"), &json!("manual"))
    );

    let flags = async || {
        let mut flags = Vec::new();
        for contact in &contacts {
            flags.push(story.stands(&campaign, *contact).await.1);
        }
        flags
    };
    assert_eq!(flags().await, [true, true, false]);
    for (to, reason) in [
        ("nobody-yet@example.org", json!("suppressed")),
        ("ann+news@example.org", json!("suppressed")),
        ("eve@sub.example.org", Value::Null),
        ("ann@evil-example.org", Value::Null),
    ] {
        assert_eq!(refused(&story, outbox, to).await, reason, "{to}");
    }
    // Whoever comes in later is of the domain as well.
    let path = story.client.crm("imports?name=Late");
    let csv = b"Name,Email
N,cleo@example.org
"
    .to_vec();
    let (_, folder) =
        story.client.send(Method::POST, &path, &[("content-type", "text/csv")], csv).await.unwrap();
    let commit = story.client.crm(&format!("imports/{}/commit", folder["importFolderId"].as_str().unwrap()));
    assert_eq!(story.client.post(&commit, json!({})).await.0, 200);
    let left_alone = async |email: &str| {
        let found = story.client.done("list_outbound_contacts", json!({ "search": email })).await;
        found["contacts"][0]["doNotContact"].clone()
    };
    assert_eq!(left_alone("cleo@example.org").await, json!(true));

    let before = story.events().await;
    assert_eq!(ask(&story, Method::POST, json!({ "address": "@example.org" })).await.0, 201);
    assert_eq!(story.events().await, before, "what stands is not recorded twice");
    let (status, answer) = file(&story, Method::DELETE, "", "@example.org\n").await;
    assert_eq!((status, &answer), (200, &json!({ "changed": 1, "unchanged": 0 })), "{answer}");
    assert_eq!(flags().await, [false, false, false]);
    assert_eq!(left_alone("cleo@example.org").await, json!(false));
    assert_eq!(refused(&story, outbox, "ann@example.org").await, Value::Null);
}

#[tokio::test]
async fn who_unsubscribes_at_a_tag_means_the_mailbox() {
    let story = Story::begin().await;
    let outbox = story.outbox(Channel::Email, json!({ "fromAddress": "ops@example.com" })).await;
    let everybody = json!({ "entry": "*", "acknowledgeAll": true });
    assert_eq!(story.client.post(&story.client.crm("allowlist"), everybody).await.0, 201);
    let (campaign, contacts) = story.campaign(&["pt@example.org", "cl@example.org", "bo@example.org"]).await;
    for (mailbox, reason, means_the_mailbox) in [
        ("pt", "unsubscribe", true),
        ("cl", "complaint", true),
        ("bo", "bounce", false),
        ("ma", "manual", false),
    ] {
        let body = json!({ "address": format!("{mailbox}+news@example.org"), "reason": reason });
        assert_eq!(ask(&story, Method::POST, body).await.0, 201, "{reason}");
        let told = if means_the_mailbox { json!("suppressed") } else { Value::Null };
        for to in [format!("{mailbox}@example.org"), format!("{mailbox}+other@example.org")] {
            assert_eq!(refused(&story, outbox, &to).await, told, "{to}");
        }
        let tagged = format!("{mailbox}+news@example.org");
        assert_eq!(refused(&story, outbox, &tagged).await, json!("suppressed"), "{tagged}");
    }
    let mut flags = Vec::new();
    for contact in contacts {
        flags.push(story.stands(&campaign, contact).await.1);
    }
    assert_eq!(flags, [true, true, false]);

    // The same by the button of a mail.
    let sender = (Channel::Email, outbox);
    let message = story.message(sender, "dan+crm@example.org", None, None, Got::Sent).await;
    let link = docket::unsubscribe::link(story.app(), story.organization(), message).await.unwrap();
    let path = link.strip_prefix(PUBLIC_URL).unwrap();
    let (status, ..) = story.outside(Method::POST, path, &[FORM], "List-Unsubscribe=One-Click").await;
    assert_eq!(status, 200);
    assert_eq!(refused(&story, outbox, "dan@example.org").await, json!("suppressed"));
}

#[tokio::test]
async fn promised_calls_are_taken_back() {
    let story = Story::begin().await;
    let (campaign, contacts) = story.campaign(&["ann@example.org"]).await;
    let (_, agent) = story
        .client
        .post(&story.client.crm("agents"), json!({ "name": "Zoé", "email": "zoe@example.com" }))
        .await;
    let body = json!({ "campaignId": campaign, "contactId": contacts[0], "agentId": agent["agentId"],
        "dueAt": "2026-12-01T10:00:00Z" });
    let (status, follow_up) = story.client.post(&story.client.crm("follow-ups"), body).await;
    assert_eq!(status, 201, "{follow_up}");
    assert_eq!(ask(&story, Method::POST, json!({ "address": "ann@example.org" })).await.0, 201);
    let path = story.client.crm(&format!("follow-ups/{}", follow_up["followUpId"].as_str().unwrap()));
    let done = json!({ "status": "done" }).to_string().into_bytes();
    let (status, answer) = story.client.send(Method::PATCH, &path, &[JSON], done).await.unwrap();
    assert_eq!(status, 422, "it is cancelled: {answer}");
}

#[tokio::test]
async fn many_addresses_are_listed_at_once() {
    let story = Story::begin().await;
    let (campaign, contacts) = story.campaign(&["ann@example.org", "bob@example.org"]).await;
    let many: Vec<String> = (0..998).map(|n| format!("person{n}@example.net")).collect();
    let entries: Vec<&str> =
        many.iter().map(String::as_str).chain(["ann@example.org", "ANN@example.org"]).collect();
    let (status, answer) = ask(&story, Method::POST, json!({ "entries": entries, "reason": "manual" })).await;
    assert_eq!((status, &answer), (201, &json!({ "changed": 999, "unchanged": 1 })), "{answer}");
    assert_eq!(story.stands(&campaign, contacts[0]).await, ("do_not_contact".into(), true));

    let csv = "\u{feff}email;name\n".replace(';', ",")
        + "bob@example.org,Bob\nperson1@example.net,One\n+33612345678,Two\n";
    let (status, answer) = file(&story, Method::POST, "?reason=complaint", &csv).await;
    assert_eq!((status, &answer), (201, &json!({ "changed": 2, "unchanged": 1 })), "{answer}");
    assert_eq!(story.stands(&campaign, contacts[1]).await, ("do_not_contact".into(), true));

    let mut seen = Vec::new();
    let mut path = story.client.crm("suppressions?limit=400");
    loop {
        let (status, headers, rows) =
            story.client.send_for_headers(Method::GET, &path, &[], vec![]).await.unwrap();
        assert_eq!(status, 200);
        seen.extend(rows.as_array().unwrap().iter().map(|row| row["address"].as_str().unwrap().to_owned()));
        let Some(link) = headers.get("link") else { break };
        path = link.to_str().unwrap().split(['<', '>']).nth(1).unwrap().to_owned();
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 1_001);

    let (status, answer) = file(&story, Method::DELETE, "", &csv).await;
    assert_eq!((status, &answer), (200, &json!({ "changed": 3, "unchanged": 0 })), "{answer}");
}

#[tokio::test]
async fn what_is_no_list_of_addresses_changes_nothing() {
    let story = Story::begin().await;
    ask(&story, Method::POST, json!({ "address": "gone@example.org", "reason": "unsubscribe" })).await;
    let before = story.events().await;
    let too_many: Vec<String> = (0..1_001).map(|n| format!("a{n}@example.net")).collect();
    for (method, body, refused, place) in [
        (Method::POST, json!({}), 400, "address"),
        (Method::POST, json!({ "address": "a@example.org", "entries": ["b@example.org"] }), 400, "address"),
        (Method::POST, json!({ "address": "@example" }), 400, "address"),
        (Method::POST, json!({ "entries": [] }), 400, "entries"),
        (Method::DELETE, json!({ "entries": [] }), 400, "entries"),
        (Method::POST, json!({ "entries": ["a@example.org", "*"] }), 400, "entries[1]"),
        (Method::POST, json!({ "entries": ["a@example.org", "no address"] }), 400, "entries[1]"),
        (Method::POST, json!({ "entries": too_many }), 400, "entries"),
        (Method::POST, json!({ "address": "a@example.org", "reason": "whim" }), 400, "reason"),
        (Method::DELETE, json!({ "address": "a@example.org", "reason": "manual" }), 400, "reason"),
        (Method::DELETE, json!({ "address": "a@example.org" }), 404, "NOT_SUPPRESSED"),
        (Method::DELETE, json!({ "entries": ["a@example.org", "gone@example.org"] }), 422, "OPTED_OUT"),
    ] {
        let (status, answer) = ask(&story, method, body.clone()).await;
        assert_eq!(status, refused, "{answer}");
        assert!(answer.to_string().contains(place), "{place} {answer}");
    }
    assert_eq!(story.events().await, before);
}

#[tokio::test]
async fn a_request_is_answered_once_and_the_board_decides() {
    let story = Story::begin().await;
    let path = story.client.crm("suppressions");
    let body = json!({ "entries": ["a@example.org", "b@example.org"] }).to_string().into_bytes();
    let headers = [JSON, ("idempotency-key", "k-1")];
    let first = story.client.send(Method::POST, &path, &headers, body.clone()).await.unwrap();
    let before = story.events().await;
    assert_eq!(story.client.send(Method::POST, &path, &headers, body).await.unwrap(), first);
    assert_eq!(story.events().await, before);

    let organization = story.organization();
    for (role, read, changed) in [
        (Role::Board, 200, 201),
        (Role::Auditor, 200, 403),
        (Role::Agent, 403, 403),
        (Role::Viewer, 403, 403),
    ] {
        let client = story.app.client(role, organization).await;
        assert_eq!(client.get(&path).await.0, read, "{role:?}");
        let address = json!({ "address": format!("{}@example.org", role.name()) });
        assert_eq!(client.post(&path, address.clone()).await.0, changed, "{role:?}");
        let lifted =
            client.send(Method::DELETE, &path, &[JSON], address.to_string().into_bytes()).await.unwrap();
        assert_eq!(lifted.0, if changed == 201 { 200 } else { 403 }, "{role:?}");
    }
}

/// Takes in a file of contacts.
async fn import(story: &Story, file: &str) {
    let path = story.client.crm("imports?name=Fair");
    let headers = [("content-type", "text/csv")];
    let (_, folder) =
        story.client.send(Method::POST, &path, &headers, file.as_bytes().to_vec()).await.unwrap();
    let commit = story.client.crm(&format!("imports/{}/commit", folder["importFolderId"].as_str().unwrap()));
    assert_eq!(story.client.post(&commit, json!({})).await.0, 200);
}

#[tokio::test]
async fn what_is_said_of_a_mailbox_is_said_of_the_contact_that_has_it_with_a_tag() {
    let story = Story::begin().await;
    import(&story, "Name,Email\nAnn,ann+crm@example.org\nBob,bob+crm@example.org\nCleo,cleo@example.org\n")
        .await;
    let list = async |address: &str, reason: &str| {
        let body = json!({ "address": address, "reason": reason });
        assert_eq!(ask(&story, Method::POST, body).await.0, 201, "{address}");
    };
    let left_alone = async || {
        let listed = story.client.done("list_outbound_contacts", json!({})).await;
        let rows = listed["contacts"].as_array().unwrap();
        let left_alone = rows.iter().filter(|row| row["doNotContact"] == json!(true));
        let mut names: Vec<String> =
            left_alone.map(|row| row["email"].as_str().unwrap()[..3].to_owned()).collect();
        names.sort();
        names
    };
    list("Ann@example.org", "manual").await;
    list("bob@example.org", "unsubscribe").await;
    // A tag is said of nobody else.
    list("cleo+news@example.org", "manual").await;
    assert_eq!(left_alone().await, ["ann", "bob"]);
    assert_eq!(ask(&story, Method::DELETE, json!({ "address": "ann@example.org" })).await.0, 200);
    assert_eq!(left_alone().await, ["bob"]);

    // Whoever comes in later.
    list("dan@example.org", "manual").await;
    list("eve@example.org", "unsubscribe").await;
    import(&story, "Name,Email\nDan,dan+crm@example.org\nEve,eve+crm@example.org\nFay,fay+crm@example.org\n")
        .await;
    assert_eq!(left_alone().await, ["bob", "dan", "eve"]);
    assert_eq!(ask(&story, Method::DELETE, json!({ "address": "dan@example.org" })).await.0, 200);
    assert_eq!(left_alone().await, ["bob", "eve"]);
}

#[tokio::test]
async fn an_account_is_an_address_of_its_contact() {
    const FILE: &str = "\
Name,Email,Phone,LinkedIn,Instagram
Ann,ann@example.org,+33612345678,https://www.linkedin.com/in/ACoAAAcDMMQBODyLwZrRcgYhrkCafURGqva0ann/,17841400000000001
Bob,bob@example.org,,ACoAAAcDMMQBODyLwZrRcgYhrkCafURGqva0bob,none
Cleo,cleo@example.org,,none,-
Dan,dan@example.org,,None,-
";
    let story = Story::begin().await;
    import(&story, FILE).await;
    let everybody = json!({ "entry": "*", "acknowledgeAll": true });
    assert_eq!(story.client.post(&story.client.crm("allowlist"), everybody).await.0, 201);
    let mail = story.outbox(Channel::Email, json!({ "fromAddress": "ops@example.com" })).await;
    let linkedin = story.outbox(Channel::Linkedin, json!({ "accountId": "dfXl" })).await;
    let instagram = story.outbox(Channel::Instagram, json!({ "accountId": "17841" })).await;
    let sent = async |to: &str| {
        let (channel, outbox, payload) = match to {
            _ if to.contains('@') => ("email", mail, json!({ "subject": "Hello", "text": "Hello" })),
            _ if to.starts_with("178") => ("instagram", instagram, json!({ "text": "Hello" })),
            _ => ("linkedin", linkedin, json!({ "kind": "message", "text": "Hello" })),
        };
        let body = json!({ "channel": channel, "outboxId": outbox, "to": to, "payload": payload });
        let (headers, path) = ([JSON, ("prefer", "wait=0")], story.client.crm("send"));
        let body = body.to_string().into_bytes();
        let (status, sent) = story.client.send(Method::POST, &path, &headers, body).await.unwrap();
        assert_eq!(status, 200, "{sent}");
        (sent["contactId"].is_string(), sent["reason"].clone())
    };
    let free = || (true, Value::Null);
    for to in [
        "ACoAAAcDMMQBODyLwZrRcgYhrkCafURGqva0ann",
        "17841400000000001",
        "https://www.linkedin.com/in/ACoAAAcDMMQBODyLwZrRcgYhrkCafURGqva0bob?x=1",
    ] {
        assert_eq!(sent(to).await, free(), "{to}");
    }

    // By mail for all of them, and by an account for all of them.
    for (said_at, addresses) in [
        (
            "ann@example.org",
            ["ann@example.org", "ACoAAAcDMMQBODyLwZrRcgYhrkCafURGqva0ann", "17841400000000001"],
        ),
        (
            "ACoAAAcDMMQBODyLwZrRcgYhrkCafURGqva0bob",
            ["bob@example.org", "ACoAAAcDMMQBODyLwZrRcgYhrkCafURGqva0bob/", "bob+tag@example.org"],
        ),
    ] {
        let body = json!({ "address": said_at, "reason": "unsubscribe" });
        assert_eq!(ask(&story, Method::POST, body).await.0, 201);
        for to in addresses {
            let (known, reason) = sent(to).await;
            let stands = [json!("suppressed"), json!("do_not_contact")].contains(&reason);
            assert!(known && stands, "{said_at} {to} {reason}");
        }
    }
    // What stands for no account makes nobody the same.
    let body = json!({ "address": "cleo@example.org", "reason": "unsubscribe" });
    assert_eq!(ask(&story, Method::POST, body).await.0, 201);
    import(&story, "Name,Email,LinkedIn\nEve,eve@example.org,none\nFay,fay@example.org,ACoAAAcDMMQBODyLwZrRcgYhrkCafURGqva0bob\n").await;
    for to in ["dan@example.org", "eve@example.org"] {
        assert_eq!(sent(to).await, free(), "{to}");
    }
    assert_ne!(sent("fay@example.org").await, free(), "she came with an account that said it is enough");

    // What the board says of an account holds for its contact until it is taken off.
    import(&story, "Name,Email,LinkedIn\nGil,gil@example.org,ACoAAAcDMMQBODyLwZrRcgYhrkCafURGqva0gil\n")
        .await;
    let entry = json!({ "address": "https://linkedin.com/in/ACoAAAcDMMQBODyLwZrRcgYhrkCafURGqva0gil" });
    assert_eq!(ask(&story, Method::POST, entry).await.0, 201);
    assert_eq!(sent("ACoAAAcDMMQBODyLwZrRcgYhrkCafURGqva0gil").await, (true, json!("suppressed")));
    assert_eq!(sent("gil@example.org").await, (true, json!("do_not_contact")));
    assert_eq!(
        ask(&story, Method::DELETE, json!({ "address": "ACoAAAcDMMQBODyLwZrRcgYhrkCafURGqva0gil" })).await.0,
        200
    );
    for to in ["ACoAAAcDMMQBODyLwZrRcgYhrkCafURGqva0gil", "gil@example.org"] {
        assert_eq!(sent(to).await, free(), "{to}");
    }
}
