//! Approval rules: which messages go out without a person, and which wait for one.
//!
//! All rules of an organization are one stream, so that one version guards a whole evaluation: a rule that is changed
//! or removed meanwhile makes the append of what was decided on it fail. The first rule that matches wins, by
//! ascending priority and then by age; where none matches, a person decides. Whatever cannot be read (an erased
//! predicate, a zone that is gone) is left to a person as well: never does a fault let more through.

mod evaluation;
mod event;

use serde::{Deserialize, Serialize};

pub use evaluation::{
    Difference, Facts, PastDecision, Preview, RulesDiffer, Simulation, Verdict, evaluate, simulate,
};
pub use event::{Action, ApprovalRulesEvent, NicheIs, Predicate, RuleRef};

use crate::calendar::CalendarError;
use crate::ids::RuleId;
use crate::labels::{self, LabelError};
use crate::personal::Personal;
use crate::stored::aggregate;
use crate::time::Timestamp;

/// The last priority.
pub const PRIORITY_MAX: u32 = 1_000_000;
/// Rules of one organization, at most.
pub const RULES_MAX: usize = 1_000;

/// One rule as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its id.
    pub rule_id: RuleId,
    /// Which of its versions, from 1.
    pub version: u32,
    /// What it matches; not known any more once erased.
    pub predicate: Personal<Predicate>,
    /// What it does.
    pub action: Action,
    /// Smaller ones are asked first.
    pub priority: u32,
    /// How many rules were ever added before it: among equals the oldest is asked first.
    pub born: u64,
}

/// Rules in the order of evaluation.
pub fn in_order(mut rules: Vec<Rule>) -> Vec<Rule> {
    rules.sort_by_key(|rule| (rule.priority, rule.born));
    rules
}

impl Rule {
    /// This rule in this version.
    pub fn reference(&self) -> RuleRef {
        RuleRef { rule_id: self.rule_id, version: self.version }
    }
}

/// What a change may say; absent keeps.
#[derive(Clone, Debug, Default)]
pub struct RulePatch {
    /// New predicate.
    pub predicate: Option<Predicate>,
    /// New action.
    pub action: Option<Action>,
    /// New priority.
    pub priority: Option<u32>,
}

/// Orders to the rules.
#[derive(Clone, Debug)]
pub enum ApprovalRulesCommand {
    /// One more.
    Add {
        /// A fresh id.
        rule_id: RuleId,
        /// What it matches.
        predicate: Predicate,
        /// What it does.
        action: Action,
        /// Smaller ones are asked first.
        priority: u32,
        /// The caller knows that the rule may approve everything.
        acknowledge_catch_all: bool,
    },
    /// A new version of one; it judges what is decided from here on.
    Change {
        /// Which.
        rule_id: RuleId,
        /// What changes.
        patch: RulePatch,
        /// The caller knows that the rule may approve everything.
        acknowledge_catch_all: bool,
    },
    /// One less.
    Remove {
        /// Which.
        rule_id: RuleId,
    },
}

/// Why the rules refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalRulesError {
    /// There is no such rule.
    #[error("approval rule does not exist")]
    Unknown,
    /// The id is taken.
    #[error("approval rule already exists")]
    AlreadyAdded,
    /// Its predicate was erased, so that it can only be replaced whole.
    #[error("approval rule was erased")]
    Erased,
    /// It would approve everything, and nobody said that this is meant.
    #[error("a rule that approves everything must be acknowledged with acknowledgeCatchAll")]
    CatchAll,
    /// The priority is beyond the last.
    #[error("priority must be at most {PRIORITY_MAX}")]
    Priority,
    /// There are as many rules as there may be.
    #[error("there are {RULES_MAX} approval rules already")]
    TooMany,
    /// Niche or tags are none.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// The hours are none.
    #[error(transparent)]
    Hours(#[from] CalendarError),
}

/// The state that decisions need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ApprovalRules {
    /// In the order of evaluation.
    rules: Vec<Rule>,
    /// Rules ever added.
    born: u64,
}

aggregate!(ApprovalRules, "ApprovalRules", ApprovalRulesCommand, ApprovalRulesEvent, ApprovalRulesError);

