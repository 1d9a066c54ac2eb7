//! Evaluating rules: what becomes of a message, what one rule would do, and what other rules would have done.
//!
//! The three share one `failures`, so that a preview and a back-test cannot disagree with a real decision.

use std::collections::BTreeSet;

use super::{Action, NicheIs, Predicate, Rule, RuleRef};
use crate::channel::Channel;
use crate::ids::{MessageId, RuleId};
use crate::labels::{Labels, comparable_tag};
use crate::time::Timestamp;

/// What rules look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The channel.
    pub channel: Channel,
    /// Niche and tags.
    pub labels: Labels,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The rule that matched first; none if none did.
    pub rule: Option<RuleRef>,
    /// What is done: without a rule, a person is asked.
    pub action: Action,
}

/// What one rule would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// Its action, if it matches.
    pub action: Option<Action>,
    /// The parts of its predicate that do not hold: `channel`, `niche`, `tags`, `timeOfDay`, or `erased`.
    pub failed_predicates: Vec<&'static str>,
    /// The earlier rule that would win.
    pub shadowed_by: Option<RuleId>,
}

/// What becomes of a message at an instant under rules in the order of evaluation.
pub fn evaluate(rules: &[Rule], facts: &Facts, at: Timestamp) -> Verdict {
    for rule in rules {
        match failures(rule, facts, at) {
            // It may have been meant to stop this very message.
            Err(Unreadable) => {
                return Verdict { rule: Some(rule.reference()), action: Action::QueueForManual };
            }
            Ok(failed) if failed.is_empty() => {
                return Verdict { rule: Some(rule.reference()), action: rule.action };
            }
            Ok(_) => (),
        }
    }
    Verdict { rule: None, action: Action::QueueForManual }
}

pub(super) fn preview(rules: &[Rule], rule: &Rule, facts: &Facts, at: Timestamp) -> Preview {
    let failed_predicates = failures(rule, facts, at).unwrap_or_else(|Unreadable| vec!["erased"]);
    let matches = failed_predicates.is_empty();
    let winner = evaluate(rules, facts, at).rule.map(|winner| winner.rule_id);
    Preview {
        action: matches.then_some(rule.action),
        failed_predicates,
        shadowed_by: winner.filter(|winner| matches && *winner != rule.rule_id),
    }
}

/// The rule cannot be read: its predicate was erased, or its hours are of a zone that is not known any more.
struct Unreadable;

fn failures(rule: &Rule, facts: &Facts, at: Timestamp) -> Result<Vec<&'static str>, Unreadable> {
    let Predicate { channel, niche, tags, time_of_day } = rule.predicate.value().ok_or(Unreadable)?;
    let mut failed = Vec::new();
    if channel.is_some_and(|channel| channel != facts.channel) {
        failed.push("channel");
    }
    let niche_holds = match niche {
        None => true,
        Some(NicheIs::Absent) => facts.labels.niche.is_none(),
        Some(NicheIs::Slug(slug)) => facts.labels.niche.as_ref() == Some(slug),
    };
    if !niche_holds {
        failed.push("niche");
    }
    let has: BTreeSet<String> = facts.labels.tags.iter().map(|tag| comparable_tag(tag)).collect();
    if !tags.iter().all(|tag| has.contains(&comparable_tag(tag))) {
        failed.push("tags");
    }
    if let Some(hours) = time_of_day
        && !hours.contain(at).map_err(|_| Unreadable)?
    {
        failed.push("timeOfDay");
    }
    Ok(failed)
}

/// A decision that was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastDecision {
    /// The message.
    pub message_id: MessageId,
    /// What the rules looked at; none if it is not known any more.
    pub facts: Option<Facts>,
    /// When it was decided.
    pub at: Timestamp,
    /// What became of it.
    pub verdict: Verdict,
}

/// A decision that would have been another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The message.
    pub message_id: MessageId,
    /// When it was decided.
    pub at: Timestamp,
    /// What became of it.
    pub was: Verdict,
    /// What would have become of it.
    pub would_be: Verdict,
}

/// How decisions differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RulesDiffer {
    /// Decisions looked at.
    pub decisions: u64,
    /// Decisions whose facts are not known any more; they count to nothing else.
    pub unknown: u64,
    /// Asked a person, and would not have.
    pub newly_auto_approved: u64,
    /// Went out, and would have asked a person.
    pub newly_queued: u64,
    /// The same action, by another rule or another version.
    pub by_another_rule: u64,
}

/// What other rules would have done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simulation {
    /// How many differ, and how.
    pub counts: RulesDiffer,
    /// The first of those whose action differs, in the order given.
    pub examples: Vec<Difference>,
}

/// Judges past decisions by candidate rules in the order of evaluation. Appends nothing: it is given what was recorded.
pub fn simulate(
    candidates: &[Rule],
    decisions: impl IntoIterator<Item = PastDecision>,
    examples_max: usize,
) -> Simulation {
    let mut simulation = Simulation::default();
    let Simulation { counts, examples } = &mut simulation;
    for PastDecision { message_id, facts, at, verdict: was } in decisions {
        counts.decisions += 1;
        let Some(facts) = facts else {
            counts.unknown += 1;
            continue;
        };
        let would_be = evaluate(candidates, &facts, at);
        match (was.action, would_be.action) {
            (Action::QueueForManual, Action::AutoApprove) => counts.newly_auto_approved += 1,
            (Action::AutoApprove, Action::QueueForManual) => counts.newly_queued += 1,
            _ => {
                counts.by_another_rule += u64::from(was.rule != would_be.rule);
                continue;
            }
        }
        if examples.len() < examples_max {
            examples.push(Difference { message_id, at, was, would_be });
        }
    }
    simulation
}
