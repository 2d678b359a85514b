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
//!
//! [`Settling`] is not about writes: it lets a reader of rows wait for what was acknowledged by a majority
//! and is still on its way to the replica that he is about to read.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

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

/// Stripes of containers for which a device's commits are waited for together.
const SETTLING_STRIPES: usize = 256;

/// Commits of rows that are on their way to one device, by container.
#[derive(Debug)]
pub(super) struct Settling {
    stripes: Vec<Arc<RwLock<()>>>,
}

/// Held by a commit until its device has applied it.
pub(super) type OnItsWay = OwnedRwLockReadGuard<()>;

impl Settling {
    pub(super) fn new() -> Self {
        Self { stripes: (0..SETTLING_STRIPES).map(|_| Arc::default()).collect() }
    }

    /// To be taken before the commit is submitted, device by device in the order of their slots: with the
    /// stripes in order, too, and none twice, no two commits and readers can wait for each other in a ring.
    pub(super) async fn begin(&self, rows_of: &[KeyHash]) -> Vec<OnItsWay> {
        let mut stripes: Vec<usize> = rows_of.iter().map(|hash| stripe(*hash) % SETTLING_STRIPES).collect();
        stripes.sort_unstable();
        stripes.dedup();
        let mut begun = Vec::with_capacity(stripes.len());
        for stripe in stripes {
            begun.push(Arc::clone(&self.stripes[stripe]).read_owned().await);
        }
        begun
    }

    /// Waits until everything that was begun before has been applied, or has failed.
    pub(super) async fn settle(&self, container: KeyHash) {
        drop(self.stripes[stripe(container) % SETTLING_STRIPES].write().await);
    }
}
