//! The callers of a company.

use axum::extract::{OriginalUri, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use docket_aggregates::agent::{AgentError, AgentProfile};
use docket_aggregates::ids::AgentId;
use docket_projections::agents::{self as rows, AgentFilter};
use docket_projections::searchable::folded;
use docket_projections::{Keyset, SortValue};

use super::HttpState;
use super::call::{Admitted, replay, settle};
use super::error::ApiError;
use super::input::{Body, Fields, boolean, email, id, integer, line, path_id};
use super::reply;
use super::spec::{Spec, object, schema};
use crate::agents::{self, AgentChange, AgentView};
use crate::readside::Consistency;
use crate::shapes;

/// Characters of a name or role.
const NAME_MAX: usize = 200;

impl From<AgentError> for ApiError {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Unknown => Self::not_found("AGENT_NOT_FOUND", "agent"),
            AgentError::AlreadyRegistered => Self::conflict("ALREADY_REGISTERED", error),
            AgentError::Erased => Self::unprocessable("ERASED", error),
        }
    }
}

/// What the reference says of [`list`].
pub fn listing() -> Spec {
    Spec::new("List the callers, by name").page(
        schema::<AgentView>(),
        100,
        shapes::id(),
        "The agentId of the last one seen.",
    )
}

/// What the reference says of [`register`].
pub fn registering() -> Spec {
    Spec::new("Register a caller")
        .body(object([
            ("name!", shapes::line(NAME_MAX)),
            ("email!", shapes::email()),
            ("role", shapes::or_null(shapes::line(NAME_MAX))),
            ("active", shapes::or_null(shapes::boolean())),
        ]))
        .answers(201, "The caller", schema::<AgentView>())
}

/// What the reference says of [`change`].
pub fn changing() -> Spec {
    Spec::new("Change a caller; role null clears it")
        .patch([
            ("name", shapes::line(NAME_MAX)),
            ("email", shapes::email()),
            ("role", shapes::or_null(shapes::line(NAME_MAX))),
            ("active", shapes::boolean()),
        ])
        .answers(200, "The caller", schema::<AgentView>())
}

/// `GET .../crm/agents?limit=&after=`: by name; `after` is the id of the last one seen.
pub async fn list(
    State(state): State<HttpState>,
    admitted: Admitted,
    OriginalUri(uri): OriginalUri,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of_query(&uri, &[])?;
    let limit = fields.optional("limit", integer(1, 100)).unwrap_or(25);
    let after = fields.optional("after", id::<AgentId>);
    fields.finish()?;

    let organization = admitted.organization;
    let mut view = state.app.readside.view(organization, Consistency::STRONG).await?;
    let after = match after {
        None => None,
        Some(agent) => {
            let seen = rows::get(&mut view, organization, agent).await?;
            let seen =
                seen.ok_or_else(|| ApiError::field("after", "UNKNOWN_ID", "is no agent of this company"))?;
            let name = seen.profile.map(|profile| folded(&profile.name)).unwrap_or_default();
            Some(Keyset::after(SortValue::Text(name), agent))
        }
    };
    let limit = u32::try_from(limit).unwrap_or(25);
    let (page, _) =
        rows::list(&mut view, organization, &AgentFilter::default(), after.as_ref(), limit).await?;
    let agents: Vec<AgentView> = page.rows.into_iter().map(|listed| listed.agent.into()).collect();
    let next = match (page.next, agents.last()) {
        (Some(_), Some(last)) => Some(format!("limit={limit}&after={}", last.agent_id)),
        _ => None,
    };
    Ok(reply::page(&agents, uri.path(), next))
}

/// `POST .../crm/agents`: `{name, email, role?, active?}`.
pub async fn register(
    State(state): State<HttpState>,
    admitted: Admitted,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    let profile = AgentProfile {
        name: fields.required("name", line(NAME_MAX)),
        email: fields.required("email", email),
        role: fields.optional("role", line(NAME_MAX)),
    };
    let active = fields.optional("active", boolean).unwrap_or(true);
    fields.finish()?;
    if let Some(answer) = replay(&state, &call, StatusCode::CREATED).await? {
        return Ok(answer);
    }
    settle(agents::register(&state.app, &call, profile, active).await, StatusCode::CREATED)
}

/// `PATCH .../crm/agents/{agentId}`: `{name?, email?, role?, active?}`; `role: null` clears.
pub async fn change(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path((_, agent)): Path<(String, String)>,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let agent: AgentId = path_id("agentId", &agent)?;
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    fields.not_empty();
    let change = AgentChange {
        name: fields.patched("name", line(NAME_MAX)),
        email: fields.patched("email", email),
        role: fields.clearable("role", line(NAME_MAX)),
        active: fields.patched("active", boolean),
    };
    fields.finish()?;
    if let Some(answer) = replay(&state, &call, StatusCode::OK).await? {
        return Ok(answer);
    }
    settle(agents::change(&state.app, &call, agent, change).await, StatusCode::OK)
}