impl ApprovalRules {
    /// The whole business of the rules.
    fn decide(&self, command: ApprovalRulesCommand) -> Result<Vec<ApprovalRulesEvent>, ApprovalRulesError> {
        use ApprovalRulesCommand as C;
        use ApprovalRulesEvent as E;
        match command {
            C::Add { rule_id, .. } if self.rule(rule_id).is_some() => Err(ApprovalRulesError::AlreadyAdded),
            C::Add { .. } if self.rules.len() >= RULES_MAX => Err(ApprovalRulesError::TooMany),
            C::Add { rule_id, predicate, action, priority, acknowledge_catch_all } => {
                check(&predicate, action, priority, acknowledge_catch_all)?;
                let predicate = Personal::known(rule_id.uuid(), predicate);
                Ok(vec![E::ApprovalRuleAdded { rule_id, version: 1, predicate, action, priority }])
            }
            C::Change { rule_id, patch, acknowledge_catch_all } => {
                let rule = self.rule(rule_id).ok_or(ApprovalRulesError::Unknown)?;
                let known = rule.predicate.value();
                let predicate =
                    patch.predicate.or_else(|| known.cloned()).ok_or(ApprovalRulesError::Erased)?;
                let action = patch.action.unwrap_or(rule.action);
                let priority = patch.priority.unwrap_or(rule.priority);
                if Some(&predicate) == known && (action, priority) == (rule.action, rule.priority) {
                    return Ok(vec![]);
                }
                check(&predicate, action, priority, acknowledge_catch_all)?;
                let version = rule.version + 1;
                let predicate = Personal::known(rule_id.uuid(), predicate);
                Ok(vec![E::ApprovalRuleChanged { rule_id, version, predicate, action, priority }])
            }
            C::Remove { rule_id } => match self.rule(rule_id) {
                Some(_) => Ok(vec![E::ApprovalRuleRemoved { rule_id }]),
                None => Err(ApprovalRulesError::Unknown),
            },
        }
    }

    fn evolve(&mut self, event: ApprovalRulesEvent) {
        match event {
            ApprovalRulesEvent::ApprovalRuleAdded { rule_id, version, predicate, action, priority } => {
                let born = self.born;
                self.born += 1;
                self.rules.push(Rule { rule_id, version, predicate, action, priority, born });
            }
            ApprovalRulesEvent::ApprovalRuleChanged { rule_id, version, predicate, action, priority } => {
                if let Some(rule) = self.rules.iter_mut().find(|rule| rule.rule_id == rule_id) {
                    *rule = Rule { rule_id, version, predicate, action, priority, born: rule.born };
                }
            }
            ApprovalRulesEvent::ApprovalRuleRemoved { rule_id } => {
                self.rules.retain(|rule| rule.rule_id != rule_id);
            }
        }
        self.rules = in_order(std::mem::take(&mut self.rules));
    }

    /// Every rule, in the order of evaluation.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// One rule.
    pub fn rule(&self, rule_id: RuleId) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.rule_id == rule_id)
    }

    /// What becomes of a message at an instant.
    pub fn evaluate(&self, facts: &Facts, at: Timestamp) -> Verdict {
        evaluate(&self.rules, facts, at)
    }

    /// Whether one rule would match, by itself and among the others.
    pub fn preview(
        &self,
        rule_id: RuleId,
        facts: &Facts,
        at: Timestamp,
    ) -> Result<Preview, ApprovalRulesError> {
        let rule = self.rule(rule_id).ok_or(ApprovalRulesError::Unknown)?;
        Ok(evaluation::preview(&self.rules, rule, facts, at))
    }
}

/// Whether a rule may be what it says.
pub fn check(
    predicate: &Predicate,
    action: Action,
    priority: u32,
    acknowledge_catch_all: bool,
) -> Result<(), ApprovalRulesError> {
    if priority > PRIORITY_MAX {
        return Err(ApprovalRulesError::Priority);
    }
    if let Some(NicheIs::Slug(niche)) = &predicate.niche {
        labels::check_niche(niche)?;
    }
    labels::check_tags(&predicate.tags)?;
    predicate.time_of_day.as_ref().map_or(Ok(()), crate::calendar::HoursOfDay::check)?;
    if predicate.matches_everything() && action == Action::AutoApprove && !acknowledge_catch_all {
        return Err(ApprovalRulesError::CatchAll);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
