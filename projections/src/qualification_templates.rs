//! One row per qualification template, and one per version of it: records point to the version that they are under.

use std::collections::BTreeMap;

use docket_aggregates::ids::{CampaignId, OrganizationId, QualificationTemplateId};
use docket_aggregates::qualification_template::{QualificationForm, QualificationTemplateEvent};
use docket_aggregates::{AnyEvent, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, Postgres, QueryBuilder, Row};

use crate::columns::{At, Columns, signed, uuids};
use crate::page::{Keyset, Order, Page, SortKind, SortValue, push_after};
use crate::searchable::{folded, patterns, search_text};
use crate::{FoldError, ReadModel, Recorded, by_id};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel {
    name: "qualification_templates",
    tables: &["qualification_templates", "qualification_template_versions"],
};

/// A qualification template without its form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QualificationTemplateRow {
    /// The template.
    pub template_id: QualificationTemplateId,
    /// Its name; none once erased.
    pub name: Option<String>,
    /// Fields of its newest version.
    pub fields: u64,
    /// Whether that weighs answers.
    pub scored: bool,
    /// The number of that version.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When that version was made.
    pub updated_at: Timestamp,
}

/// A qualification template with how many campaigns use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QualificationTemplateListed {
    /// The template.
    pub template: QualificationTemplateRow,
    /// Campaigns that it is attached to, archived ones not counted.
    pub used_by_campaigns: u64,
}

/// One version of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormVersion {
    /// Its number, from 1.
    pub version: u64,
    /// The form; none once erased.
    pub form: Option<QualificationForm>,
    /// When it was made.
    pub made_at: Timestamp,
}

/// Which templates are meant.
#[derive(Clone, Debug, Default)]
pub struct QualificationTemplateFilter {
    /// Part of the name, description or a label.
    pub search: Option<String>,
    /// Only the one that is attached to this campaign.
    pub campaign_id: Option<CampaignId>,
}

/// Templates by name, with the number of all that fulfil the filter.
pub async fn list(
    conn: &mut PgConnection,
    organization: OrganizationId,
    filter: &QualificationTemplateFilter,
    after: Option<&Keyset>,
    limit: u32,
) -> sqlx::Result<(Page<QualificationTemplateListed>, u64)> {
    let mut count = QueryBuilder::new("SELECT count(*)");
    push_from(&mut count, organization, filter);
    let total: i64 = count.build_query_scalar().persistent(false).fetch_one(&mut *conn).await?;

    let mut query = QueryBuilder::new("SELECT *");
    push_from(&mut query, organization, filter);
    if let Some(after) = after {
        push_after(&mut query, ("name_key", SortKind::Text, "template_id"), Order::Asc, after);
    }
    query.push(" ORDER BY name_key, template_id LIMIT ").push_bind(i64::from(limit) + 1);
    let rows = query.build().persistent(false).fetch_all(&mut *conn).await?;
    let rows = rows.iter().map(row).collect::<sqlx::Result<Vec<_>>>()?;
    let mut page = Page::of(rows, limit, |row| {
        let name = folded(row.name.as_deref().unwrap_or_default());
        Keyset::after(SortValue::Text(name), row.template_id)
    });
    let rows = std::mem::take(&mut page.rows);
    let ids: Vec<_> = rows.iter().map(|row| row.template_id).collect();
    let used = used_by(conn, organization, &ids).await?;
    let listed = rows
        .into_iter()
        .map(|template| {
            let used_by_campaigns = used.get(&template.template_id).copied().unwrap_or(0);
            QualificationTemplateListed { template, used_by_campaigns }
        })
        .collect();
    Ok((page.with(listed), total.max(0).cast_unsigned()))
}

fn push_from(
    query: &mut QueryBuilder<'_, Postgres>,
    organization: OrganizationId,
    filter: &QualificationTemplateFilter,
) {
    query.push(" FROM qualification_templates WHERE organization_id = ").push_bind(organization.uuid());
    if let Some(patterns) = filter.search.as_deref().and_then(patterns) {
        query.push(" AND search LIKE ANY(").push_bind(patterns).push(")");
    }
    if let Some(campaign) = filter.campaign_id {
        query
            .push(" AND template_id = (SELECT qualification_template_id FROM campaigns WHERE organization_id = ")
            .push_bind(organization.uuid())
            .push(" AND campaign_id = ")
            .push_bind(campaign.uuid())
            .push(")");
    }
}

async fn used_by(
    conn: &mut PgConnection,
    organization: OrganizationId,
    templates: &[QualificationTemplateId],
) -> sqlx::Result<BTreeMap<QualificationTemplateId, u64>> {
    let rows = sqlx::query(
        "SELECT qualification_template_id AS template_id, count(*) AS n FROM campaigns
         WHERE organization_id = $1 AND status <> 'archived' AND qualification_template_id = ANY($2)
         GROUP BY qualification_template_id",
    )
    .bind(organization.uuid())
    .bind(uuids(templates))
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((row.id("template_id")?, row.count("n")?))).collect()
}

/// The campaigns that a template is attached to, archived ones left out; by id, `limit` at most.
pub async fn campaigns(
    conn: &mut PgConnection,
    organization: OrganizationId,
    template: QualificationTemplateId,
    limit: i64,
) -> sqlx::Result<Vec<(CampaignId, String)>> {
    let rows = sqlx::query(
        "SELECT campaign_id, coalesce(name, '') AS name FROM campaigns
         WHERE organization_id = $1 AND status <> 'archived' AND qualification_template_id = $2
         ORDER BY campaign_id LIMIT $3",
    )
    .bind(organization.uuid())
    .bind(template.uuid())
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| Ok((row.id("campaign_id")?, row.try_get("name")?))).collect()
}

