//! From a text to what it is found by: words without accents and endings, and the concepts that they stand for.
//!
//! A user types English or French, with accents or without, and nobody says which. Each word is therefore stemmed in
//! both languages (Snowball's stemmers) and stands for either stem; a few concepts join the words that the two languages,
//! and two people, have for one thing.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Words that are one concept: the first is its name.
const CONCEPTS: &[&[&str]] = &[
    &["list", "liste", "lister", "browse", "parcourir", "which", "quel", "quels", "quelle", "quelles"],
    &["show", "montre", "montrer", "affiche", "afficher", "see", "voir", "view"],
    &["get", "read", "lire", "open", "ouvrir", "detail", "consulter", "obtenir", "recuperer", "fetch"],
    &["create", "cree", "creer", "new", "nouveau", "nouvelle", "write", "ecrire", "rediger"],
    &["start", "launch", "lancer", "demarrer", "begin", "commencer"],
    &["update", "change", "edit", "modify", "modifier", "correct", "corriger", "fix", "adjust", "changer"],
    &["rename", "renommer"],
    &["pause", "suspend", "suspendre", "suspendu", "hold"],
    &["activate", "reactivate", "activer", "reactiver", "resume", "reprendre"],
    &["stop", "arreter", "end", "finish", "finished", "terminer", "close", "cloturer", "complete", "fin"],
    &["archive", "archiver"],
    &["delete", "supprimer", "efface", "effacer", "discard", "erase", "trash", "remove", "jeter", "poubelle"],
    &["remove", "retirer", "enlever", "take", "drop", "sortir", "exclude", "exclure"],
    &["add", "ajouter", "ajoute", "put", "inscrire", "enrol", "enroll", "mettre"],
    &[
        "assign",
        "assigned",
        "affecter",
        "attribuer",
        "repartir",
        "distribute",
        "distribuer",
        "give",
        "confier",
        "split",
        "reassign",
        "balance",
        "rebalance",
        "equilibrer",
    ],
    &["attach", "detach", "attacher", "detacher", "link", "associer", "lier", "rattacher", "connect"],
    &["import", "importer", "upload", "charger", "load"],
    &[
        "export",
        "exporter",
        "download",
        "telecharger",
        "backup",
        "sauvegarder",
        "copy",
        "copier",
        "clone",
        "cloner",
        "dupliquer",
    ],
    &["count", "combien", "many", "number", "nombre", "compter", "total"],
    &[
        "contact",
        "people",
        "person",
        "prospect",
        "lead",
        "customer",
        "client",
        "personne",
        "everyone",
        "everybody",
        "gens",
        "fiche",
    ],
    &["campaign", "campagne"],
    &[
        "agent",
        "caller",
        "commercial",
        "commerciaux",
        "appelant",
        "teleprospecteur",
        "operator",
        "team",
        "equipe",
        "operateur",
        "rep",
        "colleague",
        "collegue",
    ],
    &["workload", "charge", "busy", "occupe", "work", "travail"],
    &[
        "overlap",
        "chevauchement",
        "recoupement",
        "shared",
        "common",
        "commun",
        "partage",
        "croisement",
        "recouvrement",
        "intersection",
    ],
    &["several", "plusieurs", "multiple", "twice", "both", "deux", "two"],
    &["duplicate", "doublon", "double", "dedupe", "dedup", "deduplication"],
    &["template", "modele", "gabarit"],
    &["script", "argumentaire", "scenario", "pitch", "trame"],
    &[
        "qualification",
        "qualify",
        "qualified",
        "qualifier",
        "qualifie",
        "disqualify",
        "disqualifier",
        "reject",
        "rejete",
        "ecarte",
    ],
    &["form", "formulaire", "questionnaire", "grille"],
    &["field", "champ", "question", "schema"],
    &["execution", "call", "appel", "conversation", "entretien", "deroule", "phone", "telephone"],
    &["answer", "reponse", "response", "repondre", "repondu", "said", "say", "told", "dit"],
    &["record", "enregistrer", "noter", "saisir", "note"],
    &[
        "workspace",
        "organization",
        "organisation",
        "espace",
        "company",
        "entreprise",
        "societe",
        "compte",
        "account",
        "tenant",
    ],
    &["find", "trouver", "retrouver", "search", "chercher", "cherche", "lookup", "identifier"],
    &[
        "overview",
        "summary",
        "resume",
        "dashboard",
        "tableau",
        "ensemble",
        "situation",
        "apercu",
        "glance",
        "globalement",
    ],
    &["follow", "relance", "rappel", "rappeler", "callback"],
    &["filter", "filtre", "criteria", "critere", "matching"],
    &["city", "ville"],
    &["tag", "tagged", "etiquette"],
    &["phone", "telephone", "tel", "mobile"],
    &["file", "fichier", "spreadsheet", "csv", "document"],
    &["without", "sans", "missing"],
    &["each", "chaque", "per", "every"],
    &["who", "qui", "whom", "somebody", "someone", "quelqu", "personne"],
    &["most", "least", "fewest", "highest", "lowest", "plus", "moins", "maximum", "minimum"],
    &["save", "keep", "garder", "conserver"],
    &["required", "mandatory", "compulsory", "obligatoire", "optional", "facultatif", "optionnel"],
    &["why", "reason", "pourquoi", "raison"],
    &["score", "point", "note", "bareme", "grade", "rating"],
    &["ask", "demander", "poser"],
    &["compare", "comparer", "comparison", "comparaison"],
];

