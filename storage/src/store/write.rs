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
use super::quorum::{self, Outcome, Taken};
use super::read::as_seen;
use super::settling::UnderWay;
use super::streams::{Bodies, Stream, join, write_to_all};
use super::{Expired, ObjectHead, ObjectUpdate, Store, Written};
use crate::error::{Error, Result};
use crate::key::ObjectPath;
use crate::limits::INLINE_BYTES_MAX;
use crate::model::{Content, ListQuery, Listed, ObjectInfo, Precondition};
use crate::mutation::{Applies, Body, Mutation, ObjectPost, ObjectPut, PathHashes};
use crate::node::Write;
use crate::policy::PolicyKind;

impl Store {
    /// Begins to write an object. [`Error::Missing`] where its container is not there.
    /// `size_hint` is the number of bytes to come, where it is known.
    pub async fn object_write(&self, path: &ObjectPath, size_hint: Option<u64>) -> Result<ObjectWriter> {
        let (placement, hashes) = (self.placement(), self.hashes(path));
        let container = self.container_sure(&placement, hashes.container).await?.ok_or(Error::Missing("container"))?;
        let (data, policy) = (Data::Gathered(Vec::new()), container.0.policy);
        placement.policy(policy)?;
        let (store, path) = (self.clone(), path.clone());
        Ok(ObjectWriter { store, placement, path, hashes, policy, is_whole: false, size_hint, written: 0, data })
    }

    /// The same for a list of parts or segments, which readers need first: it is not cut into fragments.
    pub async fn object_write_whole(&self, path: &ObjectPath, size: u64) -> Result<ObjectWriter> {
        Ok(ObjectWriter { is_whole: true, ..self.object_write(path, Some(size)).await? })
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
        change: impl FnMut(&ObjectInfo) -> Result<ObjectUpdate>,
    ) -> Result<Written> {
        self.object_update_as(path, Expired::Absent, change).await
    }

