//! The words of a step for one contact: `{{firstName}}` in a text of the payload is replaced by what is known.
//!
//! Only texts are looked at, never the names of fields, so that what is known of a contact can change no more of a payload
//! than its words; in HTML it is escaped. A contact of whom a wanted field is not known gets no message that leaves a gap:
//! `{{firstName|there}}` says what to write instead, and where nothing is said the step is not taken.

use docket_aggregates::contact::ContactProfile;
use serde_json::Value;

/// The field of a payload whose text is HTML.
const HTML: &str = "html";
/// What a name of a column of the organization's own begins with.
const CUSTOM: &str = "custom.";

/// Why words cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// No contact has such a field.
    #[error(
        "{{{{{0}}}}} is not known; there are firstName, lastName, company, jobTitle, city, country, email, phone and custom.NAME"
    )]
    Unknown(String),
    /// It is opened and not closed.
    #[error("a placeholder is opened by {{{{ and not closed by }}}}")]
    Open,
    /// The contact has no such value, and nothing is said for that case.
    #[error("the contact has no {0}")]
    Missing(String),
}

/// Checks every placeholder of a payload.
pub fn check(payload: &Value) -> Result<(), WordsError> {
    each(payload, &mut |text| pieces(text).map(drop))
}

/// Whether every placeholder has something to stand for with this contact.
pub fn fit(payload: &Value, profile: &ContactProfile) -> Result<(), WordsError> {
    each(payload, &mut |text| {
        for piece in pieces(text)? {
            value(&piece, profile)?;
        }
        Ok(())
    })
}

/// The payload with every placeholder filled in.
pub fn fill(payload: &Value, profile: &ContactProfile) -> Result<Value, WordsError> {
    filled(payload, profile, false)
}

fn filled(payload: &Value, profile: &ContactProfile, html: bool) -> Result<Value, WordsError> {
    Ok(match payload {
        Value::String(text) => {
            let mut out = String::with_capacity(text.len());
            for piece in pieces(text)? {
                let value = value(&piece, profile)?;
                match piece {
                    Piece::Field { .. } if html => escape(value, &mut out),
                    Piece::Field { .. } | Piece::Text(_) => out.push_str(value),
                }
            }
            Value::String(out)
        }
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| filled(item, profile, html)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| Ok((name.clone(), filled(value, profile, html || name == HTML)?)))
                .collect::<Result<_, WordsError>>()?,
        ),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_)) => plain.clone(),
    })
}

fn each(payload: &Value, look: &mut impl FnMut(&str) -> Result<(), WordsError>) -> Result<(), WordsError> {
    match payload {
        Value::String(text) => look(text),
        Value::Array(items) => items.iter().try_for_each(|item| each(item, look)),
        Value::Object(fields) => fields.values().try_for_each(|value| each(value, look)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

enum Piece<'a> {
    Text(&'a str),
    Field { name: &'a str, otherwise: Option<&'a str> },
}

fn pieces(mut text: &str) -> Result<Vec<Piece<'_>>, WordsError> {
    let mut pieces = Vec::new();
    while let Some((before, rest)) = text.split_once("{{") {
        let (inside, after) = rest.split_once("}}").ok_or(WordsError::Open)?;
        // A placeholder within another one would go out with its braces.
        if inside.contains("{{") {
            return Err(WordsError::Open);
        }
        let (name, otherwise) = match inside.split_once('|') {
            Some((name, otherwise)) => (name.trim(), Some(otherwise.trim())),
            None => (inside.trim(), None),
        };
        if !is_field(name) {
            // It comes from the client: it is told back, but not without a bound.
            return Err(WordsError::Unknown(name.chars().take(100).collect()));
        }
        pieces.push(Piece::Text(before));
        pieces.push(Piece::Field { name, otherwise });
        text = after;
    }
    pieces.push(Piece::Text(text));
    Ok(pieces)
}

fn is_field(name: &str) -> bool {
    field(name, &ContactProfile::default()).is_some()
}

/// What is known under a name; none if there is no such name.
fn field<'a>(name: &str, profile: &'a ContactProfile) -> Option<Option<&'a str>> {
    let value = match name {
        "firstName" => &profile.first_name,
        "lastName" => &profile.last_name,
        "company" => &profile.company,
        "jobTitle" => &profile.job_title,
        "city" => &profile.city,
        "country" => &profile.country,
        "email" => &profile.email,
        "phone" => &profile.phone,
        _ => {
            let column = name.strip_prefix(CUSTOM).filter(|column| !column.is_empty())?;
            return Some(profile.custom.get(column).map(String::as_str));
        }
    };
    Some(value.as_deref())
}

