//! The order of the checks: allowlist and suppression, approval rules, quota, channel.
//!
//! The same checks are made when a message is drafted and when it is handed over, whatever was true in between, and
//! in one place, so that a preview, a send and an explanation cannot disagree. What is looked at here is guarded by the
//! append of what follows from it; suppression is besides refused by the append itself. The quota is judged last and
//! by the bucket, because only a charge can know whether there is room.

use crate::allowlist::{Allowed, Allowlist, RecipientKeys};
use crate::approval_rules::{Action, ApprovalRules, Facts};
use crate::channel::Channel;
use crate::credential::Credential;
use crate::ids::ApprovalId;
use crate::labels::Labels;
use crate::message::{Grounds, Message, Reason, Ruling};
use crate::outbox::Outbox;
use crate::sending_control::{PauseScope, SendingControl};
use crate::time::Timestamp;

/// A state and the version that it is of.
#[derive(Debug)]
pub struct At<'a, A> {
    /// The state.
    pub state: &'a A,
    /// Number of events.
    pub version: u64,
}

/// Whom a message is for, and what stands against writing to them.
#[derive(Clone, Copy, Debug)]
pub struct Recipient<'a> {
    /// The hashes by which they are known.
    pub keys: &'a RecipientKeys,
    /// One of these hashes is suppressed.
    pub suppressed: bool,
    /// The contact that it is for is not to be contacted, at whatever address.
    pub left_alone: bool,
}

/// What becomes of a draft. `labels` is what the board says of its words; none where the piece that it names was taken out of
/// use. `approval_id` is a fresh id, used if a person is to be asked.
pub fn of_draft(
    channel: Channel,
    labels: Option<&Labels>,
    recipient: Recipient<'_>,
    allowlist: At<'_, Allowlist>,
    rules: At<'_, ApprovalRules>,
    approval_id: ApprovalId,
    at: Timestamp,
) -> (Ruling, Grounds) {
    let mut grounds = Grounds { allowlist_version: allowlist.version, ..Grounds::default() };
    if let Err(ruling) = may_be_written_to(recipient, allowlist.state) {
        return (ruling, grounds);
    }
    if channel == Channel::DryRun {
        return (Ruling::DryRun, grounds);
    }
    let Some(labels) = labels else {
        // As at the hand-over, which would ask a person after all.
        return (Ruling::AskWithoutRules(approval_id), grounds);
    };
    let verdict = rules.state.evaluate(&Facts { channel, labels: labels.clone() }, at);
    grounds.rules_version = Some(rules.version);
    grounds.rule = verdict.rule;
    let ruling = match verdict.action {
        Action::AutoApprove => Ruling::AutoApprove,
        Action::QueueForManual => Ruling::AskAPerson(approval_id),
    };
    (ruling, grounds)
}

fn may_be_written_to(recipient: Recipient<'_>, allowlist: &Allowlist) -> Result<(), Ruling> {
    match allowlist.allows(recipient.keys) {
        Allowed::ListIsEmpty => Err(Ruling::BlockedByAllowlist(Reason::AllowlistEmpty)),
        Allowed::No => Err(Ruling::BlockedByAllowlist(Reason::NotOnAllowlist)),
        Allowed::By(_) if recipient.suppressed => Err(Ruling::BlockedByAllowlist(Reason::Suppressed)),
        Allowed::By(_) if recipient.left_alone => Err(Ruling::BlockedByAllowlist(Reason::DoNotContact)),
        Allowed::By(_) => Ok(()),
    }
}

/// Where the contact is in the sequence of which a message is a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leading {
    /// At this very step; or the message is no step at all.
    #[default]
    On,
    /// At this step, and the sequence is paused.
    SequencePaused,
    /// At this step, and the campaign that the contact is led through it for is paused.
    CampaignPaused,
    /// Not led through it any more: it answered, was taken out, or the sequence is done with.
    Over,
    /// At this step, which an earlier try of it proved to have been sent: the contact has it.
    Has,
}

/// What is seen of one message beside its own stream. The append of a hand-over rests on each of it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Whom it is for.
    pub recipient: Recipient<'a>,
    /// Where its contact is in its sequence.
    pub leading: Leading,
    /// What the board says of its words now, looked at where a rule let it go; none where the piece that they are from was
    /// taken out of use. What it said when the message was drafted vouches for nothing any more.
    pub labels: Option<&'a Labels>,
}

