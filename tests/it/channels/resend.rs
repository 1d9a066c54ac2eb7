//! E-mail through Resend: what is sent, and what each documented answer means.

use docket::channels::{Content, Outgoing, Secret};
use docket_aggregates::channel::Channel;
use serde_json::{Value, json};

use super::provider::{Act, Provider};
use super::{CANARY, REFERENCE, assert_discreet, channels, outgoing, told};

const TO: &str = "ada@example.org";

fn mail() -> Outgoing {
    let config =
        json!({ "fromAddress": "ops@example.com", "fromName": "Ops \"1\"", "replyTo": "in@example.com" });
    let payload =
        json!({ "subject": "Hi", "text": "Hello", "html": "<p>Hello</p>", "headers": { "X-A": "b" } });
    let mut mail = outgoing(Channel::Email, TO, &config, &payload);
    mail.credential = Secret::new(format!("resend://{CANARY}"));
    mail
}

#[tokio::test]
async fn a_mail_carries_its_idempotency_key_and_its_reference() {
    let id = "49a3999c-0ce1-4ea6-ab68-afcd6dc2e794";
    let provider = Provider::start([Act::answer(200, json!({ "id": id }))]).await;
    let mut mail = mail();
    let Content::Email(letter) = &mut mail.content else { unreachable!() };
    letter.unsubscribe = Some("https://d.example.com/u/tok".into());
    assert!(mail.repeatable());
    assert_eq!(told(&channels(&provider.base).deliver(&mail).await), format!("accepted {id}"));
    let request = provider.only();
    assert_eq!(request.line, "POST /emails HTTP/1.1");
    assert_eq!(request.header("authorization"), Some(format!("Bearer {CANARY}").as_str()));
    assert_eq!(request.header("idempotency-key"), Some(REFERENCE));
    assert_eq!(
        request.json(),
        json!({
            "from": "\"Ops 1\" <ops@example.com>", "to": [TO], "subject": "Hi", "text": "Hello",
            "html": "<p>Hello</p>", "reply_to": "in@example.com",
            "headers": {
                "X-A": "b", "References": format!("<{REFERENCE}@example.com>"),
                "List-Unsubscribe": "<https://d.example.com/u/tok>",
                "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            },
            "tags": [{ "name": "docket_reference", "value": REFERENCE }],
        })
    );
}

#[tokio::test]
async fn asking_again_asks_for_the_same() {
    let answer = || Act::answer(200, json!({ "id": "49a3" }));
    let provider = Provider::start([Act::Cut, answer()]).await;
    let channels = channels(&provider.base);
    assert_eq!(told(&channels.deliver(&mail()).await), "unknown");
    assert_eq!(told(&channels.deliver(&mail()).await), "accepted 49a3");
    let taken = provider.taken();
    assert_eq!(taken[0].body, taken[1].body);
    assert_eq!(taken[0].header("idempotency-key"), taken[1].header("idempotency-key"));
}

#[tokio::test]
async fn every_documented_error_has_its_meaning() {
    for (status, name, headers, expected) in [
        (400, "invalid_idempotency_key", "", "rejected content"),
        (400, "validation_error", "", "rejected content"),
        (401, "missing_api_key", "", "rejected credential"),
        (401, "restricted_api_key", "", "rejected credential"),
        (403, "invalid_api_key", "", "rejected credential"),
        (403, "validation_error", "", "rejected configuration"),
        (404, "not_found", "", "rejected configuration"),
        (405, "method_not_allowed", "", "rejected configuration"),
        (409, "invalid_idempotent_request", "", "unknown"),
        (409, "concurrent_idempotent_requests", "", "unknown"),
        (422, "invalid_attachment", "", "rejected content"),
        (422, "invalid_from_address", "", "rejected configuration"),
        (422, "invalid_access", "", "rejected configuration"),
        (422, "invalid_parameter", "", "rejected content"),
        (422, "invalid_region", "", "rejected configuration"),
        (422, "missing_required_field", "", "rejected content"),
        (429, "rate_limit_exceeded", "retry-after: 1\r\n", "retry rate_limited 1"),
        (429, "daily_quota_exceeded", "", "retry rate_limited"),
        (429, "monthly_quota_exceeded", "", "retry rate_limited"),
        (451, "security_error", "", "rejected account"),
        (500, "application_error", "", "unknown"),
        (500, "internal_server_error", "", "unknown"),
        (502, "something_new", "", "unknown"),
        (503, "something_new", "retry-after: 5\r\n", "unknown"),
        (418, "something_new", "", "rejected refused"),
    ] {
        let body: Value =
            json!({ "statusCode": status, "name": name, "message": format!("{TO}: no, {CANARY}") });
        let provider = Provider::start([Act::with_headers(status, headers, body)]).await;
        let outcome = channels(&provider.base).deliver(&mail()).await;
        assert_eq!(told(&outcome), expected, "{status} {name}");
        assert_discreet(&outcome, TO);
    }
}

#[tokio::test]
async fn what_a_gateways_failure_did_is_unknown() {
    for status in [500, 502, 503, 504] {
        let provider = Provider::start([Act::answer(status, "<html>Bad gateway</html>")]).await;
        assert_eq!(told(&channels(&provider.base).deliver(&mail()).await), "unknown", "{status}");
    }
}
