//! A message: one send, from its draft to what became of it. The routes call it an activity.
//!
//! **The stream is the truth, and its version is the fence.** A message is handed to a channel in the append of
//! `MessageSending`, decided on a version; of two that try, one appends. Each hand-over has a number, and only what
//! names that number may record its outcome. What is said nowhere else:
//!
//! - A hand-over without an outcome is *unknown*, not ready: it is handed over again only where the channel takes an
//!   idempotency key, and then under the same key and with the same secret. Nothing that the second hand-over is told but
//!   that it was taken says what became of the first.
//! - What is unknown keeps its charge and its deduplication key until a look-up, a webhook, the channel's own key or a
//!   person settles it.
//! - Only a draft that nobody decided on yet, or that waits, can be decided on; what was handed over cannot be.
//! - A report that it arrived settles a message, whatever the channel or a person had said before: one that was held to have
//!   failed was sent after all. Nothing else changes a status that is final.
//!
//! The status has six values and never another; where a send is between them is said by `dispatchState`.

mod command;
mod event;
mod retry;
mod state;
mod status;

pub use command::{Draft, Grounds, MessageCommand, MessageError, Outcome, Ruling};
pub use event::{ChannelAnswer, Decision, DedupKey, Keyed, MessageContent, MessageEvent, SettledBy};
pub use retry::{RETRIES, RETRY_WITHIN_MILLIS, retry_at};
pub use state::Message;
pub use status::{Delivery, DispatchState, MessageStatus, Reason, standing_after};

use crate::channel::Channel;
use crate::ids::{ApprovalId, BucketId, PrincipalId};
use crate::labels::Labels;
use crate::personal::Personal;
use crate::stored::aggregate;
use crate::time::Timestamp;
use state::Drafted;

aggregate!(Message, "Message", MessageCommand, MessageEvent, MessageError);

impl Message {
    /// The whole business of a message.
    fn decide(&self, command: MessageCommand) -> Result<Vec<MessageEvent>, MessageError> {
        use MessageCommand as C;
        let Some(draft) = &self.draft else {
            return match command {
                C::Draft(draft) => Ok(vec![drafted(*draft)]),
                _ => Err(MessageError::Unknown),
            };
        };
        match command {
            C::Draft(_) => Err(MessageError::AlreadyDrafted),
            C::Revise { by, content, content_hash, labels } => {
                self.revise(draft, by, content, content_hash, labels)
            }
            C::Decide { ruling, grounds, not_before } => self.rule(draft, ruling, grounds, None, not_before),
            C::DecideAnew { ruling, grounds, labels } => self.rule(draft, ruling, grounds, labels, None),
            C::Approve { approval_id, by, content_hash } => {
                self.approve(draft, approval_id, by, &content_hash)
            }
            C::Send { bucket_id, provider_key, keyed, at } => {
                self.send(draft, bucket_id, provider_key, keyed, at)
            }
            C::TakeBack { attempt, code } => self.take_back(attempt, code),
            C::Record { attempt, outcome, at, jitter } => self.record(draft, attempt, outcome, at, jitter),
            C::Settle { sent, by, evidence } => match self.dispatch {
                DispatchState::Unknown => Ok(vec![self.settled(draft, sent, by, evidence)]),
                _ => Err(MessageError::NotUnknown),
            },
            C::Report { delivery, at, detail } => self.report(draft, delivery, at, detail),
        }
    }

    fn revise(
        &self,
        draft: &Drafted,
        by: PrincipalId,
        content: MessageContent,
        content_hash: String,
        labels: Labels,
    ) -> Result<Vec<MessageEvent>, MessageError> {
        self.waits_for_a_person()?;
        if by != draft.drafter {
            return Err(MessageError::NotTheDrafter);
        }
        if content.to != draft.content.as_ref().ok_or(MessageError::Erased)?.to {
            return Err(MessageError::OtherRecipient);
        }
        if content_hash == draft.content_hash {
            return Ok(vec![]);
        }
        Ok(vec![MessageEvent::MessageRevised {
            content: Personal::known(draft.subject, content),
            content_hash,
            labels: Personal::known(draft.outbox_id.uuid(), labels),
        }])
    }

