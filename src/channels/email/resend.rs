//! E-mail through Resend's HTTP API.
//!
//! Resend takes an idempotency key, which is the message's reference and holds for 24 hours: within them, asking
//! again after an unknown outcome gives the first answer and sends nothing. What its own failures did is unknown all the
//! same: asking again is harmless with the same secret alone, and only while the key is remembered.
//! Resend gives the mail a `Message-ID` of its own; ours stands in `References`, which replies repeat.

pub mod webhook;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Letter, mail};
use crate::channels::http::{Answer, Http};
use crate::channels::said::said;
use crate::channels::{Code, Outcome, Outgoing, Secret};

/// What the provider is called in reasons.
const PROVIDER: &str = "Resend";
/// The name of the tag that holds the reference, and comes back in webhooks.
pub(super) const TAG: &str = "docket_reference";

#[derive(Deserialize)]
struct Sent {
    id: String,
}

/// The body of a refusal.
#[derive(Deserialize)]
struct Refusal {
    name: String,
    #[serde(default)]
    message: String,
}

/// Hands one mail over.
pub async fn deliver(
    http: &Http,
    base: &reqwest::Url,
    outgoing: &Outgoing,
    letter: &Letter,
    key: &Secret,
) -> Outcome {
    let body = match body(outgoing, letter) {
        Ok(body) => body,
        Err(outcome) => return outcome,
    };
    let request = http
        .post(base, &["emails"])
        .bearer_auth(key.expose())
        .header("Idempotency-Key", outgoing.reference.to_string())
        .json(&body);
    let answer = match http.call(request, outgoing.within).await.answer(PROVIDER) {
        Ok(answer) => answer,
        Err(outcome) => return outcome,
    };
    if answer.is_success() {
        return match answer.json::<Sent>() {
            Some(sent) if !sent.id.is_empty() => Outcome::accepted(sent.id),
            _ => answer.by_status(PROVIDER),
        };
    }
    let local = outgoing.to.address.split('@').next().unwrap_or_default();
    refused(&answer, &[&outgoing.to.address, local, key.expose()])
}

fn body(outgoing: &Outgoing, letter: &Letter) -> Result<Value, Outcome> {
    let settings = &letter.settings;
    if crate::normalise::normalise_email(&outgoing.to.address, false).is_err() {
        return Err(Outcome::rejected(
            Code::Recipient,
            "the recipient's e-mail address cannot be written to",
        ));
    }
    let named = |address: &str, name: Option<&String>| match mail::display_name(name.map(String::as_str)) {
        // A name in quotes, with what would end them taken out.
        Some(name) => format!("\"{}\" <{address}>", name.replace(['"', '\\'], "")),
        None => address.to_owned(),
    };
    let mut headers = Map::new();
    for (name, value) in &letter.payload.headers {
        headers.insert(name.clone(), json!(value));
    }
    let ours = outgoing.reference.message_id(settings.domain());
    let given = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("references"));
    let (name, references) = match given {
        Some((name, given)) => (name.clone(), format!("{} {ours}", given.as_str().unwrap_or_default())),
        None => ("References".to_owned(), ours),
    };
    headers.insert(name, json!(references));
    if let Some(url) = &letter.unsubscribe {
        for (name, value) in mail::unsubscribe_headers(url)? {
            headers.insert(name.to_owned(), json!(value));
        }
    }
    let mut body = json!({
        "from": named(&settings.from_address, settings.from_name.as_ref()),
        "to": [named(&outgoing.to.address, outgoing.to.name.as_ref())],
        "subject": letter.payload.subject,
        "headers": headers,
        "tags": [{ "name": TAG, "value": outgoing.reference.to_string() }],
    });
    let reply_to = letter.payload.reply_to.as_ref().or(settings.reply_to.as_ref());
    for (name, value) in [
        ("text", letter.payload.text.as_ref()),
        ("html", letter.payload.html.as_ref()),
        ("reply_to", reply_to),
    ] {
        if let Some(value) = value {
            body[name] = json!(value);
        }
    }
    Ok(body)
}

fn refused(answer: &Answer, never: &[&str]) -> Outcome {
    let status = answer.status;
    let Some(Refusal { name, message }) = answer.json() else {
        return answer.by_status(PROVIDER);
    };
    let reason = format!("{PROVIDER} answered {status} {}: {}", said(&name, never), said(&message, never));
    match name.as_str() {
        "missing_api_key" | "invalid_api_key" | "restricted_api_key" | "suspended_api_key" => {
            Outcome::rejected(Code::Credential, reason)
        }
        "rate_limit_exceeded" | "daily_quota_exceeded" | "monthly_quota_exceeded" => {
            Outcome::retry_after(Code::RateLimited, reason, answer.after)
        }
        // The same message is being handed over at this moment, or the first try got through with other words. What became
        // of it is for the first answer, or for the webhook, to tell.
        "concurrent_idempotent_requests" | "invalid_idempotent_request" => Outcome::unknown(reason),
        "invalid_from_address" | "invalid_access" | "invalid_region" | "not_found" | "method_not_allowed" => {
            Outcome::rejected(Code::Configuration, reason)
        }
        "invalid_to_address" => Outcome::rejected(Code::Recipient, reason),
        // The domain is not verified, or the account is still a trial.
        "validation_error" if status == 403 => Outcome::rejected(Code::Configuration, reason),
        "validation_error"
        | "missing_required_field"
        | "invalid_parameter"
        | "invalid_attachment"
        | "invalid_idempotency_key" => Outcome::rejected(Code::Content, reason),
        "security_error" => Outcome::rejected(Code::Account, reason),
        // Something broke, perhaps after the mail was taken.
        "application_error" | "internal_server_error" => Outcome::unknown(reason),
        _ => match answer.by_status(PROVIDER) {
            Outcome::Rejected { code, .. } => Outcome::rejected(code, reason),
            Outcome::Retry { code, after, .. } => Outcome::retry_after(code, reason, after),
            Outcome::Unknown { .. } | Outcome::Accepted { .. } => Outcome::unknown(reason),
        },
    }
}
