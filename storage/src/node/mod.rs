//! One device as the store sees it: in this process ([`Local`]) or on another host ([`Remote`]). Both answer the
//! same questions and take the same mutations; what they promise to each other is in `docs/consistency.md`.
//!
//! Between hosts a [`Call`](message::Call) and its answer travel as sealed frames ([`seal`]) over a
//! [`Transport`]: HTTP ([`http`]) between hosts, anything else in tests. [`service`] answers calls.

mod epoch;
mod exchange;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod http;
mod limits;
mod local;
mod message;
mod peer;
mod promises;
mod remote;
mod replay;
mod seal;
mod service;
mod transport;

use std::ops::Range;

use bytes::Bytes;
use futures::StreamExt;
use serde::{Deserialize, Serialize};

pub(crate) use self::epoch::Epoch;
pub(crate) use self::exchange::{Differing, Span, Want, applies_to, leaves_of, sum};
pub use self::http::{HttpService, HttpTransport, NodeBody, connector};
#[cfg(test)]
pub(crate) use self::limits::DEAD_CONNECTION_TIMEOUT;
pub(crate) use self::limits::{CLOCK_SKEW_MAX, ENTRIES_MAX, PROMISE_LEAD};
pub(crate) use self::local::Local;
pub use self::peer::PeerStatus;
pub(crate) use self::peer::{Peer, Peers};
pub(crate) use self::remote::{Remote, RemoteUpload};
pub use self::service::NodeService;
pub use self::transport::{DataStream, Incoming, Transport};

use crate::device::{DataReader, Device, ExtentWriter};
use crate::error::Result;
use crate::index::{Effect, ObjectRow, ObjectState};
use crate::key::KeyHash;
use crate::model::{AccountInfo, ContainerEntry, ContainerInfo, Known, ListQuery, Listed, ObjectEntry, ObjectInfo};
use crate::mutation::{Applies, Body, Mutation};
use anello_base::Timestamp;

/// A device, wherever it is. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Here(Local),
    There(Remote),
}

/// What a device knows of an object.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    Absent,
    Deleted(Timestamp),
    Live(Source),
}

/// A replica of one version of an object.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// With the object's key, where the row is its present one.
    Here(Device, Option<KeyHash>, Box<ObjectRow>),
    There(Remote, KeyHash, Box<ObjectInfo>),
}

/// An object's bytes on their way out.
#[expect(clippy::large_enum_variant, reason = "a small object's read is to cost no allocation more")]
pub(crate) enum Data {
    Here(DataReader),
    There(DataStream),
}

/// What a device knows of a container when it promises to take no rows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ContainerFound {
    pub(crate) container: Known<ContainerInfo>,
    pub(crate) is_empty: bool,
}

/// A mutation on its way to one device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Write {
    pub(crate) mutation: Mutation,
    pub(crate) applies: Applies,
    /// The number under which another host was sent the object's data before.
    pub(crate) upload: Option<u64>,
    /// Whether the device stands in for one that can't be reached, and keeps this until it can.
    pub(crate) stands_in: bool,
    /// Whether this version stands elsewhere, and the device is to have what it lacks of it: no promise hinders that.
    #[serde(default)]
    pub(crate) restores: bool,
    /// Whether nobody promised its timestamp to it: two hosts may come to the same one. (Older hosts don't tell.)
    #[serde(default)]
    pub(crate) is_plain: bool,
    /// The version of the data that new metadata are of: who has other data, or none, does not take them.
    #[serde(default)]
    pub(crate) of_data: Option<Timestamp>,
    /// The version of the map of shards that the row's place was found by; zero where the container has none.
    #[serde(default)]
    pub(crate) shards: Timestamp,
}

/// A large object on its way to a device.
#[derive(Debug)]
pub(crate) enum Upload {
    Here(Box<ExtentWriter>),
    There(RemoteUpload),
}

/// Where an object's bytes are, for the record that is going to name them.
#[derive(Debug, Clone)]
pub(crate) enum Stored {
    Here(Body),
    /// At the device's host, under this number.
    There(u64),
}

impl Node {
    /// See [`Local::commit`].
    pub(crate) async fn commit(&self, write: Write) -> Result<Effect> {
        match self {
            Self::Here(local) => local.commit(write).await,
            Self::There(remote) => remote.commit(write).await,
        }
    }

    pub(crate) async fn object(&self, object: KeyHash) -> Result<Found> {
        match self {
            Self::Here(local) => Ok(Found::here(&local.device, object, local.device.index().object_state(object)?)),
            Self::There(remote) => remote.object(object).await,
        }
    }

    /// See [`Local::prepare_object`].
    pub(crate) async fn prepare_object(&self, object: KeyHash, until: Timestamp) -> Result<Found> {
        match self {
            Self::Here(local) => Ok(Found::here(&local.device, object, local.prepare_object(object, until).await?)),
            Self::There(remote) => remote.prepare_object(object, until).await,
        }
    }

    /// See [`Local::prepare_container`].
    pub(crate) async fn prepare_container(&self, container: KeyHash, until: Timestamp) -> Result<ContainerFound> {
        match self {
            Self::Here(local) => local.prepare_container(container, until).await,
            Self::There(remote) => remote.prepare_container(container, until).await,
        }
    }

    pub(crate) async fn container(&self, container: KeyHash) -> Result<Known<ContainerInfo>> {
        match self {
            Self::Here(local) => local.device.index().known_container(container),
            Self::There(remote) => remote.container(container).await,
        }
    }

