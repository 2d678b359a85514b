//! Writing objects, whether their container keeps versions or not.

use anello_storage::store::{ObjectHead, Written};
use anello_storage::{ContainerInfo, ObjectPath, Precondition, Result};
use bytes::Bytes;

use super::vault::{ObjectWriter, Vault};
use super::versions::{Put, Stamp, VersionWriter, Versions};

/// An object being written; dropped before [`Writer::finish`] returns, nothing of it is visible.
#[derive(Debug)]
pub struct Writer {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Plain(Box<ObjectWriter>),
    Version(Box<VersionWriter>),
}

impl Writer {
    /// Begins to write to a container that is like `container`.
    pub async fn begin(
        store: &Vault,
        container: &ContainerInfo,
        path: &ObjectPath,
        size_hint: Option<u64>,
    ) -> Result<Self> {
        let kind = match Versions::of(store, &path.account, &path.container, container) {
            Some(versions) => Kind::Version(Box::new(versions.write(&path.object, size_hint).await?)),
            None => Kind::Plain(Box::new(store.object_write(path, size_hint).await?)),
        };
        Ok(Self { kind })
    }

    /// Takes the next bytes.
    pub async fn write(&mut self, data: Bytes) -> Result<()> {
        match &mut self.kind {
            Kind::Plain(writer) => writer.write(data).await,
            Kind::Version(writer) => writer.write(data).await,
        }
    }

    /// Makes the object durable and visible; tells which version it is, where versions are kept.
    pub async fn finish(self, head: ObjectHead, condition: &Precondition) -> Result<(Written, Option<Stamp>)> {
        match self.kind {
            Kind::Plain(writer) => Ok((writer.finish(head, condition).await?, None)),
            Kind::Version(writer) => {
                let Put { written, stamp } = writer.finish(head, condition).await?;
                Ok((written, Some(stamp)))
            }
        }
    }
}

impl From<ObjectWriter> for Writer {
    /// To where no versions are kept.
    fn from(writer: ObjectWriter) -> Self {
        Self { kind: Kind::Plain(Box::new(writer)) }
    }
}
