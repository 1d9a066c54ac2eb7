//! How well the deduplication does on files where the truth is known.
//!
//! Two files of records and one of pairs. The left file plays the contacts that the CRM holds, the right one the import. A
//! pair of a left and a right record counts as **found** if the analysis puts them in one group that it claims: one
//! with a confidence of at least [`LIKELY`](super::LIKELY), to be reviewed or not. It counts as **merged** if the group's action is neither
//! `create` nor `review`: what would happen without a person looking. Groups below that confidence are questions, such as two people
//! on one switchboard, and count as not found.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::time::Instant;

use encoding_rs::{UTF_8, WINDOWS_1252};
use serde::Serialize;
use uuid::Uuid;

use super::{Action, Analysis, CONFIDENT, LIKELY, MatchOn, Options, Record, RecordKey, analyse};
use crate::imports::reader::{Field, recognise};
use crate::normalise::phone::guess_country;
use crate::normalise::{Country, fold_name};

/// Why files cannot be measured.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum LabelledError {
    #[error("{file} cannot be read")]
    Csv {
        file: String,
        #[source]
        source: csv::Error,
    },
    #[error("{file} has no column of names, e-mail addresses or phone numbers")]
    NoColumn { file: String },
    #[error("{file} has no two columns that hold ids of the two files")]
    NoPairs { file: String },
}

/// What to measure.
#[derive(Debug, Clone, Default)]
pub struct LabelledOptions {
    /// The country of numbers without a country code. If none is given, the one whose numbering plan holds most numbers.
    pub country: Option<Country>,
    /// One measurement. If none is given, one for each kind of value that both files have, and one for all of them.
    pub match_on: Option<BTreeSet<MatchOn>>,
}

/// Precision, recall and their harmonic mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Score {
    /// Pairs suggested.
    pub pairs: u64,
    /// Of these, the labelled ones.
    pub correct: u64,
    /// Correct among the suggested; 1 if none was.
    pub precision: f64,
    /// Correct among the labelled; 1 if none is.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
}

impl Score {
    fn of(pairs: &HashSet<Pair>, truth: &HashSet<Pair>) -> Self {
        let correct = pairs.intersection(truth).count();
        let share = |part: usize, whole: usize| if whole == 0 { 1.0 } else { part as f64 / whole as f64 };
        let (precision, recall) = (share(correct, pairs.len()), share(correct, truth.len()));
        let f1 = if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
        Self { pairs: pairs.len() as u64, correct: correct as u64, precision, recall, f1 }
    }
}

/// One choice of what to match on, measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measurement {
    /// What the records were matched on.
    pub match_on: Vec<MatchOn>,
    /// Claimed, to be reviewed or not.
    pub found: Score,
    /// Suggested without review.
    pub merged: Score,
    /// Found with at least so much confidence: what another line between claim and question would give.
    pub by_confidence: Vec<Threshold>,
    /// Of the analysis alone.
    pub seconds: f64,
}

/// What is found with at least so much confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Threshold {
    /// The confidence, 0 to 1.
    pub at_least: f64,
    /// How well that does.
    pub found: Score,
}

const THRESHOLDS: [f64; 7] = [0.1, LIKELY, 0.7, 0.8, CONFIDENT, 0.95, 0.99];

/// All measurements of three files. Displayed, it is a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Contacts.
    pub left: u64,
    /// Rows.
    pub right: u64,
    /// Labelled pairs whose two records are in the files.
    pub truth: u64,
    /// The country of numbers without a country code.
    pub country: String,
    /// Which column was read as what: `(file, column, value)`.
    pub columns: Vec<(String, String, &'static str)>,
    /// One for each choice of what to match on; the last is of all together.
    pub measurements: Vec<Measurement>,
    /// Of the last measurement: pairs found that are not labelled.
    pub wrong: Mistakes,
    /// Of the last measurement: labelled pairs that are not found.
    pub missed: Mistakes,
    /// Of the last measurement: pairs merged without review that are not labelled.
    pub merged_wrong: Mistakes,
}

