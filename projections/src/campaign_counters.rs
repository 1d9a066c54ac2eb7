//! How many memberships there are of each kind: a cube of campaign, caller, status and source.
//!
//! Whatever is counted by campaign, status, caller or source, and every caller's load, is a sum over a few of these
//! rows, never over the memberships. A counter that reaches zero is deleted, so that the rows depend on the
//! memberships alone and not on how they came about.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;

use docket_aggregates::AnyEvent;
use docket_aggregates::ids::{AgentId, CampaignId, OrganizationId};
use docket_aggregates::membership::MembershipStatus;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::columns::{Columns, uuids};
use crate::memberships::{ContactSource, status_code, status_column};
use crate::{ReadModel, stays};

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "campaign_counters", tables: &["campaign_counters"] };

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// The campaign.
    pub campaign_id: CampaignId,
    /// Whose the contact is; none for nobody's.
    pub agent_id: Option<AgentId>,
    /// Where it stands.
    pub status: MembershipStatus,
    /// Where the contact came from.
    pub source: ContactSource,
}

/// Memberships of one campaign, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CampaignCounts {
    /// The campaign.
    pub campaign_id: CampaignId,
    /// All of them.
    pub total: u64,
    /// Those that belong to a caller.
    pub assigned: u64,
    /// By status; statuses that nobody is in are left out.
    pub by_status: BTreeMap<MembershipStatus, u64>,
    /// By caller; callers without any are left out.
    pub by_agent: BTreeMap<AgentId, u64>,
    /// By where the contact came from.
    pub by_source: BTreeMap<ContactSource, u64>,
}

impl CampaignCounts {
    /// Those that belong to nobody.
    pub fn unassigned(&self) -> u64 {
        self.total - self.assigned
    }
}

/// How many contacts a campaign has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// All of them.
    pub contacts: u64,
    /// Those that belong to a caller.
    pub assigned: u64,
}

/// Two columns for a statement that asks for more at the same time: how many contacts each campaign of `$2` has, in that
/// order, and how many of them belong to a caller. `$1` is the organization.
pub const TOTALS: &str = "
    ARRAY(SELECT (SELECT coalesce(sum(n), 0)::bigint FROM campaign_counters
                  WHERE organization_id = $1 AND campaign_id = asked.id)
          FROM unnest($2::uuid[]) WITH ORDINALITY AS asked (id, place) ORDER BY place),
    ARRAY(SELECT (SELECT coalesce(sum(n), 0)::bigint FROM campaign_counters
                  WHERE organization_id = $1 AND campaign_id = asked.id
                      AND agent_id <> '00000000-0000-0000-0000-000000000000')
          FROM unnest($2::uuid[]) WITH ORDINALITY AS asked (id, place) ORDER BY place)";

/// What the two columns of [`TOTALS`] say.
pub fn totals_of(contacts: &[i64], assigned: &[i64]) -> Vec<Totals> {
    let count = |n: &i64| n.max(&0).unsigned_abs();
    let both = contacts.iter().zip(assigned);
    both.map(|(contacts, assigned)| Totals { contacts: count(contacts), assigned: count(assigned) }).collect()
}

/// How many contacts each campaign has, in the order given.
pub async fn totals(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaigns: &[CampaignId],
) -> sqlx::Result<Vec<Totals>> {
    let statement = format!("SELECT {TOTALS}");
    let asked = sqlx::query_as(&statement).bind(organization.uuid()).bind(uuids(campaigns));
    let (contacts, assigned): (Vec<i64>, Vec<i64>) = asked.fetch_one(conn).await?;
    Ok(totals_of(&contacts, &assigned))
}

/// How many contacts one campaign has.
pub async fn totals_of_one(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaign: CampaignId,
) -> sqlx::Result<Totals> {
    Ok(totals(conn, organization, &[campaign]).await?.pop().unwrap_or_default())
}

/// The counts of each of `campaigns`, in the order given; zeros for one without contacts.
pub async fn of_campaigns(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaigns: &[CampaignId],
) -> sqlx::Result<Vec<CampaignCounts>> {
    let cube = cube(conn, organization, Some(campaigns), None).await?;
    let mut counts: HashMap<CampaignId, CampaignCounts> = HashMap::new();
    for (kind, n) in cube {
        add(counts.entry(kind.campaign_id).or_default(), &kind, n);
    }
    Ok(campaigns
        .iter()
        .map(|campaign| {
            let counted = counts.get(campaign).cloned().unwrap_or_default();
            CampaignCounts { campaign_id: *campaign, ..counted }
        })
        .collect())
}

/// Every membership of the organization, counted; `campaign_id` is nil.
pub async fn of_organization(
    conn: &mut PgConnection,
    organization: OrganizationId,
) -> sqlx::Result<CampaignCounts> {
    let mut counts = CampaignCounts::default();
    for (kind, n) in cube(conn, organization, None, None).await? {
        add(&mut counts, &kind, n);
    }
    Ok(counts)
}

fn add(counts: &mut CampaignCounts, kind: &Kind, n: u64) {
    counts.total += n;
    *counts.by_status.entry(kind.status).or_default() += n;
    *counts.by_source.entry(kind.source).or_default() += n;
    if let Some(agent) = kind.agent_id {
        counts.assigned += n;
        *counts.by_agent.entry(agent).or_default() += n;
    }
}

