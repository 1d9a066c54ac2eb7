//! What stops a sequence: an answer, an opt-out, a bounce, a removal, an order. Nothing is sent after it was acknowledged.

use docket::channels::Reference;
use docket::channels::email::incoming::{Incoming, Kind};
use docket::channels::email::lmtp::Verdict;
use docket::contacts;
use docket::ledger::Origin;
use docket::sending::SendRequest;
use docket::service::Call;
use docket_aggregates::channel::Channel;
use docket_aggregates::correspondence::{Correspondence, CorrespondenceCommand, Heard};
use docket_aggregates::ids::{BucketId, ContactId, MessageId};
use docket_aggregates::message::{Delivery, Message, MessageCommand, Outcome};
use docket_aggregates::token::Role;
use hyper::Method;
use serde_json::{Value, json};
use sqlx::Row;

use super::{Company, HOUR, NOTHING, ask, get, import, post, refused, text};
use crate::channels::mail_server::{MailServer, Script};
use crate::support::eventually;

impl Company {
    pub(super) async fn tell(&self, message: MessageId, command: MessageCommand) {
        let app = &self.app.app;
        let (id, now, origin) = (app.clock.mint(), app.clock.now(), Origin::system("test"));
        app.ledger
            .order::<Message>(self.organization(), message, id, now, &origin, None, command)
            .await
            .unwrap();
    }

    /// Says that a channel took a message, as a dispatcher would.
    pub(super) async fn sent(&self, message: MessageId) {
        self.came_to(message, Outcome::Accepted { provider_hash: None, answer: None }).await;
    }

    /// Says what a channel answered to a message, as a dispatcher would.
    pub(super) async fn came_to(&self, message: MessageId, outcome: Outcome) {
        let at = self.app.clock.now();
        let provider_key = message.to_string();
        let send = MessageCommand::Send { bucket_id: BucketId::default(), provider_key, keyed: None, at };
        self.tell(message, send).await;
        self.tell(message, MessageCommand::Record { attempt: 1, outcome, at, jitter: 0 }).await;
    }

    pub(super) async fn reported(&self, message: MessageId, delivery: Delivery) {
        let at = self.app.clock.now();
        self.tell(message, MessageCommand::Report { delivery, at, detail: None }).await;
    }

    /// Says that somebody wrote to us from an address, as a provider would.
    async fn wrote(&self, address: &str, contact: ContactId, at: docket_aggregates::Timestamp) {
        let app = &self.app.app;
        let keys = app.ledger.keys().organization(self.organization()).await.unwrap();
        let address_hash = contacts::address_hash(&keys, address);
        let stream = self.organization().correspondence(&address_hash);
        let hear = CorrespondenceCommand::Hear(Heard {
            channel: Channel::Whatsapp,
            at,
            notice_hash: None,
            address_hash,
            contact_id: Some(contact),
        });
        let (id, now, origin) = (app.clock.mint(), app.clock.now(), Origin::system("test"));
        app.ledger
            .order::<Correspondence>(self.organization(), stream, id, now, &origin, None, hear)
            .await
            .unwrap();
    }

    /// Two e-mails an hour apart; the first one was sent to everybody. Gives the sequence and its enrollments.
    pub(super) async fn under_way(&self) -> (String, Vec<Value>) {
        self.approve_and_hold().await;
        let id = self.sequence(vec![self.mail(0), self.mail(60), self.mail(60)]).await;
        self.enroll(&id).await;
        self.rest().await;
        let enrollments = self.enrollments(&id).await;
        for enrollment in &enrollments {
            self.sent(message(enrollment)).await;
        }
        self.rest().await;
        (id, enrollments)
    }
}

pub(super) fn message(enrollment: &Value) -> MessageId {
    text(&enrollment["activityId"]).parse().unwrap()
}

/// Why an enrollment was stopped, and after which step.
pub(super) fn stopped(enrollment: &Value) -> (&str, &str, u64) {
    (
        enrollment["state"].as_str().unwrap(),
        enrollment["because"].as_str().unwrap_or_default(),
        enrollment["step"].as_u64().unwrap(),
    )
}

