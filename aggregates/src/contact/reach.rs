//! Where a contact is written to: the one definition of its addresses.
//!
//! Sequences write to them, an opt-out and the suppression list stand against all of them, and a contact is found by each
//! of them. On LinkedIn and Instagram it is the value of a column of the organization's own that is called so, in any case,
//! if that is something that a message can be sent to: the provider's own id of a person, which is also all that a message by
//! hand may be for. To the name of a public profile no message can be sent; of the address of one it is what the contact is
//! found by all the same, and what an opt-out stands against. What many contacts have in such a column because they have no
//! account (`-`, `none`, `tbd`, how many followers they have) is no address either, or the opt-out of one of them would be
//! that of all.

use super::ContactProfile;
use super::number::without_extension;
use crate::channel::Channel;

/// Characters of an account's name or id.
const ACCOUNT_CHARACTERS: std::ops::RangeInclusive<usize> = 3..=200;
/// Digits of an Instagram-scoped id. Those that Meta gives have 15 to 17; what is shorter may be anything.
const SCOPED_ID_DIGITS: std::ops::RangeInclusive<usize> = 15..=32;
/// How LinkedIn's ids of people begin, by the product that shows them (Unipile, users overview).
const LINKEDIN_IDS: [&str; 3] = ["ACo", "ACw", "AE"];
/// Characters of such an id: it is 29 bytes in base64. A name of a public profile may begin like an id (`AErosmith`), and is
/// hardly ever exactly as long.
const LINKEDIN_ID_LENGTH: usize = 39;
/// What stands in such columns and names no account.
const NO_ACCOUNT: [&str; 9] = ["none", "null", "nan", "n-a", "yes", "true", "false", "unknown", "linkedin"];
/// The channels of which a contact has an address of its own; the others write to one of these.
const REACHED_BY: [Channel; 4] = [Channel::Email, Channel::Whatsapp, Channel::Linkedin, Channel::Instagram];

impl ContactProfile {
    /// Its address on a channel: the e-mail address, the telephone number, an account. A rehearsal takes whatever there is.
    pub fn address_on(&self, channel: Channel) -> Option<&str> {
        let email = || self.email.as_deref();
        let phone = || self.phone.as_deref().map(without_extension);
        let found = match channel {
            Channel::Email | Channel::CalCom => email(),
            Channel::Whatsapp => phone(),
            Channel::Linkedin => self.column("linkedin").find_map(linkedin_id),
            Channel::Instagram => self.column("instagram").find_map(scoped_id),
            Channel::DryRun => email().or_else(phone),
        };
        found.map(str::trim).filter(|address| !address.is_empty())
    }

    /// What the column of this name holds, in whatever case the name is written.
    fn column(&self, name: &'static str) -> impl Iterator<Item = &str> {
        let called = self.custom.iter().filter(move |(column, _)| column.eq_ignore_ascii_case(name));
        called.map(|(_, value)| value.as_str())
    }

    /// All of its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        REACHED_BY.into_iter().filter_map(move |channel| self.known_on(channel))
    }

    /// Those of its addresses that are accounts.
    pub fn accounts(&self) -> impl Iterator<Item = &str> {
        [Channel::Linkedin, Channel::Instagram].into_iter().filter_map(move |channel| self.known_on(channel))
    }

    /// What it is known by on a channel: where it is written to, else the name of its public profile.
    fn known_on(&self, channel: Channel) -> Option<&str> {
        let profile = || self.column("linkedin").find_map(profile_name);
        self.address_on(channel).or_else(|| if channel == Channel::Linkedin { profile() } else { None })
    }
}

