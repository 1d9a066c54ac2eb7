//! One row per qualification, with its answers as JSON beside the record, so that a list can ask for them.

use std::collections::BTreeMap;

use docket_aggregates::campaign::CampaignStatus;
use docket_aggregates::ids::{
    AgentId, CampaignId, ContactId, OrganizationId, QualificationId, QualificationTemplateId,
    ScriptExecutionId,
};
use docket_aggregates::membership::Stay;
use docket_aggregates::qualification::{
    ByModel, QualificationEvent, QualificationRecord, QualificationStatus,
};
use docket_aggregates::{AnyEvent, Timestamp};
use serde_json::{Map, Value};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, Postgres, QueryBuilder, Row};

use crate::campaigns::names;
use crate::columns::{At, Columns, signed, uuids};
use crate::page::{Keyset, Order, Page, SortKind, SortValue, Total, push_after};
use crate::{FoldError, ReadModel, Recorded, by_id};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "qualifications", tables: &["qualifications"] };

/// A qualification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QualificationRow {
    /// The qualification.
    pub qualification_id: QualificationId,
    /// Of whom.
    pub stay: Stay,
    /// Whose the contact was when it was begun.
    pub agent_id: Option<AgentId>,
    /// The form.
    pub template_id: QualificationTemplateId,
    /// Which version of it.
    pub template_version: u64,
    /// The conversation that it follows from.
    pub script_execution_id: Option<ScriptExecutionId>,
    /// Where it stands.
    pub status: QualificationStatus,
    /// Answers, notes and score; none once erased.
    pub record: Option<QualificationRecord>,
    /// The model that gave the latest answers, if one did.
    pub by_model: Option<ByModel>,
    /// Events of its stream.
    pub version: u64,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Which qualifications are meant.
#[derive(Clone, Debug, Default)]
pub struct QualificationFilter {
    /// Only of this campaign.
    pub campaign_id: Option<CampaignId>,
    /// Only of this contact.
    pub contact_id: Option<ContactId>,
    /// Only where the contact was this caller's.
    pub agent_id: Option<AgentId>,
    /// Only those that stand here; empty means anywhere.
    pub statuses: Vec<QualificationStatus>,
    /// Only under this form.
    pub template_id: Option<QualificationTemplateId>,
    /// Begun then or later.
    pub created_after: Option<Timestamp>,
    /// Begun before then.
    pub created_before: Option<Timestamp>,
    /// Only with these answers, by key; of several options this is one.
    pub answers: Vec<(String, Value)>,
}

/// Qualifications, the newest first, with the number of all that fulfil the filter.
pub async fn list(
    conn: &mut PgConnection,
    organization: OrganizationId,
    filter: &QualificationFilter,
    after: Option<&Keyset>,
    limit: u32,
) -> sqlx::Result<(Page<QualificationRow>, Total)> {
    let mut count = QueryBuilder::new("SELECT count(*) FROM (SELECT 1");
    push_from(&mut count, organization, filter);
    count.push(" LIMIT ").push_bind(Total::COUNTED + 1).push(") AS counted");
    let total: i64 = count.build_query_scalar().persistent(false).fetch_one(&mut *conn).await?;

    let mut query = QueryBuilder::new("SELECT *");
    push_from(&mut query, organization, filter);
    if let Some(after) = after {
        push_after(&mut query, ("created_at", SortKind::At, "qualification_id"), Order::Desc, after);
    }
    query.push(" ORDER BY created_at DESC, qualification_id DESC LIMIT ").push_bind(i64::from(limit) + 1);
    let rows = query.build().persistent(false).fetch_all(conn).await?;
    let rows = rows.iter().map(row).collect::<sqlx::Result<Vec<_>>>()?;
    let page =
        Page::of(rows, limit, |row| Keyset::after(SortValue::At(row.created_at), row.qualification_id));
    Ok((page, Total::counted(total)))
}

