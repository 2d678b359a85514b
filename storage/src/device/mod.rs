//! One disk: a directory on one filesystem with a superblock, the volumes of its log and its data, and
//! the index. One thread owns its files and commits in groups: everything that arrives while one
//! fdatasync runs forms the next batch.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::Result;
use crate::index::{Effect, Index, ObjectRow};
use crate::mutation::{Applies, Extents, Mutation};

/// How a device is opened.
#[derive(Debug, Clone, Default)]
pub struct DeviceOptions {}

/// How a device is, for operators.
#[derive(Debug, Clone, serde::Serialize)]
pub struct DeviceStatus {}

/// One disk in service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Device {
    inner: Arc<Index>,
}

impl Device {
    /// Opens the device in `dir`, creating it where the directory is empty or absent.
    pub fn open(dir: &Path, cluster_id: &str, options: DeviceOptions) -> Result<Self> {
        todo!("{dir:?} {cluster_id} {options:?}")
    }

    /// The device's id, from its superblock: 32 hexadecimal digits; its name in the rings.
    pub fn id(&self) -> &str {
        todo!()
    }

    /// The index, for look-ups and listings.
    pub fn index(&self) -> &Index {
        &self.inner
    }

    /// Appends `mutation` to the log and applies it to the index. When it returns, the record and every
    /// extent it names have been written and synced, and reads see it.
    pub async fn commit(&self, mutation: Mutation, applies: Applies) -> Result<Effect> {
        todo!("{mutation:?} {applies:?}")
    }

    /// Begins a large object. `size_hint` is its length in bytes where that is known.
    pub fn write_extents(&self, size_hint: Option<u64>) -> ExtentWriter {
        todo!("{size_hint:?}")
    }

    /// Begins to read `range` of an object's stored bytes.
    pub async fn read(&self, row: &ObjectRow, range: Range<u64>) -> Result<DataReader> {
        todo!("{row:?} {range:?}")
    }

    /// The parts of a replaced multipart object are gone ([`Index::settle_parts`]): its record is dead.
    pub async fn settle_parts(&self, id: &[u8]) -> Result<()> {
        todo!("{id:?}")
    }

    /// How the device is.
    pub fn status(&self) -> DeviceStatus {
        todo!()
    }

    /// Writes what is queued, flushes the index and stops the thread.
    pub async fn close(&self) -> Result<()> {
        todo!()
    }
}

/// Streams a large object's data into a data volume. Dropped before [`ExtentWriter::finish`], its space
/// is freed.
#[derive(Debug)]
pub struct ExtentWriter {}

impl ExtentWriter {
    /// Takes the next bytes; waits while too many writes are in flight.
    pub async fn write(&mut self, data: Bytes) -> Result<()> {
        todo!("{data:?}")
    }

    /// Waits until everything is written (not synced: the record that names the extents does that).
    pub async fn finish(self) -> Result<Extents> {
        todo!()
    }
}

/// Yields verified bytes of an object, in order.
#[derive(Debug)]
pub struct DataReader {}

impl DataReader {
    /// The next bytes, `None` at the end. Every byte has passed its block's CRC32.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        todo!()
    }
}
