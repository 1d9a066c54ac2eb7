//! Calling a provider over HTTP, once.
//!
//! No redirect is followed, no proxy is taken from the environment, nothing is tried again; connecting and the whole
//! call have their time, an answer its size. What matters most is told apart: whether the request certainly did not
//! leave (then it may be tried again), or may have arrived although no answer came (then it must not).

use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, DATE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;

use super::config::Limits;
use super::tls::Trust;
use super::{Code, Outcome};

/// What we call ourselves. WhatsApp's description wants exactly this form.
pub(super) const USER_AGENT: &str = concat!("Docket/", env!("CARGO_PKG_VERSION"));
/// A provider that wants to be left alone for longer is asked again after this.
const AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A client for the providers. Cheap to clone.
#[derive(Clone)]
pub struct Http {
    client: Client,
    answer_bytes_max: usize,
}

/// What came of a call.
#[derive(Debug)]
pub enum Reply {
    /// An answer, at least its head.
    Answered(Answer),
    /// Nothing left, nor ever will: of all that a request is made of, only the credential can be unfit for its header.
    Unwritable,
    /// Nothing left.
    NotSent(&'static str),
    /// The request may have arrived.
    Lost(&'static str),
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// When to come again, if the provider says.
    pub after: Option<Duration>,
    /// The body, if it came whole and was not too large.
    pub body: Option<Vec<u8>>,
}

impl Http {
    /// A client.
    pub fn new(trust: &Trust, limits: &Limits) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .tls_backend_preconfigured(trust.client.clone())
            .user_agent(USER_AGENT)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .connect_timeout(limits.connect_within)
            // A connection that the provider closes just when it is used again is an unknown outcome: keep few, and
            // not for long.
            .pool_max_idle_per_host(limits.connections_max)
            .pool_idle_timeout(limits.idle_within)
            .build()?;
        Ok(Self { client, answer_bytes_max: limits.answer_bytes_max })
    }

    /// A request to a path below a base address.
    pub fn post(&self, base: &Url, path: &[&str]) -> RequestBuilder {
        let mut url = base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        self.client.post(url)
    }

    /// Makes the call.
    pub async fn call(&self, request: RequestBuilder, within: Duration) -> Reply {
        let exchange = async {
            let response = match request.send().await {
                Ok(response) => response,
                Err(error) if error.is_builder() => return Reply::Unwritable,
                Err(error) if error.is_connect() && error.is_timeout() => {
                    return Reply::NotSent("the provider was not connected in time");
                }
                Err(error) if error.is_connect() => return Reply::NotSent("the provider was not connected"),
                Err(_) => return Reply::Lost("the connection broke before an answer came"),
            };
            Reply::Answered(Answer {
                status: response.status().as_u16(),
                after: after(response.headers()),
                body: self.body(response).await,
            })
        };
        match tokio::time::timeout(within, exchange).await {
            Ok(reply) => reply,
            Err(_) => Reply::Lost("no answer came in time"),
        }
    }

    async fn body(&self, mut response: Response) -> Option<Vec<u8>> {
        let announced =
            response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: usize| length > self.answer_bytes_max) {
            return None;
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.ok()? {
            if body.len() + chunk.len() > self.answer_bytes_max {
                return None;
            }
            body.extend_from_slice(&chunk);
        }
        Some(body)
    }
}

/// `Retry-After` in seconds or as a date in any of HTTP's three forms (RFC 9110, 5.6.7), which is measured against the answer's own `Date`.
pub(super) fn after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let wanted = text(RETRY_AFTER)?;
    if !wanted.is_empty() && wanted.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than can be counted is more than we wait.
        let seconds = wanted.parse().map_or(AFTER_MAX, Duration::from_secs);
        return Some(seconds.min(AFTER_MAX));
    }
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    Some(date(wanted)?.duration_since(date(text(DATE)?)?).ok()?.min(AFTER_MAX))
}

impl Reply {
    /// The answer, or the outcome that follows from there being none.
    pub fn answer(self, provider: &str) -> Result<Answer, Outcome> {
        match self {
            Self::Answered(answer) => Ok(answer),
            Self::Unwritable => {
                let why = "the secret holds a character that no header may have";
                Err(Outcome::rejected(Code::Credential, format_args!("{provider}: {why}")))
            }
            Self::NotSent(why) => Err(Outcome::retry(Code::Unavailable, format_args!("{provider}: {why}"))),
            Self::Lost(why) => Err(Outcome::unknown(format_args!("{provider}: {why}"))),
        }
    }
}

impl Answer {
    /// Whether the provider says that it did what it was asked.
    pub const fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// The body as JSON of a certain shape.
    pub fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(self.body.as_deref()?).ok()
    }

    /// The outcome that follows from the status alone, for a body that says nothing we understand.
    ///
    /// A status below 500 is a refusal before anything was done. Above, a gateway may speak that does not know what
    /// the provider behind it did, also where it says when to come again.
    pub fn by_status(&self, provider: &str) -> Outcome {
        let status = self.status;
        let reason = format!("{provider} answered {status}");
        match status {
            401 | 403 => Outcome::rejected(Code::Credential, reason),
            402 => Outcome::rejected(Code::Account, reason),
            400 | 413 | 414 | 415 | 422 => Outcome::rejected(Code::Content, reason),
            300..=399 | 404 | 405 | 410 => Outcome::rejected(Code::Configuration, reason),
            429 => Outcome::retry_after(Code::RateLimited, reason, self.after),
            408 | 421 | 425 => Outcome::retry_after(Code::Unavailable, reason, self.after),
            416..=499 | 406..=412 => Outcome::rejected(Code::Refused, reason),
            _ => Outcome::unknown(format_args!("{reason} and nothing that can be understood")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn a_provider_says_when_to_come_again_in_seconds_or_by_date() {
        let date = "Sat, 21 Nov 2026 18:00:00 GMT";
        for (wanted, seconds) in [
            ("0", Some(0)),
            ("17", Some(17)),
            (" 17 ", Some(17)),
            ("99999999", Some(86_400)),
            ("Sat, 21 Nov 2026 18:01:30 GMT", Some(90)),
            ("Sat, 21 Nov 2026 17:59:00 GMT", None),
            // The other two forms of a date, more than can be counted, and a date of another age.
            ("Saturday, 21-Nov-26 18:01:30 GMT", Some(90)),
            ("Sat Nov 21 18:01:30 2026", Some(90)),
            ("99999999999999999999", Some(86_400)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(86_400)),
            ("-1", None),
            ("", None),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter(
                [(RETRY_AFTER, wanted), (DATE, date)]
                    .map(|(name, value)| (name, HeaderValue::from_static(value))),
            );
            assert_eq!(after(&headers), seconds.map(Duration::from_secs), "{wanted}");
        }
        assert_eq!(after(&HeaderMap::new()), None);
    }

    #[test]
    fn only_what_certainly_was_not_done_is_tried_again_or_given_up() {
        for (status, after, expected) in [
            (200, None, "unknown"),
            (302, None, "rejected"),
            (400, None, "rejected"),
            (401, None, "rejected"),
            (404, None, "rejected"),
            (408, None, "retry"),
            (409, None, "rejected"),
            (418, None, "rejected"),
            (429, None, "retry"),
            (500, None, "unknown"),
            (502, None, "unknown"),
            (503, None, "unknown"),
            (503, Some(Duration::from_secs(1)), "unknown"),
            (504, None, "unknown"),
            (599, None, "unknown"),
        ] {
            let answer = Answer { status, after, body: None };
            assert_eq!(answer.by_status("x").name(), expected, "{status}");
        }
    }
}
