//! From the bytes of a file to UTF-8.
//!
//! Nothing in a CSV file says how it is encoded, so it is worked out, in this order:
//!
//! 1. A byte-order mark is believed. UTF-32 is refused by name.
//! 2. A file of another kind (an Excel workbook, a PDF, a web page) is refused, and the refusal says what it
//!    looks like.
//! 3. NUL in every second byte is UTF-16 without a mark.
//! 4. Bytes that are all valid UTF-8 are UTF-8.
//! 5. The rest is either Windows-1252, or UTF-8 with damage. Text in Windows-1252 contains a well-formed
//!    multi-byte UTF-8 sequence only by accident, so the majority decides: at least as many well-formed
//!    sequences as malformed ones means UTF-8, and each damaged row is an invalid row; fewer means
//!    Windows-1252. A file that is UTF-8 for 900 MB and then has one stray byte thus loses one row with a
//!    reason, instead of turning every accent in it to rubbish. A file that is plain ASCII up to that byte is
//!    Windows-1252 and loses nothing.
//!
//! UTF-8 is passed through unchanged and judged row by row; other encodings are decoded as they stream by.
//! What cannot be decoded becomes U+FFFD, which makes its row invalid.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;

use encoding_rs::{CoderResult, Decoder};
use serde::{Deserialize, Serialize};

use super::error::ReadError;
use super::spool::Scan;

/// How many bytes at the start of a file are looked at to tell what it is.
pub(super) const HEAD: usize = 8 * 1024;

const RAW: usize = 64 * 1024;

/// An encoding in which contacts are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "utf-16le")]
    Utf16Le,
    #[serde(rename = "utf-16be")]
    Utf16Be,
    #[serde(rename = "windows-1252")]
    Windows1252,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Encoding::Utf8 => "UTF-8",
            Encoding::Utf16Le => "UTF-16LE",
            Encoding::Utf16Be => "UTF-16BE",
            Encoding::Windows1252 => "Windows-1252",
        })
    }
}

/// The encoding of a file and the length of its byte-order mark, from its first [`HEAD`] bytes and its scan.
pub(super) fn detect(head: &[u8], scan: &Scan) -> Result<(Encoding, usize), ReadError> {
    const MARKS: [(&[u8], Encoding); 3] = [
        (&[0xEF, 0xBB, 0xBF], Encoding::Utf8),
        (&[0xFF, 0xFE], Encoding::Utf16Le),
        (&[0xFE, 0xFF], Encoding::Utf16Be),
    ];
    if head.starts_with(&[0xFF, 0xFE, 0, 0]) || head.starts_with(&[0, 0, 0xFE, 0xFF]) {
        return Err(ReadError::Utf32);
    }
    if let Some((mark, encoding)) = MARKS.iter().find(|(mark, _)| head.starts_with(mark)) {
        return Ok((*encoding, mark.len()));
    }
    if let Some(what) = other_kind(head) {
        return Err(ReadError::NotCsv { what });
    }
    if let Some(encoding) = utf16_without_mark(head) {
        return Ok((encoding, 0));
    }
    if is_binary(head) {
        return Err(ReadError::NotCsv { what: "a binary file" });
    }
    let damaged_utf8 = scan.multibyte > 0 && scan.multibyte >= scan.malformed;
    if scan.is_utf8() || damaged_utf8 {
        return Ok((Encoding::Utf8, 0));
    }
    Ok((Encoding::Windows1252, 0))
}

/// Names the files that people send instead of a CSV file, by their first bytes.
fn other_kind(head: &[u8]) -> Option<&'static str> {
    const SIGNATURES: [(&[u8], &str); 14] = [
        (b"%PDF-", "a PDF document"),
        (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", "an old Excel workbook (.xls)"),
        (b"\x1F\x8B", "a gzip archive"),
        (b"7z\xBC\xAF\x27\x1C", "a 7-Zip archive"),
        (b"Rar!\x1A\x07", "a RAR archive"),
        (b"\x89PNG", "an image"),
        (b"\xFF\xD8\xFF", "an image"),
        (b"GIF8", "an image"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"PAR1", "a Parquet file"),
        (b"\x7FELF", "a program"),
        (b"{\\rtf", "a rich-text document"),
        (b"BEGIN:VCARD", "a vCard file"),
        (b"bplist00", "a property list"),
    ];
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        let holds = |part: &[u8]| memchr::memmem::find(head, part).is_some();
        return Some(if holds(b"opendocument.spreadsheet") {
            "an OpenDocument spreadsheet (.ods)"
        } else if holds(b"xl/") || holds(b"[Content_Types].xml") {
            "an Excel workbook (.xlsx)"
        } else {
            "a ZIP archive"
        });
    }
    if let Some((_, what)) = SIGNATURES.iter().find(|(bytes, _)| head.starts_with(bytes)) {
        return Some(what);
    }
    let text = head.trim_ascii_start();
    let begins = |prefix: &str| {
        text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    if ["<!doctype html", "<html", "<table"].into_iter().any(begins) {
        return Some("a web page");
    }
    if begins("<?xml") {
        return Some("an XML document");
    }
    let after_bracket = text.get(1..).unwrap_or_default().trim_ascii_start().first();
    match (text.first(), after_bracket) {
        (Some(b'{'), Some(b'"')) | (Some(b'['), Some(b'{')) => Some("a JSON document"),
        _ => None,
    }
}

