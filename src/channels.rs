//! Channels: the only part of the product that speaks to a provider.
//!
//! A channel is given one message with everything that it needs (content, settings, credential, time limit) and
//! answers with one of four outcomes. It knows nothing of outboxes, approvals, quotas, retries or the database; who
//! calls it decides all that before, and decides what follows from the outcome.
//!
//! A channel never tries twice by itself, except where nothing at all was handed over yet. What it cannot tell is
//! [`Outcome::Unknown`], never a guess: a message is handed over at most once per call. Where the provider takes an
//! idempotency key, the key is the message's id, and asking again is harmless: see [`Outgoing::repeatable`].
//!
//! What comes in from the providers is read here as well, into [`Delivery`]: webhooks by each channel's `webhook`,
//! mail by `email::incoming`. Nothing of it is trusted before its signature was checked.

pub mod cal_com;
pub mod config;
pub mod delivery;
pub mod dry_run;
pub mod email;
pub mod instagram;
pub mod linkedin;
pub mod listening;
pub mod outcome;
pub mod outgoing;
pub mod post;
pub mod problem;
pub mod reference;
pub mod secret;
pub mod signature;
pub mod targets;
pub mod whatsapp;

mod graph;
mod http;
mod said;
mod tls;

pub use config::{ChannelConfig, Endpoints, Limits};
pub use delivery::{About, Delivery, Happening, WebhookError};
pub use listening::Listening;
pub use outcome::{Code, Outcome};
pub use outgoing::{Content, LastHeard, Outgoing, Recipient, check_config, check_payload};
pub use problem::Problem;
pub use reference::Reference;
pub use secret::Secret;
pub use targets::Targets;

/// Why the channels cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A certificate of the operator's does not read.
    #[error("{0} holds no PEM certificate")]
    NoCertificate(std::path::PathBuf),
    /// A file cannot be read.
    #[error("{path} cannot be read")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The roots of trust cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up")]
    Http(#[from] reqwest::Error),
}

/// Every channel, ready to use. Cheap to clone; connections are shared.
#[derive(Clone)]
pub struct Channels {
    endpoints: Endpoints,
    http: http::Http,
    smtp: email::smtp::Smtp,
}

impl Channels {
    /// The channels with these base addresses, limits and permitted targets.
    pub fn open(
        endpoints: Endpoints,
        limits: Limits,
        targets: Targets,
        roots: &[rustls::pki_types::CertificateDer<'static>],
    ) -> Result<Self, OpenError> {
        let tls = tls::client(roots)?;
        Ok(Self {
            http: http::Http::new(&tls, &limits)?,
            smtp: email::smtp::Smtp::new(tls, limits, targets),
            endpoints,
        })
    }

    /// Hands one message to its provider, once, within the message's time.
    pub async fn deliver(&self, message: &Outgoing) -> Outcome {
        match &message.content {
            Content::Email(letter) => match email::Credential::parse(&message.credential) {
                Ok(email::Credential::Smtp(server)) => self.smtp.deliver(message, letter, &server).await,
                Ok(email::Credential::Resend(key)) => {
                    email::resend::deliver(&self.http, &self.endpoints.resend, message, letter, &key).await
                }
                Err(error) => Outcome::rejected(Code::Configuration, error),
            },
            Content::CalCom(booking) => {
                cal_com::deliver(&self.http, &self.endpoints.cal_com, message, booking).await
            }
            Content::LinkedIn(post) => {
                linkedin::deliver(&self.http, self.endpoints.unipile.as_ref(), message, post).await
            }
            Content::WhatsApp(text) => {
                whatsapp::deliver(&self.http, &self.endpoints.whatsapp, message, text).await
            }
            Content::Instagram(text) => {
                instagram::deliver(&self.http, &self.endpoints.instagram, message, text).await
            }
            Content::DryRun => dry_run::deliver(),
        }
    }
}
