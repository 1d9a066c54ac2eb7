//! The ledger of a company, in order, sealed: what an auditor recomputes the chain from.

use axum::extract::{OriginalUri, State};
use axum::response::Response;
use docket_aggregates::Timestamp;
use docket_aggregates::ids::{CommandId, EventId, OrganizationId};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::HttpState;
use super::call::Admitted;
use super::error::ApiError;
use super::input::{Fields, integer};
use super::reply;
use super::spec::{Spec, schema};
use crate::ledger::read::{self, Portion, Stored};
use crate::shapes::{self, Instant};

/// Bytes of stored payload on one page, after which no further event is put on it.
const PAGE_BYTES: i64 = 8 << 20;

/// An event as it is stored; the names are those of the leaf that `docs/auditing.md` defines.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EventView {
    #[schemars(with = "Uuid")]
    organization_id: OrganizationId,
    position: i64,
    #[schemars(with = "Uuid")]
    event_id: EventId,
    #[schemars(with = "Uuid")]
    command_id: CommandId,
    aggregate_type: String,
    aggregate_id: String,
    sequence: i64,
    event_type: String,
    event_version: String,
    payload: Value,
    metadata: Value,
    #[schemars(with = "Instant")]
    occurred_at: Timestamp,
    #[schemars(with = "Instant")]
    recorded_at: Timestamp,
    leaf: String,
    chain: String,
}

impl EventView {
    /// The view of an event of this organization.
    pub(super) fn of(organization_id: OrganizationId, stored: Stored) -> Self {
        Self {
            organization_id,
            position: stored.position,
            event_id: stored.event_id,
            command_id: stored.command_id,
            aggregate_type: stored.aggregate_type,
            aggregate_id: stored.aggregate_id,
            sequence: stored.sequence,
            event_type: stored.event_type,
            event_version: stored.event_version,
            payload: stored.payload,
            metadata: stored.metadata,
            occurred_at: stored.occurred_at,
            recorded_at: stored.recorded_at,
            leaf: hex::encode(stored.leaf),
            chain: hex::encode(stored.chain),
        }
    }
}

/// What the reference says of [`list`].
pub fn listing() -> Spec {
    Spec::new("Read the ledger, in order and sealed").page(
        schema::<EventView>(),
        1_000,
        shapes::integer(0, 1 << 53),
        "The position of the last event seen.",
    )
}

/// `GET .../crm/events?after=&limit=`: the events after a position, in order.
pub async fn list(
    State(state): State<HttpState>,
    admitted: Admitted,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of_query(&uri, &[])?;
    let after = fields.optional("after", integer(0, 1 << 53)).unwrap_or(0);
    let limit = fields.optional("limit", integer(1, 1_000)).unwrap_or(100);
    fields.finish()?;

    let organization = admitted.organization;
    let mut connection = state.app.ledger.pool().acquire().await?;
    let head = read::head(&mut connection, organization).await?;
    let head = head.ok_or_else(|| ApiError::not_found("ORG_NOT_FOUND", "organization"))?;
    if after > head {
        let message = format!("is beyond the head, which is {head}");
        return Err(ApiError::field("after", "BEYOND_HEAD", message));
    }
    let portion = Portion { events: limit, bytes: PAGE_BYTES };
    let events = read::stretch(&mut connection, organization, after + 1, head, portion).await?;
    let last = events.last().map_or(after, |event| event.position);
    let next = (last < head).then(|| format!("limit={limit}&after={last}"));
    let events: Vec<EventView> =
        events.into_iter().map(|stored| EventView::of(organization, stored)).collect();
    Ok(reply::page(&events, uri.path(), next))
}
