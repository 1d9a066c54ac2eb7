//! Heads of mails, as far as they are read.
//!
//! A mail comes from strangers, and what the library needs to read one field may grow with the square of its length: it
//! compares continued parameters (RFC 2231) with each other, and reads whatever begins like an encoded word to the end of
//! the field, again for each beginning. A mail of 1 MB would keep a thread for many seconds. So a field that is longer than
//! programs write, or has more of these than they do, is left out before anything is read, and so is what is beyond the
//! bytes of a head.

use std::borrow::Cow;
use std::ops::Range;

/// Bytes of a field, unfolded or not. `References` of a long thread come to a few thousand.
const FIELD_MAX: usize = 16 * 1024;
/// What reading a field may cost: its bytes, times how often it has something that the library may read the rest of it for.
/// A subject of fifty encoded words comes to 190 000, a name of a file in fifty encoded pieces to 180 000.
const COST_MAX: usize = 256 * 1024;
/// Bytes of a head. Most are below 20 KiB.
const HEAD_MAX: usize = 256 * 1024;

/// The mail without the fields of its head that are not looked at.
pub fn bounded(mail: &[u8]) -> Cow<'_, [u8]> {
    let mut kept = Vec::new();
    let mut length = 0;
    let mut end = 0;
    for field in fields(mail) {
        end = field.end;
        if is_read(&mail[field.clone()]) && length + field.len() <= HEAD_MAX {
            length += field.len();
            kept.push(field);
        }
    }
    if length == end {
        return mail.into();
    }
    let mut left = Vec::with_capacity(length + mail.len() - end);
    kept.into_iter().for_each(|field| left.extend_from_slice(&mail[field]));
    left.extend_from_slice(&mail[end..]);
    left.into()
}

/// Whether the head of a part is so short, and none of its fields such, that it can be read as it is.
pub fn is_plain(raw: &[u8], max: usize) -> bool {
    let mut length = 0;
    fields(raw).all(|field| {
        length = field.end;
        length <= max && is_read(&raw[field])
    })
}

fn is_read(field: &[u8]) -> bool {
    let encoded = memchr::memmem::find_iter(field, b"=?").count();
    field.len() <= FIELD_MAX && field.len() * (encoded + pieces(field)) <= COST_MAX
}

/// Pieces of continued parameters, of which each has one or two stars: `name*7=` or `name*7*=`. Other fields have none.
fn pieces(field: &[u8]) -> usize {
    const OF_A_PART: &[u8] = b"content-";
    if !field.get(..OF_A_PART.len()).is_some_and(|name| name.eq_ignore_ascii_case(OF_A_PART)) {
        return 0;
    }
    let stars = memchr::memchr_iter(b'*', field);
    let numbered = stars.clone().filter(|at| field.get(at + 1).is_some_and(u8::is_ascii_digit)).count();
    numbered.max(stars.count().div_ceil(2))
}

/// Where the fields lie, with the lines that go on with them, up to the empty line (RFC 5322, 2.2).
fn fields(raw: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let begun = at;
        while at < raw.len() {
            let rest = &raw[at..];
            let line = memchr::memchr(b'\n', rest).map_or(rest, |end| &rest[..=end]);
            let goes_on = line.starts_with(b" ") || line.starts_with(b"\t");
            if at > begun && !goes_on {
                break;
            }
            if !goes_on && line.trim_ascii().is_empty() {
                return None;
            }
            at += line.len();
        }
        (at > begun).then_some(begun..at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_at_the_empty_line_and_a_field_where_no_line_goes_on_with_it() {
        for (mail, expected) in [
            (
                "A: 1\r\nB: 2\r\n  3\r\n\t4\r\nC: 5\r\n\r\nbody: 6\r\n",
                &["A: 1", "B: 2\r\n  3\r\n\t4", "C: 5"][..],
            ),
            ("A: 1\nB: 2\n\nC: 3\n", &["A: 1", "B: 2"]),
            ("A: 1\r\n \r\nB: 2\r\n\r\n", &["A: 1", "B: 2"]),
            ("A: 1", &["A: 1"]),
            ("\r\nA: 1\r\n", &[]),
            ("", &[]),
        ] {
            let found: Vec<_> = fields(mail.as_bytes()).map(|field| mail[field].trim_end()).collect();
            assert_eq!(found, expected, "{mail:?}");
        }
    }

    #[test]
    fn what_would_cost_too_much_is_left_out() {
        let word = format!("=?utf-8?b?{}?=\r\n ", "x".repeat(60));
        let piece = format!("filename*7*={};\r\n ", "%C3%A9".repeat(9));
        for (name, piece, count, plain) in [
            ("Content-Type", "a*1=x;", 200, true),
            ("Content-Type", "a*1=x;", 1_000, false),
            ("content-type", "a**=x;", 1_000, false),
            ("Content-Disposition", &piece, 55, true),
            ("Content-Disposition", &piece, 70, false),
            ("Subject", &word, 55, true),
            ("Subject", &word, 70, false),
            ("Subject", "=?u8?q?x ", 150, true),
            ("Subject", "=?u8?q?x ", 1_000, false),
            ("References", "<a*1*b@c> ", 1_000, true),
            ("To", "name <a@b>, ", 1_000, true),
        ] {
            let mail = format!("{name}: {}\r\n\r\nbody", piece.repeat(count));
            assert_eq!(bounded(mail.as_bytes()).len() == mail.len(), plain, "{piece} {count}");
            assert_eq!(is_plain(mail.as_bytes(), FIELD_MAX), plain, "{piece} {count}");
        }
        assert!(!is_plain(b"A: 1\r\nB: 2\r\n\r\n", 8));
    }

    #[test]
    fn only_what_is_too_long_is_left_out() {
        let usual = "Subject: a\r\nReferences: <b@c>\r\n <d@e>\r\n\r\nText: of the body\r\n";
        assert!(matches!(bounded(usual.as_bytes()), Cow::Borrowed(_)));
        let long = format!(
            "Subject: a\r\nX: {}To: b\r\n\r\n{}",
            " y\r\n".repeat(FIELD_MAX),
            "z".repeat(FIELD_MAX * 2)
        );
        let expected = format!("Subject: a\r\nTo: b\r\n\r\n{}", "z".repeat(FIELD_MAX * 2));
        assert_eq!(bounded(long.as_bytes()), expected.as_bytes());
        let many = format!("{}\r\nbody", "X: 1234\r\n".repeat(HEAD_MAX));
        let left = bounded(many.as_bytes());
        assert!((HEAD_MAX - 9..=HEAD_MAX).contains(&(left.len() - "\r\nbody".len())));
        assert!(left.ends_with(b"\r\n\r\nbody"));
    }
}
