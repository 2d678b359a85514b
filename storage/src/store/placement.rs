//! Which devices keep what.
//!
//! Three rings (accounts, containers, objects) over the same devices, so that rows and data spread
//! independently. A single host makes them at its first start and keeps them as Swift's ring files in the state
//! directory; a start with other devices than they name is refused. In a cluster they come with its map.

use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Write as _};
use std::path::Path;

use anello_base::Timestamp;
use anello_ring::{Builder, DeviceId, PartPower, Partition, Region, Ring, Zone};

use crate::error::{Error, Result};
use crate::index::Tree;
use crate::key::KeyHash;
use crate::mutation::{Applies, PathHashes};
use crate::node::{Local, Node};

/// Partitions as a power of two: enough to spread evenly over the devices of one host.
const PARTITION_POWER: u8 = 10;

/// Replicas where there are devices enough for them.
const REPLICAS: usize = 3;

/// Devices that are tried in place of one that can't be reached.
const STAND_INS: usize = 2;

/// A device of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(usize);

/// The devices and their rings.
#[derive(Debug)]
pub(super) struct Placement {
    /// The devices' names in the rings.
    names: Vec<String>,
    nodes: Vec<Node>,
    account: Table,
    container: Table,
    object: Table,
}

/// A ring, and which of the devices its own are.
#[derive(Debug)]
struct Table {
    ring: Ring,
    slots: Vec<Option<Slot>>,
}

/// The names of the three rings' files.
pub(super) const RINGS: [&str; 3] = ["account.ring.gz", "container.ring.gz", "object.ring.gz"];

impl Placement {
    /// A single host's: the rings of its state directory, made if they are not there.
    pub(super) fn of_one_host(state_dir: &Path, locals: &[Local]) -> Result<Self> {
        let dir = state_dir.join("rings");
        fs::create_dir_all(&dir).map_err(|error| Error::io("create", &dir, &error))?;
        let ids: Vec<String> = locals.iter().map(|local| local.device.id()).collect();
        let mut rings = Vec::with_capacity(RINGS.len());
        for (name, seed) in RINGS.iter().zip(1..) {
            let path = dir.join(name);
            let ring = match File::open(&path) {
                Ok(file) => Ring::read(BufReader::new(file)).map_err(|error| Error::ring(&path, &error))?,
                Err(error) if error.kind() == ErrorKind::NotFound => create(&path, &ids, seed)?,
                Err(error) => return Err(Error::io("open", &path, &error)),
            };
            if ring.devices().count() != locals.len() {
                return Err(Error::ring(path, &"a device was added that the ring does not know"));
            }
            rings.push(ring);
        }
        let nodes = ids.into_iter().zip(locals.iter().cloned().map(Node::Here)).collect();
        let rings = rings.try_into().map_err(|_| Error::ring(dir, &"there are not three rings"))?;
        Self::new(nodes, rings)
    }

    /// These devices, by their names in the rings, and the rings of accounts, containers and objects.
    pub(super) fn new(nodes: Vec<(String, Node)>, rings: [Ring; 3]) -> Result<Self> {
        let [account, container, object] = rings.map(|ring| Table::new(ring, &nodes));
        let (names, nodes) = nodes.into_iter().unzip();
        Ok(Self { names, nodes, account: account?, container: container?, object: object? })
    }

    pub(super) fn node(&self, slot: Slot) -> &Node {
        &self.nodes[slot.0]
    }

    /// The device by this name.
    pub(super) fn slot_of(&self, name: &str) -> Option<Slot> {
        self.names.iter().position(|known| known == name).map(Slot)
    }

    fn table(&self, tree: Tree) -> &Table {
        match tree {
            Tree::Objects { .. } => &self.object,
            Tree::Containers => &self.container,
            Tree::Accounts => &self.account,
        }
    }

    /// Partitions of the ring that places a tree, as a power of two.
    pub(super) fn power(&self, tree: Tree) -> u8 {
        self.table(tree).ring.part_power().get()
    }

