//! Many contacts at once: into a campaign, out of it, to agents.
//!
//! A selection is resolved in one view of the read models, at a known version of the campaign's roster; what is
//! recorded names every contact, and is recorded only if the roster still stands at that version. Two calls that race
//! are therefore one after the other: no contact is added twice, and none is given to two agents.
//!
//! In every answer `matched = applied + skipped`, and each skipped contact has a reason.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use docket_aggregates::Decides;
use docket_aggregates::agent::Agent;
use docket_aggregates::campaign::Campaign;
use docket_aggregates::follow_up::{FollowUp, FollowUpEvent};
use docket_aggregates::ids::{AgentId, CampaignId, ContactId, ImportId};
use docket_aggregates::membership::MembershipStatus;
use docket_aggregates::roster::{Roster, RosterCommand, Spread, distribute};
use docket_projections::agents::AgentRow;
use docket_projections::campaigns::CampaignListed;
use docket_projections::follow_ups::PendingFollowUp;
use docket_projections::memberships::{self, MembershipFilter, Selected};
use docket_projections::selection::{self, Against, Candidate, ContactFilter};
use docket_projections::{agents, calls, campaign_counters, contacts, follow_ups, rosters};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::campaigns::{found, in_order};
use super::comparisons::{Contact, called};
use super::contacts::folder_found;
use super::input::{
    Given, GivenAgent, GivenCampaign, GivenContact, Moment, Name, Source, distinct, ids, named,
};
use super::workspace::FollowUps;
use super::{AGENT_ID, CAMPAIGN_ID, Confirm, Draft, Effects, Kind, Mint, Plan, Refusal, ToolContext, ToolResult, tool};
use crate::ledger::{Guard, Stream, Write};
use crate::readside::View;

pub(super) fn tools() -> Vec<Draft> {
    vec![
        tool!(BulkWrite bulk_add_contacts_to_campaign_by_filter)
            .repeatable()
            .confirmed(Confirm::With("assignToAgentIds"))
            .example(
                "Everybody in Lyon with a phone number, tried out first",
                json!({
                    "campaignId": CAMPAIGN_ID,
                    "filter": { "source": "crm", "city": "Lyon", "hasPhone": true },
                    "dryRun": true,
                }),
            )
            .example(
                "The first hundred who are in no active campaign",
                json!({
                    "campaignId": CAMPAIGN_ID,
                    "filter": { "source": "crm" },
                    "maxContacts": 100,
                    "skipIfInAnyActiveCampaign": true,
                }),
            ),
        tool!(Destructive bulk_remove_contacts_from_campaign)
            .repeatable()
            .confirmed(Confirm::Always)
            .example(
                "What removing whoever is unreachable would mean",
                json!({ "campaignId": CAMPAIGN_ID, "filter": { "statusIn": ["unreachable"] }, "dryRun": true }),
            )
            .example(
                "Remove whoever said no, keep the follow-ups",
                json!({
                    "campaignId": CAMPAIGN_ID,
                    "filter": { "statusIn": ["not_interested"] },
                    "cancelFollowUps": false,
                    "confirm": true,
                }),
            ),
        tool!(BulkWrite bulk_assign_campaign_contacts)
            .repeatable()
            .confirmed(Confirm::Always)
            .example(
                "See who would get whom",
                json!({ "campaignId": CAMPAIGN_ID, "agentIds": [AGENT_ID], "dryRun": true }),
            )
            .example(
                "Even out the load, fifty open contacts each at most",
                json!({
                    "campaignId": CAMPAIGN_ID,
                    "agentIds": [AGENT_ID],
                    "strategy": "least_loaded",
                    "maxPerAgent": 50,
                    "confirm": true,
                }),
            ),
    ]
}

/// Contacts that one call looks at, at most.
const LOOKED_AT: i64 = 1_000_000;
/// Contacts that are read at once while a selection is resolved.
const CHUNK: i64 = 100_000;
/// Contacts of an answer's samples.
const SAMPLE: usize = 20;
const SAMPLE_PER_REASON: usize = 5;

/// What came of a bulk call.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct BulkResult {
    /// Contacts that were looked at: those applied and those skipped.
    matched: u64,
    /// Contacts that changed, or would change.
    applied: u64,
    skipped: u64,
    /// How many were skipped for which reason.
    skipped_by_reason: BTreeMap<&'static str, u64>,
    /// Up to 5 of those skipped for each reason.
    samples_by_reason: BTreeMap<&'static str, Vec<Contact>>,
    /// Up to 20 of those applied.
    sample: Vec<Contact>,
    /// Ids that are no contacts of this organization.
    not_found: Vec<String>,
    /// Whether there was more than one call may apply.
    truncated: bool,
}

/// Counts what is skipped, and why.
#[derive(Default)]
struct Skips {
    by_reason: BTreeMap<&'static str, (u64, Vec<ContactId>)>,
}

impl Skips {
    fn skip(&mut self, reason: &'static str, contact: ContactId) {
        let (count, sample) = self.by_reason.entry(reason).or_default();
        *count += 1;
        if sample.len() < SAMPLE_PER_REASON {
            sample.push(contact);
        }
    }

    /// Skips contacts that nobody looked at one by one.
    fn unseen(&mut self, reason: &'static str, count: u64) {
        if count > 0 {
            self.by_reason.entry(reason).or_default().0 += count;
        }
    }

