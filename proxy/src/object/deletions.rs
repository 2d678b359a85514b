//! Objects that are to be deleted in the background: the segments of a large object of Swift's. A [`Job`] is written down
//! before the one who asked is answered, and the [`Deleter`] does it; layout and steps are `docs/formats/deletions.md`.
//!
//! Every host that keeps data has a deleter. A job is claimed by a conditional write before it is begun, so that one host
//! does it at a time; where that host dies, another one takes the job once the claim is old. What is done twice does no
//! harm.

use std::sync::Arc;

use anello_base::{Timestamp, id};
use anello_storage::daemon::watch::{Unit, Watch};
use anello_storage::store::{IfMissing, ObjectHead, ObjectUpdate};
use anello_storage::{Error, Etags, ListQuery, Listed, ObjectInfo, ObjectPath, Precondition, Result, Store};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use super::limits::{DELETION_CLAIM, DELETION_INTERVAL, DELETION_JOBS_PAGE, REAP_CONCURRENCY};
use super::lock;
use super::vault::Vault;
use super::versions::Versions;

/// The system account that keeps jobs, and its container; no door reaches them by name.
const ACCOUNT: &str = ".deletions";
const CONTAINER: &str = "jobs";

/// When a job was last claimed: ticks, in decimal digits.
const CLAIMED_NAME: &str = "x-object-sysmeta-claimed";

/// Objects of one container that are to be deleted, as they were at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Their account.
    pub account: String,
    /// Their container.
    pub container: String,
    /// Their names.
    pub objects: Vec<String>,
    /// What was written after this many ticks stays.
    pub until: u64,
}

impl Job {
    /// Reads a job as it is stored; `None` where it makes no sense.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    fn encode(&self) -> Bytes {
        serde_json::to_vec(self).expect("strings and numbers are JSON").into()
    }

    /// Writes the job down. From then on it will be done.
    pub async fn store(&self, store: &Store) -> Result<()> {
        let name = format!("{:016x}{}", store.clock().tick().ticks(), &id::hex_id()[..16]);
        let path = ObjectPath::new(ACCOUNT, CONTAINER, name);
        let data = self.encode();
        let etag = hex::encode(Md5::digest(&data));
        let head = ObjectHead { etag, content_type: "application/json".into(), ..ObjectHead::default() };
        let always = Precondition::default();
        match store.object_put(&path, data.clone(), head.clone(), &always).await {
            Err(Error::Missing(_)) => {}
            other => return other.map(drop),
        }
        let policy = store.policies().default_policy().index;
        store.container_update(ACCOUNT, CONTAINER, Vec::new(), policy, IfMissing::Create).await?;
        store.object_put(&path, data, head, &always).await.map(drop)
    }

    /// Deletes the objects; tells how many were there. Those that Object Lock protects stay.
    async fn run(&self, store: &Vault) -> Result<usize> {
        let versions = Versions::of_container(store, &self.account, &self.container).await?;
        let versions = versions.as_ref();
        let delete = |name: &String| {
            let path = ObjectPath::new(self.account.as_str(), self.container.as_str(), name.as_str());
            async move { self.delete(store, versions, path).await }
        };
        let work: Vec<_> = self.objects.iter().map(delete).collect();
        let deleted: Vec<bool> = futures::stream::iter(work).buffer_unordered(REAP_CONCURRENCY).try_collect().await?;
        Ok(deleted.into_iter().filter(|was_there| *was_there).count())
    }

    async fn delete(&self, store: &Vault, versions: Option<&Versions>, path: ObjectPath) -> Result<bool> {
        // As it is stored: who has no keys deletes like any other.
        let stored = store.store();
        let Some(info) = stored.object(&path).await? else { return Ok(false) };
        if info.timestamp.ticks() > self.until {
            return Ok(false);
        }
        let is_it = |info: &ObjectInfo| {
            let tags = Etags::List(vec![info.etag.clone()]);
            Precondition { if_match: Some(tags), ..Precondition::default() }
        };
        let deleted = match versions {
            Some(versions) => {
                let may =
                    |info: &ObjectInfo| match lock::forbids(info, store.clock().wall().system_time().into(), false) {
                        true => Err(Error::Precondition),
                        false => Ok(()),
                    };
                let Some(opened) = store.object(&path).await?.filter(|opened| opened.timestamp == info.timestamp)
                else {
                    return Ok(false);
                };
                versions.unlink(&path.object, &is_it(&opened), may).await
            }
            None => stored.object_delete(&path, &is_it(&info)).await.map(|deleted| deleted.is_some()),
        };
        match deleted {
            // It is another now, or locked.
            Err(Error::Precondition | Error::Missing(_)) => Ok(false),
            deleted => deleted,
        }
    }
}

