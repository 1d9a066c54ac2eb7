//! Registering and changing callers: the human or AI agents that campaign contacts are assigned to.

use docket_aggregates::agent::{Agent, AgentCommand, AgentError, AgentProfile};
use docket_aggregates::ids::AgentId;
use docket_projections::agents::AgentRow;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::app::App;
use crate::service::{Call, Done, ServiceError};

/// A caller as answers show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentView {
    /// Its id.
    #[schemars(with = "Uuid")]
    pub agent_id: AgentId,
    /// Display name; null once erased.
    pub name: Option<String>,
    /// E-mail address; null once erased.
    pub email: Option<String>,
    /// What it does, in the organization's words.
    pub role: Option<String>,
    /// Whether it takes assignments.
    pub active: bool,
}

impl AgentView {
    /// The view of a caller's state.
    pub fn of(agent_id: AgentId, agent: &Agent) -> Self {
        Self::from_parts(agent_id, agent.profile().cloned(), agent.active())
    }

    fn from_parts(agent_id: AgentId, profile: Option<AgentProfile>, active: bool) -> Self {
        let (name, email, role) = match profile {
            Some(AgentProfile { name, email, role }) => (Some(name), Some(email), role),
            None => (None, None, None),
        };
        Self { agent_id, name, email, role, active }
    }
}

impl From<AgentRow> for AgentView {
    fn from(row: AgentRow) -> Self {
        Self::from_parts(row.agent_id, row.profile, row.active)
    }
}

/// Registers a caller under a fresh id.
pub async fn register(
    app: &App,
    call: &Call,
    profile: AgentProfile,
    active: bool,
) -> Result<Done<AgentView>, ServiceError<AgentError>> {
    let agent_id: AgentId = app.clock.mint();
    let answer = AgentView::from_parts(agent_id, Some(profile.clone()), active);
    let command = AgentCommand::Register { agent_id, profile, active };
    order(app, call, agent_id, command, &answer).await
}

/// What is to change of a caller; what is not said stays.
#[derive(Clone, Debug, Default)]
pub struct AgentChange {
    /// The new name.
    pub name: Option<String>,
    /// The new address.
    pub email: Option<String>,
    /// The new role; `Some(None)` clears it.
    pub role: Option<Option<String>>,
    /// Whether it takes assignments.
    pub active: Option<bool>,
}

/// Changes what is given and keeps the rest.
pub async fn change(
    app: &App,
    call: &Call,
    agent_id: AgentId,
    change: AgentChange,
) -> Result<Done<AgentView>, ServiceError<AgentError>> {
    let before = app.ledger.load::<Agent>(call.organization, agent_id).await?;
    let mut answer = AgentView::of(agent_id, &before.state);
    answer.name = change.name.clone().or(answer.name);
    answer.email = change.email.clone().or(answer.email);
    answer.role = change.role.clone().unwrap_or(answer.role);
    answer.active = change.active.unwrap_or(answer.active);
    let AgentChange { name, email, role, active } = change;
    order(app, call, agent_id, AgentCommand::Change { name, email, role, active }, &answer).await
}

async fn order(
    app: &App,
    call: &Call,
    agent_id: AgentId,
    command: AgentCommand,
    answer: &AgentView,
) -> Result<Done<AgentView>, ServiceError<AgentError>> {
    let decided = app
        .ledger
        .order::<Agent>(
            call.organization,
            agent_id,
            call.command_id,
            call.at,
            &call.origin,
            call.request(answer)?,
            command,
        )
        .await?;
    Ok(Done { entity: AgentView::of(agent_id, &decided.state), appended: decided.appended })
}
