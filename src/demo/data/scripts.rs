//! What the callers of the sample go through, and what they were answered.
//!
//! A script is written as its author would send it. A run is the answers of one call in order, so that the first few of
//! them are a run that was broken off.

use serde_json::{Value, json};

use super::dice::Dice;
use super::{CallOutcome, DemoCall, DemoExecution, DemoScript, ExecutionEnd};

/// Answers in the order of the call: the node, and what was recorded.
type Run = &'static [(&'static str, &'static str)];

/// Executions of one campaign, at most.
const EXECUTIONS: usize = 24;

/// A script, and how calls with it went.
struct Script {
    key: &'static str,
    template: fn() -> Value,
    runs: &'static [Run],
}

const SCRIPTS: [Script; 5] = [
    Script { key: "energie", template: energy, runs: ENERGY_RUNS },
    Script { key: "reseau-de-pose", template: installers, runs: INSTALLER_RUNS },
    Script { key: "relance", template: revival, runs: REVIVAL_RUNS },
    Script { key: "supplier-introduction", template: introduction, runs: INTRODUCTION_RUNS },
    Script { key: "etat-des-lieux", template: stocktaking, runs: &[] },
];

pub(super) fn scripts() -> Vec<DemoScript> {
    SCRIPTS.iter().map(|script| DemoScript { key: script.key, template: (script.template)() }).collect()
}

fn energy() -> Value {
    json!({
        "name": "Découverte : projet d'économies d'énergie",
        "description": "Premier appel. Comprendre le bâtiment et le calendrier avant de parler d'aides.",
        "language": "fr",
        "steps": [
            { "id": "bonjour", "type": "instruction", "text": "Bonjour {{firstName}}, ici {{agentName}} de Traboule Prospection. Je vous appelle au sujet de l'énergie de vos bâtiments." },
            {
                "id": "decideur", "type": "yesno", "required": true,
                "text": "Est-ce bien vous qui suivez les travaux d'énergie ?",
                "branches": [
                    { "label": "Non", "steps": [
                        { "id": "qui-decide", "type": "question", "text": "Qui pouvons-nous appeler, et quand ?", "required": true },
                    ] },
                ],
            },
            {
                "id": "projet", "type": "select", "required": true,
                "text": "Où en êtes-vous aujourd'hui ?",
                "options": [
                    { "value": "aucun", "label": "Pas de projet" },
                    { "value": "reflexion", "label": "En réflexion" },
                    { "value": "vote", "label": "Budget voté" },
                ],
                "branches": [
                    { "label": "reflexion", "steps": [
                        { "id": "frein", "type": "question", "text": "Qu'est-ce qui vous retient encore ?" },
                    ] },
                    { "label": "vote", "steps": [
                        { "id": "budget", "type": "question", "text": "Quelle enveloppe a été votée ?", "required": true },
                        {
                            "id": "visite", "type": "yesno",
                            "text": "Une visite technique dans les quinze jours vous conviendrait-elle ?",
                            "branches": [
                                { "label": "Oui", "steps": [
                                    { "id": "creneau", "type": "question", "text": "Quel jour vous arrange ?" },
                                ] },
                            ],
                        },
                    ] },
                ],
            },
            { "id": "surface", "type": "question", "text": "Quelle surface, ou combien de logements ?" },
            { "id": "merci", "type": "instruction", "text": "Merci {{firstName}}, vous recevrez un résumé par e-mail dans la journée." },
        ],
    })
}

const ENERGY_RUNS: &[Run] = &[
    &[
        ("decideur", "Oui"),
        ("projet", "vote"),
        ("budget", "Environ 80 000 €, voté en mars"),
        ("visite", "Oui"),
        ("creneau", "Mardi matin"),
        ("surface", "42 logements"),
    ],
    &[
        ("decideur", "Oui"),
        ("projet", "reflexion"),
        ("frein", "Attend le nouveau barème des aides"),
        ("surface", "1 800 m²"),
    ],
    &[
        ("decideur", "Non"),
        ("qui-decide", "La directrice technique, plutôt l'après-midi"),
        ("projet", "vote"),
        ("budget", "Pas communiqué"),
        ("visite", "Non"),
        ("surface", "Trois bâtiments"),
    ],
    &[("decideur", "Oui"), ("projet", "aucun"), ("surface", "650 m²")],
];

