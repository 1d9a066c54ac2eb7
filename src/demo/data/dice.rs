//! The only randomness of the sample data: `SplitMix64`, a public-domain generator of ten lines.
//!
//! It is written out because the sample must be the same on every machine and in every year, and the
//! sampling methods of the `rand` crates may change their values with a new version. Everything is integer
//! arithmetic. Each part of the sample draws from a stream of its own, so that one more draw in the
//! companies leaves the callers as they were.

pub(super) struct Dice {
    state: u64,
}

impl Dice {
    /// A stream is a seed and a name (mixed by FNV-1a): same pair, same draws.
    pub(super) fn new(seed: u64, stream: &str) -> Self {
        let name = stream.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { state: seed ^ name }
    }

    /// `SplitMix64`, as published by Steele, Lea and Flood (2014).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `bound` - 1, all equally likely; 0 for a bound of 0.
    #[expect(clippy::cast_possible_truncation, reason = "the high half of the product is below `bound`")]
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// A number from 0 to `bound` - 1 that is small more often than large: how names and towns are spread.
    pub(super) fn low(&mut self, bound: usize) -> usize {
        self.below(bound).min(self.below(bound))
    }

    /// A number of the range, both ends included.
    pub(super) fn between(&mut self, first: usize, last: usize) -> usize {
        first + self.below(last - first + 1)
    }

    /// True in `percent` of 100 draws.
    pub(super) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of a list that is not empty.
    pub(super) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// One of a list that is not empty, the first entries more often.
    pub(super) fn pick_low<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.low(list.len())]
    }

    /// One of a list that is not empty, as often as its weight says.
    pub(super) fn weigh<'a, T>(&mut self, list: &'a [T], weight: impl Fn(&T) -> usize) -> &'a T {
        let mut left = self.below(list.iter().map(&weight).sum());
        list.iter()
            .find(|entry| {
                let found = left < weight(entry);
                left = left.saturating_sub(weight(entry));
                found
            })
            .unwrap_or(&list[list.len() - 1])
    }

    pub(super) fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // The first numbers that the published reference gives for the seed 1234567.
        let mut dice = Dice { state: 1_234_567 };
        let drawn: [u64; 3] = std::array::from_fn(|_| dice.next());
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn weights_of_nothing_are_never_drawn() {
        let mut dice = Dice::new(1, "weights");
        let drawn: Vec<_> =
            (0..300).map(|_| *dice.weigh(&[("a", 1), ("b", 0), ("c", 3)], |entry| entry.1)).collect();
        assert!(drawn.iter().all(|entry| entry.0 != "b"));
        assert!(drawn.iter().filter(|entry| entry.0 == "c").count() > 150);
    }
}
