//! Mail by LMTP, over a socket, to the ledger.

use std::net::SocketAddr;

use docket::channels::email::incoming::{Incoming, Kind};
use docket::channels::email::lmtp::Verdict;
use docket::channels::{Code, Reference};
use docket::hearing::mail as heard;
use docket::ledger::{Stream, Write};
use docket::service::Call;
use docket_aggregates::Decides;
use docket_aggregates::approval::{Approval, ApprovalCommand, ApprovalStatus, OPEN_FOR_MILLIS};
use docket_aggregates::channel::Channel;
use docket_aggregates::correspondence::Correspondence;
use docket_aggregates::ids::{ApprovalId, MessageId, OutboxId};
use docket_aggregates::message::{
    Delivery, DispatchState, Grounds, Message, MessageCommand, MessageStatus, Outcome, Ruling,
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::fixtures::{self, mail};
use super::{Got, Story, sent};
use crate::support::PATIENCE;

const ADDRESS: &str = "ann@example.org";

/// A server that takes mail in, until it is dropped.
pub(super) struct Lmtp {
    address: SocketAddr,
    _ending: oneshot::Sender<()>,
}

impl Lmtp {
    pub(super) async fn start(story: &Story) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ending, ended) = oneshot::channel();
        tokio::spawn(heard::serve(story.app().clone(), listener, async {
            let _ = ended.await;
        }));
        Self { address, _ending: ending }
    }

    /// Hands one mail over, and gives the answers for its recipients.
    pub(super) async fn take(&self, sender: &str, recipients: &[&str], mail: &[u8]) -> Vec<String> {
        let mut said = format!("LHLO mx.example.com\r\nMAIL FROM:<{sender}>\r\n").into_bytes();
        for recipient in recipients {
            said.extend_from_slice(format!("RCPT TO:<{recipient}>\r\n").as_bytes());
        }
        said.extend_from_slice(b"DATA\r\n");
        said.extend_from_slice(mail);
        said.extend_from_slice(b"\r\n.\r\nQUIT\r\n");
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(&said).await.unwrap();
        let mut heard = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut heard)).await.unwrap().unwrap();
        let answers: Vec<String> = heard.lines().map(str::to_owned).collect();
        let data = answers.iter().position(|line| line.starts_with("354")).unwrap();
        answers[data + 1..answers.len() - 1].iter().map(|line| line[..3].to_owned()).collect()
    }
}

pub(super) async fn outbox(story: &Story) -> (Channel, OutboxId) {
    let config = json!({ "fromAddress": "ops@example.com", "returnPathDomain": "bounces.example.com" });
    (Channel::Email, story.outbox(Channel::Email, config).await)
}

fn return_path(reference: Reference) -> String {
    reference.return_path("bounces.example.com")
}

#[tokio::test]
async fn what_comes_back_is_told_apart() {
    use Delivery::{Bounced, Complained, Replied, Unknown};
    let story = Story::begin().await;
    let outbox = outbox(&story).await;
    let lmtp = Lmtp::start(&story).await;
    for (name, text, sender, to_return_path, delivery, reason) in [
        ("postfix", fixtures::POSTFIX_BOUNCE, "", true, Bounced, Some("bounce")),
        ("exchange", fixtures::EXCHANGE_BOUNCE, "", false, Bounced, Some("bounce")),
        ("a full mailbox", fixtures::FULL_MAILBOX, "", true, Bounced, None),
        ("a delay", fixtures::DELAY, "", true, Unknown, None),
        (
            "a complaint",
            fixtures::COMPLAINT,
            "staff@feedback.example.org",
            false,
            Complained,
            Some("complaint"),
        ),
        ("gmail", fixtures::GMAIL_REPLY, ADDRESS, false, Replied, None),
        ("outlook", fixtures::OUTLOOK_REPLY, "ann.lee@example.org", true, Replied, None),
        ("an absence", fixtures::EXCHANGE_ABSENCE, "", false, Unknown, None),
        ("a vacation", fixtures::SIEVE_VACATION, "", true, Unknown, None),
        ("a ticket", fixtures::TICKET, "support@example.org", false, Unknown, None),
        // Last, because it is never lifted.
        ("a stop", fixtures::STOP_REPLY, ADDRESS, false, Replied, Some("unsubscribe")),
    ] {
        let message = story.message(outbox, ADDRESS, None, None, Got::Sent).await;
        let reference = story.reference(message);
        let mail = mail(text, &reference.to_string());
        let to = if to_return_path { return_path(reference) } else { "ops@example.com".to_owned() };
        for again in [false, true] {
            let before = story.events().await;
            assert_eq!(lmtp.take(sender, &[&to], &mail).await, ["250"], "{name}");
            assert_eq!(story.standing(message).await, sent(delivery), "{name}");
            let listed = story.suppressed().await;
            assert_eq!(listed.first().map(|(_, reason)| reason.as_str()), reason, "{name}");
            if again || delivery == Unknown {
                assert_eq!(story.events().await, before, "{name}");
            }
        }
        if matches!(reason, Some("bounce" | "complaint")) {
            let body = json!({ "address": ADDRESS }).to_string().into_bytes();
            let path = story.client.crm("suppressions");
            let lifted = story.client.send(hyper::Method::DELETE, &path, &[super::JSON], body).await.unwrap();
            assert_eq!(lifted.0, 200, "{name}");
        }
    }
}

