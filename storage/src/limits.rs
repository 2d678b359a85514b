//! Every limit of the engine, with its reason.

use std::time::Duration;

use anello_base::units::{KIB, MIB};

/// Alignment of direct I/O and of every batch and extent: the largest logical sector in use.
pub const ALIGNMENT: u64 = 4 * KIB;

/// Data are checked in blocks of this size, so that a range read checks what it reads and no more.
pub const BLOCK_BYTES: u64 = 64 * KIB;

/// Objects up to this size are packed into a log batch; larger ones are streamed into extents first.
/// Below it, one write for everything is cheaper than a second position to write to.
pub const INLINE_BYTES_MAX: u64 = 256 * KIB;

/// One write of a streamed object. Large enough that its cost per byte is small, small enough that
/// memory per upload stays low (one is being filled while another is being written).
pub const EXTENT_WRITE_BYTES: u64 = 512 * KIB;

/// Space reserved at once for a streamed object, so that its data lie together.
pub const EXTENT_RESERVE_BYTES: u64 = 8 * MIB;

/// A log volume's size. Compaction works on whole volumes, so it bounds the space that waits for it.
pub const LOG_VOLUME_BYTES: u64 = 256 * MIB;

/// A data volume's size.
pub const DATA_VOLUME_BYTES: u64 = 4096 * MIB;

/// Bytes of one group commit. Bounds the memory of a batch and the wait of its first record.
pub const BATCH_BYTES_MAX: u64 = 4 * MIB;

/// Bytes of one group commit that replicas and compaction bring while clients are about: one more record of theirs may
/// come on top. A client's record waits for the batch before it, which takes a millisecond or two at this size.
pub const BATCH_BYTES_BEHIND_CLIENTS: u64 = 512 * KIB;

/// Clients count as being about for so long after the last request.
pub const CLIENTS_LINGER: Duration = Duration::from_secs(1);

/// Names, metadata and block checksums of one record; a single PUT of 5 GiB has 320 KiB of checksums.
pub const RECORD_HEAD_BYTES_MAX: u64 = 2 * MIB;

/// Records that may wait for a batch. Behind it the store answers busy.
pub const QUEUE_RECORDS_MAX: usize = 4096;

/// Free space below which only deletions and compaction may take more: one log volume, so that
/// compaction can always run and free the rest.
pub const SPACE_RESERVE_BYTES: u64 = LOG_VOLUME_BYTES;

/// Objects up to this size are read together with their record's head, in one read.
pub const READ_TOGETHER_BYTES_MAX: u64 = INLINE_BYTES_MAX;

/// Large objects are read in windows of this size. One is handed out while the next is being read
/// ahead, so a reader holds two. Windows that fit a core's own cache were tried: the system calls and the
/// wake-ups of the client that they add cost more than they save.
pub const READ_WINDOW_BYTES: u64 = MIB;

/// Windows whose memory is kept for the next reader: those of 32 that are served from the page cache.
pub const READ_WINDOWS_IDLE_MAX: usize = 32;

/// Buffers of streamed objects whose memory is kept for the next one: those of 32 uploads. New memory has to be
/// zeroed by the kernel, page by page, which costs as much as hashing it.
pub const EXTENT_BUFFERS_IDLE_MAX: usize = 64;

/// A log volume is compacted once this part of it is dead. Lower wastes less space and copies more.
pub const COMPACT_DEAD_PERCENT: u64 = 40;

/// While the device is full, compaction takes volumes with this much dead.
pub const COMPACT_DEAD_PERCENT_FULL: u64 = 5;

/// Bytes that compaction reads and copies per second, so that clients come first. Not held to while the
/// device is full.
pub const COMPACT_BYTES_PER_SECOND: u64 = 64 * MIB;

/// What replication and reconstruction move per second and device at the least while clients are served all the time:
/// a lost disk's copies are made anew in hours. While they are not, nothing but the network holds these up.
pub const BACKGROUND_BYTES_PER_SECOND_MIN: u64 = 32 * MIB;

/// A reader that has waited this long for a replica's next bytes asks another one, too, and goes on with whichever is
/// faster.
pub const READ_HEDGE_DELAY: Duration = Duration::from_millis(100);

/// How often compaction looks for work when there was none.
pub const COMPACT_INTERVAL: Duration = Duration::from_secs(5);

/// Log behind which the index is made durable, so that a start replays no more than about that.
pub const INDEX_FLUSH_BYTES: u64 = LOG_VOLUME_BYTES;

/// A pass of the auditor takes no longer than this, where nothing else is said: damage on two of three replicas in the
/// same week is rare.
pub const AUDIT_WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);

/// Bytes that the auditor reads per second at least, so that a device with little on it is not read for days.
pub const AUDIT_BYTES_PER_SECOND_MIN: u64 = MIB;

/// Bytes that the auditor reads at once.
pub const AUDIT_BYTES_STEP: u64 = 16 * MIB;

/// Rows that are counted at once to see whether statistics are right, where no container has more …
pub const RECOUNT_ROWS_STEP: u64 = 10_000;

