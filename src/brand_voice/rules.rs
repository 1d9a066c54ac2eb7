//! The rules that need no model: what reads as a mistake, as a shout or as spam in any company's messages.
//!
//! Same text, same issues, on every machine. `docs/brand-voice.md` lists the rules; a change of one is a new
//! [`VERSION`], so that no verdict of the old ones is taken for one of the new. Line ends are never an issue, whichever
//! they are.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::{Issue, Severity};

/// Changes with the rules.
pub const VERSION: &str = "rules-1";

/// Exclamation marks in one draft, at most.
const EXCLAMATION_MARKS_MAX: usize = 3;
/// Characters of a draft, at most.
const CHARACTERS_MAX: usize = 5_000;
/// Words of a sentence, at most.
const SENTENCE_WORDS_MAX: usize = 45;
/// Letters from which on the share of capitals says something.
const LETTERS_MIN: usize = 40;
/// The share of capitals, at most, in hundredths.
const CAPITALS_MAX: usize = 40;
/// Issues of one rule that are told.
const TOLD_MAX: usize = 20;

/// A rule that is one pattern: each place where it matches is an issue.
struct Pattern {
    code: &'static str,
    severity: Severity,
    message: &'static str,
    pattern: Regex,
}

fn pattern(code: &'static str, severity: Severity, message: &'static str, pattern: &str) -> Pattern {
    let pattern = Regex::new(pattern).expect("the patterns below are constant, and a test compiles them");
    Pattern { code, severity, message, pattern }
}

/// Promises that nobody can keep.
const PROMISES: &str = r"(?i)\b(100 ?% (free|guaranteed|gratuit)|guaranteed (results?|returns?|income)|r[ée]sultats? garantis?|(risk|hassle)[- ]free|sans (aucun )?risque|double your (income|money|sales)|doublez vos (revenus|ventes)|get rich|devenez riche|no strings attached|cannot fail|miracle (cure|solution)|solution miracle)\b";
/// What reads like an advertisement that was not asked for.
const SPAM: &str = r"(?i)\b(act now|buy now|order now|click (here|below)|cliquez ici|limited[- ]time( offer)?|offre limit[ée]e|last chance|derni[èe]re chance|don['’]t miss (out|this)|ne manquez pas|once in a lifetime|exclusive deal|you (have been|were) selected|vous avez [ée]t[ée] s[ée]lectionn[ée]e?|this is not spam|ceci n['’]est pas (du|un) spam|dear friend|cher ami|cash bonus|earn (extra )?(cash|money)|extra income|urgent)\b";
/// Words that stand for words that were never written.
const FILLER: &str =
    r"(?i:\blorem ipsum\b)|\b(TODO|TBD|FIXME|XXX+)\b|(?i:<(insert|your|company|first) ?[a-z ]{0,30}>)";
/// Marks of templates: `{{…}}`, `${…}`, `{…}`, `%NAME%`, `*|NAME|*`, `[First name]`, `[COMPANY]`.
const PLACEHOLDER: &str = r"\{\{[^{}\n]{0,80}\}\}|\$\{[^{}\n]{1,80}\}|\{[A-Za-z_][A-Za-z0-9_ .-]{0,40}\}|%[A-Z][A-Z_]{2,40}%|\*\|[A-Z_:]{1,40}\|\*|\[[A-Z][A-Z_ ]{2,40}\]|\[(?i:(your|first|last|full|company|contact|pr[ée]nom|nom|soci[ée]t[ée])[ _-]?[a-z]{0,20})\]";
const SHOUTING: &str = r"\b\p{Lu}{2,}(?:[\s,;:'’-]+\p{Lu}{2,}){2,}\b";
const PUNCTUATION: &str = r"[!?！？]{2,}";
const SHORTENED: &str = r"(?i)\b(?:https?://)?(?:bit\.ly|tinyurl\.com|t\.co|goo\.gl|ow\.ly|is\.gd|buff\.ly|rebrand\.ly|cutt\.ly)/[^\s<>]*";
const UNENCRYPTED: &str = r"(?i)\bhttp://[^\s<>]+";
/// Characters that are not seen and turn or split what is read. The joiner of emoji is not among them.
const HIDDEN: &str = r"[\u{200B}\u{2060}\u{FEFF}\u{202A}-\u{202E}\u{2066}-\u{2069}\u{00AD}]+";

