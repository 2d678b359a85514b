//! A device on the machine's disk, with each backend.

use std::sync::Arc;

use super::model::ModelIndex;
use super::sample;
use super::simulation::{collect, put_large, read, runtime};
use crate::device::Device;
use crate::device::disk::real::RealDisk;
use crate::device::opening::{BackendChoice, BackendKind, Geometry, Inner};
use crate::device::superblock::{self, Superblock};
use crate::error::Error;
use crate::mutation::Applies;

const CHOICES: [BackendChoice; 2] = [BackendChoice::Auto, BackendChoice::Threads];

/// Small volumes, so that a test crosses their ends.
const SMALL: Geometry = Geometry { log_volume_bytes: 8 << 20, data_volume_bytes: 32 << 20 };

fn open(dir: &std::path::Path, choice: BackendChoice, index: &Arc<ModelIndex>) -> Device {
    let disk = Arc::new(RealDisk::open(dir, true).expect("lock"));
    let found = superblock::read(&*disk).expect("superblock");
    let superblock = found.unwrap_or_else(|| {
        let made = Superblock { cluster_id: "c".to_owned(), device_id: [7; 16], created: Default::default() };
        superblock::create(&*disk, &made).expect("superblock");
        made
    });
    let position = index.now().position;
    let kind = BackendKind::Chosen(choice);
    let inner = Inner::assemble(disk, superblock, Arc::clone(index) as _, position, SMALL, kind).expect("open");
    Device { inner: Arc::new(inner) }
}

#[test]
fn what_was_committed_is_read_back_also_by_range_and_after_a_restart_without_an_index() {
    for choice in CHOICES {
        let dir = tempfile::tempdir().expect("directory");
        let index = Arc::new(ModelIndex::default());
        let sizes = [0, 1, 4096, 65_535, 65_536, 65_537, 262_144, 262_145, 3_000_000, 9_500_000];
        runtime().block_on(async {
            let device = open(dir.path(), choice, &index);
            for (number, size) in sizes.into_iter().enumerate() {
                let (name, data) = (number.to_string(), sample::bytes(number as u64, size));
                if size > 262_144 {
                    put_large(&device, &name, 10, &data).await;
                } else {
                    device.commit(sample::put_inline(&name, 10, data), Applies::ALL).await.expect("commit");
                }
            }
            check_all(&device, &sizes).await;
            device.close().await.expect("close");
            assert!(matches!(device.commit(sample::delete("0", 20), Applies::ALL).await, Err(Error::Stopped)));
        });
        let rebuilt = Arc::new(ModelIndex::default());
        runtime().block_on(async {
            let device = open(dir.path(), choice, &rebuilt);
            assert_eq!(device.status().replayed_records, sizes.len() as u64);
            check_all(&device, &sizes).await;
        });
    }
}

async fn check_all(device: &Device, sizes: &[usize]) {
    for (number, size) in sizes.iter().enumerate() {
        let (name, want) = (number.to_string(), sample::bytes(number as u64, *size));
        assert!(read(device, &name, 0..u64::MAX).await.expect("read") == want, "{size}");
        for start in [0, 1, 65_535, 65_536, 65_537, 1_048_576, 8_400_000] {
            for length in [0, 1, 65_536, 1_100_000] {
                let range = start.min(*size)..(start + length).min(*size);
                let got = read(device, &name, range.start as u64..range.end as u64).await.expect("read");
                assert!(got == want.slice(range.clone()), "{size} {range:?}");
            }
        }
    }
}

#[test]
fn many_writers_share_flushes_and_volumes_follow_each_other() {
    for choice in CHOICES {
        let dir = tempfile::tempdir().expect("directory");
        let index = Arc::new(ModelIndex::default());
        runtime().block_on(async {
            let device = open(dir.path(), choice, &index);
            let mut tasks = tokio::task::JoinSet::new();
            for task in 0..32 {
                let device = device.clone();
                tasks.spawn(async move {
                    for turn in 0..40 {
                        let name = format!("{task}-{turn}");
                        let data = sample::bytes(task * 1000 + turn, 20_000);
                        device.commit(sample::put_inline(&name, 5, data), Applies::ALL).await.expect("commit");
                    }
                });
            }
            while let Some(done) = tasks.join_next().await {
                done.expect("task");
            }
            let status = device.status();
            assert_eq!(status.records, 1280);
            assert!(status.batches < 640 && status.log_volumes > 2, "{status:?}");
            for (task, turn) in [(0, 0), (31, 39), (7, 20)] {
                let want = sample::bytes(task * 1000 + turn, 20_000);
                assert!(read(&device, &format!("{task}-{turn}"), 0..u64::MAX).await.expect("read") == want);
            }
        });
        let rebuilt = Arc::new(ModelIndex::default());
        let device = open(dir.path(), choice, &rebuilt);
        assert_eq!((device.status().replayed_records, rebuilt.now().hashes().len()), (1280, 1280));
    }
}

#[test]
fn space_of_dead_and_abandoned_extents_is_freed_but_not_under_a_reader() {
    let dir = tempfile::tempdir().expect("directory");
    let index = Arc::new(ModelIndex::default());
    runtime().block_on(async {
        let device = open(dir.path(), BackendChoice::Auto, &index);
        let data = sample::bytes(1, 5_000_000);
        put_large(&device, "a", 10, &data).await;
        let hash = sample::hash("a");
        let row = device.inner.access.catalog.object(hash).expect("row").expect("row");
        let reader = device.read(Some(hash), &row, 0..u64::MAX).await.expect("read");
        device.commit(sample::delete("a", 20), Applies::ALL).await.expect("delete");
        assert!(matches!(read(&device, "a", 0..1).await, Err(Error::Missing(_))));
        device.commit(sample::container(21), Applies::ALL).await.expect("commit");
        assert_eq!(device.status().punched_bytes, 0);
        assert!(collect(reader).await.expect("read") == data);
        let mut abandoned = device.write_extents(None);
        abandoned.write(sample::bytes(2, 3_000_000)).await.expect("write");
        drop(abandoned);
        while device.status().punched_bytes < 5_000_000 + 2 * (1 << 20) {
            device.commit(sample::container(22), Applies::ALL).await.expect("commit");
        }
    });
}
