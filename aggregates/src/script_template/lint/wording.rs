//! What a label was probably meant to say, and what does not belong into a call.

use std::collections::HashMap;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::super::Choice;

/// Small letters without accents, words parted by single spaces, nothing else: what two texts are compared by when
/// one was meant to be the other.
fn folded(text: &str) -> String {
    let letters =
        text.nfkd().filter(|c| !is_combining_mark(*c) && !invisible(*c)).flat_map(char::to_lowercase);
    let spaced: String = letters.map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Characters that take no room and change what a text is equal to: joiners, marks of direction, soft hyphens.
pub(super) const fn invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}

/// Whether a label means yes or no in a language that an author may have thought in.
pub(crate) fn yes_or_no(label: &str) -> Option<&'static str> {
    match folded(label).as_str() {
        "oui" | "yes" | "y" | "o" | "ja" | "si" | "sim" | "true" | "vrai" | "ok" | "1" => Some("Oui"),
        "non" | "no" | "n" | "nein" | "nao" | "false" | "faux" | "0" => Some("Non"),
        _ => None,
    }
}

/// Characters by which two texts are compared: the cost grows with their product.
const COMPARED: usize = 60;
/// Characters of a text that are folded for that: what is folded away leaves enough of them.
const FOLDED: usize = 4 * COMPARED;

/// A text as others are compared with it.
struct Shape(Vec<char>);

impl Shape {
    fn of(text: &str) -> Self {
        let begun: String = text.chars().take(FOLDED).collect();
        Self(folded(&begun).chars().take(COMPARED).collect())
    }

    /// How much of the longer one is alike, as a fraction, unless it is at most as much as the fraction given. Whatever
    /// the letters are, no more can be alike than the shorter one has: most texts are told apart by their lengths.
    fn more_alike(&self, other: &Self, than: Option<(usize, usize)>) -> Option<(usize, usize)> {
        let (shorter, longer) = (self.0.len().min(other.0.len()), self.0.len().max(other.0.len()));
        if longer == 0 {
            return Some((1, 1)).filter(|whole| exceeds(*whole, than));
        }
        if !exceeds((shorter, longer), than) {
            return None;
        }
        let alike = (longer - strsim::generic_levenshtein(&self.0, &other.0), longer);
        Some(alike).filter(|alike| exceeds(*alike, than))
    }
}

/// Whether a fraction is more than another one, or than nothing at all.
fn exceeds((part, whole): (usize, usize), than: Option<(usize, usize)>) -> bool {
    than.is_none_or(|(other_part, other_whole)| part * other_whole > other_part * whole)
}

/// What the options of one node are compared by: made once, however many texts are held against them.
pub(crate) struct Meanings<'a>(Vec<(Shape, &'a str)>);

impl<'a> Meanings<'a> {
    /// Of the options that a text may mean; one without a value is no answer.
    pub(crate) fn of(options: &'a [Choice]) -> Self {
        let meant = |option: &&Choice| !super::blank(&option.value);
        let shapes = options.iter().take(super::OPTIONS_MAX).filter(meant).flat_map(|option| {
            let label = Some(option.shown()).filter(|label| *label != option.value);
            std::iter::once(option.value.as_str())
                .chain(label)
                .map(|text| (Shape::of(text), option.value.as_str()))
        });
        Self(shapes.collect())
    }

    /// The value of the option whose value or label is most like the text.
    pub(crate) fn nearest(&self, text: &str) -> Option<&'a str> {
        let wanted = Shape::of(text);
        // The first of equals, so that the answer depends on nothing but the script.
        let mut best: Option<((usize, usize), &str)> = None;
        for (shape, value) in &self.0 {
            if let Some(alike) = wanted.more_alike(shape, best.map(|(alike, _)| alike)) {
                best = Some((alike, value));
            }
        }
        best.map(|(_, value)| value)
    }
}

/// The name that was probably meant, if one is close enough.
pub(crate) fn nearest_name<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// The part of the longer name that is alike, at least.
    const ALIKE: f64 = 0.6;
    /// Characters of a name that may be meant by another: nobody adds as many as it has.
    const NAME: usize = 128;
    let mut best: Option<(f64, &str)> = None;
    if name.chars().nth(NAME).is_some() {
        return None;
    }
    for known in known {
        let alike = strsim::normalized_levenshtein(name, known);
        if alike >= ALIKE && best.is_none_or(|(so_far, _)| alike > so_far) {
            best = Some((alike, known));
        }
    }
    best.map(|(_, known)| known)
}

