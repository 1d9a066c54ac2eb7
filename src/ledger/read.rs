//! Reading the ledger back: a stream for a decision, a stretch of positions for a fold or an auditor.
//!
//! Positions are dense, so a stretch that comes back with a gap is an error and never silently short.

use std::collections::BTreeSet;

use docket_aggregates::ids::{CommandId, EventId, OrganizationId, SubjectId};
use docket_aggregates::{AnyEvent, DecodeError, Timestamp, personal};
use docket_projections::Recorded;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use uuid::Uuid;

use super::command::Stream;
use super::instant::Instant;
use super::keys::{KeyError, Keys};
use super::prepare::{Place, subjects_in};

/// Why the ledger could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database does not answer.
    #[error("the ledger cannot be read")]
    Database(#[from] sqlx::Error),
    /// A key is missing or damaged.
    #[error("a key cannot be read")]
    Key(#[from] KeyError),
    /// An event does not decode.
    #[error("event at position {position} cannot be read")]
    Decode {
        /// Where it stands.
        position: i64,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// An id or a name in the row is not what the ledger writes.
    #[error("event at position {0} is damaged")]
    Damaged(i64),
    /// The database gave back fewer events than there are.
    #[error("position {missing} is missing")]
    Gap {
        /// The first position that did not come back.
        missing: i64,
    },
}

/// An event as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its place in the ledger.
    pub position: i64,
    /// The event.
    pub event_id: EventId,
    /// The command that caused it.
    pub command_id: CommandId,
    /// The stored aggregate type.
    pub aggregate_type: String,
    /// The aggregate's id as text.
    pub aggregate_id: String,
    /// Its place in the stream.
    pub sequence: i64,
    /// The stored event type.
    pub event_type: String,
    /// The stored version.
    pub event_version: String,
    /// The payload, sealed.
    pub payload: Value,
    /// The metadata.
    pub metadata: Value,
    /// When it was decided.
    pub occurred_at: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Its leaf.
    pub leaf: Vec<u8>,
    /// Its link.
    pub chain: Vec<u8>,
}

const COLUMNS: &str = "SELECT position, event_id, command_id, aggregate_type, aggregate_id, sequence, event_type, \
     event_version, payload, metadata, occurred_at, recorded_at, leaf, chain FROM ledger.events";

impl Stored {
    /// The event itself, once its payload was opened.
    pub fn event<E: DeserializeOwned>(self) -> Result<E, ReadError> {
        let Self { position, event_type, event_version, payload, .. } = self;
        serde_json::from_value(payload).map_err(|source| ReadError::Decode {
            position,
            source: DecodeError::Undecodable { event_type, event_version, source },
        })
    }

    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            position: row.try_get(0)?,
            event_id: EventId(row.try_get(1)?),
            command_id: CommandId(row.try_get(2)?),
            aggregate_type: row.try_get(3)?,
            aggregate_id: row.try_get(4)?,
            sequence: row.try_get(5)?,
            event_type: row.try_get(6)?,
            event_version: row.try_get(7)?,
            payload: row.try_get(8)?,
            metadata: row.try_get(9)?,
            occurred_at: row.try_get::<Instant, _>(10)?.0,
            recorded_at: row.try_get::<Instant, _>(11)?.0,
            leaf: row.try_get(12)?,
            chain: row.try_get(13)?,
        })
    }
}

/// What to leave out of a stretch.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only this event type.
    pub event_type: Option<String>,
    /// Only this stream's id.
    pub aggregate_id: Option<String>,
}

impl Filter {
    /// Whether it lets the event through.
    pub fn takes(&self, event: &Stored) -> bool {
        self.event_type.as_ref().is_none_or(|wanted| *wanted == event.event_type)
            && self.aggregate_id.as_ref().is_none_or(|wanted| *wanted == event.aggregate_id)
    }
}

/// The position of an organization's head; none if there is no such ledger.
pub async fn head(
    connection: &mut PgConnection,
    organization: OrganizationId,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar("SELECT position FROM ledger.heads WHERE organization_id = $1")
        .bind(organization.uuid())
        .fetch_optional(connection)
        .await
}

/// Every organization that has a ledger; the instance's own is none.
pub async fn organizations(connection: &mut PgConnection) -> Result<Vec<OrganizationId>, sqlx::Error> {
    let ids: Vec<Uuid> =
        sqlx::query_scalar("SELECT organization_id FROM ledger.heads WHERE organization_id <> $1 ORDER BY 1")
            .bind(OrganizationId::INSTANCE.uuid())
            .fetch_all(connection)
            .await?;
    Ok(ids.into_iter().map(OrganizationId).collect())
}

