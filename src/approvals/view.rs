//! An approval as it is shown: the question, with the exact recipient and content that it is about.

use docket_aggregates::approval::{ApprovalError, ApprovalStatus};
use docket_aggregates::channel::Channel;
use docket_aggregates::ids::{
    AgentId, ApprovalId, CampaignId, ContactId, ContentPieceId, MessageId, OrganizationId, OutboxId,
    PrincipalId, RuleId, SequenceId,
};
use docket_aggregates::message::{DispatchState, Message, MessageContent, MessageEvent, MessageStatus};
use docket_aggregates::{AnyEvent, Personal, Timestamp};
use docket_projections::approvals::{self, ApprovalRow};
use docket_projections::messages::{self, MessageRow};
use docket_projections::{Keyset, Page};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{Answer, ApprovalRefusal, Outcome};
use crate::app::App;
use crate::ledger::Stream;
use crate::ledger::read::{self, ReadError};
use crate::readside::Consistency;
use crate::service::ServiceError;
use crate::shapes::{Instant, OneOf};

/// An approval as answers show it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalView {
    /// Its id, which names one content.
    #[schemars(with = "Uuid")]
    pub id: ApprovalId,
    /// The company.
    #[schemars(with = "Uuid")]
    pub company_id: OrganizationId,
    /// Where it stands.
    #[schemars(with = "OneOf<ApprovalStatus>")]
    pub status: ApprovalStatus,
    /// The hash of what is shown; whoever approves repeats it.
    pub content_hash: String,
    /// What is to be sent.
    #[schemars(with = "Uuid")]
    pub activity_id: MessageId,
    /// Where that stands.
    #[schemars(with = "OneOf<MessageStatus>")]
    pub activity_status: MessageStatus,
    /// Where its send is.
    #[schemars(with = "OneOf<DispatchState>")]
    pub dispatch_state: DispatchState,
    /// Why, where there is more to say.
    pub reason: Option<String>,
    /// The channel.
    #[schemars(with = "OneOf<Channel>")]
    pub channel: Channel,
    /// The sender.
    #[schemars(with = "Uuid")]
    pub outbox_id: OutboxId,
    /// The exact recipient; null once erased.
    pub to: Option<String>,
    /// The exact content; null once erased, and in lists where the draft was changed since.
    pub payload: Option<Value>,
    /// The piece that the text is from.
    #[schemars(with = "Option<Uuid>")]
    pub content_piece_id: Option<ContentPieceId>,
    /// The contact that it is for.
    #[schemars(with = "Option<Uuid>")]
    pub contact_id: Option<ContactId>,
    /// The campaign that it is for.
    #[schemars(with = "Option<Uuid>")]
    pub campaign_id: Option<CampaignId>,
    /// The sequence that it is a step of.
    #[schemars(with = "Option<Uuid>")]
    pub sequence_id: Option<SequenceId>,
    /// Who drafted it.
    #[schemars(with = "Uuid")]
    pub drafted_by: PrincipalId,
    /// The caller who drafted it, where it was one.
    #[schemars(with = "Option<Uuid>")]
    pub agent_id: Option<AgentId>,
    /// The rule that queued it; null if no rule matched.
    #[schemars(with = "Option<Uuid>")]
    pub matched_rule_id: Option<RuleId>,
    /// Which version of it.
    pub matched_rule_version: Option<u32>,
    /// The approval that it took the place of.
    #[schemars(with = "Option<Uuid>")]
    pub supersedes: Option<ApprovalId>,
    /// Who answered.
    #[schemars(with = "Option<Uuid>")]
    pub answered_by: Option<PrincipalId>,
    /// What they said.
    pub note: Option<String>,
    /// When nobody may answer any more.
    #[schemars(with = "Instant")]
    pub expires_at: Timestamp,
    /// When it was asked for.
    #[schemars(with = "Instant")]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schemars(with = "Instant")]
    pub updated_at: Timestamp,
}

