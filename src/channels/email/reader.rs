//! A mail as the person sees it who got it, and the answer that they write.
//!
//! Nothing of the product reads its own mail. This is for whoever plays the recipient: the test mailbox of the demo.

use lettre::message::Message;
use lettre::message::header::ContentType;
use mail_parser::MessageParser;
use serde::Serialize;

use crate::channels::delivery::beginning;

/// What a person sees of a mail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Who wrote it.
    pub from: String,
    /// Where an answer goes, if not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// What it is about.
    pub subject: String,
    /// What it says, its beginning; of HTML, what is left as text.
    pub text: String,
    /// When it was written, as RFC 3339 has it.
    pub date: String,
    /// The address that unsubscribes, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsubscribe: Option<String>,
    /// Its `Message-ID`, without angle brackets.
    pub message_id: String,
}

/// Reads a mail; of one that cannot be read nothing is seen.
pub fn read(mail: &[u8]) -> Seen {
    let Some(message) = MessageParser::default().parse(mail) else { return Seen::default() };
    let address = |found: Option<&mail_parser::Address<'_>>| {
        found.and_then(|found| found.first()?.address()).map(str::to_owned)
    };
    let unsubscribe = message.header_raw("List-Unsubscribe").and_then(|value| {
        let (_, rest) = value.split_once('<')?;
        Some(rest.split_once('>')?.0.to_owned())
    });
    Seen {
        from: address(message.from()).unwrap_or_default(),
        reply_to: address(message.reply_to()),
        subject: message.subject().unwrap_or_default().to_owned(),
        text: message.body_text(0).map(|text| beginning(&text)).unwrap_or_default(),
        date: message.date().map(mail_parser::DateTime::to_rfc3339).unwrap_or_default(),
        unsubscribe,
        message_id: message.message_id().unwrap_or_default().to_owned(),
    }
}

impl Seen {
    /// Where an answer goes.
    pub fn answered_at(&self) -> &str {
        self.reply_to.as_deref().unwrap_or(&self.from)
    }

    /// The answer of whoever got it at this address, as mail; none if one of the addresses cannot be written.
    pub fn answer(&self, from: &str, text: &str) -> Option<Vec<u8>> {
        let id = format!("<{}>", self.message_id);
        let answer = Message::builder()
            .from(from.parse().ok()?)
            .to(self.answered_at().parse().ok()?)
            .subject(format!("Re: {}", self.subject))
            .in_reply_to(id.clone())
            .references(id)
            .header(ContentType::TEXT_PLAIN)
            .body(text.to_owned());
        Some(answer.ok()?.formatted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::email::incoming::{self, Kind};

    const MAIL: &str = "From: Ops <ops@example.com>\r\nTo: ann@example.org\r\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n\
        Date: Sat, 21 Nov 2026 18:00:00 +0000\r\nMessage-ID: <dkt-aaaaaaaaaaaaaaaaaaaaaaaaab-aaaaaaaaaaaaaaaaaaaaaaaaac@example.com>\r\n\
        List-Unsubscribe: <https://d.example.com/u/tok>\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHello.\r\n";

    #[test]
    fn a_person_sees_what_was_written() {
        let seen = read(MAIL.as_bytes());
        assert_eq!((seen.from.as_str(), seen.subject.as_str()), ("ops@example.com", "Grüße"));
        assert_eq!((seen.text.trim_end(), seen.date.as_str()), ("Hello.", "2026-11-21T18:00:00Z"));
        assert_eq!(seen.unsubscribe.as_deref(), Some("https://d.example.com/u/tok"));
        assert_eq!(read(b""), Seen::default());
    }

    #[test]
    fn an_answer_is_told_for_one() {
        let answer = read(MAIL.as_bytes()).answer("ann@example.org", "Yes.\n.\nÀ bientôt").unwrap();
        let incoming = incoming::read("ann@example.org", "ops@example.com", &answer);
        assert!(matches!(incoming.kind, Kind::Reply { text: Some(text), .. } if text.contains("À bientôt")));
        assert!(incoming.reference.is_some());
    }
}
