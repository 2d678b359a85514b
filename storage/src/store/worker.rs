//! What goes on behind the requests: devices are compacted and audited, statistics travel to accounts
//! on other devices, expired objects are deleted, old tombstones are forgotten. Each worker is a loop of
//! small steps that may be cut anywhere and repeated; a failed step is logged and tried again.

use std::sync::Arc;
use std::time::Duration;

use super::erasure::Suspects;
use super::{ObjectReader, Store};
use crate::daemon::auditor::Auditor;
use crate::daemon::compactor::Compactor;
use crate::daemon::recounter::Recounter;
use crate::daemon::watch::{Unit, Watch};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::index::{Counted, Expired, PendingParts};
use crate::limits::{
    EXPIRY_INTERVAL, FRAGMENT_SWEEP_INTERVAL, HEAL_INTERVAL, MEMBERSHIP_INTERVAL, PING_INTERVAL, RECLAIM_AGE,
    RECLAIM_INTERVAL, STATS_INTERVAL, WORKER_STEP_MAX,
};
use crate::model::ObjectInfo;
use crate::mutation::Mutation;

/// A multipart object that was replaced or deleted, whose parts a door has still to delete.
#[derive(Debug)]
pub struct PartsToDelete {
    device: Device,
    pending: PendingParts,
}

impl PartsToDelete {
    /// The object as it was.
    pub fn info(&self) -> &ObjectInfo {
        &self.pending.row.info
    }
}

