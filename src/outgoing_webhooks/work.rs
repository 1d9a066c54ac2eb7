//! Deliveries: made from events, posted when they are due, posted again when they were not taken.
//!
//! Which endpoint takes which event is decided in the order of the ledger: the events of the endpoints themselves are
//! folded by the same follower, and a portion ends with the first of them, so that what comes after is judged anew.
//! Posting happens apart from that, with no transaction open, at most four posts to one endpoint, eight of one
//! company and forty-eight of one process at once. `turns` says whose turn it is, so that those whose targets hang
//! hold up themselves and nobody else. A process that dies while it posts leaves the delivery to
//! the others: it happens at least once, under the same `webhook-id`.

use std::collections::HashMap;
use std::time::Duration;

use docket_aggregates::ids::{OrganizationId, WebhookEndpointId};
use docket_aggregates::webhook_endpoint::{
    DisabledBecause, WebhookEndpoint, WebhookEndpointCommand, WebhookEndpointEvent,
};
use docket_aggregates::{AnyEvent, Timestamp};
use rand::Rng as _;
use sqlx::{PgConnection, Row};
use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::turns::{Held, Look, Turns};
use super::{body, post};
use crate::app::App;
use crate::channels::post::{Posted, Poster};
use crate::following::{self, Handler};
use crate::ledger::Origin;
use crate::ledger::instant::Instant;
use crate::ledger::read::{self, Portion, ReadError, Stored};

/// How often it is looked for what is due.
const LOOK: Duration = Duration::from_millis(500);
/// Posts of one process at once.
const AT_ONCE: usize = 48;
/// Looks in a row, at most: other things are to be done as well.
const LOOKS: usize = 16;
/// How long posts may take to end once the process is shutting down.
const END_WITHIN: Duration = Duration::from_secs(5);
/// How long after each try that failed it is tried again: ten tries in three days.
const AGAIN_MILLIS: [i64; 9] = [
    5_000,
    5 * 60_000,
    30 * 60_000,
    2 * 3_600_000,
    5 * 3_600_000,
    10 * 3_600_000,
    14 * 3_600_000,
    18 * 3_600_000,
    22 * 3_600_000,
];
/// By how much a pause is made longer at random, at most, in hundredths: many that failed together do not come together.
const JITTER: i64 = 10;
/// A target that wants to be left alone for longer is asked again after this.
const AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Deliveries that wait for one endpoint, at most; events beyond are not delivered to it, and the list of deliveries says so.
const WAITING_MAX: i64 = 100_000;
/// How long a delivery is kept after its event.
const KEPT_MILLIS: i64 = 30 * 24 * 3_600_000;

/// Makes deliveries of events.
struct Posts;

impl Handler for Posts {
    const NAME: &'static str = "outgoing-webhooks";

    async fn wants(
        &self,
        transaction: &mut PgConnection,
        organization: OrganizationId,
    ) -> Result<Vec<String>, sqlx::Error> {
        let mut wanted: Vec<String> =
            WebhookEndpointEvent::STORED.iter().map(|(event_type, _)| (*event_type).to_owned()).collect();
        for (_, event_types) in enabled(transaction, organization).await? {
            if event_types.is_empty() {
                return Ok(AnyEvent::stored().into_iter().map(|(_, name, _)| name.to_owned()).collect());
            }
            wanted.extend(event_types);
        }
        Ok(wanted)
    }

    async fn take(
        &self,
        transaction: &mut PgConnection,
        organization: OrganizationId,
        events: &[Stored],
    ) -> Result<Option<i64>, sqlx::Error> {
        let endpoints = enabled(transaction, organization).await?;
        let mut room: HashMap<Uuid, i64> = HashMap::new();
        for event in events {
            for (endpoint, event_types) in &endpoints {
                let named = event_types.contains(&event.event_type);
                if !named && !event_types.is_empty() {
                    continue;
                }
                let left = match room.get(endpoint) {
                    Some(left) => *left,
                    None => WAITING_MAX - waiting(transaction, organization, *endpoint).await?,
                };
                deliver(transaction, organization, *endpoint, event, left > 0).await?;
                room.insert(*endpoint, left - 1);
            }
            let own = WebhookEndpointEvent::STORED.iter().any(|(own, _)| *own == event.event_type);
            if own {
                fold(transaction, organization, event).await?;
                return Ok(Some(event.position));
            }
        }
        Ok(None)
    }
}

