//! What becomes of each row of a chunk, decided on the contacts as the ledger knows them.
//!
//! A row that is about nobody who is known becomes a contact; one that is about somebody changes it, or only opts it out, as
//! the order of the commit says. Nothing is written here.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use cqrs_es::Aggregate;
use docket_aggregates::Decides;
use docket_aggregates::contact::{Contact, ContactCommand, ContactError, ContactEvent, ContactProfile};
use docket_aggregates::ids::ContactId;
use docket_aggregates::import::{OnDuplicate, RowOutcome, StagedContact, StagedRow};
use docket_projections::searchable::MatchKeys;

use super::chunks::Commit;
use super::source::Ready;
use crate::imports::Error;
use crate::imports::matching::{Known, Marks, find};
use crate::ledger::read::{self, ReadError};
use crate::ledger::{Stream, Write};

impl Commit<'_> {
    /// Decides what becomes of each row of a chunk.
    pub(super) async fn plan(&mut self, ready: &Ready) -> Result<Plan, Error> {
        self.recent.folded_to(ready.position);
        let Ready { known, standings, against, .. } = ready;
        let rows: Vec<(&StagedRow, &StagedContact)> = ready.rows().collect();
        let marks: Vec<Marks> = rows.iter().map(|(_, contact)| Marks::of_row(&contact.profile)).collect();
        let changes = |contact: &StagedContact| self.on_duplicate == OnDuplicate::Update || contact.opted_out;
        // Nearly all contacts that will be changed are read at once: those that the rows find as they stand.
        let mut chunk = Known::default();
        let mut made = HashSet::new();
        let mut changed = BTreeSet::new();
        for ((row, contact), marks) in rows.iter().zip(&marks) {
            match find(marks, known, [&self.recent, &self.replaced], &chunk) {
                None => {
                    chunk.add(&marks.given_to(contact_id(row)));
                    made.insert(contact_id(row));
                }
                Some(found) if changes(contact) && !made.contains(&found) => drop(changed.insert(found)),
                Some(_) => (),
            }
        }

        let mut plan = Plan { contacts: self.load_contacts(&changed).await?, ..Plan::default() };
        let mut chunk = Known::default();
        let legal_basis = self.folder.state.legal_basis();
        for (((row, contact), marks), standing) in rows.iter().zip(&marks).zip(standings) {
            let opted_out =
                |by_address: bool| (contact.opted_out || by_address).then(|| standing.hashes.clone());
            let profile = contact.profile.clone();
            let import_id = Some(self.import_id);
            let by_address = standing.all().any(|hash| against.suppressed.contains(hash));
            let listed = standing.all().filter(|hash| against.listed.contains_key(*hash));
            let (outcomes, id) = match find(marks, known, [&self.recent, &self.replaced], &chunk) {
                None => {
                    let contact_id = contact_id(row);
                    chunk.add(&marks.given_to(contact_id));
                    let opted_out = opted_out(by_address);
                    plan.order(
                        contact_id,
                        ContactCommand::Create { contact_id, profile, legal_basis, import_id, opted_out },
                    );
                    plan.suppress(contact_id, listed);
                    (&mut plan.created, contact_id)
                }
                Some(found) => {
                    // What an earlier row gave it may be what it is found by.
                    if changes(contact) && !plan.contacts.contains_key(&found) {
                        plan.contacts.extend(self.load_contacts(&BTreeSet::from([found])).await?);
                    }
                    let opted_out = opted_out(by_address && self.on_duplicate == OnDuplicate::Update);
                    let before = plan.marks(found);
                    let profile = plan.without_respelling(found, profile);
                    let command = match (self.on_duplicate, &opted_out) {
                        (OnDuplicate::Update, _) => {
                            Some(ContactCommand::Merge { profile, import_id, opted_out })
                        }
                        (OnDuplicate::Skip, Some(addresses)) => {
                            Some(ContactCommand::OptOut { via: "import", addresses: addresses.clone() })
                        }
                        (OnDuplicate::Skip, None) => None,
                    };
                    let mut changed = command.is_some_and(|command| plan.order(found, command));
                    if self.on_duplicate == OnDuplicate::Update {
                        changed |= plan.suppress(found, listed);
                        match (before, plan.marks(found)) {
                            (before, Some(after)) => {
                                chunk.add(&after);
                                plan.replaced.extend(before.and_then(|before| before.beyond(&after)));
                            }
                            // A rehearsal made it, and keeps no more of it than this.
                            (_, None) if self.rehearsing => {
                                chunk.add(&marks.given_to(found));
                                plan.rehearsed.push(marks.given_to(found));
                            }
                            (_, None) => (),
                        }
                    }
                    (if changed { &mut plan.updated } else { &mut plan.skipped }, found)
                }
            };
            outcomes.push(RowOutcome { line: row.line, subject: row.contact.subject(), contact_id: id });
        }
        Ok(plan)
    }

    /// These contacts as the ledger knows them, read at once.
    async fn load_contacts(&self, ids: &BTreeSet<ContactId>) -> Result<BTreeMap<ContactId, Changed>, Error> {
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let ledger = &self.app.ledger;
        let ids = ids.iter().map(|id| id.uuid());
        let mut events = read::streams(ledger.pool(), self.organization, Contact::TYPE, ids).await?;
        read::open(ledger.keys(), self.organization, &mut events).await?;
        let mut contacts: BTreeMap<ContactId, Changed> = BTreeMap::new();
        for stored in events {
            let position = stored.position;
            let id = stored.aggregate_id.parse().map_err(|_| ReadError::Damaged(position))?;
            let contact = contacts.entry(id).or_default();
            contact.state.apply(stored.event()?);
            contact.expected += 1;
        }
        Ok(contacts)
    }
}

