//! The builder file: what a [`Builder`] must remember and a ring does not tell.
//!
//! ```text
//! offset size
//!      0    8  magic "ANELLOBR"
//!      8    4  version, 1
//!     12    4  length of the head in bytes
//!     16    8  length of the assignments in bytes; 0 before the first rebalance
//!     24    8  length of the times in bytes
//!     32    4  CRC32 of bytes 0 to 31 and of all from byte 40 on
//!     36    4  zero
//!     40       head: JSON
//!              assignments: 16 bits per replica, partition by partition; 65,535 for none
//!              times: 32 bits per partition, the minute since 1970 of its last move, 0 for long ago
//! ```
//! All numbers are little-endian; nothing follows the times.

use super::{checked_devices, damaged, read_up_to};
use crate::builder::Builder;
use crate::device::{Device, DeviceId};
use crate::error::Error;
use crate::limits::HEAD_BYTES_MAX;
use crate::partition::PartPower;
use crate::table::{Shape, Table};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{Read, Write};

const MAGIC: &[u8; 8] = b"ANELLOBR";
const VERSION: u32 = 1;
const PREFIX_BYTES: usize = 40;
const CHECKSUM_AT: usize = 32;
/// First byte of a Python pickle, which is what Swift's builder files are.
const PICKLE: u8 = 0x80;

const _: () = assert!(CHECKSUM_AT + 8 == PREFIX_BYTES);

#[derive(Serialize, Deserialize)]
struct Head {
    part_power: u8,
    replicas: f64,
    min_part_hours: u16,
    overload: f64,
    version: u64,
    devices: Vec<Option<Device>>,
    leaving: BTreeSet<DeviceId>,
}

impl Builder {
    /// Writes the builder's file.
    ///
    /// # Errors
    /// [`Error::Io`] when writing fails.
    pub fn write(&self, mut target: impl Write) -> Result<(), Error> {
        let head = Head {
            part_power: self.power.get(),
            replicas: self.replicas,
            min_part_hours: self.min_part_hours,
            overload: self.overload,
            version: self.version,
            devices: self.devices.clone(),
            leaving: self.leaving.clone(),
        };
        let head = serde_json::to_vec(&head).map_err(|error| damaged(format!("head: {error}")))?;
        let slots = self.table.as_ref().map_or(&[][..], Table::slots);
        let slots: Vec<u8> = slots.iter().flat_map(|device| device.0.to_le_bytes()).collect();
        let times: Vec<u8> = self.moved_at.iter().flat_map(|minute| minute.to_le_bytes()).collect();

        let mut prefix = Vec::with_capacity(PREFIX_BYTES);
        prefix.extend(MAGIC);
        prefix.extend(VERSION.to_le_bytes());
        prefix.extend((head.len() as u32).to_le_bytes());
        prefix.extend((slots.len() as u64).to_le_bytes());
        prefix.extend((times.len() as u64).to_le_bytes());
        let mut checksum = crc32fast::Hasher::new();
        for part in [&prefix, &head, &slots, &times] {
            checksum.update(part);
        }
        prefix.extend(checksum.finalize().to_le_bytes());
        prefix.extend([0; 4]);
        for part in [&prefix, &head, &slots, &times] {
            target.write_all(part)?;
        }
        target.flush()?;
        Ok(())
    }

    /// Reads a builder's file.
    ///
    /// # Errors
    /// [`Error::Format`] for what is no builder file or a damaged one, [`Error::Unsupported`] for Swift's
    /// own builder files and later versions, [`Error::Io`] when reading fails.
    pub fn read(mut source: impl Read) -> Result<Self, Error> {
        let prefix = Prefix::read(&mut source)?;
        let head = read_exactly(&mut source, prefix.head_bytes)?;
        let slots = read_exactly(&mut source, prefix.slots_bytes)?;
        let times = read_exactly(&mut source, prefix.times_bytes)?;
        if !read_up_to(&mut source, 1)?.is_empty() {
            return Err(damaged("bytes follow the end of the builder file"));
        }
        let mut checksum = crc32fast::Hasher::new();
        for part in [&prefix.checked[..], &head, &slots, &times] {
            checksum.update(part);
        }
        if checksum.finalize() != prefix.checksum {
            return Err(damaged("the builder file is damaged: its checksum does not match"));
        }
        let head: Head =
            serde_json::from_slice(&head).map_err(|error| damaged(format!("head of the builder file: {error}")))?;
        assemble(head, &slots, &times)
    }
}

