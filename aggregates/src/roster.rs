//! A roster: who is in a campaign, and whose they are.
//!
//! A campaign may have a million contacts, so the roster does not hold them in memory: a bulk command is
//! resolved against the read model at a known position, handed in as exact ids, and appended only if the
//! roster's version is still the one of that position. What is pure here is how a resolved selection becomes
//! events, in which order, and who gets whom.

mod event;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use serde::{Deserialize, Serialize};

pub use event::{RosterEvent, Share};

use crate::ids::{AgentId, CampaignId, ContactId};
use crate::stored::aggregate;

/// Contacts in one event, at most: 5 000 ids are about 200 kB of payload.
pub const CHUNK: usize = 5_000;

/// How contacts are spread over callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// In turn: the shares differ by one at most.
    RoundRobin,
    /// Each to whoever has the fewest open contacts at that moment.
    LeastLoaded,
    /// All to one.
    Single,
}

/// Orders to a roster. The ids are resolved before.
#[derive(Clone, Debug)]
pub enum RosterCommand {
    /// Put contacts in that are not in it.
    Add {
        /// The campaign.
        campaign_id: CampaignId,
        /// The contacts, in any order, without repeats.
        contact_ids: Vec<ContactId>,
        /// To whom they are given at once, in the same order as `contact_ids`; empty means to nobody.
        assign: Vec<AgentId>,
    },
    /// Give contacts that are in it to callers.
    Assign {
        /// The campaign.
        campaign_id: CampaignId,
        /// Who gets whom.
        assignments: Vec<(ContactId, AgentId)>,
    },
    /// Take contacts out that are in it.
    Remove {
        /// The campaign.
        campaign_id: CampaignId,
        /// The contacts, in any order, without repeats.
        contact_ids: Vec<ContactId>,
        /// Whether their calls are no longer counted to the campaign.
        detach_calls: bool,
        /// Whether what is promised to them in the campaign is taken back.
        cancel_follow_ups: bool,
    },
}

/// Why a roster refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// The lists do not fit each other.
    #[error("{assigned} assignments were given for {added} contacts")]
    UnevenAssignment {
        /// Contacts to add.
        added: usize,
        /// Assignments given for them.
        assigned: usize,
    },
}

/// The state that decisions need: none, since every selection arrives resolved and fenced by the version.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Roster {}

aggregate!(Roster, "Roster", RosterCommand, RosterEvent, RosterError);

impl Roster {
    /// The whole business of a roster.
    fn decide(&self, command: RosterCommand) -> Result<Vec<RosterEvent>, RosterError> {
        match command {
            RosterCommand::Add { campaign_id, contact_ids, assign } => {
                if !assign.is_empty() && assign.len() != contact_ids.len() {
                    return Err(RosterError::UnevenAssignment {
                        added: contact_ids.len(),
                        assigned: assign.len(),
                    });
                }
                let assignments: Vec<_> = contact_ids.iter().copied().zip(assign).collect();
                let mut events: Vec<_> = chunks(contact_ids)
                    .map(|contact_ids| RosterEvent::ContactsAdded { campaign_id, contact_ids })
                    .collect();
                events.extend(assigned(campaign_id, assignments));
                Ok(events)
            }
            RosterCommand::Assign { campaign_id, assignments } => Ok(assigned(campaign_id, assignments)),
            RosterCommand::Remove { campaign_id, contact_ids, detach_calls, cancel_follow_ups } => {
                Ok(chunks(contact_ids)
                    .map(|contact_ids| RosterEvent::ContactsRemoved {
                        campaign_id,
                        contact_ids,
                        detach_calls,
                        cancel_follow_ups,
                    })
                    .collect())
            }
        }
    }

    fn evolve(&mut self, event: RosterEvent) {
        match event {
            RosterEvent::ContactsAdded { .. }
            | RosterEvent::ContactsAssigned { .. }
            | RosterEvent::ContactsRemoved { .. } => (),
        }
    }
}

/// Sorted chunks of at most [`CHUNK`] ids.
fn chunks(mut contact_ids: Vec<ContactId>) -> impl Iterator<Item = Vec<ContactId>> {
    contact_ids.sort_unstable();
    contact_ids.dedup();
    let count = contact_ids.len().div_ceil(CHUNK);
    (0..count).map(move |chunk| {
        let end = contact_ids.len().min((chunk + 1) * CHUNK);
        contact_ids[chunk * CHUNK..end].to_vec()
    })
}

fn assigned(campaign_id: CampaignId, mut assignments: Vec<(ContactId, AgentId)>) -> Vec<RosterEvent> {
    assignments.sort_unstable();
    assignments
        .chunks(CHUNK)
        .map(|chunk| {
            let mut shares: BTreeMap<AgentId, Vec<ContactId>> = BTreeMap::new();
            for (contact, agent) in chunk {
                shares.entry(*agent).or_default().push(*contact);
            }
            let shares =
                shares.into_iter().map(|(agent_id, contact_ids)| Share { agent_id, contact_ids }).collect();
            RosterEvent::ContactsAssigned { campaign_id, shares }
        })
        .collect()
}

