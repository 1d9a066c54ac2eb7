//! E-mail addresses: the address we keep, and the key by which two addresses are the same mailbox.
//!
//! The address is kept as it was written, trimmed and composed (NFC), with its domain in the one form that DNS
//! knows (lower-case ASCII, IDNA), and with plain letters in its local part where it has their compatibility forms (NFKC):
//! full-width letters, as an input method leaves them, stand for the plain ones and would otherwise pass every list. The
//! key goes further: the local part is lower-cased, because no provider in use tells `Ann` from `ann`, and a `+tag` is
//! dropped when asked for. Dots in the local part are never dropped: only some providers ignore them. Look-alike letters of
//! another script are never folded, so `pаypal.com` with a Cyrillic `а` stays another domain than `paypal.com`.

use std::borrow::Cow;
use std::fmt;

use unicode_normalization::UnicodeNormalization;

/// An address that can be written to, and its key. See the module for what each keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    address: String,
    key: String,
}

impl Email {
    /// The address to keep and to write to.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What two spellings of one mailbox have in common. Compare by it; never write to it.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum EmailError {
    #[error("e-mail address is empty")]
    Empty,
    #[error("e-mail address is longer than 254 octets, or its part before the @ than 64")]
    TooLong,
    #[error("e-mail address has no @")]
    NoAt,
    #[error("e-mail address has more than one @")]
    ManyAts,
    #[error("e-mail address has a quoted part before the @, which few servers accept")]
    Quoted,
    #[error("e-mail address has an impossible part before the @")]
    LocalPart,
    #[error("e-mail address has an impossible domain")]
    Domain,
}

/// Octets of the whole address, and of its local part (RFC 5321, 4.5.3.1; RFC 3696, erratum 1690).
const ADDRESS_OCTETS_MAX: usize = 254;
const LOCAL_OCTETS_MAX: usize = 64;
/// What is longer than this is no address with a display name either.
const INPUT_OCTETS_MAX: usize = 1024;

/// Reads one address. A display name (`Ann <ann@example.com>`) and `mailto:` are taken off.
///
/// `plus_tags` says whether `ann+news@example.com` and `ann@example.com` get the same key.
pub fn normalise_email(raw: &str, plus_tags: bool) -> Result<Email, EmailError> {
    if raw.len() > INPUT_OCTETS_MAX {
        return Err(EmailError::TooLong);
    }
    let trimmed = trim(raw);
    let composed: Cow<'_, str> =
        if trimmed.is_ascii() { Cow::Borrowed(trimmed) } else { Cow::Owned(trimmed.nfc().collect()) };
    let bare = without_display_name(&composed);
    if bare.is_empty() {
        return Err(EmailError::Empty);
    }
    let (local, domain) = bare.rsplit_once('@').ok_or(EmailError::NoAt)?;
    if local.starts_with('"') {
        return Err(EmailError::Quoted);
    }
    if local.contains('@') {
        return Err(EmailError::ManyAts);
    }
    let local: Cow<'_, str> =
        if local.is_ascii() { Cow::Borrowed(local) } else { Cow::Owned(local.nfkc().collect()) };
    if !is_local_part(&local) {
        return Err(EmailError::LocalPart);
    }
    let domain = ascii_domain(domain).ok_or(EmailError::Domain)?;
    if local.len() > LOCAL_OCTETS_MAX || local.len() + 1 + domain.len() > ADDRESS_OCTETS_MAX {
        return Err(EmailError::TooLong);
    }
    let mailbox = match local.split_once('+') {
        Some((mailbox, _)) if plus_tags && !mailbox.is_empty() => mailbox,
        _ => &local,
    };
    let key = format!("{}@{domain}", mailbox.to_lowercase());
    Ok(Email { address: format!("{local}@{domain}"), key })
}

/// White space, and the invisible characters that spreadsheets leave at the ends of a cell.
fn trim(raw: &str) -> &str {
    raw.trim_matches(|c: char| {
        c.is_whitespace() || matches!(c, '\u{200B}'..='\u{200D}' | '\u{2060}' | '\u{FEFF}' | '\u{00AD}')
    })
}

fn without_display_name(text: &str) -> &str {
    let text = match text.strip_suffix('>').and_then(|head| head.rsplit_once('<')) {
        Some((_, inside)) => trim(inside),
        None => text,
    };
    match text.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("mailto:") => &text[7..],
        _ => text,
    }
}

/// A dot-atom of RFC 5322, with the letters beyond ASCII that RFC 6531 adds.
fn is_local_part(local: &str) -> bool {
    local.split('.').all(|atom| {
        !atom.is_empty()
            && atom.chars().all(|c| c.is_alphanumeric() || is_mark(c) || "!#$%&'*+-/=?^_`{|}~".contains(c))
    })
}

