//! Making contacts of a folder's rows.
//!
//! One staged chunk is one command: the contacts' own events and, on the folder's stream, what became of each row.
//! The versions of all these streams are expected as they were when it was decided, so that a chunk is either done
//! whole or not at all, and never twice: whoever resumes finds the number of the next chunk in the folder.
//!
//! An opt-out is never lost: a row that carries one opts out the contact that it matches, also where duplicates are
//! skipped, and a contact that is made with a suppressed address, or gets one, is one that is not contacted: for ever if
//! the address's owner said so, for as long as the list stands against it otherwise.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cqrs_es::Aggregate;
use docket_aggregates::claims::{ClaimKey, Scope};
use docket_aggregates::contact::{Contact, ContactCommand, ContactError, ContactEvent, ContactProfile};
use docket_aggregates::ids::{CommandId, ContactId, ImportId, OrganizationId};
use docket_aggregates::import::{
    Import, ImportCommand, ImportError, ImportEvent, ImportStage, OnDuplicate, RowOutcome, StagedContact,
    StagedRow,
};
use docket_aggregates::suppression::{Suppression, SuppressionReason};
use docket_aggregates::{Decides, DecodeError};
use docket_projections::searchable::MatchKeys;
use serde::Serialize;
use sqlx::Row;
use tokio::sync::watch;
use uuid::Uuid;

use super::matching::{Known, Recent, find};
use super::turns::Turn;
use super::{Error, ImportRefusal, Progress, apart, append_patiently};
use crate::app::App;
use crate::contacts::{address_hashes, mailbox_hash};
use crate::ledger::keys::{KeyError, OrganizationKeys};
use crate::ledger::read::{self, ReadError};
use crate::ledger::{AppendError, Command, Guard, Lane, Origin, Stream, Versioned, Write};
use crate::readside::{Consistency, ReadSideError, View};
use crate::sending::domain_of;
use crate::service::Call;

/// How often a chunk is decided anew because somebody changed one of its contacts meanwhile.
const TRIES: usize = 8;
/// How long the read models may take to show everything that was there before the commit began.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(120);
/// Events that stand in the folder's stream before its first chunk.
const BEFORE_CHUNKS: u64 = 1;
/// How long a commit rests when the database does not answer or there is no place for it; twice as long each time, up to
/// [`LOOK_AGAIN`].
const REST: Duration = Duration::from_millis(500);
/// How often unfinished commits are looked for again when the database did not answer.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// What became of a folder's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Committed {
    /// New contacts.
    pub created: u64,
    /// Changed contacts.
    pub updated: u64,
    /// Rows that changed nothing.
    pub skipped: u64,
}

/// How a commit that this process worked on ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Every row was dealt with.
    Done(Committed),
    /// The process is shutting down: it goes on later.
    Paused,
    /// It cannot go on; what is wrong was logged.
    Failed,
}

/// A commit that was ordered.
#[derive(Debug)]
pub struct Ordered {
    /// Rows in the folder, valid or not.
    pub rows: u64,
    /// What was recorded by this order; none if it had been ordered before.
    pub appended: Option<crate::ledger::Appended>,
    /// How it ends, once it has.
    pub outcome: watch::Receiver<Option<Outcome>>,
}

impl Ordered {
    /// Waits for the end, within the given time.
    pub async fn ended(&mut self, within: Duration) -> Option<Outcome> {
        let ended = tokio::time::timeout(within, self.outcome.wait_for(Option::is_some)).await;
        match ended {
            Ok(Ok(outcome)) => outcome.clone(),
            // Whoever worked on it went away without a word: it goes on at the next start.
            Ok(Err(_)) => Some(Outcome::Paused),
            Err(_) => None,
        }
    }
}

