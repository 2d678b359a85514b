//! The cluster's map as all hosts agree on it, and the steps by which it changes (`cluster::change`).
//!
//! The map is an object of the store itself. Whoever changes it replaces the version that he knows, as a conditional
//! write: of two who try, one succeeds. The others learn of it because every answer of a node tells its map's number.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;

use super::placement::Placement;
use super::{Cluster, IfMissing, ObjectHead, Store, held};
use crate::cluster::{ClusterMap, ClusterStatus, HostStatus, Progress};
use crate::daemon::watch::Watch;
use crate::environment::blocking_here;
use crate::error::{Error, Result};
use crate::key::ObjectPath;
use crate::model::{Etags, Precondition};

/// How often it is looked whether everybody goes by the present map, before a change of it is given up …
const CALM_LOOKS: usize = 40;

/// … and the pause between: hosts tell how far they are once a second.
const CALM_PAUSE: Duration = Duration::from_millis(250);

/// Where the map is kept.
const ACCOUNT: &str = ".cluster";
const CONTAINER: &str = "membership";
const OBJECT: &str = "map";

impl Store {
    /// [`Error::ClockAhead`] where this host had better not write: what only its own devices take would count as later
    /// than all that is acknowledged until then.
    pub(super) fn require_clock(&self) -> Result<()> {
        match &self.inner.cluster {
            Some(cluster) if cluster.is_clock_ahead() => Err(Error::ClockAhead),
            _ => Ok(()),
        }
    }

    /// One look at how the cluster stands: takes over a newer map, tells this host's progress, and where it is this
    /// host's turn, takes the next step.
    pub(super) async fn steward(&self, watch: &Watch) -> Result<()> {
        let Some(cluster) = &self.inner.cluster else { return Ok(()) };
        self.catch_up(cluster).await?;
        let map = cluster.map();
        let mine = self.progress(cluster);
        cluster.member.roll.set_progress(mine.clone());
        let me = &cluster.member.me;
        if map.host(&me.name).is_some_and(|known| !known.has_devices(&me.devices)) {
            cluster.member.roll.enter(me.clone())?;
        }
        let progress = self.gather(cluster, mine).await;
        if let Some(applicant) = cluster.member.roll.applicant() {
            match blocking_here(|| map.with_host(&applicant, self.clock().wall())) {
                Ok(Some(next))
                    if (map.is_changing() && map.has_lost_devices(&applicant))
                        || blocking_here(|| map.waits_for(&progress))?.is_none() =>
                {
                    watch.advance(u64::from(self.propose(cluster, next).await?));
                    return Ok(());
                }
                Ok(_) | Err(Error::Membership(_) | Error::Changing) => {}
                Err(error) => return Err(error),
            }
        }
        // The first that answers; should two think so of themselves, one of them succeeds.
        if map.hosts.iter().find(|host| progress.contains_key(&host.name)).is_none_or(|first| first.name != me.name) {
            *held(&cluster.waits_for) = None;
            return Ok(());
        }
        let Some(next) = blocking_here(|| map.next_step(self.clock().wall()))? else {
            *held(&cluster.waits_for) = None;
            return Ok(());
        };
        let waits_for = blocking_here(|| map.waits_for(&progress))?;
        held(&cluster.waits_for).clone_from(&waits_for);
        if waits_for.is_none() {
            watch.advance(u64::from(self.propose(cluster, next).await?));
        }
        Ok(())
    }

    /// Has a host's data move to others, until it keeps none.
    pub async fn drain_host(&self, name: &str) -> Result<()> {
        self.change_map(|map, now| map.draining(name, now)).await
    }

    /// Leaves a host out: one that is drained, or, where `is_lost`, one that will not come back.
    pub async fn remove_host(&self, name: &str, is_lost: bool) -> Result<()> {
        self.change_map(|map, now| map.without(name, is_lost, now)).await
    }

    pub(super) async fn change_map(
        &self,
        change: impl Fn(&ClusterMap, anello_base::Timestamp) -> Result<ClusterMap>,
    ) -> Result<()> {
        let alone = || Error::Membership("this host is not one of several".to_owned());
        let cluster = self.inner.cluster.as_ref().ok_or_else(alone)?;
        for _ in 0..CALM_LOOKS {
            self.catch_up(cluster).await?;
            let map = cluster.map();
            let next = blocking_here(|| change(&map, self.clock().wall()))?;
            // A map that comes too soon behind the last one would be refused by whoever has not seen that.
            let progress = self.gather(cluster, self.progress(cluster)).await;
            let is_time = !map.is_settled() || blocking_here(|| map.waits_for(&progress))?.is_none();
            // Where somebody was faster, the change begins again with his map.
            if is_time && self.propose(cluster, next).await? {
                return Ok(());
            }
            tokio::time::sleep(CALM_PAUSE).await;
        }
        Err(Error::Changing)
    }

    /// How far this host has come.
    fn progress(&self, cluster: &Cluster) -> Progress {
        let synced = held(&cluster.synced).clone();
        Progress { epoch: cluster.map().epoch, oldest: self.oldest_in_use(cluster), synced }
    }

