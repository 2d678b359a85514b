//! The power is cut at every event of a workload's disk: at every write and every sync. What was
//! acknowledged before must be there and whole; what was not may be there, whole, or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;

use super::model::{ModelIndex, State};
use super::sample;
use super::simulation::{open, read, runtime, write_large};
use crate::daemon::compactor::{Compactor, Progress};
use crate::device::Device;
use crate::device::disk::simulated::{Crashes, Event, Loss, SimulatedDisk};
use crate::model::Metadata;
use crate::mutation::{Applies, Body};

const SMALL: [&str; 6] = ["s0", "s1", "s2", "s3", "s4", "s5"];
const LARGE: [&str; 3] = ["l0", "l1", "l2"];

/// One mutation of the workload.
#[derive(Debug, Clone)]
struct Op {
    name: String,
    at: u64,
    what: What,
    /// Moments of the disk between which it was asked for and acknowledged.
    started: usize,
    acknowledged: usize,
}

#[derive(Debug, Clone)]
enum What {
    Put(Bytes),
    Post,
    Delete,
    Container,
}

/// What a workload left.
struct Run {
    ops: Vec<Op>,
    journal: Vec<Event>,
    flushes: Vec<(usize, State)>,
    compacted: u64,
}

/// Numbers that a seed decides.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn choose(random: &mut Random, at: u64) -> Op {
    let small = SMALL[random.below(SMALL.len() as u64) as usize].to_owned();
    let large = LARGE[random.below(LARGE.len() as u64) as usize].to_owned();
    let (name, what) = match random.below(20) {
        0 => (String::new(), What::Container),
        1..=2 => (small, What::Post),
        3..=5 => (small, What::Delete),
        6 => (large, What::Delete),
        7 => (large, What::Post),
        8..=9 => {
            let length = 50_000 + random.below(200_000) as usize;
            (large, What::Put(sample::bytes(at, length)))
        }
        _ => {
            let length = [0, 100, 4096, 9_000, 70_000][random.below(5) as usize];
            (small, What::Put(sample::bytes(at, length)))
        }
    };
    Op { name, at, what, started: 0, acknowledged: 0 }
}

async fn perform(device: &Device, disk: &SimulatedDisk, mut op: Op) -> Op {
    op.started = disk.moment();
    let mutation = match &op.what {
        What::Put(data) if op.name.starts_with('l') => {
            let extents = write_large(device, data).await.expect("extents");
            sample::put(&op.name, op.at, Body::Extents(extents))
        }
        What::Put(data) => sample::put_inline(&op.name, op.at, data.clone()),
        What::Post => sample::post(&op.name, op.at),
        What::Delete => sample::delete(&op.name, op.at),
        What::Container => sample::container(op.at),
    };
    device.commit(mutation, Applies::ALL).await.expect("commit");
    op.acknowledged = disk.moment();
    op
}

async fn compact(device: &Device) {
    let mut compactor = Compactor::new(device.clone());
    while compactor.step().await.expect("step") != Progress::Idle {}
}

/// Runs a workload on a disk that does not fail.
async fn work(seed: u64, rounds: u64) -> Run {
    let disk = SimulatedDisk::default();
    let index = Arc::new(ModelIndex::new(State::default(), Some(disk.clone())));
    let device = open(&disk, &index).expect("open");
    let (mut random, mut at, mut ops) = (Random(seed), 0, Vec::new());
    for round in 0..rounds {
        let together: Vec<Op> = (0..=random.below(3))
            .map(|_| {
                at += 1;
                choose(&mut random, at)
            })
            .collect();
        ops.extend(join_all(together.into_iter().map(|op| perform(&device, &disk, op))).await);
        // RocksDB flushes when it likes, and that is not when compaction asks for it.
        if round % 6 == 1 {
            device.inner.access.catalog.flush().expect("flush");
        }
        if round % 10 == 9 {
            compact(&device).await;
        }
    }
    let compacted = device.status().compacted_volumes;
    device.close().await.expect("close");
    Run { ops, journal: disk.journal(), flushes: index.flushes(), compacted }
}

