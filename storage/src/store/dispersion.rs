//! Where the copies are that there should be: what devices say of their partitions' digests, beside what the rings say.

use std::collections::{BTreeMap, HashMap};

use futures::future::join_all;
use serde::Serialize;

use super::Store;
use super::placement::Slot;
use crate::error::Result;
use crate::index::{Digest, Tree};
use crate::policy::is_fragments;

/// Partitions that a device tells of in one answer, some 20 bytes each.
const PARTITIONS_PER_CALL: u32 = 65_536;

/// How one ring's copies are spread. A write that is under way shows as copies that lack something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dispersion {
    /// What it places: `accounts`, `containers`, or the objects (`objects`) or fragments (`fragments`) of a policy.
    pub ring: &'static str,
    /// The policy's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Partitions in which there is anything.
    pub partitions: u64,
    /// Copies that there should be of these.
    pub copies: u64,
    /// Copies that are in their place and agree with most of the others.
    pub found: u64,
    /// By how many copies are lacking: partitions.
    pub lacking: BTreeMap<u64, u64>,
    /// Copies on devices that are to give them to others.
    pub misplaced: u64,
}

/// The report over all rings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DispersionReport {
    /// Every ring's.
    pub rings: Vec<Dispersion>,
    /// Devices that did not answer, by id: what they keep counts as lacking.
    pub silent: Vec<String>,
}

/// What each device has of a tree.
type Held<S> = Vec<(S, HashMap<u32, Digest>)>;

impl Store {
    /// Asks every device what it has of every partition.
    pub async fn dispersion(&self) -> Result<DispersionReport> {
        let placement = self.placement();
        let (mut rings, mut silent) = (Vec::new(), Vec::new());
        for (tree, policy) in placement.trees() {
            let power = placement.power(tree);
            let ask = |slot: Slot| {
                let node = placement.node(slot);
                async move {
                    let mut held = HashMap::new();
                    for start in (0..1 << power).step_by(PARTITIONS_PER_CALL as usize) {
                        held.extend(node.partitions(tree, power, start..start + PARTITIONS_PER_CALL).await?);
                    }
                    Ok::<_, crate::Error>(held)
                }
            };
            let mut held = Held::<Slot>::new();
            for (slot, answer) in placement.slots().zip(join_all(placement.slots().map(ask)).await) {
                match answer {
                    Ok(partitions) => held.push((slot, partitions)),
                    Err(_) => silent.push(placement.node(slot).name()),
                }
            }
            let ring = match tree {
                Tree::Accounts => "accounts",
                Tree::Containers => "containers",
                Tree::Objects { policy } if is_fragments(policy) => "fragments",
                Tree::Objects { .. } => "objects",
            };
            rings.push(compare(ring, policy, &held, |partition| placement.keepers(tree, partition)));
        }
        silent.sort_unstable();
        silent.dedup();
        Ok(DispersionReport { rings, silent })
    }
}

fn compare<S: Copy + PartialEq>(
    ring: &'static str,
    policy: Option<String>,
    held: &Held<S>,
    keepers: impl Fn(u32) -> Vec<S>,
) -> Dispersion {
    let mut by_partition: BTreeMap<u32, Vec<(S, Digest)>> = BTreeMap::new();
    for (slot, partitions) in held {
        for (partition, digest) in partitions {
            by_partition.entry(*partition).or_default().push((*slot, *digest));
        }
    }
    let partitions = by_partition.len() as u64;
    let mut report =
        Dispersion { ring, policy, partitions, copies: 0, found: 0, lacking: BTreeMap::new(), misplaced: 0 };
    for (partition, copies) in by_partition {
        let keepers = keepers(partition);
        let (in_place, elsewhere): (Vec<_>, Vec<_>) = copies.iter().partition(|(slot, _)| keepers.contains(slot));
        let alike = |digest: &Digest| in_place.iter().filter(|(_, other)| other == digest).count();
        let found = in_place.iter().map(|(_, digest)| alike(digest)).max().unwrap_or(0) as u64;
        let wanted = keepers.len() as u64;
        report.copies += wanted;
        report.found += found;
        report.misplaced += elsewhere.len() as u64;
        if found < wanted {
            *report.lacking.entry(wanted - found).or_default() += 1;
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(sum: u64) -> Digest {
        Digest { sum, entries: 1 }
    }

    #[test]
    fn copies_that_lack_something_and_copies_elsewhere_are_told() {
        let has = |slot, partitions: &[(u32, u64)]| {
            (slot, partitions.iter().map(|(partition, sum)| (*partition, digest(*sum))).collect())
        };
        let held = vec![
            has(0, &[(0, 1), (1, 1), (2, 1)]),
            has(1, &[(0, 1), (1, 2)]),
            has(2, &[(0, 1), (1, 2)]),
            // Keeps nothing by the ring.
            has(3, &[(1, 2), (3, 7)]),
        ];
        let report = compare("objects", None, &held, |_| vec![0, 1, 2]);
        assert_eq!((report.partitions, report.copies, report.found, report.misplaced), (4, 12, 3 + 2 + 1, 2));
        assert_eq!(report.lacking, [(1, 1), (2, 1), (3, 1)].into());
    }
}
