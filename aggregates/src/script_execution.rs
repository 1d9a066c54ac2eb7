//! One run through a call script with one contact of a campaign.
//!
//! A run keeps the version of the template that it began with, and ends completed or abandoned; nothing is added after
//! that. A contact has at most one open run in a campaign: a claim sees to it. Answers to a branch that is no longer
//! chosen stay recorded and do not count; which do is a matter of [`selected_path`] alone.

mod answers;
mod event;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use answers::{AnswerFault, AnswerMode, GivenAnswer, Weighed};
pub use event::{Answer, ScriptExecutionEvent};

use crate::ids::{AgentId, CampaignId, ContactId, ScriptExecutionId, ScriptTemplateId};
use crate::membership::Stay;
use crate::personal::Personal;
use crate::script_template::{Node, PathStep, selected_path};
use crate::stored::aggregate;
use crate::time::Timestamp;

/// Where a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionStatus {
    /// Answers are being captured.
    #[default]
    InProgress,
    /// Everything that was required is answered.
    Completed,
    /// It ended before its end.
    Abandoned,
}

impl ExecutionStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::InProgress, Self::Completed, Self::Abandoned];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Abandoned => "abandoned",
        }
    }
}

impl std::str::FromStr for ExecutionStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|status| status.name() == text)
            .ok_or_else(|| format!("status must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Orders to a script execution.
#[derive(Clone, Debug)]
pub enum ScriptExecutionCommand {
    /// Begin.
    Start {
        /// A fresh id.
        execution_id: ScriptExecutionId,
        /// With whom.
        stay: Stay,
        /// Who goes through it.
        agent_id: Option<AgentId>,
        /// The template.
        script_template_id: ScriptTemplateId,
        /// Its current version.
        script_template_version: u32,
        /// When.
        at: Timestamp,
    },
    /// Capture answers, and end it if that is wanted.
    Record {
        /// The steps of the version that the run began with.
        steps: Arc<Vec<Node>>,
        /// What was answered.
        given: Vec<GivenAnswer>,
        /// What becomes of answers that are not given.
        mode: AnswerMode,
        /// Where the run is to stand.
        status: ExecutionStatus,
        /// When.
        at: Timestamp,
    },
    /// End it because the contact was taken out of the campaign since, and put in again.
    Supersede {
        /// When.
        at: Timestamp,
    },
}

/// Why a script execution refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptExecutionError {
    /// The stream is empty.
    #[error("script execution does not exist")]
    Unknown,
    /// The id is taken.
    #[error("script execution already exists")]
    AlreadyStarted,
    /// It ended.
    #[error("a script execution that is {} takes no more answers", .0.name())]
    Closed(ExecutionStatus),
    /// Answers that do not fit the script.
    #[error("{} answers do not fit the script", .0.len())]
    InvalidAnswers(Vec<AnswerFault>),
    /// Nodes on the path that must be answered first.
    #[error("{} required steps are not answered", .0.len())]
    RequiredUnanswered(Vec<String>),
}

/// How a run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The campaign.
    pub campaign_id: CampaignId,
    /// The contact.
    pub contact_id: ContactId,
    /// Sequence of the roster event that put the contact in.
    pub epoch: u64,
    /// Who goes through it.
    pub agent_id: Option<AgentId>,
    /// The template.
    pub script_template_id: ScriptTemplateId,
    /// The version of it that holds to the end.
    pub script_template_version: u32,
    /// When.
    pub started_at: Timestamp,
}

/// An answer that was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// What was answered.
    pub value: String,
    /// When.
    pub at: Timestamp,
}

/// The state that decisions need, and that `get_script_execution` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptExecution {
    /// How it began; none while it does not exist.
    pub begun: Option<Begun>,
    /// Where it stands.
    pub status: ExecutionStatus,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What was answered, by node, also where it does not count any more.
    pub answers: BTreeMap<String, Recorded>,
}

aggregate!(
    ScriptExecution,
    "ScriptExecution",
    ScriptExecutionCommand,
    ScriptExecutionEvent,
    ScriptExecutionError
);

impl ScriptExecution {
    /// The whole business of a script execution.
    fn decide(
        &self,
        command: ScriptExecutionCommand,
    ) -> Result<Vec<ScriptExecutionEvent>, ScriptExecutionError> {
        match (command, self.begun) {
            (ScriptExecutionCommand::Start { .. }, Some(_)) => Err(ScriptExecutionError::AlreadyStarted),
            (
                ScriptExecutionCommand::Start {
                    execution_id,
                    stay,
                    agent_id,
                    script_template_id,
                    script_template_version,
                    at,
                },
                None,
            ) => Ok(vec![ScriptExecutionEvent::ScriptExecutionStarted {
                execution_id,
                campaign_id: stay.campaign_id,
                contact_id: stay.contact_id,
                epoch: stay.epoch,
                agent_id,
                script_template_id,
                script_template_version,
                started_at: at,
            }]),

            (_, None) => Err(ScriptExecutionError::Unknown),
            (_, Some(_)) if self.status != ExecutionStatus::InProgress => {
                Err(ScriptExecutionError::Closed(self.status))
            }
            (ScriptExecutionCommand::Record { steps, given, mode, status, at }, Some(begun)) => {
                self.record(begun, &steps, &given, mode, status, at)
            }
            (ScriptExecutionCommand::Supersede { at }, Some(begun)) => {
                Ok(vec![abandoned(begun, at, "stay_over")])
            }
        }
    }

