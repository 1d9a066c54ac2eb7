//! What providers tell by webhooks: whose it is, whether it is from them, what it is about.
//!
//! The address of a webhook names channel, company and outbox; the outbox's configuration names the secret that it is signed
//! with. The signature is checked over the raw body before anything of it is read. A message is found by our own
//! reference where the provider repeats it, else by the provider's id, else, for what a person writes, by the last
//! message that they had got when they wrote it. What a person wrote is known by the provider's id of it, so that it is
//! put down once, however often and late it is told. What is about nothing of ours is taken and forgotten, unless a message
//! of this outbox is being handed over: then the notice may be about that one, and the provider is asked to come again.

use docket_aggregates::Timestamp;
use docket_aggregates::channel::Channel;
use docket_aggregates::correspondence::Correspondence;
use docket_aggregates::credential::SecretRef;
use docket_aggregates::ids::{MessageId, OrganizationId, OutboxId};
use docket_aggregates::message::{self, Message};
use docket_aggregates::outbox::Outbox;
use docket_aggregates::suppression::SuppressionReason;
use docket_projections::messages;
use hyper::HeaderMap;
use serde_json::Value;

use super::{CLOCKS_APART_MILLIS, HearError, News, Standing, notice_hash, provider_hash, record};
use crate::app::App;
use crate::channels::listening::{self, is_stop};
use crate::channels::signature::SignatureError;
use crate::channels::{About, Delivery, Happening, Listening, Secret, WebhookError};
use crate::contacts::address_hash;
use crate::ledger::read::ReadError;
use crate::ledger::{AppendError, KeyError};
use crate::readside::Consistency;
use crate::secrets::SecretError;
use crate::sending::Recipient;
use crate::service::{Call, ServiceError};

/// How long after a hand-over its outcome may take to be recorded, in milliseconds.
const HANDING_OVER_MILLIS: i64 = 10 * 60 * 1_000;
/// Notices of one webhook that cannot be recorded, before the others are not tried any more: the ledger is away then.
const FAILURES_MAX: u32 = 3;
/// Characters of a reply that are kept with the message.
const REPLY_CHARACTERS_MAX: usize = 2_000;

/// Where a webhook came in.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    /// The channel in the address.
    pub channel: Channel,
    /// The company in the address.
    pub organization: OrganizationId,
    /// The outbox in the address.
    pub outbox: OutboxId,
}

/// What became of a webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Notices that something was recorded of.
    pub recorded: usize,
    /// Notices that said nothing new, or were about nothing of ours.
    pub passed_over: usize,
}

/// Why a webhook is not taken.
#[derive(Debug, thiserror::Error)]
pub enum WebhookRefusal {
    /// There is no such outbox, or not of this channel.
    #[error("outbox does not exist")]
    UnknownOutbox,
    /// The outbox does not say what its webhooks are signed with.
    #[error("the outbox has no {0}, or its secret was not stored")]
    NotListening(&'static str),
    /// It is not from the provider, or not what the provider documents.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// It may be about a message that is being handed over.
    #[error("a message is being handed over; come again")]
    TooEarly,
    /// It cannot be recorded for now.
    #[error("the webhook cannot be recorded for now")]
    Unavailable,
}

impl From<SignatureError> for WebhookRefusal {
    fn from(error: SignatureError) -> Self {
        Self::Webhook(error.into())
    }
}

impl From<ReadError> for WebhookRefusal {
    fn from(error: ReadError) -> Self {
        tracing::warn!(%error, "a webhook could not be recorded");
        Self::Unavailable
    }
}

impl From<KeyError> for WebhookRefusal {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::UnknownOrganization => Self::UnknownOutbox,
            _ => Self::Unavailable,
        }
    }
}

impl From<ServiceError<HearError>> for WebhookRefusal {
    fn from(error: ServiceError<HearError>) -> Self {
        match error {
            ServiceError::Refused(HearError::TooEarly) => Self::TooEarly,
            error => {
                tracing::warn!(%error, "a webhook could not be recorded");
                Self::Unavailable
            }
        }
    }
}

impl Door {
    async fn listening(&self, app: &App) -> Result<Listening, WebhookRefusal> {
        let outbox = app.ledger.load::<Outbox>(self.organization, self.outbox).await?;
        // One that was taken out of use is still told what becomes of what it sent.
        if outbox.state.last_channel() != Some(self.channel) {
            return Err(WebhookRefusal::UnknownOutbox);
        }
        let settings = outbox.state.settings().ok_or(WebhookRefusal::UnknownOutbox)?;
        let config: Value = serde_json::from_str(&settings.config).unwrap_or_default();
        Ok(Listening::of(&config))
    }

    async fn secret(
        &self,
        app: &App,
        wanted: Option<SecretRef>,
        name: &'static str,
    ) -> Result<Secret, WebhookRefusal> {
        let wanted = wanted.ok_or(WebhookRefusal::NotListening(name))?;
        app.secrets.resolve(self.organization, &wanted).await.map_err(|error| match error {
            SecretError::Unknown => WebhookRefusal::NotListening(name),
            _ => WebhookRefusal::Unavailable,
        })
    }
}