/// Orders a commit, or joins the one that was ordered before, and sees to it that somebody works on it.
pub async fn commit(
    app: &App,
    call: &Call,
    import_id: ImportId,
    on_duplicate: OnDuplicate,
    watch: impl Fn(Progress) + Send + Sync + 'static,
) -> Result<Ordered, Error> {
    let organization = call.organization;
    let start = ImportCommand::StartCommit { commit_id: call.command_id, on_duplicate };
    let ordered = app
        .ledger
        .order::<Import>(organization, import_id, call.command_id, call.at, &call.origin, None, start)
        .await;
    let (state, appended) = match ordered.map_err(Error::from) {
        Ok(decided) => (decided.state, decided.appended),
        Err(
            Error::Refused(ImportRefusal::Folder(ImportError::AlreadyCommitted))
            | Error::Append(AppendError::Taken(Scope::ImportCommit)),
        ) => {
            let folder = app.ledger.load::<Import>(organization, import_id).await?;
            if folder.state.on_duplicate() != on_duplicate {
                return Err(ImportRefusal::OtherCommit(import_id).into());
            }
            (folder.state, None)
        }
        Err(error) => return Err(error),
    };
    let rows = state.rows().0;
    if state.stage() == ImportStage::Committed {
        let (created, updated, skipped) = state.outcomes();
        let outcome = Outcome::Done(Committed { created, updated, skipped });
        return Ok(Ordered { rows, appended, outcome: watch::channel(Some(outcome)).1 });
    }
    let outcome = work(app, organization, import_id, watch);
    Ok(Ordered { rows, appended, outcome })
}

/// Goes on with every commit that was ordered and not finished. To be called once, when the process starts.
pub async fn resume(app: App) {
    loop {
        let unfinished = unfinished(&app).await;
        match unfinished {
            Ok(unfinished) => {
                for (organization, import_id) in unfinished {
                    tracing::info!(import.id = %import_id, "an unfinished commit goes on");
                    work(&app, organization, import_id, |_| ());
                }
                return;
            }
            Err(error) => {
                tracing::warn!(error = %error, "unfinished commits cannot be looked for");
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }
}

/// The claims say which commits were ordered; only the events say which of them are finished.
async fn unfinished(app: &App) -> Result<Vec<(OrganizationId, ImportId)>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT s.organization_id, s.aggregate_id::uuid FROM ledger.claims c \
         JOIN ledger.events s ON s.organization_id = c.organization_id AND s.command_id = c.owner \
             AND s.event_type = 'CommitStarted' \
         WHERE c.scope = $1 AND NOT EXISTS (SELECT 1 FROM ledger.events e \
             WHERE e.organization_id = s.organization_id AND e.aggregate_type = s.aggregate_type \
                 AND e.aggregate_id = s.aggregate_id AND e.event_type = 'ImportCommitted')",
    )
    .bind(Scope::ImportCommit.name())
    .fetch_all(app.ledger.pool())
    .await?;
    rows.iter().map(|row| Ok((OrganizationId(row.try_get(0)?), ImportId(row.try_get(1)?)))).collect()
}

/// Works on a commit in the background, unless this process does so already.
fn work(
    app: &App,
    organization: OrganizationId,
    import_id: ImportId,
    watch: impl Fn(Progress) + Send + Sync + 'static,
) -> watch::Receiver<Option<Outcome>> {
    let task = app.clone();
    let watch = Arc::new(watch);
    app.imports.commit((organization, import_id), move |ended| {
        tokio::spawn(async move {
            let mut rest = REST;
            let outcome = loop {
                let watch = watch.clone();
                let error = match committed(&task, organization, import_id, move |at| watch(at)).await {
                    Ok(committed) => break Outcome::Done(committed),
                    Err(error) => error,
                };
                let passes = passes(&error);
                tracing::warn!(import.id = %import_id, error = %error, passes, "a commit did not end");
                if task.imports.stopping() {
                    break Outcome::Paused;
                }
                if !passes {
                    break Outcome::Failed;
                }
                task.imports.rest(rest).await;
                rest = (rest * 2).min(LOOK_AGAIN);
            };
            ended.send_replace(Some(outcome));
        });
    })
}

/// Whether a commit that ended so may go on after a while: nothing is wrong with it or with what it was given.
const fn passes(error: &Error) -> bool {
    match error {
        Error::Refused(refusal) => matches!(refusal, ImportRefusal::Stopping | ImportRefusal::TooMany),
        Error::Append(error) => matches!(
            error,
            AppendError::Unavailable
                | AppendError::OutcomeUnknown(_)
                | AppendError::Conflict
                | AppendError::OrganizationBusy { .. }
                | AppendError::Overloaded { .. }
        ),
        Error::Read(error) => {
            matches!(error, ReadError::Database(_) | ReadError::Key(KeyError::Database(_)))
        }
        Error::ReadSide(error) => matches!(
            error,
            ReadSideError::Behind { .. } | ReadSideError::Unavailable | ReadSideError::Parked { .. }
        ),
        Error::Database(_) => true,
    }
}

