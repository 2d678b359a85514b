//! One byte after the other of what is stored is changed. Whatever it is, the change is found out, and
//! nothing that was not written is ever served.

use std::sync::Arc;

use bytes::Bytes;

use super::model::{ModelIndex, State};
use super::sample;
use super::simulation::{open, put_large, read, runtime};
use crate::daemon::auditor::{AuditOptions, Auditor};
use crate::device::disk::simulated::SimulatedDisk;
use crate::device::superblock;
use crate::error::Error;
use crate::mutation::Applies;

const LOG: &str = "volumes/00000001.log.vol";
const DATA: &str = "volumes/00000001.data.vol";

/// What is stored: names, versions and data.
fn objects() -> Vec<(&'static str, Bytes)> {
    vec![("a", sample::bytes(1, 300)), ("b", sample::bytes(2, 5_000)), ("large", sample::bytes(3, 150_000))]
}

/// A disk with these objects in two batches of the log and one data volume, and the index that knows
/// them.
async fn stored() -> (SimulatedDisk, State) {
    let disk = SimulatedDisk::default();
    let index = Arc::new(ModelIndex::default());
    let device = open(&disk, &index).expect("open");
    for (name, data) in objects() {
        if name == "large" {
            put_large(&device, name, 10, &data).await;
        } else {
            device.commit(sample::put_inline(name, 10, data), Applies::ALL).await.expect("commit");
        }
    }
    device.commit(sample::post("a", 20), Applies::ALL).await.expect("commit");
    device.commit(sample::container(30), Applies::ALL).await.expect("commit");
    device.close().await.expect("close");
    (disk, index.now())
}

/// Bytes worth changing: all of the heads, and every so many of the data.
fn places(contents: &[u8], dense: impl Fn(usize) -> bool) -> Vec<u64> {
    let used = contents.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    (0..used).filter(|at| dense(*at) || at % 61 == 0).map(|at| at as u64).collect()
}

/// Reads everything; each object is whole or refused. Returns how many were refused.
async fn read_all(disk: &SimulatedDisk, state: State, what: &str) -> usize {
    let index = Arc::new(ModelIndex::new(state, None));
    let device = open(disk, &index).expect("open");
    let mut refused = 0;
    for (name, want) in objects() {
        match read(&device, name, 0..u64::MAX).await {
            Ok(got) => assert!(got == want, "{what}: {name} was served damaged"),
            Err(Error::Corrupt { .. } | Error::Missing(_)) => refused += 1,
            Err(other) => panic!("{what}: {name}: {other}"),
        }
    }
    let status = device.status();
    refused + (status.quarantined + status.torn_tails) as usize
}

#[test]
fn a_changed_byte_in_the_log_is_refused_by_reads_and_found_by_the_auditor() {
    runtime().block_on(async {
        let (disk, state) = stored().await;
        let contents = disk.contents(LOG);
        for place in places(&contents, |at| at % 4096 < 700) {
            let damaged = disk.copy();
            damaged.flip(LOG, place, 0x10);
            let what = format!("log byte {place}");
            read_all(&damaged, state.clone(), &what).await;
            let index = Arc::new(ModelIndex::new(state.clone(), None));
            let device = open(&damaged, &index).expect("open");
            let mut auditor = Auditor::new(device.clone(), AuditOptions::default());
            let found = auditor.step().await.expect("audit").damaged;
            let expected = belongs_to_an_object(&state, place);
            assert_eq!(found > 0, expected, "{what}");
            assert_eq!(device.status().quarantined, found, "{what}");
        }
    });
}

/// Whether a byte of the log lies in a record that an object needs.
fn belongs_to_an_object(state: &State, place: u64) -> bool {
    state.locations().iter().any(|at| (at.offset..at.offset + u64::from(at.length)).contains(&place))
}

#[test]
fn a_changed_byte_in_the_log_is_found_when_the_index_is_rebuilt() {
    runtime().block_on(async {
        let (disk, state) = stored().await;
        let contents = disk.contents(LOG);
        let records: Vec<_> = state.locations();
        for place in places(&contents, |at| at % 4096 < 700) {
            let damaged = disk.copy();
            damaged.flip(LOG, place, 0x01);
            let found = read_all(&damaged, State::default(), &format!("log byte {place}")).await;
            let in_record = records.iter().any(|at| (at.offset..at.offset + u64::from(at.length)).contains(&place));
            assert!(!in_record || found > 0, "byte {place} was changed unnoticed");
        }
    });
}

#[test]
fn a_changed_byte_of_an_extent_is_refused() {
    runtime().block_on(async {
        let (disk, state) = stored().await;
        let length = objects()[2].1.len() as u64;
        for place in (0..length).step_by(997).chain([length - 1]) {
            let damaged = disk.copy();
            damaged.flip(DATA, place, 0x80);
            assert_eq!(read_all(&damaged, state.clone(), &format!("data byte {place}")).await, 1, "byte {place}");
        }
    });
}

#[test]
fn a_changed_byte_of_the_superblock_is_passed_over_and_two_are_refused() {
    runtime().block_on(async {
        let (disk, _) = stored().await;
        let good = superblock::read(&disk).expect("superblock").expect("superblock");
        let length = disk.contents(superblock::FILE).len() as u64;
        assert_eq!(length, 8192);
        for place in 0..length {
            let damaged = disk.copy();
            damaged.flip(superblock::FILE, place, 0x04);
            assert_eq!(superblock::read(&damaged).expect("one copy is good"), Some(good.clone()), "byte {place}");
            damaged.flip(superblock::FILE, (place + 4096) % length, 0x04);
            let found = superblock::read(&damaged);
            assert!(matches!(found, Err(Error::Corrupt { .. })), "byte {place}: {found:?}");
        }
    });
}

#[test]
fn a_record_in_the_wrong_place_is_not_taken_for_the_object() {
    runtime().block_on(async {
        let (disk, state) = stored().await;
        let index = Arc::new(ModelIndex::new(state, None));
        let device = open(&disk, &index).expect("open");
        let catalog = &device.inner.access.catalog;
        let row = |name| catalog.object(sample::hash(name)).expect("row").expect("row");
        let (mut wrong, other) = (row("a"), row("b"));
        wrong.location = other.location;
        wrong.info.stored_size = other.info.stored_size;
        // The index knows better, and is asked again.
        let found = device.read(Some(sample::hash("a")), &wrong, 0..10).await;
        assert!(matches!(found, Err(Error::Corrupt { .. })), "{found:?}");
        let swapped = device.read(Some(sample::hash("large")), &other, 0..10).await;
        assert!(swapped.is_err());
    });
}
