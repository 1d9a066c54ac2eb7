//! What a provider said, fit for a reason that is stored and shown.
//!
//! Providers repeat in their errors what they were given: addresses, numbers, and now and then the credential, as it
//! is or as it travelled. None of that passes, in whatever of the usual encodings it comes.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::percent_decode_str;

/// Characters that are repeated.
const CHARACTERS_MAX: usize = 150;
/// Bytes of an answer that are looked at: more than are repeated, so that nothing is cut before it is recognised.
const BYTES_MAX: usize = 16 * 1024;
/// Characters of an encoded form, at least; a shorter one would be found in half of all words.
const FORM_MIN: usize = 6;
/// Digits of a telephone number, at least; an enhanced status code or an error code has fewer.
const NUMBER_DIGITS_MIN: usize = 7;
/// What stands for whatever is not repeated.
const HIDDEN: &str = "…";

/// What a provider said: one line, bounded, without addresses, numbers that may be telephone numbers, links, and
/// anything in `never`, be it in Base64, percent-encoded, in hexadecimal or as a string of JSON.
pub(super) fn said(text: &str, never: &[&str]) -> String {
    let never: Vec<&str> = never.iter().copied().filter(|secret| secret.len() >= 3).collect();
    let mut text = text[..text.floor_char_boundary(BYTES_MAX)].to_owned();
    for secret in &never {
        text = text.replace(secret, HIDDEN);
        for form in encoded(secret) {
            text = without_words_around(&text, &form);
        }
    }
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let words: Vec<&str> =
        words.map(|word| if tells(word) || escapes(word, &never) { HIDDEN } else { word }).collect();
    let mut told: Vec<&str> = Vec::with_capacity(words.len());
    for together in words.chunk_by(|before, after| of_digits(before) && of_digits(after)) {
        let number = together.len() > 1 && digits(together) >= NUMBER_DIGITS_MIN;
        told.extend(if number { &[HIDDEN][..] } else { together });
    }
    told.join(" ").chars().take(CHARACTERS_MAX).collect()
}

/// Whether a word may say who somebody is.
fn tells(word: &str) -> bool {
    let number = digits(&[word]) >= NUMBER_DIGITS_MIN;
    word.contains('@') || word.contains("//") || number || word.chars().nth(60).is_some()
}

/// Whether a word may be a group of the digits of a telephone number.
fn of_digits(word: &str) -> bool {
    digits(&[word]) > 0 && word.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_punctuation())
}

fn digits(words: &[&str]) -> usize {
    words.iter().flat_map(|word| word.bytes()).filter(u8::is_ascii_digit).count()
}

/// Whether a word is percent-encoded and decodes to a secret. Which characters are encoded differs too much to be
/// listed.
fn escapes(word: &str, never: &[&str]) -> bool {
    if !word.contains(['%', '+']) {
        return false;
    }
    let spaced = word.replace('+', " ");
    [word, &spaced].into_iter().any(|word| {
        let decoded: Cow<'_, str> = percent_decode_str(word).decode_utf8_lossy();
        never.iter().any(|secret| decoded.contains(secret))
    })
}

/// How a secret may look in one piece, in lower case: in Base64 whatever stands beside it, in hexadecimal, and
/// escaped in a string of JSON.
fn encoded(secret: &str) -> Vec<String> {
    let mut forms = Vec::with_capacity(8);
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(secret.as_bytes());
        // Of the first and last group only the neighbours decide.
        bytes.truncate(bytes.len() / 3 * 3);
        let from = if before == 0 { 0 } else { 4 };
        for whole in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            forms.extend(whole.get(from..).map(str::to_ascii_lowercase));
        }
    }
    forms.push(hex::encode(secret));
    let escaped = serde_json::Value::from(secret).to_string();
    forms.extend(escaped.get(1..escaped.len() - 1).map(str::to_ascii_lowercase));
    forms.retain(|form| form.len() >= FORM_MIN);
    forms
}

/// The text without the words in which a form occurs, in whatever case.
fn without_words_around(text: &str, form: &str) -> String {
    // Of the same length, byte by byte.
    let lower = text.to_ascii_lowercase();
    let mut kept = String::with_capacity(text.len());
    let mut from = 0;
    while let Some(found) = lower[from..].find(form) {
        let (start, end) = (from + found, from + found + form.len());
        let before = &text[from..start];
        kept.push_str(before.trim_end_matches(|c: char| !c.is_whitespace()));
        kept.push_str(HIDDEN);
        from = end + text[end..].find(char::is_whitespace).unwrap_or(text.len() - end);
    }
    kept.push_str(&text[from..]);
    kept
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

    use super::*;

    #[test]
    fn what_a_provider_said_is_repeated_without_telling_who() {
        for (text, expected) in [
            ("5.1.1 <ada@example.com>: user unknown", "5.1.1 … user unknown"),
            ("no such\r\nuser: Ada Lovelace", "no such user: …"),
            ("call +33612345678 or 131047", "call … or 131047"),
            ("call '+33 6 12 34 56 78' or 131047.", "call … or 131047."),
            ("call (0) 6-12-34 56.78 today", "call … today"),
            ("tried 3 times in 10 000 ms", "tried 3 times in 10 000 ms"),
            ("see https://example.com/?u=ada", "see …"),
            ("key re_123456_abc refused", "key … refused"),
            ("100% of +ten", "100% of +ten"),
        ] {
            assert_eq!(said(text, &["Ada Lovelace", "re_123456_abc"]), expected);
        }
        assert!(said(&"long ".repeat(1_000), &[]).chars().count() <= CHARACTERS_MAX);
        assert!(said(&"é".repeat(BYTES_MAX), &[]).chars().count() <= CHARACTERS_MAX);
    }

    #[test]
    fn a_secret_is_recognised_as_it_travelled() {
        let secret = "p:/w\\rd \"c4n+4ry\" é";
        let both = format!("\0ops\0{secret}");
        for written in [
            STANDARD.encode(secret),
            STANDARD.encode(&both),
            URL_SAFE_NO_PAD.encode(&both),
            STANDARD.encode(format!("u:{secret}")),
            utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
            secret.replace(' ', "%20"),
            utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string().replace("%20", "+").to_lowercase(),
            hex::encode(secret),
            hex::encode_upper(secret),
            serde_json::Value::from(secret).to_string(),
        ] {
            let told = said(&format!("refused {written} twice"), &[secret]);
            assert_eq!(told, "refused … twice", "{written}");
        }
    }

    #[test]
    fn what_is_too_short_hides_nothing() {
        assert_eq!(said("an answer by ab", &["ab", ""]), "an answer by ab");
    }
}
