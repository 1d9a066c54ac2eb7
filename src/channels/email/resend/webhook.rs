//! What Resend tells: how a mail fares. Signed as Standard Webhooks, under Svix's names.

use docket_aggregates::Timestamp;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use super::{PROVIDER, TAG};
use crate::channels::delivery::{About, bounded, json};
use crate::channels::said::said;
use crate::channels::signature::check_standard;
use crate::channels::{Code, Delivery, Happening, Reference, Secret, WebhookError};

#[derive(Deserialize)]
struct Webhook {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    data: Data,
}

#[derive(Default, Deserialize)]
struct Data {
    #[serde(default)]
    email_id: Option<String>,
    #[serde(default)]
    to: Value,
    #[serde(default)]
    tags: Value,
    #[serde(default)]
    bounce: Option<Bounce>,
}

#[derive(Deserialize)]
struct Bounce {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(rename = "subType", default)]
    sub_kind: String,
    #[serde(default)]
    message: String,
}

/// Checks the signature and reads what happened.
pub fn read(
    headers: &HeaderMap,
    secret: &Secret,
    body: &[u8],
    now: Timestamp,
) -> Result<Vec<Delivery>, WebhookError> {
    bounded(body)?;
    let notice = check_standard(headers, secret, body, now)?;
    let Webhook { kind, created_at, data } = json(body)?;
    let happening = match kind.as_str() {
        "email.sent" => Happening::Accepted,
        "email.delivered" => Happening::Delivered,
        "email.complained" => Happening::Complained,
        "email.bounced" => bounced(data.bounce.as_ref()),
        "email.failed" => Happening::NotSent {
            permanent: false,
            code: Code::Refused,
            reason: format!("{PROVIDER} could not send it"),
        },
        "email.suppressed" => Happening::NotSent {
            permanent: true,
            code: Code::Recipient,
            reason: format!("{PROVIDER} does not write to this recipient any more"),
        },
        // Opened, clicked, delayed, and what concerns domains and contacts.
        _ => return Ok(vec![]),
    };
    let person = data.to.as_str().or_else(|| data.to.get(0)?.as_str()).map(str::to_owned);
    Ok(vec![Delivery {
        about: About {
            reference: reference(&data.tags),
            provider_message_id: data.email_id,
            person,
            account: None,
        },
        at: created_at.and_then(|at| at.parse().ok()),
        happening,
        notice: Some(notice),
    }])
}

/// Tags come as an object by name, or as they were sent.
fn reference(tags: &Value) -> Option<Reference> {
    let listed = || tags.as_array()?.iter().find(|tag| tag["name"] == TAG)?.get("value");
    tags.get(TAG).or_else(listed)?.as_str()?.parse().ok()
}

fn bounced(bounce: Option<&Bounce>) -> Happening {
    let permanent = bounce.is_none_or(|bounce| bounce.kind.eq_ignore_ascii_case("permanent"));
    let words = bounce.map(|bounce| format!("{} {}: {}", bounce.kind, bounce.sub_kind, bounce.message));
    Happening::Bounced {
        permanent,
        code: if permanent { Code::Recipient } else { Code::Unavailable },
        reason: format!("{PROVIDER} reports a bounce: {}", said(&words.unwrap_or_default(), &[])),
    }
}
