//! To whom nothing is sent.
//!
//! An address on the list, its contacts' `doNotContact` and their `do_not_contact` in campaigns are one fact, recorded in one
//! append: the list's own stream takes the claim that no send gets past, the contacts' streams move them in every
//! campaign, and follow-ups that were promised are taken back. Only a bounce stays with the address: that nothing arrives
//! there is no wish of whoever had it, who may still be called.
//!
//! A domain entry stands against every address of the domain and of none below it. Its contacts are many, so that they follow
//! it, portion by portion, before the answer; from the first append on, nothing is sent to any of them. Whoever was left over,
//! and whoever came in while the list was changed, is found by `marking` a little later.
//!
//! Who unsubscribes or complains at an address with a tag after a plus means the mailbox: it is put on the list beside it, and
//! stands against every tag.
//!
//! What a person said of themselves is never lifted. Everything else the board may take off again; where the contacts stand
//! in campaigns stays as it is until they are put in again.

mod against;
mod contacts;
mod entries;
mod marking;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use docket_aggregates::allowlist::EntryKind;
use docket_aggregates::contact::{ContactCommand, ContactProfile};
use docket_aggregates::ids::{ContactId, OrganizationId, SubjectId};
use docket_aggregates::personal::Personal;
use docket_aggregates::suppression::{Suppression, SuppressionCommand, SuppressionError, SuppressionReason};
use docket_aggregates::{Decides, Timestamp};
use docket_projections::contacts as contact_rows;
use docket_projections::searchable::{MatchKeys, account_key, mailbox_key, number_key, without_tag};
use schemars::JsonSchema;
use serde::Serialize;

use crate::allowlist::EntriesChanged;
use crate::app::App;
use crate::calls::cancelled_follow_ups;
use crate::contacts::{address_hash, address_hashes, mailbox_hash};
use crate::ledger::keys::{OrganizationKeys, SubjectKey};
use crate::ledger::{AppendError, Appended, Lane, Write};
use crate::readside::Consistency;
use crate::sending::{ReadEntry, RecipientError, parse_entry, parse_new_entry};
use crate::service::{Call, Done, ServiceError};
use crate::shapes::{Instant, OneOf};

pub(crate) use against::{Against, Standing};
pub use marking::run;

use contacts::{Contacts, leave_alone, newly_left_alone};

/// How often a decision that lost a race is made anew.
const TRIES: usize = 5;
/// Addresses of one append.
const CHUNK: usize = 250;
/// So many addresses are bulk work.
const BULK: usize = 100;
/// Contacts that are looked for at once by the addresses of one append. Those beyond follow a little later (see [`marking`]).
const CONTACTS_MAX: i64 = 5_000;

/// Why the suppression list is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuppressionRefusal {
    /// An entry is no address.
    #[error("{error}")]
    Address {
        /// Which, from 0.
        index: usize,
        /// Why.
        error: AddressError,
    },
    /// The list refuses an entry.
    #[error("{error}")]
    List {
        /// Which, from 0.
        index: usize,
        /// Why.
        error: SuppressionError,
    },
}

/// Why a text is no address that can be suppressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is none.
    #[error(transparent)]
    Recipient(#[from] RecipientError),
    /// It is everybody.
    #[error("must be one address, number or account, or @ and a domain")]
    NotAnAddress,
}

/// An address or domain on the suppression list, as answers show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuppressionView {
    /// The address, or `@` and the domain; null once erased.
    pub address: Option<String>,
    /// Why.
    #[schemars(with = "OneOf<SuppressionReason>")]
    pub reason: SuppressionReason,
    /// Since when.
    #[schemars(with = "Instant")]
    pub created_at: Timestamp,
}

/// One address or domain, as the list knows it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Keyed hash of it.
    pub hash: String,
    /// As it is shown; none where it is not known any more.
    pub address: Option<Personal<String>>,
    /// Contacts that are known to have it. Others are looked for by the address.
    pub contacts: Vec<ContactId>,
    /// The domain, where it is one.
    domain: Option<String>,
}

impl Target {
    /// An address that is known by its hash, and perhaps by its text.
    pub fn known(
        organization: OrganizationId,
        hash: String,
        address: Option<String>,
        contact: Option<ContactId>,
    ) -> Self {
        let subject = organization.correspondent(&hash);
        let address = address.map(|address| Personal::known(subject, address));
        Self { hash, address, contacts: contact.into_iter().collect(), domain: None }
    }

