//! How alike two names are, word by word.
//!
//! Words are paired, the same ones first, then those that look like one word: an initial, a word cut short, a typing error, one
//! word cut in two. What a pair is worth depends on how rare the word is in the records at hand; what remains unpaired
//! counts against. Order never counts: `Hotel Bel-Air` is `Bel-Air Hotel`, and a surname may stand in the wrong column.

use std::cell::OnceCell;

use docket_projections::name_keys::WORDS_MAX;

use super::columns::{Columns, Counts, Node};
use super::letters::{Letters, jaro_winkler};

/// Whose name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Person,
    Company,
}

/// How two names compare. All but `similarity` in bits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Names {
    /// For being one: by the rarity of the words that both have.
    pub agreed: f32,
    /// Of the words that only one has: as much as both have of such words.
    pub conflict: f32,
    /// And what one of them has more than the other.
    pub extra: f32,
    /// 0 nothing in common, 1 the same.
    pub similarity: f32,
    /// Word for word, in whatever order and wherever it is cut.
    pub same: bool,
}

// Smoothing of word counts: as if `BACKGROUND_NAMES` further names had been seen, in which a word occurs once in a thousand
// names, and a word for a kind of business once in twenty.
pub(super) const BACKGROUND_NAMES: f32 = 200.0;
const WORD_RARITY: f32 = 1.0 / 1000.0;
const GENERIC_RARITY: f32 = 1.0 / 20.0;
/// No word is worth more: rarer ones are typing errors as often as names.
const WORD_BITS: std::ops::RangeInclusive<f32> = 0.5..=14.0;
/// A company's word that is the city as well counts for so much of itself: `Acme Lyon` in Lyon is `Acme`.
const PLACE_SHARE: f32 = 0.25;
/// What a pair of unequal words costs.
const UNEQUAL_BITS: f32 = 1.5;
/// A word that only one name has counts against so much less than one for which the other has another word.
pub(super) const EXTRA_SHARE: f32 = 0.35;
/// Two people may share a surname, so that another first name weighs more than another word of a company.
const PERSON_CONFLICT_SHARE: f32 = 4.0;
/// Names that have nothing but words cut short in common are alike by no more than this.
const ALL_CUT_SHARE: f32 = 0.5;
/// The words of a name go together, so that each further one says less. Counted from the rarest.
const DAMPING: [f32; 5] = [1.0, 0.8, 0.6, 0.5, 0.4];

/// Records of one name are as often copies of one contact as they are namesakes: by so many bits.
const NAMESAKE_BITS: f32 = 2.0;

/// Compares names of one sort.
pub(super) struct NameScales<'a> {
    columns: &'a Columns,
    counts: &'a Counts,
    sort: Sort,
}

impl<'a> NameScales<'a> {
    pub(super) fn new(columns: &'a Columns, sort: Sort) -> Self {
        let counts = match sort {
            Sort::Person => &columns.persons,
            Sort::Company => &columns.companies,
        };
        Self { columns, counts, sort }
    }

    /// None if one of the two has no such name.
    pub(super) fn compare(&self, a: &Node, b: &Node) -> Option<Names> {
        let (name_a, name_b) = match self.sort {
            Sort::Person => (a.person_name, b.person_name),
            Sort::Company => (a.company_name, b.company_name),
        };
        if name_a == 0 || name_b == 0 {
            return None;
        }
        let same = name_a == name_b;
        // The two at hand are left out of the counts, so that a word both bear is not frequent for that.
        let mut pairing = Pairing::new(self, a, b, if same { 1 } else { 2 });
        pairing.pair_equal();
        if !same && !pairing.pair_joined() {
            pairing.pair_alike();
        }
        let mut names = pairing.names();
        if same {
            // However rare its words are together, a name is as frequent as it is.
            let others = self.counts.of_name(name_a).saturating_sub(2) as f32;
            let frequency = (others * 0.5 + 0.2) / (self.columns.nodes.len() as f32 + BACKGROUND_NAMES);
            names.agreed = names.agreed.min(NAMESAKE_BITS - frequency.log2());
        }
        Some(names)
    }