/// How much of a stretch is read at once.
#[derive(Clone, Copy, Debug)]
pub struct Portion {
    /// Events, at most.
    pub events: i64,
    /// Bytes of stored payload after which no further event is read; one event is always read.
    pub bytes: i64,
}

/// The events at positions `from` to `to`, both included, as far as the portion reaches. Every position up to the
/// last one given back is accounted for; nothing is given back only where nothing was asked for.
pub async fn stretch(
    connection: &mut PgConnection,
    organization: OrganizationId,
    from: i64,
    to: i64,
    portion: Portion,
) -> Result<Vec<Stored>, ReadError> {
    let to = to.min(from.saturating_add(portion.events - 1));
    if to < from {
        return Ok(vec![]);
    }
    let rows = sqlx::query(&format!(
        "{COLUMNS} WHERE organization_id = $1 AND position BETWEEN $2 AND ( \
             SELECT max(position) FROM ( \
                 SELECT position, sum(pg_column_size(payload)) OVER (ORDER BY position) - pg_column_size(payload) AS before \
                 FROM ledger.events WHERE organization_id = $1 AND position BETWEEN $2 AND $3) AS weighed \
             WHERE before < $4) \
         ORDER BY position"
    ))
    .bind(organization.uuid())
    .bind(from)
    .bind(to)
    .bind(portion.bytes)
    .fetch_all(connection)
    .await?;
    let mut events = Vec::with_capacity(rows.len());
    for (expected, row) in (from..).zip(&rows) {
        let event = Stored::from_row(row)?;
        if event.position != expected {
            return Err(ReadError::Gap { missing: expected });
        }
        events.push(event);
    }
    if events.is_empty() {
        return Err(ReadError::Gap { missing: from });
    }
    Ok(events)
}

/// The events of these types at positions after `after` and up to `to`, in order, `limit` at most. Everything up to the
/// organization's head is committed, so that none of them is passed over. Of an event that is larger than 64 KiB as it is
/// stored, the payload is left out.
pub async fn of_types(
    connection: &mut PgConnection,
    organization: OrganizationId,
    (after, to): (i64, i64),
    event_types: &[String],
    limit: i64,
) -> Result<Vec<Stored>, ReadError> {
    if event_types.is_empty() {
        return Ok(vec![]);
    }
    let columns =
        COLUMNS.replace("payload", "CASE WHEN pg_column_size(payload) > 65536 THEN 'null' ELSE payload END");
    let rows = sqlx::query(&format!(
        "{columns} WHERE organization_id = $1 AND position > $2 AND position <= $3 AND event_type = ANY($4) \
         ORDER BY position LIMIT $5"
    ))
    .bind(organization.uuid())
    .bind(after)
    .bind(to)
    .bind(event_types)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Stored::from_row(row).map_err(ReadError::from)).collect()
}

/// The events of one stream after `after`, in order.
pub async fn stream(
    pool: &PgPool,
    organization: OrganizationId,
    stream: Stream,
    after: u64,
) -> Result<Vec<Stored>, ReadError> {
    stream_page(pool, organization, stream, after, i64::MAX).await
}

/// The events of one stream after `after`, in order, `limit` at most. For streams that are too long to be held.
pub async fn stream_page(
    pool: &PgPool,
    organization: OrganizationId,
    stream: Stream,
    after: u64,
    limit: i64,
) -> Result<Vec<Stored>, ReadError> {
    let rows = sqlx::query(&format!(
        "{COLUMNS} WHERE organization_id = $1 AND aggregate_type = $2 AND aggregate_id = $3 AND sequence > $4 \
         ORDER BY sequence LIMIT $5"
    ))
    .bind(organization.uuid())
    .bind(stream.aggregate_type)
    .bind(stream.id.to_string())
    .bind(after.cast_signed())
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter().map(|row| Stored::from_row(row).map_err(ReadError::from)).collect()
}

/// The events of many streams of one type, each stream's in order.
pub async fn streams(
    pool: &PgPool,
    organization: OrganizationId,
    aggregate_type: &'static str,
    ids: impl IntoIterator<Item = Uuid>,
) -> Result<Vec<Stored>, ReadError> {
    let ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
    let rows = sqlx::query(&format!(
        "SELECT e.* FROM unnest($3::text[]) AS wanted (id) CROSS JOIN LATERAL ( \
             {COLUMNS} WHERE organization_id = $1 AND aggregate_type = $2 AND aggregate_id = wanted.id \
             ORDER BY sequence OFFSET 0) e ORDER BY e.aggregate_id, e.sequence"
    ))
    .bind(organization.uuid())
    .bind(aggregate_type)
    .bind(ids)
    .fetch_all(pool)
    .await?;
    rows.iter().map(|row| Stored::from_row(row).map_err(ReadError::from)).collect()
}