/// The account that a text names, by its name or id: letters, digits, `-` and `_`. Of the address of a profile at LinkedIn it
/// is the name in it. None where the text names none.
pub fn account(text: &str) -> Option<&str> {
    let text = text.split(['?', '#']).next().unwrap_or_default().trim();
    let name = match path_at_linkedin(text) {
        Some(path) => path.strip_prefix("in/")?.split('/').next()?,
        None => text.trim_end_matches('/'),
    };
    let written = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let fits = ACCOUNT_CHARACTERS.contains(&name.len())
        && name.bytes().all(written)
        && name.bytes().any(|byte| byte.is_ascii_alphanumeric());
    let names_none = NO_ACCOUNT.iter().any(|word| name.eq_ignore_ascii_case(word));
    (fits && !names_none).then_some(name)
}

/// LinkedIn's id of a person, by itself or as the name in the address of a profile. The name of a public profile is none.
pub fn linkedin_id(text: &str) -> Option<&str> {
    let begins = |name: &str| LINKEDIN_IDS.iter().any(|begins| name.starts_with(begins));
    account(text).filter(|name| name.len() == LINKEDIN_ID_LENGTH && begins(name))
}

/// The name of a profile, of its address at LinkedIn alone: a word by itself may be anything.
fn profile_name(text: &str) -> Option<&str> {
    path_at_linkedin(text.trim()).and_then(|_| account(text))
}

/// An Instagram-scoped id, which is a number. A zero before it would make it another text, and another address to each list.
pub fn scoped_id(text: &str) -> Option<&str> {
    let text = text.trim();
    (is_long_number(text) && !text.starts_with('0')).then_some(text)
}

/// Whether a text is an Instagram-scoped id with zeros before it: no address of anybody, though it looks like one.
pub fn is_padded_scoped_id(text: &str) -> bool {
    let text = text.trim();
    is_long_number(text) && text.starts_with('0')
}

