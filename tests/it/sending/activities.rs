//! What is asked of messages after they were taken in: lists, explanations, other words, and a person's word for what
//! nobody knew.

use docket::channels::Reference;
use docket::channels::email::incoming::{Incoming, Kind};
use docket::channels::email::lmtp::Verdict;
use docket_aggregates::Decides;
use docket_aggregates::approval::{Approval, ApprovalStatus, OPEN_FOR_MILLIS};
use docket_aggregates::bucket::{Bucket, BucketCommand};
use docket_aggregates::channel::Channel;
use docket_aggregates::correspondence::{Correspondence, CorrespondenceCommand};
use docket_aggregates::credential::{Credential, CredentialCommand};
use docket_aggregates::ids::{ApprovalId, BucketId, MessageId, OrganizationId};
use docket_aggregates::message::{Grounds, Message, MessageCommand, Outcome, Reason, Ruling};
use docket_aggregates::sending_control::{FrequencyCap, SendingControl, SendingControlCommand};
use docket_aggregates::token::Role;
use hyper::Method;
use serde_json::{Value, json};

use super::{Company, NOTHING, ask, came_to, get, positions, post, refused, text};
use crate::channels::mail_server::{MailServer, Reply, Script};
use crate::support::eventually;

fn of(activity: &Value, rest: &str) -> String {
    format!("activities/{}{rest}", text(&activity["id"]))
}

async fn explained(company: &Company, activity: &Value) -> (String, Value) {
    let (status, told) = get(&company.board, &of(activity, "/explain")).await;
    assert_eq!(status, 200, "{told}");
    (text(&told["explanation"]), told["now"].clone())
}

#[tokio::test]
async fn a_list_is_filtered_and_followed_page_by_page() {
    let company = Company::allowing(&["@example.com"]).await;
    for number in 0..5 {
        company.send(company.mail(&format!("ann{number}@example.com"))).await;
    }
    company.send(company.mail("ann@example.org")).await;
    let listed = async |query: &str| {
        let (status, rows) = get(&company.board, &format!("activities{query}")).await;
        assert_eq!(status, 200, "{rows}");
        rows.as_array().unwrap().len()
    };
    for (query, expected) in [
        ("", 6),
        ("?status=blocked_by_allowlist", 1),
        ("?status=draft_pending_approval&channel=email", 5),
        ("?dispatchState=none", 5),
        ("?dispatchState=unknown", 0),
        (&format!("?sequenceId={NOTHING}"), 0),
        ("?channel=whatsapp", 0),
        (&format!("?outboxId={}", company.outbox), 6),
        (&format!("?outboxId={NOTHING}"), 0),
        (&format!("?contactId={NOTHING}"), 0),
        (&format!("?campaignId={NOTHING}"), 0),
    ] {
        assert_eq!(listed(query).await, expected, "{query}");
    }
    for query in ["?status=queued", "?limit=0", "?surplus=1", "?after=no-id"] {
        assert_eq!(get(&company.board, &format!("activities{query}")).await.0, 400, "{query}");
    }

    let mut path = company.board.crm("activities?status=draft_pending_approval&limit=2");
    let mut seen = vec![];
    loop {
        let answer = company.board.send_for_headers(Method::GET, &path, &[], vec![]).await.unwrap();
        let (status, headers, rows) = answer;
        assert_eq!(status, 200);
        seen.extend(rows.as_array().unwrap().iter().map(|row| text(&row["id"])));
        let Some(link) = headers.get("link") else { break };
        let link = link.to_str().unwrap();
        path = link.trim_start_matches('<').split('>').next().unwrap().to_owned();
    }
    let mut newest_first = seen.clone();
    newest_first.sort_by(|one, other| other.cmp(one));
    newest_first.dedup();
    assert_eq!((seen.len(), &seen), (5, &newest_first));
}