fn is_mark(c: char) -> bool {
    !c.is_ascii() && unicode_normalization::char::is_combining_mark(c)
}

/// The domain as DNS knows it: at least two labels, the last one no number.
fn ascii_domain(domain: &str) -> Option<String> {
    let ascii = idna::domain_to_ascii_strict(domain).ok()?;
    let (_, last) = ascii.rsplit_once('.')?;
    let labels_hold = ascii.split('.').all(|label| !label.is_empty() && label.len() <= 63);
    (labels_hold && !last.bytes().all(|b| b.is_ascii_digit())).then_some(ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(raw: &str) -> String {
        normalise_email(raw, true).expect(raw).key().to_owned()
    }

    #[test]
    fn spellings_of_one_mailbox_have_one_key() {
        for (one, other) in [
            ("A@X.com", "a@x.com "),
            ("ann@example.com", "\u{FEFF}ann@EXAMPLE.com\u{00A0}"),
            ("ann@example.com", "Ann Example <ann@example.com>"),
            ("ann@example.com", "\"Example, Ann\" < ann@example.com >"),
            ("ann@example.com", "mailto:ann@example.com"),
            ("ann@example.com", "ann+news@example.com"),
            ("ann@example.com", "ann+a+b@example.com"),
            ("info@bücher.example", "info@xn--bcher-kva.example"),
            ("info@bücher.example", "info@BU\u{0308}CHER.example"),
            ("rene\u{0301}@example.com", "ren\u{00E9}@example.com"),
            ("ann@example.com", "ann@example\u{3002}com"),
            ("ann@example.com", "\u{FF21}\u{FF4E}n@example.com"),
            ("ann@example.com", "ann\u{FF0B}news@example.com"),
        ] {
            assert_eq!(key(one), key(other), "{one} and {other}");
        }
    }

    #[test]
    fn other_mailboxes_have_other_keys() {
        for (one, other) in [
            ("a.b@gmail.com", "ab@gmail.com"),
            ("ann@example.com", "ann@example.org"),
            ("ann@paypal.com", "ann@p\u{0430}ypal.com"),
            ("ann@example.com", "\u{0430}nn@example.com"),
            ("+news@example.com", "+other@example.com"),
            ("rene@example.com", "ren\u{00E9}@example.com"),
        ] {
            assert_ne!(key(one), key(other), "{one} and {other}");
        }
    }

    #[test]
    fn a_tag_counts_when_it_is_asked_to() {
        let tagged = normalise_email("ann+news@example.com", false).unwrap();
        assert_eq!(tagged.key(), "ann+news@example.com");
    }

    #[test]
    fn the_address_is_kept_as_written_but_for_its_domain() {
        let email = normalise_email(" Ann.Lee+News@Bücher.Example ", true).unwrap();
        assert_eq!(email.address(), "Ann.Lee+News@xn--bcher-kva.example");
        assert_eq!(email.key(), "ann.lee@xn--bcher-kva.example");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long_domain = format!("a@{}com", "abcdefgh.".repeat(30));
        let endless = "a".repeat(5_000);
        for (raw, refusal) in [
            ("", EmailError::Empty),
            (" \t\u{200B}", EmailError::Empty),
            ("ann", EmailError::NoAt),
            ("ann@home@example.com", EmailError::ManyAts),
            ("\"ann lee\"@example.com", EmailError::Quoted),
            ("ann lee@example.com", EmailError::LocalPart),
            (".ann@example.com", EmailError::LocalPart),
            ("ann..lee@example.com", EmailError::LocalPart),
            ("@example.com", EmailError::LocalPart),
            ("ann\0@example.com", EmailError::LocalPart),
            ("ann\u{FF20}home@example.com", EmailError::LocalPart),
            ("\u{FF02}ann\u{FF02}@example.com", EmailError::LocalPart),
            ("ann@", EmailError::Domain),
            ("ann@localhost", EmailError::Domain),
            ("ann@example..com", EmailError::Domain),
            ("ann@-example.com", EmailError::Domain),
            ("ann@exa mple.com", EmailError::Domain),
            ("ann@example.com,bob@example.com", EmailError::ManyAts),
            ("ann@192.168.1.1", EmailError::Domain),
            ("ann@[192.168.1.1]", EmailError::Domain),
            ("ann@xn--\u{0430}.com", EmailError::Domain),
            (long_local.as_str(), EmailError::TooLong),
            (endless.as_str(), EmailError::TooLong),
        ] {
            assert_eq!(normalise_email(raw, true), Err(refusal), "{raw:?}");
        }
        assert!(normalise_email(&long_domain, true).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics_and_a_kept_address_reads_as_itself(raw in ".{0,80}") {
            if let Ok(email) = normalise_email(&raw, true) {
                let again = normalise_email(email.address(), true);
                proptest::prop_assert_eq!(again, Ok(email));
            }
        }
    }
}
