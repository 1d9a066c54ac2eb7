//! A webhook endpoint: where Docket posts an organization's events to.
//!
//! What is posted, and how often it was tried, is no fact of the ledger but work; that an endpoint was given up is one,
//! because from then on somebody misses events. The signing secret stands sealed beside the ledger, by version.

mod event;

use serde::{Deserialize, Serialize};

pub use event::{WebhookEndpointEvent, WebhookSettings};

use crate::any::AnyEvent;
use crate::ids::WebhookEndpointId;
use crate::personal::Personal;
use crate::stored::aggregate;

/// Bytes of an address, at most.
pub const URL_BYTES_MAX: usize = 2_048;
/// Event types that one endpoint may name, at most.
pub const EVENT_TYPES_MAX: usize = 200;

/// Why an endpoint gets nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisabledBecause {
    /// Somebody ordered it.
    Requested,
    /// It answered 410: it wants no more.
    Gone,
    /// It took nothing through all tries.
    Failing,
}

impl DisabledBecause {
    /// The stored name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }
}

/// What a change may say; absent keeps.
#[derive(Clone, Debug, Default)]
pub struct WebhookPatch {
    /// New address.
    pub url: Option<String>,
    /// New description; `Some(None)` clears.
    pub description: Option<Option<String>>,
    /// New event types; empty means all.
    pub event_types: Option<Vec<String>>,
}

/// Orders to an endpoint.
#[derive(Clone, Debug)]
pub enum WebhookEndpointCommand {
    /// Set it up. Its first secret is version 1.
    Open {
        /// A fresh id.
        endpoint_id: WebhookEndpointId,
        /// Address and description.
        settings: WebhookSettings,
        /// Stored event types; empty means all.
        event_types: Vec<String>,
    },
    /// Change what the patch says.
    Change(Box<WebhookPatch>),
    /// A new signing secret was stored.
    RotateSecret,
    /// Post nothing more.
    Disable {
        /// Why.
        because: DisabledBecause,
    },
    /// Post again, from now on.
    Enable,
    /// Take it out of use, for good.
    Delete,
}

/// Why an endpoint refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookEndpointError {
    /// The stream is empty, or it was deleted.
    #[error("webhook endpoint does not exist")]
    Unknown,
    /// The id is taken.
    #[error("webhook endpoint already exists")]
    AlreadyOpened,
    /// Its settings were erased, so that they cannot be changed.
    #[error("webhook endpoint was erased")]
    Erased,
    /// The address is none that can be posted to.
    #[error("url must be an http or https address without a password, of at most {URL_BYTES_MAX} bytes")]
    NotAUrl,
    /// There is no such event.
    #[error("{0} is no event type")]
    UnknownEventType(String),
    /// There are too many.
    #[error("at most {EVENT_TYPES_MAX} event types may be named")]
    TooManyEventTypes,
}

/// The state that decisions need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WebhookEndpoint {
    settings: Option<Personal<WebhookSettings>>,
    event_types: Vec<String>,
    secret_version: u32,
    disabled: bool,
    deleted: bool,
}

aggregate!(
    WebhookEndpoint,
    "WebhookEndpoint",
    WebhookEndpointCommand,
    WebhookEndpointEvent,
    WebhookEndpointError
);

