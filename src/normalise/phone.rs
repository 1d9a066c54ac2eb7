//! Phone numbers in E.164, with an extension where one was written.
//!
//! `06 12 34 56 78` read in France, `+33612345678` and `0033612345678` are one number. A number is accepted when its
//! country's numbering plan could hold it by its length; whether it is in service is not asked, because plans change
//! faster than libraries do. This is the only file that knows the library.
//!
//! The library was chosen by measurement: 49 098 spellings of the example numbers of every region, read by Google's
//! own Python port and by two Rust ports. `rlibphonenumber` differed in 4 of them (a newer numbering plan of one
//! country), `phonenumber` in 1 632, and took half as long again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use rlibphonenumber::{
    NumberLengthType, PHONE_NUMBER_UTIL, ParseError, PhoneNumber, PhoneNumberFormat, Region, ValidationError,
};

/// A country by its ISO 3166-1 alpha-2 code, for numbers written without their country code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Country(Region);

/// A text is no country.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("country is no ISO 3166-1 code of two letters")]
pub struct CountryError;

impl FromStr for Country {
    type Err = CountryError;

    fn from_str(text: &str) -> Result<Self, CountryError> {
        let letters = text.len() == 2 && text.bytes().all(|b| b.is_ascii_alphabetic());
        let region = text.to_ascii_uppercase().parse::<Region>().map_err(|_| CountryError)?;
        let known = PHONE_NUMBER_UTIL.get_country_code_for_region(region).is_some();
        if letters && known { Ok(Self(region)) } else { Err(CountryError) }
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A number that could be dialled from abroad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone {
    e164: String,
    extension: Option<String>,
}

impl Phone {
    /// `+` and at most 15 digits, without the extension.
    #[must_use]
    pub fn e164(&self) -> &str {
        &self.e164
    }

    /// Digits to dial once connected.
    #[must_use]
    pub fn extension(&self) -> Option<&str> {
        self.extension.as_deref()
    }
}

impl fmt::Display for Phone {
    /// `+33123456789`, or `+33123456789;ext=12` (RFC 3966).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.e164)?;
        match &self.extension {
            Some(extension) => write!(f, ";ext={extension}"),
            None => Ok(()),
        }
    }
}

/// Why a text is no number that could be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum PhoneError {
    #[error("phone number is empty")]
    Empty,
    #[error("phone number is no number")]
    NotANumber,
    #[error("phone number has an unknown country code")]
    CountryCode,
    #[error("phone number is too short for its country")]
    TooShort,
    #[error("phone number is too long for its country")]
    TooLong,
    #[error("phone number has a length that its country does not use")]
    Length,
}

/// A cell longer than this holds no single number. The library refuses far later, at 250.
const INPUT_CHARS_MAX: usize = 100;

/// Words for an extension that the library does not know.
const EXTENSION_WORDS: [&str; 4] = ["poste", "durchwahl", "interno", "toestel"];
/// Words for an extension that it knows.
const KNOWN_EXTENSION_WORDS: [&str; 8] = ["ext", ";ext", "extn", "extension", "x", "#", "int", "anexo"];
/// Words before a number.
const LABELS: [&str; 8] = ["t", "tel", "tél", "telefon", "phone", "mob", "mobile", "whatsapp"];
/// With fewer digits before it, an `x` belongs to a name.
const NUMBER_DIGITS_MIN: usize = 7;

/// Reads one number. Without a country code it is a number of `default_country`.
pub fn normalise_phone(raw: &str, default_country: Country) -> Result<Phone, PhoneError> {
    let text = raw.trim();
    if text.is_empty() {
        return Err(PhoneError::Empty);
    }
    if text.chars().nth(INPUT_CHARS_MAX).is_some() {
        return Err(PhoneError::TooLong);
    }
    // The library knows fewer kinds of space than spreadsheets do.
    let text: String = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    let text = with_known_extension_word(&text);
    match read_as_written(&text, default_country) {
        // No plan holds the older form of a Mexican number any more, and WhatsApp knows people by it.
        Err(refusal) => match newer_form(&text) {
            Some(newer) => read_as_written(&newer, default_country).map_err(|_| refusal),
            None => Err(refusal),
        },
        read => read,
    }
}

/// Whether somebody who wrote this meant a telephone number, readable or not: digits of any script, with what stands between
/// them, perhaps a word before (`tel.`) and an extension behind.
pub fn is_meant_as_number(text: &str) -> bool {
    let between = |c: char| c.is_whitespace() || "+-./()".contains(c);
    let label_ends = text.find(|c: char| c.is_numeric() || c == '+').unwrap_or(text.len());
    let (label, rest) = text.split_at(label_ends);
    let letters = label.trim_end_matches([' ', '.', ':']);
    let is_label = label.chars().all(between)
        || (letters.len() < label.len() && LABELS.contains(&letters.to_lowercase().as_str()));
    let behind = rest.find(|c: char| !c.is_numeric() && !between(c)).unwrap_or(rest.len());
    let (number, extension) = rest.split_at(behind);
    let digits = number.chars().filter(|c| c.is_numeric()).count();
    let word = extension.trim_end_matches(|c: char| c.is_numeric() || " .:=".contains(c)).to_lowercase();
    let is_extension = extension.is_empty()
        || (digits >= NUMBER_DIGITS_MIN
            && (KNOWN_EXTENSION_WORDS.contains(&word.as_str()) || EXTENSION_WORDS.contains(&word.as_str())));
    is_label && digits > 0 && is_extension
}

