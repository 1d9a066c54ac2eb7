//! Forgetting what is kept beside the ledger for a while only: answers to requests, previews,
//! analyses, verdicts on drafts and what hooks found, deliveries of webhooks, and turns that nobody came back to.

use std::time::Duration;

use super::Ledger;
use super::instant::Instant;

/// How often it is looked for what has expired.
const EVERY: Duration = Duration::from_secs(60 * 60);
/// Rows forgotten in one statement, so that nobody waits long for a lock.
const AT_ONCE: i64 = 10_000;

impl Ledger {
    /// Forgets for ever; to be stopped by dropping it.
    pub async fn tidy(&self) {
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tick.tick().await;
            if let Err(error) = self.forget_expired().await {
                tracing::warn!(error = %error, "what has expired could not be forgotten");
            }
        }
    }

    /// Forgets what has expired, and says how many rows that were.
    pub async fn forget_expired(&self) -> Result<u64, sqlx::Error> {
        let mut forgotten = 0;
        for table in [
            "ledger.requests",
            "ledger.previews",
            "ledger.analyses",
            "ledger.brand_voice",
            "ledger.hook_runs",
            "ledger.webhook_deliveries",
            "ledger.turns",
        ] {
            loop {
                let deleted = sqlx::query(&format!(
                    "DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE expires_at <= $1 LIMIT $2))"
                ))
                .bind(Instant(self.clock().now()))
                .bind(AT_ONCE)
                .execute(self.pool())
                .await?
                .rows_affected();
                forgotten += deleted;
                if deleted < AT_ONCE.unsigned_abs() {
                    break;
                }
            }
        }
        Ok(forgotten)
    }
}
