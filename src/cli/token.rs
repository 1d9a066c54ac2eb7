//! `docket token`.

use anyhow::{Context as _, bail};
use clap::Subcommand;
use docket_aggregates::Timestamp;
use docket_aggregates::ids::{AgentId, OrganizationId, TokenId};
use docket_aggregates::organization::Organization;
use docket_aggregates::token::{Role, Token as TokenAggregate, TokenCommand};
use serde::Serialize;
use sqlx::Row;
use uuid::Uuid;

use super::open::Opened;
use crate::app::App;
use crate::config::Config;
use crate::credentials;
use crate::ledger::Origin;
use crate::ledger::instant::Instant;
use crate::normalise::normalise_email;
use crate::tools::CONTRACT;

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Issue a token; it is shown once.
    Create {
        /// What it may do: super-admin, instance-admin, board, agent, auditor or viewer.
        #[arg(long)]
        role: Role,
        /// Whom it is for: `Name <mail>`.
        #[arg(long = "for")]
        holder: String,
        /// The one organization that it may touch.
        #[arg(long)]
        organization: Option<OrganizationId>,
        /// The caller that it acts as.
        #[arg(long)]
        agent: Option<AgentId>,
        /// A tool that it may call; repeat for more. Without it, all that its role allows.
        #[arg(long)]
        tool: Vec<String>,
        /// How many contacts one call of an agent tool may affect, from 1. Without it, any number.
        #[arg(long, value_parser = affecting)]
        max_affected: Option<u64>,
        /// How long it works, as in `30d` or `12h`.
        #[arg(long)]
        expires_in: Option<String>,
    },
    /// List tokens, without their secrets.
    List,
    /// Take a token back.
    Revoke {
        /// Which one.
        token_id: TokenId,
    },
}

/// A token as it is shown once.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Issued {
    token_id: TokenId,
    token: String,
    role: Role,
    organization_id: Option<OrganizationId>,
    r#for: String,
    expires_at: Option<Timestamp>,
}

/// What a token is to be.
pub struct Order {
    /// What it may do.
    pub role: Role,
    /// Whom it is for.
    pub holder: String,
    /// The one organization that it may touch.
    pub organization: Option<OrganizationId>,
    /// The caller that it acts as.
    pub agent: Option<AgentId>,
    /// The only tools that it may call.
    pub tools: Vec<String>,
    /// How many contacts one call may affect.
    pub max_affected: Option<u64>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
}

impl Issued {
    /// The token's text.
    pub fn token(&self) -> &str {
        &self.token
    }
}

/// Issues a token. The principal is whoever the address names, whatever the token may do and whomever it acts as: a rotated
/// token keeps it, and nobody approves with one token what they drafted with another.
pub async fn issue(app: &App, order: Order) -> anyhow::Result<Issued> {
    let Order { role, holder, organization, agent, tools, max_affected, expires_at } = order;
    if let Some(organization) = organization {
        let known = app.ledger.load::<Organization>(OrganizationId::INSTANCE, organization).await?;
        if !known.exists() {
            bail!("--organization {organization} does not exist");
        }
    }
    if let Some(name) = tools.iter().find(|name| !CONTRACT.contains(&name.as_str())) {
        bail!("--tool {name} does not exist");
    }
    let keys = app.ledger.keys().organization(OrganizationId::INSTANCE).await?;
    let address = address_of(&holder)?;
    let principal_id = OrganizationId::INSTANCE.principal(&hex::encode(keys.hash("principal", &[&address])));
    let minted = credentials::mint(&app.clock);
    let issue = TokenCommand::Issue {
        token_id: minted.token_id,
        secret_sha256: minted.secret_sha256,
        principal_id,
        role,
        organization_id: organization,
        agent_id: agent,
        tools,
        max_affected,
        expires_at,
        holder: holder.clone(),
    };
    send(app, minted.token_id, "token create", issue).await?;
    Ok(Issued {
        token_id: minted.token_id,
        token: minted.text,
        role,
        organization_id: organization,
        r#for: holder,
        expires_at,
    })
}

impl Token {
    pub async fn run(self, config: &Config) -> anyhow::Result<()> {
        let opened = Opened::ledger(config).await?;
        let result = self.with(config, &opened.app).await;
        opened.close().await;
        result
    }

