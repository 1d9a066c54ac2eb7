//! Instants, to the millisecond.
//!
//! The ledger stores milliseconds, so a finer instant would not survive the round trip through Postgres and
//! the chain would not be recomputable. Truncating at the border keeps every instant inside comparable.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant in UTC with millisecond precision; written as RFC 3339 with exactly three decimals and `Z`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest instant that can be written as RFC 3339: year 0000.
    pub const MIN: Self = Self(-62_167_219_200_000);
    /// The latest instant that is within RFC 3339 in every time zone: the last but one day of the year 9999.
    pub const MAX: Self = Self(253_402_207_199_999);

    /// From milliseconds since 1970-01-01T00:00:00Z, held within the years 0000 to 9999.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// The same instant moved by `millis` milliseconds.
    pub fn plus_millis(self, millis: i64) -> Self {
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// For calendars and time zones.
    pub fn jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).expect("the years 0000 to 9999 are within jiff's range")
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(instant: jiff::Timestamp) -> Self {
        Self::from_millis(instant.as_millisecond())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.jiff())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not an RFC 3339 instant from [`Timestamp::MIN`] to [`Timestamp::MAX`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 instant from 0000-01-01T00:00:00Z to 9999-12-30T21:59:59Z")]
pub struct NotAnInstant;

impl FromStr for Timestamp {
    type Err = NotAnInstant;

    fn from_str(text: &str) -> Result<Self, NotAnInstant> {
        let instant: jiff::Timestamp = text.parse().map_err(|_| NotAnInstant)?;
        let millis = instant.as_millisecond();
        if (Self::MIN.0..=Self::MAX.0).contains(&millis) { Ok(Self(millis)) } else { Err(NotAnInstant) }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_written_with_three_decimals() {
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_millis(1_795_284_000_120).to_string(), "2026-11-21T18:00:00.120Z");
    }

    #[test]
    fn what_is_finer_than_a_millisecond_is_cut_off() {
        let parsed: Timestamp = "2026-11-21T19:00:00.123999+01:00".parse().unwrap();
        assert_eq!(parsed.to_string(), "2026-11-21T18:00:00.123Z");
    }

    #[test]
    fn the_borders_are_held() {
        assert_eq!(Timestamp::from_millis(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.to_string(), "0000-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-30T21:59:59.999Z");
        assert_eq!("yesterday".parse::<Timestamp>(), Err(NotAnInstant));
    }
}