#[tokio::test]
async fn a_step_waits_until_the_one_before_was_sent() {
    let company = Company::of(1).await;
    company.approve_and_hold().await;
    let id = company.sequence(vec![company.mail(0), company.mail(60)]).await;
    company.enroll(&id).await;
    company.pass(5 * HOUR).await;
    let enrollment = company.enrollments(&id).await.remove(0);
    assert_eq!((&enrollment["step"], &enrollment["nextStepAt"]), (&json!(1), &Value::Null));
    company.sent(message(&enrollment)).await;
    company.rest().await;
    let enrollment = company.enrollments(&id).await.remove(0);
    let due = company.app.clock.now().plus_millis(HOUR);
    assert_eq!((&enrollment["step"], &enrollment["nextStepAt"]), (&json!(1), &json!(due)));
    company.pass(HOUR).await;
    assert_eq!(company.enrollments(&id).await[0]["step"], json!(2));
}

#[tokio::test]
async fn an_answer_a_bounce_and_a_complaint_stop_it_and_an_arrival_does_not() {
    let company = Company::of(4).await;
    let (id, enrollments) = company.under_way().await;
    let reports = [Delivery::Replied, Delivery::Bounced, Delivery::Complained, Delivery::Delivered];
    for (enrollment, delivery) in enrollments.iter().zip(reports) {
        company.reported(message(enrollment), delivery).await;
    }
    company.rest().await;
    assert_eq!(company.counts(&id).await, (1, 3, 0));
    company.pass(2 * HOUR).await;
    let enrollments = company.enrollments(&id).await;
    let came_to: Vec<_> = enrollments.iter().map(stopped).collect();
    assert_eq!(
        came_to,
        [
            ("stopped", "replied", 1),
            ("stopped", "bounced", 1),
            ("stopped", "complained", 1),
            ("active", "", 2)
        ]
    );
}

#[tokio::test]
async fn an_answer_to_an_earlier_message_stops_it_too() {
    let company = Company::of(1).await;
    let (id, enrollments) = company.under_way().await;
    let first = message(&enrollments[0]);
    company.pass(HOUR).await;
    let second = message(&company.enrollments(&id).await[0]);
    assert_ne!(first, second);
    company.sent(second).await;
    company.reported(first, Delivery::Replied).await;
    company.pass(2 * HOUR).await;
    assert_eq!(stopped(&company.enrollments(&id).await[0]), ("stopped", "replied", 2));
}

#[tokio::test]
async fn a_word_that_quotes_nothing_ends_every_sequence_that_waits_for_its_writer() {
    let row = |n: usize| format!("Name{n},contact{n}@example.com,+3361234567{n}\n");
    let rows: String = (0..4).map(row).collect();
    let company = Company::with(format!("First name,Email,Phone\n{rows}")).await;
    let (one, enrollments) = company.under_way().await;
    let other = company.sequence(vec![company.mail(0), company.mail(60)]).await;
    company.enroll(&other).await;
    company.rest().await;
    for enrollment in company.enrollments(&other).await {
        company.sent(message(&enrollment)).await;
    }
    company.rest().await;

    let now = company.app.clock.now();
    let listed =
        company.client.done("list_outbound_contacts", json!({ "campaignId": company.campaign })).await;
    let address_of = |enrollment: &Value, phone: bool| {
        let contacts = listed["contacts"].as_array().unwrap();
        let email = contacts.iter().find(|row| row["contactId"] == enrollment["contactId"]).unwrap();
        let email = text(&email["email"]);
        if phone { format!("+3361234567{}", &email[7..8]) } else { email }
    };
    // By another channel; by the very address; before anything was sent to them; and nothing.
    for (place, phone, at) in [(0, true, now), (1, false, now), (2, true, now.plus_millis(-HOUR))] {
        let contact: ContactId = text(&enrollments[place]["contactId"]).parse().unwrap();
        company.wrote(&address_of(&enrollments[place], phone), contact, at).await;
    }
    company.pass(2 * HOUR).await;
    for sequence in [&one, &other] {
        let mut came_to: Vec<_> = Vec::new();
        for before in &enrollments {
            let now = company.enrollments(sequence).await;
            let now = now.iter().find(|now| now["contactId"] == before["contactId"]).unwrap();
            let (state, because, step) = stopped(now);
            came_to.push((state.to_owned(), because.to_owned(), step));
        }
        let row = |state: &str, because: &str, step| (state.to_owned(), because.to_owned(), step);
        let gone = row("stopped", "replied", 1);
        let on = row("active", "", 2);
        assert_eq!(came_to, [gone.clone(), gone, on.clone(), on]);
    }
}

