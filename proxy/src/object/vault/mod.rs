//! Encryption at rest, for both doors (ADR 26, `docs/formats/encryption.md`). A [`Vault`] is the store with a lock on it:
//! it has the store's methods, and those that write seal data, entity tags and metadata, and those that read open them
//! again, so that who asks it sees what he would see of a store without encryption. What was written before stays as it
//! is and is read as it is; whether new objects are sealed is the operator's setting.
//!
//! - [`service`]: where keys come from; the configuration's root secrets are one [`KeyService`].
//! - `keys`: from a root secret's container key to the keys of one object.
//! - `seal`: small values, and what of an object's record is sealed. `body`: data, in chunks that are read alone.
//! - [`ObjectReader`], [`ObjectWriter`]: the store's, through the lock.
//!
//! Names (of accounts, containers, objects), sizes, times, media types and what the store's own workers need are not
//! sealed, nor are accounts' and containers' metadata. Each object has a random key for its data, which its record holds
//! sealed; to give up a root secret is to give up all that was sealed under it, and is told as [`Error::Sealed`].

mod body;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod keys;
mod reader;
mod seal;
pub mod service;
mod writer;

use std::ops::Deref;
use std::sync::Arc;

use anello_storage::store::{Expired, ObjectHead, ObjectUpdate, Written};
use anello_storage::{
    Content, Error, ListQuery, Listed, ObjectEntry, ObjectInfo, ObjectPath, Precondition, Result, Store,
};
use bytes::Bytes;

use keys::{ContainerKeys, KeyRing};
pub use reader::ObjectReader;
pub use service::{KeyService, RootSecrets, SecretId, SecretsFault};
pub use writer::ObjectWriter;

/// A listing's entity tag whose key is not there: Swift's word.
const UNKNOWN_TAG: &str = "<unknown>";

/// The store, whose objects may be sealed. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    store: Store,
    /// `None` where there are no root secrets: then nothing is sealed, and nothing that is can be opened.
    keys: Option<Arc<KeyRing>>,
    is_sealing: bool,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("is_sealing", &self.is_sealing).finish_non_exhaustive()
    }
}

/// Everything that is not about objects' data, tags and metadata goes to the store as it is.
impl Deref for Vault {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl From<Store> for Vault {
    /// Without keys.
    fn from(store: Store) -> Self {
        Self { store, keys: None, is_sealing: false }
    }
}

impl From<Vault> for Store {
    fn from(vault: Vault) -> Self {
        vault.store
    }
}

impl Vault {
    /// A store with keys from `service`; new objects are sealed where `is_sealing` says so.
    pub fn new(store: Store, service: Arc<dyn KeyService>, is_sealing: bool) -> Self {
        Self { store, keys: Some(Arc::new(KeyRing::new(service))), is_sealing }
    }

    /// The store without its lock: for those who need nothing of what is sealed.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Whether new objects are sealed.
    pub fn is_sealing(&self) -> bool {
        self.is_sealing
    }

    /// The keys of a path's container; `None` where there are none at all.
    async fn keys(&self, account: &str, container: &str) -> Result<Option<Arc<ContainerKeys>>> {
        match &self.keys {
            None => Ok(None),
            Some(keys) => keys.of_container(account, container).await.map(Some),
        }
    }

    /// As [`Store::object`].
    pub fn object(&self, path: &ObjectPath) -> impl Future<Output = Result<Option<ObjectInfo>>> + Send {
        self.object_as(path, Expired::Absent)
    }

    /// As [`Store::object_as`].
    pub async fn object_as(&self, path: &ObjectPath, expired: Expired) -> Result<Option<ObjectInfo>> {
        match self.store.object_as(path, expired).await? {
            Some(info) if seal::is_sealed(&info) => Box::pin(self.open_info(path, info)).await.map(Some),
            found => Ok(found),
        }
    }

    async fn open_info(&self, path: &ObjectPath, info: ObjectInfo) -> Result<ObjectInfo> {
        let keys = self.keys(&path.account, &path.container).await?;
        Ok(seal::open(keys.as_deref(), path, info)?.info)
    }

