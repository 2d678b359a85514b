//! A host's part in the cluster, from its first start on.
//!
//! One host founds the cluster for a number of hosts; the others know its address and the cluster's secret from
//! the join token. Each asks the founder until it has the map; the founder makes it, durably, once the last one
//! has asked. Whatever is cut off on the way is simply asked again.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use anello_base::{Clock, HybridClock};

use super::change::Progress;
use super::map::{ClusterMap, Host, HostDevice, HostState};
use crate::device::{Device, DeviceOptions};
use crate::error::{Error, Result};
use crate::key::KeyHasher;
use crate::node::{
    CLOCK_SKEW_MAX, Epoch, HttpService, HttpTransport, Local, Node, NodeService, PROMISE_LEAD, Peer, PeerStatus, Peers,
    Remote, Transport,
};
use crate::store::DaemonOptions;

/// How often a host asks for the map while the cluster forms.
const ASK_INTERVAL: Duration = Duration::from_millis(500);

/// A gibibyte, the unit of weights.
const WEIGHT_BYTES: u64 = 1 << 30;

/// How a host takes part.
#[derive(Debug, Clone)]
pub struct MemberOptions {
    /// One directory for each device; created where absent. None on a host that keeps no data.
    pub devices: Vec<PathBuf>,
    /// Where the map is kept.
    pub state_dir: PathBuf,
    /// The cluster.
    pub cluster_id: String,
    /// Its secret.
    pub cluster_secret: Vec<u8>,
    /// How each device is opened.
    pub device: DeviceOptions,
    /// This host's name, once in the cluster.
    pub name: String,
    /// Where other hosts reach it.
    pub address: String,
    /// Where it stands.
    pub region: u32,
    /// See `region`.
    pub zone: u32,
    /// What it does while there is no map.
    pub part: Part,
    /// How eagerly the daemons work.
    pub daemons: DaemonOptions,
}

/// What a host does while there is no map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Waits for this many hosts, itself included, and makes the map.
    Found(usize),
    /// Asks the founder at this address.
    Join(String),
}

/// A host of the cluster, its devices open.
pub struct Member {
    pub(crate) locals: Vec<Local>,
    pub(crate) clock: Arc<HybridClock>,
    pub(crate) cluster_secret: Vec<u8>,
    pub(crate) daemons: DaemonOptions,
    pub(crate) me: Host,
    part: Part,
    map_path: PathBuf,
    peers: Arc<Peers>,
    known: Mutex<Vec<Arc<Peer>>>,
    service: Arc<NodeService>,
    pub(crate) roll: Arc<Roll>,
    pub(crate) epoch: Arc<Epoch>,
}

/// Who wants to take part, the map once it is made, and how far this host has come with it.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    hosts: Mutex<Vec<Host>>,
    map: RwLock<Option<ClusterMap>>,
    progress: Mutex<Progress>,
}

