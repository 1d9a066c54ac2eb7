//! Patterns that the answers to a field must match, and what they may cost.
//!
//! The engine never backtracks: matching takes time in proportion to the text, whatever the pattern says. Compiling does
//! not: a few letters such as `\pL{100}` stand for tens of thousands of ranges. How many is known from the parsed
//! pattern, so that one that is too large is refused before it is compiled, and those of one call have a bound together.

use regex::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

/// Bytes of a compiled pattern, at most: what its parsed form was taken too lightly for.
const COMPILED_MAX: usize = 1 << 20;
/// Groups within groups of a pattern, at most.
const NESTED_MAX: u32 = 32;
/// Letters and ranges of letters that one pattern stands for, at most.
const WEIGHT_MAX: usize = 26_000;
/// The same of all patterns of one call together.
const ROOM: usize = 1_000_000;

/// What the patterns that come with one call may weigh together.
#[derive(Debug)]
pub struct PatternRoom(usize);

impl Default for PatternRoom {
    fn default() -> Self {
        Self(ROOM)
    }
}

/// Why a pattern is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatternFault {
    /// The text is none; in one line, for the engine's own message draws a picture above it.
    #[error("is no pattern in RE2 syntax: {0}")]
    Malformed(String),
    /// Repetitions of repetitions grow beyond all bounds.
    #[error("repeats too much")]
    TooLarge,
    /// The patterns before it are as many as one call may bring.
    #[error(
        "was not looked at: the patterns of one call are too large together; bring fewer at a time, or simpler ones"
    )]
    NoRoom,
}

impl PatternFault {
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::TooLarge => "BAD_PATTERN",
            Self::NoRoom => "PATTERNS_TOO_LARGE",
        }
    }
}

impl PatternRoom {
    /// The pattern, if it is one and there is room for it.
    pub(super) fn compiled(&mut self, pattern: &str) -> Result<Regex, PatternFault> {
        if self.0 == 0 {
            return Err(PatternFault::NoRoom);
        }
        let parsed = ParserBuilder::new().nest_limit(NESTED_MAX).build().parse(pattern);
        let weight = weight(&parsed.map_err(|error| malformed(&error))?);
        // What is refused was parsed, which has its price as well.
        let paid = self.0.checked_sub(weight.clamp(1, WEIGHT_MAX));
        self.0 = paid.unwrap_or(0);
        match paid {
            _ if weight > WEIGHT_MAX => Err(PatternFault::TooLarge),
            None => Err(PatternFault::NoRoom),
            Some(_) => compiled(pattern).map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => PatternFault::TooLarge,
                other => malformed(&other),
            }),
        }
    }
}

/// The pattern of a field whose form was accepted.
pub(super) fn compiled(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .size_limit(COMPILED_MAX)
        .dfa_size_limit(COMPILED_MAX)
        .nest_limit(NESTED_MAX)
        .build()
}

/// Letters and ranges of letters that the pattern stands for once its repetitions are written out.
fn weight(pattern: &Hir) -> usize {
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Class(Class::Unicode(class)) => class.ranges().len(),
        HirKind::Class(Class::Bytes(class)) => class.ranges().len(),
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or_else(|| repetition.min.saturating_add(1)).max(1);
            weight(&repetition.sub).saturating_mul(usize::try_from(times).unwrap_or(usize::MAX))
        }
        HirKind::Capture(capture) => weight(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(weight).fold(0, usize::saturating_add)
        }
    }
}

fn malformed(error: &dyn std::fmt::Display) -> PatternFault {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    PatternFault::Malformed(last.strip_prefix("error: ").unwrap_or(last).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_people_write_fit_and_those_that_explode_do_not() {
        for (pattern, fault) in [
            (r"^\d{5}$", None),
            (r"^[\p{L} '-]{2,20}$", None),
            (r"^\w{1,20}$", None),
            (r"^[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}$", None),
            (r"(?i)^(?:mr|mrs|dr)\.? .{1,80}$", None),
            (r"\pL{100}", Some(PatternFault::TooLarge)),
            (r"((a{999}){999}){999}", Some(PatternFault::TooLarge)),
            (r"(?:\w{30}){30}", Some(PatternFault::TooLarge)),
        ] {
            assert_eq!(PatternRoom::default().compiled(pattern).err(), fault, "{pattern}");
        }
        let error = PatternRoom::default().compiled("(").err();
        assert_eq!(error, Some(PatternFault::Malformed("unclosed group".into())));
    }

    #[test]
    fn the_patterns_of_one_call_have_a_bound_together() {
        let mut room = PatternRoom::default();
        // Each differs from the others, so that none can be known from before.
        let faults: Vec<PatternFault> =
            (100..200).filter_map(|n| room.compiled(&format!(r"\pL{{{n}}}")).err()).collect();
        let compared = faults.iter().filter(|fault| **fault == PatternFault::TooLarge).count();
        assert_eq!((faults.len(), compared), (100, ROOM.div_ceil(WEIGHT_MAX)));
        assert_eq!(room.compiled("a").err(), Some(PatternFault::NoRoom));
    }
}
