//! What an operator may set for the channels. A company can set none of it: where a provider is, and which private
//! addresses may be connected to, is the operator's alone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::Url;
use rustls::pki_types::CertificateDer;

use super::post::Poster;
use super::targets::{NotACidr, Targets};
use super::{Channels, OpenError, tls};

/// The settings, as flags and environment variables.
#[derive(Clone, Debug, Args)]
pub struct ChannelConfig {
    /// The base address of Resend.
    #[arg(long, env = "DOCKET_RESEND_URL", default_value = "https://api.resend.com")]
    pub resend_url: Url,
    /// The base address of Cal.com's API.
    #[arg(long, env = "DOCKET_CALCOM_URL", default_value = "https://api.cal.com")]
    pub calcom_url: Url,
    /// The base address of Unipile: the DSN that its dashboard shows, as a URL. It differs by customer, so that there
    /// is no default.
    #[arg(long, env = "DOCKET_UNIPILE_URL")]
    pub unipile_url: Option<Url>,
    /// The base address of WhatsApp's Cloud API.
    #[arg(long, env = "DOCKET_WHATSAPP_URL", default_value = "https://graph.facebook.com")]
    pub whatsapp_url: Url,
    /// The base address of Instagram's messaging API.
    #[arg(long, env = "DOCKET_INSTAGRAM_URL", default_value = "https://graph.instagram.com")]
    pub instagram_url: Url,
    /// The private addresses that mail servers and webhook targets may have: networks as in `10.0.0.0/8`, separated
    /// by commas.
    #[arg(long, env = "DOCKET_ALLOW_PRIVATE_TARGETS", default_value = "", value_parser = parse_targets)]
    pub allow_private_targets: Targets,
    /// A file of PEM certificates that are trusted beside the system's.
    #[arg(long, env = "DOCKET_TRUST_FILE")]
    pub trust_file: Option<PathBuf>,
    /// Where replies and bounces are taken in by LMTP; nowhere, unless it is set.
    #[arg(long, env = "DOCKET_LMTP_LISTEN")]
    pub lmtp_listen: Option<SocketAddr>,
}

fn parse_targets(text: &str) -> Result<Targets, NotACidr> {
    Targets::parse(text)
}

impl ChannelConfig {
    /// What posts to the addresses that companies name.
    pub fn open_poster(&self) -> Result<Poster, OpenError> {
        Poster::open(&Limits::default(), self.allow_private_targets.clone(), &self.roots()?)
    }

    fn roots(&self) -> Result<Vec<CertificateDer<'static>>, OpenError> {
        self.trust_file.as_deref().map_or(Ok(vec![]), tls::read_roots)
    }

    /// The channels that these settings give.
    pub fn open(&self) -> Result<Channels, OpenError> {
        let roots = self.roots()?;
        let endpoints = Endpoints {
            resend: self.resend_url.clone(),
            cal_com: self.calcom_url.clone(),
            unipile: self.unipile_url.clone(),
            whatsapp: self.whatsapp_url.clone(),
            instagram: self.instagram_url.clone(),
        };
        Channels::open(endpoints, Limits::default(), self.allow_private_targets.clone(), &roots)
    }
}

/// Where the providers are.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// Resend.
    pub resend: Url,
    /// Cal.com.
    pub cal_com: Url,
    /// Unipile, if the operator has it.
    pub unipile: Option<Url>,
    /// WhatsApp.
    pub whatsapp: Url,
    /// Instagram.
    pub instagram: Url,
}

/// How long things may take and how much of them there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connecting, with the name's resolution and TLS.
    pub connect_within: Duration,
    /// One command of SMTP and its answer.
    pub command_within: Duration,
    /// Bytes that are read of an answer over HTTP.
    pub answer_bytes_max: usize,
    /// Connections to one mail server with one credential at once.
    pub connections_max: usize,
    /// How long a connection is kept that nobody uses.
    pub idle_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_within: Duration::from_secs(10),
            command_within: Duration::from_secs(30),
            answer_bytes_max: 256 * 1024,
            connections_max: 8,
            idle_within: Duration::from_secs(15),
        }
    }
}
