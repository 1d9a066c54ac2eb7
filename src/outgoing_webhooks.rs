//! Outgoing webhooks: what happens in a company's ledger, posted to whoever it names.
//!
//! An endpoint is an aggregate; that it takes events of a type from here on, and no more from there on, is decided by
//! the order of the ledger. `work` follows it and posts in the form of Standard Webhooks (`signing`), with ids and facts
//! and nothing that is sealed (`body`). Each delivery happens at least once, for as long as the endpoint answers within
//! some three days; the order is not promised.
//!
//! A company has fifty endpoints at most, so that they are read from their streams and need no read model.

pub mod body;
mod secrets;
pub mod signing;
mod turns;
mod work;

use std::collections::BTreeMap;
use std::time::Duration;

use cqrs_es::Aggregate as _;
use docket_aggregates::ids::{OrganizationId, WebhookEndpointId};
use docket_aggregates::webhook_endpoint::{
    DisabledBecause, WebhookEndpoint, WebhookEndpointCommand, WebhookEndpointError, WebhookEndpointEvent,
    WebhookPatch, WebhookSettings, is_url,
};
use docket_aggregates::{Decides, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::Row;
use uuid::Uuid;

use crate::app::App;
use crate::channels::Secret;
use crate::channels::post::{Posted, Poster};
use crate::channels::targets::TargetError;
use crate::ledger::instant::Instant as Stored;
use crate::ledger::{AppendError, TRIES, read};
use crate::service::{Call, Done, ServiceError};
use crate::shapes::Instant;

pub use work::run;

/// Endpoints of an organization, at most.
pub const ENDPOINTS_MAX: usize = 50;
/// How long a target may take to answer.
const POST_WITHIN: Duration = Duration::from_secs(20);
/// Deliveries that are listed.
const LISTED: i64 = 100;

/// What posts. Without it nothing is posted, and what is due waits for a process that can. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Webhooks {
    poster: Option<Poster>,
}

impl Webhooks {
    /// Posts with this.
    pub fn new(poster: Poster) -> Self {
        Self { poster: Some(poster) }
    }
}

/// Why an endpoint is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookRefusal {
    /// The endpoint refuses.
    #[error(transparent)]
    Endpoint(#[from] WebhookEndpointError),
    /// There are as many as may be.
    #[error("an organization has at most {ENDPOINTS_MAX} webhook endpoints")]
    TooMany,
    /// The address is on a private network.
    #[error("url is on a private network, which DOCKET_ALLOW_PRIVATE_TARGETS does not name")]
    Private,
    /// The address is outside the machine to which this process is confined.
    #[error("url is not on this machine, and this server posts nowhere else")]
    Elsewhere,
    /// This process posts nothing.
    #[error("this server posts no webhooks")]
    NoPoster,
}

/// An endpoint as answers show it.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookView {
    /// Its id.
    #[schemars(with = "Uuid")]
    pub id: WebhookEndpointId,
    /// The company.
    #[schemars(with = "Uuid")]
    pub company_id: OrganizationId,
    /// Where is posted to; null once erased.
    pub url: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The types of the events that it gets; none means all.
    pub event_types: Vec<String>,
    /// Whether it gets any.
    pub enabled: bool,
    /// Why not: `requested`, `gone` (it answered 410) or `failing` (it took nothing for three days).
    pub disabled_because: Option<String>,
    /// Which secret signs, from 1.
    pub secret_version: u32,
    /// The secret that signs. Only in the answer to whoever set up the endpoint or rotated the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// When it was set up.
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

impl WebhookView {
    fn new(company_id: OrganizationId, id: WebhookEndpointId, at: Timestamp) -> Self {
        Self {
            id,
            company_id,
            url: None,
            description: None,
            event_types: vec![],
            enabled: true,
            disabled_because: None,
            secret_version: 0,
            secret: None,
            created_at: at,
            updated_at: at,
            deleted_at: None,
        }
    }

