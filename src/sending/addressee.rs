//! Who an address belongs to, and what stands against writing to it.
//!
//! Suppression, an opt-out and the status `do_not_contact` are one fact: they end in claims on the keyed hashes of addresses,
//! which the append of a draft and of a hand-over refuses. A contact's own stream is looked at as well, for addresses that
//! it got after it opted out. The read models only say which contact to look at; nothing is decided by them.

use docket_aggregates::allowlist::RecipientKeys;
use docket_aggregates::claims::ClaimKey;
use docket_aggregates::contact::Contact;
use docket_aggregates::ids::{ContactId, OrganizationId, SubjectId};
use docket_aggregates::judgement;
use docket_aggregates::message::Message;
use docket_projections::contacts::{self, ContactRow};
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

    /// The address alone, as it is judged where nobody said which contact is meant.
    pub async fn without_contact(
        app: &App,
        organization: OrganizationId,
        keys: &OrganizationKeys,
        recipient: Recipient,
    ) -> Result<Self, ServiceError<SendRefusal>> {
        let beside = owner_beside(app, organization, keys, &recipient).await?;
        Ok(Self { keys: recipient.keys(keys), recipient, contact: None, beside })
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

/// The same of a message that waits for its channel, by its id.
pub async fn contact_beside(
    app: &App,
    organization: OrganizationId,
    keys: &OrganizationKeys,
    message: &Message,
) -> Result<Option<ContactId>, ServiceError<SendRefusal>> {
    let Some(recipient) = Recipient::of_message(message) else { return Ok(None) };
    let owner = owner_beside(app, organization, keys, &recipient).await?;
    Ok(owner.map(|(contact_id, _)| contact_id))
}

/// The contact that an address belongs to: the oldest that has this very address, else the oldest that has its mailbox with
/// another tag or with none.
async fn owner_of(
    app: &App,
    organization: OrganizationId,
    keys: &OrganizationKeys,
    recipient: &Recipient,
) -> Result<Option<Owner>, ServiceError<SendRefusal>> {
    let mut peek = app.readside.peek().await?;
    let mut rows = candidates(&mut peek, organization, recipient).await?;
    drop(peek);
    if rows.is_empty() {
        // It may have been created a moment ago. A message is not held up for it while folding is far behind.
        match app.readside.view(organization, Consistency::STRONG).await {
            Ok(mut view) => rows = candidates(&mut view, organization, recipient).await?,
            Err(ReadSideError::UnknownOrganization) => return Err(ReadSideError::UnknownOrganization.into()),
            Err(behind) => {
                tracing::debug!(error = %behind, "a recipient was not looked up among new contacts")
            }
        }
    }
    let RecipientKeys { address, mailbox, .. } = recipient.keys(keys);
    let mut of_mailbox = None;
    for row in rows {
        let contact = app.ledger.load::<Contact>(organization, row.contact_id).await?;
        let Some(profile) = contact.state.profile() else { continue };
        if address_hashes(keys, profile).contains(&address) {
            return Ok(Some((row.contact_id, contact)));
        }
        if of_mailbox.is_none() && mailbox_hash(keys, profile).as_ref() == Some(&mailbox) {
            of_mailbox = Some((row.contact_id, contact));
        }
    }
    Ok(of_mailbox)
}

/// The contacts that may have an address, by id.
async fn candidates(
    conn: &mut PgConnection,
    organization: OrganizationId,
    recipient: &Recipient,
) -> sqlx::Result<Vec<ContactRow>> {
    let keys = recipient.match_keys();
    if !keys.is_empty() {
        let rows = contacts::by_keys(conn, organization, &keys, CONTACTS_MAX).await?;
        if !rows.is_empty() {
            return Ok(rows);
        }
    }
    let Some(key) = recipient.stored_key(organization) else { return Ok(vec![]) };
    contacts::by_match_keys(conn, organization, &[key], CONTACTS_MAX, CONTACTS_MAX).await
}