/// What somebody is told to do with data, in the imperative and in the infinitive.
const VERBS: [&str; 38] = [
    "ajouter",
    "ajoutez",
    "cocher",
    "cochez",
    "completer",
    "completez",
    "consigner",
    "consignez",
    "creer",
    "creez",
    "enregistrer",
    "enregistrez",
    "indiquer",
    "indiquez",
    "inscrire",
    "inscrivez",
    "mettre a jour",
    "mettez a jour",
    "noter",
    "notez",
    "remplir",
    "remplissez",
    "renseigner",
    "renseignez",
    "reporter",
    "reportez",
    "saisir",
    "saisissez",
    "create",
    "enter",
    "fill in",
    "log",
    "note",
    "record",
    "report",
    "save",
    "tick",
    "update",
];
/// Where it is to go: places that the person called knows nothing of.
const PLACES: [&str; 26] = [
    "dans le crm",
    "dans notre crm",
    "dans la fiche",
    "sur la fiche",
    "dans le logiciel",
    "dans salesforce",
    "dans hubspot",
    "dans pipedrive",
    "dans zoho",
    "dans l outil",
    "dans l application",
    "dans le systeme",
    "au crm",
    "in salesforce",
    "in hubspot",
    "in pipedrive",
    "in zoho",
    "in the tool",
    "in the application",
    "in the system",
    "on the record",
    "in the crm",
    "into the crm",
    "in our crm",
    "to the crm",
    "in the record",
];
/// What is done to a record itself, and not to what stands in it.
const UPDATES: [&str; 10] = [
    "mettre a jour",
    "mettez a jour",
    "mise a jour de",
    "mise a jour du",
    "completer",
    "completez",
    "remplir",
    "remplissez",
    "update",
    "fill in",
];
/// Records that only the team has.
const RECORDS: [&str; 12] = [
    "le crm",
    "notre crm",
    "crm",
    "la fiche",
    "sa fiche",
    "fiche",
    "salesforce",
    "hubspot",
    "the crm",
    "our crm",
    "the record",
    "the contact record",
];
/// What is written about a call, and by whom it was made: nobody who is called is told to.
const WRITES: [&str; 12] = [
    "saisir",
    "saisissez",
    "rediger",
    "redigez",
    "remplir",
    "remplissez",
    "consigner",
    "consignez",
    "log",
    "write up",
    "enter",
    "fill in",
];
const REPORTS: [&str; 9] = [
    "le compte rendu",
    "un compte rendu",
    "le rapport d appel",
    "le statut",
    "the call",
    "this call",
    "the call notes",
    "the call report",
    "the outcome",
];
/// How a contact stands is for the team alone.
const STANDINGS: [&str; 8] = [
    "mettre le statut",
    "mettez le statut",
    "passer le statut",
    "passez le statut",
    "changer le statut",
    "changez le statut",
    "set the status",
    "change the status",
];
/// Whoever is asked something is spoken to.
const SPOKEN_TO: [&str; 7] = ["vous", "votre", "vos", "puis je", "you", "your", "may i"];
/// Words that only a note to the team has.
const NOTES: [&str; 8] = [
    "usage interne",
    "note interne",
    "ne pas lire",
    "rappel admin",
    "internal note",
    "internal use",
    "do not read",
    "admin only",
];

/// What it says of a text that a phrase is in it.
#[derive(Clone, Copy)]
enum Sign {
    Note,
    Update,
    Standing,
    Report,
    SpokenTo,
    Verb,
    Place,
}

/// How many signs there are.
const SIGNS: usize = Sign::Place as usize + 1;

struct Phrase {
    words: Vec<&'static str>,
    sign: Sign,
    /// Of several phrases with one sign the one of the lowest rank is told.
    rank: usize,
    told: &'static str,
}

/// All phrases by their first words: a text is gone through once, however many phrases there are.
static PHRASES: LazyLock<HashMap<&'static str, Vec<Phrase>>> = LazyLock::new(|| {
    let mut phrases: HashMap<&'static str, Vec<Phrase>> = HashMap::new();
    let mut add = |sign, rank, told: &'static str, rest: Option<&'static str>| {
        let words: Vec<&'static str> =
            told.split(' ').chain(rest.into_iter().flat_map(|rest| rest.split(' '))).collect();
        if let Some(&first) = words.first() {
            phrases.entry(first).or_default().push(Phrase { words, sign, rank, told });
        }
    };
    for (sign, told) in [
        (Sign::Note, &NOTES[..]),
        (Sign::Standing, &STANDINGS[..]),
        (Sign::SpokenTo, &SPOKEN_TO[..]),
        (Sign::Verb, &VERBS[..]),
        (Sign::Place, &PLACES[..]),
    ] {
        told.iter().enumerate().for_each(|(rank, told)| add(sign, rank, told, None));
    }
    for (sign, verbs, objects) in
        [(Sign::Update, &UPDATES[..], &RECORDS[..]), (Sign::Report, &WRITES[..], &REPORTS[..])]
    {
        for (rank, verb) in verbs.iter().enumerate() {
            objects.iter().for_each(|object| add(sign, rank, verb, Some(object)));
        }
    }
    phrases
});

