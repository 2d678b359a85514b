//! The door of the engine. A [`Store`] knows the devices and the rings, writes to every primary and
//! acknowledges at a durable majority ([`quorum`]), and reads the newest version that a majority of the replicas
//! knows ([`read`]). What it promises is in `docs/consistency.md`.

mod account;
mod agree;
mod container;
mod dispersion;
mod erasure;
mod expiry;
pub mod freshness;
#[cfg(test)]
mod holdings;
mod listing;
mod lives;
mod membership;
mod placement;
mod policies;
mod quorum;
mod read;
mod replication;
mod settling;
mod sharding;
mod state;
mod streams;
mod whereabouts;
mod worker;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use anello_base::{Clock, HybridClock, SystemClock, Timestamp};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::{ClusterMap, ClusterStatus, Member};
pub use crate::daemon::auditor::AuditOptions;
use crate::daemon::threads::Behind;
use crate::daemon::watch::{DaemonStatus, Unit, Watch};
use crate::device::{Device, DeviceOptions, DeviceStatus};
use crate::error::Result;
use crate::key::{KeyHasher, ObjectPath};
use crate::model::{Content, Metadata};
use crate::mutation::{Applies, PathHashes};
use crate::node::{Epoch, Local, Peer, Write};
use crate::policy::PolicyStatus;
pub use dispersion::{Dispersion, DispersionReport};
pub use expiry::{Expired, ExpiryOptions};
pub use read::ObjectReader;
pub use replication::ReplicationOptions;
pub use sharding::ShardingOptions;
pub use state::ContainerState;
pub use whereabouts::{DeviceAddress, Whereabouts};
pub use worker::PartsToDelete;
pub use write::ObjectWriter;

use placement::{Duty, Hashes, Placement, Slot};
use policies::ContainerPolicies;
use quorum::Share;
use replication::Replication;
use settling::{Settling, UnderWay};
use sharding::KnownMaps;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// One directory for each device; created where absent.
    pub devices: Vec<PathBuf>,
    /// Where the rings are kept.
    pub state_dir: PathBuf,
    /// The cluster that the devices belong to.
    pub cluster_id: String,
    /// The cluster's secret; keys the placement hash.
    pub cluster_secret: Vec<u8>,
    /// How each device is opened.
    pub device: DeviceOptions,
    /// How eagerly the daemons work.
    pub daemons: DaemonOptions,
}

/// How eagerly the daemons work.
#[derive(Debug, Clone, Default)]
pub struct DaemonOptions {
    /// How eagerly replicas are compared, where there are several.
    pub replication: ReplicationOptions,
    /// How eagerly devices are audited.
    pub audit: AuditOptions,
    /// When huge containers are split.
    pub sharding: ShardingOptions,
    /// How long what has expired is kept.
    pub expiry: ExpiryOptions,
    /// Where they work ([`crate::daemon::threads`]); otherwise where clients are served.
    pub threads: Option<Behind>,
}

/// All that is stored. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    hasher: KeyHasher,
    clock: Arc<HybridClock>,
    settling: Settling,
    replication: Replication,
    audit: AuditOptions,
    /// Told when an account was deleted with all that is in it.
    sharding: ShardingOptions,
    expiry: ExpiryOptions,
    shard_maps: KnownMaps,
    /// The devices of this process.
    locals: Vec<Local>,
    cluster: Option<Cluster>,
    /// Where a host that is alone keeps its rings and policies.
    state_dir: Option<PathBuf>,
    container_policies: ContainerPolicies,
    /// Held for a look.
    placement: RwLock<Arc<Placement>>,
    background: TaskTracker,
    /// Where daemons work, if not where clients are served.
    threads: Option<Behind>,
    stop: CancellationToken,
    /// Of every daemon; held for a look.
    watches: Mutex<Vec<Arc<Watch>>>,
}

/// Whether there are other hosts.
enum Site {
    /// With the directory of its rings and policies.
    Alone(PathBuf),
    Cluster(Box<Cluster>),
}

/// This host as one of several. Its locks are held for a look.
struct Cluster {
    member: Member,
    map: Mutex<Arc<ClusterMap>>,
    peers: Mutex<Vec<Arc<Peer>>>,
    /// Placements that something may still go by.
    in_use: Mutex<Vec<Weak<Placement>>>,
    /// By device: the sealed map whose moves its replicator has been through.
    synced: Mutex<BTreeMap<String, u64>>,
    /// Why the next step of a change must wait, as this host sees it.
    waits_for: Mutex<Option<String>>,
    adopting: tokio::sync::Mutex<()>,
}

impl Cluster {
    fn map(&self) -> Arc<ClusterMap> {
        Arc::clone(&held(&self.map))
    }

    fn peers(&self) -> Vec<Arc<Peer>> {
        held(&self.peers).clone()
    }

