//! `docket serve`.

use anyhow::Context as _;
use clap::Args;
use tokio::net::TcpListener;

use super::open::Opened;
use crate::config::{Config, ServeConfig};
use crate::http;

/// Serves the API until it is told to stop.
#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    config: ServeConfig,
}

impl Serve {
    pub async fn run(self, config: &Config) -> anyhow::Result<()> {
        let opened = Opened::open(config).await?;
        let listen = self.config.listen;
        let listener =
            TcpListener::bind(listen).await.with_context(|| format!("{listen} cannot be listened on"))?;
        let address = listener.local_addr()?;
        tracing::info!(%address, "serving on http://{address}");
        let served = http::serve(opened.app.clone(), listener, stopped(&opened)).await;
        opened.close().await;
        served.context("the server ended")
    }
}

/// SIGTERM, Ctrl-C, or the end of the database that this process started.
async fn stopped(opened: &Opened) {
    #[cfg(unix)]
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        () = terminated => (),
        _ = tokio::signal::ctrl_c() => (),
        () = opened.postgres.ended() => tracing::error!("the private PostgreSQL ended"),
    }
}
