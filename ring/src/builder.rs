//! The builder: devices, rules and assignments, and what an operator does to them.
//!
//! Changes of devices and rules take effect with the next [`Builder::rebalance`]. Times are those that
//! the caller gives, kept in minutes, since a partition's rest is counted in hours.

use crate::device::{Device, DeviceId, Region, Zone};
use crate::error::Error;
use crate::limits::DEVICES_MAX;
use crate::partition::PartPower;
use crate::plan::Plan;
use crate::rebalance::{self, Movable, Rebalanced, Step};
use crate::ring::Ring;
use crate::table::{Shape, Table};
use crate::topology::Topology;
use anello_base::Timestamp;
use std::collections::BTreeSet;

/// Devices and rules from which rings are made.
#[derive(Debug, Clone, PartialEq)]
pub struct Builder {
    pub(crate) power: PartPower,
    pub(crate) replicas: f64,
    pub(crate) min_part_hours: u16,
    pub(crate) overload: f64,
    /// Counts changes.
    pub(crate) version: u64,
    /// By id; holes are removed devices.
    pub(crate) devices: Vec<Option<Device>>,
    /// Devices that leave with the next rebalance.
    pub(crate) leaving: BTreeSet<DeviceId>,
    /// `None` before the first rebalance.
    pub(crate) table: Option<Table>,
    /// Minute since 1970 in which a partition was last moved; 0 for long ago.
    pub(crate) moved_at: Vec<u32>,
}

impl Builder {
    /// A builder without devices. `replicas` may have a fraction: with 2.5 half of the partitions have three.
    ///
    /// # Errors
    /// [`Error::Replicas`], [`Error::TooLarge`].
    pub fn new(power: PartPower, replicas: f64, min_part_hours: u16) -> Result<Self, Error> {
        Shape::new(power, replicas)?;
        Ok(Self {
            power,
            replicas,
            min_part_hours,
            overload: 0.0,
            version: 0,
            devices: Vec::new(),
            leaving: BTreeSet::new(),
            table: None,
            moved_at: vec![0; power.partitions()],
        })
    }

    /// A builder from a ring whose own builder was lost. What a ring does not hold takes the values of a
    /// new builder: no overload, no partition moved lately.
    ///
    /// # Errors
    /// [`Error::Replicas`], [`Error::TooLarge`].
    pub fn from_ring(ring: &Ring, min_part_hours: u16) -> Result<Self, Error> {
        let mut builder = Self::new(ring.part_power(), ring.replicas(), min_part_hours)?;
        builder.devices = ring.devices.clone();
        builder.version = ring.version().unwrap_or(0);
        builder.table = Some(ring.table.reshaped(builder.shape()));
        Ok(builder)
    }

    /// How many partitions there are, as a power of two.
    pub fn part_power(&self) -> PartPower {
        self.power
    }

    /// Replicas of a partition, on average.
    pub fn replicas(&self) -> f64 {
        self.replicas
    }

    /// Hours for which a partition rests after a move.
    pub fn min_part_hours(&self) -> u16 {
        self.min_part_hours
    }

    /// Share of its weighted amount that a device may get on top for the sake of dispersion (0.1: ten percent).
    pub fn overload(&self) -> f64 {
        self.overload
    }

