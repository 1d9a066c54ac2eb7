//! An outbox: a sender on one channel, with the secret that it sends with.
//!
//! It names its secret and never holds it: a value that looks like one is refused wherever it stands in the
//! configuration. The cap and the zone that are set through an outbox belong to the credential. Deleting is soft:
//! what was sent keeps its sender, and what waits for it fails when it is approved.

mod event;
mod pasted;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use event::{OutboxEvent, OutboxSettings};
pub use pasted::{is_secret, pasted_secret};

use crate::channel::Channel;
use crate::credential::SecretRef;
use crate::ids::OutboxId;
use crate::labels::{self, LabelError};
use crate::personal::Personal;
use crate::stored::aggregate;

/// Bytes of a configuration, at most.
pub const CONFIG_BYTES_MAX: usize = 64 * 1024;

/// What a change may say; absent keeps, `Some(None)` clears. A configuration is replaced, never merged.
#[derive(Clone, Debug, Default)]
pub struct OutboxPatch {
    /// New niche.
    pub niche: Option<Option<String>>,
    /// New secret.
    pub secret: Option<SecretRef>,
    /// New configuration.
    pub config: Option<String>,
}

/// Orders to an outbox.
#[derive(Clone, Debug)]
pub enum OutboxCommand {
    /// Set it up.
    Open {
        /// A fresh id.
        outbox_id: OutboxId,
        /// The channel, for good.
        channel: Channel,
        /// Niche, secret and configuration.
        settings: OutboxSettings,
    },
    /// Change what the patch says.
    Change(Box<OutboxPatch>),
    /// Take it out of use, for good.
    Delete,
}

/// Why an outbox refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    /// The stream is empty, or it was deleted.
    #[error("outbox does not exist")]
    Unknown,
    /// The id is taken.
    #[error("outbox already exists")]
    AlreadyOpened,
    /// Its settings were erased, so that they cannot be changed.
    #[error("outbox was erased")]
    Erased,
    /// A rehearsal has no sender of its own.
    #[error("there is no outbox for dry runs")]
    DryRun,
    /// The niche is no slug.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// The configuration is too long.
    #[error("config must have at most {CONFIG_BYTES_MAX} bytes")]
    ConfigTooLong,
    /// The configuration is not a JSON object.
    #[error("config must be a JSON object")]
    ConfigNotAnObject,
    /// An e-mail needs a sender.
    #[error("is required when channel is email")]
    NoFromAddress,
    /// A value in the configuration looks like a secret.
    #[error("{0} looks like a secret: store it and refer to it by secretRef")]
    PastedSecret(String),
}

/// The state that decisions need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outbox {
    channel: Option<Channel>,
    settings: Option<Personal<OutboxSettings>>,
    deleted: bool,
}

aggregate!(Outbox, "Outbox", OutboxCommand, OutboxEvent, OutboxError);

impl Outbox {
    /// The whole business of an outbox.
    fn decide(&self, command: OutboxCommand) -> Result<Vec<OutboxEvent>, OutboxError> {
        match (command, self.channel) {
            (OutboxCommand::Open { .. }, Some(_)) => Err(OutboxError::AlreadyOpened),
            (OutboxCommand::Open { channel: Channel::DryRun, .. }, None) => Err(OutboxError::DryRun),
            (OutboxCommand::Open { outbox_id, channel, settings }, None) => {
                check(channel, &settings)?;
                let settings = Personal::known(outbox_id.uuid(), settings);
                Ok(vec![OutboxEvent::OutboxOpened { outbox_id, channel, settings }])
            }
            (_, None) => Err(OutboxError::Unknown),
            (_, Some(_)) if self.deleted => Err(OutboxError::Unknown),

            (OutboxCommand::Change(patch), Some(channel)) => {
                let settings = self.settings.as_ref().ok_or(OutboxError::Unknown)?;
                let known = settings.value().ok_or(OutboxError::Erased)?;
                let wanted = OutboxSettings {
                    niche: patch.niche.unwrap_or_else(|| known.niche.clone()),
                    secret: patch.secret.unwrap_or_else(|| known.secret.clone()),
                    config: patch.config.unwrap_or_else(|| known.config.clone()),
                };
                check(channel, &wanted)?;
                if wanted == *known {
                    return Ok(vec![]);
                }
                let settings = Personal::known(settings.subject(), wanted);
                Ok(vec![OutboxEvent::OutboxChanged { settings }])
            }
            (OutboxCommand::Delete, Some(_)) => Ok(vec![OutboxEvent::OutboxDeleted {}]),
        }
    }

    fn evolve(&mut self, event: OutboxEvent) {
        match event {
            OutboxEvent::OutboxOpened { channel, settings, .. } => {
                self.channel = Some(channel);
                self.settings = Some(settings);
            }
            OutboxEvent::OutboxChanged { settings } => self.settings = Some(settings),
            OutboxEvent::OutboxDeleted {} => self.deleted = true,
        }
    }

    /// The channel, also once it was taken out of use: what it sent is still heard of.
    pub fn last_channel(&self) -> Option<Channel> {
        self.channel
    }

    /// The channel, while it is in use.
    pub fn channel(&self) -> Option<Channel> {
        self.channel.filter(|_| !self.deleted)
    }

    /// Niche, secret and configuration, while they are known.
    pub fn settings(&self) -> Option<&OutboxSettings> {
        self.settings.as_ref().and_then(Personal::value)
    }

    /// Whether it was taken out of use.
    pub fn deleted(&self) -> bool {
        self.deleted
    }
}