impl Roll {
    /// A host asks to take part, or asks again; the map where there is one and it is in it.
    pub(crate) fn enter(&self, host: Host) -> Result<Option<ClusterMap>> {
        if let Some(map) = self.map.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            let known = map.host(&host.name);
            let is_it = |known: &Host| known.address == host.address || !known.devices.is_empty();
            if known.is_some_and(|known| known.has_devices(&host.devices) && is_it(known)) {
                return Ok(Some(map.clone()));
            }
            if known.is_some_and(|known| known.address != host.address) {
                return Err(Error::Membership(format!("there is another host by the name of {}", host.name)));
            }
        }
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.iter().any(|known| known.name == host.name && known.address != host.address) {
            return Err(Error::Membership(format!("there is another host by the name of {}", host.name)));
        }
        hosts.retain(|known| known.name != host.name);
        hosts.push(host);
        Ok(None)
    }

    /// A host that the map does not know yet, or not with these devices.
    pub(crate) fn applicant(&self) -> Option<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(map) = self.map() {
            hosts.retain(|host| map.host(&host.name).is_none_or(|known| !known.has_devices(&host.devices)));
        }
        hosts.first().cloned()
    }

    /// Goes by another map.
    pub(crate) fn set_map(&self, map: ClusterMap) {
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Some(map);
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_progress(&self, progress: Progress) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }

    /// The map, where there is one.
    pub(crate) fn map(&self) -> Option<ClusterMap> {
        self.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Member {
    /// Opens the devices. Blocks; to be called within a tokio runtime, off its reactor.
    pub fn open(options: MemberOptions, clock: impl Clock) -> Result<Self> {
        let transport = Arc::new(HttpTransport::new(&options.cluster_secret));
        Self::open_with(options, clock, transport)
    }

    /// As [`Member::open`], with another way to reach the other hosts.
    pub fn open_with(options: MemberOptions, clock: impl Clock, transport: Arc<dyn Transport>) -> Result<Self> {
        let device = |dir: &PathBuf| Device::open(dir, &options.cluster_id, options.device.clone());
        let devices = options.devices.iter().map(device).collect::<Result<_>>()?;
        let member = Self::with_devices(devices, options, clock, transport)?;
        std::thread::sleep(member.until_floors()?);
        Ok(member)
    }

    /// The same with devices that are open, and without a wait.
    pub(crate) fn with_devices(
        devices: Vec<Device>,
        options: MemberOptions,
        clock: impl Clock,
        transport: Arc<dyn Transport>,
    ) -> Result<Self> {
        let hasher = KeyHasher::new(&options.cluster_secret);
        let epoch = Arc::new(Epoch::default());
        let open = |device| Local::open(device, hasher.clone(), Arc::clone(&epoch));
        let locals = devices.into_iter().map(open).collect::<Result<Vec<_>>>()?;
        let weight = |local: &Local| local.device.status().capacity_bytes / WEIGHT_BYTES;
        let device = |local: &Local| HostDevice { id: local.device.id(), weight: weight(local).max(1), is_lost: false };
        let devices = locals.iter().map(device).collect();
        let MemberOptions { name, address, region, zone, part, daemons, .. } = options;
        let clock = Arc::new(HybridClock::within(clock, CLOCK_SKEW_MAX));
        let map_path = options.state_dir.join("cluster.map");
        let map = ClusterMap::read(&map_path)?;
        if let Some(map) = map.as_ref().filter(|_| locals.is_empty()) {
            map.require_nothing_on(&name)?;
        }
        let roll = Arc::new(Roll { map: RwLock::new(map), ..Roll::default() });
        let peers = Peers::new(name.clone(), transport, Arc::clone(&clock), Arc::clone(&epoch));
        let service =
            NodeService::new(&locals, Arc::clone(&clock), Arc::clone(&epoch), Arc::clone(&roll), Arc::clone(&peers));
        Ok(Self {
            locals,
            me: Host { name, address, region, zone, devices, number: 0, state: HostState::Member },
            known: Mutex::default(),
            part,
            map_path,
            peers,
            service: Arc::new(service),
            roll,
            epoch,
            clock,
            cluster_secret: options.cluster_secret,
            daemons,
        })
    }

    /// Answers the other hosts; to be served from the beginning, since they ask for the map.
    pub fn http(&self) -> HttpService {
        HttpService::new(Arc::clone(&self.service), &self.cluster_secret, self.daemons.threads.clone())
    }

    /// The same without HTTP.
    pub fn service(&self) -> Arc<NodeService> {
        Arc::clone(&self.service)
    }

    /// How long it is until it is as late as this host's devices may have promised. If it came back earlier it would
    /// push all clocks ahead; those count instead of going then. A clock that was put back is not waited for any longer.
    pub(crate) fn until_floors(&self) -> Result<Duration> {
        let mut until = Duration::ZERO;
        for local in &self.locals {
            let floor = local.device.promise_floor()?;
            let ahead_us = floor.microseconds().saturating_sub(self.clock.wall().microseconds());
            until = until.max(Duration::from_micros(ahead_us));
        }
        Ok(until.min(PROMISE_LEAD))
    }

    /// Waits until the cluster is complete.
    pub async fn map(&self) -> Result<ClusterMap> {
        let map = match self.roll.map() {
            Some(map) => map,
            None => self.form().await?,
        };
        self.clock.set_writer(map.host(&self.me.name).map_or(0, |me| me.number));
        self.epoch.advance(map.epoch).await;
        Ok(map)
    }

    async fn form(&self) -> Result<ClusterMap> {
        loop {
            let map = match &self.part {
                Part::Found(wanted) => self.try_to_found(*wanted)?,
                Part::Join(address) => self.ask(address).await,
            };
            if let Some(map) = map {
                map.write(&self.map_path)?;
                self.roll.set_map(map.clone());
                return Ok(map);
            }
            tokio::time::sleep(ASK_INTERVAL).await;
        }
    }

    fn try_to_found(&self, wanted: usize) -> Result<Option<ClusterMap>> {
        self.roll.enter(self.me.clone())?;
        let hosts = self.roll.hosts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if hosts.len() < wanted {
            tracing::info!(come = hosts.len(), wanted, "waiting for the other hosts");
            return Ok(None);
        }
        ClusterMap::form(hosts).map(Some)
    }

    async fn ask(&self, founder: &str) -> Option<ClusterMap> {
        let peer = Peer::new("founder".to_owned(), founder.to_owned(), Arc::clone(&self.peers));
        peer.join(self.me.clone()).await.unwrap_or_else(|error| {
            tracing::warn!(%error, founder, "the founder can't be asked for the map, will be tried again");
            None
        })
    }

    /// What is known of a host is kept from one map to the next.
    fn peer(&self, host: &Host) -> Arc<Peer> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = known.iter().find(|peer| peer.name() == host.name && peer.address() == host.address) {
            return Arc::clone(peer);
        }
        let peer = Peer::new(host.name.clone(), host.address.clone(), Arc::clone(&self.peers));
        known.retain(|peer| peer.name() != host.name);
        known.push(Arc::clone(&peer));
        peer
    }

    /// Keeps a newer map, durably. Blocks.
    pub(crate) fn keep(&self, map: &ClusterMap) -> Result<()> {
        map.write(&self.map_path)
    }

    /// The devices of the map by their names in the rings, and the other hosts.
    pub(crate) fn nodes(&self, map: &ClusterMap) -> (Vec<(String, Node)>, Vec<Arc<Peer>>) {
        let (mut nodes, mut peers) = (Vec::new(), Vec::new());
        for host in &map.hosts {
            let peer = self.peer(host);
            for device in &host.devices {
                let local = self.locals.iter().find(|local| local.device.id() == device.id);
                let remote = || Node::There(Remote::new(Arc::clone(&peer), &device.id, map.epoch));
                nodes.push((device.id.clone(), local.map_or_else(remote, |local| Node::Here(local.at(map.epoch)))));
            }
            if host.name != self.me.name {
                peers.push(peer);
            }
        }
        (nodes, peers)
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("me", &self.me).finish_non_exhaustive()
    }
}

