//! The entries below the leaves of digests, in the order of their keys: seeks and what lies behind them, so that
//! comparing replicas costs their differences.

use std::collections::BTreeMap;
use std::ops::Range;

use rocksdb::{DBRawIterator, ReadOptions};

use super::codec::Reader;
use super::digest::{DIGEST_LEAF_BITS, DIGEST_LEAVES, Digest, DigestEntry, EntryKey, EntryVersion, Tree};
use super::tables::{HASH_BYTES, Table, Tables, behind};
use super::totals::{Account, Container, ContainerRow};
use super::version::Versions;
use super::version_codec::Form;
use crate::error::Result;
use crate::key::KeyHash;

impl Tree {
    /// The tables that hold its entries. Keys of one are in no other, and all are ordered as entries are.
    fn tables(self) -> &'static [Table] {
        match self {
            Self::Objects { .. } => &[Table::Objects, Table::Tombstones],
            Self::Containers => &[Table::Containers, Table::Rows, Table::Tombstones],
            Self::Accounts => &[Table::Accounts, Table::AccountRows, Table::AccountTombstones],
        }
    }
}

/// The first four bytes of the hashes of these leaves or partitions, of which there are two to `bits`; the end is
/// `None` behind the last.
fn hash_range(first: u32, end: u32, bits: u8) -> (Vec<u8>, Option<Vec<u8>>) {
    let top = |number: u32| u64::from(number) << (32 - u32::from(bits));
    let high = u32::try_from(top(end)).ok().map(|high| high.to_be_bytes().to_vec());
    ((top(first) as u32).to_be_bytes().to_vec(), high)
}

impl Tables {
    /// See [`super::Index::digest_of`].
    pub(super) fn digest_of(&self, tree: Tree, partition: u32, power: u8) -> Result<Digest> {
        if power <= DIGEST_LEAF_BITS {
            let leaves = DIGEST_LEAF_BITS - power;
            return Ok(self.leaves().sum(tree, partition << leaves..(partition + 1) << leaves));
        }
        let mut sum = Digest::default();
        let (low, high) = hash_range(partition, partition.saturating_add(1), power);
        let mut walk = Walk::new(self, tree, &low, high.as_deref());
        while let Some(entry) = walk.next()? {
            sum.add(Digest::one(entry.number()));
        }
        Ok(sum)
    }

    /// See [`super::Index::digest_entries`].
    pub(super) fn digest_entries(
        &self,
        tree: Tree,
        leaves: Range<u32>,
        after: Option<&EntryKey>,
        limit: usize,
    ) -> Result<Vec<DigestEntry>> {
        let mut entries = Vec::new();
        if leaves.start >= leaves.end.min(DIGEST_LEAVES) {
            return Ok(entries);
        }
        let (mut low, high) = hash_range(leaves.start, leaves.end.min(DIGEST_LEAVES), DIGEST_LEAF_BITS);
        if let Some(after) = after {
            low = low.max([&after.hash.0, after.name.as_deref().unwrap_or("").as_bytes(), &[0]].concat());
            if after.name.is_none() {
                // A row with an empty name, which no door makes, is passed over with its container.
                low.truncate(HASH_BYTES + 1);
            }
        }
        let mut walk = Walk::new(self, tree, &low, high.as_deref());
        while entries.len() < limit {
            let Some(entry) = walk.next()? else { break };
            entries.push(entry);
        }
        Ok(entries)
    }

    /// See [`super::Index::entry_version`].
    pub(super) fn entry_version(&self, tree: Tree, key: &EntryKey) -> Result<Option<EntryVersion>> {
        if matches!(tree, Tree::Objects { .. }) {
            return Ok(self.object_versions(key.hash)?.and_then(|versions| versions.version()));
        }
        let raw = [&key.hash.0, key.name.as_deref().unwrap_or("").as_bytes()].concat();
        for table in tree.tables() {
            if let Some(value) = self.get(*table, &raw)?
                && let Some(version) = version_of(tree, *table, &raw, &value)?
            {
                return Ok(Some(version));
            }
        }
        Ok(None)
    }

