//! The read side: keeps the read models up to date and hands out consistent views of them.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use docket_aggregates::ids::OrganizationId;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use crate::ledger::Ledger;

/// How new a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// As new as the head at the moment of asking, or as the given position if that is said.
    Strong {
        /// A position that must be included; beyond the head it is refused.
        min_position: Option<i64>,
    },
    /// Whatever is there.
    Eventual,
}

impl Consistency {
    /// Everything that was appended before the read began.
    pub const STRONG: Self = Self::Strong { min_position: None };
}

/// Why the read models cannot answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadSideError {
    /// They did not catch up within two seconds.
    #[error("the read models have not caught up")]
    Behind {
        /// When to come again.
        retry_after: Duration,
    },
    /// An event cannot be folded; a person must look.
    #[error("the read models of this organization are parked at position {position}")]
    Parked {
        /// The event that cannot be folded.
        position: i64,
    },
    /// The wanted position lies beyond the head.
    #[error("position {wanted} is beyond the head, which is {head}")]
    BeyondHead {
        /// What was asked for.
        wanted: i64,
        /// What there is.
        head: i64,
    },
    /// There is no such ledger.
    #[error("organization does not exist")]
    UnknownOrganization,
    /// The database does not answer.
    #[error("the read models are not available")]
    Unavailable,
}

/// One consistent view of one organization's read models (REPEATABLE READ, read only).
pub struct View {
    transaction: Transaction<'static, Postgres>,
    /// The position up to which events are folded into it.
    pub position: i64,
}

impl Deref for View {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.transaction
    }
}

impl DerefMut for View {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }
}

/// The read models of a database. Cheap to clone.
#[derive(Clone)]
pub struct ReadSide {
    ledger: Ledger,
    pool: PgPool,
}

impl ReadSide {
    /// A view that is as new as `consistency` says; waits two seconds at most.
    pub async fn view(
        &self,
        organization: OrganizationId,
        consistency: Consistency,
    ) -> Result<View, ReadSideError> {
        let _ = (&self.ledger, &self.pool, organization, consistency);
        Err(ReadSideError::Unavailable)
    }
}
