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