    fn record(
        &self,
        begun: Begun,
        steps: &[Node],
        given: &[GivenAnswer],
        mode: AnswerMode,
        status: ExecutionStatus,
        at: Timestamp,
    ) -> Result<Vec<ScriptExecutionEvent>, ScriptExecutionError> {
        let Weighed { changes, .. } = self.weigh(steps, given, mode)?;
        let mut events = Vec::new();
        let mut after = self.clone();
        if !changes.is_empty() {
            let answers = Personal::known(begun.contact_id.uuid(), changes);
            events.push(ScriptExecutionEvent::ScriptAnswersRecorded { answered_at: at, answers });
            events.iter().cloned().for_each(|event| after.evolve(event));
        }
        match status {
            ExecutionStatus::InProgress => (),
            ExecutionStatus::Completed => {
                let missing: Vec<String> = after
                    .path(steps)
                    .into_iter()
                    .filter(|step| step.required && step.unanswered())
                    .map(|step| step.id.to_owned())
                    .collect();
                if !missing.is_empty() {
                    return Err(ScriptExecutionError::RequiredUnanswered(missing));
                }
                events.push(ScriptExecutionEvent::ScriptExecutionCompleted {
                    campaign_id: begun.campaign_id,
                    contact_id: begun.contact_id,
                    completed_at: at,
                });
            }
            ExecutionStatus::Abandoned => events.push(abandoned(begun, at, "requested")),
        }
        Ok(events)
    }

    /// What comes of the answers given: what would change, and what is passed over. Recording decides by the same.
    pub fn weigh(
        &self,
        steps: &[Node],
        given: &[GivenAnswer],
        mode: AnswerMode,
    ) -> Result<Weighed, ScriptExecutionError> {
        answers::weigh(steps, &self.values(), given, mode).map_err(ScriptExecutionError::InvalidAnswers)
    }

    /// What was answered, by node.
    fn values(&self) -> BTreeMap<String, String> {
        self.answers.iter().map(|(id, recorded)| (id.clone(), recorded.value.clone())).collect()
    }

    /// The steps that the answers lead through. `steps` are those of the version that the run began with.
    pub fn path<'a>(&'a self, steps: &'a [Node]) -> Vec<PathStep<'a>> {
        selected_path(steps, |id| self.answers.get(id).map(|recorded| recorded.value.as_str()))
    }

    fn evolve(&mut self, event: ScriptExecutionEvent) {
        match event {
            ScriptExecutionEvent::ScriptExecutionStarted {
                execution_id: _,
                campaign_id,
                contact_id,
                epoch,
                agent_id,
                script_template_id,
                script_template_version,
                started_at,
            } => {
                let begun = Begun {
                    campaign_id,
                    contact_id,
                    epoch,
                    agent_id,
                    script_template_id,
                    script_template_version,
                    started_at,
                };
                *self = Self { begun: Some(begun), ..Self::default() };
            }
            ScriptExecutionEvent::ScriptAnswersRecorded { answered_at, answers } => {
                // Once the contact is erased nobody knows what was answered.
                for Answer { node_id, value } in answers.into_value().unwrap_or_default() {
                    match value {
                        Some(value) => self.answers.insert(node_id, Recorded { value, at: answered_at }),
                        None => self.answers.remove(&node_id),
                    };
                }
            }
            ScriptExecutionEvent::ScriptExecutionCompleted { completed_at, .. } => {
                self.status = ExecutionStatus::Completed;
                self.ended_at = Some(completed_at);
            }
            ScriptExecutionEvent::ScriptExecutionAbandoned { abandoned_at, .. } => {
                self.status = ExecutionStatus::Abandoned;
                self.ended_at = Some(abandoned_at);
            }
        }
    }
}

fn abandoned(begun: Begun, at: Timestamp, because: &str) -> ScriptExecutionEvent {
    ScriptExecutionEvent::ScriptExecutionAbandoned {
        campaign_id: begun.campaign_id,
        contact_id: begun.contact_id,
        abandoned_at: at,
        because: because.to_owned(),
    }
}

#[cfg(test)]
mod tests;
