//! What a thread of workers has seen: latencies by operation, a second-by-second course, and failures.
//! Each thread has its own, and they are merged when the load has ended, so that recording costs no
//! synchronization.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::bench::workload::Operation;

/// Latencies are kept from 1 µs to 10 minutes to three digits.
const LATENCY_NANOSECONDS: (u64, u64) = (1_000, 600_000_000_000);
const DIGITS: u8 = 3;

/// Different failures that are told apart; the rest is only counted.
const FAILURES_MAX: usize = 16;

/// Seconds of a run that are shown one by one; behind them the course is not recorded.
const SECONDS_MAX: usize = 24 * 3600;

/// Buckets of a second's small histogram: eight to each doubling from 1 µs, up to about an hour.
const COURSE_BUCKETS: usize = 256;

/// One operation's figures.
pub(crate) struct OperationRecord {
    pub(crate) latency: Histogram<u64>,
    pub(crate) bytes: u64,
    pub(crate) names: u64,
    pub(crate) errors: u64,
}

/// One second of the run.
#[derive(Clone)]
pub(crate) struct Second {
    pub(crate) operations: [u32; Operation::ALL.len()],
    pub(crate) bytes: u64,
    buckets: Box<[u32; COURSE_BUCKETS]>,
}

/// All that was seen.
pub(crate) struct Recorder {
    pub(crate) operations: Vec<OperationRecord>,
    pub(crate) seconds: Vec<Second>,
    /// Failures by their text.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Answers that were not what was stored.
    pub(crate) wrong_answers: u64,
    /// How late the generator itself was in an open loop.
    pub(crate) lateness: Histogram<u64>,
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LATENCY_NANOSECONDS.0, LATENCY_NANOSECONDS.1, DIGITS).expect("the bounds are valid")
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Recorder {
    pub(crate) fn new() -> Self {
        let record = |_| OperationRecord { latency: histogram(), bytes: 0, names: 0, errors: 0 };
        Self {
            operations: Operation::ALL.iter().map(record).collect(),
            seconds: Vec::new(),
            failures: BTreeMap::new(),
            wrong_answers: 0,
            lateness: histogram(),
        }
    }

    /// An operation that went well, `at` after the measurement began.
    pub(crate) fn good(&mut self, operation: Operation, at: Duration, latency: Duration, amount: u64) {
        let record = &mut self.operations[operation as usize];
        record.latency.saturating_record(nanoseconds(latency));
        let bytes = if operation == Operation::List { 0 } else { amount };
        record.bytes += bytes;
        record.names += amount - bytes;
        let second = at.as_secs() as usize;
        if second < SECONDS_MAX {
            if second >= self.seconds.len() {
                self.seconds.resize_with(second + 1, Second::new);
            }
            self.seconds[second].add(operation, latency, bytes);
        }
    }

    /// One that failed.
    pub(crate) fn failed(&mut self, operation: Operation, text: &str) {
        self.operations[operation as usize].errors += 1;
        self.note(format!("{}: {text}", operation.name()), 1);
    }

    /// One whose answer was not what was stored.
    pub(crate) fn wrong(&mut self, operation: Operation, text: &str) {
        self.wrong_answers += 1;
        self.failed(operation, text);
    }

    /// How much later than due a request was sent through the generator's own fault.
    pub(crate) fn late(&mut self, by: Duration) {
        self.lateness.saturating_record(nanoseconds(by));
    }

    fn note(&mut self, text: String, times: u64) {
        let known = self.failures.contains_key(&text) || self.failures.len() < FAILURES_MAX;
        let key = if known { text } else { "others".to_owned() };
        *self.failures.entry(key).or_default() += times;
    }

    /// Takes another thread's figures over.
    pub(crate) fn merge(&mut self, other: Self) {
        for (mine, theirs) in self.operations.iter_mut().zip(other.operations) {
            // Both have the same bounds.
            let _ = mine.latency.add(theirs.latency);
            mine.bytes += theirs.bytes;
            mine.names += theirs.names;
            mine.errors += theirs.errors;
        }
        if self.seconds.len() < other.seconds.len() {
            self.seconds.resize_with(other.seconds.len(), Second::new);
        }
        self.seconds.iter_mut().zip(other.seconds).for_each(|(mine, theirs)| mine.merge(&theirs));
        other.failures.into_iter().for_each(|(text, times)| self.note(text, times));
        self.wrong_answers += other.wrong_answers;
        let _ = self.lateness.add(other.lateness);
    }

    /// Operations that went well.
    pub(crate) fn count(&self) -> u64 {
        self.operations.iter().map(|record| record.latency.len()).sum()
    }

    pub(crate) fn errors(&self) -> u64 {
        self.operations.iter().map(|record| record.errors).sum()
    }

    pub(crate) fn first_error(&self) -> Option<&str> {
        self.failures.keys().next().map(String::as_str)
    }
}

