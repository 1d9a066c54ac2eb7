//! What hand-overs of one lane rest on, read once for a batch. The append guards each of it.

use std::sync::Arc;

use docket_aggregates::allowlist::Allowlist;
use docket_aggregates::approval_rules::ApprovalRules;
use docket_aggregates::channel::Channel;
use docket_aggregates::credential::Credential;
use docket_aggregates::ids::CredentialId;
use docket_aggregates::outbox::Outbox;
use docket_aggregates::sending_control::SendingControl;
use serde_json::Value;

use super::Shared;
use super::work::Lane;
use crate::channels::{Code, Outcome, Secret};
use crate::ledger::keys::OrganizationKeys;
use crate::ledger::read::ReadError;
use crate::ledger::{KeyError, Versioned};
use crate::readside::ReadSideError;
use crate::secrets::SecretError;

/// Why something could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A key is not to be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database does not answer.
    #[error("the database does not answer")]
    Database(#[from] sqlx::Error),
    /// Who has an address or a number cannot be looked up.
    #[error("whose address it is cannot be told: {0}")]
    Owner(#[from] ReadSideError),
}

/// The ground.
pub struct Ground {
    pub keys: Arc<OrganizationKeys>,
    pub outbox: Versioned<Outbox>,
    pub credential_id: CredentialId,
    pub credential: Versioned<Credential>,
    pub allowlist: Versioned<Allowlist>,
    pub rules: Versioned<ApprovalRules>,
    pub control: Versioned<SendingControl>,
    /// Whether the organization's CRM module is on. Its stream is another ledger's, which no append can guard.
    pub module_on: bool,
    pub sender: Sender,
}

/// What a message leaves with, beside its own content.
pub struct Sender {
    pub config: Value,
    /// The version of the secret, if there is one.
    pub version: Option<u32>,
    /// The value of the secret, or why there is none.
    pub credential: Result<Secret, Outcome>,
    /// The private key that signs mail, if the outbox has one.
    pub dkim_key: Option<Result<Secret, Outcome>>,
}

impl Ground {
    /// Looks at a lane. What was seen lately is believed, because the append judges it; `fresh` reads it anew, after a
    /// decision on it was refused.
    pub async fn look(shared: &Shared, lane: Lane, fresh: bool) -> Result<Self, LookError> {
        let ledger = &shared.app.ledger;
        let Lane { organization, outbox } = lane;
        macro_rules! see {
            ($aggregate:ty, $id:expr) => {
                if fresh {
                    ledger.load::<$aggregate>(organization, $id).await?
                } else {
                    ledger.glance::<$aggregate>(organization, $id).await?
                }
            };
        }
        let outbox = see!(Outbox, outbox);
        let secret = outbox.state.settings().map(|settings| settings.secret.clone());
        let secret_id = secret.as_ref().map(|secret| secret.secret_id.as_str()).unwrap_or_default();
        let credential_id = organization.credential(secret_id);
        let credential = see!(Credential, credential_id);
        let mut control = see!(SendingControl, organization.sending_control());
        if control.state.pauses().next().is_some() {
            // What a pause holds back is not appended, so that nothing would tell that the pause is over.
            control = ledger.load(organization, organization.sending_control()).await?;
        }
        let sender = Sender::look(shared, lane, &outbox.state, credential_id, &credential.state).await?;
        Ok(Self {
            keys: ledger.keys().organization(organization).await?,
            allowlist: see!(Allowlist, organization.allowlist()),
            rules: see!(ApprovalRules, organization.approval_rules()),
            outbox,
            credential_id,
            credential,
            control,
            module_on: shared.app.workspaces.is_on(ledger, organization).await?,
            sender,
        })
    }
}

impl Sender {
    async fn look(
        shared: &Shared,
        lane: Lane,
        outbox: &Outbox,
        credential_id: CredentialId,
        credential: &Credential,
    ) -> Result<Self, LookError> {
        let settings = outbox.settings();
        let config: Value =
            settings.and_then(|settings| serde_json::from_str(&settings.config).ok()).unwrap_or(Value::Null);
        let secrets = &shared.app.secrets;
        let version = settings.and_then(|settings| credential.version(settings.secret.version));
        let value = match version {
            Some(version) => secrets.value(lane.organization, credential_id, version).await,
            None => Err(SecretError::Unknown),
        };
        let key_ref = config["dkim"]["keyRef"].as_str().filter(|_| outbox.channel() == Some(Channel::Email));
        let dkim_key = match key_ref.map(str::parse) {
            None => None,
            Some(Ok(reference)) => Some(usable(secrets.resolve(lane.organization, &reference).await)?),
            Some(Err(_)) => Some(Err(missing("the outbox's DKIM key"))),
        };
        Ok(Self { version, credential: usable(value)?, dkim_key, config })
    }
}

/// A secret that is not there is the message's failure; a database that does not answer is nobody's.
fn usable(value: Result<Secret, SecretError>) -> Result<Result<Secret, Outcome>, LookError> {
    match value {
        Ok(secret) => Ok(Ok(secret)),
        Err(SecretError::Unknown) => Ok(Err(missing("the outbox's secret"))),
        Err(SecretError::Damaged) => {
            Ok(Err(Outcome::rejected(Code::Credential, "the value of a secret is damaged")))
        }
        Err(SecretError::Database(error)) => Err(error.into()),
        Err(SecretError::Key(error)) => Err(error.into()),
        Err(SecretError::Read(error)) => Err(error.into()),
    }
}

fn missing(what: &str) -> Outcome {
    Outcome::rejected(Code::Configuration, format_args!("{what} does not exist"))
}
