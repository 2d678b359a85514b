//! Records on their way between replicas: what one lacks is taken out of the log of another, checked, and
//! committed anew, with the parts of it that concern the receiver.
//!
//! A record says the same wherever it stands, so that importing it twice, or behind a later one, does no
//! harm. What is imported has passed every checksum again: a record that is damaged leaves nothing.
//!
//! Left out on purpose: which entries to exchange, and how bytes travel. A form for any transport is
//! [`ExportedRecord::head`]; see `docs/formats/exchange.md`.

use std::path::PathBuf;

use anello_base::{Class, Timestamp};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::codec::Malformed;
use super::codec::record::{self, Decoded};
use super::engine::{Commit, Request};
use super::volume::VolumeKind;
use super::{DataReader, Device};
use crate::error::{Error, Result};
use crate::index::{Effect, EntryKey, EntryVersion, Lacking, ObjectState, Tree};
use crate::key::{KeyHash, KeyHasher};
use crate::mutation::{Applies, Body, Extents, Location, Mutation, ObjectPut};

/// Times that records are looked for again where compaction moved them meanwhile.
const RETRIES_WHEN_MOVED: usize = 8;

/// `ANXR`.
const MAGIC: [u8; 4] = *b"ANXR";
const VERSION: u8 = 1;
const FLAG_DATA: u8 = 1;

const OFFSET_VERSION: usize = 4;
const OFFSET_FLAGS: usize = 5;
const OFFSET_RESERVED: usize = 6;
const OFFSET_RECORD: usize = 8;
const OFFSET_DATA: usize = 12;
const OFFSET_CRC: usize = 20;

/// Bytes before the record.
pub(crate) const HEADER_BYTES: usize = 24;

const _: () = assert!(OFFSET_DATA + 8 == OFFSET_CRC && OFFSET_CRC + 4 == HEADER_BYTES);

/// Bytes of a large object that come behind its record.
pub type ImportedData<'a> = BoxStream<'a, Result<Bytes>>;

/// A record that a replica lacks.
#[derive(Debug)]
pub struct ExportedRecord {
    /// The record as it stands in the log, inline data included. Its checksums have been checked.
    pub record: Bytes,
    /// The data of a large object, of which the record names extents.
    pub data: Option<DataReader>,
    /// How many bytes those are.
    pub data_length: u64,
}

/// What came of a record of a replica.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it lives for a moment")]
pub(crate) enum Arrived {
    /// This version of the object, or a later one, is known.
    Known(Timestamp),
    /// It is to be committed; its data are here.
    New(Mutation),
}

/// A record as it came from a replica; data follow where `data_length` is not zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedRecord {
    /// See [`ExportedRecord::record`].
    pub record: Bytes,
    /// See [`ExportedRecord::data_length`].
    pub data_length: u64,
}

impl Device {
    /// Records that a replica lacks of an entry of which it shows `have`. An object's data come with its
    /// record; a listing row's record comes without them.
    ///
    /// [`Error::Corrupt`] where a record does not match its checksums.
    pub async fn export(
        &self,
        hasher: &KeyHasher,
        tree: Tree,
        key: &EntryKey,
        have: Option<&EntryVersion>,
    ) -> Result<Vec<ExportedRecord>> {
        let mut lacking = self.index().lacking(hasher, tree, key, have)?;
        let mut retries = RETRIES_WHEN_MOVED;
        loop {
            let error = match self.export_all(tree, key.hash, &lacking).await {
                Err(error @ (Error::Corrupt { .. } | Error::Missing(_))) => error,
                other => return other,
            };
            let now = self.index().lacking(hasher, tree, key, have)?;
            if now == lacking || retries == 0 {
                return Err(error);
            }
            lacking = now;
            retries -= 1;
        }
    }

