//! How many replicas each failure domain should hold: the target of a rebalance.
//!
//! Two ideals pull at it. By *weight*, a device gets its share of the replicas, though never more than
//! one replica of a partition. By *dispersion*, replicas are spread over regions, zones and hosts as
//! evenly as their numbers allow, and weights decide only within that. Overload says how far (as a
//! share of its weighted amount) a device may be loaded for dispersion's sake, and the target is a point
//! on the line between the two. Every domain's target is the sum of its children's at each point.
//!
//! A target of 1.3 replicas means that a partition has one or two there, never none or three: the
//! bounds of [`Class`]. An assignment that meets all bounds and all quotas always exists.

use crate::error::Error;
use crate::table::Shape;
use crate::topology::{Node, Topology};
use std::ops::Range;

/// Replica counts nearer than this to a whole number are that number; far above the error of sums of
/// 65,535 doubles, far below one partition.
const EPSILON: f64 = 1e-9;

/// Halvings in the search for a scale: as many as a double has bits to gain from it.
const BISECTIONS: usize = 100;

/// Partitions with one replica count, and what holds for each of them.
#[derive(Debug)]
pub(crate) struct Class {
    /// Which partitions.
    pub(crate) partitions: Range<usize>,
    /// Replicas of each.
    pub(crate) replicas: usize,
    /// Target replicas, by node.
    target: Vec<f64>,
    /// Fewest replicas that a partition should have in a node.
    pub(crate) floor: Vec<u8>,
    /// Most replicas that a partition should have in a node.
    pub(crate) ceil: Vec<u8>,
    /// Nodes some child of which has a floor.
    pub(crate) has_floors: Vec<bool>,
    /// All nodes with a floor but the root.
    pub(crate) floors: Vec<Node>,
}

/// The target of a rebalance.
#[derive(Debug)]
pub(crate) struct Plan {
    /// One class, or two where the replica count has a fraction.
    pub(crate) classes: Vec<Class>,
    /// Assignments that each node gets by weight alone.
    pub(crate) weighted_parts: Vec<f64>,
    /// Overload at which dispersion is fully reached.
    pub(crate) required_overload: f64,
}

impl Plan {
    /// Plans for devices with `weights` (by leaf; other entries are not read).
    ///
    /// # Errors
    /// [`Error::TooFewDevices`].
    pub(crate) fn new(topology: &Topology, weights: &[f64], shape: Shape, overload: f64) -> Result<Self, Error> {
        let mut usable = vec![0_u32; topology.len()];
        for leaf in topology.level(3) {
            usable[leaf] = u32::from(weights[leaf] > 0.0);
        }
        topology.sum_up(&mut usable);
        if (usable[0] as usize) < shape.width() {
            return Err(Error::TooFewDevices { replicas: shape.width() as f64, devices: usable[0] as usize });
        }
        let mut plan = Self { classes: Vec::new(), weighted_parts: vec![0.0; topology.len()], required_overload: 0.0 };
        for (partitions, replicas) in shape.ranges() {
            let weighted = by_weight(topology, weights, replicas);
            let dispersed = by_dispersion(topology, &weighted, &usable, replicas);
            let required = required_overload(topology, &weighted, &dispersed);
            let share = if required > overload { overload / required } else { 1.0 };
            let target = weighted.iter().zip(&dispersed).map(|(w, d)| w + (d - w) * share).collect();
            plan.required_overload = plan.required_overload.max(required);
            for (parts, weighted) in plan.weighted_parts.iter_mut().zip(&weighted) {
                *parts += weighted * partitions.len() as f64;
            }
            plan.classes.push(Class::new(topology, partitions, replicas, target));
        }
        Ok(plan)
    }

    /// Whole numbers of assignments by node that sum up exactly. Where rounding leaves a choice, it
    /// keeps what is there (`current`, by node), so that nothing moves for a fraction of a partition.
    pub(crate) fn quotas(&self, topology: &Topology, current: &[u32]) -> Vec<u32> {
        let classes: Vec<&Class> = self.classes.iter().collect();
        quotas(topology, &classes, current)
    }

