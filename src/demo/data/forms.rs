//! What the callers of the sample want to know of a contact, and what they found out.
//!
//! A form goes with the script that its answers come from. What is recorded follows from the last call: whoever was won
//! is qualified, whoever declined is not, and with whom nothing is decided yet there is a draft.

use serde_json::{Value, json};

use super::dice::Dice;
use super::{CallOutcome, DemoCall, DemoForm, DemoQualification};

/// Qualifications of one campaign, at most.
const QUALIFICATIONS: usize = 24;

/// A form, and answers to it: of contacts that were won, that declined, and that are still being asked.
struct Form {
    key: &'static str,
    script: &'static str,
    template: fn() -> Value,
    won: fn() -> Vec<Value>,
    declined: fn() -> Vec<Value>,
    asked: fn() -> Vec<Value>,
}

const FORMS: [Form; 4] = [
    Form {
        key: "renovation",
        script: "energie",
        template: renovation,
        won: || {
            vec![
                json!({ "projet": "vote", "budget": 80_000, "surface": 1_800, "energie": "fioul", "travaux": ["chauffage", "isolation"], "decideur": true, "visite": true }),
                json!({ "projet": "vote", "budget": 145_000.5, "surface": 4_200, "energie": "gaz", "travaux": ["isolation"], "decideur": true, "visite": true }),
                json!({ "projet": "reflexion", "budget": 60_000, "surface": 950, "energie": "fioul", "travaux": ["chauffage", "solaire"], "decideur": true, "visite": true }),
            ]
        },
        declined: || {
            vec![
                json!({ "projet": "aucun", "energie": "electricite", "decideur": true }),
                json!({ "projet": "reflexion", "surface": 320, "energie": "gaz", "decideur": false }),
                json!({}),
            ]
        },
        asked: || {
            vec![
                json!({ "projet": "reflexion" }),
                json!({ "surface": 1_200, "energie": "gaz" }),
                json!({ "projet": "vote", "decideur": false }),
            ]
        },
    },
    Form {
        key: "artisan",
        script: "reseau-de-pose",
        template: installer,
        won: || {
            vec![
                json!({ "rge": true, "echeance_rge": "2027-12-31", "equipes": 2, "domaines": ["combles", "murs"] }),
                json!({ "rge": true, "echeance_rge": "2028-06-30", "equipes": 5, "domaines": ["combles"], "courriel": "chantiers@exemple.example" }),
            ]
        },
        declined: || vec![json!({ "rge": false, "equipes": 0 }), json!({ "rge": true, "equipes": 0 })],
        asked: || vec![json!({ "rge": true }), json!({ "domaines": ["murs"] })],
    },
    Form {
        key: "demande",
        script: "relance",
        template: request,
        won: || {
            vec![
                json!({ "delai": "urgent", "panne": true, "code_postal": "69003", "rendez_vous": "2026-12-08" }),
                json!({ "delai": "cette-annee", "panne": false, "code_postal": "38000", "rendez_vous": "2026-12-10" }),
            ]
        },
        declined: || vec![json!({ "delai": "plus-tard" }), json!({})],
        asked: || vec![json!({ "delai": "cette-annee" }), json!({ "code_postal": "69100" })],
    },
    Form {
        key: "supplier",
        script: "supplier-introduction",
        template: supplier,
        won: || {
            vec![
                json!({ "units_per_year": 120, "supplier": "wholesaler", "lead_time_weeks": 10, "meeting": true }),
                json!({ "units_per_year": 40, "supplier": "manufacturer", "meeting": true }),
            ]
        },
        declined: || vec![json!({ "units_per_year": 12, "supplier": "nobody", "meeting": false })],
        asked: || vec![json!({ "units_per_year": 65 }), json!({ "supplier": "wholesaler" })],
    },
];

pub(super) fn forms() -> Vec<DemoForm> {
    FORMS.into_iter().map(|form| DemoForm { key: form.key, template: (form.template)() }).collect()
}

/// The form that goes with a script.
pub(super) fn form_of(script: &str) -> Option<&'static str> {
    FORMS.iter().find(|form| form.script == script).map(|form| form.key)
}

/// What the callers of a campaign found out: of those they spoke to, the first so many.
pub(super) fn qualifications(dice: &mut Dice, script: &str, calls: &[DemoCall]) -> Vec<DemoQualification> {
    let Some(form) = FORMS.iter().find(|form| form.script == script) else { return Vec::new() };
    let last: std::collections::BTreeMap<usize, CallOutcome> =
        calls.iter().map(|call| (call.nth_member, call.outcome)).collect();
    let told = last.into_iter().filter_map(|(nth_member, outcome)| {
        let (status, answers) = match outcome {
            CallOutcome::Qualified => ("qualified", form.won),
            CallOutcome::NotInterested => ("not_qualified", form.declined),
            CallOutcome::Callback | CallOutcome::Reached => ("draft", form.asked),
            CallOutcome::NoAnswer
            | CallOutcome::Busy
            | CallOutcome::Voicemail
            | CallOutcome::WrongNumber
            | CallOutcome::DoNotContact
            | CallOutcome::Unreachable
            | CallOutcome::Done => return None,
        };
        Some((nth_member, status, answers))
    });
    told.take(QUALIFICATIONS)
        .map(|(nth_member, status, answers)| {
            let answers = answers();
            let index = dice.below(answers.len());
            DemoQualification { nth_member, answers: answers[index].clone(), status }
        })
        .collect()
}

