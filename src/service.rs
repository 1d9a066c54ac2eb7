//! How an application service is called, whatever the surface.
//!
//! A service is a function over [`App`](crate::app::App) that does one thing to the world for HTTP, the agent
//! tools and the command line alike. The surface says who asks and under which id; the service decides, appends
//! and answers with the entity.

use docket_aggregates::Timestamp;
use docket_aggregates::ids::{CommandId, OrganizationId};
use serde::Serialize;

use crate::app::App;
use crate::ledger::read::ReadError;
use crate::ledger::{AppendError, Appended, Command, DecideError, Guard, Lane, Origin, Request, Write};
use crate::readside::ReadSideError;

/// A request that may be asked again: the caller's own id of it, and its input in canonical JSON.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// Unique for organization, principal and tool.
    pub key: String,
    /// What it must be the same as when it is asked again.
    pub input: String,
}

/// One call of a service.
#[derive(Clone, Debug)]
pub struct Call {
    /// The ledger that it is about.
    pub organization: OrganizationId,
    /// The id under which it is recorded, kept through all tries.
    pub command_id: CommandId,
    /// When it is decided.
    pub at: Timestamp,
    /// By whom, and through which door.
    pub origin: Origin,
    /// Set where the caller named the request.
    pub idempotency: Option<Idempotency>,
}

impl Call {
    /// A call that Docket or its command line makes by itself.
    pub fn of_system(app: &App, organization: OrganizationId, tool: &str) -> Self {
        Self {
            organization,
            command_id: app.clock.mint(),
            at: app.clock.now(),
            origin: Origin::system(tool),
            idempotency: None,
        }
    }

    /// The request as the ledger keeps it, answered with `answer`.
    pub fn request(&self, answer: &impl Serialize) -> Result<Option<Request>, AppendError> {
        let Some(idempotency) = &self.idempotency else { return Ok(None) };
        let answer =
            serde_json::to_string(answer).map_err(|error| AppendError::Unstorable(error.to_string()))?;
        let Idempotency { key, input } = idempotency.clone();
        Ok(Some(Request { request_id: key, alias: None, input, answer }))
    }

    /// The command for the ledger, in the normal lane.
    pub fn command(&self, writes: Vec<Write>, guards: Vec<Guard>, request: Option<Request>) -> Command {
        Command {
            id: self.command_id,
            organization: self.organization,
            at: self.at,
            origin: self.origin.clone(),
            writes: writes.into_iter().filter(|write| !write.events.is_empty()).collect(),
            guards,
            absent: vec![],
            counted_at: None,
            request,
            lane: Lane::Normal,
        }
    }
}

/// What a service did.
#[derive(Clone, Debug)]
pub struct Done<T> {
    /// The entity as it is now.
    pub entity: T,
    /// What was recorded; none if there was nothing to do.
    pub appended: Option<Appended>,
}

/// Why a service did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError<R> {
    /// What was asked is not possible.
    #[error("{0}")]
    Refused(R),
    /// The ledger refused.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The read models cannot answer.
    #[error(transparent)]
    ReadSide(#[from] ReadSideError),
    /// A query failed.
    #[error("a read failed")]
    Database(#[from] sqlx::Error),
}

impl<R> ServiceError<R> {
    /// The same with the refusal told otherwise.
    pub fn map<S>(self, tell: impl FnOnce(R) -> S) -> ServiceError<S> {
        match self {
            Self::Refused(refusal) => ServiceError::Refused(tell(refusal)),
            Self::Append(error) => ServiceError::Append(error),
            Self::Read(error) => ServiceError::Read(error),
            Self::ReadSide(error) => ServiceError::ReadSide(error),
            Self::Database(error) => ServiceError::Database(error),
        }
    }
}

impl<E, R: From<E>> From<DecideError<E>> for ServiceError<R> {
    fn from(error: DecideError<E>) -> Self {
        match error {
            DecideError::Refused(refusal) => Self::Refused(refusal.into()),
            DecideError::Append(error) => Self::Append(error),
            DecideError::Read(error) => Self::Read(error),
        }
    }
}

impl<R> From<crate::ledger::KeyError> for ServiceError<R> {
    fn from(error: crate::ledger::KeyError) -> Self {
        Self::Append(error.into())
    }
}
