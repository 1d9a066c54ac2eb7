//! One row per script execution, for ever: what was answered outlives the contact's stay and the template.

use std::collections::BTreeMap;

use docket_aggregates::campaign::CampaignStatus;
use docket_aggregates::ids::{CampaignId, ContactId, OrganizationId, ScriptExecutionId, ScriptTemplateId};
use docket_aggregates::membership::MembershipStatus;
use docket_aggregates::script_execution::{
    Answer, Begun, ExecutionStatus, Recorded as RecordedAnswer, ScriptExecution, ScriptExecutionEvent,
};
use docket_aggregates::{AnyEvent, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::campaigns::names;
use crate::columns::{At, Columns, signed, uuids};
use crate::memberships::status_codes;
use crate::{FoldError, ReadModel, Recorded, by_id};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "script_executions", tables: &["script_executions"] };

/// A script execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptExecutionRow {
    /// The execution.
    pub execution_id: ScriptExecutionId,
    /// How it began, where it stands, what was answered.
    pub execution: ScriptExecution,
    /// Events of its stream.
    pub version: u64,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// One execution.
pub async fn get(
    conn: &mut PgConnection,
    organization: OrganizationId,
    execution: ScriptExecutionId,
) -> sqlx::Result<Option<ScriptExecutionRow>> {
    Ok(by_ids(conn, organization, &[execution]).await?.pop())
}

/// Those of `executions` that exist, by id.
async fn by_ids(
    conn: &mut PgConnection,
    organization: OrganizationId,
    executions: &[ScriptExecutionId],
) -> sqlx::Result<Vec<ScriptExecutionRow>> {
    let rows =
        by_id::rows(conn, organization, ("script_executions", "execution_id"), uuids(executions)).await?;
    rows.iter().map(row).collect()
}

/// The open execution of a contact in a campaign, or else the one that began last; none if there never was one.
pub async fn latest(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaign: CampaignId,
    contact: ContactId,
) -> sqlx::Result<Option<ScriptExecutionRow>> {
    let found = sqlx::query(
        "SELECT * FROM script_executions WHERE organization_id = $1 AND campaign_id = $2 AND contact_id = $3
         ORDER BY (status = 'in_progress') DESC, started_at DESC, execution_id DESC LIMIT 1",
    )
    .bind(organization.uuid())
    .bind(campaign.uuid())
    .bind(contact.uuid())
    .fetch_optional(conn)
    .await?;
    found.as_ref().map(row).transpose()
}

/// Open executions whose contacts are being worked on, in campaigns that stand in one of `statuses`: those of active campaigns
/// first, then those of the newest.
pub async fn some_open(
    conn: &mut PgConnection,
    organization: OrganizationId,
    statuses: &[CampaignStatus],
    limit: i64,
) -> sqlx::Result<Vec<ScriptExecutionRow>> {
    // Campaign by campaign, in the order in which they are read, so that the first ones are enough where they have any.
    let found = sqlx::query(
        "SELECT e.* FROM (
             SELECT organization_id, campaign_id FROM campaigns WHERE organization_id = $1 AND status = ANY($2)
             ORDER BY status = 'active' DESC, created_at DESC, campaign_id OFFSET 0
         ) c CROSS JOIN LATERAL (
             SELECT x.* FROM script_executions x
             JOIN memberships m ON m.organization_id = x.organization_id AND m.campaign_id = x.campaign_id
                  AND m.contact_id = x.contact_id AND m.epoch = x.epoch
             WHERE x.organization_id = c.organization_id AND x.campaign_id = c.campaign_id
                  AND x.status = 'in_progress' AND m.status = ANY($3)
             ORDER BY x.contact_id LIMIT $4
         ) e LIMIT $4",
    )
    .bind(organization.uuid())
    .bind(names(statuses))
    .bind(status_codes(&[MembershipStatus::InProgress, MembershipStatus::FollowUp]))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    found.iter().map(row).collect()
}

/// How many executions began with any version of the template.
pub async fn count_of_template(
    conn: &mut PgConnection,
    organization: OrganizationId,
    template: ScriptTemplateId,
) -> sqlx::Result<u64> {
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM script_executions WHERE organization_id = $1 AND script_template_id = $2",
    )
    .bind(organization.uuid())
    .bind(template.uuid())
    .fetch_one(conn)
    .await?;
    Ok(count.max(0).cast_unsigned())
}

