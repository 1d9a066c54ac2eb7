//! `docket bench`: what the product claims, measured side by side in one run on one database.
//!
//! The machines are shared and noisy, so a claim is a ratio of two figures of the same run, never a figure alone.
//! `throughput` compares the ledger and the whole way over HTTP with the stock framework; the other scenarios take
//! three sizes ten times apart and print the growth. `sends` says how many e-mails leave in a second.

pub mod dedup;
mod http;
mod report;
mod sends;
mod sizes;
mod stock;
mod throughput;
mod workload;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::app::App;

pub use report::Report;

/// What to measure, and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Callers at once, one run for each.
    pub callers: Vec<usize>,
    /// How long each run takes.
    pub seconds: Duration,
    /// The largest of the three sizes.
    pub largest: u64,
    /// Scenarios; empty means all.
    pub only: BTreeSet<String>,
}

impl Plan {
    /// Three sizes ten times apart.
    fn sizes(&self) -> [u64; 3] {
        [(self.largest / 100).max(1), (self.largest / 10).max(1), self.largest.max(1)]
    }

    fn wants(&self, scenario: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| scenario.starts_with(wanted.as_str()))
    }
}

/// The read side at work, until this is dropped. The stock framework without views and the ledger alone are measured
/// without it.
struct Folding(tokio::task::JoinHandle<()>);

impl Folding {
    fn begin(app: &App) -> Self {
        let background = app.clone();
        Self(tokio::spawn(async move {
            tokio::join!(background.readside.run(), background.ledger.tidy());
        }))
    }
}

impl Drop for Folding {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs the plan on a database that nobody else uses.
pub async fn run(app: &App, plan: &Plan, say: impl Fn(&str)) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let server = throughput::Server::start(app).await?;
    throughput::run(app, plan, &server, &mut report, &say).await?;
    let _folding = Folding::begin(app);
    sends::run(app, plan, &mut report, &say).await?;
    sizes::run(app, plan, &server, &mut report, &say).await?;
    server.stop().await;
    report.finish();
    Ok(report)
}
