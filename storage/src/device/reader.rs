//! Objects on their way out. Whatever the page cache holds is read on the caller's thread, without a
//! switch; the rest by the device's thread. Every block's CRC32 is checked before a byte of it is
//! handed out.
//!
//! A row may be outdated by the time it is used: its record moved by compaction, its extents freed. The
//! head at the row's place must be the row's own, and every block must pass its checksum; where one does
//! not, the index is asked once more, before anything is called damaged. From its start on a reader
//! keeps volumes and extents from going away.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::backend::ReadBuffer;
use super::buffer::BufferPool;
use super::catalog::Catalog;
use super::codec::Malformed;
use super::codec::record::{self, Header};
use super::engine::{Request, Shared};
use super::volume::{Volume, VolumeKind, Volumes};
use crate::error::{Error, Result};
use crate::index::{EntryKey, ObjectRow};
use crate::key::KeyHash;
use crate::limits::{BLOCK_BYTES, READ_TOGETHER_BYTES_MAX, READ_WINDOW_BYTES};
use crate::mutation::{Body, Extents, Location, Mutation};

/// What reading needs of a device.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) shared: Arc<Shared>,
    pub(crate) volumes: Arc<Volumes>,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) windows: Arc<BufferPool>,
}

/// Yields verified bytes of an object, in order.
#[derive(Debug)]
pub struct DataReader {
    access: Arc<Access>,
    /// Pieces still to be read.
    windows: VecDeque<Window>,
    /// CRC32 of each block, four bytes each.
    crcs: Bytes,
    /// Bytes that have been checked already.
    ready: Option<Bytes>,
    ahead: Option<oneshot::Receiver<Result<(ReadBuffer, usize)>>>,
    pins: Vec<(Arc<Volume>, u64)>,
    /// Told where it proves damaged.
    object: Option<KeyHash>,
    /// What extents belong to: they may have been freed before they were pinned.
    version: Option<(KeyHash, ObjectRow)>,
}

/// Whole blocks that lie together in one volume.
#[derive(Debug, Clone)]
struct Window {
    volume: Arc<Volume>,
    offset: u64,
    length: usize,
    /// Number of its first block.
    block: usize,
    /// The part of it that was asked for.
    wanted: Range<usize>,
}

impl Access {
    /// Reads `length` bytes: from the page cache at once, or through the device's thread.
    pub(crate) async fn read(&self, volume: &Arc<Volume>, offset: u64, length: usize) -> Result<ReadBuffer> {
        let mut buffer = self.buffer(length);
        match volume.file.read_cached(buffer.as_mut(), offset) {
            Ok(()) => {
                self.shared.counters.reads_cached.add(1);
                Ok(buffer)
            }
            // Anything but bytes at hand is the thread's business, which also gives the real error.
            Err(_) => self.read_disk(volume, offset, buffer).await,
        }
    }

    fn buffer(&self, length: usize) -> ReadBuffer {
        if length as u64 > READ_WINDOW_BYTES || length as u64 <= BLOCK_BYTES {
            ReadBuffer::Small(vec![0; length])
        } else {
            ReadBuffer::Window(self.windows.take(), length)
        }
    }

    async fn read_disk(&self, volume: &Arc<Volume>, offset: u64, buffer: ReadBuffer) -> Result<ReadBuffer> {
        self.shared.counters.reads_disk.add(1);
        let volume_asked = Arc::clone(volume);
        let ask = |done| Request::Read { volume: volume_asked, offset, buffer, done };
        let (buffer, count) = self.shared.ask(ask).await?;
        full(buffer, count, volume, offset)
    }

    /// Begins to read. A row that is outdated is looked up again, as often as compaction may overtake.
    pub(crate) async fn open(
        self: &Arc<Self>,
        hash: Option<KeyHash>,
        row: &ObjectRow,
        range: Range<u64>,
    ) -> Result<DataReader> {
        let mut location = row.location;
        loop {
            let error = match self.open_at(hash, row, location, range.clone()).await {
                Err(error @ (Error::Corrupt { .. } | Error::Missing(_))) => error,
                other => return other,
            };
            match self.present(hash, row)? {
                Some(now) if now != location => location = now,
                _ => return Err(self.report(hash, error)),
            }
        }
    }

