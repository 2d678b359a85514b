//! What a host's devices hold of each partition and who is to hold it, for simulations.

use super::Store;
use crate::error::Result;
use crate::index::{DIGEST_LEAF_BITS, DIGEST_LEAVES, Digest, Tree};

/// A partition of which a device holds something.
#[derive(Debug, Clone)]
pub(crate) struct Holding {
    pub(crate) device: String,
    pub(crate) tree: Tree,
    pub(crate) partition: u32,
    pub(crate) digest: Digest,
    /// The devices that are to hold the same.
    pub(crate) keepers: Vec<String>,
}

impl Store {
    /// Everything that this host's devices hold.
    pub(crate) fn holdings(&self) -> Result<Vec<Holding>> {
        let placement = self.placement();
        let mut holdings: Vec<Holding> = Vec::new();
        for device in self.devices() {
            for tree in device.index().digest_trees()? {
                let bits = DIGEST_LEAF_BITS.saturating_sub(placement.power(tree));
                for (leaf, digest) in device.index().digests(tree, 0..DIGEST_LEAVES)? {
                    let (id, partition) = (device.id(), leaf >> bits);
                    match holdings.last_mut() {
                        Some(last) if (&last.device, last.tree, last.partition) == (&id, tree, partition) => {
                            last.digest.add(digest);
                        }
                        _ => {
                            let keepers = placement.keepers(tree, partition);
                            let keepers = keepers.into_iter().map(|slot| placement.node(slot).name()).collect();
                            holdings.push(Holding { device: id, tree, partition, digest, keepers });
                        }
                    }
                }
            }
        }
        Ok(holdings)
    }

    /// Ends the workers where they stand, as a crash does.
    pub(crate) fn abandon(&self) {
        self.inner.stop.cancel();
    }
}
