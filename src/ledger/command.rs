//! What the ledger is asked to record, and what it answers.
//!
//! A command is accepted or refused whole. It carries everything that was decided: the events with the version
//! of the stream on which each decision rests (`writes`), versions of other streams that the decision looked at
//! (`guards`), and claims that must not exist (`absent`). Which claims the events take follows from the events.

use std::time::Duration;

use docket_aggregates::claims::{ClaimKey, Scope};
use docket_aggregates::ids::{CommandId, OrganizationId, PrincipalId, TokenId};
use docket_aggregates::{AnyEvent, Timestamp};
use serde_json::Value;
use uuid::Uuid;

/// One aggregate's stream of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream {
    /// The stored aggregate type.
    pub aggregate_type: &'static str,
    /// The aggregate's id.
    pub id: Uuid,
}

impl Stream {
    /// The stream of the aggregate `A` with this id.
    pub fn of<A: cqrs_es::Aggregate>(id: impl Into<Uuid>) -> Self {
        Self { aggregate_type: A::TYPE, id: id.into() }
    }
}

/// Events for one stream, and the version that they were decided on.
#[derive(Clone, Debug)]
pub struct Write {
    /// The stream.
    pub stream: Stream,
    /// Number of events that the stream had when the decision was made.
    pub expected: u64,
    /// What was decided.
    pub events: Vec<AnyEvent>,
}

/// A stream that the decision looked at and that must not have changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The stream.
    pub stream: Stream,
    /// Number of events that it had.
    pub version: u64,
}

/// Who acts. Comes from the token, never from a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// `person`, `agent` or `system`.
    pub kind: &'static str,
    /// The principal.
    pub principal: PrincipalId,
    /// The token that was shown; none for the command line and for processes.
    pub token: Option<TokenId>,
}

impl Actor {
    /// Docket itself.
    pub const SYSTEM: Self = Self { kind: "system", principal: PrincipalId(Uuid::nil()), token: None };
}

/// How a command came about. Stored with each of its events, the reason sealed and the request id hashed.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Who acts.
    pub actor: Actor,
    /// The tool or route that was called, or the command line's verb.
    pub tool: String,
    /// The caller's own id of the request.
    pub request_id: Option<String>,
    /// The run that the caller says it belongs to.
    pub run_id: Option<Uuid>,
    /// Why, in the caller's words, at most 500 characters.
    pub reason: Option<String>,
    /// The command that caused this one.
    pub causation: Option<CommandId>,
}

impl Origin {
    /// Something that Docket does by itself.
    pub fn system(tool: impl Into<String>) -> Self {
        Self {
            actor: Actor::SYSTEM,
            tool: tool.into(),
            request_id: None,
            run_id: None,
            reason: None,
            causation: None,
        }
    }
}

/// An idempotent request: the key under which the answer is kept, and what the answer is to be.
#[derive(Clone, Debug)]
pub struct Request {
    /// The caller's own id of the request; unique for organization, principal and tool.
    pub request_id: String,
    /// Another name under which the answer is kept, which the same request may have where it comes again; whether it was
    /// answered before is asked by its id alone.
    pub alias: Option<String>,
    /// The input in canonical JSON; only its keyed fingerprint is stored.
    pub input: String,
    /// What a replay is answered with, as JSON; stored sealed for seven days.
    pub answer: String,
}

/// In which lane a command waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lane {
    /// What somebody waits for.
    #[default]
    Normal,
    /// Bulk work, which must not slow down the others.
    Bulk,
}

/// What the ledger is asked to record.
#[derive(Clone, Debug)]
pub struct Command {
    /// Names the command for ever, also through retries; the audit id of the answer.
    pub id: CommandId,
    /// The ledger.
    pub organization: OrganizationId,
    /// When it was decided.
    pub at: Timestamp,
    /// How it came about.
    pub origin: Origin,
    /// What was decided.
    pub writes: Vec<Write>,
    /// What must not have changed since.
    pub guards: Vec<Guard>,
    /// What must not be claimed.
    pub absent: Vec<ClaimKey>,
    /// The position at which counts were right that its answer shows from memory: nothing may have changed one since.
    pub counted_at: Option<i64>,
    /// The request that it answers, if the caller named one.
    pub request: Option<Request>,
    /// In which lane it waits.
    pub lane: Lane,
}

/// What was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The command.
    pub command_id: CommandId,
    /// Position of its last event, or of the head if it had none.
    pub position: i64,
    /// Version of each written stream after it, in the order of the writes.
    pub versions: Vec<u64>,
    /// The same command had been recorded before; nothing was recorded now.
    pub duplicate: bool,
}

/// The answer to a request that was answered before.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAnswer {
    /// The command that was recorded then.
    pub command_id: CommandId,
    /// What was answered.
    pub answer: Value,
    /// Position of its last event.
    pub position: i64,
}

/// Why nothing was recorded.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// A stream or guard is not at the version that the decision rests on. Decide again.
    #[error("the decision rests on an older state")]
    Conflict,
    /// Somebody else owns what an event claims.
    #[error("{} is taken", .0.name())]
    Taken(Scope),
    /// Something exists that must not.
    #[error("{} stands against it", .0.name())]
    Present(Scope),
    /// The same request was answered before.
    #[error("the request was answered before")]
    Replayed(Box<StoredAnswer>),
    /// The same request id came with another input before.
    #[error("the request id was used with another input before")]
    RequestConflict,
    /// The organization has as many commands waiting as it may.
    #[error("the organization has too many commands waiting")]
    OrganizationBusy {
        /// When to come again.
        retry_after: Duration,
    },
    /// The instance has as many commands waiting as it may.
    #[error("too many commands are waiting")]
    Overloaded {
        /// When to come again.
        retry_after: Duration,
    },
    /// The connection was lost around the commit and the database does not answer yet: it may or may not be
    /// recorded. Asking again with the same command or request id tells.
    #[error("it is not known yet whether command {0} was recorded")]
    OutcomeUnknown(CommandId),
    /// The database does not answer. Nothing was recorded.
    #[error("the ledger is not available")]
    Unavailable,
    /// There is no such ledger.
    #[error("organization does not exist")]
    UnknownOrganization,
    /// The data of somebody whom the command is about was erased.
    #[error("the data subject was erased")]
    SubjectErased,
    /// The command is beyond what one transaction takes.
    #[error("the command is too large: {bytes} bytes, at most {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most that is taken.
        max: usize,
    },
    /// The command holds what cannot be stored. A defect of the caller, not of its input.
    #[error("the command cannot be stored: {0}")]
    Unstorable(String),
}
