//! What can go wrong in the engine, with the data that tells which, and its [`Class`].

use std::path::PathBuf;

use anello_base::{Class, Timestamp};

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure in the engine.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The account, container or object is not there.
    #[error("{0} not found")]
    Missing(&'static str),
    /// The container holds objects and can't be deleted.
    #[error("container is not empty")]
    NotEmpty,
    /// A version with this or a later timestamp is there already.
    #[error("a version of {current} is there already")]
    Stale {
        /// The version that stands.
        current: Timestamp,
    },
    /// A later version was promised to the writer of a conditional one.
    #[error("nothing before {until} is taken here")]
    Promised {
        /// The version that was promised.
        until: Timestamp,
    },
    /// What was decided by an older map of the cluster is not carried out any more.
    #[error("the cluster's map has changed")]
    OldMap,
    /// The rows of this name are kept by another shard of the container than was thought.
    #[error("the container's shards have changed")]
    OldShards,
    /// This host's clock is ahead of most others' by more than clocks may differ: they would refuse what it writes.
    #[error("this host's clock is ahead of the others', who would refuse what it writes")]
    ClockAhead,
    /// The cluster's map can't be changed before the change that is under way is over.
    #[error("the cluster's rings are changing; try again when that is over")]
    Changing,
    /// The cluster's map can't be changed so.
    #[error("{0}")]
    Membership(String),
    /// There is no such storage policy, or there can't be one.
    #[error("{0}")]
    Policy(String),
    /// A container has a storage policy that this host has not heard of yet.
    #[error("storage policy {0} is not known here yet")]
    UnknownPolicy(u32),
    /// A stated precondition does not hold.
    #[error("precondition failed")]
    Precondition,
    /// A named limit would be exceeded.
    #[error("{what} of {found} exceeds the limit of {limit}")]
    TooLarge {
        /// What is limited.
        what: &'static str,
        /// The size that was asked for.
        found: u64,
        /// The constant it exceeds.
        limit: u64,
    },
    /// The device's queue is full.
    #[error("device {device} is busy")]
    Busy {
        /// Path of the device.
        device: PathBuf,
    },
    /// No space is left for writes.
    #[error("device {device} is full")]
    Full {
        /// Path of the device.
        device: PathBuf,
    },
    /// The device takes no writes: an earlier I/O error or a read-only filesystem.
    #[error("device {device} is read-only: {reason}")]
    ReadOnly {
        /// Path of the device.
        device: PathBuf,
        /// What made it so.
        reason: String,
    },
    /// Fewer than a majority of the replicas acknowledged.
    #[error("only {done} of {wanted} replicas acknowledged: {cause}")]
    NoQuorum {
        /// Replicas that made the write durable.
        done: usize,
        /// Replicas that a majority needs.
        wanted: usize,
        /// The first failure among the others.
        cause: Box<Error>,
    },
    /// Stored bytes do not match their checksum; they are not served.
    #[error("corrupt {what} in {file} at {offset}: expected {expected:#010x}, found {found:#010x}")]
    Corrupt {
        /// Which part of the format.
        what: &'static str,
        /// File it stands in.
        file: PathBuf,
        /// Byte offset in the file.
        offset: u64,
        /// The checksum or magic that was expected.
        expected: u64,
        /// What was found.
        found: u64,
    },
    /// Stored data end before the length that their record states.
    #[error("stored data end {missing} bytes early")]
    Truncated {
        /// Bytes that are not there.
        missing: u64,
    },
    /// The directory is not the device it should be.
    #[error("{path} is not device {expected}: {found}")]
    WrongDevice {
        /// Path of the device.
        path: PathBuf,
        /// What was expected there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// An I/O error from the operating system.
    #[error("{action} {path}: {message}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's error number, where there is one.
        code: Option<i32>,
        /// The system's message.
        message: String,
    },
    /// A ring can't be used.
    #[error("ring {path}: {message}")]
    Ring {
        /// The ring's file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The thing is encrypted with a root secret that is not known here.
    #[error("what is stored is encrypted with the root secret {0:?}, which is not known here")]
    Sealed(String),
    /// Other writers of the same thing were faster, again and again.
    #[error("too many write this at once")]
    Contended,
    /// The version that was to be read has given way to another one.
    #[error("the object was replaced while it was read")]
    Replaced,
    /// Another node failed, or can't be reached.
    #[error("node {node}: {message}")]
    Node {
        /// Its name or address.
        node: String,
        /// What the failure means.
        class: Class,
        /// What it said.
        message: String,
    },
    /// Another node does not answer.
    #[error("node {node}: {message}")]
    Unreachable {
        /// Its name or address.
        node: String,
        /// Whether that was known before anything was waited for: a kept connection had ended.
        at_once: bool,
        /// What happened.
        message: String,
    },
    /// What came from another node is not what it should be.
    #[error("message between nodes: {0}")]
    Message(String),
    /// A timestamp is further ahead of this node's clock than clocks may differ.
    #[error("{timestamp} is ahead of this node's clock, {now}")]
    Ahead {
        /// The timestamp.
        timestamp: Timestamp,
        /// This node's clock.
        now: Timestamp,
    },
    /// The index (RocksDB) failed.
    #[error("index: {0}")]
    Index(String),
    /// The device is shutting down.
    #[error("the store is shutting down")]
    Stopped,
}

impl Error {
    /// Wraps an error of the operating system with what was tried on which file.
    pub fn io(action: &'static str, path: impl Into<PathBuf>, error: &std::io::Error) -> Self {
        Self::Io { action, path: path.into(), code: error.raw_os_error(), message: error.to_string() }
    }

    /// Says what is wrong with a ring's file.
    pub fn ring(path: impl Into<PathBuf>, message: &dyn std::fmt::Display) -> Self {
        Self::Ring { path: path.into(), message: message.to_string() }
    }

    /// What the failure means to whoever asked.
    pub fn class(&self) -> Class {
        match self {
            Self::Missing(_) => Class::Missing,
            Self::NotEmpty | Self::Stale { .. } | Self::Membership(_) | Self::Policy(_) => Class::Conflict,
            Self::Node { class, .. } => *class,
            Self::Precondition => Class::Precondition,
            Self::TooLarge { .. } => Class::TooLarge,
            Self::Busy { .. }
            | Self::Unreachable { .. }
            | Self::Contended
            | Self::Replaced
            | Self::Promised { .. }
            | Self::OldMap
            | Self::OldShards
            | Self::ClockAhead
            | Self::Changing
            | Self::UnknownPolicy(_)
            | Self::NoQuorum { .. }
            | Self::Stopped => Class::Busy,
            Self::Full { .. } | Self::ReadOnly { .. } => Class::Full,
            Self::Corrupt { .. } | Self::Truncated { .. } => Class::Corrupt,
            Self::WrongDevice { .. }
            | Self::Ring { .. }
            | Self::Io { .. }
            | Self::Message(_)
            | Self::Sealed(_)
            | Self::Ahead { .. }
            | Self::Index(_) => Class::Internal,
        }
    }
}

impl From<rocksdb::Error> for Error {
    fn from(error: rocksdb::Error) -> Self {
        Self::Index(error.to_string())
    }
}
