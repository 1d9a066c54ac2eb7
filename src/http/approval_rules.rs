//! Approval rules of a company, and what they would do.

use axum::extract::{OriginalUri, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use docket_aggregates::approval_rules::{
    Action, ApprovalRulesError, NicheIs, PRIORITY_MAX, Predicate, RulePatch,
};
use docket_aggregates::calendar::HoursOfDay;
use docket_aggregates::channel::Channel;
use docket_aggregates::ids::RuleId;
use docket_aggregates::labels::{TAG_BYTES_MAX, TAGS_MAX};
use serde_json::{Value, json};

use super::HttpState;
use super::call::{Admitted, replay, settle};
use super::content_pieces::tag;
use super::error::ApiError;
use super::input::{
    Body, Fields, among, boolean, instant, line, list as list_of, one_of, path_id, whole_number,
};
use super::outboxes::niche;
use super::reply;
use super::short_lists::Asked;
use super::spec::{Spec, object, schema};
use crate::approval_rules::{self, Candidate, PreviewView, RuleView, SimulationView, facts};
use crate::shapes;

const ACTIONS: &[(&str, Option<Action>)] =
    &[("auto_approve", Some(Action::AutoApprove)), ("queue_for_manual", Some(Action::QueueForManual))];

/// Rules in one back-test, at most.
const CANDIDATES_MAX: usize = 1_000;
/// Rules of a page: as many as there may be, because what one of them does depends on those before it.
const PAGE_MAX: i64 = 1_000;

impl From<ApprovalRulesError> for ApiError {
    fn from(error: ApprovalRulesError) -> Self {
        let message = error.to_string();
        match error {
            ApprovalRulesError::Unknown => Self::not_found("RULE_NOT_FOUND", "approval rule"),
            ApprovalRulesError::AlreadyAdded => Self::conflict("ALREADY_ADDED", message),
            ApprovalRulesError::Erased => Self::unprocessable("ERASED", message),
            ApprovalRulesError::CatchAll => Self::unprocessable("CATCH_ALL", message),
            ApprovalRulesError::TooMany => Self::unprocessable("TOO_MANY_RULES", message),
            ApprovalRulesError::Priority => Self::field("priority", "OUT_OF_RANGE", message),
            ApprovalRulesError::Label(_) => Self::field("predicate", "INVALID_LABEL", message),
            ApprovalRulesError::Hours(_) => Self::field("predicate.timeOfDay", "INVALID_HOURS", message),
        }
    }
}

/// A channel that rules are asked about. A dry run ends before them, so that a rule for it would never match.
fn ruled_channel(value: Value) -> Result<Channel, super::input::Problem> {
    match one_of::<Channel>(value)? {
        Channel::DryRun => {
            let names: Vec<&str> = ruled_channels().map(Channel::name).collect();
            Err((
                "UNKNOWN_VALUE",
                format!("must be one of {}: no rule is asked about a dry run", names.join(", ")),
            ))
        }
        channel => Ok(channel),
    }
}

fn ruled_channels() -> impl Iterator<Item = Channel> {
    Channel::ALL.into_iter().filter(|channel| *channel != Channel::DryRun)
}

fn predicate(fields: &mut Fields) -> Predicate {
    Predicate {
        channel: fields.patched("channel", ruled_channel),
        niche: fields.clearable("niche", niche).map(|niche| niche.map_or(NicheIs::Absent, NicheIs::Slug)),
        tags: fields.patched("tags", list_of(TAGS_MAX, tag)).unwrap_or_default(),
        time_of_day: fields.patched_nested("timeOfDay", |hours| HoursOfDay {
            start: hours.required("start", line(5)),
            end: hours.required("end", line(5)),
            tz: hours.required("tz", line(64)),
        }),
    }
}

fn priority(value: Value) -> Result<u32, super::input::Problem> {
    whole_number(0, i64::from(PRIORITY_MAX))(value)
        .map(|priority| u32::try_from(priority).unwrap_or(PRIORITY_MAX))
}

fn tags_shape() -> Value {
    shapes::list(TAGS_MAX, shapes::line(TAG_BYTES_MAX))
}

fn predicate_shape() -> Value {
    let time = || json!({ "type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$" });
    let channels: Vec<&str> = ruled_channels().map(Channel::name).collect();
    object([
        ("channel", json!({ "type": "string", "enum": channels })),
        ("niche", shapes::or_null(shapes::slug())),
        ("tags", tags_shape()),
        ("timeOfDay", object([("start!", time()), ("end!", time()), ("tz!", shapes::line(64))])),
    ])
}

fn priority_shape() -> Value {
    shapes::integer(0, i64::from(PRIORITY_MAX))
}

/// What the reference says of [`list`].
pub fn listing() -> Spec {
    Spec::new("List the approval rules in the order of evaluation").page(
        schema::<RuleView>(),
        PAGE_MAX,
        shapes::id(),
        "The id of the last one seen.",
    )
}

/// What the reference says of [`add`].
pub fn adding() -> Spec {
    Spec::new("Add an approval rule")
        .body(object([
            ("predicate!", predicate_shape()),
            ("action!", shapes::one_of::<Action>()),
            ("priority!", priority_shape()),
            ("acknowledgeCatchAll", shapes::or_null(shapes::boolean())),
        ]))
        .answers(201, "The rule", schema::<RuleView>())
}

/// What the reference says of [`change`].
pub fn changing() -> Spec {
    Spec::new("Make a new version of an approval rule; the predicate is replaced whole")
        .patch([
            ("predicate", predicate_shape()),
            ("action", shapes::one_of::<Action>()),
            ("priority", priority_shape()),
            ("acknowledgeCatchAll", shapes::or_null(shapes::boolean())),
        ])
        .answers(200, "The rule", schema::<RuleView>())
}

/// What the reference says of [`remove`].
pub fn removing() -> Spec {
    Spec::new("Remove an approval rule").answers(200, "The rule as it was", schema::<RuleView>())
}

/// What the reference says of [`preview`].
pub fn previewing() -> Spec {
    Spec::new("Ask what one rule would do with a message; nothing is recorded")
        .body(object([
            ("channel!", shapes::one_of::<Channel>()),
            ("niche", shapes::or_null(shapes::slug())),
            ("tags", shapes::or_null(tags_shape())),
            ("at", shapes::or_null(shapes::instant())),
        ]))
        .answers(200, "What it would do", schema::<PreviewView>())
}

/// What the reference says of [`simulate`].
pub fn simulating() -> Spec {
    let rule = object([
        ("predicate!", predicate_shape()),
        ("action!", shapes::one_of::<Action>()),
        ("priority!", priority_shape()),
        ("acknowledgeCatchAll", shapes::or_null(shapes::boolean())),
    ]);
    Spec::new("Ask what other rules would have done with what was decided; nothing is recorded")
        .body(object([
            ("from!", shapes::instant()),
            ("to!", shapes::instant()),
            ("candidateRules!", shapes::list(CANDIDATES_MAX, rule)),
        ]))
        .answers(200, "How it would differ", schema::<SimulationView>())
}

/// `GET .../crm/approval-rules?limit=&after=`: in the order of evaluation.
pub async fn list(
    State(state): State<HttpState>,
    admitted: Admitted,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, ApiError> {
    let asked = Asked::of_query(&uri, PAGE_MAX)?;
    let rules = approval_rules::list(&state.app, admitted.organization).await?;
    asked.answer(&rules, |rule| rule.id.uuid(), &uri)
}

/// `POST .../crm/approval-rules`: `{predicate, action, priority, acknowledgeCatchAll?}`.
pub async fn add(
    State(state): State<HttpState>,
    admitted: Admitted,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    let predicate = fields.required_nested("predicate", predicate);
    let action = fields.required("action", among(ACTIONS));
    let priority = fields.required("priority", priority);
    let acknowledge = fields.optional("acknowledgeCatchAll", boolean).unwrap_or(false);
    fields.finish()?;
    let Some(action) = action else {
        return Err(ApiError::field("action", "REQUIRED", "is required"));
    };
    if let Some(answer) = replay(&state, &call, StatusCode::CREATED).await? {
        return Ok(answer);
    }
    let added = approval_rules::add(&state.app, &call, predicate, action, priority, acknowledge).await;
    settle(added, StatusCode::CREATED)
}

/// `PATCH .../crm/approval-rules/{ruleId}`: `{predicate?, action?, priority?, acknowledgeCatchAll?}`. A new version; the
/// predicate is replaced whole.
pub async fn change(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, rule)): Path<(String, String)>,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let rule: RuleId = path_id("ruleId", &rule)?;
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    fields.not_empty();
    let patch = RulePatch {
        predicate: fields.patched_nested("predicate", predicate),
        action: fields.patched("action", among(ACTIONS)).flatten(),
        priority: fields.patched("priority", priority),
    };
    let acknowledge = fields.optional("acknowledgeCatchAll", boolean).unwrap_or(false);
    fields.finish()?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(approval_rules::change(&state.app, &call, rule, patch, acknowledge).await, StatusCode::OK)
}

