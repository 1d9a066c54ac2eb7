//! Instagram's messaging API.
//!
//! Somebody must have written first, and only for 24 hours after their last word may be answered. There is no
//! idempotency key, so a call without an answer is unknown.

pub mod webhook;

use serde::Deserialize;
use serde_json::{Value, json};

use super::graph::{self, VERSION, Verdict};
use super::http::Http;
use super::problem::{Fields, provider_id, text};
use super::{Code, Outcome, Outgoing, Problem, listening};

/// What the provider is called in reasons.
const PROVIDER: &str = "Instagram";
/// Bytes of a text.
const TEXT_BYTES_MAX: usize = 1_000;

/// An outbox's configuration: `{accountId}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Instagram's id of the sender's professional account.
    pub account_id: String,
}

impl Settings {
    /// Reads it.
    pub fn read(config: &Value) -> Result<Self, Vec<Problem>> {
        let mut fields = Fields::of("config", config);
        let account_id = fields.required("accountId", provider_id);
        listening::check_with_challenge(&mut fields);
        fields.finish(account_id.map(|account_id| Self { account_id }))
    }
}

/// What is sent: `{text}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The text, at most 1 000 bytes in UTF-8.
    pub text: String,
}

impl Payload {
    /// Reads it.
    pub fn read(payload: &Value) -> Result<Self, Vec<Problem>> {
        let mut fields = Fields::of("payload", payload);
        let text = fields.required("text", |value| {
            let text = text(TEXT_BYTES_MAX)(value)?;
            if text.len() > TEXT_BYTES_MAX {
                return Err(("TOO_LONG", format!("must have at most {TEXT_BYTES_MAX} bytes in UTF-8")));
            }
            Ok(text)
        });
        fields.finish(text.map(|text| Self { text }))
    }
}

/// One message.
#[derive(Clone, Debug)]
pub struct Message {
    /// By which account it leaves.
    pub settings: Settings,
    /// What it says.
    pub payload: Payload,
}

#[derive(Deserialize)]
struct Sent {
    message_id: String,
}

/// Hands the message over.
pub async fn deliver(http: &Http, base: &reqwest::Url, outgoing: &Outgoing, message: &Message) -> Outcome {
    let to = outgoing.to.address.as_str();
    if to.is_empty() || to.len() > 64 || !to.bytes().all(|b| b.is_ascii_digit()) {
        return Outcome::rejected(
            Code::Recipient,
            "the recipient is no Instagram-scoped id, which has only digits",
        );
    }
    if outgoing.last_heard.closed(outgoing.at) {
        let reason = "the recipient has not written within 24 hours, and Instagram allows no other message";
        return Outcome::rejected(Code::WindowClosed, reason);
    }
    let request = http
        .post(base, &[VERSION, &message.settings.account_id, "messages"])
        .bearer_auth(outgoing.credential.trimmed())
        .json(&json!({ "recipient": { "id": to }, "message": { "text": message.payload.text } }));
    let answer = match http.call(request, outgoing.within).await.answer(PROVIDER) {
        Ok(answer) => answer,
        Err(outcome) => return outcome,
    };
    if answer.is_success() {
        return match answer.json::<Sent>() {
            Some(sent) if !sent.message_id.is_empty() => Outcome::accepted(sent.message_id),
            _ => answer.by_status(PROVIDER),
        };
    }
    graph::refusal(PROVIDER, &answer, &[to, outgoing.credential.trimmed()], verdict)
}

/// Instagram's own codes.
fn verdict(code: i64, subcode: Option<i64>) -> Option<Verdict> {
    Some(match (code, subcode) {
        // Outside of the window in which an answer is allowed.
        (10, Some(2_534_022 | 2_018_278)) => Verdict::Rejected(Code::WindowClosed),
        // Nobody of that id, or one who does not take messages, or who is blocked.
        (100, Some(2_534_014 | 2_018_001)) | (551, _) => Verdict::Rejected(Code::Recipient),
        (10, Some(2_018_108)) => Verdict::Rejected(Code::Recipient),
        (1_545_041, _) | (200, Some(1_545_041)) => Verdict::Rejected(Code::Recipient),
        (1_200, _) => Verdict::Retry(Code::Unavailable, None),
        (80_002 | 80_006, _) => Verdict::Retry(Code::RateLimited, None),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_bounded_in_bytes() {
        let payload = |text: String| Payload::read(&json!({ "text": text }));
        assert!(payload("x".repeat(1_000)).is_ok());
        assert!(payload("é".repeat(500)).is_ok());
        for text in ["x".repeat(1_001), "é".repeat(501), "😀".repeat(251)] {
            assert_eq!(payload(text).unwrap_err()[0].code, "TOO_LONG");
        }
    }

    #[test]
    fn a_permission_and_a_closed_window_share_a_code_and_are_told_apart() {
        assert_eq!(verdict(10, Some(2_534_022)), Some(Verdict::Rejected(Code::WindowClosed)));
        assert_eq!(verdict(10, None), None);
    }
}
