//! Where the people of the sample work: thirty-eight French towns and twelve abroad.
//!
//! The weight follows the population, tripled around Lyon, where the agency of the sample works.

use super::phones::Zone;

pub(super) struct City {
    pub(super) name: &'static str,
    /// The first characters of the postal code and how many digits follow them.
    pub(super) postcode: (&'static str, usize),
    /// ISO 3166 code.
    pub(super) country: &'static str,
    pub(super) zone: Option<Zone>,
    pub(super) weight: usize,
}

const fn city(
    country: &'static str,
    zone: Option<Zone>,
    name: &'static str,
    postcode: (&'static str, usize),
    weight: usize,
) -> City {
    City { name, postcode, country, zone, weight }
}

const fn french(zone: Zone, name: &'static str, postcode: &'static str, weight: usize) -> City {
    city("FR", Some(zone), name, (postcode, 0), weight)
}

pub(super) const FRENCH: &[City] = &[
    french(Zone::France1, "Paris", "75011", 640),
    french(Zone::France1, "Boulogne-Billancourt", "92100", 60),
    french(Zone::France1, "Saint-Denis", "93200", 55),
    french(Zone::France1, "Versailles", "78000", 40),
    french(Zone::France2, "Nantes", "44000", 160),
    french(Zone::France2, "Rennes", "35000", 110),
    french(Zone::France2, "Le Havre", "76600", 60),
    french(Zone::France2, "Angers", "49000", 75),
    french(Zone::France2, "Brest", "29200", 65),
    french(Zone::France2, "Le Mans", "72000", 60),
    french(Zone::France2, "Tours", "37000", 65),
    french(Zone::France2, "Orléans", "45000", 55),
    french(Zone::France3, "Strasbourg", "67000", 140),
    french(Zone::France3, "Lille", "59000", 120),
    french(Zone::France3, "Reims", "51100", 80),
    french(Zone::France3, "Dijon", "21000", 90),
    french(Zone::France3, "Metz", "57000", 60),
    french(Zone::France3, "Besançon", "25000", 70),
    french(Zone::France3, "Mulhouse", "68100", 50),
    french(Zone::France4, "Lyon", "69003", 900),
    french(Zone::France4, "Villeurbanne", "69100", 230),
    french(Zone::France4, "Vénissieux", "69200", 90),
    french(Zone::France4, "Villefranche-sur-Saône", "69400", 70),
    french(Zone::France4, "Bourg-en-Bresse", "01000", 75),
    french(Zone::France4, "Saint-Étienne", "42000", 250),
    french(Zone::France4, "Grenoble", "38000", 270),
    french(Zone::France4, "Valence", "26000", 110),
    french(Zone::France4, "Annecy", "74000", 180),
    french(Zone::France4, "Chambéry", "73000", 100),
    french(Zone::France4, "Clermont-Ferrand", "63000", 200),
    french(Zone::France4, "Marseille", "13006", 330),
    french(Zone::France4, "Nice", "06000", 120),
    french(Zone::France4, "Montpellier", "34000", 130),
    french(Zone::France5, "Toulouse", "31000", 210),
    french(Zone::France5, "Bordeaux", "33000", 180),
    french(Zone::France5, "Limoges", "87000", 50),
    french(Zone::France5, "Pau", "64000", 40),
    french(Zone::France5, "La Rochelle", "17000", 40),
];

pub(super) const FOREIGN: &[City] = &[
    city("GB", Some(Zone::London), "London", ("EC2A ", 1), 420),
    city("GB", Some(Zone::Birmingham), "Birmingham", ("B2 ", 1), 110),
    city("GB", Some(Zone::Manchester), "Manchester", ("M1 ", 1), 120),
    city("GB", Some(Zone::Leeds), "Leeds", ("LS1 ", 1), 70),
    city("DE", Some(Zone::Berlin), "Berlin", ("101", 2), 160),
    city("DE", Some(Zone::Hamburg), "Hamburg", ("200", 2), 90),
    city("DE", Some(Zone::Munich), "München", ("803", 2), 110),
    city("DE", Some(Zone::Cologne), "Köln", ("506", 2), 90),
    city("US", Some(Zone::NewYork), "New York", ("100", 2), 50),
    city("US", Some(Zone::Boston), "Boston", ("021", 2), 35),
    // No telephone numbers are reserved for fiction in Italy: these people are reached by e-mail.
    city("IT", None, "Milano", ("201", 2), 130),
    city("IT", None, "Torino", ("101", 2), 80),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_town_is_listed_once() {
        let names: BTreeSet<_> = FRENCH.iter().chain(FOREIGN).map(|city| city.name).collect();
        assert_eq!(names.len(), FRENCH.len() + FOREIGN.len());
    }
}
