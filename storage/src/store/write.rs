//! Writing objects.
//!
//! Small objects are gathered in memory and travel in their record; once more than
//! [`INLINE_BYTES_MAX`] has come, the data stream into extents on every device that keeps the object, and
//! the record names them. Dropped at any point before the commit, nothing is visible and the extents are
//! freed.

use anello_base::Timestamp;
use bytes::{Bytes, BytesMut};
use futures::future::join_all;

use super::placement::Slot;
use super::quorum;
use super::{ObjectHead, ObjectUpdate, Store, Written};
use crate::device::ExtentWriter;
use crate::error::{Error, Result};
use crate::key::ObjectPath;
use crate::limits::INLINE_BYTES_MAX;
use crate::model::{ObjectInfo, Precondition};
use crate::mutation::{Applies, Body, Mutation, ObjectPost, ObjectPut, PathHashes};

/// Times that a write moves behind a version from the future (a clock that stepped back). The clock has
/// observed that version after the first time, so that more mean a rival with a wrong clock.
const RETRIES_WHEN_STALE: usize = 8;

impl Store {
    /// Begins to write an object. [`Error::Missing`] where its container is not there.
    /// `size_hint` is the number of bytes to come, where it is known.
    pub async fn object_write(&self, path: &ObjectPath, size_hint: Option<u64>) -> Result<ObjectWriter> {
        let hashes = self.hashes(path);
        self.container_now(hashes.container)?.ok_or(Error::Missing("container"))?;
        let data = Data::Gathered(Vec::new());
        Ok(ObjectWriter { store: self.clone(), path: path.clone(), hashes, size_hint, written: 0, data })
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
    /// stands, which nothing else replaces meanwhile: it is one step, as with a conditional write.
    pub async fn object_update(
        &self,
        path: &ObjectPath,
        change: impl FnOnce(&ObjectInfo) -> Result<ObjectUpdate>,
    ) -> Result<Written> {
        let hashes = self.hashes(path);
        let _guard = self.locks().object(hashes.container, hashes.object, true).await;
        let current = self.current(hashes)?.ok_or(Error::Missing("object"))?;
        let update = change(&current)?;
        self.commit_in_order(hashes, None, |timestamp, _, _| {
            let ObjectUpdate { content_type, delete_at, metadata } = update.clone();
            Ok(Mutation::ObjectPost(ObjectPost {
                path: path.clone(),
                hashes,
                timestamp,
                policy: 0,
                content_type,
                delete_at,
                metadata,
            }))
        })
        .await
    }

    /// Deletes an object; tells what was deleted, `None` where nothing was there.
    pub async fn object_delete(&self, path: &ObjectPath, condition: &Precondition) -> Result<Option<ObjectInfo>> {
        let deleted = self.object_delete_if(path, |current| condition.holds(current)).await?;
        Ok(deleted.filter(|info| !self.is_expired(info)))
    }

    /// Deletes what is there, expired or not, if `condition` holds for what clients see of it.
    pub(super) async fn object_delete_if(
        &self,
        path: &ObjectPath,
        condition: impl Fn(Option<&ObjectInfo>) -> bool,
    ) -> Result<Option<ObjectInfo>> {
        let hashes = self.hashes(path);
        let _guard = self.locks().object(hashes.container, hashes.object, true).await;
        let current = self.current_or_expired(hashes)?;
        if !condition(current.as_ref()) {
            return Err(Error::Precondition);
        }
        if current.is_some() {
            self.commit_in_order(hashes, None, |timestamp, _, _| {
                Ok(Mutation::ObjectDelete { path: path.clone(), hashes, timestamp, policy: 0 })
            })
            .await?;
        }
        Ok(current)
    }

    /// Whether the container is there and the condition holds; to be asked under the object's lock.
    fn may_write(&self, hashes: PathHashes, condition: &Precondition) -> Result<()> {
        self.container_now(hashes.container)?.ok_or(Error::Missing("container"))?;
        let holds = condition.is_empty() || condition.holds(self.current(hashes)?.as_ref());
        holds.then_some(()).ok_or(Error::Precondition)
    }

    /// Commits an object's mutation on all that keep a part of it, under `chosen` or the next timestamp;
    /// where a version from the future stands, the clock takes note of it and the write moves behind it.
    async fn commit_in_order(
        &self,
        hashes: PathHashes,
        chosen: Option<Timestamp>,
        mutation: impl Fn(Timestamp, Slot, Applies) -> Result<Mutation>,
    ) -> Result<Written> {
        let mut retries = RETRIES_WHEN_STALE;
        loop {
            let timestamp = chosen.unwrap_or_else(|| self.clock().tick());
            let parts = self.placement().all(hashes);
            let shares = self
                .shares(parts, &[hashes.container, hashes.account], |slot, applies| mutation(timestamp, slot, applies))
                .await;
            let outcome = quorum::commit(shares, self.background()).await?;
            match outcome.stale {
                None => return Ok(Written { timestamp, created: outcome.created }),
                Some(current) if chosen.is_none() && retries > 0 => self.clock().observe(current),
                Some(current) => return Err(Error::Stale { current }),
            }
            retries -= 1;
        }
    }
}

/// An object being written. Nothing of it is visible before [`ObjectWriter::finish`] returns; dropped
/// before, nothing is left of it.
#[derive(Debug)]
pub struct ObjectWriter {
    store: Store,
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
    /// One stream for each device that keeps the object.
    Streaming(Vec<Stream>),
}

#[derive(Debug)]
struct Stream {
    slot: Slot,
    writer: Result<ExtentWriter>,
}

impl ObjectWriter {
    /// Takes the next bytes; waits while the devices are behind. Fails once a majority of them has failed.
    pub async fn write(&mut self, data: Bytes) -> Result<()> {
        self.written += data.len() as u64;
        match &mut self.data {
            Data::Gathered(chunks) => chunks.push(data),
            Data::Streaming(streams) => return write_to_all(streams, &data).await,
        }
        if self.written > INLINE_BYTES_MAX { self.start_streaming().await } else { Ok(()) }
    }

