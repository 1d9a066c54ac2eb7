//! Why a file is refused as a whole, and why a single row is.
//!
//! A file is refused only when reading on would mean guessing: it is no CSV, has no header line, or names a
//! column that is not there. Everything else is the fault of one row, which is kept with its line and its
//! reason while the rest of the file is read. A row's fault never repeats a value: values are personal, and
//! faults end up in logs.

use std::fmt;
use std::io;

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use super::mapping::MAX_COLUMNS;

/// Why a file cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the file is empty; its first line must name the columns")]
    Empty,
    #[error("the file looks like {what}, not like CSV; export it as CSV first")]
    NotCsv { what: &'static str },
    #[error("the file is encoded in UTF-32; save it as UTF-8")]
    Utf32,
    #[error(
        "the line \"sep=\" at the start of the file names a separator other than comma, semicolon, tab or bar"
    )]
    BadSeparator,
    #[error("the header on line {line} cannot be read: {fault}")]
    BadHeader { line: u64, fault: RowFault },
    #[error("the header has {found} columns; at most {MAX_COLUMNS} are accepted")]
    TooManyColumns { found: usize },
    #[error("the name of column {column} is longer than {max} characters")]
    ColumnNameTooLong { column: usize, max: usize },
    #[error(
        "no column was recognised as a name, e-mail, phone, company or external id; the first line must name the \
         columns, and it reads: {seen}"
    )]
    NoKnownColumn { seen: String },
    #[error("the first line looks like a contact; a line that names the columns must come before it")]
    NoHeader,
    #[error("the map names the column \"{column}\", which is not in the file; its columns are: {seen}")]
    NoSuchColumn { column: String, seen: String },
    #[error(
        "{invalid} of the first {rows} rows cannot become contacts, which is more than half of them; \
         such a file is not read to its end"
    )]
    MostlyInvalid { invalid: u64, rows: u64 },
    #[error("the file could not be read")]
    Io(#[from] io::Error),
}

impl ReadError {
    /// The code under which a client finds this refusal.
    pub fn code(&self) -> &'static str {
        match self {
            ReadError::Empty => "FILE_EMPTY",
            ReadError::NotCsv { .. } => "NOT_CSV",
            ReadError::Utf32 => "UNSUPPORTED_ENCODING",
            ReadError::BadSeparator => "UNSUPPORTED_SEPARATOR",
            ReadError::BadHeader { .. } => "BAD_HEADER",
            ReadError::TooManyColumns { .. } => "TOO_MANY_COLUMNS",
            ReadError::ColumnNameTooLong { .. } => "COLUMN_NAME_TOO_LONG",
            ReadError::NoKnownColumn { .. } => "NO_KNOWN_COLUMN",
            ReadError::NoHeader => "NO_HEADER",
            ReadError::NoSuchColumn { .. } => "NO_SUCH_COLUMN",
            ReadError::MostlyInvalid { .. } => "MOSTLY_INVALID",
            ReadError::Io(_) => "FILE_NOT_READ",
        }
    }
}

/// Why a `?map=` cannot be used, whatever the file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    #[error("\"{pair}\" in the map is not of the form Header:field")]
    NotAPair { pair: String },
    #[error("the map gives \"{header}\" the unknown field \"{field}\"; the fields are: {known}")]
    UnknownField { header: String, field: String, known: String },
    #[error("the name of the custom field for \"{header}\" is empty or longer than {max} characters")]
    BadCustomName { header: String, max: usize },
    #[error("the map names the column \"{header}\" twice")]
    Repeated { header: String },
    #[error("the map names more than {max} columns")]
    TooLong { max: usize },
}

