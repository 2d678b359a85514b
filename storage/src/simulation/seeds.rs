//! The seeds that every test run goes through, those that once found something, and any others on demand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rocksdb::Env;

use super::run::{Report, simulate};

/// Of each run of the tests.
const SEEDS: Range<u64> = 0..300;

/// Seeds that are gone through at once: nine tenths of a seed's time are waits for RocksDB's threads.
const SEEDS_AT_ONCE: usize = 16;

/// Seeds that found a defect, kept so that it does not come back unnoticed.
const FOUND: &str = include_str!("seeds.txt");

/// What happened in many seeds.
#[derive(Default)]
struct Sum {
    seeds: u64,
    took: Duration,
    operations: u64,
    counts: BTreeMap<&'static str, u64>,
    findings: Vec<String>,
}

impl Sum {
    fn add(&mut self, seed: u64, report: Report) {
        match report.outcome {
            Ok(checked) => self.operations += checked,
            Err(finding) => {
                let finding = format!("seed {seed} (history {}): {finding}", report.trace.hash());
                eprintln!("{finding}\n./dev simulate --seed {seed} brings it about again");
                self.findings.push(finding);
            }
        }
        self.seeds += 1;
        self.took += report.took;
        for (kind, count) in report.trace.counts {
            *self.counts.entry(kind).or_default() += count;
        }
    }

    fn report(&self) -> String {
        let (seeds, hours) = (self.seeds, self.took.as_secs_f64() / 3600.0);
        let mut told = format!("{seeds} seeds, {hours:.2} hours simulated, {} operations checked", self.operations);
        for (kind, count) in &self.counts {
            // Writing to a string does not fail.
            let _ = write!(told, "\n  {count:>9} {kind}");
        }
        told
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// All indexes of a process share RocksDB's threads: enough of them for those that are open at once.
fn share_threads() {
    let mut environment = Env::new().expect("RocksDB's environment");
    environment.set_high_priority_background_threads(SEEDS_AT_ONCE as i32);
    environment.set_background_threads(SEEDS_AT_ONCE as i32);
}

/// Goes through all seeds, many at once, and fails if any finds something.
#[track_caller]
fn go_through(seeds: impl Iterator<Item = u64> + Send) {
    let (seeds, sum) = (Mutex::new(seeds), Mutex::new(Sum::default()));
    share_threads();
    let next = || seeds.lock().unwrap_or_else(PoisonError::into_inner).next();
    std::thread::scope(|scope| {
        for _ in 0..SEEDS_AT_ONCE {
            scope.spawn(|| {
                while let Some(seed) = next() {
                    let report = simulate(seed);
                    sum.lock().unwrap_or_else(PoisonError::into_inner).add(seed, report);
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    eprintln!("{}", sum.report());
    assert!(sum.findings.is_empty(), "{} seeds found something, the first: {}", sum.findings.len(), sum.findings[0]);
}

#[test]
fn a_seed_brings_about_the_same_again() {
    for seed in [1, 2, 3] {
        let (one, other) = (simulate(seed), simulate(seed));
        assert_eq!(one.trace.hash(), other.trace.hash(), "seed {seed}");
        assert_eq!(one.trace.counts, other.trace.counts, "seed {seed}");
    }
    assert_ne!(simulate(1).trace.hash(), simulate(2).trace.hash());
}

#[test]
fn seeds_that_found_something_find_nothing() {
    go_through(FOUND.lines().filter_map(|line| line.split('#').next()?.trim().parse().ok()));
}

#[test]
fn seeds_find_nothing() {
    go_through(SEEDS);
}

/// `./dev simulate`: `ANELLO_SIMULATION_SEEDS` of them from `ANELLO_SIMULATION_SEED` on.
#[test]
#[ignore = "as many seeds as somebody asks for"]
fn any_seeds() {
    let first = variable("ANELLO_SIMULATION_SEED").unwrap_or(0);
    go_through(first..first + variable("ANELLO_SIMULATION_SEEDS").unwrap_or(1));
}
