//! Which answers fit a script, and which of them count.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use super::Answer;
use crate::script_template::lint::{Meanings, TEXT_MAX, YES_NO, nearest_name, yes_or_no};
use crate::script_template::{Node, NodeKind, nodes, selected_path};

/// The first so many answers are told what was probably meant: an unknown node is compared with every node, and an
/// answer that is no option with every option.
const SUGGESTED: usize = 50;

/// An answer as it came in: nobody has looked at it yet.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenAnswer {
    /// The node that it is meant for.
    pub node_id: String,
    /// What was answered; null takes an earlier answer back.
    pub value: Value,
}

/// What becomes of the answers that are not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnswerMode {
    /// They stay.
    #[default]
    Merge,
    /// They are taken back.
    Replace,
}

/// Why an answer cannot be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerFault {
    /// Which of the answers given, from 0.
    pub index: usize,
    /// The member that is at fault: `nodeId` or `value`.
    pub field: &'static str,
    /// A name for machines.
    pub code: &'static str,
    /// One sentence for people, which tells how to put it right.
    pub message: String,
}

/// What comes of the answers given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weighed {
    /// What differs from before.
    pub changes: Vec<Answer>,
    /// Nodes that were answered although the answers lead elsewhere; nothing is recorded for them.
    pub not_on_path: Vec<String>,
}

/// Compares the answers given with the script and with what was answered before. Everything that does not fit is told
/// at once; an answer that fits, to a step that the answers do not lead through, is passed over.
pub fn weigh(
    steps: &[Node],
    before: &BTreeMap<String, String>,
    given: &[GivenAnswer],
    mode: AnswerMode,
) -> Result<Weighed, Vec<AnswerFault>> {
    let fitting = fit(steps, given)?;
    let named: HashMap<&str, Option<&str>> =
        fitting.iter().map(|(id, value)| (*id, value.as_deref())).collect();
    let kept = |id: &str| match mode {
        AnswerMode::Merge => before.get(id).map(String::as_str),
        AnswerMode::Replace => None,
    };
    // The path is walked with everything that may count: a step that it does not reach has no say in it.
    let path = selected_path(steps, |id| match named.get(id) {
        Some(value) => *value,
        None => kept(id),
    });
    let on_path: HashSet<&str> = path.iter().map(|step| step.id).collect();

    let mut weighed = Weighed::default();
    for (id, value) in &fitting {
        let earlier = before.get(*id);
        if value.is_some() && !on_path.contains(id) {
            weighed.not_on_path.push((*id).to_owned());
        } else if value.as_ref() != earlier {
            weighed.changes.push(Answer { node_id: (*id).to_owned(), value: value.clone() });
        }
    }
    if mode == AnswerMode::Replace {
        let given_up = before.keys().filter(|id| {
            let named = named.contains_key(id.as_str());
            !named || weighed.not_on_path.iter().any(|ignored| ignored == *id)
        });
        let given_up: Vec<Answer> = given_up.map(|id| Answer { node_id: id.clone(), value: None }).collect();
        weighed.changes.extend(given_up);
    }
    Ok(weighed)
}

/// The answers that fit their nodes; the faults of all others.
fn fit<'a>(
    steps: &[Node],
    given: &'a [GivenAnswer],
) -> Result<Vec<(&'a str, Option<String>)>, Vec<AnswerFault>> {
    let known: HashMap<&str, &Node> = nodes(steps).map(|node| (node.id.as_str(), node)).collect();
    let mut seen = HashSet::new();
    let (mut fitting, mut faults) = (Vec::with_capacity(given.len()), Vec::new());
    for (index, answer) in given.iter().enumerate() {
        let id = answer.node_id.as_str();
        let mut fault = |field, code, message| faults.push(AnswerFault { index, field, code, message });
        let Some(node) = known.get(id) else {
            let meant = if index < SUGGESTED {
                nearest_name(id, nodes(steps).map(|node| node.id.as_str()))
            } else {
                None
            };
            let message = match meant {
                Some(meant) => format!("is no node of the script; did you mean {meant}?"),
                None => "is no node of the script".to_owned(),
            };
            fault("nodeId", "UNKNOWN_NODE", message);
            continue;
        };
        if !seen.insert(id) {
            fault("nodeId", "ANSWERED_TWICE", "the node has another answer in the same call".to_owned());
            continue;
        }
        match read(node, &answer.value, index < SUGGESTED) {
            Ok(value) => fitting.push((id, value)),
            Err((code, message)) => fault("value", code, message),
        }
    }
    if faults.is_empty() { Ok(fitting) } else { Err(faults) }
}

