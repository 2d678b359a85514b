//! Large objects on their way in: [`DataSpace`] hands out places in data volumes, and an
//! [`ExtentWriter`] streams an object into them.
//!
//! Places are handed out from the front to the back of a volume and never twice, so that a late write
//! of an abandoned upload can't hit anything that lives.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::buffer::{AlignedBuffer, BufferPool};
use super::engine::{Request, Shared};
use super::volume::{Volume, VolumeKind, Volumes};
use crate::error::{Error, Result};
use crate::limits::{
    ALIGNMENT, BLOCK_BYTES, EXTENT_BUFFERS_IDLE_MAX, EXTENT_RESERVE_BYTES, EXTENT_WRITE_BYTES, SPACE_RESERVE_BYTES,
};
use crate::mutation::{Extent, Extents};

/// Writes of one upload that are on their way while the next buffer is being filled.
const WRITES_IN_FLIGHT: usize = 1;

/// What gathers before it is taken into the checksums: BLAKE3 is fast over long aligned runs only, and this
/// much is still in a core's own cache.
const DIGEST_BYTES: usize = 4 * BLOCK_BYTES as usize;

/// Where the next large object goes.
#[derive(Debug)]
pub(crate) struct DataSpace {
    volumes: Arc<Volumes>,
    volume_bytes: u64,
    cursor: Mutex<Cursor>,
    buffers: Arc<BufferPool>,
}

#[derive(Debug)]
struct Cursor {
    volume: Option<Arc<Volume>>,
    last_id: u32,
    offset: u64,
}

/// A part of a data volume that belongs to one writer.
#[derive(Debug)]
struct Reservation {
    volume: Arc<Volume>,
    offset: u64,
    end: u64,
}

impl DataSpace {
    /// Goes on at `offset` of `volume`, the last one, if there is any; `last_id` is its number.
    pub(crate) fn new(volumes: Arc<Volumes>, volume_bytes: u64, volume: Option<Arc<Volume>>, offset: u64) -> Self {
        let last_id = volume.as_ref().map_or(0, |volume| volume.id);
        Self {
            volumes,
            volume_bytes,
            cursor: Mutex::new(Cursor { volume, last_id, offset }),
            buffers: BufferPool::new(EXTENT_WRITE_BYTES as usize, EXTENT_BUFFERS_IDLE_MAX),
        }
    }

    /// Whether writes still go to data volume `id`.
    pub(crate) fn is_current(&self, id: u32) -> bool {
        let cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        cursor.volume.as_ref().is_some_and(|volume| volume.id == id)
    }

    /// The end of what was handed out in data volume `id`: nothing before it will be written by a new
    /// writer.
    pub(crate) fn handed_out(&self, id: u32) -> u64 {
        let cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        match &cursor.volume {
            Some(volume) if volume.id == id => cursor.offset,
            _ => self.volume_bytes,
        }
    }

    fn reserve(&self, shared: &Shared, length: u64) -> Result<Reservation> {
        let (free, _) = self.volumes.disk.space().map_err(|error| Error::io("stat", &shared.path, &error))?;
        if free < length + SPACE_RESERVE_BYTES.min(self.volume_bytes) {
            return Err(shared.full());
        }
        let mut cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        let volume = match &cursor.volume {
            Some(volume) if cursor.offset + length <= self.volume_bytes => Arc::clone(volume),
            _ => {
                let id = cursor.last_id + 1;
                let created = self.volumes.create(VolumeKind::Data, id, self.volume_bytes);
                let volume = created.map_err(|error| shared.write_failed(&error))?;
                *cursor = Cursor { volume: Some(Arc::clone(&volume)), last_id: id, offset: 0 };
                volume
            }
        };
        let offset = cursor.offset;
        cursor.offset += length;
        volume.enter();
        Ok(Reservation { volume, offset, end: offset + length })
    }

    /// Gives back the end of a reservation that was not written. Returns it where it can't be used
    /// again and is to be freed.
    fn give_back(&self, reservation: &Reservation) -> Option<Extent> {
        reservation.volume.leave();
        let (offset, end, volume) = (reservation.offset, reservation.end, reservation.volume.id);
        if offset == end {
            return None;
        }
        let mut cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        if cursor.offset == end && cursor.volume.as_ref().is_some_and(|current| current.id == volume) {
            cursor.offset = offset;
            return None;
        }
        Some(Extent { volume, offset, length: end - offset })
    }
}

/// Streams a large object's data into a data volume. Dropped before [`ExtentWriter::finish`], its space
/// is freed.
#[derive(Debug)]
pub struct ExtentWriter {
    shared: Arc<Shared>,
    space: Arc<DataSpace>,
    /// Bytes still to come, where that is known.
    expected: Option<u64>,
    buffer: Option<AlignedBuffer>,
    filled: usize,
    /// How much of `buffer` the checksums cover; whole blocks until the end.
    digested: usize,
    in_flight: VecDeque<oneshot::Receiver<Result<AlignedBuffer>>>,
    reservation: Option<Reservation>,
    extents: Extents,
    content: blake3::Hasher,
}

