//! Writing objects.
//!
//! Small objects are gathered in memory and travel in their record; once more than
//! [`INLINE_BYTES_MAX`] has come, the data stream into extents on every device that keeps the object, and
//! the record names them. Dropped at any point before the commit, nothing is visible and the extents are
//! freed.

use std::sync::Arc;

use anello_base::Timestamp;
use bytes::{Bytes, BytesMut};
use futures::future::join_all;

use super::agree::{attempts, pause};
use super::placement::{Placement, Slot};
use super::quorum::{self, Outcome};
use super::{ObjectHead, ObjectUpdate, Store, Written};
use crate::error::{Error, Result};
use crate::key::ObjectPath;
use crate::limits::INLINE_BYTES_MAX;
use crate::majority::majority;
use crate::model::{ObjectInfo, Precondition};
use crate::mutation::{Applies, Body, Mutation, ObjectPost, ObjectPut, PathHashes};
use crate::node::{Stored, Upload, Write};

impl Store {
    /// Begins to write an object. [`Error::Missing`] where its container is not there.
    /// `size_hint` is the number of bytes to come, where it is known.
    pub async fn object_write(&self, path: &ObjectPath, size_hint: Option<u64>) -> Result<ObjectWriter> {
        let (placement, hashes) = (self.placement(), self.hashes(path));
        self.container_now(&placement, hashes.container).await?.ok_or(Error::Missing("container"))?;
        let data = Data::Gathered(Vec::new());
        Ok(ObjectWriter { store: self.clone(), placement, path: path.clone(), hashes, size_hint, written: 0, data })
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
        let made = self
            .replace(&placement, hashes, |current, timestamp| {
                let current = current.filter(|info| !self.is_expired(info)).ok_or(Error::Missing("object"))?;
                let ObjectUpdate { content_type, delete_at, metadata } = change(current)?;
                let path = path.clone();
                let post = ObjectPost { path, hashes, timestamp, policy: 0, content_type, delete_at, metadata };
                Ok(Some(move |_, _| Ok(Write::of(Mutation::ObjectPost(post.clone())))))
            })
            .await?;
        made.written.ok_or(Error::Missing("object"))
    }

    /// Deletes an object; tells what was deleted, `None` where nothing was there.
    pub async fn object_delete(&self, path: &ObjectPath, condition: &Precondition) -> Result<Option<ObjectInfo>> {
        let holds = |current: Option<&ObjectInfo>| condition.holds(current.filter(|info| !self.is_expired(info)));
        let deleted = self.object_delete_if(path, holds).await?;
        Ok(deleted.filter(|info| !self.is_expired(info)))
    }

