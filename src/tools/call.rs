//! One call to a tool, from the body to the envelope.
//!
//! The order of the checks is part of the contract: role, tool, body, organization id, organization, module, schema,
//! and only then what the tool itself has to say. An outsider learns nothing about what exists.
//!
//! A read is one function. A change is planned first; here alone it is decided whether the plan is only shown, kept as
//! a preview, compared with one, or recorded. A plan that lost a race is made anew, twenty times at most.
//!
//! Calls that are one request, by their request id or by the token of one preview, have one answer: the one that was kept
//! with the events. One of them works while the others wait, and no refusal is told before it is certain that the
//! change has not been recorded meanwhile.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use docket_aggregates::ids::{CommandId, OrganizationId, PrincipalId};
use docket_aggregates::token::Role;
use docket_projections::Total;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::concise;
use super::context::{Bound, Call, LIMIT, PageOptions, ReadOptions, ToolContext};
use super::cursor::{Cursor, List};
use super::draft::{PlanFn, ReadFn, Run};
use super::plan::{Mint, Plan};
use super::progress::{Progress, Step};
use super::refusal::{Drift, FieldError, Refusal, ToolResult};
use super::{CONTRACT, Risk, Tool, catalog};
use crate::app::App;
use crate::credentials::Caller;
use crate::envelope::{Answer, Meta, Pagination, Warning};
use crate::flights::{Flight, FlightKey};
use crate::ledger::{AppendError, Command, Lane, Origin, Request, StoredAnswer, canonical};
use crate::previews::{self, Preview, Shown};
use crate::spelling::nearest;

/// How often a plan that lost a race is made anew.
const TRIES: usize = 20;
/// The longest rest before a plan is made anew, where it lost although it was its turn in this process: to another
/// process, then. Doubled each time, up to the most.
const REST: Duration = Duration::from_millis(5);
const REST_MAX: Duration = Duration::from_millis(160);
/// How often a page that is too long is made anew with fewer rows.
const PAGE_TRIES: usize = 3;
/// How long a call waits for another one that is the same request, before it makes a plan of its own.
const FLIGHT_WITHIN: Duration = Duration::from_secs(15);
/// Input members that only say how an answer is to be made.
const READ_OPTIONS: [&str; 6] = ["limit", "cursor", "responseFormat", "consistency", "minPosition", "asOf"];
/// Input members that only say how a plan is to be applied.
const APPLY_OPTIONS: [&str; 4] = ["dryRun", "confirm", "previewToken", "onDrift"];

/// Whether a plan that differs from its preview is applied as far as it was shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum OnDrift {
    /// Nothing happens: 409 `PREVIEW_DRIFT`.
    #[default]
    Refuse,
    /// What was shown and is still possible happens.
    Intersect,
}

/// What every change takes.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ChangeOptions {
    /// Only show what would happen, and change nothing.
    pub dry_run: Option<bool>,
    /// Apply exactly what a preview showed: its meta.previewToken, with the same input.
    #[schemars(length(min = 1, max = 200))]
    pub preview_token: Option<String>,
    /// What to do if the affected set differs from the preview's.
    pub on_drift: Option<OnDrift>,
}

/// What a change takes that must be confirmed.
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub(super) struct ConfirmOption {
    /// Must be true to apply; without it the call only shows what would happen.
    pub confirm: Option<bool>,
}

/// Whether only a preview is made. `dryRun: true` beats `confirm: true`; applying what needs confirmation without it
/// is refused.
pub fn effective_dry_run(gated: bool, dry_run: Option<bool>, confirm: Option<bool>) -> ToolResult<bool> {
    let confirmed = confirm == Some(true);
    match (gated, dry_run) {
        (false, dry_run) => Ok(dry_run.unwrap_or(false)),
        (true, Some(false)) if !confirmed => Err(Refusal::ConfirmRequired),
        (true, dry_run) => Ok(dry_run.unwrap_or(!confirmed)),
    }
}

