//! One row per sequence, archived ones too: whoever was led through it keeps its way.

use docket_aggregates::ids::{OrganizationId, SequenceId};
use docket_aggregates::sequence::{SequenceEvent, SequenceStatus, SequenceWords, Step};
use docket_aggregates::{AnyEvent, Personal, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::recordset::{self, OneRow, Recordset};
use crate::{FoldError, Keyset, Page, ReadModel, Recorded};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "sequences", tables: &["sequences"] };

/// A sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceRow {
    /// The sequence.
    pub sequence_id: SequenceId,
    /// Its name; none once erased.
    pub name: Option<String>,
    /// Senders, waits and windows.
    pub steps: Vec<Step>,
    /// One payload for each step: the text of a JSON object; none once erased.
    pub payloads: Option<Vec<String>>,
    /// Where it stands.
    pub status: SequenceStatus,
    /// Which of its versions, from 1.
    pub revision: u32,
    /// Events of its stream.
    pub version: u64,
    /// When it was set up.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Recordset for SequenceRow {
    const TABLE: &'static str = "sequences";
    const KEY: &'static str = "sequence_id";
}

impl SequenceRow {
    fn say(&mut self, revision: u32, steps: &[Step], words: &Personal<SequenceWords>) {
        self.revision = revision;
        self.steps = steps.to_vec();
        self.name = words.value().map(|words| words.name.clone());
        self.payloads = words.value().map(|words| words.payloads.clone());
    }
}

/// One sequence.
pub async fn get(
    conn: &mut PgConnection,
    organization: OrganizationId,
    sequence: SequenceId,
) -> sqlx::Result<Option<SequenceRow>> {
    Ok(recordset::by_ids(conn, organization, &[sequence.uuid()]).await?.pop())
}

/// Sequences, the oldest first; of one status or of any.
pub async fn list(
    conn: &mut PgConnection,
    organization: OrganizationId,
    status: Option<SequenceStatus>,
    after: Option<&Keyset>,
    limit: u32,
) -> sqlx::Result<Page<SequenceRow>> {
    let mut query = recordset::of::<SequenceRow>(organization);
    if let Some(status) = status {
        query.push(" AND t.status = ").push_bind(status.name());
    }
    if let Some(after) = after {
        query.push(" AND t.sequence_id > ").push_bind(after.id);
    }
    query.push(" ORDER BY t.sequence_id LIMIT ").push_bind(i64::from(limit) + 1);
    let rows = recordset::read(conn, query).await?;
    Ok(Page::of(rows, limit, |row: &SequenceRow| Keyset::id(row.sequence_id)))
}

/// Folds the batch into sequences.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    recordset::fold::<SequenceRow>(conn, organization, batch).await
}

impl OneRow for SequenceRow {
    type Event = SequenceEvent;

    fn id(&self) -> Uuid {
        self.sequence_id.uuid()
    }

    fn event(event: &AnyEvent) -> Option<&SequenceEvent> {
        match event {
            AnyEvent::Sequence(event) => Some(event),
            _ => None,
        }
    }

    fn begun(event: &SequenceEvent, recorded: &Recorded) -> Option<Self> {
        let SequenceEvent::SequenceCreated { sequence_id, version, steps, words, .. } = event else {
            return None;
        };
        let mut row = Self {
            sequence_id: *sequence_id,
            name: None,
            steps: Vec::new(),
            payloads: None,
            status: SequenceStatus::Active,
            revision: 0,
            version: recorded.version(),
            created_at: recorded.occurred_at,
            updated_at: recorded.occurred_at,
        };
        row.say(*version, steps, words);
        Some(row)
    }

    fn change(&mut self, event: &SequenceEvent, recorded: &Recorded) {
        self.version = recorded.version();
        self.updated_at = recorded.occurred_at;
        match event {
            SequenceEvent::SequenceCreated { .. } => (),
            SequenceEvent::SequenceChanged { version, steps, words, .. } => self.say(*version, steps, words),
            SequenceEvent::SequencePaused {} => self.status = SequenceStatus::Paused,
            SequenceEvent::SequenceResumed {} => self.status = SequenceStatus::Active,
            SequenceEvent::SequenceArchived {} => self.status = SequenceStatus::Archived,
        }
    }
}
