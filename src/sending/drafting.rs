//! Taking a message in, and deciding what becomes of it: one append.
//!
//! The append holds the draft, the decision and, where a person is asked, the question. It guards everything that the
//! decision looked at, takes the caller's deduplication key, and is refused where the address is suppressed, so that a
//! draft is never decided on what was true before an acknowledged change. Who loses such a race decides anew.

use docket_aggregates::allowlist::Allowlist;
use docket_aggregates::approval::{Approval, ApprovalCommand};
use docket_aggregates::approval_rules::ApprovalRules;
use docket_aggregates::campaign::Campaign;
use docket_aggregates::channel::Channel;
use docket_aggregates::claims::{ClaimKey, Scope};
use docket_aggregates::content_piece::ContentPiece;
use docket_aggregates::ids::{
    AgentId, ApprovalId, CampaignId, ContactId, ContentPieceId, MessageId, OrganizationId, OutboxId,
    PrincipalId, SequenceId,
};
use docket_aggregates::judgement::{self, At};
use docket_aggregates::labels::Labels;
use docket_aggregates::message::{
    DedupKey, Draft, Grounds, Message, MessageCommand, MessageContent, MessageError, MessageEvent, Ruling,
};
use docket_aggregates::outbox::Outbox;
use docket_aggregates::{Decides, Timestamp};
use docket_projections::Recorded;
use serde_json::Value;

use super::activity::{self, Activity};
use super::addressee::Addressee;
use super::content;
use super::recipient::Recipient;
use super::refusal::SendRefusal;
use crate::app::App;
use crate::channels::Problem;
use crate::ledger::canonical;
use crate::ledger::keys::OrganizationKeys;
use crate::ledger::read::ReadError;
use crate::ledger::{AppendError, Guard, Stream, TRIES, Versioned, Write};
use crate::service::{Call, Done, ServiceError};

pub(super) type Result<T> = std::result::Result<T, ServiceError<SendRefusal>>;

/// What is asked for. What is not said is made up: a fresh id, the contact that the address belongs to, the caller as the
/// drafter, at once.
#[derive(Clone, Debug)]
pub struct SendRequest {
    /// The channel.
    pub channel: Channel,
    /// The sender; for a dry run, of any channel.
    pub outbox_id: OutboxId,
    /// The recipient, as it was written.
    pub to: String,
    /// What the channel is given: an object.
    pub payload: Value,
    /// The piece that the text is from.
    pub content_piece_id: Option<ContentPieceId>,
    /// The caller's own key: asked again, it stands for the same message.
    pub dedup_key: Option<String>,
    /// The id of the message, where the asker derives it: asked again, it is the same message.
    pub message_id: Option<MessageId>,
    /// The contact that is meant, where the asker knows it.
    pub contact_id: Option<ContactId>,
    /// The campaign that it is for.
    pub campaign_id: Option<CampaignId>,
    /// The sequence that it is a step of.
    pub sequence_id: Option<SequenceId>,
    /// Which step, from 1.
    pub step: Option<u32>,
    /// Who drafted it, where that is not who calls: whoever wrote the words of a sequence.
    pub drafter: Option<PrincipalId>,
    /// Who had a hand in the words beside the drafter.
    pub co_authors: Vec<PrincipalId>,
    /// The caller who drafted it, where it was one.
    pub agent_id: Option<AgentId>,
    /// Whether the asker may see no messages but their own, so that no key gives them another one.
    pub sees_own_only: bool,
    /// Not to be handed over before this instant, if no person is asked.
    pub not_before: Option<Timestamp>,
    /// What is recorded together with it, or not at all.
    pub beside: Vec<Write>,
    /// What the asker looked at beside, and that must not have changed.
    pub guards: Vec<Guard>,
}

impl SendRequest {
    /// A plain request: everything that is optional is not said.
    pub fn new(channel: Channel, outbox_id: OutboxId, to: impl Into<String>, payload: Value) -> Self {
        Self {
            channel,
            outbox_id,
            to: to.into(),
            payload,
            content_piece_id: None,
            dedup_key: None,
            message_id: None,
            contact_id: None,
            campaign_id: None,
            sequence_id: None,
            step: None,
            drafter: None,
            co_authors: vec![],
            agent_id: None,
            sees_own_only: false,
            not_before: None,
            beside: vec![],
            guards: vec![],
        }
    }
}

