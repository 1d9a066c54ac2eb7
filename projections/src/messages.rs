//! One row per message: the activities of the routes. And one row per time that the approval rules were asked, with what
//! they looked at then.

use std::collections::{BTreeMap, BTreeSet};

use docket_aggregates::channel::Channel;
use docket_aggregates::ids::{
    AgentId, ApprovalId, BucketId, CampaignId, ContactId, ContentPieceId, MessageId, OrganizationId,
    OutboxId, PrincipalId, RuleId, SequenceId,
};
use docket_aggregates::labels::Labels;
use docket_aggregates::message::{
    ChannelAnswer, Delivery, DispatchState, MessageContent, MessageEvent, MessageStatus, Reason,
    standing_after,
};
use docket_aggregates::{AnyEvent, Personal, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::columns::At;
use crate::recordset::{self, Recordset};
use crate::{FoldError, Keyset, Page, ReadModel, Recorded};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "messages", tables: &["messages", "decisions"] };

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRow {
    /// The message.
    pub message_id: MessageId,
    /// Its channel.
    pub channel: Channel,
    /// The sender.
    pub outbox_id: OutboxId,
    /// The normalised address; none once erased.
    pub recipient: Option<String>,
    /// Keyed hash of it.
    pub recipient_hash: String,
    /// The text of a JSON object; none once erased.
    pub payload: Option<String>,
    /// The niche that rules look at.
    pub niche: Option<String>,
    /// The tags that rules look at.
    pub tags: Vec<String>,
    /// Keyed hash of the content as it is now.
    pub content_hash: String,
    /// The piece that the text is from.
    pub content_piece_id: Option<ContentPieceId>,
    /// Who drafted it.
    pub drafter: PrincipalId,
    /// The caller who drafted it, where it was one.
    pub agent_id: Option<AgentId>,
    /// The contact that it is for.
    pub contact_id: Option<ContactId>,
    /// The campaign that it is for.
    pub campaign_id: Option<CampaignId>,
    /// The sequence that it is a step of.
    pub sequence_id: Option<SequenceId>,
    /// Which step.
    pub step: Option<u32>,
    /// One of the six.
    pub status: MessageStatus,
    /// Where the send is.
    pub dispatch_state: DispatchState,
    /// What became of it after its channel had it.
    pub delivery: Delivery,
    /// Why its status or its place is what it is.
    pub reason: Option<String>,
    /// The rule that matched last.
    pub rule_id: Option<RuleId>,
    /// Which version of it.
    pub rule_version: Option<u32>,
    /// Version of the rules that were asked last.
    pub rules_version: Option<u64>,
    /// Version of the allowlist that was looked at last.
    pub allowlist_version: Option<u64>,
    /// The approval that is asked for, or was given.
    pub approval_id: Option<ApprovalId>,
    /// When it was approved, by a person or by a rule; none while it is not.
    pub approved_at: Option<Timestamp>,
    /// The person.
    pub approved_by: Option<PrincipalId>,
    /// How often it was handed to its channel.
    pub attempts: u32,
    /// When it is tried again, or not before when it is handed over.
    pub next_attempt_at: Option<Timestamp>,
    /// Where the last hand-over was charged.
    pub bucket_id: Option<BucketId>,
    /// When it was last handed to its channel.
    pub handed_over_at: Option<Timestamp>,
    /// When its channel took it.
    pub sent_at: Option<Timestamp>,
    /// Keyed hash of the provider's id.
    pub provider_hash: Option<String>,
    /// The provider's id.
    pub provider_message_id: Option<String>,
    /// What the channel, a report or a person said of it last.
    pub detail: Option<String>,
    /// Events of its stream.
    pub version: u64,
    /// When it was drafted.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Recordset for MessageRow {
    const TABLE: &'static str = "messages";
    const KEY: &'static str = "message_id";
}

/// What the approval rules were asked of a message, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRow {
    /// Where the decision stands in the ledger.
    pub position: i64,
    /// The message.
    pub message_id: MessageId,
    /// Its channel.
    pub channel: Channel,
    /// The niche that the rules looked at.
    pub niche: Option<String>,
    /// The tags that they looked at.
    pub tags: Vec<String>,
    /// When.
    pub at: Timestamp,
    /// Whether it went out without a person.
    pub auto_approved: bool,
    /// The rule that matched.
    pub rule_id: Option<RuleId>,
    /// Which version of it.
    pub rule_version: Option<u32>,
}

