//! How the map changes: hosts come, are drained, leave or are lost, and partitions move.
//!
//! A change of the rings takes three steps, each a map of its own with the next number. A process takes calls that go
//! by its own map, the one before or the one behind, so that steps need not be taken at once everywhere:
//!
//! 1. *announced*: the next rings are known beside those in force. Writes need a majority by both, reads too.
//! 2. *sealed*: the same, and who is still before step 1 is refused. From here on the replicators of the devices that
//!    keep a partition bring it to the devices that it moves to.
//! 3. The next rings are in force. What remains on the devices that partitions moved from is handed off.
//!
//! Each waits until the hosts go by the one before, and nothing that was begun by an older one is under way; the
//! third also until enough replicators have been through all that moves ([`ClusterMap::waits_for`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anello_base::Timestamp;
use anello_ring::{Builder, DeviceId, Ring};
use serde::{Deserialize, Serialize};

use super::map::{Change, ClusterMap, Host, HostDevice, HostState, add, files, give_numbers};
use crate::error::{Error, Result};
use crate::majority::{majority, readers};
use crate::policy::Policies;

/// Share of all replicas that must be in the wrong place for another change to follow by itself, in percent.
const WORTH_MOVING_PERCENT: usize = 1;

/// How far a host has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The map that it goes by.
    pub(crate) epoch: u64,
    /// The oldest that something under way there goes by.
    pub(crate) oldest: u64,
    /// By device: the sealed map whose moves its replicator has been through.
    pub(crate) synced: BTreeMap<String, u64>,
}

impl ClusterMap {
    /// A host as the map knows it.
    pub(crate) fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// Whether the rings change.
    pub fn is_changing(&self) -> bool {
        self.change.is_some()
    }

    /// Whether nothing is going to change by itself.
    pub(crate) fn is_settled(&self) -> bool {
        self.change.is_none() && !self.is_unfinished
    }

    /// Whether the rings change, and nobody goes by the map before that any more.
    pub(crate) fn is_sealed(&self) -> bool {
        self.change.as_ref().is_some_and(|change| change.is_sealed)
    }

    /// The map with a host that is new, or has other devices than before: those that it has no more are lost. `None`
    /// where nothing changes. Devices that are lost leave also while the rings change, as in [`ClusterMap::without`]:
    /// a change that is to bring data to them would never be over.
    pub(crate) fn with_host(&self, host: &Host, now: Timestamp) -> Result<Option<Self>> {
        if self.host(&host.name).is_some_and(|known| known.has_devices(&host.devices)) {
            return Ok(None);
        }
        if !self.has_lost_devices(host) {
            self.require_calm()?;
        }
        let mut hosts = self.hosts.clone();
        let known = hosts.iter_mut().find(|known| known.name == host.name);
        let before = known.as_ref().map(|known| known.devices.clone()).unwrap_or_default();
        let is_in = |devices: &[HostDevice], id: &str| devices.iter().any(|device| device.id == id);
        let gone = before.iter().filter(|device| !is_in(&host.devices, &device.id));
        let gone = gone.map(|device| HostDevice { is_lost: true, ..device.clone() });
        let devices = host.devices.iter().cloned().chain(gone).collect();
        let number = known.as_ref().map_or(0, |known| known.number);
        let host = Host { state: HostState::Member, devices, number, ..host.clone() };
        match known {
            Some(known) => *known = host.clone(),
            None => hosts.push(host.clone()),
        }
        give_numbers(&mut hosts)?;
        if host.devices.is_empty() {
            return Ok(Some(Self { epoch: self.epoch + 1, hosts, ..self.clone() }));
        }
        self.begin(hosts, now, |builder| {
            for device in &host.devices {
                if device.is_lost {
                    lose(builder, &device.id)?;
                } else if !is_in(&before, &device.id) {
                    add(builder, &host, device)?;
                }
            }
            Ok(())
        })
        .map(Some)
    }

    /// Whether a host that says which devices it has is without some that the map takes for its own.
    pub(crate) fn has_lost_devices(&self, host: &Host) -> bool {
        let is_there = |device: &HostDevice| host.devices.iter().any(|there| there.id == device.id);
        let known = self.host(&host.name).map(|known| &known.devices);
        known.into_iter().flatten().any(|device| !device.is_lost && !is_there(device))
    }

