//! `docket rebuild`: makes the read models anew beside the live ones, compares and switches.

use clap::Args;

use super::open::Opened;
use crate::config::Config;
use crate::readside::PrepareError;

/// Makes the read models anew.
#[derive(Debug, Args)]
pub struct Rebuild {
    /// Remove what a rebuild that was cut off left behind.
    #[arg(long)]
    restart: bool,
}

impl Rebuild {
    pub async fn run(self, config: &Config) -> anyhow::Result<()> {
        let opened = Opened::ledger(config).await?;
        match opened.app.readside.ensure().await {
            // Another version's read models are what a rebuild is for.
            Ok(()) | Err(PrepareError::OtherVersion) => (),
            Err(error) => return Err(error.into()),
        }
        let bar = indicatif::ProgressBar::new(0);
        let rebuilt = opened
            .app
            .readside
            .rebuild(self.restart, |progress| {
                bar.set_length(progress.total);
                bar.set_position(progress.done);
            })
            .await;
        bar.finish_and_clear();
        opened.close().await;
        super::print(config, &rebuilt?, |report| {
            format!(
                "{} events of {} organizations folded in {:.1} s ({:.0} events/s), indexes {:.1} s, {} tables equal, switched",
                report.events,
                report.organizations,
                report.fold_seconds,
                report.events as f64 / report.fold_seconds.max(f64::EPSILON),
                report.index_seconds,
                report.compared
            )
        })
    }
}
