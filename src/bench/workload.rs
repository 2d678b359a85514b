//! Which request comes next: operations by weight, keys by number. Keys `0..keys` are prepared; a PUT of
//! new keys takes the numbers behind them, a DELETE takes the prepared ones from the front, and what is
//! read is chosen between the two.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::bench::args::{Plan, PutKeys};
use crate::bench::payload::{Payloads, mix};

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    Put,
    Get,
    Head,
    List,
    Delete,
}

impl Operation {
    /// All, in the order of their numbers.
    pub(crate) const ALL: [Self; 5] = [Self::Put, Self::Get, Self::Head, Self::List, Self::Delete];

    /// As it is written in a mix and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }
}

/// The keys and what is done with them.
pub(crate) struct Workload {
    pub(crate) payloads: Arc<Payloads>,
    pub(crate) verify: bool,
    pub(crate) list_keys: u64,
    pub(crate) list_delimiter: Option<String>,
    list_directory: bool,
    prefix: String,
    directories: u64,
    prepared: u64,
    put: PutKeys,
    // Operations, each as often as its weight says; a choice is one random index.
    wheel: Vec<Operation>,
    next_put: AtomicU64,
    next_delete: AtomicU64,
}

/// Operations on the wheel at most; weights are cut to shares of it.
const WHEEL_MAX: u32 = 10_000;

impl Workload {
    pub(crate) fn new(plan: &Plan, payloads: Arc<Payloads>) -> Self {
        let total: u32 = plan.mix.iter().map(|(_, weight)| *weight).fold(0, u32::saturating_add);
        let share = |weight: u32| match total {
            ..=WHEEL_MAX => weight,
            _ => (u64::from(weight) * u64::from(WHEEL_MAX) / u64::from(total)).max(1) as u32,
        };
        let wheel = plan.mix.iter().flat_map(|(operation, weight)| (0..share(*weight)).map(|_| *operation));
        Self {
            payloads,
            verify: plan.verify,
            list_keys: plan.list_keys,
            list_delimiter: plan.list_delimiter.clone(),
            list_directory: plan.list_directory,
            prefix: plan.prefix.clone(),
            directories: plan.directories,
            prepared: plan.keys,
            put: plan.put,
            wheel: wheel.collect(),
            next_put: AtomicU64::new(plan.keys),
            next_delete: AtomicU64::new(0),
        }
    }

    /// Writes the name of a key to `into`. Unreserved characters only, so that nobody encodes them.
    pub(crate) fn key(&self, number: u64, into: &mut String) {
        into.push_str(&self.prefix);
        // Writing to a String cannot fail.
        let _ = match self.directories {
            0 => write!(into, "{number:012}"),
            directories => write!(into, "d{:06}/{number:012}", number % directories),
        };
    }

    /// What a LIST asks for the names below.
    pub(crate) fn list_prefix(&self, random: u64) -> String {
        if self.list_directory {
            format!("{}d{:06}/", self.prefix, random % self.directories)
        } else {
            self.prefix.clone()
        }
    }

    /// Keys that a LIST must find at least: none is certain while PUT and DELETE change them.
    pub(crate) fn list_certain(&self) -> u64 {
        let changes = self.wheel.iter().any(|operation| matches!(operation, Operation::Put | Operation::Delete));
        let there = match (self.list_directory, &self.list_delimiter) {
            (true, _) => self.prepared / self.directories.max(1),
            (false, None) => self.prepared,
            (false, Some(delimiter)) if delimiter == "/" && self.directories > 0 => self.directories.min(self.prepared),
            (false, Some(_)) => 0,
        };
        if changes { 0 } else { there.min(self.list_keys) }
    }

    /// Whether a key was deleted by this run, or is about to be: then it may be missing.
    pub(crate) fn may_be_gone(&self, number: u64) -> bool {
        number < self.next_delete.load(Ordering::Relaxed)
    }

    /// Keys written by this run or before it.
    pub(crate) fn written(&self) -> u64 {
        self.next_put.load(Ordering::Relaxed)
    }

    fn choose(&self, random: u64) -> Option<(Operation, u64)> {
        let operation = self.wheel[(random >> 40) as usize % self.wheel.len()];
        let existing = || {
            let first = self.next_delete.load(Ordering::Relaxed);
            (first < self.prepared).then(|| first + mix(random) % (self.prepared - first))
        };
        let key = match operation {
            Operation::Put if self.put == PutKeys::New => self.next_put.fetch_add(1, Ordering::Relaxed),
            Operation::Put | Operation::Get | Operation::Head => existing()?,
            Operation::List => mix(random),
            Operation::Delete => {
                let take = |next: u64| (next < self.prepared).then_some(next + 1);
                self.next_delete.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?
            }
        };
        Some((operation, key))
    }
}

/// Where the workers of one phase get their requests from.
pub(crate) enum Source {
    /// Every key of a range once.
    Each { operation: Operation, next: AtomicU64, end: u64 },
    /// By weight.
    Mix(Arc<Workload>),
}

impl Source {
    pub(crate) fn prepare(workload: &Workload) -> Self {
        Self::Each { operation: Operation::Put, next: AtomicU64::new(0), end: workload.prepared }
    }

    /// Deletes what is left. A PUT over prepared keys may have brought deleted ones back.
    pub(crate) fn clean_up(workload: &Workload) -> Self {
        let first = if workload.put == PutKeys::New { workload.next_delete.load(Ordering::Relaxed) } else { 0 };
        Self::Each { operation: Operation::Delete, next: AtomicU64::new(first), end: workload.written() }
    }

    pub(crate) fn mix(workload: &Arc<Workload>) -> Self {
        Self::Mix(workload.clone())
    }

    /// The next request; `None` where nothing is left to do.
    pub(crate) fn next(&self, random: u64) -> Option<(Operation, u64)> {
        match self {
            Self::Each { operation, next, end } => {
                let key = next.fetch_add(1, Ordering::Relaxed);
                (key < *end).then_some((*operation, key))
            }
            Self::Mix(workload) => workload.choose(random),
        }
    }

    /// Whether a missing key is no failure.
    pub(crate) fn forgives_missing(&self) -> bool {
        matches!(self, Self::Each { operation: Operation::Delete, .. })
    }
}
