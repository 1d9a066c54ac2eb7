//! The work table: where to look.
//!
//! A row is claimed by one batch for a while, so that processes do not do the same work twice. Whoever claimed it may
//! change it only while the claim stands: the feed takes a claim away when an event says that there is something new to
//! do, and that is then not lost.

use docket_aggregates::Timestamp;
use docket_aggregates::ids::{MessageId, OrganizationId, OutboxId};
use sqlx::{PgPool, Row};
use uuid::Uuid;

use crate::ledger::instant::Instant;

/// How long a claim stands. A hand-over takes a fraction of a second; what was handed over is known from the ledger.
const CLAIMED_MILLIS: i64 = 15_000;

/// What was held back is ready again.
pub const RESUME: &str = "UPDATE dispatch.work SET held_until = NULL \
     WHERE organization_id = $1 AND holder IS NULL AND held_until IS NOT NULL";

/// Messages of one organization that leave by one outbox: they share the sender, the credential and the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    pub organization: OrganizationId,
    pub outbox: OutboxId,
}

/// The table.
pub struct Work {
    pool: PgPool,
}

impl Work {
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Lanes in which something is to be done, in the order of their ids from the one after `after`; and whether something
    /// in them is ready.
    pub async fn lanes(
        &self,
        after: Option<Lane>,
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<(Lane, bool)>, sqlx::Error> {
        let after =
            after.map_or((Uuid::nil(), Uuid::nil()), |lane| (lane.organization.uuid(), lane.outbox.uuid()));
        let rows = sqlx::query(
            "WITH RECURSIVE lane AS ( \
                 (SELECT organization_id, outbox_id, 1 AS n FROM dispatch.work \
                  WHERE due_at IS NOT NULL AND (organization_id, outbox_id) > ($1, $2) \
                  ORDER BY organization_id, outbox_id LIMIT 1) \
                 UNION ALL \
                 SELECT next.organization_id, next.outbox_id, lane.n + 1 FROM lane CROSS JOIN LATERAL ( \
                     SELECT organization_id, outbox_id FROM dispatch.work w \
                     WHERE due_at IS NOT NULL \
                       AND (w.organization_id, w.outbox_id) > (lane.organization_id, lane.outbox_id) \
                     ORDER BY organization_id, outbox_id LIMIT 1) next WHERE lane.n < $4) \
             SELECT organization_id, outbox_id, EXISTS ( \
                 SELECT FROM dispatch.work w WHERE w.organization_id = lane.organization_id \
                     AND w.outbox_id = lane.outbox_id AND w.due_at IS NOT NULL AND w.ready_at <= $3) FROM lane",
        )
        .bind(after.0)
        .bind(after.1)
        .bind(Instant(now))
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let organization = OrganizationId(row.try_get(0)?);
                Ok((Lane { organization, outbox: OutboxId(row.try_get(1)?) }, row.try_get(2)?))
            })
            .collect()
    }

    /// Claims what is ready in a lane, the longest due first, and no more than `limit`. They are chosen once, before the
    /// update: chosen within a join they would be chosen anew for each row that the planner goes by.
    pub async fn claim(
        &self,
        lane: Lane,
        holder: Uuid,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<MessageId>, sqlx::Error> {
        let claimed: Vec<Uuid> = sqlx::query_scalar(
            "UPDATE dispatch.work SET holder = $3, held_until = $5 \
             WHERE organization_id = $1 AND message_id = ANY(ARRAY( \
                 SELECT message_id FROM dispatch.work \
                 WHERE organization_id = $1 AND outbox_id = $2 AND due_at IS NOT NULL AND ready_at <= $4 \
                 ORDER BY organization_id, outbox_id, ready_at LIMIT $6 FOR UPDATE SKIP LOCKED)) \
             RETURNING message_id",
        )
        .bind(lane.organization.uuid())
        .bind(lane.outbox.uuid())
        .bind(holder)
        .bind(Instant(now))
        .bind(Instant(now.plus_millis(CLAIMED_MILLIS)))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        let mut claimed: Vec<MessageId> = claimed.into_iter().map(MessageId).collect();
        // In the order in which they were drafted, as far as they were due together.
        claimed.sort_unstable();
        Ok(claimed)
    }

    /// There is nothing more to do with these.
    pub async fn let_go(
        &self,
        organization: OrganizationId,
        holder: Uuid,
        messages: &[MessageId],
    ) -> Result<(), sqlx::Error> {
        if messages.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "DELETE FROM dispatch.work WHERE organization_id = $1 AND holder = $2 AND message_id = ANY($3)",
        )
        .bind(organization.uuid())
        .bind(holder)
        .bind(messages.iter().map(|id| id.uuid()).collect::<Vec<_>>())
        .execute(&self.pool)
        .await
        .map(drop)
    }

    /// These are due at another time; none means when an event says so.
    pub async fn put_off(
        &self,
        organization: OrganizationId,
        holder: Uuid,
        messages: &[(MessageId, Option<Timestamp>)],
    ) -> Result<(), sqlx::Error> {
        if messages.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "UPDATE dispatch.work w SET due_at = u.due, holder = NULL, held_until = NULL \
             FROM unnest($3::uuid[], $4::timestamptz[]) AS u(id, due) \
             WHERE w.organization_id = $1 AND w.holder = $2 AND w.message_id = u.id",
        )
        .bind(organization.uuid())
        .bind(holder)
        .bind(messages.iter().map(|(id, _)| id.uuid()).collect::<Vec<_>>())
        .bind(messages.iter().map(|(_, due)| due.map(Instant)).collect::<Vec<_>>())
        .execute(&self.pool)
        .await
        .map(drop)
    }

    /// What an organization held back is ready again.
    pub async fn resume(&self, organization: OrganizationId) -> Result<(), sqlx::Error> {
        sqlx::query(RESUME).bind(organization.uuid()).execute(&self.pool).await.map(drop)
    }

    /// Gives these up for a while, or until sending is resumed.
    pub async fn give_up(
        &self,
        organization: OrganizationId,
        holder: Uuid,
        messages: &[MessageId],
        until: Timestamp,
    ) -> Result<(), sqlx::Error> {
        if messages.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "UPDATE dispatch.work SET holder = NULL, held_until = $4 \
             WHERE organization_id = $1 AND holder = $2 AND message_id = ANY($3)",
        )
        .bind(organization.uuid())
        .bind(holder)
        .bind(messages.iter().map(|id| id.uuid()).collect::<Vec<_>>())
        .bind(Instant(until))
        .execute(&self.pool)
        .await
        .map(drop)
    }
}
