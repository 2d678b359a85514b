//! What happens at start: the log is replayed from where the index stands, a torn end is cut, damage in
//! the middle is put aside, and the place of the next batch and extent is found.
//!
//! The last batch of the log is the only one that may be torn: its records are checked with all their
//! data, and it counts only as a whole. Every batch before it was synced before the next one was
//! written; there a bad record is damage, and only that record is left out.
//!
//! Extents that die during a replay are not freed at once: a later record may have been given their
//! place. What no object holds at the end is freed afterwards (`daemon::compactor`).

use std::sync::Arc;

use bytes::Bytes;

use super::buffer::AlignedBuffer;
use super::catalog::Catalog;
use super::codec::record;
use super::engine::Tail;
use super::extent::DataSpace;
use super::quarantine;
use super::scan::{Batch, Found, Scanner};
use super::status::Counters;
use super::volume::{Volume, VolumeKind, Volumes};
use crate::error::{Error, Result};
use crate::index::Placed;
use crate::limits::{ALIGNMENT, BATCH_BYTES_MAX};
use crate::mutation::{Location, LogPosition};

/// Records that are applied to the index in one step.
const REPLAY_RECORDS: usize = 512;

/// Replays the log.
pub(crate) struct Recovery<'a> {
    volumes: &'a Volumes,
    catalog: &'a dyn Catalog,
    counters: &'a Counters,
    tag: [u8; 8],
    log_volume_bytes: u64,
    /// Told the length of each batch that was read.
    progress: &'a mut dyn FnMut(u64),
    /// Decoded and not applied yet.
    waiting: Vec<Placed>,
    position: LogPosition,
}

impl<'a> Recovery<'a> {
    pub(crate) fn new(
        volumes: &'a Volumes,
        catalog: &'a dyn Catalog,
        counters: &'a Counters,
        tag: [u8; 8],
        log_volume_bytes: u64,
        progress: &'a mut dyn FnMut(u64),
    ) -> Self {
        let (waiting, position) = (Vec::new(), LogPosition::default());
        Self { volumes, catalog, counters, tag, log_volume_bytes, progress, waiting, position }
    }

    /// Replays everything behind `position`; tells where the next batch goes.
    pub(crate) fn run(mut self, position: LogPosition) -> Result<Tail> {
        self.position = position;
        let logs = self.volumes.all(VolumeKind::Log);
        let last_id = logs.last().map_or(0, |volume| volume.id).max(position.volume);
        if position.volume > 0 && logs.last().is_none_or(|last| last.id < position.volume) {
            let found = logs.last().map_or(0, |volume| u64::from(volume.id));
            return Err(Error::Corrupt {
                what: "log: it ends before the index; rebuild the index",
                file: self.volumes.disk.path(super::disk::VOLUMES),
                offset: position.offset,
                expected: u64::from(position.volume),
                found,
            });
        }
        // The last batch found so far: whether it may be torn is known when the next one is found.
        let mut held: Option<Batch> = None;
        let mut ends: Vec<(Arc<Volume>, u64, bool)> = Vec::new();
        for volume in logs.into_iter().filter(|volume| volume.id >= position.volume) {
            let start = if volume.id == position.volume { position.offset } else { 0 };
            let (offset, torn) = self.replay_volume(&volume, start, &mut held, &mut ends)?;
            ends.push((volume, offset, torn));
        }
        if let Some(last) = held {
            self.finish_last(&last, &mut ends)?;
        }
        self.apply_waiting()?;
        self.find_tail(ends, last_id)
    }

    fn replay_volume(
        &mut self,
        volume: &Arc<Volume>,
        start: u64,
        held: &mut Option<Batch>,
        ends: &mut [(Arc<Volume>, u64, bool)],
    ) -> Result<(u64, bool)> {
        let mut scanner = Scanner::new(Arc::clone(volume), self.tag, start)?;
        loop {
            match scanner.next() {
                Found::Batch(batch) => {
                    // What looked like a torn end in an earlier volume has a batch behind it.
                    for (earlier, offset, torn) in ends.iter_mut().filter(|(.., torn)| *torn) {
                        self.keep(earlier, *offset, BATCH_BYTES_MAX, "no batch at the end of a finished volume");
                        *torn = false;
                    }
                    if let Some(earlier) = held.replace(batch) {
                        self.take(&earlier)?;
                    }
                }
                Found::Damage { offset, end } => {
                    self.keep(volume, offset, end - offset, "damaged batch");
                }
                Found::End { offset, torn } => return Ok((offset, torn)),
            }
        }
    }

    /// Takes the records of a batch that was whole once.
    fn take(&mut self, batch: &Batch) -> Result<()> {
        for (offset, bytes) in batch.records() {
            match record::decode(&bytes) {
                Ok(decoded) if decoded.header.length as usize == bytes.len() => {
                    self.waiting.push(placed(batch, offset, decoded));
                }
                Ok(_) => self.keep_record(batch, offset, &bytes, "record length"),
                Err(damage) => self.keep_record(batch, offset, &bytes, damage.what),
            }
        }
        (self.progress)(u64::from(batch.header.length));
        let (volume, sequence) = (batch.header.volume, batch.header.sequence);
        self.position = LogPosition { volume, offset: batch.end(), sequence };
        if self.waiting.len() >= REPLAY_RECORDS { self.apply_waiting() } else { Ok(()) }
    }

