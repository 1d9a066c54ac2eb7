//! A credential: one secret of the company, all its versions, and what may be sent with it a day.
//!
//! The daily cap and the zone belong to the credential and not to an outbox, because the provider counts by
//! credential: what is set on one outbox holds for all that share it. Values are never stored here, only that a
//! version exists; the value stands sealed beside the ledger.
//!
//! **Days.** A bucket counts the sends of one day, and buckets must never overlap, also when the zone changes. So
//! the days themselves are facts of this stream: each is opened with its instants, none begins before the last one
//! ended, and none that follows a change of zone is shorter than the shortest real day, so that moving to another
//! zone never earns a send.

mod event;

use serde::{Deserialize, Serialize};

pub use event::CredentialEvent;

use crate::calendar::{self, CalendarError};
use crate::ids::CredentialId;
use crate::personal::Personal;
use crate::stored::aggregate;
use crate::time::Timestamp;

/// No real day is shorter: 22 hours at Troll station, whose clocks are put on by two.
const SHORTEST_DAY_MILLIS: i64 = 22 * 60 * 60 * 1_000;
/// A cap beyond this is no cap.
pub const DAILY_CAP_MAX: u64 = 1_000_000_000;
/// The zone of a credential for which none was set.
pub const DEFAULT_ZONE: &str = "UTC";

/// Which version of which secret: `secret://{id}:{version}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRef {
    /// The secret, `[A-Za-z0-9_-]{1,128}`.
    pub secret_id: String,
    /// The version, from 1; none means the latest at the moment of the send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
}

/// The text is no reference to a secret. Never shows it: it may be the secret itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret is referred to as secret://<id>:latest or secret://<id>:<version>, never by its value")]
pub struct NotASecretRef;

impl SecretRef {
    /// Whether the text can be the id of a secret.
    pub fn is_id(text: &str) -> bool {
        (1..=128).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    }
}

impl std::str::FromStr for SecretRef {
    type Err = NotASecretRef;

    fn from_str(text: &str) -> Result<Self, NotASecretRef> {
        let rest = text.strip_prefix("secret://").ok_or(NotASecretRef)?;
        let (secret_id, version) = rest.split_once(':').ok_or(NotASecretRef)?;
        let version = match version {
            "latest" => None,
            digits if digits.starts_with(|first: char| matches!(first, '1'..='9')) => {
                let all = digits.bytes().all(|byte| byte.is_ascii_digit());
                Some(digits.parse().ok().filter(|_| all).ok_or(NotASecretRef)?)
            }
            _ => return Err(NotASecretRef),
        };
        if Self::is_id(secret_id) {
            Ok(Self { secret_id: secret_id.to_owned(), version })
        } else {
            Err(NotASecretRef)
        }
    }
}

impl std::fmt::Display for SecretRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.version {
            Some(version) => write!(f, "secret://{}:{version}", self.secret_id),
            None => write!(f, "secret://{}:latest", self.secret_id),
        }
    }
}

/// One day of a credential: what a bucket counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendingDay {
    /// Its number within the credential, from 1.
    pub number: u64,
    /// Its first instant.
    pub starts_at: Timestamp,
    /// The first instant after it.
    pub ends_at: Timestamp,
}

/// Orders to a credential.
#[derive(Clone, Debug)]
pub enum CredentialCommand {
    /// A value was stored beside the ledger.
    StoreSecret {
        /// The stream, which the secret's id names.
        credential_id: CredentialId,
        /// The secret's id.
        secret_id: String,
    },
    /// Set what may be sent with it, whole.
    Limit {
        /// The stream, which the secret's id names.
        credential_id: CredentialId,
        /// The secret's id.
        secret_id: String,
        /// Sends a day and channel; none means as many as there are.
        daily_cap: Option<u64>,
        /// IANA name of the zone whose days count.
        time_zone: String,
    },
    /// Make sure that the day of an instant is open.
    OpenDay {
        /// The stream.
        credential_id: CredentialId,
        /// The instant.
        at: Timestamp,
    },
}

/// Why a credential refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The text cannot be the id of a secret.
    #[error("a secret's id is 1 to 128 letters, digits, hyphens and underscores")]
    NotAnId,
    /// The cap is beyond counting.
    #[error("daily cap must be at most {DAILY_CAP_MAX}")]
    CapTooLarge,
    /// There is no such zone.
    #[error(transparent)]
    Zone(#[from] CalendarError),
}

