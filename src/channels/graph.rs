//! What WhatsApp and Instagram have in common: Meta's Graph API.
//!
//! An error is told by its `code`; titles and messages change and are only repeated. The codes that both share are
//! judged here, each channel's own ones beside it.

use serde::Deserialize;

use super::http::Answer;
use super::said::said;
use super::{Code, Outcome};

/// The version of the API that is spoken.
pub const VERSION: &str = "v23.0";

/// The body of a refusal.
#[derive(Debug, Deserialize)]
struct Envelope {
    error: GraphError,
}

/// What Graph says went wrong.
#[derive(Debug, Deserialize)]
pub struct GraphError {
    /// What, in words.
    #[serde(default)]
    pub message: String,
    /// What, as a number.
    pub code: i64,
    /// What exactly, where there is more to say.
    #[serde(default)]
    pub error_subcode: Option<i64>,
    /// Whether it may go away by itself.
    #[serde(default)]
    pub is_transient: bool,
    #[serde(default)]
    error_data: Option<ErrorData>,
}

#[derive(Debug, Deserialize)]
struct ErrorData {
    #[serde(default)]
    details: String,
}

/// What a code asks of the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Give up.
    Rejected(Code),
    /// Come again, after so many seconds at least.
    Retry(Code, Option<u64>),
    /// Something broke, and it is not said whether that was before the message was taken.
    Unknown,
}

/// The outcome that an answer without success gives. `own` knows the channel's own codes; it is asked first.
pub fn refusal(
    provider: &str,
    answer: &Answer,
    never: &[&str],
    own: impl Fn(i64, Option<i64>) -> Option<Verdict>,
) -> Outcome {
    let Some(Envelope { error }) = answer.json() else { return answer.by_status(provider) };
    let details = error.error_data.as_ref().map_or(error.message.as_str(), |data| data.details.as_str());
    let subcode = error.error_subcode.map(|subcode| format!("/{subcode}")).unwrap_or_default();
    let reason = format!("{provider} answered {}{subcode}: {}", error.code, said(details, never));
    match own(error.code, error.error_subcode).or_else(|| shared(&error)) {
        Some(Verdict::Rejected(code)) => Outcome::rejected(code, reason),
        Some(Verdict::Retry(code, seconds)) => {
            let after = answer.after.or_else(|| seconds.map(std::time::Duration::from_secs));
            Outcome::retry_after(code, reason, after)
        }
        Some(Verdict::Unknown) => Outcome::unknown(reason),
        // A code that nobody documented: the status decides whether it is a refusal.
        None => match answer.by_status(provider) {
            Outcome::Rejected { code, .. } => Outcome::rejected(code, reason),
            Outcome::Retry { code, after, .. } => Outcome::retry_after(code, reason, after),
            Outcome::Unknown { .. } | Outcome::Accepted { .. } => Outcome::unknown(reason),
        },
    }
}

/// The codes of Graph itself.
fn shared(error: &GraphError) -> Option<Verdict> {
    Some(match error.code {
        // "Possibly a temporary issue": nothing is said of what had been done by then.
        1 if error.is_transient => Verdict::Unknown,
        // Down or overloaded, which Graph documents as "wait and retry the operation".
        2 => Verdict::Retry(Code::Unavailable, None),
        4 | 17 | 32 | 613 => Verdict::Retry(Code::RateLimited, None),
        0 | 3 | 10 | 102 | 104 | 190 | 200..=299 => Verdict::Rejected(Code::Credential),
        // What was addressed does not exist, or not for this token: the sender's number, of all that a message names.
        33 | 803 => Verdict::Rejected(Code::Configuration),
        100 if error.error_subcode == Some(33) => Verdict::Rejected(Code::Configuration),
        100 => Verdict::Rejected(Code::Content),
        368 => Verdict::Rejected(Code::Account),
        _ => return None,
    })
}
