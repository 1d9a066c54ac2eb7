//! What a message says: its payload as it is kept, the hashes by which it is known, and what the board vouched for.

use docket_aggregates::Timestamp;
use docket_aggregates::channel::Channel;
use docket_aggregates::content_piece::ContentPiece;
use docket_aggregates::ids::OutboxId;
use docket_aggregates::labels::Labels;
use docket_aggregates::message::MessageContent;
use docket_aggregates::payload;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::refusal::SendRefusal;
use crate::channels::{Problem, check_payload};
use crate::ledger::canonical::{self, NotCanonical};
use crate::ledger::keys::OrganizationKeys;

/// Bytes of a payload, as JSON without white space.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1_024;

/// A payload as it is kept: the one text that the same JSON always has, in which members that are null are missing.
pub fn kept(payload: &Value) -> Result<String, NotCanonical> {
    let text = canonical::with_fractions(payload)?;
    Ok(payload::compared(&text).into_owned())
}

/// A payload that the channel takes, as the one text that the same JSON always has.
pub fn read_payload(channel: Channel, payload: &Value, at: Timestamp) -> Result<String, SendRefusal> {
    if !payload.is_object() {
        let problem = Problem::new("payload", "NOT_AN_OBJECT", "must be an object");
        return Err(SendRefusal::Payload(vec![problem]));
    }
    let text = kept(payload).map_err(|error| {
        SendRefusal::Payload(vec![Problem::new("payload", "NOT_CANONICAL", error.to_string())])
    })?;
    if text.len() > PAYLOAD_BYTES_MAX {
        return Err(SendRefusal::PayloadTooLong);
    }
    check_payload(channel, payload, at).map_err(SendRefusal::Payload)?;
    Ok(text)
}

/// The keyed hash of what a person is shown and answers for: channel, sender, recipient, and the whole payload, which is
/// everything that the recipient would get (subject, text and HTML, the template and what is put into it, whom to answer).
pub fn content_hash(
    keys: &OrganizationKeys,
    channel: Channel,
    outbox: OutboxId,
    content: &MessageContent,
) -> String {
    let parts = [channel.name(), &outbox.to_string(), &content.to, &content.payload];
    hex::encode(keys.hash("message content", &parts))
}

/// The words that a message consists of: the SHA-256 of its text and, on a channel that has one, its subject. None where there
/// is anything beside them that the board has not seen: another body, another address for answers, headers.
fn words(channel: Channel, payload: &Value) -> Option<(Option<&str>, String)> {
    let beside: &[&str] = match channel {
        Channel::Email => &["html", "replyTo", "headers"],
        Channel::Linkedin | Channel::CalCom | Channel::Whatsapp | Channel::Instagram | Channel::DryRun => &[],
    };
    let given = |name: &str| payload.get(name).filter(|value| !value.is_null());
    if beside.iter().any(|name| given(name).is_some()) {
        return None;
    }
    let subject = match (channel, given("subject")) {
        (Channel::Email | Channel::Linkedin, Some(subject)) => Some(subject.as_str()?),
        _ => None,
    };
    let text = payload.get("text")?.as_str()?;
    Some((subject, hex::encode(Sha256::digest(text))))
}

