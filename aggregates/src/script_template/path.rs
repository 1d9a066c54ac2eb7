//! The way through a script that some answers choose.
//!
//! The one definition of what is "on the path": completeness, progress, what counts as answered and what is handed to
//! a qualifying model all rest on it. A step of a branch that was not chosen does not occur in what comes out.

use super::{Node, NodeKind};

/// A step on the path. It holds nothing of branches, so that what was not chosen cannot slip through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathStep<'a> {
    /// The node's id.
    pub id: &'a str,
    /// What it is for.
    pub kind: NodeKind,
    /// What the caller read.
    pub text: &'a str,
    /// Whether the run cannot be completed without its answer.
    pub required: bool,
    /// What was answered; never there for an instruction.
    pub answer: Option<&'a str>,
    /// The label of the option that was chosen, where it has one of its own.
    pub answer_label: Option<&'a str>,
}

impl PathStep<'_> {
    /// Whether an answer is still to be captured.
    pub fn unanswered(&self) -> bool {
        self.kind.answerable() && self.answer.is_none()
    }
}

/// The steps that the answers lead through, from top to bottom.
///
/// Each step at the top is on the path; those of a branch are if the step that it hangs on is and was answered with
/// the branch's label. An unanswered choice leads into none of its branches, and the steps after it stay on the path.
/// `answer` gives what was recorded for a node, whether or not that node is on the path.
pub fn selected_path<'a>(steps: &'a [Node], answer: impl Fn(&str) -> Option<&'a str>) -> Vec<PathStep<'a>> {
    let mut path = Vec::new();
    let mut open = vec![steps.iter()];
    while let Some(level) = open.last_mut() {
        let Some(node) = level.next() else {
            open.pop();
            continue;
        };
        let given = if node.kind.answerable() { answer(&node.id) } else { None };
        path.push(PathStep {
            id: &node.id,
            kind: node.kind,
            text: &node.text,
            required: node.required,
            answer: given,
            answer_label: given.and_then(|given| chosen_label(node, given)),
        });
        let chosen = given.and_then(|given| node.branches.iter().find(|branch| branch.label == given));
        if let Some(branch) = chosen {
            open.push(branch.steps.iter());
        }
    }
    path
}

/// What the caller saw of the option that was chosen.
fn chosen_label<'a>(node: &'a Node, given: &str) -> Option<&'a str> {
    let option = node.options.iter().find(|option| option.value == given)?;
    let label = option.shown();
    (label != option.value).then_some(label)
}

/// Every node of the script, those of all branches among them, from top to bottom.
pub fn nodes(steps: &[Node]) -> impl Iterator<Item = &Node> {
    let mut open = vec![steps.iter()];
    std::iter::from_fn(move || {
        loop {
            let Some(node) = open.last_mut()?.next() else {
                open.pop();
                continue;
            };
            for branch in node.branches.iter().rev() {
                open.push(branch.steps.iter());
            }
            return Some(node);
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::script_template::samples::{any_answers, any_script, sample};

    fn ids(steps: &[Node], answers: &[(&str, &str)]) -> Vec<String> {
        let answers: BTreeMap<&str, &str> = answers.iter().copied().collect();
        let path = selected_path(steps, |id| answers.get(id).copied());
        path.iter().map(|step| step.id.to_owned()).collect()
    }

    #[test]
    fn only_the_branch_that_was_chosen_is_on_the_path() {
        let steps = sample().steps;
        for (answers, expected) in [
            (vec![], vec!["hello", "owner", "size", "bye"]),
            (vec![("owner", "Oui")], vec!["hello", "owner", "budget", "size", "bye"]),
            (vec![("owner", "Non")], vec!["hello", "owner", "who", "reach", "size", "bye"]),
            (
                vec![("owner", "Non"), ("reach", "Oui")],
                vec!["hello", "owner", "who", "reach", "when", "size", "bye"],
            ),
            // What was answered in a branch that is no longer chosen leads nowhere.
            (vec![("owner", "Oui"), ("reach", "Oui")], vec!["hello", "owner", "budget", "size", "bye"]),
            // An option without a branch goes on with the next step.
            (vec![("size", "1-9")], vec!["hello", "owner", "size", "bye"]),
            (vec![("size", "10+")], vec!["hello", "owner", "size", "sites", "bye"]),
            // What is no answer of the script chooses nothing.
            (vec![("size", "many"), ("hello", "Oui")], vec!["hello", "owner", "size", "bye"]),
        ] {
            assert_eq!(ids(&steps, &answers), expected, "{answers:?}");
        }
    }

    proptest! {
        #[test]
        fn a_path_is_a_part_of_the_script_in_its_order((steps, answers) in any_script().prop_flat_map(|steps| {
            let answers = any_answers(&steps);
            (Just(steps), answers)
        })) {
            let all: Vec<&str> = nodes(&steps).map(|node| node.id.as_str()).collect();
            let path = selected_path(&steps, |id| answers.get(id).map(String::as_str));
            let mut rest = all.iter();
            for step in &path {
                prop_assert!(rest.any(|id| *id == step.id), "{} is out of order", step.id);
            }
            for top in &steps {
                prop_assert!(path.iter().any(|step| step.id == top.id));
            }
        }

        #[test]
        fn a_branch_that_was_not_chosen_occurs_nowhere((steps, answers) in any_script().prop_flat_map(|steps| {
            let answers = any_answers(&steps);
            (Just(steps), answers)
        })) {
            let path = selected_path(&steps, |id| answers.get(id).map(String::as_str));
            let on_path: BTreeSet<&str> = path.iter().map(|step| step.id).collect();
            for node in nodes(&steps) {
                let given = answers.get(&node.id);
                for branch in &node.branches {
                    let chosen = on_path.contains(node.id.as_str()) && given == Some(&branch.label);
                    for inner in &branch.steps {
                        prop_assert_eq!(on_path.contains(inner.id.as_str()), chosen);
                    }
                }
            }
        }
    }
}