fn value<'a>(piece: &Piece<'a>, profile: &'a ContactProfile) -> Result<&'a str, WordsError> {
    match piece {
        Piece::Text(text) => Ok(text),
        Piece::Field { name, otherwise } => field(name, profile)
            .flatten()
            .filter(|value| !value.trim().is_empty())
            .or(*otherwise)
            .ok_or_else(|| WordsError::Missing((*name).to_owned())),
    }
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ann() -> ContactProfile {
        ContactProfile {
            first_name: Some("Ann".into()),
            company: Some("<Lee & \"Sons\">".into()),
            custom: [("Plan".to_owned(), "gold".to_owned())].into(),
            ..ContactProfile::default()
        }
    }

    #[test]
    fn what_is_known_is_filled_in_and_nothing_else_changes() {
        for (text, filled) in [
            ("Hello {{firstName}}", "Hello Ann"),
            ("{{ firstName }}{{firstName}}!", "AnnAnn!"),
            ("Hello {{lastName|there}}", "Hello there"),
            ("Hello {{lastName|}}.", "Hello ."),
            ("{{custom.Plan}}", "gold"),
            ("no { braces } at }} all", "no { braces } at }} all"),
        ] {
            assert_eq!(fill(&json!({ "text": text }), &ann()), Ok(json!({ "text": filled })), "{text}");
        }
        let payload = json!({ "{{firstName}}": 1, "variables": ["{{firstName}}", 2, null, true] });
        let filled = json!({ "{{firstName}}": 1, "variables": ["Ann", 2, null, true] });
        assert_eq!(fill(&payload, &ann()), Ok(filled));
    }

    #[test]
    fn what_a_contact_is_called_cannot_write_html() {
        let payload = json!({ "html": "<p>{{company}}</p>", "text": "{{company}}" });
        let filled = json!({
            "html": "<p>&lt;Lee &amp; &quot;Sons&quot;&gt;</p>", "text": "<Lee & \"Sons\">",
        });
        assert_eq!(fill(&payload, &ann()), Ok(filled));
    }

    #[test]
    fn a_gap_is_never_sent() {
        let payload = json!({ "text": "Hello {{lastName}}" });
        let missing = Err(WordsError::Missing("lastName".into()));
        assert_eq!(fit(&payload, &ann()), missing);
        assert_eq!(fill(&payload, &ann()).map(drop), missing);
        assert_eq!(check(&payload), Ok(()));
    }

    #[test]
    fn what_is_no_placeholder_is_refused_when_it_is_written() {
        for (text, refusal) in [
            ("{{first_name}}", WordsError::Unknown("first_name".into())),
            ("{{}}", WordsError::Unknown(String::new())),
            ("{{custom.}}", WordsError::Unknown("custom.".into())),
            ("{{firstName", WordsError::Open),
            ("{{firstName}", WordsError::Open),
            ("{{firstName|{{lastName}}}}", WordsError::Open),
            ("{{firstName {{lastName}}", WordsError::Open),
        ] {
            assert_eq!(check(&json!({ "a": [{ "b": text }] })), Err(refusal), "{text}");
        }
    }
}