    /// Whether most of the other hosts find this one's clock ahead.
    fn is_clock_ahead(&self) -> bool {
        let peers = held(&self.peers);
        peers.iter().filter(|peer| peer.finds_us_ahead()).count() * 2 > peers.len()
    }
}

/// What such a lock guards is whole at any time.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The store as `anello status` and the metrics show it.
#[derive(Debug, Clone, Serialize)]
pub struct StoreStatus {
    /// Replicas of each object.
    pub replicas: usize,
    /// Every storage policy.
    pub policies: Vec<PolicyStatus>,
    /// Every device.
    pub devices: Vec<DeviceStatus>,
    /// Every daemon that works on them.
    pub daemons: Vec<DaemonStatus>,
    /// The cluster, where there are other hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterStatus>,
}

/// What a finished object is called and like; everything but its bytes.
#[derive(Debug, Clone, Default)]
pub struct ObjectHead {
    /// Entity tag without quotes.
    pub etag: String,
    /// Media type.
    pub content_type: String,
    /// What the stored bytes are.
    pub content: Content,
    /// Size as clients see it, where it is not the number of stored bytes (part lists).
    pub size: Option<u64>,
    /// Second since 1970 from which the object is gone.
    pub delete_at: Option<u64>,
    /// Everything else, sorted by name.
    pub metadata: Metadata,
    /// Version to write under, where a peer or a client chose one ([`crate::Error::Stale`] if a later one
    /// stands); otherwise now.
    pub timestamp: Option<Timestamp>,
}

/// What an object is to be like from now on, its data aside.
#[derive(Debug, Clone, Default)]
pub struct ObjectUpdate {
    /// Media type, where it changes.
    pub content_type: Option<String>,
    /// Second since 1970 from which the object is gone; `None` clears it.
    pub delete_at: Option<u64>,
    /// All metadata, sorted by name.
    pub metadata: Metadata,
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Version written.
    pub timestamp: Timestamp,
    /// Whether nothing was there before.
    pub created: bool,
}

/// Whether a change of metadata creates what is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfMissing {
    /// Create it.
    Create,
    /// Fail with [`crate::Error::Missing`].
    Fail,
}

impl Store {
    /// Opens every device (replaying its log where it was not closed) and starts the workers. Blocks; to be
    /// called within a tokio runtime, off its reactor.
    pub fn open(options: StoreOptions) -> Result<Self> {
        Self::open_with_clock(options, SystemClock)
    }

    /// As [`Store::open`], with another clock.
    pub fn open_with_clock(options: StoreOptions, clock: impl Clock) -> Result<Self> {
        let hasher = KeyHasher::new(&options.cluster_secret);
        let device = |dir: &PathBuf| Device::open(dir, &options.cluster_id, options.device.clone());
        let epoch = Arc::new(Epoch::default());
        let open = |dir: &PathBuf| Local::open(device(dir)?, hasher.clone(), Arc::clone(&epoch));
        let locals = options.devices.iter().map(open).collect::<Result<Vec<_>>>()?;
        let policies = policies::read(&options.state_dir)?;
        let placement = Placement::of_one_host(&options.state_dir, policies, &locals)?;
        let clock = Arc::new(HybridClock::new(clock));
        Self::start(clock, &options.cluster_secret, locals, placement, options.daemons, Site::Alone(options.state_dir))
    }

    /// Opens the store of a cluster that is complete.
    pub fn open_member(member: Member, map: &ClusterMap) -> Result<Self> {
        let (nodes, peers) = member.nodes(map);
        let placement = Placement::of_cluster(map, nodes)?;
        let (clock, secret, locals) = (Arc::clone(&member.clock), member.cluster_secret.clone(), member.locals.clone());
        let daemons = member.daemons.clone();
        let cluster = Cluster {
            member,
            map: Mutex::new(Arc::new(map.clone())),
            peers: Mutex::new(peers),
            in_use: Mutex::default(),
            synced: Mutex::default(),
            waits_for: Mutex::default(),
            adopting: tokio::sync::Mutex::default(),
        };
        Self::start(clock, &secret, locals, placement, daemons, Site::Cluster(Box::new(cluster)))
    }

    fn start(
        clock: Arc<HybridClock>,
        cluster_secret: &[u8],
        locals: Vec<Local>,
        placement: Placement,
        daemons: DaemonOptions,
        site: Site,
    ) -> Result<Self> {
        for local in &locals {
            // Everything up to here may have been promised before a crash.
            clock.observe(local.device.promise_floor()?);
        }
        let (state_dir, cluster) = match site {
            Site::Alone(state_dir) => (Some(state_dir), None),
            Site::Cluster(cluster) => (None, Some(*cluster)),
        };
        let store = Self {
            inner: Arc::new(Inner {
                hasher: KeyHasher::new(cluster_secret),
                clock,
                placement: RwLock::new(Arc::new(placement)),
                locals,
                cluster,
                state_dir,
                container_policies: ContainerPolicies::default(),
                settling: Settling::new(),
                replication: Replication::new(daemons.replication),
                audit: daemons.audit,
                sharding: daemons.sharding,
                expiry: daemons.expiry,
                shard_maps: KnownMaps::default(),
                background: TaskTracker::new(),
                threads: daemons.threads,
                stop: CancellationToken::new(),
                watches: Mutex::default(),
            }),
        };
        if let Some(cluster) = &store.inner.cluster {
            held(&cluster.in_use).push(Arc::downgrade(&store.placement()));
        }
        store.start_workers();
        Ok(store)
    }