/// The tool, if the caller may use it. The role is judged first, so that outsiders cannot find out what exists.
pub fn admit(caller: &Caller, name: &str) -> ToolResult<&'static Tool> {
    if caller.role != Role::SuperAdmin {
        return Err(Refusal::NotSuperAdmin);
    }
    let tool = catalog().get(name).ok_or_else(|| {
        if CONTRACT.contains(&name) {
            return Refusal::ToolNotYet(name.to_owned());
        }
        let nearest = nearest(name, catalog().iter().map(|tool| tool.name));
        Refusal::UnknownTool { name: name.chars().take(120).collect(), nearest }
    })?;
    if !caller.may_call(name) {
        return Err(Refusal::ToolNotInScope(name.to_owned()));
    }
    Ok(tool)
}

/// The organization of that id, if the caller may enter it and its module is on.
pub async fn enter(app: &App, caller: &Caller, text: &str) -> ToolResult<OrganizationId> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if text.is_empty() || text.len() > 64 || !text.chars().all(fits) {
        return Err(Refusal::OrganizationIdInvalid);
    }
    let id: OrganizationId = text.parse().map_err(|_| Refusal::UnknownOrganization)?;
    if id == OrganizationId::INSTANCE || caller.organization_id.is_some_and(|own| own != id) {
        return Err(Refusal::UnknownOrganization);
    }
    let organization = app.workspaces.get(&app.ledger, id).await?.ok_or(Refusal::UnknownOrganization)?;
    if organization.crm_enabled() { Ok(id) } else { Err(Refusal::ModuleDisabled) }
}

/// Answers one call to the tool `name`. `body` is what was sent, read strictly or refused.
pub async fn answer(app: &App, caller: &Caller, name: &str, body: ToolResult<Value>) -> Answer {
    answer_to(app, caller, name, body, Listener::default()).await
}

/// What a surface wants of a call beside its answer.
#[derive(Clone, Debug, Default)]
pub struct Listener {
    /// Where it is told how far a bulk call has come.
    pub progress: Progress,
    /// Whether a preview is put to a person who may have it applied at once. Then a request that was applied before is
    /// answered and not shown again, and what the caller may not apply is refused and not shown.
    pub asks: bool,
}

/// The same for a surface that listens: it is told on the way how far a bulk call has come, and what it is answered may
/// be put to a person.
pub async fn answer_to(
    app: &App,
    caller: &Caller,
    name: &str,
    body: ToolResult<Value>,
    listener: Listener,
) -> Answer {
    let started = Instant::now();
    let mut told = Told::new(app, name);
    told.listener = listener;
    let outcome = told.call(app, caller, name, body).await;
    told.meta.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    match outcome {
        Ok(data) => Answer::success(told.organization, data, told.meta),
        Err(refusal) => Answer::refusal(told.organization, &refusal, told.meta),
    }
}

/// The answer to a call that is refused before its body is looked at.
pub fn refuse(app: &App, name: &str, refusal: &Refusal) -> Answer {
    Answer::refusal(None, refusal, Told::new(app, name).meta)
}

/// The body of a call.
struct Ask {
    organization_id: Option<Value>,
    input: Value,
    reason: Option<String>,
    request_id: Option<String>,
}

