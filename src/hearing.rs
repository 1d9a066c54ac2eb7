//! What comes in after something was sent: delivery reports, bounces, complaints, replies, and people who want no more.
//!
//! Providers tell by webhooks, mail servers by LMTP, recipients by pressing a button. Whatever the way, a piece of news is
//! found its message and recorded in one append with everything that follows from it: the report on the message (which
//! also settles an outcome that was unknown, or was held to be a failure), the address on the suppression list, its
//! contacts, and the word that opens WhatsApp's and Instagram's window. News come more than once, late, and in any order;
//! all of it is decided by the aggregates, so that a repetition adds nothing.
//!
//! News of a message whose hand-over has no outcome yet are not taken in where they could be lost: whoever brings them is
//! asked to come again ([`HearError::TooEarly`]).

pub mod mail;
pub mod webhooks;

use std::collections::BTreeSet;

use docket_aggregates::approval::{Approval, ApprovalCommand};
use docket_aggregates::bucket::{Bucket, BucketCommand};
use docket_aggregates::channel::Channel;
use docket_aggregates::contact::Contact;
use docket_aggregates::correspondence::{Correspondence, CorrespondenceCommand, Heard as Word};
use docket_aggregates::ids::{ContactId, MessageId, OrganizationId};
use docket_aggregates::message::{
    Delivery, DispatchState, Message, MessageCommand, MessageEvent, MessageStatus, SettledBy,
};
use docket_aggregates::suppression::SuppressionReason;
use docket_aggregates::{Decides, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use crate::app::App;
use crate::channels::{LastHeard, Listening};
use crate::contacts::mailbox_hash;
use crate::ledger::keys::OrganizationKeys;
use crate::ledger::read::ReadError;
use crate::ledger::{AppendError, Appended, Orders, Write};
use crate::sending::activity;
use crate::sending::addressee::Addressee;
use crate::sending::recipient::{Recipient, counted_for, counted_in, known_as};
use crate::service::{Call, ServiceError};
use crate::suppressions::{Target, suppressing};

/// How often a decision that lost a race is made anew.
const TRIES: usize = 5;
/// How far the clock of a provider may be from ours, in milliseconds. Some tell only the second, and that as its beginning.
pub const CLOCKS_APART_MILLIS: i64 = 2_000;

/// Why a piece of news is not recorded.
#[derive(Debug, thiserror::Error)]
pub enum HearError {
    /// It is about a message that is with its channel: its outcome is recorded first.
    #[error("the message is still being handed over")]
    TooEarly,
    /// There is no such message.
    #[error("message does not exist")]
    UnknownMessage,
}

type Heard = Result<Option<Appended>, ServiceError<HearError>>;

/// The keyed hash of the id that a provider gave a message: what its news are matched by.
pub fn provider_hash(keys: &OrganizationKeys, channel: Channel, provider_message_id: &str) -> String {
    hex::encode(keys.hash("provider_message", &[channel.name(), provider_message_id]))
}

/// The keyed hash of the id that a provider gave to something that a person wrote: what a repetition is told by.
fn notice_hash(keys: &OrganizationKeys, channel: Channel, notice: &str) -> String {
    hex::encode(keys.hash("notice", &[channel.name(), notice]))
}

/// Whether it is known when somebody last wrote: the channel has a window, and the outbox's provider tells us. `config` is
/// the outbox's.
pub fn hears(channel: Channel, config: &Value) -> bool {
    has_window(channel) && Listening::of(config).secret.is_some()
}

/// When a recipient last wrote to the sender, for channels that let nobody write freely but for an answer. Decided on the
/// recipient's own stream, never on a read model; one that was not read is taken to be empty.
pub fn last_heard(channel: Channel, config: &Value, words: Option<&Correspondence>) -> LastHeard {
    if !hears(channel, config) {
        return LastHeard::NotTracked;
    }
    words.and_then(|words| words.heard(channel)).map_or(LastHeard::Never, LastHeard::At)
}

const fn has_window(channel: Channel) -> bool {
    matches!(channel, Channel::Whatsapp | Channel::Instagram)
}

/// What a piece of news says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The provider has it.
    Accepted,
    /// This became of it.
    Became(Delivery),
    /// The provider did not send it.
    NotSent,
    /// Nothing.
    Nothing,
}