/// Latin text in UTF-16 has a NUL as the high half of nearly every unit, and hardly ever one as the low half.
fn utf16_without_mark(head: &[u8]) -> Option<Encoding> {
    let units = head.chunks_exact(2);
    let count = units.len();
    let (even, odd) = units.fold((0, 0), |(even, odd), unit| {
        (even + usize::from(unit[0] == 0), odd + usize::from(unit[1] == 0))
    });
    // A few NULs in a short file are a defect and not an encoding.
    let mostly = |high: usize, low: usize| high >= 4 && high * 4 > count && low * 10 < high;
    if mostly(odd, even) {
        Some(Encoding::Utf16Le)
    } else if mostly(even, odd) {
        Some(Encoding::Utf16Be)
    } else {
        None
    }
}

/// Stray control characters are a row's fault; one byte in ten is no text at all.
fn is_binary(head: &[u8]) -> bool {
    let control = |byte: &u8| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r');
    head.len() >= 64 && head.iter().filter(|byte| control(byte)).count() * 10 > head.len()
}

/// A file as UTF-8. Give its reads room for at least a few characters.
pub(super) struct Text<F> {
    file: F,
    /// None: the bytes are passed through.
    decoder: Option<Decoder>,
    raw: Vec<u8>,
    pending: Range<usize>,
    state: State,
    consumed: u64,
}

#[derive(PartialEq, Eq)]
enum State {
    Reading,
    FileEnded,
    Flushed,
}

impl<F: Read> Text<F> {
    /// `file` stands just behind its byte-order mark, which was `mark` bytes long.
    pub(super) fn new(file: F, encoding: Encoding, mark: usize) -> Text<F> {
        let decoder = match encoding {
            Encoding::Utf8 => None,
            Encoding::Utf16Le => Some(encoding_rs::UTF_16LE),
            Encoding::Utf16Be => Some(encoding_rs::UTF_16BE),
            Encoding::Windows1252 => Some(encoding_rs::WINDOWS_1252),
        }
        .map(encoding_rs::Encoding::new_decoder_without_bom_handling);
        Text {
            file,
            raw: if decoder.is_some() { vec![0; RAW] } else { Vec::new() },
            decoder,
            pending: 0..0,
            state: State::Reading,
            consumed: mark as u64,
        }
    }

    /// Bytes of the file that were used so far.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }
}

