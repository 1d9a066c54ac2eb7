//! Stored events of a membership. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use super::{CallOutcome, MembershipStatus};
use crate::ids::{AgentId, CallId, CampaignId, ContactId};
use crate::personal::Personal;
use crate::stored::stored_events;
use crate::time::Timestamp;

/// The facts of the work on one contact within one campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum MembershipEvent {
    /// A call was made.
    CallLogged {
        /// Its id.
        call_id: CallId,
        /// The campaign.
        campaign_id: CampaignId,
        /// The contact.
        contact_id: ContactId,
        /// Sequence of the roster event that put the contact in; work of an earlier stay does not count.
        epoch: u64,
        /// Who called.
        agent_id: AgentId,
        /// How it went.
        outcome: CallOutcome,
        /// When it began.
        started_at: Timestamp,
        /// How long it lasted, in seconds.
        duration_seconds: Option<u32>,
        /// What the caller wrote down. The subject is the contact.
        note: Option<Personal<String>>,
        /// Which attempt of this stay it was, from 1.
        attempt: u32,
        /// Where the contact stands after it.
        status: MembershipStatus,
    },
    /// The contact stands elsewhere for another reason than a call.
    MembershipMoved {
        /// The campaign.
        campaign_id: CampaignId,
        /// The contact.
        contact_id: ContactId,
        /// Sequence of the roster event that put the contact in.
        epoch: u64,
        /// Where it stands now.
        status: MembershipStatus,
        /// Why: `follow_up_scheduled`, `follow_up_closed`, `script_started`, `qualification`.
        because: String,
        /// When a person came to the verdict that it stands there by; none where no person did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        judged_at: Option<Timestamp>,
    },
}

stored_events!(MembershipEvent { CallLogged "1", MembershipMoved "1" });
