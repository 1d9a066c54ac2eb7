//! Making an analysis: records go in batch by batch, groups come out part by part.
//!
//! The comparing has a thread of its own. Both ways to and from it are short queues, so that neither what was read nor
//! what was found piles up.

use docket_aggregates::ids::OrganizationId;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::store::{self, GROUPS_IN_PART, Header, StoredGroup};
use super::{Stopped, store::Fault};
use crate::clock::Clock;
use crate::deduplication::{Analyser, GivenUp, Options, Outline, Record};
use crate::ledger::Ledger;

/// Batches and parts that wait.
const QUEUE: usize = 4;

enum Batch {
    Rows(Vec<Record>),
    Contacts(Vec<Record>),
    End,
}

/// Takes records in.
pub struct Feed(mpsc::Sender<Batch>);

impl Feed {
    /// Rows, in their order.
    pub async fn rows(&self, rows: Vec<Record>) -> Result<(), Stopped> {
        self.0.send(Batch::Rows(rows)).await.map_err(|_| Stopped::Failed)
    }

    /// Contacts, each once.
    pub async fn contacts(&self, contacts: Vec<Record>) -> Result<(), Stopped> {
        if contacts.is_empty() {
            return Ok(());
        }
        self.0.send(Batch::Contacts(contacts)).await.map_err(|_| Stopped::Failed)
    }
}

/// An analysis being made.
pub struct Work {
    feed: Feed,
    parts: mpsc::Receiver<Vec<u8>>,
    outline: oneshot::Receiver<(Outline, u32)>,
}

impl Work {
    /// Begins on a thread of its own, which ends soon after this is dropped.
    pub fn begin(options: Options) -> Result<Self, Stopped> {
        let (feed, fed) = mpsc::channel(QUEUE);
        let (part, parts) = mpsc::channel(QUEUE);
        let (done, outline) = oneshot::channel();
        let working = std::thread::Builder::new().name("analysis".into()).spawn(move || {
            if let Some(found) = compare(options, fed, &part, &|| done.is_closed()) {
                // Whoever asked may be gone.
                let _ = done.send(found);
            }
        });
        match working {
            Ok(_) => Ok(Self { feed: Feed(feed), parts, outline }),
            Err(error) => {
                tracing::warn!(error = %error, "a thread for an analysis cannot be had");
                Err(Stopped::Interrupted)
            }
        }
    }

    /// Where records go in.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Compares what was taken in and stores what is found, under a new id. `head` makes the header of what is known
    /// once everything was compared.
    pub async fn finish(
        mut self,
        ledger: &Ledger,
        clock: &Clock,
        organization: OrganizationId,
        fingerprint: [u8; 32],
        head: impl FnOnce(Outline, u32) -> Header,
    ) -> Result<Uuid, Stopped> {
        let interrupted = |error: sqlx::Error| {
            tracing::warn!(error = ?error.as_database_error().map(|error| error.code()), "an analysis cannot be stored");
            Stopped::Interrupted
        };
        self.feed.0.send(Batch::End).await.map_err(|_| Stopped::Failed)?;
        let id: Uuid = clock.mint();
        let mut part = 0;
        while let Some(body) = self.parts.recv().await {
            part += 1;
            store::write_part(ledger.pool(), organization, id, part, &body, clock.now())
                .await
                .map_err(interrupted)?;
        }
        let (outline, groups) = self.outline.await.map_err(|_| Stopped::Failed)?;
        let header = head(outline, groups);
        let body = serde_json::to_vec(&header).map_err(|_| Stopped::Failed)?;
        let now = clock.now();
        store::finish(ledger.pool(), organization, id, &fingerprint, header.position, &body, now)
            .await
            .map_err(interrupted)?;
        Ok(id)
    }
}

/// None if the feeding broke off, or nobody takes what is found any more.
fn compare(
    options: Options,
    mut fed: mpsc::Receiver<Batch>,
    parts: &mpsc::Sender<Vec<u8>>,
    given_up: &GivenUp<'_>,
) -> Option<(Outline, u32)> {
    let mut analyser = Analyser::new(options);
    loop {
        match fed.blocking_recv()? {
            Batch::Rows(rows) => analyser.rows(&rows),
            Batch::Contacts(contacts) => analyser.contacts(&contacts),
            Batch::End => break,
        }
    }
    let (mut groups, mut part) = (0_u32, Vec::with_capacity(GROUPS_IN_PART as usize));
    let send = |part: &mut Vec<StoredGroup>| {
        if let Ok(body) = serde_json::to_vec(part) {
            // Nobody may be there to take it any more; then the outline is not taken either.
            let _ = parts.blocking_send(body);
        }
        part.clear();
    };
    let outline = analyser.finish(given_up, |group| {
        groups += 1;
        part.push(StoredGroup::from(group));
        if part.len() == GROUPS_IN_PART as usize {
            send(&mut part);
        }
    })?;
    if !part.is_empty() {
        send(&mut part);
    }
    Some((outline, groups))
}

impl Fault {
    /// The first `most` of these.
    pub fn first(
        faults: &[crate::deduplication::RowErrors],
        most: usize,
        line: impl Fn(u32) -> Option<u64>,
    ) -> Vec<Self> {
        let fault = |faults: &crate::deduplication::RowErrors| Self {
            row: Some(faults.row_index),
            line: line(faults.row_index),
            errors: faults.errors.iter().map(ToString::to_string).collect(),
        };
        faults.iter().take(most).map(fault).collect()
    }
}