/// Mistakes that a report lists, of each sort, and that its text shows.
const MISTAKES_LISTED: usize = 100;
const MISTAKES_SHOWN: usize = 5;

/// Pairs to look at.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mistakes {
    /// How many there are.
    pub pairs: u64,
    /// The first 100 by the files' ids.
    pub first: Vec<Mistake>,
}

/// A pair of a left and a right record, with the names that they go by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "ids and names of the two files' records")]
pub struct Mistake {
    pub left: String,
    pub right: String,
    pub left_name: String,
    pub right_name: String,
}

impl Mistakes {
    fn of<'p>(
        pairs: impl Iterator<Item = &'p Pair>,
        left: (&Table, &[Record]),
        right: (&Table, &[Record]),
    ) -> Self {
        let mut first: Vec<Mistake> = pairs
            .map(|(contact, row)| Mistake {
                left: left.0.id(*contact),
                right: right.0.id(*row),
                left_name: name(&left.1[*contact as usize]),
                right_name: name(&right.1[*row as usize]),
            })
            .collect();
        let pairs = first.len() as u64;
        first.sort_unstable();
        first.truncate(MISTAKES_LISTED);
        Self { pairs, first }
    }
}

/// The person's, else the company's.
fn name(record: &Record) -> String {
    let person: Vec<&str> =
        [&record.first_name, &record.last_name].into_iter().filter_map(Option::as_deref).collect();
    if person.is_empty() { record.company.clone().unwrap_or_default() } else { person.join(" ") }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} contacts, {} rows, {} labelled pairs; numbers of {}",
            self.left, self.right, self.truth, self.country
        )?;
        for (file, column, value) in &self.columns {
            writeln!(f, "  {file}: {column} read as {value}")?;
        }
        writeln!(
            f,
            "{:<34}{:>10}{:>10}{:>10}  |{:>8}{:>11}{:>10}{:>9}",
            "match on", "precision", "recall", "F1", "merged", "precision", "recall", "seconds"
        )?;
        for one in &self.measurements {
            let names: Vec<&str> = one.match_on.iter().map(|kind| kind.as_str()).collect();
            writeln!(
                f,
                "{:<34}{:>10.4}{:>10.4}{:>10.4}  |{:>8}{:>11.4}{:>10.4}{:>9.2}",
                names.join(" + "),
                one.found.precision,
                one.found.recall,
                one.found.f1,
                one.merged.pairs,
                one.merged.precision,
                one.merged.recall,
                one.seconds
            )?;
        }
        if let Some(last) = self.measurements.last() {
            writeln!(f, "by confidence, for the last:")?;
            for Threshold { at_least, found } in &last.by_confidence {
                let label = format!("  at least {at_least}");
                writeln!(f, "{label:<34}{:>10.4}{:>10.4}{:>10.4}", found.precision, found.recall, found.f1)?;
            }
        }
        for (what, mistakes) in [
            ("found and not labelled", &self.wrong),
            ("labelled and not found", &self.missed),
            ("merged and not labelled", &self.merged_wrong),
        ] {
            if mistakes.pairs == 0 {
                continue;
            }
            let shown = mistakes.first.len().min(MISTAKES_SHOWN);
            writeln!(f, "{what}, for the last: {}; {shown} of them:", mistakes.pairs)?;
            for one in &mistakes.first[..shown] {
                writeln!(
                    f,
                    "  {} and {}: {:?} and {:?}",
                    one.left, one.right, one.left_name, one.right_name
                )?;
            }
        }
        Ok(())
    }
}

/// Reads the three files and measures.
pub fn evaluate(
    left: &Path,
    right: &Path,
    truth: &Path,
    options: &LabelledOptions,
) -> Result<Report, LabelledError> {
    measure(&Table::open(left)?, &Table::open(right)?, &Table::open(truth)?, options)
}

/// A row of the left and one of the right file.
type Pair = (u32, u32);

