//! The secrets that sign: sealed, bound to organization, endpoint and version, each shown once.
//!
//! As with the secrets of channels, the row is written before the command that makes it count is appended; a row whose
//! command is not in the ledger means nothing. The version before the last one signs for a day more.

use docket_aggregates::Timestamp;
use docket_aggregates::ids::{OrganizationId, WebhookEndpointId};
use sqlx::Row;

use crate::app::App;
use crate::channels::Secret;
use crate::ledger::instant::Instant;
use crate::ledger::keys::KeyError;
use crate::ledger::read::ReadError;
use crate::service::Call;

/// How long an old secret signs beside the new one.
const OVERLAP_MILLIS: i64 = 24 * 60 * 60 * 1_000;

/// Writes the secret that becomes the endpoint's version, if the call's command is appended.
pub(super) async fn write(
    app: &App,
    call: &Call,
    endpoint: WebhookEndpointId,
    version: u32,
    secret: &Secret,
) -> Result<(), ReadError> {
    let keys = app.ledger.keys().organization(call.organization).await?;
    let sealed =
        keys.secrets().seal(secret.expose().as_bytes(), &bound_to(call.organization, endpoint, version));
    sqlx::query(
        "INSERT INTO ledger.webhook_secrets (organization_id, command_id, endpoint_id, version, sealed, made_at) \
         VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (organization_id, command_id) DO UPDATE \
             SET endpoint_id = EXCLUDED.endpoint_id, version = EXCLUDED.version, sealed = EXCLUDED.sealed",
    )
    .bind(call.organization.uuid())
    .bind(call.command_id.uuid())
    .bind(endpoint.uuid())
    .bind(i64::from(version))
    .bind(sealed)
    .bind(Instant(call.at))
    .execute(app.ledger.pool())
    .await?;
    Ok(())
}

/// The secrets that sign at the moment, the newest first.
pub(super) async fn signing(
    app: &App,
    organization: OrganizationId,
    endpoint: WebhookEndpointId,
    version: u32,
    now: Timestamp,
) -> Result<Vec<Secret>, ReadError> {
    let rows = sqlx::query(
        "SELECT version, sealed, made_at FROM ledger.webhook_secrets s \
         WHERE organization_id = $1 AND endpoint_id = $2 AND version IN ($3, $3 - 1) \
           AND EXISTS (SELECT 1 FROM ledger.events e \
                       WHERE e.organization_id = s.organization_id AND e.command_id = s.command_id) \
         ORDER BY version DESC",
    )
    .bind(organization.uuid())
    .bind(endpoint.uuid())
    .bind(i64::from(version))
    .fetch_all(app.ledger.pool())
    .await?;
    let keys = app.ledger.keys().organization(organization).await?;
    let mut secrets = Vec::with_capacity(rows.len());
    let mut rotated_at = None;
    for row in rows {
        let found = u32::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0);
        if found == version {
            rotated_at = Some(row.try_get::<Instant, _>(2)?.0);
        } else if rotated_at.is_none_or(|at: Timestamp| at.plus_millis(OVERLAP_MILLIS) <= now) {
            continue;
        }
        let damaged = || ReadError::Key(KeyError::Damaged(endpoint.uuid()));
        let opened = keys
            .secrets()
            .open(row.try_get(1)?, &bound_to(organization, endpoint, found))
            .map_err(|_| damaged())?;
        secrets.push(Secret::new(String::from_utf8(opened).map_err(|_| damaged())?));
    }
    Ok(secrets)
}

fn bound_to(organization: OrganizationId, endpoint: WebhookEndpointId, version: u32) -> Vec<u8> {
    [
        b"docket/1 webhook secret".as_slice(),
        organization.uuid().as_bytes(),
        endpoint.uuid().as_bytes(),
        &version.to_be_bytes(),
    ]
    .concat()
}
