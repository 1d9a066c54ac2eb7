//! From a cell to a value.
//!
//! A value is decoded, trimmed of white space and of invisible marks that copying leaves at its ends, brought
//! to Unicode normalisation form C, and bounded. White space inside a one-line value is a single space. A
//! value that is empty then is no value. Control characters are a fault, never dropped silently.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::error::RowFault;

/// The most tags of a contact.
pub const MAX_TAGS: usize = 50;
/// The longest tag, in characters.
pub const MAX_TAG: usize = 64;

/// How a value may look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// In characters.
    pub max: usize,
    pub lines: Lines,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    One,
    Many,
}

/// Reads a cell; None when there is nothing in it.
pub(super) fn read(cell: &[u8], shape: Shape) -> Result<Option<Cow<'_, str>>, RowFault> {
    let text = std::str::from_utf8(cell).map_err(|_| RowFault::Undecodable)?;
    if is_tidy(cell, shape) {
        return Ok(Some(Cow::Borrowed(text)));
    }
    let text = trim(unwrap_formula(trim(text)));
    if text.is_empty() {
        return Ok(None);
    }
    let is_ascii = text.is_ascii();
    refuse_controls(text, is_ascii)?;
    let mut value = if is_ascii || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.nfc().collect())
    };
    if shape.lines == Lines::One && !has_single_spaces(&value, is_ascii) {
        value = Cow::Owned(value.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let is_short = value.len() <= shape.max || value.chars().count() <= shape.max;
    if is_short { Ok(Some(value)) } else { Err(RowFault::ValueTooLong { max: shape.max }) }
}

/// Whether a cell is plainly a value as it stands: nearly all cells are, so this is worth asking first.
fn is_tidy(cell: &[u8], shape: Shape) -> bool {
    let [first, .., last] = cell else {
        return false;
    };
    let mut before = b'x';
    let has_plain_spaces = cell.iter().all(|byte| {
        let is_plain = (b' '..0x7F).contains(byte) && !(*byte == b' ' && before == b' ');
        before = *byte;
        is_plain
    });
    cell.len() <= shape.max && has_plain_spaces && *first != b' ' && *first != b'=' && *last != b' '
}

/// Reads a header, whose length is judged elsewhere.
pub(super) fn header(cell: &[u8]) -> Result<String, RowFault> {
    let shape = Shape { max: usize::MAX, lines: Lines::One };
    Ok(read(cell, shape)?.unwrap_or_default().into_owned())
}

/// Whether a cell holds nothing but white space.
pub(super) fn is_blank(cell: &[u8]) -> bool {
    cell.is_empty() || std::str::from_utf8(cell).is_ok_and(|text| trim(text).is_empty())
}

/// A cell as it may be shown and stored beside its fault: controls made visible, bounded.
pub(super) fn shown(cell: &[u8], max: usize) -> String {
    let text = String::from_utf8_lossy(&cell[..cell.len().min(4 * max)]);
    let mut shown: String = text.chars().take(max).map(visible).collect();
    if text.chars().nth(max).is_some() || cell.len() > 4 * max {
        shown.push('…');
    }
    shown
}

fn visible(c: char) -> char {
    match c {
        '\t' | '\n' | '\r' => c,
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        _ if c.is_control() => '\u{fffd}',
        _ => c,
    }
}

/// The tags in a cell: separated by commas, semicolons, bars, line ends, or Google's ` ::: `.
pub(super) fn tags(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ';', '|', '\n', '\r'])
        .flat_map(|part| part.split(":::"))
        // Google marks its own groups with a star, and Mailchimp puts quotes around each tag.
        .map(|tag| trim(trim(tag).trim_start_matches("* ").trim_matches('"')))
        .filter(|tag| !tag.is_empty())
}

/// The first of several values in a cell, and the rest; Google writes ` ::: ` between them.
pub(super) fn first_of_several(text: &str) -> (&str, Option<&str>) {
    // Looking for one character is much cheaper, and nearly always enough.
    match text.contains(':').then(|| text.split_once(" ::: ")).flatten() {
        Some((first, rest)) => (trim(first), Some(trim(rest))),
        None => (text, None),
    }
}

/// What a yes-or-no cell says; None when it says neither. A date says yes: it is when somebody opted out.
pub(super) fn yes_or_no(text: &str) -> Option<bool> {
    #[rustfmt::skip]
    const YES: &[&str] = &[
        "1", "true", "yes", "y", "x", "on", "oui", "o", "vrai", "✓", "✔", "☑", "unsubscribed", "opted out",
        "opt out", "opt-out", "stop", "dnc", "do not contact", "désinscrit", "désinscrite", "désabonné",
        "désabonnée", "ne pas contacter", "ne plus contacter", "refus", "opposé", "opposée", "blacklisted",
        
    ];
    #[rustfmt::skip]
    const NO: &[&str] = &[
        "0", "false", "no", "n", "off", "non", "faux", "-", "–", "—", "☐", "none", "n/a", "null",
        "subscribed", "inscrit", "inscrite", "abonné", "abonnée",
    ];
    let text = text.to_lowercase();
    if YES.contains(&text.as_str()) || is_date(&text) {
        Some(true)
    } else if NO.contains(&text.as_str()) {
        Some(false)
    } else {
        None
    }
}

