//! Writing new versions, and changing what is said of one.

use anello_base::Timestamp;
use anello_storage::limits::INLINE_BYTES_MAX;
use anello_storage::store::{ObjectHead, ObjectUpdate, Written};
use anello_storage::{Content, Error, ObjectInfo, ObjectPath, Precondition, Result};
use bytes::{Bytes, BytesMut};

use super::keep::{PartWriter, is_same};
use super::name::{self, Stamp, VersionId};
use super::{ATTEMPTS, Versions};
use crate::object::parts::PARTS_ACCOUNT;

/// A version being written. Nothing of it is visible before [`VersionWriter::finish`] returns.
pub struct VersionWriter {
    versions: Versions,
    key: String,
    size_hint: Option<u64>,
    data: Data,
}

enum Data {
    Gathered(BytesMut),
    Part(Box<PartWriter>),
}

/// What a write made.
#[derive(Debug, Clone)]
pub struct Put {
    /// As for any object.
    pub written: Written,
    /// Which version it is.
    pub stamp: Stamp,
}

impl Versions {
    /// Begins to write a new version; `size_hint` is the number of bytes to come, where it is known.
    pub async fn write(&self, key: &str, size_hint: Option<u64>) -> Result<VersionWriter> {
        let mut writer = VersionWriter {
            versions: self.clone(),
            key: key.to_owned(),
            size_hint,
            data: Data::Gathered(BytesMut::new()),
        };
        if size_hint.is_some_and(|size| size > INLINE_BYTES_MAX) {
            writer.go_on_in_part().await?;
        }
        Ok(writer)
    }

