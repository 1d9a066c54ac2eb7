//! Entries of the list whose contacts are to be looked at once more: a row for each, made by following the ledger.
//!
//! Whoever takes rows holds them for a while by the database's clock. A process that dies meanwhile leaves them to the
//! others, which go on with a domain where it ended; an entry that changes meanwhile is nobody's any more, and begins
//! anew. A row that fails waits longer each time, and is never given up.

use std::collections::BTreeMap;
use std::time::Duration;

use docket_aggregates::ids::{ContactId, OrganizationId};
use docket_aggregates::suppression::{SuppressionEvent, SuppressionReason};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::app::App;
use crate::following::Handler;
use crate::ledger::instant::Instant;
use crate::ledger::read::Stored;

/// How long after a change of an entry its contacts are looked at again: whoever changed it has marked most by then.
const LOOKED_AT_AFTER_MILLIS: i64 = 5_000;
/// How long after that they are looked at again while an import makes contacts.
const ONCE_MORE_AFTER_MILLIS: i64 = 30_000;
/// Entries of an organization that are worked off together.
const TOGETHER: i64 = 250;
/// How long a row is held without a sign of whoever holds it.
const HELD: Duration = Duration::from_secs(120);
/// How long it is waited after a failure, twice as long after each further one, and at most.
const AGAIN_MILLIS: (i64, i64) = (5_000, 5 * 60_000);

/// Makes rows of changes of the list.
pub(super) struct Entries;

impl Handler for Entries {
    const NAME: &'static str = "suppressions";
    /// There is nothing to be done at once.
    const NUDGED: bool = false;

    async fn wants(&self, _: &mut PgConnection, _: OrganizationId) -> Result<Vec<String>, sqlx::Error> {
        Ok(SuppressionEvent::STORED.iter().map(|(event_type, _)| (*event_type).to_owned()).collect())
    }

    async fn take(
        &self,
        transaction: &mut PgConnection,
        organization: OrganizationId,
        events: &[Stored],
    ) -> Result<Option<i64>, sqlx::Error> {
        let mut last: BTreeMap<Uuid, &Stored> = BTreeMap::new();
        for event in events {
            // That nothing arrives at an address says nothing of whoever has it.
            let of_nobody = event.payload["reason"] == SuppressionReason::Bounce.name();
            if let (false, Ok(entry)) = (of_nobody, event.aggregate_id.parse()) {
                last.insert(entry, event);
            }
        }
        if last.is_empty() {
            return Ok(None);
        }
        let due = |event: &Stored| Instant(event.recorded_at.plus_millis(LOOKED_AT_AFTER_MILLIS));
        sqlx::query(
            "INSERT INTO ledger.suppression_entries (organization_id, entry_id, position, due_at) \
             SELECT $1, id, position, due FROM unnest($2::uuid[], $3::bigint[], $4::timestamptz[]) AS u (id, position, due) \
             ON CONFLICT (organization_id, entry_id) DO UPDATE SET position = excluded.position, due_at = excluded.due_at, \
                 reached = NULL, attempts = 0, holder = NULL, held_until = NULL",
        )
        .bind(organization.uuid())
        .bind(last.keys().copied().collect::<Vec<_>>())
        .bind(last.values().map(|event| event.position).collect::<Vec<_>>())
        .bind(last.values().map(|event| due(event)).collect::<Vec<_>>())
        .execute(transaction)
        .await?;
        Ok(None)
    }
}

/// Rows that this process holds, all of one organization.
pub(super) struct Held {
    pub organization: OrganizationId,
    holder: Uuid,
    /// The entries, each with the contact up to which it was looked at before.
    pub entries: BTreeMap<Uuid, Option<ContactId>>,
}

