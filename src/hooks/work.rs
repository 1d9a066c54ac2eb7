//! Runs of hooks: made from events, taken when they are due, tried again when they fail.
//!
//! A run is a row. Whoever takes it holds it for a while by the database's clock; a process that dies while it holds one
//! leaves it to the others after that while. So a run happens at least once; its result is written once, by its holder.
//! Organizations take turns: what waits for one of them does not wait for the runs of another.

use std::sync::Arc;
use std::time::Duration;

use docket_aggregates::Timestamp;
use docket_aggregates::ids::{MessageId, OrganizationId};
use serde_json::json;
use sqlx::{PgConnection, Row};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Hooks;
use super::coverage::{self, CoverageError};
use super::registry::{After, Hook, Run, TIMEOUT_MAX};
use crate::app::App;
use crate::following::Handler;
use crate::ledger::instant::Instant;
use crate::ledger::read::Stored;
use crate::turns::in_turn;

/// How often it is looked for what is due.
const LOOK: Duration = Duration::from_millis(500);
/// Runs of one process at once.
const AT_ONCE: usize = 4;
/// Organizations that one look sees.
const ORGANIZATIONS: usize = 64;
/// How long a run may take to end once the process is shutting down.
const END_WITHIN: Duration = Duration::from_secs(5);
/// How long a run is held: longer than a hook may take.
const HELD: Duration = TIMEOUT_MAX.saturating_add(Duration::from_secs(30));
/// How long after a failure it is tried again; after the last one, no more.
const AGAIN_MILLIS: [i64; 6] = [10_000, 60_000, 5 * 60_000, 30 * 60_000, 2 * 3_600_000, 12 * 3_600_000];
/// How long results are kept.
const KEPT_MILLIS: i64 = 400 * 24 * 3_600_000;

/// Makes runs of what was issued.
pub(super) struct Issued {
    pub hooks: Hooks,
}

impl Handler for Issued {
    const NAME: &'static str = "post-issue-hooks";

    async fn follows(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        self.hooks.are_recorded(connection).await
    }

    async fn wants(&self, _: &mut PgConnection, _: OrganizationId) -> Result<Vec<String>, sqlx::Error> {
        let any = self.hooks.registry().hooks.iter().any(|hook| hook.enabled);
        let wanted: &[&str] =
            if any { &["MessageAccepted", "MessageSettled", "MessageDecided"] } else { &[] };
        Ok(wanted.iter().map(|name| (*name).to_owned()).collect())
    }

    async fn take(
        &self,
        transaction: &mut PgConnection,
        organization: OrganizationId,
        events: &[Stored],
    ) -> Result<Option<i64>, sqlx::Error> {
        let registry = self.hooks.registry();
        for event in events {
            let (Some(after), Ok(message)) = (occasion(event), event.aggregate_id.parse::<Uuid>()) else {
                continue;
            };
            for hook in registry.hooks.iter().filter(|hook| hook.runs(organization, after)) {
                sqlx::query(
                    "INSERT INTO ledger.hook_runs \
                         (organization_id, hook_id, position, message_id, occurred_at, due_at, expires_at) \
                     VALUES ($1, $2, $3, $4, $5, $5, $6) ON CONFLICT DO NOTHING",
                )
                .bind(organization.uuid())
                .bind(&hook.id)
                .bind(event.position)
                .bind(message)
                .bind(Instant(event.occurred_at))
                .bind(Instant(event.occurred_at.plus_millis(KEPT_MILLIS)))
                .execute(&mut *transaction)
                .await?;
            }
        }
        Ok(None)
    }
}

/// What a hook may run after, if the event is such an occasion.
fn occasion(event: &Stored) -> Option<After> {
    match event.event_type.as_str() {
        "MessageAccepted" => Some(After::Sent),
        "MessageSettled" if event.payload["status"] == "sent" => Some(After::Sent),
        "MessageDecided" if event.payload["decision"]["status"] == "sent_dryrun" => Some(After::SentDryrun),
        _ => None,
    }
}

/// A run that this process holds.
struct Held {
    organization: OrganizationId,
    hook_id: String,
    position: i64,
    message_id: MessageId,
    occurred_at: Timestamp,
    attempts: i32,
    holder: Uuid,
}

/// Runs what is due, until it is told to end.
pub(super) async fn run(app: &App, ending: &CancellationToken) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut running = JoinSet::new();
    // The organization that was served last; the turn goes on after it.
    let mut after = Uuid::nil();
    loop {
        tokio::select! {
            () = ending.cancelled() => break,
            _ = look.tick() => (),
            Some(_) = running.join_next(), if !running.is_empty() => (),
        }
        let free = AT_ONCE.saturating_sub(running.len());
        match take_due(app, &mut after, free).await {
            Ok(held) => {
                for held in held {
                    let app = app.clone();
                    running.spawn(async move { perform(&app, held).await });
                }
            }
            Err(error) => {
                tracing::warn!(error = ?error.as_database_error().map(|error| error.code()), "runs of hooks cannot be read");
            }
        }
    }
    let _ = tokio::time::timeout(END_WITHIN, async { while running.join_next().await.is_some() {} }).await;
}

