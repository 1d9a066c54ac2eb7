//! One row per script template: what lists show of its current version. The steps stand with the versions.

use std::collections::BTreeMap;

use docket_aggregates::ids::{CampaignId, OrganizationId, ScriptTemplateId};
use docket_aggregates::script_template::{ScriptContent, ScriptTemplateEvent, nodes};
use docket_aggregates::{AnyEvent, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Postgres, QueryBuilder, Row};

use crate::columns::{At, Columns, unreadable, uuids};
use crate::page::{Keyset, Order, Page, SortKind, SortValue, push_after};
use crate::searchable::{folded, patterns, search_text};
use crate::{FoldError, ReadModel, Recorded, by_id};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "script_templates", tables: &["script_templates"] };

/// What is said of a template in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptHead {
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The language of its texts.
    pub language: String,
}

/// A script template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptTemplateRow {
    /// The template.
    pub template_id: ScriptTemplateId,
    /// Its words; none once erased.
    pub head: Option<ScriptHead>,
    /// How many nodes it has, those of all branches among them.
    pub nodes: u32,
    /// The current version, from 1.
    pub version: u32,
    /// Whether it was deleted.
    pub deleted: bool,
    /// Events of its stream.
    pub revision: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl ScriptTemplateRow {
    /// Its name; empty once erased.
    pub fn name(&self) -> &str {
        self.head.as_ref().map_or("", |head| &head.name)
    }
}

/// Which templates are meant.
#[derive(Clone, Debug, Default)]
pub struct ScriptTemplateFilter {
    /// Part of the name or description.
    pub search: Option<String>,
    /// Deleted ones as well.
    pub include_deleted: bool,
    /// Only the one that is attached to this campaign.
    pub campaign_id: Option<CampaignId>,
}

/// Templates that fulfil the filter, the newest first, and how many do in all.
pub async fn list(
    conn: &mut PgConnection,
    organization: OrganizationId,
    filter: &ScriptTemplateFilter,
    after: Option<&Keyset>,
    limit: u32,
) -> sqlx::Result<(Page<ScriptTemplateRow>, u64)> {
    let mut count = QueryBuilder::new("SELECT count(*)");
    push_from(&mut count, organization, filter);
    let total: i64 = count.build_query_scalar().persistent(false).fetch_one(&mut *conn).await?;

    let mut query = QueryBuilder::new("SELECT *");
    push_from(&mut query, organization, filter);
    if let Some(after) = after {
        push_after(&mut query, ("created_at", SortKind::At, "template_id"), Order::Desc, after);
    }
    query.push(" ORDER BY created_at DESC, template_id DESC LIMIT ").push_bind(i64::from(limit) + 1);
    let rows = query.build().persistent(false).fetch_all(&mut *conn).await?;
    let templates = rows.iter().map(row).collect::<sqlx::Result<Vec<_>>>()?;
    let key = |row: &ScriptTemplateRow| Keyset::after(SortValue::At(row.created_at), row.template_id);
    Ok((Page::of(templates, limit, key), total.max(0).cast_unsigned()))
}

fn push_from(
    query: &mut QueryBuilder<'_, Postgres>,
    organization: OrganizationId,
    filter: &ScriptTemplateFilter,
) {
    query.push(" FROM script_templates WHERE organization_id = ").push_bind(organization.uuid());
    if !filter.include_deleted {
        query.push(" AND status = 'active'");
    }
    if let Some(patterns) = filter.search.as_deref().and_then(patterns) {
        query.push(" AND search LIKE ANY(").push_bind(patterns).push(")");
    }
    if let Some(campaign) = filter.campaign_id {
        query
            .push(
                " AND template_id = (SELECT c.script_template_id FROM campaigns c WHERE c.organization_id = ",
            )
            .push_bind(organization.uuid())
            .push(" AND c.campaign_id = ")
            .push_bind(campaign.uuid())
            .push(")");
    }
}

/// One template.
pub async fn get(
    conn: &mut PgConnection,
    organization: OrganizationId,
    template: ScriptTemplateId,
) -> sqlx::Result<Option<ScriptTemplateRow>> {
    Ok(by_ids(conn, organization, &[template]).await?.pop())
}

