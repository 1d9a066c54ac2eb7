//! WhatsApp: what is sent, and what each documented answer means.

use docket::channels::LastHeard;
use docket_aggregates::channel::Channel;
use serde_json::{Value, json};

use super::provider::{Act, Provider};
use super::{CANARY, REFERENCE, assert_discreet, channels, now, outgoing, told};

const TO: &str = "+33 6 12 34 56 78";

fn config() -> Value {
    json!({ "phoneNumberId": "106540352242922", "language": "fr" })
}

fn accepted(status: &str) -> Value {
    json!({
        "messaging_product": "whatsapp",
        "contacts": [{ "input": "33612345678", "wa_id": "33612345678" }],
        "messages": [{ "id": "wamid.HBgLMzM2", "message_status": status }],
    })
}

/// Meta's envelope of an error.
fn error(code: i64) -> Value {
    json!({ "error": {
        "message": format!("(#{code}) Something about +33612345678"), "type": "OAuthException", "code": code,
        "error_data": { "messaging_product": "whatsapp", "details": format!("33612345678 and {CANARY}") },
        "fbtrace_id": "AbCdEf",
    }})
}

#[tokio::test]
async fn a_text_is_sent_as_the_cloud_api_wants_it() {
    let provider = Provider::start([Act::answer(200, accepted("accepted"))]).await;
    let message = outgoing(Channel::Whatsapp, TO, &config(), &json!({ "text": "Bonjour" }));
    let outcome = channels(&provider.base).deliver(&message).await;
    assert_eq!(told(&outcome), "accepted wamid.HBgLMzM2");

    let request = provider.only();
    assert_eq!(request.line, "POST /v23.0/106540352242922/messages HTTP/1.1");
    assert_eq!(request.header("authorization"), Some(format!("Bearer {CANARY}").as_str()));
    let agent = request.header("user-agent").unwrap();
    let (name, version) = agent.split_once('/').unwrap();
    assert!(name.bytes().all(|b| b.is_ascii_alphanumeric()), "{agent}");
    assert_eq!(version.split('.').filter(|part| part.parse::<u32>().is_ok()).count(), 3, "{agent}");
    assert_eq!(
        request.json(),
        json!({
            "messaging_product": "whatsapp", "recipient_type": "individual", "to": "33612345678", "type": "text",
            "text": { "body": "Bonjour" },
        })
    );
}

#[tokio::test]
async fn a_template_names_its_language_and_fills_its_places() {
    for (payload, language, parameters) in [
        (json!({ "templateSid": "hello" }), "fr", None),
        (
            json!({ "templateSid": "hello", "language": "en_US", "variables": { "1": "Ada", "2": "12" } }),
            "en_US",
            Some(json!([{ "type": "text", "text": "Ada" }, { "type": "text", "text": "12" }])),
        ),
        (
            json!({ "templateSid": "hello", "variables": { "name": "Ada" } }),
            "fr",
            Some(json!([{ "type": "text", "parameter_name": "name", "text": "Ada" }])),
        ),
    ] {
        let provider = Provider::start([Act::answer(200, accepted("held_for_quality_assessment"))]).await;
        let message = outgoing(Channel::Whatsapp, TO, &config(), &payload);
        let outcome = channels(&provider.base).deliver(&message).await;
        assert_eq!(told(&outcome), "accepted wamid.HBgLMzM2", "held for its quality is accepted");
        let body = provider.only().json();
        assert_eq!(body["type"], "template");
        assert_eq!(body["biz_opaque_callback_data"], REFERENCE);
        assert_eq!(body["template"]["name"], "hello");
        assert_eq!(body["template"]["language"], json!({ "policy": "deterministic", "code": language }));
        let components = parameters.map(|parameters| json!([{ "type": "body", "parameters": parameters }]));
        assert_eq!(body["template"].get("components"), components.as_ref());
    }
}