    pub(crate) async fn account(&self, account: KeyHash) -> Result<Known<AccountInfo>> {
        match self {
            Self::Here(local) => local.device.index().known_account(account),
            Self::There(remote) => remote.account(account).await,
        }
    }

    pub(crate) async fn objects(&self, container: KeyHash, query: &ListQuery) -> Result<Vec<Listed<ObjectEntry>>> {
        match self {
            Self::Here(local) => {
                local
                    .list(query.limit, {
                        let query = query.clone();
                        move |index| index.list_objects(container, &query)
                    })
                    .await
            }
            Self::There(remote) => remote.objects(container, query).await,
        }
    }

    pub(crate) async fn containers(&self, account: KeyHash, query: &ListQuery) -> Result<Vec<Listed<ContainerEntry>>> {
        match self {
            Self::Here(local) => {
                local
                    .list(query.limit, {
                        let query = query.clone();
                        move |index| index.list_containers(account, &query)
                    })
                    .await
            }
            Self::There(remote) => remote.containers(account, query).await,
        }
    }

    /// Rows of a container by name, deleted or not.
    pub(crate) async fn object_rows(&self, container: KeyHash, names: Vec<String>) -> Result<Vec<Known<ObjectEntry>>> {
        match self {
            Self::Here(local) => {
                names.iter().map(|name| local.device.index().known_object_row(container, name)).collect()
            }
            Self::There(remote) => remote.object_rows(container, names).await,
        }
    }

    /// Rows of an account by name, deleted or not.
    pub(crate) async fn container_rows(
        &self,
        account: KeyHash,
        names: Vec<String>,
    ) -> Result<Vec<Known<ContainerEntry>>> {
        match self {
            Self::Here(local) => {
                names.iter().map(|name| local.device.index().known_container_row(account, name)).collect()
            }
            Self::There(remote) => remote.container_rows(account, names).await,
        }
    }

    pub(crate) fn write_extents(&self, size_hint: Option<u64>) -> Upload {
        match self {
            Self::Here(local) => Upload::Here(Box::new(local.device.write_extents(size_hint))),
            Self::There(remote) => Upload::There(remote.write_extents(size_hint)),
        }
    }

    /// Frees what an upload has written that is not going to be named.
    pub(crate) fn discard(&self, stored: &Stored) {
        // What another host was sent is freed there when its time is over.
        if let (Self::Here(local), Stored::Here(Body::Extents(extents))) = (self, stored) {
            local.device.discard(extents);
        }
    }

    /// The device's id.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Here(local) => local.device.id(),
            Self::There(remote) => remote.device().to_owned(),
        }
    }

    /// Whether it can be asked at all just now.
    pub(crate) fn is_reachable(&self) -> bool {
        match self {
            Self::Here(_) => true,
            Self::There(remote) => remote.is_reachable(),
        }
    }
}

impl Found {
    pub(crate) fn here(device: &Device, object: KeyHash, state: ObjectState) -> Self {
        match state {
            ObjectState::Absent => Self::Absent,
            ObjectState::Deleted(timestamp) => Self::Deleted(timestamp),
            ObjectState::Live(row) => Self::Live(Source::Here(device.clone(), Some(object), row)),
        }
    }

    /// Versions of data and metadata, by which replicas are compared.
    pub(crate) fn stamp(&self) -> Option<(Timestamp, Timestamp)> {
        match self {
            Self::Absent => None,
            Self::Deleted(timestamp) => Some((*timestamp, *timestamp)),
            Self::Live(source) => Some((source.info().timestamp, source.info().meta_timestamp)),
        }
    }

    pub(crate) fn into_live(self) -> Option<Source> {
        match self {
            Self::Live(source) => Some(source),
            Self::Absent | Self::Deleted(_) => None,
        }
    }

    pub(crate) fn live(&self) -> Option<&Source> {
        match self {
            Self::Live(source) => Some(source),
            Self::Absent | Self::Deleted(_) => None,
        }
    }
}

impl Source {
    /// Whether another one is the same device's.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Here(one, ..), Self::Here(other, ..)) => one.id() == other.id(),
            (Self::There(one, ..), Self::There(other, ..)) => one.device() == other.device(),
            _ => false,
        }
    }

    pub(crate) fn info(&self) -> &ObjectInfo {
        match self {
            Self::Here(_, _, row) => &row.info,
            Self::There(_, _, info) => info,
        }
    }

    pub(crate) async fn open(&self, range: Range<u64>) -> Result<Data> {
        match self {
            Self::Here(device, hash, row) => Ok(Data::Here(device.read(*hash, row, range).await?)),
            Self::There(remote, hash, info) => Ok(Data::There(remote.read(*hash, info.timestamp, range).await?)),
        }
    }
}

impl Data {
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::Here(reader) => reader.serve().await,
            Self::There(stream) => stream.next().await.transpose(),
        }
    }
}

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Here(_) => "Data::Here",
            Self::There(_) => "Data::There",
        })
    }
}

impl Upload {
    pub(crate) async fn write(&mut self, data: Bytes) -> Result<()> {
        match self {
            Self::Here(writer) => writer.write(data).await,
            Self::There(upload) => upload.write(data).await,
        }
    }

    pub(crate) async fn finish(self) -> Result<Stored> {
        match self {
            Self::Here(writer) => Ok(Stored::Here(Body::Extents(writer.finish().await?))),
            Self::There(upload) => upload.finish().await.map(Stored::There),
        }
    }
}

/// Which lock and which list of promises a key falls to.
fn stripe(hash: KeyHash) -> usize {
    let [.., a, b] = hash.0;
    usize::from(u16::from_be_bytes([a, b])) % limits::STRIPES
}