    fn apply_waiting(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.waiting);
        self.catalog.apply(&batch, self.position)?;
        self.counters.replayed_records.add(batch.len() as u64);
        Ok(())
    }

    /// The last batch of the log counts only if all of it is there.
    fn finish_last(&mut self, last: &Batch, ends: &mut [(Arc<Volume>, u64, bool)]) -> Result<()> {
        let whole = last.records().all(|(_, bytes)| record::decode_whole(&bytes).is_ok());
        if whole {
            return self.take(last);
        }
        for (volume, end, torn) in ends.iter_mut().filter(|(volume, ..)| volume.id == last.volume.id) {
            tracing::warn!(file = %volume.path.display(), offset = last.header.offset, "the last batch is torn");
            (*end, *torn) = (last.header.offset, true);
        }
        Ok(())
    }

    /// Cuts a torn end and decides where the next batch goes.
    fn find_tail(&self, mut ends: Vec<(Arc<Volume>, u64, bool)>, last_id: u32) -> Result<Tail> {
        let sequence = self.position.sequence;
        let nowhere = Tail { volume: None, last_id, offset: 0, sequence };
        while let Some((volume, offset, torn)) = ends.pop() {
            let size = volume.file.size().map_err(|error| volume.error("stat", &error))?;
            if torn {
                self.counters.torn_tails.add(1);
                self.keep(&volume, offset, BATCH_BYTES_MAX, "torn end of the log");
                self.cut(&volume, offset, size)?;
            }
            if offset == 0 && volume.id > self.position.volume {
                // Made, and never written to; perhaps not even made to the end.
                self.volumes.remove(VolumeKind::Log, volume.id)?;
                continue;
            }
            let unfinished = size >= self.log_volume_bytes;
            return Ok(if unfinished { Tail { volume: Some(volume), offset, ..nowhere } } else { nowhere });
        }
        Ok(nowhere)
    }

    fn cut(&self, volume: &Volume, offset: u64, size: u64) -> Result<()> {
        let start = offset.next_multiple_of(ALIGNMENT);
        if start >= size {
            return Ok(());
        }
        let (file, length) = (&volume.file, (size - start).next_multiple_of(ALIGNMENT));
        let cut = match file.punch(start, length) {
            // Where holes can't be made, it is enough that no batch begins here.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                file.write_at(&AlignedBuffer::new(ALIGNMENT as usize), start)
            }
            other => other,
        };
        cut.and_then(|()| file.allocate(start, length))
            .and_then(|()| file.sync())
            .map_err(|error| volume.error("cut", &error))
    }

    fn keep_record(&self, batch: &Batch, offset: u64, bytes: &Bytes, note: &str) {
        let file = volume_name(&batch.volume);
        quarantine::keep(&*self.volumes.disk, self.counters, &file, offset, bytes, note);
    }

    /// Puts the bytes at `offset` aside, without the zeros behind them.
    fn keep(&self, volume: &Volume, offset: u64, length: u64, note: &str) {
        let mut bytes = volume.read(offset, length as usize).unwrap_or_default();
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(used);
        quarantine::keep(&*self.volumes.disk, self.counters, &volume_name(volume), offset, &bytes, note);
    }
}

/// The name of a volume's file without its folder.
pub(crate) fn volume_name(volume: &Volume) -> String {
    volume.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn placed(batch: &Batch, offset: u64, decoded: record::Decoded) -> Placed {
    let record::Header { length, data_start, applies, .. } = decoded.header;
    let location = Location { volume: batch.header.volume, offset, length, data_start };
    Placed { mutation: decoded.mutation, applies, location }
}

/// Where new extents go: behind the last one that lives in the last data volume. What stands behind it
/// was never named by a record, and is freed.
pub(crate) fn find_space(volumes: &Arc<Volumes>, catalog: &dyn Catalog, data_volume_bytes: u64) -> Result<DataSpace> {
    let Some(volume) = volumes.all(VolumeKind::Data).pop() else {
        return Ok(DataSpace::new(Arc::clone(volumes), data_volume_bytes, None, 0));
    };
    let live = catalog.live_extents(volume.id)?;
    let ends = live.iter().map(|extent| (extent.offset + extent.length).next_multiple_of(ALIGNMENT));
    let end = ends.max().unwrap_or(0);
    let size = volume.file.size().map_err(|error| volume.error("stat", &error))?;
    if size < data_volume_bytes {
        // It was not made to the end, or by a version with smaller volumes: nothing more goes there.
        return Ok(DataSpace::new(Arc::clone(volumes), data_volume_bytes, Some(volume), data_volume_bytes));
    }
    if end < size {
        volume.file.punch(end, size - end).map_err(|error| volume.error("free space in", &error))?;
    }
    Ok(DataSpace::new(Arc::clone(volumes), data_volume_bytes, Some(volume), end))
}