/// Answers a provider that asks whether the address is ours, if it knows the outbox's token.
pub async fn confirm(app: &App, door: Door, query: &str) -> Result<String, WebhookRefusal> {
    let listening = door.listening(app).await?;
    let token = door.secret(app, listening.verify_token, "webhookVerifyTokenRef").await?;
    Ok(listening::challenge(door.channel, query, &token)?)
}

/// Takes a webhook in: everything that it tells is recorded, or it is refused and comes again.
pub async fn take(app: &App, door: Door, headers: &HeaderMap, body: &[u8]) -> Result<Taken, WebhookRefusal> {
    let listening = door.listening(app).await?;
    let secret = door.secret(app, listening.secret, "webhookSecretRef").await?;
    let told = listening::read(door.channel, headers, &secret, body, app.clock.now())?;
    let mut taken = Taken::default();
    let mut refused = None;
    let mut failures = 0;
    for delivery in told {
        match one(app, door, delivery).await {
            Ok(true) => taken.recorded += 1,
            Ok(false) => taken.passed_over += 1,
            // The others are recorded; that they come again with this one adds nothing. What the ledger cannot take for now
            // says more than that something is too early.
            Err(WebhookRefusal::TooEarly) => {
                refused.get_or_insert(WebhookRefusal::TooEarly);
            }
            Err(refusal) => {
                refused = Some(refusal);
                failures += 1;
                if failures == FAILURES_MAX {
                    break;
                }
            }
        }
    }
    refused.map_or(Ok(taken), Err)
}

