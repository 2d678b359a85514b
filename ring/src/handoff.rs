//! Stand-ins for primaries that do not answer.
//!
//! Candidates are read from the table itself, starting at a place that depends on the partition, so that
//! they come up in proportion to what they hold and stay mostly the same when the ring changes. A step
//! (fresh region, zone, host, any) that has probed enough goes through the devices in order, so that
//! nothing is left out and the cost is bounded.

use crate::device::{Device, DeviceId};
use crate::limits::HANDOFF_PROBES_MAX;
use crate::partition::Partition;
use crate::random::mix;
use crate::table::Table;
use crate::topology::{LEVELS, NO_PATH, Path, Topology};

/// Regions, zones and hosts of the devices that hold partitions.
#[derive(Debug, Clone)]
pub(crate) struct Domains {
    paths: Vec<Path>,
    /// Devices that hold partitions.
    holders: Vec<DeviceId>,
    /// How many regions, zones, hosts and devices there are among the holders.
    sizes: [usize; LEVELS],
    nodes: usize,
}

impl Domains {
    pub(crate) fn new(devices: &[Option<Device>], table: &Table) -> Self {
        let mut holds = vec![false; devices.len()];
        for device in table.slots() {
            if let Some(holds) = holds.get_mut(device.index()) {
                *holds = true;
            }
        }
        let holders: Vec<&Device> = devices.iter().flatten().filter(|device| holds[device.id.index()]).collect();
        let topology = Topology::new(holders.iter().copied());
        Self {
            paths: (0..devices.len()).map(|index| *topology.path(DeviceId(index as u16))).collect(),
            holders: holders.iter().map(|device| device.id).collect(),
            sizes: std::array::from_fn(|level| topology.level(level).len()),
            nodes: topology.len(),
        }
    }

    fn path(&self, device: DeviceId) -> &Path {
        self.paths.get(device.index()).unwrap_or(&NO_PATH)
    }
}

/// Iterator over the devices beyond a partition's primaries, best first.
#[derive(Debug, Clone)]
pub struct Handoffs<'a> {
    table: &'a Table,
    domains: &'a Domains,
    /// One bit per node of the tree that has been used.
    used: Vec<u64>,
    used_count: [usize; LEVELS],
    /// 0: fresh region; 1: zone; 2: host; 3: any device.
    level: usize,
    start: usize,
    probe: usize,
}

impl<'a> Handoffs<'a> {
    pub(crate) fn new(table: &'a Table, domains: &'a Domains, partition: Partition, primaries: &[DeviceId]) -> Self {
        let mut handoffs = Self {
            table,
            domains,
            used: vec![0; domains.nodes.div_ceil(64)],
            used_count: [0; LEVELS],
            level: 0,
            start: mix(u64::from(partition.0)) as usize,
            probe: 0,
        };
        for device in primaries {
            handoffs.mark(*device);
        }
        handoffs
    }

    fn is_used(&self, node: u32) -> bool {
        self.used[node as usize / 64] & (1 << (node % 64)) != 0
    }

    fn mark(&mut self, device: DeviceId) {
        let path = *self.domains.path(device);
        if path == NO_PATH {
            return;
        }
        for (level, node) in path.into_iter().enumerate() {
            if !self.is_used(node) {
                self.used[node as usize / 64] |= 1 << (node % 64);
                self.used_count[level] += 1;
            }
        }
    }

    /// The candidate of the present probe: of the table first, then of all holders.
    fn candidate(&self) -> Option<DeviceId> {
        let slots = self.table.slots();
        if self.probe < HANDOFF_PROBES_MAX {
            return Some(slots[self.start.wrapping_add(self.probe) % slots.len()]);
        }
        let index = self.probe - HANDOFF_PROBES_MAX;
        let holders = &self.domains.holders;
        (index < holders.len()).then(|| holders[(self.start % holders.len() + index) % holders.len()])
    }
}

impl Iterator for Handoffs<'_> {
    type Item = DeviceId;

    fn next(&mut self) -> Option<DeviceId> {
        while self.level < LEVELS {
            let exhausted = self.used_count[self.level] == self.domains.sizes[self.level];
            let Some(device) = self.candidate().filter(|_| !exhausted) else {
                (self.level, self.probe) = (self.level + 1, 0);
                continue;
            };
            self.probe += 1;
            let path = *self.domains.path(device);
            if path != NO_PATH && !self.is_used(path[self.level]) {
                self.mark(device);
                return Some(device);
            }
        }
        None
    }
}
