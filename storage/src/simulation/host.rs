//! A simulated host: a disk, an index, a clock, and while it has power, the real member and store.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use anello_base::{Clock, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fragments::reap;
use super::network::{Link, Network};
use super::{chance, trace};
use crate::Store;
use crate::cluster::{Member, MemberOptions, Part};
use crate::device::backend::stepped::StepOptions;
use crate::device::catalog::Catalog;
use crate::device::disk::simulated::{Faults, Loss, SimulatedDisk};
use crate::device::opening::{BackendKind, Geometry, INDEX, Inner};
use crate::device::superblock::{self, Superblock};
use crate::device::{Device, DeviceOptions, DeviceState};
use crate::error::Result;
use crate::index::Index;
use crate::limits::ALIGNMENT;
use crate::store::DaemonOptions;

pub(crate) const CLUSTER: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const SECRET: &[u8] = b"secret";

/// So small that a short workload crosses the ends of log volumes, and compacts them.
const GEOMETRY: Geometry = Geometry { log_volume_bytes: 1 << 20, data_volume_bytes: 32 << 20 };

/// When simulations begin.
const BEGIN: Timestamp = Timestamp::from_ticks(170_000_000_000_000);

/// Memory of an index's block cache.
const CACHE_BYTES: usize = 1 << 20;

/// The longest that an operation of a healthy disk takes.
const DISK_MS: u64 = 3;

/// How a host loses what it was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The process is killed; the disk has all that was written.
    Kill,
    /// The power fails: of what was not synced some sectors are there.
    PowerLoss,
    /// The process ends as it should.
    Close,
}

/// See the module.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) disk: SimulatedDisk,
    /// Directory of the index and the map.
    pub(crate) dir: PathBuf,
    number: usize,
    /// Counts disks that it had.
    disks: usize,
    /// Counts starts: each has an index of its own, that a task of the last one can't reach.
    starts: u32,
    clock_offset: Arc<AtomicI64>,
    longest_ms: Arc<AtomicU64>,
    begun: Instant,
    life: Option<Life>,
}

struct Life {
    store: Store,
    power: CancellationToken,
}

/// A wall clock that is off by some ticks.
struct SimulatedClock {
    begun: Instant,
    offset: Arc<AtomicI64>,
}

impl Clock for SimulatedClock {
    fn wall(&self) -> Timestamp {
        let now = BEGIN.plus(self.begun.elapsed()).ticks();
        Timestamp::from_ticks(now.saturating_add_signed(self.offset.load(Ordering::Relaxed)))
    }
}