fn measure(
    left: &Table,
    right: &Table,
    truth: &Table,
    options: &LabelledOptions,
) -> Result<Report, LabelledError> {
    let contacts = left.records(|index| RecordKey::Contact(Uuid::from_u128(u128::from(index))))?;
    let rows = right.records(RecordKey::Row)?;
    let truth = labelled_pairs(truth, left, right)?;
    let country = options.country.unwrap_or_else(|| {
        guess_country(contacts.iter().chain(&rows).filter_map(|record| record.phone.as_deref()))
    });
    let choices = match &options.match_on {
        Some(match_on) => vec![match_on.clone()],
        None => choices(&contacts, &rows),
    };
    let mut measurements = Vec::new();
    let mut last = Suggested::default();
    for match_on in choices {
        let started = Instant::now();
        let analysis =
            analyse(&rows, &contacts, &Options { match_on: match_on.clone(), ..Options::new(country) });
        let seconds = started.elapsed().as_secs_f64();
        last = Suggested::of(&analysis);
        measurements.push(Measurement {
            match_on: match_on.into_iter().collect(),
            found: Score::of(&last.at_least(LIKELY), &truth),
            merged: Score::of(&last.merged, &truth),
            by_confidence: THRESHOLDS
                .map(|at_least| Threshold { at_least, found: Score::of(&last.at_least(at_least), &truth) })
                .to_vec(),
            seconds,
        });
    }
    let found = last.at_least(LIKELY);
    let (of_left, of_right) = ((left, contacts.as_slice()), (right, rows.as_slice()));
    Ok(Report {
        left: contacts.len() as u64,
        right: rows.len() as u64,
        truth: truth.len() as u64,
        country: country.to_string(),
        columns: [left, right].into_iter().flat_map(Table::described).collect(),
        measurements,
        wrong: Mistakes::of(found.difference(&truth), of_left, of_right),
        missed: Mistakes::of(truth.difference(&found), of_left, of_right),
        merged_wrong: Mistakes::of(last.merged.difference(&truth), of_left, of_right),
    })
}

/// The pairs that an analysis suggests.
#[derive(Default)]
struct Suggested {
    found: Vec<(Pair, f64)>,
    merged: HashSet<Pair>,
}

impl Suggested {
    fn of(analysis: &Analysis) -> Self {
        let mut suggested = Self::default();
        for group in &analysis.groups {
            for member in &group.members {
                let RecordKey::Row(row) = member else { continue };
                for other in &group.members {
                    let RecordKey::Contact(id) = other else { continue };
                    let pair = (u32::try_from(id.as_u128()).unwrap_or(u32::MAX), *row);
                    suggested.found.push((pair, group.confidence));
                    if !matches!(group.suggested_action, Action::Create | Action::Review) {
                        suggested.merged.insert(pair);
                    }
                }
            }
        }
        suggested
    }

    fn at_least(&self, confidence: f64) -> HashSet<Pair> {
        self.found.iter().filter(|(_, found)| *found >= confidence).map(|(pair, _)| *pair).collect()
    }
}

/// Each kind of value that both sides hold, then all of them at once.
fn choices(contacts: &[Record], rows: &[Record]) -> Vec<BTreeSet<MatchOn>> {
    let held = |kind: MatchOn, records: &[Record]| {
        records.iter().any(|record| match kind {
            MatchOn::Email => record.email.is_some(),
            MatchOn::Phone => record.phone.is_some(),
            MatchOn::ExternalId => record.external_id.is_some(),
            MatchOn::NameCompany => {
                record.first_name.is_some() || record.last_name.is_some() || record.company.is_some()
            }
        })
    };
    let kinds: BTreeSet<MatchOn> =
        MatchOn::ALL.into_iter().filter(|kind| held(*kind, contacts) && held(*kind, rows)).collect();
    let mut choices: Vec<BTreeSet<MatchOn>> = kinds.iter().map(|kind| BTreeSet::from([*kind])).collect();
    if kinds.len() > 1 {
        choices.push(kinds);
    }
    choices
}

/// A CSV file with a header.
struct Table {
    file: String,
    header: Vec<String>,
    rows: Vec<csv::StringRecord>,
    id: usize,
    values: Vec<Value>,
    /// Row by id.
    index: HashMap<String, u32>,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    FirstName,
    LastName,
    Email,
    Phone,
    Company,
    City,
    Other,
}