fn push_from(
    query: &mut QueryBuilder<'_, Postgres>,
    organization: OrganizationId,
    filter: &QualificationFilter,
) {
    query.push(" FROM qualifications WHERE organization_id = ").push_bind(organization.uuid());
    for (column, id) in [
        ("campaign_id", filter.campaign_id.map(CampaignId::uuid)),
        ("contact_id", filter.contact_id.map(ContactId::uuid)),
        ("agent_id", filter.agent_id.map(AgentId::uuid)),
        ("template_id", filter.template_id.map(QualificationTemplateId::uuid)),
    ] {
        if let Some(id) = id {
            query.push(format!(" AND {column} = ")).push_bind(id);
        }
    }
    if !filter.statuses.is_empty() {
        let names: Vec<&str> = filter.statuses.iter().map(|status| status.name()).collect();
        query.push(" AND status = ANY(").push_bind(names).push(")");
    }
    if let Some(after) = filter.created_after {
        query.push(" AND created_at >= ").push_bind(At(after));
    }
    if let Some(before) = filter.created_before {
        query.push(" AND created_at < ").push_bind(At(before));
    }
    for (key, value) in &filter.answers {
        // A list contains what is one of its items, so that one option finds those who chose it among others.
        query.push(" AND answers -> ").push_bind(key.clone()).push(" @> ").push_bind(Json(value.clone()));
    }
}

/// One qualification.
pub async fn get(
    conn: &mut PgConnection,
    organization: OrganizationId,
    qualification: QualificationId,
) -> sqlx::Result<Option<QualificationRow>> {
    Ok(by_ids(conn, organization, &[qualification]).await?.pop())
}

/// The latest qualification of a contact in a campaign: the open one if there is one.
pub async fn latest(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaign: CampaignId,
    contact: ContactId,
) -> sqlx::Result<Option<QualificationRow>> {
    let found = sqlx::query(
        "SELECT * FROM qualifications WHERE organization_id = $1 AND contact_id = $2 AND campaign_id = $3
         ORDER BY epoch DESC, status = 'draft' DESC, created_at DESC, qualification_id DESC LIMIT 1",
    )
    .bind(organization.uuid())
    .bind(contact.uuid())
    .bind(campaign.uuid())
    .fetch_optional(conn)
    .await?;
    found.as_ref().map(row).transpose()
}

/// The open qualification of a contact in a campaign, of whichever stay.
pub async fn open(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaign: CampaignId,
    contact: ContactId,
) -> sqlx::Result<Option<QualificationId>> {
    let found = sqlx::query(
        "SELECT qualification_id FROM qualifications
         WHERE organization_id = $1 AND contact_id = $2 AND campaign_id = $3 AND status = 'draft'
         LIMIT 1",
    )
    .bind(organization.uuid())
    .bind(contact.uuid())
    .bind(campaign.uuid())
    .fetch_optional(conn)
    .await?;
    found.map(|row| row.id("qualification_id")).transpose()
}

/// A contact of whom no qualification is open, in a campaign that stands in one of `statuses`: of an active campaign first, then
/// of the newest.
pub async fn some_without_open(
    conn: &mut PgConnection,
    organization: OrganizationId,
    statuses: &[CampaignStatus],
) -> sqlx::Result<Option<(CampaignId, ContactId)>> {
    // Campaign by campaign, in the order in which they are read, so that the first one that has any is enough.
    let found = sqlx::query(
        "SELECT c.campaign_id, m.contact_id FROM (
             SELECT organization_id, campaign_id FROM campaigns WHERE organization_id = $1 AND status = ANY($2)
             ORDER BY status = 'active' DESC, created_at DESC, campaign_id OFFSET 0
         ) c CROSS JOIN LATERAL (
             SELECT x.contact_id FROM memberships x
             WHERE x.organization_id = c.organization_id AND x.campaign_id = c.campaign_id AND NOT EXISTS (
                 SELECT FROM qualifications q WHERE q.organization_id = x.organization_id
                     AND q.contact_id = x.contact_id AND q.campaign_id = x.campaign_id AND q.status = 'draft')
             ORDER BY x.contact_id LIMIT 1
         ) m LIMIT 1",
    )
    .bind(organization.uuid())
    .bind(names(statuses))
    .fetch_optional(conn)
    .await?;
    found.map(|row| Ok((row.id("campaign_id")?, row.id("contact_id")?))).transpose()
}

