//! Mail that comes in: replies, automatic replies, bounces, complaints, and everything else.
//!
//! A mail is matched to the message it answers by the address it was sent to (the return path of that message), else
//! by `In-Reply-To` and `References`, else by the original that a bounce carries. What kind it is follows from what
//! its sender declares: a report (RFC 3464, RFC 5965) or an automatic answer (RFC 3834). Only what declares neither
//! is taken for a person's reply: a sequence must not stop because somebody is on holiday.

mod parts;
mod report;

use mail_parser::{HeaderValue, Message, MessageParser};

use super::smtp::Enhanced;
use crate::channels::delivery::beginning;
use crate::channels::{Code, Reference};

pub use report::Report;

/// A mail that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The message that it is about, if it is about one of ours.
    pub reference: Option<Reference>,
    /// What it is.
    pub kind: Kind,
    /// Who wrote it. Personal data.
    pub from: Option<String>,
    /// Its own `Message-ID`, by which a repetition is told.
    pub message_id: Option<String>,
}

/// What a mail is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A person answered.
    Reply {
        /// What it says, as text. Personal data.
        text: Option<String>,
    },
    /// A machine answered: an absence, a ticket number.
    AutomaticReply,
    /// It did not arrive.
    Bounce {
        /// Whether writing there again is pointless.
        permanent: bool,
        /// The enhanced status code, as `5.1.1`.
        status: Option<String>,
        /// Why, for machines.
        code: Code,
    },
    /// The recipient called it spam.
    Complaint,
    /// A delay, a receipt, or mail that answers nothing of ours.
    Other,
}

/// Reads a mail that came from `sender` (empty for the null return path) for `recipient`.
pub fn read(sender: &str, recipient: &str, mail: &[u8]) -> Incoming {
    let addressed = Reference::of_address(recipient);
    let Some(message) = MessageParser::default().parse_headers(mail) else {
        return Incoming { reference: addressed, kind: Kind::Other, from: None, message_id: None };
    };
    let answered = message.in_reply_to();
    let thread = message.references();
    let named = ids(answered).chain(ids(thread)).find_map(Reference::of_address);
    let parts = parts::of(mail);
    let report = report::find(&message, &parts);
    let returned = report.as_ref().and_then(|report| report.reference);
    let reference = addressed.or(named).or(returned);

    let answers = reference.is_some() || ids(answered).chain(ids(thread)).next().is_some();
    let kind = match report.map(|report| report.report) {
        Some(Report::Failed { status }) => bounce(status.as_deref()),
        Some(Report::Abuse) => Kind::Complaint,
        Some(Report::Other) => Kind::Other,
        None if automatic(&message) => {
            if answers {
                Kind::AutomaticReply
            } else {
                Kind::Other
            }
        }
        // The null return path declares that nobody is to answer. To an address of ours it is a bounce of a server
        // that does not write reports: what exactly failed, it does not say.
        None if sender.is_empty() && addressed.is_some() => bounce(None),
        None if sender.is_empty() || from_a_daemon(&message) => Kind::Other,
        None if answers => Kind::Reply {
            text: parts::text(&parts).map(|text| beginning(&text)).filter(|text| !text.is_empty()),
        },
        None => Kind::Other,
    };
    let from = message.from().and_then(|from| from.first()?.address().map(str::to_owned));
    Incoming { reference, kind, from, message_id: message.message_id().map(str::to_owned) }
}

fn bounce(status: Option<&str>) -> Kind {
    let enhanced = status.and_then(Enhanced::parse);
    match enhanced {
        Some(enhanced) if enhanced.0 == 5 => {
            let code = enhanced.refused().unwrap_or(Code::Refused);
            Kind::Bounce { permanent: code == Code::Recipient, status: status.map(str::to_owned), code }
        }
        Some(_) => {
            Kind::Bounce { permanent: false, status: status.map(str::to_owned), code: Code::Unavailable }
        }
        None => Kind::Bounce { permanent: false, status: None, code: Code::Refused },
    }
}

/// The ids of `In-Reply-To` or `References`, the last one first: it is the nearest.
fn ids<'a>(value: &'a HeaderValue<'_>) -> Box<dyn Iterator<Item = &'a str> + 'a> {
    match value {
        HeaderValue::Text(id) => Box::new(std::iter::once(id.as_ref())),
        HeaderValue::TextList(ids) => Box::new(ids.iter().rev().map(AsRef::as_ref)),
        _ => Box::new(std::iter::empty()),
    }
}

/// Whether the mail declares that a machine wrote it (RFC 3834), in one of the forms that machines use.
fn automatic(message: &Message<'_>) -> bool {
    let text = |name: &'static str| message.header_raw(name).map(|value| value.trim().to_ascii_lowercase());
    if text("Auto-Submitted").is_some_and(|value| !value.starts_with("no")) {
        return true;
    }
    if ["X-Autoreply", "X-Autorespond", "X-Auto-Reply-From", "X-Mail-Autoreply"]
        .into_iter()
        .any(|name| text(name).is_some())
    {
        return true;
    }
    text("Precedence").is_some_and(|value| matches!(value.as_str(), "auto_reply" | "bulk" | "junk" | "list"))
}

fn from_a_daemon(message: &Message<'_>) -> bool {
    let from = message.from().and_then(|from| from.first()?.address()).unwrap_or_default();
    let local = from.split('@').next().unwrap_or_default().to_ascii_lowercase();
    matches!(local.as_str(), "mailer-daemon" | "postmaster")
}
