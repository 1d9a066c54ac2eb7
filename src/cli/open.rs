//! From the configuration to a running product without surfaces.

use anyhow::Context as _;
use tokio::task::JoinHandle;

use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::ledger::QueueBounds;
use crate::postgres::{Postgres, PostgresConfig};
use crate::standing;

/// The product, and the database that it may have started.
pub struct Opened {
    /// The product.
    pub app: App,
    /// The database; none once it was let go of.
    pub postgres: Option<Postgres>,
    working: Option<JoinHandle<()>>,
}

impl Opened {
    /// For a server, on a database that was started: the read models are made current, and kept so.
    pub async fn on(postgres: Postgres, config: &Config) -> anyhow::Result<Self> {
        let app = open_ledger(&postgres, config).await?;
        app.readside.prepare().await?;
        Ok(Self::working(app, postgres))
    }

    /// For a command that reads the read models: they are kept current while it runs, but another version's are left
    /// alone.
    pub async fn to_read(config: &Config) -> anyhow::Result<Self> {
        let postgres = start(config).await?;
        let app = open_ledger(&postgres, config).await?;
        app.readside.ensure().await?;
        Ok(Self::working(app, postgres))
    }

    /// For a command that deals with the ledger alone: nothing is folded.
    pub async fn ledger(config: &Config) -> anyhow::Result<Self> {
        let postgres = start(config).await?;
        let app = open_ledger(&postgres, config).await?;
        Ok(Self { app, postgres: Some(postgres), working: None })
    }

    fn working(app: App, postgres: Postgres) -> Self {
        let background = app.clone();
        let working = tokio::spawn(standing::keep("read models", move || {
            let app = background.clone();
            async move {
                tokio::join!(app.readside.run(), app.ledger.tidy());
            }
        }));
        Self { app, postgres: Some(postgres), working: Some(working) }
    }

    /// Opens the private database anew after its server has ended, or the process that ran it, and keeps it. It comes back at
    /// the same address, so that what waits for it here goes on. What this process remembers of the read models is forgotten first: a
    /// fold that was answered just before the end need not be on disk, and is made again.
    pub async fn database_again(&mut self, config: &Config) -> anyhow::Result<()> {
        self.app.readside.forget();
        if let Some(ended) = self.postgres.take() {
            ended.shutdown().await;
        }
        self.postgres = Some(start(config).await?);
        Ok(())
    }

    /// Resolves when nobody keeps the private database running any more.
    pub async fn database_ended(&self) {
        match &self.postgres {
            Some(postgres) => postgres.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Writes what waits, stops folding and stops the database if this process started it.
    pub async fn close(self) {
        if let Some(postgres) = self.leave().await {
            postgres.shutdown().await;
        }
    }

    /// Writes what waits and stops folding; the database runs on.
    pub async fn leave(self) -> Option<Postgres> {
        if let Some(working) = &self.working {
            working.abort();
        }
        self.app.close().await;
        self.postgres
    }
}

async fn open_ledger(postgres: &Postgres, config: &Config) -> anyhow::Result<App> {
    let app =
        App::open_ledger(postgres.options(), config.master_key()?, Clock::system(), QueueBounds::default());
    Ok(app.await?)
}

/// Finds or starts the database, and begins to log.
pub async fn start(config: &Config) -> anyhow::Result<Postgres> {
    log_to_stderr(&config.log)?;
    let data_dir = config.data_dir()?;
    let config = PostgresConfig { database_url: config.database_url.clone(), data_dir, fetch: true };
    Ok(Postgres::open(&config).await?)
}

fn log_to_stderr(filter: &str) -> anyhow::Result<()> {
    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_new(format!("sqlx=warn,rmcp=warn,rlibphonenumber=warn,{filter}"))
        .context("DOCKET_LOG is not a filter such as `info`")?;
    // A second start within one process (a test) keeps the first log.
    let _ = fmt().json().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    Ok(())
}
