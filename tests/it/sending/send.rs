//! What becomes of a send before any channel is called.

use docket::sending::content::content_hash;
use docket_aggregates::channel::Channel;
use docket_aggregates::ids::{ContactId, MessageId, OrganizationId};
use docket_aggregates::labels::Labels;
use docket_aggregates::message::{DedupKey, Draft, Grounds, Message, MessageCommand, MessageContent, Ruling};
use docket_aggregates::token::Role;
use hyper::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::frequency::template;
use super::{Company, NOTHING, ask, came_to, get, positions, post, refused, text};
use crate::support::{TestApp, eventually};

#[tokio::test]
async fn a_send_is_decided_at_once_and_shown() {
    let company = Company::allowing(&["ann@example.com"]).await;
    let sent = company.send(company.mail("Ann Lee <Ann@Example.COM>")).await;
    assert_eq!(came_to(&sent), ("draft_pending_approval", None));
    assert_eq!((&sent["dispatchState"], &sent["delivery"]), (&json!("none"), &json!("unknown")));
    assert_eq!((&sent["to"], &sent["deduplicated"]), (&json!("Ann@example.com"), &json!(false)));
    assert!(sent["approvalId"].is_string() && sent["matchedRuleId"].is_null(), "{sent}");
    assert_eq!((&sent["contentPieceId"], &sent["contactId"]), (&Value::Null, &Value::Null));
    assert_eq!((&sent["niche"], &sent["tags"]), (&json!("renovation"), &json!([])));

    let path = format!("activities/{}", text(&sent["id"]));
    let (status, shown) = get(&company.board, &path).await;
    assert_eq!((status, &shown["payload"]["subject"]), (200, &json!("Hello")));
    let mut without = shown.clone();
    without.as_object_mut().unwrap().remove("payload");
    assert_eq!(without, sent);
}