    /// All leaves, made anew from the entries.
    pub(super) fn recomputed_digests(&self, tree: Tree) -> Result<Vec<(u32, Digest)>> {
        let mut leaves = BTreeMap::<u32, Digest>::new();
        let mut walk = Walk::new(self, tree, &[], None);
        while let Some(entry) = walk.next()? {
            leaves.entry(entry.key.hash.partition(DIGEST_LEAF_BITS)).or_default().add(Digest::one(entry.number()));
        }
        Ok(leaves.into_iter().collect())
    }
}

/// Goes through the entries of a tree in the order of their keys, over all tables that hold some.
struct Walk<'a> {
    tree: Tree,
    sources: Vec<(Table, DBRawIterator<'a>)>,
}

impl<'a> Walk<'a> {
    fn new(tables: &'a Tables, tree: Tree, low: &[u8], high: Option<&[u8]>) -> Self {
        let open = |table: &Table| {
            let mut options = ReadOptions::default();
            options.fill_cache(false);
            if let Some(high) = high {
                options.set_iterate_upper_bound(high);
            }
            let mut rows = tables.iterator(*table, options);
            rows.seek(low);
            (*table, rows)
        };
        Self { tree, sources: tree.tables().iter().map(open).collect() }
    }

    fn next(&mut self) -> Result<Option<DigestEntry>> {
        loop {
            let mut first: Option<(usize, &[u8])> = None;
            for (place, (_, rows)) in self.sources.iter().enumerate() {
                match (rows.key(), first) {
                    (Some(key), Some((_, least))) if key >= least => {}
                    (Some(key), _) => first = Some((place, key)),
                    (None, _) => rows.status()?,
                }
            }
            let Some((place, _)) = first else { return Ok(None) };
            let (table, rows) = &mut self.sources[place];
            let Some((key, value)) = rows.item() else { continue };
            if *table == Table::Tombstones && matches!(self.tree, Tree::Objects { .. }) && key.len() > HASH_BYTES {
                // Rows' tombstones: all of their container's are passed by one seek.
                match behind(&key[..HASH_BYTES]) {
                    Some(next) => rows.seek(next),
                    None => {
                        rows.seek_to_last();
                        rows.next();
                    }
                }
                continue;
            }
            let entry = match version_of(self.tree, *table, key, value)? {
                Some(version) => Some(DigestEntry { key: entry_key(key)?, version }),
                None => None,
            };
            rows.next();
            if entry.is_some() {
                return Ok(entry);
            }
        }
    }
}

fn entry_key(key: &[u8]) -> Result<EntryKey> {
    let mut reader = Reader::new("key in the index", key);
    let hash = KeyHash(reader.array()?);
    let name = if key.len() > HASH_BYTES { Some(reader.rest_as_text()?) } else { None };
    Ok(EntryKey { hash, name })
}

/// The version of what stands under `key`; `None` where it is no entry of the tree.
fn version_of(tree: Tree, table: Table, key: &[u8], value: &[u8]) -> Result<Option<EntryVersion>> {
    let is_row = key.len() > HASH_BYTES;
    match (tree, table) {
        (Tree::Objects { policy }, _) if !is_row => {
            let versions = Versions::decode(value, Form::Object)?;
            Ok(if versions.policy() == policy { versions.version() } else { None })
        }
        (Tree::Containers, Table::Containers) => Ok(Container::decode(value)?.history.version(true)),
        (Tree::Containers, _) if is_row => Ok(Versions::decode(value, Form::Row)?.version()),
        (Tree::Accounts, Table::Accounts) => Ok(Account::decode(value)?.history.version(false)),
        (Tree::Accounts, Table::AccountRows | Table::AccountTombstones) => {
            Ok(Some(ContainerRow::decode(value)?.version()))
        }
        _ => Ok(None),
    }
}