/// What `+52 1 …` is written as since 2019, where the text is that.
fn newer_form(text: &str) -> Option<String> {
    let text = text.strip_prefix("tel:").unwrap_or(text);
    let international = text.strip_prefix('+').or_else(|| text.strip_prefix("00"))?;
    let mut rest = international;
    for expected in ['5', '2', '1'] {
        rest = rest.trim_start_matches(|c: char| !c.is_alphanumeric()).strip_prefix(expected)?;
    }
    Some(format!("+52{rest}"))
}

/// Reads one number as it stands.
fn read_as_written(text: &str, default_country: Country) -> Result<Phone, PhoneError> {
    match read(text, default_country) {
        Ok(phone) => Ok(phone),
        // `00` dials abroad from most countries, and people write it whatever their own country dials.
        Err(refusal) => match text.strip_prefix("00") {
            Some(rest) => read(&format!("+{rest}"), default_country).map_err(|_| refusal),
            None => Err(refusal),
        },
    }
}

/// The country that a list of numbers is most likely from: the country of most of those that say theirs, and the one
/// whose numbering plan holds most of the others. France if nothing tells.
///
/// For reading a file whose country nobody gave; never to refuse a number. Looks at the first 400.
#[must_use]
pub fn guess_country<'a>(numbers: impl Iterator<Item = &'a str>) -> Country {
    const SAMPLE: usize = 400;
    // Numbers of one country often exist in another as well, so that a lead of one in fifty decides nothing;
    // among the leaders the first of these wins.
    const LIKELIEST: [Region; 8] =
        [Region::FR, Region::US, Region::GB, Region::DE, Region::ES, Region::IT, Region::AU, Region::IN];
    let mut home: Vec<&str> = Vec::new();
    let mut votes: HashMap<Region, usize> = HashMap::new();
    for number in numbers.map(str::trim).take(SAMPLE) {
        let abroad = number.strip_prefix("00").map(|rest| format!("+{rest}"));
        let international = abroad.as_deref().unwrap_or(number);
        let said = PHONE_NUMBER_UTIL
            .parse(international, None)
            .ok()
            .and_then(|parsed| PHONE_NUMBER_UTIL.get_region_for_number(&parsed));
        match said {
            Some(region) => *votes.entry(region).or_default() += 1,
            None => home.push(number),
        }
    }
    for region in PHONE_NUMBER_UTIL.get_supported_regions() {
        let held = home.iter().filter(|number| {
            PHONE_NUMBER_UTIL
                .parse(number, Some(region))
                .is_ok_and(|parsed| PHONE_NUMBER_UTIL.is_valid_number_for_region(&parsed, region))
        });
        *votes.entry(region).or_default() += held.count();
    }
    let most = votes.values().copied().max().unwrap_or(0);
    let leads = |region: &Region| votes.get(region).is_some_and(|votes| votes * 50 >= most * 49);
    let mut leaders: Vec<Region> = votes.keys().copied().filter(leads).collect();
    leaders.sort_by_key(ToString::to_string);
    let likeliest = LIKELIEST.into_iter().find(leads);
    Country(likeliest.or_else(|| leaders.first().copied()).unwrap_or(Region::FR))
}

fn with_known_extension_word(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_alphabetic) {
        return Cow::Borrowed(text);
    }
    let lower = text.to_lowercase();
    for word in EXTENSION_WORDS {
        if let Some((number, extension)) = lower.split_once(word) {
            return Cow::Owned(format!(
                "{} ext. {}",
                number.trim_end(),
                extension.trim_start_matches([' ', '.', ':'])
            ));
        }
    }
    Cow::Borrowed(text)
}

fn read(text: &str, country: Country) -> Result<Phone, PhoneError> {
    let number = PHONE_NUMBER_UTIL.parse(text, Some(country.0)).map_err(|err| match err {
        ParseError::InvalidCountryCode => PhoneError::CountryCode,
        ParseError::NotANumber(_) => PhoneError::NotANumber,
        ParseError::TooShortAfterIdd | ParseError::TooShortNsn => PhoneError::TooShort,
        ParseError::TooLongNsn => PhoneError::TooLong,
    })?;
    dialable(&number)?;
    let e164 = PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::E164).into_owned();
    let extension = number.extension.filter(|digits| !digits.is_empty());
    Ok(Phone { e164, extension })
}