/// What a hand-over rests on. The append of it guards each of these versions.
#[derive(Debug)]
pub struct Ground<'a> {
    /// The sender.
    pub outbox: &'a Outbox,
    /// What it sends with.
    pub credential: &'a Credential,
    /// Whom it may write to.
    pub allowlist: At<'a, Allowlist>,
    /// What goes out without a person.
    pub rules: At<'a, ApprovalRules>,
    /// What holds it back.
    pub control: &'a SendingControl,
    /// Whether the outbound CRM module of the organization is on.
    pub module_on: bool,
}

/// What a message waits for that may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldBack {
    /// The module to be switched on.
    ModuleOff,
    /// A pause of sending to be over.
    Paused(PauseScope),
    /// The sequence that it is a step of to go on.
    SequencePaused,
    /// The campaign that its contact is led through a sequence for to go on.
    CampaignPaused,
}

/// What is to be done with a message that waits for its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtDispatch {
    /// Charge it and hand it over.
    HandOver,
    /// Leave it where it is.
    HeldBack(HeldBack),
    /// Decide otherwise.
    Rule(Ruling, Grounds),
}

/// What becomes of a message that waits for its channel. `approval_id` is a fresh id, used if the rules do not let it go
/// any more and a person is to be asked after all.
pub fn at_dispatch(
    message: &Message,
    seen: Seen<'_>,
    ground: Ground<'_>,
    approval_id: ApprovalId,
    at: Timestamp,
) -> AtDispatch {
    let (Some(channel), Some(outbox_id)) = (message.channel(), message.outbox_id()) else {
        return AtDispatch::Rule(Ruling::Fail(Reason::RecipientErased), Grounds::default());
    };
    if !ground.module_on {
        return AtDispatch::HeldBack(HeldBack::ModuleOff);
    }
    if let Some(scope) = ground.control.holds_back(outbox_id, message.campaign_id(), message.agent_id()) {
        return AtDispatch::HeldBack(HeldBack::Paused(scope));
    }
    let mut grounds =
        Grounds { allowlist_version: ground.allowlist.version, rules_version: None, rule: None };
    match seen.leading {
        Leading::SequencePaused => return AtDispatch::HeldBack(HeldBack::SequencePaused),
        Leading::CampaignPaused => return AtDispatch::HeldBack(HeldBack::CampaignPaused),
        Leading::On | Leading::Over | Leading::Has => (),
    }
    if ground.outbox.deleted() {
        return AtDispatch::Rule(Ruling::Fail(Reason::OutboxDeleted), grounds);
    }
    let secret =
        ground.outbox.settings().and_then(|settings| ground.credential.version(settings.secret.version));
    if secret.is_none() {
        return AtDispatch::Rule(Ruling::Fail(Reason::SecretMissing), grounds);
    }
    if message.content().is_none() || message.labels().is_none() {
        return AtDispatch::Rule(Ruling::Fail(Reason::RecipientErased), grounds);
    }
    if let Err(ruling) = may_be_written_to(seen.recipient, ground.allowlist.state) {
        return AtDispatch::Rule(ruling, grounds);
    }
    match seen.leading {
        Leading::Over => return AtDispatch::Rule(Ruling::Fail(Reason::SequenceStopped), grounds),
        Leading::Has => return AtDispatch::Rule(Ruling::Fail(Reason::StepSent), grounds),
        Leading::On | Leading::SequencePaused | Leading::CampaignPaused => (),
    }
    if message.auto_approved() {
        let Some(labels) = seen.labels else {
            // No rule lets go what would not even be taken in now.
            return AtDispatch::Rule(Ruling::AskWithoutRules(approval_id), grounds);
        };
        grounds.rules_version = Some(ground.rules.version);
        let verdict = ground.rules.state.evaluate(&Facts { channel, labels: labels.clone() }, at);
        if verdict.action == Action::QueueForManual {
            grounds.rule = verdict.rule;
            return AtDispatch::Rule(Ruling::AskAPerson(approval_id), grounds);
        }
    }
    AtDispatch::HandOver
}

#[cfg(test)]
mod tests;
