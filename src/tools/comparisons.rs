//! Several campaigns side by side: how their contacts stand, and which contacts they share.

use std::collections::{BTreeMap, HashMap};

use docket_aggregates::campaign::CampaignStatus;
use docket_aggregates::ids::{AgentId, CampaignId, ContactId};
use docket_aggregates::membership::MembershipStatus;
use docket_projections::campaigns::{self, CampaignRow};
use docket_projections::contacts::ContactRow;
use docket_projections::memberships::MembershipRow;
use docket_projections::{Total, campaign_counters, contacts, memberships, overlap};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::campaigns::known_campaigns;
use super::input::{GivenCampaign, Name, distinct, named};
use super::workspace::by_name;
use super::{Draft, Refusal, ToolContext, ToolResult, tool};
use crate::readside::View;

pub(super) fn tools() -> Vec<Draft> {
    vec![
        tool!(list find_contacts_in_multiple_campaigns)
            .example("Whoever is in two campaigns or more", json!({}))
            .example(
                "In three or more, and still to be called",
                json!({ "minCampaigns": 3, "statusIn": ["new", "assigned"] }),
            ),
        tool!(read get_campaign_contact_overlap)
            .example("What the active campaigns share", json!({}))
            .example("Only pairs that share ten contacts or more", json!({ "minOverlap": 10, "limit": 5 })),
        tool!(read bulk_get_campaign_contact_counts)
            .example("How the active campaigns stand", json!({}))
            .example("By agent and source as well", json!({ "groupBy": ["status", "agent", "source"] })),
    ]
}

/// Campaigns that are compared when none is named, at most.
const EVERY_SHARED: i64 = 200;
const EVERY_OVERLAP: i64 = 50;
const EVERY_COUNTED: i64 = 100;
/// Pairs shown if nobody says.
const PAIRS: usize = 25;
/// Contacts sampled if nobody says.
const SAMPLE: u32 = 5;

/// The campaigns of these statuses, the newest first, `most` at most.
async fn every(
    view: &mut View,
    ctx: &ToolContext,
    statuses: &[CampaignStatus],
    most: i64,
) -> ToolResult<Vec<CampaignId>> {
    let mut every = campaigns::ids_by_status(view, ctx.organization(), statuses, most + 1).await?;
    if every.len() as i64 > most {
        every.truncate(most as usize);
        ctx.truncated();
        let message = format!("only the {most} newest campaigns were looked at; name campaignIds for others");
        ctx.warn("CAMPAIGNS_LEFT_OUT", message, Some("campaignIds"));
    }
    Ok(every)
}

async fn names(
    view: &mut View,
    ctx: &ToolContext,
    ids: &[CampaignId],
) -> ToolResult<HashMap<CampaignId, CampaignRow>> {
    let rows = campaigns::by_ids(view, ctx.organization(), ids).await?;
    Ok(rows.into_iter().map(|row| (row.campaign_id, row)).collect())
}

