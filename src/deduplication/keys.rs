//! Match keys: what a record can be found by.
//!
//! Two records are compared only if they share a key. The key of an e-mail address, a phone number or an external id is
//! the value itself, normalised. Those of a name are coarse, and made by `docket_projections::name_keys`.
//!
//! A key depends on its record alone, so the read side stores the keys of every contact (at most [`KEYS_MAX`]) in
//! indexed columns, and finds the candidates for a thousand rows among a million contacts.

use std::fmt;

use docket_aggregates::contact::one_form;
use docket_projections::name_keys::{self, NameWords};
use docket_projections::searchable::without_tag;
use serde::{Deserialize, Serialize};

use super::{MatchOn, Options, Record, RowError};
use crate::normalise::{Email, Phone, normalise_email, normalise_phone};

/// The most keys that one record has: an e-mail address, a phone number, an external id and those of its names.
pub const KEYS_MAX: usize = 3 + name_keys::KEYS_MAX;

/// A key, as text that says what it is of: `email:ann@example.com`, `name:d153|j`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MatchKey(String);

impl MatchKey {
    /// The text to store and to look up.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the key is of.
    #[must_use]
    pub fn match_on(&self) -> MatchOn {
        match self.0.split_once(':') {
            Some(("email", _)) => MatchOn::Email,
            Some(("phone", _)) => MatchOn::Phone,
            Some(("external", _)) => MatchOn::ExternalId,
            _ => MatchOn::NameCompany,
        }
    }
}

impl fmt::Display for MatchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All keys of a record, at most [`KEYS_MAX`], whatever `options.match_on` asks for: filter by [`MatchKey::match_on`].
///
/// `options.normalize_plus_tags` is not read either: keys never hold the tag, so that one stored key serves both.
#[must_use]
pub fn match_keys(record: &Record, options: &Options) -> Vec<MatchKey> {
    Normal::read(record, options).keys()
}

/// A record whose values were read once. Both the keys and the columns are made of it.
pub(super) struct Normal {
    pub email: Option<Email>,
    pub phone: Option<Phone>,
    pub external: Option<String>,
    pub names: NameWords,
    /// Why an e-mail address or a phone number is absent although something was written.
    pub errors: Vec<RowError>,
}

impl Normal {
    pub(super) fn read(record: &Record, options: &Options) -> Self {
        let mut errors = Vec::new();
        let email = written(record.email.as_deref()).and_then(|raw| {
            normalise_email(raw, options.normalize_plus_tags).map_err(|err| errors.push(err.into())).ok()
        });
        let phone = written(record.phone.as_deref()).and_then(|raw| {
            normalise_phone(raw, options.default_country).map_err(|err| errors.push(err.into())).ok()
        });
        let names = NameWords::read(
            record.first_name.as_deref(),
            record.last_name.as_deref(),
            record.company.as_deref(),
            record.city.as_deref(),
        );
        Self {
            email,
            phone,
            external: written(record.external_id.as_deref()).map(str::to_owned),
            names,
            errors,
        }
    }

    /// Whether there is a value of this kind to match on.
    pub(super) fn has(&self, kind: MatchOn) -> bool {
        match kind {
            MatchOn::Email => self.email.is_some(),
            MatchOn::Phone => self.phone.is_some(),
            MatchOn::ExternalId => self.external.is_some(),
            MatchOn::NameCompany => !self.names.person.is_empty() || !self.names.company.is_empty(),
        }
    }

    pub(super) fn keys(&self) -> Vec<MatchKey> {
        let mut keys = Vec::with_capacity(KEYS_MAX);
        if let Some(email) = &self.email {
            keys.push(MatchKey(format!("email:{}", without_tag(email.key()))));
        }
        if let Some(phone) = &self.phone {
            keys.push(MatchKey(format!("phone:{}", one_form(phone.e164()))));
        }
        if let Some(external) = &self.external {
            keys.push(MatchKey(format!("external:{external}")));
        }
        keys.extend(self.names.keys().into_iter().map(MatchKey));
        keys
    }
}

fn written(value: Option<&str>) -> Option<&str> {
    value.map(str::trim).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::{Options, Record, RecordKey};
    use super::*;

    fn record(first: &str, last: &str, company: &str) -> Record {
        Record {
            first_name: Some(first.into()),
            last_name: Some(last.into()),
            company: Some(company.into()),
            ..Record::empty(RecordKey::Row(0))
        }
    }

    fn keys(record: &Record) -> Vec<MatchKey> {
        match_keys(record, &Options::new("FR".parse().unwrap()))
    }

    #[test]
    fn keys_say_what_they_are_of_and_never_hold_a_tag() {
        let record = Record {
            email: Some("Ann+news@X.com".into()),
            phone: Some("01 23 45 67 89 poste 4".into()),
            external_id: Some(" 42 ".into()),
            city: Some("Paris".into()),
            ..record("Ann", "Lee", "Acme")
        };
        let keys = keys(&record);
        let texts: Vec<_> = keys.iter().map(MatchKey::as_str).collect();
        let expected = [
            "email:ann@x.com",
            "phone:+33123456789",
            "external:42",
            "name:lee|a",
            "name:a5|l",
            "name:lee|@162",
        ];
        assert_eq!(texts, expected);
        assert!(keys.len() <= KEYS_MAX);
        assert_eq!(keys[0].match_on(), MatchOn::Email);
        assert_eq!(keys[1].match_on(), MatchOn::Phone);
        assert_eq!(keys[2].match_on(), MatchOn::ExternalId);
        assert_eq!(keys[3].match_on(), MatchOn::NameCompany);
    }

    #[test]
    fn a_record_without_a_readable_value_has_no_key() {
        let record =
            Record { email: Some("nobody".into()), phone: Some("12".into()), ..record(" ", "—", "!") };
        assert_eq!(keys(&record), []);
    }
}
