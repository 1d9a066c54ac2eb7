//! Answering for messages that wait for a person.
//!
//! An answer and what follows from it for the message are one append, decided on the versions of both: of two who
//! answer at once one is recorded, and the other sees it. Nothing that decides is taken from a read model; they only show
//! what is asked. Whether the recipient may be written to, and whether there is room in the quota, is no part of an
//! answer: that is looked at when the message is handed over.

mod batch;
pub mod expiry;
mod view;

use docket_aggregates::approval::{Approval, ApprovalCommand, ApprovalError, ApprovalEvent};
use docket_aggregates::ids::{ApprovalId, OrganizationId, PrincipalId};
use docket_aggregates::message::{
    DispatchState, Grounds, Message, MessageCommand, MessageError, MessageEvent, Reason, Ruling,
};
use docket_aggregates::outbox::Outbox;
use docket_aggregates::{Decides, Timestamp};
use uuid::Uuid;

pub use batch::{ApprovedView, BatchRefusal, BatchView, approve_all};
pub use view::{ApprovalView, list, show};

use crate::app::App;
use crate::ledger::read::ReadError;
use crate::ledger::{AppendError, Guard, TRIES, Versioned, Write};
use crate::service::{Call, Done, ServiceError};

/// Why an approval is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalRefusal {
    /// The approval refuses.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    /// The message refuses.
    #[error(transparent)]
    Message(#[from] MessageError),
}

type Result<T, R = ApprovalRefusal> = std::result::Result<T, ServiceError<R>>;

/// What a person says.
#[derive(Clone, Debug)]
enum Answer {
    /// Send what has this hash.
    Approve { content_hash: String, note: Option<String> },
    /// Do not send it.
    Reject { note: String },
    /// Not like this.
    RequestRevision { note: String },
}

/// Says yes to the content with this hash, and lets the message go to its channel.
pub async fn approve(
    app: &App,
    call: &Call,
    approval: ApprovalId,
    content_hash: String,
    note: Option<String>,
) -> Result<Done<ApprovalView>> {
    answer(app, call, approval, Answer::Approve { content_hash, note }).await
}

/// Says no. The message is over: it has failed, and its deduplication key is free again.
pub async fn reject(
    app: &App,
    call: &Call,
    approval: ApprovalId,
    note: String,
) -> Result<Done<ApprovalView>> {
    answer(app, call, approval, Answer::Reject { note }).await
}

/// Asks for another draft. The message waits for its drafter.
pub async fn request_revision(
    app: &App,
    call: &Call,
    approval: ApprovalId,
    note: String,
) -> Result<Done<ApprovalView>> {
    answer(app, call, approval, Answer::RequestRevision { note }).await
}

async fn answer(app: &App, call: &Call, approval: ApprovalId, answer: Answer) -> Result<Done<ApprovalView>> {
    let organization = call.organization;
    let by = call.origin.actor.principal;
    let shown = show(app, organization, approval, call.at).await?;
    for _ in 0..TRIES {
        let asked = Asked::load(app, organization, &[approval]).await?.pop().unwrap_or_default();
        let outcome = asked.answer(&answer, by, call.at).map_err(ServiceError::Refused)?;
        let Some(outcome) = outcome else {
            let entity = show(app, organization, approval, call.at).await?;
            return Ok(Done { entity, appended: None });
        };
        let entity = shown.clone().after(&outcome, &answer, by, call.at);
        let request = call.request(&entity)?;
        let command = call.command(outcome.writes, outcome.guards, request);
        match app.ledger.append(command).await {
            Ok(appended) => return Ok(Done { entity, appended: Some(appended) }),
            Err(AppendError::Conflict) => (),
            Err(error) => return Err(error.into()),
        }
    }
    Err(AppendError::Conflict.into())
}

/// An approval, what it asks about, and who would send it, as they are now.
#[derive(Default)]
struct Asked {
    approval_id: ApprovalId,
    loaded: Option<Loaded>,
}

struct Loaded {
    approval: Versioned<Approval>,
    message: Versioned<Message>,
    outbox: Versioned<Outbox>,
}

/// What an answer comes to.
struct Outcome {
    writes: Vec<Write>,
    guards: Vec<Guard>,
    approval: Approval,
    message: Message,
}

