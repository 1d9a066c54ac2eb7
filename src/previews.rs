//! Previews: what a change would do, kept for a day so that it can be applied exactly as shown.
//!
//! A preview is a sealed row beside the ledger, found by the hash of its token. It holds the input, what was shown,
//! what would be affected, and the seed of every id and time, so that what was shown comes true. It is never written
//! again: what was answered when it was applied is kept by the ledger, with the command that follows from the seed.
//!
//! A token of access keeps so many previews, and so many bytes of them: the next one takes the place of its oldest. It
//! is that token alone that loses one, so that nobody who tries things out without end fills the disk, or costs somebody
//! else a preview that a person is still looking at.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use docket_aggregates::Timestamp;
use docket_aggregates::ids::{OrganizationId, TokenId};
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
/// Previews of one token of access at once.
const EACH_MAX: i64 = 1_000;
/// Bytes of the previews of one token of access, the newest not counted: it is kept whatever its size.
const EACH_BYTES_MAX: i64 = 64 << 20;
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

/// Stores a preview that was made with the token of access `by`, and answers the preview's own token.
pub async fn save(
    ledger: &Ledger,
    organization: OrganizationId,
    by: TokenId,
    preview: &Preview,
) -> ToolResult<String> {
    let mut secret = [0; 24];
    rand::thread_rng().fill_bytes(&mut secret);
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
    let hash = hash(&token);
    let body = seal(ledger, organization, &hash, preview).await?;
    let now = ledger.clock().now();
    sqlx::query(
        "WITH expired AS (DELETE FROM ledger.previews WHERE organization_id = $1 AND expires_at <= $5)
         INSERT INTO ledger.previews (organization_id, token_hash, body, expires_at, token_id) VALUES ($1, $2, $3, $4, $6)",
    )
    .bind(organization.uuid())
    .bind(hash.as_slice())
    .bind(body)
    .bind(Instant(now.plus_millis(KEPT_MILLIS)))
    .bind(Instant(now))
    .bind(by.uuid())
    .execute(ledger.pool())
    .await?;
    make_room(ledger, by, &hash).await?;
    Ok(token)
}

/// Forgets the oldest previews of a token of access that has too many, in whichever organization; never the one just
/// made. What another call is forgetting is left to it.
async fn make_room(ledger: &Ledger, by: TokenId, newest: &[u8; 32]) -> ToolResult<()> {
    sqlx::query(
        "WITH kept AS (
             SELECT organization_id, token_hash, row_number() OVER newest AS place,
                 sum(octet_length(body)) FILTER (WHERE token_hash <> $2) OVER newest AS bytes
             FROM ledger.previews WHERE token_id = $1
             WINDOW newest AS (ORDER BY token_hash = $2 DESC, expires_at DESC, token_hash)
         ), surplus AS (
             SELECT p.ctid FROM ledger.previews p JOIN kept USING (organization_id, token_hash)
             WHERE place > $3 OR bytes > $4 FOR UPDATE OF p SKIP LOCKED
         )
         DELETE FROM ledger.previews WHERE ctid = ANY(ARRAY(SELECT ctid FROM surplus))",
    )
    .bind(by.uuid())
    .bind(newest.as_slice())
    .bind(EACH_MAX)
    .bind(EACH_BYTES_MAX)
    .execute(ledger.pool())
    .await?;
    Ok(())
}

/// The preview of a token. An unknown one, an expired one and one that made room are the same to the caller.
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
