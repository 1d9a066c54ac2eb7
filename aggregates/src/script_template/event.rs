//! Stored events of a script template. A change here is a change of a stored format.
//!
//! An event carries the whole version that it makes, so that no reader ever has to put one together from pieces.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{CampaignId, ScriptTemplateId};
use crate::personal::Personal;
use crate::stored::stored_events;

/// Everything that one version of a template says; sealed, because free text names people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptContent {
    /// Name, 1 to 200 characters.
    pub name: String,
    /// Description, at most 2 000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The language of the texts, a BCP 47 tag such as `fr`.
    pub language: String,
    /// What the caller goes through, from top to bottom.
    pub steps: Vec<Node>,
}

/// What a node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// Text that the caller reads out or acts on; nothing is answered.
    Instruction,
    /// A question with a free answer.
    Question,
    /// A question that is answered with `Oui` or `Non`.
    Yesno,
    /// A question that is answered with one of the options declared.
    Select,
}

impl NodeKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Instruction, Self::Question, Self::Yesno, Self::Select];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Instruction => "instruction",
            Self::Question => "question",
            Self::Yesno => "yesno",
            Self::Select => "select",
        }
    }

    /// Whether an answer is captured.
    pub const fn answerable(self) -> bool {
        !matches!(self, Self::Instruction)
    }

    /// Whether the answer chooses a branch.
    pub const fn branching(self) -> bool {
        matches!(self, Self::Yesno | Self::Select)
    }
}

impl FromStr for NodeKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| format!("type must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// One step of a script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name within the template, by which answers refer to it.
    pub id: String,
    /// What it is for.
    #[serde(rename = "type")]
    pub kind: NodeKind,
    /// What the caller reads. Placeholders such as `{{firstName}}` stand as they were written.
    pub text: String,
    /// Whether a run cannot be completed without its answer, if it is on the path.
    #[serde(default, skip_serializing_if = "is_false")]
    pub required: bool,
    /// What a `select` can be answered with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Choice>,
    /// What follows on an answer; an answer without a branch goes on with the next step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<Branch>,
}

/// One possible answer of a `select`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// What is recorded, and what a branch's label must be.
    pub value: String,
    /// What the caller sees, where that is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl Choice {
    /// An option; a label that says the same as the value is none.
    pub fn new(value: impl Into<String>, label: Option<String>) -> Self {
        let value = value.into();
        Self { label: label.filter(|label| *label != value), value }
    }

    /// What the caller sees.
    pub fn shown(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.value)
    }
}

/// What follows on one answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    /// The answer: `Oui` or `Non`, or the value of an option.
    pub label: String,
    /// The steps that are gone through only on this answer.
    pub steps: Vec<Node>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The facts of a script template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum ScriptTemplateEvent {
    /// The template exists from here on, with its version 1.
    ScriptTemplateCreated {
        /// Its id, which is also its stream.
        template_id: ScriptTemplateId,
        /// All of version 1. The subject is the template.
        content: Personal<ScriptContent>,
    },
    /// It says something else from here on. Earlier versions stay: whoever began with one goes on with it.
    ScriptTemplateRevised {
        /// The number of this version, one more than the last.
        version: u32,
        /// All of it. The subject is the template.
        content: Personal<ScriptContent>,
    },
    /// A campaign begins its conversations with it from here on. That stands here so that whoever deletes the template in
    /// the same moment finds that out; which campaigns have it is said by the campaigns.
    ScriptTemplateAttached {
        /// The campaign.
        campaign_id: CampaignId,
    },
    /// Nothing new is begun with it. Its versions stay readable, and it can be brought back.
    ScriptTemplateDeleted {},
}

stored_events!(ScriptTemplateEvent {
    ScriptTemplateCreated "1",
    ScriptTemplateRevised "1",
    ScriptTemplateAttached "1",
    ScriptTemplateDeleted "1",
});
