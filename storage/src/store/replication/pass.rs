//! One pass over all that a device has: what agrees costs a comparison of digests, what differs is looked at entry by
//! entry, and what another replica lacks is sent to it.

use std::collections::{BTreeMap, HashMap, HashSet};

use anello_base::Timestamp;
use futures::future::join_all;

use super::super::placement::{Placement, Slot};
use super::Replicator;
use crate::error::{Error, Result};
use crate::index::{DIGEST_LEAF_BITS, Digest, DigestEntry, EntryKey, EntryVersion, Tree};
use crate::key::KeyHash;
use crate::limits::RECLAIM_AGE;
use crate::mutation::Applies;
use crate::node::{ENTRIES_MAX, Node, Span, Want, applies_to, leaves_of, sum};
use crate::policy::is_fragments;

/// Entries that one call brings: what a failed one makes be sent again.
const BATCH: usize = 256;

/// Leaves' digests in one answer, 20 bytes each.
const LEAVES_PER_CALL: u32 = 65_536;

/// A partition with all that the device has of it.
type Held = (u32, Digest);

/// What one replica lacks of a run of entries.
struct Lacking {
    wants: Vec<Want>,
    /// How far the comparison came; the end of the leaf where there is none.
    through: Option<EntryKey>,
}

impl Replicator {
    /// Goes on past a replica that fails; the first failure is told at the end.
    pub(super) async fn pass(&self) -> Result<()> {
        let placement = self.store.placement();
        let Some(me) = placement.slot_of(&self.local.device.id()) else { return Ok(()) };
        let mut outcome = Ok(());
        // Whether all that moves was brought to where it moves to.
        let mut is_synced = placement.is_sealed();
        let trees = self.local.device.index().digest_trees()?;
        for tree in trees.into_iter().filter(|tree| placement.places(*tree)) {
            let power = placement.power(tree);
            let (mut shared, mut foreign) = (BTreeMap::<Slot, Vec<Held>>::new(), Vec::new());
            for held in self.local.partitions(tree, power, 0..1 << power)? {
                let keepers = placement.keepers(tree, held.0);
                if !keepers.contains(&me) {
                    foreign.push((held.0, keepers));
                    continue;
                }
                for target in keepers.into_iter().filter(|slot| *slot != me) {
                    shared.entry(target).or_default().push(held);
                }
            }
            let (placement, waiting) = (&placement, foreign.len() as u64);
            self.watch.waits(waiting);
            let brought = shared.into_iter().map(|(target, partitions)| async move {
                let is_newcomer = |(partition, _): &Held| placement.newcomers(tree, *partition).contains(&target);
                let (moving, staying): (Vec<Held>, Vec<Held>) = partitions.into_iter().partition(is_newcomer);
                let moved = self.bring_partitions(placement, target, tree, power, &moving).await;
                let stayed = self.bring_partitions(placement, target, tree, power, &staying).await;
                (moved.is_ok(), moved.and(stayed))
            });
            for (is_moved, brought) in join_all(brought).await {
                is_synced &= is_moved;
                outcome = outcome.and(brought);
            }
            for (partition, keepers) in foreign {
                outcome = outcome.and(self.hand_off(placement, &keepers, tree, partition, power).await);
            }
        }
        if is_synced {
            self.store.has_synced(self.local.device.id(), placement.epoch());
        }
        outcome
    }

