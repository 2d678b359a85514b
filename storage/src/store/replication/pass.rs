//! One pass over all that a device has: what agrees costs a comparison of digests, what differs is looked at entry by
//! entry, and what another replica lacks is sent to it.

use std::collections::{BTreeMap, HashSet, VecDeque};

use futures::StreamExt;
use futures::future::{join_all, try_join_all};

use super::super::placement::{Placement, Slot};
use super::Replicator;
use super::bring::is_over;
use super::compare::{Lacking, Run};
use crate::error::{Error, Result};
use crate::index::{DIGEST_LEAF_BITS, Digest, DigestEntry, EntryKey, Tree};
use crate::node::leaves_of;
use crate::policy::is_fragments;

/// Leaves' digests in one answer, 20 bytes each.
const LEAVES_PER_CALL: u32 = 65_536;

/// Runs of entries that are compared with one replica at a time, so that what it lacks of them is sent together.
const RUNS_AT_ONCE: usize = 32;

/// Partitions that are handed off at a time.
const HAND_OFFS_AT_ONCE: usize = 8;

/// A partition with all that the device has of it.
type Held = (u32, Digest);

/// In which order partitions are brought to a device: first those that move to it; and of either, those first of which
/// this device is the first to bring them.
type Round = (bool, usize);

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
            // Of fragments each has another, and knows whose turn it is.
            let takes_turns = !matches!(tree, Tree::Objects { policy } if is_fragments(policy));
            let is_reachable = |slot: Slot| placement.node(slot).is_reachable();
            let (mut shared, mut foreign) = (BTreeMap::<Slot, BTreeMap<Round, Vec<Held>>>::new(), Vec::new());
            for held in self.local.partitions(tree, power, 0..1 << power)? {
                let keepers = placement.keepers(tree, held.0);
                if !keepers.contains(&me) {
                    foreign.push((held.0, keepers));
                    continue;
                }
                let newcomers = placement.newcomers(tree, held.0);
                for target in keepers.iter().copied().filter(|slot| *slot != me) {
                    let turn = if takes_turns { turn(held.0, &keepers, (me, target), is_reachable) } else { 0 };
                    let round = (!newcomers.contains(&target), turn);
                    shared.entry(target).or_default().entry(round).or_default().push(held);
                }
            }
            let (placement, waiting) = (&placement, foreign.len() as u64);
            self.watch.waits(waiting);
            let brought = shared.into_iter().map(|(target, rounds)| async move {
                let (mut is_moved, mut outcome) = (true, Ok(()));
                for ((is_staying, _), partitions) in rounds {
                    let brought = self.bring_partitions(placement, target, tree, power, &partitions).await;
                    if let Err(error) = &brought {
                        let to = placement.node(target).name();
                        tracing::debug!(%error, to, is_staying, "a replica was not brought all that it lacks");
                    }
                    is_moved &= is_staying || brought.is_ok();
                    outcome = outcome.and(brought);
                }
                (is_moved, outcome)
            });
            for (is_moved, brought) in join_all(brought).await {
                is_synced &= is_moved;
                outcome = outcome.and(brought);
            }
            let hand_offs = foreign.into_iter().map(|(partition, keepers)| async move {
                self.hand_off(placement, &keepers, tree, Run::of(leaves_of(partition, power))).await
            });
            let mut hand_offs = futures::stream::iter(hand_offs).buffered(HAND_OFFS_AT_ONCE);
            while let Some(handed_off) = hand_offs.next().await {
                outcome = outcome.and(handed_off);
            }
        }
        if is_synced {
            self.store.has_synced(self.local.device.id(), placement.epoch());
        }
        outcome
    }

    /// Brings to `target` what it lacks of these partitions, of which it is a primary as this device is. Goes on past
    /// what can't be brought.
    async fn bring_partitions(
        &self,
        placement: &Placement,
        target: Slot,
        tree: Tree,
        power: u8,
        partitions: &[Held],
    ) -> Result<()> {
        let node = placement.node(target);
        let settle = self.store.inner.replication.options.settle;
        let partitions_per_call = (LEAVES_PER_CALL >> DIGEST_LEAF_BITS.saturating_sub(power)).max(1);
        let mut outcome = Ok(());
        for held in partitions.chunks(partitions_per_call as usize) {
            let settled = (!placement.is_changing()).then(|| self.store.clock().wall().minus(settle));
            let mut runs = VecDeque::new();
            for differing in node.differing(tree, power, held).await? {
                runs.extend(self.runs(tree, power, differing)?);
            }
            while !runs.is_empty() {
                let compared = runs.drain(..runs.len().min(RUNS_AT_ONCE)).map(|run| async move {
                    let page = self.page(tree, &run)?;
                    let lacking = self.compare(node, tree, &run, &page, settled).await?;
                    Ok::<_, Error>((run, lacking))
                });
                let mut wants = Vec::new();
                for (run, lacking) in try_join_all(compared).await? {
                    wants.extend(lacking.wants);
                    runs.extend(lacking.through.map(|through| run.behind(through)));
                }
                match self.bring(placement, target, tree, wants).await {
                    Err(error) if is_over(&error) => return Err(error),
                    brought => outcome = outcome.and(brought),
                }
            }
        }
        outcome
    }

    /// Brings what this device has of a partition to its primaries, and forgets what all of them have.
    async fn hand_off(&self, placement: &Placement, keepers: &[Slot], tree: Tree, mut run: Run) -> Result<()> {
        let mut outcome = Ok(());
        loop {
            let page = self.page(tree, &run)?;
            let at_all = keepers.iter().map(|target| self.deliver(placement, *target, tree, &run, &page));
            let (mut missing, mut through) = (HashSet::new(), None);
            // Those that can be reached get all of it, even where another can't.
            for delivered in join_all(at_all).await {
                let Delivered { brought, left } = delivered?;
                outcome = outcome.and(brought);
                missing.extend(left.wants.into_iter().map(|want| want.key));
                through = [through, left.through].into_iter().flatten().min();
            }
            let is_there = |entry: &DigestEntry| {
                !missing.contains(&entry.key) && through.as_ref().is_none_or(|through| entry.key <= *through)
            };
            let delivered: Vec<_> = page.into_iter().filter(is_there).collect();
            self.local.device.forget(self.store.hasher(), tree, &delivered).await?;
            match through {
                Some(through) => run = run.behind(through),
                None => return outcome,
            }
        }
    }

    /// Brings a primary what it lacks of `page`, the first entries of a run, and looks again.
    async fn deliver(
        &self,
        placement: &Placement,
        target: Slot,
        tree: Tree,
        run: &Run,
        page: &[DigestEntry],
    ) -> Result<Delivered> {
        let node = placement.node(target);
        let found = self.compare(node, tree, run, page, None).await?;
        if found.wants.is_empty() {
            return Ok(Delivered { brought: Ok(()), left: found });
        }
        // Who was sent an account's row and shows another one has later statistics.
        let is_row = |key: &EntryKey| tree == Tree::Accounts && key.name.is_some();
        let sent: HashSet<_> = found.wants.iter().map(|want| want.key.clone()).filter(is_row).collect();
        let brought = self.bring(placement, target, tree, found.wants).await;
        if let Err(error) = &brought
            && is_over(error)
        {
            return Err(error.clone());
        }
        let mut left = self.compare(node, tree, run, page, None).await?;
        left.wants.retain(|want| !sent.contains(&want.key));
        left.through = [left.through, found.through].into_iter().flatten().min();
        Ok(Delivered { brought, left })
    }
}

