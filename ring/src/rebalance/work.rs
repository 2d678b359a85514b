//! The state of a rebalance, and its steps.

use super::place::Aim;
use super::{Movable, Progress, Step};
use crate::device::DeviceId;
use crate::plan::{Class, Plan};
use crate::random::{Random, mix, scattered};
use crate::table::Table;
use crate::topology::{Node, Path, Topology};

/// Partitions between reports of progress.
pub(super) const REPORT_EVERY: usize = 4096;

/// A place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) partition: usize,
    pub(super) replica: usize,
}

/// Counts by node follow every change of the table: `parts` for leaves, `hunger` for all nodes.
pub(super) struct Work<'a> {
    pub(super) topology: &'a Topology,
    pub(super) plan: &'a Plan,
    pub(super) table: &'a mut Table,
    pub(super) movable: Movable,
    pub(super) random: Random,
    /// What a leaf has.
    pub(super) parts: Vec<u32>,
    /// What a node should have.
    pub(super) quota: Vec<u32>,
    /// What the leaves under a node lack.
    pub(super) hunger: Vec<u32>,
    /// What all leaves have too much.
    pub(super) surplus: u64,
    /// Paths of the partition under work.
    pub(super) paths: Vec<Path>,
    /// Slots given a device in this rebalance that had none at its start.
    pub(super) filled: Vec<Slot>,
    seed: u64,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        topology: &'a Topology,
        plan: &'a Plan,
        table: &'a mut Table,
        movable: Movable,
        seed: u64,
    ) -> Self {
        let mut parts = vec![0_u32; topology.len()];
        for device in table.slots() {
            if let Some(leaf) = topology.leaf(*device) {
                parts[leaf] += 1;
            }
        }
        topology.sum_up(&mut parts);
        let quota = plan.quotas(topology, &parts);
        let mut hunger = vec![0_u32; topology.len()];
        let mut surplus = 0;
        for leaf in topology.level(3) {
            hunger[leaf] = quota[leaf].saturating_sub(parts[leaf]);
            surplus += u64::from(parts[leaf].saturating_sub(quota[leaf]));
        }
        topology.sum_up(&mut hunger);
        let (paths, filled, random) = (Vec::new(), Vec::new(), Random::new(mix(seed)));
        Self { topology, plan, table, movable, random, parts, quota, hunger, surplus, paths, filled, seed }
    }

    /// Empties a slot; answers the leaf that held it.
    pub(super) fn take(&mut self, slot: Slot) -> Node {
        let device = self.table.get(slot.partition, slot.replica);
        let path = *self.topology.path(device);
        let leaf = path[3] as Node;
        self.table.set(slot.partition, slot.replica, DeviceId::NONE);
        if self.parts[leaf] <= self.quota[leaf] {
            self.hunger[0] += 1;
            for node in path {
                self.hunger[node as Node] += 1;
            }
        } else {
            self.surplus -= 1;
        }
        self.parts[leaf] -= 1;
        leaf
    }

    /// Gives an empty slot to a leaf.
    pub(super) fn put(&mut self, slot: Slot, leaf: Node) {
        let device = self.topology.device(leaf);
        self.table.set(slot.partition, slot.replica, device);
        self.parts[leaf] += 1;
        if self.parts[leaf] <= self.quota[leaf] {
            self.hunger[0] -= 1;
            for node in *self.topology.path(device) {
                self.hunger[node as Node] -= 1;
            }
        } else {
            self.surplus += 1;
        }
    }

    /// What the holder of a slot has too much; 0 where nobody holds it.
    pub(super) fn surplus_of(&self, slot: Slot) -> u32 {
        let leaf = self.topology.leaf(self.table.get(slot.partition, slot.replica));
        leaf.map_or(0, |leaf| self.parts[leaf].saturating_sub(self.quota[leaf]))
    }

    /// A class's partitions in an order that looks random. `salt` tells the steps' orders apart.
    pub(super) fn scattered(&self, class: &Class, salt: u64) -> impl Iterator<Item = usize> + use<> {
        let range = class.partitions.clone();
        scattered(self.table.partitions(), self.seed ^ salt).filter(move |partition| range.contains(partition))
    }

    /// Gives every hole a device: one that hungers if it can be, at worst any that is not yet taken.
    pub(super) fn fill_holes(&mut self, class: &Class, progress: Progress<'_>) {
        let total = self.table.partitions();
        for (done, partition) in self.scattered(class, 1).enumerate() {
            if done % REPORT_EVERY == 0 {
                progress(Step::Holes, done, total);
            }
            for replica in 0..class.replicas {
                if self.table.get(partition, replica) != DeviceId::NONE {
                    continue;
                }
                let slot = Slot { partition, replica };
                self.movable.lock(partition);
                if let Some(leaf) = self.place(partition, Aim::Hungry) {
                    self.put(slot, leaf);
                } else if !self.fill_by_exchange(slot) {
                    let leaf = self.place(partition, Aim::Bounds).or_else(|| self.place(partition, Aim::Distinct));
                    let leaf = leaf.expect("the plan has at least as many devices as replicas");
                    self.put(slot, leaf);
                }
                self.filled.push(slot);
            }
        }
    }

    /// Moves one replica of each movable partition that breaks the plan's bounds, if that helps.
    pub(super) fn disperse(&mut self, class: &Class, progress: Progress<'_>) {
        let total = self.table.partitions();
        for (done, partition) in self.scattered(class, 2).enumerate() {
            if done % REPORT_EVERY == 0 {
                progress(Step::Disperse, done, total);
            }
            if !self.movable.is(partition) {
                continue;
            }
            let before = self.violations(partition);
            if before == 0 {
                continue;
            }
            let mut slots: Vec<Slot> = (0..class.replicas).map(|replica| Slot { partition, replica }).collect();
            slots.sort_by_key(|slot| std::cmp::Reverse(self.surplus_of(*slot)));
            for aim in [Aim::Hungry, Aim::Bounds] {
                if slots.iter().any(|slot| self.improve(*slot, aim, before)) {
                    break;
                }
            }
        }
    }

    /// Moves the replica in `slot` if that leaves fewer violations than `before`.
    fn improve(&mut self, slot: Slot, aim: Aim, before: u32) -> bool {
        let from = self.take(slot);
        if let Some(to) = self.place(slot.partition, aim) {
            self.put(slot, to);
            if to != from && self.violations(slot.partition) < before {
                self.movable.lock(slot.partition);
                return true;
            }
            self.take(slot);
        }
        self.put(slot, from);
        false
    }

    /// Where one device has the partition that rounding gave to another, lets it keep it: both are as near
    /// to their targets as whole partitions allow.
    pub(super) fn settle(&mut self) {
        let rounded = |leaf: &Node| {
            let (low, high) = self.plan.bounds(*leaf);
            (low..=high).contains(&self.parts[*leaf])
        };
        let leaves: Vec<Node> = self.topology.level(3).filter(rounded).collect();
        let over: Vec<Node> = leaves.iter().copied().filter(|leaf| self.parts[*leaf] > self.quota[*leaf]).collect();
        let under: Vec<Node> = leaves.iter().copied().filter(|leaf| self.hunger[*leaf] > 0).collect();
        for (over, under) in over.into_iter().zip(under) {
            self.quota[over] += 1;
            self.surplus -= 1;
            self.quota[under] -= 1;
            self.hunger[0] -= 1;
            for node in *self.topology.path(self.topology.device(under)) {
                self.hunger[node as Node] -= 1;
            }
        }
    }

    /// Moves replicas from overfull devices to hungry ones, as long as there are any.
    pub(super) fn balance(&mut self, class: &Class, progress: Progress<'_>) {
        let total = self.table.partitions();
        for (done, partition) in self.scattered(class, 3).enumerate() {
            if self.surplus == 0 {
                break;
            }
            if done % REPORT_EVERY == 0 {
                progress(Step::Balance, done, total);
            }
            if self.movable.is(partition) {
                self.relieve(class, partition);
            }
        }
    }

    /// Moves one replica of the partition off an overfull device, the fullest first.
    fn relieve(&mut self, class: &Class, partition: usize) {
        let mut tried = 0_u64;
        loop {
            let fullest = (0..class.replicas)
                .filter(|replica| tried & (1 << replica) == 0)
                .map(|replica| (self.surplus_of(Slot { partition, replica }), replica))
                .max()
                .filter(|(surplus, _)| *surplus > 0);
            let Some((_, replica)) = fullest else { return };
            let slot = Slot { partition, replica };
            let from = self.take(slot);
            if let Some(to) = self.place(partition, Aim::Hungry) {
                self.put(slot, to);
                self.movable.lock(partition);
                return;
            }
            self.put(slot, from);
            tried |= 1 << replica;
        }
    }
}
