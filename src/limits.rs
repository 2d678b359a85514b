//! Every limit of the binary's listeners, with its reason. The doors and the engine have their own.

use std::time::Duration;

use anello_base::units::KIB;

/// Request line and headers together. Swift needs about 12 KiB (90 metadata headers and an 1,024-byte
/// name), S3 less; a larger head is answered 431.
pub(crate) const HEADER_BYTES_MAX: usize = 64 * KIB as usize;

/// Headers of one request; Swift allows 90 of metadata beside its own. More are answered 431.
pub(crate) const HEADERS_MAX: usize = 200;

/// A connection's read buffer at its largest. It holds a head before that is checked against
/// [`HEADER_BYTES_MAX`], and is the largest piece in which an upload reaches a door: below 128 KiB the
/// system calls of large uploads show, above it only memory per upload grows.
pub(crate) const READ_BUFFER_BYTES: usize = 128 * KIB as usize;

/// Connections of one listener. Each costs a read buffer and a task; when they are all taken, new ones
/// wait in the kernel's backlog.
pub(crate) const CONNECTIONS_MAX: usize = 4096;

/// Connections that the kernel keeps for a listener that is behind; the usual `somaxconn`.
pub(crate) const BACKLOG: u32 = 4096;

/// From a connection's start, or its last answer, until the next head is complete. Also how long an idle
/// kept-alive connection stays; as long as common reverse proxies keep theirs.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(75);

/// A TLS handshake; then the connection is closed.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// No byte of a request's body that we wait for, or none of an answer taken by the client: the
/// connection is closed, and with it ends what the request holds (an upload leaves nothing).
pub(crate) const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a connection looks whether it stalls.
pub(crate) const STALL_CHECK: Duration = Duration::from_secs(10);

/// After a failed accept (no file descriptors left): long enough not to spin, short enough not to be
/// noticed.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// From SIGTERM until requests still running are cut off. An upload cut off leaves nothing; the usual
/// grace of service managers is 90 s.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Closing the store and the rooms, after the drain.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections to the control socket at a time: only `anello status` and an operator use it.
pub(crate) const CONTROL_CONNECTIONS_MAX: usize = 16;

/// The whole of `anello status`'s exchange with the server.
pub(crate) const CONTROL_TIMEOUT: Duration = Duration::from_secs(10);

/// A command to the server, such as moving identity's records: some 100 µs for each of a million.
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_secs(600);

/// A configuration file; it is read into memory.
pub(crate) const CONFIG_BYTES_MAX: u64 = 1024 * KIB;

const _: () = assert!(HEADER_BYTES_MAX < READ_BUFFER_BYTES);

/// How often identity drops revocations that no token can need any more, and looks which directories of users are to be
/// read again (once in ten minutes each).
pub(crate) const IDENTITY_REFRESH_INTERVAL: Duration = Duration::from_secs(60);

/// The same on a host of several, or with a database that others may use, where it also bounds how long what another
/// host has changed (a user, a key, a revocation) is not seen here. It costs a look at each kind of record, and a
/// listing of those that changed.
pub(crate) const CLUSTER_IDENTITY_REFRESH_INTERVAL: Duration = Duration::from_secs(5);

/// How long to wait until every host goes by a changed configuration of a domain, while its users are moved: an interval,
/// a refresh that fails, and one that takes its time. What a slower one writes goes along; whom it deletes may be back.
pub(crate) const CLUSTER_IDENTITY_SETTLE: Duration = Duration::from_secs(15);

const _: () = assert!(CLUSTER_IDENTITY_SETTLE.as_secs() >= 3 * CLUSTER_IDENTITY_REFRESH_INTERVAL.as_secs());

/// How often identity looks whether its snapshots have become old: what was written since is read one by one at the
/// start after a crash.
pub(crate) const IDENTITY_SNAPSHOT_INTERVAL: Duration = Duration::from_secs(60);

/// How long a host of several waits before it tries again to open its rooms, while too few hosts answer.
pub(crate) const CLUSTER_START_PAUSE: Duration = Duration::from_millis(500);
