//! The read side: keeps the read models up to date and hands out consistent views of them.
//!
//! A *view* is one REPEATABLE READ transaction on one organization's read models. A strong view waits (two seconds
//! at most) until everything that had been appended when it was asked for is folded in, so that an agent always
//! reads its own writes. `runner` does the folding, in any number of processes; `rebuild` makes the read models anew
//! beside the live ones.

mod desk;
mod glances;
mod questions;
mod rebuild;
mod runner;
mod statistics;

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant as Stopwatch};

use docket_aggregates::Timestamp;
use docket_aggregates::ids::{CampaignId, OrganizationId};
use docket_projections::campaign_counters::Totals;
use docket_projections::unfinished::Unfinished;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Executor, PgConnection, PgExecutor, PgPool, Postgres, Row, Transaction};
use tokio::sync::Notify;

use glances::Glances;
use questions::{Question, Questions};
pub use rebuild::{Halted, RebuildError, RebuildReport, TableDifference};

use crate::ledger::{Ledger, pool_of};
use crate::starting::{Making, in_turn};

/// The schema that is read from.
const LIVE: &str = "read";
/// How long a strong view waits.
const WAIT: Duration = Duration::from_secs(2);
/// Connections for views and for folding.
const VIEWS: u32 = 16;
/// Connections for single statements.
const PEEKS: u32 = 8;
/// How long a reader waits for a connection.
const CONNECTION_WITHIN: Duration = Duration::from_secs(5);
/// How long a server waits that finds another one rebuilding the read models.
const REBUILT_WITHIN: &str =
    "SET LOCAL statement_timeout = '30min'; SET LOCAL idle_in_transaction_session_timeout = 0";
/// How often a waiting view looks for what another process folded.
const LOOK: Duration = Duration::from_millis(25);

/// How new a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// As new as the head at the moment of asking, or as the given position if that is said.
    Strong {
        /// A position that must be included; beyond the head it is refused.
        min_position: Option<i64>,
    },
    /// Whatever is there.
    Eventual,
}

impl Consistency {
    /// Everything that was appended before the read began.
    pub const STRONG: Self = Self::Strong { min_position: None };
}

/// Why the read models cannot answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadSideError {
    /// They did not catch up while the reader waited.
    #[error("the read models have not caught up")]
    Behind {
        /// When to come again.
        retry_after: Duration,
    },
    /// An event cannot be folded; a person must look.
    #[error("the read models of this organization are parked at position {position}")]
    Parked {
        /// The event that cannot be folded.
        position: i64,
    },
    /// The wanted position lies beyond the head.
    #[error("position {wanted} is beyond the head, which is {head}")]
    BeyondHead {
        /// What was asked for.
        wanted: i64,
        /// What there is.
        head: i64,
    },
    /// There is no such ledger.
    #[error("organization does not exist")]
    UnknownOrganization,
    /// The database does not answer.
    #[error("the read models are not available")]
    Unavailable,
}

impl From<sqlx::Error> for ReadSideError {
    fn from(error: sqlx::Error) -> Self {
        tracing::warn!(error = ?error.as_database_error().map(|error| error.code()), "the read models cannot be read");
        Self::Unavailable
    }
}

/// One consistent view of one organization's read models (REPEATABLE READ, read only).
pub struct View {
    transaction: Transaction<'static, Postgres>,
    /// The position up to which events are folded into it.
    pub position: i64,
}

impl Deref for View {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.transaction
    }
}

impl DerefMut for View {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }
}

impl View {
    /// Lets what is asked from here on go by the index in whose order it asks, whatever the statistics say.
    pub async fn by_key(&mut self) -> sqlx::Result<()> {
        self.transaction.execute("SET LOCAL enable_sort TO off").await?;
        Ok(())
    }

    /// Leaves it to the planner again.
    pub async fn by_any_plan(&mut self) -> sqlx::Result<()> {
        self.transaction.execute("SET LOCAL enable_sort TO DEFAULT").await?;
        Ok(())
    }
}