impl ApprovalView {
    fn of(organization: OrganizationId, row: ApprovalRow, message: MessageRow, now: Timestamp) -> Self {
        // What was revised since is not what this approval asks about.
        let same = row.content_hash == message.content_hash;
        Self {
            id: row.approval_id,
            company_id: organization,
            status: row.status_at(now),
            content_hash: row.content_hash,
            activity_id: row.message_id,
            activity_status: message.status,
            dispatch_state: message.dispatch_state,
            reason: message.reason,
            channel: message.channel,
            outbox_id: message.outbox_id,
            to: message.recipient,
            payload: message.payload.filter(|_| same).as_deref().and_then(content),
            content_piece_id: message.content_piece_id,
            contact_id: message.contact_id,
            campaign_id: message.campaign_id,
            sequence_id: message.sequence_id,
            drafted_by: row.drafter,
            agent_id: message.agent_id,
            matched_rule_id: row.rule_id,
            matched_rule_version: row.rule_version,
            supersedes: row.supersedes,
            answered_by: row.answered_by,
            note: row.note,
            expires_at: row.expires_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }

    /// The same after an answer.
    pub(super) fn after(self, outcome: &Outcome, answer: &Answer, by: PrincipalId, at: Timestamp) -> Self {
        let note = match answer {
            Answer::Approve { note, .. } => note.clone(),
            Answer::Reject { note } | Answer::RequestRevision { note } => Some(note.clone()),
        };
        Self {
            status: outcome.approval.status(),
            activity_status: outcome.message.status(),
            dispatch_state: outcome.message.dispatch_state(),
            reason: outcome.message.reason().map(str::to_owned),
            answered_by: Some(by),
            note,
            updated_at: at,
            ..self
        }
    }
}

/// It was stored as the text of an object.
fn content(payload: &str) -> Option<Value> {
    serde_json::from_str(payload).ok()
}

/// Approvals, the oldest first, of one status or of all.
pub async fn list(
    app: &App,
    organization: OrganizationId,
    status: Option<ApprovalStatus>,
    after: Option<&Keyset>,
    limit: u32,
    now: Timestamp,
) -> Result<Page<ApprovalView>, ServiceError<ApprovalRefusal>> {
    let mut view = app.readside.view(organization, Consistency::STRONG).await?;
    let page = approvals::list(&mut view, organization, status, now, after, limit).await?;
    let ids: Vec<MessageId> = page.rows.iter().map(|row| row.message_id).collect();
    let messages = messages::by_ids(&mut view, organization, &ids).await?;
    drop(view);
    let of = |row: &ApprovalRow| messages.iter().find(|message| message.message_id == row.message_id);
    let rows = page
        .rows
        .into_iter()
        .filter_map(|row| {
            let message = of(&row)?.clone();
            Some(ApprovalView::of(organization, row, message, now))
        })
        .collect();
    Ok(Page { rows, next: page.next })
}

/// One approval. Its content is the one that it asks about, also if the draft was changed since.
pub async fn show(
    app: &App,
    organization: OrganizationId,
    approval: ApprovalId,
    now: Timestamp,
) -> Result<ApprovalView, ServiceError<ApprovalRefusal>> {
    let mut view = app.readside.view(organization, Consistency::STRONG).await?;
    let unknown = || ServiceError::Refused(ApprovalError::Unknown.into());
    let row = approvals::get(&mut view, organization, approval).await?.ok_or_else(unknown)?;
    let message = messages::get(&mut view, organization, row.message_id).await?.ok_or_else(unknown)?;
    drop(view);
    let mut shown = ApprovalView::of(organization, row, message, now);
    if shown.payload.is_none() {
        let asked = content_of(app, organization, shown.activity_id, &shown.content_hash).await?;
        shown.payload = asked.as_ref().and_then(|asked| content(&asked.payload));
    }
    Ok(shown)
}

/// What a message said when its content had this hash; none if it was erased.
async fn content_of(
    app: &App,
    organization: OrganizationId,
    message: MessageId,
    hash: &str,
) -> Result<Option<MessageContent>, ReadError> {
    let stream = Stream::of::<Message>(message);
    let mut events = read::stream(app.ledger.pool(), organization, stream, 0).await?;
    read::open(app.ledger.keys(), organization, &mut events).await?;
    for stored in events {
        let AnyEvent::Message(event) = read::recorded(organization, stored)?.event else { continue };
        match event {
            MessageEvent::MessageDrafted { content, content_hash, .. }
            | MessageEvent::MessageRevised { content, content_hash, .. }
                if content_hash == hash =>
            {
                return Ok(Personal::into_value(content));
            }
            _ => (),
        }
    }
    Ok(None)
}
