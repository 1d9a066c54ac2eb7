//! Which of some names was probably meant by one that is none of them. A hint for whoever mistyped; nothing is decided by it.

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

#[cfg(test)]
mod tests {
    use super::*;

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
