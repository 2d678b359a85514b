//! One disk: a directory on one filesystem with a superblock, the volumes of its log and its data, and
//! the index. One thread owns its files and commits in groups: everything that arrives while one
//! fdatasync runs forms the next batch.
//!
//! What is synced before [`Device::commit`] returns, in this order:
//! 1. every data volume that the record names (fdatasync, begun after the last byte was written);
//! 2. the log volume with the batch that holds the record (one write, one fdatasync).
//!
//! Then the batch is applied to the index, in memory: after a crash it is replayed from the log. A new
//! volume's name and blocks are durable before anything is written to it.
//!
//! At start the superblock is checked (a wrong disk is refused), the log is replayed from where the
//! index stands, and a torn end is cut: see [`recovery`]. What reading checks, [`reader`] says.

pub(crate) mod audit;
pub(crate) mod backend;
pub(crate) mod buffer;
pub(crate) mod catalog;
pub(crate) mod codec;
pub(crate) mod disk;
pub(crate) mod engine;
pub mod exchange;
pub(crate) mod extent;
mod floor;
mod forget;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
pub mod inspect;
pub(crate) mod opening;
pub(crate) mod precedence;
pub(crate) mod quarantine;
pub(crate) mod reader;
pub(crate) mod recovery;
pub(crate) mod scan;
mod status;
pub(crate) mod superblock;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod volume;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub use extent::ExtentWriter;
pub use opening::{BackendChoice, DeviceOptions};
pub use reader::DataReader;
pub use status::{DeviceState, DeviceStatus};

use anello_base::Timestamp;

use crate::error::{Error, Result};
use crate::index::{Effect, EntryKey, Index, ObjectRow};
use crate::key::KeyHash;
use crate::mutation::{Applies, Extents, Mutation};
use codec::record;
use engine::{Commit, Request};
use opening::Inner;
use volume::VolumeKind;

/// One disk in service. Cheap to clone. When the last clone is dropped, what is queued is still written
/// and the thread ends.
#[derive(Debug, Clone)]
pub struct Device {
    pub(crate) inner: Arc<Inner>,
}

impl Device {
    /// Opens the device in `dir`, creating it where the directory is empty or absent. Blocks while the
    /// log is replayed.
    ///
    /// [`Error::WrongDevice`] where it belongs to another cluster or is not the device that `options`
    /// name, [`Error::Io`] where another process has it open, [`Error::Corrupt`] where the superblock
    /// can't be read or the log ends before the index does.
    pub fn open(dir: &Path, cluster_id: &str, options: DeviceOptions) -> Result<Self> {
        Ok(Self { inner: Arc::new(Inner::open(dir, cluster_id, &options)?) })
    }

    /// The device's id, from its superblock: 32 hexadecimal digits; its name in the rings.
    pub fn id(&self) -> String {
        self.inner.superblock.device_hex()
    }

    /// The index, for look-ups and listings.
    pub fn index(&self) -> &Index {
        self.inner.index.as_deref().expect("only the device's own tests run without an index")
    }

    /// Appends `mutation` to the log and applies it to the index. When it returns, the record and every
    /// extent it names have been written and synced, and reads see it.
    ///
    /// Dropped half-way, the record may be committed all the same. [`Error::Busy`] while too many
    /// records wait, [`Error::Full`] and [`Error::ReadOnly`] while the device takes no writes (a full
    /// one still takes deletions). After any other error the record may or may not be found at the next
    /// start.
    pub async fn commit(&self, mutation: Mutation, applies: Applies) -> Result<Effect> {
        self.append(mutation, applies, false).await
    }

    /// The same for what no client waits for: beside clients' records a batch takes few of these.
    pub(crate) async fn restore(&self, mutation: Mutation, applies: Applies) -> Result<Effect> {
        self.append(mutation, applies, true).await
    }

    async fn append(&self, mutation: Mutation, applies: Applies, is_restored: bool) -> Result<Effect> {
        self.inner.shared.admit(&*self.inner.volumes.disk, engine::is_privileged(&mutation))?;
        let encoded = record::encode(&mutation, applies)?;
        let moved = None;
        let commit = |done| Request::Commit(Box::new(Commit { encoded, mutation, applies, moved, is_restored, done }));
        self.inner.shared.ask(commit).await
    }

    /// Clients' requests at this device, which background work gives way to.
    pub(crate) fn precedence(&self) -> &precedence::Precedence {
        &self.inner.shared.precedence
    }

