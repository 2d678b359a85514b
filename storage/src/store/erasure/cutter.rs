//! Writing an object's fragments.

use std::sync::Arc;

use anello_base::Timestamp;
use bytes::{Bytes, BytesMut};
use futures::future::join_all;

use super::coder::Coder;
use super::indices;
use super::layout::{Layout, UNIT_BYTES, unit_of};
use crate::environment::random;
use crate::error::{Error, Result};
use crate::limits::INLINE_BYTES_MAX;
use crate::model::Content;
use crate::mutation::{Body, Mutation, ObjectPut, PathHashes};
use crate::node::Write;
use crate::policy::fragments_of;
use crate::store::Store;
use crate::store::agree::{attempts, pause};
use crate::store::placement::{Hashes, Keyed, Placement, Slot};
use crate::store::quorum::{self, Outcome};
use crate::store::streams::{Bodies, Stream, join, write_to_all};

/// Takes an object's data and cuts them. Dropped before [`Cutter::finish`], nothing is left of them.
pub(in super::super) struct Cutter {
    store: Store,
    placement: Arc<Placement>,
    /// Its length is not known before the end.
    layout: Layout,
    fragments: Keyed,
    indices: Vec<(Slot, usize)>,
    coder: Coder,
    /// What is not yet a whole stripe.
    pending: BytesMut,
    kept: Kept,
}

/// The fragments so far.
enum Kept {
    /// By index, small enough to travel in their records.
    Gathered(Vec<Vec<Bytes>>),
    /// One stream for each device.
    Streaming(Vec<Stream>),
}

impl Cutter {
    pub(in super::super) fn new(
        store: &Store,
        placement: &Arc<Placement>,
        object: Keyed,
        (data, parity): (u8, u8),
    ) -> Self {
        let (store, placement) = (store.clone(), Arc::clone(placement));
        let layout = Layout { policy: object.policy, data, parity, length: 0, object: object.hash, id: random() };
        let fragments = layout.keyed(&store);
        let indices = indices(&placement, fragments);
        let kept = Kept::Gathered(vec![Vec::new(); layout.fragments()]);
        Self {
            store,
            placement,
            layout,
            fragments,
            indices,
            coder: Coder::new(&layout),
            pending: BytesMut::new(),
            kept,
        }
    }

    /// Takes the next bytes; waits while the devices are behind. Fails once too many of them have failed.
    pub(in super::super) async fn write(&mut self, data: &Bytes) -> Result<()> {
        self.pending.extend_from_slice(data);
        let stripe = usize::from(self.layout.data) * UNIT_BYTES as usize;
        while self.pending.len() >= stripe {
            let stripe = self.pending.split_to(stripe).freeze();
            self.layout.length += stripe.len() as u64;
            self.cut(stripe).await?;
        }
        Ok(())
    }

    /// Keeps the units of a stripe, whose length is a multiple of theirs.
    async fn cut(&mut self, stripe: Bytes) -> Result<()> {
        let unit = stripe.len() / usize::from(self.layout.data);
        let parity = self.coder.encode(stripe.chunks(unit), unit)?;
        let data = (0..usize::from(self.layout.data)).map(|index| stripe.slice(index * unit..(index + 1) * unit));
        let units: Vec<Bytes> = data.chain(parity.into_iter().map(Bytes::from)).collect();
        match &mut self.kept {
            Kept::Gathered(fragments) => {
                fragments.iter_mut().zip(units).for_each(|(fragment, unit)| fragment.push(unit));
                let length = fragments[0].iter().map(Bytes::len).sum::<usize>() as u64;
                if length > INLINE_BYTES_MAX { self.start_streaming().await } else { Ok(()) }
            }
            Kept::Streaming(streams) => {
                let sets = self.placement.object_sets(self.fragments);
                let index_of = |slot| self.indices.iter().find(|(known, _)| *known == slot).map_or(0, |(_, at)| *at);
                write_to_all(streams, &sets, self.layout.quorum(), |slot| units[index_of(slot)].clone()).await
            }
        }
    }

