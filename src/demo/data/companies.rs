//! The companies the people of the sample work for: craftsmen, energy firms, property managers, town halls,
//! IT.
//!
//! Names are composed from trades, families and coined words; a likeness to a real company is chance. Domains
//! are under `.example`, which RFC 2606 reserves, so no address of the sample can belong to anybody.

use std::collections::HashSet;

use super::cities::City;
use super::dice::Dice;
use super::names::{self, ascii};

pub(super) struct Company {
    pub(super) name: String,
    /// None: its people write from the mailboxes of a provider.
    pub(super) domain: Option<String>,
    pub(super) city: &'static City,
    pub(super) sector: &'static Sector,
    pub(super) addresses: Addresses,
    /// How many of its people the sample knows.
    pub(super) people: usize,
}

/// How a company makes an address out of a name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Addresses {
    FirstDotLast,
    InitialLast,
    InitialDotLast,
    LastDotFirst,
    First,
}

pub(super) struct Sector {
    weight: usize,
    naming: Naming,
    /// What precedes or follows a name: trades, kinds of house, kinds of office.
    trades: &'static [&'static str],
    /// For a man and for a woman.
    pub(super) jobs: &'static [(&'static str, &'static str)],
    /// Tags in French and English, the main one first.
    pub(super) tags: &'static [(&'static str, &'static str)],
}

#[derive(Clone, Copy)]
enum Naming {
    /// `Menuiserie Garnier`, `Ets Roussel & Fils`.
    Craft,
    /// `Thermélia Énergies`.
    Coined,
    /// `Résidence Les Tilleuls`.
    Place,
}

pub(super) const SECTORS: &[Sector] = &[
    Sector {
        weight: 20,
        naming: Naming::Craft,
        trades: &[
            "Isolation",
            "Menuiserie",
            "Plâtrerie",
            "Façades",
            "Couverture",
            "Charpente",
            "Maçonnerie",
            "Rénovation",
        ],
        jobs: &[
            ("Gérant", "Gérante"),
            ("Artisan", "Artisane"),
            ("Conducteur de travaux", "Conductrice de travaux"),
            ("Assistant de direction", "Assistante de direction"),
            ("Métreur", "Métreuse"),
        ],
        tags: &[("isolation", "insulation"), ("artisan", "trades"), ("combles", "attic")],
    },
    Sector {
        weight: 18,
        naming: Naming::Craft,
        trades: &[
            "Chauffage",
            "Plomberie",
            "Génie climatique",
            "Électricité",
            "Sanitaire",
            "Froid & Clim",
            "Thermique",
        ],
        jobs: &[
            ("Gérant", "Gérante"),
            ("Chauffagiste", "Chauffagiste"),
            ("Responsable technique", "Responsable technique"),
            ("Conjoint collaborateur", "Conjointe collaboratrice"),
            ("Chargé d'affaires", "Chargée d'affaires"),
        ],
        tags: &[("pompe-à-chaleur", "heat-pump"), ("chauffage", "heating"), ("artisan", "trades")],
    },
    Sector {
        weight: 14,
        naming: Naming::Coined,
        trades: &[
            "Énergies",
            "Solaire",
            "Photovoltaïque",
            "Bornes",
            "Renouvelables",
            "Environnement",
            "Audit Énergie",
        ],
        jobs: &[
            ("Directeur commercial", "Directrice commerciale"),
            ("Ingénieur d'études", "Ingénieure d'études"),
            ("Chargé d'affaires", "Chargée d'affaires"),
            ("Responsable d'agence", "Responsable d'agence"),
        ],
        tags: &[("photovoltaïque", "solar"), ("bornes-de-recharge", "ev-charging"), ("audit", "audit")],
    },
    Sector {
        weight: 17,
        naming: Naming::Place,
        trades: &["Résidence", "Syndic", "Foncière", "Immobilière", "Copropriété", "Régie", "SCI", "Gestion"],
        jobs: &[
            ("Gestionnaire de copropriété", "Gestionnaire de copropriété"),
            ("Syndic", "Syndique"),
            ("Président du conseil syndical", "Présidente du conseil syndical"),
            ("Directeur de gérance", "Directrice de gérance"),
        ],
        tags: &[("copropriété", "condominium"), ("syndic", "property-management"), ("audit", "audit")],
    },
    Sector {
        weight: 9,
        naming: Naming::Place,
        trades: &[
            "Mairie de",
            "Collège",
            "Lycée",
            "EHPAD",
            "Communauté de communes de",
            "Centre hospitalier",
            "École",
        ],
        jobs: &[
            ("Directeur des services techniques", "Directrice des services techniques"),
            ("Économe de flux", "Économe de flux"),
            ("Responsable du patrimoine", "Responsable du patrimoine"),
            ("Intendant", "Intendante"),
        ],
        tags: &[("collectivité", "public-sector"), ("décret-tertiaire", "public-building")],
    },
    Sector {
        weight: 11,
        naming: Naming::Coined,
        trades: &[
            "Informatique",
            "Conseil",
            "Systèmes",
            "Réseaux",
            "Numérique",
            "Logiciels",
            "Infogérance",
            "Data",
        ],
        jobs: &[
            ("DSI", "DSI"),
            ("Responsable informatique", "Responsable informatique"),
            ("Chef de projet", "Cheffe de projet"),
            ("Administrateur systèmes", "Administratrice systèmes"),
        ],
        tags: &[("informatique", "it-services"), ("infogérance", "managed-services")],
    },
    Sector {
        weight: 11,
        naming: Naming::Coined,
        trades: &[
            "Industrie",
            "Logistique",
            "Hôtels",
            "Distribution",
            "Agroalimentaire",
            "Transports",
            "Plastiques",
        ],
        jobs: &[
            ("Responsable maintenance", "Responsable maintenance"),
            ("Directeur de site", "Directrice de site"),
            ("Acheteur", "Acheteuse"),
            ("Responsable QSE", "Responsable QSE"),
            ("Directeur financier", "Directrice financière"),
        ],
        tags: &[
            ("tertiaire", "commercial-building"),
            ("bornes-de-recharge", "ev-charging"),
            ("vip", "key-account"),
        ],
    },
];

