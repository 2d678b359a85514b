//! Swift's ring file, version 1: gzip over magic, version, JSON head, and one row of 16-bit device ids
//! per replica. Source: Swift's documentation, "The Rings", and files made by its tools.
//!
//! Versions 0 (a Python pickle, which would have to be executed to be read) and 2 are refused by name.

use super::{checked_devices, damaged, read_up_to};
use crate::device::{Device, DeviceId};
use crate::error::Error;
use crate::limits::{HEAD_BYTES_MAX, REPLICAS_MAX, SLOTS_MAX};
use crate::partition::PartPower;
use crate::ring::Ring;
use crate::table::{Shape, Table};
use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};

const MAGIC: &[u8; 4] = b"R1NG";
const VERSION: u16 = 1;
/// First bytes of a pickle of protocol 2 and later.
const PICKLE: u8 = 0x80;
/// Swift takes 32 bits of a hash and shifts them right by `part_shift`.
const HASH_BITS: u8 = 32;
/// Ids are close to random: the most effort saves one percent of the file for three times the time.
const COMPRESSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Head {
    /// Of the rows. Old files lack it and mean their writer's; all that are left are little-endian.
    #[serde(default = "little")]
    byteorder: String,
    devs: Vec<Option<Device>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_part_power: Option<u64>,
    part_shift: u8,
    /// Number of rows.
    replica_count: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

fn little() -> String {
    "little".to_owned()
}

impl Ring {
    /// Reads a ring file of Swift's, or one written by [`Ring::write`].
    ///
    /// Where a file assigns a device twice to one partition, the ring has it once, as Swift's reader has.
    ///
    /// # Errors
    /// [`Error::Format`] for what is no ring file or a damaged one, [`Error::Unsupported`] for versions
    /// 0 and 2, [`Error::PartPower`], [`Error::TooLarge`] and the like for what is past our limits,
    /// [`Error::Io`] when reading fails.
    pub fn read(source: impl Read) -> Result<Self, Error> {
        let mut source = GzDecoder::new(source);
        let head = read_head(&mut source).map_err(no_gzip)?;
        let power = HASH_BITS.checked_sub(head.part_shift).ok_or_else(|| damaged("part_shift is above 32"))?;
        let power = PartPower::new(power)?;
        let slots = power.partitions().saturating_mul(head.replica_count);
        if !(1..=REPLICAS_MAX).contains(&head.replica_count) {
            return Err(Error::Replicas { given: head.replica_count as f64 });
        }
        if slots > SLOTS_MAX {
            return Err(Error::TooLarge { slots });
        }
        let swap = match head.byteorder.as_str() {
            "little" => false,
            "big" => true,
            other => return Err(damaged(format!("byte order {other:?} is neither little nor big"))),
        };
        let devices = checked_devices(head.devs)?;
        let rows = read_rows(&mut source, head.replica_count, power.partitions()).map_err(no_gzip)?;
        let table = assemble(&rows, power, &devices, swap)?;
        let last = rows.last().map_or(0, |row| row.len() / 2);
        let replicas = (rows.len() - 1) as f64 + last as f64 / power.partitions() as f64;
        Ok(Self::new(devices, power, replicas, table, head.version, head.next_part_power))
    }

    /// Writes the ring as a file that Swift's tools and servers read. The same ring gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Io`] when writing fails.
    pub fn write(&self, target: impl Write) -> Result<(), Error> {
        let shape = Shape::new(self.part_power(), self.replicas())?;
        let head = Head {
            byteorder: little(),
            devs: self.devices.clone(),
            next_part_power: self.next_part_power(),
            part_shift: HASH_BITS - self.part_power().get(),
            replica_count: shape.width(),
            version: self.version(),
        };
        let head = serde_json::to_vec(&head).map_err(|error| damaged(format!("head: {error}")))?;
        let mut target = GzBuilder::new().write(target, Compression::new(COMPRESSION));
        target.write_all(MAGIC)?;
        target.write_all(&VERSION.to_be_bytes())?;
        target.write_all(&(head.len() as u32).to_be_bytes())?;
        target.write_all(&head)?;
        for replica in 0..shape.width() {
            let held = self.partitions().take_while(|partition| replica < shape.replicas(partition.index()));
            let row = held.flat_map(|partition| {
                let row = self.primaries(partition);
                // A device that a file named twice is named twice again, for rows have no holes.
                row.get(replica).unwrap_or(&row[0]).0.to_le_bytes()
            });
            target.write_all(&row.collect::<Vec<u8>>())?;
        }
        target.finish()?.flush()?;
        Ok(())
    }
}

fn no_gzip(error: Error) -> Error {
    match error {
        Error::Io(error)
            if matches!(error.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData) =>
        {
            damaged(format!("not a ring file, or a damaged one: {error}"))
        }
        Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            damaged("the ring file ends too early")
        }
        other => other,
    }
}

