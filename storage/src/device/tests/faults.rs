//! Disks that are full, read-only or failing: writes are refused with the reason, reads go on.

use std::sync::Arc;

use super::model::{ModelIndex, State};
use super::sample;
use super::simulation::{open, put_large, read, runtime, write_large};
use crate::daemon::compactor::{Compactor, Progress};
use crate::device::codec::record;
use crate::device::disk::simulated::{Faults, SimulatedDisk};
use crate::device::engine::{Commit, Request};
use crate::device::{Device, DeviceState};
use crate::error::{Error, Result};
use crate::index::Effect;
use crate::mutation::Applies;

async fn put(device: &Device, name: &str, at: u64, length: usize) -> Result<Effect> {
    device.commit(sample::put_inline(name, at, sample::bytes(at, length)), Applies::ALL).await
}

#[test]
fn a_full_device_refuses_puts_and_takes_deletions_until_there_is_space_again() {
    runtime().block_on(async {
        let disk = SimulatedDisk::default();
        let index = Arc::new(ModelIndex::default());
        let device = open(&disk, &index).expect("open");
        for at in 1..=4 {
            put(&device, &format!("o{at}"), at, 20_000).await.expect("put");
        }
        // Room for one more volume, which is kept back.
        disk.set_faults(Faults { free_bytes: Some(130 << 10), ..Faults::default() });
        let mut at = 10;
        let refused = loop {
            at += 1;
            match put(&device, "more", at, 20_000).await {
                Ok(_) => assert!(at < 20, "the device never was full"),
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, Error::Full { .. }), "{refused}");
        assert_eq!(device.state(), DeviceState::Full);
        assert!(matches!(put(&device, "more", 100, 10).await, Err(Error::Full { .. })));
        assert!(matches!(write_large(&device, &sample::bytes(5, 90_000)).await, Err(Error::Full { .. })));
        assert!(read(&device, "o1", 0..9).await.is_ok());
        for at in 1..=4 {
            device.commit(sample::delete(&format!("o{at}"), 200 + at), Applies::ALL).await.expect("delete");
        }
        disk.set_faults(Faults::default());
        put(&device, "more", 300, 20_000).await.expect("there is space again");
        assert_eq!(device.state(), DeviceState::InService);
        put_large(&device, "large", 301, &sample::bytes(6, 90_000)).await;
    });
}

#[test]
fn after_an_io_error_nothing_is_written_and_everything_acknowledged_is_still_read() {
    runtime().block_on(async {
        for code in [libc::EIO, libc::EROFS] {
            let disk = SimulatedDisk::default();
            let index = Arc::new(ModelIndex::default());
            let device = open(&disk, &index).expect("open");
            put(&device, "a", 1, 5_000).await.expect("put");
            put_large(&device, "b", 2, &sample::bytes(2, 90_000)).await;
            disk.set_faults(Faults { write_error: Some(code), ..Faults::default() });
            for _ in 0..2 {
                let refused = put(&device, "c", 3, 5_000).await;
                assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{refused:?}");
            }
            assert!(matches!(device.state(), DeviceState::ReadOnly(_)));
            let deletion = device.commit(sample::delete("a", 9), Applies::ALL).await;
            assert!(matches!(deletion, Err(Error::ReadOnly { .. })));
            assert!(read(&device, "a", 0..u64::MAX).await.is_ok_and(|data| data == sample::bytes(1, 5_000)));
            assert!(read(&device, "b", 0..u64::MAX).await.is_ok_and(|data| data == sample::bytes(2, 90_000)));
            drop(device);
            disk.set_faults(Faults::default());
            let again = Arc::new(ModelIndex::new(State::default(), None));
            let device = open(&disk, &again).expect("open");
            assert!(read(&device, "a", 0..u64::MAX).await.is_ok());
            assert!(matches!(read(&device, "c", 0..1).await, Err(Error::Missing(_))));
            put(&device, "c", 4, 5_000).await.expect("a restart brings it back");
        }
    });
}

