//! One row per caller, as lists of callers show it.

use std::collections::BTreeMap;

use docket_aggregates::agent::{AgentEvent, AgentProfile};
use docket_aggregates::ids::{AgentId, CampaignId, OrganizationId};
use docket_aggregates::{AnyEvent, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Postgres, QueryBuilder, Row};

use crate::columns::{At, Columns, uuids};
use crate::page::{Keyset, Order, Page, SortKind, SortValue, push_after};
use crate::searchable::{folded, patterns, search_text};
use crate::{FoldError, ReadModel, Recorded, by_id};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "agents", tables: &["agents"] };

/// A caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRow {
    /// The caller.
    pub agent_id: AgentId,
    /// Name, address and role; none once erased.
    pub profile: Option<AgentProfile>,
    /// Whether it takes assignments.
    pub active: bool,
    /// Events of its stream.
    pub version: u64,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Which callers are meant.
#[derive(Clone, Debug, Default)]
pub struct AgentFilter {
    /// Part of the name, address or role.
    pub search: Option<String>,
    /// Only active ones, or only the others.
    pub active: Option<bool>,
    /// Only those who are named by this campaign or hold contacts in it.
    pub campaign_id: Option<CampaignId>,
}

/// A caller with its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentListed {
    /// The caller.
    pub agent: AgentRow,
    /// Its contacts with work still to do, over all campaigns.
    pub assigned_open: u64,
    /// Campaigns that are not archived and name it or in which it holds contacts; sorted, 20 at most.
    pub campaign_ids: Vec<CampaignId>,
}

/// Campaigns shown with a caller, at most.
const CAMPAIGNS_SHOWN: usize = 20;

/// Callers by name, with the number of all that fulfil the filter.
pub async fn list(
    conn: &mut PgConnection,
    organization: OrganizationId,
    filter: &AgentFilter,
    after: Option<&Keyset>,
    limit: u32,
) -> sqlx::Result<(Page<AgentListed>, u64)> {
    let mut count = QueryBuilder::new("SELECT count(*)");
    push_from(&mut count, organization, filter);
    let total: i64 = count.build_query_scalar().persistent(false).fetch_one(&mut *conn).await?;

    let mut query = QueryBuilder::new("SELECT agents.*");
    push_from(&mut query, organization, filter);
    if let Some(after) = after {
        push_after(&mut query, ("name_key", SortKind::Text, "agent_id"), Order::Asc, after);
    }
    query.push(" ORDER BY name_key, agent_id LIMIT ").push_bind(i64::from(limit) + 1);
    let rows = query.build().persistent(false).fetch_all(&mut *conn).await?;
    let agents = rows.iter().map(row).collect::<sqlx::Result<Vec<_>>>()?;
    let page = Page::of(agents, limit, |agent| {
        Keyset::after(SortValue::Text(name_key(agent.profile.as_ref())), agent.agent_id)
    });

    let ids: Vec<AgentId> = page.rows.iter().map(|agent| agent.agent_id).collect();
    let open = crate::campaign_counters::open_loads(conn, organization, &ids).await?;
    let mut campaigns = campaigns_of(conn, organization, &ids).await?;
    let listed = page
        .rows
        .iter()
        .zip(open)
        .map(|(agent, assigned_open)| AgentListed {
            agent: agent.clone(),
            assigned_open,
            campaign_ids: campaigns.remove(&agent.agent_id).unwrap_or_default(),
        })
        .collect();
    Ok((page.with(listed), total.max(0).cast_unsigned()))
}

fn push_from(query: &mut QueryBuilder<'_, Postgres>, organization: OrganizationId, filter: &AgentFilter) {
    query.push(" FROM agents WHERE organization_id = ").push_bind(organization.uuid());
    if let Some(patterns) = filter.search.as_deref().and_then(patterns) {
        query.push(" AND search LIKE ANY(").push_bind(patterns).push(")");
    }
    if let Some(active) = filter.active {
        query.push(" AND active = ").push_bind(active);
    }
    if let Some(campaign) = filter.campaign_id {
        query
            .push(
                " AND (EXISTS (SELECT 1 FROM campaigns WHERE campaigns.organization_id = agents.organization_id
                       AND agents.agent_id = ANY(campaigns.agent_ids) AND campaigns.campaign_id = ",
            )
            .push_bind(campaign.uuid())
            .push(
                ") OR EXISTS (SELECT 1 FROM campaign_counters k WHERE k.organization_id = agents.organization_id
                       AND k.agent_id = agents.agent_id AND k.campaign_id = ",
            )
            .push_bind(campaign.uuid())
            .push("))");
    }
}

async fn campaigns_of(
    conn: &mut PgConnection,
    organization: OrganizationId,
    agents: &[AgentId],
) -> sqlx::Result<BTreeMap<AgentId, Vec<CampaignId>>> {
    let rows = sqlx::query(
        "SELECT agent_id, campaign_id FROM (
             SELECT k.agent_id, k.campaign_id FROM campaign_counters k
             WHERE k.organization_id = $1 AND k.agent_id = ANY($2)
             UNION
             SELECT staffed.agent_id, c.campaign_id
             FROM campaigns c CROSS JOIN UNNEST(c.agent_ids) AS staffed (agent_id)
             WHERE c.organization_id = $1 AND staffed.agent_id = ANY($2)
         ) AS work
         JOIN campaigns USING (campaign_id)
         WHERE campaigns.organization_id = $1 AND campaigns.status <> 'archived'
         ORDER BY agent_id, campaign_id",
    )
    .bind(organization.uuid())
    .bind(uuids(agents))
    .fetch_all(conn)
    .await?;
    let mut campaigns: BTreeMap<AgentId, Vec<CampaignId>> = BTreeMap::new();
    for row in &rows {
        let shown = campaigns.entry(row.id("agent_id")?).or_default();
        if shown.len() < CAMPAIGNS_SHOWN {
            shown.push(row.id("campaign_id")?);
        }
    }
    Ok(campaigns)
}

