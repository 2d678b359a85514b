//! Clusters for tests: even ones, and random ones for properties.
#![allow(dead_code, reason = "each test program takes what it needs")]

use anello_base::Timestamp;
use anello_ring::{Builder, Device, DeviceId, PartPower, Rebalanced, Region, Zone};
use proptest::prelude::*;

pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
pub(crate) const SECOND_DAY: Timestamp = Timestamp::from_seconds(1_700_000_000 + 24 * 3600);

/// A device; `host` counts within its zone.
pub(crate) fn device(region: u32, zone: u32, host: u32, disk: u32, weight: f64) -> Device {
    Device {
        id: DeviceId(0),
        region: Region(region),
        zone: Zone(zone),
        ip: format!("10.{region}.{zone}.{host}"),
        port: 6200,
        replication_ip: String::new(),
        replication_port: 0,
        name: format!("disk{disk}"),
        weight,
        meta: String::new(),
    }
}

pub(crate) fn rebalance(builder: &mut Builder, seed: u64) -> Rebalanced {
    builder.rebalance(NOW, seed, &mut |_, _, _| ()).expect("devices enough")
}

/// What a builder is made of. There are always devices enough.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) power: u8,
    pub(crate) replicas: f64,
    pub(crate) overload: f64,
    pub(crate) seed: u64,
    pub(crate) devices: Vec<Device>,
}

/// Short, for failing properties are read by people.
impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { power, replicas, overload, seed, devices } = self;
        write!(f, "2^{power} x {replicas}, overload {overload}, seed {seed}:")?;
        devices.iter().try_for_each(|device| write!(f, " {device}={}", device.weight))
    }
}

impl Cluster {
    /// So many zones in each region, hosts in each zone, and disks in each host, all alike.
    pub(crate) fn even(regions: u32, zones: u32, hosts: u32, disks: u32, replicas: f64) -> Self {
        let mut devices = Vec::new();
        for number in 0..regions * zones * hosts * disks {
            let (disk, host) = (number % disks, number / disks);
            let (zone, region) = (host / hosts, host / hosts / zones);
            devices.push(device(1 + region, 1 + zone, 1 + host % hosts, disk, 1.0));
        }
        Self { power: 8, replicas, overload: 0.0, seed: 1, devices }
    }

    pub(crate) fn builder(&self) -> Builder {
        let power = PartPower::new(self.power).expect("small");
        let mut builder = Builder::new(power, self.replicas, 0).expect("valid");
        builder.set_overload(self.overload).expect("valid");
        for device in &self.devices {
            builder.add(device.clone()).expect("distinct disks");
        }
        builder
    }

    pub(crate) fn balanced(&self) -> Builder {
        let mut builder = self.builder();
        rebalance(&mut builder, self.seed);
        builder
    }
}

/// Up to 60 devices in up to 3 regions, unevenly.
pub(crate) fn any() -> impl Strategy<Value = Cluster> {
    let place = (1_u32..=3, 1_u32..=3, 1_u32..=3, prop::sample::select(vec![0.0, 1.0, 1.0, 1.0, 2.0, 2.5, 8.0, 100.0]));
    let devices = prop::collection::vec(place, 5..60);
    let replicas = prop::sample::select(vec![1.0, 2.0, 3.0, 3.0, 3.0, 2.5, 3.25, 5.0]);
    let overload = prop::sample::select(vec![0.0, 0.1, 10.0]);
    (devices, replicas, overload, 0_u8..=9, any_seed()).prop_filter_map(
        "devices enough",
        |(places, replicas, overload, power, seed)| {
            let devices: Vec<Device> = (0..)
                .zip(places)
                .map(|(disk, (region, zone, host, weight))| device(region, zone, host, disk, weight))
                .collect();
            let usable = devices.iter().filter(|device| device.weight > 0.0).count();
            (usable as f64 >= replicas).then_some(Cluster { power, replicas, overload, seed, devices })
        },
    )
}

/// What operators build: zones, hosts and disks in like numbers, weights that differ by less than three times.
pub(crate) fn ordinary() -> impl Strategy<Value = Cluster> {
    let sizes = (1_u32..=2, 2_u32..=4, 2_u32..=4, 2_u32..=5);
    let replicas = prop::sample::select(vec![2.0, 3.0, 3.0, 2.5]);
    let weights = prop::collection::vec(prop::sample::select(vec![1.0, 1.0, 2.0, 2.5]), 160);
    (sizes, replicas, weights, 6_u8..=11, any_seed()).prop_map(|(sizes, replicas, weights, power, seed)| {
        let (regions, zones, hosts, disks) = sizes;
        let mut cluster = Cluster { power, seed, ..Cluster::even(regions, zones, hosts, disks, replicas) };
        for (device, weight) in cluster.devices.iter_mut().zip(weights) {
            device.weight = weight;
        }
        cluster
    })
}

fn any_seed() -> impl Strategy<Value = u64> {
    proptest::num::u64::ANY
}
