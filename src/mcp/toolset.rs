//! Tools that another surface lends to the protocol: what it has to list, and how a call of one is made.

use docket_aggregates::ids::OrganizationId;
use futures::future::BoxFuture;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::credentials::Caller;

/// Who came in, and where.
#[derive(Clone, Debug)]
pub struct Entered {
    /// Who.
    pub caller: Caller,
    /// The company.
    pub company: OrganizationId,
    /// The run that the caller says it belongs to.
    pub run_id: Option<Uuid>,
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// It was done; always an object.
    Answer(Value),
    /// It was refused; always an object. A model reads it and may do better.
    Refusal(Value),
    /// There is no such tool for this caller, which is the client's mistake and not the model's.
    UnknownTool,
}

/// Tools, and how they are called. The protocol knows nothing else of them.
pub trait Toolset: Send + Sync + 'static {
    /// What a client is told before it calls anything.
    fn instructions(&self) -> &'static str;

    /// The tools that whoever came in may use, as the protocol describes them.
    fn tools(&self, entered: &Entered) -> Vec<Value>;

    /// Calls a tool.
    fn call<'a>(
        &'a self,
        entered: &'a Entered,
        name: &'a str,
        arguments: Map<String, Value>,
    ) -> BoxFuture<'a, Told>;
}
