//! One answer to one field: what kinds there are, and whether a value is one.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::FormField;
use super::pattern::NotMatched;
use crate::decimal::Decimal;

/// Characters of a text for which the form says nothing.
pub const TEXT_MAX: usize = 4_000;
/// Characters of an e-mail address (RFC 5321, section 4.5.3.1: 64 before the sign, 255 after it).
const EMAIL_MAX: usize = 320;
/// Digits of a telephone number with its country code (ITU-T E.164).
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 4..=15;
/// Characters of a telephone number as people type it.
const PHONE_MAX: usize = 40;

/// What kind of answer a field takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// Words.
    Text,
    /// A number.
    Number,
    /// Yes or no.
    Boolean,
    /// A day.
    Date,
    /// One of the options.
    Select,
    /// Some of the options.
    Multiselect,
    /// An e-mail address.
    Email,
    /// A telephone number.
    Phone,
}

impl FieldType {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Text,
        Self::Number,
        Self::Boolean,
        Self::Date,
        Self::Select,
        Self::Multiselect,
        Self::Email,
        Self::Phone,
    ];

    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Select => "select",
            Self::Multiselect => "multiselect",
            Self::Email => "email",
            Self::Phone => "phone",
        }
    }

    /// Whether it needs options to choose from.
    pub const fn chooses(self) -> bool {
        matches!(self, Self::Select | Self::Multiselect)
    }
}

impl std::str::FromStr for FieldType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| format!("type must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// An answer that fits its field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To `text`, `email` and `phone`.
    Text(String),
    /// To `number`.
    Number(Decimal),
    /// To `boolean`.
    Boolean(bool),
    /// To `date`: `YYYY-MM-DD`.
    Date(String),
    /// To `select`.
    Option(String),
    /// To `multiselect`, in the order of the form's options.
    Options(Vec<String>),
}

/// Why a value is no answer to a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Misfit {
    /// A name for machines.
    pub code: &'static str,
    /// One sentence for people, without the value: it is personal.
    pub message: String,
}

fn misfit(code: &'static str, message: impl Into<String>) -> Misfit {
    Misfit { code, message: message.into() }
}

impl Answer {
    /// The answer that `value` is to `field`, its pattern left aside.
    pub fn read(field: &FormField, value: &Value) -> Result<Self, Misfit> {
        Self::read_with(field, value, &mut |_, _| Ok(true))
    }

    /// The same by somebody who knows whether a text matches the field's pattern.
    pub(super) fn read_with(field: &FormField, value: &Value, matches: Matches<'_>) -> Result<Self, Misfit> {
        match (field.kind, value) {
            (FieldType::Text, Value::String(text)) => text_of(field, text, matches).map(Self::Text),
            (FieldType::Number, Value::Number(number)) => {
                let number = Decimal::try_from(number)
                    .map_err(|_| misfit("OUT_OF_RANGE", "must be a number of at most 15 digits"))?;
                within(field, number).map(|()| Self::Number(number))
            }
            (FieldType::Boolean, Value::Bool(yes)) => Ok(Self::Boolean(*yes)),
            (FieldType::Date, Value::String(text)) => {
                let day = is_day(text).then(|| Self::Date(text.clone()));
                day.ok_or_else(|| misfit("WRONG_FORMAT", "must be a day of the calendar, YYYY-MM-DD"))
            }
            (FieldType::Select, Value::String(text)) => {
                option_of(field, text).map(|option| Self::Option(option.clone()))
            }
            (FieldType::Multiselect, Value::Array(values)) => several_of(field, values).map(Self::Options),
            (FieldType::Email, Value::String(text)) => is_email(text)
                .then(|| Self::Text(text.clone()))
                .ok_or_else(|| misfit("WRONG_FORMAT", "must be an e-mail address")),
            (FieldType::Phone, Value::String(text)) => is_phone(text)
                .then(|| Self::Text(text.clone()))
                .ok_or_else(|| misfit("WRONG_FORMAT", "must be a telephone number")),
            (kind, _) => Err(misfit("WRONG_TYPE", format!("must be {}", wanted(kind)))),
        }
    }

    /// As JSON, the way it was given.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Text(text) | Self::Date(text) | Self::Option(text) => text.as_str().into(),
            Self::Number(number) => Value::Number((*number).into()),
            Self::Boolean(yes) => (*yes).into(),
            Self::Options(chosen) => chosen.as_slice().into(),
        }
    }
}