fn row(row: &PgRow) -> sqlx::Result<ScriptExecutionRow> {
    let template_version: i32 = row.try_get("script_template_version")?;
    let Json(answers): Json<BTreeMap<String, RecordedAnswer>> = row.try_get("answers")?;
    let begun = Begun {
        campaign_id: row.id("campaign_id")?,
        contact_id: row.id("contact_id")?,
        epoch: row.count("epoch")?,
        agent_id: row.id_opt("agent_id")?,
        script_template_id: row.id("script_template_id")?,
        script_template_version: template_version.max(0).cast_unsigned(),
        started_at: row.at("started_at")?,
    };
    Ok(ScriptExecutionRow {
        execution_id: row.id("execution_id")?,
        execution: ScriptExecution {
            begun: Some(begun),
            status: row.named("status")?,
            ended_at: row.at_opt("ended_at")?,
            answers,
        },
        version: row.count("version")?,
        updated_at: row.at("updated_at")?,
    })
}

/// Folds the batch into executions.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    let touched: Vec<ScriptExecutionId> = batch
        .iter()
        .filter(|recorded| matches!(recorded.event, AnyEvent::ScriptExecution(_)))
        .map(|recorded| ScriptExecutionId(recorded.aggregate_id))
        .collect();
    if touched.is_empty() {
        return Ok(());
    }
    let before = by_ids(conn, organization, &touched).await?;
    let rows = plan(batch, before)?;
    write(conn, organization, &rows.into_values().collect::<Vec<_>>()).await?;
    Ok(())
}

fn plan(
    batch: &[Recorded],
    before: Vec<ScriptExecutionRow>,
) -> Result<BTreeMap<ScriptExecutionId, ScriptExecutionRow>, FoldError> {
    let mut rows: BTreeMap<ScriptExecutionId, ScriptExecutionRow> =
        before.into_iter().map(|row| (row.execution_id, row)).collect();
    for recorded in batch {
        let AnyEvent::ScriptExecution(event) = &recorded.event else { continue };
        let execution_id = ScriptExecutionId(recorded.aggregate_id);
        if let ScriptExecutionEvent::ScriptExecutionStarted { .. } = event {
            let execution = ScriptExecution::default();
            let updated_at = recorded.occurred_at;
            rows.insert(execution_id, ScriptExecutionRow { execution_id, execution, version: 0, updated_at });
        }
        let row = rows.get_mut(&execution_id).ok_or_else(|| recorded.orphan())?;
        row.version = recorded.version();
        row.updated_at = recorded.occurred_at;
        apply(&mut row.execution, event);
    }
    Ok(rows)
}

fn apply(execution: &mut ScriptExecution, event: &ScriptExecutionEvent) {
    match event {
        ScriptExecutionEvent::ScriptExecutionStarted {
            execution_id: _,
            campaign_id,
            contact_id,
            epoch,
            agent_id,
            script_template_id,
            script_template_version,
            started_at,
        } => {
            execution.begun = Some(Begun {
                campaign_id: *campaign_id,
                contact_id: *contact_id,
                epoch: *epoch,
                agent_id: *agent_id,
                script_template_id: *script_template_id,
                script_template_version: *script_template_version,
                started_at: *started_at,
            });
        }
        ScriptExecutionEvent::ScriptAnswersRecorded { answered_at, answers } => {
            for Answer { node_id, value } in answers.value().into_iter().flatten() {
                match value {
                    Some(value) => {
                        let recorded = RecordedAnswer { value: value.clone(), at: *answered_at };
                        execution.answers.insert(node_id.clone(), recorded);
                    }
                    None => drop(execution.answers.remove(node_id)),
                }
            }
        }
        ScriptExecutionEvent::ScriptExecutionCompleted { completed_at, .. } => {
            execution.status = ExecutionStatus::Completed;
            execution.ended_at = Some(*completed_at);
        }
        ScriptExecutionEvent::ScriptExecutionAbandoned { abandoned_at, .. } => {
            execution.status = ExecutionStatus::Abandoned;
            execution.ended_at = Some(*abandoned_at);
        }
    }
}