/// Who gets the next contacts: `None` once nobody may take one more.
///
/// `agents` are the callers in the order given, each with its open contacts (the load that `least_loaded`
/// evens out) and with how many more it may take.
pub fn distribute(spread: Spread, agents: &[(AgentId, u64, u64)], contacts: usize) -> Vec<Option<AgentId>> {
    let mut room: Vec<u64> = agents.iter().map(|(_, _, room)| *room).collect();
    match spread {
        Spread::RoundRobin | Spread::Single => {
            let mut next = 0;
            (0..contacts)
                .map(|_| {
                    let turn = (0..agents.len())
                        .map(|step| (next + step) % agents.len())
                        .find(|index| room[*index] > 0)?;
                    room[turn] -= 1;
                    next = turn + 1;
                    Some(agents[turn].0)
                })
                .collect()
        }
        Spread::LeastLoaded => {
            let mut heap: BinaryHeap<Reverse<(u64, usize)>> = agents
                .iter()
                .enumerate()
                .filter(|(index, _)| room[*index] > 0)
                .map(|(index, (_, load, _))| Reverse((*load, index)))
                .collect();
            (0..contacts)
                .map(|_| {
                    let Reverse((load, index)) = heap.pop()?;
                    room[index] -= 1;
                    if room[index] > 0 {
                        heap.push(Reverse((load + 1, index)));
                    }
                    Some(agents[index].0)
                })
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cqrs_es::test::TestFramework;
    use uuid::Uuid;

    type Given = TestFramework<Roster>;
    const CAMPAIGN: CampaignId = CampaignId(Uuid::from_u128(1));

    fn contact(n: u128) -> ContactId {
        ContactId(Uuid::from_u128(n))
    }

    fn agent(n: u128) -> AgentId {
        AgentId(Uuid::from_u128(n))
    }

    #[test]
    fn ids_are_sorted_and_named_once() {
        let add = RosterCommand::Add {
            campaign_id: CAMPAIGN,
            contact_ids: vec![contact(3), contact(1), contact(3)],
            assign: vec![],
        };
        Given::with(()).given_no_previous_events().when(add).then_expect_events(vec![
            RosterEvent::ContactsAdded { campaign_id: CAMPAIGN, contact_ids: vec![contact(1), contact(3)] },
        ]);
    }

    #[test]
    fn a_large_selection_becomes_chunks_without_loss() {
        let contact_ids: Vec<_> = (0..12_001).map(contact).collect();
        let command = RosterCommand::Remove {
            campaign_id: CAMPAIGN,
            contact_ids: contact_ids.clone(),
            detach_calls: false,
            cancel_follow_ups: true,
        };
        let events = Roster::default().decide(command).unwrap();
        let mut seen = Vec::new();
        for event in &events {
            let RosterEvent::ContactsRemoved { contact_ids, cancel_follow_ups: true, .. } = event else {
                panic!("{event:?}")
            };
            assert!(contact_ids.len() <= CHUNK);
            seen.extend(contact_ids.iter().copied());
        }
        assert_eq!((events.len(), seen), (3, contact_ids));
    }

    #[test]
    fn contacts_may_be_assigned_as_they_are_added() {
        let add = RosterCommand::Add {
            campaign_id: CAMPAIGN,
            contact_ids: vec![contact(2), contact(1)],
            assign: vec![agent(9), agent(8)],
        };
        Given::with(()).given_no_previous_events().when(add).then_expect_events(vec![
            RosterEvent::ContactsAdded { campaign_id: CAMPAIGN, contact_ids: vec![contact(1), contact(2)] },
            RosterEvent::ContactsAssigned {
                campaign_id: CAMPAIGN,
                shares: vec![
                    Share { agent_id: agent(8), contact_ids: vec![contact(1)] },
                    Share { agent_id: agent(9), contact_ids: vec![contact(2)] },
                ],
            },
        ]);
    }

    #[test]
    fn assignments_must_fit_the_contacts() {
        let add = RosterCommand::Add {
            campaign_id: CAMPAIGN,
            contact_ids: vec![contact(1), contact(2)],
            assign: vec![agent(9)],
        };
        Given::with(())
            .given_no_previous_events()
            .when(add)
            .then_expect_error(RosterError::UnevenAssignment { added: 2, assigned: 1 });
    }

    #[test]
    fn an_empty_selection_is_no_event() {
        let remove = RosterCommand::Remove {
            campaign_id: CAMPAIGN,
            contact_ids: vec![],
            detach_calls: true,
            cancel_follow_ups: true,
        };
        Given::with(()).given_no_previous_events().when(remove).then_expect_events(vec![]);
    }

    #[test]
    fn round_robin_spreads_within_one_of_each_other() {
        let agents: Vec<_> = (0..7).map(|n| (agent(n), 100 * n as u64, u64::MAX)).collect();
        let given = distribute(Spread::RoundRobin, &agents, 1_000);
        let counts: Vec<_> =
            agents.iter().map(|(id, ..)| given.iter().filter(|to| **to == Some(*id)).count()).collect();
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
    }

    #[test]
    fn least_loaded_evens_out_what_was_uneven() {
        let agents = [(agent(1), 5, u64::MAX), (agent(2), 0, u64::MAX)];
        let given = distribute(Spread::LeastLoaded, &agents, 5);
        assert_eq!(given, vec![Some(agent(2)); 5]);
        let given = distribute(Spread::LeastLoaded, &agents, 9);
        assert_eq!(given.iter().filter(|to| **to == Some(agent(1))).count(), 2);
    }

    #[test]
    fn nobody_gets_more_than_there_is_room_for() {
        for spread in [Spread::RoundRobin, Spread::LeastLoaded] {
            let agents = [(agent(1), 0, 2), (agent(2), 0, 1), (agent(3), 0, 0)];
            let given = distribute(spread, &agents, 5);
            assert_eq!(given.iter().filter(|to| to.is_none()).count(), 2, "{spread:?}");
            assert!(!given.contains(&Some(agent(3))));
        }
        assert_eq!(distribute(Spread::RoundRobin, &[], 1), vec![None]);
    }
}