/// What came of bringing a run's first entries to a primary.
struct Delivered {
    brought: Result<()>,
    /// What it lacks still.
    left: Lacking,
}

/// How many of a partition's keepers come before `me` in bringing `target` what it lacks. Each begins with other
/// partitions, so that little is sent twice; what the first one could not send, the next finds still lacking.
fn turn<S: Copy + PartialEq>(
    partition: u32,
    keepers: &[S],
    (me, target): (S, S),
    is_reachable: impl Fn(S) -> bool,
) -> usize {
    let mut sources: Vec<S> = keepers.iter().copied().filter(|keeper| *keeper != target).collect();
    let first = partition as usize % sources.len().max(1);
    sources.rotate_left(first);
    sources.into_iter().take_while(|source| *source != me).filter(|source| is_reachable(*source)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this all replicas send the same at the same time, or nobody begins.
    #[test]
    fn replicas_take_turns_and_nobody_waits_for_one_that_is_away() {
        let keepers = ['a', 'b', 'c', 'd'];
        for away in [None, Some('b'), Some('d')] {
            let is_reachable = |keeper| Some(keeper) != away;
            let mut begins = BTreeMap::<char, usize>::new();
            for partition in 0..300 {
                let sources = keepers.into_iter().filter(|keeper| *keeper != 'c' && is_reachable(*keeper));
                let turns = sources.map(|me| (turn(partition, &keepers, (me, 'c'), is_reachable), me));
                let turns: BTreeMap<usize, char> = turns.collect();
                assert!(turns.keys().copied().eq(0..if away.is_some() { 2 } else { 3 }), "{turns:?}");
                *begins.entry(turns[&0]).or_default() += 1;
            }
            assert!(begins.values().all(|count| *count >= 100), "{begins:?}");
        }
    }
}