impl Company {
    /// A mail that is none of a sequence, and was sent.
    async fn by_hand(&self, to: &str) -> MessageId {
        let app = &self.app.app;
        let call = Call::of_system(app, self.organization(), "test");
        let payload = json!({ "subject": "Hello", "text": "A word about your roof." });
        let request = SendRequest::new(Channel::Email, self.outbox.parse().unwrap(), to, payload);
        let message = docket::sending::draft(app, &call, request).await.unwrap().entity.id;
        self.sent(message).await;
        message
    }

    /// Answers a message by mail, as the mail server hands it over.
    async fn mailed(&self, message: MessageId, message_id: &str) {
        self.mailed_by(None, message, message_id).await;
    }

    /// The same with who says to have written it.
    async fn mailed_by(&self, from: Option<&str>, message: MessageId, message_id: &str) {
        let incoming = Incoming {
            reference: Some(Reference { organization: self.organization(), message: message.uuid() }),
            kind: Kind::Reply { text: Some("I have decided against it.".into()), stop: false },
            from: from.map(Into::into),
            message_id: Some(message_id.into()),
        };
        assert_eq!(docket::hearing::mail::take(&self.app.app, incoming).await, Verdict::Kept);
    }
}

#[tokio::test]
async fn a_mail_in_answer_to_whatever_was_sent_before_stops_it() {
    let company = Company::of(4).await;
    company.approve_and_hold().await;
    let tagged = company.by_hand("contact3+roofs@example.com").await;
    let answered = company.by_hand("contact0@example.com").await;
    let bounced = company.by_hand("contact1@example.com").await;
    let once = company.by_hand("contact2@example.com").await;
    // Nobody had this address when it was written to.
    let stranger = company.by_hand("late@example.com").await;
    import(&company.client, "First name,Email\nLate,late@example.com\n".to_owned()).await;
    let add =
        json!({ "campaignId": company.campaign, "filter": { "source": "crm" }, "maxContacts": 100_000 });
    company.client.done("bulk_add_contacts_to_campaign_by_filter", add).await;
    company.mailed(answered, "r-1").await;
    company.mailed(tagged, "r-6").await;
    company.reported(bounced, Delivery::Bounced).await;
    company.mailed(once, "r-2").await;

    company.pass(HOUR).await;
    let id = company.sequence(vec![company.mail(0), company.mail(60)]).await;
    company.enroll(&id).await;
    company.rest().await;
    for enrollment in company.enrollments(&id).await {
        company.sent(message(&enrollment)).await;
    }
    company.rest().await;
    company.app.clock.advance(HOUR / 2);
    company.mailed(answered, "r-3").await;
    company.mailed(tagged, "r-7").await;
    company.mailed(bounced, "r-4").await;
    company.mailed(stranger, "r-5").await;
    // Handed over again, it says nothing new.
    company.mailed(once, "r-2").await;
    company.pass(2 * HOUR).await;

    let listed =
        company.client.done("list_outbound_contacts", json!({ "campaignId": company.campaign })).await;
    let enrollments = company.enrollments(&id).await;
    let mut came_to: Vec<_> = enrollments
        .iter()
        .map(|enrollment| {
            let mut contacts = listed["contacts"].as_array().unwrap().iter();
            let contact = contacts.find(|row| row["contactId"] == enrollment["contactId"]).unwrap();
            (contact["email"].as_str().unwrap(), stopped(enrollment))
        })
        .collect();
    came_to.sort_unstable();
    let gone = ("stopped", "replied", 1);
    assert_eq!(
        came_to,
        [
            ("contact0@example.com", gone),
            ("contact1@example.com", gone),
            ("contact2@example.com", ("active", "", 2)),
            ("contact3@example.com", gone),
            ("late@example.com", gone),
        ]
    );
}

