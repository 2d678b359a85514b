//! The file `promises` of a device: up to which version it counts as having promised everything, should it
//! have forgotten. Magic, ticks and CRC32, 16 bytes; replaced whole.

use std::io;

use anello_base::Timestamp;

use super::codec::{Malformed, time_from};
use super::disk::Disk;
use crate::error::{Error, Result};

const NAME: &str = "promises";
const MAGIC: [u8; 4] = *b"ANPR";

pub(super) fn read(disk: &dyn Disk) -> Result<Timestamp> {
    let bytes = match disk.read_file(NAME) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Timestamp::ZERO),
        Err(error) => return Err(Error::io("read", disk.path(NAME), &error)),
    };
    decode(&bytes).map_err(|malformed| malformed.at(&disk.path(NAME), 0))
}

pub(super) fn write(disk: &dyn Disk, floor: Timestamp) -> Result<()> {
    disk.replace_file(NAME, &encode(floor)).map_err(|error| Error::io("write", disk.path(NAME), &error))
}

pub(super) fn encode(floor: Timestamp) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &floor.to_bits().to_le_bytes()].concat();
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

pub(super) fn decode(bytes: &[u8]) -> Result<Timestamp, Malformed> {
    let Some((body, crc)) = bytes.split_last_chunk::<4>().filter(|(body, _)| body.len() == 12) else {
        return Err(Malformed::mismatch("length of the promises' floor", 16u64, bytes.len() as u64));
    };
    let (expected, found) = (crc32fast::hash(body), u32::from_le_bytes(*crc));
    match body.split_first_chunk::<4>() {
        Some((magic, bits)) if expected == found && *magic == MAGIC => {
            time_from(bits.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), "promises' floor")
        }
        _ => Err(Malformed::mismatch("checksum of the promises' floor", expected, found)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else_is_taken_for_it() {
        let bytes = encode(Timestamp::from_ticks(170_000_000_012_345));
        assert_eq!(decode(&bytes).expect("reads"), Timestamp::from_ticks(170_000_000_012_345));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(decode(&flipped).is_err(), "byte {at}");
            assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
        }
        // No time is cut to the latest that there is: it would be another one's.
        let mut later = [&MAGIC[..], &(Timestamp::MAX.ticks() + 1).to_le_bytes()].concat();
        later.extend(crc32fast::hash(&later).to_le_bytes());
        assert!(decode(&later).is_err());
    }
}
