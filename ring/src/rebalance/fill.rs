//! The first assignment: exact in balance and dispersion, random otherwise.
//!
//! Systematic sampling: a partition's devices are those that lie at one random point and at steps of
//! equal length after it, on a line on which each device is as long as it still has quota. A device is
//! never longer than a step, so it is hit at most once; a domain is hit as often as its length says,
//! rounded down or up; and when the last partition has been drawn, every quota is used up. The order of
//! siblings on the line is shuffled over and over, so that any devices come to share partitions.

use super::{Progress, Step};
use crate::device::DeviceId;
use crate::plan::{Class, Plan};
use crate::random::{Random, mix};
use crate::table::Table;
use crate::topology::{Node, Topology};

/// Partitions between reports of progress.
const REPORT_EVERY: usize = 4096;

pub(super) fn fill(topology: &Topology, plan: &Plan, table: &mut Table, seed: u64, progress: Progress<'_>) {
    let total = table.partitions();
    for class in &plan.classes {
        let mut sampler = Sampler::new(topology, class, seed);
        for partition in class.partitions.clone() {
            if partition % REPORT_EVERY == 0 {
                progress(Step::Fill, partition, total);
            }
            sampler.draw(table, partition);
        }
    }
    progress(Step::Fill, total, total);
}

struct Sampler<'a> {
    topology: &'a Topology,
    /// Quota left, by node.
    left: Vec<u32>,
    /// The children of each node in their order on the line; at the places of the children's indexes.
    order: Vec<u32>,
    /// Draws until the children of a node are shuffled.
    until_shuffle: Vec<u32>,
    /// Partitions left: the length of a step.
    step: u32,
    replicas: usize,
    drawn: usize,
    random: Random,
}

impl<'a> Sampler<'a> {
    fn new(topology: &'a Topology, class: &Class, seed: u64) -> Self {
        Self {
            topology,
            left: class.quotas(topology),
            order: (0..topology.len() as u32).collect(),
            until_shuffle: vec![0; topology.len()],
            step: class.partitions.len() as u32,
            replicas: class.replicas,
            drawn: 0,
            random: Random::new(mix(seed) ^ class.replicas as u64),
        }
    }

    fn draw(&mut self, table: &mut Table, partition: usize) {
        self.drawn = 0;
        let start = self.random.below(self.step);
        self.descend(0, start, table, partition);
        debug_assert_eq!(self.drawn, self.replicas, "partition {partition}");
        self.step -= 1;
    }

    /// Takes the points `first`, `first + step`, … that lie within `node`.
    fn descend(&mut self, node: Node, first: u32, table: &mut Table, partition: usize) {
        if self.topology.is_leaf(node) {
            table.set(partition, self.drawn, self.topology.device(node));
            debug_assert_ne!(self.topology.device(node), DeviceId::NONE);
            self.drawn += 1;
            self.left[node] -= 1;
            return;
        }
        self.shuffle(node);
        let length = self.left[node];
        let mut point = first;
        let mut passed = 0;
        let mut taken = 0;
        for place in self.topology.children(node) {
            if point >= length {
                break;
            }
            let child = self.order[place] as Node;
            let end = passed + self.left[child];
            if point < end {
                let within = point - passed;
                while point < end {
                    point = point.saturating_add(self.step);
                    taken += 1;
                }
                self.descend(child, within, table, partition);
            }
            passed = end;
        }
        self.left[node] -= taken;
    }

    /// Shuffling costs what a draw costs; once per as many draws as there are children, it is free.
    fn shuffle(&mut self, node: Node) {
        if self.until_shuffle[node] > 0 {
            self.until_shuffle[node] -= 1;
            return;
        }
        let children = self.topology.children(node);
        self.until_shuffle[node] = children.len() as u32 / 2;
        self.random.shuffle(&mut self.order[children]);
    }
}