/// The state that decisions need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Credential {
    versions: u32,
    daily_cap: Option<u64>,
    time_zone: Option<String>,
    last_day: Option<SendingDay>,
}

aggregate!(Credential, "Credential", CredentialCommand, CredentialEvent, CredentialError);

impl Credential {
    /// The whole business of a credential.
    fn decide(&self, command: CredentialCommand) -> Result<Vec<CredentialEvent>, CredentialError> {
        match command {
            CredentialCommand::StoreSecret { credential_id, secret_id } => {
                let secret_id = named(credential_id, secret_id)?;
                Ok(vec![CredentialEvent::SecretStored {
                    credential_id,
                    secret_id,
                    version: self.versions + 1,
                }])
            }
            CredentialCommand::Limit { credential_id, secret_id, daily_cap, time_zone } => {
                let secret_id = named(credential_id, secret_id)?;
                if daily_cap.is_some_and(|cap| cap > DAILY_CAP_MAX) {
                    return Err(CredentialError::CapTooLarge);
                }
                calendar::zone(&time_zone)?;
                if (daily_cap, time_zone.as_str()) == (self.daily_cap, self.time_zone()) {
                    return Ok(vec![]);
                }
                Ok(vec![CredentialEvent::CredentialLimited {
                    credential_id,
                    secret_id,
                    daily_cap,
                    time_zone,
                }])
            }
            CredentialCommand::OpenDay { credential_id, at } => {
                let day = self.day_at(at)?;
                if Some(day) == self.last_day {
                    return Ok(vec![]);
                }
                let time_zone = self.time_zone().to_owned();
                let SendingDay { number, starts_at, ends_at } = day;
                Ok(vec![CredentialEvent::SendingDayOpened {
                    credential_id,
                    number,
                    starts_at,
                    ends_at,
                    time_zone,
                }])
            }
        }
    }

    fn evolve(&mut self, event: CredentialEvent) {
        match event {
            CredentialEvent::SecretStored { version, .. } => self.versions = version,
            CredentialEvent::CredentialLimited { daily_cap, time_zone, .. } => {
                self.daily_cap = daily_cap;
                self.time_zone = Some(time_zone);
            }
            CredentialEvent::SendingDayOpened { number, starts_at, ends_at, .. } => {
                self.last_day = Some(SendingDay { number, starts_at, ends_at });
            }
        }
    }

    /// The day to which a send at this instant is charged: the last one that was opened, while it lasts; else the
    /// one that [`CredentialCommand::OpenDay`] opens. A clock that is behind is charged to the last day, too: a day
    /// that is over is never opened again.
    pub fn day_at(&self, at: Timestamp) -> Result<SendingDay, CredentialError> {
        let (number, not_before) = match self.last_day {
            Some(last) if at < last.ends_at => return Ok(last),
            Some(last) => (last.number + 1, last.ends_at),
            None => (1, Timestamp::MIN),
        };
        let zone = calendar::zone(self.time_zone())?;
        let mut day = calendar::local_day(&zone, at);
        if day.starts_at < not_before {
            day.starts_at = not_before;
            // Cut short by a day of another zone: it lasts until the midnight that makes it a whole one.
            while day.ends_at < Timestamp::MAX
                && day.ends_at.millis() - day.starts_at.millis() < SHORTEST_DAY_MILLIS
            {
                day.ends_at = calendar::local_day(&zone, day.ends_at).ends_at;
            }
        }
        Ok(SendingDay { number, starts_at: day.starts_at, ends_at: day.ends_at })
    }

    /// Sends a day and channel; none means as many as there are.
    pub fn daily_cap(&self) -> Option<u64> {
        self.daily_cap
    }

    /// IANA name of the zone whose days count.
    pub fn time_zone(&self) -> &str {
        self.time_zone.as_deref().unwrap_or(DEFAULT_ZONE)
    }

    /// The version that a reference means, if it exists.
    pub fn version(&self, wanted: Option<u32>) -> Option<u32> {
        let version = wanted.unwrap_or(self.versions);
        (1..=self.versions).contains(&version).then_some(version)
    }
}

fn named(credential_id: CredentialId, secret_id: String) -> Result<Personal<String>, CredentialError> {
    if SecretRef::is_id(&secret_id) {
        Ok(Personal::known(credential_id.uuid(), secret_id))
    } else {
        Err(CredentialError::NotAnId)
    }
}

#[cfg(test)]
mod tests;
