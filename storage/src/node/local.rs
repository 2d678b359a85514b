//! A device of this process behind its gate: what is admitted, in which order, and what was promised.
//!
//! Locks are taken in this order: a container's stripe, then an object's. They are asynchronous ones, held
//! over the commit on purpose: a preparer must see every write that was admitted before its promise.

use anello_base::Timestamp;
use std::sync::Arc;
use tokio::sync::{RwLock, RwLockReadGuard};

use super::epoch::Epoch;
use super::promises::Promises;
use super::{ContainerFound, Write, limits, stripe};
use crate::device::Device;
use crate::environment::blocking;
use crate::error::{Error, Result};
use crate::index::{Effect, Index, ObjectState, RowGate};
use crate::key::{KeyHash, KeyHasher};
use crate::limits::LISTING_INLINE_MAX;
use crate::model::ListQuery;
use crate::mutation::{Applies, Mutation};
use crate::shards;

/// A device of this process.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    pub(crate) device: Device,
    pub(super) hasher: KeyHasher,
    gate: Arc<Gate>,
    epoch: Arc<Epoch>,
    /// The map that its caller goes by.
    by: u64,
}

#[derive(Debug)]
struct Gate {
    containers: Vec<RwLock<()>>,
    objects: Vec<RwLock<()>>,
    promises: Promises,
}

/// Held while an admitted mutation is on its way to the index.
#[derive(Debug, Default)]
pub(super) struct Admitted<'a> {
    container: Option<RwLockReadGuard<'a, ()>>,
    object: Option<RwLockReadGuard<'a, ()>>,
}

impl Local {
    pub(crate) fn open(device: Device, hasher: KeyHasher, epoch: Arc<Epoch>) -> Result<Self> {
        let stripes = || (0..limits::STRIPES).map(|_| RwLock::new(())).collect();
        let promises = Promises::open(device.clone())?;
        let gate = Gate { containers: stripes(), objects: stripes(), promises };
        Ok(Self { device, hasher, gate: Arc::new(gate), epoch, by: 0 })
    }

    /// The same for a caller that goes by the map of `epoch`.
    pub(crate) fn at(&self, epoch: u64) -> Self {
        Self { by: epoch, ..self.clone() }
    }

    /// Makes a mutation durable and visible here. [`Error::Promised`] where a later one was promised,
    /// [`Error::Missing`] where a row's container was deleted, [`Error::OldShards`] where its rows are kept elsewhere
    /// now, [`Error::OldMap`] where its
    /// caller goes by an older map than is taken. The same mutation again is acknowledged
    /// again.
    pub(crate) async fn commit(&self, write: Write) -> Result<Effect> {
        let _by_this_map = self.epoch.enter(self.by).await?;
        let _in_flight = (!write.restores).then(|| self.device.precedence().enter());
        let admitted = match write.restores {
            true => self.pass_gate(&write.mutation, write.applies).await,
            false => self.admit(&write).await?,
        };
        self.keep_data(&write)?;
        self.has_data(&write)?;
        let Write { mutation, applies, restores, .. } = write;
        let timestamp = mutation.timestamp();
        let (keys, is_statistics) = (Keys::of(&mutation), matches!(mutation, Mutation::ContainerStats { .. }));
        let data = match &mutation {
            Mutation::ObjectPut(put) if applies.object => Some((put.hashes.object, put.etag.clone())),
            _ => None,
        };
        let fenced = Keys::fenced(&mutation);
        // Metadata that stand refuse no earlier data.
        let refuses = applies.object && !matches!(mutation, Mutation::ObjectPost(_));
        let mut effect = match restores {
            true => self.device.restore(mutation, applies).await?,
            false => self.device.commit(mutation, applies).await?,
        };
        let is_same = effect.stale == Some(timestamp) && self.stands(timestamp, data.as_ref())?;
        if is_same || is_statistics {
            // The same again; or statistics, of which the later ones are as good.
            effect.stale = None;
        }
        for key in [keys.object.filter(|_| refuses), keys.deleted].into_iter().flatten() {
            self.gate.promises.fulfilled(key, timestamp);
        }
        drop(admitted);
        if let Some(container) = fenced {
            // Rows that passed before this stood are to be seen by whoever copies them to other shards.
            drop(self.gate.containers[stripe(container)].write().await);
        }
        Ok(effect)
    }

    /// Whether it is these data that stand at this timestamp: another host may have deleted at the same one.
    fn stands(&self, timestamp: Timestamp, data: Option<&(KeyHash, String)>) -> Result<bool> {
        let Some((object, etag)) = data else { return Ok(true) };
        let row = self.device.index().object(*object)?;
        Ok(row.is_some_and(|row| row.info.timestamp == timestamp && row.info.etag == *etag))
    }

