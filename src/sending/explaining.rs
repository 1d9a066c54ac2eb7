//! Why a message is where it is, in sentences, and what would become of it now.
//!
//! What was decided is told from the message's own stream. What would be decided now is asked of the same judgement that
//! the dispatcher asks, on the same streams, so that an explanation never knows better than a send.

mod present;
mod words;

use docket_aggregates::Timestamp;
use docket_aggregates::approval::{Approval, ApprovalStatus};
use docket_aggregates::ids::{MessageId, OrganizationId};
use docket_aggregates::message::{
    Delivery, DispatchState, Message, MessageError, MessageStatus, RETRIES, Reason,
};
use docket_projections::messages::MessageRow;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

pub use present::Prospect;

use super::activity;
use super::drafting::Result;
use super::refusal::SendRefusal;
use crate::app::App;
use crate::service::ServiceError;
use crate::shapes::OneOf;
use words::{INTERRUPTED, NO_ANSWER};

/// Why a message is where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The message.
    #[schemars(with = "Uuid")]
    pub activity_id: MessageId,
    /// What it came to, as far as it is decided.
    #[schemars(with = "OneOf<MessageStatus>")]
    pub status: MessageStatus,
    /// Where the send is.
    #[schemars(with = "OneOf<DispatchState>")]
    pub dispatch_state: DispatchState,
    /// What became of it after its channel had it.
    #[schemars(with = "OneOf<Delivery>")]
    pub delivery: Delivery,
    /// Why: a name of a closed set.
    pub reason: Option<String>,
    /// Everything that is to be said, in one text.
    pub explanation: String,
    /// The same, sentence by sentence: what was decided, where it stands, and what would become of it now.
    pub sentences: Vec<String>,
    /// What would become of it now.
    pub now: Prospect,
}

/// Explains a message.
pub async fn explain(
    app: &App,
    organization: OrganizationId,
    message_id: MessageId,
    at: Timestamp,
) -> Result<Explanation> {
    let unknown = || ServiceError::Refused(SendRefusal::Message(MessageError::Unknown));
    let row = activity::read(app, organization, message_id).await?.ok_or_else(unknown)?;
    let message = app.ledger.load::<Message>(organization, message_id).await?;
    let approval = match row.approval_id {
        Some(approval) => Some(app.ledger.load::<Approval>(organization, approval).await?),
        None => None,
    };
    let now = present::prospect(app, organization, &message.state, &row, at).await?;

    let mut sentences = vec![decided(&row)];
    sentences.extend(approval.and_then(|approval| asked(&row, &approval.state, at)));
    sentences.extend(standing(&row, at));
    sentences.extend(delivered(row.delivery));
    sentences.push(now.sentence.clone());
    Ok(Explanation {
        activity_id: row.message_id,
        status: row.status,
        dispatch_state: row.dispatch_state,
        delivery: row.delivery,
        reason: row.reason,
        explanation: sentences.join(" "),
        sentences,
        now,
    })
}

/// What lists and rules said of it last.
fn decided(row: &MessageRow) -> String {
    let rule = row.rule_id.zip(row.rule_version);
    if row.reason.as_deref() == Some(Reason::PieceGone.name()) {
        return format!(
            "The approval rules were not asked, because {}; a person was asked.",
            Reason::PieceGone.sentence()
        );
    }
    match (row.rules_version, rule) {
        (None, _) if row.status == MessageStatus::SentDryrun => {
            "The recipient is on the allowlist, and a dry run ends there.".to_owned()
        }
        (None, _) => "The approval rules were not asked.".to_owned(),
        (Some(_), Some((rule, version))) if row.approved_at.is_some() && row.approved_by.is_none() => {
            format!("Approval rule {rule} let it go without a person, in its version {version}.")
        }
        (Some(_), Some((rule, version))) => {
            format!("Approval rule {rule} asked for a person, in its version {version}.")
        }
        (Some(_), None) => "No approval rule matched, so that a person was asked.".to_owned(),
    }
}

