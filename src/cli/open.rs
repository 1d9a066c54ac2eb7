//! From the configuration to a running product without surfaces.

use anyhow::Context as _;
use tokio::task::JoinHandle;

use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::ledger::QueueBounds;
use crate::postgres::{Postgres, PostgresConfig};

/// The product, and the database that it may have started.
pub struct Opened {
    /// The product.
    pub app: App,
    /// The database.
    pub postgres: Postgres,
    working: JoinHandle<()>,
}

impl Opened {
    /// Finds or starts the database, brings it up to date and starts to fold.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        Self::on(start(config).await?, config).await
    }

    /// Brings a database up to date and starts to fold.
    pub async fn on(postgres: Postgres, config: &Config) -> anyhow::Result<Self> {
        let app =
            App::open(postgres.options(), config.master_key()?, Clock::system(), QueueBounds::default())
                .await?;
        let background = app.clone();
        let working = tokio::spawn(async move {
            tokio::join!(background.readside.run(), background.ledger.tidy());
        });
        Ok(Self { app, postgres, working })
    }

    /// Writes what waits, stops folding and stops the database if this process started it.
    pub async fn close(self) {
        self.working.abort();
        self.app.close().await;
        self.postgres.shutdown().await;
    }
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
    let filter = EnvFilter::try_new(format!("sqlx=warn,{filter}"))
        .context("DOCKET_LOG is not a filter such as `info`")?;
    // A second start within one process (a test) keeps the first log.
    let _ = fmt().json().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    Ok(())
}
