//! What text is found by.
//!
//! Searching ignores case and accents; it never mixes scripts, so that a Cyrillic letter that looks like a Latin
//! one does not match it. Equality of addresses is exact after lower-casing. A key is a hash: the same for the
//! same value for ever, narrow in an index, and the same size for every value.

use std::borrow::Cow;

use docket_aggregates::contact::{ContactProfile, account, one_form, without_extension};
use docket_aggregates::ids::OrganizationId;
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use uuid::Uuid;

use crate::name_keys::NameWords;

/// The text in small letters, without accents, with single spaces.
pub fn folded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut gap = false;
    if text.is_ascii() {
        for byte in text.bytes() {
            push(&mut out, &mut gap, char::from(byte.to_ascii_lowercase()));
        }
        return out;
    }
    for c in text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase) {
        match letters(c) {
            Some(letters) => letters.chars().for_each(|c| push(&mut out, &mut gap, c)),
            None if is_combining_mark(c) => (),
            None => push(&mut out, &mut gap, c),
        }
    }
    out
}

fn push(out: &mut String, gap: &mut bool, c: char) {
    if c.is_whitespace() {
        *gap = !out.is_empty();
    } else {
        if std::mem::take(gap) {
            out.push(' ');
        }
        out.push(c);
    }
}

/// Letters that carry their accent inside, as they are commonly written without it.
const fn letters(c: char) -> Option<&'static str> {
    Some(match c {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'ł' => "l",
        'þ' => "th",
        'ı' => "i",
        'ħ' => "h",
        '’' | 'ʼ' => "'",
        _ => return None,
    })
}

/// The fields joined so that a search never reaches from one into the next.
pub(crate) fn search_text<'a>(fields: impl IntoIterator<Item = Option<&'a str>>) -> String {
    let mut out = String::new();
    for field in fields.into_iter().flatten() {
        let field = folded(field);
        if !field.is_empty() {
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(&field);
        }
    }
    out
}

/// `text` as a literal within a `LIKE` pattern, whose escape character is the backslash.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Patterns that find what a person typed: anywhere in the text, and the digits alone where a phone number was
/// typed in its national form. None when there is nothing to look for.
pub(crate) fn patterns(search: &str) -> Option<Vec<String>> {
    let wanted = folded(search);
    if wanted.is_empty() {
        return None;
    }
    let mut patterns = vec![format!("%{}%", escaped(&wanted))];
    let punctuation = |c: char| matches!(c, ' ' | '.' | '-' | '(' | ')' | '/' | '+');
    if wanted.chars().all(|c| c.is_ascii_digit() || punctuation(c)) {
        let digits: String = wanted.chars().filter(char::is_ascii_digit).collect();
        let digits = digits.trim_start_matches('0');
        if digits.len() >= 4 && digits != wanted {
            patterns.push(format!("%{digits}%"));
        }
    }
    Some(patterns)
}

/// Under what a contact is looked for when another may be the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MatchKeys {
    /// Of the e-mail address.
    pub email: Option<Uuid>,
    /// Of the phone number.
    pub phone: Option<Uuid>,
    /// Of the id in the system that the contact came from.
    pub external: Option<Uuid>,
}

impl MatchKeys {
    /// The keys of whoever has this address or number.
    pub fn of_address(text: &str) -> Self {
        if text.contains('@') {
            Self { email: email_key(text), ..Self::default() }
        } else {
            Self { phone: phone_key(text), ..Self::default() }
        }
    }

    /// The keys of what is known of a contact.
    pub fn of(profile: &ContactProfile) -> Self {
        Self {
            email: profile.email.as_deref().and_then(email_key),
            phone: profile.phone.as_deref().and_then(phone_key),
            external: profile.external_id.as_deref().and_then(external_key),
        }
    }
}

/// The key of an e-mail address; upper and lower case are the same.
pub fn email_key(email: &str) -> Option<Uuid> {
    key("email", &email.trim().to_lowercase())
}

/// The key of a phone number in E.164, with its extension if it has one; the forms that it has in its country are the same.
pub fn phone_key(phone: &str) -> Option<Uuid> {
    let phone = phone.trim();
    let number = without_extension(phone);
    key("phone", &format!("{}{}", one_form(number), &phone[number.len()..]))
}

/// The key of an id of another system. Upper and lower case are two ids: systems that number in letters count both.
pub fn external_key(external_id: &str) -> Option<Uuid> {
    key("external", external_id.trim())
}