/// Those of `templates` that exist, deleted ones among them, by id.
pub async fn by_ids(
    conn: &mut PgConnection,
    organization: OrganizationId,
    templates: &[ScriptTemplateId],
) -> sqlx::Result<Vec<ScriptTemplateRow>> {
    let rows = by_id::rows(conn, organization, ("script_templates", "template_id"), uuids(templates)).await?;
    rows.iter().map(row).collect()
}

/// Templates of one of these names, without regard to case and accents, the oldest first; deleted ones do not count.
pub async fn with_names(
    conn: &mut PgConnection,
    organization: OrganizationId,
    names: &[&str],
) -> sqlx::Result<Vec<ScriptTemplateRow>> {
    let rows = sqlx::query(
        "SELECT * FROM script_templates WHERE organization_id = $1 AND name_key = ANY($2) AND status = 'active'
         ORDER BY created_at, template_id LIMIT 1000",
    )
    .bind(organization.uuid())
    .bind(names.iter().map(|name| folded(name)).collect::<Vec<_>>())
    .fetch_all(conn)
    .await?;
    rows.iter().map(row).collect()
}

/// The newest template that is not deleted.
pub async fn newest(
    conn: &mut PgConnection,
    organization: OrganizationId,
) -> sqlx::Result<Option<ScriptTemplateRow>> {
    let (page, _) = list(conn, organization, &ScriptTemplateFilter::default(), None, 1).await?;
    Ok(page.rows.into_iter().next())
}

fn row(row: &PgRow) -> sqlx::Result<ScriptTemplateRow> {
    let name: Option<String> = row.try_get("name")?;
    let language: Option<String> = row.try_get("language")?;
    let description = row.try_get("description")?;
    let small = |column: &str| row.try_get::<i32, _>(column).map(|n| n.max(0).cast_unsigned());
    Ok(ScriptTemplateRow {
        template_id: row.id("template_id")?,
        head: name.zip(language).map(|(name, language)| ScriptHead { name, description, language }),
        nodes: small("nodes")?,
        version: small("version")?,
        deleted: match row.try_get("status")? {
            "active" => false,
            "deleted" => true,
            _ => return Err(unreadable("status")),
        },
        revision: row.count("revision")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
    })
}

/// Folds the batch into templates.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    let touched: Vec<ScriptTemplateId> = batch
        .iter()
        .filter(|recorded| matches!(recorded.event, AnyEvent::ScriptTemplate(_)))
        .map(|recorded| ScriptTemplateId(recorded.aggregate_id))
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
    before: Vec<ScriptTemplateRow>,
) -> Result<BTreeMap<ScriptTemplateId, ScriptTemplateRow>, FoldError> {
    let mut rows: BTreeMap<ScriptTemplateId, ScriptTemplateRow> =
        before.into_iter().map(|row| (row.template_id, row)).collect();
    for recorded in batch {
        let AnyEvent::ScriptTemplate(event) = &recorded.event else { continue };
        let template_id = ScriptTemplateId(recorded.aggregate_id);
        if let ScriptTemplateEvent::ScriptTemplateCreated { .. } = event {
            let created = ScriptTemplateRow {
                template_id,
                head: None,
                nodes: 0,
                version: 1,
                deleted: false,
                revision: 0,
                created_at: recorded.occurred_at,
                updated_at: recorded.occurred_at,
            };
            rows.insert(template_id, created);
        }
        let row = rows.get_mut(&template_id).ok_or_else(|| recorded.orphan())?;
        row.revision = recorded.version();
        // Whom it is attached to is no change of it.
        if !matches!(event, ScriptTemplateEvent::ScriptTemplateAttached { .. }) {
            row.updated_at = recorded.occurred_at;
        }
        match event {
            ScriptTemplateEvent::ScriptTemplateCreated { content, .. } => row.says(content.value()),
            ScriptTemplateEvent::ScriptTemplateRevised { version, content } => {
                row.version = *version;
                row.says(content.value());
            }
            ScriptTemplateEvent::ScriptTemplateAttached { .. } => (),
            ScriptTemplateEvent::ScriptTemplateDeleted {} => row.deleted = true,
        }
    }
    Ok(rows)
}