/// The worker. One per store.
#[derive(Debug)]
pub struct Deleter {
    store: Vault,
    watch: Arc<Watch>,
}

impl Deleter {
    /// A deleter of what is to be deleted in this store.
    pub fn new(store: impl Into<Vault>) -> Self {
        let store = store.into();
        Self { watch: store.watch("deleter", Unit::Objects), store }
    }

    /// Steps for ever, with a pause after each that found nothing to do. A failed step is logged and tried again. May be
    /// dropped at any point.
    pub async fn run(self) {
        loop {
            match self.step().await {
                Ok(done) if done > 0 => continue,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "objects could not be deleted in the background, will be tried again");
                    self.watch.failed(&error);
                }
            }
            tokio::time::sleep(DELETION_INTERVAL).await;
        }
    }

    /// Does the jobs that nobody else does; tells how many.
    pub async fn step(&self) -> Result<usize> {
        let query = ListQuery { limit: DELETION_JOBS_PAGE, ..ListQuery::default() };
        let page = match self.store.container_list(ACCOUNT, CONTAINER, &query).await {
            Err(Error::Missing(_)) => return Ok(0),
            page => page?,
        };
        self.watch.begin(None);
        self.watch.waits(page.len() as u64);
        let mut done = 0;
        for listed in page {
            let Listed::Entry(entry) = listed else { continue };
            if self.job(&ObjectPath::new(ACCOUNT, CONTAINER, entry.name)).await? {
                done += 1;
            }
        }
        self.watch.end();
        Ok(done)
    }

    /// Does a job, if nobody else does.
    async fn job(&self, path: &ObjectPath) -> Result<bool> {
        if !self.claim(path).await? {
            return Ok(false);
        }
        let Some(mut reader) = self.store.store().object_read(path).await? else { return Ok(false) };
        let mut bytes = Vec::new();
        while let Some(data) = reader.next().await? {
            bytes.extend_from_slice(&data);
        }
        match Job::decode(&bytes) {
            Some(job) => {
                let deleted = job.run(&self.store).await?;
                self.watch.advance(deleted as u64);
            }
            // Nothing tells what was to be deleted; keeping it would only block the others.
            None => {
                tracing::error!(%path, "a job can't be read: what it was to delete stays");
                self.watch.found(1);
            }
        }
        match self.store.store().object_delete(path, &Precondition::default()).await {
            Ok(_) | Err(Error::Missing(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Whether the job is there and this deleter's from now on.
    async fn claim(&self, path: &ObjectPath) -> Result<bool> {
        let now = self.store.clock().wall();
        let change = |info: &ObjectInfo| {
            let claimed = info.metadata.iter().find(|(name, _)| name == CLAIMED_NAME);
            let claimed = claimed.and_then(|(_, ticks)| ticks.parse().ok()).map(Timestamp::from_ticks);
            if claimed.is_some_and(|claimed| now < claimed.plus(DELETION_CLAIM)) {
                return Err(Error::Precondition);
            }
            let metadata = vec![(CLAIMED_NAME.to_owned(), now.ticks().to_string())];
            Ok(ObjectUpdate { content_type: None, delete_at: None, metadata })
        };
        match self.store.store().object_update(path, change).await {
            Ok(_) => Ok(true),
            Err(Error::Precondition | Error::Missing(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A job is read as it was written.
#[cfg(feature = "fuzzing")]
pub(crate) fn feed(bytes: &[u8]) {
    if let Some(job) = Job::decode(bytes) {
        assert_eq!(Job::decode(&job.encode()), Some(job));
    }
}