impl Recordset for DecisionRow {
    const TABLE: &'static str = "decisions";
    const KEY: &'static str = "position";
}

/// Decisions from `from` up to and without `to`, after a position, in order.
pub async fn decisions(
    conn: &mut PgConnection,
    organization: OrganizationId,
    (from, to): (Timestamp, Timestamp),
    after: Option<(Timestamp, i64)>,
    limit: u32,
) -> sqlx::Result<Vec<DecisionRow>> {
    let mut query = recordset::of::<DecisionRow>(organization);
    query.push(" AND t.at >= ").push_bind(At(from)).push(" AND t.at < ").push_bind(At(to));
    if let Some((at, position)) = after {
        query.push(" AND (t.at, t.position) > (").push_bind(At(at)).push(", ").push_bind(position).push(")");
    }
    query.push(" ORDER BY t.at, t.position LIMIT ").push_bind(i64::from(limit));
    recordset::read(conn, query).await
}

/// Which messages are meant.
#[derive(Clone, Debug, Default)]
pub struct MessageFilter {
    /// Of this status.
    pub status: Option<MessageStatus>,
    /// Where the send is.
    pub dispatch_state: Option<DispatchState>,
    /// On this channel.
    pub channel: Option<Channel>,
    /// From this sender.
    pub outbox_id: Option<OutboxId>,
    /// For this contact.
    pub contact_id: Option<ContactId>,
    /// For this campaign.
    pub campaign_id: Option<CampaignId>,
    /// A step of this sequence.
    pub sequence_id: Option<SequenceId>,
    /// Drafted by this principal.
    pub drafter: Option<PrincipalId>,
}

/// One message.
pub async fn get(
    conn: &mut PgConnection,
    organization: OrganizationId,
    message: MessageId,
) -> sqlx::Result<Option<MessageRow>> {
    Ok(by_ids(conn, organization, &[message]).await?.pop())
}

/// Those of `messages` that exist, by id.
pub async fn by_ids(
    conn: &mut PgConnection,
    organization: OrganizationId,
    messages: &[MessageId],
) -> sqlx::Result<Vec<MessageRow>> {
    let ids: Vec<Uuid> = messages.iter().map(|id| id.uuid()).collect();
    recordset::by_ids(conn, organization, &ids).await
}

/// The message that its own stream tells of, as the table will show it; none if the stream is empty.
pub fn of_stream(events: &[Recorded]) -> Result<Option<MessageRow>, FoldError> {
    let (rows, _) = plan(events, vec![])?;
    Ok(rows.into_values().next())
}

/// The messages that a provider knows by the id with this keyed hash; one, unless a provider repeats its ids.
pub async fn by_provider_hash(
    conn: &mut PgConnection,
    organization: OrganizationId,
    provider_hash: &str,
) -> sqlx::Result<Vec<MessageRow>> {
    let mut query = recordset::of::<MessageRow>(organization);
    query.push(" AND t.provider_hash = ").push_bind(provider_hash.to_owned());
    query.push(" ORDER BY t.message_id LIMIT 10");
    recordset::read(conn, query).await
}

/// The message that somebody on a channel most probably answers at an instant: of those that they have, or may have, the
/// last one that was handed over by then. Ids do not tell: those of steps are derived and not minted.
pub async fn answered_at(
    conn: &mut PgConnection,
    organization: OrganizationId,
    channel: Channel,
    recipient_hash: &str,
    at: Timestamp,
) -> sqlx::Result<Option<MessageRow>> {
    let mut query = recordset::of::<MessageRow>(organization);
    query.push(" AND t.recipient_hash = ").push_bind(recipient_hash.to_owned());
    query.push(" AND t.channel = ").push_bind(channel.name());
    query.push(" AND t.handed_over_at <= ").push_bind(At(at));
    query.push(" AND (t.status = 'sent' OR t.dispatch_state IN ('in_flight', 'unknown'))");
    query.push(" ORDER BY t.handed_over_at DESC, t.message_id DESC LIMIT 1");
    Ok(recordset::read(conn, query).await?.pop())
}