/// The qualifications of a stay that came to a verdict, the newest first.
pub async fn concluded(
    conn: &mut PgConnection,
    organization: OrganizationId,
    stay: Stay,
) -> sqlx::Result<Vec<QualificationId>> {
    let found = sqlx::query(
        "SELECT qualification_id FROM qualifications
         WHERE organization_id = $1 AND contact_id = $2 AND campaign_id = $3 AND epoch = $4 AND status <> 'draft'
         ORDER BY created_at DESC, qualification_id DESC",
    )
    .bind(organization.uuid())
    .bind(stay.contact_id.uuid())
    .bind(stay.campaign_id.uuid())
    .bind(signed(stay.epoch))
    .fetch_all(conn)
    .await?;
    found.iter().map(|row| row.id("qualification_id")).collect()
}

async fn by_ids(
    conn: &mut PgConnection,
    organization: OrganizationId,
    qualifications: &[QualificationId],
) -> sqlx::Result<Vec<QualificationRow>> {
    let rows = by_id::rows(conn, organization, ("qualifications", "qualification_id"), uuids(qualifications))
        .await?;
    rows.iter().map(row).collect()
}

fn row(row: &PgRow) -> sqlx::Result<QualificationRow> {
    let stay = Stay {
        campaign_id: row.id("campaign_id")?,
        contact_id: row.id("contact_id")?,
        epoch: row.count("epoch")?,
    };
    Ok(QualificationRow {
        qualification_id: row.id("qualification_id")?,
        stay,
        agent_id: row.id_opt("agent_id")?,
        template_id: row.id("template_id")?,
        template_version: row.count("template_version")?,
        script_execution_id: row.id_opt("script_execution_id")?,
        status: row.named("status")?,
        record: row.try_get::<Option<Json<_>>, _>("record")?.map(|record| record.0),
        by_model: row.try_get::<Option<Json<_>>, _>("by_model")?.map(|model| model.0),
        version: row.count("version")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
    })
}

/// Folds the batch into qualifications.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    let touched: Vec<QualificationId> = batch
        .iter()
        .filter(|recorded| matches!(recorded.event, AnyEvent::Qualification(_)))
        .map(|recorded| QualificationId(recorded.aggregate_id))
        .collect();
    if touched.is_empty() {
        return Ok(());
    }
    let before = by_ids(conn, organization, &touched).await?;
    for row in plan(batch, before)?.values() {
        write(conn, organization, row).await?;
    }
    Ok(())
}

fn plan(
    batch: &[Recorded],
    before: Vec<QualificationRow>,
) -> Result<BTreeMap<QualificationId, QualificationRow>, FoldError> {
    let mut rows: BTreeMap<QualificationId, QualificationRow> =
        before.into_iter().map(|row| (row.qualification_id, row)).collect();
    for recorded in batch {
        let AnyEvent::Qualification(event) = &recorded.event else { continue };
        if let Some(opened) = opened(recorded, event) {
            rows.insert(opened.qualification_id, opened);
            continue;
        }
        let row = rows.get_mut(&QualificationId(recorded.aggregate_id)).ok_or_else(|| recorded.orphan())?;
        row.version = recorded.version();
        row.updated_at = recorded.occurred_at;
        match event {
            QualificationEvent::QualificationOpened { .. } => (),
            QualificationEvent::QualificationAnswered { record, script_execution_id, by_model, .. } => {
                row.record = record.value().cloned();
                row.script_execution_id = script_execution_id.or(row.script_execution_id);
                row.by_model.clone_from(by_model);
            }
            QualificationEvent::QualificationConcluded { verdict, .. }
            | QualificationEvent::QualificationOverturned { verdict, .. } => row.status = *verdict,
            QualificationEvent::QualificationReopened { .. } => row.status = QualificationStatus::Draft,
        }
    }
    Ok(rows)
}

fn opened(recorded: &Recorded, event: &QualificationEvent) -> Option<QualificationRow> {
    let QualificationEvent::QualificationOpened {
        qualification_id,
        campaign_id,
        contact_id,
        epoch,
        agent_id,
        template_id,
        template_version,
        script_execution_id,
        record,
        by_model,
    } = event
    else {
        return None;
    };
    Some(QualificationRow {
        qualification_id: *qualification_id,
        stay: Stay { campaign_id: *campaign_id, contact_id: *contact_id, epoch: *epoch },
        agent_id: *agent_id,
        template_id: *template_id,
        template_version: *template_version,
        script_execution_id: *script_execution_id,
        status: QualificationStatus::Draft,
        record: record.value().cloned(),
        by_model: by_model.clone(),
        version: recorded.version(),
        created_at: recorded.occurred_at,
        updated_at: recorded.occurred_at,
    })
}

