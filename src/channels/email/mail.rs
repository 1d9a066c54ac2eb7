//! Writing a letter as mail.

use std::time::{Duration, UNIX_EPOCH};

use email_encoding::headers::rfc2047;
use email_encoding::headers::writer::EmailWriter;
use lettre::address::{Address, Envelope};
use lettre::message::Message;
use lettre::message::header::{ContentType, HeaderName, HeaderValue, Headers};
use lettre::message::{Mailbox, MultiPart, SinglePart};

use super::{Letter, dkim, is_structured};
use crate::channels::{Code, Outcome, Outgoing};

/// Octets of a line without its end, at most (RFC 5322, 2.1.1).
pub(super) const LINE_MAX: usize = 998;

/// A mail as it goes over the wire, and who it goes to.
pub struct Mail {
    /// From the return path to the recipient.
    pub envelope: Envelope,
    /// Head and body, lines ended by CRLF.
    pub bytes: Vec<u8>,
    /// Its `Message-ID`, with its angle brackets.
    pub message_id: String,
}

/// Writes the mail, and signs it where the outbox says so. The same message gives the same `Message-ID` every time.
pub fn write(outgoing: &Outgoing, letter: &Letter) -> Result<Mail, Outcome> {
    let settings = &letter.settings;
    let configured =
        |_| Outcome::rejected(Code::Configuration, "the outbox's fromAddress cannot be written from");
    let from: Address = settings.from_address.parse().map_err(configured)?;
    let to: Address = outgoing.to.address.parse().map_err(|_| {
        Outcome::rejected(Code::Recipient, "the recipient's e-mail address cannot be written to")
    })?;
    let return_path = match &settings.return_path_domain {
        Some(domain) => outgoing.reference.return_path(domain).parse().map_err(configured)?,
        None => from.clone(),
    };
    let message_id = outgoing.reference.message_id(settings.domain());

    let millis = u64::try_from(outgoing.at.millis()).unwrap_or_default();
    let mut builder = Message::builder()
        .from(Mailbox::new(display_name(settings.from_name.as_deref()), from))
        .to(Mailbox::new(display_name(outgoing.to.name.as_deref()), to.clone()))
        .raw_header(unstructured(HeaderName::new_from_ascii_str("Subject"), &letter.payload.subject))
        .date(UNIX_EPOCH + Duration::from_millis(millis))
        .message_id(Some(message_id.clone()));
    if let Some(reply_to) = letter.payload.reply_to.as_ref().or(settings.reply_to.as_ref()) {
        let reply_to = reply_to
            .parse()
            .map_err(|_| Outcome::rejected(Code::Content, "the address for answers cannot be written to"))?;
        builder = builder.reply_to(Mailbox::new(None, reply_to));
    }
    for (name, value) in &letter.payload.headers {
        let name = HeaderName::new_from_ascii(name.clone())
            .map_err(|_| Outcome::rejected(Code::Content, "a header has an impossible name"))?;
        builder = builder.raw_header(unstructured(name, value));
    }
    if let Some(url) = &letter.unsubscribe {
        for (name, value) in unsubscribe_headers(url)? {
            // An address has no place where a line may be folded, and an encoded one is none: as it stands.
            let name = HeaderName::new_from_ascii_str(name);
            let raw = HeaderValue::dangerous_new_pre_encoded(name, value.clone(), value);
            builder = builder.raw_header(raw);
        }
    }
    let single = |kind: ContentType, body: &str| SinglePart::builder().header(kind).body(with_crlf(body));
    let built = match (&letter.payload.text, &letter.payload.html) {
        (Some(text), Some(html)) => builder.multipart(
            MultiPart::alternative()
                .singlepart(single(ContentType::TEXT_PLAIN, text))
                .singlepart(single(ContentType::TEXT_HTML, html)),
        ),
        (Some(text), None) => builder.singlepart(single(ContentType::TEXT_PLAIN, text)),
        (None, Some(html)) => builder.singlepart(single(ContentType::TEXT_HTML, html)),
        (None, None) => return Err(Outcome::rejected(Code::Content, "the mail has no body")),
    };
    let written =
        built.map_err(|_| Outcome::rejected(Code::Content, "the mail cannot be written"))?.formatted();
    let bytes = match &settings.dkim {
        None => written,
        Some(dkim) => {
            let missing = || Outcome::rejected(Code::Configuration, "the outbox's DKIM key is missing");
            let key = letter.dkim_key.as_ref().ok_or_else(missing)?;
            let key = dkim::Key::parse(key).map_err(|error| Outcome::rejected(Code::Configuration, error))?;
            dkim::sign(&key, &dkim.domain, &dkim.selector, outgoing.at, &written)
                .map_err(|error| Outcome::rejected(Code::Configuration, error))?
        }
    };
    let envelope = Envelope::new(Some(return_path), vec![to])
        .map_err(|_| Outcome::rejected(Code::Recipient, "the mail has no recipient"))?;
    Ok(Mail { envelope, bytes, message_id })
}

