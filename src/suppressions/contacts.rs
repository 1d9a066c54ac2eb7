//! Contacts as the list decides on them, each once however many of its addresses a command is about.

use docket_aggregates::contact::{Contact, ContactCommand};
use docket_aggregates::ids::ContactId;
use docket_aggregates::suppression::SuppressionReason;

use crate::contacts::address_hashes;
use crate::ledger::Orders;
use crate::ledger::keys::OrganizationKeys;

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
pub(super) type Contacts = Orders<Contact>;

/// Those that are to be left alone from here on.
pub(super) fn newly_left_alone(contacts: &Contacts) -> Vec<ContactId> {
    let newly = contacts.states().filter(|(_, before, after)| after.opted_out() && !before.opted_out());
    newly.map(|(id, ..)| ContactId(id)).collect()
}