#[test]
fn what_the_page_cache_does_not_hold_is_read_by_the_thread() {
    runtime().block_on(async {
        let disk = SimulatedDisk::default();
        let index = Arc::new(ModelIndex::default());
        let device = open(&disk, &index).expect("open");
        put(&device, "a", 1, 200_000).await.expect("put");
        let large = sample::bytes(2, 900_000);
        put_large(&device, "b", 2, &large).await;
        disk.set_faults(Faults { cold: true, ..Faults::default() });
        assert!(
            read(&device, "a", 70_000..190_000).await.expect("read")
                == sample::bytes(1, 200_000).slice(70_000..190_000)
        );
        assert!(read(&device, "b", 1..899_999).await.expect("read") == large.slice(1..899_999));
        assert!(device.status().reads_disk > 0);
    });
}

/// Fills a log volume, lets most of it die, and returns the device.
async fn mostly_dead(disk: &SimulatedDisk, index: &Arc<ModelIndex>) -> Device {
    let device = open(disk, index).expect("open");
    put(&device, "keep", 1, 9_000).await.expect("put");
    for at in 2..20 {
        put(&device, "over", at, 20_000).await.expect("put");
    }
    device
}

async fn compact(device: &Device) {
    let mut compactor = Compactor::new(device.clone());
    while compactor.step().await.expect("step") != Progress::Idle {}
}

#[test]
fn compaction_frees_dead_volumes_and_keeps_what_lives_readable_under_old_rows() {
    runtime().block_on(async {
        let disk = SimulatedDisk::default();
        let index = Arc::new(ModelIndex::default());
        let device = mostly_dead(&disk, &index).await;
        let catalog = &device.inner.access.catalog;
        let hash = sample::hash("keep");
        let old_row = catalog.object(hash).expect("row").expect("row");
        let before = device.status();
        compact(&device).await;
        let after = device.status();
        assert!(after.log_volumes < before.log_volumes && after.compacted_volumes > 0, "{after:?}");
        assert!(after.dead_bytes < before.dead_bytes);
        // A row from before is looked up again.
        let reader = device.read(Some(hash), &old_row, 0..u64::MAX).await.expect("read");
        let data = super::simulation::collect(reader).await.expect("read");
        assert!(data == sample::bytes(1, 9_000));
    });
}

#[test]
fn a_record_that_died_before_its_copy_was_written_is_not_copied() {
    runtime().block_on(async {
        let disk = SimulatedDisk::default();
        let index = Arc::new(ModelIndex::default());
        let device = open(&disk, &index).expect("open");
        put(&device, "a", 1, 100).await.expect("put");
        let row = device.inner.access.catalog.object(sample::hash("a")).expect("row").expect("row");
        let mutation = sample::put_inline("a", 1, sample::bytes(1, 100));
        device.commit(sample::delete("a", 2), Applies::ALL).await.expect("delete");
        let encoded = record::encode(&mutation, Applies::ALL).expect("encode");
        let moved = Some(row.location);
        let copy = |done| {
            let (applies, is_restored) = (Applies::ALL, false);
            Request::Commit(Box::new(Commit { encoded, mutation, applies, moved, is_restored, done }))
        };
        device.inner.shared.ask(copy).await.expect("answered");
        assert_eq!(device.status().records, 2, "a copy stands behind its tombstone");
    });
}

#[test]
fn compaction_never_removes_what_it_could_not_read() {
    runtime().block_on(async {
        let disk = SimulatedDisk::default();
        let index = Arc::new(ModelIndex::default());
        let device = mostly_dead(&disk, &index).await;
        let row = device.inner.access.catalog.object(sample::hash("keep")).expect("row").expect("row");
        let name = format!("volumes/{:08}.log.vol", row.location.volume);
        // A damaged head: the volume stays.
        disk.flip(&name, row.location.offset + 50, 1);
        compact(&device).await;
        assert!(device.inner.volumes.get(crate::device::volume::VolumeKind::Log, row.location.volume).is_some());
        disk.flip(&name, row.location.offset + 50, 1);
        // Damaged data: copied as they are, and refused as before.
        disk.flip(&name, row.location.offset + u64::from(row.location.data_start) + 50, 1);
        compact(&device).await;
        assert!(device.inner.volumes.get(crate::device::volume::VolumeKind::Log, row.location.volume).is_none());
        let found = read(&device, "keep", 0..u64::MAX).await;
        assert!(matches!(found, Err(Error::Corrupt { .. })), "{found:?}");
    });
}
