//! The hash chain of an organization.
//!
//! A leaf is the hash of an event as it was decided; a link binds the leaf to its position, its time of record
//! and everything before it. `docs/auditing.md` says the same in words, and a script written from that page
//! alone recomputes both.

use docket_aggregates::Timestamp;
use docket_aggregates::ids::{CommandId, EventId, OrganizationId};
use sha2::{Digest, Sha256};

use super::canonical::{self, NotCanonical};

/// A link or a leaf.
pub type Hash = [u8; 32];

const VERSION: &[u8] = b"docket/1";

/// The link before the first event.
pub fn genesis(organization: OrganizationId) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(VERSION);
    hasher.update(organization.uuid().as_bytes());
    hasher.finalize().into()
}

/// The link of the event at `position`.
pub fn link(previous: &Hash, position: i64, recorded_at: Timestamp, leaf: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([1]);
    hasher.update(previous);
    hasher.update(position.to_be_bytes());
    hasher.update(recorded_at.millis().to_be_bytes());
    hasher.update(leaf);
    hasher.finalize().into()
}

/// An event as its leaf sees it: sealed, without position and time of record.
#[derive(Clone, Copy, Debug)]
pub struct LeafParts<'a> {
    /// The ledger.
    pub organization: OrganizationId,
    /// The event.
    pub event_id: EventId,
    /// The command that caused it.
    pub command_id: CommandId,
    /// The stored aggregate type.
    pub aggregate_type: &'a str,
    /// The aggregate's id as text.
    pub aggregate_id: &'a str,
    /// Place in the stream.
    pub sequence: u64,
    /// The stored event type.
    pub event_type: &'a str,
    /// The stored version.
    pub event_version: &'a str,
    /// Canonical JSON of the sealed payload.
    pub payload: &'a str,
    /// Canonical JSON of the metadata.
    pub metadata: &'a str,
    /// When it was decided.
    pub occurred_at: Timestamp,
}

/// The leaf of an event: SHA-256 of 0x00, `docket/1` and the canonical JSON of its parts.
pub fn leaf(parts: &LeafParts<'_>) -> Result<Hash, NotCanonical> {
    let mut text = String::with_capacity(512 + parts.payload.len() + parts.metadata.len());
    // The keys stand here in canonical order.
    for (key, value) in
        [("{\"aggregate_id\":", parts.aggregate_id), (",\"aggregate_type\":", parts.aggregate_type)]
    {
        text.push_str(key);
        canonical::string(value, &mut text)?;
    }
    for (key, id) in
        [(",\"command_id\":\"", parts.command_id.uuid()), ("\",\"event_id\":\"", parts.event_id.uuid())]
    {
        text.push_str(key);
        text.push_str(id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()));
    }
    for (key, value) in
        [("\",\"event_type\":", parts.event_type), (",\"event_version\":", parts.event_version)]
    {
        text.push_str(key);
        canonical::string(value, &mut text)?;
    }
    text.push_str(",\"metadata\":");
    text.push_str(parts.metadata);
    text.push_str(",\"occurred_at\":\"");
    text.push_str(&parts.occurred_at.to_string());
    text.push_str("\",\"organization_id\":\"");
    text.push_str(parts.organization.uuid().hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()));
    text.push_str("\",\"payload\":");
    text.push_str(parts.payload);
    text.push_str(",\"sequence\":");
    text.push_str(&parts.sequence.to_string());
    text.push('}');

    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(VERSION);
    hasher.update(text.as_bytes());
    Ok(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use uuid::Uuid;

    #[test]
    fn a_leaf_is_the_hash_of_the_canonical_event() {
        let (payload, metadata) = (json!({"type": "X", "n": 1}), json!({"tool": "t"}));
        let parts = LeafParts {
            organization: OrganizationId(Uuid::from_u128(1)),
            event_id: EventId(Uuid::from_u128(2)),
            command_id: CommandId(Uuid::from_u128(3)),
            aggregate_type: "Campaign",
            aggregate_id: "00000000-0000-0000-0000-000000000004",
            sequence: 5,
            event_type: "X",
            event_version: "1",
            payload: &canonical::to_string(&payload).unwrap(),
            metadata: &canonical::to_string(&metadata).unwrap(),
            occurred_at: Timestamp::from_millis(0),
        };
        let whole = json!({
            "organization_id": Uuid::from_u128(1), "event_id": Uuid::from_u128(2),
            "command_id": Uuid::from_u128(3), "aggregate_type": "Campaign",
            "aggregate_id": "00000000-0000-0000-0000-000000000004", "sequence": 5, "event_type": "X",
            "event_version": "1", "payload": payload, "metadata": metadata,
            "occurred_at": "1970-01-01T00:00:00.000Z",
        });
        let mut hasher = Sha256::new();
        hasher.update(b"\0docket/1");
        hasher.update(canonical::to_string(&whole).unwrap());
        let expected: Hash = hasher.finalize().into();
        assert_eq!(leaf(&parts).unwrap(), expected);
    }

    #[test]
    fn every_part_of_a_link_counts() {
        let base = link(&[0; 32], 1, Timestamp::from_millis(2), &[3; 32]);
        assert_ne!(base, link(&[9; 32], 1, Timestamp::from_millis(2), &[3; 32]));
        assert_ne!(base, link(&[0; 32], 9, Timestamp::from_millis(2), &[3; 32]));
        assert_ne!(base, link(&[0; 32], 1, Timestamp::from_millis(9), &[3; 32]));
        assert_ne!(base, link(&[0; 32], 1, Timestamp::from_millis(2), &[9; 32]));
    }
}