    /// Where the index has the version of `row` now; `None` where it can't tell. Fails with
    /// [`Error::Missing`] where it has another version, or none.
    fn present(&self, hash: Option<KeyHash>, row: &ObjectRow) -> Result<Option<Location>> {
        let Some(hash) = hash else { return Ok(None) };
        match self.catalog.object(hash)? {
            Some(now) if now.info.timestamp == row.info.timestamp => Ok(Some(now.location)),
            _ => Err(Error::Missing("this version of the object")),
        }
    }

    /// Counts and logs what is about to be answered instead of data.
    fn report(&self, object: Option<KeyHash>, error: Error) -> Error {
        self.shared.counters.corrupt_reads.add(1);
        object.into_iter().for_each(|hash| self.shared.is_damaged(EntryKey { hash, name: None }));
        tracing::error!(%error, "stored bytes are damaged or missing, and not served");
        error
    }

    async fn open_at(
        self: &Arc<Self>,
        hash: Option<KeyHash>,
        row: &ObjectRow,
        location: Location,
        range: Range<u64>,
    ) -> Result<DataReader> {
        let volume = self.volumes.get(VolumeKind::Log, location.volume).ok_or(Error::Missing("log volume"))?;
        let range = range.start.min(row.info.stored_size)..range.end.min(row.info.stored_size);
        let mut reader = DataReader::new(Arc::clone(self), hash);
        if range.is_empty() {
            return Ok(reader);
        }
        let data_length = u64::from(location.length.saturating_sub(location.data_start));
        let together = data_length > 0 && data_length <= READ_TOGETHER_BYTES_MAX && range.start < BLOCK_BYTES;
        // Head and data up to the end of the last block that is wanted.
        let data_end = range.end.next_multiple_of(BLOCK_BYTES).min(data_length);
        let length = u64::from(location.data_start) + if together { data_end } else { 0 };
        let bytes = Bytes::from(self.read(&volume, location.offset, length as usize).await?);
        let damaged = |damage: Malformed| damage.at(&volume.path, location.offset);
        let header = check_place(&bytes, hash, row, location).map_err(damaged)?;
        if row.in_extents {
            let extents = extents(&bytes, row).map_err(damaged)?;
            reader.read_extents(&extents, &range)?;
            reader.version = hash.map(|hash| (hash, row.clone()));
            return Ok(reader);
        }
        if data_length != row.info.stored_size {
            return Err(damaged(Malformed::mismatch("object size", row.info.stored_size, data_length)));
        }
        let data_start = u64::from(location.data_start);
        reader.crcs = bytes.slice_ref(record::block_crcs(&bytes, &header));
        if together {
            let data = bytes.slice(data_start as usize..);
            record::check_blocks(&reader.crcs, 0, &data).map_err(damaged)?;
            reader.ready = Some(data.slice(range.start as usize..range.end as usize));
        } else {
            reader.add_windows(&volume, location.offset + data_start, 0, data_length, &range);
        }
        Ok(reader)
    }
}

fn full(buffer: ReadBuffer, count: usize, volume: &Volume, offset: u64) -> Result<ReadBuffer> {
    let wanted = buffer.as_ref().len();
    if count == wanted {
        return Ok(buffer);
    }
    Err(Malformed::mismatch("end of the volume", wanted as u64, count as u64).at(&volume.path, offset))
}

/// Checks that the head at a location is the one that the row means.
fn check_place(bytes: &[u8], hash: Option<KeyHash>, row: &ObjectRow, location: Location) -> Result<Header, Malformed> {
    let header = record::check_head(bytes)?;
    let same_length = (header.length, header.data_start) == (location.length, location.data_start);
    if !same_length {
        return Err(Malformed::mismatch("record length", location.length, header.length));
    }
    if header.timestamp != row.info.timestamp {
        return Err(Malformed::mismatch("record version", row.info.timestamp.to_bits(), header.timestamp.to_bits()));
    }
    if hash.is_some_and(|hash| hash != header.hash) {
        return Err(Malformed::plain("record key"));
    }
    Ok(header)
}

fn extents(bytes: &[u8], row: &ObjectRow) -> Result<Extents, Malformed> {
    match record::decode(bytes)?.mutation {
        Mutation::ObjectPut(put) => match put.body {
            Body::Extents(extents) if extents.length == row.info.stored_size => Ok(extents),
            other => Err(Malformed::mismatch("object size", row.info.stored_size, other.len())),
        },
        _ => Err(Malformed::plain("record kind")),
    }
}

impl DataReader {
    fn new(access: Arc<Access>, object: Option<KeyHash>) -> Self {
        let (windows, pins) = (VecDeque::new(), Vec::new());
        Self { access, windows, crcs: Bytes::new(), ready: None, ahead: None, pins, object, version: None }
    }

