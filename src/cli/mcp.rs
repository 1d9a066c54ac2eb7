//! `docket mcp`: the agent tools over standard input and output, for a client that starts its servers itself.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use docket_aggregates::token::Role;

use super::open::Opened;
use crate::access_log::AccessLog;
use crate::config::Config;
use crate::limits::{Limiter, MaybeRate};
use crate::mcp::{self, Desk};

/// How long the access log may take once the client has gone.
const LOG_DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// Speaks the Model Context Protocol over standard input and output.
#[derive(Debug, Args)]
pub struct Mcp {
    /// The token in whose name the tools are called.
    #[arg(long, env = "DOCKET_TOKEN", hide_env_values = true)]
    token: String,
    /// How many calls the token may make: in a minute, and at once; `off` for any number.
    #[arg(long, env = "DOCKET_RATE_LIMIT", default_value = "600/100")]
    rate_limit: MaybeRate,
}

impl Mcp {
    pub async fn run(self, config: &Config) -> anyhow::Result<()> {
        let opened = Opened::to_read(config).await?;
        let result = self.speak(&opened).await;
        opened.close().await;
        result
    }

    async fn speak(self, opened: &Opened) -> anyhow::Result<()> {
        let app = opened.app.clone();
        let caller = app.credentials.check(&self.token).await.context("the token of DOCKET_TOKEN")?;
        if caller.role != Role::SuperAdmin {
            bail!("the agent tools need a super-admin token");
        }
        let (access_log, writing) = AccessLog::open(app.ledger.pool().clone(), app.clock.clone());
        let limiter = Limiter::new(self.rate_limit.0, &app.clock);
        let desk = Desk { app, access_log: access_log.clone(), limiter };
        let spoken = mcp::serve_stdio(desk, self.token).await;
        access_log.drain(writing, LOG_DRAIN_WITHIN).await;
        Ok(spoken?)
    }
}