fn installers() -> Value {
    json!({
        "name": "Réseau de pose : artisans",
        "description": "Gagner des artisans de l'isolation pour l'automne.",
        "language": "fr",
        "steps": [
            { "id": "bonjour", "type": "instruction", "text": "Bonjour, nous cherchons des équipes de pose pour des chantiers déjà signés autour de {{city}}." },
            {
                "id": "rge", "type": "yesno", "text": "Êtes-vous certifié RGE ?", "required": true,
                "branches": [
                    { "label": "Oui", "steps": [
                        { "id": "domaines", "type": "question", "text": "Pour quels domaines de travaux ?" },
                    ] },
                    { "label": "Non", "steps": [
                        { "id": "dossier", "type": "yesno", "text": "Souhaitez-vous être accompagné pour le dossier ?" },
                    ] },
                ],
            },
            { "id": "equipes", "type": "question", "text": "Combien d'équipes sont disponibles à partir de septembre ?", "required": true },
            {
                "id": "interet", "type": "select", "text": "Que voulez-vous recevoir ?",
                "options": [
                    { "value": "contrat", "label": "Le contrat type" },
                    { "value": "visite", "label": "La visite d'un chantier" },
                    { "value": "rien", "label": "Rien pour l'instant" },
                ],
            },
        ],
    })
}

const INSTALLER_RUNS: &[Run] = &[
    &[
        ("rge", "Oui"),
        ("domaines", "Combles et murs par l'extérieur"),
        ("equipes", "Deux équipes de trois"),
        ("interet", "contrat"),
    ],
    &[("rge", "Non"), ("dossier", "Oui"), ("equipes", "Une seule, jusqu'à Noël"), ("interet", "visite")],
    &[
        ("rge", "Oui"),
        ("domaines", "Combles perdus"),
        ("equipes", "Aucune avant janvier"),
        ("interet", "rien"),
    ],
];

fn revival() -> Value {
    json!({
        "name": "Relance après une demande",
        "description": "Visiteurs du salon et demandes du site, sous deux jours ouvrés.",
        "language": "fr",
        "steps": [
            { "id": "bonjour", "type": "instruction", "text": "Bonjour {{firstName}}, vous nous aviez laissé vos coordonnées ; je vous rappelle comme promis." },
            { "id": "besoin", "type": "question", "text": "Qu'est-ce qui a motivé votre demande ?", "required": true },
            {
                "id": "delai", "type": "select", "text": "Pour quand ?", "required": true,
                "options": [{ "value": "urgent" }, { "value": "cette-annee" }, { "value": "plus-tard" }],
                "branches": [
                    { "label": "urgent", "steps": [
                        { "id": "panne", "type": "yesno", "text": "Une installation est-elle en panne ?" },
                    ] },
                ],
            },
            { "id": "rendez-vous", "type": "yesno", "text": "Puis-je vous proposer un rendez-vous ?" },
        ],
    })
}

const REVIVAL_RUNS: &[Run] = &[
    &[
        ("besoin", "Facture de chauffage doublée"),
        ("delai", "urgent"),
        ("panne", "Oui"),
        ("rendez-vous", "Oui"),
    ],
    &[("besoin", "Comparer deux devis"), ("delai", "cette-annee"), ("rendez-vous", "Oui")],
    &[("besoin", "Simple curiosité, vu au salon"), ("delai", "plus-tard"), ("rendez-vous", "Non")],
];