    /// Goes over to the newest map that another host goes by.
    async fn catch_up(&self, cluster: &Cluster) -> Result<()> {
        let ours = cluster.map().epoch;
        let newer = cluster.peers().into_iter().filter(|peer| peer.epoch() > ours).max_by_key(|peer| peer.epoch());
        if let Some(peer) = newer
            && let Some(map) = peer.map().await?
        {
            self.adopt(cluster, map).await?;
        }
        Ok(())
    }

    /// How far the hosts have come that answer.
    async fn gather(&self, cluster: &Cluster, mine: Progress) -> BTreeMap<String, Progress> {
        let ask =
            |peer: Arc<crate::node::Peer>| async move { Some((peer.name().to_owned(), peer.progress().await.ok()?)) };
        let mut progress: BTreeMap<String, Progress> =
            join_all(cluster.peers().into_iter().map(ask)).await.into_iter().flatten().collect();
        progress.insert(cluster.member.me.name.clone(), mine);
        progress
    }

    /// Replaces the present map by `next`; `false` where somebody was faster.
    async fn propose(&self, cluster: &Cluster, next: ClusterMap) -> Result<bool> {
        let path = ObjectPath::new(ACCOUNT, CONTAINER, OBJECT);
        let stored = match self.object_read(&path).await {
            Ok(stored) => stored,
            Err(Error::Missing(_)) => None,
            Err(error) => return Err(error),
        };
        let condition = match stored {
            None => {
                self.container_update(ACCOUNT, CONTAINER, vec![], 0, IfMissing::Create).await?;
                Precondition::absent()
            }
            Some(mut reader) => {
                let etag = reader.info().etag.clone();
                let mut bytes = Vec::new();
                while let Some(piece) = reader.next().await? {
                    bytes.extend_from_slice(&piece);
                }
                let agreed = ClusterMap::decode(&bytes)?;
                if agreed.epoch >= next.epoch {
                    // Somebody was faster, or did not live to tell.
                    return self.adopt(cluster, agreed).await.map(|()| false);
                }
                Precondition { if_match: Some(Etags::List(vec![etag])), ..Precondition::default() }
            }
        };
        let bytes = Bytes::from(next.encode()?);
        let etag = blake3::hash(&bytes).to_hex().to_string();
        let head = ObjectHead { etag, content_type: "application/octet-stream".into(), ..ObjectHead::default() };
        match self.object_put(&path, bytes, head, &condition).await {
            Ok(_) => self.adopt(cluster, next).await.map(|()| true),
            // The next look shows who was.
            Err(Error::Precondition) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Goes by `map` from now on.
    async fn adopt(&self, cluster: &Cluster, map: ClusterMap) -> Result<()> {
        let _one_at_a_time = cluster.adopting.lock().await;
        if map.epoch <= cluster.map().epoch {
            return Ok(());
        }
        tracing::info!(epoch = map.epoch, changing = map.is_changing(), "the cluster's map has changed");
        let (nodes, peers) = cluster.member.nodes(&map);
        let placement = blocking_here(|| {
            let placement = Placement::of_cluster(&map, nodes)?;
            cluster.member.keep(&map).map(|()| placement)
        })?;
        cluster.member.epoch.advance(map.epoch).await;
        *held(&cluster.peers) = peers;
        self.set_placement(placement);
        *held(&cluster.map) = Arc::new(map.clone());
        cluster.member.roll.set_map(map);
        self.inner.replication.hurry();
        Ok(())
    }

    /// The oldest map that something under way in this process goes by.
    fn oldest_in_use(&self, cluster: &Cluster) -> u64 {
        let mut in_use = held(&cluster.in_use);
        in_use.retain(|placement| placement.strong_count() > 0);
        let epochs = in_use.iter().filter_map(Weak::upgrade).map(|placement| placement.epoch());
        epochs.min().unwrap_or(0)
    }

    /// A device's replicator has brought what it has to the devices that it moves to.
    pub(super) fn has_synced(&self, device: String, epoch: u64) {
        if let Some(cluster) = &self.inner.cluster {
            held(&cluster.synced).insert(device, epoch);
        }
    }

    /// The files of the map's rings, in the order of [`crate::Policies::rings`]; `None` on a host that is alone.
    pub(super) fn cluster_rings(&self) -> Option<Vec<Vec<u8>>> {
        Some(self.inner.cluster.as_ref()?.map().ring_files().to_vec())
    }

    pub(super) fn cluster_status(&self) -> Option<ClusterStatus> {
        let cluster = self.inner.cluster.as_ref()?;
        let map = cluster.map();
        let stage = match (map.is_changing(), map.is_sealed()) {
            (false, _) => None,
            (true, false) => Some("announced"),
            (true, true) => Some("moving data"),
        };
        let (placement, waits_for) = (self.placement(), held(&cluster.waits_for).clone());
        let change = stage.map(|stage| waits_for.map_or_else(|| stage.to_owned(), |why| format!("{stage}: {why}")));
        let hosts = map.hosts.iter().map(|host| {
            let replicas = host.devices.iter().map(|device| placement.replicas_on(&device.id)).sum();
            HostStatus { name: host.name.clone(), devices: host.devices.len(), state: host.state, replicas }
        });
        let peers = cluster.peers().iter().map(|peer| peer.status()).collect();
        Some(ClusterStatus { epoch: map.epoch, change, is_settled: map.is_settled(), hosts: hosts.collect(), peers })
    }
}
