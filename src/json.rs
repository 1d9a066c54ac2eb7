//! Reading JSON strictly.
//!
//! What two readers could understand differently is refused instead of guessed at: text that is not UTF-8, a key that
//! appears twice, numbers that do not survive a double, control characters, nesting without end. What comes out is
//! normalised: text in Unicode's form NFC, whole numbers as integers.

use std::cell::RefCell;
use std::fmt;

use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Levels of arrays and objects within each other, at most, where nothing else is said.
pub const DEPTH_MAX: usize = 32;
/// Whole numbers up to here mean the same to every reader (RFC 8259, section 6).
const SAFE: i64 = 1 << 53;

/// Why a text is not JSON as we take it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes are no text.
    #[error("the body is not UTF-8")]
    NotUtf8,
    /// The text is no JSON.
    #[error("the body is not JSON: line {line}, column {column}")]
    Syntax {
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
    },
    /// A key appears twice.
    #[error("key appears twice: {path}")]
    DuplicateKey {
        /// Of what.
        path: String,
    },
    /// Too many levels.
    #[error("nested deeper than {max} levels: {path}")]
    TooDeep {
        /// Where.
        path: String,
        /// The most there may be.
        max: usize,
    },
    /// A control character other than a tab or a line break.
    #[error("control character in the text of {path}")]
    ControlCharacter {
        /// Where.
        path: String,
    },
    /// A number that a double does not hold exactly.
    #[error("number is beyond 2^53: {path}")]
    NumberOutOfRange {
        /// Where.
        path: String,
    },
}

impl Fault {
    /// The name of the rule.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotUtf8 => "NOT_UTF8",
            Self::Syntax { .. } => "MALFORMED_JSON",
            Self::DuplicateKey { .. } => "DUPLICATE_KEY",
            Self::TooDeep { .. } => "TOO_DEEP",
            Self::ControlCharacter { .. } => "CONTROL_CHARACTER",
            Self::NumberOutOfRange { .. } => "NUMBER_OUT_OF_RANGE",
        }
    }

    /// Where in the value, as `input.filter.tags[0]`; empty where it is the whole text.
    pub fn path(&self) -> &str {
        match self {
            Self::NotUtf8 | Self::Syntax { .. } => "",
            Self::DuplicateKey { path }
            | Self::TooDeep { path, .. }
            | Self::ControlCharacter { path }
            | Self::NumberOutOfRange { path } => path,
        }
    }
}

/// The one value that the bytes hold.
pub fn read(bytes: &[u8]) -> Result<Value, Fault> {
    read_within(bytes, DEPTH_MAX)
}

/// The same with another limit of nesting. Beyond about 120 levels the parser itself gives up.
pub fn read_within(bytes: &[u8], depth_max: usize) -> Result<Value, Fault> {
    read_by(bytes, depth_max, false)
}

/// The same, with texts and numbers as they come: whoever reads on judges these.
pub fn read_shape(bytes: &[u8], depth_max: usize) -> Result<Value, Fault> {
    read_by(bytes, depth_max, true)
}

fn read_by(bytes: &[u8], depth_max: usize, any_scalar: bool) -> Result<Value, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::NotUtf8)?;
    let fault = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let strict = Strict { place: &Place::Root, depth: 0, depth_max, any_scalar, fault: &fault };
    let value = strict.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    value
        .map_err(|error| fault.take().unwrap_or(Fault::Syntax { line: error.line(), column: error.column() }))
}

