//! Stored events of a bucket. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use crate::channel::Channel;
use crate::ids::{BucketId, CredentialId, MessageId};
use crate::stored::stored_events;
use crate::time::Timestamp;

/// The facts of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum BucketEvent {
    /// The first send of the day.
    BucketOpened {
        /// Its stream.
        bucket_id: BucketId,
        /// The credential.
        credential_id: CredentialId,
        /// The channel.
        channel: Channel,
        /// Number of the credential's day.
        day: u64,
        /// The first instant of the day.
        starts_at: Timestamp,
        /// The first instant after it.
        ends_at: Timestamp,
    },
    /// These sends count from here on.
    BucketCharged {
        /// At most 1 000, sorted, none of them charged before.
        message_ids: Vec<MessageId>,
    },
    /// These sends count no more.
    BucketRefunded {
        /// At most 1 000, sorted, all of them charged before.
        message_ids: Vec<MessageId>,
        /// Why: `not_sent`, `day_over`.
        because: String,
    },
}

stored_events!(BucketEvent {
    BucketOpened "1",
    BucketCharged "1",
    BucketRefunded "1",
});