    async fn admit(&self, write: &Write) -> Result<Admitted<'_>> {
        let Write { mutation, applies, stands_in, is_plain, .. } = write;
        let timestamp = mutation.timestamp();
        let keys = Keys::of(mutation);
        let mut admitted = Admitted::default();
        if let Some(container) = keys.container.filter(|_| applies.container) {
            admitted.container = Some(self.gate.containers[stripe(container)].read().await);
            let is_deletion = matches!(mutation, Mutation::ContainerDelete { .. });
            self.keep_promise(container, timestamp, is_deletion && !is_plain)?;
            if let Mutation::ContainerPut(put) = mutation
                && shards::are_engines(&put.changes)
                && self.device.index().row_gate(container, Timestamp::MAX)? == RowGate::Deleted
            {
                return Err(Error::Missing("container"));
            }
            if keys.object.is_some() && !stands_in {
                self.keep_rows(container, write)?;
            }
        }
        if let Some(object) = keys.object.filter(|_| applies.object) {
            admitted.object = Some(self.gate.objects[stripe(object)].read().await);
            self.keep_promise(object, timestamp, !is_plain)?;
        }
        Ok(admitted)
    }

    /// Whether a row may come to a container here. One that this device has never heard of is on its way here, or was
    /// missed: whoever writes has seen it.
    fn keep_rows(&self, container: KeyHash, write: &Write) -> Result<()> {
        match self.device.index().row_gate(container, write.shards)? {
            RowGate::OldShards => Err(Error::OldShards),
            // A shard that was let go of: the row has another place.
            RowGate::Deleted if write.shards > Timestamp::ZERO => Err(Error::Missing("container")),
            RowGate::Deleted if matches!(write.mutation, Mutation::ObjectPut(_)) => Err(Error::Missing("container")),
            RowGate::Deleted | RowGate::Open => Ok(()),
        }
    }

    /// Enters without asking what was promised, which replication does.
    pub(super) async fn pass_gate(&self, mutation: &Mutation, applies: Applies) -> Admitted<'_> {
        let keys = Keys::of(mutation);
        let mut admitted = Admitted::default();
        if let Some(container) = keys.container.filter(|_| applies.container) {
            admitted.container = Some(self.gate.containers[stripe(container)].read().await);
        }
        if let Some(object) = keys.object.filter(|_| applies.object) {
            admitted.object = Some(self.gate.objects[stripe(object)].read().await);
        }
        admitted
    }

    /// Asks the index for a listing; a long one off the reactor.
    pub(crate) async fn list<T: Send + 'static>(
        &self,
        limit: usize,
        ask: impl FnOnce(&Index) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if limit <= LISTING_INLINE_MAX {
            return ask(self.device.index());
        }
        let device = self.device.clone();
        blocking(move || ask(device.index())).await
    }

    /// A large object's data are freed with a record that comes too late, and the writer may begin again with them. So
    /// it does not come to that where it can be seen beforehand.
    fn keep_data(&self, write: &Write) -> Result<()> {
        let Some(object) = Keys::of(&write.mutation).object.filter(|_| write.mutation.has_extents()) else {
            return Ok(());
        };
        match self.data_version(object)? {
            Some(until) if until > write.mutation.timestamp() => Err(Error::Promised { until }),
            _ => Ok(()),
        }
    }

    /// Whoever sees new metadata acknowledged must find the data that they are of: they count only where these are.
    fn has_data(&self, write: &Write) -> Result<()> {
        let Some(of_data) = write.of_data.filter(|_| write.applies.object && !write.stands_in) else { return Ok(()) };
        match Keys::of(&write.mutation).object {
            Some(object) if self.data_version(object)? != Some(of_data) => Err(Error::Contended),
            _ => Ok(()),
        }
    }

    /// The version of an object's data, or of their absence.
    pub(super) fn data_version(&self, object: KeyHash) -> Result<Option<Timestamp>> {
        Ok(self.device.index().object_state(object)?.stamp().map(|(data, _)| data))
    }

    /// Two hosts may come to the same timestamp: only who was promised it may use it.
    fn keep_promise(&self, key: KeyHash, timestamp: Timestamp, is_own: bool) -> Result<()> {
        let until = self.gate.promises.of(key);
        let is_kept = timestamp > until || (timestamp == until && is_own);
        if is_kept { Ok(()) } else { Err(Error::Promised { until }) }
    }

    /// Promises to take nothing of the object before `until`, and tells what stands.
    pub(crate) async fn prepare_object(&self, object: KeyHash, until: Timestamp) -> Result<ObjectState> {
        let _by_this_map = self.epoch.enter(self.by).await?;
        let _nothing_under_way = self.gate.objects[stripe(object)].write().await;
        let state = self.device.index().object_state(object)?;
        let stands = state.stamp().map(|(data, metadata)| data.max(metadata));
        self.promise(object, until, stands).await?;
        Ok(state)
    }

    /// Promises to take no row of the container before `until`, and tells what stands.
    pub(crate) async fn prepare_container(&self, container: KeyHash, until: Timestamp) -> Result<ContainerFound> {
        let _by_this_map = self.epoch.enter(self.by).await?;
        let _nothing_under_way = self.gate.containers[stripe(container)].write().await;
        let known = self.device.index().known_container(container)?;
        self.promise(container, until, Some(known.version)).await?;
        let rows = ListQuery { limit: 1, ..ListQuery::default() };
        let is_empty = self.device.index().list_objects(container, &rows)?.is_empty();
        Ok(ContainerFound { container: known, is_empty })
    }

    async fn promise(&self, key: KeyHash, until: Timestamp, stands: Option<Timestamp>) -> Result<()> {
        let newest = self.gate.promises.of(key).max(stands.unwrap_or_default());
        if until <= newest {
            return Err(Error::Promised { until: newest });
        }
        self.gate.promises.promise(key, until).await
    }
}

