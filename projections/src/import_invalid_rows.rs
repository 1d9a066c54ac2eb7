//! One row per line of an import that cannot become a contact: where it stands, what is wrong, what it said.

use docket_aggregates::AnyEvent;
use docket_aggregates::ids::{ImportId, OrganizationId};
use docket_aggregates::import::{ImportEvent, RowFault};
use sqlx::types::Json;
use sqlx::{PgConnection, Row};

use crate::columns::{Columns, signed};
use crate::copy::Copy;
use crate::{FoldError, ReadModel, Recorded};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "import_invalid_rows", tables: &["import_invalid_rows"] };

/// A line that cannot become a contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRowListed {
    /// Line in the file where the row starts, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub errors: Vec<RowFault>,
    /// Its cells as they stood in the file; none once erased.
    pub cells: Option<Vec<String>>,
}

/// The invalid lines of a folder after line `after`, `limit` at most.
pub async fn page(
    conn: &mut PgConnection,
    organization: OrganizationId,
    import: ImportId,
    after: u64,
    limit: i64,
) -> sqlx::Result<Vec<InvalidRowListed>> {
    let rows = sqlx::query(
        "SELECT line, errors, cells FROM import_invalid_rows
         WHERE organization_id = $1 AND import_id = $2 AND line > $3 ORDER BY line LIMIT $4",
    )
    .bind(organization.uuid())
    .bind(import.uuid())
    .bind(signed(after))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(InvalidRowListed {
                line: row.count("line")?,
                errors: row.try_get::<Json<_>, _>("errors")?.0,
                cells: row.try_get::<Option<Json<_>>, _>("cells")?.map(|cells| cells.0),
            })
        })
        .collect()
}

/// Folds the batch into invalid lines.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    let mut copy = Copy::into(MODEL.name, &["organization_id", "import_id", "line", "errors", "cells"]);
    for recorded in batch {
        let AnyEvent::Import(ImportEvent::RowsStaged { invalid, .. }) = &recorded.event else { continue };
        for row in invalid {
            copy.row()
                .uuid(organization)
                .uuid(recorded.aggregate_id)
                .i64(signed(row.line))
                .json(&row.errors)?;
            match row.cells.value() {
                Some(cells) => copy.json(cells)?,
                None => copy.null(),
            };
        }
    }
    copy.send(conn).await?;
    Ok(())
}
