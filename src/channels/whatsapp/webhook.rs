//! What WhatsApp tells: how a message fares, and what people write.

use reqwest::header::HeaderMap;
use serde::Deserialize;

use super::PROVIDER;
use super::errors::verdict;
use crate::channels::delivery::{About, beginning, bounded, json, unix_seconds};
use crate::channels::graph::Verdict;
use crate::channels::said::said;
use crate::channels::signature::check_hex;
use crate::channels::{Code, Delivery, Happening, Secret, WebhookError};

pub use crate::channels::signature::hub_challenge as challenge;

#[derive(Deserialize)]
struct Webhook {
    object: String,
    #[serde(default)]
    entry: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    changes: Vec<Change>,
}

#[derive(Deserialize)]
struct Change {
    #[serde(default)]
    field: String,
    value: serde_json::Value,
}

#[derive(Deserialize)]
struct Value {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    statuses: Vec<Status>,
    #[serde(default)]
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
    #[serde(default)]
    timestamp: String,
    #[serde(default)]
    recipient_id: Option<String>,
    #[serde(default)]
    biz_opaque_callback_data: Option<String>,
    #[serde(default)]
    errors: Vec<StatusError>,
}

#[derive(Deserialize)]
struct StatusError {
    code: i64,
    #[serde(default)]
    title: String,
}

#[derive(Deserialize)]
struct Written {
    from: String,
    id: String,
    #[serde(default)]
    timestamp: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    text: Option<Text>,
    #[serde(default)]
    button: Option<Button>,
    #[serde(default)]
    interactive: Option<Interactive>,
    #[serde(default)]
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

/// Checks the signature over the raw body and reads what happened.
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
        let value: Value = serde_json::from_value(change.value).map_err(|_| WebhookError::Malformed)?;
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
        at: unix_seconds(&status.timestamp),
        notice: Some(format!("{}/{}", status.id, status.status)),
        happening,
    })
}

fn failed(error: Option<&StatusError>) -> Happening {
    let Some(error) = error else {
        return Happening::Bounced {
            permanent: false,
            code: Code::Refused,
            reason: format!("{PROVIDER} did not deliver it, and does not say why"),
        };
    };
    let code = match verdict(error.code, None) {
        Some(Verdict::Rejected(Code::OptedOut)) => return Happening::OptedOut,
        Some(Verdict::Rejected(code) | Verdict::Retry(code, _)) => code,
        Some(Verdict::Unknown) => Code::Unavailable,
        None => Code::Refused,
    };
    Happening::Bounced {
        permanent: code == Code::Recipient,
        code,
        reason: format!("{PROVIDER} did not deliver it: {} {}", error.code, said(&error.title, &[])),
    }
}

fn written(message: Written, account: Option<String>) -> Option<Delivery> {
    if matches!(message.kind.as_str(), "system" | "unsupported" | "unknown" | "request_welcome") {
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
        at: unix_seconds(&message.timestamp),
        notice: Some(message.id),
        happening: Happening::Replied { text: text.as_deref().map(beginning) },
    })
}
