//! A qualification template: the form that is filled in about a contact, version by version.
//!
//! A form never changes: a change makes the next version of it, and whatever was recorded stays under the version that
//! it was recorded under. The number of the template's events is the version of its form. There is no deleting: a
//! form that is not wanted any more is detached from its campaigns.

mod answer;
mod answers;
mod difference;
mod event;
mod form;
mod pattern;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use answer::{Answer, FieldType, Misfit, TEXT_MAX, is_day};
pub use answers::Answers;
pub use difference::{BreakingChange, Broken, breaking_changes};
pub use event::{FormField, QualificationForm, QualificationTemplateEvent, ScoreRule, ScoreTest, Scoring};
pub use form::{
    DESCRIPTION_MAX, FIELDS_MAX, FORM_BYTES_MAX, Faultless, FormFault, LABEL_MAX, OPTIONS_MAX, PATTERN_MAX,
    POINTS_MAX, RULES_MAX, THRESHOLD_MAX, is_key,
};
pub use pattern::PatternRoom;

use crate::ids::{QualificationTemplateId, SubjectId};
use crate::personal::Personal;
use crate::stored::aggregate;

/// What a change may say; absent keeps, `Some(None)` clears.
#[derive(Clone, Debug, Default)]
pub struct FormPatch {
    /// New name.
    pub name: Option<String>,
    /// New description.
    pub description: Option<Option<String>>,
    /// New fields, all of them.
    pub fields: Option<Vec<FormField>>,
    /// New scoring.
    pub scoring: Option<Option<Scoring>>,
}

/// Orders to a qualification template.
#[derive(Clone, Debug)]
pub enum QualificationTemplateCommand {
    /// Set it up.
    Create {
        /// A fresh id.
        template_id: QualificationTemplateId,
        /// Version 1.
        form: Faultless,
    },
    /// Change what the patch says.
    Revise(Box<FormPatch>),
    /// Take this form as the next version.
    Replace(Faultless),
}

/// Why a qualification template refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QualificationTemplateError {
    /// The stream is empty.
    #[error("qualification template does not exist")]
    Unknown,
    /// The id is taken.
    #[error("qualification template already exists")]
    AlreadyCreated,
    /// Its words were erased.
    #[error("qualification template was erased")]
    Erased,
    /// The form is none: everything that is wrong with it.
    #[error("the form has {} faults", .0.len())]
    Faulty(Vec<FormFault>),
}

/// The state that decisions need, and that the tools show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QualificationTemplate {
    /// The newest version; none while the template does not exist.
    form: Option<Personal<Arc<QualificationForm>>>,
    version: u64,
}

aggregate!(
    QualificationTemplate,
    "QualificationTemplate",
    QualificationTemplateCommand,
    QualificationTemplateEvent,
    QualificationTemplateError
);

impl QualificationTemplate {
    /// The whole business of a qualification template.
    fn decide(
        &self,
        command: QualificationTemplateCommand,
    ) -> Result<Vec<QualificationTemplateEvent>, QualificationTemplateError> {
        use QualificationTemplateError as E;
        match (command, &self.form) {
            (QualificationTemplateCommand::Create { .. }, Some(_)) => Err(E::AlreadyCreated),
            (QualificationTemplateCommand::Create { template_id, form }, None) => {
                let form = Personal::known(template_id.uuid(), form.into_form());
                Ok(vec![QualificationTemplateEvent::QualificationTemplateCreated { template_id, form }])
            }
            (QualificationTemplateCommand::Revise(_) | QualificationTemplateCommand::Replace(_), None) => {
                Err(E::Unknown)
            }
            (QualificationTemplateCommand::Revise(patch), Some(form)) => {
                let before = form.value().ok_or(E::Erased)?;
                let after = patched(before, *patch);
                if after == **before {
                    return Ok(vec![]);
                }
                let after = after.faultless(&mut PatternRoom::default()).map_err(E::Faulty)?;
                Ok(vec![self.revised(form.subject(), after)])
            }
            (QualificationTemplateCommand::Replace(after), Some(form)) => {
                let before = form.value().ok_or(E::Erased)?;
                Ok(if *after == **before { vec![] } else { vec![self.revised(form.subject(), after)] })
            }
        }
    }

    fn revised(&self, subject: SubjectId, after: Faultless) -> QualificationTemplateEvent {
        QualificationTemplateEvent::QualificationTemplateRevised {
            version: self.version + 1,
            form: Personal::known(subject, after.into_form()),
        }
    }

    fn evolve(&mut self, event: QualificationTemplateEvent) {
        let (QualificationTemplateEvent::QualificationTemplateCreated { form, .. }
        | QualificationTemplateEvent::QualificationTemplateRevised { form, .. }) = event;
        self.form = Some(form.map(Arc::new));
        self.version += 1;
    }

    /// Whether it was created.
    pub fn exists(&self) -> bool {
        self.form.is_some()
    }

    /// The newest version; none also once erased.
    pub fn form(&self) -> Option<&Arc<QualificationForm>> {
        self.form.as_ref().and_then(Personal::value)
    }

    /// Its number, from 1.
    pub fn version(&self) -> u64 {
        self.version
    }
}

fn patched(before: &QualificationForm, patch: FormPatch) -> QualificationForm {
    QualificationForm {
        name: patch.name.unwrap_or_else(|| before.name.clone()),
        description: patch.description.unwrap_or_else(|| before.description.clone()),
        fields: patch.fields.unwrap_or_else(|| before.fields.clone()),
        scoring: patch.scoring.unwrap_or_else(|| before.scoring.clone()),
    }
}
