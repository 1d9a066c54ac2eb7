//! The ledger: the only way in which the world changes.
//!
//! One organization is one ledger: dense positions, a hash chain, and the unit of everything else. A command is
//! sealed and hashed in its caller's task (`prepare`), waits in a bounded queue that is fair between organizations
//! (`queue`), and is written with its neighbours in one transaction (`append`). What it guarantees:
//!
//! - a command is recorded whole or not at all, once, however often it is retried with the same id;
//! - two decisions on the same state are never both recorded;
//! - a request id has one effect and one answer;
//! - what is personal is never stored open outside the read models.

mod append;
pub mod canonical;
pub mod chain;
pub mod claims;
pub mod command;
mod cqrs;
mod decide;
mod fresh;
mod heads;
pub mod instant;
pub mod keys;
mod many;
mod orders;
mod prepare;
mod queue;
pub mod read;
pub mod seal;
mod stretch;
mod tidy;
mod watch;
mod weighed;

use std::sync::Arc;
use std::time::Duration;

use docket_aggregates::ids::{CommandId, OrganizationId, PrincipalId};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, Executor, PgPool, Row};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use command::{
    Actor, AppendError, Appended, Command, Guard, Lane, Origin, Request, StoredAnswer, Stream, Write,
};
pub use cqrs::LedgerStore;
pub use decide::{DecideError, Decided, Life, TRIES, Versioned};
pub use heads::{Heads, News};
pub use keys::{KeyError, Keys};
pub use orders::Orders;
pub use queue::QueueBounds;
pub use stretch::Stretch;
pub use watch::Watch;

use append::Appender;
use fresh::Fresh;
use instant::Instant;
use prepare::prepare;
use queue::{Queue, Refusal, Waiting};
use stretch::Stretches;

use crate::clock::Clock;
use crate::standing;
use crate::starting::{Making, in_turn};

/// How long a caller waits for its command to be written before the outcome counts as unknown.
const APPEND_WITHIN: Duration = Duration::from_secs(30);
/// Time-outs on the append's connections, so that a stopped process cannot hold a head. And how its statements are
/// planned: once, and by index, because a plan that was made while a table was empty is kept while it grows
/// (2 000 instead of 5 000 commands a second were seen).
const APPEND_SETTINGS: [(&str, &str); 6] = [
    // Short, because it is tried again in turn with the other organizations.
    ("lock_timeout", "500ms"),
    ("statement_timeout", "60s"),
    ("idle_in_transaction_session_timeout", "10s"),
    ("plan_cache_mode", "force_generic_plan"),
    // Asked by key: see `append::known`.
    ("enable_seqscan", "off"),
    ("enable_sort", "off"),
];

/// The migrations of everything that is stored for ever.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/ledger");

/// After so long without use a connection is tried before it is used: the database may have been restarted.
const TRIED_AFTER: Duration = Duration::from_secs(1);

/// A pool that asks a connection whether it still lives only if it was not used for a while; asking each time is a round
/// trip for every statement.
pub(crate) fn pool_of(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new().max_connections(connections).test_before_acquire(false).before_acquire(
        |connection, meta| {
            Box::pin(async move {
                if meta.idle_for >= TRIED_AFTER {
                    connection.ping().await?;
                }
                Ok(true)
            })
        },
    )
}

