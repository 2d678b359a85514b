//! Digests of uploads: GB per second of CPU (all threads of the process, waiting not counted), for a number
//! of uploads at a time. `plain` is what the crates of both digests take for a single stream.

use std::time::Duration;

use anello_proxy::digest::{Digester, Digests};
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sha2::{Digest, Sha256};
use tokio::{runtime::Runtime, task::JoinSet};

/// A large upload's body, and the frames in which a socket hands it over.
const BODY_BYTES: usize = 4 << 20;
const FRAME_BYTES: usize = 64 << 10;

/// CPU time that all threads of this process have had, in nanoseconds (Linux: `schedstat`).
fn cpu_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("procfs");
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

async fn upload(body: Bytes, signed: bool) -> Digests {
    let mut digester = Digester::new(signed);
    for at in (0..body.len()).step_by(FRAME_BYTES) {
        digester.update(body.slice(at..at + FRAME_BYTES)).await;
        // As after a read of a socket: the others get their turn.
        tokio::task::yield_now().await;
    }
    digester.finish().await
}

fn uploads_at_a_time(criterion: &mut Criterion, signed: bool) {
    let runtime = Runtime::new().expect("runtime");
    let body: Bytes = (0..BODY_BYTES).map(|at| (at * 31 + at / 257) as u8).collect();
    let mut group = criterion.benchmark_group(if signed { "md5 and sha256" } else { "md5" });
    group.sample_size(20);
    group.throughput(Throughput::Bytes(BODY_BYTES as u64));
    group.bench_function("plain", |bencher| {
        bencher.iter_custom(|iterations| {
            let before = cpu_time();
            for _ in 0..iterations {
                std::hint::black_box(md5_simd::digest(&body));
                if signed {
                    std::hint::black_box(Sha256::digest(&body));
                }
            }
            cpu_time() - before
        });
    });
    for count in [1usize, 4, 8, 16, 32] {
        group.throughput(Throughput::Bytes((BODY_BYTES * count) as u64));
        group.bench_function(BenchmarkId::new("uploads", count), |bencher| {
            bencher.iter_custom(|iterations| {
                let before = cpu_time();
                runtime.block_on(async {
                    let mut uploads = JoinSet::new();
                    for _ in 0..count {
                        let body = body.clone();
                        uploads.spawn(async move {
                            for _ in 0..iterations {
                                std::hint::black_box(upload(body.clone(), signed).await);
                            }
                        });
                    }
                    uploads.join_all().await;
                });
                cpu_time() - before
            });
        });
    }
    group.finish();
}

fn plain(criterion: &mut Criterion) {
    uploads_at_a_time(criterion, false);
}

fn signed(criterion: &mut Criterion) {
    uploads_at_a_time(criterion, true);
}

criterion_group!(benches, plain, signed);
criterion_main!(benches);
