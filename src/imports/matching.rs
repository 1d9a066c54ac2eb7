//! Which contact a row is about, if it is one that is known already.
//!
//! A row is looked up by its id in the system that it came from, then by its e-mail address, then by its phone
//! number. A shared number alone makes nobody the same: it counts only where neither the names nor the addresses
//! speak against it. Known contacts are those of the read models and those that this import made or changed a moment ago
//! and that the read models do not show so yet.

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
/// Contacts with one key that are looked at beside those, at most, the last ones: a switchboard's number may stand in every row.
const SHARING_MAX: usize = 1_000;

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

/// What a contact is known by.
#[derive(Clone, Debug)]
pub struct Marks {
    keys: MatchKeys,
    traits: Traits,
}

impl Marks {
    /// Those of a contact.
    pub fn of(contact_id: ContactId, profile: &ContactProfile) -> Self {
        Self { keys: MatchKeys::of(profile), traits: Traits::of(contact_id, profile) }
    }

    /// Those of a row, for whose contact is still looked.
    pub fn of_row(profile: &ContactProfile) -> Self {
        Self::of(ContactId(Uuid::nil()), profile)
    }

    /// What the row gives to a contact.
    #[must_use]
    pub fn given_to(&self, contact_id: ContactId) -> Self {
        Self { traits: Traits { contact_id, ..self.traits }, ..self.clone() }
    }

    /// What the contact is not known by any more once it is known by `newer`; none if that is nothing.
    pub fn beyond(&self, newer: &Self) -> Option<Self> {
        let left = |old: Option<Uuid>, new: Option<Uuid>| old.filter(|old| Some(*old) != new);
        let keys = MatchKeys {
            email: left(self.keys.email, newer.keys.email),
            phone: left(self.keys.phone, newer.keys.phone),
            external: left(self.keys.external, newer.keys.external),
        };
        let left = Self { keys, traits: self.traits };
        left.by_strength().next().is_some().then_some(left)
    }

    fn by_strength(&self) -> impl Iterator<Item = Uuid> + use<> {
        [self.keys.external, self.keys.email, self.keys.phone].into_iter().flatten()
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
        view.by_key().await?;
        for row in contacts::by_keys(view, organization, &keys, CANDIDATES_MAX, CANDIDATES_MAX).await? {
            if let Some(profile) = &row.profile {
                known.add(&Marks::of(row.contact_id, profile));
            }
        }
        view.by_any_plan().await?;
        Ok(known)
    }

    /// Adds a contact, so that a later row finds it.
    pub fn add(&mut self, contact: &Marks) {
        for key in contact.by_strength() {
            self.by_key.entry(key).or_default().push(contact.traits);
        }
    }

    fn with(&self, key: Option<Uuid>) -> impl Iterator<Item = Traits> {
        key.and_then(|key| self.by_key.get(&key)).into_iter().flatten().copied()
    }
}

/// The contacts that this import made or changed and that the read models may not show so yet. A key is 16 bytes of a hash;
/// those who share one are linked, from the last that came to the first.
#[derive(Debug, Default)]
pub struct Recent {
    last: HashMap<[u8; 16], u32>,
    keys: VecDeque<Linked>,
    traits: VecDeque<Traits>,
    /// How many keys and traits were let go before the first that is left.
    gone: (u32, u32),
    batches: VecDeque<Batch>,
}

#[derive(Debug)]
struct Linked {
    key: [u8; 16],
    traits: u32,
    before: Option<u32>,
}

#[derive(Debug)]
struct Batch {
    position: i64,
    keys: u32,
    traits: u32,
}

impl Recent {
    /// Lets go of everything that the read models show at `position`.
    pub fn folded_to(&mut self, position: i64) {
        while self.batches.front().is_some_and(|batch| batch.position <= position) {
            let Some(batch) = self.batches.pop_front() else { return };
            for (number, linked) in (self.gone.0..).zip(self.keys.drain(..batch.keys as usize)) {
                if self.last.get(&linked.key) == Some(&number) {
                    self.last.remove(&linked.key);
                }
            }
            self.traits.drain(..batch.traits as usize);
            self.gone = (self.gone.0 + batch.keys, self.gone.1 + batch.traits);
        }
    }

