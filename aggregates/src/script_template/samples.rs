//! Scripts for tests.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Branch, Choice, Node, NodeKind, ScriptContent, nodes};

fn node(id: &str, kind: NodeKind, text: &str) -> Node {
    let (options, branches) = (vec![], vec![]);
    Node { id: id.into(), kind, text: text.into(), required: false, options, branches }
}

pub(crate) fn instruction(id: &str, text: &str) -> Node {
    node(id, NodeKind::Instruction, text)
}

pub(crate) fn question(id: &str, text: &str) -> Node {
    node(id, NodeKind::Question, text)
}

pub(crate) fn yesno(id: &str, branches: Vec<Branch>) -> Node {
    Node { branches, ..node(id, NodeKind::Yesno, "Is that so?") }
}

pub(crate) fn select(id: &str, options: &[&str], branches: Vec<Branch>) -> Node {
    let options = options.iter().map(|value| Choice::new(*value, None)).collect();
    Node { options, branches, ..node(id, NodeKind::Select, "Which one?") }
}

pub(crate) fn branch(label: &str, steps: Vec<Node>) -> Branch {
    Branch { label: label.into(), steps }
}

/// A greeting, a yesno with two branches (one of them with a yesno in it), a select with one, and a farewell.
pub(crate) fn sample() -> ScriptContent {
    let reach = yesno("reach", vec![branch("Oui", vec![question("when", "When?")])]);
    let owner = Node {
        required: true,
        ..yesno(
            "owner",
            vec![
                branch("Oui", vec![Node { required: true, ..question("budget", "What is your budget?") }]),
                branch("Non", vec![question("who", "Who decides?"), reach]),
            ],
        )
    };
    let size =
        select("size", &["1-9", "10+"], vec![branch("10+", vec![question("sites", "How many sites?")])]);
    ScriptContent {
        name: "Spring".into(),
        description: Some("Restaurants".into()),
        language: "fr".into(),
        steps: vec![
            instruction("hello", "Hello {{firstName}}"),
            owner,
            size,
            instruction("bye", "Thank you"),
        ],
    }
}

#[derive(Clone, Debug)]
enum Shape {
    Leaf(bool),
    Yesno(Vec<Shape>, Vec<Shape>),
    Select(Vec<Vec<Shape>>),
}

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let leaf = any::<bool>().prop_map(Shape::Leaf);
    let shape = leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (vec(inner.clone(), 0..3), vec(inner.clone(), 0..3)).prop_map(|(yes, no)| Shape::Yesno(yes, no)),
            vec(vec(inner, 0..2), 1..3).prop_map(Shape::Select),
        ]
    });
    vec(shape, 1..4)
}

/// Numbers the nodes from top to bottom, so that ids are unique.
fn built(shapes: Vec<Shape>, next: &mut u32) -> Vec<Node> {
    let built_one = |shape: Shape, next: &mut u32| {
        let id = format!("n{next}");
        *next += 1;
        match shape {
            Shape::Leaf(true) => question(&id, "And?"),
            Shape::Leaf(false) => instruction(&id, "So."),
            Shape::Yesno(yes, no) => {
                let yes = branch("Oui", built(yes, next));
                yesno(&id, vec![yes, branch("Non", built(no, next))])
            }
            Shape::Select(several) => {
                let labels: Vec<String> = (0..=several.len()).map(|n| format!("option {n}")).collect();
                let options: Vec<&str> = labels.iter().map(String::as_str).collect();
                let branches =
                    several.into_iter().zip(&labels).map(|(steps, label)| branch(label, built(steps, next)));
                let branches = branches.collect();
                select(&id, &options, branches)
            }
        }
    };
    let mut steps = Vec::new();
    for shape in shapes {
        steps.push(built_one(shape, next));
    }
    steps
}

/// Scripts that the linter has nothing to say about.
pub(crate) fn any_script() -> impl Strategy<Value = Vec<Node>> {
    shapes().prop_map(|shapes| built(shapes, &mut 0))
}

/// Answers to some nodes of the script, on the path or not.
pub(crate) fn any_answers(steps: &[Node]) -> BoxedStrategy<BTreeMap<String, String>> {
    let answerable: Vec<(String, Vec<String>)> = nodes(steps)
        .filter_map(|node| {
            let values = match node.kind {
                NodeKind::Instruction => return None,
                NodeKind::Question => vec!["something".to_owned()],
                NodeKind::Yesno => vec!["Oui".to_owned(), "Non".to_owned()],
                NodeKind::Select => node.options.iter().map(|option| option.value.clone()).collect(),
            };
            Some((node.id.clone(), values))
        })
        .collect();
    vec(proptest::option::of(any::<prop::sample::Index>()), answerable.len())
        .prop_map(move |chosen| {
            let given = answerable.iter().zip(chosen);
            given.filter_map(|((id, values), index)| Some((id.clone(), index?.get(values).clone()))).collect()
        })
        .boxed()
}
