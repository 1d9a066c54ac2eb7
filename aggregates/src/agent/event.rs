//! Stored events of a caller. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use crate::ids::AgentId;
use crate::personal::Personal;
use crate::stored::stored_events;

/// Who a caller is, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentProfile {
    /// Display name, 1 to 200 characters.
    pub name: String,
    /// E-mail address.
    pub email: String,
    /// What the caller does, in the organization's words.
    pub role: Option<String>,
}

/// The facts of a caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum AgentEvent {
    /// Contacts may be assigned to it from here on.
    AgentRegistered {
        /// Its id, which is also its stream.
        agent_id: AgentId,
        /// Name, address and role.
        profile: Personal<AgentProfile>,
        /// Whether it takes assignments.
        active: bool,
    },
    /// Its name, address or role is another.
    AgentProfileChanged {
        /// The whole new profile.
        profile: Personal<AgentProfile>,
    },
    /// It takes assignments again.
    AgentActivated {},
    /// It takes no new assignments; what it holds stays with it.
    AgentDeactivated {},
}

stored_events!(AgentEvent {
    AgentRegistered "1",
    AgentProfileChanged "1",
    AgentActivated "1",
    AgentDeactivated "1",
});
