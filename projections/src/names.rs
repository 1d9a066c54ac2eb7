//! Names of people and companies, folded for comparing. What is folded is never shown or stored as the name.
//!
//! Folding drops what two people writing one name disagree about: case, accents, punctuation, compatibility forms. Words
//! then fall into three kinds: those that name (`acme`), those that join (`the`, `de`, `&`), and the legal form of a
//! company (`GmbH`, `S.A.R.L.`). Only the first are compared. The lists below are of languages, not of data: nothing
//! here was collected from a file that the deduplication is measured on.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Lower case, no accents, no punctuation, words apart by one space. Scripts other than Latin keep their letters.
///
/// An apostrophe joins (`O'Brien`, `obrien`), except after the elided article of French and Italian (`L'Atelier`,
/// `atelier`'s `l`). Letters written one by one with full stops are one word (`S.A.R.L.`).
#[must_use]
pub fn fold_name(raw: &str) -> String {
    words(raw).join(" ")
}

/// The words of a person's name. Order is kept; particles (`de`, `van`, `al`) are dropped where two other words
/// remain, so that `Le Duc` keeps both.
#[must_use]
pub fn person_words(raw: &str) -> Vec<String> {
    let mut all = words(raw);
    let names = |word: &String| PARTICLES.binary_search(&word.as_str()).is_err();
    if all.iter().filter(|word| names(word)).count() >= 2 {
        all.retain(names);
    }
    all
}

/// The words of a company's name that name it: without joining words, without its legal form.
#[must_use]
pub fn company_words(raw: &str) -> Vec<String> {
    let mut all = words(raw);
    // At either end, and again for chains such as `GmbH & Co. KG`. One word always remains.
    loop {
        let last_is_form =
            all.last().is_some_and(|word| is_legal_form(word) || word == "and" || word == "und");
        let first_is_form = all.first().is_some_and(|word| is_legal_form(word));
        match (all.len() > 1, last_is_form, first_is_form) {
            (true, true, _) => drop(all.pop()),
            (true, false, true) => drop(all.remove(0)),
            _ => break,
        }
    }
    naming(all)
}

/// Whether a folded word is the legal form of a company, in the languages of the European Union and the large economies.
#[must_use]
pub fn is_legal_form(word: &str) -> bool {
    LEGAL_FORMS.binary_search(&word).is_ok()
}

/// Whether a folded word says what kind of business it is rather than which one.
///
/// How rare a word is, is counted in the data; this list only stands in where there is too little data to count.
#[must_use]
pub fn is_generic(word: &str) -> bool {
    GENERIC.binary_search(&word).is_ok()
}

fn naming(words: Vec<String>) -> Vec<String> {
    let names = |word: &String| JOINING.binary_search(&word.as_str()).is_err();
    if words.iter().any(names) { words.into_iter().filter(names).collect() } else { words }
}

fn words(raw: &str) -> Vec<String> {
    folded(raw).split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Folds letters and turns whatever separates words into single spaces.
fn folded(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let letters = if raw.is_ascii() {
        raw.to_ascii_lowercase()
    } else {
        raw.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase).collect()
    };
    let mut chars = letters.chars();
    // Whether the word being written came letter by letter, with full stops.
    let mut spelled = false;
    while let Some(c) = chars.next() {
        match c {
            '\'' | '\u{2019}' | '\u{2018}' | '\u{02BC}' | '`' | '\u{00B4}' => {
                if is_elided(&out) {
                    out.push(' ');
                }
            }
            // `s.a.r.l.` is one word, `st. john` is two: a stop joins letters that stand alone.
            '.' if spelled || last_word(&out).chars().count() == 1 => {
                let mut ahead = chars.clone();
                let letter = ahead.next().is_some_and(char::is_alphanumeric);
                spelled = letter && ahead.next().is_none_or(|next| !next.is_alphanumeric());
                if !spelled {
                    out.push(' ');
                }
            }
            'ß' => out.push_str("ss"),
            'æ' => out.push_str("ae"),
            'œ' => out.push_str("oe"),
            'ø' => out.push('o'),
            'ł' => out.push('l'),
            'đ' | 'ð' => out.push('d'),
            'þ' => out.push_str("th"),
            'ı' => out.push('i'),
            c if c.is_alphanumeric() => out.push(c),
            _ => {
                spelled = false;
                out.push(' ');
            }
        }
    }
    // Decomposed Hangul and the like go back to one letter each.
    if out.is_ascii() { out } else { out.nfc().collect() }
}

fn last_word(text: &str) -> &str {
    text.rsplit(' ').next().unwrap_or_default()
}

fn is_elided(before: &str) -> bool {
    matches!(last_word(before), "l" | "d" | "qu" | "dell" | "all" | "nell" | "sull")
}

/// Articles, prepositions and conjunctions of names. Sorted.
const JOINING: [&str; 46] = [
    "a", "al", "an", "and", "at", "au", "aux", "by", "d", "da", "das", "de", "degli", "dei", "del", "della",
    "den", "der", "des", "di", "die", "do", "dos", "du", "e", "el", "en", "et", "for", "het", "i", "il", "l",
    "la", "las", "le", "les", "los", "of", "op", "the", "und", "van", "von", "y", "zu",
];

/// Particles of surnames. Sorted.
const PARTICLES: [&str; 20] = [
    "al", "bin", "d", "da", "de", "del", "della", "den", "der", "des", "di", "dos", "du", "el", "la", "le",
    "van", "vom", "von", "zu",
];

