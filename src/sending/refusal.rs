//! Why something is not done with a message.

use docket_aggregates::approval::ApprovalError;
use docket_aggregates::bucket::BucketError;
use docket_aggregates::channel::Channel;
use docket_aggregates::correspondence::CorrespondenceError;
use docket_aggregates::ids::MessageId;
use docket_aggregates::message::MessageError;

use super::content::PAYLOAD_BYTES_MAX;
use super::recipient::RecipientError;
use crate::channels::Problem;

/// Why something is not done with a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendRefusal {
    /// `to` is nobody whom the channel could write to.
    #[error("to {0}")]
    To(#[from] RecipientError),
    /// The payload is none of the channel.
    #[error("the payload has {} problems", .0.len())]
    Payload(Vec<Problem>),
    /// The payload is too long.
    #[error("payload must have at most {PAYLOAD_BYTES_MAX} bytes of JSON")]
    PayloadTooLong,
    /// There is no such sender, or it was taken out of use.
    #[error("outbox does not exist")]
    UnknownOutbox,
    /// The sender sends on another channel.
    #[error("the outbox sends on {} and not on {}", .outbox.name(), .asked.name())]
    OtherChannel {
        /// The channel of the outbox.
        outbox: Channel,
        /// The channel that was asked for.
        asked: Channel,
    },
    /// There is no such piece.
    #[error("content piece does not exist")]
    UnknownContentPiece,
    /// The piece was taken out of use.
    #[error("the content piece was deleted")]
    ContentPieceDeleted,
    /// There is no such contact.
    #[error("contact does not exist")]
    UnknownContact,
    /// There is no such campaign.
    #[error("campaign does not exist")]
    UnknownCampaign,
    /// The deduplication key stands for another message, which is named to whoever may see it.
    #[error("the clientDedupKey stands for another message")]
    OtherRequest(Option<MessageId>),
    /// The message refuses.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The approval refuses.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    /// The bucket refuses. It never refuses a refund.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The count of what the recipient got refuses. It never refuses to count less.
    #[error(transparent)]
    Correspondence(#[from] CorrespondenceError),
}
