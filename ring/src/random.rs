//! A small generator of random numbers that stays the same for ever, so that one seed gives one ring
//! on every machine and in every later version (SplitMix64, by Steele, Lea and Flood, 2014). Not for secrets.

/// State of the generator.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Uniform in `0..bound`; the bias is below `bound / 2^64`. `bound` is at least 1.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        debug_assert!(bound > 0);
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u32
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u32 + 1) as usize);
        }
    }
}

/// Spreads the bits of `value` over all 64.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// All of `0..count`, each once, in an order that looks random. `count` is a power of two.
pub(crate) fn scattered(count: usize, seed: u64) -> impl Iterator<Item = usize> {
    debug_assert!(count.is_power_of_two());
    let (start, step) = (mix(seed) as usize, mix(!seed) as usize | 1);
    (0..count).map(move |index| start.wrapping_add(index.wrapping_mul(step)) & (count - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scattered_walk_visits_everything_once() {
        for (count, seed) in [(1, 0), (2, 7), (64, 1), (4096, 99)] {
            let mut seen: Vec<_> = scattered(count, seed).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_seed_gives_the_same_numbers_in_every_version() {
        let mut random = Random::new(1234567);
        assert_eq!(random.next(), 6457827717110365317);
        assert_eq!(random.next(), 3203168211198807973);
    }
}