    fn text(&self) -> Option<&String> {
        self.address.as_ref().and_then(Personal::value)
    }
}

async fn read(
    app: &App,
    organization: OrganizationId,
    entries: &[String],
    read_entry: ReadEntry,
) -> Result<Vec<Target>, ServiceError<SuppressionRefusal>> {
    let keys = app.ledger.keys().organization(organization).await?;
    let mut seen = BTreeSet::new();
    let mut targets = Vec::with_capacity(entries.len());
    for (index, text) in entries.iter().enumerate() {
        let refused = |error| ServiceError::Refused(SuppressionRefusal::Address { index, error });
        let entry = read_entry(organization, &keys, text).map_err(|error| refused(error.into()))?;
        let domain = match entry.kind {
            EntryKind::Address | EntryKind::Handle => None,
            EntryKind::Domain => entry.text.value().map(|shown| shown.trim_start_matches('@').to_owned()),
            EntryKind::Everybody => return Err(refused(AddressError::NotAnAddress)),
        };
        if seen.insert(entry.hash.clone()) {
            targets.push(Target { hash: entry.hash, address: Some(entry.text), contacts: vec![], domain });
        }
    }
    Ok(targets)
}

/// Adds to each address the contacts that have it now; to one without a tag also those that have it with any, and to a number
/// those that have it with an extension. They are looked for in the order of their ids, after `after`; the last of them if
/// there may be others.
async fn find_contacts<R>(
    app: &App,
    organization: OrganizationId,
    targets: &mut [Target],
    after: Option<ContactId>,
) -> Result<Option<ContactId>, ServiceError<R>> {
    let texts = targets.iter().filter(|target| target.domain.is_none()).filter_map(Target::text);
    let (mut wanted, mut stored) = (Vec::new(), Vec::new());
    for text in texts {
        wanted.push(MatchKeys::of_address(text));
        stored.extend(account_key(organization, text));
        if !text.contains('@') {
            stored.push(number_key(organization, text));
        } else if matches!(without_tag(text), Cow::Borrowed(_)) {
            stored.push(mailbox_key(organization, text));
        }
    }
    if wanted.is_empty() {
        return Ok(None);
    }
    let keys = app.ledger.keys().organization(organization).await?;
    let mut view = app.readside.view(organization, Consistency::STRONG).await?;
    view.by_key().await?;
    let rows = contact_rows::of_addresses(&mut view, organization, &wanted, &stored, after, CONTACTS_MAX);
    let rows = rows.await?;
    drop(view);
    let last = rows.last().filter(|_| rows.len() as i64 == CONTACTS_MAX).map(|row| row.contact_id);
    let mut having: BTreeMap<String, Vec<ContactId>> = BTreeMap::new();
    for row in rows {
        let Some(profile) = &row.profile else { continue };
        for hash in address_hashes(&keys, profile).into_iter().chain(mailbox_hash(&keys, profile)) {
            having.entry(hash).or_default().push(row.contact_id);
        }
    }
    for target in targets {
        target.contacts.extend(having.remove(&target.hash).unwrap_or_default());
        target.contacts.sort_unstable();
        target.contacts.dedup();
    }
    Ok(last)
}

/// Adds to each tagged address the mailbox that it is delivered to.
fn add_mailboxes(organization: OrganizationId, keys: &OrganizationKeys, targets: &mut Vec<Target>) {
    let mut seen: BTreeSet<String> = targets.iter().map(|target| target.hash.clone()).collect();
    let mailbox = |target: &Target| match without_tag(target.text()?) {
        Cow::Owned(mailbox) => Some(mailbox),
        Cow::Borrowed(_) => None,
    };
    let mailboxes: Vec<String> = targets.iter().filter_map(mailbox).collect();
    for mailbox in mailboxes {
        let hash = address_hash(keys, &mailbox);
        if seen.insert(hash.clone()) {
            targets.push(Target::known(organization, hash, Some(mailbox), None));
        }
    }
}

