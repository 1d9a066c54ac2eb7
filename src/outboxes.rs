//! Setting up senders. An outbox names its secret; the cap and the zone that are set through it belong to the secret's
//! credential, and hold for every outbox that shares it.

use docket_aggregates::bucket::Bucket;
use docket_aggregates::channel::Channel;
use docket_aggregates::credential::{Credential, CredentialCommand, CredentialError, SecretRef};
use docket_aggregates::ids::{CredentialId, OrganizationId, OutboxId};
use docket_aggregates::outbox::{Outbox, OutboxCommand, OutboxError, OutboxPatch, OutboxSettings};
use docket_aggregates::{Decides, Timestamp};
use docket_projections::outboxes::{self as rows, OutboxRow};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::app::App;
use crate::channels::{self, Problem};
use crate::ledger::read::ReadError;
use crate::ledger::{AppendError, Versioned};
use crate::readside::Consistency;
use crate::service::{Call, Done, ServiceError};
use crate::shapes::{Instant, OneOf};

/// How often a decision that lost a race is made anew.
const TRIES: usize = 5;

/// Why an outbox is not set up as it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboxRefusal {
    /// The outbox refuses.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The credential refuses.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The channel could not send with this configuration.
    #[error("the channel cannot send with this config")]
    Config(Vec<Problem>),
}

/// What may be sent a day; what is not said stays.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Sends a day and channel; `Some(None)` means as many as there are.
    pub daily_cap: Option<Option<u64>>,
    /// IANA name of the zone whose days count.
    pub time_zone: Option<String>,
}

/// An outbox as answers show it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutboxView {
    /// Its id.
    #[schemars(with = "Uuid")]
    pub id: OutboxId,
    /// The company.
    #[schemars(with = "Uuid")]
    pub company_id: OrganizationId,
    /// Its channel.
    #[schemars(with = "OneOf<Channel>")]
    pub channel: Channel,
    /// The niche that it serves.
    pub niche: Option<String>,
    /// The secret that it sends with, by its name; null once erased.
    pub secret_ref: Option<String>,
    /// The channel's own settings; null once erased.
    pub config: Option<Value>,
    /// Sends a day, over all outboxes with this secret; null means as many as there are.
    pub daily_cap: Option<u64>,
    /// The zone whose days count.
    pub time_zone: String,
    /// Sends of the current day, over all outboxes with this secret and channel.
    pub used_today: u64,
    /// When it was opened.
    #[schemars(with = "Instant")]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schemars(with = "Instant")]
    pub updated_at: Timestamp,
    /// When it was taken out of use.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Instant>")]
    pub deleted_at: Option<Timestamp>,
}

/// The credential that a secret belongs to.
fn credential_of(organization: OrganizationId, secret: &SecretRef) -> CredentialId {
    organization.credential(&secret.secret_id)
}

/// What is true of an outbox beside its own settings.
struct Surroundings {
    daily_cap: Option<u64>,
    time_zone: String,
    used_today: u64,
}

async fn surroundings(
    app: &App,
    organization: OrganizationId,
    credential: &Credential,
    credential_id: CredentialId,
    channel: Channel,
    at: Timestamp,
) -> Result<Surroundings, ReadError> {
    let day = credential.day_at(at).ok();
    let used_today = match day {
        None => 0,
        Some(day) => {
            let bucket = organization.bucket(credential_id, channel, day.number);
            app.ledger.load::<Bucket>(organization, bucket).await?.state.used()
        }
    };
    Ok(Surroundings {
        daily_cap: credential.daily_cap(),
        time_zone: credential.time_zone().to_owned(),
        used_today,
    })
}

fn view(
    organization: OrganizationId,
    id: OutboxId,
    channel: Channel,
    settings: Option<&OutboxSettings>,
    around: Surroundings,
    times: (Timestamp, Timestamp, Option<Timestamp>),
) -> OutboxView {
    OutboxView {
        id,
        company_id: organization,
        channel,
        niche: settings.and_then(|settings| settings.niche.clone()),
        secret_ref: settings.map(|settings| settings.secret.to_string()),
        config: settings.and_then(|settings| serde_json::from_str(&settings.config).ok()),
        daily_cap: around.daily_cap,
        time_zone: around.time_zone,
        used_today: around.used_today,
        created_at: times.0,
        updated_at: times.1,
        deleted_at: times.2,
    }
}

/// The view of a row of the list.
pub async fn of_row(
    app: &App,
    organization: OrganizationId,
    row: OutboxRow,
    at: Timestamp,
) -> Result<OutboxView, ReadError> {
    let settings = row.secret().zip(row.config.clone()).map(|(secret, config)| OutboxSettings {
        niche: row.niche.clone(),
        secret,
        config,
    });
    let around = match &settings {
        None => Surroundings { daily_cap: None, time_zone: String::new(), used_today: 0 },
        Some(settings) => {
            let credential_id = credential_of(organization, &settings.secret);
            let credential = app.ledger.load::<Credential>(organization, credential_id).await?;
            surroundings(app, organization, &credential.state, credential_id, row.channel, at).await?
        }
    };
    let times = (row.created_at, row.updated_at, row.deleted_at);
    Ok(view(organization, row.outbox_id, row.channel, settings.as_ref(), around, times))
}

/// Opens an outbox under a fresh id.
pub async fn open(
    app: &App,
    call: &Call,
    channel: Channel,
    settings: OutboxSettings,
    limits: Limits,
) -> Result<Done<OutboxView>, ServiceError<OutboxRefusal>> {
    let outbox_id: OutboxId = app.clock.mint();
    let order = OutboxCommand::Open { outbox_id, channel, settings: settings.clone() };
    let times = (call.at, call.at, None);
    order_with_limits(app, call, outbox_id, order, channel, settings, limits, times).await
}

