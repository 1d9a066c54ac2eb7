//! What providers tell, over HTTP, signed as they sign it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use docket::channels::LastHeard;
use docket::contacts::address_hash;
use docket::hearing::last_heard;
use docket::hearing::webhooks::Door;
use docket_aggregates::channel::Channel;
use docket_aggregates::correspondence::Correspondence;
use docket_aggregates::ids::OutboxId;
use docket_aggregates::message::{Delivery, DispatchState, MessageStatus};
use hmac::{Hmac, Mac};
use hyper::{HeaderMap, Method};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Got, Story, sent};

pub(super) const KEY: &str = "app-secret";
/// A key as Standard Webhooks writes it.
const STANDARD_KEY: &[u8] = b"0123456789abcdef01234567";
const NOTHING: &str = "0190a0f0-0000-7000-8000-00000000000f";

fn mac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// The headers with which a provider of this channel signs a body.
fn signed(story: &Story, channel: Channel, body: &str, key: &str) -> Vec<(&'static str, String)> {
    let hex = hex::encode(mac(key.as_bytes(), &[body.as_bytes()]));
    match channel {
        Channel::Whatsapp | Channel::Instagram => vec![("x-hub-signature-256", format!("sha256={hex}"))],
        Channel::CalCom => vec![("x-cal-signature-256", hex)],
        Channel::Linkedin => vec![("unipile-auth", key.to_owned())],
        Channel::Email => {
            let at = (story.app.clock.now().millis() / 1_000).to_string();
            let signing = if key == KEY { STANDARD_KEY } else { key.as_bytes() };
            let signature = mac(signing, &[b"msg_1.", at.as_bytes(), b".", body.as_bytes()]);
            vec![
                ("svix-id", "msg_1".into()),
                ("svix-timestamp", at),
                ("svix-signature", format!("v1,{}", STANDARD.encode(signature))),
            ]
        }
        Channel::DryRun => vec![],
    }
}

fn config(channel: Channel) -> Value {
    let mut config = match channel {
        Channel::Email => json!({ "fromAddress": "ops@example.com" }),
        Channel::Linkedin => json!({ "accountId": "dfXl" }),
        Channel::Whatsapp => {
            json!({ "phoneNumberId": "106", "webhookVerifyTokenRef": "secret://verify:latest" })
        }
        Channel::Instagram => json!({ "accountId": "17841400000000000" }),
        Channel::CalCom | Channel::DryRun => json!({}),
    };
    config["webhookSecretRef"] = json!("secret://hook:latest");
    config
}

pub(super) fn recipient(channel: Channel) -> &'static str {
    match channel {
        Channel::Whatsapp => "+33612345678",
        Channel::Instagram => "17841400000000001",
        Channel::Linkedin => "ACoAAAcDMMQBODyLwZrRcgYhrkCafURGqva0Ada",
        Channel::Email | Channel::CalCom | Channel::DryRun => "ann@example.org",
    }
}

/// An outbox whose provider tells.
pub(super) async fn listening(story: &Story, channel: Channel) -> (Channel, OutboxId) {
    let key = match channel {
        Channel::Email => format!("whsec_{}", STANDARD.encode(STANDARD_KEY)),
        _ => KEY.to_owned(),
    };
    story.secret("hook", &key).await;
    story.secret("verify", "t0ken").await;
    (channel, story.outbox(channel, config(channel)).await)
}

fn path(story: &Story, (channel, outbox): (Channel, OutboxId)) -> String {
    format!("/webhooks/{}/{}/{outbox}", channel.name(), story.organization())
}

pub(super) async fn tell(
    story: &Story,
    outbox: (Channel, OutboxId),
    body: &Value,
) -> (u16, HeaderMap, Value) {
    let body = body.to_string();
    let headers = signed(story, outbox.0, &body, KEY);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (status, headers, answer) = story.outside(Method::POST, &path(story, outbox), &headers, body).await;
    (status, headers, serde_json::from_str(&answer).unwrap_or_default())
}

pub(super) async fn recorded(story: &Story, outbox: (Channel, OutboxId), body: &Value) -> u64 {
    let (status, _, answer) = tell(story, outbox, body).await;
    assert_eq!(status, 200, "{answer}");
    answer["recorded"].as_u64().unwrap()
}