async fn committed(
    app: &App,
    organization: OrganizationId,
    import_id: ImportId,
    watch: impl Fn(Progress) + Send + Sync + 'static,
) -> Result<Committed, Error> {
    // A turn is one of few, and is not held while there is nothing to do but wait.
    drop(caught_up(app, organization).await?);
    let turn = app.imports.turn(organization).await.map_err(ImportRefusal::from)?;
    let app = app.clone();
    apart(async move { Commit::begin(&app, organization, import_id, turn).await?.run(&watch).await }).await
}

/// A view that shows everything that was there when it was asked for. The read models may have much to catch up with, a large
/// staging for instance.
async fn caught_up(app: &App, organization: OrganizationId) -> Result<View, Error> {
    let begun = Instant::now();
    loop {
        match app.readside.view(organization, Consistency::STRONG).await {
            Err(ReadSideError::Behind { .. }) if begun.elapsed() < CAUGHT_UP_WITHIN => (),
            view => return Ok(view?),
        }
    }
}

/// Counts what a commit would do, and changes nothing.
pub async fn dry_run(
    app: &App,
    organization: OrganizationId,
    import_id: ImportId,
    on_duplicate: OnDuplicate,
) -> Result<Committed, Error> {
    let turn = app.imports.turn(organization).await.map_err(ImportRefusal::from)?;
    let app = app.clone();
    apart(async move {
        let mut commit = Commit::begin(&app, organization, import_id, turn).await?;
        match commit.folder.state.stage() {
            ImportStage::Unknown => return Err(ImportRefusal::Folder(ImportError::Unknown).into()),
            ImportStage::Staging => return Err(ImportRefusal::Folder(ImportError::NotStaged).into()),
            ImportStage::Staged => (),
            ImportStage::Committing | ImportStage::Committed => {
                return Err(ImportRefusal::Folder(ImportError::AlreadyCommitted).into());
            }
        }
        commit.on_duplicate = on_duplicate;
        commit.rehearse().await
    })
    .await
}

/// A commit that is being worked on.
struct Commit<'a> {
    app: &'a App,
    organization: OrganizationId,
    import_id: ImportId,
    keys: Arc<OrganizationKeys>,
    folder: Versioned<Import>,
    on_duplicate: OnDuplicate,
    commit_id: Option<CommandId>,
    recent: Recent,
    _turn: Turn,
}

impl<'a> Commit<'a> {
    async fn begin(
        app: &'a App,
        organization: OrganizationId,
        import_id: ImportId,
        turn: Turn,
    ) -> Result<Self, Error> {
        let keys = app.ledger.keys().organization(organization).await?;
        let folder = app.ledger.load::<Import>(organization, import_id).await?;
        let on_duplicate = folder.state.on_duplicate();
        let commit_id = commit_id(app, organization, import_id).await?;
        let recent = Recent::default();
        Ok(Self { app, organization, import_id, keys, folder, on_duplicate, commit_id, recent, _turn: turn })
    }

    async fn run(mut self, watch: &(impl Fn(Progress) + Sync)) -> Result<Committed, Error> {
        let mut ahead: Option<Ready> = None;
        let mut view = Some(caught_up(self.app, self.organization).await?);
        while self.folder.state.stage() == ImportStage::Committing {
            let (total, number) = self.folder.state.chunks();
            if number == total {
                self.finish().await?;
                break;
            }
            if self.app.imports.stopping() {
                return Err(ImportRefusal::Stopping.into());
            }
            let started = Instant::now();
            let ready = match ahead.take() {
                Some(ready) if ready.number == number => ready,
                _ => self.source().read(number, view.take()).await?,
            };
            // While this chunk is written, the next one is read and looked up. What this one makes meanwhile is not
            // in that view, and is remembered.
            let source = self.source();
            let (done, next) = tokio::join!(self.commit_chunk(ready), async {
                if number + 1 < total { Some(source.read(number + 1, None).await) } else { None }
            });
            ahead = next.transpose()?;
            if !done? {
                ahead = None;
                view = Some(caught_up(self.app, self.organization).await?);
            }
            metrics::histogram!("docket_import_chunk_seconds", "step" => "commit")
                .record(started.elapsed().as_secs_f64());
            let (created, updated, skipped) = self.folder.state.outcomes();
            watch(Progress { done: number + 1, total, rows: created + updated + skipped });
        }
        let (created, updated, skipped) = self.folder.state.outcomes();
        Ok(Committed { created, updated, skipped })
    }

