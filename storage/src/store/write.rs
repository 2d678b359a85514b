//! Writing objects.
//!
//! Small objects are gathered in memory and travel in their record; once more than
//! [`INLINE_BYTES_MAX`] has come, the data stream into extents on every device that keeps the object, and
//! the record names them. Dropped at any point before the commit, nothing is visible and the extents are
//! freed.

use std::sync::Arc;

use anello_base::Timestamp;
use bytes::Bytes;

use super::agree::{attempts, pause};
use super::erasure::Cutter;
use super::placement::{Hashes, Keyed, Placement, Slot};
use super::quorum::{self, Outcome};
use super::read::as_seen;
use super::streams::{Bodies, Stream, join, write_to_all};
use super::{ObjectHead, ObjectUpdate, Store, Written};
use crate::error::{Error, Result};
use crate::key::ObjectPath;
use crate::limits::INLINE_BYTES_MAX;
use crate::model::{Content, ObjectInfo, Precondition};
use crate::mutation::{Applies, Body, Mutation, ObjectPost, ObjectPut, PathHashes};
use crate::node::Write;
use crate::policy::PolicyKind;

impl Store {
    /// Begins to write an object. [`Error::Missing`] where its container is not there.
    /// `size_hint` is the number of bytes to come, where it is known.
    pub async fn object_write(&self, path: &ObjectPath, size_hint: Option<u64>) -> Result<ObjectWriter> {
        let (placement, hashes) = (self.placement(), self.hashes(path));
        let container = self.container_now(&placement, hashes.container).await?.ok_or(Error::Missing("container"))?;
        let (data, policy) = (Data::Gathered(Vec::new()), container.policy);
        placement.policy(policy)?;
        let (store, path) = (self.clone(), path.clone());
        Ok(ObjectWriter { store, placement, path, hashes, policy, is_whole: false, size_hint, written: 0, data })
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
        writer.is_whole = head.content != Content::Plain;
        writer.write(data).await?;
        writer.finish(head, condition).await
    }

    /// Replaces an object's metadata; the data stay. `change` makes the new metadata from the version that
    /// stands, which nothing else replaces meanwhile: it is one step, as with a conditional write. It may be asked
    /// more than once.
    pub async fn object_update(
        &self,
        path: &ObjectPath,
        mut change: impl FnMut(&ObjectInfo) -> Result<ObjectUpdate>,
    ) -> Result<Written> {
        let (placement, hashes) = (self.placement(), self.hashes(path));
        let policy = self.policy_now(&placement, hashes.container).await?;
        let made = self
            .replace(&placement, hashes, policy, |current, timestamp| {
                let current = current.filter(|info| !self.is_expired(info)).ok_or(Error::Missing("object"))?;
                let ObjectUpdate { content_type, delete_at, metadata } = change(current)?;
                let of_data = Some(current.timestamp);
                let path = path.clone();
                let post = ObjectPost { path, hashes, timestamp, policy, content_type, delete_at, metadata };
                Ok(Some(move |_, _| Ok(Write { of_data, ..Write::of(Mutation::ObjectPost(post.clone())) })))
            })
            .await?;
        made.written.ok_or(Error::Missing("object"))
    }

    /// Deletes an object; tells what was deleted, `None` where nothing was there.
    pub async fn object_delete(&self, path: &ObjectPath, condition: &Precondition) -> Result<Option<ObjectInfo>> {
        let holds = |current: Option<&ObjectInfo>| condition.holds(current.filter(|info| !self.is_expired(info)));
        let deleted = self.object_delete_if(path, holds).await?;
        Ok(deleted.map(|info| as_seen(&info)).filter(|info| !self.is_expired(info)))
    }

    /// Deletes what is there, expired or not, if `condition` holds for it.
    pub(super) async fn object_delete_if(
        &self,
        path: &ObjectPath,
        condition: impl Fn(Option<&ObjectInfo>) -> bool + Sync,
    ) -> Result<Option<ObjectInfo>> {
        let (placement, hashes) = (self.placement(), self.hashes(path));
        let policy = self.policy_now(&placement, hashes.container).await?;
        let made = self
            .replace(&placement, hashes, policy, |current, timestamp| {
                if !condition(current) {
                    return Err(Error::Precondition);
                }
                let delete = Mutation::ObjectDelete { path: path.clone(), hashes, timestamp, policy };
                Ok(current.map(|_| move |_, _| Ok(Write::of(delete.clone()))))
            })
            .await?;
        Ok(made.before)
    }