    /// As [`Store::object_read`].
    pub fn object_read(&self, path: &ObjectPath) -> impl Future<Output = Result<Option<ObjectReader>>> + Send {
        self.object_read_as(path, Expired::Absent)
    }

    /// As [`Store::object_read_as`].
    pub async fn object_read_as(&self, path: &ObjectPath, expired: Expired) -> Result<Option<ObjectReader>> {
        match self.store.object_read_as(path, expired).await? {
            Some(reader) if seal::is_sealed(reader.info()) => Box::pin(self.open_reader(path, reader)).await.map(Some),
            found => Ok(found.map(ObjectReader::from)),
        }
    }

    async fn open_reader(&self, path: &ObjectPath, reader: anello_storage::ObjectReader) -> Result<ObjectReader> {
        let keys = self.keys(&path.account, &path.container).await?;
        let opened = seal::open(keys.as_deref(), path, reader.info().clone())?;
        ObjectReader::sealed(keys.as_deref(), path, reader, opened).await
    }

    /// As [`Store::object_write`].
    pub async fn object_write(&self, path: &ObjectPath, size_hint: Option<u64>) -> Result<ObjectWriter> {
        let keys = self.keys(&path.account, &path.container).await?;
        let size_hint = size_hint.map(|size| if self.is_sealing { body::sealed_length(size) } else { size });
        let writer = self.store.object_write(path, size_hint).await?;
        self.lock(writer, keys, path)
    }

    /// As [`Store::object_put`].
    pub async fn object_put(
        &self,
        path: &ObjectPath,
        data: Bytes,
        head: ObjectHead,
        condition: &Precondition,
    ) -> Result<Written> {
        if self.keys.is_none() {
            return self.store.object_put(path, data, head, condition).await;
        }
        Box::pin(async {
            let content = head.content;
            if condition.is_empty() {
                return self.put_whole(path, data, content, Finish::Over(head)).await;
            }
            let mut decide = |current: Option<&ObjectInfo>, _| {
                condition.holds(current).then(|| head.clone()).ok_or(Error::Precondition)
            };
            self.put_whole(path, data, content, Finish::As(&mut decide)).await
        })
        .await
    }

    /// Writes a whole small object at once, whose head depends on what it replaces: see
    /// [`anello_storage::ObjectWriter::finish_as`]. `content` is what the data are, whatever the head says.
    pub async fn object_put_as(
        &self,
        path: &ObjectPath,
        data: Bytes,
        content: Content,
        mut head: impl FnMut(Option<&ObjectInfo>, anello_base::Timestamp) -> Result<ObjectHead> + Send,
    ) -> Result<Written> {
        self.put_whole(path, data, content, Finish::As(&mut head)).await
    }

    async fn put_whole(&self, path: &ObjectPath, data: Bytes, content: Content, finish: Finish<'_>) -> Result<Written> {
        let keys = self.keys(&path.account, &path.container).await?;
        let size = data.len() as u64;
        let size = if self.is_sealing { body::sealed_length(size) } else { size };
        let inner = match content {
            Content::Plain | Content::Fragments => self.store.object_write(path, Some(size)).await?,
            Content::Multipart | Content::Segments => self.store.object_write_whole(path, size).await?,
        };
        let mut writer = self.lock(inner, keys, path)?;
        match content {
            Content::Multipart if self.is_sealing => writer.write_list(&data).await?,
            _ => writer.write(data).await?,
        }
        writer.finish_by(finish).await
    }

    /// Seals what is written, where that is the operator's setting.
    fn lock(
        &self,
        writer: anello_storage::ObjectWriter,
        keys: Option<Arc<ContainerKeys>>,
        path: &ObjectPath,
    ) -> Result<ObjectWriter> {
        match keys {
            Some(keys) if self.is_sealing => ObjectWriter::sealed(writer, keys, path),
            keys => Ok(ObjectWriter::open(writer, keys, path)),
        }
    }

