//! A simulated host: its disks with an index each, a clock, and while it has power, the real member and store.

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
    /// Directory of the indexes and the map.
    pub(crate) dir: PathBuf,
    disks: Vec<Disk>,
    number: usize,
    /// Counts disks that it had.
    had: usize,
    /// Counts starts: each has indexes of its own, that a task of the last one can't reach.
    starts: u32,
    clock_offset: Arc<AtomicI64>,
    begun: Instant,
    life: Option<Life>,
}

/// One of a host's disks.
struct Disk {
    disk: SimulatedDisk,
    /// The longest that an operation takes.
    longest_ms: Arc<AtomicU64>,
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
    /// Host number `number` with so many disks, in a directory below `root`, at the simulation's time zero.
    pub(crate) fn new(number: usize, disks: usize, root: &Path, begun: Instant) -> Self {
        let name = name(number);
        let dir = root.join(&name);
        fs::create_dir_all(&dir).expect("a directory");
        Self {
            disks: (0..disks).map(|disk| Disk::new(number, disk)).collect(),
            number,
            had: disks,
            dir,
            starts: 0,
            clock_offset: Arc::new(AtomicI64::new(number as i64 * 7)),
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

    fn index_dir(&self, disk: usize, start: u32) -> PathBuf {
        self.dir.join(format!("{INDEX}-{disk}-{start}"))
    }

    fn open_device(&self, number: usize, power: &CancellationToken) -> Result<Device> {
        let Disk { disk, longest_ms } = &self.disks[number];
        let superblock = superblock::read(disk)?.expect("it was made with the host");
        let (index, position) = Index::open_or_renew(&self.index_dir(number, self.starts), CACHE_BYTES)?;
        let index = Arc::new(index);
        let catalog = Arc::clone(&index) as Arc<dyn Catalog>;
        let options = StepOptions { power: power.clone(), longest_ms: Arc::clone(longest_ms) };
        let (disk, kind) = (Arc::new(disk.clone()), BackendKind::Stepped(options));
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
        if self.disks.iter().any(|it| it.disk.fails()) {
            // A host does not start before somebody has seen to it.
            self.repair_disks();
        }
        trace::note(format_args!("{} starts", self.name));
        let power = CancellationToken::new();
        let open = |disk| self.open_device(disk, &power);
        let devices: Result<Vec<Device>> = (0..self.disks.len()).map(open).collect();
        let devices = devices.unwrap_or_else(|error| panic!("{} does not start: {error}", self.name));
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
        let member = Member::with_devices(devices, options, clock, Arc::new(link)).expect("a member");
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
        if how == End::Close {
            // A fault of the disk may keep it from ending well.
            let _ = tokio::time::timeout(Duration::from_secs(60), store.close()).await;
        }
        power.cancel();
        store.abandon();
        self.starts += 1;
        for number in 0..self.disks.len() {
            let loss = match how {
                End::Close | End::Kill => Loss::Nothing,
                End::PowerLoss if chance::percent(20) => Loss::All,
                End::PowerLoss => Loss::Some(chance::within(1..=u64::MAX)),
            };
            let disk = &mut self.disks[number].disk;
            *disk = disk.lose_power(loss);
            copy_index(&self.index_dir(number, self.starts - 1), &self.index_dir(number, self.starts));
        }
    }

    /// One of its disks.
    fn any_disk(&self) -> usize {
        if self.disks.len() == 1 { 0 } else { chance::below(self.disks.len() as u64) as usize }
    }

    /// One of its disks takes so long for an operation, at most.
    pub(crate) fn set_slowest(&self, longest_ms: u64) {
        self.disks[self.any_disk()].longest_ms.store(longest_ms, Ordering::Relaxed);
    }

    /// One of its disks has these faults.
    pub(crate) fn set_faults(&self, faults: Faults) {
        self.disks[self.any_disk()].disk.set_faults(faults);
    }

    /// Whether one of its devices takes no writes until it is started again.
    pub(crate) fn is_read_only(&self) -> bool {
        let store = self.life.iter().flat_map(|life| life.store.devices());
        store.into_iter().any(|device| matches!(device.state(), DeviceState::ReadOnly(_)))
    }

    /// One of its disks, while it is down, gives way to an empty one.
    pub(crate) fn replace_disk(&mut self) {
        let number = self.any_disk();
        self.disks[number] = Disk::new(self.number, self.had);
        self.had += 1;
        // Its index is another one, too.
        fs::remove_dir_all(self.index_dir(number, self.starts)).expect("removes");
    }

    /// Flips a bit in one of the blocks that were written to its first disk: several of an object's fragments may be on
    /// one host.
    pub(crate) fn rot(&self) {
        let disk = &self.disks[0].disk;
        let blocks = disk.written(if chance::percent(50) { ".log.vol" } else { ".data.vol" });
        if blocks.is_empty() {
            return;
        }
        let (name, offset) = chance::pick(&blocks);
        let (offset, bit) = (offset + chance::below(ALIGNMENT), chance::below(8));
        trace::note(format_args!("{} rots: {name} at {offset}", self.name));
        disk.flip(name, offset, 1 << bit);
    }

    /// The disks are as they should be.
    pub(crate) fn repair_disks(&self) {
        for Disk { disk, longest_ms } in &self.disks {
            disk.set_faults(Faults::default());
            longest_ms.store(DISK_MS, Ordering::Relaxed);
        }
    }
}

/// The id of one of the disks that a host has or comes to have.
pub(crate) fn device_id(host: usize, disk: usize) -> [u8; 16] {
    [(host + 1 + 16 * disk) as u8; 16]
}

impl Disk {
    /// A new one, of this number among those that the host ever had.
    fn new(host: usize, number: usize) -> Self {
        let (device_id, disk) = (device_id(host, number), SimulatedDisk::default());
        let created = Superblock { cluster_id: CLUSTER.to_owned(), device_id, created: BEGIN };
        superblock::create(&disk, &created).expect("a superblock");
        Self { disk, longest_ms: Arc::new(AtomicU64::new(DISK_MS)) }
    }
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
