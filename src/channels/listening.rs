//! Being told by a provider: where an outbox keeps what its webhooks are signed with, and who reads them.
//!
//! Two fields of an outbox's configuration, the same for every channel: `webhookSecretRef` names the secret that the
//! provider signs with, `webhookVerifyTokenRef` the one that WhatsApp and Instagram ask for before they send anything. Both
//! are references as `secret://id:version`; an outbox without the first one is not told anything.

use docket_aggregates::Timestamp;
use docket_aggregates::channel::Channel;
use docket_aggregates::credential::SecretRef;
use reqwest::header::HeaderMap;
use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

use super::problem::{Fault, Fields, string};
use super::signature::SignatureError;
use super::{Delivery, Secret, WebhookError, cal_com, email, instagram, linkedin, whatsapp};
use crate::json::is_ignorable;

const SECRET: &str = "webhookSecretRef";
const VERIFY_TOKEN: &str = "webhookVerifyTokenRef";

/// What an outbox is told by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listening {
    /// What the provider signs with.
    pub secret: Option<SecretRef>,
    /// What the provider shows when it asks whether the address is ours.
    pub verify_token: Option<SecretRef>,
}

impl Listening {
    /// Whether what a configuration says of it can be read; else the field that cannot.
    pub fn check(config: &Value) -> Result<(), &'static str> {
        let readable =
            |name: &str| config.get(name).is_none_or(|value| value.is_null() || secret_ref(value).is_ok());
        [SECRET, VERIFY_TOKEN].into_iter().find(|name| !readable(name)).map_or(Ok(()), Err)
    }

    /// What an outbox's configuration, which was checked before, says of it.
    pub fn of(config: &Value) -> Self {
        let reference = |name: &str| config.get(name).and_then(|value| secret_ref(value).ok());
        Self { secret: reference(SECRET), verify_token: reference(VERIFY_TOKEN) }
    }
}

/// Whether a provider tells anything of this channel by webhooks.
pub const fn speaks(channel: Channel) -> bool {
    !matches!(channel, Channel::DryRun)
}

/// Checks the field that every channel has.
pub(super) fn check(fields: &mut Fields) {
    fields.optional(SECRET, secret_ref);
}

/// Checks both fields.
pub(super) fn check_with_challenge(fields: &mut Fields) {
    check(fields);
    fields.optional(VERIFY_TOKEN, secret_ref);
}

fn secret_ref(value: &Value) -> Result<SecretRef, Fault> {
    string(value)?
        .parse()
        .map_err(|_| ("INVALID_SECRET_REF", "must be written as secret://id:version".into()))
}

/// Checks who a webhook is from, over its raw body, and reads what it tells.
pub fn read(
    channel: Channel,
    headers: &HeaderMap,
    secret: &Secret,
    body: &[u8],
    now: Timestamp,
) -> Result<Vec<Delivery>, WebhookError> {
    let told = match channel {
        Channel::Email => email::resend::webhook::read(headers, secret, body, now),
        Channel::CalCom => cal_com::webhook::read(headers, secret, body),
        Channel::Linkedin => linkedin::webhook::read(headers, secret, body),
        Channel::Whatsapp => whatsapp::webhook::read(headers, secret, body),
        Channel::Instagram => instagram::webhook::read(headers, secret, body),
        Channel::DryRun => Err(WebhookError::Malformed),
    };
    Ok(told?.into_iter().map(Delivery::storable).collect())
}

/// The answer to a provider that asks whether the address is ours.
pub fn challenge(channel: Channel, query: &str, verify_token: &Secret) -> Result<String, SignatureError> {
    match channel {
        Channel::Whatsapp => whatsapp::webhook::challenge(query, verify_token),
        Channel::Instagram => instagram::webhook::challenge(query, verify_token),
        Channel::Email | Channel::CalCom | Channel::Linkedin | Channel::DryRun => {
            Err(SignatureError::Missing)
        }
    }
}

/// Words by which somebody says that they want no more, written alone and in whatever case. What carriers and WhatsApp's own
/// policy name, in English, French, German and Spanish. Not `cancel` or `end`: an answer to a reminder says that too.
const STOP: [&str; 12] = [
    "stop",
    "stopall",
    "unsubscribe",
    "arret",
    "arrêt",
    "arrete",
    "arrête",
    "désabonner",
    "desabonner",
    "stopp",
    "abmelden",
    "baja",
];

/// Whether a text says nothing but that its writer wants no more, in whatever dress: quotation marks, signs, pictures and
/// invisible characters around it say nothing, and wide letters are letters.
pub fn is_stop(text: &str) -> bool {
    let word: String = text.nfkc().filter(|c| !is_ignorable(*c)).collect();
    let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    STOP.contains(&word.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::check_config;
    use serde_json::json;

    #[test]
    fn a_configuration_refers_to_its_webhooks_secrets() {
        let whatsapp = |name: &str, value: Value| json!({ "phoneNumberId": "1", name: value });
        for (channel, config, refused) in [
            (Channel::Whatsapp, whatsapp(SECRET, json!("secret://app:latest")), None),
            (Channel::Whatsapp, whatsapp(VERIFY_TOKEN, json!("secret://verify:2")), None),
            (Channel::Whatsapp, whatsapp(SECRET, Value::Null), None),
            (Channel::Whatsapp, whatsapp(SECRET, json!("the-secret-itself")), Some("INVALID_SECRET_REF")),
            (Channel::Whatsapp, whatsapp(SECRET, json!(1)), Some("WRONG_TYPE")),
            (Channel::Instagram, json!({ "accountId": "1", VERIFY_TOKEN: "secret://verify:1" }), None),
            (Channel::Linkedin, json!({ "accountId": "1", SECRET: "secret://u:1" }), None),
            (
                Channel::Linkedin,
                json!({ "accountId": "1", VERIFY_TOKEN: "secret://u:1" }),
                Some("UNKNOWN_FIELD"),
            ),
            (Channel::CalCom, json!({ SECRET: "secret://c:1" }), None),
            (Channel::Email, json!({ "fromAddress": "ops@example.com", SECRET: "secret://r:1" }), None),
        ] {
            let problems = check_config(channel, &config).err().unwrap_or_default();
            assert_eq!(problems.first().map(|problem| problem.code), refused, "{config}");
        }
        let listening = Listening::of(&whatsapp(SECRET, json!("secret://app:latest")));
        assert_eq!(listening.secret, "secret://app:latest".parse().ok());
        assert_eq!(listening.verify_token, None);
    }

    #[test]
    fn a_word_alone_says_stop_and_a_sentence_does_not() {
        for (text, expected) in [
            ("STOP", true),
            (" stop. ", true),
            ("Unsubscribe!", true),
            ("ARRÊT", true),
            ("ARRE\u{302}T", true),
            ("ARRETE", true),
            ("“STOP”", true),
            ("« Stop »", true),
            ("stop\u{200b}", true),
            ("\u{2067}S\u{200d}TOP\u{2069}", true),
            ("STOP 🛑", true),
            ("🛑\u{fe0f} stop 🙏🏽", true),
            ("ＳＴＯＰ！", true),
            ("", false),
            ("🛑", false),
            ("stop\u{200b}it", false),
            ("s t o p", false),
            ("Please don't stop", false),
            ("stop by tomorrow", false),
            ("Non-stop", false),
        ] {
            assert_eq!(is_stop(text), expected, "{text}");
        }
    }
}
