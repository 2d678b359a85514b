//! The superblock: which cluster and device a directory belongs to. Two equal copies in one small file
//! that is replaced as a whole; it is written once and never changes, so one good copy is the truth.
//!
//! Layout in `docs/formats/superblock.md`.

use std::path::{Path, PathBuf};

use anello_base::Timestamp;

use super::codec::{Malformed, time_from};
use super::disk::Disk;
use crate::error::{Error, Result};

/// Name of the file in the device's directory.
pub(crate) const FILE: &str = "superblock";

const MAGIC: [u8; 8] = *b"ANELLOSB";
const VERSION: u32 = 1;

const OFFSET_VERSION: usize = 8;
const OFFSET_CRC: usize = 12;
const OFFSET_CREATED: usize = 16;
const OFFSET_DEVICE: usize = 24;
const OFFSET_CLUSTER_LENGTH: usize = 40;
const OFFSET_CLUSTER: usize = 44;

/// Longest cluster id in bytes: ids are 32 hexadecimal digits; the rest is room for other habits.
const CLUSTER_ID_BYTES_MAX: usize = 128;
const OFFSET_RESERVED: usize = OFFSET_CLUSTER + CLUSTER_ID_BYTES_MAX;

/// Bytes of one copy: a block, so that a torn write can't touch both.
pub(super) const COPY_BYTES: usize = 4096;

const _: () = assert!(OFFSET_RESERVED < COPY_BYTES);

/// Who a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Superblock {
    /// The cluster it belongs to.
    pub(crate) cluster_id: String,
    /// Random number that tells it from every other.
    pub(crate) device_id: [u8; 16],
    /// When it was made.
    pub(crate) created: Timestamp,
}

impl Superblock {
    /// The device's id as people see it: 32 hexadecimal digits.
    pub(crate) fn device_hex(&self) -> String {
        hex::encode(self.device_id)
    }

    /// What marks this device's batches.
    pub(crate) fn tag(&self) -> [u8; 8] {
        let mut tag = [0; 8];
        tag.copy_from_slice(&self.device_id[..8]);
        tag
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut copy = vec![0; COPY_BYTES];
        copy[..8].copy_from_slice(&MAGIC);
        copy[OFFSET_VERSION..OFFSET_CRC].copy_from_slice(&VERSION.to_le_bytes());
        copy[OFFSET_CREATED..OFFSET_DEVICE].copy_from_slice(&self.created.to_bits().to_le_bytes());
        copy[OFFSET_DEVICE..OFFSET_CLUSTER_LENGTH].copy_from_slice(&self.device_id);
        let cluster = self.cluster_id.as_bytes();
        copy[OFFSET_CLUSTER_LENGTH..OFFSET_CLUSTER].copy_from_slice(&(cluster.len() as u32).to_le_bytes());
        copy[OFFSET_CLUSTER..OFFSET_CLUSTER + cluster.len()].copy_from_slice(cluster);
        put_crc(&mut copy);
        copy.extend_from_within(..);
        copy
    }

    pub(super) fn decode(copy: &[u8]) -> Result<Self, Malformed> {
        if copy.len() != COPY_BYTES {
            return Err(Malformed::mismatch("superblock", COPY_BYTES as u64, copy.len() as u64));
        }
        let word = |offset: usize| {
            let mut field = [0; 4];
            field.copy_from_slice(&copy[offset..offset + 4]);
            u32::from_le_bytes(field)
        };
        if copy[..8] != MAGIC {
            return Err(Malformed::plain("superblock magic"));
        }
        let (stored, computed) = (word(OFFSET_CRC), crc_of(copy));
        if stored != computed {
            return Err(Malformed::mismatch("superblock", stored, computed));
        }
        if word(OFFSET_VERSION) != VERSION {
            return Err(Malformed::mismatch("superblock version", VERSION, word(OFFSET_VERSION)));
        }
        let length = word(OFFSET_CLUSTER_LENGTH) as usize;
        if length > CLUSTER_ID_BYTES_MAX || copy[OFFSET_CLUSTER + length..].iter().any(|byte| *byte != 0) {
            return Err(Malformed::plain("superblock's cluster id or reserved bytes"));
        }
        let cluster_id = std::str::from_utf8(&copy[OFFSET_CLUSTER..OFFSET_CLUSTER + length])
            .map_err(|_| Malformed::plain("superblock's cluster id"))?;
        let mut created = [0; 8];
        created.copy_from_slice(&copy[OFFSET_CREATED..OFFSET_DEVICE]);
        let mut device_id = [0; 16];
        device_id.copy_from_slice(&copy[OFFSET_DEVICE..OFFSET_CLUSTER_LENGTH]);
        let created = time_from(u64::from_le_bytes(created), "superblock's time")?;
        Ok(Self { cluster_id: cluster_id.to_owned(), device_id, created })
    }
}

/// CRC32 of a copy, for which its place counts as zeros.
fn crc_of(copy: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&copy[..OFFSET_CRC]);
    crc.update(&[0; 4]);
    crc.update(&copy[OFFSET_CREATED..]);
    crc.finalize()
}

/// Writes it into the copy.
pub(super) fn put_crc(copy: &mut [u8]) {
    let crc = crc_of(copy);
    copy[OFFSET_CRC..OFFSET_CREATED].copy_from_slice(&crc.to_le_bytes());
}

/// Reads the superblock; `None` where there is none yet. One damaged copy is passed over with a
/// warning; two are [`Error::Corrupt`].
pub(crate) fn read(disk: &dyn Disk) -> Result<Option<Superblock>> {
    let path = disk.path(FILE);
    let bytes = match disk.read_file(FILE) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path, &error)),
    };
    let first = Superblock::decode(bytes.get(..COPY_BYTES).unwrap_or(&bytes));
    let second = Superblock::decode(bytes.get(COPY_BYTES..).unwrap_or_default());
    match (first, second) {
        (Ok(first), Ok(second)) if first == second => Ok(Some(first)),
        (Ok(_), Ok(_)) => Err(Malformed::plain("superblock: its copies differ").at(&path, 0)),
        (Ok(good), Err(damage)) | (Err(damage), Ok(good)) => {
            tracing::warn!(file = %path.display(), ?damage, "one copy of the superblock is damaged");
            Ok(Some(good))
        }
        (Err(damage), Err(_)) => Err(damage.at(&path, 0)),
    }
}

/// Writes the superblock of a new device, durably.
pub(crate) fn create(disk: &dyn Disk, superblock: &Superblock) -> Result<()> {
    let length = superblock.cluster_id.len();
    if length > CLUSTER_ID_BYTES_MAX {
        let (found, limit) = (length as u64, CLUSTER_ID_BYTES_MAX as u64);
        return Err(Error::TooLarge { what: "cluster id", found, limit });
    }
    disk.replace_file(FILE, &superblock.encode()).map_err(|error| Error::io("write", disk.path(FILE), &error))
}

/// Fails with [`Error::WrongDevice`] unless the superblock is the one that is expected.
pub(crate) fn check(found: &Superblock, path: &Path, cluster_id: &str, device_id: Option<&str>) -> Result<()> {
    let wrong = |expected: String, found: String| Error::WrongDevice { path: PathBuf::from(path), expected, found };
    if found.cluster_id != cluster_id {
        let (expected, found) = (format!("of cluster {cluster_id}"), format!("cluster {}", found.cluster_id));
        return Err(wrong(expected, found));
    }
    match device_id {
        Some(expected) if expected != found.device_hex() => Err(wrong(expected.to_owned(), found.device_hex())),
        _ => Ok(()),
    }
}