/// Find contacts that are in several campaigns at once, with where they stand in each. Use it instead of paging
/// `list_outbound_contacts` campaign by campaign. Two contacts of the same person are not one here:
/// `analyze_import_contact_deduplication` finds those.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct FindInSeveral {
    /// The campaigns to look at; every campaign that is not archived if not said.
    #[schemars(length(min = 2, max = 50))]
    campaign_ids: Option<Vec<GivenCampaign>>,
    /// In how many of them a contact must be, 2 if not said.
    #[schemars(range(min = 2, max = 50))]
    min_campaigns: Option<u32>,
    /// Only count campaigns where the contact stands here.
    #[serde(default)]
    #[schemars(length(min = 1, max = 9))]
    status_in: Vec<Name<MembershipStatus>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SharedContacts {
    /// Those in the most campaigns first; with statusIn by id.
    contacts: Vec<SharedContact>,
    /// The names of the campaigns on this page, by id.
    campaign_names: BTreeMap<Uuid, String>,
    /// How many there are in all.
    total_contacts: u64,
    /// Ids that are no campaigns of this organization.
    not_found: Vec<String>,
    /// Contacts on this page that share an address: probably the same person.
    normalized_matches: Vec<NormalizedMatch>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SharedContact {
    contact_id: Uuid,
    /// Null once erased.
    name: Option<String>,
    /// In a detailed answer.
    email: Option<String>,
    /// In a detailed answer.
    phone: Option<String>,
    campaign_count: usize,
    campaigns: Vec<Stay>,
}

/// Where a contact stands in one campaign.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Stay {
    campaign_id: Uuid,
    /// In a detailed answer; see campaignNames.
    name: Option<String>,
    status: Name<MembershipStatus>,
    assigned_agent_id: Option<Uuid>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct NormalizedMatch {
    contact_ids: Vec<Uuid>,
    /// email or phone.
    matched_on: &'static str,
}

async fn find_contacts_in_multiple_campaigns(
    ctx: ToolContext,
    input: FindInSeveral,
) -> ToolResult<SharedContacts> {
    let organization = ctx.organization();
    let least = input.min_campaigns.unwrap_or(2);
    if let Some(given) = &input.campaign_ids {
        let campaigns = distinct(given).0.len();
        if campaigns < 2 {
            return Err(Refusal::field(
                "campaignIds",
                "TOO_FEW_ITEMS",
                "must name at least 2 different campaigns",
            ));
        }
        if least as usize > campaigns {
            let message = format!("must be at most the number of campaigns, which is {campaigns}");
            return Err(Refusal::field("minCampaigns", "TOO_LARGE", message));
        }
    }
    let after = ctx.after()?;
    let mut view = ctx.view().await?;
    let (compared, not_found) = match &input.campaign_ids {
        Some(given) => known_campaigns(&mut view, &ctx, given).await?,
        None => {
            use CampaignStatus::{Active, Completed, Draft, Paused};
            (every(&mut view, &ctx, &[Draft, Active, Paused, Completed], EVERY_SHARED).await?, Vec::new())
        }
    };
    let statuses = named(&input.status_in);
    let (page, total) = overlap::contacts_in_several(
        &mut view,
        organization,
        &compared,
        least,
        &statuses,
        after.as_ref(),
        ctx.limit(),
    )
    .await?;

    let ids: Vec<ContactId> = page.rows.iter().map(|shared| shared.contact_id).collect();
    let rows: HashMap<ContactId, ContactRow> = contacts::by_ids(&mut view, organization, &ids)
        .await?
        .into_iter()
        .map(|row| (row.contact_id, row))
        .collect();
    let mut stays: HashMap<ContactId, Vec<MembershipRow>> = HashMap::new();
    for stay in memberships::of_contacts(&mut view, organization, &ids, Some(&compared)).await? {
        stays.entry(stay.contact_id).or_default().push(stay);
    }
    let campaigns = names(&mut view, &ctx, &compared).await?;
    let mut contacts: Vec<SharedContact> = page
        .rows
        .iter()
        .map(|shared| {
            let row = rows.get(&shared.contact_id);
            let profile = row.and_then(|row| row.profile.as_ref());
            let campaigns = stays
                .remove(&shared.contact_id)
                .unwrap_or_default()
                .into_iter()
                .filter(|stay| shared.campaign_ids.contains(&stay.campaign_id))
                .map(|stay| Stay {
                    campaign_id: stay.campaign_id.uuid(),
                    name: campaigns.get(&stay.campaign_id).map(|row| row.name().to_owned()),
                    status: Name(stay.status),
                    assigned_agent_id: stay.agent_id.map(AgentId::uuid),
                })
                .collect();
            SharedContact {
                contact_id: shared.contact_id.uuid(),
                name: row.and_then(ContactRow::display_name),
                email: profile.and_then(|profile| profile.email.clone()),
                phone: profile.and_then(|profile| profile.phone.clone()),
                campaign_count: shared.campaign_ids.len(),
                campaigns,
            }
        })
        .collect();
    let normalized_matches = same_address(&contacts);
    let mut campaign_names = BTreeMap::new();
    for stay in contacts.iter_mut().flat_map(|contact| &mut contact.campaigns) {
        // A name that stands beside every contact again is most of the answer.
        let name = if ctx.detailed() { stay.name.clone() } else { stay.name.take() };
        campaign_names.entry(stay.campaign_id).or_insert(name.unwrap_or_default());
    }
    if !ctx.detailed() {
        for contact in &mut contacts {
            (contact.email, contact.phone) = (None, None);
        }
    }
    ctx.paginate(page.next, Total::Exactly(total))?;
    Ok(SharedContacts { contacts, campaign_names, total_contacts: total, not_found, normalized_matches })
}

fn same_address(contacts: &[SharedContact]) -> Vec<NormalizedMatch> {
    let by = |matched_on: &'static str, address: fn(&SharedContact) -> Option<String>| {
        let mut groups: BTreeMap<String, Vec<Uuid>> = BTreeMap::new();
        for contact in contacts {
            if let Some(address) = address(contact) {
                groups.entry(address).or_default().push(contact.contact_id);
            }
        }
        groups
            .into_values()
            .filter(|contact_ids| contact_ids.len() > 1)
            .map(move |contact_ids| NormalizedMatch { contact_ids, matched_on })
            .collect::<Vec<_>>()
    };
    let mut matches = by("email", |contact| contact.email.as_deref().map(str::to_lowercase));
    matches.extend(by("phone", |contact| contact.phone.clone()));
    matches
}