/// The counters, of all or some campaigns and callers.
pub async fn cube(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaigns: Option<&[CampaignId]>,
    agents: Option<&[AgentId]>,
) -> sqlx::Result<Vec<(Kind, u64)>> {
    let rows = sqlx::query(
        "SELECT campaign_id, agent_id, status, imported, n FROM campaign_counters
         WHERE organization_id = $1
           AND ($2::uuid[] IS NULL OR campaign_id = ANY($2))
           AND ($3::uuid[] IS NULL OR agent_id = ANY($3))",
    )
    .persistent(false)
    .bind(organization.uuid())
    .bind(campaigns.map(uuids))
    .bind(agents.map(uuids))
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            let agent_id: AgentId = row.id("agent_id")?;
            let kind = Kind {
                campaign_id: row.id("campaign_id")?,
                agent_id: (agent_id.uuid() != Uuid::nil()).then_some(agent_id),
                status: status_column(row, "status")?,
                source: ContactSource::column(row, "imported")?,
            };
            Ok((kind, row.count("n")?))
        })
        .collect()
}

/// How many contacts with work still to do each of `agents` has, over all campaigns, in the order given.
pub async fn open_loads(
    conn: &mut PgConnection,
    organization: OrganizationId,
    agents: &[AgentId],
) -> sqlx::Result<Vec<u64>> {
    let mut loads: HashMap<AgentId, u64> = HashMap::new();
    for (kind, n) in cube(conn, organization, None, Some(agents)).await? {
        if let (Some(agent), true) = (kind.agent_id, kind.status.open()) {
            *loads.entry(agent).or_default() += n;
        }
    }
    Ok(agents.iter().map(|agent| loads.get(agent).copied().unwrap_or(0)).collect())
}

/// Whether an event of this stored type may change a counter; one that this version does not know may.
pub fn changed_by(event_type: &str) -> bool {
    stays::moves(event_type) || !KNOWN.contains(event_type)
}

/// The events that this version knows.
static KNOWN: LazyLock<HashSet<&str>> =
    LazyLock::new(|| AnyEvent::stored().into_iter().map(|(_, event_type, _)| event_type).collect());

/// Adds to the counters.
pub(crate) async fn write(
    conn: &mut PgConnection,
    organization: OrganizationId,
    changes: &HashMap<Kind, i64>,
) -> sqlx::Result<()> {
    let mut changes: Vec<(Kind, i64)> =
        changes.iter().filter(|(_, n)| **n != 0).map(|(kind, n)| (*kind, *n)).collect();
    if changes.is_empty() {
        return Ok(());
    }
    changes.sort_unstable();
    let columns = |changes: &[(Kind, i64)]| {
        let agent = |kind: &Kind| kind.agent_id.map_or(Uuid::nil(), AgentId::uuid);
        (
            changes.iter().map(|(kind, _)| kind.campaign_id.uuid()).collect::<Vec<_>>(),
            changes.iter().map(|(kind, _)| agent(kind)).collect::<Vec<_>>(),
            changes.iter().map(|(kind, _)| status_code(kind.status)).collect::<Vec<_>>(),
            changes.iter().map(|(kind, _)| kind.source.imported()).collect::<Vec<_>>(),
            changes.iter().map(|(_, n)| *n).collect::<Vec<_>>(),
        )
    };
    let (campaigns, agents, statuses, imported, n) = columns(&changes);
    sqlx::query(
        "INSERT INTO campaign_counters (organization_id, campaign_id, agent_id, status, imported, n)
         SELECT $1, * FROM UNNEST($2::uuid[], $3::uuid[], $4::smallint[], $5::boolean[], $6::bigint[])
         ON CONFLICT (organization_id, campaign_id, agent_id, status, imported)
         DO UPDATE SET n = campaign_counters.n + excluded.n",
    )
    .bind(organization.uuid())
    .bind(campaigns)
    .bind(agents)
    .bind(statuses)
    .bind(imported)
    .bind(n)
    .execute(&mut *conn)
    .await?;
    changes.retain(|(_, n)| *n < 0);
    if !changes.is_empty() {
        let (campaigns, agents, statuses, imported, _) = columns(&changes);
        sqlx::query(
            "DELETE FROM campaign_counters USING
                 UNNEST($2::uuid[], $3::uuid[], $4::smallint[], $5::boolean[]) AS fewer (campaign, agent, status, imported)
             WHERE organization_id = $1 AND campaign_id = fewer.campaign AND agent_id = fewer.agent
               AND campaign_counters.status = fewer.status AND campaign_counters.imported = fewer.imported AND n = 0",
        )
        .bind(organization.uuid())
        .bind(campaigns)
        .bind(agents)
        .bind(statuses)
        .bind(imported)
        .execute(conn)
        .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_version_knows_may_change_a_counter() {
        for (event_type, may) in [
            ("ContactsAdded", true),
            ("CallLogged", true),
            ("ContactOptedOut", true),
            ("CampaignReworded", false),
            ("ContactCreated", false),
            ("FromTheFuture", true),
        ] {
            assert_eq!(changed_by(event_type), may, "{event_type}");
        }
    }
}
