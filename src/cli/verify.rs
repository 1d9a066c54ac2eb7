//! `docket verify`: recomputes the hash chain of an organization from its stored events, and compares its claims with
//! what these events justify.

use anyhow::{Context as _, bail};
use clap::Args;
use docket_aggregates::ids::OrganizationId;
use serde::Serialize;

use super::open::Opened;
use crate::app::App;
use crate::config::Config;
use crate::ledger::chain::{self, LeafParts};
use crate::ledger::read::{self, Portion, Stored};
use crate::ledger::{canonical, claims};

/// Recomputes an organization's hash chain, and compares its claims with its events.
#[derive(Debug, Args)]
pub struct Verify {
    /// Which ledger; the nil UUID is the instance's own.
    #[arg(long)]
    organization: OrganizationId,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Verified {
    organization_id: OrganizationId,
    events: i64,
    chain: String,
    claims: i64,
}

const PORTION: Portion = Portion { events: 1_000, bytes: 4 << 20 };

impl Verify {
    pub async fn run(self, config: &Config) -> anyhow::Result<()> {
        let opened = Opened::ledger(config).await?;
        let result = self.with(config, &opened.app).await;
        opened.close().await;
        result
    }

    async fn with(self, config: &Config, app: &App) -> anyhow::Result<()> {
        let mut connection = app.ledger.pool().acquire().await?;
        let Some(head) = read::head(&mut connection, self.organization).await? else {
            bail!("organization {} does not exist", self.organization);
        };
        let mut link = chain::genesis(self.organization);
        let mut position = 0;
        while position < head {
            for event in
                read::stretch(&mut connection, self.organization, position + 1, head, PORTION).await?
            {
                position = event.position;
                let leaf = leaf(self.organization, &event)?;
                if leaf[..] != event.leaf[..] {
                    bail!("event at position {position} is not what was recorded: its leaf differs");
                }
                link = chain::link(&link, position, event.recorded_at, &leaf);
                if link[..] != event.chain[..] {
                    bail!("the chain is broken at position {position}");
                }
            }
        }
        let stored: Vec<u8> =
            sqlx::query_scalar("SELECT chain FROM ledger.heads WHERE organization_id = $1 AND position = $2")
                .bind(self.organization.uuid())
                .bind(head)
                .fetch_optional(&mut *connection)
                .await?
                .unwrap_or_else(|| link.to_vec());
        if stored != link {
            bail!("the head does not end the chain: events are missing at the end");
        }
        // What it claims is not known of an event that this version cannot read. That it is what was recorded, is.
        let checked = claims::check(&mut connection, self.organization).await.with_context(|| {
            let link = hex::encode(link);
            format!("{head} events verified, chain {link}, but the claims cannot be compared with them")
        })?;
        if !checked.hold() {
            bail!(
                "the claims are not what the events justify: {} missing, {} of another owner, {} without an event; \
                 `docket rebuild --claims --organization {}` makes them anew",
                checked.missing,
                checked.misowned,
                checked.unjustified,
                self.organization
            );
        }
        let verified = Verified {
            organization_id: self.organization,
            events: head,
            chain: hex::encode(link),
            claims: checked.justified,
        };
        super::print(config, &verified, |verified| {
            format!(
                "{} events and {} claims of {} verified, chain {}",
                verified.events, verified.claims, verified.organization_id, verified.chain
            )
        })
    }
}

fn leaf(organization: OrganizationId, event: &Stored) -> anyhow::Result<chain::Hash> {
    Ok(chain::leaf(&LeafParts {
        organization,
        event_id: event.event_id,
        command_id: event.command_id,
        aggregate_type: &event.aggregate_type,
        aggregate_id: &event.aggregate_id,
        sequence: event.sequence.unsigned_abs(),
        event_type: &event.event_type,
        event_version: &event.event_version,
        payload: &canonical::to_string(&event.payload)?,
        metadata: &canonical::to_string(&event.metadata)?,
        occurred_at: event.occurred_at,
    })?)
}
