//! Cuts text into records.
//!
//! The csv crate's parser ([`csv_core`]) is right about everything inside a record and forgiving about
//! everything else: it has no bound on a record, no notion of a wrong quote, and counts only line feeds as
//! lines. One missing quote then swallows the rest of a file. So records are cut here first:
//!
//! * A line ends with LF, CRLF or CR, and a record ends with a line unless a quoted value is open. Lines are
//!   counted as a text editor does.
//! * A record is at most [`MAX_RECORD`] bytes.
//! * A quote opens a value only as its first character; elsewhere it is a character like any other. After the
//!   closing quote only spaces may come before the separator.
//! * A record that breaks a rule costs one line: reading resumes on the line after the one on which it began.
//!
//! Going back to that line reads bytes again. A hostile file could make every line do so; the total is
//! bounded in proportion to the size of the file, and beyond it a broken record is skipped whole.

use std::io::{self, Read};
use std::ops::Range;

use csv_core::{ReadRecordResult, ReaderBuilder};

use super::error::RowFault;
use super::mapping::MAX_COLUMNS;

/// The longest record, in bytes of UTF-8.
pub const MAX_RECORD: usize = 1 << 20;

/// What is kept of a record that is longer than that.
const KEPT_OF_LONG: usize = 4 * 1024;

/// The free room that a read must find in the buffer.
const READ_ROOM: usize = 32 * 1024;

const FREE_RESCANS: u64 = 16 << 20;
const RESCANS_PER_BYTE: u64 = 4;

/// The records of `source`, which yields UTF-8 or nearly so.
pub(super) struct Records<R> {
    source: R,
    separator: u8,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
    line: u64,
    passed: u64,
    rescanned: u64,
    kept_of_long: Vec<u8>,
}

/// One record, without its line end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// The line on which it begins; the first line of the file is 1.
    pub line: u64,
    pub bytes: &'a [u8],
    pub fault: Option<RowFault>,
}

/// How far a record goes, and how it ends there.
struct Extent {
    length: usize,
    ending: Ending,
    quoted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    AtLineEnd,
    TextAfterQuote,
    UnclosedQuote,
    TooLong,
}

impl<R: Read> Records<R> {
    pub(super) fn new(source: R, separator: u8) -> Records<R> {
        Records {
            source,
            separator,
            buffer: vec![0; 2 * READ_ROOM],
            start: 0,
            end: 0,
            ended: false,
            line: 1,
            passed: 0,
            rescanned: 0,
            kept_of_long: Vec::new(),
        }
    }

    pub(super) fn set_separator(&mut self, separator: u8) {
        self.separator = separator;
    }

    pub(super) fn source(&self) -> &R {
        &self.source
    }

    /// The text ahead, at least `length` bytes of it unless it is shorter, and whether that is all.
    pub(super) fn peek(&mut self, length: usize) -> io::Result<(&[u8], bool)> {
        while self.end - self.start < length && !self.ended {
            self.fill()?;
        }
        Ok((&self.buffer[self.start..self.end], self.ended))
    }