#[tokio::test]
async fn mail_that_is_none_of_ours_is_answered_for_each_recipient() {
    let story = Story::begin().await;
    let outbox = outbox(&story).await;
    let lmtp = Lmtp::start(&story).await;
    let message = story.message(outbox, ADDRESS, None, None, Got::Sent).await;
    let ours = return_path(story.reference(message));
    let never = return_path(story.reference(story.app.clock.mint()));
    let nowhere = return_path(Reference { organization: story.app.clock.mint(), message: message.uuid() });
    let before = story.events().await;
    let newsletter = mail(fixtures::NEWSLETTER, "");
    // A mailbox that is handed over gets other mail too; whoever wrote it gets no answer of ours.
    assert_eq!(lmtp.take("news@example.net", &["ops@example.com"], &newsletter).await, ["250"]);
    assert_eq!(story.events().await, before);
    let reply = mail("From: ann@example.org\nSubject: Re: Hi\n\nYes.\n", "");
    let answers = lmtp.take(ADDRESS, &[&never, &ours, &nowhere, "other@example.com"], &reply).await;
    assert_eq!(answers, ["550", "250", "550", "250"]);
    assert_eq!(story.standing(message).await, sent(Delivery::Replied));
    assert_eq!(story.events().await, before + 2, "a report of the message, and a word of its recipient");

    let other = story.message(outbox, ADDRESS, None, None, Got::Sent).await;
    let capitals = return_path(story.reference(other)).to_uppercase();
    assert_eq!(lmtp.take("x@example.org", &[&capitals], b"From: x\r\n\r\nhi").await, ["250"]);
    assert_eq!(story.standing(other).await, sent(Delivery::Replied));
}

#[tokio::test]
async fn a_bounce_settles_a_message_of_which_nobody_knew() {
    let story = Story::begin().await;
    let outbox = outbox(&story).await;
    let lmtp = Lmtp::start(&story).await;
    let message = story.message(outbox, ADDRESS, None, None, Got::Unknown).await;
    let reference = story.reference(message);
    let bounce = mail(fixtures::POSTFIX_BOUNCE, &reference.to_string());
    assert_eq!(lmtp.take("", &[&return_path(reference)], &bounce).await, ["250"]);
    assert_eq!(story.standing(message).await, (MessageStatus::Sent, DispatchState::Done, Delivery::Bounced));
    assert_eq!(story.suppressed().await, [(ADDRESS.into(), "bounce".into())]);
}

#[tokio::test]
async fn a_bounce_concerns_the_address_and_not_the_person() {
    let story = Story::begin().await;
    let outbox = outbox(&story).await;
    let (campaign, contacts) = story.campaign(&[ADDRESS]).await;
    let message = story.message(outbox, ADDRESS, Some(contacts[0]), None, Got::Sent).await;
    let incoming =
        |kind| Incoming { reference: Some(story.reference(message)), kind, from: None, message_id: None };
    let bounce = Kind::Bounce { permanent: true, status: Some("5.1.1".into()), code: Code::Recipient };
    assert_eq!(heard::take(story.app(), incoming(bounce)).await, Verdict::Kept);
    assert_eq!(story.stands(&campaign, contacts[0]).await, ("new".into(), false), "they may still be called");
    assert_eq!(heard::take(story.app(), incoming(Kind::Complaint)).await, Verdict::Kept);
    assert_eq!(story.standing(message).await, sent(Delivery::Complained));
}

#[tokio::test]
async fn a_reply_is_a_word_of_its_writer_whatever_had_become_of_the_message() {
    let story = Story::begin().await;
    let outbox = outbox(&story).await;
    let lmtp = Lmtp::start(&story).await;
    let keys = story.app().ledger.keys().organization(story.organization()).await.unwrap();
    let stream = story.organization().correspondence(&docket::contacts::address_hash(&keys, ADDRESS));
    for (before, came_to) in [
        (None, Delivery::Replied),
        (Some(fixtures::GMAIL_REPLY), Delivery::Replied),
        (Some(fixtures::FULL_MAILBOX), Delivery::Bounced),
    ] {
        let message = story.message(outbox, ADDRESS, None, None, Got::Sent).await;
        let reference = story.reference(message);
        if let Some(before) = before {
            let before = mail(before, &reference.to_string());
            assert_eq!(lmtp.take("x@example.org", &[&return_path(reference)], &before).await, ["250"]);
        }
        story.app.clock.advance(60_000);
        let reply = format!(
            "From: {ADDRESS}\nMessage-ID: <{message}@example.org>\nIn-Reply-To: <{{reference}}@example.com>\n\n\
             I have decided against it.\n"
        );
        let reply = mail(&reply, &reference.to_string());
        for new in [true, false] {
            let at = story.app.clock.now();
            let before = story.events().await;
            assert_eq!(lmtp.take(ADDRESS, &["ops@example.com"], &reply).await, ["250"]);
            let words =
                story.app().ledger.load::<Correspondence>(story.organization(), stream).await.unwrap();
            assert_eq!(story.events().await > before, new, "a repetition adds nothing");
            assert_eq!(words.state.heard(Channel::Email) == Some(at), new);
            story.app.clock.advance(60_000);
        }
        assert_eq!(story.standing(message).await, sent(came_to));
    }
}

