//! `docket serve`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use docket_aggregates::ids::OrganizationId;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::open::{self, Opened};
use crate::app::App;
use crate::channels::Channels;
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
    /// on. What was begun then is finished first, with the database that is there again, and so is what was begun
    /// before the process was told to end.
    pub async fn run(self, config: &Config) -> anyhow::Result<()> {
        let model = LanguageModel::open(&self.config.language_model)?;
        let hooks = Hooks::new(config.hooks_file(self.config.hooks_file.as_ref()));
        let mut hooks_loaded = false;
        let channels = self.config.channels.open()?;
        let webhooks = Webhooks::new(self.config.channels.open_poster()?);
        let told = told_to_stop()?;
        let mut kept = None;
        let mut again = None;
        loop {
            let opening = async {
                let postgres = match again.take() {
                    Some(postgres) => postgres,
                    None => open::start(config).await?,
                };
                Opened::on(postgres, config).await
            };
            let Some(opened) = told.run_until_cancelled(opening).await else { return Ok(()) };
            let mut opened = opened?;
            let bound = match kept.take() {
                Some(bound) => bound,
                None => self.bind().await?,
            };
            let address = bound.local_addr()?;
            // Whoever comes while the database is opened again waits a moment, and is not turned away.
            kept = Some(bound.try_clone()?);
            let listener = TcpListener::from_std(bound)?;
            let settings = self.config.settings();
            let app = App {
                model: model.clone(),
                hooks: hooks.clone(),
                webhooks: webhooks.clone(),
                public_url: settings.public_url.as_deref().map(Into::into),
                ..opened.app.clone()
            };
            if !hooks_loaded {
                // A mistake in the file is told before anything is served, like every other setting's.
                load_hooks(&app).await?;
                hooks_loaded = true;
            }
            // Nothing is asked of the database any more before it is watched.
            tracing::info!(%address, "serving on http://{address}");
            let mail_in = match self.config.channels.lmtp_listen {
                Some(listen) => Some(mail_listener(listen).await?),
                None => None,
            };
            let alongside = Alongside::start(&app, channels.clone(), mail_in);
            let draining = CancellationToken::new();
            let mut lost = None;
            // Also while it drains: a machine that goes down tells everybody at once, and when the owner is the quicker one, a
            // guest still needs the database for what it began.
            let keeping = async {
                loop {
                    opened.database_ended().await;
                    tracing::warn!("the private PostgreSQL ended; it is opened again");
                    if let Err(error) = opened.database_again(config).await {
                        // From here on there is none whose end could be waited for.
                        lost = Some(error);
                    }
                    draining.cancel();
                }
            };
            let stopping = async {
                tokio::select! {
                    () = told.cancelled() => kept = None,
                    () = draining.cancelled() => (),
                }
            };
            let served = tokio::select! {
                served = alongside.serve(app, settings, listener, stopping) => served,
                never = keeping => never,
            };
            let postgres = opened.leave().await;
            if served.is_ok() && lost.is_none() && !told.is_cancelled() {
                again = postgres;
                continue;
            }
            if let Some(postgres) = postgres {
                postgres.shutdown().await;
            }
            served.context("the server ended")?;
            return lost.map_or(Ok(()), Err);
        }
    }

    async fn bind(&self) -> anyhow::Result<std::net::TcpListener> {
        let listen = self.config.listen;
        let bound = TcpListener::bind(listen).await;
        Ok(bound.with_context(|| format!("{listen} cannot be listened on"))?.into_std()?)
    }
}

/// Reads the hooks of the operator's file, and takes them over unless others are in force.
pub(super) async fn load_hooks(app: &App) -> anyhow::Result<()> {
    let call = Call::of_system(app, OrganizationId::INSTANCE, "serve");
    hooks::begin(app, &call).await.context("the post-issue hooks cannot be loaded")?;
    Ok(())
}

/// Where mail is taken in.
pub(super) async fn mail_listener(listen: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener =
        TcpListener::bind(listen).await.with_context(|| format!("{listen} cannot be listened on"))?;
    tracing::info!(address = %listener.local_addr()?, "taking mail in by LMTP");
    Ok(listener)
}

/// What works alongside the HTTP surface: the dispatcher, and whoever takes mail in.
pub(super) struct Alongside {
    dispatching: dispatcher::Running,
    hearing: Option<JoinHandle<()>>,
    ending: CancellationToken,
}

impl Alongside {
    /// Begins.
    pub(super) fn start(app: &App, channels: Channels, mail_in: Option<TcpListener>) -> Self {
        let ending = CancellationToken::new();
        let hearing = mail_in.map(|listener| {
            tokio::spawn(hearing::mail::serve(app.clone(), listener, ending.clone().cancelled_owned()))
        });
        let dispatching = dispatcher::start(app.clone(), channels, dispatcher::Settings::default());
        Self { dispatching, hearing, ending }
    }

    /// Serves until `stopping`. Then everything drains at once; a server that ends by itself ends the rest, too.
    pub(super) async fn serve(
        self,
        app: App,
        settings: http::Settings,
        listener: TcpListener,
        stopping: impl Future<Output = ()>,
    ) -> std::io::Result<()> {
        let Self { dispatching, hearing, ending } = self;
        let stopping = async {
            stopping.await;
            ending.cancel();
        };
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
        served
    }
}

/// Is cancelled by SIGTERM or Ctrl-C, also by one that comes while nothing waits for it.
pub(super) fn told_to_stop() -> anyhow::Result<CancellationToken> {
    let told = CancellationToken::new();
    let telling = told.clone();
    #[cfg(unix)]
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("SIGTERM cannot be listened for")?;
    #[cfg(unix)]
    let mut interrupted = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
        .context("Ctrl-C cannot be listened for")?;
    tokio::spawn(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = terminated.recv() => (),
            _ = interrupted.recv() => (),
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
        telling.cancel();
    });
    Ok(told)
}