/// Takes a message in and decides what becomes of it. A request that stands for a message that there is already appends
/// nothing and gives that one back.
pub async fn draft(app: &App, call: &Call, request: SendRequest) -> Result<Done<Activity>> {
    let organization = call.organization;
    let keys = app.ledger.keys().organization(organization).await?;
    let recipient = Recipient::read(request.channel, &request.to)
        .map_err(|error| ServiceError::Refused(SendRefusal::To(error)))?;
    let payload =
        content::read_payload(request.channel, &request.payload, call.at).map_err(ServiceError::Refused)?;
    let of_outbox = channel_of(app, organization, &request).await?;
    let recipient = with_number(recipient, of_outbox, &request.payload)?;
    let content = MessageContent { to: recipient.to.clone(), payload };
    let dedup = request.dedup_key.as_deref().map(|key| dedup_key(&keys, key, &request, &content));
    // Members that are null were kept once, and told from those that are missing.
    let with_nulls = canonical::with_fractions(&request.payload).ok().filter(|text| *text != content.payload);
    let dedup_before = request.dedup_key.as_deref().zip(with_nulls).map(|(key, payload)| {
        let content = MessageContent { payload, ..content.clone() };
        dedup_key(&keys, key, &request, &content)
    });
    let asked = Asked {
        message_id: request.message_id.unwrap_or_else(|| app.clock.mint()),
        approval_id: app.clock.mint(),
        content_hash: content::content_hash(&keys, request.channel, request.outbox_id, &content),
        request,
        content,
        dedup,
        dedup_before,
    };
    for _ in 0..TRIES {
        if let Some(known) = asked.known(app, organization, call.origin.actor.principal).await? {
            return Ok(Done { entity: known, appended: None });
        }
        let addressee =
            Addressee::find(app, organization, &keys, recipient.clone(), asked.request.contact_id).await?;
        match asked.draft(app, call, &addressee).await {
            Err(ServiceError::Append(
                AppendError::Conflict | AppendError::Present(_) | AppendError::Taken(Scope::MessageDedup),
            )) => (),
            done => return done,
        }
    }
    Err(AppendError::Conflict.into())
}

/// The channel of the outbox: what a dry run rehearses. An outbox that does not exist is refused later, with its own reason.
async fn channel_of(app: &App, organization: OrganizationId, request: &SendRequest) -> Result<Channel> {
    if request.channel != Channel::DryRun {
        return Ok(request.channel);
    }
    let outbox = app.ledger.load::<Outbox>(organization, request.outbox_id).await?;
    Ok(outbox.state.channel().unwrap_or(request.channel))
}

/// The recipient with the number that the payload names. One that cannot be judged is not written to.
pub(super) fn with_number(recipient: Recipient, of_outbox: Channel, payload: &Value) -> Result<Recipient> {
    recipient.with_number(of_outbox, payload).map_err(|error| {
        let problem = Problem::new("payload.phoneNumber", "INVALID_PHONE", error.to_string());
        ServiceError::Refused(SendRefusal::Payload(vec![problem]))
    })
}

/// A rehearsal and a send never stand for each other.
fn dedup_key(
    keys: &OrganizationKeys,
    key: &str,
    request: &SendRequest,
    content: &MessageContent,
) -> DedupKey {
    let namespace = if request.channel == Channel::DryRun { "dry-run" } else { "send" };
    let text = |id: Option<String>| id.unwrap_or_default();
    let parts = [
        request.channel.name(),
        &request.outbox_id.to_string(),
        &content.to,
        &content.payload,
        &text(request.content_piece_id.map(|id| id.to_string())),
        &text(request.campaign_id.map(|id| id.to_string())),
    ];
    DedupKey {
        key: hex::encode(keys.hash("message dedup key", &[namespace, key])),
        fingerprint: hex::encode(keys.hash("message dedup fingerprint", &parts)),
    }
}

/// A request that was read.
struct Asked {
    message_id: MessageId,
    approval_id: ApprovalId,
    request: SendRequest,
    content: MessageContent,
    content_hash: String,
    dedup: Option<DedupKey>,
    /// The same as it was made when members that are null were kept, where there are any.
    dedup_before: Option<DedupKey>,
}