    /// Begins a large object. `size_hint` is its length in bytes where that is known.
    pub fn write_extents(&self, size_hint: Option<u64>) -> ExtentWriter {
        ExtentWriter::new(Arc::clone(&self.inner.shared), Arc::clone(&self.inner.space), size_hint)
    }

    /// Frees the extents of an upload that will not be committed after all.
    pub fn discard(&self, extents: &Extents) {
        self.inner.shared.free(extents.pieces.clone());
    }

    /// Begins to read `range` of an object's stored bytes, cut to their end. `hash` is the object's key
    /// where `row` is its present row: then a record in the wrong place is found out, and a row that
    /// compaction has overtaken is looked up again.
    ///
    /// [`Error::Missing`] where the version of `row` is gone, [`Error::Corrupt`] where bytes don't match
    /// their checksum.
    pub async fn read(&self, hash: Option<KeyHash>, row: &ObjectRow, range: Range<u64>) -> Result<DataReader> {
        self.inner.access.open(hash, row, range).await
    }

    /// The parts of a replaced multipart object are gone ([`Index::settle_parts`]): its record is dead.
    pub async fn settle_parts(&self, id: &[u8]) -> Result<()> {
        let effect = self.index().settle_parts(id)?;
        self.inner.shared.free(effect.dead_extents);
        Ok(())
    }

    /// Nothing before this may be accepted by a conditional write's promise that a crash has made forgotten
    /// ([`crate::node`]); zero where nothing was ever promised.
    pub fn promise_floor(&self) -> Result<Timestamp> {
        floor::read(&*self.inner.volumes.disk)
    }

    /// Raises the floor, durably. Blocks.
    pub fn set_promise_floor(&self, floor: Timestamp) -> Result<()> {
        floor::write(&*self.inner.volumes.disk, floor)
    }

    /// The bytes of an object, or of a row's record, are damaged here; a replica may have them whole.
    pub(crate) fn report_damaged(&self, entry: EntryKey) {
        self.inner.shared.is_damaged(entry);
    }

    /// Objects and rows whose bytes were found damaged since this was asked last.
    pub(crate) fn take_damaged(&self) -> Vec<EntryKey> {
        self.inner.shared.take_damaged()
    }

    /// How the device is.
    pub fn status(&self) -> DeviceStatus {
        let inner = &self.inner;
        let counters = &inner.shared.counters;
        let (free_bytes, capacity_bytes) = inner.volumes.disk.space().unwrap_or((0, 0));
        let dead = inner.access.catalog.dead_bytes().unwrap_or_default();
        DeviceStatus {
            path: inner.shared.path.display().to_string(),
            device_id: inner.superblock.device_hex(),
            state: inner.shared.state.get(),
            backend: inner.backend,
            capacity_bytes,
            free_bytes,
            log_volumes: inner.volumes.all(VolumeKind::Log).len() as u64,
            data_volumes: inner.volumes.all(VolumeKind::Data).len() as u64,
            dead_bytes: dead.iter().map(|(_, bytes)| bytes).sum(),
            queue_length: inner.shared.queue_length() as u64,
            records: counters.records.get(),
            batches: counters.batches.get(),
            flushes: counters.flushes.get(),
            log_bytes_written: counters.log_bytes_written.get(),
            data_bytes_written: counters.data_bytes_written.get(),
            reads_cached: counters.reads_cached.get(),
            reads_disk: counters.reads_disk.get(),
            bytes_read: counters.bytes_read.get(),
            corrupt_reads: counters.corrupt_reads.get(),
            quarantined: counters.quarantined.get(),
            torn_tails: counters.torn_tails.get(),
            replayed_records: counters.replayed_records.get(),
            punched_bytes: counters.punched_bytes.get(),
            compacted_volumes: counters.compacted_volumes.get(),
            compacted_bytes: counters.compacted_bytes.get(),
            audited_objects: counters.audited_objects.get(),
            audited_bytes: counters.audited_bytes.get(),
        }
    }

    /// Writes what is queued, flushes the index and stops the thread. What comes later is refused with
    /// [`Error::Stopped`]; closing twice does no harm.
    pub async fn close(&self) -> Result<()> {
        match self.inner.shared.ask(Request::Stop).await {
            Err(Error::Stopped) => Ok(()),
            other => other,
        }
    }

    /// The state alone, which costs nothing to ask for.
    pub fn state(&self) -> DeviceState {
        self.inner.shared.state.get()
    }
}
