//! Founding, naming and switching organizations, for the command line and the administrators' routes alike.

use cqrs_es::Aggregate as _;
use docket_aggregates::Decides as _;
use docket_aggregates::ids::{CommandId, OrganizationId};
use docket_aggregates::organization::{
    Organization, OrganizationCommand, OrganizationError, OrganizationEvent, OrganizationProfile,
};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::app::App;
use crate::ledger::{AppendError, DecideError, Decided, Origin, Request, TRIES};
use crate::service::{Call, Done, ServiceError};

/// An organization as answers show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrganizationView {
    /// Its id.
    #[schemars(with = "Uuid")]
    pub id: OrganizationId,
    /// Display name; empty once erased.
    pub name: String,
    /// The short name used in addresses.
    pub slug: String,
    /// The owner's e-mail address.
    pub owner_email: String,
    /// Whether the outbound CRM module is on.
    pub crm_enabled: bool,
    /// Whether all of its sending is held back, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sending_paused: Option<bool>,
}

impl OrganizationView {
    /// The view of an organization's state.
    pub fn of(id: OrganizationId, organization: &Organization) -> Self {
        let profile = organization.profile();
        let text =
            |field: fn(&OrganizationProfile) -> &String| profile.map(field).cloned().unwrap_or_default();
        Self {
            id,
            name: text(|profile| &profile.name),
            slug: text(|profile| &profile.slug),
            owner_email: text(|profile| &profile.owner_email),
            crm_enabled: organization.crm_enabled(),
            sending_paused: None,
        }
    }
}

/// What came of an order to an organization.
pub type Outcome = Result<Decided<Organization>, DecideError<OrganizationError>>;

/// Founds an organization. `TAKEN` if another one has the slug.
pub async fn create(
    app: &App,
    origin: &Origin,
    request: Option<Request>,
    organization_id: OrganizationId,
    profile: OrganizationProfile,
    crm_enabled: bool,
) -> Outcome {
    let keys = app
        .ledger
        .keys()
        .organization(OrganizationId::INSTANCE)
        .await
        .map_err(|error| DecideError::Append(error.into()))?;
    let slug_key = hex::encode(keys.hash("slug", &[&profile.slug]));
    let create = OrganizationCommand::Create { organization_id, profile, slug_key, crm_enabled };
    order(app, origin, request, organization_id, create).await
}

/// Orders several things of an organization in one append, which answers the request: all of it, or none. `answer` tells the
/// organization as it is then.
pub async fn change(
    app: &App,
    call: &Call,
    organization_id: OrganizationId,
    commands: &[OrganizationCommand],
    answer: impl Fn(&Organization) -> OrganizationView,
) -> Result<Done<OrganizationView>, ServiceError<OrganizationError>> {
    for _ in 0..TRIES {
        let seen = app.ledger.load::<Organization>(OrganizationId::INSTANCE, organization_id).await?;
        let (after, events) = decide(&seen.state, commands).map_err(ServiceError::Refused)?;
        let entity = answer(&after);
        if events.is_empty() {
            return Ok(Done { entity, appended: None });
        }
        let command = call.command(vec![seen.write(events)], vec![], call.request(&entity)?);
        match app.ledger.append(command).await {
            Ok(appended) => return Ok(Done { entity, appended: Some(appended) }),
            Err(AppendError::Conflict) => (),
            Err(error) => return Err(error.into()),
        }
    }
    Err(AppendError::Conflict.into())
}

/// What these commands make of an organization, one after the other.
pub fn decide(
    organization: &Organization,
    commands: &[OrganizationCommand],
) -> Result<(Organization, Vec<OrganizationEvent>), OrganizationError> {
    let mut after = organization.clone();
    let mut events = Vec::new();
    for command in commands {
        for event in after.decide(command.clone())? {
            after.apply(event.clone());
            events.push(event);
        }
    }
    Ok((after, events))
}

/// Orders an organization to do something.
pub async fn order(
    app: &App,
    origin: &Origin,
    request: Option<Request>,
    organization_id: OrganizationId,
    command: OrganizationCommand,
) -> Outcome {
    let command_id: CommandId = app.clock.mint();
    let at = app.clock.now();
    app.ledger
        .order::<Organization>(
            OrganizationId::INSTANCE,
            organization_id,
            command_id,
            at,
            origin,
            request,
            command,
        )
        .await
}
