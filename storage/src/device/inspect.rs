//! For an operator, on a device that no server has open: what is there ([`inspect`]), whether it is
//! whole ([`verify`]), and the index made anew from the log ([`rebuild_index`]).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::codec::fields::kind_name;
use super::codec::record;
use super::disk::Disk;
use super::disk::real::RealDisk;
use super::opening::{DeviceOptions, INDEX};
use super::recovery::Recovery;
use super::scan::{Batch, Found, Scanner};
use super::status::Counters;
use super::superblock::{self, Superblock};
use super::volume::{Volume, VolumeKind, Volumes};
use crate::error::{Error, Result};
use crate::index::{DIGEST_LEAVES, Index, ObjectRow, ObjectState, Tree};
use crate::key::KeyHash;
use crate::limits::{BLOCK_BYTES, LOG_VOLUME_BYTES, READ_WINDOW_BYTES};
use crate::mutation::{Body, Extents, Location, LogPosition, Mutation};

/// Problems that are told one by one; more are only counted.
const PROBLEMS_MAX: usize = 1000;

/// Rows of the index that are compared in one step.
const ROWS_STEP: usize = 1000;

/// Told of how far a long command is: bytes done and bytes in all.
pub type ProgressFn<'a> = &'a mut dyn FnMut(u64, u64);

/// What a device is and holds.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The cluster it belongs to.
    pub cluster_id: String,
    /// Its id.
    pub device_id: String,
    /// When it was made, in Swift's form.
    pub created: String,
    /// Its log volumes in order.
    pub log_volumes: Vec<LogVolume>,
    /// Its data volumes in order.
    pub data_volumes: Vec<DataVolume>,
    /// Records in the log by kind, dead ones included.
    pub records: BTreeMap<&'static str, u64>,
    /// Names of the files in quarantine.
    pub quarantine: Vec<String>,
}

/// A log volume.
#[derive(Debug, Clone, Serialize)]
pub struct LogVolume {
    /// Its number.
    pub id: u32,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Where its last batch ends.
    pub used_bytes: u64,
    /// Batches in it.
    pub batches: u64,
    /// Records in it.
    pub records: u64,
    /// Number of its first batch, zero where it has none.
    pub first_sequence: u64,
    /// Number of its last batch.
    pub last_sequence: u64,
    /// Places where a batch or a record is damaged.
    pub damaged: u64,
    /// Whether something that is not a batch stands behind the last one.
    pub torn: bool,
}

/// A data volume.
#[derive(Debug, Clone, Serialize)]
pub struct DataVolume {
    /// Its number.
    pub id: u32,
    /// Bytes that it takes on the disk.
    pub allocated_bytes: u64,
}

/// What [`verify`] found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verification {
    /// Records read in the log.
    pub records: u64,
    /// Objects of the index that were compared with the log.
    pub objects: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Bytes behind the last batch that are not one: the trace of a crash, cut at the next start.
    pub torn_tail: bool,
    /// How many problems there are.
    pub problem_count: u64,
    /// The first of them, for people.
    pub problems: Vec<String>,
}

/// What [`rebuild_index`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// Records that were applied.
    pub records: u64,
    /// Damaged pieces of the log that were put into quarantine.
    pub quarantined: u64,
    /// Torn batches cut from the end.
    pub torn_tails: u64,
}

/// A device that is not in service.
struct Offline {
    superblock: Superblock,
    volumes: Volumes,
}

impl Offline {
    fn open(dir: &Path) -> Result<Self> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir, false)?);
        let superblock = superblock::read(&*disk)?.ok_or_else(|| Error::WrongDevice {
            path: dir.to_owned(),
            expected: "a device".to_owned(),
            found: "no superblock".to_owned(),
        })?;
        Ok(Self { superblock, volumes: Volumes::open(disk)? })
    }

    fn log_bytes(&self) -> u64 {
        self.volumes.all(VolumeKind::Log).iter().map(|volume| volume.file.size().unwrap_or(0)).sum()
    }
}

