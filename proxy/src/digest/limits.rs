//! The sizes and times by which uploads are hashed alone or together. Figures: the block functions alone on
//! one core of an AMD EPYC (Zen 4): one stream 0.8 GB/s, 4 lanes 2.2, 8 lanes 4.4, 16 lanes 6.2.

use std::time::Duration;

/// Bodies up to this many bytes are hashed where they are received, once they are whole, in at most 85 µs:
/// two changes of threads and the wait for company are not worth saving a part of that.
pub(super) const SMALL_BYTES: usize = 64 * 1024;

/// Bytes that a large upload gathers before it hands them to the hashing thread: enough that the hand-over
/// (some µs) is noise beside the hashing (20 to 160 µs). An upload holds at most twice this and two frames
/// of its body: one job in flight, one gathering.
pub(super) const JOB_BYTES: usize = 128 * 1024;

/// The same for an upload that is one of a few, at most.
pub(super) const LONE_JOB_BYTES: usize = 512 * 1024;

/// Less than this is hashed on the spot even when the thread is there, for the same reason.
pub(super) const JOB_MIN_BYTES: usize = 16 * 1024;

/// Pieces that an upload gathers. A body that comes in crumbs reaches this before [`JOB_BYTES`] and is then
/// hashed on the spot, so that the list of pieces, too, is bounded.
pub(super) const GATHERED_PIECES: usize = 64;

/// Large uploads about, from which on the end of one, too, is worth the change of threads. Two lanes give
/// 1.1 GB/s, hardly more than two scalar cores do without waiting for each other.
pub(super) const CROWD_UPLOADS: usize = 3;

/// How long a job may wait for others to fill the lanes. Reached: it runs with whoever is there, and as
/// many are expected next time. Two milliseconds of 128 KiB jobs fill 16 lanes at 1 GB/s.
pub(super) const LINGER: Duration = Duration::from_millis(2);

/// Jobs that wait for a lane. Reached when uploads outrun one hashing thread: what comes on top is hashed
/// by the upload itself on its own core, so nothing waits for ever and the queue stays bounded.
pub(super) const WAITING_JOBS: usize = 64;

/// Blocks per lane between two looks at the queue while lanes are free: 16 KiB, 25 µs.
pub(super) const QUANTUM_BLOCKS: usize = 256;

/// Blocks that every lane advances at a time: 8 KiB, so that what one digest has read is still in the nearer
/// caches (16 lanes: 128 KiB) when the other reads it.
pub(super) const STRIDE_BLOCKS: usize = 128;

const _: () = assert!(JOB_MIN_BYTES <= JOB_BYTES && SMALL_BYTES <= JOB_BYTES);
const _: () = assert!(JOB_MIN_BYTES >= super::kernel::BLOCK_BYTES, "a job holds at least one block");
const _: () = assert!(WAITING_JOBS >= super::kernel::LANES, "a full queue fills the lanes");