impl Ask {
    /// Reads the members of the body, and finds everything that is wrong with them at once.
    fn read(body: Value, meta: &mut Meta) -> ToolResult<Self> {
        let fault = |path: &str, code, message: &str| FieldError {
            path: path.to_owned(),
            code,
            message: message.to_owned(),
        };
        let Value::Object(mut members) = body else {
            return Err(Refusal::Fields(vec![fault("", "WRONG_TYPE", "the body must be a JSON object")]));
        };
        let organization_id = members.remove("organizationId").filter(|id| !id.is_null());
        meta.organization_id = organization_id.as_ref().and_then(Value::as_str).map(str::to_owned);
        let mut faults = Vec::new();
        let mut text = |name: &str, max: usize, lines: bool, faults: &mut Vec<FieldError>| {
            let text = match members.remove(name) {
                None | Some(Value::Null) => return None,
                Some(Value::String(text)) => text.trim().to_owned(),
                Some(_) => {
                    faults.push(fault(name, "WRONG_TYPE", "must be of type string"));
                    return None;
                }
            };
            if text.chars().count() > max {
                faults.push(fault(name, "TOO_LONG", &format!("must have at most {max} characters")));
            } else if !lines && text.contains(char::is_control) {
                faults.push(fault(name, "CONTROL_CHARACTER", "must be a single line without tabs"));
            } else {
                return Some(text);
            }
            None
        };
        let reason = text("reason", 500, true, &mut faults).filter(|reason| !reason.is_empty());
        let request_id = text("requestId", 120, false, &mut faults);
        if request_id.as_deref() == Some("") {
            faults.push(fault("requestId", "TOO_SHORT", "must not be empty"));
        }
        meta.request_id.clone_from(&request_id);
        let input = match members.remove("input") {
            Some(input @ Value::Object(_)) => input,
            Some(_) => {
                faults.push(fault("input", "WRONG_TYPE", "must be of type object"));
                Value::Null
            }
            None => {
                faults.push(fault("input", "REQUIRED", "is required, even when it is empty: {}"));
                Value::Null
            }
        };
        let known = ["organizationId", "input", "reason", "requestId"];
        for name in members.keys() {
            let message = match nearest(name, known) {
                Some(meant) => format!("unknown field {name}; did you mean {meant}?"),
                None => format!("unknown field {name}; the tool's own fields belong into input"),
            };
            faults.push(fault(name, "UNKNOWN_FIELD", &message));
        }
        if faults.is_empty() {
            Ok(Self { organization_id, input, reason, request_id })
        } else {
            Err(Refusal::Fields(faults))
        }
    }
}

/// What is known of a call so far, for its envelope.
struct Told {
    meta: Meta,
    organization: Option<OrganizationId>,
    listener: Listener,
}

impl Told {
    fn new(app: &App, name: &str) -> Self {
        let audit_id: CommandId = app.clock.mint();
        Self {
            meta: Meta {
                tool_name: Some(name.chars().take(120).collect()),
                audit_id: Some(audit_id.uuid()),
                ..Meta::default()
            },
            organization: None,
            listener: Listener::default(),
        }
    }

    async fn call(
        &mut self,
        app: &App,
        caller: &Caller,
        name: &str,
        body: ToolResult<Value>,
    ) -> ToolResult<Value> {
        let tool = admit(caller, name)?;
        let ask = Ask::read(body?, &mut self.meta)?;
        let organization = self.organization(app, caller, tool, ask.organization_id.as_ref()).await?;
        let mut input = ask.input;
        tool.input.trim(&mut input);
        let faults = tool.faults(&mut input).await;
        if !faults.is_empty() {
            return Err(Refusal::Fields(faults));
        }
        match &tool.run {
            Run::Read(run) => {
                let (call, filters) = self.reading(app, caller, tool, organization, &input).await?;
                let (context, data) = self.fitting(tool, run, call, input).await?;
                self.read(app, tool, &context, &filters, data).await
            }
            Run::Plan(run) => {
                let change = Change {
                    app,
                    caller,
                    tool,
                    run,
                    organization,
                    reason: ask.reason,
                    request_id: ask.request_id,
                    options: options(&input)?,
                    input,
                    progress: if tool.bulk() { self.listener.progress.clone() } else { Progress::default() },
                    asks: self.listener.asks,
                };
                change.run(&mut self.meta).await
            }
        }
    }

