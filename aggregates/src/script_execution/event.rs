//! Stored events of a script execution. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use crate::ids::{AgentId, CampaignId, ContactId, ScriptExecutionId, ScriptTemplateId};
use crate::personal::Personal;
use crate::stored::stored_events;
use crate::time::Timestamp;

/// What became of one node's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The node, within the version of the template that the execution began with.
    pub node_id: String,
    /// What was answered; none if an earlier answer was taken back.
    pub value: Option<String>,
}

/// The facts of one run through a script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum ScriptExecutionEvent {
    /// A caller began to go through a script with a contact.
    ScriptExecutionStarted {
        /// Its id, which is also its stream.
        execution_id: ScriptExecutionId,
        /// The campaign.
        campaign_id: CampaignId,
        /// The contact.
        contact_id: ContactId,
        /// Sequence of the roster event that put the contact in.
        epoch: u64,
        /// Who goes through it, if that is known.
        agent_id: Option<AgentId>,
        /// The template.
        script_template_id: ScriptTemplateId,
        /// The version of it that holds to the end, whatever becomes of the template.
        script_template_version: u32,
        /// When.
        started_at: Timestamp,
    },
    /// Answers were captured, changed or taken back.
    ScriptAnswersRecorded {
        /// When they were given.
        answered_at: Timestamp,
        /// Only what differs from before. The subject is the contact.
        answers: Personal<Vec<Answer>>,
    },
    /// Everything that was asked for is answered; nothing is added any more.
    ScriptExecutionCompleted {
        /// The campaign.
        campaign_id: CampaignId,
        /// The contact.
        contact_id: ContactId,
        /// When.
        completed_at: Timestamp,
    },
    /// It ended before its end; nothing is added any more.
    ScriptExecutionAbandoned {
        /// The campaign.
        campaign_id: CampaignId,
        /// The contact.
        contact_id: ContactId,
        /// When.
        abandoned_at: Timestamp,
        /// Why: `requested`, `stay_over`.
        because: String,
    },
}

stored_events!(ScriptExecutionEvent {
    ScriptExecutionStarted "1",
    ScriptAnswersRecorded "1",
    ScriptExecutionCompleted "1",
    ScriptExecutionAbandoned "1",
});
