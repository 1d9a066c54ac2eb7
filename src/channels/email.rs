//! E-mail, by SMTP submission or through Resend; which of both, the credential says.
//!
//! Either way the mail is the same: a stable `Message-ID` made of the message's reference, a return path of its own,
//! one-click unsubscribing where the letter has an address for it. Replies and bounces come back by LMTP
//! ([`lmtp`]) and are told apart by [`incoming`].

pub mod dkim;
pub mod incoming;
pub mod lmtp;
pub mod reader;
pub mod resend;
pub mod smtp;

mod credential;
mod mail;

use lettre::Address;
use serde_json::Value;

use super::problem::{Fault, Fields, address, domain, line, string, text};
use super::{Problem, Secret, listening};

pub use credential::{Credential, CredentialError, Server};

/// Characters of a subject (RFC 5322 allows no longer line).
const SUBJECT_MAX: usize = 998;
/// Characters of a body.
const BODY_MAX: usize = 200_000;
/// Headers of the sender's own.
const HEADERS_MAX: usize = 20;
/// Headers that a sender may set, beside those that begin with `X-`. All others say who writes to whom by which way,
/// and are ours.
const HEADERS: [&str; 9] = [
    "auto-submitted",
    "feedback-id",
    "importance",
    "in-reply-to",
    "keywords",
    "list-id",
    "organization",
    "precedence",
    "references",
];

/// What begins with `X-` and is read by mail services on the way as an order, such as one for more recipients: `SendGrid`'s,
/// Mandrill's, `SparkPost`'s, Mailgun's, Postmark's, Amazon's, Mailjet's, Brevo's, Postal's, Elastic Email's, Mailtrap's and
/// `PowerMTA`'s.
const ORDERS: [&str; 14] = [
    "x-smtpapi",
    "x-mc-",
    "x-msys-",
    "x-mailgun-",
    "x-pm-",
    "x-ses-",
    "x-mj-",
    "x-mailjet-",
    "x-mailin-",
    "x-sib-",
    "x-postal-",
    "x-elasticemail-",
    "x-mt-",
    "x-virtual-mta",
];
/// Those of them that machines read: an encoded word means nothing there.
const STRUCTURED: [&str; 4] = ["auto-submitted", "in-reply-to", "list-id", "references"];
/// Bytes of one word of these, so that it fits on a line.
const WORD_MAX: usize = 900;

/// An outbox's configuration: `{fromAddress, fromName?, replyTo?, returnPathDomain?, dkim?: {domain, selector,
/// keyRef}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who writes.
    pub from_address: String,
    /// The name beside it.
    pub from_name: Option<String>,
    /// Where answers go, if not to who writes.
    pub reply_to: Option<String>,
    /// The domain whose mail comes back to us: every message then has a return path of its own. Without it, bounces
    /// go to who writes.
    pub return_path_domain: Option<String>,
    /// How mail is signed here. Without it, signing is left to the mail server.
    pub dkim: Option<Dkim>,
}

/// How mail is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dkim {
    /// The domain that signs.
    pub domain: String,
    /// The name of its key in DNS.
    pub selector: String,
    /// The reference of the private key: `secret://id:version`.
    pub key_ref: String,
}

impl Settings {
    /// Reads it.
    pub fn read(config: &Value) -> Result<Self, Vec<Problem>> {
        let mut fields = Fields::of("config", config);
        let from_address = fields.required("fromAddress", mailbox);
        let from_name = fields.optional("fromName", line(200));
        let reply_to = fields.optional("replyTo", mailbox);
        let return_path_domain = fields.optional("returnPathDomain", mail_domain);
        let dkim = fields.optional("dkim", dkim);
        listening::check(&mut fields);
        fields.finish(from_address.map(|from_address| Self {
            from_address,
            from_name,
            reply_to,
            return_path_domain,
            dkim,
        }))
    }

    /// The domain that writes.
    pub fn domain(&self) -> &str {
        self.from_address.rsplit_once('@').map_or(self.from_address.as_str(), |(_, domain)| domain)
    }
}

/// An address that a mail can be written with.
fn mailbox(value: &Value) -> Result<String, Fault> {
    let address = address(value)?;
    match address.parse::<Address>() {
        Ok(_) => Ok(address),
        Err(_) => Err(("INVALID_EMAIL", "must be an e-mail address that a mail can be written with".into())),
    }
}

