//! Match keys: what a record can be found by.
//!
//! Two records are compared only if they share a key. The key of an e-mail address, a phone number or an external id is
//! the value itself, normalised. A name is written in too many ways for that, so its keys are coarse: the sound of a
//! word and a letter or two of another. A shared name key proves nothing; it only brings two records to the scales.
//!
//! A key depends on its record alone, so the read side can store the keys of every contact (at most
//! [`KEYS_MAX`]) in an indexed column, and find the candidates for a thousand rows among a million contacts by
//! `key = ANY($1)`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{MatchOn, Options, Record, RowError};
use crate::normalise::name::{company_words, fold_name, is_generic, person_words};
use crate::normalise::{Email, Phone, normalise_email, normalise_phone};

/// The most keys that one record has: an e-mail address, a phone number, an external id and three of its names.
pub const KEYS_MAX: usize = 6;
/// Words of one name that are looked at. More are no name.
pub(super) const WORDS_MAX: usize = 12;
/// Letters of one word that are looked at.
const LETTERS_MAX: usize = 40;

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
    /// Words of the first name, then of the last name.
    pub person: Vec<String>,
    /// How many of `person` are of the first name.
    pub first_words: usize,
    pub company: Vec<String>,
    pub city: Vec<String>,
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
        let first = record.first_name.as_deref().unwrap_or_default();
        let last = record.last_name.as_deref().unwrap_or_default();
        let mut person = bounded(person_words(first), WORDS_MAX / 2);
        let first_words = person.len();
        person.extend(bounded(person_words(last), WORDS_MAX / 2));
        let company = company_words(record.company.as_deref().unwrap_or_default());
        let city = fold_name(record.city.as_deref().unwrap_or_default());
        Self {
            email,
            phone,
            external: written(record.external_id.as_deref()).map(str::to_owned),
            person,
            first_words,
            company: bounded(company, WORDS_MAX),
            city: bounded(city.split_whitespace().map(str::to_owned).collect(), WORDS_MAX),
            errors,
        }
    }

    /// Whether there is a value of this kind to match on.
    pub(super) fn has(&self, kind: MatchOn) -> bool {
        match kind {
            MatchOn::Email => self.email.is_some(),
            MatchOn::Phone => self.phone.is_some(),
            MatchOn::ExternalId => self.external.is_some(),
            MatchOn::NameCompany => !self.person.is_empty() || !self.company.is_empty(),
        }
    }

    pub(super) fn keys(&self) -> Vec<MatchKey> {
        let mut keys = Vec::with_capacity(KEYS_MAX);
        if let Some(email) = &self.email {
            keys.push(MatchKey(format!("email:{}", without_tag(email.key()))));
        }
        if let Some(phone) = &self.phone {
            keys.push(MatchKey(format!("phone:{}", phone.e164())));
        }
        if let Some(external) = &self.external {
            keys.push(MatchKey(format!("external:{external}")));
        }
        if self.person.is_empty() {
            self.company_keys(&mut keys);
        } else {
            self.person_keys(&mut keys);
        }
        keys
    }

    /// The sound of one name with the first letter of the other, both ways, so that swapped columns meet; and the sound
    /// of the surname with the city or the company, for where the first name is missing or another.
    fn person_keys(&self, keys: &mut Vec<MatchKey>) {
        let (first, last) = self.person.split_at(self.first_words);
        let given = first.first();
        let surname = last.last();
        let place = self.city.first().or_else(|| self.company.first());
        match (given, surname) {
            (Some(given), Some(surname)) => {
                push_name(keys, &sound(surname), initial(given));
                push_name(keys, &sound(given), initial(surname));
            }
            (Some(only), None) | (None, Some(only)) => push_name(keys, &sound(only), ""),
            (None, None) => return,
        }
        if let (Some(name), Some(place)) = (surname.or(given), place) {
            push_name(keys, &sound(name), &format!("@{}", sound(place)));
        }
    }

    /// The sounds of three words: the first one, which names a company more often than not, and the longest of the others.
    fn company_keys(&self, keys: &mut Vec<MatchKey>) {
        let mut words: Vec<&String> = self.company.iter().collect();
        if words.is_empty() {
            return;
        }
        // A word for a kind of business comes last. The sort is stable: equals stay in their order.
        words.sort_by_key(|word| is_generic(word));
        words[1..].sort_by_key(|word| (is_generic(word), std::cmp::Reverse(word.chars().count())));
        for word in words.into_iter().take(3) {
            push_name(keys, &sound(word), "+");
        }
    }
}

