//! Keeping the current version: its record is copied to where versions are, before anything takes its place. What is
//! copied twice is the same.

use anello_storage::limits::INLINE_BYTES_MAX;
use anello_storage::store::{IfMissing, ObjectHead};
use anello_storage::{Content, Error, ListQuery, Listed, ObjectEntry, ObjectInfo, ObjectPath, Precondition, Result};
use bytes::Bytes;

use super::name::{self, Stamp, VersionId};
use super::{ACCOUNT, Versions};
use crate::object::limits::SWEEP_PAGE;
use crate::object::names;
use crate::object::parts::{PARTS_ACCOUNT, Part, PartList};
use crate::object::vault::ObjectWriter;

/// Versions with the id `null` that are looked for: one, and those that a crash left behind.
pub(super) const NULLS_MAX: usize = 100;

impl Versions {
    /// Copies the current version, which `info` is, to the kept ones; [`Error::Replaced`] if it is another now.
    pub(super) async fn keep(&self, key: &str, info: &ObjectInfo) -> Result<()> {
        let from = self.current_path(key);
        let is_large = info.content == Content::Plain && info.size > INLINE_BYTES_MAX;
        let stamp = Stamp::of(info);
        let to = self.kept_path(key, &stamp);
        let mut head = head_of(info);
        stamp.store(&mut head.metadata);
        if is_large {
            // Written before versions were kept: its data become a part once, which no copy has to move again.
            let list = self.to_part(key, info).await?;
            head.size = Some(info.size);
            head.content = Content::Multipart;
            return self.put_kept(&to, list.encode(), head).await;
        }
        let Some(mut reader) = self.store.object_read(&from).await? else { return Err(Error::Replaced) };
        if !is_same(reader.info(), info) {
            return Err(Error::Replaced);
        }
        let mut data = Vec::new();
        while let Some(chunk) = reader.next().await? {
            data.extend_from_slice(&chunk);
        }
        self.put_kept(&to, data.into(), head).await
    }

    /// Writes a record among the kept ones, whose container may have to be made.
    pub(super) async fn put_kept(&self, to: &ObjectPath, data: Bytes, head: ObjectHead) -> Result<()> {
        let always = Precondition::default();
        match self.store.object_put(to, data.clone(), head.clone(), &always).await {
            Err(Error::Missing(_)) => {}
            other => return other.map(drop),
        }
        self.store.container_update(ACCOUNT, &self.place, Vec::new(), self.policy, IfMissing::Create).await?;
        self.store.object_put(to, data, head, &always).await.map(drop)
    }

    /// Copies the data of the current version to a part.
    async fn to_part(&self, key: &str, info: &ObjectInfo) -> Result<PartList> {
        let Some(mut reader) = self.store.object_read(&self.current_path(key)).await? else {
            return Err(Error::Replaced);
        };
        if !is_same(reader.info(), info) {
            return Err(Error::Replaced);
        }
        let mut writer = self.part_writer(Some(info.size), &name::new_tag()).await?;
        while let Some(chunk) = reader.next().await? {
            writer.write(chunk).await?;
        }
        writer.finish(key, &info.etag).await
    }

    /// The versions of a key that have the id `null` and are kept, the newest first.
    pub(super) async fn nulls(&self, key: &str) -> Result<Vec<Stamp>> {
        let rows = self.rows(name::nulls_of(key), None, NULLS_MAX).await?;
        Ok(rows.iter().filter_map(|row| Some(name::split(&row.name)?.1)).collect())
    }

    /// The kept version with this id, if it is there as far as names tell.
    pub(super) async fn kept(&self, key: &str, id: &VersionId) -> Result<Option<Stamp>> {
        match id {
            VersionId::Null => Ok(self.nulls(key).await?.into_iter().next()),
            VersionId::Unique(_) => Ok(Stamp::of_id(id)),
        }
    }

    /// The newest kept version that is older than `than`.
    pub(super) async fn newest_kept(&self, key: &str, than: Option<&Stamp>) -> Result<Option<Stamp>> {
        let is_older = |stamp: &Stamp| than.is_none_or(|than| than.is_newer_than(stamp) && stamp.id != than.id);
        let null = self.nulls(key).await?.into_iter().find(is_older);
        let prefix = format!("{}v", name::all_of(key));
        let marker = than.map(|than| name::behind(key, than));
        // Two, for one may be a copy of the version whose place it is about.
        let rows = self.rows(prefix, marker, 2).await?;
        let unique = rows.iter().filter_map(|row| Some(name::split(&row.name)?.1)).find(is_older);
        Ok(null.into_iter().chain(unique).min())
    }