/// A domain that addresses can end with.
fn mail_domain(value: &Value) -> Result<String, Fault> {
    let domain = domain(value)?;
    match Address::new("a", &domain) {
        Ok(_) => Ok(domain),
        Err(_) => Err(("INVALID_DOMAIN", "must be a domain name that addresses can end with".into())),
    }
}

fn dkim(value: &Value) -> Result<Dkim, Fault> {
    let field = |name: &str| value.get(name).ok_or(("REQUIRED", format!("must have {name}")));
    let known = ["domain", "selector", "keyRef"];
    let Some(object) = value.as_object() else { return Err(("NOT_AN_OBJECT", "must be an object".into())) };
    if object.keys().any(|key| !known.contains(&key.as_str())) {
        return Err(("UNKNOWN_FIELD", "has only domain, selector and keyRef".into()));
    }
    let selector = line(63)(field("selector")?)?;
    if !selector.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err(("INVALID_SELECTOR", "must have a selector of letters, digits, -, _ and .".into()));
    }
    let key_ref = line(200)(field("keyRef")?)?;
    if !key_ref.starts_with("secret://") {
        return Err(("INVALID_SECRET_REF", "must have a keyRef as secret://id:version".into()));
    }
    Ok(Dkim { domain: domain(field("domain")?)?, selector, key_ref })
}

/// What is sent: `{subject, text?, html?, replyTo?, headers?}`, text or HTML or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// What it is about.
    pub subject: String,
    /// What it says, as text.
    pub text: Option<String>,
    /// What it says, as HTML.
    pub html: Option<String>,
    /// Where answers go, if not where the outbox says.
    pub reply_to: Option<String>,
    /// More headers.
    pub headers: Vec<(String, String)>,
}

impl Payload {
    /// Reads it.
    pub fn read(payload: &Value) -> Result<Self, Vec<Problem>> {
        let mut fields = Fields::of("payload", payload);
        let subject = fields.required("subject", line(SUBJECT_MAX));
        let text_body = fields.optional("text", text(BODY_MAX));
        let html = fields.optional("html", text(BODY_MAX));
        let reply_to = fields.optional("replyTo", mailbox);
        let headers = fields.optional("headers", headers).unwrap_or_default();
        let has_body =
            ["text", "html"].into_iter().any(|name| payload.get(name).is_some_and(|body| !body.is_null()));
        if !has_body {
            fields.problem("text", "REQUIRED", "or html is required");
        }
        fields.finish(subject.map(|subject| Self { subject, text: text_body, html, reply_to, headers }))
    }
}

fn headers(value: &Value) -> Result<Vec<(String, String)>, Fault> {
    let headers = value.as_object().ok_or(("NOT_AN_OBJECT", "must be an object of strings".to_owned()))?;
    if headers.len() > HEADERS_MAX {
        return Err(("TOO_MANY", format!("must be at most {HEADERS_MAX}")));
    }
    headers
        .iter()
        .map(|(name, value)| {
            let lower = name.to_ascii_lowercase();
            let named = (1..=70).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
            let order = ORDERS.iter().any(|order| lower.starts_with(order));
            let own = lower.starts_with("x-") && !order || HEADERS.contains(&lower.as_str());
            if !named || !own {
                let may = format!(
                    "may hold headers that begin with X- and are no orders to a mail service ({}), and {}",
                    ORDERS.join(", "),
                    HEADERS.join(", ")
                );
                return Err(("HEADER_NOT_ALLOWED", may));
            }
            string(value)?;
            let text = line(SUBJECT_MAX)(value)?;
            // What machines read is written as it stands, folded between words: nothing else keeps their lines short.
            let structured = is_structured(name);
            let encoded = text.split_once("=?").is_some_and(|(_, word)| word.contains("?="));
            if structured && encoded {
                return Err(("ENCODED_WORD", format!("must not hold encoded words (=?…?=) in {lower}")));
            }
            let stays = text.split(' ').all(|word| word.len() <= WORD_MAX);
            if structured && !stays {
                return Err((
                    "WORD_TOO_LONG",
                    format!("must have words of at most {WORD_MAX} bytes in {lower}"),
                ));
            }
            Ok((name.clone(), text))
        })
        .collect()
}

/// Whether machines read a header of this name.
fn is_structured(name: &str) -> bool {
    STRUCTURED.iter().any(|structured| name.eq_ignore_ascii_case(structured))
}