/// … and per second: some hundredth of a core.
pub const RECOUNT_ROWS_PER_SECOND: u64 = 20_000;

/// Objects that the auditor takes from the index at once, and after which it notes where it stands.
pub const AUDIT_OBJECTS_STEP: usize = 256;

/// Pause between two passes of the auditor.
pub const AUDIT_PAUSE: Duration = Duration::from_secs(6 * 3600);

/// Entries that a listing may have to be made on the reactor; longer ones go to the blocking pool, so that
/// they don't hold up small requests.
pub const LISTING_INLINE_MAX: usize = 1000;

/// Units of work that a worker takes at once, so that it holds nothing for long.
pub const WORKER_STEP_MAX: usize = 256;

/// How often statistics are sent to accounts on other devices; the age of a total seen by a client.
pub const STATS_INTERVAL: Duration = Duration::from_millis(500);

/// How often each other host is asked for a sign of life.
pub const PING_INTERVAL: Duration = Duration::from_secs(2);

/// How often expired objects are looked for. They are hidden from the second that was set; this only
/// bounds how long they take space.
pub const EXPIRY_INTERVAL: Duration = Duration::from_secs(10);

/// How long a tombstone is kept, as in Swift: a replica that was away for longer may bring back the dead.
pub const RECLAIM_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Rows above which a container is split into shards, in which half as many are: a listing costs its output whatever a
/// container holds, but all its writes go to the same devices.
pub const SHARD_ROWS_MAX: u64 = 10_000_000;

/// How often the sharder looks for work, and counts what the shards of a container come to.
pub const SHARD_INTERVAL: Duration = Duration::from_secs(30);

/// Rows that the sharder copies or empties per second, so that clients come first.
pub const SHARD_ROWS_PER_SECOND: u64 = 10_000;

/// Rows that are compared and copied at once.
pub const SHARD_ROWS_STEP: usize = 1000;

/// Containers that the sharder looks at in one go through the index, and rests for a moment.
pub const SHARD_CONTAINERS_STEP: usize = 10_000;

/// How long rows that a shard has taken over stay where they were, for listings that began before: far beyond any
/// request's time.
pub const SHARD_GRACE: Duration = Duration::from_secs(300);

/// How old a shard is of which no map tells before it counts as lost: whoever made it for a map has long failed.
pub const SHARD_LOST_AFTER: Duration = Duration::from_secs(3600);

/// Item of an account's metadata that says that it is to be emptied and deleted; its value is the account's name.
pub(crate) const LEAVING_ITEM: &str = "anello-account-leaving";

/// How often old tombstones are looked for.
pub const RECLAIM_INTERVAL: Duration = Duration::from_secs(3600);

const _: () = assert!(INLINE_BYTES_MAX.is_multiple_of(BLOCK_BYTES));
const _: () =
    assert!(EXTENT_WRITE_BYTES.is_multiple_of(BLOCK_BYTES) && EXTENT_RESERVE_BYTES.is_multiple_of(EXTENT_WRITE_BYTES));
const _: () = assert!(INLINE_BYTES_MAX + RECORD_HEAD_BYTES_MAX < BATCH_BYTES_MAX);
const _: () = assert!(BLOCK_BYTES.is_multiple_of(ALIGNMENT));
const _: () = assert!(READ_WINDOW_BYTES.is_multiple_of(BLOCK_BYTES) && LOG_VOLUME_BYTES > 2 * BATCH_BYTES_MAX);

/// Damaged objects of a device that wait to be healed: bounds memory where a whole disk goes bad.
pub const DAMAGED_MAX: usize = 10_000;

/// From one look for damaged objects that a replica may have whole to the next.
pub const HEAL_INTERVAL: Duration = Duration::from_secs(1);

/// From the end of a replication pass to the next. One that finds nothing costs milliseconds.
pub const REPLICATION_INTERVAL: Duration = Duration::from_secs(30);

/// The same behind a pass that failed in part while the rings change.
pub const REPLICATION_RETRY: Duration = Duration::from_secs(2);

/// A write's last share comes within the time-out of a commit, or not at all.
pub const REPLICATION_SETTLE: Duration = Duration::from_secs(15);

/// How long a writer whose condition fails has the object moved first, where the rings change: some hundred MiB.
pub const MOVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a device sends to other replicas per second where nothing else is said: much of what a disk sustains, while
/// clients' own requests are served beside it.
pub const REPLICATION_BYTES_PER_SECOND: u64 = 256 * MIB;

/// Fragments that a device makes anew at a time for another; each holds a stripe of some hundred KiB.
pub const REBUILDS_AT_ONCE: usize = 8;

/// From one look at the cluster's map to the next: a change of the rings takes some of them.
pub const MEMBERSHIP_INTERVAL: Duration = Duration::from_secs(1);

/// From one round of the sweeper of fragments to the next, and how old a fragment must be before it is suspected:
/// its head follows within a second, and readers of a head that was replaced are through.
pub const FRAGMENT_SWEEP_INTERVAL: Duration = Duration::from_secs(6 * 3600);
