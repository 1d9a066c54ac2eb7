//! Values about a person.
//!
//! An aggregate sees a personal value as known or not known any more, and stays pure; the ledger seals every
//! one of them under the key of its subject before it is stored. In memory the value stands in the payload as
//! `{"$personal": {"subject": id, "value": …}}`, in the ledger as `{"$sealed": {"subject": id, "box": …}}`;
//! an event has at most one personal value for each subject, so that a box can be bound to its event and
//! subject alone.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::SubjectId;

/// The key of an open personal value within a payload.
pub const OPEN: &str = "$personal";
/// The key of a sealed personal value within a payload.
pub const SEALED: &str = "$sealed";

/// A value about `subject`: known, or not known because the subject was erased or the reader has no keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Personal<T> {
    subject: SubjectId,
    value: Option<T>,
}

impl<T> Personal<T> {
    /// A known value about `subject`.
    pub fn known(subject: impl Into<SubjectId>, value: T) -> Self {
        Self { subject: subject.into(), value: Some(value) }
    }

    /// What is left after an erasure: who, but not what.
    pub fn erased(subject: impl Into<SubjectId>) -> Self {
        Self { subject: subject.into(), value: None }
    }

    /// Whom the value is about.
    pub fn subject(&self) -> SubjectId {
        self.subject
    }

    /// The value, while it is known.
    pub fn value(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Another value about the same subject.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Personal<U> {
        Personal { subject: self.subject, value: self.value.map(f) }
    }

    /// The value, while it is known.
    pub fn into_value(self) -> Option<T> {
        self.value
    }
}

/// Never shows the value: a personal value must not reach a log by way of `{:?}`.
impl<T> fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.value.is_some() { "known" } else { "erased" };
        write!(f, "Personal({}, {state})", self.subject)
    }
}

#[derive(Serialize, Deserialize)]
struct Open<T> {
    subject: SubjectId,
    value: Option<T>,
}

#[derive(Deserialize)]
struct Sealed {
    subject: SubjectId,
}

impl<T: Serialize> Serialize for Personal<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Form<'a, T> {
            #[serde(rename = "$personal")]
            open: Open<&'a T>,
        }
        Form { open: Open { subject: self.subject, value: self.value.as_ref() } }.serialize(serializer)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Personal<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        enum Form<T> {
            #[serde(rename = "$personal")]
            Open(Open<T>),
            #[serde(rename = "$sealed")]
            Sealed(Sealed),
        }
        Ok(match Form::<T>::deserialize(deserializer)? {
            Form::Open(Open { subject, value }) => Self { subject, value },
            Form::Sealed(Sealed { subject }) => Self { subject, value: None },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use uuid::Uuid;

    const WHO: SubjectId = SubjectId(Uuid::from_u128(7));

    #[test]
    fn a_known_value_survives_its_own_form() {
        let value = Personal::known(WHO, "Ada".to_owned());
        let form = serde_json::to_value(&value).unwrap();
        assert_eq!(form, json!({"$personal": {"subject": WHO, "value": "Ada"}}));
        assert_eq!(serde_json::from_value::<Personal<String>>(form).unwrap(), value);
    }

    #[test]
    fn a_sealed_value_reads_as_erased() {
        let sealed = json!({"$sealed": {"subject": WHO, "box": "AAAA"}});
        assert_eq!(serde_json::from_value::<Personal<String>>(sealed).unwrap(), Personal::erased(WHO));
    }

    #[test]
    fn debug_output_does_not_show_the_value() {
        assert!(!format!("{:?}", Personal::known(WHO, "Ada")).contains("Ada"));
    }
}
