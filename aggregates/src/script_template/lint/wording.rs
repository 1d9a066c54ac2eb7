//! What a label was probably meant to say, and what does not belong into a call.

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

/// The value of the option whose value or label is most like the text.
pub(crate) fn nearest<'a>(text: &str, options: &'a [Choice]) -> Option<&'a str> {
    let shape = |text: &str| folded(text).chars().take(COMPARED).collect::<String>();
    let wanted = shape(text);
    let likeness = |option: &Choice| {
        let alike = |text: &str| strsim::normalized_levenshtein(&wanted, &shape(text));
        alike(&option.value).max(alike(option.shown()))
    };
    // The first of equals, so that the answer depends on nothing but the script.
    let mut best: Option<(f64, &Choice)> = None;
    for option in options.iter().take(super::OPTIONS_MAX) {
        let alike = likeness(option);
        if best.is_none_or(|(so_far, _)| alike > so_far) {
            best = Some((alike, option));
        }
    }
    best.map(|(_, option)| option.value.as_str())
}

/// The name that was probably meant, if one is close enough.
pub(crate) fn nearest_name<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut best: Option<(f64, &str)> = None;
    for known in known {
        let alike = strsim::normalized_levenshtein(name, known);
        if alike >= 0.6 && best.is_none_or(|(so_far, _)| alike > so_far) {
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

/// The words by which a text is a reminder for the team and not something for a call.
pub(super) fn admin_text(text: &str) -> Option<&'static str> {
    // A question is for the one who is called, whatever it is about.
    let asks = text.trim_end().ends_with('?');
    let text = format!(" {} ", unabbreviated(&folded(text)));
    let says = |phrase: &str| text.contains(&format!(" {phrase} "));
    if let Some(note) = NOTES.into_iter().find(|note| says(note)) {
        return Some(note);
    }
    let updated = |verb: &&str| RECORDS.iter().any(|record| says(&format!("{verb} {record}")));
    if !asks && let Some(verb) = UPDATES.into_iter().find(updated) {
        return Some(verb);
    }
    let reported = |verb: &&str| REPORTS.iter().any(|report| says(&format!("{verb} {report}")));
    if !asks
        && let Some(phrase) =
            STANDINGS.into_iter().find(|phrase| says(phrase)).or_else(|| WRITES.into_iter().find(reported))
    {
        return Some(phrase);
    }
    if asks && SPOKEN_TO.into_iter().any(says) {
        return None;
    }
    let place = PLACES.into_iter().find(|place| says(place))?;
    VERBS.into_iter().any(says).then_some(place)
}

/// Letters that stand alone side by side as one word: "c r m" is what is left of "C.R.M.".
fn unabbreviated(text: &str) -> String {
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
    words.join(" ")
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
            assert_eq!(nearest(text, &options), Some(meant), "{text}");
        }
        assert_eq!(nearest("small", &[]), None);
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