fn renovation() -> Value {
    json!({
        "name": "Projet de rénovation énergétique",
        "description": "Ce qui décide d'une visite technique : le projet, le budget et celui qui décide.",
        "fields": [
            { "key": "projet", "label": "Où en est le projet ?", "type": "select", "required": true, "options": ["aucun", "reflexion", "vote"], "mapsFromScriptNodeId": "projet" },
            { "key": "budget", "label": "Budget voté ou envisagé (€)", "type": "number", "min": 0, "max": 5_000_000, "mapsFromScriptNodeId": "budget" },
            { "key": "surface", "label": "Surface chauffée (m²)", "type": "number", "min": 1, "max": 200_000, "mapsFromScriptNodeId": "surface" },
            { "key": "energie", "label": "Énergie actuelle", "type": "select", "options": ["fioul", "gaz", "electricite", "bois"] },
            { "key": "travaux", "label": "Travaux envisagés", "type": "multiselect", "options": ["chauffage", "isolation", "solaire"] },
            { "key": "decideur", "label": "Le contact décide-t-il ?", "type": "boolean", "required": true, "mapsFromScriptNodeId": "decideur" },
            { "key": "visite", "label": "Accepte une visite technique", "type": "boolean", "mapsFromScriptNodeId": "visite" },
        ],
        "scoring": {
            "rules": [
                { "key": "projet", "operator": "equals", "value": "vote", "points": 40 },
                { "key": "projet", "operator": "equals", "value": "reflexion", "points": 20 },
                { "key": "budget", "operator": "at_least", "value": 50_000, "points": 20 },
                { "key": "energie", "operator": "equals", "value": "fioul", "points": 15 },
                { "key": "decideur", "operator": "equals", "value": true, "points": 15 },
                { "key": "visite", "operator": "equals", "value": true, "points": 15 },
                { "key": "projet", "operator": "equals", "value": "aucun", "points": -30 },
            ],
            "qualifyThreshold": 70,
        },
    })
}

fn installer() -> Value {
    json!({
        "name": "Artisan partenaire",
        "description": "Ce qu'il faut savoir avant d'envoyer le contrat type.",
        "fields": [
            { "key": "rge", "label": "Certifié RGE ?", "type": "boolean", "required": true, "mapsFromScriptNodeId": "rge" },
            { "key": "echeance_rge", "label": "Échéance du certificat", "type": "date" },
            { "key": "equipes", "label": "Équipes disponibles", "type": "number", "required": true, "min": 0, "max": 50, "mapsFromScriptNodeId": "equipes" },
            { "key": "domaines", "label": "Domaines", "type": "multiselect", "options": ["combles", "murs", "planchers"], "mapsFromScriptNodeId": "domaines" },
            { "key": "courriel", "label": "Courriel pour les chantiers", "type": "email" },
        ],
    })
}

fn request() -> Value {
    json!({
        "name": "Demande entrante",
        "fields": [
            { "key": "delai", "label": "Pour quand ?", "type": "select", "required": true, "options": ["urgent", "cette-annee", "plus-tard"], "mapsFromScriptNodeId": "delai" },
            { "key": "panne", "label": "Installation en panne ?", "type": "boolean", "mapsFromScriptNodeId": "panne" },
            { "key": "code_postal", "label": "Code postal du bâtiment", "type": "text", "maxLength": 5, "pattern": "^[0-9]{5}$" },
            { "key": "rendez_vous", "label": "Rendez-vous convenu", "type": "date", "mapsFromScriptNodeId": "rendez-vous" },
            { "key": "rappel", "label": "Autre numéro pour le rappel", "type": "phone" },
        ],
        "scoring": {
            "rules": [
                { "key": "delai", "operator": "not_equals", "value": "plus-tard", "points": 10 },
                { "key": "panne", "operator": "equals", "value": true, "points": 10 },
                { "key": "rendez_vous", "operator": "answered", "points": 20 },
            ],
            "qualifyThreshold": 30,
        },
    })
}

fn supplier() -> Value {
    json!({
        "name": "Heat pump installer",
        "description": "What the manufacturer asks before the first meeting.",
        "fields": [
            { "key": "units_per_year", "label": "Units fitted in a year", "type": "number", "required": true, "min": 0, "max": 10_000, "mapsFromScriptNodeId": "volume" },
            { "key": "supplier", "label": "Supplied today by", "type": "select", "required": true, "options": ["wholesaler", "manufacturer", "nobody"], "mapsFromScriptNodeId": "current" },
            { "key": "lead_time_weeks", "label": "Lead time in weeks", "type": "number", "min": 0, "max": 104, "mapsFromScriptNodeId": "lead-time" },
            { "key": "meeting", "label": "Wants a meeting", "type": "boolean", "mapsFromScriptNodeId": "meeting" },
        ],
    })
}
