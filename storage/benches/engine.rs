//! What a device costs on the disk that the build is on: small records made durable one at a time and 32 in
//! flight, and reads from the page cache. The figures stand in `benches/README.md`.

use std::hint::black_box;

use anello_base::Timestamp;
use anello_storage::device::{Device, DeviceOptions};
use anello_storage::model::Content;
use anello_storage::mutation::{Applies, Body, ContainerPut, Mutation, ObjectPut, PathHashes};
use anello_storage::{KeyHasher, ObjectPath};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::future::join_all;
use tokio::runtime::Runtime;

const CLUSTER: &str = "0123456789abcdef0123456789abcdef";
const SMALL_BYTES: usize = 4096;
const LARGE_BYTES: usize = 1 << 20;
/// Writers whose records may share a group commit.
const IN_FLIGHT: usize = 32;
/// Packed objects that are read; in the page cache all of them.
const SMALL_OBJECTS: usize = 1000;

/// Makes mutations of one container, each later than the one before.
struct Names {
    hasher: KeyHasher,
    made: u64,
}

impl Names {
    fn hashes(&self, path: &ObjectPath) -> PathHashes {
        PathHashes {
            account: self.hasher.account(&path.account),
            container: self.hasher.container(&path.account, &path.container),
            object: self.hasher.object(path),
        }
    }

    fn path(name: &str) -> ObjectPath {
        ObjectPath::new("AUTH_bench", "c", name)
    }

    fn tick(&mut self) -> Timestamp {
        self.made += 1;
        Timestamp::from_ticks(170_000_000_000_000 + self.made)
    }

    fn container(&mut self) -> Mutation {
        let PathHashes { account: account_hash, container: container_hash, .. } = self.hashes(&Self::path(""));
        let (account, container) = ("AUTH_bench".to_owned(), "c".to_owned());
        let (timestamp, changes) = (self.tick(), Vec::new());
        let put = ContainerPut { account, container, account_hash, container_hash, timestamp, policy: 0, changes };
        Mutation::ContainerPut(put)
    }

    fn put(&mut self, name: &str, body: Body) -> Mutation {
        let path = Self::path(name);
        let hashes = self.hashes(&path);
        Mutation::ObjectPut(ObjectPut {
            path,
            hashes,
            timestamp: self.tick(),
            policy: 0,
            size: body.len(),
            etag: format!("{:032x}", self.made),
            content_type: "application/octet-stream".to_owned(),
            content: Content::Plain,
            delete_at: None,
            metadata: Vec::new(),
            body,
        })
    }

    fn small(&mut self, data: &Bytes) -> Mutation {
        let name = format!("new-{}", self.made);
        self.put(&name, Body::Inline(data.clone()))
    }
}

async fn commit(device: &Device, mutation: Mutation) {
    device.commit(mutation, Applies::ALL).await.expect("commits");
}

/// Reads an object to its end, looking it up first; tells how many bytes came.
async fn read(device: &Device, hashes: PathHashes) -> usize {
    let row = device.index().object(hashes.object).expect("looks up").expect("is there");
    let mut reader = device.read(Some(hashes.object), &row, 0..u64::MAX).await.expect("opens");
    let mut length = 0;
    while let Some(bytes) = reader.next().await.expect("reads") {
        length += black_box(bytes).len();
    }
    length
}

fn appends(criterion: &mut Criterion, runtime: &Runtime, device: &Device, names: &mut Names) {
    let data = Bytes::from(vec![7; SMALL_BYTES]);
    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Elements(1));
    group.bench_function("4 KiB, one at a time", |bencher| {
        bencher.iter(|| runtime.block_on(commit(device, names.small(&data))));
    });
    group.throughput(Throughput::Elements(IN_FLIGHT as u64));
    group.bench_function("4 KiB, 32 in flight", |bencher| {
        bencher.iter(|| runtime.block_on(join_all((0..IN_FLIGHT).map(|_| commit(device, names.small(&data))))));
    });
    group.finish();
}

fn reads(criterion: &mut Criterion, runtime: &Runtime, device: &Device, names: &mut Names) {
    let small: Vec<_> = (0..SMALL_OBJECTS).map(|number| format!("small-{number}")).collect();
    runtime.block_on(async {
        let data = Bytes::from(vec![7; SMALL_BYTES]);
        join_all(small.iter().map(|name| commit(device, names.put(name, Body::Inline(data.clone()))))).await;
        let mut writer = device.write_extents(Some(LARGE_BYTES as u64));
        writer.write(vec![7; LARGE_BYTES].into()).await.expect("writes");
        let extents = writer.finish().await.expect("finishes");
        commit(device, names.put("large", Body::Extents(extents))).await;
    });
    let mut group = criterion.benchmark_group("read from the page cache");
    let mut hashes = small.iter().map(|name| names.hashes(&Names::path(name))).collect::<Vec<_>>().into_iter().cycle();
    group.throughput(Throughput::Bytes(SMALL_BYTES as u64));
    group.bench_function("a packed object of 4 KiB", |bencher| {
        bencher.iter(|| {
            let next = hashes.next().expect("a cycle");
            assert_eq!(runtime.block_on(read(device, next)), SMALL_BYTES);
        });
    });
    let large = names.hashes(&Names::path("large"));
    // The first read brings it there: extents are written past the cache.
    runtime.block_on(read(device, large));
    group.throughput(Throughput::Bytes(LARGE_BYTES as u64));
    group.bench_function("an extent of 1 MiB", |bencher| {
        bencher.iter(|| assert_eq!(runtime.block_on(read(device, large)), LARGE_BYTES));
    });
    group.finish();
}

fn benches(criterion: &mut Criterion) {
    // Not the system's temporary directory, which may be memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("directory");
    let runtime = Runtime::new().expect("runtime");
    let device = Device::open(dir.path(), CLUSTER, DeviceOptions::default()).expect("opens");
    let mut names = Names { hasher: KeyHasher::new(b"bench"), made: 0 };
    runtime.block_on(commit(&device, names.container()));
    reads(criterion, &runtime, &device, &mut names);
    appends(criterion, &runtime, &device, &mut names);
    runtime.block_on(device.close()).expect("closes");
}

criterion_group!(engine, benches);
criterion_main!(engine);
