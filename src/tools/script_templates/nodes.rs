//! A script's steps as agents send and see them.
//!
//! The schema says which members there are and of which kind; everything that can be wrong with their content is told
//! by the linter, at once. Texts are taken letter by letter, for a label with a space at its end is not the label.

use std::borrow::Cow;
use std::collections::HashSet;

use docket_aggregates::script_template::{Branch, Choice, Node, NodeKind, ScriptContent, lint};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::tools::input::Name;
use crate::tools::refusal::FieldError;

/// One step of a script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct ScriptNode {
    /// Its name, by which answers refer to it: 1 to 64 small letters, digits, - or _, once in the whole script.
    id: String,
    /// instruction is read out; question takes a free answer; yesno takes Oui or Non; select takes one of its options.
    #[serde(rename = "type")]
    kind: Name<NodeKind>,
    /// What the caller reads, 1 to 4000 characters; placeholders such as {{firstName}} stay as they are. No reminders to
    /// the team: what is captured belongs into a qualification template.
    #[schemars(extend("x-lines" = true))]
    text: String,
    /// Whether it must be answered before an execution is completed; not for an instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    required: Option<bool>,
    /// For select only: what it can be answered with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    options: Vec<ScriptOption>,
    /// For yesno and select: what follows on an answer. An answer without a branch goes on with the next step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    branches: Vec<ScriptBranch>,
}

/// What a select can be answered with: a text, or a value with the label that the caller sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum ScriptOption {
    Bare(String),
    Labelled {
        value: String,
        #[serde(default)]
        label: Option<String>,
    },
}

impl JsonSchema for ScriptOption {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ScriptOption".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string" },
            {
                "type": "object",
                "properties": {
                    "value": { "type": "string", "description": "What is recorded." },
                    "label": {
                        "type": ["string", "null"],
                        "description": "What the caller sees; the value if not said.",
                    },
                },
                "required": ["value"],
            },
        ] })
    }
}

/// What follows on one answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct ScriptBranch {
    /// The answer, letter by letter: Oui or Non for yesno, the value of one of the options for select.
    label: String,
    /// Steps that are gone through only on this answer.
    steps: Vec<ScriptNode>,
}

/// What the authoring rules say of steps within an input that the schema refuses. What cannot be read there is told by
/// the schema, and stands here for something that breaks no rule.
pub(super) fn authoring_faults(content: &Value, path: &str) -> Vec<FieldError> {
    let Some(steps) = content["steps"].as_array() else { return Vec::new() };
    let mut unnamed = 0;
    let content = ScriptContent {
        name: "unnamed".to_owned(),
        description: None,
        language: "fr".to_owned(),
        steps: steps.iter().map(|step| readable(step, &mut unnamed)).collect(),
    };
    let errors = lint::lint(&content).errors.into_iter();
    errors.map(|fault| FieldError::new(&format!("{path}{}", fault.path), fault.code, fault.message)).collect()
}

/// As much of a step as can be read. Of a step of no known kind nobody knows what it may have.
fn readable(step: &Value, unnamed: &mut usize) -> Node {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let kind = step["type"].as_str().and_then(|kind| kind.parse::<NodeKind>().ok());
    let members = |name: &str| step[name].as_array().filter(|_| kind.is_some()).into_iter().flatten();
    let mut name = || {
        *unnamed += 1;
        format!("unnamed-{unnamed}")
    };
    // What an option says that cannot be read is not known, and neither is whether a branch is labelled with it.
    let mut hidden =
        kind == Some(NodeKind::Select) && !matches!(step["options"], Value::Null | Value::Array(_));
    let mut options: Vec<Choice> = members("options")
        .map(|option| match (option, option["value"].as_str()) {
            (Value::String(value), _) => Choice::new(value, None),
            (option, Some(value)) => Choice::new(value, text(&option["label"])),
            (_, None) => {
                hidden = true;
                Choice::new(name(), None)
            }
        })
        .collect();
    let declared: HashSet<String> = options.iter().map(|option| option.value.clone()).collect();
    let labels: Vec<String> = members("branches")
        .map(|branch| match text(&branch["label"]) {
            Some(label) if hidden && !declared.contains(&label) => {
                let label = name();
                options.push(Choice::new(label.clone(), None));
                label
            }
            Some(label) => label,
            None => options.first().map_or_else(|| "Oui".to_owned(), |option| option.value.clone()),
        })
        .collect();
    let branches = members("branches").zip(labels).map(|(branch, label)| {
        let steps = branch["steps"].as_array().into_iter().flatten();
        Branch { label, steps: steps.map(|step| readable(step, unnamed)).collect() }
    });
    let branches: Vec<Branch> = branches.collect();
    let id = text(&step["id"]).unwrap_or_else(|| {
        *unnamed += 1;
        format!("unnamed-{unnamed}")
    });
    Node {
        id,
        kind: kind.unwrap_or(NodeKind::Question),
        text: text(&step["text"]).unwrap_or_else(|| "unnamed".to_owned()),
        required: kind.is_some() && step["required"] == true,
        options,
        branches,
    }
}

/// The steps as they are recorded.
pub(super) fn read_nodes(steps: Vec<ScriptNode>) -> Vec<Node> {
    let option = |option| match option {
        ScriptOption::Bare(value) => Choice::new(value, None),
        ScriptOption::Labelled { value, label } => {
            Choice::new(value, label.filter(|label| !label.is_empty()))
        }
    };
    let branch = |branch: ScriptBranch| Branch { label: branch.label, steps: read_nodes(branch.steps) };
    let node = |node: ScriptNode| Node {
        id: node.id,
        kind: node.kind.0,
        text: node.text.trim().to_owned(),
        required: node.required.unwrap_or(false),
        options: node.options.into_iter().map(option).collect(),
        branches: node.branches.into_iter().map(branch).collect(),
    };
    steps.into_iter().map(node).collect()
}

/// The steps as agents see them, and may send them back.
pub(super) fn shown_nodes(steps: &[Node]) -> Vec<ScriptNode> {
    let option = |option: &Choice| ScriptOption::Labelled {
        value: option.value.clone(),
        label: Some(option.shown().to_owned()),
    };
    let branch =
        |branch: &Branch| ScriptBranch { label: branch.label.clone(), steps: shown_nodes(&branch.steps) };
    let node = |node: &Node| ScriptNode {
        id: node.id.clone(),
        kind: Name(node.kind),
        text: node.text.clone(),
        required: node.required.then_some(true),
        options: node.options.iter().map(option).collect(),
        branches: node.branches.iter().map(branch).collect(),
    };
    steps.iter().map(node).collect()
}
