//! Digests: what replicas on different devices are compared by. Every entry that an index knows of (an
//! object, a container, a listing row, …) counts for a number, a hash of its key and of its version; a leaf
//! is the sum of its entries' numbers, and is kept with each write. So two replicas compare leaves, and
//! look at entries only below leaves that differ.
//!
//! A version is what replicas must agree on. What may differ between them is left out: where records lie,
//! shadows, counts and the version of statistics.

use std::collections::HashMap;

use anello_base::Timestamp;
use serde::{Deserialize, Serialize};

use super::codec::{Reader, Writer};
use super::history::History;
use super::leaves::Leaves;
use super::totals::{Account, Container, ContainerRow};
use super::version::{Data, Versions};
use crate::error::Result;
use crate::key::KeyHash;

/// Bits of the placement key that number a leaf. A ring has 2^17 partitions at most where it is used
/// sensibly, so that a partition is a run of whole leaves, two or more; and with 10 million entries a leaf
/// that differs costs the look at some 40 of them.
pub const DIGEST_LEAF_BITS: u8 = 18;

/// Leaves of a tree.
pub const DIGEST_LEAVES: u32 = 1 << DIGEST_LEAF_BITS;

/// Bytes of a leaf's value.
const DIGEST_BYTES: usize = 16;

/// A tree of digests: what one ring places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Tree {
    /// Objects of a storage policy, by the object's hash.
    Objects {
        /// The policy.
        policy: u32,
    },
    /// Containers and their listing rows, by the container's hash.
    Containers,
    /// Accounts and their containers' rows, by the account's hash.
    Accounts,
}

/// The digest of a leaf, or the sum of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct Digest {
    /// Sum of the entries' numbers, modulo 2^64.
    pub sum: u64,
    /// How many entries there are.
    pub entries: u64,
}

/// What an entry is known by. Keys are ordered by hash, then by name, none before any.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryKey {
    /// The object, the container or the account.
    pub hash: KeyHash,
    /// Of a row: the object's name in the container, the container's in the account.
    pub name: Option<String>,
}

/// An entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestEntry {
    /// Which one.
    pub key: EntryKey,
    /// Its version.
    pub version: EntryVersion,
}

/// What replicas must agree on of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryVersion {
    /// Of an object or a container's row.
    Name(NameVersion),
    /// Of a container or an account.
    Life(LifeVersion),
    /// Of an account's row.
    Row(RowVersion),
}

/// The version of an object or of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NameVersion {
    /// Of the data or the tombstone; `None` where neither has come.
    pub data: Option<Timestamp>,
    /// Whether it is a tombstone.
    pub deleted: bool,
    /// Of the metadata, where they were changed since.
    pub post: Option<Timestamp>,
    /// Of the media type, where it was changed since.
    pub retype: Option<Timestamp>,
}

/// The version of a container or an account. Times that are not known are zero.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LifeVersion {
    /// When it was last deleted.
    pub deleted: Timestamp,
    /// When it was created since.
    pub created: Timestamp,
    /// When it was last changed by a PUT or POST of itself; `created` where it never was.
    pub modified: Timestamp,
    /// Storage policy of a container.
    pub policy: u32,
    /// Metadata by name, removed ones included.
    pub items: Vec<ItemVersion>,
}

/// One item of metadata; an empty value says that it was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemVersion {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// When it was set.
    pub timestamp: Timestamp,
}

/// The version of a container's row in its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RowVersion {
    /// When the container was created.
    pub created: Timestamp,
    /// When it was deleted.
    pub deleted: Timestamp,
}

impl Tree {
    /// What the keys of its leaves start with.
    pub(super) fn prefix(self) -> [u8; 5] {
        let (kind, policy) = match self {
            Self::Objects { policy } => (b'o', policy),
            Self::Containers => (b'c', 0),
            Self::Accounts => (b'a', 0),
        };
        let [a, b, c, d] = policy.to_be_bytes();
        [kind, a, b, c, d]
    }

    /// The key of a leaf.
    pub(super) fn leaf_key(self, leaf: u32) -> [u8; 9] {
        let mut key = [0; 9];
        key[..5].copy_from_slice(&self.prefix());
        key[5..].copy_from_slice(&leaf.to_be_bytes());
        key
    }

