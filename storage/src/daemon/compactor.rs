//! Frees space on one device: copies what lives in log volumes that are mostly dead, and removes them;
//! frees extents that a crash or an abandoned upload left without an owner; makes the index durable
//! from time to time, so that a start has little to replay.
//!
//! Compacting a volume is safe to interrupt anywhere:
//! 1. live records are copied through the normal group commit, bytes as they are, and the index refers
//!    to the copies; a crash leaves the volume, and copies that a replay finds to be known already;
//! 2. the index is flushed, so that nothing durable refers to the volume;
//! 3. the volume is removed; 4. the index forgets its dead bytes, or the next start makes it do so.
//!
//! A volume with a record that can't be read stays: its bytes may be all that is left of an object.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use super::watch::{Unit, Watch};
use crate::device::codec::record::{self, Encoded};
use crate::device::engine::{Commit, Request};
use crate::device::scan::{Batch, Found, Scanner};
use crate::device::volume::{Volume, VolumeKind};
use crate::device::{Device, DeviceState};
use crate::environment::blocking;
use crate::error::{Error, Result};
use crate::limits::{
    ALIGNMENT, COMPACT_BYTES_PER_SECOND, COMPACT_DEAD_PERCENT, COMPACT_DEAD_PERCENT_FULL, COMPACT_INTERVAL,
    INDEX_FLUSH_BYTES,
};
use crate::mutation::{Applies, Extent, Location, Mutation};

/// Pause before a copy is offered again to a device whose queue is full.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is to be done now.
    Idle,
    /// It worked through this many bytes; there may be more.
    Bytes(u64),
}

/// The compactor of one device. What it has begun is lost with it, and begun again by the next one.
#[derive(Debug)]
pub struct Compactor {
    device: Device,
    watch: Arc<Watch>,
    /// Data volumes still to be searched for extents without an owner: those that the start found, each
    /// up to where new extents are placed since.
    unsearched: VecDeque<(Arc<Volume>, u64)>,
    work: Option<(Arc<Volume>, Scanner)>,
    /// Volumes that hold something unreadable.
    kept: HashSet<u32>,
    /// Set when the volume at work shows something unreadable.
    damaged: bool,
    flushed_at: u64,
}

impl Compactor {
    /// A compactor for `device`, which has just been opened.
    pub fn new(device: Device) -> Self {
        let unsearched = device.inner.searchable.clone().into();
        let watch = Watch::new("compactor", Some(device.inner.shared.path.display().to_string()), Unit::Bytes);
        Self { device, watch, unsearched, work: None, kept: HashSet::new(), damaged: false, flushed_at: 0 }
    }

