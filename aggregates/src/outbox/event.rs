//! Stored events of an outbox. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use crate::channel::Channel;
use crate::credential::SecretRef;
use crate::ids::OutboxId;
use crate::personal::Personal;
use crate::stored::stored_events;

/// What the board says of an outbox. All of it is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxSettings {
    /// A slug, where it serves one niche.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub niche: Option<String>,
    /// What it sends with.
    pub secret: SecretRef,
    /// The channel's own settings: the text of a JSON object.
    pub config: String,
}

/// The facts of an outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum OutboxEvent {
    /// It may be sent with from here on.
    OutboxOpened {
        /// Its id, which is also its stream.
        outbox_id: OutboxId,
        /// The channel, for good.
        channel: Channel,
        /// Niche, secret and configuration. The subject is the outbox.
        settings: Personal<OutboxSettings>,
    },
    /// It is set up otherwise.
    OutboxChanged {
        /// All the new settings.
        settings: Personal<OutboxSettings>,
    },
    /// Nothing is sent with it any more.
    OutboxDeleted {},
}

stored_events!(OutboxEvent {
    OutboxOpened "1",
    OutboxChanged "1",
    OutboxDeleted "1",
});
