//! Waiting for what becomes of a message.
//!
//! Nobody waits longer than they said, and nothing rests on it: the message goes its way whether somebody waits or not.

use std::time::Duration;

use docket_aggregates::Timestamp;
use docket_aggregates::ids::{MessageId, OrganizationId};
use docket_aggregates::message::{DispatchState, Message};
use tokio::time::Instant;

use crate::app::App;
use crate::ledger::read::ReadError;

/// How long `POST …/crm/send` waits unless the client says otherwise.
pub const WAIT: Duration = Duration::from_secs(5);
/// How long it waits at most.
pub const WAIT_MAX: Duration = Duration::from_secs(30);
/// How often the stream is looked at for what other processes appended to it.
const LOOK: Duration = Duration::from_millis(250);

/// Waits until there is something to tell of a message beside that it waits for its channel or is at it: it is over,
/// unknown, to be tried again, or a matter for a person. At most `within`; not at all for what is not due yet.
pub async fn wait(
    app: &App,
    organization: OrganizationId,
    message: MessageId,
    within: Duration,
) -> Result<(), ReadError> {
    let deadline = Instant::now() + within;
    let mut watch = app.ledger.watch(organization, message);
    loop {
        let now = app.ledger.load::<Message>(organization, message).await?;
        if is_told(&now.state, app.clock.now()) || Instant::now() >= deadline {
            return Ok(());
        }
        let look = deadline.min(Instant::now() + LOOK);
        let _ = tokio::time::timeout_at(look, watch.written()).await;
    }
}

/// Whether waiting longer would tell nothing new soon.
fn is_told(message: &Message, at: Timestamp) -> bool {
    match message.dispatch_state() {
        DispatchState::Queued => message.not_before().is_some_and(|not_before| not_before > at),
        DispatchState::InFlight => false,
        DispatchState::None | DispatchState::Retrying | DispatchState::Done | DispatchState::Unknown => true,
    }
}