/// Changes what is given and keeps the rest.
pub async fn change(
    app: &App,
    call: &Call,
    outbox_id: OutboxId,
    patch: OutboxPatch,
    limits: Limits,
) -> Result<Done<OutboxView>, ServiceError<OutboxRefusal>> {
    let before = app.ledger.load::<Outbox>(call.organization, outbox_id).await?;
    let refused = |error: OutboxError| ServiceError::Refused(OutboxRefusal::Outbox(error));
    let channel = before.state.channel().ok_or_else(|| refused(OutboxError::Unknown))?;
    let known = before.state.settings().ok_or_else(|| refused(OutboxError::Erased))?;
    let settings = OutboxSettings {
        niche: patch.niche.clone().unwrap_or_else(|| known.niche.clone()),
        secret: patch.secret.clone().unwrap_or_else(|| known.secret.clone()),
        config: patch.config.clone().unwrap_or_else(|| known.config.clone()),
    };
    let times = (opened_at(app, call, outbox_id).await?, call.at, None);
    let order = OutboxCommand::Change(Box::new(patch));
    order_with_limits(app, call, outbox_id, order, channel, settings, limits, times).await
}

/// Takes an outbox out of use.
pub async fn delete(
    app: &App,
    call: &Call,
    outbox_id: OutboxId,
) -> Result<Done<OutboxView>, ServiceError<OutboxRefusal>> {
    let before = app.ledger.load::<Outbox>(call.organization, outbox_id).await?;
    let refused = |error: OutboxError| ServiceError::Refused(OutboxRefusal::Outbox(error));
    let channel = before.state.channel().ok_or_else(|| refused(OutboxError::Unknown))?;
    let settings = before.state.settings().cloned().ok_or_else(|| refused(OutboxError::Erased))?;
    let times = (opened_at(app, call, outbox_id).await?, call.at, Some(call.at));
    order_with_limits(
        app,
        call,
        outbox_id,
        OutboxCommand::Delete,
        channel,
        settings,
        Limits::default(),
        times,
    )
    .await
}

async fn opened_at(
    app: &App,
    call: &Call,
    outbox_id: OutboxId,
) -> Result<Timestamp, ServiceError<OutboxRefusal>> {
    let mut view = app.readside.view(call.organization, Consistency::STRONG).await?;
    let row = rows::get(&mut view, call.organization, outbox_id).await?;
    Ok(row.map_or(call.at, |row| row.created_at))
}

/// That the channel can send with a configuration that is given: by the rules that the hand-over reads it with.
fn check_config(channel: Channel, order: &OutboxCommand) -> Result<(), ServiceError<OutboxRefusal>> {
    let config = match order {
        OutboxCommand::Open { settings, .. } => Some(&settings.config),
        OutboxCommand::Change(patch) => patch.config.as_ref(),
        OutboxCommand::Delete => None,
    };
    let Some(config) = config else { return Ok(()) };
    let unreadable = |_| ServiceError::Refused(OutboxRefusal::Outbox(OutboxError::ConfigNotAnObject));
    let config: Value = serde_json::from_str(config).map_err(unreadable)?;
    channels::check_config(channel, &config)
        .map_err(|problems| ServiceError::Refused(OutboxRefusal::Config(problems)))
}

/// The outbox and its credential in one append.
#[allow(clippy::too_many_arguments, reason = "what is asked for, and what the answer shows beside it")]
async fn order_with_limits(
    app: &App,
    call: &Call,
    outbox_id: OutboxId,
    order: OutboxCommand,
    channel: Channel,
    settings: OutboxSettings,
    limits: Limits,
    times: (Timestamp, Timestamp, Option<Timestamp>),
) -> Result<Done<OutboxView>, ServiceError<OutboxRefusal>> {
    let organization = call.organization;
    let credential_id = credential_of(organization, &settings.secret);
    for _ in 0..TRIES {
        let outbox = app.ledger.load::<Outbox>(organization, outbox_id).await?;
        let credential = app.ledger.load::<Credential>(organization, credential_id).await?;
        let refused = |error: OutboxError| ServiceError::Refused(OutboxRefusal::Outbox(error));
        let events = outbox.state.decide(order.clone()).map_err(refused)?;
        // A secret that was pasted in is recognised first, so that it is called what it is.
        check_config(channel, &order)?;
        let limit = CredentialCommand::Limit {
            credential_id,
            secret_id: settings.secret.secret_id.clone(),
            daily_cap: limits.daily_cap.unwrap_or(credential.state.daily_cap()),
            time_zone: limits.time_zone.clone().unwrap_or_else(|| credential.state.time_zone().to_owned()),
        };
        let refused = |error: CredentialError| ServiceError::Refused(OutboxRefusal::Credential(error));
        let limited = credential.state.decide(limit).map_err(refused)?;
        let after = with(&credential, &limited);
        let around = surroundings(app, organization, &after, credential_id, channel, call.at).await?;
        let entity = view(organization, outbox_id, channel, Some(&settings), around, times);
        if events.is_empty() && limited.is_empty() {
            return Ok(Done { entity, appended: None });
        }
        let writes = vec![outbox.write(events), credential.write(limited)];
        match app.ledger.append(call.command(writes, vec![], call.request(&entity)?)).await {
            Ok(appended) => return Ok(Done { entity, appended: Some(appended) }),
            Err(AppendError::Conflict) => (),
            Err(error) => return Err(error.into()),
        }
    }
    Err(AppendError::Conflict.into())
}

fn with<A: Decides + Clone>(before: &Versioned<A>, events: &[A::Event]) -> A
where
    A::Event: Clone,
{
    let mut state = (*before.state).clone();
    events.iter().cloned().for_each(|event| state.apply(event));
    state
}
