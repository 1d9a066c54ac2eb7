//! `docket serve`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use docket_aggregates::ids::OrganizationId;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::open::Opened;
use crate::app::App;
use crate::config::{Config, ServeConfig};
use crate::dispatcher;
use crate::hearing;
use crate::hooks::{self, Hooks};
use crate::http;
use crate::language_model::LanguageModel;
use crate::outgoing_webhooks::Webhooks;
use crate::service::Call;

/// How long messages that are at their channels may take once the process is shutting down.
const DISPATCH_STOP_WITHIN: Duration = Duration::from_secs(25);

/// Serves the API until it is told to stop.
#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    config: ServeConfig,
}

impl Serve {
    /// Serves; when the private PostgreSQL ends (its owner was another process, or it died), opens it again and goes
    /// on.
    pub async fn run(self, config: &Config) -> anyhow::Result<()> {
        let model = LanguageModel::open(&self.config.language_model)?;
        let hooks = Hooks::new(config.hooks_file(self.config.hooks_file.as_ref()));
        let mut hooks_loaded = false;
        let channels = self.config.channels.open()?;
        let webhooks = Webhooks::new(self.config.channels.open_poster()?);
        loop {
            let opened = Opened::to_serve(config).await?;
            let listen = self.config.listen;
            let listener =
                TcpListener::bind(listen).await.with_context(|| format!("{listen} cannot be listened on"))?;
            let address = listener.local_addr()?;
            tracing::info!(%address, "serving on http://{address}");
            let database_ended = AtomicBool::new(false);
            let ending = CancellationToken::new();
            let hearing = self.take_mail_in(&opened.app, ending.clone()).await?;
            let public_url = self.config.settings().public_url.as_deref().map(Into::into);
            let app = App {
                model: model.clone(),
                hooks: hooks.clone(),
                webhooks: webhooks.clone(),
                public_url,
                ..opened.app.clone()
            };
            if !hooks_loaded {
                // A mistake in the file is told before anything is served, like every other setting's.
                let call = Call::of_system(&app, OrganizationId::INSTANCE, "serve");
                hooks::reload(&app, &call).await.context("the post-issue hooks cannot be loaded")?;
                hooks_loaded = true;
            }
            let settings = self.config.settings();
            let dispatching =
                dispatcher::start(app.clone(), channels.clone(), dispatcher::Settings::default());
            let stopping = async {
                stopped(&opened, &database_ended).await;
                ending.cancel();
            };
            // Both drain at once. A server that ends by itself ends the dispatcher, too.
            let (served, ()) = tokio::join!(
                async {
                    let served = http::serve(app, settings, listener, stopping).await;
                    ending.cancel();
                    served
                },
                async {
                    ending.cancelled().await;
                    let stopped = dispatching.stop(DISPATCH_STOP_WITHIN);
                    let heard = async {
                        if let Some(hearing) = hearing {
                            let _ = hearing.await;
                        }
                    };
                    tokio::join!(stopped, heard);
                }
            );
            opened.close().await;
            served.context("the server ended")?;
            if !database_ended.load(Ordering::SeqCst) {
                return Ok(());
            }
        }
    }
}

impl Serve {
    /// Begins to take mail in, if it is said where.
    async fn take_mail_in(
        &self,
        app: &App,
        ending: CancellationToken,
    ) -> anyhow::Result<Option<JoinHandle<()>>> {
        let Some(listen) = self.config.channels.lmtp_listen else { return Ok(None) };
        let listener =
            TcpListener::bind(listen).await.with_context(|| format!("{listen} cannot be listened on"))?;
        tracing::info!(address = %listener.local_addr()?, "taking mail in by LMTP");
        let app = app.clone();
        Ok(Some(tokio::spawn(hearing::mail::serve(app, listener, ending.cancelled_owned()))))
    }
}

/// SIGTERM, Ctrl-C, or the end of the private PostgreSQL.
pub(super) async fn stopped(opened: &Opened, database_ended: &AtomicBool) {
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
        () = opened.postgres.ended() => {
            tracing::warn!("the private PostgreSQL ended; it is opened again");
            database_ended.store(true, Ordering::SeqCst);
        }
    }
}
