//! From a row of the file to what is staged of it: addresses judged and normalised, or the reasons why not.

use docket_aggregates::Personal;
use docket_aggregates::contact::ContactProfile;
use docket_aggregates::ids::SubjectId;
use docket_aggregates::import::{InvalidRow, RowFault, StagedContact, StagedRow};

use super::reader::{Row, RowValues};
use crate::clock::Clock;
use crate::normalise::{Country, normalise_email, normalise_phone};

/// What the reader calls a job title; it has a place of its own in a contact.
const JOB_TITLE: &str = "jobTitle";

/// What holds for every row of a file.
#[derive(Clone, Debug)]
pub struct Sheet {
    /// Where its contacts were got from.
    pub source: Option<String>,
    /// For numbers without a country code in rows without a country.
    pub country: Country,
}

/// A row on its way into a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It can become a contact.
    Valid(StagedRow),
    /// It cannot.
    Invalid(InvalidRow),
}

/// Judges one row, whose `cells` are for whoever has to correct it. Its subject is fresh: it will be the contact's id, and names
/// the row's cells if there is none.
pub fn judge(row: Row, sheet: &Sheet, clock: &Clock, cells: impl FnOnce() -> Vec<String>) -> Judged {
    let subject: SubjectId = clock.mint();
    let line = row.line;
    if !row.is_valid() {
        let errors = row
            .errors
            .iter()
            .map(|error| RowFault {
                code: error.code().to_owned(),
                field: error.field().map(str::to_owned),
                message: error.to_string(),
            })
            .collect();
        return Judged::Invalid(InvalidRow { line, errors, cells: Personal::known(subject, row.raw) });
    }
    match contact(row.values, sheet) {
        Ok(contact) => Judged::Valid(StagedRow { line, contact: Personal::known(subject, contact) }),
        Err(errors) => Judged::Invalid(InvalidRow { line, errors, cells: Personal::known(subject, cells()) }),
    }
}

fn contact(values: RowValues, sheet: &Sheet) -> Result<StagedContact, Vec<RowFault>> {
    let mut faults = Vec::new();
    let mut fault = |code: &str, field: &str, message: String| {
        faults.push(RowFault { code: code.to_owned(), field: Some(field.to_owned()), message });
    };
    let email = values.email.and_then(|raw| {
        let read = normalise_email(&raw, false).map(|email| email.address().to_owned());
        read.map_err(|error| fault("INVALID_EMAIL", "email", error.to_string())).ok()
    });
    let country: Option<Country> = values.country.as_deref().and_then(|text| text.parse().ok());
    let phone = values.phone.and_then(|raw| {
        let read = normalise_phone(&raw, country.unwrap_or(sheet.country)).map(|phone| phone.to_string());
        read.map_err(|error| fault("INVALID_PHONE", "phone", error.to_string())).ok()
    });
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut custom = values.custom;
    let job_title = match custom.get(JOB_TITLE) {
        Some(title) if title.chars().count() <= 200 => custom.remove(JOB_TITLE),
        _ => None,
    };
    let mut tags = values.tags;
    tags.sort();
    tags.dedup();
    let profile = ContactProfile {
        first_name: values.first_name,
        last_name: values.last_name,
        email,
        phone,
        company: values.company,
        city: values.city,
        country: country.map(|country| country.to_string()).or(values.country),
        job_title,
        external_id: values.external_id,
        source: sheet.source.clone(),
        tags,
        custom,
    };
    Ok(StagedContact { profile, opted_out: values.do_not_contact })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imports::reader;
    use docket_aggregates::Timestamp;
    use std::io::Cursor;

    fn judged(file: &str) -> Vec<Judged> {
        let sheet = Sheet { source: Some("fair".into()), country: "FR".parse().unwrap() };
        let clock = Clock::held_at(Timestamp::from_millis(1_000));
        let mut reader = reader::open(Cursor::new(file.to_owned()), &Default::default()).unwrap();
        let mut judged = Vec::new();
        while let Some(row) = reader.next() {
            judged.push(judge(row.unwrap(), &sheet, &clock, || reader.shown()));
        }
        judged
    }

    fn profile(judged: &Judged) -> &ContactProfile {
        match judged {
            Judged::Valid(row) => &row.contact.value().unwrap().profile,
            Judged::Invalid(row) => panic!("invalid: {:?}", row.errors),
        }
    }

    #[test]
    fn addresses_are_normalised() {
        let rows = judged(
            "Email,Phone,Country,Job title,Tags\n Ada@Example.com ,06 12 34 56 78,,CTO,\"b,a,b\"\n,030 123456,de,,\n",
        );
        let first = profile(&rows[0]);
        assert_eq!(first.email.as_deref(), Some("Ada@example.com"));
        assert_eq!(first.phone.as_deref(), Some("+33612345678"));
        assert_eq!((first.job_title.as_deref(), first.source.as_deref()), (Some("CTO"), Some("fair")));
        assert_eq!(first.tags, ["a", "b"]);
        let second = profile(&rows[1]);
        assert_eq!((second.phone.as_deref(), second.country.as_deref()), (Some("+4930123456"), Some("DE")));
    }

    #[test]
    fn an_address_that_cannot_be_written_to_makes_its_row_invalid() {
        let rows = judged("Name,Email,Phone\nAda,ada@,12\nBea,,\n");
        let Judged::Invalid(row) = &rows[0] else { panic!("the first row is valid") };
        let codes: Vec<&str> = row.errors.iter().map(|error| error.code.as_str()).collect();
        assert_eq!((row.line, codes), (2, vec!["INVALID_EMAIL", "INVALID_PHONE"]));
        assert!(row.errors.iter().all(|error| !error.message.contains("ada@")), "a reason repeats no value");
        assert!(matches!(rows[1], Judged::Valid(_)));
    }

    #[test]
    fn an_invalid_row_keeps_its_cells_as_they_stand_in_the_file() {
        let rows = judged(
            "External id,City,Phone,Email,Budget\nK-77,Lyon,not a phone,ok@example.com,\nK-78,,,ok@example.com,9\n",
        );
        let Judged::Invalid(row) = &rows[0] else { panic!("the first row is valid") };
        assert_eq!(row.cells.value().unwrap(), &["K-77", "Lyon", "not a phone", "ok@example.com", ""]);
    }

    #[test]
    fn an_opt_out_is_kept_with_its_row() {
        let rows = judged("Email,Do not contact\na@example.com,yes\nb@example.com,\n");
        let opted_out: Vec<bool> = rows
            .iter()
            .map(|row| matches!(row, Judged::Valid(row) if row.contact.value().unwrap().opted_out))
            .collect();
        assert_eq!(opted_out, [true, false]);
    }
}
