//! Which character separates the columns.
//!
//! Excel may say so itself, in a first line `sep=;`. Else the first records are cut with each candidate in
//! turn, quotes observed, and the best reading wins: the one whose header has the most known columns; among
//! those, the one whose records have the header's number of columns most often; among those, the one with the
//! most columns.

use std::io;

use super::error::ReadError;
use super::mapping::MapOverrides;
use super::records::{Cells, Records};
use super::{header, value};

/// How much of the text is looked at, in bytes.
pub(super) const SAMPLE: usize = 128 * 1024;

/// How many records are compared.
const RECORDS: usize = 50;

const CANDIDATES: [u8; 4] = [b',', b';', b'\t', b'|'];

/// The separator that a first line `sep=;` names.
pub(super) fn declared(sample: &[u8]) -> Result<Option<u8>, ReadError> {
    let length = memchr::memchr2(b'\r', b'\n', sample).unwrap_or(sample.len());
    let line = &sample[..length];
    let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
    let Some((name, separator)) = line.split_at_checked(4) else {
        return Ok(None);
    };
    if !name.eq_ignore_ascii_case(b"sep=") {
        return Ok(None);
    }
    match separator {
        [separator] if CANDIDATES.contains(separator) => Ok(Some(*separator)),
        _ => Err(ReadError::BadSeparator),
    }
}

/// The separator that reads a sample best. `is_all` is false when the sample may end amid a record.
pub(super) fn detect(sample: &[u8], is_all: bool, overrides: &MapOverrides) -> io::Result<u8> {
    let mut best = (CANDIDATES[0], Reading::default());
    for candidate in CANDIDATES {
        let reading = Reading::with(candidate, sample, is_all, overrides)?;
        if reading > best.1 {
            best = (candidate, reading);
        }
    }
    Ok(best.0)
}

/// How well a separator fits; the greater the better.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Reading {
    known_columns: usize,
    has_columns: bool,
    /// Records in a thousand that have as many columns as the header.
    even_records: usize,
    columns: usize,
}

impl Reading {
    fn with(separator: u8, sample: &[u8], is_all: bool, overrides: &MapOverrides) -> io::Result<Reading> {
        let mut records = Records::new(sample, separator);
        let mut cells = Cells::new(separator);
        let mut counts = Vec::with_capacity(RECORDS);
        let mut known_columns = 0;
        while counts.len() < RECORDS {
            let Some(record) = records.next()? else {
                if !is_all && counts.len() > 1 {
                    counts.pop();
                }
                break;
            };
            cells.split(record.bytes);
            if counts.is_empty() {
                let is_known = |cell: &[u8]| {
                    let name = value::header(cell).unwrap_or_default();
                    overrides.mentions(&name) || header::recognise(&name).is_some()
                };
                known_columns = cells.iter().filter(|cell| is_known(cell)).count();
            }
            counts.push(cells.len());
        }
        let columns = counts.first().copied().unwrap_or_default();
        let even = counts.iter().filter(|count| **count == columns).count();
        Ok(Reading {
            known_columns,
            has_columns: columns > 1,
            even_records: even * 1000 / counts.len().max(1),
            columns,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_separator_is_found() {
        for (sample, expected) in [
            ("email,city\na@example.com,Paris", b','),
            ("email;city\na@example.com;Paris", b';'),
            ("email\tcity\na@example.com\tParis", b'\t'),
            ("email|city\na@example.com|Paris", b'|'),
            // The other candidates occur inside values, quoted or not.
            ("Nom;Adresse, ville;E-mail\nA, B;C, D;e@example.com", b';'),
            ("name,email,note\nA,a@example.com,\"x;y;z\"\nB,b@example.com,\"x;y;z\"", b','),
            ("\"Nom\";\"Note, libre\"\n\"A\";\"x,y\n,,,,\"", b';'),
            ("email;note\na@example.com;1,5\nb@example.com;2,5", b';'),
            // One column: what never occurs in it.
            ("email\na@example.com\nb@example.com", b','),
            ("email\na@example.com, b@example.com", b';'),
            ("", b','),
        ] {
            let found = detect(sample.as_bytes(), true, &MapOverrides::default()).unwrap();
            assert_eq!(found as char, expected as char, "{sample:?}");
        }
    }

    #[test]
    fn a_map_tells_which_columns_are_known() {
        for (map, expected) in [(r"B\,C:email", b';'), ("A;B:email", b',')] {
            let overrides = MapOverrides::parse([map]).unwrap();
            let found = detect(b"A;B,C;D\n1;2,3;4\n", true, &overrides).unwrap();
            assert_eq!(found as char, expected as char, "{map}");
        }
    }

    #[test]
    fn a_record_that_the_sample_cuts_short_is_not_judged() {
        let sample = b"x;y,z\n1;2,3\n4;5";
        assert_eq!(detect(sample, false, &MapOverrides::default()).unwrap(), b',');
        assert_eq!(detect(sample, true, &MapOverrides::default()).unwrap(), b';');
    }

    #[test]
    fn excel_may_declare_its_separator() {
        for (sample, expected) in [
            (&b"sep=;\r\nemail;city"[..], Some(b';')),
            (b"SEP=,\n", Some(b',')),
            (b"\"sep=\t\"\n", Some(b'\t')),
            (b"sep=|", Some(b'|')),
            (b"separator", None),
            (b"sep", None),
            (b"", None),
        ] {
            assert_eq!(declared(sample).unwrap(), expected);
        }
        for sample in [&b"sep=x\n"[..], b"sep=\n", b"sep=;;\n"] {
            assert!(matches!(declared(sample), Err(ReadError::BadSeparator)));
        }
    }
}
