//! Moves in pairs: where a replica finds no hungry device that the bounds allow, another replica makes
//! room for it and goes to a hungry device itself. Both succeed or neither is done.

use super::place::Aim;
use super::work::{REPORT_EVERY, Slot, Work};
use super::{Progress, Step};
use crate::limits::{EXCHANGE_TRIES, EXCHANGES_MAX};
use crate::plan::Class;

impl Work<'_> {
    /// Fills the hole by taking the device of another slot that was a hole in this rebalance too, so
    /// that nothing moves which would not move anyway.
    pub(super) fn fill_by_exchange(&mut self, hole: Slot) -> bool {
        for _ in 0..EXCHANGE_TRIES.min(self.filled.len()) {
            let other = self.filled[self.random.below(self.filled.len() as u32) as usize];
            if other.partition != hole.partition && self.exchange_with(hole, other) {
                return true;
            }
        }
        false
    }

    /// Relieves the devices that are still overfull, at the price of two moves each.
    pub(super) fn exchange(&mut self, class: &Class, progress: Progress<'_>) {
        let total = self.table.partitions();
        let mut attempts = 0;
        for (done, partition) in self.scattered(class, 4).enumerate() {
            if self.surplus == 0 || attempts == EXCHANGES_MAX {
                break;
            }
            if done % REPORT_EVERY == 0 {
                progress(Step::Exchange, done, total);
            }
            let slots = (0..class.replicas).map(|replica| Slot { partition, replica });
            let fullest = slots.max_by_key(|slot| self.surplus_of(*slot));
            let Some(slot) = fullest.filter(|slot| self.movable.is(partition) && self.surplus_of(*slot) > 0) else {
                continue;
            };
            attempts += 1;
            let from = self.take(slot);
            if !self.relieve_by_exchange(slot) {
                self.put(slot, from);
            }
        }
    }

    fn relieve_by_exchange(&mut self, slot: Slot) -> bool {
        for _ in 0..EXCHANGE_TRIES {
            let partition = self.random.below(self.table.partitions() as u32) as usize;
            let replicas = self.plan.class(partition).replicas;
            let other = Slot { partition, replica: self.random.below(replicas as u32) as usize };
            if partition != slot.partition && self.movable.is(partition) && self.exchange_with(slot, other) {
                self.movable.lock(slot.partition);
                self.movable.lock(partition);
                return true;
            }
        }
        false
    }

    /// Places the empty slot `first`, for which `second` leaves its device and is placed anew.
    fn exchange_with(&mut self, first: Slot, second: Slot) -> bool {
        let was = self.take(second);
        if let Some(leaf) = self.place(first.partition, Aim::Hungry) {
            self.put(first, leaf);
            if let Some(other) = self.place(second.partition, Aim::Hungry) {
                self.put(second, other);
                return true;
            }
            self.take(first);
        }
        self.put(second, was);
        false
    }
}
