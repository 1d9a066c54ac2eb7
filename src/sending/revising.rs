//! Other words for a message that waits for a person.
//!
//! Only whoever drafted it may give it other words, and its recipient stays. It is judged as a new draft is, by the lists
//! and rules of now; the question that was asked about the old words is superseded in the same append, so that no answer
//! to it lets the new ones go. Where the piece that it names was taken out of use, the rules are not asked: a person is.

use docket_aggregates::approval::{Approval, ApprovalCommand};
use docket_aggregates::ids::{ApprovalId, MessageId};
use docket_aggregates::message::{Message, MessageCommand, MessageContent, MessageError, Ruling};
use docket_aggregates::payload;
use serde_json::Value;

use super::activity::{self, Activity};
use super::addressee::Addressee;
use super::content;
use super::drafting::{Ground, Result, Sender, ask, decide, foreseen, with_number};
use super::recipient::Recipient;
use super::refusal::SendRefusal;
use crate::app::App;
use crate::ledger::{AppendError, TRIES};
use crate::service::{Call, Done, ServiceError};

/// Gives a message another payload, and decides anew what becomes of it.
pub async fn revise(
    app: &App,
    call: &Call,
    message_id: MessageId,
    payload: &Value,
) -> Result<Done<Activity>> {
    let approval_id: ApprovalId = app.clock.mint();
    for _ in 0..TRIES {
        match attempt(app, call, message_id, payload, approval_id).await {
            Err(ServiceError::Append(AppendError::Conflict | AppendError::Present(_))) => (),
            done => return done,
        }
    }
    Err(AppendError::Conflict.into())
}

async fn attempt(
    app: &App,
    call: &Call,
    message_id: MessageId,
    payload: &Value,
    approval_id: ApprovalId,
) -> Result<Done<Activity>> {
    let organization = call.organization;
    let keys = app.ledger.keys().organization(organization).await?;
    let before = app.ledger.load::<Message>(organization, message_id).await?;
    let (Some(channel), Some(outbox_id)) = (before.state.channel(), before.state.outbox_id()) else {
        return Err(ServiceError::Refused(SendRefusal::Message(MessageError::Unknown)));
    };
    let text = content::read_payload(channel, payload, call.at).map_err(ServiceError::Refused)?;
    // Whose words are not known any more is refused below, with its own reason.
    let known = before.state.content();
    let to = known.map(|content| content.to.clone()).unwrap_or_default();
    // Words that differ in nothing but members that are null are no others, and keep their hash.
    let kept = known.map(|content| &content.payload).filter(|kept| payload::compared(kept) == text);
    let content = MessageContent { to, payload: kept.cloned().unwrap_or(text) };
    let content_hash = content::content_hash(&keys, channel, outbox_id, &content);

    let mut message = (*before.state).clone();
    let by = call.origin.actor.principal;
    let may = MessageCommand::Revise {
        by,
        content: content.clone(),
        content_hash: content_hash.clone(),
        labels: message.labels().cloned().unwrap_or_default(),
    };
    if decide(&mut message.clone(), may)?.is_empty() {
        let row = activity::read(app, organization, message_id).await?;
        let row = row.ok_or(ServiceError::Refused(SendRefusal::Message(MessageError::Unknown)))?;
        return Ok(Done { entity: Activity::of(organization, row), appended: None });
    }

    let sender = Sender::load(app, organization, channel, outbox_id).await?;
    let sender = sender.with_piece_of_before(app, organization, message.content_piece_id()).await?;
    let labels = sender.labels(channel, payload);
    let recipient = Recipient::read(channel, &content.to)
        .map_err(|error| ServiceError::Refused(SendRefusal::To(error)))?;
    let recipient = with_number(recipient, channel, payload)?;
    let addressee = Addressee::find(app, organization, &keys, recipient, message.contact_id()).await?;
    let ground = Ground::load(app, call, &addressee).await?;
    let vouched = Some(&labels).filter(|_| !sender.piece_is_gone());
    let (ruling, grounds) = ground.of_draft(channel, vouched, &addressee, approval_id, call.at);

    let asked_before = message.approval_id();
    let revise = MessageCommand::Revise { by, content, content_hash: content_hash.clone(), labels };
    let mut events = decide(&mut message, revise)?;
    events.extend(decide(&mut message, MessageCommand::Decide { ruling, grounds, not_before: None })?);

    let history = activity::history(app, organization, message_id).await?;
    if history.len() as u64 != before.version {
        return Err(AppendError::Conflict.into());
    }
    let entity = foreseen(call, message_id, history, &events)?;

    let mut writes = vec![before.write(events)];
    let next = match ruling {
        Ruling::AskAPerson(approval_id) | Ruling::AskWithoutRules(approval_id) => Some(approval_id),
        _ => None,
    };
    if let Some(asked) = asked_before {
        let asked = app.ledger.load::<Approval>(organization, asked).await?;
        let reword = ApprovalCommand::Reword { by: next, at: call.at };
        writes.push(asked.write(decide(&mut (*asked.state).clone(), reword)?));
    }
    if let Some(approval_id) = next {
        let question = ApprovalCommand::Request {
            approval_id,
            message_id,
            content_hash,
            drafter: by,
            rule: grounds.rule,
            supersedes: asked_before,
            at: call.at,
        };
        writes.push(ask(approval_id, question)?);
    }
    let guards = ground.guards().chain(sender.guards()).chain(addressee.guards()).collect();
    let mut command = call.command(writes, guards, call.request(&entity)?);
    command.absent = ground.absent(&addressee);
    let appended = app.ledger.append(command).await?;
    Ok(Done { entity, appended: Some(appended) })
}