#[tokio::test]
async fn every_documented_error_has_its_meaning() {
    for (status, code, expected) in [
        (401, 0, "rejected credential"),
        (401, 104, "rejected credential"),
        (401, 190, "rejected credential"),
        (403, 3, "rejected credential"),
        (403, 10, "rejected credential"),
        (403, 200, "rejected credential"),
        (403, 299, "rejected credential"),
        (403, 131_005, "rejected credential"),
        (400, 4, "retry rate_limited"),
        (400, 80_007, "retry rate_limited"),
        (400, 130_429, "retry rate_limited"),
        (400, 133_016, "retry rate_limited"),
        (400, 131_056, "retry rate_limited 6"),
        (400, 131_048, "retry rate_limited 86400"),
        (400, 131_049, "retry rate_limited 86400"),
        (400, 130_472, "retry rate_limited 86400"),
        (503, 2, "retry unavailable"),
        (500, 131_000, "retry unavailable"),
        (500, 131_016, "unknown"),
        (500, 131_057, "retry unavailable"),
        (503, 133_004, "unknown"),
        (400, 131_047, "rejected window_closed"),
        (400, 131_050, "rejected opted_out"),
        (400, 131_021, "rejected refused"),
        (400, 131_026, "rejected recipient"),
        (400, 131_030, "rejected refused"),
        (403, 130_497, "rejected refused"),
        (403, 368, "rejected account"),
        (403, 131_031, "rejected account"),
        (403, 131_037, "rejected account"),
        (400, 131_042, "rejected account"),
        (500, 131_045, "rejected account"),
        (400, 133_010, "rejected account"),
        (400, 33, "rejected configuration"),
        (422, 803, "rejected configuration"),
        (400, 100, "rejected content"),
        (400, 131_008, "rejected content"),
        (400, 131_009, "rejected content"),
        (400, 131_051, "rejected content"),
        (400, 131_052, "rejected content"),
        (400, 131_053, "rejected content"),
        (400, 132_000, "rejected content"),
        (404, 132_001, "rejected content"),
        (400, 132_005, "rejected content"),
        (400, 132_007, "rejected content"),
        (400, 132_012, "rejected content"),
        (400, 132_015, "rejected content"),
        (400, 132_016, "rejected content"),
        (400, 132_068, "rejected content"),
        (400, 135_000, "rejected content"),
        // A code without a meaning: the status decides.
        (400, 1, "rejected content"),
        (500, 1, "unknown"),
        (400, 999_999, "rejected content"),
        (500, 999_999, "unknown"),
    ] {
        let provider = Provider::start([Act::answer(status, error(code))]).await;
        let message = outgoing(Channel::Whatsapp, TO, &config(), &json!({ "text": "Bonjour" }));
        let outcome = channels(&provider.base).deliver(&message).await;
        assert_eq!(told(&outcome), expected, "{status} {code}");
        assert!(format!("{outcome:?}").contains(&code.to_string()), "the reason names the code: {outcome:?}");
        assert_discreet(&outcome, "33612345678");
    }
}

#[tokio::test]
async fn a_sender_that_does_not_exist_is_a_mistake_of_the_outbox() {
    let mut missing = error(100);
    missing["error"]["error_subcode"] = json!(33);
    let provider = Provider::start([Act::answer(400, missing)]).await;
    let message = outgoing(Channel::Whatsapp, TO, &config(), &json!({ "text": "Bonjour" }));
    assert_eq!(told(&channels(&provider.base).deliver(&message).await), "rejected configuration");
}

#[tokio::test]
async fn a_closed_window_is_known_before_anything_is_sent() {
    let provider = Provider::start([]).await;
    let channels = channels(&provider.base);
    let mut message = outgoing(Channel::Whatsapp, TO, &config(), &json!({ "text": "Bonjour" }));
    for last_heard in [LastHeard::Never, LastHeard::At(now().plus_millis(-24 * 3_600_000 - 1))] {
        message.last_heard = last_heard;
        assert_eq!(told(&channels.deliver(&message).await), "rejected window_closed");
    }
    assert!(provider.taken().is_empty());

    let provider = Provider::start([Act::answer(200, accepted("accepted"))]).await;
    let mut message = outgoing(Channel::Whatsapp, TO, &config(), &json!({ "templateSid": "hello" }));
    message.last_heard = LastHeard::Never;
    let outcome = super::channels(&provider.base).deliver(&message).await;
    assert_eq!(told(&outcome), "accepted wamid.HBgLMzM2", "a template needs no window");
}

#[tokio::test]
async fn only_a_telephone_number_is_written_to() {
    let provider = Provider::start([]).await;
    let channels = channels(&provider.base);
    for to in ["", "ada@example.com", "12", "+1234567890123456", "+33 6 12 34 56 78 ext 9"] {
        let message = outgoing(Channel::Whatsapp, to, &config(), &json!({ "text": "Bonjour" }));
        assert_eq!(told(&channels.deliver(&message).await), "rejected recipient", "{to}");
    }
    assert!(provider.taken().is_empty());
}

#[tokio::test]
async fn a_success_without_an_id_is_unknown() {
    for body in [
        json!({}),
        json!({ "messages": [] }),
        json!({ "messages": [{ "id": "" }] }),
        json!({ "error": { "code": 131_047, "message": "?" } }),
        json!("ok"),
    ] {
        let provider = Provider::start([Act::answer(200, &body)]).await;
        let message = outgoing(Channel::Whatsapp, TO, &config(), &json!({ "text": "Bonjour" }));
        assert_eq!(told(&channels(&provider.base).deliver(&message).await), "unknown", "{body}");
    }
}
