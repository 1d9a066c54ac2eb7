//! Taking turns: which organizations have work waiting in a table, and whose turn it is.
//!
//! How much waits for one organization, and for how long, is nothing to the others: whoever looks begins after the one
//! that was served last. A table of work has `organization_id` and `state`, and an index that begins with the former
//! where the latter is `due`; then a look goes from one organization to the next, however many rows lie between them.

use sqlx::PgPool;
use uuid::Uuid;

/// The organizations with something due in this table, now or later, in the order of their turns; `limit` at most.
pub async fn in_turn(
    pool: &PgPool,
    table: &'static str,
    after: Uuid,
    limit: usize,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let mut organizations = from(pool, table, after, limit).await?;
    if organizations.len() < limit && !after.is_nil() {
        let again = from(pool, table, Uuid::nil(), limit - organizations.len()).await?;
        organizations.extend(again.into_iter().take_while(|organization| *organization <= after));
    }
    Ok(organizations)
}

/// Those after `after`.
async fn from(
    pool: &PgPool,
    table: &'static str,
    after: Uuid,
    limit: usize,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(&format!(
        "WITH RECURSIVE waiting AS ( \
             (SELECT organization_id, 1 AS n FROM {table} \
              WHERE state = 'due' AND organization_id > $1 ORDER BY organization_id LIMIT 1) \
             UNION ALL \
             SELECT next.organization_id, waiting.n + 1 FROM waiting CROSS JOIN LATERAL ( \
                 SELECT w.organization_id FROM {table} w \
                 WHERE w.state = 'due' AND w.organization_id > waiting.organization_id \
                 ORDER BY w.organization_id LIMIT 1) next WHERE waiting.n < $2) \
         SELECT organization_id FROM waiting ORDER BY n"
    ))
    .bind(after)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await
}
