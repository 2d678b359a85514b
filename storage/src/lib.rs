//! The engine: object, container and account services on devices. A device is a log; every mutation
//! on it is a record that is durable before it is acknowledged, and RocksDB holds the index of that
//! log and nothing that the log could not give back.
//!
//! [`Store`] is the door: it knows which devices hold what, writes to all of them and reads from the
//! best one. Behind it, [`device`] is one disk (superblock, volumes, group commit, recovery) and
//! [`index`] is what can be asked of the log (objects, listing rows, statistics).

pub mod cluster;
pub mod daemon;
pub mod device;
mod environment;
pub mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod index;
pub mod key;
pub mod limits;
mod majority;
pub mod model;
pub mod mutation;
pub mod node;
mod policy;
mod shards;
#[cfg(test)]
mod simulation;
pub mod store;

pub use error::{Error, Result};
pub use key::{KeyHash, KeyHasher, ObjectPath};
pub use model::{
    AccountInfo, ContainerEntry, ContainerInfo, Content, Etags, ListQuery, Listed, Metadata, ObjectEntry, ObjectInfo,
    Precondition,
};
pub use policy::{Policies, PolicyKind, PolicyStatus, StoragePolicy};
pub use store::{ObjectReader, ObjectWriter, Store};
