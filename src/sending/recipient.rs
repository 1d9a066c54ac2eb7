//! Recipients: one spelling for each, by channel, and the keyed hashes by which allowlist, suppressions and the counts of
//! what somebody got know them.
//!
//! What is kept is what is written to; what is compared is the spelling that [`address_hash`](crate::contacts::address_hash)
//! makes of it, the same for opt-outs, suppressions, the allowlist and sends. A tag after a plus is another address: the
//! allowlist means the address that it names, and a suppression of the address without the tag stands against every tag. A
//! domain entry, of either list, is that domain and none below it.

use docket_aggregates::allowlist::{EntryKind, NewEntry, RecipientKeys};
use docket_aggregates::channel::Channel;
use docket_aggregates::contact;
use docket_aggregates::ids::{ContactId, OrganizationId, SubjectId};
use docket_aggregates::message::Message;
use docket_aggregates::personal::Personal;
use docket_projections::searchable::{self, MatchKeys};
use serde_json::Value;
use uuid::Uuid;

use crate::contacts::address_hash;
use crate::ledger::keys::OrganizationKeys;
use crate::normalise::{
    Country, EmailError, PhoneError, is_meant_as_number, normalise_email, normalise_phone,
};

/// Characters of `to`, at most.
const TO_CHARACTERS_MAX: usize = 320;
/// Characters of an entry of the allowlist, at most.
const ENTRY_CHARACTERS_MAX: usize = 320;

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// What is written to.
    pub to: String,
    kind: EntryKind,
    /// The number that its channel writes to besides.
    number: Option<String>,
}

/// Why a text is no recipient, or no entry of the allowlist. The sentences name the rule and never the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    /// Nothing, or too much.
    #[error("must have 1 to {TO_CHARACTERS_MAX} characters")]
    Length,
    /// It would break out of the line that it is written on.
    #[error("must not have line breaks or control characters")]
    ControlCharacter,
    /// The channel writes to e-mail addresses.
    #[error(transparent)]
    Email(#[from] EmailError),
    /// The channel writes to telephone numbers.
    #[error("must be a telephone number with its country code: {0}")]
    Phone(PhoneError),
    /// A number without its country code is not one number.
    #[error("must be a telephone number with its country code, beginning with +")]
    NoCountryCode,
    /// The channel writes to accounts.
    #[error("must be an account's id or name, without spaces")]
    Handle,
    /// LinkedIn writes to its own ids.
    #[error("must be LinkedIn's id of a person, or the address of a profile with it")]
    Account,
    /// Instagram writes to ids that are numbers.
    #[error(
        "must be an Instagram-scoped id, which is a number of 15 digits or more that does not begin with 0"
    )]
    NotAScopedId,
    /// A domain entry names a domain.
    #[error("must be @ and a domain, an address, a handle, or *")]
    Domain,
}

impl Recipient {
    /// Reads `to` as this channel takes it. A rehearsal takes what any channel takes.
    pub fn read(channel: Channel, to: &str) -> Result<Self, RecipientError> {
        let to = bounded(to, TO_CHARACTERS_MAX)?;
        match channel {
            Channel::Email | Channel::CalCom => email(to),
            Channel::Whatsapp => phone(to),
            Channel::Instagram => scoped_id(to),
            Channel::Linkedin => linkedin_account(to),
            Channel::DryRun => email(to).or_else(|refusal| match refusal {
                RecipientError::Email(EmailError::NoAt) => number_or_handle(to),
                refusal => Err(refusal),
            }),
        }
    }

    /// The same with the number that a payload has the channel of its outbox write to besides. A rehearsal is judged by it, too.
    pub fn with_number(self, of_outbox: Channel, payload: &Value) -> Result<Self, RecipientError> {
        let number = number_beside(of_outbox, payload).map(beside).transpose()?;
        Ok(Self { number, ..self })
    }