/// The endpoints that take something, with the types that they take; none means all.
async fn enabled(
    transaction: &mut PgConnection,
    organization: OrganizationId,
) -> Result<Vec<(Uuid, Vec<String>)>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT endpoint_id, event_types FROM ledger.webhook_endpoints WHERE organization_id = $1 AND enabled",
    )
    .bind(organization.uuid())
    .fetch_all(transaction)
    .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Deliveries that wait for an endpoint, counted as far as matters.
async fn waiting(
    transaction: &mut PgConnection,
    organization: OrganizationId,
    endpoint: Uuid,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT 1 FROM ledger.webhook_deliveries \
             WHERE organization_id = $1 AND endpoint_id = $2 AND state = 'due' LIMIT $3) AS waiting",
    )
    .bind(organization.uuid())
    .bind(endpoint)
    .bind(WAITING_MAX)
    .fetch_one(transaction)
    .await
}

async fn deliver(
    transaction: &mut PgConnection,
    organization: OrganizationId,
    endpoint: Uuid,
    event: &Stored,
    room: bool,
) -> Result<(), sqlx::Error> {
    let (state, error, finished_at) = if room {
        ("due", None, None)
    } else {
        ("dropped", Some("too many deliveries wait for this endpoint"), Some(Instant(event.recorded_at)))
    };
    sqlx::query(
        "INSERT INTO ledger.webhook_deliveries \
             (organization_id, endpoint_id, event_id, position, event_type, state, last_error, due_at, \
              created_at, finished_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $10) ON CONFLICT DO NOTHING",
    )
    .bind(organization.uuid())
    .bind(endpoint)
    .bind(event.event_id.uuid())
    .bind(event.position)
    .bind(&event.event_type)
    .bind(state)
    .bind(error)
    .bind(Instant(event.recorded_at))
    .bind(finished_at)
    .bind(Instant(event.recorded_at.plus_millis(KEPT_MILLIS)))
    .execute(transaction)
    .await?;
    Ok(())
}

/// Notes what an endpoint takes from here on. What waits for one that takes nothing any more is dropped.
async fn fold(
    transaction: &mut PgConnection,
    organization: OrganizationId,
    event: &Stored,
) -> Result<(), sqlx::Error> {
    let Ok(endpoint) = event.aggregate_id.parse::<Uuid>() else { return Ok(()) };
    let (enabled, known) = match event.event_type.as_str() {
        "WebhookEndpointOpened" | "WebhookEndpointChanged" => {
            let listed = event.payload["event_types"].as_array();
            let types: Vec<&str> =
                listed.into_iter().flatten().filter_map(serde_json::Value::as_str).collect();
            sqlx::query(
                "INSERT INTO ledger.webhook_endpoints VALUES ($1, $2, $3, true) \
                 ON CONFLICT (organization_id, endpoint_id) DO UPDATE SET event_types = EXCLUDED.event_types",
            )
            .bind(organization.uuid())
            .bind(endpoint)
            .bind(types)
            .execute(transaction)
            .await?;
            return Ok(());
        }
        "WebhookEndpointEnabled" => (true, true),
        "WebhookEndpointDisabled" | "WebhookEndpointDeleted" => (false, true),
        _ => (false, false),
    };
    if !known {
        return Ok(());
    }
    sqlx::query(
        "UPDATE ledger.webhook_endpoints SET enabled = $3 WHERE organization_id = $1 AND endpoint_id = $2",
    )
    .bind(organization.uuid())
    .bind(endpoint)
    .bind(enabled)
    .execute(&mut *transaction)
    .await?;
    if !enabled {
        sqlx::query(
            "UPDATE ledger.webhook_deliveries SET state = 'dropped', finished_at = $3, holder = NULL \
             WHERE organization_id = $1 AND endpoint_id = $2 AND state = 'due'",
        )
        .bind(organization.uuid())
        .bind(endpoint)
        .bind(Instant(event.recorded_at))
        .execute(transaction)
        .await?;
    }
    Ok(())
}

/// Follows the ledgers and posts what is due, until it is told to end; then lets what is being posted come to its end.
pub async fn run(app: App, ending: CancellationToken) {
    tokio::join!(following::follow(&app.ledger, &Posts, &ending), post_due(&app, &ending));
}

/// The posts that are being made.
#[derive(Default)]
struct Posting {
    tasks: JoinSet<()>,
    /// Which of them is for whom.
    of: HashMap<task::Id, (OrganizationId, WebhookEndpointId)>,
}

impl Posting {
    fn begin(&mut self, app: &App, poster: &Poster, held: Held) {
        let (app, poster, to) = (app.clone(), poster.clone(), (held.organization, held.endpoint));
        let task = self.tasks.spawn(async move { perform(&app, &poster, held).await });
        self.of.insert(task.id(), to);
    }

