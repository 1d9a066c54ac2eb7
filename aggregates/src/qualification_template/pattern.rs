//! Patterns that the answers to a field must match, and what they may cost.
//!
//! The engine never backtracks: matching takes time in proportion to the text and to the pattern, whatever it says. For long
//! texts and large patterns that is long all the same, so that what is held against patterns in one call has a bound.
//!
//! Compiling is in no proportion to what is written: a few letters such as `\pL{100}` stand for tens of thousands of ranges.
//! Nor is reading: where upper and lower case are one, each letter of a class is looked up. Both are known before they
//! are done, from what is written and from the parsed pattern, so that one that is too large is refused before it
//! costs anything, and those of one call have a bound together.
//!
//! A unit of weight was measured as a fifth of a microsecond at most and about 50 bytes, of a release build with regex 1.13:
//! `^[\p{L} '-]{2,40}$` weighs 37 000 and takes 8 ms and 1.7 MB, `\w{100}` weighs 110 000 and takes 21 ms and 5 MB,
//! `\D{400}` 120 000, 24 ms and 5 MB. The patterns of one call cost about half a second and 120 MB at most, whatever
//! they are. A byte of a text at a state of a pattern was measured as ten nanoseconds at most, also where the engine's
//! tables do not suffice (`(?:a?){3300}` against thousands of `a`), so that the texts of one call cost half a second at
//! most.

use std::collections::HashMap;
use std::convert::Infallible;

use regex::{Regex, RegexBuilder};
use regex_syntax::ast::parse::ParserBuilder;
use regex_syntax::ast::{
    self, Ast, ClassPerl, ClassPerlKind, ClassSetBinaryOp, ClassSetItem, Flag, Flags, GroupKind,
};
use regex_syntax::hir::translate::Translator;
use regex_syntax::hir::{Class, Hir, HirKind};
use regex_syntax::utf8::Utf8Sequences;

/// Bytes of a compiled pattern, at most: what its parsed form was taken too lightly for.
const COMPILED_MAX: usize = 10 << 20;
/// Groups within groups of a pattern, at most.
const NESTED_MAX: u32 = 32;
/// What one pattern may weigh, read and compiled: a name of a hundred letters in any language fits.
const WEIGHT_MAX: usize = 150_000;
/// A class of letters that is written once weighs this much beside the sequences of bytes that it stands for, and so does each of
/// its repetitions: whoever matches is at all of them at once.
const PLACE: usize = 100;
/// The same of a byte that is written out, of a repetition and a group around it, and of nothing at all.
const LITERAL: usize = 15;
/// A look at what stands beside, as whether a word ends there, counts as so many bytes.
const LOOK: usize = 4;
/// States that a match is in at one class of letters: those of a letter's bytes.
const LETTER: usize = 4;
/// What a class of letters costs to read: one of a few ranges, and, where upper and lower case are one, one of words and one of
/// all that there are, in the same measure.
const READ: usize = 100;
const WORDS_FOLDED: usize = 1_200;
const ALL_FOLDED: usize = 45_000;
/// Letters of a range that are few.
const FEW: u32 = 1_000;
/// What all patterns of one call may weigh together.
const ROOM: usize = 2_000_000;
/// States of patterns times bytes of texts that are held against each other in one call.
const MATCHED_MAX: usize = 50_000_000;
/// What a byte costs beside the states of the pattern.
const BYTE: usize = 20;

/// What the patterns that come with one call may weigh together. Forms have many patterns in common: what was looked at
/// once costs nothing again.
#[derive(Debug)]
pub struct PatternRoom {
    left: usize,
    known: HashMap<String, Result<Pattern, PatternFault>>,
    /// For the values that rules compare answers with.
    pub(super) matching: MatchRoom,
}

/// What may be matched in one call.
#[derive(Debug)]
pub(super) struct MatchRoom(usize);

/// The texts before this one are as long, for their patterns, as those of one call may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotMatched;

/// A pattern, ready to be matched.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    regex: Regex,
    /// That a match may be in at once.
    states: usize,
}