/// As many digits as an Instagram-scoped id has.
fn is_long_number(text: &str) -> bool {
    SCOPED_ID_DIGITS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What stands behind the host of an address at LinkedIn.
fn path_at_linkedin(text: &str) -> Option<&str> {
    let address = text.split_once("://").map_or(text, |(_, address)| address);
    let (host, path) = address.split_once('/')?;
    let host = host.to_ascii_lowercase();
    (host == "linkedin.com" || host.ends_with(".linkedin.com")).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: &str = "ACoAAAcDMMQBODyLwZrRcgYhrkCafURGqva0U4E";

    #[test]
    fn each_channel_has_its_address() {
        let ann = ContactProfile {
            email: Some("ann@example.com".into()),
            phone: Some("+33123456789;ext=12".into()),
            custom: [
                ("LinkedIn".to_owned(), format!("https://www.linkedin.com/in/{ANN}/")),
                ("instagram".to_owned(), " ".to_owned()),
            ]
            .into(),
            ..ContactProfile::default()
        };
        let nobody = ContactProfile::default();
        for (channel, expected) in [
            (Channel::Email, Some("ann@example.com")),
            (Channel::CalCom, Some("ann@example.com")),
            (Channel::Whatsapp, Some("+33123456789")),
            (Channel::Linkedin, Some(ANN)),
            (Channel::Instagram, None),
            (Channel::DryRun, Some("ann@example.com")),
        ] {
            assert_eq!(ann.address_on(channel), expected, "{channel:?}");
            assert_eq!(nobody.address_on(channel), None, "{channel:?}");
        }
        let all: Vec<&str> = ann.addresses().collect();
        assert_eq!(all, ["ann@example.com", "+33123456789", ANN]);
        assert_eq!(ann.accounts().collect::<Vec<_>>(), [ANN]);
        assert_eq!(nobody.addresses().count(), 0);
    }

    #[test]
    fn an_account_is_one_however_it_is_written() {
        for text in [
            "ACoAA-b_1",
            " ACoAA-b_1 ",
            "ACoAA-b_1/",
            "ACoAA-b_1?x=1",
            "ACoAA-b_1/?trk=x#y",
            "https://www.linkedin.com/in/ACoAA-b_1",
            "HTTP://fr.LinkedIn.com/in/ACoAA-b_1/en?trk=x",
            "linkedin.com/in/ACoAA-b_1/",
        ] {
            assert_eq!(account(text), Some("ACoAA-b_1"), "{text}");
        }
    }

    fn with_column(name: &str, value: &str) -> ContactProfile {
        let custom = [(name.to_owned(), value.to_owned())].into();
        ContactProfile { custom, ..ContactProfile::default() }
    }

    #[test]
    fn a_public_profile_is_known_and_not_written_to() {
        for (value, known) in [
            ("https://www.linkedin.com/in/ann-lee", Some("ann-lee")),
            ("linkedin.com/in/ann-lee/?trk=x", Some("ann-lee")),
            ("https://www.linkedin.com/in/AErosmith", Some("AErosmith")),
            (
                "https://www.linkedin.com/in/AEronautics-consulting-marie-dupont-paris",
                Some("AEronautics-consulting-marie-dupont-paris"),
            ),
            ("https://www.linkedin.com/company/acme", None),
            ("ann-lee", None),
            ("AErosmith", None),
            ("tbd", None),
        ] {
            let ann = with_column("linkedin", value);
            assert_eq!(ann.accounts().next(), known, "{value}");
            assert_eq!(ann.address_on(Channel::Linkedin), None, "{value}");
            assert_eq!(linkedin_id(value), None, "{value}");
        }
    }

    #[test]
    fn what_stands_in_a_column_and_cannot_be_written_to_is_no_address() {
        let reached =
            |column, value, channel| with_column(column, value).address_on(channel).map(str::to_owned);
        let profile = format!("https://www.linkedin.com/in/{ANN}");
        let in_small_letters = ANN.to_lowercase();
        let at_sales = ANN.replace("ACo", "ACw");
        let at_recruiter = ANN.replace("ACo", "AEM");
        for (value, expected) in [
            (&*profile, Some(ANN)),
            (&*at_sales, Some(&*at_sales)),
            (&*at_recruiter, Some(&*at_recruiter)),
            ("https://www.linkedin.com/in/ann-lee", None),
            ("ann-lee", None),
            ("AErosmith", None),
            (&*in_small_letters, None),
            ("tbd", None),
            ("aucun", None),
            ("12345", None),
        ] {
            assert_eq!(reached("linkedin", value, Channel::Linkedin).as_deref(), expected, "{value}");
        }
        for (value, expected) in [
            ("17841400000000000", Some("17841400000000000")),
            ("178414000000000", Some("178414000000000")),
            ("12000", None),
            ("1200000", None),
            ("017841400000000000", None),
        ] {
            assert_eq!(reached("Instagram", value, Channel::Instagram).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn what_names_no_account_is_none() {
        for text in [
            "",
            "-",
            "---",
            "n/a",
            "N-A",
            "None",
            "yes",
            "x",
            "Ann Lee",
            "@ann",
            "ann.lee",
            "ann@example.com",
            "\u{200b}ACoAA",
            "https://www.linkedin.com/in/",
            "https://www.linkedin.com/company/acme",
            "https://linkedin.com.example.org/in/ann-lee",
            "https://www.linkedin.com/in/j%C3%BCrgen",
        ] {
            assert_eq!(account(text), None, "{text}");
        }
        for (text, expected) in [
            (" 17841400000000000 ", Some("17841400000000000")),
            ("0", None),
            ("12345678901234", None),
            ("ann.lee", None),
            ("https://instagram.com/ann", None),
            ("000000000000000000000000000000000", None),
            ("017841400000000000", None),
            ("00000017841400000000000", None),
        ] {
            assert_eq!(scoped_id(text), expected, "{text}");
        }
        for (text, padded) in [("017841400000000000", true), ("17841400000000000", false), ("0123", false)] {
            assert_eq!(is_padded_scoped_id(text), padded, "{text}");
        }
    }
}