impl<F: Read> Read for Text<F> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(decoder) = &mut self.decoder else {
            let read = self.file.read(out)?;
            self.consumed += read as u64;
            return Ok(read);
        };
        while self.state != State::Flushed {
            if self.pending.is_empty() && self.state == State::Reading {
                let read = self.file.read(&mut self.raw)?;
                self.pending = 0..read;
                if read == 0 {
                    self.state = State::FileEnded;
                }
            }
            let last = self.state == State::FileEnded;
            let (result, read, written, _) =
                decoder.decode_to_utf8(&self.raw[self.pending.clone()], out, last);
            self.pending.start += read;
            self.consumed += read as u64;
            if last && result == CoderResult::InputEmpty {
                self.state = State::Flushed;
            }
            if written > 0 {
                return Ok(written);
            }
            if result == CoderResult::OutputFull {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "no room for one character"));
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(bytes: &[u8]) -> Result<(Encoding, usize), String> {
        let scan = Scan::of(&mut io::Cursor::new(bytes)).unwrap();
        detect(&bytes[..bytes.len().min(HEAD)], &scan).map_err(|refusal| refusal.to_string())
    }

    fn utf16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    }

    #[test]
    fn the_encoding_is_found() {
        let accents = "é".repeat(500);
        for (bytes, expected) in [
            (b"email\na@example.com".to_vec(), (Encoding::Utf8, 0)),
            ("prénom\nZoé".into(), (Encoding::Utf8, 0)),
            ("\u{feff}prénom".into(), (Encoding::Utf8, 3)),
            (b"pr\xe9nom\nZo\xe9".to_vec(), (Encoding::Windows1252, 0)),
            (utf16("\u{feff}prénom", u16::to_le_bytes), (Encoding::Utf16Le, 2)),
            (utf16("\u{feff}prénom", u16::to_be_bytes), (Encoding::Utf16Be, 2)),
            (utf16("prénom\tville", u16::to_le_bytes), (Encoding::Utf16Le, 0)),
            (utf16("prénom\tville", u16::to_be_bytes), (Encoding::Utf16Be, 0)),
            // Mostly UTF-8, one stray byte: one damaged row, not a thousand.
            ([accents.as_bytes(), b"\xe9"].concat(), (Encoding::Utf8, 0)),
            // As many good sequences as bad ones, and fewer.
            (b"\xc3\xa9\xc3\xa9\xe9;\xe9;".to_vec(), (Encoding::Utf8, 0)),
            (b"\xc3\xa9\xe9;\xe9;".to_vec(), (Encoding::Windows1252, 0)),
            // Plain ASCII up to one Windows-1252 byte at the end.
            ([&[b'a'; 20_000][..], b"\xe9"].concat(), (Encoding::Windows1252, 0)),
            // Upper-case E acute before a closing quotation mark happens to be valid UTF-8.
            (b"pr\xe9nom;soci\xe9t\xe9\nZo\xe9;CAF\xc9\xbb".to_vec(), (Encoding::Windows1252, 0)),
            (b"email\na\0b\n".to_vec(), (Encoding::Utf8, 0)),
            // One NUL in an ordinary file is the fault of one row.
            (b"email\na\0@example.com\nb@example.com\n".to_vec(), (Encoding::Utf8, 0)),
        ] {
            assert_eq!(
                detected(&bytes),
                Ok(expected),
                "{:?}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(40)])
            );
        }
    }

    #[test]
    fn a_file_of_another_kind_is_called_by_its_name() {
        for (bytes, expected) in [
            (&b"PK\x03\x04\x14\0\x06\0\x08\0[Content_Types].xml"[..], "an Excel workbook (.xlsx)"),
            (
                b"PK\x03\x04mimetypeapplication/vnd.oasis.opendocument.spreadsheet",
                "an OpenDocument spreadsheet (.ods)",
            ),
            (b"PK\x03\x04\x14\0photo.jpg", "a ZIP archive"),
            (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1\0\0", "an old Excel workbook (.xls)"),
            (b"%PDF-1.7\n", "a PDF document"),
            (b"\x1F\x8B\x08\0", "a gzip archive"),
            (b"  <!DOCTYPE html><html>", "a web page"),
            (b"<?xml version=\"1.0\"?>", "an XML document"),
            (b"[ {\"email\": 1}]", "a JSON document"),
            (b"{\"email\": 1}", "a JSON document"),
            (b"BEGIN:VCARD\r\n", "a vCard file"),
            (&[1; 64], "a binary file"),
            (&[0; 64], "a binary file"),
        ] {
            let refusal = detected(bytes).unwrap_err();
            assert!(refusal.contains(expected), "{refusal} for {bytes:?}");
        }
        assert!(detected(b"\xFF\xFE\0\0a\0\0\0").unwrap_err().contains("UTF-32"));
        assert!(detected(b"\0\0\xFE\xFF\0\0\0a").unwrap_err().contains("UTF-32"));
    }

    fn decoded(text: &mut Text<&[u8]>) -> String {
        let mut decoded = vec![];
        let mut buffer = [0; 1000];
        loop {
            match text.read(&mut buffer).unwrap() {
                0 => return String::from_utf8(decoded).unwrap(),
                read => decoded.extend_from_slice(&buffer[..read]),
            }
        }
    }

    #[test]
    fn text_is_decoded_as_it_streams() {
        let long = "prénom€😀;".repeat(20_000);
        for (bytes, encoding) in [
            (utf16(&long, u16::to_le_bytes), Encoding::Utf16Le),
            (utf16(&long, u16::to_be_bytes), Encoding::Utf16Be),
            (long.clone().into_bytes(), Encoding::Utf8),
        ] {
            let mut text = Text::new(&bytes[..], encoding, 0);
            assert_eq!(decoded(&mut text), long);
            assert_eq!(text.consumed(), bytes.len() as u64);
        }
    }

    #[test]
    fn half_a_character_at_the_end_is_marked() {
        for (bytes, expected) in
            [(&b"a\0b"[..], "a\u{fffd}"), (b"a\0\x00\xd8b\0", "a\u{fffd}b"), (b"\x00\xd8", "\u{fffd}")]
        {
            assert_eq!(decoded(&mut Text::new(bytes, Encoding::Utf16Le, 0)), expected);
        }
    }
}