    /// The map in which a host's data move to others.
    pub(crate) fn draining(&self, name: &str, now: Timestamp) -> Result<Self> {
        self.require_calm()?;
        let devices = self.devices_of(name)?;
        let hosts = self.with_state(name, HostState::Draining);
        if devices.is_empty() {
            return Ok(Self { epoch: self.epoch + 1, hosts, ..self.clone() });
        }
        self.begin(hosts, now, |builder| {
            for device in &devices {
                if let Some(id) = id_of(builder, device) {
                    builder.set_weight(id, 0.0)?;
                }
            }
            Ok(())
        })
    }

    /// The map without a host: one that is drained, or, where `is_lost`, one that will not come back. A lost host
    /// leaves also while the rings change: those that were to follow give way to others.
    pub(crate) fn without(&self, name: &str, is_lost: bool, now: Timestamp) -> Result<Self> {
        let devices = self.devices_of(name)?;
        if !is_lost {
            self.require_calm()?;
            let held = self.replicas_on(&devices)?;
            if held > 0 {
                let message =
                    format!("{name} keeps {held} replicas of partitions: drain it first, or say that it is lost");
                return Err(Error::Membership(message));
            }
        }
        let hosts = self.with_state(name, HostState::Leaving);
        if devices.is_empty() {
            return Ok(Self { epoch: self.epoch + 1, hosts: without_the_gone(hosts), ..self.clone() });
        }
        self.begin(hosts, now, |builder| devices.iter().try_for_each(|device| lose(builder, device)))
    }

    /// The map with other storage policies: no data move.
    pub(crate) fn changing_policies(&self, change: impl Fn(&Policies) -> Result<Policies>) -> Result<Self> {
        self.require_calm()?;
        self.with_policies(change(&self.policies)?)
    }

    /// The step that comes by itself, if there is one.
    pub(crate) fn next_step(&self, now: Timestamp) -> Result<Option<Self>> {
        let epoch = self.epoch + 1;
        match &self.change {
            Some(change) if !change.is_sealed => {
                let change = Some(Change { is_sealed: true, ..change.clone() });
                Ok(Some(Self { epoch, change, ..self.clone() }))
            }
            Some(change) => {
                let rings = change.rings.clone();
                let hosts = without_the_gone(self.hosts.clone());
                Ok(Some(Self { epoch, hosts, rings, change: None, ..self.clone() }))
            }
            None if self.is_unfinished => {
                let next = self.begin(self.hosts.clone(), now, |_| Ok(()))?;
                let draining = self.hosts.iter().filter(|host| host.state == HostState::Draining);
                let devices: Vec<String> =
                    draining.flat_map(|host| host.devices.iter().map(|d| d.id.clone())).collect();
                if next.is_unfinished || self.replicas_on(&devices)? > 0 {
                    return Ok(Some(next));
                }
                Ok(Some(Self { epoch, is_unfinished: false, ..self.clone() }))
            }
            None => Ok(None),
        }
    }

