//! Stored events of an import. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use super::OnDuplicate;
use crate::contact::{ContactProfile, LegalBasis};
use crate::ids::{CommandId, ContactId, ImportId, SubjectId};
use crate::personal::Personal;
use crate::stored::stored_events;

/// What is said of an import in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportLabel {
    /// The folder's name.
    pub name: String,
    /// Where its contacts were got from.
    pub source: Option<String>,
    /// The columns of the file and what each was taken for, in the file's order.
    pub mapping: Vec<(String, String)>,
}

/// One valid row of the file, as a contact would be made of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedContact {
    /// What the row says, normalised.
    pub profile: ContactProfile,
    /// The row carries an opt-out.
    #[serde(default)]
    pub opted_out: bool,
}

/// One row of the file. The subject is the id of the contact that it will become, so that erasing that contact
/// also erases the row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedRow {
    /// Line in the file where the row starts, from 1.
    pub line: u64,
    /// What it says.
    pub contact: Personal<StagedContact>,
}

/// One row that cannot become a contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvalidRow {
    /// Line in the file where the row starts, from 1.
    pub line: u64,
    /// What is wrong: never the value itself.
    pub errors: Vec<RowFault>,
    /// The cells as they stood in the file.
    pub cells: Personal<Vec<String>>,
}

/// One thing wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowFault {
    /// Machine-readable reason, for instance `INVALID_EMAIL`.
    pub code: String,
    /// The field it is about, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// One sentence for a person; holds no personal data.
    pub message: String,
}

/// What became of one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowOutcome {
    /// Line in the file where the row starts.
    pub line: u64,
    /// The subject under which the row itself is sealed.
    pub subject: SubjectId,
    /// The contact that it became or matched.
    pub contact_id: ContactId,
}

/// The facts of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum ImportEvent {
    /// A file is being read into a folder.
    ImportStarted {
        /// Its id, which is also its stream.
        import_id: ImportId,
        /// Name, source and mapping. The subject is the import.
        label: Personal<ImportLabel>,
        /// On what ground its contacts are kept.
        legal_basis: LegalBasis,
        /// How the file's bytes were read, for instance `UTF-8`.
        encoding: String,
        /// What separated its columns.
        separator: String,
    },
    /// Some of its rows, in the file's order.
    RowsStaged {
        /// Number of this chunk, from 0.
        chunk: u64,
        /// Rows that can become contacts.
        rows: Vec<StagedRow>,
        /// Rows that cannot.
        invalid: Vec<InvalidRow>,
    },
    /// The whole file was read.
    ImportStaged {
        /// Rows in the file, valid or not.
        rows: u64,
        /// Of these, rows that cannot become contacts.
        invalid: u64,
    },
    /// Its rows are being made contacts.
    CommitStarted {
        /// The command that ordered it.
        commit_id: CommandId,
        /// What happens to a row that matches a contact already there.
        on_duplicate: OnDuplicate,
    },
    /// What became of the rows of one staged chunk; the contacts' own events stand beside it.
    RowsCommitted {
        /// Number of the staged chunk.
        chunk: u64,
        /// Rows that became new contacts.
        created: Vec<RowOutcome>,
        /// Rows that changed a contact already there.
        updated: Vec<RowOutcome>,
        /// Rows that matched a contact already there and changed nothing.
        skipped: Vec<RowOutcome>,
    },
    /// Every row was dealt with.
    ImportCommitted {
        /// New contacts.
        created: u64,
        /// Changed contacts.
        updated: u64,
        /// Rows that changed nothing.
        skipped: u64,
    },
}

stored_events!(ImportEvent {
    ImportStarted "1",
    RowsStaged "1",
    ImportStaged "1",
    CommitStarted "1",
    RowsCommitted "1",
    ImportCommitted "1",
});