const fn wanted(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Text => "a text",
        FieldType::Number => "a number, not the text of one",
        FieldType::Boolean => "true or false",
        FieldType::Date => "a day as text, YYYY-MM-DD",
        FieldType::Select => "one of the options, as text",
        FieldType::Multiselect => "a list of options",
        FieldType::Email => "an e-mail address, as text",
        FieldType::Phone => "a telephone number, as text",
    }
}

/// Whether a text matches a pattern, if there is room to find out.
pub(super) type Matches<'a> = &'a mut dyn FnMut(&str, &str) -> Result<bool, NotMatched>;

fn text_of(field: &FormField, text: &str, matches: Matches<'_>) -> Result<String, Misfit> {
    if text.is_empty() {
        return Err(misfit("TOO_SHORT", "must not be empty; null clears an answer"));
    }
    let max = field.max_length.map_or(TEXT_MAX, usize::from);
    if text.chars().count() > max {
        return Err(misfit("TOO_LONG", format!("must have at most {max} characters")));
    }
    match field.pattern.as_ref().map(|pattern| (pattern, matches(pattern, text))) {
        None | Some((_, Ok(true))) => Ok(text.to_owned()),
        Some((pattern, Ok(false))) => Err(misfit("WRONG_FORMAT", format!("must match {pattern}"))),
        Some((pattern, Err(NotMatched))) => Err(misfit(
            "TOO_MUCH_TO_MATCH",
            format!(
                "was not held against {pattern}: the texts of one call are too long together for their patterns; \
                 send fewer at a time, or shorter ones"
            ),
        )),
    }
}

fn within(field: &FormField, number: Decimal) -> Result<(), Misfit> {
    if let Some(min) = field.min.filter(|min| number < *min) {
        return Err(misfit("TOO_SMALL", format!("must be at least {min}")));
    }
    match field.max.filter(|max| number > *max) {
        Some(max) => Err(misfit("TOO_LARGE", format!("must be at most {max}"))),
        None => Ok(()),
    }
}

fn option_of<'a>(field: &'a FormField, text: &str) -> Result<&'a String, Misfit> {
    let found = field.options.iter().find(|option| *option == text);
    found.ok_or_else(|| misfit("NOT_ONE_OF", format!("must be one of {}", field.options.join(", "))))
}

fn several_of(field: &FormField, values: &[Value]) -> Result<Vec<String>, Misfit> {
    let mut chosen = vec![false; field.options.len()];
    for value in values {
        let Value::String(text) = value else {
            return Err(misfit("WRONG_TYPE", format!("must be {}", wanted(field.kind))));
        };
        let option = option_of(field, text)?;
        for (taken, known) in chosen.iter_mut().zip(&field.options) {
            if known == option && std::mem::replace(taken, true) {
                return Err(misfit("DUPLICATE", "must name each option once"));
            }
        }
    }
    if !chosen.contains(&true) {
        return Err(misfit("TOO_FEW_ITEMS", "must name at least one option; null clears an answer"));
    }
    let in_order = field.options.iter().zip(chosen).filter(|(_, chosen)| *chosen);
    Ok(in_order.map(|(option, _)| option.clone()).collect())
}

/// Whether the text is a day of the calendar in its one form, as `2026-02-28`.
pub fn is_day(text: &str) -> bool {
    let shape = text.len() == 10
        && text.bytes().enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    shape && text.parse::<jiff::civil::Date>().is_ok()
}

/// Something before the one sign and a name after it. Whether mail arrives there, nobody knows who only looks.
fn is_email(text: &str) -> bool {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '<' | '>' | ',' | ';');
    text.chars().count() <= EMAIL_MAX
        && text.chars().all(plain)
        && text.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.contains('@') && !domain.split('.').any(str::is_empty)
        })
}

fn is_phone(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let sign = |(index, c): (usize, char)| match c {
        '+' => index == 0,
        ' ' | '.' | '-' | '(' | ')' | '/' => true,
        _ => c.is_ascii_digit(),
    };
    PHONE_DIGITS.contains(&digits) && text.len() <= PHONE_MAX && text.chars().enumerate().all(sign)
}
