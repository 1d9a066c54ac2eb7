//! What differs between two versions of a script, node by node.

use std::collections::HashMap;

use super::{Node, nodes};

/// Node ids that differ, each list in the order of the script that it is taken from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScriptDiff {
    /// In the later version only.
    pub added: Vec<String>,
    /// In the earlier version only.
    pub removed: Vec<String>,
    /// In both, with another text, kind, option, set of branches or place.
    pub changed: Vec<String>,
}

/// What `after` has that `before` has not, and the other way round. What hangs on a node belongs to itself: a changed
/// step within a branch does not change the step that the branch hangs on.
pub fn diff(before: &[Node], after: &[Node]) -> ScriptDiff {
    let (old, new) = (placed(before), placed(after));
    // Places are compared among nodes that both versions have, so that one new step does not move all others.
    let (old_ranks, new_ranks) = (ranks(before, &old, &new), ranks(after, &new, &old));
    let mut diff = ScriptDiff::default();
    for node in nodes(before) {
        if !new.contains_key(node.id.as_str()) {
            diff.removed.push(node.id.clone());
        }
    }
    for node in nodes(after) {
        let id = node.id.as_str();
        match old.get(id) {
            None => diff.added.push(node.id.clone()),
            Some((earlier, place)) => {
                let same_place = new.get(id).map(|(_, place)| place) == Some(place);
                if !same(earlier, node) || !same_place || old_ranks.get(id) != new_ranks.get(id) {
                    diff.changed.push(node.id.clone());
                }
            }
        }
    }
    diff
}

/// The node that a branch hangs on and the branch's label; none at the top.
type Place<'a> = Option<(&'a str, &'a str)>;
type Placed<'a> = HashMap<&'a str, (&'a Node, Place<'a>)>;

fn placed(steps: &[Node]) -> Placed<'_> {
    let mut all: Placed<'_> = steps.iter().map(|node| (node.id.as_str(), (node, None))).collect();
    for node in nodes(steps) {
        for branch in &node.branches {
            let place = Some((node.id.as_str(), branch.label.as_str()));
            all.extend(branch.steps.iter().map(|inner| (inner.id.as_str(), (inner, place))));
        }
    }
    all
}

/// The how-manieth of its list each node is, counting only those that the other version has in the same place.
fn ranks<'a>(steps: &'a [Node], own: &Placed<'a>, other: &Placed<'_>) -> HashMap<&'a str, usize> {
    let mut ranks = HashMap::new();
    let mut counted: HashMap<Place<'a>, usize> = HashMap::new();
    for node in nodes(steps) {
        let id = node.id.as_str();
        let Some((_, place)) = own.get(id) else { continue };
        if other.get(id).is_some_and(|(_, there)| there == place) {
            let rank = counted.entry(*place).or_default();
            ranks.insert(id, *rank);
            *rank += 1;
        }
    }
    ranks
}

fn same(one: &Node, other: &Node) -> bool {
    let labels = |node: &Node| node.branches.iter().map(|branch| branch.label.clone()).collect::<Vec<_>>();
    (one.kind, &one.text, one.required, &one.options)
        == (other.kind, &other.text, other.required, &other.options)
        && labels(one) == labels(other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::script_template::samples::{any_script, instruction, sample};

    fn differ(change: impl FnOnce(&mut Vec<Node>)) -> (Vec<String>, Vec<String>, Vec<String>) {
        let before = sample().steps;
        let mut after = before.clone();
        change(&mut after);
        let ScriptDiff { added, removed, changed } = diff(&before, &after);
        (added, removed, changed)
    }

    fn named(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn a_difference_is_told_where_it_is() {
        assert_eq!(differ(|_| ()), (vec![], vec![], vec![]));
        assert_eq!(
            differ(|steps| steps.insert(0, instruction("first", "Stand up"))),
            (named(&["first"]), vec![], vec![])
        );
        assert_eq!(differ(|steps| steps[0].text = "Hi".into()), (vec![], vec![], named(&["hello"])));
        assert_eq!(
            differ(|steps| steps[1].branches[0].steps[0].text = "How much?".into()),
            (vec![], vec![], named(&["budget"]))
        );
        assert_eq!(
            differ(|steps| drop(steps[1].branches.remove(0))),
            (vec![], named(&["budget"]), named(&["owner"]))
        );
        // Two steps that changed places.
        assert_eq!(differ(|steps| steps.swap(0, 3)), (vec![], vec![], named(&["bye", "hello"])));
        // A step that went into a branch.
        assert_eq!(
            differ(|steps| {
                let bye = steps.remove(3);
                steps[1].branches[0].steps.push(bye);
            }),
            (vec![], vec![], named(&["bye"]))
        );
    }

    proptest! {
        #[test]
        fn what_is_the_same_does_not_differ_and_what_does_is_named(one in any_script(), other in any_script()) {
            prop_assert_eq!(diff(&one, &one), ScriptDiff::default());
            prop_assert_eq!(diff(&one, &other) == ScriptDiff::default(), one == other);
        }
    }
}