    /// Waits until one has ended, also by a panic; for ever if there is none.
    async fn one_ended(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => self.of.remove(&id),
            Some(Err(panicked)) => self.of.remove(&panicked.id()),
            None => std::future::pending().await,
        };
    }

    fn free(&self) -> usize {
        AT_ONCE.saturating_sub(self.tasks.len())
    }
}

async fn post_due(app: &App, ending: &CancellationToken) {
    let Some(poster) = app.webhooks.poster.clone() else { return };
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut turns, mut posting) = (Turns::default(), Posting::default());
    loop {
        tokio::select! {
            () = ending.cancelled() => break,
            _ = look.tick() => (),
            () = posting.one_ended() => (),
        }
        if let Err(error) = begin_due(app, &poster, &mut turns, &mut posting).await {
            let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
            tracing::warn!(sqlstate = code.unwrap_or_default(), "deliveries of webhooks cannot be read");
        }
    }
    let mut tasks = posting.tasks;
    let _ = tokio::time::timeout(END_WITHIN, async { while tasks.join_next().await.is_some() {} }).await;
}

/// Posts what is due, as far as there is room.
async fn begin_due(
    app: &App,
    poster: &Poster,
    turns: &mut Turns,
    posting: &mut Posting,
) -> Result<(), sqlx::Error> {
    for _ in 0..LOOKS {
        if posting.free() == 0 {
            break;
        }
        let under_way: Vec<_> = posting.of.values().copied().collect();
        let Look { held, whole } = turns.look(app, &under_way, posting.free()).await?;
        held.into_iter().for_each(|held| posting.begin(app, poster, held));
        if whole {
            break;
        }
    }
    Ok(())
}

/// What becomes of a delivery after a try.
struct Ended {
    state: &'static str,
    due_at: Timestamp,
    status: Option<u16>,
    error: Option<&'static str>,
    disable: Option<DisabledBecause>,
}

async fn perform(app: &App, poster: &Poster, held: Held) {
    let tried = attempt(app, poster, &held).await;
    let now = app.clock.now();
    let ended = match tried {
        Ok(Some(posted)) => judge(posted, held.attempts, now),
        // It takes such events no more.
        Ok(None) => Ended { state: "dropped", due_at: now, status: None, error: None, disable: None },
        Err(error) => {
            tracing::warn!(error = %error, "an event could not be read for its delivery");
            again(held.attempts, now, None, None, Some("the event could not be read"))
        }
    };
    metrics::counter!("docket_webhook_posts_total", "outcome" => match ended.state { "due" => "again", other => other })
        .increment(1);
    let written = sqlx::query(
        "UPDATE ledger.webhook_deliveries SET state = $5, due_at = $6, last_status = $7, last_error = $8, \
             holder = NULL, held_until = NULL, finished_at = CASE WHEN $5 = 'due' THEN NULL ELSE $9::timestamptz END \
         WHERE organization_id = $1 AND endpoint_id = $2 AND event_id = $3 AND holder = $4 AND state = 'due'",
    )
    .bind(held.organization.uuid())
    .bind(held.endpoint.uuid())
    .bind(held.event_id)
    .bind(held.holder)
    .bind(ended.state)
    .bind(Instant(ended.due_at))
    .bind(ended.status.map(i32::from))
    .bind(ended.error)
    .bind(Instant(now))
    .execute(app.ledger.pool())
    .await;
    if written.is_err() {
        tracing::warn!("the outcome of a delivery could not be written; it is posted again");
    }
    if let Some(because) = ended.disable {
        disable(app, &held, because).await;
    }
}

/// Posts the event, if the endpoint still takes it.
async fn attempt(app: &App, poster: &Poster, held: &Held) -> Result<Option<Posted>, ReadError> {
    let endpoint = app.ledger.load::<WebhookEndpoint>(held.organization, held.endpoint).await?.state;
    let Some(settings) = endpoint.settings().filter(|_| endpoint.takes(&held.event_type)) else {
        return Ok(None);
    };
    let mut connection = app.ledger.pool().acquire().await?;
    let (from, alone) = (held.position, Portion { events: 1, bytes: 1 });
    let events = read::stretch(&mut connection, held.organization, from, from, alone).await?;
    drop(connection);
    let event = events.first().ok_or(ReadError::Gap { missing: from })?;
    let body = body::of_event(held.organization, event).to_string();
    let signed_by = (held.endpoint, endpoint.secret_version());
    post(app, poster, held.organization, signed_by, &settings.url, held.event_id, body).await.map(Some)
}

