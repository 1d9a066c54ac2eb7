//! The feed: from the events of messages to the work table.
//!
//! It has a cursor of its own for each organization, moved in the transaction that changes the table, so that any number
//! of processes share the work. It causes nothing: emptying both tables and reading the ledger from its beginning gives
//! the same rows, and what is due because of them is judged by the ledger again. Nothing personal is opened here.
//!
//! It goes in portions, each with a deadline and each a transaction of its own. A portion that takes too long on a busy
//! machine is tried again as half of it; wherever it is cut off, whoever comes next goes on from the cursor.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use docket_aggregates::campaign::CampaignEvent;
use docket_aggregates::ids::{MessageId, OrganizationId, OutboxId};
use docket_aggregates::message::{DispatchState, MessageEvent, standing_after};
use docket_aggregates::sending_control::SendingControlEvent;
use docket_aggregates::sequence::SequenceEvent;
use docket_aggregates::{AnyEvent, Timestamp};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{ABANDONED_AFTER, Shared, work};
use crate::following::cursors::{COLUMNS, Cursors, Fed, FeedError, decoded};
use crate::ledger::instant::Instant as Stored;

/// How often it looks by itself, for what other processes appended.
const LOOK: Duration = Duration::from_millis(500);
/// Pause after a look that fed nothing: a ledger that grows without messages is not looked at for each of its commands.
const REST: Duration = Duration::from_millis(10);
/// How far each organization's events are in the work table.
const CURSORS: Cursors = Cursors("dispatch.cursors");
/// Positions that are read in one transaction, at most.
const PORTION: i64 = 5_000;
/// A portion that takes too long is not made smaller than this.
const PORTION_MIN: i64 = 50;
/// How long a statement of a portion may take, and a wait for a lock in it.
const STATEMENT_WITHIN: Duration = Duration::from_secs(10);
/// Rows that are compared with the ledger in one statement.
const SWEPT: i64 = 1_000;
/// How often a refill looks whether another process has fed what it waits for.
const AGAIN: Duration = Duration::from_millis(50);
/// How long another process may feed a portion.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// What one transaction takes in.
#[derive(Clone, Copy, Debug)]
pub struct Portion {
    /// Positions of the ledger, at most.
    pub positions: i64,
    /// How long each of its statements may take.
    pub within: Duration,
}

impl Default for Portion {
    fn default() -> Self {
        Self { positions: PORTION, within: STATEMENT_WITHIN }
    }
}

/// Feeds for ever.
pub async fn run(shared: Arc<Shared>) {
    let news = shared.app.ledger.heads().follow();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let pool = shared.app.ledger.pool();
    loop {
        let mut moved = BTreeSet::new();
        tokio::select! {
            () = news.nudged() => (),
            _ = look.tick() => match CURSORS.behind(pool).await {
                Ok(organizations) => moved = organizations,
                Err(error) => tracing::warn!(error = %FeedError::from(error), "the work table is not fed"),
            },
        }
        moved.extend(news.take());
        let mut fed = false;
        for organization in moved.into_iter().filter(|id| *id != OrganizationId::INSTANCE) {
            match catch_up(pool, organization).await {
                Ok(true) => {
                    fed = true;
                    shared.fed.notify_one();
                }
                Ok(false) => (),
                Err(error) => {
                    tracing::warn!(organization.id = %organization, error = %error, "the work table is not fed");
                }
            }
        }
        if !fed {
            tokio::time::sleep(REST).await;
        }
    }
}

/// Fills the work table from the beginning of the ledger, and removes what no event accounts for; says how many messages
/// are in it. Others may feed and dispatch meanwhile, and what they are at stays theirs. If it is cut off, every feed goes
/// on where it ended; asked again, it begins again.
pub async fn refill(pool: &PgPool) -> Result<i64, FeedError> {
    refill_by(pool, Portion::default()).await
}

/// The same in portions of another size.
pub async fn refill_by(pool: &PgPool, portion: Portion) -> Result<i64, FeedError> {
    let heads: Vec<(Uuid, i64)> = sqlx::query_as(
        "SELECT organization_id, position FROM ledger.heads WHERE organization_id <> $1 ORDER BY organization_id",
    )
    .bind(OrganizationId::INSTANCE.uuid())
    .fetch_all(pool)
    .await?;
    for (organization, head) in heads {
        let organization = OrganizationId(organization);
        CURSORS.restart(pool, organization).await?;
        feed_to(pool, organization, head, portion).await?;
        sweep(pool, organization).await?;
    }
    Ok(sqlx::query_scalar("SELECT count(*) FROM dispatch.work").fetch_one(pool).await?)
}

