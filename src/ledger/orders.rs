//! Several orders to aggregates of one kind within one append, each decided on what those before it made of its aggregate.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use docket_aggregates::Decides;
use docket_aggregates::ids::OrganizationId;
use uuid::Uuid;

use super::read::ReadError;
use super::{Ledger, Versioned, Write};

/// An aggregate as it was read, as it is after its orders, and what these came to.
struct Ordered<A: Decides> {
    before: Versioned<A>,
    after: A,
    events: Vec<A::Event>,
}

impl<A: Decides + Clone> Ordered<A> {
    fn nothing_yet(before: Versioned<A>) -> Self {
        let after = (*before.state).clone();
        Self { before, after, events: vec![] }
    }
}

/// Aggregates, and what was decided on each.
pub struct Orders<A: Decides>(BTreeMap<Uuid, Ordered<A>>);

impl<A: Decides> Default for Orders<A> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<A: Decides + Clone + 'static> Orders<A> {
    /// These as they are now, read at once.
    pub async fn load(
        ledger: &Ledger,
        organization: OrganizationId,
        ids: &[Uuid],
    ) -> Result<Self, ReadError> {
        let loaded = ledger.load_many::<A>(organization, ids).await?;
        Ok(Self(ids.iter().copied().zip(loaded.into_iter().map(Ordered::nothing_yet)).collect()))
    }

    /// Orders one to do something. What it refuses is nothing to do.
    pub async fn order(
        &mut self,
        ledger: &Ledger,
        organization: OrganizationId,
        id: impl Into<Uuid>,
        command: impl FnOnce(&A) -> A::Command,
    ) -> Result<(), ReadError> {
        let id = id.into();
        let Ordered { after, events, .. } = match self.0.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                place.insert(Ordered::nothing_yet(ledger.load::<A>(organization, id).await?))
            }
        };
        for event in after.decide(command(after)).unwrap_or_default() {
            events.push(event.clone());
            after.apply(event);
        }
        Ok(())
    }

    /// Each with its state before and after its orders.
    pub fn states(&self) -> impl Iterator<Item = (Uuid, &A, &A)> {
        self.0.iter().map(|(id, ordered)| (*id, &*ordered.before.state, &ordered.after))
    }

    /// What was decided; nothing for those that stand as they are.
    pub fn writes(self) -> impl Iterator<Item = Write> {
        let decided = self.0.into_values().filter(|ordered| !ordered.events.is_empty());
        decided.map(|Ordered { before, events, .. }| before.write(events))
    }
}