impl Asked {
    /// The message that the request stands for already, by the asker's id or by the deduplication key.
    async fn known(
        &self,
        app: &App,
        organization: OrganizationId,
        caller: PrincipalId,
    ) -> Result<Option<Activity>> {
        if self.request.message_id.is_some()
            && let Some(row) = activity::read(app, organization, self.message_id).await?
        {
            return Ok(Some(Activity::of(organization, row).found_again()));
        }
        let Some(dedup) = &self.dedup else { return Ok(None) };
        let keys = [ClaimKey::message_dedup(&dedup.key), ClaimKey::sent_after_all(&dedup.key)];
        let owners = app.ledger.owners(organization, &keys).await?;
        let Some(owner) = owners.into_iter().flatten().next().map(MessageId) else { return Ok(None) };
        let holder = app.ledger.load::<Message>(organization, owner).await?;
        // To whoever sees none but their own, the message of somebody else is another one, whatever it says.
        let own = !self.request.sees_own_only || holder.state.drafter() == Some(caller);
        let meant = |held: &DedupKey| {
            let mut known = [dedup].into_iter().chain(&self.dedup_before);
            known.any(|known| held.fingerprint == known.fingerprint)
        };
        if !own || !holder.state.dedup().is_some_and(meant) {
            return Err(ServiceError::Refused(SendRefusal::OtherRequest(own.then_some(owner))));
        }
        let row = activity::read(app, organization, owner).await?;
        Ok(row.map(|row| Activity::of(organization, row).found_again()))
    }

    async fn draft(&self, app: &App, call: &Call, addressee: &Addressee) -> Result<Done<Activity>> {
        let organization = call.organization;
        let request = &self.request;
        if let Some(campaign) = request.campaign_id
            && !app.ledger.load::<Campaign>(organization, campaign).await?.exists()
        {
            return Err(ServiceError::Refused(SendRefusal::UnknownCampaign));
        }
        let sender = Sender::load(app, organization, request.channel, request.outbox_id).await?;
        let sender = sender.with_piece(app, organization, request.content_piece_id).await?;
        let labels = sender.labels(request.channel, &request.payload);
        let ground = Ground::load(app, call, addressee).await?;
        let (ruling, grounds) =
            ground.of_draft(request.channel, Some(&labels), addressee, self.approval_id, call.at);

        let drafter = request.drafter.unwrap_or(call.origin.actor.principal);
        let draft = Draft {
            message_id: self.message_id,
            channel: request.channel,
            outbox_id: request.outbox_id,
            subject: addressee.subject(organization),
            recipient_hash: addressee.keys.address.clone(),
            content: self.content.clone(),
            content_hash: self.content_hash.clone(),
            labels,
            content_piece_id: request.content_piece_id,
            dedup: self.dedup.clone(),
            drafter,
            agent_id: request.agent_id,
            contact_id: addressee.contact_id(),
            campaign_id: request.campaign_id,
            sequence_id: request.sequence_id,
            step: request.step,
            co_authors: request.co_authors.clone(),
        };
        let mut message = Message::default();
        let mut events = decide(&mut message, MessageCommand::Draft(Box::new(draft)))?;
        let decided = MessageCommand::Decide { ruling, grounds, not_before: request.not_before };
        events.extend(decide(&mut message, decided)?);

        let entity = foreseen(call, self.message_id, vec![], &events)?;

        let events = events.into_iter().map(Into::into).collect();
        let mut writes = vec![Write { stream: Stream::of::<Message>(self.message_id), expected: 0, events }];
        if let Ruling::AskAPerson(approval_id) = ruling {
            let question = ApprovalCommand::Request {
                approval_id,
                message_id: self.message_id,
                content_hash: self.content_hash.clone(),
                drafter,
                rule: grounds.rule,
                supersedes: None,
                at: call.at,
            };
            writes.push(ask(approval_id, question)?);
        }
        writes.extend(request.beside.iter().cloned());
        let own = ground.guards().chain(sender.guards()).chain(addressee.guards());
        let guards = own.chain(request.guards.iter().copied()).collect();
        let mut command = call.command(writes, guards, call.request(&entity)?);
        command.absent = ground.absent(addressee);
        command.absent.extend(self.dedup.as_ref().map(|dedup| ClaimKey::sent_after_all(&dedup.key)));
        let appended = app.ledger.append(command).await?;
        Ok(Done { entity, appended: Some(appended) })
    }
}

/// Decides, and takes the events in.
pub(super) fn decide<A: Decides>(state: &mut A, command: A::Command) -> Result<Vec<A::Event>>
where
    A::Event: Clone,
    SendRefusal: From<A::Error>,
{
    let events = state.decide(command).map_err(|error| ServiceError::Refused(error.into()))?;
    events.iter().cloned().for_each(|event| state.apply(event));
    Ok(events)
}

/// The question of a new approval.
pub(super) fn ask(approval_id: ApprovalId, question: ApprovalCommand) -> Result<Write> {
    let events = decide(&mut Approval::default(), question)?;
    let events = events.into_iter().map(Into::into).collect();
    Ok(Write { stream: Stream::of::<Approval>(approval_id), expected: 0, events })
}