/// The events of many streams of one type after what is known of each, each stream's in order.
pub async fn tails(
    pool: &PgPool,
    organization: OrganizationId,
    aggregate_type: &'static str,
    after: &[(Uuid, u64)],
) -> Result<Vec<Stored>, ReadError> {
    let rows = sqlx::query(&format!(
        "SELECT e.* FROM unnest($3::text[], $4::bigint[]) AS wanted (id, after) CROSS JOIN LATERAL ( \
             {COLUMNS} WHERE organization_id = $1 AND aggregate_type = $2 AND aggregate_id = wanted.id \
                 AND sequence > wanted.after \
             ORDER BY sequence OFFSET 0) e"
    ))
    .bind(organization.uuid())
    .bind(aggregate_type)
    .bind(after.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>())
    .bind(after.iter().map(|(_, version)| version.cast_signed()).collect::<Vec<_>>())
    .fetch_all(pool)
    .await?;
    rows.iter().map(|row| Stored::from_row(row).map_err(ReadError::from)).collect()
}

/// Opens the personal values of many events, reading their keys at once.
pub async fn open(keys: &Keys, organization: OrganizationId, events: &mut [Stored]) -> Result<(), ReadError> {
    let mut subjects = BTreeSet::new();
    for event in events.iter() {
        subjects_in(&event.payload, personal::SEALED, &mut subjects);
    }
    if subjects.is_empty() {
        return Ok(());
    }
    let known = keys.subjects(organization, &subjects).await?;
    for event in events {
        let place = Place { organization, event_id: event.event_id };
        let label = event.event_type.clone();
        place.open(&mut event.payload, &label, &known)?;
    }
    Ok(())
}

/// Opens what a state or a read model holds: everything but staged rows. Both only count these, and to open them would
/// be most of the work of an import.
pub async fn open_held(
    keys: &Keys,
    organization: OrganizationId,
    events: &mut [Stored],
) -> Result<(), ReadError> {
    let staged = |event: &mut Stored| event.payload.get_mut("rows").map(Value::take);
    let set_aside: Vec<Option<Value>> = events
        .iter_mut()
        .map(|event| if event.event_type == "RowsStaged" { staged(event) } else { None })
        .collect();
    let opened = open(keys, organization, events).await;
    for (event, rows) in events.iter_mut().zip(set_aside) {
        if let Some(rows) = rows {
            event.payload["rows"] = rows;
        }
    }
    opened
}

/// Opens the sealed reason of each event that has one: `metadata.reason` becomes the text, or null if erased.
pub async fn open_reasons(
    keys: &Keys,
    organization: OrganizationId,
    events: &mut [Stored],
) -> Result<(), ReadError> {
    let author = |event: &Stored| -> Option<SubjectId> {
        event.metadata.get("reason")?;
        event.metadata.get("actor_id")?.as_str()?.parse().ok()
    };
    let authors: BTreeSet<SubjectId> = events.iter().filter_map(author).collect();
    let known = keys.subjects(organization, &authors).await?;
    for event in events {
        let Some(author) = author(event) else { continue };
        let place = Place { organization, event_id: event.event_id };
        let boxed = event.metadata.get("reason").and_then(Value::as_str).unwrap_or_default();
        let reason = match known.get(&author) {
            Some(super::keys::SubjectKey::Known(key)) => {
                Value::String(place.open_reason(boxed, author, key)?)
            }
            _ => Value::Null,
        };
        event.metadata["reason"] = reason;
    }
    Ok(())
}

/// Decodes an opened event for the projections.
pub fn recorded(organization: OrganizationId, stored: Stored) -> Result<Recorded, ReadError> {
    let position = stored.position;
    let text = |key: &str| stored.metadata.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Recorded {
        organization_id: organization,
        position,
        event_id: stored.event_id,
        command_id: stored.command_id,
        aggregate_id: stored.aggregate_id.parse().map_err(|_| ReadError::Damaged(position))?,
        sequence: stored.sequence,
        actor_type: text("actor_type"),
        actor_id: text("actor_id"),
        tool: text("tool"),
        occurred_at: stored.occurred_at,
        event: AnyEvent::decode(
            &stored.aggregate_type,
            &stored.event_type,
            &stored.event_version,
            stored.payload,
        )
        .map_err(|source| ReadError::Decode { position, source })?,
    })
}