/// Whether a message of this sender is with its channel, handed over at `since` or later: its provider may already talk
/// about it under an id that was not recorded yet.
pub async fn any_in_flight(
    conn: &mut PgConnection,
    organization: OrganizationId,
    outbox: OutboxId,
    since: Timestamp,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM messages WHERE organization_id = $1 AND outbox_id = $2 \
             AND dispatch_state = 'in_flight' AND updated_at >= $3)",
    )
    .bind(organization.uuid())
    .bind(outbox.uuid())
    .bind(At(since))
    .fetch_one(conn)
    .await
}

/// Messages, the newest first; of those of one instant, the one with the greatest id.
pub async fn list(
    conn: &mut PgConnection,
    organization: OrganizationId,
    filter: &MessageFilter,
    after: Option<&Keyset>,
    limit: u32,
) -> sqlx::Result<Page<MessageRow>> {
    let mut query = recordset::of::<MessageRow>(organization);
    if let Some(status) = filter.status {
        query.push(" AND t.status = ").push_bind(status.name());
    }
    if let Some(dispatch_state) = filter.dispatch_state {
        query.push(" AND t.dispatch_state = ").push_bind(dispatch_state.name());
    }
    if let Some(channel) = filter.channel {
        query.push(" AND t.channel = ").push_bind(channel.name());
    }
    if let Some(outbox) = filter.outbox_id {
        query.push(" AND t.outbox_id = ").push_bind(outbox.uuid());
    }
    if let Some(contact) = filter.contact_id {
        query.push(" AND t.contact_id = ").push_bind(contact.uuid());
    }
    if let Some(campaign) = filter.campaign_id {
        query.push(" AND t.campaign_id = ").push_bind(campaign.uuid());
    }
    if let Some(sequence) = filter.sequence_id {
        query.push(" AND t.sequence_id = ").push_bind(sequence.uuid());
    }
    if let Some(drafter) = filter.drafter {
        query.push(" AND t.drafter = ").push_bind(drafter.uuid());
    }
    if let Some(after) = after {
        query
            .push(" AND (t.created_at, t.message_id) < (SELECT a.created_at, a.message_id FROM messages a")
            .push(" WHERE a.organization_id = ")
            .push_bind(organization.uuid())
            .push(" AND a.message_id = ")
            .push_bind(after.id)
            .push(")");
    }
    query.push(" ORDER BY t.created_at DESC, t.message_id DESC LIMIT ").push_bind(i64::from(limit) + 1);
    let rows = recordset::read(conn, query).await?;
    Ok(Page::of(rows, limit, |row: &MessageRow| Keyset::id(row.message_id)))
}

/// Folds the batch into messages.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    let mut drafted = BTreeSet::new();
    let mut touched = BTreeSet::new();
    for recorded in batch {
        match &recorded.event {
            AnyEvent::Message(MessageEvent::MessageDrafted { message_id, .. }) => {
                drafted.insert(message_id.uuid());
            }
            AnyEvent::Message(_) if !drafted.contains(&recorded.aggregate_id) => {
                touched.insert(recorded.aggregate_id);
            }
            _ => (),
        }
    }
    if drafted.is_empty() && touched.is_empty() {
        return Ok(());
    }
    let touched: Vec<Uuid> = touched.into_iter().collect();
    let before = recordset::by_ids(conn, organization, &touched).await?;
    let (rows, decisions) = plan(batch, before)?;
    recordset::write(conn, organization, rows.into_values()).await?;
    recordset::write(conn, organization, decisions).await
}

type Plan = (BTreeMap<MessageId, MessageRow>, Vec<DecisionRow>);

