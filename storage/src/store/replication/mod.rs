//! Replicas come to agree: the replicator of each device brings to the other primaries of its partitions what they
//! lack, and hands off what belongs to other devices ([`pass`], [`compare`], [`bring`]); a read that finds replicas apart has them brought
//! together at once, and damaged copies are replaced ([`repair`]).
//!
//! Every step may be cut anywhere and repeated: records say the same wherever and however often they arrive.

mod bring;
mod compare;
mod fragments;
mod pass;
mod repair;
mod throttle;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::Store;
use crate::daemon::watch::{Unit, Watch};
use crate::limits::{REPLICATION_BYTES_PER_SECOND, REPLICATION_INTERVAL, REPLICATION_RETRY, REPLICATION_SETTLE};
use crate::node::Local;
pub(super) use repair::Repairs;
use throttle::Throttle;

/// How eagerly replicas are compared.
#[derive(Debug, Clone)]
pub struct ReplicationOptions {
    /// From the end of a pass to the beginning of the next.
    pub interval: Duration,
    /// Entries that are younger are left out of a pass: the writes that made them are on their way to all replicas.
    pub settle: Duration,
    /// What each device sends to other replicas at most.
    pub bytes_per_second: u64,
}

impl Default for ReplicationOptions {
    fn default() -> Self {
        Self {
            interval: REPLICATION_INTERVAL,
            settle: REPLICATION_SETTLE,
            bytes_per_second: REPLICATION_BYTES_PER_SECOND,
        }
    }
}

/// The replicators of this process.
#[derive(Debug)]
pub(super) struct Replication {
    options: ReplicationOptions,
    /// Counts the occasions for which a pass should not wait for its time.
    occasions: AtomicU64,
    /// Tells of them, in the order in which it is waited for: a simulation repeats it.
    hurry: Notify,
    pub(super) repairs: Repairs,
}

impl Replication {
    pub(super) fn new(options: ReplicationOptions) -> Self {
        Self { options, occasions: AtomicU64::new(0), hurry: Notify::new(), repairs: Repairs::default() }
    }

    /// A replica is back, or the ring has changed: the next passes begin now.
    pub(super) fn hurry(&self) {
        self.occasions.fetch_add(1, Ordering::Release);
        self.hurry.notify_waiters();
    }

    /// Waits for an occasion behind the first so many; tells how many there are then.
    async fn occasion(&self, known: u64) -> u64 {
        loop {
            let hurried = self.hurry.notified();
            let occasions = self.occasions.load(Ordering::Acquire);
            if occasions != known {
                return occasions;
            }
            hurried.await;
        }
    }
}

/// Sends what one device has and others lack.
struct Replicator {
    store: Store,
    local: Local,
    watch: Arc<Watch>,
    throttle: Arc<Throttle>,
}

impl Store {
    pub(super) fn start_replicators(&self) {
        for local in self.locals() {
            let device = Some(local.device.status().path);
            let replicator = Replicator {
                store: self.clone(),
                local: local.clone(),
                watch: self.show(Watch::new("replicator", device, Unit::Entries)),
                throttle: Arc::new(Throttle::new(self.inner.replication.options.bytes_per_second)),
            };
            let stop = self.inner.stop.clone();
            self.spawn_daemon(async move { stop.run_until_cancelled(replicator.run()).await });
        }
    }
}

impl Replicator {
    async fn run(self) {
        let replication = &self.store.inner.replication;
        let mut known = replication.occasions.load(Ordering::Acquire);
        let mut pause = replication.options.interval;
        loop {
            tokio::select! {
                biased;
                occasions = replication.occasion(known) => known = occasions,
                () = tokio::time::sleep(pause) => {}
            }
            pause = replication.options.interval;
            self.watch.begin(None);
            match self.pass().await {
                Ok(()) => self.watch.end(),
                Err(error) => {
                    // A change of the rings waits for whoever has data to move.
                    if self.store.placement().is_changing() {
                        pause = pause.min(REPLICATION_RETRY);
                    }
                    tracing::debug!(%error, "a replication pass failed in part, will be tried again");
                    self.watch.failed(&error);
                }
            }
        }
    }
}
