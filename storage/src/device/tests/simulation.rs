//! A device on the simulated disk, and what tests do with any device.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::model::ModelIndex;
use super::sample;
use crate::device::disk::simulated::SimulatedDisk;
use crate::device::opening::{BackendKind, Geometry, Inner};
use crate::device::superblock::{self, Superblock};
use crate::device::{DataReader, Device};
use crate::error::{Error, Result};
use crate::mutation::{Applies, Body, Extents};

/// Volumes so small that a short workload crosses their ends and compacts them.
const TINY: Geometry = Geometry { log_volume_bytes: 128 << 10, data_volume_bytes: 1 << 20 };

/// Opens the device on `disk`, with what `index` knows.
pub(crate) fn open(disk: &SimulatedDisk, index: &Arc<ModelIndex>) -> Result<Device> {
    let superblock = if let Some(found) = superblock::read(disk)? {
        found
    } else {
        let made = Superblock { cluster_id: "c".to_owned(), device_id: [7; 16], created: Default::default() };
        superblock::create(disk, &made)?;
        made
    };
    let position = index.now().position;
    let (disk, catalog) = (Arc::new(disk.clone()), Arc::clone(index) as _);
    let inner = Inner::assemble(disk, superblock, catalog, position, TINY, BackendKind::Inline)?;
    Ok(Device { inner: Arc::new(inner) })
}

pub(crate) async fn collect(mut reader: DataReader) -> Result<Bytes> {
    let mut all = BytesMut::new();
    while let Some(bytes) = reader.next().await? {
        all.extend_from_slice(&bytes);
    }
    Ok(all.freeze())
}

pub(crate) async fn put_large(device: &Device, name: &str, at: u64, data: &Bytes) {
    let extents = write_large(device, data).await.expect("extents");
    device.commit(sample::put(name, at, Body::Extents(extents)), Applies::ALL).await.expect("commit");
}

pub(crate) async fn write_large(device: &Device, data: &Bytes) -> Result<Extents> {
    let mut writer = device.write_extents(Some(data.len() as u64));
    for chunk in data.chunks(100_000) {
        writer.write(data.slice_ref(chunk)).await?;
    }
    writer.finish().await
}

pub(crate) async fn read(device: &Device, name: &str, range: Range<u64>) -> Result<Bytes> {
    let hash = sample::hash(name);
    let row = device.inner.access.catalog.object(hash)?.ok_or(Error::Missing("object"))?;
    collect(device.read(Some(hash), &row, range).await?).await
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime")
}
