//! The cron of sequences: looks at what is due, in any number of processes at once.
//!
//! It takes no input. On waking it feeds the table of what is due from the events, and then looks at what is due, some
//! enrollments at a time. Their rows are locked for as long as they are looked at, so that processes share the work and a
//! kill gives it back at once; nothing rests on the lock, because a step is decided on the versions of streams.
//!
//! Organizations have their turn one after the other, and each has the same share of a look: however much is due of one, what is
//! due of another is looked at in the next round.

use std::time::Duration;

use docket_aggregates::Timestamp;
use docket_aggregates::ids::OrganizationId;
use futures::StreamExt;
use futures::stream;
use tokio_util::sync::CancellationToken;

use super::due::{self, DueRow, Next};
use super::feed;
use super::step;
use crate::app::App;
use crate::following::cursors::FeedError;

/// How often it looks by itself.
const LOOK: Duration = Duration::from_millis(500);
/// Enrollments that are looked at under one lock, and so many organizations at most.
const BATCH: usize = 64;
/// Enrollments that are looked at together.
const TOGETHER: usize = 8;
/// How long a look may take; what takes longer is done again.
const LOOK_WITHIN: Duration = Duration::from_secs(10);
/// How long an enrollment is left alone whose look took too long.
const TOO_LONG_MILLIS: u32 = 30_000;

/// What one turn came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turned {
    /// Enrollments that were looked at.
    pub looked_at: usize,
    /// Those that something was in the way of, and that are looked at again soon.
    pub put_off: usize,
}

/// Takes turns until it is told to stop.
pub async fn run(app: App, stopping: CancellationToken) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = look.tick() => (),
        }
        if let Err(error) = turn_until(&app, &stopping).await {
            tracing::warn!(error = %error, "sequences were not looked at");
        }
    }
}

/// Feeds what was appended and looks at everything that is due now.
pub async fn turn(app: &App) -> Result<Turned, FeedError> {
    turn_until(app, &CancellationToken::new()).await
}

async fn turn_until(app: &App, stopping: &CancellationToken) -> Result<Turned, FeedError> {
    let mut turned = Turned::default();
    while !stopping.is_cancelled() && round(app, stopping, &mut turned).await? {}
    Ok(turned)
}

/// One round: every organization of which something is due has its share. Says whether anything was looked at.
async fn round(app: &App, stopping: &CancellationToken, turned: &mut Turned) -> Result<bool, FeedError> {
    // What a step led to may be due at once: a rehearsal is over when it is drafted.
    feed::catch_up_all(app.ledger.pool()).await?;
    let at = app.clock.now();
    let mut due = Vec::new();
    for organization in due::organizations(app.ledger.pool(), at).await? {
        // What is due of a company whose module is off waits until it is on. What cannot be known is not done.
        if app.workspaces.is_on(&app.ledger, organization).await.unwrap_or_default() {
            due.push(organization);
        }
    }
    let share = (BATCH / due.len().max(1)).max(1);
    let mut any = false;
    for some in due.chunks(BATCH) {
        if stopping.is_cancelled() {
            break;
        }
        let looked = batch(app, some, share, at).await?;
        any |= !looked.is_empty();
        turned.looked_at += looked.len();
        turned.put_off += looked.iter().filter(|(_, next)| matches!(next, Next::Later(_))).count();
    }
    Ok(any)
}

/// Looks at a share of what is due of each of these organizations.
async fn batch(
    app: &App,
    organizations: &[OrganizationId],
    share: usize,
    at: Timestamp,
) -> Result<Vec<(DueRow, Next)>, sqlx::Error> {
    let mut transaction = app.ledger.pool().begin().await?;
    let rows = due::take(&mut transaction, organizations, at, share).await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let rosters = due::rosters(&mut transaction, &rows).await?;
    let looked: Vec<(DueRow, Next)> = stream::iter(rows)
        .map(|row| async {
            let next = look(app, &row, &rosters, at).await;
            (row, next)
        })
        .buffer_unordered(TOGETHER)
        .collect()
        .await;
    due::put_back(&mut transaction, &looked).await?;
    transaction.commit().await?;
    Ok(looked)
}

async fn look(app: &App, row: &DueRow, rosters: &step::Rosters, at: Timestamp) -> Next {
    match tokio::time::timeout(LOOK_WITHIN, step::look(app, row, rosters, at)).await {
        Ok(next) => next,
        Err(_) => {
            tracing::warn!(enrollment.id = %row.enrollment, "looking at an enrollment took too long");
            Next::Later(TOO_LONG_MILLIS)
        }
    }
}