/// What the same trades are called abroad, in the order of `SECTORS`.
const ABROAD: &[(&str, [&str; 7], &[&str])] = &[
    (
        "GB",
        ["Insulation", "Heating & Plumbing", "Renewables", "Estates", "Council", "IT Services", "Logistics"],
        &["Ltd", "Ltd", "& Sons Ltd", "LLP", "Group plc"],
    ),
    (
        "US",
        [
            "Insulation",
            "HVAC",
            "Solar",
            "Property Management",
            "School District",
            "Software",
            "Manufacturing",
        ],
        &["Inc.", "LLC", "Corp."],
    ),
    (
        "DE",
        [
            "Dämmtechnik",
            "Haustechnik",
            "Solartechnik",
            "Hausverwaltung",
            "Stadtwerke",
            "Systemhaus",
            "Maschinenbau",
        ],
        &["GmbH", "GmbH & Co. KG", "KG", "AG", "e.K."],
    ),
    (
        "IT",
        ["Isolamenti", "Impianti", "Energia", "Immobiliare", "Comune", "Informatica", "Logistica"],
        &["S.r.l.", "S.p.A.", "& Figli S.n.c.", "S.a.s."],
    ),
];

#[rustfmt::skip]
const LEGAL_FORMS: &[&str] = &[
    "SA", "SAS", "SARL", "EURL", "Ltd", "LLP", "plc", "Inc.", "LLC", "Corp.", "GmbH", "Co.", "KG", "AG",
    "e.K.", "S.r.l.", "S.p.A.", "S.n.c.", "S.a.s.", "&",
];

/// Jobs of people abroad, in the language of the partner who knows them.
#[rustfmt::skip]
pub(super) const JOBS_ABROAD: &[&str] = &[
    "Managing Director", "Project Manager", "Facilities Manager", "Head of Procurement", "Office Manager",
    "Estimator", "Site Manager", "Owner", "Operations Director", "Buyer",
];

/// Beginnings and ends of communes that no map shows.
#[rustfmt::skip]
const COMMUNES: (&[&str], &[&str]) = (
    &[
        "Saint-Ours", "Montfleuri", "Chazey", "Bellerive", "Sainte-Colombe", "Vaugneux", "Larchamp",
        "Pontaubert", "Fontclaire", "Brignolet", "Marsanges", "Courzieu", "Valmorin", "Rochefleur",
    ],
    &[
        "-le-Vieux", "-sur-Ance", "-en-Plaine", "-les-Bains", "-la-Forêt", "-sous-Bois", "-d'Azergues",
        "-le-Haut", "-du-Lac",
    ],
);