    async fn start_streaming(&mut self) -> Result<()> {
        let Kept::Gathered(fragments) = std::mem::replace(&mut self.kept, Kept::Streaming(Vec::new())) else {
            return Ok(());
        };
        let begun = self.indices.iter().map(|(slot, index)| {
            let (mut upload, units) = (self.placement.node(*slot).write_extents(None), &fragments[*index]);
            async move {
                for unit in units {
                    if let Err(error) = upload.write(unit.clone()).await {
                        return Stream { slot: *slot, upload: Err(error) };
                    }
                }
                Stream { slot: *slot, upload: Ok(upload) }
            }
        });
        self.kept = Kept::Streaming(join_all(begun).await);
        Ok(())
    }

    /// Makes the fragments durable; tells their layout, for the object's head. Until that is written they are nobody's:
    /// see [`Store::discard_fragments`].
    pub(in super::super) async fn finish(mut self) -> Result<Layout> {
        if !self.pending.is_empty() {
            let (mut stripe, data) = (self.pending.split(), self.layout.data);
            self.layout.length += stripe.len() as u64;
            let unit = unit_of(stripe.len() as u64, data);
            stripe.resize(unit as usize * usize::from(data), 0);
            self.cut(stripe.freeze()).await?;
        }
        let kept = std::mem::replace(&mut self.kept, Kept::Streaming(Vec::new()));
        let bodies = match kept {
            Kept::Gathered(fragments) => {
                let bodies: Vec<Bytes> = fragments.into_iter().map(join).collect();
                Bodies::Several(self.indices.iter().map(|(slot, index)| (*slot, bodies[*index].clone())).collect())
            }
            Kept::Streaming(streams) => Bodies::of_streams(streams).await,
        };
        let committed = self.commit(&bodies).await;
        if committed.is_err() {
            self.store.discard_fragments(self.layout);
        }
        committed.map(|()| self.layout)
    }

    async fn commit(&self, bodies: &Bodies) -> Result<()> {
        let (layout, hashes) = (self.layout, self.store.hashes(&self.layout.path()));
        let keys = Hashes { object: Some(self.fragments), container: None, account: None };
        for attempt in attempts() {
            pause(attempt).await;
            let timestamp = self.store.clock().tick();
            let make = |slot: Slot, _| {
                let (body, upload) = bodies.of(slot, layout.fragment_bytes())?;
                let found = self.indices.iter().find(|(known, _)| *known == slot);
                let (_, index) = found.ok_or(Error::Stopped)?;
                let put = fragment(&layout, *index, hashes, timestamp, body);
                Ok(Write { upload, ..Write::of(Mutation::ObjectPut(put)) })
            };
            let under_way = self.store.begin(&self.placement, keys, false).await;
            let parts = self.placement.object_alone(self.fragments);
            let shares = self.store.shares(&self.placement, parts, keys, &under_way, make);
            match quorum::commit_on(layout.quorum(), shares, self.store.background()).await? {
                Outcome::Done { .. } => return Ok(()),
                // A later version was promised of something else that shares the list of promises.
                Outcome::Refused(later) => self.store.clock().observe(later),
                Outcome::Resharded { .. } => {}
            }
        }
        Err(Error::Contended)
    }
}

/// A fragment as the object that it is to its device.
pub(super) fn fragment(
    layout: &Layout,
    index: usize,
    hashes: PathHashes,
    timestamp: Timestamp,
    body: Body,
) -> ObjectPut {
    ObjectPut {
        path: layout.path(),
        hashes,
        timestamp,
        policy: fragments_of(layout.policy),
        size: layout.fragment_bytes(),
        etag: String::new(),
        content_type: String::new(),
        content: Content::Plain,
        delete_at: None,
        metadata: layout.items(index),
        body,
    }
}
