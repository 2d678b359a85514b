//! A device with its real index on the machine's disk, as an operator meets it: restarts, wrong disks,
//! and the offline commands.

use std::path::{Path, PathBuf};

use anello_base::Timestamp;
use anello_storage::daemon::auditor::{AuditOptions, Auditor};
use anello_storage::daemon::compactor::{Compactor, Progress};
use anello_storage::device::inspect::{inspect, rebuild_index, verify};
use anello_storage::device::{Device, DeviceOptions};
use anello_storage::model::{ContainerInfo, Content, ListQuery};
use anello_storage::mutation::{Applies, Body, ContainerPut, Mutation, ObjectPut, PathHashes};
use anello_storage::{Error, KeyHasher, ObjectPath, Result};
use bytes::Bytes;
use futures::StreamExt as _;

const CLUSTER: &str = "0123456789abcdef0123456789abcdef";

fn open(dir: &Path) -> Device {
    Device::open(dir, CLUSTER, DeviceOptions::default()).expect("open")
}

fn hashes(name: &str) -> PathHashes {
    let hasher = KeyHasher::new(b"secret");
    let path = ObjectPath::new("AUTH_a", "box", name);
    PathHashes {
        account: hasher.account(&path.account),
        container: hasher.container(&path.account, &path.container),
        object: hasher.object(&path),
    }
}

fn at(tick: u64) -> Timestamp {
    Timestamp::from_ticks(1_000_000 + tick)
}

fn bytes(seed: u64, length: usize) -> Bytes {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out.into()
}

fn put(name: &str, tick: u64, body: Body) -> Mutation {
    Mutation::ObjectPut(ObjectPut {
        path: ObjectPath::new("AUTH_a", "box", name),
        hashes: hashes(name),
        timestamp: at(tick),
        policy: 0,
        size: body.len(),
        etag: "d41d8cd98f00b204e9800998ecf8427e".to_owned(),
        content_type: "text/plain".to_owned(),
        content: Content::Plain,
        delete_at: None,
        metadata: Vec::new(),
        body,
    })
}

async fn make_container(device: &Device) {
    let put = ContainerPut {
        account: "AUTH_a".to_owned(),
        container: "box".to_owned(),
        account_hash: hashes("").account,
        container_hash: hashes("").container,
        timestamp: at(0),
        policy: 0,
        changes: Vec::new(),
    };
    device.commit(Mutation::ContainerPut(put), Applies::ALL).await.expect("container");
}

async fn put_inline(device: &Device, name: &str, tick: u64, length: usize) {
    let body = Body::Inline(bytes(tick, length));
    device.commit(put(name, tick, body), Applies::ALL).await.expect("put");
}

async fn put_large(device: &Device, name: &str, tick: u64, length: usize) {
    let mut writer = device.write_extents(Some(length as u64));
    writer.write(bytes(tick, length)).await.expect("write");
    let body = Body::Extents(writer.finish().await.expect("finish"));
    device.commit(put(name, tick, body), Applies::ALL).await.expect("put");
}

async fn read(device: &Device, name: &str) -> Result<Bytes> {
    let hash = hashes(name).object;
    let row = device.index().object(hash)?.ok_or(Error::Missing("object"))?;
    let mut reader = device.read(Some(hash), &row, 0..u64::MAX).await?;
    let mut all = Vec::new();
    while let Some(bytes) = reader.next().await? {
        all.extend_from_slice(&bytes);
    }
    Ok(all.into())
}

/// Statistics and names of the only container.
fn shown(device: &Device) -> (ContainerInfo, Vec<String>) {
    let info = device.index().container(hashes("").container).expect("index").expect("container");
    let query = ListQuery { limit: 10_000, ..ListQuery::default() };
    let rows = device.index().list_objects(hashes("").container, &query).expect("list");
    (info, rows.into_iter().map(|row| format!("{row:?}")).collect())
}

