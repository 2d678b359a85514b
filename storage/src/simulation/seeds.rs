//! The seeds that every test run goes through, those that once found something, and any others on demand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::run::simulate;

/// Of each run of the tests.
const SEEDS: u64 = 100;

/// Seeds that found a defect, kept so that it does not come back unnoticed.
const FOUND: &str = include_str!("seeds.txt");

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Goes through seeds, and tells what happened in them altogether.
#[track_caller]
fn go_through(seeds: impl Iterator<Item = u64>) {
    let (mut counts, mut took, mut operations, mut count) = (BTreeMap::new(), Duration::ZERO, 0, 0);
    for seed in seeds {
        let report = simulate(seed);
        match report.outcome {
            Ok(checked) => operations += checked,
            Err(finding) => panic!("seed {seed} (./dev simulate --seed {seed}): {finding}"),
        }
        took += report.took;
        count += 1;
        for (kind, number) in report.trace.counts {
            *counts.entry(kind).or_insert(0) += number;
        }
    }
    let hours = took.as_secs_f64() / 3600.0;
    let mut told = format!("{count} seeds, {hours:.2} hours simulated, {operations} operations checked");
    for (kind, number) in counts {
        // Writing to a string does not fail.
        let _ = write!(told, "\n  {number:>9} {kind}");
    }
    eprintln!("{told}");
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
    let seeds = FOUND.lines().filter_map(|line| line.split('#').next()?.trim().parse().ok());
    go_through(seeds);
}

#[test]
fn seeds_find_nothing() {
    go_through(0..SEEDS);
}

/// `./dev simulate`: `ANELLO_SIMULATION_SEEDS` of them from `ANELLO_SIMULATION_SEED` on.
#[test]
#[ignore = "as many seeds as somebody asks for"]
fn any_seeds() {
    let first = variable("ANELLO_SIMULATION_SEED").unwrap_or(0);
    go_through(first..first + variable("ANELLO_SIMULATION_SEEDS").unwrap_or(1));
}
