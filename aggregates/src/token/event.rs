//! Stored events of a token. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use super::Role;
use crate::ids::{AgentId, OrganizationId, PrincipalId, TokenId};
use crate::personal::Personal;
use crate::stored::stored_events;
use crate::time::Timestamp;

/// The facts of a token, in the instance ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum TokenEvent {
    /// The token may be used from here on.
    TokenIssued {
        /// Its id, which is also its stream.
        token_id: TokenId,
        /// SHA-256 of the 256-bit secret, in hexadecimal; the secret itself is shown once and kept nowhere.
        secret_sha256: String,
        /// Whom the token acts for, beyond its own life.
        principal_id: PrincipalId,
        /// What it may do.
        role: Role,
        /// The one organization that it may touch; none means all.
        organization_id: Option<OrganizationId>,
        /// The caller that it acts as.
        agent_id: Option<AgentId>,
        /// The only tools that it may call; empty means all that its role allows.
        #[serde(default)]
        tools: Vec<String>,
        /// How many contacts one call may affect; none, as in every token of before, means any number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_affected: Option<u64>,
        /// When it stops working by itself.
        expires_at: Option<Timestamp>,
        /// For whom it was issued: `Name <mail>`. The subject is the principal.
        holder: Personal<String>,
    },
    /// The token may not be used any more.
    TokenRevoked {},
}

stored_events!(TokenEvent { TokenIssued "1", TokenRevoked "1" });
