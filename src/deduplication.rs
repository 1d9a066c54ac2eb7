//! Which rows of an import are one contact, with each other or with a contact that the CRM holds.
//!
//! One pure function, [`analyse`], from records to groups. It never writes, reads no clock and draws no random number:
//! the same records give the same groups in the same order.
//!
//! Four steps, one module each. [`keys`] gives every record a handful of *match keys*; two records are compared only if
//! they share one, so the cost grows with the records and not with their pairs. `columns` folds the records once and
//! counts how rare each word is. `evidence` weighs a pair: each thing two records agree or disagree about moves the odds
//! that they are one by so many bits, a rare word more than a frequent one. `grouping` joins what is likely one and
//! says what to do with it.
//!
//! **What is not decided here.** Whether the CRM holds the right contacts: the caller looks up the contacts that share a
//! match key with a row, and hands them in. Whether a merge happens: a person or an agent decides.

mod candidates;
mod columns;
mod evidence;
mod grouping;
pub mod keys;
pub mod labelled;
mod letters;
mod names;
mod unasked;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::normalise::{Country, EmailError, PhoneError};
use columns::Reader;
pub use keys::{MatchKey, match_keys};

/// What two records may be found to be one by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MatchOn {
    /// The same mailbox.
    #[serde(rename = "email")]
    Email,
    /// The same number, whatever the extension.
    #[serde(rename = "phone")]
    Phone,
    /// The same id in the system that the records come from.
    #[serde(rename = "externalId")]
    ExternalId,
    /// Alike names: of the person, with the company or the city for a second witness; of the company where no person is
    /// named.
    #[serde(rename = "name_company")]
    NameCompany,
}

impl MatchOn {
    /// All of them, in the order in which answers name them.
    pub const ALL: [Self; 4] = [Self::Email, Self::Phone, Self::ExternalId, Self::NameCompany];

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::ExternalId => "externalId",
            Self::NameCompany => "name_company",
        }
    }
}

impl fmt::Display for MatchOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text names nothing to match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("match key is none of email, phone, externalId and name_company")]
pub struct MatchOnError;

impl FromStr for MatchOn {
    type Err = MatchOnError;

    fn from_str(text: &str) -> Result<Self, MatchOnError> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(MatchOnError)
    }
}

/// Who a record is: a row of the import, by its index from 0, or a contact of the CRM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RecordKey {
    /// A row of the import.
    #[serde(rename = "rowIndex")]
    Row(u32),
    /// A contact of the CRM.
    #[serde(rename = "contactId")]
    Contact(Uuid),
}

/// A row or a contact, as written. Empty and blank values count as absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which record it is.
    pub key: RecordKey,
    /// Given names. Where a record has one name in one column, either column will do.
    pub first_name: Option<String>,
    /// Surnames.
    pub last_name: Option<String>,
    /// One address.
    pub email: Option<String>,
    /// One number, with its extension if it has one.
    pub phone: Option<String>,
    /// The person's company, or the name of what is no person.
    pub company: Option<String>,
    /// Weighed, never matched on.
    pub city: Option<String>,
    /// Compared letter by letter: upper and lower case are two ids.
    pub external_id: Option<String>,
    /// Must not be contacted: marked so, or one of its addresses is suppressed.
    pub suppressed: bool,
    /// Is in at least one campaign. Read of contacts only.
    pub in_campaign: bool,
}

impl Record {
    /// A record with nothing but its key.
    #[must_use]
    pub fn empty(key: RecordKey) -> Self {
        Self {
            key,
            first_name: None,
            last_name: None,
            email: None,
            phone: None,
            company: None,
            city: None,
            external_id: None,
            suppressed: false,
            in_campaign: false,
        }
    }
}

/// How to compare. The default is the tool's: by e-mail and phone, numbers of France, tags dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Two records are proposed as one only if they agree in one of these. Whatever else they hold is still weighed,
    /// for and against.
    pub match_on: BTreeSet<MatchOn>,
    /// The country of numbers written without a country code.
    pub default_country: Country,
    /// Whether `ann+news@example.com` is `ann@example.com`.
    pub normalize_plus_tags: bool,
}

impl Options {
    /// The tool's defaults, for numbers of `default_country`.
    #[must_use]
    pub fn new(default_country: Country) -> Self {
        Self {
            match_on: BTreeSet::from([MatchOn::Email, MatchOn::Phone]),
            default_country,
            normalize_plus_tags: true,
        }
    }
}

/// What to do with a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// One row that is nobody else: a new contact.
    Create,
    /// Rows of one contact that bring something it lacks.
    Update,
    /// Rows that bring nothing new, or whose contact must not be contacted.
    Skip,
    /// Several rows, one new contact.
    Merge,
    /// A person should look: unsure, or more than one contact of the CRM.
    Review,
}

