//! The index of one device's log: RocksDB without its own write-ahead log. It answers what is where and
//! lists names in order. Each batch of mutations goes in with the log position it ends at, in one atomic
//! write, so that after a crash the log is replayed from exactly there.
//!
//! What the index says is a function of the set of records in the log, not of their order: a rebuild
//! from a log in which compaction has moved records gives the same objects, rows, statistics and
//! tombstones. Reads take no lock and see each batch whole or not at all; writes go one at a
//! time. Digests alone are read from memory, under a lock that is held for a moment, and a moment behind.
//!
//! Left out on purpose: the objects' data and the names of objects (only the log and the listing rows
//! have them).

mod apply;
mod codec;
mod commit;
mod digest;
mod entries;
mod forget;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod history;
mod lacking;
mod leaves;
mod limits;
mod listing;
mod lookout;
mod moves;
mod overlay;
mod pending;
mod reclaim;
mod recount;
mod shadow;
mod tables;
mod totals;
mod version;
mod version_codec;

use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anello_base::Timestamp;

use self::codec::Reader;
pub use self::digest::{
    DIGEST_LEAF_BITS, DIGEST_LEAVES, Digest, DigestEntry, EntryKey, EntryVersion, ItemVersion, LifeVersion,
    NameVersion, RowVersion, Tree,
};
pub use self::forget::Forgotten;
pub use self::lacking::Lacking;
pub use self::lookout::ToShard;
use self::overlay::Overlay;
use self::reclaim::RECLAIMED;
pub use self::recount::{Counted, Recount};
use self::shadow::DeadBytes;
use self::tables::{Table, Tables, behind, row_key};
pub use self::totals::RowGate;
use self::totals::{Account, Container, ContainerRow};
use self::version::{Data, Versions};
use self::version_codec::{Form, decode_entry};
use crate::error::{Error, Result};
use crate::key::{KeyHash, KeyHasher, ObjectPath};
use crate::model::{
    AccountInfo, ContainerEntry, ContainerInfo, Known, Life, ListQuery, Listed, ObjectEntry, ObjectInfo,
};
use crate::mutation::{Applies, Extent, Location, LogPosition, Mutation};

/// What the index knows of an object: all of HEAD's answer, and where the data are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRow {
    /// Everything that HEAD shows.
    pub info: ObjectInfo,
    /// The record that put it. Inline data are in it; extents are listed in it.
    pub location: Location,
    /// Whether the data are extents.
    pub in_extents: bool,
    /// The record that last replaced its metadata, if any.
    pub meta_location: Option<Location>,
}

/// What the index knows of an object's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectState {
    /// Nothing.
    Absent,
    /// A tombstone, and its version.
    Deleted(Timestamp),
    /// An object.
    Live(Box<ObjectRow>),
}

impl ObjectState {
    /// Versions of data and metadata, by which replicas are compared.
    pub fn stamp(&self) -> Option<(Timestamp, Timestamp)> {
        match self {
            Self::Absent => None,
            Self::Deleted(timestamp) => Some((*timestamp, *timestamp)),
            Self::Live(row) => Some((row.info.timestamp, row.info.meta_timestamp)),
        }
    }
}

/// A record together with where it stands and which parts of it concern this device.
#[derive(Debug, Clone)]
pub struct Placed {
    /// What happens.
    pub mutation: Mutation,
    /// Which parts concern this device.
    pub applies: Applies,
    /// Where the record is.
    pub location: Location,
}

/// What applying one mutation did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effect {
    /// `Some` where a version with this or a later timestamp stood already, and nothing was changed.
    pub stale: Option<Timestamp>,
    /// Whether the thing (object, container, account) was not there before.
    pub created: bool,
    /// Records in the log that nothing needs any more.
    pub dead_records: Vec<Location>,
    /// Extents of a replaced object: they can be freed. (A replaced [`crate::Content::Multipart`] object
    /// is not dead yet: it waits as a [`PendingParts`].)
    pub dead_extents: Vec<Extent>,
}

