//! What a message says: its payload as it is kept, the hashes by which it is known, and what the board vouched for.

use docket_aggregates::Timestamp;
use docket_aggregates::channel::Channel;
use docket_aggregates::content_piece::ContentPiece;
use docket_aggregates::ids::OutboxId;
use docket_aggregates::labels::Labels;
use docket_aggregates::message::MessageContent;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::refusal::SendRefusal;
use crate::channels::{Problem, check_payload};
use crate::ledger::canonical;
use crate::ledger::keys::OrganizationKeys;

/// Bytes of a payload, as JSON without white space.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1_024;

/// A payload that the channel takes, as the one text that the same JSON always has.
pub fn read_payload(channel: Channel, payload: &Value, at: Timestamp) -> Result<String, SendRefusal> {
    if !payload.is_object() {
        let problem = Problem::new("payload", "NOT_AN_OBJECT", "must be an object");
        return Err(SendRefusal::Payload(vec![problem]));
    }
    let text = canonical::with_fractions(payload).map_err(|error| {
        SendRefusal::Payload(vec![Problem::new("payload", "NOT_CANONICAL", error.to_string())])
    })?;
    if text.len() > PAYLOAD_BYTES_MAX {
        return Err(SendRefusal::PayloadTooLong);
    }
    check_payload(channel, payload, at).map_err(SendRefusal::Payload)?;
    Ok(text)
}

/// The keyed hash of what a person is shown and answers for.
pub fn content_hash(
    keys: &OrganizationKeys,
    channel: Channel,
    outbox: OutboxId,
    content: &MessageContent,
) -> String {
    let parts = [channel.name(), &outbox.to_string(), &content.to, &content.payload];
    hex::encode(keys.hash("message content", &parts))
}

/// The SHA-256 of the words that a message consists of, for a channel and payload that consist of one text; none where
/// there is anything beside it that a board which vouched for the text has not seen.
fn text_sha256(channel: Channel, payload: &Value) -> Option<String> {
    let beside = match channel {
        Channel::Email => payload.get("html"),
        Channel::Linkedin => payload.get("subject"),
        Channel::CalCom | Channel::Whatsapp | Channel::Instagram | Channel::DryRun => None,
    };
    if beside.is_some_and(|beside| !beside.is_null()) {
        return None;
    }
    let text = payload.get("text")?.as_str()?;
    Some(hex::encode(Sha256::digest(text)))
}

/// The labels of a message: those of its piece if the board vouched for these very words, else the outbox's niche and no
/// tags.
pub fn labels(
    channel: Channel,
    payload: &Value,
    piece: Option<&ContentPiece>,
    outbox_niche: Option<&str>,
) -> Labels {
    let vouched = piece.zip(text_sha256(channel, payload)).and_then(|(piece, hash)| piece.labels_for(&hash));
    vouched.unwrap_or_else(|| Labels { niche: outbox_niche.map(str::to_owned), tags: vec![] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_words_that_stand_alone_are_vouched_for() {
        let hash = Some(hex::encode(Sha256::digest("Hello")));
        for (channel, payload, expected) in [
            (Channel::Email, json!({ "subject": "s", "text": "Hello" }), hash.clone()),
            (Channel::Email, json!({ "subject": "s", "text": "Hello", "html": null }), hash.clone()),
            (Channel::Email, json!({ "subject": "s", "text": "Hello", "html": "<p>Other</p>" }), None),
            (Channel::Email, json!({ "subject": "s", "html": "Hello" }), None),
            (Channel::Linkedin, json!({ "kind": "message", "text": "Hello" }), hash.clone()),
            (Channel::Whatsapp, json!({ "text": "Hello" }), hash.clone()),
            (Channel::Whatsapp, json!({ "templateSid": "welcome" }), None),
            (Channel::CalCom, json!({ "eventTypeId": 1 }), None),
        ] {
            assert_eq!(text_sha256(channel, &payload), expected, "{payload}");
        }
    }

    #[test]
    fn the_same_json_is_the_same_payload() {
        let at = Timestamp::from_millis(0);
        let one: Value = serde_json::from_str(r#"{"b":{"d":1,"c":2},"a":[1.50,true]}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"a":[1.5,true],"b":{"c":2,"d":1}}"#).unwrap();
        let read = |payload: &Value| read_payload(Channel::DryRun, payload, at);
        assert_eq!(read(&one), read(&other));
        assert_eq!(read(&one).as_deref(), Ok(r#"{"a":[1.5,true],"b":{"c":2,"d":1}}"#));
    }

    #[test]
    fn a_payload_is_an_object_of_64_kib_at_most() {
        let at = Timestamp::from_millis(0);
        let of = |bytes: usize| json!({ "t": "a".repeat(bytes - r#"{"t":""}"#.len()) });
        assert!(read_payload(Channel::DryRun, &of(PAYLOAD_BYTES_MAX), at).is_ok());
        let refused = read_payload(Channel::DryRun, &of(PAYLOAD_BYTES_MAX + 1), at);
        assert_eq!(refused, Err(SendRefusal::PayloadTooLong));
        for payload in [json!([]), json!("text"), json!(null)] {
            assert!(matches!(read_payload(Channel::DryRun, &payload, at), Err(SendRefusal::Payload(_))));
        }
    }
}
