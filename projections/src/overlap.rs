//! Which contacts several campaigns share: sums over sets of campaigns, never over contacts.

use std::cmp::Reverse;
use std::collections::HashMap;

use docket_aggregates::ids::{CampaignId, ContactId, OrganizationId};
use docket_aggregates::membership::MembershipStatus;
use sqlx::{PgConnection, Row};

use crate::campaign_sets::{self, CampaignSet, SetId};
use crate::columns::{Columns, uuids};
use crate::contact_sets;
use crate::memberships::status_codes;
use crate::page::{Keyset, Page, SortValue};

/// Campaigns that can be compared at once: one bit each.
pub const MOST: usize = 64;

/// What some campaigns share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlap {
    /// Each campaign, in the order given.
    pub campaigns: Vec<CampaignOverlap>,
    /// Every pair of them, in the order given: n(n−1)/2.
    pub pairs: Vec<PairOverlap>,
    /// Contacts that are in all of them.
    pub in_all: u64,
    /// Contacts that are in any of them.
    pub union: u64,
    /// Some contacts that are in several of them, those in the most first.
    pub sample: Vec<ContactId>,
}

/// One of the campaigns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CampaignOverlap {
    /// The campaign.
    pub campaign_id: CampaignId,
    /// Contacts in it.
    pub total: u64,
    /// Those of them that are in none of the other ones given.
    pub exclusive: u64,
}

/// Two of the campaigns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairOverlap {
    /// The one given first.
    pub a: CampaignId,
    /// The other.
    pub b: CampaignId,
    /// Contacts in both.
    pub overlap: u64,
}

/// What `campaigns` share, repeats left out, of which the first [`MOST`] count.
pub async fn overlap(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaigns: &[CampaignId],
    sample: u32,
) -> sqlx::Result<Overlap> {
    let campaigns = distinct(campaigns);
    let sets = campaign_sets::containing_any(conn, organization, &campaigns).await?;
    let mut overlap = add_up(&campaigns, &sets);
    if sample > 0 {
        let shared = shared_sets(&campaigns, &sets, 2);
        overlap.sample = members(conn, organization, &shared, None, sample)
            .await?
            .rows
            .into_iter()
            .map(|shared| shared.contact_id)
            .collect();
    }
    Ok(overlap)
}

fn distinct(campaigns: &[CampaignId]) -> Vec<CampaignId> {
    let mut seen = std::collections::HashSet::new();
    campaigns.iter().copied().filter(|campaign| seen.insert(*campaign)).take(MOST).collect()
}

/// Which of `campaigns` the set contains, one bit each.
fn mask(place: &HashMap<CampaignId, usize>, set: &CampaignSet) -> u64 {
    set.members.iter().filter_map(|member| place.get(member)).fold(0, |mask, bit| mask | 1 << bit)
}

fn places(campaigns: &[CampaignId]) -> HashMap<CampaignId, usize> {
    campaigns.iter().enumerate().map(|(place, campaign)| (*campaign, place)).collect()
}

fn add_up(campaigns: &[CampaignId], sets: &[CampaignSet]) -> Overlap {
    let place = places(campaigns);
    let mut masks: HashMap<u64, u64> = HashMap::new();
    for set in sets {
        *masks.entry(mask(&place, set)).or_default() += set.n;
    }
    masks.remove(&0);
    let sum = |wanted: &dyn Fn(u64) -> bool| -> u64 {
        masks.iter().filter(|(mask, _)| wanted(**mask)).map(|(_, n)| n).sum()
    };
    let pairs = (0..campaigns.len())
        .flat_map(|a| (a + 1..campaigns.len()).map(move |b| (a, b)))
        .map(|(a, b)| {
            let both = 1 << a | 1 << b;
            PairOverlap { a: campaigns[a], b: campaigns[b], overlap: sum(&|mask| mask & both == both) }
        })
        .collect();
    Overlap {
        campaigns: campaigns
            .iter()
            .enumerate()
            .map(|(place, campaign)| CampaignOverlap {
                campaign_id: *campaign,
                total: sum(&|mask| mask & (1 << place) != 0),
                exclusive: sum(&|mask| mask == 1 << place),
            })
            .collect(),
        pairs,
        in_all: sum(&|mask| mask.count_ones() as usize == campaigns.len()),
        union: sum(&|_| true),
        sample: Vec::new(),
    }
}

