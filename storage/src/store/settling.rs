//! Rows that a majority has acknowledged and that are still on their way to other replicas.
//!
//! A container's statistics are each replica's own, exact for the rows that it has. Whoever reads them waits,
//! for a moment, until what this process has written before has come everywhere: then they are exact for that.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use crate::key::KeyHash;

/// Containers and accounts that are waited for together.
const STRIPES: usize = 1024;

/// How long statistics wait. Longer, and a replica that hangs would hang everybody who looks at a container.
const SETTLE_TIMEOUT: Duration = Duration::from_millis(250);

/// Writes under way, by the container or account whose rows they change.
#[derive(Debug)]
pub(super) struct Settling {
    stripes: Vec<Arc<RwLock<()>>>,
}

/// Held by every share of a write until its device has answered.
pub(super) type UnderWay = Arc<Vec<OwnedRwLockReadGuard<()>>>;

impl Settling {
    pub(super) fn new() -> Self {
        Self { stripes: (0..STRIPES).map(|_| Arc::default()).collect() }
    }

    /// To be taken before the first share is submitted. In order, and none twice: so no two writes and readers wait
    /// for each other in a ring.
    pub(super) async fn begin(&self, parents: impl Iterator<Item = KeyHash>) -> UnderWay {
        let mut stripes: Vec<usize> = parents.map(stripe).collect();
        stripes.sort_unstable();
        stripes.dedup();
        let mut begun = Vec::with_capacity(stripes.len());
        for stripe in stripes {
            begun.push(Arc::clone(&self.stripes[stripe]).read_owned().await);
        }
        Arc::new(begun)
    }

    /// Waits until what was begun before has come everywhere, or [`SETTLE_TIMEOUT`].
    pub(super) async fn settle(&self, parent: KeyHash) {
        let _ = tokio::time::timeout(SETTLE_TIMEOUT, self.stripes[stripe(parent)].write()).await;
    }
}

fn stripe(hash: KeyHash) -> usize {
    let [.., a, b] = hash.0;
    usize::from(u16::from_be_bytes([a, b])) % STRIPES
}
