//! What people write back where they quote nothing: whose message it answers, and how often it counts.

use docket::ledger::Origin;
use docket_aggregates::Timestamp;
use docket_aggregates::bucket::{Bucket, BucketCommand};
use docket_aggregates::channel::Channel;
use docket_aggregates::credential::SendingDay;
use docket_aggregates::ids::{BucketId, MessageId};
use docket_aggregates::message::{Delivery, DispatchState, Message, MessageStatus};
use serde_json::{Value, json};
use uuid::Uuid;

use super::webhooks::{listening, recipient, recorded, tell, whatsapp};
use super::{Got, Story, sent};

const MINUTE: i64 = 60 * 1_000;
const CHANNELS: [Channel; 3] = [Channel::Whatsapp, Channel::Instagram, Channel::Linkedin];

/// Something that a person wrote to one of ours, without quoting anything; the provider calls it `id`.
fn wrote(channel: Channel, from: &str, id: &str, text: &str, at: Timestamp) -> Value {
    match channel {
        Channel::Whatsapp => {
            let seconds = (at.millis() / 1_000).to_string();
            let from = from.trim_start_matches('+');
            whatsapp(&json!({ "messages": [{ "from": from, "id": id, "timestamp": seconds, "type": "text",
                "text": { "body": text } }] }))
        }
        Channel::Instagram => json!({ "object": "instagram", "entry": [{ "messaging": [{
            "sender": { "id": from }, "recipient": { "id": "17841400000000000" }, "timestamp": at.millis(),
            "message": { "mid": id, "text": text } }] }] }),
        _ => json!({ "event": "message_received", "account_id": "dfXl", "message_id": id, "message": text,
            "timestamp": at.to_string(), "account_info": { "user_id": "ACoOwn" },
            "sender": { "attendee_provider_id": from } }),
    }
}

/// An id as a sequence's step has one, above every id that is made of the time.
fn step(number: u128) -> MessageId {
    MessageId(Uuid::from_u128(0xffff_ffff_ffff_5fff_bfff_ffff_ffff_0000 + number))
}

#[tokio::test]
async fn a_reply_belongs_to_the_last_message_before_it() {
    for channel in CHANNELS {
        let story = Story::begin().await;
        let outbox = listening(&story, channel).await;
        let to = recipient(channel);
        story.message_of(step(1), outbox, to, None, Some("p-1"), Got::Sent).await;
        story.app.clock.advance(10 * MINUTE);
        let second = story.message(outbox, to, None, Some("p-2"), Got::Sent).await;
        story.app.clock.advance(10 * MINUTE);
        let between = story.app.clock.now().plus_millis(-MINUTE);
        // What never left, or was refused, is not answered.
        story.message_of(step(2), outbox, to, None, None, Got::Queued).await;
        let third = story.message(outbox, to, None, Some("p-3"), Got::Sent).await;
        story.app.clock.advance(10 * MINUTE);

        let late = wrote(channel, to, "r-1", "Yes", between);
        assert_eq!(recorded(&story, outbox, &late).await, 1, "{channel:?}");
        let deliveries = async || {
            let mut found = Vec::new();
            for message in [step(1), second, third] {
                found.push(story.standing(message).await.2);
            }
            found
        };
        use Delivery::{Replied, Unknown};
        assert_eq!(deliveries().await, [Unknown, Replied, Unknown], "{channel:?}");

        let now = wrote(channel, to, "r-2", "Still yes", story.app.clock.now());
        assert_eq!(recorded(&story, outbox, &now).await, 1, "{channel:?}");
        assert_eq!(deliveries().await, [Unknown, Replied, Replied], "{channel:?}");
    }
}

