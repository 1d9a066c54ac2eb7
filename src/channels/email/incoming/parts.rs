//! The parts of a mail, one level deep.
//!
//! A mail comes from strangers, and MIME lets it hold mails that hold mails. The library would build them all, one inside
//! the other, and building, copying or dropping as many as fit into 10 MiB needs more stack than a thread has: the
//! process ends. So the parts are told apart here, with a list of what is still to be looked at instead of a call inside a
//! call, and the library reads headers, or one part of text. It is never given a part of which it could make others, and
//! a mail inside the mail stays bytes. Parts, levels and heads are bounded; what is beyond is not looked at.

use std::borrow::Cow;
use std::ops::Range;

use mail_parser::parsers::MessageStream;
use mail_parser::{ContentType, Header, HeaderName, HeaderValue, MessageParser, PartType};

use super::heads;
use super::html::readable;

/// Parts of a mail that are looked at.
const PARTS_MAX: usize = 200;
/// Bytes of the head of a part inside the mail. Two long names of a file, in its type and its disposition, come to 5 000.
const HEAD_MAX: usize = 8 * 1024;
/// Multiparts inside multiparts. Writing programs come to four or five.
const LEVELS_MAX: usize = 20;

/// A part of a mail that holds no other parts, or whose other parts are not looked at.
pub struct Part<'a> {
    headers: Vec<Header<'a>>,
    /// Headers and body, as they came.
    raw: &'a [u8],
    body: &'a [u8],
    /// In a `multipart/digest`, what declares no type is a mail.
    in_digest: bool,
    /// Which `multipart/alternative` it is in, the outermost one.
    alternative: Option<usize>,
    alone: bool,
}

/// The parts of a mail, of which the head is bounded, in their order, without the multiparts that hold them.
pub fn of(mail: &[u8]) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut alternatives = 0;
    let mut looked_at = 0;
    let mut pending = vec![Pending { raw: mail, level: 0, in_digest: false, alternative: None }];
    while let Some(next) = pending.pop() {
        looked_at += 1;
        if looked_at > PARTS_MAX {
            break;
        }
        if next.level > 0 && !heads::is_plain(next.raw, HEAD_MAX) {
            continue;
        }
        let mut stream = MessageStream::new(next.raw);
        let mut headers = Vec::new();
        stream.parse_headers(&MessageParser::default(), &mut headers);
        let body = next.raw.get(stream.offset()..).unwrap_or_default();
        let declared = content_type(&headers);
        let inside = match declared.and_then(|kind| boundary(kind).zip(Some(kind))) {
            Some((boundary, kind)) if next.level < LEVELS_MAX => {
                let most = PARTS_MAX.saturating_sub(looked_at + pending.len());
                let inside = between(body, boundary.as_bytes(), most);
                let subtype = kind.subtype().unwrap_or_default().to_owned();
                (!inside.is_empty()).then_some((inside, subtype))
            }
            _ => None,
        };
        let Some((inside, subtype)) = inside else {
            let Pending { raw, level, in_digest, alternative } = next;
            parts.push(Part { headers, raw, body, in_digest, alternative, alone: level == 0 });
            continue;
        };
        let alternative = next.alternative.or_else(|| {
            alternatives += 1;
            subtype.eq_ignore_ascii_case("alternative").then_some(alternatives)
        });
        let in_digest = subtype.eq_ignore_ascii_case("digest");
        let level = next.level + 1;
        // The first one is taken next.
        pending.extend(inside.into_iter().rev().map(|range| Pending {
            raw: body.get(range).unwrap_or_default(),
            level,
            in_digest,
            alternative,
        }));
    }
    parts
}

