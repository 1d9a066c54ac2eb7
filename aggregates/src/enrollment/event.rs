//! Stored events of an enrollment. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use crate::ids::{CampaignId, ContactId, MessageId, SequenceId};
use crate::stored::stored_events;
use crate::time::Timestamp;

/// The facts of one contact's way through one sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum EnrollmentEvent {
    /// The contact is led through from here on.
    ContactEnrolled {
        /// The sequence.
        sequence_id: SequenceId,
        /// The contact.
        contact_id: ContactId,
        /// For which campaign.
        campaign_id: Option<CampaignId>,
        /// Which time, from 1.
        round: u64,
        /// From when the first wait counts.
        at: Timestamp,
    },
    /// A step was taken; its message is drafted in the same append.
    StepTaken {
        /// Which time the contact is led through.
        round: u64,
        /// Which step, from 1.
        step: u32,
        /// Which try of it, from 1; more than one where the quota was used up.
        attempt: u32,
        /// The version of the sequence that it was taken from.
        sequence_version: u32,
        /// Its message.
        message_id: MessageId,
        /// When.
        at: Timestamp,
    },
    /// No step is taken any more.
    EnrollmentStopped {
        /// Why: `replied`, `unsubscribed`, `bounced`, `complained`, `not_sent`, `suppressed`, `removed`,
        /// `campaign_over`, `archived`, `requested`.
        because: String,
    },
    /// Every step was taken.
    EnrollmentFinished {},
}

stored_events!(EnrollmentEvent {
    ContactEnrolled "1",
    StepTaken "1",
    EnrollmentStopped "1",
    EnrollmentFinished "1",
});
