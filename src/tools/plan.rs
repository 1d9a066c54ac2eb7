//! What a change would do, before it is done.
//!
//! A mutating tool never writes: it plans. The framework shows the plan, keeps it as a preview, or has it recorded.
//! Re-planning with the same [`Mint`] on the same state gives the same plan, ids and times included.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;

use docket_aggregates::Timestamp;
use docket_aggregates::claims::ClaimKey;
use docket_aggregates::ids::CommandId;
use rand::RngCore;
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::refusal::{Drift, DriftedEffect};
use crate::clock::Clock;
use crate::ledger::{Guard, Lane, Write};

/// Hands out the time and the ids of one command, the same ones each time it is replayed.
#[derive(Clone, Debug)]
pub struct Mint {
    seed: [u8; 32],
    at: Timestamp,
    minted: u32,
}

impl Mint {
    /// For a new command.
    pub fn fresh(clock: &Clock) -> Self {
        let mut seed = [0; 32];
        rand::thread_rng().fill_bytes(&mut seed);
        Self::replay(seed, clock.now())
    }

    /// The same ids and time as before.
    pub const fn replay(seed: [u8; 32], at: Timestamp) -> Self {
        Self { seed, at, minted: 0 }
    }

    /// From which the ids follow.
    pub const fn seed(&self) -> [u8; 32] {
        self.seed
    }

    /// When the command was decided.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// The command's own id.
    pub fn command_id(&self) -> CommandId {
        CommandId(self.number(0))
    }

    /// The next id.
    pub fn id<T: From<Uuid>>(&mut self) -> T {
        self.minted += 1;
        self.number(self.minted).into()
    }

    /// Version 7: the time, and bits that nobody can guess who does not know the seed.
    fn number(&self, n: u32) -> Uuid {
        let digest = Sha256::new().chain_update(self.seed).chain_update(n.to_be_bytes()).finalize();
        let mut random = [0; 10];
        random.copy_from_slice(&digest[..10]);
        let millis = u64::try_from(self.at.millis()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }
}

/// Which things a change affects, and how: sorted by id, one outcome for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    outcomes: Vec<String>,
    of: Vec<(Uuid, u16)>,
}

/// What happens to one thing, in words that differ where something else is decided of it.
pub fn outcome(word: &str, decided: &impl Serialize) -> String {
    let exactly = serde_json::to_vec(decided).unwrap_or_default();
    format!("{word} #{}", &hex::encode(Sha256::digest(exactly))[..12])
}

/// Effects shown as samples of a drift, at most.
const SAMPLES: usize = 20;

impl Effects {
    /// No effect.
    pub fn none() -> Self {
        Self::default()
    }

    /// One effect: what happens in a word, and of the shown answer everything that this change decides and that an apply
    /// must not do otherwise, such as a verdict, the version of a form, or who else is affected. What other changes may
    /// move beside it is left out, so that they are no drift: other fields of the same thing, its version, counts, and
    /// warnings about its neighbours.
    pub fn one(id: impl Into<Uuid>, word: &str, decided: &impl Serialize) -> Self {
        Self { outcomes: vec![outcome(word, decided)], of: vec![(id.into(), 0)] }
    }

