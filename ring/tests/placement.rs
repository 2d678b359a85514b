//! What an operator relies on when devices come, go and change.

mod clusters;

use anello_ring::{Builder, DeviceId, Error, PartPower, Rebalanced, Region, Zone};
use clusters::{Cluster, NOW, SECOND_DAY, device, rebalance};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Devices per partition, in order.
fn rows(builder: &Builder) -> Vec<Vec<DeviceId>> {
    let ring = builder.ring().expect("it was rebalanced");
    ring.partitions().map(|partition| ring.primaries(partition).to_vec()).collect()
}

fn parts(builder: &Builder, id: DeviceId) -> usize {
    let reports = builder.device_reports().expect("it was rebalanced");
    reports.iter().find(|report| report.id == id).map_or(0, |report| report.parts)
}

/// How many replicas of each partition are elsewhere.
fn changes(before: &[Vec<DeviceId>], after: &[Vec<DeviceId>]) -> Vec<usize> {
    let changed = |old: &Vec<DeviceId>, new: &Vec<DeviceId>| new.iter().filter(|id| !old.contains(id)).count();
    before.iter().zip(after).map(|(old, new)| changed(old, new)).collect()
}

/// The largest distance of a device from its due by weight, in replicas.
fn worst_difference(builder: &Builder) -> f64 {
    let reports = builder.device_reports().expect("it was rebalanced");
    reports.iter().map(|report| (report.parts as f64 - report.wanted).abs()).fold(0.0, f64::max)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, rng_seed: RngSeed::Fixed(20_261_122), ..ProptestConfig::default() })]

    #[test]
    fn every_partition_has_its_number_of_distinct_devices(cluster in clusters::any()) {
        let builder = cluster.balanced();
        prop_assert!(builder.validate().is_ok(), "{:?}", builder.validate());
    }

    #[test]
    fn without_overload_every_device_gets_its_share_by_weight_to_a_replica(cluster in clusters::any()) {
        let builder = Cluster { overload: 0.0, ..cluster }.balanced();
        // Two roundings where the replica count has a fraction, one otherwise.
        let bound = if builder.replicas().fract() == 0.0 { 1.0 } else { 2.0 };
        prop_assert!(worst_difference(&builder) < bound, "{:?}", builder.device_reports());
    }

    /// The best dispersion that weights (and overload) allow: of each partition a domain holds its share,
    /// rounded down or up, and nothing beyond.
    #[test]
    fn every_domain_holds_the_same_number_of_each_partition_to_one(cluster in clusters::any()) {
        prop_assume!(cluster.replicas.fract() == 0.0);
        let tiers = cluster.balanced().dispersion().expect("it was rebalanced").tiers;
        for tier in tiers {
            let counts = tier.partitions.iter().enumerate().filter(|(_, partitions)| **partitions > 0);
            let counts: Vec<usize> = counts.map(|(count, _)| count).collect();
            prop_assert!(counts[counts.len() - 1] - counts[0] <= 1, "{tier:?}");
        }
    }

    #[test]
    fn an_unchanged_ring_stays_as_it_is(cluster in clusters::any(), seed: u64) {
        let mut builder = cluster.balanced();
        let before = rows(&builder);
        prop_assert_eq!(rebalance(&mut builder, seed).moved, 0);
        prop_assert_eq!(rows(&builder), before);
    }

    #[test]
    fn a_joining_device_takes_its_share_and_nothing_else_moves(cluster in clusters::ordinary(), weight in 1_u32..4) {
        let mut builder = Cluster { overload: 0.0, ..cluster }.balanced();
        let before = rows(&builder);
        let id = builder.add(device(1, 1, 1, 77, f64::from(weight))).expect("a new disk");
        let outcome = rebalance(&mut builder, 5);
        prop_assert!(builder.validate().is_ok(), "{:?}", builder.validate());
        prop_assert!(changes(&before, &rows(&builder)).into_iter().all(|changed| changed <= 1));
        let wanted = builder.device_reports().expect("rebalanced").last().expect("a device").wanted;
        // Where a domain's share passes a whole number, replicas there change places beside those that the
        // new device takes; and what another device was rounded up to may become one too much.
        let stray = outcome.moved - parts(&builder, id);
        prop_assert!(parts(&builder, id) as f64 <= wanted.ceil() + 1.0 && stray as f64 <= wanted + 2.0, "{wanted} wanted, {stray} stray");
    }

    #[test]
    fn a_lost_devices_partitions_move_and_no_others(cluster in clusters::ordinary(), which: prop::sample::Index) {
        let mut builder = Cluster { overload: 0.0, ..cluster }.balanced();
        let id = DeviceId(which.index(builder.devices().count()) as u16);
        let (before, lost) = (rows(&builder), parts(&builder, id));
        builder.remove(id).expect("it is there");
        rebalance(&mut builder, 6);
        prop_assert!(builder.validate().is_ok(), "{:?}", builder.validate());
        let mut stray = 0;
        for (old, new) in before.iter().zip(rows(&builder)) {
            let gone: Vec<_> = old.iter().filter(|id| !new.contains(id)).collect();
            prop_assert!(gone.len() <= 1 && !new.contains(&id));
            stray += usize::from(!gone.is_empty() && gone != [&id]);
        }
        prop_assert!(stray <= lost + 2, "{stray} stray, {lost} lost");
    }

    #[test]
    fn a_partition_never_loses_two_replicas_at_once(
        cluster in clusters::any(),
        weights in prop::collection::vec(0_u32..9, 1..20),
        overload in prop::sample::select(vec![0.0, 0.2, 5.0]),
    ) {
        let mut builder = cluster.balanced();
        for (index, weight) in weights.iter().enumerate() {
            let _ = builder.set_weight(DeviceId(index as u16), f64::from(*weight));
        }
        builder.set_overload(overload).expect("a number");
        let before = rows(&builder);
        if builder.rebalance(NOW, 7, &mut |_, _, _| ()).is_ok() {
            prop_assert!(builder.validate().is_ok(), "{:?}", builder.validate());
            prop_assert!(changes(&before, &rows(&builder)).into_iter().all(|changed| changed <= 1));
        }
    }

    #[test]
    fn repeated_rebalances_reach_the_weights_after_any_changes(
        cluster in clusters::any(),
        weights in prop::collection::vec(0_u32..9, 1..20),
        joining in 0_u32..4,
    ) {
        let mut builder = Cluster { overload: 0.0, ..cluster }.balanced();
        for (index, weight) in weights.iter().enumerate() {
            let _ = builder.set_weight(DeviceId(index as u16), f64::from(*weight));
        }
        for number in 0..joining {
            builder.add(device(1 + number % 2, number, number, 90 + number, 2.0)).expect("a new disk");
        }
        for seed in 0..12 {
            if builder.rebalance(NOW, seed, &mut |_, _, _| ()).is_err() {
                return Ok(());
            }
        }
        prop_assert!(builder.validate().is_ok(), "{:?}", builder.validate());
        // Every device within four replicas, and one percent of the ring where few devices hold most of it.
        let bound = 4.0 + builder.replicas() * builder.part_power().partitions() as f64 / 100.0;
        prop_assert!(worst_difference(&builder) <= bound, "{}", worst_difference(&builder));
    }
}

