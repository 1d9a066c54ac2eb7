//! Answers, as they are given.
//!
//! One call finds the open execution of a contact in a campaign or begins one, records what differs, and ends it if
//! that is wanted: all of it or nothing. Two calls that begin at once make one execution, for the claim on it is taken
//! by one of them only, and the other is planned anew and finds it.

use std::collections::HashSet;
use std::sync::Arc;

use cqrs_es::Aggregate as _;
use docket_aggregates::Decides as _;
use docket_aggregates::campaign::{Campaign, CampaignStatus};
use docket_aggregates::contact::Contact;
use docket_aggregates::ids::{AgentId, ContactId, ScriptExecutionId, ScriptTemplateId};
use docket_aggregates::membership::{Membership, MembershipCommand, MembershipError, Stay};
use docket_aggregates::roster::Roster;
use docket_aggregates::script_execution::{
    AnswerMode, ExecutionStatus, GivenAnswer, ScriptExecution, ScriptExecutionCommand, ScriptExecutionError,
    ScriptExecutionEvent,
};
use docket_aggregates::script_template::{Node, ScriptTemplateError};
use docket_projections::campaigns::CampaignListed;
use docket_projections::memberships::{self, MembershipRow};
use docket_projections::script_executions::{self, ScriptExecutionRow};
use docket_projections::{contacts, rosters};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ExecutionDetail, GivenExecution, steps_of};
use crate::ledger::{Guard, Stream, Versioned, Write};
use crate::readside::View;
use crate::tools::campaigns::{expect, found};
use crate::tools::example::{CONTACT_ID, EXECUTION_CAMPAIGN_ID, SCRIPT_NODE_ID};
use crate::tools::input::{Given, GivenCampaign, GivenContact, GivenScript, Name};
use crate::tools::script_templates::usable;
use crate::tools::{Draft, Effects, Kind, Mint, Plan, Refusal, ToolContext, ToolResult, tool};

pub(super) fn tools() -> Vec<Draft> {
    vec![
        tool!(Write upsert_script_execution)
            .example(
                "Record an answer",
                json!({
                    "campaignId": EXECUTION_CAMPAIGN_ID,
                    "contactId": CONTACT_ID,
                    "responses": [{ "nodeId": SCRIPT_NODE_ID, "value": "Deux bâtiments à Lyon" }],
                }),
            )
            .example(
                "Take it back, tried out first",
                json!({
                    "campaignId": EXECUTION_CAMPAIGN_ID,
                    "contactId": CONTACT_ID,
                    "responses": [{ "nodeId": SCRIPT_NODE_ID, "value": null }],
                    "dryRun": true,
                }),
            ),
    ]
}

/// Record answers while going through a script with a contact: in the contact's open execution in the campaign, or in a
/// new one, which begins with the current version of the script and keeps it. An answer to a branch that is not chosen
/// is passed over and told. Ending it as completed needs every required answer on the path; nothing is added after that.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct UpsertScriptExecution {
    /// The execution; the contact's open one, or a new one, if not said.
    execution_id: Option<GivenExecution>,
    /// The campaign.
    campaign_id: GivenCampaign,
    /// The contact.
    contact_id: GivenContact,
    /// The script for a new execution; the campaign's if not said.
    script_template_id: Option<GivenScript>,
    /// The answers, at most one for each node.
    #[serde(default)]
    #[schemars(length(max = 500))]
    responses: Vec<ResponseInput>,
    /// What becomes of answers that are not given; merge if not said.
    mode: Option<Mode>,
    /// completed or abandoned ends it.
    status: Option<Name<ExecutionStatus>>,
    /// Refuse if the execution has another version than this one; 0 means that there is none yet.
    #[schemars(range(min = 0))]
    expected_version: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ResponseInput {
    /// The node.
    #[schemars(length(min = 1, max = 64))]
    node_id: String,
    /// Oui or Non for yesno, the value of an option for select, up to 4000 characters for question; null takes an answer
    /// back.
    #[schemars(schema_with = "anything", extend("x-lines" = true, "x-clears" = true))]
    value: Value,
}

