//! Stored events of a follow-up. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use crate::ids::{AgentId, CampaignId, ContactId, FollowUpId};
use crate::personal::Personal;
use crate::stored::stored_events;
use crate::time::Timestamp;

/// The facts of a follow-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum FollowUpEvent {
    /// The contact is to be called again.
    FollowUpScheduled {
        /// Its id, which is also its stream.
        follow_up_id: FollowUpId,
        /// The campaign.
        campaign_id: CampaignId,
        /// The contact.
        contact_id: ContactId,
        /// Who is to call.
        agent_id: AgentId,
        /// When.
        due_at: Timestamp,
        /// What for. The subject is the contact.
        note: Option<Personal<String>>,
    },
    /// It was seen to.
    FollowUpDone {},
    /// It is not wanted any more.
    FollowUpCancelled {
        /// Why: `requested`, `contact_removed`, `do_not_contact`.
        because: String,
    },
}

stored_events!(FollowUpEvent {
    FollowUpScheduled "1",
    FollowUpDone "1",
    FollowUpCancelled "1",
});
