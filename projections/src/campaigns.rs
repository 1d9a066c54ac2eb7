//! One row per campaign: its words, days, settings, templates and status.
//!
//! How many contacts are in it is not stored here; lists read it from the counters, so that a bulk command does not
//! rewrite the campaign.

use std::collections::{BTreeMap, HashMap};

use docket_aggregates::campaign::{
    CallWindow, CampaignEvent, CampaignSettings, CampaignStatus, CampaignText,
};
use docket_aggregates::ids::{
    AgentId, CampaignId, OrganizationId, QualificationTemplateId, ScriptTemplateId,
};
use docket_aggregates::{AnyEvent, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Postgres, QueryBuilder, Row};
use uuid::Uuid;

use crate::campaign_counters::{self, Totals};
use crate::columns::{At, Columns, uuids};
use crate::page::{Keyset, Order, Page, SortKind, SortValue, push_after};
use crate::searchable::{folded, patterns, search_text};
use crate::{FoldError, ReadModel, Recorded, by_id};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "campaigns", tables: &["campaigns"] };

/// A campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignRow {
    /// The campaign.
    pub campaign_id: CampaignId,
    /// Name, description and goal; none once erased.
    pub text: Option<CampaignText>,
    /// Where it stands.
    pub status: CampaignStatus,
    /// The call script.
    pub script_template_id: Option<ScriptTemplateId>,
    /// The qualification form.
    pub qualification_template_id: Option<QualificationTemplateId>,
    /// The callers who work on it, in the order given.
    pub agent_ids: Vec<AgentId>,
    /// First day, `YYYY-MM-DD`.
    pub start_date: Option<String>,
    /// Last day, `YYYY-MM-DD`.
    pub end_date: Option<String>,
    /// Attempts and call window.
    pub settings: CampaignSettings,
    /// Events of its stream.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed; contacts that come, go and are called do not change it.
    pub updated_at: Timestamp,
}

impl CampaignRow {
    /// Its name; empty once erased.
    pub fn name(&self) -> &str {
        self.text.as_ref().map_or("", |text| &text.name)
    }
}

/// A campaign with how many are in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignListed {
    /// The campaign.
    pub campaign: CampaignRow,
    /// Contacts in it.
    pub contact_count: u64,
    /// Those of them that belong to a caller.
    pub assigned_count: u64,
}

/// Which campaigns are meant.
#[derive(Clone, Debug, Default)]
pub struct CampaignFilter {
    /// Only those that stand here; empty means anywhere.
    pub statuses: Vec<CampaignStatus>,
    /// Part of the name, description or goal.
    pub search: Option<String>,
    /// Created then or later.
    pub created_after: Option<Timestamp>,
    /// Created before then.
    pub created_before: Option<Timestamp>,
}

/// What campaigns are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CampaignSort {
    /// When they were created.
    #[default]
    CreatedAt,
    /// Their name, without regard to case and accents.
    Name,
    /// When they last changed.
    UpdatedAt,
}

impl CampaignSort {
    const fn column(self) -> (&'static str, SortKind, &'static str) {
        match self {
            Self::CreatedAt => ("created_at", SortKind::At, "campaign_id"),
            Self::Name => ("name_key", SortKind::Text, "campaign_id"),
            Self::UpdatedAt => ("updated_at", SortKind::At, "campaign_id"),
        }
    }

    fn key(self, campaign: &CampaignRow) -> Keyset {
        let value = match self {
            Self::CreatedAt => SortValue::At(campaign.created_at),
            Self::Name => SortValue::Text(folded(campaign.name())),
            Self::UpdatedAt => SortValue::At(campaign.updated_at),
        };
        Keyset::after(value, campaign.campaign_id)
    }
}