/// What a name shows when exactly these mutations happened: version and metadata.
fn outcome(ops: &[&Op]) -> Option<(u64, Metadata)> {
    let latest = |is: fn(&What) -> bool| ops.iter().filter(|op| is(&op.what)).map(|op| op.at).max().unwrap_or(0);
    let (put, deleted) = (latest(|what| matches!(what, What::Put(_))), latest(|what| matches!(what, What::Delete)));
    let post = latest(|what| matches!(what, What::Post));
    (put > deleted).then(|| {
        let text = if post > put { format!("posted {post}") } else { format!("blue {put}") };
        (put, vec![("x-object-meta-color".to_owned(), text)])
    })
}

/// Every outcome that is allowed for a name when the power went at `moment`.
fn allowed(ops: &[Op], name: &str, moment: usize) -> Vec<Option<(u64, Metadata)>> {
    let started = || ops.iter().filter(|op| op.name == name && op.started <= moment);
    let certain: Vec<&Op> = started().filter(|op| op.acknowledged <= moment).collect();
    let open: Vec<&Op> = started().filter(|op| op.acknowledged > moment).collect();
    (0..1usize << open.len())
        .map(|choice| {
            let chosen = open.iter().enumerate().filter(|(bit, _)| choice >> bit & 1 == 1).map(|(_, op)| *op);
            outcome(&certain.iter().copied().chain(chosen).collect::<Vec<_>>())
        })
        .collect()
}

/// Opens what a crash left and compares it with what may be there.
async fn check(run: &Run, disk: &SimulatedDisk, index: State, moment: usize, what: &str) {
    let index = Arc::new(ModelIndex::new(index, None));
    let device = open(disk, &index).unwrap_or_else(|error| panic!("{what}: {error}"));
    let catalog = &device.inner.access.catalog;
    let mut shown = BTreeMap::new();
    for name in SMALL.iter().chain(&LARGE) {
        let row = catalog.object(sample::hash(name)).expect("row");
        let found = row.map(|row| (row.info.timestamp.ticks(), row.info.metadata));
        let allowed = allowed(&run.ops, name, moment);
        assert!(allowed.contains(&found), "{what}: {name} shows {found:?}, allowed are {allowed:?}");
        if let Some((at, _)) = &found {
            let op = run.ops.iter().find(|op| op.at == *at).expect("a version was put");
            let What::Put(want) = &op.what else { panic!("a version is a put") };
            let got = read(&device, name, 0..u64::MAX).await;
            assert!(got.as_ref().is_ok_and(|got| got == want), "{what}: {name} at {at}: {:?}", got.err());
        }
        shown.insert((*name).to_owned(), found);
    }
    check_registry(run, &index.now().registry(), moment, what);
    check_extents(&device, what);
    check_goes_on(&device, disk, shown, what).await;
}

fn check_registry(run: &Run, found: &[String], moment: usize, what: &str) {
    for op in run.ops.iter().filter(|op| matches!(op.what, What::Container)) {
        let is_there = found.contains(&format!("{:?}", sample::container(op.at)));
        assert!(is_there || op.acknowledged > moment, "{what}: container at {}", op.at);
        assert!(!is_there || op.started <= moment, "{what}: container from the future");
    }
}

/// No two objects share a place.
fn check_extents(device: &Device, what: &str) {
    for volume in device.inner.volumes.all(crate::device::volume::VolumeKind::Data) {
        let live = device.inner.access.catalog.live_extents(volume.id).expect("extents");
        for pair in live.windows(2) {
            assert!(pair[0].offset + pair[0].length <= pair[1].offset, "{what}: {pair:?}");
        }
    }
}