fn log_files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("volumes")).expect("volumes");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("entry").path()).collect();
    files.retain(|file| file.to_string_lossy().ends_with(".log.vol"));
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_after_a_clean_stop_replays_nothing_and_finds_everything() {
    let dir = tempfile::tempdir().expect("directory");
    let device = open(dir.path());
    make_container(&device).await;
    put_inline(&device, "small", 1, 4096).await;
    put_large(&device, "large", 2, 3_000_000).await;
    let before = shown(&device);
    device.close().await.expect("close");
    drop(device);
    let device = open(dir.path());
    assert_eq!(device.status().replayed_records, 0);
    assert_eq!(shown(&device), before);
    assert!(read(&device, "small").await.expect("read") == bytes(1, 4096));
    assert!(read(&device, "large").await.expect("read") == bytes(2, 3_000_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_disk_and_a_disk_in_use_are_refused() {
    let dir = tempfile::tempdir().expect("directory");
    let device = open(dir.path());
    let id = device.status().device_id;
    let in_use = Device::open(dir.path(), CLUSTER, DeviceOptions::default());
    assert!(matches!(in_use, Err(Error::Io { action: "lock", .. })), "{in_use:?}");
    drop(device);
    let other_cluster = Device::open(dir.path(), "another", DeviceOptions::default());
    assert!(matches!(other_cluster, Err(Error::WrongDevice { .. })), "{other_cluster:?}");
    let expecting = |id: &str| DeviceOptions { device_id: Some(id.to_owned()), ..DeviceOptions::default() };
    let other_device = Device::open(dir.path(), CLUSTER, expecting(&"0".repeat(32)));
    assert!(matches!(other_device, Err(Error::WrongDevice { .. })), "{other_device:?}");
    Device::open(dir.path(), CLUSTER, expecting(&id)).expect("the right one");
    std::fs::remove_file(dir.path().join("superblock")).expect("remove");
    std::fs::write(dir.path().join("volumes/00000001.log.vol"), [0; 4096]).expect("write");
    let no_superblock = Device::open(dir.path(), CLUSTER, DeviceOptions::default());
    assert!(matches!(no_superblock, Err(Error::WrongDevice { .. })), "{no_superblock:?}");
}

/// Objects, overwritten and deleted ones among them, in several log volumes, compacted.
async fn worked_device(dir: &Path) -> (ContainerInfo, Vec<String>) {
    let device = open(dir);
    make_container(&device).await;
    let device = &device;
    let mut tick = 1;
    for round in 0..3 {
        let mut together = Vec::new();
        for number in 0..700 {
            let length = if number % 50 == 0 { 1_000 } else { 200_000 };
            together.push(async move { put_inline(device, &format!("o{number}"), tick, length + round).await });
            tick += 1;
        }
        futures::stream::iter(together).buffer_unordered(16).collect::<()>().await;
    }
    put_large(device, "large", 5_000, 1_500_000).await;
    for number in (0..700).step_by(3) {
        tick += 1;
        let path = ObjectPath::new("AUTH_a", "box", format!("o{number}"));
        let hashes = hashes(&path.object);
        let deletion = Mutation::ObjectDelete { path, hashes, timestamp: at(tick), policy: 0 };
        device.commit(deletion, Applies::ALL).await.expect("delete");
    }
    compact(device).await;
    let shown = shown(device);
    audit(device).await;
    device.close().await.expect("close");
    shown
}

/// Compacts all there is to compact; what an operator is shown meanwhile is so.
async fn compact(device: &Device) {
    let mut compactor = Compactor::new(device.clone());
    let watch = compactor.watch();
    let mut was_seen_running = false;
    while compactor.step().await.expect("step") != Progress::Idle {
        let shown = watch.status();
        if shown.is_running {
            was_seen_running = true;
            let expected = shown.expected.expect("a volume has a size");
            assert!(shown.done <= expected && shown.waiting > 0 && shown.waiting <= 3 * expected, "{shown:?}");
        }
    }
    let over = watch.status();
    assert!(was_seen_running && over.passes > 0 && over.handled > 0 && !over.is_running, "{over:?}");
    assert_eq!((over.passes, over.waiting, over.findings), (device.status().compacted_volumes, 0, 0));
}

/// Reads everything; the number of objects is told before all are read, within the chance of their hashes.
async fn audit(device: &Device) {
    let mut auditor = Auditor::new(device.clone(), AuditOptions::default());
    let watch = auditor.watch();
    auditor.step().await.expect("audit");
    let shown = watch.status();
    let expected = shown.expected.expect("an estimate");
    assert!(shown.is_running && shown.done > 0 && (300..650).contains(&expected), "{shown:?}");
    while !auditor.step().await.expect("audit").finished {}
    let over = watch.status();
    assert_eq!((over.passes, over.handled, over.findings, over.is_running), (1, 467, 0, false), "{over:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_rebuilt_after_compaction_shows_the_same_and_verify_finds_no_fault() {
    let dir = tempfile::tempdir().expect("directory");
    let before = worked_device(dir.path()).await;
    let mut last = (0, 0);
    let verified = verify(dir.path(), &DeviceOptions::default(), &mut |done, all| last = (done, all)).expect("verify");
    assert_eq!((verified.problem_count, verified.torn_tail), (0, false), "{:?}", verified.problems);
    assert!(verified.objects == 467 && verified.records > 467 && last.0 > 0, "{verified:?}");
    let rebuilt = rebuild_index(dir.path(), &DeviceOptions::default(), &mut |_, _| ()).expect("rebuild");
    assert_eq!((rebuilt.quarantined, rebuilt.torn_tails), (0, 0));
    let inspection = inspect(dir.path(), &mut |_, _| ()).expect("inspect");
    assert_eq!(inspection.cluster_id, CLUSTER);
    assert_eq!(inspection.records.values().sum::<u64>(), rebuilt.records);
    assert_eq!((inspection.log_volumes.len(), inspection.data_volumes.len()), (log_files(dir.path()).len(), 1));
    let device = open(dir.path());
    assert_eq!(shown(&device), before);
    assert!(read(&device, "large").await.expect("read") == bytes(5_000, 1_500_000));
    assert!(read(&device, "o1").await.expect("read") == bytes(1_402, 200_002));
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_tells_where_bytes_have_changed() {
    let dir = tempfile::tempdir().expect("directory");
    let device = open(dir.path());
    make_container(&device).await;
    put_inline(&device, "small", 1, 4096).await;
    put_large(&device, "large", 2, 300_000).await;
    device.close().await.expect("close");
    drop(device);
    for (file, place) in [("00000001.log.vol", 4096 + 3000), ("00000001.data.vol", 100_000)] {
        let path = dir.path().join("volumes").join(file);
        let flip = || {
            use std::os::unix::fs::FileExt;
            let file = std::fs::File::options().read(true).write(true).open(&path).expect("open");
            let mut byte = [0];
            file.read_exact_at(&mut byte, place).expect("read");
            file.write_all_at(&[byte[0] ^ 1], place).expect("write");
        };
        flip();
        let found = verify(dir.path(), &DeviceOptions::default(), &mut |_, _| ()).expect("verify");
        assert_eq!(found.problem_count, 1, "{file}: {:?}", found.problems);
        flip();
    }
    let found = verify(dir.path(), &DeviceOptions::default(), &mut |_, _| ()).expect("verify");
    assert_eq!(found.problem_count, 0, "{:?}", found.problems);
}

/// Without this a new program does not start on the devices of an old one.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_another_format_is_rebuilt_when_the_device_is_opened() {
    let dir = tempfile::tempdir().expect("directory");
    let before = {
        let device = open(dir.path());
        make_container(&device).await;
        put_inline(&device, "small", 1, 4096).await;
        device.close().await.expect("close");
        shown(&device)
    };
    let stored = rocksdb::DB::list_cf(&rocksdb::Options::default(), dir.path().join("index")).expect("tables");
    let index = rocksdb::DB::open_cf(&rocksdb::Options::default(), dir.path().join("index"), &stored);
    index.expect("opens").put(b"format", 1_u32.to_le_bytes()).expect("writes");
    let device = open(dir.path());
    assert_eq!(device.status().replayed_records, 2);
    assert_eq!(shown(&device), before);
}

/// Without this a digest that went wrong hides a difference between replicas for ever.
#[tokio::test(flavor = "multi_thread")]
async fn verify_tells_of_a_digest_that_is_not_its_entries() {
    let dir = tempfile::tempdir().expect("directory");
    let device = open(dir.path());
    make_container(&device).await;
    put_inline(&device, "small", 1, 4096).await;
    device.close().await.expect("close");
    drop(device);
    let options = rocksdb::Options::default();
    let stored = rocksdb::DB::list_cf(&options, dir.path().join("index")).expect("tables");
    let index = rocksdb::DB::open_cf(&options, dir.path().join("index"), stored).expect("opens");
    let digests = index.cf_handle("digests").expect("table");
    index.put_cf(digests, [b'c', 0, 0, 0, 0, 0, 0, 0, 5], [1; 16]).expect("writes");
    drop(index);
    let found = verify(dir.path(), &DeviceOptions::default(), &mut |_, _| ()).expect("verify");
    assert_eq!(found.problem_count, 1, "{:?}", found.problems);
}