#[test]
fn replicas_of_even_clusters_are_as_far_apart_as_they_can_be() {
    for (regions, zones, hosts, disks, replicas) in [
        (1, 3, 2, 2, 3.0),
        (2, 2, 3, 2, 3.0),
        (1, 1, 5, 3, 3.0),
        (3, 1, 1, 4, 3.0),
        (2, 3, 4, 3, 5.0),
        (1, 2, 2, 5, 2.5),
    ] {
        let cluster = Cluster::even(regions, zones, hosts, disks, replicas);
        let report = cluster.balanced().dispersion().expect("it was rebalanced");
        assert!(report.percent == 0.0, "{cluster:?}: {report:#?}");
    }
}

#[test]
fn in_an_even_cluster_exactly_what_must_move_moves() {
    for (regions, zones, hosts, disks, replicas) in [(1, 3, 4, 4, 3.0), (2, 2, 3, 4, 2.0), (1, 1, 12, 4, 3.0)] {
        let mut builder = Cluster::even(regions, zones, hosts, disks, replicas).balanced();
        let mut smaller = builder.clone();
        let id = builder.add(device(1, 1, 1, 50, 1.0)).expect("a new disk");
        assert_eq!(rebalance(&mut builder, 2).moved, parts(&builder, id));
        let held = parts(&smaller, DeviceId(3));
        smaller.remove(DeviceId(3)).expect("it is there");
        assert_eq!(rebalance(&mut smaller, 3).moved, held);
        assert!(worst_difference(&builder) < 2.0 && worst_difference(&smaller) < 2.0);
    }
}

