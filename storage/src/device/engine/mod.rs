//! The thread that owns a device's files, and the queue by which everybody else reaches it.
//!
//! [`Shared`] is the queue's end for callers: it takes [`Request`]s and wakes the thread when it
//! sleeps. [`run`] is the thread: it starts operations and handles their completions. [`batch`] is
//! group commit.

mod batch;
mod run;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::oneshot;

use super::backend::{ReadBuffer, Wake};
use super::buffer::AlignedBuffer;
use super::codec::record::Encoded;
use super::disk::Disk;
use super::status::{Counters, DeviceState, StateCell};
use super::volume::Volume;
use crate::device::precedence::Precedence;
use crate::error::{Error, Result};
use crate::index::{Effect, EntryKey};
use crate::limits::{DAMAGED_MAX, QUEUE_RECORDS_MAX, SPACE_RESERVE_BYTES};
use crate::mutation::{Applies, Extent, Location, Mutation};

pub(crate) use run::{Engine, Tail};

/// The answer to one request.
pub(crate) type Answer<T> = oneshot::Sender<Result<T>>;

/// A record on its way through the queues, which only hand its address on.
pub(crate) type Queued = Box<Commit>;

/// A record to be committed.
#[derive(Debug)]
pub(crate) struct Commit {
    /// Its bytes.
    pub(crate) encoded: Encoded,
    /// What it says.
    pub(crate) mutation: Mutation,
    /// Which parts of it concern this device.
    pub(crate) applies: Applies,
    /// Where it stood, where compaction copies it.
    pub(crate) moved: Option<Location>,
    /// Whether a replica brought it, and no client waits for it.
    pub(crate) is_restored: bool,
    /// Told when it is durable and applied.
    pub(crate) done: Answer<Effect>,
}

impl Commit {
    /// Whether it may use the space that is kept back: what frees space must go on when it is short.
    fn is_privileged(&self) -> bool {
        self.moved.is_some() || is_privileged(&self.mutation)
    }
}

/// Whether a mutation brings nothing new to store.
pub(crate) fn is_privileged(mutation: &Mutation) -> bool {
    !matches!(
        mutation,
        Mutation::ObjectPut(_) | Mutation::ObjectPost(_) | Mutation::ContainerPut(_) | Mutation::AccountPut { .. }
    )
}

/// One thing asked of the thread.
#[derive(Debug)]
pub(crate) enum Request {
    /// Append a record.
    Commit(Queued),
    /// Read from a volume.
    Read { volume: Arc<Volume>, offset: u64, buffer: ReadBuffer, done: Answer<(ReadBuffer, usize)> },
    /// Write a piece of a large object.
    Write { volume: Arc<Volume>, offset: u64, buffer: AlignedBuffer, length: usize, done: Answer<AlignedBuffer> },
    /// Reserve blocks for a large object.
    Allocate { volume: Arc<Volume>, offset: u64, length: u64, done: Answer<()> },
    /// Free extents that nobody names.
    Free(Vec<Extent>),
    /// Finish everything and end.
    Stop(Answer<()>),
}

/// What callers and thread share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The device's directory, for messages.
    pub(crate) path: PathBuf,
    /// What happened so far.
    pub(crate) counters: Counters,
    /// Whether writes are taken.
    pub(crate) state: StateCell,
    /// Free space from which a full device takes writes again: a log volume beside what is kept back.
    resume_bytes: u64,
    queue: Mutex<Queue>,
    /// The thread waits, or is about to, and must be woken.
    sleeping: AtomicBool,
    waker: OnceLock<Arc<dyn Wake>>,
    records: AtomicUsize,
    /// The log volume that is being written; zero before the first.
    tail_volume: AtomicU32,
    /// Objects to be healed from a replica.
    damaged: Mutex<BTreeSet<EntryKey>>,
    /// Clients' requests, which others give way to.
    pub(crate) precedence: Precedence,
}

#[derive(Debug, Default)]
struct Queue {
    requests: Vec<Request>,
    closed: bool,
}

impl Shared {
    pub(crate) fn new(path: PathBuf, log_volume_bytes: u64) -> Self {
        Self {
            path,
            resume_bytes: log_volume_bytes + SPACE_RESERVE_BYTES.min(log_volume_bytes),
            counters: Counters::default(),
            state: StateCell::new(),
            queue: Mutex::default(),
            sleeping: AtomicBool::new(false),
            waker: OnceLock::new(),
            records: AtomicUsize::new(0),
            tail_volume: AtomicU32::new(0),
            damaged: Mutex::default(),
            precedence: Precedence::default(),
        }
    }