fn plan(batch: &[Recorded], before: Vec<MessageRow>) -> Result<Plan, FoldError> {
    let mut decisions = Vec::new();
    let mut rows: BTreeMap<MessageId, MessageRow> =
        before.into_iter().map(|row| (row.message_id, row)).collect();
    for recorded in batch {
        let AnyEvent::Message(event) = &recorded.event else { continue };
        if let Some(row) = drafted(event, recorded) {
            rows.insert(row.message_id, row);
            continue;
        }
        let row = rows.get_mut(&MessageId(recorded.aggregate_id)).ok_or_else(|| recorded.orphan())?;
        row.version = recorded.version();
        row.updated_at = recorded.occurred_at;
        if let Some((status, dispatch_state)) = standing_after(event) {
            (row.status, row.dispatch_state) = (status, dispatch_state);
            row.next_attempt_at = None;
            if status == MessageStatus::Sent {
                row.reason = None;
                // What was found out later was sent when it was handed over.
                let then = matches!(event, MessageEvent::MessageSettled { .. }).then_some(row.handed_over_at);
                row.sent_at = then.flatten().or(Some(recorded.occurred_at));
            }
        }
        decisions.extend(row.decided(event, recorded));
        row.take_in(event, recorded.occurred_at);
    }
    Ok((rows, decisions))
}

fn drafted(event: &MessageEvent, recorded: &Recorded) -> Option<MessageRow> {
    let MessageEvent::MessageDrafted {
        message_id,
        channel,
        outbox_id,
        recipient_hash,
        content,
        labels,
        content_hash,
        content_piece_id,
        dedup: _,
        drafter,
        agent_id,
        contact_id,
        campaign_id,
        sequence_id,
        step,
        co_authors: _,
    } = event
    else {
        return None;
    };
    let mut row = MessageRow {
        message_id: *message_id,
        channel: *channel,
        outbox_id: *outbox_id,
        recipient: None,
        recipient_hash: recipient_hash.clone(),
        payload: None,
        niche: None,
        tags: Vec::new(),
        content_hash: String::new(),
        content_piece_id: *content_piece_id,
        drafter: *drafter,
        agent_id: *agent_id,
        contact_id: *contact_id,
        campaign_id: *campaign_id,
        sequence_id: *sequence_id,
        step: *step,
        status: MessageStatus::DraftPendingApproval,
        dispatch_state: DispatchState::None,
        delivery: Delivery::Unknown,
        reason: None,
        rule_id: None,
        rule_version: None,
        rules_version: None,
        allowlist_version: None,
        approval_id: None,
        approved_at: None,
        approved_by: None,
        attempts: 0,
        next_attempt_at: None,
        bucket_id: None,
        handed_over_at: None,
        sent_at: None,
        provider_hash: None,
        provider_message_id: None,
        detail: None,
        version: recorded.version(),
        created_at: recorded.occurred_at,
        updated_at: recorded.occurred_at,
    };
    row.say(content, labels, content_hash);
    Some(row)
}

impl MessageRow {
    fn say(&mut self, content: &Personal<MessageContent>, labels: &Personal<Labels>, content_hash: &str) {
        let content = content.value();
        self.recipient = content.map(|content| content.to.clone());
        self.payload = content.map(|content| content.payload.clone());
        let labels = labels.value().cloned().unwrap_or_default();
        self.niche = labels.niche;
        self.tags = labels.tags;
        self.content_hash = content_hash.to_owned();
    }

    fn hear(&mut self, answer: Option<&Personal<ChannelAnswer>>) {
        let Some(answer) = answer.and_then(Personal::value) else { return };
        self.detail = answer.detail.clone().or(self.detail.take());
        self.provider_message_id = answer.provider_message_id.clone().or(self.provider_message_id.take());
    }

    /// What the rules were asked of it as it is, if they were.
    fn decided(&self, event: &MessageEvent, recorded: &Recorded) -> Option<DecisionRow> {
        let MessageEvent::MessageDecided { decision, labels, .. } = event else { return None };
        decision.rules_version?;
        // Of what was judged anew, what was said of it then; else what the draft says.
        let judged = labels.as_ref().map(|labels| labels.value().cloned().unwrap_or_default());
        let labels = judged.unwrap_or_else(|| Labels { niche: self.niche.clone(), tags: self.tags.clone() });
        Some(DecisionRow {
            position: recorded.position,
            message_id: self.message_id,
            channel: self.channel,
            niche: labels.niche,
            tags: labels.tags,
            at: recorded.occurred_at,
            auto_approved: decision.approval_id.is_none(),
            rule_id: decision.rule.map(|rule| rule.rule_id),
            rule_version: decision.rule.map(|rule| rule.version),
        })
    }

