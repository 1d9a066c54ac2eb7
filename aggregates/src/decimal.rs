//! Numbers with a decimal point, exactly.
//!
//! The ledger stores no fractions: what is written in two ways by two writers cannot be hashed. A decimal is
//! therefore stored as the string of its shortest form, and has no more digits than every reader of JSON keeps.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Digits that a double keeps whatever they are (IEEE 754, section 5.12.2).
const DIGITS_MAX: usize = 15;

/// A number of at most 15 significant digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(rust_decimal::Decimal);

/// The text is no number, or one with more digits than are kept.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a number of at most 15 digits")]
pub struct NotADecimal;

impl FromStr for Decimal {
    type Err = NotADecimal;

    fn from_str(text: &str) -> Result<Self, NotADecimal> {
        let parsed = if text.contains(['e', 'E']) {
            rust_decimal::Decimal::from_scientific(text)
        } else {
            rust_decimal::Decimal::from_str_exact(text)
        };
        let number = parsed.map_err(|_| NotADecimal)?.normalize();
        let digits = number.to_string().bytes().filter(u8::is_ascii_digit).count();
        if digits <= DIGITS_MAX { Ok(Self(number)) } else { Err(NotADecimal) }
    }
}

impl TryFrom<&serde_json::Number> for Decimal {
    type Error = NotADecimal;

    fn try_from(number: &serde_json::Number) -> Result<Self, NotADecimal> {
        number.to_string().parse()
    }
}

impl From<i32> for Decimal {
    fn from(number: i32) -> Self {
        Self(number.into())
    }
}

impl From<Decimal> for serde_json::Number {
    /// As JSON writes it: a whole number without a point.
    fn from(decimal: Decimal) -> Self {
        decimal.to_string().parse().expect("the shortest form of at most 15 digits is a number in JSON")
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_number_is_kept_exactly_in_its_shortest_form() {
        for (given, kept) in [
            ("0", "0"),
            ("-0.0", "0"),
            ("1.50", "1.5"),
            ("1e3", "1000"),
            ("-2.5E-3", "-0.0025"),
            ("123456789012345", "123456789012345"),
        ] {
            assert_eq!(given.parse::<Decimal>().unwrap().to_string(), kept, "{given}");
        }
    }

    #[test]
    fn what_is_no_number_of_fifteen_digits_is_refused() {
        for given in
            ["", "x", "1,5", "NaN", "Infinity", "1e400", "1e-400", "1234567890123456", "0.1234567890123456"]
        {
            assert_eq!(given.parse::<Decimal>(), Err(NotADecimal), "{given}");
        }
    }

    #[test]
    fn a_number_survives_json() {
        for number in [json!(0), json!(-7), json!(1.5), json!(0.1), json!(90071992547409_i64)] {
            let Value::Number(number) = number else { unreachable!("the rows are numbers") };
            let decimal = Decimal::try_from(&number).unwrap();
            assert_eq!(serde_json::Number::from(decimal), number);
        }
    }

    #[test]
    fn it_is_stored_as_text() {
        let decimal: Decimal = "12.50".parse().unwrap();
        assert_eq!(serde_json::to_value(decimal).unwrap(), json!("12.5"));
        assert_eq!(serde_json::from_value::<Decimal>(json!("12.5")).unwrap(), decimal);
    }

    #[test]
    fn order_is_that_of_numbers() {
        let decimal = |text: &str| text.parse::<Decimal>().unwrap();
        assert!(decimal("9") < decimal("10") && decimal("-1.5") < decimal("-1.25"));
        assert_eq!(decimal("2.0"), Decimal::from(2));
    }
}