/// After a recovery the device takes writes, compacts, and the next start from the log alone finds the
/// same.
async fn check_goes_on(
    device: &Device,
    disk: &SimulatedDisk,
    mut shown: BTreeMap<String, Option<(u64, Metadata)>>,
    what: &str,
) {
    for (name, at) in [("n0", 9_000_001), ("n1", 9_000_002)] {
        let data = sample::bytes(at, 30_000);
        device.commit(sample::put_inline(name, at, data), Applies::ALL).await.expect("commit");
        shown.insert(name.to_owned(), outcome_of_put(at));
    }
    compact(device).await;
    device.close().await.expect("close");
    let rebuilt = Arc::new(ModelIndex::default());
    let again = open(disk, &rebuilt).unwrap_or_else(|error| panic!("{what}, second start: {error}"));
    assert_eq!(again.status().torn_tails, 0, "{what}: the torn end was left standing");
    for (name, want) in shown {
        let row = again.inner.access.catalog.object(sample::hash(&name)).expect("row");
        let found = row.map(|row| (row.info.timestamp.ticks(), row.info.metadata));
        assert_eq!(found, want, "{what}, second start: {name}");
        if want.is_some() {
            read(&again, &name, 0..u64::MAX).await.unwrap_or_else(|error| panic!("{what}, {name}: {error}"));
        }
    }
}

fn outcome_of_put(at: u64) -> Option<(u64, Metadata)> {
    Some((at, vec![("x-object-meta-color".to_owned(), format!("blue {at}"))]))
}

async fn cut_everywhere(seed: u64, rounds: u64) {
    let run = work(seed, rounds).await;
    assert!(run.compacted > 0, "the workload compacts");
    let mut crashes = Crashes::default();
    for (index, event) in run.journal.iter().enumerate() {
        crashes.advance(event);
        let moment = index + 1;
        let flushed = run.flushes.iter().rev().find(|(at, _)| *at <= moment).map(|(_, state)| state.clone());
        let seeds = [moment as u64, moment as u64 ^ 0x5eed_0000].map(Loss::Some);
        for loss in [Loss::All, Loss::Nothing].into_iter().chain(seeds) {
            let what =
                format!("seed {seed}, event {moment} {event:.0?}, {loss:?}").chars().take(120).collect::<String>();
            let disk = crashes.disk(loss);
            if let Some(state) = flushed.clone() {
                check(&run, &disk.copy(), state, moment, &format!("{what}, index as flushed")).await;
            }
            check(&run, &disk, State::default(), moment, &format!("{what}, no index")).await;
        }
    }
}

#[test]
fn what_was_acknowledged_survives_a_loss_of_power_at_any_write_or_sync() {
    for seed in [1, 2] {
        runtime().block_on(cut_everywhere(seed, 40));
    }
}

#[test]
fn the_record_of_a_large_object_is_never_durable_before_its_data() {
    // Cut anywhere, with everything kept but what went to data volumes.
    runtime().block_on(async {
        let run = work(7, 40).await;
        let mut crashes = Crashes::default();
        for (index, event) in run.journal.iter().enumerate() {
            crashes.advance(event);
            let disk = crashes.disk_without_unsynced_data();
            check(&run, &disk, State::default(), index + 1, &format!("event {index}")).await;
        }
    });
}

#[test]
fn a_stale_put_does_not_free_what_stands() {
    runtime().block_on(async {
        let disk = SimulatedDisk::default();
        let index = Arc::new(ModelIndex::default());
        let device = open(&disk, &index).expect("open");
        let (new, old) = (sample::bytes(1, 90_000), sample::bytes(2, 80_000));
        let extents = write_large(&device, &new).await.expect("extents");
        device.commit(sample::put("a", 10, Body::Extents(extents.clone())), Applies::ALL).await.expect("commit");
        let late = write_large(&device, &old).await.expect("extents");
        for body in [late, extents] {
            let at = if body.length == 90_000 { 10 } else { 5 };
            let effect = device.commit(sample::put("a", at, Body::Extents(body)), Applies::ALL).await.expect("commit");
            assert!(effect.stale.is_some());
        }
        device.commit(sample::container(11), Applies::ALL).await.expect("commit");
        assert!(read(&device, "a", 0..u64::MAX).await.expect("read") == new);
    });
}
