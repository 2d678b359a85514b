//! Assigns partitions to devices, moving as few as it can.
//!
//! The steps, in order: a ring without assignments is filled at once ([`fill`]). Otherwise holes (from
//! removed devices and new replicas) are filled; then partitions whose replicas are spread worse than
//! the plan's bounds allow move one; then overfull devices give partitions to those that hunger. What
//! is blocked by the bounds is tried again by exchanging with a third device ([`exchange`]).
//!
//! Invariants: no partition has two replicas on one device; save for replicas on removed devices, a
//! partition moves at most one replica per rebalance and per `min_part_hours`; a move always goes to a
//! device that has less than its quota, except when no such place is left for a hole.

mod exchange;
mod fill;
mod place;
mod work;

use crate::plan::Plan;
use crate::table::Table;
use crate::topology::Topology;
use work::Work;

/// What a rebalance is doing, for progress displays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// First assignment of everything.
    Fill,
    /// New places for replicas that have none.
    Holes,
    /// Replicas that are too close to each other move apart.
    Disperse,
    /// Overfull devices give to others.
    Balance,
    /// Moves in pairs, where one alone is not allowed.
    Exchange,
}

/// Told of the step, and how many partitions of how many it has gone through.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(Step, usize, usize);

/// What a rebalance did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rebalanced {
    /// Replicas of partitions that are on another device than before, first assignments among them.
    pub moved: usize,
    /// Removed devices that left the ring.
    pub removed_devices: usize,
    /// Largest difference between what a device has and what it should by weight, in percent of the latter.
    pub balance_percent: f64,
    /// Replicas that are closer together than they need be, in percent of all.
    pub dispersion_percent: f64,
}

/// Which partitions may move.
pub(crate) struct Movable {
    /// By partition, those that may not.
    pub(crate) locked: Vec<bool>,
}

impl Movable {
    #[inline]
    pub(crate) fn is(&self, partition: usize) -> bool {
        !self.locked[partition]
    }

    pub(crate) fn lock(&mut self, partition: usize) {
        self.locked[partition] = true;
    }
}

/// Brings `table` near to `plan`. `table` has the plan's shape; it may have holes.
pub(crate) fn run(
    topology: &Topology,
    plan: &Plan,
    table: &mut Table,
    movable: Movable,
    seed: u64,
    progress: Progress<'_>,
) {
    if table.slots().iter().all(|device| topology.leaf(*device).is_none()) {
        fill::fill(topology, plan, table, seed, progress);
        return;
    }
    let mut work = Work::new(topology, plan, table, movable, seed);
    for class in &plan.classes {
        work.fill_holes(class, progress);
    }
    for class in &plan.classes {
        work.disperse(class, progress);
    }
    work.settle();
    for class in &plan.classes {
        work.balance(class, progress);
    }
    for class in &plan.classes {
        work.exchange(class, progress);
    }
}