    /// The same, also where its time has come.
    pub async fn object_update_as(
        &self,
        path: &ObjectPath,
        expired: Expired,
        mut change: impl FnMut(&ObjectInfo) -> Result<ObjectUpdate>,
    ) -> Result<Written> {
        let (placement, hashes) = (self.placement(), self.hashes(path));
        let policy = self.policy_now(&placement, hashes.container).await?;
        let made = self
            .replace(&placement, (path, hashes, policy), |current, timestamp| {
                let current = current.filter(|info| self.is_there(info, expired)).ok_or(Error::Missing("object"))?;
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

    /// Deletes what is there, expired or not, if `condition` holds for it; tells what that was. Where nothing is there,
    /// the row goes that a failed write has left. Any write of the object that follows has a later timestamp than this
    /// process gave before, also where nothing was there.
    pub async fn object_delete_if(
        &self,
        path: &ObjectPath,
        condition: impl Fn(Option<&ObjectInfo>) -> bool + Sync,
    ) -> Result<Option<ObjectInfo>> {
        let (placement, hashes) = (self.placement(), self.hashes(path));
        let policy = self.policy_now(&placement, hashes.container).await?;
        let made = self
            .replace(&placement, (path, hashes, policy), |current, timestamp| {
                if !condition(current) {
                    return Err(Error::Precondition);
                }
                let delete = Mutation::ObjectDelete { path: path.clone(), hashes, timestamp, policy };
                Ok(current.map(|_| move |_, _| Ok(Write::of(delete.clone()))))
            })
            .await?;
        if made.before.is_none() && self.is_listed(path).await? {
            self.replace(&placement, (path, hashes, policy), |current, timestamp| {
                let delete = Mutation::ObjectDelete { path: path.clone(), hashes, timestamp, policy };
                Ok(current.is_none().then_some(move |_, _| Ok(Write::of(delete.clone()))))
            })
            .await?;
        }
        Ok(made.before)
    }

    /// Deletes an object as of a time that somebody else chose: [`Error::Stale`] if something later stands.
    pub async fn object_delete_at(&self, path: &ObjectPath, timestamp: Timestamp) -> Result<()> {
        let (placement, hashes) = (self.placement(), self.hashes(path));
        let policy = self.policy_now(&placement, hashes.container).await?;
        let delete =
            |timestamp, _, _| Ok(Write::of(Mutation::ObjectDelete { path: path.clone(), hashes, timestamp, policy }));
        self.write_over(&placement, (path, hashes, policy), Some(timestamp), delete).await.map(drop)
    }

    /// Whether the container lists an object.
    async fn is_listed(&self, path: &ObjectPath) -> Result<bool> {
        let (prefix, limit) = (path.object.clone(), 1);
        match self
            .container_list(&path.account, &path.container, &ListQuery { prefix, limit, ..ListQuery::default() })
            .await
        {
            Ok(rows) => Ok(rows.iter().any(|row| matches!(row, Listed::Entry(entry) if entry.name == path.object))),
            Err(Error::Missing(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A write that depends on what it replaces. `decide` sees that, and the version to write under; it makes the
    /// write, or none, or refuses. What it decides against is told only once what it saw is sure to stay.
    async fn replace<M>(
        &self,
        placement: &Placement,
        object: Place<'_>,
        mut decide: impl FnMut(Option<&ObjectInfo>, Timestamp) -> Result<Option<M>>,
    ) -> Result<Replaced>
    where
        M: Fn(Slot, Applies) -> Result<Write>,
    {
        let (_, hashes, policy) = object;
        let under_way = self.begin(placement, Hashes::of(hashes, policy), true).await;
        for attempt in attempts() {
            pause(attempt).await;
            let prepared = self.prepare(placement, Keyed { hash: hashes.object, policy }).await?;
            let write = match decide(prepared.current(), prepared.timestamp) {
                Ok(Some(write)) => write,
                Ok(None) | Err(_) if !prepared.is_settled => {
                    self.settle_object(placement, Keyed { hash: hashes.object, policy }).await?;
                    continue;
                }
                Ok(None) => return Ok(Replaced { before: prepared.current().cloned(), written: None }),
                Err(refused) => return Err(refused),
            };
            let write = |slot, applies| write(slot, applies).map(|write| Write { is_plain: false, ..write });
            match self.commit_object(placement, object, &under_way, write).await? {
                Ok(created) => {
                    let written = Some(Written { timestamp: prepared.timestamp, created });
                    return Ok(Replaced { before: prepared.current().cloned(), written });
                }
                Err(later) => self.clock().observe(later),
            }
        }
        Err(Error::Contended)
    }

    /// Commits a write of an object and its row, wherever that has its place. The later version where nobody has taken it.
    async fn commit_object(
        &self,
        placement: &Placement,
        object: Place<'_>,
        under_way: &UnderWay,
        write: impl Fn(Slot, Applies) -> Result<Write>,
    ) -> Result<Result<bool, Timestamp>> {
        self.require_clock()?;
        let (path, hashes, _) = object;
        let (mut was_created, mut taken) = (false, Taken::Nobody);
        for attempt in attempts() {
            pause(attempt).await;
            let rows = match self.rows_of(path, hashes) {
                Err(Error::OldShards) => {
                    self.look_for_shards(placement, hashes).await?;
                    continue;
                }
                rows => rows?,
            };
            // An object that stands is not written again: others may have been promised to replace it.
            let shares = match taken {
                Taken::Majority => self.row_shares(placement, (path, &rows), under_way, &write),
                Taken::Nobody | Taken::Some => self.object_shares(placement, object, &rows, under_way, &write),
            };
            let version = shares.iter().find_map(|share| Some(share.write.as_ref().ok()?.mutation.timestamp()));
            match quorum::commit(shares, self.background()).await {
                Ok(Outcome::Done { created }) => return Ok(Ok(created || was_created)),
                Ok(Outcome::Refused(later)) if taken == Taken::Nobody => return Ok(Err(later)),
                // To begin again, as if nobody had seen it, would be to meet itself.
                Ok(Outcome::Refused(_)) => {
                    let is_overtaken = taken == Taken::Majority
                        && self.has_row(placement, path, &rows, version.unwrap_or_default()).await?;
                    return if is_overtaken { Ok(Ok(was_created)) } else { Err(Error::Contended) };
                }
                Ok(Outcome::Resharded { created, object }) => {
                    (was_created, taken) = (was_created || created, taken.max(object));
                    self.look_for_shards(placement, hashes).await?;
                }
                Err(Error::Missing(_))
                    if rows.are_in_shards() && self.have_rows_moved(placement, path, hashes, &rows).await? => {}
                Err(error) => return Err(error),
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
                Outcome::Resharded { .. } => {}
            }
        }
        Err(Error::Contended)
    }

    /// A write that replaces whatever stands, under `chosen` or the next timestamp.
    async fn write_over(
        &self,
        placement: &Placement,
        object: Place<'_>,
        chosen: Option<Timestamp>,
        write: impl Fn(Timestamp, Slot, Applies) -> Result<Write>,
    ) -> Result<Written> {
        for attempt in attempts() {
            pause(attempt).await;
            let (_, hashes, policy) = object;
            let under_way = self.begin(placement, Hashes::of(hashes, policy), false).await;
            let timestamp = chosen.unwrap_or_else(|| self.clock().tick());
            let make = |slot, applies| write(timestamp, slot, applies);
            match self.commit_object(placement, object, &under_way, make).await? {
                Ok(created) => return Ok(Written { timestamp, created }),
                Err(current) if chosen.is_some() => return Err(Error::Stale { current }),
                Err(later) => self.clock().observe(later),
            }
        }
        Err(Error::Contended)
    }
}

/// An object: its name, that name's hashes, and its policy.
type Place<'a> = (&'a ObjectPath, PathHashes, u32);

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
        if condition.is_empty() {
            return self.finish_by(Finish::Over(head)).await;
        }
        let head =
            |current: Option<&ObjectInfo>, _| condition.holds(current).then(|| head.clone()).ok_or(Error::Precondition);
        self.finish_as(head).await
    }

    /// The same, where the head depends on what the object replaces: `head` makes it from the version that stands,
    /// which nothing else replaces meanwhile, and from the timestamp that the new one gets. It may be asked more than
    /// once; [`Error::Precondition`] is how it refuses.
    pub async fn finish_as(
        self,
        mut head: impl FnMut(Option<&ObjectInfo>, Timestamp) -> Result<ObjectHead> + Send,
    ) -> Result<Written> {
        self.finish_by(Finish::As(&mut head)).await
    }

    async fn finish_by(self, finish: Finish<'_>) -> Result<Written> {
        let Self { store, placement, path, hashes, policy, written, data, .. } = self;
        let (bodies, layout) = match data {
            Data::Gathered(chunks) => (Bodies::Inline(join(chunks)), None),
            Data::Streaming(streams, _) => (Bodies::of_streams(streams).await, None),
            Data::Cutting(cutter) => {
                let layout = cutter.finish().await?;
                (Bodies::Inline(layout.encode().into()), Some(layout))
            }
        };
        let is_cut = layout.is_some();
        let make = |head: &ObjectHead, timestamp, slot, applies: Applies| {
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
                content: if is_cut { Content::Fragments } else { head.content },
                delete_at: head.delete_at,
                metadata,
                body,
            };
            Ok(Write { upload, ..Write::of(Mutation::ObjectPut(put)) })
        };
        let outcome = match finish {
            Finish::Over(head) => {
                let make = |timestamp, slot, applies| make(&head, timestamp, slot, applies);
                store.write_over(&placement, (&path, hashes, policy), head.timestamp, make).await
            }
            Finish::As(decide) => {
                let decide = |current: Option<&ObjectInfo>, timestamp| {
                    let head = decide(current.filter(|info| !store.is_expired(info)), timestamp)?;
                    let make = &make;
                    Ok(Some(move |slot, applies| make(&head, timestamp, slot, applies)))
                };
                let replaced = store.replace(&placement, (&path, hashes, policy), decide).await;
                replaced.and_then(|made| made.written.ok_or(Error::Precondition))
            }
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

/// Makes a head from what stands and the new version's timestamp.
type MakeHead<'a> = dyn FnMut(Option<&ObjectInfo>, Timestamp) -> Result<ObjectHead> + Send + 'a;

/// How a write is finished.
enum Finish<'a> {
    /// Whatever stands.
    Over(ObjectHead),
    /// As what stands decides.
    As(&'a mut MakeHead<'a>),
}

impl std::fmt::Debug for ObjectWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectWriter").field("path", &self.path).field("written", &self.written).finish_non_exhaustive()
    }
}

impl Write {
    /// A mutation; [`Store::shares`] says which parts concern the device.
    pub(crate) fn of(mutation: Mutation) -> Self {
        let applies = Applies { object: false, container: false, account: false };
        Self {
            mutation,
            applies,
            upload: None,
            stands_in: false,
            restores: false,
            is_plain: true,
            of_data: None,
            shards: Timestamp::ZERO,
        }
    }
}