/// A contact that several campaigns share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedContact {
    /// The contact.
    pub contact_id: ContactId,
    /// Those of the campaigns given that it is in; with a filter on status, those where it has such a status.
    pub campaign_ids: Vec<CampaignId>,
}

/// Contacts that are in at least `least` of `campaigns` (2 or more), and how many there are.
///
/// Without a status they come with those in the most campaigns first. With a status only memberships of that
/// status count, which needs a look at every one of them; then they come by id.
pub async fn contacts_in_several(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaigns: &[CampaignId],
    least: u32,
    statuses: &[MembershipStatus],
    after: Option<&Keyset>,
    limit: u32,
) -> sqlx::Result<(Page<SharedContact>, u64)> {
    let least = least.max(2);
    if !statuses.is_empty() {
        return with_status(conn, organization, campaigns, least, statuses, after, limit).await;
    }
    let sets = campaign_sets::containing_any(conn, organization, campaigns).await?;
    let shared = shared_sets(campaigns, &sets, least);
    let total = shared.iter().map(|set| set.n).sum();
    Ok((members(conn, organization, &shared, after, limit).await?, total))
}

/// A set with at least so many of the campaigns asked for, and which of them these are.
struct SharedSet {
    set_id: SetId,
    campaigns: Vec<CampaignId>,
    n: u64,
}

/// The sets that contain enough of `campaigns`, those with the most first.
fn shared_sets(campaigns: &[CampaignId], sets: &[CampaignSet], least: u32) -> Vec<SharedSet> {
    let wanted: std::collections::HashSet<CampaignId> = campaigns.iter().copied().collect();
    let mut shared: Vec<SharedSet> = sets
        .iter()
        .map(|set| SharedSet {
            set_id: set.set_id,
            campaigns: set.members.iter().copied().filter(|member| wanted.contains(member)).collect(),
            n: set.n,
        })
        .filter(|set| set.campaigns.len() >= least as usize)
        .collect();
    shared.sort_unstable_by_key(|set| (Reverse(set.campaigns.len()), set.set_id));
    shared
}

/// A page of the contacts of `sets`, set by set.
///
/// The key of a page is the number of campaigns and the set of its last contact, then the contact: a contact whose
/// campaigns did not change keeps its place whatever happens to the others.
async fn members(
    conn: &mut PgConnection,
    organization: OrganizationId,
    sets: &[SharedSet],
    after: Option<&Keyset>,
    limit: u32,
) -> sqlx::Result<Page<SharedContact>> {
    let empty = Page { rows: Vec::new(), next: None };
    let (mut rest, mut first_after) = (sets, None);
    if let Some(after) = after {
        let (Some(SortValue::Number(count)), Some(SortValue::Id(set))) = (&after.value, &after.then) else {
            return Ok(empty);
        };
        let key = (Reverse(usize::try_from(*count).unwrap_or(0)), SetId(*set));
        let place = sets.partition_point(|set| (Reverse(set.campaigns.len()), set.set_id) < key);
        rest = &sets[place..];
        if rest.first().is_some_and(|first| first.set_id == key.1) {
            first_after = Some(ContactId(after.id));
        }
    }
    // The first set may be nearly used up; the ones after it are whole. So many are enough.
    let mut enough = 1;
    let mut held = 0;
    while enough < rest.len() && held <= u64::from(limit) {
        held += rest[enough].n;
        enough += 1;
    }
    let Some(wanted) = rest.get(..enough.min(rest.len())).filter(|wanted| !wanted.is_empty()) else {
        return Ok(empty);
    };
    let ids: Vec<SetId> = wanted.iter().map(|set| set.set_id).collect();
    let found = contact_sets::members_of(conn, organization, &ids, first_after, i64::from(limit) + 1).await?;
    let campaigns: HashMap<SetId, &Vec<CampaignId>> =
        wanted.iter().map(|set| (set.set_id, &set.campaigns)).collect();
    let page = Page::of(found, limit, |(set, contact)| Keyset {
        value: Some(SortValue::Number(campaigns.get(set).map_or(0, |campaigns| campaigns.len() as i64))),
        then: Some(SortValue::Id(set.0)),
        id: contact.uuid(),
    });
    let rows = page
        .rows
        .iter()
        .map(|(set, contact)| SharedContact {
            contact_id: *contact,
            campaign_ids: campaigns.get(set).map(|campaigns| campaigns.to_vec()).unwrap_or_default(),
        })
        .collect();
    Ok(page.with(rows))
}

