//! The cluster's map: its hosts, their devices and the rings. Made once every host of the first ones is there, and
//! then the same on all of them; how it changes is told in [`super::change`].

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anello_base::{Timestamp, WRITER_MAX};
use anello_ring::{Builder, DeviceId, PartPower, Region, Ring, Zone};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::policy::{Policies, RingPlan};

/// Partitions as a power of two: 16,384 spread evenly over some hundreds of devices. Fewer where a simulation starts
/// hosts by the thousand, each of which reads all rings.
const PARTITION_POWER: u8 = if cfg!(test) { 8 } else { 14 };

/// Rest of a partition after a move. None: a change is over only when whatever moved is in its new place, and only
/// then the next one begins.
const MIN_PART_HOURS: u16 = 0;

/// A map of some thousand devices.
const MAP_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The cluster's map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterMap {
    /// Grows with every change; who goes by an older one is refused.
    pub epoch: u64,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// Ring files (Swift's format) in the order of [`Policies::rings`]: those in force.
    pub(super) rings: Vec<Vec<u8>>,
    /// Their builders; of the rings that follow, while there are such.
    pub(super) builders: Vec<Vec<u8>>,
    /// The storage policies.
    #[serde(default)]
    pub(crate) policies: Policies,
    /// Rings that are to follow those in force.
    #[serde(default)]
    pub(super) change: Option<Change>,
    /// Whether more partitions may have to move than the last change could.
    #[serde(default)]
    pub(super) is_unfinished: bool,
}

/// See [`super::change`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Change {
    pub(super) rings: Vec<Vec<u8>>,
    /// Nobody goes by the map before this change any more.
    pub(super) is_sealed: bool,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name, once in a cluster.
    pub name: String,
    /// Where other hosts reach its node listener: address and port.
    pub address: String,
    /// Region and zone: replicas are spread over them.
    pub region: u32,
    /// See `region`.
    pub zone: u32,
    /// Its devices; none of a host that keeps no data.
    pub devices: Vec<HostDevice>,
    /// Of the timestamps that it makes: no other host's. 0 before it has entered.
    #[serde(default)]
    pub number: u16,
    /// Whether it is to stay.
    #[serde(default)]
    pub state: HostState,
}

/// Whether a host is to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostState {
    /// It keeps its share.
    #[default]
    Member,
    /// Its data move to others; it serves until then.
    Draining,
    /// It is gone from the rings that follow, and from the map once these are in force.
    Leaving,
}

impl Host {
    /// Whether these are its devices, whatever their sizes.
    pub(crate) fn has_devices(&self, devices: &[HostDevice]) -> bool {
        let there = |devices: &[HostDevice]| {
            let there = devices.iter().filter(|device| !device.is_lost);
            there.map(|device| device.id.clone()).collect::<BTreeSet<_>>()
        };
        there(&self.devices) == there(devices)
    }
}

/// A device of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostDevice {
    /// From its superblock.
    pub id: String,
    /// Its share of the data, in GiB of capacity.
    pub weight: u64,
    /// It is gone, and in the map for as long as rings name it.
    #[serde(default)]
    pub is_lost: bool,
}

impl ClusterMap {
    /// The first map of these hosts.
    pub(crate) fn form(mut hosts: Vec<Host>) -> Result<Self> {
        if hosts.iter().all(|host| host.devices.is_empty()) {
            return Err(Error::Membership("none of the hosts has a device: one needs the role storage".to_owned()));
        }
        give_numbers(&mut hosts)?;
        let policies = Policies::default();
        let map = Self {
            epoch: 0,
            hosts,
            rings: Vec::new(),
            builders: Vec::new(),
            policies: policies.clone(),
            change: None,
            is_unfinished: false,
        };
        map.with_policies(policies)
    }