/// `2024-05-01…`, `01/05/2024…`, `1.5.2024…`: digits, a mark, digits, the same mark, digits.
fn is_date(text: &str) -> bool {
    ['-', '/', '.'].into_iter().any(|mark| {
        let day = text.split([' ', 't']).next().unwrap_or_default();
        let parts: Vec<_> = day.split(mark).collect();
        let are_numbers = parts
            .iter()
            .all(|part| (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit()));
        parts.len() == 3 && are_numbers && parts.iter().filter(|part| part.len() == 4).count() == 1
    })
}

/// `3,36123E+10` is what a spreadsheet makes of a phone number. The digits that it left out are gone.
pub(super) fn is_rounded_number(text: &str) -> bool {
    let Some((digits, exponent)) = text.split_once(['e', 'E']) else {
        return false;
    };
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    digits.split([',', '.']).all(is_number) && exponent.strip_prefix('+').is_some_and(is_number)
}

/// A name in one cell as first and last name.
///
/// `Lovelace, Ada` and `LOVELACE Ada` say themselves which is which; else the last name begins with the
/// second word. A single word is a first name.
pub(super) fn split_name(name: &str) -> (&str, &str) {
    #[rustfmt::skip]
    const TITLES: &[&str] = &[
        "m", "mr", "mrs", "ms", "miss", "mme", "mlle", "dr", "pr", "prof", "me", "monsieur", "madame",
        "mademoiselle",
    ];
    let is_title = |word: &str| TITLES.contains(&word.trim_end_matches('.').to_lowercase().as_str());
    let name = match name.split_once(' ') {
        Some((title, rest)) if is_title(title) => rest,
        _ => name,
    };
    if let Some((last, first)) = name.split_once(',') {
        return (first.trim(), last.trim());
    }
    let is_capital = |word: &str| word.chars().count() > 1 && word.chars().all(|c| !c.is_lowercase());
    let capitals: usize =
        name.split(' ').take_while(|word| is_capital(word)).map(|word| word.len() + 1).sum();
    if capitals > 0 && capitals < name.len() {
        return (&name[capitals..], &name[..capitals - 1]);
    }
    name.split_once(' ').unwrap_or((name, ""))
}

/// White space, and the marks that come along when an address or a number is copied from a page or a phone.
fn trim(text: &str) -> &str {
    let is_mark = |c| {
        matches!(c, '\u{ad}' | '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{2069}')
    };
    text.trim_matches(|c: char| c.is_whitespace() || is_mark(c))
}

