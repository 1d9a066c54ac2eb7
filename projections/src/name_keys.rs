//! Coarse keys of names: what two spellings of one name share.
//!
//! A name is written in too many ways to be looked up as it stands, so its keys are the sound of a word and a letter
//! or two of another. A shared name key proves nothing; it only brings two records to the scales of whoever judges them.
//!
//! Pure, and here rather than with that judge because the contacts' table stores the keys of every contact: a row of
//! an import is compared with those among a million contacts that share one.

use crate::names::{company_words, fold_name, is_generic, person_words};

/// The most keys that one name has.
pub const KEYS_MAX: usize = 3;
/// Words of one name that are looked at. More are no name.
pub const WORDS_MAX: usize = 12;
/// Letters of one word that are looked at.
const LETTERS_MAX: usize = 40;

/// The folded words of a person's and a company's name, bounded: comparing two words takes time by the product of their
/// lengths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameWords {
    /// Words of the first name, then of the last name.
    pub person: Vec<String>,
    /// How many of `person` are of the first name.
    pub first_words: usize,
    /// Of the company, without its legal form.
    pub company: Vec<String>,
    /// Of the city.
    pub city: Vec<String>,
}

impl NameWords {
    /// The words of a record. Where it has one name in one column, either column will do.
    #[must_use]
    pub fn read(first: Option<&str>, last: Option<&str>, company: Option<&str>, city: Option<&str>) -> Self {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let mut person = bounded(person_words(&text(first)), WORDS_MAX / 2);
        let first_words = person.len();
        person.extend(bounded(person_words(&text(last)), WORDS_MAX / 2));
        let city = fold_name(&text(city));
        Self {
            person,
            first_words,
            company: bounded(company_words(&text(company)), WORDS_MAX),
            city: bounded(city.split_whitespace().map(str::to_owned).collect(), WORDS_MAX),
        }
    }

    /// The keys, [`KEYS_MAX`] at most: of the person if one is named, else of the company.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let mut keys = Vec::with_capacity(KEYS_MAX);
        if self.person.is_empty() {
            self.company_keys(&mut keys);
        } else {
            self.person_keys(&mut keys);
        }
        keys
    }

    /// The sound of one name with the first letter of the other, both ways, so that swapped columns meet; and the sound
    /// of the surname with the city or the company, for where the first name is missing or another.
    fn person_keys(&self, keys: &mut Vec<String>) {
        let (first, last) = self.person.split_at(self.first_words);
        let given = first.first();
        let surname = last.last();
        let place = self.city.first().or_else(|| self.company.first());
        match (given, surname) {
            (Some(given), Some(surname)) => {
                push_name(keys, &sound(surname), initial(given));
                push_name(keys, &sound(given), initial(surname));
            }
            (Some(only), None) | (None, Some(only)) => push_name(keys, &sound(only), ""),
            (None, None) => return,
        }
        if let (Some(name), Some(place)) = (surname.or(given), place) {
            push_name(keys, &sound(name), &format!("@{}", sound(place)));
        }
    }

    /// The sounds of three words: the first one, which names a company more often than not, and the longest of the others.
    fn company_keys(&self, keys: &mut Vec<String>) {
        let mut words: Vec<&String> = self.company.iter().collect();
        if words.is_empty() {
            return;
        }
        // A word for a kind of business comes last. The sort is stable: equals stay in their order.
        words.sort_by_key(|word| is_generic(word));
        words[1..].sort_by_key(|word| (is_generic(word), std::cmp::Reverse(word.chars().count())));
        for word in words.into_iter().take(3) {
            push_name(keys, &sound(word), "+");
        }
    }
}

fn push_name(keys: &mut Vec<String>, sound: &str, other: &str) {
    let key = format!("name:{sound}|{other}");
    if !keys.contains(&key) {
        keys.push(key);
    }
}

fn bounded(mut words: Vec<String>, count: usize) -> Vec<String> {
    words.truncate(count);
    for word in &mut words {
        if let Some((end, _)) = word.char_indices().nth(LETTERS_MAX) {
            word.truncate(end);
        }
    }
    words
}

fn initial(word: &str) -> &str {
    word.chars().next().map_or("", |c| &word[..c.len_utf8()])
}

/// Soundex without its cut at four signs, and with the first consonant coded like the others, so that `Katz` and `Cats`
/// meet. A word with less than two consonants is its own sound, and so is a number.
fn sound(word: &str) -> String {
    if word.bytes().any(|b| b.is_ascii_digit()) {
        return word.to_owned();
    }
    let mut out = String::with_capacity(8);
    let mut previous = None;
    for (place, letter) in word.chars().enumerate() {
        let class = match letter {
            'b' | 'f' | 'p' | 'v' => Some('1'),
            'c' | 'g' | 'j' | 'k' | 'q' | 's' | 'x' | 'z' => Some('2'),
            'd' | 't' => Some('3'),
            'l' => Some('4'),
            'm' | 'n' => Some('5'),
            'r' => Some('6'),
            'a' | 'e' | 'i' | 'o' | 'u' | 'y' => (place == 0).then_some('a'),
            'h' | 'w' => None,
            other => Some(other),
        };
        if let Some(class) = class.filter(|_| class != previous) {
            out.push(class);
        }
        previous = class;
    }
    if out.chars().count() < 2 { word.to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(first: &str, last: &str, company: &str, city: &str) -> Vec<String> {
        NameWords::read(Some(first), Some(last), Some(company), Some(city)).keys()
    }

    #[test]
    fn spellings_of_one_name_share_a_key() {
        for (one, other) in [
            (["Jean", "Dupont", ""], ["JEAN", "Dupond", ""]),
            (["Jean", "Dupont", ""], ["Dupont", "Jean", ""]),
            (["Jean", "Dupont", ""], ["J.", "Dupont", ""]),
            (["Jean-Pierre", "Martin", ""], ["Jean", "Martin", ""]),
            (["Chloé", "Lefèvre", ""], ["Chloe", "Lefebvre", ""]),
            (["", "", "Acme SARL"], ["", "", "ACME"]),
            (["", "", "Hotel Bel-Air"], ["", "", "Bel-Air Hotel"]),
            (["", "", "Katz Restaurant"], ["", "", "Catz"]),
        ] {
            let [one, other] = [one, other].map(|[first, last, company]| keys(first, last, company, ""));
            assert!(one.iter().any(|key| other.contains(key)), "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_name_has_few_keys_and_nothing_has_none() {
        assert_eq!(keys("Ann", "Lee", "Acme", "Paris"), ["name:lee|a", "name:a5|l", "name:lee|@162"]);
        assert_eq!(keys("a b c d", "e f g h", "", "i j"), keys("a b c d", "e f g h", "", "i j"));
        assert!(keys("a b c d", "e f g h", "i", "j").len() <= KEYS_MAX);
        assert!(keys(" ", "—", "!", "Paris").is_empty());
    }
}
