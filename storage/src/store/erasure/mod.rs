//! Objects that are cut into fragments: any `data` of `data + parity` devices give them back.
//!
//! An object of such a policy has a *head*, which is an ordinary object on as many devices as may be lost and one
//! more: name, metadata, and either the data themselves, where they are small enough for the log, or the layout of
//! its fragments. Fragments are objects of their own under a name that is used once, each device keeping another one.
//! So everything that objects rely on (versions, conditional writes, listings, tombstones) is the head's affair, and
//! an object is replaced in one step, by a head that names other fragments.
//!
//! What was synced before a write's acknowledgement: fragments on at least one device more than are needed to read
//! ([`cutter`]), and after that the head on a majority. Fragments of a head that was replaced or deleted are deleted
//! by the reaper, as the parts of multipart objects are; those whose head never came, by the sweeper ([`sweep`]).

mod coder;
mod cutter;
mod layout;
mod reader;
mod rebuild;
mod sweep;

pub(super) use cutter::Cutter;
pub(super) use layout::Layout;
pub(super) use reader::FragmentsReader;
pub(super) use rebuild::Turn;
pub(super) use sweep::Suspects;

use super::Store;
use super::placement::{Keyed, Placement};
use crate::policy::fragments_of;

impl Layout {
    /// The fragments' key, and the number of their ring.
    pub(super) fn keyed(&self, store: &Store) -> Keyed {
        Keyed { hash: store.hasher().object(&self.path()), policy: fragments_of(self.policy) }
    }

    /// The key of the object that they belong to.
    fn head(&self) -> Keyed {
        Keyed { hash: self.object, policy: self.policy }
    }

    /// Devices that must have a fragment before the object is acknowledged: it outlives the loss of one at once.
    fn quorum(&self) -> usize {
        usize::from(self.data) + 1
    }
}

/// By slot the fragment that a device is to keep: its place among the primaries, by either ring.
pub(super) fn indices(placement: &Placement, fragments: Keyed) -> Vec<(super::Slot, usize)> {
    let mut indices = Vec::new();
    for set in placement.object_sets(fragments) {
        for (index, slot) in set.into_iter().enumerate() {
            if !indices.iter().any(|(known, _)| *known == slot) {
                indices.push((slot, index));
            }
        }
    }
    indices
}
