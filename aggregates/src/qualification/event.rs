//! Stored events of a qualification. A change here is a change of a stored format.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::QualificationStatus;
use crate::ids::{
    AgentId, CampaignId, ContactId, QualificationId, QualificationTemplateId, ScriptExecutionId,
};
use crate::membership::Stay;
use crate::personal::Personal;
use crate::qualification_template::Answers;
use crate::stored::stored_events;

/// What is recorded about the contact. All of it is sealed, under the contact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QualificationRecord {
    /// Answers by the keys of their fields.
    pub answers: Answers,
    /// What whoever asked wrote down, at most 4 000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// What the answers are worth; none where the form weighs nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<i64>,
    /// SHA-256, in hex, of what a model was sent, where one gave these answers. Few answers make few payloads, so
    /// that the hash alone would tell them: it is sealed like them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_sha256: Option<String>,
}

/// Which model gave the answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByModel {
    /// The model, as the operator names it.
    pub model: String,
    /// Host and, where it is said, port of the endpoint.
    pub endpoint: String,
}

/// What of a model's word a person stood by, without a change of it. It is the person's from then on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// Keys of answers. They are the form's words and tell nothing of what was answered.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub answers: BTreeSet<String>,
    /// Whether the notes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub notes: bool,
    /// The stay of which the verdict, if that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Stay>,
}

/// The facts of a qualification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum QualificationEvent {
    /// It was begun.
    QualificationOpened {
        /// Its id, which is also its stream.
        qualification_id: QualificationId,
        /// The campaign.
        campaign_id: CampaignId,
        /// The contact.
        contact_id: ContactId,
        /// Sequence of the roster event that put the contact in.
        epoch: u64,
        /// Whose the contact was then.
        agent_id: Option<AgentId>,
        /// The form.
        template_id: QualificationTemplateId,
        /// Which version of it; the record stays under that one.
        template_version: u64,
        /// The conversation that it follows from.
        script_execution_id: Option<ScriptExecutionId>,
        /// What is known so far. The subject is the contact.
        record: Personal<QualificationRecord>,
        /// The model that gave the answers, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by_model: Option<ByModel>,
    },
    /// Other answers or notes, or the same ones as a person's instead of a model's.
    QualificationAnswered {
        /// All that is known now. The subject is the contact.
        record: Personal<QualificationRecord>,
        /// The conversation that they follow from, where it is another than before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        script_execution_id: Option<ScriptExecutionId>,
        /// The model that gave them, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by_model: Option<ByModel>,
        /// What of a model's word a person stood by with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirmed: Option<Confirmed>,
    },
    /// The matter is decided.
    QualificationConcluded {
        /// The campaign.
        campaign_id: CampaignId,
        /// The contact.
        contact_id: ContactId,
        /// Sequence of the roster event that put the contact in.
        epoch: u64,
        /// `qualified` or `not_qualified`.
        verdict: QualificationStatus,
        /// The model that decided it, if no person did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by_model: Option<ByModel>,
    },
    /// The matter was decided, and is decided otherwise now.
    QualificationOverturned {
        /// Of whom.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stay: Option<Stay>,
        /// `qualified` or `not_qualified`.
        verdict: QualificationStatus,
        /// The model that decided it, if no person did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by_model: Option<ByModel>,
    },
    /// The matter was decided, and is open again.
    QualificationReopened {
        /// The campaign.
        campaign_id: CampaignId,
        /// The contact.
        contact_id: ContactId,
        /// Sequence of the roster event that put the contact in.
        epoch: u64,
    },
}

stored_events!(QualificationEvent {
    QualificationOpened "1",
    QualificationAnswered "1",
    QualificationConcluded "1",
    QualificationOverturned "1",
    QualificationReopened "1",
});
