//! Stored events of what one recipient gets. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use crate::channel::Channel;
use crate::ids::{ContactId, MessageId};
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
        /// Keyed hash of the provider's id of what they wrote, by which a repetition is told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        notice_hash: Option<String>,
        /// Keyed hash of the address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address_hash: Option<String>,
        /// The contact that the message was for which they most probably answered, or that has its address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        contact_id: Option<ContactId>,
    },
}

stored_events!(CorrespondenceEvent {
    CorrespondenceCounted "1",
    CorrespondenceUncounted "1",
    CorrespondentHeard "1",
});