impl Value {
    fn name(self) -> &'static str {
        match self {
            Self::FirstName => "first name",
            Self::LastName => "last name",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Company => "company",
            Self::City => "city",
            Self::Other => "nothing",
        }
    }

    /// By the header's words. A plain `name` is decided by the other columns.
    fn of(column: &str) -> Option<Self> {
        let spaced: String = column.chars().map(|c| if c == '_' { ' ' } else { c }).collect();
        let folded = fold_name(&spaced).replace(' ', "");
        Some(match folded.as_str() {
            "firstname" | "givenname" | "forename" | "prenom" | "vorname" | "fname" | "first" => {
                Self::FirstName
            }
            "lastname" | "surname" | "familyname" | "nom" | "nomdefamille" | "nachname" | "lname"
            | "last" => Self::LastName,
            "email" | "mail" | "emailaddress" | "courriel" | "adresseemail" => Self::Email,
            "phone" | "phonenumber" | "telephone" | "tel" | "mobile" | "phoneno" | "telefon" | "portable" => {
                Self::Phone
            }
            "company" | "companyname" | "organization" | "organisation" | "employer" | "business"
            | "businessname" | "entreprise" | "societe" | "restaurant" | "firma" | "account" => Self::Company,
            "city" | "town" | "suburb" | "ville" | "locality" | "stadt" | "municipality" | "commune" => {
                Self::City
            }
            "name" | "fullname" => return None,
            "title" | "label" => Self::Company,
            _ => match recognise(column) {
                Some(Field::FirstName) => Self::FirstName,
                Some(Field::LastName) => Self::LastName,
                Some(Field::Email) => Self::Email,
                Some(Field::Phone | Field::Mobile) => Self::Phone,
                Some(Field::Company) => Self::Company,
                Some(Field::City) => Self::City,
                _ => Self::Other,
            },
        })
    }
}

impl Table {
    fn open(path: &Path) -> Result<Self, LabelledError> {
        let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let failed = |source: csv::Error| LabelledError::Csv { file: file.clone(), source };
        let bytes = std::fs::read(path).map_err(|err| failed(err.into()))?;
        Self::read(&file, &bytes).map_err(failed)
    }

    fn read(file: &str, bytes: &[u8]) -> Result<Self, csv::Error> {
        // What is no UTF-8 and says nothing else is of the encoding that the older labelled files have.
        let otherwise = if std::str::from_utf8(bytes).is_ok() { UTF_8 } else { WINDOWS_1252 };
        let (text, ..) = otherwise.decode(bytes);
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .trim(csv::Trim::All)
            .delimiter(separator(&text))
            .from_reader(text.as_bytes());
        let header: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
        let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>()?;
        let known: Vec<Option<Value>> = header.iter().map(|column| Value::of(column)).collect();
        let has = |value: Value| known.contains(&Some(value));
        // A plain name is a person's if the file names employers beside it, else a company's.
        let plain = match () {
            () if has(Value::FirstName) || has(Value::LastName) => Value::Other,
            () if has(Value::Company) => Value::LastName,
            () => Value::Company,
        };
        let mut values: Vec<Value> = known.into_iter().map(|value| value.unwrap_or(plain)).collect();
        // The first column of a kind is read, the others are not.
        for at in 1..values.len() {
            if values[..at].contains(&values[at]) {
                values[at] = Value::Other;
            }
        }
        let id = header
            .iter()
            .position(|column| {
                matches!(fold_name(column).as_str(), "id" | "rec id" | "record id" | "uuid" | "key")
            })
            .unwrap_or(0);
        let mut index = HashMap::new();
        for (number, row) in (0u32..).zip(&rows) {
            index.entry(row.get(id).unwrap_or_default().to_owned()).or_insert(number);
        }
        Ok(Self { file: file.to_owned(), header, rows, id, values, index })
    }