impl Default for PatternRoom {
    fn default() -> Self {
        Self::of(ROOM)
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
    fn of(left: usize) -> Self {
        Self { left, known: HashMap::new(), matching: MatchRoom::default() }
    }

    /// The pattern, if it is one and there is room for it.
    pub(super) fn compiled(&mut self, pattern: &str) -> Result<Pattern, PatternFault> {
        if let Some(known) = self.known.get(pattern) {
            return known.clone();
        }
        let found = self.looked_at(pattern);
        self.known.insert(pattern.to_owned(), found.clone());
        found
    }

    fn looked_at(&mut self, pattern: &str) -> Result<Pattern, PatternFault> {
        if self.left == 0 {
            return Err(PatternFault::NoRoom);
        }
        let written = parsed(pattern)?;
        let Ok(reading) = ast::visit(&written, Reading::default());
        if reading > WEIGHT_MAX {
            return Err(PatternFault::TooLarge);
        }
        // What is refused was read, which has its price as well.
        self.left = self.left.checked_sub(reading.max(1)).ok_or(PatternFault::NoRoom)?;
        let Size { weight, states } = Size::of(pattern, &written)?;
        let paid = self.left.checked_sub(weight.clamp(1, WEIGHT_MAX));
        self.left = paid.unwrap_or(0);
        match paid {
            _ if weight > WEIGHT_MAX => Err(PatternFault::TooLarge),
            None => Err(PatternFault::NoRoom),
            Some(_) => Ok(Pattern { regex: compiled(pattern)?, states }),
        }
    }
}

impl Pattern {
    /// The pattern of a field whose form was accepted; none if it is one no more.
    pub(super) fn accepted(pattern: &str) -> Option<Self> {
        let Size { states, .. } = Size::of(pattern, &parsed(pattern).ok()?).ok()?;
        Some(Self { regex: compiled(pattern).ok()?, states })
    }
}

impl Default for MatchRoom {
    fn default() -> Self {
        Self(MATCHED_MAX)
    }
}

impl MatchRoom {
    /// Whether the text matches, if there is room to find out.
    pub(super) fn matches(&mut self, pattern: &Pattern, text: &str) -> Result<bool, NotMatched> {
        let costs = pattern.states.saturating_add(BYTE).saturating_mul(text.len());
        self.0 = self.0.checked_sub(costs).ok_or(NotMatched)?;
        Ok(pattern.regex.is_match(text))
    }
}

fn parsed(pattern: &str) -> Result<Ast, PatternFault> {
    let parsed = ParserBuilder::new().nest_limit(NESTED_MAX).build().parse(pattern);
    parsed.map_err(|error| malformed(&error))
}

fn compiled(pattern: &str) -> Result<Regex, PatternFault> {
    let built = RegexBuilder::new(pattern).size_limit(COMPILED_MAX).nest_limit(NESTED_MAX).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => PatternFault::TooLarge,
        other => malformed(&other),
    })
}

/// What it costs to read a pattern as it is written.
#[derive(Default)]
struct Reading {
    folds: bool,
    /// Brackets and operators around the place in a class: each of them may look all letters up anew.
    around: usize,
    few: usize,
    words: usize,
    all: usize,
}

impl Reading {
    fn flags(&mut self, flags: &Flags) {
        self.folds |= flags.flag_state(Flag::CaseInsensitive) == Some(true);
    }

    fn perl(&mut self, class: &ClassPerl, times: usize) {
        match (&class.kind, class.negated) {
            (_, true) => self.all += times,
            (ClassPerlKind::Word, false) => self.words += times,
            (ClassPerlKind::Digit | ClassPerlKind::Space, false) => self.few += times,
        }
    }
}

impl ast::Visitor for Reading {
    type Output = usize;
    type Err = Infallible;

    fn finish(self) -> Result<usize, Infallible> {
        let (words, all) = if self.folds { (WORDS_FOLDED, ALL_FOLDED) } else { (READ, READ) };
        let cost = |count: usize, each: usize| count.saturating_mul(each);
        Ok(cost(self.few, READ).saturating_add(cost(self.words, words)).saturating_add(cost(self.all, all)))
    }