/// Campaigns that fulfil the filter, and how many do in all.
pub async fn list(
    conn: &mut PgConnection,
    organization: OrganizationId,
    filter: &CampaignFilter,
    sort: CampaignSort,
    order: Order,
    after: Option<&Keyset>,
    limit: u32,
) -> sqlx::Result<(Page<CampaignListed>, u64)> {
    let mut count = QueryBuilder::new("SELECT count(*)");
    push_from(&mut count, organization, filter);
    let total: i64 = count.build_query_scalar().persistent(false).fetch_one(&mut *conn).await?;

    let mut query = QueryBuilder::new("SELECT *");
    push_from(&mut query, organization, filter);
    let column = sort.column();
    if let Some(after) = after {
        push_after(&mut query, column, order, after);
    }
    let direction = order.sql();
    query.push(format!(" ORDER BY {} {direction}, campaign_id {direction} LIMIT ", column.0));
    query.push_bind(i64::from(limit) + 1);
    let rows = query.build().persistent(false).fetch_all(&mut *conn).await?;
    let campaigns = rows.iter().map(row).collect::<sqlx::Result<Vec<_>>>()?;
    let mut page = Page::of(campaigns, limit, |campaign| sort.key(campaign));
    let rows = std::mem::take(&mut page.rows);
    let listed = counted(conn, organization, rows).await?;
    Ok((page.with(listed), total.max(0).cast_unsigned()))
}

fn push_from(query: &mut QueryBuilder<'_, Postgres>, organization: OrganizationId, filter: &CampaignFilter) {
    query.push(" FROM campaigns WHERE organization_id = ").push_bind(organization.uuid());
    if !filter.statuses.is_empty() {
        query.push(" AND status = ANY(").push_bind(names(&filter.statuses)).push(")");
    }
    if let Some(patterns) = filter.search.as_deref().and_then(patterns) {
        query.push(" AND search LIKE ANY(").push_bind(patterns).push(")");
    }
    if let Some(after) = filter.created_after {
        query.push(" AND created_at >= ").push_bind(At(after));
    }
    if let Some(before) = filter.created_before {
        query.push(" AND created_at < ").push_bind(At(before));
    }
}

pub(crate) fn names(statuses: &[CampaignStatus]) -> Vec<String> {
    statuses.iter().map(|status| status.name().to_owned()).collect()
}

async fn counted(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaigns: Vec<CampaignRow>,
) -> sqlx::Result<Vec<CampaignListed>> {
    let ids: Vec<CampaignId> = campaigns.iter().map(|campaign| campaign.campaign_id).collect();
    let counts = crate::campaign_counters::of_campaigns(conn, organization, &ids).await?;
    Ok(campaigns
        .into_iter()
        .zip(counts)
        .map(|(campaign, counts)| CampaignListed {
            campaign,
            contact_count: counts.total,
            assigned_count: counts.assigned,
        })
        .collect())
}

/// One campaign with how many are in it.
pub async fn get(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaign: CampaignId,
) -> sqlx::Result<Option<CampaignListed>> {
    let Some(campaign) = by_ids(conn, organization, &[campaign]).await?.pop() else { return Ok(None) };
    let Totals { contacts, assigned } =
        campaign_counters::totals_of_one(conn, organization, campaign.campaign_id).await?;
    Ok(Some(CampaignListed { campaign, contact_count: contacts, assigned_count: assigned }))
}

/// Those of `campaigns` that exist, by id.
pub async fn by_ids(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaigns: &[CampaignId],
) -> sqlx::Result<Vec<CampaignRow>> {
    let rows = by_id::rows(conn, organization, ("campaigns", "campaign_id"), uuids(campaigns)).await?;
    rows.iter().map(row).collect()
}

/// The ids of campaigns that stand in one of `statuses`, the newest first, `limit` at most.
pub async fn ids_by_status(
    conn: &mut PgConnection,
    organization: OrganizationId,
    statuses: &[CampaignStatus],
    limit: i64,
) -> sqlx::Result<Vec<CampaignId>> {
    let rows = sqlx::query(
        "SELECT campaign_id FROM campaigns WHERE organization_id = $1 AND status = ANY($2)
         ORDER BY created_at DESC, campaign_id LIMIT $3",
    )
    .bind(organization.uuid())
    .bind(names(statuses))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| row.id("campaign_id")).collect()
}

