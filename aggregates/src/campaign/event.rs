//! Stored events of a campaign. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use super::{CampaignSettings, CampaignStatus};
use crate::ids::{AgentId, CampaignId, QualificationTemplateId, ScriptTemplateId};
use crate::personal::Personal;
use crate::stored::stored_events;

/// What is said of a campaign in words; sealed, because free text names people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignText {
    /// Name, 1 to 200 characters.
    pub name: String,
    /// Description, at most 4 000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it is to reach, at most 1 000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<String>,
}

/// The facts of a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum CampaignEvent {
    /// The campaign exists from here on.
    CampaignCreated {
        /// Its id, which is also its stream.
        campaign_id: CampaignId,
        /// Name, description, goal. The subject is the campaign.
        text: Personal<CampaignText>,
        /// `draft` or `active`.
        status: CampaignStatus,
        /// The call script.
        script_template_id: Option<ScriptTemplateId>,
        /// The qualification form.
        qualification_template_id: Option<QualificationTemplateId>,
        /// The callers who work on it.
        agent_ids: Vec<AgentId>,
        /// First day, `YYYY-MM-DD`.
        start_date: Option<String>,
        /// Last day, `YYYY-MM-DD`.
        end_date: Option<String>,
        /// Attempts and call window.
        settings: CampaignSettings,
    },
    /// It is described in other words.
    CampaignReworded {
        /// The whole new text.
        text: Personal<CampaignText>,
    },
    /// It has other days.
    CampaignScheduled {
        /// First day, `YYYY-MM-DD`.
        start_date: Option<String>,
        /// Last day, `YYYY-MM-DD`.
        end_date: Option<String>,
    },
    /// Other callers work on it.
    CampaignStaffed {
        /// All of them.
        agent_ids: Vec<AgentId>,
    },
    /// It has other settings.
    CampaignConfigured {
        /// All of them.
        settings: CampaignSettings,
    },
    /// Its templates are these.
    TemplatesAttached {
        /// The call script, or none.
        script_template_id: Option<ScriptTemplateId>,
        /// The qualification form, or none.
        qualification_template_id: Option<QualificationTemplateId>,
    },
    /// Its contacts are worked on.
    CampaignActivated {},
    /// It rests.
    CampaignPaused {},
    /// Its work is done.
    CampaignCompleted {},
    /// It is put away, for good.
    CampaignArchived {},
}

stored_events!(CampaignEvent {
    CampaignCreated "1",
    CampaignReworded "1",
    CampaignScheduled "1",
    CampaignStaffed "1",
    CampaignConfigured "1",
    TemplatesAttached "1",
    CampaignActivated "1",
    CampaignPaused "1",
    CampaignCompleted "1",
    CampaignArchived "1",
});