/// Legal forms as they look when folded. Sorted.
const LEGAL_FORMS: [&str; 64] = [
    "ab",
    "ag",
    "aps",
    "as",
    "asa",
    "asbl",
    "bhd",
    "bv",
    "bvba",
    "co",
    "corp",
    "corporation",
    "cv",
    "doo",
    "eg",
    "ei",
    "eirl",
    "ek",
    "eurl",
    "ev",
    "gbr",
    "gmbh",
    "inc",
    "incorporated",
    "kft",
    "kg",
    "kgaa",
    "kk",
    "limited",
    "llc",
    "llp",
    "lp",
    "ltd",
    "ltda",
    "mbh",
    "nv",
    "ohg",
    "ood",
    "oy",
    "oyj",
    "plc",
    "pte",
    "pty",
    "pvt",
    "sa",
    "sarl",
    "sas",
    "sasu",
    "sca",
    "sci",
    "scop",
    "scp",
    "scs",
    "se",
    "selarl",
    "sl",
    "slu",
    "snc",
    "spa",
    "spol",
    "sprl",
    "srl",
    "sro",
    "ug",
];

/// Words for kinds of business. Sorted.
const GENERIC: [&str; 75] = [
    "academy",
    "agence",
    "agency",
    "associates",
    "association",
    "bank",
    "banque",
    "bar",
    "cabinet",
    "cafe",
    "center",
    "centre",
    "city",
    "clinic",
    "club",
    "college",
    "communication",
    "compagnie",
    "company",
    "conseil",
    "construction",
    "consultants",
    "consulting",
    "design",
    "development",
    "developpement",
    "digital",
    "distribution",
    "energy",
    "engineering",
    "enterprise",
    "enterprises",
    "entreprise",
    "europe",
    "finance",
    "foundation",
    "france",
    "global",
    "group",
    "groupe",
    "gruppe",
    "holding",
    "holdings",
    "hotel",
    "house",
    "immobilier",
    "industries",
    "institute",
    "international",
    "invest",
    "investment",
    "labs",
    "logistics",
    "management",
    "market",
    "marketing",
    "media",
    "new",
    "partners",
    "pharmacie",
    "real",
    "restaurant",
    "school",
    "service",
    "services",
    "shop",
    "societe",
    "software",
    "solutions",
    "store",
    "studio",
    "systems",
    "tech",
    "technologies",
    "technology",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_for_binary_search() {
        assert!(
            JOINING.is_sorted() && PARTICLES.is_sorted() && LEGAL_FORMS.is_sorted() && GENERIC.is_sorted()
        );
    }

    #[test]
    fn folding_drops_case_accents_and_punctuation() {
        for (raw, folded) in [
            ("Société Générale", "societe generale"),
            ("SOCIETE   GENERALE ", "societe generale"),
            ("Socie\u{0301}te\u{0301} Ge\u{0301}ne\u{0301}rale", "societe generale"),
            ("Bel-Air (Hôtel)", "bel air hotel"),
            ("O'Brien & Söhne", "obrien sohne"),
            ("L’Atelier d'Éric", "l atelier d eric"),
            ("Straße", "strasse"),
            ("Łódź Øresund Œuvre", "lodz oresund oeuvre"),
            ("S.A.R.L. Dupont", "sarl dupont"),
            ("T.G.I. Friday's", "tgi fridays"),
            ("J.P. Morgan", "jp morgan"),
            ("St. John", "st john"),
            ("ＡＣＭＥ", "acme"),
            ("Иван Петров", "иван петров"),
            ("삼성 전자", "삼성 전자"),
            ("", ""),
            ("—", ""),
        ] {
            assert_eq!(fold_name(raw), folded, "{raw:?}");
        }
    }

    #[test]
    fn a_company_is_named_by_what_is_not_its_legal_form() {
        for (raw, words) in [
            ("Dupont SARL", vec!["dupont"]),
            ("S.A.R.L. Dupont", vec!["dupont"]),
            ("Müller GmbH & Co. KG", vec!["muller"]),
            ("Acme, Inc.", vec!["acme"]),
            ("The Acme Company Ltd", vec!["acme", "company"]),
            ("SAS", vec!["sas"]),
            ("Co SARL", vec!["co"]),
            ("Ateliers de l'Ouest S.A.", vec!["ateliers", "ouest"]),
            ("The The", vec!["the", "the"]),
            ("apple pan  the", vec!["apple", "pan"]),
            ("!!!", vec![]),
        ] {
            assert_eq!(company_words(raw), words, "{raw:?}");
        }
    }

    #[test]
    fn particles_do_not_name_a_person() {
        assert_eq!(person_words("Charles de la Tour"), ["charles", "tour"]);
        assert_eq!(person_words("Le Duc"), ["le", "duc"]);
        assert_eq!(person_words("A. Smith"), ["a", "smith"]);
    }

    #[test]
    fn look_alike_letters_of_another_script_stay_apart() {
        assert_ne!(fold_name("Acme"), fold_name("\u{0410}cme"));
    }

    proptest::proptest! {
        #[test]
        fn folding_twice_changes_nothing(raw in ".{0,60}") {
            let once = fold_name(&raw);
            proptest::prop_assert_eq!(fold_name(&once), once);
        }
    }
}