/// An e-mail address without its `+tag`: the mailbox that it is delivered to, with most providers.
pub fn without_tag(email: &str) -> Cow<'_, str> {
    let untagged = email.split_once('@').and_then(|(local, domain)| {
        let (mailbox, _) = local.split_once('+').filter(|(mailbox, _)| !mailbox.is_empty())?;
        Some(format!("{mailbox}@{domain}"))
    });
    untagged.map_or(Cow::Borrowed(email), Cow::Owned)
}

/// The keys of a contact that stand in no column of their own: those of its name, the mailbox of a tagged address, the number
/// of one with an extension, and its accounts. A key is a hash that begins with the organization, so that one index serves them
/// all and nobody meets another's.
pub fn stored_keys(organization: OrganizationId, profile: &ContactProfile) -> Vec<i64> {
    let names = NameWords::read(
        profile.first_name.as_deref(),
        profile.last_name.as_deref(),
        profile.company.as_deref(),
        profile.city.as_deref(),
    );
    let mut keys: Vec<i64> = names.keys().iter().map(|key| stored_key(organization, key)).collect();
    if let Some(email) = profile.email.as_deref().map(|email| email.trim().to_lowercase())
        && let Cow::Owned(mailbox) = without_tag(&email)
    {
        keys.push(mailbox_key(organization, &mailbox));
    }
    let extended = profile.phone.as_deref().filter(|phone| without_extension(phone) != *phone);
    keys.extend(extended.map(|phone| number_key(organization, phone)));
    keys.extend(profile.accounts().filter_map(|account| account_key(organization, account)));
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The stored form of a name's key.
pub fn stored_key(organization: OrganizationId, key: &str) -> i64 {
    let digest = digest(&[organization.uuid().as_bytes(), key.as_bytes()]);
    let (high, _) = digest.as_u64_pair();
    high.cast_signed()
}

/// The key under which contacts are found whose address is this mailbox with a tag. `email` may have a tag itself.
pub fn mailbox_key(organization: OrganizationId, email: &str) -> i64 {
    let email = email.trim().to_lowercase();
    stored_key(organization, &format!("email:{}", without_tag(&email)))
}

/// The key under which contacts are found that have this number with an extension. `phone` may have one itself.
pub fn number_key(organization: OrganizationId, phone: &str) -> i64 {
    let number = one_form(without_extension(phone.trim()));
    stored_key(organization, &format!("phone:{number}"))
}

/// The key under which contacts are found that have this account, however it is written; none where the text is no account.
pub fn account_key(organization: OrganizationId, text: &str) -> Option<i64> {
    let account = account(text)?.to_lowercase();
    Some(stored_key(organization, &format!("account:{account}")))
}

fn key(kind: &str, value: &str) -> Option<Uuid> {
    (!value.is_empty()).then(|| digest(&[kind.as_bytes(), value.as_bytes()]))
}

/// The first 16 bytes of SHA-256 over the parts, a NUL between them.
pub(crate) fn digest(parts: &[&[u8]]) -> Uuid {
    let mut hasher = Sha256::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hasher.update([0]);
        }
        hasher.update(part);
    }
    let mut first = [0; 16];
    first.copy_from_slice(&hasher.finalize()[..16]);
    Uuid::from_bytes(first)
}

