//! Writing objects as their container wants it: what stands there is archived where there is an archive (`versioned`),
//! or kept as a version (`crate::object::versions`); a container with Object Lock gives what is new its retention.

use anello_storage::store::{ObjectHead, Written};
use anello_storage::{ContainerInfo, Error, ObjectPath, Precondition};
use bytes::Bytes;

use super::SwiftDoor;
use super::fault::Fault;
use super::versioned;
use crate::object::lock;
use crate::object::vault::Vault;
use crate::object::versions::{self, Stamp, Versions};
use crate::object::writer::Writer;

/// What a write made.
#[derive(Debug, Clone)]
pub(super) struct Made {
    /// As for any object.
    pub(super) written: Written,
    /// Which version it is, where versions are kept.
    pub(super) stamp: Option<Stamp>,
}

/// An object being written. Nothing of it is visible before it is finished.
#[derive(Debug)]
pub(super) struct Writing {
    path: ObjectPath,
    container: ContainerInfo,
    writer: Writer,
    written: u64,
}

impl Writing {
    /// Begins; `size_hint` is the number of bytes to come, where it is known.
    pub(super) async fn begin(store: &Vault, path: &ObjectPath, size_hint: Option<u64>) -> Result<Self, Error> {
        let container = container(store, path).await?;
        let writer = Writer::begin(store, &container, path, size_hint).await?;
        Ok(Self { path: path.clone(), container, writer, written: 0 })
    }

    /// Takes the next bytes.
    pub(super) async fn write(&mut self, data: Bytes) -> Result<(), Error> {
        self.written += data.len() as u64;
        self.writer.write(data).await
    }

    /// How many bytes it has taken.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Archives what stands there, and puts this in its place.
    pub(super) async fn finish(
        self,
        door: &SwiftDoor,
        head: ObjectHead,
        condition: &Precondition,
    ) -> Result<Made, Fault> {
        versioned::before_put(door, &self.path).await?;
        Ok(self.finish_alone(&door.store, head, condition).await?)
    }

    /// The same without an archive.
    pub(super) async fn finish_alone(
        self,
        store: &Vault,
        mut head: ObjectHead,
        condition: &Precondition,
    ) -> Result<Made, Error> {
        prepare(store, &self.container, &mut head);
        let (written, stamp) = self.writer.finish(head, condition).await?;
        Ok(Made { written, stamp })
    }
}

/// Archives what stands there, and puts a record in its place that is no data: a list of segments, or a link.
pub(super) async fn record(
    door: &SwiftDoor,
    path: &ObjectPath,
    data: Bytes,
    head: ObjectHead,
    condition: &Precondition,
) -> Result<Made, Fault> {
    versioned::before_put(door, path).await?;
    Ok(record_alone(&door.store, path, data, head, condition).await?)
}

/// The same without an archive.
pub(super) async fn record_alone(
    store: &Vault,
    path: &ObjectPath,
    data: Bytes,
    mut head: ObjectHead,
    condition: &Precondition,
) -> Result<Made, Error> {
    let container = container(store, path).await?;
    prepare(store, &container, &mut head);
    match Versions::of(store, &path.account, &path.container, &container) {
        None => Ok(Made { written: store.object_put(path, data, head, condition).await?, stamp: None }),
        Some(versions) => {
            let versions::Put { written, stamp } = versions.put(&path.object, data, head, condition, None).await?;
            Ok(Made { written, stamp: Some(stamp) })
        }
    }
}

async fn container(store: &Vault, path: &ObjectPath) -> Result<ContainerInfo, Error> {
    store.container_settings(&path.account, &path.container).await?.ok_or(Error::Missing("container"))
}

fn prepare(store: &Vault, container: &ContainerInfo, head: &mut ObjectHead) {
    // What is copied leaves its own behind.
    versions::strip(&mut head.metadata);
    lock::begin(container, store.clock().wall().system_time().into(), &mut head.metadata);
}
