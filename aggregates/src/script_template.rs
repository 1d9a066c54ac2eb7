//! A call script: what a caller reads out, asks and captures, with branches on the answers.
//!
//! A template has versions, numbered from 1; none is ever changed. Whoever goes through one goes through the version
//! that was current at the start. A deleted template begins nothing new, keeps its versions, and can be brought back.
//! No version is recorded with which a caller could get lost: the [linter](lint) has the say.

mod diff;
mod event;
pub mod lint;
mod path;
#[cfg(test)]
pub(crate) mod samples;

use serde::{Deserialize, Serialize};

pub use diff::{ScriptDiff, diff};
pub use event::{Branch, Choice, Node, NodeKind, ScriptContent, ScriptTemplateEvent};
pub use lint::{Finding, Lint};
pub use path::{PathStep, nodes, selected_path};

use crate::ids::{CampaignId, ScriptTemplateId};
use crate::personal::Personal;
use crate::stored::aggregate;

/// What a revision may say; absent keeps, `Some(None)` clears.
#[derive(Clone, Debug, Default)]
pub struct ScriptPatch {
    /// New name.
    pub name: Option<String>,
    /// New description.
    pub description: Option<Option<String>>,
    /// New language.
    pub language: Option<String>,
    /// New steps: all of them.
    pub steps: Option<Vec<Node>>,
}

/// Orders to a script template.
#[derive(Clone, Debug)]
pub enum ScriptTemplateCommand {
    /// Write its first version.
    Create {
        /// A fresh id.
        template_id: ScriptTemplateId,
        /// All of it.
        content: ScriptContent,
    },
    /// Write its next version.
    Revise(Box<ScriptPatch>),
    /// A campaign is to begin its conversations with it.
    Attach {
        /// The campaign.
        campaign_id: CampaignId,
    },
    /// Begin nothing new with it.
    Delete,
}

/// Why a script template refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptTemplateError {
    /// The stream is empty.
    #[error("script template does not exist")]
    Unknown,
    /// The id is taken.
    #[error("script template already exists")]
    AlreadyCreated,
    /// It was deleted.
    #[error("script template was deleted")]
    Deleted,
    /// Its text was erased, so that nothing can be built on it.
    #[error("script template was erased")]
    Erased,
    /// A caller could get lost in it.
    #[error("the script breaks {} authoring rules", .0.len())]
    Invalid(Vec<Finding>),
}

/// The state that decisions need. Only the current version is held: earlier ones are read where they are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptTemplate {
    /// The current version; none while the template does not exist.
    pub content: Option<Personal<ScriptContent>>,
    /// Its number, from 1.
    pub version: u32,
    /// Whether the template was deleted.
    pub deleted: bool,
}

aggregate!(ScriptTemplate, "ScriptTemplate", ScriptTemplateCommand, ScriptTemplateEvent, ScriptTemplateError);

impl ScriptTemplate {
    /// The whole business of a script template.
    fn decide(
        &self,
        command: ScriptTemplateCommand,
    ) -> Result<Vec<ScriptTemplateEvent>, ScriptTemplateError> {
        match (command, &self.content) {
            (ScriptTemplateCommand::Create { .. }, Some(_)) => Err(ScriptTemplateError::AlreadyCreated),
            (ScriptTemplateCommand::Create { template_id, content }, None) => {
                let content = Personal::known(template_id.uuid(), sound(content)?);
                Ok(vec![ScriptTemplateEvent::ScriptTemplateCreated { template_id, content }])
            }
            (_, None) => Err(ScriptTemplateError::Unknown),
            (_, Some(_)) if self.deleted => Err(ScriptTemplateError::Deleted),
            (ScriptTemplateCommand::Revise(patch), Some(current)) => {
                let known = current.value().ok_or(ScriptTemplateError::Erased)?;
                let wanted = ScriptContent {
                    name: patch.name.unwrap_or_else(|| known.name.clone()),
                    description: patch.description.unwrap_or_else(|| known.description.clone()),
                    language: patch.language.unwrap_or_else(|| known.language.clone()),
                    steps: patch.steps.unwrap_or_else(|| known.steps.clone()),
                };
                if wanted == *known {
                    return Ok(vec![]);
                }
                let content = Personal::known(current.subject(), sound(wanted)?);
                Ok(vec![ScriptTemplateEvent::ScriptTemplateRevised { version: self.version + 1, content }])
            }
            (ScriptTemplateCommand::Attach { campaign_id }, Some(_)) => {
                Ok(vec![ScriptTemplateEvent::ScriptTemplateAttached { campaign_id }])
            }
            (ScriptTemplateCommand::Delete, Some(_)) => {
                Ok(vec![ScriptTemplateEvent::ScriptTemplateDeleted {}])
            }
        }
    }

    fn evolve(&mut self, event: ScriptTemplateEvent) {
        match event {
            ScriptTemplateEvent::ScriptTemplateCreated { template_id: _, content } => {
                *self = Self { content: Some(content), version: 1, deleted: false };
            }
            ScriptTemplateEvent::ScriptTemplateRevised { version, content } => {
                self.content = Some(content);
                self.version = version;
            }
            ScriptTemplateEvent::ScriptTemplateAttached { campaign_id: _ } => (),
            ScriptTemplateEvent::ScriptTemplateDeleted {} => self.deleted = true,
        }
    }

    /// Whether it was created; a deleted one was.
    pub fn exists(&self) -> bool {
        self.content.is_some()
    }

    /// The current version, while it is known.
    pub fn content(&self) -> Option<&ScriptContent> {
        self.content.as_ref().and_then(Personal::value)
    }
}

