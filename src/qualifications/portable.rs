//! Which patterns every engine compiles, and reads alike but for what is named here.
//!
//! A form takes patterns in RE2 syntax, and its JSON Schema is read by validators whose engines are those of JavaScript
//! (ECMA-262, with its `u` flag or without) and Python. What those refuse to compile, or read as something else, may
//! not stand in the schema. The part that is left is that which JSON Schema itself recommends (draft 2020-12 core,
//! section 6.4), with the escapes that the three engines share. `\d` and `\s` are among them although JavaScript's know
//! fewer digits: of what is written in European languages they say the same.
//!
//! A difference is left where forms could hardly do without: `.` and a class that is negated take a character beyond the
//! basic plane (an emoji) for two in JavaScript without the `u` flag, and `$` lets Python accept a line break at the very
//! end. An answer is held against the form's own engine when it is recorded; the schema is what a caller may ask before.

use regex_syntax::ast::parse::ParserBuilder;
use regex_syntax::ast::{
    AssertionKind, Ast, ClassBracketed, ClassPerl, ClassPerlKind, ClassSet, ClassSetItem, GroupKind,
    HexLiteralKind, Literal, LiteralKind, Repetition, SpecialLiteralKind,
};

/// Levels that are looked at; a form takes no pattern of more.
const LEVELS: u32 = 32;
/// What may be escaped outside of brackets in every engine.
const ESCAPED: &str = r"^$\.*+?()[]{}|/";

/// Whether every engine compiles the pattern, and to the same but for what the head of this file names.
pub(super) fn portable(pattern: &str) -> bool {
    let parsed = ParserBuilder::new().nest_limit(LEVELS).build().parse(pattern);
    parsed.is_ok_and(|ast| everywhere(&ast, pattern))
}

fn everywhere(ast: &Ast, pattern: &str) -> bool {
    match ast {
        Ast::Empty(_) | Ast::Dot(_) => true,
        Ast::Literal(literal) => is_plain(literal, false),
        Ast::Assertion(assertion) => {
            matches!(assertion.kind, AssertionKind::StartLine | AssertionKind::EndLine)
        }
        Ast::ClassPerl(class) => is_shared(class),
        Ast::ClassBracketed(class) => bracketed(class),
        Ast::Repetition(repetition) => repeated(repetition, pattern),
        Ast::Group(group) => {
            let named = match &group.kind {
                GroupKind::CaptureIndex(_) => false,
                GroupKind::CaptureName { .. } => true,
                GroupKind::NonCapturing(flags) => !flags.items.is_empty(),
            };
            !named && everywhere(&group.ast, pattern)
        }
        Ast::Alternation(several) => several.asts.iter().all(|one| everywhere(one, pattern)),
        Ast::Concat(several) => several.asts.iter().all(|one| everywhere(one, pattern)),
        Ast::Flags(_) | Ast::ClassUnicode(_) => false,
    }
}

/// Elsewhere a repetition cannot be repeated, nor can what matches a place; and `{2, 3}` is a text.
fn repeated(repetition: &Repetition, pattern: &str) -> bool {
    let operator = pattern.get(repetition.op.span.start.offset..repetition.op.span.end.offset);
    let tight = operator.is_some_and(|operator| !operator.contains(char::is_whitespace));
    let repeatable = !matches!(*repetition.ast, Ast::Repetition(_) | Ast::Assertion(_) | Ast::Empty(_));
    tight && repeatable && everywhere(&repetition.ast, pattern)
}

/// `\w` is left out: JavaScript's knows no accents.
fn is_shared(class: &ClassPerl) -> bool {
    matches!(class.kind, ClassPerlKind::Digit | ClassPerlKind::Space)
}

fn bracketed(class: &ClassBracketed) -> bool {
    match &class.kind {
        ClassSet::Item(item) => in_brackets(item),
        ClassSet::BinaryOp(_) => false,
    }
}

fn in_brackets(item: &ClassSetItem) -> bool {
    match item {
        ClassSetItem::Literal(literal) => is_plain(literal, true),
        ClassSetItem::Range(range) => is_plain(&range.start, true) && is_plain(&range.end, true),
        ClassSetItem::Perl(class) => is_shared(class),
        ClassSetItem::Union(union) => union.items.iter().all(in_brackets),
        ClassSetItem::Empty(_)
        | ClassSetItem::Ascii(_)
        | ClassSetItem::Unicode(_)
        | ClassSetItem::Bracketed(_) => false,
    }
}

fn is_plain(literal: &Literal, in_brackets: bool) -> bool {
    // Beyond the first plane a character is two of JavaScript's where the flag `u` is missing.
    let first_plane = u32::from(literal.c) <= 0xFFFF;
    let escaped = ESCAPED.contains(literal.c) || in_brackets && literal.c == '-';
    first_plane
        && match &literal.kind {
            LiteralKind::Verbatim => !matches!(literal.c, '[' | ']' | '{' | '}'),
            LiteralKind::Meta | LiteralKind::Superfluous => escaped,
            LiteralKind::HexFixed(kind) => {
                matches!(kind, HexLiteralKind::X | HexLiteralKind::UnicodeShort)
            }
            LiteralKind::Special(kind) => {
                !matches!(kind, SpecialLiteralKind::Bell | SpecialLiteralKind::Space)
            }
            LiteralKind::Octal | LiteralKind::HexBrace(_) => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_engine_reads_alike_is_portable() {
        for pattern in [
            "^[A-Z]{2}[0-9]+$",
            r"^\d{5}$",
            r"^(?:\+33|0)[1-9](?:[ .\-/]?\d{2}){4}$",
            "^(oui|non|)$",
            "[^a-zé-]+?",
            r"a\.b\/c\x41\u00e9\t",
            "",
            ".*",
        ] {
            assert!(portable(pattern), "{pattern}");
        }
    }

    #[test]
    fn what_some_engine_refuses_or_reads_otherwise_is_not() {
        for pattern in [
            "(?i)^a$",
            "(?i:a)",
            r"\p{L}+",
            r"[\p{L}]",
            r"^\w+$",
            r"\bword\b",
            r"\Aa\z",
            "(?P<year>[0-9]+)",
            "(?<year>[0-9]+)",
            "[[:alpha:]]",
            "[a-z&&[^b]]",
            "[]a]",
            "a}",
            "a]",
            "a**",
            "a{2}{3}",
            "^*a",
            "a{2, 3}",
            r"\-",
            r"\#",
            r"\x{e9}",
            r"\u{e9}",
            r"\a",
            "[\u{1F600}]",
            "(",
        ] {
            assert!(!portable(pattern), "{pattern}");
        }
    }
}
