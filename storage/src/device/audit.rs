//! Checks one object through and through: its record's head, the record that last changed its metadata,
//! every block, and the BLAKE3 of the whole.

use std::sync::Arc;

use super::codec::Malformed;
use super::codec::record::{self, INLINE_HASH_BYTES};
use super::quarantine;
use super::reader::Access;
use super::recovery::volume_name;
use super::volume::VolumeKind;
use crate::error::{Error, Result};
use crate::index::{EntryKey, ObjectRow};
use crate::key::KeyHash;
use crate::mutation::{Body, Location, Mutation};

/// Bytes kept of a damaged piece of a large object.
const DAMAGE_BYTES: usize = 1024 * 1024;

/// What became of checking an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All of it is as it was written.
    Whole {
        /// Bytes that were read.
        bytes: u64,
    },
    /// It was replaced or deleted meanwhile.
    Gone,
    /// It is damaged, and was put into quarantine.
    Damaged,
}

/// Checks the object whose row is `row`. Fails only where the device can't be asked.
pub(crate) async fn audit_object(access: &Arc<Access>, hash: KeyHash, row: &ObjectRow) -> Result<Verdict> {
    match check(access, hash, row).await {
        Ok(bytes) => Ok(Verdict::Whole { bytes }),
        Err(Error::Missing(_)) if !is_present(access, hash, row)? => Ok(Verdict::Gone),
        Err(Error::Stopped) => Err(Error::Stopped),
        Err(error) => {
            keep(access, row, &error);
            access.shared.is_damaged(EntryKey { hash, name: None });
            Ok(Verdict::Damaged)
        }
    }
}

fn is_present(access: &Access, hash: KeyHash, row: &ObjectRow) -> Result<bool> {
    Ok(access.catalog.object(hash)?.is_some_and(|now| now.location == row.location))
}

async fn check(access: &Arc<Access>, hash: KeyHash, row: &ObjectRow) -> Result<u64> {
    let mut bytes = 0;
    if let Some(location) = row.meta_location {
        let head = head(access, location).await?;
        let decoded = record::decode(&head).map_err(|damage| damaged(access, location, damage))?;
        if decoded.header.hash != hash {
            return Err(damaged(access, location, Malformed::plain("record key")));
        }
        bytes += head.len() as u64;
    }
    let head = head(access, row.location).await?;
    let decoded = record::decode(&head).map_err(|damage| damaged(access, row.location, damage))?;
    bytes += head.len() as u64;
    let want = match &decoded.mutation {
        Mutation::ObjectPut(put) => match &put.body {
            Body::Extents(extents) => extents.blake3.to_vec(),
            _ => record::inline_hash(&head, &decoded.header).to_vec(),
        },
        _ => return Err(damaged(access, row.location, Malformed::plain("record kind"))),
    };
    let mut content = blake3::Hasher::new();
    let mut reader = access.open(Some(hash), row, 0..u64::MAX).await?;
    while let Some(data) = reader.next().await? {
        content.update(&data);
        bytes += data.len() as u64;
    }
    debug_assert!(want.len() == 32 || want.len() == INLINE_HASH_BYTES);
    if content.finalize().as_bytes()[..want.len()] != want[..] {
        return Err(damaged(access, row.location, Malformed::plain("content hash")));
    }
    Ok(bytes)
}

async fn head(access: &Access, location: Location) -> Result<Vec<u8>> {
    let volume = access.volumes.get(VolumeKind::Log, location.volume).ok_or(Error::Missing("log volume"))?;
    let buffer = access.read(&volume, location.offset, location.data_start as usize).await?;
    Ok(buffer.as_ref().to_vec())
}

fn damaged(access: &Access, location: Location, damage: Malformed) -> Error {
    damage.at(&access.volumes.disk.path(&VolumeKind::Log.file_name(location.volume)), location.offset)
}

/// Copies what is damaged aside: the record, or the piece of a data volume that the error names.
fn keep(access: &Access, row: &ObjectRow, error: &Error) {
    let disk = &*access.volumes.disk;
    let note = error.to_string();
    if let Error::Corrupt { file, offset, .. } = error {
        let data = access.volumes.all(VolumeKind::Data);
        if let Some(volume) = data.iter().find(|volume| volume.path == *file) {
            let bytes = volume.read(*offset, DAMAGE_BYTES).unwrap_or_default();
            quarantine::keep(disk, &access.shared.counters, &volume_name(volume), *offset, &bytes, &note);
            return;
        }
    }
    let Some(volume) = access.volumes.get(VolumeKind::Log, row.location.volume) else {
        let name = VolumeKind::Log.file_name(row.location.volume).replace('/', "-");
        quarantine::keep(disk, &access.shared.counters, &name, row.location.offset, &[], &note);
        return;
    };
    let bytes = volume.read(row.location.offset, row.location.length as usize).unwrap_or_default();
    quarantine::keep(disk, &access.shared.counters, &volume_name(&volume), row.location.offset, &bytes, &note);
}
