//! Canonical JSON (RFC 8785): the one sequence of bytes for a value, whoever writes it.
//!
//! The ledger stores no fractions, so numbers are integers within 2^53 and their canonical form is their decimal
//! digits. Everything else that the chain hashes (a jsonb column gives keys back in its own order) is settled
//! here: keys sorted by UTF-16 code units, no white space, the shortest escapes.

use std::cmp::Ordering;
use std::fmt::Write;

use serde_json::Value;

/// Largest integer that every JSON reader keeps exactly: 2^53 - 1 (RFC 8785, section 3.2.2.3).
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// What cannot be written canonically.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCanonical {
    /// A fraction, or an integer beyond 2^53.
    #[error("{0} is not an integer within 2^53")]
    Number(String),
    /// Postgres does not store it.
    #[error("a string holds U+0000")]
    Nul,
}

/// The canonical bytes of `value`, as text.
pub fn to_string(value: &Value) -> Result<String, NotCanonical> {
    let mut out = String::with_capacity(256);
    write(value, &mut out)?;
    Ok(out)
}

/// The same for values that the ledger does not store, as inputs that are compared: fractions are allowed, in their
/// shortest digits.
pub fn with_fractions(value: &Value) -> Result<String, NotCanonical> {
    let mut out = String::with_capacity(256);
    write_numbers(value, Numbers::Any, &mut out)?;
    Ok(out)
}

/// The same for the object of these members.
pub fn object_with_fractions<'a>(
    members: impl IntoIterator<Item = (&'a String, &'a Value)>,
) -> Result<String, NotCanonical> {
    let mut out = String::with_capacity(256);
    write_object(members.into_iter().collect(), Numbers::Any, &mut out)?;
    Ok(out)
}

/// Which numbers are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Numbers {
    Exact,
    Any,
}

/// Appends the canonical bytes of `value`.
pub fn write(value: &Value, out: &mut String) -> Result<(), NotCanonical> {
    write_numbers(value, Numbers::Exact, out)
}

fn write_numbers(value: &Value, numbers: Numbers, out: &mut String) -> Result<(), NotCanonical> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => {
            let within = number.as_u64().is_some_and(|n| n <= INTEGER_MAX)
                || number.as_i64().is_some_and(|n| n.unsigned_abs() <= INTEGER_MAX);
            if !within && numbers == Numbers::Exact {
                return Err(NotCanonical::Number(number.to_string()));
            }
            let _ = write!(out, "{number}");
        }
        Value::String(text) => string(text, out)?,
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_numbers(item, numbers, out)?;
            }
            out.push(']');
        }
        Value::Object(fields) => write_object(fields.iter().collect(), numbers, out)?,
    }
    Ok(())
}

fn write_object(
    mut members: Vec<(&String, &Value)>,
    numbers: Numbers,
    out: &mut String,
) -> Result<(), NotCanonical> {
    members.sort_unstable_by(|(a, _), (b, _)| by_utf16(a, b));
    out.push('{');
    for (index, (name, member)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        string(name, out)?;
        out.push(':');
        write_numbers(member, numbers, out)?;
    }
    out.push('}');
    Ok(())
}

/// Appends a string in quotes with the shortest escapes.
pub fn string(text: &str, out: &mut String) -> Result<(), NotCanonical> {
    out.push('"');
    let mut plain_from = 0;
    for (index, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            0x08 => "\\b",
            0x09 => "\\t",
            0x0a => "\\n",
            0x0c => "\\f",
            0x0d => "\\r",
            0 => return Err(NotCanonical::Nul),
            0x01..=0x1f => "",
            _ => continue,
        };
        out.push_str(&text[plain_from..index]);
        if escape.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
        plain_from = index + 1;
    }
    out.push_str(&text[plain_from..]);
    out.push('"');
    Ok(())
}

/// UTF-16 order is byte order, except where a character beyond the basic plane meets U+E000 to U+FFFF.
fn by_utf16(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_sorted_as_rfc_8785_says() {
        // The example of RFC 8785, section 3.2.3, without its two fractions' values.
        let value = json!({
            "\u{20ac}": "Euro Sign", "\r": "Carriage Return", "\u{fb33}": "Hebrew Letter Dalet With Dagesh",
            "1": "One", "\u{1f600}": "Emoji: Grinning Face", "\u{80}": "Control", "\u{f6}": "Latin Small"
        });
        let text = to_string(&value).unwrap();
        let order: Vec<_> = ["\\r", "\"1\"", "\u{80}", "\u{f6}", "\u{20ac}", "\u{1f600}", "\u{fb33}"]
            .iter()
            .map(|key| text.find(key).unwrap())
            .collect();
        assert!(order.is_sorted(), "{text}");
    }

    #[test]
    fn escapes_are_the_shortest() {
        let value = json!("\u{20ac}$\u{f}\nA'B\"\\\\\"/\u{7f}");
        assert_eq!(to_string(&value).unwrap(), "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\u{7f}\"");
    }

    #[test]
    fn only_exact_integers_are_numbers() {
        for (number, text) in
            [(json!(0), "0"), (json!(-1), "-1"), (json!(9_007_199_254_740_991_u64), "9007199254740991")]
        {
            assert_eq!(to_string(&number).unwrap(), text);
        }
        for number in
            [json!(1.5), json!(9_007_199_254_740_992_u64), json!(-9_007_199_254_740_992_i64), json!(1e3)]
        {
            assert!(matches!(to_string(&number), Err(NotCanonical::Number(_))), "{number}");
        }
    }

    #[test]
    fn what_is_only_compared_may_hold_fractions() {
        let value = json!({ "b": [1.5, 0.1], "a": 2 });
        let text = r#"{"a":2,"b":[1.5,0.1]}"#;
        assert_eq!(with_fractions(&value).unwrap(), text);
        assert_eq!(object_with_fractions(value.as_object().into_iter().flatten()).unwrap(), text);
    }

    #[test]
    fn what_postgres_cannot_hold_is_refused() {
        assert_eq!(to_string(&json!(["a\u{0}b"])), Err(NotCanonical::Nul));
        assert_eq!(to_string(&json!({"a\u{0}": 1})), Err(NotCanonical::Nul));
    }
}
