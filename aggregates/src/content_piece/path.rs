//! Paths of content: relative, composed, and within their root however they are read.
//!
//! A path is a name here and never opened, but whoever opens it later must not be led astray. So it is judged as the
//! most generous reader would read it: percent escapes are refused altogether (whoever decodes once or twice sees what
//! is written), backslashes and drive letters too, and so is what folds into a dot segment or a separator.

use std::fmt;

use unicode_normalization::UnicodeNormalization;

/// Bytes of a path, at most.
const BYTES_MAX: usize = 1_024;

/// A path that may be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentPath(String);

/// Why a path is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing there, or too much.
    #[error("sourcePath must have 1 to {BYTES_MAX} bytes")]
    Length,
    /// It begins at a root or a drive.
    #[error("sourcePath must be relative")]
    NotRelative,
    /// It has a backslash, or what folds into a separator.
    #[error("sourcePath must be separated by / and nothing else")]
    Separator,
    /// It has an empty segment, or ends in a separator.
    #[error("sourcePath must not have empty segments")]
    EmptySegment,
    /// It leads somewhere else.
    #[error("sourcePath must not have the segments . or ..")]
    DotSegment,
    /// It is encoded.
    #[error("sourcePath must be written as it is, without percent escapes")]
    PercentEscape,
    /// It has what nobody sees.
    #[error("sourcePath must not have control characters or invisible ones")]
    Invisible,
    /// It is not composed (NFC).
    #[error("sourcePath must be composed (NFC)")]
    NotComposed,
}

impl ContentPath {
    /// Reads a path; two spellings of one path read the same.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.is_empty() || text.len() > BYTES_MAX {
            return Err(PathError::Length);
        }
        if text.chars().any(is_invisible) {
            return Err(PathError::Invisible);
        }
        if text.starts_with('/') || has_drive(text) {
            return Err(PathError::NotRelative);
        }
        // As the most generous reader would read it.
        let folded: String = text.nfkc().collect();
        let separators = |text: &str| text.matches('/').count();
        if folded.contains('\\') || separators(&folded) != separators(text) {
            return Err(PathError::Separator);
        }
        if has_escape(&folded) {
            return Err(PathError::PercentEscape);
        }
        for segment in folded.split('/') {
            match segment.trim_matches(' ') {
                "" => return Err(PathError::EmptySegment),
                "." | ".." => return Err(PathError::DotSegment),
                _ => (),
            }
        }
        Ok(Self(text.nfc().collect()))
    }

    /// The path, composed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ContentPath> for String {
    fn from(path: ContentPath) -> Self {
        path.0
    }
}

/// Control characters, and those that change how others are shown.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{00AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

/// `C:` at the beginning.
fn has_drive(text: &str) -> bool {
    matches!(text.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic())
}

fn has_escape(text: &str) -> bool {
    text.as_bytes()
        .windows(3)
        .any(|three| three[0] == b'%' && three[1].is_ascii_hexdigit() && three[2].is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_paths_are_kept() {
        for path in [
            "knowledge/marketing/nurture/first-touch.md",
            "notes..v2.md",
            "...",
            "a/..b/c..",
            "été/100%.md",
            "50%off.md",
            "a b/c:d.md",
            "à la carte….md",
            "日本語/メモ.md",
        ] {
            assert_eq!(ContentPath::parse(path).map(String::from), Ok(path.to_owned()), "{path}");
        }
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        let long = "a".repeat(BYTES_MAX + 1);
        for (path, refusal) in [
            ("", PathError::Length),
            (long.as_str(), PathError::Length),
            ("/etc/passwd", PathError::NotRelative),
            ("//host/share", PathError::NotRelative),
            ("C:\\boot.ini", PathError::NotRelative),
            ("c:/boot.ini", PathError::NotRelative),
            ("..", PathError::DotSegment),
            ("../a", PathError::DotSegment),
            ("a/../b", PathError::DotSegment),
            ("a/..", PathError::DotSegment),
            ("./a", PathError::DotSegment),
            ("a/.. /b", PathError::DotSegment),
            ("a/‥/b", PathError::DotSegment),
            ("a/．．/b", PathError::DotSegment),
            ("..\\b", PathError::Separator),
            ("a／..", PathError::Separator),
            ("a＼b", PathError::Separator),
            ("%2e%2e/a", PathError::PercentEscape),
            ("%2E./a", PathError::PercentEscape),
            ("%252e%252e/a", PathError::PercentEscape),
            ("a%2fb", PathError::PercentEscape),
            ("a%5cb", PathError::PercentEscape),
            ("a%00", PathError::PercentEscape),
            ("％2e％2e/a", PathError::PercentEscape),
            ("a//b", PathError::EmptySegment),
            ("a/", PathError::EmptySegment),
            ("a\0b", PathError::Invisible),
            ("a\nb", PathError::Invisible),
            (".\u{200B}./a", PathError::Invisible),
            ("a\u{202E}dm.b", PathError::Invisible),
        ] {
            assert_eq!(ContentPath::parse(path), Err(refusal), "{path:?}");
        }
    }

    #[test]
    fn two_spellings_of_one_path_are_one() {
        let composed = ContentPath::parse("caf\u{e9}/menu.md");
        assert_eq!(ContentPath::parse("cafe\u{301}/menu.md"), composed);
        assert_eq!(composed.unwrap().as_str(), "caf\u{e9}/menu.md");
    }
}
