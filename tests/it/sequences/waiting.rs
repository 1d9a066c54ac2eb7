//! A step that was drafted and waits, for a person, for its channel or for a retry, when its contact is led no further.

use docket::dispatcher::Running;
use docket::ledger::Origin;
use docket::sending::explaining::{Explanation, explain};
use docket_aggregates::contact::{Contact, ContactCommand};
use docket_aggregates::ids::{ContactId, MessageId};
use docket_aggregates::message::{
    Delivery, DispatchState, Grounds, Message, MessageCommand, MessageStatus, Outcome, Reason, Ruling,
};
use hyper::Method;
use serde_json::{Value, json};
use sqlx::Row;

use super::stopping::{message, stopped};
use super::{Company, HOUR, MINUTE, ask, eventually, get, post, text};
use crate::channels::mail_server::{MailServer, Reply, Script};

impl Company {
    async fn dispatch(&self, server: &MailServer) -> Running {
        self.app.dispatch(self.organization(), server.address).await
    }

    async fn resume(&self) {
        assert_eq!(post(&self.client, "resume", json!({})).await.0, 200);
    }

    /// The second step of each enrollment, drafted while sending is paused.
    async fn waiting(&self) -> (String, Vec<Value>, Vec<MessageId>) {
        let (id, firsts) = self.under_way().await;
        self.pass(HOUR).await;
        let enrollments = self.enrollments(&id).await;
        let seconds: Vec<MessageId> = enrollments.iter().map(message).collect();
        assert!(firsts.iter().map(message).all(|first| !seconds.contains(&first)));
        (id, firsts, seconds)
    }

    /// A first step that its channel had not taken when its quota was used up, and the try that followed. A person is asked
    /// about that one, or it waits for its channel.
    async fn tried_again(&self, asked: bool) -> (String, MessageId, MessageId) {
        self.approve_and_hold().await;
        let id = self.sequence(vec![self.mail(0), self.mail(60)]).await;
        self.enroll(&id).await;
        self.rest().await;
        let first = message(&self.enrollments(&id).await[0]);
        let outcome = Outcome::Retry { code: "unavailable".into(), answer: None, not_before: None };
        self.came_to(first, outcome).await;
        let ruling = Ruling::BlockedByQuota(Reason::DailyCap);
        let decide = MessageCommand::Decide { ruling, grounds: Grounds::default(), not_before: None };
        self.tell(first, decide).await;
        if asked {
            self.ask_about_all().await;
        }
        self.rest().await;
        self.pass(6 * HOUR).await;
        let second = message(&self.enrollments(&id).await[0]);
        assert_ne!(first, second);
        (id, first, second)
    }

    /// From here on a person is asked about every message.
    async fn ask_about_all(&self) {
        let rules = get(&self.client, "approval-rules").await.1;
        let rule = format!("approval-rules/{}", text(&rules[0]["id"]));
        assert_eq!(ask(&self.client, Method::DELETE, &rule, Value::Null).await.0, 200);
    }

    async fn message(&self, id: MessageId) -> std::sync::Arc<Message> {
        self.app.app.ledger.load::<Message>(self.organization(), id).await.unwrap().state
    }

    async fn stands(&self, id: MessageId, status: MessageStatus, reason: Option<&str>) {
        eventually("what becomes of a message", async || {
            let message = self.message(id).await;
            let over = message.dispatch_state() == DispatchState::Done;
            over.then(|| assert_eq!((message.status(), message.reason()), (status, reason)))
        })
        .await;
    }

    async fn explained(&self, id: MessageId) -> Explanation {
        explain(&self.app.app, self.organization(), id, self.app.clock.now()).await.unwrap()
    }

    async fn open_charges(&self) -> i64 {
        let claims = "SELECT count(*) FROM ledger.claims WHERE scope = 'quota_charge'";
        sqlx::query_scalar(claims).fetch_one(&self.pool).await.unwrap()
    }
}

