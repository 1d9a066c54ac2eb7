//! What a payload is compared by.
//!
//! A member that is null is missing to every channel, and whoever reads a payload and writes it back may well send such
//! members for all that it could have. So they are no part of what is said: they are taken off before a payload is kept, and
//! what was kept with them before is compared without.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// The canonical text of a payload without the members that are null; what is no object is as it is.
pub fn compared(payload: &str) -> Cow<'_, str> {
    // Nearly none has the word in it at all.
    if !payload.contains("null") {
        return payload.into();
    }
    match serde_json::from_str::<Map<String, Value>>(payload) {
        Ok(mut members) if members.values().any(Value::is_null) => {
            members.retain(|_, member| !member.is_null());
            Value::Object(members).to_string().into()
        }
        _ => payload.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_are_null_are_missing() {
        let rest = r#""text":"a\"\\\n\u000f é","x":1.5}"#;
        for (payload, expected) in [
            (
                r#"{"html":null,"subject":"A","text":"b"}"#.to_owned(),
                r#"{"subject":"A","text":"b"}"#.to_owned(),
            ),
            (r#"{"html":null,"replyTo":null}"#.to_owned(), "{}".to_owned()),
            (format!("{{\"html\":null,{rest}"), format!("{{{rest}")),
        ] {
            assert_eq!(compared(&payload), expected);
        }
        // The word, and what is null within a member, is said.
        for payload in
            [r#"{"text":"null"}"#, r#"{"variables":{"1":null}}"#, "null", "[null]", "not null", "{}"]
        {
            assert_eq!(compared(payload), payload);
        }
    }
}