/// Looks through the device in `dir`. [`Error::Io`] where a server has it open.
pub fn inspect(dir: &Path, progress: ProgressFn<'_>) -> Result<Inspection> {
    let device = Offline::open(dir)?;
    let (total, mut done) = (device.log_bytes(), 0);
    let (mut records, mut log_volumes) = (BTreeMap::new(), Vec::new());
    for volume in device.volumes.all(VolumeKind::Log) {
        let mut report = LogVolume::new(&volume)?;
        let base = done;
        walk(&volume, &device.superblock, |found| {
            report.count(&found, &mut records);
            done = base + report.used_bytes;
            progress(done, total);
            Ok(())
        })?;
        done = base + report.size_bytes;
        progress(done, total);
        log_volumes.push(report);
    }
    let data_volumes = device.volumes.all(VolumeKind::Data).into_iter().map(|volume| {
        let allocated_bytes = volume.file.allocated().map_err(|error| volume.error("stat", &error))?;
        Ok(DataVolume { id: volume.id, allocated_bytes })
    });
    let quarantine = device.volumes.disk.list(super::disk::QUARANTINE).unwrap_or_default();
    Ok(Inspection {
        cluster_id: device.superblock.cluster_id.clone(),
        device_id: device.superblock.device_hex(),
        created: device.superblock.created.to_string(),
        log_volumes,
        data_volumes: data_volumes.collect::<Result<_>>()?,
        records,
        quarantine,
    })
}

fn walk(volume: &Arc<Volume>, superblock: &Superblock, mut each: impl FnMut(Found) -> Result<()>) -> Result<()> {
    let mut scanner = Scanner::new(Arc::clone(volume), superblock.tag(), 0)?;
    loop {
        let found = scanner.next();
        let ended = matches!(found, Found::End { .. });
        each(found)?;
        if ended {
            return Ok(());
        }
    }
}

impl LogVolume {
    fn new(volume: &Volume) -> Result<Self> {
        let size_bytes = volume.file.size().map_err(|error| volume.error("stat", &error))?;
        let (used_bytes, batches, records, damaged) = (0, 0, 0, 0);
        let (first_sequence, last_sequence, torn) = (0, 0, false);
        let id = volume.id;
        Ok(Self { id, size_bytes, used_bytes, batches, records, first_sequence, last_sequence, damaged, torn })
    }

    fn count(&mut self, found: &Found, kinds: &mut BTreeMap<&'static str, u64>) {
        match found {
            Found::Batch(batch) => {
                self.batches += 1;
                self.used_bytes = batch.end();
                self.last_sequence = batch.header.sequence;
                if self.first_sequence == 0 {
                    self.first_sequence = batch.header.sequence;
                }
                for (_, bytes) in batch.records() {
                    self.records += 1;
                    match record::check_head(&bytes) {
                        Ok(header) => *kinds.entry(kind_name(header.kind)).or_default() += 1,
                        Err(_) => self.damaged += 1,
                    }
                }
            }
            Found::Damage { end, .. } => {
                self.damaged += 1;
                self.used_bytes = *end;
            }
            Found::End { torn, .. } => self.torn = *torn,
        }
    }
}

/// Reads every record and every extent of the device in `dir`, checks all their checksums, and compares
/// log and index. Changes nothing.
pub fn verify(dir: &Path, options: &DeviceOptions, progress: ProgressFn<'_>) -> Result<Verification> {
    let device = Offline::open(dir)?;
    let (index, position) = Index::open(&dir.join(INDEX), options.index_cache_bytes as usize)?;
    let data = device.volumes.all(VolumeKind::Data);
    let data_bytes: u64 = data.iter().map(|volume| volume.file.allocated().unwrap_or(0)).sum();
    let total = device.log_bytes() + data_bytes;
    let mut verifier = Verifier { device: &device, index: &index, found: Verification::default(), total, progress };
    for volume in device.volumes.all(VolumeKind::Log) {
        verifier.log_volume(&volume, position)?;
    }
    verifier.index()?;
    verifier.digests()?;
    Ok(verifier.found)
}

