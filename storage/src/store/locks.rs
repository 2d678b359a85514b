//! Which writes exclude each other within this process.
//!
//! Order: a container's lock, then one of its objects'; never two of a kind. The locks are asynchronous
//! ones, held over the commit on purpose: a conditional write's check and commit are one step only if
//! nothing else lands between them.
//!
//! An unconditional write shares its object's lock, a conditional one excludes. Both take their timestamp
//! under the lock, so that the order of timestamps is an order in which the writes can have happened. An
//! object's write shares its container's lock, the container's deletion excludes: no row can slip into a
//! container that was found empty.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::key::KeyHash;

/// Stripes per kind. Unrelated names that meet in one stripe only wait for each other where one of them
/// excludes, so a few thousand are plenty for the writes that one process has in flight.
const STRIPES: usize = 2048;

/// Striped locks by name hash.
#[derive(Debug)]
pub(super) struct Locks {
    containers: Vec<RwLock<()>>,
    objects: Vec<RwLock<()>>,
}

/// Held while an object is written.
#[derive(Debug)]
#[expect(dead_code, reason = "guards are held for their drop")]
pub(super) enum ObjectGuard<'a> {
    Shared(RwLockReadGuard<'a, ()>, RwLockReadGuard<'a, ()>),
    Exclusive(RwLockReadGuard<'a, ()>, RwLockWriteGuard<'a, ()>),
}

impl Locks {
    pub(super) fn new() -> Self {
        let stripes = || (0..STRIPES).map(|_| RwLock::new(())).collect();
        Self { containers: stripes(), objects: stripes() }
    }

    /// For a write to an object; `exclusive` where it has a condition.
    pub(super) async fn object(&self, container: KeyHash, object: KeyHash, exclusive: bool) -> ObjectGuard<'_> {
        let in_container = self.containers[stripe(container)].read().await;
        let lock = &self.objects[stripe(object)];
        if exclusive {
            ObjectGuard::Exclusive(in_container, lock.write().await)
        } else {
            ObjectGuard::Shared(in_container, lock.read().await)
        }
    }

    /// For a container's creation, change or deletion.
    pub(super) async fn container(&self, container: KeyHash) -> RwLockWriteGuard<'_, ()> {
        self.containers[stripe(container)].write().await
    }
}

fn stripe(hash: KeyHash) -> usize {
    let [.., a, b] = hash.0;
    usize::from(u16::from_be_bytes([a, b])) % STRIPES
}
