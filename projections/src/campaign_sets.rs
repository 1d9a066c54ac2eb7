//! One row per set of campaigns that some contact is in, with the number of such contacts.
//!
//! Contacts that are in the same campaigns share a set, and there are far fewer sets than contacts. Whatever is
//! asked about the overlap of campaigns (pairs, union, in all, in one alone) is a sum over sets, whose size does
//! not depend on the number of contacts. The id of a set is derived from its members, so that it is the same in
//! every fold. Sets contain campaigns of every status; who asks leaves out the archived ones.

use std::collections::HashMap;
use std::sync::Arc;

use docket_aggregates::ids::{CampaignId, OrganizationId};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::ReadModel;
use crate::columns::{Columns, uuids};
use crate::searchable::digest;

/// The tables written here.
pub const MODEL: ReadModel = ReadModel { name: "campaign_sets", tables: &["campaign_sets"] };

/// Names a set of campaigns by its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId(pub Uuid);

impl From<Uuid> for SetId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl From<SetId> for Uuid {
    fn from(id: SetId) -> Self {
        id.0
    }
}

impl SetId {
    /// The id of the set with these members, which must be sorted.
    pub(crate) fn of(members: &[CampaignId]) -> Self {
        let bytes: Vec<u8> = members.iter().flat_map(|campaign| campaign.uuid().into_bytes()).collect();
        Self(digest(&[b"campaigns", &bytes]))
    }
}

/// A set of campaigns and the contacts that are in exactly these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignSet {
    /// The set.
    pub set_id: SetId,
    /// Its campaigns, sorted.
    pub members: Vec<CampaignId>,
    /// How many contacts are in exactly these campaigns.
    pub n: u64,
}

/// The sets that contain at least one of `campaigns`, in no particular order.
pub async fn containing_any(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaigns: &[CampaignId],
) -> sqlx::Result<Vec<CampaignSet>> {
    let rows = sqlx::query(
        "SELECT set_id, members, n FROM campaign_sets WHERE organization_id = $1 AND members && $2",
    )
    .bind(organization.uuid())
    .bind(uuids(campaigns))
    .fetch_all(conn)
    .await?;
    rows.iter().map(row).collect()
}

/// The sets with these ids.
pub async fn by_ids(
    conn: &mut PgConnection,
    organization: OrganizationId,
    sets: &[SetId],
) -> sqlx::Result<Vec<CampaignSet>> {
    let rows = sqlx::query(
        "SELECT set_id, members, n FROM campaign_sets WHERE organization_id = $1 AND set_id = ANY($2)",
    )
    .bind(organization.uuid())
    .bind(uuids(sets))
    .fetch_all(conn)
    .await?;
    rows.iter().map(row).collect()
}

fn row(row: &sqlx::postgres::PgRow) -> sqlx::Result<CampaignSet> {
    Ok(CampaignSet {
        set_id: SetId(row.try_get("set_id")?),
        members: row.ids("members")?,
        n: row.count("n")?,
    })
}

/// The sets that a batch touches: each set once, each step from set to set once.
#[derive(Debug, Default)]
pub(crate) struct Sets {
    members: HashMap<SetId, Arc<[CampaignId]>>,
    with: HashMap<(Option<SetId>, CampaignId), SetId>,
    without: HashMap<(SetId, CampaignId), Option<SetId>>,
}

impl Sets {
    /// Makes a set known.
    pub fn learn(&mut self, set: SetId, members: Vec<CampaignId>) {
        self.members.insert(set, members.into());
    }

    /// The campaigns of a set.
    pub fn members(&self, set: Option<SetId>) -> &[CampaignId] {
        set.and_then(|set| self.members.get(&set)).map_or(&[], |members| members)
    }

    /// Whether the set contains the campaign.
    pub fn contains(&self, set: Option<SetId>, campaign: CampaignId) -> bool {
        self.members(set).binary_search(&campaign).is_ok()
    }