/// The answer that these events will make true.
pub(super) fn foreseen(
    call: &Call,
    message: MessageId,
    history: Vec<Recorded>,
    events: &[MessageEvent],
) -> Result<Activity> {
    let row = activity::foreseen(call, message, history, events)?;
    let row = row.ok_or(ServiceError::Refused(SendRefusal::Message(MessageError::Unknown)))?;
    Ok(Activity::of(call.organization, row))
}

/// Who sends, and what the board says of the words.
pub(super) struct Sender {
    outbox: Versioned<Outbox>,
    piece: Option<Versioned<ContentPiece>>,
}

impl Sender {
    /// The sender, if it is in use and sends on this channel; a dry run is rehearsed with any.
    pub async fn load(
        app: &App,
        organization: OrganizationId,
        asked: Channel,
        outbox_id: OutboxId,
    ) -> Result<Self> {
        let outbox = app.ledger.load::<Outbox>(organization, outbox_id).await?;
        let channel = outbox.state.channel().ok_or(ServiceError::Refused(SendRefusal::UnknownOutbox))?;
        if channel != asked && asked != Channel::DryRun {
            return Err(ServiceError::Refused(SendRefusal::OtherChannel { outbox: channel, asked }));
        }
        Ok(Self { outbox, piece: None })
    }

    /// The same with the piece that the words are from, which must be in use.
    pub async fn with_piece(
        self,
        app: &App,
        organization: OrganizationId,
        piece_id: Option<ContentPieceId>,
    ) -> Result<Self> {
        let sender = self.with_piece_of_before(app, organization, piece_id).await?;
        match &sender.piece {
            Some(piece) if !piece.exists() => Err(ServiceError::Refused(SendRefusal::UnknownContentPiece)),
            Some(_) if sender.piece_is_gone() => Err(ServiceError::Refused(SendRefusal::ContentPieceDeleted)),
            _ => Ok(sender),
        }
    }

    /// The same with the piece that a message names since it was drafted, in use or not.
    pub async fn with_piece_of_before(
        self,
        app: &App,
        organization: OrganizationId,
        piece_id: Option<ContentPieceId>,
    ) -> Result<Self> {
        let Some(piece_id) = piece_id else { return Ok(self) };
        let piece = app.ledger.load::<ContentPiece>(organization, piece_id).await?;
        Ok(Self { piece: Some(piece), ..self })
    }

    /// Whether the piece was taken out of use.
    pub fn piece_is_gone(&self) -> bool {
        self.piece.as_ref().is_some_and(|piece| !piece.state.is_live())
    }

    /// What rules look at.
    pub fn labels(&self, channel: Channel, payload: &Value) -> Labels {
        let piece = self.piece.as_ref().map(|piece| &*piece.state);
        let niche = self.outbox.state.settings().and_then(|settings| settings.niche.as_deref());
        content::labels(channel, payload, piece, niche)
    }

    /// That both are as they were.
    pub fn guards(&self) -> impl Iterator<Item = Guard> + '_ {
        [self.outbox.guard()].into_iter().chain(self.piece.as_ref().map(Versioned::guard))
    }
}

/// What a draft is judged by.
pub(super) struct Ground {
    allowlist: Versioned<Allowlist>,
    rules: Versioned<ApprovalRules>,
    suppressed: bool,
}

impl Ground {
    /// The lists and rules as they were last seen: the append judges whether they still are.
    pub async fn load(app: &App, call: &Call, addressee: &Addressee) -> std::result::Result<Self, ReadError> {
        let organization = call.organization;
        Ok(Self {
            allowlist: app.ledger.glance::<Allowlist>(organization, organization.allowlist()).await?,
            rules: app.ledger.glance::<ApprovalRules>(organization, organization.approval_rules()).await?,
            suppressed: addressee.suppressed(app, organization).await?,
        })
    }

    /// What becomes of a draft with these labels; none where the piece that it names was taken out of use.
    pub fn of_draft(
        &self,
        channel: Channel,
        labels: Option<&Labels>,
        addressee: &Addressee,
        approval_id: ApprovalId,
        at: Timestamp,
    ) -> (Ruling, Grounds) {
        let recipient = addressee.judged(self.suppressed);
        let allowlist = At { state: &*self.allowlist.state, version: self.allowlist.version };
        let rules = At { state: &*self.rules.state, version: self.rules.version };
        judgement::of_draft(channel, labels, recipient, allowlist, rules, approval_id, at)
    }

    /// That it is all as it was.
    pub fn guards(&self) -> impl Iterator<Item = Guard> + use<> {
        [self.allowlist.guard(), self.rules.guard()].into_iter()
    }

    /// What must not stand against it, unless that was decided on.
    pub fn absent(&self, addressee: &Addressee) -> Vec<ClaimKey> {
        if self.suppressed { vec![] } else { addressee.against() }
    }
}
