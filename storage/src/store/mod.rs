//! The door of the engine. A [`Store`] knows the devices and the rings, writes to every primary and
//! acknowledges at a durable majority ([`quorum`]), and reads the newest version that any replica has
//! ([`read`]). All devices are in this process.

mod account;
mod container;
mod locks;
mod placement;
mod quorum;
mod read;
mod worker;
mod write;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anello_base::{Clock, HybridClock, SystemClock, Timestamp};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::daemon::watch::{DaemonStatus, Unit, Watch};
use crate::device::{Device, DeviceOptions, DeviceStatus};
use crate::error::{Error, Result};
use crate::key::{KeyHash, KeyHasher, ObjectPath};
use crate::model::{Content, Metadata};
use crate::mutation::{Applies, Mutation, PathHashes};
pub use read::ObjectReader;
pub use worker::PartsToDelete;
pub use write::ObjectWriter;

use locks::Locks;
use placement::{Placement, Slot};
use quorum::Share;

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
}

/// All that is stored. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    hasher: KeyHasher,
    clock: HybridClock,
    locks: Locks,
    placement: Placement,
    background: TaskTracker,
    stop: CancellationToken,
    /// Of every daemon; held for a look.
    watches: Mutex<Vec<Arc<Watch>>>,
}

/// The store as `anello status` and the metrics show it.
#[derive(Debug, Clone, Serialize)]
pub struct StoreStatus {
    /// Replicas of each object.
    pub replicas: usize,
    /// Every device.
    pub devices: Vec<DeviceStatus>,
    /// Every daemon that works on them.
    pub daemons: Vec<DaemonStatus>,
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
        let open = |dir: &PathBuf| Device::open(dir, &options.cluster_id, options.device.clone());
        let devices = options.devices.iter().map(open).collect::<Result<Vec<_>>>()?;
        let store = Self {
            inner: Arc::new(Inner {
                hasher: KeyHasher::new(&options.cluster_secret),
                clock: HybridClock::new(clock),
                locks: Locks::new(),
                placement: Placement::open(&options.state_dir, devices)?,
                background: TaskTracker::new(),
                stop: CancellationToken::new(),
                watches: Mutex::default(),
            }),
        };
        store.start_workers();
        Ok(store)
    }

    /// Ends the workers, waits for writes in the background, and closes every device. What is acknowledged
    /// is durable without it; it makes the next start fast.
    pub async fn close(&self) -> Result<()> {
        self.inner.stop.cancel();
        self.inner.background.close();
        self.inner.background.wait().await;
        for device in self.inner.placement.devices() {
            device.close().await?;
        }
        Ok(())
    }

    /// How the store is.
    pub fn status(&self) -> StoreStatus {
        let placement = self.placement();
        let watches = self.inner.watches.lock().unwrap_or_else(PoisonError::into_inner);
        StoreStatus {
            replicas: placement.replicas(),
            devices: placement.devices().iter().map(Device::status).collect(),
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

    /// Commits the same mutation on several devices; tells whether it created something.
    async fn commit(&self, mutation: Mutation, rows_of: &[KeyHash], parts: Vec<(Slot, Applies)>) -> Result<bool> {
        let shares = self.shares(parts, rows_of, |_, _| Ok(mutation.clone())).await;
        let outcome = quorum::commit(shares, self.background()).await?;
        outcome.stale.map_or(Ok(outcome.created), |current| Err(Error::Stale { current }))
    }

    /// Each device's share of a mutation that changes rows below `rows_of` (containers, accounts).
    async fn shares(
        &self,
        mut parts: Vec<(Slot, Applies)>,
        rows_of: &[KeyHash],
        mutation: impl Fn(Slot, Applies) -> Result<Mutation>,
    ) -> Vec<Share> {
        let alone = parts.len() == 1;
        parts.sort_unstable_by_key(|(slot, _)| *slot);
        let mut shares = Vec::with_capacity(parts.len());
        for (slot, applies) in parts {
            let on_its_way = if alone { Vec::new() } else { self.placement().settling(slot).begin(rows_of).await };
            let device = self.placement().device(slot).clone();
            shares.push(Share { device, mutation: mutation(slot, applies), applies, on_its_way });
        }
        shares
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

    fn locks(&self) -> &Locks {
        &self.inner.locks
    }

    fn placement(&self) -> &Placement {
        &self.inner.placement
    }

    fn background(&self) -> &TaskTracker {
        &self.inner.background
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("devices", &self.placement().devices()).finish_non_exhaustive()
    }
}
