//! Stored events of what one recipient gets. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use crate::channel::Channel;
use crate::ids::MessageId;
use crate::stored::stored_events;
use crate::time::Timestamp;

/// The facts of what one recipient gets. The stream's id is made of the keyed hash of an address, or of a contact's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum CorrespondenceEvent {
    /// A message counts to the frequency cap.
    CorrespondenceCounted {
        /// The message.
        message_id: MessageId,
        /// From when.
        at: Timestamp,
    },
    /// It does not count any more.
    CorrespondenceUncounted {
        /// The message.
        message_id: MessageId,
    },
    /// Whoever the address belongs to wrote to us.
    CorrespondentHeard {
        /// By which channel.
        channel: Channel,
        /// When.
        at: Timestamp,
    },
}

stored_events!(CorrespondenceEvent {
    CorrespondenceCounted "1",
    CorrespondenceUncounted "1",
    CorrespondentHeard "1",
});