async fn write(
    conn: &mut PgConnection,
    organization: OrganizationId,
    row: &QualificationRow,
) -> sqlx::Result<()> {
    let answers: Map<String, Value> = row
        .record
        .iter()
        .flat_map(|record| &record.answers)
        .map(|(key, answer)| (key.clone(), answer.to_json()))
        .collect();
    sqlx::query(
        "INSERT INTO qualifications (organization_id, qualification_id, campaign_id, contact_id, epoch, agent_id,
             template_id, template_version, script_execution_id, status, record, answers, by_model, version,
             created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         ON CONFLICT (organization_id, qualification_id) DO UPDATE SET
             script_execution_id = excluded.script_execution_id, status = excluded.status,
             record = excluded.record, answers = excluded.answers, by_model = excluded.by_model,
             version = excluded.version, updated_at = excluded.updated_at",
    )
    .bind(organization.uuid())
    .bind(row.qualification_id.uuid())
    .bind(row.stay.campaign_id.uuid())
    .bind(row.stay.contact_id.uuid())
    .bind(signed(row.stay.epoch))
    .bind(row.agent_id.map(AgentId::uuid))
    .bind(row.template_id.uuid())
    .bind(signed(row.template_version))
    .bind(row.script_execution_id.map(ScriptExecutionId::uuid))
    .bind(row.status.name())
    .bind(row.record.as_ref().map(Json))
    .bind(Json(answers))
    .bind(row.by_model.as_ref().map(Json))
    .bind(signed(row.version))
    .bind(At(row.created_at))
    .bind(At(row.updated_at))
    .execute(conn)
    .await
    .map(drop)
}

#[cfg(test)]
mod tests {
    use docket_aggregates::Personal;
    use uuid::Uuid;

    use super::*;

    const ID: QualificationId = QualificationId(Uuid::from_u128(9));

    fn opened() -> QualificationEvent {
        QualificationEvent::QualificationOpened {
            qualification_id: ID,
            campaign_id: CampaignId(Uuid::from_u128(1)),
            contact_id: ContactId(Uuid::from_u128(2)),
            epoch: 1,
            agent_id: None,
            template_id: QualificationTemplateId(Uuid::from_u128(3)),
            template_version: 1,
            script_execution_id: None,
            record: Personal::known(Uuid::from_u128(2), QualificationRecord::default()),
            by_model: None,
        }
    }

    fn overturned(verdict: QualificationStatus) -> QualificationEvent {
        QualificationEvent::QualificationOverturned { stay: None, verdict, by_model: None }
    }

    #[test]
    fn any_batches_give_the_same_row() {
        let execution = ScriptExecutionId(Uuid::from_u128(5));
        let answered = QualificationEvent::QualificationAnswered {
            record: Personal::erased(Uuid::from_u128(2)),
            script_execution_id: Some(execution),
            by_model: None,
            confirmed: None,
        };
        let overturned = overturned(QualificationStatus::NotQualified);
        let batch: Vec<Recorded> = [opened(), answered, overturned]
            .into_iter()
            .zip(1..)
            .map(|(event, n)| Recorded::sample(n, ID, n, event))
            .collect();
        let whole = plan(&batch, vec![]).unwrap();
        for cut in 0..=batch.len() {
            let first = plan(&batch[..cut], vec![]).unwrap();
            let second = plan(&batch[cut..], first.into_values().collect()).unwrap();
            assert_eq!(second, whole, "{cut}");
        }
        let row = &whole[&ID];
        assert_eq!((row.version, row.status), (3, QualificationStatus::NotQualified));
        assert_eq!((row.script_execution_id, &row.record), (Some(execution), &None));
    }

    #[test]
    fn what_was_never_begun_is_an_orphan() {
        let overturned = overturned(QualificationStatus::Qualified);
        let refused = plan(&[Recorded::sample(7, ID, 2, overturned)], vec![]);
        assert!(matches!(refused, Err(FoldError::Orphan { position: 7, .. })));
    }
}
