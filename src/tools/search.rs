//! Which tools fit what somebody wants to do, in words, English or French.
//!
//! Words are reduced to concepts, so that "retirer" and "removing" are one; a concept weighs by how few tools have it,
//! and a name counts for more than a description. Nothing here knows a tool: only words.

use std::collections::{HashMap, HashSet};

use unicode_normalization::UnicodeNormalization;

/// How much more a name says than a description.
const NAME: f64 = 4.0;

/// What a tool is searched by.
pub struct Entry<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it does.
    pub description: &'a str,
}

/// Words that are one concept: the first is its name. Stems, without accents.
const CONCEPTS: &[&[&str]] = &[
    &[
        "list", "liste", "lister", "show", "montre", "montrer", "affiche", "afficher", "all", "tous",
        "toute", "browse", "quel", "quelle", "which", "who", "qui",
    ],
    &[
        "get",
        "see",
        "read",
        "open",
        "voir",
        "lire",
        "ouvrir",
        "detail",
        "look",
        "consulter",
        "obtenir",
        "recuperer",
        "fetch",
    ],
    &[
        "create",
        "cree",
        "creer",
        "new",
        "nouveau",
        "nouvelle",
        "start",
        "make",
        "launch",
        "qualify",
        "qualifier",
        "lancer",
        "write",
        "ecrire",
        "rediger",
        "draft",
    ],
    &[
        "update", "change", "edit", "modify", "modifier", "rename", "renommer", "pause", "archive",
        "archiver", "correct", "corriger", "set", "mettre",
    ],
    &["delete", "supprimer", "efface", "effacer", "discard"],
    &["remove", "retirer", "enlever", "take", "drop", "sortir"],
    &["add", "ajouter", "ajoute", "put", "inscrire"],
    &["assign", "affecter", "attribuer", "repartir", "distribute", "distribuer", "give", "confier"],
    &["attach", "detach", "attacher", "detacher", "link", "associer", "lier", "rattacher"],
    &["import", "importer", "upload", "charger"],
    &["export", "exporter", "download", "telecharger", "backup", "sauvegarder"],
    &["count", "combien", "many", "number", "nombre", "compter", "total"],
    &["contact", "people", "person", "prospect", "lead", "customer", "client", "personne"],
    &["campaign", "campagne"],
    &[
        "agent",
        "caller",
        "commercial",
        "appelant",
        "teleprospecteur",
        "operator",
        "team",
        "equipe",
        "operateur",
        "rep",
    ],
    &["workload", "charge", "busy", "occupe", "travail", "work", "load"],
    &[
        "overlap",
        "chevauchement",
        "recoupement",
        "shared",
        "common",
        "commun",
        "partage",
        "between",
        "entre",
        "croisement",
    ],
    &["multiple", "several", "plusieurs", "twice", "more", "both", "deux"],
    &["deduplication", "duplicate", "doublon", "double", "dedupe", "dedup", "same"],
    &["template", "modele", "gabarit"],
    &["script", "argumentaire", "scenario", "conversation"],
    &["qualification", "qualify", "qualifier", "qualifie"],
    &["schema", "field", "champ", "question", "formulaire", "form"],
    &["execution", "response", "reponse", "answer", "deroule", "appel", "call", "said", "progress", "run"],
    &["upsert", "record", "enregistrer", "save", "noter", "saisir", "log"],
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
    &[
        "resolve",
        "find",
        "trouver",
        "identifier",
        "id",
        "identifiant",
        "slug",
        "owner",
        "search",
        "chercher",
        "cherche",
    ],
    &[
        "overview",
        "summary",
        "resume",
        "dashboard",
        "tableau",
        "ensemble",
        "situation",
        "apercu",
        "state",
        "etat",
        "status",
    ],
    &["follow", "relance", "rappel", "rappeler", "callback"],
    &["filter", "filtre", "criteria", "critere", "city", "ville", "tag", "matching"],
    &["bulk", "masse", "lot", "mass"],
];

