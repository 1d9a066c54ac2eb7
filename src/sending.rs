//! Sending: what the pure decisions of messages need before they can be made.

pub mod recipient;

pub use recipient::{Recipient, RecipientError, parse_entry};