    /// The recipient of a message that was drafted: its address, and the payload as it is kept. An account that would not be
    /// taken any more is one all the same, and a number that cannot be read is one that no list names.
    pub fn of_content(channel: Channel, of_outbox: Channel, to: &str, payload: &str) -> Option<Self> {
        let recipient = Self::read(channel, to).or_else(|_| handle(to)).ok()?;
        if of_outbox != Channel::CalCom {
            return Some(recipient);
        }
        let payload = serde_json::from_str(payload).unwrap_or_default();
        let read = |number: &str| beside(number).unwrap_or_else(|_| number.to_owned());
        Some(Self { number: number_beside(of_outbox, &payload).map(read), ..recipient })
    }

    /// The recipient of a message that waits for its channel, while its address is known.
    pub fn of_message(message: &Message) -> Option<Self> {
        let (channel, content) = message.channel().zip(message.content())?;
        Self::of_content(channel, channel, &content.to, &content.payload)
    }

    /// Whoever its channel writes to besides, as a recipient of their own.
    pub fn at_the_number(&self) -> Option<Self> {
        let to = self.number.clone()?;
        Some(Self { to, kind: EntryKind::Address, number: None })
    }

    /// Under what a contact is looked for that has this address, or that of the same mailbox without its tag.
    pub fn match_keys(&self) -> Vec<MatchKeys> {
        match self.kind {
            EntryKind::Address => {
                [&*self.to, &*searchable::without_tag(&self.to)].map(MatchKeys::of_address).into()
            }
            EntryKind::Handle | EntryKind::Domain | EntryKind::Everybody => vec![],
        }
    }

    /// The stored key under which a contact is looked for that has this account, this mailbox with another tag, or this number
    /// with an extension.
    pub fn stored_key(&self, organization: OrganizationId) -> Option<i64> {
        match self.kind {
            EntryKind::Address if self.to.contains('@') => {
                Some(searchable::mailbox_key(organization, &self.to))
            }
            EntryKind::Address => Some(searchable::number_key(organization, &self.to)),
            EntryKind::Handle => searchable::account_key(organization, &self.to),
            EntryKind::Domain | EntryKind::Everybody => None,
        }
    }

    /// The hashes by which it is known.
    pub fn keys(&self, keys: &OrganizationKeys) -> RecipientKeys {
        let address = address_hash(keys, &self.to);
        let mut mailbox = address.clone();
        let mut suppressed_as = vec![address.clone()];
        let mut domain = None;
        if let (EntryKind::Address, Some((local, host))) = (self.kind, self.to.rsplit_once('@')) {
            let hash = domain_hash(keys, host);
            suppressed_as.push(hash.clone());
            domain = Some(hash);
            if let Some((untagged, _)) = local.split_once('+').filter(|(untagged, _)| !untagged.is_empty()) {
                mailbox = address_hash(keys, &format!("{untagged}@{host}"));
                suppressed_as.push(mailbox.clone());
            }
        }
        let number = self.number.as_ref().map(|number| address_hash(keys, number));
        suppressed_as.extend(number.clone());
        RecipientKeys { address, mailbox, domain, number, suppressed_as }
    }
}

/// The streams that count what a recipient gets: of the mailbox, whatever tag is written to, and of the contact, at whatever
/// address.
pub fn counted_in(
    organization: OrganizationId,
    keys: &RecipientKeys,
    contact: Option<ContactId>,
) -> Vec<Uuid> {
    let contact = contact.map(|contact| organization.correspondence_with(contact));
    [organization.correspondence(&keys.mailbox)].into_iter().chain(contact).collect()
}

/// The same of a message. Of an address that was erased the tag is not known any more.
pub fn counted_for(organization: OrganizationId, keys: &OrganizationKeys, message: &Message) -> Vec<Uuid> {
    counted_in(organization, &known_as(keys, message), message.contact_id())
}