    /// Each effect once; of two on the same thing the first counts.
    pub fn new<'a>(effects: impl Iterator<Item = (Uuid, Cow<'a, str>)>) -> Self {
        let mut outcomes: Vec<String> = Vec::new();
        let mut numbers: HashMap<Cow<'a, str>, u16> = HashMap::new();
        let mut of: Vec<(Uuid, u16)> = effects
            .map(|(id, outcome)| {
                let number = *numbers.entry(outcome).or_insert_with_key(|outcome| {
                    outcomes.push(outcome.clone().into_owned());
                    // Outcomes are few: a reason, or one of at most 50 callers.
                    u16::try_from(outcomes.len() - 1).unwrap_or(u16::MAX)
                });
                (id, number)
            })
            .collect();
        of.sort_by_key(|(id, _)| *id);
        of.dedup_by_key(|(id, _)| *id);
        Self { outcomes, of }
    }

    /// How many things are affected.
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// How the thing is affected.
    pub fn outcome(&self, id: impl Into<Uuid>) -> Option<&str> {
        let id = id.into();
        let index = self.of.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.outcomes.get(usize::from(self.of[index].1)).map(String::as_str)
    }

    fn at(&self, index: usize) -> Option<(Uuid, &str)> {
        let (id, number) = self.of.get(index)?;
        Some((*id, self.outcomes.get(usize::from(*number)).map_or("", String::as_str)))
    }

    /// How `now` differs from these effects; none if it does not. A thing whose outcome is another counts as one
    /// that was shown and one that was not.
    pub fn drift(&self, now: &Self) -> Option<Drift> {
        let mut drift = Drift { added: 0, removed: 0, sample_added: Vec::new(), sample_removed: Vec::new() };
        let note = |count: &mut usize, samples: &mut Vec<DriftedEffect>, (id, outcome): (Uuid, &str)| {
            *count += 1;
            if samples.len() < SAMPLES {
                samples.push(DriftedEffect { id, outcome: outcome.to_owned() });
            }
        };
        let (mut i, mut j) = (0, 0);
        loop {
            let order = match (self.at(i), now.at(j)) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(shown), Some(found)) if shown == found => Ordering::Equal,
                // The same thing with another outcome: first the one that was shown, then the one that was not.
                (Some(shown), Some(found)) => shown.0.cmp(&found.0).then(Ordering::Less),
            };
            if order != Ordering::Greater {
                if let (Some(shown), Ordering::Less) = (self.at(i), order) {
                    note(&mut drift.removed, &mut drift.sample_removed, shown);
                }
                i += 1;
            }
            if order != Ordering::Less {
                if let (Some(found), Ordering::Greater) = (now.at(j), order) {
                    note(&mut drift.added, &mut drift.sample_added, found);
                }
                j += 1;
            }
        }
        (drift.added + drift.removed > 0).then_some(drift)
    }

    /// Compact bytes: for a million contacts 18 MB.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + self.of.len() * 18);
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes();
        bytes.extend(number(self.outcomes.len()));
        for outcome in &self.outcomes {
            bytes.extend(number(outcome.len()));
            bytes.extend(outcome.as_bytes());
        }
        bytes.extend(number(self.of.len()));
        for (id, outcome) in &self.of {
            bytes.extend(id.as_bytes());
            bytes.extend(outcome.to_be_bytes());
        }
        bytes
    }

    /// Reads what [`Effects::encode`] wrote.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        fn number(bytes: &mut &[u8]) -> Option<usize> {
            let (head, tail) = bytes.split_first_chunk::<4>()?;
            *bytes = tail;
            usize::try_from(u32::from_be_bytes(*head)).ok()
        }
        let mut outcomes = Vec::new();
        for _ in 0..number(&mut bytes)? {
            let length = number(&mut bytes)?;
            let (text, tail) = bytes.split_at_checked(length)?;
            outcomes.push(std::str::from_utf8(text).ok()?.to_owned());
            bytes = tail;
        }
        let count = number(&mut bytes)?;
        if bytes.len() != count * 18 {
            return None;
        }
        let of = bytes
            .chunks_exact(18)
            .map(|chunk| {
                let (id, outcome) = chunk.split_first_chunk::<16>()?;
                Some((Uuid::from_bytes(*id), u16::from_be_bytes(outcome.try_into().ok()?)))
            })
            .collect::<Option<_>>()?;
        Some(Self { outcomes, of })
    }
}

