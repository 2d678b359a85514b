//! Changes of records. Each is acknowledged when it is durable, and shown in the view before it is.

use std::sync::Arc;

use anello_base::Timestamp;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Directory;
use crate::error::{Error, Result};
use crate::limits::UPDATE_ATTEMPTS_MAX;
use crate::model::Kept;
use crate::records::{Expect, Version};

/// Version of the envelope that records are written in.
const FORMAT: u32 = 1;

/// A record as it is written.
#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    format: u32,
    /// The name that it had before, until its claim on the new one is held, and harmlessly longer.
    renamed_from: Option<String>,
    record: T,
}

pub(super) fn pack<T: Kept>(record: &T, renamed_from: Option<&str>) -> Result<Bytes> {
    let envelope = Envelope { format: FORMAT, renamed_from: renamed_from.map(str::to_owned), record };
    let data = serde_json::to_vec(&envelope).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(data.into())
}

/// A record and the name that it had before, from its bytes.
pub(super) fn unpack<T: Kept>(id: &str, data: &[u8]) -> Result<(T, Option<String>)> {
    let corrupt = |why: String| Error::Corrupt { kind: T::KIND.container(), id: id.to_owned(), why };
    let envelope: Envelope<T> = serde_json::from_slice(data).map_err(|error| corrupt(error.to_string()))?;
    if envelope.format != FORMAT {
        return Err(corrupt(format!("format {} is expected, {} was found", FORMAT, envelope.format)));
    }
    Ok((envelope.record, envelope.renamed_from))
}

impl Directory {
    /// Makes a new record. [`Error::NameTaken`] or [`Error::Exists`] where its name or id is not free.
    ///
    /// Durable in this order: the reserved claim, the record, the held claim. Dropped or killed in between,
    /// either nothing or a whole record is left.
    pub(crate) async fn create<T: Kept>(&self, record: T) -> Result<Arc<T>> {
        self.check_open()?;
        let id = record.id();
        let name = record.unique_name().map(|(scope, name)| (scope, name.to_owned()));
        if let Some((scope, name)) = &name {
            self.reserve::<T>(scope, name, &id).await?;
        }
        let version = match self.records.put(T::KIND, &id, pack(&record, None)?, Expect::Absent).await {
            Ok(version) => version,
            Err(error) => {
                if let Some((scope, name)) = &name {
                    self.release::<T>(scope, name, &id).await;
                }
                return Err(match error {
                    Error::Changed => Error::Exists { what: T::KIND.noun(), id },
                    error => error,
                });
            }
        };
        if let Some((scope, name)) = &name
            && let Err(error) = self.confirm::<T>(scope, name, &id).await
        {
            self.records.delete(T::KIND, &id, Expect::Anything).await?;
            return Err(error);
        }
        Ok(self.show(record, version))
    }

    /// Writes a record that has no unique name, whether it was there or not.
    pub(crate) async fn put<T: Kept>(&self, record: T) -> Result<Arc<T>> {
        self.check_open()?;
        debug_assert!(record.unique_name().is_none(), "a unique name needs its claim");
        let version = self.records.put(T::KIND, &record.id(), pack(&record, None)?, Expect::Anything).await?;
        Ok(self.show(record, version))
    }

    /// Changes a record. `change` may run several times, each time on what stands then.
    pub(crate) async fn update<T: Kept>(
        &self,
        id: &str,
        change: impl Fn(&mut T) -> Result<()> + Send,
    ) -> Result<Arc<T>> {
        self.check_open()?;
        for _ in 0..UPDATE_ATTEMPTS_MAX {
            let (old, version) = self.current::<T>(id)?;
            let mut new = T::clone(&old);
            change(&mut new)?;
            debug_assert_eq!(new.id(), id, "an id stays");
            match self.replace::<T>(&old, new, &version).await {
                Err(Error::Changed) => self.reread::<T>(id).await?,
                result => return result,
            }
        }
        Err(Error::Changed)
    }

