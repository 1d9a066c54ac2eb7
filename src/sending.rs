//! Sending, up to the point where a message waits for its channel, and after it left.
//!
//! `drafting` takes a message in and decides what becomes of it; `revising` takes other words for one that waits for a
//! person; `settling` takes a person's word for what nobody could tell; `explaining` says why a message is where it is.
//! What hands messages to channels is the dispatcher. Each of them is one append.

pub mod activity;
pub mod addressee;
pub mod content;
pub mod drafting;
pub mod explaining;
pub mod outcome;
pub mod recipient;
pub mod refusal;
pub mod revising;
pub mod settling;
pub mod vouching;

pub use activity::Activity;
pub use drafting::{SendRequest, draft};
pub use recipient::{ReadEntry, Recipient, RecipientError, domain_of, parse_entry, parse_new_entry};
pub use refusal::SendRefusal;