/// Whether a value fits depends on the node: what does not is told together with everything else that does not.
fn anything(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": ["string", "boolean", "number", "null"] })
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// They stay.
    Merge,
    /// They are taken back.
    Replace,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ScriptExecutionUpserted {
    execution: ExecutionDetail,
    /// Whether it began with this call.
    created: bool,
    /// The steps that the answers lead through.
    selected_path: Vec<String>,
    /// Answers that were passed over.
    ignored_responses: Vec<Ignored>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Ignored {
    node_id: String,
    /// `NOT_ON_PATH`: the answers lead elsewhere.
    reason: &'static str,
}

async fn upsert_script_execution(
    ctx: ToolContext,
    input: UpsertScriptExecution,
    mut mint: Mint,
) -> ToolResult<Plan<ScriptExecutionUpserted>> {
    let organization = ctx.organization();
    let mut view = ctx.view().await?;
    let listed = found(&mut view, &ctx, &input.campaign_id).await?;
    let contact = contact(&mut view, &ctx, &input.contact_id).await?;
    let seen = open(&mut view, &ctx, &input, contact).await?;
    if let Some(row) = &seen {
        fits(row, &listed, contact, input.script_template_id.as_ref())?;
    }
    let membership = memberships::get(&mut view, organization, input.campaign_id.id, contact).await?;
    let membership = membership.ok_or(Refusal::NotInCampaign)?;
    let status = listed.campaign.status;
    if status == CampaignStatus::Archived {
        return Err(Refusal::CampaignClosed(status.name()));
    }
    let mut work =
        Work { ctx: &ctx, listed: &listed, membership: &membership, writes: vec![], guards: vec![] };
    // One that belongs to an earlier stay of the contact in the campaign is given up, unless it was asked for.
    let current = match seen {
        Some(row) if row.execution.begun.is_some_and(|begun| begun.epoch != membership.epoch) => {
            if input.execution_id.is_some() {
                return Err(ScriptExecutionError::Closed(ExecutionStatus::Abandoned).into());
            }
            expect(input.expected_version, 0)?;
            work.supersede(row.execution_id, mint.at()).await?;
            None
        }
        Some(row) => Some(row),
        None => None,
    };
    let resumed = match current {
        Some(row) => work.resumed(&mut view, row.execution_id, input.execution_id.is_some()).await?,
        None => None,
    };
    let created = resumed.is_none();
    let run = match resumed {
        Some(run) => run,
        None => work.begun(&mut view, &input, &mut mint).await?,
    };
    drop(view);
    let before = run.version;
    expect(input.expected_version, before)?;

    let mode = match input.mode {
        None | Some(Mode::Merge) => AnswerMode::Merge,
        Some(Mode::Replace) => AnswerMode::Replace,
    };
    let given: Vec<GivenAnswer> = input
        .responses
        .into_iter()
        .map(|response| GivenAnswer { node_id: response.node_id, value: response.value })
        .collect();
    let weighed = run.state.weigh(&run.steps, &given, mode)?;
    let record = ScriptExecutionCommand::Record {
        steps: run.steps.clone(),
        given,
        mode,
        status: input.status.map_or(ExecutionStatus::InProgress, |status| status.0),
        at: mint.at(),
    };
    let recorded = run.state.decide(record)?;
    let mut after = run.state.clone();
    recorded.iter().cloned().for_each(|event| after.apply(event));
    let events: Vec<ScriptExecutionEvent> = run.events.into_iter().chain(recorded).collect();
    let version = before + events.len() as u64;
    let execution = ExecutionDetail::of(run.execution_id, &after, &run.steps, version)
        .ok_or_else(|| Refusal::Defect("an execution never began".into()))?;

    ctx.affects(1);
    let mut told = HashSet::new();
    let ignored = weighed.not_on_path.into_iter().filter(|id| told.insert(id.clone()));
    let ignored: Vec<Ignored> = ignored.map(|node_id| Ignored { node_id, reason: "NOT_ON_PATH" }).collect();
    let effects = match &events[..] {
        [] => Effects::none(),
        events => effects(created, &execution, events, &ignored),
    };
    if !events.is_empty() {
        work.writes.push(Write {
            stream: Stream::of::<ScriptExecution>(run.execution_id),
            expected: before,
            events: events.into_iter().map(Into::into).collect(),
        });
    }
    let answer = ScriptExecutionUpserted {
        selected_path: execution.path.clone(),
        execution,
        created,
        ignored_responses: ignored,
    };
    Ok(Plan { writes: work.writes, guards: work.guards, absent: vec![], effects, answer })
}

/// What a call does: with which script, and where its answers lead. When it does it makes no difference.
fn effects(
    created: bool,
    execution: &ExecutionDetail,
    events: &[ScriptExecutionEvent],
    ignored: &[Ignored],
) -> Effects {
    let answers: Vec<(&str, &str)> = execution
        .responses
        .iter()
        .chain(&execution.off_path_responses)
        .map(|response| (response.node_id.as_str(), response.value.as_str()))
        .collect();
    let kinds: Vec<&str> = events.iter().map(ScriptExecutionEvent::stored_type).collect();
    let script = (execution.script_template_id, execution.script_template_version);
    let begun_for = created.then_some(execution.agent_id);
    let decided = (script, begun_for, &execution.path, answers, ignored, kinds);
    Effects::one(execution.execution_id, if created { "STARTED" } else { "RECORDED" }, &decided)
}

async fn contact(view: &mut View, ctx: &ToolContext, given: &GivenContact) -> ToolResult<ContactId> {
    let known = contacts::get(view, ctx.organization(), given.id).await?;
    known.map(|row| row.contact_id).ok_or_else(|| Refusal::not_found(Kind::Contact, &given.text))
}

/// The execution that was asked for, or the contact's open one in the campaign.
async fn open(
    view: &mut View,
    ctx: &ToolContext,
    input: &UpsertScriptExecution,
    contact: ContactId,
) -> ToolResult<Option<ScriptExecutionRow>> {
    let organization = ctx.organization();
    match &input.execution_id {
        Some(given) => {
            let row = script_executions::get(view, organization, given.id).await?;
            row.map(Some).ok_or_else(|| Refusal::not_found(Kind::ScriptExecution, &given.text))
        }
        None => {
            let row = script_executions::latest(view, organization, input.campaign_id.id, contact).await?;
            Ok(row.filter(|row| row.execution.status == ExecutionStatus::InProgress))
        }
    }
}

/// Refuses an execution that is another one than the rest of the input says.
fn fits(
    row: &ScriptExecutionRow,
    listed: &CampaignListed,
    contact: ContactId,
    script: Option<&GivenScript>,
) -> ToolResult<()> {
    let Some(begun) = row.execution.begun else { return Err(ScriptExecutionError::Unknown.into()) };
    if begun.campaign_id != listed.campaign.campaign_id {
        return Err(Refusal::ExecutionMismatch("campaign"));
    }
    if begun.contact_id != contact {
        return Err(Refusal::ExecutionMismatch("contact"));
    }
    if script.is_some_and(|script| script.id != begun.script_template_id) {
        return Err(Refusal::ExecutionMismatch("script template"));
    }
    if row.execution.status != ExecutionStatus::InProgress {
        return Err(ScriptExecutionError::Closed(row.execution.status).into());
    }
    Ok(())
}

/// The execution that answers go into.
struct Run {
    execution_id: ScriptExecutionId,
    state: ScriptExecution,
    /// Events of its stream before this call.
    version: u64,
    /// What makes it begin, if it does.
    events: Vec<ScriptExecutionEvent>,
    steps: Arc<Vec<Node>>,
}

/// What a call is about to do.
struct Work<'a> {
    ctx: &'a ToolContext,
    listed: &'a CampaignListed,
    membership: &'a MembershipRow,
    writes: Vec<Write>,
    guards: Vec<Guard>,
}

impl Work<'_> {
    async fn execution(&self, id: ScriptExecutionId) -> ToolResult<Versioned<ScriptExecution>> {
        self.ctx.state::<ScriptExecution>(id).await
    }

    /// Gives up the execution of an earlier stay, if nobody ended it meanwhile.
    async fn supersede(&mut self, id: ScriptExecutionId, at: docket_aggregates::Timestamp) -> ToolResult<()> {
        let earlier = self.execution(id).await?;
        if earlier.state.status != ExecutionStatus::InProgress {
            return Ok(());
        }
        let events = earlier.state.decide(ScriptExecutionCommand::Supersede { at })?;
        self.writes.push(earlier.write(events));
        Ok(())
    }

    /// The open execution, with the version of the script that it began with. None if it was ended a moment ago and
    /// nobody asked for this very one: then another begins.
    async fn resumed(
        &mut self,
        view: &mut View,
        id: ScriptExecutionId,
        this_one: bool,
    ) -> ToolResult<Option<Run>> {
        let execution = self.execution(id).await?;
        let begun = execution.state.begun.ok_or(ScriptExecutionError::Unknown)?;
        if execution.state.status != ExecutionStatus::InProgress {
            let closed = ScriptExecutionError::Closed(execution.state.status);
            return if this_one { Err(closed.into()) } else { Ok(None) };
        }
        let (template, version) = (begun.script_template_id, begun.script_template_version);
        let steps = steps_of(view, self.ctx.organization(), template, version).await?;
        Ok(Some(Run {
            execution_id: id,
            state: (*execution.state).clone(),
            version: execution.version,
            events: vec![],
            steps: Arc::new(steps),
        }))
    }

    /// A new execution with the current version of the script. It begins only if the script is still at that version,
    /// the campaign as it was, and the contact still in it, when it is recorded.
    async fn begun(
        &mut self,
        view: &mut View,
        input: &UpsertScriptExecution,
        mint: &mut Mint,
    ) -> ToolResult<Run> {
        let ctx = self.ctx;
        let (organization, campaign) = (ctx.organization(), &self.listed.campaign);
        if campaign.status == CampaignStatus::Completed {
            return Err(Refusal::CampaignClosed(campaign.status.name()));
        }
        let own: Option<GivenScript> = campaign.script_template_id.map(given);
        let script = input.script_template_id.as_ref().or(own.as_ref()).ok_or(Refusal::NoScriptTemplate)?;
        let template = usable(ctx, script).await?;
        let steps = template.state.content().ok_or(ScriptTemplateError::Erased)?.steps.clone();
        let contact_id = self.membership.contact_id;
        let contact = ctx.state::<Contact>(contact_id).await?;
        if contact.state.opted_out() {
            return Err(MembershipError::DoNotContact.into());
        }
        let stay = Stay { campaign_id: campaign.campaign_id, contact_id, epoch: self.membership.epoch };
        let membership_id = organization.membership(stay.campaign_id, contact_id);
        let membership = ctx.state::<Membership>(membership_id).await?;
        let moved = membership.state.decide(MembershipCommand::ScriptStarted { stay })?;
        if !moved.is_empty() {
            self.writes.push(membership.write(moved));
        }
        let roster = Stream::of::<Roster>(organization.roster(stay.campaign_id));
        let version = rosters::version(view, organization, stay.campaign_id).await?;
        let campaign_as_seen =
            Guard { stream: Stream::of::<Campaign>(campaign.campaign_id), version: campaign.version };
        let still_in_it = Guard { stream: roster, version };
        self.guards.extend([template.guard(), contact.guard(), campaign_as_seen, still_in_it]);

        let execution_id: ScriptExecutionId = mint.id();
        let mut state = ScriptExecution::default();
        let caller: Option<AgentId> = ctx.caller().agent_id;
        let events = state.decide(ScriptExecutionCommand::Start {
            execution_id,
            stay,
            agent_id: caller.or(self.membership.agent_id),
            script_template_id: script.id,
            script_template_version: template.state.version,
            at: mint.at(),
        })?;
        events.iter().cloned().for_each(|event| state.apply(event));
        Ok(Run { execution_id, state, version: 0, events, steps: Arc::new(steps) })
    }
}

fn given(id: ScriptTemplateId) -> GivenScript {
    Given { id, text: id.to_string() }
}
