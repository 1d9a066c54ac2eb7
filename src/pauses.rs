//! Holding sending back, and letting it go on; and how many messages one recipient may get.

use std::time::Duration;

use docket_aggregates::agent::Agent;
use docket_aggregates::campaign::Campaign;
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::outbox::Outbox;
use docket_aggregates::sending_control::{
    FrequencyCap, PauseScope, SendingControl, SendingControlCommand, SendingControlError,
};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::app::App;
use crate::credentials;
use crate::dispatcher::CALLS_BEGIN_WITHIN;
use crate::ledger::AppendError;
use crate::ledger::read::ReadError;
use crate::service::{Call, Done, ServiceError};

/// Between the look at the time and the first byte of a call.
const GRACE: Duration = Duration::from_millis(200);

/// Why sending is not held back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PauseRefusal {
    /// There is no such outbox in use.
    #[error("outbox does not exist")]
    UnknownOutbox,
    /// There is no such campaign.
    #[error("campaign does not exist")]
    UnknownCampaign,
    /// There is no such caller.
    #[error("agent does not exist")]
    UnknownAgent,
    /// The switch refuses.
    #[error(transparent)]
    Control(#[from] SendingControlError),
}

/// What is held back, as answers show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PauseView {
    /// `all`, `outbox`, `campaign` or `agent`.
    pub scope: &'static str,
    /// Which one; null for all.
    pub id: Option<Uuid>,
    /// Whether it is held back.
    pub paused: bool,
    /// Why, in the words of whoever ordered it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

fn view(scope: PauseScope, paused: bool, reason: Option<String>) -> PauseView {
    let (name, id) = match scope {
        PauseScope::All => ("all", None),
        PauseScope::Outbox(id) => ("outbox", Some(id.uuid())),
        PauseScope::Campaign(id) => ("campaign", Some(id.uuid())),
        PauseScope::Agent(id) => ("agent", Some(id.uuid())),
    };
    PauseView { scope: name, id, paused, reason }
}

/// The most that one recipient may get, as answers show it; both are null where there is no cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FrequencyCapView {
    /// Messages, on all channels together.
    pub messages: Option<u32>,
    /// Within this many times 24 hours.
    pub days: Option<u32>,
}

impl From<Option<FrequencyCap>> for FrequencyCapView {
    fn from(cap: Option<FrequencyCap>) -> Self {
        Self { messages: cap.map(|cap| cap.messages), days: cap.map(|cap| cap.days) }
    }
}

/// What is held back now, in the order in which it was ordered.
pub async fn list(app: &App, organization: OrganizationId) -> Result<Vec<PauseView>, ReadError> {
    let control = app.ledger.load::<SendingControl>(organization, organization.sending_control()).await?;
    Ok(control.state.pauses().map(|(scope, reason)| view(scope, true, reason.map(str::to_owned))).collect())
}

/// Whether all sending of an organization is held back.
pub async fn all_is_held_back(app: &App, organization: OrganizationId) -> Result<bool, ReadError> {
    let control = app.ledger.load::<SendingControl>(organization, organization.sending_control()).await?;
    Ok(control.state.pauses().any(|(scope, _)| scope == PauseScope::All))
}

/// The most that one recipient may get.
pub async fn frequency(app: &App, organization: OrganizationId) -> Result<FrequencyCapView, ReadError> {
    let control = app.ledger.load::<SendingControl>(organization, organization.sending_control()).await?;
    Ok(control.state.frequency().into())
}

/// Sets the most that one recipient may get. It binds every hand-over that is appended after this was recorded.
pub async fn cap_frequency(
    app: &App,
    call: &Call,
    cap: Option<FrequencyCap>,
) -> Result<Done<FrequencyCapView>, ServiceError<SendingControlError>> {
    order(app, call, SendingControlCommand::CapFrequency { cap }, cap.into()).await
}

/// Holds back. No hand-over is appended after this was recorded, and this answers when no hand-over of before begins its
/// call any more. A mistyped id is refused: whoever reads "paused" must not find that something else went on.
pub async fn pause(
    app: &App,
    call: &Call,
    scope: PauseScope,
    reason: String,
) -> Result<Done<PauseView>, ServiceError<PauseRefusal>> {
    check_exists(app, call.organization, scope).await?;
    let answer = view(scope, true, Some(reason.clone()));
    pause_answering(app, call, scope, reason, answer).await.map_err(|error| error.map(PauseRefusal::Control))
}

/// That the organization has what is to be held back.
async fn check_exists(
    app: &App,
    organization: OrganizationId,
    scope: PauseScope,
) -> Result<(), ServiceError<PauseRefusal>> {
    let (exists, refusal) = match scope {
        PauseScope::All => return Ok(()),
        PauseScope::Outbox(id) => {
            let outbox = app.ledger.load::<Outbox>(organization, id).await?;
            (outbox.state.channel().is_some(), PauseRefusal::UnknownOutbox)
        }
        PauseScope::Campaign(id) => {
            (app.ledger.load::<Campaign>(organization, id).await?.exists(), PauseRefusal::UnknownCampaign)
        }
        PauseScope::Agent(id) => {
            let registered = app.ledger.load::<Agent>(organization, id).await?.exists();
            let acts = registered || credentials::act_as(app.ledger.pool(), organization, id).await?;
            (acts, PauseRefusal::UnknownAgent)
        }
    };
    if exists { Ok(()) } else { Err(ServiceError::Refused(refusal)) }
}

/// The same for a request of which the pause is a part, and that is answered with something else.
pub async fn pause_answering<T: Serialize>(
    app: &App,
    call: &Call,
    scope: PauseScope,
    reason: String,
    answer: T,
) -> Result<Done<T>, ServiceError<SendingControlError>> {
    let control_id = call.organization.sending_control();
    let paused = order(app, call, SendingControlCommand::Pause { control_id, scope, reason }, answer).await;
    // Whoever came second with the same request is told the same, and no sooner.
    if matches!(paused, Ok(_) | Err(ServiceError::Append(AppendError::Replayed(_)))) {
        holds().await;
    }
    paused
}

/// When a pause that was just recorded holds: no hand-over of before begins its call any more. The answer to it waits for that, and
/// so does the same answer to a repetition, which may come a moment later.
pub async fn holds() {
    tokio::time::sleep(CALLS_BEGIN_WITHIN + GRACE).await;
}

/// Goes on.
pub async fn resume(
    app: &App,
    call: &Call,
    scope: PauseScope,
) -> Result<Done<PauseView>, ServiceError<SendingControlError>> {
    resume_answering(app, call, scope, view(scope, false, None)).await
}

/// The same for a request of which it is a part, and that is answered with something else.
pub async fn resume_answering<T: Serialize>(
    app: &App,
    call: &Call,
    scope: PauseScope,
    answer: T,
) -> Result<Done<T>, ServiceError<SendingControlError>> {
    order(app, call, SendingControlCommand::Resume { scope }, answer).await
}

async fn order<T: Serialize>(
    app: &App,
    call: &Call,
    command: SendingControlCommand,
    answer: T,
) -> Result<Done<T>, ServiceError<SendingControlError>> {
    let decided = app
        .ledger
        .order::<SendingControl>(
            call.organization,
            call.organization.sending_control(),
            call.command_id,
            call.at,
            &call.origin,
            call.request(&answer)?,
            command,
        )
        .await?;
    Ok(Done { entity: answer, appended: decided.appended })
}
