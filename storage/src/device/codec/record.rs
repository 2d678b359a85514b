//! One record: a fixed header, the fields of its mutation, the checksums of its inline data, and the
//! data. Nothing in it depends on where it stands, so it is encoded by whoever brings it and the
//! device's thread only copies it.
//!
//! The header's CRC32 covers the whole head (all but the data); each 64 KiB block of data has its own
//! CRC32 at the end of the head, where a reader finds it without decoding the fields.

use anello_base::Timestamp;
use bytes::Bytes;

use super::Malformed;
use super::fields;
use super::wire::time_from;
use crate::error::{Error, Result};
use crate::key::KeyHash;
use crate::limits::{BLOCK_BYTES, INLINE_BYTES_MAX, RECORD_HEAD_BYTES_MAX};
use crate::mutation::{Applies, Body, Location, Mutation};

/// `ANRC`.
const MAGIC: u32 = u32::from_le_bytes(*b"ANRC");
const VERSION: u8 = 1;

const OFFSET_VERSION: usize = 4;
const OFFSET_KIND: usize = 5;
const OFFSET_FLAGS: usize = 6;
const OFFSET_RESERVED: usize = 7;
const OFFSET_LENGTH: usize = 8;
const OFFSET_DATA_START: usize = 12;
const OFFSET_TIMESTAMP: usize = 16;
const OFFSET_HASH: usize = 24;
const OFFSET_CRC: usize = 40;

/// Bytes of the fixed header.
pub(crate) const HEADER_BYTES: usize = 44;

/// BLAKE3 of inline data is kept to this many bytes: enough against any accident and still far from
/// forging, and half of what a small record would otherwise spend on it.
pub(crate) const INLINE_HASH_BYTES: usize = 16;

/// The largest record.
pub(crate) const RECORD_BYTES_MAX: u64 = RECORD_HEAD_BYTES_MAX + INLINE_BYTES_MAX;

const _: () = assert!(OFFSET_CRC + 4 == HEADER_BYTES && OFFSET_HASH + 16 == OFFSET_CRC);
const _: () = assert!(OFFSET_TIMESTAMP + 8 == OFFSET_HASH && OFFSET_DATA_START + 4 == OFFSET_TIMESTAMP);
const _: () = assert!(RECORD_BYTES_MAX <= u32::MAX as u64);

const FLAG_OBJECT: u8 = 1;
const FLAG_CONTAINER: u8 = 1 << 1;
const FLAG_ACCOUNT: u8 = 1 << 2;
const FLAGS_KNOWN: u8 = FLAG_OBJECT | FLAG_CONTAINER | FLAG_ACCOUNT;

/// A record ready to be copied into a batch.
#[derive(Debug, Clone)]
pub(crate) struct Encoded {
    /// Header, fields and checksums.
    pub(crate) head: Vec<u8>,
    /// Inline data.
    pub(crate) data: Bytes,
}

impl Encoded {
    /// Bytes of the whole record, without padding.
    pub(crate) fn length(&self) -> usize {
        self.head.len() + self.data.len()
    }

    /// Where it is, once it stands at `offset` of `volume`.
    pub(crate) fn location(&self, volume: u32, offset: u64) -> Location {
        Location { volume, offset, length: self.length() as u32, data_start: self.head.len() as u32 }
    }
}

/// The fixed header of a record whose head has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Which mutation.
    pub(crate) kind: u8,
    /// Which parts of it concern this device.
    pub(crate) applies: Applies,
    /// Bytes of the whole record, without padding.
    pub(crate) length: u32,
    /// Where the inline data begin; `length` where there are none.
    pub(crate) data_start: u32,
    /// The mutation's version.
    pub(crate) timestamp: Timestamp,
    /// Hash of what it is about: the object, else the container, else the account.
    pub(crate) hash: KeyHash,
}

impl Header {
    /// Bytes of inline data.
    pub(crate) fn data_length(&self) -> u64 {
        u64::from(self.length - self.data_start)
    }
}

