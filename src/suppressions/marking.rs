//! The contacts of what is on the list, marked for certain.
//!
//! Whoever changes the list marks its contacts: those of an address in the same append, unless they are a crowd, those of
//! a domain after it, portion by portion. Neither is the last word. The process may be killed between two portions, and
//! a contact may come in after it was looked for who has the address and before the address is on the list. So each event
//! of an entry also becomes a row of work: a little later, everybody who has the address or is of the domain by then is
//! looked at again, until all of them stand as the list says. What comes in later sees the list itself. Only an import
//! looks some time before it appends: while one makes contacts, the entries are looked at once more, until none does.
//!
//! What is marked is not marked again, so that a row (see `entries`) may be worked off twice. No send depends on any of
//! this; it is refused by the list's own claim.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cqrs_es::Aggregate;
use docket_aggregates::allowlist::EntryKind;
use docket_aggregates::contact::ContactCommand;
use docket_aggregates::ids::{ContactId, OrganizationId};
use docket_aggregates::personal::Personal;
use docket_aggregates::suppression::{Suppression, SuppressionEvent, SuppressionReason};
use docket_projections::{contacts as contact_rows, imports};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::contacts::{Contacts, leave_alone, newly_left_alone};
use super::entries::{Entries, Held, take_due};
use super::{SuppressionRefusal, TRIES, Target, find_contacts};
use crate::app::App;
use crate::calls::cancelled_follow_ups;
use crate::following;
use crate::ledger::read::{self, ReadError};
use crate::ledger::{AppendError, Guard, Lane, Stream};
use crate::readside::Consistency;
use crate::sending::parse_entry;
use crate::service::{Call, ServiceError};

/// How often it is looked for what is due.
const LOOK: Duration = Duration::from_secs(1);
/// Contacts in one append.
const CONTACTS: usize = 250;

type Result<T, E = ServiceError<SuppressionRefusal>> = std::result::Result<T, E>;

/// Follows the lists and marks contacts, until it is told to end.
pub async fn run(app: App, ending: CancellationToken) {
    tokio::join!(following::follow(&app.ledger, &Entries, &ending), work_off(&app, &ending));
}

async fn work_off(app: &App, ending: &CancellationToken) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Organizations take turns, so that a long list holds up nobody else's.
    let mut after = Uuid::nil();
    loop {
        tokio::select! {
            () = ending.cancelled() => return,
            _ = look.tick() => (),
        }
        while !ending.is_cancelled() {
            let held = match take_due(app, after).await {
                Ok(Some(held)) => held,
                Ok(None) => break,
                Err(_) => {
                    tracing::warn!(
                        "entries of suppression lists whose contacts are to be marked cannot be read"
                    );
                    break;
                }
            };
            after = held.organization.uuid();
            let marked = tokio::select! {
                marked = mark(app, &held) => marked,
                () = ending.cancelled() => Ok(()),
            };
            if let Err(error) = &marked {
                tracing::warn!(
                    organization.id = %held.organization, error = %error,
                    "the contacts of suppressed addresses are not marked yet"
                );
            }
            if held.give_back(app, marked.is_err()).await.is_err() {
                tracing::warn!(
                    "entries of a suppression list could not be given back; they are taken up later"
                );
            }
        }
    }
}

/// Marks the contacts of everything that is held.
async fn mark(app: &App, held: &Held) -> Result<()> {
    // Asked before, so that what an import makes meanwhile is not missed.
    let mut view = app.readside.view(held.organization, Consistency::STRONG).await?;
    let once_more = imports::any_committing(&mut view, held.organization).await?;
    drop(view);
    let ids: BTreeSet<Uuid> = held.entries.keys().copied().collect();
    let entries = read_entries(app, held.organization, &ids).await?;
    let mut domains = Vec::new();
    for entry in entries.values() {
        domains.extend(entry.domain(app, held.organization).await?.map(|domain| (entry, domain)));
    }
    let of_domains: BTreeSet<Uuid> = domains.iter().map(|(entry, _)| entry.id).collect();
    let addresses: Vec<Uuid> = ids.difference(&of_domains).copied().collect();
    mark_addresses(app, held, &addresses).await?;
    held.looked_at(app, &addresses, once_more).await?;
    let call = Call::of_system(app, held.organization, "suppressions");
    'domains: for (entry, domain) in domains {
        let mut after = held.entries.get(&entry.id).copied().flatten();
        while let Some(last) = mark_portion(app, &call, &entry.hash, &domain, after).await? {
            if !held.reached(app, entry.id, last).await? {
                continue 'domains;
            }
            after = Some(last);
        }
        held.looked_at(app, &[entry.id], once_more).await?;
    }
    Ok(())
}