/// Takes the white space off both ends of every text in the value, and leaves nothing of one that shows nothing; keys
/// stay as they are.
pub fn trim(value: &mut Value) {
    match value {
        Value::String(text) => {
            let trimmed = if is_blank(text) { "" } else { text.trim() };
            if trimmed.len() != text.len() {
                *text = trimmed.to_owned();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(trim),
        Value::Object(members) => members.values_mut().for_each(trim),
        Value::Null | Value::Bool(_) | Value::Number(_) => (),
    }
}

/// Whether a reader would see nothing: white space, and what Unicode calls default-ignorable, such as the zero-width space.
/// Within a text such characters have their uses (they join the parts of an emoji); alone they name nothing.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || is_ignorable(c))
}

/// Whether Unicode calls a character default-ignorable: nothing is shown for it.
pub fn is_ignorable(c: char) -> bool {
    !c.is_ascii() && CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// Where in the value the reader is; costs nothing until a fault needs it in words.
enum Place<'a> {
    Root,
    Key(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, key) => f.write_str(key),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

struct Strict<'a> {
    place: &'a Place<'a>,
    depth: usize,
    depth_max: usize,
    /// Whether texts and numbers are taken whatever they are.
    any_scalar: bool,
    fault: &'a RefCell<Option<Fault>>,
}

impl Strict<'_> {
    fn refuse<E: serde::de::Error>(&self, fault: Fault) -> E {
        self.fault.replace(Some(fault));
        E::custom("refused")
    }

    fn text<E: serde::de::Error>(&self, text: &str, place: &Place<'_>) -> Result<String, E> {
        let control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
        if !self.any_scalar && text.chars().any(control) {
            return Err(self.refuse(Fault::ControlCharacter { path: place.to_string() }));
        }
        Ok(if is_nfc(text) { text.to_owned() } else { text.nfc().collect() })
    }

    fn inner<'a>(&'a self, place: &'a Place<'a>) -> Strict<'a> {
        Strict { place, depth: self.depth + 1, ..*self }
    }

    fn deeper<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.depth < self.depth_max {
            Ok(())
        } else {
            Err(self.refuse(Fault::TooDeep { path: self.place.to_string(), max: self.depth_max }))
        }
    }

    fn out_of_range<E: serde::de::Error>(&self) -> E {
        self.refuse(Fault::NumberOutOfRange { path: self.place.to_string() })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        let taken = self.any_scalar || (-SAFE..=SAFE).contains(&value);
        if taken { Ok(value.into()) } else { Err(self.out_of_range()) }
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) if self.any_scalar => Ok(value.into()),
            Err(_) => Err(self.out_of_range()),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let beyond = !value.is_finite() || value.abs() > SAFE as f64;
        if beyond && self.any_scalar {
            return Ok(value.into());
        }
        if beyond {
            return Err(self.out_of_range());
        }
        if value.fract() == 0.0 {
            #[allow(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
            return Ok((value as i64).into());
        }
        Number::from_f64(value).map(Value::Number).ok_or_else(|| self.out_of_range())
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.text(value, self.place).map(Value::String)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        self.deeper()?;
        let mut items = Vec::new();
        loop {
            let place = Place::Index(self.place, items.len());
            match sequence.next_element_seed(self.inner(&place))? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        self.deeper()?;
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let place = Place::Key(self.place, &key);
            let name = self.text(&key, &place)?;
            if members.contains_key(&name) {
                let path = place.to_string();
                self.fault.replace(Some(Fault::DuplicateKey { path }));
                return Err(A::Error::custom("refused"));
            }
            let value = map.next_value_seed(self.inner(&place))?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_two_readers_could_understand_differently_is_refused() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for (text, code, path) in [
            ("", "MALFORMED_JSON", ""),
            ("{} {}", "MALFORMED_JSON", ""),
            ("\u{feff}{}", "MALFORMED_JSON", ""),
            ("{\"a\":1e400}", "MALFORMED_JSON", ""),
            ("{\"a\":NaN}", "MALFORMED_JSON", ""),
            (r#"{"a":"\ud800"}"#, "MALFORMED_JSON", ""),
            ("{\"a\":\"\u{0}\"}", "MALFORMED_JSON", ""),
            (r#"{"a":{"b":1,"b":2}}"#, "DUPLICATE_KEY", "a.b"),
            ("{\"\u{e9}\":1,\"e\u{301}\":2}", "DUPLICATE_KEY", "e\u{301}"),
            (r#"{"a":["ok","\u0000"]}"#, "CONTROL_CHARACTER", "a[1]"),
            (r#"{"a":"\u0085"}"#, "CONTROL_CHARACTER", "a"),
            (r#"{"a\u0007":1}"#, "CONTROL_CHARACTER", "a\u{7}"),
            (r#"{"a":9007199254740993}"#, "NUMBER_OUT_OF_RANGE", "a"),
            (r#"[-9007199254740993]"#, "NUMBER_OUT_OF_RANGE", "[0]"),
            (r#"[18446744073709551615]"#, "NUMBER_OUT_OF_RANGE", "[0]"),
            ("[1e17]", "NUMBER_OUT_OF_RANGE", "[0]"),
        ] {
            let fault = read(text.as_bytes()).unwrap_err();
            assert_eq!((fault.code(), fault.path()), (code, path), "{text}");
        }
        assert_eq!(read(b"\"\xff\"").unwrap_err(), Fault::NotUtf8);
        assert!(read(nested(32).as_bytes()).is_ok());
        assert_eq!(read(nested(33).as_bytes()).unwrap_err().code(), "TOO_DEEP");
        assert!(read_within(nested(96).as_bytes(), 96).is_ok());
        assert_eq!(read_within(nested(97).as_bytes(), 96).unwrap_err().code(), "TOO_DEEP");
    }

    #[test]
    fn what_is_read_is_normalised() {
        let value =
            read("{\"e\u{301}\": [25.0, -0.0, 1.5, true, null, \"e\u{301}\\n\"]}".as_bytes()).unwrap();
        assert_eq!(value, json!({"\u{e9}": [25, 0, 1.5, true, null, "\u{e9}\n"]}));
    }

    #[test]
    fn a_text_that_shows_nothing_is_no_text() {
        for text in
            ["\u{200b}", " \u{200b}\u{2060} ", "\u{ad}", "\u{3164}", "\u{feff}", "\u{e0061}", "\u{2067}"]
        {
            let mut value = json!({ "name": text });
            trim(&mut value);
            assert_eq!(value, json!({ "name": "" }), "{text:?}");
        }
        for text in ["\u{2764}\u{fe0f}", "\u{200b}a", "नमस्\u{200d}ते"] {
            let mut value = json!(text);
            trim(&mut value);
            assert_eq!(value, json!(text), "{text:?}");
        }
    }

    #[test]
    fn texts_are_trimmed_and_keys_are_not() {
        let mut value = json!({" a ": [" b\u{a0}", {"c": "d e"}]});
        trim(&mut value);
        assert_eq!(value, json!({" a ": ["b", {"c": "d e"}]}));
    }
}
