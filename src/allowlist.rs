//! Whom messages may be sent to, and to whom nothing is sent.

use docket_aggregates::allowlist::{
    Allowlist, AllowlistCommand, AllowlistError, AllowlistEvent, EntryKind, NewEntry,
};
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::personal::Personal;
use docket_aggregates::suppression::{Suppression, SuppressionCommand, SuppressionError, SuppressionReason};
use docket_aggregates::{Decides, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::App;
use crate::contacts::address_hash;
use crate::ledger::{AppendError, Lane};
use crate::sending::{RecipientError, parse_entry};
use crate::service::{Call, Done, ServiceError};
use crate::shapes::{Instant, OneOf};

/// How often a decision that lost a race is made anew.
const TRIES: usize = 5;
/// So many entries are bulk work.
const BULK: usize = 100;

/// Why the allowlist is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowlistRefusal {
    /// An entry is none.
    #[error("entry {index}: {error}")]
    Entry {
        /// Which, from 0.
        index: usize,
        /// Why.
        error: RecipientError,
    },
    /// The list refuses.
    #[error(transparent)]
    List(#[from] AllowlistError),
}

/// One entry as answers show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntryView {
    /// The entry; null once erased.
    pub entry: Option<String>,
    /// What it is.
    #[schemars(with = "OneOf<EntryKind>")]
    pub kind: EntryKind,
    /// When it was put in.
    #[schemars(with = "Instant")]
    pub created_at: Timestamp,
}

/// What became of the entries given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntriesChanged {
    /// Entries put in, or taken out.
    pub changed: usize,
    /// Entries that were as asked already.
    pub unchanged: usize,
}

async fn read(
    app: &App,
    call: &Call,
    entries: &[String],
) -> Result<Vec<NewEntry>, ServiceError<AllowlistRefusal>> {
    let keys = app.ledger.keys().organization(call.organization).await.map_err(AppendError::from)?;
    let mut read = Vec::with_capacity(entries.len());
    for (index, text) in entries.iter().enumerate() {
        let entry = parse_entry(call.organization, &keys, text)
            .map_err(|error| ServiceError::Refused(AllowlistRefusal::Entry { index, error }))?;
        read.push(entry);
    }
    read.sort_by(|one, other| one.hash.cmp(&other.hash));
    read.dedup_by(|one, other| one.hash == other.hash);
    Ok(read)
}

/// Puts entries in, all of them or none.
pub async fn allow(
    app: &App,
    call: &Call,
    entries: &[String],
    acknowledge_all: bool,
) -> Result<Done<EntriesChanged>, ServiceError<AllowlistRefusal>> {
    let entries = read(app, call, entries).await?;
    let given = entries.len();
    order(app, call, given, AllowlistCommand::Allow { entries, acknowledge_all }).await
}

/// Takes entries out.
pub async fn disallow(
    app: &App,
    call: &Call,
    entries: &[String],
) -> Result<Done<EntriesChanged>, ServiceError<AllowlistRefusal>> {
    let hashes: Vec<String> = read(app, call, entries).await?.into_iter().map(|entry| entry.hash).collect();
    let given = hashes.len();
    order(app, call, given, AllowlistCommand::Disallow { hashes }).await
}

async fn order(
    app: &App,
    call: &Call,
    given: usize,
    command: AllowlistCommand,
) -> Result<Done<EntriesChanged>, ServiceError<AllowlistRefusal>> {
    let organization = call.organization;
    for _ in 0..TRIES {
        let list = app.ledger.load::<Allowlist>(organization, organization.allowlist()).await?;
        let events = list
            .state
            .decide(command.clone())
            .map_err(|error| ServiceError::Refused(AllowlistRefusal::List(error)))?;
        let changed = events
            .iter()
            .map(|event| match event {
                AllowlistEvent::EntriesAllowed { entries } => entries.len(),
                AllowlistEvent::EntriesDisallowed { hashes } => hashes.len(),
            })
            .sum();
        let entity = EntriesChanged { changed, unchanged: given.saturating_sub(changed) };
        if events.is_empty() {
            return Ok(Done { entity, appended: None });
        }
        let mut command = call.command(vec![list.write(events)], vec![], call.request(&entity)?);
        if given >= BULK {
            command.lane = Lane::Bulk;
        }
        match app.ledger.append(command).await {
            Ok(appended) => return Ok(Done { entity, appended: Some(appended) }),
            Err(AppendError::Conflict) => (),
            Err(error) => return Err(error.into()),
        }
    }
    Err(AppendError::Conflict.into())
}