/// One template.
pub async fn get(
    conn: &mut PgConnection,
    organization: OrganizationId,
    template: QualificationTemplateId,
) -> sqlx::Result<Option<QualificationTemplateRow>> {
    Ok(by_ids(conn, organization, &[template]).await?.pop())
}

/// One version of a template.
pub async fn version(
    conn: &mut PgConnection,
    organization: OrganizationId,
    template: QualificationTemplateId,
    version: u64,
) -> sqlx::Result<Option<FormVersion>> {
    let found = sqlx::query(
        "SELECT version, form, made_at FROM qualification_template_versions
         WHERE organization_id = $1 AND template_id = $2 AND version = $3",
    )
    .bind(organization.uuid())
    .bind(template.uuid())
    .bind(signed(version))
    .fetch_optional(conn)
    .await?;
    let Some(row) = found else { return Ok(None) };
    Ok(Some(FormVersion {
        version: row.count("version")?,
        form: row.try_get::<Option<Json<_>>, _>("form")?.map(|form| form.0),
        made_at: row.at("made_at")?,
    }))
}

/// Templates of these names, without regard to case and accents: for each name up to five ids with their names.
pub async fn with_names(
    conn: &mut PgConnection,
    organization: OrganizationId,
    names: &[&str],
) -> sqlx::Result<Vec<(QualificationTemplateId, String)>> {
    let keys: Vec<String> = names.iter().map(|name| folded(name)).collect();
    let rows = sqlx::query(
        "SELECT found.template_id, found.name FROM unnest($2::text[]) AS wanted (name_key)
         CROSS JOIN LATERAL (
             SELECT template_id, name FROM qualification_templates
             WHERE organization_id = $1 AND name_key = wanted.name_key AND name IS NOT NULL
             ORDER BY template_id LIMIT 5) found",
    )
    .bind(organization.uuid())
    .bind(keys)
    .fetch_all(conn)
    .await?;
    let mut found = rows
        .iter()
        .map(|row| Ok((row.id("template_id")?, row.try_get("name")?)))
        .collect::<sqlx::Result<Vec<_>>>()?;
    found.sort();
    found.dedup();
    Ok(found)
}

async fn by_ids(
    conn: &mut PgConnection,
    organization: OrganizationId,
    templates: &[QualificationTemplateId],
) -> sqlx::Result<Vec<QualificationTemplateRow>> {
    let rows =
        by_id::rows(conn, organization, ("qualification_templates", "template_id"), uuids(templates)).await?;
    rows.iter().map(row).collect()
}

fn row(row: &PgRow) -> sqlx::Result<QualificationTemplateRow> {
    Ok(QualificationTemplateRow {
        template_id: row.id("template_id")?,
        name: row.try_get("name")?,
        fields: u64::try_from(row.try_get::<i32, _>("fields")?).unwrap_or(0),
        scored: row.try_get("scored")?,
        version: row.count("version")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
    })
}

/// Folds the batch into templates and their versions.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    for recorded in batch {
        let AnyEvent::QualificationTemplate(event) = &recorded.event else { continue };
        // Each version is whole, and there are few of them: they are written one by one.
        let (form, new) = match event {
            QualificationTemplateEvent::QualificationTemplateCreated { template_id: _, form } => (form, true),
            QualificationTemplateEvent::QualificationTemplateRevised { version: _, form } => (form, false),
        };
        write_version(conn, organization, recorded, form.value()).await?;
        if write(conn, organization, recorded, form.value(), new).await? == 0 {
            return Err(recorded.orphan());
        }
    }
    Ok(())
}

async fn write_version(
    conn: &mut PgConnection,
    organization: OrganizationId,
    recorded: &Recorded,
    form: Option<&QualificationForm>,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO qualification_template_versions (organization_id, template_id, version, form, made_at)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(organization.uuid())
    .bind(recorded.aggregate_id)
    .bind(signed(recorded.version()))
    .bind(form.map(Json))
    .bind(At(recorded.occurred_at))
    .execute(conn)
    .await
    .map(drop)
}

/// Writes the template as its newest version has it, and says how many rows that were.
async fn write(
    conn: &mut PgConnection,
    organization: OrganizationId,
    recorded: &Recorded,
    form: Option<&QualificationForm>,
    new: bool,
) -> sqlx::Result<u64> {
    let statement = if new {
        "INSERT INTO qualification_templates (organization_id, template_id, name, fields, scored, name_key, search,
             version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)"
    } else {
        "UPDATE qualification_templates SET name = $3, fields = $4, scored = $5, name_key = $6, search = $7,
             version = $8, updated_at = $9
         WHERE organization_id = $1 AND template_id = $2"
    };
    let name = form.map(|form| form.name.as_str());
    let words = form.into_iter().flat_map(|form| {
        let labels = form.fields.iter().map(|field| Some(field.label.as_str()));
        [Some(form.name.as_str()), form.description.as_deref()].into_iter().chain(labels)
    });
    let fields = form.map_or(0, |form| form.fields.len());
    let done = sqlx::query(statement)
        .bind(organization.uuid())
        .bind(recorded.aggregate_id)
        .bind(name)
        .bind(i32::try_from(fields).unwrap_or(i32::MAX))
        .bind(form.is_some_and(|form| form.scoring.is_some()))
        .bind(folded(name.unwrap_or_default()))
        .bind(search_text(words))
        .bind(signed(recorded.version()))
        .bind(At(recorded.occurred_at))
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}
