//! Everything that a surface needs to do its work: one value, handed to every handler.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

use crate::analyses::Analyses;
use crate::brand_voice::BrandVoice;
use crate::clock::Clock;
use crate::credentials::Credentials;
use crate::flights::Flights;
use crate::hooks::Hooks;
use crate::imports::Imports;
use crate::language_model::LanguageModel;
use crate::ledger::seal::Key;
use crate::ledger::{Ledger, OpenError, QueueBounds, pool_of};
use crate::outgoing_webhooks::Webhooks;
use crate::readside::{PrepareError, ReadSide};
use crate::secrets::Secrets;
use crate::workspaces::Workspaces;

/// Connections of the ledger's pool. The two lanes of the append and the read models have their own.
const CONNECTIONS: u32 = 16;
/// The ledger is asked by key. A plan that was made while a table was small enough to be read whole, or to be sorted, is
/// kept while it grows: 3.6 ms instead of 0.03 ms were seen for the tail of a stream.
const BY_KEY: [(&str, &str); 2] = [("enable_seqscan", "off"), ("enable_sort", "off")];
/// Our statements are short: a server that compiles them first takes 300 ms for one of 1 ms, because plans that avoid
/// reading whole tables are taken for dear. The private server is told so; another one may not be.
const SHORT: [(&str, &str); 1] = [("jit", "off")];
/// How long a request waits for a connection.
const ACQUIRE_WITHIN: Duration = Duration::from_secs(5);
/// How long the ledger may take to write what waits when the process ends.
const DRAIN_WITHIN: Duration = Duration::from_secs(20);

/// The product without its surfaces. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The write side.
    pub ledger: Ledger,
    /// The read side.
    pub readside: ReadSide,
    /// Who may do what.
    pub credentials: Credentials,
    /// Which organizations may be entered.
    pub workspaces: Workspaces,
    /// Where time and ids come from.
    pub clock: Clock,
    /// The requests that are under way.
    pub flights: Flights,
    /// The imports that this process works on.
    pub imports: Imports,
    /// What providers know companies by.
    pub secrets: Secrets,
    /// The language model that the operator connected, if any.
    pub model: Option<LanguageModel>,
    /// The address under which the outside reaches this server, without a slash at its end.
    pub public_url: Option<Arc<str>>,
    /// The analyses that it makes.
    pub analyses: Analyses,
    /// The drafts that it checks at the moment.
    pub brand_voice: BrandVoice,
    /// What it does by itself after a message was issued.
    pub hooks: Hooks,
    /// What posts a company's events to where it wants them.
    pub webhooks: Webhooks,
}

/// Why the product cannot be opened on a database.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The database is not reached.
    #[error("the database cannot be reached")]
    Unreachable(#[source] sqlx::Error),
    /// The ledger does not open.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// The read models cannot be made.
    #[error(transparent)]
    ReadSide(#[from] PrepareError),
}

impl App {
    /// Brings a database up to date, the read models too, and opens the product on it. Folding is begun by
    /// [`ReadSide::run`].
    pub async fn open(
        options: PgConnectOptions,
        master: Key,
        clock: Clock,
        bounds: QueueBounds,
    ) -> Result<Self, AppError> {
        let app = Self::open_ledger(options, master, clock, bounds).await?;
        app.readside.prepare().await?;
        Ok(app)
    }

    /// The same without a look at the read models.
    pub async fn open_ledger(
        options: PgConnectOptions,
        master: Key,
        clock: Clock,
        bounds: QueueBounds,
    ) -> Result<Self, AppError> {
        let options = options.options(SHORT);
        let bounded = options
            .clone()
            .application_name("docket")
            .options([("statement_timeout", "120s"), ("idle_in_transaction_session_timeout", "120s")]);
        let pool = pool_of(CONNECTIONS)
            .acquire_timeout(ACQUIRE_WITHIN)
            .connect_with(bounded.clone().options(BY_KEY))
            .await
            .map_err(AppError::Unreachable)?;
        let ledger = Ledger::open(pool.clone(), options, master, clock.clone(), bounds).await?;
        let readside = ReadSide::new(ledger.clone(), bounded);
        Ok(Self {
            credentials: Credentials::new(pool, clock.clone()),
            secrets: Secrets::new(ledger.clone()),
            ledger,
            readside,
            workspaces: Workspaces::default(),
            clock,
            flights: Flights::default(),
            imports: Imports::default(),
            model: None,
            public_url: None,
            analyses: Analyses::default(),
            brand_voice: BrandVoice::default(),
            hooks: Hooks::default(),
            webhooks: Webhooks::default(),
        })
    }

    /// Writes what waits and lets the database go.
    pub async fn close(&self) {
        self.ledger.drain(DRAIN_WITHIN).await;
        let closed = async { tokio::join!(self.readside.close(), self.ledger.pool().close()) };
        let _ = tokio::time::timeout(Duration::from_secs(5), closed).await;
    }
}