/// See how many contacts campaigns share, pair by pair, with what is in all of them and in one alone. Cheap at any size;
/// for the contacts themselves use `find_contacts_in_multiple_campaigns`.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct GetOverlap {
    /// The campaigns; every active one if not said.
    #[schemars(length(min = 2, max = 50))]
    campaign_ids: Option<Vec<GivenCampaign>>,
    /// Leave out pairs that share fewer contacts.
    #[schemars(range(min = 0))]
    min_overlap: Option<u64>,
    /// Pairs to answer at most, 25 if not said.
    #[schemars(range(min = 1, max = 1225))]
    limit: Option<usize>,
    /// Contacts to show as a sample of those in several campaigns, 5 if not said.
    #[schemars(range(min = 0, max = 100))]
    sample_size: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct OverlapShown {
    campaigns: Vec<CampaignOverlap>,
    /// Those that share the most first.
    pairs: Vec<Pair>,
    /// Pairs that fulfil minOverlap, shown or not.
    pair_count: usize,
    /// Contacts that are in all of the campaigns.
    in_all: u64,
    /// Contacts that are in any of them.
    union: u64,
    /// Some contacts that are in several of them.
    sample: Vec<Contact>,
    /// Ids that are no campaigns of this organization.
    not_found: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CampaignOverlap {
    campaign_id: Uuid,
    name: String,
    total: u64,
    /// Contacts that are in none of the others.
    exclusive: u64,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Pair {
    a: Uuid,
    b: Uuid,
    overlap: u64,
    /// Share of the contacts of a, in per cent; 0 where it has none.
    pct_of_a: f64,
    pct_of_b: f64,
    /// Shared contacts by contacts in either, from 0 to 1.
    jaccard: f64,
}

/// A contact by name.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Contact {
    /// Its id.
    pub contact_id: Uuid,
    /// What a person would call it; null once erased.
    pub name: Option<String>,
}

/// The contacts by name, in the order given.
pub async fn called(view: &mut View, ctx: &ToolContext, ids: &[ContactId]) -> ToolResult<Vec<Contact>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows: HashMap<ContactId, ContactRow> = contacts::by_ids(view, ctx.organization(), ids)
        .await?
        .into_iter()
        .map(|row| (row.contact_id, row))
        .collect();
    Ok(ids
        .iter()
        .map(|id| Contact { contact_id: id.uuid(), name: rows.get(id).and_then(ContactRow::display_name) })
        .collect())
}

async fn get_campaign_contact_overlap(ctx: ToolContext, input: GetOverlap) -> ToolResult<OverlapShown> {
    if let Some(given) = &input.campaign_ids
        && distinct(given).0.len() < 2
    {
        return Err(Refusal::field(
            "campaignIds",
            "TOO_FEW_ITEMS",
            "must name at least 2 different campaigns",
        ));
    }
    let mut view = ctx.view().await?;
    let (compared, not_found) = match &input.campaign_ids {
        Some(given) => known_campaigns(&mut view, &ctx, given).await?,
        None => (every(&mut view, &ctx, &[CampaignStatus::Active], EVERY_OVERLAP).await?, Vec::new()),
    };
    let sample = input.sample_size.unwrap_or(SAMPLE);
    let found = overlap::overlap(&mut view, ctx.organization(), &compared, sample).await?;
    let campaigns = names(&mut view, &ctx, &compared).await?;
    let totals: HashMap<CampaignId, u64> =
        found.campaigns.iter().map(|campaign| (campaign.campaign_id, campaign.total)).collect();

    let mut pairs: Vec<Pair> = found
        .pairs
        .iter()
        .filter(|pair| pair.overlap >= input.min_overlap.unwrap_or(0))
        .map(|pair| {
            let total = |id: CampaignId| totals.get(&id).copied().unwrap_or(0);
            let (a, b) = (total(pair.a), total(pair.b));
            Pair {
                a: pair.a.uuid(),
                b: pair.b.uuid(),
                overlap: pair.overlap,
                pct_of_a: rounded(100.0 * share(pair.overlap, a), 100.0),
                pct_of_b: rounded(100.0 * share(pair.overlap, b), 100.0),
                jaccard: rounded(share(pair.overlap, a + b - pair.overlap), 10_000.0),
            }
        })
        .collect();
    pairs.sort_by_key(|pair| std::cmp::Reverse(pair.overlap));
    let pair_count = pairs.len();
    if pair_count > input.limit.unwrap_or(PAIRS) {
        pairs.truncate(input.limit.unwrap_or(PAIRS));
        ctx.truncated();
    }
    Ok(OverlapShown {
        campaigns: found
            .campaigns
            .iter()
            .map(|campaign| CampaignOverlap {
                campaign_id: campaign.campaign_id.uuid(),
                name: campaigns
                    .get(&campaign.campaign_id)
                    .map(|row| row.name().to_owned())
                    .unwrap_or_default(),
                total: campaign.total,
                exclusive: campaign.exclusive,
            })
            .collect(),
        pairs,
        pair_count,
        in_all: if compared.is_empty() { 0 } else { found.in_all },
        union: found.union,
        sample: called(&mut view, &ctx, &found.sample).await?,
        not_found,
    })
}