/// Takes runs that are due and that nobody holds, of one organization after the other; none while this process has other
/// hooks than those in force.
async fn take_due(app: &App, after: &mut Uuid, limit: usize) -> Result<Vec<Held>, sqlx::Error> {
    if limit == 0 {
        return Ok(vec![]);
    }
    let organizations = in_turn(app.ledger.pool(), "ledger.hook_runs", *after, ORGANIZATIONS).await?;
    if organizations.is_empty() {
        return Ok(vec![]);
    }
    let mut transaction = app.ledger.pool().begin().await?;
    if !app.hooks.are_recorded(&mut transaction).await? {
        return Ok(vec![]);
    }
    let held = take(&mut transaction, app, &organizations, limit).await?;
    // Asked again after they were taken: whoever made them may know a hook that came into force in between.
    if !held.is_empty() && !app.hooks.are_recorded(&mut transaction).await? {
        transaction.rollback().await?;
        return Ok(vec![]);
    }
    transaction.commit().await?;
    let served = |id: &&Uuid| held.len() < limit || held.iter().any(|held| held.organization.uuid() == **id);
    if let Some(last) = organizations.iter().rev().find(served) {
        *after = *last;
    }
    Ok(held)
}

async fn take(
    connection: &mut PgConnection,
    app: &App,
    organizations: &[Uuid],
    limit: usize,
) -> Result<Vec<Held>, sqlx::Error> {
    let holder: Uuid = app.clock.mint();
    let rows = sqlx::query(
        "WITH due AS (SELECT o.turn, r.ctid, row_number() OVER (PARTITION BY o.turn ORDER BY r.due_at) AS nth \
             FROM unnest($5::uuid[]) WITH ORDINALITY AS o (organization_id, turn) \
             CROSS JOIN LATERAL (SELECT r.ctid, r.due_at FROM ledger.hook_runs r \
                 WHERE r.organization_id = o.organization_id AND r.state = 'due' AND r.due_at <= $3 \
                   AND (r.held_until IS NULL OR r.held_until < clock_timestamp()) \
                 ORDER BY r.due_at LIMIT $4) r), \
         mine AS (SELECT ctid FROM due ORDER BY nth, turn LIMIT $4) \
         UPDATE ledger.hook_runs AS run SET holder = $1, attempts = attempts + 1, \
             held_until = clock_timestamp() + make_interval(secs => $2) \
         WHERE ctid = ANY(ARRAY(SELECT ctid FROM mine)) AND state = 'due' \
           AND (held_until IS NULL OR held_until < clock_timestamp()) \
         RETURNING run.organization_id, run.hook_id, run.position, run.message_id, run.occurred_at, run.attempts",
    )
    .bind(holder)
    .bind(HELD.as_secs_f64())
    .bind(Instant(app.clock.now()))
    .bind(i64::try_from(limit).unwrap_or(1))
    .bind(organizations)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Held {
                organization: OrganizationId(row.try_get(0)?),
                hook_id: row.try_get(1)?,
                position: row.try_get(2)?,
                message_id: MessageId(row.try_get(3)?),
                occurred_at: row.try_get::<Instant, _>(4)?.0,
                attempts: row.try_get(5)?,
                holder,
            })
        })
        .collect()
}

/// How a run ended.
enum Ended {
    Done(serde_json::Value),
    /// The hook is gone, switched off, or not for such a message.
    Skipped,
    /// To be tried again.
    Failed(String),
}

async fn perform(app: &App, held: Held) {
    let hook: Option<Arc<Hook>> = app.hooks.registry().get(&held.hook_id).cloned();
    let ended = match hook.filter(|hook| hook.enabled) {
        None => Ended::Skipped,
        Some(hook) => match tokio::time::timeout(hook.timeout, result_of(app, &hook, &held)).await {
            Ok(Ok(Some(result))) => Ended::Done(result),
            Ok(Ok(None)) => Ended::Skipped,
            Ok(Err(error)) => Ended::Failed(error.to_string()),
            Err(_) => Ended::Failed("the hook took longer than it may".into()),
        },
    };
    let now = app.clock.now();
    let again = usize::try_from(held.attempts - 1).ok().and_then(|tried| AGAIN_MILLIS.get(tried));
    let (state, result, due_at) = match ended {
        Ended::Done(result) => ("done", Some(result), now),
        Ended::Skipped => ("skipped", None, now),
        Ended::Failed(error) => match again {
            Some(wait) => ("due", Some(json!({ "error": error })), now.plus_millis(*wait)),
            None => ("failed", Some(json!({ "error": error })), now),
        },
    };
    metrics::counter!("docket_hook_runs_total", "outcome" => if state == "due" { "again" } else { state })
        .increment(1);
    let written = sqlx::query(
        "UPDATE ledger.hook_runs SET state = $5, result = $6, due_at = $7, holder = NULL, held_until = NULL, \
             finished_at = CASE WHEN $5 = 'due' THEN NULL ELSE $8::timestamptz END \
         WHERE organization_id = $1 AND hook_id = $2 AND position = $3 AND holder = $4",
    )
    .bind(held.organization.uuid())
    .bind(&held.hook_id)
    .bind(held.position)
    .bind(held.holder)
    .bind(state)
    .bind(result)
    .bind(Instant(due_at))
    .bind(Instant(now))
    .execute(app.ledger.pool())
    .await;
    if written.is_err() {
        tracing::warn!(hook = held.hook_id, "the result of a hook could not be written; it runs again");
    }
}

async fn result_of(app: &App, hook: &Hook, held: &Held) -> Result<Option<serde_json::Value>, CoverageError> {
    match hook.run {
        Run::BrandVoiceCoverage => {
            let found =
                coverage::look(app, held.organization, held.message_id, held.occurred_at, &hook.channels);
            Ok(found.await?.map(|found| json!(found)))
        }
    }
}