    /// Why the next step must wait, by what the hosts that answer have told.
    pub(crate) fn waits_for(&self, progress: &BTreeMap<String, Progress>) -> Result<Option<String>> {
        for (name, progress) in progress {
            if progress.epoch < self.epoch {
                return Ok(Some(format!("{name} goes by map {}", progress.epoch)));
            }
            if progress.oldest < self.epoch {
                return Ok(Some(format!("{name} is still at work by map {}", progress.oldest)));
            }
        }
        let mut devices: Vec<(&HostDevice, &str)> = Vec::new();
        for host in &self.hosts {
            devices.extend(host.devices.iter().map(|device| (device, host.name.as_str())));
        }
        let is_here: Vec<bool> =
            devices.iter().map(|(device, host)| !device.is_lost && progress.contains_key(*host)).collect();
        let is_synced = |(device, host): &(&HostDevice, &str)| {
            let synced = progress.get(*host).and_then(|progress| progress.synced.get(&device.id));
            !device.is_lost && synced.is_some_and(|epoch| *epoch >= self.epoch)
        };
        let is_synced: Vec<bool> = devices.iter().map(is_synced).collect();
        let by_name: HashMap<&str, usize> = devices.iter().map(|(device, _)| device.id.as_str()).zip(0..).collect();
        // A ring's numbers of devices are its own.
        let places = |ring: &Ring| -> HashMap<DeviceId, usize> {
            ring.devices().filter_map(|device| Some((device.id, *by_name.get(device.name.as_str())?))).collect()
        };
        let next = self.next_rings()?;
        for (at, (now, plan)) in self.rings()?.iter().zip(self.policies.rings()).enumerate() {
            let next = next.as_ref().map(|next| (&next[at], places(&next[at])));
            let places = places(now);
            for partition in now.partitions() {
                let primaries = |ring: &Ring, places: &HashMap<DeviceId, usize>| -> Vec<usize> {
                    ring.primaries(partition).iter().filter_map(|id| places.get(id).copied()).collect()
                };
                let before = primaries(now, &places);
                let after = next.as_ref().map(|(ring, places)| primaries(ring, places));
                let here = |set: &[usize]| set.iter().filter(|device| is_here[**device]).count();
                let all = [Some(&before), after.as_ref()];
                if let Some(set) = all.into_iter().flatten().find(|set| here(set) < majority(set.len())) {
                    let set: Vec<&str> = set.iter().map(|device| devices[*device].0.id.as_str()).collect();
                    return Ok(Some(format!("most of the devices {set:?} of a partition do not answer")));
                }
                let moves = after.is_some_and(|after| after.iter().any(|device| !before.contains(device)));
                let synced = before.iter().filter(|device| is_synced[**device]).count();
                // Each fragment is on one device only: all that are here have brought theirs.
                let wanted = if plan.is_exact { here(&before) } else { readers(before.len()) };
                if self.is_sealed() && moves && synced < wanted {
                    let waiting = before.iter().find(|device| !is_synced[**device]);
                    let host = waiting.map_or("", |device| devices[*device].1);
                    return Ok(Some(format!("data move from {host}")));
                }
            }
        }
        Ok(None)
    }

    /// Replicas of partitions that these devices keep, or are to keep.
    pub(crate) fn replicas_on(&self, devices: &[String]) -> Result<usize> {
        let mut held = 0;
        for ring in self.rings()?.iter().chain(self.next_rings()?.iter().flatten()) {
            let ids: BTreeSet<DeviceId> =
                ring.devices().filter(|device| devices.contains(&device.name)).map(|device| device.id).collect();
            let of_partition = |partition| ring.primaries(partition).iter().filter(|id| ids.contains(id)).count();
            held += ring.partitions().map(of_partition).sum::<usize>();
        }
        Ok(held)
    }

    /// Refuses a host that would start without the devices on which it keeps data.
    pub(super) fn require_nothing_on(&self, name: &str) -> Result<()> {
        let devices = self.host(name).map(|_| self.devices_of(name)).transpose()?.unwrap_or_default();
        match self.replicas_on(&devices)? {
            0 => Ok(()),
            held => Err(Error::Membership(format!(
                "{name} keeps {held} replicas of partitions: it needs the role storage until it is drained"
            ))),
        }
    }

    fn require_calm(&self) -> Result<()> {
        if self.is_settled() { Ok(()) } else { Err(Error::Changing) }
    }

    /// The devices of a host.
    pub(crate) fn devices_of(&self, name: &str) -> Result<Vec<String>> {
        let unknown = || Error::Membership(format!("there is no host by the name of {name}"));
        let host = self.host(name).ok_or_else(unknown)?;
        Ok(host.devices.iter().map(|device| device.id.clone()).collect())
    }

    fn with_state(&self, name: &str, state: HostState) -> Vec<Host> {
        let mut hosts = self.hosts.clone();
        hosts.iter_mut().filter(|host| host.name == name).for_each(|host| host.state = state);
        hosts
    }

