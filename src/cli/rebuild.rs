//! `docket rebuild`: makes the read models anew beside the live ones, compares and switches. With `--claims` it makes an
//! organization's claims anew instead, from its events; with `--work` what the dispatcher has to do.

use anyhow::bail;
use clap::Args;
use docket_aggregates::ids::OrganizationId;

use super::open::Opened;
use crate::config::Config;
use crate::readside::PrepareError;

/// Makes the read models anew, or an organization's claims.
#[derive(Debug, Args)]
pub struct Rebuild {
    /// Remove what a rebuild that was cut off left behind.
    #[arg(long)]
    restart: bool,
    /// Make the claims of an organization anew, and leave the read models alone.
    #[arg(long, requires = "organization", conflicts_with = "restart")]
    claims: bool,
    /// Fill the dispatcher's work table again from the beginning of the ledger, and leave the read models alone.
    #[arg(long, conflicts_with_all = ["restart", "claims"])]
    work: bool,
    /// Whose claims; the nil UUID is the instance's own ledger.
    #[arg(long, requires = "claims")]
    organization: Option<OrganizationId>,
}

impl Rebuild {
    pub async fn run(self, config: &Config) -> anyhow::Result<()> {
        let opened = Opened::ledger(config).await?;
        if let (true, Some(organization)) = (self.claims, self.organization) {
            let rebuilt = opened.app.ledger.rebuild_claims(organization).await;
            opened.close().await;
            return super::print(config, &rebuilt?, |rebuilt| {
                let found = rebuilt.found;
                format!(
                    "{} claims justified by {} events: {} were missing, {} had another owner, {} had no event",
                    found.justified, rebuilt.events, found.missing, found.misowned, found.unjustified
                )
            });
        }
        if self.work {
            let refilled = crate::dispatcher::refill(opened.app.ledger.pool()).await;
            opened.close().await;
            return super::print(config, &refilled?, |messages| format!("{messages} messages are not final"));
        }
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
        let rebuilt = rebuilt?;
        super::print(config, &rebuilt, |report| {
            let mut text = format!(
                "{} events of {} organizations folded in {:.1} s ({:.0} events/s), indexes {:.1} s, {} tables equal, switched",
                report.events,
                report.organizations,
                report.fold_seconds,
                report.events as f64 / report.fold_seconds.max(f64::EPSILON),
                report.index_seconds,
                report.compared
            );
            for halted in &report.halted {
                let how = if halted.parked { "is parked at" } else { "waits for a newer version at" };
                let (organization, position) = (halted.organization_id, halted.position);
                text.push_str(&format!("\n{organization} {how} position {position}: {}", halted.reason));
            }
            text
        })?;
        match rebuilt.halted.len() {
            0 => Ok(()),
            halted => bail!("{halted} of the organizations could not be folded to the end"),
        }
    }
}