/// A piece of news, with what it is about found.
#[derive(Clone, Debug)]
struct News {
    /// The message.
    message: Option<MessageId>,
    /// What is said of it.
    standing: Standing,
    /// In which words. Personal data.
    detail: Option<String>,
    /// When it happened.
    at: Timestamp,
    /// Why nothing more is to be sent to the address.
    suppress: Option<SuppressionReason>,
    /// Who it came from, by the keyed hash of the address and, while it is known, its text.
    person: Option<(String, Option<String>)>,
    /// The e-mail address that whoever answered a message wrote from, as their mail says.
    written_from: Option<Recipient>,
    /// By which channel the person wrote to us.
    wrote: Option<Channel>,
    /// Keyed hash of the provider's id of what they wrote.
    notice_hash: Option<String>,
}

/// Records a piece of news with everything that follows from it, in one append.
async fn record(app: &App, call: &Call, news: &News) -> Heard {
    let mut erased = false;
    let mut turn = None;
    for _ in 0..TRIES {
        let writes: Vec<Write> = writes(app, call, news, erased)
            .await?
            .into_iter()
            .filter(|write| !write.events.is_empty())
            .collect();
        // A bucket is what every hand-over of the day writes to, too.
        let bucket =
            writes.iter().find(|write| write.stream.aggregate_type == <Bucket as cqrs_es::Aggregate>::TYPE);
        let Some(contended) = bucket.or(writes.first()).map(|write| write.stream.id) else { return Ok(None) };
        match app.ledger.append(call.command(writes, vec![], None)).await {
            Ok(appended) => return Ok(Some(appended)),
            // Whoever lost once takes turns with the others, so that a crowd ends in an order and not in refusals.
            Err(AppendError::Conflict) => {
                if turn.is_none() {
                    turn = app.ledger.turn(contended).await;
                }
            }
            // The fact is recorded, without what it said of somebody who was erased.
            Err(AppendError::SubjectErased) if !erased => erased = true,
            Err(error) => return Err(error.into()),
        }
    }
    Err(AppendError::Conflict.into())
}

