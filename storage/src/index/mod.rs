//! The index of one device's log: RocksDB without its own write-ahead log. It answers what is where and
//! lists names in order. Each batch of mutations goes in with the log position it ends at, in one atomic
//! write, so that after a crash the log is replayed from exactly there.

use std::path::Path;

use anello_base::Timestamp;

use crate::error::Result;
use crate::key::{KeyHash, ObjectPath};
use crate::model::{AccountInfo, ContainerEntry, ContainerInfo, ListQuery, Listed, ObjectEntry, ObjectInfo};
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
    /// The object as it was; its record still stands in the log.
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
pub struct Index {}

impl Index {
    /// Opens or creates the index in `dir` and tells how far it covers the log.
    pub fn open(dir: &Path, cache_bytes: usize) -> Result<(Self, LogPosition)> {
        todo!("{dir:?} {cache_bytes}")
    }

    /// Applies one batch in order and stores `position` with it, all or nothing; one effect per record.
    pub fn apply(&self, batch: &[Placed], position: LogPosition) -> Result<Vec<Effect>> {
        todo!("{batch:?} {position:?}")
    }

    /// An object that is there.
    pub fn object(&self, hash: KeyHash) -> Result<Option<ObjectRow>> {
        todo!("{hash:?}")
    }

    /// What is known of an object, deleted or not; what replicas are compared by.
    pub fn object_state(&self, hash: KeyHash) -> Result<ObjectState> {
        todo!("{hash:?}")
    }

    /// A container that is there.
    pub fn container(&self, hash: KeyHash) -> Result<Option<ContainerInfo>> {
        todo!("{hash:?}")
    }

    /// An account that is there.
    pub fn account(&self, hash: KeyHash) -> Result<Option<AccountInfo>> {
        todo!("{hash:?}")
    }

    /// Rows of a container.
    pub fn list_objects(&self, container: KeyHash, query: &ListQuery) -> Result<Vec<Listed<ObjectEntry>>> {
        todo!("{container:?} {query:?}")
    }

    /// Rows of an account.
    pub fn list_containers(&self, account: KeyHash, query: &ListQuery) -> Result<Vec<Listed<ContainerEntry>>> {
        todo!("{account:?} {query:?}")
    }

    /// Extents that live objects hold in a data volume, by offset.
    pub fn live_extents(&self, volume: u32) -> Result<Vec<Extent>> {
        todo!("{volume}")
    }

    /// Multipart objects whose parts are to be deleted, oldest first, at most `limit`.
    pub fn pending_parts(&self, limit: usize) -> Result<Vec<PendingParts>> {
        todo!("{limit}")
    }

    /// The parts are gone: forgets the entry and tells what is dead now. Not durable by itself: after a
    /// crash the entry may come again, and deleting parts twice does no harm.
    pub fn settle_parts(&self, id: &[u8]) -> Result<Effect> {
        todo!("{id:?}")
    }

    /// Container statistics that their account's device, which is another, has still to be told, as the
    /// [`Mutation::ContainerStats`] to send; at most `limit`.
    pub fn pending_stats(&self, limit: usize) -> Result<Vec<Mutation>> {
        todo!("{limit}")
    }

    /// The account's devices have made `sent` durable; forgets it unless it changed since.
    pub fn settle_stats(&self, sent: &Mutation) -> Result<()> {
        todo!("{sent:?}")
    }

    /// Objects whose `delete_at` is at or before `second`, oldest first, at most `limit`.
    pub fn expired(&self, second: u64, limit: usize) -> Result<Vec<Expired>> {
        todo!("{second} {limit}")
    }

    /// Drops tombstones older than `before` (reclaim age); returns how many.
    pub fn reclaim_tombstones(&self, before: Timestamp) -> Result<u64> {
        todo!("{before}")
    }

    /// Dead bytes per log volume, kept with every batch; compaction chooses by it.
    pub fn dead_bytes(&self) -> Result<Vec<(u32, u64)>> {
        todo!()
    }

    /// The log volume is gone, durably: forgets its dead bytes. Until then tombstones that have older
    /// records in it can't be reclaimed.
    pub fn forget_volume(&self, volume: u32) -> Result<()> {
        todo!("{volume}")
    }

    /// Whether anything still refers to the record at `location` (compaction copies it if so).
    pub fn is_live(&self, mutation: &Mutation, location: Location) -> Result<bool> {
        todo!("{mutation:?} {location:?}")
    }

    /// A live record was copied from one place to another: everything that referred to the old one refers
    /// to the new one, in one atomic write with the log position of the copy.
    pub fn relocate(&self, moves: &[(Placed, Location)], position: LogPosition) -> Result<()> {
        todo!("{moves:?} {position:?}")
    }

    /// Every object row in key order from `after` on (exclusive), at most `limit`: for the auditor.
    pub fn scan_objects(&self, after: Option<KeyHash>, limit: usize) -> Result<Vec<(KeyHash, ObjectRow)>> {
        todo!("{after:?} {limit}")
    }

    /// Makes everything applied so far durable, so that the next start replays nothing.
    pub fn flush(&self) -> Result<()> {
        todo!()
    }
}