struct Verifier<'a, 'b> {
    device: &'a Offline,
    index: &'a Index,
    found: Verification,
    total: u64,
    progress: ProgressFn<'b>,
}

impl Verifier<'_, '_> {
    fn problem(&mut self, problem: String) {
        self.found.problem_count += 1;
        if self.found.problems.len() < PROBLEMS_MAX {
            self.found.problems.push(problem);
        }
    }

    fn read(&mut self, bytes: u64) {
        self.found.bytes += bytes;
        (self.progress)(self.found.bytes.min(self.total), self.total);
    }

    fn log_volume(&mut self, volume: &Arc<Volume>, position: LogPosition) -> Result<()> {
        let device = self.device;
        let path = volume.path.display();
        walk(volume, &device.superblock, |found| {
            match found {
                Found::Batch(batch) => {
                    self.read(u64::from(batch.header.length));
                    self.batch(&batch, position)?;
                }
                Found::Damage { offset, end } => self.problem(format!("{path}: no batch from {offset} to {end}")),
                Found::End { torn, .. } => self.found.torn_tail |= torn,
            }
            Ok(())
        })
    }

    fn batch(&mut self, batch: &Batch, position: LogPosition) -> Result<()> {
        let path = batch.volume.path.display();
        let mut end = batch.offsets.first().copied().unwrap_or(0);
        for ((offset, bytes), (start, length)) in batch.records().zip(batch.offsets.iter().zip(&batch.lengths)) {
            self.found.records += 1;
            if !is_zero(&batch.bytes, end, *start) {
                self.problem(format!("{path}: padding before {offset} is not zero"));
            }
            end = *start + *length as usize;
            match record::decode_whole(&bytes) {
                Ok(decoded) => {
                    if batch.header.sequence <= position.sequence {
                        self.indexed(&decoded, &format!("{path}: record at {offset}"))?;
                    }
                }
                Err(damage) => self.problem(damage.at(&batch.volume.path, offset).to_string()),
            }
        }
        if !is_zero(&batch.bytes, end, batch.bytes.len()) {
            self.problem(format!("{path}: padding of the batch at {} is not zero", batch.header.offset));
        }
        Ok(())
    }

    /// A record that the index covers has left a trace there: itself, or something later.
    fn indexed(&mut self, decoded: &record::Decoded, place: &str) -> Result<()> {
        let Mutation::ObjectPut(put) = &decoded.mutation else { return Ok(()) };
        if !decoded.header.applies.object {
            return Ok(());
        }
        let known = match self.index.object_state(put.hashes.object)? {
            ObjectState::Absent => None,
            ObjectState::Deleted(timestamp) => Some(timestamp),
            ObjectState::Live(row) => Some(row.info.timestamp),
        };
        if known.is_none_or(|known| known < put.timestamp) {
            self.problem(format!("{place}: the index does not know {} at {}", put.path, put.timestamp));
        }
        Ok(())
    }

    fn index(&mut self) -> Result<()> {
        let mut after = None;
        loop {
            let rows = self.index.scan_objects(after, ROWS_STEP)?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            after = Some(*last);
            for (hash, row) in rows {
                self.found.objects += 1;
                if let Err(problem) = self.row(hash, &row) {
                    self.problem(format!("object {}: {problem}", hex::encode(hash.0)));
                }
            }
        }
    }

    /// The digests that were kept are those of the entries that are there.
    fn digests(&mut self) -> Result<()> {
        let mut trees = self.index.digest_trees()?;
        trees.extend([Tree::Objects { policy: 0 }, Tree::Containers, Tree::Accounts]);
        trees.sort_unstable();
        trees.dedup();
        for tree in trees {
            let kept: BTreeMap<_, _> = self.index.digests(tree, 0..DIGEST_LEAVES)?.into_iter().collect();
            let made: BTreeMap<_, _> = self.index.recomputed_digests(tree)?.into_iter().collect();
            for leaf in kept.keys().chain(made.keys().filter(|leaf| !kept.contains_key(leaf))) {
                if kept.get(leaf) != made.get(leaf) {
                    self.problem(format!("digest of leaf {leaf} of {tree:?} is not that of its entries"));
                }
            }
        }
        Ok(())
    }