/// A multipart object that was replaced or deleted and whose parts are still to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingParts {
    /// Identifies it for [`Index::settle_parts`].
    pub id: Vec<u8>,
    /// The object as it was, without its metadata; its record still stands in the log.
    pub row: ObjectRow,
}

/// An object whose time to be deleted has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Its name.
    pub path: ObjectPath,
    /// The second that was set.
    pub delete_at: u64,
}

/// The index of one device.
#[derive(Debug)]
pub struct Index {
    tables: Tables,
    /// Held by whoever writes: what is read to be changed must not change meanwhile. Dead bytes per log
    /// volume, as they stand in the tables.
    writer: Mutex<DeadBytes>,
}

impl Index {
    /// Opens or creates the index in `dir` and tells how far it covers the log. `cache_bytes` bounds the
    /// memory for blocks read ([`crate::limits`] has no say: the device's owner divides its memory);
    /// memtables take up to 48 MiB beside it. [`crate::Error::Index`] where the index has another format
    /// version or RocksDB can't read it: it is to be rebuilt from the log.
    pub fn open(dir: &Path, cache_bytes: usize) -> Result<(Self, LogPosition)> {
        let tables = Tables::open(dir, cache_bytes)?;
        let (position, dead) = (tables.position()?, tables.dead_bytes()?);
        Ok((Self { tables, writer: Mutex::new(dead) }, position))
    }

    /// As [`Index::open`], except that an index of another format version is deleted first: it holds nothing
    /// that the log could not give back, which is then replayed from its beginning.
    pub fn open_or_renew(dir: &Path, cache_bytes: usize) -> Result<(Self, LogPosition)> {
        if let Some(found) = Tables::format(dir)?.filter(|found| *found != tables::FORMAT_VERSION) {
            tracing::info!(index = %dir.display(), found, "the index has another format and is rebuilt from the log");
            std::fs::remove_dir_all(dir).map_err(|error| Error::io("remove", dir, &error))?;
        }
        Self::open(dir, cache_bytes)
    }

    /// Whoever panicked while it held the lock has written nothing, or everything.
    fn writer(&self) -> MutexGuard<'_, DeadBytes> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies one batch in order and stores `position` with it, all or nothing; one effect per record.
    ///
    /// While a log is replayed, extents that an effect calls dead may have been given to another object
    /// since: whoever replays frees what [`Index::live_extents`] leaves out at the end instead.
    pub fn apply(&self, batch: &[Placed], position: LogPosition) -> Result<Vec<Effect>> {
        let mut dead = self.writer();
        let mut overlay = Overlay::new(&self.tables);
        let effects = batch.iter().map(|placed| overlay.apply(placed)).collect::<Result<Vec<_>>>()?;
        overlay.commit(&mut dead, Some(position))?;
        Ok(effects)
    }

    /// An object that is there.
    pub fn object(&self, hash: KeyHash) -> Result<Option<ObjectRow>> {
        let Some(stored) = self.tables.get(Table::Objects, &hash.0)? else { return Ok(None) };
        Ok(Versions::decode(&stored, Form::Object)?.into_object())
    }

    /// The storage policy that an object was written by; `None` where nothing is known of it.
    pub fn policy_of(&self, hash: KeyHash) -> Result<Option<u32>> {
        Ok(self.tables.object_versions(hash)?.map(|versions| versions.policy()))
    }

    /// What is known of an object, deleted or not; what replicas are compared by.
    pub fn object_state(&self, hash: KeyHash) -> Result<ObjectState> {
        if let Some(row) = self.object(hash)? {
            return Ok(ObjectState::Live(Box::new(row)));
        }
        let Some(stored) = self.tables.get(Table::Tombstones, &hash.0)? else { return Ok(ObjectState::Absent) };
        Ok(match Versions::decode(&stored, Form::Object)?.data {
            Data::Deleted { timestamp, .. } => ObjectState::Deleted(timestamp),
            Data::Absent | Data::Live(_) => ObjectState::Absent,
        })
    }

    /// A container that is there.
    pub fn container(&self, hash: KeyHash) -> Result<Option<ContainerInfo>> {
        let Some(stored) = self.tables.get(Table::Containers, &hash.0)? else { return Ok(None) };
        Ok(Container::decode(&stored)?.info())
    }

