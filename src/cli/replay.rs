//! `docket replay`: an organization's events as JSON lines, in order, to the end or with an error that names the
//! position reached; never silently short.

use std::io::Write as _;

use anyhow::{Context as _, bail};
use clap::Args;
use docket_aggregates::ids::OrganizationId;
use serde_json::json;

use super::open::Opened;
use crate::app::App;
use crate::config::Config;
use crate::ledger::read::{self, Filter, Portion, Stored};

/// Prints an organization's events.
#[derive(Debug, Args)]
pub struct Replay {
    /// Which ledger; the nil UUID is the instance's own.
    #[arg(long)]
    organization: OrganizationId,
    /// First position.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..))]
    from: i64,
    /// Last position; default is the head at the start.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    to: Option<i64>,
    /// Only events of this type.
    #[arg(long)]
    r#type: Option<String>,
    /// Only events of this aggregate.
    #[arg(long)]
    aggregate: Option<String>,
    /// Open the sealed values. That is itself noted in the access log.
    #[arg(long)]
    reveal: bool,
}

const PORTION: Portion = Portion { events: 1_000, bytes: 4 << 20 };

impl Replay {
    pub async fn run(self, config: &Config) -> anyhow::Result<()> {
        let opened = Opened::ledger(config).await?;
        let result = self.with(&opened.app).await;
        opened.close().await;
        result
    }

    async fn with(self, app: &App) -> anyhow::Result<()> {
        let pool = app.ledger.pool();
        let mut connection = pool.acquire().await?;
        let Some(head) = read::head(&mut connection, self.organization).await? else {
            bail!("organization {} does not exist", self.organization);
        };
        drop(connection);
        let to = self.to.unwrap_or(head).min(head);
        if self.reveal {
            self.note_reveal(app, to).await.context("the reveal cannot be noted, so nothing is revealed")?;
        }
        let filter = Filter { event_type: self.r#type.clone(), aggregate_id: self.aggregate.clone() };
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        let mut next = self.from;
        while next <= to {
            let events = self.portion(app, next, to).await;
            let events = match events {
                Ok(events) => events,
                Err(error) => {
                    out.flush()?;
                    return Err(error
                        .context(format!("the replay broke off; position {} was the last one", next - 1)));
                }
            };
            for event in &events {
                next = event.position + 1;
                if filter.takes(event) {
                    writeln!(out, "{}", line(self.organization, event))?;
                }
            }
        }
        out.flush()?;
        Ok(())
    }

    async fn portion(&self, app: &App, from: i64, to: i64) -> anyhow::Result<Vec<Stored>> {
        let mut connection = app.ledger.pool().acquire().await?;
        let mut events = read::stretch(&mut connection, self.organization, from, to, PORTION).await?;
        drop(connection);
        if self.reveal {
            read::open(app.ledger.keys(), self.organization, &mut events).await?;
            read::open_reasons(app.ledger.keys(), self.organization, &mut events).await?;
        }
        Ok(events)
    }

    /// Written before the first value is opened.
    async fn note_reveal(&self, app: &App, to: i64) -> anyhow::Result<()> {
        sqlx::query(
            "INSERT INTO ledger.access_log (organization_id, audit_id, at, tool, outcome, position, duration_ms) \
             VALUES ($1, $2, $3, 'replay --reveal', 'revealed', $4, 0)",
        )
        .bind(self.organization.uuid())
        .bind(app.clock.mint::<uuid::Uuid>())
        .bind(crate::ledger::instant::Instant(app.clock.now()))
        .bind(to)
        .execute(app.ledger.pool())
        .await?;
        Ok(())
    }
}

/// The event as `docs/auditing.md` describes it.
fn line(organization: OrganizationId, event: &Stored) -> serde_json::Value {
    json!({
        "organization_id": organization,
        "position": event.position,
        "event_id": event.event_id,
        "command_id": event.command_id,
        "aggregate_type": event.aggregate_type,
        "aggregate_id": event.aggregate_id,
        "sequence": event.sequence,
        "event_type": event.event_type,
        "event_version": event.event_version,
        "payload": event.payload,
        "metadata": event.metadata,
        "occurred_at": event.occurred_at,
        "recorded_at": event.recorded_at,
        "leaf": hex::encode(&event.leaf),
        "chain": hex::encode(&event.chain),
    })
}
