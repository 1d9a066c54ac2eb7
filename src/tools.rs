//! What an agent may do: one catalog of tools, read by HTTP, MCP, the reference and the command line.
//!
//! A tool is one place: an input type whose comment is the description and whose field comments are the schema, an
//! output type, a function, and its line in `tools()` at the top of the same file. A tool that reads is a function from
//! its input to its answer. A tool that changes something is a function to a [`Plan`]; what dry runs, confirmation,
//! previews, idempotency and races mean is settled once, in `call`.

pub mod call;
mod catalog;
mod concise;
pub mod context;
pub mod cursor;
mod draft;
mod example;
pub mod input;
pub mod plan;
pub mod progress;
pub mod refusal;
pub mod schema;
pub mod search;
pub mod strict;
mod tool;

mod agents;
mod campaign_contacts;
mod campaigns;
mod comparisons;
mod contacts;
mod deduplication;
mod qualification_templates;
mod qualifications;
mod script_executions;
mod script_templates;
mod upserting;
pub mod workspace;

pub use call::{Listener, admit, answer, answer_to, enter, refuse};
pub use catalog::{CONTRACT, Catalog, CatalogError, VERSION, announced, answer_tokens, catalog};
pub use context::ToolContext;
pub use draft::{Confirm, Risk};
pub use example::{Example, Known};
pub use plan::{Effects, Mint, Plan};
pub use refusal::{FieldError, Kind, Refusal, ToolResult};
pub use tool::Tool;

#[cfg(test)]
pub use qualification_templates::form_of_document;

use draft::{Draft, tool};
