//! The agent tools in the Model Context Protocol: the same catalog, the same calls, the same answers as over HTTP.
//!
//! `listing` says what there is, `calling` makes a call and asks a person where that is needed, in the words of `asking`.
//! `toolset` is how another surface lends tools of its own. `message` says which bytes are a message at all. `wire` alone
//! knows the library that speaks the protocol, over streamable HTTP and over standard input and output.

mod asking;
mod calling;
mod listing;
mod message;
mod toolset;
mod wire;

pub use calling::Desk;
pub use listing::tools;
pub use message::{Mistake, judge, judge_beginning, judge_going_on};
pub use toolset::{Entered, Told, Toolset};
pub use wire::{Served, StdioError, serve_stdio};

/// What a client is told before it calls anything.
pub const INSTRUCTIONS: &str = "Docket is an event-sourced CRM for outbound campaigns. Call crm_resolve_workspace first: \
every other tool takes its organizationId beside input. Each answer is {success, data, error, meta}; after a refusal \
meta.hint names the next call and meta.fieldErrors the fields to correct. Tools that change something take dryRun, \
which shows what would happen and gives meta.previewToken; send the same input with previewToken to apply exactly \
that (onDrift intersect: as far as still possible). Where a tool takes confirm, it only shows until confirm is true. \
Lists take limit and cursor (meta.pagination.nextCursor). Reads are concise unless responseFormat is detailed, and up \
to date unless consistency is eventual; minPosition is a log position that the answer must include. requestId makes a \
change safe to repeat.";