#[tokio::test]
async fn what_the_ledger_does_not_take_is_kept_by_the_mail_server() {
    let story = Story::begin().await;
    let outbox = outbox(&story).await;
    let lmtp = Lmtp::start(&story).await;
    let message: MessageId = story.message(outbox, ADDRESS, None, None, Got::Sent).await;
    let reference = story.reference(message);
    let reply = mail(fixtures::GMAIL_REPLY, &reference.to_string());
    story.app().ledger.pool().close().await;
    assert_eq!(lmtp.take(ADDRESS, &["ops@example.com"], &reply).await, ["451"]);
}

/// A message that a rule had let go, that its channel did not take, and of which a person is then asked.
async fn asked_for_again(story: &Story, outbox: (Channel, OutboxId)) -> (MessageId, ApprovalId) {
    let id = story.message(outbox, ADDRESS, None, None, Got::InFlight).await;
    let retry = Outcome::Retry { code: "unavailable".into(), answer: None, not_before: None };
    story.record(id, retry).await;
    let (app, organization) = (story.app(), story.organization());
    let message = app.ledger.load::<Message>(organization, id).await.unwrap();
    let approval_id: ApprovalId = app.clock.mint();
    let ruling = Ruling::AskAPerson(approval_id);
    let decide = MessageCommand::Decide { ruling, grounds: Grounds::default(), not_before: None };
    let ask = ApprovalCommand::Request {
        approval_id,
        message_id: id,
        content_hash: message.state.content_hash().unwrap().to_owned(),
        drafter: message.state.drafter().unwrap(),
        rule: None,
        supersedes: None,
        at: app.clock.now(),
    };
    let asked = Approval::default().decide(ask).unwrap();
    let question = Write {
        stream: Stream::of::<Approval>(approval_id),
        expected: 0,
        events: asked.into_iter().map(Into::into).collect(),
    };
    let writes = vec![message.write(message.state.decide(decide).unwrap()), question];
    let call = Call::of_system(app, organization, "test");
    app.ledger.append(call.command(writes, vec![], None)).await.unwrap();
    (id, approval_id)
}

#[tokio::test]
async fn of_what_arrived_nobody_is_asked_any_more() {
    let story = Story::begin().await;
    let outbox = outbox(&story).await;
    let lmtp = Lmtp::start(&story).await;
    let (message, approval) = asked_for_again(&story, outbox).await;
    let reference = story.reference(message);
    let mail = mail(fixtures::GMAIL_REPLY, &reference.to_string());
    for _ in 0..2 {
        assert_eq!(lmtp.take(ADDRESS, &["ops@example.com"], &mail).await, ["250"]);
        assert_eq!(story.standing(message).await, sent(Delivery::Replied));
        let asked = story.app().ledger.load::<Approval>(story.organization(), approval).await.unwrap().state;
        assert_eq!(asked.status(), ApprovalStatus::Superseded);
    }
}

#[tokio::test]
async fn a_question_about_what_is_over_is_closed_by_itself() {
    let story = Story::begin().await;
    let outbox = outbox(&story).await;
    let (message, approval) = asked_for_again(&story, outbox).await;
    // It was settled, and the question was left over.
    let (app, organization) = (story.app(), story.organization());
    let before = app.ledger.load::<Message>(organization, message).await.unwrap();
    let at = app.clock.now();
    let report = MessageCommand::Report { delivery: Delivery::Delivered, at, detail: None };
    let call = Call::of_system(app, organization, "test");
    let writes = vec![before.write(before.state.decide(report).unwrap())];
    app.ledger.append(call.command(writes, vec![], None)).await.unwrap();

    story.app.clock.advance(OPEN_FOR_MILLIS);
    app.readside.settle(organization).await.unwrap();
    assert_eq!(docket::approvals::expiry::close_overdue(app).await.unwrap(), 1);
    let asked = app.ledger.load::<Approval>(organization, approval).await.unwrap().state;
    assert_eq!(asked.status(), ApprovalStatus::Expired);
    assert_eq!(story.standing(message).await, sent(Delivery::Delivered));
}