    /// The tree and the leaf of a key.
    pub(super) fn of_leaf_key(key: &[u8]) -> Result<(Self, u32)> {
        let mut reader = Reader::new("key of a digest in the index", key);
        let (kind, policy) = (reader.byte()?, reader.array().map(u32::from_be_bytes)?);
        let leaf = reader.array().map(u32::from_be_bytes)?;
        let tree = match (kind, policy) {
            (b'o', policy) => Self::Objects { policy },
            (b'c', 0) => Self::Containers,
            (b'a', 0) => Self::Accounts,
            _ => return Err(reader.corrupt(u64::from(b'o'), u64::from(kind))),
        };
        if leaf >= DIGEST_LEAVES {
            return Err(reader.corrupt(u64::from(DIGEST_LEAVES), u64::from(leaf)));
        }
        reader.finish()?;
        Ok((tree, leaf))
    }
}

impl From<(u64, u64)> for Digest {
    fn from((sum, entries): (u64, u64)) -> Self {
        Self { sum, entries }
    }
}

impl From<Digest> for (u64, u64) {
    fn from(digest: Digest) -> Self {
        (digest.sum, digest.entries)
    }
}

impl Digest {
    /// Adds what another one counts.
    pub fn add(&mut self, other: Self) {
        self.sum = self.sum.wrapping_add(other.sum);
        self.entries = self.entries.wrapping_add(other.entries);
    }

    /// One entry.
    pub(super) fn one(number: u64) -> Self {
        Self { sum: number, entries: 1 }
    }

    fn negated(self) -> Self {
        Self { sum: self.sum.wrapping_neg(), entries: self.entries.wrapping_neg() }
    }

    pub(super) fn encode(self) -> [u8; DIGEST_BYTES] {
        let mut bytes = [0; DIGEST_BYTES];
        bytes[..8].copy_from_slice(&self.sum.to_le_bytes());
        bytes[8..].copy_from_slice(&self.entries.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("digest in the index", bytes);
        let digest =
            Self { sum: reader.array().map(u64::from_le_bytes)?, entries: reader.array().map(u64::from_le_bytes)? };
        reader.finish()?;
        Ok(digest)
    }
}

impl EntryVersion {
    /// The latest time that it names; what is older than the reclaim age need not be exchanged where it is
    /// deleted.
    pub fn latest(&self) -> Timestamp {
        match self {
            Self::Name(name) => name.data.max(name.post).max(name.retype).unwrap_or_default(),
            Self::Life(life) => life.deleted.max(life.modified).max(life.created),
            Self::Row(row) => row.created.max(row.deleted),
        }
    }

    /// Whether what it is of was deleted and is not there.
    pub fn is_deleted(&self) -> bool {
        match self {
            Self::Name(name) => name.deleted,
            Self::Life(life) => life.deleted > Timestamp::ZERO && life.created == Timestamp::ZERO,
            Self::Row(row) => row.created == Timestamp::ZERO,
        }
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        match self {
            Self::Name(name) => {
                out.byte(u8::from(name.deleted));
                for time in [name.data, name.post, name.retype] {
                    out.optional(time.map(Timestamp::to_bits));
                }
            }
            Self::Life(life) => {
                out.byte(2);
                for time in [life.deleted, life.created, life.modified] {
                    out.timestamp(time);
                }
                out.number(u64::from(life.policy));
                out.number(life.items.len() as u64);
                for item in &life.items {
                    out.text(&item.name);
                    out.text(&item.value);
                    out.timestamp(item.timestamp);
                }
            }
            Self::Row(row) => {
                out.byte(3);
                out.timestamp(row.created);
                out.timestamp(row.deleted);
            }
        }
    }

    /// The number that it adds to the leaf of `hash`; `name` as in an [`EntryKey`].
    pub(super) fn number(&self, hash: KeyHash, name: Option<&str>) -> u64 {
        let mut out = Writer(Vec::with_capacity(128));
        out.bytes(&hash.0);
        match name {
            None => out.byte(0),
            Some(name) => {
                out.byte(1);
                out.text(name);
            }
        }
        self.encode(&mut out);
        let mut number = [0; 8];
        number.copy_from_slice(&blake3::hash(&out.0).as_bytes()[..8]);
        u64::from_le_bytes(number)
    }
}

impl DigestEntry {
    /// The number that it adds to its leaf.
    pub fn number(&self) -> u64 {
        self.version.number(self.key.hash, self.key.name.as_deref())
    }

