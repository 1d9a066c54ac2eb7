//! LinkedIn, through Unipile's API v1.
//!
//! LinkedIn's own API forbids what outreach does; Unipile acts for a connected account, within LinkedIn's limits. It
//! takes no idempotency key. Everything that is particular to Unipile's version 1 is in this file.

pub mod webhook;

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::http::{Answer, Http};
use super::problem::{Fields, line, provider_id, string, text};
use super::said::said;
use super::{Code, Outcome, Outgoing, Problem, listening};

/// What the provider is called in reasons.
const PROVIDER: &str = "Unipile";
/// Characters of a message and of the note that goes with an invitation.
const MESSAGE_MAX: usize = 8_000;
const INVITATION_MAX: usize = 300;
/// LinkedIn counts by day: before tomorrow there is no use in asking again.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An outbox's configuration: `{accountId, inMail?}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Unipile's id of the connected account.
    pub account_id: String,
    /// Whether people are written to who are no connection, which LinkedIn charges for.
    pub in_mail: bool,
}

impl Settings {
    /// Reads it.
    pub fn read(config: &Value) -> Result<Self, Vec<Problem>> {
        let mut fields = Fields::of("config", config);
        let account_id = fields.required("accountId", provider_id);
        listening::check(&mut fields);
        let in_mail = fields.optional("inMail", |value| {
            value.as_bool().ok_or(("WRONG_TYPE", "must be true or false".to_owned()))
        });
        fields.finish(account_id.map(|account_id| Self { account_id, in_mail: in_mail.unwrap_or(false) }))
    }
}

/// What is sent: `{kind: message, text, subject?}` or `{kind: invitation, text?}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A message to a connection, or an `InMail`.
    Message {
        /// What it says.
        text: String,
        /// What an `InMail` is about.
        subject: Option<String>,
    },
    /// An invitation to connect.
    Invitation {
        /// The note that goes with it.
        text: String,
    },
}

impl Payload {
    /// Reads it.
    pub fn read(payload: &Value) -> Result<Self, Vec<Problem>> {
        let mut fields = Fields::of("payload", payload);
        let invites = fields.required("kind", |value| match string(value)? {
            "message" => Ok(false),
            "invitation" => Ok(true),
            _ => Err(("UNKNOWN_VALUE", "must be message or invitation".to_owned())),
        });
        let read = match invites {
            Some(true) => fields.required("text", text(INVITATION_MAX)).map(|text| Self::Invitation { text }),
            Some(false) => {
                let subject = fields.optional("subject", line(200));
                fields.required("text", text(MESSAGE_MAX)).map(|text| Self::Message { text, subject })
            }
            None => {
                // Without the kind there is no telling how long the text may be.
                let _ = fields.optional("text", text(MESSAGE_MAX));
                let _ = fields.optional("subject", line(200));
                None
            }
        };
        fields.finish(read)
    }
}

/// One message or invitation.
#[derive(Clone, Debug)]
pub struct Post {
    /// By which account it leaves.
    pub settings: Settings,
    /// What it says.
    pub payload: Payload,
}

#[derive(Deserialize)]
struct Sent {
    #[serde(default)]
    object: String,
    #[serde(default)]
    chat_id: Option<String>,
    #[serde(default)]
    message_id: Option<String>,
    #[serde(default)]
    invitation_id: Option<String>,
}

/// The body of a refusal.
#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: Option<String>,
}

