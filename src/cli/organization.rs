//! `docket organization`.

use anyhow::{Context as _, bail};
use clap::Subcommand;
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::organization::{OrganizationCommand, OrganizationProfile};
use serde::Serialize;
use sqlx::Row;

use super::open::Opened;
use crate::app::App;
use crate::config::Config;
use crate::ledger::Origin;
use crate::organizations::{self, OrganizationView};
use crate::pauses;
use crate::readside::Consistency;

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
}

impl Organization {
    pub async fn run(self, config: &Config) -> anyhow::Result<()> {
        let opened = Opened::to_read(config).await?;
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
