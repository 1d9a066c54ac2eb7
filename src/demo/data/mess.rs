//! What hands and programs do to the records of people: capitals, lost accents, typing errors, doubles,
//! broken cells.
//!
//! Nothing here changes who a row is about: an address keeps its meaning through `row`, and a double says by
//! which key it can be found.

use super::dice::Dice;
use super::names::{ascii, unaccented};
use super::people::Person;
use super::phones;
use super::sheets::Row;

/// The row of a person who appears for the first time.
pub(super) fn row(dice: &mut Dice, sheet: usize, person: &Person) -> Row {
    let mut row = Row {
        title: match dice.below(10) {
            _ if person.first.is_empty() || person.city.country != "FR" => "",
            0..6 if person.woman => "Mme",
            0..6 => "M.",
            6 if person.woman => "Madame",
            6 => "Monsieur",
            _ => "",
        },
        first: person.first.clone(),
        last: person.last.clone(),
        job: person.job,
        company: person.company.clone(),
        email: person.email.as_ref().map_or_else(String::new, |email| email_as_typed(dice, email)),
        phone: person.phone.map_or_else(String::new, |phone| phone.typed(dice)),
        postcode: postcode(dice, person),
        city: city_as_typed(dice, person),
        country: person.city.country,
        tags: person.tags.clone(),
        opted_out: person.opted_out,
        note: if dice.percent(9) { dice.pick(notes(sheet)).to_owned() } else { String::new() },
    };
    match dice.below(100) {
        0..3 => every_name(&mut row, str::to_uppercase),
        3..5 => every_name(&mut row, str::to_lowercase),
        5..8 => every_name(&mut row, unaccented),
        8..10 => every_name(&mut row, |name| format!("{name} ")),
        10 => every_name(&mut row, |name| format!("  {}", name.replace(' ', "  "))),
        // Family names in capitals are good manners in France.
        11..23 if sheet == 0 => row.last = row.last.to_uppercase(),
        _ => {}
    }
    row
}

/// Names in UTF-8, read as Windows-1252 by a program in between: `FranÃ§ois`.
pub(super) fn garble(row: &mut Row) {
    every_name(row, |name| encoding_rs::WINDOWS_1252.decode(name.as_bytes()).0.into_owned());
}

fn every_name(row: &mut Row, change: impl Fn(&str) -> String) {
    for name in [&mut row.first, &mut row.last, &mut row.company] {
        if !name.is_empty() {
            *name = change(name);
        }
    }
}

/// The same address to any reader who ignores case and the spaces around it.
fn email_as_typed(dice: &mut Dice, email: &str) -> String {
    match dice.below(100) {
        0..3 => email.to_uppercase(),
        3..6 => capitals(email),
        6 => format!("{email} "),
        7 => format!(" {email}"),
        _ => email.to_owned(),
    }
}

/// `Jean.Dupont@...`
fn capitals(email: &str) -> String {
    let mut start = true;
    email
        .chars()
        .map(|sign| {
            let typed = if start { sign.to_ascii_uppercase() } else { sign };
            start = sign == '.' || sign == '-';
            typed
        })
        .collect()
}

fn postcode(dice: &mut Dice, person: &Person) -> String {
    let (start, digits) = person.city.postcode;
    match digits {
        0 => start.to_owned(),
        // British codes end in two letters.
        1 => format!(
            "{start}{}{}{}",
            dice.below(10),
            dice.pick(&["A", "B", "D", "N"]),
            dice.pick(&["E", "H", "Q", "S"])
        ),
        _ => format!("{start}{:0digits$}", dice.below(100)),
    }
}

/// The town, now and then in a form that a filter on its name does not find.
fn city_as_typed(dice: &mut Dice, person: &Person) -> String {
    let name = person.city.name;
    match dice.below(100) {
        0..3 => name.to_uppercase(),
        3 => format!("{name} "),
        4 => unaccented(name).replace("Saint-", "St "),
        5 => format!("{name} Cedex"),
        6 => String::new(),
        _ => name.to_owned(),
    }
}

/// By which key a double can be found. Every double has exactly one original and shares nothing with anyone
/// else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Double {
    /// The same address but for case and surrounding spaces.
    Email,
    /// The same address but for a `+tag`.
    PlusTag,
    /// The same number, typed in another way; the address is another one or missing.
    Phone,
    /// Another address and number, but the same name, give or take case and accents, in the same company.
    NameAndCompany,
}

impl Double {
    pub(super) fn fits(self, person: &Person) -> bool {
        let named = !person.first.is_empty() && !person.last.is_empty();
        match self {
            Double::Email | Double::PlusTag => person.email.is_some(),
            Double::Phone => person.phone.is_some(),
            Double::NameAndCompany => named && !person.company.is_empty(),
        }
    }
}

/// The person once more, by another hand. `other` holds the address and the number that the person has
/// besides.
pub(super) fn double(dice: &mut Dice, sheet: usize, how: Double, person: &Person, other: &Person) -> Row {
    let mut again = person.clone();
    match how {
        Double::Email => {
            again.phone =
                if dice.percent(40) { person.phone } else { other.phone.filter(|_| dice.percent(50)) };
        }
        Double::PlusTag => {
            again.phone = None;
            again.email = person.email.as_ref().map(|email| {
                let tag = dice.pick(&["pro", "devis", "salon", "newsletter", "test"]);
                email.replacen('@', &format!("+{tag}@"), 1)
            });
        }
        Double::Phone => again.email = other.email.clone().filter(|_| dice.percent(50)),
        Double::NameAndCompany => {
            again.email.clone_from(&other.email);
            again.phone = other.phone.filter(|_| again.email.is_none());
        }
    }
    let mut row = row(dice, sheet, &again);
    match how {
        Double::Email if dice.percent(50) => row.email = capitals(row.email.trim()),
        Double::NameAndCompany => {
            // The plain spelling: a typing error on top would leave nothing to recognise.
            (row.first, row.last, row.company) =
                (unaccented(&person.first), person.last.to_uppercase(), person.company.clone());
            return row;
        }
        _ => {}
    }
    misspell(dice, &mut row);
    row
}

