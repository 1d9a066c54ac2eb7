//! Who an address belongs to, and what stands against writing to it.
//!
//! Suppression, an opt-out and the status `do_not_contact` are one fact: they end in claims on the keyed hashes of addresses,
//! which the append of a draft and of a hand-over refuses. A contact's own stream is looked at as well, for addresses that
//! it got after it opted out. The read models only say which contact to look at; nothing is decided by them.

use std::collections::{BTreeMap, BTreeSet};

use docket_aggregates::allowlist::RecipientKeys;
use docket_aggregates::claims::ClaimKey;
use docket_aggregates::contact::{Contact, ContactProfile};
use docket_aggregates::ids::{ContactId, OrganizationId, SubjectId};
use docket_aggregates::judgement;
use docket_aggregates::message::Message;
use docket_projections::contacts::{self, ContactRow};
use docket_projections::searchable::MatchKeys;
use sqlx::PgConnection;

use super::recipient::Recipient;
use super::refusal::SendRefusal;
use crate::app::App;
use crate::contacts::{address_hashes, mailbox_hash};
use crate::ledger::keys::OrganizationKeys;
use crate::ledger::read::ReadError;
use crate::ledger::{Guard, Versioned};
use crate::readside::{Consistency, ReadSideError};
use crate::service::ServiceError;

/// Contacts with one address that are looked at, at most, the oldest first.
const CONTACTS_MAX: i64 = 20;

/// Whom a message is for.
#[derive(Clone, Debug)]
pub struct Addressee {
    /// The address.
    pub recipient: Recipient,
    /// The hashes by which it is known.
    pub keys: RecipientKeys,
    contact: Option<Owner>,
    /// Whoever else is reached: at this address, at another tag of its mailbox, or at the number that its channel writes to
    /// besides.
    others: Vec<Owner>,
}

/// A contact that has an address.
type Owner = (ContactId, Versioned<Contact>);

impl Addressee {
    /// The address with the contact that it belongs to, or with the one that is meant.
    pub async fn find(
        app: &App,
        organization: OrganizationId,
        keys: &OrganizationKeys,
        recipient: Recipient,
        meant: Option<ContactId>,
    ) -> Result<Self, ServiceError<SendRefusal>> {
        let of_address = owners_of(app, organization, keys, &recipient).await?;
        let mut found = of_address.clone();
        if let Some(at_the_number) = recipient.at_the_number() {
            found.extend(owners_of(app, organization, keys, &at_the_number).await?);
        }
        let contact = match meant {
            Some(contact_id) => {
                let contact = app.ledger.load::<Contact>(organization, contact_id).await?;
                if !contact.exists() {
                    return Err(ServiceError::Refused(SendRefusal::UnknownContact));
                }
                Some((contact_id, contact))
            }
            None => of_address.first().cloned(),
        };
        let mut seen: BTreeSet<ContactId> = contact.iter().map(|(id, _)| *id).collect();
        let others = found.into_iter().filter(|(id, _)| seen.insert(*id)).collect();
        Ok(Self { keys: recipient.keys(keys), recipient, contact, others })
    }

    /// The contact, where there is one.
    pub fn contact_id(&self) -> Option<ContactId> {
        self.contact.as_ref().map(|(contact_id, _)| *contact_id)
    }

    /// Whom the message is about: the contact, or whoever the address belongs to.
    pub fn subject(&self, organization: OrganizationId) -> SubjectId {
        match &self.contact {
            Some((contact_id, _)) => SubjectId(contact_id.uuid()),
            None => organization.correspondent(&self.keys.address),
        }
    }

    /// The claims of which each stands against writing to it.
    pub fn against(&self) -> Vec<ClaimKey> {
        against(&self.keys)
    }

    /// What was looked at beside the claims.
    pub fn guards(&self) -> impl Iterator<Item = Guard> + '_ {
        self.contact.iter().chain(&self.others).map(|(_, contact)| contact.guard())
    }

    /// Whether the contact asked not to be contacted, at whatever address, or whoever else is reached.
    fn opted_out(&self) -> bool {
        self.contact.iter().chain(&self.others).any(|(_, contact)| contact.state.opted_out())
    }

    /// Whether the address is suppressed now.
    pub async fn suppressed(&self, app: &App, organization: OrganizationId) -> Result<bool, ReadError> {
        let owners = app.ledger.owners(organization, &self.against()).await?;
        Ok(owners.iter().any(Option::is_some))
    }

    /// The same as it is judged: the address, and the contact that has it.
    pub fn judged(&self, suppressed: bool) -> judgement::Recipient<'_> {
        judgement::Recipient { keys: &self.keys, suppressed, left_alone: self.opted_out() }
    }
}

/// The claims of which each stands against writing to an address.
pub fn against(keys: &RecipientKeys) -> Vec<ClaimKey> {
    keys.suppressed_as.iter().flat_map(|hash| ClaimKey::against(hash)).collect()
}

