//! What WhatsApp tells: how a message fares, and what people write.

use docket_aggregates::Timestamp;
use reqwest::header::HeaderMap;
use serde::Deserialize;

use super::PROVIDER;
use super::errors::verdict;
use crate::channels::delivery::{About, beginning, bounded, each, if_readable, item, json, seconds};
use crate::channels::graph::Verdict;
use crate::channels::said::said;
use crate::channels::signature::check_hex;
use crate::channels::{Code, Delivery, Happening, Secret, WebhookError};

pub use crate::channels::signature::hub_challenge as challenge;

#[derive(Deserialize)]
struct Webhook {
    object: String,
    #[serde(default, deserialize_with = "each")]
    entry: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
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
struct Value {
    #[serde(default, deserialize_with = "if_readable")]
    metadata: Metadata,
    #[serde(default, deserialize_with = "each")]
    statuses: Vec<Status>,
    #[serde(default, deserialize_with = "each")]
    messages: Vec<Written>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    phone_number_id: Option<String>,
}

#[derive(Deserialize)]
struct Status {
    id: String,
    status: String,
    #[serde(default, deserialize_with = "seconds")]
    timestamp: Option<Timestamp>,
    #[serde(default, deserialize_with = "if_readable")]
    recipient_id: Option<String>,
    #[serde(default, deserialize_with = "if_readable")]
    biz_opaque_callback_data: Option<String>,
    #[serde(default, deserialize_with = "each")]
    errors: Vec<StatusError>,
}

/// Meta's description requires nothing of it.
#[derive(Deserialize)]
struct StatusError {
    #[serde(default, deserialize_with = "if_readable")]
    code: Option<i64>,
    #[serde(default, deserialize_with = "if_readable")]
    title: String,
}

#[derive(Deserialize)]
struct Written {
    from: String,
    id: String,
    #[serde(default, deserialize_with = "seconds")]
    timestamp: Option<Timestamp>,
    #[serde(rename = "type", default, deserialize_with = "if_readable")]
    kind: String,
    #[serde(default, deserialize_with = "if_readable")]
    text: Option<Text>,
    #[serde(default, deserialize_with = "if_readable")]
    button: Option<Button>,
    #[serde(default, deserialize_with = "if_readable")]
    interactive: Option<Interactive>,
    #[serde(default, deserialize_with = "if_readable")]
    context: Option<Context>,
}

#[derive(Deserialize)]
struct Text {
    body: String,
}

#[derive(Deserialize)]
struct Button {
    text: String,
}

#[derive(Deserialize)]
struct Interactive {
    #[serde(default)]
    button_reply: Option<Title>,
    #[serde(default)]
    list_reply: Option<Title>,
}

#[derive(Deserialize)]
struct Title {
    title: String,
}

#[derive(Deserialize)]
struct Context {
    #[serde(default)]
    id: Option<String>,
}

/// Checks the signature over the raw body and reads what happened. One webhook is about many messages: what cannot be read
/// of it is passed over.
pub fn read(headers: &HeaderMap, app_secret: &Secret, body: &[u8]) -> Result<Vec<Delivery>, WebhookError> {
    bounded(body)?;
    check_hex(headers, "x-hub-signature-256", "sha256=", app_secret, body)?;
    let webhook: Webhook = json(body)?;
    if webhook.object != "whatsapp_business_account" {
        return Err(WebhookError::Malformed);
    }
    let mut told = Vec::new();
    for change in webhook.entry.into_iter().flat_map(|entry| entry.changes) {
        // Other fields are about the account and its templates.
        if change.field != "messages" {
            continue;
        }
        let Some(value) = item::<Value>(change.value) else { continue };
        let account = value.metadata.phone_number_id;
        told.extend(value.statuses.into_iter().filter_map(|status| fared(status, account.clone())));
        told.extend(value.messages.into_iter().filter_map(|message| written(message, account.clone())));
    }
    Ok(told)
}

fn fared(status: Status, account: Option<String>) -> Option<Delivery> {
    let happening = match status.status.as_str() {
        "sent" => Happening::Accepted,
        "delivered" => Happening::Delivered,
        "read" | "played" => Happening::Read,
        "failed" => failed(status.errors.first()),
        _ => return None,
    };
    Some(Delivery {
        about: About {
            reference: status.biz_opaque_callback_data.and_then(|text| text.parse().ok()),
            provider_message_id: Some(status.id.clone()),
            person: status.recipient_id,
            account,
        },
        at: status.timestamp,
        notice: Some(format!("{}/{}", status.id, status.status)),
        happening,
    })
}

fn failed(error: Option<&StatusError>) -> Happening {
    let Some(error) = error.filter(|error| error.code.is_some() || !error.title.is_empty()) else {
        return Happening::Bounced {
            permanent: false,
            code: Code::Refused,
            reason: format!("{PROVIDER} did not deliver it, and does not say why"),
        };
    };
    let code = match error.code.and_then(|code| verdict(code, None)) {
        Some(Verdict::Rejected(Code::OptedOut)) => return Happening::OptedOut,
        Some(Verdict::Rejected(code) | Verdict::Retry(code, _)) => code,
        Some(Verdict::Unknown) => Code::Unavailable,
        None => Code::Refused,
    };
    let number = error.code.map(|code| format!("{code} ")).unwrap_or_default();
    Happening::Bounced {
        permanent: code == Code::Recipient,
        code,
        reason: format!("{PROVIDER} did not deliver it: {number}{}", said(&error.title, &[])),
    }
}

fn written(message: Written, account: Option<String>) -> Option<Delivery> {
    // Nobody wrote those. What Meta does not pass on (`unsupported`, `unknown`: a poll, a picture to be seen once) is a
    // person's word all the same, without its text.
    if matches!(message.kind.as_str(), "system" | "request_welcome") {
        return None;
    }
    let interactive = message.interactive.and_then(|reply| reply.button_reply.or(reply.list_reply));
    let text = message
        .text
        .map(|text| text.body)
        .or_else(|| message.button.map(|button| button.text))
        .or_else(|| interactive.map(|reply| reply.title));
    Some(Delivery {
        about: About {
            reference: None,
            provider_message_id: message.context.and_then(|context| context.id),
            person: Some(message.from),
            account,
        },
        at: message.timestamp,
        notice: Some(message.id),
        happening: Happening::Replied { text: text.as_deref().map(beginning) },
    })
}