fn introduction() -> Value {
    json!({
        "name": "Supplier introduction",
        "description": "First call to installers in London on behalf of French manufacturers.",
        "language": "en-GB",
        "steps": [
            { "id": "hello", "type": "instruction", "text": "Hello {{firstName}}, this is {{agentName}}. Our partner told me that you were looking for heat pump suppliers in France." },
            { "id": "volume", "type": "question", "text": "How many units do you fit in a year?", "required": true },
            {
                "id": "current", "type": "select", "text": "Who supplies you today?", "required": true,
                "options": [
                    { "value": "wholesaler", "label": "A wholesaler" },
                    { "value": "manufacturer", "label": "A manufacturer directly" },
                    { "value": "nobody", "label": "Nobody yet" },
                ],
                "branches": [
                    { "label": "wholesaler", "steps": [
                        { "id": "lead-time", "type": "question", "text": "What is their lead time?" },
                    ] },
                    { "label": "manufacturer", "steps": [
                        { "id": "contract", "type": "yesno", "text": "Are you bound by a contract?" },
                    ] },
                ],
            },
            {
                "id": "meeting", "type": "yesno", "text": "Shall I arrange a call with the manufacturer?",
                "branches": [
                    { "label": "Oui", "steps": [{ "id": "when", "type": "question", "text": "Which day suits you?" }] },
                    { "label": "Non", "steps": [{ "id": "why-not", "type": "question", "text": "What would have to change?" }] },
                ],
            },
        ],
    })
}

const INTRODUCTION_RUNS: &[Run] = &[
    &[
        ("volume", "About 120"),
        ("current", "wholesaler"),
        ("lead-time", "Ten weeks"),
        ("meeting", "Oui"),
        ("when", "Thursday"),
    ],
    &[
        ("volume", "40, growing"),
        ("current", "manufacturer"),
        ("contract", "Non"),
        ("meeting", "Oui"),
        ("when", "Any morning"),
    ],
    &[("volume", "A dozen"), ("current", "nobody"), ("meeting", "Non"), ("why-not", "Training in English")],
];

fn stocktaking() -> Value {
    json!({
        "name": "Infogérance : état des lieux",
        "description": "Brouillon, à relire avec l'équipe technique avant la rentrée.",
        "language": "fr",
        "steps": [
            { "id": "postes", "type": "question", "text": "Combien de postes de travail avez-vous ?", "required": true },
            {
                "id": "prestataire", "type": "yesno", "text": "Un prestataire s'en occupe-t-il déjà ?",
                "branches": [
                    { "label": "Oui", "steps": [
                        { "id": "echeance", "type": "question", "text": "Quand le contrat se termine-t-il ?" },
                    ] },
                ],
            },
        ],
    })
}

/// What the callers of a campaign captured: of those they spoke to, the first so many.
pub(super) fn executions(dice: &mut Dice, script: &'static str, calls: &[DemoCall]) -> Vec<DemoExecution> {
    let Some(Script { runs, .. }) = SCRIPTS.iter().find(|one| one.key == script) else { return Vec::new() };
    let members: std::collections::BTreeMap<usize, CallOutcome> =
        calls.iter().map(|call| (call.nth_member, call.outcome)).collect();
    let spoken_to = members.into_iter().filter_map(|(member, last)| Some((member, ending(last)?)));
    spoken_to
        .take(EXECUTIONS)
        .filter_map(|(nth_member, end)| {
            let run = *runs.get(dice.below(runs.len().max(1)))?;
            let answered = match end {
                ExecutionEnd::Completed => run.len(),
                ExecutionEnd::Open => dice.between(1, run.len()),
                ExecutionEnd::Abandoned => 1,
            };
            Some(DemoExecution { nth_member, answers: &run[..answered.min(run.len())], end })
        })
        .collect()
}

/// Where a run stands after the last call to a contact; none if there was none.
const fn ending(last: CallOutcome) -> Option<ExecutionEnd> {
    match last {
        CallOutcome::Qualified | CallOutcome::Done => Some(ExecutionEnd::Completed),
        CallOutcome::Callback | CallOutcome::Reached => Some(ExecutionEnd::Open),
        CallOutcome::NotInterested => Some(ExecutionEnd::Abandoned),
        CallOutcome::NoAnswer
        | CallOutcome::Busy
        | CallOutcome::Voicemail
        | CallOutcome::WrongNumber
        | CallOutcome::DoNotContact
        | CallOutcome::Unreachable => None,
    }
}
