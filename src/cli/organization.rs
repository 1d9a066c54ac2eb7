//! `docket organization`.

use anyhow::{Context as _, bail};
use clap::Subcommand;
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::organization::{OrganizationCommand, OrganizationProfile};
use docket_aggregates::sending_control::PauseScope;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use sqlx::Row;

use super::open::Opened;
use crate::app::App;
use crate::config::Config;
use crate::ledger::{Origin, read};
use crate::organizations::{self, OrganizationView};
use crate::pauses;
use crate::readside::Consistency;
use crate::service::Call;

/// Organizations that are paused together: each takes as long as calls that were begun may.
const TOGETHER: usize = 32;
/// Characters of a reason, as the company's own route takes them.
const REASON_MAX: usize = 500;

/// What to do with organizations.
#[derive(Debug, Subcommand)]
pub enum Organization {
    /// Found an organization.
    Create {
        /// Display name.
        #[arg(long)]
        name: String,
        /// Short name: lower-case letters, digits and hyphens.
        #[arg(long)]
        slug: String,
        /// The owner's e-mail address.
        #[arg(long)]
        owner_email: String,
        /// Leave the outbound CRM module switched off.
        #[arg(long)]
        without_crm: bool,
    },
    /// List all organizations.
    List,
    /// Switch the outbound CRM module of an organization on or off.
    Module {
        /// Which one.
        #[arg(long)]
        organization: OrganizationId,
        /// On or off.
        #[arg(value_parser = ["on", "off"])]
        state: String,
    },
    /// Hold back all sending of an organization, or of every one, until each is resumed.
    Pause {
        /// Which one.
        #[arg(long, required_unless_present = "all", conflicts_with = "all")]
        organization: Option<OrganizationId>,
        /// Every one that there is.
        #[arg(long)]
        all: bool,
        /// Why, in one line; it is recorded, and shown to the board.
        #[arg(long)]
        reason: String,
    },
    /// Let sending of an organization go on.
    Resume {
        /// Which one.
        #[arg(long)]
        organization: OrganizationId,
    },
}

impl Organization {
    pub async fn run(self, config: &Config) -> anyhow::Result<()> {
        // What is held back stands in the ledger: a database that was just restored is left as it is until then.
        let opened = match &self {
            Self::Pause { .. } | Self::Resume { .. } => Opened::ledger(config).await?,
            _ => Opened::to_read(config).await?,
        };
        let result = self.with(config, &opened.app).await;
        opened.close().await;
        result
    }

    async fn with(self, config: &Config, app: &App) -> anyhow::Result<()> {
        match self {
            Self::Create { name, slug, owner_email, without_crm } => {
                let profile = OrganizationProfile { name, slug, owner_email };
                check(&profile)?;
                let origin = Origin::system("organization create");
                let id = app.clock.mint();
                let created = organizations::create(app, &origin, None, id, profile, !without_crm).await?;
                super::print(config, &OrganizationView::of(id, &created.state), |view| view.id.to_string())
            }
            Self::Module { organization, state } => {
                let origin = Origin::system("organization module");
                let switch = OrganizationCommand::SwitchCrmModule { enabled: state == "on" };
                let switched = organizations::order(app, &origin, None, organization, switch).await?;
                super::print(config, &OrganizationView::of(organization, &switched.state), |view| {
                    format!("{} CRM module {}", view.id, if view.crm_enabled { "on" } else { "off" })
                })
            }
            Self::Pause { organization, all: _, reason } => {
                let held = pause(app, organization, &reason).await?;
                super::print(config, &held, |held| match held.as_slice() {
                    [] => "there is no organization".to_owned(),
                    held => held.iter().map(Held::line).collect::<Vec<_>>().join("\n"),
                })
            }
            Self::Resume { organization } => {
                check_exists(app, organization).await?;
                let call = Call::of_system(app, organization, "organization resume");
                let done = pauses::resume(app, &call, PauseScope::All).await?;
                let held =
                    Held { organization_id: organization, paused: false, changed: done.appended.is_some() };
                super::print(config, &held, Held::line)
            }
            Self::List => {
                let rows = list(app).await?;
                super::print(config, &rows, |rows| {
                    let mut lines = vec![format!("{:36}  {:>10} {:>8}  name", "id", "position", "lag")];
                    lines.extend(rows.iter().map(|row| {
                        let parked = if row.parked { "  PARKED" } else { "" };
                        let paused = if row.paused { "  PAUSED" } else { "" };
                        format!(
                            "{}  {:>10} {:>8}  {}{parked}{paused}",
                            row.view.id, row.position, row.lag, row.view.name
                        )
                    }));
                    lines.join("\n")
                })
            }
        }
    }
}

