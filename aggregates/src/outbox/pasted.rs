//! Secrets that somebody pasted where only their name belongs.
//!
//! A guess by name and by form, made to catch the slip and not the will: keys that are called passwords, and values
//! with the marks that providers put on theirs. The value itself is never shown, only where it stands.

use serde_json::Value;

/// Names of fields that hold secrets, in lower case without separators.
const NAMES: [&str; 14] = [
    "password",
    "passwd",
    "pass",
    "apikey",
    "secret",
    "clientsecret",
    "appsecret",
    "secretkey",
    "token",
    "accesstoken",
    "refreshtoken",
    "bearer",
    "privatekey",
    "authorization",
];

/// How the secrets of well-known providers begin.
const MARKS: [&str; 16] = [
    "re_",
    "cal_live_",
    "cal_test_",
    "sk-",
    "sk_live_",
    "sk_test_",
    "SG.",
    "key-",
    "xoxb-",
    "xoxp-",
    "ghp_",
    "AKIA",
    "EAA",
    "IGQV",
    "Bearer ",
    "-----BEGIN",
];

/// Where in a configuration a value looks like a secret: `.smtp.password`, `.accounts[0].apiKey`.
pub fn pasted_secret(config: &Value) -> Option<String> {
    match config {
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            if holds_text(value) && is_secret_name(name) {
                return Some(format!(".{name}"));
            }
            pasted_secret(value).map(|place| format!(".{name}{place}"))
        }),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| pasted_secret(item).map(|place| format!("[{index}]{place}"))),
        Value::String(text) => {
            let id = text.strip_prefix("secret://").and_then(|rest| rest.rsplit_once(':'));
            (is_marked(text) || id.is_some_and(|(id, _)| is_secret(id))).then(String::new)
        }
        _ => None,
    }
}

fn holds_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty() && !text.starts_with("secret://"))
}

fn is_secret_name(name: &str) -> bool {
    let plain: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    NAMES.contains(&plain.as_str())
}

/// Whether a text that is to be the id of a secret looks like the secret itself: it begins as those of a provider do, and has
/// a run of letters and digits that nobody calls anything.
pub fn is_secret(id: &str) -> bool {
    let drawn = |run: &str| {
        let has = |kind: fn(&u8) -> bool| run.bytes().any(|byte| kind(&byte));
        run.len() >= 8 && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
    };
    MARKS.iter().any(|mark| id.strip_prefix(mark).is_some_and(|rest| rest.split(['_', '-']).any(drawn)))
}

fn is_marked(text: &str) -> bool {
    let marked = MARKS.iter().any(|mark| {
        text.strip_prefix(mark).is_some_and(|rest| rest.len() >= 12 && !rest.trim().contains([' ', '@']))
            || (mark.starts_with('-') && text.starts_with(mark))
    });
    marked || has_password(text)
}

/// `scheme://user:password@host`
fn has_password(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    scheme.eq_ignore_ascii_case("resend") || user.is_some_and(|user| user.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pasted_secret_is_found_where_it_stands() {
        for (config, place) in [
            (json!({"apiKey": "0123456789abcdef"}), ".apiKey"),
            (json!({"api_key": "x"}), ".api_key"),
            (json!({"smtp": {"Password": "hunter2"}}), ".smtp.Password"),
            (json!({"hosts": ["a", "smtp://ann:hunter2@mail.example.com"]}), ".hosts[1]"),
            (json!({"url": "resend://re_123"}), ".url"),
            (json!({"note": "re_AbCdEfGh1234567890"}), ".note"),
            (json!({"key": "-----BEGIN PRIVATE KEY-----\nMII"}), ".key"),
            (json!({"x": "Bearer abcdef0123456789"}), ".x"),
            (
                json!({"webhookSecretRef": "secret://sk_live_51HabcdefGHIJKLMNOPqrstuv:latest"}),
                ".webhookSecretRef",
            ),
        ] {
            assert_eq!(pasted_secret(&config).as_deref(), Some(place), "{config}");
        }
    }

    #[test]
    fn a_key_is_no_name_for_itself() {
        for (id, refused) in [
            ("re_AbCdEfGh_1234567890abcdefghij", true),
            ("sk_live_51HabcdefGHIJKLMNOPqrstuv", true),
            ("key-3ax6xnjp29jd6fds4gc373sgvjxteol0", true),
            ("EAAGm0PX4ZCpsBAKZCZCqVZCZA8ZB", true),
            ("re_production_2026", false),
            ("resend", false),
            ("sk_live_", false),
            ("key-of-the-northern-office", false),
            ("smtp1", false),
        ] {
            assert_eq!(is_secret(id), refused, "{id}");
        }
    }

    #[test]
    fn settings_that_are_none_pass() {
        for config in [
            json!({"fromAddress": "ops@example.com", "fromName": "Ops", "replyTo": null}),
            json!({"tokenExpiry": 5, "passRate": "high", "password": "secret://smtp:latest"}),
            json!({"site": "https://example.com/a?b=c:d@e", "subject": "re_ your house", "token": ""}),
            json!({"dkim": {"selector": "docket", "key": "secret://dkim:1"}}),
        ] {
            assert_eq!(pasted_secret(&config), None, "{config}");
        }
    }
}
