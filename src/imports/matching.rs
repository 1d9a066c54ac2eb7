//! Which contact a row is about, if it is one that is known already.
//!
//! A row is looked up by its id in the system that it came from, then by its e-mail address, then by its phone
//! number. A shared number alone makes nobody the same: it counts only where neither the names nor the addresses
//! speak against it. Known contacts are those of the read models and those that this import made a moment ago and
//! that the read models do not show yet.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use docket_aggregates::contact::ContactProfile;
use docket_aggregates::ids::{ContactId, OrganizationId};
use docket_projections::contacts;
use docket_projections::searchable::MatchKeys;
use uuid::Uuid;

use crate::normalise::fold_name;
use crate::readside::View;

/// Contacts of the read models that one chunk may match, at most: what is beyond it is unlikely to be one person.
const CANDIDATES_MAX: i64 = 10_000;

/// What of a contact may speak against its being somebody else's: hashes, 0 where it is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Traits {
    contact_id: ContactId,
    email: u64,
    name: u64,
}

impl Traits {
    fn of(contact_id: ContactId, profile: &ContactProfile) -> Self {
        let hash = |text: &str| {
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            hasher.finish().max(1)
        };
        let email = profile.email.as_deref().map_or(0, |email| hash(&email.to_lowercase()));
        let mut words: Vec<String> = [&profile.first_name, &profile.last_name]
            .into_iter()
            .flatten()
            .map(|part| fold_name(part))
            .filter(|part| !part.is_empty())
            .collect();
        // Which is the first name and which the last is not always told right.
        words.sort();
        let name = if words.is_empty() { 0 } else { hash(&words.join(" ")) };
        Self { contact_id, email, name }
    }

    /// Whether nothing that both say differs.
    fn may_be(&self, other: &Self) -> bool {
        let agree = |one: u64, other: u64| one == 0 || other == 0 || one == other;
        agree(self.email, other.email) && agree(self.name, other.name)
    }
}

/// Contacts by their keys.
#[derive(Debug, Default)]
pub struct Known {
    by_key: HashMap<Uuid, Vec<Traits>>,
}

impl Known {
    /// The contacts of the read models that share a key with any of these rows.
    pub async fn read(
        view: &mut View,
        organization: OrganizationId,
        rows: &[&ContactProfile],
    ) -> sqlx::Result<Self> {
        let keys: Vec<MatchKeys> = rows.iter().map(|profile| MatchKeys::of(profile)).collect();
        let mut known = Self::default();
        for row in contacts::by_keys(view, organization, &keys, CANDIDATES_MAX, CANDIDATES_MAX).await? {
            if let Some(profile) = &row.profile {
                known.add(row.contact_id, profile);
            }
        }
        Ok(known)
    }

    fn add(&mut self, contact_id: ContactId, profile: &ContactProfile) {
        let traits = Traits::of(contact_id, profile);
        for key in keys_of(profile) {
            self.by_key.entry(key).or_default().push(traits);
        }
    }

    fn with(&self, key: Option<Uuid>) -> impl Iterator<Item = Traits> {
        key.and_then(|key| self.by_key.get(&key)).into_iter().flatten().copied()
    }
}

fn keys_of(profile: &ContactProfile) -> impl Iterator<Item = Uuid> {
    let MatchKeys { email, phone, external } = MatchKeys::of(profile);
    [external, email, phone].into_iter().flatten()
}

/// The contacts that this import made and that the read models may not show yet. A key is 16 bytes of a hash.
#[derive(Debug, Default)]
pub struct Recent {
    by_key: HashMap<[u8; 16], u32>,
    traits: VecDeque<Traits>,
    /// How many traits were let go before the first that is left.
    gone: u32,
    batches: VecDeque<Batch>,
}

#[derive(Debug)]
struct Batch {
    position: i64,
    traits: u32,
    keys: Vec<[u8; 16]>,
}

impl Recent {
    /// Lets go of everything that the read models show at `position`.
    pub fn folded_to(&mut self, position: i64) {
        while self.batches.front().is_some_and(|batch| batch.position <= position) {
            let Some(batch) = self.batches.pop_front() else { return };
            for key in batch.keys {
                self.by_key.remove(&key);
            }
            self.traits.drain(..batch.traits as usize);
            self.gone += batch.traits;
        }
    }

    /// Remembers contacts that were made at `position`.
    pub fn remember<'a>(
        &mut self,
        position: i64,
        made: impl Iterator<Item = (ContactId, &'a ContactProfile)>,
    ) {
        let mut batch = Batch { position, traits: 0, keys: Vec::new() };
        for (contact_id, profile) in made {
            let Ok(index) = u32::try_from(self.traits.len()) else { break };
            for key in keys_of(profile) {
                if let std::collections::hash_map::Entry::Vacant(free) = self.by_key.entry(key.into_bytes()) {
                    free.insert(self.gone + index);
                    batch.keys.push(key.into_bytes());
                }
            }
            self.traits.push_back(Traits::of(contact_id, profile));
            batch.traits += 1;
        }
        self.batches.push_back(batch);
    }

