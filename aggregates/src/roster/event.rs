//! Stored events of a roster. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use crate::ids::{AgentId, CampaignId, ContactId};
use crate::stored::stored_events;

/// Contacts given to one caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The caller.
    pub agent_id: AgentId,
    /// Its contacts, sorted.
    pub contact_ids: Vec<ContactId>,
}

/// The facts of a roster. Each event names at most [`super::CHUNK`] contacts, sorted by id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum RosterEvent {
    /// The contacts are in the campaign, with fresh work. The sequence of this event is the `epoch` of each of
    /// these memberships.
    ContactsAdded {
        /// The campaign.
        campaign_id: CampaignId,
        /// The contacts, sorted.
        contact_ids: Vec<ContactId>,
    },
    /// The contacts belong to these callers now, whoever they belonged to before.
    ContactsAssigned {
        /// The campaign.
        campaign_id: CampaignId,
        /// Who got whom.
        shares: Vec<Share>,
    },
    /// The contacts are not in the campaign any more and their work in it is forgotten.
    ContactsRemoved {
        /// The campaign.
        campaign_id: CampaignId,
        /// The contacts, sorted.
        contact_ids: Vec<ContactId>,
        /// Whether their calls are no longer counted to the campaign. The calls themselves stay in the ledger.
        detach_calls: bool,
        /// Whether every follow-up that was scheduled for them in the campaign before this event and is still pending is
        /// cancelled, also one that whoever took them out did not see.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        cancel_follow_ups: bool,
    },
}

stored_events!(RosterEvent {
    ContactsAdded "1",
    ContactsAssigned "1",
    ContactsRemoved "1",
});
