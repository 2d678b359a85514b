//! Stripes as fragments have them: what a core computes of parity, and of the data that two lost units held.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

/// Bytes of a stripe in one fragment.
const UNIT: usize = 64 * 1024;

/// Bytes of an object that are computed at once where something is missing.
const TOGETHER: usize = 1024 * 1024;

fn stripes(criterion: &mut Criterion) {
    for (data, parity) in [(4, 2), (8, 4)] {
        let units = |length: usize| -> Vec<Vec<u8>> {
            (0..data).map(|unit| (0..length).map(|at| (at * 31 + unit) as u8).collect()).collect()
        };
        let encode = |encoder: &mut ReedSolomonEncoder, units: &[Vec<u8>]| -> Vec<Vec<u8>> {
            units.iter().for_each(|unit| encoder.add_original_shard(unit).expect("is taken"));
            encoder.encode().expect("encodes").recovery_iter().map(<[u8]>::to_vec).collect()
        };
        let mut group = criterion.benchmark_group(format!("ec {data}+{parity}"));
        group.throughput(Throughput::Bytes((data * UNIT) as u64));
        let mut encoder = ReedSolomonEncoder::new(data, parity, UNIT).expect("an encoder");
        let stripe = units(UNIT);
        group.bench_function("encode", |bencher| bencher.iter(|| black_box(encode(&mut encoder, &stripe))));
        let units = units(TOGETHER / data);
        encoder.reset(data, parity, TOGETHER / data).expect("an encoder");
        let lost = encode(&mut encoder, &units);
        let mut decoder = ReedSolomonDecoder::new(data, parity, TOGETHER / data).expect("a decoder");
        group.throughput(Throughput::Bytes(TOGETHER as u64));
        group.bench_function("decode, all parity used", |bencher| {
            bencher.iter(|| {
                for (at, unit) in units.iter().enumerate().skip(parity) {
                    decoder.add_original_shard(at, unit).expect("is taken");
                }
                for (at, unit) in lost.iter().enumerate() {
                    decoder.add_recovery_shard(at, unit).expect("is taken");
                }
                let restored = decoder.decode().expect("decodes");
                black_box(restored.restored_original_iter().map(|(_, unit)| unit[0]).collect::<Vec<_>>())
            });
        });
        group.finish();
    }
}

criterion_group!(benches, stripes);
criterion_main!(benches);