static PATTERNS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    use Severity::{Error, Info, Warning};
    vec![
        pattern("unfilled_placeholder", Error, "A placeholder was not filled in.", PLACEHOLDER),
        pattern("filler_text", Error, "Filler text was not replaced.", FILLER),
        pattern("promise", Error, "This promises what nobody can keep.", PROMISES),
        pattern("hidden_characters", Error, "Characters that are not seen stand here.", HIDDEN),
        pattern("spam_phrase", Warning, "This reads like unsolicited advertising.", SPAM),
        pattern("shouting", Warning, "Several words in capitals read as shouting.", SHOUTING),
        pattern("repeated_punctuation", Warning, "One mark is enough.", PUNCTUATION),
        pattern(
            "shortened_link",
            Warning,
            "A shortened link hides where it leads; mail filters distrust it.",
            SHORTENED,
        ),
        pattern("unencrypted_link", Info, "The link is not encrypted.", UNENCRYPTED),
    ]
});

static SENTENCE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[^.!?…\n]+").expect("the pattern is constant, and a test compiles it"));

/// What the rules find in a text.
pub fn issues(text: &str) -> Vec<Issue> {
    let units = Utf16::of(text);
    if crate::json::is_blank(text) {
        return vec![issue_at("empty", Severity::Error, "There is no text.", None, &units)];
    }
    let mut issues = Vec::new();
    for rule in PATTERNS.iter() {
        for found in rule.pattern.find_iter(text).take(TOLD_MAX) {
            issues.push(issue_at(rule.code, rule.severity, rule.message, Some(found.range()), &units));
        }
    }
    let marks = text.chars().filter(|c| matches!(c, '!' | '！')).count();
    if marks > EXCLAMATION_MARKS_MAX {
        let message = format!("It has {marks} exclamation marks; {EXCLAMATION_MARKS_MAX} are plenty.");
        issues.push(issue_at("exclamation_marks", Severity::Warning, &message, None, &units));
    }
    let letters = text.chars().filter(|c| c.is_lowercase() || c.is_uppercase()).count();
    let capitals = text.chars().filter(|c| c.is_uppercase()).count();
    if letters >= LETTERS_MIN && capitals * 100 > letters * CAPITALS_MAX {
        let message = "Most of it is in capitals.";
        issues.push(issue_at("capitals", Severity::Warning, message, None, &units));
    }
    let characters = text.chars().count();
    if characters > CHARACTERS_MAX {
        let message = format!("It has {characters} characters; few read more than {CHARACTERS_MAX}.");
        issues.push(issue_at("too_long", Severity::Warning, &message, None, &units));
    }
    let long =
        |sentence: &regex::Match<'_>| sentence.as_str().split_whitespace().nth(SENTENCE_WORDS_MAX).is_some();
    for sentence in SENTENCE.find_iter(text).filter(long).take(TOLD_MAX) {
        let message = format!("The sentence has more than {SENTENCE_WORDS_MAX} words.");
        issues.push(issue_at("long_sentence", Severity::Info, &message, Some(sentence.range()), &units));
    }
    issues
}

/// An issue with its place counted as clients count it.
pub(super) fn issue_at(
    code: &str,
    severity: Severity,
    message: &str,
    at: Option<Range<usize>>,
    units: &Utf16,
) -> Issue {
    let (start, end) = match at {
        Some(at) => (Some(units.at(at.start)), Some(units.at(at.end))),
        None => (None, None),
    };
    Issue { code: code.to_owned(), severity, message: message.to_owned(), start, end }
}

/// How many UTF-16 code units of a text lie before a byte.
pub(super) struct Utf16(
    /// Per character that is not ASCII: the byte after it, and how many units fewer than bytes lie before that.
    Vec<(usize, usize)>,
);

impl Utf16 {
    pub fn of(text: &str) -> Self {
        let mut fewer = 0;
        let wide = text.char_indices().filter(|(_, c)| !c.is_ascii());
        Self(
            wide.map(|(at, c)| {
                fewer += c.len_utf8() - c.len_utf16();
                (at + c.len_utf8(), fewer)
            })
            .collect(),
        )
    }

