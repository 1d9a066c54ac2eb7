//! Many contacts at once: into a campaign, out of it, to agents.
//!
//! A selection is resolved in one view of the read models, at a known version of the campaign's roster; what is
//! recorded names every contact, and is recorded only if the roster still stands at that version. Two calls that race
//! are therefore one after the other: no contact is added twice, and none is given to two agents.
//!
//! In every answer `matched = applied + skipped`, and each skipped contact has a reason.

mod adding;
mod assigning;
mod removing;

use std::collections::{BTreeMap, HashMap, HashSet};

use docket_aggregates::Decides;
use docket_aggregates::agent::Agent;
use docket_aggregates::campaign::Campaign;
use docket_aggregates::ids::{AgentId, CampaignId, ContactId, ImportId};
use docket_aggregates::membership::MembershipStatus;
use docket_aggregates::roster::{Roster, RosterCommand};
use docket_projections::agents::AgentRow;
use docket_projections::campaigns::CampaignListed;
use docket_projections::memberships::{self, MembershipFilter, Selected};
use docket_projections::{agents, campaigns, contacts, rosters};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::comparisons::{Contact, called};
use super::contacts::folder_found;
use super::input::{Given, GivenAgent, GivenCampaign, GivenContact, Name, Source, distinct, ids, named};
use super::{Draft, Kind, Refusal, ToolContext, ToolResult};
use crate::ledger::{Guard, Stream, Write};
use crate::readside::View;

pub(super) fn tools() -> Vec<Draft> {
    [adding::tools(), removing::tools(), assigning::tools()].into_iter().flatten().collect()
}

/// Contacts that one call looks at, at most.
const LOOKED_AT: i64 = 1_000_000;
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
fn shown(ctx: &ToolContext, contact: ContactId) -> Option<&str> {
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

/// The campaigns of a condition. An unknown one would hide nobody, or nobody but some, which its caller should know.
async fn every_campaign(
    view: &mut View,
    ctx: &ToolContext,
    given: &[GivenCampaign],
) -> ToolResult<Vec<CampaignId>> {
    if given.is_empty() {
        return Ok(Vec::new());
    }
    let (given, _) = distinct(given);
    let rows = campaigns::by_ids(view, ctx.organization(), &ids(&given)).await?;
    match given.iter().find(|given| !rows.iter().any(|row| row.campaign_id == given.id)) {
        Some(unknown) => Err(Refusal::not_found(Kind::Campaign, &unknown.text)),
        None => Ok(ids(&given)),
    }
}

/// The agents of a condition, active or not; an unknown one is refused as an unknown campaign is.
async fn every_agent(view: &mut View, ctx: &ToolContext, given: &[GivenAgent]) -> ToolResult<Vec<AgentId>> {
    if given.is_empty() {
        return Ok(Vec::new());
    }
    let (given, _) = distinct(given);
    let rows = agents::by_ids(view, ctx.organization(), &ids(&given)).await?;
    match given.iter().find(|given| !rows.iter().any(|row| row.agent_id == given.id)) {
        Some(unknown) => Err(Refusal::not_found(Kind::Agent, &unknown.text)),
        None => Ok(ids(&given)),
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

/// Which contacts of a campaign; everything that is named must hold.
// A list that names nothing is refused: whoever looked for some and found none does not mean everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct MemberFilter {
    /// Who stand here in the campaign.
    #[schemars(length(min = 1, max = 9))]
    status_in: Vec<Name<MembershipStatus>>,
    /// Who belong to these agents; with unassigned those of nobody as well.
    #[schemars(length(min = 1, max = 50))]
    assigned_agent_ids: Vec<GivenAgent>,
    /// true: who belong to nobody.
    unassigned: bool,
    /// Who are in one of these campaigns as well.
    #[schemars(length(min = 1, max = 50))]
    also_in_campaign_ids: Vec<GivenCampaign>,
    /// Where they came from.
    source: Option<Source>,
    /// Who are in this import folder.
    import_folder_id: Option<Given<ImportId>>,
}

impl MemberFilter {
    /// The filter in ids that exist here: whoever names something else means what is not there.
    async fn resolved(
        self,
        view: &mut View,
        ctx: &ToolContext,
        campaign: CampaignId,
    ) -> ToolResult<MembershipFilter> {
        let also_in_campaign_ids = every_campaign(view, ctx, &self.also_in_campaign_ids).await?;
        if also_in_campaign_ids.contains(&campaign) {
            // Taken by the letter it would be everybody.
            let message = "must name other campaigns than the call's own";
            return Err(Refusal::field("filter.alsoInCampaignIds", "CONTRADICTION", message));
        }
        if let Some(folder) = &self.import_folder_id {
            folder_found(view, ctx, folder).await?;
        }
        Ok(MembershipFilter {
            contact_ids: None,
            status_in: named(&self.status_in),
            assigned_agent_ids: every_agent(view, ctx, &self.assigned_agent_ids).await?,
            unassigned: self.unassigned,
            also_in_campaign_ids,
            source: self.source.map(Into::into),
            import_id: self.import_folder_id.map(|given| given.id),
        })
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
        let mut filter = filter.resolved(view, ctx, campaign).await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn contact(n: u128) -> ContactId {
        ContactId(Uuid::from_u128(n))
    }

    #[test]
    fn an_outcome_names_its_agent() {
        let agent = AgentId(Uuid::from_u128(7));
        assert_eq!(agent_of(&to_agent("ASSIGNED", agent)), Some(agent));
        assert_eq!(agent_of("ADDED"), None);
        assert_eq!(agent_of("REMOVED with 2 follow-ups"), None);
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