/// Encodes `mutation`: all its checksums are computed here.
pub(crate) fn encode(mutation: &Mutation, applies: Applies) -> Result<Encoded> {
    let data = match mutation {
        Mutation::ObjectPut(put) => match &put.body {
            Body::Inline(data) => data.clone(),
            Body::Extents(_) | Body::Absent(_) => Bytes::new(),
        },
        _ => Bytes::new(),
    };
    if data.len() as u64 > INLINE_BYTES_MAX {
        return Err(Error::TooLarge { what: "inline data", found: data.len() as u64, limit: INLINE_BYTES_MAX });
    }
    let mut head = vec![0; HEADER_BYTES];
    fields::write(&mut head, mutation);
    if let Mutation::ObjectPut(put) = mutation
        && let Body::Inline(data) = &put.body
    {
        for block in data.chunks(BLOCK_BYTES as usize) {
            head.extend_from_slice(&crc32fast::hash(block).to_le_bytes());
        }
        head.extend_from_slice(&blake3::hash(data).as_bytes()[..INLINE_HASH_BYTES]);
    }
    if head.len() as u64 > RECORD_HEAD_BYTES_MAX {
        let (found, limit) = (head.len() as u64, RECORD_HEAD_BYTES_MAX);
        return Err(Error::TooLarge { what: "names and metadata", found, limit });
    }
    let length = (head.len() + data.len()) as u32;
    seal_head(&mut head, mutation, applies, length);
    Ok(Encoded { head, data })
}

fn seal_head(head: &mut [u8], mutation: &Mutation, applies: Applies, length: u32) {
    let data_start = head.len() as u32;
    head[..4].copy_from_slice(&MAGIC.to_le_bytes());
    head[OFFSET_VERSION] = VERSION;
    head[OFFSET_KIND] = fields::kind(mutation);
    head[OFFSET_FLAGS] = if applies.object { FLAG_OBJECT } else { 0 }
        | if applies.container { FLAG_CONTAINER } else { 0 }
        | if applies.account { FLAG_ACCOUNT } else { 0 };
    head[OFFSET_LENGTH..OFFSET_DATA_START].copy_from_slice(&length.to_le_bytes());
    head[OFFSET_DATA_START..OFFSET_TIMESTAMP].copy_from_slice(&data_start.to_le_bytes());
    head[OFFSET_TIMESTAMP..OFFSET_HASH].copy_from_slice(&fields::timestamp(mutation).to_bits().to_le_bytes());
    head[OFFSET_HASH..OFFSET_CRC].copy_from_slice(&fields::hash(mutation).0);
    put_crc(head);
}

/// Writes the CRC32 of the head into it.
pub(crate) fn put_crc(head: &mut [u8]) {
    let crc = head_crc(head);
    head[OFFSET_CRC..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
}

fn head_crc(head: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head[..OFFSET_CRC]);
    crc.update(&head[HEADER_BYTES..]);
    crc.finalize()
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(field)
}

/// Reads and checks the header of the record that begins `bytes`, with the CRC32 of its whole head.
/// `bytes` must hold at least the head; more is not looked at.
pub(crate) fn check_head(bytes: &[u8]) -> Result<Header, Malformed> {
    if bytes.len() < HEADER_BYTES {
        return Err(Malformed::mismatch("record header", HEADER_BYTES as u64, bytes.len() as u64));
    }
    let magic = u32_at(bytes, 0);
    if magic != MAGIC {
        return Err(Malformed::mismatch("record magic", MAGIC, magic));
    }
    let (length, data_start) = (u32_at(bytes, OFFSET_LENGTH), u32_at(bytes, OFFSET_DATA_START));
    let head_fits = (HEADER_BYTES..=bytes.len()).contains(&(data_start as usize))
        && u64::from(data_start) <= RECORD_HEAD_BYTES_MAX
        && (u64::from(data_start)..=u64::from(data_start) + INLINE_BYTES_MAX).contains(&u64::from(length));
    if !head_fits {
        return Err(Malformed::mismatch("record length", bytes.len() as u64, data_start));
    }
    let (stored, computed) = (u32_at(bytes, OFFSET_CRC), head_crc(&bytes[..data_start as usize]));
    if stored != computed {
        return Err(Malformed::mismatch("record head", stored, computed));
    }
    if bytes[OFFSET_VERSION] != VERSION {
        return Err(Malformed::mismatch("record version", VERSION, bytes[OFFSET_VERSION]));
    }
    let flags = bytes[OFFSET_FLAGS];
    if bytes[OFFSET_RESERVED] != 0 || flags & !FLAGS_KNOWN != 0 {
        return Err(Malformed::mismatch("record flags", FLAGS_KNOWN, flags));
    }
    let mut timestamp = [0; 8];
    timestamp.copy_from_slice(&bytes[OFFSET_TIMESTAMP..OFFSET_HASH]);
    let mut hash = [0; 16];
    hash.copy_from_slice(&bytes[OFFSET_HASH..OFFSET_CRC]);
    Ok(Header {
        kind: bytes[OFFSET_KIND],
        applies: Applies {
            object: flags & FLAG_OBJECT != 0,
            container: flags & FLAG_CONTAINER != 0,
            account: flags & FLAG_ACCOUNT != 0,
        },
        length,
        data_start,
        timestamp: time_from(u64::from_le_bytes(timestamp), "record timestamp")?,
        hash: KeyHash(hash),
    })
}