/// An entry as its events tell it.
struct Entry {
    id: Uuid,
    hash: String,
    /// The address, or `@` and the domain; none where it is not known any more.
    text: Option<String>,
    list: Suppression,
    version: u64,
}

impl Entry {
    fn guard(&self) -> Guard {
        Guard { stream: Stream::of::<Suppression>(self.id), version: self.version }
    }

    /// The domain, if it is one.
    async fn domain(&self, app: &App, organization: OrganizationId) -> Result<Option<String>> {
        let Some(text) = self.text.as_deref().filter(|text| text.starts_with('@')) else { return Ok(None) };
        let keys = app.ledger.keys().organization(organization).await?;
        // An account may begin with an @ as well; its hash is another.
        let domain = parse_entry(organization, &keys, text)
            .is_ok_and(|read| read.kind == EntryKind::Domain && read.hash == self.hash);
        Ok(domain.then(|| text.trim_start_matches('@').to_owned()))
    }
}

/// Entries as they are now, with their texts.
async fn read_entries(
    app: &App,
    organization: OrganizationId,
    ids: &BTreeSet<Uuid>,
) -> Result<BTreeMap<Uuid, Entry>, ReadError> {
    let ledger = &app.ledger;
    let mut events =
        read::streams(ledger.pool(), organization, Suppression::TYPE, ids.iter().copied()).await?;
    read::open(ledger.keys(), organization, &mut events).await?;
    let mut entries: BTreeMap<Uuid, Entry> = BTreeMap::new();
    for stored in events {
        let damaged = ReadError::Damaged(stored.position);
        let Ok(id) = stored.aggregate_id.parse::<Uuid>() else { return Err(damaged) };
        let Ok(event) = serde_json::from_value::<SuppressionEvent>(stored.payload) else {
            return Err(damaged);
        };
        let entry = entries.entry(id).or_insert_with(|| Entry {
            id,
            hash: String::new(),
            text: None,
            list: Suppression::default(),
            version: 0,
        });
        if let SuppressionEvent::SuppressionAdded { address_hash, address, .. } = &event {
            entry.hash.clone_from(address_hash);
            // Once known, it is the same for ever.
            let text = address.as_ref().and_then(Personal::value);
            entry.text = text.cloned().or_else(|| entry.text.take());
        }
        entry.version += 1;
        entry.list.apply(event);
    }
    Ok(entries)
}

/// Has everybody who has one of these addresses left alone or not any more, as the list says.
async fn mark_addresses(app: &App, held: &Held, ids: &[Uuid]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let ids: BTreeSet<Uuid> = ids.iter().copied().collect();
    let mut after = None;
    loop {
        let mut left = TRIES;
        after = loop {
            match try_addresses(app, held.organization, &ids, after).await {
                Err(ServiceError::Append(AppendError::Conflict)) if left > 1 => left -= 1,
                marked => break marked?,
            }
        };
        if after.is_none() {
            return Ok(());
        }
        held.keep(app).await?;
    }
}

