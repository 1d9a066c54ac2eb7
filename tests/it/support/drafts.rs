//! Messages that wait for a person, from the smallest events that there are: drafted, judged by the rules as they are,
//! and asked about.

use docket::app::App;
use docket::ledger::{Stream, Write};
use docket_aggregates::approval::{Approval, ApprovalCommand};
use docket_aggregates::approval_rules::{Action, ApprovalRules, Facts};
use docket_aggregates::channel::Channel;
use docket_aggregates::ids::{ApprovalId, MessageId, OrganizationId, OutboxId, PrincipalId, SubjectId};
use docket_aggregates::labels::Labels;
use docket_aggregates::message::{
    DedupKey, Draft, Grounds, Message, MessageCommand, MessageContent, MessageEvent, Ruling,
};
use docket_aggregates::{AnyEvent, Decides};
use serde_json::json;

use super::commands::command;

/// What was drafted.
#[derive(Clone, Debug)]
pub struct Drafted {
    /// The message.
    pub message: MessageId,
    /// The approval that is asked for; none if a rule let the message go.
    pub approval: Option<ApprovalId>,
    /// The hash of its content.
    pub content_hash: String,
}

/// A draft to somebody, with these labels.
#[derive(Clone, Debug)]
pub struct Sketch {
    /// The channel.
    pub channel: Channel,
    /// The sender.
    pub outbox: OutboxId,
    /// Who drafts it.
    pub drafter: PrincipalId,
    /// The niche.
    pub niche: Option<String>,
    /// The tags.
    pub tags: Vec<String>,
    /// The text.
    pub text: String,
    /// The caller's key.
    pub dedup: Option<String>,
}

impl Sketch {
    /// An e-mail from this outbox.
    pub fn mail(outbox: OutboxId) -> Self {
        Self {
            channel: Channel::Email,
            outbox,
            drafter: PrincipalId::default(),
            niche: None,
            tags: vec![],
            text: "Hello".into(),
            dedup: None,
        }
    }

    fn content(&self) -> MessageContent {
        MessageContent {
            to: "ann@example.com".into(),
            payload: json!({ "subject": "Spring", "text": self.text }).to_string(),
        }
    }

    fn content_hash(&self) -> String {
        // Long enough to be told from others; how it is made is another's business.
        format!("{:0>64}", hex(&self.text))
    }
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// Drafts a message; the rules of the organization decide whether a person is asked.
pub async fn draft(app: &App, organization: OrganizationId, sketch: &Sketch) -> Drafted {
    let message: MessageId = app.clock.mint();
    let approval: ApprovalId = app.clock.mint();
    let subject: SubjectId = app.clock.mint();
    let labels = Labels { niche: sketch.niche.clone(), tags: sketch.tags.clone() };
    let facts = Facts { channel: sketch.channel, labels: labels.clone() };
    let rules = app.ledger.load::<ApprovalRules>(organization, organization.approval_rules()).await.unwrap();
    let at = app.clock.now();
    let verdict = rules.state.evaluate(&facts, at);
    let grounds = Grounds { allowlist_version: 1, rules_version: Some(rules.version), rule: verdict.rule };
    let ruling = match verdict.action {
        Action::AutoApprove => Ruling::AutoApprove,
        Action::QueueForManual => Ruling::AskAPerson(approval),
    };
    let content_hash = sketch.content_hash();
    let dedup = sketch.dedup.as_ref().map(|key| DedupKey { key: key.clone(), fingerprint: key.clone() });
    let take_in = MessageCommand::Draft(Box::new(Draft {
        message_id: message,
        channel: sketch.channel,
        outbox_id: sketch.outbox,
        subject,
        recipient_hash: "ab".into(),
        content: sketch.content(),
        content_hash: content_hash.clone(),
        labels,
        content_piece_id: None,
        dedup,
        drafter: sketch.drafter,
        agent_id: None,
        contact_id: None,
        campaign_id: None,
        sequence_id: None,
        step: None,
        co_authors: vec![],
    }));
    let decide = MessageCommand::Decide { ruling, grounds, not_before: None };
    let mut writes = vec![following::<Message>(message.uuid(), [take_in, decide])];
    let asked = ruling == Ruling::AskAPerson(approval);
    if asked {
        let request = ApprovalCommand::Request {
            approval_id: approval,
            message_id: message,
            content_hash: content_hash.clone(),
            drafter: sketch.drafter,
            rule: verdict.rule,
            supersedes: None,
            at,
        };
        writes.push(following::<Approval>(approval.uuid(), [request]));
    }
    app.ledger.append(command(app, organization, writes)).await.unwrap();
    Drafted { message, approval: asked.then_some(approval), content_hash }
}

/// Drafts `count` messages that wait for a person.
pub async fn drafts(app: &App, organization: OrganizationId, sketch: &Sketch, count: usize) -> Vec<Drafted> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        all.push(draft(app, organization, sketch).await);
    }
    all
}

/// Revises a draft by its drafter: another text, another approval, and the one that was asked for is superseded.
pub async fn revise(app: &App, organization: OrganizationId, drafted: &Drafted, sketch: &Sketch) -> Drafted {
    let message = app.ledger.load::<Message>(organization, drafted.message).await.unwrap();
    let old = drafted.approval.unwrap();
    let before = app.ledger.load::<Approval>(organization, old).await.unwrap();
    let approval: ApprovalId = app.clock.mint();
    let content_hash = sketch.content_hash();
    let labels = Labels { niche: sketch.niche.clone(), tags: sketch.tags.clone() };
    let mut state = (*message.state).clone();
    let mut events: Vec<MessageEvent> = vec![];
    for order in [
        MessageCommand::Revise {
            by: sketch.drafter,
            content: sketch.content(),
            content_hash: content_hash.clone(),
            labels,
        },
        MessageCommand::Decide {
            ruling: Ruling::AskAPerson(approval),
            grounds: Grounds { allowlist_version: 1, rules_version: Some(0), rule: None },
            not_before: None,
        },
    ] {
        let decided = state.decide(order).unwrap();
        for event in &decided {
            cqrs_es::Aggregate::apply(&mut state, event.clone());
        }
        events.extend(decided);
    }
    let supersede = ApprovalCommand::Supersede { by: Some(approval) };
    let request = ApprovalCommand::Request {
        approval_id: approval,
        message_id: drafted.message,
        content_hash: content_hash.clone(),
        drafter: sketch.drafter,
        rule: None,
        supersedes: Some(old),
        at: app.clock.now(),
    };
    let writes = vec![
        message.write(events),
        before.write(before.state.decide(supersede).unwrap()),
        following::<Approval>(approval.uuid(), [request]),
    ];
    app.ledger.append(command(app, organization, writes)).await.unwrap();
    Drafted { message: drafted.message, approval: Some(approval), content_hash }
}

/// What these commands make of an aggregate that is not there yet.
fn following<A: Decides>(id: uuid::Uuid, commands: impl IntoIterator<Item = A::Command>) -> Write
where
    A::Error: std::fmt::Debug,
{
    let mut state = A::default();
    let mut events: Vec<AnyEvent> = vec![];
    for command in commands {
        for event in state.decide(command).unwrap() {
            state.apply(event.clone());
            events.push(event.into());
        }
    }
    Write { stream: Stream::of::<A>(id), expected: 0, events }
}
