//! Stored events of a webhook endpoint. A change here is a change of a stored format.

use serde::{Deserialize, Serialize};

use crate::ids::WebhookEndpointId;
use crate::personal::Personal;
use crate::stored::stored_events;

/// What is said of an endpoint. All of it is sealed: addresses carry keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookSettings {
    /// Where to post to.
    pub url: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The facts of a webhook endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum WebhookEndpointEvent {
    /// Events are posted to it from here on.
    WebhookEndpointOpened {
        /// Its id, which is also its stream.
        endpoint_id: WebhookEndpointId,
        /// Address and description. The subject is the endpoint.
        settings: Personal<WebhookSettings>,
        /// Stored event types; empty means all.
        event_types: Vec<String>,
        /// The version of the secret that signs.
        secret_version: u32,
    },
    /// It is another.
    WebhookEndpointChanged {
        /// Address and description, whole.
        settings: Personal<WebhookSettings>,
        /// All the event types; empty means all there are.
        event_types: Vec<String>,
    },
    /// Another secret signs.
    WebhookSecretRotated {
        /// Its version.
        secret_version: u32,
    },
    /// Nothing is posted to it any more.
    WebhookEndpointDisabled {
        /// Why: `requested`, `gone`, `failing`.
        because: String,
    },
    /// Events are posted to it again, from here on.
    WebhookEndpointEnabled {},
    /// It is out of use.
    WebhookEndpointDeleted {},
}

stored_events!(WebhookEndpointEvent {
    WebhookEndpointOpened "1",
    WebhookEndpointChanged "1",
    WebhookSecretRotated "1",
    WebhookEndpointDisabled "1",
    WebhookEndpointEnabled "1",
    WebhookEndpointDeleted "1",
});
