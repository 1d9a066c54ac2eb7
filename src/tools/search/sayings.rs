//! What users say when they mean a tool, beside what its description says: in English and in French.
//!
//! These are words to find a tool by, one saying per habit of speech. They are weighed like every other text of the
//! tool, so that a phrase need not be here to be understood, and none decides alone.

/// The sayings of each tool, by its name.
const SAYINGS: &[(&str, &[&str])] = &[
    (
        "crm_resolve_workspace",
        &[
            "find the company or account by its name, slug or the owner's e-mail",
            "which organization is meant, look up its id",
            "I only know the boss's address",
            "trouver l'entreprise, le compte, l'espace de travail par son nom ou l'e-mail du patron",
            "de quelle organisation s'agit-il, quel est son identifiant",
        ],
    ),
    (
        "get_crm_workspace_overview",
        &[
            "how are we doing, the big picture, dashboard, key figures of everything at a glance",
            "recent activity, what happened lately",
            "vue d'ensemble, tableau de bord, où en sommes-nous, résumé global, chiffres clés",
            "activité récente, ce qui s'est passé dernièrement",
        ],
    ),
    (
        "list_outbound_agents",
        &[
            "who works here, who is on the team, callers, sales reps, colleagues, staff",
            "who is working on a campaign",
            "qui fait partie de l'équipe, les commerciaux, téléprospecteurs, collaborateurs",
            "qui travaille sur une campagne",
        ],
    ),
    (
        "bulk_get_agent_workloads",
        &[
            "who is overloaded, who has time, who is free to take more, how much work has each caller left",
            "backlog of a rep, open contacts per agent, compare agents, who has the most or the fewest left",
            "qui est débordé, qui est disponible, qui a du temps, charge de chaque commercial",
            "combien de contacts par agent, travail restant, qui en a le plus ou le moins",
        ],
    ),
    (
        "list_campaigns",
        &[
            "show me our campaigns: all of them, running, active, paused, finished, archived, recent ones",
            "search a campaign by name or date of creation",
            "quelles campagnes sont en cours, terminées, récentes, chercher une campagne",
        ],
    ),
    (
        "get_campaign",
        &[
            "tell me everything about this campaign: its settings, dates, goal, agents, script and form in use",
            "which script or questionnaire does a campaign use, when does it end, what is its call window",
            "détails, réglages, dates, objectif de la campagne",
            "quel script ou formulaire cette campagne utilise, script utilisé par la campagne",
        ],
    ),
    (
        "create_outbound_campaign",
        &[
            "launch, set up, start, kick off a new campaign, plan a calling operation",
            "lancer, démarrer, préparer, monter une nouvelle campagne d'appels",
        ],
    ),
    (
        "update_outbound_campaign",
        &[
            "stop, pause, resume, close, finish, end, complete, archive, activate, rename or extend a campaign",
            "change the dates, goal, call hours, attempts or agents of a campaign, put it on hold",
            "arrêter, suspendre, reprendre, clôturer, terminer, archiver, activer, renommer, prolonger la campagne",
            "changer la date de début ou de fin, l'objectif, les horaires d'appel de la campagne",
        ],
    ),
    (
        "attach_campaign_templates",
        &[
            "use another or a new script or form for a campaign, switch, connect, link or unlink a questionnaire",
            "give the campaign a script, replace the script of the campaign",
            "utiliser un autre script ou formulaire pour la campagne, mettre, associer, lier, détacher, remplacer",
        ],
    ),
    (
        "bulk_add_contacts_to_campaign_by_filter",
        &[
            "enrol, put, load everyone of a city, tag or import folder into the campaign, fill it, target people",
            "inscrire, mettre, charger tous les contacts d'une ville, d'une étiquette, d'un dossier dans la campagne",
            "remplir, cibler, alimenter la campagne",
        ],
    ),
    (
        "bulk_remove_contacts_from_campaign",
        &[
            "take people out of the campaign, off its list, exclude, kick out, clean up, drop leads",
            "stop calling these people, they no longer belong in the campaign",
            "enlever, sortir, exclure, désinscrire des gens de la campagne, nettoyer",
            "ne plus appeler ces personnes, qui ne sont plus dans la campagne",
        ],
    ),
    (
        "find_contacts_in_multiple_campaigns",
        &[
            "who is called by two or more campaigns at once, people targeted twice, the same person in several campaigns",
            "qui est appelé par deux campagnes à la fois, personnes sollicitées deux fois, dans plus d'une campagne",
        ],
    ),
    (
        "get_campaign_contact_overlap",
        &[
            "compare campaigns, what do they have in common, shared contacts, how similar are they, intersection",
            "comparer des campagnes, contacts en commun, recoupement, chevauchement, intersection",
        ],
    ),
    (
        "bulk_get_campaign_contact_counts",
        &[
            "how many contacts, leads or people are there or left in each campaign, by status, agent or source",
            "progress figures of campaigns, statistics, unassigned total",
            "combien de contacts, fiches, prospects restent dans chaque campagne, chiffres, statistiques, avancement",
        ],
    ),
    (
        "analyze_import_contact_deduplication",
        &[
            "does the file, spreadsheet or list contain people that we already have, duplicates before I import, check",
            "clean a CSV, same person twice in the import",
            "le fichier, tableau, import contient-il des personnes déjà connues, doublons, vérifier avant d'importer",
        ],
    ),
    (
        "bulk_assign_campaign_contacts",
        &[
            "hand over, give, split, share out, distribute, reassign, transfer leads among callers or the team, evenly",
            "move the contacts of one rep to another",
            "répartir, distribuer, confier, passer, transférer, réattribuer les prospects d'un commercial à un autre",
            "partager équitablement les contacts dans l'équipe",
        ],
    ),
    (
        "list_outbound_contacts",
        &[
            "who has not been called yet, whom do I call back, who is assigned to somebody, who is nobody's",
            "contacts without phone number or e-mail, overdue follow-ups, look somebody up by name or number",
            "show everyone who, show me all people with",
            "qui n'a pas encore été appelé, qui rappeler, relances en retard, contacts d'un commercial, non attribués",
            "contacts sans téléphone ni e-mail, chercher une personne par nom ou numéro",
        ],
    ),
    (
        "list_script_templates",
        &[
            "what call scripts do we have, all pitches, find a script",
            "quels scripts d'appel avons-nous, tous les argumentaires, chercher un script",
        ],
    ),
    (
        "get_script_template",
        &[
            "read, open, see the text, steps, questions and branches of a call script, what should I say",
            "lire, ouvrir, voir le texte, les étapes, les questions du script d'appel, que dois-je dire",
        ],
    ),
    (
        "create_script_template",
        &[
            "write a new call script, a pitch, a conversation guide from scratch",
            "écrire, rédiger, créer un nouveau script d'appel, un argumentaire, une trame",
        ],
    ),
    (
        "update_script_template",
        &[
            "add, remove or reword a question, step, branch or sentence of a call script, correct it, rename it",
            "make a step of the script optional or required",
            "ajouter, enlever, reformuler une question ou une étape du script, corriger une faute, renommer le script",
            "rendre une étape du script facultative ou obligatoire",
        ],
    ),
    (
        "delete_script_template",
        &[
            "throw away, get rid of, bin, discard an old script that is no longer needed",
            "jeter, se débarrasser, effacer un vieux script dont on n'a plus besoin",
        ],
    ),
    (
        "import_script_templates",
        &[
            "load, upload, bring in scripts from a file or from another workspace, paste JSON",
            "charger, téléverser, reprendre des scripts depuis un fichier ou une autre organisation",
        ],
    ),
    (
        "export_script_template",
        &[
            "download, save, back up a script to a file, copy it for another workspace, share it",
            "télécharger, sauvegarder un script dans un fichier, le copier vers une autre organisation, le partager",
        ],
    ),
    (
        "list_qualification_templates",
        &[
            "what qualification forms or questionnaires do we have, find a form",
            "quels formulaires, questionnaires ou grilles de qualification avons-nous",
        ],
    ),
    (
        "get_qualification_template",
        &[
            "open, see, read a qualification form: its questions, fields and scoring, what does it ask, how are points given",
            "voir, ouvrir le formulaire de qualification, ses questions, ses points, que demande-t-il",
        ],
    ),
    (
        "create_qualification_template",
        &[
            "make a new qualification form or questionnaire, define criteria of a good lead, scoring grid",
            "faire, créer un nouveau formulaire, questionnaire ou une grille de qualification, définir les critères",
        ],
    ),
    (
        "update_qualification_template",
        &[
            "add, remove or change a question, field, option, threshold or points of the qualification form, make it ask for",
            "ajouter, enlever, changer une question, un champ, une option, le seuil du formulaire de qualification",
        ],
    ),
    (
        "import_qualification_templates",
        &[
            "load, upload, bring in qualification forms from a file or from another workspace",
            "charger, reprendre des formulaires de qualification depuis un fichier ou une autre organisation",
        ],
    ),
    (
        "export_qualification_template",
        &[
            "download, save, back up a qualification form to a file, copy it for another workspace",
            "télécharger, sauvegarder un formulaire de qualification dans un fichier, le copier ailleurs",
        ],
    ),
    (
        "get_script_execution",
        &[
            "how did the call go, what did the contact say and answer on the phone, how far did the conversation get",
            "where did it stop",
            "resume a call, next question to ask",
            "comment s'est passé l'appel, qu'a dit et répondu le contact au téléphone, où en est l'entretien, prochaine question, reprendre",
        ],
    ),
    (
        "upsert_script_execution",
        &[
            "note down, write, record what the person said, answer yes or no, during the call, call finished",
            "noter, saisir, enregistrer ce que le client a répondu ou dit pendant l'appel, fin de l'appel",
        ],
    ),
    (
        "get_qualification_schema",
        &[
            "which fields, keys, options are allowed or required in answers, JSON schema, what may be filled in",
            "quels champs, clés, options sont permis ou obligatoires dans les réponses, schéma",
        ],
    ),
    (
        "get_qualification",
        &[
            "was this contact qualified, its score, verdict, result, why",
            "ce contact est-il qualifié, son score, son verdict, résultat de la qualification",
        ],
    ),
    (
        "create_qualification",
        &[
            "qualify a contact, this lead is a good fit, mark as qualified or not, fill in the form, first verdict",
            "qualifier un contact, remplir le formulaire, ce prospect est intéressé, bon prospect, non qualifié",
        ],
    ),
    (
        "update_qualification",
        &[
            "change an answer, verdict or note of a qualification, correct it, overturn, reopen as draft",
            "settle a draft, set its status, mark it as qualified or not qualified after all",
            "changer, corriger une réponse, le verdict ou la note d'une qualification, rouvrir",
            "trancher un brouillon, changer le statut, marquer comme qualifié ou non qualifié",
        ],
    ),
    (
        "list_qualifications",
        &[
            "who was qualified, which leads are won, all results, verdicts since a date, by answer",
            "qui a été qualifié, quels prospects sont qualifiés, tous les résultats, cette semaine",
        ],
    ),
];

/// What users say when they mean that tool.
pub fn of(tool: &str) -> &'static [&'static str] {
    SAYINGS.iter().find(|(name, _)| *name == tool).map_or(&[], |(_, sayings)| sayings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::CONTRACT;

    #[test]
    fn every_tool_has_its_sayings_in_both_languages() {
        let names: Vec<&str> = SAYINGS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, CONTRACT);
        for name in CONTRACT {
            assert!(of(name).len() >= 2, "{name}");
        }
        assert!(of("no_such_tool").is_empty());
    }
}