/// Of each name, up to five campaigns that have it, without regard to case and accents; archived ones do not count.
pub async fn with_names(
    conn: &mut PgConnection,
    organization: OrganizationId,
    names: &[String],
) -> sqlx::Result<Vec<Vec<CampaignId>>> {
    let keys: Vec<String> = names.iter().map(|name| folded(name)).collect();
    let mut found: HashMap<&str, Vec<CampaignId>> =
        keys.iter().map(|key| (key.as_str(), Vec::new())).collect();
    let rows = sqlx::query(
        "SELECT asked.key, campaign_id FROM unnest($2::text[]) AS asked (key)
         CROSS JOIN LATERAL (SELECT campaign_id FROM campaigns
             WHERE organization_id = $1 AND name_key = asked.key AND status <> 'archived'
             ORDER BY campaign_id LIMIT 5) AS same
         ORDER BY campaign_id",
    )
    .bind(organization.uuid())
    .bind(found.keys().copied().collect::<Vec<_>>())
    .fetch_all(conn)
    .await?;
    for row in &rows {
        if let Some(found) = found.get_mut(row.try_get::<&str, _>("key")?) {
            found.push(row.id("campaign_id")?);
        }
    }
    Ok(keys.iter().map(|key| found.get(key.as_str()).cloned().unwrap_or_default()).collect())
}

/// A campaign that a template is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignUsing {
    /// The template.
    pub script_template_id: ScriptTemplateId,
    /// The campaign.
    pub campaign_id: CampaignId,
    /// Its name; empty once erased.
    pub name: String,
}

/// The campaigns that these script templates are attached to, by name; archived ones do not count.
pub async fn using_scripts(
    conn: &mut PgConnection,
    organization: OrganizationId,
    templates: &[ScriptTemplateId],
) -> sqlx::Result<Vec<CampaignUsing>> {
    let rows = sqlx::query(
        "SELECT script_template_id, campaign_id, coalesce(name, '') AS name FROM campaigns
         WHERE organization_id = $1 AND script_template_id = ANY($2) AND status <> 'archived'
         ORDER BY name_key, campaign_id",
    )
    .bind(organization.uuid())
    .bind(uuids(templates))
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(CampaignUsing {
                script_template_id: row.id("script_template_id")?,
                campaign_id: row.id("campaign_id")?,
                name: row.try_get("name")?,
            })
        })
        .collect()
}

/// How many campaigns stand in each status; statuses without any are left out.
pub async fn count_by_status(
    conn: &mut PgConnection,
    organization: OrganizationId,
) -> sqlx::Result<BTreeMap<CampaignStatus, u64>> {
    let rows =
        sqlx::query("SELECT status, count(*) AS n FROM campaigns WHERE organization_id = $1 GROUP BY status")
            .bind(organization.uuid())
            .fetch_all(conn)
            .await?;
    rows.iter().map(|row| Ok((row.named("status")?, row.count("n")?))).collect()
}

fn row(row: &PgRow) -> sqlx::Result<CampaignRow> {
    let name: Option<String> = row.try_get("name")?;
    let (description, goal) = (row.try_get("description")?, row.try_get("goal")?);
    let start: Option<String> = row.try_get("call_window_start")?;
    let end: Option<String> = row.try_get("call_window_end")?;
    let tz: Option<String> = row.try_get("call_window_tz")?;
    Ok(CampaignRow {
        campaign_id: row.id("campaign_id")?,
        text: name.map(|name| CampaignText { name, description, goal }),
        status: row.named("status")?,
        script_template_id: row.id_opt("script_template_id")?,
        qualification_template_id: row.id_opt("qualification_template_id")?,
        agent_ids: row.ids("agent_ids")?,
        start_date: row.try_get("start_date")?,
        end_date: row.try_get("end_date")?,
        settings: CampaignSettings {
            max_attempts: row
                .try_get::<Option<i16>, _>("max_attempts")?
                .and_then(|max| u8::try_from(max).ok()),
            call_window: match (start, end, tz) {
                (Some(start), Some(end), Some(tz)) => Some(CallWindow { start, end, tz }),
                _ => None,
            },
        },
        version: row.count("version")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
    })
}

