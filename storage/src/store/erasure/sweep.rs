//! Fragments that nobody needs: those of a replaced or deleted object, and those whose head never came because its
//! writer died.

use std::collections::HashSet;

use super::layout::Layout;
use crate::daemon::watch::Watch;
use crate::error::{Error, Result};
use crate::index::{DIGEST_LEAVES, ObjectState, Tree};
use crate::limits::FRAGMENT_SWEEP_INTERVAL;
use crate::model::{Content, ObjectInfo};
use crate::mutation::Mutation;
use crate::node::{ENTRIES_MAX, Write};
use crate::policy::is_fragments;
use crate::store::placement::Hashes;
use crate::store::read::{ObjectReader, Replicas, layout_in};
use crate::store::worker::PartsToDelete;
use crate::store::{Store, quorum};

/// Names of fragments that no head named, as of one round.
pub(in super::super) type Suspects = HashSet<[u8; 16]>;

/// Suspects that are remembered, 16 bytes each; the rest are found by later rounds.
const SUSPECTS_MAX: usize = 1_000_000;

impl Store {
    /// Deletes the fragments of an object that was replaced or deleted; `false` where it has none.
    pub async fn delete_fragments(&self, parts: &PartsToDelete) -> Result<bool> {
        if parts.info().content != Content::Fragments {
            return Ok(false);
        }
        let layout = layout_in(&mut self.read_parts_to_delete(parts)).await?;
        self.delete_layout(&layout).await?;
        Ok(true)
    }

    /// The head of these fragments was not written.
    pub(in super::super) fn discard_fragments(&self, layout: Layout) {
        let store = self.clone();
        self.background().spawn(async move {
            if let Err(error) = store.delete_layout(&layout).await {
                tracing::debug!(%error, "fragments that nobody needs stay until they are swept");
            }
        });
    }

    async fn delete_layout(&self, layout: &Layout) -> Result<()> {
        let (placement, path, fragments) = (self.placement(), layout.path(), layout.keyed(self));
        placement.policy(layout.policy)?;
        let keys = Hashes { object: Some(fragments), container: None, account: None };
        let under_way = self.begin(&placement, keys, false).await;
        let (hashes, timestamp, policy) = (self.hashes(&path), self.clock().tick(), fragments.policy);
        let delete = Mutation::ObjectDelete { path, hashes, timestamp, policy };
        let parts = placement.object_alone(fragments);
        let shares = self.shares(&placement, parts, keys, &under_way, |_, _| Ok(Write::of(delete.clone())));
        quorum::commit(shares, self.background()).await.map(drop)
    }

    /// One round: deletes what this round and the one before it have found without a head; tells what to look at again.
    pub(in super::super) async fn sweep_fragments(&self, watch: &Watch, before: &Suspects) -> Result<Suspects> {
        let mut suspects = Suspects::new();
        for device in self.devices() {
            let trees = device.index().digest_trees()?;
            let is_ours = |tree: &Tree| matches!(tree, Tree::Objects { policy } if is_fragments(*policy));
            for tree in trees.into_iter().filter(is_ours) {
                for (leaf, _) in device.index().digests(tree, 0..DIGEST_LEAVES)? {
                    let mut after = None;
                    loop {
                        let page = device.index().digest_entries(tree, leaf, after.as_ref(), ENTRIES_MAX)?;
                        for entry in &page {
                            let ObjectState::Live(row) = device.index().object_state(entry.key.hash)? else { continue };
                            self.sweep(&row.info, before, &mut suspects, watch).await?;
                        }
                        match page.last().filter(|_| page.len() == ENTRIES_MAX) {
                            Some(last) => after = Some(last.key.clone()),
                            None => break,
                        }
                    }
                }
            }
        }
        Ok(suspects)
    }

    async fn sweep(
        &self,
        fragment: &ObjectInfo,
        before: &Suspects,
        suspects: &mut Suspects,
        watch: &Watch,
    ) -> Result<()> {
        let (index, layout) = Layout::of_items(&fragment.metadata)?;
        let is_young = fragment.timestamp > self.clock().wall().minus(FRAGMENT_SWEEP_INTERVAL);
        // One of them looks for all.
        if index != 0 || is_young || self.has_head(&layout).await? {
            return Ok(());
        }
        if !before.contains(&layout.id) {
            if suspects.len() < SUSPECTS_MAX {
                suspects.insert(layout.id);
            }
            return Ok(());
        }
        tracing::info!(fragments = layout.path().object, "nobody needs these fragments: they are deleted");
        watch.found(1);
        self.delete_layout(&layout).await
    }

    async fn has_head(&self, layout: &Layout) -> Result<bool> {
        let placement = self.placement();
        let replicas = self.replicas(&placement, layout.head()).await?;
        let Some(replicas) = Replicas::new(replicas, None) else { return Ok(false) };
        if replicas.info().content != Content::Fragments {
            return Ok(false);
        }
        match layout_in(&mut ObjectReader::of_replicas(replicas)).await {
            Ok(named) => Ok(named.id == layout.id),
            // It was replaced meanwhile.
            Err(Error::Missing(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }
}
