//! Mail that comes in: replies, automatic replies, bounces, complaints, and everything else.
//!
//! A mail is matched to the message it answers by the address it was sent to (the return path of that message), else
//! by `In-Reply-To` and `References`, else by the original that a bounce carries. What kind it is follows from what
//! its sender declares: a report (RFC 3464, RFC 5965) or an automatic answer (RFC 3834, or as `automatic` knows it). Only
//! what declares neither is taken for a person's reply: a sequence must not stop because somebody is on holiday.

mod automatic;
mod heads;
mod html;
mod own_words;
mod parts;
mod report;

use mail_parser::{HeaderForm, HeaderName, HeaderValue, Message, MessageParser};
use sha2::{Digest, Sha256};

use super::smtp::Enhanced;
use crate::channels::listening::is_stop;
use crate::channels::{Code, Reference};

use own_words::own_words;

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
    /// Its own `Message-ID`, or where it has none the hash of all of it: by this a repetition is told.
    pub message_id: Option<String>,
}

/// What a mail is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A person answered.
    Reply {
        /// What it says, as text. Personal data.
        text: Option<String>,
        /// Whether its writer says nothing but to want no more.
        stop: bool,
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

/// Bytes of a mail's text that are looked at.
const TEXT_MAX: usize = 1 << 20;

/// What a mail says, whoever it is for.
#[derive(Clone, Debug)]
pub struct Content {
    report: Option<Report>,
    /// The message that its ids, or the original in a report, name.
    named: Option<Reference>,
    /// Whether it answers any mail.
    answers: bool,
    from_a_server: bool,
    from_a_daemon: bool,
    automatic: bool,
    text: Option<String>,
    stop: bool,
    from: Option<String>,
    message_id: String,
}

impl Content {
    /// Reads a mail; none if it has no head that could be read.
    pub fn of(mail: &[u8]) -> Option<Self> {
        let bounded = heads::bounded(mail);
        let message = MessageParser::default().parse_headers(&*bounded)?;
        let answered = ids(&message, HeaderName::InReplyTo);
        let thread = ids(&message, HeaderName::References);
        let named = answered.iter().chain(&thread).find_map(|id| Reference::of_address(id));
        let parts = parts::of(&bounded);
        let report = report::find(&message, &parts);
        let returned = report.as_ref().and_then(|report| report.reference);
        let message_id = message.message_id().map(str::to_owned);
        let text = parts::text(&parts).map(readable).filter(|text| !text.is_empty());
        Some(Self {
            report: report.map(|report| report.report),
            named: named.or(returned),
            answers: !answered.is_empty() || !thread.is_empty(),
            from_a_server: from_a_server(&message),
            from_a_daemon: from_a_daemon(&message),
            automatic: automatic::is_automatic(&message),
            stop: text.as_deref().is_some_and(|text| is_stop(&own_words(text))),
            text,
            from: message.from().and_then(|from| from.first()?.address().map(str::to_owned)),
            message_id: message_id.unwrap_or_else(|| hex::encode(Sha256::digest(mail))),
        })
    }

    /// What it is if it came from `sender` (empty for the null return path) for `recipient`.
    pub fn received(&self, sender: &str, recipient: &str) -> Incoming {
        let addressed = Reference::of_address(recipient);
        let reference = addressed.or(self.named);
        let answers = reference.is_some() || self.answers;
        let kind = match &self.report {
            Some(Report::Failed { status }) => bounce(status.as_deref()),
            Some(Report::Abuse) => Kind::Complaint,
            Some(Report::Other) => Kind::Other,
            // The null return path declares that nobody is to answer. From a server to an address of ours it is a bounce
            // of one that does not write reports: what exactly failed, it does not say.
            None if sender.is_empty() && addressed.is_some() && self.from_a_server => bounce(None),
            // From anybody else it is an automatic answer, which is to have that return path (RFC 3834, 3.3).
            None if self.automatic || (sender.is_empty() && addressed.is_some()) => {
                if answers {
                    Kind::AutomaticReply
                } else {
                    Kind::Other
                }
            }
            None if sender.is_empty() || self.from_a_daemon => Kind::Other,
            None if answers => Kind::Reply { text: self.text.clone(), stop: self.stop },
            None => Kind::Other,
        };
        Incoming { reference, kind, from: self.from.clone(), message_id: Some(self.message_id.clone()) }
    }
}

/// Long as it may be, because what its writer added may stand below a long quotation.
fn readable(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_MAX));
    text.replace('\0', "")
}

/// Reads a mail that came from `sender` (empty for the null return path) for `recipient`.
pub fn read(sender: &str, recipient: &str, mail: &[u8]) -> Incoming {
    received(Content::of(mail).as_ref(), sender, recipient)
}

/// What a mail is of which this was read.
pub fn received(content: Option<&Content>, sender: &str, recipient: &str) -> Incoming {
    match content {
        Some(content) => content.received(sender, recipient),
        None => Incoming {
            reference: Reference::of_address(recipient),
            kind: Kind::Other,
            from: None,
            message_id: None,
        },
    }
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
///
/// Some programs, Python's own library among them, write an id that does not fit into a line as encoded words. No id may
/// be written so (RFC 2047, section 5), and a person's answer is one all the same.
fn ids(message: &Message<'_>, header: HeaderName<'static>) -> Vec<String> {
    let encoded = message.header_raw(header.clone()).is_some_and(|raw| raw.contains("=?"));
    let form = if encoded { HeaderForm::Text } else { HeaderForm::MessageIds };
    let mut ids = Vec::new();
    for value in message.header_as(header, form) {
        let mut add = |text: &str| {
            let words = text.split(|c: char| c.is_whitespace() || matches!(c, '<' | '>'));
            ids.extend(words.filter(|word| !word.is_empty()).map(str::to_owned));
        };
        match value {
            HeaderValue::Text(text) => add(&text),
            HeaderValue::TextList(texts) => texts.iter().for_each(|text| add(text)),
            _ => (),
        }
    }
    ids.reverse();
    ids
}

/// Whether a mail server wrote it, by its address or by the mark that Exim has.
fn from_a_server(message: &Message<'_>) -> bool {
    from_a_daemon(message) || message.header_raw("X-Failed-Recipients").is_some()
}

fn from_a_daemon(message: &Message<'_>) -> bool {
    let from = message.from().and_then(|from| from.first()?.address()).unwrap_or_default();
    let local = from.split('@').next().unwrap_or_default().to_ascii_lowercase();
    matches!(local.as_str(), "mailer-daemon" | "postmaster")
}
