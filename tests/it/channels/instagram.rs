//! Instagram: what is sent, and what each documented answer means.

use docket::channels::LastHeard;
use docket_aggregates::channel::Channel;
use serde_json::{Value, json};

use super::provider::{Act, Provider};
use super::{CANARY, assert_discreet, channels, outgoing, told};

const TO: &str = "1535148674817116";

fn config() -> Value {
    json!({ "accountId": "17841400008460056" })
}

fn error(code: i64, subcode: Option<i64>) -> Value {
    let mut error = json!({ "error": {
        "message": "This message is sent outside of allowed window.", "type": "IGApiException", "code": code,
        "fbtrace_id": "A9C5BFZ",
    }});
    if let Some(subcode) = subcode {
        error["error"]["error_subcode"] = json!(subcode);
    }
    error
}

#[tokio::test]
async fn a_text_is_sent_to_an_instagram_scoped_id() {
    let provider =
        Provider::start([Act::answer(200, json!({ "recipient_id": TO, "message_id": "aWdfZA" }))]).await;
    let message = outgoing(Channel::Instagram, TO, &config(), &json!({ "text": "Hello" }));
    assert_eq!(told(&channels(&provider.base).deliver(&message).await), "accepted aWdfZA");
    let request = provider.only();
    assert_eq!(request.line, "POST /v23.0/17841400008460056/messages HTTP/1.1");
    assert_eq!(request.header("authorization"), Some(format!("Bearer {CANARY}").as_str()));
    assert_eq!(request.json(), json!({ "recipient": { "id": TO }, "message": { "text": "Hello" } }));
}

#[tokio::test]
async fn every_documented_error_has_its_meaning() {
    for (status, code, subcode, expected) in [
        (403, 10, Some(2_534_022), "rejected window_closed"),
        (400, 10, Some(2_018_278), "rejected window_closed"),
        (403, 10, None, "rejected credential"),
        (400, 190, Some(460), "rejected credential"),
        (403, 200, None, "rejected credential"),
        (400, 100, Some(2_534_014), "rejected recipient"),
        (400, 100, Some(2_018_001), "rejected recipient"),
        (400, 551, Some(1_545_041), "rejected recipient"),
        (400, 100, None, "rejected content"),
        (403, 368, None, "rejected account"),
        (400, 4, None, "retry rate_limited"),
        (400, 613, None, "retry rate_limited"),
        (400, 80_002, None, "retry rate_limited"),
        (500, 2, None, "retry unavailable"),
        (500, 1_200, None, "retry unavailable"),
        (500, 1, None, "unknown"),
    ] {
        let provider = Provider::start([Act::answer(status, error(code, subcode))]).await;
        let message = outgoing(Channel::Instagram, TO, &config(), &json!({ "text": "Hello" }));
        let outcome = channels(&provider.base).deliver(&message).await;
        assert_eq!(told(&outcome), expected, "{status} {code} {subcode:?}");
        assert_discreet(&outcome, TO);
    }
}

#[tokio::test]
async fn nobody_is_written_to_who_did_not_write_first() {
    let provider = Provider::start([]).await;
    let channels = channels(&provider.base);
    let mut message = outgoing(Channel::Instagram, TO, &config(), &json!({ "text": "Hello" }));
    message.last_heard = LastHeard::Never;
    assert_eq!(told(&channels.deliver(&message).await), "rejected window_closed");
    message.last_heard = LastHeard::NotTracked;
    for to in ["", "@ada", "12x", "../me"] {
        message.to.address = to.into();
        assert_eq!(told(&channels.deliver(&message).await), "rejected recipient", "{to}");
    }
    assert!(provider.taken().is_empty());
}