/// Records one notice; says whether there was anything new in it.
async fn one(app: &App, door: Door, delivery: Delivery) -> Result<bool, WebhookRefusal> {
    let call = Call::of_system(app, door.organization, "POST /webhooks/{channel}");
    let person = person(app, door, &delivery.about).await?;
    let by_person =
        matches!(delivery.happening, Happening::Replied { .. } | Happening::Connected | Happening::OptedOut);
    let keys = app.ledger.keys().organization(door.organization).await?;
    let replied = matches!(delivery.happening, Happening::Replied { .. });
    let notice = delivery.notice.as_deref().filter(|_| replied);
    let notice = notice.map(|notice| notice_hash(&keys, door.channel, notice));
    let repeated = was_told(app, door, person.as_ref(), notice.as_deref()).await?;
    let at = delivery.at.unwrap_or(call.at).min(call.at);
    let answered_by = person.as_ref().filter(|_| by_person && !repeated).map(|(hash, _)| (hash.as_str(), at));
    let found = find(app, door, &delivery.about, answered_by).await?;
    if found.is_none() && !by_person && may_be_on_its_way(app, door, call.at).await? {
        return Err(WebhookRefusal::TooEarly);
    }
    let mut news = news(door.channel, delivery, found, person, call.at);
    news.notice_hash = notice;
    if repeated {
        news.wrote = None;
    }
    metrics::counter!("docket_heard_total", "channel" => door.channel.name(), "matched" => if found.is_some() { "yes" } else { "no" })
        .increment(1);
    match record(app, &call, &news).await {
        Ok(appended) => Ok(appended.is_some()),
        Err(ServiceError::Append(AppendError::UnknownOrganization)) => Err(WebhookRefusal::UnknownOutbox),
        // Coming again would not help it.
        Err(ServiceError::Append(error @ (AppendError::Unstorable(_) | AppendError::TooLarge { .. }))) => {
            tracing::error!(%error, "a notice can never be recorded");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// The other person, by the hash that lists and messages know them by.
async fn person(
    app: &App,
    door: Door,
    about: &About,
) -> Result<Option<(String, Option<String>)>, WebhookRefusal> {
    let Some(text) = &about.person else { return Ok(None) };
    // WhatsApp writes numbers without their plus.
    let text = match door.channel {
        Channel::Whatsapp if !text.starts_with('+') => format!("+{text}"),
        _ => text.clone(),
    };
    let read = Recipient::read(door.channel, &text).map(|recipient| recipient.to);
    // Its ids of people are not always numbers that one could dial.
    let is_id = text.len() <= 16 && text.bytes().skip(1).all(|byte| byte.is_ascii_digit());
    let known = read.ok().or_else(|| Some(text).filter(|_| door.channel == Channel::Whatsapp && is_id));
    let Some(to) = known else { return Ok(None) };
    let keys = app.ledger.keys().organization(door.organization).await?;
    Ok(Some((address_hash(&keys, &to), Some(to))))
}

/// Whether what a person wrote was told before.
async fn was_told(
    app: &App,
    door: Door,
    person: Option<&(String, Option<String>)>,
    notice: Option<&str>,
) -> Result<bool, WebhookRefusal> {
    let (Some((hash, _)), Some(notice)) = (person, notice) else { return Ok(false) };
    let stream = door.organization.correspondence(hash);
    let words = app.ledger.load::<Correspondence>(door.organization, stream).await?;
    Ok(words.state.was_told(notice))
}

/// The message that a notice is about; for what a person wrote and quoted nothing, the one that they had got last.
async fn find(
    app: &App,
    door: Door,
    about: &About,
    answered_by: Option<(&str, Timestamp)>,
) -> Result<Option<MessageId>, WebhookRefusal> {
    if let Some(reference) = about.reference.filter(|reference| reference.organization == door.organization) {
        let id = MessageId(reference.message);
        let message = app.ledger.load::<Message>(door.organization, id).await?;
        if message.state.channel() == Some(door.channel) {
            return Ok(Some(id));
        }
    }
    if about.provider_message_id.is_none() && answered_by.is_none() {
        return Ok(None);
    }
    let unavailable = |error: &dyn std::error::Error| {
        tracing::warn!(%error, "a webhook's message could not be looked up");
        WebhookRefusal::Unavailable
    };
    let mut view = app
        .readside
        .view(door.organization, Consistency::STRONG)
        .await
        .map_err(|error| unavailable(&error))?;
    if let Some(provider_id) = &about.provider_message_id {
        let keys = app.ledger.keys().organization(door.organization).await?;
        let hash = provider_hash(&keys, door.channel, provider_id);
        let rows = messages::by_provider_hash(&mut view, door.organization, &hash)
            .await
            .map_err(|error| unavailable(&error))?;
        if let Some(row) = rows.into_iter().rfind(|row| row.channel == door.channel) {
            return Ok(Some(row.message_id));
        }
    }
    let Some((hash, at)) = answered_by else { return Ok(None) };
    let by_then = at.plus_millis(CLOCKS_APART_MILLIS);
    let last = messages::answered_at(&mut view, door.organization, door.channel, hash, by_then)
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(last.map(|row| row.message_id))
}

/// Whether a message of this outbox is being handed over, whose provider's id is therefore not known yet.
async fn may_be_on_its_way(app: &App, door: Door, at: Timestamp) -> Result<bool, WebhookRefusal> {
    let unavailable = |_| WebhookRefusal::Unavailable;
    let mut view = app
        .readside
        .view(door.organization, Consistency::STRONG)
        .await
        .map_err(|_| WebhookRefusal::Unavailable)?;
    let since = at.plus_millis(-HANDING_OVER_MILLIS);
    messages::any_in_flight(&mut view, door.organization, door.outbox, since).await.map_err(unavailable)
}

/// What a notice means for the message, the person and the list.
fn news(
    channel: Channel,
    delivery: Delivery,
    message: Option<MessageId>,
    person: Option<(String, Option<String>)>,
    now: Timestamp,
) -> News {
    use message::Delivery as D;
    let mut news = News {
        message,
        standing: Standing::Nothing,
        detail: None,
        at: delivery.at.unwrap_or(now),
        suppress: None,
        person,
        written_from: None,
        wrote: None,
        notice_hash: None,
    };
    (news.standing, news.detail) = match delivery.happening {
        Happening::Accepted | Happening::Booked { confirmed: false, .. } => {
            (Standing::Accepted, Some("the provider reports that it has it".to_owned()))
        }
        Happening::Delivered | Happening::Read | Happening::Connected => {
            (Standing::Became(D::Delivered), None)
        }
        Happening::Booked { .. } => {
            (Standing::Became(D::Delivered), Some("the appointment stands".to_owned()))
        }
        Happening::Bounced { permanent, code, reason } => {
            news.suppress = permanent.then_some(SuppressionReason::Bounce);
            (Standing::Became(D::Bounced), Some(format!("{}: {reason}", code.name())))
        }
        Happening::NotSent { permanent, code, reason } => {
            news.suppress = permanent.then_some(SuppressionReason::Bounce);
            (Standing::NotSent, Some(format!("{}: {reason}", code.name())))
        }
        Happening::Complained => {
            news.suppress = Some(SuppressionReason::Complaint);
            (Standing::Became(D::Complained), None)
        }
        Happening::OptedOut => {
            news.suppress = Some(SuppressionReason::Unsubscribe);
            (Standing::Became(D::Bounced), Some("the recipient wants no such messages".to_owned()))
        }
        Happening::Replied { text } => {
            news.wrote = Some(channel);
            news.suppress = text.as_deref().is_some_and(is_stop).then_some(SuppressionReason::Unsubscribe);
            (Standing::Became(D::Replied), text.map(|text| beginning(&text)))
        }
        Happening::Rescheduled { .. } => {
            (Standing::Became(D::Replied), Some("the appointment was moved".to_owned()))
        }
        Happening::Cancelled { declined: false, .. } => {
            (Standing::Became(D::Replied), Some("the appointment was called off".to_owned()))
        }
        Happening::Cancelled { declined: true, .. } => {
            (Standing::Became(D::Bounced), Some("the host declined the appointment".to_owned()))
        }
    };
    news
}

/// The beginning of what a person wrote.
pub(super) fn beginning(text: &str) -> String {
    text.trim().chars().take(REPLY_CHARACTERS_MAX).collect()
}