    /// Bytes taken so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    async fn start_streaming(&mut self) -> Result<()> {
        let placement = self.store.placement();
        let start = |slot| Stream { slot, writer: Ok(placement.device(slot).write_extents(self.size_hint)) };
        let mut streams: Vec<Stream> = placement.object(self.hashes.object).into_iter().map(start).collect();
        if let Data::Gathered(chunks) = &self.data {
            for chunk in chunks {
                write_to_all(&mut streams, chunk).await?;
            }
        }
        self.data = Data::Streaming(streams);
        Ok(())
    }

    /// Makes the object durable and visible. When it returns, a majority of the primaries has synced it.
    pub async fn finish(self, head: ObjectHead, condition: &Precondition) -> Result<Written> {
        let Self { store, path, hashes, written, data, .. } = self;
        let bodies = data.finish().await;
        let _guard = store.locks().object(hashes.container, hashes.object, !condition.is_empty()).await;
        if let Err(refused) = store.may_write(hashes, condition) {
            bodies.discard(&store);
            return Err(refused);
        }
        store
            .commit_in_order(hashes, head.timestamp, |timestamp, slot, applies| {
                let body = if applies.object { bodies.of(slot)? } else { Body::Absent(written) };
                let ObjectHead { etag, content_type, metadata, .. } = head.clone();
                Ok(Mutation::ObjectPut(ObjectPut {
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
                }))
            })
            .await
    }
}

/// What each device's record says of the data.
enum Bodies {
    Inline(Bytes),
    Extents(Vec<(Slot, Result<Body>)>),
}

impl Bodies {
    fn of(&self, slot: Slot) -> Result<Body> {
        match self {
            Self::Inline(data) => Ok(Body::Inline(data.clone())),
            Self::Extents(bodies) => {
                let found = bodies.iter().find(|(at, _)| *at == slot);
                found.map_or(Err(Error::Stopped), |(_, body)| body.clone())
            }
        }
    }

    /// Frees extents that no record is going to name.
    fn discard(&self, store: &Store) {
        let Self::Extents(bodies) = self else { return };
        for (slot, body) in bodies {
            if let Ok(Body::Extents(extents)) = body {
                store.placement().device(*slot).discard(extents);
            }
        }
    }
}

impl Data {
    async fn finish(self) -> Bodies {
        match self {
            Self::Gathered(chunks) => Bodies::Inline(join(chunks)),
            Self::Streaming(streams) => {
                let finished = streams.into_iter().map(|stream| async move {
                    let body = match stream.writer {
                        Ok(writer) => writer.finish().await.map(Body::Extents),
                        Err(error) => Err(error),
                    };
                    (stream.slot, body)
                });
                Bodies::Extents(join_all(finished).await)
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
async fn write_to_all(streams: &mut [Stream], data: &Bytes) -> Result<()> {
    join_all(streams.iter_mut().map(|stream| async {
        if let Ok(writer) = &mut stream.writer
            && let Err(error) = writer.write(data.clone()).await
        {
            stream.writer = Err(error);
        }
    }))
    .await;
    let wanted = quorum::majority(streams.len());
    let done = streams.iter().filter(|stream| stream.writer.is_ok()).count();
    match streams.iter().find_map(|stream| stream.writer.as_ref().err()) {
        Some(cause) if done < wanted => Err(Error::NoQuorum { done, wanted, cause: Box::new(cause.clone()) }),
        _ => Ok(()),
    }
}