#[test]
fn overload_trades_balance_for_dispersion() {
    // The third zone has half the weight of the others: by weight it cannot hold a replica of everything.
    let mut builder = Builder::new(PartPower::new(8).expect("small"), 3.0, 0).expect("valid");
    for (zone, weight) in [(1, 2.0), (2, 2.0), (3, 1.0)] {
        for disk in 0..4 {
            builder.add(device(1, zone, zone, disk, weight)).expect("a new disk");
        }
    }
    let by_weight = rebalance(&mut builder, 1);
    assert!(by_weight.balance_percent < 2.0 && by_weight.dispersion_percent > 10.0, "{by_weight:?}");
    let needed = builder.dispersion().expect("rebalanced").required_overload;
    assert!((0.6..0.7).contains(&needed), "{needed}");
    builder.set_overload(needed).expect("a number");
    let rounds: Vec<Rebalanced> = (0..4).map(|seed| rebalance(&mut builder, seed)).collect();
    assert!(rounds[3].dispersion_percent == 0.0 && rounds[3].balance_percent > 60.0, "{rounds:?}");
    assert_eq!(rounds[3].moved, 0, "{rounds:?}");
}

#[test]
fn partitions_rest_after_a_move_for_min_part_hours() {
    let mut builder = Cluster::even(1, 3, 2, 2, 3.0).builder();
    builder.set_min_part_hours(24);
    rebalance(&mut builder, 1);
    builder.add(device(1, 1, 1, 50, 1.0)).expect("a new disk");
    assert_eq!(builder.resting(NOW), builder.part_power().partitions());
    assert_eq!(rebalance(&mut builder, 2).moved, 0, "everything was assigned just now");
    assert_eq!(builder.resting(SECOND_DAY), 0);
    let moved = builder.rebalance(SECOND_DAY, 3, &mut |_, _, _| ()).expect("devices enough").moved;
    assert!(moved > 0);
    assert_eq!(builder.resting(SECOND_DAY), moved, "what moved rests, nothing else does");

    let mut other = builder.clone();
    other.set_weight(DeviceId(3), 9.0).expect("it is there");
    let before = rows(&other);
    other.rebalance(SECOND_DAY, 4, &mut |_, _, _| ()).expect("devices enough");
    let twice = rows(&other).iter().zip(&before).filter(|(new, old)| new != old).count();
    assert!(other.resting(SECOND_DAY) == moved + twice, "a partition that rests was moved");

    builder.pretend_min_part_hours_passed();
    assert_eq!(builder.resting(SECOND_DAY), 0);
}

#[test]
fn a_lost_device_does_not_wait_for_min_part_hours() {
    let mut builder = Cluster::even(1, 3, 2, 2, 3.0).builder();
    builder.set_min_part_hours(24);
    rebalance(&mut builder, 1);
    let lost = parts(&builder, DeviceId(4));
    builder.remove(DeviceId(4)).expect("it is there");
    let outcome = rebalance(&mut builder, 2);
    assert_eq!((outcome.moved, outcome.removed_devices), (lost, 1));
    builder.validate().expect("nothing is assigned to it");
    assert!(matches!(builder.set_weight(DeviceId(4), 1.0), Err(Error::DeviceMissing(_))));
}

#[test]
fn a_device_of_weight_zero_is_drained_replica_by_replica() {
    let mut builder = Cluster::even(1, 3, 2, 2, 3.0).balanced();
    builder.set_weight(DeviceId(0), 0.0).expect("it is there");
    let held = parts(&builder, DeviceId(0));
    let outcome = rebalance(&mut builder, 2);
    assert_eq!(parts(&builder, DeviceId(0)), 0);
    assert!(outcome.moved >= held && outcome.moved <= held + 12, "{} moved, {held} held", outcome.moved);
}

#[test]
fn replicas_come_and_go_with_their_count() {
    let mut builder = Cluster::even(1, 3, 2, 2, 2.0).balanced();
    for replicas in [3.0, 2.5, 3.25, 1.0, 4.0] {
        let before = rows(&builder);
        builder.set_replicas(replicas).expect("valid");
        rebalance(&mut builder, 3);
        builder.validate().expect("as many as asked for");
        let total: usize = rows(&builder).iter().map(Vec::len).sum();
        assert_eq!(total as f64, replicas * before.len() as f64);
        let losses = changes(&rows(&builder), &before);
        let dropped = before.iter().zip(rows(&builder)).map(|(old, new)| old.len().saturating_sub(new.len()));
        assert!(losses.iter().zip(dropped).all(|(lost, dropped)| *lost <= dropped + 1), "{replicas}");
    }
}

