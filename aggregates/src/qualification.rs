//! A qualification: what was found out about one contact of a campaign, and whether that makes it one to win.
//!
//! It is recorded under one version of a form and stays under it, whatever becomes of the form. At most one is open
//! for a contact in a campaign at a time; which one is a claim, so that two who begin at once do not both.
//!
//! Whose word each answer, the notes and the verdict are is kept: a model may go back on its own, and a person's word
//! holds against it. A person's word is also what a person confirmed, and an answer that a person took away.

mod event;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use event::{ByModel, Confirmed, QualificationEvent, QualificationRecord};

use crate::ids::{AgentId, QualificationId, QualificationTemplateId, ScriptExecutionId};
use crate::membership::Stay;
use crate::personal::Personal;
use crate::qualification_template::{FormFault, QualificationForm};
use crate::stored::aggregate;

/// Characters of the notes, at most.
pub const NOTES_MAX: usize = 4_000;

/// Where a qualification stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QualificationStatus {
    /// Open: answers may be missing.
    #[default]
    Draft,
    /// The contact is one to win; every required answer is there.
    Qualified,
    /// It is not.
    NotQualified,
}

impl QualificationStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Draft, Self::Qualified, Self::NotQualified];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Qualified => "qualified",
            Self::NotQualified => "not_qualified",
        }
    }
}

impl std::str::FromStr for QualificationStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|status| status.name() == text)
            .ok_or_else(|| format!("status must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// The form that answers are held against, at the version that the record is under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The template.
    pub template_id: QualificationTemplateId,
    /// The version.
    pub version: u64,
    /// That version.
    pub form: Arc<QualificationForm>,
}

/// What a model says, and how it can be proved later that it was asked so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Which model.
    pub by_model: ByModel,
    /// SHA-256, in hex, of what it was sent.
    pub payload_sha256: String,
}

/// Orders to a qualification.
#[derive(Clone, Debug)]
pub enum QualificationCommand {
    /// Begin it.
    Open {
        /// A fresh id.
        qualification_id: QualificationId,
        /// Of whom.
        stay: Stay,
        /// Whose the contact is.
        agent_id: Option<AgentId>,
        /// The form.
        pinned: Pinned,
        /// The conversation that it follows from.
        script_execution_id: Option<ScriptExecutionId>,
        /// Answers by the keys of their fields; null is no answer.
        answers: Map<String, Value>,
        /// Where it stands at once.
        status: QualificationStatus,
        /// Notes.
        notes: Option<String>,
        /// The model that gave the answers, if one did.
        provenance: Option<Provenance>,
    },
    /// Change what is said.
    Change(Box<QualificationPatch>),
}

/// What a change may say; absent keeps, `Some(None)` clears.
#[derive(Clone, Debug)]
pub struct QualificationPatch {
    /// The form, at the record's version.
    pub pinned: Pinned,
    /// Answers to be merged; null clears one.
    pub answers: Map<String, Value>,
    /// New status.
    pub status: Option<QualificationStatus>,
    /// New notes.
    pub notes: Option<Option<String>>,
    /// The conversation that the answers follow from.
    pub script_execution_id: Option<ScriptExecutionId>,
    /// The model that gave the answers, if one did.
    pub provenance: Option<Provenance>,
}

/// Why a qualification refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QualificationError {
    /// The stream is empty.
    #[error("qualification does not exist")]
    Unknown,
    /// The id is taken.
    #[error("qualification already exists")]
    AlreadyOpened,
    /// The contact's data was erased.
    #[error("qualification was erased")]
    Erased,
    /// The record is under another version of the form.
    #[error("qualification is under another version of its form")]
    OtherVersion,
    /// Answers that do not fit the form, or that are missing.
    #[error("{} answers do not fit the form", .0.len())]
    Answers(Vec<FormFault>),
}

/// What a qualification is about; it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Of whom.
    pub stay: Stay,
    /// Whose the contact was then.
    pub agent_id: Option<AgentId>,
    /// The form.
    pub template_id: QualificationTemplateId,
    /// Which version of it.
    pub template_version: u64,
}

/// The state that decisions need, and that the tools show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Qualification {
    about: Option<About>,
    status: QualificationStatus,
    record: Option<Personal<QualificationRecord>>,
    script_execution_id: Option<ScriptExecutionId>,
    by_model: Option<ByModel>,
    /// What a model said and nobody has said otherwise since.
    #[serde(default)]
    of_model: OfModel,
}

/// What of a record is a model's word; the rest is a person's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct OfModel {
    /// Keys of its answers.
    answers: BTreeSet<String>,
    /// Whether the notes are its own.
    notes: bool,
    /// Whether the verdict is its own.
    #[serde(default)]
    verdict: bool,
    /// Keys that are without an answer because a person took it away: a model does not fill them again.
    #[serde(default)]
    kept_blank: BTreeSet<String>,
    /// Whether there are no notes because a person took them away.
    #[serde(default)]
    notes_kept_blank: bool,
}