/// The mail was passed on in a firm: both are talked to by a person from then on.
#[tokio::test]
async fn who_answers_what_somebody_else_got_is_led_no_further_either() {
    let company = Company::of(3).await;
    company.approve_and_hold().await;
    let id = company.sequence(vec![company.mail(0), company.mail(60)]).await;
    company.enroll(&id).await;
    company.rest().await;
    let by_hand = company.by_hand("desk@example.com").await;
    for enrollment in company.enrollments(&id).await {
        company.sent(message(&enrollment)).await;
    }
    company.rest().await;
    company.app.clock.advance(HOUR / 2);
    company.mailed_by(Some("Contact1@example.com"), by_hand, "r-1").await;
    company.mailed_by(Some("nobody@example.com"), by_hand, "r-2").await;
    company.pass(2 * HOUR).await;
    let enrollments = company.enrollments(&id).await;
    let mut came_to: Vec<_> = enrollments.iter().map(stopped).collect();
    came_to.sort_unstable();
    assert_eq!(came_to, [("active", "", 2), ("active", "", 2), ("stopped", "replied", 1)]);

    // Nothing is kept of the word of somebody who is led through nothing.
    let heard =
        "SELECT count(DISTINCT aggregate_id) FROM ledger.events WHERE event_type = 'CorrespondentHeard'";
    let heard: i64 = sqlx::query_scalar(heard).fetch_one(company.app.app.ledger.pool()).await.unwrap();
    assert_eq!(heard, 2, "the desk and the contact");
}

#[tokio::test]
async fn who_answers_what_went_to_another_tag_of_their_mailbox_is_led_no_further_either() {
    for from in [Some("desk@example.com"), None] {
        let company = Company::of(1).await;
        company.approve_and_hold().await;
        let staff = "First name,Email\nDesk,desk@example.com\nRoofs,desk+roofs@example.com\n";
        import(&company.client, staff.to_owned()).await;
        let add =
            json!({ "campaignId": company.campaign, "filter": { "source": "crm" }, "maxContacts": 100_000 });
        company.client.done("bulk_add_contacts_to_campaign_by_filter", add).await;
        let id = company.sequence(vec![company.mail(0), company.mail(60)]).await;
        company.enroll(&id).await;
        company.rest().await;
        let mut tagged = None;
        for enrollment in company.enrollments(&id).await {
            let sent = message(&enrollment);
            let drafted = company.app.app.ledger.load::<Message>(company.organization(), sent).await.unwrap();
            let to = &drafted.state.content().unwrap().to;
            tagged = tagged.or((to == "desk+roofs@example.com").then_some(sent));
            company.sent(sent).await;
        }
        company.rest().await;
        company.app.clock.advance(HOUR / 2);
        company.mailed_by(from, tagged.unwrap(), "r-1").await;
        company.pass(2 * HOUR).await;
        let enrollments = company.enrollments(&id).await;
        let mut came_to: Vec<_> = enrollments.iter().map(stopped).collect();
        came_to.sort_unstable();
        let gone = ("stopped", "replied", 1);
        assert_eq!(came_to, [("active", "", 2), gone, gone], "{from:?}");
    }
}