/// Why the suppression list is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuppressionRefusal {
    /// The address is none.
    #[error(transparent)]
    Address(#[from] RecipientError),
    /// The text is an entry of the allowlist and no address.
    #[error("must be one address, number or account")]
    NotAnAddress,
    /// The list refuses.
    #[error(transparent)]
    List(#[from] SuppressionError),
}

/// An address on the suppression list, as answers show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuppressionView {
    /// The address; null once erased.
    pub address: Option<String>,
    /// Why.
    #[schemars(with = "OneOf<SuppressionReason>")]
    pub reason: SuppressionReason,
    /// Since when.
    #[schemars(with = "Instant")]
    pub created_at: Timestamp,
}

async fn one_address(
    app: &App,
    organization: OrganizationId,
    address: &str,
) -> Result<(String, Personal<String>), ServiceError<SuppressionRefusal>> {
    let keys = app.ledger.keys().organization(organization).await.map_err(AppendError::from)?;
    let entry = parse_entry(organization, &keys, address)
        .map_err(|error| ServiceError::Refused(SuppressionRefusal::Address(error)))?;
    match (entry.kind, entry.text.value()) {
        (EntryKind::Address | EntryKind::Handle, Some(shown)) => {
            let hash = address_hash(&keys, shown);
            Ok((hash, entry.text))
        }
        _ => Err(ServiceError::Refused(SuppressionRefusal::NotAnAddress)),
    }
}

/// Puts an address on the list. From the answer on, nothing is handed over to it.
pub async fn suppress(
    app: &App,
    call: &Call,
    address: &str,
    reason: SuppressionReason,
) -> Result<Done<SuppressionView>, ServiceError<SuppressionRefusal>> {
    let (address_hash, address) = one_address(app, call.organization, address).await?;
    let entity = SuppressionView { address: address.value().cloned(), reason, created_at: call.at };
    let stream = call.organization.suppression(&address_hash);
    let command = SuppressionCommand::Suppress { address_hash, address, reason };
    let decided = app
        .ledger
        .order::<Suppression>(
            call.organization,
            stream,
            call.command_id,
            call.at,
            &call.origin,
            call.request(&entity)?,
            command,
        )
        .await?;
    let reason = decided.state.reason().unwrap_or(reason);
    Ok(Done { entity: SuppressionView { reason, ..entity }, appended: decided.appended })
}

/// Takes an address off the list. What its owner said of being contacted is another matter and stays.
pub async fn lift(
    app: &App,
    call: &Call,
    address: &str,
) -> Result<Done<SuppressionView>, ServiceError<SuppressionRefusal>> {
    let (address_hash, address) = one_address(app, call.organization, address).await?;
    let stream = call.organization.suppression(&address_hash);
    let before = app.ledger.load::<Suppression>(call.organization, stream).await?;
    let reason =
        before.state.reason().ok_or(ServiceError::Refused(SuppressionError::NotSuppressed.into()))?;
    let entity = SuppressionView { address: address.value().cloned(), reason, created_at: call.at };
    let decided = app
        .ledger
        .order::<Suppression>(
            call.organization,
            stream,
            call.command_id,
            call.at,
            &call.origin,
            call.request(&entity)?,
            SuppressionCommand::Lift,
        )
        .await?;
    Ok(Done { entity, appended: decided.appended })
}
