//! One batch: what one write and one fdatasync make durable. A header with the length of every record
//! fits its first 4 KiB, so that a damaged record never hides the ones behind it; the records follow,
//! each at a multiple of eight bytes; zeros fill the rest to a multiple of [`ALIGNMENT`].
//!
//! The header names the device, volume and offset it was written for: a batch that a torn write, a
//! misplaced file or an object's content puts elsewhere is not taken for one.

use super::Malformed;
use super::record::HEADER_BYTES as RECORD_HEADER_BYTES;
use crate::limits::{ALIGNMENT, BATCH_BYTES_MAX};

/// `ANBT`.
const MAGIC: u32 = u32::from_le_bytes(*b"ANBT");
const VERSION: u16 = 1;

const OFFSET_VERSION: usize = 4;
const OFFSET_RESERVED: usize = 6;
const OFFSET_SEQUENCE: usize = 8;
const OFFSET_LENGTH: usize = 16;
const OFFSET_USED: usize = 20;
const OFFSET_COUNT: usize = 24;
const OFFSET_VOLUME: usize = 28;
const OFFSET_TAG: usize = 32;
const OFFSET_PLACE: usize = 40;
const OFFSET_ZEROS: usize = 48;
const OFFSET_CRC: usize = 60;

/// Bytes of the fixed header; the table of record lengths follows it.
pub(crate) const HEADER_BYTES: usize = 64;

/// Records of one batch: as many as let header and table fit the first block.
pub(crate) const BATCH_RECORDS_MAX: usize = (ALIGNMENT as usize - HEADER_BYTES) / 4;

/// Records stand at multiples of this.
pub(crate) const RECORD_ALIGNMENT: usize = 8;

const _: () = assert!(OFFSET_CRC + 4 == HEADER_BYTES && OFFSET_PLACE + 8 == OFFSET_ZEROS);
const _: () = assert!(HEADER_BYTES.is_multiple_of(RECORD_ALIGNMENT) && BATCH_BYTES_MAX.is_multiple_of(ALIGNMENT));

/// What a batch's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Numbers batches from one on, without a gap within a volume.
    pub(crate) sequence: u64,
    /// Bytes of the batch, a multiple of [`ALIGNMENT`].
    pub(crate) length: u32,
    /// Bytes until the end of the last record.
    pub(crate) used: u32,
    /// Records in it.
    pub(crate) count: u32,
    /// Log volume it stands in.
    pub(crate) volume: u32,
    /// The device's tag, from its id.
    pub(crate) tag: [u8; 8],
    /// Where in the volume it stands.
    pub(crate) offset: u64,
}

/// Where a batch's records will stand.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    lengths: Vec<u32>,
    /// Sum of the records' lengths, each rounded up.
    records_bytes: usize,
}

impl Plan {
    /// Takes one more record of `length` bytes, if it still fits.
    pub(crate) fn add(&mut self, length: usize) -> bool {
        let records_bytes = self.records_bytes + length.next_multiple_of(RECORD_ALIGNMENT);
        let total = (records_start(self.lengths.len() + 1) + records_bytes) as u64;
        if self.lengths.len() == BATCH_RECORDS_MAX || total > BATCH_BYTES_MAX {
            return false;
        }
        self.lengths.push(length as u32);
        self.records_bytes = records_bytes;
        true
    }

    /// Bytes of the whole batch.
    pub(crate) fn length(&self) -> usize {
        (records_start(self.lengths.len()) + self.records_bytes).next_multiple_of(ALIGNMENT as usize)
    }

    /// Offsets of the records in the batch.
    pub(crate) fn offsets(&self) -> impl Iterator<Item = usize> + '_ {
        offsets(&self.lengths)
    }

    /// Writes header and table at the front of `batch`, which is as long as the whole batch.
    pub(crate) fn seal(&self, batch: &mut [u8], sequence: u64, tag: [u8; 8], volume: u32, offset: u64) {
        let used = (records_start(self.lengths.len()) + self.records_bytes) as u32;
        let (count, length) = (self.lengths.len() as u32, batch.len() as u32);
        let header = Header { sequence, length, used, count, volume, tag, offset };
        batch[..HEADER_BYTES].copy_from_slice(&encode(&header));
        let table_end = HEADER_BYTES + 4 * self.lengths.len();
        for (slot, length) in batch[HEADER_BYTES..table_end].chunks_exact_mut(4).zip(&self.lengths) {
            slot.copy_from_slice(&length.to_le_bytes());
        }
        batch[table_end..records_start(self.lengths.len())].fill(0);
        put_crc(batch, self.lengths.len());
    }
}

/// Where the first of `count` records stands.
fn records_start(count: usize) -> usize {
    (HEADER_BYTES + 4 * count).next_multiple_of(RECORD_ALIGNMENT)
}

/// Where records of these lengths stand in their batch.
pub(crate) fn offsets(lengths: &[u32]) -> impl Iterator<Item = usize> + '_ {
    let mut next = records_start(lengths.len());
    lengths.iter().map(move |length| {
        let offset = next;
        next += (*length as usize).next_multiple_of(RECORD_ALIGNMENT);
        offset
    })
}

