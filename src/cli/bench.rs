//! `docket bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::open::Opened;
use crate::bench::{self, Plan};
use crate::config::Config;
use crate::deduplication::labelled::LabelledOptions;

/// Measures what the product claims, on a database of its own.
#[derive(Debug, Args)]
pub struct Bench {
    /// Callers at once; one run for each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256])]
    callers: Vec<usize>,
    /// Seconds of each run.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// The largest of the three sizes at which the large operations are measured.
    #[arg(long, default_value_t = 100_000)]
    largest: u64,
    /// Only scenarios whose name begins so; repeat for more.
    #[arg(long)]
    only: Vec<String>,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Precision, recall and F1 of the deduplication on labelled files.
    Dedup {
        /// The file that plays the contacts already there.
        #[arg(long)]
        left: PathBuf,
        /// The file that is analysed.
        #[arg(long)]
        right: PathBuf,
        /// Pairs of ids, the left file's first.
        #[arg(long)]
        truth: PathBuf,
    },
}

impl Bench {
    pub async fn run(self, config: &Config) -> anyhow::Result<()> {
        if let Some(What::Dedup { left, right, truth }) = self.what {
            let report = tokio::task::spawn_blocking(move || {
                bench::dedup::run(&left, &right, &truth, &LabelledOptions::default())
            })
            .await??;
            return super::print(config, &report, ToString::to_string);
        }
        let folder = tempfile::Builder::new().prefix("docket-bench").tempdir()?;
        let mut own = config.clone();
        if own.database_url.is_none() {
            own.data_dir = Some(folder.path().join("data"));
        }
        let opened = Opened::ledger(&own).await?;
        opened.app.readside.prepare().await?;
        let plan = Plan {
            callers: self.callers,
            seconds: Duration::from_secs_f64(self.seconds),
            largest: self.largest,
            only: self.only.into_iter().collect(),
        };
        let bar = indicatif::ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(200));
        let report = bench::run(&opened.app, &plan, |now| bar.set_message(now.to_owned())).await;
        bar.finish_and_clear();
        opened.close().await;
        super::print(config, &report?, ToString::to_string)
    }
}
