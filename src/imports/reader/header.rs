//! Recognises a column by its header.
//!
//! A header is reduced before it is compared: accents, case, punctuation, underscores and camel case are
//! dropped, and so are articles. `E-MAIL`, `e_mail`, `eMail` and `Email` are one header, and so are `N° de
//! téléphone` and `no telephone`.
//!
//! When that finds nothing, words that only say *whose* or *which* are dropped too, which is how address
//! books and other CRMs qualify their columns: `Work phone`, `Contact Email`, `E-mail 1 - Value`, `Ville
//! (bureau)`, `Mailing Country`. Nothing else is guessed: `Email type` and `Contact owner` stay custom
//! fields.

use std::collections::HashMap;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::field::{Field, KNOWN};

/// Words that change nothing: English and French articles and their like.
#[rustfmt::skip]
const ARTICLES: &[&str] = &[
    "the", "of", "a", "your", "my", "le", "la", "les", "l", "de", "du", "des", "d", "votre", "vos", "mon",
    "au",
];

/// What "n°" and its like are once the punctuation is gone.
const NUMBER: &[&str] = &["n", "no", "nr", "num", "numero", "number"];

/// Words that say whose or which, and not what.
#[rustfmt::skip]
const QUALIFIERS: &[&str] = &[
    "contact", "contacts", "person", "personne", "lead", "prospect", "customer", "client", "member", "membre",
    "subscriber", "work", "business", "professional", "professionnel", "professionnelle", "pro", "office",
    "bureau", "travail", "home", "personal", "perso", "personnel", "personnelle", "domicile", "private",
    "prive", "privee", "primary", "main", "principal", "principale", "preferred", "default", "secondary",
    "secondaire", "other", "autre", "direct", "directe", "alternate", "mailing", "billing", "shipping",
    "facturation", "livraison", "value", "valeur",
];

/// Headers that would pass for another field once their qualifier is dropped.
const NEVER: &[&str] = &["office name", "client name", "nom client"];

static SYNONYMS: LazyLock<HashMap<String, &'static Field>> = LazyLock::new(|| {
    KNOWN
        .iter()
        .flat_map(|known| {
            let headers = known.english.iter().chain(known.french);
            headers.map(|header| (key(&words(header)), &known.field))
        })
        .collect()
});

static EXCEPTIONS: LazyLock<Vec<String>> =
    LazyLock::new(|| NEVER.iter().map(|header| key(&words(header))).collect());

/// The field that a header means, if it is a known one.
pub(crate) fn recognise(header: &str) -> Option<Field> {
    let words = words(header);
    let whole = key(&words);
    if EXCEPTIONS.contains(&whole) {
        return None;
    }
    let unqualified = || {
        let qualifies =
            |word: &str| QUALIFIERS.contains(&word) || word.bytes().all(|byte| byte.is_ascii_digit());
        let kept: Vec<_> = words.iter().filter(|word| !qualifies(word)).cloned().collect();
        SYNONYMS.get(&key(&kept))
    };
    SYNONYMS.get(&whole).or_else(unqualified).map(|field| (*field).clone())
}

/// Whether two headers are the same but for spelling.
pub(super) fn same(one: &str, other: &str) -> bool {
    one == other || {
        let one = key(&words(one));
        !one.is_empty() && one == key(&words(other))
    }
}

/// Whether a header is nothing but "name" or "nom", which means the family name beside a column for first
/// names.
pub(super) fn is_bare_name(header: &str) -> bool {
    matches!(key(&words(header)).as_str(), "name" | "nom")
}

fn key(words: &[String]) -> String {
    let kept = words.iter().map(String::as_str).filter(|word| !ARTICLES.contains(word));
    kept.map(|word| if NUMBER.contains(&word) { "number" } else { word }).collect()
}