    /// Rows of the container of kept versions; none where there is none.
    pub(super) async fn rows(&self, prefix: String, marker: Option<String>, limit: usize) -> Result<Vec<ObjectEntry>> {
        self.rows_of(&ListQuery { prefix, marker, limit, ..ListQuery::default() }).await
    }

    /// The same as any query has it.
    pub(super) async fn rows_of(&self, query: &ListQuery) -> Result<Vec<ObjectEntry>> {
        let listed = match self.store.container_list(ACCOUNT, &self.place, query).await {
            Err(Error::Missing(_)) => return Ok(Vec::new()),
            other => other?,
        };
        let entry = |listed| match listed {
            Listed::Entry(entry) => Some(entry),
            Listed::Prefix(_) => None,
        };
        Ok(listed.into_iter().filter_map(entry).collect())
    }

    /// Where an object may be that an upload of `key` made: it may be any version by now.
    pub async fn places_of_upload(&self, key: &str, upload: &str) -> Result<Vec<ObjectPath>> {
        let (tag, mut marker) = (name::tag_of_upload(upload), None);
        let mut places = vec![self.current_path(key)];
        loop {
            let rows = self.rows(name::all_of(key), marker, SWEEP_PAGE).await?;
            let stamps = rows.iter().filter_map(|row| Some(name::split(&row.name)?.1));
            // Without a tag: completed before versions were kept, perhaps.
            let is_candidate = |stamp: &Stamp| !stamp.is_marker && stamp.tag().is_none_or(|found| found == tag);
            places.extend(stamps.filter(is_candidate).map(|stamp| self.kept_path(key, &stamp)));
            if rows.len() < SWEEP_PAGE {
                return Ok(places);
            }
            marker = rows.last().map(|row| row.name.clone());
        }
    }

    /// Begins a part that holds all data of a version.
    pub(super) async fn part_writer(&self, size_hint: Option<u64>, tag: &str) -> Result<PartWriter> {
        let container = names::parts_container(&self.account, &self.container);
        let upload = format!("{:016x}{tag}", self.store.clock().tick().ticks());
        let path = ObjectPath::new(PARTS_ACCOUNT, container, names::part(&upload, 0, &name::new_tag()));
        let writer = match self.store.object_write(&path, size_hint).await {
            Err(Error::Missing(_)) => {
                let container = &path.container;
                let missing = IfMissing::Create;
                self.store.container_update(PARTS_ACCOUNT, container, Vec::new(), self.policy, missing).await?;
                self.store.object_write(&path, size_hint).await?
            }
            other => other?,
        };
        Ok(PartWriter { owner: self.current_path(""), path, writer })
    }
}

/// A part that holds all data of a version, being written. A crash leaves it to the sweeper.
pub(super) struct PartWriter {
    owner: ObjectPath,
    path: ObjectPath,
    writer: ObjectWriter,
}

impl PartWriter {
    pub(super) async fn write(&mut self, data: Bytes) -> Result<()> {
        self.writer.write(data).await
    }

    /// Makes it durable; the list that names it. Its number, which no client gives, tells that it is no upload's part.
    pub(super) async fn finish(self, key: &str, etag: &str) -> Result<PartList> {
        let Self { mut owner, path, writer } = self;
        let size = writer.written();
        let mut md5 = [0; 16];
        hex::decode_to_slice(etag, &mut md5).map_err(|_| Error::Message(format!("{etag:?} is no MD5")))?;
        let head = ObjectHead {
            etag: etag.to_owned(),
            content_type: "application/x-part".into(),
            metadata: vec![(names::PART_KEY_NAME.to_owned(), key.to_owned())],
            ..ObjectHead::default()
        };
        writer.finish(head, &Precondition::default()).await?;
        key.clone_into(&mut owner.object);
        let part = Part { number: 0, size, md5, checksum: Vec::new(), name: path.object };
        Ok(PartList { owner, container: path.container, parts: vec![part] })
    }
}

/// The head of a copy of what was read.
pub(super) fn head_of(info: &ObjectInfo) -> ObjectHead {
    ObjectHead {
        etag: info.etag.clone(),
        content_type: info.content_type.clone(),
        content: info.content,
        size: (info.content != Content::Plain).then_some(info.size),
        // What expires is the object: a version stays until it is deleted.
        delete_at: None,
        metadata: info.metadata.clone(),
        timestamp: None,
    }
}

/// Whether both are the same version with the same metadata.
pub(super) fn is_same(one: &ObjectInfo, other: &ObjectInfo) -> bool {
    (one.timestamp, one.meta_timestamp) == (other.timestamp, other.meta_timestamp)
}