/// The read models of a database. Cheap to clone.
#[derive(Clone)]
pub struct ReadSide {
    ledger: Ledger,
    pool: PgPool,
    peeks: PgPool,
    glances: Glances,
    questions: Questions,
    progress: Arc<Progress>,
    wait: Duration,
}

/// What this process folded, so that its own readers need not ask the database.
#[derive(Debug, Default)]
struct Progress {
    positions: Mutex<HashMap<OrganizationId, i64>>,
    folded: Notify,
}

impl Progress {
    fn reached(&self, organization: OrganizationId, position: i64) {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner).insert(organization, position);
        self.folded.notify_waiters();
    }

    fn position(&self, organization: OrganizationId) -> i64 {
        let positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        positions.get(&organization).copied().unwrap_or(0)
    }

    fn forget(&self) {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Why the read models cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The database does not answer, or refuses.
    #[error("the read models cannot be made")]
    Database(#[from] sqlx::Error),
    /// Another version of Docket made them.
    #[error(
        "the read models were made by another version; `docket serve` or `docket rebuild` makes them anew"
    )]
    OtherVersion,
    /// They are of another version and could not be made anew.
    #[error("the read models are of another version and could not be rebuilt")]
    Rebuild(#[from] RebuildError),
}

impl ReadSide {
    /// The read models of the ledger's database, which is reached as `options` say.
    pub fn new(ledger: Ledger, options: PgConnectOptions) -> Self {
        let pool = |connections| pool_of(connections).acquire_timeout(CONNECTION_WITHIN);
        // Peeks are by key and small: planning one anew costs more than running it. See the ledger's own pool.
        let by_key = options.clone().options([
            ("search_path", LIVE),
            ("enable_seqscan", "off"),
            ("enable_sort", "off"),
            ("plan_cache_mode", "force_generic_plan"),
        ]);
        let peeks = pool(PEEKS).connect_lazy_with(by_key);
        let pool = pool(VIEWS).connect_lazy_with(options);
        Self {
            ledger,
            pool,
            peeks,
            glances: Glances::default(),
            questions: Questions::default(),
            progress: Arc::default(),
            wait: WAIT,
        }
    }

    /// The same for who rather waits so long than to be told to come again: nobody at a surface, where others wait for an
    /// answer. They share their views with nobody who waits less.
    #[must_use]
    pub fn patient(&self, wait: Duration) -> Self {
        Self { glances: Glances::default(), questions: Questions::default(), wait, ..self.clone() }
    }

    /// How long whoever shares a view waits at most: for the one that is open, and for the next one.
    fn shared_within(&self) -> Duration {
        2 * (CONNECTION_WITHIN + self.wait)
    }

    /// Lets the database go.
    pub async fn close(&self) {
        tokio::join!(self.pool.close(), self.peeks.close());
    }

    /// Makes the live schema if there is none, and rebuilds one that another version of Docket made. For a server:
    /// a command that only looks must not take the read models away from the version that serves them.
    pub async fn prepare(&self) -> Result<(), PrepareError> {
        let ensured = self.ensure().await;
        if !matches!(ensured, Err(PrepareError::OtherVersion)) {
            return ensured;
        }
        // Of servers that start together on a new version one rebuilds, and the others find it done.
        let mut turn = self.pool.begin().await?;
        turn.execute(REBUILT_WITHIN).await?;
        in_turn(&mut turn, Making::ReadModels).await?;
        let prepared = match self.ensure().await {
            Err(PrepareError::OtherVersion) => {
                tracing::info!("the read models are of another version and are rebuilt");
                self.rebuild(true, |_| ()).await.map(drop).map_err(Into::into)
            }
            ensured => ensured,
        };
        turn.rollback().await?;
        prepared
    }

