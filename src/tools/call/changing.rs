//! A call that may change something: planned first, then shown, kept as a preview, compared with one, or recorded.
//!
//! Whoever lost a race once takes turns with the others. What ends a call without a record is told only of the state as it
//! is now.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use docket_aggregates::ids::OrganizationId;
use docket_projections::campaign_counters::Totals;
use serde_json::Value;

use super::options::{ChangeOptions, ConfirmOption, OnDrift, effective_dry_run, options, without};
use super::replaying::{Kept, of_token, replay};
use crate::app::App;
use crate::credentials::Caller;
use crate::envelope::{Meta, Warning};
use crate::flights::Flight;
use crate::ledger::{AppendError, Command, Origin, Request};
use crate::previews::{self, Preview, Shown};
use crate::tools::context::{Bound, Call, LIMIT, ReadOptions, ToolContext};
use crate::tools::draft::{PlanFn, Risk};
use crate::tools::plan::{Mint, Plan};
use crate::tools::progress::{Progress, Step};
use crate::tools::refusal::{Drift, Refusal, ToolResult};
use crate::tools::tool::Tool;

/// How often a plan that lost a race is made anew.
const TRIES: usize = 20;
/// The longest rest before a plan is made anew, where it lost although it was its turn in this process: to another
/// process, then. Doubled each time, up to the most.
const REST: Duration = Duration::from_millis(5);
const REST_MAX: Duration = Duration::from_millis(160);
/// Input members that only say how a plan is to be applied.
const APPLY_OPTIONS: [&str; 4] = ["dryRun", "confirm", "previewToken", "onDrift"];

/// One call that may change something.
pub(super) struct Change<'a> {
    pub(super) app: &'a App,
    pub(super) caller: &'a Caller,
    pub(super) tool: &'a Tool,
    pub(super) run: &'a PlanFn,
    pub(super) organization: OrganizationId,
    pub(super) reason: Option<String>,
    pub(super) request_id: Option<String>,
    pub(super) options: ChangeOptions,
    pub(super) input: Value,
    pub(super) progress: Progress,
    pub(super) asks: bool,
}

