//! Who an address belongs to, and what stands against writing to it.
//!
//! Suppression, an opt-out and the status `do_not_contact` are one fact: they end in claims on the keyed hashes of addresses,
//! which the append of a draft and of a hand-over refuses. A contact's own stream is looked at as well, for addresses that
//! it got after it opted out. The read models only say which contact to look at; nothing is decided by them.

use std::collections::{BTreeMap, BTreeSet};

use docket_aggregates::allowlist::RecipientKeys;
use docket_aggregates::claims::ClaimKey;
use docket_aggregates::contact::Contact;
use docket_aggregates::ids::{ContactId, OrganizationId, SubjectId};
use docket_aggregates::judgement;
use docket_aggregates::message::Message;
use docket_projections::contacts;
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

/// Contacts with one address that are looked at, at most: the oldest whose address it still is counts.
const CONTACTS_MAX: i64 = 20;

/// Whom a message is for.
#[derive(Clone, Debug)]
pub struct Addressee {
    /// The address.
    pub recipient: Recipient,
    /// The hashes by which it is known.
    pub keys: RecipientKeys,
    contact: Option<Owner>,
    /// Whoever has the number that its channel writes to besides.
    beside: Option<Owner>,
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
        let contact = match meant {
            Some(contact_id) => {
                let contact = app.ledger.load::<Contact>(organization, contact_id).await?;
                if !contact.exists() {
                    return Err(ServiceError::Refused(SendRefusal::UnknownContact));
                }
                Some((contact_id, contact))
            }
            None => owner_of(app, organization, keys, &recipient).await?,
        };
        let beside = owner_beside(app, organization, keys, &recipient).await?;
        Ok(Self { keys: recipient.keys(keys), recipient, contact, beside })
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
        self.contact.iter().chain(&self.beside).map(|(_, contact)| contact.guard())
    }

    /// Whether the contact asked not to be contacted, at whatever address, or whoever has the number beside it.
    fn opted_out(&self) -> bool {
        self.contact.iter().chain(&self.beside).any(|(_, contact)| contact.state.opted_out())
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

/// The contact that the number belongs to which a message's channel writes to besides.
async fn owner_beside(
    app: &App,
    organization: OrganizationId,
    keys: &OrganizationKeys,
    recipient: &Recipient,
) -> Result<Option<Owner>, ServiceError<SendRefusal>> {
    match recipient.at_the_number() {
        Some(at_the_number) => owner_of(app, organization, keys, &at_the_number).await,
        None => Ok(None),
    }
}

/// The contacts that each of these messages reaches beside the one that it was drafted for: whoever has its address by now,
/// where nobody had it, and whoever has the number. Only what the read models show is looked at: whoever has such a contact
/// left alone by another address looked for it there before, and what is appended here looks for that word.
pub async fn contacts_beside(
    app: &App,
    organization: OrganizationId,
    keys: &OrganizationKeys,
    messages: &[&Message],
) -> Result<Vec<Vec<ContactId>>, ServiceError<SendRefusal>> {
    let reached: Vec<Vec<Recipient>> = messages
        .iter()
        .map(|message| {
            let Some(recipient) = Recipient::of_message(message) else { return vec![] };
            let at_the_number = recipient.at_the_number();
            let for_nobody = message.contact_id().is_none().then_some(recipient);
            for_nobody.into_iter().chain(at_the_number).collect()
        })
        .collect();
    let recipients: Vec<Recipient> = reached.iter().flatten().cloned().collect();
    if recipients.is_empty() {
        return Ok(vec![vec![]; messages.len()]);
    }
    let mut peek = app.readside.peek().await?;
    let found = candidates(&mut peek, organization, keys, &recipients).await?;
    drop(peek);
    let mut owners = owners(app, organization, keys, &recipients, found).await?.into_iter();
    let mut of_each = Vec::with_capacity(messages.len());
    for those in &reached {
        let owners = owners.by_ref().take(those.len()).flatten();
        of_each.push(owners.map(|(contact_id, _)| contact_id).collect());
    }
    Ok(of_each)
}

/// The contact that an address belongs to.
async fn owner_of(
    app: &App,
    organization: OrganizationId,
    keys: &OrganizationKeys,
    recipient: &Recipient,
) -> Result<Option<Owner>, ServiceError<SendRefusal>> {
    let recipients = std::slice::from_ref(recipient);
    let mut peek = app.readside.peek().await?;
    let mut found = candidates(&mut peek, organization, keys, recipients).await?;
    drop(peek);
    if found.is_empty() {
        // It may have been created a moment ago. A message is not held up for it while folding is far behind.
        match app.readside.view(organization, Consistency::STRONG).await {
            Ok(mut view) => found = candidates(&mut view, organization, keys, recipients).await?,
            Err(ReadSideError::UnknownOrganization) => return Err(ReadSideError::UnknownOrganization.into()),
            Err(behind) => {
                tracing::debug!(error = %behind, "a recipient was not looked up among new contacts")
            }
        }
    }
    Ok(owners(app, organization, keys, recipients, found).await?.into_iter().flatten().next())
}

/// Of each address the contact that it belongs to, of those that were found: the oldest that has this very address, else the
/// oldest that has its mailbox with another tag or with none.
async fn owners(
    app: &App,
    organization: OrganizationId,
    keys: &OrganizationKeys,
    recipients: &[Recipient],
    found: BTreeSet<ContactId>,
) -> Result<Vec<Option<Owner>>, ReadError> {
    let contacts = app.ledger.load_each::<Contact, _>(organization, found, |id| id.uuid()).await?;
    let (mut of_address, mut of_mailbox) = (BTreeMap::new(), BTreeMap::new());
    for (id, contact) in &contacts {
        let Some(profile) = contact.state.profile() else { continue };
        for hash in address_hashes(keys, profile) {
            of_address.entry(hash).or_insert(id);
        }
        if let Some(hash) = mailbox_hash(keys, profile) {
            of_mailbox.entry(hash).or_insert(id);
        }
    }
    let owner = |recipient: &Recipient| {
        let RecipientKeys { address, mailbox, .. } = recipient.keys(keys);
        let id = of_address.get(&address).or_else(|| of_mailbox.get(&mailbox))?;
        Some((**id, contacts.get(id)?.clone()))
    };
    Ok(recipients.iter().map(owner).collect())
}

/// The contacts that may have one of these addresses.
async fn candidates(
    conn: &mut PgConnection,
    organization: OrganizationId,
    keys: &OrganizationKeys,
    recipients: &[Recipient],
) -> sqlx::Result<BTreeSet<ContactId>> {
    let limit = CONTACTS_MAX.saturating_mul(recipients.len() as i64);
    let exact: Vec<MatchKeys> = recipients.iter().flat_map(Recipient::match_keys).collect();
    let mut rows = match exact.is_empty() {
        true => vec![],
        false => contacts::by_keys(conn, organization, &exact, CONTACTS_MAX, limit).await?,
    };
    let profiles = rows.iter().filter_map(|row| row.profile.as_ref());
    let had: BTreeSet<String> = profiles
        .flat_map(|profile| address_hashes(keys, profile).into_iter().chain(mailbox_hash(keys, profile)))
        .collect();
    let is_had = |recipient: &&Recipient| {
        let RecipientKeys { address, mailbox, .. } = recipient.keys(keys);
        had.contains(&address) || had.contains(&mailbox)
    };
    let others = recipients.iter().filter(|recipient| !is_had(recipient));
    let stored: Vec<i64> = others.filter_map(|recipient| recipient.stored_key(organization)).collect();
    rows.extend(contacts::by_match_keys(conn, organization, &stored, CONTACTS_MAX, limit).await?);
    Ok(rows.into_iter().map(|row| row.contact_id).collect())
}
