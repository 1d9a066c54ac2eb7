//! What a qualifying model is sent: the way that one conversation took, and the form that is to be filled in.
//!
//! The payload is made from the steps on the path alone, so that a branch that was not chosen occurs nowhere in it. It
//! holds no name, address or id of anybody; what the contact said stands in it as it was written down.

use docket_aggregates::qualification_template::QualificationForm;
use docket_aggregates::script_template::PathStep;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::ledger::canonical;
use crate::qualifications::schema;

/// Bytes of a payload, at most.
pub const BYTES_MAX: usize = 32 << 10;

/// What is sent, exactly: the bytes, and their hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The payload.
    pub value: Value,
    /// Its canonical JSON (RFC 8785): what is sent.
    pub text: String,
    /// SHA-256 of that text, in hex.
    pub sha256: String,
}

/// Why there is no payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPayload {
    /// Nothing was answered yet.
    #[error("nothing on the path is answered")]
    NothingAnswered,
    /// It would be too large.
    #[error("the payload would have {bytes} bytes; at most {BYTES_MAX} are sent")]
    TooLarge {
        /// What it would have.
        bytes: usize,
    },
    /// It cannot be written: a text holds U+0000.
    #[error("the payload cannot be written")]
    Unwritable,
}

impl Payload {
    /// The payload of a path and a form.
    pub fn of(language: &str, path: &[PathStep<'_>], form: &QualificationForm) -> Result<Self, NoPayload> {
        if path.iter().all(|step| step.answer.is_none()) {
            return Err(NoPayload::NothingAnswered);
        }
        let steps: Vec<Value> = path.iter().map(step).collect();
        // Which node a field takes its answer from is said where that node is on the path, and not otherwise.
        let sources: Map<String, Value> = form
            .fields
            .iter()
            .filter_map(|field| {
                let node = field.maps_from_script_node_id.as_deref()?;
                path.iter().any(|step| step.id == node).then(|| (field.key.clone(), node.into()))
            })
            .collect();
        let value = json!({
            "schemaVersion": 1,
            "conversation": { "language": language, "steps": steps },
            "form": { "answersSchema": schema::of(form), "answersFrom": sources },
        });
        let text = canonical::with_fractions(&value).map_err(|_| NoPayload::Unwritable)?;
        if text.len() > BYTES_MAX {
            return Err(NoPayload::TooLarge { bytes: text.len() });
        }
        let sha256 = hex::encode(Sha256::digest(&text));
        Ok(Self { value, text, sha256 })
    }
}

fn step(step: &PathStep<'_>) -> Value {
    let mut shown = json!({ "id": step.id, "type": step.kind.name(), "text": step.text });
    if step.kind.answerable() {
        shown["answer"] = json!(step.answer);
        // What the caller saw and the contact heard; of the options that were not chosen nothing is said.
        if let Some(label) = step.answer_label {
            shown["answerLabel"] = label.into();
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use docket_aggregates::qualification_template::{FieldType, FormField};
    use docket_aggregates::script_template::{Branch, Choice, Node, NodeKind, selected_path};

    use super::*;

    fn node(id: &str, kind: NodeKind, branches: Vec<Branch>) -> Node {
        let text = format!("text of {id}");
        Node { id: id.into(), kind, text, required: false, options: vec![], branches }
    }

    fn script() -> Vec<Node> {
        let yes = Branch { label: "Oui".into(), steps: vec![node("chosen", NodeKind::Question, vec![])] };
        let no = Branch { label: "Non".into(), steps: vec![node("canary", NodeKind::Question, vec![])] };
        vec![node("owner", NodeKind::Yesno, vec![yes, no]), node("bye", NodeKind::Instruction, vec![])]
    }

    fn form() -> QualificationForm {
        let field = |key: &str, from: &str| FormField {
            key: key.into(),
            label: key.into(),
            kind: FieldType::Text,
            required: false,
            options: vec![],
            min: None,
            max: None,
            max_length: None,
            pattern: None,
            maps_from_script_node_id: Some(from.into()),
        };
        let fields = vec![field("a", "chosen"), field("b", "canary")];
        QualificationForm { name: "F".into(), description: None, fields, scoring: None }
    }

    fn payload(answers: &[(&str, &'static str)]) -> Result<Payload, NoPayload> {
        let steps = script();
        let path = selected_path(&steps, |id| {
            answers.iter().find(|(node, _)| *node == id).map(|(_, answer)| *answer)
        });
        Payload::of("fr", &path, &form())
    }

    #[test]
    fn a_branch_that_was_not_chosen_occurs_nowhere() {
        // The answer beyond was given before the caller went back and chose otherwise.
        let sent = payload(&[("owner", "Oui"), ("canary", "secret of the canary")]).unwrap();
        assert!(sent.text.contains("text of chosen") && !sent.text.contains("canary"), "{}", sent.text);
        assert_eq!(sent.value["form"]["answersFrom"], json!({ "a": "chosen" }));
        let sent = payload(&[("owner", "Non"), ("canary", "said")]).unwrap();
        assert!(sent.text.contains("text of canary") && !sent.text.contains("text of chosen"));
        assert_eq!(sent.value["conversation"]["steps"][1]["answer"], json!("said"));
    }

    #[test]
    fn a_choice_is_sent_with_its_label_and_no_other_option() {
        let option = |value: &str, label: Option<&str>| Choice::new(value, label.map(str::to_owned));
        let mut size = node("size", NodeKind::Select, vec![]);
        size.options =
            vec![option("a", Some("Small ones")), option("b", Some("Canary")), option("plain", None)];
        let steps = vec![size];
        for (answer, label) in [("a", json!("Small ones")), ("plain", Value::Null)] {
            let sent = Payload::of("fr", &selected_path(&steps, |_| Some(answer)), &form()).unwrap();
            let step = &sent.value["conversation"]["steps"][0];
            assert_eq!((&step["answer"], &step["answerLabel"]), (&json!(answer), &label));
            assert!(!sent.text.contains("Canary"), "{}", sent.text);
        }
    }

    #[test]
    fn what_is_hashed_is_what_is_sent() {
        let sent = payload(&[("owner", "Oui")]).unwrap();
        assert_eq!(sent.sha256, hex::encode(Sha256::digest(sent.text.as_bytes())));
        assert_eq!(serde_json::from_str::<Value>(&sent.text).unwrap(), sent.value);
    }

    #[test]
    fn nothing_is_sent_of_a_conversation_without_answers() {
        assert_eq!(payload(&[]), Err(NoPayload::NothingAnswered));
        assert_eq!(payload(&[("canary", "off the path")]), Err(NoPayload::NothingAnswered));
    }

    #[test]
    fn a_payload_has_32_kib_at_most() {
        let long = |bytes: usize| -> &'static str { "x".repeat(bytes).leak() };
        let spare = BYTES_MAX - payload(&[("owner", "Oui"), ("chosen", "")]).unwrap().text.len();
        let fits = payload(&[("owner", "Oui"), ("chosen", long(spare))]).unwrap();
        assert_eq!(fits.text.len(), BYTES_MAX);
        let over = payload(&[("owner", "Oui"), ("chosen", long(spare + 1))]);
        assert_eq!(over, Err(NoPayload::TooLarge { bytes: BYTES_MAX + 1 }));
    }
}
