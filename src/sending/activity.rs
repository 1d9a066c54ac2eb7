//! Activities: messages as answers show them.
//!
//! One message is shown from its own stream, so that an answer is never behind what was just recorded; a list is read
//! from the read model.

use docket_aggregates::channel::Channel;
use docket_aggregates::ids::{
    AgentId, ApprovalId, CampaignId, ContactId, ContentPieceId, MessageId, OrganizationId, OutboxId,
    PrincipalId, RuleId, SequenceId,
};
use docket_aggregates::message::{Delivery, DispatchState, Message, MessageEvent, MessageStatus};
use docket_aggregates::{AnyEvent, Timestamp};
use docket_projections::messages::{self, MessageRow};
use docket_projections::{FoldError, Recorded};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::app::App;
use crate::ledger::Stream;
use crate::ledger::read::{self, ReadError};
use crate::service::Call;
use crate::shapes::{Instant, OneOf};

/// A message as answers show it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// Its id.
    #[schemars(with = "Uuid")]
    pub id: MessageId,
    /// The company.
    #[schemars(with = "Uuid")]
    pub company_id: OrganizationId,
    /// What it came to, as far as it is decided.
    #[schemars(with = "OneOf<MessageStatus>")]
    pub status: MessageStatus,
    /// Where the send is.
    #[schemars(with = "OneOf<DispatchState>")]
    pub dispatch_state: DispatchState,
    /// What became of it after its channel had it.
    #[schemars(with = "OneOf<Delivery>")]
    pub delivery: Delivery,
    /// The channel.
    #[schemars(with = "OneOf<Channel>")]
    pub channel: Channel,
    /// The sender.
    #[schemars(with = "Uuid")]
    pub outbox_id: OutboxId,
    /// The recipient, in the one spelling that is written to; null once erased.
    pub to: Option<String>,
    /// What the channel is given; null once erased, absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// The hash that an approval is bound to.
    pub content_hash: String,
    /// The niche that approval rules looked at.
    pub niche: Option<String>,
    /// The tags that approval rules looked at: those of the content piece if the board vouched for these words.
    pub tags: Vec<String>,
    /// The content piece that it is from.
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
    /// Which step of it, from 1.
    pub step: Option<u32>,
    /// Who drafted it.
    #[schemars(with = "Uuid")]
    pub drafter_id: PrincipalId,
    /// The caller who drafted it, where it was one.
    #[schemars(with = "Option<Uuid>")]
    pub agent_id: Option<AgentId>,
    /// The approval that is asked for, or was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Uuid>")]
    pub approval_id: Option<ApprovalId>,
    /// When a person or a rule let it go.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Instant>")]
    pub approved_at: Option<Timestamp>,
    /// The person who let it go.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Uuid>")]
    pub approved_by: Option<PrincipalId>,
    /// The rule that matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Uuid>")]
    pub matched_rule_id: Option<RuleId>,
    /// Which version of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched_rule_version: Option<u32>,
    /// Why it is where it is: a name of a closed set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the channel, a report or a person said of it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The provider's id of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_message_id: Option<String>,
    /// How often it was handed to its channel.
    pub attempts: u32,
    /// When it is tried again, or not before when it is handed over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Instant>")]
    pub next_attempt_at: Option<Timestamp>,
    /// When its channel took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Instant>")]
    pub sent_at: Option<Timestamp>,
    /// Whether the request stood for a message that there was already.
    pub deduplicated: bool,
    /// When it was drafted.
    #[schemars(with = "Instant")]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schemars(with = "Instant")]
    pub updated_at: Timestamp,
}

impl Activity {
    /// The view of a message, without its payload.
    pub fn of(organization: OrganizationId, row: MessageRow) -> Self {
        Self {
            id: row.message_id,
            company_id: organization,
            status: row.status,
            dispatch_state: row.dispatch_state,
            delivery: row.delivery,
            channel: row.channel,
            outbox_id: row.outbox_id,
            to: row.recipient,
            payload: None,
            content_hash: row.content_hash,
            niche: row.niche,
            tags: row.tags,
            content_piece_id: row.content_piece_id,
            contact_id: row.contact_id,
            campaign_id: row.campaign_id,
            sequence_id: row.sequence_id,
            step: row.step,
            drafter_id: row.drafter,
            agent_id: row.agent_id,
            approval_id: row.approval_id,
            approved_at: row.approved_at,
            approved_by: row.approved_by,
            matched_rule_id: row.rule_id,
            matched_rule_version: row.rule_version,
            reason: row.reason,
            detail: row.detail,
            provider_message_id: row.provider_message_id,
            attempts: row.attempts,
            next_attempt_at: row.next_attempt_at,
            sent_at: row.sent_at,
            deduplicated: false,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }

    /// The view of a message, with its payload.
    pub fn whole(organization: OrganizationId, row: MessageRow) -> Self {
        let payload = row.payload.as_deref().and_then(|text| serde_json::from_str(text).ok());
        Self { payload, ..Self::of(organization, row) }
    }

    /// The same, as the answer to a request that stood for it already.
    #[must_use]
    pub fn found_again(self) -> Self {
        Self { deduplicated: true, ..self }
    }
}

/// What happened to a message so far, in order; nothing if there is no such message.
pub async fn history(
    app: &App,
    organization: OrganizationId,
    message: MessageId,
) -> Result<Vec<Recorded>, ReadError> {
    let stream = Stream::of::<Message>(message);
    let mut stored = read::stream(app.ledger.pool(), organization, stream, 0).await?;
    read::open(app.ledger.keys(), organization, &mut stored).await?;
    stored.into_iter().map(|event| read::recorded(organization, event)).collect()
}

/// A message as its stream tells of it now; none if there is no such message.
pub async fn read(
    app: &App,
    organization: OrganizationId,
    message: MessageId,
) -> Result<Option<MessageRow>, ReadError> {
    told(&history(app, organization, message).await?)
}

/// A message as this much of its stream tells of it.
pub fn told(history: &[Recorded]) -> Result<Option<MessageRow>, ReadError> {
    messages::of_stream(history).map_err(damaged)
}

/// What a message will be once these events are recorded after those that were.
pub(super) fn foreseen(
    call: &Call,
    message: MessageId,
    mut history: Vec<Recorded>,
    events: &[MessageEvent],
) -> Result<Option<MessageRow>, ReadError> {
    let recorded = |(sequence, event): (i64, &MessageEvent)| Recorded {
        organization_id: call.organization,
        position: 0,
        event_id: Uuid::nil().into(),
        command_id: call.command_id,
        aggregate_id: message.uuid(),
        sequence,
        actor_type: String::new(),
        actor_id: String::new(),
        tool: String::new(),
        occurred_at: call.at,
        event: AnyEvent::Message(event.clone()),
    };
    let next = history.last().map_or(1, |last| last.sequence + 1);
    history.extend((next..).zip(events).map(recorded));
    told(&history)
}

/// A stream that does not begin with its draft.
fn damaged(error: FoldError) -> ReadError {
    match error {
        FoldError::Database(error) => ReadError::Database(error),
        FoldError::Orphan { position, .. } | FoldError::OutOfOrder { position } => {
            ReadError::Damaged(position)
        }
        FoldError::Json(_) => ReadError::Damaged(0),
    }
}