/// How the same name comes out the second time; now and then it is right.
fn misspell(dice: &mut Dice, row: &mut Row) {
    match dice.below(10) {
        0 => std::mem::swap(&mut row.first, &mut row.last),
        1 => row.last = typo(dice, &row.last),
        2 => row.first = typo(dice, &row.first),
        3 => row.first = row.first.replace('-', " "),
        4 => row.first = row.first.chars().next().map_or_else(String::new, |initial| format!("{initial}.")),
        5 => every_name(row, unaccented),
        6 => every_name(row, str::to_uppercase),
        7 => row.company = String::new(),
        8 => row.last = format!("{} ", row.last),
        _ => {}
    }
}

/// Two letters changed places, one is missing, or one is doubled; never the first.
fn typo(dice: &mut Dice, name: &str) -> String {
    let mut letters: Vec<char> = name.chars().collect();
    if letters.len() < 4 {
        return name.to_owned();
    }
    let at = dice.between(1, letters.len() - 2);
    match dice.below(3) {
        0 => letters.swap(at, at + 1),
        1 => drop(letters.remove(at)),
        _ => letters.insert(at, letters[at]),
    }
    letters.into_iter().collect()
}

/// A row by which nobody can be reached: no key at all, or only broken ones.
pub(super) fn unusable(dice: &mut Dice, sheet: usize, person: &Person, domain: &str) -> Row {
    let mut row = row(dice, sheet, &Person { email: None, phone: None, ..person.clone() });
    match dice.below(100) {
        0..35 => row.email = broken_email(dice, person, domain),
        35..60 => row.phone = phones::broken(dice),
        60..75 => (row.email, row.phone) = (broken_email(dice, person, domain), phones::broken(dice)),
        75..80 => dice.pick(&["n/a", "néant", "-", "pas d'e-mail", "?"]).clone_into(&mut row.email),
        _ => {}
    }
    row
}

/// A row in which one key is good and the other broken.
pub(super) fn damaged(dice: &mut Dice, sheet: usize, person: &Person, domain: &str) -> Row {
    let mut row = row(dice, sheet, person);
    if person.email.is_some() && (person.phone.is_none() || dice.percent(50)) {
        row.phone = phones::broken(dice);
    } else {
        row.email = broken_email(dice, person, domain);
    }
    row
}

/// An address that no reading of RFC 5321 accepts. What follows its last `@` is reserved or nothing.
fn broken_email(dice: &mut Dice, person: &Person, domain: &str) -> String {
    let mailbox = match (ascii(&person.first), ascii(&person.last)) {
        (first, last) if first.is_empty() || last.is_empty() => "service.travaux".to_owned(),
        (first, last) => format!("{first}.{last}"),
    };
    match dice.below(8) {
        0 => mailbox,
        1 => format!("{mailbox}@"),
        2 => format!("{mailbox}@@{domain}"),
        3 => format!("{mailbox}(at){domain}"),
        4 => format!("@{domain}"),
        5 => format!("{mailbox}@{}", domain.replace('.', ",")),
        6 => format!("{} @ {domain}", mailbox.replace('.', " ")),
        _ => format!("{mailbox}@.{domain}"),
    }
}

fn notes(sheet: usize) -> &'static [&'static str] {
    match sheet {
        0 => &[
            "Rappeler après les vacances",
            "A demandé un devis pour l'isolation des combles ; relancer",
            "Ne parle qu'au téléphone, pas d'e-mail svp",
            "Vu au salon, stand B12. Intéressé par \"MaPrimeRénov'\"",
            "Changement de gérant\nVoir avec Mme Roche",
            "Budget voté en AG; travaux au printemps",
            "Ancien client (2 chantiers)",
            "Standard fermé le mercredi",
            "30 salariés, 3 sites",
            "Doublon ?",
            "Chaudière fioul à remplacer - 45 kW",
            "Demande un rappel avant 9h30",
        ],
        1 => &[
            "Met at trade fair, asked for references",
            "Speaks French, prefers \"early\" calls",
            "Budget approved; waiting for board",
            "Two sites, 1,200 sq m of roof",
            "Former customer\nreferred by partner",
            "Call the office, not the works",
            "Duplicate?",
            "Asked for a quote - no answer yet",
        ],
        _ => &[
            "Bonjour, je souhaite un devis pour 12 logements.",
            "Pouvez-vous me rappeler jeudi ? Merci",
            "Toiture de 400 m², panneaux possibles ?",
            "C'est pour une copropriété de 1974\nchauffage collectif au gaz",
            "Quelles aides pour une pompe à chaleur ?",
            "Déjà appelé deux fois, personne n'a répondu !",
            "Merci de m'envoyer la documentation",
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_keeps_the_first_letter_and_short_names() {
        let mut dice = Dice::new(1, "typing errors");
        for _ in 0..100 {
            assert!(typo(&mut dice, "Béatrice").starts_with('B'));
            assert_eq!(typo(&mut dice, "Gay"), "Gay");
        }
    }

    #[test]
    fn capitals_fall_on_the_starts_of_words() {
        assert_eq!(capitals("jean-luc.roux@a.example"), "Jean-Luc.Roux@a.Example");
    }
}
