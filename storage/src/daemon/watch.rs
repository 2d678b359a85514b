//! What a daemon tells of itself while it works: where its pass stands, what waits, what it found, what
//! failed. A daemon notes it once per step, never per byte.

use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anello_base::{Clock, SystemClock};
use serde::Serialize;

/// What a daemon's figures count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Objects.
    Objects,
    /// Multipart uploads.
    Uploads,
    /// Rows of containers.
    Rows,
    /// Containers.
    Containers,
    /// Accounts.
    Accounts,
    /// Tombstones.
    Tombstones,
    /// Hosts.
    Hosts,
    /// Objects, rows, containers and accounts.
    Entries,
}

impl Unit {
    /// Its name, as in the status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Objects => "objects",
            Self::Uploads => "uploads",
            Self::Rows => "rows",
            Self::Containers => "containers",
            Self::Accounts => "accounts",
            Self::Tombstones => "tombstones",
            Self::Hosts => "hosts",
            Self::Entries => "entries",
        }
    }
}

/// A daemon at one moment. Counts are since the start of the process, and in [`Unit`] where not said
/// otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DaemonStatus {
    /// What it is called.
    pub name: &'static str,
    /// Directory of the device that it works on; none where it works on all.
    pub device: Option<String>,
    /// What is counted.
    pub unit: Unit,
    /// Whether a pass is under way.
    pub is_running: bool,
    /// Done in the pass that is under way.
    pub done: u64,
    /// What that pass will come to, where it can be told; for auditors an estimate.
    pub expected: Option<u64>,
    /// What waits to be worked on, as of the last look.
    pub waiting: u64,
    /// Worked on altogether.
    pub handled: u64,
    /// Passes that came to their end.
    pub passes: u64,
    /// Second since 1970 in which the last one did.
    pub last_pass: Option<u64>,
    /// How long that one took, in milliseconds.
    pub last_pass_ms: Option<u64>,
    /// Things found wrong: damaged objects, volumes that can't be compacted, parts left behind.
    pub findings: u64,
    /// Steps that failed, to be tried again.
    pub errors: u64,
    /// The last failure.
    pub last_error: Option<String>,
}

/// Kept by one daemon, read by whoever asks.
#[derive(Debug)]
pub struct Watch(Mutex<Noted>);

#[derive(Debug)]
struct Noted {
    status: DaemonStatus,
    /// When the pass began that is under way.
    began: Instant,
}

impl Watch {
    /// A daemon that has not begun.
    pub fn new(name: &'static str, device: Option<String>, unit: Unit) -> Arc<Self> {
        let status = DaemonStatus {
            name,
            device,
            unit,
            is_running: false,
            done: 0,
            expected: None,
            waiting: 0,
            handled: 0,
            passes: 0,
            last_pass: None,
            last_pass_ms: None,
            findings: 0,
            errors: 0,
            last_error: None,
        };
        Arc::new(Self(Mutex::new(Noted { status, began: Instant::now() })))
    }

    /// How it stands.
    pub fn status(&self) -> DaemonStatus {
        self.note().status.clone()
    }

    /// A pass begins that will come to `expected`.
    pub fn begin(&self, expected: Option<u64>) {
        let mut noted = self.note();
        noted.began = Instant::now();
        let status = &mut noted.status;
        (status.is_running, status.done, status.expected) = (true, 0, expected);
    }

    /// So much more of the pass is done.
    pub fn advance(&self, count: u64) {
        let status = &mut self.note().status;
        status.done += count;
        status.handled += count;
    }

    /// The pass stands here, wherever it began, and will come to `expected`.
    pub fn stands_at(&self, done: u64, expected: Option<u64>) {
        let status = &mut self.note().status;
        (status.done, status.expected) = (done, expected);
    }

    /// The pass came to its end.
    pub fn end(&self) {
        let mut noted = self.note();
        let took = noted.began.elapsed();
        let status = &mut noted.status;
        (status.is_running, status.done, status.expected) = (false, 0, None);
        status.passes += 1;
        status.last_pass_ms = Some(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        status.last_pass = Some(SystemClock.wall().seconds());
    }

    /// So much waits.
    pub fn waits(&self, count: u64) {
        self.note().status.waiting = count;
    }

    /// So many more things are wrong.
    pub fn found(&self, count: u64) {
        self.note().status.findings += count;
    }

    /// A step failed; the pass it belongs to is given up.
    pub fn failed(&self, error: &dyn Display) {
        let status = &mut self.note().status;
        (status.is_running, status.done, status.expected) = (false, 0, None);
        status.errors += 1;
        status.last_error = Some(error.to_string());
    }

    fn note(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_sees_where_a_pass_stands_and_what_is_left_of_it() {
        let watch = Watch::new("compactor", None, Unit::Bytes);
        watch.begin(Some(100));
        watch.advance(30);
        watch.advance(30);
        watch.waits(500);
        let under_way = watch.status();
        assert_eq!((under_way.is_running, under_way.done, under_way.expected), (true, 60, Some(100)));
        assert_eq!((under_way.waiting, under_way.passes, under_way.last_pass), (500, 0, None));
        watch.end();
        let over = watch.status();
        assert_eq!((over.is_running, over.done, over.handled, over.passes), (false, 0, 60, 1));
        assert!(over.last_pass.is_some());
        watch.begin(None);
        watch.failed(&"no space");
        let failed = watch.status();
        assert_eq!((failed.is_running, failed.passes, failed.errors), (false, 1, 1));
        assert_eq!(failed.last_error.as_deref(), Some("no space"));
    }
}
