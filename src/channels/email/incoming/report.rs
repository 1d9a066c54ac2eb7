//! Reports: `multipart/report` with the state of a delivery (RFC 3464), or a complaint (RFC 5965).

use mail_parser::{Message, MessageParser, MimeHeaders};

use super::super::smtp::Enhanced;
use super::heads;
use super::parts::Part;
use crate::channels::Reference;

/// What a report says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The mail was given up.
    Failed {
        /// The status of the first recipient who did not get it.
        status: Option<String>,
    },
    /// The recipient complained.
    Abuse,
    /// A delay, a success, a receipt.
    Other,
}

/// A report, and what it is about.
pub struct Found {
    /// What it says.
    pub report: Report,
    /// The message, if the original that it carries is one of ours.
    pub reference: Option<Reference>,
}

/// The report in a mail of these headers and parts, if it is one.
pub fn find(message: &Message<'_>, parts: &[Part<'_>]) -> Option<Found> {
    let root = message.root_part().content_type()?;
    let is_report = root.ctype().eq_ignore_ascii_case("multipart")
        && root.subtype().is_some_and(|subtype| subtype.eq_ignore_ascii_case("report"));
    if !is_report {
        return None;
    }
    let mut report = Report::Other;
    let mut reference = None;
    let mut returned = false;
    for part in parts {
        match part.kind().as_deref() {
            Some("message/delivery-status" | "message/global-delivery-status") => {
                let groups = groups(&part.contents());
                report = delivery(&groups);
                let envelope = groups.first().and_then(|group| field(group, "original-envelope-id"));
                reference = reference.or_else(|| envelope?.parse().ok());
            }
            Some("message/feedback-report") => {
                let groups = groups(&part.contents());
                let kind = groups.first().and_then(|group| field(group, "feedback-type")).unwrap_or_default();
                // Everything else a mailbox provider reports this way is no wish of the recipient's.
                report = match kind.to_ascii_lowercase().as_str() {
                    "abuse" | "fraud" | "opt-out" | "opt-out-list" => Report::Abuse,
                    _ => Report::Other,
                };
            }
            // A report has one (RFC 6522, 3).
            Some("message/rfc822" | "message/global" | "text/rfc822-headers" | "message/global-headers")
                if !returned =>
            {
                returned = true;
                reference = reference.or_else(|| original(part));
            }
            _ => (),
        }
    }
    Some(Found { report, reference })
}

/// The message that the returned mail, or its head, was.
fn original(part: &Part<'_>) -> Option<Reference> {
    let contents = part.contents();
    let bounded = heads::bounded(&contents);
    let parsed = MessageParser::default().parse_headers(&*bounded)?;
    parsed.message_id().and_then(Reference::of_address)
}

fn delivery(groups: &[Vec<(String, String)>]) -> Report {
    // The first group is about the report; each that follows is about one recipient.
    for group in groups {
        // A comment may follow the word.
        let action = field(group, "action").and_then(|action| action.split(['(', ' ', '\t']).next());
        if action.is_some_and(|action| action.eq_ignore_ascii_case("failed")) {
            // A comment may follow the code.
            let status = field(group, "status").and_then(|status| status.split_whitespace().next());
            let said = field(group, "diagnostic-code").and_then(|diagnostic| enhanced_in(diagnostic));
            // Some servers, Exim among them, only say that it failed, and leave why to what they were told.
            let status = match (status, said) {
                (None, Some(said)) => Some(said),
                (Some(vague), Some(said)) if vague.ends_with(".0.0") && vague.get(..1) == said.get(..1) => {
                    Some(said)
                }
                (status, _) => status,
            };
            return Report::Failed { status: status.map(str::to_owned) };
        }
    }
    Report::Other
}

/// The enhanced status code that follows the reply code in a diagnostic: `smtp; 550 5.1.1 …` or `smtp; 550-5.1.1 …`.
fn enhanced_in(diagnostic: &str) -> Option<&str> {
    let mut words = diagnostic.split(|c: char| c.is_whitespace() || matches!(c, ';' | '-'));
    let is_reply = |word: &str| word.len() == 3 && word.starts_with(['4', '5']);
    words.find(|word| is_reply(word) && word.bytes().all(|byte| byte.is_ascii_digit()))?;
    let code = words.find(|word| !word.is_empty())?.trim_end_matches([':', ',']);
    Enhanced::parse(code).map(|_| code)
}

fn field<'a>(group: &'a [(String, String)], name: &str) -> Option<&'a str> {
    group.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}

/// Fields in groups that empty lines divide; names in lower case, values unfolded.
fn groups(contents: &[u8]) -> Vec<Vec<(String, String)>> {
    let text = String::from_utf8_lossy(contents).replace('\0', "");
    let mut groups = vec![Vec::<(String, String)>::new()];
    for line in text.lines().take(2_000) {
        if line.trim().is_empty() {
            if groups.last().is_some_and(|group| !group.is_empty()) {
                groups.push(Vec::new());
            }
            continue;
        }
        let Some(group) = groups.last_mut() else { continue };
        match (line.starts_with([' ', '\t']), group.last_mut(), line.split_once(':')) {
            (true, Some((_, value)), _) => {
                value.push(' ');
                value.push_str(line.trim());
            }
            (false, _, Some((name, value))) => {
                group.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
            }
            _ => (),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_told_also_with_a_comment() {
        for (action, failed) in [
            ("failed", true),
            ("Failed", true),
            ("failed (permanently)", true),
            ("failed(permanently)", true),
            ("delayed", false),
            ("(failed)", false),
            ("", false),
        ] {
            let report = format!("Reporting-MTA: dns; mx.example\n\nAction: {action}\nStatus: 5.1.1\n");
            let found = delivery(&groups(report.as_bytes()));
            assert_eq!(matches!(found, Report::Failed { .. }), failed, "{action}: {found:?}");
        }
    }
}
