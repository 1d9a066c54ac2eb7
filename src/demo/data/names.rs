//! First and last names, the commoner ones first, by where a family comes from.
//!
//! The names of people in France stay within Windows-1252, because one of the files of the sample is
//! written in it.

use super::dice::Dice;

pub(super) struct Names {
    women: &'static [&'static str],
    men: &'static [&'static str],
    pub(super) families: &'static [&'static str],
}

/// A first name, a family name and whether the person is a woman.
pub(super) fn person(dice: &mut Dice, country: &str) -> (String, String, bool) {
    let (given, family) = match country {
        "GB" | "US" => (ENGLISH, ENGLISH),
        "DE" => (GERMAN, GERMAN),
        "IT" => (ITALIAN, ITALIAN),
        _ => match dice.below(100) {
            0..79 => (FRENCH, FRENCH),
            79..87 => (ARABIC, ARABIC),
            87..89 => (FRENCH, ARABIC),
            89..91 => (FRENCH, ITALIAN),
            91..94 => (IBERIAN, IBERIAN),
            94..96 => (FRENCH, IBERIAN),
            96..98 => (FRENCH, GERMAN),
            98..99 => (ITALIAN, ITALIAN),
            _ => (ENGLISH, ENGLISH),
        },
    };
    let woman = dice.percent(43);
    let first = dice.pick_low(if woman { given.women } else { given.men });
    let last = dice.pick_low(family.families);
    let last = match dice.below(100) {
        0..3 if country == "FR" => format!("{last}-{}", dice.pick_low(FRENCH.families)),
        _ => last.to_owned(),
    };
    (first.to_owned(), last, woman)
}

#[rustfmt::skip]
pub(super) const FRENCH: Names = Names {
    women: &[
        "Marie", "Nathalie", "Isabelle", "Sylvie", "Catherine", "Sandrine", "Stéphanie", "Céline", "Julie",
        "Christelle", "Aurélie", "Émilie", "Valérie", "Véronique", "Camille", "Laura", "Sophie", "Hélène",
        "Anne", "Élodie", "Virginie", "Karine", "Delphine", "Léa", "Mélanie", "Caroline", "Claire", "Marine",
        "Pauline", "Manon", "Chloé", "Florence", "Brigitte", "Laëtitia", "Audrey", "Charlotte", "Anaïs",
        "Mathilde", "Lucie", "Amandine", "Corinne", "Patricia", "Agnès", "Anne-Sophie", "Marie-Claude",
        "Justine", "Clémence", "Alice", "Maëlle", "Noémie", "Béatrice", "Élise", "Margaux", "Inès",
        "Marie-Hélène", "Solène", "Ophélie", "Cécile", "Françoise", "Gaëlle", "Mireille", "Anne-Laure",
        "Coralie", "Estelle", "Joséphine", "Maud", "Odile", "Rose-Marie", "Zoé", "Axelle",
    ],
    men: &[
        "Jean", "Philippe", "Nicolas", "Christophe", "Pierre", "Laurent", "Thomas", "Julien", "Éric",
        "Frédéric", "Stéphane", "David", "Sébastien", "Alexandre", "Olivier", "Antoine", "Maxime", "Pascal",
        "François", "Guillaume", "Vincent", "Jérôme", "Romain", "Thierry", "Michel", "Patrick", "Bruno",
        "Mathieu", "Cédric", "Benoît", "Lucas", "Hugo", "Clément", "Quentin", "Benjamin", "Fabrice", "Franck",
        "Gilles", "Ludovic", "Damien", "Jean-Pierre", "Jean-Luc", "Rémi", "Arnaud", "Florian", "Emmanuel",
        "Hervé", "Yann", "Jean-Marc", "Baptiste", "Loïc", "Valentin", "Denis", "Grégory", "Jean-François",
        "Xavier", "Raphaël", "Théo", "Gaël", "Léo", "Pierre-Yves", "Tanguy", "Joël", "Noël", "Étienne",
        "Marc-Antoine", "Régis", "Anthony", "Mickaël", "Côme",
    ],
    families: &[
        "Martin", "Bernard", "Thomas", "Petit", "Robert", "Richard", "Durand", "Dubois", "Moreau", "Laurent",
        "Simon", "Michel", "Lefebvre", "Leroy", "Roux", "David", "Bertrand", "Morel", "Fournier", "Girard",
        "Bonnet", "Dupont", "Lambert", "Fontaine", "Rousseau", "Vincent", "Muller", "Lefèvre", "Faure",
        "André", "Mercier", "Blanc", "Guérin", "Boyer", "Garnier", "Chevalier", "François", "Legrand",
        "Gauthier", "Perrin", "Robin", "Clément", "Morin", "Nicolas", "Henry", "Roussel", "Mathieu",
        "Gautier", "Masson", "Marchand", "Duval", "Denis", "Dumont", "Marie", "Lemaire", "Noël", "Meyer",
        "Dufour", "Meunier", "Brun", "Blanchard", "Giraud", "Joly", "Rivière", "Lucas", "Brunet", "Gaillard",
        "Barbier", "Arnaud", "Martel", "Gérard", "Roche", "Renard", "Schmitt", "Roy", "Leroux", "Colin",
        "Vidal", "Caron", "Picard", "Roger", "Fabre", "Aubert", "Lemoine", "Renaud", "Dumas", "Lacroix",
        "Olivier", "Philippe", "Bourgeois", "Pierre", "Benoît", "Rey", "Leclerc", "Payet", "Rolland",
        "Leclercq", "Guillaume", "Lecomte", "Jean", "Dupuy", "Guillot", "Hubert", "Berger", "Carpentier",
        "Moulin", "Louis", "Deschamps", "Huet", "Vasseur", "Perez", "Boucher", "Fleury", "Royer", "Klein",
        "Jacquet", "Adam", "Paris", "Poirier", "Marty", "Aubry", "Guyot", "Carré", "Charles", "Renault",
        "Charpentier", "Ménard", "Maillard", "Baron", "Bertin", "Bailly", "Hervé", "Schneider", "Le Gall",
        "Collet", "Léger", "Bouvier", "Julien", "Prévost", "Millet", "Perrot", "Daniel", "Le Roux", "Cousin",
        "Germain", "Breton", "Langlois", "Rémy", "Besson", "Lévêque", "Le Goff", "Pelletier", "Leblanc",
        "Barré", "Lebrun", "Grondin", "Perret", "Marchal", "Weber", "Boulanger", "Mallet", "Hamon", "Jacob",
        "Monnier", "Michaud", "Guichard", "Poulain", "Étienne", "Gillet", "Hoarau", "Tessier", "Chevallier",
        "Collin", "Lemaître", "Chauvin", "Bénard", "Bouchet", "Gay", "Marion", "Lebon", "Chapuis", "Ferrand",
        "Guillon", "Delorme", "Reynaud", "Vallet", "Coste", "Buisson", "Maréchal", "Devaux", "Bréchet",
        "Chambon", "Pasquier", "Thévenet", "Bœuf", "Cœurdroy", "L'Hermite", "de La Tour", "Du Pré", "Gonnet",
        "Pichon", "Favre", "Perrachon", "Vuillermoz", "Cuzin", "Berthod", "Blanchet", "Chanel", "Duchêne",
        "Nguyen",
    ],
};

