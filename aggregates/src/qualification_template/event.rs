//! Stored events of a qualification template. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use super::answer::{Answer, FieldType};
use crate::decimal::Decimal;
use crate::ids::QualificationTemplateId;
use crate::personal::Personal;
use crate::stored::stored_events;

/// One version of a form, whole. All of it is sealed: every text in it was typed by somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QualificationForm {
    /// Name, 1 to 200 characters.
    pub name: String,
    /// What it is for, at most 2 000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What is asked, in that order: 1 to 100 fields.
    pub fields: Vec<FormField>,
    /// How answers are weighed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scoring: Option<Scoring>,
}

/// One field of a form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormField {
    /// Names the answer: `^[a-z][a-z0-9_]{0,63}$`, once per form.
    pub key: String,
    /// What is asked, 1 to 200 characters.
    pub label: String,
    /// What kind of answer it takes.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// Whether a contact cannot be qualified without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// What can be chosen; of `select` and `multiselect` alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The least number; of `number` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Decimal>,
    /// The greatest number; of `number` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Decimal>,
    /// Characters at most; of `text` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u16>,
    /// What the text must match somewhere, in RE2 syntax; of `text` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The node of a call script whose answer belongs here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maps_from_script_node_id: Option<String>,
}

/// How answers are weighed: each rule that holds adds its points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scoring {
    /// The rules, 1 to 200.
    pub rules: Vec<ScoreRule>,
    /// The sum from which a contact counts as qualified.
    pub qualify_threshold: i32,
}

/// Points for one kind of answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreRule {
    /// The field.
    pub key: String,
    /// What must hold of its answer.
    pub test: ScoreTest,
    /// What it is worth, -1 000 to 1 000.
    pub points: i32,
}

/// What must hold of an answer. Of a field without an answer nothing holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", content = "value", rename_all = "snake_case")]
pub enum ScoreTest {
    /// There is one.
    Answered,
    /// It is this one.
    Equals(Answer),
    /// It is another one.
    NotEquals(Answer),
    /// A number or day of at least this.
    AtLeast(Answer),
    /// A number or day of at most this.
    AtMost(Answer),
    /// This option is among those chosen.
    Includes(String),
}

/// The facts of a qualification template. The number of its events is the version of its form, so that each
/// event brings a version and each version is one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum QualificationTemplateEvent {
    /// The template exists from here on, in version 1.
    QualificationTemplateCreated {
        /// Its id, which is also its stream and the subject of its words.
        template_id: QualificationTemplateId,
        /// Version 1.
        form: Personal<QualificationForm>,
    },
    /// It has a new version. Records of earlier ones stay as they are.
    QualificationTemplateRevised {
        /// Which one, from 2.
        version: u64,
        /// That version.
        form: Personal<QualificationForm>,
    },
}

stored_events!(QualificationTemplateEvent {
    QualificationTemplateCreated "1",
    QualificationTemplateRevised "1",
});
