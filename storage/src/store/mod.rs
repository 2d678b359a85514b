//! The door of the engine. A [`Store`] knows the devices and the rings, writes to every primary and
//! acknowledges at a durable majority, and reads from the best replica.

use std::ops::Range;

use anello_base::Timestamp;
use bytes::Bytes;

use crate::error::Result;
use crate::key::ObjectPath;
use crate::model::{
    AccountInfo, ContainerEntry, ContainerInfo, Content, ListQuery, Listed, Metadata, ObjectEntry, ObjectInfo,
    Precondition,
};

/// All that is stored. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {}

/// What a finished object is called and like; everything but its bytes.
#[derive(Debug, Clone, Default)]
pub struct ObjectHead {
    /// Entity tag without quotes.
    pub etag: String,
    /// Media type.
    pub content_type: String,
    /// What the stored bytes are.
    pub content: Content,
    /// Size as clients see it, where it is not the number of stored bytes (part lists).
    pub size: Option<u64>,
    /// Second since 1970 from which the object is gone.
    pub delete_at: Option<u64>,
    /// Everything else.
    pub metadata: Metadata,
    /// Version to write under, where a peer or a client chose one; otherwise now.
    pub timestamp: Option<Timestamp>,
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Version written.
    pub timestamp: Timestamp,
    /// Whether nothing was there before.
    pub created: bool,
}

/// Whether a change of metadata creates what is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfMissing {
    /// Create it.
    Create,
    /// Fail with [`crate::Error::Missing`].
    Fail,
}

impl Store {
    /// The account, if it was ever written to.
    pub async fn account(&self, account: &str) -> Result<Option<AccountInfo>> {
        todo!("{account}")
    }

    /// Sets metadata of an account; an empty value removes.
    pub async fn account_update(&self, account: &str, changes: Metadata, missing: IfMissing) -> Result<Written> {
        todo!("{account} {changes:?} {missing:?}")
    }

    /// Deletes an account. [`crate::Error::NotEmpty`] while it has containers.
    pub async fn account_delete(&self, account: &str) -> Result<()> {
        todo!("{account}")
    }

    /// Containers of an account; none where there is no account.
    pub async fn account_list(&self, account: &str, query: &ListQuery) -> Result<Vec<Listed<ContainerEntry>>> {
        todo!("{account} {query:?}")
    }

    /// The container, if it is there.
    pub async fn container(&self, account: &str, container: &str) -> Result<Option<ContainerInfo>> {
        todo!("{account} {container}")
    }

    /// Sets metadata of a container; an empty value removes. `policy` counts at creation only. Creating a
    /// container creates its account.
    pub async fn container_update(
        &self,
        account: &str,
        container: &str,
        changes: Metadata,
        policy: u32,
        missing: IfMissing,
    ) -> Result<Written> {
        todo!("{account} {container} {changes:?} {policy} {missing:?}")
    }

    /// Deletes an empty container; [`crate::Error::NotEmpty`] otherwise.
    pub async fn container_delete(&self, account: &str, container: &str) -> Result<()> {
        todo!("{account} {container}")
    }

    /// Objects of a container. [`crate::Error::Missing`] where there is no such container.
    pub async fn container_list(
        &self,
        account: &str,
        container: &str,
        query: &ListQuery,
    ) -> Result<Vec<Listed<ObjectEntry>>> {
        todo!("{account} {container} {query:?}")
    }

    /// The object without its data. `None` also where its time to be deleted has come.
    pub async fn object(&self, path: &ObjectPath) -> Result<Option<ObjectInfo>> {
        todo!("{path}")
    }

    /// The object, ready to be read.
    pub async fn object_read(&self, path: &ObjectPath) -> Result<Option<ObjectReader>> {
        todo!("{path}")
    }

    /// Begins to write an object. [`crate::Error::Missing`] where its container is not there.
    /// `size_hint` is the number of bytes to come, where it is known.
    pub async fn object_write(&self, path: &ObjectPath, size_hint: Option<u64>) -> Result<ObjectWriter> {
        todo!("{path} {size_hint:?}")
    }

    /// Writes a whole small object at once.
    pub async fn object_put(
        &self,
        path: &ObjectPath,
        data: Bytes,
        head: ObjectHead,
        condition: &Precondition,
    ) -> Result<Written> {
        let mut writer = self.object_write(path, Some(data.len() as u64)).await?;
        writer.write(data).await?;
        writer.finish(head, condition).await
    }

    /// Replaces an object's metadata (all of it); the data stay. `content_type` changes where given.
    pub async fn object_update(
        &self,
        path: &ObjectPath,
        content_type: Option<String>,
        delete_at: Option<u64>,
        metadata: Metadata,
    ) -> Result<Written> {
        todo!("{path} {content_type:?} {delete_at:?} {metadata:?}")
    }

    /// Deletes an object; tells what was deleted, `None` where nothing was there.
    pub async fn object_delete(&self, path: &ObjectPath, condition: &Precondition) -> Result<Option<ObjectInfo>> {
        todo!("{path} {condition:?}")
    }
}

/// An object being written. Nothing of it is visible before [`ObjectWriter::finish`] returns; dropped
/// before, nothing is left of it.
#[derive(Debug)]
pub struct ObjectWriter {}

impl ObjectWriter {
    /// Takes the next bytes; waits while the devices are behind.
    pub async fn write(&mut self, data: Bytes) -> Result<()> {
        todo!("{data:?}")
    }

    /// Makes the object durable and visible. When it returns, a majority of the primaries has synced it.
    pub async fn finish(self, head: ObjectHead, condition: &Precondition) -> Result<Written> {
        todo!("{head:?} {condition:?}")
    }
}

/// An object being read: one version, whatever happens to its name meanwhile.
#[derive(Debug)]
pub struct ObjectReader {}

impl ObjectReader {
    /// What it is like.
    pub fn info(&self) -> &ObjectInfo {
        todo!()
    }

    /// Reads only this range of the stored bytes; to be called before the first [`ObjectReader::next`].
    pub fn set_range(&mut self, range: Range<u64>) {
        todo!("{range:?}")
    }

    /// The next bytes in order, verified; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        todo!()
    }
}