pub(super) fn whatsapp(value: &Value) -> Value {
    json!({ "object": "whatsapp_business_account", "entry": [{ "id": "1", "changes": [
        { "field": "messages", "value": { "messaging_product": "whatsapp", "metadata": { "phone_number_id": "106" },
          "statuses": value["statuses"].as_array().cloned().unwrap_or_default(),
          "messages": value["messages"].as_array().cloned().unwrap_or_default() } } ] }] })
}

fn status(id: &str, status: &str) -> Value {
    whatsapp(
        &json!({ "statuses": [{ "id": id, "status": status, "timestamp": "1795284000", "recipient_id": "33612345678" }] }),
    )
}

fn wrote(text: &str, at: &str) -> Value {
    whatsapp(
        &json!({ "messages": [{ "from": "33612345678", "id": format!("wamid.{at}.{text}"), "timestamp": at,
        "type": "text", "text": { "body": text } }] }),
    )
}

pub(super) fn resend(kind: &str, reference: &str, more: Value) -> Value {
    let mut data =
        json!({ "email_id": "e-1", "to": ["ann@example.org"], "tags": { "docket_reference": reference } });
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "type": kind, "created_at": "2026-11-21T18:00:00.000Z", "data": data })
}

#[tokio::test]
async fn a_bounce_of_whoever_was_erased_is_recorded_without_its_words() {
    let story = Story::begin().await;
    let outbox = listening(&story, Channel::Email).await;
    let message = story.message(outbox, "ann@example.org", None, Some("e-1"), Got::Sent).await;
    sqlx::query("UPDATE ledger.subject_keys SET wrapped = NULL WHERE subject_id = $1")
        .bind({
            let keys = story.app().ledger.keys().organization(story.organization()).await.unwrap();
            story.organization().correspondent(&address_hash(&keys, "ann@example.org")).uuid()
        })
        .execute(story.app().ledger.pool())
        .await
        .unwrap();
    // A process that does not remember the key.
    let other = story.app.another().await;
    let told = json!({ "bounce": { "type": "Permanent", "subType": "General", "message": "gone" } });
    let body = resend("email.bounced", &story.reference(message).to_string(), told).to_string();
    let mut headers = HeaderMap::new();
    for (name, value) in signed(&story, Channel::Email, &body, KEY) {
        headers.insert(name, value.parse().unwrap());
    }
    let door = Door { channel: Channel::Email, organization: story.organization(), outbox: outbox.1 };
    for recorded in [1, 0] {
        let taken = docket::hearing::webhooks::take(&other, door, &headers, body.as_bytes()).await.unwrap();
        assert_eq!(taken.recorded, recorded);
    }
    assert_eq!(story.standing(message).await, sent(Delivery::Bounced));
    assert_eq!(story.suppressed().await, [("erased".into(), "bounce".into())]);
}

#[tokio::test]
async fn a_flood_that_nobody_signed_is_told_to_come_again_and_keeps_no_other_outbox_shut() {
    let story = Story::begin().await;
    let outbox = listening(&story, Channel::Email).await;
    let other = listening(&story, Channel::Email).await;
    let message = story.message(outbox, "ann@example.org", None, Some("e-1"), Got::Sent).await;
    let told = resend("email.delivered", &story.reference(message).to_string(), json!({}));
    // What is signed counts nothing, however often it comes.
    for n in 0..150 {
        assert_eq!(recorded(&story, outbox, &told).await, u64::from(n == 0));
    }
    let knock = async || story.outside(Method::POST, &path(&story, outbox), &[], "{}").await;
    for n in 0..100 {
        assert_eq!(knock().await.0, 401, "{n}");
    }
    let (status, headers, body) = knock().await;
    assert_eq!((status, headers["retry-after"].to_str().unwrap()), (429, "1"), "{body}");
    assert!(body.contains("RATE_LIMITED"), "{body}");
    // Meanwhile the provider has to come again, too; nobody else has.
    assert_eq!(tell(&story, outbox, &told).await.0, 429);
    assert_eq!(recorded(&story, other, &told).await, 0);
    story.app.clock.advance(1_000);
    assert_eq!(tell(&story, outbox, &told).await.0, 200);
}