    fn read_extents(&mut self, extents: &Extents, range: &Range<u64>) -> Result<()> {
        self.crcs = extents.block_crcs.iter().flat_map(|crc| crc.to_le_bytes()).collect::<Vec<u8>>().into();
        let mut start = 0;
        for piece in &extents.pieces {
            let missing = || Error::Missing("data volume");
            let end = start + piece.length;
            if start < range.end && range.start < end {
                let volume = self.access.volumes.get(VolumeKind::Data, piece.volume).ok_or_else(missing)?;
                volume.pin(*piece);
                self.pins.push((Arc::clone(&volume), piece.offset));
                self.add_windows(&volume, piece.offset, start, piece.length, range);
            }
            start = end;
        }
        Ok(())
    }

    /// Cuts the part of `range` that lies in a run of `length` bytes, which holds the object's bytes
    /// from `start` on, into windows.
    fn add_windows(&mut self, volume: &Arc<Volume>, offset: u64, start: u64, length: u64, range: &Range<u64>) {
        let wanted = range.start.max(start) - start..range.end.min(start + length) - start;
        let mut window = wanted.start - wanted.start % BLOCK_BYTES;
        while window < wanted.end {
            let end = (window + READ_WINDOW_BYTES).min(wanted.end.next_multiple_of(BLOCK_BYTES)).min(length);
            let part = wanted.start.max(window) - window..wanted.end.min(end) - window;
            self.windows.push_back(Window {
                volume: Arc::clone(volume),
                offset: offset + window,
                length: (end - window) as usize,
                block: ((start + window) / BLOCK_BYTES) as usize,
                wanted: part.start as usize..part.end as usize,
            });
            window = end;
        }
    }

    /// As [`DataReader::next`], for a client.
    pub(crate) async fn serve(&mut self) -> Result<Option<Bytes>> {
        let shared = Arc::clone(&self.access);
        let _in_flight = shared.shared.precedence.enter();
        self.next().await
    }

    /// The next bytes, `None` at the end. Every byte has passed its block's CRC32. Dropped half-way,
    /// the bytes it waited for are lost to this reader.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(ready) = self.ready.take() {
            self.access.shared.counters.bytes_read.add(ready.len() as u64);
            return Ok(Some(ready));
        }
        let Some(window) = self.windows.pop_front() else { return Ok(None) };
        let buffer = match self.ahead.take() {
            Some(ahead) => {
                let (buffer, count) = ahead.await.unwrap_or(Err(Error::Stopped))?;
                let buffer = full(buffer, count, &window.volume, window.offset)?;
                self.read_ahead()?;
                buffer
            }
            None => self.read_window(&window).await?,
        };
        if let Err(damage) = record::check_blocks(&self.crcs, window.block, buffer.as_ref()) {
            self.windows.clear();
            if let Some((hash, row)) = &self.version {
                self.access.present(Some(*hash), row)?;
            }
            return Err(self.access.report(self.object, damage.at(&window.volume.path, window.offset)));
        }
        let bytes = Bytes::from(buffer).slice(window.wanted);
        self.access.shared.counters.bytes_read.add(bytes.len() as u64);
        Ok(Some(bytes))
    }

    /// Reads a window, and where the disk had to be asked for it, has the next one read too.
    async fn read_window(&mut self, window: &Window) -> Result<ReadBuffer> {
        let access = Arc::clone(&self.access);
        let mut buffer = access.buffer(window.length);
        if window.volume.file.read_cached(buffer.as_mut(), window.offset).is_ok() {
            access.shared.counters.reads_cached.add(1);
            return Ok(buffer);
        }
        self.read_ahead()?;
        access.read_disk(&window.volume, window.offset, buffer).await
    }

    fn read_ahead(&mut self) -> Result<()> {
        let Some(next) = self.windows.front() else { return Ok(()) };
        let (done, answer) = oneshot::channel();
        let (volume, offset, buffer) = (Arc::clone(&next.volume), next.offset, self.access.buffer(next.length));
        self.access.shared.counters.reads_disk.add(1);
        self.access.shared.push(Request::Read { volume, offset, buffer, done })?;
        self.ahead = Some(answer);
        Ok(())
    }
}

impl Drop for DataReader {
    fn drop(&mut self) {
        let freed = self.pins.drain(..).flat_map(|(volume, offset)| volume.unpin(offset)).collect();
        self.access.shared.free(freed);
    }
}
