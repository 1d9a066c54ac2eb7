//! Processes that start together on one database make what it needs one after the other.
//!
//! `IF NOT EXISTS` does not help there: of two transactions that make one schema at once the later one fails. Whoever
//! comes second waits for the first one, no longer than its connection lets a statement take, and then finds it made.

use sqlx::PgConnection;

/// What only one process makes at a time.
#[derive(Clone, Copy, Debug)]
pub enum Making {
    /// A schema.
    Schema,
    /// The read models of a new version.
    ReadModels,
}

impl Making {
    /// Its name among PostgreSQL's advisory locks, which all programs of a database share.
    const fn name(self) -> i64 {
        match self {
            Self::Schema => 0x_d0c4_e701,
            Self::ReadModels => 0x_d0c4_e702,
        }
    }
}

/// Waits for the turn, which lasts until the transaction ends.
pub async fn in_turn(transaction: &mut PgConnection, making: Making) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(making.name()).execute(transaction).await?;
    Ok(())
}