    fn with(&self, key: Option<Uuid>) -> Option<Traits> {
        let index = self.by_key.get(&key?.into_bytes())?;
        self.traits.get(index.checked_sub(self.gone)? as usize).copied()
    }
}

/// The contact that a row is about: the oldest of those that share its strongest key.
pub fn find(profile: &ContactProfile, known: &Known, recent: &Recent, chunk: &Known) -> Option<ContactId> {
    let MatchKeys { email, phone, external } = MatchKeys::of(profile);
    let own = Traits::of(ContactId(Uuid::nil()), profile);
    let with = |key: Option<Uuid>| known.with(key).chain(recent.with(key)).chain(chunk.with(key));
    let oldest = |found: &mut dyn Iterator<Item = Traits>| found.map(|traits| traits.contact_id).min();
    oldest(&mut with(external))
        .or_else(|| oldest(&mut with(email)))
        .or_else(|| oldest(&mut with(phone).filter(|traits| traits.may_be(&own))))
}

impl Known {
    /// Adds a contact that this chunk makes, so that a later row of the chunk finds it.
    pub fn made(&mut self, contact_id: ContactId, profile: &ContactProfile) {
        self.add(contact_id, profile);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(email: &str, phone: &str, external: &str, name: &str) -> ContactProfile {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        ContactProfile {
            email: some(email),
            phone: some(phone),
            external_id: some(external),
            last_name: some(name),
            ..ContactProfile::default()
        }
    }

    fn id(n: u128) -> ContactId {
        ContactId(Uuid::from_u128(n))
    }

    fn found(row: &ContactProfile, known: &[(u128, ContactProfile)]) -> Option<ContactId> {
        let mut all = Known::default();
        for (n, profile) in known {
            all.made(id(*n), profile);
        }
        find(row, &all, &Recent::default(), &Known::default())
    }

    #[test]
    fn a_row_is_found_by_its_strongest_key() {
        let known = [
            (1, row("a@x.com", "", "", "A")),
            (2, row("", "+33612345678", "", "")),
            (3, row("", "", "C-3", "C")),
            (4, row("", "+541123456789", "", "D")),
        ];
        for (wanted, expected) in [
            (row("A@X.com", "", "", "other"), Some(1)),
            (row("", "+33612345678", "", "B"), Some(2)),
            (row("", "+5491123456789", "", "D"), Some(4)),
            (row("", "+541123456789;ext=1", "", "D"), None),
            (row("", "", " C-3", "other"), Some(3)),
            (row("", "", "c-3", "C"), None),
            (row("a@x.com", "+33612345678", "C-3", ""), Some(3)),
            (row("a@x.com", "+33612345678", "", ""), Some(1)),
            (row("b@x.com", "", "C-4", "A"), None),
            (row("", "", "", "A"), None),
        ] {
            assert_eq!(found(&wanted, &known), expected.map(id), "{wanted:?}");
        }
    }

    #[test]
    fn a_shared_number_alone_makes_nobody_the_same() {
        let switchboard = [(1, row("ada@x.com", "+33123456789", "", "Ada"))];
        for (wanted, expected) in [
            (row("bea@x.com", "+33123456789", "", "Ada"), None),
            (row("", "+33123456789", "", "Bea"), None),
            (row("", "+33123456789", "", "ADA"), Some(1)),
            (row("", "+33123456789", "", ""), Some(1)),
            (row("ada@x.com", "+33123456789", "", "Bea"), Some(1)),
        ] {
            assert_eq!(found(&wanted, &switchboard), expected.map(id), "{wanted:?}");
        }
    }

    #[test]
    fn the_oldest_of_several_is_meant() {
        let twice = [(2, row("a@x.com", "", "", "")), (1, row("a@x.com", "", "", ""))];
        assert_eq!(found(&row("a@x.com", "", "", ""), &twice), Some(id(1)));
    }

    #[test]
    fn what_was_just_made_is_found_until_the_read_models_show_it() {
        let mut recent = Recent::default();
        let find_recent =
            |recent: &Recent, wanted| find(wanted, &Known::default(), recent, &Known::default());
        let (a, b) = (row("a@x.com", "", "A", ""), row("b@x.com", "+33612345678", "", ""));
        recent.remember(10, [(id(1), &a)].into_iter());
        recent.remember(20, [(id(2), &b)].into_iter());
        assert_eq!((find_recent(&recent, &a), find_recent(&recent, &b)), (Some(id(1)), Some(id(2))));
        recent.folded_to(10);
        assert_eq!((find_recent(&recent, &a), find_recent(&recent, &b)), (None, Some(id(2))));
        recent.folded_to(20);
        assert_eq!(find_recent(&recent, &b), None);
        assert!(recent.by_key.is_empty() && recent.traits.is_empty());
        recent.remember(30, [(id(3), &b)].into_iter());
        assert_eq!(find_recent(&recent, &b), Some(id(3)));
    }
}
