//! Deletes the parts of joined objects that were replaced or deleted. The engine remembers such objects
//! durably; the reaper takes some, deletes their parts, and settles them. Each step may be cut anywhere
//! and repeated: an object comes again, and deleting a part twice does no harm.
//!
//! An object is left alone for a while after it was first seen, so that a download that was under way
//! comes to its end. Parts that the object now standing under the same name also lists are kept: an upload
//! that was completed twice lists them twice, and a version is copied when another takes its place.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anello_base::Timestamp;
use anello_storage::daemon::watch::{Unit, Watch};
use anello_storage::store::PartsToDelete;
use anello_storage::{Content, Error, ObjectPath, Precondition, Result, Store};
use futures::{StreamExt, TryStreamExt};

use super::joined::read_stored_list;
use super::limits::{
    REAP_BATCH, REAP_CONCURRENCY, REAP_COUNT_MAX, REAP_GRACE, REAP_INTERVAL, REAP_LOOKS_MAX, REAP_SEEN_MAX,
};
use super::names;
use super::parts::PartList;
use super::vault::Vault;
use super::versions::Versions;

/// What identifies a waiting object between two steps.
type Key = (Timestamp, String);

/// The worker. One per store.
#[derive(Debug)]
pub struct Reaper {
    store: Store,
    watch: Arc<Watch>,
    grace: Duration,
    /// Since when each object that waits was seen to; at most [`REAP_SEEN_MAX`] of them.
    seen: HashMap<Key, Instant>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reaped {
    /// Objects whose parts are gone now.
    pub objects: usize,
    /// Parts deleted.
    pub parts: usize,
    /// Objects that were seen and wait: for their time, or for the next step.
    pub waiting: usize,
}

impl Reaper {
    /// A reaper with the usual grace.
    pub fn new(store: impl Into<Store>) -> Self {
        Self::with_grace(store, REAP_GRACE)
    }

    /// A reaper that leaves each object alone for `grace` after it first saw it.
    pub fn with_grace(store: impl Into<Store>, grace: Duration) -> Self {
        let store = store.into();
        Self { watch: store.watch("part reaper", Unit::Objects), store, grace, seen: HashMap::new() }
    }

    /// Steps for ever, with a pause after each that found nothing to do. A failed step is logged and
    /// tried again. May be dropped at any point.
    pub async fn run(mut self) {
        loop {
            match self.step(Instant::now()).await {
                Ok(reaped) if reaped.objects > 0 => continue,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "parts could not be deleted, will be tried again");
                    self.watch.failed(&error);
                }
            }
            tokio::time::sleep(REAP_INTERVAL).await;
        }
    }

    /// One step: looks at the objects that wait, and deletes the parts of some whose time has come at `now`.
    pub async fn step(&mut self, now: Instant) -> Result<Reaped> {
        let mut reaped = Reaped::default();
        let mut waiting = HashMap::new();
        self.watch.begin(None);
        for pending in self.store.parts_to_delete(REAP_SEEN_MAX)? {
            let key = (pending.info().timestamp, pending.info().etag.clone());
            let since = self.seen.get(&key).copied().unwrap_or(now);
            if now.duration_since(since) < self.grace || reaped.objects >= REAP_BATCH {
                waiting.insert(key, since);
                continue;
            }
            reaped.parts += self.reap(pending).await?;
            reaped.objects += 1;
            self.watch.advance(1);
        }
        self.watch.waits(self.store.count_parts_to_delete(REAP_COUNT_MAX)? as u64);
        self.watch.end();
        reaped.waiting = waiting.len();
        self.seen = waiting;
        Ok(reaped)
    }

    async fn reap(&self, pending: PartsToDelete) -> Result<usize> {
        let count = match self.delete(&pending).await {
            // Nothing tells which parts these were; keeping the entry would only block the others.
            Err(error @ Error::Corrupt { .. }) => {
                tracing::error!(%error, etag = pending.info().etag, "a replaced object's parts are lost track of");
                self.watch.found(1);
                0
            }
            deleted => deleted?,
        };
        self.store.settle_parts(pending).await?;
        Ok(count)
    }

    async fn delete(&self, pending: &PartsToDelete) -> Result<usize> {
        if self.store.delete_fragments(pending).await? {
            return Ok(0);
        }
        let path = ObjectPath::new("", "", pending.info().etag.as_str());
        let list = read_stored_list(&path, self.store.read_parts_to_delete(pending)).await?;
        delete_parts(&self.store, &list).await
    }
}

/// Deletes the parts of a list that nothing needs any more; tells how many.
async fn delete_parts(store: &Store, list: &PartList) -> Result<usize> {
    let kept = parts_in_use(store, list).await?;
    let paths: Vec<_> = list.parts.iter().map(|part| list.path(part)).filter(|path| !kept.contains(path)).collect();
    let count = paths.len();
    let delete = |path: ObjectPath| async move {
        match store.object_delete(&path, &Precondition::default()).await {
            Ok(_) | Err(Error::Missing(_)) => Ok(()),
            Err(error) => Err(error),
        }
    };
    futures::stream::iter(paths).map(delete).buffer_unordered(REAP_CONCURRENCY).try_collect::<Vec<()>>().await?;
    Ok(count)
}

/// The parts that the owner of a list still lists, or a version of it.
async fn parts_in_use(store: &Store, list: &PartList) -> Result<HashSet<ObjectPath>> {
    let owner = &list.owner;
    let versions = Versions::of_container(&Vault::from(store.clone()), &owner.account, &owner.container).await?;
    let upload = list.parts.first().and_then(|part| Some(names::split_part(&part.name)?.0));
    let (Some(versions), Some(upload)) = (versions, upload) else { return listed(store, owner).await };
    for _ in 0..REAP_LOOKS_MAX {
        let before = store.object(owner).await?.map(|info| info.timestamp);
        let mut parts = HashSet::new();
        for place in versions.places_of_upload(&owner.object, upload).await? {
            parts.extend(listed(store, &place).await?);
        }
        // A version that went from one place to the other meanwhile may have been seen at neither.
        if before == store.object(owner).await?.map(|info| info.timestamp) {
            return Ok(parts);
        }
    }
    Err(Error::Contended)
}

/// The parts that an object lists, if it is there; also where its digests are sealed and nobody has the key.
pub(super) async fn listed(store: &Store, path: &ObjectPath) -> Result<HashSet<ObjectPath>> {
    match store.object_read(path).await {
        Ok(Some(reader)) if reader.info().content == Content::Multipart => {
            let list = read_stored_list(path, reader).await?;
            Ok(list.parts.iter().map(|part| list.path(part)).collect())
        }
        Ok(_) => Ok(HashSet::new()),
        Err(Error::Missing(_)) => Ok(HashSet::new()),
        Err(error) => Err(error),
    }
}
