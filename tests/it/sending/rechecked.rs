//! What let a message go is looked at again when it is handed over: what the board says of its words, the niche of its
//! outbox, the module.

use docket::channels::Secret;
use docket::pauses;
use docket::secrets;
use docket::sending::explaining::explain;
use docket::service::Call;
use docket_aggregates::ids::MessageId;
use docket_aggregates::sending_control::PauseScope;
use hyper::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::frequency::template;
use super::{Company, ask, came_to, get, post, text};
use crate::channels::mail_server::{MailServer, Script};
use crate::support::eventually;

const WORDS: &str = "A word about your roof.";

impl Company {
    /// A piece whose words the board vouches for.
    async fn piece(&self, name: &str) -> Value {
        let piece = json!({
            "title": "Hello", "sourcePath": format!("{name}.md"), "sourceSha256": "0".repeat(64),
            "textSha256": hex::encode(Sha256::digest(WORDS)), "tags": ["good"], "niche": "renovation",
        });
        let (status, piece) = post(&self.board, "content-pieces", piece).await;
        assert_eq!(status, 201, "{piece}");
        piece["id"].clone()
    }

    async fn pause(&self) {
        assert_eq!(post(&self.board, "pause", json!({ "reason": "a test" })).await.0, 200);
    }

    async fn resume(&self) {
        let call = Call::of_system(&self.app.app, self.board.organization, "test");
        pauses::resume(&self.app.app, &call, PauseScope::All).await.unwrap();
    }

    /// That the rules in force, tried out on everything that was decided, would have done the same, so often.
    async fn same_rules_differ_in_nothing(&self, rules: Value, decisions: usize) {
        let now = self.app.clock.now();
        let (from, to) = (now.plus_millis(-60_000), now.plus_millis(60_000));
        let body = json!({ "from": from, "to": to, "candidateRules": rules });
        let (status, told) = post(&self.board, "approval-rules/simulate", body).await;
        assert_eq!(status, 200, "{told}");
        assert_eq!((&told["decisions"], &told["examples"]), (&json!(decisions), &json!([])), "{told}");
    }

    /// An outbox of Cal.com, whose bookings are made by themselves.
    async fn bookings(&self) -> String {
        let body =
            json!({ "channel": "cal-com", "niche": null, "secretRef": "secret://smtp:latest", "config": {} });
        let (status, outbox) = post(&self.board, "outboxes", body).await;
        assert_eq!(status, 201, "{outbox}");
        let rule = json!({ "predicate": { "channel": "cal-com" }, "action": "auto_approve", "priority": 1 });
        assert_eq!(post(&self.board, "approval-rules", rule).await.0, 201);
        text(&outbox["id"])
    }

    /// The activity once nothing happens to it by itself any more: it is over, or a person is asked.
    async fn at_rest(&self, activity: &Value) -> (String, String) {
        let path = format!("activities/{}", text(&activity["id"]));
        eventually("what becomes of a message", async || {
            let (_, shown) = get(&self.board, &path).await;
            let dispatch = text(&shown["dispatchState"]);
            ["none", "done"].contains(&dispatch.as_str()).then(|| (text(&shown["status"]), dispatch))
        })
        .await
    }
}

