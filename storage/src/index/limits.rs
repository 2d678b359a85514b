//! Every limit of the index, with its reason.

use anello_base::units::{KIB, MIB};

/// Memory of all memtables together. With some 250 bytes per new object it takes in 200,000 objects
/// before it is flushed; RocksDB flushes every column family when it is reached.
pub(super) const MEMTABLE_BYTES: usize = 48 * MIB as usize;

/// Memtable of a column family that gets an entry per object: a third of [`MEMTABLE_BYTES`], so that one
/// can be flushed while the next one fills.
pub(super) const MEMTABLE_LARGE_BYTES: usize = 16 * MIB as usize;

/// Memtable of the other column families.
pub(super) const MEMTABLE_SMALL_BYTES: usize = 4 * MIB as usize;

/// Memtables of one column family, full ones that are being flushed included. Behind it writes wait.
pub(super) const MEMTABLES_MAX: i32 = 3;

/// Bytes of a data block. Names that follow one another share their beginnings, which larger blocks save.
pub(super) const BLOCK_BYTES: usize = 16 * KIB as usize;

/// Bytes of a data block where single keys are looked up: one is read, checked and unpacked for each.
pub(super) const LOOKUP_BLOCK_BYTES: usize = 4 * KIB as usize;

/// Bytes of a partition of a table's index or Bloom filter: what is cached or evicted at once.
pub(super) const METADATA_BLOCK_BYTES: usize = 4 * KIB as usize;

/// Bloom filter bits per key: about one false positive, that is one disk read in vain, in a hundred.
pub(super) const BLOOM_BITS_PER_KEY: f64 = 10.0;

/// Part of a memtable given to its own Bloom filter, so that a new name costs no search in it.
pub(super) const MEMTABLE_BLOOM_RATIO: f64 = 0.04;

/// Tables of level 0 at which they are merged downwards. More of them means fewer rewrites and more
/// tables to ask; their Bloom filters make asking cheap.
pub(super) const LEVEL0_TABLES: i32 = 6;

/// Tables of level 0 at which writes are slowed down, so that merging keeps up.
pub(super) const LEVEL0_TABLES_SLOW: i32 = 24;

/// Tables of level 0 at which writes wait.
pub(super) const LEVEL0_TABLES_STOP: i32 = 36;

/// Open tables. Each holds a descriptor and a few kilobytes; the least recently used is closed.
pub(super) const OPEN_FILES_MAX: i32 = 512;

/// Threads that flush and merge, of both kinds together.
pub(super) const BACKGROUND_JOBS: i32 = 2;

/// Bytes that a flush or merge writes before it asks the kernel to start writing them out, so that no
/// flush of the log waits behind a long tail of dirty pages.
pub(super) const SYNC_EVERY_BYTES: u64 = MIB;

/// RocksDB's own log: bytes per file, and files kept.
pub(super) const INFO_LOG_BYTES: usize = MIB as usize;
/// See [`INFO_LOG_BYTES`].
pub(super) const INFO_LOG_FILES: usize = 2;

/// A table in which, among this many neighbouring entries, …
pub(super) const DELETIONS_WINDOW: usize = 4096;
/// … this many are RocksDB's deletion marks is merged soon, so that a listing after a mass deletion
/// doesn't wade through them.
pub(super) const DELETIONS_TRIGGER: usize = 1024;

/// Rows that a listing steps over one by one below a rolled-up prefix before it seeks: a step costs some
/// 0.1 µs and a seek 3 µs.
pub(super) const STEPS_BEFORE_SEEK: usize = 16;

/// Room that a listing's result takes at once; beyond it, it grows.
pub(super) const LISTING_ROOM_MAX: usize = 10_000;

/// Changes of a container or account that are remembered, with their records, although later ones replaced
/// all that they set. Only a deletion that comes behind more later changes than this, in a rebuild or from
/// a replica, would leave a wrong creation time.
pub(super) const CHANGES_KEPT: usize = 64;

/// Volumes that one name remembers as holding its dead records; more are remembered as a range.
pub(super) const SHADOWS_MAX: usize = 8;

/// Tombstones dropped in one write: bounds the memory of the write and how long a commit waits for it.
pub(super) const RECLAIM_BATCH: usize = 1000;

const _: () = assert!(2 * MEMTABLE_LARGE_BYTES < MEMTABLE_BYTES);
const _: () = assert!(LEVEL0_TABLES < LEVEL0_TABLES_SLOW && LEVEL0_TABLES_SLOW < LEVEL0_TABLES_STOP);
