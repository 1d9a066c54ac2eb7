//! Posting to an address that a company named: once, with no redirect, to no private network, within a time.
//!
//! The name is resolved by the guard of `targets`, which judges the addresses, and the connection goes to a judged
//! address; a name that changes its mind in between gains nothing. Of the answer only the status and `Retry-After`
//! are looked at: whatever else the target says, it can neither fill memory nor find its way into a log.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use rustls::pki_types::CertificateDer;

use super::http::{USER_AGENT, after};
use super::targets::{TargetError, Targets};
use super::{Limits, OpenError, tls};

/// What came of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    /// The target answered.
    Answered {
        /// With this status.
        status: u16,
        /// And wants to be left alone for so long.
        after: Option<Duration>,
    },
    /// The target may not be posted to.
    Refused(&'static str),
    /// There was no answer. Whether it arrived is not known.
    Lost(&'static str),
}

/// Posts to addresses that companies named. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Poster {
    client: Client,
    targets: Targets,
}

impl Poster {
    /// A poster that may connect to the public network and to these targets.
    pub fn open(
        limits: &Limits,
        targets: Targets,
        roots: &[CertificateDer<'static>],
    ) -> Result<Self, OpenError> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls::client(roots)?.client)
            .user_agent(USER_AGENT)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .dns_resolver(targets.clone())
            .connect_timeout(limits.connect_within)
            .pool_max_idle_per_host(limits.connections_max)
            .pool_idle_timeout(limits.idle_within)
            .build()?;
        Ok(Self { client, targets })
    }

    /// Whether an address may be posted to, as far as it says so by itself; what its name leads to is judged at each post.
    pub fn check(&self, url: &str) -> Result<(), TargetError> {
        url.parse::<Url>().map_err(|_| TargetError::NotAUrl).and_then(|url| self.targets.check_url(&url))
    }

    /// Posts once.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
        within: Duration,
    ) -> Posted {
        let Ok(url) = url.parse::<Url>() else { return Posted::Refused("the address is no URL") };
        match self.targets.check_url(&url) {
            Ok(()) => (),
            Err(TargetError::Private) => return Posted::Refused("the target is on a private network"),
            Err(TargetError::Confined) => return Posted::Refused("the target is not on this machine"),
            Err(_) => return Posted::Refused("the address cannot be posted to"),
        }
        let mut fields = HeaderMap::new();
        for (name, value) in headers {
            let Ok(value) = HeaderValue::from_str(value) else {
                return Posted::Refused("a header cannot be written");
            };
            fields.insert(*name, value);
        }
        let exchange = self.client.post(url).headers(fields).body(body).send();
        match tokio::time::timeout(within, exchange).await {
            Ok(Ok(response)) => {
                Posted::Answered { status: response.status().as_u16(), after: after(response.headers()) }
            }
            Ok(Err(error)) if is(&error, &TargetError::Private) => {
                Posted::Refused("the target is on a private network")
            }
            Ok(Err(error)) if is(&error, &TargetError::Confined) => {
                Posted::Refused("the target is not on this machine")
            }
            Ok(Err(error)) if error.is_connect() => Posted::Lost("the target was not connected"),
            Ok(Err(_)) => Posted::Lost("the connection broke before an answer came"),
            Err(_) => Posted::Lost("no answer came in time"),
        }
    }
}

/// Whether the guard refused all the addresses of the name for this reason.
fn is(error: &reqwest::Error, refusal: &TargetError) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref() == Some(refusal) {
            return true;
        }
        cause = error.source();
    }
    false
}