fn dialable(number: &PhoneNumber) -> Result<(), PhoneError> {
    match PHONE_NUMBER_UTIL.is_possible_number_with_reason(number) {
        Ok(NumberLengthType::IsPossible) => Ok(()),
        Ok(NumberLengthType::IsPossibleLocalOnly) | Err(ValidationError::TooShort) => {
            Err(PhoneError::TooShort)
        }
        Err(ValidationError::TooLong) => Err(PhoneError::TooLong),
        Err(ValidationError::InvalidCountryCode) => Err(PhoneError::CountryCode),
        Err(_) => Err(PhoneError::Length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn country(code: &str) -> Country {
        code.parse().unwrap()
    }

    #[test]
    fn spellings_of_one_number_are_one_number() {
        for (home, raw, expected) in [
            ("FR", "06 12 34 56 78", "+33612345678"),
            ("FR", "+33612345678", "+33612345678"),
            ("FR", "0033612345678", "+33612345678"),
            ("FR", "0033 6 12 34 56 78", "+33612345678"),
            ("FR", "+33 (0)6.12.34.56.78", "+33612345678"),
            ("FR", "06\u{00A0}12\u{202F}34\u{2009}56-78", "+33612345678"),
            ("FR", "０６１２３４５６７８", "+33612345678"),
            ("FR", "٠٦١٢٣٤٥٦٧٨", "+33612345678"),
            ("FR", "Tél. : 06 12 34 56 78", "+33612345678"),
            ("FR", "tel:+33-6-12-34-56-78", "+33612345678"),
            ("US", "310/246-1501", "+13102461501"),
            ("US", "(310) 246-1501", "+13102461501"),
            ("US", "1-310-246-1501", "+13102461501"),
            ("US", "0033612345678", "+33612345678"),
            ("US", "001-310-246-1501", "+13102461501"),
            ("GB", "+33 6 12 34 56 78", "+33612345678"),
            ("IT", "06 1234 5678", "+390612345678"),
            ("FR", "01 23 45 67 89 ext. 12", "+33123456789;ext=12"),
            ("FR", "01 23 45 67 89 poste 12", "+33123456789;ext=12"),
            ("FR", "01 23 45 67 89 Poste: 12", "+33123456789;ext=12"),
            ("US", "310-246-1501 x7", "+13102461501;ext=7"),
            ("US", "310-246-1501 #7", "+13102461501;ext=7"),
            ("FR", "+52 1 55 1234 5678", "+525512345678"),
            ("FR", "+5215512345678", "+525512345678"),
            ("MX", "00 52 (1) 55 1234 5678", "+525512345678"),
        ] {
            let phone = normalise_phone(raw, country(home)).map(|phone| phone.to_string());
            assert_eq!(phone.as_deref(), Ok(expected), "{raw:?} in {home}");
        }
    }

    #[test]
    fn what_cannot_be_dialled_is_refused() {
        let endless = "0".repeat(10_000);
        for (raw, refusal) in [
            ("", PhoneError::Empty),
            (" \u{00A0}", PhoneError::Empty),
            ("unknown", PhoneError::NotANumber),
            ("+", PhoneError::NotANumber),
            ("-", PhoneError::NotANumber),
            ("06 12", PhoneError::TooShort),
            ("06 12 34 56 78 90 12", PhoneError::TooLong),
            ("+52 1 55 1234 5678 9", PhoneError::TooLong),
            ("+999 123 456 789", PhoneError::CountryCode),
            (endless.as_str(), PhoneError::TooLong),
        ] {
            assert_eq!(normalise_phone(raw, country("FR")), Err(refusal), "{raw:?}");
        }
    }

    #[test]
    fn a_country_is_two_letters_of_iso_3166() {
        assert_eq!(country("fr").to_string(), "FR");
        for code in ["", "F", "FRA", "ZZ", "33", "001", "é", "F "] {
            assert_eq!(code.parse::<Country>(), Err(CountryError), "{code:?}");
        }
    }

    #[test]
    fn a_list_of_numbers_tells_its_country() {
        for (numbers, home) in [
            (vec!["310/246-1501", "818-762-1221", "212/315-1726"], "US"),
            (vec!["01 42 68 53 00", "06 12 34 56 78", "05 56 00 60 66"], "FR"),
            (vec!["07700 900123", "+44 20 7946 0018", "020 7946 0018"], "GB"),
            (vec!["030 901820", "0049 89 23300", "+49 40 428280"], "DE"),
            (vec!["none", ""], "FR"),
            (vec![], "FR"),
        ] {
            assert_eq!(guess_country(numbers.iter().copied()), country(home), "{numbers:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics_and_a_kept_number_reads_as_itself(raw in "[+0-9 ().x-]{0,30}|.{0,30}") {
            if let Ok(phone) = normalise_phone(&raw, country("FR")) {
                let again = normalise_phone(phone.e164(), country("US"));
                proptest::prop_assert_eq!(again.map(|p| p.e164().to_owned()), Ok(phone.e164().to_owned()));
            }
        }
    }
}