    /// Where it shows how it stands: a pass is one volume, and what waits is what it would free.
    pub fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.watch)
    }

    /// Works until `stop`, at no more than [`COMPACT_BYTES_PER_SECOND`].
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let pause = match self.step().await {
                Ok(Progress::Bytes(_)) if self.device.state() == DeviceState::Full => Duration::ZERO,
                Ok(Progress::Bytes(bytes)) => Duration::from_secs_f64(bytes as f64 / COMPACT_BYTES_PER_SECOND as f64),
                Ok(Progress::Idle) | Err(Error::Stopped) => COMPACT_INTERVAL,
                Err(error) => {
                    tracing::warn!(%error, "compaction failed and will be tried again");
                    self.watch.failed(&error);
                    self.work = None;
                    COMPACT_INTERVAL
                }
            };
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Does one small piece of work: searches a data volume, flushes the index, or copies what lives in
    /// one batch of the log.
    pub async fn step(&mut self) -> Result<Progress> {
        if let Some((volume, end)) = self.unsearched.pop_front() {
            return self.free_orphans(&volume, end);
        }
        self.flush_if_due().await?;
        if self.work.is_none() {
            let Some(volume) = self.choose()? else { return Ok(Progress::Idle) };
            let scanner = Scanner::new(Arc::clone(&volume), self.device.inner.superblock.tag(), 0)?;
            tracing::debug!(volume = volume.id, "compaction begins");
            self.watch.begin(volume.file.size().ok());
            (self.work, self.damaged) = (Some((volume, scanner)), false);
        }
        let Some((volume, scanner)) = &mut self.work else { return Ok(Progress::Idle) };
        match scanner.next() {
            Found::Batch(batch) => self.copy_live(&batch).await,
            Found::Damage { offset, end } => {
                tracing::warn!(volume = volume.id, offset, "a damaged batch keeps its volume from being compacted");
                self.damaged = true;
                self.watch.advance(end - offset);
                Ok(Progress::Bytes(end - offset))
            }
            Found::End { offset, .. } => {
                let size = offset.max(1);
                self.finish().await?;
                Ok(Progress::Bytes(size.min(COMPACT_BYTES_PER_SECOND / 100)))
            }
        }
    }

    /// Frees what no object holds in the part of a data volume that new extents are not placed in.
    fn free_orphans(&self, volume: &Volume, end: u64) -> Result<Progress> {
        let inner = &self.device.inner;
        let live = inner.access.catalog.live_extents(volume.id)?;
        let held: u64 = live.iter().map(|extent| extent.length.next_multiple_of(ALIGNMENT)).sum();
        let taken = volume.file.allocated().map_err(|error| volume.error("stat", &error))?;
        if taken > held {
            inner.shared.free(gaps(volume.id, &live, end));
        }
        Ok(Progress::Bytes(live.len() as u64 * size_of::<Extent>() as u64))
    }

    async fn flush_if_due(&mut self) -> Result<()> {
        let written = self.device.inner.shared.counters.log_bytes_written.get();
        if written - self.flushed_at >= INDEX_FLUSH_BYTES {
            self.flush().await?;
            self.flushed_at = written;
        }
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        let catalog = Arc::clone(&self.device.inner.access.catalog);
        blocking(move || catalog.flush()).await
    }

    /// The finished log volume with the largest dead part, if that passes the threshold.
    fn choose(&self) -> Result<Option<Arc<Volume>>> {
        let inner = &self.device.inner;
        let is_full = inner.shared.state.get() == DeviceState::Full;
        let threshold = if is_full { COMPACT_DEAD_PERCENT_FULL } else { COMPACT_DEAD_PERCENT };
        let mut best = None;
        let mut waiting = 0;
        for (id, dead) in inner.access.catalog.dead_bytes()? {
            let Some(volume) = inner.volumes.get(VolumeKind::Log, id) else { continue };
            if id >= inner.shared.tail_volume() || self.kept.contains(&id) {
                continue;
            }
            let size = volume.file.size().map_err(|error| volume.error("stat", &error))?.max(1);
            let percent = dead.saturating_mul(100) / size;
            if percent < threshold {
                continue;
            }
            waiting += dead;
            if best.as_ref().is_none_or(|(most, _)| percent > *most) {
                best = Some((percent, volume));
            }
        }
        self.watch.waits(waiting);
        Ok(best.map(|(_, volume)| volume))
    }

    /// Copies the live records of a batch; returns when the copies are durable and the index refers to
    /// them.
    async fn copy_live(&mut self, batch: &Batch) -> Result<Progress> {
        let catalog = Arc::clone(&self.device.inner.access.catalog);
        let mut copies = Vec::new();
        for (offset, bytes) in batch.records() {
            let Ok(decoded) = record::decode(&bytes) else {
                tracing::warn!(volume = batch.header.volume, offset, "a damaged record keeps its volume");
                self.damaged = true;
                continue;
            };
            let record::Header { length, data_start, applies, .. } = decoded.header;
            let from = Location { volume: batch.header.volume, offset, length, data_start };
            if bytes.len() == length as usize && catalog.is_live(&decoded.mutation, from)? {
                copies.push((bytes, from, decoded.mutation, applies));
            }
        }
        let copied: u64 = copies.iter().map(|(bytes, ..)| bytes.len() as u64).sum();
        let device = &self.device;
        let commits = copies.into_iter().map(|(bytes, from, mutation, applies)| async move {
            copy(device, &bytes, from, &mutation, applies).await
        });
        for done in join_all(commits).await {
            done?;
        }
        self.device.inner.shared.counters.compacted_bytes.add(copied);
        self.watch.advance(u64::from(batch.header.length));
        Ok(Progress::Bytes(u64::from(batch.header.length) + copied))
    }

    /// Everything that lived in the volume has been copied.
    async fn finish(&mut self) -> Result<()> {
        let Some((volume, _)) = self.work.take() else { return Ok(()) };
        if self.damaged {
            self.kept.insert(volume.id);
            self.watch.found(1);
            self.watch.end();
            return Ok(());
        }
        self.flush().await?;
        let inner = &self.device.inner;
        inner.volumes.remove(VolumeKind::Log, volume.id)?;
        inner.access.catalog.forget_volume(volume.id)?;
        inner.shared.counters.compacted_volumes.add(1);
        tracing::debug!(volume = volume.id, "compacted");
        self.watch.end();
        Ok(())
    }
}

/// Copies one record; returns when the copy is durable and the index refers to it.
async fn copy(device: &Device, bytes: &Bytes, from: Location, mutation: &Mutation, applies: Applies) -> Result<()> {
    let data_start = from.data_start as usize;
    loop {
        let encoded = Encoded { head: bytes[..data_start].to_vec(), data: bytes.slice(data_start..) };
        let (mutation, moved) = (mutation.clone(), Some(from));
        let commit =
            |done| Request::Commit(Box::new(Commit { encoded, mutation, applies, moved, is_restored: false, done }));
        match device.inner.shared.ask(commit).await {
            Err(Error::Busy { .. }) => tokio::time::sleep(BUSY_PAUSE).await,
            other => return other.map(|_| ()),
        }
    }
}

/// What lies between the live extents of a data volume, up to `end`.
fn gaps(volume: u32, live: &[Extent], end: u64) -> Vec<Extent> {
    let mut gaps = Vec::new();
    let mut at = 0;
    let limit = Extent { volume, offset: end, length: 0 };
    for extent in live.iter().chain([&limit]) {
        let gap_end = extent.offset.min(end);
        if at < gap_end {
            gaps.push(Extent { volume, offset: at, length: gap_end - at });
        }
        at = at.max((extent.offset + extent.length).next_multiple_of(ALIGNMENT));
    }
    gaps
}
