//! Limits of joined objects, with their reasons.

use std::time::Duration;

use anello_base::units::MIB;

/// Parts of one object; S3's own limit, so that a list stays readable in one piece.
pub const PARTS_MAX: usize = 10_000;

/// A stored part list. 10,000 parts of at most 350 bytes each are below it; a longer one is not ours.
pub const PART_LIST_BYTES_MAX: u64 = 4 * MIB;

/// Parts of one object that the reaper deletes at the same time: enough to share a group commit, few
/// enough that clients do not notice.
pub const REAP_CONCURRENCY: usize = 16;

/// Replaced objects whose parts the reaper deletes in one step.
pub const REAP_BATCH: usize = 64;

/// Replaced objects that the reaper looks at in one step, a few KiB each, and that wait for their grace at the
/// same time: the reaper keeps up with half a million of them a day, and with what is more later.
pub const REAP_SEEN_MAX: usize = 4_096;

/// Waiting objects that the reaper counts, for the status; more are shown as this many.
pub const REAP_COUNT_MAX: usize = 100_000;

/// How often the reaper looks again where an object's parts are listed, if the object changes meanwhile. Then it leaves
/// it for the next step.
pub const REAP_LOOKS_MAX: usize = 8;

/// How long a replaced object's parts are left alone after the reaper first saw it, so that a download
/// that had begun before comes to its end.
pub const REAP_GRACE: Duration = Duration::from_secs(600);

/// The reaper's pause when it found nothing to do: deleted space comes back within the grace and this.
pub const REAP_INTERVAL: Duration = Duration::from_secs(30);

/// Manifests within manifests. Deeper: the reading ends with an error, for a manifest could lead to itself.
pub const SEGMENT_DEPTH_MAX: usize = 10;

/// Links that are followed one after another. More: the reading is refused, for they could lead in a circle. Swift's
/// default.
pub const LINKS_MAX: usize = 2;

/// Uploads younger than this are none of the sweeper's business.
pub const SWEEP_AGE: Duration = Duration::from_secs(24 * 3600);

/// The sweeper's pause between two rounds, and the least time in which parts have to be found twice.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);

/// The sweeper's pause between two uploads: a million of them take three hours, and no client notices.
pub const SWEEP_PAUSE: Duration = Duration::from_millis(10);

/// Rows that the sweeper reads at once.
pub const SWEEP_PAGE: usize = 1_000;

/// Parts that the sweeper remembers from one round to the next, some 200 bytes each; more wait for later
/// rounds.
pub const SWEEP_FOUND_MAX: usize = 50_000;

/// Jobs of deletions in the background that a step looks at: each is at most a thousand objects.
pub const DELETION_JOBS_PAGE: usize = 100;

/// The deleter's pause when it found nothing to do: how long who asked for a deletion waits for its space.
pub const DELETION_INTERVAL: Duration = Duration::from_secs(5);

/// How long a job is its host's alone: longer than a thousand deletions take on disks that are busy. Later another host
/// takes it.
pub const DELETION_CLAIM: Duration = Duration::from_secs(600);

/// Bytes of a root secret at least: a key of 256 bits.
pub const ROOT_SECRET_BYTES_MIN: usize = 32;

/// Letters of a root secret's id: it is in every sealed value.
pub const SECRET_ID_BYTES_MAX: usize = 32;

/// Bytes of the file of root secrets: hundreds of them.
pub const SECRETS_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Containers whose keys are remembered, some 300 bytes each; those of others are made again, in microseconds where a
/// root secret is at hand.
pub const CONTAINER_KEYS_MAX: u64 = 10_000;

/// A sealed value: the digests of 10,000 parts have 650 KiB.
pub const SEALED_VALUE_BYTES_MAX: usize = MIB as usize;

const _: () = assert!(PARTS_MAX * (16 + 1 + 32) * 4 / 3 + 256 < SEALED_VALUE_BYTES_MAX);

const _: () = assert!(PARTS_MAX as u64 * 350 < PART_LIST_BYTES_MAX);

/// How often deleted accounts are looked for: a look goes through all that the host keeps.
pub const ACCOUNT_REAP_INTERVAL: Duration = Duration::from_secs(60);

/// Objects of deleted accounts that a host deletes per second, so that clients come first.
pub const ACCOUNT_REAP_PER_SECOND: u64 = 1_000;

/// Names of a deleted account that are listed at once.
pub const ACCOUNT_REAP_PAGE: usize = 1_000;

/// How often buckets are looked for whose lifecycle rules are due: rules that were put now are carried out within this.
pub const LIFECYCLE_INTERVAL: Duration = Duration::from_secs(60);

/// How long a bucket is its host's alone after the host last told that it is going through it: a page takes seconds.
pub const LIFECYCLE_CLAIM: Duration = Duration::from_secs(600);

/// How often a host tells how far it is: what another one repeats if it dies.
pub const LIFECYCLE_NOTE_INTERVAL: Duration = Duration::from_secs(30);

/// How long rules may be there that no bucket names: they are kept first, and named then.
pub const LIFECYCLE_UNUSED: Duration = Duration::from_secs(3600);

/// Objects or versions of a bucket that are listed at once.
pub const LIFECYCLE_PAGE: usize = 1_000;

/// Objects that may expire and are looked at per second, so that clients come first.
pub const LIFECYCLE_LOOKS_PER_SECOND: u64 = 5_000;

/// Objects that are deleted per second because they expired.
pub const LIFECYCLE_DELETIONS_PER_SECOND: u64 = 1_000;

/// Names of rules that are remembered to be carried out for today, some 150 bytes each; the others are looked at again.
pub const LIFECYCLE_REMEMBERED_MAX: usize = 100_000;

/// After this long an upload that somebody was completing counts as abandoned.
pub const UPLOAD_CLAIM: Duration = Duration::from_secs(300);

/// How long records of an access log wait for others, to be delivered in one log object with them.
pub const ACCESS_LOG_AGE: Duration = Duration::from_secs(60);

/// How often records of access logs are looked for.
pub const ACCESS_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Records of one log object, a few hundred bytes each; so many don't wait.
pub const ACCESS_LOG_RECORDS_MAX: usize = 1_000;

/// How long a bucket's records are one host's to deliver. A batch takes seconds; later another host takes over.
pub const ACCESS_LOG_CLAIM: Duration = Duration::from_secs(300);