#[tokio::test]
async fn an_explanation_says_what_was_decided_and_what_would_be_decided_now() {
    let company = Company::allowing(&["ann@example.com"]).await;
    let waiting = company.send(company.mail("ann@example.com")).await;
    let blocked = company.send(company.mail("bob@example.com")).await;

    let (said, now) = explained(&company, &waiting).await;
    assert!(
        said.contains("No approval rule matched") && said.contains("waits for an answer until"),
        "{said}"
    );
    assert_eq!(now["wouldBe"], "failed", "the secret was never stored: {now}");
    let (said, now) = explained(&company, &blocked).await;
    assert!(said.contains("the recipient is not on the allowlist"), "{said}");
    assert_eq!((&now["wouldBe"], &now["reason"]), (&json!("blocked"), &json!("not_on_allowlist")));

    let path = format!("/api/companies/{}/secrets/smtp", company.board.organization);
    let secret = json!({ "value": "smtp://user:password@mail.example.com:587" }).to_string();
    let stored = company.board.send(Method::PUT, &path, &[super::JSON], secret.into_bytes()).await.unwrap();
    assert!(stored.0 < 300, "{stored:?}");
    let (_, now) = explained(&company, &waiting).await;
    assert_eq!((&now["wouldBe"], &now["reason"]), (&json!("asked"), &Value::Null));

    // What is true now is looked at now.
    let change = async |method: Method, path: &str, body: Value| {
        let (status, answer) = ask(&company.board, method, path, body).await;
        assert!(status < 300, "{answer}");
    };
    company.allow(&["bob@example.com"]).await;
    assert_eq!(explained(&company, &blocked).await.1["wouldBe"], "asked");

    change(Method::POST, "pause", json!({ "reason": "audit" })).await;
    let (said, now) = explained(&company, &waiting).await;
    assert_eq!((&now["wouldBe"], &now["reason"]), (&json!("held_back"), &json!("paused")));
    assert!(said.contains("paused for the whole company (audit)"), "{said}");
    change(Method::POST, "resume", json!({})).await;

    change(Method::POST, "suppressions", json!({ "address": "ann@example.com", "reason": "manual" })).await;
    let (said, now) = explained(&company, &waiting).await;
    assert_eq!((&now["wouldBe"], &now["reason"]), (&json!("blocked"), &json!("suppressed")));
    assert!(said.contains("It would be blocked now, because the recipient is suppressed"), "{said}");
    change(Method::DELETE, "suppressions", json!({ "address": "ann@example.com" })).await;

    change(Method::DELETE, "allowlist", json!({ "entries": ["ann@example.com"] })).await;
    assert_eq!(explained(&company, &waiting).await.1["reason"], "not_on_allowlist");
    company.allow(&["ann@example.com"]).await;

    let outbox = format!("outboxes/{}", company.outbox);
    change(Method::PATCH, &outbox, json!({ "dailyCap": 0 })).await;
    let (said, now) = explained(&company, &waiting).await;
    assert_eq!((&now["wouldBe"], &now["reason"]), (&json!("blocked"), &json!("daily_cap")));
    assert!(said.contains("0 of 0 sends of the day are used"), "{said}");

    change(Method::DELETE, &outbox, Value::Null).await;
    assert_eq!(explained(&company, &waiting).await.1["reason"], "outbox_deleted");
}

#[tokio::test]
async fn an_explanation_names_the_rule_that_let_it_go_and_asks_it_again() {
    let company = Company::allowing(&["*"]).await;
    store_secret(&company).await;
    let rule = company.approve_by_itself().await;
    let queued = company.send(company.mail("ann@example.com")).await;
    let (said, now) = explained(&company, &queued).await;
    let named = format!("Approval rule {} let it go without a person, in its version 1.", text(&rule["id"]));
    assert!(said.contains(&named) && said.contains("It waits for its channel."), "{said}");
    assert_eq!(now["wouldBe"], "handed_over");
    let path = format!("approval-rules/{}", text(&rule["id"]));
    assert_eq!(ask(&company.board, Method::DELETE, &path, Value::Null).await.0, 200);
    assert_eq!(explained(&company, &queued).await.1["wouldBe"], "asked");
}