    /// Grows with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The devices in order of their ids, those about to leave among them.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().flatten()
    }

    /// Whether the device leaves with the next rebalance.
    pub fn is_leaving(&self, id: DeviceId) -> bool {
        self.leaving.contains(&id)
    }

    /// Adds a device; its `id` is set here. It gets partitions with the next rebalance.
    ///
    /// # Errors
    /// [`Error::DeviceField`], [`Error::Weight`], [`Error::DeviceExists`], [`Error::TooManyDevices`].
    pub fn add(&mut self, device: Device) -> Result<DeviceId, Error> {
        let mut device = device.checked()?;
        if let Some(other) = self.devices().find(|other| other.is_same_disk(&device)) {
            return Err(Error::DeviceExists { id: other.id, place: other.place() });
        }
        let index = if self.devices.len() < DEVICES_MAX {
            self.devices.push(None);
            self.devices.len() - 1
        } else {
            self.devices.iter().position(Option::is_none).ok_or(Error::TooManyDevices)?
        };
        device.id = DeviceId(index as u16);
        self.version += 1;
        let id = device.id;
        self.devices[index] = Some(device);
        Ok(id)
    }

    /// Marks a device as lost: the next rebalance gives all its partitions to others, also those that
    /// were moved lately. To empty a device that still works, set its weight to 0 first.
    ///
    /// # Errors
    /// [`Error::DeviceMissing`].
    pub fn remove(&mut self, id: DeviceId) -> Result<(), Error> {
        self.device_mut(id)?;
        self.leaving.insert(id);
        self.version += 1;
        Ok(())
    }

    /// # Errors
    /// [`Error::DeviceMissing`], [`Error::Weight`].
    pub fn set_weight(&mut self, id: DeviceId, weight: f64) -> Result<(), Error> {
        if !weight.is_finite() || weight < 0.0 {
            return Err(Error::Weight { given: weight });
        }
        self.device_mut(id)?.weight = weight;
        self.version += 1;
        Ok(())
    }

    /// Moves a device to another region or zone.
    ///
    /// # Errors
    /// [`Error::DeviceMissing`].
    pub fn set_domain(&mut self, id: DeviceId, region: Region, zone: Zone) -> Result<(), Error> {
        let device = self.device_mut(id)?;
        (device.region, device.zone) = (region, zone);
        self.version += 1;
        Ok(())
    }

    /// Replaces a device's addresses, name and remark by those of `device`; id, weight, region and zone stay.
    ///
    /// # Errors
    /// [`Error::DeviceMissing`], [`Error::DeviceField`], [`Error::DeviceExists`].
    pub fn set_info(&mut self, id: DeviceId, device: Device) -> Result<(), Error> {
        let old = self.device_mut(id)?.clone();
        let new = Device { id, region: old.region, zone: old.zone, weight: old.weight, ..device }.checked()?;
        if let Some(other) = self.devices().find(|other| other.id != id && other.is_same_disk(&new)) {
            return Err(Error::DeviceExists { id: other.id, place: other.place() });
        }
        *self.device_mut(id)? = new;
        self.version += 1;
        Ok(())
    }

    /// # Errors
    /// [`Error::Replicas`], [`Error::TooLarge`].
    pub fn set_replicas(&mut self, replicas: f64) -> Result<(), Error> {
        Shape::new(self.power, replicas)?;
        self.replicas = replicas;
        self.version += 1;
        Ok(())
    }

    /// # Errors
    /// [`Error::Overload`].
    pub fn set_overload(&mut self, overload: f64) -> Result<(), Error> {
        if !overload.is_finite() || overload < 0.0 {
            return Err(Error::Overload { given: overload });
        }
        self.overload = overload;
        self.version += 1;
        Ok(())
    }

    /// Sets how long a partition rests after a move.
    pub fn set_min_part_hours(&mut self, hours: u16) {
        self.min_part_hours = hours;
        self.version += 1;
    }

    /// Forgets when partitions were moved. Data may be unreachable for a while if they were moved lately.
    pub fn pretend_min_part_hours_passed(&mut self) {
        self.moved_at.fill(0);
        self.version += 1;
    }

    /// How many partitions rest at `now` because they were moved lately.
    pub fn resting(&self, now: Timestamp) -> usize {
        self.moved_at.iter().filter(|moved| self.rests(**moved, minute(now))).count()
    }

    /// Assigns what has no device, and moves what is in the wrong place: at most one replica of a
    /// partition, and none of a partition that was moved less than `min_part_hours` before `now`; but
    /// replicas on removed devices move in any case. The same builder, time and seed give the same ring.
    ///
    /// `progress` hears which step it is in, and how many of how many partitions are done.
    ///
    /// # Errors
    /// [`Error::TooFewDevices`]; the builder is then as it was.
    pub fn rebalance(
        &mut self,
        now: Timestamp,
        seed: u64,
        progress: &mut dyn FnMut(Step, usize, usize),
    ) -> Result<Rebalanced, Error> {
        let shape = self.shape();
        let topology = self.topology();
        let plan = self.plan(&topology)?;
        let old = self.table.take();
        let mut table = match &old {
            Some(old) => old.reshaped(shape),
            None => Table::empty(self.power, shape.width()),
        };
        for partition in 0..table.partitions() {
            for replica in 0..table.width() {
                let device = table.get(partition, replica);
                if device != DeviceId::NONE && topology.leaf(device).is_none() {
                    table.set(partition, replica, DeviceId::NONE);
                }
            }
        }
        let minute = minute(now);
        let locked = self.moved_at.iter().map(|moved| self.rests(*moved, minute)).collect();
        rebalance::run(&topology, &plan, &mut table, Movable { locked }, seed, progress);

        let moved = self.note_moves(old.as_ref(), &table, shape, minute);
        let removed_devices = self.leaving.len();
        for id in std::mem::take(&mut self.leaving) {
            self.devices[id.index()] = None;
        }
        self.table = Some(table);
        self.version += 1;
        let (balance_percent, dispersion_percent) = (self.balance()?, self.dispersion()?.percent);
        Ok(Rebalanced { moved, removed_devices, balance_percent, dispersion_percent })
    }

    /// The ring for servers to read.
    ///
    /// # Errors
    /// [`Error::NeverRebalanced`].
    pub fn ring(&self) -> Result<Ring, Error> {
        let table = self.table.clone().ok_or(Error::NeverRebalanced)?;
        Ok(Ring::new(self.devices.clone(), self.power, self.replicas, table, Some(self.version), None))
    }

    pub(crate) fn shape(&self) -> Shape {
        Shape::new(self.power, self.replicas).expect("checked whenever it is set")
    }

    /// The tree of the devices that stay.
    pub(crate) fn topology(&self) -> Topology {
        Topology::new(self.devices().filter(|device| !self.leaving.contains(&device.id)))
    }

    pub(crate) fn plan(&self, topology: &Topology) -> Result<Plan, Error> {
        let mut weights = vec![0.0; topology.len()];
        for device in self.devices() {
            if let Some(leaf) = topology.leaf(device.id) {
                weights[leaf] = device.weight;
            }
        }
        Plan::new(topology, &weights, self.shape(), self.overload)
    }

    /// A clock that went back must not wake a partition early, nor let it rest for years.
    fn rests(&self, moved_at: u32, now: u32) -> bool {
        moved_at != 0 && now.abs_diff(moved_at) < u32::from(self.min_part_hours) * 60
    }

    /// Counts the replicas that are elsewhere than in `old`, and notes the time for their partitions.
    fn note_moves(&mut self, old: Option<&Table>, new: &Table, shape: Shape, minute: u32) -> usize {
        let mut moved = 0;
        for (partition, moved_at) in self.moved_at.iter_mut().enumerate() {
            let count = shape.replicas(partition);
            let row = &new.row(partition)[..count];
            let changed = match old {
                None => count,
                Some(old) => {
                    let old_row = old.row(partition).iter().copied().chain(std::iter::repeat(DeviceId::NONE));
                    row.iter().zip(old_row).filter(|(new, old)| **new != *old).count()
                }
            };
            if changed > 0 {
                *moved_at = minute;
            }
            moved += changed;
        }
        moved
    }

    fn device_mut(&mut self, id: DeviceId) -> Result<&mut Device, Error> {
        if self.leaving.contains(&id) {
            return Err(Error::DeviceMissing(id));
        }
        self.devices.get_mut(id.index()).and_then(Option::as_mut).ok_or(Error::DeviceMissing(id))
    }
}

/// Minutes since 1970; 0 is kept for "long ago".
fn minute(now: Timestamp) -> u32 {
    ((now.seconds() / 60) as u32).max(1)
}