/// The hashes by which lists know the recipient of a message. Of one who was erased only that of the address is left.
pub fn known_as(keys: &OrganizationKeys, message: &Message) -> RecipientKeys {
    let read = Recipient::of_message(message).map(|recipient| recipient.keys(keys));
    read.unwrap_or_else(|| {
        let address = message.recipient_hash().unwrap_or_default().to_owned();
        RecipientKeys {
            suppressed_as: vec![address.clone()],
            mailbox: address.clone(),
            address,
            domain: None,
            number: None,
        }
    })
}

/// The keyed hash of the domain of an e-mail address, as a domain entry has it; none where there is no such address.
pub fn domain_of(keys: &OrganizationKeys, email: &str) -> Option<String> {
    let email = normalise_email(email, false).ok()?;
    let (_, domain) = email.key().rsplit_once('@')?;
    Some(domain_hash(keys, domain))
}

/// How an entry of a list is read.
pub type ReadEntry = fn(OrganizationId, &OrganizationKeys, &str) -> Result<NewEntry, RecipientError>;

/// Reads one entry that is to be put on a list; what would be no entry of anybody's is refused.
pub fn parse_new_entry(
    organization: OrganizationId,
    keys: &OrganizationKeys,
    text: &str,
) -> Result<NewEntry, RecipientError> {
    let entry = parse_entry(organization, keys, text)?;
    if entry.kind == EntryKind::Handle {
        number_or_handle(text.trim())?;
    }
    Ok(entry)
}

/// Reads one entry of the allowlist or of the suppression list: an address, a handle, `@domain`, or `*`. A number
/// without its country code and an Instagram-scoped id with zeros before it may stand there from before they were refused, and
/// can be taken off.
pub fn parse_entry(
    organization: OrganizationId,
    keys: &OrganizationKeys,
    text: &str,
) -> Result<NewEntry, RecipientError> {
    let text = bounded(text, ENTRY_CHARACTERS_MAX)?;
    let (kind, shown, hash) = match text {
        "*" => (EntryKind::Everybody, text.to_owned(), address_hash(keys, "*")),
        _ => match text.strip_prefix('@') {
            Some(domain) => {
                // The domain is read as that of an address, so that both are spelt alike.
                let address =
                    normalise_email(&format!("a@{domain}"), false).map_err(|_| RecipientError::Domain)?;
                let domain = address.key().trim_start_matches("a@").to_owned();
                (EntryKind::Domain, format!("@{domain}"), domain_hash(keys, &domain))
            }
            None => {
                let read = email(text).or_else(|refusal| match refusal {
                    RecipientError::Email(EmailError::NoAt) => match number_or_handle(text) {
                        Err(refusal @ (RecipientError::NotAScopedId | RecipientError::NoCountryCode)) => {
                            handle(text).map_err(|_| refusal)
                        }
                        read => read,
                    },
                    refusal => Err(refusal),
                })?;
                let hash = address_hash(keys, &read.to);
                (read.kind, read.to, hash)
            }
        },
    };
    let subject: SubjectId = organization.correspondent(&hash);
    Ok(NewEntry { kind, hash, text: Personal::known(subject, shown) })
}

fn domain_hash(keys: &OrganizationKeys, domain: &str) -> String {
    hex::encode(keys.hash("domain", &[domain]))
}

fn bounded(text: &str, characters_max: usize) -> Result<&str, RecipientError> {
    if text.chars().any(char::is_control) {
        return Err(RecipientError::ControlCharacter);
    }
    let text = text.trim();
    if text.is_empty() || text.chars().count() > characters_max {
        return Err(RecipientError::Length);
    }
    Ok(text)
}

/// The number that a payload has the channel write to beside the address: Cal.com reminds attendees by telephone, too.
fn number_beside(of_outbox: Channel, payload: &Value) -> Option<&str> {
    if of_outbox == Channel::CalCom { payload.get("phoneNumber")?.as_str() } else { None }
}

fn beside(number: &str) -> Result<String, RecipientError> {
    phone(bounded(number, TO_CHARACTERS_MAX)?).map(|read| read.to)
}

