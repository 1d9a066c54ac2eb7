//! An import: one uploaded file, staged in a folder and then committed as contacts.
//!
//! Both halves are many appends, one per chunk, and the chunk's number is part of the stream's state: a
//! half-done import resumes where it stopped, and no chunk can be done twice.

mod event;

use serde::{Deserialize, Serialize};

pub use event::{ImportEvent, ImportLabel, InvalidRow, RowFault, RowOutcome, StagedContact, StagedRow};

use crate::contact::LegalBasis;
use crate::ids::{CommandId, ImportId};
use crate::personal::Personal;
use crate::stored::aggregate;

/// What happens to a row that matches a contact already there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDuplicate {
    /// The contact stays as it is; it is put into the folder.
    #[default]
    Skip,
    /// The contact is completed by what the row says.
    Update,
}

/// Where an import stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportStage {
    /// No such import.
    #[default]
    Unknown,
    /// Rows are being read.
    Staging,
    /// All rows were read.
    Staged,
    /// Rows are being made contacts.
    Committing,
    /// All rows were dealt with.
    Committed,
}

/// Orders to an import.
#[derive(Clone, Debug)]
pub enum ImportCommand {
    /// Open the folder.
    Start {
        /// A fresh id.
        import_id: ImportId,
        /// Name, source and mapping.
        label: ImportLabel,
        /// On what ground its contacts are kept.
        legal_basis: LegalBasis,
        /// How the file's bytes are read.
        encoding: String,
        /// What separates its columns.
        separator: String,
    },
    /// Put the next chunk of rows in.
    Stage {
        /// Number of the chunk, from 0.
        chunk: u64,
        /// Rows that can become contacts.
        rows: Vec<StagedRow>,
        /// Rows that cannot.
        invalid: Vec<InvalidRow>,
    },
    /// The file ends here.
    FinishStaging,
    /// Begin to make contacts of the rows.
    StartCommit {
        /// The command that orders it.
        commit_id: CommandId,
        /// What happens to duplicates.
        on_duplicate: OnDuplicate,
    },
    /// Record what became of a chunk.
    CommitChunk {
        /// Number of the staged chunk.
        chunk: u64,
        /// New contacts.
        created: Vec<RowOutcome>,
        /// Changed contacts.
        updated: Vec<RowOutcome>,
        /// Rows that changed nothing.
        skipped: Vec<RowOutcome>,
    },
    /// Every chunk was committed.
    FinishCommit,
}

/// Why an import refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The stream is empty.
    #[error("import folder does not exist")]
    Unknown,
    /// The id is taken.
    #[error("import folder already exists")]
    AlreadyStarted,
    /// The file is still being read, or its upload broke off.
    #[error("import folder is not completely read yet")]
    NotStaged,
    /// A commit was ordered before.
    #[error("import folder was already committed")]
    AlreadyCommitted,
    /// The chunk is not the next one.
    #[error("chunk {got} is not the next one, which is {next}")]
    WrongChunk {
        /// The chunk given.
        got: u64,
        /// The chunk expected.
        next: u64,
    },
}

/// The state that decisions need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Import {
    stage: ImportStage,
    chunks: u64,
    rows: u64,
    invalid: u64,
    committed_chunks: u64,
    created: u64,
    updated: u64,
    skipped: u64,
    on_duplicate: OnDuplicate,
    legal_basis: LegalBasis,
    label: Option<Personal<ImportLabel>>,
}

aggregate!(Import, "Import", ImportCommand, ImportEvent, ImportError);