/// What a record says.
#[derive(Debug, Clone)]
pub(crate) struct Decoded {
    /// The mutation; inline data are [`Body::Absent`] until they are read.
    pub(crate) mutation: Mutation,
    /// The fixed header.
    pub(crate) header: Header,
    /// Whether the object's data belong to the record.
    pub(crate) inline: bool,
}

/// Decodes the mutation of a record from its head.
pub(crate) fn decode(bytes: &[u8]) -> Result<Decoded, Malformed> {
    let header = check_head(bytes)?;
    let (mutation, inline) = fields::read(&bytes[HEADER_BYTES..header.data_start as usize], &header)?;
    Ok(Decoded { mutation, header, inline })
}

/// Decodes a whole record, checks every block of its data, and gives it its inline data.
pub(crate) fn decode_whole(record: &Bytes) -> Result<Decoded, Malformed> {
    let mut decoded = decode(record)?;
    let header = decoded.header;
    if record.len() != header.length as usize {
        return Err(Malformed::mismatch("record length", header.length, record.len() as u64));
    }
    let data = record.slice(header.data_start as usize..);
    check_blocks(block_crcs(record, &header), 0, &data)?;
    if let Mutation::ObjectPut(put) = &mut decoded.mutation
        && decoded.inline
    {
        put.body = Body::Inline(data);
    }
    Ok(decoded)
}

/// The table of CRC32s of a record's inline data, four bytes for each block.
pub(crate) fn block_crcs<'a>(head: &'a [u8], header: &Header) -> &'a [u8] {
    let count = header.data_length().div_ceil(BLOCK_BYTES) as usize;
    let end = (header.data_start as usize).saturating_sub(INLINE_HASH_BYTES);
    // A head too short for its table gives an empty one, against which no data pass.
    end.checked_sub(4 * count).and_then(|start| head.get(start..end)).unwrap_or_default()
}

/// The kept bytes of the BLAKE3 of a record's inline data.
pub(crate) fn inline_hash<'a>(head: &'a [u8], header: &Header) -> &'a [u8] {
    let end = header.data_start as usize;
    head.get(end.saturating_sub(INLINE_HASH_BYTES)..end).unwrap_or_default()
}

/// Checks `data`, whole blocks from block number `first` on (the last may be shorter), against a table
/// of CRC32s.
pub(crate) fn check_blocks(table: &[u8], first: usize, data: &[u8]) -> Result<(), Malformed> {
    for (index, block) in data.chunks(BLOCK_BYTES as usize).enumerate() {
        let at = 4 * (first + index);
        let stored = table.get(at..at + 4).ok_or(Malformed::plain("block checksum table"))?;
        let (stored, computed) = (u32_at(stored, 0), crc32fast::hash(block));
        if stored != computed {
            return Err(Malformed::mismatch("data block", stored, computed));
        }
    }
    Ok(())
}