/// The contact that a row becomes.
fn contact_id(row: &StagedRow) -> ContactId {
    ContactId(row.contact.subject().uuid())
}

/// A contact in the course of a chunk.
#[derive(Debug, Default)]
struct Changed {
    expected: u64,
    state: Contact,
    events: Vec<ContactEvent>,
}

/// What becomes of the rows of one chunk.
#[derive(Debug, Default)]
pub(super) struct Plan {
    contacts: BTreeMap<ContactId, Changed>,
    pub(super) created: Vec<RowOutcome>,
    pub(super) updated: Vec<RowOutcome>,
    pub(super) skipped: Vec<RowOutcome>,
    /// What contacts were known by, and are not any more.
    pub(super) replaced: Vec<Marks>,
    /// What a rehearsal gave to contacts that it made before.
    rehearsed: Vec<Marks>,
}

impl Plan {
    /// Orders a contact to do something; says whether that changed anything. A contact that was erased meanwhile,
    /// or never was, stays as it is.
    fn order(&mut self, contact_id: ContactId, command: ContactCommand) -> bool {
        let contact = self.contacts.entry(contact_id).or_default();
        match contact.state.decide(command) {
            Ok(events) => {
                let changed = !events.is_empty();
                for event in events {
                    contact.state.apply(event.clone());
                    contact.events.push(event);
                }
                changed
            }
            Err(ContactError::Erased | ContactError::Unknown | ContactError::AlreadyCreated) => false,
        }
    }

    /// Has a contact left alone for as long as these addresses of it are on the list; says whether that changed anything.
    fn suppress<'h>(&mut self, contact_id: ContactId, listed: impl Iterator<Item = &'h String>) -> bool {
        let mut changed = false;
        for address_hash in listed.cloned() {
            changed |= self.order(contact_id, ContactCommand::Suppress { address_hash });
        }
        changed
    }

    /// The profile without an e-mail address that is the known one in another spelling.
    fn without_respelling(&self, contact_id: ContactId, profile: ContactProfile) -> ContactProfile {
        let known = self.contacts.get(&contact_id).and_then(|contact| contact.state.profile());
        let same = known.is_some_and(|known| MatchKeys::of(known).email == MatchKeys::of(&profile).email);
        if same { ContactProfile { email: None, ..profile } } else { profile }
    }

    pub(super) fn writes(&self) -> impl Iterator<Item = Write> {
        self.contacts.iter().filter(|(_, contact)| !contact.events.is_empty()).map(|(id, contact)| Write {
            stream: Stream::of::<Contact>(*id),
            expected: contact.expected,
            events: contact.events.iter().cloned().map(Into::into).collect(),
        })
    }

    /// What a contact is known by, with all that was ordered so far.
    fn marks(&self, contact_id: ContactId) -> Option<Marks> {
        let profile = self.contacts.get(&contact_id)?.state.profile()?;
        Some(Marks::of(contact_id, profile))
    }

    /// What the contacts that are new or changed are known by.
    pub(super) fn touched(&self) -> impl Iterator<Item = Marks> {
        let touched = self.contacts.iter().filter(|(_, contact)| !contact.events.is_empty());
        let marks = touched.filter_map(|(id, contact)| Some(Marks::of(*id, contact.state.profile()?)));
        marks.chain(self.rehearsed.iter().cloned())
    }
}
