//! What a host's devices hold of each partition and who is to hold it, for simulations.

use super::Store;
use super::erasure::{Layout, wanted_index};
use crate::error::Result;
use crate::index::{DIGEST_LEAVES, Digest, ObjectRow, Tree};
use crate::policy::is_fragments;

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

/// A fragment that a device holds.
#[derive(Debug, Clone)]
pub(crate) struct HeldFragment {
    pub(crate) device: String,
    pub(crate) index: usize,
    /// The one that the ring gives this device.
    pub(crate) expected: Option<usize>,
    /// Whether there is an object that is made of it.
    pub(crate) is_needed: bool,
}

impl Store {
    /// All fragments on this host's devices.
    pub(crate) async fn fragments(&self) -> Result<Vec<HeldFragment>> {
        let placement = self.placement();
        let mut held = Vec::new();
        for local in self.locals() {
            let device = local.device.id();
            let rows: Vec<(_, ObjectRow)> = local.device.index().scan_objects(None, usize::MAX)?;
            for (hash, row) in rows {
                if !local.device.index().policy_of(hash)?.is_some_and(is_fragments) {
                    continue;
                }
                let (index, layout) = Layout::of_items(&row.info.metadata)?;
                let expected = wanted_index(&placement, layout.keyed(self), &device);
                let is_needed = self.has_head(&layout).await?;
                held.push(HeldFragment { device: device.clone(), index, expected, is_needed });
            }
        }
        Ok(held)
    }

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

    /// All entries of this host's devices, as text.
    pub(crate) fn entries(&self) -> Result<Vec<String>> {
        let mut entries = Vec::new();
        for device in self.devices() {
            for tree in device.index().digest_trees()? {
                let found = device.index().digest_entries(tree, 0..DIGEST_LEAVES, None, usize::MAX)?;
                entries.extend(found.into_iter().map(|entry| format!("{tree:?}: {entry:?}")));
            }
        }
        Ok(entries)
    }

    /// Ends the workers where they stand, as a crash does.
    pub(crate) fn abandon(&self) {
        self.inner.stop.cancel();
    }
}
