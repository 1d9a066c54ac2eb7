//! Connections: accepted, bounded, and let go in good order.
//!
//! A connection must show the head of its next request within a deadline, so that one that trickles holds nothing
//! for long; there are only so many of them at once. At shutdown nothing new is accepted, what was begun is
//! finished within its time, and the access log is written to its end.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{HttpState, Settings};
use crate::access_log::AccessLog;
use crate::app::App;
use crate::standing;

/// Open connections, at most; the next one waits in the listener's backlog.
const CONNECTIONS_MAX: usize = 4_096;
/// How long a connection may take for the head of a request, and how long it may be idle.
const HEAD_WITHIN: Duration = Duration::from_secs(20);
/// The largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long requests that were begun may take once the process is shutting down.
const DRAIN_WITHIN: Duration = Duration::from_secs(20);
/// How long the access log may take after that.
const LOG_DRAIN_WITHIN: Duration = Duration::from_secs(5);
/// How long imports may take to reach the end of their chunk.
const IMPORTS_STOP_WITHIN: Duration = Duration::from_secs(5);
/// How long sequences may take to put back what they are looking at.
const SEQUENCES_STOP_WITHIN: Duration = Duration::from_secs(5);
/// How long hooks, webhooks and the marking of contacts may take beyond their own bounds; they were told to end when the drain began.
const FOLLOWERS_STOP_WITHIN: Duration = Duration::from_secs(2);
/// Pause after the listener failed, for instance because no file descriptor was free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often the recorder of metrics tidies up.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Serves until `shutdown` comes, then drains within 30 seconds.
pub async fn serve(
    app: App,
    settings: Settings,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let (access_log, writing) = AccessLog::open(app.ledger.pool().clone(), app.clock.clone());
    let state = HttpState::new(app.clone(), access_log.clone(), settings);
    let service = TowerToHyperService::new(super::router(state.clone()));
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(HEAD_BYTES_MAX);

    let upkeep = tokio::spawn(async {
        let mut tick = tokio::time::interval(UPKEEP_EVERY);
        loop {
            tick.tick().await;
            crate::metrics::recorder().run_upkeep();
        }
    });
    let resuming = tokio::spawn(crate::imports::resume(app.clone()));
    let hooks = begun("hooks", &app, &state.ending, crate::hooks::run);
    let sequencing = begun("sequences", &app, &state.ending, crate::sequences::runner::run);
    let webhooks = begun("webhooks", &app, &state.ending, crate::outgoing_webhooks::run);
    let marking = begun("suppressions", &app, &state.ending, crate::suppressions::run);
    let expire = |app, _| async move { crate::approvals::expiry::run(&app).await };
    let expiring = begun("expiry", &app, &state.ending, expire);

    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = async {
            let turn = connections.clone().acquire_owned().await;
            (listener.accept().await, turn)
        };
        let (stream, turn) = tokio::select! {
            (accepted, turn) = accepted => match accepted {
                Ok((stream, _)) => (stream, turn),
                Err(error) => {
                    tracing::warn!(error = %error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        prepare(&stream);
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service.clone()));
        metrics::gauge!("docket_http_connections").increment(1.0);
        tokio::spawn(async move {
            let _turn = turn;
            if let Err(error) = connection.await {
                tracing::debug!(error = %error, "a connection broke off");
            }
            metrics::gauge!("docket_http_connections").decrement(1.0);
        });
    }

    tracing::info!(connections = graceful.count(), "shutting down");
    state.draining.store(true, Ordering::Relaxed);
    state.ending.cancel();
    drop(listener);
    resuming.abort();
    expiring.abort();
    app.imports.stop();
    if tokio::time::timeout(DRAIN_WITHIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were not finished in time");
    }
    app.imports.stopped(IMPORTS_STOP_WITHIN).await;
    let sequences_stop = sequencing.abort_handle();
    if tokio::time::timeout(SEQUENCES_STOP_WITHIN, sequencing).await.is_err() {
        // A step that was not appended by then is taken at the next start, or by another process.
        sequences_stop.abort();
    }
    let followers_stop = [hooks.abort_handle(), webhooks.abort_handle(), marking.abort_handle()];
    let followed = async { tokio::join!(hooks, webhooks, marking) };
    if tokio::time::timeout(FOLLOWERS_STOP_WITHIN, followed).await.is_err() {
        // What they held is taken up by whoever comes next.
        followers_stop.iter().for_each(tokio::task::AbortHandle::abort);
    }
    access_log.drain(writing, LOG_DRAIN_WITHIN).await;
    upkeep.abort();
    Ok(())
}

/// Has a loop stand in the background until it is told that the server ends.
fn begun<F: Future<Output = ()> + Send + 'static>(
    name: &'static str,
    app: &App,
    ending: &CancellationToken,
    run: impl Fn(App, CancellationToken) -> F + Send + 'static,
) -> JoinHandle<()> {
    let (app, ending) = (app.clone(), ending.clone());
    tokio::spawn(standing::keep(name, move || run(app.clone(), ending.clone())))
}

/// Answers are small and wanted at once.
fn prepare(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %error, "a connection does not take options");
    }
}