/// Feeds what was appended up to there, or waits until another process did.
async fn feed_to(
    pool: &PgPool,
    organization: OrganizationId,
    head: i64,
    mut portion: Portion,
) -> Result<(), FeedError> {
    let (mut reached, mut since) = (None, Instant::now());
    loop {
        let step = step_or_less(pool, organization, &mut portion).await?;
        let position = CURSORS.position(pool, organization).await?;
        if matches!(step, Step::Nothing) || position >= Some(head) {
            return Ok(());
        }
        if position != reached {
            (reached, since) = (position, Instant::now());
        } else if since.elapsed() >= STALLED_AFTER {
            return Err(FeedError::Stalled);
        }
        if matches!(step, Step::Held) {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Removes rows of messages that the ledger does not know. There are none, unless somebody wrote into the table.
async fn sweep(pool: &PgPool, organization: OrganizationId) -> Result<(), sqlx::Error> {
    let mut after = Uuid::nil();
    loop {
        let seen: Vec<Uuid> = sqlx::query_scalar(
            "SELECT message_id FROM dispatch.work WHERE organization_id = $1 AND message_id > $2 \
             ORDER BY message_id LIMIT $3",
        )
        .bind(organization.uuid())
        .bind(after)
        .bind(SWEPT)
        .fetch_all(pool)
        .await?;
        let Some(last) = seen.last() else { return Ok(()) };
        after = *last;
        sqlx::query(
            "DELETE FROM dispatch.work w WHERE organization_id = $1 AND message_id = ANY($2) AND NOT EXISTS ( \
                 SELECT FROM ledger.events e WHERE e.organization_id = $1 AND e.aggregate_type = 'Message' \
                     AND e.aggregate_id = w.message_id::text)",
        )
        .bind(organization.uuid())
        .bind(seen)
        .execute(pool)
        .await?;
    }
}

/// Feeds everything that was appended so far, unless another process is at it; whether anything came of it.
async fn catch_up(pool: &PgPool, organization: OrganizationId) -> Result<bool, FeedError> {
    let (mut changed, mut portion) = (false, Portion::default());
    while let Step::Fed(fed) = step_or_less(pool, organization, &mut portion).await? {
        changed |= fed;
    }
    Ok(changed)
}

/// What came of a portion.
enum Step {
    /// It was fed: whether the table changed.
    Fed(bool),
    /// There is nothing to feed.
    Nothing,
    /// Another process is at it.
    Held,
}

/// Feeds one portion, or a smaller one if it takes too long.
async fn step_or_less(
    pool: &PgPool,
    organization: OrganizationId,
    portion: &mut Portion,
) -> Result<Step, FeedError> {
    loop {
        match step(pool, organization, *portion).await {
            Err(error) if error.is_timeout() && portion.positions > PORTION_MIN => {
                portion.positions = (portion.positions / 2).max(PORTION_MIN);
                tracing::info!(
                    organization.id = %organization, positions = portion.positions,
                    "the work table is fed in smaller portions"
                );
            }
            stepped => return stepped,
        }
    }
}

/// Feeds one portion.
async fn step(pool: &PgPool, organization: OrganizationId, portion: Portion) -> Result<Step, FeedError> {
    // What a crash of the database loses is read again, together with the cursor.
    let begin = format!(
        "BEGIN; SET LOCAL synchronous_commit TO off; SET LOCAL statement_timeout TO {}",
        portion.within.as_millis()
    );
    let mut transaction = pool.begin_with(begin).await?;
    let Some((cursor, head)) = CURSORS.lock(&mut transaction, organization).await? else {
        return Ok(Step::Held);
    };
    if cursor >= head {
        return Ok(Step::Nothing);
    }
    let to = head.min(cursor + portion.positions);
    // The stretch is read by its positions, whatever the statistics say of the types.
    let rows = sqlx::query(&format!(
        "SELECT {COLUMNS} FROM (SELECT * FROM ledger.events \
             WHERE organization_id = $1 AND position > $2 AND position <= $3 ORDER BY position OFFSET 0) stretch \
         WHERE aggregate_type IN ('Message', 'SendingControl') \
             OR event_type IN ('SequenceResumed', 'CampaignActivated')"
    ))
    .bind(organization.uuid())
    .bind(cursor)
    .bind(to)
    .fetch_all(&mut *transaction)
    .await?;
    let (events, reached) = decoded(&rows, to)?;
    if reached == cursor {
        return Ok(Step::Nothing);
    }
    let mut changes = Changes::default();
    for Fed { stream, event, at } in events {
        changes.take_in(MessageId(stream), &event, at);
    }
    let changed = changes.write(&mut transaction, organization).await?;
    CURSORS.reached(&mut transaction, organization, reached).await?;
    transaction.commit().await?;
    Ok(Step::Fed(changed))
}

/// What a portion makes of one message.
struct Change {
    /// Set if it was drafted in this portion: then it has no row yet, unless the table is filled again.
    outbox: Option<OutboxId>,
    place: Place,
}

#[derive(Clone, Copy)]
enum Place {
    /// Nothing is to be done until somebody approves it.
    Waits,
    /// Something is to be done then.
    Due(Timestamp),
    /// Somebody has it; if not by then, it was abandoned.
    Away(Timestamp),
    /// It is final.
    Gone,
}

#[derive(Default)]
struct Changes {
    messages: BTreeMap<MessageId, Change>,
    resumed: bool,
}

impl Changes {
    fn take_in(&mut self, id: MessageId, event: &AnyEvent, at: Timestamp) {
        match event {
            AnyEvent::Message(event) => {
                let outbox = match event {
                    MessageEvent::MessageDrafted { outbox_id, .. } => Some(*outbox_id),
                    _ => None,
                };
                let Some(place) = place_after(event, at) else { return };
                match self.messages.get_mut(&id) {
                    Some(change) => change.place = place,
                    None => drop(self.messages.insert(id, Change { outbox, place })),
                }
            }
            AnyEvent::SendingControl(SendingControlEvent::SendingResumed { .. })
            | AnyEvent::Sequence(SequenceEvent::SequenceResumed {})
            | AnyEvent::Campaign(CampaignEvent::CampaignActivated {}) => self.resumed = true,
            _ => (),
        }
    }

    async fn write(
        self,
        connection: &mut PgConnection,
        organization: OrganizationId,
    ) -> Result<bool, sqlx::Error> {
        let (mut new, mut moved, mut gone) = (Rows::default(), Rows::default(), Vec::new());
        for (id, change) in self.messages {
            match (change.place, change.outbox) {
                (Place::Gone, _) => gone.push(id.uuid()),
                (place, Some(outbox)) => new.push(id, Some(outbox), place),
                (place, None) => moved.push(id, None, place),
            }
        }
        let changed = self.resumed || !new.ids.is_empty() || !moved.ids.is_empty();
        if !new.ids.is_empty() {
            sqlx::query(
                "INSERT INTO dispatch.work (organization_id, message_id, outbox_id, due_at) \
                 SELECT $1, id, outbox, due FROM unnest($2::uuid[], $3::uuid[], $4::timestamptz[]) AS u(id, outbox, due) \
                 ON CONFLICT (organization_id, message_id) DO UPDATE \
                 SET outbox_id = excluded.outbox_id, due_at = excluded.due_at, holder = NULL, held_until = NULL",
            )
            .bind(organization.uuid())
            .bind(new.ids)
            .bind(new.outboxes)
            .bind(new.due)
            .execute(&mut *connection)
            .await?;
        }
        if !moved.ids.is_empty() {
            // Whoever handed it over is still at it.
            sqlx::query(
                "UPDATE dispatch.work w SET due_at = u.due, \
                     holder = CASE WHEN u.away THEN holder END, held_until = CASE WHEN u.away THEN held_until END \
                 FROM unnest($2::uuid[], $3::timestamptz[], $4::boolean[]) AS u(id, due, away) \
                 WHERE w.organization_id = $1 AND w.message_id = u.id",
            )
            .bind(organization.uuid())
            .bind(moved.ids)
            .bind(moved.due)
            .bind(moved.away)
            .execute(&mut *connection)
            .await?;
        }
        if !gone.is_empty() {
            sqlx::query("DELETE FROM dispatch.work WHERE organization_id = $1 AND message_id = ANY($2)")
                .bind(organization.uuid())
                .bind(gone)
                .execute(&mut *connection)
                .await?;
        }
        if self.resumed {
            sqlx::query(work::RESUME).bind(organization.uuid()).execute(&mut *connection).await?;
        }
        Ok(changed)
    }
}

#[derive(Default)]
struct Rows {
    ids: Vec<Uuid>,
    outboxes: Vec<Option<Uuid>>,
    due: Vec<Option<Stored>>,
    away: Vec<bool>,
}

impl Rows {
    fn push(&mut self, id: MessageId, outbox: Option<OutboxId>, place: Place) {
        self.ids.push(id.uuid());
        self.outboxes.push(outbox.map(OutboxId::uuid));
        self.due.push(match place {
            Place::Due(at) | Place::Away(at) => Some(Stored(at)),
            Place::Waits | Place::Gone => None,
        });
        self.away.push(matches!(place, Place::Away(_)));
    }
}

/// Where an event puts a message; none if it stays where it is.
fn place_after(event: &MessageEvent, at: Timestamp) -> Option<Place> {
    let (_, state) = standing_after(event)?;
    Some(match state {
        DispatchState::None => Place::Waits,
        DispatchState::Done => Place::Gone,
        DispatchState::InFlight => Place::Away(abandoned_at(at)),
        // Whether it is to be handed over again, the channel decides.
        DispatchState::Unknown => Place::Due(at),
        DispatchState::Queued | DispatchState::Retrying => Place::Due(match event {
            MessageEvent::MessageQueued { not_before } => not_before.unwrap_or(at),
            MessageEvent::MessageDeferred { next_attempt_at, .. } => *next_attempt_at,
            _ => at,
        }),
    })
}

/// When a hand-over of that instant is abandoned, if nothing followed it.
pub fn abandoned_at(handed_over: Timestamp) -> Timestamp {
    handed_over.plus_millis(i64::try_from(ABANDONED_AFTER.as_millis()).unwrap_or(i64::MAX))
}
