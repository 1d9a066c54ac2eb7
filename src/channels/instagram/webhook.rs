//! What Instagram tells: what people write, and that our own messages went out.

use docket_aggregates::Timestamp;
use reqwest::header::HeaderMap;
use serde::Deserialize;

use crate::channels::delivery::{About, beginning, bounded, each, if_readable, item, json};
use crate::channels::signature::check_hex;
use crate::channels::{Delivery, Happening, Secret, WebhookError};

pub use crate::channels::signature::hub_challenge as challenge;

#[derive(Deserialize)]
struct Webhook {
    object: String,
    #[serde(default, deserialize_with = "each")]
    entry: Vec<Entry>,
}

/// Messages come in `messaging`, or one by one as changes of the field `messages`.
#[derive(Deserialize)]
struct Entry {
    #[serde(default, deserialize_with = "each")]
    messaging: Vec<Messaging>,
    #[serde(default, deserialize_with = "each")]
    changes: Vec<Change>,
}

#[derive(Deserialize)]
struct Change {
    #[serde(default, deserialize_with = "if_readable")]
    field: String,
    #[serde(default)]
    value: serde_json::Value,
}

#[derive(Deserialize)]
struct Messaging {
    sender: Party,
    #[serde(default, deserialize_with = "if_readable")]
    recipient: Option<Party>,
    #[serde(default)]
    timestamp: serde_json::Value,
    #[serde(default)]
    message: Option<Written>,
    #[serde(default, deserialize_with = "if_readable")]
    read: Option<Seen>,
}

#[derive(Deserialize)]
struct Party {
    id: String,
}

#[derive(Deserialize)]
struct Written {
    mid: String,
    #[serde(default, deserialize_with = "if_readable")]
    text: Option<String>,
    #[serde(default, deserialize_with = "if_readable")]
    is_echo: bool,
    #[serde(default, deserialize_with = "if_readable")]
    is_deleted: bool,
    #[serde(default, deserialize_with = "if_readable")]
    reply_to: Option<Seen>,
}

#[derive(Deserialize)]
struct Seen {
    #[serde(default)]
    mid: Option<String>,
}

/// Checks the signature over the raw body and reads what happened. One webhook is about many messages: what cannot be read
/// of it is passed over.
pub fn read(headers: &HeaderMap, app_secret: &Secret, body: &[u8]) -> Result<Vec<Delivery>, WebhookError> {
    bounded(body)?;
    check_hex(headers, "x-hub-signature-256", "sha256=", app_secret, body)?;
    let webhook: Webhook = json(body)?;
    if webhook.object != "instagram" {
        return Err(WebhookError::Malformed);
    }
    let mut told = Vec::new();
    for entry in webhook.entry {
        let changed = entry.changes.into_iter().filter(|change| change.field == "messages");
        let changed = changed.filter_map(|change| item::<Messaging>(change.value));
        told.extend(entry.messaging.into_iter().chain(changed).filter_map(happened));
    }
    Ok(told)
}

fn happened(messaging: Messaging) -> Option<Delivery> {
    let at = instant(&messaging.timestamp);
    let (us, them) = (messaging.recipient.map(|party| party.id), messaging.sender.id);
    if let Some(read) = messaging.read {
        let mid = read.mid?;
        let notice = Some(format!("{mid}/read"));
        let about =
            About { reference: None, provider_message_id: Some(mid), person: Some(them), account: us };
        return Some(Delivery { about, at, happening: Happening::Read, notice });
    }
    let message = messaging.message.filter(|message| !message.is_deleted)?;
    if message.is_echo {
        // What we sent comes back, with sender and recipient as they were.
        let notice = Some(format!("{}/sent", message.mid));
        let about = About {
            reference: None,
            provider_message_id: Some(message.mid),
            person: us,
            account: Some(them),
        };
        return Some(Delivery { about, at, happening: Happening::Accepted, notice });
    }
    Some(Delivery {
        about: About {
            reference: None,
            provider_message_id: message.reply_to.and_then(|replied| replied.mid),
            person: Some(them),
            account: us,
        },
        at,
        happening: Happening::Replied { text: message.text.as_deref().map(beginning) },
        notice: Some(message.mid),
    })
}

/// Milliseconds in `messaging`, seconds as text in `changes`.
fn instant(value: &serde_json::Value) -> Option<Timestamp> {
    let number = value.as_i64().or_else(|| value.as_str()?.parse().ok())?;
    // Whatever is less lies before 2001 in milliseconds, and after 2001 in seconds.
    let millis = if number < 1_000_000_000_000 { number.saturating_mul(1_000) } else { number };
    Some(Timestamp::from_millis(millis))
}
