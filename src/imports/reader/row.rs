//! One contact of an import file.
//!
//! A row is read column by column into the fields that the mapping names. It is valid when it has no faults.
//! An invalid row carries its cells as they stood in the file, so that a person can see what was wrong; its
//! values are what could be read, and are not to be imported.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::{RowError, RowFault};
use super::field::Field;
use super::mapping::{MappedColumn, Mapping};
use super::records::{Cells, Record};
use super::value::{self, Lines, MAX_TAG, MAX_TAGS, Shape};

/// The longest cell that is shown of an invalid row, in characters.
const SHOWN_OF_CELL: usize = 200;
/// How much is shown of an invalid row at most, in bytes.
const SHOWN_OF_ROW: usize = 16 * 1024;

/// One row of the file, valid or not. Rows without any value are not rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The line of the file on which the row begins; the first line is 1, and a header is usually on it.
    pub line: u64,
    pub values: RowValues,
    /// Why the row cannot be imported; empty for a valid row.
    pub errors: Vec<RowError>,
    /// The cells as they are in the file, shortened and with controls made visible; empty for a valid row.
    pub raw: Vec<String>,
}

impl Row {
    pub fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }
}

/// What a row says about a contact. E-mail and phone are trimmed and not yet judged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RowValues {
    /// At most 200 characters, like last name, company, city and external id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    /// At most 320 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// At most 64 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub company: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    /// At most 100 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// At most 50 of at most 64 characters, in the order of the file, each once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    pub do_not_contact: bool,
    /// At most 2,000 characters each.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub custom: BTreeMap<String, String>,
}

/// Reads the record, or None when its cells are all empty.
pub(super) fn assemble(record: &Record<'_>, cells: &mut Cells, mapping: &Mapping) -> Option<Row> {
    cells.split(record.bytes);
    let expected = mapping.columns.len();
    let mut row = Row { line: record.line, values: RowValues::default(), errors: vec![], raw: vec![] };
    if let Some(fault) = record.fault {
        row.errors.push(fault.into());
    } else if cells.iter().all(value::is_blank) {
        return None;
    } else if cells.len() < expected {
        row.errors.push(RowFault::TooFewColumns { found: cells.len(), expected }.into());
    } else if cells.iter().skip(expected).any(|cell| !value::is_blank(cell)) {
        row.errors.push(RowFault::TooManyColumns { found: cells.len(), expected }.into());
    } else {
        let mut draft = Draft::default();
        for (column, cell) in mapping.columns.iter().zip(cells.iter()) {
            if let Err(fault) = draft.read(column, cell) {
                row.errors.push(RowError { fault, place: Some(column.place()) });
            }
        }
        row.values = draft.finish();
        if row.errors.is_empty() && row.values.is_nobody() {
            row.errors.push(RowFault::Nobody.into());
        }
    }
    if !row.errors.is_empty() {
        row.raw = shown(cells);
    }
    Some(row)
}

/// The values of a row while its columns are being read.
#[derive(Default)]
struct Draft {
    values: RowValues,
    full_name: Option<String>,
    mobile: Option<String>,
}