    /// Brings to `target` what it lacks of these partitions, of which it is a primary as this device is.
    async fn bring_partitions(
        &self,
        placement: &Placement,
        target: Slot,
        tree: Tree,
        power: u8,
        partitions: &[Held],
    ) -> Result<()> {
        let node = placement.node(target);
        let partitions_per_call = (LEAVES_PER_CALL >> DIGEST_LEAF_BITS.saturating_sub(power)).max(1);
        for held in partitions.chunks(partitions_per_call as usize) {
            for differing in node.differing(tree, power, held).await? {
                let theirs: HashMap<u32, Digest> = differing.leaves.into_iter().collect();
                let leaves = leaves_of(differing.partition, power);
                for (leaf, digest) in self.local.device.index().digests(tree, leaves)? {
                    if theirs.get(&leaf) != Some(&digest) {
                        self.bring_leaf(placement, target, tree, leaf).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn bring_leaf(&self, placement: &Placement, target: Slot, tree: Tree, leaf: u32) -> Result<()> {
        let settle = self.store.inner.replication.options.settle;
        let settled = (!placement.is_changing()).then(|| self.store.clock().wall().minus(settle));
        let mut after = None;
        loop {
            let page = self.local.device.index().digest_entries(tree, leaf, after.as_ref(), ENTRIES_MAX)?;
            let node = placement.node(target);
            let Lacking { wants, through } = self.compare(node, tree, leaf, after.clone(), &page, settled).await?;
            self.bring_all(placement, target, tree, wants).await?;
            match through {
                Some(through) => after = Some(through),
                None => return Ok(()),
            }
        }
    }

    /// What `node` lacks of `page`, the entries of a leaf behind `after`; what is newer than `settled` may still be
    /// on its way.
    async fn compare(
        &self,
        node: &Node,
        tree: Tree,
        leaf: u32,
        after: Option<EntryKey>,
        page: &[DigestEntry],
        settled: Option<Timestamp>,
    ) -> Result<Lacking> {
        let last = page.last().filter(|_| page.len() == ENTRIES_MAX).map(|entry| entry.key.clone());
        if page.is_empty() {
            return Ok(Lacking { wants: Vec::new(), through: None });
        }
        let span = Span { tree, leaf, after, through: last.clone(), digest: sum(page) };
        let Some(theirs) = node.compare(span).await? else {
            return Ok(Lacking { wants: Vec::new(), through: last });
        };
        let through = if theirs.is_whole { last } else { theirs.entries.last().map(|entry| entry.key.clone()) };
        let theirs: HashMap<EntryKey, EntryVersion> =
            theirs.entries.into_iter().map(|entry| (entry.key, entry.version)).collect();
        let mut wants = Vec::new();
        for entry in page.iter().take_while(|entry| through.as_ref().is_none_or(|through| entry.key <= *through)) {
            let have = theirs.get(&entry.key);
            if have != Some(&entry.version)
                && settled.is_none_or(|settled| entry.version.latest() <= settled)
                && !self.is_old_tombstone(&entry.version)
                && self.lacks(tree, entry, have)?
            {
                wants.push(Want { key: entry.key.clone(), have: have.cloned() });
            }
        }
        Ok(Lacking { wants, through })
    }

    /// Whether there is anything of `entry` that a replica which shows `have` would keep.
    fn lacks(&self, tree: Tree, entry: &DigestEntry, have: Option<&EntryVersion>) -> Result<bool> {
        let lacking = self.local.device.index().lacking(self.store.hasher(), tree, &entry.key, have)?;
        if lacking.is_lost {
            self.local.device.report_damaged(entry.key.clone());
        }
        Ok(lacking.is_anything())
    }

    /// A tombstone that replicas are free to forget, and may have forgotten.
    fn is_old_tombstone(&self, version: &EntryVersion) -> bool {
        let old = self.store.clock().wall().minus(RECLAIM_AGE);
        version.is_deleted() && version.latest() < old
    }

    async fn bring_all(&self, placement: &Placement, target: Slot, tree: Tree, wants: Vec<Want>) -> Result<()> {
        match tree {
            Tree::Objects { policy } if is_fragments(policy) => {
                self.bring_fragments(placement, target, tree, policy, wants).await
            }
            _ => self.bring(placement, target, tree, wants).await,
        }
    }

    /// Sends `target` what it lacks. Where a call fails, what it carried is sent one by one, so that an entry which
    /// can't be sent does not hold up others.
    pub(super) async fn bring(&self, placement: &Placement, target: Slot, tree: Tree, wants: Vec<Want>) -> Result<()> {
        let (mut accounts, mut outcome) = (HashMap::new(), Ok(()));
        let mut alike: BTreeMap<bool, Vec<Want>> = BTreeMap::new();
        for want in wants {
            let account_is_there = match accounts.get(&want.key.hash) {
                Some(known) => *known,
                None => self.account_is_at(placement, target, tree, want.key.hash)?,
            };
            accounts.insert(want.key.hash, account_is_there);
            alike.entry(account_is_there).or_default().push(want);
        }
        for (account_is_there, wants) in alike {
            let applies = applies_to(tree, account_is_there);
            for batch in wants.chunks(BATCH) {
                let node = placement.node(target);
                if self.send(node, tree, applies, batch.to_vec()).await.is_ok() {
                    continue;
                }
                for want in batch {
                    match self.send(node, tree, applies, vec![want.clone()]).await {
                        Err(error @ (Error::Unreachable { .. } | Error::Stopped)) => return Err(error),
                        sent => outcome = outcome.and(sent),
                    }
                }
            }
        }
        outcome
    }

    async fn send(&self, node: &Node, tree: Tree, applies: Applies, wants: Vec<Want>) -> Result<()> {
        let records = self.throttle.slow(self.local.fetch(tree, wants));
        let count = node.import(applies, records).await?;
        self.watch.advance(count);
        Ok(())
    }

    /// Whether `target` keeps the account of a container, too.
    fn account_is_at(&self, placement: &Placement, target: Slot, tree: Tree, container: KeyHash) -> Result<bool> {
        if tree != Tree::Containers {
            return Ok(false);
        }
        let account = self.local.device.index().account_of(container)?;
        Ok(account.is_some_and(|account| placement.keeps_account(target, account)))
    }

    /// Brings what this device has of a partition to its primaries, and forgets what all of them have.
    async fn hand_off(
        &self,
        placement: &Placement,
        keepers: &[Slot],
        tree: Tree,
        partition: u32,
        power: u8,
    ) -> Result<()> {
        let index = self.local.device.index();
        for (leaf, _) in index.digests(tree, leaves_of(partition, power))? {
            let mut after = None;
            loop {
                let page = index.digest_entries(tree, leaf, after.as_ref(), ENTRIES_MAX)?;
                let mut through = page.last().filter(|_| page.len() == ENTRIES_MAX).map(|entry| entry.key.clone());
                let mut missing = HashSet::new();
                for target in keepers {
                    let node = placement.node(*target);
                    let found = self.compare(node, tree, leaf, after.clone(), &page, None).await?;
                    // Who was sent an account's row and shows another one has later statistics.
                    let is_row = |key: &EntryKey| tree == Tree::Accounts && key.name.is_some();
                    let sent: HashSet<_> = found.wants.iter().map(|want| want.key.clone()).filter(is_row).collect();
                    self.bring_all(placement, *target, tree, found.wants).await?;
                    let left = self.compare(node, tree, leaf, after.clone(), &page, None).await?;
                    missing.extend(left.wants.into_iter().map(|want| want.key).filter(|key| !sent.contains(key)));
                    through = match (through, left.through) {
                        (Some(one), Some(other)) => Some(one.min(other)),
                        (one, other) => one.or(other),
                    };
                }
                let is_there = |entry: &DigestEntry| {
                    !missing.contains(&entry.key) && through.as_ref().is_none_or(|through| entry.key <= *through)
                };
                let delivered: Vec<_> = page.into_iter().filter(is_there).collect();
                self.local.device.forget(self.store.hasher(), tree, &delivered).await?;
                match through {
                    Some(through) => after = Some(through),
                    None => break,
                }
            }
        }
        Ok(())
    }
}
