//! Rows of a read model by their ids.
//!
//! As long as the planner takes a table for a small one, any index that begins with the organization seems as good to it as
//! the key, and it reads the whole organization for each id; plans made then are kept. A range of one id in the key's order
//! leaves it no choice.

use docket_aggregates::ids::OrganizationId;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;
use uuid::Uuid;

/// The statement that finds `columns` of the rows, called `c`, of `table`: of those that exist of the ids of `$2` within the
/// organization `$1`, each once, in the order of `id`, which is the second column of the table's key.
pub(crate) fn statement(columns: &str, table: &str, id: &str) -> String {
    format!(
        "SELECT {columns} FROM (SELECT DISTINCT UNNEST($2::uuid[]) AS id) AS wanted
         CROSS JOIN LATERAL (
             SELECT * FROM {table} WHERE organization_id = $1 AND {id} BETWEEN wanted.id AND wanted.id
                 ORDER BY {id} LIMIT 1) AS c
         ORDER BY c.{id}"
    )
}

/// Those rows of `table` that exist, each once, in the order of `id`, which is the second column of the table's key.
pub(crate) async fn rows(
    conn: &mut PgConnection,
    organization: OrganizationId,
    (table, id): (&str, &str),
    ids: Vec<Uuid>,
) -> sqlx::Result<Vec<PgRow>> {
    sqlx::query(&statement("c.*", table, id)).bind(organization.uuid()).bind(ids).fetch_all(conn).await
}