#[tokio::test]
async fn a_reply_that_is_told_again_or_late_is_no_answer_to_what_came_after_it() {
    for channel in CHANNELS {
        let story = Story::begin().await;
        let outbox = listening(&story, channel).await;
        let to = recipient(channel);
        let first = story.message(outbox, to, None, Some("p-1"), Got::Sent).await;
        story.app.clock.advance(MINUTE);
        let mut reply = wrote(channel, to, "r-1", "Yes", story.app.clock.now());
        if channel == Channel::Linkedin {
            // Without a time, it is told by its id alone.
            reply.as_object_mut().unwrap().remove("timestamp");
        }
        assert_eq!(recorded(&story, outbox, &reply).await, 1);
        assert_eq!(story.standing(first).await, sent(Delivery::Replied));

        // Sent in the same second: the time alone does not tell them apart.
        let second = story.message(outbox, to, None, Some("p-2"), Got::Sent).await;
        let before = story.events().await;
        assert_eq!(recorded(&story, outbox, &reply).await, 0, "{channel:?}");
        story.app.clock.advance(10 * MINUTE);
        assert_eq!(recorded(&story, outbox, &reply).await, 0, "{channel:?}");
        let old = wrote(channel, to, "r-0", "Perhaps", story.app.clock.now().plus_millis(-72 * 60 * MINUTE));
        assert_eq!(recorded(&story, outbox, &old).await, 0, "{channel:?}");
        assert_eq!(story.standing(second).await, sent(Delivery::Unknown), "{channel:?}");
        assert_eq!(story.events().await, before, "{channel:?}");
        // A word of its own is one.
        let other = wrote(channel, to, "r-2", "Yes", story.app.clock.now());
        assert_eq!(recorded(&story, outbox, &other).await, 1, "{channel:?}");
        assert_eq!(story.standing(second).await, sent(Delivery::Replied), "{channel:?}");
    }
}

#[tokio::test]
async fn a_character_that_cannot_be_stored_keeps_nothing_back() {
    for channel in CHANNELS {
        let story = Story::begin().await;
        let outbox = listening(&story, channel).await;
        let to = recipient(channel);
        let message = story.message(outbox, to, None, Some("p-1"), Got::Sent).await;
        let now = story.app.clock.now();
        assert_eq!(recorded(&story, outbox, &wrote(channel, to, "r\0-1", "hi\0there", now)).await, 1);
        assert_eq!(story.standing(message).await, sent(Delivery::Replied));
        let stop = wrote(channel, to, "r-2", "STOP\0", now.plus_millis(3_000));
        story.app.clock.advance(3_000);
        assert_eq!(recorded(&story, outbox, &stop).await, 1);
        assert_eq!(story.suppressed().await, [(to.to_owned(), "unsubscribe".to_owned())], "{channel:?}");
    }
}

#[tokio::test]
async fn what_stands_in_a_batch_beside_a_bad_notice_is_recorded() {
    let story = Story::begin().await;
    let outbox = listening(&story, Channel::Whatsapp).await;
    let (ann, bob) = ("+33612345678", "+33612345679");
    let to_ann = story.message(outbox, ann, None, Some("p-1"), Got::Sent).await;
    let to_bob = story.message(outbox, bob, None, Some("p-2"), Got::Sent).await;
    let seconds = (story.app.clock.now().millis() / 1_000).to_string();
    let one = |from: &str, id: &str, text: &str| json!({ "from": &from[1..], "id": id, "timestamp": seconds, "type": "text", "text": { "body": text } });
    let failed = json!({ "id": "p-1", "status": "failed", "timestamp": seconds,
        "errors": [{ "code": 131_026, "title": "x\0y" }] });
    let batch = whatsapp(&json!({
        "statuses": [failed], "messages": [one(ann, "r-1", "a\0b"), one(bob, "r-2", "Yes")],
    }));
    let (status, _, answer) = tell(&story, outbox, &batch).await;
    assert_eq!((status, &answer["recorded"]), (200, &json!(3)), "{answer}");
    assert_eq!(story.standing(to_ann).await, sent(Delivery::Bounced));
    assert_eq!(story.standing(to_bob).await, sent(Delivery::Replied));
}

