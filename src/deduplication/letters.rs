//! How alike two texts are, letter by letter, in a time that their writer cannot make long.
//!
//! Where each letter stands in one text is kept as the bits of a number, so that a letter of the other text is held against all
//! of them at once: two words of forty letters cost forty steps instead of sixteen hundred. The figures are those of
//! `strsim`, as the tests say.

/// Letters of one text that have a bit. Words of names are shorter.
pub(super) const LETTERS_MAX: usize = 64;

/// Where the letters of a text stand: one bit for each place.
pub(super) struct Letters {
    latin: [u64; 26],
    others: Vec<(char, u64)>,
    count: usize,
}

impl Letters {
    /// Of the first [`LETTERS_MAX`] letters of a text.
    pub(super) fn of(text: &str) -> Self {
        let mut letters = Self { latin: [0; 26], others: Vec::new(), count: 0 };
        for letter in text.chars().take(LETTERS_MAX) {
            *letters.place(letter) |= 1 << letters.count;
            letters.count += 1;
        }
        letters
    }

    fn place(&mut self, letter: char) -> &mut u64 {
        if letter.is_ascii_lowercase() {
            return &mut self.latin[letter as usize - 'a' as usize];
        }
        let at = self.others.iter().position(|(other, _)| *other == letter).unwrap_or_else(|| {
            self.others.push((letter, 0));
            self.others.len() - 1
        });
        &mut self.others[at].1
    }

    fn places(&self, letter: char) -> u64 {
        if letter.is_ascii_lowercase() {
            return self.latin[letter as usize - 'a' as usize];
        }
        self.others.iter().find(|(other, _)| *other == letter).map_or(0, |(_, places)| *places)
    }

    /// How many letters are to be added, left out, replaced or exchanged with the next one to make the other text of this.
    /// Hyyrö's bit-vectors (*A bit-vector algorithm for computing Levenshtein and Damerau edit distances*, 2003).
    pub(super) fn distance(&self, other: &str) -> usize {
        let Some(end) = self.count.checked_sub(1) else { return other.chars().count() };
        let (mut distance, mut before) = (self.count, 0);
        // Where the distances beside each other, in the column of the last letter, rise and fall by one.
        let (mut rises, mut falls, mut level) = (u64::MAX, 0_u64, 0_u64);
        for letter in other.chars() {
            let places = self.places(letter);
            let exchanged = ((!level & places) << 1) & before;
            level = ((places & rises).wrapping_add(rises) ^ rises) | places | falls | exchanged;
            let (up, down) = (falls | !(level | rises), level & rises);
            distance += usize::from((up >> end) & 1 == 1);
            distance -= usize::from((down >> end) & 1 == 1);
            let (up, down) = ((up << 1) | 1, down << 1);
            (rises, falls, before) = (down | !(level | up), up & level, places);
        }
        distance
    }

    /// Of another text and this one, 0 to 1.
    pub(super) fn jaro_winkler(&self, other: &str) -> f64 {
        let other_count = other.chars().count();
        if self.count == 0 || other_count == 0 {
            return f64::from(u8::from(self.count == other_count));
        }
        // A letter counts where the other text has it not too far away; each place serves once.
        let reach = (self.count.max(other_count) / 2).saturating_sub(1);
        let mut found = [0; LETTERS_MAX];
        let (mut used, mut matches) = (0_u64, 0);
        for (at, letter) in other.chars().enumerate() {
            let near = bits_below(at + reach + 1) & !bits_below(at.saturating_sub(reach));
            let places = self.places(letter);
            let free = places & near & !used;
            if free != 0 {
                used |= free & free.wrapping_neg();
                found[matches] = places;
                matches += 1;
            }
        }
        if matches == 0 {
            return 0.0;
        }
        let mut displaced = 0;
        for places in &found[..matches] {
            let next = used & used.wrapping_neg();
            displaced += usize::from(places & next == 0);
            used ^= next;
        }
        let share = |part: usize, whole: usize| part as f64 / whole as f64;
        let jaro = (share(matches, other_count)
            + share(matches, self.count)
            + share(matches - displaced / 2, matches))
            / 3.0;
        if jaro <= 0.7 {
            return jaro;
        }
        let begins = other.chars().take(4).enumerate().take_while(|(at, c)| (self.places(*c) >> at) & 1 == 1);
        jaro + 0.1 * begins.count() as f64 * (1.0 - jaro)
    }
}

