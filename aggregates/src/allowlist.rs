//! The allowlist: whom messages may be sent to at all.
//!
//! One stream per organization, so that one version guards a whole judgement. Empty means nobody. Entries are compared
//! by keyed hashes of their one spelling, which the border makes (case, IDN, display names), so that an erased address
//! stays an entry nobody can read. An address entry is that address and no other, a tag after a plus included; a
//! domain entry is that domain and none below it; `*` is everybody and must be meant.

mod event;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use event::{AllowedEntry, AllowlistEvent, EntryKind};

use crate::personal::Personal;
use crate::stored::aggregate;

/// Entries in one event, at most.
pub const BATCH: usize = 1_000;

/// One entry to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// What it is.
    pub kind: EntryKind,
    /// Keyed hash of its one spelling.
    pub hash: String,
    /// The entry as it is shown, under the address's own subject.
    pub text: Personal<String>,
}

/// The keyed hashes by which one recipient is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientKeys {
    /// Of its address.
    pub address: String,
    /// Of its mailbox: the address, without its tag where it has one after a plus.
    pub mailbox: String,
    /// Of `@` and the domain of its address, where it has one.
    pub domain: Option<String>,
    /// Of the number that is written to beside its address, where the channel does so.
    pub number: Option<String>,
    /// Of everything as which it may be suppressed: the address, where it has a tag after a plus the address without it,
    /// its domain, and the number that is written to beside it.
    pub suppressed_as: Vec<String>,
}

/// Orders to the allowlist.
#[derive(Clone, Debug)]
pub enum AllowlistCommand {
    /// Put entries in. Those that are in stay as they are.
    Allow {
        /// The entries.
        entries: Vec<NewEntry>,
        /// The caller knows that `*` allows everybody.
        acknowledge_all: bool,
    },
    /// Take entries out. Those that are not in are left alone.
    Disallow {
        /// Hashes of the entries.
        hashes: Vec<String>,
    },
}

/// Why the allowlist refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowlistError {
    /// `*` was given, and nobody said that this is meant.
    #[error("the entry * allows everybody and must be acknowledged with acknowledgeAll")]
    AllowsEverybody,
}

/// The state that decisions need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Allowlist {
    entries: BTreeMap<String, EntryKind>,
    /// Whether one of them allows everybody.
    everybody: bool,
}

aggregate!(Allowlist, "Allowlist", AllowlistCommand, AllowlistEvent, AllowlistError);

/// Whether somebody may be written to, and by which entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// By an entry of this kind.
    By(EntryKind),
    /// Not at all.
    No,
    /// Nobody is: the list is empty.
    ListIsEmpty,
}

impl Allowlist {
    /// The whole business of the allowlist.
    fn decide(&self, command: AllowlistCommand) -> Result<Vec<AllowlistEvent>, AllowlistError> {
        match command {
            AllowlistCommand::Allow { entries, acknowledge_all } => {
                if !acknowledge_all && entries.iter().any(|entry| entry.kind == EntryKind::Everybody) {
                    return Err(AllowlistError::AllowsEverybody);
                }
                let new: BTreeMap<String, NewEntry> = entries
                    .into_iter()
                    .filter(|entry| !self.entries.contains_key(&entry.hash))
                    .map(|entry| (entry.hash.clone(), entry))
                    .collect();
                let mut new = new
                    .into_values()
                    .map(|NewEntry { kind, hash, text }| AllowedEntry { kind, hash, text })
                    .collect::<Vec<_>>()
                    .into_iter();
                let mut events = Vec::new();
                loop {
                    let entries: Vec<_> = new.by_ref().take(BATCH).collect();
                    if entries.is_empty() {
                        return Ok(events);
                    }
                    events.push(AllowlistEvent::EntriesAllowed { entries });
                }
            }
            AllowlistCommand::Disallow { mut hashes } => {
                hashes.retain(|hash| self.entries.contains_key(hash));
                hashes.sort_unstable();
                hashes.dedup();
                Ok(hashes
                    .chunks(BATCH)
                    .map(|batch| AllowlistEvent::EntriesDisallowed { hashes: batch.to_vec() })
                    .collect())
            }
        }
    }