    fn after(mut self, event: &WebhookEndpointEvent, at: Timestamp) -> Self {
        self.updated_at = at;
        match event {
            WebhookEndpointEvent::WebhookEndpointOpened { settings, event_types, secret_version, .. } => {
                self.tell(settings.value(), event_types);
                self.secret_version = *secret_version;
            }
            WebhookEndpointEvent::WebhookEndpointChanged { settings, event_types } => {
                self.tell(settings.value(), event_types);
            }
            WebhookEndpointEvent::WebhookSecretRotated { secret_version } => {
                self.secret_version = *secret_version;
            }
            WebhookEndpointEvent::WebhookEndpointDisabled { because } => {
                self.enabled = false;
                self.disabled_because = Some(because.clone());
            }
            WebhookEndpointEvent::WebhookEndpointEnabled {} => {
                self.enabled = true;
                self.disabled_because = None;
            }
            WebhookEndpointEvent::WebhookEndpointDeleted {} => self.deleted_at = Some(at),
        }
        self
    }

    fn tell(&mut self, settings: Option<&WebhookSettings>, event_types: &[String]) {
        self.url = settings.map(|settings| settings.url.clone());
        self.description = settings.and_then(|settings| settings.description.clone());
        self.event_types = event_types.to_vec();
    }
}

type Result<T, E = ServiceError<WebhookRefusal>> = std::result::Result<T, E>;

/// The endpoints in use, the oldest first.
pub async fn list(app: &App, organization: OrganizationId) -> Result<Vec<WebhookView>> {
    let ids = opened(app, organization).await?;
    in_use(app, organization, ids).await
}

/// Every endpoint that there ever was.
async fn opened(app: &App, organization: OrganizationId) -> Result<Vec<Uuid>> {
    let ids: Vec<String> = sqlx::query_scalar(
        "SELECT aggregate_id FROM ledger.events \
         WHERE organization_id = $1 AND aggregate_type = $2 AND sequence = 1",
    )
    .bind(organization.uuid())
    .bind(WebhookEndpoint::TYPE)
    .fetch_all(app.ledger.pool())
    .await?;
    Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
}

async fn in_use(app: &App, organization: OrganizationId, ids: Vec<Uuid>) -> Result<Vec<WebhookView>> {
    let mut views: Vec<WebhookView> = read_views(app, organization, ids).await?.into_values().collect();
    views.retain(|view| view.deleted_at.is_none());
    views.sort_by_key(|view| (view.created_at, view.id));
    Ok(views)
}

async fn read_views(
    app: &App,
    organization: OrganizationId,
    ids: Vec<Uuid>,
) -> Result<BTreeMap<Uuid, WebhookView>> {
    let mut events = read::streams(app.ledger.pool(), organization, WebhookEndpoint::TYPE, ids).await?;
    read::open(app.ledger.keys(), organization, &mut events).await?;
    let mut views: BTreeMap<Uuid, WebhookView> = BTreeMap::new();
    for stored in events {
        let (position, at) = (stored.position, stored.occurred_at);
        let id: Uuid = stored.aggregate_id.parse().map_err(|_| read::ReadError::Damaged(position))?;
        let event = serde_json::from_value(stored.payload).map_err(|_| read::ReadError::Damaged(position))?;
        let view = views.remove(&id).unwrap_or_else(|| WebhookView::new(organization, id.into(), at));
        views.insert(id, view.after(&event, at));
    }
    Ok(views)
}

/// An endpoint in use.
pub async fn get(app: &App, organization: OrganizationId, id: WebhookEndpointId) -> Result<WebhookView> {
    let view = read_views(app, organization, vec![id.uuid()]).await?.remove(&id.uuid());
    let view = view.filter(|view| view.deleted_at.is_none());
    view.ok_or(ServiceError::Refused(WebhookEndpointError::Unknown.into()))
}

/// Sets an endpoint up. The answer holds its secret.
///
/// Its id is made of how many there were before it, so that of two processes which count the same number one appends, and
/// the other counts again: the limit holds whoever asks where.
pub async fn open(
    app: &App,
    call: &Call,
    settings: WebhookSettings,
    event_types: Vec<String>,
) -> Result<Done<WebhookView>> {
    judge_target(app, &settings.url)?;
    // Whoever asks this process at the same moment is counted after this one.
    let _turn = app.ledger.turn(call.organization.uuid()).await;
    let secret = signing::mint();
    // Each time that another process was first there is one more.
    for _ in 0..=ENDPOINTS_MAX {
        let opened = opened(app, call.organization).await?;
        let endpoint_id = call.organization.webhook_endpoint(opened.len());
        if in_use(app, call.organization, opened).await?.len() >= ENDPOINTS_MAX {
            return Err(ServiceError::Refused(WebhookRefusal::TooMany));
        }
        let (settings, event_types) = (settings.clone(), event_types.clone());
        let open = WebhookEndpointCommand::Open { endpoint_id, settings, event_types };
        match attempt(app, call, endpoint_id, &[open], Some(&secret)).await {
            Err(
                ServiceError::Append(AppendError::Conflict)
                | ServiceError::Refused(WebhookRefusal::Endpoint(WebhookEndpointError::AlreadyOpened)),
            ) => (),
            done => return done,
        }
    }
    Err(AppendError::Conflict.into())
}