#[test]
fn one_seed_gives_one_ring() {
    let cluster = Cluster::even(2, 2, 2, 3, 3.0);
    let make = |seed| {
        let mut builder = cluster.builder();
        rebalance(&mut builder, seed);
        builder.add(device(1, 1, 1, 50, 1.0)).expect("a new disk");
        rebalance(&mut builder, seed);
        rows(&builder)
    };
    assert_eq!(make(1), make(1));
    assert_ne!(make(1), make(2));
}

#[test]
fn devices_share_partitions_with_many_others() {
    // A lost device must be rebuilt from all others at once, not from two.
    let builder = Cluster::even(1, 1, 30, 1, 3.0).balanced();
    let mut peers = std::collections::BTreeSet::new();
    for row in rows(&builder).iter().filter(|row| row.contains(&DeviceId(7))) {
        peers.extend(row.iter().copied());
    }
    assert!(peers.len() > 20, "{peers:?}");
}

#[test]
fn what_breaks_a_rule_is_refused() {
    let mut builder = Cluster::even(1, 2, 1, 1, 2.0).builder();
    let class = |error: Error| error.class();
    assert!(PartPower::new(25).is_err());
    for replicas in [0.0, 0.5, -1.0, f64::NAN, f64::INFINITY, 65.0] {
        assert!(builder.set_replicas(replicas).is_err(), "{replicas}");
    }
    for weight in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(builder.set_weight(DeviceId(0), weight).is_err(), "{weight}");
    }
    assert!(builder.set_overload(f64::NAN).is_err());
    assert_eq!(builder.add(device(1, 1, 1, 0, 1.0)).map_err(class), Err(anello_base::Class::Conflict));
    assert!(matches!(builder.remove(DeviceId(99)), Err(Error::DeviceMissing(_))));
    assert!(matches!(builder.ring(), Err(Error::NeverRebalanced)));
    builder.set_replicas(3.0).expect("a count by itself");
    let before = builder.clone();
    let outcome = builder.rebalance(NOW, 1, &mut |_, _, _| ());
    assert!(matches!(outcome, Err(Error::TooFewDevices { .. })));
    assert!(builder == before, "a refused rebalance changes nothing");
}

#[test]
fn ids_of_removed_devices_are_not_given_to_new_ones() {
    let mut builder = Cluster::even(1, 3, 1, 2, 3.0).balanced();
    builder.remove(DeviceId(5)).expect("it is there");
    rebalance(&mut builder, 1);
    assert_eq!(builder.add(device(1, 1, 1, 50, 1.0)).expect("a new disk"), DeviceId(6));
}

#[test]
fn a_device_that_changes_its_zone_leaves_what_is_too_close() {
    let mut builder = Cluster::even(1, 3, 2, 2, 3.0).balanced();
    for disk in 0..4 {
        builder.set_domain(DeviceId(disk), Region(1), Zone(9)).expect("it is there");
    }
    builder.set_domain(DeviceId(4), Region(1), Zone(9)).expect("it is there");
    for seed in 0..4 {
        rebalance(&mut builder, seed);
    }
    builder.set_overload(1.0).expect("a number");
    let rounds: Vec<_> = (0..6).map(|seed| rebalance(&mut builder, seed).dispersion_percent).collect();
    assert!(rounds[5] == 0.0, "{rounds:?}");
}

#[test]
fn handoffs_are_all_the_other_devices_farthest_first() {
    let ring = Cluster::even(2, 2, 2, 2, 2.0).balanced().ring().expect("it was rebalanced");
    for partition in ring.partitions() {
        let primaries = ring.primaries(partition);
        let handoffs: Vec<DeviceId> = ring.handoffs(partition).collect();
        let mut all: Vec<DeviceId> = primaries.iter().chain(&handoffs).copied().collect();
        all.sort_unstable();
        assert_eq!(all, ring.devices().map(|device| device.id).collect::<Vec<_>>());
        // Both regions hold a replica, so that two fresh zones come first, then the four fresh hosts.
        let zone = |id: &DeviceId| ring.device(*id).map(|device| device.zone);
        let host = |id: &DeviceId| ring.device(*id).map(|device| device.ip.clone());
        let mut seen: Vec<_> = primaries.iter().map(zone).collect();
        for id in &handoffs[..2] {
            assert!(!seen.contains(&zone(id)), "{partition}");
            seen.push(zone(id));
        }
        let mut hosts: Vec<_> = all.iter().map(host).collect();
        hosts.sort();
        hosts.dedup();
        let mut first: Vec<_> = primaries.iter().chain(&handoffs[..hosts.len() - 2]).map(host).collect();
        first.sort();
        assert_eq!(first, hosts, "{partition}");
        assert_eq!(handoffs, ring.handoffs(partition).collect::<Vec<_>>());
    }
}