    fn evolve(&mut self, event: AllowlistEvent) {
        match event {
            AllowlistEvent::EntriesAllowed { entries } => {
                self.everybody |= entries.iter().any(|entry| entry.kind == EntryKind::Everybody);
                self.entries.extend(entries.into_iter().map(|entry| (entry.hash, entry.kind)));
            }
            AllowlistEvent::EntriesDisallowed { hashes } => {
                for hash in hashes {
                    if self.entries.remove(&hash) == Some(EntryKind::Everybody) {
                        self.everybody = false;
                    }
                }
            }
        }
    }

    /// Whether this recipient may be written to.
    pub fn allows(&self, recipient: &RecipientKeys) -> Allowed {
        let is = |hash: &String, kind: fn(EntryKind) -> bool| {
            self.entries.get(hash).copied().filter(|found| kind(*found))
        };
        if self.entries.is_empty() {
            return Allowed::ListIsEmpty;
        }
        let by_itself = |hash| is(hash, |kind| matches!(kind, EntryKind::Address | EntryKind::Handle));
        let by_domain = recipient.domain.as_ref().and_then(|hash| is(hash, |kind| kind == EntryKind::Domain));
        let listed = by_itself(&recipient.address).or(by_domain);
        // A number beside the address is written to as well, and no domain stands for it.
        let with_number = recipient.number.as_ref().is_none_or(|number| by_itself(number).is_some());
        match listed.filter(|_| with_number) {
            Some(kind) => Allowed::By(kind),
            None if self.everybody => Allowed::By(EntryKind::Everybody),
            None => Allowed::No,
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody is allowed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SubjectId;
    use cqrs_es::Aggregate;
    use cqrs_es::test::TestFramework;
    use uuid::Uuid;

    type Given = TestFramework<Allowlist>;

    fn text(hash: &str) -> Personal<String> {
        Personal::known(SubjectId(Uuid::from_u128(hash.len() as u128)), hash.to_uppercase())
    }

    fn entry(kind: EntryKind, hash: &str) -> NewEntry {
        NewEntry { kind, hash: hash.into(), text: text(hash) }
    }

    fn allowed(entries: &[(EntryKind, &str)]) -> AllowlistEvent {
        AllowlistEvent::EntriesAllowed {
            entries: entries
                .iter()
                .map(|(kind, hash)| AllowedEntry { kind: *kind, hash: (*hash).into(), text: text(hash) })
                .collect(),
        }
    }

    fn allow(entries: Vec<NewEntry>) -> AllowlistCommand {
        AllowlistCommand::Allow { entries, acknowledge_all: false }
    }

    fn disallow(hashes: &[&str]) -> AllowlistCommand {
        AllowlistCommand::Disallow { hashes: hashes.iter().map(|hash| (*hash).into()).collect() }
    }

    fn to(address: &str, domain: Option<&str>) -> RecipientKeys {
        RecipientKeys {
            address: address.into(),
            mailbox: address.into(),
            domain: domain.map(Into::into),
            number: None,
            suppressed_as: vec![address.into()],
        }
    }

    #[test]
    fn a_number_beside_the_address_must_be_on_the_list_itself() {
        let with = |number: &str| RecipientKeys { number: Some(number.into()), ..to("ann@a", Some("@a")) };
        let list = |entries: &[(EntryKind, &str)]| {
            let mut list = Allowlist::default();
            list.apply(allowed(entries));
            list
        };
        let domain = (EntryKind::Domain, "@a");
        assert_eq!(list(&[domain]).allows(&with("+1")), Allowed::No);
        assert_eq!(list(&[(EntryKind::Address, "+1")]).allows(&with("+1")), Allowed::No);
        let both = list(&[domain, (EntryKind::Address, "+1")]);
        assert_eq!(both.allows(&with("+1")), Allowed::By(EntryKind::Domain));
        assert_eq!(both.allows(&with("+2")), Allowed::No);
        let everybody = list(&[domain, (EntryKind::Everybody, "*")]);
        assert_eq!(everybody.allows(&with("+2")), Allowed::By(EntryKind::Everybody));
    }

    #[test]
    fn an_entry_is_put_in_once() {
        let entries = || vec![entry(EntryKind::Domain, "@a"), entry(EntryKind::Address, "ann@a")];
        Given::with(())
            .given_no_previous_events()
            .when(allow(entries()))
            .then_expect_events(vec![allowed(&[(EntryKind::Domain, "@a"), (EntryKind::Address, "ann@a")])]);
        Given::with(())
            .given(vec![allowed(&[(EntryKind::Domain, "@a")])])
            .when(allow([entries(), entries()].concat()))
            .then_expect_events(vec![allowed(&[(EntryKind::Address, "ann@a")])]);
    }

    #[test]
    fn everybody_must_be_meant() {
        Given::with(())
            .given_no_previous_events()
            .when(allow(vec![entry(EntryKind::Address, "ann@a"), entry(EntryKind::Everybody, "*")]))
            .then_expect_error(AllowlistError::AllowsEverybody);
        Given::with(())
            .given_no_previous_events()
            .when(AllowlistCommand::Allow {
                entries: vec![entry(EntryKind::Everybody, "*")],
                acknowledge_all: true,
            })
            .then_expect_events(vec![allowed(&[(EntryKind::Everybody, "*")])]);
    }

    #[test]
    fn what_is_not_in_is_not_taken_out() {
        Given::with(())
            .given(vec![allowed(&[(EntryKind::Address, "ann@a")])])
            .when(disallow(&["ann@a", "bob@a", "ann@a"]))
            .then_expect_events(vec![AllowlistEvent::EntriesDisallowed { hashes: vec!["ann@a".into()] }]);
        Given::with(()).given_no_previous_events().when(disallow(&["ann@a"])).then_expect_events(vec![]);
    }

    #[test]
    fn many_entries_are_many_events() {
        let entries = (0..2_500).map(|number| entry(EntryKind::Address, &format!("{number:05}"))).collect();
        let events = Allowlist::default().decide(allow(entries)).unwrap();
        let sizes: Vec<_> = events
            .iter()
            .map(|event| match event {
                AllowlistEvent::EntriesAllowed { entries } => entries.len(),
                AllowlistEvent::EntriesDisallowed { .. } => 0,
            })
            .collect();
        assert_eq!(sizes, [1_000, 1_000, 500]);
    }

    #[test]
    fn only_those_on_the_list_are_allowed() {
        use EntryKind::{Address, Domain, Everybody, Handle};
        for (entries, recipient, expected) in [
            (vec![], to("ann@a", Some("@a")), Allowed::ListIsEmpty),
            (vec![(Address, "ann@a")], to("ann@a", Some("@a")), Allowed::By(Address)),
            (vec![(Address, "ann@a")], to("ann+x@a", Some("@a")), Allowed::No),
            (vec![(Domain, "@a")], to("ann@a", Some("@a")), Allowed::By(Domain)),
            (vec![(Domain, "@a")], to("ann@b.a", Some("@b.a")), Allowed::No),
            // A handle that is spelt like a domain entry is none, and the other way round.
            (vec![(Domain, "@a")], to("@a", None), Allowed::No),
            (vec![(Handle, "@a")], to("ann@a", Some("@a")), Allowed::No),
            (vec![(Handle, "ann")], to("ann", None), Allowed::By(Handle)),
            (vec![(Handle, "ann"), (Everybody, "*")], to("bob", None), Allowed::By(Everybody)),
        ] {
            let mut list = Allowlist::default();
            if !entries.is_empty() {
                list.apply(allowed(&entries));
            }
            assert_eq!(list.allows(&recipient), expected, "{entries:?} {recipient:?}");
        }
    }

    #[test]
    fn everybody_is_taken_back() {
        let mut list = Allowlist::default();
        list.apply(allowed(&[(EntryKind::Everybody, "*"), (EntryKind::Address, "ann@a")]));
        list.apply(AllowlistEvent::EntriesDisallowed { hashes: vec!["*".into()] });
        assert_eq!(list.allows(&to("bob@a", None)), Allowed::No);
        assert_eq!(list.len(), 1);
    }
}
