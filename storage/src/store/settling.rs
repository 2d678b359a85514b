//! Writes of this process that a majority may have acknowledged and that are still on their way to other replicas.
//!
//! Promises keep later writers apart from earlier ones, whatever process they are in ([`super::agree`]). Within one
//! process nothing should come to that: a share that a promise overtakes is refused, and its replica lacks it. So
//! a conditional write waits until the earlier writes of its object have been answered everywhere, a container's
//! deletion until those of its rows have, and a container's statistics too: each replica's own are exact for the
//! rows that it has.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::key::KeyHash;

/// Names that are waited for together, of each kind.
const STRIPES: usize = 2048;

/// How long one waits. A replica that hangs must not hang everybody else; promises are safe without the wait.
const SETTLE_TIMEOUT: Duration = Duration::from_millis(250);

/// Writes under way. Order: rows' stripes from low to high, then an object's.
#[derive(Debug)]
pub(super) struct Settling {
    rows: Stripes,
    objects: Stripes,
}

#[derive(Debug)]
struct Stripes(Vec<Arc<RwLock<()>>>);

/// Held by every share of a write until its device has answered.
#[derive(Debug, Clone, Default)]
#[expect(dead_code, reason = "guards are held for their drop")]
pub(super) struct UnderWay {
    rows: Arc<Vec<OwnedRwLockReadGuard<()>>>,
    object: Option<Arc<Turn>>,
}

#[derive(Debug)]
#[expect(dead_code, reason = "guards are held for their drop")]
enum Turn {
    Shared(OwnedRwLockReadGuard<()>),
    Alone(OwnedRwLockWriteGuard<()>),
}

impl Settling {
    pub(super) fn new() -> Self {
        Self { rows: Stripes::new(), objects: Stripes::new() }
    }

    /// A write that changes rows below `parents` begins; to be taken before its timestamp.
    pub(super) async fn begin(&self, parents: impl Iterator<Item = KeyHash>) -> UnderWay {
        let mut stripes: Vec<usize> = parents.map(stripe).collect();
        stripes.sort_unstable();
        stripes.dedup();
        let mut rows = Vec::with_capacity(stripes.len());
        for stripe in stripes {
            rows.push(Arc::clone(&self.rows.0[stripe]).read_owned().await);
        }
        UnderWay { rows: Arc::new(rows), object: None }
    }

    /// The same for a write of an object; `alone` where it depends on what it replaces.
    pub(super) async fn begin_object(
        &self,
        parents: impl Iterator<Item = KeyHash>,
        object: KeyHash,
        alone: bool,
    ) -> UnderWay {
        let under_way = self.begin(parents).await;
        let lock = Arc::clone(self.objects.of(object));
        let turn =
            async { if alone { Turn::Alone(lock.write_owned().await) } else { Turn::Shared(lock.read_owned().await) } };
        let object = tokio::time::timeout(SETTLE_TIMEOUT, turn).await.ok().map(Arc::new);
        UnderWay { object, ..under_way }
    }

    /// Waits until the writes of rows below `parent` that were begun before have been answered everywhere. While
    /// the answer is held, no other begins; `None` where some take too long.
    pub(super) async fn settle(&self, parent: KeyHash) -> Option<OwnedRwLockWriteGuard<()>> {
        tokio::time::timeout(SETTLE_TIMEOUT, Arc::clone(self.rows.of(parent)).write_owned()).await.ok()
    }
}

impl Stripes {
    fn new() -> Self {
        Self((0..STRIPES).map(|_| Arc::default()).collect())
    }

    fn of(&self, hash: KeyHash) -> &Arc<RwLock<()>> {
        &self.0[stripe(hash)]
    }
}

fn stripe(hash: KeyHash) -> usize {
    let [.., a, b] = hash.0;
    usize::from(u16::from_be_bytes([a, b])) % STRIPES
}