/// Words that say nothing of what is wanted.
const EMPTY: &[&str] = &[
    "a", "an", "the", "of", "to", "in", "on", "for", "from", "by", "with", "and", "or", "is", "are", "do",
    "does", "i", "my", "me", "we", "our", "it", "its", "this", "that", "these", "those", "one", "what",
    "how", "would", "into", "their", "have", "has", "be", "out", "up", "at", "as", "not", "if", "use", "le",
    "la", "les", "un", "une", "des", "du", "de", "d", "l", "au", "aux", "et", "ou", "en", "dans", "sur",
    "pour", "par", "avec", "est", "sont", "mon", "ma", "mes", "nos", "notre", "ce", "cet", "cette", "ces",
    "je", "il", "y", "que", "s", "sa", "son", "ses", "a-t", "t", "please", "want", "can", "you", "veux",
    "peux", "tool",
];

/// The tools that fit, the best first; the order given decides between equals.
pub fn ranked(entries: &[Entry<'_>], query: &str) -> Vec<usize> {
    let wanted: HashSet<String> = concepts(query).into_iter().collect();
    let documents: Vec<(HashSet<String>, HashSet<String>)> = entries
        .iter()
        .map(|entry| {
            let name: HashSet<String> = concepts(&entry.name.replace('_', " ")).into_iter().collect();
            (name, concepts(entry.description).into_iter().collect())
        })
        .collect();
    let mut weights: HashMap<&str, (f64, f64)> = HashMap::new();
    for concept in &wanted {
        let named = documents.iter().filter(|(name, _)| name.contains(concept)).count();
        let said = documents.iter().filter(|(_, description)| description.contains(concept)).count();
        weights.insert(concept, (rarity(entries.len(), named), rarity(entries.len(), said)));
    }
    let mut scored: Vec<(f64, usize)> = documents
        .iter()
        .enumerate()
        .map(|(index, (name, description))| {
            let mut score = 0.0;
            for (concept, (in_name, in_description)) in &weights {
                if name.contains(*concept) {
                    score += NAME * in_name;
                } else if description.contains(*concept) {
                    score += in_description;
                }
            }
            // Of two names that have all that is wanted, the one that says less beside it is meant.
            let beside = name.difference(&wanted).count();
            (score / (1.0 + 0.08 * precise(beside)), index)
        })
        .filter(|(score, _)| *score > 0.0)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scored.into_iter().map(|(_, index)| index).collect()
}

fn rarity(all: usize, found: usize) -> f64 {
    ((1.0 + precise(all)) / (0.5 + precise(found))).ln().max(0.0)
}

#[allow(clippy::cast_precision_loss, reason = "tools are counted in tens")]
fn precise(count: usize) -> f64 {
    count as f64
}

/// The concepts of a text.
fn concepts(text: &str) -> Vec<String> {
    let plain: String = text.nfd().filter(char::is_ascii).collect::<String>().to_ascii_lowercase();
    plain
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty() && !EMPTY.contains(word))
        .flat_map(concept)
        .collect()
}

/// What a word stands for: one concept or more, itself where it is none that is known.
fn concept(word: &str) -> Vec<String> {
    let stem = stem(word);
    let same = |known: &&str| *known == word || self::stem(known) == stem;
    let known: Vec<String> =
        CONCEPTS.iter().filter(|words| words.iter().any(same)).map(|words| words[0].to_owned()).collect();
    if known.is_empty() { vec![stem] } else { known }
}

