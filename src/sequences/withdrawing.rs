//! Withdrawing the step that waits when its contact is led no further.
//!
//! Whatever stops an enrollment withdraws its last message in the same append, if that waits for a person or for its
//! channel: it is blocked where its contact wants no more messages, else it has failed, and nobody is asked about it any
//! more. One that is tried again holds a charge, and is left to its next turn at the dispatcher, which hands over no step
//! of an enrollment that was stopped.

use docket_aggregates::Decides;
use docket_aggregates::approval::{Approval, ApprovalCommand};
use docket_aggregates::enrollment::{Enrollment, StopReason};
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::message::{DispatchState, Grounds, Message, MessageCommand, Reason, Ruling};

use crate::ledger::read::ReadError;
use crate::ledger::{Ledger, Write};

/// What is appended with the stop of this enrollment.
pub async fn withdrawing(
    ledger: &Ledger,
    organization: OrganizationId,
    enrollment: &Enrollment,
    because: StopReason,
) -> Result<Vec<Write>, ReadError> {
    let Some(message_id) = enrollment.message_id() else { return Ok(vec![]) };
    let message = ledger.load::<Message>(organization, message_id).await?;
    if !matches!(message.state.dispatch_state(), DispatchState::None | DispatchState::Queued) {
        return Ok(vec![]);
    }
    // What the dispatcher would say of it.
    let ruling = match because {
        StopReason::Unsubscribed | StopReason::Suppressed => Ruling::BlockedByAllowlist(Reason::Suppressed),
        _ => Ruling::Fail(Reason::SequenceStopped),
    };
    let decide = MessageCommand::Decide { ruling, grounds: Grounds::default(), not_before: None };
    // One that takes no decision has nothing to be withdrawn.
    let mut writes = vec![message.write(message.state.decide(decide).unwrap_or_default())];
    if let Some(asked) = message.state.approval_id().filter(|_| !message.state.approved()) {
        let approval = ledger.load::<Approval>(organization, asked).await?;
        let superseded = approval.state.decide(ApprovalCommand::Supersede { by: None });
        writes.push(approval.write(superseded.unwrap_or_default()));
    }
    writes.retain(|write| !write.events.is_empty());
    Ok(writes)
}
