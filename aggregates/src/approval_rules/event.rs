//! Stored events of the approval rules. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use crate::calendar::HoursOfDay;
use crate::channel::Channel;
use crate::ids::RuleId;
use crate::personal::Personal;
use crate::stored::stored_events;

/// What a rule does with what it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Let it go out.
    AutoApprove,
    /// Ask a person.
    QueueForManual,
}

impl Action {
    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AutoApprove => "auto_approve",
            Self::QueueForManual => "queue_for_manual",
        }
    }
}

/// One version of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RuleRef {
    /// The rule.
    pub rule_id: RuleId,
    /// Which of its versions, from 1.
    pub version: u32,
}

/// What a niche must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NicheIs {
    /// There is none.
    Absent,
    /// It is this one.
    Slug(String),
}

/// What a rule matches: all that is said here; what is not said is any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predicate {
    /// The channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// The niche.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub niche: Option<NicheIs>,
    /// Tags that the message must all have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The hours at which it is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_of_day: Option<HoursOfDay>,
}

impl Predicate {
    /// Whether nothing is said at all.
    pub fn matches_everything(&self) -> bool {
        *self == Self::default()
    }
}

/// The facts of an organization's approval rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum ApprovalRulesEvent {
    /// One more rule.
    ApprovalRuleAdded {
        /// Its id.
        rule_id: RuleId,
        /// 1.
        version: u32,
        /// What it matches. The subject is the rule.
        predicate: Personal<Predicate>,
        /// What it does.
        action: Action,
        /// Smaller ones are asked first; among equals the older one.
        priority: u32,
    },
    /// A rule is another from here on.
    ApprovalRuleChanged {
        /// Its id.
        rule_id: RuleId,
        /// The number of the new version.
        version: u32,
        /// All that it matches now.
        predicate: Personal<Predicate>,
        /// What it does now.
        action: Action,
        /// Its place now.
        priority: u32,
    },
    /// One rule less.
    ApprovalRuleRemoved {
        /// Its id.
        rule_id: RuleId,
    },
}

stored_events!(ApprovalRulesEvent {
    ApprovalRuleAdded "1",
    ApprovalRuleChanged "1",
    ApprovalRuleRemoved "1",
});
