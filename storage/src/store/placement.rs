//! Which devices keep what.
//!
//! Rings for accounts, for containers and for the objects of each storage policy, over the same devices, so that rows
//! and data spread independently. A single host makes them at its first start and keeps them as Swift's ring files in the state
//! directory; a start with other devices than they name is refused. In a cluster they come with its map.

use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Write as _};
use std::path::Path;

use anello_base::Timestamp;
use anello_ring::{Builder, DeviceId, PartPower, Partition, Region, Ring, Zone};

use crate::cluster::ClusterMap;
use crate::error::{Error, Result};
use crate::index::Tree;
use crate::key::KeyHash;
use crate::mutation::{Applies, PathHashes};
use crate::node::{Local, Node};
use crate::policy::{Placed, Policies, RingPlan, StoragePolicy, policy_of};

/// Partitions as a power of two: enough to spread evenly over the devices of one host.
const PARTITION_POWER: u8 = 10;

/// Devices that are tried in place of one that can't be reached.
const STAND_INS: usize = 2;

/// A device of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(usize);

/// The devices and their rings.
#[derive(Debug)]
pub(super) struct Placement {
    /// Of the cluster's map that it was made from.
    epoch: u64,
    is_sealed: bool,
    /// The devices' names in the rings.
    names: Vec<String>,
    nodes: Vec<Node>,
    account: Tables,
    container: Tables,
    /// By the number of the ring; the first is that of policy 0.
    objects: Vec<(u32, Tables)>,
    policies: Policies,
    /// Replicas of partitions on each device.
    replicas_on: Vec<usize>,
}

/// The parts of a mutation that a device keeps: by the rings in force, and by those that follow while they change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Duty {
    pub(super) now: Applies,
    pub(super) next: Applies,
}

/// A ring in force, and the one that is to follow it. Until then whoever keeps something by either of them gets
/// every write, which needs a majority of each; reads go by the one in force.
#[derive(Debug)]
struct Tables {
    now: Table,
    next: Option<Table>,
}

/// A ring, and which of the devices its own are.
#[derive(Debug)]
struct Table {
    ring: Ring,
    slots: Vec<Option<Slot>>,
}

impl Placement {
    /// A single host's: the rings of its state directory, made if they are not there.
    pub(super) fn of_one_host(state_dir: &Path, policies: Policies, locals: &[Local]) -> Result<Self> {
        let dir = state_dir.join("rings");
        fs::create_dir_all(&dir).map_err(|error| Error::io("create", &dir, &error))?;
        let ids: Vec<String> = locals.iter().map(|local| local.device.id()).collect();
        let mut rings = Vec::new();
        for (plan, seed) in policies.rings().into_iter().zip(1..) {
            let path = dir.join(plan.places.file());
            let ring = match File::open(&path) {
                Ok(file) => Ring::read(BufReader::new(file)).map_err(|error| Error::ring(&path, &error))?,
                Err(error) if error.kind() == ErrorKind::NotFound => create(&path, &ids, plan, seed)?,
                Err(error) => return Err(Error::io("open", &path, &error)),
            };
            if ring.devices().count() != locals.len() {
                return Err(Error::ring(path, &"a device was added that the ring does not know"));
            }
            rings.push(ring);
        }
        let nodes = ids.into_iter().zip(locals.iter().cloned().map(Node::Here)).collect();
        Self::new(0, nodes, policies, rings, None, false)
    }

    /// That of a cluster's map, with its devices by their names in the rings.
    pub(super) fn of_cluster(map: &ClusterMap, nodes: Vec<(String, Node)>) -> Result<Self> {
        let (now, next) = (map.rings()?, map.next_rings()?);
        Self::new(map.epoch, nodes, map.policies.clone(), now, next, map.is_sealed())
    }