/// A header of free text. The mail library folds between words and encodes those that are not ASCII, but leaves an ASCII
/// word in one piece however long it is, and also where it looks like an encoded word (RFC 2047) itself: whoever approved
/// `=?utf-8?b?…?=` did not see what a reader makes of it. Where a line would be too long for mail, or anything could be taken
/// for an encoded word, the whole text is written as encoded words, which are read back as what it was.
fn unstructured(name: HeaderName, text: &str) -> HeaderValue {
    let value = HeaderValue::new(name.clone(), text.to_owned());
    let mut alone = Headers::new();
    alone.insert_raw(value.clone());
    let fits = alone.to_string().lines().all(|line| line.len() <= LINE_MAX);
    let read_as_it_stands = !text.contains("=?") || is_structured(&name);
    if fits && read_as_it_stands {
        return value;
    }
    let mut encoded = String::new();
    let mut writer = EmailWriter::new(&mut encoded, name.len() + ": ".len(), 0, false);
    let written = rfc2047::encode(text, &mut writer);
    drop(writer);
    match written {
        Ok(()) => HeaderValue::dangerous_new_pre_encoded(name, text.to_owned(), encoded),
        Err(_) => value,
    }
}

/// A name beside an address, where it says what a reader will see: none with controls, and none that could be taken for an
/// encoded word (RFC 2047), which the mail library would leave as it stands. The address goes without it then.
pub(super) fn display_name(name: Option<&str>) -> Option<String> {
    name.filter(|name| !name.contains("=?") && !name.chars().any(char::is_control)).map(str::to_owned)
}

/// The two headers of RFC 8058, for an address that they can hold.
pub fn unsubscribe_headers(url: &str) -> Result<[(&'static str, String); 2], Outcome> {
    let plain =
        url.len() <= 900 && url.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b','));
    if !plain || !(url.starts_with("https://") || url.starts_with("http://")) {
        return Err(Outcome::rejected(
            Code::Configuration,
            "the address for unsubscribing cannot stand in a header",
        ));
    }
    Ok([
        ("List-Unsubscribe", format!("<{url}>")),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".to_owned()),
    ])
}