/// The value that is recorded for the node; with `suggest` a text that is no option is told which was probably meant.
fn read(node: &Node, value: &Value, suggest: bool) -> Result<Option<String>, (&'static str, String)> {
    let text = match (node.kind, value) {
        (NodeKind::Instruction, _) => {
            return Err(("TAKES_NO_ANSWER", "an instruction is read and not answered".to_owned()));
        }
        (_, Value::Null) => return Ok(None),
        (_, Value::String(text)) => text,
        (NodeKind::Yesno, Value::Bool(yes)) => {
            let meant = if *yes { "Oui" } else { "Non" };
            return Err(("NOT_AN_OPTION", format!("must be the text Oui or Non; did you mean {meant:?}?")));
        }
        _ => return Err(("WRONG_TYPE", "must be a text, or null to take an answer back".to_owned())),
    };
    let refused = |what: String, meant: Option<&str>| {
        let message = match meant {
            Some(meant) => format!("must be {what}; did you mean {meant:?}?"),
            None => format!("must be {what}"),
        };
        Err(("NOT_AN_OPTION", message))
    };
    match node.kind {
        NodeKind::Instruction | NodeKind::Question => {
            if text.trim().is_empty() {
                return Err(("EMPTY_ANSWER", "must not be empty; null takes an answer back".to_owned()));
            }
            if text.chars().nth(TEXT_MAX).is_some() {
                return Err(("TOO_LONG", format!("must have at most {TEXT_MAX} characters")));
            }
        }
        NodeKind::Yesno if YES_NO.contains(&text.as_str()) => (),
        NodeKind::Yesno => return refused("Oui or Non".to_owned(), yes_or_no(text)),
        NodeKind::Select if node.options.iter().any(|option| option.value == *text) => (),
        NodeKind::Select => {
            let meant = if suggest { Meanings::of(&node.options).nearest(text) } else { None };
            return refused("one of the options of the node".to_owned(), meant);
        }
    }
    Ok(Some(text.clone()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::script_template::samples::{any_answers, any_script, sample};

    fn given(answers: &[(&str, Value)]) -> Vec<GivenAnswer> {
        let answers = answers.iter();
        answers.map(|(id, value)| GivenAnswer { node_id: (*id).into(), value: value.clone() }).collect()
    }

    fn recorded(answers: &[(&str, &str)]) -> BTreeMap<String, String> {
        answers.iter().map(|(id, value)| ((*id).to_owned(), (*value).to_owned())).collect()
    }

    fn changes(changes: &[(&str, Option<&str>)]) -> Vec<Answer> {
        let answer = |(id, value): &(&str, Option<&str>)| Answer {
            node_id: (*id).to_owned(),
            value: value.map(str::to_owned),
        };
        changes.iter().map(answer).collect()
    }

    #[test]
    fn what_does_not_fit_is_told_with_what_was_meant() {
        let steps = sample().steps;
        for (id, value, field, code, end) in [
            ("hello", json!("Oui"), "value", "TAKES_NO_ANSWER", "not answered"),
            ("hello", json!(null), "value", "TAKES_NO_ANSWER", "not answered"),
            ("owner", json!("oui"), "value", "NOT_AN_OPTION", "\"Oui\"?"),
            ("owner", json!("No"), "value", "NOT_AN_OPTION", "\"Non\"?"),
            ("owner", json!("perhaps"), "value", "NOT_AN_OPTION", "Oui or Non"),
            ("owner", json!(true), "value", "NOT_AN_OPTION", "\"Oui\"?"),
            ("owner", json!(false), "value", "NOT_AN_OPTION", "\"Non\"?"),
            ("owner", json!(1), "value", "WRONG_TYPE", "back"),
            ("size", json!("1-9 "), "value", "NOT_AN_OPTION", "\"1-9\"?"),
            ("size", json!(["1-9"]), "value", "WRONG_TYPE", "back"),
            ("sites", json!(3), "value", "WRONG_TYPE", "back"),
            ("sites", json!(" "), "value", "EMPTY_ANSWER", "back"),
            ("sites", json!("é".repeat(TEXT_MAX + 1)), "value", "TOO_LONG", "characters"),
            ("onwer", json!("Oui"), "nodeId", "UNKNOWN_NODE", "owner?"),
            ("nothing-like-it", json!("Oui"), "nodeId", "UNKNOWN_NODE", "script"),
        ] {
            let faults = weigh(&steps, &BTreeMap::new(), &given(&[(id, value.clone())]), AnswerMode::Merge)
                .unwrap_err();
            let [fault] = faults.as_slice() else { panic!("{faults:?}") };
            assert_eq!((fault.index, fault.field, fault.code), (0, field, code), "{id} {value}");
            assert!(fault.message.ends_with(end), "{}", fault.message);
        }
        let longest = json!("é".repeat(TEXT_MAX));
        let answers = given(&[("size", json!("10+")), ("sites", longest)]);
        assert_eq!(weigh(&steps, &BTreeMap::new(), &answers, AnswerMode::Merge).unwrap().changes.len(), 2);
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let answers =
            given(&[("owner", json!(1)), ("x", json!("a")), ("size", json!("10+")), ("size", json!("1-9"))]);
        let faults = weigh(&sample().steps, &BTreeMap::new(), &answers, AnswerMode::Merge).unwrap_err();
        let codes: Vec<_> = faults.iter().map(|fault| (fault.index, fault.code)).collect();
        assert_eq!(codes, [(0, "WRONG_TYPE"), (1, "UNKNOWN_NODE"), (3, "ANSWERED_TWICE")]);
    }

    #[test]
    fn only_what_differs_and_is_on_the_path_changes() {
        use AnswerMode::{Merge, Replace};
        let steps = sample().steps;
        let before = recorded(&[("owner", "Oui"), ("budget", "1 000")]);
        for (mode, answers, expected, ignored) in [
            (Merge, vec![], vec![], vec![]),
            (Merge, vec![("owner", json!("Oui"))], vec![], vec![]),
            (Merge, vec![("budget", json!("2 000"))], vec![("budget", Some("2 000"))], vec![]),
            (Merge, vec![("budget", json!(null))], vec![("budget", None)], vec![]),
            (Merge, vec![("who", json!(null))], vec![], vec![]),
            (Merge, vec![("who", json!("Ada"))], vec![], vec!["who"]),
            // The answer that leads there may come in the same call, before or after.
            (
                Merge,
                vec![("who", json!("Ada")), ("owner", json!("Non"))],
                vec![("who", Some("Ada")), ("owner", Some("Non"))],
                vec![],
            ),
            // What is off the path from now on stays as it was answered.
            (Merge, vec![("owner", json!("Non"))], vec![("owner", Some("Non"))], vec![]),
            (
                Merge,
                vec![("owner", json!("Non")), ("budget", json!("9"))],
                vec![("owner", Some("Non"))],
                vec!["budget"],
            ),
            (Replace, vec![], vec![("budget", None), ("owner", None)], vec![]),
            (Replace, vec![("owner", json!("Oui"))], vec![("budget", None)], vec![]),
            (
                Replace,
                vec![("owner", json!("Non")), ("budget", json!("9"))],
                vec![("owner", Some("Non")), ("budget", None)],
                vec!["budget"],
            ),
        ] {
            let weighed = weigh(&steps, &before, &given(&answers), mode).unwrap();
            assert_eq!(weighed.changes, changes(&expected), "{mode:?} {answers:?}");
            assert_eq!(weighed.not_on_path, ignored, "{mode:?} {answers:?}");
        }
    }

    proptest! {
        #[test]
        fn weighing_twice_changes_nothing_more((steps, first, second) in any_script().prop_flat_map(|steps| {
            let answers = (any_answers(&steps), any_answers(&steps));
            (Just(steps), answers.0, answers.1)
        }), replace in any::<bool>()) {
            let mode = if replace { AnswerMode::Replace } else { AnswerMode::Merge };
            let given: Vec<_> = second
                .iter()
                .map(|(id, value)| GivenAnswer { node_id: id.clone(), value: json!(value) })
                .collect();
            let weighed = weigh(&steps, &first, &given, mode).unwrap();
            let mut after = first;
            for Answer { node_id, value } in weighed.changes {
                match value {
                    Some(value) => after.insert(node_id, value),
                    None => after.remove(&node_id),
                };
            }
            let again = weigh(&steps, &after, &given, mode).unwrap();
            prop_assert_eq!(again.changes, vec![]);
            prop_assert_eq!(again.not_on_path, weighed.not_on_path);
        }
    }
}