/// The content, if nobody can get lost in it.
fn sound(content: ScriptContent) -> Result<ScriptContent, ScriptTemplateError> {
    let Lint { errors, .. } = lint::lint(&content);
    if errors.is_empty() { Ok(content) } else { Err(ScriptTemplateError::Invalid(errors)) }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;
    use uuid::Uuid;

    use super::samples::{question, sample};
    use super::*;

    type Given = TestFramework<ScriptTemplate>;
    const ID: ScriptTemplateId = ScriptTemplateId(Uuid::from_u128(1));

    fn create(content: ScriptContent) -> ScriptTemplateCommand {
        ScriptTemplateCommand::Create { template_id: ID, content }
    }

    fn created() -> ScriptTemplateEvent {
        let content = Personal::known(ID.uuid(), sample());
        ScriptTemplateEvent::ScriptTemplateCreated { template_id: ID, content }
    }

    fn revise(patch: ScriptPatch) -> ScriptTemplateCommand {
        ScriptTemplateCommand::Revise(Box::new(patch))
    }

    fn revised(version: u32, change: impl FnOnce(&mut ScriptContent)) -> ScriptTemplateEvent {
        let mut content = sample();
        change(&mut content);
        ScriptTemplateEvent::ScriptTemplateRevised { version, content: Personal::known(ID.uuid(), content) }
    }

    #[test]
    fn a_template_is_created_once() {
        Given::with(()).given_no_previous_events().when(create(sample())).then_expect_events(vec![created()]);
        Given::with(())
            .given(vec![created()])
            .when(create(sample()))
            .then_expect_error(ScriptTemplateError::AlreadyCreated);
    }

    #[test]
    fn a_script_that_breaks_a_rule_is_no_version() {
        let broken = |steps| ScriptContent { steps, ..sample() };
        let refused = |error: ScriptTemplateError| match error {
            ScriptTemplateError::Invalid(findings) => {
                findings.into_iter().map(|one| one.code).collect::<Vec<_>>()
            }
            other => panic!("{other}"),
        };
        let steps = vec![question("a", ""), question("a", "And?")];
        let error = Given::with(())
            .given_no_previous_events()
            .when(create(broken(steps.clone())))
            .inspect_result()
            .unwrap_err();
        assert_eq!(refused(error), ["EMPTY_TEXT", "DUPLICATE_NODE_ID"]);
        let error = Given::with(())
            .given(vec![created()])
            .when(revise(ScriptPatch { steps: Some(steps), ..ScriptPatch::default() }))
            .inspect_result()
            .unwrap_err();
        assert_eq!(refused(error), ["EMPTY_TEXT", "DUPLICATE_NODE_ID"]);
    }

    #[test]
    fn a_revision_is_the_next_version_and_carries_all_of_it() {
        let patch = ScriptPatch { name: Some("Summer".into()), ..ScriptPatch::default() };
        Given::with(())
            .given(vec![created()])
            .when(revise(patch.clone()))
            .then_expect_events(vec![revised(2, |content| content.name = "Summer".into())]);
        Given::with(())
            .given(vec![created(), revised(2, |content| content.language = "en".into())])
            .when(revise(patch))
            .then_expect_events(vec![revised(3, |content| {
                content.name = "Summer".into();
                content.language = "en".into();
            })]);
    }

    #[test]
    fn null_clears_and_absent_keeps() {
        Given::with(())
            .given(vec![created()])
            .when(revise(ScriptPatch { description: Some(None), ..ScriptPatch::default() }))
            .then_expect_events(vec![revised(2, |content| content.description = None)]);
    }

    #[test]
    fn a_patch_that_changes_nothing_is_no_version() {
        let content = sample();
        let patch = ScriptPatch {
            name: Some(content.name),
            description: Some(content.description),
            language: Some(content.language),
            steps: Some(content.steps),
        };
        Given::with(()).given(vec![created()]).when(revise(patch)).then_expect_events(vec![]);
    }

    #[test]
    fn what_does_not_exist_or_was_deleted_is_neither_revised_nor_deleted() {
        let patch = || revise(ScriptPatch { name: Some("Summer".into()), ..ScriptPatch::default() });
        for order in [patch(), ScriptTemplateCommand::Delete] {
            Given::with(())
                .given_no_previous_events()
                .when(order.clone())
                .then_expect_error(ScriptTemplateError::Unknown);
            Given::with(())
                .given(vec![created(), ScriptTemplateEvent::ScriptTemplateDeleted {}])
                .when(order)
                .then_expect_error(ScriptTemplateError::Deleted);
        }
        Given::with(())
            .given(vec![created()])
            .when(ScriptTemplateCommand::Delete)
            .then_expect_events(vec![ScriptTemplateEvent::ScriptTemplateDeleted {}]);
    }

    #[test]
    fn erased_text_is_not_built_upon() {
        let erased = ScriptTemplateEvent::ScriptTemplateCreated {
            template_id: ID,
            content: Personal::erased(ID.uuid()),
        };
        let patch = ScriptPatch { name: Some("Summer".into()), ..ScriptPatch::default() };
        Given::with(())
            .given(vec![erased])
            .when(revise(patch))
            .then_expect_error(ScriptTemplateError::Erased);
    }

    #[test]
    fn a_stored_node_needs_nothing_but_its_id_kind_and_text() {
        let node: Node = serde_json::from_str(r#"{"id":"a","type":"yesno","text":"And?"}"#).unwrap();
        assert_eq!(serde_json::to_string(&node).unwrap(), r#"{"id":"a","type":"yesno","text":"And?"}"#);
    }
}