async fn write(
    conn: &mut PgConnection,
    organization: OrganizationId,
    rows: &[ScriptExecutionRow],
) -> sqlx::Result<()> {
    // An execution is only ever made by its start, so that each has begun.
    let begun: Vec<(&ScriptExecutionRow, Begun)> =
        rows.iter().filter_map(|row| Some((row, row.execution.begun?))).collect();
    fn each<T>(
        rows: &[(&ScriptExecutionRow, Begun)],
        column: impl Fn(&ScriptExecutionRow, &Begun) -> T,
    ) -> Vec<T> {
        rows.iter().map(|(row, begun)| column(row, begun)).collect()
    }
    let version = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    sqlx::query(
        "INSERT INTO script_executions (organization_id, execution_id, campaign_id, contact_id, epoch, agent_id,
             script_template_id, script_template_version, status, answers, version, started_at, ended_at, updated_at)
         SELECT $1, * FROM UNNEST($2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[], $6::uuid[], $7::uuid[],
             $8::integer[], $9::text[], $10::jsonb[], $11::bigint[], $12::timestamptz[], $13::timestamptz[],
             $14::timestamptz[])
         ON CONFLICT (organization_id, execution_id) DO UPDATE SET status = excluded.status,
             answers = excluded.answers, version = excluded.version, ended_at = excluded.ended_at,
             updated_at = excluded.updated_at",
    )
    .bind(organization.uuid())
    .bind(each(&begun, |row, _| row.execution_id.uuid()))
    .bind(each(&begun, |_, begun| begun.campaign_id.uuid()))
    .bind(each(&begun, |_, begun| begun.contact_id.uuid()))
    .bind(each(&begun, |_, begun| signed(begun.epoch)))
    .bind(each(&begun, |_, begun| begun.agent_id.map(Uuid::from)))
    .bind(each(&begun, |_, begun| begun.script_template_id.uuid()))
    .bind(each(&begun, |_, begun| version(begun.script_template_version)))
    .bind(each(&begun, |row, _| row.execution.status.name().to_owned()))
    .bind(each(&begun, |row, _| Json(row.execution.answers.clone())))
    .bind(each(&begun, |row, _| signed(row.version)))
    .bind(each(&begun, |_, begun| At(begun.started_at)))
    .bind(each(&begun, |row, _| row.execution.ended_at.map(At)))
    .bind(each(&begun, |row, _| At(row.updated_at)))
    .execute(conn)
    .await
    .map(drop)
}

#[cfg(test)]
mod tests {
    use docket_aggregates::Personal;

    use super::*;

    const ID: ScriptExecutionId = ScriptExecutionId(Uuid::from_u128(7));
    const CAMPAIGN: CampaignId = CampaignId(Uuid::from_u128(8));
    const CONTACT: ContactId = ContactId(Uuid::from_u128(9));

    fn story() -> Vec<Recorded> {
        let at = Timestamp::from_millis;
        let answers = |answers: &[(&str, Option<&str>)]| {
            let answers = answers
                .iter()
                .map(|(id, value)| Answer { node_id: (*id).into(), value: value.map(str::to_owned) });
            Personal::known(CONTACT.uuid(), answers.collect())
        };
        let events = [
            ScriptExecutionEvent::ScriptExecutionStarted {
                execution_id: ID,
                campaign_id: CAMPAIGN,
                contact_id: CONTACT,
                epoch: 1,
                agent_id: None,
                script_template_id: ScriptTemplateId(Uuid::from_u128(10)),
                script_template_version: 3,
                started_at: at(1),
            },
            ScriptExecutionEvent::ScriptAnswersRecorded {
                answered_at: at(2),
                answers: answers(&[("a", Some("1")), ("b", Some("2"))]),
            },
            ScriptExecutionEvent::ScriptAnswersRecorded {
                answered_at: at(3),
                answers: answers(&[("a", None), ("b", Some("3"))]),
            },
            ScriptExecutionEvent::ScriptExecutionCompleted {
                campaign_id: CAMPAIGN,
                contact_id: CONTACT,
                completed_at: at(4),
            },
        ];
        (1..).zip(events).map(|(n, event)| Recorded::sample(n, ID, n, event)).collect()
    }

    #[test]
    fn a_row_is_what_the_events_come_to() {
        let rows = plan(&story(), vec![]).unwrap();
        let row = &rows[&ID];
        assert_eq!((row.version, row.execution.status), (4, ExecutionStatus::Completed));
        assert_eq!(row.execution.ended_at, Some(Timestamp::from_millis(4)));
        let answers: Vec<_> =
            row.execution.answers.iter().map(|(id, answer)| (id.as_str(), answer.value.as_str())).collect();
        assert_eq!(answers, [("b", "3")]);
    }

    #[test]
    fn batches_of_any_size_make_the_same_rows() {
        let whole = plan(&story(), vec![]).unwrap();
        let mut rows = BTreeMap::new();
        for recorded in story() {
            rows = plan(&[recorded], rows.into_values().collect()).unwrap();
        }
        assert_eq!(rows, whole);
    }

    #[test]
    fn what_never_began_is_an_orphan() {
        assert!(matches!(plan(&story()[1..], vec![]), Err(FoldError::Orphan { .. })));
    }
}