fn push_name(keys: &mut Vec<MatchKey>, sound: &str, other: &str) {
    let key = MatchKey(format!("name:{sound}|{other}"));
    if !keys.contains(&key) {
        keys.push(key);
    }
}

/// A bound on what is compared, since comparing two words takes time by the product of their lengths.
fn bounded(mut words: Vec<String>, count: usize) -> Vec<String> {
    words.truncate(count);
    for word in &mut words {
        if let Some((end, _)) = word.char_indices().nth(LETTERS_MAX) {
            word.truncate(end);
        }
    }
    words
}

fn written(value: Option<&str>) -> Option<&str> {
    value.map(str::trim).filter(|text| !text.is_empty())
}

fn without_tag(key: &str) -> String {
    match key.split_once('@') {
        Some((local, domain)) => match local.split_once('+') {
            Some((mailbox, _)) if !mailbox.is_empty() => format!("{mailbox}@{domain}"),
            _ => key.to_owned(),
        },
        None => key.to_owned(),
    }
}

fn initial(word: &str) -> &str {
    word.chars().next().map_or("", |c| &word[..c.len_utf8()])
}

/// Soundex without its cut at four signs, and with the first consonant coded like the others, so that `Katz` and `Cats`
/// meet. A word with less than two consonants is its own sound, and so is a number.
fn sound(word: &str) -> String {
    if word.bytes().any(|b| b.is_ascii_digit()) {
        return word.to_owned();
    }
    let mut out = String::with_capacity(8);
    let mut previous = None;
    for (place, letter) in word.chars().enumerate() {
        let class = match letter {
            'b' | 'f' | 'p' | 'v' => Some('1'),
            'c' | 'g' | 'j' | 'k' | 'q' | 's' | 'x' | 'z' => Some('2'),
            'd' | 't' => Some('3'),
            'l' => Some('4'),
            'm' | 'n' => Some('5'),
            'r' => Some('6'),
            'a' | 'e' | 'i' | 'o' | 'u' | 'y' => (place == 0).then_some('a'),
            'h' | 'w' => None,
            other => Some(other),
        };
        if let Some(class) = class.filter(|_| class != previous) {
            out.push(class);
        }
        previous = class;
    }
    if out.chars().count() < 2 { word.to_owned() } else { out }
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
    fn spellings_of_one_name_share_a_key() {
        for (one, other) in [
            (record("Jean", "Dupont", ""), record("JEAN", "Dupond", "")),
            (record("Jean", "Dupont", ""), record("Dupont", "Jean", "")),
            (record("Jean", "Dupont", ""), record("J.", "Dupont", "")),
            (record("Jean-Pierre", "Martin", ""), record("Jean", "Martin", "")),
            (record("Chloé", "Lefèvre", ""), record("Chloe", "Lefebvre", "")),
            (record("", "", "Acme SARL"), record("", "", "ACME")),
            (record("", "", "Hotel Bel-Air"), record("", "", "Bel-Air Hotel")),
            (record("", "", "Katz Restaurant"), record("", "", "Catz")),
        ] {
            let (one, other) = (keys(&one), keys(&other));
            assert!(one.iter().any(|key| other.contains(key)), "{one:?} {other:?}");
        }
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
