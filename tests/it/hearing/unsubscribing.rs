//! The button in a mail.

use docket::app::App;
use docket::contacts::address_hash;
use docket::hearing;
use docket::http::Settings;
use docket::ledger::{AppendError, Stream, Write};
use docket::limits::MaybeRate;
use docket::service::Call;
use docket::suppressions;
use docket::unsubscribe;
use docket_aggregates::channel::Channel;
use docket_aggregates::claims::{ClaimKey, Scope};
use docket_aggregates::contact::Contact;
use docket_aggregates::ids::{BucketId, MessageId};
use docket_aggregates::message::{Delivery, Message, MessageEvent};
use docket_aggregates::suppression::SuppressionReason;
use hyper::Method;
use serde_json::json;

use super::{FORM, Got, Story, sent};
use crate::support::TestApp;
use crate::support::app::PUBLIC_URL;
use crate::support::commands::command;

const PRESSED: &str = "List-Unsubscribe=One-Click";

async fn path_of(story: &Story, message: MessageId) -> String {
    let link = unsubscribe::link(story.app(), story.organization(), message).await.unwrap();
    link.strip_prefix(PUBLIC_URL).unwrap().to_owned()
}

#[tokio::test]
async fn looking_unsubscribes_nobody_and_pressing_does_once() {
    let story = Story::begin().await;
    let outbox =
        (Channel::Email, story.outbox(Channel::Email, json!({ "fromAddress": "ops@example.com" })).await);
    let (campaign, contacts) = story.campaign(&["ann@example.org", "bob@example.org"]).await;
    let message = story.message(outbox, "ann@example.org", Some(contacts[0]), None, Got::Sent).await;
    let path = path_of(&story, message).await;
    let before = story.events().await;

    for method in [Method::GET, Method::HEAD, Method::GET] {
        let (status, headers, page) = story.outside(method.clone(), &path, &[], "").await;
        assert_eq!(status, 200);
        assert_eq!(headers["content-type"], "text/html; charset=utf-8");
        assert!(headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
        assert!(!page.contains("ann@example.org"));
        if method == Method::GET {
            assert!(
                page.contains("<form method=\"post\">") && page.contains("value=\"One-Click\""),
                "{page}"
            );
        }
    }
    assert_eq!(story.events().await, before, "nobody is unsubscribed by a look");

    for headers in [&[][..], &[("content-type", "application/json")]] {
        let (status, ..) = story.outside(Method::POST, &path, headers, PRESSED).await;
        assert_eq!(status, 400);
    }
    assert_eq!(story.outside(Method::POST, &path, &[FORM], "a=b").await.0, 400);
    assert_eq!(story.suppressed().await, []);

    for _ in 0..2 {
        let (status, _, page) = story.outside(Method::POST, &path, &[FORM], PRESSED).await;
        assert_eq!(status, 200, "{page}");
        assert!(page.contains("no more messages") && !page.contains("ann@example.org"));
        assert_eq!(story.suppressed().await, [("ann@example.org".into(), "unsubscribe".into())]);
    }
    assert_eq!(story.events().await, before + 2, "the list and the contact, once");
    assert_eq!(story.stands(&campaign, contacts[0]).await, ("do_not_contact".into(), true));
    assert_eq!(story.stands(&campaign, contacts[1]).await, ("new".into(), false));
    assert_eq!(story.standing(message).await, sent(Delivery::Unknown));
}

#[tokio::test]
async fn fifty_presses_at_once_are_one() {
    let story = Story::begin().await;
    let outbox =
        (Channel::Email, story.outbox(Channel::Email, json!({ "fromAddress": "ops@example.com" })).await);
    let message = story.message(outbox, "ann@example.org", None, None, Got::Sent).await;
    let path = path_of(&story, message).await;
    let before = story.events().await;
    let presses = (0..50).map(|_| story.outside(Method::POST, &path, &[FORM], PRESSED));
    for (status, ..) in futures::future::join_all(presses).await {
        assert_eq!(status, 200);
    }
    assert_eq!(story.events().await, before + 1);
}

#[tokio::test]
async fn whoever_was_erased_is_left_alone_all_the_same() {
    let story = Story::begin().await;
    let outbox =
        (Channel::Email, story.outbox(Channel::Email, json!({ "fromAddress": "ops@example.com" })).await);
    let organization = story.organization();
    let (ann, bob) = ("ann@example.org", "bob@example.org");
    let message = story.message(outbox, ann, None, None, Got::Sent).await;
    story.message(outbox, bob, None, None, Got::Sent).await;
    // A process that does not remember the keys of whoever is erased now.
    let other = story.app.another().await;
    let keys = other.ledger.keys().organization(organization).await.unwrap();
    let subjects = [ann, bob].map(|address| organization.correspondent(&address_hash(&keys, address)).uuid());
    sqlx::query("UPDATE ledger.subject_keys SET wrapped = NULL WHERE subject_id = ANY($1)")
        .bind(subjects)
        .execute(other.ledger.pool())
        .await
        .unwrap();
    for recorded in [true, false] {
        let appended = hearing::unsubscribe(&other, organization, message).await.unwrap();
        assert_eq!(appended.is_some(), recorded, "pressed again, it is recorded once");
    }
    let call = Call::of_system(&other, organization, "test");
    suppressions::suppress(&other, &call, bob, SuppressionReason::Manual).await.unwrap();
    let entries = [bob.to_owned(), "cleo@example.org".to_owned()];
    let call = Call::of_system(&other, organization, "test");
    let done = suppressions::suppress_all(&other, &call, &entries, SuppressionReason::Manual).await.unwrap();
    assert_eq!((done.entity.changed, done.entity.unchanged), (1, 1));

    for (address, own_word) in [(ann, true), (bob, false)] {
        let hash = address_hash(&keys, address);
        let owners = other.ledger.owners(organization, &ClaimKey::against(&hash)).await.unwrap();
        assert_eq!([owners[0].is_some(), owners[1].is_some()], [own_word, true], "{address}");
    }
    // The list tells that somebody is on it, and of nobody who was erased who that is.
    let mut listed = story.suppressed().await;
    listed.sort();
    let row = |address: &str, reason: &str| (address.to_owned(), reason.to_owned());
    assert_eq!(
        listed,
        [row("cleo@example.org", "manual"), row("erased", "manual"), row("erased", "unsubscribe")]
    );
    let lifted = suppressions::lift(&other, &Call::of_system(&other, organization, "test"), bob).await;
    assert_eq!(lifted.unwrap().entity.reason, SuppressionReason::Manual);
}

#[tokio::test]
async fn a_token_that_we_did_not_make_is_not_found() {
    let story = Story::begin().await;
    let outbox =
        (Channel::Email, story.outbox(Channel::Email, json!({ "fromAddress": "ops@example.com" })).await);
    let message = story.message(outbox, "ann@example.org", None, None, Got::Sent).await;
    let path = path_of(&story, message).await;
    let other = story.app.organization().await;
    let elsewhere = unsubscribe::link(story.app(), other, message).await.unwrap();
    let never_sent = path_of(&story, story.app.clock.mint()).await;
    let tampered = format!("{}{}", &path[..path.len() - 1], if path.ends_with('A') { 'B' } else { 'A' });
    let nobody = format!("/u/{}", "A".repeat(64));
    for path in [
        "/u/x",
        "/u/%ff",
        "/u/..%2f..%2fetc%2fpasswd",
        &nobody,
        &tampered,
        elsewhere.strip_prefix(PUBLIC_URL).unwrap(),
    ] {
        // A well-made token of a message that another company never had says nothing of it either.
        let (status, ..) = story.outside(Method::POST, path, &[FORM], PRESSED).await;
        assert_eq!(status, 404, "{path}");
    }
    for path in ["/u/%ff", &nobody, &tampered] {
        assert_eq!(story.outside(Method::GET, path, &[], "").await.0, 404, "{path}");
    }
    assert_eq!(story.outside(Method::POST, &never_sent, &[FORM], PRESSED).await.0, 404);
    assert_eq!(story.suppressed().await, []);
}

#[tokio::test]
async fn an_acknowledged_unsubscribe_wins_against_what_waits() {
    let story = Story::begin().await;
    let outbox =
        (Channel::Email, story.outbox(Channel::Email, json!({ "fromAddress": "ops@example.com" })).await);
    let (campaign, contacts) = story.campaign(&["ann@example.org"]).await;
    let first = story.message(outbox, "ann@example.org", None, None, Got::Sent).await;
    let queued = story.message(outbox, "ann@example.org", Some(contacts[0]), None, Got::Queued).await;
    let path = path_of(&story, first).await;
    assert_eq!(story.outside(Method::POST, &path, &[FORM], PRESSED).await.0, 200);
    // The message was to an address, not to a contact: whoever has the address is left alone all the same.
    assert_eq!(story.stands(&campaign, contacts[0]).await, ("do_not_contact".into(), true));

    let app = story.app();
    let message = app.ledger.load::<Message>(story.organization(), queued).await.unwrap();
    let sending = MessageEvent::MessageSending {
        attempt: 1,
        bucket_id: app.clock.mint::<BucketId>(),
        provider_key: queued.to_string(),
        keyed: None,
        at: app.clock.now(),
    };
    let write = Write {
        stream: Stream::of::<Message>(queued),
        expected: message.version,
        events: vec![sending.into()],
    };
    let mut order = command(app, story.organization(), vec![write]);
    order.absent = ClaimKey::against(message.state.recipient_hash().unwrap()).to_vec();
    let refused = app.ledger.append(order).await;
    assert!(
        matches!(refused, Err(AppendError::Present(Scope::SuppressedAddress | Scope::ListedAddress))),
        "{refused:?}"
    );

    // It is the person's own word: the board does not take it back, and the contact stays as it is.
    let board = story.board().await;
    let body = json!({ "address": "ann@example.org" }).to_string().into_bytes();
    let (status, answer) =
        board.send(Method::DELETE, &board.crm("suppressions"), &[super::JSON], body).await.unwrap();
    assert_eq!((status, &answer["code"]), (422, &json!("OPTED_OUT")));
    let contact = app.ledger.load::<Contact>(story.organization(), contacts[0]).await.unwrap();
    assert!(contact.state.opted_out());
}

#[tokio::test]
async fn a_message_is_unsubscribed_so_often_and_no_more() {
    let rate = "6/3".parse::<MaybeRate>().unwrap().0;
    let story = Story::with(Settings { rate, ..Settings::default() }).await;
    let message = story.app.clock.mint();
    let path = path_of(&story, message).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(story.outside(Method::POST, &path, &[FORM], PRESSED).await.0);
    }
    assert_eq!(statuses, [404, 404, 404, 429]);
    let other = path_of(&story, story.app.clock.mint()).await;
    assert_eq!(story.outside(Method::POST, &other, &[FORM], PRESSED).await.0, 404, "another one has its own");
}

#[tokio::test]
async fn without_its_own_address_the_server_makes_no_link() {
    let app = TestApp::start().await;
    let organization = app.organization().await;
    let unaware = App { public_url: None, ..app.app.clone() };
    let refused = unsubscribe::link(&unaware, organization, app.clock.mint()).await.unwrap_err();
    assert_eq!(refused.to_string(), "an e-mail needs an unsubscribe link, and DOCKET_PUBLIC_URL is not set");
}