    /// The next record that is not an empty line.
    pub(super) fn next(&mut self) -> io::Result<Option<Record<'_>>> {
        if !self.skip_line_ends()? {
            return Ok(None);
        }
        let line = self.line;
        let extent = self.extent()?;
        if extent.ending == Ending::AtLineEnd {
            let passed = self.pass(&extent);
            return Ok(Some(Record { line, bytes: &self.buffer[passed], fault: None }));
        }
        self.broken(line, extent).map(Some)
    }

    /// A record that breaks a rule: keep its first line, and resume behind it.
    fn broken(&mut self, line: u64, extent: Extent) -> io::Result<Record<'_>> {
        let seen = &self.buffer[self.start..self.start + extent.length];
        let first_line = memchr::memchr2(b'\r', b'\n', seen);
        let kept = match first_line {
            Some(length) if self.may_rescan(extent.length - length) => {
                self.rescanned += (extent.length - length) as u64;
                self.pass(&Extent { length, ..extent })
            }
            None if extent.ending != Ending::TooLong => {
                let length = self.line_length(extent.length)?;
                if length > MAX_RECORD {
                    return self.broken(line, Extent { length, ending: Ending::TooLong, ..extent });
                }
                self.pass(&Extent { length, ..extent })
            }
            _ => {
                self.kept_of_long.clear();
                let kept = first_line.unwrap_or(extent.length).min(KEPT_OF_LONG);
                self.kept_of_long.extend_from_slice(&seen[..kept]);
                self.pass(&extent);
                self.skip_line()?;
                0..0
            }
        };
        let resumed = self.line + 1;
        let fault = match extent.ending {
            Ending::TooLong => RowFault::RowTooLong { max: MAX_RECORD, resumed },
            // A quote that seems to be closed on a later line was left open on this one.
            Ending::TextAfterQuote if first_line.is_none() => RowFault::TextAfterQuote,
            _ => RowFault::UnclosedQuote { resumed },
        };
        let bytes = if kept.is_empty() { &self.kept_of_long } else { &self.buffer[kept] };
        Ok(Record { line, bytes, fault: Some(fault) })
    }

    /// How far the record at `start` goes. Looks at no more than [`MAX_RECORD`] bytes and one.
    fn extent(&mut self) -> io::Result<Extent> {
        #[derive(PartialEq, Eq)]
        enum At {
            Plain,
            Quoted,
            Closed,
        }
        let mut at = At::Plain;
        let mut seen = 0;
        let mut quoted = false;
        loop {
            let held = (self.end - self.start).min(MAX_RECORD + 1);
            let is_all = self.ended && self.start + held == self.end;
            let record = &self.buffer[self.start..self.start + held];
            let ahead = &record[seen..];
            let extent = |length, ending| Ok(Extent { length, ending, quoted });
            match at {
                At::Plain => match memchr::memchr3(b'"', b'\r', b'\n', ahead) {
                    Some(found) if ahead[found] == b'"' => {
                        let quote = seen + found;
                        if quote == 0 || record[quote - 1] == self.separator {
                            at = At::Quoted;
                            quoted = true;
                        }
                        seen = quote + 1;
                        continue;
                    }
                    Some(line_end) => return extent(seen + line_end, Ending::AtLineEnd),
                    None => seen = held,
                },
                At::Quoted => match memchr::memchr(b'"', ahead) {
                    Some(found) => {
                        let quote = seen + found;
                        match record.get(quote + 1) {
                            Some(b'"') => {
                                seen = quote + 2;
                                continue;
                            }
                            Some(_) => {
                                at = At::Closed;
                                seen = quote + 1;
                                continue;
                            }
                            None if is_all && held <= MAX_RECORD => {
                                return extent(held, Ending::AtLineEnd);
                            }
                            // Come back when it is known whether the quote is doubled.
                            None => seen = quote,
                        }
                    }
                    None => seen = held,
                },
                At::Closed => {
                    let is_padding = |byte: &u8| *byte == b' ' || (*byte == b'\t' && self.separator != b'\t');
                    match ahead.iter().position(|byte| !is_padding(byte)) {
                        Some(found) if ahead[found] == self.separator => {
                            at = At::Plain;
                            seen += found + 1;
                            continue;
                        }
                        Some(found) if matches!(ahead[found], b'\r' | b'\n') => {
                            return extent(seen + found, Ending::AtLineEnd);
                        }
                        Some(found) => return extent(seen + found, Ending::TextAfterQuote),
                        None => seen = held,
                    }
                }
            }
            if held > MAX_RECORD {
                return extent(held, Ending::TooLong);
            }
            if is_all {
                let is_open = at == At::Quoted;
                return extent(held, if is_open { Ending::UnclosedQuote } else { Ending::AtLineEnd });
            }
            self.fill()?;
        }
    }

    /// Move behind line ends; false at the end of the text.
    fn skip_line_ends(&mut self) -> io::Result<bool> {
        loop {
            let ahead = &self.buffer[self.start..self.end];
            let length = match ahead {
                [] | [b'\r'] if !self.ended => {
                    self.fill()?;
                    continue;
                }
                [] => return Ok(false),
                [b'\r', b'\n', ..] => 2,
                [b'\r' | b'\n', ..] => 1,
                _ => return Ok(true),
            };
            self.start += length;
            self.passed += length as u64;
            self.line += 1;
        }
    }

    /// Move behind a record and say where it was. A line end inside it needs a quote before it.
    fn pass(&mut self, extent: &Extent) -> Range<usize> {
        let passed = self.start..self.start + extent.length;
        if extent.quoted {
            self.line += line_ends(&self.buffer[passed.clone()]);
        }
        self.start = passed.end;
        self.passed += extent.length as u64;
        passed
    }

    /// The length of the line at `start`, of which `seen` bytes hold no line end.
    fn line_length(&mut self, mut seen: usize) -> io::Result<usize> {
        loop {
            let ahead = &self.buffer[self.start + seen..self.end];
            if let Some(found) = memchr::memchr2(b'\r', b'\n', ahead) {
                return Ok(seen + found);
            }
            seen = self.end - self.start;
            if self.ended || seen > MAX_RECORD {
                return Ok(seen);
            }
            self.fill()?;
        }
    }

    /// Move to the next line end, without keeping what is passed.
    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let ahead = &self.buffer[self.start..self.end];
            let found = memchr::memchr2(b'\r', b'\n', ahead);
            let passed = found.unwrap_or(ahead.len());
            self.start += passed;
            self.passed += passed as u64;
            if found.is_some() || self.ended {
                return Ok(());
            }
            self.fill()?;
        }
    }

    fn may_rescan(&self, length: usize) -> bool {
        self.rescanned + length as u64 <= FREE_RESCANS + RESCANS_PER_BYTE * self.passed
    }

    /// Read more, behind what is held. The buffer grows to little more than two records.
    fn fill(&mut self) -> io::Result<()> {
        if self.buffer.len() - self.end < READ_ROOM {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.buffer.len() - self.end < READ_ROOM {
                self.buffer.resize(2 * self.buffer.len(), 0);
            }
        }
        loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(read) => {
                    self.end += read;
                    self.ended = read == 0;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn line_ends(text: &[u8]) -> u64 {
    let line_feeds = memchr::memchr_iter(b'\n', text).count();
    let lone_returns = memchr::memchr_iter(b'\r', text).filter(|at| text.get(at + 1) != Some(&b'\n')).count();
    (line_feeds + lone_returns) as u64
}

/// The cells of one record, unquoted. Reused for the next.
pub(super) struct Cells {
    parser: csv_core::Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
    count: usize,
}

impl Cells {
    /// More cells than this are not told apart: the last one is the last that fits.
    const MOST: usize = 4 * MAX_COLUMNS;

    pub(super) fn new(separator: u8) -> Cells {
        Cells {
            parser: ReaderBuilder::new().delimiter(separator).build(),
            text: Vec::new(),
            ends: vec![0; Cells::MOST],
            count: 0,
        }
    }

    pub(super) fn split(&mut self, record: &[u8]) {
        // What is unquoted is never longer than what was quoted.
        if self.text.len() < record.len() + 1 {
            self.text.resize(record.len() + 1, 0);
        }
        self.parser.reset();
        self.count = 0;
        let (mut read, mut written) = (0, 0);
        loop {
            let (result, consumed, produced, ended) = self.parser.read_record(
                &record[read..],
                &mut self.text[written..],
                &mut self.ends[self.count..],
            );
            read += consumed;
            written += produced;
            self.count += ended;
            match result {
                // The next call has no input left, which ends the record.
                ReadRecordResult::InputEmpty => {}
                _ => return,
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends[..self.count].iter().map(move |end| {
            let cell = &self.text[start..*end];
            start = *end;
            cell
        })
    }
}

#[cfg(test)]
mod tests {
    use csv::Terminator;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// Gives `step` bytes at a time.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(out.len());
            let (given, kept) = self.0.split_at(length);
            out[..length].copy_from_slice(given);
            self.0 = kept;
            Ok(length)
        }
    }

    type Cut = (u64, Vec<u8>, Option<RowFault>);

    fn cut(source: impl Read) -> Vec<Cut> {
        let mut records = Records::new(source, b',');
        let mut all = vec![];
        while let Some(record) = records.next().unwrap() {
            all.push((record.line, record.bytes.to_vec(), record.fault));
        }
        all
    }

    fn split(record: &[u8]) -> Vec<Vec<u8>> {
        let mut cells = Cells::new(b',');
        cells.split(record);
        cells.iter().map(<[u8]>::to_vec).collect()
    }

    const UNCLOSED: fn(u64) -> Option<RowFault> = |resumed| Some(RowFault::UnclosedQuote { resumed });

    #[test]
    fn records_end_where_lines_end() {
        for (text, expected) in [
            ("", vec![]),
            ("\n\r\n\r", vec![]),
            ("a,b", vec![(1, "a,b", None)]),
            ("a\nb\n", vec![(1, "a", None), (2, "b", None)]),
            ("a\r\nb\r\n", vec![(1, "a", None), (2, "b", None)]),
            ("a\rb\r", vec![(1, "a", None), (2, "b", None)]),
            ("a\n\n\r\n\rb", vec![(1, "a", None), (5, "b", None)]),
            ("\"a\r\nb\",c\nd", vec![(1, "\"a\r\nb\",c", None), (3, "d", None)]),
            ("\"a\rb\"\nd", vec![(1, "\"a\rb\"", None), (3, "d", None)]),
            ("\"a\n\n\nb\"\r\nd", vec![(1, "\"a\n\n\nb\"", None), (5, "d", None)]),
            ("\"\"\n\"\"", vec![(1, "\"\"", None), (2, "\"\"", None)]),
            ("\"a\" , \"b\nc", vec![(1, "\"a\" , \"b", None), (2, "c", None)]),
        ] {
            let expected: Vec<Cut> =
                expected.into_iter().map(|(line, text, fault)| (line, text.into(), fault)).collect();
            assert_eq!(cut(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn a_quote_inside_a_value_is_a_character() {
        for (text, cells) in [
            ("5\" pipe,b", ["5\" pipe", "b"]),
            ("a \"b\" c,d", ["a \"b\" c", "d"]),
            ("\"a \"\"b\"\" c\",d", ["a \"b\" c", "d"]),
            ("\"a,b\",\"\"", ["a,b", ""]),
        ] {
            let cuts = cut(text.as_bytes());
            assert_eq!(cuts, [(1, text.into(), None)]);
            assert_eq!(split(&cuts[0].1), cells.map(|cell| cell.as_bytes().to_vec()));
        }
    }

    #[test]
    fn a_wrong_quote_costs_one_line() {
        let after = Some(RowFault::TextAfterQuote);
        for (text, expected) in [
            ("\"a\"b,c\nd\n", vec![(1, "\"a\"b,c", after), (2, "d", None)]),
            ("\"a\"b,\"c\nd\"\n", vec![(1, "\"a\"b,\"c", after), (2, "d\"", None)]),
            ("\"a,b\nc,d\ne", vec![(1, "\"a,b", UNCLOSED(2)), (2, "c,d", None), (3, "e", None)]),
            ("\"a,b\n\"c\",d\ne", vec![(1, "\"a,b", UNCLOSED(2)), (2, "\"c\",d", None), (3, "e", None)]),
            ("x\n\"a", vec![(1, "x", None), (2, "\"a", UNCLOSED(3))]),
            ("\"", vec![(1, "\"", UNCLOSED(2))]),
            ("\"\"\"", vec![(1, "\"\"\"", UNCLOSED(2))]),
        ] {
            let expected: Vec<Cut> =
                expected.into_iter().map(|(line, text, fault)| (line, text.into(), fault)).collect();
            assert_eq!(cut(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn a_record_has_a_longest_length() {
        let too_long = |resumed| Some(RowFault::RowTooLong { max: MAX_RECORD, resumed });
        let longest = "x".repeat(MAX_RECORD);
        for (text, expected) in [
            (format!("{longest}\nb"), vec![(1, MAX_RECORD, None), (2, 1, None)]),
            (format!("{longest}x\nb"), vec![(1, KEPT_OF_LONG, too_long(2)), (2, 1, None)]),
            (format!("{longest}{longest}{longest}\r\nb"), vec![(1, KEPT_OF_LONG, too_long(2)), (2, 1, None)]),
            (format!("{longest}x"), vec![(1, KEPT_OF_LONG, too_long(2))]),
            (format!("\"{longest}\"\nb"), vec![(1, KEPT_OF_LONG, too_long(2)), (2, 1, None)]),
            (format!("\"a\"{longest}\nb"), vec![(1, KEPT_OF_LONG, too_long(2)), (2, 1, None)]),
            // The quoted value is too long, its first line is not.
            (format!("\"a\n{longest}\nb"), vec![(1, 2, too_long(2)), (2, MAX_RECORD, None), (3, 1, None)]),
        ] {
            for step in [7919, usize::MAX] {
                let cuts: Vec<_> = cut(Trickle(text.as_bytes(), step))
                    .into_iter()
                    .map(|(line, text, fault)| (line, text.len(), fault))
                    .collect();
                assert_eq!(cuts, expected);
            }
        }
    }

    #[test]
    fn a_file_full_of_open_quotes_is_read_in_linear_time() {
        let lines = 400_000;
        let text = "z\",\"\n".repeat(lines);
        let mut records = Records::new(text.as_bytes(), b',');
        let mut last = 0;
        while let Some(record) = records.next().unwrap() {
            assert!(record.line > last);
            last = record.line;
        }
        assert!(records.rescanned <= FREE_RESCANS + RESCANS_PER_BYTE * text.len() as u64);
        assert_eq!(records.passed, text.len() as u64);
        assert_eq!(records.line, lines as u64 + 1);
    }

    proptest! {
        #[test]
        fn cutting_does_not_depend_on_how_the_text_arrives(text in "[a,\" \r\n]{0,40}", step in 1_usize..5) {
            prop_assert_eq!(cut(Trickle(text.as_bytes(), step)), cut(text.as_bytes()));
        }

        #[test]
        fn every_line_is_kept_or_empty(text in "[a,\" \r\n]{0,40}") {
            let mut kept = 0;
            for (_, bytes, _) in cut(text.as_bytes()) {
                kept += bytes.len();
            }
            let line_ends = text.matches(['\r', '\n']).count();
            prop_assert!(kept + line_ends >= text.len());
        }

        #[test]
        fn well_formed_records_are_those_of_the_csv_crate(
            rows in prop::collection::vec(prop::collection::vec("[a,;é\" \t\r\n]{0,8}", 2..5), 1..8),
            terminator in select(&[Terminator::CRLF, Terminator::Any(b'\n'), Terminator::Any(b'\r')][..]),
        ) {
            let mut writer =
                csv::WriterBuilder::new().terminator(terminator).flexible(true).from_writer(vec![]);
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let text = writer.into_inner().unwrap();
            let mut read = vec![];
            for (_, bytes, fault) in cut(&text[..]) {
                prop_assert_eq!(fault, None);
                let cells = split(&bytes).into_iter().map(|cell| String::from_utf8(cell).unwrap());
                read.push(cells.collect::<Vec<_>>());
            }
            prop_assert_eq!(read, rows);
        }
    }
}