#[tokio::test]
async fn the_allowlist_is_asked_first_and_empty_means_nobody() {
    let company = Company::allowing(&[]).await;
    company.approve_by_itself().await;
    let blocked = company.send(company.mail("ann@example.com")).await;
    assert_eq!(came_to(&blocked), ("blocked_by_allowlist", Some("allowlist_empty")));
    assert_eq!((&blocked["dispatchState"], &blocked["matchedRuleId"]), (&json!("done"), &Value::Null));

    company.allow(&["ann@example.com", "@example.org", "info@bücher.example"]).await;
    for (to, allowed) in [
        ("ANN@example.com", true),
        ("  ann@example.com  ", true),
        ("\"Ann, of Example\" <ann@example.com>", true),
        ("ann+news@example.com", false),
        ("bob@example.com", false),
        ("bob@example.org", true),
        ("bob@EXAMPLE.ORG", true),
        ("bob@sub.example.org", false),
        ("bob@evil-example.org", false),
        ("bob@example.org.evil.tld", false),
        ("bob@example.orgs.net", false),
        ("info@xn--bcher-kva.example", true),
        ("info@BÜCHER.example", true),
        ("ann@ex\u{430}mple.com", false),
    ] {
        let sent = company.send(company.mail(to)).await;
        let expected = if allowed {
            ("draft_pending_approval", None)
        } else {
            ("blocked_by_allowlist", Some("not_on_allowlist"))
        };
        assert_eq!(came_to(&sent), expected, "{to}");
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_and_changes_nothing() {
    let company = Company::allowing(&["*"]).await;
    let mail = |field: &str, value: Value| company.mail_with("ann@example.com", field, value);
    let words = |subject: &str, text: Value| mail("payload", json!({ "subject": subject, "text": text }));
    let before = positions(&company.board).await;
    for body in [
        company.mail(""),
        company.mail("ann"),
        company.mail("ann@example.com, bob@example.com"),
        company.mail("ann@example.com\r\nBcc: bob@example.com"),
        company.mail(&format!("{}@example.com", "a".repeat(320))),
        mail("to", json!(7)),
        mail("channel", json!("sms")),
        mail("outboxId", json!("not an id")),
        mail("payload", json!("text")),
        mail("payload", json!(null)),
        words("Hello\r\nBcc: bob@example.com", json!("text")),
        words("", json!("text")),
        words(&"a".repeat(999), json!("text")),
        words("Hello", json!(null)),
        words("Hello", json!("a".repeat(64 * 1_024))),
        mail("payload", json!({ "subject": "a", "text": "b", "headers": { "X-A": "b\r\nBcc: c" } })),
        mail("payload", json!({ "subject": "a", "text": "b", "headers": { "Bcc": "bob@example.com" } })),
        mail("payload", json!({ "subject": "a", "text": "b", "surplus": 1 })),
        mail("clientDedupKey", json!("abc")),
        mail("clientDedupKey", json!("z".repeat(64))),
        mail("niche", json!("renovation")),
        mail("tags", json!(["nurture"])),
    ] {
        let answer = post(&company.board, "send", body.clone()).await;
        assert_eq!(refused(&answer), (400, "VALIDATION_FAILED"), "{body} {}", answer.1);
    }
    assert_eq!(positions(&company.board).await, before);
}

#[tokio::test]
async fn each_channel_takes_its_own_payload() {
    let company = Company::allowing(&["*"]).await;
    let outbox = async |channel: &str| {
        let config = match channel {
            "whatsapp" => json!({ "phoneNumberId": "1" }),
            "cal-com" => json!({}),
            _ => json!({ "accountId": "1" }),
        };
        let body = json!({ "channel": channel, "niche": null, "secretRef": "secret://key:latest", "config": config });
        let (status, outbox) = post(&company.board, "outboxes", body).await;
        assert_eq!(status, 201, "{outbox}");
        text(&outbox["id"])
    };
    let (number, id) = ("+33612345678", "ACoAAAcDMMQBODyLwZrRcgYhrkCafURGqva0Ada");
    let profile = "https://www.linkedin.com/in/AErosmith";
    for (channel, to, payload, status) in [
        ("whatsapp", number, json!({ "text": "Hello" }), 200),
        ("whatsapp", number, json!({ "text": "a".repeat(4_097) }), 400),
        ("whatsapp", number, json!({ "templateSid": "welcome", "variables": ["Ann"] }), 200),
        ("whatsapp", "ann@example.com", json!({ "text": "Hello" }), 400),
        ("linkedin", id, json!({ "kind": "message", "text": "Hello" }), 200),
        ("linkedin", id, json!({ "kind": "invitation", "text": "a".repeat(301) }), 400),
        ("linkedin", "ann-lee", json!({ "kind": "message", "text": "Hello" }), 400),
        ("linkedin", profile, json!({ "kind": "message", "text": "Hello" }), 400),
        ("linkedin", "ann lee", json!({ "kind": "message", "text": "Hello" }), 400),
        ("instagram", "12000", json!({ "text": "Hello" }), 400),
        ("instagram", "017841400000000000", json!({ "text": "Hello" }), 400),
        ("instagram", "17841400000000000", json!({ "text": "Hello" }), 200),
        ("instagram", "17841400000000000", json!({ "text": "a".repeat(1_001) }), 400),
        (
            "cal-com",
            "ann@example.com",
            json!({ "eventTypeId": 7, "start": "2030-01-01T09:00:00Z", "timeZone": "Europe/Paris" }),
            200,
        ),
        (
            "cal-com",
            "ann@example.com",
            json!({ "eventTypeId": 7, "start": "2020-01-01T09:00:00Z", "timeZone": "Europe/Paris" }),
            400,
        ),
        (
            "cal-com",
            "ann@example.com",
            json!({
                "eventTypeId": 7, "start": "2030-01-01T09:00:00Z", "timeZone": "Europe/Paris",
                "guests": ["bob@example.com"],
            }),
            400,
        ),
    ] {
        let body =
            json!({ "channel": channel, "outboxId": outbox(channel).await, "to": to, "payload": payload });
        let answer = post(&company.board, "send", body).await;
        assert_eq!(answer.0, status, "{channel} {payload} {}", answer.1);
    }
}

#[tokio::test]
async fn what_is_named_must_be_there_and_be_the_companys() {
    let company = Company::allowing(&["*"]).await;
    let other = company.app.agent().await;
    let foreign = json!({
        "channel": "email", "niche": null, "secretRef": "secret://smtp:latest",
        "config": { "fromAddress": "ops@example.net" },
    });
    let (_, foreign) = post(&other, "outboxes", foreign).await;
    let piece = json!({ "title": "T", "sourcePath": "a.md", "sourceSha256": "0".repeat(64) });
    let (_, foreign_piece) = post(&other, "content-pieces", piece.clone()).await;
    let (_, deleted_piece) = post(&company.board, "content-pieces", piece).await;
    let path = format!("content-pieces/{}", text(&deleted_piece["id"]));
    assert_eq!(ask(&company.board, Method::DELETE, &path, Value::Null).await.0, 200);

    let mail = |field: &str, value: &Value| company.mail_with("ann@example.com", field, value.clone());
    let nothing = json!(NOTHING);
    for (body, status, code) in [
        (mail("outboxId", &nothing), 404, "OUTBOX_NOT_FOUND"),
        (mail("outboxId", &foreign["id"]), 404, "OUTBOX_NOT_FOUND"),
        (mail("campaignId", &nothing), 404, "CAMPAIGN_NOT_FOUND"),
        (mail("contentPieceId", &nothing), 404, "CONTENT_PIECE_NOT_FOUND"),
        (mail("contentPieceId", &foreign_piece["id"]), 404, "CONTENT_PIECE_NOT_FOUND"),
        (mail("contentPieceId", &deleted_piece["id"]), 422, "CONTENT_PIECE_DELETED"),
        (
            json!({
                "channel": "linkedin", "outboxId": company.outbox, "to": "ACoAAAcDMMQBODyLwZrRcgYhrkCafURGqva0Ada",
                "payload": { "kind": "message", "text": "Hello" },
            }),
            422,
            "CHANNEL_MISMATCH",
        ),
    ] {
        let answer = post(&company.board, "send", body.clone()).await;
        assert_eq!(refused(&answer), (status, code), "{body}");
    }
    let path = format!("outboxes/{}", company.outbox);
    assert_eq!(ask(&company.board, Method::DELETE, &path, Value::Null).await.0, 200);
    let answer = post(&company.board, "send", company.mail("ann@example.com")).await;
    assert_eq!(refused(&answer), (404, "OUTBOX_NOT_FOUND"));
}

#[tokio::test]
async fn the_first_rule_that_matches_lets_it_go() {
    let company = Company::allowing(&["*"]).await;
    let rule = company.approve_by_itself().await;
    let sent = company.send(company.mail("ann@example.com")).await;
    assert_eq!(
        (came_to(&sent), &sent["dispatchState"]),
        (("draft_pending_approval", None), &json!("queued")),
        "{sent}"
    );
    assert_eq!(
        (&sent["matchedRuleId"], &sent["matchedRuleVersion"], &sent["approvalId"]),
        (&rule["id"], &json!(1), &Value::Null)
    );
    assert!(sent["approvedAt"].is_string() && sent["approvedBy"].is_null());
}

#[tokio::test]
async fn labels_come_from_words_that_the_board_vouched_for_and_from_nowhere_else() {
    let company = Company::allowing(&["*"]).await;
    let words = "A word about your roof.";
    let piece = json!({
        "title": "Roofs", "sourcePath": "roofs.md", "sourceSha256": hex::encode(Sha256::digest("the file")),
        "textSha256": hex::encode(Sha256::digest(words)), "tags": ["nurture"], "niche": "roofs",
    });
    let (status, piece) = post(&company.board, "content-pieces", piece).await;
    assert_eq!(status, 201, "{piece}");
    let rule = json!({ "predicate": { "tags": ["nurture"] }, "action": "auto_approve", "priority": 1 });
    assert_eq!(post(&company.board, "approval-rules", rule).await.0, 201);

    let send = async |payload: Value, piece: &Value| {
        let mut body = company.mail_with("ann@example.com", "payload", payload);
        body["contentPieceId"] = piece.clone();
        let sent = company.send(body).await;
        (sent["niche"].clone(), sent["tags"].clone(), text(&sent["dispatchState"]))
    };
    let vouched = (json!("roofs"), json!(["nurture"]), "queued".to_owned());
    let own = (json!("renovation"), json!([]), "none".to_owned());
    let mail = |text: &str| json!({ "subject": "Roofs", "text": text });
    assert_eq!(send(mail(words), &piece["id"]).await, vouched);
    assert_eq!(send(mail("Other words."), &piece["id"]).await, own);
    assert_eq!(send(mail("the file"), &piece["id"]).await, own);
    assert_eq!(send(mail(words), &Value::Null).await, own);
    // Whatever else the recipient would read or answer to is words of the drafter's own.
    for (field, value) in [
        ("html", json!("<p>Other words.</p>")),
        ("subject", json!("You have won")),
        ("replyTo", json!("eve@example.com")),
        ("headers", json!({ "X-Offer": "Other words" })),
    ] {
        let mut with = mail(words);
        with[field] = value;
        assert_eq!(send(with, &piece["id"]).await, own, "{field}");
    }

    let path = format!("content-pieces/{}", text(&piece["id"]));
    let patch = json!({ "textSha256": "0".repeat(64) });
    assert_eq!(ask(&company.board, Method::PATCH, &path, patch).await.0, 200);
    assert_eq!(send(mail(words), &piece["id"]).await, own);
}

#[tokio::test]
async fn what_another_process_changed_counts_at_once() {
    let company = Company::allowing(&["@example.com"]).await;
    let rule = company.approve_by_itself().await;
    // This process remembers the list and the rules from here on.
    assert_eq!(company.send(company.mail("ann@example.com")).await["dispatchState"], "queued");
    let another = company.app.another().await;
    let call = || docket::service::Call::of_system(&another, company.board.organization, "test");
    let rule = text(&rule["id"]).parse().unwrap();
    docket::approval_rules::remove(&another, &call(), rule).await.unwrap();
    let sent = company.send(company.mail("ann@example.com")).await;
    assert_eq!((&sent["dispatchState"], &sent["matchedRuleId"]), (&json!("none"), &Value::Null));
    docket::allowlist::disallow(&another, &call(), &["@example.com".into()]).await.unwrap();
    let sent = company.send(company.mail("ann@example.com")).await;
    assert_eq!(came_to(&sent), ("blocked_by_allowlist", Some("allowlist_empty")));
}

#[tokio::test]
async fn nothing_is_drafted_to_who_said_no() {
    let company = Company::allowing(&["*"]).await;
    company.approve_by_itself().await;
    let suppress = json!({ "address": "Ann@example.com", "reason": "manual" });
    let (status, answer) = post(&company.board, "suppressions", suppress).await;
    assert_eq!(status, 201, "{answer}");
    for to in ["ann@EXAMPLE.com", "ann+tag@example.com"] {
        let sent = company.send(company.mail(to)).await;
        assert_eq!(came_to(&sent), ("blocked_by_allowlist", Some("suppressed")), "{to}");
    }
    let lift = json!({ "address": "ann@example.com" });
    assert_eq!(ask(&company.board, Method::DELETE, "suppressions", lift).await.0, 200);
    assert_eq!(came_to(&company.send(company.mail("ann@example.com")).await).1, None);
}

/// Imports one contact and gives its id.
async fn contact(company: &Company, email: &str) -> String {
    let csv = format!("email,first name\n{email},Ann\n");
    let path = company.board.crm("imports?name=one&source=test&legalBasis=consent");
    let csv_type = [("content-type", "text/csv")];
    let (status, import) =
        company.board.send(Method::POST, &path, &csv_type, csv.into_bytes()).await.unwrap();
    assert_eq!(status, 201, "{import}");
    let commit = format!("imports/{}/commit", text(&import["importFolderId"]));
    let (status, committed) = company.board.post(&company.board.crm(&commit), json!({})).await;
    assert_eq!(status, 200, "{committed}");
    let admin = company.app.client(Role::SuperAdmin, company.board.organization).await;
    let found = admin.done("list_outbound_contacts", json!({ "limit": 1 })).await;
    text(&found["contacts"][0]["contactId"])
}

#[tokio::test]
async fn an_address_is_its_contacts() {
    let company = Company::allowing(&["*"]).await;
    let contact_id = contact(&company, "ann@example.com").await;
    let sent = company.send(company.mail("ANN@example.com")).await;
    assert_eq!(sent["contactId"], json!(contact_id));
    let sent = company.send(company.mail("bob@example.com")).await;
    assert_eq!(sent["contactId"], Value::Null);

    let call = docket::service::Call::of_system(&company.app.app, company.board.organization, "test");
    let contact_id: ContactId = contact_id.parse().unwrap();
    docket::contacts::opt_out(&company.app.app, &call, contact_id, "api").await.unwrap();
    let sent = company.send(company.mail("ann@example.com")).await;
    assert_eq!(came_to(&sent), ("blocked_by_allowlist", Some("suppressed")));
    assert_eq!(sent["contactId"], json!(contact_id));
}

#[tokio::test]
async fn a_contact_is_left_alone_at_each_form_of_its_number() {
    let company = Company::allowing(&["*"]).await;
    let outbox = company.whatsapp().await;
    for (email, phone, others) in [
        ("ar@example.com", "+54 9 11 2345 6789", ["+541123456789", "+5491123456789"]),
        ("ra@example.com", "+54 11 2345 6780", ["+541123456780", "+5491123456780"]),
        ("br@example.com", "+55 11 98765 4321", ["+551187654321", "+5511987654321"]),
        ("fr@example.com", "+33 1 44 55 66 77 ext 12", ["+33144556677", "+33144556677"]),
    ] {
        company.contact(email, phone).await;
        let suppress = json!({ "address": email, "reason": "manual" });
        assert_eq!(post(&company.board, "suppressions", suppress).await.0, 201);
        for to in others {
            let sent = company.send(template(&outbox, to)).await;
            assert_eq!(came_to(&sent), ("blocked_by_allowlist", Some("do_not_contact")), "{email} {to}");
        }
    }
    // And what is said of one form is said of the contact that has the other one.
    for (email, phone, said_of) in [
        ("ab@example.com", "+54 9 11 2345 0000", "+54 11 2345 0000"),
        ("cd@example.com", "+54 11 2345 1111", "+54 9 11 2345 1111"),
        ("ef@example.com", "+33 1 44 55 66 88 ext 3", "+33 1 44 55 66 88"),
    ] {
        company.contact(email, phone).await;
        let suppress = json!({ "address": said_of, "reason": "manual" });
        assert_eq!(post(&company.board, "suppressions", suppress).await.0, 201);
        let sent = company.send(company.mail(email)).await;
        assert_eq!(came_to(&sent), ("blocked_by_allowlist", Some("do_not_contact")), "{email}");
    }
}

#[tokio::test]
async fn a_rehearsal_ends_after_the_allowlist() {
    let company = Company::allowing(&["ann@example.com"]).await;
    company.approve_by_itself().await;
    let rehearse = |to: &str| json!({ "channel": "dry-run", "outboxId": company.outbox, "to": to, "payload": { "anything": [1.5] } });
    let sent = company.send(rehearse("ann@example.com")).await;
    assert_eq!((came_to(&sent), &sent["dispatchState"]), (("sent_dryrun", None), &json!("done")));
    assert_eq!((&sent["matchedRuleId"], &sent["approvalId"]), (&Value::Null, &Value::Null));
    let sent = company.send(rehearse("bob@example.com")).await;
    assert_eq!(came_to(&sent), ("blocked_by_allowlist", Some("not_on_allowlist")));
    let path = format!("outboxes/{}", company.outbox);
    assert_eq!(ask(&company.board, Method::DELETE, &path, Value::Null).await.0, 200);
    let answer = post(&company.board, "send", rehearse("ann@example.com")).await;
    assert_eq!(refused(&answer), (404, "OUTBOX_NOT_FOUND"));
}

fn key(digit: &str) -> Value {
    json!(digit.repeat(64))
}

#[tokio::test]
async fn a_key_stands_for_one_message() {
    let company = Company::allowing(&["ann@example.com"]).await;
    let keyed = |to: &str, digit: &str| company.mail_with(to, "clientDedupKey", key(digit));
    let first = company.send(keyed("ann@example.com", "a")).await;
    let before = positions(&company.board).await;
    // The same, however it is written.
    for body in [keyed("ann@example.com", "a"), keyed(" ANN <ann@EXAMPLE.com>", "A")] {
        let again = company.send(body).await;
        assert_eq!((&again["id"], &again["deduplicated"]), (&first["id"], &json!(true)));
    }
    let mut other = keyed("ann@example.com", "a");
    other["payload"]["text"] = json!("Other words.");
    let answer = post(&company.board, "send", other).await;
    assert_eq!(refused(&answer), (409, "DEDUP_CONFLICT"));
    assert_eq!(answer.1["details"]["activityId"], first["id"]);
    assert_eq!(positions(&company.board).await, before);

    let other_key = company.send(keyed("ann@example.com", "b")).await;
    assert_ne!(other_key["id"], first["id"]);
    // A rehearsal never stands for a send.
    let mut rehearsal = keyed("ann@example.com", "a");
    rehearsal["channel"] = json!("dry-run");
    let rehearsed = company.send(rehearsal.clone()).await;
    assert_eq!((came_to(&rehearsed).0, &rehearsed["deduplicated"]), ("sent_dryrun", &json!(false)));
    assert_eq!(company.send(rehearsal).await["id"], rehearsed["id"]);
}

#[tokio::test]
async fn a_member_that_is_null_makes_no_other_payload() {
    let company = Company::allowing(&["ann@example.com"]).await;
    let keyed = |digit: &str| company.mail_with("ann@example.com", "clientDedupKey", key(digit));
    let with_null = |digit: &str| {
        let mut mail = keyed(digit);
        mail["payload"]["html"] = Value::Null;
        mail
    };
    for (digit, [one, other]) in [("a", [keyed("a"), with_null("a")]), ("b", [with_null("b"), keyed("b")])] {
        let first = company.send(one).await;
        let again = company.send(other).await;
        assert_eq!((&again["id"], &again["deduplicated"]), (&first["id"], &json!(true)), "{digit}");
        let (_, shown) = get(&company.board, &format!("activities/{}", text(&first["id"]))).await;
        assert_eq!(shown["payload"], json!({ "subject": "Hello", "text": "A word about your roof." }));
        let before = positions(&company.board).await;
        let revise = format!("activities/{}/revise", text(&first["id"]));
        let payload = with_null(digit)["payload"].clone();
        assert_eq!(post(&company.board, &revise, json!({ "payload": payload })).await.0, 200);
        assert_eq!(positions(&company.board).await, before, "{digit}: no other words");
    }
}

#[tokio::test]
async fn what_was_kept_with_a_null_is_still_found_by_the_same_request() {
    let company = Company::allowing(&["ann@example.com"]).await;
    let (app, organization) = (&company.app.app, company.board.organization);
    let plain = company.send(company.mail("ann@example.com")).await;
    let plain: MessageId = text(&plain["id"]).parse().unwrap();
    let drafter = app.ledger.load::<Message>(organization, plain).await.unwrap().state.drafter().unwrap();
    let keys = app.ledger.keys().organization(organization).await.unwrap();
    let outbox_id = company.outbox.parse().unwrap();
    let content = MessageContent {
        to: "ann@example.com".into(),
        payload: r#"{"html":null,"subject":"Hello","text":"A word about your roof."}"#.into(),
    };
    let digits = "e".repeat(64);
    let same = ["email", &company.outbox, &content.to, &content.payload, "", ""];
    let message_id: MessageId = app.clock.mint();
    let draft = Draft {
        message_id,
        channel: Channel::Email,
        outbox_id,
        subject: app.clock.mint(),
        recipient_hash: docket::contacts::address_hash(&keys, &content.to),
        content_hash: content_hash(&keys, Channel::Email, outbox_id, &content),
        content: content.clone(),
        labels: Labels::default(),
        content_piece_id: None,
        dedup: Some(DedupKey {
            key: hex::encode(keys.hash("message dedup key", &["send", &digits])),
            fingerprint: hex::encode(keys.hash("message dedup fingerprint", &same)),
        }),
        drafter,
        agent_id: None,
        contact_id: None,
        campaign_id: None,
        sequence_id: None,
        step: None,
        co_authors: vec![],
    };
    let ruling = Ruling::AskAPerson(app.clock.mint());
    let decide = MessageCommand::Decide { ruling, grounds: Grounds::default(), not_before: None };
    for command in [MessageCommand::Draft(Box::new(draft)), decide] {
        let call = docket::service::Call::of_system(app, organization, "test");
        app.ledger
            .order::<Message>(organization, message_id, call.command_id, call.at, &call.origin, None, command)
            .await
            .unwrap();
    }

    let before = positions(&company.board).await;
    let mut keyed = company.mail_with("ann@example.com", "clientDedupKey", json!(digits));
    keyed["payload"]["html"] = Value::Null;
    let again = company.send(keyed.clone()).await;
    assert_eq!((&again["id"], &again["deduplicated"]), (&json!(message_id), &json!(true)));
    let revise = format!("activities/{message_id}/revise");
    for payload in [keyed["payload"].clone(), company.mail("")["payload"].clone()] {
        assert_eq!(post(&company.board, &revise, json!({ "payload": payload })).await.0, 200);
    }
    assert_eq!(positions(&company.board).await, before, "no other words");
}

#[tokio::test]
async fn an_agents_key_gives_no_message_of_somebody_else() {
    let company = Company::allowing(&["ann@example.com"]).await;
    let (one, other) = (company.agent().await, company.agent().await);
    let keyed = company.mail_with("ann@example.com", "clientDedupKey", key("e"));
    let (status, first) = post(&one, "send", keyed.clone()).await;
    assert_eq!(status, 200, "{first}");
    let (_, again) = post(&one, "send", keyed.clone()).await;
    assert_eq!((&again["id"], &again["deduplicated"]), (&first["id"], &json!(true)), "it is its own");
    let before = positions(&company.board).await;
    let answer = post(&other, "send", keyed.clone()).await;
    assert_eq!((refused(&answer), &answer.1["details"]), ((409, "DEDUP_CONFLICT"), &Value::Null));
    // The board sees every activity, and a key is one company's.
    let known = company.send(keyed).await;
    assert_eq!((&known["id"], &known["deduplicated"]), (&first["id"], &json!(true)));
    assert_eq!(positions(&company.board).await, before);
}

#[tokio::test]
async fn a_blocked_send_gives_its_key_free() {
    let company = Company::allowing(&["bob@example.com"]).await;
    let keyed = company.mail_with("ann@example.com", "clientDedupKey", key("c"));
    let blocked = company.send(keyed.clone()).await;
    assert_eq!(came_to(&blocked).0, "blocked_by_allowlist");
    company.allow(&["ann@example.com"]).await;
    let sent = company.send(keyed.clone()).await;
    assert_eq!((came_to(&sent).0, &sent["deduplicated"]), ("draft_pending_approval", &json!(false)));
    assert_eq!(company.send(keyed).await["id"], sent["id"]);
}

#[tokio::test]
async fn fifty_at_once_with_one_key_are_one_message() {
    let company = Company::allowing(&["*"]).await;
    let keyed = company.mail_with("ann@example.com", "clientDedupKey", key("d"));
    let mut sends = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (client, body) = (company.board.clone(), keyed.clone());
        sends.spawn(async move { post(&client, "send", body).await });
    }
    let answers = sends.join_all().await;
    let fresh = answers.iter().filter(|(_, sent)| sent["deduplicated"] == json!(false)).count();
    let id = &answers[0].1["id"];
    assert!(answers.iter().all(|(status, sent)| *status == 200 && sent["id"] == *id), "{answers:?}");
    assert_eq!(fresh, 1);
    let (_, listed) = get(&company.board, "activities").await;
    assert_eq!(listed.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_message_of_a_given_id_is_drafted_once() {
    let company = Company::allowing(&["*"]).await;
    let app = &company.app.app;
    let organization: OrganizationId = company.board.organization;
    let message_id: MessageId = app.clock.mint();
    let request = || docket::sending::SendRequest {
        message_id: Some(message_id),
        step: Some(1),
        ..docket::sending::SendRequest::new(
            docket_aggregates::channel::Channel::Email,
            company.outbox.parse().unwrap(),
            "ann@example.com",
            json!({ "subject": "s", "text": "t" }),
        )
    };
    let draft = async || {
        let call = docket::service::Call::of_system(app, organization, "test");
        docket::sending::draft(app, &call, request()).await.unwrap()
    };
    let (one, other) = tokio::join!(draft(), draft());
    assert_eq!([one.appended.is_some(), other.appended.is_some()].iter().filter(|done| **done).count(), 1);
    let again = draft().await;
    assert!(again.appended.is_none() && again.entity.deduplicated);
    assert_eq!((again.entity.id, again.entity.step), (message_id, Some(1)));
}

#[tokio::test]
async fn a_request_that_is_asked_again_is_answered_again() {
    let company = Company::allowing(&["*"]).await;
    let ask = async |text: &str| {
        let mut body = company.mail("ann@example.com");
        body["payload"]["text"] = json!(text);
        let headers = [super::JSON, ("idempotency-key", "k-1"), ("prefer", "wait=0")];
        let path = company.board.crm("send");
        company.board.send(Method::POST, &path, &headers, body.to_string().into_bytes()).await.unwrap()
    };
    let first = ask("one").await;
    assert_eq!(first.0, 200);
    assert_eq!(ask("one").await.1["id"], first.1["id"]);
    assert_eq!(refused(&ask("two").await), (409, "IDEMPOTENCY_CONFLICT"));
}

#[tokio::test]
async fn who_may_send_and_see() {
    let company = Company::allowing(&["*"]).await;
    let organization = company.board.organization;
    let agent = company.agent().await;
    let other_agent = company.agent().await;
    let (status, own) = post(&agent, "send", company.mail("ann@example.com")).await;
    assert_eq!(status, 200, "{own}");
    let boards = company.send(company.mail("bob@example.com")).await;

    let of = |activity: &Value| format!("activities/{}", text(&activity["id"]));
    assert_eq!(get(&agent, &of(&own)).await.0, 200);
    assert_eq!(refused(&get(&agent, &of(&boards)).await), (404, "ACTIVITY_NOT_FOUND"));
    assert_eq!(refused(&get(&other_agent, &of(&own)).await), (404, "ACTIVITY_NOT_FOUND"));
    let ids = async |client: &crate::support::Client| {
        let (_, listed) = get(client, "activities").await;
        listed.as_array().unwrap().iter().map(|one| text(&one["id"])).collect::<Vec<_>>()
    };
    assert_eq!(ids(&agent).await, [text(&own["id"])]);
    assert!(ids(&other_agent).await.is_empty());
    assert_eq!(ids(&company.board).await.len(), 2);

    let auditor = company.app.client(Role::Auditor, organization).await;
    assert_eq!(get(&auditor, &of(&own)).await.0, 200);
    assert_eq!(post(&auditor, "send", company.mail("ann@example.com")).await.0, 403);
    let viewer = company.app.client(Role::Viewer, organization).await;
    assert_eq!(get(&viewer, "activities").await.0, 403);
    let stranger = company.app.agent().await;
    assert_eq!(refused(&get(&stranger, &of(&own)).await), (404, "ACTIVITY_NOT_FOUND"));
    assert_eq!(get(&agent, &format!("activities/{NOTHING}")).await.0, 404);
    assert_eq!(get(&agent, "activities/no-id").await.0, 400);
}

#[tokio::test]
async fn an_answer_waits_until_something_is_known() {
    let company = Company::allowing(&["*"]).await;
    company.approve_by_itself().await;
    let path = company.board.crm("send");
    let body = company.mail_with("ann@example.com", "clientDedupKey", key("e")).to_string().into_bytes();
    let (client, headers) = (company.board.clone(), [super::JSON, ("prefer", "wait=30")]);
    let waiting =
        tokio::spawn(async move { client.send(Method::POST, &path, &headers, body).await.unwrap() });
    // Somebody ends it meanwhile.
    let queued = eventually("the draft", async || {
        let (_, listed) = get(&company.board, "activities").await;
        listed[0]["id"].as_str().map(|id| id.parse::<MessageId>().unwrap())
    })
    .await;
    fail(&company.app, company.board.organization, queued).await;
    let (status, answer) = waiting.await.unwrap();
    assert_eq!((status, came_to(&answer)), (200, ("failed", Some("outbox_deleted"))));
}

/// Decides as the dispatcher does where the sender is gone.
async fn fail(app: &TestApp, organization: OrganizationId, message: MessageId) {
    use docket_aggregates::message::{Grounds, Message, MessageCommand, Reason, Ruling};
    let command = MessageCommand::Decide {
        ruling: Ruling::Fail(Reason::OutboxDeleted),
        grounds: Grounds::default(),
        not_before: None,
    };
    let call = docket::service::Call::of_system(&app.app, organization, "test");
    app.app
        .ledger
        .order::<Message>(organization, message, call.command_id, call.at, &call.origin, None, command)
        .await
        .unwrap();
}
