//! Rows that go into a table and come out of it as JSON, field by column.
//!
//! For tables of many columns that are always written and read whole: the row's struct is the one list of them. A batch
//! is one statement, however many rows it has.

use std::collections::BTreeMap;

use docket_aggregates::AnyEvent;
use docket_aggregates::ids::OrganizationId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{PgConnection, Postgres, QueryBuilder, Row};
use uuid::Uuid;

use crate::{FoldError, Recorded};

/// A table whose rows are a struct: every field a column of the same name, and never left out.
pub(crate) trait Recordset: Serialize + DeserializeOwned {
    /// The table.
    const TABLE: &'static str;
    /// What names a row within its organization.
    const KEY: &'static str;
}

/// A table with one row per aggregate, named by the aggregate's id: what its events make of the row.
pub(crate) trait OneRow: Recordset {
    /// The events of the aggregate.
    type Event;

    /// The aggregate's id.
    fn id(&self) -> Uuid;

    /// The aggregate's event, if it is one.
    fn event(event: &AnyEvent) -> Option<&Self::Event>;

    /// The row that an event begins; none if it only changes one.
    fn begun(event: &Self::Event, recorded: &Recorded) -> Option<Self>;

    /// What every other event makes of it.
    fn change(&mut self, event: &Self::Event, recorded: &Recorded);
}

/// Folds the batch into the rows of such a table.
pub(crate) async fn fold<R: OneRow>(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    let own = |recorded: &&Recorded| R::event(&recorded.event).is_some();
    let touched: Vec<Uuid> = batch.iter().filter(own).map(|recorded| recorded.aggregate_id).collect();
    if touched.is_empty() {
        return Ok(());
    }
    let before: Vec<R> = by_ids(conn, organization, &touched).await?;
    let mut rows: BTreeMap<Uuid, R> = before.into_iter().map(|row| (row.id(), row)).collect();
    for recorded in batch {
        let Some(event) = R::event(&recorded.event) else { continue };
        if let Some(row) = R::begun(event, recorded) {
            rows.insert(recorded.aggregate_id, row);
        } else {
            let row = rows.get_mut(&recorded.aggregate_id).ok_or_else(|| recorded.orphan())?;
            row.change(event, recorded);
        }
    }
    write(conn, organization, rows.into_values()).await
}

/// Writes rows, over what stood under their keys.
pub(crate) async fn write<R: Recordset>(
    conn: &mut PgConnection,
    organization: OrganizationId,
    rows: impl IntoIterator<Item = R>,
) -> Result<(), FoldError> {
    let rows: Vec<Value> = rows.into_iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
    let Some(fields) = rows.first().and_then(Value::as_object) else { return Ok(()) };
    let columns: Vec<&str> = fields.keys().map(String::as_str).collect();
    let changed: Vec<String> = columns
        .iter()
        .filter(|column| **column != R::KEY)
        .map(|column| format!("{column} = excluded.{column}"))
        .collect();
    let (table, key) = (R::TABLE, R::KEY);
    let (all, changed) = (columns.join(", "), changed.join(", "));
    let statement = format!(
        "INSERT INTO {table} (organization_id, {all}) SELECT $1, {all} FROM jsonb_populate_recordset(NULL::{table}, $2) \
         ON CONFLICT (organization_id, {key}) DO UPDATE SET {changed}"
    );
    sqlx::query(&statement).bind(organization.uuid()).bind(Json(&rows)).execute(conn).await?;
    Ok(())
}

/// The rows with these ids that exist, by id.
pub(crate) async fn by_ids<R: Recordset>(
    conn: &mut PgConnection,
    organization: OrganizationId,
    ids: &[Uuid],
) -> sqlx::Result<Vec<R>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = of::<R>(organization);
    query.push(format!(" AND {} = ANY(", R::KEY)).push_bind(ids.to_vec());
    query.push(format!(") ORDER BY {}", R::KEY));
    read(conn, query).await
}

/// `SELECT` everything of an organization, to be narrowed by `AND …`; the table is called `t`.
pub(crate) fn of<R: Recordset>(organization: OrganizationId) -> QueryBuilder<'static, Postgres> {
    let mut query =
        QueryBuilder::new(format!("SELECT to_jsonb(t) - 'organization_id' AS fields FROM {} t", R::TABLE));
    query.push(" WHERE t.organization_id = ").push_bind(organization.uuid());
    query
}

/// The rows of such a query.
pub(crate) async fn read<R: Recordset>(
    conn: &mut PgConnection,
    mut query: QueryBuilder<'_, Postgres>,
) -> sqlx::Result<Vec<R>> {
    let rows = query.build().persistent(false).fetch_all(conn).await?;
    rows.iter().map(|row| row.try_get::<Json<R>, _>("fields").map(|Json(row)| row)).collect()
}
