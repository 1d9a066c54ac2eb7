//! WhatsApp's own error codes, from Meta's table of the Cloud API. Some tables of others swap 131026, 131047 and
//! 131051; this is Meta's reading.

use crate::channels::Code;
use crate::channels::graph::Verdict;

/// A day, in seconds: what Meta says to wait where a limit protects people.
const DAY: u64 = 24 * 60 * 60;

/// What a code asks of the sender; nothing, for a code that is not WhatsApp's own.
pub fn verdict(code: i64, _subcode: Option<i64>) -> Option<Verdict> {
    use Verdict::{Rejected, Retry, Unknown};
    Some(match code {
        // Too much at once: of the app, of the number, to this one person.
        80_007 | 130_429 | 133_016 => Retry(Code::RateLimited, None),
        131_056 => Retry(Code::RateLimited, Some(6)),
        // Too much complained about, or too much marketing for this person: not before tomorrow.
        131_048 | 131_049 | 130_472 => Retry(Code::RateLimited, Some(DAY)),
        // Meta's own trouble: the message failed to be sent, or the account is being worked on.
        131_000 | 131_057 => Retry(Code::Unavailable, None),
        // A service of Meta's is not available; whether it had been needed before the message was taken, it does not say.
        131_016 | 133_004 => Unknown,
        131_047 => Rejected(Code::WindowClosed),
        131_050 => Rejected(Code::OptedOut),
        // Not on WhatsApp.
        131_026 => Rejected(Code::Recipient),
        // Oneself, not on the list of a test number, or in a country that this account may not write to: of the address it
        // says nothing.
        131_021 | 131_030 | 130_497 => Rejected(Code::Refused),
        131_005 => Rejected(Code::Credential),
        368 | 131_031 | 131_037 | 131_042 | 131_045 | 133_010 => Rejected(Code::Account),
        // A parameter, the type, the media, the template or the flow in it.
        131_008 | 131_009 | 131_051..=131_053 | 132_000..=132_999 | 135_000 => Rejected(Code::Content),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_the_recipient_and_the_limit_are_not_mixed_up() {
        assert_eq!(verdict(131_047, None), Some(Verdict::Rejected(Code::WindowClosed)));
        assert_eq!(verdict(131_026, None), Some(Verdict::Rejected(Code::Recipient)));
        for about_us in [131_021, 131_030, 130_497] {
            assert_eq!(verdict(about_us, None), Some(Verdict::Rejected(Code::Refused)), "{about_us}");
        }
        assert_eq!(verdict(131_051, None), Some(Verdict::Rejected(Code::Content)));
        assert_eq!(verdict(131_056, None), Some(Verdict::Retry(Code::RateLimited, Some(6))));
        assert_eq!(verdict(131_048, None), Some(Verdict::Retry(Code::RateLimited, Some(DAY))));
        assert_eq!(verdict(190, None), None);
    }
}