impl Import {
    /// The whole business of an import.
    fn decide(&self, command: ImportCommand) -> Result<Vec<ImportEvent>, ImportError> {
        use ImportCommand as C;
        use ImportEvent as E;
        use ImportStage as S;
        match (command, self.stage) {
            (C::Start { import_id, label, legal_basis, encoding, separator }, S::Unknown) => {
                let label = Personal::known(import_id.uuid(), label);
                Ok(vec![E::ImportStarted { import_id, label, legal_basis, encoding, separator }])
            }
            (C::Start { .. }, _) => Err(ImportError::AlreadyStarted),
            (_, S::Unknown) => Err(ImportError::Unknown),

            (C::Stage { chunk, .. }, S::Staging) if chunk != self.chunks => {
                Err(ImportError::WrongChunk { got: chunk, next: self.chunks })
            }
            (C::Stage { chunk, rows, invalid }, S::Staging) => {
                Ok(vec![E::RowsStaged { chunk, rows, invalid }])
            }
            (C::FinishStaging, S::Staging) => {
                Ok(vec![E::ImportStaged { rows: self.rows, invalid: self.invalid }])
            }
            (C::Stage { .. } | C::FinishStaging, _) => Err(ImportError::AlreadyStarted),

            (_, S::Staging) => Err(ImportError::NotStaged),
            (C::StartCommit { commit_id, on_duplicate }, S::Staged) => {
                Ok(vec![E::CommitStarted { commit_id, on_duplicate }])
            }
            (C::StartCommit { .. }, S::Committing | S::Committed) => Err(ImportError::AlreadyCommitted),

            (C::CommitChunk { chunk, .. }, S::Committing) if chunk != self.committed_chunks => {
                Err(ImportError::WrongChunk { got: chunk, next: self.committed_chunks })
            }
            (C::CommitChunk { chunk, created, updated, skipped }, S::Committing) => {
                Ok(vec![E::RowsCommitted { chunk, created, updated, skipped }])
            }
            (C::FinishCommit, S::Committing) if self.committed_chunks < self.chunks => {
                Err(ImportError::WrongChunk { got: self.chunks, next: self.committed_chunks })
            }
            (C::FinishCommit, S::Committing) => Ok(vec![E::ImportCommitted {
                created: self.created,
                updated: self.updated,
                skipped: self.skipped,
            }]),
            (C::CommitChunk { .. } | C::FinishCommit, S::Staged) => Err(ImportError::NotStaged),
            (C::CommitChunk { .. } | C::FinishCommit, S::Committed) => Err(ImportError::AlreadyCommitted),
        }
    }

    fn evolve(&mut self, event: ImportEvent) {
        match event {
            ImportEvent::ImportStarted { label, legal_basis, .. } => {
                self.stage = ImportStage::Staging;
                self.label = Some(label);
                self.legal_basis = legal_basis;
            }
            ImportEvent::RowsStaged { rows, invalid, .. } => {
                self.chunks += 1;
                self.rows += (rows.len() + invalid.len()) as u64;
                self.invalid += invalid.len() as u64;
            }
            ImportEvent::ImportStaged { .. } => self.stage = ImportStage::Staged,
            ImportEvent::CommitStarted { on_duplicate, .. } => {
                self.stage = ImportStage::Committing;
                self.on_duplicate = on_duplicate;
            }
            ImportEvent::RowsCommitted { created, updated, skipped, .. } => {
                self.committed_chunks += 1;
                self.created += created.len() as u64;
                self.updated += updated.len() as u64;
                self.skipped += skipped.len() as u64;
            }
            ImportEvent::ImportCommitted { .. } => self.stage = ImportStage::Committed,
        }
    }

    /// Where it stands.
    pub fn stage(&self) -> ImportStage {
        self.stage
    }

    /// Chunks staged and chunks committed.
    pub fn chunks(&self) -> (u64, u64) {
        (self.chunks, self.committed_chunks)
    }

    /// Rows read, and of these the invalid ones.
    pub fn rows(&self) -> (u64, u64) {
        (self.rows, self.invalid)
    }

    /// Contacts created, contacts updated, rows skipped.
    pub fn outcomes(&self) -> (u64, u64, u64) {
        (self.created, self.updated, self.skipped)
    }

    /// What happens to duplicates.
    pub fn on_duplicate(&self) -> OnDuplicate {
        self.on_duplicate
    }

    /// On what ground its contacts are kept.
    pub fn legal_basis(&self) -> LegalBasis {
        self.legal_basis
    }