/// What the dispatcher decides of a message when its turn comes.
async fn decide(company: &Company, activity: &Value, ruling: Ruling) {
    let app = &company.app.app;
    let call = docket::service::Call::of_system(app, company.board.organization, "test");
    let grounds = Grounds { allowlist_version: 1, ..Grounds::default() };
    let decide = MessageCommand::Decide { ruling, grounds, not_before: None };
    let id = message_of(activity);
    app.ledger
        .order::<Message>(call.organization, id, call.command_id, call.at, &call.origin, None, decide)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_explanation_remembers_who_let_it_go_after_it_ended() {
    let company = Company::allowing(&["*"]).await;
    store_secret(&company).await;
    // By a person.
    let agent = company.agent().await;
    let (_, asked) = post(&agent, "send", company.mail("ann@example.com")).await;
    let approve = format!("approvals/{}/approve", text(&asked["approvalId"]));
    let (status, answer) =
        post(&company.board, &approve, json!({ "contentHash": asked["contentHash"] })).await;
    assert_eq!(status, 200, "{answer}");
    // By a rule.
    let rule = company.approve_by_itself().await;
    let queued = company.send(company.mail("bob@example.com")).await;
    for activity in [&asked, &queued] {
        decide(&company, activity, Ruling::BlockedByQuota(Reason::DailyCap)).await;
        let (_, shown) = get(&company.board, &of(activity, "")).await;
        assert_eq!(came_to(&shown), ("blocked_by_quota", Some("daily_cap")));
        assert!(shown["approvedAt"].is_string(), "{shown}");
        assert_eq!(shown["approvedBy"].is_string(), activity["id"] == asked["id"], "{shown}");
    }
    let (said, _) = explained(&company, &queued).await;
    let named = format!("Approval rule {} let it go without a person, in its version 1.", text(&rule["id"]));
    assert!(said.contains(&named) && said.contains("It was blocked at"), "{said}");
    let (said, _) = explained(&company, &asked).await;
    assert!(said.contains("No approval rule matched") && said.contains("was given by"), "{said}");
}

#[tokio::test]
async fn a_new_send_is_promised_nothing_that_a_send_would_not_get() {
    let company = Company::allowing(&["*"]).await;
    let prospect = async |activity: &Value| {
        let now = explained(&company, activity).await.1;
        (text(&now["wouldBe"]), now["reason"].as_str().map(str::to_owned), text(&now["sentence"]))
    };
    let change = async |method: Method, path: &str, body: Value| {
        let (status, answer) = ask(&company.board, method, path, body).await;
        assert!(status < 300, "{answer}");
    };
    company.approve_by_itself().await;
    let over = company.send(company.mail("ann@example.com")).await;
    decide(&company, &over, Ruling::BlockedByQuota(Reason::DailyCap)).await;
    let against = |would_be: &str, reason: &str| (would_be.to_owned(), Some(reason.to_owned()));
    let met = async || {
        let (would_be, reason, sentence) = prospect(&over).await;
        assert!(sentence.starts_with("A new send would "), "{sentence}");
        (would_be, reason)
    };
    assert_eq!(met().await, against("failed", "secret_missing"));
    store_secret(&company).await;
    let (would_be, reason, sentence) = prospect(&over).await;
    assert_eq!((would_be.as_str(), reason), ("handed_over", None), "{sentence}");

    change(Method::POST, "pause", json!({ "reason": "audit" })).await;
    assert_eq!(met().await, against("held_back", "paused"));
    change(Method::POST, "resume", json!({})).await;

    let outbox = format!("outboxes/{}", company.outbox);
    change(Method::PATCH, &outbox, json!({ "dailyCap": 0 })).await;
    assert_eq!(met().await, against("blocked", "daily_cap"));
    change(Method::PATCH, &outbox, json!({ "dailyCap": null })).await;

    // One that went out counts, as it would against a new one.
    let lost = company.send(company.mail("ann@example.com")).await;
    lose(&company, &lost).await;
    let app = &company.app.app;
    let organization = company.board.organization;
    let call = docket::service::Call::of_system(app, organization, "test");
    let cap = SendingControlCommand::CapFrequency { cap: Some(FrequencyCap { messages: 1, days: 7 }) };
    let control = organization.sending_control();
    app.ledger
        .order::<SendingControl>(organization, control, call.command_id, call.at, &call.origin, None, cap)
        .await
        .unwrap();
    assert_eq!(met().await, against("blocked", "frequency_cap"));
}

#[tokio::test]
async fn other_words_ask_another_question() {
    let company = Company::allowing(&["*"]).await;
    let agent = company.agent().await;
    let (_, sent) = post(&agent, "send", company.mail("ann@example.com")).await;
    let words = |text: &str| json!({ "payload": { "subject": "Hello", "text": text } });

    let (status, revised) = post(&agent, &of(&sent, "/revise"), words("Other words.")).await;
    assert_eq!(status, 200, "{revised}");
    assert_eq!((&revised["id"], &revised["to"]), (&sent["id"], &sent["to"]));
    assert_ne!(revised["contentHash"], sent["contentHash"]);
    assert_ne!(revised["approvalId"], sent["approvalId"]);
    assert_eq!(came_to(&revised), ("draft_pending_approval", None));
    let (_, shown) = get(&agent, &of(&sent, "")).await;
    assert_eq!(
        (&shown["payload"]["text"], &shown["approvalId"]),
        (&json!("Other words."), &revised["approvalId"])
    );
    assert_eq!(approval(&company, &sent).await, ApprovalStatus::Superseded);
    assert_eq!(approval(&company, &revised).await, ApprovalStatus::Pending);

    // The same words again change nothing.
    let before = positions(&company.board).await;
    let (status, again) = post(&agent, &of(&sent, "/revise"), words("Other words.")).await;
    assert_eq!((status, &again["approvalId"]), (200, &revised["approvalId"]));
    assert_eq!(positions(&company.board).await, before);

    for (client, body, status, code) in [
        (&company.board, words("Third words."), 403, "NOT_THE_DRAFTER"),
        (&agent, json!({ "payload": { "subject": "Hello" } }), 400, "VALIDATION_FAILED"),
        (&agent, json!({ "payload": null }), 400, "VALIDATION_FAILED"),
        (&agent, json!({ "payload": {}, "to": "bob@example.com" }), 400, "VALIDATION_FAILED"),
    ] {
        let answer = post(client, &of(&sent, "/revise"), body.clone()).await;
        assert_eq!(refused(&answer), (status, code), "{body}");
    }
    let stranger = company.agent().await;
    let answer = post(&stranger, &of(&sent, "/revise"), words("Third words.")).await;
    assert_eq!(refused(&answer), (404, "ACTIVITY_NOT_FOUND"));
    assert_eq!(positions(&company.board).await, before);

    // Its time is over, whether or not somebody closed it already.
    company.app.clock.advance(OPEN_FOR_MILLIS);
    let answer = post(&agent, &of(&sent, "/revise"), words("Third words.")).await;
    assert_eq!(refused(&answer), (422, "APPROVAL_EXPIRED"));
    assert_eq!(positions(&company.board).await, before);
}

#[tokio::test]
async fn other_words_are_judged_by_what_is_true_now() {
    let company = Company::allowing(&["ann@example.com"]).await;
    let words = |text: &str| json!({ "payload": { "subject": "Hello", "text": text } });
    let first = company.send(company.mail("ann@example.com")).await;
    let second = company.send(company.mail("ann@example.com")).await;
    company.approve_by_itself().await;
    let (_, let_go) = post(&company.board, &of(&first, "/revise"), words("Other words.")).await;
    assert_eq!((&let_go["dispatchState"], &let_go["approvalId"]), (&json!("queued"), &Value::Null));
    assert_eq!(approval(&company, &first).await, ApprovalStatus::Superseded);
    let answer = post(&company.board, &of(&first, "/revise"), words("Third words.")).await;
    assert_eq!(refused(&answer), (422, "ILLEGAL_TRANSITION"));

    let entries = json!({ "entries": ["ann@example.com"] });
    assert_eq!(ask(&company.board, Method::DELETE, "allowlist", entries).await.0, 200);
    let (_, blocked) = post(&company.board, &of(&second, "/revise"), words("Other words.")).await;
    assert_eq!(came_to(&blocked), ("blocked_by_allowlist", Some("allowlist_empty")));
    assert_eq!(approval(&company, &second).await, ApprovalStatus::Superseded);
}

#[tokio::test]
async fn what_nobody_knows_is_settled_by_a_persons_word() {
    let company = Company::allowing(&["*"]).await;
    store_secret(&company).await;
    company.approve_by_itself().await;
    let key = json!("f".repeat(64));
    let keyed = company.mail_with("ann@example.com", "clientDedupKey", key);
    let settle = |outcome: &str| json!({ "outcome": outcome, "evidence": "The provider's log says so." });

    let sent = company.send(keyed.clone()).await;
    let bucket = lose(&company, &sent).await;
    let (said, now) = explained(&company, &sent).await;
    assert!(said.contains("nobody can tell whether it was sent"), "{said}");
    assert_eq!(now["wouldBe"], "under_way");
    // It keeps its key meanwhile.
    assert_eq!(company.send(keyed.clone()).await["id"], sent["id"]);
    assert_eq!(counts(&company, bucket, &sent).await, (true, true));

    let (status, settled) = post(&company.board, &of(&sent, "/settle"), settle("failed")).await;
    assert_eq!((status, came_to(&settled)), (200, ("failed", Some("settled_as_failed"))), "{settled}");
    assert_eq!(settled["detail"], "The provider's log says so.");
    assert_eq!(counts(&company, bucket, &sent).await, (false, false));
    let answer = post(&company.board, &of(&sent, "/settle"), settle("sent")).await;
    assert_eq!(refused(&answer), (422, "NOT_UNKNOWN"));

    // The key is free again, and what was sent keeps its charge.
    let again = company.send(keyed).await;
    assert_ne!(again["id"], sent["id"]);
    let bucket = lose(&company, &again).await;
    let (status, settled) = post(&company.board, &of(&again, "/settle"), settle("sent")).await;
    assert_eq!((status, came_to(&settled)), (200, ("sent", None)), "{settled}");
    assert!(settled["sentAt"].is_string());
    assert_eq!(counts(&company, bucket, &again).await, (true, true));
}

#[tokio::test]
async fn an_explanation_has_the_channels_own_words_wherever_the_message_stands() {
    let default = Script::default;
    for (script, state, told) in [
        (
            Script { rcpt: Reply::Say("451 4.3.0 try later please"), ..default() },
            "retrying",
            "the mail server answered 451 4.3.0 try later please.",
        ),
        (
            Script { text: Reply::Say("354 go on"), ..default() },
            "unknown",
            "the mail server answered the mail with 354, which says nothing of it.",
        ),
        (
            Script { text: Reply::Say("554 5.7.1 no"), ..default() },
            "done",
            "the mail server answered 554 5.7.1 no.",
        ),
    ] {
        let company = Company::allowing(&["*"]).await;
        company.approve_by_itself().await;
        let server = MailServer::start(script).await;
        let _dispatcher = company.app.dispatch(company.board.organization, server.address).await;
        let sent = company.send(company.mail("ann@example.com")).await;
        eventually(state, || async {
            let (_, activity) = get(&company.board, &of(&sent, "")).await;
            (activity["dispatchState"] == state).then_some(())
        })
        .await;
        let (said, _) = explained(&company, &sent).await;
        assert!(said.contains(&format!("It was told: {told}")), "{said}");
        assert!(!said.contains("no answer came"), "{said}");
    }
}

/// Its recipient answers a message by mail.
async fn answered(company: &Company, activity: &Value) {
    let message = message_of(activity).uuid();
    let incoming = Incoming {
        reference: Some(Reference { organization: company.board.organization, message }),
        kind: Kind::Reply { text: Some("Come on Tuesday.".into()), stop: false },
        from: None,
        message_id: Some("r-1".into()),
    };
    assert_eq!(docket::hearing::mail::take(&company.app.app, incoming).await, Verdict::Kept);
}

#[tokio::test]
async fn what_was_held_to_have_failed_was_sent_if_its_recipient_answers() {
    let company = Company::allowing(&["*"]).await;
    store_secret(&company).await;
    company.approve_by_itself().await;
    let failed = json!({ "outcome": "failed", "evidence": "It is not in the provider's log." });
    // The key of the second one stands for another message by then.
    for (to, taken) in [("ann@example.com", false), ("bob@example.com", true)] {
        let key = json!(to[..1].repeat(64));
        let keyed = company.mail_with(to, "clientDedupKey", key);
        let sent = company.send(keyed.clone()).await;
        let bucket = lose(&company, &sent).await;
        let handed_over = company.app.clock.now();
        assert_eq!(post(&company.board, &of(&sent, "/settle"), failed.clone()).await.0, 200);
        let stands = if taken { company.send(keyed.clone()).await } else { sent.clone() };
        assert_eq!(counts(&company, bucket, &sent).await, (false, false));

        company.app.clock.advance(3_600_000);
        for _ in 0..2 {
            answered(&company, &sent).await;
            let (_, now) = get(&company.board, &of(&sent, "")).await;
            assert_eq!((came_to(&now), &now["delivery"]), (("sent", None), &json!("replied")), "{now}");
            assert_eq!(now["sentAt"], json!(handed_over));
            assert_eq!(counts(&company, bucket, &sent).await, (true, true));
        }
        let (said, _) = explained(&company, &sent).await;
        let told = format!("Its channel took it at {handed_over}. It was answered.");
        assert!(said.contains(&told) && !said.contains("failed"), "{said}");
        assert_eq!(company.send(keyed.clone()).await["id"], stands["id"]);
        if taken {
            // Whatever becomes of the other one, what was sent with the key is not sent a second time.
            decide(&company, &stands, Ruling::Fail(Reason::OutboxDeleted)).await;
            let again = company.send(keyed).await;
            assert_eq!((&again["id"], &again["deduplicated"]), (&sent["id"], &json!(true)));
        }
    }
}

#[tokio::test]
async fn only_what_is_unknown_is_settled_and_only_by_the_board() {
    let company = Company::allowing(&["*"]).await;
    let waiting = company.send(company.mail("ann@example.com")).await;
    let settle = json!({ "outcome": "sent", "evidence": "Seen." });
    let answer = post(&company.board, &of(&waiting, "/settle"), settle.clone()).await;
    assert_eq!(refused(&answer), (422, "NOT_UNKNOWN"));
    let answer = post(&company.board, &format!("activities/{NOTHING}/settle"), settle.clone()).await;
    assert_eq!(refused(&answer), (404, "ACTIVITY_NOT_FOUND"));
    for body in [
        json!({ "outcome": "lost", "evidence": "Seen." }),
        json!({ "outcome": "sent" }),
        json!({ "outcome": "sent", "evidence": "" }),
    ] {
        assert_eq!(post(&company.board, &of(&waiting, "/settle"), body).await.0, 400);
    }
    let organization = company.board.organization;
    for role in [Role::Agent, Role::Auditor, Role::Viewer] {
        let client = company.app.client(role, organization).await;
        assert_eq!(post(&client, &of(&waiting, "/settle"), settle.clone()).await.0, 403, "{role:?}");
    }
    let auditor = company.app.client(Role::Auditor, organization).await;
    assert_eq!(get(&auditor, &of(&waiting, "/explain")).await.0, 200);
    assert_eq!(post(&auditor, &of(&waiting, "/revise"), json!({ "payload": {} })).await.0, 403);
    let agent = company.agent().await;
    assert_eq!(get(&agent, &of(&waiting, "/explain")).await.0, 404);
}

async fn store_secret(company: &Company) {
    let path = format!("/api/companies/{}/secrets/smtp", company.board.organization);
    let secret = json!({ "value": "smtp://user:password@mail.example.com:587" }).to_string();
    let stored = company.board.send(Method::PUT, &path, &[super::JSON], secret.into_bytes()).await.unwrap();
    assert!(stored.0 < 300, "{stored:?}");
}

async fn approval(company: &Company, activity: &Value) -> ApprovalStatus {
    let id: ApprovalId = text(&activity["approvalId"]).parse().unwrap();
    let organization = company.board.organization;
    company.app.app.ledger.load::<Approval>(organization, id).await.unwrap().state.status()
}

fn message_of(activity: &Value) -> MessageId {
    text(&activity["id"]).parse().unwrap()
}

/// Hands a queued message over as the dispatcher does, and loses the answer.
async fn lose(company: &Company, activity: &Value) -> BucketId {
    let app = &company.app.app;
    let organization: OrganizationId = company.board.organization;
    let message_id = message_of(activity);
    let at = app.clock.now();
    let ledger = &app.ledger;
    let message = ledger.load::<Message>(organization, message_id).await.unwrap();
    let credential_id = organization.credential("smtp");
    let credential = ledger.load::<Credential>(organization, credential_id).await.unwrap();
    let opened = credential.state.decide(CredentialCommand::OpenDay { credential_id, at }).unwrap();
    let day = credential.state.day_at(at).unwrap();
    let bucket_id = organization.bucket(credential_id, Channel::Email, day.number);
    let bucket = ledger.load::<Bucket>(organization, bucket_id).await.unwrap();
    let charged = bucket
        .state
        .decide(BucketCommand::Charge {
            bucket_id,
            credential_id,
            channel: Channel::Email,
            day,
            cap: None,
            message_ids: vec![message_id],
            at,
        })
        .unwrap();
    let counted_id = organization.correspondence(message.state.recipient_hash().unwrap());
    let counted = ledger.load::<Correspondence>(organization, counted_id).await.unwrap();
    let cap = FrequencyCap { messages: 9, days: 1 };
    let count =
        counted.state.decide(CorrespondenceCommand::Count { message_id, cap: Some(cap), at }).unwrap();
    let sending = message
        .state
        .decide(MessageCommand::Send { bucket_id, provider_key: message_id.to_string(), keyed: None, at })
        .unwrap();
    let call = docket::service::Call::of_system(app, organization, "test");
    let writes =
        vec![credential.write(opened), bucket.write(charged), counted.write(count), message.write(sending)];
    ledger.append(call.command(writes, vec![], None)).await.unwrap();

    let call = docket::service::Call::of_system(app, organization, "test");
    let outcome = Outcome::Unknown { code: "no_answer".into(), answer: None };
    let record = MessageCommand::Record { attempt: 1, outcome, at, jitter: 0 };
    ledger
        .order::<Message>(organization, message_id, call.command_id, at, &call.origin, None, record)
        .await
        .unwrap();
    bucket_id
}

/// Whether a message is charged, and whether it counts to what its recipient got.
async fn counts(company: &Company, bucket: BucketId, activity: &Value) -> (bool, bool) {
    let organization = company.board.organization;
    let ledger = &company.app.app.ledger;
    let message_id = message_of(activity);
    let charged = ledger.load::<Bucket>(organization, bucket).await.unwrap().state.holds(message_id);
    let message = ledger.load::<Message>(organization, message_id).await.unwrap();
    let counted_id = organization.correspondence(message.state.recipient_hash().unwrap());
    let counted = ledger.load::<Correspondence>(organization, counted_id).await.unwrap();
    let uncount = CorrespondenceCommand::Uncount { message_id };
    let counted = !counted.state.decide(uncount).unwrap().is_empty();
    (charged, counted)
}