/// Takes what is due of the organization whose turn it is; none if nothing is due.
pub(super) async fn take_due(app: &App, after: Uuid) -> Result<Option<Held>, sqlx::Error> {
    let now = Instant(app.clock.now());
    let mut organization: Option<Uuid> = None;
    for after in [after, Uuid::nil()] {
        organization = sqlx::query_scalar(
            "SELECT organization_id FROM ledger.suppression_entries WHERE organization_id > $1 AND due_at <= $2 \
                 AND (held_until IS NULL OR held_until < clock_timestamp()) ORDER BY organization_id LIMIT 1",
        )
        .bind(after)
        .bind(now)
        .fetch_optional(app.ledger.pool())
        .await?;
        if organization.is_some() {
            break;
        }
    }
    let Some(organization) = organization else { return Ok(None) };
    let holder: Uuid = app.clock.mint();
    let rows = sqlx::query(
        "UPDATE ledger.suppression_entries SET holder = $1, held_until = clock_timestamp() + make_interval(secs => $2) \
         WHERE ctid = ANY(ARRAY(SELECT ctid FROM ledger.suppression_entries WHERE organization_id = $3 AND due_at <= $4 \
             AND (held_until IS NULL OR held_until < clock_timestamp()) ORDER BY due_at LIMIT $5 FOR UPDATE SKIP LOCKED)) \
         RETURNING entry_id, reached",
    )
    .bind(holder)
    .bind(HELD.as_secs_f64())
    .bind(organization)
    .bind(now)
    .bind(TOGETHER)
    .fetch_all(app.ledger.pool())
    .await?;
    let entries = rows.iter().map(|row| {
        let reached: Option<Uuid> = row.try_get(1)?;
        Ok((row.try_get(0)?, reached.map(ContactId)))
    });
    let entries = entries.collect::<Result<BTreeMap<_, _>, sqlx::Error>>()?;
    // All of it may just have been taken by another process.
    let held = Held { organization: OrganizationId(organization), holder, entries };
    Ok(Some(held).filter(|held| !held.entries.is_empty()))
}

impl Held {
    /// These are done with, or to be looked at once more from the beginning, as far as nothing happened to them meanwhile.
    pub async fn looked_at(&self, app: &App, entries: &[Uuid], once_more: bool) -> Result<(), sqlx::Error> {
        let query = if once_more {
            let due_at = app.clock.now().plus_millis(ONCE_MORE_AFTER_MILLIS);
            sqlx::query(
                "UPDATE ledger.suppression_entries SET due_at = $4, reached = NULL, holder = NULL, held_until = NULL \
                 WHERE organization_id = $1 AND entry_id = ANY($2) AND holder = $3",
            )
            .bind(self.organization.uuid())
            .bind(entries)
            .bind(self.holder)
            .bind(Instant(due_at))
        } else {
            sqlx::query(
                "DELETE FROM ledger.suppression_entries \
                 WHERE organization_id = $1 AND entry_id = ANY($2) AND holder = $3",
            )
            .bind(self.organization.uuid())
            .bind(entries)
            .bind(self.holder)
        };
        query.execute(app.ledger.pool()).await.map(drop)
    }

    /// Holds everything for longer.
    pub async fn keep(&self, app: &App) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE ledger.suppression_entries SET held_until = clock_timestamp() + make_interval(secs => $4) \
             WHERE organization_id = $1 AND entry_id = ANY($2) AND holder = $3",
        )
        .bind(self.organization.uuid())
        .bind(self.entries.keys().copied().collect::<Vec<_>>())
        .bind(self.holder)
        .bind(HELD.as_secs_f64())
        .execute(app.ledger.pool())
        .await
        .map(drop)
    }

    /// Notes how far a domain's contacts were looked at, and holds everything for longer; false if the entry changed.
    pub async fn reached(&self, app: &App, entry: Uuid, contact: ContactId) -> Result<bool, sqlx::Error> {
        let held: Vec<Uuid> = sqlx::query_scalar(
            "UPDATE ledger.suppression_entries SET held_until = clock_timestamp() + make_interval(secs => $4), \
                 reached = CASE WHEN entry_id = $2 THEN $5 ELSE reached END \
             WHERE organization_id = $1 AND entry_id = ANY($6) AND holder = $3 RETURNING entry_id",
        )
        .bind(self.organization.uuid())
        .bind(entry)
        .bind(self.holder)
        .bind(HELD.as_secs_f64())
        .bind(contact.uuid())
        .bind(self.entries.keys().copied().collect::<Vec<_>>())
        .fetch_all(app.ledger.pool())
        .await?;
        Ok(held.contains(&entry))
    }

    /// Leaves what is not done with to whoever comes next; after a failure, to whoever comes later.
    pub async fn give_back(&self, app: &App, failed: bool) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE ledger.suppression_entries SET holder = NULL, held_until = NULL, attempts = attempts + $4, \
                 due_at = CASE WHEN $4 = 0 THEN due_at \
                     ELSE $5::timestamptz + make_interval(secs => least($6 * power(2, least(attempts, 20)), $7) / 1000.0) END \
             WHERE organization_id = $1 AND entry_id = ANY($2) AND holder = $3",
        )
        .bind(self.organization.uuid())
        .bind(self.entries.keys().copied().collect::<Vec<_>>())
        .bind(self.holder)
        .bind(i32::from(failed))
        .bind(Instant(app.clock.now()))
        .bind(AGAIN_MILLIS.0 as f64)
        .bind(AGAIN_MILLIS.1 as f64)
        .execute(app.ledger.pool())
        .await
        .map(drop)
    }
}
