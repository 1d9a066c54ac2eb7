//! Founding, naming and switching organizations, for the command line and the administrators' routes alike.

use docket_aggregates::ids::{CommandId, OrganizationId};
use docket_aggregates::organization::{
    Organization, OrganizationCommand, OrganizationError, OrganizationProfile,
};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::app::App;
use crate::ledger::{DecideError, Decided, Origin, Request};

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
