//! The tables (RocksDB's column families), how they are tuned, and the keys under which things stand.
//!
//! RocksDB writes no log of its own. With `atomic_flush` all tables reach the disk at one point, the log
//! position among them, so that what is found after a crash is the index as it was at some position.

use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use anello_base::Timestamp;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBPinnableSlice, FlushOptions, LogLevel, Options, ReadOptions, WriteBatch, WriteBufferManager, WriteOptions,
};

use super::codec::{Reader, Writer};
use super::digest::{Digest, Tree};
use super::leaves::Leaves;
use super::limits;
use super::shadow::DeadBytes;
use crate::error::{Error, Result};
use crate::key::KeyHash;
use crate::mutation::{Extent, LogPosition};

/// Version of the keys' and values' layout, `docs/formats/index.md`. An index of another version is not
/// read; it is rebuilt from the log.
pub(super) const FORMAT_VERSION: u32 = 3;

/// Length of the key of an object, a container or an account; a row's is longer.
pub(super) const HASH_BYTES: usize = 16;

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// Format version, log position, dead bytes. RocksDB's unnamed column family.
    Meta,
    /// Objects that are there, by hash.
    Objects,
    /// Listing rows that are there, by container and name.
    Rows,
    /// Tombstones of objects (by hash) and of rows (by container and name), and metadata that wait for their
    /// data. Apart from what is there, so that neither a listing nor a scan wades through them.
    Tombstones,
    /// Containers, by hash.
    Containers,
    /// Accounts, by hash.
    Accounts,
    /// Containers' rows, by account and name.
    AccountRows,
    /// Tombstones of containers' rows.
    AccountTombstones,
    /// Parts to delete and statistics to send.
    Pending,
    /// Objects by the second at which they are to be deleted.
    Expirations,
    /// Extents by volume and offset.
    Extents,
    /// What replicas are compared by, by tree and leaf.
    Digests,
}

impl Table {
    const ALL: [Self; 12] = [
        Self::Meta,
        Self::Objects,
        Self::Rows,
        Self::Tombstones,
        Self::Containers,
        Self::Accounts,
        Self::AccountRows,
        Self::AccountTombstones,
        Self::Pending,
        Self::Expirations,
        Self::Extents,
        Self::Digests,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Meta => "default",
            Self::Objects => "objects",
            Self::Rows => "rows",
            Self::Tombstones => "tombstones",
            Self::Containers => "containers",
            Self::Accounts => "accounts",
            Self::AccountRows => "account_rows",
            Self::AccountTombstones => "account_tombstones",
            Self::Pending => "pending",
            Self::Expirations => "expirations",
            Self::Extents => "extents",
            Self::Digests => "digests",
        }
    }

    /// Whether it gets an entry per object.
    const fn is_large(self) -> bool {
        matches!(self, Self::Objects | Self::Rows | Self::Tombstones | Self::Digests)
    }
}

const META_FORMAT: &[u8] = b"format";
const META_POSITION: &[u8] = b"position";
const META_DEAD: u8 = b'd';
/// First byte of the keys of parts to delete in [`Table::Pending`].
pub(super) const PENDING_PARTS: u8 = b'p';
/// First byte of the keys of statistics to send in [`Table::Pending`].
pub(super) const PENDING_STATS: u8 = b's';

/// Key of a name below a container or an account.
pub(super) fn row_key(parent: KeyHash, name: &str) -> Vec<u8> {
    [&parent.0, name.as_bytes()].concat()
}

/// Key of a multipart object whose parts are to be deleted: by age.
pub(super) fn parts_key(timestamp: Timestamp, object: KeyHash) -> Vec<u8> {
    [&[PENDING_PARTS][..], &timestamp.order().to_be_bytes(), &object.0].concat()
}

/// Key of a container whose statistics are to be sent; the value is its hash.
pub(super) fn stats_key(account: KeyHash, container: &str) -> Vec<u8> {
    [&[PENDING_STATS][..], &account.0, container.as_bytes()].concat()
}

/// Key of an object that is to be deleted at `second`.
pub(super) fn expiration_key(second: u64, object: KeyHash) -> Vec<u8> {
    [&second.to_be_bytes()[..], &object.0].concat()
}

/// Key of an extent. Its owner is part of it: while the log is replayed in another order, an extent that
/// was freed and given to another object is for a while named by both.
pub(super) fn extent_key(extent: Extent, object: KeyHash, timestamp: Timestamp) -> Vec<u8> {
    let (volume, offset) = (extent.volume.to_be_bytes(), extent.offset.to_be_bytes());
    [&volume[..], &offset, &object.0, &timestamp.order().to_be_bytes()].concat()
}

/// The first key behind all that start with `prefix`; `None` where there is none.
pub(super) fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut key = prefix[..=last].to_vec();
    key[last] += 1;
    Some(key)
}

/// The tables of one device.
#[derive(Debug)]
pub(super) struct Tables {
    db: DB,
    /// [`Table::Digests`] in memory; changed by whoever writes, behind its write.
    leaves: RwLock<Leaves>,
}

