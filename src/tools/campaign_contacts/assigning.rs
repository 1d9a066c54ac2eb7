//! Contacts of a campaign to agents.

use std::borrow::Cow;
use std::collections::HashMap;

use docket_aggregates::ids::{AgentId, CampaignId, ContactId};
use docket_aggregates::roster::{RosterCommand, Spread, distribute};
use docket_projections::agents::AgentRow;
use docket_projections::campaign_counters;
use docket_projections::memberships::Selected;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{
    BulkResult, MemberFilter, Members, Skips, agent_of, assignable, left_out, roster_writes, shown,
    takes_contacts, to_agent, unchanged, unchanged_campaign,
};
use crate::readside::View;
use crate::tools::campaigns::found;
use crate::tools::input::{GivenAgent, GivenCampaign, GivenContact, distinct};
use crate::tools::{
    AGENT_ID, CAMPAIGN_ID, Confirm, Draft, Effects, Mint, Plan, Refusal, ToolContext, ToolResult, tool,
};

pub(in crate::tools) fn tools() -> Vec<Draft> {
    vec![
        tool!(BulkWrite bulk_assign_campaign_contacts)
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
    /// How they are spread over the agents; `round_robin` if not said.
    strategy: Option<Strategy>,
    /// Also give away contacts that belong to an agent already. Whom the same agent would get again is skipped.
    #[serde(default)]
    reassign: bool,
    /// Open contacts of this campaign that an agent may have in the end.
    #[schemars(range(min = 1, max = 5000))]
    max_per_agent: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Strategy {
    /// In turn: shares differ by one at most, counting whom an agent keeps.
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
        return Err(Refusal::field("agentIds", "CONTRADICTION", "strategy single takes one agent"));
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
            // Given to whom it belongs, nothing would change.
            Some(agent) if member.agent_id == Some(agent) => {
                skips.skip("ALREADY_ASSIGNED", member.contact_id);
            }
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

/// Spreads open contacts over the agents. What a preview showed holds, as long as the agent is one of those given and has
/// no more than it may have; whom it did not show stays with its agent.
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
    if ctx.bound().is_none() {
        return Ok(HandedOut { agents: spread, before });
    }
    let given = open.iter().zip(spread).map(|(member, agent)| {
        let promised = match shown(ctx, member.contact_id) {
            Some(outcome) => agent_of(outcome),
            None => agent.and(member.agent_id),
        };
        promised.filter(|promised| agents.contains(promised)).or(agent)
    });
    let mut given: Vec<Option<AgentId>> = given.collect();
    if let Some(max) = max_per_agent {
        let before: HashMap<AgentId, u64> = agents.iter().copied().zip(before.iter().copied()).collect();
        cap(open, &mut given, &before, max);
    }
    Ok(HandedOut { agents: given, before })
}

/// Takes back what was promised and would give an agent more open contacts than it may have by now, the last ones first.
/// Whoever is taken back stays with its agent, which may then have too many in its turn.
fn cap(open: &[&Selected], given: &mut [Option<AgentId>], before: &HashMap<AgentId, u64>, max: u64) {
    loop {
        let mut after = before.clone();
        for (member, agent) in open.iter().zip(&*given) {
            let Some(agent) = agent.filter(|agent| member.agent_id != Some(*agent)) else { continue };
            *after.entry(agent).or_default() += 1;
            if let Some(left) = member.agent_id.and_then(|own| after.get_mut(&own)) {
                *left = left.saturating_sub(1);
            }
        }
        let mut taken_back = false;
        for (member, given) in open.iter().zip(given.iter_mut()).rev() {
            let Some(agent) = given.filter(|agent| member.agent_id != Some(*agent)) else { continue };
            if let Some(count) = after.get_mut(&agent).filter(|count| **count > max) {
                *count -= 1;
                *given = None;
                taken_back = true;
            }
        }
        if !taken_back {
            return;
        }
    }
}