impl Store {
    /// The devices of this process.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.locals().iter().map(|local| &local.device)
    }

    pub(super) fn start_workers(&self) {
        for device in self.devices() {
            let compactor = Compactor::new(device.clone());
            self.show(compactor.watch());
            self.spawn_daemon(compactor.run(self.inner.stop.clone()));
            let auditor = Auditor::new(device.clone(), self.inner.audit.clone());
            self.show(auditor.watch());
            self.spawn_daemon(auditor.run(self.inner.stop.clone()));
            for what in [Counted::Containers, Counted::Accounts] {
                let recounter = Recounter::new(device.clone(), what);
                self.show(recounter.watch());
                self.spawn_daemon(recounter.run(self.inner.stop.clone()));
            }
        }
        let updater = self.watch("statistics updater", Unit::Containers);
        self.repeat(updater, STATS_INTERVAL, |store, watch| async move { store.send_stats(&watch).await });
        if self.inner.cluster.is_some() {
            self.say_hello();
            let monitor = self.watch("peer monitor", Unit::Hosts);
            // Whether hosts reach each other, and by which map, is never behind anything.
            self.background()
                .spawn(self.rounds(monitor, PING_INTERVAL, |store, watch| async move { store.ping(&watch).await }));
            let steward = self.watch("membership", Unit::Hosts);
            self.background().spawn(
                self.rounds(steward, MEMBERSHIP_INTERVAL, |store, watch| async move { store.steward(&watch).await }),
            );
        }
        // A cluster of one device may come to have more.
        if self.inner.cluster.is_some() || !self.placement().is_single() {
            self.start_replicators();
            let healer = self.watch("healer", Unit::Objects);
            self.repeat(healer, HEAL_INTERVAL, |store, watch| async move { store.heal(&watch).await });
        }
        self.start_sharder();
        self.start_sweeper();
        let expirer = self.watch("expirer", Unit::Objects);
        self.repeat(expirer, EXPIRY_INTERVAL, |store, watch| async move { store.delete_expired(&watch).await });
        let reclaimer = self.watch("tombstone reclaimer", Unit::Tombstones);
        self.repeat(reclaimer, RECLAIM_INTERVAL, |store, watch| async move { store.reclaim(&watch) });
    }

    pub(super) fn repeat<F>(
        &self,
        watch: Arc<Watch>,
        every: Duration,
        step: impl Fn(Self, Arc<Watch>) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Result<()>> + Send,
    {
        self.spawn_daemon(self.rounds(watch, every, step));
    }

    fn rounds<F>(
        &self,
        watch: Arc<Watch>,
        every: Duration,
        step: impl Fn(Self, Arc<Watch>) -> F + Send + Sync + 'static,
    ) -> impl Future<Output: Send> + Send + 'static
    where
        F: Future<Output = Result<()>> + Send,
    {
        let (store, stop) = (self.clone(), self.inner.stop.clone());
        let run = async move {
            loop {
                tokio::time::sleep(every).await;
                watch.begin(None);
                match step(store.clone(), Arc::clone(&watch)).await {
                    Ok(()) => watch.end(),
                    Err(error) => {
                        tracing::warn!(worker = watch.status().name, %error, "step failed, will be tried again");
                        watch.failed(&error);
                    }
                }
            }
        };
        async move { stop.run_until_cancelled(run).await }
    }

    /// Whoever has left this host alone, because it was away, hears that it is back.
    fn say_hello(&self) {
        let peers = self.inner.cluster.as_ref().map(super::Cluster::peers).unwrap_or_default();
        for peer in peers {
            self.background().spawn(async move { peer.ping().await });
        }
    }

    /// Asks every other host for a sign of life, so that one which is back is noticed before a request needs it, and
    /// frees what was sent here and never committed.
    async fn ping(&self, watch: &Watch) -> Result<()> {
        let Some(cluster) = &self.inner.cluster else { return Ok(()) };
        cluster.member.service().discard_old_uploads();
        for peer in cluster.peers() {
            // What it says is in its status.
            let _ = peer.ping().await;
            watch.advance(1);
            if peer.is_back() {
                self.inner.replication.hurry();
            }
        }
        Ok(())
    }

    /// Tells accounts' devices the statistics of containers that are on others.
    async fn send_stats(&self, watch: &Watch) -> Result<()> {
        let placement = self.placement();
        for device in self.devices() {
            let pending = device.index().pending_stats(WORKER_STEP_MAX)?;
            let mut waiting = pending.len() as u64;
            for stats in pending {
                watch.waits(waiting);
                let Mutation::ContainerStats { account_hash, account, container, .. } = &stats else { continue };
                // Whoever only stands in for a primary has not seen all.
                let container = self.hasher().container(account, container);
                if placement.slot_of(&device.id()).is_some_and(|me| placement.keeps_container(me, container)) {
                    self.commit_account(stats.clone(), *account_hash).await?;
                }
                device.index().settle_stats(&stats)?;
                watch.advance(1);
                waiting -= 1;
            }
            watch.waits(waiting);
        }
        Ok(())
    }

    /// Deletes objects whose time has come, and the delay behind it gone by, unless they were given another meanwhile.
    async fn delete_expired(&self, watch: &Watch) -> Result<()> {
        for device in self.devices() {
            let now = self.clock().wall().seconds();
            let expiry = &self.inner.expiry;
            let is_due = |expired: &Expired| expiry.is_due(&expired.path, expired.delete_at, now);
            let pending = device.index().expired_and_due(now, WORKER_STEP_MAX, is_due)?;
            let mut waiting = pending.len() as u64;
            for expired in pending {
                watch.waits(waiting);
                let still = |current: Option<&ObjectInfo>| {
                    current.is_some_and(|info| {
                        info.delete_at.is_some_and(|second| expiry.is_due(&expired.path, second, now))
                    })
                };
                match self.object_delete_if(&expired.path, still).await {
                    Ok(_) | Err(Error::Precondition) => {}
                    Err(error) => return Err(error),
                }
                watch.advance(1);
                waiting -= 1;
            }
            watch.waits(waiting);
        }
        Ok(())
    }

    fn reclaim(&self, watch: &Watch) -> Result<()> {
        let now = self.clock().wall();
        let before = anello_base::Timestamp::from_seconds(now.seconds().saturating_sub(RECLAIM_AGE.as_secs()));
        for device in self.devices() {
            watch.advance(device.index().reclaim_tombstones(before)?);
        }
        Ok(())
    }

    /// Looks for fragments that nobody needs; where no policy makes any, there are none to look at.
    fn start_sweeper(&self) {
        let sweeper = self.watch("fragment sweeper", Unit::Objects);
        let suspects = Arc::new(tokio::sync::Mutex::new(Suspects::new()));
        self.repeat(sweeper, FRAGMENT_SWEEP_INTERVAL, move |store, watch| {
            let suspects = Arc::clone(&suspects);
            async move {
                let mut suspects = suspects.lock().await;
                *suspects = store.sweep_fragments(&watch, &suspects).await?;
                Ok(())
            }
        });
    }

    /// Multipart objects that were replaced or deleted and whose parts are to be deleted; about `limit`.
    pub fn parts_to_delete(&self, limit: usize) -> Result<Vec<PartsToDelete>> {
        let mut found = Vec::new();
        for device in self.devices() {
            let pending = device.index().pending_parts(limit.saturating_sub(found.len()))?;
            found.extend(pending.into_iter().map(|pending| PartsToDelete { device: device.clone(), pending }));
        }
        Ok(found)
    }

    /// How many of them there are, counted up to about `limit`.
    pub fn count_parts_to_delete(&self, limit: usize) -> Result<usize> {
        let count = |sum: usize, device: &Device| Ok(sum + device.index().count_pending_parts(limit - sum.min(limit))?);
        self.devices().try_fold(0, count)
    }

    /// Opens the part list of such an object.
    pub fn read_parts_to_delete(&self, parts: &PartsToDelete) -> ObjectReader {
        ObjectReader::of(parts.device.clone(), parts.pending.row.clone())
    }

    /// The parts are deleted: forgets the object. After a crash it may come again, which does no harm.
    pub async fn settle_parts(&self, parts: PartsToDelete) -> Result<()> {
        parts.device.settle_parts(&parts.pending.id).await
    }
}
