//! How good an assignment is: balance by device, dispersion by failure domain.

use crate::builder::Builder;
use crate::device::DeviceId;
use crate::error::Error;
use crate::limits::BALANCE_PERCENT_MAX;
use crate::topology::{LEVELS, Node, Topology};

/// One device's share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeviceReport {
    /// Which device.
    pub id: DeviceId,
    /// Replicas assigned to it.
    pub parts: usize,
    /// Replicas that are its due by weight.
    pub wanted: f64,
    /// How much it is above (or below) its due, in percent of that.
    pub balance_percent: f64,
}

/// How a failure domain is used.
#[derive(Debug, Clone, PartialEq)]
pub struct TierReport {
    /// `r1`, `r1z2`, `r1z2-10.0.0.1` or `r1z2-10.0.0.1/sdb1`, as Swift's tools name them.
    pub name: String,
    /// The most replicas of one partition that the domain need hold.
    pub most: usize,
    /// Partitions by the number of replicas that the domain has of them, from 0.
    pub partitions: Vec<usize>,
    /// Replicas above `most`, in percent of those in the domain.
    pub percent: f64,
}

/// How far replicas are apart.
#[derive(Debug, Clone, PartialEq)]
pub struct DispersionReport {
    /// Replicas that are closer together than they need be, in percent of all.
    pub percent: f64,
    /// The overload at which dispersion would be as good as the devices allow.
    pub required_overload: f64,
    /// Every failure domain, regions first.
    pub tiers: Vec<TierReport>,
}

impl Builder {
    /// Every device's share, in order of ids. Those about to leave are not in it.
    ///
    /// # Errors
    /// [`Error::NeverRebalanced`], [`Error::TooFewDevices`].
    pub fn device_reports(&self) -> Result<Vec<DeviceReport>, Error> {
        let table = self.table.as_ref().ok_or(Error::NeverRebalanced)?;
        let topology = self.topology();
        let plan = self.plan(&topology)?;
        let mut parts = vec![0; self.devices.len()];
        for device in table.slots() {
            if let Some(count) = parts.get_mut(device.index()) {
                *count += 1;
            }
        }
        let report = |id: DeviceId| {
            let wanted = plan.weighted_parts[topology.leaf(id)?];
            let parts = parts[id.index()];
            let balance_percent = match (parts, wanted > 0.0) {
                (_, true) => 100.0 * parts as f64 / wanted - 100.0,
                (0, false) => 0.0,
                (_, false) => BALANCE_PERCENT_MAX,
            };
            Some(DeviceReport { id, parts, wanted, balance_percent })
        };
        Ok(self.devices().filter_map(|device| report(device.id)).collect())
    }

    /// The largest deviation of a device from its due, in percent.
    ///
    /// # Errors
    /// [`Error::NeverRebalanced`], [`Error::TooFewDevices`].
    pub fn balance(&self) -> Result<f64, Error> {
        Ok(self.device_reports()?.iter().map(|report| report.balance_percent.abs()).fold(0.0, f64::max))
    }

    /// How far replicas are apart, overall and by domain. As in Swift, the replicas that a domain need
    /// hold are its parent's divided evenly, rounded up at each level.
    ///
    /// # Errors
    /// [`Error::NeverRebalanced`], [`Error::TooFewDevices`].
    pub fn dispersion(&self) -> Result<DispersionReport, Error> {
        let table = self.table.as_ref().ok_or(Error::NeverRebalanced)?;
        let topology = self.topology();
        let plan = self.plan(&topology)?;
        let most = most_replicas(&topology, self.replicas);
        let width = table.width() + 1;
        // `seen[node * width + n]`: partitions with n replicas in the node.
        let mut seen = vec![0_usize; topology.len() * width];
        let mut at_risk = 0;
        let mut nodes: Vec<u32> = Vec::with_capacity(width);
        for partition in 0..table.partitions() {
            let mut worst = 0;
            for level in 0..LEVELS {
                nodes.clear();
                nodes.extend(table.row(partition).iter().map(|device| topology.path(*device)[level]));
                nodes.retain(|node| *node != u32::MAX);
                nodes.sort_unstable();
                let mut excess = 0;
                for group in nodes.chunk_by(|a, b| a == b) {
                    let node = group[0] as Node;
                    seen[node * width + group.len()] += 1;
                    excess += group.len().saturating_sub(most[node]);
                }
                worst = worst.max(excess);
            }
            at_risk += worst;
        }
        let tiers = (0..LEVELS).flat_map(|level| topology.level(level).map(move |node| (level, node)));
        let tiers = tiers.map(|(level, node)| {
            let mut partitions = seen[node * width..(node + 1) * width].to_vec();
            partitions[0] = table.partitions() - partitions.iter().sum::<usize>();
            self.tier_report(&topology, level, node, most[node], partitions)
        });
        Ok(DispersionReport {
            percent: 100.0 * at_risk as f64 / self.shape().slots() as f64,
            required_overload: plan.required_overload,
            tiers: tiers.collect(),
        })
    }

    fn tier_report(
        &self,
        topology: &Topology,
        level: usize,
        node: Node,
        most: usize,
        partitions: Vec<usize>,
    ) -> TierReport {
        let placed: usize = partitions.iter().enumerate().map(|(count, partitions)| count * partitions).sum();
        let excess: usize =
            partitions.iter().enumerate().map(|(count, partitions)| count.saturating_sub(most) * partitions).sum();
        let mut leaf = node;
        while !topology.is_leaf(leaf) {
            leaf = topology.children(leaf).start;
        }
        let device = self.devices[topology.device(leaf).index()].as_ref().expect("the tree is made of the devices");
        let mut name = format!("r{}", device.region.0);
        if level > 0 {
            name += &format!("z{}", device.zone.0);
        }
        if level > 1 {
            name += &format!("-{}", device.ip);
        }
        if level > 2 {
            name += &format!("/{}", device.name);
        }
        let percent = if placed == 0 { 0.0 } else { 100.0 * excess as f64 / placed as f64 };
        TierReport { name, most, partitions, percent }
    }

    /// Checks that every partition has its number of distinct devices, and that all of them are there.
    ///
    /// # Errors
    /// [`Error::NeverRebalanced`], [`Error::Invalid`] with the first partition that breaks a rule.
    pub fn validate(&self) -> Result<(), Error> {
        self.ring()?.validate()
    }
}

fn most_replicas(topology: &Topology, replicas: f64) -> Vec<usize> {
    let mut most = vec![0; topology.len()];
    most[0] = replicas.ceil() as usize;
    for node in 0..topology.len() {
        let children = topology.children(node);
        let share = if children.is_empty() { 0 } else { most[node].div_ceil(children.len()) };
        for child in children {
            most[child] = if topology.is_leaf(child) { share.min(1) } else { share };
        }
    }
    most
}