/// Takes the texts away of those whose data was erased: nothing is recorded about them any more. That they are on the list is
/// not about them but about us, and is known by the hash alone.
async fn forget_erased<R>(
    app: &App,
    organization: OrganizationId,
    targets: &mut [Target],
) -> Result<(), ServiceError<R>> {
    let subject = |target: &Target| target.address.as_ref().map(Personal::subject);
    let subjects: BTreeSet<SubjectId> = targets.iter().filter_map(subject).collect();
    if subjects.is_empty() {
        return Ok(());
    }
    let keys = app.ledger.keys().subjects(organization, &subjects).await?;
    for target in targets {
        if subject(target).is_some_and(|subject| matches!(keys.get(&subject), Some(SubjectKey::Erased))) {
            target.address = None;
        }
    }
    Ok(())
}

/// Everything that puts addresses on the list: their own streams, their contacts and what was promised to these. Of an address
/// that is there already, for this reason or a weightier one, only those contacts that are not left alone yet: what stood there may
/// have been spelt so that they were not found by it.
pub(crate) async fn suppressing<R>(
    app: &App,
    organization: OrganizationId,
    mut targets: Vec<Target>,
    reason: SuppressionReason,
) -> Result<Vec<Write>, ServiceError<R>> {
    let keys = app.ledger.keys().organization(organization).await?;
    if matches!(reason, SuppressionReason::Unsubscribe | SuppressionReason::Complaint) {
        add_mailboxes(organization, &keys, &mut targets);
    }
    if reason != SuppressionReason::Bounce {
        let found = find_contacts(app, organization, &mut targets, None).await;
        heeded(reason, found)?;
    }
    // The contacts were looked for by the text; it is only recorded where that may still be done.
    forget_erased(app, organization, &mut targets).await?;
    let mut writes = Vec::new();
    let mut contacts = Contacts::default();
    for Target { hash, address, contacts: having, .. } in targets {
        let stream = organization.suppression(&hash);
        let list = app.ledger.load::<Suppression>(organization, stream).await?;
        let contact_ids = if reason == SuppressionReason::Bounce { vec![] } else { having.clone() };
        let command =
            SuppressionCommand::Suppress { address_hash: hash.clone(), address, reason, contact_ids };
        // Putting an address on the list is never refused.
        let events = list.state.decide(command).unwrap_or_default();
        if !events.is_empty() {
            writes.push(list.write(events));
        }
        if reason == SuppressionReason::Bounce {
            continue;
        }
        for id in having {
            let order = |contact: &_| leave_alone(&keys, reason, &hash, contact);
            contacts.order(&app.ledger, organization, id, order).await?;
        }
    }
    let promised = cancelled_follow_ups(app, organization, &newly_left_alone(&contacts)).await;
    writes.extend(heeded(reason, promised)?);
    writes.extend(contacts.writes());
    Ok(writes)
}

/// The entries of a contact that says by another way than a message that it is not to be contacted: each of its addresses,
/// for ever. The contact's own stream is written beside by whoever heard it.
pub(crate) async fn of_contact<R>(
    app: &App,
    organization: OrganizationId,
    contact: ContactId,
    profile: &ContactProfile,
) -> Result<Vec<Write>, ServiceError<R>> {
    let keys = app.ledger.keys().organization(organization).await?;
    let mut targets: Vec<Target> = profile
        .addresses()
        .map(|text| {
            Target::known(organization, address_hash(&keys, text), Some(text.to_owned()), Some(contact))
        })
        .collect();
    forget_erased(app, organization, &mut targets).await?;
    let mut writes = Vec::new();
    for Target { hash, address, contacts, .. } in targets {
        let list = app.ledger.load::<Suppression>(organization, organization.suppression(&hash)).await?;
        let reason = SuppressionReason::Unsubscribe;
        let command =
            SuppressionCommand::Suppress { address_hash: hash, address, reason, contact_ids: contacts };
        // Putting an address on the list is never refused.
        writes.push(list.write(list.state.decide(command).unwrap_or_default()));
    }
    writes.retain(|write| !write.events.is_empty());
    Ok(writes)
}

/// What the read models add to somebody's own word. They may fail; the word is heeded all the same.
fn heeded<T: Default, R>(
    reason: SuppressionReason,
    read: Result<T, ServiceError<R>>,
) -> Result<T, ServiceError<R>> {
    match read {
        Err(ServiceError::ReadSide(_) | ServiceError::Database(_))
            if reason == SuppressionReason::Unsubscribe =>
        {
            tracing::warn!(
                "the read models do not answer: an unsubscribe is recorded without what follows from it"
            );
            Ok(T::default())
        }
        read => read,
    }
}