    pub fn at(&self, byte: usize) -> u32 {
        let before = self.0.partition_point(|(after, _)| *after <= byte);
        let fewer = before.checked_sub(1).map_or(0, |last| self.0[last].1);
        u32::try_from(byte - fewer).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<String> {
        issues(text).into_iter().map(|issue| issue.code).collect()
    }

    #[test]
    fn a_plain_letter_has_no_issue_whatever_its_line_ends() {
        let letter = "Bonjour Madame Martin,\n\nNous avons vu que votre toiture date de 1998. Souhaitez-vous un devis ?\n\
                      Une visite prend vingt minutes, le mardi ou le jeudi.\n\nCordialement,\nCamille (ACME, SNCF et EDF)";
        assert_eq!(codes(letter), Vec::<String>::new());
        assert_eq!(codes(&letter.replace('\n', "\r\n")), Vec::<String>::new());
        assert_eq!(codes(&letter.replacen('\n', "\r\n", 2)), Vec::<String>::new());
    }

    #[test]
    fn each_rule_finds_what_it_is_for() {
        let long_sentence = format!("Hello. {}", "word ".repeat(46));
        let long_text = "A word here. ".repeat(400);
        let capitals = "THIS offer, OURS alone, MAY be GOOD for YOUR firm in SPRING or SUMMER";
        for (text, expected) in [
            ("", &["empty"][..]),
            (" \r\n\u{200B}", &["empty"]),
            ("Hi {{firstName}}", &["unfilled_placeholder"]),
            ("Hi {{ first name }}, of ${company}", &["unfilled_placeholder", "unfilled_placeholder"]),
            ("Hi {first_name}", &["unfilled_placeholder"]),
            ("Hi %FIRSTNAME%", &["unfilled_placeholder"]),
            ("Hi *|FNAME|*", &["unfilled_placeholder"]),
            ("Hi [First name]", &["unfilled_placeholder"]),
            ("Bonjour [Prénom]", &["unfilled_placeholder"]),
            ("Bonjour [NOM]", &["unfilled_placeholder"]),
            ("See [our page] and {1}, up 5% a year, 3% net", &[]),
            ("Lorem ipsum dolor", &["filler_text"]),
            ("TODO: say hello", &["filler_text"]),
            ("Mañana todo bien", &[]),
            ("Guaranteed results for you", &["promise"]),
            ("Résultats garantis", &["promise"]),
            ("A trial without obligation", &[]),
            ("A risk-free trial", &["promise"]),
            ("Click here.", &["spam_phrase"]),
            ("Cliquez ici, c'est URGENT", &["spam_phrase", "spam_phrase"]),
            ("Ecrivez d'urgence", &[]),
            ("BUY OUR ROOFS today", &["shouting"]),
            ("OFFRE D'ÉTÉ POUR TOUS", &["shouting"]),
            ("EDF and SNCF", &[]),
            ("Really?!", &["repeated_punctuation"]),
            ("Great! Good! Fine! Nice!", &["exclamation_marks"]),
            ("Great! Good! Fine!", &[]),
            ("See https://bit.ly/3abc now", &["shortened_link"]),
            ("See http://example.com/x", &["unencrypted_link"]),
            ("See https://example.com/x", &[]),
            ("pay\u{202E}pal", &["hidden_characters"]),
            ("👩\u{200D}👩\u{200D}👧 family", &[]),
            (&long_sentence, &["long_sentence"]),
            (&long_text, &["too_long"]),
            (capitals, &["capitals"]),
        ] {
            assert_eq!(codes(text), expected, "{text}");
        }
    }

    #[test]
    fn places_are_counted_in_utf_16() {
        let text = "Là 😀 {{name}} é";
        let issue = &issues(text)[0];
        let units: Vec<u16> = text.encode_utf16().collect();
        let (start, end) = (issue.start.unwrap() as usize, issue.end.unwrap() as usize);
        assert_eq!(String::from_utf16(&units[start..end]).unwrap(), "{{name}}");
    }

    #[test]
    fn a_text_of_nothing_but_issues_is_read_in_bounds() {
        let text = "{{a}}!!".repeat(9_000);
        assert!(issues(&text).len() <= 10 * TOLD_MAX + 4);
    }
}