/// The cluster as `anello status` shows it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ClusterStatus {
    /// Version of the map.
    pub epoch: u64,
    /// Where a change of the rings stands, while there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// Whether nothing more is to change by itself.
    pub is_settled: bool,
    /// Hosts of the map and whether they are to stay.
    pub hosts: Vec<HostStatus>,
    /// The other hosts.
    pub peers: Vec<PeerStatus>,
}

/// A host of the map.
#[derive(Debug, Clone, serde::Serialize)]
pub struct HostStatus {
    /// Its name.
    pub name: String,
    /// Its devices.
    pub devices: usize,
    /// Whether it is to stay.
    pub state: HostState,
    /// Replicas of partitions that its devices keep or are to keep.
    pub replicas: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this two proxies by one name are one host to the others.
    #[test]
    fn a_name_is_one_hosts_also_without_devices() {
        let host = |name: &str, port: u16, devices: &[&str]| {
            let device = |id: &&str| HostDevice { id: (*id).to_owned(), weight: 1, is_lost: false };
            let (devices, address) = (devices.iter().map(device).collect(), format!("h:{port}"));
            Host { name: name.to_owned(), address, region: 1, zone: 1, devices, number: 0, state: HostState::Member }
        };
        let (roll, data, proxy) = (Roll::default(), host("data", 1, &["d"]), host("proxy", 2, &[]));
        roll.set_map(ClusterMap::form(vec![data.clone(), proxy.clone()]).expect("forms"));
        for known in [data, proxy, host("data", 7, &["d"])] {
            assert!(roll.enter(known.clone()).is_ok_and(|map| map.is_some()), "{known:?}");
        }
        for stranger in [host("proxy", 3, &[]), host("proxy", 3, &["e"]), host("data", 3, &["e"]), host("data", 3, &[])]
        {
            assert!(matches!(roll.enter(stranger.clone()), Err(Error::Membership(_))), "{stranger:?}");
        }
        assert!(roll.enter(host("new", 4, &[])).is_ok_and(|map| map.is_none()));
        assert_eq!(roll.applicant().map(|host| host.name), Some("new".to_owned()));
    }
}
