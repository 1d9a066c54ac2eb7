//! What users say, and the tool that they mean: how well tools are found.

use super::*;
use crate::tools::catalog;

/// The first phrases that the search was made for.
const FIRST: [(&str, &str); 44] = [
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

/// What a reviewer said who did not know how the search works.
const HEARD: [(&str, &str); 16] = [
    ("who hasn't been called yet", "list_outbound_contacts"),
    ("show me everyone assigned to Yasmine", "list_outbound_contacts"),
    ("contacts without phone number", "list_outbound_contacts"),
    ("stop the isolation campaign", "update_outbound_campaign"),
    ("close the campaign because it is finished", "update_outbound_campaign"),
    ("changer la date de fin de la campagne", "update_outbound_campaign"),
    ("use the new call script for the solar campaign", "attach_campaign_templates"),
    ("quel script est utilisé par cette campagne", "get_campaign"),
    ("enrol everyone tagged syndic", "bulk_add_contacts_to_campaign_by_filter"),
    ("who is being called by two campaigns at once", "find_contacts_in_multiple_campaigns"),
    ("split the leads evenly among the team", "bulk_assign_campaign_contacts"),
    ("add a question to the call script", "update_script_template"),
    ("jeter un vieux script", "delete_script_template"),
    ("save a script to a file", "export_script_template"),
    ("load scripts from another workspace", "import_script_templates"),
    ("make the qualification form ask for a budget", "update_qualification_template"),
];

/// Half of forty phrases that were written down before the search was tuned; it was tuned with these.
const TUNED: [(&str, &str); 20] = [
    ("what can you tell me about this account at a glance", "get_crm_workspace_overview"),
    ("où en est-on globalement", "get_crm_workspace_overview"),
    ("which reps are free to take more leads", "bulk_get_agent_workloads"),
    ("qui travaille sur la campagne solaire", "list_outbound_agents"),
    ("kick off a new calling campaign for heat pumps", "create_outbound_campaign"),
    ("mettre en pause la campagne isolation", "update_outbound_campaign"),
    ("unlink the questionnaire from the campaign", "attach_campaign_templates"),
    ("importer dans la campagne tous les contacts de Grenoble", "bulk_add_contacts_to_campaign_by_filter"),
    ("take the wrong numbers off the list of this campaign", "bulk_remove_contacts_from_campaign"),
    ("combien de fiches restent sans agent dans chaque campagne", "bulk_get_campaign_contact_counts"),
    ("are there duplicates in the spreadsheet I am about to load", "analyze_import_contact_deduplication"),
    ("passer les prospects de Karim à Yasmine", "bulk_assign_campaign_contacts"),
    ("whom do I need to call back today", "list_outbound_contacts"),
    ("montre-moi le texte du script d'appel", "get_script_template"),
    ("write a new sales pitch", "create_script_template"),
    ("corriger une faute dans le script", "update_script_template"),
    ("where did the call with Mrs Martin stop", "get_script_execution"),
    ("noter que le client a répondu oui", "upsert_script_execution"),
    ("the prospect is a good fit, save it as qualified", "create_qualification"),
    ("quels prospects ont été qualifiés cette semaine", "list_qualifications"),
];

/// The other half: the search was measured with them and never changed because of them.
const HELD_OUT: [(&str, &str); 20] = [
    ("I only know the boss's e-mail, which company is it", "crm_resolve_workspace"),
    ("retrouver l'espace de travail par son nom", "crm_resolve_workspace"),
    ("give me a summary of everything", "get_crm_workspace_overview"),
    ("quels agents sont débordés", "bulk_get_agent_workloads"),
    ("which campaigns were created last month", "list_campaigns"),
    ("afficher les réglages de la campagne", "get_campaign"),
    ("put the campaign in the archive", "update_outbound_campaign"),
    ("mettre le formulaire sur la campagne", "attach_campaign_templates"),
    ("exclude people who moved away from the campaign", "bulk_remove_contacts_from_campaign"),
    ("comparer deux campagnes pour voir les contacts en commun", "get_campaign_contact_overlap"),
    ("how many leads are left in each campaign", "bulk_get_campaign_contact_counts"),
    ("le fichier contient-il des personnes que nous avons déjà", "analyze_import_contact_deduplication"),
    ("hand over unassigned contacts to Paul", "bulk_assign_campaign_contacts"),
    ("chercher un contact par son numéro de téléphone", "list_outbound_contacts"),
    ("which scripts do we have", "list_script_templates"),
    ("copier un script vers une autre organisation", "export_script_template"),
    ("what does the qualification form ask", "get_qualification_template"),
    ("changer une réponse de la qualification", "update_qualification"),
    ("new questionnaire to decide who is a good lead", "create_qualification_template"),
    ("reprendre le déroulé de l'appel avec ce contact", "get_script_execution"),
];

/// Every other phrase of a second reviewer; weights and common words were chosen with these.
const HEARD_AGAIN: [(&str, &str); 21] = [
    ("who has the most open leads right now", "bulk_get_agent_workloads"),
    ("give the unassigned leads to Karim", "bulk_assign_campaign_contacts"),
    ("pause the Lyon campaign", "update_outbound_campaign"),
    ("which people are called by two campaigns at once", "find_contacts_in_multiple_campaigns"),
    ("does this spreadsheet contain people we already know", "analyze_import_contact_deduplication"),
    ("how many contacts are unreachable in each campaign", "bulk_get_campaign_contact_counts"),
    ("write a new phone script", "create_script_template"),
    ("correct a typo in the call script", "update_script_template"),
    ("supprimer un script", "delete_script_template"),
    ("noter la réponse du client", "upsert_script_execution"),
    ("which fields do I have to fill in to qualify a lead", "get_qualification_schema"),
    ("mark the lead as qualified", "update_qualification"),
    ("list the qualified leads of this month", "list_qualifications"),
    ("copy a qualification form to another company", "export_qualification_template"),
    ("liste des commerciaux", "list_outbound_agents"),
    ("what is going on in this workspace", "get_crm_workspace_overview"),
    ("use another script for the campaign", "attach_campaign_templates"),
    ("take dead numbers out of the campaign", "bulk_remove_contacts_from_campaign"),
    ("rappels en retard", "list_outbound_contacts"),
    ("lead scoring rules", "create_qualification_template"),
    ("show me the details of one campaign", "get_campaign"),
];

/// The rest of that reviewer's phrases: measured, and nothing was changed because of them.
const HELD_OUT_AGAIN: [(&str, &str); 21] = [
    ("qui a le plus de prospects à appeler", "bulk_get_agent_workloads"),
    ("répartir les prospects entre les commerciaux", "bulk_assign_campaign_contacts"),
    ("mettre la campagne en pause", "update_outbound_campaign"),
    ("les gens présents dans plusieurs campagnes", "find_contacts_in_multiple_campaigns"),
    ("est-ce que mon fichier contient des doublons", "analyze_import_contact_deduplication"),
    ("combien de contacts par statut", "bulk_get_campaign_contact_counts"),
    ("rédiger un nouveau script d'appel", "create_script_template"),
    ("get rid of the old script", "delete_script_template"),
    ("save what the customer answered", "upsert_script_execution"),
    ("where are we in the call with this contact", "get_script_execution"),
    ("quels champs remplir pour qualifier", "get_qualification_schema"),
    ("ce prospect n'est pas qualifié", "update_qualification"),
    ("download the script as json", "export_script_template"),
    ("who is working today", "list_outbound_agents"),
    ("find the organisation of jean@traboule.fr", "crm_resolve_workspace"),
    ("start a campaign for roofers in Grenoble", "create_outbound_campaign"),
    (
        "put everyone from the trade fair file into the spring campaign",
        "bulk_add_contacts_to_campaign_by_filter",
    ),
    ("overdue callbacks", "list_outbound_contacts"),
    ("add a question to the qualification form", "update_qualification_template"),
    ("charger des scripts depuis un fichier json", "import_script_templates"),
    ("what do two campaigns have in common", "get_campaign_contact_overlap"),
];

/// Phrases with denials, accents and endings of French participles, which the search was tuned with.
const DENIED: [(&str, &str); 73] = [
    ("les contacts qui n'ont pas encore d'agent", "list_outbound_contacts"),
    ("qui n'a jamais été contacté", "list_outbound_contacts"),
    ("quels commerciaux ne sont pas débordés", "bulk_get_agent_workloads"),
    ("je ne veux plus appeler ces gens", "bulk_remove_contacts_from_campaign"),
    ("ce script ne sert plus à rien, poubelle", "delete_script_template"),
    ("le client a répondu non à la deuxième question", "upsert_script_execution"),
    ("prolonger l'opération jusqu'à fin août", "update_outbound_campaign"),
    ("où s'est arrêtée la conversation avec Mme Dupré", "get_script_execution"),
    ("ce fichier contient-il des numéros déjà présents chez nous", "analyze_import_contact_deduplication"),
    ("qu'est-ce qui s'est passé cette semaine", "get_crm_workspace_overview"),
    ("la campagne de Noël ne doit pas démarrer tout de suite", "update_outbound_campaign"),
    ("rendre le champ budget obligatoire", "update_qualification_template"),
    ("dupliquer le formulaire dans une autre société", "export_qualification_template"),
    ("quelles fiches n'ont pas d'e-mail", "list_outbound_contacts"),
    ("le verdict était faux, il est qualifié", "update_qualification"),
    ("pourquoi ce prospect n'a-t-il pas été qualifié", "get_qualification"),
    ("prospects non qualifiés du mois dernier", "list_qualifications"),
    ("équilibrer le travail entre les téléprospecteurs", "bulk_assign_campaign_contacts"),
    ("quelle grille utilise-t-on pour noter les prospects", "list_qualification_templates"),
    ("ne plus utiliser ce script dans la campagne", "attach_campaign_templates"),
    ("lancer une opération de prospection à Bordeaux", "create_outbound_campaign"),
    ("quels argumentaires existent déjà", "list_script_templates"),
    ("ce contact ne répond jamais, le sortir de la campagne", "bulk_remove_contacts_from_campaign"),
    ("la cliente n'est plus intéressée, changer son verdict", "update_qualification"),
    ("this lead is not qualified after all", "update_qualification"),
    ("which contacts have never been called", "list_outbound_contacts"),
    ("who isn't busy", "bulk_get_agent_workloads"),
    ("don't call these people any more", "bulk_remove_contacts_from_campaign"),
    ("the campaign shouldn't run over Christmas", "update_outbound_campaign"),
    ("remove a script", "delete_script_template"),
    ("what did the customer say on the phone", "get_script_execution"),
    ("recouvrement entre campagnes", "get_campaign_contact_overlap"),
    ("duplicate people across campaigns", "find_contacts_in_multiple_campaigns"),
    ("why was this lead rejected", "get_qualification"),
    ("leads that were not qualified", "list_qualifications"),
    ("bring the pitch from our other company", "import_script_templates"),
    ("make question three optional in the script", "update_script_template"),
    ("hand Karim's prospects to somebody else", "bulk_assign_campaign_contacts"),
    ("what does the form ask for", "get_qualification_template"),
    ("which answers are mandatory", "get_qualification_schema"),
    ("load the Lyon list into the winter campaign", "bulk_add_contacts_to_campaign_by_filter"),
    ("the campaign has no script yet", "attach_campaign_templates"),
    ("is the data in this csv clean", "analyze_import_contact_deduplication"),
    ("how is the spring campaign progressing", "bulk_get_campaign_contact_counts"),
    ("he is not a good fit, write that down", "create_qualification"),
    ("cette fiche n'est plus qualifiée", "update_qualification"),
    ("finalement le client n'est pas intéressé", "create_qualification"),
    ("contacts jamais appelés", "list_outbound_contacts"),
    ("personnes qui ne sont pas dans la campagne de Lyon", "list_outbound_contacts"),
    ("aucun commercial n'est affecté à ces contacts", "list_outbound_contacts"),
    ("la campagne n'a pas de script", "attach_campaign_templates"),
    ("combien de prospects n'ont pas été attribués", "bulk_get_campaign_contact_counts"),
    ("quelqu'un est-il débordé en ce moment", "bulk_get_agent_workloads"),
    ("à qui sont confiés les contacts de cette campagne", "list_outbound_contacts"),
    ("récupérer le formulaire d'une autre société", "import_qualification_templates"),
    ("quelles questions pose la grille de qualification", "get_qualification_template"),
    ("créer une trame d'appel pour les pompes à chaleur", "create_script_template"),
    ("l'appel est terminé, enregistrer les réponses", "upsert_script_execution"),
    ("mettre fin à la campagne d'été", "update_outbound_campaign"),
    ("envoyer une copie du script à un collègue", "export_script_template"),
    ("quels sont les champs obligatoires", "get_qualification_schema"),
    ("vérifier les doublons avant l'import", "analyze_import_contact_deduplication"),
    ("y a-t-il des gens appelés par deux campagnes", "find_contacts_in_multiple_campaigns"),
    ("dans quelle entreprise travaille luc@exemple.fr", "crm_resolve_workspace"),
    ("résultats des qualifications de la semaine dernière", "list_qualifications"),
    ("quelle est la note de ce prospect", "get_qualification"),
    ("not interested any more, change the verdict", "update_qualification"),
    ("which leads did not qualify", "list_qualifications"),
    ("nobody is assigned to these people", "list_outbound_contacts"),
    ("don't show archived campaigns", "list_campaigns"),
    ("this form isn't used any more, what forms are there", "list_qualification_templates"),
    ("the script has a mistake in step two", "update_script_template"),
    ("who should get the new leads", "bulk_get_agent_workloads"),
];

/// Phrases of the same kinds that were written down before the last words were added, and measured then: 16 of 20 were found.
const HELD_OUT_LAST: [(&str, &str); 20] = [
    ("la campagne créée hier", "list_campaigns"),
    ("la dame n'était pas intéressée, corriger la qualification", "update_qualification"),
    ("les contacts qui n'ont ni téléphone ni e-mail", "list_outbound_contacts"),
    ("cette personne ne doit plus être dans la campagne", "bulk_remove_contacts_from_campaign"),
    ("prospects refusés cette semaine", "list_qualifications"),
    ("réactiver la campagne suspendue", "update_outbound_campaign"),
    ("quelle étape du script vient ensuite", "get_script_execution"),
    ("qui s'occupe le moins de contacts", "bulk_get_agent_workloads"),
    ("confier à Léa les fiches de Hugo", "bulk_assign_campaign_contacts"),
    ("répétée dans plusieurs campagnes, la même personne", "find_contacts_in_multiple_campaigns"),
    ("importée depuis un fichier, la grille de qualification", "import_qualification_templates"),
    ("sauvegardée dans un fichier, la trame d'appel", "export_script_template"),
    ("ajoutée à la campagne, la ville de Vénissieux", "bulk_add_contacts_to_campaign_by_filter"),
    ("what has never been answered in this call", "get_script_execution"),
    ("nobody has qualified this contact yet, do it", "create_qualification"),
    ("the lead wasn't interested", "create_qualification"),
    ("who doesn't work here any more", "list_outbound_agents"),
    ("remove the budget question from the form", "update_qualification_template"),
    ("erase the winter script", "delete_script_template"),
    ("does this list repeat people", "analyze_import_contact_deduplication"),
];

/// Phrases that are not found, and are not learnt one by one.
const MISSED: [&str; 6] = [
    "la campagne créée hier",
    "personnes qui ne sont pas dans la campagne de Lyon",
    "quelle est la note de ce prospect",
    "quelle étape du script vient ensuite",
    "the campaign shouldn't run over Christmas",
    "this form isn't used any more, what forms are there",
];

#[test]
fn what_users_say_finds_the_tool_that_they_mean() {
    let tools: Vec<&str> = catalog().iter().map(|tool| tool.name).collect();
    let mut missed = vec![];
    for (phrase, meant) in FIRST
        .iter()
        .chain(&HEARD)
        .chain(&TUNED)
        .chain(&HELD_OUT)
        .chain(&HEARD_AGAIN)
        .chain(&HELD_OUT_AGAIN)
        .chain(&DENIED)
        .chain(&HELD_OUT_LAST)
        .filter(|(phrase, _)| !MISSED.contains(phrase))
    {
        let ranked = catalog().index.ranked(phrase).into_iter().take(3);
        let found: Vec<&str> = ranked.map(|place| tools[place]).collect();
        if !found.contains(meant) {
            missed.push(format!("{phrase}: {meant} is not among {found:?}"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn every_tool_is_found_by_its_own_name() {
    for (place, tool) in catalog().iter().enumerate() {
        for name in [tool.name.to_owned(), tool.name.replace('_', " ")] {
            assert_eq!(catalog().index.ranked(&name).first(), Some(&place), "{name}");
        }
    }
}

#[test]
fn what_fits_nothing_finds_nothing() {
    let schema = serde_json::json!({});
    let entry =
        Entry { name: "list_campaigns", description: "List campaigns.", examples: vec![], schema: &schema };
    let index = Index::new(&[entry]);
    for query in ["", "the of to", "zzz", "¿?"] {
        assert!(index.ranked(query).is_empty(), "{query:?}");
    }
    assert_eq!(index.ranked("campagnes"), [0]);
    assert!(Index::new(&[]).ranked("campaigns").is_empty());
}