async fn writes(
    app: &App,
    call: &Call,
    news: &News,
    erased: bool,
) -> Result<Vec<Write>, ServiceError<HearError>> {
    let organization = call.organization;
    let mut writes = Vec::new();
    let mut person = news.person.clone();
    let (mut contact, mut writer, mut mailbox) = (None, None, None);
    // One and the same may be told that a message counts again, and that its recipient wrote.
    let mut said_there = Orders::<Correspondence>::default();
    if let Some(id) = news.message {
        let message = app.ledger.load::<Message>(organization, id).await?;
        let Some(hash) = message.state.recipient_hash() else {
            return Err(ServiceError::Refused(HearError::UnknownMessage));
        };
        // Whoever the message went to; what a bounce says of itself may be another address of theirs.
        person = Some((hash.to_owned(), None));
        contact = message.state.contact_id();
        if news.wrote.is_some() {
            writer = match contact {
                Some(_) => contact,
                None => owner(app, organization, id, &message.state).await,
            };
        }
        if let Some(id) = writer.filter(|_| news.wrote == Some(Channel::Email)) {
            let keys = app.ledger.keys().organization(organization).await?;
            let contact = app.ledger.load::<Contact>(organization, id).await?;
            mailbox = contact.state.profile().and_then(|profile| mailbox_hash(&keys, profile));
        }
        let detail = news.detail.clone().filter(|_| !erased);
        let said = said_of(&message.state, news, detail)?;
        let settled = said.iter().any(|event| matches!(event, MessageEvent::MessageSettled { .. }));
        if settled && news.standing == Standing::NotSent {
            writes.extend(given_back(app, organization, id, &message.state).await?);
        }
        // Whatever stood in between may have given them back; where it did not, this changes nothing.
        if settled && news.standing != Standing::NotSent {
            writes.extend(charged_again(app, organization, id, &message.state).await?);
            let at = message.state.last_sent_at().unwrap_or(call.at);
            for stream in counted_again_in(app, organization, id, &message.state).await? {
                let count = CorrespondenceCommand::Count { message_id: id, cap: None, at };
                said_there.order(&app.ledger, organization, stream, |_| count).await?;
            }
        }
        let asked = message.state.approval_id().filter(|_| settled && !message.state.approved());
        if let Some(asked) = asked {
            // It was to be asked for again, and arrived all the same: there is nothing to be answered any more.
            let approval = app.ledger.load::<Approval>(organization, asked).await?;
            let superseded = approval.state.decide(ApprovalCommand::Supersede { by: None });
            writes.push(approval.write(superseded.unwrap_or_default()));
        }
        // First, because it is what a race is lost on.
        writes.insert(0, message.write(said));
    }
    let Some((hash, text)) = person else { return Ok(writes) };
    if let Some(reason) = news.suppress {
        let text = match (erased, text, news.message) {
            (true, ..) => None,
            (false, Some(text), _) => Some(text),
            (false, None, Some(message)) => address_of(app, organization, message).await?,
            (false, None, None) => None,
        };
        let mut targets = vec![Target::known(organization, hash.clone(), text, contact)];
        if let Some(address) = &news.written_from {
            let keys = app.ledger.keys().organization(organization).await?;
            let own = address.keys(&keys).address;
            let text = Some(address.to.clone()).filter(|_| !erased);
            let writer = Target::known(organization, own, text, None);
            targets.extend(Some(writer).filter(|writer| writer.hash != hash));
        }
        writes.extend(suppressing(app, organization, targets, reason).await?);
    }
    if let Some(channel) = news.wrote {
        let mut heard_at = vec![(hash, writer)];
        if let Some(address) = &news.written_from {
            heard_at.extend(author(app, organization, address).await?);
        }
        // What was mailed with a tag is answered by the contact whose mailbox it is.
        heard_at.extend(mailbox.map(|mailbox| (mailbox, writer)));
        let mut known = BTreeSet::new();
        heard_at.retain(|(address_hash, _)| known.insert(address_hash.clone()));
        for (address_hash, contact_id) in heard_at {
            let stream = organization.correspondence(&address_hash);
            // The provider's clock opens no window beyond ours.
            let hear = CorrespondenceCommand::Hear(Word {
                channel,
                at: news.at.min(call.at),
                notice_hash: news.notice_hash.clone(),
                address_hash,
                contact_id,
            });
            said_there.order(&app.ledger, organization, stream, |_| hear).await?;
        }
    }
    writes.extend(said_there.writes());
    Ok(writes)
}

/// The contact that has the address of a message by now which was for none. Whoever leads it through a sequence is told
/// sooner; where it cannot be found out, the hand-over of the next step reads what was written all the same.
async fn owner(
    app: &App,
    organization: OrganizationId,
    id: MessageId,
    message: &Message,
) -> Option<ContactId> {
    let address = address_of(app, organization, id).await.ok()??;
    let channel = message.channel()?;
    let recipient = Recipient::of_content(channel, channel, &address, "")?;
    let keys = app.ledger.keys().organization(organization).await.ok()?;
    let addressee = Addressee::find(app, organization, &keys, recipient, None).await;
    addressee
        .inspect_err(|error| tracing::debug!(%error, "whose answer it is was not looked up"))
        .ok()?
        .contact_id()
}

/// The keyed hash of the address that an answer was written from, and its contact. An address that is no contact's is led
/// through nothing, and who answers from where is not for anybody to fill the ledger with.
async fn author(
    app: &App,
    organization: OrganizationId,
    address: &Recipient,
) -> Result<Option<(String, Option<ContactId>)>, ServiceError<HearError>> {
    let keys = app.ledger.keys().organization(organization).await?;
    let own = address.keys(&keys).address;
    let found = Addressee::find(app, organization, &keys, address.clone(), None).await;
    Ok(match found.map(|addressee| addressee.contact_id()) {
        Ok(None) => None,
        Ok(contact) => Some((own, contact)),
        Err(error) => {
            tracing::debug!(%error, "whose answer it is was not looked up");
            Some((own, None))
        }
    })
}

