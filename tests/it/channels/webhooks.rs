//! What providers tell, as they document it: signed, read into one form, and nothing believed without its signature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use docket::channels::delivery::{About, BODY_BYTES_MAX};
use docket::channels::email::resend;
use docket::channels::signature::SignatureError;
use docket::channels::{
    Code, Delivery, Happening, Secret, WebhookError, cal_com, instagram, linkedin, whatsapp,
};
use docket_aggregates::Timestamp;
use hmac::{Hmac, Mac};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{REFERENCE, now, reference};

const KEY: &str = "app-secret";

fn secret() -> Secret {
    Secret::new(KEY.into())
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn headers(fields: &[(&'static str, String)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect()
}

/// Signed as Meta does.
fn hub(body: &str) -> HeaderMap {
    headers(&[(
        "x-hub-signature-256",
        format!("sha256={}", hex::encode(mac(KEY.as_bytes(), &[body.as_bytes()]))),
    )])
}

fn instant(text: &str) -> Option<Timestamp> {
    Some(text.parse().unwrap())
}

fn about(reference: bool, id: Option<&str>, person: Option<&str>, account: Option<&str>) -> About {
    About {
        reference: reference.then(self::reference),
        provider_message_id: id.map(Into::into),
        person: person.map(Into::into),
        account: account.map(Into::into),
    }
}

fn whatsapp(value: Value) -> Result<Vec<Delivery>, WebhookError> {
    let body = json!({ "object": "whatsapp_business_account", "entry": [{ "id": "1", "changes": [
        { "field": "account_update", "value": { "event": "VERIFIED" } },
        { "field": "messages", "value": value },
    ]}]})
    .to_string();
    whatsapp::webhook::read(&hub(&body), &secret(), body.as_bytes())
}

#[test]
fn whatsapp_tells_how_a_message_fares() {
    let status = |status: &str, errors: Value| {
        json!({
            "messaging_product": "whatsapp",
            "metadata": { "display_phone_number": "15550783881", "phone_number_id": "106540352242922" },
            "statuses": [{
                "id": "wamid.HBgL", "status": status, "timestamp": "1750263773", "recipient_id": "33612345678",
                "biz_opaque_callback_data": REFERENCE, "errors": errors,
                "pricing": { "billable": true, "pricing_model": "CBP", "category": "service" },
            }],
        })
    };
    let told = |happening: Happening, status: &str| Delivery {
        about: about(true, Some("wamid.HBgL"), Some("33612345678"), Some("106540352242922")),
        at: instant("2025-06-18T16:22:53Z"),
        happening,
        notice: Some(format!("wamid.HBgL/{status}")),
    };
    for (name, happening) in
        [("sent", Happening::Accepted), ("delivered", Happening::Delivered), ("read", Happening::Read)]
    {
        assert_eq!(whatsapp(status(name, json!([]))), Ok(vec![told(happening, name)]));
    }
    for (code, permanent, expected) in [
        (131_026, true, Code::Recipient),
        (131_047, false, Code::WindowClosed),
        (131_049, false, Code::RateLimited),
        (131_042, false, Code::Account),
        (999_999, false, Code::Refused),
    ] {
        let errors = json!([{ "code": code, "title": "No 33612345678", "message": "No", "error_data": { "details": "-" },
            "href": "https://developers.facebook.com/docs/" }]);
        let reason = format!("WhatsApp did not deliver it: {code} No …");
        let failed = told(Happening::Bounced { permanent, code: expected, reason }, "failed");
        assert_eq!(whatsapp(status("failed", errors)), Ok(vec![failed]));
    }
    let opted_out = whatsapp(status("failed", json!([{ "code": 131_050, "title": "Stopped" }]))).unwrap();
    assert_eq!(opted_out[0].happening, Happening::OptedOut);
    assert_eq!(whatsapp(status("warning", json!([]))), Ok(vec![]));
}

#[test]
fn whatsapp_tells_what_people_write() {
    let written = |message: Value| {
        whatsapp(json!({
            "messaging_product": "whatsapp", "metadata": { "phone_number_id": "1065" },
            "contacts": [{ "profile": { "name": "Ada" }, "wa_id": "33612345678" }], "messages": [message],
        }))
    };
    let base = json!({ "from": "33612345678", "id": "wamid.IN", "timestamp": "1749416383" });
    let with = |more: Value| {
        let mut message = base.clone();
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        written(message).unwrap()
    };
    for (message, id, text) in [
        (json!({ "type": "text", "text": { "body": "Yes" } }), None, Some("Yes")),
        (
            json!({ "type": "text", "text": { "body": "Yes" }, "context": { "from": "1555", "id": "wamid.OUT" } }),
            Some("wamid.OUT"),
            Some("Yes"),
        ),
        (json!({ "type": "button", "button": { "payload": "y", "text": "Yes" } }), None, Some("Yes")),
        (
            json!({ "type": "interactive", "interactive": { "type": "list_reply",
                "list_reply": { "id": "1", "title": "Yes", "description": "-" } } }),
            None,
            Some("Yes"),
        ),
        (json!({ "type": "image", "image": { "id": "1" } }), None, None),
        // A poll, a picture to be seen once: what Meta does not pass on was written all the same.
        (json!({ "type": "unsupported", "errors": [{ "code": 131_051 }] }), None, None),
        (json!({ "type": "unknown" }), None, None),
    ] {
        let [delivery] = &with(message)[..] else { panic!("one reply") };
        assert_eq!(delivery.about, about(false, id, Some("33612345678"), Some("1065")));
        assert_eq!(delivery.happening, Happening::Replied { text: text.map(Into::into) });
        assert_eq!(delivery.notice.as_deref(), Some("wamid.IN"));
    }
    for silent in [json!({ "type": "system", "system": {} }), json!({ "type": "request_welcome" })] {
        assert_eq!(with(silent), []);
    }
}

#[test]
fn what_cannot_be_read_of_a_webhook_keeps_nothing_else_of_it_back() {
    let metadata = json!({ "phone_number_id": "1065" });
    let stop = json!({ "from": "33612345678", "id": "wamid.IN", "timestamp": "1749416383", "type": "text", "text": { "body": "STOP" } });
    let stopped = Happening::Replied { text: Some("STOP".into()) };
    let failed = |reason: &str| {
        let reason = format!("WhatsApp did not deliver it{reason}");
        Some(Happening::Bounced { permanent: false, code: Code::Refused, reason })
    };
    // What Meta's description does not require may be missing, and what is told in another form is told.
    for (status, fared) in [
        (json!({ "id": "w", "status": "failed", "errors": [{ "title": "Odd" }] }), failed(": Odd")),
        (
            json!({ "id": "w", "status": "failed", "errors": [{ "code": "x", "title": 1 }] }),
            failed(", and does not say why"),
        ),
        (json!({ "id": "w", "status": "sent", "timestamp": 1_749_416_383 }), Some(Happening::Accepted)),
        (
            json!({ "id": "w", "status": "sent", "timestamp": [], "recipient_id": 1 }),
            Some(Happening::Accepted),
        ),
        (json!({ "id": "w", "status": "read", "errors": null }), Some(Happening::Read)),
        (json!({ "id": 1, "status": "sent" }), None),
        (json!({ "id": "w" }), None),
        (json!("sent"), None),
    ] {
        let value = json!({ "metadata": metadata, "statuses": [status], "messages": [stop] });
        let told = whatsapp(value).unwrap().into_iter().map(|delivery| delivery.happening);
        assert_eq!(told.collect::<Vec<_>>(), fared.into_iter().chain([stopped.clone()]).collect::<Vec<_>>());
    }
    for (message, text) in [
        (json!({ "from": "1", "id": "i", "type": "button", "button": { "payload": "P" } }), Some(None)),
        (
            json!({ "from": "1", "id": "i", "type": 1, "text": { "body": "a" }, "context": [] }),
            Some(Some("a")),
        ),
        (json!({ "from": "1", "id": "i", "type": "text", "text": {} }), Some(None)),
        (json!({ "from": "1", "type": "text", "text": { "body": "a" } }), None),
        (json!(null), None),
    ] {
        let told = whatsapp(json!({ "metadata": 1, "messages": [message, stop] })).unwrap();
        let read = text.map(|text: Option<&str>| Happening::Replied { text: text.map(Into::into) });
        let told: Vec<_> = told.into_iter().map(|delivery| delivery.happening).collect();
        assert_eq!(told, read.into_iter().chain([stopped.clone()]).collect::<Vec<_>>());
    }
    let good = json!({ "field": "messages", "value": { "metadata": metadata, "messages": [stop] } });
    for odd in [
        json!({ "field": "messages", "value": "x" }),
        json!({ "field": "messages" }),
        json!({ "field": 1, "value": {} }),
        json!([]),
    ] {
        let body = json!({ "object": "whatsapp_business_account", "entry": [1, { "changes": [odd, good] }] });
        let body = body.to_string();
        let told = whatsapp::webhook::read(&hub(&body), &secret(), body.as_bytes()).unwrap();
        assert_eq!(told.len(), 1, "{body}");
    }

    let stop = json!({ "sender": { "id": "ada" }, "recipient": { "id": "178" }, "message": { "mid": "m", "text": "STOP" } });
    for odd in [json!({ "recipient": { "id": "178" } }), json!({ "sender": 1, "recipient": 1 }), json!("x")] {
        let body = json!({ "object": "instagram", "entry": [{
            "messaging": [odd, stop],
            "changes": [{ "field": "messages", "value": odd }, { "field": "messages", "value": stop }],
        }]});
        let body = body.to_string();
        let told = instagram::webhook::read(&hub(&body), &secret(), body.as_bytes()).unwrap();
        assert!(told.len() == 2 && told.iter().all(|delivery| delivery.happening == stopped), "{body}");
    }
    // What is not needed to know who wrote what keeps nothing back.
    for (place, odd) in [
        ("/recipient", json!(null)),
        ("/recipient", json!({ "id": 178 })),
        ("/read", json!("x")),
        ("/message/is_echo", json!(null)),
        ("/message/is_deleted", json!(null)),
        ("/message/reply_to", json!(1)),
    ] {
        let mut item = stop.clone();
        let (object, field) = place.rsplit_once('/').unwrap();
        item.pointer_mut(object).unwrap()[field] = odd;
        let body = json!({ "object": "instagram", "entry": [{ "messaging": [item] }] }).to_string();
        let told = instagram::webhook::read(&hub(&body), &secret(), body.as_bytes()).unwrap();
        assert!(told.len() == 1 && told[0].happening == stopped, "{body}");
    }
    for nothing in [json!({}), json!({ "object": "page", "entry": [] }), json!([])] {
        let body = nothing.to_string();
        let told = whatsapp::webhook::read(&hub(&body), &secret(), body.as_bytes());
        assert_eq!(told, Err(WebhookError::Malformed));
    }
}

#[test]
fn instagram_tells_what_people_write_and_what_we_wrote() {
    let read = |messaging: Value| {
        let body =
            json!({ "object": "instagram", "entry": [{ "id": "178", "time": 1, "messaging": [messaging] }] });
        let body = body.to_string();
        instagram::webhook::read(&hub(&body), &secret(), body.as_bytes()).unwrap()
    };
    let event = |sender: &str, recipient: &str, more: Value| {
        let mut event = json!({ "sender": { "id": sender }, "recipient": { "id": recipient }, "timestamp": 1_750_263_773_123_i64 });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let at = instant("2025-06-18T16:22:53.123Z");
    let told =
        |about, happening, notice: &str| vec![Delivery { about, at, happening, notice: Some(notice.into()) }];
    assert_eq!(
        read(event(
            "ada",
            "178",
            json!({ "message": { "mid": "m1", "text": "Yes", "reply_to": { "mid": "m0" } } })
        )),
        told(
            about(false, Some("m0"), Some("ada"), Some("178")),
            Happening::Replied { text: Some("Yes".into()) },
            "m1"
        )
    );
    assert_eq!(
        read(event("178", "ada", json!({ "message": { "mid": "m2", "text": "Hi", "is_echo": true } }))),
        told(about(false, Some("m2"), Some("ada"), Some("178")), Happening::Accepted, "m2/sent")
    );
    assert_eq!(
        read(event("ada", "178", json!({ "read": { "mid": "m2" } }))),
        told(about(false, Some("m2"), Some("ada"), Some("178")), Happening::Read, "m2/read")
    );
    for silent in [
        json!({ "message": { "mid": "m1", "is_deleted": true } }),
        json!({ "reaction": { "mid": "m1", "action": "react" } }),
        json!({ "postback": { "mid": "m1", "title": "x" } }),
    ] {
        assert_eq!(read(event("ada", "178", silent)), []);
    }

    let body =
        json!({ "object": "instagram", "entry": [{ "id": "178", "changes": [{ "field": "messages", "value": {
            "sender": { "id": "ada" }, "recipient": { "id": "178" }, "timestamp": "1750263773",
            "message": { "mid": "m3", "text": "Yes" },
        }}]}]})
        .to_string();
    let changed = instagram::webhook::read(&hub(&body), &secret(), body.as_bytes()).unwrap();
    assert_eq!(changed[0].at, instant("2025-06-18T16:22:53Z"));
    assert_eq!(changed[0].happening, Happening::Replied { text: Some("Yes".into()) });
}

#[test]
fn cal_com_tells_of_appointments() {
    let read = |event: &str, payload: Value| {
        let body =
            json!({ "triggerEvent": event, "createdAt": "2026-11-21T18:00:00.538Z", "payload": payload });
        let body = body.to_string();
        let signature = hex::encode(mac(KEY.as_bytes(), &[body.as_bytes()]));
        cal_com::webhook::read(&headers(&[("x-cal-signature-256", signature)]), &secret(), body.as_bytes())
    };
    let booking = json!({
        "type": "60min", "title": "Call", "startTime": "2026-12-01T09:00:00Z", "endTime": "2026-12-01T10:00:00Z",
        "organizer": { "email": "host@example.com" }, "uid": "bk_2", "rescheduleUid": null,
        "attendees": [{ "email": "ada@example.org", "name": "Ada" }], "metadata": { "docketReference": REFERENCE },
    });
    let start = instant("2026-12-01T09:00:00Z");
    let uid = || "bk_2".to_owned();
    for (event, happening) in [
        ("BOOKING_CREATED", Happening::Booked { uid: uid(), start, confirmed: true }),
        ("BOOKING_REQUESTED", Happening::Booked { uid: uid(), start, confirmed: false }),
        ("BOOKING_RESCHEDULED", Happening::Rescheduled { uid: uid(), previous_uid: None, start }),
        ("BOOKING_CANCELLED", Happening::Cancelled { uid: uid(), declined: false }),
        ("BOOKING_REJECTED", Happening::Cancelled { uid: uid(), declined: true }),
    ] {
        let expected = Delivery {
            about: about(true, Some("bk_2"), Some("ada@example.org"), None),
            at: instant("2026-11-21T18:00:00.538Z"),
            happening,
            notice: Some(format!("bk_2/{event}")),
        };
        assert_eq!(read(event, booking.clone()), Ok(vec![expected]));
    }
    let mut moved = booking.clone();
    moved["rescheduleUid"] = json!("bk_1");
    let told = read("BOOKING_RESCHEDULED", moved).unwrap().remove(0);
    assert_eq!(told.about.provider_message_id.as_deref(), Some("bk_1"), "known by its old id");
    assert_eq!(read("MEETING_ENDED", json!({})), Ok(vec![]));
    assert_eq!(read("PING", json!({ "type": "Test" })), Ok(vec![]));
    assert_eq!(read("BOOKING_CREATED", json!({})), Err(WebhookError::Malformed));

    let unsigned = headers(&[("x-cal-signature-256", "no-secret-provided".into())]);
    let refused = cal_com::webhook::read(&unsigned, &secret(), b"{}");
    assert_eq!(refused, Err(SignatureError::Wrong.into()));
}

#[test]
fn resend_tells_how_a_mail_fares() {
    let key = b"0123456789abcdef01234567";
    let secret = Secret::new(format!("whsec_{}", STANDARD.encode(key)));
    let read = |kind: &str, more: Value| {
        let mut data = json!({
            "email_id": "56761188", "from": "ops@example.com", "to": ["ada@example.org"], "subject": "Hi",
            "created_at": "2026-11-21T17:59:59Z", "tags": { "docket_reference": REFERENCE },
        });
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let body =
            json!({ "type": kind, "created_at": "2026-11-21T18:00:00.000Z", "data": data }).to_string();
        let at = (now().millis() / 1_000).to_string();
        let signature = mac(key, &[b"msg_1.", at.as_bytes(), b".", body.as_bytes()]);
        let headers = headers(&[
            ("svix-id", "msg_1".into()),
            ("svix-timestamp", at),
            ("svix-signature", format!("v1,{}", STANDARD.encode(signature))),
        ]);
        resend::webhook::read(&headers, &secret, body.as_bytes(), now())
    };
    let told = |happening| {
        Ok(vec![Delivery {
            about: about(true, Some("56761188"), Some("ada@example.org"), None),
            at: Some(now()),
            happening,
            notice: Some("msg_1".into()),
        }])
    };
    let listed = json!({ "tags": [{ "name": "docket_reference", "value": REFERENCE }] });
    for (kind, more, happening) in [
        ("email.sent", json!({}), Happening::Accepted),
        ("email.sent", listed, Happening::Accepted),
        ("email.delivered", json!({}), Happening::Delivered),
        ("email.complained", json!({}), Happening::Complained),
        (
            "email.bounced",
            json!({ "bounce": { "type": "Permanent", "subType": "Suppressed", "message": "ada@example.org is gone" } }),
            Happening::Bounced {
                permanent: true,
                code: Code::Recipient,
                reason: "Resend reports a bounce: Permanent Suppressed: … is gone".into(),
            },
        ),
        (
            "email.bounced",
            json!({ "bounce": { "type": "Transient", "subType": "MailboxFull", "message": "full" } }),
            Happening::Bounced {
                permanent: false,
                code: Code::Unavailable,
                reason: "Resend reports a bounce: Transient MailboxFull: full".into(),
            },
        ),
    ] {
        assert_eq!(read(kind, more), told(happening), "{kind}");
    }
    for silent in
        ["email.opened", "email.clicked", "email.delivery_delayed", "domain.updated", "contact.created"]
    {
        assert_eq!(read(silent, json!({})), Ok(vec![]), "{silent}");
    }
}

#[test]
fn unipile_tells_of_messages_and_connections() {
    let read = |body: Value| {
        let shared = headers(&[("unipile-auth", KEY.into())]);
        linkedin::webhook::read(&shared, &secret(), body.to_string().as_bytes()).unwrap()
    };
    let received = |sender: &str| {
        json!({
            "account_id": "dfXl", "account_type": "LINKEDIN", "event": "message_received", "chat_id": "R8J",
            "account_info": { "type": "LINKEDIN", "feature": "classic", "user_id": "ACoOwn" },
            "timestamp": "2026-11-21T18:00:00.000Z", "webhook_name": "x", "message_id": "ykm", "message": "Yes",
            "sender": { "attendee_id": "C8z", "attendee_name": "Ada", "attendee_provider_id": sender },
        })
    };
    let told = |about, happening, notice: &str| {
        vec![Delivery { about, at: Some(now()), happening, notice: Some(notice.into()) }]
    };
    assert_eq!(
        read(received("ACoAda")),
        told(
            about(false, None, Some("ACoAda"), Some("dfXl")),
            Happening::Replied { text: Some("Yes".into()) },
            "ykm/message_received"
        )
    );
    assert_eq!(
        read(received("ACoOwn")),
        told(about(false, Some("ykm"), None, Some("dfXl")), Happening::Accepted, "ykm/message_received")
    );
    let related = json!({ "event": "new_relation", "account_id": "dfXl", "user_full_name": "Ada",
        "user_provider_id": "ACoAda", "timestamp": "2026-11-21T18:00:00.000Z" });
    assert_eq!(
        read(related),
        told(about(false, None, Some("ACoAda"), Some("dfXl")), Happening::Connected, "ACoAda/new_relation")
    );
    assert_eq!(read(json!({ "AccountStatus": { "account_id": "dfXl", "message": "CREDENTIALS" } })), []);
}

#[test]
fn nothing_is_read_before_its_signature_was_checked() {
    let body = b"{\"object\":";
    let none = HeaderMap::new();
    let missing = Err(WebhookError::from(SignatureError::Missing));
    assert_eq!(whatsapp::webhook::read(&none, &secret(), body), missing);
    assert_eq!(instagram::webhook::read(&none, &secret(), body), missing);
    assert_eq!(cal_com::webhook::read(&none, &secret(), body), missing);
    assert_eq!(linkedin::webhook::read(&none, &secret(), body), missing);
    assert_eq!(resend::webhook::read(&none, &secret(), body, now()), missing);

    let signed = hub("{\"object\":");
    assert_eq!(whatsapp::webhook::read(&signed, &secret(), body), Err(WebhookError::Malformed));
    assert_eq!(instagram::webhook::read(&signed, &secret(), body), Err(WebhookError::Malformed));
    let large = vec![b' '; BODY_BYTES_MAX + 1];
    assert_eq!(whatsapp::webhook::read(&none, &secret(), &large), Err(WebhookError::TooLarge));
    for other in ["page", "instagram"] {
        let body = json!({ "object": other, "entry": [] }).to_string();
        let refused = whatsapp::webhook::read(&hub(&body), &secret(), body.as_bytes());
        assert_eq!(refused, Err(WebhookError::Malformed));
    }
}