/// The words by which a text is a reminder for the team and not something for a call.
pub(super) fn admin_text(text: &str) -> Option<&'static str> {
    // A question is for the one who is called, whatever it is about.
    let asks = text.trim_end().ends_with('?');
    let words = unabbreviated(&folded(text));
    let mut found: [Option<(usize, &'static str)>; SIGNS] = [None; SIGNS];
    for (at, first) in words.iter().enumerate() {
        for phrase in PHRASES.get(first.as_str()).into_iter().flatten() {
            let best = &mut found[phrase.sign as usize];
            if best.is_none_or(|(rank, _)| phrase.rank < rank)
                && words.len() - at >= phrase.words.len()
                && words[at..].iter().zip(&phrase.words).all(|(word, said)| word == said)
            {
                *best = Some((phrase.rank, phrase.told));
            }
        }
    }
    let told = |sign: Sign| found[sign as usize].map(|(_, told)| told);
    let done = || told(Sign::Update).or(told(Sign::Standing)).or(told(Sign::Report));
    let put = || told(Sign::Verb).and(told(Sign::Place));
    match told(Sign::Note) {
        Some(note) => Some(note),
        None if !asks => done().or_else(put),
        None if told(Sign::SpokenTo).is_some() => None,
        None => put(),
    }
}

/// The words of a folded text, letters that stand alone side by side as one: "c r m" is what is left of "C.R.M.".
fn unabbreviated(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut spelling = false;
    for word in text.split(' ') {
        let letter = word.chars().count() == 1 && word.chars().all(char::is_alphabetic);
        match words.last_mut() {
            Some(last) if letter && spelling => last.push_str(word),
            _ => words.push(word.to_owned()),
        }
        spelling = letter;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reminder_is_told_from_a_question() {
        for (text, reminder) in [
            ("Reporter dans le CRM", true),
            ("reporter  DANS le crm !", true),
            ("Note interne : client difficile", true),
            ("Mettez à jour la fiche : saisir l'adresse dans la fiche", true),
            ("Log the answer in the CRM.", true),
            ("Update the CRM after the call", true),
            ("Penser à mettre à jour la fiche", true),
            ("Reporter dans le C.R.M.", true),
            ("Reporter dans le C. R. M. après l'appel", true),
            ("Reporter au CRM", true),
            ("À reporter dans l'outil", true),
            ("Ne pas oublier de saisir le compte rendu", true),
            ("Don't forget to log the call", true),
            ("Create a task in HubSpot", true),
            ("Mettre le statut à qualifié", true),
            ("Consigner le rapport d'appel avant le suivant", true),
            ("Saisissez-vous vos devis dans le CRM vous-même ?", false),
            ("Puis-je noter votre accord dans le système ?", false),
            ("Did you log the call with our support?", false),
            ("N'oubliez pas de nous rappeler", false),
            ("Souhaitez-vous mettre à jour votre fiche de paie ?", false),
            ("Qui met à jour le CRM chez vous ?", false),
            ("Do you update the CRM yourselves?", false),
            ("Did the CRM update slow you down?", false),
            ("Il y a un plan A et un plan B", false),
            ("Utilisez-vous un CRM ?", false),
            ("Vos contacts sont-ils dans le CRM de votre réseau ?", false),
            ("Puis-je noter votre adresse ?", false),
            ("Catalog in the CRM era", false),
        ] {
            assert_eq!(admin_text(text).is_some(), reminder, "{text}");
        }
    }

    #[test]
    fn what_was_meant_is_found_in_values_and_labels() {
        let options = [("small", Some("Moins de 10")), ("large", Some("Plus de 10")), ("été", None)];
        let options = options.map(|(value, label)| Choice::new(value, label.map(str::to_owned)));
        for (text, meant) in [
            ("Small", "small"),
            ("plus de 10", "large"),
            ("lagre", "large"),
            ("Ete", "été"),
            ("e\u{301}te\u{301}", "été"),
        ] {
            assert_eq!(Meanings::of(&options).nearest(text), Some(meant), "{text}");
        }
        assert_eq!(Meanings::of(&[]).nearest("small"), None);
        // An option that says nothing is not what somebody meant.
        let empty = [Choice::new("", None), Choice::new("x", None)];
        assert_eq!(Meanings::of(&empty).nearest(""), Some("x"));
    }

    #[test]
    fn yes_and_no_are_understood_in_several_languages() {
        for (label, meant) in [
            ("oui", Some("Oui")),
            ("OUI", Some("Oui")),
            ("Oui ", Some("Oui")),
            ("Oui\u{200b}", Some("Oui")),
            ("Yes", Some("Oui")),
            ("no", Some("Non")),
            ("NON.", Some("Non")),
            ("Maybe", None),
        ] {
            assert_eq!(yes_or_no(label), meant, "{label}");
        }
    }
}
