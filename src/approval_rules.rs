//! Changing approval rules, and asking what they would do. Preview and back-test append nothing: they read the stream,
//! and what was decided.

use docket_aggregates::approval_rules::{
    self as rules, Action, ApprovalRules, ApprovalRulesCommand, ApprovalRulesError, Difference, Facts,
    NicheIs, PastDecision, Predicate, Preview, Rule, RulePatch, RuleRef, Simulation, Verdict, check,
    in_order,
};
use docket_aggregates::calendar::HoursOfDay;
use docket_aggregates::channel::Channel;
use docket_aggregates::ids::{OrganizationId, RuleId};
use docket_aggregates::labels::Labels;
use docket_aggregates::{Personal, Timestamp};
use docket_projections::messages::{self, DecisionRow};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::app::App;
use crate::ledger::read::ReadError;
use crate::readside::Consistency;
use crate::service::{Call, Done, ServiceError};
use crate::shapes::OneOf;

/// A rule as answers show it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleView {
    /// Its id.
    #[schemars(with = "Uuid")]
    pub id: RuleId,
    /// The company.
    #[schemars(with = "Uuid")]
    pub company_id: OrganizationId,
    /// What it matches, as it was given; null once erased.
    pub predicate: Option<Value>,
    /// What it does.
    #[schemars(with = "OneOf<Action>")]
    pub action: Action,
    /// Smaller ones are asked first.
    pub priority: u32,
    /// Which version, from 1.
    pub version: u32,
}

impl RuleView {
    /// The view of a rule.
    pub fn of(organization: OrganizationId, rule: &Rule) -> Self {
        Self {
            id: rule.rule_id,
            company_id: organization,
            predicate: rule.predicate.value().map(predicate_as_given),
            action: rule.action,
            priority: rule.priority,
            version: rule.version,
        }
    }
}

fn predicate_as_given(predicate: &Predicate) -> Value {
    let mut given = Map::new();
    if let Some(channel) = predicate.channel {
        given.insert("channel".into(), json!(channel));
    }
    match &predicate.niche {
        None => None,
        Some(NicheIs::Absent) => given.insert("niche".into(), Value::Null),
        Some(NicheIs::Slug(slug)) => given.insert("niche".into(), json!(slug)),
    };
    if !predicate.tags.is_empty() {
        given.insert("tags".into(), json!(predicate.tags));
    }
    if let Some(HoursOfDay { start, end, tz }) = &predicate.time_of_day {
        given.insert("timeOfDay".into(), json!({ "start": start, "end": end, "tz": tz }));
    }
    Value::Object(given)
}

/// What one rule would do, as answers show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviewView {
    /// Whether it matches.
    pub matches: bool,
    /// Its action, if it does.
    #[schemars(with = "Option<OneOf<Action>>")]
    pub action: Option<Action>,
    /// The parts of its predicate that do not hold.
    pub failed_predicates: Vec<&'static str>,
    /// The earlier rule that would win.
    #[schemars(with = "Option<Uuid>")]
    pub shadowed_by: Option<RuleId>,
}

impl From<Preview> for PreviewView {
    fn from(preview: Preview) -> Self {
        Self {
            matches: preview.action.is_some(),
            action: preview.action,
            failed_predicates: preview.failed_predicates,
            shadowed_by: preview.shadowed_by,
        }
    }
}

/// Every rule, in the order of evaluation.
pub async fn list(app: &App, organization: OrganizationId) -> Result<Vec<RuleView>, ReadError> {
    let kept = app.ledger.load::<ApprovalRules>(organization, organization.approval_rules()).await?;
    Ok(kept.state.rules().iter().map(|rule| RuleView::of(organization, rule)).collect())
}

/// Adds a rule under a fresh id.
pub async fn add(
    app: &App,
    call: &Call,
    predicate: Predicate,
    action: Action,
    priority: u32,
    acknowledge_catch_all: bool,
) -> Result<Done<RuleView>, ServiceError<ApprovalRulesError>> {
    let rule_id: RuleId = app.clock.mint();
    let answer = RuleView {
        id: rule_id,
        company_id: call.organization,
        predicate: Some(predicate_as_given(&predicate)),
        action,
        priority,
        version: 1,
    };
    let command = ApprovalRulesCommand::Add { rule_id, predicate, action, priority, acknowledge_catch_all };
    order(app, call, command, answer).await
}

/// Makes a new version of a rule.
pub async fn change(
    app: &App,
    call: &Call,
    rule_id: RuleId,
    patch: RulePatch,
    acknowledge_catch_all: bool,
) -> Result<Done<RuleView>, ServiceError<ApprovalRulesError>> {
    let organization = call.organization;
    let before = app.ledger.load::<ApprovalRules>(organization, organization.approval_rules()).await?;
    let rule = before.state.rule(rule_id).ok_or(ServiceError::Refused(ApprovalRulesError::Unknown))?;
    let predicate = patch.predicate.as_ref().or(rule.predicate.value());
    let answer = RuleView {
        predicate: predicate.map(predicate_as_given),
        action: patch.action.unwrap_or(rule.action),
        priority: patch.priority.unwrap_or(rule.priority),
        version: rule.version + 1,
        ..RuleView::of(organization, rule)
    };
    order(app, call, ApprovalRulesCommand::Change { rule_id, patch, acknowledge_catch_all }, answer).await
}