impl OfModel {
    /// Whoever records something is the author of what differs by it, and of nothing else: a model that repeats what a
    /// person answered does not make it its own, nor the other way round.
    fn recorded(&mut self, before: &QualificationRecord, after: &QualificationRecord, by_model: bool) {
        self.answers.retain(|key| after.answers.get(key) == before.answers.get(key));
        if by_model {
            let differs = |(key, answer): &(&String, _)| before.answers.get(*key) != Some(*answer);
            self.answers.extend(after.answers.iter().filter(differs).map(|(key, _)| key.clone()));
        } else {
            self.kept_blank.extend(before.answers.keys().cloned());
        }
        self.kept_blank.retain(|key| !after.answers.contains_key(key));
        if after.notes != before.notes {
            self.notes = by_model && after.notes.is_some();
            self.notes_kept_blank = !by_model && after.notes.is_none();
        }
    }

    /// Whoever confirms something is its author from then on.
    fn confirmed(&mut self, confirmed: &Confirmed) {
        self.answers.retain(|key| !confirmed.answers.contains(key));
        self.notes &= !confirmed.notes;
        self.verdict &= confirmed.verdict.is_none();
    }
}

aggregate!(Qualification, "Qualification", QualificationCommand, QualificationEvent, QualificationError);

impl Qualification {
    /// The whole business of a qualification.
    fn decide(&self, command: QualificationCommand) -> Result<Vec<QualificationEvent>, QualificationError> {
        match (command, &self.about) {
            (QualificationCommand::Open { .. }, Some(_)) => Err(QualificationError::AlreadyOpened),
            (
                QualificationCommand::Open {
                    qualification_id,
                    stay,
                    agent_id,
                    pinned,
                    script_execution_id,
                    answers,
                    status,
                    notes,
                    provenance,
                },
                None,
            ) => {
                let blank = QualificationRecord { notes, ..QualificationRecord::default() };
                let record = filled(&pinned.form, blank, &answers, status, provenance.as_ref())?;
                let by_model = provenance.map(|provenance| provenance.by_model);
                let opened = QualificationEvent::QualificationOpened {
                    qualification_id,
                    campaign_id: stay.campaign_id,
                    contact_id: stay.contact_id,
                    epoch: stay.epoch,
                    agent_id,
                    template_id: pinned.template_id,
                    template_version: pinned.version,
                    script_execution_id,
                    record: Personal::known(stay.contact_id.uuid(), record),
                    by_model: by_model.clone(),
                };
                let moved = moved(stay, QualificationStatus::Draft, status, by_model);
                Ok(std::iter::once(opened).chain(moved).collect())
            }
            (QualificationCommand::Change(_), None) => Err(QualificationError::Unknown),
            (QualificationCommand::Change(patch), Some(about)) => self.change(about, *patch),
        }
    }

    fn change(
        &self,
        about: &About,
        patch: QualificationPatch,
    ) -> Result<Vec<QualificationEvent>, QualificationError> {
        if (patch.pinned.template_id, patch.pinned.version) != (about.template_id, about.template_version) {
            return Err(QualificationError::OtherVersion);
        }
        let known = self.record.as_ref().and_then(Personal::value).ok_or(QualificationError::Erased)?;
        let status = patch.status.unwrap_or(self.status);
        let mut before = known.clone();
        if let Some(notes) = &patch.notes {
            before.notes.clone_from(notes);
        }
        let record = filled(&patch.pinned.form, before, &patch.answers, status, patch.provenance.as_ref())?;

        let confirmed = self.confirmed(about, &record, &patch);
        let mut events = Vec::new();
        // Who gave the answers is news only where there are other answers, a person stands by a model's, or a model
        // gives them again.
        let same = patch.provenance.is_none()
            && confirmed.is_none()
            && (&record.answers, &record.notes) == (&known.answers, &known.notes);
        let by_model = patch.provenance.map(|provenance| provenance.by_model);
        if !same {
            events.push(QualificationEvent::QualificationAnswered {
                record: Personal::known(about.stay.contact_id.uuid(), record),
                script_execution_id: patch
                    .script_execution_id
                    .filter(|execution| Some(*execution) != self.script_execution_id),
                by_model: by_model.clone(),
                confirmed,
            });
        }
        events.extend(moved(about.stay, self.status, status, by_model));
        Ok(events)
    }

    /// What of a model's word a patch repeats, where a person sends it.
    fn confirmed(
        &self,
        about: &About,
        after: &QualificationRecord,
        patch: &QualificationPatch,
    ) -> Option<Confirmed> {
        let known = self.record().filter(|_| patch.provenance.is_none())?;
        let repeated = |key: &&String| {
            self.of_model.answers.contains(*key) && after.answers.get(*key) == known.answers.get(*key)
        };
        let confirmed = Confirmed {
            answers: patch.answers.keys().filter(repeated).cloned().collect(),
            notes: self.of_model.notes && patch.notes.is_some() && after.notes == known.notes,
            verdict: (self.of_model.verdict && patch.status == Some(self.status)).then_some(about.stay),
        };
        (confirmed != Confirmed::default()).then_some(confirmed)
    }

