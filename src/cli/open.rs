//! From the configuration to a running product without surfaces.

use std::time::Duration;

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
    folding: JoinHandle<()>,
}

impl Opened {
    /// Finds or starts the database, brings it up to date and starts to fold.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        log_to_stderr(&config.log)?;
        let data_dir = config.data_dir()?;
        let postgres = Postgres::open(&PostgresConfig {
            database_url: config.database_url.clone(),
            data_dir,
            fetch: true,
        })
        .await?;
        let app =
            App::open(postgres.options(), config.master_key()?, Clock::system(), QueueBounds::default())
                .await?;
        let readside = app.readside.clone();
        let folding = tokio::spawn(async move { readside.run().await });
        Ok(Self { app, postgres, folding })
    }

    /// Writes what waits, stops folding and stops the database if this process started it.
    pub async fn close(self) {
        self.folding.abort();
        self.app.close().await;
        self.postgres.shutdown().await;
    }
}

fn log_to_stderr(filter: &str) -> anyhow::Result<()> {
    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_new(format!("sqlx=warn,{filter}"))
        .context("DOCKET_LOG is not a filter such as `info`")?;
    // A second start within one process (a test) keeps the first log.
    let _ = fmt().json().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    Ok(())
}
