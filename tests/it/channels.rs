//! Every channel by its real client, against servers on loopback that send the providers' real bytes.

mod cal_com;
mod incoming;
mod instagram;
mod linkedin;
mod lmtp;
pub mod mail_server;
pub mod provider;
mod resend;
mod smtp;
mod ways_to_fail;
mod webhooks;
mod whatsapp;

use std::time::Duration;

use docket::channels::{
    Channels, Content, Endpoints, LastHeard, Limits, Outcome, Outgoing, Recipient, Reference, Secret, Targets,
};
use docket_aggregates::Timestamp;
use docket_aggregates::channel::Channel;
use docket_aggregates::ids::OrganizationId;
use serde_json::Value;
use uuid::Uuid;

/// What no answer, reason or log may hold.
pub const CANARY: &str = "canary-credential-7f3a";
/// The text form of [`reference`].
pub const REFERENCE: &str = "dkt-aaaaaaaaaaaaaaaaaaaaaaaaab-aaaaaaaaaaaaaaaaaaaaaaaaac";

pub fn reference() -> Reference {
    Reference { organization: OrganizationId(Uuid::from_u128(1)), message: Uuid::from_u128(2) }
}

pub fn now() -> Timestamp {
    "2026-11-21T18:00:00Z".parse().unwrap()
}

/// Limits under which a test is quick.
pub fn limits() -> Limits {
    Limits {
        connect_within: Duration::from_secs(5),
        command_within: Duration::from_millis(400),
        answer_bytes_max: 10_000,
        connections_max: 2,
        idle_within: Duration::from_secs(60),
    }
}

/// All channels, with every provider at `base`.
pub fn channels(base: &str) -> Channels {
    trusting(base, &[])
}

pub fn trusting(base: &str, roots: &[rustls::pki_types::CertificateDer<'static>]) -> Channels {
    let url: reqwest::Url = base.parse().unwrap();
    let endpoints = Endpoints {
        resend: url.clone(),
        cal_com: url.clone(),
        unipile: Some(url.clone()),
        whatsapp: url.clone(),
        instagram: url,
    };
    Channels::open(endpoints, limits(), Targets::parse("127.0.0.0/8").unwrap(), roots).unwrap()
}

/// One message.
pub fn outgoing(channel: Channel, to: &str, config: &Value, payload: &Value) -> Outgoing {
    Outgoing {
        reference: reference(),
        at: now(),
        to: Recipient { address: to.into(), name: None },
        content: Content::read(channel, config, payload, now()).unwrap(),
        credential: Secret::new(CANARY.into()),
        last_heard: LastHeard::NotTracked,
        within: Duration::from_secs(10),
    }
}

/// An outcome in short: what it is, its code and how long to wait, or the provider's id.
pub fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted { provider_message_id } => {
            format!("accepted {}", provider_message_id.as_deref().unwrap_or("-"))
        }
        Outcome::Rejected { code, .. } => format!("rejected {}", code.name()),
        Outcome::Retry { code, after: None, .. } => format!("retry {}", code.name()),
        Outcome::Retry { code, after: Some(after), .. } => {
            format!("retry {} {}", code.name(), after.as_secs())
        }
        Outcome::Unknown { .. } => "unknown".into(),
    }
}

/// That a reason tells neither the recipient nor the credential.
pub fn assert_discreet(outcome: &Outcome, recipient: &str) {
    let text = format!("{outcome:?}");
    assert!(!text.contains(CANARY), "{text}");
    assert!(matches!(outcome, Outcome::Accepted { .. }) || !text.contains(recipient), "{text}");
}