    /// Makes the live schema if there is none; refuses one that another version of Docket made.
    pub async fn ensure(&self) -> Result<(), PrepareError> {
        let mut stored = made_by(&self.pool).await?;
        if stored.is_none() {
            let mut transaction = self.pool.begin().await?;
            in_turn(&mut transaction, Making::Schema).await?;
            stored = made_by(&mut *transaction).await?;
            if stored.is_none() {
                make_schema(&mut transaction, LIVE, true).await?;
                return Ok(transaction.commit().await?);
            }
        }
        if stored == Some(Some(docket_projections::schema_version())) {
            Ok(())
        } else {
            Err(PrepareError::OtherVersion)
        }
    }

    /// Folds for ever; to be stopped by dropping it. Any number of processes may do so at once.
    pub async fn run(&self) {
        runner::run(self).await;
    }

    /// Folds everything that was appended to an organization so far.
    pub async fn settle(&self, organization: OrganizationId) -> Result<(), ReadSideError> {
        self.view(organization, Consistency::STRONG).await.map(drop)
    }

    /// A view that is as new as `consistency` says; waits two seconds at most, or as long as a patient reader does.
    pub async fn view(
        &self,
        organization: OrganizationId,
        consistency: Consistency,
    ) -> Result<View, ReadSideError> {
        let started = Stopwatch::now();
        // Where there is something to fold for certain, a view would be closed again at once.
        let (view, at) = if consistency != Consistency::Eventual && self.behind(organization) {
            (None, self.standing(organization).await?)
        } else {
            let (view, at) = self.look(organization).await?;
            (Some(view), at)
        };
        let target = match consistency {
            Consistency::Eventual => 0,
            Consistency::Strong { min_position: Some(wanted) } if wanted > at.head => {
                return Err(ReadSideError::BeyondHead { wanted, head: at.head });
            }
            Consistency::Strong { .. } => at.head,
        };
        let (mut view, mut parked) = (view, at.parked);
        let mut looked = started;
        if at.folded < target {
            self.ledger.heads().wanted(organization);
        }
        loop {
            let folded = self.progress.folded.notified();
            tokio::pin!(folded);
            folded.as_mut().enable();

            if self.progress.position(organization).max(at.folded) >= target && view.is_none() {
                view = Some(self.look(organization).await?.0);
            } else if view.is_none() && looked.elapsed() >= LOOK {
                // Another process may have folded: the database is asked now and then, not at every fold of this one.
                looked = Stopwatch::now();
                let at = self.standing(organization).await?;
                parked = at.parked;
                if at.folded >= target {
                    view = Some(self.look(organization).await?.0);
                } else {
                    self.ledger.heads().wanted(organization);
                }
            }
            if let Some(view) = view.take().filter(|view| view.position >= target) {
                if consistency != Consistency::Eventual {
                    metrics::histogram!("docket_read_wait_seconds").record(started.elapsed().as_secs_f64());
                }
                return Ok(view);
            }
            if let Some(position) = parked {
                return Err(ReadSideError::Parked { position });
            }
            if started.elapsed() >= self.wait {
                return Err(ReadSideError::Behind { retry_after: Duration::from_secs(1) });
            }
            let _ = tokio::time::timeout(LOOK, folded).await;
        }
    }

    /// How many contacts a campaign has as of the head, and that position. A strong view takes four round trips and the end
    /// of a fold; a change that only wants to show counts beside its own decision shares one with everybody who asks
    /// meanwhile.
    pub async fn totals(
        &self,
        organization: OrganizationId,
        campaign: CampaignId,
    ) -> Result<(Totals, i64), ReadSideError> {
        self.glances.totals(self, organization, campaign).await
    }

    /// How many contacts a campaign had, and the position as of which, if it is remembered and nothing that is known here has
    /// changed a count since. Whether that is so at the head is for the append to say.
    pub fn remembered_totals(
        &self,
        organization: OrganizationId,
        campaign: CampaignId,
    ) -> Option<(Totals, i64)> {
        let stretch = self.ledger.stretch(organization)?;
        self.glances.remembered(organization, campaign).filter(|(_, position)| stretch.holds(*position))
    }