    /// The map that is kept at `path`, if there is one.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let damaged = |message: &dyn std::fmt::Display| Error::ring(path, message);
        let bytes = match fs::read(path) {
            Ok(bytes) if bytes.len() as u64 > MAP_BYTES_MAX => return Err(damaged(&"larger than any map")),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", path, &error)),
        };
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged(&"cut off"))?;
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return Err(damaged(&"its checksum is wrong"));
        }
        Self::decode(body).map(Some)
    }

    /// Keeps it at `path`: after a crash there is the old map or this one. Durable on return.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut bytes = self.encode()?;
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        let written = path.with_extension("new");
        let write = || {
            let mut file = fs::File::create(&written)?;
            std::io::Write::write_all(&mut file, &bytes)?;
            file.sync_all()?;
            fs::rename(&written, path)?;
            fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|error| Error::io("write", path, &error))
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        rmp_serde::to_vec_named(self).map_err(|error| Error::Message(error.to_string()))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut map: Self = rmp_serde::from_slice(bytes).map_err(|error| Error::Message(error.to_string()))?;
        // In maps from before there were numbers: every host comes to the same.
        give_numbers(&mut map.hosts)?;
        Ok(map)
    }

    /// The map with these policies, of which the last may be new.
    pub(super) fn with_policies(&self, policies: Policies) -> Result<Self> {
        let mut next = Self { epoch: self.epoch + 1, policies, ..self.clone() };
        let staying: Vec<Host> = self.hosts.iter().filter(|host| host.state == HostState::Member).cloned().collect();
        for (seed, plan) in (1..).zip(next.policies.rings()).skip(self.rings.len()) {
            let (ring, builder) = make(&staying, plan, seed)?;
            next.rings.push(ring);
            next.builders.push(builder);
        }
        Ok(next)
    }

    /// The files of the rings that are in force.
    pub(crate) fn ring_files(&self) -> &[Vec<u8>] {
        &self.rings
    }

    /// The rings that are in force, in the order of [`Policies::rings`].
    pub(crate) fn rings(&self) -> Result<Vec<Ring>> {
        read(&self.rings)
    }

    /// The rings that are to follow them.
    pub(crate) fn next_rings(&self) -> Result<Option<Vec<Ring>>> {
        self.change.as_ref().map(|change| read(&change.rings)).transpose()
    }
}

/// Gives a number to each host that has none: behind all others', so that one which left is not soon given again.
pub(super) fn give_numbers(hosts: &mut [Host]) -> Result<()> {
    let mut given: BTreeSet<u16> = hosts.iter().map(|host| host.number).collect();
    for host in hosts.iter_mut().filter(|host| host.number == 0) {
        let behind = given.last().map_or(1, |last| last + 1);
        let free = (behind..=WRITER_MAX).chain(1..=WRITER_MAX).find(|number| !given.contains(number));
        host.number = free.ok_or_else(|| Error::Membership(format!("{WRITER_MAX} hosts are all there can be")))?;
        given.insert(host.number);
    }
    Ok(())
}

fn read(rings: &[Vec<u8>]) -> Result<Vec<Ring>> {
    rings.iter().map(|bytes| Ring::read(bytes.as_slice()).map_err(|error| Error::ring("", &error))).collect()
}

/// A ring over these hosts' devices, and its builder.
fn make(hosts: &[Host], plan: RingPlan, seed: u64) -> Result<(Vec<u8>, Vec<u8>)> {
    let devices = || hosts.iter().flat_map(|host| host.devices.iter().map(move |device| (host, device)));
    let replicas = plan.replicas_over(devices().count())?;
    let build = || {
        let mut builder = Builder::new(PartPower::new(PARTITION_POWER)?, replicas, MIN_PART_HOURS)?;
        devices().try_for_each(|(host, device)| add(&mut builder, host, device))?;
        builder.rebalance(Timestamp::ZERO, seed, &mut |_, _, _| {})?;
        files(&builder)
    };
    build().map_err(|error| Error::ring("", &error))
}

/// Enters a device of a host.
pub(super) fn add(
    builder: &mut Builder,
    host: &Host,
    device: &HostDevice,
) -> std::result::Result<(), anello_ring::Error> {
    let (ip, port) = host.address.rsplit_once(':').unwrap_or((&host.address, "0"));
    builder.add(anello_ring::Device {
        id: DeviceId(0),
        region: Region(host.region),
        zone: Zone(host.zone),
        ip: ip.into(),
        port: port.parse().unwrap_or(0),
        replication_ip: String::new(),
        replication_port: 0,
        name: device.id.clone(),
        weight: device.weight.max(1) as f64,
        meta: host.name.clone(),
    })?;
    Ok(())
}

/// The files of a ring and its builder.
pub(super) fn files(builder: &Builder) -> std::result::Result<(Vec<u8>, Vec<u8>), anello_ring::Error> {
    let (mut ring, mut file) = (Vec::new(), Vec::new());
    builder.ring()?.write(&mut ring)?;
    builder.write(&mut file)?;
    Ok((ring, file))
}