    /// What it counts for by itself.
    pub fn digest(&self) -> Digest {
        Digest::one(self.number())
    }
}

impl Versions {
    /// `None` where nothing is known.
    pub(super) fn version(&self) -> Option<EntryVersion> {
        let (data, deleted) = match &self.data {
            Data::Absent if self.is_absent() => return None,
            Data::Absent => (None, false),
            Data::Deleted { timestamp, .. } => (Some(*timestamp), true),
            Data::Live(live) => (Some(live.timestamp), false),
        };
        let post = self.post.as_ref().map(|post| post.timestamp);
        let retype = self.retype.as_ref().map(|retype| retype.timestamp);
        Some(EntryVersion::Name(NameVersion { data, deleted, post, retype }))
    }

    /// What it counts for; `hash` and `name` as in an [`EntryKey`].
    pub(super) fn number(&self, hash: KeyHash, name: Option<&str>) -> Option<u64> {
        Some(self.version()?.number(hash, name))
    }
}

impl Container {
    /// What it counts for itself.
    pub(super) fn number(&self, hash: KeyHash) -> Option<u64> {
        Some(self.history.version(true)?.number(hash, None))
    }
}

impl Account {
    /// What it counts for itself.
    pub(super) fn number(&self, hash: KeyHash) -> Option<u64> {
        Some(self.history.version(false)?.number(hash, None))
    }
}

impl History {
    /// `None` where nothing is known. An account's policy means nothing: it is that of whichever container
    /// was first.
    pub(super) fn version(&self, is_container: bool) -> Option<EntryVersion> {
        if self.is_empty() {
            return None;
        }
        Some(EntryVersion::Life(LifeVersion {
            deleted: self.deleted(),
            created: self.created(),
            modified: self.modified(),
            policy: if is_container { self.policy() } else { 0 },
            items: self.items(),
        }))
    }
}

impl ContainerRow {
    pub(super) fn version(&self) -> EntryVersion {
        EntryVersion::Row(RowVersion { created: self.created, deleted: self.deleted })
    }

    /// What it counts for.
    pub(super) fn number(&self, account: KeyHash, container: &str) -> u64 {
        self.version().number(account, Some(container))
    }
}

/// What a write changes of the digests.
#[derive(Debug, Default)]
pub(super) struct Changes {
    leaves: HashMap<(Tree, u32), Digest>,
}

impl Changes {
    /// An entry that counted for `before` counts for `after` now.
    pub(super) fn replace(&mut self, tree: Tree, hash: KeyHash, before: Option<u64>, after: Option<u64>) {
        if before != after {
            self.add(tree, hash, before.map(|number| Digest::one(number).negated()));
            self.add(tree, hash, after.map(Digest::one));
        }
    }

    /// The same for an object, which may have changed its policy.
    pub(super) fn move_between(&mut self, hash: KeyHash, before: (u32, Option<u64>), after: (u32, Option<u64>)) {
        if before != after {
            self.add(Tree::Objects { policy: before.0 }, hash, before.1.map(|number| Digest::one(number).negated()));
            self.add(Tree::Objects { policy: after.0 }, hash, after.1.map(Digest::one));
        }
    }

    fn add(&mut self, tree: Tree, hash: KeyHash, change: Option<Digest>) {
        if let Some(change) = change {
            self.leaves.entry((tree, hash.partition(DIGEST_LEAF_BITS))).or_default().add(change);
        }
    }

    /// The leaves as they are with these changes.
    pub(super) fn applied_to(self, leaves: &Leaves) -> Vec<(Tree, u32, Digest)> {
        let changed = self.leaves.into_iter().filter(|(_, change)| *change != Digest::default());
        let applied = changed.map(|((tree, leaf), change)| {
            let mut digest = leaves.get(tree, leaf);
            digest.add(change);
            (tree, leaf, digest)
        });
        applied.collect()
    }
}