/// What a call would change, and what it answers once that is recorded.
#[derive(Debug)]
pub struct Plan<O> {
    /// The events; none if there is nothing to do.
    pub writes: Vec<Write>,
    /// Streams that the decision looked at.
    pub guards: Vec<Guard>,
    /// Claims that must not exist.
    pub absent: Vec<ClaimKey>,
    /// What is affected, and how.
    pub effects: Effects,
    /// The answer. The framework adds `dryRun` and `position`.
    pub answer: O,
}

/// More things than this go through the lane for bulk work: their events are larger than about 64 KiB.
const NORMAL_EFFECTS: usize = 1_500;

impl<O> Plan<O> {
    /// The lane that suits the size.
    pub fn lane(&self) -> Lane {
        if self.effects.len() > NORMAL_EFFECTS { Lane::Bulk } else { Lane::Normal }
    }

    /// The same plan with another answer.
    pub fn answering<P>(self, answer: impl FnOnce(O) -> P) -> Plan<P> {
        Plan {
            writes: self.writes,
            guards: self.guards,
            absent: self.absent,
            effects: self.effects,
            answer: answer(self.answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effects(pairs: &[(u128, &'static str)]) -> Effects {
        Effects::new(pairs.iter().map(|(id, outcome)| (Uuid::from_u128(*id), (*outcome).into())))
    }

    #[test]
    fn a_replayed_mint_gives_the_same_ids() {
        let mut first = Mint::fresh(&Clock::held_at(Timestamp::from_millis(1_000)));
        let mut second = Mint::replay(first.seed(), first.at());
        let ids: [Uuid; 2] = [first.id(), first.id()];
        assert_eq!(ids, [second.id::<Uuid>(), second.id::<Uuid>()]);
        assert_eq!(first.command_id(), second.command_id());
        assert_ne!(ids[0], ids[1]);
        assert_eq!(ids[0].get_version_num(), 7);
    }

    #[test]
    fn drift_is_what_differs() {
        let shown = effects(&[(3, "ADDED"), (1, "ADDED"), (2, "ADDED")]);
        for (now, added, removed) in [
            (vec![(1, "ADDED"), (2, "ADDED"), (3, "ADDED")], 0, 0),
            (vec![(1, "ADDED"), (2, "ADDED")], 0, 1),
            (vec![(1, "ADDED"), (2, "ADDED"), (3, "ADDED"), (4, "ADDED")], 1, 0),
            (vec![(1, "ADDED"), (2, "GIVEN"), (3, "ADDED")], 1, 1),
            (vec![], 0, 3),
        ] {
            let drift = shown.drift(&effects(&now));
            let counts = drift.map_or((0, 0), |drift| (drift.added, drift.removed));
            assert_eq!(counts, (added, removed), "{now:?}");
        }
        let many: Vec<_> = (10..100).map(|id| (id, "ADDED")).collect();
        let drift = shown.drift(&effects(&many)).unwrap();
        assert_eq!((drift.added, drift.sample_added.len(), drift.removed), (90, 20, 3));
    }

    #[test]
    fn one_effect_is_all_that_is_decided() {
        let one = |decided: &[u64]| Effects::one(Uuid::from_u128(1), "MADE", &decided);
        assert!(one(&[1, 2]).drift(&one(&[1, 2])).is_none());
        let drift = one(&[1, 2]).drift(&one(&[1, 3])).unwrap();
        assert_eq!((drift.added, drift.removed), (1, 1));
        assert!(drift.sample_added[0].outcome.starts_with("MADE #"));
    }

    #[test]
    fn effects_survive_their_compact_form() {
        for effects in [Effects::none(), effects(&[(1, "A"), (2, "é"), (3, "A")])] {
            let bytes = effects.encode();
            assert_eq!(Effects::decode(&bytes).as_ref(), Some(&effects));
            for cut in 0..bytes.len() {
                assert_eq!(Effects::decode(&bytes[..cut]), None, "{cut}");
            }
        }
        assert_eq!(effects(&[(1, "A"), (2, "B")]).outcome(Uuid::from_u128(2)), Some("B"));
    }
}