#[rustfmt::skip]
const ARABIC: Names = Names {
    women: &[
        "Fatima", "Nadia", "Samira", "Sarah", "Yasmine", "Leïla", "Karima", "Amina", "Malika", "Khadija",
        "Salma", "Imane", "Naïma", "Soraya", "Houda", "Zineb", "Meriem", "Lina",
    ],
    men: &[
        "Mohamed", "Karim", "Mehdi", "Rachid", "Samir", "Nabil", "Youssef", "Ahmed", "Farid", "Sofiane",
        "Bilal", "Omar", "Hichem", "Walid", "Saïd", "Khaled", "Abdelkader", "Ismaël", "Anouar", "Jamel",
    ],
    families: &[
        "Benali", "Saïdi", "Haddad", "Bouzid", "Cherif", "Mansouri", "Belkacem", "Khelifi", "Amrani", "Ziani",
        "El Amrani", "Benmoussa", "Hamidi", "Bensaïd", "Rahmani", "Brahimi", "El Idrissi", "Meziane", "Toumi",
        "Kaddour", "Ben Salah", "Slimani", "Lahlou", "Ouali", "Hadj Ali", "Boukhari", "Tazi", "Trabelsi",
        "Gharbi", "Aït Ouarab",
    ],
};

#[rustfmt::skip]
const IBERIAN: Names = Names {
    women: &["Maria", "Sonia", "Cristina", "Carmen", "Elena", "Paula", "Inês", "Lúcia", "Pilar", "Ana"],
    men: &["José", "Antonio", "Manuel", "Carlos", "Paulo", "Miguel", "Luis", "João", "Fernando", "Víctor"],
    families: &[
        "Garcia", "Fernandes", "Da Silva", "Rodriguez", "Martinez", "Lopez", "Dos Santos", "Ferreira",
        "Pereira", "Gonçalves", "Sanchez", "Gomes", "Ribeiro", "Hernández", "Da Costa", "Muñoz", "Teixeira",
        "De Oliveira", "Carvalho", "Ruiz", "Lourenço", "Marquès",
    ],
};

