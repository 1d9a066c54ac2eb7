//! HTML as text that can be read like a text: what is a line or a quotation to who reads it is one here, too.
//!
//! The library leaves out tags, and with them the end of a line between two blocks: `<div>Yes</div><div>On …` would be
//! one word. So a line break goes before each block, and what stands in a `blockquote` gets the mark that mail of text has.

use std::fmt::Write as _;

use mail_parser::decoders::html::html_to_text;

/// Elements that stand on lines of their own.
const BLOCKS: [&str; 21] = [
    "address", "article", "div", "dl", "dt", "dd", "footer", "form", "h1", "h2", "h3", "h4", "header", "hr",
    "li", "ol", "p", "pre", "table", "tr", "ul",
];

/// The text of it; quotations have `> ` before each line.
pub fn readable(html: &str) -> String {
    let mut text = String::new();
    let mut segment = String::new();
    let mut depth = 0_usize;
    let mut rest = html;
    while let Some(at) = memchr::memchr(b'<', rest.as_bytes()) {
        let (before, tag) = rest.split_at(at);
        segment.push_str(before);
        if let Some(length) =
            tag.strip_prefix("<!--").map(|_| tag.find("-->").map_or(tag.len(), |end| end + 3))
        {
            rest = &tag[length..];
            continue;
        }
        let closing = tag[1..].starts_with('/');
        let name = &tag[1 + usize::from(closing)..];
        let name = &name[..name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len())];
        if name.eq_ignore_ascii_case("blockquote") {
            write(&mut text, &std::mem::take(&mut segment), depth > 0);
            depth = if closing { depth.saturating_sub(1) } else { depth + 1 };
        } else if BLOCKS.iter().any(|block| name.eq_ignore_ascii_case(block)) {
            segment.push_str("<br>");
        }
        segment.push('<');
        rest = &tag[1..];
    }
    segment.push_str(rest);
    write(&mut text, &segment, depth > 0);
    text
}

/// Adds the text of a stretch of HTML, with one empty line at most between others.
fn write(text: &mut String, html: &str, quoted: bool) {
    let mark = if quoted { "> " } else { "" };
    let mut gap = false;
    for line in html_to_text(html).lines().map(str::trim) {
        if line.is_empty() {
            gap = !text.is_empty();
            continue;
        }
        if std::mem::take(&mut gap) && !text.ends_with("\n\n") {
            text.push('\n');
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{mark}{line}");
    }
}