impl Change<'_> {
    pub(super) async fn run(self, meta: &mut Meta) -> ToolResult<Value> {
        let confirm = options::<ConfirmOption>(&self.input)?.confirm;
        let gated = self.tool.gated(&self.input);
        let dry_run = effective_dry_run(gated, self.options.dry_run, confirm)?;
        meta.dry_run = dry_run;

        // The answer to a repeated request comes before anything that depends on the present state. Where a plan is
        // made quickly and nobody else was at it, the append may find that answer.
        // How a change is applied is no part of what is asked for: confirmed with a preview's token or without one, it is
        // the same request.
        let request_input = without(&self.input, &APPLY_OPTIONS)?;
        let flight = if dry_run { None } else { self.enter().await };
        let waited = flight.as_ref().is_some_and(Flight::waited);
        let append_finds_it = self.tool.risk == Risk::Write && !waited;
        if (self.asks || !dry_run && !append_finds_it)
            && let Some(stored) = self.stored(&request_input).await?
        {
            return replay(stored, meta);
        }
        match self.attempt(dry_run, &request_input, meta).await {
            // What is refused now may be just what this request did a moment ago, at another process or in a call that
            // was given up.
            Err(refusal) if !dry_run => match self.answered_meanwhile(&request_input).await {
                Ok(Some(stored)) => self.replay_here(stored, &request_input, meta).await,
                Err(Refusal::Append(AppendError::RequestConflict)) => {
                    Err(AppendError::RequestConflict.into())
                }
                _ => Err(refusal),
            },
            answered_or_refused => answered_or_refused,
        }
    }

    /// Plans the change, and shows, keeps or records the plan.
    async fn attempt(&self, dry_run: bool, request_input: &str, meta: &mut Meta) -> ToolResult<Value> {
        let preview = match &self.options.preview_token {
            None => None,
            Some(token) => Some(self.preview(token, request_input).await?),
        };
        let first = match &preview {
            Some(preview) => Mint::replay(preview.shown.seed, preview.shown.at),
            None => Mint::fresh(&self.app.clock),
        };
        if preview.is_some()
            && !dry_run
            && let Some(stored) = self.app.ledger.answer_of(self.organization, first.command_id()).await?
        {
            return self.replay_here(stored, request_input, meta).await;
        }

        let bound = preview.as_ref().map(|preview| Bound {
            effects: Arc::new(preview.effects.clone()),
            intersect: self.options.on_drift == Some(OnDrift::Intersect),
        });
        let call = Arc::new(Call {
            app: self.app.clone(),
            caller: self.caller.clone(),
            organization: self.organization,
            now: first.at(),
            read: ReadOptions::default(),
            limit: LIMIT,
            cursor: None,
            bound,
        });
        // A preview says what it was made of, also where its tool asks the streams alone: they hold at least this much.
        let before = if dry_run { self.head().await? } else { None };
        let (mut turn, mut took_turns) = (None, false);
        let mut rest = REST;
        let mut by_memory = !dry_run;
        let mut lost = AppendError::Conflict;
        for _ in 0..TRIES {
            self.progress.tell(Step::Resolving);
            let plan_with = |context: &ToolContext| {
                let mint = Mint::replay(first.seed(), first.at());
                (self.run)(context.clone(), self.input.clone(), mint)
            };
            let now = || ToolContext::new(call.clone());
            let mut context = if by_memory { ToolContext::by_memory(call.clone()) } else { now() };
            let mut planned = plan_with(&context).await;
            // What ends the call without a record is told only of the state as it is now: a refusal, a "nothing to do", a
            // drift, a limit.
            let recordable = planned.as_ref().is_ok_and(|plan| {
                let affected = affected(plan, context.notes().affected);
                !plan.writes.is_empty() && drifted(&call, plan).is_none() && !self.exceeds(affected)
            });
            // Nor is it asked again of a read side that is behind: whoever waited for it once has waited long enough.
            let behind = matches!(planned, Err(Refusal::ReadSide(_)));
            if !recordable && !behind && context.notes().from_memory {
                context = now();
                planned = plan_with(&context).await;
            }
            by_memory = false;
            let plan = planned?;
            if let Some(drift) = drifted(&call, &plan) {
                return Err(Refusal::PreviewDrift(drift));
            }
            let mut notes = context.notes();
            notes.position = notes.position.or(before);
            meta.position = notes.position;
            meta.truncated = notes.truncated;
            let affected = affected(&plan, notes.affected);
            self.progress.tell(Step::Planned { affected, dry_run });
            if let Some(max) = self.caller.max_affected.filter(|_| self.exceeds(affected)) {
                let refusal = Refusal::TooManyAffected { affected, max };
                // What the caller may not apply is not put to a person.
                if !dry_run || self.asks {
                    return Err(refusal);
                }
                let (code, message) = (refusal.told().code.to_owned(), refusal.to_string());
                meta.warnings.push(Warning { code, message, path: None });
            }
            if dry_run {
                let token = match &self.options.preview_token {
                    Some(token) => token.clone(),
                    None => {
                        let shown = Shown {
                            tool: self.tool.name.to_owned(),
                            input: request_input.to_owned(),
                            seed: first.seed(),
                            at: first.at(),
                            data: plan.answer.clone(),
                            warnings: notes.warnings.clone(),
                        };
                        let preview = Preview { shown, effects: plan.effects };
                        previews::save(&self.app.ledger, self.organization, self.caller.token_id, &preview)
                            .await?
                    }
                };
                meta.preview_token = Some(token);
                meta.warnings.extend(notes.warnings);
                return Ok(completed(plan.answer, true, notes.position));
            }

            // What a token came to is kept also where that is nothing: shown again, it has no other effect.
            let named = self.request_id.is_some() || self.options.preview_token.is_some();
            if plan.writes.is_empty() && !named {
                meta.warnings.extend(notes.warnings);
                return Ok(completed(plan.answer, false, notes.position));
            }
            // What is applied by a token is answered alike as often as the token is shown, with a request id or without.
            let of_token = self.options.preview_token.as_deref().map(of_token);
            let (name, alias) = match &self.request_id {
                Some(request_id) => (Some(request_id.clone()), of_token),
                None => (of_token, None),
            };
            let kept = Kept {
                data: Cow::Borrowed(&plan.answer),
                warnings: Cow::Borrowed(&notes.warnings),
                truncated: notes.truncated,
                of: None,
            };
            let kept = kept.written()?;
            let lane = plan.lane();
            // What others write to as well comes first. Where several are of one kind, one of them, and the same one for
            // whoever writes to them in another order.
            let kind = plan.writes.first().map(|write| write.stream.aggregate_type);
            let of_kind = plan.writes.iter().filter(|write| Some(write.stream.aggregate_type) == kind);
            let contended = of_kind.map(|write| write.stream.id).min();
            let command = Command {
                id: first.command_id(),
                organization: self.organization,
                at: first.at(),
                origin: self.origin(),
                writes: plan.writes,
                guards: plan.guards,
                absent: plan.absent,
                counted_at: notes.counted_at,
                request: name.map(|request_id| Request {
                    request_id,
                    alias,
                    input: request_input.to_owned(),
                    answer: kept,
                }),
                lane,
            };
            match self.app.ledger.append(command).await {
                Ok(appended) => {
                    self.progress.tell(Step::Recorded);
                    // The same command was recorded by another call: what that one was answered counts.
                    if appended.duplicate
                        && let Some(stored) =
                            self.app.ledger.answer_of(self.organization, appended.command_id).await?
                    {
                        return self.replay_here(stored, request_input, meta).await;
                    }
                    // Not sooner: a plan may be made again for what was recorded long ago.
                    if let Some(campaign) = notes.begins.filter(|_| !appended.duplicate) {
                        let (readside, none) = (&self.app.readside, Totals::default());
                        readside.remember_totals(self.organization, campaign, none, appended.position);
                    }
                    meta.audit_id = Some(appended.command_id.uuid());
                    meta.position = Some(appended.position);
                    meta.idempotent_replay = appended.duplicate;
                    meta.warnings.extend(notes.warnings);
                    return Ok(completed(plan.answer, false, Some(appended.position)));
                }
                // Whoever lost once takes turns with the others, so that a crowd ends in an order and not in refusals.
                // A claim that somebody else took is a race as well: made anew, the plan finds what the other began.
                Err(error @ (AppendError::Conflict | AppendError::Taken(_))) => {
                    lost = error;
                    match (&turn, contended) {
                        (None, Some(stream)) if !took_turns => {
                            took_turns = true;
                            turn = self.app.ledger.turn(stream).await;
                        }
                        _ => {
                            tokio::time::sleep(rest.mul_f64(rand::random())).await;
                            rest = (rest * 2).min(REST_MAX);
                        }
                    }
                }
                Err(AppendError::Replayed(stored)) => return replay(*stored, meta),
                Err(error) => {
                    if let AppendError::OutcomeUnknown(command) = &error {
                        meta.audit_id = Some(command.uuid());
                    }
                    return Err(error.into());
                }
            }
        }
        Err(lost.into())
    }

    /// Who calls, and with what.
    pub(super) fn origin(&self) -> Origin {
        Origin {
            actor: self.caller.actor(),
            tool: self.tool.name.to_owned(),
            request_id: self.request_id.clone(),
            run_id: None,
            reason: self.reason.clone(),
            causation: None,
        }
    }

    /// Whether so many contacts are more than the token may change with one call.
    fn exceeds(&self, affected: u64) -> bool {
        self.caller.max_affected.is_some_and(|max| affected > max)
    }

    /// The preview of a token, if it was made by this tool for this input.
    pub(super) async fn preview(&self, token: &str, input: &str) -> ToolResult<Preview> {
        let preview = previews::load(&self.app.ledger, self.organization, token).await?;
        if preview.shown.tool == self.tool.name && preview.shown.input == input {
            Ok(preview)
        } else {
            Err(Refusal::PreviewMismatch)
        }
    }

    /// Position of the organization's last event.
    async fn head(&self) -> ToolResult<Option<i64>> {
        let head = sqlx::query_scalar("SELECT position FROM ledger.heads WHERE organization_id = $1")
            .bind(self.organization.uuid())
            .fetch_optional(self.app.ledger.pool())
            .await?;
        Ok(head)
    }
}

/// How a plan differs from the preview that it applies, as far as that stands in its way.
fn drifted(call: &Call, plan: &Plan<Value>) -> Option<Drift> {
    let bound = call.bound.as_ref()?;
    bound.effects.drift(&plan.effects).filter(|drift| !bound.intersect || drift.added > 0)
}

/// How many contacts a plan would change: bulk answers count them as `applied`, the other tools say so themselves.
fn affected(plan: &Plan<Value>, said: u64) -> u64 {
    if plan.writes.is_empty() { 0 } else { plan.answer["applied"].as_u64().unwrap_or(said) }
}

/// The data of a change with what only the framework knows.
pub(super) fn completed(mut data: Value, dry_run: bool, position: Option<i64>) -> Value {
    if let Some(data) = data.as_object_mut() {
        data.insert("dryRun".to_owned(), dry_run.into());
        data.insert("position".to_owned(), position.into());
    }
    data
}
