//! A commit that is being worked on, chunk after chunk.
//!
//! While one chunk is written, the next one is read and looked up; what the first makes meanwhile is remembered until the
//! read models have it. A chunk that somebody else's change stood in the way of is decided anew, and one that another
//! process did is left to it.

use std::sync::Arc;
use std::time::Instant;

use docket_aggregates::Decides;
use docket_aggregates::claims::{ClaimKey, Scope};
use docket_aggregates::ids::{CommandId, ImportId, OrganizationId};
use docket_aggregates::import::{Import, ImportCommand, ImportStage, OnDuplicate};
use uuid::Uuid;

use super::plan::Plan;
use super::source::{Ready, Source};
use super::{Committed, caught_up};
use crate::app::App;
use crate::imports::matching::Recent;
use crate::imports::turns::Turn;
use crate::imports::{Error, ImportRefusal, Progress, append_patiently};
use crate::ledger::keys::OrganizationKeys;
use crate::ledger::{AppendError, Command, Lane, Origin, Versioned, Write};

/// How often a chunk is decided anew because somebody changed one of its contacts meanwhile.
const TRIES: usize = 8;

/// A commit that is being worked on.
pub(super) struct Commit<'a> {
    pub(super) app: &'a App,
    pub(super) organization: OrganizationId,
    pub(super) import_id: ImportId,
    keys: Arc<OrganizationKeys>,
    pub(super) folder: Versioned<Import>,
    pub(super) on_duplicate: OnDuplicate,
    commit_id: Option<CommandId>,
    /// What the read models do not show yet of what this commit did.
    pub(super) recent: Recent,
    /// What its contacts were known by, and are not any more: the rows that said so are rows of the file all the same.
    pub(super) replaced: Recent,
    /// Whether nothing is recorded.
    pub(super) rehearsing: bool,
    _turn: Turn,
}

impl<'a> Commit<'a> {
    pub(super) async fn begin(
        app: &'a App,
        organization: OrganizationId,
        import_id: ImportId,
        turn: Turn,
    ) -> Result<Self, Error> {
        let keys = app.ledger.keys().organization(organization).await?;
        let folder = app.ledger.load::<Import>(organization, import_id).await?;
        let on_duplicate = folder.state.on_duplicate();
        let commit_id = commit_id(app, organization, import_id).await?;
        Ok(Self {
            app,
            organization,
            import_id,
            keys,
            folder,
            on_duplicate,
            commit_id,
            recent: Recent::default(),
            replaced: Recent::default(),
            rehearsing: false,
            _turn: turn,
        })
    }

    pub(super) async fn run(mut self, watch: &(impl Fn(Progress) + Sync)) -> Result<Committed, Error> {
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

    pub(super) async fn rehearse(mut self) -> Result<Committed, Error> {
        self.rehearsing = true;
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
            self.remember(i64::MAX, &plan);
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
            command.guards = ready.against.listed.values().copied().collect();
            match append_patiently(&self.app.ledger, &command).await {
                Ok(appended) => {
                    self.folder = self.app.ledger.after(self.organization, &self.folder, command.at, events);
                    self.remember(appended.position, &plan);
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

    fn remember(&mut self, position: i64, plan: &Plan) {
        self.recent.remember(position, plan.touched());
        self.replaced.remember(i64::MAX, plan.replaced.iter().cloned());
    }

    async fn finish(&mut self) -> Result<(), Error> {
        let events = self.folder.state.decide(ImportCommand::FinishCommit).map_err(ImportRefusal::from)?;
        let command = self.command(self.app.clock.mint(), vec![self.folder.write(events.clone())]);
        match append_patiently(&self.app.ledger, &command).await {
            Ok(_) => {
                self.folder = self.app.ledger.after(self.organization, &self.folder, command.at, events);
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
            counted_at: None,
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
