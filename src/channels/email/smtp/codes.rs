//! What a mail server's refusal means: its reply code (RFC 5321) and its enhanced status code (RFC 3463, RFC 5248).

use std::error::Error as _;

use lettre::transport::smtp::Error;

use crate::channels::said::said;
use crate::channels::{Code, Outcome};

/// Where in the conversation the server refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The greeting of a connection.
    Connect,
    /// `STARTTLS`.
    StartTls,
    /// `AUTH`.
    Auth,
    /// `MAIL`.
    Mail,
    /// `RCPT`.
    Rcpt,
    /// `DATA`.
    Data,
    /// The text and its final dot.
    Text,
}

/// An enhanced status code: class, subject, detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enhanced(pub u16, pub u16, pub u16);

impl Enhanced {
    /// The code that a text begins with, if it begins with one.
    pub fn parse(text: &str) -> Option<Self> {
        let word = text.split_whitespace().next()?;
        let mut parts = word.split('.');
        let mut part = || parts.next().filter(|part| (1..=3).contains(&part.len()))?.parse::<u16>().ok();
        let code = Self(part()?, part()?, part()?);
        (parts.next().is_none() && matches!(code.0, 2 | 4 | 5)).then_some(code)
    }

    /// What a permanent failure of this kind means; nothing, where it does not say.
    pub const fn refused(self) -> Option<Code> {
        Some(match (self.1, self.2) {
            // The sender's address, not the recipient's.
            (1, 7 | 8) => Code::Configuration,
            (1, _) | (2, 1) | (4, 1 | 3 | 4) => Code::Recipient,
            (2, 3) | (3, 4) | (6, _) => Code::Content,
            (7, 8 | 9 | 11) => Code::Credential,
            (7, 13 | 14) => Code::Account,
            (7, 2) => Code::Recipient,
            (7, 20..=27) => Code::Configuration,
            _ => return None,
        })
    }
}

/// Whether the server closes the connection with this answer.
pub fn closing(error: &Error) -> bool {
    error.status().is_some_and(|code| u16::from(code) == 421)
}

/// The outcome of an error before the server took the mail. What is no answer at all certainly took nothing, except
/// after the final dot; that case is the caller's.
pub fn outcome(stage: Stage, error: &Error, never: &[&str]) -> Outcome {
    let Some(code) = error.status() else {
        let what = match stage {
            Stage::Connect | Stage::StartTls if error.is_tls() || tls_failed(error) => {
                return insecure();
            }
            Stage::Connect => "the mail server was not connected",
            _ if error.is_response() => "the mail server answered what is no SMTP",
            _ => "the connection to the mail server broke before the mail was complete",
        };
        return Outcome::retry(Code::Unavailable, what);
    };
    let code = u16::from(code);
    let words = error.source().map(ToString::to_string).unwrap_or_default();
    let enhanced = Enhanced::parse(&words).filter(|enhanced| enhanced.0 == code / 100);
    let reason = format!("the mail server answered {code} {}", said(&words, never));
    if code < 500 {
        let limited = matches!(enhanced, Some(Enhanced(4, 7 | 2, _))) || matches!(code, 450 | 452);
        return Outcome::retry(if limited { Code::RateLimited } else { Code::Unavailable }, reason);
    }
    let known = enhanced.and_then(Enhanced::refused);
    let by_stage = match (stage, code) {
        (Stage::Auth, _) | (_, 530 | 534 | 535 | 538) => Code::Credential,
        (Stage::Rcpt, 550 | 551 | 553) if enhanced.is_none_or(|enhanced| enhanced.1 != 7) => Code::Recipient,
        (Stage::Mail, 550 | 553) => Code::Configuration,
        (_, 552) => Code::Content,
        _ => Code::Refused,
    };
    Outcome::rejected(known.unwrap_or(by_stage), reason)
}

/// No connection came about that is encrypted with a trusted server: nothing was sent.
pub fn insecure() -> Outcome {
    Outcome::retry(Code::Unavailable, "no secure connection to the mail server came about")
}

/// rustls' errors arrive as those of the connection.
fn tls_failed(error: &Error) -> bool {
    let mut source = error.source();
    while let Some(inner) = source {
        if inner.is::<rustls::Error>() {
            return true;
        }
        let io = inner.downcast_ref::<std::io::Error>();
        if io.and_then(std::io::Error::get_ref).is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        source = inner.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enhanced_code_stands_at_the_start_of_the_text() {
        for (text, expected) in [
            ("5.1.1 no such user", Some(Enhanced(5, 1, 1))),
            ("4.7.1", Some(Enhanced(4, 7, 1))),
            ("5.7.509 Access denied", Some(Enhanced(5, 7, 509))),
            ("no such user", None),
            ("5.1 no", None),
            ("5.1.1.1 no", None),
            ("3.1.1 no", None),
            ("5.1.1234 no", None),
            ("", None),
        ] {
            assert_eq!(Enhanced::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn an_enhanced_code_says_whose_fault_it_is() {
        for (code, expected) in [
            (Enhanced(5, 1, 1), Some(Code::Recipient)),
            (Enhanced(5, 1, 8), Some(Code::Configuration)),
            (Enhanced(5, 2, 1), Some(Code::Recipient)),
            (Enhanced(5, 2, 2), None),
            (Enhanced(5, 3, 4), Some(Code::Content)),
            (Enhanced(5, 7, 1), None),
            (Enhanced(5, 7, 8), Some(Code::Credential)),
            (Enhanced(5, 7, 26), Some(Code::Configuration)),
        ] {
            assert_eq!(code.refused(), expected, "{code:?}");
        }
    }
}
