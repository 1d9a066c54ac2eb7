//! Secrets: what providers know a company by.
//!
//! A value comes in once and is never shown again. It stands in a table of its own, sealed with a key of the
//! organization and bound to organization, credential and version, so that a row that was moved opens for nobody.
//! That a version exists is a fact of the credential's stream; who stored it, and when, is in the ledger like every
//! other change.
//!
//! The row is written first, under the id of the command that is about to be appended. Which of two racing values is
//! version 2 is decided by the append alone: a row counts if its command is in the ledger.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use docket_aggregates::Decides;
use docket_aggregates::credential::{
    Credential, CredentialCommand, CredentialError, CredentialEvent, SecretRef,
};
use docket_aggregates::ids::{CommandId, CredentialId, OrganizationId};
use lru::LruCache;
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgPool;

use crate::app::App;
use crate::channels::Secret;
use crate::ledger::keys::OrganizationKeys;
use crate::ledger::read::ReadError;
use crate::ledger::{AppendError, KeyError, Ledger, TRIES};
use crate::service::{Call, Done, ServiceError};

/// Values that are kept open in memory, at most.
const OPEN_MAX: NonZeroUsize = NonZeroUsize::new(1_024).expect("1 024 is not zero");

/// A secret as answers show it: never the value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretView {
    /// Its id, which the company chose.
    pub secret_id: String,
    /// The version that was stored, from 1.
    pub version: u32,
}

/// Why a secret's value is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// There is no such secret, or not in that version.
    #[error("secret does not exist")]
    Unknown,
    /// The row does not open.
    #[error("the value of a secret is damaged")]
    Damaged,
    /// The database does not answer.
    #[error("the secrets cannot be read")]
    Database(#[from] sqlx::Error),
    /// The key is not to be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The stream cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The version of a credential in an organization.
type Place = (OrganizationId, CredentialId, u32);

/// The values that this process has open, because they are used all the time. Cheap to clone.
#[derive(Clone)]
pub struct Secrets {
    ledger: Ledger,
    open: Arc<Mutex<LruCache<Place, Secret>>>,
}

impl Secrets {
    /// No values yet.
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger, open: Arc::new(Mutex::new(LruCache::new(OPEN_MAX))) }
    }

    /// The value that a reference means at this moment.
    pub async fn resolve(
        &self,
        organization: OrganizationId,
        wanted: &SecretRef,
    ) -> Result<Secret, SecretError> {
        let credential_id = organization.credential(&wanted.secret_id);
        let credential = self.ledger.load::<Credential>(organization, credential_id).await?;
        let version = credential.state.version(wanted.version).ok_or(SecretError::Unknown)?;
        self.value(organization, credential_id, version).await
    }

    /// The value of a version. It never becomes another one, so that it is read once.
    pub async fn value(
        &self,
        organization: OrganizationId,
        credential: CredentialId,
        version: u32,
    ) -> Result<Secret, SecretError> {
        let place = (organization, credential, version);
        if let Some(open) = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&place) {
            return Ok(open.clone());
        }
        let sealed: Option<Vec<u8>> = sqlx::query_scalar(
            "SELECT s.sealed FROM ledger.secrets s \
             WHERE s.organization_id = $1 AND s.credential_id = $2 AND s.version = $3 \
               AND EXISTS (SELECT 1 FROM ledger.events e \
                           WHERE e.organization_id = s.organization_id AND e.command_id = s.command_id)",
        )
        .bind(organization.uuid())
        .bind(credential.uuid())
        .bind(i64::from(version))
        .fetch_optional(self.ledger.pool())
        .await?;
        let keys = self.ledger.keys().organization(organization).await?;
        let value = keys
            .secrets()
            .open(&sealed.ok_or(SecretError::Unknown)?, &bound_to(place))
            .map_err(|_| SecretError::Damaged)?;
        let value = Secret::new(String::from_utf8(value).map_err(|_| SecretError::Damaged)?);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).put(place, value.clone());
        Ok(value)
    }
}

/// Stores a value as the next version of a secret.
pub async fn store(
    app: &App,
    call: &Call,
    secret_id: &str,
    value: &Secret,
) -> Result<Done<SecretView>, ServiceError<CredentialError>> {
    let credential_id = call.organization.credential(secret_id);
    let keys = app.ledger.keys().organization(call.organization).await?;
    for _ in 0..TRIES {
        let before = app.ledger.load::<Credential>(call.organization, credential_id).await?;
        let store = CredentialCommand::StoreSecret { credential_id, secret_id: secret_id.to_owned() };
        let events = before.state.decide(store).map_err(ServiceError::Refused)?;
        let stored = events.iter().find_map(|event| match event {
            CredentialEvent::SecretStored { version, .. } => Some(*version),
            _ => None,
        });
        let version = stored.ok_or(AppendError::Conflict)?;
        let place = (call.organization, credential_id, version);
        write(app.ledger.pool(), call.command_id, place, &keys, value).await?;

        let view = SecretView { secret_id: secret_id.to_owned(), version };
        let command = call.command(vec![before.write(events)], vec![], call.request(&view)?);
        match app.ledger.append(command).await {
            Ok(appended) => {
                return Ok(Done { entity: view, appended: Some(appended) });
            }
            Err(AppendError::Conflict) => (),
            // Nobody knows whether it was appended: the row stays, and means something if it was.
            Err(error @ AppendError::OutcomeUnknown(_)) => return Err(error.into()),
            Err(error) => {
                forget(app.ledger.pool(), call).await;
                return Err(error.into());
            }
        }
    }
    forget(app.ledger.pool(), call).await;
    Err(AppendError::Conflict.into())
}

async fn write(
    pool: &PgPool,
    command: CommandId,
    place: Place,
    keys: &OrganizationKeys,
    value: &Secret,
) -> Result<(), sqlx::Error> {
    let (organization, credential, version) = place;
    sqlx::query(
        "INSERT INTO ledger.secrets (organization_id, command_id, credential_id, version, sealed) \
         VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (organization_id, command_id) DO UPDATE SET version = EXCLUDED.version, sealed = EXCLUDED.sealed",
    )
    .bind(organization.uuid())
    .bind(command.uuid())
    .bind(credential.uuid())
    .bind(i64::from(version))
    .bind(keys.secrets().seal(value.expose().as_bytes(), &bound_to(place)))
    .execute(pool)
    .await?;
    Ok(())
}

/// Takes back a row whose command was refused. If that fails, it means nothing all the same.
async fn forget(pool: &PgPool, call: &Call) {
    let forgotten = sqlx::query("DELETE FROM ledger.secrets WHERE organization_id = $1 AND command_id = $2")
        .bind(call.organization.uuid())
        .bind(call.command_id.uuid())
        .execute(pool)
        .await;
    if forgotten.is_err() {
        tracing::warn!("the value of a secret that was not stored could not be removed");
    }
}

/// What a sealed value is bound to.
fn bound_to((organization, credential, version): Place) -> Vec<u8> {
    [
        b"docket/1 secret".as_slice(),
        organization.uuid().as_bytes(),
        credential.uuid().as_bytes(),
        &version.to_be_bytes(),
    ]
    .concat()
}