    fn total(&self) -> u64 {
        self.by_reason.values().map(|(count, _)| count).sum()
    }

    async fn result(
        self,
        view: &mut View,
        ctx: &ToolContext,
        applied: &[ContactId],
        not_found: Vec<String>,
        truncated: bool,
    ) -> ToolResult<BulkResult> {
        let skipped = self.total();
        let mut shown: Vec<ContactId> = applied.iter().take(SAMPLE).copied().collect();
        let sampled = shown.len();
        shown.extend(self.by_reason.values().flat_map(|(_, sample)| sample));
        let mut names = called(view, ctx, &shown).await?.into_iter();
        let sample = names.by_ref().take(sampled).collect();
        let mut samples_by_reason = BTreeMap::new();
        for (reason, (_, sample)) in &self.by_reason {
            let sample: Vec<Contact> = names.by_ref().take(sample.len()).collect();
            if !sample.is_empty() {
                samples_by_reason.insert(*reason, sample);
            }
        }
        if truncated {
            ctx.truncated();
        }
        Ok(BulkResult {
            matched: applied.len() as u64 + skipped,
            applied: applied.len() as u64,
            skipped,
            skipped_by_reason: self.by_reason.iter().map(|(reason, (count, _))| (*reason, *count)).collect(),
            samples_by_reason,
            sample,
            not_found,
            truncated,
        })
    }
}

/// Contacts given by id: those that exist, each once and sorted; the others; and how many were repeats.
struct GivenContacts {
    known: Vec<ContactId>,
    not_found: Vec<String>,
    repeated: Vec<ContactId>,
}

impl GivenContacts {
    async fn look_up(
        view: &mut View,
        ctx: &ToolContext,
        given: &[GivenContact],
        path: &str,
    ) -> ToolResult<Self> {
        let (unique, repeats) = distinct(given);
        if repeats > 0 {
            ctx.warn("DUPLICATE_IDS", format!("{repeats} repeated ids were counted once"), Some(path));
        }
        let known = contacts::existing(view, ctx.organization(), &ids(&unique)).await?;
        let exists = |id: &ContactId| known.binary_search(id).is_ok();
        let not_found: Vec<String> =
            unique.iter().filter(|given| !exists(&given.id)).map(|given| given.text.clone()).collect();
        if known.is_empty() {
            return Err(Refusal::NoneFound { kind: Kind::Contact, count: not_found.len() });
        }
        let mut seen = HashSet::new();
        let repeated =
            given.iter().map(|given| given.id).filter(|id| !seen.insert(*id) && exists(id)).collect();
        Ok(Self { known, not_found, repeated })
    }
}

/// The outcome that a preview shows for a contact that goes to an agent.
fn to_agent(verb: &str, agent: AgentId) -> String {
    format!("{verb} to {agent}")
}

/// The agent of such an outcome.
fn agent_of(outcome: &str) -> Option<AgentId> {
    outcome.rsplit_once(" to ")?.1.parse().ok()
}

/// What the preview that is being applied shows for the contact.
fn shown<'a>(ctx: &'a ToolContext, contact: ContactId) -> Option<&'a str> {
    ctx.bound()?.effects.outcome(contact)
}

/// Whether only what the preview showed may happen, and it did not show this contact.
fn left_out(ctx: &ToolContext, contact: ContactId) -> bool {
    ctx.bound().is_some_and(|bound| bound.intersect && bound.effects.outcome(contact).is_none())
}

/// The agents given, each once and in that order, all known and active.
async fn assignable(
    view: &mut View,
    ctx: &ToolContext,
    given: &[GivenAgent],
    path: &str,
) -> ToolResult<Vec<AgentRow>> {
    let (given, repeats) = distinct(given);
    if repeats > 0 {
        ctx.warn("DUPLICATE_IDS", format!("{repeats} repeated ids were left out"), Some(path));
    }
    let mut rows: HashMap<AgentId, AgentRow> = agents::by_ids(view, ctx.organization(), &ids(&given))
        .await?
        .into_iter()
        .filter(|row| row.active)
        .map(|row| (row.agent_id, row))
        .collect();
    let (found, missing): (Vec<_>, Vec<_>) =
        given.into_iter().map(|given| rows.remove(&given.id).ok_or(given.text)).partition(Result::is_ok);
    let missing: Vec<String> = missing.into_iter().filter_map(Result::err).collect();
    if missing.is_empty() {
        Ok(found.into_iter().filter_map(Result::ok).collect())
    } else {
        Err(Refusal::AgentsUnassignable(missing))
    }
}

/// That none of these agents changed meanwhile: an inactive one gets nothing.
fn unchanged(rows: &[AgentRow]) -> Vec<Guard> {
    rows.iter().map(|row| Guard { stream: Stream::of::<Agent>(row.agent_id), version: row.version }).collect()
}

/// That the campaign did not change meanwhile.
fn unchanged_campaign(listed: &CampaignListed) -> Guard {
    let campaign = &listed.campaign;
    Guard { stream: Stream::of::<Campaign>(campaign.campaign_id), version: campaign.version }
}

