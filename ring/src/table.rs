//! The assignments: one row of device ids per partition, rows of equal width, so that a look-up is one
//! multiplication and one cache line.
//!
//! A row may end in [`DeviceId::NONE`]: with 2.5 replicas the first half of the partitions has three
//! devices, the rest two. In a builder a `NONE` within a partition's count is a hole to be filled.

use crate::device::DeviceId;
use crate::error::Error;
use crate::limits::{REPLICAS_MAX, SLOTS_MAX};
use crate::partition::PartPower;
use std::ops::Range;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    partitions: usize,
    width: usize,
    slots: Vec<DeviceId>,
}

impl Table {
    /// A table of holes.
    pub(crate) fn empty(power: PartPower, width: usize) -> Self {
        let partitions = power.partitions();
        Self { partitions, width, slots: vec![DeviceId::NONE; partitions * width] }
    }

    pub(crate) fn partitions(&self) -> usize {
        self.partitions
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// All the places of a partition, also those that hold nothing.
    #[inline]
    pub(crate) fn row(&self, partition: usize) -> &[DeviceId] {
        &self.slots[partition * self.width..(partition + 1) * self.width]
    }

    #[inline]
    pub(crate) fn get(&self, partition: usize, replica: usize) -> DeviceId {
        self.slots[partition * self.width + replica]
    }

    #[inline]
    pub(crate) fn set(&mut self, partition: usize, replica: usize, device: DeviceId) {
        self.slots[partition * self.width + replica] = device;
    }

    pub(crate) fn slots(&self) -> &[DeviceId] {
        &self.slots
    }

    /// A copy whose rows have `shape`'s lengths: what is beyond is dropped, what is new is a hole.
    pub(crate) fn reshaped(&self, shape: Shape) -> Self {
        let mut slots = vec![DeviceId::NONE; self.partitions * shape.width()];
        for (partition, row) in slots.chunks_exact_mut(shape.width().max(1)).enumerate() {
            let kept = self.width.min(shape.replicas(partition));
            row[..kept].copy_from_slice(&self.row(partition)[..kept]);
        }
        Self { partitions: self.partitions, width: shape.width(), slots }
    }
}

/// How many replicas each partition has: `whole`, and one more for the first `extra` partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    partitions: usize,
    whole: usize,
    extra: usize,
}

impl Shape {
    /// # Errors
    /// [`Error::Replicas`], [`Error::TooLarge`].
    pub(crate) fn new(power: PartPower, replicas: f64) -> Result<Self, Error> {
        if !(1.0..=REPLICAS_MAX as f64).contains(&replicas) {
            return Err(Error::Replicas { given: replicas });
        }
        let partitions = power.partitions();
        let extra = (replicas.fract() * partitions as f64) as usize;
        let shape = Self { partitions, whole: replicas as usize, extra };
        let slots = partitions * shape.width();
        if slots > SLOTS_MAX { Err(Error::TooLarge { slots }) } else { Ok(shape) }
    }

    /// Replicas of a partition.
    #[inline]
    pub(crate) fn replicas(&self, partition: usize) -> usize {
        self.whole + usize::from(partition < self.extra)
    }

    /// The most replicas of any partition.
    pub(crate) fn width(&self) -> usize {
        self.whole + usize::from(self.extra > 0)
    }

    /// Assignments in all.
    pub(crate) fn slots(&self) -> usize {
        self.partitions * self.whole + self.extra
    }

    /// Partitions of one replica count each, with that count; one range or two.
    pub(crate) fn ranges(&self) -> Vec<(Range<usize>, usize)> {
        let mut ranges = vec![(0..self.extra, self.whole + 1), (self.extra..self.partitions, self.whole)];
        ranges.retain(|(range, _)| !range.is_empty());
        ranges
    }
}