    /// Ends the workers, waits for writes in the background, and closes every device. What is acknowledged
    /// is durable without it; it makes the next start fast.
    pub async fn close(&self) -> Result<()> {
        self.inner.stop.cancel();
        self.inner.background.close();
        self.inner.background.wait().await;
        for local in self.locals() {
            local.device.close().await?;
        }
        Ok(())
    }

    /// How the store is.
    pub fn status(&self) -> StoreStatus {
        let watches = self.inner.watches.lock().unwrap_or_else(PoisonError::into_inner);
        StoreStatus {
            replicas: self.placement().replicas(),
            policies: self.placement().policies().status(),
            devices: self.locals().iter().map(|local| local.device.status()).collect(),
            cluster: self.cluster_status(),
            daemons: watches.iter().map(|watch| watch.status()).collect(),
        }
    }

    /// Where a daemon that works on the whole store tells how it stands, for [`Store::status`].
    pub fn watch(&self, name: &'static str, unit: Unit) -> Arc<Watch> {
        self.show(Watch::new(name, None, unit))
    }

    fn show(&self, watch: Arc<Watch>) -> Arc<Watch> {
        self.inner.watches.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&watch));
        watch
    }

    /// The store's clock: what it stamps mutations with.
    pub fn clock(&self) -> &HybridClock {
        &self.inner.clock
    }

    /// Each device's share of a write that `write` makes for it.
    fn shares(
        &self,
        placement: &Placement,
        parts: Vec<(Slot, Duty)>,
        hashes: Hashes,
        under_way: &UnderWay,
        write: impl Fn(Slot, Applies) -> Result<Write>,
    ) -> Vec<Share> {
        let alone = parts.len() == 1;
        let share = |(slot, duty): (Slot, Duty)| {
            let (node, applies) = (placement.node(slot).clone(), duty.applies());
            let stand_ins = if alone { Vec::new() } else { placement.stand_ins(hashes, applies) };
            let write = write(slot, applies).map(|write| Write { applies, ..write });
            Share { node, duty, shard: 0, write, stand_ins, under_way: under_way.clone() }
        };
        parts.into_iter().map(share).collect()
    }

    /// A write of these begins: see [`settling`]. On a single device a share that is answered is all there is.
    async fn begin(&self, placement: &Placement, hashes: Hashes, depends: bool) -> UnderWay {
        let parents = [hashes.container, hashes.account].into_iter().flatten();
        match hashes.object {
            Some(object) if depends || !placement.is_single() => {
                self.inner.settling.begin_object(parents, object.hash, depends).await
            }
            None if !placement.is_single() => self.inner.settling.begin(parents).await,
            _ => UnderWay::default(),
        }
    }

    fn hasher(&self) -> &KeyHasher {
        &self.inner.hasher
    }

    fn hashes(&self, path: &ObjectPath) -> PathHashes {
        PathHashes {
            account: self.hasher().account(&path.account),
            container: self.hasher().container(&path.account, &path.container),
            object: self.hasher().object(path),
        }
    }

    fn placement(&self) -> Arc<Placement> {
        Arc::clone(&self.inner.placement.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether there is one device only.
    fn is_single(&self) -> bool {
        self.inner.placement.read().unwrap_or_else(PoisonError::into_inner).is_single()
    }

    fn set_placement(&self, placement: Placement) {
        let placement = Arc::new(placement);
        if let Some(cluster) = &self.inner.cluster {
            held(&cluster.in_use).push(Arc::downgrade(&placement));
        }
        *self.inner.placement.write().unwrap_or_else(PoisonError::into_inner) = placement;
    }

    fn locals(&self) -> &[Local] {
        &self.inner.locals
    }

    fn background(&self) -> &TaskTracker {
        &self.inner.background
    }

    /// Has something done that no client waits for.
    fn spawn_daemon(&self, daemon: impl Future<Output: Send> + Send + 'static) {
        match &self.inner.threads {
            Some(threads) => {
                let threads = threads.clone();
                drop(self.background().spawn(async move { threads.run(daemon).await.map(drop) }));
            }
            None => drop(self.background().spawn(daemon)),
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("devices", &self.locals()).finish_non_exhaustive()
    }
}