/// Where the question to a person stands.
fn asked(row: &MessageRow, approval: &Approval, at: Timestamp) -> Option<String> {
    let id = row.approval_id?;
    let expires_at = approval.expires_at().unwrap_or(at);
    Some(match approval.status() {
        ApprovalStatus::Pending if at >= expires_at => {
            format!("Nobody answered approval {id} before {expires_at}; it is not answered any more.")
        }
        ApprovalStatus::Pending => format!("Approval {id} waits for an answer until {expires_at}."),
        ApprovalStatus::Approved => match row.approved_by {
            Some(by) => format!("Approval {id} was given by {by}."),
            None => format!("Approval {id} was given."),
        },
        ApprovalStatus::Rejected => format!("Approval {id} was refused."),
        ApprovalStatus::RevisionRequested => {
            format!("Approval {id} asked for other words; its drafter may revise it until {expires_at}.")
        }
        ApprovalStatus::Superseded => format!("Approval {id} was superseded by another one."),
        ApprovalStatus::Expired => format!("Nobody answered approval {id} within 72 hours."),
    })
}

/// Where the send stands, and why.
fn standing(row: &MessageRow, at: Timestamp) -> Option<String> {
    let tries = row.attempts;
    let why = row.reason.as_deref().map(words::reason);
    Some(match row.dispatch_state {
        DispatchState::None => return None,
        DispatchState::Queued => match row.next_attempt_at.filter(|next| *next > at) {
            Some(next) => format!("It waits for its channel and is not handed over before {next}."),
            None => "It waits for its channel.".to_owned(),
        },
        DispatchState::InFlight => {
            format!("It was handed to its channel (try {tries}), and the answer is not recorded yet.")
        }
        DispatchState::Retrying => {
            let when = row.next_attempt_at.map(|next| format!(" at {next}")).unwrap_or_default();
            let why = why.unwrap_or_else(|| "the channel did not take it".to_owned());
            let told = told(row);
            format!("After try {tries}, {why}; it is tried again{when}, {RETRIES} times at most.{told}")
        }
        DispatchState::Unknown => {
            let why = why.unwrap_or_else(|| words::reason(NO_ANSWER));
            // Whoever was interrupted was told nothing: what is recorded was said to a try before.
            let told = if row.reason.as_deref() == Some(INTERRUPTED) { String::new() } else { told(row) };
            format!(
                "It was handed to its channel (try {tries}), and {why}: nobody can tell whether it was sent.{told} It is not \
                 sent again blindly and keeps its charge and its deduplication key until the channel's own key, a look-up, a \
                 report or a person settles it."
            )
        }
        DispatchState::Done => match row.status {
            MessageStatus::Sent => {
                let when = row.sent_at.map(|at| format!(" at {at}")).unwrap_or_default();
                format!("Its channel took it{when}.")
            }
            MessageStatus::SentDryrun => return None,
            MessageStatus::BlockedByAllowlist | MessageStatus::BlockedByQuota | MessageStatus::Failed => {
                let why = why.unwrap_or_else(|| "no reason was recorded".to_owned());
                let what = if row.status == MessageStatus::Failed { "failed" } else { "was blocked" };
                // Nobody told us what we found ourselves: what was said is of another try.
                let told = if decided_here(row) { String::new() } else { told(row) };
                format!("It {what} at {}, because {why}.{told}", row.updated_at)
            }
            MessageStatus::DraftPendingApproval => return None,
        },
    })
}

/// Whether it ended for a reason that was found here, and not for what the channel or whoever settled it said.
fn decided_here(row: &MessageRow) -> bool {
    let reason = Reason::ALL.into_iter().find(|reason| row.reason.as_deref() == Some(reason.name()));
    reason.is_some_and(|reason| !matches!(reason, Reason::RetriesExhausted | Reason::SettledAsFailed))
}

/// What the channel, or whoever settled it, said of it last: a sentence that follows another one.
fn told(row: &MessageRow) -> String {
    let told = row.detail.as_deref().map(|told| told.trim_end_matches('.'));
    told.map(|told| format!(" It was told: {told}.")).unwrap_or_default()
}

fn delivered(delivery: Delivery) -> Option<String> {
    let sentence = match delivery {
        Delivery::Unknown => return None,
        Delivery::Delivered => "It was reported to have arrived.",
        Delivery::Replied => "It was answered.",
        Delivery::Bounced => "It came back.",
        Delivery::Complained => "Its recipient called it spam.",
    };
    Some(sentence.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{NO_ANSWER, Reason, words};

    #[test]
    fn every_reason_reads_on_after_because() {
        for reason in Reason::ALL {
            let why = words::reason(reason.name());
            assert!(!why.ends_with('.') && why.starts_with(|c: char| c.is_lowercase()), "{why}");
        }
        assert_eq!(words::reason("rate_limited"), "the channel said rate_limited");
        // The channel may have answered, and not have said it.
        assert_eq!(words::reason(NO_ANSWER), "no answer says whether it was taken");
    }
}