    async fn with(self, config: &Config, app: &App) -> anyhow::Result<()> {
        match self {
            Self::Create { role, holder, organization, agent, tool, max_affected, expires_in } => {
                let expires_at = expires_in.map(|text| expiry(app.clock.now(), &text)).transpose()?;
                let order =
                    Order { role, holder, organization, agent, tools: tool, max_affected, expires_at };
                let issued = issue(app, order).await?;
                super::print(config, &issued, |issued| issued.token.clone())
            }
            Self::Revoke { token_id } => {
                send(app, token_id, "token revoke", TokenCommand::Revoke).await?;
                super::print(config, &serde_json::json!({"tokenId": token_id, "revoked": true}), |_| {
                    format!("{token_id} is revoked")
                })
            }
            Self::List => {
                let rows = list(app).await?;
                super::print(config, &rows, |rows| {
                    rows.iter()
                        .map(|row| {
                            let state = if row.revoked { "revoked" } else { "valid" };
                            format!("{}  {:14}  {state}", row.token_id, row.role)
                        })
                        .collect::<Vec<_>>()
                        .join("\n")
                })
            }
        }
    }
}

async fn send(app: &App, token_id: TokenId, verb: &str, command: TokenCommand) -> anyhow::Result<()> {
    let origin = Origin::system(verb);
    app.ledger
        .order::<TokenAggregate>(
            OrganizationId::INSTANCE,
            token_id,
            app.clock.mint(),
            app.clock.now(),
            &origin,
            None,
            command,
        )
        .await?;
    Ok(())
}

/// A number of contacts. None at all would be a token that may change contacts and may not: the tools that it is for say that.
fn affecting(text: &str) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(0) => Err(
            "a token that may affect no contact is one for reading: name the tools that it may call with \
                      --tool instead"
                .to_owned(),
        ),
        Ok(number) => Ok(number),
        Err(_) => Err("must be a whole number from 1".to_owned()),
    }
}

/// The address within `Name <mail>`, or the whole text, in lower case.
fn address_of(holder: &str) -> anyhow::Result<String> {
    let address = match holder.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>').context("--for must read `Name <mail>`")?,
        None => holder,
    };
    let address = address.trim().to_lowercase();
    // Whoever has this address is one principal: two who have none would be one.
    if normalise_email(&address, false).is_err()
        || holder.chars().count() > 320
        || holder.chars().any(char::is_control)
    {
        bail!("--for must read `Name <mail>` with one e-mail address, at most 320 characters");
    }
    Ok(address)
}

fn expiry(now: Timestamp, text: &str) -> anyhow::Result<Timestamp> {
    let (number, unit) = text.split_at(text.len() - text.chars().last().map_or(0, char::len_utf8));
    let number: i64 =
        number.parse().ok().filter(|n| *n > 0).context("--expires-in must read like 30d or 12h")?;
    let millis = match unit {
        "d" => 24 * 60 * 60 * 1_000,
        "h" => 60 * 60 * 1_000,
        "m" => 60 * 1_000,
        "s" => 1_000,
        _ => bail!("--expires-in must read like 30d or 12h"),
    };
    Ok(now.plus_millis(number.saturating_mul(millis)))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    token_id: TokenId,
    role: String,
    organization_id: Option<OrganizationId>,
    expires_at: Option<Timestamp>,
    revoked: bool,
}

async fn list(app: &App) -> anyhow::Result<Vec<Listed>> {
    let rows = sqlx::query(
        "SELECT token_id, role, organization_id, expires_at, revoked FROM ledger.credentials ORDER BY token_id",
    )
    .fetch_all(app.ledger.pool())
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Listed {
                token_id: TokenId(row.try_get(0)?),
                role: row.try_get(1)?,
                organization_id: row.try_get::<Option<Uuid>, _>(2)?.map(OrganizationId),
                expires_at: row.try_get::<Option<Instant>, _>(3)?.map(|at| at.0),
                revoked: row.try_get(4)?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_names_the_principal() {
        assert_eq!(address_of("Ada Lovelace <ADA@example.com>").unwrap(), "ada@example.com");
        assert_eq!(address_of("ada@example.com").unwrap(), "ada@example.com");
        assert!(address_of("Ada <ada@example.com").is_err());
        assert!(address_of(" ").is_err());
    }

    #[test]
    fn a_token_affects_one_contact_at_least() {
        assert_eq!(affecting("1"), Ok(1));
        assert!(affecting("0").unwrap_err().contains("--tool"));
        for text in ["", "-1", "1.5", "many"] {
            assert!(affecting(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_token_expires_after_the_time_given() {
        let now = Timestamp::from_millis(0);
        assert_eq!(expiry(now, "30d").unwrap().millis(), 30 * 86_400_000);
        assert_eq!(expiry(now, "12h").unwrap().millis(), 12 * 3_600_000);
        for text in ["", "d", "-1d", "0d", "5", "5y", "1é"] {
            assert!(expiry(now, text).is_err(), "{text}");
        }
    }
}
