//! The digests' leaves in memory, as they stand in the table: comparing two replicas that agree reads nothing,
//! and a write that changes a leaf need not look for it. A full tree takes 4 MiB; one with few entries little.

use std::collections::BTreeMap;
use std::ops::Range;

use super::digest::{DIGEST_LEAVES, Digest, Tree};

/// Leaves that are allocated together.
const CHUNK: usize = 256;

const _: () = assert!((DIGEST_LEAVES as usize).is_multiple_of(CHUNK));

/// All leaves of all trees.
#[derive(Debug, Default)]
pub(super) struct Leaves {
    trees: BTreeMap<Tree, Vec<Option<Box<[Digest; CHUNK]>>>>,
}

impl Leaves {
    /// The digest of a leaf.
    pub(super) fn get(&self, tree: Tree, leaf: u32) -> Digest {
        let place = leaf as usize;
        let chunk = self.trees.get(&tree).and_then(|chunks| chunks.get(place / CHUNK)?.as_ref());
        chunk.map_or(Digest::default(), |chunk| chunk[place % CHUNK])
    }

    /// Replaces the digest of a leaf.
    pub(super) fn set(&mut self, tree: Tree, leaf: u32, digest: Digest) {
        let place = leaf as usize;
        let chunks = self.trees.entry(tree).or_insert_with(|| vec![None; DIGEST_LEAVES as usize / CHUNK]);
        let chunk = chunks[place / CHUNK].get_or_insert_with(|| Box::new([Digest::default(); CHUNK]));
        chunk[place % CHUNK] = digest;
    }

    /// The leaves of a tree that have entries, in order.
    pub(super) fn range(&self, tree: Tree, leaves: Range<u32>) -> impl Iterator<Item = (u32, Digest)> + '_ {
        let chunks = self.trees.get(&tree).map_or(&[][..], Vec::as_slice);
        let range = leaves.start..leaves.end.min(DIGEST_LEAVES);
        let first = (range.start as usize / CHUNK).min(chunks.len());
        let last = (range.end as usize).div_ceil(CHUNK).clamp(first, chunks.len());
        let numbered = chunks[first..last].iter().zip((first * CHUNK..).step_by(CHUNK));
        let of_chunk = |(chunk, start): (&'_ Option<Box<[Digest; CHUNK]>>, usize)| {
            let digests = chunk.as_deref().map_or(&[][..], |chunk| &chunk[..]);
            (start as u32..).zip(digests.iter().copied()).collect::<Vec<_>>()
        };
        let there = move |(leaf, digest): &(u32, Digest)| range.contains(leaf) && *digest != Digest::default();
        numbered.flat_map(of_chunk).filter(there)
    }

    /// The sum of a run of leaves.
    pub(super) fn sum(&self, tree: Tree, leaves: Range<u32>) -> Digest {
        let mut sum = Digest::default();
        leaves.for_each(|leaf| sum.add(self.get(tree, leaf)));
        sum
    }

    /// Trees that have, or had, entries.
    pub(super) fn trees(&self) -> Vec<Tree> {
        self.trees.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this a run of leaves leaves some out, and a difference in them is never seen.
    #[test]
    fn a_run_of_leaves_shows_those_that_have_entries_and_no_others() {
        let mut leaves = Leaves::default();
        let tree = Tree::Containers;
        let there = [0, 255, 256, 1000, DIGEST_LEAVES - 1];
        for leaf in there {
            leaves.set(tree, leaf, Digest::one(u64::from(leaf) + 1));
        }
        leaves.set(tree, 7, Digest::one(7));
        leaves.set(tree, 7, Digest::default());
        for (range, want) in [
            (0..DIGEST_LEAVES, &there[..]),
            (0..u32::MAX, &there[..]),
            (0..0, &[]),
            (1..256, &there[1..2]),
            (256..1000, &there[2..3]),
            (999..1001, &there[3..4]),
            (DIGEST_LEAVES - 1..DIGEST_LEAVES, &there[4..]),
            (DIGEST_LEAVES..u32::MAX, &[]),
        ] {
            let found: Vec<_> = leaves.range(tree, range.clone()).collect();
            let want: Vec<_> = want.iter().map(|leaf| (*leaf, Digest::one(u64::from(*leaf) + 1))).collect();
            assert_eq!(found, want, "{range:?}");
        }
        assert_eq!(leaves.range(Tree::Accounts, 0..DIGEST_LEAVES).count(), 0);
        assert_eq!(leaves.sum(tree, 0..257).entries, 3);
        assert_eq!(leaves.trees(), [tree]);
    }
}