/// The contacts that each of these messages reaches beside the one that it was drafted for: whoever else has its address by
/// now, another tag of its mailbox, or the number. Only what the read models show is looked at: whoever has such a contact left
/// alone by another address looked for it there before, and what is appended here looks for that word.
pub async fn contacts_beside(
    app: &App,
    organization: OrganizationId,
    keys: &OrganizationKeys,
    messages: &[&Message],
) -> Result<Vec<BTreeSet<ContactId>>, ReadSideError> {
    let reached: Vec<Vec<Recipient>> = messages
        .iter()
        .map(|message| {
            let Some(recipient) = Recipient::of_message(message) else { return vec![] };
            let at_the_number = recipient.at_the_number();
            [recipient].into_iter().chain(at_the_number).collect()
        })
        .collect();
    let recipients: Vec<Recipient> = reached.iter().flatten().cloned().collect();
    let mut peek = app.readside.peek().await?;
    let found = candidates(&mut peek, organization, &recipients).await?;
    drop(peek);
    let profiles = found.iter().filter_map(|row| Some((row.contact_id, row.profile.as_ref()?)));
    let at = At::of(keys, profiles);
    let others = |(those, message): (&Vec<Recipient>, &&Message)| {
        let mut others: BTreeSet<ContactId> =
            those.iter().flat_map(|recipient| at.reached(&recipient.keys(keys))).collect();
        if let Some(own) = message.contact_id() {
            others.remove(&own);
        }
        others
    };
    Ok(reached.iter().zip(messages).map(others).collect())
}

/// The contacts that an address reaches: those that have this very address, the oldest first, then those that have its
/// mailbox with another tag or with none.
async fn owners_of(
    app: &App,
    organization: OrganizationId,
    keys: &OrganizationKeys,
    recipient: &Recipient,
) -> Result<Vec<Owner>, ServiceError<SendRefusal>> {
    let recipients = std::slice::from_ref(recipient);
    let mut peek = app.readside.peek().await?;
    let mut found = candidates(&mut peek, organization, recipients).await?;
    drop(peek);
    if found.is_empty() {
        // It may have been created a moment ago. A message is not held up for it while folding is far behind.
        match app.readside.view(organization, Consistency::STRONG).await {
            Ok(mut view) => {
                view.by_key().await?;
                found = candidates(&mut view, organization, recipients).await?;
            }
            Err(ReadSideError::UnknownOrganization) => return Err(ReadSideError::UnknownOrganization.into()),
            Err(behind) => {
                tracing::debug!(error = %behind, "a recipient was not looked up among new contacts")
            }
        }
    }
    let ids: BTreeSet<ContactId> = found.into_iter().map(|row| row.contact_id).collect();
    let mut contacts = app.ledger.load_each::<Contact, _>(organization, ids, |id| id.uuid()).await?;
    let profiles = contacts.iter().filter_map(|(id, contact)| Some((*id, contact.state.profile()?)));
    let reached = At::of(keys, profiles).reached(&recipient.keys(keys));
    Ok(reached.into_iter().filter_map(|id| contacts.remove_entry(&id)).collect())
}

/// Contacts by the addresses that they have, the oldest first.
#[derive(Default)]
struct At {
    address: BTreeMap<String, Vec<ContactId>>,
    mailbox: BTreeMap<String, Vec<ContactId>>,
}

impl At {
    fn of<'p>(
        keys: &OrganizationKeys,
        contacts: impl Iterator<Item = (ContactId, &'p ContactProfile)>,
    ) -> Self {
        let mut at = Self::default();
        for (id, profile) in contacts {
            for hash in address_hashes(keys, profile) {
                at.address.entry(hash).or_default().push(id);
            }
            if let Some(hash) = mailbox_hash(keys, profile) {
                at.mailbox.entry(hash).or_default().push(id);
            }
        }
        at
    }

    /// Those at this very address, then the others at its mailbox.
    fn reached(&self, recipient: &RecipientKeys) -> Vec<ContactId> {
        let at_address = self.address.get(&recipient.address).into_iter().flatten().copied();
        let mut reached: Vec<ContactId> = at_address.collect();
        let at_mailbox = self.mailbox.get(&recipient.mailbox).into_iter().flatten();
        let others: Vec<ContactId> = at_mailbox.filter(|id| !reached.contains(id)).copied().collect();
        reached.extend(others);
        reached
    }
}

/// The contacts that may have one of these addresses, by id.
async fn candidates(
    conn: &mut PgConnection,
    organization: OrganizationId,
    recipients: &[Recipient],
) -> sqlx::Result<Vec<ContactRow>> {
    let limit = |keys: usize| CONTACTS_MAX.saturating_mul(keys as i64);
    let exact: Vec<MatchKeys> = recipients.iter().flat_map(Recipient::match_keys).collect();
    let mut rows = match exact.is_empty() {
        true => vec![],
        false => contacts::by_keys(conn, organization, &exact, CONTACTS_MAX, limit(exact.len())).await?,
    };
    let stored: Vec<i64> =
        recipients.iter().filter_map(|recipient| recipient.stored_key(organization)).collect();
    rows.extend(
        contacts::by_match_keys(conn, organization, &stored, CONTACTS_MAX, limit(stored.len())).await?,
    );
    rows.sort_by_key(|row| row.contact_id);
    rows.dedup_by_key(|row| row.contact_id);
    Ok(rows)
}