    fn visit_pre(&mut self, written: &Ast) -> Result<(), Infallible> {
        match written {
            Ast::Flags(set) => self.flags(&set.flags),
            Ast::Group(group) => {
                if let GroupKind::NonCapturing(flags) = &group.kind {
                    self.flags(flags);
                }
            }
            Ast::ClassUnicode(_) => self.all += 1,
            Ast::ClassPerl(class) => self.perl(class, 1),
            Ast::ClassBracketed(_) => self.few += 1,
            _ => (),
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), Infallible> {
        let times = self.around + 1;
        match item {
            ClassSetItem::Unicode(_) => self.all += times,
            ClassSetItem::Perl(class) => self.perl(class, times),
            ClassSetItem::Range(range) => {
                let letters = u32::from(range.end.c).saturating_sub(u32::from(range.start.c));
                *if letters > FEW { &mut self.all } else { &mut self.few } += times;
            }
            // A class within brackets that is turned round stands for all other letters.
            ClassSetItem::Ascii(class) => {
                *if class.negated { &mut self.all } else { &mut self.few } += times;
            }
            ClassSetItem::Bracketed(class) => {
                *if class.negated { &mut self.all } else { &mut self.few } += times;
                self.around += 1;
            }
            _ => (),
        }
        Ok(())
    }

    fn visit_class_set_item_post(&mut self, item: &ClassSetItem) -> Result<(), Infallible> {
        if let ClassSetItem::Bracketed(_) = item {
            self.around -= 1;
        }
        Ok(())
    }

    fn visit_class_set_binary_op_pre(&mut self, _: &ClassSetBinaryOp) -> Result<(), Infallible> {
        self.around += 1;
        Ok(())
    }

    fn visit_class_set_binary_op_post(&mut self, _: &ClassSetBinaryOp) -> Result<(), Infallible> {
        self.around -= 1;
        Ok(())
    }
}

/// What a pattern stands for once its repetitions are written out.
#[derive(Clone, Copy)]
struct Size {
    /// What it takes to compile it.
    weight: usize,
    /// Where a match may be at once.
    states: usize,
}

impl Size {
    const NOTHING: Self = Self { weight: 0, states: 0 };
    const PART: Self = Self { weight: LITERAL, states: 1 };

    fn of(pattern: &str, written: &Ast) -> Result<Self, PatternFault> {
        let parsed = Translator::new().translate(pattern, written);
        Ok(Self::of_part(&parsed.map_err(|error| malformed(&error))?))
    }

    fn of_part(part: &Hir) -> Self {
        match part.kind() {
            HirKind::Empty => Self::PART,
            HirKind::Look(_) => Self::PART.times(LOOK),
            HirKind::Literal(literal) => Self::PART.times(literal.0.len()),
            HirKind::Class(Class::Unicode(class)) => {
                let sequences =
                    class.iter().map(|range| Utf8Sequences::new(range.start(), range.end()).count());
                Self { weight: PLACE + sequences.sum::<usize>(), states: LETTER }
            }
            HirKind::Class(Class::Bytes(class)) => {
                Self { weight: PLACE + class.ranges().len(), states: LETTER }
            }
            HirKind::Repetition(repetition) => {
                let times = repetition.max.unwrap_or_else(|| repetition.min.saturating_add(1)).max(1);
                let once = Self::of_part(&repetition.sub).and(Self::PART);
                once.times(usize::try_from(times).unwrap_or(usize::MAX))
            }
            HirKind::Capture(capture) => Self::of_part(&capture.sub).and(Self::PART.times(2)),
            HirKind::Concat(parts) => parts.iter().map(Self::of_part).fold(Self::NOTHING, Self::and),
            HirKind::Alternation(parts) => {
                parts.iter().map(Self::of_part).fold(Self::NOTHING, |all, part| all.and(part).and(Self::PART))
            }
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            weight: self.weight.saturating_add(other.weight),
            states: self.states.saturating_add(other.states),
        }
    }