impl WebhookEndpoint {
    /// The whole business of an endpoint.
    fn decide(
        &self,
        command: WebhookEndpointCommand,
    ) -> Result<Vec<WebhookEndpointEvent>, WebhookEndpointError> {
        use WebhookEndpointCommand as C;
        use WebhookEndpointEvent as E;
        match (command, &self.settings) {
            (C::Open { .. }, Some(_)) => Err(WebhookEndpointError::AlreadyOpened),
            (C::Open { endpoint_id, settings, event_types }, None) => {
                check(&settings, &event_types)?;
                let settings = Personal::known(endpoint_id.uuid(), settings);
                Ok(vec![E::WebhookEndpointOpened { endpoint_id, settings, event_types, secret_version: 1 }])
            }
            (_, None) => Err(WebhookEndpointError::Unknown),
            (_, Some(_)) if self.deleted => Err(WebhookEndpointError::Unknown),

            (C::Change(patch), Some(settings)) => {
                let known = settings.value().ok_or(WebhookEndpointError::Erased)?;
                let wanted = WebhookSettings {
                    url: patch.url.unwrap_or_else(|| known.url.clone()),
                    description: patch.description.unwrap_or_else(|| known.description.clone()),
                };
                let event_types = patch.event_types.unwrap_or_else(|| self.event_types.clone());
                if wanted == *known && event_types == self.event_types {
                    return Ok(vec![]);
                }
                check(&wanted, &event_types)?;
                let settings = Personal::known(settings.subject(), wanted);
                Ok(vec![E::WebhookEndpointChanged { settings, event_types }])
            }
            (C::RotateSecret, Some(_)) => {
                Ok(vec![E::WebhookSecretRotated { secret_version: self.secret_version + 1 }])
            }
            (C::Disable { because }, Some(_)) if !self.disabled => {
                Ok(vec![E::WebhookEndpointDisabled { because: because.name().to_owned() }])
            }
            (C::Enable, Some(_)) if self.disabled => Ok(vec![E::WebhookEndpointEnabled {}]),
            (C::Disable { .. } | C::Enable, Some(_)) => Ok(vec![]),
            (C::Delete, Some(_)) => Ok(vec![E::WebhookEndpointDeleted {}]),
        }
    }

    fn evolve(&mut self, event: WebhookEndpointEvent) {
        match event {
            WebhookEndpointEvent::WebhookEndpointOpened { settings, event_types, secret_version, .. } => {
                self.settings = Some(settings);
                self.event_types = event_types;
                self.secret_version = secret_version;
            }
            WebhookEndpointEvent::WebhookEndpointChanged { settings, event_types } => {
                self.settings = Some(settings);
                self.event_types = event_types;
            }
            WebhookEndpointEvent::WebhookSecretRotated { secret_version } => {
                self.secret_version = secret_version;
            }
            WebhookEndpointEvent::WebhookEndpointDisabled { .. } => self.disabled = true,
            WebhookEndpointEvent::WebhookEndpointEnabled {} => self.disabled = false,
            WebhookEndpointEvent::WebhookEndpointDeleted {} => self.deleted = true,
        }
    }

    /// Whether events of this type are posted to it.
    pub fn takes(&self, event_type: &str) -> bool {
        let named = self.event_types.is_empty() || self.event_types.iter().any(|named| named == event_type);
        self.settings.is_some() && !self.disabled && !self.deleted && named
    }

    /// Address and description, while they are known.
    pub fn settings(&self) -> Option<&WebhookSettings> {
        self.settings.as_ref().and_then(Personal::value)
    }

    /// The version of the secret that signs.
    pub fn secret_version(&self) -> u32 {
        self.secret_version
    }
}

fn check(settings: &WebhookSettings, event_types: &[String]) -> Result<(), WebhookEndpointError> {
    if !is_url(&settings.url) {
        return Err(WebhookEndpointError::NotAUrl);
    }
    if event_types.len() > EVENT_TYPES_MAX {
        return Err(WebhookEndpointError::TooManyEventTypes);
    }
    let stored = AnyEvent::stored();
    let unknown = event_types.iter().find(|named| !stored.iter().any(|(_, known, _)| known == named));
    unknown.map_or(Ok(()), |named| Err(WebhookEndpointError::UnknownEventType(named.clone())))
}

