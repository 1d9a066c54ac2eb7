//! The last fifty commands of an organization: who did what, in how many events.
//!
//! A command's events stand next to each other in the ledger, so one row is one run of events with the same command.
//! A run that was cut by the border of a batch is continued, so that the rows do not depend on the batches. The rows
//! are a ring: deleting fifty for every fifty that come would leave the table full of dead ones.

use std::collections::{BTreeMap, VecDeque};

use docket_aggregates::Timestamp;
use docket_aggregates::ids::{CommandId, OrganizationId};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, Row};

use crate::columns::{At, Columns};
use crate::{FoldError, ReadModel, Recorded};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "activity", tables: &["activity"] };

/// Commands that are kept.
const KEPT: usize = 50;

/// A command that changed something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityRow {
    /// How many commands there were up to it.
    pub number: i64,
    /// Where its first event stands.
    pub position: i64,
    /// Where its last event stands.
    pub last_position: i64,
    /// The command.
    pub command_id: CommandId,
    /// The tool or route that was called.
    pub tool: String,
    /// Kind of principal.
    pub actor_type: String,
    /// The principal.
    pub actor_id: String,
    /// How many events of which type it caused.
    pub events: BTreeMap<String, u64>,
    /// When it was decided.
    pub at: Timestamp,
}

/// The latest commands, the newest first, `limit` and 50 at most.
pub async fn recent(
    conn: &mut PgConnection,
    organization: OrganizationId,
    limit: i64,
) -> sqlx::Result<Vec<ActivityRow>> {
    let rows =
        sqlx::query("SELECT * FROM activity WHERE organization_id = $1 ORDER BY position DESC LIMIT $2")
            .bind(organization.uuid())
            .bind(limit)
            .fetch_all(conn)
            .await?;
    rows.iter().map(row).collect()
}

fn row(row: &PgRow) -> sqlx::Result<ActivityRow> {
    Ok(ActivityRow {
        number: row.try_get("number")?,
        position: row.try_get("position")?,
        last_position: row.try_get("last_position")?,
        command_id: row.id("command_id")?,
        tool: row.try_get("tool")?,
        actor_type: row.try_get("actor_type")?,
        actor_id: row.try_get("actor_id")?,
        events: row.try_get::<Json<_>, _>("events")?.0,
        at: row.at("at")?,
    })
}

/// Folds the batch into the latest commands.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    if batch.is_empty() {
        return Ok(());
    }
    let last = recent(conn, organization, 1).await?.pop();
    let runs = plan(batch, last);
    write(conn, organization, &runs).await
}

/// The last runs of the batch, the first of which may continue the last one stored.
fn plan(batch: &[Recorded], last: Option<ActivityRow>) -> VecDeque<ActivityRow> {
    let mut number = last.as_ref().map_or(0, |last| last.number);
    let mut runs: VecDeque<ActivityRow> = last.into_iter().collect();
    for recorded in batch {
        match runs.back_mut() {
            Some(run) if run.command_id == recorded.command_id => {
                run.last_position = recorded.position;
                *run.events.entry(recorded.event.event_type().to_owned()).or_default() += 1;
            }
            _ => {
                if runs.len() == KEPT {
                    runs.pop_front();
                }
                number += 1;
                runs.push_back(ActivityRow {
                    number,
                    position: recorded.position,
                    last_position: recorded.position,
                    command_id: recorded.command_id,
                    tool: recorded.tool.clone(),
                    actor_type: recorded.actor_type.clone(),
                    actor_id: recorded.actor_id.clone(),
                    events: BTreeMap::from([(recorded.event.event_type().to_owned(), 1)]),
                    at: recorded.occurred_at,
                });
            }
        }
    }
    // The last one stored needs no writing if nothing was added to it.
    let first = batch.first().map_or(i64::MAX, |first| first.position);
    runs.retain(|run| run.last_position >= first);
    runs
}

async fn write(
    conn: &mut PgConnection,
    organization: OrganizationId,
    runs: &VecDeque<ActivityRow>,
) -> Result<(), FoldError> {
    let mut events = Vec::with_capacity(runs.len());
    for run in runs {
        events.push(serde_json::to_string(&run.events)?);
    }
    fn each<T>(runs: &VecDeque<ActivityRow>, column: impl Fn(&ActivityRow) -> T) -> Vec<T> {
        runs.iter().map(column).collect()
    }
    sqlx::query(
        "INSERT INTO activity (organization_id, slot, number, position, last_position, command_id, tool, actor_type,
                               actor_id, events, at)
         SELECT $1, number % $11, number, position, last_position, command_id, tool, actor_type, actor_id,
             events::jsonb, at
         FROM UNNEST($2::bigint[], $3::bigint[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[],
                     $9::timestamptz[], $10::bigint[])
              AS run (position, last_position, command_id, tool, actor_type, actor_id, events, at, number)
         ON CONFLICT (organization_id, slot) DO UPDATE SET number = excluded.number, position = excluded.position,
             last_position = excluded.last_position, command_id = excluded.command_id, tool = excluded.tool,
             actor_type = excluded.actor_type, actor_id = excluded.actor_id, events = excluded.events,
             at = excluded.at",
    )
    .bind(organization.uuid())
    .bind(each(runs, |run| run.position))
    .bind(each(runs, |run| run.last_position))
    .bind(each(runs, |run| run.command_id.uuid()))
    .bind(each(runs, |run| run.tool.clone()))
    .bind(each(runs, |run| run.actor_type.clone()))
    .bind(each(runs, |run| run.actor_id.clone()))
    .bind(events)
    .bind(each(runs, |run| At(run.at)))
    .bind(each(runs, |run| run.number))
    .bind(KEPT as i64)
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use docket_aggregates::follow_up::FollowUpEvent;
    use uuid::Uuid;

    use super::*;

    fn event(position: i64, command: u128) -> Recorded {
        let mut recorded = Recorded::sample(position, Uuid::nil(), 1, FollowUpEvent::FollowUpDone {});
        recorded.command_id = CommandId(Uuid::from_u128(command));
        recorded
    }

    #[test]
    fn a_command_that_two_batches_share_is_one_row() {
        let batch = [event(1, 1), event(2, 2), event(3, 2)];
        let whole = plan(&batch, None);
        let first = plan(&batch[..2], None);
        let second = plan(&batch[2..], first.back().cloned());
        assert_eq!(second, [whole[1].clone()]);
        assert_eq!(whole[1].events["FollowUpDone"], 2);
    }

    #[test]
    fn only_the_last_fifty_are_planned() {
        let batch: Vec<_> = (1..=120).map(|n| event(n, n.unsigned_abs().into())).collect();
        let runs = plan(&batch, None);
        assert_eq!((runs.len(), runs[0].position, runs[0].number), (KEPT, 71, 71));
    }
}