/// What follows from an answer: 2xx is taken, 410 means never again, all else is tried again.
fn judge(posted: Posted, attempts: i32, now: Timestamp) -> Ended {
    match posted {
        Posted::Answered { status: status @ 200..300, .. } => {
            Ended { state: "delivered", due_at: now, status: Some(status), error: None, disable: None }
        }
        Posted::Answered { status: 410, .. } => Ended {
            state: "failed",
            due_at: now,
            status: Some(410),
            error: None,
            disable: Some(DisabledBecause::Gone),
        },
        Posted::Answered { status, after } => again(attempts, now, after, Some(status), None),
        Posted::Refused(error) | Posted::Lost(error) => again(attempts, now, None, None, Some(error)),
    }
}

fn again(
    attempts: i32,
    now: Timestamp,
    after: Option<Duration>,
    status: Option<u16>,
    error: Option<&'static str>,
) -> Ended {
    let tried = usize::try_from(attempts - 1).unwrap_or(0);
    let Some(pause) = AGAIN_MILLIS.get(tried) else {
        return Ended {
            state: "failed",
            due_at: now,
            status,
            error,
            disable: Some(DisabledBecause::Failing),
        };
    };
    let wanted = after.map_or(0, |after| i64::try_from(after.min(AFTER_MAX).as_millis()).unwrap_or(0));
    let jitter = rand::thread_rng().gen_range(0..=pause * JITTER / 100);
    let due_at = now.plus_millis((*pause).max(wanted) + jitter);
    Ended { state: "due", due_at, status, error, disable: None }
}

/// Switches an endpoint off: one that is gone at once, one that fails if it took nothing since the event.
async fn disable(app: &App, held: &Held, because: DisabledBecause) {
    if because == DisabledBecause::Failing {
        let took_something = sqlx::query_scalar::<_, bool>(
            "SELECT EXISTS (SELECT 1 FROM ledger.webhook_deliveries \
                 WHERE organization_id = $1 AND endpoint_id = $2 AND state = 'delivered' AND finished_at >= $3)",
        )
        .bind(held.organization.uuid())
        .bind(held.endpoint.uuid())
        .bind(Instant(held.created_at))
        .fetch_one(app.ledger.pool())
        .await;
        if took_something.unwrap_or(true) {
            return;
        }
    }
    let command = WebhookEndpointCommand::Disable { because };
    let origin = Origin::system("outgoing-webhooks");
    let (id, now) = (app.clock.mint(), app.clock.now());
    let ordered = app.ledger.order::<WebhookEndpoint>(
        held.organization,
        held.endpoint,
        id,
        now,
        &origin,
        None,
        command,
    );
    match ordered.await {
        Ok(_) => {
            tracing::info!(endpoint.id = %held.endpoint, because = because.name(), "a webhook endpoint was switched off")
        }
        Err(error) => {
            tracing::warn!(endpoint.id = %held.endpoint, error = %error, "a webhook endpoint could not be switched off")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_ten_tries_in_three_days() {
        let start = Timestamp::from_millis(0);
        let (mut now, mut tries) = (start, 1);
        loop {
            let ended = judge(Posted::Lost("x"), tries, now);
            if ended.state == "failed" {
                assert_eq!(ended.disable, Some(DisabledBecause::Failing));
                break;
            }
            now = ended.due_at;
            tries += 1;
        }
        assert_eq!(tries, 10);
        let hours = now.millis() / 3_600_000;
        assert!((71..80).contains(&hours), "{hours}");
    }

    #[test]
    fn each_answer_has_its_consequence() {
        let now = Timestamp::from_millis(1_000);
        let answered = |status, after: Option<u64>| {
            judge(Posted::Answered { status, after: after.map(Duration::from_secs) }, 1, now)
        };
        for status in [200, 204, 299] {
            assert_eq!(answered(status, None).state, "delivered");
        }
        assert_eq!(answered(410, None).disable, Some(DisabledBecause::Gone));
        for status in [301, 400, 404, 429, 500, 503] {
            let ended = answered(status, None);
            assert_eq!((ended.state, ended.disable), ("due", None), "{status}");
            assert!((6_000..=6_500).contains(&ended.due_at.millis()), "{status}");
        }
        let later = answered(503, Some(120)).due_at.millis();
        assert!((121_000..=121_500).contains(&later), "{later}");
        assert!(answered(503, Some(u64::MAX / 2_000)).due_at.millis() <= 1_000 + 86_400_500);
    }
}
