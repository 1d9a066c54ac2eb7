//! `docket import`: a file of contacts into an import folder, and on demand from there into the CRM, through the
//! functions behind the HTTP route.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use docket_aggregates::contact::LegalBasis;
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::import::OnDuplicate;
use docket_aggregates::organization::Organization;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::open::Opened;
use crate::app::App;
use crate::config::Config;
use crate::imports::{self, Committed, Label, Outcome, Progress, Staged};
use crate::service::Call;

/// What the ledger notes as the door.
const DOOR: &str = "import";
/// How long the line is waited for between two looks at how a commit ended.
const LOOK: Duration = Duration::from_secs(3600);

/// Reads a file of contacts into an import folder.
#[derive(Debug, Args)]
pub struct Import {
    /// The file: UTF-8, UTF-16 or Windows-1252, with commas, semicolons, tabs or bars.
    file: PathBuf,
    /// Whose contacts these are.
    #[arg(long)]
    organization: OrganizationId,
    /// The import folder's name; default is the file's.
    #[arg(long)]
    name: Option<String>,
    /// Where the contacts were got from.
    #[arg(long)]
    source: Option<String>,
    /// On what ground of GDPR article 6(1) they are kept, as in `consent` or `legitimate_interests`.
    #[arg(long, default_value = "unknown")]
    legal_basis: LegalBasis,
    /// What a column is, as in `Kundennummer:externalId`; repeat for more.
    #[arg(long)]
    map: Vec<String>,
    /// Make contacts of the rows as well. Without it they are only staged, to be looked at.
    #[arg(long)]
    commit: bool,
    /// What becomes of a contact that is there already.
    #[arg(long, value_enum, default_value = "skip", requires = "commit")]
    on_duplicate: Treatment,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Treatment {
    /// It stays as it is.
    Skip,
    /// It is completed with what the row says.
    Update,
}

impl From<Treatment> for OnDuplicate {
    fn from(treatment: Treatment) -> Self {
        match treatment {
            Treatment::Skip => Self::Skip,
            Treatment::Update => Self::Update,
        }
    }
}

#[derive(Serialize)]
struct Imported {
    #[serde(flatten)]
    staged: Staged,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    committed: Option<Committed>,
}

impl Import {
    pub async fn run(self, config: &Config) -> anyhow::Result<()> {
        let file =
            File::open(&self.file).with_context(|| format!("{} cannot be opened", self.file.display()))?;
        let opened = Opened::to_read(config).await?;
        // An import that is told to stop ends with its chunk, and a commit goes on at the next start.
        let imports = opened.app.imports.clone();
        let stopping = tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                imports.stop();
            }
        });
        let result = self.with(config, &opened.app, file).await;
        stopping.abort();
        opened.close().await;
        result
    }

    async fn with(self, config: &Config, app: &App, file: File) -> anyhow::Result<()> {
        let organization = self.organization;
        if !app.ledger.load::<Organization>(OrganizationId::INSTANCE, organization).await?.exists() {
            bail!("--organization {organization} does not exist");
        }
        let named = || self.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let label = Label {
            name: text("--name", self.name.clone().unwrap_or_else(named))?,
            source: self.source.clone().map(|source| text("--source", source)).transpose()?,
            legal_basis: self.legal_basis,
        };

        let bar = bar("{bar:40} {bytes}/{total_bytes} read, {msg} rows");
        let call = Call::of_system(app, organization, DOOR);
        let staged = imports::stage_file(app, &call, file, label, &self.map, watching(&bar)).await;
        bar.finish_and_clear();
        let staged = staged?.entity;

        let committed = if self.commit {
            let bar = self::bar("{bar:40} {percent}% committed, {msg} rows");
            let call = Call::of_system(app, organization, DOOR);
            let folder = staged.import_folder_id;
            let ordered = imports::commit(app, &call, folder, self.on_duplicate.into(), watching(&bar)).await;
            let mut ordered = ordered?;
            let ended = loop {
                if let Some(ended) = ordered.ended(LOOK).await {
                    break ended;
                }
            };
            bar.finish_and_clear();
            match ended {
                Outcome::Done(committed) => Some(committed),
                Outcome::Paused => {
                    bail!(
                        "the commit of import folder {folder} is paused; it goes on when `docket serve` starts"
                    )
                }
                Outcome::Failed => {
                    bail!("the commit of import folder {folder} cannot go on; the reason was logged")
                }
            }
        } else {
            None
        };
        super::print(config, &Imported { staged, committed }, |imported| {
            let Staged { import_folder_id, rows, invalid, mapping } = &imported.staged;
            let mut lines = vec![format!("import folder {import_folder_id}: {rows} rows, {invalid} invalid")];
            lines.extend(mapping.iter().map(|column| format!("  {} -> {}", column.header, column.field)));
            lines.extend(imported.committed.map(|Committed { created, updated, skipped }| {
                format!("{created} contacts created, {updated} updated, {skipped} rows skipped")
            }));
            lines.join("\n")
        })
    }
}

/// The rule that the route applies too.
fn text(flag: &str, text: String) -> anyhow::Result<String> {
    let text = text.trim().to_owned();
    if text.is_empty() || text.chars().count() > 200 || text.chars().any(char::is_control) {
        bail!("{flag} must have 1 to 200 characters on one line");
    }
    Ok(text)
}

fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

fn watching(bar: &ProgressBar) -> impl Fn(Progress) + Send + Sync + 'static {
    let bar = bar.clone();
    move |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        bar.set_message(progress.rows.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_a_name_on_one_line() {
        assert_eq!(text("--name", " Salon 2024 ".to_owned()).unwrap(), "Salon 2024");
        for bad in ["", "  ", "a\nb", &"x".repeat(201)] {
            assert!(text("--name", bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
