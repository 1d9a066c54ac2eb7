//! Which contacts an import folder holds: those that it brought and those that its rows matched.

use std::collections::BTreeMap;

use docket_aggregates::AnyEvent;
use docket_aggregates::ids::{ContactId, ImportId, OrganizationId};
use docket_aggregates::import::ImportEvent;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::columns::signed;
use crate::{FoldError, ReadModel, Recorded};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "import_members", tables: &["import_members"] };

/// How many contacts a folder holds.
pub async fn count(
    conn: &mut PgConnection,
    organization: OrganizationId,
    import: ImportId,
) -> sqlx::Result<u64> {
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM import_members WHERE organization_id = $1 AND import_id = $2",
    )
    .bind(organization.uuid())
    .bind(import.uuid())
    .fetch_one(conn)
    .await?;
    Ok(count.max(0).cast_unsigned())
}

/// Folds the batch into the folders' contacts. Of several rows that matched one contact the first counts.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    let members = plan(batch);
    if members.is_empty() {
        return Ok(());
    }
    let mut imports = Vec::with_capacity(members.len());
    let mut contacts = Vec::with_capacity(members.len());
    let mut lines = Vec::with_capacity(members.len());
    for ((import, contact), line) in members {
        imports.push(import);
        contacts.push(contact.uuid());
        lines.push(signed(line));
    }
    sqlx::query(
        "INSERT INTO import_members (organization_id, import_id, contact_id, line)
         SELECT $1, * FROM UNNEST($2::uuid[], $3::uuid[], $4::bigint[])
         ON CONFLICT (organization_id, import_id, contact_id) DO UPDATE
         SET line = least(import_members.line, excluded.line)
         WHERE excluded.line < import_members.line",
    )
    .bind(organization.uuid())
    .bind(imports)
    .bind(contacts)
    .bind(lines)
    .execute(conn)
    .await?;
    Ok(())
}

fn plan(batch: &[Recorded]) -> BTreeMap<(Uuid, ContactId), u64> {
    let mut members: BTreeMap<(Uuid, ContactId), u64> = BTreeMap::new();
    for recorded in batch {
        let AnyEvent::Import(ImportEvent::RowsCommitted { created, updated, skipped, .. }) = &recorded.event
        else {
            continue;
        };
        for row in created.iter().chain(updated).chain(skipped) {
            let line = members.entry((recorded.aggregate_id, row.contact_id)).or_insert(row.line);
            *line = row.line.min(*line);
        }
    }
    members
}
