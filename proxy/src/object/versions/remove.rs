//! Deleting: the current version, which leaves a delete marker, or any one for good.

use anello_base::Timestamp;
use anello_storage::store::{ObjectHead, ObjectUpdate};
use anello_storage::{Error, ObjectInfo, Precondition, Result};
use bytes::Bytes;

use super::keep::{head_of, is_same};
use super::name::{self, Stamp, VersionId};
use super::{ATTEMPTS, MARKER_TYPE, OrAbsent, Versions};

/// MD5 of no bytes, a delete marker's entity tag.
const EMPTY_MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

/// What was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// Whether it was a delete marker.
    pub was_marker: bool,
}

/// A deletion that left a delete marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// The marker's stamp.
    pub stamp: Stamp,
    /// Whether there was a current version.
    pub was_there: bool,
}

/// What comes in the place of a current version, or of the delete marker in its place, that is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// The next version, as S3 has it.
    Next,
    /// Nothing, as Swift has it.
    Nothing,
}

impl Versions {
    /// Deletes the current version: it is kept (unless keeping is suspended and its id is `null`), and a delete marker
    /// takes its place, also of none.
    pub async fn delete(&self, key: &str, condition: &Precondition) -> Result<Marked> {
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
            let stamp = self.put_marker(key).await?;
            let was_there = before.is_some();
            // Also where nothing is there: whatever is written from now on is later than the marker.
            if self.take(key, before.as_ref()).await? {
                if !self.is_enabled {
                    self.remove_nulls(key, Some(&stamp)).await?;
                }
                return Ok(Marked { stamp, was_there });
            }
            let current = self.current(key).await?;
            let is_later = current.is_some_and(|current| Stamp::front(&current).is_newer_than(&stamp));
            // It was deleted before another came.
            if is_later && *condition == Precondition::default() {
                return Ok(Marked { stamp, was_there });
            }
            self.remove_kept(key, &stamp).await?;
        }
        Err(Error::Contended)
    }

    /// Takes the current version from its place, which stays empty, without a delete marker; tells whether there was
    /// one. As a version it is kept, but for one with the id `null`, which is gone if `may` does not refuse.
    pub async fn unlink(
        &self,
        key: &str,
        condition: &Precondition,
        may: impl Fn(&ObjectInfo) -> Result<()> + Sync,
    ) -> Result<bool> {
        for _ in 0..ATTEMPTS {
            let before = self.current(key).await?;
            if !condition.holds(before.as_ref()) {
                return Err(Error::Precondition);
            }
            if let Some(info) = &before {
                if Stamp::of(info).id == VersionId::Null {
                    may(info)?;
                } else {
                    match Box::pin(self.keep(key, info)).await {
                        Err(Error::Replaced) => continue,
                        kept => kept?,
                    }
                }
            }
            if self.take(key, before.as_ref()).await? {
                return Ok(before.is_some());
            }
        }
        Err(Error::Contended)
    }

    /// Deletes the object if it still is `before`; whether it was.
    async fn take(&self, key: &str, before: Option<&ObjectInfo>) -> Result<bool> {
        let now = self.store.clock().wall().seconds();
        // One that has expired is none, and goes.
        let is_there = |info: &&ObjectInfo| info.delete_at.is_none_or(|second| second > now);
        let is_it = |current: Option<&ObjectInfo>| match (current.filter(is_there), before) {
            (None, None) => true,
            (Some(current), Some(before)) => is_same(current, before),
            _ => false,
        };
        match self.store.object_delete_if(&self.current_path(key), is_it).await {
            Ok(_) => Ok(true),
            Err(Error::Precondition) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn put_marker(&self, key: &str) -> Result<Stamp> {
        let now = self.store.clock().tick();
        let stamp = match self.is_enabled {
            true => Stamp::unique(now, &name::new_tag(), true),
            false => Stamp::null(now, true),
        };
        let mut head = ObjectHead { etag: EMPTY_MD5.into(), content_type: MARKER_TYPE.into(), ..ObjectHead::default() };
        stamp.store(&mut head.metadata);
        self.put_kept(&self.kept_path(key, &stamp), Bytes::new(), head).await?;
        Ok(stamp)
    }

    /// Deletes a version for good; `None` where there is none. `behind` says what comes in its place where it is the
    /// current one, or the delete marker there. `may` sees what is to be deleted, and may refuse.
    pub async fn delete_version(
        &self,
        key: &str,
        id: &VersionId,
        behind: Behind,
        may: impl Fn(&ObjectInfo) -> Result<()> + Sync,
    ) -> Result<Option<Deleted>> {
        let mut deleted = None;
        for _ in 0..ATTEMPTS {
            let current = self.current(key).await?;
            if let Some(info) = current.as_ref().filter(|info| Stamp::of(info).id == *id) {
                may(info)?;
                // A copy of it first, or it would come back.
                self.remove_all(key, id).await?;
                let is_gone = match behind {
                    Behind::Next => Box::pin(self.step_back(key, Some(info), &Stamp::front(info))).await?,
                    Behind::Nothing => self.take(key, Some(info)).await?,
                };
                if is_gone {
                    deleted = Some(Deleted { was_marker: false });
                }
                continue;
            }
            let Some(stamp) = self.kept(key, id).await? else { return Ok(deleted) };
            let path = self.kept_path(key, &stamp);
            let Some(info) = self.store.object(&path).await.or_absent()? else { return Ok(deleted) };
            if current.as_ref().is_some_and(|current| stamp.is_newer_than(&Stamp::front(current))) {
                return Ok(deleted);
            }
            may(&info)?;
            let is_newest = current.is_none()
                && behind == Behind::Next
                && stamp.is_marker
                && self.newest_kept(key, None).await?.is_some_and(|top| top == stamp);
            // With the object there again, the marker has not happened; then it can go.
            if is_newest && !Box::pin(self.step_back(key, None, &stamp)).await? {
                continue;
            }
            self.remove_all(key, id).await?;
            deleted = Some(Deleted { was_marker: stamp.is_marker });
            // It may have become the current one before it went: once more.
        }
        Err(Error::Contended)
    }

    /// Puts what comes behind `stamp` in the place of the current version, if that is still `current`; tells
    /// whether it was.
    async fn step_back(&self, key: &str, current: Option<&ObjectInfo>, stamp: &Stamp) -> Result<bool> {
        match self.newest_kept(key, Some(stamp)).await?.filter(|next| !next.is_marker) {
            None => self.take(key, current).await,
            Some(next) => self.bring(key, current, &next, false).await,
        }
    }

    /// Puts a kept version in the place of the current one, if that is still `current`; tells whether it was. In front
    /// of newer ones (`is_again`) it says since when it is there.
    pub(super) async fn bring(
        &self,
        key: &str,
        current: Option<&ObjectInfo>,
        next: &Stamp,
        is_again: bool,
    ) -> Result<bool> {
        let path = self.kept_path(key, next);
        let Some(mut reader) = self.store.object_read(&path).await.or_absent()? else { return Ok(false) };
        let info = reader.info().clone();
        let mut data = Vec::new();
        while let Some(chunk) = reader.next().await? {
            data.extend_from_slice(&chunk);
        }
        let make = |at: Timestamp| {
            let mut head = head_of(&info);
            if is_again {
                next.store_again(at, &mut head.metadata);
            }
            head
        };
        let written = match self.replace(key, (data.into(), info.content), current, make).await {
            Ok(written) => written,
            Err(Error::Precondition) => return Ok(false),
            Err(error) => return Err(error),
        };
        // The copy stays: whoever replaces the object now may count on it. If it is gone, its version was deleted
        // meanwhile, and if it has other metadata, those are what was said last.
        let found = self.store.object(&path).await.or_absent()?;
        if found.as_ref().is_some_and(|found| is_same(found, &info)) {
            return Ok(true);
        }
        if let Some(now) = self.current(key).await?.filter(|now| now.timestamp == written.timestamp) {
            match found {
                Some(_) => self.step_back_again(key, &now, &path).await?,
                None => drop(Box::pin(self.step_back(key, Some(&now), &Stamp::front(&now))).await?),
            }
        }
        Ok(true)
    }

    /// Brings the metadata of a version that just became the current one up to what its copy has.
    async fn step_back_again(&self, key: &str, now: &ObjectInfo, path: &anello_storage::ObjectPath) -> Result<()> {
        let Some(found) = self.store.object(path).await.or_absent()? else { return Ok(()) };
        let change = |info: &ObjectInfo| {
            if !is_same(info, now) {
                return Err(Error::Replaced);
            }
            let mut metadata = found.metadata.clone();
            name::carry(info, &mut metadata);
            let content_type = Some(found.content_type.clone());
            Ok(ObjectUpdate { content_type, delete_at: info.delete_at, metadata })
        };
        match self.store.object_update(&self.current_path(key), change).await {
            Ok(_) | Err(Error::Replaced | Error::Missing(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes what is kept of a version.
    async fn remove_all(&self, key: &str, id: &VersionId) -> Result<()> {
        match Stamp::of_id(id) {
            Some(stamp) => self.remove_kept(key, &stamp).await,
            None => self.remove_nulls(key, None).await,
        }
    }

    /// Deletes the kept versions with the id `null`, all but one.
    pub(super) async fn remove_nulls(&self, key: &str, but: Option<&Stamp>) -> Result<()> {
        for stamp in self.nulls(key).await? {
            if Some(&stamp) != but {
                self.remove_kept(key, &stamp).await?;
            }
        }
        Ok(())
    }

    async fn remove_kept(&self, key: &str, stamp: &Stamp) -> Result<()> {
        match self.store.object_delete(&self.kept_path(key, stamp), &Precondition::default()).await {
            Ok(_) | Err(Error::Missing(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
