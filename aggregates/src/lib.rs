//! The decisions of Docket: commands in, events out, and nothing else.
//!
//! **Invariant:** nothing here reads a clock, a socket, a database or a source of randomness. Time and
//! fresh ids arrive in the command, so the same state and command always give the same events, and a
//! replay never has to look anything up.
//!
//! Each aggregate is one file (state, commands, refusals, `decide`, tests) and one `event.rs` below it,
//! which is a stored format and is reviewed like a migration.

mod stored;

pub mod calendar;
pub mod channel;
pub mod decimal;
pub mod ids;
pub mod labels;
pub mod payload;
pub mod personal;
pub mod time;

pub mod any;
pub mod claims;

pub mod organization;
pub mod token;

pub mod agent;
pub mod campaign;
pub mod contact;
pub mod follow_up;
pub mod import;
pub mod membership;
pub mod qualification;
pub mod qualification_template;
pub mod roster;
pub mod script_execution;
pub mod script_template;

pub mod allowlist;
pub mod approval;
pub mod approval_rules;
pub mod bucket;
pub mod content_piece;
pub mod correspondence;
pub mod credential;
pub mod enrollment;
pub mod hook_registry;
pub mod judgement;
pub mod message;
pub mod outbox;
pub mod sending_control;
pub mod sequence;
pub mod suppression;
pub mod webhook_endpoint;

pub use any::{AnyEvent, DecodeError};
pub use personal::Personal;
pub use stored::Decides;
pub use time::Timestamp;
