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
use crate::tools::example::{AGENT_ID, CAMPAIGN_ID};
use crate::tools::input::{GivenAgent, GivenCampaign, GivenContact, distinct};
use crate::tools::{Confirm, Draft, Effects, Mint, Plan, Refusal, ToolContext, ToolResult, tool};

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
    let hands = Hands {
        places: agents
            .iter()
            .zip(loads.iter().zip(&before))
            .map(|(agent, (load, before))| Place { agent: *agent, load: *load, before: *before })
            .collect(),
        max: max_per_agent,
        owners: open.iter().map(|member| member.agent_id).collect(),
    };
    let mut given = hands.spread(strategy.into());
    if ctx.bound().is_some() {
        let shown = open.iter().map(|member| shown(ctx, member.contact_id).map(agent_of));
        given = hands.as_shown(given, shown);
    }
    Ok(HandedOut { agents: given, before })
}

impl From<Strategy> for Spread {
    fn from(strategy: Strategy) -> Self {
        match strategy {
            Strategy::RoundRobin => Self::RoundRobin,
            Strategy::LeastLoaded => Self::LeastLoaded,
            Strategy::Single => Self::Single,
        }
    }
}

/// An agent to whom contacts may go.
struct Place {
    agent: AgentId,
    /// Its open contacts over all campaigns.
    load: u64,
    /// Those of this campaign.
    before: u64,
}

/// Contacts that are handed out, and to whom they may go.
struct Hands {
    places: Vec<Place>,
    /// Open contacts of this campaign that an agent may have in the end. Whoever has more already gets nobody.
    max: Option<u64>,
    /// For each contact whose it is.
    owners: Vec<Option<AgentId>>,
}

impl Hands {
    /// For each contact its agent, none where nobody may take one more.
    fn spread(&self, spread: Spread) -> Vec<Option<AgentId>> {
        let mut given_away: HashMap<AgentId, u64> = HashMap::new();
        self.owners.iter().flatten().for_each(|agent| *given_away.entry(*agent).or_default() += 1);
        let shares: Vec<(AgentId, u64, u64)> = self
            .places
            .iter()
            .map(|Place { agent, load, before }| {
                let away = given_away.get(agent).copied().unwrap_or(0);
                let room = self.max.map_or(u64::MAX, |max| max.saturating_sub(before.saturating_sub(away)));
                (*agent, load.saturating_sub(away), room)
            })
            .collect();
        // Whom nobody takes stays with its agent after all, which has less room then.
        self.capped(distribute(spread, &shares, self.owners.len()))
    }

    /// The same with what a preview promised: for each contact the agent that it showed, and none at all where it did not
    /// show the contact.
    fn as_shown(
        &self,
        given: Vec<Option<AgentId>>,
        shown: impl Iterator<Item = Option<Option<AgentId>>>,
    ) -> Vec<Option<AgentId>> {
        let known = |agent: &AgentId| self.places.iter().any(|place| place.agent == *agent);
        let given = given.into_iter().zip(&self.owners).zip(shown).map(|((agent, own), shown)| {
            let promised = shown.unwrap_or_else(|| agent.and(*own));
            promised.filter(known).or(agent)
        });
        self.capped(given.collect())
    }

    /// Takes back what would give an agent more open contacts than it may have, the last ones first. Whoever is taken back
    /// stays with its agent, which may then have too many in its turn.
    fn capped(&self, mut given: Vec<Option<AgentId>>) -> Vec<Option<AgentId>> {
        let Some(max) = self.max else { return given };
        let mut after: HashMap<AgentId, u64> =
            self.places.iter().map(|place| (place.agent, place.before)).collect();
        let mut gains: HashMap<AgentId, Vec<usize>> = HashMap::new();
        for (index, (own, agent)) in self.owners.iter().zip(&given).enumerate() {
            let Some(agent) = agent.filter(|agent| *own != Some(*agent)) else { continue };
            gains.entry(agent).or_default().push(index);
            *after.entry(agent).or_default() += 1;
            if let Some(left) = own.and_then(|own| after.get_mut(&own)) {
                *left = left.saturating_sub(1);
            }
        }
        let mut over: Vec<AgentId> = self.places.iter().map(|place| place.agent).collect();
        while let Some(agent) = over.pop() {
            let Some(gained) = gains.get_mut(&agent) else { continue };
            while after.get(&agent).is_some_and(|count| *count > max)
                && let Some(index) = gained.pop()
            {
                given[index] = None;
                after.entry(agent).and_modify(|count| *count -= 1);
                if let Some(own) = self.owners[index]
                    && let Some(count) = after.get_mut(&own)
                {
                    *count += 1;
                    over.push(own);
                }
            }
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn agent(n: u8) -> AgentId {
        AgentId(Uuid::from_u128(n.into()))
    }

    proptest! {
        /// Of four agents the first few are given; contacts are anybody's or nobody's.
        #[test]
        fn nobody_gets_more_than_they_may_have_and_what_was_shown_comes_true(
            owners in proptest::collection::vec(0_u8..5, 0..40),
            staff in proptest::collection::vec((0_u64..6, 0_u64..20), 1..4),
            max in proptest::option::of(1_u64..16),
            strategy in 0..3,
        ) {
            let owners: Vec<Option<AgentId>> = owners.into_iter().map(|n| (n > 0).then(|| agent(n))).collect();
            let places = staff.iter().zip(1..).map(|((others, elsewhere), n)| {
                let own = owners.iter().filter(|own| **own == Some(agent(n))).count() as u64;
                Place { agent: agent(n), before: own + others, load: own + others + elsewhere }
            });
            let hands = Hands { places: places.collect(), max, owners };
            let spread = match strategy {
                0 => Spread::RoundRobin,
                1 => Spread::LeastLoaded,
                _ => Spread::Single,
            };
            let given = hands.spread(spread);
            prop_assert_eq!(given.len(), hands.owners.len());
            let gained = |agent| {
                let pairs = given.iter().zip(&hands.owners);
                pairs.filter(|(given, own)| **given == Some(agent) && given != own).count() as u64
            };
            let left = |agent| {
                let pairs = given.iter().zip(&hands.owners);
                pairs.filter(|(given, own)| **own == Some(agent) && given.is_some() && given != own).count() as u64
            };
            for place in &hands.places {
                let after = place.before + gained(place.agent) - left(place.agent);
                let most = max.unwrap_or(u64::MAX);
                prop_assert!(after <= most.max(place.before), "{} > {most}, {}", after, place.before);
                // Whoever is left with nobody found no room.
                let full = after >= most;
                prop_assert!(full || given.iter().all(Option::is_some), "{after} of {most}");
            }
            let shown = given.iter().zip(&hands.owners).map(|(given, own)| {
                given.filter(|agent| *own != Some(*agent)).map(Some)
            });
            let shown: Vec<Option<Option<AgentId>>> = shown.collect();
            prop_assert_eq!(hands.as_shown(hands.spread(spread), shown.into_iter()), given);
        }
    }
}