    /// Remembers contacts as they were made or changed at `position`.
    pub fn remember(&mut self, position: i64, contacts: impl Iterator<Item = Marks>) {
        let mut batch = Batch { position, keys: 0, traits: 0 };
        for contact in contacts {
            let number = |gone: u32, count: usize| u32::try_from(count).ok()?.checked_add(gone);
            let Some(traits) = number(self.gone.1, self.traits.len()) else { break };
            for key in contact.by_strength().map(Uuid::into_bytes) {
                let Some(at) = number(self.gone.0, self.keys.len()) else { break };
                let before = self.last.insert(key, at);
                self.keys.push_back(Linked { key, traits, before });
                batch.keys += 1;
            }
            self.traits.push_back(contact.traits);
            batch.traits += 1;
        }
        self.batches.push_back(batch);
    }

    fn with(&self, key: Option<Uuid>) -> impl Iterator<Item = Traits> {
        let linked = |number: u32| self.keys.get(number.checked_sub(self.gone.0)? as usize);
        let last = key.and_then(|key| linked(*self.last.get(&key.into_bytes())?));
        std::iter::successors(last, move |later| linked(later.before?))
            .take(SHARING_MAX)
            .filter_map(|linked| self.traits.get(linked.traits.checked_sub(self.gone.1)? as usize).copied())
    }
}

/// The contact that a row is about: the oldest of those that share its strongest key.
pub fn find(row: &Marks, known: &Known, recent: [&Recent; 2], chunk: &Known) -> Option<ContactId> {
    let MatchKeys { email, phone, external } = row.keys;
    let with = |key: Option<Uuid>| {
        let recent = recent.into_iter().flat_map(move |recent| recent.with(key));
        known.with(key).chain(recent).chain(chunk.with(key))
    };
    let oldest = |found: &mut dyn Iterator<Item = Traits>| found.map(|traits| traits.contact_id).min();
    oldest(&mut with(external))
        .or_else(|| oldest(&mut with(email)))
        .or_else(|| oldest(&mut with(phone).filter(|traits| traits.may_be(&row.traits))))
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

    fn found_in(row: &ContactProfile, known: &Known, recent: &Recent) -> Option<ContactId> {
        find(&Marks::of_row(row), known, [recent, &Recent::default()], &Known::default())
    }

    fn found(row: &ContactProfile, known: &[(u128, ContactProfile)]) -> Option<ContactId> {
        let mut all = Known::default();
        for (n, profile) in known {
            all.add(&Marks::of(id(*n), profile));
        }
        found_in(row, &all, &Recent::default())
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
        let find_recent = |recent: &Recent, wanted| found_in(wanted, &Known::default(), recent);
        let remember = |recent: &mut Recent, position, n, contact| {
            recent.remember(position, [Marks::of(id(n), contact)].into_iter());
        };
        let (a, b) = (row("a@x.com", "", "A", ""), row("b@x.com", "+33612345678", "", ""));
        remember(&mut recent, 10, 1, &a);
        remember(&mut recent, 20, 2, &b);
        assert_eq!((find_recent(&recent, &a), find_recent(&recent, &b)), (Some(id(1)), Some(id(2))));
        recent.folded_to(10);
        assert_eq!((find_recent(&recent, &a), find_recent(&recent, &b)), (None, Some(id(2))));
        recent.folded_to(20);
        assert_eq!(find_recent(&recent, &b), None);
        assert!(recent.last.is_empty() && recent.keys.is_empty() && recent.traits.is_empty());
        remember(&mut recent, 30, 3, &b);
        assert_eq!(find_recent(&recent, &b), Some(id(3)));
    }

    #[test]
    fn everybody_who_was_just_made_at_one_number_is_found() {
        let mut recent = Recent::default();
        let at_desk = |name| row("", "+33123456789", "", name);
        let people = ["Ann", "Bob", "Cid"];
        for (n, name) in (1..).zip(people) {
            recent.remember(i64::from(n), [Marks::of(id(n as u128), &at_desk(name))].into_iter());
        }
        let found = |recent: &Recent| people.map(|name| found_in(&at_desk(name), &Known::default(), recent));
        assert_eq!(found(&recent), [1, 2, 3].map(|n| Some(id(n))));
        recent.folded_to(1);
        assert_eq!(found(&recent), [None, Some(id(2)), Some(id(3))]);
        recent.folded_to(3);
        assert!(recent.last.is_empty() && recent.keys.is_empty());
    }

    #[test]
    fn what_a_contact_was_known_by_before_is_what_it_is_not_known_by_now() {
        let marks = |email, external| Marks::of(id(1), &row(email, "+33123456789", external, "Ann"));
        let known = |marks: &Marks| marks.by_strength().count();
        let left = marks("a@x.com", "").beyond(&marks("b@x.com", "K")).unwrap();
        assert_eq!((known(&left), left.keys.email), (1, marks("a@x.com", "").keys.email));
        assert!(marks("a@x.com", "").beyond(&marks("A@x.com", "K")).is_none());
    }
}