    /// A write that depends on what it replaces. `decide` sees that, and the version to write under; it makes the
    /// write, or none, or refuses. What it decides against is told only once what it saw is sure to stay.
    async fn replace<M>(
        &self,
        placement: &Placement,
        hashes: PathHashes,
        policy: u32,
        mut decide: impl FnMut(Option<&ObjectInfo>, Timestamp) -> Result<Option<M>>,
    ) -> Result<Replaced>
    where
        M: Fn(Slot, Applies) -> Result<Write>,
    {
        let keys = Hashes::of(hashes, policy);
        let under_way = self.begin(placement, keys, true).await;
        for attempt in attempts() {
            pause(attempt).await;
            let prepared = self.prepare(placement, Keyed { hash: hashes.object, policy }).await?;
            let write = match decide(prepared.current(), prepared.timestamp) {
                Ok(Some(write)) => write,
                Ok(None) | Err(_) if !prepared.is_settled => continue,
                Ok(None) => return Ok(Replaced { before: prepared.current().cloned(), written: None }),
                Err(refused) => return Err(refused),
            };
            let write = |slot, applies| write(slot, applies).map(|write| Write { is_plain: false, ..write });
            let shares = self.shares(placement, placement.all(hashes, policy), keys, &under_way, write);
            match quorum::commit(shares, self.background()).await? {
                Outcome::Done { created } => {
                    let written = Some(Written { timestamp: prepared.timestamp, created });
                    return Ok(Replaced { before: prepared.current().cloned(), written });
                }
                Outcome::Refused(later) => self.clock().observe(later),
            }
        }
        Err(Error::Contended)
    }

    /// An object's container was deleted while it was written. Where its data arrived before that was known they
    /// must not come to light once there is a container of this name again.
    async fn bury(&self, placement: &Placement, path: ObjectPath, hashes: PathHashes, policy: u32) {
        if let Err(error) = self.delete_alone(placement, path, hashes, policy).await {
            tracing::warn!(%error, "data of an object without a container stay behind");
        }
    }

    /// Deletes what is in no container.
    pub(super) async fn delete_alone(
        &self,
        placement: &Placement,
        path: ObjectPath,
        hashes: PathHashes,
        policy: u32,
    ) -> Result<()> {
        let object = Keyed { hash: hashes.object, policy };
        let keys = Hashes { object: Some(object), container: None, account: None };
        for attempt in attempts() {
            pause(attempt).await;
            let under_way = self.begin(placement, keys, false).await;
            let delete = Mutation::ObjectDelete { path: path.clone(), hashes, timestamp: self.clock().tick(), policy };
            let parts = placement.object_alone(object);
            let shares = self.shares(placement, parts, keys, &under_way, |_, _| Ok(Write::of(delete.clone())));
            match quorum::commit(shares, self.background()).await? {
                Outcome::Done { .. } => return Ok(()),
                Outcome::Refused(later) => self.clock().observe(later),
            }
        }
        Err(Error::Contended)
    }

    /// A write that replaces whatever stands, under `chosen` or the next timestamp.
    async fn write_over(
        &self,
        placement: &Placement,
        hashes: PathHashes,
        policy: u32,
        chosen: Option<Timestamp>,
        write: impl Fn(Timestamp, Slot, Applies) -> Result<Write>,
    ) -> Result<Written> {
        for attempt in attempts() {
            pause(attempt).await;
            let keys = Hashes::of(hashes, policy);
            let under_way = self.begin(placement, keys, false).await;
            let timestamp = chosen.unwrap_or_else(|| self.clock().tick());
            let make = |slot, applies| write(timestamp, slot, applies);
            let shares = self.shares(placement, placement.all(hashes, policy), keys, &under_way, make);
            match quorum::commit(shares, self.background()).await? {
                Outcome::Done { created } => return Ok(Written { timestamp, created }),
                Outcome::Refused(current) if chosen.is_some() => return Err(Error::Stale { current }),
                Outcome::Refused(later) => self.clock().observe(later),
            }
        }
        Err(Error::Contended)
    }
}

/// What a write that depends on what it replaces came to.
struct Replaced {
    before: Option<ObjectInfo>,
    /// `None` where nothing was to be written.
    written: Option<Written>,
}

/// An object being written. Nothing of it is visible before [`ObjectWriter::finish`] returns; dropped
/// before, nothing is left of it.
pub struct ObjectWriter {
    store: Store,
    placement: Arc<Placement>,
    path: ObjectPath,
    hashes: PathHashes,
    policy: u32,
    /// It is not cut into fragments, whatever the policy: a list that readers need first.
    is_whole: bool,
    size_hint: Option<u64>,
    written: u64,
    data: Data,
}

enum Data {
    /// Chunks as they came.
    Gathered(Vec<Bytes>),
    /// One stream for each device that keeps the object; and the sets of them of which each needs a majority.
    Streaming(Vec<Stream>, Vec<Vec<Slot>>),
    /// Fragments for each device that keeps some.
    Cutting(Box<Cutter>),
}

