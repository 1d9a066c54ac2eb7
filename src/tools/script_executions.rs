//! What an agent may do while it goes through a script with a contact: record answers, and see where it stands.
//!
//! A contact has at most one open execution in a campaign. Which answers count is a matter of the path that they choose;
//! what is off it stays in the history.

mod recording;

use docket_aggregates::ids::{OrganizationId, ScriptExecutionId, ScriptTemplateId};
use docket_aggregates::script_execution::{ExecutionStatus, ScriptExecution};
use docket_aggregates::script_template::{Node, NodeKind, ScriptTemplateError, nodes};
use docket_projections::{script_executions, script_template_versions};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::campaigns::found;
use super::example::{CONTACT_ID, EXECUTION_CAMPAIGN_ID, EXECUTION_ID, TAKING_CONTACTS};
use super::input::{Given, GivenCampaign, GivenContact, Moment, Name};
use super::{Draft, Kind, Refusal, ToolContext, ToolResult, tool};
use crate::readside::View;

pub(super) fn tools() -> Vec<Draft> {
    let mut tools = vec![
        tool!(read get_script_execution)
            .example("By its id", json!({ "executionId": EXECUTION_ID }))
            .example(
                "Of a contact in a campaign",
                json!({ "campaignId": EXECUTION_CAMPAIGN_ID, "contactId": CONTACT_ID }),
            ),
    ];
    tools.extend(recording::tools());
    tools
}

/// A script execution id as given.
type GivenExecution = Given<ScriptExecutionId>;

/// One run through a script.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ExecutionDetail {
    execution_id: Uuid,
    campaign_id: Uuid,
    contact_id: Uuid,
    /// Who goes through it.
    agent_id: Option<Uuid>,
    script_template_id: Uuid,
    /// The version that it began with, and keeps.
    script_template_version: u32,
    status: Name<ExecutionStatus>,
    /// The answers that count: those on the path, in its order.
    responses: Vec<Response>,
    /// Answers to branches that are no longer chosen: kept, and not counted.
    off_path_responses: Vec<Response>,
    /// The first step on the path that is still to be answered; null once there is none.
    current_node_id: Option<String>,
    /// The steps that the answers lead through, from top to bottom.
    path: Vec<String>,
    progress: Progress,
    started_at: Moment,
    completed_at: Option<Moment>,
    abandoned_at: Option<Moment>,
    /// Send it as expectedVersion to change only what you saw.
    version: u64,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Response {
    node_id: String,
    #[serde(rename = "type")]
    kind: Name<NodeKind>,
    value: String,
    answered_at: Moment,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Progress {
    /// Steps on the path that are answered.
    answered: usize,
    /// Steps on the path that can be answered.
    total: usize,
}

impl ExecutionDetail {
    /// None if it never began.
    fn of(
        execution_id: ScriptExecutionId,
        execution: &ScriptExecution,
        steps: &[Node],
        version: u64,
    ) -> Option<Self> {
        let begun = execution.begun?;
        let path = execution.path(steps);
        let response = |node_id: &str, kind| {
            let recorded = execution.answers.get(node_id)?;
            Some(Response {
                node_id: node_id.to_owned(),
                kind: Name(kind),
                value: recorded.value.clone(),
                answered_at: recorded.at.into(),
            })
        };
        let counted: Vec<Response> = path.iter().filter_map(|step| response(step.id, step.kind)).collect();
        let off_path = nodes(steps)
            .filter(|node| path.iter().all(|step| step.id != node.id))
            .filter_map(|node| response(&node.id, node.kind));
        let ended = |status| execution.ended_at.filter(|_| execution.status == status).map(Moment);
        Some(Self {
            execution_id: execution_id.uuid(),
            campaign_id: begun.campaign_id.uuid(),
            contact_id: begun.contact_id.uuid(),
            agent_id: begun.agent_id.map(Uuid::from),
            script_template_id: begun.script_template_id.uuid(),
            script_template_version: begun.script_template_version,
            status: Name(execution.status),
            off_path_responses: off_path.collect(),
            current_node_id: path.iter().find(|step| step.unanswered()).map(|step| step.id.to_owned()),
            progress: Progress {
                answered: counted.len(),
                total: path.iter().filter(|step| step.kind.answerable()).count(),
            },
            responses: counted,
            path: path.iter().map(|step| step.id.to_owned()).collect(),
            started_at: begun.started_at.into(),
            completed_at: ended(ExecutionStatus::Completed),
            abandoned_at: ended(ExecutionStatus::Abandoned),
            version,
        })
    }
}

/// The steps of the version that an execution began with, which stays whatever becomes of the template.
async fn steps_of(
    view: &mut View,
    organization: OrganizationId,
    template: ScriptTemplateId,
    version: u32,
) -> ToolResult<Vec<Node>> {
    let found = script_template_versions::get(view, organization, template, version).await?;
    let content = found.and_then(|version| version.content).ok_or(ScriptTemplateError::Erased)?;
    Ok(content.steps)
}

/// See one run through a script: the answers that count, the path that they choose, and what comes next. By its id, or
/// by campaign and contact: then the open one, else the one that began last.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct GetScriptExecution {
    /// The execution. Give this, or campaignId and contactId.
    execution_id: Option<GivenExecution>,
    /// The campaign, with contactId.
    campaign_id: Option<GivenCampaign>,
    /// The contact, with campaignId.
    contact_id: Option<GivenContact>,
}