/// Everything that takes addresses off the list. Those that are not on it are passed over.
async fn lifting(
    app: &App,
    organization: OrganizationId,
    mut targets: Vec<Target>,
) -> Result<Vec<Write>, ServiceError<SuppressionRefusal>> {
    // The list knows the contacts that it was told of; others came in later, and are left alone because of it as well.
    find_contacts(app, organization, &mut targets, None).await?;
    let mut writes = Vec::new();
    let mut contacts = Contacts::default();
    for (index, Target { hash, contacts: having, .. }) in targets.into_iter().enumerate() {
        let list = app.ledger.load::<Suppression>(organization, organization.suppression(&hash)).await?;
        let events = match list.state.decide(SuppressionCommand::Lift) {
            Ok(events) => events,
            Err(SuppressionError::NotSuppressed) => continue,
            Err(error) => return Err(ServiceError::Refused(SuppressionRefusal::List { index, error })),
        };
        let known: BTreeSet<ContactId> = list.state.contacts().iter().copied().chain(having).collect();
        for id in known {
            let lift = |_: &_| ContactCommand::LiftSuppression { address_hash: hash.clone() };
            contacts.order(&app.ledger, organization, id, lift).await?;
        }
        writes.push(list.write(events));
    }
    writes.extend(contacts.writes());
    Ok(writes)
}

/// Has the contacts of a domain follow it at once, as far as that goes. It is on the list, so that nothing is refused for
/// want of them; those that are left over follow a little later (see [`marking`]).
async fn follow_domain(app: &App, call: &Call, target: &Target) {
    let Some(domain) = &target.domain else { return };
    let mut after = None;
    loop {
        match marking::mark_portion(app, call, &target.hash, domain, after).await {
            Ok(Some(last)) => after = Some(last),
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(error = %error, "the contacts of a domain follow it later");
                return;
            }
        }
    }
}

/// What is to be done to addresses.
#[derive(Clone, Copy)]
enum Change {
    Suppress(SuppressionReason),
    Lift,
}

