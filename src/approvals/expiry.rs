//! Closing approvals that nobody answered within 72 hours, and with each the message that waited for it.
//!
//! Any number of processes may do so at once: a read model says what might be overdue, the approval itself decides, and
//! of two that close it one appends. An approval whose time is over takes no answer, whether or not it was closed yet, so
//! that nothing rests on when this runs.

use std::time::Duration;

use docket_aggregates::approval::{ApprovalCommand, ApprovalError};
use docket_aggregates::ids::{ApprovalId, OrganizationId};
use docket_aggregates::message::Reason;
use docket_projections::approvals::overdue;
use uuid::Uuid;

use super::{ApprovalRefusal, Asked};
use crate::app::App;
use crate::ledger::AppendError;
use crate::readside::ReadSideError;
use crate::service::{Call, ServiceError};

/// How often it is looked for what is overdue.
const EVERY: Duration = Duration::from_secs(60);
/// How long one look may take.
const WITHIN: Duration = Duration::from_secs(50);
/// Approvals that are looked at together.
const AT_ONCE: u32 = 500;
/// The name under which it is recorded.
const TOOL: &str = "approval expiry";

/// Looks for ever; to be stopped by dropping it.
pub async fn run(app: &App) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match tokio::time::timeout(WITHIN, close_overdue(app)).await {
            Ok(Ok(0)) => (),
            Ok(Ok(closed)) => tracing::info!(closed, "approvals expired"),
            Ok(Err(error)) => tracing::warn!(error = %error, "overdue approvals could not be looked for"),
            Err(_) => {
                tracing::warn!("overdue approvals could not all be closed in time; the next look goes on")
            }
        }
    }
}

/// Closes everything that is overdue now, and says how many approvals that were.
pub async fn close_overdue(app: &App) -> Result<u64, ReadSideError> {
    let mut closed = 0;
    let mut after = (OrganizationId(Uuid::nil()), ApprovalId(Uuid::nil()));
    loop {
        let mut peek = app.readside.peek().await?;
        let found = overdue(&mut peek, app.clock.now(), after, AT_ONCE).await?;
        drop(peek);
        let Some(last) = found.last() else { return Ok(closed) };
        after = *last;
        for (organization, approval) in found {
            match close(app, organization, approval).await {
                Ok(done) => closed += u64::from(done),
                // One that cannot be closed stands in nobody's way.
                Err(error) => {
                    tracing::warn!(error = %error, approval.id = %approval, "approval {approval} could not be closed");
                }
            }
        }
    }
}

/// Whether it was closed by this call: not if it was answered, or closed by another process.
async fn close(
    app: &App,
    organization: OrganizationId,
    approval: ApprovalId,
) -> Result<bool, ServiceError<ApprovalRefusal>> {
    let call = Call::of_system(app, organization, TOOL);
    let asked = Asked::load(app, organization, &[approval]).await?.pop().unwrap_or_default();
    let Some(loaded) = &asked.loaded else { return Ok(false) };
    let outcome = match asked.close(loaded, ApprovalCommand::Expire { at: call.at }, Reason::ApprovalExpired)
    {
        Ok(Some(outcome)) => outcome,
        // The read model is behind: it was answered meanwhile.
        Ok(None) | Err(ApprovalRefusal::Approval(ApprovalError::NotPending(_))) => return Ok(false),
        Err(refusal) => return Err(ServiceError::Refused(refusal)),
    };
    match app.ledger.append(call.command(outcome.writes, outcome.guards, None)).await {
        Ok(_) => Ok(true),
        Err(AppendError::Conflict) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