#[rustfmt::skip]
const ITALIAN: Names = Names {
    women: &["Giulia", "Chiara", "Francesca", "Elisa", "Paola", "Sara", "Alessia", "Laura", "Silvia", "Anna"],
    men: &[
        "Marco", "Luca", "Alessandro", "Andrea", "Matteo", "Giuseppe", "Stefano", "Davide", "Nicolò", "Paolo",
    ],
    families: &[
        "Rossi", "Russo", "Ferrari", "Esposito", "Bianchi", "Romano", "Colombo", "Ricci", "Marino", "Greco",
        "Bruno", "Gallo", "Conti", "De Luca", "Costa", "Giordano", "Mancini", "Rizzo", "Lombardi", "Moretti",
        "D'Angelo", "Dell'Orto",
    ],
};

#[rustfmt::skip]
const GERMAN: Names = Names {
    women: &[
        "Anna", "Julia", "Katharina", "Sabine", "Claudia", "Lena", "Petra", "Jana", "Ute", "Heike", "Käthe",
    ],
    men: &[
        "Thomas", "Michael", "Andreas", "Stefan", "Jürgen", "Jan", "Lukas", "Björn", "Markus", "Günther",
        "Felix",
    ],
    families: &[
        "Müller", "Schmidt", "Schneider", "Fischer", "Weber", "Meyer", "Wagner", "Becker", "Schulz",
        "Hoffmann", "Schäfer", "Koch", "Bauer", "Richter", "Klein", "Wolf", "Schröder", "Neumann", "Schwarz",
        "Zimmermann", "Krüger", "Weiß", "Groß", "Köhler", "von Berg",
    ],
};

#[rustfmt::skip]
const ENGLISH: Names = Names {
    women: &[
        "Sarah", "Emma", "Emily", "Rachel", "Laura", "Jessica", "Charlotte", "Helen", "Priya", "Aisha",
        "Grace", "Siân", "Megan",
    ],
    men: &[
        "James", "David", "John", "Andrew", "Daniel", "Matthew", "Oliver", "Mark", "Peter", "Imran",
        "Callum", "Rhys", "Kwame",
    ],
    families: &[
        "Smith", "Jones", "Taylor", "Brown", "Williams", "Wilson", "Johnson", "Davies", "Patel", "Robinson",
        "Wright", "Thompson", "Evans", "Walker", "White", "Roberts", "Green", "Hall", "Wood", "Khan",
        "Jackson", "Clarke", "O'Brien", "Begum", "MacLeod", "Hughes", "Ahmed", "Baker", "Okafor",
        "Fitz-Gibbon",
    ],
};

/// The name as an e-mail address or a domain can hold it: lower case, no accents, runs of anything else one
/// hyphen. Apostrophes vanish, as in `dangelo`.
pub(super) fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.to_lowercase().chars() {
        match sign {
            'a'..='z' | '0'..='9' => out.push(sign),
            '\'' | '’' => {}
            _ => match plain(sign) {
                Some(letters) => out.push_str(letters),
                None if !out.is_empty() && !out.ends_with('-') => out.push('-'),
                None => {}
            },
        }
    }
    out.truncate(out.trim_end_matches('-').len());
    out
}

/// The text with its accents gone, as an old program or a hurried hand leaves it: Hélène, Helene.
pub(super) fn unaccented(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars() {
        match plain(sign.to_lowercase().next().unwrap_or(sign)) {
            Some(letters) if sign.is_uppercase() => out.push_str(&letters.to_uppercase()),
            Some(letters) => out.push_str(letters),
            None => out.push(sign),
        }
    }
    out
}

/// The plain letters behind an accented small letter of Western Europe.
fn plain(sign: char) -> Option<&'static str> {
    Some(match sign {
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' => "a",
        'æ' => "ae",
        'ç' => "c",
        'è' | 'é' | 'ê' | 'ë' => "e",
        'ì' | 'í' | 'î' | 'ï' => "i",
        'ñ' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' => "o",
        'œ' => "oe",
        'ß' => "ss",
        'ù' | 'ú' | 'û' | 'ü' => "u",
        'ý' | 'ÿ' => "y",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_part_of_an_address() {
        for (name, address) in [
            ("Hélène", "helene"),
            ("Jean-François", "jean-francois"),
            ("D'Angelo", "dangelo"),
            ("de La Tour", "de-la-tour"),
            ("Cœurdroy", "coeurdroy"),
            ("Weiß & Söhne (GmbH)", "weiss-sohne-gmbh"),
            ("  ", ""),
        ] {
            assert_eq!(ascii(name), address);
        }
    }

    #[test]
    fn accents_go_and_case_stays() {
        assert_eq!(unaccented("Étienne Lévêque-Bœuf"), "Etienne Leveque-Boeuf");
    }

    #[test]
    fn every_name_can_be_written_in_windows_1252_and_as_an_address() {
        let all = [FRENCH, ARABIC, IBERIAN, ITALIAN, GERMAN, ENGLISH];
        for name in all.iter().flat_map(|names| [names.women, names.men, names.families]).flatten() {
            assert!(!encoding_rs::WINDOWS_1252.encode(name).2, "{name}");
            let address = ascii(name);
            assert!(!address.is_empty() && unaccented(name).is_ascii(), "{name}");
        }
    }
}