/// One caller.
pub async fn get(
    conn: &mut PgConnection,
    organization: OrganizationId,
    agent: AgentId,
) -> sqlx::Result<Option<AgentRow>> {
    Ok(by_ids(conn, organization, &[agent]).await?.pop())
}

/// Those of `agents` that exist, by id.
pub async fn by_ids(
    conn: &mut PgConnection,
    organization: OrganizationId,
    agents: &[AgentId],
) -> sqlx::Result<Vec<AgentRow>> {
    let rows = by_id::rows(conn, organization, ("agents", "agent_id"), uuids(agents)).await?;
    rows.iter().map(row).collect()
}

/// The ids of active callers, sorted, `limit` at most.
pub async fn active_ids(
    conn: &mut PgConnection,
    organization: OrganizationId,
    limit: i64,
) -> sqlx::Result<Vec<AgentId>> {
    let rows = sqlx::query(
        "SELECT agent_id FROM agents WHERE organization_id = $1 AND active ORDER BY agent_id LIMIT $2",
    )
    .bind(organization.uuid())
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| row.id("agent_id")).collect()
}

/// How many callers there are, and how many of them are active.
pub async fn count(conn: &mut PgConnection, organization: OrganizationId) -> sqlx::Result<(u64, u64)> {
    let row = sqlx::query(
        "SELECT count(*) AS total, count(*) FILTER (WHERE active) AS active FROM agents WHERE organization_id = $1",
    )
    .bind(organization.uuid())
    .fetch_one(conn)
    .await?;
    Ok((row.count("total")?, row.count("active")?))
}

fn row(row: &PgRow) -> sqlx::Result<AgentRow> {
    let name: Option<String> = row.try_get("name")?;
    let email: Option<String> = row.try_get("email")?;
    let role = row.try_get("role")?;
    let profile = name.zip(email).map(|(name, email)| AgentProfile { name, email, role });
    Ok(AgentRow {
        agent_id: row.id("agent_id")?,
        profile,
        active: row.try_get("active")?,
        version: row.count("version")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
    })
}

fn name_key(profile: Option<&AgentProfile>) -> String {
    profile.map(|profile| folded(&profile.name)).unwrap_or_default()
}

/// Folds the batch into callers.
pub(crate) async fn fold(
    conn: &mut PgConnection,
    organization: OrganizationId,
    batch: &[Recorded],
) -> Result<(), FoldError> {
    let touched: Vec<AgentId> = batch
        .iter()
        .filter(|recorded| matches!(recorded.event, AnyEvent::Agent(_)))
        .map(|recorded| AgentId(recorded.aggregate_id))
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

fn plan(batch: &[Recorded], before: Vec<AgentRow>) -> Result<BTreeMap<AgentId, AgentRow>, FoldError> {
    let mut rows: BTreeMap<AgentId, AgentRow> = before.into_iter().map(|row| (row.agent_id, row)).collect();
    for recorded in batch {
        let AnyEvent::Agent(event) = &recorded.event else { continue };
        if let AgentEvent::AgentRegistered { agent_id, profile, active } = event {
            rows.insert(
                *agent_id,
                AgentRow {
                    agent_id: *agent_id,
                    profile: profile.value().cloned(),
                    active: *active,
                    version: recorded.version(),
                    created_at: recorded.occurred_at,
                    updated_at: recorded.occurred_at,
                },
            );
            continue;
        }
        let row = rows.get_mut(&AgentId(recorded.aggregate_id)).ok_or_else(|| recorded.orphan())?;
        row.version = recorded.version();
        row.updated_at = recorded.occurred_at;
        match event {
            AgentEvent::AgentRegistered { .. } => (),
            AgentEvent::AgentProfileChanged { profile } => row.profile = profile.value().cloned(),
            AgentEvent::AgentActivated {} => row.active = true,
            AgentEvent::AgentDeactivated {} => row.active = false,
        }
    }
    Ok(rows)
}

async fn write(conn: &mut PgConnection, organization: OrganizationId, row: &AgentRow) -> sqlx::Result<()> {
    let profile = row.profile.as_ref();
    let search = search_text([
        profile.map(|profile| profile.name.as_str()),
        profile.map(|profile| profile.email.as_str()),
        profile.and_then(|profile| profile.role.as_deref()),
    ]);
    sqlx::query(
        "INSERT INTO agents (organization_id, agent_id, name, email, role, active, name_key, search, version,
                             created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (organization_id, agent_id) DO UPDATE SET name = excluded.name, email = excluded.email,
             role = excluded.role, active = excluded.active, name_key = excluded.name_key,
             search = excluded.search, version = excluded.version, created_at = excluded.created_at,
             updated_at = excluded.updated_at",
    )
    .bind(organization.uuid())
    .bind(row.agent_id.uuid())
    .bind(profile.map(|profile| profile.name.as_str()))
    .bind(profile.map(|profile| profile.email.as_str()))
    .bind(profile.and_then(|profile| profile.role.as_deref()))
    .bind(row.active)
    .bind(name_key(profile))
    .bind(search)
    .bind(row.version.cast_signed())
    .bind(At(row.created_at))
    .bind(At(row.updated_at))
    .execute(conn)
    .await
    .map(drop)
}