    fn rule(
        &self,
        draft: &Drafted,
        ruling: Ruling,
        grounds: Grounds,
        labels: Option<Labels>,
        not_before: Option<Timestamp>,
    ) -> Result<Vec<MessageEvent>, MessageError> {
        self.is_not_away()?;
        let dry = draft.channel == Channel::DryRun;
        let (status, reason, approval_id) = match ruling {
            Ruling::AutoApprove => (MessageStatus::DraftPendingApproval, None, None),
            Ruling::AskAPerson(approval_id) => (MessageStatus::DraftPendingApproval, None, Some(approval_id)),
            Ruling::AskWithoutRules(approval_id) => {
                (MessageStatus::DraftPendingApproval, Some(Reason::PieceGone), Some(approval_id))
            }
            Ruling::DryRun => (MessageStatus::SentDryrun, None, None),
            Ruling::BlockedByAllowlist(reason) => (MessageStatus::BlockedByAllowlist, Some(reason), None),
            Ruling::BlockedByQuota(reason) => (MessageStatus::BlockedByQuota, Some(reason), None),
            Ruling::Fail(reason) => (MessageStatus::Failed, Some(reason), None),
        };
        let fits = match status {
            MessageStatus::SentDryrun => dry,
            MessageStatus::DraftPendingApproval | MessageStatus::BlockedByQuota => !dry,
            _ => true,
        };
        if !fits {
            return Err(MessageError::DryRunMix);
        }
        let decision = Decision {
            status,
            reason: reason.map(|reason| reason.name().to_owned()),
            rule: grounds.rule,
            rules_version: grounds.rules_version,
            allowlist_version: grounds.allowlist_version,
            approval_id,
        };
        let judged =
            labels.filter(|labels| grounds.rules_version.is_some() && draft.labels.as_ref() != Some(labels));
        let mut events = vec![MessageEvent::MessageDecided {
            decision,
            dedup_key: draft.freed_by(status),
            labels: judged.map(|labels| Personal::known(draft.outbox_id.uuid(), labels)),
        }];
        if ruling == Ruling::AutoApprove {
            events.push(MessageEvent::MessageApproved {
                approval_id: None,
                by: None,
                rule: grounds.rule,
                content_hash: draft.content_hash.clone(),
            });
            events.push(MessageEvent::MessageQueued { not_before });
        }
        Ok(events)
    }

    fn approve(
        &self,
        draft: &Drafted,
        approval_id: ApprovalId,
        by: PrincipalId,
        content_hash: &str,
    ) -> Result<Vec<MessageEvent>, MessageError> {
        if self.approved && self.approval_id == Some(approval_id) {
            return Ok(vec![]);
        }
        self.waits_for_a_person()?;
        if self.approval_id != Some(approval_id) {
            return Err(MessageError::OtherApproval);
        }
        if by == draft.drafter || draft.co_authors.contains(&by) {
            return Err(MessageError::SelfApproval);
        }
        if content_hash != draft.content_hash {
            return Err(MessageError::OtherContent);
        }
        Ok(vec![
            MessageEvent::MessageApproved {
                approval_id: Some(approval_id),
                by: Some(by),
                rule: None,
                content_hash: draft.content_hash.clone(),
            },
            MessageEvent::MessageQueued { not_before: None },
        ])
    }

    fn send(
        &self,
        draft: &Drafted,
        bucket_id: BucketId,
        provider_key: String,
        keyed: Option<Keyed>,
        at: Timestamp,
    ) -> Result<Vec<MessageEvent>, MessageError> {
        match self.dispatch {
            DispatchState::Done => return Err(MessageError::Final(self.status)),
            DispatchState::None => return Err(MessageError::NotApproved),
            DispatchState::InFlight | DispatchState::Unknown if !self.may_be_repeated(keyed, at) => {
                return Err(MessageError::UnderWay(self.dispatch));
            }
            _ => (),
        }
        if let Some(not_before) = self.not_before.filter(|not_before| at < *not_before) {
            return Err(MessageError::NotDue(not_before));
        }
        if draft.content.is_none() {
            return Err(MessageError::Erased);
        }
        Ok(vec![MessageEvent::MessageSending {
            attempt: self.attempts + 1,
            bucket_id,
            provider_key: self.provider_key.clone().unwrap_or(provider_key),
            keyed,
            at,
        }])
    }

    fn record(
        &self,
        draft: &Drafted,
        attempt: u32,
        outcome: Outcome,
        at: Timestamp,
        jitter: u16,
    ) -> Result<Vec<MessageEvent>, MessageError> {
        self.is_current(attempt)?;
        // Whoever holds the hand-over knows best, also after somebody else gave it up for unknown.
        if !matches!(self.dispatch, DispatchState::InFlight | DispatchState::Unknown) {
            return match self.dispatch {
                DispatchState::Done => Err(MessageError::Final(self.status)),
                under_way => Err(MessageError::UnderWay(under_way)),
            };
        }
        let arrived = self.delivery != Delivery::Unknown;
        Ok(vec![match outcome {
            Outcome::Accepted { provider_hash, answer } => {
                MessageEvent::MessageAccepted { attempt, provider_hash, answer: draft.about(answer) }
            }
            // It arrived all the same.
            Outcome::Rejected { .. } | Outcome::Retry { .. } | Outcome::Unknown { .. } if arrived => {
                self.settled(draft, true, SettledBy::Webhook, None)
            }
            // The second time it was not taken. The first time it may have been.
            Outcome::Rejected { code, answer } | Outcome::Retry { code, answer, .. } if self.repeated => {
                if self.dispatch == DispatchState::Unknown {
                    return Ok(vec![]);
                }
                MessageEvent::OutcomeUnknown { attempt, code, answer: draft.about(answer) }
            }
            Outcome::Rejected { code, answer } => {
                let status = status_of_rejection(&code);
                let dedup_key = draft.freed_by(status);
                MessageEvent::MessageRejected {
                    attempt,
                    status,
                    code,
                    answer: draft.about(answer),
                    dedup_key,
                }
            }
            Outcome::Retry { code, answer, not_before } => {
                let first = self.first_sent_at.unwrap_or(at);
                let answer = draft.about(answer);
                match retry_at(first, self.tries(), at, not_before, jitter) {
                    Some(next_attempt_at) => {
                        MessageEvent::MessageDeferred { attempt, code, next_attempt_at, answer }
                    }
                    None => {
                        let dedup_key = draft.freed_by(MessageStatus::Failed);
                        MessageEvent::MessageGivenUp { attempt, code, answer, dedup_key }
                    }
                }
            }
            Outcome::Unknown { .. } if self.dispatch == DispatchState::Unknown => return Ok(vec![]),
            Outcome::Unknown { code, answer } => {
                MessageEvent::OutcomeUnknown { attempt, code, answer: draft.about(answer) }
            }
        }])
    }