fn bits_below(place: usize) -> u64 {
    if place < 64 { (1 << place) - 1 } else { u64::MAX }
}

/// [`Letters::jaro_winkler`] of two texts of any length; longer ones than [`LETTERS_MAX`] are alike only if they are the same.
pub(super) fn jaro_winkler(one: &str, other: &str) -> f64 {
    let long = |text: &str| text.chars().nth(LETTERS_MAX).is_some();
    if one == other {
        1.0
    } else if long(one) || long(other) {
        0.0
    } else {
        Letters::of(other).jaro_winkler(one)
    }
}

/// Whether two texts are the same but for one letter that is added, left out, replaced or exchanged with the next.
pub(super) fn at_most_one_slip(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.chars(), other.chars());
    let (mut rest_one, mut rest_other) = (one.clone(), other.clone());
    while let (Some(a), Some(b)) = (one.next(), other.next())
        && a == b
    {
        (rest_one, rest_other) = (one.clone(), other.clone());
    }
    let (mut one, mut other) = (rest_one.clone(), rest_other.clone());
    while let (Some(a), Some(b)) = (one.next_back(), other.next_back())
        && a == b
    {
        (rest_one, rest_other) = (one.clone(), other.clone());
    }
    let mut of_one = || rest_one.next();
    let mut of_other = || rest_other.next();
    match ([of_one(), of_one(), of_one()], [of_other(), of_other(), of_other()]) {
        ([_, None, _], [_, None, _]) => true,
        ([Some(a), Some(b), None], [Some(c), Some(d), None]) => a == d && b == c,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_figures_are_those_of_strsim(
            one in prop_oneof!["[ab]{0,12}", "[a-e]{0,40}", "[abcéжя]{0,64}", "[a-c é]{50,64}"],
            other in prop_oneof!["[ab]{0,12}", "[a-e]{0,40}", "[abcéжя]{0,64}", "[a-c é]{50,64}"],
        ) {
            let letters = Letters::of(&other);
            prop_assert_eq!(letters.distance(&one), strsim::osa_distance(&one, &other));
            prop_assert_eq!(letters.jaro_winkler(&one), strsim::jaro_winkler(&one, &other));
            prop_assert_eq!(jaro_winkler(&one, &other), strsim::jaro_winkler(&one, &other));
        }

        #[test]
        fn one_slip_is_a_distance_of_one(
            text in "[abé]{0,8}", at in 0..8_usize, taken in 0..3_usize, put in "[abé]{0,2}", exchanged: bool,
        ) {
            let mut letters: Vec<char> = text.chars().collect();
            let from = at.min(letters.len());
            letters.splice(from..(from + taken).min(letters.len()), put.chars());
            if exchanged && letters.len() > 1 {
                let last = letters.len() - 1;
                letters.swap(at.min(last), (at + 1).min(last));
            }
            let other: String = letters.into_iter().collect();
            prop_assert_eq!(at_most_one_slip(&text, &other), strsim::osa_distance(&text, &other) <= 1);
        }
    }

    #[test]
    fn what_is_longer_than_any_name_is_compared_as_a_whole() {
        let long = "a".repeat(LETTERS_MAX + 1);
        assert_eq!(jaro_winkler(&long, &long), 1.0);
        assert_eq!(jaro_winkler(&long, &long.replacen('a', "b", 1)), 0.0);
        assert_eq!(jaro_winkler(&long, &long[1..]), 0.0);
        assert!(at_most_one_slip(&long, &long[1..]));
    }
}
