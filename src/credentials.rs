//! Tokens: `dkt_<id>_<secret>`, checked against the credentials that the append wrote.
//!
//! Access is never decided from a read model. What was read is remembered for a second, so that a revoked token
//! is refused everywhere within two.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use docket_aggregates::Timestamp;
use docket_aggregates::ids::{AgentId, OrganizationId, PrincipalId, TokenId};
use docket_aggregates::token::Role;
use lru::LruCache;
use rand::RngCore;
use sha2::{Digest, Sha256};
use sqlx::{PgPool, Row};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::clock::Clock;
use crate::ledger::Actor;
use crate::ledger::instant::Instant;

const REMEMBERED: usize = 4_096;
/// How long a credential is trusted before it is read again.
const REMEMBERED_MILLIS: i64 = 1_000;

/// A fresh token: the text that is shown once, and what is stored of it.
pub struct Minted {
    /// Its id.
    pub token_id: TokenId,
    /// `dkt_<id>_<secret>`.
    pub text: String,
    /// SHA-256 of the 256-bit secret, in hexadecimal.
    pub secret_sha256: String,
}

/// Mints a token.
pub fn mint(clock: &Clock) -> Minted {
    let token_id: TokenId = clock.mint();
    let mut secret = [0; 32];
    rand::thread_rng().fill_bytes(&mut secret);
    let text = format!("dkt_{}_{}", token_id.uuid().simple(), URL_SAFE_NO_PAD.encode(secret));
    Minted { token_id, text, secret_sha256: hex::encode(Sha256::digest(secret)) }
}

/// Whether some token acts as this caller in the organization. It may do so without having been registered there.
pub async fn act_as(pool: &PgPool, organization: OrganizationId, agent: AgentId) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM ledger.credentials \
         WHERE agent_id = $2 AND (organization_id = $1 OR organization_id IS NULL))",
    )
    .bind(organization.uuid())
    .bind(agent.uuid())
    .fetch_one(pool)
    .await
}

/// Who calls, as the token says.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The token.
    pub token_id: TokenId,
    /// The person or agent that it was issued for.
    pub principal_id: PrincipalId,
    /// What it may do.
    pub role: Role,
    /// The one organization that it may touch; none means all.
    pub organization_id: Option<OrganizationId>,
    /// The caller that it acts as.
    pub agent_id: Option<AgentId>,
    /// The only tools that it may call; empty means all.
    pub tools: Vec<String>,
    /// How many contacts one call may affect; none means any number.
    pub max_affected: Option<u64>,
}

impl Caller {
    /// Whether it may do less than its role: such a token calls agent tools and nothing else.
    pub fn is_narrowed(&self) -> bool {
        !self.tools.is_empty() || self.max_affected.is_some()
    }

    /// Whether its token may call the tool of that name: any, if it was not narrowed to some.
    pub fn may_call(&self, tool: &str) -> bool {
        self.tools.is_empty() || self.tools.iter().any(|allowed| allowed == tool)
    }

    /// The actor for the ledger.
    pub fn actor(&self) -> Actor {
        let kind = if self.agent_id.is_some() || self.role == Role::Agent { "agent" } else { "person" };
        Actor { kind, principal: self.principal_id, token: Some(self.token_id) }
    }
}

#[derive(Clone)]
struct Credential {
    secret_sha256: [u8; 32],
    caller: Caller,
    expires_at: Option<Timestamp>,
    revoked: bool,
    read_at: Timestamp,
}

/// Why a token is not accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is not a token, not one of ours, revoked or expired. Which of these is not told.
    #[error("the token is not valid")]
    Invalid,
    /// The database does not answer.
    #[error("tokens cannot be checked at the moment")]
    Unavailable,
}

/// The credentials of this database. Cheap to clone.
#[derive(Clone)]
pub struct Credentials {
    pool: PgPool,
    clock: Clock,
    remembered: Arc<Mutex<LruCache<TokenId, Credential>>>,
}

impl Credentials {
    /// Reads credentials through `pool`.
    pub fn new(pool: PgPool, clock: Clock) -> Self {
        let size = NonZeroUsize::new(REMEMBERED).unwrap_or(NonZeroUsize::MIN);
        Self { pool, clock, remembered: Arc::new(Mutex::new(LruCache::new(size))) }
    }

    /// Whoever this token stands for.
    pub async fn check(&self, token: &str) -> Result<Caller, Refused> {
        let (token_id, secret) = parse(token).ok_or(Refused::Invalid)?;
        let now = self.clock.now();
        let remembered = {
            let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
            remembered.get(&token_id).cloned()
        };
        let age = |credential: &Credential| now.millis().abs_diff(credential.read_at.millis());
        let credential =
            match remembered.filter(|credential| age(credential) < REMEMBERED_MILLIS.unsigned_abs()) {
                Some(credential) => credential,
                None => {
                    let read = self.read(token_id, now).await.map_err(|_| Refused::Unavailable)?;
                    let credential = read.ok_or(Refused::Invalid)?;
                    let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
                    remembered.put(token_id, credential.clone());
                    credential
                }
            };
        let digest: [u8; 32] = Sha256::digest(secret).into();
        let genuine = bool::from(digest.ct_eq(&credential.secret_sha256));
        let expired = credential.expires_at.is_some_and(|at| at <= now);
        if genuine && !expired && !credential.revoked { Ok(credential.caller) } else { Err(Refused::Invalid) }
    }

    async fn read(&self, token_id: TokenId, now: Timestamp) -> Result<Option<Credential>, sqlx::Error> {
        let row = sqlx::query(
            "SELECT secret_sha256, principal_id, role, organization_id, agent_id, tools, expires_at, revoked, max_affected \
             FROM ledger.credentials WHERE token_id = $1",
        )
        .bind(token_id.uuid())
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let damaged = |what: &str| sqlx::Error::Decode(format!("a credential has a damaged {what}").into());
        Ok(Some(Credential {
            secret_sha256: row.try_get::<&[u8], _>(0)?.try_into().map_err(|_| damaged("hash"))?,
            caller: Caller {
                token_id,
                principal_id: PrincipalId(row.try_get(1)?),
                role: row.try_get::<&str, _>(2)?.parse().map_err(|_| damaged("role"))?,
                organization_id: row.try_get::<Option<Uuid>, _>(3)?.map(OrganizationId),
                agent_id: row.try_get::<Option<Uuid>, _>(4)?.map(AgentId),
                tools: row.try_get(5)?,
                max_affected: row.try_get::<Option<i64>, _>(8)?.map(i64::unsigned_abs),
            },
            expires_at: row.try_get::<Option<Instant>, _>(6)?.map(|at| at.0),
            revoked: row.try_get(7)?,
            read_at: now,
        }))
    }
}

fn parse(token: &str) -> Option<(TokenId, [u8; 32])> {
    let (id, secret) = token.strip_prefix("dkt_")?.split_once('_')?;
    let secret = URL_SAFE_NO_PAD.decode(secret).ok()?.try_into().ok()?;
    Some((TokenId(Uuid::try_parse(id).ok()?), secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_token_is_read_back() {
        let minted = mint(&Clock::held_at(Timestamp::from_millis(1_000)));
        let (token_id, secret) = parse(&minted.text).unwrap();
        assert_eq!(token_id, minted.token_id);
        assert_eq!(hex::encode(Sha256::digest(secret)), minted.secret_sha256);
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["", "dkt_", "dkt_x_y", "Bearer dkt_x", "dkt_00000000000000000000000000000000_c2hvcnQ"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