/// What a person reads first: the first text that is no attachment, and of alternatives the plain one.
pub fn text(parts: &[Part<'_>]) -> Option<String> {
    let first = parts.iter().find(|part| part.is_read())?;
    let plainer = parts
        .iter()
        .find(|part| part.alternative.is_some() && part.alternative == first.alternative && part.is_plain());
    plainer.unwrap_or(first).text()
}

impl Part<'_> {
    /// The type that it declares, in lower case.
    pub fn kind(&self) -> Option<String> {
        let kind = content_type(&self.headers)?;
        Some(format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default()).to_ascii_lowercase())
    }

    /// Its body, with the encoding for the way taken off.
    pub fn contents(&self) -> Cow<'_, [u8]> {
        let encoding = match header(&self.headers, &HeaderName::ContentTransferEncoding) {
            Some(HeaderValue::Text(encoding)) => encoding.as_ref(),
            _ => "",
        };
        let mut stream = MessageStream::new(self.body);
        let (end, decoded) = if encoding.eq_ignore_ascii_case("base64") {
            stream.decode_base64_mime(b"")
        } else if encoding.eq_ignore_ascii_case("quoted-printable") {
            stream.decode_quoted_printable_mime(b"")
        } else {
            return self.body.into();
        };
        // What cannot be decoded is taken as it is.
        if end == usize::MAX { self.body.into() } else { decoded }
    }

    fn is_read(&self) -> bool {
        let kind = content_type(&self.headers);
        let disposition = header(&self.headers, &HeaderName::ContentDisposition);
        let attached =
            disposition.and_then(HeaderValue::as_content_type).is_some_and(ContentType::is_attachment);
        let named = kind.is_some_and(|kind| kind.has_attribute("name"));
        (self.is_plain() || self.is_text_of("html")) && !attached && (self.alone || !named)
    }

    fn is_plain(&self) -> bool {
        self.is_text_of("plain") || (content_type(&self.headers).is_none() && !self.in_digest)
    }

    /// As the library spells and compares it: what is text here is text to it, and neither a multipart nor a mail.
    fn is_text_of(&self, subtype: &str) -> bool {
        content_type(&self.headers)
            .is_some_and(|kind| kind.ctype() == "text" && kind.subtype() == Some(subtype))
    }

    fn text(&self) -> Option<String> {
        let message = MessageParser::default().parse(self.raw)?;
        match &message.parts.first()?.body {
            PartType::Text(text) => Some(text.clone().into_owned()),
            PartType::Html(html) => Some(readable(html)),
            _ => None,
        }
    }
}

/// What is still to be looked at.
struct Pending<'a> {
    raw: &'a [u8],
    level: usize,
    in_digest: bool,
    alternative: Option<usize>,
}

/// The value that the library would go by: the last one that is declared.
fn header<'h, 'a>(headers: &'h [Header<'a>], name: &HeaderName<'_>) -> Option<&'h HeaderValue<'a>> {
    headers.iter().rev().find(|header| &header.name == name).map(|header| &header.value)
}

fn content_type<'h, 'a>(headers: &'h [Header<'a>]) -> Option<&'h ContentType<'a>> {
    header(headers, &HeaderName::ContentType).and_then(HeaderValue::as_content_type)
}

fn boundary<'h>(kind: &'h ContentType<'_>) -> Option<&'h str> {
    let multipart = kind.ctype().eq_ignore_ascii_case("multipart");
    kind.attribute("boundary").filter(|boundary| multipart && !boundary.is_empty())
}

/// Where the parts lie between the lines of a boundary (RFC 2046, 5.1.1), at most so many. The last one may be cut off.
fn between(body: &[u8], boundary: &[u8], most: usize) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut begun = None;
    let mut line_at = 0;
    while line_at < body.len() && found.len() < most {
        let rest = &body[line_at..];
        let line = memchr::memchr(b'\n', rest).map_or(rest, |end| &rest[..=end]);
        let after = line.strip_prefix(b"--").and_then(|line| line.strip_prefix(boundary));
        let after =
            after.map(<[u8]>::trim_ascii).filter(|after| after.is_empty() || after.starts_with(b"--"));
        if let Some(after) = after {
            // The end of the line before belongs to the boundary.
            found.extend(begun.map(|begun| begun..line_end_before(body, line_at).max(begun)));
            begun = Some(line_at + line.len());
            if after.starts_with(b"--") {
                return found;
            }
        }
        line_at += line.len();
    }
    if found.len() < most {
        found.extend(begun.map(|begun| begun..body.len()));
    }
    found
}

fn line_end_before(body: &[u8], at: usize) -> usize {
    let before = &body[..at];
    let before = before.strip_suffix(b"\n").unwrap_or(before);
    before.strip_suffix(b"\r").unwrap_or(before).len()
}