/// Hands it over.
pub async fn deliver(http: &Http, base: Option<&reqwest::Url>, outgoing: &Outgoing, post: &Post) -> Outcome {
    let Some(base) = base else {
        return Outcome::rejected(Code::Configuration, "DOCKET_UNIPILE_URL is not set");
    };
    let to = outgoing.to.address.as_str();
    if to.is_empty() || to.len() > 200 || !to.bytes().all(|b| b.is_ascii_graphic()) {
        return Outcome::rejected(Code::Recipient, "the recipient is no LinkedIn id");
    }
    let account = post.settings.account_id.as_str();
    let request = match &post.payload {
        Payload::Message { text, subject } => {
            let mut form = reqwest::multipart::Form::new()
                .text("account_id", account.to_owned())
                .text("text", text.clone())
                .text("attendees_ids", to.to_owned());
            if let Some(subject) = subject {
                form = form.text("subject", subject.clone());
            }
            if post.settings.in_mail {
                form = form.text("linkedin[api]", "classic").text("linkedin[inmail]", "true");
            }
            http.post(base, &["api", "v1", "chats"]).multipart(form)
        }
        Payload::Invitation { text } => http
            .post(base, &["api", "v1", "users", "invite"])
            .json(&json!({ "account_id": account, "provider_id": to, "message": text })),
    };
    let request =
        request.header("X-API-KEY", outgoing.credential.trimmed()).header("accept", "application/json");
    let answer = match http.call(request, outgoing.within).await.answer(PROVIDER) {
        Ok(answer) => answer,
        Err(outcome) => return outcome,
    };
    if answer.is_success() {
        return match answer.json::<Sent>() {
            // Unipile does not always know the ids yet; the object says that it was done.
            Some(sent) if matches!(sent.object.as_str(), "ChatStarted" | "UserInvitationSent") => {
                let id = sent.message_id.or(sent.invitation_id).or(sent.chat_id);
                id.map_or(Outcome::Accepted { provider_message_id: None }, Outcome::accepted)
            }
            _ => answer.by_status(PROVIDER),
        };
    }
    refused(&answer, &[to, outgoing.credential.trimmed()])
}

fn refused(answer: &Answer, never: &[&str]) -> Outcome {
    let Some(refusal) = answer.json::<Refusal>() else { return answer.by_status(PROVIDER) };
    // The version after this one says `provider/…` and `api/…`; what follows the stroke means the same.
    let kind = refusal.kind.rsplit('/').next().unwrap_or_default();
    let words = refusal.detail.as_deref().unwrap_or(&refusal.title);
    let reason = format!(
        "{PROVIDER} answered {} {}: {}",
        answer.status,
        said(&refusal.kind, never),
        said(words, never)
    );
    match kind {
        "disconnected_account"
        | "account_restricted"
        | "wrong_account"
        | "account_mismatch"
        | "multiple_sessions"
        | "checkpoint_error"
        | "subscription_required"
        | "session_mismatch" => Outcome::rejected(Code::Account, reason),
        "missing_credentials"
        | "invalid_credentials"
        | "expired_credentials"
        | "insufficient_privileges"
        | "insufficient_permissions"
        | "invalid_api_key"
        | "unauthorized" => Outcome::rejected(Code::Credential, reason),
        "invalid_recipient"
        | "recipient_cannot_be_reached"
        | "unreachable_recipient"
        | "no_connection_with_recipient"
        | "blocked_recipient"
        | "user_unreachable" => Outcome::rejected(Code::Recipient, reason),
        "already_connected"
        | "already_invited_recently"
        | "invalid_parameters"
        | "malformed_request"
        | "content_too_large"
        | "invalid_message"
        | "unprocessable_entity" => Outcome::rejected(Code::Content, reason),
        // LinkedIn's limit: it comes as 422, 429 or 500.
        "cannot_resend_yet"
        | "limit_exceeded"
        | "limit_too_high"
        | "too_many_requests"
        | "rate_limit_exceeded"
        | "insufficient_credit" => {
            let after = answer.after.or((kind != "too_many_requests").then_some(DAY));
            Outcome::retry_after(Code::RateLimited, reason, after)
        }
        // Nobody was there to take it.
        "no_client_session" | "no_handler" => Outcome::retry_after(Code::Unavailable, reason, answer.after),
        // A service that is not available, a session that timed out or a provider that failed may have sent it before it did.
        _ => match answer.by_status(PROVIDER) {
            Outcome::Rejected { code, .. } => Outcome::rejected(code, reason),
            Outcome::Retry { code, after, .. } => Outcome::retry_after(code, reason, after),
            Outcome::Unknown { .. } | Outcome::Accepted { .. } => Outcome::unknown(reason),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_is_shorter_than_a_message() {
        let payload = |kind: &str, characters: usize| {
            Payload::read(&json!({ "kind": kind, "text": "é".repeat(characters) }))
        };
        assert!(payload("message", 8_000).is_ok());
        assert!(payload("invitation", 300).is_ok());
        for (kind, characters, code) in
            [("message", 8_001, "TOO_LONG"), ("invitation", 301, "TOO_LONG"), ("sms", 1, "UNKNOWN_VALUE")]
        {
            assert_eq!(payload(kind, characters).unwrap_err()[0].code, code);
        }
        let problems = Payload::read(&json!({ "text": "a" })).unwrap_err();
        assert_eq!((problems[0].path.as_str(), problems[0].code), ("payload.kind", "REQUIRED"));
    }
}