    /// An account that is there.
    pub fn account(&self, hash: KeyHash) -> Result<Option<AccountInfo>> {
        let Some(stored) = self.tables.get(Table::Accounts, &hash.0)? else { return Ok(None) };
        Ok(Account::decode(&stored)?.info())
    }

    /// A container, deleted or not; what replicas are compared by.
    pub fn known_container(&self, hash: KeyHash) -> Result<Known<ContainerInfo>> {
        let Some(stored) = self.tables.get(Table::Containers, &hash.0)? else { return Ok(Known::nothing()) };
        let container = Container::decode(&stored)?;
        let (info, life) = (container.info(), container.history.life());
        Ok(Known { info, version: container.history.latest(), changes: container.version, life })
    }

    /// An account, deleted or not; what replicas are compared by.
    pub fn known_account(&self, hash: KeyHash) -> Result<Known<AccountInfo>> {
        let Some(stored) = self.tables.get(Table::Accounts, &hash.0)? else { return Ok(Known::nothing()) };
        let account = Account::decode(&stored)?;
        let (info, life) = (account.info(), account.history.life());
        Ok(Known { info, version: account.history.latest(), changes: 0, life })
    }

    /// A container's row, deleted or not; what replicas are compared by.
    pub fn known_object_row(&self, container: KeyHash, name: &str) -> Result<Known<ObjectEntry>> {
        let key = row_key(container, name);
        for table in [Table::Rows, Table::Tombstones] {
            if let Some(stored) = self.tables.get(table, &key)? {
                let versions = Versions::decode(&stored, Form::Row)?;
                let (version, changes) = (versions.data_timestamp().unwrap_or_default(), versions.latest().order());
                let (info, life) = (versions.into_entry(name.to_owned()), Life::default());
                return Ok(Known { info, version, changes, life });
            }
        }
        Ok(Known::nothing())
    }

    /// An account's row, deleted or not; what replicas are compared by.
    pub fn known_container_row(&self, account: KeyHash, name: &str) -> Result<Known<ContainerEntry>> {
        let key = row_key(account, name);
        for table in [Table::AccountRows, Table::AccountTombstones] {
            if let Some(stored) = self.tables.get(table, &key)? {
                let row = ContainerRow::decode(&stored)?;
                let (version, is_live) = (row.modified.max(row.deleted), row.is_live());
                let (info, life) = (is_live.then(|| row.into_entry(name.to_owned())), Life::default());
                return Ok(Known { info, version, changes: 0, life });
            }
        }
        Ok(Known::nothing())
    }

    /// Rows of a container, whatever is known of itself here: it may have been made elsewhere.
    pub fn list_objects(&self, container: KeyHash, query: &ListQuery) -> Result<Vec<Listed<ObjectEntry>>> {
        listing::list(&self.tables, Table::Rows, container, query, decode_entry)
    }

    /// Rows of an account.
    pub fn list_containers(&self, account: KeyHash, query: &ListQuery) -> Result<Vec<Listed<ContainerEntry>>> {
        listing::list(&self.tables, Table::AccountRows, account, query, |name, value| {
            Ok(Some(ContainerRow::decode(value)?.into_entry(name)))
        })
    }

    /// Extents that live objects hold in a data volume, by offset; also those of objects that wait as
    /// [`PendingParts`].
    pub fn live_extents(&self, volume: u32) -> Result<Vec<Extent>> {
        let mut extents = Vec::new();
        let prefix = volume.to_be_bytes();
        self.tables.scan(Table::Extents, &prefix, behind(&prefix), |key, value| {
            let mut reader = Reader::new("key of an extent in the index", &key[prefix.len()..]);
            let offset = reader.array().map(u64::from_be_bytes)?;
            let mut reader = Reader::new("extent in the index", value);
            extents.push(Extent { volume, offset, length: reader.number()? });
            reader.finish()?;
            Ok(true)
        })?;
        Ok(extents)
    }

