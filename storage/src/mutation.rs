//! What a log record says. A [`Mutation`] is all that can happen to a device; the log keeps it, the
//! index applies it, and applying it again after a crash gives the same index.
//!
//! A record names which parts of it concern this device ([`Applies`]): with one device, or where object
//! and container share theirs, one record carries data, metadata, listing row and statistics.

use anello_base::Timestamp;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::key::{KeyHash, ObjectPath};
use crate::model::{Content, Metadata};

/// Which parts of a mutation this device keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Applies {
    /// The object: its data and metadata.
    pub object: bool,
    /// The container: its record, listing rows and statistics.
    pub container: bool,
    /// The account: container rows and totals. Where a container's account is elsewhere, the change of
    /// its statistics is kept as a pending update in the index.
    pub account: bool,
}

impl Applies {
    /// All of it.
    pub const ALL: Self = Self { object: true, container: true, account: true };

    /// What either of them keeps.
    pub fn union(self, other: Self) -> Self {
        Self {
            object: self.object | other.object,
            container: self.container | other.container,
            account: self.account | other.account,
        }
    }
}

/// The hashes of an object's path, computed once by the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathHashes {
    /// Of the account.
    pub account: KeyHash,
    /// Of the container.
    pub container: KeyHash,
    /// Of the object.
    pub object: KeyHash,
}

/// One thing that happens to a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mutation {
    /// A new version of an object. The latest timestamp wins.
    ObjectPut(ObjectPut),
    /// New metadata for the object that stands; its data stay. Wins over the data's timestamp and over
    /// earlier metadata; a later [`Mutation::ObjectPut`] clears it.
    ObjectPost(ObjectPost),
    /// The object is gone: a tombstone.
    ObjectDelete {
        /// Its name.
        path: ObjectPath,
        /// Its name's hashes.
        hashes: PathHashes,
        /// Version of the tombstone.
        timestamp: Timestamp,
        /// Storage policy of the object, which names the ring that places it; 0 is the default.
        policy: u32,
    },
    /// A container comes to be, or its metadata changes.
    ContainerPut(ContainerPut),
    /// A container goes. Whoever sends it has seen that it is empty.
    ContainerDelete {
        /// Account and container.
        account: String,
        /// Container's name.
        container: String,
        /// Hash of the account.
        account_hash: KeyHash,
        /// Hash of the container.
        container_hash: KeyHash,
        /// Version of the tombstone.
        timestamp: Timestamp,
    },
    /// An account comes to be, or its metadata changes.
    AccountPut {
        /// Its name.
        account: String,
        /// Its hash.
        account_hash: KeyHash,
        /// Version of the change.
        timestamp: Timestamp,
        /// Items to set; an empty value removes.
        changes: Metadata,
    },
    /// An account goes, with its metadata; its container rows stay until they are deleted themselves.
    AccountDelete {
        /// Its name.
        account: String,
        /// Its hash.
        account_hash: KeyHash,
        /// Version of the tombstone.
        timestamp: Timestamp,
    },
    /// A container's statistics reach the account's device (from a pending update). Absolute values, so
    /// that repeating it does no harm.
    ContainerStats {
        /// Account.
        account: String,
        /// Container.
        container: String,
        /// Hash of the account.
        account_hash: KeyHash,
        /// When the container was created, changed, and deleted (zero: not deleted).
        created: Timestamp,
        /// See `created`.
        modified: Timestamp,
        /// See `created`.
        deleted: Timestamp,
        /// Version of the statistics: the later one wins.
        version: u64,
        /// Objects in the container.
        object_count: u64,
        /// Bytes in the container.
        bytes_used: u64,
    },
}

impl Mutation {
    /// Whether it names extents, which mean something on one device only.
    pub fn has_extents(&self) -> bool {
        matches!(self, Self::ObjectPut(ObjectPut { body: Body::Extents(_), .. }))
    }

    /// The row that an object's mutation makes, as that of another object: a shard's.
    pub(crate) fn as_row_of(&self, path: ObjectPath, hashes: PathHashes) -> Self {
        match self {
            Self::ObjectPut(put) => {
                let body = Body::Absent(put.body.len());
                let (delete_at, metadata) = (None, Metadata::new());
                Self::ObjectPut(ObjectPut { path, hashes, policy: 0, delete_at, metadata, body, ..put.clone() })
            }
            Self::ObjectPost(post) => {
                let (delete_at, metadata) = (None, Metadata::new());
                Self::ObjectPost(ObjectPost { path, hashes, policy: 0, delete_at, metadata, ..post.clone() })
            }
            Self::ObjectDelete { timestamp, .. } => {
                Self::ObjectDelete { path, hashes, timestamp: *timestamp, policy: 0 }
            }
            other => other.clone(),
        }
    }

