//! Contacts as the list decides on them, each once however many of its addresses a command is about.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use cqrs_es::Aggregate;
use docket_aggregates::Decides;
use docket_aggregates::contact::{Contact, ContactCommand, ContactEvent};
use docket_aggregates::ids::{ContactId, OrganizationId};
use docket_aggregates::suppression::SuppressionReason;
use uuid::Uuid;

use crate::app::App;
use crate::contacts::address_hashes;
use crate::ledger::keys::OrganizationKeys;
use crate::ledger::read::ReadError;
use crate::ledger::{Versioned, Write};

/// What a contact is ordered that has an address which is on the list for this reason.
pub(super) fn leave_alone(
    keys: &OrganizationKeys,
    reason: SuppressionReason,
    address_hash: &str,
    contact: &Contact,
) -> ContactCommand {
    let address_hash = address_hash.to_owned();
    if reason != SuppressionReason::Unsubscribe {
        return ContactCommand::Suppress { address_hash };
    }
    // Who unsubscribes at one address means themselves, and so all of theirs.
    let known = contact.profile().map(|profile| address_hashes(keys, profile));
    let mut addresses: Vec<String> = known.into_iter().flatten().chain([address_hash]).collect();
    addresses.sort();
    addresses.dedup();
    ContactCommand::OptOut { via: "unsubscribe", addresses }
}

/// Contacts, and what was decided on each.
#[derive(Default)]
pub(super) struct Contacts {
    states: BTreeMap<ContactId, (Versioned<Contact>, Contact, Vec<ContactEvent>)>,
}

impl Contacts {
    /// These as they are now, read at once.
    pub async fn load(app: &App, organization: OrganizationId, ids: &[ContactId]) -> Result<Self, ReadError> {
        let streams: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
        let loaded = app.ledger.load_many::<Contact>(organization, &streams).await?;
        let states = ids.iter().zip(loaded).map(|(id, loaded)| {
            let state = (*loaded.state).clone();
            (*id, (loaded, state, vec![]))
        });
        Ok(Self { states: states.collect() })
    }

    /// Orders a contact to do something. One that is unknown or was erased has nothing to do.
    pub async fn order(
        &mut self,
        app: &App,
        organization: OrganizationId,
        id: ContactId,
        command: impl FnOnce(&Contact) -> ContactCommand,
    ) -> Result<(), ReadError> {
        let (_, state, decided) = match self.states.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let loaded = app.ledger.load::<Contact>(organization, id).await?;
                let state = (*loaded.state).clone();
                place.insert((loaded, state, vec![]))
            }
        };
        for event in state.decide(command(state)).unwrap_or_default() {
            decided.push(event.clone());
            state.apply(event);
        }
        Ok(())
    }

    /// Those that are to be left alone from here on.
    pub fn newly_left_alone(&self) -> Vec<ContactId> {
        let newly = self
            .states
            .iter()
            .filter(|(_, (before, after, _))| after.opted_out() && !before.state.opted_out());
        newly.map(|(id, _)| *id).collect()
    }

    /// What was decided; nothing for those that stand as they are.
    pub fn writes(self) -> impl Iterator<Item = Write> {
        let decided = self.states.into_values().filter(|(_, _, events)| !events.is_empty());
        decided.map(|(before, _, events)| before.write(events))
    }
}
