//! The tree of failure domains: all, regions, zones, hosts, devices.
//!
//! Nodes are numbered level by level, so that a node's children are consecutive and a walk over them
//! is a walk over an array. Node 0 is the root; the leaves are devices.

use crate::device::{Device, DeviceId};
use std::ops::Range;

/// Levels below the root: region, zone, host, device.
pub(crate) const LEVELS: usize = 4;

/// Index of a node.
pub(crate) type Node = usize;

/// A device's nodes from its region down to itself. `u32`, so that four devices share a cache line.
pub(crate) type Path = [u32; LEVELS];

/// Stands for "this device is not in the tree".
pub(crate) const NO_PATH: Path = [u32::MAX; LEVELS];

#[derive(Debug)]
pub(crate) struct Topology {
    children: Vec<Range<Node>>,
    device: Vec<DeviceId>,
    level_start: [Node; LEVELS + 1],
    paths: Vec<Path>,
}

impl Topology {
    /// The tree over `devices`. Their order does not matter.
    pub(crate) fn new<'a>(devices: impl Iterator<Item = &'a Device>) -> Self {
        let mut sorted: Vec<&Device> = devices.collect();
        sorted.sort_by(|a, b| (a.region, a.zone, a.ip.as_str(), a.id).cmp(&(b.region, b.zone, b.ip.as_str(), b.id)));
        let differ = |a: &Device, b: &Device, level: usize| match level {
            0 => a.region != b.region,
            1 => a.zone != b.zone,
            2 => a.ip != b.ip,
            _ => true,
        };
        let ids = sorted.iter().map(|device| device.id.index() + 1).max().unwrap_or(0);
        let mut tree = Self {
            children: Vec::new(),
            device: vec![DeviceId::NONE],
            level_start: [1; LEVELS + 1],
            paths: vec![NO_PATH; ids],
        };
        let mut groups = Vec::from([Range { start: 0, end: sorted.len() }]);
        for level in 0..LEVELS {
            tree.level_start[level] = tree.device.len();
            groups = tree.split(&groups, &sorted, level, |a, b| differ(a, b, level));
        }
        tree.level_start[LEVELS] = tree.device.len();
        tree.children.resize(tree.device.len(), 0..0);
        tree
    }

    /// Splits the groups of one level into those of the next, and numbers them.
    fn split(
        &mut self,
        groups: &[Range<usize>],
        sorted: &[&Device],
        level: usize,
        differ: impl Fn(&Device, &Device) -> bool,
    ) -> Vec<Range<usize>> {
        let mut parts = Vec::new();
        for group in groups {
            let first = self.device.len();
            for position in group.clone() {
                if position == group.start || differ(sorted[position - 1], sorted[position]) {
                    parts.push(position..position);
                    self.device.push(DeviceId::NONE);
                }
                let node = self.device.len() - 1;
                parts.last_mut().expect("the first of a group opens a part").end = position + 1;
                let id = sorted[position].id;
                self.paths[id.index()][level] = node as u32;
                if level == LEVELS - 1 {
                    self.device[node] = id;
                }
            }
            self.children.push(first..self.device.len());
        }
        parts
    }

    /// How many nodes there are, the root among them.
    pub(crate) fn len(&self) -> usize {
        self.device.len()
    }

    #[inline]
    pub(crate) fn children(&self, node: Node) -> Range<Node> {
        self.children[node].clone()
    }

    /// The device of a leaf; [`DeviceId::NONE`] for an inner node.
    #[inline]
    pub(crate) fn device(&self, node: Node) -> DeviceId {
        self.device[node]
    }

    #[inline]
    pub(crate) fn is_leaf(&self, node: Node) -> bool {
        node >= self.level_start[LEVELS - 1]
    }

    /// The nodes of one level: 0 for regions to 3 for devices.
    pub(crate) fn level(&self, level: usize) -> Range<Node> {
        self.level_start[level]..self.level_start[level + 1]
    }

    /// The nodes over a device, [`NO_PATH`] where it is not in the tree.
    #[inline]
    pub(crate) fn path(&self, device: DeviceId) -> &Path {
        self.paths.get(device.index()).unwrap_or(&NO_PATH)
    }

    /// The leaf of a device, where it is in the tree.
    pub(crate) fn leaf(&self, device: DeviceId) -> Option<Node> {
        let leaf = self.path(device)[LEVELS - 1];
        (leaf != u32::MAX).then_some(leaf as usize)
    }

    /// Values of leaves summed up into all nodes.
    pub(crate) fn sum_up<T: Copy + Default + std::ops::AddAssign>(&self, values: &mut [T]) {
        for node in (0..self.len()).rev() {
            if self.is_leaf(node) {
                continue;
            }
            let mut sum = T::default();
            for child in self.children(node) {
                sum += values[child];
            }
            values[node] = sum;
        }
    }
}