/// Identifies a group by its members: the same members, the same id, whatever else was analysed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId([u8; 16]);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for GroupId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Records that are one contact, or may be.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Derived from the members.
    pub group_id: GroupId,
    /// How likely all members are one, 0 to 1: the weakest link that the group needs. 1 for a row alone; for a row alone
    /// with near records, how likely it is the nearest of them.
    pub confidence: f64,
    /// By what the members were found to agree, of what was asked for.
    pub matched_on: Vec<MatchOn>,
    /// At least one row. Rows first, by index; then contacts, by id.
    pub members: Vec<RecordKey>,
    /// Records that share a key with this group but are more likely somebody else, and belong to a group of their own.
    pub near: Vec<RecordKey>,
    /// What to do.
    pub suggested_action: Action,
}

/// What is wrong with a value of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum RowError {
    #[error("row has none of the values to match on")]
    NoKey,
    #[error(transparent)]
    Email(#[from] EmailError),
    #[error(transparent)]
    Phone(#[from] PhoneError),
}

impl Serialize for RowError {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A row and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RowErrors {
    /// From 0.
    pub row_index: u32,
    /// At least one.
    pub errors: Vec<RowError>,
}

/// Counts of rows. `rows = unique + duplicates_in_import + existing_in_crm + invalid`: of a group's rows the first is
/// unique, or existing if the group has a contact, and the others are duplicates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// All rows.
    pub rows: u64,
    /// Contacts that would be new.
    pub unique: u64,
    /// Rows that are one with an earlier row.
    pub duplicates_in_import: u64,
    /// Contacts that the CRM holds already.
    pub existing_in_crm: u64,
    /// Of `existing_in_crm`, those whose contact is in a campaign.
    pub in_campaigns: u64,
    /// Rows without a usable value to match on.
    pub invalid: u64,
    /// Of `unique` and `existing_in_crm`, those that must not be contacted.
    pub suppressed: u64,
}

/// The whole answer. Every valid row is a member of exactly one group; groups come in the order of their first rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    /// Counts of rows.
    pub summary: Summary,
    /// Who is one.
    pub groups: Vec<Group>,
    /// Rows without one usable value to match on. They are in no group.
    pub invalid_rows: Vec<RowErrors>,
    /// Rows that were analysed although one of their values cannot be read.
    pub warnings: Vec<RowErrors>,
}

/// From this confidence on, a group is suggested for a change without review.
pub const CONFIDENT: f64 = 0.9;
/// From this confidence on, members are more likely one than not. Below it a group is a question, not a claim.
pub const LIKELY: f64 = 0.5;

/// The most threads that one analysis uses.
pub const THREADS_MAX: usize = 8;

/// As many threads as there are processors, at most [`THREADS_MAX`], and one for work that is done before they start.
fn threads(work: usize, enough: usize) -> usize {
    if work < enough {
        1
    } else {
        std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX)
    }
}

/// Whether nobody wants the answer any more.
pub type GivenUp<'a> = dyn Fn() -> bool + Sync + 'a;

/// An analysis that is fed batch by batch: of each record only what is compared is kept, about a quarter of a kilobyte.
pub struct Analyser(Reader);

impl Analyser {
    /// An analysis of nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self(Reader::new(options))
    }

    /// Takes rows in. They are numbered from 0 in the order of their coming; their keys are not read.
    pub fn rows(&mut self, rows: &[Record]) {
        self.0.rows(rows);
    }

    /// Takes contacts in, each of which must come once. They need not be the whole CRM: those that share a match key with a
    /// row are enough (see [`match_keys`]). Contacts are never compared with each other.
    pub fn contacts(&mut self, contacts: &[Record]) {
        self.0.contacts(contacts);
    }

    /// Finds the rows that are one contact, with each other and with the contacts, and hands out the groups in the order
    /// of their first rows.
    ///
    /// Works for seconds when the records are many: call it where blocking is allowed. Large inputs use up to
    /// [`THREADS_MAX`] threads; the answer does not depend on how many. `given_up` is asked again and again while records are
    /// compared; once it says yes there is no answer.
    pub fn finish(self, given_up: &GivenUp<'_>, each: impl FnMut(Group)) -> Option<Outline> {
        let (mut columns, options) = self.0.finish();
        let edges = candidates::weigh_all(&mut columns, &options, given_up);
        let unasked = unasked::weigh_all(&mut columns, &options, given_up);
        if given_up() {
            return None;
        }
        let summary = grouping::group(&columns, edges, &unasked, &options, each);
        Some(Outline { summary, invalid_rows: columns.invalid, warnings: columns.warnings })
    }
}

/// An analysis without its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// Counts of rows.
    pub summary: Summary,
    /// The first 10 000 rows without one usable value to match on.
    pub invalid_rows: Vec<RowErrors>,
    /// The first 10 000 rows that were analysed although one of their values cannot be read.
    pub warnings: Vec<RowErrors>,
}

/// The same in one go.
#[must_use]
pub fn analyse(rows: &[Record], contacts: &[Record], options: &Options) -> Analysis {
    let mut analyser = Analyser::new(options.clone());
    analyser.rows(rows);
    analyser.contacts(contacts);
    let mut groups = Vec::new();
    let outline = analyser.finish(&|| false, |group| groups.push(group));
    let Outline { summary, invalid_rows, warnings } = outline.expect("nobody gives it up");
    Analysis { summary, groups, invalid_rows, warnings }
}

#[cfg(test)]
mod tests;