    /// Changes the builders and moves what is then in the wrong place, of each partition one replica at most. The
    /// rings that were to follow, if there were, give way.
    fn begin(
        &self,
        hosts: Vec<Host>,
        now: Timestamp,
        edit: impl Fn(&mut Builder) -> std::result::Result<(), anello_ring::Error>,
    ) -> Result<Self> {
        let epoch = self.epoch + 1;
        let (mut rings, mut builders) = (self.rings.clone(), self.builders.clone());
        let (mut is_unfinished, mut is_moving) = (false, false);
        for (at, (file, plan)) in self.builders.iter().zip(self.policies.rings()).enumerate() {
            let refused = |error: anello_ring::Error| Error::Membership(error.to_string());
            let mut builder = Builder::read(file.as_slice()).map_err(refused)?;
            edit(&mut builder).map_err(refused)?;
            let staying = builder.devices().filter(|d| d.weight > 0.0 && !builder.is_leaving(d.id)).count();
            let replicas = plan.replicas_over(staying)?;
            if replicas > builder.replicas() {
                builder.set_replicas(replicas).map_err(refused)?;
            }
            let made = builder.rebalance(now, epoch * 3 + at as u64, &mut |_, _, _| {}).map_err(refused)?;
            let all = builder.part_power().partitions() * builder.replicas().ceil() as usize;
            is_moving |= made.moved > 0;
            is_unfinished |= made.moved > 0 && made.moved * 100 >= all * WORTH_MOVING_PERCENT;
            (rings[at], builders[at]) = files(&builder).map_err(refused)?;
        }
        if !is_moving && self.change.is_none() {
            // The same partitions in the same places: in force at once.
            let hosts = without_the_gone(hosts);
            return Ok(Self { epoch, hosts, rings, builders, change: None, is_unfinished, ..self.clone() });
        }
        let change = Some(Change { rings, is_sealed: false });
        Ok(Self { epoch, hosts, builders, change, is_unfinished, ..self.clone() })
    }
}

/// The hosts that stay, with the devices that they have.
fn without_the_gone(mut hosts: Vec<Host>) -> Vec<Host> {
    hosts.retain(|host| host.state != HostState::Leaving);
    hosts.iter_mut().for_each(|host| host.devices.retain(|device| !device.is_lost));
    hosts
}

fn id_of(builder: &Builder, name: &str) -> Option<DeviceId> {
    builder.devices().find(|device| device.name == name).map(|device| device.id)
}

fn lose(builder: &mut Builder, name: &str) -> std::result::Result<(), anello_ring::Error> {
    id_of(builder, name).map_or(Ok(()), |id| builder.remove(id))
}

#[cfg(test)]
mod tests {
    use anello_base::WRITER_MAX;

    use super::*;

    fn host(number: u32, device: &str) -> Host {
        let devices = vec![HostDevice { id: device.to_owned(), weight: 1, is_lost: false }];
        let (name, address) = (format!("h{number}"), format!("h{number}:1"));
        Host { name, address, region: 1, zone: number, devices, number: 0, state: HostState::Member }
    }

    /// Without this a change never ends that is to bring data to a disk which was replaced meanwhile.
    #[test]
    fn a_disk_that_was_replaced_leaves_also_while_the_rings_change() {
        let hosts = (1..=4).map(|number| host(number, &format!("d{number}"))).collect();
        let map = ClusterMap::form(hosts).expect("forms");
        let changing = map.draining("h4", Timestamp::ZERO).expect("drains");
        assert!(changing.is_changing());
        let comes = changing.with_host(&host(5, "d5"), Timestamp::ZERO);
        assert!(matches!(comes, Err(Error::Changing)), "nothing hurries a host that is new");
        let next = changing.with_host(&host(1, "new"), Timestamp::ZERO).expect("is taken in").expect("is news");
        let names = |rings: Vec<Ring>| -> BTreeSet<String> {
            let of = |ring: &Ring| -> Vec<String> {
                let ids = ring.partitions().flat_map(|partition| ring.primaries(partition).to_vec());
                ids.filter_map(|id| ring.device(id)).map(|device| device.name.clone()).collect()
            };
            rings.iter().flat_map(of).collect()
        };
        let after = names(next.next_rings().expect("reads").expect("they change"));
        assert!(!after.contains("d1") && after.contains("new"), "{after:?}");
        assert_eq!(next.rings().expect("reads").len(), map.rings().expect("reads").len());
    }