    async fn rehearse(mut self) -> Result<Committed, Error> {
        let mut view = Some(caught_up(self.app, self.organization).await?);
        let mut counted = Committed::default();
        for number in 0..self.folder.state.chunks().0 {
            if self.app.imports.stopping() {
                return Err(ImportRefusal::Stopping.into());
            }
            let ready = self.source().read(number, view.take()).await?;
            let plan = self.plan(&ready).await?;
            counted.created += plan.created.len() as u64;
            counted.updated += plan.updated.len() as u64;
            counted.skipped += plan.skipped.len() as u64;
            // Nothing of it will ever be in the read models.
            self.recent.remember(i64::MAX, plan.made());
        }
        Ok(counted)
    }

    /// Commits a chunk; says whether this process did so, or another one.
    async fn commit_chunk(&mut self, mut ready: Ready) -> Result<bool, Error> {
        let id: CommandId = self.app.clock.mint();
        let number = ready.number;
        for _ in 0..TRIES {
            let plan = self.plan(&ready).await?;
            let events = self
                .folder
                .state
                .decide(ImportCommand::CommitChunk {
                    chunk: number,
                    created: plan.created.clone(),
                    updated: plan.updated.clone(),
                    skipped: plan.skipped.clone(),
                })
                .map_err(ImportRefusal::from)?;
            let mut writes = vec![self.folder.write(events.clone())];
            writes.extend(plan.writes());
            let mut command = self.command(id, writes);
            // That these addresses are still on the list, so that whoever takes one off finds the contacts that have it.
            command.guards = ready.listed.values().copied().collect();
            match append_patiently(&self.app.ledger, &command).await {
                Ok(appended) => {
                    self.folder = self.app.ledger.after(self.organization, &self.folder, events);
                    self.recent.remember(appended.position, plan.made());
                    for (step, rows) in
                        [("created", &plan.created), ("updated", &plan.updated), ("skipped", &plan.skipped)]
                    {
                        metrics::counter!("docket_import_rows_total", "step" => step)
                            .increment(rows.len() as u64);
                    }
                    return Ok(true);
                }
                Err(AppendError::Conflict) => {
                    self.folder = self.app.ledger.load::<Import>(self.organization, self.import_id).await?;
                    if self.folder.state.chunks().1 != number {
                        // Another process did this chunk, and made contacts that this one does not know.
                        return Ok(false);
                    }
                    let view = caught_up(self.app, self.organization).await?;
                    ready = self.source().read(number, Some(view)).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(AppendError::Conflict.into())
    }

    async fn finish(&mut self) -> Result<(), Error> {
        let events = self.folder.state.decide(ImportCommand::FinishCommit).map_err(ImportRefusal::from)?;
        let command = self.command(self.app.clock.mint(), vec![self.folder.write(events.clone())]);
        match append_patiently(&self.app.ledger, &command).await {
            Ok(_) => {
                self.folder = self.app.ledger.after(self.organization, &self.folder, events);
                Ok(())
            }
            Err(AppendError::Conflict) => {
                self.folder = self.app.ledger.load::<Import>(self.organization, self.import_id).await?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Docket does this by itself, whoever ordered it: the order is named as the cause.
    fn command(&self, id: CommandId, writes: Vec<Write>) -> Command {
        Command {
            id,
            organization: self.organization,
            at: self.app.clock.now(),
            origin: Origin { causation: self.commit_id, ..Origin::system("imports commit") },
            writes,
            guards: vec![],
            absent: vec![],
            request: None,
            lane: Lane::Bulk,
        }
    }

    fn source(&self) -> Source {
        Source {
            app: self.app.clone(),
            organization: self.organization,
            import_id: self.import_id,
            keys: self.keys.clone(),
        }
    }

    /// Decides what becomes of each row of a chunk.
    async fn plan(&mut self, ready: &Ready) -> Result<Plan, Error> {
        self.recent.folded_to(ready.position);
        let Ready { known, hashes, wider, suppressed, listed, .. } = ready;
        let rows: Vec<(&StagedRow, &StagedContact)> = ready.rows().collect();
        let mut chunk = Known::default();
        let mut matched: Vec<Option<ContactId>> = Vec::with_capacity(rows.len());
        for (row, contact) in &rows {
            let found = find(&contact.profile, known, &self.recent, &chunk);
            if found.is_none() {
                chunk.made(contact_id(row), &contact.profile);
            }
            matched.push(found);
        }
        let mine: HashSet<ContactId> = rows
            .iter()
            .zip(&matched)
            .filter(|(_, found)| found.is_none())
            .map(|((row, _), _)| contact_id(row))
            .collect();
        let changed: BTreeSet<ContactId> = rows
            .iter()
            .zip(&matched)
            .filter(|((_, contact), _)| self.on_duplicate == OnDuplicate::Update || contact.opted_out)
            .filter_map(|(_, found)| *found)
            .filter(|found| !mine.contains(found))
            .collect();

        let mut plan = Plan { contacts: self.load_contacts(&changed).await?, ..Plan::default() };
        let legal_basis = self.folder.state.legal_basis();
        let addresses = hashes.iter().zip(wider);
        for (((row, contact), found), (hashes, wider)) in rows.iter().zip(&matched).zip(addresses) {
            let opted_out = |by_address: bool| (contact.opted_out || by_address).then(|| hashes.clone());
            let profile = contact.profile.clone();
            let import_id = Some(self.import_id);
            let by_address = hashes.iter().chain(wider).any(|hash| suppressed.contains(hash));
            let listed = hashes.iter().chain(wider).filter(|hash| listed.contains_key(*hash));
            let (outcomes, id) = match found {
                None => {
                    let contact_id = contact_id(row);
                    let opted_out = opted_out(by_address);
                    plan.order(
                        contact_id,
                        ContactCommand::Create { contact_id, profile, legal_basis, import_id, opted_out },
                    );
                    plan.suppress(contact_id, listed);
                    (&mut plan.created, contact_id)
                }
                Some(found) => {
                    let opted_out = opted_out(by_address && self.on_duplicate == OnDuplicate::Update);
                    let profile = plan.without_respelling(*found, profile);
                    let command = match (self.on_duplicate, &opted_out) {
                        (OnDuplicate::Update, _) => {
                            Some(ContactCommand::Merge { profile, import_id, opted_out })
                        }
                        (OnDuplicate::Skip, Some(addresses)) => {
                            Some(ContactCommand::OptOut { via: "import", addresses: addresses.clone() })
                        }
                        (OnDuplicate::Skip, None) => None,
                    };
                    let mut changed = command.is_some_and(|command| plan.order(*found, command));
                    if self.on_duplicate == OnDuplicate::Update {
                        changed |= plan.suppress(*found, listed);
                    }
                    (if changed { &mut plan.updated } else { &mut plan.skipped }, *found)
                }
            };
            outcomes.push(RowOutcome { line: row.line, subject: row.contact.subject(), contact_id: id });
        }
        Ok(plan)
    }

    /// These contacts as the ledger knows them, read at once.
    async fn load_contacts(&self, ids: &BTreeSet<ContactId>) -> Result<BTreeMap<ContactId, Changed>, Error> {
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let ledger = &self.app.ledger;
        let ids = ids.iter().map(|id| id.uuid());
        let mut events = read::streams(ledger.pool(), self.organization, Contact::TYPE, ids).await?;
        read::open(ledger.keys(), self.organization, &mut events).await?;
        let mut contacts: BTreeMap<ContactId, Changed> = BTreeMap::new();
        for stored in events {
            let position = stored.position;
            let id = stored.aggregate_id.parse().map_err(|_| ReadError::Damaged(position))?;
            let event = serde_json::from_value(stored.payload).map_err(|source| ReadError::Decode {
                position,
                source: DecodeError::Undecodable {
                    event_type: stored.event_type,
                    event_version: stored.event_version,
                    source,
                },
            })?;
            let contact = contacts.entry(id).or_default();
            contact.state.apply(event);
            contact.expected += 1;
        }
        Ok(contacts)
    }
}

/// The contact that a row becomes.
fn contact_id(row: &StagedRow) -> ContactId {
    ContactId(row.contact.subject().uuid())
}

/// A contact in the course of a chunk.
#[derive(Debug, Default)]
struct Changed {
    expected: u64,
    state: Contact,
    events: Vec<ContactEvent>,
}

/// What becomes of the rows of one chunk.
#[derive(Debug, Default)]
struct Plan {
    contacts: BTreeMap<ContactId, Changed>,
    created: Vec<RowOutcome>,
    updated: Vec<RowOutcome>,
    skipped: Vec<RowOutcome>,
}

impl Plan {
    /// Orders a contact to do something; says whether that changed anything. A contact that was erased meanwhile,
    /// or never was, stays as it is.
    fn order(&mut self, contact_id: ContactId, command: ContactCommand) -> bool {
        let contact = self.contacts.entry(contact_id).or_default();
        match contact.state.decide(command) {
            Ok(events) => {
                let changed = !events.is_empty();
                for event in events {
                    contact.state.apply(event.clone());
                    contact.events.push(event);
                }
                changed
            }
            Err(ContactError::Erased | ContactError::Unknown | ContactError::AlreadyCreated) => false,
        }
    }

    /// Has a contact left alone for as long as these addresses of it are on the list; says whether that changed anything.
    fn suppress<'h>(&mut self, contact_id: ContactId, listed: impl Iterator<Item = &'h String>) -> bool {
        let mut changed = false;
        for address_hash in listed.cloned() {
            changed |= self.order(contact_id, ContactCommand::Suppress { address_hash });
        }
        changed
    }

    /// The profile without an e-mail address that is the known one in another spelling.
    fn without_respelling(&self, contact_id: ContactId, profile: ContactProfile) -> ContactProfile {
        let known = self.contacts.get(&contact_id).and_then(|contact| contact.state.profile());
        let same = known.is_some_and(|known| MatchKeys::of(known).email == MatchKeys::of(&profile).email);
        if same { ContactProfile { email: None, ..profile } } else { profile }
    }

    fn writes(&self) -> impl Iterator<Item = Write> {
        self.contacts.iter().filter(|(_, contact)| !contact.events.is_empty()).map(|(id, contact)| Write {
            stream: Stream::of::<Contact>(*id),
            expected: contact.expected,
            events: contact.events.iter().cloned().map(Into::into).collect(),
        })
    }

    /// The contacts that are new.
    fn made(&self) -> impl Iterator<Item = (ContactId, &ContactProfile)> {
        self.contacts
            .iter()
            .filter(|(_, contact)| contact.expected == 0)
            .filter_map(|(id, contact)| Some((*id, contact.state.profile()?)))
    }
}

/// Where the chunks of a folder are read from.
struct Source {
    app: App,
    organization: OrganizationId,
    import_id: ImportId,
    keys: Arc<OrganizationKeys>,
}

/// A staged chunk with all that is known of its rows.
struct Ready {
    number: u64,
    staged: Vec<StagedRow>,
    /// The contacts of the read models that its rows may be about, and the position up to which these are folded.
    known: Known,
    position: i64,
    /// The hashes of each row's addresses, and those of them that must not be contacted.
    hashes: Vec<Vec<String>>,
    /// The hashes of the mailbox and the domain of each row's e-mail address: what is said of these is said of every address
    /// with a tag, and of every address there.
    wider: Vec<Vec<String>>,
    suppressed: HashSet<String>,
    /// Those of them that the board or a complaint put on the list, and that they still are.
    listed: BTreeMap<String, Guard>,
}

impl Ready {
    /// Its rows; one whose subject was erased since it was staged is nobody's any more.
    fn rows(&self) -> impl Iterator<Item = (&StagedRow, &StagedContact)> {
        self.staged.iter().filter_map(|row| Some((row, row.contact.value()?)))
    }
}

impl Source {
    /// Reads a chunk and looks its rows up, in the given view or in whatever the read models have.
    async fn read(&self, number: u64, view: Option<View>) -> Result<Ready, Error> {
        let staged = self.read_chunk(number).await?;
        let mut ready = Ready {
            number,
            staged,
            known: Known::default(),
            position: 0,
            hashes: vec![],
            wider: vec![],
            suppressed: HashSet::new(),
            listed: BTreeMap::new(),
        };
        let profiles: Vec<&ContactProfile> = ready.rows().map(|(_, contact)| &contact.profile).collect();
        let hashes: Vec<Vec<String>> =
            profiles.iter().map(|profile| address_hashes(&self.keys, profile)).collect();
        let domain = |profile: &ContactProfile| domain_of(&self.keys, profile.email.as_deref()?);
        let wider: Vec<Vec<String>> = profiles
            .iter()
            .map(|profile| mailbox_hash(&self.keys, profile).into_iter().chain(domain(profile)).collect())
            .collect();
        let claimed = self.claimed(hashes.iter().flatten().chain(wider.iter().flatten())).await?;
        let (suppressed, listed) = (claimed.0, self.listed(claimed.1).await?);
        let mut view = match view {
            Some(view) => view,
            None => self.app.readside.view(self.organization, Consistency::Eventual).await?,
        };
        let known = Known::read(&mut view, self.organization, &profiles).await?;
        (ready.known, ready.position) = (known, view.position);
        (ready.hashes, ready.wider, ready.suppressed, ready.listed) = (hashes, wider, suppressed, listed);
        Ok(ready)
    }

    /// One staged chunk, opened. Its place in the stream follows from its number.
    async fn read_chunk(&self, number: u64) -> Result<Vec<StagedRow>, Error> {
        let stream = Stream::of::<Import>(self.import_id);
        let ledger = &self.app.ledger;
        let after = number + BEFORE_CHUNKS;
        let mut page = read::stream_page(ledger.pool(), self.organization, stream, after, 1).await?;
        read::open(ledger.keys(), self.organization, &mut page).await?;
        let event = page.pop().and_then(|stored| serde_json::from_value(stored.payload).ok());
        match event {
            Some(ImportEvent::RowsStaged { chunk, rows, .. }) if chunk == number => Ok(rows),
            _ => Err(ImportRefusal::Damaged(number).into()),
        }
    }

    /// Which of these listed addresses are on the list for more than a bounce, which says nothing of a person.
    async fn listed(&self, hashes: HashSet<String>) -> Result<BTreeMap<String, Guard>, Error> {
        if hashes.is_empty() {
            return Ok(BTreeMap::new());
        }
        let ids: Vec<Uuid> = hashes.iter().map(|hash| self.organization.suppression(hash)).collect();
        let lists = self.app.ledger.load_many::<Suppression>(self.organization, &ids).await?;
        let stands = |list: &Versioned<Suppression>| {
            list.state.reason().is_some_and(|reason| reason != SuppressionReason::Bounce)
        };
        let listed = hashes.into_iter().zip(lists).filter(|(_, list)| stands(list));
        Ok(listed.map(|(hash, list)| (hash, list.guard())).collect())
    }

    /// Which of these addresses must not be contacted for ever, and which are on the list. Asked of the claims, which outlive an
    /// erasure.
    async fn claimed<'h>(
        &self,
        hashes: impl Iterator<Item = &'h String>,
    ) -> Result<(HashSet<String>, HashSet<String>), Error> {
        let by_key: BTreeMap<[u8; 32], (Scope, &String)> = hashes
            .flat_map(|hash| ClaimKey::against(hash).map(|key| (key.hash, (key.scope, hash))))
            .collect();
        let (mut suppressed, mut listed) = (HashSet::new(), HashSet::new());
        if by_key.is_empty() {
            return Ok((suppressed, listed));
        }
        let scopes: Vec<&str> = by_key.values().map(|(scope, _)| scope.name()).collect();
        let keys: Vec<&[u8]> = by_key.keys().map(<[u8; 32]>::as_slice).collect();
        let found: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT c.key_hash FROM unnest($2::text[], $3::bytea[]) AS wanted (scope, key_hash) CROSS JOIN LATERAL ( \
                 SELECT key_hash FROM ledger.claims \
                 WHERE organization_id = $1 AND scope = wanted.scope AND key_hash = wanted.key_hash LIMIT 1) c",
        )
        .bind(self.organization.uuid())
        .bind(scopes)
        .bind(keys)
        .fetch_all(self.app.ledger.pool())
        .await?;
        for (scope, hash) in found.iter().filter_map(|key| by_key.get(key.as_slice())) {
            let of_scope = if *scope == Scope::SuppressedAddress { &mut suppressed } else { &mut listed };
            of_scope.insert((*hash).clone());
        }
        Ok((suppressed, listed))
    }
}

/// The command that ordered the commit.
async fn commit_id(
    app: &App,
    organization: OrganizationId,
    import_id: ImportId,
) -> Result<Option<CommandId>, Error> {
    let key = ClaimKey::new(Scope::ImportCommit, &import_id.to_string());
    let owner: Option<Uuid> = sqlx::query_scalar(
        "SELECT owner FROM ledger.claims WHERE organization_id = $1 AND scope = $2 AND key_hash = $3",
    )
    .bind(organization.uuid())
    .bind(key.scope.name())
    .bind(key.hash.as_slice())
    .fetch_optional(app.ledger.pool())
    .await?;
    Ok(owner.map(CommandId))
}
