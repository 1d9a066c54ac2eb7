//! Reads contacts from a CSV file as people have it.
//!
//! Encoding, separator and the meaning of columns are found out (`encoding`, `separator`, `header`); `?map=`
//! settles what cannot be. The file is read as a stream: memory does not depend on its size, and a row costs
//! less than two microseconds.
//!
//! **Guarantees.** Whatever the bytes, reading ends, does not panic, and takes time in proportion to the
//! size. No row is lost without a word: each is a valid [`Row`], an invalid one with its line and reasons, or
//! empty, and a stretch that cannot be read is an invalid row that tells where reading resumed. A value is
//! never altered beyond white space and Unicode normalisation. Nothing here knows a database, a clock or
//! the network, and whether an e-mail address or a phone number is a good one is decided elsewhere.

mod encoding;
mod error;
mod field;
mod header;
mod mapping;
mod records;
mod row;
mod separator;
mod spool;
mod value;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use serde::Serialize;

use encoding::Text;
use records::{Cells, Records};

pub use encoding::Encoding;
pub use error::{MapError, ReadError};
pub use field::Field;
pub(crate) use header::recognise;
pub use mapping::{MapOverrides, Mapping};
pub use row::{Row, RowValues};
pub use spool::{DEFAULT_LIMIT, Pace, Scan, Spool, SpoolError, Spooled, receive};

/// The rows of one file, in its order.
///
/// An error of the disk ends the rows with an `Err`, so that half a file is never mistaken for a whole one.
pub struct ImportReader<F = File> {
    records: Records<Text<F>>,
    cells: Cells,
    mapping: Mapping,
    encoding: Encoding,
    separator: u8,
    bytes: u64,
    rows: u64,
    invalid: u64,
    failed: bool,
}

/// How far a file has been read, in bytes of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Progress {
    pub consumed: u64,
    pub total: u64,
}

/// Open a file whose bytes nobody has looked at yet. It is read twice: once for its encoding, once for its
/// rows.
#[cfg(test)]
pub fn open<F: Read + Seek>(mut file: F, overrides: &MapOverrides) -> Result<ImportReader<F>, ReadError> {
    let scan = Scan::of(&mut file)?;
    open_scanned(file, &scan, overrides)
}

/// Open a file whose bytes were scanned while they arrived; see [`Spool`].
pub fn open_scanned<F: Read + Seek>(
    mut file: F,
    scan: &Scan,
    overrides: &MapOverrides,
) -> Result<ImportReader<F>, ReadError> {
    file.seek(SeekFrom::Start(0))?;
    let mut head = Vec::with_capacity(encoding::HEAD);
    file.by_ref().take(encoding::HEAD as u64).read_to_end(&mut head)?;
    let (encoding, mark) = encoding::detect(&head, scan)?;
    file.seek(SeekFrom::Start(mark as u64))?;

    let mut records = Records::new(Text::new(file, encoding, mark), b',');
    let separator = find_separator(&mut records, overrides)?;
    records.set_separator(separator);
    let mut cells = Cells::new(separator);
    let mapping = Mapping::new(read_header(&mut records, &mut cells)?, overrides)?;
    Ok(ImportReader {
        records,
        cells,
        mapping,
        encoding,
        separator,
        bytes: scan.bytes,
        rows: 0,
        invalid: 0,
        failed: false,
    })
}

fn find_separator<R: Read>(records: &mut Records<R>, overrides: &MapOverrides) -> Result<u8, ReadError> {
    let (sample, is_all) = records.peek(separator::SAMPLE)?;
    match separator::declared(sample)? {
        Some(separator) => {
            records.next()?;
            Ok(separator)
        }
        None => Ok(separator::detect(sample, is_all, overrides)?),
    }
}

fn read_header<R: Read>(records: &mut Records<R>, cells: &mut Cells) -> Result<Vec<String>, ReadError> {
    let record = records.next()?.ok_or(ReadError::Empty)?;
    let bad_header = |fault| ReadError::BadHeader { line: record.line, fault };
    if let Some(fault) = record.fault {
        return Err(bad_header(fault));
    }
    cells.split(record.bytes);
    cells.iter().map(|cell| value::header(cell).map_err(bad_header)).collect()
}

impl<F: Read> ImportReader<F> {
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Comma, semicolon, tab or bar.
    pub fn separator(&self) -> char {
        char::from(self.separator)
    }

    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Rows given out so far, valid or not.
    pub fn rows_read(&self) -> u64 {
        self.rows
    }

    /// Invalid rows given out so far.
    pub fn invalid_rows(&self) -> u64 {
        self.invalid
    }

    /// The cells of the row that was given out last, as far as they are shown, for whoever has to correct it.
    pub fn shown(&self) -> Vec<String> {
        row::shown(&self.cells)
    }

    /// Runs ahead of the rows by at most what is buffered.
    pub fn progress(&self) -> Progress {
        Progress { consumed: self.records.source().consumed(), total: self.bytes }
    }
}

impl<F: Read> Iterator for ImportReader<F> {
    type Item = Result<Row, ReadError>;

    fn next(&mut self) -> Option<Result<Row, ReadError>> {
        while !self.failed {
            let record = match self.records.next() {
                Ok(record) => record?,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error.into()));
                }
            };
            if let Some(row) = row::assemble(&record, &mut self.cells, &self.mapping) {
                self.rows += 1;
                self.invalid += u64::from(!row.is_valid());
                return Some(Ok(row));
            }
        }
        None
    }
}