    fn take_in(&mut self, event: &MessageEvent, at: Timestamp) {
        match event {
            MessageEvent::MessageDrafted { .. } => (),
            MessageEvent::MessageRevised { content, content_hash, labels } => {
                self.say(content, labels, content_hash);
                self.approval_id = None;
            }
            MessageEvent::MessageDecided { decision, .. } => {
                self.reason = decision.reason.clone();
                // What was not asked is as it was asked last.
                if decision.rules_version.is_some() {
                    self.rule_id = decision.rule.map(|rule| rule.rule_id);
                    self.rule_version = decision.rule.map(|rule| rule.version);
                    self.rules_version = decision.rules_version;
                } else if decision.reason.as_deref() == Some(Reason::PieceGone.name()) {
                    // What a rule had said of it holds no more, and no rule was asked instead.
                    (self.rule_id, self.rule_version, self.rules_version) = (None, None, None);
                }
                self.allowlist_version = self.allowlist_version.max(Some(decision.allowlist_version));
                // Whoever ends a message does not ask for anything: what had been asked for, and was answered, stays to be
                // seen.
                if decision.status == MessageStatus::DraftPendingApproval {
                    self.approval_id = decision.approval_id;
                    self.approved_at = None;
                    self.approved_by = None;
                }
            }
            MessageEvent::MessageApproved { by, .. } => {
                self.approved_at = Some(at);
                self.approved_by = *by;
                self.reason = None;
            }
            MessageEvent::MessageQueued { not_before } => self.next_attempt_at = *not_before,
            MessageEvent::MessageSending { attempt, bucket_id, at, .. } => {
                self.attempts = *attempt;
                self.bucket_id = Some(*bucket_id);
                self.handed_over_at = Some(*at);
            }
            // The status says it all.
            MessageEvent::MessageTakenBack { .. } => (),
            MessageEvent::MessageAccepted { provider_hash, answer, .. } => {
                self.provider_hash = provider_hash.clone();
                self.hear(answer.as_ref());
            }
            MessageEvent::MessageDeferred { code, next_attempt_at, answer, .. } => {
                self.reason = Some(code.clone());
                self.next_attempt_at = Some(*next_attempt_at);
                self.hear(answer.as_ref());
            }
            MessageEvent::MessageRejected { code, answer, .. }
            | MessageEvent::OutcomeUnknown { code, answer, .. } => {
                self.reason = Some(code.clone());
                self.hear(answer.as_ref());
            }
            MessageEvent::MessageGivenUp { answer, .. } => {
                self.reason = Some(Reason::RetriesExhausted.name().to_owned());
                self.hear(answer.as_ref());
            }
            MessageEvent::MessageSettled { status, evidence, .. } => {
                if *status == MessageStatus::Failed {
                    self.reason = Some(Reason::SettledAsFailed.name().to_owned());
                }
                self.note(evidence.as_ref());
            }
            MessageEvent::DeliveryReported { delivery, detail, .. } => {
                self.delivery = *delivery;
                self.note(detail.as_ref());
            }
        }
    }

