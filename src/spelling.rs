//! What is told of a text that somebody sent: which of some names was probably meant by one that is none of them, and as
//! much of a long one as it is recognised by. Hints for whoever mistyped; nothing is decided by them.

use std::borrow::Cow;

/// Letters of a name that are compared, at most.
const LETTERS_MAX: usize = 64;

/// The name that was probably meant, if one is close enough: case and punctuation aside, one letter in five may differ.
/// Who mistypes a short name still begins it rightly: of four letters another one first is another word.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| -> Vec<char> {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(LETTERS_MAX).collect()
    };
    let wanted = plain(name);
    known
        .into_iter()
        .map(|known| (plain(known), known))
        .map(|(letters, known)| (strsim::generic_levenshtein(&wanted, &letters), letters, known))
        .filter(|(distance, letters, _)| {
            let begun = wanted.first() == letters.first() || distance * 5 <= letters.len();
            begun && *distance <= 1 + letters.len() / 5
        })
        .min_by_key(|(distance, _, _)| *distance)
        .map(|(_, _, known)| known)
}

/// A text of at most `max` characters: of a longer one its beginning and its end, which says what to do about it.
pub fn shortened(text: &str, max: usize) -> Cow<'_, str> {
    let length = text.chars().count();
    if length <= max {
        return Cow::Borrowed(text);
    }
    let end = max / 4;
    let begun: String = text.chars().take(max.saturating_sub(end + 1)).collect();
    let ended: String = text.chars().skip(length - end).collect();
    Cow::Owned(format!("{begun}…{ended}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_text_both_ends_are_left() {
        for (text, max, left) in [
            ("", 4, ""),
            ("abcd", 4, "abcd"),
            ("abcdefghij", 8, "abcde…ij"),
            ("éééééééééé", 4, "éé…é"),
            ("abc", 1, "…"),
        ] {
            assert_eq!(shortened(text, max), left, "{text}");
        }
    }

    #[test]
    fn a_mistyped_name_is_recognised_and_another_is_not() {
        for (name, known, meant) in [
            ("list_campaign", ["list_campaigns", "get_campaign"], Some("list_campaigns")),
            ("replyto", ["replyTo", "fromName"], Some("replyTo")),
            ("from_adress", ["fromName", "fromAddress"], Some("fromAddress")),
            ("colour", ["limit", "cursor"], None),
            ("next", ["text", "type"], None),
            ("tect", ["text", "type"], Some("text")),
            ("", ["limit", "cursor"], None),
        ] {
            assert_eq!(nearest(name, known), meant, "{name}");
        }
    }
}