    /// Without this a proxy moves data when it comes or goes, or waits for data to move.
    #[test]
    fn a_host_without_devices_comes_and_goes_and_nothing_moves() {
        let proxy = Host { devices: Vec::new(), ..host(9, "") };
        let map = ClusterMap::form((1..=4).map(|number| host(number, &format!("d{number}"))).collect()).expect("forms");
        let with = map.with_host(&proxy, Timestamp::ZERO).expect("is taken in").expect("is news");
        assert!(with.is_settled() && with.epoch == map.epoch + 1 && with.rings == map.rings);
        assert_eq!(with.with_host(&proxy, Timestamp::ZERO).expect("is known"), None);
        let drained = with.draining("h9", Timestamp::ZERO).expect("drains");
        assert!(drained.is_settled() && drained.rings == map.rings);
        let without = drained.without("h9", false, Timestamp::ZERO).expect("leaves");
        assert_eq!((&without.hosts, &without.rings), (&map.hosts, &map.rings));
        let changing = with.draining("h1", Timestamp::ZERO).expect("drains");
        let lost = changing.without("h9", true, Timestamp::ZERO).expect("is lost meanwhile");
        assert!(lost.is_changing() && lost.host("h9").is_none());
    }

    /// Without this two hosts write different things under one version.
    #[test]
    fn each_host_has_a_number_of_its_own_and_keeps_it() {
        let mut map =
            ClusterMap::form((1..=3).map(|number| host(number, &format!("d{number}"))).collect()).expect("forms");
        let numbers =
            |map: &ClusterMap| map.hosts.iter().map(|host| (host.name.clone(), host.number)).collect::<Vec<_>>();
        let first: Vec<_> = (1..=3).map(|number| (format!("h{number}"), number)).collect();
        assert_eq!(numbers(&map), first);
        let proxy = |number| Host { devices: Vec::new(), ..host(number, "") };
        for number in [4, 5] {
            map = map.with_host(&proxy(number), Timestamp::ZERO).expect("is taken in").expect("is news");
        }
        map = map.without("h4", true, Timestamp::ZERO).expect("leaves");
        let again = Host { number: 1, ..host(2, "new") };
        map = map.with_host(&again, Timestamp::ZERO).expect("is taken in").expect("is news");
        assert_eq!(&numbers(&map)[..3], first, "whatever it says itself, and whatever disks it has");
        assert_eq!(numbers(&map)[3], ("h5".to_owned(), 5));
        map.hosts.iter_mut().for_each(|host| host.number = 0);
        let before_numbers = ClusterMap::decode(&map.encode().expect("writes")).expect("reads");
        assert_eq!(numbers(&before_numbers)[3], ("h5".to_owned(), 4));
        let full = (1..).map(|number| Host { number: number % (WRITER_MAX + 1), ..proxy(1) });
        let mut full: Vec<_> = full.take(usize::from(WRITER_MAX)).collect();
        full[7].number = 0;
        give_numbers(&mut full).expect("the one that is free");
        assert_eq!(full[7].number, 8);
        full.push(proxy(1));
        assert!(matches!(give_numbers(&mut full), Err(Error::Membership(_))));
    }

    /// Without this the others take its devices for lost.
    #[test]
    fn a_host_gives_up_its_devices_only_when_nothing_is_placed_on_them() {
        let map = ClusterMap::form((1..=4).map(|number| host(number, &format!("d{number}"))).collect()).expect("forms");
        assert!(map.require_nothing_on("h1").is_err());
        map.require_nothing_on("h9").expect("nobody knows it");
        let mut drained = map.draining("h1", Timestamp::ZERO).expect("drains");
        assert!(drained.require_nothing_on("h1").is_err(), "data have still to move");
        while let Some(next) = drained.next_step(Timestamp::ZERO).expect("goes on") {
            drained = next;
        }
        drained.require_nothing_on("h1").expect("all has moved");
        let proxy = Host { devices: Vec::new(), ..host(1, "") };
        let without = drained.with_host(&proxy, Timestamp::ZERO).expect("is taken in").expect("is news");
        assert!(without.host("h1").is_some_and(|host| host.devices.is_empty() && host.state == HostState::Member));
    }
}