    async fn organization(
        &mut self,
        app: &App,
        caller: &Caller,
        tool: &Tool,
        given: Option<&Value>,
    ) -> ToolResult<OrganizationId> {
        if !tool.scoped {
            if given.is_some() {
                self.meta.warnings.push(Warning {
                    code: "ORGANIZATION_IGNORED".to_owned(),
                    message: format!("{} looks at every organization; organizationId was ignored", tool.name),
                    path: Some("organizationId".to_owned()),
                });
            }
            return Ok(OrganizationId::INSTANCE);
        }
        let text = given.and_then(Value::as_str).ok_or(Refusal::OrganizationIdInvalid)?;
        let organization = enter(app, caller, text).await?;
        self.organization = Some(organization);
        Ok(organization)
    }

    /// What a read is asked for, and the filters that its cursors are bound to.
    async fn reading(
        &mut self,
        app: &App,
        caller: &Caller,
        tool: &Tool,
        organization: OrganizationId,
        input: &Value,
    ) -> ToolResult<(Call, String)> {
        let read: ReadOptions = options(input)?;
        if read.as_of.is_some() {
            return Err(Refusal::AsOfNotYet);
        }
        let mut page = PageOptions::default();
        let mut cursor = None;
        let filters = without(input, &READ_OPTIONS)?;
        if tool.pages {
            page = options(input)?;
            if let Some(text) = &page.cursor {
                let keys = app.ledger.keys().organization(organization).await?;
                cursor = Some(Cursor::verify(text, &keys, List { tool: tool.name, filters: &filters })?);
            }
        }
        let call = Call {
            app: app.clone(),
            caller: caller.clone(),
            organization,
            now: app.clock.now(),
            read,
            limit: page.limit.unwrap_or(LIMIT),
            cursor,
            bound: None,
        };
        Ok((call, filters))
    }

    /// What a read answers, made to fit unless everything is wanted.
    async fn fitting(
        &mut self,
        tool: &Tool,
        run: &ReadFn,
        mut call: Call,
        input: Value,
    ) -> ToolResult<(ToolContext, Value)> {
        let wanted = call.limit;
        for last in (0..PAGE_TRIES).rev() {
            let context = ToolContext::new(Arc::new(call.clone()));
            let mut data = run(context.clone(), input.clone()).await?;
            if context.detailed() {
                return Ok((context, data));
            }
            let longest = if tool.whole { usize::MAX } else { concise::TEXT_MAX };
            self.meta.truncated |= concise::tidy(&mut data, longest);
            if tool.whole {
                return Ok((context, data));
            }
            if tool.pages {
                if let Some(fewer) = concise::rows_that_fit(&data, call.limit).filter(|_| last > 0) {
                    call.limit = fewer;
                    continue;
                }
                if call.limit < wanted {
                    let shown = call.limit;
                    self.shortened(
                        format!("{shown} rows fit a concise page; the next ones follow with nextCursor"),
                        "limit",
                    );
                }
            } else {
                for cut in concise::cut_lists(&mut data) {
                    let concise::Cut { path, shown, of } = cut;
                    self.shortened(
                        format!("{shown} of {of} {path} fit a concise answer; ask for fewer at a time"),
                        "",
                    );
                }
            }
            return Ok((context, data));
        }
        Err(Refusal::Defect("a page was made too often".into()))
    }

    fn shortened(&mut self, message: String, field: &str) {
        self.meta.truncated = true;
        let path = (!field.is_empty()).then(|| format!("input.{field}"));
        let message = format!("{message}, or send responseFormat detailed");
        self.meta.warnings.push(Warning { code: "SHORTENED".to_owned(), message, path });
    }