    fn words(&self, node: &Node) -> &'a [u32] {
        match self.sort {
            Sort::Person => self.columns.person(node),
            Sort::Company => self.columns.company(node),
        }
    }

    /// What agreeing in a word is worth, `held` names that bear it left out.
    fn bits(&self, word: u32, held: u32) -> f32 {
        let rarity = if self.columns.word(word).is_generic { GENERIC_RARITY } else { WORD_RARITY };
        let others = self.counts.of_word(word).saturating_sub(held) as f32;
        let frequency =
            (others + rarity * BACKGROUND_NAMES) / (self.counts.distinct as f32 + BACKGROUND_NAMES);
        (-frequency.log2()).clamp(*WORD_BITS.start(), *WORD_BITS.end())
    }

    fn likeness(&self, a: &Written, b: &Written) -> Likeness {
        let (word_a, word_b) = (self.columns.word(a.word), self.columns.word(b.word));
        let (short, long, from, to) =
            if word_a.length <= word_b.length { (word_a, word_b, a, b) } else { (word_b, word_a, b, a) };
        if short.has_digit || long.has_digit {
            return Likeness::NONE;
        }
        // The letters that occur rule most pairs out before a text is looked at.
        let (letters, spread) = (short.length, long.length - short.length);
        let within = short.letters & !long.letters == 0;
        let near = letters >= 3 && spread <= 2 && (short.letters ^ long.letters).count_ones() <= 4;
        if !within && !near {
            return Likeness::NONE;
        }
        // Two words that both occur elsewhere are two words (`martin`, `marin`), not one and its misspelling; a word that
        // occurs nowhere else is a misspelling more often than not.
        let (seen_a, seen_b) = (self.counts.of_word(a.word), self.counts.of_word(b.word));
        let trust = if seen_a >= 4 && seen_b >= 4 { 0.6 } else { 1.0 };
        let one_unseen = seen_a <= 1 || seen_b <= 1;
        let (short, long) = (self.columns.texts.text(from.word), self.columns.texts.text(to.word));
        if near {
            let long = to.letters.get_or_init(|| Letters::of(long));
            let typed = match long.distance(short) {
                1 if letters >= 4 => 0.8,
                1 if spread == 1 && one_unseen => 0.6,
                2 if letters >= 7 => 0.7,
                2 if letters >= 5 && one_unseen => 0.6,
                _ if letters >= 5 && long.jaro_winkler(short) >= 0.92 => 0.65,
                _ => 0.0,
            };
            if typed > 0.0 {
                return Likeness { share: typed * trust, whole: true };
            }
        }
        let person = self.sort == Sort::Person;
        let cut = match letters {
            _ if !within || !long.starts_with(short) => 0.0,
            1 => {
                if person {
                    0.35
                } else {
                    0.0
                }
            }
            2 if !person => 0.0,
            _ => 0.6 * trust,
        };
        Likeness { share: cut, whole: false }
    }
}

/// How far two words are one.
#[derive(Clone, Copy)]
struct Likeness {
    /// 1 is the same word, 0 another.
    share: f32,
    /// A typing error rather than an initial or a word cut short.
    whole: bool,
}

impl Likeness {
    const NONE: Self = Self { share: 0.0, whole: false };
}

/// A word of a name, and where its letters stand once somebody asked.
struct Written {
    word: u32,
    letters: OnceCell<Letters>,
}

/// Of the words that two names have left, given by their places, who looks like whom: the most alike first, and of equals the
/// first. Two words are looked at once, and each finds one other at most.
fn alike(
    left_a: &[usize],
    left_b: &[usize],
    likeness: impl Fn(usize, usize) -> Likeness,
) -> Vec<(Likeness, usize, usize)> {
    let mut found = Vec::new();
    for i in left_a {
        for j in left_b {
            let likeness = likeness(*i, *j);
            if likeness.share > 0.0 {
                found.push((likeness, *i, *j));
            }
        }
    }
    found.sort_by(|one, other| other.0.share.total_cmp(&one.0.share));
    let (mut taken_a, mut taken_b) = ([false; WORDS_MAX], [false; WORDS_MAX]);
    found.retain(|(_, i, j)| {
        let free = !taken_a[*i] && !taken_b[*j];
        if free {
            (taken_a[*i], taken_b[*j]) = (true, true);
        }
        free
    });
    found
}

/// Two names in the middle of being compared.
struct Pairing<'s, 'a> {
    scales: &'s NameScales<'a>,
    a: &'a [u32],
    b: &'a [u32],
    /// Words that are the city of one of the two as well.
    city_a: &'a [u32],
    city_b: &'a [u32],
    held: u32,
    left_a: [bool; WORDS_MAX],
    left_b: [bool; WORDS_MAX],
    /// What each pair is worth, and how many there are.
    gains: [f32; WORDS_MAX],
    pairs: usize,
    matched: f32,
    joined: bool,
    /// At least one pair is the same word, if need be misspelled.
    whole: bool,
    same: bool,
}

impl<'s, 'a> Pairing<'s, 'a> {
    fn new(scales: &'s NameScales<'a>, a: &Node, b: &Node, held: u32) -> Self {
        let columns = scales.columns;
        Self {
            scales,
            a: scales.words(a),
            b: scales.words(b),
            city_a: columns.city_words(a),
            city_b: columns.city_words(b),
            held,
            left_a: [true; WORDS_MAX],
            left_b: [true; WORDS_MAX],
            gains: [0.0; WORDS_MAX],
            pairs: 0,
            matched: 0.0,
            joined: false,
            whole: false,
            same: false,
        }
    }

    fn pair_equal(&mut self) {
        for i in 0..self.a.len() {
            if let Some(j) = (0..self.b.len()).find(|j| self.left_b[*j] && self.b[*j] == self.a[i]) {
                let gain = self.scales.bits(self.a[i], self.held) * self.share(self.a[i]);
                self.left_a[i] = false;
                self.left_b[j] = false;
                self.whole = true;
                self.add(gain, gain);
            }
        }
        self.same = self.pairs == self.a.len() && self.pairs == self.b.len();
    }