/// Changes what the patch says, and switches it on or off if that is said.
pub async fn change(
    app: &App,
    call: &Call,
    id: WebhookEndpointId,
    patch: WebhookPatch,
    enabled: Option<bool>,
) -> Result<Done<WebhookView>> {
    if let Some(url) = &patch.url {
        judge_target(app, url)?;
    }
    let mut commands = vec![WebhookEndpointCommand::Change(Box::new(patch))];
    commands.extend(enabled.map(|enabled| match enabled {
        true => WebhookEndpointCommand::Enable,
        false => WebhookEndpointCommand::Disable { because: DisabledBecause::Requested },
    }));
    order(app, call, id, commands, None).await
}

/// Gives it a new secret, which the answer holds. For a day the old one signs as well.
pub async fn rotate(app: &App, call: &Call, id: WebhookEndpointId) -> Result<Done<WebhookView>> {
    order(app, call, id, vec![WebhookEndpointCommand::RotateSecret], Some(signing::mint())).await
}

/// Takes it out of use, for good.
pub async fn delete(app: &App, call: &Call, id: WebhookEndpointId) -> Result<Done<WebhookView>> {
    order(app, call, id, vec![WebhookEndpointCommand::Delete], None).await
}

/// What an address says by itself is judged at once; what its name resolves to, at every post. What is no address at all
/// is the endpoint's to refuse.
fn judge_target(app: &App, url: &str) -> Result<()> {
    match &app.webhooks.poster {
        Some(poster) if is_url(url) => poster.check(url).map_err(|error| {
            ServiceError::Refused(match error {
                TargetError::Confined => WebhookRefusal::Elsewhere,
                _ => WebhookRefusal::Private,
            })
        }),
        _ => Ok(()),
    }
}

async fn order(
    app: &App,
    call: &Call,
    id: WebhookEndpointId,
    commands: Vec<WebhookEndpointCommand>,
    secret: Option<Secret>,
) -> Result<Done<WebhookView>> {
    for _ in 0..TRIES {
        match attempt(app, call, id, &commands, secret.as_ref()).await {
            Err(ServiceError::Append(AppendError::Conflict)) => (),
            done => return done,
        }
    }
    Err(AppendError::Conflict.into())
}

async fn attempt(
    app: &App,
    call: &Call,
    id: WebhookEndpointId,
    commands: &[WebhookEndpointCommand],
    secret: Option<&Secret>,
) -> Result<Done<WebhookView>> {
    let organization = call.organization;
    let before = app.ledger.load::<WebhookEndpoint>(organization, id).await?;
    let known = read_views(app, organization, vec![id.uuid()]).await?.remove(&id.uuid());
    let (mut state, mut events) = ((*before.state).clone(), Vec::new());
    for command in commands {
        let decided = state
            .decide(command.clone())
            .map_err(|refusal| ServiceError::Refused(WebhookRefusal::from(refusal)))?;
        decided.iter().for_each(|event| state.apply(event.clone()));
        events.extend(decided);
    }
    let known = known.unwrap_or_else(|| WebhookView::new(organization, id, call.at));
    if events.is_empty() {
        return Ok(Done { entity: known, appended: None });
    }
    let mut view = events.iter().fold(known, |view, event| view.after(event, call.at));
    if let Some(secret) = secret {
        secrets::write(app, call, id, state.secret_version(), secret).await?;
        view.secret = Some(secret.expose().to_owned());
    }
    let command = call.command(vec![before.write(events)], vec![], call.request(&view)?);
    let appended = app.ledger.append(command).await?;
    Ok(Done { entity: view, appended: Some(appended) })
}

/// What came of a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestView {
    /// Whether the endpoint took it: a status of 200 to 299.
    pub delivered: bool,
    /// The status that it answered with.
    pub status: Option<u16>,
    /// Why there is none.
    pub error: Option<&'static str>,
    /// The header `webhook-id` of the test.
    #[schemars(with = "Uuid")]
    pub webhook_id: Uuid,
}

