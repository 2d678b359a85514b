//! Making a fragment anew from others.

use anello_base::Timestamp;
use bytes::Bytes;

use super::cutter::fragment;
use super::layout::Layout;
use super::reader::FragmentsReader;
use super::{indices, wanted_index};
use crate::error::{Error, Result};
use crate::index::{DigestEntry, EntryKey, EntryVersion, ObjectRow, Tree};
use crate::limits::INLINE_BYTES_MAX;
use crate::mutation::{Applies, Body, Mutation};
use crate::node::{Local, Node, Stored, Write};
use crate::store::Store;
use crate::store::placement::{Keyed, Placement, Slot};

/// What a device is to do about a fragment that another lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Turn {
    /// Its own is the one: it is to be sent.
    Send,
    /// Make the one with this index.
    Rebuild(usize),
    /// Another device does it.
    Wait,
}

impl Store {
    /// Whose turn it is to bring `target` its fragment: the device's that has it, and else the next one's in the ring
    /// that can be reached.
    pub(in super::super) fn turn(
        &self,
        placement: &Placement,
        fragments: Keyed,
        (me, mine): (Slot, usize),
        target: Slot,
    ) -> Turn {
        let indices = indices(placement, fragments);
        let Some((_, wanted)) = indices.iter().find(|(slot, _)| *slot == target).copied() else { return Turn::Wait };
        if mine == wanted {
            return Turn::Send;
        }
        let count = indices.iter().map(|(_, index)| index + 1).max().unwrap_or(1);
        let can = |slot: Slot| slot != target && placement.node(slot).is_reachable();
        // One that has it and moves it away comes first, then who follows in the ring.
        let after = |index: usize| (index + count - wanted) % count;
        let first = indices.iter().filter(|(slot, _)| can(*slot)).min_by_key(|(_, index)| after(*index));
        if first.is_some_and(|(slot, _)| *slot == me) { Turn::Rebuild(wanted) } else { Turn::Wait }
    }

    /// Makes fragment `index` of this version anew on a device.
    pub(in super::super) async fn rebuild(
        &self,
        node: &Node,
        layout: &Layout,
        index: usize,
        version: Timestamp,
    ) -> Result<()> {
        let stored = self.rebuilt(node, layout, index).await?;
        self.restore(node, layout, index, version, stored).await
    }

    /// Replaces a device's fragment, which is damaged or not that of its place.
    pub(in super::super) async fn heal_fragment(
        &self,
        local: &Local,
        node: &Node,
        object: Keyed,
        row: &ObjectRow,
        version: EntryVersion,
    ) -> Result<()> {
        let (index, layout) = Layout::of_items(&row.info.metadata)?;
        let index = wanted_index(&self.placement(), object, &local.device.id()).unwrap_or(index);
        let stored = self.rebuilt(node, &layout, index).await?;
        let damaged = DigestEntry { key: EntryKey { hash: object.hash, name: None }, version };
        local.device.forget(self.hasher(), Tree::Objects { policy: object.policy }, &[damaged]).await?;
        self.restore(node, &layout, index, row.info.timestamp, stored).await
    }

    async fn rebuilt(&self, node: &Node, layout: &Layout, index: usize) -> Result<Stored> {
        let mut reader = FragmentsReader::without(self, *layout, index);
        let is_small = layout.fragment_bytes() <= INLINE_BYTES_MAX;
        let (mut gathered, mut upload) = (Vec::<Bytes>::new(), None);
        let mut next = 0;
        while next < layout.stripes() {
            let stripes = layout.together(next, layout.stripes());
            next = stripes.end;
            let unit = reader.unit(stripes, index).await?;
            for device in self.devices() {
                device.precedence().after_clients(unit.len()).await;
            }
            if is_small {
                gathered.push(unit);
            } else {
                upload.get_or_insert_with(|| node.write_extents(Some(layout.fragment_bytes()))).write(unit).await?;
            }
        }
        match upload {
            Some(upload) => upload.finish().await,
            None => Ok(Stored::Here(Body::Inline(gathered.concat().into()))),
        }
    }

    async fn restore(
        &self,
        node: &Node,
        layout: &Layout,
        index: usize,
        version: Timestamp,
        stored: Stored,
    ) -> Result<()> {
        let (body, upload) = match stored {
            Stored::Here(body) => (body, None),
            Stored::There(upload) => (Body::Absent(layout.fragment_bytes()), Some(upload)),
        };
        let put = fragment(layout, index, self.hashes(&layout.path()), version, body);
        let applies = Applies { object: true, container: false, account: false };
        let write = Write { upload, applies, restores: true, ..Write::of(Mutation::ObjectPut(put)) };
        match node.commit(write).await?.stale {
            None => Ok(()),
            // It was deleted meanwhile.
            Some(current) => Err(Error::Stale { current }),
        }
    }
}
