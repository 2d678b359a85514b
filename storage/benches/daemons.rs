//! What daemons cost: replicators that compare 100,000 partitions and find nothing to do, and the auditor per byte.

#![expect(clippy::print_stdout, reason = "it tells its figures")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anello_storage::daemon::auditor::{AuditOptions, Auditor};
use anello_storage::device::DeviceOptions;
use anello_storage::store::{DaemonOptions, IfMissing, ObjectHead, ReplicationOptions, StoreOptions};
use anello_storage::{ObjectPath, Precondition, Store};
use bytes::Bytes;
use futures::StreamExt;

/// With accounts, containers and the first policy's objects some 100,000 partitions that have something.
const POLICIES: u32 = 7;
/// Four to a partition, so that nearly all of a policy's 16,384 have some.
const OBJECTS: u64 = 65_536;
const PASSES: u64 = 10;
const AUDITED: [(&str, usize, u64); 3] =
    [("4 KiB", 4 << 10, 50_000), ("128 KiB", 128 << 10, 8_000), ("1 MiB", 1 << 20, 1_500)];
const AT_ONCE: usize = 256;

/// Seconds of processor time of this process, in hundredths.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("procfs");
    let (_, fields) = stat.rsplit_once(')').expect("the command's name ends");
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
    ticks as f64 / 100.0
}

async fn open(directory: &Path, devices: usize, interval: Duration) -> Store {
    let replication = ReplicationOptions { interval, settle: Duration::ZERO, ..ReplicationOptions::default() };
    let options = StoreOptions {
        devices: (0..devices).map(|device| directory.join(device.to_string())).collect(),
        state_dir: directory.to_owned(),
        cluster_id: "bench".into(),
        cluster_secret: b"secret".to_vec(),
        device: DeviceOptions::default(),
        daemons: DaemonOptions { replication, ..DaemonOptions::default() },
    };
    tokio::task::spawn_blocking(|| Store::open(options)).await.expect("no panic").expect("opens")
}

async fn fill(store: &Store, container: &str, policy: u32, objects: u64, data: Bytes) {
    store.container_update("a", container, vec![], policy, IfMissing::Create).await.expect("a container");
    let container: Arc<str> = container.into();
    let put = |object: u64| {
        let (store, data, path) = (store.clone(), data.clone(), ObjectPath::new("a", &*container, object.to_string()));
        async move {
            let put = store.object_put(&path, data, ObjectHead::default(), &Precondition::default()).await;
            put.expect("an object")
        }
    };
    futures::stream::iter(0..objects).map(put).buffer_unordered(AT_ONCE).for_each(async |_| ()).await;
}

fn passes(store: &Store) -> u64 {
    store
        .status()
        .daemons
        .iter()
        .filter(|daemon| daemon.name == "replicator")
        .map(|daemon| daemon.passes)
        .min()
        .unwrap_or(0)
}

async fn idle_passes() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path(), 3, Duration::from_secs(86_400)).await;
    for policy in 1..POLICIES {
        store
            .change_policies(|policies| policies.with(&format!("p{policy}"), "replication 3".parse()?))
            .await
            .expect("a policy");
    }
    for policy in 0..POLICIES {
        fill(&store, &format!("c{policy}"), policy, OBJECTS, Bytes::from_static(b"x")).await;
    }
    // The last replicas of the last writes.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let report = store.dispersion().await.expect("a report");
    let partitions: u64 = report.rings.iter().map(|ring| ring.partitions).sum();
    store.close().await.expect("closes");
    // Its devices are locked for as long as it lives.
    drop(store);
    let store = open(directory.path(), 3, Duration::from_millis(1)).await;
    while passes(&store) < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (before, used, began) = (passes(&store), cpu(), Instant::now());
    while passes(&store) < before + PASSES {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let done = (passes(&store) - before) as f64 * 3.0;
    let (used, took) = (cpu() - used, began.elapsed().as_secs_f64());
    println!(
        "replicator, {partitions} partitions, {} objects, nothing to do: {:.0} ms of CPU and {:.0} ms for a device's pass, \
         the others' answers included",
        u64::from(POLICIES) * OBJECTS,
        used / done * 1e3,
        took / done * 3e3
    );
    store.close().await.expect("closes");
}

async fn audits() {
    for (name, size, objects) in AUDITED {
        let directory = tempfile::tempdir().expect("a directory");
        let store = open(directory.path(), 1, Duration::from_secs(86_400)).await;
        let data: Vec<u8> = (0..size).map(|at| (at * 31 + at / 251) as u8).collect();
        fill(&store, "c", 0, objects, data.into()).await;
        let device = store.devices().next().expect("a device").clone();
        let mut auditor = Auditor::new(device, AuditOptions::default());
        let (mut bytes, mut used, began) = (0, cpu(), Instant::now());
        loop {
            let done = auditor.step().await.expect("a step");
            bytes += done.bytes;
            assert_eq!(done.damaged, 0);
            if done.finished {
                break;
            }
        }
        used = cpu() - used;
        let (bytes, took) = (bytes as f64 / f64::from(1 << 20), began.elapsed().as_secs_f64());
        println!("auditor, objects of {name}: {:.0} MiB per core and second, {:.0} MiB/s", bytes / used, bytes / took);
        store.close().await.expect("closes");
    }
}

#[tokio::main]
async fn main() {
    // `cargo test --benches` asks whether it runs, not how fast.
    if std::env::args().any(|argument| argument == "--bench") {
        audits().await;
        idle_passes().await;
    }
}