impl ObjectWriter {
    /// Takes the next bytes; waits while the devices are behind. Fails once a majority of them has failed.
    pub async fn write(&mut self, data: Bytes) -> Result<()> {
        self.written += data.len() as u64;
        match &mut self.data {
            Data::Gathered(chunks) => chunks.push(data),
            Data::Streaming(streams, sets) => return write_to_all(streams, sets, 0, |_| data.clone()).await,
            Data::Cutting(cutter) => return cutter.write(&data).await,
        }
        if self.written <= INLINE_BYTES_MAX {
            return Ok(());
        }
        match self.placement.policy(self.policy)?.kind {
            PolicyKind::Erasure { data, parity } if !self.is_whole => self.start_cutting((data, parity)).await,
            _ => self.start_streaming().await,
        }
    }

    /// Bytes taken so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    async fn start_streaming(&mut self) -> Result<()> {
        let placement = &self.placement;
        let start = |slot| Stream { slot, upload: Ok(placement.node(slot).write_extents(self.size_hint)) };
        let object = Keyed { hash: self.hashes.object, policy: self.policy };
        let (keepers, sets) = (placement.object_alone(object), placement.object_sets(object));
        let mut streams: Vec<Stream> = keepers.into_iter().map(|(slot, _)| start(slot)).collect();
        if let Data::Gathered(chunks) = &self.data {
            for chunk in chunks {
                write_to_all(&mut streams, &sets, 0, |_| chunk.clone()).await?;
            }
        }
        self.data = Data::Streaming(streams, sets);
        Ok(())
    }

    async fn start_cutting(&mut self, kind: (u8, u8)) -> Result<()> {
        let object = Keyed { hash: self.hashes.object, policy: self.policy };
        let mut cutter = Cutter::new(&self.store, &self.placement, object, kind);
        if let Data::Gathered(chunks) = &self.data {
            for chunk in chunks {
                cutter.write(chunk).await?;
            }
        }
        self.data = Data::Cutting(Box::new(cutter));
        Ok(())
    }

    /// Makes the object durable and visible. When it returns, a majority of the primaries has synced it.
    pub async fn finish(self, head: ObjectHead, condition: &Precondition) -> Result<Written> {
        let Self { store, placement, path, hashes, policy, written, data, .. } = self;
        let (bodies, layout) = match data {
            Data::Gathered(chunks) => (Bodies::Inline(join(chunks)), None),
            Data::Streaming(streams, _) => (Bodies::of_streams(streams).await, None),
            Data::Cutting(cutter) => {
                let layout = cutter.finish().await?;
                (Bodies::Inline(layout.encode().into()), Some(layout))
            }
        };
        let content = if layout.is_some() { Content::Fragments } else { head.content };
        let make = |timestamp, slot, applies: Applies| {
            let (body, upload) = if applies.object { bodies.of(slot, written)? } else { (Body::Absent(written), None) };
            let ObjectHead { etag, content_type, metadata, .. } = head.clone();
            let put = ObjectPut {
                path: path.clone(),
                hashes,
                timestamp,
                policy,
                size: head.size.unwrap_or(written),
                etag,
                content_type,
                content,
                delete_at: head.delete_at,
                metadata,
                body,
            };
            Ok(Write { upload, ..Write::of(Mutation::ObjectPut(put)) })
        };
        let outcome = if condition.is_empty() {
            store.write_over(&placement, hashes, policy, head.timestamp, make).await
        } else {
            let decide = |current: Option<&ObjectInfo>, timestamp| {
                let visible = current.filter(|info| !store.is_expired(info));
                let holds = condition.holds(visible);
                holds.then_some(Some(move |slot, applies| make(timestamp, slot, applies))).ok_or(Error::Precondition)
            };
            let replaced = store.replace(&placement, hashes, policy, decide).await;
            replaced.and_then(|made| made.written.ok_or(Error::Precondition))
        };
        match &outcome {
            // Nobody has it.
            Err(Error::Precondition | Error::Stale { .. }) => {
                bodies.discard(&placement);
                if let Some(layout) = layout {
                    store.discard_fragments(layout);
                }
            }
            Err(Error::Missing("container")) => store.bury(&placement, path, hashes, policy).await,
            _ => {}
        }
        outcome
    }
}

impl std::fmt::Debug for ObjectWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectWriter").field("path", &self.path).field("written", &self.written).finish_non_exhaustive()
    }
}

impl Write {
    /// A mutation; [`Store::shares`] says which parts concern the device.
    pub(super) fn of(mutation: Mutation) -> Self {
        let applies = Applies { object: false, container: false, account: false };
        Self { mutation, applies, upload: None, stands_in: false, restores: false, is_plain: true, of_data: None }
    }
}
