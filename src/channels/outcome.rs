//! What a channel answers.
//!
//! Four outcomes and no `Result`: the caller has exactly these four moves. Only what a provider said in so many
//! words is accepted or rejected; everything else is tried again if it certainly did not happen, and unknown if it
//! may have.

use std::fmt::Display;
use std::time::Duration;

use super::delivery::strip_nul;

/// Characters of a reason, at most.
const REASON_CHARACTERS_MAX: usize = 300;

/// What became of a message that was given to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The provider took it. Delivered is another matter: that is told later, by webhook or mail.
    Accepted {
        /// The provider's own id of it, if it gave one.
        provider_message_id: Option<String>,
    },
    /// It was refused for good. Asking again would be refused again.
    Rejected {
        /// Why, for machines.
        code: Code,
        /// Why, in one sentence, with the provider's own code. Holds no address, text or credential.
        reason: String,
    },
    /// It was certainly not taken, and may be taken later.
    Retry {
        /// Why, for machines.
        code: Code,
        /// Why, in one sentence, with the provider's own code. Holds no address, text or credential.
        reason: String,
        /// How long to wait at least, where the provider said.
        after: Option<Duration>,
    },
    /// Nobody can tell whether it was taken. Asking again might send it twice.
    Unknown {
        /// What is known, in one sentence.
        reason: String,
    },
}

/// Why a message was not taken. What follows from it is the same for every provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The recipient does not exist, or cannot be reached on this channel. Writing there again is pointless.
    Recipient,
    /// The recipient does not want to be written to.
    OptedOut,
    /// The recipient did not write within the time in which an answer is allowed.
    WindowClosed,
    /// The text, subject, template or booking is not acceptable as it is.
    Content,
    /// The credential is wrong, expired or not permitted to do this.
    Credential,
    /// The sender's account is blocked, disconnected or unpaid.
    Account,
    /// The outbox, the credential's form or the operator's configuration cannot work.
    Configuration,
    /// The target is one that this server may not connect to.
    Target,
    /// As much was sent as may be for now.
    RateLimited,
    /// The provider or the way to it does not work for now.
    Unavailable,
    /// The provider refuses for a reason that is none of the others.
    Refused,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 11] = [
        Self::Recipient,
        Self::OptedOut,
        Self::WindowClosed,
        Self::Content,
        Self::Credential,
        Self::Account,
        Self::Configuration,
        Self::Target,
        Self::RateLimited,
        Self::Unavailable,
        Self::Refused,
    ];

    /// The name under which it is stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Recipient => "recipient",
            Self::OptedOut => "opted_out",
            Self::WindowClosed => "window_closed",
            Self::Content => "content",
            Self::Credential => "credential",
            Self::Account => "account",
            Self::Configuration => "configuration",
            Self::Target => "target",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
        }
    }
}

impl std::str::FromStr for Code {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|code| code.name() == name);
        found.ok_or_else(|| "is no outcome code".to_owned())
    }
}

impl Outcome {
    /// Taken, under this id.
    pub fn accepted(id: impl Into<String>) -> Self {
        let mut id = id.into();
        strip_nul(&mut id);
        Self::Accepted { provider_message_id: Some(id).filter(|id| !id.is_empty()) }
    }

    /// Refused for good.
    pub fn rejected(code: Code, reason: impl Display) -> Self {
        Self::Rejected { code, reason: bounded(reason) }
    }

    /// Not taken, for now.
    pub fn retry(code: Code, reason: impl Display) -> Self {
        Self::Retry { code, reason: bounded(reason), after: None }
    }

    /// Not taken, for at least so long.
    pub fn retry_after(code: Code, reason: impl Display, after: Option<Duration>) -> Self {
        Self::Retry { code, reason: bounded(reason), after }
    }

    /// Nobody can tell.
    pub fn unknown(reason: impl Display) -> Self {
        Self::Unknown { reason: bounded(reason) }
    }

    /// The name for logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Rejected { .. } => "rejected",
            Self::Retry { .. } => "retry",
            Self::Unknown { .. } => "unknown",
        }
    }
}

fn bounded(reason: impl Display) -> String {
    reason.to_string().chars().filter(|c| *c != '\0').take(REASON_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_by_its_name_and_no_two_share_one() {
        for code in Code::ALL {
            assert_eq!(code.name().parse(), Ok(code));
        }
        assert!("Recipient".parse::<Code>().is_err());
    }

    #[test]
    fn what_cannot_be_stored_is_left_out() {
        for (id, kept) in [("a\0b", Some("ab")), ("\0", None)] {
            let kept = kept.map(str::to_owned);
            assert_eq!(Outcome::accepted(id), Outcome::Accepted { provider_message_id: kept });
        }
        assert_eq!(Outcome::unknown("a\0b"), Outcome::Unknown { reason: "ab".into() });
    }

    #[test]
    fn a_reason_is_bounded() {
        let Outcome::Unknown { reason } = Outcome::unknown("x".repeat(10_000)) else { unreachable!() };
        assert_eq!(reason.len(), REASON_CHARACTERS_MAX);
    }
}