impl Draft {
    fn read(&mut self, column: &MappedColumn, cell: &[u8]) -> Result<(), RowFault> {
        if column.field == Field::Ignored {
            return Ok(());
        }
        let Some(text) = value::read(cell, shape(&column.field))? else {
            return Ok(());
        };
        let values = &mut self.values;
        let place = match &column.field {
            Field::FirstName => &mut values.first_name,
            Field::LastName => &mut values.last_name,
            Field::FullName => &mut self.full_name,
            Field::Email => &mut values.email,
            Field::Phone => &mut values.phone,
            Field::Mobile => &mut self.mobile,
            Field::Company => &mut values.company,
            Field::City => &mut values.city,
            Field::Country => &mut values.country,
            Field::ExternalId => &mut values.external_id,
            Field::Tags => return add_tags(&mut values.tags, &text),
            Field::DoNotContact => {
                let opted_out = value::yes_or_no(&text).ok_or(RowFault::UnclearOptOut)?;
                values.do_not_contact |= opted_out;
                if opted_out {
                    keep(&mut values.custom, &column.spare, None, text.into_owned());
                }
                return Ok(());
            }
            Field::Consent => {
                values.do_not_contact |= value::yes_or_no(&text) == Some(false);
                keep(&mut values.custom, &column.spare, None, text.into_owned());
                return Ok(());
            }
            Field::Known(name) => {
                keep(&mut values.custom, name, Some(&column.spare), text.into_owned());
                return Ok(());
            }
            Field::Custom(name) => {
                keep(&mut values.custom, name, Some(&column.spare), text.into_owned());
                return Ok(());
            }
            Field::Ignored => return Ok(()),
        };
        let is_number = matches!(column.field, Field::Phone | Field::Mobile);
        if is_number && value::is_rounded_number(&text) {
            return Err(RowFault::RoundedNumber);
        }
        let (first, rest) = match &column.field {
            Field::Email | Field::Phone | Field::Mobile => value::first_of_several(&text),
            _ => (&*text, None),
        };
        let spare = match place {
            None => {
                *place = Some(first.to_owned());
                rest
            }
            Some(earlier) => (*earlier != *text).then_some(&*text),
        };
        if let Some(spare) = spare {
            keep(&mut values.custom, &column.spare, None, spare.to_owned());
        }
        Ok(())
    }

    fn finish(self) -> RowValues {
        let mut values = self.values;
        if let Some(mobile) = self.mobile {
            match &values.phone {
                None => values.phone = Some(mobile),
                Some(phone) if *phone != mobile => {
                    keep(&mut values.custom, Field::Mobile.name(), None, mobile);
                }
                Some(_) => {}
            }
        }
        if let Some(full) = self.full_name {
            if values.first_name.is_none() && values.last_name.is_none() {
                let part = |part: &str| (!part.is_empty()).then(|| part.to_owned());
                let (first, last) = value::split_name(&full);
                (values.first_name, values.last_name) = (part(first), part(last));
            }
            if values.first_name.as_ref() != Some(&full) {
                keep(&mut values.custom, Field::FullName.name(), None, full);
            }
        }
        values
    }
}

impl RowValues {
    fn is_nobody(&self) -> bool {
        let identities =
            [&self.first_name, &self.last_name, &self.email, &self.phone, &self.company, &self.external_id];
        identities.into_iter().all(Option::is_none)
    }
}

fn shape(field: &Field) -> Shape {
    let max = match field {
        Field::Email => 320,
        Field::Phone | Field::Mobile => 64,
        Field::Country => 100,
        // Judged tag by tag; this is only what all of them and their separators can need.
        Field::Tags => MAX_TAGS * (MAX_TAG + 8),
        Field::Known(_) | Field::Custom(_) | Field::Consent | Field::DoNotContact => 2000,
        _ => 200,
    };
    let lines = match field {
        Field::Known(_) | Field::Custom(_) | Field::Tags => Lines::Many,
        _ => Lines::One,
    };
    Shape { max, lines }
}

/// Keep a custom value under its name, or under `spare` when an earlier column took that.
fn keep(custom: &mut BTreeMap<String, String>, name: &str, spare: Option<&str>, value: String) {
    match (custom.get(name), spare) {
        (Some(first), Some(spare)) if *first != value => {
            custom.insert(spare.to_owned(), value);
        }
        (Some(_), _) => {}
        (None, _) => {
            custom.insert(name.to_owned(), value);
        }
    }
}

fn add_tags(tags: &mut Vec<String>, text: &str) -> Result<(), RowFault> {
    for tag in value::tags(text) {
        if tag.chars().count() > MAX_TAG {
            return Err(RowFault::TagTooLong { max: MAX_TAG });
        }
        if tags.iter().any(|earlier| earlier == tag) {
            continue;
        }
        if tags.len() == MAX_TAGS {
            return Err(RowFault::TooManyTags { max: MAX_TAGS });
        }
        tags.push(tag.to_owned());
    }
    Ok(())
}

pub(super) fn shown(cells: &Cells) -> Vec<String> {
    let mut room = SHOWN_OF_ROW;
    let mut raw = vec![];
    for cell in cells.iter() {
        let shown = value::shown(cell, SHOWN_OF_CELL);
        room = room.saturating_sub(shown.len() + 8);
        if room == 0 {
            raw.push("…".to_owned());
            break;
        }
        raw.push(shown);
    }
    raw
}
