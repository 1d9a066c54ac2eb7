//! What Unipile tells of a LinkedIn account: new messages, seen messages, new connections.
//!
//! Version 1 signs nothing. It sends along a header that was given when the webhook was set up: `Unipile-Auth`.

use docket_aggregates::Timestamp;
use reqwest::header::HeaderMap;
use serde::Deserialize;

use crate::channels::delivery::{About, beginning, bounded, if_readable, json};
use crate::channels::signature::check_shared;
use crate::channels::{Delivery, Happening, Secret, WebhookError};

/// The header with the shared secret.
const HEADER: &str = "unipile-auth";

#[derive(Deserialize)]
struct Webhook {
    #[serde(default)]
    event: String,
    #[serde(default)]
    account_id: Option<String>,
    #[serde(default, deserialize_with = "if_readable")]
    account_info: Option<AccountInfo>,
    #[serde(default, deserialize_with = "if_readable")]
    timestamp: Option<Timestamp>,
    #[serde(default)]
    message_id: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    is_sender: Option<bool>,
    #[serde(default)]
    sender: Option<Attendee>,
    #[serde(default)]
    user_provider_id: Option<String>,
}

#[derive(Deserialize)]
struct AccountInfo {
    #[serde(default)]
    user_id: Option<String>,
}

#[derive(Deserialize)]
struct Attendee {
    #[serde(default)]
    attendee_provider_id: Option<String>,
}

/// Checks the shared secret and reads what happened.
pub fn read(headers: &HeaderMap, secret: &Secret, body: &[u8]) -> Result<Vec<Delivery>, WebhookError> {
    bounded(body)?;
    check_shared(headers, HEADER, secret)?;
    let webhook: Webhook = json(body)?;
    let writer = webhook.sender.and_then(|sender| sender.attendee_provider_id);
    let own_id = webhook.account_info.and_then(|info| info.user_id);
    // What the account's owner writes is told as well.
    let own = webhook.is_sender.unwrap_or_else(|| own_id.is_some() && own_id == writer);
    let happening = match webhook.event.as_str() {
        "message_received" if own => Happening::Accepted,
        "message_received" => Happening::Replied { text: webhook.message.as_deref().map(beginning) },
        "message_delivered" => Happening::Delivered,
        "message_read" => Happening::Read,
        "new_relation" => Happening::Connected,
        // Reactions, edits, the state of the account.
        _ => return Ok(vec![]),
    };
    let replied = matches!(happening, Happening::Replied { .. });
    let notice = webhook.message_id.as_ref().or(webhook.user_provider_id.as_ref());
    Ok(vec![Delivery {
        notice: notice.map(|id| format!("{id}/{}", webhook.event)),
        about: About {
            reference: None,
            // A reply's own id names nothing that we sent.
            provider_message_id: webhook.message_id.filter(|_| !replied),
            person: webhook.user_provider_id.or(writer.filter(|_| !own)),
            account: webhook.account_id,
        },
        at: webhook.timestamp,
        happening,
    }])
}