    /// The set with `campaign` as well.
    pub fn with(&mut self, set: Option<SetId>, campaign: CampaignId) -> SetId {
        if let Some(known) = self.with.get(&(set, campaign)) {
            return *known;
        }
        let mut members = self.members(set).to_vec();
        if let Err(place) = members.binary_search(&campaign) {
            members.insert(place, campaign);
        }
        let id = self.add(members);
        self.with.insert((set, campaign), id);
        id
    }

    /// The set without `campaign`; none when nothing is left.
    pub fn without(&mut self, set: SetId, campaign: CampaignId) -> Option<SetId> {
        if let Some(known) = self.without.get(&(set, campaign)) {
            return *known;
        }
        let members: Vec<_> =
            self.members(Some(set)).iter().copied().filter(|member| *member != campaign).collect();
        let id = if members.is_empty() { None } else { Some(self.add(members)) };
        self.without.insert((set, campaign), id);
        id
    }

    fn add(&mut self, members: Vec<CampaignId>) -> SetId {
        let id = SetId::of(&members);
        self.members.entry(id).or_insert_with(|| members.into());
        id
    }
}

/// Adds to the number of contacts of each set. A set that nobody is in any more is forgotten.
pub(crate) async fn write(
    conn: &mut PgConnection,
    organization: OrganizationId,
    sets: &Sets,
    changes: &HashMap<SetId, i64>,
) -> sqlx::Result<()> {
    let mut changes: Vec<_> = changes.iter().filter(|(_, n)| **n != 0).collect();
    if changes.is_empty() {
        return Ok(());
    }
    changes.sort_unstable();
    // An array of arrays of different lengths cannot be passed; each set goes as the text of its array.
    let members: Vec<String> = changes
        .iter()
        .map(|(set, _)| {
            let members: Vec<String> = sets.members(Some(**set)).iter().map(ToString::to_string).collect();
            format!("{{{}}}", members.join(","))
        })
        .collect();
    sqlx::query(
        "INSERT INTO campaign_sets (organization_id, set_id, members, n)
         SELECT $1, set_id, members::uuid[], n FROM UNNEST($2::uuid[], $3::text[], $4::bigint[]) AS change (set_id, members, n)
         ON CONFLICT (organization_id, set_id) DO UPDATE SET n = campaign_sets.n + excluded.n",
    )
    .bind(organization.uuid())
    .bind(changes.iter().map(|(set, _)| set.0).collect::<Vec<_>>())
    .bind(members)
    .bind(changes.iter().map(|(_, n)| **n).collect::<Vec<_>>())
    .execute(&mut *conn)
    .await?;
    let fewer: Vec<Uuid> = changes.iter().filter(|(_, n)| **n < 0).map(|(set, _)| set.0).collect();
    if !fewer.is_empty() {
        sqlx::query("DELETE FROM campaign_sets WHERE organization_id = $1 AND set_id = ANY($2) AND n = 0")
            .bind(organization.uuid())
            .bind(fewer)
            .execute(conn)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn campaign(n: u128) -> CampaignId {
        CampaignId(Uuid::from_u128(n))
    }

    #[test]
    fn a_set_is_the_same_whatever_the_order_of_joining() {
        let mut sets = Sets::default();
        let ab = {
            let a = sets.with(None, campaign(1));
            sets.with(Some(a), campaign(2))
        };
        let ba = {
            let b = sets.with(None, campaign(2));
            sets.with(Some(b), campaign(1))
        };
        assert_eq!(ab, ba);
        assert_eq!(sets.members(Some(ab)), [campaign(1), campaign(2)]);
        // Stored: another value needs a higher `FOLD_VERSION`.
        assert_eq!(ab.0.to_string(), "9c30f359-89be-6c6a-4890-2bc6d800abe8");
    }

    #[test]
    fn leaving_the_last_campaign_leaves_no_set() {
        let mut sets = Sets::default();
        let a = sets.with(None, campaign(1));
        let ab = sets.with(Some(a), campaign(2));
        assert_eq!(sets.without(ab, campaign(2)), Some(a));
        assert_eq!(sets.without(a, campaign(1)), None);
        assert_eq!(sets.without(a, campaign(9)), Some(a));
        assert!(sets.contains(Some(ab), campaign(2)) && !sets.contains(Some(a), campaign(2)));
    }
}