fn read_head(source: &mut impl Read) -> Result<Head, Error> {
    let mut magic = [0; 4];
    source.read_exact(&mut magic)?;
    if magic[0] == PICKLE {
        return Err(Error::Unsupported(
            "a ring file of version 0 (pickle) is not read here; let Swift's tools write it as version 1",
        ));
    }
    if &magic != MAGIC {
        return Err(damaged("not a ring file: the magic R1NG is missing"));
    }
    let mut version = [0; 2];
    source.read_exact(&mut version)?;
    match u16::from_be_bytes(version) {
        VERSION => (),
        2 => {
            return Err(Error::Unsupported(
                "a ring file of version 2 is not read here; write it with `write_ring --format-version=1`",
            ));
        }
        other => return Err(damaged(format!("ring file of version {other}; 1 is expected"))),
    }
    let mut length = [0; 4];
    source.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > HEAD_BYTES_MAX {
        return Err(damaged(format!("a head of {length} bytes is above the most, {HEAD_BYTES_MAX}")));
    }
    let head = read_up_to(source, length)?;
    if head.len() < length {
        return Err(damaged("the ring file ends within its head"));
    }
    serde_json::from_slice(&head).map_err(|error| damaged(format!("head of the ring file: {error}")))
}

/// Whole rows, but for the last, which may be shorter. Reads to the end, so that gzip's checksum is checked.
fn read_rows(source: &mut impl Read, count: usize, partitions: usize) -> Result<Vec<Vec<u8>>, Error> {
    let mut rows = Vec::new();
    for index in 0..count {
        let row = read_up_to(source, 2 * partitions)?;
        if row.len() % 2 != 0 || (row.len() < 2 * partitions && (index + 1 < count || index == 0)) {
            return Err(damaged(format!("row {index} of the ring file is too short")));
        }
        rows.push(row);
    }
    if !read_up_to(source, 1)?.is_empty() {
        return Err(damaged("bytes follow the last row of the ring file"));
    }
    Ok(rows)
}

fn assemble(rows: &[Vec<u8>], power: PartPower, devices: &[Option<Device>], swap: bool) -> Result<Table, Error> {
    let mut table = Table::empty(power, rows.len());
    for partition in 0..power.partitions() {
        let mut count = 0;
        for row in rows {
            let Some([first, second]) = row.get(2 * partition..2 * partition + 2) else { continue };
            let bytes = [*first, *second];
            let id = DeviceId(if swap { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) });
            if id == DeviceId::NONE || table.row(partition)[..count].contains(&id) {
                continue;
            }
            if devices.get(id.index()).is_none_or(Option::is_none) {
                return Err(damaged(format!("partition {partition} is assigned to device {id}, which is not listed")));
            }
            table.set(partition, count, id);
            count += 1;
        }
        if count == 0 {
            return Err(damaged(format!("partition {partition} is assigned to no device")));
        }
    }
    Ok(table)
}
