//! Holding sending back, and letting it go on.

use std::time::Duration;

use docket_aggregates::sending_control::{
    PauseScope, SendingControl, SendingControlCommand, SendingControlError,
};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::app::App;
use crate::dispatcher::CALLS_BEGIN_WITHIN;
use crate::service::{Call, Done, ServiceError};

/// Between the look at the time and the first byte of a call.
const GRACE: Duration = Duration::from_millis(200);

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

/// Holds back. No hand-over is appended after this was recorded, and this answers when no hand-over of before begins its
/// call any more.
pub async fn pause(
    app: &App,
    call: &Call,
    scope: PauseScope,
    reason: String,
) -> Result<Done<PauseView>, ServiceError<SendingControlError>> {
    let control_id = call.organization.sending_control();
    let answer = view(scope, true, Some(reason.clone()));
    let paused = order(app, call, SendingControlCommand::Pause { control_id, scope, reason }, answer).await?;
    tokio::time::sleep(CALLS_BEGIN_WITHIN + GRACE).await;
    Ok(paused)
}

/// Goes on.
pub async fn resume(
    app: &App,
    call: &Call,
    scope: PauseScope,
) -> Result<Done<PauseView>, ServiceError<SendingControlError>> {
    order(app, call, SendingControlCommand::Resume { scope }, view(scope, false, None)).await
}

async fn order(
    app: &App,
    call: &Call,
    command: SendingControlCommand,
    answer: PauseView,
) -> Result<Done<PauseView>, ServiceError<SendingControlError>> {
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
