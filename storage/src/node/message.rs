//! What nodes say to each other. MessagePack with named fields, so that a newer node may add one that an older
//! one leaves out: hosts are restarted one by one.

use anello_base::{Class, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ops::Range;

use super::exchange::{Differing, Entries, Span, Want};
use super::limits::MESSAGE_BYTES_MAX;
use super::{ContainerFound, Write};
use crate::cluster::{Host, Progress};
use crate::error::{Error, Result};
use crate::index::{Digest, EntryKey, EntryVersion, Tree};
use crate::key::KeyHash;
use crate::model::{AccountInfo, ContainerEntry, ContainerInfo, Known, ListQuery, Listed, ObjectEntry, ObjectInfo};
use crate::mutation::Applies;

/// A call with what every call says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Envelope {
    /// The caller's clock.
    pub(super) now: Timestamp,
    /// The caller's process, a random number.
    pub(super) sender: u64,
    /// Numbers the caller's calls.
    pub(super) number: u64,
    /// The caller's host: whoever calls is there, and can be called.
    #[serde(default)]
    pub(super) host: String,
    /// The cluster's map that the caller goes by.
    pub(super) epoch: u64,
    /// Device that is meant, by its id; empty where the host itself is.
    pub(super) device: String,
    pub(super) call: Call,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Call {
    /// Whether the host is there; its clock and epoch are in every answer.
    Ping,
    /// A host asks to take part, and for the cluster's map.
    Join(Host),
    /// The map that the host goes by.
    Map,
    /// How far the host has come with it.
    Progress,
    Commit(Box<Write>),
    /// A large object's data follow.
    Upload {
        size_hint: Option<u64>,
    },
    Object(KeyHash),
    PrepareObject {
        object: KeyHash,
        until: Timestamp,
    },
    PrepareContainer {
        container: KeyHash,
        until: Timestamp,
    },
    /// The data of this version follow the answer.
    Read {
        object: KeyHash,
        timestamp: Timestamp,
        range: Range<u64>,
    },
    Container(KeyHash),
    Account(KeyHash),
    Objects {
        container: KeyHash,
        query: ListQuery,
    },
    Containers {
        account: KeyHash,
        query: ListQuery,
    },
    ObjectRows {
        container: KeyHash,
        names: Vec<String>,
    },
    ContainerRows {
        account: KeyHash,
        names: Vec<String>,
    },
    /// Which of these partitions, of two to `power`, have another digest.
    Differing {
        tree: Tree,
        power: u8,
        partitions: Vec<(u32, Digest)>,
    },
    /// Digests of these partitions, of two to `power`.
    Partitions {
        tree: Tree,
        power: u8,
        partitions: Range<u32>,
    },
    Compare(Span),
    EntryVersion {
        tree: Tree,
        key: EntryKey,
    },
    /// Records of these follow the answer.
    Fetch {
        tree: Tree,
        wants: Vec<Want>,
    },
    /// Records follow.
    Import {
        applies: Applies,
    },
}

/// An answer with what every answer says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reply {
    /// The node's hybrid clock: whoever asks must not be behind it.
    pub(super) now: Timestamp,
    /// The node's wall clock, by which skew shows.
    pub(super) wall: Timestamp,
    pub(super) epoch: u64,
    pub(super) answer: Result<Answer, Fault>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Pong,
    /// The cluster's map, once it is made.
    Map(Option<Vec<u8>>),
    Progress(Progress),
    Committed {
        stale: Option<Timestamp>,
        created: bool,
    },
    Uploaded(u64),
    Object(Version),
    PreparedContainer(ContainerFound),
    /// Data follow.
    Data,
    Container(Known<ContainerInfo>),
    Account(Known<AccountInfo>),
    Objects(Vec<Listed<ObjectEntry>>),
    Containers(Vec<Listed<ContainerEntry>>),
    ObjectRows(Vec<Known<ObjectEntry>>),
    ContainerRows(Vec<Known<ContainerEntry>>),
    Differing(Vec<Differing>),
    Partitions(Vec<(u32, Digest)>),
    Compared(Option<Entries>),
    EntryVersion(Option<EntryVersion>),
    Imported(u64),
}

/// What a node knows of an object.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Version {
    Absent,
    Deleted(Timestamp),
    Live(Box<ObjectInfo>),
}

/// Why a call was refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Fault {
    Missing(Thing),
    NotEmpty,
    Promised(Timestamp),
    Stale(Timestamp),
    /// The caller goes by an older map.
    OldMap,
    /// The caller goes by an older map of a container's shards.
    OldShards,
    /// The caller's clock is too far ahead.
    Ahead,
    Other {
        class: FaultClass,
        message: String,
    },
}

/// What may be missing.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) enum Thing {
    Account,
    Container,
    Object,
}

/// [`Class`] on the wire.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) enum FaultClass {
    Busy,
    Full,
    Corrupt,
    TooLarge,
    Internal,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Missing("account") => Self::Missing(Thing::Account),
            Error::Missing("container") => Self::Missing(Thing::Container),
            Error::Missing(_) => Self::Missing(Thing::Object),
            Error::NotEmpty => Self::NotEmpty,
            Error::OldMap => Self::OldMap,
            Error::OldShards => Self::OldShards,
            Error::Promised { until } => Self::Promised(until),
            Error::Stale { current } => Self::Stale(current),
            error => {
                let class = match error.class() {
                    Class::Busy => FaultClass::Busy,
                    Class::Full => FaultClass::Full,
                    Class::Corrupt => FaultClass::Corrupt,
                    Class::TooLarge => FaultClass::TooLarge,
                    _ => FaultClass::Internal,
                };
                Self::Other { class, message: error.to_string() }
            }
        }
    }
}

impl Fault {
    /// As the error that the node had, seen from here.
    pub(super) fn at(self, node: &str) -> Error {
        let node = node.to_owned();
        match self {
            Self::Missing(Thing::Account) => Error::Missing("account"),
            Self::Missing(Thing::Container) => Error::Missing("container"),
            Self::Missing(Thing::Object) => Error::Missing("object"),
            Self::NotEmpty => Error::NotEmpty,
            Self::Promised(until) => Error::Promised { until },
            Self::Stale(current) => Error::Stale { current },
            Self::OldShards => Error::OldShards,
            Self::OldMap => Error::Node { node, class: Class::Busy, message: "goes by another map".into() },
            Self::Ahead => Error::Node { node, class: Class::Internal, message: "finds our clock ahead".into() },
            Self::Other { class, message } => {
                let class = match class {
                    FaultClass::Busy => Class::Busy,
                    FaultClass::Full => Class::Full,
                    FaultClass::Corrupt => Class::Corrupt,
                    FaultClass::TooLarge => Class::TooLarge,
                    FaultClass::Internal => Class::Internal,
                };
                Error::Node { node, class, message }
            }
        }
    }
}

/// The bytes of a message.
pub(super) fn encode(message: &impl Serialize) -> Result<Vec<u8>> {
    let bytes = rmp_serde::to_vec_named(message).map_err(|error| Error::Message(error.to_string()))?;
    if bytes.len() > MESSAGE_BYTES_MAX {
        let (found, limit) = (bytes.len() as u64, MESSAGE_BYTES_MAX as u64);
        return Err(Error::TooLarge { what: "message to a node", found, limit });
    }
    Ok(bytes)
}

/// The message in `bytes`, which were sealed by a member of the cluster.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    rmp_serde::from_slice(bytes).map_err(|error| Error::Message(error.to_string()))
}