/// A part of a whole; 0 of nothing.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

/// Count the contacts of up to 100 campaigns at once: in all, assigned or not, by status and if asked for by agent and
/// source. Use it instead of paging `list_outbound_contacts`.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct GetCounts {
    /// The campaigns; every active one if not said.
    #[schemars(length(min = 1, max = 100))]
    campaign_ids: Option<Vec<GivenCampaign>>,
    /// What to count by beside the status.
    #[serde(default)]
    #[schemars(length(max = 3))]
    group_by: Vec<GroupBy>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum GroupBy {
    Status,
    Agent,
    Source,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CountsShown {
    /// In the order in which the campaigns were given.
    counts: Vec<ContactCounts>,
    /// Ids that are no campaigns of this organization.
    not_found: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ContactCounts {
    campaign_id: Uuid,
    total: u64,
    assigned: u64,
    unassigned: u64,
    by_status: BTreeMap<&'static str, u64>,
    /// By agentId, and unassigned.
    by_agent: Option<BTreeMap<String, u64>>,
    /// By where the contact came from: crm, `import_folder`.
    by_source: Option<BTreeMap<&'static str, u64>>,
}

async fn bulk_get_campaign_contact_counts(ctx: ToolContext, input: GetCounts) -> ToolResult<CountsShown> {
    let mut view = ctx.view().await?;
    let (counted, not_found) = match &input.campaign_ids {
        Some(given) => known_campaigns(&mut view, &ctx, given).await?,
        None => (every(&mut view, &ctx, &[CampaignStatus::Active], EVERY_COUNTED).await?, Vec::new()),
    };
    let (by_agent, by_source) =
        (input.group_by.contains(&GroupBy::Agent), input.group_by.contains(&GroupBy::Source));
    let counts = campaign_counters::of_campaigns(&mut view, ctx.organization(), &counted).await?;
    let counts = counts
        .into_iter()
        .map(|counts| ContactCounts {
            campaign_id: counts.campaign_id.uuid(),
            total: counts.total,
            assigned: counts.assigned,
            unassigned: counts.unassigned(),
            by_status: by_name(&counts.by_status),
            by_agent: by_agent.then(|| {
                let mut by: BTreeMap<String, u64> =
                    counts.by_agent.iter().map(|(agent, n)| (agent.to_string(), *n)).collect();
                by.insert("unassigned".to_owned(), counts.unassigned());
                by
            }),
            by_source: by_source.then(|| by_name(&counts.by_source)),
        })
        .collect();
    Ok(CountsShown { counts, not_found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_nothing_is_nothing() {
        for (part, whole, expected) in [(0, 0, 0.0), (1, 3, 33.33), (3, 3, 100.0)] {
            assert!((rounded(100.0 * share(part, whole), 100.0) - expected).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn contacts_that_share_an_address_are_pointed_out() {
        let contact = |n: u128, email: &str| SharedContact {
            contact_id: Uuid::from_u128(n),
            name: None,
            email: Some(email.to_owned()),
            phone: None,
            campaign_count: 2,
            campaigns: vec![],
        };
        let matches = same_address(&[contact(1, "A@x.com"), contact(2, "b@x.com"), contact(3, "a@x.com")]);
        assert_eq!(matches.len(), 1);
        assert_eq!(matches[0].contact_ids, [Uuid::from_u128(1), Uuid::from_u128(3)]);
    }
}