/// The rules that the administrators' route applies too.
fn check(profile: &OrganizationProfile) -> anyhow::Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if profile.name.trim().is_empty() || profile.name.chars().count() > 200 {
        bail!("--name must have 1 to 200 characters");
    }
    if profile.slug.is_empty() || profile.slug.len() > 64 || !profile.slug.chars().all(plain) {
        bail!("--slug must have 1 to 64 lower-case letters, digits and hyphens");
    }
    if !profile.owner_email.contains('@') {
        bail!("--owner-email must be an e-mail address");
    }
    Ok(())
}

/// Whether all of an organization's sending is held back.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Held {
    organization_id: OrganizationId,
    paused: bool,
    /// Whether that is so only now.
    changed: bool,
}

impl Held {
    fn line(&self) -> String {
        let state = if self.paused { "paused" } else { "not paused" };
        let before = if self.changed { "" } else { ", as before" };
        format!("{} {state}{before}", self.organization_id)
    }
}

/// Holds back all sending of one organization, or of every one.
async fn pause(app: &App, one: Option<OrganizationId>, reason: &str) -> anyhow::Result<Vec<Held>> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_MAX || reason.chars().any(char::is_control) {
        bail!("--reason must have 1 to {REASON_MAX} characters in one line");
    }
    let organizations = match one {
        Some(organization) => {
            check_exists(app, organization).await?;
            vec![organization]
        }
        None => read::organizations(&mut *app.ledger.pool().acquire().await?).await?,
    };
    stream::iter(organizations)
        .map(|organization| async move {
            let call = Call::of_system(app, organization, "organization pause");
            let done = pauses::pause(app, &call, PauseScope::All, reason.to_owned()).await;
            let done = done.with_context(|| format!("organization {organization} cannot be paused"))?;
            anyhow::Ok(Held { organization_id: organization, paused: true, changed: done.appended.is_some() })
        })
        .buffered(TOGETHER)
        .try_collect()
        .await
}

/// That an organization has a ledger; the instance's own sends nothing.
async fn check_exists(app: &App, organization: OrganizationId) -> anyhow::Result<()> {
    let mut connection = app.ledger.pool().acquire().await?;
    let head = read::head(&mut connection, organization).await?;
    if organization == OrganizationId::INSTANCE || head.is_none() {
        bail!("organization {organization} does not exist");
    }
    Ok(())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(flatten)]
    view: OrganizationView,
    position: i64,
    lag: i64,
    /// Whether its read models stand still.
    parked: bool,
    /// Whether all of its sending is held back.
    paused: bool,
}

async fn list(app: &App) -> anyhow::Result<Vec<Listed>> {
    let mut view = app.readside.view(OrganizationId::INSTANCE, Consistency::STRONG).await?;
    let rows = sqlx::query(
        "SELECT o.organization_id, coalesce(o.name, ''), coalesce(o.slug, ''), coalesce(o.owner_email, ''), \
             o.crm_enabled, h.position, h.position - coalesce(c.position, 0), c.parked_position IS NOT NULL \
         FROM organizations o JOIN ledger.heads h USING (organization_id) \
         LEFT JOIN cursors c USING (organization_id) ORDER BY o.name_key, o.organization_id",
    )
    .fetch_all(&mut *view)
    .await
    .context("organizations cannot be read")?;
    drop(view);
    let mut listed = Vec::with_capacity(rows.len());
    for row in rows {
        let id = OrganizationId(row.try_get(0)?);
        listed.push(Listed {
            view: OrganizationView {
                id,
                name: row.try_get(1)?,
                slug: row.try_get(2)?,
                owner_email: row.try_get(3)?,
                crm_enabled: row.try_get(4)?,
                sending_paused: None,
            },
            position: row.try_get(5)?,
            lag: row.try_get(6)?,
            parked: row.try_get(7)?,
            // Asked of the stream that hand-overs rest on, and not of a read model.
            paused: pauses::all_is_held_back(app, id).await?,
        });
    }
    Ok(listed)
}
