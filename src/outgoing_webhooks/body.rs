//! What a webhook says: one event of the ledger as a `CloudEvent` (1.0, structured JSON), its facts and its ids.
//!
//! Nothing that is sealed leaves the house, and neither do keyed hashes: they tell a stranger nothing, and whoever
//! could collect them could tell which of two companies' contacts are one. A receiver that wants more asks the API for
//! it, with a token.

use docket_aggregates::Timestamp;
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::personal::SEALED;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::ledger::read::Stored;

/// Bytes of an event's own facts; what is larger is left out, and the body says so.
const FACTS_BYTES_MAX: usize = 128 * 1024;

/// The body for an event.
pub fn of_event(organization: OrganizationId, event: &Stored) -> Value {
    let text = |name: &str| event.metadata.get(name).cloned().unwrap_or(Value::Null);
    let mut data = json!({
        "position": event.position,
        "aggregateType": event.aggregate_type,
        "aggregateId": event.aggregate_id,
        "sequence": event.sequence,
        "eventVersion": event.event_version,
        "commandId": event.command_id,
        "actor": { "type": text("actor_type"), "id": text("actor_id") },
        "tool": text("tool"),
        "recordedAt": event.recorded_at,
    });
    let facts = facts(&event.payload).unwrap_or_else(|| json!({}));
    if facts.to_string().len() > FACTS_BYTES_MAX {
        data["factsOmitted"] = true.into();
    } else {
        data["facts"] = facts;
    }
    let subject = format!("{}/{}", event.aggregate_type, event.aggregate_id);
    envelope(organization, event.event_id.uuid(), &event.event_type, event.occurred_at, Some(subject), data)
}

/// The body of a test.
pub fn of_test(organization: OrganizationId, id: Uuid, at: Timestamp) -> Value {
    envelope(organization, id, TEST, at, None, json!({}))
}

/// The type of a test. No event has it.
pub const TEST: &str = "docket.test";

fn envelope(
    organization: OrganizationId,
    id: Uuid,
    event_type: &str,
    at: Timestamp,
    subject: Option<String>,
    data: Value,
) -> Value {
    let mut body = json!({
        "specversion": "1.0",
        "id": id,
        "source": format!("/api/companies/{organization}"),
        "type": event_type,
        "time": at,
        "datacontenttype": "application/json",
        "data": data,
    });
    if let Some(subject) = subject {
        body["subject"] = subject.into();
    }
    body
}

/// The open facts of a payload; none where all of it is sealed.
fn facts(value: &Value) -> Option<Value> {
    match value {
        Value::Object(fields) if fields.contains_key(SEALED) => None,
        Value::Object(fields) => {
            let open = fields.iter().filter(|(name, _)| *name != "type" && !is_hash(name));
            let open = open.filter_map(|(name, value)| Some((name.clone(), facts(value)?)));
            Some(Value::Object(open.collect::<Map<_, _>>()))
        }
        Value::Array(items) => Some(Value::Array(items.iter().filter_map(facts).collect())),
        plain => Some(plain.clone()),
    }
}

/// Whether a field holds keyed hashes, or the key that a provider gets.
fn is_hash(name: &str) -> bool {
    name.ends_with("_hash")
        || name.ends_with("_key")
        || matches!(name, "hash" | "hashes" | "key" | "fingerprint" | "dedup" | "addresses" | "entries")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_values_and_hashes_stay_in_the_house() {
        let payload = json!({
            "type": "MessageDrafted",
            "message_id": "m",
            "channel": "email",
            "recipient_hash": "canary",
            "content": { SEALED: { "subject": "s", "box": "canary" } },
            "dedup": { "key": "canary", "fingerprint": "canary" },
            "step": null,
            "list": [{ SEALED: {} }, { "plain": 1, "slug_key": "canary" }, 2],
        });
        assert_eq!(
            facts(&payload).unwrap(),
            json!({ "message_id": "m", "channel": "email", "step": null, "list": [{ "plain": 1 }, 2] })
        );
        assert_eq!(facts(&json!({ SEALED: {} })), None);
    }
}