impl Tables {
    /// Format version of the tables in `dir`; `None` where there are none. Their other tables, of which
    /// another version has others, are not opened.
    pub(super) fn format(dir: &Path) -> Result<Option<u32>> {
        if !dir.join("CURRENT").exists() {
            return Ok(None);
        }
        let db = DB::open_for_read_only(&Options::default(), dir, false)?;
        let Some(found) = db.get(META_FORMAT)? else { return Ok(None) };
        Reader::new("format version of the index", &found).array().map(|bytes| Some(u32::from_le_bytes(bytes)))
    }

    /// Opens or creates the tables in `dir`.
    pub(super) fn open(dir: &Path, cache_bytes: usize) -> Result<Self> {
        let memory = WriteBufferManager::new_write_buffer_manager(limits::MEMTABLE_BYTES, false);
        let cache = Cache::new_lru_cache(cache_bytes);
        let families = Table::ALL.map(|table| ColumnFamilyDescriptor::new(table.name(), table_options(table, &cache)));
        let db = DB::open_cf_descriptors(&database_options(&memory), dir, families)?;
        let tables = Self { db, leaves: RwLock::default() };
        tables.check_format(dir)?;
        let mut leaves = Leaves::default();
        tables.scan(Table::Digests, &[], None, |key, value| {
            let (tree, leaf) = Tree::of_leaf_key(key)?;
            leaves.set(tree, leaf, Digest::decode(value)?);
            Ok(true)
        })?;
        *tables.leaves_mut() = leaves;
        Ok(tables)
    }

    /// Digests as they are.
    pub(super) fn leaves(&self) -> RwLockReadGuard<'_, Leaves> {
        self.leaves.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be changed behind a write only.
    pub(super) fn leaves_mut(&self) -> RwLockWriteGuard<'_, Leaves> {
        self.leaves.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_format(&self, dir: &Path) -> Result<()> {
        let Some(found) = self.get(Table::Meta, META_FORMAT)? else {
            let mut batch = self.batch();
            batch.put(Table::Meta, META_FORMAT, &FORMAT_VERSION.to_le_bytes());
            batch.write()?;
            return self.flush();
        };
        let found = Reader::new("format version of the index", &found).array().map(u32::from_le_bytes)?;
        if found != FORMAT_VERSION {
            let path = dir.display();
            return Err(Error::Index(format!("{path} has format {found}, this program reads {FORMAT_VERSION}")));
        }
        Ok(())
    }

    fn family(&self, table: Table) -> &ColumnFamily {
        self.db.cf_handle(table.name()).expect("every table was opened")
    }

    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>> {
        Ok(self.db.get_pinned_cf(self.family(table), key)?)
    }

    /// Entries with `low <= key < high` in order, as long as `take` answers `true`.
    pub(super) fn scan(
        &self,
        table: Table,
        low: &[u8],
        high: Option<Vec<u8>>,
        take: impl FnMut(&[u8], &[u8]) -> Result<bool>,
    ) -> Result<()> {
        self.scan_with(ReadOptions::default(), table, low, high, take)
    }

    /// The tables as they are now, for [`ReadOptions::set_snapshot`].
    pub(super) fn moment(&self) -> rocksdb::Snapshot<'_> {
        self.db.snapshot()
    }

    /// The same, read in a certain way.
    pub(super) fn scan_with(
        &self,
        mut options: ReadOptions,
        table: Table,
        low: &[u8],
        high: Option<Vec<u8>>,
        mut take: impl FnMut(&[u8], &[u8]) -> Result<bool>,
    ) -> Result<()> {
        options.fill_cache(false);
        if let Some(high) = high {
            options.set_iterate_upper_bound(high);
        }
        let mut rows = self.iterator(table, options);
        rows.seek(low);
        while let Some((key, value)) = rows.item() {
            if !take(key, value)? {
                return Ok(());
            }
            rows.next();
        }
        Ok(rows.status()?)
    }

    pub(super) fn iterator(&self, table: Table, options: ReadOptions) -> rocksdb::DBRawIterator<'_> {
        self.db.raw_iterator_cf_opt(self.family(table), options)
    }

    pub(super) fn batch(&self) -> Batch<'_> {
        Batch { tables: self, batch: WriteBatch::default() }
    }

    /// How far the log has been applied.
    pub(super) fn position(&self) -> Result<LogPosition> {
        let Some(bytes) = self.get(Table::Meta, META_POSITION)? else { return Ok(LogPosition::default()) };
        let mut reader = Reader::new("log position in the index", &bytes);
        let position = LogPosition { volume: reader.small()?, offset: reader.number()?, sequence: reader.number()? };
        reader.finish()?;
        Ok(position)
    }

    /// Dead bytes per log volume.
    pub(super) fn dead_bytes(&self) -> Result<DeadBytes> {
        let mut dead = DeadBytes::new();
        self.scan(Table::Meta, &[META_DEAD], behind(&[META_DEAD]), |key, value| {
            let volume = Reader::new("volume in the index", &key[1..]).array().map(u32::from_be_bytes)?;
            let mut reader = Reader::new("dead bytes in the index", value);
            dead.insert(volume, reader.number()?);
            reader.finish()?;
            Ok(true)
        })?;
        Ok(dead)
    }

    /// Writes all memtables to disk, at one point.
    pub(super) fn flush(&self) -> Result<()> {
        let families = Table::ALL.map(|table| self.family(table));
        Ok(self.db.flush_cfs_opt(&families, &FlushOptions::default())?)
    }
}