    fn take_back(&self, attempt: u32, code: &'static str) -> Result<Vec<MessageEvent>, MessageError> {
        self.is_current(attempt)?;
        match self.dispatch {
            // The second call was not made. What became of the first one is as unknown as before.
            DispatchState::InFlight if self.repeated => {
                Ok(vec![MessageEvent::OutcomeUnknown { attempt, code: code.to_owned(), answer: None }])
            }
            DispatchState::InFlight => {
                Ok(vec![MessageEvent::MessageTakenBack { attempt, code: code.to_owned() }])
            }
            // Somebody gave it up for unknown, and it counts as that.
            DispatchState::Done => Err(MessageError::Final(self.status)),
            under_way => Err(MessageError::UnderWay(under_way)),
        }
    }

    /// Whether this is the number of the last hand-over.
    fn is_current(&self, attempt: u32) -> Result<(), MessageError> {
        if attempt == self.attempts && attempt > 0 {
            Ok(())
        } else {
            Err(MessageError::NotTheHolder { got: attempt, current: self.attempts })
        }
    }

    fn report(
        &self,
        draft: &Drafted,
        delivery: Delivery,
        at: Timestamp,
        detail: Option<String>,
    ) -> Result<Vec<MessageEvent>, MessageError> {
        if self.tries() == 0 {
            return Err(MessageError::NeverSent);
        }
        let mut events = Vec::new();
        let settles = match self.dispatch {
            // Somebody waits for the answer.
            DispatchState::InFlight => false,
            // It was said not to have been sent. Mail that was not taken may come back, too; nobody has it then.
            DispatchState::Done => self.status != MessageStatus::Sent && delivery.somebody_has_it(),
            _ => delivery > self.delivery,
        };
        if settles {
            events.push(self.settled(draft, true, SettledBy::Webhook, None));
        }
        if delivery > self.delivery {
            events.push(MessageEvent::DeliveryReported { delivery, at, detail: draft.about(detail) });
        }
        Ok(events)
    }

    fn settled(&self, draft: &Drafted, sent: bool, by: SettledBy, evidence: Option<String>) -> MessageEvent {
        let status = if sent { MessageStatus::Sent } else { MessageStatus::Failed };
        MessageEvent::MessageSettled {
            attempt: self.attempts,
            status,
            by,
            evidence: draft.about(evidence),
            dedup_key: draft.freed_by(status),
            dedup_key_again: draft.dedup_key().filter(|_| sent && self.dispatch == DispatchState::Done),
        }
    }

    /// Drafted, decided or to be decided, and not approved.
    fn waits_for_a_person(&self) -> Result<(), MessageError> {
        match self.dispatch {
            DispatchState::None => Ok(()),
            DispatchState::Done => Err(MessageError::Final(self.status)),
            under_way => Err(MessageError::UnderWay(under_way)),
        }
    }

    /// Not at a channel, and not final.
    fn is_not_away(&self) -> Result<(), MessageError> {
        match self.dispatch {
            DispatchState::None | DispatchState::Queued | DispatchState::Retrying => Ok(()),
            DispatchState::Done => Err(MessageError::Final(self.status)),
            away => Err(MessageError::UnderWay(away)),
        }
    }
}

/// A recipient whom the channel lets nobody write to now is one who may not be written to; all else is a failure.
fn status_of_rejection(code: &str) -> MessageStatus {
    if code == Reason::WindowClosed.name() {
        MessageStatus::BlockedByAllowlist
    } else {
        MessageStatus::Failed
    }
}

fn drafted(draft: Draft) -> MessageEvent {
    let Draft {
        message_id,
        channel,
        outbox_id,
        subject,
        recipient_hash,
        content,
        content_hash,
        labels,
        content_piece_id,
        dedup,
        drafter,
        agent_id,
        contact_id,
        campaign_id,
        sequence_id,
        step,
        co_authors,
    } = draft;
    MessageEvent::MessageDrafted {
        message_id,
        channel,
        outbox_id,
        recipient_hash,
        content: Personal::known(subject, content),
        labels: Personal::known(outbox_id.uuid(), labels),
        content_hash,
        content_piece_id,
        dedup,
        drafter,
        agent_id,
        contact_id,
        campaign_id,
        sequence_id,
        step,
        co_authors,
    }
}

#[cfg(test)]
mod tests;
