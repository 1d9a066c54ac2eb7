//! What providers tell afterwards, in one closed form for all of them.
//!
//! Webhooks come more than once, late, and in any order: each [`Delivery`] names what it is about and the provider's
//! id of the notice, so that whoever records it can tell a repetition. What this product does not act on (opened,
//! clicked, typing) is left out when it is read.

use docket_aggregates::Timestamp;
use reqwest::header::HeaderMap;
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_json::Value;

use super::signature::SignatureError;
use super::{Code, Reference};

/// Bytes of a webhook's body that are looked at. Providers send far less.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Characters of a reply that are kept.
pub(super) const TEXT_CHARACTERS_MAX: usize = 16_000;

/// Something that happened to a message, or because of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// What it is about.
    pub about: About,
    /// When it happened, if the provider says.
    pub at: Option<Timestamp>,
    /// What happened.
    pub happening: Happening,
    /// The provider's id of this notice, or what comes nearest: equal for a repetition.
    pub notice: Option<String>,
}

/// What a notice is about. At least one of it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The message, if the provider repeated our reference.
    pub reference: Option<Reference>,
    /// The provider's id of the message that was sent, or that is answered.
    pub provider_message_id: Option<String>,
    /// The other person, as the channel addresses them.
    pub person: Option<String>,
    /// The sender's account or number, as the provider names it.
    pub account: Option<String>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The provider has it: what an unknown outcome is settled by.
    Accepted,
    /// It arrived.
    Delivered,
    /// It was looked at.
    Read,
    /// It did not arrive.
    Bounced {
        /// Whether writing there again is pointless.
        permanent: bool,
        /// Why, for machines.
        code: Code,
        /// Why, in one sentence. Holds no address.
        reason: String,
    },
    /// The provider could not or would not send it.
    NotSent {
        /// Whether writing there again is pointless.
        permanent: bool,
        /// Why, for machines.
        code: Code,
        /// Why, in one sentence. Holds no address.
        reason: String,
    },
    /// The recipient called it spam.
    Complained,
    /// The recipient does not want to be written to.
    OptedOut,
    /// The recipient wrote back.
    Replied {
        /// What, if it is text. Personal data.
        text: Option<String>,
    },
    /// The recipient accepted an invitation to connect.
    Connected,
    /// An appointment was made, or asked for.
    Booked {
        /// Its id.
        uid: String,
        /// When it starts.
        start: Option<Timestamp>,
        /// Whether the host has agreed.
        confirmed: bool,
    },
    /// An appointment was moved.
    Rescheduled {
        /// Its new id.
        uid: String,
        /// Its old id.
        previous_uid: Option<String>,
        /// When it starts now.
        start: Option<Timestamp>,
    },
    /// An appointment was called off, or declined by the host.
    Cancelled {
        /// Its id.
        uid: String,
        /// Whether the host declined it.
        declined: bool,
    },
}

impl Delivery {
    /// Without the characters that nothing can store: what is around them is read all the same.
    pub(super) fn storable(mut self) -> Self {
        for text in [
            &mut self.about.provider_message_id,
            &mut self.about.person,
            &mut self.about.account,
            &mut self.notice,
        ]
        .into_iter()
        .flatten()
        {
            strip_nul(text);
        }
        match &mut self.happening {
            Happening::Bounced { reason, .. } | Happening::NotSent { reason, .. } => strip_nul(reason),
            Happening::Replied { text: Some(text) } => strip_nul(text),
            _ => (),
        }
        self
    }
}

/// Takes U+0000 out, which the ledger does not store. Whoever sends it, as in UTF-16 without its label, means what is
/// around it.
pub(super) fn strip_nul(text: &mut String) {
    if text.contains('\0') {
        text.retain(|c| c != '\0');
    }
}

/// Why a webhook is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// It is not from who it says.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// It is signed, and nothing that this version understands.
    #[error("the webhook's body is not what the provider documents")]
    Malformed,
    /// It is longer than any webhook.
    #[error("the webhook's body is too large")]
    TooLarge,
}

/// One header as text, if it is there exactly once.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok()
}

/// A body of JSON, once its signature was checked.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, WebhookError> {
    serde_json::from_slice(body).map_err(|_| WebhookError::Malformed)
}

/// The items of a list that can be read. One that cannot is passed over, so that it takes no other with it: a list holds
/// what concerns many people.
pub(super) fn each<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    let Value::Array(items) = Value::deserialize(from)? else { return Ok(vec![]) };
    Ok(items.into_iter().filter_map(item).collect())
}

/// One item, if it can be read.
pub(super) fn item<T: DeserializeOwned>(from: Value) -> Option<T> {
    let read = serde_json::from_value(from);
    if read.is_err() {
        // The reason would repeat what stands there.
        tracing::warn!(
            item = std::any::type_name::<T>(),
            "an item of a webhook cannot be read and is passed over"
        );
        metrics::counter!("docket_webhook_items_unread_total").increment(1);
    }
    read.ok()
}

/// What is not needed, if it can be read: in another form it counts as missing.
pub(super) fn if_readable<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    Ok(serde_json::from_value(Value::deserialize(from)?).unwrap_or_default())
}

/// Refuses what is too long to be hashed.
pub(super) fn bounded(body: &[u8]) -> Result<(), WebhookError> {
    if body.len() > BODY_BYTES_MAX { Err(WebhookError::TooLarge) } else { Ok(()) }
}

/// The beginning of a reply.
pub(super) fn beginning(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(TEXT_CHARACTERS_MAX).collect()
}

/// An instant in seconds since 1970, as text or number.
pub(super) fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::String(text) => unix_seconds(&text),
        number => number.as_i64().and_then(|number| unix_seconds(&number.to_string())),
    })
}

/// Seconds since 1970, as text.
pub(super) fn unix_seconds(text: &str) -> Option<Timestamp> {
    text.parse::<i64>().ok().map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1_000)))
}