/// A booking that tells this number.
fn booking(outbox: &str, number: &str) -> Value {
    json!({
        "channel": "cal-com", "outboxId": outbox, "to": "ann@example.com",
        "payload": {
            "eventTypeId": 7, "start": "2030-01-01T09:00:00Z", "timeZone": "Europe/Paris", "phoneNumber": number,
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_that_the_board_does_not_vouch_for_any_more_wait_for_a_person() {
    let server = MailServer::start(Script::default()).await;
    let company = Company::allowing(&["@example.com"]).await;
    let rule = json!({ "predicate": { "tags": ["good"] }, "action": "auto_approve", "priority": 1 });
    assert_eq!(post(&company.board, "approval-rules", rule.clone()).await.0, 201);
    company.pause().await;
    let changes = [
        ("kept", Method::PATCH, json!({ "summary": "Roofs." }), ("sent", "done")),
        ("deleted", Method::DELETE, Value::Null, ("draft_pending_approval", "none")),
        (
            "other words",
            Method::PATCH,
            json!({ "textSha256": "1".repeat(64) }),
            ("draft_pending_approval", "none"),
        ),
        ("other tags", Method::PATCH, json!({ "tags": ["new"] }), ("draft_pending_approval", "none")),
        ("another title", Method::PATCH, json!({ "title": "Bye" }), ("draft_pending_approval", "none")),
    ];
    let mut waiting = Vec::new();
    for (number, (name, method, change, expected)) in changes.into_iter().enumerate() {
        let piece = company.piece(&format!("piece{number}")).await;
        let to = format!("p{number}@example.com");
        let queued = company.send(company.mail_with(&to, "contentPieceId", piece.clone())).await;
        assert_eq!(queued["dispatchState"], json!("queued"), "{name}");
        let path = format!("content-pieces/{}", text(&piece));
        assert_eq!(ask(&company.board, method, &path, change).await.0, 200, "{name}");
        waiting.push((name, queued, expected));
    }
    let _dispatcher = company.app.dispatch(company.board.organization, server.address).await;
    company.resume().await;
    for (name, queued, (status, dispatch)) in waiting {
        let came_to = company.at_rest(&queued).await;
        assert_eq!((came_to.0.as_str(), came_to.1.as_str()), (status, dispatch), "{name}");
        let (_, told) = get(&company.board, &format!("activities/{}/explain", text(&queued["id"]))).await;
        let (reason, why) = match name {
            "kept" => (Value::Null, "let it go without a person"),
            "deleted" => (
                json!("content_piece_gone"),
                "The approval rules were not asked, because the content piece that its words are from was taken out of \
                 use; a person was asked.",
            ),
            _ => (Value::Null, "No approval rule matched, so that a person was asked."),
        };
        assert_eq!(told["reason"], reason, "{name}");
        assert!(told["sentences"][0].as_str().unwrap().contains(why), "{name}: {told}");
    }
    // Five drafts, and the three of them that the rules were asked of once more.
    company.same_rules_differ_in_nothing(json!([rule]), 8).await;
    assert_eq!(server.mails().len(), 1);
    let asked = get(&company.board, "approvals?status=pending").await.1;
    assert_eq!(asked.as_array().map(Vec::len), Some(4), "{asked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_new_send_would_meet_is_told_by_what_is_said_of_its_words_now() {
    let server = MailServer::start(Script::default()).await;
    let company = Company::allowing(&["@example.com"]).await;
    let rule = json!({ "predicate": { "tags": ["good"] }, "action": "auto_approve", "priority": 1 });
    assert_eq!(post(&company.board, "approval-rules", rule).await.0, 201);
    let _dispatcher = company.app.dispatch(company.board.organization, server.address).await;
    let outbox = format!("outboxes/{}", company.outbox);
    assert_eq!(ask(&company.board, Method::PATCH, &outbox, json!({ "dailyCap": 0 })).await.0, 200);
    let piece = company.piece("piece").await;
    let mail = || company.mail_with("ann@example.com", "contentPieceId", piece.clone());
    let blocked = company.send(mail()).await;
    assert_eq!(company.at_rest(&blocked).await.0, "blocked_by_quota");
    assert_eq!(ask(&company.board, Method::PATCH, &outbox, json!({ "dailyCap": null })).await.0, 200);
    let piece_path = format!("content-pieces/{}", text(&piece));
    for (method, change, would_be, becomes, reason) in [
        (Method::PATCH, json!({ "summary": "Roofs." }), "handed_over", Some("sent"), Value::Null),
        (Method::PATCH, json!({ "tags": ["new"] }), "asked", Some("draft_pending_approval"), Value::Null),
        (Method::DELETE, Value::Null, "failed", None, json!("content_piece_gone")),
    ] {
        assert_eq!(ask(&company.board, method, &piece_path, change).await.0, 200);
        let (_, told) = get(&company.board, &format!("activities/{}/explain", text(&blocked["id"]))).await;
        assert_eq!((&told["now"]["wouldBe"], &told["now"]["reason"]), (&json!(would_be), &reason), "{told}");
        // And so it is.
        let (status, sent) = post(&company.board, "send", mail()).await;
        match becomes {
            Some(becomes) => assert_eq!(company.at_rest(&sent).await.0, becomes),
            None => assert_eq!((status, &sent["code"]), (422, &json!("CONTENT_PIECE_DELETED"))),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_words_for_a_piece_that_is_gone_are_read_by_a_person() {
    let server = MailServer::start(Script::default()).await;
    let company = Company::allowing(&["@example.com"]).await;
    company.approve_by_itself().await;
    company.pause().await;
    let agent = company.agent().await;
    let piece = company.piece("piece").await;
    let mail = company.mail_with("ann@example.com", "contentPieceId", piece.clone());
    let (_, queued) = post(&agent, "send", mail).await;
    assert_eq!(queued["dispatchState"], json!("queued"), "{queued}");
    let path = format!("content-pieces/{}", text(&piece));
    assert_eq!(ask(&company.board, Method::DELETE, &path, Value::Null).await.0, 200);
    let _dispatcher = company.app.dispatch(company.board.organization, server.address).await;
    company.resume().await;
    assert_eq!(company.at_rest(&queued).await, ("draft_pending_approval".into(), "none".into()));

    let path = format!("activities/{}", text(&queued["id"]));
    let asked = text(&get(&company.board, &path).await.1["approvalId"]);
    let note = json!({ "note": "Without the offer, please." });
    let (status, answer) = post(&company.board, &format!("approvals/{asked}/request-revision"), note).await;
    assert_eq!(status, 200, "{answer}");
    let words = json!({ "payload": { "subject": "Hello", "text": "Other words." } });
    let (status, revised) = post(&agent, &format!("{path}/revise"), words).await;
    assert_eq!(status, 200, "{revised}");
    // The rule that lets everything go is not asked.
    let expected = ("draft_pending_approval", Some("content_piece_gone"));
    assert_eq!((came_to(&revised), &revised["dispatchState"]), (expected, &json!("none")));
    assert_eq!((server.mails().len(), revised["approvalId"] == json!(asked)), (0, false));
    let approve = format!("approvals/{}/approve", text(&revised["approvalId"]));
    let (status, answer) =
        post(&company.board, &approve, json!({ "contentHash": revised["contentHash"] })).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(company.at_rest(&queued).await.0, "sent");
    let mails = server.mails();
    assert!(mails.len() == 1 && mails[0].contains("Other words."), "{mails:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outbox_of_another_niche_does_not_let_go_what_the_old_one_did() {
    let server = MailServer::start(Script::default()).await;
    let company = Company::allowing(&["@example.com"]).await;
    let rule = json!({ "predicate": { "niche": "renovation" }, "action": "auto_approve", "priority": 1 });
    assert_eq!(post(&company.board, "approval-rules", rule.clone()).await.0, 201);
    company.pause().await;
    let queued = company.send(company.mail("ann@example.com")).await;
    assert_eq!(queued["dispatchState"], json!("queued"));
    let path = format!("outboxes/{}", company.outbox);
    assert_eq!(ask(&company.board, Method::PATCH, &path, json!({ "niche": null })).await.0, 200);
    let _dispatcher = company.app.dispatch(company.board.organization, server.address).await;
    company.resume().await;
    let came_to = company.at_rest(&queued).await;
    assert_eq!((came_to.0.as_str(), came_to.1.as_str()), ("draft_pending_approval", "none"));
    assert_eq!(server.mails().len(), 0);
    company.same_rules_differ_in_nothing(json!([rule]), 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_module_is_off_nothing_goes_out_and_then_it_goes_on() {
    let server = MailServer::start(Script::default()).await;
    let company = Company::allowing(&["@example.com"]).await;
    company.approve_by_itself().await;
    let (app, organization) = (&company.app, company.board.organization);
    // Somebody else's mail says that the dispatcher had a look.
    let other = Company::begin(company.app.clone(), &["@example.com"]).await;
    other.approve_by_itself().await;
    company.pause().await;
    let queued = company.send(company.mail("ann@example.com")).await;
    app.switch_module(organization, false).await;
    company.resume().await;
    let _dispatchers = [
        app.dispatch(organization, server.address).await,
        app.dispatch(other.board.organization, server.address).await,
    ];
    for number in 0..3 {
        let probe = other.send(other.mail(&format!("p{number}@example.com"))).await;
        assert_eq!(other.at_rest(&probe).await.0, "sent");
    }
    let id: MessageId = text(&queued["id"]).parse().unwrap();
    let told = explain(&app.app, organization, id, app.clock.now()).await.unwrap();
    assert_eq!((told.now.would_be, told.now.reason), ("held_back", Some("module_off")));
    let why = "It is held back now, because the outbound CRM module is switched off for the company.";
    assert_eq!(told.now.sentence, why);
    assert_eq!((told.dispatch_state.name(), server.mails().len()), ("queued", 3));
    app.switch_module(organization, true).await;
    assert_eq!(company.at_rest(&queued).await.0, "sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_of_a_booking_is_judged_like_its_address() {
    let server = MailServer::start(Script::default()).await;
    let company = Company::allowing(&["@example.com"]).await;
    let outbox = company.bookings().await;
    company.pause().await;
    let booking = |number: &str| booking(&outbox, number);
    let (status, answer) = post(&company.board, "send", booking("06 12 34 56 78")).await;
    let told = (&answer["details"][0]["path"], &answer["details"][0]["code"]);
    assert_eq!((status, told), (400, (&json!("payload.phoneNumber"), &json!("INVALID_PHONE"))), "{answer}");

    // The domain allows the address, and nobody allowed the number.
    let sent = company.send(booking("+33 6 12 34 56 78")).await;
    assert_eq!(came_to(&sent), ("blocked_by_allowlist", Some("not_on_allowlist")));
    company.allow(&["+33612345678", "+33612345679"]).await;
    let suppressed = company.send(booking("+33 6 12 34 56 78")).await;
    let other = company.send(booking("+33612345679")).await;
    assert_eq!((&suppressed["dispatchState"], &other["dispatchState"]), (&json!("queued"), &json!("queued")));

    // Its owner wants no more while a booking waits.
    let body = json!({ "address": "+33612345678", "reason": "manual" });
    assert_eq!(post(&company.board, "suppressions", body).await.0, 201);
    let _dispatcher = company.app.dispatch(company.board.organization, server.address).await;
    company.resume().await;
    assert_eq!(company.at_rest(&suppressed).await, ("blocked_by_allowlist".into(), "done".into()));
    let (_, told) = get(&company.board, &format!("activities/{}/explain", text(&suppressed["id"]))).await;
    assert_eq!(
        (&told["reason"], &told["now"]["reason"]),
        (&json!("suppressed"), &json!("suppressed")),
        "{told}"
    );
    let sent = company.send(booking("+33612345678")).await;
    assert_eq!(came_to(&sent), ("blocked_by_allowlist", Some("suppressed")));
    // The other one was handed over: nobody listens where the test's provider would be.
    let path = format!("activities/{}", text(&other["id"]));
    eventually("the other booking's call", async || {
        let (_, shown) = get(&company.board, &path).await;
        (shown["attempts"].as_u64() > Some(0)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_booked_at_the_number_of_somebody_who_is_left_alone() {
    let server = MailServer::start(Script::default()).await;
    let company = Company::allowing(&["@example.com", "+33612345678", "+33612345679"]).await;
    let outbox = company.bookings().await;
    company.contact("bob@example.org", "+33612345678").await;
    let call = Call::of_system(&company.app.app, company.board.organization, "test");
    secrets::store(&company.app.app, &call, "smtp", &Secret::new("a key".into())).await.unwrap();
    let waiting = company.send(booking(&outbox, "+33 6 12 34 56 78")).await;
    assert_eq!(waiting["dispatchState"], json!("queued"));

    // Bob is to be left alone, and nobody spoke of his number.
    let body = json!({ "address": "bob@example.org", "reason": "manual" });
    assert_eq!(post(&company.board, "suppressions", body).await.0, 201);
    let blocked = ("blocked_by_allowlist", Some("do_not_contact"));
    let explain = format!("activities/{}/explain", text(&waiting["id"]));
    let (_, told) = get(&company.board, &explain).await;
    assert_eq!((&told["status"], &told["now"]["reason"]), (&waiting["status"], &json!(blocked.1)), "{told}");
    assert_eq!(came_to(&company.send(booking(&outbox, "+33612345678")).await), blocked);
    let rehearsal = |number: &str| {
        let mut rehearsal = booking(&outbox, number);
        rehearsal["channel"] = json!("dry-run");
        rehearsal
    };
    for (number, expected) in [
        ("+33612345678", blocked),
        ("+33612345670", ("blocked_by_allowlist", Some("not_on_allowlist"))),
        ("+33612345679", ("sent_dryrun", None)),
    ] {
        let rehearsed = company.send(rehearsal(number)).await;
        assert_eq!(came_to(&rehearsed), expected, "{number}");
        let (_, told) = get(&company.board, &format!("activities/{}/explain", text(&rehearsed["id"]))).await;
        assert_eq!(told["now"]["reason"], json!(expected.1), "{number}: {told}");
    }
    let (status, answer) = post(&company.board, "send", rehearsal("06 12 34 56 78")).await;
    let told = (&answer["details"][0]["path"], &answer["details"][0]["code"]);
    assert_eq!((status, told), (400, (&json!("payload.phoneNumber"), &json!("INVALID_PHONE"))), "{answer}");

    let _dispatcher = company.app.dispatch(company.board.organization, server.address).await;
    assert_eq!(company.at_rest(&waiting).await, ("blocked_by_allowlist".into(), "done".into()));
    let (_, told) = get(&company.board, &explain).await;
    assert_eq!(told["reason"], json!("do_not_contact"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shares_a_mailbox_or_a_number_with_somebody_who_is_left_alone_is_not_written_to_there() {
    let server = MailServer::start(Script::default()).await;
    let company = Company::allowing(&["@example.com", "+33612345600"]).await;
    company.approve_by_itself().await;
    let whatsapp = company.whatsapp().await;
    // Each by the order in which they came: who is left alone is once the older one and once the younger.
    for (email, number) in [
        ("ann+news@example.com", "+33612345601"),
        ("ann@example.com", "+33612345602"),
        ("eve+b@example.com", "+33612345603"),
        ("eve@example.com", "+33612345604"),
        ("older@example.com", "+33612345600"),
        ("younger@example.org", "+33612345600"),
    ] {
        company.contact(email, number).await;
    }
    let call = Call::of_system(&company.app.app, company.board.organization, "test");
    secrets::store(&company.app.app, &call, "smtp", &Secret::new("a key".into())).await.unwrap();
    let addresses = ["ann+news@example.com", "ann+other@example.com", "eve@example.com", "eve+c@example.com"];
    let mut waiting = Vec::new();
    for to in addresses {
        let queued = company.send(company.mail(to)).await;
        assert_eq!(queued["dispatchState"], json!("queued"), "{to}");
        waiting.push(queued);
    }
    let mut kept = company.send(company.mail("older@example.com")).await;
    assert_eq!(kept["dispatchState"], json!("queued"));

    // Nobody speaks of the addresses that are written to.
    for (address, reason) in
        [("+33612345602", "manual"), ("+33612345603", "unsubscribe"), ("younger@example.org", "manual")]
    {
        let body = json!({ "address": address, "reason": reason });
        assert_eq!(post(&company.board, "suppressions", body).await.0, 201, "{address}");
    }
    let blocked = ("blocked_by_allowlist", Some("do_not_contact"));
    for to in addresses {
        assert_eq!(came_to(&company.send(company.mail(to)).await), blocked, "{to}");
    }
    let at_the_number = company.send(template(&whatsapp, "+33612345600")).await;
    assert_eq!(came_to(&at_the_number), blocked);
    let _dispatcher = company.app.dispatch(company.board.organization, server.address).await;
    for queued in &waiting {
        assert_eq!(company.at_rest(queued).await.0, blocked.0, "{queued}");
    }
    // The one who shares the number alone is written to by mail.
    assert_eq!(company.at_rest(&kept).await.0, "sent");
    kept = company.send(company.mail("older@example.com")).await;
    assert_eq!(company.at_rest(&kept).await.0, "sent");
    assert_eq!(server.mails().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_drafted_before_its_contact_was_there_is_not_sent_once_that_is_left_alone() {
    let server = MailServer::start(Script::default()).await;
    let company = Company::allowing(&["@example.com"]).await;
    company.approve_by_itself().await;
    let mut waiting = Vec::new();
    for to in ["bob@example.com", "bob+news@example.com", "eve@example.com"] {
        let queued = company.send(company.mail(to)).await;
        assert_eq!(
            (&queued["dispatchState"], &queued["contactId"]),
            (&json!("queued"), &Value::Null),
            "{to}"
        );
        waiting.push(queued);
    }
    company.contact("bob@example.com", "+33612345678").await;
    company.contact("eve@example.com", "+33612345679").await;

    // Bob is to be left alone, and nobody spoke of his address.
    let body = json!({ "address": "+33612345678", "reason": "manual" });
    assert_eq!(post(&company.board, "suppressions", body).await.0, 201);
    let call = Call::of_system(&company.app.app, company.board.organization, "test");
    secrets::store(&company.app.app, &call, "smtp", &Secret::new("a key".into())).await.unwrap();
    let left_alone = json!("do_not_contact");
    for (queued, reason) in waiting.iter().zip([&left_alone, &left_alone, &Value::Null]) {
        let (_, told) = get(&company.board, &format!("activities/{}/explain", text(&queued["id"]))).await;
        assert_ne!(told["now"]["wouldBe"], json!("over"), "{told}");
        assert_eq!(told["now"]["reason"] == left_alone, *reason == left_alone, "{told}");
    }

    let _dispatcher = company.app.dispatch(company.board.organization, server.address).await;
    let blocked = ("blocked_by_allowlist".to_owned(), "done".to_owned());
    for (queued, came_to) in waiting.iter().zip([&blocked, &blocked, &("sent".to_owned(), "done".to_owned())])
    {
        assert_eq!(&company.at_rest(queued).await, came_to);
        let (_, shown) = get(&company.board, &format!("activities/{}", text(&queued["id"]))).await;
        assert_eq!(shown["reason"] == left_alone, *came_to == blocked, "{shown}");
    }
    assert_eq!(server.mails().len(), 1);
}