/// `DELETE .../crm/approval-rules/{ruleId}`.
pub async fn remove(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, rule)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let rule: RuleId = path_id("ruleId", &rule)?;
    let call = admitted.call(&Value::Null)?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(approval_rules::remove(&state.app, &call, rule).await, StatusCode::OK)
}

/// `POST .../crm/approval-rules/{ruleId}/preview`: `{channel, niche?, tags?, at?}`. Appends nothing.
pub async fn preview(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, rule)): Path<(String, String)>,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let rule: RuleId = path_id("ruleId", &rule)?;
    let mut fields = Fields::of_body(body)?;
    let channel = fields.required("channel", |value| one_of::<Channel>(value).map(Some));
    let niche = fields.optional("niche", niche);
    let tags = fields.optional("tags", list_of(TAGS_MAX, tag)).unwrap_or_default();
    let at = fields.optional("at", instant).unwrap_or(admitted.at);
    fields.finish()?;
    let Some(channel) = channel else {
        return Err(ApiError::field("channel", "REQUIRED", "is required"));
    };
    let facts = facts(channel, niche, tags);
    let preview = approval_rules::preview(&state.app, admitted.organization, rule, &facts, at).await?;
    Ok(reply::json(StatusCode::OK, &preview))
}

/// `POST .../crm/approval-rules/simulate`: `{from, to, candidateRules}`. Appends nothing.
pub async fn simulate(
    State(state): State<HttpState>,
    admitted: Admitted,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of_body(body)?;
    let from = fields.required("from", instant);
    let to = fields.required("to", instant);
    let candidates = fields.nested_list("candidateRules", CANDIDATES_MAX, candidate);
    if candidates.is_none() {
        fields.problem("candidateRules", "REQUIRED", "is required");
    }
    if to <= from {
        fields.problem("to", "EMPTY_INTERVAL", "must be after from");
    }
    fields.finish()?;
    let candidates = candidates.into_iter().flatten().flatten().collect();
    let simulated =
        approval_rules::simulate(&state.app, admitted.organization, (from, to), candidates).await?;
    Ok(reply::json(StatusCode::OK, &simulated))
}

fn candidate(rule: &mut Fields) -> Option<Candidate> {
    let predicate = rule.required_nested("predicate", predicate);
    let action = rule.required("action", among(ACTIONS));
    let priority = rule.required("priority", priority);
    rule.optional("acknowledgeCatchAll", boolean);
    Some(Candidate { predicate, action: action?, priority })
}