    /// Name, source and mapping, while they are known.
    pub fn label(&self) -> Option<&ImportLabel> {
        self.label.as_ref().and_then(Personal::value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact::ContactProfile;
    use cqrs_es::test::TestFramework;
    use uuid::Uuid;

    type Given = TestFramework<Import>;
    const ID: ImportId = ImportId(Uuid::from_u128(1));
    const COMMIT: CommandId = CommandId(Uuid::from_u128(2));

    fn label() -> ImportLabel {
        ImportLabel { name: "Fair".into(), source: None, mapping: vec![("Mail".into(), "email".into())] }
    }

    fn started() -> ImportEvent {
        ImportEvent::ImportStarted {
            import_id: ID,
            label: Personal::known(ID.uuid(), label()),
            legal_basis: LegalBasis::Consent,
            encoding: "UTF-8".into(),
            separator: ",".into(),
        }
    }

    fn row() -> StagedRow {
        let contact = StagedContact { profile: ContactProfile::default(), opted_out: false };
        StagedRow { line: 2, contact: Personal::known(Uuid::from_u128(9), contact) }
    }

    fn staged(chunk: u64) -> ImportEvent {
        ImportEvent::RowsStaged { chunk, rows: vec![row()], invalid: vec![] }
    }

    fn committing() -> Vec<ImportEvent> {
        vec![
            started(),
            staged(0),
            ImportEvent::ImportStaged { rows: 1, invalid: 0 },
            ImportEvent::CommitStarted { commit_id: COMMIT, on_duplicate: OnDuplicate::Skip },
        ]
    }

    fn commit_chunk(chunk: u64) -> ImportCommand {
        ImportCommand::CommitChunk { chunk, created: vec![], updated: vec![], skipped: vec![] }
    }

    #[test]
    fn chunks_come_in_order_and_once() {
        let stage = |chunk| ImportCommand::Stage { chunk, rows: vec![row()], invalid: vec![] };
        Given::with(()).given(vec![started()]).when(stage(0)).then_expect_events(vec![staged(0)]);
        for wrong in [0, 2] {
            Given::with(())
                .given(vec![started(), staged(0)])
                .when(stage(wrong))
                .then_expect_error(ImportError::WrongChunk { got: wrong, next: 1 });
        }
    }

    #[test]
    fn the_totals_are_counted_from_the_chunks() {
        Given::with(())
            .given(vec![started(), staged(0), staged(1)])
            .when(ImportCommand::FinishStaging)
            .then_expect_events(vec![ImportEvent::ImportStaged { rows: 2, invalid: 0 }]);
    }

    #[test]
    fn a_half_read_import_is_not_committed() {
        let start = ImportCommand::StartCommit { commit_id: COMMIT, on_duplicate: OnDuplicate::Skip };
        Given::with(())
            .given(vec![started(), staged(0)])
            .when(start)
            .then_expect_error(ImportError::NotStaged);
    }

    #[test]
    fn an_import_is_committed_once() {
        let start = ImportCommand::StartCommit { commit_id: COMMIT, on_duplicate: OnDuplicate::Update };
        Given::with(()).given(committing()).when(start).then_expect_error(ImportError::AlreadyCommitted);
    }

    #[test]
    fn a_committed_chunk_is_not_committed_again() {
        let committed =
            ImportEvent::RowsCommitted { chunk: 0, created: vec![], updated: vec![], skipped: vec![] };
        let mut history = committing();
        Given::with(())
            .given(history.clone())
            .when(commit_chunk(0))
            .then_expect_events(vec![committed.clone()]);
        history.push(committed);
        Given::with(())
            .given(history)
            .when(commit_chunk(0))
            .then_expect_error(ImportError::WrongChunk { got: 0, next: 1 });
    }

    #[test]
    fn a_commit_does_not_end_before_its_last_chunk() {
        Given::with(())
            .given(committing())
            .when(ImportCommand::FinishCommit)
            .then_expect_error(ImportError::WrongChunk { got: 1, next: 0 });
    }

    #[test]
    fn an_unknown_import_refuses_everything() {
        Given::with(())
            .given_no_previous_events()
            .when(ImportCommand::FinishStaging)
            .then_expect_error(ImportError::Unknown);
    }
}