const OVER: Option<&str> = Some("sequence_stopped");
const HAS: Option<&str> = Some("step_sent");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_its_channel_is_not_sent_once_its_contact_is_led_no_further() {
    let server = MailServer::start(Script::default()).await;
    let company = Company::of(5).await;
    let (id, firsts, seconds) = company.waiting().await;
    company.reported(message(&firsts[0]), Delivery::Replied).await;
    company.reported(message(&firsts[1]), Delivery::Bounced).await;
    company.reported(message(&firsts[2]), Delivery::Complained).await;
    let stop = format!("sequences/{id}/enrollments/{}/stop", text(&firsts[3]["id"]));
    assert_eq!(post(&company.client, &stop, Value::Null).await.0, 200);
    company.rest().await;
    let _dispatcher = company.dispatch(&server).await;
    company.resume().await;
    for second in &seconds[..4] {
        company.stands(*second, MessageStatus::Failed, OVER).await;
    }
    company.stands(seconds[4], MessageStatus::Sent, None).await;
    assert_eq!(server.mails().len(), 1);
    let told = company.explained(seconds[0]).await;
    let why = "because its contact is not led through its sequence any more";
    assert!(told.explanation.contains(why), "{}", told.explanation);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_not_sent_once_its_sequence_is_archived_or_its_campaign_over() {
    for campaign in [false, true] {
        let server = MailServer::start(Script::default()).await;
        let company = Company::of(2).await;
        let (id, _, seconds) = company.waiting().await;
        if campaign {
            let archive = json!({ "campaignId": company.campaign, "patch": { "status": "completed" } });
            company.client.done("update_outbound_campaign", archive).await;
        } else {
            assert_eq!(company.patch(&id, json!({ "status": "archived" })).await.0, 200);
        }
        let _dispatcher = company.dispatch(&server).await;
        company.resume().await;
        for second in &seconds {
            company.stands(*second, MessageStatus::Failed, OVER).await;
        }
        assert_eq!(server.mails().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_not_asked_any_more_about_a_step_whose_contact_answered() {
    let company = Company::of(1).await;
    let (id, firsts) = company.under_way().await;
    company.ask_about_all().await;
    company.pass(HOUR).await;
    let second = message(&company.enrollments(&id).await[0]);
    let asked = get(&company.client, "approvals?status=pending").await.1;
    assert_eq!(asked[0]["activityId"], json!(second), "{asked}");

    company.reported(message(&firsts[0]), Delivery::Replied).await;
    company.rest().await;
    assert_eq!(stopped(&company.enrollments(&id).await[0]), ("stopped", "replied", 2));
    company.stands(second, MessageStatus::Failed, OVER).await;
    assert_eq!(get(&company.client, "approvals?status=pending").await.1, json!([]));
    let approve = format!("approvals/{}/approve", text(&asked[0]["id"]));
    let answer = post(&company.client, &approve, json!({ "contentHash": asked[0]["contentHash"] })).await;
    assert_eq!(answer.0, 409, "{}", answer.1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_tried_again_is_given_up_and_refunded_once_its_contact_answered() {
    let busy = Script { rcpt: Reply::Say("450 4.7.1 greylisted"), ..Script::default() };
    let server = MailServer::start(busy).await;
    let company = Company::of(1).await;
    let (_, firsts, seconds) = company.waiting().await;
    let _dispatcher = company.dispatch(&server).await;
    company.resume().await;
    eventually("a try", async || {
        (company.message(seconds[0]).await.dispatch_state() == DispatchState::Retrying).then_some(())
    })
    .await;
    assert_eq!(company.open_charges().await, 1);
    company.reported(message(&firsts[0]), Delivery::Replied).await;
    let told = company.explained(seconds[0]).await;
    assert_eq!((told.now.would_be, told.now.reason), ("failed", OVER));
    company.pass(HOUR).await;
    company.stands(seconds[0], MessageStatus::Failed, OVER).await;
    assert_eq!((company.open_charges().await, company.message(seconds[0]).await.attempts()), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_rests_with_its_sequence_and_goes_on_with_it() {
    let server = MailServer::start(Script::default()).await;
    let company = Company::of(2).await;
    let (id, _, seconds) = company.waiting().await;
    assert_eq!(company.patch(&id, json!({ "status": "paused" })).await.0, 200);
    let _dispatcher = company.dispatch(&server).await;
    company.resume().await;
    // Something else goes out meanwhile, so that the steps had their turn.
    let mail = json!({
        "channel": "email", "outboxId": company.outbox, "to": "else@example.com",
        "payload": { "subject": "Hello", "text": "A word." },
    });
    let (status, other) = post(&company.client, "send", mail).await;
    assert_eq!(status, 200, "{other}");
    company.stands(text(&other["id"]).parse().unwrap(), MessageStatus::Sent, None).await;
    for second in &seconds {
        let told = company.explained(*second).await;
        assert_eq!((told.now.would_be, told.now.reason), ("held_back", Some("sequence_paused")));
        assert_eq!(company.message(*second).await.attempts(), 0);
    }
    assert_eq!(company.patch(&id, json!({ "status": "active" })).await.0, 200);
    for second in &seconds {
        company.stands(*second, MessageStatus::Sent, None).await;
    }
    assert_eq!(server.mails().len(), 3);
}

/// Of every second step: whether it was handed over after the answer to the first was recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_step_is_handed_over_after_an_answer_was_recorded() {
    let server = MailServer::start(Script::default()).await;
    let company = Company::of(60).await;
    let (_, firsts, seconds) = company.waiting().await;
    let _dispatcher = company.dispatch(&server).await;
    let answering = async {
        for first in &firsts {
            company.reported(message(first), Delivery::Replied).await;
        }
    };
    tokio::join!(company.resume(), answering);
    for second in &seconds {
        eventually("what becomes of a step", async || {
            (company.message(*second).await.dispatch_state() == DispatchState::Done).then_some(())
        })
        .await;
    }
    let late = sqlx::query(
        "SELECT count(*), count(*) FILTER (WHERE sent.position > told.position) \
         FROM ledger.events told \
         JOIN ledger.events first ON first.event_type = 'StepTaken' AND first.payload->>'message_id' = told.aggregate_id \
         JOIN ledger.events second ON second.event_type = 'StepTaken' AND second.aggregate_id = first.aggregate_id \
             AND (second.payload->>'step')::int = 2 \
         LEFT JOIN ledger.events sent ON sent.event_type = 'MessageSending' \
             AND sent.aggregate_id = second.payload->>'message_id' \
         WHERE told.event_type = 'DeliveryReported' AND told.payload->>'delivery' = 'replied'",
    )
    .fetch_one(&company.pool)
    .await
    .unwrap();
    assert_eq!((late.get::<i64, _>(0), late.get::<i64, _>(1)), (60, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_a_mail_in_between_stops_the_sequence_too() {
    let company = Company::of(2).await;
    let (id, firsts) = company.under_way().await;
    let listed =
        company.client.done("list_outbound_contacts", json!({ "campaignId": company.campaign })).await;
    let contacts = listed["contacts"].as_array().unwrap();
    let of = |contact: &Value| contacts.iter().find(|row| row["contactId"] == *contact).unwrap();
    let mail = json!({
        "channel": "email", "outboxId": company.outbox, "to": of(&firsts[0]["contactId"])["email"],
        "payload": { "subject": "Hello", "text": "A word by hand." },
    });
    let (status, by_hand) = post(&company.client, "send", mail).await;
    assert_eq!((status, &by_hand["contactId"]), (200, &firsts[0]["contactId"]), "{by_hand}");
    let by_hand: MessageId = text(&by_hand["id"]).parse().unwrap();
    company.sent(by_hand).await;
    company.reported(by_hand, Delivery::Replied).await;
    company.pass(2 * HOUR).await;
    let came_to = company.enrollments(&id).await;
    let came_to: Vec<_> = came_to.iter().map(stopped).collect();
    assert_eq!(came_to, [("stopped", "replied", 1), ("active", "", 2)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_module_is_off_no_step_is_taken_and_then_it_goes_on() {
    let company = Company::of(2).await;
    let id = company.sequence(vec![company.rehearsal(60)]).await;
    company.enroll(&id).await;
    company.app.switch_module(company.organization(), false).await;
    company.app.clock.advance(2 * HOUR);
    for _ in 0..2 {
        let turned = docket::sequences::runner::turn(&company.app.app).await.unwrap();
        assert_eq!(turned.looked_at, 0);
    }
    assert_eq!(company.taken().await, []);
    company.app.switch_module(company.organization(), true).await;
    company.rest().await;
    assert_eq!(company.taken().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_was_sent_after_all_is_not_sent_again() {
    for asked in [false, true] {
        let server = MailServer::start(Script::default()).await;
        let company = Company::of(1).await;
        let (id, first, second) = company.tried_again(asked).await;
        let waits = company.message(second).await.dispatch_state();
        assert_eq!(waits, if asked { DispatchState::None } else { DispatchState::Queued });
        company.reported(first, Delivery::Delivered).await;
        company.rest().await;
        company.stands(second, MessageStatus::Failed, HAS).await;
        assert_eq!(company.message(first).await.status(), MessageStatus::Sent);
        assert_eq!(get(&company.client, "approvals?status=pending").await.1, json!([]));
        // The next step counts from the report, and not from the try that was needless.
        company.pass(59 * MINUTE).await;
        assert_eq!(company.taken().await.len(), 2);
        company.pass(MINUTE).await;
        let steps: Vec<i64> = company.taken().await.into_iter().map(|(_, step, _)| step).collect();
        assert_eq!((steps, company.counts(&id).await), (vec![1, 1, 2], (1, 0, 0)));
        let _dispatcher = company.dispatch(&server).await;
        company.resume().await;
        if !asked {
            let third = message(&company.enrollments(&id).await[0]);
            company.stands(third, MessageStatus::Sent, None).await;
        }
        assert_eq!(server.mails().len(), usize::from(!asked));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_is_tried_again_is_given_up_and_refunded_once_it_was_sent_after_all() {
    let busy = Script { rcpt: Reply::Say("450 4.7.1 greylisted"), ..Script::default() };
    let server = MailServer::start(busy).await;
    let company = Company::of(1).await;
    let (_, first, second) = company.tried_again(false).await;
    let _dispatcher = company.dispatch(&server).await;
    company.resume().await;
    eventually("a try", async || {
        (company.message(second).await.dispatch_state() == DispatchState::Retrying).then_some(())
    })
    .await;
    assert_eq!(company.open_charges().await, 1);
    company.reported(first, Delivery::Delivered).await;
    let told = company.explained(second).await;
    assert_eq!((told.now.would_be, told.now.reason), ("failed", HAS));
    company.pass(30 * MINUTE).await;
    company.stands(second, MessageStatus::Failed, HAS).await;
    assert_eq!((company.open_charges().await, company.message(second).await.attempts()), (0, 1));
}

/// Of every second step: whether it was handed over after its contact was to be left alone, which was said of none of the
/// addresses that it goes to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_step_is_handed_over_to_a_contact_that_is_left_alone() {
    let server = MailServer::start(Script::default()).await;
    let company = Company::of(60).await;
    let (_, firsts, seconds) = company.waiting().await;
    let _dispatcher = company.dispatch(&server).await;
    let ledger = &company.app.app.ledger;
    let leave = async |firsts: &[Value]| {
        for first in firsts {
            let contact: ContactId = text(&first["contactId"]).parse().unwrap();
            let suppress = ContactCommand::Suppress { address_hash: "another".into() };
            let (id, now) = (company.app.app.clock.mint(), company.app.clock.now());
            let (organization, origin) = (company.organization(), Origin::system("test"));
            ledger.order::<Contact>(organization, contact, id, now, &origin, None, suppress).await.unwrap();
        }
    };
    let (before, meanwhile) = firsts.split_at(10);
    leave(before).await;
    tokio::join!(company.resume(), leave(meanwhile));
    for second in &seconds {
        eventually("what becomes of a step", async || {
            (company.message(*second).await.dispatch_state() == DispatchState::Done).then_some(())
        })
        .await;
    }
    let (told, late, kept): (i64, i64, i64) = sqlx::query_as(
        "SELECT count(*), count(*) FILTER (WHERE sent.position > told.position), \
             count(*) FILTER (WHERE sent.position IS NULL) \
         FROM ledger.events told \
         JOIN ledger.events drafted ON drafted.event_type = 'MessageDrafted' \
             AND drafted.payload->>'contact_id' = told.aggregate_id AND (drafted.payload->>'step')::int = 2 \
         LEFT JOIN ledger.events sent ON sent.event_type = 'MessageSending' \
             AND sent.aggregate_id = drafted.aggregate_id \
         WHERE told.event_type = 'ContactSuppressed'",
    )
    .fetch_one(&company.pool)
    .await
    .unwrap();
    assert_eq!((told, late), (60, 0));
    assert!(kept >= 10, "{kept}");
}
