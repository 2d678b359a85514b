//! Build, rebalance and look-up at 2^18 partitions, 3 replicas and 1,000 devices
//! (2 regions × 5 zones × 10 hosts × 10 devices).

#![allow(missing_docs, reason = "criterion's macros make public items without any")]

use anello_base::Timestamp;
use anello_ring::{Builder, Device, DeviceId, PartPower, Partition, Region, Ring, Zone};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use std::hint::black_box;

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
const POWER: u8 = 18;
const DEVICES: u32 = 1_000;

/// Device of that number; those past 1,000 join the hosts that are there.
fn device(number: u32) -> Device {
    let (zone, host, disk) = (number / 100 % 10, number / 10 % 10, number % 10 + number / 1000 * 10);
    Device {
        id: DeviceId(0),
        region: Region(1 + zone / 5),
        zone: Zone(1 + zone),
        ip: format!("10.0.{zone}.{host}"),
        port: 6200,
        replication_ip: String::new(),
        replication_port: 0,
        name: format!("disk{disk}"),
        weight: 4000.0,
        meta: String::new(),
    }
}

fn with_devices() -> Builder {
    let mut builder = Builder::new(PartPower::new(POWER).expect("within limits"), 3.0, 0).expect("within limits");
    for number in 0..DEVICES {
        builder.add(device(number)).expect("distinct devices");
    }
    builder
}

fn rebalance(builder: &mut Builder, seed: u64) -> usize {
    builder.rebalance(NOW, seed, &mut |_, _, _| ()).expect("devices enough").moved
}

fn building(c: &mut Criterion) {
    let mut group = c.benchmark_group("2^18 partitions, 3 replicas, 1000 devices");
    group.sample_size(10);
    let fresh = with_devices();
    group.bench_function("first rebalance", |b| {
        b.iter_batched(|| fresh.clone(), |mut builder| rebalance(&mut builder, 1), BatchSize::LargeInput);
    });
    let mut built = fresh;
    rebalance(&mut built, 1);
    group.bench_function("rebalance with nothing to do", |b| {
        b.iter_batched(|| built.clone(), |mut builder| rebalance(&mut builder, 2), BatchSize::LargeInput);
    });
    let mut grown = built.clone();
    grown.add(device(DEVICES)).expect("a new device");
    group.bench_function("rebalance after a device joined", |b| {
        b.iter_batched(|| grown.clone(), |mut builder| rebalance(&mut builder, 2), BatchSize::LargeInput);
    });
    let mut shrunk = built;
    shrunk.remove(DeviceId(500)).expect("it is there");
    group.bench_function("rebalance after a device was lost", |b| {
        b.iter_batched(|| shrunk.clone(), |mut builder| rebalance(&mut builder, 2), BatchSize::LargeInput);
    });
    group.finish();
}

fn looking_up(c: &mut Criterion) {
    let mut builder = with_devices();
    rebalance(&mut builder, 1);
    let ring = builder.ring().expect("it was rebalanced");
    let mut bytes = Vec::new();
    ring.write(&mut bytes).expect("memory takes it");
    let mut group = c.benchmark_group("ring");
    let mut partition = 0_u32;
    let mut next = move || {
        partition = partition.wrapping_add(0x9e37_79b1) & ((1 << POWER) - 1);
        Partition(partition)
    };
    let sum = |ids: &[DeviceId]| ids.iter().map(|id| u32::from(id.0)).sum::<u32>();
    group.bench_function("primaries", |b| b.iter(|| sum(black_box(&ring).primaries(next()))));
    group.bench_function("first 3 handoffs", |b| b.iter(|| ring.handoffs(next()).take(3).count()));
    group.bench_function("all handoffs", |b| b.iter(|| ring.handoffs(next()).count()));
    group.sample_size(10);
    group.bench_function("load ring file", |b| b.iter(|| Ring::read(&bytes[..]).expect("just written")));
    group.finish();
}

criterion_group!(benches, building, looking_up);
criterion_main!(benches);
