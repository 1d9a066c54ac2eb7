//! The cursors of a feed that keeps its work in a schema of its own, so that both can be emptied and filled again.
//!
//! A table of `organization_id` and `position`: up to where an organization's events have become rows of work. It is moved
//! in the transaction that writes the rows.

use std::collections::BTreeSet;

use docket_aggregates::ids::OrganizationId;
use docket_aggregates::{AnyEvent, DecodeError, Timestamp};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use uuid::Uuid;

use crate::ledger::instant::Instant;

/// Why a portion could not be fed.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The database does not answer.
    #[error("the database does not answer")]
    Database(#[from] sqlx::Error),
    /// An event cannot be read.
    #[error("event at position {position} cannot be read")]
    Event {
        /// Where it stands.
        position: i64,
    },
    /// Another process holds the cursor for longer than a portion may take.
    #[error("another process holds the cursor and does not get on")]
    Stalled,
}

impl FeedError {
    /// Whether a statement took longer than it may, a wait for a lock included.
    pub fn is_timeout(&self) -> bool {
        let Self::Database(error) = self else { return false };
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        code.is_some_and(|code| code == "57014")
    }
}

/// A table of cursors.
#[derive(Clone, Copy, Debug)]
pub struct Cursors(pub &'static str);

impl Cursors {
    /// Organizations whose head is past their cursor.
    pub async fn behind(self, pool: &PgPool) -> Result<BTreeSet<OrganizationId>, sqlx::Error> {
        let behind: Vec<Uuid> = sqlx::query_scalar(&format!(
            "SELECT h.organization_id FROM ledger.heads h LEFT JOIN {} c USING (organization_id) \
             WHERE h.position > coalesce(c.position, 0) AND h.organization_id <> $1",
            self.0
        ))
        .bind(OrganizationId::INSTANCE.uuid())
        .fetch_all(pool)
        .await?;
        Ok(behind.into_iter().map(OrganizationId).collect())
    }

    /// The cursor and the head, with the cursor's row locked; none if another process holds it.
    pub async fn lock(
        self,
        connection: &mut PgConnection,
        organization: OrganizationId,
    ) -> Result<Option<(i64, i64)>, sqlx::Error> {
        let lock = format!(
            "SELECT position, coalesce((SELECT position FROM ledger.heads WHERE organization_id = $1), 0) \
             FROM {} WHERE organization_id = $1 FOR UPDATE SKIP LOCKED",
            self.0
        );
        let mut row = sqlx::query(&lock).bind(organization.uuid()).fetch_optional(&mut *connection).await?;
        if row.is_none() {
            let made = sqlx::query(&format!("INSERT INTO {} VALUES ($1, 0) ON CONFLICT DO NOTHING", self.0))
                .bind(organization.uuid())
                .execute(&mut *connection)
                .await?;
            if made.rows_affected() == 0 {
                return Ok(None);
            }
            row = sqlx::query(&lock).bind(organization.uuid()).fetch_optional(&mut *connection).await?;
        }
        row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
    }

    /// The cursor, if there is one.
    pub async fn position(
        self,
        pool: &PgPool,
        organization: OrganizationId,
    ) -> Result<Option<i64>, sqlx::Error> {
        sqlx::query_scalar(&format!("SELECT position FROM {} WHERE organization_id = $1", self.0))
            .bind(organization.uuid())
            .fetch_optional(pool)
            .await
    }

    /// Moves a cursor to the beginning, once nobody holds it.
    pub async fn restart(self, pool: &PgPool, organization: OrganizationId) -> Result<(), sqlx::Error> {
        sqlx::query(&format!("UPDATE {} SET position = 0 WHERE organization_id = $1", self.0))
            .bind(organization.uuid())
            .execute(pool)
            .await
            .map(drop)
    }

    /// Moves a cursor that is locked.
    pub async fn reached(
        self,
        connection: &mut PgConnection,
        organization: OrganizationId,
        position: i64,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(&format!("UPDATE {} SET position = $2 WHERE organization_id = $1", self.0))
            .bind(organization.uuid())
            .bind(position)
            .execute(connection)
            .await
            .map(drop)
    }
}

/// What a feed reads of an event, in this order.
pub const COLUMNS: &str =
    "position, aggregate_type, aggregate_id, event_type, event_version, payload, occurred_at";

/// An event that a feed takes in; personal values stay sealed.
pub struct Fed {
    /// The aggregate's id.
    pub stream: Uuid,
    /// What happened.
    pub event: AnyEvent,
    /// When it was decided.
    pub at: Timestamp,
}

/// The events of rows of [`COLUMNS`], in order, and how far they could be read: to `to`, or to before a type that only a
/// newer process knows.
pub fn decoded(rows: &[PgRow], to: i64) -> Result<(Vec<Fed>, i64), FeedError> {
    let mut read = Vec::with_capacity(rows.len());
    for row in rows {
        let position: i64 = row.try_get(0)?;
        let (aggregate_type, id, event_type, version): (&str, &str, &str, &str) =
            (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
        let payload: Value = row.try_get(5)?;
        let at = row.try_get::<Instant, _>(6)?.0;
        let event = match AnyEvent::decode(aggregate_type, event_type, version, payload) {
            Ok(event) => event,
            Err(DecodeError::Unknown { .. }) => return Ok((read, position - 1)),
            Err(_) => return Err(FeedError::Event { position }),
        };
        let stream: Uuid = id.parse().map_err(|_| FeedError::Event { position })?;
        read.push(Fed { stream, event, at });
    }
    Ok((read, to))
}