/// Why the ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database does not answer, or refuses.
    #[error("the database cannot be used")]
    Database(#[from] sqlx::Error),
    /// The schema cannot be brought up to date.
    #[error("the database schema cannot be brought up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The vault does not open.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The door to all ledgers of a database. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    pool: PgPool,
    keys: Keys,
    clock: Clock,
    heads: Arc<Heads>,
    stretches: Arc<Stretches>,
    fresh: Arc<Fresh>,
    normal: Arc<Queue>,
    bulk: Arc<Queue>,
    states: decide::States,
    turns: decide::Turns,
    watches: Arc<watch::Watches>,
    appenders: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

impl Ledger {
    /// Brings the schema up to date, opens the vault and starts the two lanes.
    pub async fn open(
        pool: PgPool,
        options: PgConnectOptions,
        master: seal::Key,
        clock: Clock,
        bounds: QueueBounds,
    ) -> Result<Self, OpenError> {
        migrate(&pool).await?;
        let keys = Keys::open(pool.clone(), master).await?;
        sqlx::query("INSERT INTO ledger.heads VALUES ($1, 0, $2, $3) ON CONFLICT DO NOTHING")
            .bind(OrganizationId::INSTANCE.uuid())
            .bind(chain::genesis(OrganizationId::INSTANCE).as_slice())
            .bind(Instant(clock.now()))
            .execute(&pool)
            .await?;

        let (heads, stretches) = (Arc::<Heads>::default(), Arc::<Stretches>::default());
        let fresh = Arc::<Fresh>::default();
        let options = options.application_name("docket-append").options(APPEND_SETTINGS);
        let mut appenders = Vec::new();
        let mut lane = |name| {
            let queue = Arc::new(Queue::new(bounds));
            let appender = Arc::new(Appender {
                lane: name,
                options: options.clone(),
                queue: queue.clone(),
                heads: heads.clone(),
                stretches: stretches.clone(),
                fresh: fresh.clone(),
                clock: clock.clone(),
            });
            // Whoever waited when it panicked hears that the outcome is not known, and asks again.
            let run = move || appender.clone().run();
            appenders.push(tokio::spawn(standing::keep("ledger", run)));
            queue
        };
        let (normal, bulk) = (lane("normal"), lane("bulk"));
        let inner = Inner {
            pool,
            keys,
            clock,
            heads,
            stretches,
            fresh,
            normal,
            bulk,
            states: decide::States::default(),
            turns: decide::Turns::default(),
            watches: Arc::default(),
            appenders: std::sync::Mutex::new(appenders),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The pool that everything else of this process reads with.
    pub fn pool(&self) -> &PgPool {
        &self.inner.pool
    }

    /// The keys of organizations and subjects.
    pub fn keys(&self) -> &Keys {
        &self.inner.keys
    }

    /// Where time and ids come from.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// News of what this process appended.
    pub fn heads(&self) -> &Arc<Heads> {
        &self.inner.heads
    }

    /// The last stretch of an organization's ledger that nobody but this process recorded anything in.
    pub fn stretch(&self, organization: OrganizationId) -> Option<Stretch> {
        self.inner.stretches.of(organization)
    }

    /// Whether it is known without reading that no event of these types stands after the first position and up to the second.
    pub(crate) fn is_without(
        &self,
        organization: OrganizationId,
        types: &[String],
        between: (i64, i64),
    ) -> bool {
        self.inner.stretches.without(organization, types, between)
    }

    /// What this process recorded a moment ago, for its own fold.
    pub(crate) fn fresh(&self) -> &Fresh {
        &self.inner.fresh
    }

    /// Commands that wait in the normal and in the bulk lane.
    pub fn queue_depths(&self) -> (usize, usize) {
        (self.inner.normal.depth(), self.inner.bulk.depth())
    }

    /// Records a command, or says why not. Nothing is recorded twice, whatever happens on the way.
    pub async fn append(&self, command: Command) -> Result<Appended, AppendError> {
        let mut trust_new = true;
        loop {
            let prepared = prepare(&self.inner.keys, &command, trust_new).await?;
            let new_subjects: Vec<_> =
                prepared.new_subjects.iter().map(|(subject, key, _)| (*subject, key.clone())).collect();
            let (answer, answered) = oneshot::channel();
            let queue = match command.lane {
                Lane::Normal => &self.inner.normal,
                Lane::Bulk => &self.inner.bulk,
            };
            queue.push(Waiting { prepared, answer, passes: 0, since: std::time::Instant::now() })?;
            match tokio::time::timeout(APPEND_WITHIN, answered).await {
                Ok(Ok(Ok(appended))) => {
                    self.inner.watches.written(command.organization, &command.writes);
                    if !appended.duplicate {
                        for (subject, key) in new_subjects {
                            self.inner.keys.remember(command.organization, subject, key);
                        }
                        self.advance(command.organization, command.at, command.writes);
                    }
                    return Ok(appended);
                }
                Ok(Ok(Err(Refusal::Reseal))) if trust_new => trust_new = false,
                // Somebody else sealed about the same new subject twice in a row: decide again.
                Ok(Ok(Err(Refusal::Reseal))) => return Err(AppendError::Conflict),
                Ok(Ok(Err(Refusal::Error(error)))) => {
                    if matches!(error, AppendError::Conflict) {
                        let written = command.writes.iter().map(|write| write.stream);
                        let guarded = command.guards.iter().map(|guard| guard.stream);
                        self.doubt(command.organization, written.chain(guarded));
                    }
                    return Err(error);
                }
                Ok(Ok(Err(Refusal::Answered { answer, command_id, position }))) => {
                    return Err(self.replayed(&command, &answer, command_id, position).await?);
                }
                Ok(Err(_)) | Err(_) => return Err(AppendError::OutcomeUnknown(command.id)),
            }
        }
    }

    async fn replayed(
        &self,
        command: &Command,
        sealed: &[u8],
        command_id: uuid::Uuid,
        position: i64,
    ) -> Result<AppendError, AppendError> {
        let Some(request) = &command.request else { return Ok(AppendError::Conflict) };
        let keys = self.inner.keys.organization(command.organization).await?;
        let actor = command.origin.actor.principal.uuid();
        let key_hash = prepare::request_key(&keys, actor, &command.origin.tool, &request.request_id);
        open_answer(&keys, sealed, &key_hash, command_id, position)
            .map(|answer| AppendError::Replayed(Box::new(answer)))
    }

    /// The stored answer of a request: none if it was not answered within the last seven days, a refusal if it
    /// came with another input.
    pub async fn answered(
        &self,
        organization: OrganizationId,
        principal: PrincipalId,
        tool: &str,
        request_id: &str,
        input: &str,
    ) -> Result<Option<StoredAnswer>, AppendError> {
        let keys = self.inner.keys.organization(organization).await?;
        let key_hash = prepare::request_key(&keys, principal.uuid(), tool, request_id);
        let row = sqlx::query(
            "SELECT fingerprint, answer, command_id, position FROM ledger.requests \
             WHERE organization_id = $1 AND key_hash BETWEEN $2 AND $2 AND expires_at > $3 ORDER BY key_hash",
        )
        .bind(organization.uuid())
        .bind(key_hash.as_slice())
        .bind(Instant(self.inner.clock.now()))
        .fetch_optional(&self.inner.pool)
        .await
        .map_err(|_| AppendError::Unavailable)?;
        let Some(row) = row else { return Ok(None) };
        let read = |_: sqlx::Error| AppendError::Unavailable;
        if row.try_get::<&[u8], _>(0).map_err(read)? != prepare::fingerprint(&keys, input) {
            return Err(AppendError::RequestConflict);
        }
        let answer = row.try_get(1).map_err(read)?;
        open_answer(&keys, answer, &key_hash, row.try_get(2).map_err(read)?, row.try_get(3).map_err(read)?)
            .map(Some)
    }

    /// What the request was answered that a command came from, whoever asked and under which name; none where the command
    /// was not recorded, or answered no request.
    pub async fn answer_of(
        &self,
        organization: OrganizationId,
        command: CommandId,
    ) -> Result<Option<StoredAnswer>, AppendError> {
        let row = sqlx::query(
            "SELECT key_hash, answer, position FROM ledger.requests \
             WHERE organization_id = $1 AND command_id BETWEEN $2 AND $2 AND expires_at > $3 ORDER BY command_id",
        )
        .bind(organization.uuid())
        .bind(command.uuid())
        .bind(Instant(self.inner.clock.now()))
        .fetch_optional(&self.inner.pool)
        .await
        .map_err(|_| AppendError::Unavailable)?;
        let Some(row) = row else { return Ok(None) };
        let keys = self.inner.keys.organization(organization).await?;
        let read = |_: sqlx::Error| AppendError::Unavailable;
        let key_hash = row.try_get::<&[u8], _>(0).map_err(read)?;
        let key_hash: [u8; 32] =
            key_hash.try_into().map_err(|_| AppendError::Unstorable("a stored answer is damaged".into()))?;
        let answer = row.try_get(1).map_err(read)?;
        open_answer(&keys, answer, &key_hash, command.uuid(), row.try_get(2).map_err(read)?).map(Some)
    }

    /// Takes no more commands, writes what waits, and ends the lanes. Bounded by `within`.
    pub async fn drain(&self, within: Duration) {
        self.inner.normal.close();
        self.inner.bulk.close();
        let appenders = std::mem::take(
            &mut *self.inner.appenders.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        let all = async {
            for appender in appenders {
                let _ = appender.await;
            }
        };
        if tokio::time::timeout(within, all).await.is_err() {
            tracing::error!("the ledger did not drain in time");
        }
    }
}

fn open_answer(
    keys: &keys::OrganizationKeys,
    sealed: &[u8],
    key_hash: &[u8; 32],
    command_id: uuid::Uuid,
    position: i64,
) -> Result<StoredAnswer, AppendError> {
    let damaged = || AppendError::Unstorable("a stored answer is damaged".into());
    let text = keys.answers().open(sealed, key_hash).map_err(|_| damaged())?;
    let answer = serde_json::from_slice(&text).map_err(|_| damaged())?;
    Ok(StoredAnswer { command_id: command_id.into(), answer, position })
}

/// Applies the migrations. Their bookkeeping stands in a schema of its own, so that the read schema stays
/// disposable and `public` stays empty; two processes that start together wait for each other.
async fn migrate(pool: &PgPool) -> Result<(), OpenError> {
    let mut transaction = pool.begin().await?;
    in_turn(&mut transaction, Making::Schema).await?;
    transaction.execute("CREATE SCHEMA IF NOT EXISTS docket").await?;
    transaction.commit().await?;
    let mut connection = pool.acquire().await?;
    connection.execute("SET search_path TO docket").await?;
    let result = MIGRATIONS.run(&mut *connection).await;
    connection.execute("RESET search_path").await?;
    Ok(result?)
}