#[tokio::test]
async fn each_provider_tells_what_became_of_a_message() {
    let permanent = json!({ "bounce": { "type": "Permanent", "subType": "General", "message": "gone" } });
    let transient = json!({ "bounce": { "type": "Transient", "subType": "MailboxFull", "message": "full" } });
    for channel in [Channel::Email, Channel::Whatsapp, Channel::Instagram, Channel::Linkedin, Channel::CalCom]
    {
        let story = Story::begin().await;
        let outbox = listening(&story, channel).await;
        let to = recipient(channel);
        let instagram = |message: Value| {
            json!({ "object": "instagram", "entry": [{ "messaging": [{ "sender": { "id": to }, "timestamp": 1_795_284_000_000_i64,
                "recipient": { "id": "17841400000000000" }, "message": message }] }] })
        };
        let unipile = |event: &str, sender: &str| {
            json!({ "event": event, "account_id": "dfXl", "message_id": "p-1", "message": "Yes", "timestamp": "2026-11-21T18:00:00.000Z",
                "account_info": { "user_id": "ACoOwn" }, "sender": { "attendee_provider_id": sender } })
        };
        let booking = |event: &str, reference: &str| {
            json!({ "triggerEvent": event, "createdAt": "2026-11-21T18:00:00.538Z", "payload": { "uid": "p-1",
                "startTime": "2026-12-01T09:00:00Z", "metadata": { "docketReference": reference },
                "attendees": [{ "email": to }] } })
        };
        type Row<'a> = (Box<dyn Fn(&str) -> Value + 'a>, Delivery, Option<&'a str>);
        let rows: Vec<Row<'_>> = match channel {
            Channel::Email => vec![
                (Box::new(|r| resend("email.sent", r, json!({}))), Delivery::Unknown, None),
                (Box::new(|r| resend("email.delivered", r, json!({}))), Delivery::Delivered, None),
                (
                    Box::new(|r| resend("email.bounced", r, permanent.clone())),
                    Delivery::Bounced,
                    Some("bounce"),
                ),
                (Box::new(|r| resend("email.bounced", r, transient.clone())), Delivery::Bounced, None),
                (
                    Box::new(|r| resend("email.complained", r, json!({}))),
                    Delivery::Complained,
                    Some("complaint"),
                ),
            ],
            Channel::Whatsapp => vec![
                (Box::new(|_| status("p-1", "sent")), Delivery::Unknown, None),
                (Box::new(|_| status("p-1", "delivered")), Delivery::Delivered, None),
                (Box::new(|_| status("p-1", "read")), Delivery::Delivered, None),
                (Box::new(|_| wrote("Yes", "1795284000")), Delivery::Replied, None),
                (Box::new(|_| wrote("STOP", "1795284000")), Delivery::Replied, Some("unsubscribe")),
            ],
            Channel::Instagram => vec![
                (Box::new(|_| instagram(json!({ "mid": "m-9", "text": "Hi" }))), Delivery::Replied, None),
                (
                    Box::new(|_| {
                        instagram(json!({ "mid": "m-9", "text": "ok", "reply_to": { "mid": "p-1" } }))
                    }),
                    Delivery::Replied,
                    None,
                ),
            ],
            Channel::Linkedin => vec![
                (Box::new(|_| unipile("message_read", "ACoOwn")), Delivery::Delivered, None),
                (
                    Box::new(|_| unipile("message_received", "ACoAAAcDMMQBODyLwZrRcgYhrkCafURGqva0Ada")),
                    Delivery::Replied,
                    None,
                ),
            ],
            _ => vec![
                (Box::new(|r| booking("BOOKING_CREATED", r)), Delivery::Delivered, None),
                (Box::new(|r| booking("BOOKING_CANCELLED", r)), Delivery::Replied, None),
                (Box::new(|r| booking("BOOKING_REJECTED", r)), Delivery::Bounced, None),
            ],
        };
        for (body, delivery, reason) in rows {
            let message = story.message(outbox, to, None, Some("p-1"), Got::Sent).await;
            let body = body(&story.reference(message).to_string());
            let new = u64::from(delivery != Delivery::Unknown);
            // A repetition adds nothing.
            for expected in [new, 0] {
                assert_eq!(recorded(&story, outbox, &body).await, expected, "{body}");
                assert_eq!(story.standing(message).await, sent(delivery), "{body}");
            }
            let listed = story.suppressed().await;
            assert_eq!(listed.first().map(|(_, reason)| reason.as_str()), reason, "{body}");
            for (address, _) in &listed {
                assert_eq!(address, to);
            }
            if reason == Some("bounce") || reason == Some("complaint") {
                let lift = json!({ "address": to }).to_string().into_bytes();
                let path = story.client.crm("suppressions");
                assert_eq!(
                    story.client.send(Method::DELETE, &path, &[super::JSON], lift).await.unwrap().0,
                    200
                );
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_from_the_provider_changes_nothing() {
    for channel in [Channel::Email, Channel::Whatsapp, Channel::Instagram, Channel::Linkedin, Channel::CalCom]
    {
        let story = Story::begin().await;
        let outbox = listening(&story, channel).await;
        story.message(outbox, recipient(channel), None, Some("p-1"), Got::Sent).await;
        let before = story.events().await;
        let body = status("p-1", "delivered").to_string();
        let path = path(&story, outbox);
        let wrong = signed(&story, channel, &body, "another-key");
        let wrong: Vec<(&str, &str)> = wrong.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for headers in [&[][..], &wrong] {
            let (status, _, answer) = story.outside(Method::POST, &path, headers, body.clone()).await;
            assert_eq!(status, 401, "{channel:?} {answer}");
            assert!(answer.contains("WEBHOOK_SIGNATURE") && !answer.contains(KEY));
        }
        // Signed, and another body.
        let right = signed(&story, channel, &body, KEY);
        let right: Vec<(&str, &str)> = right.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (status, ..) = story.outside(Method::POST, &path, &right, format!("{body} ")).await;
        assert!(status == 401 || channel == Channel::Linkedin, "{channel:?}: the header alone signs there");
        if channel == Channel::Email {
            // Recorded by somebody, and sent again later.
            story.app.clock.advance(301_000);
            assert_eq!(story.outside(Method::POST, &path, &right, body.clone()).await.0, 401);
        }
        let malformed = "{\"object\":";
        let right = signed(&story, channel, malformed, KEY);
        let right: Vec<(&str, &str)> = right.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(story.outside(Method::POST, &path, &right, malformed).await.0, 400, "{channel:?}");
        assert_eq!(story.events().await, before);
    }
}

#[tokio::test]
async fn a_webhook_comes_to_an_outbox_that_listens() {
    let story = Story::begin().await;
    let (channel, outbox) = listening(&story, Channel::Whatsapp).await;
    let organization = story.organization();
    let deaf = story.outbox(channel, json!({ "phoneNumberId": "107" })).await;
    let empty = json!({ "phoneNumberId": "108", "webhookSecretRef": "secret://never-stored:latest" });
    let empty = story.outbox(channel, empty).await;
    let other = story.app.organization().await;
    let body = status("p-1", "delivered").to_string();
    let headers = signed(&story, channel, &body, KEY);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for (path, expected, code) in [
        (format!("/webhooks/whatsapp/{organization}/{outbox}"), 200, ""),
        (format!("/webhooks/instagram/{organization}/{outbox}"), 404, "OUTBOX_NOT_FOUND"),
        (format!("/webhooks/sms/{organization}/{outbox}"), 404, "OUTBOX_NOT_FOUND"),
        (format!("/webhooks/dry-run/{organization}/{outbox}"), 404, "OUTBOX_NOT_FOUND"),
        (format!("/webhooks/whatsapp/{other}/{outbox}"), 404, "OUTBOX_NOT_FOUND"),
        (format!("/webhooks/whatsapp/{NOTHING}/{outbox}"), 404, "OUTBOX_NOT_FOUND"),
        (format!("/webhooks/whatsapp/{organization}/{NOTHING}"), 404, "OUTBOX_NOT_FOUND"),
        (format!("/webhooks/whatsapp/{organization}/x"), 400, "VALIDATION_FAILED"),
        (format!("/webhooks/whatsapp/{organization}/{deaf}"), 409, "WEBHOOK_NOT_SET_UP"),
        (format!("/webhooks/whatsapp/{organization}/{empty}"), 409, "WEBHOOK_NOT_SET_UP"),
    ] {
        let (status, _, answer) = story.outside(Method::POST, &path, &headers, body.clone()).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((status, answer["code"].as_str().unwrap_or_default()), (expected, code), "{path}");
    }
    let body = json!({ "channel": "whatsapp", "secretRef": "secret://sender:latest",
        "config": { "phoneNumberId": "1", "webhookSecretRef": "the-secret-itself" } });
    let (refused, answer) = story.client.post(&story.client.crm("outboxes"), body).await;
    assert_eq!((refused, answer.to_string().contains("the-secret-itself")), (400, false), "{answer}");

    // What an outbox sent is told of after it was taken out of use.
    let delete = story.client.crm(&format!("outboxes/{outbox}"));
    assert_eq!(story.client.send(Method::DELETE, &delete, &[], vec![]).await.unwrap().0, 200);
    assert_eq!(recorded(&story, (channel, outbox), &status("p-1", "delivered")).await, 0);
}

#[tokio::test]
async fn meta_asks_whether_the_address_is_ours() {
    let story = Story::begin().await;
    let outbox = listening(&story, Channel::Whatsapp).await;
    let path = path(&story, outbox);
    let ask = async |query: &str| {
        let (status, headers, answer) = story.outside(Method::GET, &format!("{path}?{query}"), &[], "").await;
        (status, headers["content-type"].to_str().unwrap().to_owned(), answer)
    };
    let (status, media_type, answer) =
        ask("hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=t0ken").await;
    assert_eq!(
        (status, media_type.as_str(), answer.as_str()),
        (200, "text/plain; charset=utf-8", "1158201444")
    );
    for query in ["", "hub.mode=subscribe&hub.challenge=1&hub.verify_token=other"] {
        assert_eq!(ask(query).await.0, 401, "{query}");
    }
    let instagram = listening(&story, Channel::Instagram).await;
    let answer = story.outside(Method::GET, &super::webhooks::path(&story, instagram), &[], "").await;
    assert_eq!(answer.0, 409, "no token was named");
}

#[tokio::test]
async fn what_comes_before_the_outcome_comes_again_and_is_not_lost() {
    let story = Story::begin().await;
    let outbox = listening(&story, Channel::Whatsapp).await;
    let delivered = status("wamid.1", "delivered");
    assert_eq!(recorded(&story, outbox, &delivered).await, 0, "about nothing of ours");

    let message = story.message(outbox, "+33612345678", None, None, Got::InFlight).await;
    let (status, headers, answer) = tell(&story, outbox, &delivered).await;
    assert_eq!((status, &answer["code"]), (503, &json!("HANDING_OVER")));
    assert!(headers.contains_key("retry-after"));
    // What somebody writes is not about a provider's id: it is recorded at once.
    assert_eq!(recorded(&story, outbox, &wrote("Who is this?", "1795284000")).await, 1);
    assert_eq!(story.standing(message).await.2, Delivery::Replied);

    story.accept(message, Channel::Whatsapp, Some("wamid.1")).await;
    assert_eq!(recorded(&story, outbox, &delivered).await, 0, "it was answered: that it arrived is no news");
    assert_eq!(story.standing(message).await, sent(Delivery::Replied));

    let second = story.message(outbox, "+33612345678", None, Some("wamid.2"), Got::Sent).await;
    let later = super::webhooks::status("wamid.2", "delivered");
    assert_eq!(recorded(&story, outbox, &later).await, 1);
    assert_eq!(story.standing(second).await, sent(Delivery::Delivered));
}

#[tokio::test]
async fn a_report_by_our_own_reference_settles_what_was_unknown() {
    let story = Story::begin().await;
    let outbox = listening(&story, Channel::Email).await;
    for kind in ["email.sent", "email.delivered", "email.bounced"] {
        let message = story.message(outbox, "ann@example.org", None, None, Got::Unknown).await;
        assert_eq!(story.standing(message).await.1, DispatchState::Unknown);
        let body =
            resend(kind, &story.reference(message).to_string(), json!({ "bounce": { "type": "Transient" } }));
        assert_eq!(recorded(&story, outbox, &body).await, 1, "{kind}");
        let (status, dispatch, _) = story.standing(message).await;
        assert_eq!((status, dispatch), (MessageStatus::Sent, DispatchState::Done), "{kind}");
    }
    // While somebody waits for the answer of the channel, they know best.
    let message = story.message(outbox, "ann@example.org", None, None, Got::InFlight).await;
    let body = resend("email.sent", &story.reference(message).to_string(), json!({}));
    assert_eq!(tell(&story, outbox, &body).await.0, 503);
    // A message of another company is none of this one's.
    let foreign =
        docket::channels::Reference { organization: story.app.organization().await, message: message.uuid() };
    story.accept(message, Channel::Email, None).await;
    assert_eq!(
        recorded(&story, outbox, &resend("email.delivered", &foreign.to_string(), json!({}))).await,
        0
    );
    assert_eq!(story.standing(message).await, sent(Delivery::Unknown));
}

#[tokio::test]
async fn the_order_in_which_providers_tell_does_not_matter() {
    let delivered = || status("wamid.1", "delivered");
    let failed = || {
        whatsapp(&json!({ "statuses": [{ "id": "wamid.1", "status": "failed", "timestamp": "1795284000",
            "recipient_id": "33612345678", "errors": [{ "code": 131_026, "title": "Message undeliverable" }] }] }))
    };
    let reply = || wrote("Yes", "1795284000");
    for order in
        [[delivered(), reply(), failed()], [failed(), delivered(), reply()], [reply(), failed(), delivered()]]
    {
        let story = Story::begin().await;
        let outbox = listening(&story, Channel::Whatsapp).await;
        let message = story.message(outbox, "+33612345678", None, Some("wamid.1"), Got::Sent).await;
        for body in &order {
            tell(&story, outbox, body).await;
        }
        assert_eq!(story.standing(message).await, sent(Delivery::Bounced));
    }
}

#[tokio::test]
async fn a_word_opens_the_window_and_stop_closes_the_matter() {
    let story = Story::begin().await;
    let outbox = listening(&story, Channel::Whatsapp).await;
    let keys = story.app().ledger.keys().organization(story.organization()).await.unwrap();
    let hash = address_hash(&keys, "+33612345678");
    let heard = async |config: Value| {
        let stream = story.organization().correspondence(&hash);
        let words = story.app().ledger.load::<Correspondence>(story.organization(), stream).await.unwrap();
        last_heard(Channel::Whatsapp, &config, Some(&words.state))
    };
    assert_eq!(heard(json!({ "phoneNumberId": "1" })).await, LastHeard::NotTracked);
    assert_eq!(heard(config(Channel::Whatsapp)).await, LastHeard::Never);
    let now = story.app.clock.now();
    let hour_ago = now.plus_millis(-3_600_000);
    let seconds = |at: docket_aggregates::Timestamp| (at.millis() / 1_000).to_string();
    // Somebody to whom nothing was ever sent.
    assert_eq!(recorded(&story, outbox, &wrote("Hello", &seconds(hour_ago))).await, 1);
    assert_eq!(heard(config(Channel::Whatsapp)).await, LastHeard::At(hour_ago));
    // An older word and a clock that is ahead open nothing.
    assert_eq!(recorded(&story, outbox, &wrote("Hi", &seconds(hour_ago.plus_millis(-60_000)))).await, 0);
    assert_eq!(recorded(&story, outbox, &wrote("Hi!", &seconds(now.plus_millis(3_600_000)))).await, 1);
    assert_eq!(heard(config(Channel::Whatsapp)).await, LastHeard::At(now));
    assert_eq!(story.suppressed().await, []);

    assert_eq!(recorded(&story, outbox, &wrote("Stop.", &seconds(now))).await, 1);
    assert_eq!(story.suppressed().await, [("+33612345678".into(), "unsubscribe".into())]);
}
