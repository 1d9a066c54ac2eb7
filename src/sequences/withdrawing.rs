//! Withdrawing the step that waits when its contact is led no further, or has it already.
//!
//! Whatever stops an enrollment withdraws its last message in the same append, if that waits for a person or for its
//! channel: it is blocked where its contact wants no more messages, else it has failed, and nobody is asked about it any
//! more. One that is tried again holds a charge, and is left to its next turn at the dispatcher, which hands over no step
//! of an enrollment that was stopped.
//!
//! The same becomes of another try of a step that an earlier try proved to have been sent.

use docket_aggregates::Decides;
use docket_aggregates::approval::{Approval, ApprovalCommand};
use docket_aggregates::enrollment::{Enrollment, StopReason};
use docket_aggregates::ids::{MessageId, OrganizationId};
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
    let ruling = match because {
        StopReason::Unsubscribed | StopReason::Suppressed => Ruling::BlockedByAllowlist(Reason::Suppressed),
        _ => Ruling::Fail(Reason::SequenceStopped),
    };
    if_it_waits(ledger, organization, message_id, ruling).await
}

/// What is appended where a step was sent after all while another try of it waits.
pub async fn needless(
    ledger: &Ledger,
    organization: OrganizationId,
    message_id: MessageId,
) -> Result<Vec<Write>, ReadError> {
    if_it_waits(ledger, organization, message_id, Ruling::Fail(Reason::StepSent)).await
}

/// Decides what the dispatcher would say of it.
async fn if_it_waits(
    ledger: &Ledger,
    organization: OrganizationId,
    message_id: MessageId,
    ruling: Ruling,
) -> Result<Vec<Write>, ReadError> {
    let message = ledger.load::<Message>(organization, message_id).await?;
    if !matches!(message.state.dispatch_state(), DispatchState::None | DispatchState::Queued) {
        return Ok(vec![]);
    }
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
