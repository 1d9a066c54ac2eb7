//! The planner's statistics after mass loads.
//!
//! The server's own daemon looks once a minute, and not at all where it is switched off; until then the planner takes tables
//! that a large import has just filled for empty ones. So the runner looks itself, a few seconds after it folded: tables
//! of which a large part is new are analysed. While a table grows by the same rows this happens less and less often.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use tokio::time::Instant;

use super::LIVE;

/// How often it is looked, at most.
const EVERY: Duration = Duration::from_secs(5);
/// Changed rows from which a table is analysed, and their share of all of its rows in per cent.
const ROWS_MIN: i64 = 500;
const SHARE_MIN: i64 = 20;

/// When it was last looked, and whether somebody is at it.
pub(super) struct Statistics {
    next: Instant,
    busy: Arc<AtomicBool>,
}

impl Default for Statistics {
    fn default() -> Self {
        Self { next: Instant::now() + EVERY, busy: Arc::default() }
    }
}

impl Statistics {
    /// Looks in the background, unless that was done a moment ago.
    pub(super) fn refresh(&mut self, pool: &PgPool) {
        if Instant::now() < self.next || self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        self.next = Instant::now() + EVERY;
        let (pool, busy) = (pool.clone(), self.busy.clone());
        tokio::spawn(async move {
            if let Err(error) = analyse(&pool).await {
                let code = error.as_database_error().and_then(|error| error.code().map(String::from));
                tracing::debug!(?code, "the read models' statistics are not renewed");
            }
            busy.store(false, Ordering::Release);
        });
    }
}

async fn analyse(pool: &PgPool) -> Result<(), sqlx::Error> {
    let stale: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_stat_user_tables WHERE schemaname = $1 \
         AND n_mod_since_analyze >= $2 AND n_mod_since_analyze * 100 >= n_live_tup * $3",
    )
    .bind(LIVE)
    .bind(ROWS_MIN)
    .bind(SHARE_MIN)
    .fetch_all(pool)
    .await?;
    // Names of our own tables alone: nothing else is in that schema.
    let known = docket_projections::all().iter().flat_map(|model| model.tables);
    for table in known.filter(|table| stale.iter().any(|stale| stale == *table)) {
        // Another process may be at it.
        sqlx::query(&format!("ANALYZE (SKIP_LOCKED) {LIVE}.{table}")).execute(pool).await?;
        tracing::debug!(table, "statistics renewed");
    }
    Ok(())
}