/// A portion of them: those after `after`. The last of them if there may be others.
async fn try_addresses(
    app: &App,
    organization: OrganizationId,
    ids: &BTreeSet<Uuid>,
    after: Option<ContactId>,
) -> Result<Option<ContactId>> {
    let keys = app.ledger.keys().organization(organization).await?;
    let entries = read_entries(app, organization, ids).await?;
    let entries: BTreeMap<&str, &Entry> =
        entries.values().map(|entry| (entry.hash.as_str(), entry)).collect();
    let target = |entry: &&Entry| Target::known(organization, entry.hash.clone(), entry.text.clone(), None);
    let mut targets: Vec<Target> = entries.values().map(target).collect();
    let last = find_contacts(app, organization, &mut targets, after).await?;
    let mut having: BTreeMap<ContactId, Vec<&Entry>> = BTreeMap::new();
    for Target { hash, contacts, .. } in &targets {
        let Some(entry) = entries.get(hash.as_str()) else { continue };
        for contact in contacts {
            having.entry(*contact).or_default().push(entry);
        }
    }
    let having: Vec<(ContactId, Vec<&Entry>)> = having.into_iter().collect();
    for portion in having.chunks(CONTACTS) {
        let ids: Vec<ContactId> = portion.iter().map(|(id, _)| *id).collect();
        let mut contacts = Contacts::load(&app.ledger, organization, &uuids(&ids)).await?;
        let mut guards = BTreeMap::new();
        for (id, entries) in portion {
            for entry in entries {
                let (hash, address_hash) = (&entry.hash, entry.hash.clone());
                match entry.list.reason() {
                    Some(SuppressionReason::Bounce) => continue,
                    Some(reason) => {
                        let order = |contact: &_| leave_alone(&keys, reason, hash, contact);
                        contacts.order(&app.ledger, organization, *id, order).await?;
                    }
                    None => {
                        let order = |_: &_| ContactCommand::LiftSuppression { address_hash };
                        contacts.order(&app.ledger, organization, *id, order).await?;
                    }
                }
                guards.insert(entry.id, entry.guard());
            }
        }
        let call = Call::of_system(app, organization, "suppressions");
        append(app, &call, contacts, guards.into_values().collect()).await?;
    }
    Ok(last)
}

/// Has a portion of the contacts of a domain left alone that is on the list now, or not any more that is not: those after
/// `after`. It is one append, which holds only if the list still is as it was seen. The last of them, if there were any.
pub(super) async fn mark_portion(
    app: &App,
    call: &Call,
    hash: &str,
    domain: &str,
    after: Option<ContactId>,
) -> Result<Option<ContactId>> {
    let organization = call.organization;
    for _ in 0..TRIES {
        let mut view = app.readside.view(organization, Consistency::STRONG).await?;
        let page = contact_rows::of_domain(&mut view, organization, domain, after, CONTACTS as i64).await?;
        drop(view);
        let Some(last) = page.last() else { return Ok(None) };
        let list = app.ledger.load::<Suppression>(organization, organization.suppression(hash)).await?;
        let stands = list.state.reason().is_some_and(|reason| reason != SuppressionReason::Bounce);
        let mut contacts = Contacts::load(&app.ledger, organization, &uuids(&page)).await?;
        for id in &page {
            let address_hash = hash.to_owned();
            let command = |_: &_| match stands {
                true => ContactCommand::Suppress { address_hash },
                false => ContactCommand::LiftSuppression { address_hash },
            };
            contacts.order(&app.ledger, organization, *id, command).await?;
        }
        match append(app, call, contacts, vec![list.guard()]).await {
            Ok(()) => return Ok(Some(*last)),
            Err(ServiceError::Append(AppendError::Conflict)) => (),
            Err(error) => return Err(error),
        }
    }
    Err(AppendError::Conflict.into())
}

fn uuids(contacts: &[ContactId]) -> Vec<Uuid> {
    contacts.iter().map(|id| id.uuid()).collect()
}

/// Records what was decided on contacts, with what follows from it, if it was anything.
async fn append(app: &App, call: &Call, contacts: Contacts, guards: Vec<Guard>) -> Result<()> {
    let mut writes = cancelled_follow_ups(app, call.organization, &newly_left_alone(&contacts)).await?;
    writes.extend(contacts.writes());
    let call = Call { command_id: app.clock.mint(), ..call.clone() };
    let mut command = call.command(writes, guards, None);
    if command.writes.is_empty() {
        return Ok(());
    }
    command.lane = Lane::Bulk;
    app.ledger.append(command).await?;
    Ok(())
}