    /// The class of a partition.
    #[inline]
    pub(crate) fn class(&self, partition: usize) -> &Class {
        let first = &self.classes[0];
        if first.partitions.contains(&partition) { first } else { &self.classes[1] }
    }

    /// The target of a node in assignments, rounded down and up.
    pub(crate) fn bounds(&self, node: Node) -> (u32, u32) {
        bounds(self.classes.iter(), node)
    }
}

impl Class {
    fn new(topology: &Topology, partitions: Range<usize>, replicas: usize, target: Vec<f64>) -> Self {
        let floor: Vec<u8> = target.iter().map(|target| (target + EPSILON).floor() as u8).collect();
        let ceil = target.iter().map(|target| (target - EPSILON).ceil() as u8).collect();
        let has_floors =
            (0..topology.len()).map(|node| topology.children(node).any(|child| floor[child] > 0)).collect();
        let floors = (1..topology.len()).filter(|node| floor[*node] > 0).collect();
        Self { partitions, replicas, target, floor, ceil, has_floors, floors }
    }

    /// Quotas of this class alone, for an assignment from nothing.
    pub(crate) fn quotas(&self, topology: &Topology) -> Vec<u32> {
        quotas(topology, &[self], &vec![0; topology.len()])
    }
}

/// The level at which `values` must be cut off for their sum to be `total`: solves
/// Σ clamp(scale × value, low, high) = total for `scale`.
fn scale_for(total: f64, bounded: &[(f64, f64, f64)]) -> f64 {
    let sum = |scale: f64| bounded.iter().map(|(value, low, high)| (value * scale).clamp(*low, *high)).sum::<f64>();
    let (mut low, mut high) = (0.0, 1.0);
    while sum(high) < total && high < 1e18 {
        high *= 2.0;
    }
    for _ in 0..BISECTIONS {
        let middle = (low + high) / 2.0;
        if sum(middle) < total { low = middle } else { high = middle }
    }
    high
}

/// Replicas by node when only weights count; no device gets more than one of a partition's replicas.
fn by_weight(topology: &Topology, weights: &[f64], replicas: usize) -> Vec<f64> {
    let mut leaves: Vec<Node> = topology.level(3).filter(|leaf| weights[*leaf] > 0.0).collect();
    leaves.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]));
    // Sums from the lightest on, so that a heavy device's weight does not swallow the light ones'.
    let mut rests: Vec<f64> = leaves.iter().map(|leaf| weights[*leaf]).collect();
    for index in (1..rests.len()).rev() {
        rests[index - 1] += rests[index];
    }
    let mut left = replicas as f64;
    let mut result = vec![0.0; topology.len()];
    let (mut capped, mut scale) = (true, 0.0);
    for (leaf, rest) in leaves.into_iter().zip(rests) {
        if capped {
            scale = left / rest;
            capped = weights[leaf] * scale > 1.0 - EPSILON;
        }
        result[leaf] = if capped { left.min(1.0) } else { weights[leaf] * scale };
        left -= result[leaf];
    }
    topology.sum_up(&mut result);
    result
}

/// Replicas by node when they are spread as evenly as the numbers of domains and devices allow.
fn by_dispersion(topology: &Topology, weighted: &[f64], usable: &[u32], replicas: usize) -> Vec<f64> {
    let mut result = vec![0.0; topology.len()];
    result[0] = replicas as f64;
    for node in 0..topology.len() {
        let children: Vec<Node> = topology.children(node).filter(|child| usable[*child] > 0).collect();
        if children.is_empty() {
            continue;
        }
        let even: Vec<_> = children.iter().map(|child| (1.0, 0.0, f64::from(usable[*child]))).collect();
        let level = scale_for(result[node], &even);
        let bounded: Vec<_> = children
            .iter()
            .map(|child| {
                let share = level.min(f64::from(usable[*child]));
                (weighted[*child], (share + EPSILON).floor(), (share - EPSILON).ceil())
            })
            .collect();
        let scale = scale_for(result[node], &bounded);
        for (child, (value, low, high)) in children.iter().zip(&bounded) {
            result[*child] = (value * scale).clamp(*low, *high);
        }
    }
    topology.sum_up(&mut result);
    result
}

