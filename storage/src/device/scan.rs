//! Walks the batches of a log volume in order. Damage is told from the end of the log: a batch is
//! written only after the one before it was synced, so where a sound batch follows, everything before
//! it had been whole once.

use std::sync::Arc;

use bytes::Bytes;

use super::codec::batch::{self, Header};
use super::volume::Volume;
use crate::error::Result;
use crate::limits::{ALIGNMENT, BATCH_BYTES_MAX};

/// Bytes read at once.
const SCAN_BYTES: usize = BATCH_BYTES_MAX as usize;

const ZEROS: [u8; ALIGNMENT as usize] = [0; ALIGNMENT as usize];

/// Stands for each byte that the disk could not read.
const UNREADABLE: u8 = 0xff;

/// What stands next in the log.
#[derive(Debug)]
pub(crate) enum Found {
    /// A batch whose header is sound; its records are not checked.
    Batch(Batch),
    /// Bytes where a batch should be, and a later one behind them.
    Damage {
        /// Where they begin.
        offset: u64,
        /// Where the next sound batch begins.
        end: u64,
    },
    /// Nothing more. `torn` tells that something stands there which is not a batch.
    End {
        /// Where the next batch would be.
        offset: u64,
        /// Bytes that are not zero follow.
        torn: bool,
    },
}

/// A batch as it stands in the volume.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// Its header.
    pub(crate) header: Header,
    /// Offset of each record in the batch.
    pub(crate) offsets: Vec<usize>,
    /// Length of each record.
    pub(crate) lengths: Vec<u32>,
    /// All its bytes. Shorter than the header says where the file ends early.
    pub(crate) bytes: Bytes,
    /// The volume.
    pub(crate) volume: Arc<Volume>,
}

impl Batch {
    /// Where the batch ends in the volume.
    pub(crate) fn end(&self) -> u64 {
        self.header.offset + u64::from(self.header.length)
    }

    /// Each record's offset in the volume and its bytes, which may be cut short by the file's end.
    pub(crate) fn records(&self) -> impl Iterator<Item = (u64, Bytes)> + '_ {
        self.offsets.iter().zip(&self.lengths).map(|(start, length)| {
            let end = (start + *length as usize).min(self.bytes.len());
            let bytes = self.bytes.slice((*start).min(end)..end);
            (self.header.offset + *start as u64, bytes)
        })
    }
}

/// Walks one volume.
#[derive(Debug)]
pub(crate) struct Scanner {
    volume: Arc<Volume>,
    tag: [u8; 8],
    offset: u64,
    size: u64,
    window: Bytes,
    window_start: u64,
}

impl Scanner {
    /// Begins at `offset`, where a batch begins or the log ends.
    pub(crate) fn new(volume: Arc<Volume>, tag: [u8; 8], offset: u64) -> Result<Self> {
        let size = volume.file.size().map_err(|error| volume.error("stat", &error))?;
        Ok(Self { volume, tag, offset, size, window: Bytes::new(), window_start: 0 })
    }

    /// The next thing in the volume. After [`Found::End`] it is found again.
    pub(crate) fn next(&mut self) -> Found {
        let offset = self.offset;
        if let Some(found) = self.batch_at(offset) {
            self.offset = found.end();
            return Found::Batch(found);
        }
        // A batch that was written behind a damaged one stands within the longest batch's length.
        let mut torn = false;
        let last = offset.saturating_add(BATCH_BYTES_MAX).min(self.size.saturating_sub(1));
        for candidate in (offset..=last).step_by(ALIGNMENT as usize) {
            let block = self.bytes(candidate, ALIGNMENT as usize);
            torn = torn || block != ZEROS[..block.len()];
            if candidate > offset && torn && self.batch_at(candidate).is_some() {
                self.offset = candidate;
                return Found::Damage { offset, end: candidate };
            }
        }
        Found::End { offset, torn }
    }

    fn batch_at(&mut self, offset: u64) -> Option<Batch> {
        let block = self.bytes(offset, ALIGNMENT as usize);
        let (header, lengths) = batch::decode(&block, self.tag, self.volume.id, offset).ok()?;
        let offsets = batch::offsets(&lengths).collect();
        let bytes = self.bytes(offset, header.length as usize);
        Some(Batch { header, offsets, lengths, bytes, volume: Arc::clone(&self.volume) })
    }

    /// Fills the window. What the disk can't read stands for itself as bytes that are no batch, so that
    /// what follows it is still found.
    fn read(&self, offset: u64, length: usize) -> Bytes {
        let rest = self.size.saturating_sub(offset).min(SCAN_BYTES as u64) as usize;
        let read = self.volume.read(offset, rest.max(length)).or_else(|_| self.volume.read(offset, length));
        read.map_or_else(
            |error| {
                tracing::error!(%error, offset, "a part of the log can't be read");
                Bytes::from(vec![UNREADABLE; length])
            },
            Bytes::from,
        )
    }

    /// Up to `length` bytes at `offset`; fewer at the end of the volume.
    fn bytes(&mut self, offset: u64, length: usize) -> Bytes {
        let window_end = self.window_start + self.window.len() as u64;
        let end = (offset + length as u64).min(self.size);
        if offset < self.window_start || end > window_end {
            self.window = self.read(offset, length);
            self.window_start = offset;
        }
        let start = ((offset - self.window_start) as usize).min(self.window.len());
        self.window.slice(start..(start + length).min(self.window.len()))
    }
}
