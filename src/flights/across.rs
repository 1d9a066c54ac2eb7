//! The same between processes: of those that are about to do one thing, one does it and the others wait.
//!
//! A turn is a row under the key of what is to be done. Its holder takes it away, however the work ends; where its process
//! ended first, the turn is over by the database's clock. Like a flight it spares work and promises nothing: whoever has
//! waited long enough, or cannot ask the database, goes on without one.

use std::time::Duration;

use docket_aggregates::ids::OrganizationId;
use sqlx::PgPool;
use tokio::sync::oneshot;
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
        let turn = Self { pool: ledger.pool().clone(), organization, key, holder: ledger.clock().mint() };
        let (answer, answered) = oneshot::channel();
        // In a task of its own: the row of a caller who goes away while it is being written is taken away after that.
        tokio::spawn(turn.taken(lasting, answer));
        match tokio::time::timeout(within, answered).await {
            Ok(Ok(Ok(turn))) => Some(turn),
            Ok(Ok(Err(error))) => {
                tracing::warn!(error = %error, "no turn could be taken");
                None
            }
            Ok(Err(_)) | Err(_) => None,
        }
    }

    /// Hands the turn over once it is taken, or gives it back where nobody waits for it any more.
    async fn taken(self, lasting: Duration, mut answer: oneshot::Sender<Result<Self, sqlx::Error>>) {
        loop {
            match self.is_free(lasting).await {
                Ok(true) => return drop(answer.send(Ok(self))),
                Err(error) => return drop(answer.send(Err(error))),
                Ok(false) => tokio::select! {
                    () = answer.closed() => return,
                    () = tokio::time::sleep(LOOK) => (),
                },
            }
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