    /// Who keeps a partition of a tree.
    pub(super) fn primaries(&self, tree: Tree, partition: u32) -> Vec<Slot> {
        let table = self.table(tree);
        table.slots(table.ring.primaries(Partition(partition)).iter().copied()).collect()
    }

    /// Whether there is one device only.
    pub(super) fn is_single(&self) -> bool {
        self.nodes.len() == 1
    }

    pub(super) fn replicas(&self) -> usize {
        self.object.ring.replicas().round() as usize
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

    /// Who stands in for a device that takes these parts of a mutation.
    pub(super) fn stand_ins(&self, hashes: Hashes, applies: Applies) -> Vec<(Node, Applies)> {
        let none = Applies { object: false, container: false, account: false };
        let parts = [
            (applies.object.then_some(hashes.object).flatten(), &self.object, Applies { object: true, ..none }),
            (
                applies.container.then_some(hashes.container).flatten(),
                &self.container,
                Applies { container: true, ..none },
            ),
            (applies.account.then_some(hashes.account).flatten(), &self.account, Applies { account: true, ..none }),
        ];
        let mut stand_ins = Vec::new();
        for (hash, table, applies) in parts {
            let Some(hash) = hash else { continue };
            let reachable =
                table.handoffs(hash).into_iter().map(|slot| self.node(slot)).find(|node| node.is_reachable());
            stand_ins.extend(reachable.map(|node| (node.clone(), applies)));
        }
        stand_ins
    }
}

/// The keys that a mutation is about, as far as it has them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hashes {
    pub(super) object: Option<KeyHash>,
    pub(super) container: Option<KeyHash>,
    pub(super) account: Option<KeyHash>,
}

impl From<PathHashes> for Hashes {
    fn from(hashes: PathHashes) -> Self {
        Self { object: Some(hashes.object), container: Some(hashes.container), account: Some(hashes.account) }
    }
}

impl Table {
    fn new(ring: Ring, nodes: &[(String, Node)]) -> Result<Self> {
        let mut slots = vec![None; ring.devices().map(|device| device.id.index() + 1).max().unwrap_or(0)];
        for device in ring.devices() {
            let slot = nodes.iter().position(|(id, _)| *id == device.name).map(Slot);
            let missing =
                || Error::ring("", &format_args!("device {} of the ring is not among those given", device.name));
            slots[device.id.index()] = Some(slot.ok_or_else(missing)?);
        }
        Ok(Self { ring, slots })
    }

    fn slots<'a>(&'a self, ids: impl Iterator<Item = DeviceId> + 'a) -> impl Iterator<Item = Slot> + 'a {
        ids.filter_map(|id| self.slots.get(id.index()).copied().flatten())
    }

    fn partition(&self, hash: KeyHash) -> Partition {
        Partition(hash.partition(self.ring.part_power().get()))
    }

    fn primaries(&self, hash: KeyHash) -> Vec<Slot> {
        self.slots(self.ring.primaries(self.partition(hash)).iter().copied()).collect()
    }

    fn handoffs(&self, hash: KeyHash) -> Vec<Slot> {
        self.slots(self.ring.handoffs(self.partition(hash))).take(STAND_INS).collect()
    }
}

/// A ring over these devices with equal weights, each a zone of its own, written so that after a crash it is
/// there whole or not at all.
fn create(path: &Path, ids: &[String], seed: u64) -> Result<Ring> {
    let refused = |error: anello_ring::Error| Error::ring(path, &error);
    let power = PartPower::new(PARTITION_POWER).map_err(refused)?;
    let mut builder = Builder::new(power, ids.len().min(REPLICAS) as f64, 0).map_err(refused)?;
    for (zone, id) in (1..).zip(ids) {
        let device = anello_ring::Device {
            id: DeviceId(0),
            region: Region(1),
            zone: Zone(zone),
            ip: "127.0.0.1".into(),
            port: 6200,
            replication_ip: String::new(),
            replication_port: 0,
            name: id.clone(),
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