    /// The answer of a read: its page is signed.
    async fn read(
        &mut self,
        app: &App,
        tool: &Tool,
        context: &ToolContext,
        filters: &str,
        data: Value,
    ) -> ToolResult<Value> {
        let notes = context.notes();
        self.meta.position = notes.position;
        self.meta.truncated |= notes.truncated;
        self.meta.warnings.extend(notes.warnings);
        if let Some((next, total)) = notes.page {
            let position = notes.position.unwrap_or(0);
            let began = context.call.cursor.as_ref().map_or(position, |cursor| cursor.position);
            let next_cursor = match next {
                None => None,
                Some(after) => {
                    let keys = app.ledger.keys().organization(context.organization()).await?;
                    let cursor = Cursor { after, position: began };
                    Some(cursor.sign(&keys, List { tool: tool.name, filters })?)
                }
            };
            let (total, total_at_least) = match total {
                Total::Exactly(n) => (Some(n), None),
                Total::AtLeast(n) => (None, Some(n)),
            };
            self.meta.pagination = Some(Pagination {
                limit: context.limit(),
                has_more: next_cursor.is_some(),
                next_cursor,
                total,
                total_at_least,
                changed_since: position > began,
            });
        }
        Ok(data)
    }
}

/// One call that may change something.
struct Change<'a> {
    app: &'a App,
    caller: &'a Caller,
    tool: &'a Tool,
    run: &'a PlanFn,
    organization: OrganizationId,
    reason: Option<String>,
    request_id: Option<String>,
    options: ChangeOptions,
    input: Value,
    progress: Progress,
    asks: bool,
}