    fn id(&self, row: u32) -> String {
        self.rows.get(row as usize).and_then(|row| row.get(self.id)).unwrap_or_default().to_owned()
    }

    fn described(&self) -> Vec<(String, String, &'static str)> {
        let columns = self.header.iter().zip(&self.values).filter(|(_, value)| **value != Value::Other);
        columns.map(|(column, value)| (self.file.clone(), column.clone(), value.name())).collect()
    }

    fn records(&self, key: impl Fn(u32) -> RecordKey) -> Result<Vec<Record>, LabelledError> {
        if self.values.iter().all(|value| matches!(value, Value::Other | Value::City)) {
            return Err(LabelledError::NoColumn { file: self.file.clone() });
        }
        Ok((0u32..)
            .zip(&self.rows)
            .map(|(number, row)| {
                let mut record = Record::empty(key(number));
                for (value, text) in self.values.iter().zip(row) {
                    let text = (!text.trim().is_empty()).then(|| text.to_owned());
                    match value {
                        Value::FirstName => record.first_name = text,
                        Value::LastName => record.last_name = text,
                        Value::Email => record.email = text,
                        Value::Phone => record.phone = text,
                        Value::Company => record.company = text,
                        Value::City => record.city = text,
                        Value::Other => {}
                    }
                }
                record
            })
            .collect())
    }
}

/// What stands between the columns: of the usual characters the one that is most often in the first line.
fn separator(text: &str) -> u8 {
    let first = text.lines().next().unwrap_or_default();
    let often = |separator: &u8| first.bytes().filter(|byte| byte == separator).count();
    // Of several that are as often there the first one: a comma.
    [b'|', b'\t', b';', b','].into_iter().max_by_key(often).unwrap_or(b',')
}

/// What a label says of its pair, if it is one.
fn label(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "1.0" | "true" | "t" | "yes" | "y" => Some(true),
        "0" | "0.0" | "false" | "f" | "no" | "n" => Some(false),
        _ => None,
    }
}

