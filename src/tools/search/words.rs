//! From a text to what it is found by: words without accents and endings, and the concepts that they stand for.
//!
//! A user types English or French, with accents or without, and nobody says which. Each word is therefore stemmed in
//! both languages (Snowball's stemmers) and stands for either stem; a few concepts join the words that the two languages,
//! and two people, have for one thing.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization;

/// Words that are one concept: the first is its name.
const CONCEPTS: &[&[&str]] = &[
    &["list", "liste", "lister", "browse", "parcourir", "which", "quel", "quels", "quelle", "quelles"],
    &["show", "montre", "montrer", "affiche", "afficher", "see", "voir", "view"],
    &["get", "read", "lire", "open", "ouvrir", "detail", "consulter", "obtenir", "recuperer", "fetch"],
    &["create", "cree", "creer", "new", "nouveau", "nouvelle", "write", "ecrire", "rediger"],
    &["start", "launch", "lancer", "demarrer", "begin", "commencer"],
    &["update", "change", "edit", "modify", "modifier", "correct", "corriger", "fix", "adjust", "changer"],
    &["rename", "renommer"],
    &["pause", "suspend", "suspendre", "hold"],
    &["stop", "arreter", "end", "finish", "finished", "terminer", "close", "cloturer", "complete", "fin"],
    &["archive", "archiver"],
    &["delete", "supprimer", "efface", "effacer", "discard", "erase", "trash"],
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
    ],
    &["attach", "detach", "attacher", "detacher", "link", "associer", "lier", "rattacher", "connect"],
    &["import", "importer", "upload", "charger", "load"],
    &["export", "exporter", "download", "telecharger", "backup", "sauvegarder", "copy", "copier"],
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
        "intersection",
    ],
    &["several", "plusieurs", "multiple", "twice", "both", "deux", "two"],
    &["duplicate", "doublon", "double", "dedupe", "dedup", "deduplication"],
    &["template", "modele", "gabarit"],
    &["script", "argumentaire", "scenario", "pitch", "trame"],
    &["qualification", "qualify", "qualified", "qualifier", "qualifie"],
    &["form", "formulaire", "questionnaire", "grille"],
    &["field", "champ", "question", "schema"],
    &["execution", "call", "appel", "conversation", "entretien", "deroule"],
    &["answer", "reponse", "response", "repondre", "repondu", "said"],
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
    "no",
    "not",
    "t",
    "s",
    "d",
    "l",
    "n",
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
    "ne",
    "pas",
    "where",
    "why",
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
];

/// A word of a text: every form that it is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Its stems.
    pub stems: BTreeSet<String>,
    /// The concepts that it stands for, each by its name.
    pub concepts: BTreeSet<&'static str>,
}

/// The words of a text that say something. `campaignId` and `campaign_id` are two words each.
pub fn of(text: &str) -> Vec<Word> {
    parted(text).iter().filter(|word| !EMPTY.contains(&word.as_str())).map(|word| understood(word)).collect()
}

/// Small letters without accents, parted at whatever is no letter or digit and before a capital in the middle.
fn parted(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut small = false;
    for c in text.nfkd().filter(|c| !unicode_normalization::char::is_combining_mark(*c)) {
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
    Word { stems, concepts }
}

fn stems(word: &str) -> BTreeSet<String> {
    static STEMMERS: LazyLock<[Stemmer; 2]> =
        LazyLock::new(|| [Algorithm::English, Algorithm::French].map(Stemmer::create));
    STEMMERS.iter().map(|stemmer| stemmer.stem(word).into_owned()).collect()
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
        ] {
            let plain = |word: &str| parted(word).concat();
            assert!(meet(&plain(a), &plain(b)), "{a} {b}");
        }
        assert!(!meet("campaign", "contact"));
    }

    #[test]
    fn a_name_is_parted_as_it_is_written() {
        assert_eq!(
            parted("campaignId list_campaigns E\u{301}te\u{301} d'ici"),
            ["campaign", "id", "list", "campaigns", "ete", "d", "ici"]
        );
        assert!(of("the of to ¿?").is_empty());
    }
}
