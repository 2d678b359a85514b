//! Fragments that nobody needs: those of a replaced or deleted object, and those whose head never came because its
//! writer died.

use std::collections::HashSet;

use super::layout::Layout;
use super::wanted_index;
use crate::daemon::watch::Watch;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::index::{DIGEST_LEAVES, ObjectState, Tree};
use crate::limits::FRAGMENT_SWEEP_INTERVAL;
use crate::model::{Content, ObjectInfo};
use crate::node::ENTRIES_MAX;
use crate::policy::is_fragments;
use crate::store::Store;
use crate::store::read::{ObjectReader, Replicas, layout_in};
use crate::store::worker::PartsToDelete;

/// Names of fragments that no head named, as of one round.
pub(crate) type Suspects = HashSet<[u8; 16]>;

/// Suspects that are remembered, 16 bytes each; the rest are found by later rounds.
const SUSPECTS_MAX: usize = 1_000_000;

/// One fragment's device looks in each round whether there is a head; those of the others, which may be all that a
/// writer left behind, in one of so many, or a round would cost each object a question per fragment.
const ROUNDS_OF_OTHERS: u64 = 8;

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
        let (placement, path) = (self.placement(), layout.path());
        placement.policy(layout.policy)?;
        let hashes = self.hashes(&path);
        self.delete_alone(&placement, path, hashes, layout.keyed(self).policy).await
    }

    /// One round: deletes what this round and the one before it have found without a head; tells what to look at again.
    pub(crate) async fn sweep_fragments(&self, watch: &Watch, before: &Suspects) -> Result<Suspects> {
        let mut suspects = Suspects::new();
        for device in self.devices() {
            let trees = device.index().digest_trees()?;
            let is_ours = |tree: &Tree| matches!(tree, Tree::Objects { policy } if is_fragments(*policy));
            for tree in trees.into_iter().filter(is_ours) {
                let mut after = None;
                loop {
                    let page = device.index().digest_entries(tree, 0..DIGEST_LEAVES, after.as_ref(), ENTRIES_MAX)?;
                    for entry in &page {
                        let ObjectState::Live(row) = device.index().object_state(entry.key.hash)? else { continue };
                        if self.is_misplaced(device, &row.info)? {
                            device.report_damaged(entry.key.clone());
                        }
                        self.sweep(&row.info, before, &mut suspects, watch).await?;
                    }
                    match page.last().filter(|_| page.len() == ENTRIES_MAX) {
                        Some(last) => after = Some(last.key.clone()),
                        None => break,
                    }
                }
            }
        }
        Ok(suspects)
    }

    /// Whether a device is to have another of the fragments: it lost its place and got one again before it gave up what
    /// it had.
    fn is_misplaced(&self, device: &Device, fragment: &ObjectInfo) -> Result<bool> {
        let (placement, (index, layout)) = (self.placement(), Layout::of_items(&fragment.metadata)?);
        let wanted = wanted_index(&placement, layout.keyed(self), &device.id());
        Ok(!placement.is_changing() && wanted.is_some_and(|wanted| wanted != index))
    }

    async fn sweep(
        &self,
        fragment: &ObjectInfo,
        before: &Suspects,
        suspects: &mut Suspects,
        watch: &Watch,
    ) -> Result<()> {
        let (index, layout) = Layout::of_items(&fragment.metadata)?;
        let (now, is_suspect) = (self.clock().wall(), before.contains(&layout.id));
        let round = now.seconds() / FRAGMENT_SWEEP_INTERVAL.as_secs();
        let is_looked_at =
            index == 0 || is_suspect || u64::from(layout.id[0]) % ROUNDS_OF_OTHERS == round % ROUNDS_OF_OTHERS;
        let is_young = fragment.timestamp > now.minus(FRAGMENT_SWEEP_INTERVAL);
        if !is_looked_at || is_young || self.has_head(&layout).await? {
            return Ok(());
        }
        if !is_suspect {
            if suspects.len() < SUSPECTS_MAX {
                suspects.insert(layout.id);
            }
            return Ok(());
        }
        tracing::info!(fragments = layout.path().object, "nobody needs these fragments: they are deleted");
        watch.found(1);
        self.delete_layout(&layout).await
    }

    /// Whether the object that these fragments belong to is still made of them.
    pub(in super::super) async fn has_head(&self, layout: &Layout) -> Result<bool> {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use anello_base::{Clock, SystemClock, Timestamp};
    use bytes::Bytes;

    use super::*;
    use crate::daemon::watch::Unit;
    use crate::device::DeviceOptions;
    use crate::index::{DigestEntry, EntryKey};
    use crate::key::ObjectPath;
    use crate::model::Precondition;
    use crate::policy::fragments_of;
    use crate::store::erasure::{Cutter, indices};
    use crate::store::placement::Keyed;
    use crate::store::{DaemonOptions, IfMissing, ObjectHead, StoreOptions};

    const FRAGMENTS: Tree = Tree::Objects { policy: 1 << 31 | 1 };

    /// The system's clock, and some rounds of the sweeper more.
    #[derive(Clone, Default)]
    struct Later(Arc<AtomicU64>);

    impl Clock for Later {
        fn wall(&self) -> Timestamp {
            let later = self.0.load(Ordering::Relaxed) * FRAGMENT_SWEEP_INTERVAL.as_secs();
            Timestamp::from_ticks(SystemClock.wall().ticks() + Timestamp::from_seconds(later).ticks())
        }
    }

    /// A store of six devices, whose objects are cut into four fragments and two more.
    async fn open(dir: &std::path::Path, clock: Later) -> Store {
        let options = StoreOptions {
            devices: (0..6).map(|at| dir.join(at.to_string())).collect(),
            state_dir: dir.to_owned(),
            cluster_id: "c".into(),
            cluster_secret: b"secret".to_vec(),
            device: DeviceOptions::default(),
            daemons: DaemonOptions::default(),
        };
        let open = tokio::task::spawn_blocking(|| Store::open_with_clock(options, clock));
        let store = open.await.expect("no panic").expect("opens");
        store.change_policies(|policies| policies.with("cheap", "ec 4+2".parse()?)).await.expect("a policy");
        store.container_update("a", "c", vec![], 1, IfMissing::Create).await.expect("a container");
        store
    }

    /// Fragments that nobody has named in a head.
    async fn orphan(store: &Store, name: &str) -> Layout {
        let hash = store.hasher().object(&ObjectPath::new("a", "c", name));
        let mut cutter = Cutter::new(store, &store.placement(), Keyed { hash, policy: 1 }, (4, 2));
        cutter.write(&Bytes::from(vec![7; 300_000])).await.expect("writes");
        cutter.finish().await.expect("fragments")
    }

    /// Fragments that are there, by their objects' ids.
    fn live(store: &Store) -> Vec<[u8; 16]> {
        let mut ids = Vec::new();
        for device in store.devices() {
            let index = device.index();
            for entry in index.digest_entries(FRAGMENTS, 0..DIGEST_LEAVES, None, ENTRIES_MAX).expect("reads") {
                if let ObjectState::Live(row) = index.object_state(entry.key.hash).expect("reads") {
                    ids.push(Layout::of_items(&row.info.metadata).expect("is one").1.id);
                }
            }
        }
        ids
    }

    /// A write is answered before the last device has its share.
    async fn until(what: &str, is_so: impl Fn() -> bool) {
        for _ in 0..600 {
            if is_so() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("after a minute it is still not so that {what}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn fragments_whose_head_never_came_are_deleted_and_others_stay() {
        let (dir, clock) = (tempfile::tempdir().expect("a directory"), Later::default());
        let store = open(dir.path(), clock.clone()).await;
        let path = ObjectPath::new("a", "c", "kept");
        let mut writer = store.object_write(&path, None).await.expect("begins");
        writer.write(Bytes::from(vec![9; 300_000])).await.expect("writes");
        writer.finish(ObjectHead::default(), &Precondition::default()).await.expect("an object");
        let (whole, headless) = (orphan(&store, "whole").await, orphan(&store, "headless").await);
        until("each has six fragments", || live(&store).len() == 18).await;
        // Of this one the fragment is lost whose device looks first.
        let fragments = Keyed { hash: headless.keyed(&store).hash, policy: fragments_of(1) };
        let placement = store.placement();
        let first = indices(&placement, fragments).into_iter().find(|(_, index)| *index == 0).expect("a first one");
        let device = &store.locals().iter().find(|local| placement.slot_of(&local.device.id()) == Some(first.0));
        let device = &device.expect("is here").device;
        let key = EntryKey { hash: fragments.hash, name: None };
        let version = device.index().entry_version(FRAGMENTS, &key).expect("reads").expect("is there");
        device.forget(store.hasher(), FRAGMENTS, &[DigestEntry { key, version }]).await.expect("forgets");
        assert_eq!(live(&store).len(), 17);

        let (watch, mut suspects) = (Watch::new("sweeper", None, Unit::Objects), Suspects::new());
        let later = async |suspects: &Suspects| {
            clock.0.fetch_add(1, Ordering::Relaxed);
            store.sweep_fragments(&watch, suspects).await.expect("a round")
        };
        suspects = store.sweep_fragments(&watch, &suspects).await.expect("a round");
        assert!(suspects.is_empty(), "their heads may come yet");
        clock.0.fetch_add(1, Ordering::Relaxed);
        suspects = later(&suspects).await;
        assert!(suspects.contains(&whole.id));
        assert_eq!(live(&store).len(), 17, "nobody is deleted on the first sight");
        suspects = later(&suspects).await;
        until("its fragments are gone", || !live(&store).contains(&whole.id)).await;
        for _ in 0..=ROUNDS_OF_OTHERS {
            suspects = later(&suspects).await;
        }
        until("theirs, too", || !live(&store).contains(&headless.id)).await;
        assert_eq!(live(&store).len(), 6);
        let mut reader = store.object_read(&path).await.expect("reads").expect("is there");
        assert_eq!(reader.next().await.expect("reads").map(|bytes| bytes[0]), Some(9));
        drop(reader);
        store.close().await.expect("closes");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_device_that_has_another_fragment_than_its_place_is_for_gets_that() {
        let (dir, clock) = (tempfile::tempdir().expect("a directory"), Later::default());
        let store = open(dir.path(), clock.clone()).await;
        let path = ObjectPath::new("a", "c", "kept");
        let mut writer = store.object_write(&path, None).await.expect("begins");
        writer.write(Bytes::from(vec![9; 300_000])).await.expect("writes");
        writer.finish(ObjectHead::default(), &Precondition::default()).await.expect("an object");
        until("it has six fragments", || live(&store).len() == 6).await;
        let placement = store.placement();
        let local = &store.locals()[0];
        let node = placement.node(placement.slot_of(&local.device.id()).expect("has a place"));
        let rows = local.device.index().scan_objects(None, 100).expect("reads");
        let is_fragment = |hash| local.device.index().policy_of(hash).expect("reads").is_some_and(is_fragments);
        let (hash, row) = rows.into_iter().find(|(hash, _)| is_fragment(*hash)).expect("a fragment");
        let (index, layout) = Layout::of_items(&row.info.metadata).expect("is one");
        let key = EntryKey { hash, name: None };
        let version = local.device.index().entry_version(FRAGMENTS, &key).expect("reads").expect("is there");
        local.device.forget(store.hasher(), FRAGMENTS, &[DigestEntry { key, version }]).await.expect("forgets");
        store.rebuild(node, &layout, (index + 1) % 6, row.info.timestamp).await.expect("another one");
        let held = || {
            let row = local.device.index().object(hash).expect("reads").expect("is there");
            Layout::of_items(&row.info.metadata).expect("is one").0
        };
        assert_ne!(held(), index);

        let watch = Watch::new("sweeper", None, Unit::Objects);
        store.sweep_fragments(&watch, &Suspects::new()).await.expect("a round");
        store.heal(&watch).await.expect("heals");
        assert_eq!(held(), index);
        store.close().await.expect("closes");
    }
}