struct Prefix {
    checked: [u8; CHECKSUM_AT],
    checksum: u32,
    head_bytes: usize,
    slots_bytes: usize,
    times_bytes: usize,
}

impl Prefix {
    fn read(source: &mut impl Read) -> Result<Self, Error> {
        let prefix = read_up_to(source, PREFIX_BYTES)?;
        if prefix.first() == Some(&PICKLE) {
            return Err(Error::Unsupported(
                "a builder file of Swift's is not read here; make one from its ring file with `write-builder`",
            ));
        }
        if !prefix.starts_with(MAGIC) {
            return Err(damaged("not a builder file: the magic ANELLOBR is missing"));
        }
        let Some(prefix) = prefix.first_chunk::<PREFIX_BYTES>() else {
            return Err(damaged("the builder file ends too early"));
        };
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|index| prefix[at + index]));
        let long = |at: usize| usize::try_from(u64::from_le_bytes(std::array::from_fn(|index| prefix[at + index])));
        if word(8) != VERSION {
            return Err(Error::Unsupported("the builder file is of a later version than this program reads"));
        }
        if word(36) != 0 {
            return Err(damaged("reserved bytes of the builder file are not zero"));
        }
        let absurd = || damaged("the builder file states an absurd length");
        let head_bytes = word(12) as usize;
        if head_bytes > HEAD_BYTES_MAX {
            return Err(absurd());
        }
        Ok(Self {
            checked: std::array::from_fn(|index| prefix[index]),
            checksum: word(CHECKSUM_AT),
            head_bytes,
            slots_bytes: long(16).map_err(|_| absurd())?,
            times_bytes: long(24).map_err(|_| absurd())?,
        })
    }
}

fn read_exactly(source: &mut impl Read, length: usize) -> Result<Vec<u8>, Error> {
    let bytes = read_up_to(source, length)?;
    if bytes.len() < length { Err(damaged("the builder file ends too early")) } else { Ok(bytes) }
}

fn assemble(head: Head, slots: &[u8], times: &[u8]) -> Result<Builder, Error> {
    let power = PartPower::new(head.part_power)?;
    let mut builder = Builder::new(power, head.replicas, head.min_part_hours)?;
    builder.set_overload(head.overload)?;
    builder.version = head.version;
    builder.devices = checked_devices(head.devices)?;
    let is_there = |id: &DeviceId| builder.devices.get(id.index()).is_some_and(Option::is_some);
    if !head.leaving.iter().all(is_there) {
        return Err(damaged("a device that leaves is not in the builder file"));
    }
    if times.len() != 4 * power.partitions() {
        return Err(damaged("the builder file has not one time for each partition"));
    }
    for (moved_at, bytes) in builder.moved_at.iter_mut().zip(times.as_chunks().0) {
        *moved_at = u32::from_le_bytes(*bytes);
    }
    if !slots.is_empty() {
        builder.table = Some(read_table(power, slots, is_there)?);
    }
    builder.leaving = head.leaving;
    Ok(builder)
}

/// The width of the rows is that of the last rebalance; the replica count may have been changed since.
fn read_table(power: PartPower, slots: &[u8], is_there: impl Fn(&DeviceId) -> bool) -> Result<Table, Error> {
    let width = slots.len() / (2 * power.partitions());
    if slots.len() != 2 * power.partitions() * width {
        return Err(damaged("the assignments of the builder file are not whole rows"));
    }
    Shape::new(power, width as f64)?;
    let mut table = Table::empty(power, width);
    for partition in 0..power.partitions() {
        for replica in 0..width {
            let at = 2 * (partition * width + replica);
            let id = DeviceId(u16::from_le_bytes([slots[at], slots[at + 1]]));
            if id != DeviceId::NONE && (!is_there(&id) || table.row(partition)[..replica].contains(&id)) {
                return Err(damaged(format!("partition {partition} is assigned to device {id} wrongly")));
            }
            table.set(partition, replica, id);
        }
    }
    Ok(table)
}
