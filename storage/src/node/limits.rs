//! Limits of the traffic between nodes, each with its reason.

use std::time::Duration;

use anello_base::units::MIB;

/// Locks and promise lists of a device. Unrelated names that meet in one stripe only wait for each other where one
/// of them is conditional, so a few thousand are plenty for the writes that a device has in flight.
pub(super) const STRIPES: usize = 2048;

/// Promises kept for the keys of one stripe; the oldest is forgotten by raising the stripe's floor to it, which
/// refuses no write that takes its timestamp now. Only writes that failed leave a promise behind.
pub(super) const PROMISES_PER_STRIPE: usize = 16;

/// How far a device's floor runs ahead of its latest promise: bounds both how often it is written and how far
/// timestamps jump ahead after a crash.
pub(crate) const PROMISE_LEAD: Duration = Duration::from_secs(1);

/// How far ahead of this node's clock a timestamp may be. NTP keeps clocks within milliseconds; a clock that is
/// wrong by more would make versions that nobody can replace for as long.
pub(crate) const CLOCK_SKEW_MAX: Duration = Duration::from_secs(30);

/// The same in ticks of 10 µs.
pub(super) const CLOCK_SKEW_MAX_TICKS: u64 = CLOCK_SKEW_MAX.as_secs() * 100_000;

/// Difference of two hosts' clocks from which on it is shown as a fault: far more than NTP leaves, and far from what
/// makes them refuse each other. In ticks of 10 µs.
pub(super) const CLOCK_SKEW_SHOWN_TICKS: u64 = 100_000;

/// One frame's payload. Bounds what an unknown sender can make a host hold before its MAC proves wrong.
pub(super) const FRAME_BYTES_MAX: usize = MIB as usize;

/// A call or an answer without its data; a record with inline data and metadata fits, and a listing's page.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 * MIB as usize;

/// Time to reach a node. On a network of one site a node that doesn't answer within it is down or cut off.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Time after which a connection counts as dead whose other end does not even acknowledge: a host that lost its power or
/// was cut off says nothing, and some calls may take an hour.
pub(crate) const DEAD_CONNECTION_TIMEOUT: Duration = Duration::from_secs(20);

/// Silence on a connection behind which the other end is asked whether it is there, so many times in that time-out.
pub(super) const KEEPALIVE_PROBES: u32 = 4;

/// Time for an answer from an index.
pub(super) const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for a record to become durable: a disk that is slow, not one that is dead.
pub(super) const COMMIT_TIMEOUT: Duration = Duration::from_secs(15);

/// Time for the next piece of a stream.
pub(super) const STREAM_TIMEOUT: Duration = Duration::from_secs(15);

/// Connections kept to one node while nothing is asked of it.
pub(super) const IDLE_CONNECTIONS_MAX: usize = 64;

/// How long such a connection is kept: shorter than the other side keeps it, or a call meets its end.
pub(super) const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// Failures in a row after which a node is left alone.
pub(super) const FAILURES_MAX: u32 = 3;

/// How long it is left alone before it is tried again.
pub(super) const SUSPENSION: Duration = Duration::from_secs(5);

/// How long a streamed object waits for its record; then its extents are freed.
pub(super) const UPLOAD_TIMEOUT: Duration = Duration::from_secs(600);

/// Pieces of a streamed object that wait for the network.
pub(super) const UPLOAD_QUEUE: usize = 2;

/// Calls of one sender that may overtake each other by this many numbers; older ones are refused as repeated.
pub(super) const REPLAY_WINDOW: u64 = 4096;

/// Senders (processes) that are remembered. Each proxy is one, until it restarts.
pub(super) const SENDERS_MAX: usize = 16_384;

/// Entries that replicas compare one by one at a time: a message of some 100 KiB.
pub(crate) const ENTRIES_MAX: usize = 1000;

/// Pieces of records that wait for the network on their way to a replica.
pub(super) const FETCH_QUEUE: usize = 4;

/// Records that a replica takes into one batch of its log; bounds memory beside clients' own writes.
pub(super) const IMPORTS_MAX: usize = 32;

/// Time for all that one call brings to a replica: the largest object at a few megabytes per second.
pub(super) const IMPORT_TIMEOUT: Duration = Duration::from_secs(3600);

/// Hosts whose calls are remembered; more than any cluster has.
pub(super) const PEERS_MAX: usize = 4096;
