//! What a device tells about itself: counters that its thread keeps, and the state in which it takes
//! or refuses writes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// Whether a device takes writes. Reads go on in every state but `Stopped`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state", content = "reason")]
pub enum DeviceState {
    /// Reads and writes.
    InService,
    /// No space for new data; deletions still pass. Ends by itself once there is space.
    Full,
    /// An I/O error or a read-only filesystem; ends with a restart.
    ReadOnly(String),
    /// Closed.
    Stopped,
}

/// A device at one moment. Counts are since its start unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceStatus {
    /// Directory of the device.
    pub path: String,
    /// Its id, 32 hexadecimal digits.
    pub device_id: String,
    /// Whether it takes writes.
    #[serde(flatten)]
    pub state: DeviceState,
    /// How it does I/O: `io_uring`, `threads` or `simulated`.
    pub backend: &'static str,
    /// Size of the filesystem in bytes.
    pub capacity_bytes: u64,
    /// Bytes of the filesystem that are free.
    pub free_bytes: u64,
    /// Log volumes on disk now.
    pub log_volumes: u64,
    /// Data volumes on disk now.
    pub data_volumes: u64,
    /// Bytes of dead records in log volumes now, which compaction will free.
    pub dead_bytes: u64,
    /// Records waiting for a batch now.
    pub queue_length: u64,
    /// Records committed.
    pub records: u64,
    /// Batches written.
    pub batches: u64,
    /// Flushes (fdatasync) of log and data volumes.
    pub flushes: u64,
    /// Bytes written to log volumes, padding included.
    pub log_bytes_written: u64,
    /// Bytes written to data volumes, padding included.
    pub data_bytes_written: u64,
    /// Reads that the page cache answered.
    pub reads_cached: u64,
    /// Reads that went to the disk.
    pub reads_disk: u64,
    /// Bytes handed to readers.
    pub bytes_read: u64,
    /// Reads refused because of a checksum.
    pub corrupt_reads: u64,
    /// Damaged pieces put into quarantine.
    pub quarantined: u64,
    /// Torn batches cut from the end of the log at start.
    pub torn_tails: u64,
    /// Records replayed at start.
    pub replayed_records: u64,
    /// Bytes of extents freed.
    pub punched_bytes: u64,
    /// Log volumes compacted.
    pub compacted_volumes: u64,
    /// Bytes that compaction copied.
    pub compacted_bytes: u64,
    /// Objects that the auditor has read.
    pub audited_objects: u64,
    /// Bytes that the auditor has read.
    pub audited_bytes: u64,
}

/// The counters behind [`DeviceStatus`], under the same names.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) records: Counter,
    pub(crate) batches: Counter,
    pub(crate) flushes: Counter,
    pub(crate) log_bytes_written: Counter,
    pub(crate) data_bytes_written: Counter,
    pub(crate) reads_cached: Counter,
    pub(crate) reads_disk: Counter,
    pub(crate) bytes_read: Counter,
    pub(crate) corrupt_reads: Counter,
    pub(crate) quarantined: Counter,
    pub(crate) torn_tails: Counter,
    pub(crate) replayed_records: Counter,
    pub(crate) punched_bytes: Counter,
    pub(crate) compacted_volumes: Counter,
    pub(crate) compacted_bytes: Counter,
    pub(crate) audited_objects: Counter,
    pub(crate) audited_bytes: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The state, behind a lock that is held for a comparison.
#[derive(Debug)]
pub(crate) struct StateCell(Mutex<DeviceState>);

impl StateCell {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(DeviceState::InService))
    }

    pub(crate) fn get(&self) -> DeviceState {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the state; `ReadOnly` and `Stopped` are never left for a milder one.
    pub(crate) fn set(&self, next: DeviceState) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = match (&*state, &next) {
            (DeviceState::Stopped, _) => false,
            (DeviceState::ReadOnly(_), DeviceState::Stopped) => true,
            (DeviceState::ReadOnly(_), _) => false,
            _ => true,
        };
        if allowed {
            *state = next;
        }
    }
}