    fn current<T: Kept>(&self, id: &str) -> Result<(Arc<T>, Version)> {
        let view = self.view();
        let row = T::table(&view).row(id).ok_or_else(|| missing::<T>(id))?;
        if row.is_foreign() {
            return Err(Error::Forbidden(format!("The {} comes from a directory and is read-only.", T::KIND.noun())));
        }
        Ok((Arc::clone(&row.record), row.version.clone()))
    }

    async fn reread<T: Kept>(&self, id: &str) -> Result<()> {
        match self.records.get(T::KIND, id).await? {
            Some((version, data)) => {
                let (record, _) = unpack(id, &data)?;
                self.show::<T>(record, version);
                Ok(())
            }
            None => {
                let (_, version) = self.current::<T>(id)?;
                self.hide::<T>(id, version.timestamp);
                Err(missing::<T>(id))
            }
        }
    }

    /// Writes the next version of a record, and moves its claim where the name changes: the new one is
    /// reserved, the record written, the new one held, the old one given back.
    async fn replace<T: Kept>(&self, old: &T, new: T, version: &Version) -> Result<Arc<T>> {
        let id = new.id();
        let owned = |name: Option<(String, &str)>| name.map(|(scope, name)| (scope, name.to_owned()));
        let (before, after) = (owned(old.unique_name()), owned(new.unique_name()));
        let expect = Expect::Etag(&version.etag);
        let (Some((scope, name)), true) = (&after, before != after) else {
            let written = self.records.put(T::KIND, &id, pack(&new, None)?, expect).await?;
            return Ok(self.show(new, written));
        };
        self.reserve::<T>(scope, name, &id).await?;
        let old_name = before.as_ref().map(|(_, name)| name.as_str());
        let written = match self.records.put(T::KIND, &id, pack(&new, old_name)?, expect).await {
            Ok(written) => written,
            Err(error) => {
                self.release::<T>(scope, name, &id).await;
                return Err(error);
            }
        };
        if let Err(error) = self.confirm::<T>(scope, name, &id).await {
            let back = self.records.put(T::KIND, &id, pack(old, None)?, Expect::Etag(&written.etag)).await?;
            self.show(T::clone(old), back);
            return Err(error);
        }
        let shown = self.show(new, written);
        if let Some((scope, name)) = &before {
            self.release::<T>(scope, name, &id).await;
        }
        Ok(shown)
    }

    /// Deletes a record: first the record, then its claim. Tells what it was.
    pub(crate) async fn delete<T: Kept>(&self, id: &str) -> Result<Arc<T>> {
        self.check_open()?;
        let (record, version) = self.current::<T>(id)?;
        let deleted = self.records.delete(T::KIND, id, Expect::Anything).await?;
        self.hide::<T>(id, deleted.unwrap_or(Timestamp::ZERO).max(version.timestamp));
        if let Some((scope, name)) = record.unique_name() {
            self.release::<T>(&scope, name, id).await;
        }
        Ok(record)
    }

    /// Deletes every record of a kind that `which` picks.
    pub(crate) async fn delete_all<T: Kept>(&self, which: impl Fn(&T) -> bool + Send) -> Result<()> {
        let ids: Vec<String> = T::table(&self.view()).iter().filter(|it| which(it)).map(|it| it.id()).collect();
        for id in ids {
            match self.delete::<T>(&id).await {
                Ok(_) | Err(Error::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes the record back under the name it had before a rename that was not finished.
    pub(super) async fn undo_rename<T: Kept>(&self, mut record: T, name: &str, version: &Version) -> Result<()> {
        record.set_name(name);
        let id = record.id();
        let written = self.records.put(T::KIND, &id, pack(&record, None)?, Expect::Etag(&version.etag)).await?;
        self.show(record, written);
        Ok(())
    }
}

fn missing<T: Kept>(id: &str) -> Error {
    Error::Missing { what: T::KIND.noun(), id: id.to_owned() }
}