/// Words that say nothing of what is wanted.
const EMPTY: &[&str] = &[
    "a",
    "an",
    "the",
    "of",
    "to",
    "in",
    "on",
    "for",
    "from",
    "by",
    "with",
    "and",
    "or",
    "is",
    "are",
    "was",
    "were",
    "am",
    "do",
    "does",
    "did",
    "i",
    "my",
    "me",
    "we",
    "our",
    "us",
    "it",
    "its",
    "this",
    "that",
    "these",
    "those",
    "one",
    "what",
    "how",
    "would",
    "into",
    "their",
    "they",
    "them",
    "he",
    "she",
    "has",
    "have",
    "had",
    "be",
    "been",
    "being",
    "out",
    "up",
    "at",
    "as",
    "if",
    "so",
    "some",
    "any",
    "all",
    "there",
    "here",
    "t",
    "s",
    "d",
    "l",
    "c",
    "j",
    "m",
    "qu",
    "le",
    "la",
    "les",
    "un",
    "une",
    "des",
    "du",
    "de",
    "au",
    "aux",
    "et",
    "ou",
    "en",
    "dans",
    "sur",
    "pour",
    "par",
    "avec",
    "est",
    "sont",
    "mon",
    "ma",
    "mes",
    "nos",
    "notre",
    "ce",
    "cet",
    "cette",
    "ces",
    "je",
    "tu",
    "il",
    "elle",
    "on",
    "nous",
    "vous",
    "ils",
    "y",
    "que",
    "se",
    "sa",
    "son",
    "ses",
    "leur",
    "leurs",
    "a",
    "ont",
    "ete",
    "tous",
    "tout",
    "toute",
    "toutes",
    "please",
    "want",
    "can",
    "you",
    "your",
    "veux",
    "peux",
    "tool",
    "moi",
    "donne",
    "tell",
    "because",
    "when",
    "then",
    "only",
    "about",
    "where",
    "will",
    "should",
    "may",
    "need",
    "just",
    "go",
    "goes",
    "going",
    "gone",
    "let",
    "now",
    "right",
    "currently",
    "today",
    "really",
    "very",
    "too",
    "also",
    "still",
    "yet",
    "already",
    "thing",
    "things",
    "something",
    "anything",
    "there",
    "like",
    "could",
    "maintenant",
    "actuellement",
    "aujourd",
    "hui",
    "deja",
    "encore",
    "aussi",
    "tres",
    "vraiment",
    "chose",
    "choses",
    "va",
    "vont",
    "aller",
    "fait",
    "faire",
    "faut",
    "dois",
    "doit",
    "voudrais",
    "aimerais",
    "avoir",
    "etre",
    "ai",
    "as",
    "avons",
    "avez",
    "between",
    "entre",
    "over",
    "across",
    "chez",
    "vers",
];

/// Words that deny the next word that says something. Of those in two parts, `don't` and `ne ... pas`, either part does.
const DENYING: &[&str] = &[
    "not", "no", "never", "isn", "aren", "wasn", "weren", "hasn", "haven", "hadn", "doesn", "don", "didn",
    "shouldn", "wouldn", "couldn", "mustn", "cannot", "n", "ne", "pas", "non", "jamais", "aucun", "aucune",
];

/// A word of a text: every form that it is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Its stems.
    pub stems: BTreeSet<String>,
    /// The concepts that it stands for, each by its name.
    pub concepts: BTreeSet<&'static str>,
    /// Whether it is denied: who is not qualified is another matter than who is.
    pub denied: bool,
}

