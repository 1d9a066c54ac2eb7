//! Previews: what a change would do, kept for a day so that it can be applied exactly as shown.
//!
//! A preview is a sealed row beside the ledger, found by the hash of its token. It holds the input, what was shown,
//! what would be affected, and the seed of every id and time, so that what was shown comes true. It is never written
//! again: what was answered when it was applied is kept by the ledger, with the command that follows from the seed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use docket_aggregates::Timestamp;
use docket_aggregates::ids::OrganizationId;
use rand::RngCore;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::Row;

use crate::envelope::Warning;
use crate::ledger::Ledger;
use crate::ledger::instant::Instant;
use crate::tools::plan::Effects;
use crate::tools::refusal::{Refusal, ToolResult};

/// How long a preview is kept.
const KEPT_MILLIS: i64 = 24 * 60 * 60 * 1_000;
const PREFIX: &str = "prv_";

/// What was shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// The tool.
    pub tool: String,
    /// The input in canonical JSON, without what only says how to apply it.
    pub input: String,
    /// From which every id follows, in hexadecimal.
    #[serde(with = "hex::serde")]
    pub seed: [u8; 32],
    /// When it was decided.
    pub at: Timestamp,
    /// The answer.
    pub data: Value,
    /// The warnings.
    pub warnings: Vec<Warning>,
}

/// A stored preview.
#[derive(Clone, Debug, PartialEq)]
pub struct Preview {
    /// What was shown.
    pub shown: Shown,
    /// What would be affected, and how.
    pub effects: Effects,
}

/// Stores a preview and answers its token.
pub async fn save(ledger: &Ledger, organization: OrganizationId, preview: &Preview) -> ToolResult<String> {
    let mut secret = [0; 24];
    rand::thread_rng().fill_bytes(&mut secret);
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
    let hash = hash(&token);
    let body = seal(ledger, organization, &hash, preview).await?;
    let now = ledger.clock().now();
    sqlx::query(
        "WITH expired AS (DELETE FROM ledger.previews WHERE organization_id = $1 AND expires_at <= $5)
         INSERT INTO ledger.previews (organization_id, token_hash, body, expires_at) VALUES ($1, $2, $3, $4)",
    )
    .bind(organization.uuid())
    .bind(hash.as_slice())
    .bind(body)
    .bind(Instant(now.plus_millis(KEPT_MILLIS)))
    .bind(Instant(now))
    .execute(ledger.pool())
    .await?;
    Ok(token)
}

/// The preview of a token. An unknown one and an expired one are the same to the caller.
pub async fn load(ledger: &Ledger, organization: OrganizationId, token: &str) -> ToolResult<Preview> {
    let hash = hash(token);
    let row = sqlx::query(
        "SELECT body FROM ledger.previews WHERE organization_id = $1 AND token_hash = $2 AND expires_at > $3",
    )
    .bind(organization.uuid())
    .bind(hash.as_slice())
    .bind(Instant(ledger.clock().now()))
    .fetch_optional(ledger.pool())
    .await?;
    let row = row.ok_or(Refusal::PreviewExpired)?;
    let keys = ledger.keys().organization(organization).await?;
    let damaged = || Refusal::Defect("a stored preview is damaged".into());
    let body = keys.answers().open(row.try_get(0)?, &hash).map_err(|_| damaged())?;
    decode(&body).ok_or_else(damaged)
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

async fn seal(
    ledger: &Ledger,
    organization: OrganizationId,
    hash: &[u8; 32],
    preview: &Preview,
) -> ToolResult<Vec<u8>> {
    let keys = ledger.keys().organization(organization).await?;
    let body = encode(preview).map_err(|error| Refusal::Defect(error.to_string()))?;
    Ok(keys.answers().seal(&body, hash))
}

/// The length of the JSON, the JSON, the effects.
fn encode(preview: &Preview) -> Result<Vec<u8>, serde_json::Error> {
    let shown = serde_json::to_vec(&preview.shown)?;
    let length = u32::try_from(shown.len()).unwrap_or(u32::MAX);
    Ok([&length.to_be_bytes(), shown.as_slice(), &preview.effects.encode()].concat())
}

fn decode(body: &[u8]) -> Option<Preview> {
    let (length, rest) = body.split_first_chunk::<4>()?;
    let (shown, effects) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    Some(Preview { shown: serde_json::from_slice(shown).ok()?, effects: Effects::decode(effects)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use uuid::Uuid;

    #[test]
    fn a_preview_survives_its_stored_form() {
        let preview = Preview {
            shown: Shown {
                tool: "create_outbound_campaign".into(),
                input: "{}".into(),
                seed: [7; 32],
                at: Timestamp::from_millis(1_000),
                data: json!({"campaign": {"name": "é"}}),
                warnings: vec![],
            },
            effects: Effects::one(Uuid::from_u128(1), "CREATED", &1),
        };
        let body = encode(&preview).unwrap();
        assert_eq!(decode(&body), Some(preview));
        assert_eq!(decode(&body[..body.len() - 1]), None);
    }
}