fn takes_contacts(listed: &CampaignListed) -> ToolResult<()> {
    let status = listed.campaign.status;
    if status.takes_contacts() { Ok(()) } else { Err(Refusal::CampaignClosed(status.name())) }
}

/// The roster's events, if there are any, on the version at which the selection was resolved.
async fn roster_writes(
    view: &mut View,
    ctx: &ToolContext,
    campaign: CampaignId,
    command: RosterCommand,
) -> ToolResult<Vec<Write>> {
    let events = Roster::default().decide(command)?;
    if events.is_empty() {
        return Ok(vec![]);
    }
    let organization = ctx.organization();
    Ok(vec![Write {
        stream: Stream::of::<Roster>(organization.roster(campaign)),
        expected: rosters::version(view, organization, campaign).await?,
        events: events.into_iter().map(Into::into).collect(),
    }])
}

/// Put contacts into a campaign: those that a filter means, in a stable order, up to maxContacts. Whoever is in it
/// already, asked not to be contacted or cannot be reached is skipped, with the reason. Calling again adds nobody twice.
/// With assignToAgentIds the contacts are assigned as well, which needs confirm true.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AddContacts {
    /// The campaign: draft, active or paused.
    campaign_id: GivenCampaign,
    /// Which contacts.
    filter: FilterInput,
    /// Contacts to add at most, 10 000 if not said. Required when the filter means everybody.
    #[schemars(range(min = 1, max = 1_000_000))]
    max_contacts: Option<u64>,
    /// Skip whoever is in one of these campaigns.
    #[serde(default)]
    #[schemars(length(max = 50))]
    skip_if_in_campaign_ids: Vec<GivenCampaign>,
    /// Skip whoever is in another active campaign.
    #[serde(default)]
    skip_if_in_any_active_campaign: bool,
    /// Assign the added contacts to these agents.
    #[schemars(length(min = 1, max = 50))]
    assign_to_agent_ids: Option<Vec<GivenAgent>>,
    /// How they are spread over the agents; round_robin if not said.
    distribution: Option<Distribution>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Distribution {
    /// They belong to nobody.
    None,
    /// In turn.
    RoundRobin,
    /// Each to whoever has the fewest open contacts.
    LeastLoaded,
}

/// Which contacts; everything that is named must hold.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct FilterInput {
    /// crm: all contacts; import_folder: those of one import folder.
    source: Source,
    /// The import folder, if source is import_folder.
    import_folder_id: Option<Given<ImportId>>,
    /// Part of the name, company, address, phone number, external id or city; case and accents do not matter.
    #[schemars(length(max = 200))]
    search: Option<String>,
    /// With at least one of these tags.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(min = 1, max = 200)))]
    tags_any: Vec<String>,
    /// With all of these tags.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(min = 1, max = 200)))]
    tags_all: Vec<String>,
    /// With an e-mail address, or without.
    has_email: Option<bool>,
    /// With a phone number, or without.
    has_phone: Option<bool>,
    /// Of this city; case and accents do not matter.
    #[schemars(length(min = 1, max = 200))]
    city: Option<String>,
    /// Taken in then or later.
    created_after: Option<Moment>,
    /// Taken in before then.
    created_before: Option<Moment>,
    /// Only these contacts.
    #[schemars(length(min = 1, max = 500))]
    contact_ids: Option<Vec<GivenContact>>,
    /// With these values in their custom fields.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 20))]
    custom_fields: BTreeMap<String, String>,
}

impl FilterInput {
    /// Whether it means every contact there is.
    fn everybody(&self) -> bool {
        let nothing = Self {
            source: Source::Crm,
            import_folder_id: None,
            search: None,
            tags_any: vec![],
            tags_all: vec![],
            has_email: None,
            has_phone: None,
            city: None,
            created_after: None,
            created_before: None,
            contact_ids: None,
            custom_fields: BTreeMap::new(),
        };
        Self { search: self.search.clone().filter(|text| !text.is_empty()), ..self.clone() } == nothing
    }