/// Every kind of line end as the one that mail has. A lone CR or LF in a body is how a second mail is smuggled in.
fn with_crlf(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::{Content, LastHeard, Recipient, Reference, Secret};
    use docket_aggregates::Timestamp;
    use docket_aggregates::channel::Channel;
    use docket_aggregates::ids::OrganizationId;
    use serde_json::{Value, json};
    use uuid::Uuid;

    fn outgoing(config: &Value, payload: &Value) -> Outgoing {
        let at: Timestamp = "2026-11-21T18:00:00Z".parse().unwrap();
        Outgoing {
            reference: Reference {
                organization: OrganizationId(Uuid::from_u128(1)),
                message: Uuid::from_u128(2),
            },
            at,
            to: Recipient { address: "ada@example.org".into(), name: Some("Ada Löwe".into()) },
            content: Content::read(Channel::Email, config, payload, at).unwrap(),
            credential: Secret::new("smtp://mail.example.com".into()),
            last_heard: LastHeard::NotTracked,
            within: Duration::from_secs(1),
        }
    }

    fn mail(config: Value, payload: Value, unsubscribe: Option<&str>) -> Result<(Mail, String), Outcome> {
        let mut outgoing = outgoing(&config, &payload);
        let Content::Email(letter) = &mut outgoing.content else { unreachable!() };
        letter.unsubscribe = unsubscribe.map(Into::into);
        let letter = letter.clone();
        let mail = write(&outgoing, &letter)?;
        let text = String::from_utf8(mail.bytes.clone()).unwrap();
        Ok((mail, text))
    }

    #[test]
    fn a_mail_says_who_writes_to_whom_and_where_it_comes_back() {
        let config = json!({ "fromAddress": "ops@example.com", "fromName": "Ops", "returnPathDomain": "b.example.com" });
        let payload = json!({ "subject": "Grüße", "text": "a\nb\r\n.\r\nc", "html": "<p>a</p>", "headers": { "X-A": "b" } });
        let (mail, text) = mail(config, payload, Some("https://d.example.com/u/tok")).unwrap();
        let reference = "dkt-aaaaaaaaaaaaaaaaaaaaaaaaab-aaaaaaaaaaaaaaaaaaaaaaaaac";
        assert_eq!(mail.envelope.from().unwrap().to_string(), format!("{reference}@b.example.com"));
        assert_eq!(mail.envelope.to()[0].to_string(), "ada@example.org");
        assert_eq!(mail.message_id, format!("<{reference}@example.com>"));
        for line in [
            format!("Message-ID: <{reference}@example.com>"),
            "From: Ops <ops@example.com>".into(),
            "Date: Sat, 21 Nov 2026 18:00:00 +0000".into(),
            "X-A: b".into(),
            "List-Unsubscribe: <https://d.example.com/u/tok>".into(),
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click".into(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(text.contains("multipart/alternative"));
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "no lone line feed");
        assert_eq!(text.matches('\r').count(), text.matches("\r\n").count(), "no lone carriage return");
    }

    #[test]
    fn the_unsubscribe_address_is_never_folded_or_encoded() {
        let long = format!("https://d.example.com/u/{}", "x".repeat(300));
        let config = json!({ "fromAddress": "ops@example.com" });
        let (_, text) = mail(config.clone(), json!({ "subject": "a", "text": "b" }), Some(&long)).unwrap();
        assert!(text.lines().any(|line| line == format!("List-Unsubscribe: <{long}>")), "{text}");
        for bad in ["mailto:a@b", "https://a b", "https://a>,<mailto:b", "https://é.example"] {
            let refused =
                mail(config.clone(), json!({ "subject": "a", "text": "b" }), Some(bad)).err().unwrap();
            assert!(matches!(refused, Outcome::Rejected { code: Code::Configuration, .. }), "{bad}");
        }
    }

    #[test]
    fn no_line_of_the_head_is_too_long_for_mail() {
        for text in [
            "x".repeat(989),
            "x".repeat(990),
            "x".repeat(998),
            format!("{} {}", "x".repeat(498), "y".repeat(499)),
            format!("a{}b", " ".repeat(996)),
            format!("a {}", "x".repeat(996)),
            format!("é {}", "x".repeat(996)),
            "é".repeat(998),
            "a b ".repeat(249),
        ] {
            let payload = json!({ "subject": text, "text": "b", "headers": { "X-Long-Winded": text, "Organization": text } });
            let (mail, written) = mail(json!({ "fromAddress": "ops@example.com" }), payload, None).unwrap();
            let longest = written.lines().map(str::len).max().unwrap();
            assert!(longest <= LINE_MAX, "a line of {longest} octets: {text}");
            let read = mail_parser::MessageParser::default().parse(&mail.bytes).unwrap();
            // Runs of spaces are the reader's to keep or to fold.
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(read.subject().map(words), Some(words(&text)));
            for name in ["X-Long-Winded", "Organization"] {
                let [value] = &read.header_as(name, mail_parser::HeaderForm::Text)[..] else {
                    panic!("{name}")
                };
                assert_eq!(value.as_text().map(words), Some(words(&text)), "{name}");
            }
        }
    }

    #[test]
    fn what_looks_encoded_is_read_as_it_was_seen() {
        for text in
            ["=?utf-8?b?QnV5IHBpbGxzIG5vdw==?=", "Grüße =?utf-8?q?Buy_pills?= and on", "is 1 =? 2", "=?"]
        {
            let headers = json!({ "X-A": text, "Keywords": text });
            let payload = json!({ "subject": text, "text": "b", "headers": headers });
            let (mail, written) = mail(json!({ "fromAddress": "ops@example.com" }), payload, None).unwrap();
            let read = mail_parser::MessageParser::default().parse(&mail.bytes).unwrap();
            assert_eq!(read.subject(), Some(text), "{written}");
            for name in ["X-A", "Keywords"] {
                let [value] = &read.header_as(name, mail_parser::HeaderForm::Text)[..] else {
                    panic!("{name}")
                };
                assert_eq!(value.as_text(), Some(text), "{written}");
            }
        }
        // What machines read is as it was given.
        let references = json!({ "References": "<a=?b@example.com>" });
        let payload = json!({ "subject": "a", "text": "b", "headers": references });
        let (_, written) = mail(json!({ "fromAddress": "ops@example.com" }), payload, None).unwrap();
        assert!(written.contains("References: <a=?b@example.com>\r\n"), "{written}");
    }

    #[test]
    fn a_name_that_looks_encoded_is_left_out() {
        let config = json!({ "fromAddress": "ops@example.com", "fromName": "=?utf-8?b?WW91ciBiYW5r?=" });
        let mut outgoing = outgoing(&config, &json!({ "subject": "a", "text": "b" }));
        outgoing.to.name = Some("Ada =?utf-8?q?L=C3=B6we?=".into());
        let Content::Email(letter) = outgoing.content.clone() else { unreachable!() };
        let written = String::from_utf8(write(&outgoing, &letter).unwrap().bytes).unwrap();
        assert!(written.contains("From: ops@example.com\r\nTo: ada@example.org\r\n"), "{written}");
    }

    #[test]
    fn a_mail_whose_key_is_missing_does_not_leave_unsigned() {
        let config = json!({ "fromAddress": "ops@example.com",
            "dkim": { "domain": "example.com", "selector": "s", "keyRef": "secret://dkim:1" } });
        let refused = mail(config, json!({ "subject": "a", "text": "b" }), None).err().unwrap();
        assert!(matches!(refused, Outcome::Rejected { code: Code::Configuration, .. }));
    }
}