#[rustfmt::skip]
const COINED: &[&str] = &[
    "Thermélia", "Isoléane", "Batinéo", "Rénovalys", "Calorena", "Solévia", "Héliorhône", "Voltabrise",
    "Énergivia", "Clairtoit", "Habitéa", "Murélie", "Toitalys", "Confortéa", "Airélys", "Ventélia",
    "Thermabel", "Isoval", "Ecotraboule", "Solarbois", "Lumévia", "Ampérine", "Wattelie", "Kilobrise",
    "Joulissime", "Calorvert", "Géothermée", "Granulêt", "Poêlissimo", "Chaumiel", "Ardoisine", "Tuilane",
    "Charpentine", "Boisélan", "Pierrevive", "Chaulane", "Ochréa", "Lauzéo", "Rivétoile", "Cimalpe",
    "Alpénor", "Savoréa", "Isérane", "Dauphiléo", "Forézia", "Beaujolys", "Bressane", "Saôneval", "Rhodalia",
    "Durancéo", "Camarguine", "Cévenéo", "Larzane", "Garonéa", "Océlia", "Armorine", "Vilaréa", "Ligéria",
    "Sologne", "Berryane", "Morvandia", "Jurassia", "Vosgéane", "Alsatéa", "Champéra", "Picardine",
    "Flandréo", "Normavie", "Caennaise", "Gatinéa", "Briarde", "Vexinéo", "Numélia", "Octaléo", "Logivane",
    "Datalys", "Cybrane", "Réséliance", "Bitumine", "Cloudivert", "Algoréa", "Syntaxia", "Pixélane", "Kernéo",
    "Serviléo", "Ondivia", "Fibralys", "Câblane", "Routéa", "Infovale", "Technivie", "Optiléo", "Mécalys",
    "Usinéa", "Frigolane", "Transaléo", "Cargovie", "Palettine", "Stockéa", "Hôtelys", "Plastéo", "Agrivane",
    "Laitéa", "Minotine", "Verralys", "Métaléo", "Aciérane", "Papivie", "Cartonéa", "Textilys", "Soyance",
    "Canutéa", "Gratteciel", "Confluéo", "Bellecombe", "Fourvane", "Croixrousse & Cie", "Gerlandine",
    "Brotteline", "Monplaisir", "Terrealine", "Presquile", "Vaisalys", "Caluirane",
];

#[rustfmt::skip]
const PLACES: &[&str] = &[
    "Les Tilleuls", "Le Clos Fleuri", "Beaulieu", "Les Hirondelles", "Saint-Exupéry", "Jean-Moulin",
    "Les Marronniers", "Bellevue", "Le Belvédère", "Les Glycines", "Victor-Hugo", "La Roseraie", "Les Cèdres",
    "Le Parc", "Montplaisir", "Les Acacias", "Louise-Michel", "Les Terrasses", "La Chênaie", "Le Grand Pré",
    "Saint-Vincent", "Les Alouettes", "Champ Fleury", "La Source", "Les Peupliers", "Bellecombe",
    "Val d'Ozon", "Les Lauriers", "Simone-Veil", "Le Mail", "Côte-Rousse", "Les Jardins du Lac", "La Doua",
    "Marie-Curie", "Grand-Vallon", "Le Prieuré", "Les Érables", "La Ferrière", "Saint-Ours", "Les Bruyères",
    "Montfleuri", "Le Moulin", "Les Coteaux", "La Tour Rose", "Les Amandiers", "Haut-Bugey", "La Charmille",
    "Le Verger", "Les Platanes", "Fontanières", "La Madeleine", "Les Oliviers", "Pré-Vert", "Le Colombier",
    "Sainte-Colombe", "Les Genêts", "Vieux-Port", "Le Ruisseau", "Beauséjour", "Les Quatre Vents",
    "Mont-Clair", "Val-Doré", "L'Orée du Bois", "Les Cerisiers", "La Garenne", "Plein-Sud", "Les Ormes",
    "Le Hameau", "Boisfleury", "Entre-Deux-Eaux",
];