/// The labelled pairs as rows of the two files. The two columns are those that hold the most ids of each file, the left
/// file's first where either would do; one that holds nothing but yes and no, or one named `label`, `gold` or `match`, says
/// which pairs are none. A file without a header begins with a pair.
fn labelled_pairs(truth: &Table, left: &Table, right: &Table) -> Result<HashSet<Pair>, LabelledError> {
    let columns = truth.header.len();
    let held = |column: usize, table: &Table| {
        truth.rows.iter().filter(|row| row.get(column).is_some_and(|id| table.index.contains_key(id))).count()
    };
    let mut best = (0, 0, 0);
    for one in 0..columns {
        for other in (0..columns).filter(|other| *other != one) {
            let both = held(one, left).min(held(other, right));
            if both > best.0 {
                best = (both, one, other);
            }
        }
    }
    let (found, one, other) = best;
    if found == 0 && !truth.rows.is_empty() {
        return Err(LabelledError::NoPairs { file: truth.file.clone() });
    }
    let says = |column: usize| {
        !truth.rows.is_empty() && truth.rows.iter().all(|row| row.get(column).and_then(label).is_some())
    };
    let named = |column: usize| {
        truth
            .header
            .get(column)
            .is_some_and(|name| matches!(fold_name(name).as_str(), "label" | "gold" | "match"))
    };
    let others = || (0..columns).filter(|column| *column != one && *column != other);
    let labels = others().find(|column| named(*column)).or_else(|| others().find(|column| says(*column)));
    let labelled =
        |row: &csv::StringRecord| labels.and_then(|column| label(row.get(column)?)).unwrap_or(true);
    let header = csv::StringRecord::from(truth.header.clone());
    Ok(std::iter::once(&header)
        .chain(&truth.rows)
        .filter(|row| labelled(row))
        .filter_map(|row| Some((*left.index.get(row.get(one)?)?, *right.index.get(row.get(other)?)?)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        Table::read("a file", text.as_bytes()).unwrap()
    }

    #[test]
    fn files_are_read_as_their_makers_write_them() {
        let plain = "id,Raison sociale,Commune,Téléphone fixe\n1,Café Zoé,Évry,01 42 68 53 00\n";
        let (latin, ..) = WINDOWS_1252.encode(plain);
        let wide: Vec<u8> =
            [0xff, 0xfe].into_iter().chain(plain.encode_utf16().flat_map(u16::to_le_bytes)).collect();
        let marked = format!("\u{feff}{plain}");
        let (tabs, bars, semicolons) =
            (plain.replace(',', "\t"), plain.replace(',', "|"), plain.replace(',', ";"));
        let files = [plain, &marked, &tabs, &bars, &semicolons].map(|text| text.as_bytes().to_vec());
        for file in files.into_iter().chain([latin.into_owned(), wide]) {
            let table = Table::read("a file", &file).unwrap();
            assert_eq!(table.values, [Value::Other, Value::Company, Value::City, Value::Phone]);
            let record = table.records(RecordKey::Row).unwrap().remove(0);
            assert_eq!((record.company.as_deref(), record.city.as_deref()), (Some("Café Zoé"), Some("Évry")));
        }
    }

    #[test]
    fn a_pair_that_is_labelled_as_none_is_none_and_a_truth_needs_no_header() {
        let pairs = |truth: &str| labelled_pairs(&table(truth), &table(GUIDE), &table(GUIDE)).unwrap().len();
        for labels in ["is_match\n1,1,1\n2,2,0\n", "y\n1,1,1.0\n2,2,0.0\n", "gold\n1,1,True\n2,2,False\n"] {
            assert_eq!(pairs(&format!("a,b,{labels}")), 1, "{labels}");
        }
        assert_eq!(pairs("a,b,note\n1,1,sure\n2,2,0\n"), 2);
        assert_eq!(pairs("1,1\n2,2\n"), 2);
    }

    fn measured(left: &str, right: &str, truth: &str) -> Result<Report, LabelledError> {
        measure(&table(left), &table(right), &table(truth), &LabelledOptions::default())
    }

    const GUIDE: &str =
        "id,name,addr,city,phone\n1,Chez Ann,1 rue A,Paris,01 42 68 53 00\n2,Le Bob,,Lyon,04 78 42 00 11\n";

    #[test]
    fn a_guide_against_another_is_measured() {
        let other =
            "id,name,addr,city,phone\n7,chez ann,,paris,+33142685300\n8,Bob,,Lyon,\n9,Le Carl,,Lille,\n";
        let report = measured(GUIDE, other, "left_id,right_id\n1,7\n2,8\n").unwrap();
        assert_eq!((report.left, report.right, report.truth, report.country.as_str()), (2, 3, 2, "FR"));
        let kinds: Vec<_> = report.measurements.iter().map(|one| one.match_on.as_slice()).collect();
        let expected: [&[MatchOn]; 3] =
            [&[MatchOn::Phone], &[MatchOn::NameCompany], &[MatchOn::Phone, MatchOn::NameCompany]];
        assert_eq!(kinds, expected);
        assert_eq!(report.measurements[0].found.recall, 0.5);
        assert_eq!(report.measurements[2].found.f1, 1.0);
        assert!(report.to_string().contains("name read as company"));
    }

    #[test]
    fn the_pairs_that_are_wrong_or_missed_are_told_with_their_names() {
        let other = "id,name,phone\n7,Chez Ann,01 42 68 53 00\n8,Le Robert,04 78 42 00 12\n";
        let report = measured(GUIDE, other, "left_id,right_id\n2,8\n2,7\n").unwrap();
        let mistake = |left: &str, right: &str, left_name: &str, right_name: &str| Mistake {
            left: left.into(),
            right: right.into(),
            left_name: left_name.into(),
            right_name: right_name.into(),
        };
        let wrong = Mistakes { pairs: 1, first: vec![mistake("1", "7", "Chez Ann", "Chez Ann")] };
        assert_eq!((&report.wrong, &report.merged_wrong), (&wrong, &wrong));
        let missed = vec![mistake("2", "7", "Le Bob", "Chez Ann"), mistake("2", "8", "Le Bob", "Le Robert")];
        assert_eq!(report.missed, Mistakes { pairs: 2, first: missed });
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["missed"]["first"][1]["rightName"], "Le Robert");
        assert_eq!(json["mergedWrong"]["pairs"], 1);
        let text = report.to_string();
        assert!(text.contains("labelled and not found, for the last: 2; 2 of them:"), "{text}");
        assert!(text.contains("\n  2 and 8: \"Le Bob\" and \"Le Robert\"\n"), "{text}");

        // Of many the first are told.
        let records: String = (100..300).map(|id| format!("{id},Firm {id},\n")).collect();
        let truth: String = (100..300).map(|id| format!("{id},{}\n", 399 - id)).collect();
        let file = format!("id,name,phone\n{records}");
        let report = measured(&file, &file, &format!("left_id,right_id\n{truth}")).unwrap();
        assert_eq!((report.missed.pairs, report.missed.first.len()), (200, MISTAKES_LISTED));
        assert_eq!(report.missed.first[99].left, "199");
    }

    /// Invented people and firms with what imports bring: other spellings, swapped columns, tags, missing values, and beside
    /// them siblings, namesakes and colleagues, who are somebody else.
    #[test]
    fn people_are_found_in_other_spellings_and_nobody_is_merged_with_a_stranger() {
        let file = |name: &str| {
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/deduplication").join(name)
        };
        let (contacts, rows, truth) = (file("contacts.csv"), file("rows.csv"), file("truth.csv"));
        let report = evaluate(&contacts, &rows, &truth, &LabelledOptions::default()).unwrap();
        assert_eq!((report.left, report.right, report.truth), (20, 22, 16));
        for measurement in &report.measurements {
            let merged = measurement.merged;
            assert_eq!(merged.precision, 1.0, "{:?}: {report}", measurement.match_on);
        }
        let all = report.measurements.last().unwrap();
        assert!(all.found.recall >= 1.0 && all.found.precision >= 0.84, "{report}");
        assert!(all.merged.recall >= 0.93, "what is sure needs no review: {report}");
    }

    #[test]
    fn columns_are_known_by_their_names_in_several_languages() {
        for (header, values) in [
            ("id,name,city,phone", vec!["company", "city", "phone"]),
            ("rec_id, given_name, surname, suburb", vec!["first name", "last name", "city"]),
            (
                "ID;x,Prénom,Nom,Société,Ville,Téléphone,Courriel",
                vec!["first name", "last name", "company", "city", "phone", "email"],
            ),
            ("id,name,company,e-mail", vec!["last name", "company", "email"]),
            ("id,first_name,last_name,name", vec!["first name", "last name"]),
            ("id,phone,mobile,name", vec!["phone", "company"]),
        ] {
            let described: Vec<_> =
                table(header).described().into_iter().map(|(_, _, value)| value).collect();
            assert_eq!(described, values, "{header}");
        }
    }

    #[test]
    fn the_columns_of_the_truth_are_found_by_the_ids_they_hold() {
        let other = "id,name,phone\n7,chez ann,+33142685300\n";
        for truth in ["a,b\n1,7\n", "_id,l_id,r_id,gold\n0,1,7,1\n1,2,7,0\n", "zagats_id,fodors_id\n7,1\n"] {
            assert_eq!(measured(GUIDE, other, truth).unwrap().truth, 1, "{truth}");
        }
    }

    #[test]
    fn files_that_cannot_be_measured_are_refused() {
        let refused = |left, truth| measured(left, GUIDE, truth).map(|_| ()).unwrap_err().to_string();
        assert_eq!(
            refused("id,colour\n1,red\n", "a,b\n1,1\n"),
            "a file has no column of names, e-mail addresses or phone numbers"
        );
        assert_eq!(refused(GUIDE, "a,b\nx,y\n"), "a file has no two columns that hold ids of the two files");
        let missing = Path::new("no such file.csv");
        let error = evaluate(missing, missing, missing, &LabelledOptions::default()).unwrap_err();
        assert_eq!(error.to_string(), "no such file.csv cannot be read");
    }
}