/// The words of a header: lower case, without accents, split at punctuation, camel case and digits.
fn words(header: &str) -> Vec<String> {
    #[derive(PartialEq, Clone, Copy)]
    enum Kind {
        Lower,
        Upper,
        Digit,
        Gap,
    }
    let kind = |c: char| match c {
        _ if c.is_numeric() => Kind::Digit,
        _ if c.is_uppercase() => Kind::Upper,
        _ if c.is_alphabetic() => Kind::Lower,
        _ => Kind::Gap,
    };
    let mut letters = Vec::with_capacity(header.len());
    for c in header.nfkd().filter(|c| !is_combining_mark(*c)) {
        match c {
            'œ' => letters.extend(['o', 'e']),
            'Œ' => letters.extend(['O', 'E']),
            'æ' => letters.extend(['a', 'e']),
            'Æ' => letters.extend(['A', 'E']),
            _ => letters.push(c),
        }
    }
    let mut words = Vec::new();
    let mut word = String::new();
    let mut before = Kind::Gap;
    for (at, c) in letters.iter().enumerate() {
        let this = kind(*c);
        let after = letters.get(at + 1).map_or(Kind::Gap, |c| kind(*c));
        let starts = match (before, this) {
            (_, Kind::Gap) => true,
            (Kind::Lower, Kind::Upper) => true,
            // The last capital of "HTMLPage" begins the next word.
            (Kind::Upper, Kind::Upper) => after == Kind::Lower,
            (Kind::Digit, Kind::Lower | Kind::Upper) | (Kind::Lower | Kind::Upper, Kind::Digit) => true,
            _ => false,
        };
        if starts && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if this != Kind::Gap {
            word.extend(c.to_lowercase());
        }
        before = this;
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_does_not_matter() {
        for (header, expected) in [
            ("E-MAIL", "email"),
            ("e_mail", "email"),
            ("eMail", "email"),
            (" Adresse  e-mail : ", "email"),
            ("FIRST_NAME", "firstName"),
            ("firstName", "firstName"),
            ("Prenom", "firstName"),
            ("PRÉNOM", "firstName"),
            ("pre\u{301}nom", "firstName"),
            ("N° de téléphone", "phone"),
            ("Nº téléphone", "phone"),
            ("№ de tél.", "phone"),
            ("Tél.", "phone"),
            ("ExternalID", "externalId"),
            ("HasOptedOutOfEmail", "doNotContact"),
            ("Nom de l’entreprise", "company"),
        ] {
            let field = recognise(header);
            assert_eq!(field.as_ref().map(Field::name), Some(expected), "{header}");
        }
    }

    #[test]
    fn a_qualifier_says_whose_column_it_is_and_not_what_it_means() {
        for (header, expected) in [
            ("Contact Email", "email"),
            ("Work phone", "phone"),
            ("E-mail 1 - Value", "email"),
            ("Phone 2", "phone"),
            ("Phone2", "phone"),
            ("Person - Email - Work", "email"),
            ("Téléphone (bureau)", "phone"),
            ("Téléphone professionnel", "phone"),
            ("Ville (domicile)", "city"),
            ("Business City", "city"),
            ("MailingCity", "city"),
            ("Address 1 - City", "city"),
            ("Default Address City", "city"),
            ("Mailing Zip/Postal Code", "postalCode"),
            ("Organization Name", "company"),
            ("Person - Name", "fullName"),
            ("Email du contact", "email"),
        ] {
            let field = recognise(header);
            assert_eq!(field.as_ref().map(Field::name), Some(expected), "{header}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        for header in [
            "",
            "   ",
            "#",
            "1",
            "Email type",
            "E-mail 1 - Label",
            "Email status",
            "Contact owner",
            "Owner email",
            "Lead source",
            "Fax",
            "Business Fax",
            "Account ID",
            "Company ID",
            "Username",
            "Client",
            "Work",
            "Title",
            "Birthday",
            "Last contacted",
            "Phone extension",
            "Created at",
            "Номер",
        ] {
            assert_eq!(recognise(header), None, "{header}");
        }
    }

    #[test]
    fn every_synonym_belongs_to_one_field() {
        let mut seen = HashMap::new();
        for known in &KNOWN {
            for header in known.english.iter().chain(known.french) {
                let earlier = seen.insert(key(&words(header)), known.field.name());
                assert!(earlier.is_none_or(|field| field == known.field.name()), "{header}");
                assert_eq!(recognise(header).as_ref(), Some(&known.field), "{header}");
            }
        }
    }
}
