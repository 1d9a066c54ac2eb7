//! One row per address on the suppression list. Only to be shown: whether something may be sent is asked of the claims.

use std::collections::BTreeMap;

use docket_aggregates::ids::OrganizationId;
use docket_aggregates::personal::Personal;
use docket_aggregates::suppression::{SuppressionEvent, SuppressionReason};
use docket_aggregates::{AnyEvent, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::recordset::{self, Recordset};
use crate::{FoldError, Keyset, Page, ReadModel, Recorded};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "suppressions", tables: &["suppressions"] };

/// An address on the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuppressionRow {
    /// Its stream.
    pub suppression_id: Uuid,
    /// Keyed hash of the address.
    pub address_hash: String,
    /// The address; none once erased.
    pub address: Option<String>,
    /// Why.
    pub reason: SuppressionReason,
    /// Since when.
    pub created_at: Timestamp,
}

impl Recordset for SuppressionRow {
    const TABLE: &'static str = "suppressions";
    const KEY: &'static str = "suppression_id";
}

/// Addresses on the list, by the id of their stream.
pub async fn list(
    conn: &mut PgConnection,
    organization: OrganizationId,
    after: Option<&Keyset>,
    limit: u32,
) -> sqlx::Result<Page<SuppressionRow>> {
    let mut query = recordset::of::<SuppressionRow>(organization);
    if let Some(after) = after {
        query.push(" AND t.suppression_id > ").push_bind(after.id);
    }
    query.push(" ORDER BY t.suppression_id LIMIT ").push_bind(i64::from(limit) + 1);
    let rows = recordset::read(conn, query).await?;
    Ok(Page::of(rows, limit, |row: &SuppressionRow| Keyset::id(row.suppression_id)))
}

/// Folds the batch into the list.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    let mut rows: BTreeMap<Uuid, Option<SuppressionRow>> = BTreeMap::new();
    for recorded in batch {
        let AnyEvent::Suppression(event) = &recorded.event else { continue };
        let row = match event {
            SuppressionEvent::SuppressionAdded { address_hash, address, reason, .. } => {
                Some(SuppressionRow {
                    suppression_id: recorded.aggregate_id,
                    address_hash: address_hash.clone(),
                    address: address.as_ref().and_then(Personal::value).cloned(),
                    reason: *reason,
                    created_at: recorded.occurred_at,
                })
            }
            SuppressionEvent::SuppressionRemoved { .. } => None,
        };
        rows.insert(recorded.aggregate_id, row);
    }
    let lifted: Vec<Uuid> = rows.iter().filter(|(_, row)| row.is_none()).map(|(id, _)| *id).collect();
    if !lifted.is_empty() {
        sqlx::query("DELETE FROM suppressions WHERE organization_id = $1 AND suppression_id = ANY($2)")
            .bind(organization.uuid())
            .bind(lifted)
            .execute(&mut *conn)
            .await?;
    }
    recordset::write(conn, organization, rows.into_values().flatten()).await
}