impl ScriptTemplateRow {
    fn says(&mut self, content: Option<&ScriptContent>) {
        self.head = content.map(|content| ScriptHead {
            name: content.name.clone(),
            description: content.description.clone(),
            language: content.language.clone(),
        });
        let count = content.map_or(0, |content| nodes(&content.steps).count());
        self.nodes = u32::try_from(count).unwrap_or(u32::MAX);
    }
}

async fn write(
    conn: &mut PgConnection,
    organization: OrganizationId,
    row: &ScriptTemplateRow,
) -> sqlx::Result<()> {
    let head = row.head.as_ref();
    let description = head.and_then(|head| head.description.as_deref());
    sqlx::query(
        "INSERT INTO script_templates (organization_id, template_id, name, description, language, nodes, version,
             status, name_key, search, revision, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (organization_id, template_id) DO UPDATE SET name = excluded.name,
             description = excluded.description, language = excluded.language, nodes = excluded.nodes,
             version = excluded.version, status = excluded.status, name_key = excluded.name_key,
             search = excluded.search, revision = excluded.revision, created_at = excluded.created_at,
             updated_at = excluded.updated_at",
    )
    .bind(organization.uuid())
    .bind(row.template_id.uuid())
    .bind(head.map(|head| head.name.as_str()))
    .bind(description)
    .bind(head.map(|head| head.language.as_str()))
    .bind(i32::try_from(row.nodes).unwrap_or(i32::MAX))
    .bind(i32::try_from(row.version).unwrap_or(i32::MAX))
    .bind(if row.deleted { "deleted" } else { "active" })
    .bind(folded(row.name()))
    .bind(search_text([Some(row.name()), description]))
    .bind(row.revision.cast_signed())
    .bind(At(row.created_at))
    .bind(At(row.updated_at))
    .execute(conn)
    .await
    .map(drop)
}

#[cfg(test)]
mod tests {
    use docket_aggregates::Personal;
    use docket_aggregates::script_template::{Node, NodeKind};
    use uuid::Uuid;

    use super::*;

    const ID: ScriptTemplateId = ScriptTemplateId(Uuid::from_u128(7));

    fn content(name: &str, nodes: usize) -> Personal<ScriptContent> {
        let node = |n| Node {
            id: format!("n{n}"),
            kind: NodeKind::Question,
            text: "And?".into(),
            required: false,
            options: vec![],
            branches: vec![],
        };
        let steps = (0..nodes).map(node).collect();
        let content = ScriptContent { name: name.into(), description: None, language: "fr".into(), steps };
        Personal::known(ID.uuid(), content)
    }

    fn story() -> Vec<Recorded> {
        let events = [
            ScriptTemplateEvent::ScriptTemplateCreated { template_id: ID, content: content("Spring", 1) },
            ScriptTemplateEvent::ScriptTemplateRevised { version: 2, content: content("Summer", 3) },
            ScriptTemplateEvent::ScriptTemplateDeleted {},
        ];
        (1..).zip(events).map(|(n, event)| Recorded::sample(n, ID, n, event)).collect()
    }

    #[test]
    fn a_row_shows_the_current_version() {
        let rows = plan(&story()[..2], vec![]).unwrap();
        let row = &rows[&ID];
        assert_eq!(
            (row.name(), row.nodes, row.version, row.deleted, row.revision),
            ("Summer", 3, 2, false, 2)
        );
        let deleted = &plan(&story(), vec![]).unwrap()[&ID];
        assert_eq!(
            (deleted.name(), deleted.version, deleted.deleted, deleted.revision),
            ("Summer", 2, true, 3)
        );
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
    fn what_was_never_created_is_an_orphan() {
        assert!(matches!(plan(&story()[1..], vec![]), Err(FoldError::Orphan { .. })));
    }
}