impl Asked {
    /// One for each id, in their order; without anything loaded where there is no such approval.
    async fn load(
        app: &App,
        organization: OrganizationId,
        approvals: &[ApprovalId],
    ) -> std::result::Result<Vec<Self>, ReadError> {
        let ids: Vec<Uuid> = approvals.iter().map(|id| id.uuid()).collect();
        let asked = app.ledger.load_many::<Approval>(organization, &ids).await?;
        let of = asked.iter().filter_map(|approval| approval.state.message_id());
        let messages = app.ledger.load_each::<Message, _>(organization, of.collect(), |id| id.uuid()).await?;
        let of = messages.values().filter_map(|message| message.state.outbox_id());
        let outboxes = app.ledger.load_each::<Outbox, _>(organization, of.collect(), |id| id.uuid()).await?;
        Ok(approvals
            .iter()
            .zip(asked)
            .map(|(approval_id, approval)| {
                let message = approval.state.message_id().and_then(|id| messages.get(&id));
                let outbox =
                    message.and_then(|message| message.state.outbox_id()).and_then(|id| outboxes.get(&id));
                let loaded = message.zip(outbox).map(|(message, outbox)| Loaded {
                    approval,
                    message: message.clone(),
                    outbox: outbox.clone(),
                });
                Self { approval_id: *approval_id, loaded }
            })
            .collect())
    }

    fn answer(
        &self,
        answer: &Answer,
        by: PrincipalId,
        at: Timestamp,
    ) -> std::result::Result<Option<Outcome>, ApprovalRefusal> {
        let loaded = self.loaded.as_ref().ok_or(ApprovalError::Unknown)?;
        match answer.clone() {
            Answer::Approve { content_hash, note } => self.approve(loaded, by, content_hash, note, at),
            Answer::Reject { note } => {
                let command = ApprovalCommand::Reject { by, note: Some(note), at };
                self.close(loaded, command, Reason::ApprovalRejected)
            }
            Answer::RequestRevision { note } => {
                let command = ApprovalCommand::RequestRevision { by, note: Some(note), at };
                let events = loaded.approval.state.decide(command)?;
                Ok(Outcome::of(loaded, events, vec![]))
            }
        }
    }

    /// The message may go; unless there is no sender any more, which ends it here, without a charge.
    fn approve(
        &self,
        loaded: &Loaded,
        by: PrincipalId,
        content_hash: String,
        note: Option<String>,
        at: Timestamp,
    ) -> std::result::Result<Option<Outcome>, ApprovalRefusal> {
        let command = ApprovalCommand::Approve { by, content_hash: content_hash.clone(), note, at };
        let granted = loaded.approval.state.decide(command)?;
        if granted.is_empty() {
            return Ok(None);
        }
        let message = &loaded.message.state;
        let approve = MessageCommand::Approve { approval_id: self.approval_id, by, content_hash };
        let mut followed = message.decide(approve)?;
        if loaded.outbox.state.deleted() {
            followed = message.decide(failed(Reason::OutboxDeleted))?;
        }
        Ok(Outcome::of(loaded, granted, followed))
    }

    /// The approval is closed without a yes, and the message that waited for it is over.
    fn close(
        &self,
        loaded: &Loaded,
        command: ApprovalCommand,
        reason: Reason,
    ) -> std::result::Result<Option<Outcome>, ApprovalRefusal> {
        let closed = loaded.approval.state.decide(command)?;
        let message = &loaded.message.state;
        // A report that it had arrived after all may have settled it; the question is closed alone then.
        let open = message.dispatch_state() != DispatchState::Done;
        let waits = open && message.approval_id() == Some(self.approval_id);
        let followed = if waits { message.decide(failed(reason))? } else { vec![] };
        Ok(Outcome::of(loaded, closed, followed))
    }
}

fn failed(reason: Reason) -> MessageCommand {
    MessageCommand::Decide { ruling: Ruling::Fail(reason), grounds: Grounds::default(), not_before: None }
}

impl Outcome {
    /// None if nothing happened to the approval: it had been answered like this before.
    fn of(loaded: &Loaded, answered: Vec<ApprovalEvent>, followed: Vec<MessageEvent>) -> Option<Self> {
        if answered.is_empty() {
            return None;
        }
        Some(Self {
            approval: after(&loaded.approval, &answered),
            message: after(&loaded.message, &followed),
            writes: vec![loaded.approval.write(answered), loaded.message.write(followed)],
            guards: vec![loaded.outbox.guard()],
        })
    }
}

fn after<A: Decides + Clone>(before: &Versioned<A>, events: &[A::Event]) -> A {
    let mut state = A::clone(&before.state);
    events.iter().for_each(|event| state.apply(event.clone()));
    state
}
