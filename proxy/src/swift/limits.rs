//! Every limit of the Swift door. Those that clients can run into are published at `/info`; their values
//! are Swift's own defaults, because clients carry them.

use std::time::Duration;

/// Bytes of one object by a single PUT: 5 GiB and two bytes, Swift's published figure. Larger: 413.
pub(super) const FILE_BYTES_MAX: u64 = 5_368_709_122;

/// Bytes of a metadata item's name, without its prefix. Longer: 400.
pub(super) const META_NAME_BYTES_MAX: usize = 128;

/// Bytes of a metadata item's value. Longer: 400.
pub(super) const META_VALUE_BYTES_MAX: usize = 256;

/// Metadata items of an account, container or object. More: 400.
pub(super) const META_COUNT_MAX: usize = 90;

/// Bytes of all names and values of a thing's metadata. More: 400.
pub(super) const META_BYTES_MAX: usize = 4096;

/// Bytes of any one header's value. Longer: 400.
pub(super) const HEADER_BYTES_MAX: usize = 8192;

/// Headers that a server in front of the door must let through: the metadata and what HTTP and the other
/// rooms add. Fewer, and a client can't send all the metadata that `/info` promises.
pub const HEADER_COUNT_MAX: usize = META_COUNT_MAX + 36;

/// Bytes of an account's name. Longer: 400 when it is to be created.
pub(super) const ACCOUNT_NAME_BYTES_MAX: usize = 256;

/// Bytes of a container's name. Longer: 400 when it is to be created.
pub(super) const CONTAINER_NAME_BYTES_MAX: usize = 256;

/// Bytes of an object's name. Longer: 400 when it is to be created.
pub(super) const OBJECT_NAME_BYTES_MAX: usize = 1024;

/// Entries of one listing page. A larger `limit`: 412.
pub(super) const LISTING_ENTRIES_MAX: usize = 10_000;

/// Ranges of one GET. More: 416, for they cost the server more than the client (RFC 9110 §14.2).
pub(super) const RANGES_MAX: usize = 50;

/// Ranges of one GET that overlap another. More: 416.
pub(super) const RANGE_OVERLAPS_MAX: usize = 2;

/// Ranges of one GET that begin before the one in front of them. More: 416.
pub(super) const RANGE_DESCENTS_MAX: usize = 8;

/// Silence of a client in the middle of its upload. Longer: 408, so that nobody holds a writer for nothing.
pub(super) const CLIENT_SILENCE_MAX: Duration = Duration::from_secs(60);

/// Bytes of `X-Trans-Id-Extra` that are kept.
pub(super) const TRANSACTION_EXTRA_BYTES_MAX: usize = 32;

/// Bytes of a static large object's list of segments. Larger: 413.
pub(super) const SLO_MANIFEST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Objects in one such list. More: 413.
pub(super) const SLO_SEGMENTS_MAX: usize = 1000;

/// Segments of a new list that are looked at together: enough to hide a slow one, few enough not to crowd
/// out other requests.
pub(super) const SLO_CHECKS_AT_ONCE: usize = 8;

/// Segments of a dynamic large object; their names are in memory while it is read. More: 409.
pub(super) const DLO_SEGMENTS_MAX: usize = 100_000;

/// Containers of an account's listing whose storage policies are looked up together, where there are several.
pub(super) const POLICY_LOOKUPS_AT_ONCE: usize = 16;

/// Large objects and links of a container's listing that are looked up together.
pub(super) const ROW_LOOKUPS_AT_ONCE: usize = 16;

/// Bytes of a listing that a middleware reads: 10,000 entries with names of 1,024 letters that take six each in JSON,
/// and what stands beside them. More cannot come.
pub(super) const LISTING_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Versions of an object that are looked through at a time.
pub(super) const VERSIONS_PAGE: usize = 1_000;

/// Silence of the server while it works on many objects: then a blank shows that it is there. What Swift's
/// `yield_frequency` is.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);

/// Bytes of a list of objects to delete: 10,000 names of the greatest length, partly percent-encoded. More: 413.
pub(super) const BULK_LIST_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Objects and containers that one bulk request deletes. More: 413.
pub(super) const BULK_DELETES_MAX: usize = 10_000;

/// Failures after which a bulk request gives up.
pub(super) const BULK_FAILURES_MAX: usize = 1_000;

/// Containers that are made for one archive. More: 400.
pub(super) const BULK_CONTAINERS_MAX: usize = 10_000;

/// Objects of one bulk request that are deleted at the same time: they share a group commit, and leave room for others.
pub(super) const BULK_DELETES_AT_ONCE: usize = 16;

/// Bytes of an archive's long names and extended headers, each. More: the archive is refused.
pub(super) const TAR_EXTENSION_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes of a file that are on their way from an archive to the devices, in pieces.
pub(super) const TAR_CHUNK_BYTES: usize = 64 * 1024;

/// Bytes of a form's field that is no file. More: 400. Swift's figure.
pub(super) const FORM_VALUE_BYTES_MAX: usize = 4096;

/// Fields of a form besides its files. More: 400; it knows nine.
pub(super) const FORM_FIELDS_MAX: usize = 64;

/// Bytes of the headers of a form's part. More: 400; browsers send some hundred.
pub(super) const FORM_HEADERS_BYTES_MAX: usize = 8192;

/// Accounts and containers whose requests `ratelimit` counts, some 100 bytes each. Beyond it those that have been idle
/// are forgotten, and if there are none, all: then each may be as fast as its buffer is once more.
pub(super) const RATE_COUNTERS_MAX: usize = 100_000;

/// What a sender whom `ratelimit` blocks waits before he is told, Swift's figure.
pub(super) const BLOCKED_SENDER_PAUSE: Duration = Duration::from_secs(1);

/// Names of sites whose meaning `cname_lookup` remembers, some 500 bytes each. Beyond it the oldest are asked for again.
pub(super) const CNAME_CACHE_MAX: u64 = 10_000;

/// Containers of an account that are added up to its totals by policy, some microseconds each. An account with more shows
/// none, and quotas by policy are not held against it.
pub(super) const POLICY_TOTALS_CONTAINERS_MAX: usize = 100_000;

/// Accounts whose totals by policy are remembered, some 200 bytes each.
pub(super) const POLICY_TOTALS_CACHE_MAX: u64 = 10_000;

/// How old such totals may be that a quota by policy is held against: as in Swift, which remembers an account's for a
/// minute, what comes meanwhile may go beyond.
pub(super) const POLICY_TOTALS_LIFE: Duration = Duration::from_secs(5);

/// Rows of a container that is copied to another cluster, which are read at once.
pub(super) const SYNC_PAGE: usize = 1_000;

/// Failures after which a pass leaves a container: the other cluster is down, or its key is another.
pub(super) const SYNC_FAILURES_MAX: usize = 10;

/// How far a timestamp that another cluster sends may be ahead: what clocks may differ by.
pub(super) const SYNC_AHEAD_MAX: Duration = Duration::from_secs(30);

/// How long the other cluster may take to be reached.
pub(super) const SYNC_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the copy of an object may take: 5 GiB at 1.5 MB/s.
pub(super) const SYNC_EXCHANGE_TIMEOUT: Duration = Duration::from_secs(3600);

/// Connections to the other cluster that are kept for the next object.
pub(super) const SYNC_IDLE_MAX: usize = 4;