/// Changes that go in together.
pub(super) struct Batch<'a> {
    tables: &'a Tables,
    batch: WriteBatch,
}

impl Batch<'_> {
    pub(super) fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.batch.put_cf(self.tables.family(table), key, value);
    }

    pub(super) fn delete(&mut self, table: Table, key: &[u8]) {
        self.batch.delete_cf(self.tables.family(table), key);
    }

    pub(super) fn position(&mut self, position: LogPosition) {
        let mut out = Writer::default();
        out.number(u64::from(position.volume));
        out.number(position.offset);
        out.number(position.sequence);
        self.put(Table::Meta, META_POSITION, &out.0);
    }

    /// Sets the dead bytes of a volume; zero forgets it.
    pub(super) fn dead_bytes(&mut self, volume: u32, bytes: u64) {
        let key = [&[META_DEAD][..], &volume.to_be_bytes()].concat();
        if bytes == 0 {
            return self.delete(Table::Meta, &key);
        }
        let mut out = Writer::default();
        out.number(bytes);
        self.put(Table::Meta, &key, &out.0);
    }

    /// All or nothing; readers see all of it or nothing.
    pub(super) fn write(self) -> Result<()> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        Ok(self.tables.db.write_opt(self.batch, &options)?)
    }
}

fn database_options(memory: &WriteBufferManager) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_atomic_flush(true);
    options.set_write_buffer_manager(memory);
    options.set_max_background_jobs(limits::BACKGROUND_JOBS);
    options.set_max_open_files(limits::OPEN_FILES_MAX);
    options.set_bytes_per_sync(limits::SYNC_EVERY_BYTES);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(limits::INFO_LOG_BYTES);
    options.set_keep_log_file_num(limits::INFO_LOG_FILES);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

fn table_options(table: Table, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_block_size(if matches!(table, Table::Objects) {
        limits::LOOKUP_BLOCK_BYTES
    } else {
        limits::BLOCK_BYTES
    });
    blocks.set_metadata_block_size(limits::METADATA_BLOCK_BYTES);
    blocks.set_bloom_filter(limits::BLOOM_BITS_PER_KEY, false);
    blocks.set_optimize_filters_for_memory(true);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_format_version(6);

    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    let memtable = if table.is_large() { limits::MEMTABLE_LARGE_BYTES } else { limits::MEMTABLE_SMALL_BYTES };
    options.set_write_buffer_size(memtable);
    options.set_max_write_buffer_number(limits::MEMTABLES_MAX);
    options.set_memtable_whole_key_filtering(true);
    options.set_memtable_prefix_bloom_ratio(limits::MEMTABLE_BLOOM_RATIO);
    options.set_compression_type(DBCompressionType::Lz4);
    // An object's hash and MD5 don't compress, and a look-up pays for the block that it reads.
    if !matches!(table, Table::Objects) {
        options.set_bottommost_compression_type(DBCompressionType::Zstd);
    }
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_level_zero_file_num_compaction_trigger(limits::LEVEL0_TABLES);
    options.set_level_zero_slowdown_writes_trigger(limits::LEVEL0_TABLES_SLOW);
    options.set_level_zero_stop_writes_trigger(limits::LEVEL0_TABLES_STOP);
    if !matches!(table, Table::Meta) {
        options.add_compact_on_deletion_collector_factory(limits::DELETIONS_WINDOW, limits::DELETIONS_TRIGGER, 0.0);
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_is_the_first_key_that_does_not_start_with_the_prefix() {
        for (prefix, want) in [
            (&b"a"[..], Some(&b"b"[..])),
            (b"a/", Some(b"a0")),
            (b"a\xff", Some(b"b")),
            (b"a\xff\xff", Some(b"b")),
            (b"\xff\xff", None),
            (b"", None),
        ] {
            assert_eq!(behind(prefix).as_deref(), want, "{prefix:?}");
        }
    }

    /// Without this a program reads another version's bytes as its own.
    #[test]
    fn another_format_version_is_refused() {
        let dir = tempfile::tempdir().expect("directory");
        let tables = Tables::open(dir.path(), 1 << 20).expect("opens");
        let mut batch = tables.batch();
        batch.put(Table::Meta, META_FORMAT, &(FORMAT_VERSION + 1).to_le_bytes());
        batch.write().expect("writes");
        drop(tables);
        assert!(matches!(Tables::open(dir.path(), 1 << 20), Err(Error::Index(_))));
        assert_eq!(Tables::format(dir.path()).expect("reads"), Some(FORMAT_VERSION + 1));
    }
}