    /// Its version.
    pub fn timestamp(&self) -> Timestamp {
        match self {
            Self::ObjectPut(put) => put.timestamp,
            Self::ObjectPost(post) => post.timestamp,
            Self::ContainerPut(put) => put.timestamp,
            Self::ObjectDelete { timestamp, .. }
            | Self::ContainerDelete { timestamp, .. }
            | Self::AccountPut { timestamp, .. }
            | Self::AccountDelete { timestamp, .. } => *timestamp,
            Self::ContainerStats { modified, .. } => *modified,
        }
    }
}

/// See [`Mutation::ObjectPut`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectPut {
    /// Its name.
    pub path: ObjectPath,
    /// Its name's hashes.
    pub hashes: PathHashes,
    /// Version of the data.
    pub timestamp: Timestamp,
    /// Storage policy, which names the ring that places the object; 0 is the default.
    pub policy: u32,
    /// Size in bytes as clients see it; the listing shows it.
    pub size: u64,
    /// Entity tag without quotes.
    pub etag: String,
    /// Media type.
    pub content_type: String,
    /// What the stored bytes are.
    pub content: Content,
    /// Second since 1970 from which the object is gone.
    pub delete_at: Option<u64>,
    /// Everything else, sorted by name.
    pub metadata: Metadata,
    /// The stored bytes.
    pub body: Body,
}

/// See [`Mutation::ObjectPost`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectPost {
    /// Its name.
    pub path: ObjectPath,
    /// Its name's hashes.
    pub hashes: PathHashes,
    /// Version of the metadata.
    pub timestamp: Timestamp,
    /// Storage policy of the object; 0 is the default.
    pub policy: u32,
    /// New media type, where it changes.
    pub content_type: Option<String>,
    /// Second since 1970 from which the object is gone; `None` clears it.
    pub delete_at: Option<u64>,
    /// The whole new metadata, sorted by name.
    pub metadata: Metadata,
}

/// See [`Mutation::ContainerPut`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerPut {
    /// Account.
    pub account: String,
    /// Container.
    pub container: String,
    /// Hash of the account.
    pub account_hash: KeyHash,
    /// Hash of the container.
    pub container_hash: KeyHash,
    /// Version of the change.
    pub timestamp: Timestamp,
    /// Storage policy; only the first one counts.
    pub policy: u32,
    /// Items to set; an empty value removes. Per item the latest timestamp wins.
    pub changes: Metadata,
}

/// An object's stored bytes, and where they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// The bytes themselves, in the record. At most [`crate::limits::INLINE_BYTES_MAX`].
    Inline(Bytes),
    /// Extents written before the record.
    Extents(Extents),
    /// Left out: the record was read back without its data (recovery), or the device keeps the listing
    /// row only. The number is the stored size in bytes.
    Absent(u64),
}

impl Body {
    /// Stored size in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline(data) => data.len() as u64,
            Self::Extents(extents) => extents.length,
            Self::Absent(length) => *length,
        }
    }

    /// Whether no byte is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where a large object's data are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Extents {
    /// Length of the data in bytes.
    pub length: u64,
    /// Pieces in order. Each but the last is a multiple of [`crate::limits::BLOCK_BYTES`] long.
    pub pieces: Vec<Extent>,
    /// CRC32 of each block of [`crate::limits::BLOCK_BYTES`] in order; the last may be shorter.
    pub block_crcs: Vec<u32>,
    /// BLAKE3 of the data.
    pub blake3: [u8; 32],
}

/// A piece of a data volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Data volume.
    pub volume: u32,
    /// Byte offset in the volume, a multiple of [`crate::limits::ALIGNMENT`].
    pub offset: u64,
    /// Bytes of data in it; the space taken is this rounded up to [`crate::limits::ALIGNMENT`].
    pub length: u64,
}

/// Where a record is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Location {
    /// Log volume.
    pub volume: u32,
    /// Byte offset of the record in the volume.
    pub offset: u64,
    /// Length of the whole record in bytes.
    pub length: u32,
    /// Where its inline data begin, in bytes from `offset`; the length where it has none.
    pub data_start: u32,
}

/// How far the log has been applied to the index: the end of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct LogPosition {
    /// Log volume.
    pub volume: u32,
    /// Byte offset behind the last batch that was applied.
    pub offset: u64,
    /// Sequence number of that batch; the next one bears the number behind it.
    pub sequence: u64,
}