async fn with_status(
    conn: &mut PgConnection,
    organization: OrganizationId,
    campaigns: &[CampaignId],
    least: u32,
    statuses: &[MembershipStatus],
    after: Option<&Keyset>,
    limit: u32,
) -> sqlx::Result<(Page<SharedContact>, u64)> {
    let rows = sqlx::query(
        "WITH shared AS MATERIALIZED (
             SELECT contact_id, array_agg(campaign_id ORDER BY campaign_id) AS campaigns FROM memberships
             WHERE organization_id = $1 AND campaign_id = ANY($2) AND status = ANY($3)
             GROUP BY contact_id HAVING count(*) >= $4)
         SELECT NULL::uuid AS contact_id, NULL::uuid[] AS campaigns, count(*) AS n FROM shared
         UNION ALL
         (SELECT contact_id, campaigns, NULL FROM shared WHERE $5::uuid IS NULL OR contact_id > $5
          ORDER BY contact_id LIMIT $6)",
    )
    .persistent(false)
    .bind(organization.uuid())
    .bind(uuids(campaigns))
    .bind(status_codes(statuses))
    .bind(i64::from(least))
    .bind(after.map(|after| after.id))
    .bind(i64::from(limit) + 1)
    .fetch_all(conn)
    .await?;
    let mut total = 0;
    let mut shared = Vec::with_capacity(rows.len());
    for row in &rows {
        if let Some(n) = row.try_get::<Option<i64>, _>("n")? {
            total = n.max(0).cast_unsigned();
        } else {
            let contact_id = row.id("contact_id")?;
            shared.push(SharedContact { contact_id, campaign_ids: row.ids("campaigns")? });
        }
    }
    shared.sort_unstable_by_key(|contact| contact.contact_id);
    Ok((Page::of(shared, limit, |contact| Keyset::id(contact.contact_id)), total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn campaign(n: u128) -> CampaignId {
        CampaignId(Uuid::from_u128(n))
    }

    fn set(members: &[u128], n: u64) -> CampaignSet {
        let members: Vec<_> = members.iter().map(|n| campaign(*n)).collect();
        CampaignSet { set_id: SetId::of(&members), members, n }
    }

    #[test]
    fn the_parts_add_up() {
        let sets = [set(&[1], 5), set(&[1, 2], 3), set(&[1, 2, 3, 9], 2), set(&[9], 7), set(&[2, 9], 1)];
        let overlap = add_up(&[campaign(1), campaign(2), campaign(3)], &sets);
        let totals: Vec<_> = overlap.campaigns.iter().map(|of| (of.total, of.exclusive)).collect();
        assert_eq!(totals, [(10, 5), (6, 1), (2, 0)]);
        let pairs: Vec<_> = overlap.pairs.iter().map(|pair| pair.overlap).collect();
        assert_eq!(pairs, [5, 2, 2]);
        assert_eq!((overlap.in_all, overlap.union), (2, 11));
    }

    #[test]
    fn two_campaigns_obey_inclusion_and_exclusion() {
        let sets = [set(&[1], 5), set(&[1, 2], 3), set(&[2], 4)];
        let overlap = add_up(&[campaign(2), campaign(1)], &sets);
        let [a, b] = overlap.campaigns[..] else { panic!("two were asked for") };
        assert_eq!(overlap.union, a.total + b.total - overlap.pairs[0].overlap);
    }

    #[test]
    fn campaigns_that_share_nothing_are_zeros() {
        let overlap = add_up(&[campaign(1), campaign(2)], &[]);
        assert_eq!(
            overlap.campaigns[0],
            CampaignOverlap { campaign_id: campaign(1), total: 0, exclusive: 0 }
        );
        assert_eq!((overlap.in_all, overlap.union, overlap.pairs[0].overlap), (0, 0, 0));
    }

    #[test]
    fn contacts_in_the_most_campaigns_come_first() {
        let sets = [set(&[1, 2], 1), set(&[1, 2, 3], 1), set(&[1, 9], 1)];
        let shared = shared_sets(&[campaign(1), campaign(2), campaign(3)], &sets, 2);
        assert_eq!(shared.iter().map(|set| set.campaigns.len()).collect::<Vec<_>>(), [3, 2]);
    }
}
