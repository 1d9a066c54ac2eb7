//! Founding organizations, naming them, and switching their CRM module.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::organization::{
    Organization, OrganizationCommand, OrganizationError, OrganizationProfile,
};
use docket_aggregates::sending_control::PauseScope;
use serde_json::Value;

use super::HttpState;
use super::call::{Admitted, replay, settle};
use super::error::ApiError;
use super::input::{Body, Fields, Problem, boolean, email, line, path_id};
use super::spec::{Spec, object, schema};
use crate::organizations::{self, OrganizationView};
use crate::pauses;
use crate::service::{Call, Done, Idempotency, ServiceError};
use crate::shapes;

/// Why sending is held back, where nobody wrote it down.
const PAUSED_BY: &str = "held back by an administrator of the instance";

impl From<OrganizationError> for ApiError {
    fn from(error: OrganizationError) -> Self {
        match error {
            OrganizationError::Unknown => Self::not_found("ORG_NOT_FOUND", "organization"),
            OrganizationError::AlreadyCreated => Self::conflict("ALREADY_CREATED", error),
            OrganizationError::Erased => Self::unprocessable("ERASED", error),
        }
    }
}

fn slug(value: Value) -> Result<String, Problem> {
    let slug = line(64)(value)?;
    let acceptable = slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if acceptable {
        Ok(slug)
    } else {
        Err(("INVALID_SLUG", "must have 1 to 64 of the characters a-z, 0-9 and -".into()))
    }
}

/// What the reference says of [`create`].
pub fn creating() -> Spec {
    Spec::new("Found an organization")
        .body(object([
            ("name!", shapes::line(200)),
            ("slug!", shapes::slug()),
            ("ownerEmail!", shapes::email()),
            ("crmEnabled", shapes::or_null(shapes::boolean())),
        ]))
        .answers(201, "The organization", schema::<OrganizationView>())
}

/// What the reference says of [`change`].
pub fn changing() -> Spec {
    Spec::new("Name an organization, switch its CRM module, or hold all of its sending back")
        .patch([
            ("name", shapes::line(200)),
            ("crmEnabled", shapes::boolean()),
            ("sendingPaused", shapes::boolean()),
        ])
        .answers(200, "The organization", schema::<OrganizationView>())
}

/// `POST /api/admin/organizations`: `{name, slug, ownerEmail, crmEnabled?}`.
pub async fn create(
    State(state): State<HttpState>,
    admitted: Admitted,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    let profile = OrganizationProfile {
        name: fields.required("name", line(200)),
        slug: fields.required("slug", slug),
        owner_email: fields.required("ownerEmail", email),
    };
    let crm_enabled = fields.optional("crmEnabled", boolean).unwrap_or(true);
    fields.finish()?;
    if let Some(answer) = replay(&state, &call, StatusCode::CREATED).await? {
        return Ok(answer);
    }
    let id: OrganizationId = state.app.clock.mint();
    let view = OrganizationView {
        id,
        name: profile.name.clone(),
        slug: profile.slug.clone(),
        owner_email: profile.owner_email.clone(),
        crm_enabled,
        sending_paused: None,
    };
    let request = call.request(&view)?;
    let created = organizations::create(&state.app, &call.origin, request, id, profile, crm_enabled).await;
    let result = created.map(|decided| Done { entity: view, appended: decided.appended });
    settle(result.map_err(ServiceError::<OrganizationError>::from), StatusCode::CREATED)
}

/// `PATCH /api/admin/organizations/{organizationId}`: `{name?, crmEnabled?, sendingPaused?}`.
pub async fn change(
    State(state): State<HttpState>,
    admitted: Admitted,
    Path(organization): Path<String>,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let id: OrganizationId = path_id("organizationId", &organization)?;
    // The organization's facts stand in the instance ledger; the call itself is about the organization.
    let call = admitted.call(&body)?;
    let mut fields = Fields::of_body(body)?;
    fields.not_empty();
    let name = fields.patched("name", line(200));
    let enabled = fields.patched("crmEnabled", boolean);
    let paused = fields.patched("sendingPaused", boolean);
    fields.finish()?;
    let commands: Vec<OrganizationCommand> = [
        name.map(|name| OrganizationCommand::Rename { name }),
        enabled.map(|enabled| OrganizationCommand::SwitchCrmModule { enabled }),
    ]
    .into_iter()
    .flatten()
    .collect();

    // What stands in the instance's ledger is answered there, under a key that names the organization besides; what
    // stands in the organization's own ledger, where its hand-overs rest on it, is answered there.
    let of_instance = Call {
        organization: OrganizationId::INSTANCE,
        idempotency: call
            .idempotency
            .clone()
            .map(|asked| Idempotency { key: format!("{id}/{}", asked.key), ..asked }),
        ..call.clone()
    };
    for call in [&call, &of_instance] {
        if let Some(answer) = replay(&state, call, StatusCode::OK).await? {
            if paused == Some(true) {
                pauses::holds().await;
            }
            return Ok(answer);
        }
    }
    let app = &state.app;
    let seen = app.ledger.load::<Organization>(OrganizationId::INSTANCE, id).await?;
    if !seen.exists() {
        return Err(OrganizationError::Unknown.into());
    }
    let (after, events) = organizations::decide(&seen.state, &commands)?;
    let held_back = match paused {
        Some(paused) => paused,
        None => pauses::all_is_held_back(app, id).await?,
    };
    let view = |organization: &Organization| OrganizationView {
        sending_paused: Some(held_back),
        ..OrganizationView::of(id, organization)
    };
    let mut done = Done { entity: view(&after), appended: None };
    if let Some(paused) = paused {
        // The answer is kept with the last append of the request; until then, all of it may be asked again.
        let last = events.is_empty();
        // Each append is a command of its own.
        let call = Call {
            idempotency: call.idempotency.clone().filter(|_| last),
            command_id: if last { call.command_id } else { app.clock.mint() },
            ..call.clone()
        };
        let entity = done.entity.clone();
        let switched = match paused {
            true => pauses::pause_answering(app, &call, PauseScope::All, PAUSED_BY.to_owned(), entity).await,
            false => pauses::resume_answering(app, &call, PauseScope::All, entity).await,
        };
        match switched {
            Ok(switched) => done = switched,
            refused => return settle(refused, StatusCode::OK),
        }
    }
    if events.is_empty() {
        return settle::<_, ApiError>(Ok(done), StatusCode::OK);
    }
    settle(organizations::change(app, &of_instance, id, &commands, view).await, StatusCode::OK)
}