impl Second {
    fn new() -> Self {
        Self { operations: [0; _], bytes: 0, buckets: Box::new([0; COURSE_BUCKETS]) }
    }

    fn add(&mut self, operation: Operation, latency: Duration, bytes: u64) {
        self.operations[operation as usize] += 1;
        self.bytes += bytes;
        self.buckets[bucket(latency)] += 1;
    }

    fn merge(&mut self, other: &Self) {
        self.operations.iter_mut().zip(other.operations).for_each(|(mine, theirs)| *mine += theirs);
        self.bytes += other.bytes;
        self.buckets.iter_mut().zip(other.buckets.iter()).for_each(|(mine, theirs)| *mine += theirs);
    }

    /// Microseconds below which this share of the second's requests lies, to an eighth of a doubling.
    pub(crate) fn quantile_us(&self, share: f64) -> Option<f64> {
        let total: u64 = self.buckets.iter().map(|count| u64::from(*count)).sum();
        let mut left = ((total as f64 * share).ceil() as u64).max(1);
        for (bucket, count) in self.buckets.iter().enumerate() {
            match left.checked_sub(u64::from(*count)) {
                None | Some(0) if *count > 0 => return Some(((bucket + 1) as f64 / 8.0).exp2()),
                Some(rest) => left = rest,
                None => {}
            }
        }
        None
    }
}

/// Eight buckets to a doubling, from 1 µs.
fn bucket(latency: Duration) -> usize {
    let microseconds = (latency.as_secs_f64() * 1e6).max(1.0);
    ((microseconds.log2() * 8.0) as usize).min(COURSE_BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_recorders_hold_what_each_of_them_held() {
        let (mut one, mut two) = (Recorder::new(), Recorder::new());
        one.good(Operation::Get, Duration::from_millis(500), Duration::from_micros(100), 4096);
        two.good(Operation::Get, Duration::from_millis(2500), Duration::from_micros(300), 4096);
        two.good(Operation::List, Duration::from_millis(2500), Duration::from_micros(300), 1000);
        two.wrong(Operation::Get, "not what was stored");
        one.merge(two);
        let get = &one.operations[Operation::Get as usize];
        assert_eq!((get.latency.len(), get.bytes, get.errors), (2, 8192, 1));
        assert_eq!(one.operations[Operation::List as usize].names, 1000);
        assert_eq!((one.count(), one.errors(), one.wrong_answers), (3, 1, 1));
        assert_eq!(one.seconds.len(), 3);
        assert_eq!(one.first_error(), Some("get: not what was stored"));
    }

    #[test]
    fn a_seconds_quantiles_are_right_to_an_eighth_of_a_doubling() {
        let mut second = Second::new();
        assert_eq!(second.quantile_us(0.5), None);
        for microseconds in 1..=1000 {
            second.add(Operation::Get, Duration::from_micros(microseconds), 0);
        }
        for (share, want) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = second.quantile_us(share).expect("there are some");
            assert!(found >= want && found <= want * 1.1, "{share}: {found}");
        }
    }
}
