//! What `fuzz` feeds with bytes: every parser of what stands on a disk or comes from another host, and what must hold
//! for whatever it takes. Compiled with the feature `fuzzing` alone.

use crate::{device, index, node};

/// A name, and what is to be fed. It panics where something does not hold.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("volume-record", device::fuzzing::record),
    ("volume-batch", device::fuzzing::batch),
    ("superblock", device::fuzzing::superblock),
    ("promises-floor", device::fuzzing::floor),
    ("exchanged-record", device::fuzzing::exchanged),
    ("index-values", index::fuzzing::values),
    ("index-keys", index::fuzzing::keys),
    ("node-call", node::fuzzing::call),
    ("node-reply", node::fuzzing::reply),
    ("node-frames", node::fuzzing::frames),
    ("cluster-map", node::fuzzing::map),
];
