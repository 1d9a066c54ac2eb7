//! One row per outbox, deleted ones too: what was sent keeps its sender.

use docket_aggregates::channel::Channel;
use docket_aggregates::credential::SecretRef;
use docket_aggregates::ids::{OrganizationId, OutboxId};
use docket_aggregates::outbox::{OutboxEvent, OutboxSettings};
use docket_aggregates::{AnyEvent, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::recordset::{self, OneRow, Recordset};
use crate::{FoldError, Keyset, Page, ReadModel, Recorded};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "outboxes", tables: &["outboxes"] };

/// An outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxRow {
    /// The outbox.
    pub outbox_id: OutboxId,
    /// Its channel.
    pub channel: Channel,
    /// The niche that it serves.
    pub niche: Option<String>,
    /// The secret that it sends with; none once erased.
    pub secret_id: Option<String>,
    /// Which version of it; none means the latest.
    pub secret_version: Option<u32>,
    /// The text of a JSON object; none once erased.
    pub config: Option<String>,
    /// Events of its stream.
    pub version: u64,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was taken out of use.
    pub deleted_at: Option<Timestamp>,
}

impl Recordset for OutboxRow {
    const TABLE: &'static str = "outboxes";
    const KEY: &'static str = "outbox_id";
}

impl OutboxRow {
    /// The secret that it sends with, while it is known.
    pub fn secret(&self) -> Option<SecretRef> {
        let secret_id = self.secret_id.clone()?;
        Some(SecretRef { secret_id, version: self.secret_version })
    }

    fn settle(&mut self, settings: Option<&OutboxSettings>) {
        self.niche = settings.and_then(|settings| settings.niche.clone());
        self.secret_id = settings.map(|settings| settings.secret.secret_id.clone());
        self.secret_version = settings.and_then(|settings| settings.secret.version);
        self.config = settings.map(|settings| settings.config.clone());
    }
}

/// One outbox, also a deleted one.
pub async fn get(
    conn: &mut PgConnection,
    organization: OrganizationId,
    outbox: OutboxId,
) -> sqlx::Result<Option<OutboxRow>> {
    Ok(recordset::by_ids(conn, organization, &[outbox.uuid()]).await?.pop())
}

/// The outboxes in use, the oldest first.
pub async fn list(
    conn: &mut PgConnection,
    organization: OrganizationId,
    after: Option<&Keyset>,
    limit: u32,
) -> sqlx::Result<Page<OutboxRow>> {
    let mut query = recordset::of::<OutboxRow>(organization);
    query.push(" AND t.deleted_at IS NULL");
    if let Some(after) = after {
        query.push(" AND t.outbox_id > ").push_bind(after.id);
    }
    query.push(" ORDER BY t.outbox_id LIMIT ").push_bind(i64::from(limit) + 1);
    let rows = recordset::read(conn, query).await?;
    Ok(Page::of(rows, limit, |row: &OutboxRow| Keyset::id(row.outbox_id)))
}

/// Folds the batch into outboxes.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    recordset::fold::<OutboxRow>(conn, organization, batch).await
}

impl OneRow for OutboxRow {
    type Event = OutboxEvent;

    fn id(&self) -> Uuid {
        self.outbox_id.uuid()
    }

    fn event(event: &AnyEvent) -> Option<&OutboxEvent> {
        match event {
            AnyEvent::Outbox(event) => Some(event),
            _ => None,
        }
    }

    fn begun(event: &OutboxEvent, recorded: &Recorded) -> Option<Self> {
        let OutboxEvent::OutboxOpened { outbox_id, channel, settings } = event else { return None };
        let mut row = Self {
            outbox_id: *outbox_id,
            channel: *channel,
            niche: None,
            secret_id: None,
            secret_version: None,
            config: None,
            version: recorded.version(),
            created_at: recorded.occurred_at,
            updated_at: recorded.occurred_at,
            deleted_at: None,
        };
        row.settle(settings.value());
        Some(row)
    }

    fn change(&mut self, event: &OutboxEvent, recorded: &Recorded) {
        self.version = recorded.version();
        self.updated_at = recorded.occurred_at;
        match event {
            OutboxEvent::OutboxOpened { .. } => (),
            OutboxEvent::OutboxChanged { settings } => self.settle(settings.value()),
            OutboxEvent::OutboxDeleted {} => self.deleted_at = Some(recorded.occurred_at),
        }
    }
}