    /// Records that wait for their batch.
    pub(crate) fn queue_length(&self) -> usize {
        self.records.load(Ordering::Relaxed)
    }

    /// The log volume that is being written: none from it on may be compacted.
    pub(crate) fn tail_volume(&self) -> u32 {
        self.tail_volume.load(Ordering::Acquire)
    }

    /// The bytes of an object, or of a row's record, are damaged. Beyond [`DAMAGED_MAX`] it is left to the next reader or
    /// auditor.
    pub(crate) fn is_damaged(&self, entry: EntryKey) {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        if damaged.len() < DAMAGED_MAX {
            damaged.insert(entry);
        }
    }

    /// See [`super::Device::take_damaged`].
    pub(crate) fn take_damaged(&self) -> Vec<EntryKey> {
        std::mem::take(&mut *self.damaged.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect()
    }

    /// Hands a request to the thread.
    pub(crate) fn push(&self, request: Request) -> Result<()> {
        let is_record = matches!(request, Request::Commit(_));
        if is_record && self.queue_length() >= QUEUE_RECORDS_MAX {
            return Err(Error::Busy { device: self.path.clone() });
        }
        {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            if queue.closed {
                return Err(Error::Stopped);
            }
            if is_record {
                self.records.fetch_add(1, Ordering::Relaxed);
            }
            queue.requests.push(request);
        }
        if self.sleeping.swap(false, Ordering::SeqCst)
            && let Some(waker) = self.waker.get()
        {
            waker.wake();
        }
        Ok(())
    }

    /// Hands a request over and waits for its answer. Dropped half-way, the request is carried out all
    /// the same.
    pub(crate) async fn ask<T>(&self, make: impl FnOnce(Answer<T>) -> Request) -> Result<T> {
        let (done, answer) = oneshot::channel();
        self.push(make(done))?;
        answer.await.unwrap_or(Err(Error::Stopped))
    }

    /// Frees extents, if the thread still runs; otherwise the next start does it.
    pub(crate) fn free(&self, extents: Vec<Extent>) {
        if !extents.is_empty() {
            let _ = self.push(Request::Free(extents));
        }
    }

    /// Fails where the device takes no such write. A full device is asked again whether it still is.
    pub(crate) fn admit(&self, disk: &dyn Disk, privileged: bool) -> Result<()> {
        match self.state.get() {
            DeviceState::InService => Ok(()),
            DeviceState::Full if privileged => Ok(()),
            DeviceState::Full => {
                let free = disk.space().map_or(0, |(free, _)| free);
                if free < self.resume_bytes {
                    return Err(self.full());
                }
                tracing::info!(device = %self.path.display(), free, "there is space again");
                self.state.set(DeviceState::InService);
                Ok(())
            }
            DeviceState::ReadOnly(_) | DeviceState::Stopped => Err(self.refusal().unwrap_or(Error::Stopped)),
        }
    }

    /// The thread has ended: nothing more is taken, and whoever waits is told.
    fn close(&self) {
        self.state.set(DeviceState::Stopped);
        let requests = {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.closed = true;
            std::mem::take(&mut queue.requests)
        };
        // With their senders dropped, the waiting learn that the device has stopped.
        drop(requests);
    }

    /// The error of a device that takes no writes, if it does not.
    pub(crate) fn refusal(&self) -> Option<Error> {
        match self.state.get() {
            DeviceState::InService => None,
            DeviceState::Full => Some(self.full()),
            DeviceState::ReadOnly(reason) => Some(Error::ReadOnly { device: self.path.clone(), reason }),
            DeviceState::Stopped => Some(Error::Stopped),
        }
    }

    /// [`Error::Full`] of this device.
    pub(crate) fn full(&self) -> Error {
        Error::Full { device: self.path.clone() }
    }

    /// A write failed: takes the device out of service for writes, and gives the error for whoever
    /// asked.
    pub(crate) fn write_failed(&self, error: &Error) -> Error {
        let no_space = matches!(error, Error::Io { code: Some(libc::ENOSPC | libc::EDQUOT), .. });
        let state = if no_space { DeviceState::Full } else { DeviceState::ReadOnly(error.to_string()) };
        tracing::error!(device = %self.path.display(), %error, ?state, "a write failed");
        self.state.set(state);
        self.refusal().unwrap_or_else(|| self.full())
    }
}