/// Three letters in a row of every word, sorted, without repeats: what similar words share.
pub(crate) fn trigrams(folded: &str) -> Vec<String> {
    let mut all = Vec::new();
    for word in folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let letters: Vec<char> = "  ".chars().chain(word.chars()).chain(" ".chars()).collect();
        all.extend(letters.windows(3).map(|three| three.iter().collect::<String>()));
    }
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_accents_do_not_matter() {
        for (text, expected) in [
            ("Société  Générale ", "societe generale"),
            ("SOCIÉTÉ GÉNÉRALE", "societe generale"),
            ("Soci\u{65}\u{301}t\u{e9}", "societe"),
            ("Straße", "strasse"),
            ("Œuvre Łódź", "oeuvre lodz"),
            ("İstanbul", "istanbul"),
            ("  \u{a0} ", ""),
        ] {
            assert_eq!(folded(text), expected, "{text}");
        }
    }

    #[test]
    fn letters_of_another_script_stay_different() {
        assert_ne!(folded("Асме"), folded("Acme"));
    }

    #[test]
    fn wildcards_are_literal() {
        assert_eq!(escaped(r"100%_\"), r"100\%\_\\");
        assert_eq!(patterns("%"), Some(vec![r"%\%%".to_owned()]));
        assert_eq!(patterns("  "), None);
    }

    #[test]
    fn a_phone_number_is_found_in_its_national_form() {
        assert_eq!(patterns("06 12 34").unwrap(), vec!["%06 12 34%".to_owned(), "%61234%".to_owned()]);
        assert_eq!(patterns("612345").unwrap().len(), 1);
        assert_eq!(patterns("12 a").unwrap().len(), 1);
    }

    #[test]
    fn an_address_is_one_key_in_any_case() {
        assert_eq!(email_key("A@X.com "), email_key("a@x.com"));
        assert_ne!(email_key("a@x.com"), email_key("a+tag@x.com"));
        assert_eq!(email_key("  "), None);
        assert_ne!(email_key("1"), phone_key("1"));
    }

    #[test]
    fn an_external_id_is_one_key_letter_by_letter() {
        assert_eq!(external_key(" Z1 "), external_key("Z1"));
        assert_ne!(external_key("Z1"), external_key("z1"));
        assert_ne!(external_key("É"), external_key("E"));
        assert_eq!(external_key("  "), None);
    }

    #[test]
    fn a_number_is_one_key_in_each_of_its_forms_and_another_one_at_each_extension() {
        for (one, other, same) in [
            ("+5491123456789", "+541123456789", true),
            ("+5215512345678", "+525512345678", true),
            ("+5511987654321", " +551187654321", true),
            ("+5491123456789;ext=1", "+541123456789;ext=1", true),
            ("+33144556677;ext=12", "+33144556677", false),
            ("+33144556677;ext=12", "+33144556677;ext=14", false),
            ("+33144556677", "+33144556678", false),
        ] {
            assert_eq!(phone_key(one) == phone_key(other), same, "{one} {other}");
        }
    }

    #[test]
    fn a_number_with_an_extension_is_found_without_it() {
        let own = OrganizationId(Uuid::from_u128(1));
        let keys = |phone: &str| {
            stored_keys(own, &ContactProfile { phone: Some(phone.to_owned()), ..Default::default() })
        };
        assert!(keys("+33144556677").is_empty(), "a number without one has a column of its own");
        assert_eq!(keys("+33144556677;ext=12"), [number_key(own, "+33144556677")]);
        assert_eq!(keys("+5491123456789;ext=12"), [number_key(own, "+541123456789")]);
    }

    #[test]
    fn a_tagged_address_is_found_by_its_mailbox_within_its_organization() {
        let (own, other) = (OrganizationId(Uuid::from_u128(1)), OrganizationId(Uuid::from_u128(2)));
        let keys = |email: &str| {
            stored_keys(own, &ContactProfile { email: Some(email.to_owned()), ..ContactProfile::default() })
        };
        assert!(keys("a@x.com").is_empty(), "an address without a tag has a column of its own");
        assert_eq!(keys("A+Tag@x.com"), [mailbox_key(own, "a@x.com")]);
        assert_eq!(keys("a+other@x.com"), [mailbox_key(own, "a+tag@X.com")]);
        assert_ne!(keys("a+tag@x.com"), [mailbox_key(other, "a@x.com")]);
        for (email, mailbox) in [("a+b+c@x.com", "a@x.com"), ("+b@x.com", "+b@x.com"), ("a+b", "a+b")] {
            assert_eq!(without_tag(email), mailbox);
        }
    }

    #[test]
    fn a_contact_is_found_by_its_accounts() {
        let own = OrganizationId(Uuid::from_u128(1));
        let custom =
            [("linkedin", "https://www.linkedin.com/in/ACoAAA/"), ("Instagram", "17841400000000000")];
        let custom = custom.map(|(column, value)| (column.to_owned(), value.to_owned())).into();
        let keys = stored_keys(own, &ContactProfile { custom, ..ContactProfile::default() });
        assert_eq!(keys.len(), 2);
        for text in ["acoaaa", "ACoAAA/", "17841400000000000"] {
            assert!(keys.contains(&account_key(own, text).unwrap()), "{text}");
        }
        assert_eq!(account_key(own, "ann@example.com"), None);
    }

    #[test]
    fn a_contact_is_found_by_the_sound_of_its_name() {
        let own = OrganizationId(Uuid::from_u128(1));
        let named = |first: &str, last: &str| ContactProfile {
            first_name: Some(first.to_owned()),
            last_name: Some(last.to_owned()),
            ..ContactProfile::default()
        };
        let (one, other) =
            (stored_keys(own, &named("Jean", "Dupont")), stored_keys(own, &named("JEAN", "Dupond")));
        assert!(one.iter().any(|key| other.contains(key)));
    }

    #[test]
    fn a_search_does_not_reach_across_fields() {
        assert_eq!(search_text([Some("Ada"), None, Some(" "), Some("É")]), "ada\ne");
    }
}