/// One e-mail.
#[derive(Clone, Debug)]
pub struct Letter {
    /// By which outbox it leaves.
    pub settings: Settings,
    /// What it says.
    pub payload: Payload,
    /// The address of one-click unsubscribing (RFC 8058), where the mail must have one.
    pub unsubscribe: Option<String>,
    /// The private key that [`Settings::dkim`] names.
    pub dkim_key: Option<Secret>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn either_of_text_and_html_may_be_null() {
        for (text, html, taken) in [
            (Value::Null, json!("<p>Hello</p>"), true),
            (json!("Hello"), Value::Null, true),
            (Value::Null, Value::Null, false),
        ] {
            let payload = json!({ "subject": "Hi", "text": text, "html": html });
            assert_eq!(Payload::read(&payload).is_ok(), taken, "{payload}");
        }
    }

    #[test]
    fn a_payload_cannot_smuggle_headers_in() {
        let good = json!({ "subject": "Hi", "text": "Hello" });
        assert!(Payload::read(&good).is_ok());
        let with = |name: &str, value: Value| {
            let mut payload = good.clone();
            payload[name] = value;
            Payload::read(&payload)
        };
        for (name, value, code) in [
            ("subject", json!("Hi\r\nBcc: eve@example.com"), "CONTROL_CHARACTER"),
            ("subject", json!("x".repeat(SUBJECT_MAX + 1)), "TOO_LONG"),
            ("subject", json!(" "), "EMPTY"),
            ("text", Value::Null, "REQUIRED"),
            ("replyTo", json!("ada@example.com, eve@example.com"), "INVALID_EMAIL"),
            ("headers", json!({ "Bcc": "eve@example.com" }), "HEADER_NOT_ALLOWED"),
            ("headers", json!({ "Message-ID": "<a@b>" }), "HEADER_NOT_ALLOWED"),
            ("headers", json!({ "X-A: b\r\nBcc": "eve@example.com" }), "HEADER_NOT_ALLOWED"),
            ("headers", json!({ "X-A": "b\r\nBcc: eve@example.com" }), "CONTROL_CHARACTER"),
            ("headers", json!({ "X-A": 1 }), "WRONG_TYPE"),
            ("headers", json!({ "X-SMTPAPI": "{\"to\":[\"eve@example.com\"]}" }), "HEADER_NOT_ALLOWED"),
            ("headers", json!({ "X-Mailjet-Campaign": "spring" }), "HEADER_NOT_ALLOWED"),
            ("headers", json!({ "x-mc-bccaddress": "eve@example.com" }), "HEADER_NOT_ALLOWED"),
            ("headers", json!({ "References": format!("<{}>", "a".repeat(950)) }), "WORD_TOO_LONG"),
            ("headers", json!({ "List-ID": "=?utf-8?b?QnV5?= <a.example.com>" }), "ENCODED_WORD"),
            ("attachments", json!([]), "UNKNOWN_FIELD"),
        ] {
            assert_eq!(with(name, value.clone()).unwrap_err()[0].code, code, "{name}: {value}");
        }
        assert!(with("headers", json!({ "X-Campaign": "spring", "References": "<a@b>" })).is_ok());
    }

    #[test]
    fn a_configuration_says_who_writes() {
        let settings = Settings::read(&json!({
            "fromAddress": "ops@example.com", "fromName": "Ops", "returnPathDomain": "bounces.example.com",
            "dkim": { "domain": "example.com", "selector": "s1", "keyRef": "secret://dkim:latest" },
        }))
        .unwrap();
        assert_eq!(settings.domain(), "example.com");
        for (config, code) in [
            (json!({}), "REQUIRED"),
            (json!({ "fromAddress": "ops" }), "INVALID_EMAIL"),
            (json!({ "fromAddress": "ops@example.com", "apiKey": "re_1" }), "UNKNOWN_FIELD"),
            (json!({ "fromAddress": "ops@example.com", "fromName": "a\nb" }), "CONTROL_CHARACTER"),
            (json!({ "fromAddress": "ops@example.com", "returnPathDomain": "nowhere" }), "INVALID_DOMAIN"),
            (json!({ "fromAddress": "ops@example.com", "dkim": { "domain": "example.com" } }), "REQUIRED"),
            (
                json!({ "fromAddress": "ops@example.com",
                    "dkim": { "domain": "example.com", "selector": "s", "keyRef": "-----BEGIN" } }),
                "INVALID_SECRET_REF",
            ),
        ] {
            assert_eq!(Settings::read(&config).unwrap_err()[0].code, code, "{config}");
        }
    }
}