#[derive(Serialize, JsonSchema)]
struct ScriptExecutionShown {
    execution: ExecutionDetail,
}

async fn get_script_execution(
    ctx: ToolContext,
    input: GetScriptExecution,
) -> ToolResult<ScriptExecutionShown> {
    let organization = ctx.organization();
    let not_found = |id: &str| Refusal::not_found(Kind::ScriptExecution, id);
    let mut view;
    let row = match (input.execution_id, input.campaign_id, input.contact_id) {
        (Some(execution), None, None) => {
            view = ctx.view().await?;
            let row = script_executions::get(&mut view, organization, execution.id).await?;
            row.ok_or_else(|| not_found(&execution.text))?
        }
        (None, Some(campaign), Some(contact)) => {
            view = ctx.view().await?;
            found(&mut view, &ctx, &campaign).await?;
            let row = script_executions::latest(&mut view, organization, campaign.id, contact.id).await?;
            row.ok_or_else(|| not_found(&format!("of contact {}", contact.text)))?
        }
        _ => {
            let message = "give executionId, or campaignId and contactId";
            return Err(Refusal::field("", "EXACTLY_ONE_OF", message));
        }
    };
    let begun = row.execution.begun.ok_or_else(|| Refusal::Defect("an execution never began".into()))?;
    let (template, version) = (begun.script_template_id, begun.script_template_version);
    let steps = steps_of(&mut view, organization, template, version).await?;
    let execution = ExecutionDetail::of(row.execution_id, &row.execution, &steps, row.version);
    let execution = execution.ok_or_else(|| Refusal::Defect("an execution never began".into()))?;
    Ok(ScriptExecutionShown { execution })
}

/// An open execution, for examples.
#[derive(Clone, Debug)]
pub struct Open {
    /// The execution.
    pub execution_id: Uuid,
    /// The campaign.
    pub campaign_id: Uuid,
    /// The contact.
    pub contact_id: Uuid,
    /// A question that is on every path of its script.
    pub question: Option<String>,
}

/// An open execution of a campaign that takes contacts, whose contact is being worked on: of several the first whose script asks
/// a question.
pub(super) async fn some_open(view: &mut View, organization: OrganizationId) -> ToolResult<Option<Open>> {
    let mut without_question = None;
    for row in script_executions::some_open(view, organization, &TAKING_CONTACTS, 20).await? {
        let Some(begun) = row.execution.begun else { continue };
        let steps =
            steps_of(view, organization, begun.script_template_id, begun.script_template_version).await?;
        let question = steps.into_iter().find(|node| node.kind == NodeKind::Question).map(|node| node.id);
        let open = Open {
            execution_id: row.execution_id.uuid(),
            campaign_id: begun.campaign_id.uuid(),
            contact_id: begun.contact_id.uuid(),
            question,
        };
        if open.question.is_some() {
            return Ok(Some(open));
        }
        without_question.get_or_insert(open);
    }
    Ok(without_question)
}
