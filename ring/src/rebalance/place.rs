//! Finds a device for one replica of a partition, from the root of the tree down.

use super::work::Work;
use crate::plan::Class;
use crate::topology::{LEVELS, NO_PATH, Node};

/// What a place must be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// Within the plan's bounds, on a device that has less than its quota.
    Hungry,
    /// Within the plan's bounds, on the device that is least over its quota.
    Bounds,
    /// On any device with a weight that has no replica of the partition; as few violations as possible.
    Distinct,
}

impl Work<'_> {
    /// Makes `partition` the one under work.
    fn load(&mut self, partition: usize) {
        let paths = self.table.row(partition).iter().map(|device| *self.topology.path(*device));
        self.paths.clear();
        self.paths.extend(paths.filter(|path| *path != NO_PATH));
    }

    /// Replicas of the partition under work within a node of the given level (0 for regions).
    #[inline]
    fn count(&self, level: usize, node: Node) -> u8 {
        self.paths.iter().map(|path| u8::from(path[level] as Node == node)).sum()
    }

    /// By how many replicas, over all nodes, the partition is outside the plan's bounds.
    pub(super) fn violations(&mut self, partition: usize) -> u32 {
        self.load(partition);
        let class = self.plan.class(partition);
        let mut sum = 0;
        for (index, path) in self.paths.iter().enumerate() {
            for level in 0..LEVELS {
                let node = path[level] as Node;
                // Each node is counted once, where it first appears.
                if self.paths[..index].iter().any(|other| other[level] == path[level]) {
                    continue;
                }
                sum += u32::from(self.count(level, node).saturating_sub(class.ceil[node]));
            }
        }
        for node in &class.floors {
            let level = (0..LEVELS).find(|level| self.topology.level(*level).contains(node)).unwrap_or(0);
            sum += u32::from(class.floor[*node].saturating_sub(self.count(level, *node)));
        }
        sum
    }

    /// A leaf for one more replica of the partition; the aim says which.
    pub(super) fn place(&mut self, partition: usize, aim: Aim) -> Option<Node> {
        if aim == Aim::Hungry && self.hunger[0] == 0 {
            return None;
        }
        self.load(partition);
        let class = self.plan.class(partition);
        match aim {
            Aim::Hungry => self.draw(class).or_else(|| self.search(class, 0, 0)),
            Aim::Bounds => {
                let mut best = None;
                self.least_full(class, 0, 0, &mut best);
                best.map(|(_, leaf)| leaf)
            }
            Aim::Distinct => self.least_bad(class),
        }
    }

    /// Whether some child must get the replica, because it has less than its floor.
    fn has_unmet_floor(&self, class: &Class, node: Node, level: usize) -> bool {
        class.has_floors[node]
            && self.topology.children(node).any(|child| self.count(level, child) < class.floor[child])
    }

    /// Whether `child` may get the replica by the plan's bounds.
    #[inline]
    fn allows(&self, class: &Class, child: Node, level: usize, must: bool) -> bool {
        let count = self.count(level, child);
        if must { count < class.floor[child] } else { count < class.ceil[child] }
    }

    /// A random walk down, in proportion to hunger. It may end in a node whose hungry devices all
    /// have the partition already; then `None`.
    fn draw(&mut self, class: &Class) -> Option<Node> {
        let mut node = 0;
        for level in 0..LEVELS {
            let must = self.has_unmet_floor(class, node, level);
            let children = self.topology.children(node);
            let total = if must {
                children.clone().filter(|child| self.allows(class, *child, level, true)).map(|c| self.hunger[c]).sum()
            } else {
                self.hunger[node] - self.full_hunger(class, node, level)
            };
            if total == 0 {
                return None;
            }
            let mut point = self.random.below(total);
            node = children.into_iter().find(|child| {
                let hunger = self.hunger[*child];
                if hunger == 0 || !self.allows(class, *child, level, must) {
                    return false;
                }
                let hit = point < hunger;
                point = point.wrapping_sub(if hit { 0 } else { hunger });
                hit
            })?;
        }
        Some(node)
    }

    /// Hunger of those children of `node` that have as many replicas as they may. Only children with a
    /// replica can be such, for nobody hungers who may have none.
    fn full_hunger(&self, class: &Class, node: Node, level: usize) -> u32 {
        let children = self.topology.children(node);
        let mut sum = 0;
        for (index, path) in self.paths.iter().enumerate() {
            let child = path[level] as Node;
            let seen = self.paths[..index].iter().any(|other| other[level] == path[level]);
            if !seen && children.contains(&child) && !self.allows(class, child, level, false) {
                sum += self.hunger[child];
            }
        }
        sum
    }

    /// Goes through the hungry branches in order until a leaf is found.
    fn search(&self, class: &Class, node: Node, level: usize) -> Option<Node> {
        if level == LEVELS {
            return Some(node);
        }
        let must = self.has_unmet_floor(class, node, level);
        self.topology
            .children(node)
            .filter(|child| self.hunger[*child] > 0 && self.allows(class, *child, level, must))
            .find_map(|child| self.search(class, child, level + 1))
    }

    /// Goes through all branches within bounds; leaves in `best` the leaf that is least over its quota.
    fn least_full(&self, class: &Class, node: Node, level: usize, best: &mut Option<(i64, Node)>) {
        if level == LEVELS {
            let excess = i64::from(self.parts[node]) - i64::from(self.quota[node]);
            if best.is_none_or(|(least, _)| excess < least) {
                *best = Some((excess, node));
            }
            return;
        }
        let must = self.has_unmet_floor(class, node, level);
        for child in self.topology.children(node) {
            if self.allows(class, child, level, must) {
                self.least_full(class, child, level + 1, best);
            }
        }
    }

    /// Goes through all leaves with a quota; the fewest bounds are broken, then the least excess counts.
    fn least_bad(&self, class: &Class) -> Option<Node> {
        let leaves = self.topology.level(LEVELS - 1);
        let free = leaves.filter(|leaf| class.ceil[*leaf] > 0 && self.count(LEVELS - 1, *leaf) == 0);
        free.min_by_key(|leaf| {
            let path = self.topology.path(self.topology.device(*leaf));
            let over = (0..LEVELS)
                .filter(|level| self.count(*level, path[*level] as Node) >= class.ceil[path[*level] as Node])
                .count();
            (over, i64::from(self.parts[*leaf]) - i64::from(self.quota[*leaf]))
        })
    }
}