    fn times(self, times: usize) -> Self {
        Self { weight: self.weight.saturating_mul(times), states: self.states.saturating_mul(times) }
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
            (r"^[\p{L} '-]{2,40}$", None),
            (r"^[\p{L} '-]{2,100}$", None),
            (r"^\p{Lu}[\p{L}\p{M}.' -]{1,80}$", None),
            (r"^[\p{L}\p{N}]{1,100}$", None),
            (r"^\w{1,20}$", None),
            (r"^\w{1,100}$", None),
            (r"^.{1,999}$", None),
            (r"^[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}$", None),
            (r"(?i)^(?:mr|mrs|dr)\.? .{1,80}$", None),
            (r"\pL{200}", Some(PatternFault::TooLarge)),
            (r"\D{999}", Some(PatternFault::TooLarge)),
            (r".{9999}", Some(PatternFault::TooLarge)),
            (r"(?:(?:a?){300}){499}", Some(PatternFault::TooLarge)),
            (r"((a{999}){999}){999}", Some(PatternFault::TooLarge)),
            (r"(?:\w{30}){30}", Some(PatternFault::TooLarge)),
            (r"(?i)^[a-z'-]+ \d{2,4}\s\w+$", None),
            (r"(?i)^\p{L}{2}$", None),
            (r"(?i)^[\p{L} '-]{2,40}$", None),
            (r"(?i)[\d\D][\d\D][\d\D][\d\D]", Some(PatternFault::TooLarge)),
            // Each bracket and each operator around them looks all letters up anew.
            (r"(?i)[b[b[b[b[b[[^a]]]]]]]", Some(PatternFault::TooLarge)),
            (r"(?i)[b[b[b[\x{0}-\x{10ffff}]]]]", Some(PatternFault::TooLarge)),
            (r"(?i)[\x{0}-\x{10ffff}--a--b--c--d]", Some(PatternFault::TooLarge)),
            (r"(?i:[\x{0}-\x{10ffff}]{2}[^a]\PL\W\D)", Some(PatternFault::TooLarge)),
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
            (200..300).filter_map(|n| room.compiled(&format!(r"\pL{{{n}}}")).err()).collect();
        let compared = faults.iter().filter(|fault| **fault == PatternFault::TooLarge).count();
        assert_eq!((faults.len(), compared), (100, ROOM.div_ceil(WEIGHT_MAX + READ)));
        assert_eq!(room.compiled("a").err(), Some(PatternFault::NoRoom));
        // Of what is refused for another reason, too.
        let mut room = PatternRoom::default();
        let unknown = (0..100).filter_map(|n| room.compiled(&format!(r"(?i)\pL\p{{Zz{n}}}")).err());
        assert_eq!(unknown.filter(|fault| *fault != PatternFault::NoRoom).count(), ROOM / (2 * ALL_FOLDED));
    }

    #[test]
    fn what_is_matched_in_one_call_has_a_bound() {
        let name = Pattern::accepted(r"^[\p{L} '-]{2,100}$").unwrap();
        let mut room = MatchRoom::default();
        for _ in 0..100 {
            assert_eq!(room.matches(&name, &"\u{e9}".repeat(100)), Ok(true), "a hundred names");
        }
        // Of what a match may be in at once each part counts: letters, repetitions, groups, alternatives, looks.
        for part in ["a?", ".?", "(?:((a)))?", r"(?:\Ba)?", "(?:a|bc|def)?", "(?:a|)"] {
            let heavy = |times: usize| Pattern::accepted(&format!("(?:{part}){{{times}}}[!-/]")).unwrap();
            let (few, many) = (heavy(10), heavy(500));
            assert!(many.states >= 40 * few.states && many.states >= 1_000, "{part}: {}", many.states);
            let mut room = MatchRoom::default();
            let text = "a".repeat(MATCHED_MAX / many.states + 1);
            assert_eq!(room.matches(&many, &text), Err(NotMatched), "{part}");
            assert_eq!(room.matches(&few, "a!"), Ok(true), "{part}: what is light has room still");
        }
    }

    #[test]
    fn what_was_looked_at_once_costs_nothing_again() {
        let mut room = PatternRoom::of(50_000);
        for _ in 0..3 {
            assert_eq!(room.compiled(r"^[\p{L} '-]{2,40}$").err(), None);
            assert_eq!(room.compiled("(").err(), Some(PatternFault::Malformed("unclosed group".into())));
        }
        assert_eq!(room.compiled(r"^[\p{L} '-]{2,39}$").err(), Some(PatternFault::NoRoom));
    }
}
