//! WhatsApp, by Meta's Cloud API.
//!
//! Free text is only allowed within 24 hours of the recipient's last word; outside of it a template is. The API
//! takes no idempotency key, so a call without an answer is unknown. With a template the reference goes along as
//! `biz_opaque_callback_data` and comes back in every status, which settles it; with free text it does not, because
//! Meta's published description allows nothing there that it does not name.

pub mod webhook;

mod errors;

use serde::Deserialize;
use serde_json::{Value, json};

use super::graph::{self, VERSION};
use super::http::Http;
use super::problem::{Fields, line, provider_id, string, text};
use super::{Code, Outcome, Outgoing, Problem, listening};

/// What the provider is called in reasons.
const PROVIDER: &str = "WhatsApp";
/// Characters of a text.
const TEXT_MAX: usize = 4_096;
/// Variables of a template.
const VARIABLES_MAX: usize = 50;
/// The language of a template where neither message nor outbox says one: that of Meta's own samples.
const LANGUAGE: &str = "en_US";

/// An outbox's configuration: `{phoneNumberId, language?}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Meta's id of the sender's number.
    pub phone_number_id: String,
    /// The language of templates, as `en_US`.
    pub language: String,
}

impl Settings {
    /// Reads it.
    pub fn read(config: &Value) -> Result<Self, Vec<Problem>> {
        let mut fields = Fields::of("config", config);
        let phone_number_id = fields.required("phoneNumberId", provider_id);
        listening::check_with_challenge(&mut fields);
        let language = fields.optional("language", language).unwrap_or_else(|| LANGUAGE.to_owned());
        fields.finish(phone_number_id.map(|phone_number_id| Self { phone_number_id, language }))
    }
}

/// What is sent: `{text}` or `{templateSid, variables?, language?}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Free text.
    Text(String),
    /// A template that Meta has approved.
    Template {
        /// Its name.
        name: String,
        /// Its language, if it is not the outbox's.
        language: Option<String>,
        /// What its places are filled with.
        variables: Variables,
    },
}

/// What the places of a template are filled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variables {
    /// By position, from `{{1}}`.
    Numbered(Vec<String>),
    /// By name.
    Named(Vec<(String, String)>),
}

impl Payload {
    /// Reads it.
    pub fn read(payload: &Value) -> Result<Self, Vec<Problem>> {
        let mut fields = Fields::of("payload", payload);
        let free = fields.optional("text", text(TEXT_MAX));
        let name = fields.optional("templateSid", template_name);
        let language = fields.optional("language", language);
        let variables = fields.optional("variables", variables);
        let read = match (free, name) {
            (Some(_), Some(_)) => {
                fields.problem("text", "EXCLUSIVE", "cannot be given beside templateSid");
                None
            }
            (Some(text), None) => {
                if variables.is_some() || language.is_some() {
                    fields.problem("text", "EXCLUSIVE", "takes neither variables nor language");
                }
                Some(Self::Text(text))
            }
            (None, Some(name)) => {
                let variables = variables.unwrap_or(Variables::Numbered(vec![]));
                Some(Self::Template { name, language, variables })
            }
            (None, None) => {
                fields.problem("text", "REQUIRED", "or templateSid is required");
                None
            }
        };
        fields.finish(read)
    }
}

fn language(value: &Value) -> Result<String, (&'static str, String)> {
    let language = string(value)?;
    let acceptable = (2..=12).contains(&language.len())
        && language.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if acceptable {
        Ok(language.to_owned())
    } else {
        Err(("INVALID_LANGUAGE", "must be a language as WhatsApp writes it, such as en_US".into()))
    }
}

fn template_name(value: &Value) -> Result<String, (&'static str, String)> {
    let name = string(value)?;
    let acceptable = (1..=512).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if acceptable {
        Ok(name.to_owned())
    } else {
        Err(("INVALID_TEMPLATE", "must be the name of a template: letters, digits and _".into()))
    }
}

fn variables(value: &Value) -> Result<Variables, (&'static str, String)> {
    let too_many = ("TOO_MANY", format!("must be at most {VARIABLES_MAX}"));
    match value {
        Value::Array(values) if values.len() > VARIABLES_MAX => Err(too_many),
        Value::Object(values) if values.len() > VARIABLES_MAX => Err(too_many),
        Value::Array(values) => {
            values.iter().map(variable).collect::<Result<_, _>>().map(Variables::Numbered)
        }
        Value::Object(values) => {
            let mut numbered = Vec::new();
            for number in 1..=values.len() {
                match values.get(&number.to_string()) {
                    Some(value) => numbered.push(variable(value)?),
                    None => break,
                }
            }
            if numbered.len() == values.len() {
                return Ok(Variables::Numbered(numbered));
            }
            let named = values.iter().map(|(name, value)| {
                line(100)(&Value::from(name.as_str()))?;
                Ok((name.clone(), variable(value)?))
            });
            named.collect::<Result<_, _>>().map(Variables::Named)
        }
        _ => Err(("WRONG_TYPE", "must be an array or an object of strings".into())),
    }
}

fn variable(value: &Value) -> Result<String, (&'static str, String)> {
    match value {
        Value::Number(number) => Ok(number.to_string()),
        // Graph refuses line breaks and tabs in a variable (132000 and its like); so do we, before anything is sent.
        value => line(1_024)(value),
    }
}