    /// The rings are in the order of [`Policies::rings`]: those in force and those that follow them.
    fn new(
        epoch: u64,
        nodes: Vec<(String, Node)>,
        policies: Policies,
        now: Vec<Ring>,
        next: Option<Vec<Ring>>,
        is_sealed: bool,
    ) -> Result<Self> {
        let mut next = next.into_iter().flatten();
        let (mut account, mut container, mut objects) = (None, None, Vec::new());
        for (plan, now) in policies.rings().into_iter().zip(now) {
            let next = next.next().map(|next| Table::new(next, &nodes)).transpose()?;
            let tables = Tables { now: Table::new(now, &nodes)?, next };
            match plan.places {
                Placed::Accounts => account = Some(tables),
                Placed::Containers => container = Some(tables),
                Placed::Objects(number) => objects.push((number, tables)),
            }
        }
        let (Some(account), Some(container), false) = (account, container, objects.is_empty()) else {
            return Err(Error::ring("", &"there are fewer rings than policies"));
        };
        let mut replicas_on = vec![0; nodes.len()];
        let all = [&account, &container].into_iter().chain(objects.iter().map(|(_, tables)| tables));
        for table in all.flat_map(|tables| std::iter::once(&tables.now).chain(&tables.next)) {
            for partition in table.ring.partitions() {
                let primaries = table.ring.primaries(partition).iter().copied();
                table.slots(primaries).for_each(|slot| replicas_on[slot.0] += 1);
            }
        }
        let (names, nodes) = nodes.into_iter().unzip();
        Ok(Self { epoch, is_sealed, names, nodes, account, container, objects, policies, replicas_on })
    }

    pub(super) fn node(&self, slot: Slot) -> &Node {
        &self.nodes[slot.0]
    }

    /// The device by this name.
    pub(super) fn slot_of(&self, name: &str) -> Option<Slot> {
        self.names.iter().position(|known| known == name).map(Slot)
    }

    /// Replicas of partitions that a device keeps, or is to keep.
    pub(super) fn replicas_on(&self, device: &str) -> usize {
        self.slot_of(device).map_or(0, |slot| self.replicas_on[slot.0])
    }