/// Removes a rule; the answer is the rule as it was.
pub async fn remove(
    app: &App,
    call: &Call,
    rule_id: RuleId,
) -> Result<Done<RuleView>, ServiceError<ApprovalRulesError>> {
    let organization = call.organization;
    let before = app.ledger.load::<ApprovalRules>(organization, organization.approval_rules()).await?;
    let rule = before.state.rule(rule_id).ok_or(ServiceError::Refused(ApprovalRulesError::Unknown))?;
    let answer = RuleView::of(organization, rule);
    order(app, call, ApprovalRulesCommand::Remove { rule_id }, answer).await
}

/// What one rule would do with a message.
pub async fn preview(
    app: &App,
    organization: OrganizationId,
    rule_id: RuleId,
    facts: &Facts,
    at: Timestamp,
) -> Result<PreviewView, ServiceError<ApprovalRulesError>> {
    let kept = app.ledger.load::<ApprovalRules>(organization, organization.approval_rules()).await?;
    kept.state.preview(rule_id, facts, at).map(PreviewView::from).map_err(ServiceError::Refused)
}

/// Decisions that one back-test looks at, at most.
const DECISIONS_MAX: u64 = 200_000;
/// Decisions read at once.
const PORTION: u32 = 2_000;
/// Examples shown.
const EXAMPLES_MAX: usize = 50;

/// A rule that is tried out: it has no id yet.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What it matches.
    pub predicate: Predicate,
    /// What it does.
    pub action: Action,
    /// Smaller ones are asked first; among equals the one given first.
    pub priority: u32,
}

/// What other rules would have done, as answers show it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SimulationView {
    /// Decisions looked at.
    pub decisions: u64,
    /// Whether there are more of them than one back-test looks at.
    pub truncated: bool,
    /// Asked a person, and would not have.
    pub newly_auto_approved: u64,
    /// Went out, and would have asked a person.
    pub newly_queued: u64,
    /// The same action as it was.
    pub unchanged: u64,
    /// The first of those that differ.
    pub examples: Vec<Value>,
}

/// Replays what was decided from `from` up to and without `to` under other rules. Appends nothing.
pub async fn simulate(
    app: &App,
    organization: OrganizationId,
    (from, to): (Timestamp, Timestamp),
    candidates: Vec<Candidate>,
) -> Result<SimulationView, ServiceError<ApprovalRulesError>> {
    let mut candidate_rules = Vec::with_capacity(candidates.len());
    for (born, Candidate { predicate, action, priority }) in (0_u64..).zip(candidates) {
        // What would be one mistake in earnest is the very question here.
        check(&predicate, action, priority, true).map_err(ServiceError::Refused)?;
        let rule_id = RuleId(Uuid::from_u128(born.into()));
        let predicate = Personal::known(rule_id.uuid(), predicate);
        candidate_rules.push(Rule { rule_id, version: 1, predicate, action, priority, born });
    }
    let candidate_rules = in_order(candidate_rules);
    let mut view = app.readside.view(organization, Consistency::STRONG).await?;
    let mut past = Vec::new();
    let mut after = None;
    let truncated = loop {
        let rows = messages::decisions(&mut view, organization, (from, to), after, PORTION).await?;
        let more = rows.len() == PORTION as usize;
        after = rows.last().map(|row| (row.at, row.position));
        past.extend(rows.into_iter().map(past_decision));
        match (more, past.len() as u64 >= DECISIONS_MAX) {
            (false, _) => break false,
            (true, true) => break true,
            (true, false) => (),
        }
    };
    drop(view);
    let Simulation { counts, examples } = rules::simulate(&candidate_rules, past, EXAMPLES_MAX);
    let candidate = |rule: Option<RuleRef>| rule.map(|rule| rule.rule_id.uuid().as_u128() as u64);
    Ok(SimulationView {
        decisions: counts.decisions,
        truncated,
        newly_auto_approved: counts.newly_auto_approved,
        newly_queued: counts.newly_queued,
        unchanged: counts.decisions - counts.newly_auto_approved - counts.newly_queued,
        examples: examples
            .into_iter()
            .map(|Difference { message_id, at, was, would_be }| {
                json!({
                    "activityId": message_id,
                    "at": at,
                    "was": {
                        "action": was.action,
                        "ruleId": was.rule.map(|rule| rule.rule_id),
                        "ruleVersion": was.rule.map(|rule| rule.version),
                    },
                    "wouldBe": { "action": would_be.action, "candidate": candidate(would_be.rule) },
                })
            })
            .collect(),
    })
}

fn past_decision(row: DecisionRow) -> PastDecision {
    let rule = row.rule_id.zip(row.rule_version).map(|(rule_id, version)| RuleRef { rule_id, version });
    let action = if row.auto_approved { Action::AutoApprove } else { Action::QueueForManual };
    PastDecision {
        message_id: row.message_id,
        facts: Some(facts(row.channel, row.niche, row.tags)),
        at: row.at,
        verdict: Verdict { rule, action },
    }
}

/// The answer as it is stored for a repetition is what is foreseen; the answer given is what became of it.
async fn order(
    app: &App,
    call: &Call,
    command: ApprovalRulesCommand,
    foreseen: RuleView,
) -> Result<Done<RuleView>, ServiceError<ApprovalRulesError>> {
    let organization = call.organization;
    let decided = app
        .ledger
        .order::<ApprovalRules>(
            organization,
            organization.approval_rules(),
            call.command_id,
            call.at,
            &call.origin,
            call.request(&foreseen)?,
            command,
        )
        .await?;
    let entity = decided.state.rule(foreseen.id).map_or(foreseen, |rule| RuleView::of(organization, rule));
    Ok(Done { entity, appended: decided.appended })
}

/// What a channel's name is read into, for whoever asks a rule.
pub fn facts(channel: Channel, niche: Option<String>, tags: Vec<String>) -> Facts {
    Facts { channel, labels: Labels { niche, tags } }
}
