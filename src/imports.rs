//! Imports: a file of contacts, staged in a folder, looked at, and then committed.
//!
//! Both halves go chunk by chunk, one append each, and the number of the chunk is part of the folder's state: what
//! breaks off goes on at the next chunk, and nothing is done twice. Memory does not grow with the file. Everything
//! is written in the bulk lane, one chunk at a time, so that others are served meanwhile.
//!
//! - `reader` turns a file into rows, `rows` a row into what is staged of it, `staging` puts them into the folder.
//! - `matching` tells which contact a row is about, `committing` makes contacts of the rows.
//! - `turns` says who may work now.
//!
//! An upload that breaks off leaves nothing. A process that dies while it stages leaves a folder in the state
//! `staging`, which can be seen and not be committed: the file is to be uploaded again. One that dies while it commits
//! goes on at its next start.

mod committing;
mod matching;
pub(crate) mod reader;
mod rows;
mod staging;
mod turns;

use std::time::Duration;

use docket_aggregates::contact::LegalBasis;
use docket_aggregates::ids::ImportId;
use docket_aggregates::import::ImportError;
use schemars::JsonSchema;
use serde::Serialize;

use crate::ledger::{AppendError, Appended, Command, Ledger};
use crate::service::ServiceError;

pub use committing::{Committed, Outcome, commit, dry_run, resume};
pub use staging::{Staged, stage_file};
pub(crate) use staging::{Upload, stage};
pub use turns::Imports;

/// Rows in one chunk, at most.
const CHUNK_ROWS: usize = 500;
/// Characters of a chunk's values, roughly, at which it is closed before it is full.
const CHUNK_CHARACTERS: usize = 1 << 20;
/// How long an append that is refused for want of room, or whose outcome is not known, is tried again.
const PATIENCE: Duration = Duration::from_secs(300);
/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What is said of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The folder's name.
    pub name: String,
    /// Where its contacts were got from.
    pub source: Option<String>,
    /// On what ground they are kept.
    pub legal_basis: LegalBasis,
}

/// One column and what it was taken for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Column {
    /// Its header in the file.
    pub header: String,
    /// The field of a contact, `custom.NAME`, or `ignore`.
    pub field: String,
}

impl Column {
    /// The columns of a stored mapping.
    pub fn all(mapping: &[(String, String)]) -> Vec<Self> {
        let column =
            |(header, field): &(String, String)| Self { header: header.clone(), field: field.clone() };
        mapping.iter().map(column).collect()
    }
}

/// How far an import has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What is done: bytes of the file while it is staged, chunks while it is committed.
    pub done: u64,
    /// Of how much.
    pub total: u64,
    /// Rows seen so far.
    pub rows: u64,
}

/// Told how far an import has come, after every chunk.
pub type Watch<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// Why an import is not done.
#[derive(Debug, thiserror::Error)]
pub enum ImportRefusal {
    /// The folder refuses.
    #[error(transparent)]
    Folder(#[from] ImportError),
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] reader::ReadError),
    /// The upload did not arrive.
    #[error(transparent)]
    Upload(#[from] reader::SpoolError),
    /// The map of columns is not one.
    #[error(transparent)]
    Map(#[from] reader::MapError),
    /// As many imports wait as may.
    #[error("too many imports are waiting")]
    TooMany,
    /// The organization uploads as much as it may.
    #[error("as many uploads of this organization are under way as may be")]
    ShareTaken,
    /// The process is shutting down.
    #[error("the process is shutting down; the import goes on at its next start")]
    Stopping,
    /// A commit with another treatment of duplicates was ordered before.
    #[error("a commit of import folder {0} with another onDuplicate was ordered before")]
    OtherCommit(ImportId),
    /// A staged chunk is not where it must be.
    #[error("chunk {0} of the import folder cannot be read")]
    Damaged(u64),
}

impl From<turns::TooMany> for ImportRefusal {
    fn from(_: turns::TooMany) -> Self {
        Self::TooMany
    }
}

impl From<turns::NoPlace> for ImportRefusal {
    fn from(no_place: turns::NoPlace) -> Self {
        match no_place {
            turns::NoPlace::ShareTaken => Self::ShareTaken,
            turns::NoPlace::AllTaken => Self::TooMany,
        }
    }
}

/// Why an import came to nothing.
pub type Error = ServiceError<ImportRefusal>;

impl From<ImportRefusal> for Error {
    fn from(refusal: ImportRefusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Appends bulk work: waits for room, and asks again with the same command until the outcome is known.
async fn append_patiently(ledger: &Ledger, command: &Command) -> Result<Appended, AppendError> {
    let mut pause = Duration::from_millis(50);
    let mut waited = Duration::ZERO;
    loop {
        let error = match ledger.append(command.clone()).await {
            Err(
                error @ (AppendError::OrganizationBusy { .. }
                | AppendError::Overloaded { .. }
                | AppendError::OutcomeUnknown(_)
                | AppendError::Unavailable),
            ) => error,
            decided => return decided,
        };
        if waited >= PATIENCE {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        waited += pause;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Runs work that keeps a processor busy on a thread of its own, which steps back where requests want the processor.
async fn apart<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let runtime = tokio::runtime::Handle::current();
    let (answer, answered) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("import".into()).spawn(move || {
        step_back();
        // Whoever asked may have gone away.
        let _ = answer.send(runtime.block_on(work));
    });
    let stopped = |why: &dyn std::fmt::Display| {
        Error::from(AppendError::Unstorable(format!("an import stopped: {why}")))
    };
    thread.map_err(|error| stopped(&error))?;
    answered.await.map_err(|_| stopped(&"its thread ended"))?
}

/// Lowers the priority of this thread. Elsewhere than on Linux that would be the whole process's.
fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, 10) {
        tracing::debug!(%error, "an import runs at the usual priority");
    }
}