    /// Multipart objects whose parts are to be deleted, oldest first, at most `limit`.
    pub fn pending_parts(&self, limit: usize) -> Result<Vec<PendingParts>> {
        self.tables.pending_parts(limit)
    }

    /// How many of them there are, counted up to `limit`.
    pub fn count_pending_parts(&self, limit: usize) -> Result<usize> {
        self.tables.count_pending_parts(limit)
    }

    /// The parts are gone: forgets the entry and tells what is dead now. Not durable by itself: after a
    /// crash the entry may come again, and deleting parts twice does no harm.
    pub fn settle_parts(&self, id: &[u8]) -> Result<Effect> {
        let mut dead = self.writer();
        self.tables.settle_parts(id, &mut dead)
    }

    /// Container statistics that their account's device, which is another, has still to be told, as the
    /// [`Mutation::ContainerStats`] to send; at most `limit`.
    pub fn pending_stats(&self, limit: usize) -> Result<Vec<Mutation>> {
        self.tables.pending_stats(limit)
    }

    /// The account's devices have made `sent` durable; forgets it unless it changed since.
    pub fn settle_stats(&self, sent: &Mutation) -> Result<()> {
        let _writer = self.writer();
        self.tables.settle_stats(sent)
    }

    /// Objects whose `delete_at` is at or before `second`, oldest first, at most `limit`.
    pub fn expired(&self, second: u64, limit: usize) -> Result<Vec<Expired>> {
        self.tables.expired(second, limit, |_| true)
    }

    /// The same, of those that `is_due` says it of: the others are passed over.
    pub fn expired_and_due(
        &self,
        second: u64,
        limit: usize,
        is_due: impl FnMut(&Expired) -> bool,
    ) -> Result<Vec<Expired>> {
        self.tables.expired(second, limit, is_due)
    }

    /// Drops tombstones older than `before` (reclaim age); returns how many. A tombstone stays while a log
    /// volume holds an older record of its name: see [`Index::forget_volume`].
    pub fn reclaim_tombstones(&self, before: Timestamp) -> Result<u64> {
        let mut dropped = 0;
        for table in RECLAIMED {
            let mut low = Vec::new();
            loop {
                let keys = self.tables.old_keys(table, &low, before)?;
                let Some(last) = keys.last() else { break };
                low = [&last[..], &[0]].concat();
                dropped += self.tables.reclaim(table, &keys, before, &mut self.writer())?;
            }
        }
        Ok(dropped)
    }

    /// Dead bytes per log volume, kept with every batch; compaction chooses by it.
    pub fn dead_bytes(&self) -> Result<Vec<(u32, u64)>> {
        Ok(self.writer().iter().map(|(volume, bytes)| (*volume, *bytes)).collect())
    }

    /// The log volume is gone, durably: forgets its dead bytes. Until then tombstones that have older
    /// records in it can't be reclaimed.
    pub fn forget_volume(&self, volume: u32) -> Result<()> {
        let mut dead = self.writer();
        let mut batch = self.tables.batch();
        batch.dead_bytes(volume, 0);
        batch.write()?;
        dead.remove(&volume);
        Ok(())
    }

    /// Whether anything still refers to the record at `location` (compaction copies it if so).
    pub fn is_live(&self, mutation: &Mutation, location: Location) -> Result<bool> {
        let _writer = self.writer();
        Overlay::new(&self.tables).is_live(mutation, location)
    }

    /// Live records were copied: of each move, the record as it stood, and its new place. Everything that
    /// referred to the old place refers to the new one, in one atomic write with the log position of the
    /// copies. A copy that nothing needs any more is dead from the start.
    pub fn relocate(&self, moves: &[(Placed, Location)], position: LogPosition) -> Result<()> {
        let mut dead = self.writer();
        let mut overlay = Overlay::new(&self.tables);
        for (placed, to) in moves {
            overlay.relocate(&placed.mutation, placed.location, *to)?;
        }
        overlay.commit(&mut dead, Some(position))
    }