    /// Remembers how many contacts a campaign had as of a position: none where it began.
    pub fn remember_totals(
        &self,
        organization: OrganizationId,
        campaign: CampaignId,
        totals: Totals,
        position: i64,
    ) {
        self.glances.remember(organization, campaign, totals, position);
    }

    /// Up to five campaigns of that name, without regard to case and accents, and the position that this reflects at least;
    /// archived ones do not count. Asked together with whoever asks meanwhile.
    pub async fn campaigns_named(
        &self,
        organization: OrganizationId,
        name: String,
    ) -> Result<(Vec<CampaignId>, i64), ReadSideError> {
        self.questions.ask(self, organization, |answer| Question::Named(name, answer)).await
    }

    /// What is still to do on a campaign at `now`, and the position that this reflects at least. Asked together with whoever
    /// asks meanwhile.
    pub async fn unfinished(
        &self,
        organization: OrganizationId,
        campaign: CampaignId,
        now: Timestamp,
    ) -> Result<(Unfinished, i64), ReadSideError> {
        self.questions.ask(self, organization, |answer| Question::Unfinished(campaign, now, answer)).await
    }

    /// A connection for one single statement on the live read models, as new as they happen to be.
    pub async fn peek(&self) -> Result<PoolConnection<Postgres>, ReadSideError> {
        Ok(self.peeks.acquire().await?)
    }

    /// Forgets what this process folded: what a database that died had not written of it is to be folded again.
    pub fn forget(&self) {
        self.progress.forget();
        self.glances.forget();
    }

    /// Whether this process appended something that it has not folded yet: a hint, no more.
    fn behind(&self, organization: OrganizationId) -> bool {
        self.ledger.heads().last(organization) > self.progress.position(organization)
    }

    async fn look(&self, organization: OrganizationId) -> Result<(View, Standing), ReadSideError> {
        let mut transaction = self
            .pool
            .begin_with(format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path TO {LIVE}"
            ))
            .await?;
        let at = Standing::read(&mut transaction, organization).await?;
        Ok((View { transaction, position: at.folded }, at))
    }

    async fn standing(&self, organization: OrganizationId) -> Result<Standing, ReadSideError> {
        let mut peek = self.peek().await?;
        Standing::read(&mut peek, organization).await
    }
}

/// How far an organization's ledger reaches and its read models follow.
struct Standing {
    head: i64,
    folded: i64,
    parked: Option<i64>,
}

impl Standing {
    async fn read(
        connection: &mut PgConnection,
        organization: OrganizationId,
    ) -> Result<Self, ReadSideError> {
        let row = sqlx::query(
            "SELECT h.position, coalesce(c.position, 0), c.parked_position \
             FROM ledger.heads h LEFT JOIN cursors c USING (organization_id) WHERE organization_id = $1",
        )
        .bind(organization.uuid())
        .fetch_optional(connection)
        .await?
        .ok_or(ReadSideError::UnknownOrganization)?;
        Ok(Self { head: row.try_get(0)?, folded: row.try_get(1)?, parked: row.try_get(2)? })
    }
}

/// The version that made the live schema, if there is one; none within, if it does not say.
async fn made_by(database: impl PgExecutor<'_>) -> Result<Option<Option<String>>, sqlx::Error> {
    sqlx::query_scalar("SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = $1")
        .bind(LIVE)
        .fetch_optional(database)
        .await
}

/// Makes the tables of the read models in a schema of their own, and notes their version on it.
async fn make_schema(connection: &mut PgConnection, schema: &str, indexes: bool) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    transaction
        .execute(format!("CREATE SCHEMA {schema}; SET LOCAL search_path TO {schema}").as_str())
        .await?;
    transaction.execute(docket_projections::SCHEMA).await?;
    if indexes {
        transaction.execute(docket_projections::INDEXES).await?;
    }
    let version = docket_projections::schema_version();
    transaction.execute(format!("COMMENT ON SCHEMA {schema} IS '{version}'").as_str()).await?;
    transaction.commit().await
}