/// Folds the batch into campaigns.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    let touched: Vec<CampaignId> = batch
        .iter()
        .filter(|recorded| matches!(recorded.event, AnyEvent::Campaign(_)))
        .map(|recorded| CampaignId(recorded.aggregate_id))
        .collect();
    if touched.is_empty() {
        return Ok(());
    }
    let before = by_ids(conn, organization, &touched).await?;
    Ok(write(conn, organization, &plan(batch, before)?).await?)
}

fn plan(
    batch: &[Recorded],
    before: Vec<CampaignRow>,
) -> Result<BTreeMap<CampaignId, CampaignRow>, FoldError> {
    let mut rows: BTreeMap<CampaignId, CampaignRow> =
        before.into_iter().map(|row| (row.campaign_id, row)).collect();
    for recorded in batch {
        let AnyEvent::Campaign(event) = &recorded.event else { continue };
        let id = CampaignId(recorded.aggregate_id);
        if let CampaignEvent::CampaignCreated { .. } = event {
            rows.insert(id, created(id, recorded.occurred_at));
        }
        let row = rows.get_mut(&id).ok_or_else(|| recorded.orphan())?;
        row.version = recorded.version();
        row.updated_at = recorded.occurred_at;
        row.apply(event);
    }
    Ok(rows)
}

/// A campaign before anything is said of it.
fn created(campaign_id: CampaignId, created_at: Timestamp) -> CampaignRow {
    CampaignRow {
        campaign_id,
        text: None,
        status: CampaignStatus::Draft,
        script_template_id: None,
        qualification_template_id: None,
        agent_ids: Vec::new(),
        start_date: None,
        end_date: None,
        settings: CampaignSettings::default(),
        version: 0,
        created_at,
        updated_at: created_at,
    }
}

impl CampaignRow {
    fn apply(&mut self, event: &CampaignEvent) {
        match event.clone() {
            CampaignEvent::CampaignCreated {
                campaign_id: _,
                text,
                status,
                script_template_id,
                qualification_template_id,
                agent_ids,
                start_date,
                end_date,
                settings,
            } => {
                self.text = text.into_value();
                self.status = status;
                self.script_template_id = script_template_id;
                self.qualification_template_id = qualification_template_id;
                self.agent_ids = agent_ids;
                self.start_date = start_date;
                self.end_date = end_date;
                self.settings = settings;
            }
            CampaignEvent::CampaignReworded { text } => self.text = text.into_value(),
            CampaignEvent::CampaignScheduled { start_date, end_date } => {
                self.start_date = start_date;
                self.end_date = end_date;
            }
            CampaignEvent::CampaignStaffed { agent_ids } => self.agent_ids = agent_ids,
            CampaignEvent::CampaignConfigured { settings } => self.settings = settings,
            CampaignEvent::TemplatesAttached { script_template_id, qualification_template_id } => {
                self.script_template_id = script_template_id;
                self.qualification_template_id = qualification_template_id;
            }
            CampaignEvent::CampaignActivated {} => self.status = CampaignStatus::Active,
            CampaignEvent::CampaignPaused {} => self.status = CampaignStatus::Paused,
            CampaignEvent::CampaignCompleted {} => self.status = CampaignStatus::Completed,
            CampaignEvent::CampaignArchived {} => self.status = CampaignStatus::Archived,
        }
    }
}