    /// All devices.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        (0..self.nodes.len()).map(Slot)
    }

    /// What the rings place, with the names of the policies.
    pub(super) fn trees(&self) -> Vec<(Tree, Option<String>)> {
        let of_policy = |(number, _): &(u32, Tables)| {
            let policy = self.policies.get(policy_of(*number)).map(|policy| policy.name.clone());
            (Tree::Objects { policy: *number }, policy)
        };
        let rows = [(Tree::Accounts, None), (Tree::Containers, None)];
        rows.into_iter().chain(self.objects.iter().map(of_policy)).collect()
    }

    /// Whether this device of this process is the first of the primaries in force that can be reached.
    pub(super) fn is_first(&self, device: &str, sets: &[Vec<Slot>]) -> bool {
        let mut nodes = sets[0].iter().map(|slot| self.node(*slot));
        nodes
            .find(|node| node.is_reachable())
            .is_some_and(|node| matches!(node, Node::Here(_)) && node.name() == device)
    }

    /// The storage policies.
    pub(super) fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Whether there are rings for a tree.
    pub(super) fn places(&self, tree: Tree) -> bool {
        match tree {
            Tree::Objects { policy } => self.objects.iter().any(|(number, _)| *number == policy),
            Tree::Containers | Tree::Accounts => true,
        }
    }

    /// A policy that containers may have.
    pub(super) fn policy(&self, index: u32) -> Result<&StoragePolicy> {
        self.policies.get(index).ok_or(Error::UnknownPolicy(index))
    }

    /// A policy whose rings are not there has been refused before ([`Placement::places`]).
    fn objects(&self, policy: u32) -> &Tables {
        let found = self.objects.iter().find(|(number, _)| *number == policy);
        &found.unwrap_or(&self.objects[0]).1
    }

    fn tables(&self, tree: Tree) -> &Tables {
        match tree {
            Tree::Objects { policy } => self.objects(policy),
            Tree::Containers => &self.container,
            Tree::Accounts => &self.account,
        }
    }

    /// Partitions of the ring that places a tree, as a power of two.
    pub(super) fn power(&self, tree: Tree) -> u8 {
        self.tables(tree).now.ring.part_power().get()
    }

    /// Whether there is one device only.
    pub(super) fn is_single(&self) -> bool {
        self.nodes.len() == 1
    }

    /// The only device, where there is one only: it keeps everything, and is asked without a look at the rings.
    pub(super) fn only(&self) -> Option<&Node> {
        if let [node] = &self.nodes[..] { Some(node) } else { None }
    }

    pub(super) fn replicas(&self) -> usize {
        self.objects[0].1.now.ring.replicas().round() as usize
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether the rings change.
    pub(super) fn is_changing(&self) -> bool {
        self.account.next.is_some()
    }

    /// Whether nobody goes by the map before the change any more.
    pub(super) fn is_sealed(&self) -> bool {
        self.is_sealed
    }

    /// The devices that a partition of a tree moves to.
    pub(super) fn newcomers(&self, tree: Tree, partition: u32) -> Vec<Slot> {
        let tables = self.tables(tree);
        let of = |table: &Table| -> Vec<Slot> {
            table.slots(table.ring.primaries(Partition(partition)).iter().copied()).collect()
        };
        let mut next = tables.next.as_ref().map(of).unwrap_or_default();
        let now = of(&tables.now);
        next.retain(|slot| !now.contains(slot));
        next
    }

    /// The primaries of an account by each of the rings that count.
    pub(super) fn account_sets(&self, account: KeyHash) -> Vec<Vec<Slot>> {
        self.account.sets(account)
    }

    /// The primaries of an object by each of the rings that count.
    pub(super) fn object_sets(&self, object: Keyed) -> Vec<Vec<Slot>> {
        self.objects(object.policy).sets(object.hash)
    }

    /// The primaries of a container by each of the rings that count.
    pub(super) fn container_sets(&self, container: KeyHash) -> Vec<Vec<Slot>> {
        self.container.sets(container)
    }

    /// Who keeps a partition of a tree, or is to.
    pub(super) fn keepers(&self, tree: Tree, partition: u32) -> Vec<Slot> {
        let tables = self.tables(tree);
        let partition = Partition(partition);
        let rings = [Some(&tables.now), tables.next.as_ref()].into_iter().flatten();
        union(rings.map(|table| table.slots(table.ring.primaries(partition).iter().copied()).collect()))
    }

    /// The partition of what is kept in a tree, and its primaries as the ring in force names them.
    pub(super) fn addresses(&self, tree: Tree, hash: KeyHash) -> (u32, Vec<anello_ring::Device>) {
        let table = &self.tables(tree).now;
        let partition = table.partition(hash);
        let devices = table.ring.primaries(partition).iter().filter_map(|id| table.ring.device(*id).cloned());
        (partition.0, devices.collect())
    }

    /// Whether a device keeps an account, or is to.
    pub(super) fn keeps_account(&self, slot: Slot, account: KeyHash) -> bool {
        self.account.sets(account).concat().contains(&slot)
    }

    /// Whether a device keeps a container, or is to.
    pub(super) fn keeps_container(&self, slot: Slot, container: KeyHash) -> bool {
        self.container.sets(container).concat().contains(&slot)
    }

    /// Who keeps a part of an object's mutation, and which. Where account and container share a device the
    /// account's totals change in the same step; elsewhere they follow.
    pub(super) fn all(&self, hashes: PathHashes, policy: u32) -> Vec<(Slot, Duty)> {
        if self.is_single() {
            return vec![(Slot(0), Duty { now: Applies::ALL, next: Applies::default() })];
        }
        let mut shares = self.container_and_account(hashes.container, hashes.account);
        shares.retain(|(_, duty)| duty.applies().container);
        let object = Keyed { hash: hashes.object, policy };
        charge(&mut shares, &self.object_sets(object), |applies| &mut applies.object);
        shares
    }

    /// Who keeps an object.
    pub(super) fn object_alone(&self, object: Keyed) -> Vec<(Slot, Duty)> {
        let mut shares = Vec::new();
        charge(&mut shares, &self.object_sets(object), |applies| &mut applies.object);
        shares
    }

    /// Who keeps an account.
    pub(super) fn account_alone(&self, account: KeyHash) -> Vec<(Slot, Duty)> {
        let mut shares = Vec::new();
        charge(&mut shares, &self.account.sets(account), |applies| &mut applies.account);
        shares
    }

    /// Who keeps a part of a container's mutation, and which.
    pub(super) fn container_and_account(&self, container: KeyHash, account: KeyHash) -> Vec<(Slot, Duty)> {
        let mut shares = Vec::new();
        charge(&mut shares, &self.container.sets(container), |applies| &mut applies.container);
        charge(&mut shares, &self.account.sets(account), |applies| &mut applies.account);
        shares
    }

    /// Who stands in for a device that takes these parts of a mutation.
    pub(super) fn stand_ins(&self, hashes: Hashes, applies: Applies) -> Vec<(Node, Applies)> {
        let none = Applies { object: false, container: false, account: false };
        let policy = hashes.object.map_or(0, |object| object.policy);
        let object = hashes.object.map(|object| object.hash);
        let parts = [
            (applies.object.then_some(object).flatten(), self.objects(policy), Applies { object: true, ..none }),
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

/// An object and the policy that places it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Keyed {
    pub(super) hash: KeyHash,
    pub(super) policy: u32,
}

/// The keys that a mutation is about, as far as it has them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hashes {
    pub(super) object: Option<Keyed>,
    pub(super) container: Option<KeyHash>,
    pub(super) account: Option<KeyHash>,
}

impl Hashes {
    /// Those of an object of this policy.
    pub(super) fn of(hashes: PathHashes, policy: u32) -> Self {
        let object = Keyed { hash: hashes.object, policy };
        Self { object: Some(object), container: Some(hashes.container), account: Some(hashes.account) }
    }
}

impl Duty {
    /// What the device is to apply.
    pub(super) fn applies(self) -> Applies {
        self.now.union(self.next)
    }
}

/// Adds a part of a mutation to the duties of those who keep it, by the ring in force and by the next.
fn charge(shares: &mut Vec<(Slot, Duty)>, sets: &[Vec<Slot>], part: fn(&mut Applies) -> &mut bool) {
    for (at, set) in sets.iter().enumerate() {
        for slot in set {
            let place = shares.iter().position(|(known, _)| known == slot).unwrap_or_else(|| {
                shares.push((*slot, Duty::default()));
                shares.len() - 1
            });
            let duty = &mut shares[place].1;
            *part(if at == 0 { &mut duty.now } else { &mut duty.next }) = true;
        }
    }
}

fn union(sets: impl IntoIterator<Item = Vec<Slot>>) -> Vec<Slot> {
    let mut all = Vec::new();
    for slot in sets.into_iter().flatten() {
        if !all.contains(&slot) {
            all.push(slot);
        }
    }
    all
}

impl Tables {
    fn sets(&self, hash: KeyHash) -> Vec<Vec<Slot>> {
        [Some(&self.now), self.next.as_ref()].into_iter().flatten().map(|table| table.primaries(hash)).collect()
    }

    /// Devices that keep it by neither ring.
    fn handoffs(&self, hash: KeyHash) -> Vec<Slot> {
        let keepers = union(self.sets(hash));
        let mut handoffs = self.now.handoffs(hash);
        handoffs.retain(|slot| !keepers.contains(slot));
        handoffs
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
fn create(path: &Path, ids: &[String], plan: RingPlan, seed: u64) -> Result<Ring> {
    let refused = |error: anello_ring::Error| Error::ring(path, &error);
    let power = PartPower::new(PARTITION_POWER).map_err(refused)?;
    let mut builder = Builder::new(power, plan.replicas_over(ids.len())?, 0).map_err(refused)?;
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
    replace_file(path, &bytes)?;
    Ok(ring)
}

/// Writes a file so that after a crash it is the old one or this. Durable on return.
pub(super) fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = path.with_extension("new");
    let write = || {
        let mut file = File::create(&written)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&written, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|error| Error::io("write", path, &error))
}