fn check(channel: Channel, settings: &OutboxSettings) -> Result<(), OutboxError> {
    settings.niche.as_deref().map_or(Ok(()), labels::check_niche)?;
    if settings.config.len() > CONFIG_BYTES_MAX {
        return Err(OutboxError::ConfigTooLong);
    }
    let config: Value = serde_json::from_str(&settings.config).map_err(|_| OutboxError::ConfigNotAnObject)?;
    let fields = config.as_object().ok_or(OutboxError::ConfigNotAnObject)?;
    if let Some(place) = pasted_secret(&config) {
        return Err(OutboxError::PastedSecret(format!("config{place}")));
    }
    let has_sender =
        fields.get("fromAddress").and_then(Value::as_str).is_some_and(|from| !from.trim().is_empty());
    if channel == Channel::Email && !has_sender { Err(OutboxError::NoFromAddress) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cqrs_es::test::TestFramework;
    use uuid::Uuid;

    type Given = TestFramework<Outbox>;
    const ID: OutboxId = OutboxId(Uuid::from_u128(1));

    fn settings(config: &str) -> OutboxSettings {
        OutboxSettings {
            niche: Some("renovation".into()),
            secret: SecretRef { secret_id: "smtp".into(), version: None },
            config: config.into(),
        }
    }

    fn mail() -> OutboxSettings {
        settings(r#"{"fromAddress":"ops@example.com"}"#)
    }

    fn open(channel: Channel, settings: OutboxSettings) -> OutboxCommand {
        OutboxCommand::Open { outbox_id: ID, channel, settings }
    }

    fn opened() -> OutboxEvent {
        OutboxEvent::OutboxOpened {
            outbox_id: ID,
            channel: Channel::Email,
            settings: Personal::known(ID.uuid(), mail()),
        }
    }

    fn change(patch: OutboxPatch) -> OutboxCommand {
        OutboxCommand::Change(Box::new(patch))
    }

    #[test]
    fn an_outbox_is_opened_once() {
        Given::with(())
            .given_no_previous_events()
            .when(open(Channel::Email, mail()))
            .then_expect_events(vec![opened()]);
        Given::with(())
            .given(vec![opened()])
            .when(open(Channel::Email, mail()))
            .then_expect_error(OutboxError::AlreadyOpened);
    }

    #[test]
    fn what_cannot_send_is_refused() {
        let niche = OutboxSettings { niche: Some("A b".into()), ..mail() };
        for (channel, settings, refusal) in [
            (Channel::DryRun, mail(), OutboxError::DryRun),
            (Channel::Email, settings("{}"), OutboxError::NoFromAddress),
            (Channel::Email, settings(r#"{"fromAddress":" "}"#), OutboxError::NoFromAddress),
            (Channel::Email, settings(r#"{"fromAddress":5}"#), OutboxError::NoFromAddress),
            (Channel::Linkedin, settings("[]"), OutboxError::ConfigNotAnObject),
            (Channel::Linkedin, settings("{"), OutboxError::ConfigNotAnObject),
            (Channel::Linkedin, settings(&" ".repeat(CONFIG_BYTES_MAX + 1)), OutboxError::ConfigTooLong),
            (Channel::Email, niche, OutboxError::Label(LabelError::NotASlug)),
            (
                Channel::Linkedin,
                settings(r#"{"accounts":[{"apiKey":"0123456789abcdef"}]}"#),
                OutboxError::PastedSecret("config.accounts[0].apiKey".into()),
            ),
        ] {
            Given::with(())
                .given_no_previous_events()
                .when(open(channel, settings))
                .then_expect_error(refusal);
        }
    }

    #[test]
    fn a_configuration_is_replaced_and_the_rest_kept() {
        let config = r#"{"fromAddress":"news@example.com"}"#;
        let patch = OutboxPatch { config: Some(config.into()), ..OutboxPatch::default() };
        Given::with(()).given(vec![opened()]).when(change(patch)).then_expect_events(vec![
            OutboxEvent::OutboxChanged { settings: Personal::known(ID.uuid(), settings(config)) },
        ]);
        let patch = OutboxPatch { niche: Some(None), ..OutboxPatch::default() };
        Given::with(()).given(vec![opened()]).when(change(patch)).then_expect_events(vec![
            OutboxEvent::OutboxChanged {
                settings: Personal::known(ID.uuid(), OutboxSettings { niche: None, ..mail() }),
            },
        ]);
        let patch = OutboxPatch { config: Some("{}".into()), ..OutboxPatch::default() };
        Given::with(())
            .given(vec![opened()])
            .when(change(patch))
            .then_expect_error(OutboxError::NoFromAddress);
    }

    #[test]
    fn a_change_that_changes_nothing_is_no_event() {
        let patch = OutboxPatch { niche: Some(Some("renovation".into())), ..OutboxPatch::default() };
        Given::with(()).given(vec![opened()]).when(change(patch)).then_expect_events(vec![]);
    }

    #[test]
    fn a_deleted_outbox_is_gone() {
        Given::with(())
            .given(vec![opened()])
            .when(OutboxCommand::Delete)
            .then_expect_events(vec![OutboxEvent::OutboxDeleted {}]);
        for command in [OutboxCommand::Delete, change(OutboxPatch::default())] {
            Given::with(())
                .given(vec![opened(), OutboxEvent::OutboxDeleted {}])
                .when(command)
                .then_expect_error(OutboxError::Unknown);
        }
        Given::with(())
            .given_no_previous_events()
            .when(OutboxCommand::Delete)
            .then_expect_error(OutboxError::Unknown);
    }
}