    fn row(&mut self, hash: KeyHash, row: &ObjectRow) -> Result<()> {
        if let Some(location) = row.meta_location {
            self.head(hash, location)?;
        }
        let decoded = self.head(hash, row.location)?;
        let damaged = |what: &'static str| Error::Corrupt {
            what,
            file: self.device.volumes.disk.path(&VolumeKind::Log.file_name(row.location.volume)),
            offset: row.location.offset,
            expected: row.info.stored_size,
            found: decoded.header.data_length(),
        };
        let Mutation::ObjectPut(put) = &decoded.mutation else { return Err(damaged("record kind")) };
        if decoded.header.timestamp != row.info.timestamp || put.body.len() != row.info.stored_size {
            return Err(damaged("record: another version"));
        }
        match &put.body {
            Body::Extents(extents) => self.extents(extents),
            _ => Ok(()),
        }
    }

    fn head(&self, hash: KeyHash, location: Location) -> Result<record::Decoded> {
        let volume = self.device.volumes.get(VolumeKind::Log, location.volume).ok_or(Error::Missing("log volume"))?;
        let head = volume.read(location.offset, location.data_start as usize)?;
        let decoded = record::decode(&head).map_err(|damage| damage.at(&volume.path, location.offset))?;
        if decoded.header.hash != hash || decoded.header.length != location.length {
            return Err(Error::Missing("record at the index's place"));
        }
        Ok(decoded)
    }

    fn extents(&mut self, extents: &Extents) -> Result<()> {
        let mut content = blake3::Hasher::new();
        let crcs: Vec<u8> = extents.block_crcs.iter().flat_map(|crc| crc.to_le_bytes()).collect();
        let mut block = 0;
        for piece in &extents.pieces {
            let volume =
                self.device.volumes.get(VolumeKind::Data, piece.volume).ok_or(Error::Missing("data volume"))?;
            let mut done = 0;
            while done < piece.length {
                let length = (piece.length - done).min(READ_WINDOW_BYTES);
                let bytes = volume.read(piece.offset + done, length as usize)?;
                let place = |damage: super::codec::Malformed| damage.at(&volume.path, piece.offset + done);
                if bytes.len() as u64 != length {
                    return Err(Error::Truncated { missing: length - bytes.len() as u64 });
                }
                record::check_blocks(&crcs, block, &bytes).map_err(place)?;
                content.update(&bytes);
                block += length.div_ceil(BLOCK_BYTES) as usize;
                done += length;
                self.read(length);
            }
        }
        if *content.finalize().as_bytes() == extents.blake3 { Ok(()) } else { Err(Error::Missing("matching BLAKE3")) }
    }
}

fn is_zero(bytes: &[u8], start: usize, end: usize) -> bool {
    bytes.get(start..end).is_none_or(|padding| padding.iter().all(|byte| *byte == 0))
}

/// Deletes the index of the device in `dir` and makes it anew from the whole log. Interrupted, it can be
/// run again; a server that starts meanwhile does the rest.
pub fn rebuild_index(dir: &Path, options: &DeviceOptions, progress: ProgressFn<'_>) -> Result<Rebuilt> {
    let device = Offline::open(dir)?;
    let index_dir = dir.join(INDEX);
    match std::fs::remove_dir_all(&index_dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("remove", &index_dir, &error));
        }
        _ => {}
    }
    let (index, position) = Index::open(&index_dir, options.index_cache_bytes as usize)?;
    let (counters, total) = (Counters::default(), device.log_bytes());
    let tag = device.superblock.tag();
    let mut done = 0;
    let mut report = |bytes| {
        done += bytes;
        progress(done.min(total), total);
    };
    Recovery::new(&device.volumes, &index, &counters, tag, LOG_VOLUME_BYTES, &mut report).run(position)?;
    index.flush()?;
    Ok(Rebuilt {
        records: counters.replayed_records.get(),
        quarantined: counters.quarantined.get(),
        torn_tails: counters.torn_tails.get(),
    })
}
