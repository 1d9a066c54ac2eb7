//! Stored events of a credential. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use crate::ids::CredentialId;
use crate::personal::Personal;
use crate::stored::stored_events;
use crate::time::Timestamp;

/// The facts of a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum CredentialEvent {
    /// A new value was stored beside the ledger.
    SecretStored {
        /// Its stream.
        credential_id: CredentialId,
        /// The secret's id. The subject is the credential.
        secret_id: Personal<String>,
        /// The version of the value, from 1.
        version: u32,
    },
    /// What may be sent with it is another.
    CredentialLimited {
        /// Its stream.
        credential_id: CredentialId,
        /// The secret's id. The subject is the credential.
        secret_id: Personal<String>,
        /// Sends a day and channel; none means as many as there are.
        daily_cap: Option<u64>,
        /// IANA name of the zone whose days count, from the next day that is opened.
        time_zone: String,
    },
    /// A day began to be counted.
    SendingDayOpened {
        /// The credential.
        credential_id: CredentialId,
        /// Its number within the credential, from 1.
        number: u64,
        /// Its first instant: the end of the day before, or later.
        starts_at: Timestamp,
        /// The first instant after it.
        ends_at: Timestamp,
        /// The zone whose midnight ends it.
        time_zone: String,
    },
}

stored_events!(CredentialEvent {
    SecretStored "1",
    CredentialLimited "1",
    SendingDayOpened "1",
});