fn email(to: &str) -> Result<Recipient, RecipientError> {
    let email = normalise_email(to, false)?;
    Ok(Recipient { to: email.address().to_owned(), kind: EntryKind::Address, number: None })
}

/// A telephone number, or the id or name of an account. A number without its country code is neither: taken for an account it
/// would stand on a list and keep nobody from being written to.
fn number_or_handle(to: &str) -> Result<Recipient, RecipientError> {
    let number = to.starts_with('+') || to.starts_with("tel:") || is_meant_as_number(to);
    if !number || contact::scoped_id(to).is_some() {
        return handle(to);
    }
    let padded = contact::is_padded_scoped_id(to);
    phone(to).map_err(|refusal| if padded { RecipientError::NotAScopedId } else { refusal })
}

fn phone(to: &str) -> Result<Recipient, RecipientError> {
    let international = to.starts_with('+') || to.starts_with("00") || to.starts_with("tel:+");
    if !international {
        return Err(RecipientError::NoCountryCode);
    }
    // Never used: the number says its own.
    let country: Country = "FR".parse().map_err(|_| RecipientError::NoCountryCode)?;
    let phone = normalise_phone(to, country).map_err(RecipientError::Phone)?;
    Ok(Recipient { to: phone.e164().to_owned(), kind: EntryKind::Address, number: None })
}

fn scoped_id(to: &str) -> Result<Recipient, RecipientError> {
    let id = contact::scoped_id(to).ok_or(RecipientError::NotAScopedId)?;
    Ok(Recipient { to: id.to_owned(), kind: EntryKind::Handle, number: None })
}

/// An account has one spelling: what is around it in the address of a profile is taken off.
fn linkedin_account(to: &str) -> Result<Recipient, RecipientError> {
    let id = contact::linkedin_id(to).ok_or(RecipientError::Account)?;
    Ok(Recipient { to: id.to_owned(), kind: EntryKind::Handle, number: None })
}

