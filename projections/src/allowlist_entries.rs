//! One row per entry of the allowlist. Only to be shown: whether somebody may be written to is asked of the stream.

use std::collections::BTreeMap;

use docket_aggregates::allowlist::{AllowlistEvent, EntryKind};
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::{AnyEvent, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::recordset::{self, Recordset};
use crate::{FoldError, ReadModel, Recorded};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "allowlist_entries", tables: &["allowlist_entries"] };

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowlistEntryRow {
    /// Keyed hash of its one spelling.
    pub hash: String,
    /// What it is.
    pub kind: EntryKind,
    /// The entry; none once erased.
    pub entry: Option<String>,
    /// When it was put in.
    pub created_at: Timestamp,
}

impl Recordset for AllowlistEntryRow {
    const TABLE: &'static str = "allowlist_entries";
    const KEY: &'static str = "hash";
}

/// Entries by their hash, which is no order that means anything and is the same on every page; `after` is the hash of
/// the last one seen.
pub async fn list(
    conn: &mut PgConnection,
    organization: OrganizationId,
    after: Option<&str>,
    limit: u32,
) -> sqlx::Result<(Vec<AllowlistEntryRow>, bool)> {
    let mut query = recordset::of::<AllowlistEntryRow>(organization);
    if let Some(after) = after {
        query.push(" AND t.hash > ").push_bind(after.to_owned());
    }
    query.push(" ORDER BY t.hash LIMIT ").push_bind(i64::from(limit) + 1);
    let mut rows = recordset::read::<AllowlistEntryRow>(conn, query).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    Ok((rows, more))
}

/// Folds the batch into entries.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    let (put_in, taken_out): (Vec<_>, Vec<_>) = plan(batch).into_iter().partition(|(_, row)| row.is_some());
    if !taken_out.is_empty() {
        let hashes: Vec<String> = taken_out.into_iter().map(|(hash, _)| hash).collect();
        sqlx::query("DELETE FROM allowlist_entries WHERE organization_id = $1 AND hash = ANY($2)")
            .bind(organization.uuid())
            .bind(hashes)
            .execute(&mut *conn)
            .await?;
    }
    recordset::write(conn, organization, put_in.into_iter().filter_map(|(_, row)| row)).await
}

/// What the batch leaves of each entry that it names: a row, or none.
fn plan(batch: &[Recorded]) -> BTreeMap<String, Option<AllowlistEntryRow>> {
    let mut rows = BTreeMap::new();
    for recorded in batch {
        match &recorded.event {
            AnyEvent::Allowlist(AllowlistEvent::EntriesAllowed { entries }) => {
                for entry in entries {
                    let row = AllowlistEntryRow {
                        hash: entry.hash.clone(),
                        kind: entry.kind,
                        entry: entry.text.value().cloned(),
                        created_at: recorded.occurred_at,
                    };
                    rows.insert(entry.hash.clone(), Some(row));
                }
            }
            AnyEvent::Allowlist(AllowlistEvent::EntriesDisallowed { hashes }) => {
                rows.extend(hashes.iter().map(|hash| (hash.clone(), None)));
            }
            _ => (),
        }
    }
    rows
}
