//! An event as a projection receives it: decoded, its personal values opened, and where it stands.

use docket_aggregates::ids::{CommandId, EventId, OrganizationId};
use docket_aggregates::{AnyEvent, Timestamp};
use uuid::Uuid;

/// One event of an organization's ledger.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The ledger.
    pub organization_id: OrganizationId,
    /// Its place in the ledger, from 1, without gaps.
    pub position: i64,
    /// The event's own id.
    pub event_id: EventId,
    /// The command that caused it.
    pub command_id: CommandId,
    /// The stream that it belongs to.
    pub aggregate_id: Uuid,
    /// Its place in the stream, from 1, without gaps.
    pub sequence: i64,
    /// Kind of principal: `person`, `agent` or `system`.
    pub actor_type: String,
    /// The principal.
    pub actor_id: String,
    /// The tool or route that was called.
    pub tool: String,
    /// When it was decided.
    pub occurred_at: Timestamp,
    /// What happened.
    pub event: AnyEvent,
}

#[cfg(test)]
impl Recorded {
    /// An event at a position and place of a stream, for tests; each is a command of its own.
    pub(crate) fn sample(
        position: i64,
        stream: impl Into<Uuid>,
        sequence: i64,
        event: impl Into<AnyEvent>,
    ) -> Self {
        Self {
            organization_id: OrganizationId(Uuid::from_u128(1)),
            position,
            event_id: EventId(Uuid::from_u128(position.unsigned_abs().into())),
            command_id: CommandId(Uuid::from_u128(position.unsigned_abs().into())),
            aggregate_id: stream.into(),
            sequence,
            actor_type: "person".to_owned(),
            actor_id: "ada".to_owned(),
            tool: "test".to_owned(),
            occurred_at: Timestamp::from_millis(position),
            event: event.into(),
        }
    }
}
