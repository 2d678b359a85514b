//! The ring that servers read.

use crate::device::{Device, DeviceId};
use crate::error::Error;
use crate::handoff::{Domains, Handoffs};
use crate::partition::{PartPower, Partition};
use crate::table::{Shape, Table};

/// A finished assignment of partitions to devices. Does not change; a new one takes its place.
#[derive(Debug, Clone)]
pub struct Ring {
    pub(crate) devices: Vec<Option<Device>>,
    power: PartPower,
    replicas: f64,
    pub(crate) table: Table,
    version: Option<u64>,
    next_part_power: Option<u64>,
    domains: Domains,
}

impl Ring {
    /// Rows of `table` hold devices of `devices`, each at most once, and [`DeviceId::NONE`] only at their end.
    pub(crate) fn new(
        devices: Vec<Option<Device>>,
        power: PartPower,
        replicas: f64,
        table: Table,
        version: Option<u64>,
        next_part_power: Option<u64>,
    ) -> Self {
        let domains = Domains::new(&devices, &table);
        Self { devices, power, replicas, table, version, next_part_power, domains }
    }

    /// The devices that hold the partition, in the order of Swift's primaries. Costs nanoseconds.
    ///
    /// # Panics
    /// When the ring has no such partition.
    #[inline]
    pub fn primaries(&self, partition: Partition) -> &[DeviceId] {
        let mut row = self.table.row(partition.index());
        while let [rest @ .., DeviceId::NONE] = row {
            row = rest;
        }
        row
    }

    /// The other devices in the order in which they stand in for a primary: first from regions that hold
    /// no replica, then from fresh zones, then from fresh hosts, then the rest; among equals in
    /// proportion to what they hold. Every device that holds partitions comes once.
    ///
    /// # Panics
    /// When the ring has no such partition.
    pub fn handoffs(&self, partition: Partition) -> Handoffs<'_> {
        Handoffs::new(&self.table, &self.domains, partition, self.primaries(partition))
    }

    /// A device by its id; `None` where it was removed or never was.
    #[inline]
    pub fn device(&self, id: DeviceId) -> Option<&Device> {
        self.devices.get(id.index())?.as_ref()
    }

    /// The devices in order of their ids.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().flatten()
    }

    /// How many partitions there are, as a power of two.
    pub fn part_power(&self) -> PartPower {
        self.power
    }

    /// All partitions.
    pub fn partitions(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.power.partitions() as u32).map(Partition)
    }

    /// Replicas of a partition, on average.
    pub fn replicas(&self) -> f64 {
        self.replicas
    }

    /// The builder's version when the ring was made; rings of old tools have none.
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// Set by Swift's tools while they double the partitions; kept, and not acted upon.
    pub fn next_part_power(&self) -> Option<u64> {
        self.next_part_power
    }

    /// Checks that every partition has its number of distinct devices.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the first partition that has not.
    pub fn validate(&self) -> Result<(), Error> {
        let shape = Shape::new(self.power, self.replicas)?;
        for partition in self.partitions() {
            let row = self.primaries(partition);
            let refuse = |reason| Err(Error::Invalid { partition, reason });
            let expected = shape.replicas(partition.index());
            if row.len() != expected {
                return refuse(format!("{} replicas are assigned, not {expected}", row.len()));
            }
            for (index, id) in row.iter().enumerate() {
                if self.device(*id).is_none() {
                    return refuse(format!("device {id} is not in the ring"));
                }
                if row[..index].contains(id) {
                    return refuse(format!("device {id} holds two replicas"));
                }
            }
        }
        Ok(())
    }
}