async fn write(
    conn: &mut PgConnection,
    organization: OrganizationId,
    rows: &BTreeMap<CampaignId, CampaignRow>,
) -> sqlx::Result<()> {
    fn each<'a, T>(
        rows: &'a BTreeMap<CampaignId, CampaignRow>,
        column: impl Fn(&'a CampaignRow) -> T,
    ) -> Vec<T> {
        rows.values().map(column).collect()
    }
    fn of_text(rows: &BTreeMap<CampaignId, CampaignRow>, part: TextPart) -> Vec<Option<&str>> {
        each(rows, |row| row.text.as_ref().and_then(part))
    }
    fn of_window(
        rows: &BTreeMap<CampaignId, CampaignRow>,
        part: fn(&CallWindow) -> &str,
    ) -> Vec<Option<&str>> {
        each(rows, |row| row.settings.call_window.as_ref().map(part))
    }
    type TextPart = fn(&CampaignText) -> Option<&str>;
    const PARTS: [TextPart; 3] =
        [|text| Some(&text.name), |text| text.description.as_deref(), |text| text.goal.as_deref()];
    let [name, description, goal] = PARTS.map(|part| of_text(rows, part));
    let search = each(rows, |row| search_text(PARTS.map(|part| row.text.as_ref().and_then(part))));
    sqlx::query(
        "INSERT INTO campaigns (organization_id, campaign_id, name, description, goal, status, script_template_id,
             qualification_template_id, agent_ids, start_date, end_date, max_attempts, call_window_start,
             call_window_end, call_window_tz, name_key, search, version, created_at, updated_at)
         SELECT $1, id, name, description, goal, status, script, qualification, agents::uuid[], first, last, attempts,
             window_start, window_end, tz, name_key, search, version, created, updated
         FROM UNNEST($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::uuid[], $9::text[],
                     $10::text[], $11::text[], $12::smallint[], $13::text[], $14::text[], $15::text[], $16::text[],
                     $17::text[], $18::bigint[], $19::timestamptz[], $20::timestamptz[])
              AS campaign (id, name, description, goal, status, script, qualification, agents, first, last, attempts,
                           window_start, window_end, tz, name_key, search, version, created, updated)
         ON CONFLICT (organization_id, campaign_id) DO UPDATE SET name = excluded.name,
             description = excluded.description, goal = excluded.goal, status = excluded.status,
             script_template_id = excluded.script_template_id,
             qualification_template_id = excluded.qualification_template_id, agent_ids = excluded.agent_ids,
             start_date = excluded.start_date, end_date = excluded.end_date,
             max_attempts = excluded.max_attempts, call_window_start = excluded.call_window_start,
             call_window_end = excluded.call_window_end, call_window_tz = excluded.call_window_tz,
             name_key = excluded.name_key, search = excluded.search, version = excluded.version,
             created_at = excluded.created_at, updated_at = excluded.updated_at",
    )
    .bind(organization.uuid())
    .bind(each(rows, |row| row.campaign_id.uuid()))
    .bind(name)
    .bind(description)
    .bind(goal)
    .bind(each(rows, |row| row.status.name()))
    .bind(each(rows, |row| row.script_template_id.map(Uuid::from)))
    .bind(each(rows, |row| row.qualification_template_id.map(Uuid::from)))
    .bind(each(rows, |row| array(&row.agent_ids)))
    .bind(each(rows, |row| row.start_date.as_deref()))
    .bind(each(rows, |row| row.end_date.as_deref()))
    .bind(each(rows, |row| row.settings.max_attempts.map(i16::from)))
    .bind(of_window(rows, |window| &window.start))
    .bind(of_window(rows, |window| &window.end))
    .bind(of_window(rows, |window| &window.tz))
    .bind(each(rows, |row| folded(row.name())))
    .bind(search)
    .bind(each(rows, |row| row.version.cast_signed()))
    .bind(each(rows, |row| At(row.created_at)))
    .bind(each(rows, |row| At(row.updated_at)))
    .execute(conn)
    .await
    .map(drop)
}

/// Ids as Postgres writes an array: an array of arrays that differ in length cannot be sent in any other way.
fn array(ids: &[AgentId]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    format!("{{{}}}", ids.join(","))
}