/// A word without its plural, and without the endings of English verbs.
fn stem(word: &str) -> String {
    let mut stem = word;
    for ending in ["ations", "ation", "ments", "ment", "ings", "ing", "ed", "es", "s", "e", "x"] {
        if let Some(rest) = stem.strip_suffix(ending)
            && rest.len() >= 4
        {
            stem = rest;
            break;
        }
    }
    stem.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::{CONTRACT, catalog};

    /// What users say, and the tool that they mean.
    const PHRASES: [(&str, &str); 44] = [
        ("find the organization by its owner's email", "crm_resolve_workspace"),
        ("which workspace is Traboule", "crm_resolve_workspace"),
        ("trouver l'identifiant de l'organisation", "crm_resolve_workspace"),
        ("overview of the workspace", "get_crm_workspace_overview"),
        ("donne-moi une vue d'ensemble du CRM", "get_crm_workspace_overview"),
        ("who are our callers", "list_outbound_agents"),
        ("liste des téléprospecteurs", "list_outbound_agents"),
        ("how busy is each agent", "bulk_get_agent_workloads"),
        ("charge de travail des agents", "bulk_get_agent_workloads"),
        ("show all campaigns", "list_campaigns"),
        ("quelles campagnes sont actives", "list_campaigns"),
        ("details of one campaign", "get_campaign"),
        ("start a new campaign", "create_outbound_campaign"),
        ("créer une campagne", "create_outbound_campaign"),
        ("pause a campaign", "update_outbound_campaign"),
        ("renommer la campagne", "update_outbound_campaign"),
        ("attach a script to a campaign", "attach_campaign_templates"),
        ("add contacts from Lyon to a campaign", "bulk_add_contacts_to_campaign_by_filter"),
        ("ajouter des contacts à une campagne", "bulk_add_contacts_to_campaign_by_filter"),
        ("remove people from the campaign", "bulk_remove_contacts_from_campaign"),
        ("retirer des contacts de la campagne", "bulk_remove_contacts_from_campaign"),
        ("contacts that are in several campaigns", "find_contacts_in_multiple_campaigns"),
        ("contacts présents dans plusieurs campagnes", "find_contacts_in_multiple_campaigns"),
        ("overlap between campaigns", "get_campaign_contact_overlap"),
        ("recoupement entre deux campagnes", "get_campaign_contact_overlap"),
        ("how many contacts per campaign", "bulk_get_campaign_contact_counts"),
        ("combien de contacts par campagne", "bulk_get_campaign_contact_counts"),
        ("find duplicates in an import", "analyze_import_contact_deduplication"),
        ("doublons dans le fichier importé", "analyze_import_contact_deduplication"),
        ("assign contacts to callers", "bulk_assign_campaign_contacts"),
        ("répartir les contacts entre les commerciaux", "bulk_assign_campaign_contacts"),
        ("list contacts with an overdue follow-up", "list_outbound_contacts"),
        ("list script templates", "list_script_templates"),
        ("create a script", "create_script_template"),
        ("supprimer un modèle de script", "delete_script_template"),
        ("export a script template", "export_script_template"),
        ("importer des scripts", "import_script_templates"),
        ("modifier un modèle de qualification", "update_qualification_template"),
        ("record the answers of a call script", "upsert_script_execution"),
        ("enregistrer les réponses du script", "upsert_script_execution"),
        ("which fields does the qualification have", "get_qualification_schema"),
        ("qualify a contact", "create_qualification"),
        ("liste des qualifications", "list_qualifications"),
        ("export a qualification template", "export_qualification_template"),
    ];

    #[test]
    fn what_users_say_finds_the_tool_that_they_mean() {
        // Tools that are not there yet have a name already, and must not be in the way of those that are.
        let entries: Vec<Entry<'_>> = CONTRACT
            .iter()
            .map(|name| {
                let description = catalog().get(name).map_or("", |tool| tool.input.description.as_str());
                Entry { name, description }
            })
            .collect();
        let mut missed = vec![];
        for (phrase, meant) in PHRASES {
            let found: Vec<&str> =
                ranked(&entries, phrase).into_iter().take(3).map(|index| entries[index].name).collect();
            if !found.contains(&meant) {
                missed.push(format!("{phrase}: {meant} is not among {found:?}"));
            }
        }
        assert!(missed.is_empty(), "{missed:#?}");
    }

    #[test]
    fn what_fits_nothing_finds_nothing() {
        let entries = [Entry { name: "list_campaigns", description: "List campaigns." }];
        for query in ["", "the of to", "zzz", "¿?"] {
            assert!(ranked(&entries, query).is_empty(), "{query:?}");
        }
        assert_eq!(ranked(&entries, "campagnes"), [0]);
    }
}