/// Companies of these towns with room for at least `people` people.
pub(super) fn found(dice: &mut Dice, cities: &'static [City], people: usize) -> Vec<Company> {
    let mut companies = Vec::new();
    let mut taken = HashSet::new();
    let mut room = 0;
    while room < people {
        let city = dice.weigh(cities, |city| city.weight);
        let sector = dice.weigh(SECTORS, |sector| sector.weight);
        let name = name(dice, city, sector);
        // A second `Menuiserie Martin` is told apart by its town, as in life; a third is not founded. Nor
        // is an `SAS` beside the `SARL` of the same name: many a reader would take the two for one.
        let told_apart = name.ends_with(city.name) || !taken.contains(&label(&name));
        let name = if told_apart { name } else { format!("{name} {}", city.name) };
        if !taken.insert(label(&name)) {
            continue;
        }
        let small = matches!(sector.naming, Naming::Craft) && city.country == "FR";
        let people = match dice.below(100) {
            0..45 => 1,
            45..65 => 2,
            65..80 => 4,
            _ if small => 3,
            80..90 => 8,
            90..97 => 15,
            _ => 35,
        };
        let domain = (!small || dice.percent(60)).then(|| domain(dice, &name, city));
        let addresses = *dice.weigh(
            &[
                (Addresses::FirstDotLast, 45),
                (Addresses::InitialLast, 20),
                (Addresses::InitialDotLast, 20),
                (Addresses::LastDotFirst, 5),
                (Addresses::First, 10),
            ],
            |entry| entry.1,
        );
        companies.push(Company { name, domain, city, sector, addresses: addresses.0, people });
        room += people;
    }
    companies
}

fn name(dice: &mut Dice, city: &City, sector: &Sector) -> String {
    if let Some((country, trades, forms)) = ABROAD.iter().find(|abroad| abroad.0 == city.country) {
        let trade =
            SECTORS.iter().position(|other| std::ptr::eq(other, sector)).map_or("", |index| trades[index]);
        let (_, family, _) = names::person(dice, country);
        return format!("{family} {trade} {}", dice.pick_low(forms));
    }
    let trade = dice.pick(sector.trades);
    match sector.naming {
        Naming::Craft => {
            let family = dice.pick_low(names::FRENCH.families);
            match dice.below(12) {
                0..4 => format!("{trade} {family}"),
                4 => format!("Ets {family} & Fils"),
                5 => format!("SARL {family} {trade}"),
                6 => format!("{family} Frères {trade}"),
                7 => format!("EURL {family}"),
                8 => format!("{trade} {family} SAS"),
                9 => format!("L'Atelier {family}"),
                10 => format!("{family} {trade}"),
                _ => format!("{family} et Associés"),
            }
        }
        Naming::Coined => match (dice.pick(COINED), dice.below(8)) {
            (word, 0) => format!("{word} SA"),
            (word, 1..3) => format!("{word} {trade}"),
            (word, 3) => format!("{word} {trade} SARL"),
            (word, 4) => format!("{word} {}", city.name),
            (word, 5) => format!("Groupe {word}"),
            (word, _) => format!("{word} {trade} SAS"),
        },
        Naming::Place => match (dice.pick(PLACES), dice.below(4)) {
            (_, _) if trade.ends_with(" de") => {
                format!("{trade} {}{}", dice.pick(COMMUNES.0), dice.pick(COMMUNES.1))
            }
            (place, 0) => format!("{trade} {place} - {}", city.name),
            (place, _) => format!("{trade} {place}"),
        },
    }
}

/// Its own domain, sometimes a host within it.
fn domain(dice: &mut Dice, name: &str, city: &City) -> String {
    let own = label(name);
    match dice.below(20) {
        0 => format!("{}.{own}.example", ascii(city.name)),
        _ => format!("{own}.example"),
    }
}

/// The name without its legal form, as a label of a domain name.
fn label(name: &str) -> String {
    let words: Vec<_> = name.split(' ').filter(|word| !LEGAL_FORMS.contains(word)).collect();
    ascii(&words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::super::cities;
    use super::*;

    #[test]
    fn companies_differ_in_name_and_domain_and_have_room() {
        let mut dice = Dice::new(1, "companies");
        let mut companies = found(&mut dice, cities::FRENCH, 17_000);
        companies.extend(found(&mut dice, cities::FOREIGN, 1_600));
        assert!(companies.iter().map(|company| company.people).sum::<usize>() >= 18_600);
        let names: HashSet<_> = companies.iter().map(|company| &company.name).collect();
        let domains: Vec<_> = companies.iter().filter_map(|company| company.domain.as_deref()).collect();
        assert_eq!(names.len(), companies.len());
        assert_eq!(domains.iter().collect::<HashSet<_>>().len(), domains.len());
        // A label of a domain name holds 63 characters at most.
        for label in domains.iter().flat_map(|domain| domain.split('.')) {
            assert!((1..=63).contains(&label.len()), "{label:?}");
        }
        assert!(companies.iter().all(|company| !encoding_rs::WINDOWS_1252.encode(&company.name).2));
    }

    #[test]
    fn coined_words_and_places_are_listed_once() {
        for list in [COINED, PLACES] {
            assert_eq!(list.iter().collect::<HashSet<_>>().len(), list.len());
        }
    }
}