impl MapError {
    /// The code under which a client finds this refusal.
    pub fn code(&self) -> &'static str {
        match self {
            MapError::NotAPair { .. } => "MAP_NOT_A_PAIR",
            MapError::UnknownField { .. } => "MAP_UNKNOWN_FIELD",
            MapError::BadCustomName { .. } => "MAP_BAD_CUSTOM_NAME",
            MapError::Repeated { .. } => "MAP_REPEATED_COLUMN",
            MapError::TooLong { .. } => "MAP_TOO_LONG",
        }
    }
}

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RowFault {
    #[error("the row has {found} columns, the header has {expected}")]
    TooFewColumns { found: usize, expected: usize },
    #[error("the row has {found} columns, the header has {expected}")]
    TooManyColumns { found: usize, expected: usize },
    #[error("a quoted value is never closed; reading resumed on line {resumed}")]
    UnclosedQuote { resumed: u64 },
    #[error("a quoted value is followed by text; quotes inside a value must be doubled")]
    TextAfterQuote,
    #[error("the row is longer than {max} bytes; reading resumed on line {resumed}")]
    RowTooLong { max: usize, resumed: u64 },
    #[error(
        "the value holds bytes that cannot be decoded, or the mark that an earlier conversion left in their place"
    )]
    Undecodable,
    #[error("the value holds a NUL")]
    Nul,
    #[error("the value holds the control character U+{0:04X}")]
    ControlCharacter(u32),
    #[error("the value is longer than {max} characters")]
    ValueTooLong { max: usize },
    #[error("the row has more than {max} tags")]
    TooManyTags { max: usize },
    #[error("a tag is longer than {max} characters")]
    TagTooLong { max: usize },
    #[error("a spreadsheet turned the number into scientific notation and lost its last digits")]
    RoundedNumber,
    #[error("the value says neither yes nor no, so that it is unclear whether the contact may be contacted")]
    UnclearOptOut,
    #[error("the row has no name, e-mail, phone, company or external id")]
    Nobody,
}

impl RowFault {
    /// The code under which a client finds this fault.
    pub fn code(&self) -> &'static str {
        match self {
            RowFault::TooFewColumns { .. } => "TOO_FEW_COLUMNS",
            RowFault::TooManyColumns { .. } => "TOO_MANY_COLUMNS",
            RowFault::UnclosedQuote { .. } => "UNCLOSED_QUOTE",
            RowFault::TextAfterQuote => "TEXT_AFTER_QUOTE",
            RowFault::RowTooLong { .. } => "ROW_TOO_LONG",
            RowFault::Undecodable => "UNDECODABLE",
            RowFault::Nul => "NUL",
            RowFault::ControlCharacter(_) => "CONTROL_CHARACTER",
            RowFault::ValueTooLong { .. } => "VALUE_TOO_LONG",
            RowFault::TooManyTags { .. } => "TOO_MANY_TAGS",
            RowFault::TagTooLong { .. } => "TAG_TOO_LONG",
            RowFault::RoundedNumber => "ROUNDED_NUMBER",
            RowFault::UnclearOptOut => "UNCLEAR_OPT_OUT",
            RowFault::Nobody => "NO_IDENTITY",
        }
    }
}

/// A fault and where in the row it is. Serialises as `{code, field, column, message}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    pub fault: RowFault,
    /// None when the fault is not one column's.
    pub place: Option<Place>,
}

/// A column of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The first column is 1.
    pub column: usize,
    pub header: String,
    /// The field that the column is mapped to, as `?map=` spells it.
    pub field: String,
}

impl RowError {
    pub fn code(&self) -> &'static str {
        self.fault.code()
    }

    pub fn field(&self) -> Option<&str> {
        self.place.as_ref().map(|place| place.field.as_str())
    }
}

impl From<RowFault> for RowError {
    fn from(fault: RowFault) -> RowError {
        RowError { fault, place: None }
    }
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(Place { column, header, .. }) => {
                write!(f, "column {column} ({header}): {}", self.fault)
            }
            None => self.fault.fmt(f),
        }
    }
}

impl Serialize for RowError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut error = serializer.serialize_struct("RowError", 4)?;
        error.serialize_field("code", self.code())?;
        error.serialize_field("field", &self.field())?;
        error.serialize_field("column", &self.place.as_ref().map(|place| place.column))?;
        error.serialize_field("message", &self.to_string())?;
        error.end()
    }
}