    /// Every object row in key order from `after` on (exclusive), at most `limit`: for the auditor.
    pub fn scan_objects(&self, after: Option<KeyHash>, limit: usize) -> Result<Vec<(KeyHash, ObjectRow)>> {
        let mut objects = Vec::new();
        let low = after.map(|hash| [&hash.0[..], &[0]].concat()).unwrap_or_default();
        self.tables.scan(Table::Objects, &low, None, |key, value| {
            if objects.len() >= limit {
                return Ok(false);
            }
            let hash = KeyHash(Reader::new("key of an object in the index", key).array()?);
            objects.extend(Versions::decode(value, Form::Object)?.into_object().map(|row| (hash, row)));
            Ok(true)
        })?;
        Ok(objects)
    }

    /// Digests of the leaves of a tree that have entries, in order. A leaf is numbered by the top
    /// [`DIGEST_LEAF_BITS`] bits of its entries' hashes.
    pub fn digests(&self, tree: Tree, leaves: Range<u32>) -> Result<Vec<(u32, Digest)>> {
        Ok(self.tables.leaves().range(tree, leaves).collect())
    }

    /// Digest of one partition of a ring with two to `part_power` (at most 32) of them. Up to
    /// [`DIGEST_LEAF_BITS`] it is the sum of its leaves; beyond that several partitions share a leaf, of
    /// which replicas hold different ones, and the sum is made from the partition's entries.
    pub fn digest_of(&self, tree: Tree, partition: u32, part_power: u8) -> Result<Digest> {
        self.tables.digest_of(tree, partition, part_power)
    }

    /// Entries below neighbouring leaves behind `after`, in the order of their keys, at most `limit`.
    pub fn digest_entries(
        &self,
        tree: Tree,
        leaves: Range<u32>,
        after: Option<&EntryKey>,
        limit: usize,
    ) -> Result<Vec<DigestEntry>> {
        self.tables.digest_entries(tree, leaves, after, limit)
    }

    /// The version of one entry; `None` where nothing is known of it. An object is found whatever its policy
    /// is: a replica that has only heard of new metadata may place it in another tree.
    pub fn entry_version(&self, tree: Tree, key: &EntryKey) -> Result<Option<EntryVersion>> {
        self.tables.entry_version(tree, key)
    }

    /// What a replica lacks of an entry of which it shows `have`.
    pub fn lacking(
        &self,
        hasher: &KeyHasher,
        tree: Tree,
        key: &EntryKey,
        have: Option<&EntryVersion>,
    ) -> Result<Lacking> {
        self.tables.lacking(hasher, tree, key, have)
    }

    /// The account of a container, deleted or not, of which anything is known.
    pub fn account_of(&self, container: KeyHash) -> Result<Option<KeyHash>> {
        let Some(stored) = self.tables.get(Table::Containers, &container.0)? else { return Ok(None) };
        Ok(Some(Container::decode(&stored)?.account_hash))
    }

    /// The records that an object's version stands in: its data or tombstone first.
    pub fn object_records(&self, hash: KeyHash) -> Result<Vec<Location>> {
        Ok(self.tables.object_versions(hash)?.map(|versions| versions.records().collect()).unwrap_or_default())
    }

    /// Forgets those of `entries` that still have the version that they are given with. `objects` are objects'
    /// names, where they are known. A container or an account stays as long as it has rows. Not durable by itself:
    /// extents that died may be freed once the index is flushed.
    pub fn forget(
        &self,
        hasher: &KeyHasher,
        tree: Tree,
        entries: &[DigestEntry],
        objects: Vec<Option<ObjectPath>>,
    ) -> Result<Forgotten> {
        self.tables.forget(hasher, tree, entries, objects, &mut self.writer())
    }

    /// Trees that have, or had, entries.
    pub fn digest_trees(&self) -> Result<Vec<Tree>> {
        Ok(self.tables.leaves().trees())
    }

    /// What [`Index::digests`] should say of all leaves, made anew from every entry: for verification.
    pub fn recomputed_digests(&self, tree: Tree) -> Result<Vec<(u32, Digest)>> {
        self.tables.recomputed_digests(tree)
    }

    /// Makes everything applied so far durable, so that the next start replays nothing.
    pub fn flush(&self) -> Result<()> {
        self.tables.flush()
    }
}
