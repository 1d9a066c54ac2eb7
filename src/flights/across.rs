//! The same between processes: of those that are about to do one thing, one does it and the others wait.
//!
//! A turn is a row under the key of what is to be done. Its holder takes it away, however the work ends; where its process
//! ended first, the turn is over by the database's clock. Like a flight it spares work and promises nothing: whoever has
//! waited long enough, or cannot ask the database, goes on without one.

use std::time::Duration;

use docket_aggregates::ids::OrganizationId;
use sqlx::PgPool;
use uuid::Uuid;

use super::FlightKey;
use crate::ledger::Ledger;

/// How often it is looked whether a turn is free.
const LOOK: Duration = Duration::from_millis(50);

/// A turn that is held. The next one goes on soon after this is dropped.
#[derive(Debug)]
pub struct Turn {
    pool: PgPool,
    organization: OrganizationId,
    key: FlightKey,
    holder: Uuid,
}

impl Turn {
    /// Takes the turn once nobody else has it, and none if that takes longer than `within`. It lasts no longer than
    /// `lasting`.
    pub async fn take(
        ledger: &Ledger,
        organization: OrganizationId,
        key: FlightKey,
        within: Duration,
        lasting: Duration,
    ) -> Option<Self> {
        // Made before it is asked for: a caller that goes away meanwhile leaves no turn behind.
        let turn = Self { pool: ledger.pool().clone(), organization, key, holder: ledger.clock().mint() };
        let taking = async {
            while !turn.is_free(lasting).await? {
                tokio::time::sleep(LOOK).await;
            }
            Ok::<_, sqlx::Error>(())
        };
        match tokio::time::timeout(within, taking).await {
            Ok(Ok(())) => Some(turn),
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "no turn could be taken");
                None
            }
            Err(_) => None,
        }
    }

    /// Whether it was free, and is ours now.
    async fn is_free(&self, lasting: Duration) -> Result<bool, sqlx::Error> {
        let taken = sqlx::query(
            "INSERT INTO ledger.turns AS held (organization_id, key_hash, holder, expires_at) \
             VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4)) \
             ON CONFLICT (organization_id, key_hash) DO UPDATE \
             SET holder = EXCLUDED.holder, expires_at = EXCLUDED.expires_at \
             WHERE held.expires_at < clock_timestamp()",
        )
        .bind(self.organization.uuid())
        .bind(self.key.0.as_slice())
        .bind(self.holder)
        .bind(lasting.as_secs_f64())
        .execute(&self.pool)
        .await?;
        Ok(taken.rows_affected() > 0)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let given_back = sqlx::query(
            "DELETE FROM ledger.turns WHERE organization_id = $1 AND key_hash = $2 AND holder = $3",
        )
        .bind(self.organization.uuid())
        .bind(self.key.0.to_vec())
        .bind(self.holder);
        let pool = self.pool.clone();
        runtime.spawn(async move {
            if let Err(error) = given_back.execute(&pool).await {
                tracing::debug!(error = %error, "a turn was not given back, and ends by itself");
            }
        });
    }
}