impl ExtentWriter {
    pub(crate) fn new(shared: Arc<Shared>, space: Arc<DataSpace>, size_hint: Option<u64>) -> Self {
        Self {
            shared,
            space,
            expected: size_hint,
            buffer: None,
            filled: 0,
            digested: 0,
            in_flight: VecDeque::new(),
            reservation: None,
            extents: Extents::default(),
            content: blake3::Hasher::new(),
        }
    }

    /// Takes the next bytes; waits while too many writes are in flight. Dropped half-way, the object
    /// may miss a part: only dropping the writer may follow.
    pub async fn write(&mut self, data: Bytes) -> Result<()> {
        let mut rest = &data[..];
        while !rest.is_empty() {
            let buffer = self.buffer.get_or_insert_with(|| self.space.buffers.take());
            let (now, later) = rest.split_at(rest.len().min(buffer.len() - self.filled));
            buffer[self.filled..self.filled + now.len()].copy_from_slice(now);
            self.filled += now.len();
            let full = self.filled == buffer.len();
            if self.filled - self.digested >= DIGEST_BYTES || full {
                self.digest(self.filled - self.filled % BLOCK_BYTES as usize);
            }
            rest = later;
            if full {
                self.write_buffer(false).await?;
            }
        }
        Ok(())
    }

    /// Waits until everything is written (not synced: the record that names the extents does that).
    pub async fn finish(mut self) -> Result<Extents> {
        if self.filled > 0 {
            self.digest(self.filled);
            self.write_buffer(true).await?;
        }
        while let Some(write) = self.in_flight.pop_front() {
            write.await.unwrap_or(Err(Error::Stopped))?;
        }
        self.give_back_rest();
        self.extents.blake3 = *self.content.finalize().as_bytes();
        // What is taken out here is not freed when `self` is dropped.
        Ok(std::mem::take(&mut self.extents))
    }

    /// Takes the buffer's bytes up to `end` into the checksums.
    fn digest(&mut self, end: usize) {
        let Some(buffer) = &self.buffer else { return };
        let data = &buffer[self.digested..end];
        self.content.update(data);
        self.extents.block_crcs.extend(data.chunks(BLOCK_BYTES as usize).map(crc32fast::hash));
        self.digested = end;
    }

    /// Sends the buffer off. Only the last one may be partly filled.
    async fn write_buffer(&mut self, last: bool) -> Result<()> {
        let length = self.filled.next_multiple_of(ALIGNMENT as usize);
        self.make_room(length as u64, last).await?;
        while self.in_flight.len() >= WRITES_IN_FLIGHT {
            let Some(write) = self.in_flight.front_mut() else { break };
            write.await.unwrap_or(Err(Error::Stopped))?;
            self.in_flight.pop_front();
        }
        let Some(mut buffer) = self.buffer.take() else { return Ok(()) };
        let Some(reservation) = &mut self.reservation else { return Ok(()) };
        buffer[self.filled..length].fill(0);
        let (volume, offset) = (Arc::clone(&reservation.volume), reservation.offset);
        reservation.offset += length as u64;
        self.name_piece(volume.id, offset, self.filled as u64);
        (self.filled, self.digested) = (0, 0);
        let (done, answer) = oneshot::channel();
        self.shared.push(Request::Write { volume, offset, buffer, length, done })?;
        self.in_flight.push_back(answer);
        Ok(())
    }

    fn name_piece(&mut self, volume: u32, offset: u64, length: u64) {
        self.extents.length += length;
        self.expected = self.expected.map(|expected| expected.saturating_sub(length));
        match self.extents.pieces.last_mut() {
            Some(piece) if piece.volume == volume && piece.offset + piece.length == offset => piece.length += length,
            _ => self.extents.pieces.push(Extent { volume, offset, length }),
        }
    }

    /// Reserves space for `length` bytes more, and for what is expected behind them.
    async fn make_room(&mut self, length: u64, last: bool) -> Result<()> {
        if self.reservation.as_ref().is_some_and(|have| have.end - have.offset >= length) {
            return Ok(());
        }
        self.shared.admit(&*self.space.volumes.disk, false)?;
        self.give_back_rest();
        let wanted = match self.expected {
            _ if last => length,
            Some(expected) => expected.next_multiple_of(ALIGNMENT).clamp(length, EXTENT_RESERVE_BYTES),
            None => EXTENT_RESERVE_BYTES,
        };
        let reservation = self.space.reserve(&self.shared, wanted)?;
        let (volume, offset) = (Arc::clone(&reservation.volume), reservation.offset);
        // Kept before the wait, so that it is given back if this future is dropped.
        self.reservation = Some(reservation);
        self.shared.ask(|done| Request::Allocate { volume, offset, length: wanted, done }).await
    }

    fn give_back_rest(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            self.shared.free(self.space.give_back(&reservation).into_iter().collect());
        }
    }
}

impl Drop for ExtentWriter {
    fn drop(&mut self) {
        self.give_back_rest();
        self.shared.free(std::mem::take(&mut self.extents.pieces));
    }
}