    fn evolve(&mut self, event: QualificationEvent) {
        match event {
            QualificationEvent::QualificationOpened {
                qualification_id: _,
                campaign_id,
                contact_id,
                epoch,
                agent_id,
                template_id,
                template_version,
                script_execution_id,
                record,
                by_model,
            } => {
                let stay = Stay { campaign_id, contact_id, epoch };
                let mut of_model = OfModel::default();
                if let Some(record) = record.value() {
                    of_model.recorded(&QualificationRecord::default(), record, by_model.is_some());
                }
                *self = Self {
                    about: Some(About { stay, agent_id, template_id, template_version }),
                    status: QualificationStatus::Draft,
                    record: Some(record),
                    script_execution_id,
                    by_model,
                    of_model,
                };
            }
            QualificationEvent::QualificationAnswered {
                record,
                script_execution_id,
                by_model,
                confirmed,
            } => {
                if let (Some(before), Some(after)) = (self.record(), record.value()) {
                    let mut of_model = self.of_model.clone();
                    of_model.recorded(before, after, by_model.is_some());
                    self.of_model = of_model;
                }
                if let Some(confirmed) = confirmed {
                    self.of_model.confirmed(&confirmed);
                }
                self.record = Some(record);
                self.script_execution_id = script_execution_id.or(self.script_execution_id);
                self.by_model = by_model;
            }
            QualificationEvent::QualificationConcluded { verdict, by_model, .. }
            | QualificationEvent::QualificationOverturned { verdict, by_model, .. } => {
                self.status = verdict;
                self.of_model.verdict = by_model.is_some();
            }
            QualificationEvent::QualificationReopened { .. } => {
                self.status = QualificationStatus::Draft;
                self.of_model.verdict = false;
            }
        }
    }

    /// What it is about; none while it does not exist.
    pub fn about(&self) -> Option<About> {
        self.about
    }

    /// Where it stands.
    pub fn status(&self) -> QualificationStatus {
        self.status
    }

    /// Whether it is decided, and not by a model alone.
    pub fn judged_by_a_person(&self) -> bool {
        self.status != QualificationStatus::Draft && !self.of_model.verdict
    }

    /// What is recorded; none also once erased.
    pub fn record(&self) -> Option<&QualificationRecord> {
        self.record.as_ref().and_then(Personal::value)
    }

    /// The conversation that it follows from.
    pub fn script_execution_id(&self) -> Option<ScriptExecutionId> {
        self.script_execution_id
    }

    /// The model that gave the latest answers, if one did.
    pub fn by_model(&self) -> Option<&ByModel> {
        self.by_model.as_ref()
    }

    /// Keys of the form of which a person had the last word: answered, confirmed, or taken away.
    pub fn settled_by_people(&self) -> BTreeSet<String> {
        let answered = self.record().into_iter().flat_map(|record| record.answers.keys());
        let theirs = answered.filter(|key| !self.of_model.answers.contains(*key));
        theirs.chain(&self.of_model.kept_blank).cloned().collect()
    }

    /// Whether a person had the last word on the notes.
    pub fn notes_settled_by_a_person(&self) -> bool {
        let noted = self.record().is_some_and(|record| record.notes.is_some());
        if noted { !self.of_model.notes } else { self.of_model.notes_kept_blank }
    }
}

/// The record with the answers given, if they fit the form and are enough for the status.
fn filled(
    form: &QualificationForm,
    before: QualificationRecord,
    given: &Map<String, Value>,
    status: QualificationStatus,
    provenance: Option<&Provenance>,
) -> Result<QualificationRecord, QualificationError> {
    let answers = form.answered(&before.answers, given).map_err(QualificationError::Answers)?;
    if status == QualificationStatus::Qualified {
        let missing: Vec<FormFault> = form
            .missing(&answers)
            .into_iter()
            .map(|path| FormFault {
                path,
                code: "REQUIRED",
                message: "must be answered before the contact is qualified".to_owned(),
            })
            .collect();
        if !missing.is_empty() {
            return Err(QualificationError::Answers(missing));
        }
    }
    Ok(QualificationRecord {
        score: form.score(&answers),
        answers,
        notes: before.notes,
        payload_sha256: provenance.map(|provenance| provenance.payload_sha256.clone()),
    })
}

fn moved(
    stay: Stay,
    from: QualificationStatus,
    to: QualificationStatus,
    by_model: Option<ByModel>,
) -> Option<QualificationEvent> {
    let Stay { campaign_id, contact_id, epoch } = stay;
    match (from, to) {
        _ if from == to => None,
        (_, QualificationStatus::Draft) => {
            Some(QualificationEvent::QualificationReopened { campaign_id, contact_id, epoch })
        }
        (QualificationStatus::Draft, verdict) => Some(QualificationEvent::QualificationConcluded {
            campaign_id,
            contact_id,
            epoch,
            verdict,
            by_model,
        }),
        (_, verdict) => {
            Some(QualificationEvent::QualificationOverturned { stay: Some(stay), verdict, by_model })
        }
    }
}

#[cfg(test)]
mod tests;