#[tokio::test]
async fn whatsapp_knows_some_countries_numbers_in_another_form() {
    for (to, from) in [
        ("+525512345678", "5215512345678"),
        ("+541112345678", "5491112345678"),
        ("+5511912345678", "551112345678"),
        ("+551187654321", "5511987654321"),
    ] {
        let story = Story::begin().await;
        let outbox = listening(&story, Channel::Whatsapp).await;
        let message = story.message(outbox, to, None, Some("p-1"), Got::Sent).await;
        let stop = wrote(Channel::Whatsapp, from, "r-1", "STOP", story.app.clock.now());
        assert_eq!(recorded(&story, outbox, &stop).await, 1, "{to}");
        assert_eq!(story.standing(message).await, sent(Delivery::Replied), "{to}");
        let listed: Vec<String> = story.suppressed().await.into_iter().map(|(_, reason)| reason).collect();
        assert_eq!(listed, ["unsubscribe"], "{to}");
        // To whichever form the next one goes, it does not leave.
        let keys = story.app().ledger.keys().organization(story.organization()).await.unwrap();
        let hash = |text: &str| docket::contacts::address_hash(&keys, text);
        assert_eq!(hash(to), hash(&format!("+{from}")));
    }
}

/// Charges a message to a day of its own, as its hand-over would.
async fn charge(story: &Story, message: MessageId) -> BucketId {
    let (app, organization) = (story.app(), story.organization());
    let state = app.ledger.load::<Message>(organization, message).await.unwrap().state;
    let bucket_id = state.bucket_id().unwrap();
    let now = app.clock.now();
    let charge = BucketCommand::Charge {
        bucket_id,
        credential_id: Default::default(),
        channel: Channel::Email,
        day: SendingDay { number: 1, starts_at: now, ends_at: now.plus_millis(24 * 60 * MINUTE) },
        cap: Some(1),
        message_ids: vec![message],
        at: now,
    };
    let id = app.clock.mint();
    app.ledger
        .order::<Bucket>(organization, bucket_id, id, now, &Origin::system("test"), None, charge)
        .await
        .unwrap();
    bucket_id
}

#[tokio::test]
async fn what_a_provider_did_not_send_failed_and_gives_its_charge_back() {
    let story = Story::begin().await;
    let outbox = listening(&story, Channel::Email).await;
    for (kind, listed) in [("email.failed", vec![]), ("email.suppressed", vec!["bounce"])] {
        let message = story.message(outbox, "ann@example.org", None, None, Got::Unknown).await;
        let reference = story.reference(message).to_string();
        let told = super::webhooks::resend(kind, &reference, json!({}));
        let bucket = charge(&story, message).await;
        for new in [1, 0] {
            assert_eq!(recorded(&story, outbox, &told).await, new, "{kind}");
            assert_eq!(
                story.standing(message).await,
                (MessageStatus::Failed, DispatchState::Done, Delivery::Unknown),
                "{kind}"
            );
        }
        let bucket = story.app().ledger.load::<Bucket>(story.organization(), bucket).await.unwrap();
        assert_eq!(bucket.state.used(), 0, "{kind}");
        let reasons: Vec<String> = story.suppressed().await.into_iter().map(|(_, reason)| reason).collect();
        assert_eq!(reasons, listed, "{kind}");
    }
    // What it had taken first was sent, as far as anybody could know, and came to nothing.
    let message = story.message(outbox, "bob@example.org", None, None, Got::Sent).await;
    let told = super::webhooks::resend("email.failed", &story.reference(message).to_string(), json!({}));
    assert_eq!(recorded(&story, outbox, &told).await, 1);
    assert_eq!(story.standing(message).await, sent(Delivery::Bounced));
    // While somebody waits for the answer of the channel, they know best.
    let message = story.message(outbox, "bob@example.org", None, None, Got::InFlight).await;
    let told = super::webhooks::resend("email.failed", &story.reference(message).to_string(), json!({}));
    assert_eq!(tell(&story, outbox, &told).await.0, 503);
}