    /// Makes the record `data` with `head` the current version: bytes of at most [`INLINE_BYTES_MAX`], or a list of
    /// parts or segments. `upload` is the upload that it is of.
    pub async fn put(
        &self,
        key: &str,
        data: Bytes,
        head: ObjectHead,
        condition: &Precondition,
        upload: Option<&str>,
    ) -> Result<Put> {
        let tag = upload.map_or_else(name::new_tag, name::tag_of_upload);
        let expires = head.delete_at.filter(|_| self.is_enabled);
        let head = ObjectHead { delete_at: head.delete_at.filter(|_| !self.is_enabled), ..head };
        let stamp_at = |at| match self.is_enabled {
            true => Stamp::unique(at, &tag, false),
            false => Stamp::null(at, false),
        };
        for _ in 0..ATTEMPTS {
            let before = self.current(key).await?;
            if !condition.holds(before.as_ref()) {
                return Err(Error::Precondition);
            }
            if let Some(info) = before.as_ref().filter(|info| self.must_keep(info)) {
                match Box::pin(self.keep(key, info)).await {
                    Err(Error::Replaced) => continue,
                    kept => kept?,
                }
            }
            let make = |at: Timestamp| {
                let mut head = head.clone();
                stamp_at(at).store(&mut head.metadata);
                head
            };
            match self.replace(key, (data.clone(), head.content), before.as_ref(), make).await {
                Ok(written) => {
                    let stamp = stamp_at(written.timestamp);
                    match expires {
                        Some(second) => Box::pin(self.expire(key, &stamp, second)).await?,
                        None if !self.is_enabled => self.drop_nulls(key).await,
                        None => {}
                    }
                    return Ok(Put { stamp, written });
                }
                Err(Error::Precondition) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Contended)
    }

    /// Whether a version is kept when another takes its place: one with the id `null` isn't, if that has it too.
    pub(super) fn must_keep(&self, info: &ObjectInfo) -> bool {
        self.is_enabled || Stamp::of(info).id != VersionId::Null
    }

    /// Replaces the current version if it is still `before`; [`Error::Precondition`] otherwise.
    pub(super) async fn replace(
        &self,
        key: &str,
        (data, content): (Bytes, Content),
        before: Option<&ObjectInfo>,
        make: impl Fn(Timestamp) -> ObjectHead + Send + Sync,
    ) -> Result<Written> {
        let head = |current: Option<&ObjectInfo>, at| match (current, before) {
            (None, None) => Ok(make(at)),
            (Some(current), Some(before)) if is_same(current, before) => Ok(make(at)),
            _ => Err(Error::Precondition),
        };
        self.store.object_put_as(&self.current_path(key), data, content, head).await
    }

    /// Deletes kept versions with the id `null`, in whose place another stands. What stays is hidden by that.
    async fn drop_nulls(&self, key: &str) {
        if let Err(error) = self.remove_nulls(key, None).await {
            tracing::warn!(%error, "a version that was replaced is left behind");
        }
    }

    /// Lets the current version expire as an object, if it is still that one. As a version it stays: it is kept first.
    async fn expire(&self, key: &str, stamp: &Stamp, second: u64) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let Some(info) = self.current(key).await?.filter(|info| Stamp::of(info).id == stamp.id) else {
                return Ok(());
            };
            match Box::pin(self.keep(key, &info)).await {
                Err(Error::Replaced) => continue,
                kept => kept?,
            }
            let change = |found: &ObjectInfo| match is_same(found, &info) {
                true => {
                    Ok(ObjectUpdate { content_type: None, delete_at: Some(second), metadata: info.metadata.clone() })
                }
                false => Err(Error::Replaced),
            };
            match self.store.object_update(&self.current_path(key), change).await {
                Err(Error::Replaced | Error::Missing(_)) => {}
                updated => return updated.map(drop),
            }
        }
        Err(Error::Contended)
    }

    /// Makes a version current again, with its id and in its place among the others; `None` where there is no such
    /// version, or it is a delete marker.
    pub async fn restore(&self, key: &str, id: &VersionId) -> Result<Option<ObjectInfo>> {
        for _ in 0..ATTEMPTS {
            let Some((path, info)) = self.locate(key, id).await? else { return Ok(None) };
            let stamp = Stamp::of(&info);
            if stamp.is_marker || path.container == *self.container {
                return Ok((!stamp.is_marker).then_some(info));
            }
            let current = self.current(key).await?;
            if let Some(current) = current.as_ref().filter(|info| self.must_keep(info)) {
                match Box::pin(self.keep(key, current)).await {
                    Err(Error::Replaced) => continue,
                    kept => kept?,
                }
            }
            if Box::pin(self.bring(key, current.as_ref(), &stamp, true)).await? {
                return Ok(Some(info));
            }
        }
        Err(Error::Contended)
    }

    /// Replaces the metadata of a version, or of the current one, as [`anello_storage::Store::object_update`] does.
    pub async fn update(
        &self,
        key: &str,
        id: Option<&VersionId>,
        mut change: impl FnMut(&ObjectInfo) -> Result<ObjectUpdate> + Send,
    ) -> Result<Written> {
        let Some(id) = id else { return self.update_current(key, &mut change).await };
        for _ in 0..ATTEMPTS {
            let Some((path, _)) = self.locate(key, id).await? else { return Err(Error::Missing("version")) };
            match self.update_at(&path, |info| Stamp::of(info).id == *id, &mut change).await {
                // It was kept meanwhile, or deleted.
                Err(Error::Missing(_) | Error::Replaced) => {}
                Ok(written) if path.container == *self.container => return Ok(written),
                Ok(written) => {
                    // A version that became the current one meanwhile was copied with its metadata of before.
                    let is_current = |info: ObjectInfo| Stamp::of(&info).id == *id;
                    if !self.current(key).await?.is_some_and(is_current) {
                        return Ok(written);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Contended)
    }

    /// What is to expire is said to do so once it is kept as it is then.
    async fn update_current(
        &self,
        key: &str,
        change: &mut (impl FnMut(&ObjectInfo) -> Result<ObjectUpdate> + Send),
    ) -> Result<Written> {
        let mut expires = None;
        let mut change = |info: &ObjectInfo| {
            let mut update = change(info)?;
            let stamp = Stamp::of(info);
            expires = update.delete_at.filter(|_| stamp.id != VersionId::Null).map(|second| (stamp, second));
            update.delete_at = update.delete_at.filter(|_| expires.is_none());
            Ok(update)
        };
        let written = self.update_at(&self.current_path(key), |_| true, &mut change).await?;
        if let Some((stamp, second)) = expires {
            Box::pin(self.expire(key, &stamp, second)).await?;
        }
        Ok(written)
    }

    async fn update_at(
        &self,
        path: &ObjectPath,
        is_it: impl Fn(&ObjectInfo) -> bool + Send,
        change: &mut (impl FnMut(&ObjectInfo) -> Result<ObjectUpdate> + Send),
    ) -> Result<Written> {
        let change = |info: &ObjectInfo| {
            if !is_it(info) {
                return Err(Error::Replaced);
            }
            let mut update = change(info)?;
            // The stamp stays, whatever else is replaced.
            name::carry(info, &mut update.metadata);
            if *path.account == *super::ACCOUNT {
                update.delete_at = None;
            }
            Ok(update)
        };
        self.store.object_update(path, change).await
    }
}

impl VersionWriter {
    /// Takes the next bytes.
    pub async fn write(&mut self, data: Bytes) -> Result<()> {
        match &mut self.data {
            Data::Part(part) => return part.write(data).await,
            Data::Gathered(gathered) => gathered.extend_from_slice(&data),
        }
        match &self.data {
            Data::Gathered(gathered) if gathered.len() as u64 > INLINE_BYTES_MAX => self.go_on_in_part().await,
            _ => Ok(()),
        }
    }

    async fn go_on_in_part(&mut self) -> Result<()> {
        let mut part = self.versions.part_writer(self.size_hint, &name::new_tag()).await?;
        if let Data::Gathered(gathered) = &mut self.data
            && !gathered.is_empty()
        {
            part.write(std::mem::take(gathered).freeze()).await?;
        }
        self.data = Data::Part(Box::new(part));
        Ok(())
    }

    /// Makes the version durable and current. `head.etag` is to be the MD5 of its data.
    pub async fn finish(self, head: ObjectHead, condition: &Precondition) -> Result<Put> {
        let Self { versions, key, data, .. } = self;
        let part = match data {
            Data::Gathered(gathered) => return versions.put(&key, gathered.freeze(), head, condition, None).await,
            Data::Part(part) => part,
        };
        let list = part.finish(&key, &head.etag).await?;
        let head = ObjectHead { content: Content::Multipart, size: Some(list.size()), ..head };
        // The sweeper tells by the part's name which version it is of.
        let part = list.parts[0].name.clone();
        let upload = crate::object::names::split_part(&part).map(|(upload, _)| upload);
        let put = versions.put(&key, list.encode(), head, condition, upload).await;
        if matches!(put, Err(Error::Precondition)) {
            let path = ObjectPath::new(PARTS_ACCOUNT, list.container, part.as_str());
            if let Err(error) = versions.store.object_delete(&path, &Precondition::default()).await {
                tracing::debug!(%error, "the data of a refused version are left to the sweeper");
            }
        }
        put
    }
}

impl std::fmt::Debug for VersionWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VersionWriter").field("key", &self.key).finish_non_exhaustive()
    }
}
