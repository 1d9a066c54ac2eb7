//! The look at what the next batch needs, taken while the present one is written.
//!
//! One batch after the other, each read, judged and written, left a third of two cores idle: the callers of the next one
//! were ready, and waited for the disk. So as soon as a crowd waits, its batch is taken and read on a connection of its own.
//! What that reading shows of an organization is true of the head that it shows with it. Where it missed the batch that
//! was being written, [`Known::after`] adds what that batch did; where anybody else wrote, the write passes over the
//! head that has moved, as it does after any reading that came too early.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::task::JoinHandle;

use super::known::Known;
use super::{Failed, Hold};
use crate::ledger::queue::Waiting;

/// How many commands must wait: a smaller batch costs more for itself than the head start brings.
pub(super) const CROWD: usize = 64;
/// How long the look may take before the batch is read in its turn.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// Takes the look, one batch at a time.
#[derive(Default)]
pub(super) struct Lookout {
    connection: Option<PgConnection>,
    looking: Option<JoinHandle<Looked>>,
}

/// A batch, and what was found out for it. Nothing, where the database did not answer: then it is read in its turn.
struct Looked {
    batch: Vec<Waiting>,
    found: Option<(PgConnection, Known)>,
}

impl Lookout {
    /// Whether it can take a batch.
    pub(super) fn is_free(&self) -> bool {
        self.looking.is_none()
    }

    /// Begins to read what a batch needs.
    pub(super) fn look(&mut self, options: &PgConnectOptions, batch: Vec<Waiting>) {
        let open = self.connection.take();
        let options = options.clone().application_name("docket-append-ahead");
        self.looking = Some(tokio::spawn(async move {
            let look = tokio::time::timeout(LOOK_WITHIN, look(open, &options, &batch));
            let found = look.await.ok().and_then(Result::ok).flatten();
            Looked { batch, found }
        }));
    }

    /// The batch that was taken, and what was read for it. If the look panicked, its callers hear that the outcome is
    /// not known.
    pub(super) async fn seen(&mut self) -> Option<(Vec<Waiting>, Option<Known>)> {
        let Looked { batch, found } = self.looking.take()?.await.ok()?;
        let (connection, known) = found.unzip();
        self.connection = connection;
        Some((batch, known))
    }
}

/// What is to be read under locks is not read ahead.
async fn look(
    open: Option<PgConnection>,
    options: &PgConnectOptions,
    batch: &[Waiting],
) -> Result<Option<(PgConnection, Known)>, Failed> {
    if Hold::for_batch(batch) != Hold::Not {
        return Ok(None);
    }
    let mut connection = match open {
        Some(open) => open,
        None => PgConnection::connect_with(options).await?,
    };
    let known = Known::read(&mut connection, batch).await?;
    Ok(Some((connection, known)))
}