    fn checked(&self) -> ToolResult<()> {
        in_order(self.created_after, self.created_before, "filter")?;
        match (self.source, &self.import_folder_id) {
            (Source::ImportFolder, None) => {
                let message = "is required when source is import_folder";
                Err(Refusal::field("filter.importFolderId", "REQUIRED", message))
            }
            (Source::Crm, Some(_)) => {
                let message = "is only for source import_folder";
                Err(Refusal::field("filter.importFolderId", "CONTRADICTION", message))
            }
            _ => Ok(()),
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ContactsAdded {
    #[serde(flatten)]
    result: BulkResult,
    /// If contacts are assigned: who gets how many.
    per_agent: Option<Vec<AgentAdded>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AgentAdded {
    agent_id: Uuid,
    added: u64,
}

/// Contacts added if nobody says.
const ADDED: u64 = 10_000;

async fn bulk_add_contacts_to_campaign_by_filter(
    ctx: ToolContext,
    input: AddContacts,
    _: Mint,
) -> ToolResult<Plan<ContactsAdded>> {
    input.filter.checked()?;
    if input.max_contacts.is_none() && input.filter.everybody() {
        let message = "is required when the filter means everybody";
        return Err(Refusal::field("maxContacts", "REQUIRED", message));
    }
    let spread = match (&input.assign_to_agent_ids, input.distribution) {
        (None, None | Some(Distribution::None)) => None,
        (Some(_), None | Some(Distribution::RoundRobin)) => Some(Spread::RoundRobin),
        (Some(_), Some(Distribution::LeastLoaded)) => Some(Spread::LeastLoaded),
        (Some(_), Some(Distribution::None)) | (None, Some(_)) => {
            let message = "a distribution needs assignToAgentIds, and none forbids it";
            return Err(Refusal::field("distribution", "CONTRADICTION", message));
        }
    };

    let mut view = ctx.view().await?;
    let listed = found(&mut view, &ctx, &input.campaign_id).await?;
    takes_contacts(&listed)?;
    let campaign_id = listed.campaign.campaign_id;
    if let Some(folder) = &input.filter.import_folder_id {
        folder_found(&mut view, &ctx, folder).await?;
    }
    let others = avoided(&mut view, &ctx, &input.skip_if_in_campaign_ids).await?;
    let staff = match &input.assign_to_agent_ids {
        Some(given) => assignable(&mut view, &ctx, given, "assignToAgentIds").await?,
        None => Vec::new(),
    };
    let given = match &input.filter.contact_ids {
        Some(given) => Some(GivenContacts::look_up(&mut view, &ctx, given, "filter.contactIds").await?),
        None => None,
    };
    let filter = resolved(input.filter, given.as_ref());
    let against = Against {
        campaign_id,
        other_campaign_ids: &others,
        any_active_campaign: input.skip_if_in_any_active_campaign,
    };
    let most = usize::try_from(input.max_contacts.unwrap_or(ADDED)).unwrap_or(usize::MAX);
    let mut skips = Skips::default();
    let (added, truncated) = select(&mut view, &ctx, &filter, &against, most, &mut skips).await?;
    let not_found = match given {
        Some(given) => {
            given.repeated.iter().for_each(|contact| skips.skip("DUPLICATE_IN_SELECTION", *contact));
            given.not_found
        }
        None => Vec::new(),
    };

    let assigned = match spread {
        Some(spread) => spread_over(&mut view, &ctx, spread, &staff, &added).await?,
        None => Vec::new(),
    };
    let words: HashMap<AgentId, String> =
        staff.iter().map(|row| (row.agent_id, to_agent("ADDED", row.agent_id))).collect();
    let effects = Effects::new(added.iter().enumerate().map(|(index, contact)| {
        let outcome = assigned.get(index).and_then(|agent| words.get(agent));
        (contact.uuid(), Cow::Borrowed(outcome.map_or("ADDED", String::as_str)))
    }));
    let per_agent = spread.is_some().then(|| {
        let mut counts: HashMap<AgentId, u64> = HashMap::new();
        assigned.iter().for_each(|agent| *counts.entry(*agent).or_default() += 1);
        staff
            .iter()
            .map(|row| AgentAdded {
                agent_id: row.agent_id.uuid(),
                added: counts.get(&row.agent_id).copied().unwrap_or(0),
            })
            .collect()
    });
    let result = skips.result(&mut view, &ctx, &added, not_found, truncated).await?;
    let command = RosterCommand::Add { campaign_id, contact_ids: added, assign: assigned };
    let writes = roster_writes(&mut view, &ctx, campaign_id, command).await?;
    let mut guards = unchanged(&staff);
    guards.push(unchanged_campaign(&listed));
    Ok(Plan { writes, guards, absent: vec![], effects, answer: ContactsAdded { result, per_agent } })
}

/// Campaigns that contacts must not be in. An unknown one hides nobody, which its caller should know.
async fn avoided(view: &mut View, ctx: &ToolContext, given: &[GivenCampaign]) -> ToolResult<Vec<CampaignId>> {
    if given.is_empty() {
        return Ok(Vec::new());
    }
    let (given, _) = distinct(given);
    let rows = docket_projections::campaigns::by_ids(view, ctx.organization(), &ids(&given)).await?;
    match given.iter().find(|given| !rows.iter().any(|row| row.campaign_id == given.id)) {
        Some(unknown) => Err(Refusal::not_found(Kind::Campaign, &unknown.text)),
        None => Ok(ids(&given)),
    }
}

fn resolved(input: FilterInput, given: Option<&GivenContacts>) -> ContactFilter {
    ContactFilter {
        import_id: input.import_folder_id.map(|given| given.id),
        search: input.search,
        tags_any: input.tags_any,
        tags_all: input.tags_all,
        has_email: input.has_email,
        has_phone: input.has_phone,
        city: input.city,
        created_after: input.created_after.map(|moment| moment.0),
        created_before: input.created_before.map(|moment| moment.0),
        contact_ids: given.map(|given| given.known.clone()),
        custom_fields: input.custom_fields.into_iter().collect(),
    }
}

/// The contacts to add, by id, and whether there were more than may be added. Contacts behind the limit are counted and
/// not looked at.
async fn select(
    view: &mut View,
    ctx: &ToolContext,
    filter: &ContactFilter,
    against: &Against<'_>,
    most: usize,
    skips: &mut Skips,
) -> ToolResult<(Vec<ContactId>, bool)> {
    let organization = ctx.organization();
    let mut added = Vec::new();
    let mut looked_at = 0_u64;
    let mut after = None;
    loop {
        let chunk = selection::candidates(view, organization, filter, against, after, CHUNK).await?;
        let last = (chunk.len() as i64) < CHUNK;
        after = chunk.last().map(|candidate| candidate.contact_id);
        for candidate in &chunk {
            let contact = candidate.contact_id;
            match in_the_way(candidate) {
                Some(reason) => skips.skip(reason, contact),
                None if left_out(ctx, contact) => skips.skip("NOT_IN_PREVIEW", contact),
                None if added.len() == most => skips.skip("LIMIT_REACHED", contact),
                None => added.push(contact),
            }
        }
        looked_at += chunk.len() as u64;
        if last {
            break;
        }
        if added.len() == most {
            let all = selection::count(view, organization, filter, i64::MAX).await?;
            skips.unseen("LIMIT_REACHED", all.saturating_sub(looked_at));
            break;
        }
    }
    let truncated = skips.by_reason.contains_key("LIMIT_REACHED");
    Ok((added, truncated))
}

/// Why a contact cannot be added.
fn in_the_way(candidate: &Candidate) -> Option<&'static str> {
    if candidate.erased {
        Some("ERASED")
    } else if candidate.in_campaign {
        Some("ALREADY_IN_CAMPAIGN")
    } else if candidate.do_not_contact {
        Some("DO_NOT_CONTACT")
    } else if !candidate.reachable() {
        Some("NO_CHANNEL")
    } else if candidate.in_other_campaign {
        Some("IN_OTHER_CAMPAIGN")
    } else {
        None
    }
}

/// Who gets whom, in the order of the contacts; what a preview showed holds.
async fn spread_over(
    view: &mut View,
    ctx: &ToolContext,
    spread: Spread,
    staff: &[AgentRow],
    contacts: &[ContactId],
) -> ToolResult<Vec<AgentId>> {
    let staff: Vec<AgentId> = staff.iter().map(|row| row.agent_id).collect();
    let loads = campaign_counters::open_loads(view, ctx.organization(), &staff).await?;
    let agents: Vec<(AgentId, u64, u64)> =
        staff.iter().zip(loads).map(|(agent, load)| (*agent, load, u64::MAX)).collect();
    let spread = distribute(spread, &agents, contacts.len());
    Ok(contacts
        .iter()
        .zip(spread)
        .filter_map(|(contact, agent)| shown(ctx, *contact).and_then(agent_of).or(agent))
        .collect())
}

/// Which contacts of a campaign; everything that is named must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct MemberFilter {
    /// Who stand here in the campaign.
    #[schemars(length(max = 9))]
    status_in: Vec<Name<MembershipStatus>>,
    /// Who belong to these agents; with unassigned those of nobody as well.
    #[schemars(length(max = 50))]
    assigned_agent_ids: Vec<GivenAgent>,
    /// true: who belong to nobody.
    unassigned: bool,
    /// Who are in one of these campaigns as well.
    #[schemars(length(max = 50))]
    also_in_campaign_ids: Vec<GivenCampaign>,
    /// Where they came from.
    source: Option<Source>,
    /// Who are in this import folder.
    import_folder_id: Option<Given<ImportId>>,
}

impl MemberFilter {
    fn resolved(self) -> MembershipFilter {
        MembershipFilter {
            contact_ids: None,
            status_in: named(&self.status_in),
            assigned_agent_ids: ids(&self.assigned_agent_ids),
            unassigned: self.unassigned,
            also_in_campaign_ids: ids(&self.also_in_campaign_ids),
            source: self.source.map(Into::into),
            import_id: self.import_folder_id.map(|given| given.id),
        }
    }
}

/// The contacts of a campaign that a call is about.
struct Members {
    selected: Vec<Selected>,
    not_found: Vec<String>,
    truncated: bool,
}

impl Members {
    /// By ids or by filter. Ids of contacts that are not in the campaign are skipped.
    async fn resolve(
        view: &mut View,
        ctx: &ToolContext,
        campaign: CampaignId,
        contact_ids: Option<&[GivenContact]>,
        filter: MemberFilter,
        skips: &mut Skips,
    ) -> ToolResult<Self> {
        if let Some(folder) = &filter.import_folder_id {
            folder_found(view, ctx, folder).await?;
        }
        let mut filter = filter.resolved();
        let mut not_found = Vec::new();
        let mut wanted = Vec::new();
        if let Some(given) = contact_ids {
            let given = GivenContacts::look_up(view, ctx, given, "contactIds").await?;
            not_found = given.not_found;
            wanted.clone_from(&given.known);
            filter.contact_ids = Some(given.known);
        }
        let mut selected =
            memberships::select(view, ctx.organization(), campaign, &filter, LOOKED_AT + 1).await?;
        let truncated = selected.len() as i64 > LOOKED_AT;
        selected.truncate(LOOKED_AT as usize);
        for contact in wanted {
            if selected.binary_search_by_key(&contact, |selected| selected.contact_id).is_err() {
                skips.skip("NOT_IN_CAMPAIGN", contact);
            }
        }
        Ok(Self { selected, not_found, truncated })
    }
}

/// Take contacts out of a campaign: their status, agent and attempts there are forgotten, and pending and overdue
/// follow-ups there are cancelled. Other campaigns and the history of calls stay as they are. Without confirm true the
/// call only shows what would happen.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct RemoveContacts {
    /// The campaign.
    campaign_id: GivenCampaign,
    /// The contacts. Give this or filter.
    #[schemars(length(min = 1, max = 500))]
    contact_ids: Option<Vec<GivenContact>>,
    /// Which contacts of the campaign; {} means all. Give this or contactIds.
    filter: Option<MemberFilter>,
    /// Cancel their follow-ups in this campaign; true if not said.
    cancel_follow_ups: Option<bool>,
    /// No longer count their calls to this campaign. The calls stay in the history either way.
    #[serde(default)]
    detach_call_logs: bool,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ContactsRemoved {
    #[serde(flatten)]
    result: BulkResult,
    follow_ups_cancelled: FollowUps,
    /// Calls that still count to the campaign.
    call_logs_preserved: u64,
    /// Calls that stay in the history and no longer count to the campaign.
    call_logs_detached: u64,
    /// Contacts whose status, agent and attempts in this campaign are forgotten.
    outbound_states_deleted: u64,
    /// Removed contacts that are in other campaigns too, where nothing changes.
    also_in_other_campaigns: u64,
}

async fn bulk_remove_contacts_from_campaign(
    ctx: ToolContext,
    input: RemoveContacts,
    _: Mint,
) -> ToolResult<Plan<ContactsRemoved>> {
    if input.contact_ids.is_some() == input.filter.is_some() {
        return Err(Refusal::field("", "EXACTLY_ONE_OF", "give contactIds or filter, and not both"));
    }
    let organization = ctx.organization();
    let mut view = ctx.view().await?;
    let listed = found(&mut view, &ctx, &input.campaign_id).await?;
    let campaign_id = listed.campaign.campaign_id;
    let mut skips = Skips::default();
    let filter = input.filter.unwrap_or_default();
    let members =
        Members::resolve(&mut view, &ctx, campaign_id, input.contact_ids.as_deref(), filter, &mut skips)
            .await?;

    let mut removed: Vec<ContactId> = Vec::with_capacity(members.selected.len());
    let mut elsewhere = 0;
    for member in &members.selected {
        if left_out(&ctx, member.contact_id) {
            skips.skip("NOT_IN_PREVIEW", member.contact_id);
        } else {
            removed.push(member.contact_id);
            elsewhere += u64::from(member.other_campaigns > 0);
        }
    }
    let pending: Vec<PendingFollowUp> = if input.cancel_follow_ups.unwrap_or(true) && !removed.is_empty() {
        follow_ups::pending(&mut view, organization, campaign_id, &removed).await?
    } else {
        Vec::new()
    };
    let calls = calls::count(&mut view, organization, campaign_id, &removed).await?;
    let overdue = pending.iter().filter(|follow_up| follow_up.due_at < ctx.now()).count() as u64;

    let mut promised: HashMap<ContactId, u64> = HashMap::new();
    pending.iter().for_each(|follow_up| *promised.entry(follow_up.contact_id).or_default() += 1);
    let effects = Effects::new(removed.iter().map(|contact| {
        let outcome = match promised.get(contact) {
            None => Cow::Borrowed("REMOVED"),
            Some(n) => Cow::Owned(format!("REMOVED with {n} follow-ups")),
        };
        (contact.uuid(), outcome)
    }));
    let result = skips.result(&mut view, &ctx, &removed, members.not_found, members.truncated).await?;
    let answer = ContactsRemoved {
        follow_ups_cancelled: FollowUps { pending: pending.len() as u64 - overdue, overdue },
        call_logs_preserved: if input.detach_call_logs { 0 } else { calls },
        call_logs_detached: if input.detach_call_logs { calls } else { 0 },
        outbound_states_deleted: result.applied,
        also_in_other_campaigns: elsewhere,
        result,
    };
    let command =
        RosterCommand::Remove { campaign_id, contact_ids: removed, detach_calls: input.detach_call_logs };
    let mut writes = roster_writes(&mut view, &ctx, campaign_id, command).await?;
    writes.extend(pending.iter().map(|follow_up| Write {
        stream: Stream::of::<FollowUp>(follow_up.follow_up_id),
        expected: follow_up.version,
        events: vec![FollowUpEvent::FollowUpCancelled { because: "contact_removed".to_owned() }.into()],
    }));
    Ok(Plan { writes, guards: vec![unchanged_campaign(&listed)], absent: vec![], effects, answer })
}

/// Give contacts of a campaign to agents: those without an agent unless you say which. Contacts whose work is done are
/// skipped. Without confirm true the call only shows who would get whom; applying the preview does exactly that.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AssignContacts {
    /// The campaign: draft, active or paused.
    campaign_id: GivenCampaign,
    /// The agents, all of them active.
    #[schemars(length(min = 1, max = 50))]
    agent_ids: Vec<GivenAgent>,
    /// The contacts. Give this or filter.
    #[schemars(length(min = 1, max = 500))]
    contact_ids: Option<Vec<GivenContact>>,
    /// Which contacts of the campaign; {"unassigned": true} if neither this nor contactIds is given.
    filter: Option<MemberFilter>,
    /// How they are spread over the agents; round_robin if not said.
    strategy: Option<Strategy>,
    /// Also give away contacts that belong to an agent already.
    #[serde(default)]
    reassign: bool,
    /// Open contacts of this campaign that an agent may have in the end.
    #[schemars(range(min = 1, max = 5000))]
    max_per_agent: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Strategy {
    /// In turn: shares differ by one at most.
    RoundRobin,
    /// Each to whoever has the fewest open contacts over all campaigns.
    LeastLoaded,
    /// All to the one agent given.
    Single,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ContactsAssigned {
    #[serde(flatten)]
    result: BulkResult,
    /// In the order in which the agents were given.
    per_agent: Vec<AgentShare>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AgentShare {
    agent_id: Uuid,
    /// Open contacts of this campaign before.
    before: u64,
    /// Contacts that it gets.
    added: u64,
    /// Open contacts of this campaign after; less than before and added together if some are given away again.
    after: u64,
}

async fn bulk_assign_campaign_contacts(
    ctx: ToolContext,
    input: AssignContacts,
    _: Mint,
) -> ToolResult<Plan<ContactsAssigned>> {
    if input.contact_ids.is_some() && input.filter.is_some() {
        return Err(Refusal::field("", "EXACTLY_ONE_OF", "give contactIds or filter, and not both"));
    }
    let strategy = input.strategy.unwrap_or(Strategy::RoundRobin);
    if strategy == Strategy::Single && distinct(&input.agent_ids).0.len() != 1 {
        return Err(Refusal::field("agentIds", "TOO_MANY_ITEMS", "strategy single takes one agent"));
    }
    let mut view = ctx.view().await?;
    let listed = found(&mut view, &ctx, &input.campaign_id).await?;
    takes_contacts(&listed)?;
    let campaign_id = listed.campaign.campaign_id;
    let staff = assignable(&mut view, &ctx, &input.agent_ids, "agentIds").await?;
    let mut skips = Skips::default();
    let filter = match (&input.contact_ids, input.filter) {
        (None, None) => MemberFilter { unassigned: true, ..MemberFilter::default() },
        (_, filter) => filter.unwrap_or_default(),
    };
    let members =
        Members::resolve(&mut view, &ctx, campaign_id, input.contact_ids.as_deref(), filter, &mut skips)
            .await?;

    let mut open: Vec<&Selected> = Vec::with_capacity(members.selected.len());
    for member in &members.selected {
        if !member.status.open() {
            skips.skip("TERMINAL_STATUS", member.contact_id);
        } else if member.agent_id.is_some() && !input.reassign {
            skips.skip("ALREADY_ASSIGNED", member.contact_id);
        } else if left_out(&ctx, member.contact_id) {
            skips.skip("NOT_IN_PREVIEW", member.contact_id);
        } else {
            open.push(member);
        }
    }
    let given = hand_out(&mut view, &ctx, &staff, campaign_id, strategy, input.max_per_agent, &open).await?;
    let mut assignments: Vec<(ContactId, AgentId)> = Vec::with_capacity(open.len());
    let mut released: HashMap<AgentId, u64> = HashMap::new();
    for (member, agent) in open.iter().zip(given.agents) {
        match agent {
            Some(agent) => {
                assignments.push((member.contact_id, agent));
                if let Some(before) = member.agent_id {
                    *released.entry(before).or_default() += 1;
                }
            }
            None => skips.skip("AGENT_CAP", member.contact_id),
        }
    }
    let mut added: HashMap<AgentId, u64> = HashMap::new();
    assignments.iter().for_each(|(_, agent)| *added.entry(*agent).or_default() += 1);
    let per_agent = staff
        .iter()
        .zip(given.before)
        .map(|(row, before)| {
            let of = |counts: &HashMap<AgentId, u64>| counts.get(&row.agent_id).copied().unwrap_or(0);
            let after = (before + of(&added)).saturating_sub(of(&released));
            AgentShare { agent_id: row.agent_id.uuid(), before, added: of(&added), after }
        })
        .collect();

    let words: HashMap<AgentId, String> =
        staff.iter().map(|row| (row.agent_id, to_agent("ASSIGNED", row.agent_id))).collect();
    let effects =
        Effects::new(assignments.iter().filter_map(|(contact, agent)| {
            Some((contact.uuid(), Cow::Borrowed(words.get(agent)?.as_str())))
        }));
    let applied: Vec<ContactId> = assignments.iter().map(|(contact, _)| *contact).collect();
    let result = skips.result(&mut view, &ctx, &applied, members.not_found, members.truncated).await?;
    let command = RosterCommand::Assign { campaign_id, assignments };
    let writes = roster_writes(&mut view, &ctx, campaign_id, command).await?;
    let mut guards = unchanged(&staff);
    guards.push(unchanged_campaign(&listed));
    Ok(Plan { writes, guards, absent: vec![], effects, answer: ContactsAssigned { result, per_agent } })
}

/// Who gets whom.
struct HandedOut {
    /// For each contact its agent; none where nobody may take one more.
    agents: Vec<Option<AgentId>>,
    /// For each agent its open contacts of this campaign before.
    before: Vec<u64>,
}

/// Spreads open contacts over the agents. What a preview showed holds, as long as the agent is one of those given.
async fn hand_out(
    view: &mut View,
    ctx: &ToolContext,
    staff: &[AgentRow],
    campaign: CampaignId,
    strategy: Strategy,
    max_per_agent: Option<u64>,
    open: &[&Selected],
) -> ToolResult<HandedOut> {
    let agents: Vec<AgentId> = staff.iter().map(|row| row.agent_id).collect();
    let loads = campaign_counters::open_loads(view, ctx.organization(), &agents).await?;
    let cube = campaign_counters::cube(view, ctx.organization(), Some(&[campaign]), Some(&agents)).await?;
    let before: Vec<u64> = agents
        .iter()
        .map(|agent| {
            let own = cube.iter().filter(|(kind, _)| kind.agent_id == Some(*agent) && kind.status.open());
            own.map(|(_, n)| n).sum()
        })
        .collect();
    let mut given_away: HashMap<AgentId, u64> = HashMap::new();
    open.iter()
        .filter_map(|member| member.agent_id)
        .for_each(|agent| *given_away.entry(agent).or_default() += 1);
    let shares: Vec<(AgentId, u64, u64)> = agents
        .iter()
        .zip(loads.iter().zip(&before))
        .map(|(agent, (load, before))| {
            let away = given_away.get(agent).copied().unwrap_or(0);
            let room = max_per_agent.map_or(u64::MAX, |max| max.saturating_sub(before.saturating_sub(away)));
            (*agent, load.saturating_sub(away), room)
        })
        .collect();
    let spread = match strategy {
        Strategy::RoundRobin => Spread::RoundRobin,
        Strategy::LeastLoaded => Spread::LeastLoaded,
        Strategy::Single => Spread::Single,
    };
    let spread = distribute(spread, &shares, open.len());
    let agents = open
        .iter()
        .zip(spread)
        .map(|(member, agent)| {
            let promised = shown(ctx, member.contact_id).and_then(agent_of);
            promised.filter(|promised| agents.contains(promised)).or(agent)
        })
        .collect();
    Ok(HandedOut { agents, before })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(n: u128) -> ContactId {
        ContactId(Uuid::from_u128(n))
    }

    fn candidate() -> Candidate {
        Candidate {
            contact_id: contact(1),
            in_campaign: false,
            in_other_campaign: false,
            do_not_contact: false,
            erased: false,
            email_key: Some(Uuid::from_u128(1)),
            phone_key: None,
            source: Default::default(),
        }
    }

    #[test]
    fn a_contact_is_skipped_for_the_gravest_reason() {
        let all = Candidate {
            in_campaign: true,
            in_other_campaign: true,
            do_not_contact: true,
            erased: true,
            email_key: None,
            ..candidate()
        };
        for (candidate, reason) in [
            (candidate(), None),
            (all, Some("ERASED")),
            (Candidate { erased: false, ..all }, Some("ALREADY_IN_CAMPAIGN")),
            (Candidate { erased: false, in_campaign: false, ..all }, Some("DO_NOT_CONTACT")),
            (Candidate { email_key: None, ..candidate() }, Some("NO_CHANNEL")),
            (Candidate { email_key: None, phone_key: Some(Uuid::nil()), ..candidate() }, None),
            (Candidate { in_other_campaign: true, ..candidate() }, Some("IN_OTHER_CAMPAIGN")),
        ] {
            assert_eq!(in_the_way(&candidate), reason, "{candidate:?}");
        }
    }

    #[test]
    fn an_outcome_names_its_agent() {
        let agent = AgentId(Uuid::from_u128(7));
        assert_eq!(agent_of(&to_agent("ASSIGNED", agent)), Some(agent));
        assert_eq!(agent_of("ADDED"), None);
        assert_eq!(agent_of("REMOVED with 2 follow-ups"), None);
    }

    #[test]
    fn everybody_is_a_filter_that_names_nothing() {
        let filter = |value| serde_json::from_value::<FilterInput>(value).unwrap();
        for (value, everybody) in [
            (json!({ "source": "crm" }), true),
            (json!({ "source": "crm", "search": "" }), true),
            (json!({ "source": "crm", "tagsAny": [] }), true),
            (json!({ "source": "crm", "city": "Lyon" }), false),
            (json!({ "source": "crm", "hasEmail": false }), false),
            (json!({ "source": "import_folder" }), false),
        ] {
            assert_eq!(filter(value.clone()).everybody(), everybody, "{value}");
        }
    }

    #[test]
    fn a_folder_is_named_if_and_only_if_it_is_the_source() {
        let code = |value| {
            let checked = serde_json::from_value::<FilterInput>(value).unwrap().checked();
            checked.err().map(|refusal| refusal.field_errors()[0].code)
        };
        assert_eq!(code(json!({ "source": "import_folder" })), Some("REQUIRED"));
        assert_eq!(code(json!({ "source": "crm", "importFolderId": "x" })), Some("CONTRADICTION"));
        assert_eq!(code(json!({ "source": "import_folder", "importFolderId": "x" })), None);
    }

    #[test]
    fn what_is_skipped_is_counted_and_sampled() {
        let mut skips = Skips::default();
        (0..7).for_each(|n| skips.skip("NO_CHANNEL", contact(n)));
        skips.unseen("LIMIT_REACHED", 3);
        skips.unseen("ERASED", 0);
        assert_eq!(skips.total(), 10);
        assert_eq!(skips.by_reason["NO_CHANNEL"].1.len(), SAMPLE_PER_REASON);
        assert!(!skips.by_reason.contains_key("ERASED"));
    }
}
