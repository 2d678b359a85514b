//! What the index costs: applying a batch of small PUTs, looking an object up, listing, comparing digests. The figures
//! stand in `benches/README.md`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anello_base::Timestamp;
use anello_storage::index::{DIGEST_LEAVES, Index, Placed, Tree};
use anello_storage::key::{KeyHash, KeyHasher, ObjectPath};
use anello_storage::model::{Content, ListQuery};
use anello_storage::mutation::{Applies, Body, ContainerPut, Location, LogPosition, Mutation, ObjectPut, PathHashes};
use criterion::{Criterion, criterion_group, criterion_main};

/// As a device opens it.
const CACHE_BYTES: usize = 64 << 20;
/// PUTs of one group commit at concurrency 32.
const BATCH: usize = 32;
const FLAT_ROWS: usize = 10_000;
const NESTED_ROWS: usize = 1_000_000;
const ROWS_PER_PREFIX: usize = 1000;
/// Partitions of a large ring's pass: two to this power, 131,072.
const PASS_POWER: u8 = 17;

struct Names {
    hasher: KeyHasher,
    made: u64,
}

impl Names {
    fn container(&self, container: &str) -> KeyHash {
        self.hasher.container("AUTH_bench", container)
    }

    fn container_put(&mut self, container: &str) -> Placed {
        let mutation = Mutation::ContainerPut(ContainerPut {
            account: "AUTH_bench".to_owned(),
            container: container.to_owned(),
            account_hash: self.hasher.account("AUTH_bench"),
            container_hash: self.container(container),
            timestamp: self.tick(),
            policy: 0,
            changes: vec![],
        });
        self.place(mutation)
    }

    fn tick(&mut self) -> Timestamp {
        self.made += 1;
        Timestamp::from_ticks(170_000_000_000_000 + self.made)
    }

    fn place(&self, mutation: Mutation) -> Placed {
        let (volume, offset) = ((self.made >> 15) as u32, self.made % (1 << 15) * 4352);
        let location = Location { volume, offset, length: 4352, data_start: 256 };
        Placed { mutation, applies: Applies::ALL, location }
    }

    fn object_put(&mut self, container: &str, object: String) -> Placed {
        let path = ObjectPath::new("AUTH_bench", container, object);
        let hashes = PathHashes {
            account: self.hasher.account("AUTH_bench"),
            container: self.container(container),
            object: self.hasher.object(&path),
        };
        let timestamp = self.tick();
        let mutation = Mutation::ObjectPut(ObjectPut {
            path,
            hashes,
            timestamp,
            policy: 0,
            size: 4096,
            etag: format!("{:032x}", u128::from(self.made).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)),
            content_type: "application/octet-stream".to_owned(),
            content: Content::Plain,
            delete_at: None,
            metadata: vec![],
            body: Body::Absent(4096),
        });
        self.place(mutation)
    }

    fn fill(&mut self, index: &Index, container: &str, names: impl Iterator<Item = String>) {
        let first = self.container_put(container);
        index.apply(&[first], LogPosition::default()).expect("applies");
        let mut batch = Vec::new();
        for name in names {
            batch.push(self.object_put(container, name));
            if batch.len() == 1000 {
                index.apply(&batch, LogPosition::default()).expect("applies");
                batch.clear();
            }
        }
        index.apply(&batch, LogPosition::default()).expect("applies");
    }
}

/// Time per batch of [`BATCH`] new objects in one container, making them not counted.
fn apply(names: &mut Names, index: &Index, iterations: u64) -> Duration {
    let mut spent = Duration::ZERO;
    for _ in 0..iterations {
        let made = names.made;
        let object = |names: &mut Names, number| names.object_put("apply", format!("{made:016x}-{number}"));
        let batch: Vec<_> = (0..BATCH).map(|number| object(names, number)).collect();
        let start = Instant::now();
        black_box(index.apply(&batch, LogPosition::default()).expect("applies"));
        spent += start.elapsed();
    }
    spent
}

fn benches(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("directory");
    let (index, _) = Index::open(dir.path(), CACHE_BYTES).expect("opens");
    let mut names = Names { hasher: KeyHasher::new(b"bench"), made: 0 };
    names.fill(&index, "flat", (0..FLAT_ROWS).map(|number| format!("photos/2026/{number:08}.jpg")));
    let nested = |number| format!("{:04}/{:04}.jpg", number / ROWS_PER_PREFIX, number % ROWS_PER_PREFIX);
    names.fill(&index, "nested", (0..NESTED_ROWS).map(nested));
    index.flush().expect("flushes");

    let mut number = 0;
    let flat = names.hasher.clone();
    criterion.bench_function("look up an object of 1,000,000", |bencher| {
        bencher.iter(|| {
            number = (number + 7919) % NESTED_ROWS;
            let hash = flat.object(&ObjectPath::new("AUTH_bench", "nested", nested(number)));
            black_box(index.object(hash).expect("reads").expect("is there"))
        });
    });
    criterion.bench_function("look up an object that is not there", |bencher| {
        bencher.iter(|| {
            number += 1;
            let hash = flat.object(&ObjectPath::new("AUTH_bench", "nested", format!("none-{number}")));
            assert!(index.object(hash).expect("reads").is_none());
        });
    });
    let all = ListQuery { limit: 10_000, ..ListQuery::default() };
    let container = names.container("flat");
    criterion.bench_function("list 10,000 rows", |bencher| {
        bencher.iter(|| assert_eq!(black_box(index.list_objects(container, &all).expect("lists")).len(), FLAT_ROWS));
    });
    let container = names.container("nested");
    for reverse in [false, true] {
        let rolled = ListQuery { delimiter: Some("/".to_owned()), reverse, ..all.clone() };
        let name = if reverse { ", in reverse" } else { "" };
        criterion.bench_function(&format!("list 1,000 prefixes of 1,000,000 rows{name}"), |bencher| {
            bencher.iter(|| assert_eq!(black_box(index.list_objects(container, &rolled).expect("lists")).len(), 1000));
        });
    }
    compare(criterion, &index);
    let apply_container = names.container_put("apply");
    index.apply(&[apply_container], LogPosition::default()).expect("applies");
    criterion.bench_function("apply 32 PUTs", |bencher| {
        bencher.iter_custom(|iterations| apply(&mut names, &index, iterations));
    });
}

/// A pass of a replicator that finds nothing to do, and the look below one leaf.
fn compare(criterion: &mut Criterion, index: &Index) {
    let tree = Tree::Objects { policy: 0 };
    criterion.bench_function("digests of all leaves", |bencher| {
        bencher.iter(|| black_box(index.digests(tree, 0..DIGEST_LEAVES).expect("reads")).len());
    });
    criterion.bench_function("digests of 131,072 partitions, one by one", |bencher| {
        bencher.iter(|| {
            for partition in 0..1 << PASS_POWER {
                black_box(index.digest_of(tree, partition, PASS_POWER).expect("reads"));
            }
        });
    });
    let mut leaf = 0;
    criterion.bench_function("entries of one leaf of 1,000,000 objects", |bencher| {
        bencher.iter(|| {
            leaf = (leaf + 7919) % DIGEST_LEAVES;
            black_box(index.digest_entries(tree, leaf..leaf + 1, None, 1000).expect("reads")).len()
        });
    });
}

criterion_group!(index, benches);
criterion_main!(index);
