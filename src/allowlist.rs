//! Whom messages may be sent to.

use docket_aggregates::allowlist::{
    Allowlist, AllowlistCommand, AllowlistError, AllowlistEvent, EntryKind, NewEntry,
};
use docket_aggregates::{Decides, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::App;
use crate::ledger::{AppendError, Lane};
use crate::sending::{ReadEntry, RecipientError, parse_entry, parse_new_entry};
use crate::service::{Call, Done, ServiceError};
use crate::shapes::{Instant, OneOf};

/// How often a decision that lost a race is made anew.
const TRIES: usize = 20;
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
    read_entry: ReadEntry,
) -> Result<Vec<NewEntry>, ServiceError<AllowlistRefusal>> {
    let keys = app.ledger.keys().organization(call.organization).await.map_err(AppendError::from)?;
    let mut read = Vec::with_capacity(entries.len());
    for (index, text) in entries.iter().enumerate() {
        let entry = read_entry(call.organization, &keys, text)
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
    let entries = read(app, call, entries, parse_new_entry).await?;
    let given = entries.len();
    order(app, call, given, AllowlistCommand::Allow { entries, acknowledge_all }).await
}

/// Takes entries out.
pub async fn disallow(
    app: &App,
    call: &Call,
    entries: &[String],
) -> Result<Done<EntriesChanged>, ServiceError<AllowlistRefusal>> {
    let entries = read(app, call, entries, parse_entry).await?;
    let hashes: Vec<String> = entries.into_iter().map(|entry| entry.hash).collect();
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
    // One stream is the whole list: whoever changes it takes turns with the others.
    let mut turn = None;
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
            Err(AppendError::Conflict) => {
                if turn.is_none() {
                    turn = app.ledger.turn(organization.allowlist()).await;
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(AppendError::Conflict.into())
}