    fn note(&mut self, words: Option<&Personal<String>>) {
        if let Some(words) = words.and_then(Personal::value) {
            self.detail = Some(words.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use docket_aggregates::ids::SubjectId;
    use docket_aggregates::message::Decision;

    const ID: Uuid = Uuid::from_u128(9);

    fn events() -> Vec<MessageEvent> {
        let outbox_id = OutboxId(Uuid::from_u128(2));
        let content = MessageContent { to: "ann@example.com".into(), payload: "{}".into() };
        vec![
            MessageEvent::MessageDrafted {
                message_id: MessageId(ID),
                channel: Channel::Email,
                outbox_id,
                recipient_hash: "a1".into(),
                content: Personal::known(SubjectId(ID), content),
                labels: Personal::known(outbox_id.uuid(), Labels::default()),
                content_hash: "c1".into(),
                content_piece_id: None,
                dedup: None,
                drafter: PrincipalId::default(),
                agent_id: None,
                contact_id: None,
                campaign_id: None,
                sequence_id: None,
                step: None,
                co_authors: vec![],
            },
            MessageEvent::MessageDecided {
                decision: Decision {
                    status: MessageStatus::DraftPendingApproval,
                    reason: None,
                    rule: None,
                    rules_version: Some(0),
                    allowlist_version: 1,
                    approval_id: None,
                },
                dedup_key: None,
                labels: None,
            },
            MessageEvent::MessageApproved {
                approval_id: None,
                by: None,
                rule: None,
                content_hash: "c1".into(),
            },
            MessageEvent::MessageQueued { not_before: None },
            MessageEvent::MessageSending {
                attempt: 1,
                bucket_id: BucketId::default(),
                provider_key: "k".into(),
                keyed: None,
                at: Timestamp::from_millis(5),
            },
            MessageEvent::MessageDeferred {
                attempt: 1,
                code: "unavailable".into(),
                next_attempt_at: Timestamp::from_millis(60_000),
                answer: None,
            },
            MessageEvent::MessageSending {
                attempt: 2,
                bucket_id: BucketId::default(),
                provider_key: "k".into(),
                keyed: None,
                at: Timestamp::from_millis(60_000),
            },
            MessageEvent::MessageAccepted { attempt: 2, provider_hash: Some("p1".into()), answer: None },
        ]
    }

    fn recorded() -> Vec<Recorded> {
        (1..).zip(events()).map(|(position, event)| Recorded::sample(position, ID, position, event)).collect()
    }

    #[test]
    fn a_row_is_the_same_in_any_batches() {
        let whole = plan(&recorded(), vec![]).unwrap();
        for cut in 0..events().len() {
            let all = recorded();
            let (before, first) = plan(&all[..cut], vec![]).unwrap();
            let (rows, second) = plan(&all[cut..], before.into_values().collect()).unwrap();
            assert_eq!((rows, [first, second].concat()), whole, "{cut}");
        }
    }

    #[test]
    fn the_row_says_where_the_send_is() {
        let (rows, decisions) = plan(&recorded()[..6], vec![]).unwrap();
        assert!(decisions[0].auto_approved);
        let row = &rows[&MessageId(ID)];
        assert_eq!(
            (row.status, row.dispatch_state),
            (MessageStatus::DraftPendingApproval, DispatchState::Retrying)
        );
        assert_eq!(row.next_attempt_at, Some(Timestamp::from_millis(60_000)));
        assert_eq!(row.reason.as_deref(), Some("unavailable"));
        let (rows, _) = plan(&recorded(), vec![]).unwrap();
        let row = &rows[&MessageId(ID)];
        assert_eq!(
            (row.status, row.dispatch_state, row.attempts),
            (MessageStatus::Sent, DispatchState::Done, 2)
        );
        assert_eq!((row.reason.clone(), row.sent_at), (None, Some(Timestamp::from_millis(8))));
        assert_eq!(row.approved_at, Some(Timestamp::from_millis(3)));
    }

    #[test]
    fn what_is_known_later_was_sent_when_it_was_handed_over() {
        let mut history = recorded();
        history.truncate(7);
        let settled = MessageEvent::MessageSettled {
            attempt: 2,
            status: MessageStatus::Sent,
            by: docket_aggregates::message::SettledBy::Webhook,
            evidence: None,
            dedup_key: None,
            dedup_key_again: None,
        };
        history.push(Recorded::sample(8, ID, 8, settled));
        let (rows, _) = plan(&history, vec![]).unwrap();
        let row = &rows[&MessageId(ID)];
        assert_eq!((row.status, row.sent_at), (MessageStatus::Sent, Some(Timestamp::from_millis(60_000))));
    }

    #[test]
    fn what_was_never_drafted_is_an_orphan() {
        let stray = Recorded::sample(1, ID, 2, MessageEvent::MessageQueued { not_before: None });
        assert!(matches!(plan(&[stray], vec![]), Err(FoldError::Orphan { position: 1, .. })));
    }
}