/// One message.
#[derive(Clone, Debug)]
pub struct Message {
    /// By which number it leaves.
    pub settings: Settings,
    /// What it says.
    pub payload: Payload,
}

#[derive(Deserialize)]
struct Sent {
    messages: Vec<SentMessage>,
}

#[derive(Deserialize)]
struct SentMessage {
    id: String,
}

/// Hands the message over.
pub async fn deliver(http: &Http, base: &reqwest::Url, outgoing: &Outgoing, message: &Message) -> Outcome {
    let to: String = outgoing.to.address.chars().filter(char::is_ascii_digit).collect();
    let only_a_number = outgoing.to.address.chars().all(|c| c.is_ascii_digit() || " +-().".contains(c));
    if !(7..=15).contains(&to.len()) || !only_a_number {
        return Outcome::rejected(Code::Recipient, "the recipient is no international telephone number");
    }
    if matches!(message.payload, Payload::Text(_)) && outgoing.last_heard.closed(outgoing.at) {
        let reason = "the recipient has not written within 24 hours: only a template may be sent";
        return Outcome::rejected(Code::WindowClosed, reason);
    }
    let request = http
        .post(base, &[VERSION, &message.settings.phone_number_id, "messages"])
        .bearer_auth(outgoing.credential.trimmed())
        .json(&body(outgoing, message, &to));
    let answer = match http.call(request, outgoing.within).await.answer(PROVIDER) {
        Ok(answer) => answer,
        Err(outcome) => return outcome,
    };
    if answer.is_success() {
        // `message_status` may say that the message is held for a check of its quality: it is taken all the same.
        return match answer.json::<Sent>().and_then(|sent| sent.messages.into_iter().next()) {
            Some(sent) if !sent.id.is_empty() => Outcome::accepted(sent.id),
            _ => answer.by_status(PROVIDER),
        };
    }
    graph::refusal(PROVIDER, &answer, &[&to, outgoing.credential.trimmed()], errors::verdict)
}

fn body(outgoing: &Outgoing, message: &Message, to: &str) -> Value {
    let mut body = json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": to,
    });
    match &message.payload {
        Payload::Text(text) => {
            body["type"] = json!("text");
            body["text"] = json!({ "body": text });
        }
        Payload::Template { name, language, variables } => {
            body["type"] = json!("template");
            body["biz_opaque_callback_data"] = json!(outgoing.reference.to_string());
            let code = language.as_ref().unwrap_or(&message.settings.language);
            let mut template =
                json!({ "name": name, "language": { "policy": "deterministic", "code": code } });
            let parameters: Vec<Value> = match variables {
                Variables::Numbered(texts) => {
                    texts.iter().map(|text| json!({ "type": "text", "text": text })).collect()
                }
                Variables::Named(texts) => texts
                    .iter()
                    .map(|(name, text)| json!({ "type": "text", "parameter_name": name, "text": text }))
                    .collect(),
            };
            if !parameters.is_empty() {
                template["components"] = json!([{ "type": "body", "parameters": parameters }]);
            }
            body["template"] = template;
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_text_or_a_template() {
        let numbered = |texts: &[&str]| Variables::Numbered(texts.iter().map(|t| (*t).to_owned()).collect());
        let template =
            |variables| Payload::Template { name: "hello_world".into(), language: None, variables };
        for (payload, expected) in [
            (json!({ "text": "Hello" }), Payload::Text("Hello".into())),
            (json!({ "templateSid": "hello_world" }), template(numbered(&[]))),
            (
                json!({ "templateSid": "hello_world", "variables": ["Ada", 3] }),
                template(numbered(&["Ada", "3"])),
            ),
            (
                json!({ "templateSid": "hello_world", "variables": { "2": "b", "1": "a" } }),
                template(numbered(&["a", "b"])),
            ),
            (
                json!({ "templateSid": "hello_world", "variables": { "name": "Ada" } }),
                template(Variables::Named(vec![("name".into(), "Ada".into())])),
            ),
        ] {
            assert_eq!(Payload::read(&payload), Ok(expected), "{payload}");
        }
        let long = "x".repeat(TEXT_MAX + 1);
        for (payload, code) in [
            (json!({}), "REQUIRED"),
            (json!({ "text": "" }), "EMPTY"),
            (json!({ "text": long }), "TOO_LONG"),
            (json!({ "text": "a", "templateSid": "b" }), "EXCLUSIVE"),
            (json!({ "text": "a", "variables": [] }), "EXCLUSIVE"),
            (json!({ "templateSid": "../b" }), "INVALID_TEMPLATE"),
            (json!({ "templateSid": "b", "variables": ["a\nb"] }), "CONTROL_CHARACTER"),
            (json!({ "templateSid": "b", "variables": "a" }), "WRONG_TYPE"),
            (json!({ "templateSid": "b", "variables": vec!["a"; VARIABLES_MAX + 1] }), "TOO_MANY"),
            (json!({ "templateSid": "b", "language": "English!" }), "INVALID_LANGUAGE"),
            (json!([]), "NOT_AN_OBJECT"),
        ] {
            assert_eq!(Payload::read(&payload).unwrap_err()[0].code, code, "{payload}");
        }
    }
}