/// Changes the list, a chunk of addresses in each append. The last one answers the request.
async fn change(
    app: &App,
    call: &Call,
    targets: &[Target],
    change: Change,
    answer: impl Fn(usize) -> EntriesChanged,
) -> Result<(usize, Option<Appended>), ServiceError<SuppressionRefusal>> {
    let mut changed = 0;
    let mut appended = None;
    let chunks = targets.len().div_ceil(CHUNK);
    for (number, chunk) in targets.chunks(CHUNK).enumerate() {
        let mut left = TRIES;
        let call = match number {
            0 => call.clone(),
            _ => Call { command_id: app.clock.mint(), ..call.clone() },
        };
        loop {
            let targets = chunk.to_vec();
            let writes = match change {
                Change::Suppress(reason) => suppressing(app, call.organization, targets, reason).await?,
                Change::Lift => lifting(app, call.organization, targets).await?,
            };
            if writes.is_empty() {
                break;
            }
            let of_list = writes.iter().filter(|write| write.stream.aggregate_type == "Suppression").count();
            let request = if number + 1 == chunks {
                call.request(&answer(changed + of_list.min(chunk.len())))?
            } else {
                None
            };
            let mut command = call.command(writes, vec![], request);
            if chunk.len() >= BULK {
                command.lane = Lane::Bulk;
            }
            left -= 1;
            match app.ledger.append(command).await {
                Ok(done) => {
                    // A mailbox that came with an address is no entry of its own.
                    changed += of_list.min(chunk.len());
                    appended = Some(done);
                    break;
                }
                // Whoever was erased meanwhile is found erased the next time.
                Err(AppendError::Conflict | AppendError::SubjectErased) if left > 0 => (),
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok((changed, appended))
}

/// Puts an address on the list. From the answer on, nothing is handed over to it.
pub async fn suppress(
    app: &App,
    call: &Call,
    address: &str,
    reason: SuppressionReason,
) -> Result<Done<SuppressionView>, ServiceError<SuppressionRefusal>> {
    let targets = read(app, call.organization, &[address.to_owned()], parse_new_entry).await?;
    one(app, call, targets, Change::Suppress(reason)).await
}

/// Takes an address off the list. What its owner said of being contacted is another matter and stays.
pub async fn lift(
    app: &App,
    call: &Call,
    address: &str,
) -> Result<Done<SuppressionView>, ServiceError<SuppressionRefusal>> {
    let targets = read(app, call.organization, &[address.to_owned()], parse_entry).await?;
    one(app, call, targets, Change::Lift).await
}

/// One address, answered with itself.
async fn one(
    app: &App,
    call: &Call,
    targets: Vec<Target>,
    change: Change,
) -> Result<Done<SuppressionView>, ServiceError<SuppressionRefusal>> {
    let refused = |error| ServiceError::Refused(SuppressionRefusal::List { index: 0, error });
    let target = targets.into_iter().next().ok_or_else(|| refused(SuppressionError::NotSuppressed))?;
    let shown = target.text().cloned();
    let stream = call.organization.suppression(&target.hash);
    for _ in 0..TRIES {
        let before = app.ledger.load::<Suppression>(call.organization, stream).await?;
        let reason = match (change, before.state.reason()) {
            (Change::Lift, None) => return Err(refused(SuppressionError::NotSuppressed)),
            (Change::Lift, Some(known)) => known,
            (Change::Suppress(SuppressionReason::Unsubscribe), _) => SuppressionReason::Unsubscribe,
            (Change::Suppress(wanted), known) => known.unwrap_or(wanted),
        };
        let entity = SuppressionView { address: shown.clone(), reason, created_at: call.at };
        let targets = vec![target.clone()];
        let writes = match change {
            Change::Suppress(wanted) => suppressing(app, call.organization, targets, wanted).await?,
            Change::Lift => lifting(app, call.organization, targets).await?,
        };
        if writes.is_empty() {
            follow_domain(app, call, &target).await;
            return Ok(Done { entity, appended: None });
        }
        match app.ledger.append(call.command(writes, vec![], call.request(&entity)?)).await {
            Ok(appended) => {
                follow_domain(app, call, &target).await;
                return Ok(Done { entity, appended: Some(appended) });
            }
            Err(AppendError::Conflict | AppendError::SubjectErased) => (),
            Err(error) => return Err(error.into()),
        }
    }
    Err(AppendError::Conflict.into())
}

/// Puts many addresses on the list. A chunk of them is one append: if the answer is a failure, some may be there, and the same
/// request again does the rest.
pub async fn suppress_all(
    app: &App,
    call: &Call,
    entries: &[String],
    reason: SuppressionReason,
) -> Result<Done<EntriesChanged>, ServiceError<SuppressionRefusal>> {
    all(app, call, entries, Change::Suppress(reason)).await
}

/// Takes many addresses off the list, none of them if the owner of one unsubscribed.
pub async fn lift_all(
    app: &App,
    call: &Call,
    entries: &[String],
) -> Result<Done<EntriesChanged>, ServiceError<SuppressionRefusal>> {
    all(app, call, entries, Change::Lift).await
}

async fn all(
    app: &App,
    call: &Call,
    entries: &[String],
    wanted: Change,
) -> Result<Done<EntriesChanged>, ServiceError<SuppressionRefusal>> {
    let read_entry: ReadEntry = match wanted {
        Change::Suppress(_) => parse_new_entry,
        Change::Lift => parse_entry,
    };
    let targets = read(app, call.organization, entries, read_entry).await?;
    if matches!(wanted, Change::Lift) {
        for (index, target) in targets.iter().enumerate() {
            let stream = call.organization.suppression(&target.hash);
            let list = app.ledger.load::<Suppression>(call.organization, stream).await?;
            if list.state.reason() == Some(SuppressionReason::Unsubscribe) {
                let error = SuppressionError::OptedOut;
                return Err(ServiceError::Refused(SuppressionRefusal::List { index, error }));
            }
        }
    }
    let answer = |changed| EntriesChanged { changed, unchanged: entries.len().saturating_sub(changed) };
    let (changed, appended) = change(app, call, &targets, wanted, answer).await?;
    for target in &targets {
        follow_domain(app, call, target).await;
    }
    Ok(Done { entity: answer(changed), appended })
}