impl Host {
    /// Host number `number`, in a directory below `root`, at the simulation's time zero.
    pub(crate) fn new(number: usize, root: &Path, begun: Instant) -> Self {
        let name = name(number);
        let dir = root.join(&name);
        fs::create_dir_all(&dir).expect("a directory");
        Self {
            disk: new_disk(number, 0),
            number,
            disks: 1,
            dir,
            starts: 0,
            clock_offset: Arc::new(AtomicI64::new(number as i64 * 7)),
            longest_ms: Arc::new(AtomicU64::new(DISK_MS)),
            begun,
            life: None,
            name,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.life.is_some()
    }

    /// Sets its clock to be off by so many ticks of 10 µs.
    pub(crate) fn set_clock(&self, offset: i64) {
        self.clock_offset.store(offset, Ordering::Relaxed);
    }

    /// Lets its clock go forward at once.
    pub(crate) fn set_forward(&self, by: Duration) {
        let ticks = Timestamp::ZERO.plus(by).ticks();
        self.clock_offset.fetch_add(ticks.cast_signed(), Ordering::Relaxed);
    }

    fn index_dir(&self, start: u32) -> PathBuf {
        self.dir.join(format!("{INDEX}-{start}"))
    }

    fn open_device(&self, power: &CancellationToken) -> Result<Device> {
        let superblock = superblock::read(&self.disk)?.expect("it was made with the host");
        let (index, position) = Index::open_or_renew(&self.index_dir(self.starts), CACHE_BYTES)?;
        let index = Arc::new(index);
        let catalog = Arc::clone(&index) as Arc<dyn Catalog>;
        let options = StepOptions { power: power.clone(), longest_ms: Arc::clone(&self.longest_ms) };
        let (disk, kind) = (Arc::new(self.disk.clone()), BackendKind::Stepped(options));
        let mut inner = Inner::assemble(disk, superblock, catalog, position, GEOMETRY, kind)?;
        inner.index = Some(index);
        Ok(Device { inner: Arc::new(inner) })
    }

    /// Starts the host, as `anello serve` does; `part` says how it comes to the cluster. Returns its store, and what is
    /// cancelled when it ends.
    pub(crate) async fn start(
        &mut self,
        network: &Arc<Network>,
        part: Part,
        daemons: DaemonOptions,
    ) -> (Store, CancellationToken) {
        assert!(self.life.is_none(), "{} is up", self.name);
        if self.disk.fails() {
            // A host does not start before somebody has seen to it.
            self.repair_disk();
        }
        trace::note(format_args!("{} starts", self.name));
        let power = CancellationToken::new();
        let device = self.open_device(&power).unwrap_or_else(|error| panic!("{} does not start: {error}", self.name));
        let options = MemberOptions {
            devices: Vec::new(),
            state_dir: self.dir.clone(),
            cluster_id: CLUSTER.to_owned(),
            cluster_secret: SECRET.to_vec(),
            device: DeviceOptions::default(),
            name: self.name.clone(),
            address: address(&self.name),
            region: 1,
            zone: self.number as u32 + 1,
            part,
            daemons,
        };
        let clock = SimulatedClock { begun: self.begun, offset: Arc::clone(&self.clock_offset) };
        let link = Link { network: Arc::clone(network), from: address(&self.name), power: power.clone() };
        let member = Member::with_devices(vec![device], options, clock, Arc::new(link)).expect("a member");
        tokio::time::sleep(member.until_floors().expect("reads")).await;
        network.attach(&address(&self.name), member.service(), power.clone());
        let map = member.map().await.expect("the map");
        let store = Store::open_member(member, &map).expect("opens");
        tokio::spawn(power.clone().run_until_cancelled_owned(reap(store.clone())));
        self.life = Some(Life { store: store.clone(), power: power.clone() });
        (store, power)
    }

    /// Ends the host.
    pub(crate) async fn end(&mut self, network: &Network, how: End) {
        let Some(Life { store, power }) = self.life.take() else { return };
        trace::note(format_args!("{} ends: {how:?}", self.name));
        network.detach(&address(&self.name));
        let loss = match how {
            End::Close => {
                // A fault of the disk may keep it from ending well.
                let _ = tokio::time::timeout(Duration::from_secs(60), store.close()).await;
                Loss::Nothing
            }
            End::Kill => Loss::Nothing,
            End::PowerLoss if chance::percent(20) => Loss::All,
            End::PowerLoss => Loss::Some(chance::within(1..=u64::MAX)),
        };
        power.cancel();
        store.abandon();
        self.disk = self.disk.lose_power(loss);
        self.starts += 1;
        copy_index(&self.index_dir(self.starts - 1), &self.index_dir(self.starts));
    }

    /// Its disk takes so long for an operation, at most.
    pub(crate) fn set_slowest(&self, longest_ms: u64) {
        self.longest_ms.store(longest_ms, Ordering::Relaxed);
    }

    /// Whether its device takes no writes until it is started again.
    pub(crate) fn is_read_only(&self) -> bool {
        let store = self.life.iter().flat_map(|life| life.store.devices());
        store.into_iter().any(|device| matches!(device.state(), DeviceState::ReadOnly(_)))
    }

    /// Its disk, while it is down, gives way to an empty one.
    pub(crate) fn replace_disk(&mut self) {
        self.disk = new_disk(self.number, self.disks);
        self.disks += 1;
        // The index of the next start is another one.
        self.starts += 1;
    }

    /// Flips a bit in one of the blocks that were written.
    pub(crate) fn rot(&self) {
        let blocks = self.disk.written(if chance::percent(50) { ".log.vol" } else { ".data.vol" });
        if blocks.is_empty() {
            return;
        }
        let (name, offset) = chance::pick(&blocks);
        let (offset, bit) = (offset + chance::below(ALIGNMENT), chance::below(8));
        trace::note(format_args!("{} rots: {name} at {offset}", self.name));
        self.disk.flip(name, offset, 1 << bit);
    }

    /// The disk is as it should be.
    pub(crate) fn repair_disk(&self) {
        self.disk.set_faults(Faults::default());
        self.longest_ms.store(DISK_MS, Ordering::Relaxed);
    }
}

/// The id of a host's first disk, or of one that came later.
pub(crate) fn device_id(number: usize, disk: usize) -> [u8; 16] {
    [(number + 1 + 16 * disk) as u8; 16]
}

fn new_disk(number: usize, disk: usize) -> SimulatedDisk {
    let (device_id, new) = (device_id(number, disk), SimulatedDisk::default());
    let created = Superblock { cluster_id: CLUSTER.to_owned(), device_id, created: BEGIN };
    superblock::create(&new, &created).expect("a superblock");
    new
}

pub(crate) fn name(number: usize) -> String {
    format!("h{number}")
}

pub(crate) fn address(name: &str) -> String {
    format!("{name}:1")
}

/// Copies what of an index is on disk, which is what a crash leaves: it is flushed in the simulation's own thread only.
/// RocksDB's compactions go on meanwhile, so what is copied must be the same before and after.
fn copy_index(from: &Path, to: &Path) {
    let files = || -> Vec<PathBuf> {
        let entries = fs::read_dir(from).expect("lists").map(|entry| entry.expect("an entry").path());
        let mut files: Vec<PathBuf> = entries.filter(|path| path.file_name().is_some_and(|it| it != "LOCK")).collect();
        // The manifest first, so that whatever it names is copied behind it.
        files.sort_by_key(|path| (path.extension().is_some(), path.clone()));
        files
    };
    for _ in 0..100 {
        let _ = fs::remove_dir_all(to);
        fs::create_dir(to).expect("a directory");
        let before = files();
        let copied = before.iter().all(|file| fs::copy(file, to.join(file.file_name().expect("a name"))).is_ok());
        if copied && files() == before {
            return;
        }
    }
    panic!("the index does not come to rest: {}", from.display());
}