/// Posts a test, once, whether the endpoint is switched on or not. Nothing is recorded.
pub async fn test(app: &App, call: &Call, id: WebhookEndpointId) -> Result<TestView> {
    let view = get(app, call.organization, id).await?;
    let Some(poster) = &app.webhooks.poster else {
        return Err(ServiceError::Refused(WebhookRefusal::NoPoster));
    };
    let url = view.url.ok_or(ServiceError::Refused(WebhookEndpointError::Erased.into()))?;
    let webhook_id: Uuid = app.clock.mint();
    let body = body::of_test(call.organization, webhook_id, call.at).to_string();
    let posted =
        post(app, poster, call.organization, (id, view.secret_version), &url, webhook_id, body).await?;
    Ok(match posted {
        Posted::Answered { status, .. } => TestView {
            delivered: (200..300).contains(&status),
            status: Some(status),
            error: None,
            webhook_id,
        },
        Posted::Refused(error) | Posted::Lost(error) => {
            TestView { delivered: false, status: None, error: Some(error), webhook_id }
        }
    })
}

/// Signs and posts.
async fn post(
    app: &App,
    poster: &Poster,
    organization: OrganizationId,
    (endpoint, secret_version): (WebhookEndpointId, u32),
    url: &str,
    webhook_id: Uuid,
    body: String,
) -> Result<Posted, read::ReadError> {
    let now = app.clock.now();
    let keys = secrets::signing(app, organization, endpoint, secret_version, now).await?;
    let Some(signature) = signing::signature(&keys, &webhook_id.to_string(), now, body.as_bytes()) else {
        return Ok(Posted::Refused("there is no secret to sign with"));
    };
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("webhook-id", webhook_id.to_string()),
        ("webhook-timestamp", now.millis().div_euclid(1_000).to_string()),
        ("webhook-signature", signature),
    ];
    Ok(poster.post(url, &headers, body.into_bytes(), POST_WITHIN).await)
}

/// A delivery as answers show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryView {
    /// The header `webhook-id`: the event's own id.
    #[schemars(with = "Uuid")]
    pub webhook_id: Uuid,
    /// The event's place in the ledger.
    pub position: i64,
    /// The event's type.
    pub event_type: String,
    /// `due`, `delivered`, `failed` (through all tries) or `dropped` (the endpoint takes it no more).
    pub state: String,
    /// How often it was tried.
    pub attempts: i32,
    /// The status of the last answer.
    pub last_status: Option<i32>,
    /// Why the last try had none.
    pub last_error: Option<String>,
    /// When it is tried next; null while it is being tried.
    #[schemars(with = "Option<Instant>")]
    pub next_attempt_at: Option<Timestamp>,
    /// When it came to an end.
    #[schemars(with = "Option<Instant>")]
    pub finished_at: Option<Timestamp>,
}

/// The last deliveries to an endpoint, the newest event first.
pub async fn deliveries(
    app: &App,
    organization: OrganizationId,
    id: WebhookEndpointId,
) -> Result<Vec<DeliveryView>> {
    get(app, organization, id).await?;
    let rows = sqlx::query(
        "SELECT event_id, position, event_type, state, attempts, last_status, last_error, due_at, finished_at, \
             holder IS NULL \
         FROM ledger.webhook_deliveries WHERE organization_id = $1 AND endpoint_id = $2 \
         ORDER BY position DESC LIMIT $3",
    )
    .bind(organization.uuid())
    .bind(id.uuid())
    .bind(LISTED)
    .fetch_all(app.ledger.pool())
    .await?;
    let views = rows.iter().map(|row| {
        let state: String = row.try_get(3)?;
        let due_at = row.try_get::<Stored, _>(7)?.0;
        Ok(DeliveryView {
            webhook_id: row.try_get(0)?,
            position: row.try_get(1)?,
            event_type: row.try_get(2)?,
            next_attempt_at: (state == "due" && row.try_get(9)?).then_some(due_at),
            state,
            attempts: row.try_get(4)?,
            last_status: row.try_get(5)?,
            last_error: row.try_get(6)?,
            finished_at: row.try_get::<Option<Stored>, _>(8)?.map(|at| at.0),
        })
    });
    Ok(views.collect::<std::result::Result<_, sqlx::Error>>()?)
}