/// `="0612345678"` is how a spreadsheet is told to keep a leading zero.
fn unwrap_formula(text: &str) -> &str {
    text.strip_prefix("=\"").and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

fn refuse_controls(text: &str, is_ascii: bool) -> Result<(), RowFault> {
    let is_plain = |byte: u8| byte >= 0x20 && byte != 0x7F || matches!(byte, b'\t' | b'\n' | b'\r');
    if is_ascii && text.bytes().all(is_plain) {
        return Ok(());
    }
    for c in text.chars() {
        match c {
            '\0' => return Err(RowFault::Nul),
            '\u{fffd}' => return Err(RowFault::Undecodable),
            '\t' | '\n' | '\r' => {}
            _ if c.is_control() => return Err(RowFault::ControlCharacter(u32::from(c))),
            _ => {}
        }
    }
    Ok(())
}

fn has_single_spaces(text: &str, is_ascii: bool) -> bool {
    if is_ascii {
        let bytes = text.as_bytes();
        return !bytes.iter().any(|byte| *byte < b' ') && !bytes.windows(2).any(|pair| pair == b"  ");
    }
    let mut before = 'x';
    text.chars().all(|c| {
        let is_single = !c.is_whitespace() || (c == ' ' && before != ' ');
        before = c;
        is_single
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: Shape = Shape { max: 10, lines: Lines::One };
    const MANY: Shape = Shape { max: 10, lines: Lines::Many };

    #[test]
    fn a_value_is_tidied() {
        for (cell, shape, expected) in [
            ("", ONE, None),
            (" \t\u{a0}\u{200b} ", ONE, None),
            ("  Ada  ", ONE, Some("Ada")),
            ("\u{202a}+33 6\u{202c}", ONE, Some("+33 6")),
            ("Jean\u{a0}\u{202f} Luc", ONE, Some("Jean Luc")),
            ("a  b", ONE, Some("a b")),
            ("a  b", MANY, Some("a  b")),
            ("a\r\nb", ONE, Some("a b")),
            ("a\r\nb", MANY, Some("a\r\nb")),
            ("Zoe\u{308}", ONE, Some("Zo\u{eb}")),
            ("=\"0612\"", ONE, Some("0612")),
            ("=\"\"", ONE, None),
            ("\"quoted\"", ONE, Some("\"quoted\"")),
            ("éééééééééé", ONE, Some("éééééééééé")),
        ] {
            assert_eq!(read(cell.as_bytes(), shape).unwrap().as_deref(), expected, "{cell:?}");
        }
    }

    #[test]
    fn what_cannot_be_stored_is_a_fault() {
        for (cell, fault) in [
            (&b"a\0b"[..], RowFault::Nul),
            (b"a\x07b", RowFault::ControlCharacter(7)),
            (b"a\x7fb", RowFault::ControlCharacter(0x7F)),
            ("é\u{81}b".as_bytes(), RowFault::ControlCharacter(0x81)),
            ("é\0".as_bytes(), RowFault::Nul),
            (b"caf\xe9", RowFault::Undecodable),
            ("caf\u{fffd}".as_bytes(), RowFault::Undecodable),
            (b"12345678901", RowFault::ValueTooLong { max: 10 }),
            ("ééééééééééé".as_bytes(), RowFault::ValueTooLong { max: 10 }),
        ] {
            assert_eq!(read(cell, ONE), Err(fault), "{cell:?}");
        }
    }

    #[test]
    fn tags_are_told_apart() {
        for (text, expected) in [
            ("a, b;c|d\ne", &["a", "b", "c", "d", "e"][..]),
            ("* myContacts ::: Family", &["myContacts", "Family"]),
            ("\"clients\",\"spring\"", &["clients", "spring"]),
            (" , ; \"\"", &[]),
        ] {
            assert_eq!(tags(text).collect::<Vec<_>>(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_yes_is_told_from_a_no() {
        for yes in [
            "1",
            "TRUE",
            "Oui",
            "x",
            "Désinscrit",
            "2024-05-01",
            "2024-05-01T10:00:00Z",
            "01/05/2024 10:00",
            "1.5.2024",
        ] {
            assert_eq!(yes_or_no(yes), Some(true), "{yes}");
        }
        for no in ["0", "False", "NON", "-"] {
            assert_eq!(yes_or_no(no), Some(false), "{no}");
        }
        for unclear in ["maybe", "2", "1.5", "192.168.1.1", "12/2024", "2024-2024-1"] {
            assert_eq!(yes_or_no(unclear), None, "{unclear}");
        }
    }

    #[test]
    fn a_number_that_a_spreadsheet_rounded_is_seen() {
        for (text, expected) in [
            ("3.36123E+10", true),
            ("3,36e+10", true),
            ("3E+10", true),
            ("+33612345678", false),
            ("06 12 34 56 78", false),
            ("E+10", false),
            ("12e", false),
        ] {
            assert_eq!(is_rounded_number(text), expected, "{text}");
        }
    }

    #[test]
    fn a_full_name_is_split() {
        for (name, expected) in [
            ("Ada Lovelace", ("Ada", "Lovelace")),
            ("Lovelace, Ada", ("Ada", "Lovelace")),
            ("DE LA TOUR Jean-Luc", ("Jean-Luc", "DE LA TOUR")),
            ("Jean DUPONT", ("Jean", "DUPONT")),
            ("JEAN DUPONT", ("JEAN", "DUPONT")),
            ("Mme Zoé Durand", ("Zoé", "Durand")),
            ("M. DURAND Paul", ("Paul", "DURAND")),
            ("Ludwig van Beethoven", ("Ludwig", "van Beethoven")),
            ("Ada", ("Ada", "")),
            ("J Smith", ("J", "Smith")),
            (",", ("", "")),
        ] {
            assert_eq!(split_name(name), expected, "{name}");
        }
    }

    #[test]
    fn a_shown_cell_is_bounded_and_harmless() {
        for (cell, expected) in [
            (&b"plain"[..], "plain"),
            (b"a\0b\x1b\x7f", "a␀b␛␡"),
            (b"caf\xe9", "caf\u{fffd}"),
            (b"1234567", "12345…"),
            ("éééééé".as_bytes(), "ééééé…"),
        ] {
            assert_eq!(shown(cell, 5), expected, "{cell:?}");
        }
    }

    proptest! {
        #[test]
        fn tidying_twice_changes_nothing(text in any::<String>()) {
            // A formula may hide a formula.
            prop_assume!(!text.contains("=\""));
            let shape = Shape { max: usize::MAX, lines: Lines::One };
            if let Ok(Some(once)) = read(text.as_bytes(), shape) {
                let twice = read(once.as_bytes(), shape).unwrap();
                prop_assert_eq!(twice.as_deref(), Some(&*once));
            }
        }

        #[test]
        fn a_split_name_is_made_of_its_words(name in "[A-Za-zÉé,. ]{0,20}") {
            let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
            let (first, last) = split_name(&name);
            prop_assert!(name.contains(first) && name.contains(last));
        }
    }
}
