//! What it costs to check the Signature Version 4 of a usual request, and to find its access key among those
//! that are remembered. The figures stand in `benches/README.md`.

#[allow(dead_code, reason = "the bench needs a part of the tests' client")]
#[path = "../tests/s3/client.rs"]
mod client;

use client::{Call, Client};
use criterion::{Criterion, criterion_group, criterion_main};
use tokio::runtime::Runtime;

const HAS_LANE: bool = true;

/// What SDKs sign besides the host, date and digest.
const HEADERS: [(&str, &str); 3] =
    [("content-type", "application/octet-stream"), ("x-amz-meta-color", "blue"), ("x-amz-checksum-crc32", "AAAAAA==")];

fn checks(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("runtime");
    let client = runtime.block_on(Client::new());
    let get = Call::new("GET", "/photos/2026/summer/00000001.jpg");
    let put = Call::new("PUT", "/photos/2026/summer/00000001.jpg");
    let put = HEADERS.iter().fold(put, |call, (name, value)| call.header(name, value)).body(vec![7; 4096]);
    for (name, call) in [("GET", get), ("PUT with metadata", put)] {
        let request = call.request();
        criterion.bench_function(&format!("check the signature of a {name}"), |bencher| {
            bencher.iter(|| assert!(runtime.block_on(client.door.lane_takes(&request))));
        });
    }
    criterion.bench_function("find an access key", |bencher| {
        bencher.iter(|| assert!(runtime.block_on(client.door.knows_key("alice"))));
    });
}

criterion_group!(signature, checks);
criterion_main!(signature);