/// The labels of a message: those of its piece if the board vouched for these very words, else the outbox's niche and no
/// tags.
pub fn labels(
    channel: Channel,
    payload: &Value,
    piece: Option<&ContentPiece>,
    outbox_niche: Option<&str>,
) -> Labels {
    let vouched = piece
        .zip(words(channel, payload))
        .and_then(|(piece, (subject, text_sha256))| piece.labels_for(subject, &text_sha256));
    vouched.unwrap_or_else(|| Labels { niche: outbox_niche.map(str::to_owned), tags: vec![] })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ledger::seal::Key;
    use docket_aggregates::ids::OrganizationId;
    use serde_json::json;
    use uuid::Uuid;

    #[test]
    fn only_words_that_stand_alone_are_vouched_for() {
        let hash = hex::encode(Sha256::digest("Hello"));
        let with = |subject| Some((Some(subject), hash.clone()));
        let alone = Some((None, hash.clone()));
        for (channel, payload, expected) in [
            (Channel::Email, json!({ "subject": "s", "text": "Hello" }), with("s")),
            (Channel::Email, json!({ "subject": "s", "text": "Hello", "html": null }), with("s")),
            (Channel::Email, json!({ "subject": "s", "text": "Hello", "replyTo": "eve@example.com" }), None),
            (Channel::Email, json!({ "subject": "s", "text": "Hello", "headers": { "X-A": "b" } }), None),
            (Channel::Linkedin, json!({ "kind": "message", "subject": "s", "text": "Hello" }), with("s")),
            (Channel::Email, json!({ "subject": "s", "text": "Hello", "html": "<p>Other</p>" }), None),
            (Channel::Email, json!({ "subject": "s", "html": "Hello" }), None),
            (Channel::Linkedin, json!({ "kind": "message", "text": "Hello" }), alone.clone()),
            (Channel::Whatsapp, json!({ "text": "Hello" }), alone.clone()),
            (Channel::Whatsapp, json!({ "templateSid": "welcome" }), None),
            (Channel::CalCom, json!({ "eventTypeId": 1 }), None),
        ] {
            assert_eq!(words(channel, &payload), expected, "{payload}");
        }
    }

    #[test]
    fn an_answer_is_bound_to_everything_that_the_recipient_gets() {
        let keys = OrganizationKeys::new(OrganizationId::INSTANCE, &Key::from_bytes([7; 32]));
        let (one, other) = (OutboxId(Uuid::from_u128(1)), OutboxId(Uuid::from_u128(2)));
        let at = Timestamp::from_millis(0);
        let hash = |channel, outbox, to: &str, payload: Value| {
            let payload = read_payload(channel, &payload, at).unwrap();
            content_hash(&keys, channel, outbox, &MessageContent { to: to.into(), payload })
        };
        let mail = |field: &str, value: Value| {
            let mut payload = json!({ "subject": "Roofs", "text": "A word" });
            payload[field] = value;
            payload
        };
        let template = |first: &str| json!({ "templateSid": "welcome", "variables": { "1": first } });
        let (email, whatsapp) = (Channel::Email, Channel::Whatsapp);
        let contents = [
            hash(email, one, "ann@example.com", mail("subject", json!("Roofs"))),
            hash(email, one, "ann@example.com", mail("subject", json!("Roofs!"))),
            hash(email, one, "ann@example.com", mail("text", json!("Another word"))),
            hash(email, one, "ann@example.com", mail("html", json!("<p>A word</p>"))),
            hash(email, one, "ann@example.com", mail("replyTo", json!("eve@example.com"))),
            hash(email, one, "ann@example.com", mail("headers", json!({ "X-A": "b" }))),
            hash(email, other, "ann@example.com", mail("subject", json!("Roofs"))),
            hash(email, one, "bob@example.com", mail("subject", json!("Roofs"))),
            hash(whatsapp, one, "+33612345678", template("Ann")),
            hash(whatsapp, one, "+33612345678", template("Bob")),
        ];
        let different: BTreeSet<&String> = contents.iter().collect();
        assert_eq!(different.len(), contents.len());
        assert_eq!(contents[0], hash(email, one, "ann@example.com", mail("text", json!("A word"))));
    }

    #[test]
    fn the_same_json_is_the_same_payload() {
        let at = Timestamp::from_millis(0);
        let one: Value = serde_json::from_str(r#"{"b":{"d":1,"c":2},"a":[1.50,true]}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"a":[1.5,true],"b":{"c":2,"d":1}}"#).unwrap();
        let read = |payload: &Value| read_payload(Channel::DryRun, payload, at);
        assert_eq!(read(&one), read(&other));
        assert_eq!(read(&one).as_deref(), Ok(r#"{"a":[1.5,true],"b":{"c":2,"d":1}}"#));
        // What is null is missing, to every channel.
        let null: Value = serde_json::from_str(r#"{"c":null,"a":[1.50,true],"b":{"d":1,"c":2}}"#).unwrap();
        assert_eq!(read(&null), read(&one));
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