impl Change<'_> {
    async fn run(self, meta: &mut Meta) -> ToolResult<Value> {
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

    /// Lets the calls of one request go on one after the other. A token is one request, whoever shows it.
    async fn enter(&self) -> Option<Flight> {
        let (principal, name) = match (&self.request_id, &self.options.preview_token) {
            (Some(request_id), _) => (self.caller.principal_id, request_id.clone()),
            (None, Some(token)) => (PrincipalId(uuid::Uuid::nil()), token.clone()),
            (None, None) => return None,
        };
        let key = FlightKey::of(self.organization, principal, self.tool.name, &name);
        Some(self.app.flights.enter(key, FLIGHT_WITHIN).await)
    }

    /// What this request was answered by now, by its request id or by its preview's token.
    async fn answered_meanwhile(&self, request_input: &str) -> ToolResult<Option<StoredAnswer>> {
        if let Some(stored) = self.stored(request_input).await? {
            return Ok(Some(stored));
        }
        let Some(token) = &self.options.preview_token else { return Ok(None) };
        let preview = match self.preview(token, request_input).await {
            Ok(preview) => preview,
            // An answer is remembered for longer than the preview that was applied. Whoever shows the token with another
            // input has no request of that name: to them the preview is gone, as it is to those who never applied it.
            Err(Refusal::PreviewExpired) => {
                return match self.answered_as(&of_token(token), request_input).await {
                    Err(Refusal::Append(AppendError::RequestConflict)) => Ok(None),
                    answered => answered,
                };
            }
            Err(refusal) => return Err(refusal),
        };
        let command = Mint::replay(preview.shown.seed, preview.shown.at).command_id();
        Ok(self.app.ledger.answer_of(self.organization, command).await?)
    }

    /// The answer that this request got before.
    async fn stored(&self, request_input: &str) -> ToolResult<Option<StoredAnswer>> {
        let Some(request_id) = &self.request_id else { return Ok(None) };
        self.answered_as(request_id, request_input).await
    }

    /// The answer that this principal got to a request of that name.
    async fn answered_as(&self, name: &str, request_input: &str) -> ToolResult<Option<StoredAnswer>> {
        let ledger = &self.app.ledger;
        let principal = self.caller.principal_id;
        Ok(ledger.answered(self.organization, principal, self.tool.name, name, request_input).await?)
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

    /// Answers with what another request did, one that showed the same token. From then on it is the answer to this
    /// request's own id as well, which would otherwise be free for something else.
    async fn replay_here(
        &self,
        stored: StoredAnswer,
        request_input: &str,
        meta: &mut Meta,
    ) -> ToolResult<Value> {
        let Some(request_id) = self.request_id.clone() else { return replay(stored, meta) };
        if let Some(own) = self.stored(request_input).await? {
            return replay(own, meta);
        }
        let mut kept = Kept::read(&stored)?;
        kept.of.get_or_insert((stored.command_id, stored.position));
        let mint = Mint::fresh(&self.app.clock);
        let command = Command {
            id: mint.command_id(),
            organization: self.organization,
            at: mint.at(),
            origin: self.origin(),
            writes: vec![],
            guards: vec![],
            absent: vec![],
            request: Some(Request {
                request_id,
                alias: None,
                input: request_input.to_owned(),
                answer: kept.written()?,
            }),
            lane: Lane::Normal,
        };
        match self.app.ledger.append(command).await {
            Ok(_) => replay(stored, meta),
            Err(AppendError::Replayed(own)) => replay(*own, meta),
            Err(error) => Err(error.into()),
        }
    }

    /// Who calls, and with what.
    fn origin(&self) -> Origin {
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
    async fn preview(&self, token: &str, input: &str) -> ToolResult<Preview> {
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

/// The name of the request that a token is, whatever name the caller gave it beside: no caller can write it.
fn of_token(token: &str) -> String {
    format!("\npreview {token}")
}

/// What is kept of an answer, for whoever repeats the request.
#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    data: Cow<'a, Value>,
    warnings: Cow<'a, [Warning]>,
    truncated: bool,
    /// Which command it is the answer of, and the position that it reached, where another request gave that command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<(CommandId, i64)>,
}

impl Kept<'_> {
    fn read(stored: &StoredAnswer) -> ToolResult<Kept<'static>> {
        Kept::deserialize(&stored.answer)
            .map_err(|_| Refusal::Defect("a stored answer is not one of a tool".into()))
    }

    fn written(&self) -> ToolResult<String> {
        serde_json::to_string(self).map_err(|error| Refusal::Defect(error.to_string()))
    }
}

/// The answer that the same request got before. Nothing of what this call found out is told beside it.
fn replay(stored: StoredAnswer, meta: &mut Meta) -> ToolResult<Value> {
    let kept = Kept::read(&stored)?;
    let (command, position) = kept.of.unwrap_or((stored.command_id, stored.position));
    meta.audit_id = Some(command.uuid());
    meta.dry_run = false;
    meta.idempotent_replay = true;
    meta.position = Some(position);
    meta.truncated = kept.truncated;
    meta.warnings.extend(kept.warnings.into_owned());
    Ok(completed(kept.data.into_owned(), false, Some(position)))
}

/// How many contacts a plan would change: bulk answers count them as `applied`, the other tools say so themselves.
fn affected(plan: &Plan<Value>, said: u64) -> u64 {
    if plan.writes.is_empty() { 0 } else { plan.answer["applied"].as_u64().unwrap_or(said) }
}

/// The data of a change with what only the framework knows.
fn completed(mut data: Value, dry_run: bool, position: Option<i64>) -> Value {
    if let Some(data) = data.as_object_mut() {
        data.insert("dryRun".to_owned(), dry_run.into());
        data.insert("position".to_owned(), position.into());
    }
    data
}

/// Options that the framework reads itself; the schema has seen them before.
fn options<T: DeserializeOwned + Default>(input: &Value) -> ToolResult<T> {
    T::deserialize(input).map_err(|error| Refusal::field("", "INVALID", error.to_string()))
}

/// The input in canonical JSON, without the named members.
fn without(input: &Value, members: &[&str]) -> ToolResult<String> {
    let input = input.as_object().into_iter().flatten();
    let kept = input.filter(|(name, _)| !members.contains(&name.as_str()));
    canonical::object_with_fractions(kept).map_err(|error| Refusal::Defect(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use docket_aggregates::ids::{PrincipalId, TokenId};
    use serde_json::json;
    use uuid::Uuid;

    fn caller(role: Role, tools: &[&str]) -> Caller {
        Caller {
            token_id: TokenId(Uuid::from_u128(1)),
            principal_id: PrincipalId(Uuid::from_u128(2)),
            role,
            organization_id: None,
            agent_id: None,
            tools: tools.iter().map(|tool| (*tool).to_owned()).collect(),
            max_affected: None,
        }
    }

    #[test]
    fn a_dry_run_is_the_default_of_what_must_be_confirmed() {
        let (yes, no) = (Some(true), Some(false));
        for (gated, dry_run, confirm, expected) in [
            (false, None, None, Some(false)),
            (false, yes, None, Some(true)),
            (false, no, None, Some(false)),
            (true, None, None, Some(true)),
            (true, None, no, Some(true)),
            (true, None, yes, Some(false)),
            (true, yes, None, Some(true)),
            (true, yes, no, Some(true)),
            (true, yes, yes, Some(true)),
            (true, no, yes, Some(false)),
            (true, no, None, None),
            (true, no, no, None),
        ] {
            let got = effective_dry_run(gated, dry_run, confirm);
            match (got, expected) {
                (Ok(got), Some(expected)) => assert_eq!(got, expected, "{gated} {dry_run:?} {confirm:?}"),
                (Err(Refusal::ConfirmRequired), None) => (),
                (got, _) => panic!("{gated} {dry_run:?} {confirm:?}: {got:?}"),
            }
        }
    }

    #[test]
    fn the_role_is_judged_before_the_tool() {
        for role in Role::ALL {
            let refusal = admit(&caller(role, &[]), "no_such_tool").unwrap_err();
            let expected = if role == Role::SuperAdmin { "TOOL_NOT_FOUND" } else { "NOT_SUPER_ADMIN" };
            assert_eq!(refusal.told().code, expected, "{}", role.name());
        }
    }

    #[test]
    fn a_token_may_be_limited_to_some_tools() {
        let limited = caller(Role::SuperAdmin, &["list_campaigns"]);
        assert!(admit(&limited, "list_campaigns").is_ok());
        assert_eq!(admit(&limited, "get_campaign").unwrap_err().told().code, "TOOL_NOT_IN_SCOPE");
    }

    #[test]
    fn a_body_is_refused_with_everything_that_is_wrong() {
        let read = |body: Value| Ask::read(body, &mut Meta::default());
        for (body, faults) in [
            (json!([]), vec![("", "WRONG_TYPE")]),
            (json!({}), vec![("input", "REQUIRED")]),
            (json!({"input": null}), vec![("input", "WRONG_TYPE")]),
            (json!({"input": []}), vec![("input", "WRONG_TYPE")]),
            (json!({"input": "x"}), vec![("input", "WRONG_TYPE")]),
            (json!({"input": {}, "requestId": " "}), vec![("requestId", "TOO_SHORT")]),
            (json!({"input": {}, "requestId": "a\nb"}), vec![("requestId", "CONTROL_CHARACTER")]),
            (json!({"input": {}, "requestId": "é".repeat(121)}), vec![("requestId", "TOO_LONG")]),
            (json!({"input": {}, "reason": "é".repeat(501)}), vec![("reason", "TOO_LONG")]),
            (json!({"input": {}, "reason": 1}), vec![("reason", "WRONG_TYPE")]),
            (json!({"request_id": "x"}), vec![("input", "REQUIRED"), ("request_id", "UNKNOWN_FIELD")]),
        ] {
            let Err(refusal) = read(body.clone()) else { panic!("{body} was accepted") };
            let found: Vec<_> = refusal.field_errors();
            let found: Vec<_> = found.iter().map(|fault| (fault.path.as_str(), fault.code)).collect();
            assert_eq!(found, faults, "{body}");
        }
        let body = json!({"input": {}, "requestId": "é".repeat(120), "reason": "é".repeat(500)});
        assert!(read(body).is_ok());
    }
}