fn encode(header: &Header) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
    bytes[OFFSET_VERSION..OFFSET_RESERVED].copy_from_slice(&VERSION.to_le_bytes());
    bytes[OFFSET_SEQUENCE..OFFSET_LENGTH].copy_from_slice(&header.sequence.to_le_bytes());
    bytes[OFFSET_LENGTH..OFFSET_USED].copy_from_slice(&header.length.to_le_bytes());
    bytes[OFFSET_USED..OFFSET_COUNT].copy_from_slice(&header.used.to_le_bytes());
    bytes[OFFSET_COUNT..OFFSET_VOLUME].copy_from_slice(&header.count.to_le_bytes());
    bytes[OFFSET_VOLUME..OFFSET_TAG].copy_from_slice(&header.volume.to_le_bytes());
    bytes[OFFSET_TAG..OFFSET_PLACE].copy_from_slice(&header.tag);
    bytes[OFFSET_PLACE..OFFSET_ZEROS].copy_from_slice(&header.offset.to_le_bytes());
    bytes
}

fn header_crc(batch: &[u8], table_end: usize) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&batch[..OFFSET_CRC]);
    crc.update(&batch[HEADER_BYTES..table_end]);
    crc.finalize()
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(field)
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(field)
}

/// Writes the CRC32 of header and table into the header of a batch of `count` records.
pub(crate) fn put_crc(batch: &mut [u8], count: usize) {
    let crc = header_crc(batch, HEADER_BYTES + 4 * count);
    batch[OFFSET_CRC..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
}

/// Reads a batch's header and the lengths of its records from its first block, and checks that it
/// was written for this place.
pub(crate) fn decode(block: &[u8], tag: [u8; 8], volume: u32, offset: u64) -> Result<(Header, Vec<u32>), Malformed> {
    if block.len() < ALIGNMENT as usize {
        return Err(Malformed::mismatch("batch header", ALIGNMENT, block.len() as u64));
    }
    let magic = u32_at(block, 0);
    if magic != MAGIC {
        return Err(Malformed::mismatch("batch magic", MAGIC, magic));
    }
    let count = u32_at(block, OFFSET_COUNT);
    if count == 0 || count as usize > BATCH_RECORDS_MAX {
        return Err(Malformed::mismatch("batch record count", BATCH_RECORDS_MAX as u64, count));
    }
    let table_end = HEADER_BYTES + 4 * count as usize;
    let (stored, computed) = (u32_at(block, OFFSET_CRC), header_crc(block, table_end));
    if stored != computed {
        return Err(Malformed::mismatch("batch header", stored, computed));
    }
    let version = u16::from_le_bytes([block[OFFSET_VERSION], block[OFFSET_VERSION + 1]]);
    if version != VERSION {
        return Err(Malformed::mismatch("batch version", VERSION, version));
    }
    let reserved = [&block[OFFSET_RESERVED..OFFSET_SEQUENCE], &block[OFFSET_ZEROS..OFFSET_CRC]];
    if reserved.iter().any(|bytes| bytes.iter().any(|byte| *byte != 0)) {
        return Err(Malformed::plain("batch header's reserved bytes"));
    }
    let header = Header {
        sequence: u64_at(block, OFFSET_SEQUENCE),
        length: u32_at(block, OFFSET_LENGTH),
        used: u32_at(block, OFFSET_USED),
        count,
        volume: u32_at(block, OFFSET_VOLUME),
        tag: block[OFFSET_TAG..OFFSET_PLACE].try_into().unwrap_or_default(),
        offset: u64_at(block, OFFSET_PLACE),
    };
    check_place(&header, tag, volume, offset)?;
    let lengths: Vec<u32> = (0..count as usize).map(|index| u32_at(block, HEADER_BYTES + 4 * index)).collect();
    check_lengths(&header, &lengths)?;
    Ok((header, lengths))
}

fn check_place(header: &Header, tag: [u8; 8], volume: u32, offset: u64) -> Result<(), Malformed> {
    if header.tag != tag {
        let (expected, found) = (u64::from_le_bytes(tag), u64::from_le_bytes(header.tag));
        return Err(Malformed::mismatch("batch's device", expected, found));
    }
    if header.volume != volume {
        return Err(Malformed::mismatch("batch's volume", volume, header.volume));
    }
    if header.offset != offset {
        return Err(Malformed::mismatch("batch's offset", offset, header.offset));
    }
    Ok(())
}

fn check_lengths(header: &Header, lengths: &[u32]) -> Result<(), Malformed> {
    let aligned = |length: &u32| u64::from(*length).next_multiple_of(RECORD_ALIGNMENT as u64);
    let used = records_start(lengths.len()) as u64 + lengths.iter().map(aligned).sum::<u64>();
    let too_short = lengths.iter().any(|length| (*length as usize) < RECORD_HEADER_BYTES);
    let length = u64::from(header.length);
    if too_short || used != u64::from(header.used) || length != used.next_multiple_of(ALIGNMENT) {
        return Err(Malformed::mismatch("batch length", used, header.used));
    }
    if length > BATCH_BYTES_MAX {
        return Err(Malformed::mismatch("batch length", BATCH_BYTES_MAX, length));
    }
    Ok(())
}