/// The words of a text that say something. `campaignId` and `campaign_id` are two words each.
pub fn of(text: &str) -> Vec<Word> {
    let mut words = vec![];
    let mut denied = false;
    for word in parted(text) {
        let plain = plain(&word);
        // `Ne ... plus` and `no longer` deny, where `plus` alone compares.
        if DENYING.contains(&plain.as_str()) || denied && matches!(plain.as_str(), "plus" | "longer") {
            denied = true;
        } else if !EMPTY.contains(&plain.as_str()) {
            words.push(Word { denied: std::mem::take(&mut denied), ..understood(&word) });
        }
    }
    words
}

/// Small letters, parted at whatever is no letter or digit and before a capital in the middle.
fn parted(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut small = false;
    for c in text.nfkc().filter(|c| !is_combining_mark(*c)) {
        let starts_another = small && c.is_uppercase();
        if (!c.is_alphanumeric() || starts_another) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
        small = c.is_lowercase();
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// A word without its accents.
fn plain(word: &str) -> String {
    word.nfkd().filter(|c| !is_combining_mark(*c)).collect::<String>().replace('œ', "oe").replace('æ', "ae")
}

fn understood(word: &str) -> Word {
    static NAMED: LazyLock<HashMap<String, BTreeSet<&'static str>>> = LazyLock::new(|| {
        let mut named: HashMap<String, BTreeSet<&'static str>> = HashMap::new();
        for words in CONCEPTS {
            for stem in words.iter().flat_map(|word| stems(word)) {
                named.entry(stem).or_default().insert(words[0]);
            }
        }
        named
    });
    let stems = stems(word);
    let concepts = stems.iter().filter_map(|stem| NAMED.get(stem)).flatten().copied().collect();
    Word { stems, concepts, denied: false }
}

/// The stems of a word, without accents. In French an accent may tell what is an ending (`qualifiée`), also where the user
/// typed none.
fn stems(word: &str) -> BTreeSet<String> {
    static STEMMERS: LazyLock<[Stemmer; 2]> =
        LazyLock::new(|| [Algorithm::English, Algorithm::French].map(Stemmer::create));
    let [english, french] = &*STEMMERS;
    let bare = plain(word);
    let participle = ["ee", "ees"].iter().find_map(|ending| {
        let stem = bare.strip_suffix(ending)?;
        Some(format!("{stem}é{}", &ending[1..]))
    });
    let mut stems = BTreeSet::from([english.stem(&bare).into_owned()]);
    for form in [Some(bare.as_str()), Some(word), participle.as_deref()].into_iter().flatten() {
        stems.insert(plain(&french.stem(form)));
    }
    stems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_one_kind_meet() {
        let meet = |a: &str, b: &str| {
            let (a, b) = (understood(a), understood(b));
            !a.stems.is_disjoint(&b.stems) || !a.concepts.is_disjoint(&b.concepts)
        };
        for (a, b) in [
            ("campaigns", "campaign"),
            ("campagnes", "campaign"),
            ("removing", "remove"),
            ("retirés", "retirer"),
            ("réponses", "answer"),
            ("téléprospecteurs", "agent"),
            ("qualifiées", "qualifier"),
            ("appelée", "appelés"),
        ] {
            assert!(meet(a, b) && meet(&plain(a), b), "{a} {b}");
        }
        assert!(!meet("campaign", "contact"));
    }

    #[test]
    fn a_name_is_parted_as_it_is_written() {
        assert_eq!(
            parted("campaignId list_campaigns E\u{301}te\u{301} d'ici"),
            ["campaign", "id", "list", "campaigns", "été", "d", "ici"]
        );
        assert_eq!(plain("cœur été"), "coeur ete");
        assert!(of("the of to ¿?").is_empty());
    }

    #[test]
    fn what_is_denied_is_the_next_word_that_says_something() {
        for (text, denied) in [
            ("ce prospect n'est pas qualifié", &["qualifié"][..]),
            ("cette fiche n’est plus qualifiée", &["qualifiée"]),
            ("who has not been called, and who hasn't answered", &["called", "answered"]),
            ("not_interested", &["interested"]),
            ("qui a le plus de prospects", &[]),
            ("est-elle qualifiée ou non", &[]),
        ] {
            let found: Vec<_> =
                of(text).into_iter().filter(|word| word.denied).map(|word| word.stems).collect();
            assert_eq!(found, denied.iter().map(|word| stems(word)).collect::<Vec<_>>(), "{text}");
        }
    }
}