fn required_overload(topology: &Topology, weighted: &[f64], dispersed: &[f64]) -> f64 {
    let excess = topology.level(3).filter(|leaf| weighted[*leaf] > 0.0).map(|leaf| dispersed[leaf] / weighted[leaf]);
    let excess = excess.fold(1.0, f64::max) - 1.0;
    if excess < EPSILON { 0.0 } else { excess }
}

/// From the root down, gives each child the whole part of its target, and what then is left to those
/// that have it already, then to those with the largest fraction.
fn quotas(topology: &Topology, classes: &[&Class], current: &[u32]) -> Vec<u32> {
    let slots = classes.iter().map(|class| class.partitions.len() * class.replicas).sum::<usize>();
    let partitions = classes.iter().map(|class| class.partitions.len()).sum::<usize>() as u32;
    let mut quota = vec![0_u32; topology.len()];
    quota[0] = slots as u32;
    for node in 0..topology.len() {
        let children: Vec<Child> = topology
            .children(node)
            .map(|child| Child::new(topology, classes, child, current[child], partitions))
            .collect();
        distribute(quota[node], children, &mut quota);
    }
    quota
}

/// Each class's target in assignments is rounded by itself, for each is assigned by itself.
fn bounds<'a>(classes: impl Iterator<Item = &'a Class>, node: Node) -> (u32, u32) {
    let (mut low, mut high) = (0, 0);
    for class in classes {
        let count = class.partitions.len() as f64;
        let (share, slack) = (class.target[node] * count, 1e-6 + EPSILON * count);
        let floor = (share + slack).floor() as u32;
        low += floor;
        high += ((share - slack).ceil() as u32).max(floor);
    }
    (low, high)
}

/// What a node may get.
struct Child {
    node: Node,
    low: u32,
    high: u32,
    /// More than this no device can hold; `u32::MAX` for an inner node.
    most: u32,
    target: f64,
    current: u32,
}

impl Child {
    fn new(topology: &Topology, classes: &[&Class], node: Node, current: u32, partitions: u32) -> Self {
        let (low, high) = bounds(classes.iter().copied(), node);
        let target = classes.iter().map(|class| class.target[node] * class.partitions.len() as f64).sum();
        let most = if topology.is_leaf(node) { partitions } else { u32::MAX };
        Self { node, low, high, most, target, current }
    }

    /// What the child would keep by itself.
    fn wish(&self) -> u32 {
        self.current.clamp(self.low, self.high)
    }
}

fn distribute(total: u32, mut children: Vec<Child>, quota: &mut [u32]) {
    children.sort_by(|a, b| (b.target - f64::from(b.low)).total_cmp(&(a.target - f64::from(a.low))));
    let mut left = i64::from(total);
    for child in &children {
        quota[child.node] = child.low;
        left -= i64::from(child.low);
    }
    for limit in [Child::wish, |child: &Child| child.high, |child: &Child| child.most] {
        for child in &children {
            let more = i64::from(limit(child) - quota[child.node].min(limit(child))).min(left).max(0);
            // Past its bounds (only rounding errors lead there) a child takes one at a time.
            quota[child.node] += more as u32;
            left -= more;
        }
    }
    // Rounding errors may also have given out too much; the smallest fractions give it back.
    for child in children.iter().rev() {
        if left < 0 && quota[child.node] > 0 {
            quota[child.node] -= 1;
            left += 1;
        }
    }
    debug_assert!(children.is_empty() || left == 0, "{left} of {total} assignments could not be given out");
}
