//! Which of this process's devices keep what.
//!
//! Three rings (accounts, containers, objects) over the same devices, so that rows and data spread
//! independently. They are made at first start, kept as Swift's ring files in the state directory, and a
//! start with other devices than they name is refused: moving data to a changed ring is not done here.

use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Write};
use std::path::Path;

use anello_base::Timestamp;
use anello_ring::{Builder, DeviceId, PartPower, Partition, Region, Ring, Zone};

use super::locks::Settling;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::key::KeyHash;
use crate::mutation::{Applies, PathHashes};

/// Partitions as a power of two: enough to spread evenly over the devices of one host.
const PARTITION_POWER: u8 = 10;

/// Replicas where there are devices enough for them.
const REPLICAS: usize = 3;

/// A device of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(usize);

/// The devices and their rings.
#[derive(Debug)]
pub(super) struct Placement {
    devices: Vec<Device>,
    settling: Vec<Settling>,
    account: Table,
    container: Table,
    object: Table,
}

/// A ring, and where in this process its devices are.
#[derive(Debug)]
struct Table {
    ring: Ring,
    slots: Vec<Option<Slot>>,
}

impl Placement {
    pub(super) fn open(state_dir: &Path, devices: Vec<Device>) -> Result<Self> {
        let dir = state_dir.join("rings");
        fs::create_dir_all(&dir).map_err(|error| Error::io("create", &dir, &error))?;
        let open = |name: &str, seed| Table::open(&dir.join(name), &devices, seed);
        let (account, container) = (open("account.ring.gz", 1)?, open("container.ring.gz", 2)?);
        let object = open("object.ring.gz", 3)?;
        let settling = devices.iter().map(|_| Settling::new()).collect();
        Ok(Self { devices, settling, account, container, object })
    }

    pub(super) fn devices(&self) -> &[Device] {
        &self.devices
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = (Slot, &Device)> {
        self.devices.iter().enumerate().map(|(slot, device)| (Slot(slot), device))
    }

    pub(super) fn device(&self, slot: Slot) -> &Device {
        &self.devices[slot.0]
    }

    /// What is on its way to the device.
    pub(super) fn settling(&self, slot: Slot) -> &Settling {
        &self.settling[slot.0]
    }

    pub(super) fn replicas(&self) -> usize {
        self.devices.len().min(REPLICAS)
    }

    pub(super) fn account(&self, account: KeyHash) -> Vec<Slot> {
        self.account.primaries(account)
    }

    pub(super) fn container(&self, container: KeyHash) -> Vec<Slot> {
        self.container.primaries(container)
    }

    pub(super) fn object(&self, object: KeyHash) -> Vec<Slot> {
        self.object.primaries(object)
    }

    /// Who keeps a part of an object's mutation, and which. Where account and container share a device the
    /// account's totals change in the same step; elsewhere they follow.
    pub(super) fn all(&self, hashes: PathHashes) -> Vec<(Slot, Applies)> {
        let mut shares = self.container_and_account(hashes.container, hashes.account);
        shares.retain(|(_, applies)| applies.container);
        for slot in self.object(hashes.object) {
            match shares.iter_mut().find(|(at, _)| *at == slot) {
                Some((_, applies)) => applies.object = true,
                None => shares.push((slot, Applies { object: true, container: false, account: false })),
            }
        }
        shares
    }

    /// Who keeps a part of a container's mutation, and which.
    pub(super) fn container_and_account(&self, container: KeyHash, account: KeyHash) -> Vec<(Slot, Applies)> {
        let of_container = |slot| (slot, Applies { object: false, container: true, account: false });
        let mut shares: Vec<_> = self.container(container).into_iter().map(of_container).collect();
        for slot in self.account(account) {
            match shares.iter_mut().find(|(at, _)| *at == slot) {
                Some((_, applies)) => applies.account = true,
                None => shares.push((slot, Applies { object: false, container: false, account: true })),
            }
        }
        shares
    }
}

impl Table {
    fn open(path: &Path, devices: &[Device], seed: u64) -> Result<Self> {
        let ring = match File::open(path) {
            Ok(file) => Ring::read(BufReader::new(file)).map_err(|error| Error::ring(path, &error))?,
            Err(error) if error.kind() == ErrorKind::NotFound => create(path, devices, seed)?,
            Err(error) => return Err(Error::io("open", path, &error)),
        };
        let slot_of = |name: &str| devices.iter().position(|device| device.id() == name).map(Slot);
        let mut slots = vec![None; ring.devices().map(|device| device.id.index() + 1).max().unwrap_or(0)];
        for device in ring.devices() {
            let slot = slot_of(&device.name).ok_or_else(|| {
                Error::ring(path, &format_args!("device {} of the ring is not among those given", device.name))
            })?;
            slots[device.id.index()] = Some(slot);
        }
        if ring.devices().count() != devices.len() {
            return Err(Error::ring(path, &"a device was added that the ring does not know"));
        }
        Ok(Self { ring, slots })
    }

    fn primaries(&self, hash: KeyHash) -> Vec<Slot> {
        let partition = Partition(hash.partition(self.ring.part_power().get()));
        let slot = |id: &DeviceId| self.slots.get(id.index()).copied().flatten();
        self.ring.primaries(partition).iter().filter_map(slot).collect()
    }
}

/// A ring over `devices` with equal weights, each a zone of its own, written so that after a crash it is
/// there whole or not at all.
fn create(path: &Path, devices: &[Device], seed: u64) -> Result<Ring> {
    let refused = |error: anello_ring::Error| Error::ring(path, &error);
    let power = PartPower::new(PARTITION_POWER).map_err(refused)?;
    let mut builder = Builder::new(power, devices.len().min(REPLICAS) as f64, 0).map_err(refused)?;
    for (zone, device) in (1..).zip(devices) {
        let device = anello_ring::Device {
            id: DeviceId(0),
            region: Region(1),
            zone: Zone(zone),
            ip: "127.0.0.1".into(),
            port: 6200,
            replication_ip: String::new(),
            replication_port: 0,
            name: device.id(),
            weight: 100.0,
            meta: String::new(),
        };
        builder.add(device).map_err(refused)?;
    }
    builder.rebalance(Timestamp::ZERO, seed, &mut |_, _, _| {}).map_err(refused)?;
    let ring = builder.ring().map_err(refused)?;
    let mut bytes = Vec::new();
    ring.write(&mut bytes).map_err(refused)?;
    let written = path.with_extension("new");
    let write = || {
        let mut file = File::create(&written)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&written, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|error| Error::io("write", path, &error))?;
    Ok(ring)
}