    /// `bel air` and `belair`: what is left may be one word cut in two.
    fn pair_joined(&mut self) -> bool {
        let (left_a, left_b) = (self.left(self.a, &self.left_a), self.left(self.b, &self.left_b));
        if left_a.len() == left_b.len() || left_a.is_empty() || left_b.is_empty() {
            return false;
        }
        let text = |words: &[u32]| -> String {
            words.iter().map(|word| self.scales.columns.texts.text(*word)).collect()
        };
        let (a, b) = (text(&left_a), text(&left_b));
        self.same = a == b;
        self.joined = self.same || a.chars().count() >= 5 && jaro_winkler(&a, &b) >= 0.95;
        self.joined
    }

    fn pair_alike(&mut self) {
        let places = |left: &[bool], words: &[u32]| -> Vec<usize> {
            (0..words.len()).filter(|place| left[*place]).collect()
        };
        let (left_a, left_b) = (places(&self.left_a, self.a), places(&self.left_b, self.b));
        if left_a.is_empty() || left_b.is_empty() {
            return;
        }
        let written = |words: &[u32]| -> Vec<Written> {
            words.iter().map(|word| Written { word: *word, letters: OnceCell::new() }).collect()
        };
        let (a, b) = (written(self.a), written(self.b));
        for (likeness, i, j) in alike(&left_a, &left_b, |i, j| self.scales.likeness(&a[i], &b[j])) {
            self.whole |= likeness.whole;
            let gain = likeness.share * self.worth(self.a[i]).min(self.worth(self.b[j]));
            self.left_a[i] = false;
            self.left_b[j] = false;
            self.add(gain, gain - UNEQUAL_BITS);
        }
    }

    fn names(mut self) -> Names {
        let rest = |words: &[u32], left: &[bool]| -> f32 {
            self.left(words, left).iter().map(|word| self.worth(*word)).sum()
        };
        let (mut rest_a, mut rest_b) = (rest(self.a, &self.left_a), rest(self.b, &self.left_b));
        if self.joined {
            let gain = rest_a.min(rest_b);
            self.add(gain, gain - UNEQUAL_BITS);
            (rest_a, rest_b) = (0.0, 0.0);
        }
        let conflict = rest_a.min(rest_b);
        let extra = (rest_a - rest_b).abs();
        let conflict_share = if self.scales.sort == Sort::Person { PERSON_CONFLICT_SHARE } else { 1.0 };
        let against = conflict * conflict_share + extra * EXTRA_SHARE;
        // `J. M.` may be anybody, and `Marc Martin` is not `Marcel Martinez`.
        let share = if self.whole || self.joined { 1.0 } else { ALL_CUT_SHARE };
        let similarity =
            if self.matched > 0.0 { share * self.matched / (self.matched + against) } else { 0.0 };
        self.gains.sort_unstable_by(|one, other| other.total_cmp(one));
        let agreed = self.gains.iter().zip(DAMPING).map(|(gain, share)| gain * share).sum();
        Names { agreed, conflict, extra, similarity, same: self.same }
    }

    fn add(&mut self, matched: f32, gain: f32) {
        self.matched += matched;
        if let Some(place) = self.gains.get_mut(self.pairs) {
            *place = gain.max(0.0);
            self.pairs += 1;
        }
    }

    fn worth(&self, word: u32) -> f32 {
        self.scales.bits(word, 1) * self.share(word)
    }

    fn share(&self, word: u32) -> f32 {
        let place = self.city_a.contains(&word) || self.city_b.contains(&word);
        if place && self.scales.sort == Sort::Company { PLACE_SHARE } else { 1.0 }
    }

    fn left(&self, words: &[u32], left: &[bool]) -> Vec<u32> {
        words.iter().zip(left).filter(|(_, left)| **left).map(|(word, _)| *word).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn two_words_are_looked_at_once_however_many_are_alike() {
        let places: Vec<usize> = (0..WORDS_MAX).collect();
        let looked = Cell::new(0);
        let found = alike(&places, &places, |i, j| {
            looked.set(looked.get() + 1);
            Likeness { share: if i + j == WORDS_MAX - 1 { 0.8 } else { 0.6 }, whole: true }
        });
        assert_eq!(looked.get(), WORDS_MAX * WORDS_MAX);
        let pairs: Vec<_> = found.iter().map(|(_, i, j)| (*i, *j)).collect();
        let expected: Vec<_> = places.iter().map(|place| (*place, WORDS_MAX - 1 - place)).collect();
        assert_eq!(pairs, expected);
    }

    #[test]
    fn of_equals_the_first_are_one_and_strangers_are_none() {
        let shares = [[0.6, 0.6, 0.0], [0.8, 0.8, 0.0]];
        let found = alike(&[0, 1], &[0, 1, 2], |i, j| Likeness { share: shares[i][j], whole: true });
        let pairs: Vec<_> = found.iter().map(|(_, i, j)| (*i, *j)).collect();
        assert_eq!(pairs, [(1, 0), (0, 1)]);
    }
}
