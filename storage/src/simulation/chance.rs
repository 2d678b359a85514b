//! Chance of the simulation that the thread is in: everything that happens follows from its seed.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use rand::distr::{Distribution, StandardUniform};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

thread_local! {
    static CHANCE: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// As long as it lives, this thread is in the simulation of a seed.
pub(crate) struct Seeded;

/// Begins the simulation of `seed`.
pub(crate) fn begin(seed: u64) -> Seeded {
    CHANCE.with_borrow_mut(|chance| *chance = Some(StdRng::seed_from_u64(seed)));
    Seeded
}

impl Drop for Seeded {
    fn drop(&mut self) {
        CHANCE.with_borrow_mut(|chance| *chance = None);
    }
}

/// Whether this thread is in a simulation.
pub(crate) fn is_simulated() -> bool {
    CHANCE.with_borrow(Option::is_some)
}

/// A value; `None` outside a simulation.
pub(crate) fn random<T>() -> Option<T>
where
    StandardUniform: Distribution<T>,
{
    CHANCE.with_borrow_mut(|chance| chance.as_mut().map(RngExt::random))
}

/// A number of this range.
pub(crate) fn within(range: RangeInclusive<u64>) -> u64 {
    CHANCE.with_borrow_mut(|chance| chance.as_mut().expect("within a simulation").random_range(range))
}

/// A number below this one.
pub(crate) fn below(end: u64) -> u64 {
    within(0..=end - 1)
}

/// True so many times out of a hundred.
pub(crate) fn percent(times: u64) -> bool {
    below(100) < times
}

/// One of several.
pub(crate) fn pick<T>(of: &[T]) -> &T {
    &of[below(of.len() as u64) as usize]
}