/// What the news make of the message itself.
fn said_of(
    message: &Message,
    news: &News,
    detail: Option<String>,
) -> Result<Vec<MessageEvent>, ServiceError<HearError>> {
    let decided = match (news.standing, message.dispatch_state()) {
        (Standing::Nothing, _) => Ok(vec![]),
        (Standing::Accepted, DispatchState::InFlight) => {
            return Err(ServiceError::Refused(HearError::TooEarly));
        }
        (Standing::Accepted, DispatchState::Unknown) => {
            message.decide(MessageCommand::Settle { sent: true, by: SettledBy::Webhook, evidence: detail })
        }
        (Standing::Accepted, _) => Ok(vec![]),
        (Standing::NotSent, DispatchState::InFlight) => {
            return Err(ServiceError::Refused(HearError::TooEarly));
        }
        (Standing::NotSent, DispatchState::Unknown) => {
            message.decide(MessageCommand::Settle { sent: false, by: SettledBy::Webhook, evidence: detail })
        }
        // It had taken it first, and then did not send it: what came of it is nothing.
        (Standing::NotSent, DispatchState::Done) if message.status() == MessageStatus::Sent => {
            message.decide(MessageCommand::Report { delivery: Delivery::Bounced, at: news.at, detail })
        }
        (Standing::NotSent, _) => Ok(vec![]),
        (Standing::Became(delivery), _) => {
            message.decide(MessageCommand::Report { delivery, at: news.at, detail })
        }
    };
    // Of what was never handed over there can be no news that mean anything.
    Ok(decided.unwrap_or_default())
}

/// What a message that was not sent gives back: its charge, and its place in the recipient's count.
async fn given_back(
    app: &App,
    organization: OrganizationId,
    id: MessageId,
    message: &Message,
) -> Result<Vec<Write>, ReadError> {
    let mut writes = Vec::new();
    if let Some(bucket) = message.bucket_id() {
        let bucket = app.ledger.load::<Bucket>(organization, bucket).await?;
        let refund = BucketCommand::Refund { message_ids: vec![id], because: "not_sent" };
        writes.push(bucket.write(bucket.state.decide(refund).unwrap_or_default()));
    }
    let keys = app.ledger.keys().organization(organization).await?;
    let counted = counted_for(organization, &keys, message);
    for counted in app.ledger.load_many::<Correspondence>(organization, &counted).await? {
        let uncount = CorrespondenceCommand::Uncount { message_id: id };
        writes.push(counted.write(counted.state.decide(uncount).unwrap_or_default()));
    }
    Ok(writes)
}

/// The charge that a message takes again which had been said not to be sent.
async fn charged_again(
    app: &App,
    organization: OrganizationId,
    id: MessageId,
    message: &Message,
) -> Result<Option<Write>, ReadError> {
    let Some(bucket) = message.bucket_id() else { return Ok(None) };
    let bucket = app.ledger.load::<Bucket>(organization, bucket).await?;
    let recount = BucketCommand::Recount { message_id: id };
    Ok(Some(bucket.write(bucket.state.decide(recount).unwrap_or_default())))
}

/// The streams that count it again. Its state has forgotten the address, as that of what is over, and with it the tag.
async fn counted_again_in(
    app: &App,
    organization: OrganizationId,
    id: MessageId,
    message: &Message,
) -> Result<Vec<Uuid>, ReadError> {
    let keys = app.ledger.keys().organization(organization).await?;
    let address = address_of(app, organization, id).await?;
    let read = message
        .channel()
        .zip(address)
        .and_then(|(channel, text)| Recipient::of_content(channel, channel, &text, ""));
    let known = read.map_or_else(|| known_as(&keys, message), |recipient| recipient.keys(&keys));
    Ok(counted_in(organization, &known, message.contact_id()))
}

/// The address that a message went to, while it is known. From the message's own stream: read models may not have come to
/// it yet, and an address that is not known is one that was erased.
async fn address_of(
    app: &App,
    organization: OrganizationId,
    message: MessageId,
) -> Result<Option<String>, ReadError> {
    Ok(activity::read(app, organization, message).await?.and_then(|row| row.recipient))
}

/// Records that the recipient of a message wants no more. Once this was answered, nothing is handed over to the address, whatever
/// waits; pressed twice, it is recorded once.
pub async fn unsubscribe(app: &App, organization: OrganizationId, message: MessageId) -> Heard {
    let call = Call::of_system(app, organization, "POST /u/{token}");
    let news = News {
        message: Some(message),
        standing: Standing::Nothing,
        detail: None,
        at: call.at,
        suppress: Some(SuppressionReason::Unsubscribe),
        person: None,
        written_from: None,
        wrote: None,
        notice_hash: None,
    };
    record(app, &call, &news).await
}
