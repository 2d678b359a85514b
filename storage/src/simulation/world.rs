//! The simulated cluster: its hosts, its network, and the ways to begin and end them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::chance;
use super::host::{End, Host, address, device_id, name};
use super::network::Network;
use crate::Store;
use crate::cluster::{ClusterMap, Host as MapHost, HostDevice, HostState, Part};
use crate::store::{DaemonOptions, IfMissing};

pub(crate) const ACCOUNT: &str = "AUTH_a";
/// The objects of the last one are cut into fragments.
pub(crate) const CONTAINERS: [&str; 3] = ["c0", "c1", "cut"];
const CUT: u32 = 1;

/// A disk in memory, where there is one: an index is written by RocksDB itself.
const MEMORY: &str = "/dev/shm";

thread_local! {
    /// Maps of clusters of so many hosts with so many disks and this policy: the same in every simulation, and the
    /// dearest part of its beginning.
    static MAPS: RefCell<BTreeMap<(usize, usize, &'static str), ClusterMap>> = const { RefCell::new(BTreeMap::new()) };
}

/// A host that is up: its number, its store, and what is cancelled when it ends.
pub(crate) type Door = (usize, Store, CancellationToken);

/// The hosts that clients go through.
#[derive(Clone, Default)]
pub(crate) struct Doors(Arc<Mutex<BTreeMap<usize, Door>>>);

impl Doors {
    fn with<T>(&self, look: impl FnOnce(&mut BTreeMap<usize, Door>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One of them, where any is up.
    pub(crate) fn any(&self) -> Option<Door> {
        self.with(|doors| {
            let doors: Vec<&Door> = doors.values().collect();
            (!doors.is_empty()).then(|| (*chance::pick(&doors)).clone())
        })
    }

    pub(crate) fn all(&self) -> Vec<Door> {
        self.with(|doors| doors.values().cloned().collect())
    }
}

/// See the module.
pub(crate) struct World {
    pub(crate) network: Arc<Network>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) doors: Doors,
    /// Of each host.
    pub(super) disks: usize,
    /// A host that is not in the cluster yet.
    pub(super) joining: Option<JoinHandle<(Host, Started)>>,
    pub(super) daemons: DaemonOptions,
    pub(super) directory: TempDir,
    /// The simulation's time zero.
    pub(super) begun: Instant,
}

/// A host that was started: its store, and what is cancelled when it ends.
pub(crate) type Started = (Store, CancellationToken);

impl World {
    /// A cluster of so many hosts with so many disks, with a policy that cuts objects into fragments.
    pub(crate) async fn form(hosts: usize, disks: usize, cut: &'static str, daemons: DaemonOptions) -> Self {
        let root = if Path::new(MEMORY).is_dir() { PathBuf::from(MEMORY) } else { std::env::temp_dir() };
        let directory = tempfile::Builder::new().prefix("anello-simulation").tempdir_in(root).expect("a directory");
        let map = MAPS.with_borrow_mut(|maps| {
            maps.entry((hosts, disks, cut)).or_insert_with(|| map_of(hosts, disks, cut)).clone()
        });
        let begun = Instant::now();
        let hosts: Vec<Host> = (0..hosts).map(|number| Host::new(number, disks, directory.path(), begun)).collect();
        hosts.iter().for_each(|host| map.write(&host.dir.join("cluster.map")).expect("writes"));
        let (network, doors) = (Network::new(), Doors::default());
        let mut world = Self { network, hosts, doors, disks, joining: None, daemons, directory, begun };
        for number in 0..world.hosts.len() {
            world.start(number).await;
        }
        let (_, store, _) = world.doors.any().expect("all are up");
        for (container, policy) in CONTAINERS.into_iter().zip([0, 0, CUT]) {
            store.container_update(ACCOUNT, container, vec![], policy, IfMissing::Create).await.expect("a container");
        }
        world
    }

    /// The stores of the hosts that are up.
    pub(crate) fn stores(&self) -> Vec<Store> {
        self.doors.all().into_iter().map(|(_, store, _)| store).collect()
    }

    /// Starts a host.
    pub(crate) async fn start(&mut self, number: usize) {
        let (network, daemons) = (Arc::clone(&self.network), self.daemons.clone());
        let host = &mut self.hosts[number];
        let started = host.start(&network, Part::Join(address(&name(0))), daemons).await;
        self.open_door(number, started);
    }

    pub(super) fn open_door(&self, number: usize, (store, power): Started) {
        self.doors.with(|doors| doors.insert(number, (number, store, power)));
    }

    /// Ends a host that is up.
    pub(crate) async fn end(&mut self, number: usize, how: End) {
        self.doors.with(|doors| doors.remove(&number));
        let network = Arc::clone(&self.network);
        self.hosts[number].end(&network, how).await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Hosts and network hold each other.
        self.network.detach_all();
    }
}

fn map_of(hosts: usize, disks: usize, cut: &str) -> ClusterMap {
    let device = |host, disk| HostDevice { id: hex::encode(device_id(host, disk)), weight: 1, is_lost: false };
    let host = |number| MapHost {
        name: name(number),
        address: address(&name(number)),
        region: 1,
        zone: number as u32 + 1,
        devices: (0..disks).map(|disk| device(number, disk)).collect(),
        number: 0,
        state: HostState::Member,
    };
    let map = ClusterMap::form((0..hosts).map(host).collect()).expect("a map");
    map.changing_policies(|policies| policies.with("cut", cut.parse()?)).expect("a policy")
}