    /// Deletes what is there, expired or not, if `condition` holds for it.
    pub(super) async fn object_delete_if(
        &self,
        path: &ObjectPath,
        condition: impl Fn(Option<&ObjectInfo>) -> bool + Sync,
    ) -> Result<Option<ObjectInfo>> {
        let (placement, hashes) = (self.placement(), self.hashes(path));
        let made = self
            .replace(&placement, hashes, |current, timestamp| {
                if !condition(current) {
                    return Err(Error::Precondition);
                }
                let delete = Mutation::ObjectDelete { path: path.clone(), hashes, timestamp, policy: 0 };
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
        mut decide: impl FnMut(Option<&ObjectInfo>, Timestamp) -> Result<Option<M>>,
    ) -> Result<Replaced>
    where
        M: Fn(Slot, Applies) -> Result<Write>,
    {
        let under_way = self.begin(placement, hashes.into(), true).await;
        for attempt in attempts() {
            pause(attempt).await;
            let prepared = self.prepare(placement, hashes.object).await?;
            let write = match decide(prepared.current(), prepared.timestamp) {
                Ok(Some(write)) => write,
                Ok(None) | Err(_) if !prepared.is_settled => continue,
                Ok(None) => return Ok(Replaced { before: prepared.current().cloned(), written: None }),
                Err(refused) => return Err(refused),
            };
            let write = |slot, applies| write(slot, applies).map(|write| Write { is_plain: false, ..write });
            let shares = self.shares(placement, placement.all(hashes), hashes.into(), &under_way, write);
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
    async fn bury(&self, placement: &Placement, path: ObjectPath, hashes: PathHashes) {
        let under_way = self.begin(placement, hashes.into(), false).await;
        let timestamp = self.clock().tick();
        let delete = Mutation::ObjectDelete { path, hashes, timestamp, policy: 0 };
        let parts = placement.object_alone(hashes.object);
        let shares = self.shares(placement, parts, hashes.into(), &under_way, |_, _| Ok(Write::of(delete.clone())));
        if let Err(error) = quorum::commit(shares, self.background()).await {
            tracing::warn!(%error, "data of an object without a container stay behind");
        }
    }

    /// A write that replaces whatever stands, under `chosen` or the next timestamp.
    async fn write_over(
        &self,
        placement: &Placement,
        hashes: PathHashes,
        chosen: Option<Timestamp>,
        write: impl Fn(Timestamp, Slot, Applies) -> Result<Write>,
    ) -> Result<Written> {
        for attempt in attempts() {
            pause(attempt).await;
            let under_way = self.begin(placement, hashes.into(), false).await;
            let timestamp = chosen.unwrap_or_else(|| self.clock().tick());
            let make = |slot, applies| write(timestamp, slot, applies);
            let shares = self.shares(placement, placement.all(hashes), hashes.into(), &under_way, make);
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
#[derive(Debug)]
pub struct ObjectWriter {
    store: Store,
    placement: Arc<Placement>,
    path: ObjectPath,
    hashes: PathHashes,
    size_hint: Option<u64>,
    written: u64,
    data: Data,
}

#[derive(Debug)]
enum Data {
    /// Chunks as they came.
    Gathered(Vec<Bytes>),
    /// One stream for each device that keeps the object; and the sets of them of which each needs a majority.
    Streaming(Vec<Stream>, Vec<Vec<Slot>>),
}

#[derive(Debug)]
struct Stream {
    /// The primary.
    slot: Slot,
    upload: Result<Upload>,
}

impl ObjectWriter {
    /// Takes the next bytes; waits while the devices are behind. Fails once a majority of them has failed.
    pub async fn write(&mut self, data: Bytes) -> Result<()> {
        self.written += data.len() as u64;
        match &mut self.data {
            Data::Gathered(chunks) => chunks.push(data),
            Data::Streaming(streams, sets) => return write_to_all(streams, sets, &data).await,
        }
        if self.written > INLINE_BYTES_MAX { self.start_streaming().await } else { Ok(()) }
    }

    /// Bytes taken so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    async fn start_streaming(&mut self) -> Result<()> {
        let placement = &self.placement;
        let start = |slot| Stream { slot, upload: Ok(placement.node(slot).write_extents(self.size_hint)) };
        let (keepers, sets) = (placement.object_alone(self.hashes.object), placement.object_sets(self.hashes.object));
        let mut streams: Vec<Stream> = keepers.into_iter().map(|(slot, _)| start(slot)).collect();
        if let Data::Gathered(chunks) = &self.data {
            for chunk in chunks {
                write_to_all(&mut streams, &sets, chunk).await?;
            }
        }
        self.data = Data::Streaming(streams, sets);
        Ok(())
    }

    /// Makes the object durable and visible. When it returns, a majority of the primaries has synced it.
    pub async fn finish(self, head: ObjectHead, condition: &Precondition) -> Result<Written> {
        let Self { store, placement, path, hashes, written, data, .. } = self;
        let bodies = data.finish().await;
        let make = |timestamp, slot, applies: Applies| {
            let (body, upload) = if applies.object { bodies.of(slot, written)? } else { (Body::Absent(written), None) };
            let ObjectHead { etag, content_type, metadata, .. } = head.clone();
            let put = ObjectPut {
                path: path.clone(),
                hashes,
                timestamp,
                policy: 0,
                size: head.size.unwrap_or(written),
                etag,
                content_type,
                content: head.content,
                delete_at: head.delete_at,
                metadata,
                body,
            };
            Ok(Write { upload, ..Write::of(Mutation::ObjectPut(put)) })
        };
        let outcome = if condition.is_empty() {
            store.write_over(&placement, hashes, head.timestamp, make).await
        } else {
            let decide = |current: Option<&ObjectInfo>, timestamp| {
                let visible = current.filter(|info| !store.is_expired(info));
                let holds = condition.holds(visible);
                holds.then_some(Some(move |slot, applies| make(timestamp, slot, applies))).ok_or(Error::Precondition)
            };
            let replaced = store.replace(&placement, hashes, decide).await;
            replaced.and_then(|made| made.written.ok_or(Error::Precondition))
        };
        match &outcome {
            // Nobody has it.
            Err(Error::Precondition | Error::Stale { .. }) => bodies.discard(&placement),
            Err(Error::Missing("container")) => store.bury(&placement, path, hashes).await,
            _ => {}
        }
        outcome
    }
}

impl Write {
    /// A mutation; [`Store::shares`] says which parts concern the device.
    pub(super) fn of(mutation: Mutation) -> Self {
        let applies = Applies { object: false, container: false, account: false };
        Self { mutation, applies, upload: None, stands_in: false, is_plain: true }
    }
}

/// What each device's record says of the data.
enum Bodies {
    Inline(Bytes),
    Streamed(Vec<(Slot, Result<Stored>)>),
}

impl Bodies {
    /// The body, or the number under which a device on another host has it.
    fn of(&self, slot: Slot, length: u64) -> Result<(Body, Option<u64>)> {
        match self {
            Self::Inline(data) => Ok((Body::Inline(data.clone()), None)),
            Self::Streamed(bodies) => {
                let found = bodies.iter().find(|(at, _)| *at == slot);
                match found.map_or(Err(Error::Stopped), |(_, stored)| stored.clone())? {
                    Stored::Here(body) => Ok((body, None)),
                    Stored::There(upload) => Ok((Body::Absent(length), Some(upload))),
                }
            }
        }
    }

    /// Frees extents that no record is going to name.
    fn discard(&self, placement: &Placement) {
        let Self::Streamed(bodies) = self else { return };
        for (slot, stored) in bodies {
            if let Ok(stored) = stored {
                placement.node(*slot).discard(stored);
            }
        }
    }
}

impl Data {
    async fn finish(self) -> Bodies {
        match self {
            Self::Gathered(chunks) => Bodies::Inline(join(chunks)),
            Self::Streaming(streams, _) => {
                let finished = streams.into_iter().map(|stream| async move {
                    let stored = match stream.upload {
                        Ok(upload) => upload.finish().await,
                        Err(error) => Err(error),
                    };
                    (stream.slot, stored)
                });
                Bodies::Streamed(join_all(finished).await)
            }
        }
    }
}

/// A body of one chunk, the usual case, is not copied.
fn join(mut chunks: Vec<Bytes>) -> Bytes {
    if chunks.len() == 1 {
        return chunks.swap_remove(0);
    }
    let mut joined = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
    chunks.iter().for_each(|chunk| joined.extend_from_slice(chunk));
    joined.freeze()
}

/// Writes to every device that has not failed; one that fails now is left out from here on.
async fn write_to_all(streams: &mut [Stream], sets: &[Vec<Slot>], data: &Bytes) -> Result<()> {
    join_all(streams.iter_mut().map(|stream| async {
        if let Ok(upload) = &mut stream.upload
            && let Err(error) = upload.write(data.clone()).await
        {
            stream.upload = Err(error);
        }
    }))
    .await;
    let Some(cause) = streams.iter().find_map(|stream| stream.upload.as_ref().err()) else { return Ok(()) };
    for set in sets {
        let of_set = streams.iter().filter(|stream| set.contains(&stream.slot));
        let (done, wanted) = (of_set.filter(|stream| stream.upload.is_ok()).count(), majority(set.len()));
        if done < wanted {
            return Err(Error::NoQuorum { done, wanted, cause: Box::new(cause.clone()) });
        }
    }
    Ok(())
}