/// Whoever answers is talked to by a person from then on: which of our messages they answered makes no difference.
#[tokio::test]
async fn an_answer_to_an_old_message_of_another_sequence_ends_every_one_that_is_under_way() {
    let company = Company::of(1).await;
    company.approve_and_hold().await;
    let first = company.sequence(vec![company.mail(0)]).await;
    company.enroll(&first).await;
    company.rest().await;
    let old = message(&company.enrollments(&first).await[0]);
    company.sent(old).await;
    company.pass(30 * 24 * HOUR).await;
    assert_eq!(company.counts(&first).await, (0, 0, 1));

    let later = [
        company.sequence(vec![company.mail(0), company.mail(60)]).await,
        company.sequence(vec![company.mail(24 * 60)]).await,
    ];
    for id in &later {
        company.enroll(id).await;
    }
    company.rest().await;
    company.sent(message(&company.enrollments(&later[0]).await[0])).await;
    company.rest().await;
    company.mailed(old, "r-1").await;
    company.pass(48 * HOUR).await;
    let came_to = [company.enrollments(&later[0]).await, company.enrollments(&later[1]).await].concat();
    let came_to: Vec<_> = came_to.iter().map(stopped).collect();
    assert_eq!(came_to, [("stopped", "replied", 1), ("stopped", "replied", 0)]);
    assert_eq!(company.counts(&first).await, (0, 0, 1), "what is over stays as it was");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_on_another_channel_is_not_handed_over_after_an_answer_by_mail() {
    let company = Company::of(1).await;
    let rule = |channel: &str| json!({ "predicate": { "channel": channel }, "action": "auto_approve", "priority": 1 });
    assert_eq!(post(&company.client, "approval-rules", rule("email")).await.0, 201);
    // Nobody had this address when it was written to: the message is for no contact.
    let mailed = company.by_hand("late@example.com").await;
    let ada = "ACoAAAcDMMQBODyLwZrRcgYhrkCafURGqva0Ada";
    let file = format!("First name,Email,linkedin\nLate,late@example.com,{ada}\n");
    import(&company.client, file).await;
    let add =
        json!({ "campaignId": company.campaign, "filter": { "source": "crm" }, "maxContacts": 100_000 });
    company.client.done("bulk_add_contacts_to_campaign_by_filter", add).await;
    let outbox = json!({
        "channel": "linkedin", "niche": null, "secretRef": "secret://smtp:latest", "config": { "accountId": "1" },
    });
    let (_, outbox) = post(&company.client, "outboxes", outbox).await;
    assert_eq!(post(&company.client, "allowlist", json!({ "entry": ada })).await.0, 201);
    let step = json!({ "outboxId": outbox["id"], "payload": { "kind": "message", "text": "Hello" } });

    // One of them waits for a person, and one for its channel.
    let asking = company.sequence(vec![step.clone()]).await;
    company.enroll(&asking).await;
    company.rest().await;
    assert_eq!(post(&company.client, "approval-rules", rule("linkedin")).await.0, 201);
    let queued = company.sequence(vec![step]).await;
    company.enroll(&queued).await;
    company.rest().await;
    let shown = async |sequence: &str| {
        let enrollment = company.enrollments(sequence).await.remove(0);
        let (_, activity) = get(&company.client, &format!("activities/{}", message(&enrollment))).await;
        let told = |field: &str| activity[field].as_str().unwrap_or_default().to_owned();
        let attempts = activity["attempts"].as_u64().unwrap();
        (told("status"), told("dispatchState"), told("reason"), attempts, told("approvalId"))
    };
    let approval = shown(&asking).await.4;
    assert_eq!((shown(&asking).await.1, shown(&queued).await.1), ("none".into(), "queued".into()));

    // No process looks at what is due: what was acknowledged holds for the hand-over by itself.
    company.app.clock.advance(HOUR);
    company.mailed(mailed, "r-1").await;
    let server = MailServer::start(Script::default()).await;
    let _dispatcher = company.app.dispatch(company.organization(), server.address).await;
    eventually("what becomes of the step that waited", async || {
        (shown(&queued).await.1 == "done").then_some(())
    })
    .await;
    let (status, _, reason, attempts, _) = shown(&queued).await;
    assert_eq!((status.as_str(), reason.as_str(), attempts), ("failed", "sequence_stopped", 0));

    // The next look ends both, and asks nobody any more.
    company.rest().await;
    for sequence in [&asking, &queued] {
        assert_eq!(stopped(&company.enrollments(sequence).await[0]), ("stopped", "replied", 1));
        let (status, _, reason, attempts, _) = shown(sequence).await;
        assert_eq!((status.as_str(), reason.as_str(), attempts), ("failed", "sequence_stopped", 0));
    }
    let (_, asked) = get(&company.client, &format!("approvals/{approval}")).await;
    assert_eq!(asked["status"], "superseded", "{asked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_is_approved_right_after_an_answer_to_a_mail_by_hand_is_not_sent() {
    let company = Company::of(2).await;
    let rule = json!({ "predicate": { "channel": "email" }, "action": "auto_approve", "priority": 1 });
    let (_, rule) = post(&company.client, "approval-rules", rule).await;
    let (first, second) =
        (company.by_hand("contact0@example.com").await, company.by_hand("contact1@example.com").await);
    let rule = format!("approval-rules/{}", text(&rule["id"]));
    assert_eq!(ask(&company.client, Method::DELETE, &rule, Value::Null).await.0, 200);
    // One of them had answered before, too.
    company.mailed(second, "r-0").await;
    company.app.clock.advance(HOUR);
    let id = company.sequence(vec![company.mail(0)]).await;
    company.enroll(&id).await;
    company.rest().await;
    let (_, asked) = get(&company.client, "approvals?status=pending").await;
    let asked = asked.as_array().unwrap();
    assert_eq!(asked.len(), 2, "{asked:?}");

    // No process looks at what is due between the answer and the hand-over.
    company.app.clock.advance(HOUR);
    let server = MailServer::start(Script::default()).await;
    let _dispatcher = company.app.dispatch(company.organization(), server.address).await;
    let board = company.app.client(Role::Board, company.organization()).await;
    company.mailed(first, "r-1").await;
    company.mailed(second, "r-2").await;
    for approval in asked {
        let path = format!("approvals/{}/approve", text(&approval["id"]));
        let (status, answer) = post(&board, &path, json!({ "contentHash": approval["contentHash"] })).await;
        if answer["code"] == "APPROVAL_SUPERSEDED" {
            // Whoever looks at what is due was faster.
            continue;
        }
        assert_eq!(status, 200, "{answer}");
        let path = format!("activities/{}", text(&approval["activityId"]));
        let came_to = eventually("what becomes of the step", async || {
            let (_, activity) = get(&board, &path).await;
            (activity["dispatchState"] == "done").then_some(activity)
        })
        .await;
        assert_eq!((&came_to["status"], &came_to["reason"]), (&json!("failed"), &json!("sequence_stopped")));
    }
    assert_eq!(server.mails().len(), 0);
}

#[tokio::test]
async fn whoever_opts_out_or_is_suppressed_gets_nothing_more() {
    let company = Company::of(3).await;
    let (id, enrollments) = company.under_way().await;
    let app = &company.app.app;
    let contact = text(&enrollments[0]["contactId"]).parse().unwrap();
    let call = Call::of_system(app, company.organization(), "test");
    contacts::opt_out(app, &call, contact, "unsubscribe").await.unwrap();
    let listed =
        company.client.done("list_outbound_contacts", json!({ "campaignId": company.campaign })).await;
    let other = listed["contacts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["contactId"] == enrollments[1]["contactId"])
        .unwrap();
    let body = json!({ "address": other["email"], "reason": "bounce" });
    let (status, answer) = post(&company.client, "suppressions", body).await;
    assert_eq!(status, 201, "{answer}");
    // Heard before the next step is due: else that step may be drafted all the same, and is refused as it is written.
    company.rest().await;
    company.pass(2 * HOUR).await;
    let came_to: Vec<_> = company.enrollments(&id).await;
    let came_to: Vec<_> = came_to.iter().map(stopped).collect();
    assert_eq!(came_to, [("stopped", "unsubscribed", 1), ("stopped", "bounced", 1), ("active", "", 2)]);
}

#[tokio::test]
async fn whoever_leaves_the_campaign_leaves_its_sequences() {
    let company = Company::of(2).await;
    let id = company.sequence(vec![company.rehearsal(0), company.rehearsal(60)]).await;
    company.enroll(&id).await;
    company.rest().await;
    let enrollments = company.enrollments(&id).await;
    let remove = json!({
        "campaignId": company.campaign, "contactIds": [enrollments[0]["contactId"]], "confirm": true,
    });
    company.client.done("bulk_remove_contacts_from_campaign", remove).await;
    company.pass(2 * HOUR).await;
    let came_to: Vec<_> = company.enrollments(&id).await;
    let came_to: Vec<_> = came_to.iter().map(stopped).collect();
    assert_eq!(came_to, [("stopped", "removed", 1), ("finished", "", 2)]);
}

#[tokio::test]
async fn an_archived_sequence_and_a_campaign_that_is_over_let_go_of_everybody() {
    let company = Company::of(2).await;
    let first = company.sequence(vec![company.rehearsal(60)]).await;
    let second = company.sequence(vec![company.rehearsal(60)]).await;
    for id in [&first, &second] {
        company.enroll(id).await;
    }
    company.patch(&first, json!({ "status": "archived" })).await;
    company.rest().await;
    let archive = json!({ "campaignId": company.campaign, "patch": { "status": "archived" } });
    let archived = company.client.done("update_outbound_campaign", archive).await;
    assert_eq!(archived["consequences"]["sequences"], json!(1), "one of the two still led somebody");
    company.pass(2 * HOUR).await;
    for (id, because) in [(&first, "archived"), (&second, "campaign_over")] {
        for enrollment in company.enrollments(id).await {
            assert_eq!(stopped(&enrollment), ("stopped", because, 0));
        }
    }
    assert_eq!(company.taken().await, []);
}

#[tokio::test]
async fn one_contact_is_taken_out_by_order() {
    let company = Company::of(2).await;
    let id = company.sequence(vec![company.rehearsal(60)]).await;
    company.enroll(&id).await;
    let enrollments = company.enrollments(&id).await;
    let path = format!("sequences/{id}/enrollments/{}/stop", text(&enrollments[0]["id"]));
    for _ in 0..2 {
        let (status, answer) = post(&company.client, &path, Value::Null).await;
        assert_eq!((status, stopped(&answer)), (200, ("stopped", "requested", 0)));
    }
    let unknown = format!("sequences/{id}/enrollments/{NOTHING}/stop");
    assert_eq!(refused(&post(&company.client, &unknown, Value::Null).await), (404, "ENROLLMENT_NOT_FOUND"));
    company.pass(2 * HOUR).await;
    assert_eq!(company.counts(&id).await, (0, 1, 1));
}

/// Of every enrollment: where it was stopped in the ledger by what happened, and where its steps stand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_step_is_recorded_after_an_answer_or_a_removal_was() {
    let company = Company::of(40).await;
    let (_, enrollments) = company.under_way().await;
    let second = company.app.another().await;
    company.app.clock.advance(HOUR);
    let answering = async {
        for enrollment in &enrollments[..20] {
            company.reported(message(enrollment), Delivery::Replied).await;
        }
    };
    let removing = async {
        for some in enrollments[20..].chunks(5) {
            let contacts: Vec<&Value> = some.iter().map(|enrollment| &enrollment["contactId"]).collect();
            let remove = json!({ "campaignId": company.campaign, "contactIds": contacts, "confirm": true });
            company.client.done("bulk_remove_contacts_from_campaign", remove).await;
        }
    };
    let stepping = async {
        for _ in 0..10 {
            docket::sequences::runner::turn(&second).await.unwrap();
        }
    };
    tokio::join!(answering, removing, stepping);
    company.rest().await;
    let late = sqlx::query(
        "WITH ends AS ( \
             SELECT s.aggregate_id AS enrollment, e.position FROM ledger.events e \
             JOIN ledger.events s ON s.event_type = 'StepTaken' AND s.payload->>'message_id' = e.aggregate_id \
             WHERE e.event_type = 'DeliveryReported' \
             UNION ALL \
             SELECT b.aggregate_id, e.position FROM ledger.events e \
             CROSS JOIN LATERAL jsonb_array_elements_text(e.payload->'contact_ids') AS c (id) \
             JOIN ledger.events b ON b.event_type = 'ContactEnrolled' AND b.payload->>'contact_id' = c.id \
             WHERE e.event_type = 'ContactsRemoved') \
         SELECT count(*), count(*) FILTER (WHERE t.position > ends.position) FROM ends \
         LEFT JOIN ledger.events t ON t.event_type = 'StepTaken' AND t.aggregate_id = ends.enrollment",
    )
    .fetch_one(&company.pool)
    .await
    .unwrap();
    assert!(late.get::<i64, _>(0) >= 40);
    assert_eq!(late.get::<i64, _>(1), 0, "steps were taken after what ends them");
}