    /// As [`Store::object_update`].
    pub async fn object_update(
        &self,
        path: &ObjectPath,
        change: impl FnMut(&ObjectInfo) -> Result<ObjectUpdate>,
    ) -> Result<Written> {
        self.object_update_as(path, Expired::Absent, change).await
    }

    /// As [`Store::object_update_as`]. What is said of a sealed object stays sealed, and by the operator's setting what is
    /// said of another is.
    pub async fn object_update_as(
        &self,
        path: &ObjectPath,
        expired: Expired,
        mut change: impl FnMut(&ObjectInfo) -> Result<ObjectUpdate>,
    ) -> Result<Written> {
        let keys = self.keys(&path.account, &path.container).await?;
        let keys = keys.as_deref();
        let is_sealing = self.is_sealing;
        let change = |found: &ObjectInfo| {
            if !seal::is_sealed(found) {
                let update = change(found)?;
                return if is_sealing { seal::update(keys, path, found, update) } else { Ok(update) };
            }
            let opened = seal::open(keys, path, found.clone())?;
            seal::update(keys, path, found, change(&opened.info)?)
        };
        self.store.object_update_as(path, expired, change).await
    }

    /// As [`Store::object_delete`]. An object whose key is gone is deleted like any other.
    pub async fn object_delete(&self, path: &ObjectPath, condition: &Precondition) -> Result<Option<ObjectInfo>> {
        if condition.is_empty() || self.keys.is_none() {
            return self.store.object_delete(path, condition).await;
        }
        let now = self.clock().wall().seconds();
        let is_there = |info: &ObjectInfo| info.delete_at.is_none_or(|second| second > now);
        let holds = |current: Option<&ObjectInfo>| condition.holds(current.filter(|info| is_there(info)));
        Ok(self.object_delete_if(path, holds).await?.filter(is_there))
    }

    /// As [`Store::object_delete_if`]. What can't be opened is asked about, and told, as it is.
    pub async fn object_delete_if(
        &self,
        path: &ObjectPath,
        condition: impl Fn(Option<&ObjectInfo>) -> bool + Sync,
    ) -> Result<Option<ObjectInfo>> {
        let keys = self.keys(&path.account, &path.container).await?;
        let seen = |info: &ObjectInfo| match seal::is_sealed(info) {
            true => seal::open(keys.as_deref(), path, info.clone()).ok().map(|opened| opened.info),
            false => None,
        };
        let condition = |current: Option<&ObjectInfo>| match current.and_then(seen) {
            Some(opened) => condition(Some(&opened)),
            None => condition(current),
        };
        let deleted = self.store.object_delete_if(path, condition).await?;
        Ok(deleted.map(|info| seen(&info).unwrap_or(info)))
    }

    /// As [`Store::container_list`]. A tag whose key is gone is `<unknown>`.
    pub async fn container_list(
        &self,
        account: &str,
        container: &str,
        query: &ListQuery,
    ) -> Result<Vec<Listed<ObjectEntry>>> {
        let mut rows = self.store.container_list(account, container, query).await?;
        let is_sealed = |row: &Listed<ObjectEntry>| match row {
            Listed::Entry(entry) => seal::is_text(&entry.etag),
            Listed::Prefix(_) => false,
        };
        if rows.iter().any(is_sealed) {
            let keys = self.keys(account, container).await?;
            for row in &mut rows {
                if let Listed::Entry(entry) = row
                    && seal::is_text(&entry.etag)
                {
                    let opened = seal::open_tag(keys.as_deref(), &entry.name, &entry.etag, entry.size);
                    entry.etag = opened.unwrap_or_else(|error| {
                        tracing::debug!(%error, container, "a listing's entity tag can't be opened");
                        UNKNOWN_TAG.to_owned()
                    });
                }
            }
        }
        Ok(rows)
    }
}

/// Makes a head from what stands and the new version's timestamp.
type MakeHead<'a> = dyn FnMut(Option<&ObjectInfo>, anello_base::Timestamp) -> Result<ObjectHead> + Send + 'a;

/// How a write is finished.
enum Finish<'a> {
    /// Whatever stands.
    Over(ObjectHead),
    /// As what stands decides.
    As(&'a mut MakeHead<'a>),
}