fn handle(to: &str) -> Result<Recipient, RecipientError> {
    let to = contact::account(to).unwrap_or(to);
    let fits = to.chars().all(|c| c.is_alphanumeric() || "-_.:/%?=&~".contains(c));
    if fits {
        Ok(Recipient { to: to.to_owned(), kind: EntryKind::Handle, number: None })
    } else {
        Err(RecipientError::Handle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::seal::Key;
    use cqrs_es::Aggregate;
    use docket_aggregates::Decides;
    use docket_aggregates::allowlist::{Allowed, Allowlist, AllowlistCommand};

    const ORGANIZATION: OrganizationId = OrganizationId::INSTANCE;
    /// LinkedIn's id of a person.
    const ANN: &str = "ACoAAAcDMMQBODyLwZrRcgYhrkCafURGqva0U4E";

    fn keys() -> OrganizationKeys {
        OrganizationKeys::new(ORGANIZATION, &Key::from_bytes([7; 32]))
    }

    fn read(channel: Channel, to: &str) -> Result<String, RecipientError> {
        Recipient::read(channel, to).map(|recipient| recipient.to)
    }

    #[test]
    fn each_channel_reads_its_own_recipients() {
        for (channel, to, read_as) in [
            (Channel::Email, " Ann@Example.COM ", "Ann@example.com"),
            (Channel::Email, "Ann Lee <ann@example.com>", "ann@example.com"),
            (Channel::Email, "info@bücher.example", "info@xn--bcher-kva.example"),
            (Channel::CalCom, "ann@example.com", "ann@example.com"),
            (Channel::Whatsapp, "+33 6 12 34 56 78", "+33612345678"),
            (Channel::Whatsapp, "0033612345678", "+33612345678"),
            (Channel::Instagram, "17841400000000000", "17841400000000000"),
            (Channel::Linkedin, ANN, ANN),
            (Channel::Linkedin, &format!("{ANN}/"), ANN),
            (Channel::Linkedin, &format!("{ANN}?x=1"), ANN),
            (Channel::Linkedin, &format!("https://www.linkedin.com/in/{ANN}"), ANN),
            (Channel::Email, "\u{ff21}nn@example.com", "Ann@example.com"),
            (Channel::DryRun, "ann@example.com", "ann@example.com"),
            (Channel::DryRun, "+33612345678", "+33612345678"),
            (Channel::DryRun, "ann-lee", "ann-lee"),
        ] {
            assert_eq!(read(channel, to).as_deref(), Ok(read_as), "{to}");
        }
    }

    #[test]
    fn what_is_no_recipient_is_refused_by_its_rule() {
        let long = format!("{}@example.com", "a".repeat(320));
        for (channel, to, refusal) in [
            (Channel::Email, "", RecipientError::Length),
            (Channel::Email, long.as_str(), RecipientError::Length),
            (Channel::Email, "ann@example.com\r\nBcc: bob@example.com", RecipientError::ControlCharacter),
            (Channel::Email, "ann", RecipientError::Email(EmailError::NoAt)),
            (Channel::Email, "ann@example.com, bob@example.com", RecipientError::Email(EmailError::ManyAts)),
            (Channel::Whatsapp, "06 12 34 56 78", RecipientError::NoCountryCode),
            (Channel::Whatsapp, "ann@example.com", RecipientError::NoCountryCode),
            (Channel::Whatsapp, "+33", RecipientError::Phone(PhoneError::NotANumber)),
            (Channel::Instagram, "ann.lee", RecipientError::NotAScopedId),
            (Channel::Instagram, "12345678901234", RecipientError::NotAScopedId),
            (Channel::Instagram, "017841400000000000", RecipientError::NotAScopedId),
            (Channel::DryRun, "017841400000000000", RecipientError::NotAScopedId),
            (Channel::Linkedin, "ann lee", RecipientError::Account),
            (Channel::Linkedin, "ann-lee", RecipientError::Account),
            (Channel::Linkedin, "tbd", RecipientError::Account),
            (Channel::Linkedin, "AErosmith", RecipientError::Account),
            (Channel::Linkedin, "https://www.linkedin.com/in/ann-lee", RecipientError::Account),
            (Channel::Linkedin, "https://www.linkedin.com/in/AErosmith", RecipientError::Account),
            (Channel::Linkedin, "https://www.linkedin.com/company/acme", RecipientError::Account),
            (Channel::DryRun, "ann lee", RecipientError::Handle),
            (Channel::DryRun, "06.12.34.56.78", RecipientError::NoCountryCode),
            (Channel::DryRun, "+33", RecipientError::Phone(PhoneError::NotANumber)),
            (Channel::DryRun, "ann@example..com", RecipientError::Email(EmailError::Domain)),
        ] {
            assert_eq!(read(channel, to), Err(refusal), "{to}");
        }
    }

    #[test]
    fn an_account_that_was_drafted_to_is_known_though_it_would_be_refused_by_now() {
        let drafted = Recipient::of_content(Channel::Linkedin, Channel::Linkedin, "ann-lee", "{}").unwrap();
        let listed = parse_entry(ORGANIZATION, &keys(), "ann-lee").unwrap().hash;
        assert_eq!(drafted.keys(&keys()).suppressed_as, [listed]);
    }

    #[test]
    fn a_number_without_its_country_code_is_on_no_list() {
        for number in [
            "0611223305",
            "06 11 22 33 05",
            "06-11.22/33 05",
            "(06) 11223305",
            "33611223305",
            "2125550100x1",
            "0611223305ext12",
            "0611223305 poste 12",
            "0611223305#1",
            "t.0611223305",
            "Tél. 06 11 22 33 05",
            "\u{ff10}\u{ff16}\u{ff11}\u{ff11}\u{ff12}\u{ff12}\u{ff13}\u{ff13}\u{ff10}\u{ff15}",
            "\u{0660}\u{0666}\u{0661}\u{0661}\u{0662}\u{0662}\u{0663}\u{0663}\u{0660}\u{0665}",
        ] {
            let refused = parse_new_entry(ORGANIZATION, &keys(), number);
            assert_eq!(refused.err(), Some(RecipientError::NoCountryCode), "{number}");
        }
        // One that stands there from before can be taken off.
        let listed = parse_entry(ORGANIZATION, &keys(), "2125550100").unwrap();
        assert_eq!(listed.kind, EntryKind::Handle);
        let too_short = parse_entry(ORGANIZATION, &keys(), "+33 6 11");
        assert_eq!(too_short.err(), Some(RecipientError::Phone(PhoneError::TooShort)));
        for (entry, kind) in [
            ("+33 6 11 22 33 05", EntryKind::Address),
            ("0033 6 11 22 33 05", EntryKind::Address),
            ("+52 1 55 1234 5678", EntryKind::Address),
            ("17841400000000001", EntryKind::Handle),
            ("tel:+52 1 55 1234 5678", EntryKind::Address),
            ("ann-lee-42", EntryKind::Handle),
            ("2pac", EntryKind::Handle),
            ("4x4", EntryKind::Handle),
            ("t.rex", EntryKind::Handle),
            ("t1000", EntryKind::Handle),
            (ANN, EntryKind::Handle),
        ] {
            let listed = parse_entry(ORGANIZATION, &keys(), entry).unwrap();
            assert_eq!(listed.kind, kind, "{entry}");
        }
    }

    #[test]
    fn an_id_with_a_zero_before_it_is_still_known_where_it_stands_already() {
        let padded = "017841400000000000";
        let keys = keys();
        let drafted = Recipient::of_content(Channel::Instagram, Channel::Instagram, padded, "{}").unwrap();
        let listed = parse_entry(ORGANIZATION, &keys, padded).unwrap().hash;
        assert_eq!(drafted.keys(&keys).suppressed_as, [listed]);
        assert_eq!(parse_new_entry(ORGANIZATION, &keys, padded).err(), Some(RecipientError::NotAScopedId));
        for taken in ["17841400000000000", "+33612345678", "008613800138000", "@example.com", "ann-lee"] {
            assert!(parse_new_entry(ORGANIZATION, &keys, taken).is_ok(), "{taken}");
        }
    }

    #[test]
    fn the_allowlist_means_what_it_names_and_nothing_beside() {
        for (entry, to, allowed) in [
            ("Ann@Example.com", "ann@example.COM", true),
            ("ann@example.com", "Ann Lee <ann@example.com>", true),
            ("ann@example.com", "ann+news@example.com", false),
            ("ann+news@example.com", "ann@example.com", false),
            ("@example.com", "anybody+tag@EXAMPLE.com", true),
            ("@EXAMPLE.com", "ann@example.com", true),
            ("@example.com", "ann@sub.example.com", false),
            ("@example.com", "ann@evil-example.com", false),
            ("@example.com", "ann@example.com.evil.tld", false),
            ("@sub.example.com", "ann@example.com", false),
            ("@bücher.example", "info@xn--bcher-kva.example", true),
            ("@xn--bcher-kva.example", "info@BÜCHER.example", true),
            ("@paypal.com", "ann@p\u{430}ypal.com", false),
        ] {
            let mut list = Allowlist::default();
            let entry = parse_entry(ORGANIZATION, &keys(), entry).unwrap();
            for event in list
                .decide(AllowlistCommand::Allow { entries: vec![entry.clone()], acknowledge_all: false })
                .unwrap()
            {
                list.apply(event);
            }
            let recipient = Recipient::read(Channel::Email, to).unwrap();
            let verdict = list.allows(&recipient.keys(&keys()));
            assert_eq!(matches!(verdict, Allowed::By(_)), allowed, "{entry:?} {to}");
        }
    }

    #[test]
    fn an_entry_is_what_it_looks_like() {
        let kind = |text| parse_entry(ORGANIZATION, &keys(), text).map(|entry| entry.kind);
        for (text, expected) in [
            ("*", Ok(EntryKind::Everybody)),
            ("@example.com", Ok(EntryKind::Domain)),
            ("ann@example.com", Ok(EntryKind::Address)),
            ("+33612345678", Ok(EntryKind::Address)),
            ("17841400000000000", Ok(EntryKind::Handle)),
            ("ann-lee", Ok(EntryKind::Handle)),
            ("@", Err(RecipientError::Domain)),
            ("@example", Err(RecipientError::Domain)),
            ("@*.example.com", Err(RecipientError::Domain)),
            ("*@example.com", Ok(EntryKind::Address)),
            ("**", Err(RecipientError::Handle)),
            ("ann@example.com\n", Err(RecipientError::ControlCharacter)),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }

    #[test]
    fn an_address_is_suppressed_at_every_tag() {
        let keys = keys();
        let known = |to| Recipient::read(Channel::Email, to).unwrap().keys(&keys);
        let plain = known("ann@example.com");
        let tagged = known("Ann+News@example.com");
        assert!(tagged.suppressed_as.contains(&plain.address));
        assert!(tagged.suppressed_as.contains(&tagged.address));
        assert!(!plain.suppressed_as.contains(&tagged.address));
        assert_eq!((&plain.mailbox, &tagged.mailbox), (&plain.address, &plain.address));
    }

    #[test]
    fn an_address_is_suppressed_with_its_domain_and_with_none_above_it() {
        let keys = keys();
        let entry = |text| parse_entry(ORGANIZATION, &keys, text).unwrap().hash;
        for (entry_text, to, suppressed) in [
            ("@example.com", "ann@EXAMPLE.com", true),
            ("@example.com", "ann+news@example.com", true),
            ("@example.com", "ann@sub.example.com", false),
            ("@sub.example.com", "ann@example.com", false),
            ("@example.com", "ann@evil-example.com", false),
            ("@bücher.example", "info@xn--bcher-kva.example", true),
        ] {
            let known = Recipient::read(Channel::Email, to).unwrap().keys(&keys);
            assert_eq!(known.suppressed_as.contains(&entry(entry_text)), suppressed, "{entry_text} {to}");
            assert_eq!(domain_of(&keys, to) == Some(entry(entry_text)), suppressed, "{entry_text} {to}");
        }
        let phone = Recipient::read(Channel::Whatsapp, "+33612345678").unwrap().keys(&keys);
        assert_eq!(phone.suppressed_as, [phone.address]);
    }

    #[test]
    fn the_number_of_a_booking_is_one_of_the_recipients_keys() {
        let keys = keys();
        let number = parse_entry(ORGANIZATION, &keys, "+33612345678").unwrap().hash;
        let known = |channel, payload: &str| {
            Recipient::of_content(channel, channel, "ann@example.com", payload).unwrap().keys(&keys)
        };
        let booking = known(Channel::CalCom, r#"{"phoneNumber":"+33 6 12 34 56 78"}"#);
        assert_eq!(booking.number.as_ref(), Some(&number));
        assert!(booking.suppressed_as.contains(&number));
        let rehearsal = Recipient::of_content(
            Channel::DryRun,
            Channel::CalCom,
            "ann@example.com",
            r#"{"phoneNumber":"+33612345678"}"#,
        );
        assert_eq!(rehearsal.unwrap().keys(&keys).number.as_ref(), Some(&number));
        // No list names what cannot be read.
        let unread = known(Channel::CalCom, r#"{"phoneNumber":"12"}"#);
        assert!(unread.number.is_some_and(|unread| unread != number));
        for (channel, payload) in [
            (Channel::CalCom, "{}"),
            (Channel::CalCom, r#"{"phoneNumber":null}"#),
            (Channel::Email, r#"{"phoneNumber":"+33612345678"}"#),
            (Channel::DryRun, r#"{"phoneNumber":"+33612345678"}"#),
        ] {
            assert_eq!(known(channel, payload).number, None, "{payload}");
        }
    }
}