/// What a mutation is about.
#[derive(Debug, Clone, Copy, Default)]
struct Keys {
    object: Option<KeyHash>,
    container: Option<KeyHash>,
    /// A container that it deletes.
    deleted: Option<KeyHash>,
}

impl Keys {
    /// A container that from now on refuses rows which come by an older map of its shards.
    fn fenced(mutation: &Mutation) -> Option<KeyHash> {
        match mutation {
            Mutation::ContainerPut(put) => shards::has_fence(&put.changes).then_some(put.container_hash),
            _ => None,
        }
    }

    fn of(mutation: &Mutation) -> Self {
        let object = |object, container| Self { object: Some(object), container: Some(container), deleted: None };
        match mutation {
            Mutation::ObjectPut(put) => object(put.hashes.object, put.hashes.container),
            Mutation::ObjectPost(post) => object(post.hashes.object, post.hashes.container),
            Mutation::ObjectDelete { hashes, .. } => object(hashes.object, hashes.container),
            Mutation::ContainerPut(put) => Self { container: Some(put.container_hash), ..Self::default() },
            Mutation::ContainerDelete { container_hash, .. } => {
                Self { container: Some(*container_hash), deleted: Some(*container_hash), object: None }
            }
            Mutation::AccountPut { .. } | Mutation::AccountDelete { .. } | Mutation::ContainerStats { .. } => {
                Self::default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceOptions;
    use crate::key::ObjectPath;
    use crate::model::{Content, Metadata};
    use crate::mutation::{Body, ObjectPost, ObjectPut, PathHashes};

    /// Without this two deletions both say that they deleted the same version.
    #[tokio::test(flavor = "multi_thread")]
    async fn new_metadata_leave_promises_as_they_are() {
        let dir = tempfile::tempdir().expect("directory");
        let device = Device::open(dir.path(), "0123456789abcdef0123456789abcdef", DeviceOptions::default());
        let hasher = KeyHasher::new(b"secret");
        let local = Local::open(device.expect("opens"), hasher.clone(), Arc::default()).expect("opens");
        let path = ObjectPath::new("a", "c", "o");
        let hashes = PathHashes {
            account: hasher.account("a"),
            container: hasher.container("a", "c"),
            object: hasher.object(&path),
        };
        let (at, policy, metadata) = (Timestamp::from_ticks, 0, Metadata::new());
        let commit = |mutation| {
            let applies = Applies { object: true, container: false, account: false };
            local.commit(Write { applies, is_plain: false, ..Write::of(mutation) })
        };
        let base = 200_000_000_000_000;
        let put = ObjectPut {
            path: path.clone(),
            hashes,
            timestamp: at(base),
            policy,
            size: 1,
            etag: "e".to_owned(),
            content_type: "text/plain".to_owned(),
            content: Content::Plain,
            delete_at: None,
            metadata: metadata.clone(),
            body: Body::Inline(vec![1].into()),
        };
        commit(Mutation::ObjectPut(put)).await.expect("puts");
        local.prepare_object(hashes.object, at(base + 10)).await.expect("promises");
        local.prepare_object(hashes.object, at(base + 20)).await.expect("promises");
        local.prepare_object(hashes.object, at(base + 30)).await.expect("promises");
        let (timestamp, content_type, delete_at) = (at(base + 30), None, None);
        let post = ObjectPost { path: path.clone(), hashes, timestamp, policy, content_type, delete_at, metadata };
        commit(Mutation::ObjectPost(post)).await.expect("posts");
        // Whoever was promised the time behind it has seen that nothing came before.
        let deleted = commit(Mutation::ObjectDelete { path, hashes, timestamp: at(base + 10), policy }).await;
        assert!(matches!(deleted, Err(Error::Promised { until }) if until == at(base + 30)), "{deleted:?}");
    }
}