/// An address with a host and no password. Whether the host may be reached is judged at every post.
pub fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    text.len() <= URL_BYTES_MAX && visible && !authority.is_empty() && !authority.contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;
    use cqrs_es::Aggregate;
    use cqrs_es::test::TestFramework;
    use uuid::Uuid;

    type Given = TestFramework<WebhookEndpoint>;
    const ID: WebhookEndpointId = WebhookEndpointId(Uuid::from_u128(1));

    fn settings(url: &str) -> WebhookSettings {
        WebhookSettings { url: url.into(), description: None }
    }

    fn open(url: &str, event_types: &[&str]) -> WebhookEndpointCommand {
        let event_types = event_types.iter().map(|name| (*name).to_owned()).collect();
        WebhookEndpointCommand::Open { endpoint_id: ID, settings: settings(url), event_types }
    }

    fn opened(event_types: &[&str]) -> WebhookEndpointEvent {
        WebhookEndpointEvent::WebhookEndpointOpened {
            endpoint_id: ID,
            settings: Personal::known(ID.uuid(), settings("https://hooks.example.com/docket")),
            event_types: event_types.iter().map(|name| (*name).to_owned()).collect(),
            secret_version: 1,
        }
    }

    fn disabled(because: &str) -> WebhookEndpointEvent {
        WebhookEndpointEvent::WebhookEndpointDisabled { because: because.into() }
    }

    #[test]
    fn an_endpoint_is_opened_once() {
        let order = || open("https://hooks.example.com/docket", &["MessageAccepted"]);
        Given::with(())
            .given_no_previous_events()
            .when(order())
            .then_expect_events(vec![opened(&["MessageAccepted"])]);
        Given::with(())
            .given(vec![opened(&[])])
            .when(order())
            .then_expect_error(WebhookEndpointError::AlreadyOpened);
    }

    #[test]
    fn what_cannot_be_posted_to_is_refused() {
        let long = format!("https://example.com/{}", "a".repeat(URL_BYTES_MAX));
        for url in [
            "",
            "example.com",
            "ftp://example.com",
            "https://",
            "https:///path",
            "https://ann:secret@example.com",
            "https://example.com/a b",
            "https://example.com/\r\nHost: other",
            long.as_str(),
        ] {
            Given::with(())
                .given_no_previous_events()
                .when(open(url, &[]))
                .then_expect_error(WebhookEndpointError::NotAUrl);
        }
        Given::with(())
            .given_no_previous_events()
            .when(open("https://example.com", &["MessageEaten"]))
            .then_expect_error(WebhookEndpointError::UnknownEventType("MessageEaten".into()));
    }

    #[test]
    fn an_endpoint_gets_what_it_names_while_it_is_on() {
        let mut endpoint = WebhookEndpoint::default();
        assert!(!endpoint.takes("MessageAccepted"));
        endpoint.apply(opened(&["MessageAccepted"]));
        assert!(endpoint.takes("MessageAccepted") && !endpoint.takes("MessageRejected"));
        endpoint.apply(disabled("gone"));
        assert!(!endpoint.takes("MessageAccepted"));
        endpoint.apply(WebhookEndpointEvent::WebhookEndpointEnabled {});
        assert!(endpoint.takes("MessageAccepted"));
        endpoint.apply(WebhookEndpointEvent::WebhookEndpointDeleted {});
        assert!(!endpoint.takes("MessageAccepted"));
    }

    #[test]
    fn switching_twice_is_harmless() {
        let disable = || WebhookEndpointCommand::Disable { because: DisabledBecause::Failing };
        Given::with(())
            .given(vec![opened(&[])])
            .when(disable())
            .then_expect_events(vec![disabled("failing")]);
        Given::with(()).given(vec![opened(&[]), disabled("gone")]).when(disable()).then_expect_events(vec![]);
        Given::with(())
            .given(vec![opened(&[])])
            .when(WebhookEndpointCommand::Enable)
            .then_expect_events(vec![]);
    }

    #[test]
    fn a_change_keeps_what_it_does_not_say() {
        let patch = WebhookPatch { event_types: Some(vec!["OutboxDeleted".into()]), ..Default::default() };
        Given::with(())
            .given(vec![opened(&[])])
            .when(WebhookEndpointCommand::Change(Box::new(patch)))
            .then_expect_events(vec![WebhookEndpointEvent::WebhookEndpointChanged {
                settings: Personal::known(ID.uuid(), settings("https://hooks.example.com/docket")),
                event_types: vec!["OutboxDeleted".into()],
            }]);
        Given::with(())
            .given(vec![opened(&[])])
            .when(WebhookEndpointCommand::Change(Box::default()))
            .then_expect_events(vec![]);
    }

    #[test]
    fn secrets_are_counted_and_a_deleted_endpoint_is_gone() {
        Given::with(())
            .given(vec![opened(&[])])
            .when(WebhookEndpointCommand::RotateSecret)
            .then_expect_events(vec![WebhookEndpointEvent::WebhookSecretRotated { secret_version: 2 }]);
        Given::with(())
            .given(vec![opened(&[]), WebhookEndpointEvent::WebhookEndpointDeleted {}])
            .when(WebhookEndpointCommand::Delete)
            .then_expect_error(WebhookEndpointError::Unknown);
    }
}