    /// Whether records of an entry are damaged, or lost, so that no replica can be given it.
    pub(crate) async fn is_unreadable(&self, hasher: &KeyHasher, tree: Tree, key: &EntryKey) -> Result<bool> {
        if self.index().lacking(hasher, tree, key, None)?.is_lost {
            return Ok(true);
        }
        let read = async {
            for record in self.export(hasher, tree, key, None).await? {
                let Some(mut data) = record.data else { continue };
                while data.next().await?.is_some() {}
            }
            Ok(())
        };
        match read.await {
            // It was replaced meanwhile.
            Ok(()) | Err(Error::Missing(_)) => Ok(false),
            Err(error) if error.class() == Class::Corrupt => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn export_all(&self, tree: Tree, hash: KeyHash, lacking: &Lacking) -> Result<Vec<ExportedRecord>> {
        let mut exported = Vec::with_capacity(lacking.records.len() + 1);
        for location in &lacking.records {
            exported.push(self.export_one(tree, hash, *location).await?);
        }
        if let Some(statistics) = &lacking.statistics {
            let applies = Applies { object: false, container: false, account: true };
            exported.push(ExportedRecord::plain(whole(&record::encode(statistics, applies)?)));
        }
        Ok(exported)
    }

    async fn export_one(&self, tree: Tree, hash: KeyHash, location: Location) -> Result<ExportedRecord> {
        let access = &self.inner.access;
        let volume = access.volumes.get(VolumeKind::Log, location.volume).ok_or(Error::Missing("log volume"))?;
        let bytes = Bytes::from(access.read(&volume, location.offset, location.length as usize).await?);
        let decoded = record::decode_whole(&bytes).map_err(|damage| damage.at(&volume.path, location.offset))?;
        let Mutation::ObjectPut(put) = decoded.mutation else { return Ok(ExportedRecord::plain(bytes)) };
        if !matches!(tree, Tree::Objects { .. }) {
            let put = ObjectPut { body: Body::Absent(put.body.len()), ..put };
            let encoded = record::encode(&Mutation::ObjectPut(put), decoded.header.applies)?;
            return Ok(ExportedRecord::plain(whole(&encoded)));
        }
        let Body::Extents(extents) = &put.body else { return Ok(ExportedRecord::plain(bytes)) };
        let row = self.index().object(hash)?.filter(|row| row.location == location);
        let row = row.ok_or(Error::Missing("this version of the object"))?;
        let data = self.read(Some(hash), &row, 0..u64::MAX).await?;
        Ok(ExportedRecord { record: bytes, data: Some(data), data_length: extents.length })
    }

    /// Commits a record of a replica. `applies` says which parts of it concern this device, whatever it said
    /// to the other; `data` are a large object's, wanted only where it concerns the object. A version that is
    /// known already, or a later one, changes nothing.
    ///
    /// [`Error::Corrupt`] where record or data do not match their checksums, length and BLAKE3: then nothing
    /// is left of them. Dropped half-way, the record may be committed all the same.
    pub async fn import(&self, record: &Bytes, applies: Applies, data: Option<ImportedData<'_>>) -> Result<Effect> {
        match self.receive(record, applies, data).await? {
            Arrived::Known(version) => Ok(Effect { stale: Some(version), ..Effect::default() }),
            Arrived::New(mutation) => self.restore(mutation, applies).await,
        }
    }

    /// The first half of [`Device::import`]: checks the record and takes the data.
    pub(crate) async fn receive(
        &self,
        record: &Bytes,
        applies: Applies,
        data: Option<ImportedData<'_>>,
    ) -> Result<Arrived> {
        let decoded = record::decode_whole(record).map_err(refused)?;
        let Mutation::ObjectPut(put) = &decoded.mutation else { return Ok(Arrived::New(decoded.mutation)) };
        if !applies.object {
            let put = ObjectPut { body: Body::Absent(put.body.len()), ..put.clone() };
            return Ok(Arrived::New(Mutation::ObjectPut(put)));
        }
        if let Some(known) = self.known_version(put.hashes.object)?
            && known >= put.timestamp
            && !applies.container
        {
            return Ok(Arrived::Known(known));
        }
        self.with_data(record, decoded, data).await.map(Arrived::New)
    }

    /// An object's record with its data on this device, both checked.
    async fn with_data(&self, record: &Bytes, decoded: Decoded, data: Option<ImportedData<'_>>) -> Result<Mutation> {
        let Decoded { mutation: Mutation::ObjectPut(put), header, inline } = decoded else {
            return Err(refused(Malformed::plain("object's record")));
        };
        let body = match &put.body {
            Body::Inline(data) if inline => {
                let stored = record::inline_hash(record, &header);
                if blake3::hash(data).as_bytes()[..stored.len()] != *stored {
                    return Err(refused(Malformed::plain("content hash")));
                }
                put.body.clone()
            }
            Body::Extents(want) => Body::Extents(self.import_data(want, data).await?),
            Body::Inline(_) | Body::Absent(_) => return Err(refused(Malformed::plain("object without its data"))),
        };
        Ok(Mutation::ObjectPut(ObjectPut { body, ..put }))
    }

    /// Replaces a damaged copy of an object by what a replica has of the same version; whether it was one. The
    /// damaged extents are freed at the next start, where nothing names them any more.
    pub(crate) async fn heal(&self, record: &Bytes, data: Option<ImportedData<'_>>) -> Result<bool> {
        let decoded = record::decode_whole(record).map_err(refused)?;
        let Mutation::ObjectPut(ObjectPut { hashes, timestamp, path, .. }) = &decoded.mutation else {
            return Ok(false);
        };
        let row = self.index().object(hashes.object)?.filter(|row| row.info.timestamp == *timestamp);
        let Some(row) = row else { return Ok(false) };
        let container = self.index().known_object_row(hashes.container, &path.object)?.version >= *timestamp;
        let applies = Applies { object: true, container, account: false };
        let mutation = self.with_data(record, decoded, data).await?;
        let encoded = record::encode(&mutation, applies)?;
        let moved = Some(row.location);
        let commit =
            |done| Request::Commit(Box::new(Commit { encoded, mutation, applies, moved, is_restored: false, done }));
        self.inner.shared.ask(commit).await?;
        Ok(true)
    }

    fn known_version(&self, hash: KeyHash) -> Result<Option<Timestamp>> {
        Ok(match self.index().object_state(hash)? {
            ObjectState::Absent => None,
            ObjectState::Deleted(timestamp) => Some(timestamp),
            ObjectState::Live(row) => Some(row.info.timestamp),
        })
    }

    /// Writes a large object's data into extents of this device. What is not what the record says is freed.
    async fn import_data(&self, want: &Extents, data: Option<ImportedData<'_>>) -> Result<Extents> {
        let mut data = data.ok_or_else(|| refused(Malformed::plain("object without its data")))?;
        let mut writer = self.write_extents(Some(want.length));
        let mut length = 0;
        while let Some(bytes) = data.next().await {
            let bytes = bytes?;
            length += bytes.len() as u64;
            if length > want.length {
                break;
            }
            writer.write(bytes).await?;
        }
        if length != want.length {
            return Err(refused(Malformed::mismatch("length of an object's data", want.length, length)));
        }
        let extents = writer.finish().await?;
        if extents.blake3 != want.blake3 {
            self.discard(&extents);
            return Err(refused(Malformed::plain("content hash")));
        }
        Ok(extents)
    }
}

fn whole(encoded: &record::Encoded) -> Bytes {
    [&encoded.head[..], &encoded.data[..]].concat().into()
}

/// The error for bytes of a replica, which stand in no file.
fn refused(damage: Malformed) -> Error {
    damage.at(&PathBuf::from("record of a replica"), 0)
}

impl ExportedRecord {
    fn plain(record: Bytes) -> Self {
        Self { record, data: None, data_length: 0 }
    }

    /// What goes before the data, if there are any: the record in the form for transports.
    pub fn head(&self) -> Bytes {
        let mut head = vec![0; HEADER_BYTES];
        head[..OFFSET_VERSION].copy_from_slice(&MAGIC);
        head[OFFSET_VERSION] = VERSION;
        head[OFFSET_FLAGS] = if self.data.is_some() { FLAG_DATA } else { 0 };
        head[OFFSET_RECORD..OFFSET_DATA].copy_from_slice(&(self.record.len() as u32).to_le_bytes());
        head[OFFSET_DATA..OFFSET_CRC].copy_from_slice(&self.data_length.to_le_bytes());
        head.extend_from_slice(&self.record);
        put_crc(&mut head);
        head.into()
    }
}

fn head_crc(head: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head[..OFFSET_CRC]);
    crc.update(&head[HEADER_BYTES..]);
    crc.finalize()
}

/// Writes the CRC32 of the head into it.
pub(super) fn put_crc(head: &mut [u8]) {
    let crc = head_crc(head);
    head[OFFSET_CRC..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
}

impl ReceivedRecord {
    /// Length of a whole head, of which `bytes` are the beginning; `None` while there are too few to tell.
    /// A receiver reads that much and no more before it calls [`ReceivedRecord::decode`].
    pub fn head_length(bytes: &[u8]) -> Result<Option<usize>> {
        let Some(header) = bytes.get(..HEADER_BYTES) else { return Ok(None) };
        let length = check_header(header).map_err(refused)?;
        Ok(Some(HEADER_BYTES + length))
    }

    /// Reads a head, which ends where `bytes` end.
    pub fn decode(bytes: &Bytes) -> Result<Self> {
        let short =
            || refused(Malformed::mismatch("exchanged record's length", HEADER_BYTES as u64, bytes.len() as u64));
        let header = bytes.get(..HEADER_BYTES).ok_or_else(short)?;
        let length = check_header(header).map_err(refused)?;
        if bytes.len() != HEADER_BYTES + length {
            return Err(short());
        }
        let mut field = [0; 4];
        field.copy_from_slice(&header[OFFSET_CRC..]);
        let (stored, computed) = (u32::from_le_bytes(field), head_crc(bytes));
        if stored != computed {
            return Err(refused(Malformed::mismatch("exchanged record", stored, computed)));
        }
        let record = bytes.slice(HEADER_BYTES..);
        let decoded = record::decode_whole(&record).map_err(refused)?;
        let expected = match decoded.mutation {
            Mutation::ObjectPut(ObjectPut { body: Body::Extents(extents), .. }) => extents.length,
            _ => 0,
        };
        let mut field = [0; 8];
        field.copy_from_slice(&header[OFFSET_DATA..OFFSET_CRC]);
        let data_length = u64::from_le_bytes(field);
        if data_length != expected || (data_length > 0) != (header[OFFSET_FLAGS] & FLAG_DATA != 0) {
            return Err(refused(Malformed::mismatch("exchanged record's data", expected, data_length)));
        }
        Ok(Self { record, data_length })
    }
}

/// Checks what can be checked before the record is there; returns the record's length.
fn check_header(header: &[u8]) -> Result<usize, Malformed> {
    if header[..OFFSET_VERSION] != MAGIC {
        return Err(Malformed::plain("exchanged record's magic"));
    }
    if header[OFFSET_VERSION] != VERSION {
        return Err(Malformed::mismatch("exchanged record's version", VERSION, header[OFFSET_VERSION]));
    }
    let reserved = &header[OFFSET_RESERVED..OFFSET_RECORD];
    if header[OFFSET_FLAGS] & !FLAG_DATA != 0 || reserved.iter().any(|byte| *byte != 0) {
        return Err(Malformed::mismatch("exchanged record's flags", FLAG_DATA, header[OFFSET_FLAGS]));
    }
    let mut field = [0; 4];
    field.copy_from_slice(&header[OFFSET_RECORD..OFFSET_DATA]);
    let length = u32::from_le_bytes(field);
    if u64::from(length) > record::RECORD_BYTES_MAX {
        return Err(Malformed::mismatch("exchanged record's length", record::RECORD_BYTES_MAX, length));
    }
    Ok(length as usize)
}
