//! What a host's devices hold of each partition and who is to hold it, for simulations.

use super::Store;
use crate::error::Result;
use crate::index::{Digest, Tree};

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
        let mut holdings = Vec::new();
        for local in self.locals() {
            for tree in local.device.index().digest_trees()? {
                let power = placement.power(tree);
                for (partition, digest) in local.partitions(tree, power, 0..1 << power)? {
                    let keepers = placement.keepers(tree, partition);
                    let keepers = keepers.into_iter().map(|slot| placement.node(slot).name()).collect();
                    holdings.push(Holding { device: local.device.id(), tree, partition, digest, keepers });
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
